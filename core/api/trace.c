/* GET /v1/admin/trace?message_id=&source=: where one event went and why. There is no index by messageId: the journal is
 * walked newest first, a bounded way for each request, on the read pool. */
#include "api/answer.h"
#include "api/event_json.h"
#include "api/internal.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "api/reject_json.h"
#include "base/clock.h"

#define WINDOW       512 /* records read at once, going back */
#define WINDOW_BYTES (4u << 20)
#define WALK_MAX     1000000 /* records looked at for one request */
#define WALK_US      (2 * US_PER_SECOND)
#define REJECTS_MAX  100000 /* rejects looked at */
#define FOUND_MAX    20

struct trace_query {
	struct str message_id, source;
	uint64_t below; /* 0: from the newest */
};

struct found_event {
	uint64_t seq;
	int64_t t;
	struct cdpd_event event;
	struct outcome outcome;
	bool has_outcome;
};

struct trace {
	const struct trace_query *query;
	struct answer *answer;
	struct read_thread *thread;
	struct arena arena; /* what was found, beyond the steps' scratch */
	struct found_event events[FOUND_MAX];
	struct journal_reject_row rejects[FOUND_MAX];
	size_t event_count, reject_count, rejects_seen;
	uint64_t floor, walked; /* records from floor on were looked at */
	bool is_settled;        /* the event that counts was found */
	int status;
};

/* ── rejects ─────────────────────────────────────────────────────────────── */

static bool is_source(const struct trace_query *query, struct str source)
{
	return !query->source.len || str_eq(query->source, source);
}

static int look_at_reject(void *ctx, const struct journal_reject_row *row)
{
	struct trace *trace = ctx;
	if (++trace->rejects_seen > REJECTS_MAX) return 1;
	if (!str_eq(row->reject.message_id, trace->query->message_id) ||
	    !is_source(trace->query, row->reject.source_id))
		return 0;
	trace->status = reject_copy(&trace->arena, row, &trace->rejects[trace->reject_count]);
	if (trace->status == OK) trace->reject_count++;
	return trace->status != OK || trace->reject_count == FOUND_MAX;
}

/* ── the journal ─────────────────────────────────────────────────────────── */

