/* GET /v1/admin/tail: events as the fold decides on them, live, as Server-Sent Events named by their verdict. */
#include "api/event_json.h"
#include "api/feed_http.h"
#include "api/internal.h"

#define TAIL_STEP 128

struct tail_rows {
	struct {
		uint64_t seq;
		struct outcome outcome;
	} rows[TAIL_STEP];
	size_t count;
};

static int keep_row(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	struct tail_rows *rows = ctx;
	rows->rows[rows->count].seq = seq;
	rows->rows[rows->count++].outcome = *outcome;
	return rows->count == TAIL_STEP;
}

static int write_event(struct feed_pull *pull, struct read_thread *thread, uint64_t seq, const struct outcome *outcome)
{
	struct record record;
	struct cdpd_event event;
	struct json_out out;
	int rc = journal_get(pull->api->journal, seq, &thread->scratch, &record);
	if (rc == ERR_NOT_FOUND || rc == ERR_GONE) return OK; /* trimmed meanwhile */
	if (rc != OK || record.kind != RECORD_EVENT) return rc;
	rc = event_decode(record.payload, &thread->scratch, &event);
	if (rc == ERR_CORRUPT) return OK; /* an outcome "undecodable": nothing to show */
	if (rc != OK) return rc;
	rc = event_json_patch(pull->api, thread, outcome, &event);
	if (rc != OK) return rc;
	size_t before = pull->out->len;
	rc = feed_message_begin(pull->out, pull->api, POSITION_JOURNAL, seq, outcome_verdict_name(outcome->verdict));
	json_out_init(&out, pull->out);
	if (rc == OK) rc = event_json_write(&out, pull->api, &event, seq, outcome);
	return feed_message_end(pull->out, rc, before);
}

static int read_rows(struct feed_pull *pull, struct read_thread *thread, struct tail_rows *rows, uint64_t *applied)
{
	rows->count = 0;
	int rc = people_read_begin(thread->people, applied);
	if (rc != OK) return rc;
	rc = people_outcomes(thread->people, pull->cursor + 1, TAIL_STEP, keep_row, rows);
	people_read_end(thread->people);
	return rc;
}

static int fill(struct feed_pull *pull, struct read_thread *thread)
{
	if (pull->cursor == FEED_FROM_START) {
		pull->cursor = journal_first_seq(pull->api->journal) - 1;
		return OK;
	}
	uint64_t applied;
	struct tail_rows *rows = arena_new(&thread->scratch, struct tail_rows);
	if (!rows) return ERR_NOMEM;
	int rc = read_rows(pull, thread, rows, &applied);
	size_t i = 0;
	for (; i < rows->count && rc == OK && pull->out->len < FEED_BATCH && !atomic_load(pull->is_cancelled); i++) {
		rc = write_event(pull, thread, rows->rows[i].seq, &rows->rows[i].outcome);
		if (rc == OK) pull->cursor = rows->rows[i].seq;
	}
	/* Records without an outcome (ticks, definitions) lie between; at the end we stand where the fold stands. */
	if (rc == OK && rows->count < TAIL_STEP && i == rows->count && applied > 0 && applied - 1 > pull->cursor)
		pull->cursor = applied - 1;
	return rc;
}

static uint64_t newest(struct api *api)
{
	uint64_t applied = people_applied(api->people);
	return applied ? applied - 1 : 0;
}

static const struct feed_kind TAIL = {.newest = newest, .fill = fill};

static void get_tail(struct api_worker *worker, struct http_request *req)
{
	struct feed_options options = {.kind = &TAIL, .cursor = newest(worker->api)};
	arena_init(&options.arena, 64, 64);
	if (feed_http_cursor(worker, req, &TAIL, POSITION_JOURNAL, &options.cursor))
		feed_http_start(worker, req, FEED_EVENTS, POSITION_JOURNAL, &options);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/admin/tail", SCOPE_ADMIN, true, false, 0, get_tail},
};

int tail_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
