/* ProfileService: reading persons, and stating traits. Joining and erasing: act_service.c, erase_service.c. */
#include "rpc/profile_service.h"

#include "api/event_json.h"
#include "api/event_walk.h"
#include "api/params.h"
#include "api/position_wait.h"
#include "api/profile_lookup.h"
#include "api/ref.h"
#include "api/set_traits_many.h"
#include "base/clock.h"
#include "rpc/rpc.h"

#define EVENTS_PAGE_BYTES (3u << 20) /* clients take messages of 4 MB */

/* ── GetProfile ──────────────────────────────────────────────────────────── */

/* False: no such part. */
static bool read_parts(const Cdpd__V1__GetProfileRequest *request, unsigned *parts)
{
	static const unsigned known[] = {
	    [CDPD__V1__PROFILE_PART__PROFILE_PART_IDENTIFIERS] = PROFILE_IDENTIFIERS,
	    [CDPD__V1__PROFILE_PART__PROFILE_PART_TRAITS] = PROFILE_TRAITS,
	    [CDPD__V1__PROFILE_PART__PROFILE_PART_TRAITS_WITH_OTHERS] = PROFILE_TRAITS | PROFILE_LOSERS,
	    [CDPD__V1__PROFILE_PART__PROFILE_PART_FEATURES] = PROFILE_FEATURES,
	    [CDPD__V1__PROFILE_PART__PROFILE_PART_CONSENTS] = PROFILE_CONSENTS,
	};
	*parts = request->n_parts ? 0 : PROFILE_ALL;
	for (size_t i = 0; i < request->n_parts; i++) {
		unsigned part = (unsigned)request->parts[i];
		if (part == 0 || part >= COUNT_OF(known)) return false;
		*parts |= known[part];
	}
	return true;
}

static void fail_ref(struct task *task, int status)
{
	struct str message;
	enum problem problem = ref_problem(status, &message);
	if (problem == PROBLEM_INTERNAL)
		log_error(LOG_API, "a profile cannot be read, answered INTERNAL (%s)", status_str(status));
	task_fail(task, problem, message, problem == PROBLEM_INTERNAL ? STR_NONE : STR("/ref"));
}

static void go_get(struct task *task)
{
	const Cdpd__V1__GetProfileRequest *request = (const void *)task->request;
	struct api_worker *worker = task->worker;
	Cdpd__V1__GetProfileResponse response = CDPD__V1__GET_PROFILE_RESPONSE__INIT;
	struct profile profile;
	uint64_t applied = 0;
	unsigned parts;
	if (!read_parts(request, &parts)) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("no such part"), STR("/parts"));
		return;
	}
	int rc = profile_read(worker, str_from(request->ref), parts, clock_wall_us(), &profile, &applied);
	if (rc != OK) {
		fail_ref(task, rc);
		return;
	}
	char *position = convert_position(&worker->scratch, worker->api, applied);
	rc = convert_profile(&worker->scratch, &profile, position, &response.profile);
	if (rc == OK)
		grpc_reply(task->call, &response.base);
	else
		task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static void get_profile(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__get_profile_request__descriptor,
		   offsetof(Cdpd__V1__GetProfileRequest, min_position), go_get);
}

/* ── LookupProfiles ──────────────────────────────────────────────────────── */

static int add_found(void *ctx, struct read_thread *thread, struct str ref, enum problem problem,
		     const struct profile *profile, uint64_t applied)
{
	struct answer *answer = ctx;
	Cdpd__V1__LookupProfilesResponse part = CDPD__V1__LOOKUP_PROFILES_RESPONSE__INIT;
	Cdpd__V1__LookedUp row = CDPD__V1__LOOKED_UP__INIT, *list = &row;
	part.profiles = &list;
	part.n_profiles = 1;
	row.ref = convert_text(&thread->scratch, ref);
	if (!row.ref) return ERR_NOMEM;
	if (problem == PROBLEM_NONE) {
		char *position = convert_position(&thread->scratch, answer->api, applied);
		int rc = convert_profile(&thread->scratch, profile, position, &row.profile);
		if (rc != OK) return rc;
	} else {
		row.code = (char *)(uintptr_t)problem_info(problem)->code; /* only read */
	}
	return convert_pack(&answer->out, &part.base);
}

