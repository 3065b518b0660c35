/* The stream of events: the journal's records that the fold has applied, and the notices of erasures, by their outcomes. */
#include "base/encode.h"
#include "deliver/stream.h"
#include "enrich/patched.h"
#include "plugin/instance.h"
#include "profile/awaits.h"
#include "profile/erase.h"

#define ROWS_MAX  5000 /* outcomes looked at in one read transaction */
#define READ_MAX  1000 /* records read of the journal at once … */
#define READ_SIZE ((size_t)1 << 20)

struct picked { /* an applied record */
	uint64_t seq, resolution_seq;
	uint8_t fragment[16];
};
struct picking {
	struct picked *items;
	size_t count, rows;
	uint64_t last_seq;
};

static int pick(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	struct picking *picking = ctx;
	picking->last_seq = seq;
	picking->rows++;
	if (outcome->verdict != OUTCOME_APPLIED) return 0;
	struct picked *item = &picking->items[picking->count++];
	item->seq = seq;
	item->resolution_seq = outcome->resolution_seq;
	memcpy(item->fragment, outcome->fragment, sizeof item->fragment);
	return picking->count == WINDOW_RECORDS_MAX;
}

/* ── what they say ───────────────────────────────────────────────────────── */

static int write_erasure(struct stream_reader *r, struct arena *arena, const struct record *record,
			 struct stream_record *out)
{
	struct people_erasure erasure;
	struct json_out json;
	char text[2 * RECEIPT_SIZE + 1];
	int rc = erasure_decode(record->payload, &r->scratch, &erasure);
	if (rc) return rc;
	buf_clear(&r->json);
	json_out_init(&json, &r->json);
	hex_encode(erasure.receipt, RECEIPT_SIZE, text);
	jo_object(&json);
	jo_key(&json, STR("type"));
	jo_str(&json, STR("erased"));
	jo_key(&json, STR("messageId"));
	jo_str(&json, str_from(text));
	jo_key(&json, STR("scope"));
	jo_str(&json, erasure.is_whole ? STR("profile") : STR("identifier"));
	jo_key(&json, STR("profileIds"));
	jo_array(&json);
	for (size_t i = 0; i < erasure.count; i++) {
		char id[FRAGMENT_ID_TEXT_SIZE];
		fragment_id_format(&erasure.fragments[i], id);
		jo_str(&json, str_from(id));
		if (i == 0 && arena_str(arena, str_from(id), &out->profile_id) != OK) return ERR_NOMEM;
	}
	jo_end_array(&json);
	jo_key(&json, STR("timestamp"));
	jo_time(&json, record->t);
	jo_end_object(&json);
	out->type = STR("erased");
	out->time_us = record->t;
	out->is_notice = true;
	out->notice = NOTICE_ERASED;
	memcpy(out->notice_id, erasure.receipt, sizeof out->notice_id);
	rc = json.status;
	if (!rc) rc = arena_str(arena, buf_str(&r->json), &out->json);
	return rc ? rc : arena_str(arena, str_from(text), &out->message_id);
}

/* With what asynchronous enrichers have answered by now. */
static int patch_event(struct stream_reader *r, uint64_t resolution_seq, struct cdpd_event *event)
{
	const struct outcome newest = {.resolution_seq = resolution_seq};
	uint64_t seqs[ASYNC_ENRICHERS_MAX], applied;
	size_t count;
	if (!resolution_seq) return OK;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_read_resolutions(r->people, &newest, seqs, &count);
	people_read_end(r->people);
	return rc ? rc : event_patch(r->shared->journal, &r->scratch, seqs, count, event);
}

static int write_event(struct stream_reader *r, struct arena *arena, const struct record *record,
		       uint64_t resolution_seq, struct stream_record *out)
{
	struct cdpd_event event;
	int rc = event_decode(record->payload, &r->scratch, &event);
	if (!rc) rc = patch_event(r, resolution_seq, &event);
	if (rc) return rc;
	buf_clear(&r->json);
	if ((rc = event_write_json(&r->json, &event, false))) return rc;
	out->type = str_from(event_type_name(event.type));
	out->time_us = event.event_time_us;
	if (event.source_kind == SOURCE_PLUGIN && (rc = arena_str(arena, event.source_id, &out->publisher))) return rc;
	if (event.type == EVENT_TRACK && (rc = arena_str(arena, event.event, &out->name))) return rc;
	if ((rc = arena_str(arena, buf_str(&r->json), &out->json))) return rc;
	return arena_str(arena, event.message_id, &out->message_id);
}

/* ERR_NOT_FOUND: applied, and nothing to hand over: a merge, a husk. */
static int write_record(struct stream_reader *r, struct stream_window *window, const struct picked *picked,
			const struct record *record)
{
	char place[POSITION_TEXT_SIZE];
	struct stream_record *out = &window->records[window->count];
	int rc = ERR_NOT_FOUND;
	*out = (struct stream_record){.stream = STREAM_OF_EVENTS,
				      .position = picked->seq,
				      .seq = picked->seq,
				      .kind = CDPD_RECORD_EVENT,
				      .type = STR_NONE,
				      .name = STR_NONE,
				      .profile_id = STR_NONE};
	memcpy(out->fragment, picked->fragment, sizeof out->fragment);
	arena_reset(&r->scratch);
	if (record->kind == RECORD_ERASURE) rc = write_erasure(r, &window->arena, record, out);
	if (record->kind == RECORD_EVENT) rc = write_event(r, &window->arena, record, picked->resolution_seq, out);
	if (rc) return rc;
	size_t len = stream_place_format(&stream_events, r->shared->epoch, picked->seq, place);
	if ((rc = arena_str(&window->arena, str_of(place, len), &out->place))) return rc;
	window->count++;
	window->bytes += out->json.len;
	return OK;
}

