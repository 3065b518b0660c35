/* The part of segments that lives as long as people: opening, the row of `meta`, transactions' beginnings and ends, the shown state. */
#include <stdlib.h>

#include "base/clock.h"
#include "profile/sealed.h"
#include "profile/segments.h"
#include "profile/wire.h"

#define KEY_STATE  STR("segments")
#define TEXT_MAX   ((size_t)1 << 20)
#define STATE_SIZE (SEALED_HEADER + 1 + 8 + 8 + 16 + 1 + 8)

static int state_read(struct store_txn *txn, store_db meta, struct segment_state *out)
{
	struct str value;
	struct sealed sealed;
	memset(out, 0, sizeof *out);
	out->next_due = out->next_expiry = INT64_MAX;
	int rc = store_get(txn, meta, KEY_STATE, &value);
	if (rc == ERR_NOT_FOUND) return OK;
	if (!rc) rc = sealed_open(KEY_STATE, value, &sealed);
	if (rc) return rc;
	struct wire_in in = wire_in((struct str){value.ptr + SEALED_HEADER, value.len - SEALED_HEADER});
	out->is_held = wire_u8(&in) != 0;
	out->held_t = (int64_t)wire_u64(&in);
	out->scan_seq = wire_u64(&in);
	wire_copy(&in, &out->scan_after, sizeof out->scan_after);
	out->has_scanned = wire_u8(&in) != 0;
	out->scan_count = wire_u64(&in);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

int segment_state_write(struct store_txn *txn, store_db meta, const struct segment_state *state)
{
	uint8_t value[STATE_SIZE], *at = value + SEALED_HEADER;
	*at++ = state->is_held;
	at = wire_put_u64(at, (uint64_t)state->held_t);
	at = wire_put_u64(at, state->scan_seq);
	at = wire_put(at, &state->scan_after, sizeof state->scan_after);
	*at++ = state->has_scanned;
	at = wire_put_u64(at, state->scan_count);
	sealed_close(KEY_STATE, (char *)value, sizeof value, (struct sealed){0});
	return store_put(txn, meta, KEY_STATE, (struct str){(const char *)value, (size_t)(at - value)});
}

static void make_metrics(struct segments *segments)
{
	static const char *const name = "cdpd_segment_changes_total", *const help =
									  "Entries into and exits from segments.";
	segments->entered = metric_get(METRIC_COUNTER, name, "direction=\"entered\"", help);
	segments->exited = metric_get(METRIC_COUNTER, name, "direction=\"exited\"", help);
	segments->fired = metric_get(METRIC_COUNTER, "cdpd_due_fired_total", NULL, "Due times of profiles that came.");
	segments->expired = metric_get(METRIC_COUNTER, "cdpd_expiries_fired_total", NULL,
				       "Moments at which consents or answers of somebody ran out.");
	segments->next_due = metric_get(METRIC_GAUGE, "cdpd_due_next_timestamp_seconds", NULL,
					"When the next profile is due, in Unix time; 0: none is.");
	segments->scanned = metric_get(METRIC_COUNTER, "cdpd_segment_scan_profiles_total", NULL,
				       "Identifiers looked at because definitions changed.");
	segments->percent = metric_get(METRIC_GAUGE, "cdpd_segment_scan_percent", NULL,
				       "How far the re-evaluation after a changed definition is; 100: done.");
}

int segments_open(struct people *people)
{
	struct segments *segments = calloc(1, sizeof *segments);
	if (!segments) return ERR_NOMEM;
	people->segments = segments;
	buf_init(&segments->scratch.text, TEXT_MAX);
	if (!people->is_private) make_metrics(segments);
	segments->counts = calloc(SEGMENT_COUNTS, sizeof *segments->counts);
	if (!segments->counts) return ERR_NOMEM;
	int rc = json_reader_new(&segments->scratch.reader);
	return rc ? rc : segment_tables_open(people->env, &segments->tables);
}

void segments_close(struct people *people)
{
	struct segments *segments = people->segments;
	if (!segments) return;
	if (segments->scratch.reader) json_reader_free(segments->scratch.reader);
	buf_fini(&segments->scratch.text);
	free(segments->counts);
	segment_queue_fini(&segments->members);
	segment_queue_fini(&segments->due);
	free(segments);
	people->segments = NULL;
}

static unsigned permille(const struct segment_state *state)
{
	if (!state->scan_seq) return 1000;
	if (!state->has_scanned) return 0;
	/* Ids are hashes: where the scan stands among them is how far it is. */
	return (unsigned)(state->scan_after.bytes[0] << 8 | state->scan_after.bytes[1]) * 1000u / 65536u;
}

static void publish(struct people *people)
{
	struct segments *segments = people->segments;
	const struct segment_state *state = &segments->committed;
	const struct plan *plan = people->plan;
	atomic_store(&segments->shown_scan_seq, state->scan_seq);
	atomic_store(&segments->shown_scan_count, state->scan_count);
	atomic_store(&segments->shown_permille, permille(state));
	atomic_store(&segments->shown_due, state->next_due);
	atomic_store(&segments->shown_held, state->is_held);
	atomic_store(&segments->shown_defined, plan && plan->segments ? plan->segments->count : 0);
	metric_set(segments->next_due, state->next_due == INT64_MAX ? 0 : state->next_due / US_PER_SECOND);
	metric_set(segments->percent, permille(state) / 10);
}

int segments_load(struct people *people, struct store_txn *txn)
{
	struct segments *segments = people->segments;
	struct fragment_id profile;
	int rc = state_read(txn, people->tables.meta, &segments->committed);
	if (rc) return rc;
	rc = due_first(txn, segments->tables.due, &segments->committed.next_due, &profile);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	rc = due_first(txn, segments->tables.expiries, &segments->committed.next_expiry, &profile);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	segments->working = segments->committed;
	segments->is_due_known = segments->is_expiry_known = true;
	publish(people);
	return OK;
}

void segments_begin(struct people *people)
{
	struct segments *segments = people->segments;
	segments->working = segments->committed;
	segments->is_due_known = segments->is_expiry_known = true;
	segments->is_scan_waiting = false;
	segments->loaded = NULL;
}

void segments_ended(struct people *people, bool is_committed)
{
	struct segments *segments = people->segments;
	segments->loaded = NULL;
	segments->is_scan_waiting = false;
	for (size_t i = 0; i < segments->counted_count; i++) segments->counts[segments->counted[i]].is_used = false;
	segments->counted_count = 0;
	segments->members.count = segments->due.count = 0;
	if (!is_committed) return;
	segments->committed = segments->working;
	publish(people);
}

void people_segment_progress(const struct people *people, struct segment_progress *out)
{
	const struct segments *segments = people->segments;
	*out = (struct segment_progress){.defined = atomic_load(&segments->shown_defined),
					 .scan_seq = atomic_load(&segments->shown_scan_seq),
					 .scan_count = atomic_load(&segments->shown_scan_count),
					 .scan_permille = atomic_load(&segments->shown_permille),
					 .next_due = atomic_load(&segments->shown_due),
					 .is_held = atomic_load(&segments->shown_held)};
}
