/* What a destination makes durable: its cursors and counters, with the dead letters and the parked records that go with them. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/lanes.h"

bool destination_has_changes(const struct destination *d)
{
	return d->changes.put_count > 0 || d->changes.gone_count > 0 || d->parked_row_count > 0 || d->answer_count > 0;
}

/* ── letters ─────────────────────────────────────────────────────────────── */

int destination_put_letter(struct destination *d, const struct letter *letter)
{
	int rc = letter_changes_put(&d->changes, letter);
	if (rc == OK && letter->seq > d->letters_until[letter->stream]) d->letters_until[letter->stream] = letter->seq;
	return rc;
}

int destination_end_letter(struct destination *d, enum stream_id stream, uint64_t position)
{
	return position > d->letters_until[stream] ? OK : letter_changes_gone(&d->changes, stream, position);
}

/* ── parked records ──────────────────────────────────────────────────────── */

static int add_row(struct destination *d, const struct parked *parked, bool is_gone)
{
	if (d->parked_row_count == d->parked_row_room) {
		size_t room = d->parked_row_room ? 2 * d->parked_row_room : 16;
		struct parked_row *rows = realloc(d->parked_rows, room * sizeof *rows);
		if (!rows) return ERR_NOMEM;
		d->parked_rows = rows;
		d->parked_row_room = room;
	}
	d->parked_rows[d->parked_row_count++] = (struct parked_row){.parked = *parked, .is_gone = is_gone};
	return OK;
}

int destination_park(struct destination *d, const struct parked *parked)
{
	bool is_new = !parked_find(&d->parked, parked->stream, parked->position);
	if (is_new && d->parked.count >= PARKED_MAX) return ERR_FULL;
	int rc = add_row(d, parked, false);
	if (rc == OK && (rc = parked_put(&d->parked, parked))) d->parked_row_count--;
	return rc;
}

void destination_unpark(struct destination *d, enum stream_id stream, uint64_t position)
{
	const struct parked parked = {.stream = stream, .position = position};
	/* Not noted: the row is there after a restart, and it is handed over once more. */
	(void)!add_row(d, &parked, true);
	parked_take(&d->parked, stream, position);
}

/* ── answers to notices ──────────────────────────────────────────────────── */

int destination_put_answer(struct destination *d, const uint8_t id[NOTICE_ID_SIZE], const struct notice_answer *answer)
{
	if (d->answer_count == d->answer_room) {
		size_t room = d->answer_room ? 2 * d->answer_room : 16;
		struct notice_row *rows = realloc(d->answers, room * sizeof *rows);
		if (!rows) return ERR_NOMEM;
		d->answers = rows;
		d->answer_room = room;
	}
	struct notice_row *row = &d->answers[d->answer_count++];
	size_t len = answer->reason.len < NOTICE_REASON_MAX ? answer->reason.len : NOTICE_REASON_MAX;
	*row = (struct notice_row){.answer = *answer};
	memcpy(row->id, id, sizeof row->id);
	memcpy(row->reason, answer->reason.ptr, len);
	return OK;
}

static int write_answers(struct destination *d, struct store_txn *txn)
{
	int rc = OK;
	for (size_t i = 0; i < d->answer_count && rc == OK; i++) {
		struct notice_answer answer = d->answers[i].answer;
		answer.reason = str_from(d->answers[i].reason);
		rc = notices_write(d->shared->cursors, txn, d->answers[i].id, &answer);
	}
	return rc;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int write_step(struct destination *d, uint64_t *lost)
{
	struct store_txn *txn;
	struct cursors *cursors = d->shared->cursors;
	uint64_t letters;
	*lost = 0;
	int rc = cursors_begin(cursors, &txn);
	if (rc) return rc;
	if (d->changes.put_count || d->changes.gone_count) {
		rc = letters_write(cursors, txn, d->reader, d->name, &d->changes, &letters, lost);
		if (rc == OK) metric_set(d->letters, (int64_t)letters);
	}
	if (rc == OK) rc = parked_write(cursors, txn, d->reader, d->name, d->parked_rows, d->parked_row_count);
	if (rc == OK) rc = write_answers(d, txn);
	if (rc) {
		cursors_abort(cursors, txn);
		return rc;
	}
	for (size_t i = 0; i < d->lane_count; i++) {
		struct cursor_row row = d->lanes[i].row; /* only this thread writes it */
		row.next_seq = lanes_durable(d, &d->lanes[i]);
		if (i == 0) row.letters_lost += *lost;
		cursors_write(cursors, txn, d->name, d->lanes[i].stream->id, &row);
	}
	return cursors_commit(cursors, txn);
}

static void note_written(struct destination *d, uint64_t lost)
{
	int64_t now = clock_mono_us();
	pthread_mutex_lock(&d->lock);
	d->lanes[0].row.letters_lost += lost;
	pthread_mutex_unlock(&d->lock);
	letter_changes_clear(&d->changes);
	d->parked_row_count = d->answer_count = 0;
	for (size_t i = 0; i < d->lane_count; i++) {
		d->lanes[i].committed = d->lanes[i].row.next_seq;
		d->lanes[i].committed_at_us = now;
		d->lanes[i].loose = 0;
		d->lanes[i].is_new = false;
	}
}

static bool write_once(struct destination *d)
{
	uint64_t lost;
	int rc = write_step(d, &lost);
	if (rc == OK) note_written(d, lost);
	destination_show_state(d);
	destination_show_counters(d);
	destination_show_lag(d);
	if (rc == OK) return true;
	log_error(LOG_DELIVER, "cursor of destination %.*s was not written, records may come twice after a crash (%s)",
		  STR_ARG(d->name), status_str(rc));
	return rc != ERR_PANIC;
}

/* What became letters or was parked must be written before anything else may. */
bool destination_write(struct destination *d)
{
	for (;;) {
		if (!write_once(d)) return false;
		/* Stopping: they come again. */
		if (!destination_has_changes(d) || destination_is_stopping(d)) return true;
		destination_wait(d, clock_mono_us() + US_PER_SECOND, false);
	}
}

static bool is_due(const struct lane *lane, size_t batch, bool is_idle, int64_t now)
{
	uint64_t most = batch > CURSOR_BUSY_ROWS ? batch : CURSOR_BUSY_ROWS;
	if (lane->row.next_seq == lane->committed && !lane->loose) return false;
	if (lane->loose) return is_idle || lane->loose >= most || now - lane->committed_at_us >= CURSOR_BUSY_US;
	/* Nothing was handed over: repeating it costs nothing. */
	return lane_records(lane, lane->row.next_seq - lane->committed) >= CURSOR_IDLE_ROWS ||
	       now - lane->committed_at_us >= CURSOR_IDLE_US;
}

bool destination_settle(struct destination *d, bool is_idle)
{
	int64_t now = clock_mono_us();
	bool writes = destination_has_changes(d);
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->lane_count; i++) lane_settle(&d->lanes[i], &d->lanes[i].row);
	d->shown.parked = d->parked.count; /* with the cursor that went past them */
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < d->lane_count && !writes; i++)
		writes = is_due(&d->lanes[i], d->flow.batch_records, is_idle, now);
	if (writes) return destination_write(d);
	destination_show_counters(d);
	return true;
}
