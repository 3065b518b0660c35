/* GET /v1/admin/rejects: events that did not get through, newest first: those refused before the journal (stage
 * "ingest") and those the fold refused (stage "fold"), merged by time. On the read pool. */
#include "api/answer.h"
#include "api/event_json.h"
#include "api/internal.h"
#include "api/params.h"
#include "api/reject_json.h"

#define WINDOW    2048   /* outcomes read at once, going back */
#define WALK_MAX  200000 /* outcomes looked at for one page */
#define EXHAUSTED 1      /* as a cursor: nothing lies below */

enum stage { STAGE_INGEST = 1, STAGE_FOLD = 2 };

struct rejects_query {
	unsigned stages;
	size_t limit;
	uint64_t below_id, below_seq; /* 0: from the newest */
};

struct fold_reject {
	uint64_t seq;
	int64_t t;
	struct outcome outcome;
	struct str payload;
};

struct page {
	struct read_thread *thread;
	struct journal_reject_row *ingest;
	struct fold_reject *fold;
	size_t ingest_count, fold_count, limit;
	uint64_t floor; /* outcomes from here on were looked at */
	int status;
};

/* ── collecting ──────────────────────────────────────────────────────────── */

static int keep_ingest(void *ctx, const struct journal_reject_row *row)
{
	struct page *page = ctx;
	page->status = reject_copy(&page->thread->scratch, row, &page->ingest[page->ingest_count]);
	if (page->status == OK) page->ingest_count++;
	return page->status != OK || page->ingest_count == page->limit;
}

static bool is_rejected(enum outcome_verdict verdict)
{
	return verdict == OUTCOME_CONFLICT || verdict == OUTCOME_REFUSED || verdict == OUTCOME_DENIED ||
	       verdict == OUTCOME_SUPPRESSED || verdict == OUTCOME_QUARANTINED;
}

struct window {
	uint64_t end;
	size_t count;
	struct {
		uint64_t seq;
		struct outcome outcome;
	} rows[WINDOW];
};

static int keep_outcome(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	struct window *window = ctx;
	if (seq >= window->end || window->count == WINDOW) return 1;
	if (!is_rejected(outcome->verdict)) return 0;
	window->rows[window->count].seq = seq;
	window->rows[window->count++].outcome = *outcome;
	return 0;
}

static int take_window(struct page *page, struct journal *journal, const struct window *window)
{
	for (size_t i = window->count; i-- > 0;) {
		struct record record;
		page->floor = window->rows[i].seq;
		int rc = journal_get(journal, window->rows[i].seq, &page->thread->scratch, &record);
		if (rc == ERR_GONE || rc == ERR_NOT_FOUND) continue;
		if (rc != OK) return rc;
		page->fold[page->fold_count++] = (struct fold_reject){
		    .seq = record.seq, .t = record.t, .outcome = window->rows[i].outcome, .payload = record.payload};
		if (page->fold_count == page->limit) return ERR_AGAIN;
	}
	return OK;
}

static int collect_fold(struct page *page, struct api *api, uint64_t below)
{
	struct window *window = arena_new(&page->thread->scratch, struct window);
	if (!window) return ERR_NOMEM;
	uint64_t applied, first = journal_first_seq(api->journal);
	page->floor = below ? below : people_applied(api->people);
	uint64_t stop = page->floor > WALK_MAX + first ? page->floor - WALK_MAX : first;
	int rc = OK;
	while (rc == OK && page->floor > stop) {
		uint64_t start = page->floor > stop + WINDOW ? page->floor - WINDOW : stop;
		window->end = page->floor;
		window->count = 0;
		rc = people_read_begin(page->thread->people, &applied);
		if (rc != OK) break;
		rc = people_outcomes(page->thread->people, start, WINDOW, keep_outcome, window);
		people_read_end(page->thread->people);
		if (rc == OK) rc = take_window(page, api->journal, window);
		if (rc == OK) page->floor = start;
	}
	if (rc == OK && page->floor <= first) page->floor = EXHAUSTED;
	return rc == ERR_AGAIN ? OK : rc;
}

