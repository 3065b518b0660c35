/* ProfileService: MergeProfiles and UnmergeProfiles. */
#include "rpc/profile_service.h"

#include "base/clock.h"

/* What both requests say. */
struct words {
	enum people_act_kind kind;
	struct str a, b, note;
	bool is_dry_run;
};

static struct words words_of_merge(const struct task *task)
{
	const Cdpd__V1__MergeProfilesRequest *request = (const void *)task->request;
	return (struct words){PEOPLE_MERGE, str_from(request->a), str_from(request->b), str_from(request->reason),
			      request->dry_run};
}

static struct words words_of_unmerge(const struct task *task)
{
	const Cdpd__V1__UnmergeProfilesRequest *request = (const void *)task->request;
	return (struct words){PEOPLE_UNMERGE, str_from(request->a), str_from(request->b), str_from(request->reason),
			      request->dry_run};
}

/* ── dry run ─────────────────────────────────────────────────────────────── */

static int merge_identity(struct arena *arena, const struct preview_merge *from, Cdpd__V1__MergePreview *to)
{
	to->allowed = from->is_allowed;
	to->reason = from->is_allowed ? (char *)(uintptr_t) "" : convert_text(arena, from->reason);
	to->already_one = from->was_one;
	to->id = convert_fragment(arena, &from->id);
	to->n_identifiers = from->identifier_count;
	if (!to->reason || !to->id) return ERR_NOMEM;
	return convert_texts(arena, from->identifiers, from->identifier_count, &to->identifiers);
}

static int merge_conflicts(struct arena *arena, const struct preview_merge *from, Cdpd__V1__MergePreview *to)
{
	to->conflicts = arena_array(arena, Cdpd__V1__MergeConflict *, from->conflict_count + 1);
	if (!to->conflicts) return ERR_NOMEM;
	for (; to->n_conflicts < from->conflict_count; to->n_conflicts++) {
		const struct preview_conflict *conflict = &from->conflicts[to->n_conflicts];
		Cdpd__V1__MergeConflict *out = arena_new(arena, Cdpd__V1__MergeConflict);
		if (!out) return ERR_NOMEM;
		*out = (Cdpd__V1__MergeConflict)CDPD__V1__MERGE_CONFLICT__INIT;
		out->trait = convert_text(arena, conflict->name);
		out->winner = convert_bytes(conflict->winner);
		out->loser = convert_bytes(conflict->loser);
		if (!out->trait) return ERR_NOMEM;
		to->conflicts[to->n_conflicts] = out;
	}
	return OK;
}

static int merge_limits(struct arena *arena, const struct preview_merge *from, Cdpd__V1__MergePreview *to)
{
	to->limits = arena_array(arena, Cdpd__V1__MergeLimit *, from->limit_count + 1);
	if (!to->limits) return ERR_NOMEM;
	for (; to->n_limits < from->limit_count; to->n_limits++) {
		Cdpd__V1__MergeLimit *out = arena_new(arena, Cdpd__V1__MergeLimit);
		if (!out) return ERR_NOMEM;
		*out = (Cdpd__V1__MergeLimit)CDPD__V1__MERGE_LIMIT__INIT;
		out->reason = convert_text(arena, from->limits[to->n_limits].reason);
		out->namespace_ = convert_text(arena, from->limits[to->n_limits].namespace_);
		if (!out->reason || !out->namespace_) return ERR_NOMEM;
		to->limits[to->n_limits] = out;
	}
	return OK;
}

static int pack_merge_preview(struct buf *out, struct arena *arena, const struct preview_merge *from)
{
	Cdpd__V1__MergeProfilesResponse response = CDPD__V1__MERGE_PROFILES_RESPONSE__INIT;
	Cdpd__V1__MergePreview preview = CDPD__V1__MERGE_PREVIEW__INIT;
	response.status = CDPD__V1__ACT_STATUS__ACT_STATUS_DRY_RUN;
	response.preview = &preview;
	response.a = convert_text(arena, from->a);
	response.b = convert_text(arena, from->b);
	int rc = response.a && response.b ? merge_identity(arena, from, &preview) : ERR_NOMEM;
	if (rc == OK) rc = merge_conflicts(arena, from, &preview);
	if (rc == OK) rc = merge_limits(arena, from, &preview);
	return rc == OK ? convert_pack(out, &response.base) : rc;
}

