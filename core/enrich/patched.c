#include "enrich/patched.h"

int event_patch(struct journal *journal, struct arena *arena, const uint64_t *seqs, size_t count,
		struct cdpd_event *event)
{
	for (size_t i = 0; i < count; i++) {
		struct record record;
		struct resolution resolution;
		int rc = journal_get(journal, seqs[i], arena, &record);
		if (rc == ERR_NOT_FOUND || rc == ERR_GONE) continue;
		if (rc) return rc;
		if (record.kind != RECORD_RESOLUTION) return ERR_CORRUPT;
		rc = resolution_decode(record.payload, arena, &resolution);
		if (!rc) rc = enrichment_merge(event->enrichment, resolution.patch, arena, &event->enrichment);
		if (rc) return rc;
	}
	return OK;
}
