/* ProfileService: EraseProfile, on the read pool: a request waits for two small fsyncs. */
#include "rpc/profile_service.h"

#include "api/erase.h"
#include "base/clock.h"
#include "base/encode.h"

struct words {
	struct erasure_request request;
	bool is_dry_run;
};

static int fail(struct answer *answer, int status)
{
	struct str message;
	enum problem problem = erase_problem(status, &message);
	return problem == PROBLEM_INTERNAL ? status : answer_fail(answer, problem, message);
}

static int pack_preview(struct buf *out, struct arena *arena, const struct erasure_preview *from, bool is_whole)
{
	Cdpd__V1__EraseProfileResponse response = CDPD__V1__ERASE_PROFILE_RESPONSE__INIT;
	Cdpd__V1__ErasurePreview preview = CDPD__V1__ERASURE_PREVIEW__INIT;
	const struct profile *profile = &from->profile;
	struct str *identifiers;
	response.preview = &preview;
	preview.id = convert_fragment(arena, &profile->id);
	if (memcmp(&profile->id, &profile->requested_id, sizeof profile->id) != 0)
		preview.requested_id = convert_fragment(arena, &profile->requested_id);
	preview.fragments = from->fragments;
	preview.remaining = from->remaining;
	preview.events = from->events;
	preview.links = from->links;
	preview.changes = from->changes;
	preview.segments = from->segments;
	preview.complete = !from->is_cut;
	int rc = preview.id && preview.requested_id ? OK : ERR_NOMEM;
	if (rc == OK) rc = erase_preview_identifiers(from, is_whole, arena, &identifiers, &preview.n_identifiers);
	if (rc == OK) rc = convert_texts(arena, identifiers, preview.n_identifiers, &preview.identifiers);
	return rc == OK ? convert_pack(out, &response.base) : rc;
}

static int receipt_texts(struct answer *answer, struct arena *arena, const struct erasure *from,
			 Cdpd__V1__ErasureReceipt *to)
{
	to->id = arena_alloc(arena, RECEIPT_TEXT_SIZE);
	to->fragments = arena_array(arena, char *, from->fragment_count + 1);
	if (!to->id || !to->fragments) return ERR_NOMEM;
	hex_encode(from->receipt, RECEIPT_SIZE, to->id);
	for (; to->n_fragments < from->fragment_count; to->n_fragments++) {
		to->fragments[to->n_fragments] = convert_fragment(arena, &from->fragments[to->n_fragments]);
		if (!to->fragments[to->n_fragments]) return ERR_NOMEM;
	}
	if (from->seq) to->position = convert_position(arena, answer->api, from->seq + 1);
	return to->position ? OK : ERR_NOMEM;
}

static int pack_receipt(struct answer *answer, struct arena *arena, const struct erasure *from)
{
	Cdpd__V1__EraseProfileResponse response = CDPD__V1__ERASE_PROFILE_RESPONSE__INIT;
	Cdpd__V1__ErasureReceipt receipt = CDPD__V1__ERASURE_RECEIPT__INIT;
	response.receipt = &receipt;
	receipt.state = (char *)(uintptr_t)erasure_state_name(from->state); /* only read */
	receipt.scope = from->is_whole ? CDPD__V1__ERASURE_SCOPE__ERASURE_SCOPE_PROFILE
				       : CDPD__V1__ERASURE_SCOPE__ERASURE_SCOPE_IDENTIFIER;
	receipt.requested_at_us = from->requested_us;
	receipt.repeats = from->repeats;
	int rc = receipt_texts(answer, arena, from, &receipt);
	return rc == OK ? convert_pack(&answer->out, &response.base) : rc;
}

static int erase(struct answer *answer, struct read_thread *thread)
{
	const struct words *words = answer->params;
	struct privacy *privacy = answer->api->privacy;
	struct erasure erasure;
	struct erasure_preview found;
	int rc;
	if (words->is_dry_run) {
		rc = privacy_preview(privacy, thread->people, words->request.ref, words->request.is_whole,
				     &thread->scratch, &found);
		return rc == OK ? pack_preview(&answer->out, &thread->scratch, &found, words->request.is_whole)
				: fail(answer, rc);
	}
	rc = privacy_erase(privacy, thread->people, &words->request, &thread->scratch, &erasure);
	return rc == OK ? pack_receipt(answer, &thread->scratch, &erasure) : fail(answer, rc);
}

/* False: no such scope. */
static bool read_scope(Cdpd__V1__ErasureScope scope, bool *is_whole)
{
	*is_whole = scope != CDPD__V1__ERASURE_SCOPE__ERASURE_SCOPE_IDENTIFIER;
	return scope == CDPD__V1__ERASURE_SCOPE__ERASURE_SCOPE_UNSPECIFIED ||
	       scope == CDPD__V1__ERASURE_SCOPE__ERASURE_SCOPE_PROFILE || !*is_whole;
}

static void go_erase(struct task *task)
{
	const Cdpd__V1__EraseProfileRequest *request = (const void *)task->request;
	struct str reason = str_from(request->reason);
	bool is_whole;
	if (!read_scope(request->scope, &is_whole)) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("profile or identifier"), STR("/scope"));
		return;
	}
	if (reason.len > ERASE_REASON_MAX) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("too long"), STR("/reason"));
		return;
	}
	struct answer *answer = task_answer(task, erase, sizeof(struct words));
	if (!answer) return;
	struct words *words = answer->params;
	words->is_dry_run = request->dry_run;
	words->request.is_whole = is_whole;
	words->request.actor = auth_token_name(task->worker, grpc_metadata(task->call, STR("authorization")),
					       clock_wall_us(), &answer->arena);
	int rc = arena_str(&answer->arena, str_from(request->ref), &words->request.ref);
	if (rc == OK) rc = arena_str(&answer->arena, reason, &words->request.reason);
	if (rc == OK) {
		task_submit(task, answer);
		return;
	}
	answer_drop(answer);
	task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR("/ref"));
}

void erase_profile(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__erase_profile_request__descriptor, 0, go_erase);
}