static int unmerge_links(struct answer *answer, struct arena *arena, const struct link_row *rows, size_t count,
			 Cdpd__V1__UnmergeLink ***list)
{
	*list = arena_array(arena, Cdpd__V1__UnmergeLink *, count + 1);
	if (!*list) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		Cdpd__V1__UnmergeLink *out = arena_new(arena, Cdpd__V1__UnmergeLink);
		if (!out) return ERR_NOMEM;
		*out = (Cdpd__V1__UnmergeLink)CDPD__V1__UNMERGE_LINK__INIT;
		out->a = convert_text(arena, rows[i].a);
		out->b = convert_text(arena, rows[i].b);
		out->rule = convert_text(arena, rows[i].rule);
		out->position = convert_position(arena, answer->api, rows[i].seq + 1);
		out->at_us = rows[i].t;
		if (!out->a || !out->b || !out->rule || !out->position) return ERR_NOMEM;
		(*list)[i] = out;
	}
	return OK;
}

static int unmerge_groups(struct arena *arena, const struct preview_unmerge *from, Cdpd__V1__UnmergePreview *to)
{
	to->profiles = arena_array(arena, Cdpd__V1__UnmergeGroup *, from->group_count + 1);
	if (!to->profiles) return ERR_NOMEM;
	for (; to->n_profiles < from->group_count; to->n_profiles++) {
		const struct preview_group *group = &from->groups[to->n_profiles];
		Cdpd__V1__UnmergeGroup *out = arena_new(arena, Cdpd__V1__UnmergeGroup);
		if (!out) return ERR_NOMEM;
		*out = (Cdpd__V1__UnmergeGroup)CDPD__V1__UNMERGE_GROUP__INIT;
		out->id = convert_fragment(arena, &group->id);
		out->n_identifiers = group->count;
		int rc =
		    out->id ? convert_texts(arena, group->identifiers, group->count, &out->identifiers) : ERR_NOMEM;
		if (rc != OK) return rc;
		to->profiles[to->n_profiles] = out;
	}
	return OK;
}

static int pack_unmerge_preview(struct answer *answer, struct arena *arena, const struct preview_unmerge *from)
{
	Cdpd__V1__UnmergeProfilesResponse response = CDPD__V1__UNMERGE_PROFILES_RESPONSE__INIT;
	Cdpd__V1__UnmergePreview preview = CDPD__V1__UNMERGE_PREVIEW__INIT;
	response.status = CDPD__V1__ACT_STATUS__ACT_STATUS_DRY_RUN;
	response.preview = &preview;
	response.a = convert_text(arena, from->a);
	response.b = convert_text(arena, from->b);
	preview.allowed = from->is_allowed;
	preview.reason = from->is_allowed ? (char *)(uintptr_t) "" : convert_text(arena, from->reason);
	preview.n_cut = from->cut_count;
	preview.n_linked = from->made_count;
	if (!response.a || !response.b || !preview.reason) return ERR_NOMEM;
	int rc = unmerge_links(answer, arena, from->cut, from->cut_count, &preview.cut);
	if (rc == OK) rc = unmerge_links(answer, arena, from->made, from->made_count, &preview.linked);
	if (rc == OK) rc = unmerge_groups(arena, from, &preview);
	return rc == OK ? convert_pack(&answer->out, &response.base) : rc;
}

static int preview(struct answer *answer, struct read_thread *thread)
{
	const struct words *words = answer->params;
	struct act_preview found;
	int rc = act_preview(thread, words->kind, words->a, words->b, &answer->applied, &found);
	if (rc != OK) return answer_fail_ref(answer, rc);
	if (words->kind == PEOPLE_MERGE) return pack_merge_preview(&answer->out, &thread->scratch, &found.merge);
	return pack_unmerge_preview(answer, &thread->scratch, &found.unmerge);
}