static int add_outcome(struct trace *trace, struct found_event *found)
{
	uint64_t applied;
	int rc = people_read_begin(trace->thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_get_outcome(trace->thread->people, found->seq, &found->outcome);
	people_read_end(trace->thread->people);
	found->has_outcome = rc == OK;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* The text stands in the payload as it is: decoding only what holds it makes the walk cheap. */
static int look_at_record(struct trace *trace, const struct record *record)
{
	struct str id = trace->query->message_id;
	if (record->kind != RECORD_EVENT || !memmem(record->payload.ptr, record->payload.len, id.ptr, id.len))
		return OK;
	struct found_event found = {.seq = record->seq, .t = record->t};
	int rc = event_decode(record->payload, &trace->arena, &found.event);
	if (rc != OK) return rc == ERR_CORRUPT ? OK : rc;
	if (!str_eq(found.event.message_id, id) || !is_source(trace->query, found.event.source_id)) return OK;
	rc = add_outcome(trace, &found);
	if (rc == OK) trace->events[trace->event_count++] = found;
	return rc;
}

/* A duplicate or conflict names the event that won: no need to walk there. */
static int follow_winner(struct trace *trace, const struct found_event *loser)
{
	struct record record;
	if (trace->event_count == FOUND_MAX) return OK;
	int rc = journal_get(trace->answer->api->journal, loser->outcome.previous_seq, &trace->arena, &record);
	if (rc != OK) return rc == ERR_GONE || rc == ERR_NOT_FOUND ? OK : rc;
	return look_at_record(trace, &record);
}

static int settle(struct trace *trace)
{
	if (!trace->event_count) return OK;
	const struct found_event *last = &trace->events[trace->event_count - 1];
	if (!last->has_outcome) return OK;
	trace->is_settled = true;
	bool is_copy = last->outcome.verdict == OUTCOME_DUPLICATE || last->outcome.verdict == OUTCOME_CONFLICT;
	return is_copy && last->outcome.previous_seq ? follow_winner(trace, last) : OK;
}

/* Records of [start, end), in order; the reader stops by bytes, so in several batches. */
static int look_at_window(struct trace *trace, uint64_t start, uint64_t end)
{
	struct journal_batch *batch = &trace->thread->batch;
	struct record hits[WINDOW];
	size_t hit_count = 0;
	struct str id = trace->query->message_id;
	arena_reset(&trace->thread->scratch);
	while (start < end) {
		int rc = journal_read(trace->answer->api->journal, start, (size_t)(end - start), WINDOW_BYTES, batch);
		if (rc != OK) return rc == ERR_AGAIN || rc == ERR_GONE ? OK : rc;
		for (size_t i = 0; i < batch->count && batch->records[i].seq < end; i++) {
			const struct record *record = &batch->records[i];
			start = record->seq + 1;
			if (record->kind != RECORD_EVENT ||
			    !memmem(record->payload.ptr, record->payload.len, id.ptr, id.len))
				continue;
			hits[hit_count] = *record;
			rc = arena_str(&trace->thread->scratch, record->payload, &hits[hit_count].payload);
			if (rc != OK) return rc;
			hit_count++;
		}
	}
	int rc = OK;
	while (hit_count && rc == OK && trace->event_count < FOUND_MAX) rc = look_at_record(trace, &hits[--hit_count]);
	return rc;
}

static int walk(struct trace *trace)
{
	struct journal *journal = trace->answer->api->journal;
	uint64_t next = journal_next_seq(journal), first = journal_first_seq(journal);
	int64_t deadline = clock_mono_us() + WALK_US;
	trace->floor = trace->query->below && trace->query->below < next ? trace->query->below : next;
	int rc = OK;
	while (rc == OK && trace->floor > first && !trace->is_settled && trace->event_count < FOUND_MAX) {
		if (trace->walked >= WALK_MAX || clock_mono_us() > deadline || answer_is_cancelled(trace->answer))
			break;
		uint64_t start = trace->floor > first + WINDOW ? trace->floor - WINDOW : first;
		rc = look_at_window(trace, start, trace->floor);
		trace->walked += trace->floor - start;
		trace->floor = start;
		if (rc == OK) rc = settle(trace);
	}
	return rc;
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static int write_profile(struct trace *trace, const struct found_event *found)
{
	struct json_out *out = &trace->answer->json;
	struct fragment_id id;
	struct profile profile;
	uint64_t applied;
	char ref[3 + FRAGMENT_ID_TEXT_SIZE] = "id:";
	if (!found->has_outcome || found->outcome.verdict != OUTCOME_APPLIED) return OK;
	memcpy(id.bytes, found->outcome.fragment, sizeof id.bytes);
	fragment_id_format(&id, ref + 3);
	int rc = people_read_begin(trace->thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_get(trace->thread->people, str_from(ref), 0, clock_wall_us(), &trace->thread->scratch, &profile);
	people_read_end(trace->thread->people);
	if (rc != OK) return rc == ERR_NOT_FOUND ? OK : rc;
	jo_key(out, STR("profile"));
	profile_write_id(out, profile.id.bytes);
	return OK;
}

static int write_deliveries(struct trace *trace, const struct found_event *found)
{
	struct api *api = trace->answer->api;
	struct json_out *out = &trace->answer->json;
	struct destination_status *rows;
	size_t count;
	if (!api->deliver || !found->has_outcome || found->outcome.verdict != OUTCOME_APPLIED) return OK;
	int rc = deliver_status(api->deliver, &trace->thread->scratch, &rows, &count);
	if (rc != OK) return rc;
	jo_key(out, STR("destinations"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) {
		if (!(rows[i].records & CONF_RECORD_EVENTS)) continue;
		jo_object(out);
		jo_key(out, STR("name"));
		jo_str(out, rows[i].name);
		jo_key(out, STR("state"));
		jo_str(out, rows[i].cursor > found->seq ? STR("passed")
			    : rows[i].is_failing        ? STR("failing")
							: STR("waiting"));
		jo_end_object(out);
	}
	jo_end_array(out);
	return OK;
}

static int write_event(struct trace *trace, const struct found_event *found)
{
	struct json_out *out = &trace->answer->json;
	bool is_folded = found->seq < people_applied(trace->answer->api->people);
	struct outcome none = {0};
	/* Folded, but its outcome was trimmed: say nothing rather than "pending". */
	const struct outcome *outcome = found->has_outcome ? &found->outcome : is_folded ? &none : NULL;
	struct cdpd_event event = found->event;
	int rc = outcome ? event_json_patch(trace->answer->api, trace->thread, outcome, &event) : OK;
	if (rc == OK) rc = event_json_begin(out, trace->answer->api, &event, found->seq, outcome);
	if (rc == OK) {
		jo_key(out, STR("at"));
		jo_time(out, found->t);
		rc = write_profile(trace, found);
	}
	if (rc == OK) rc = write_deliveries(trace, found);
	jo_end_object(out);
	return rc;
}

static int write_trace(struct trace *trace)
{
	struct answer *answer = trace->answer;
	struct json_out *out = &answer->json;
	bool is_found = trace->event_count || trace->reject_count;
	int rc = OK;
	jo_object(out);
	jo_key(out, STR("messageId"));
	jo_str(out, trace->query->message_id);
	jo_key(out, STR("found"));
	jo_bool(out, is_found);
	jo_key(out, STR("events"));
	jo_array(out);
	for (size_t i = 0; i < trace->event_count && rc == OK; i++) rc = write_event(trace, &trace->events[i]);
	jo_end_array(out);
	jo_key(out, STR("rejects"));
	jo_array(out);
	for (size_t i = 0; i < trace->reject_count; i++) reject_json_write(out, &trace->rejects[i]);
	jo_end_array(out);
	jo_key(out, STR("scanned"));
	jo_uint(out, trace->walked);
	bool has_more = !trace->is_settled && trace->floor > journal_first_seq(answer->api->journal);
	param_write_next(out, answer->api, has_more, trace->floor);
	jo_end_object(out);
	return rc;
}

static int run_trace(struct answer *answer, struct read_thread *thread)
{
	struct trace *trace = arena_new(&answer->arena, struct trace);
	if (!trace) return ERR_NOMEM;
	trace->query = answer->params;
	trace->answer = answer;
	trace->thread = thread;
	arena_init(&trace->arena, 16 << 10, READ_SCRATCH_BYTES);
	int rc = trace->query->below ? OK : journal_rejects(answer->api->journal, 0, look_at_reject, trace);
	if (rc == OK) rc = trace->status;
	if (rc == OK) rc = walk(trace);
	if (rc == OK) rc = write_trace(trace);
	arena_fini(&trace->arena);
	return rc;
}

static void get_trace(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, run_trace, sizeof(struct trace_query));
	if (!answer) return;
	struct trace_query *query = answer->params;
	if (!param_text(req, STR("message_id"), EVENT_ID_MAX, &answer->arena, &query->message_id) ||
	    !param_text(req, STR("source"), 64, &answer->arena, &query->source) ||
	    !param_cursor(worker->api, req, &query->below)) {
		answer_drop(answer);
	} else if (!query->message_id.len) {
		param_refuse(req, STR("message_id"), "say which message to trace");
		answer_drop(answer);
	} else {
		answer_submit(answer);
	}
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/admin/trace", SCOPE_ADMIN, true, false, 0, get_trace},
};

int trace_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