static int look_up(struct answer *answer, struct read_thread *thread)
{
	Cdpd__V1__LookupProfilesResponse rest = CDPD__V1__LOOKUP_PROFILES_RESPONSE__INIT;
	int rc = profile_lookup(thread, answer->params, &answer->job.is_cancelled, add_found, answer, &answer->applied);
	if (rc != OK || !answer->applied) return rc;
	rest.position = convert_position(&thread->scratch, answer->api, answer->applied);
	return rest.position ? convert_pack(&answer->out, &rest.base) : ERR_NOMEM;
}

static int copy_refs(struct answer *answer, const Cdpd__V1__LookupProfilesRequest *request)
{
	struct lookup *lookup = answer->params;
	int rc = OK;
	lookup->refs = arena_array(&answer->arena, struct str, request->n_refs + 1);
	if (!lookup->refs) return ERR_NOMEM;
	for (size_t i = 0; i < request->n_refs && rc == OK; i++)
		rc = arena_str(&answer->arena, str_from(request->refs[i]), &lookup->refs[lookup->count++]);
	return rc;
}

static void go_lookup(struct task *task)
{
	const Cdpd__V1__LookupProfilesRequest *request = (const void *)task->request;
	if (request->n_refs > LOOKUP_MAX) {
		task_fail(task, PROBLEM_TOO_LARGE, STR("at most 100 references at once"), STR("/refs"));
		return;
	}
	struct answer *answer = task_answer(task, look_up, sizeof(struct lookup));
	if (!answer) return;
	if (copy_refs(answer, request) == OK) {
		task_submit(task, answer);
		return;
	}
	answer_drop(answer);
	task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR("/refs"));
}

static void lookup_profiles(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__lookup_profiles_request__descriptor,
		   offsetof(Cdpd__V1__LookupProfilesRequest, min_position), go_lookup);
}

/* ── ListEvents ──────────────────────────────────────────────────────────── */

static int add_event(void *ctx, struct read_thread *thread, const struct cdpd_event *event, uint64_t seq,
		     const struct outcome *outcome)
{
	struct answer *answer = ctx;
	Cdpd__V1__ListEventsResponse part = CDPD__V1__LIST_EVENTS_RESPONSE__INIT;
	Cdpd__V1__ListedEvent row = CDPD__V1__LISTED_EVENT__INIT, *list = &row;
	struct json_out json;
	buf_clear(&thread->text);
	json_out_init(&json, &thread->text);
	int rc = event_json_write(&json, answer->api, event, seq, outcome);
	if (rc != OK) return rc;
	part.events = &list;
	part.n_events = 1;
	row.position = convert_position(&thread->scratch, answer->api, seq + 1);
	row.json = convert_bytes(buf_str(&thread->text));
	return row.position ? convert_pack(&answer->out, &part.base) : ERR_NOMEM;
}

static int list_events(struct answer *answer, struct read_thread *thread)
{
	Cdpd__V1__ListEventsResponse rest = CDPD__V1__LIST_EVENTS_RESPONSE__INIT;
	char next[POSITION_TEXT_SIZE] = "";
	struct event_walk walk = {.query = answer->params,
				  .api = answer->api,
				  .is_cancelled = &answer->job.is_cancelled,
				  .page = &answer->out,
				  .page_max = EVENTS_PAGE_BYTES,
				  .fn = add_event,
				  .ctx = answer};
	int rc = event_walk_run(&walk, thread);
	if (rc != OK) return answer_fail_ref(answer, rc);
	if (walk.has_more)
		position_format(POSITION_EVENTS, (struct position){journal_epoch(answer->api->journal), walk.below},
				next);
	rest.next = next;
	rest.position = convert_position(&thread->scratch, answer->api, walk.applied);
	return rest.position ? convert_pack(&answer->out, &rest.base) : ERR_NOMEM;
}

