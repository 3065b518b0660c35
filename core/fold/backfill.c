#include "fold/backfill.h"

#include <inttypes.h>

#include "base/clock.h"
#include "fold/resolve.h"
#include "profile/backfill.h"

#define AHEAD_RECORDS 512
#define AHEAD_BYTES   ((size_t)1 << 20)
#define SLICE         64 /* positions between looks at the transaction's size */
#define FRESH_US      (200 * US_PER_MS)

uint64_t backfill_behind(const struct fold *fold)
{
	uint64_t next = people_backfill_next(fold->people);
	return next < fold->next ? next : fold->next;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

static const struct record *find_read(const struct journal_batch *past, uint64_t at)
{
	if (!past->count || at < past->records[0].seq) return NULL;
	uint64_t index = at - past->records[0].seq;
	return index < past->count ? &past->records[index] : NULL;
}

/* NULL: what lies there cannot be read any more. A damaged record that was folded long ago is no reason to stop. */
static int read_at(struct fold *fold, uint64_t at, const struct record **out)
{
	*out = find_read(&fold->past, at);
	if (*out) return OK;
	int rc = journal_read(fold->journal, at, AHEAD_RECORDS, AHEAD_BYTES, &fold->past);
	if (!rc) *out = find_read(&fold->past, at);
	if (rc != ERR_CORRUPT) return rc;
	if (!fold->has_warned_of_past)
		log_warn(LOG_FOLD, "position %" PRIu64 " is damaged, new features leave it out", at);
	fold->has_warned_of_past = true;
	return OK;
}

/* ── counting ────────────────────────────────────────────────────────────── */

/* The function that crashes on an old event is a feature's: the event is left out, whoever comes next is not suspected. */
static int leave_out_if_guilty(struct fold *fold, uint64_t at)
{
	uint64_t suspect;
	if (!marker_suspect(&fold->marker, &suspect) || suspect != at) return OK;
	if (!marker_is_guilty(&fold->marker, true) || journal_is_quarantined(fold->journal, at)) return OK;
	int rc = worker_commit(fold);
	if (!rc) rc = worker_quarantine(fold, at);
	return rc ? rc : worker_open_transaction(fold);
}

static int count_record(struct fold *fold, const struct record *past, const struct record *record)
{
	struct cdpd_event event;
	struct outcome outcome;
	bool wants = past->kind == RECORD_EVENT && !journal_is_quarantined(fold->journal, past->seq);
	int rc = wants ? people_backfill_wants(fold->people, past->seq, &outcome, &wants) : OK;
	if (rc) return rc;
	arena_reset(&fold->arena);
	const struct resolving in = {fold->people, fold->journal, &fold->arena};
	rc = wants ? resolve_event(&in, past, &outcome, &event) : OK;
	if (rc && rc != ERR_CORRUPT) return rc;
	return people_backfill_count(fold->people, past->seq, past->t, wants && !rc ? &event : NULL, record->seq,
				     record->t);
}

static int count_at(struct fold *fold, uint64_t at, const struct record *record)
{
	const struct record *past;
	int rc = leave_out_if_guilty(fold, at);
	if (!rc) rc = read_at(fold, at, &past);
	if (rc == ERR_GONE) {
		people_backfill_skip(fold->people, journal_first_seq(fold->journal));
		return OK;
	}
	if (rc) return rc;
	if (!past) return people_backfill_count(fold->people, at, INT64_MIN, NULL, record->seq, record->t);
	marker_begin(&fold->marker, at, at + 1);
	rc = count_record(fold, past, record);
	marker_end(&fold->marker);
	return rc;
}

static int count_slice(struct fold *fold, const struct record *record)
{
	int rc = OK;
	for (int i = 0; i < SLICE && !rc; i++) {
		uint64_t at = people_backfill_next(fold->people);
		if (at == BACKFILL_NONE || !people_backfill_grant(fold->people, record->seq, fold->t, record->t)) break;
		rc = count_at(fold, at, record);
	}
	return rc;
}

static bool is_full(const struct fold *fold)
{
	return people_pages(fold->people) >= fold->page_cap || clock_mono_us() - fold->opened_at >= FRESH_US;
}

static bool has_more(struct fold *fold, const struct record *record)
{
	return people_backfill_next(fold->people) != BACKFILL_NONE &&
	       people_backfill_grant(fold->people, record->seq, fold->t, record->t) > 0;
}

/* Segments may have the feature from here on: the scan wants a transaction of its own, as after a definition. */
static int finish(struct fold *fold, const struct record *record)
{
	int rc = worker_commit(fold);
	if (!rc) rc = worker_open_transaction(fold);
	return rc ? rc : people_backfill_finish(fold->people, record->seq);
}

int backfill_step(struct fold *fold, const struct record *record)
{
	if (people_backfill_next(fold->people) == BACKFILL_NONE && !people_backfill_is_ripe(fold->people)) return OK;
	int rc = worker_open_transaction(fold);
	while (!rc && has_more(fold, record)) {
		rc = count_slice(fold, record);
		if (!rc && is_full(fold)) rc = worker_commit(fold);
		if (!rc) rc = worker_open_transaction(fold);
	}
	if (!rc && people_backfill_is_ripe(fold->people)) rc = finish(fold, record);
	return rc;
}