static int collect(struct page *page, struct answer *answer, const struct rejects_query *query)
{
	struct arena *arena = &page->thread->scratch;
	page->limit = query->limit;
	page->ingest = arena_array(arena, struct journal_reject_row, query->limit);
	page->fold = arena_array(arena, struct fold_reject, query->limit);
	page->floor = EXHAUSTED;
	if (!page->ingest || !page->fold) return ERR_NOMEM;
	int rc = OK;
	if ((query->stages & STAGE_INGEST) && query->below_id != EXHAUSTED)
		rc = journal_rejects(answer->api->journal, query->below_id, keep_ingest, page);
	if (rc == OK) rc = page->status;
	if (rc == OK && (query->stages & STAGE_FOLD) && query->below_seq != EXHAUSTED)
		rc = collect_fold(page, answer->api, query->below_seq);
	return rc;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int write_fold(struct answer *answer, struct read_thread *thread, const struct fold_reject *row)
{
	struct json_out *out = &answer->json;
	struct cdpd_event event = {.source_id = STR_NONE, .message_id = STR_NONE, .event = STR_NONE};
	int rc = event_decode(row->payload, &thread->scratch, &event);
	if (rc == ERR_NOMEM) return rc;
	jo_object(out);
	jo_key(out, STR("stage"));
	jo_str(out, STR("fold"));
	jo_key(out, STR("at"));
	jo_time(out, row->t);
	jo_key(out, STR("code"));
	jo_str(out, str_from(outcome_verdict_name(row->outcome.verdict)));
	if (rc == OK) {
		jo_key(out, STR("source"));
		jo_str(out, event.source_id);
		jo_key(out, STR("messageId"));
		jo_str(out, event.message_id);
		jo_key(out, STR("type"));
		jo_str(out, str_from(event_type_name(event.type)));
	}
	event_json_position(out, answer->api, STR("position"), row->seq);
	event_json_outcome(out, answer->api, &row->outcome);
	jo_end_object(out);
	return out->status;
}

/* Writes a page of both, newest first, and leaves in *id and *seq where the next one starts. */
static int write_merged(struct answer *answer, struct page *page, uint64_t *id, uint64_t *seq)
{
	size_t i = 0, f = 0;
	int rc = OK;
	while (i + f < page->limit && (i < page->ingest_count || f < page->fold_count) && rc == OK) {
		bool is_fold = i == page->ingest_count || (f < page->fold_count && page->fold[f].t > page->ingest[i].t);
		if (is_fold) {
			rc = write_fold(answer, page->thread, &page->fold[f]);
			*seq = page->fold[f++].seq;
		} else {
			reject_json_write(&answer->json, &page->ingest[i]);
			*id = page->ingest[i++].id;
		}
	}
	if (i == page->ingest_count && page->ingest_count < page->limit) *id = EXHAUSTED;
	if (f == page->fold_count) *seq = page->floor;
	return rc;
}

static int list_rejects(struct answer *answer, struct read_thread *thread)
{
	const struct rejects_query *query = answer->params;
	struct page page = {.thread = thread};
	struct json_out *out = &answer->json;
	uint64_t id = query->below_id, seq = query->below_seq;
	int rc = collect(&page, answer, query);
	if (rc != OK) return rc;
	jo_object(out);
	jo_key(out, STR("rejects"));
	jo_array(out);
	rc = write_merged(answer, &page, &id, &seq);
	jo_end_array(out);
	jo_key(out, STR("next"));
	if (id == EXHAUSTED && seq == EXHAUSTED) {
		jo_null(out);
	} else {
		struct str next;
		if (rc == OK)
			rc = arena_printf(&answer->arena, &next, "%llu.%llu", (unsigned long long)id,
					  (unsigned long long)seq);
		if (rc == OK) jo_str(out, next);
	}
	jo_end_object(out);
	return rc;
}

/* ── the request ─────────────────────────────────────────────────────────── */

static bool read_stage(struct http_request *req, struct rejects_query *query)
{
	struct str stage;
	query->stages = STAGE_INGEST | STAGE_FOLD;
	if (!http_query_get(req, STR("stage"), &stage)) return true;
	query->stages = str_eq(stage, STR("ingest")) ? STAGE_INGEST : str_eq(stage, STR("fold")) ? STAGE_FOLD : 0u;
	if (query->stages) return true;
	param_refuse(req, STR("stage"), "ingest or fold");
	return false;
}

static bool read_place(struct http_request *req, struct rejects_query *query)
{
	struct str text;
	if (!http_query_get(req, STR("cursor"), &text)) return true;
	const char *dot = memchr(text.ptr, '.', text.len);
	size_t at = dot ? (size_t)(dot - text.ptr) : 0;
	if (dot && str_to_u64(str_of(text.ptr, at), &query->below_id) == OK &&
	    str_to_u64(str_of(dot + 1, text.len - at - 1), &query->below_seq) == OK)
		return true;
	param_refuse(req, STR("cursor"), "not a cursor of this list");
	return false;
}

static void get_rejects(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_rejects, sizeof(struct rejects_query));
	if (!answer) return;
	struct rejects_query *query = answer->params;
	if (param_limit(req, &query->limit) && read_stage(req, query) && read_place(req, query))
		answer_submit(answer);
	else
		answer_drop(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/admin/rejects", SCOPE_ADMIN, true, false, 0, get_rejects},
};

int rejects_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