/* ── in a row ────────────────────────────────────────────────────────────── */

/* Those of the picked ones that `batch` holds, ascending like it. *done: picked ones that were looked at. */
static int write_batch(struct stream_reader *r, struct stream_window *window, const struct picking *picking,
		       size_t *done)
{
	const struct journal_batch *batch = &r->journal;
	int rc = OK;
	for (size_t i = 0; i < batch->count && rc == OK && *done < picking->count; i++) {
		if (batch->records[i].seq != picking->items[*done].seq) continue;
		if (window->bytes >= WINDOW_BYTES_MAX) return OK;
		rc = write_record(r, window, &picking->items[*done], &batch->records[i]);
		if (rc == ERR_NOT_FOUND) rc = OK;
		if (rc == OK) ++*done;
	}
	return rc;
}

static int write_picked(struct stream_reader *r, struct stream_window *window, const struct picking *picking)
{
	size_t done = 0;
	int rc = OK;
	while (done < picking->count && window->bytes < WINDOW_BYTES_MAX && rc == OK) {
		uint64_t seq = picking->items[done].seq, last = picking->items[picking->count - 1].seq;
		size_t span = last - seq < READ_MAX ? (size_t)(last - seq + 1) : READ_MAX;
		rc = journal_read(r->shared->journal, seq, span, READ_SIZE, &r->journal);
		if (rc == OK) rc = write_batch(r, window, picking, &done);
	}
	if (rc == OK && done < picking->count) window->next = picking->items[done].seq;
	return rc;
}

static int gather(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	uint64_t applied;
	struct picking picking = {.items = arena_array(&window->arena, struct picked, WINDOW_RECORDS_MAX)};
	if (!picking.items) return ERR_NOMEM;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_outcomes(r->people, from, ROWS_MAX, pick, &picking);
	people_read_end(r->people);
	bool is_cut = picking.count == WINDOW_RECORDS_MAX || picking.rows == ROWS_MAX;
	window->next = is_cut ? picking.last_seq + 1 : applied > from ? applied : from;
	/* Trimmed between the look at the journal and the snapshot: a gap that must be told. */
	if (rc == OK && from < journal_first_seq(r->shared->journal)) rc = ERR_GONE;
	return rc ? rc : write_picked(r, window, &picking);
}

/* ── by name ─────────────────────────────────────────────────────────────── */

static int pick_named(struct stream_reader *r, const uint64_t *positions, size_t count, struct picking *picking)
{
	uint64_t applied, first = journal_first_seq(r->shared->journal);
	struct outcome outcome;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < count && rc == OK && picking->count < WINDOW_RECORDS_MAX; i++) {
		if (positions[i] < first) continue; /* trimmed: nothing is left of it */
		rc = people_get_outcome(r->people, positions[i], &outcome);
		if (rc == OK) (void)pick(picking, positions[i], &outcome);
		if (rc == ERR_NOT_FOUND) rc = OK;
	}
	people_read_end(r->people);
	return rc;
}

static int find(struct stream_reader *r, const uint64_t *positions, size_t count, struct stream_window *window)
{
	struct picking picking = {.items = arena_array(&window->arena, struct picked, WINDOW_RECORDS_MAX)};
	if (!picking.items) return ERR_NOMEM;
	int rc = pick_named(r, positions, count, &picking);
	window->next = picking.count == WINDOW_RECORDS_MAX ? picking.last_seq + 1 : UINT64_MAX;
	for (size_t i = 0; i < picking.count && rc == OK; i++) {
		struct record record;
		if (window->bytes >= WINDOW_BYTES_MAX) {
			window->next = picking.items[i].seq;
			break;
		}
		arena_reset(&r->scratch);
		rc = journal_get(r->shared->journal, picking.items[i].seq, &window->arena, &record);
		if (rc == OK) rc = write_record(r, window, &picking.items[i], &record);
		if (rc == ERR_NOT_FOUND || rc == ERR_GONE) rc = OK;
	}
	return rc;
}

/* ── where it is ─────────────────────────────────────────────────────────── */

static uint64_t first(const struct deliver_shared *shared)
{
	return journal_first_seq(shared->journal);
}

static uint64_t end(const struct deliver_shared *shared)
{
	return people_applied(shared->people);
}

static int time_of(const struct deliver_shared *shared, uint64_t position, struct arena *arena, int64_t *t)
{
	struct record record;
	int rc = journal_get(shared->journal, position, arena, &record);
	if (rc == OK) *t = record.t;
	return rc;
}

const struct stream stream_events = {
    .id = STREAM_OF_EVENTS,
    .name = "events",
    .feed = POSITION_JOURNAL,
    .first = first,
    .end = end,
    .time = time_of,
    .gather = gather,
    .find = find,
};
