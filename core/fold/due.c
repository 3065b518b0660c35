#include "fold/due.h"

#include "profile/segment.h"

#define SLICE      256   /* due actions between looks at the transaction's size */
#define SCAN_EVENT 32    /* profiles looked at beside one event: folding goes on meanwhile, a little slower */
#define SCAN_TICK  16384 /* and beside any other record; with nothing else to do there is a tick a second */

static int fire_slice(struct fold *fold, const struct record *record)
{
	marker_begin(&fold->marker, record->seq, record->seq + 1);
	int rc = people_fire_due(fold->people, record->seq, record->t, SLICE);
	marker_end(&fold->marker);
	return rc;
}

int due_fire(struct fold *fold, const struct record *record)
{
	int rc = worker_open_transaction(fold);
	if (rc || !people_is_due(fold->people, record->t)) return rc;
	if (journal_is_quarantined(fold->journal, record->seq)) return OK; /* they may be what crashed */
	while (!rc && people_is_due(fold->people, record->t)) {
		rc = fire_slice(fold, record);
		if (!rc && worker_is_full(fold)) rc = worker_commit(fold);
		if (!rc) rc = worker_open_transaction(fold);
	}
	return rc;
}

int due_scan(struct fold *fold, const struct record *record)
{
	if (!people_is_scanning(fold->people) || journal_is_quarantined(fold->journal, record->seq)) return OK;
	marker_begin(&fold->marker, record->seq, record->seq + 1);
	int rc = people_scan_segments(fold->people, record->t, record->kind == RECORD_EVENT ? SCAN_EVENT : SCAN_TICK);
	marker_end(&fold->marker);
	return rc;
}