/* False: the call has been ended. */
static bool read_query(struct task *task, const Cdpd__V1__ListEventsRequest *request, struct arena *arena,
		       struct event_query *query)
{
	struct str cursor = str_from(request->cursor), type = str_from(request->type), event = str_from(request->event);
	struct str message;
	query->limit = request->limit ? request->limit : LIST_LIMIT_DEFAULT;
	if (query->limit > LIST_LIMIT_MAX) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("a number from 1 to 500"), STR("/limit"));
		return false;
	}
	enum problem problem = PROBLEM_NONE;
	if (cursor.len) problem = position_read(task->worker->api, POSITION_EVENTS, cursor, &query->below, &message);
	if (problem != PROBLEM_NONE) {
		task_fail(task, problem, message, STR("/cursor"));
		return false;
	}
	if (type.len && !event_type_from_name(type, &query->type)) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("track, identify, page, screen, group or alias"),
			  STR("/type"));
		return false;
	}
	if (event.len > EVENT_NAME_MAX) {
		task_fail(task, PROBLEM_INVALID_PARAMETER, STR("too long"), STR("/event"));
		return false;
	}
	int rc = arena_str(arena, event, &query->event);
	if (rc == OK) rc = arena_str(arena, str_from(request->ref), &query->ref);
	if (rc != OK) task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR("/ref"));
	return rc == OK;
}

static void go_list(struct task *task)
{
	struct answer *answer = task_answer(task, list_events, sizeof(struct event_query));
	if (!answer) return;
	if (read_query(task, (const void *)task->request, &answer->arena, answer->params))
		task_submit(task, answer);
	else
		answer_drop(answer);
}

static void list(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__list_events_request__descriptor,
		   offsetof(Cdpd__V1__ListEventsRequest, min_position), go_list);
}

/* ── SetTraits ───────────────────────────────────────────────────────────── */

static void on_set(void *ctx, const struct ingest_result *result)
{
	struct task *task = ctx;
	char position[POSITION_TEXT_SIZE];
	task->batch = NULL;
	if (result->problem != PROBLEM_NONE) {
		if (result->retry_after_s) grpc_set_retry_after(task->call, result->retry_after_s);
		task_fail(task, result->problem, result->message, result->pointer);
		return;
	}
	Cdpd__V1__SetTraitsResponse response = CDPD__V1__SET_TRAITS_RESPONSE__INIT;
	position[0] = '\0';
	if (result->position_seq)
		position_format(POSITION_JOURNAL, (struct position){result->position_epoch, result->position_seq},
				position);
	response.position = position;
	grpc_reply(task->call, &response.base);
}

static void go_set(struct task *task)
{
	const Cdpd__V1__SetTraitsRequest *request = (const void *)task->request;
	const char *provenance = convert_provenance_name(request->provenance);
	struct str authorization = grpc_metadata(task->call, STR("authorization"));
	struct ingest_request out;
	struct set_traits_refusal refusal = {STR_NONE, STR_NONE};
	const struct set_traits what = {
	    .ref = str_from(request->ref),
	    .traits = str_of(request->traits.data, request->traits.len),
	    .provenance = str_from(provenance ? provenance : "unknown"),
	    .source = str_from(request->source),
	    .message_id = str_from(request->message_id),
	    .token = auth_token_name(task->worker, authorization, clock_wall_us(), task_arena(task)),
	    .time_us = request->timestamp_us,
	    .model = str_from(request->model ? request->model->name : ""),
	    .model_version = str_from(request->model ? request->model->version : ""),
	    .has_model = request->model != NULL,
	};
	task_fill_ingest(task->call, &out);
	enum problem problem = set_traits_prepare(task->worker, &what, task_arena(task), &out, &refusal);
	if (problem != PROBLEM_NONE) {
		task_fail(task, problem, refusal.message, refusal.pointer);
		return;
	}
	struct ingest_batch *batch = ingest_submit(task->worker->ingest, &out, on_set, task);
	if (batch) task->batch = batch;
}