static void start_preview(struct task *task, const struct words *words)
{
	struct answer *answer = task_answer(task, preview, sizeof *words);
	if (!answer) return;
	struct words *copy = answer->params;
	*copy = *words;
	copy->note = STR_NONE;
	int rc = arena_str(&answer->arena, words->a, &copy->a);
	if (rc == OK) rc = arena_str(&answer->arena, words->b, &copy->b);
	if (rc == OK) {
		task_submit(task, answer);
		return;
	}
	answer_drop(answer);
	task_fail(task, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

/* ── the act ─────────────────────────────────────────────────────────────── */

static void reply_merged(struct task *task, const struct act_result *result)
{
	struct arena *arena = task_arena(task);
	Cdpd__V1__MergeProfilesResponse response = CDPD__V1__MERGE_PROFILES_RESPONSE__INIT;
	response.status = result->is_pending ? CDPD__V1__ACT_STATUS__ACT_STATUS_PENDING
			  : result->was_one  ? CDPD__V1__ACT_STATUS__ACT_STATUS_ALREADY_ONE
					     : CDPD__V1__ACT_STATUS__ACT_STATUS_MERGED;
	response.a = convert_text(arena, result->a);
	response.b = convert_text(arena, result->b);
	response.position = convert_position(arena, task->worker->api, result->seq + 1);
	if (!result->is_pending) response.id = convert_fragment(arena, &result->profile_a);
	if (response.a && response.b && response.position && response.id)
		grpc_reply(task->call, &response.base);
	else
		task_fail(task, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void reply_unmerged(struct task *task, const struct act_result *result)
{
	struct arena *arena = task_arena(task);
	Cdpd__V1__UnmergeProfilesResponse response = CDPD__V1__UNMERGE_PROFILES_RESPONSE__INIT;
	response.status =
	    result->is_pending ? CDPD__V1__ACT_STATUS__ACT_STATUS_PENDING : CDPD__V1__ACT_STATUS__ACT_STATUS_UNMERGED;
	response.a = convert_text(arena, result->a);
	response.b = convert_text(arena, result->b);
	response.position = convert_position(arena, task->worker->api, result->seq + 1);
	if (!result->is_pending) {
		response.profile_a = convert_fragment(arena, &result->profile_a);
		response.profile_b = convert_fragment(arena, &result->profile_b);
	}
	if (response.a && response.b && response.position && response.profile_a && response.profile_b)
		grpc_reply(task->call, &response.base);
	else
		task_fail(task, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void on_act(struct api_worker *worker, const struct act_result *result, void *ctx)
{
	(void)worker;
	struct task *task = ctx;
	task->act = NULL;
	if (result->problem != PROBLEM_NONE)
		task_fail(task, result->problem, result->message, result->pointer);
	else if (result->kind == PEOPLE_MERGE)
		reply_merged(task, result);
	else
		reply_unmerged(task, result);
}

/* As HTTP's body is checked. False: the call has been ended. */
static bool check(struct task *task, const struct words *words)
{
	const struct {
		struct str text, pointer;
	} refs[] = {{words->a, STR("/a")}, {words->b, STR("/b")}};
	for (size_t i = 0; i < COUNT_OF(refs); i++) {
		if (refs[i].text.len && refs[i].text.len <= ACT_REF_MAX) continue;
		task_fail(task, PROBLEM_SCHEMA_VIOLATION, STR("a reference is wanted: namespace:value"),
			  refs[i].pointer);
		return false;
	}
	if (words->note.len <= PEOPLE_NOTE_MAX) return true;
	task_fail(task, PROBLEM_SCHEMA_VIOLATION, STR("reason: a text of at most 500 bytes"), STR("/reason"));
	return false;
}

static void start(struct task *task, const struct words *words)
{
	if (!check(task, words)) return;
	if (words->is_dry_run) {
		start_preview(task, words);
		return;
	}
	const struct act_request request = {
	    .kind = words->kind,
	    .a = words->a,
	    .b = words->b,
	    .note = words->note,
	    .actor = auth_token_name(task->worker, grpc_metadata(task->call, STR("authorization")), clock_wall_us(),
				     task_arena(task)),
	};
	struct act *act = act_start(task->worker, &request, on_act, task);
	if (act) task->act = act; /* else it was told, and the call is gone */
}

static void go_merge(struct task *task)
{
	const struct words words = words_of_merge(task);
	start(task, &words);
}

static void go_unmerge(struct task *task)
{
	const struct words words = words_of_unmerge(task);
	start(task, &words);
}

void merge_profiles(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__merge_profiles_request__descriptor,
		   offsetof(Cdpd__V1__MergeProfilesRequest, min_position), go_merge);
}

void unmerge_profiles(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__unmerge_profiles_request__descriptor,
		   offsetof(Cdpd__V1__UnmergeProfilesRequest, min_position), go_unmerge);
}
