#include "fold/resolve.h"

#include "enrich/patched.h"
#include "profile/awaits.h"

int resolve_event(const struct resolving *in, const struct record *record, const struct outcome *outcome,
		  struct cdpd_event *event)
{
	uint64_t seqs[ASYNC_ENRICHERS_MAX];
	size_t count;
	int rc = event_decode(record->payload, in->arena, event);
	if (!rc) rc = people_resolutions_of(in->people, outcome, seqs, &count);
	return rc ? rc : event_patch(in->journal, in->arena, seqs, count, event);
}

/* The event as it is now, and whether it is still there. */
static int read_event(const struct resolving *in, const struct resolution *resolution, const struct outcome *outcome,
		      struct cdpd_event *event, bool *is_there)
{
	struct record record;
	*is_there = false;
	int rc = journal_get(in->journal, resolution->event_seq, in->arena, &record);
	if (rc == ERR_NOT_FOUND || rc == ERR_GONE) return OK;
	if (rc || record.kind != RECORD_EVENT) return rc;
	rc = resolve_event(in, &record, outcome, event);
	if (!rc) rc = enrichment_merge(event->enrichment, resolution->patch, in->arena, &event->enrichment);
	*is_there = rc == OK;
	return rc;
}

int resolve_apply(const struct resolving *in, const struct record *record)
{
	struct resolution resolution;
	struct outcome outcome;
	struct cdpd_event event;
	bool is_there;
	int rc = resolution_decode(record->payload, in->arena, &resolution);
	if (rc == ERR_CORRUPT || (!rc && resolution.event_seq >= record->seq)) return ERR_FORMAT;
	if (!rc) rc = people_await_find(in->people, resolution.event_seq, resolution.enricher, &outcome);
	/* Answered before, or released: exactly one answer counts. */
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	rc = read_event(in, &resolution, &outcome, &event, &is_there);
	if (rc) return rc;
	const struct people_resolution given = {.event_seq = resolution.event_seq,
						.enricher = resolution.enricher,
						.outcome = &outcome,
						.event = is_there ? &event : NULL,
						.has_patch = resolution.patch.len > 0};
	return people_resolve_await(in->people, &given, record->seq, record->t);
}

int resolve_leave_out(const struct resolving *in, const struct record *record)
{
	struct resolution resolution;
	struct outcome outcome;
	int rc = resolution_decode(record->payload, in->arena, &resolution);
	if (!rc) rc = people_await_find(in->people, resolution.event_seq, resolution.enricher, &outcome);
	if (rc) return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? OK : rc;
	const struct people_resolution given = {
	    .event_seq = resolution.event_seq, .enricher = resolution.enricher, .outcome = &outcome};
	return people_resolve_await(in->people, &given, record->seq, record->t);
}
