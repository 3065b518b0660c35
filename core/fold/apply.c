#include <inttypes.h>

#include "event/record.h"
#include "fold/payload.h"
#include "fold/resolve.h"
#include "fold/worker.h"
#include "profile/backfill.h"
#include "profile/segment.h"

static int put_verdict(struct fold *fold, uint64_t seq, enum outcome_verdict verdict, enum outcome_reason reason,
		       uint64_t previous_seq)
{
	struct outcome outcome = {.verdict = verdict, .reason = reason, .previous_seq = previous_seq};
	return people_put_outcome(fold->people, seq, &outcome);
}

static int apply_new(struct fold *fold, const struct cdpd_event *event, const struct record *record)
{
	struct apply_result result;
	int rc = people_apply(fold->people, event, record->seq, record->t, &result);
	if (rc) return rc;
	struct outcome outcome = {
	    .verdict = result.verdict, .reason = result.reason, .previous_seq = result.previous_seq};
	memcpy(outcome.fragment, result.fragment.bytes, sizeof outcome.fragment);
	if (result.verdict == OUTCOME_APPLIED && dedup_is_maybe_duplicate(fold->dedup, event, record->t) &&
	    outcome.reason == OUTCOME_REASON_NONE) {
		outcome.reason = OUTCOME_REASON_MAYBE_DUPLICATE;
	}
	return people_put_outcome(fold->people, record->seq, &outcome);
}

static int apply_event(struct fold *fold, const struct record *record)
{
	struct cdpd_event event;
	enum dedup_verdict verdict;
	uint64_t winner;
	int rc = event_decode(record->payload, &fold->arena, &event);
	if (rc == ERR_NOMEM) return rc;
	if (!rc) {
		rc = dedup_check(fold->dedup, people_txn(fold->people), &event, record->seq, record->t, &verdict,
				 &winner);
		if (rc && rc != ERR_INVALID) return rc;
	}
	if (rc) return put_verdict(fold, record->seq, OUTCOME_REFUSED, OUTCOME_REASON_UNDECODABLE, 0);
	switch (verdict) {
	case DEDUP_NEW: return apply_new(fold, &event, record);
	case DEDUP_DUPLICATE: return put_verdict(fold, record->seq, OUTCOME_DUPLICATE, OUTCOME_REASON_NONE, winner);
	case DEDUP_CONFLICT: break;
	}
	return put_verdict(fold, record->seq, OUTCOME_CONFLICT, OUTCOME_REASON_NONE, winner);
}

static int apply_definition(struct fold *fold, const struct record *record)
{
	struct str text;
	uint64_t oldest;
	int rc = payload_read_definition(&fold->arena, record->payload, &text, &oldest);
	if (rc) return rc;
	/* A definition is also appended when it was only unknown whether a pending record already says the same. */
	if (str_eq(text, people_definitions_text(fold->people))) return OK;
	rc = people_define_since(fold->people, text, record->seq, record->t, oldest);
	if (rc) {
		log_error(LOG_FOLD,
			  "the definition at position %" PRIu64
			  " cannot be taken over, the fold stops there (%s); is a feature plugin missing?",
			  record->seq, status_str(rc));
		return rc;
	}
	worker_configure(fold);
	return OK;
}

static int apply_clock(struct fold *fold, const struct record *record)
{
	bool is_held;
	int rc = payload_read_clock(&fold->arena, record->payload, &is_held);
	if (rc) return rc;
	dedup_hold(fold->dedup, is_held);
	people_hold(fold->people, is_held, record->t);
	dedup_advance(fold->dedup, record->seq, record->t); /* with a confirmation what was held back is due now */
	return OK;
}

/* Its outcome lets exporters pass the erasure on; it is no event, so it is not counted. */
static int apply_erasure(struct fold *fold, const struct record *record)
{
	struct people_erasure erasure;
	int rc = erasure_decode(record->payload, &fold->arena, &erasure);
	if (!rc) rc = people_erase(fold->people, &erasure, record->seq, record->t);
	return rc ? rc : people_note_act(fold->people, record->seq);
}

