#include "fold/append.h"

#include <stddef.h>
#include <time.h>

#define BUSY_PAUSE_NS 10000000
#define BUSY_TRIES    500 /* 5 s of a full queue: the daemon has other troubles */

static void on_settled(struct loop_task *task)
{
	struct journal_append *append =
	    (struct journal_append *)((char *)task - offsetof(struct journal_append, settled));
	loop_stop(append->loop);
}

static int submit(struct journal *journal, struct journal_append *append)
{
	const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
	int rc = journal_submit(journal, append);
	for (int tries = 0; rc == ERR_BUSY && tries < BUSY_TRIES; tries++) {
		(void)nanosleep(&pause, NULL);
		rc = journal_submit(journal, append);
	}
	return rc;
}

int append_and_wait(struct journal *journal, enum record_kind kind, struct str payload, uint64_t quarantine_seq,
		    uint64_t *seq)
{
	struct journal_entry entry = {.kind = kind, .payload = payload};
	struct journal_append append = {
	    .entries = &entry, .entry_count = 1, .quarantine_seq = quarantine_seq, .is_urgent = true};
	append.settled.run = on_settled;
	int rc = loop_new(&append.loop);
	if (rc) return rc;
	rc = submit(journal, &append);
	if (!rc) {
		loop_run(append.loop);
		rc = append.status;
		*seq = append.first_seq;
	}
	loop_free(append.loop);
	return rc;
}