static void set_traits_call(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__set_traits_request__descriptor,
		   offsetof(Cdpd__V1__SetTraitsRequest, min_position), go_set);
}

/* ── of many ─────────────────────────────────────────────────────────────── */

struct many_task { /* in the call's arena */
	struct task *task;
	struct set_traits_many what;
	struct ingest_request request;
};

static int write_rejections(struct arena *arena, const struct ingest_result *result,
			    Cdpd__V1__SetTraitsOfManyResponse *to)
{
	size_t count = result->rejection_count;
	Cdpd__V1__SetTraitsOfManyResponse__Rejection *items =
	    arena_array(arena, Cdpd__V1__SetTraitsOfManyResponse__Rejection, count + 1);
	to->rejected = arena_array(arena, Cdpd__V1__SetTraitsOfManyResponse__Rejection *, count + 1);
	if (!items || !to->rejected) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct ingest_rejection *from = &result->rejections[i];
		items[i] = (Cdpd__V1__SetTraitsOfManyResponse__Rejection)
		    CDPD__V1__SET_TRAITS_OF_MANY_RESPONSE__REJECTION__INIT;
		items[i].index = from->index;
		items[i].code = convert_text(arena, str_from(problem_info(from->code)->code));
		items[i].pointer = convert_text(arena, from->pointer);
		items[i].message = convert_text(arena, from->message);
		if (!items[i].code || !items[i].pointer || !items[i].message) return ERR_NOMEM;
		to->rejected[i] = &items[i];
	}
	to->n_rejected = count;
	return OK;
}

static void on_set_many(void *ctx, const struct ingest_result *result)
{
	struct task *task = ctx;
	char position[POSITION_TEXT_SIZE];
	task->batch = NULL;
	if (result->problem != PROBLEM_NONE) {
		if (result->retry_after_s) grpc_set_retry_after(task->call, result->retry_after_s);
		task_fail(task, result->problem, result->message, result->pointer);
		return;
	}
	Cdpd__V1__SetTraitsOfManyResponse response = CDPD__V1__SET_TRAITS_OF_MANY_RESPONSE__INIT;
	position[0] = '\0';
	if (result->position_seq)
		position_format(POSITION_JOURNAL, (struct position){result->position_epoch, result->position_seq},
				position);
	response.position = position;
	response.accepted = result->accepted;
	/* They are durable, whatever becomes of the report. */
	if (write_rejections(task_arena(task), result, &response) != OK) response.n_rejected = 0;
	grpc_reply(task->call, &response.base);
}

static void submit_many(struct many_task *many)
{
	struct task *task = many->task;
	struct ingest_batch *batch = ingest_submit(task->worker->ingest, &many->request, on_set_many, task);
	if (batch) task->batch = batch;
}

static void on_many_found(struct answer *answer)
{
	struct many_task *many = answer->asker;
	struct task *task = many->task;
	task->answer = NULL;
	if (answer->is_failed)
		task_fail(task, answer->problem, answer->message, answer->pointer);
	else if (set_traits_many_take(answer, &many->what, task_arena(task)) != OK)
		task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	else
		submit_many(many);
}

