#include <stdio.h>

#include "training/job.h"

#define BATCH_RECORDS 1024
#define BATCH_BYTES   ((size_t)1 << 20)

/* Nothing happens after it arrived. */
static int64_t earlier(int64_t at_us, int64_t t)
{
	return at_us && at_us < t ? at_us : t;
}

static int time_of(struct job *job, const struct record *record, int64_t *at_us)
{
	struct cdpd_event event;
	struct erased_event husk;
	int rc = OK;
	*at_us = record->t;
	arena_reset(&job->scratch);
	if (record->kind == RECORD_EVENT) {
		rc = event_decode(record->payload, &job->scratch, &event);
		if (!rc) *at_us = earlier(event.event_time_us, record->t);
	} else if (record->kind == RECORD_ERASED_EVENT) {
		rc = erased_event_decode(record->payload, &job->scratch, &husk);
		if (!rc) *at_us = earlier(husk.event_time_us, record->t);
	}
	return rc == ERR_CORRUPT ? OK : rc;
}

static bool is_needed(enum record_kind kind)
{
	return kind == RECORD_EVENT || kind == RECORD_ERASED_EVENT || kind == RECORD_MERGE || kind == RECORD_UNMERGE ||
	       kind == RECORD_ERASURE;
}

static int add_batch(struct job *job, struct sorter *sorter, const struct journal_batch *batch)
{
	int rc = replay_may_go_on(job);
	for (size_t i = 0; i < batch->count && !rc && batch->records[i].seq < job->end; i++) {
		const struct record *record = &batch->records[i];
		int64_t at_us;
		if (!is_needed(record->kind)) continue;
		rc = time_of(job, record, &at_us);
		if (!rc) rc = sorter_add(sorter, at_us, record->seq);
	}
	return rc;
}

static int add_journal(struct job *job, struct sorter *sorter)
{
	struct journal_batch batch;
	journal_batch_init(&batch);
	int rc = OK;
	for (uint64_t seq = job->first; seq < job->end && !rc;) {
		rc = journal_read(job->journal, seq, BATCH_RECORDS, BATCH_BYTES, &batch);
		if (!rc) rc = add_batch(job, sorter, &batch);
		if (!rc) seq = batch.records[batch.count - 1].seq + 1;
	}
	journal_batch_fini(&batch);
	return rc;
}

int order_make(struct job *job, struct sorter **out)
{
	char path[sizeof job->folder + 16];
	(void)snprintf(path, sizeof path, "%s/order", job->folder);
	int rc = sorter_new(path, SORTER_RUN, out);
	if (rc) return rc;
	rc = add_journal(job, *out);
	if (!rc) rc = sorter_start(*out);
	if (rc) {
		sorter_free(*out);
		*out = NULL;
	}
	return rc;
}