static int apply_suppression(struct fold *fold, const struct record *record)
{
	struct people_suppression act;
	int rc = payload_read_suppression(&fold->arena, record->payload, &act);
	return rc ? rc : people_suppress(fold->people, &act, record->seq, record->t);
}

static int apply_erased_event(struct fold *fold, const struct record *record)
{
	struct erased_event event;
	int rc = erased_event_decode(record->payload, &fold->arena, &event);
	if (!rc) rc = people_apply_erased(fold->people, &event, record->seq, record->t);
	return rc ? rc : put_verdict(fold, record->seq, OUTCOME_ERASED, OUTCOME_REASON_NONE, 0);
}

static int apply_act(struct fold *fold, const struct record *record)
{
	struct people_act act;
	int rc = payload_read_act(&fold->arena, record->payload, &act);
	if (rc) return rc;
	enum people_act_kind kind = record->kind == RECORD_MERGE ? PEOPLE_MERGE : PEOPLE_UNMERGE;
	return people_act(fold->people, kind, &act, record->seq, record->t);
}

static int refuse_kind(const struct record *record)
{
	log_error(LOG_FOLD,
		  "position %" PRIu64
		  " holds a record of kind %s, which this version of cdpd cannot fold: it was written by "
		  "a newer one; the fold stops there, run that version again",
		  record->seq, record_kind_name(record->kind));
	return ERR_FORMAT;
}

static int apply_resolution(struct fold *fold, const struct record *record)
{
	const struct resolving in = {fold->people, fold->journal, &fold->arena};
	int rc = resolve_apply(&in, record);
	return rc == ERR_FORMAT ? refuse_kind(record) : rc;
}

static int apply_kind(struct fold *fold, const struct record *record)
{
	switch (record->kind) {
	case RECORD_EVENT: dedup_advance(fold->dedup, record->seq, record->t); return apply_event(fold, record);
	case RECORD_DEFINITION:
		dedup_advance(fold->dedup, record->seq, record->t);
		return apply_definition(fold, record);
	case RECORD_CLOCK: return apply_clock(fold, record);
	case RECORD_TICK:
	case RECORD_QUARANTINE: /* the journal indexed it when it was written */
		dedup_advance(fold->dedup, record->seq, record->t);
		return OK;
	case RECORD_ERASURE: dedup_advance(fold->dedup, record->seq, record->t); return apply_erasure(fold, record);
	case RECORD_SUPPRESSION:
		dedup_advance(fold->dedup, record->seq, record->t);
		return apply_suppression(fold, record);
	case RECORD_ERASED_EVENT:
		dedup_advance(fold->dedup, record->seq, record->t);
		return apply_erased_event(fold, record);
	case RECORD_MERGE:
	case RECORD_UNMERGE: dedup_advance(fold->dedup, record->seq, record->t); return apply_act(fold, record);
	case RECORD_RESOLUTION:
		dedup_advance(fold->dedup, record->seq, record->t);
		return apply_resolution(fold, record);
	}
	return refuse_kind(record);
}

static int leave_out(struct fold *fold, const struct record *record)
{
	log_warn(LOG_FOLD, "position %" PRIu64 " is quarantined, its %s is left out (the fold crashed on it)",
		 record->seq, record_kind_name(record->kind));
	metric_add(fold->meter.quarantined, 1);
	dedup_advance(fold->dedup, record->seq, record->t);
	if (record->kind == RECORD_ERASED_EVENT)
		return put_verdict(fold, record->seq, OUTCOME_ERASED, OUTCOME_REASON_NONE, 0);
	const struct resolving in = {fold->people, fold->journal, &fold->arena};
	if (record->kind == RECORD_RESOLUTION) return resolve_leave_out(&in, record);
	if (record->kind != RECORD_EVENT) return OK;
	return put_verdict(fold, record->seq, OUTCOME_QUARANTINED, OUTCOME_REASON_CRASHED, 0);
}

int apply_record(struct fold *fold, const struct record *record)
{
	arena_reset(&fold->arena);
	if (journal_is_quarantined(fold->journal, record->seq)) return leave_out(fold, record);
	marker_begin(&fold->marker, record->seq, record->seq + 1);
	int rc = apply_kind(fold, record);
	marker_end(&fold->marker);
	return rc;
}