/* JSON is read a little past its end. */
static bool copy_items(const Cdpd__V1__SetTraitsOfManyRequest *request, struct arena *arena,
		       struct set_traits_many *out)
{
	out->items = arena_array(arena, struct ingest_traits_item, request->n_items + 1);
	for (size_t i = 0; out->items && i < request->n_items; i++) {
		const Cdpd__V1__SetTraitsOfManyRequest__Item *from = request->items[i];
		const void *traits = from->traits.len ? (const void *)from->traits.data : "null";
		size_t len = from->traits.len ? from->traits.len : 4;
		char *copy = arena_zalloc(arena, len + BUF_SLACK);
		if (!copy) return false;
		memcpy(copy, traits, len);
		out->items[out->count++] = (struct ingest_traits_item){.ref = str_from(from->ref),
								       .message_id = str_from(from->message_id),
								       .traits = str_of(copy, len),
								       .time_us = from->timestamp_us};
	}
	return out->items != NULL;
}

static void go_set_many(struct task *task)
{
	const Cdpd__V1__SetTraitsOfManyRequest *request = (const void *)task->request;
	const char *provenance = convert_provenance_name(request->provenance);
	struct str authorization = grpc_metadata(task->call, STR("authorization"));
	struct set_traits_refusal refusal = {STR_NONE, STR_NONE};
	struct arena *arena = task_arena(task);
	struct many_task *many = arena_new(arena, struct many_task);
	if (!many || !copy_items(request, arena, &many->what)) {
		task_fail(task, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
		return;
	}
	if (!request->n_items) {
		task_fail(task, PROBLEM_SCHEMA_VIOLATION, STR("there are no items"), STR("/items"));
		return;
	}
	many->task = task;
	many->what.all = (struct set_traits){
	    .provenance = str_from(provenance ? provenance : "unknown"),
	    .source = str_from(request->source),
	    .token = auth_token_name(task->worker, authorization, clock_wall_us(), arena),
	    .time_us = request->timestamp_us,
	    .model = str_from(request->model ? request->model->name : ""),
	    .model_version = str_from(request->model ? request->model->version : ""),
	    .has_model = request->model != NULL,
	};
	task_fill_ingest(task->call, &many->request);
	many->request.body = STR_NONE;
	enum problem problem = set_traits_many_prepare(&many->what, arena, &many->request, &refusal);
	if (problem != PROBLEM_NONE) {
		task_fail(task, problem, refusal.message, refusal.pointer);
		return;
	}
	if (!set_traits_many_has_ids(&many->what)) {
		submit_many(many);
		return;
	}
	struct answer *answer = set_traits_many_lookup(&many->what, task->worker, many, on_many_found);
	if (answer)
		task_submit(task, answer);
	else
		task_fail(task, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void set_traits_of_many(struct grpc_call *call, struct str bytes)
{
	task_start(call, bytes, &cdpd__v1__set_traits_of_many_request__descriptor,
		   offsetof(Cdpd__V1__SetTraitsOfManyRequest, min_position), go_set_many);
}

/* ── the table ───────────────────────────────────────────────────────────── */

static const struct grpc_method METHODS[] = {
    {.name = "GetProfile", .scope = "profiles:read", .message = get_profile, .closed = task_closed},
    {.name = "LookupProfiles", .scope = "profiles:read", .message = lookup_profiles, .closed = task_closed},
    {.name = "ListEvents", .scope = "profiles:read", .message = list, .closed = task_closed},
    {.name = "SetTraits", .scope = "traits:write", .message = set_traits_call, .closed = task_closed},
    {.name = "SetTraitsOfMany", .scope = "traits:write", .message = set_traits_of_many, .closed = task_closed},
    {.name = "MergeProfiles", .scope = "merge", .message = merge_profiles, .closed = task_closed},
    {.name = "UnmergeProfiles", .scope = "merge", .message = unmerge_profiles, .closed = task_closed},
    {.name = "EraseProfile", .scope = "erase", .message = erase_profile, .closed = task_closed},
};

const struct grpc_service profile_service = {
    .name = "cdpd.v1.ProfileService", .methods = METHODS, .method_count = COUNT_OF(METHODS)};
