/* journal: the one ordered, durable sequence of records. Truth, together with the checkpoint.
 *
 * Records lie in segments, each an LMDB environment `journal/<n>/` (n = its first seq, 20 digits), sealed by
 * size or age. One journal thread takes everything that piled up while its last commit ran, writes it in one
 * transaction (a request is never split), fsyncs, then posts the acks to the loops that asked.
 * It must not know what records mean, and never calls plugins. */
#pragma once

#include "base/loop.h"
#include "base/problem.h"
#include "config/config.h"
#include "event/record.h"

struct journal;

/* Counters that are committed together with what they count. Events, not records. */
struct journal_counters {
	uint64_t received; /* events seen, rejected ones included; an unparseable request counts one */
	uint64_t rejected; /* of those, refused before the journal */
	uint64_t rejected_by[PROBLEM_COUNT]; /* split by reason; enricher drops are ENRICHER_DROPPED */
	uint64_t rejects_not_kept;           /* rejects whose detail the budget had no room for */
};

/* Opens or creates. Verifies the format, the epoch and the last segment's tail. ERR_FORMAT, ERR_CORRUPT, ERR_IO; the
 * cause is logged. */
MUST_USE int journal_open(const char *store_path, const struct conf_journal *conf, struct journal **out);
MUST_USE int journal_start(struct journal *journal); /* the thread */
/* Refuses new work (ERR_CLOSED), settles what is queued, stops the thread. */
void journal_stop(struct journal *journal);
void journal_close(struct journal *journal);
void journal_set_conf(struct journal *journal, const struct conf_journal *conf); /* reload; copied */
/* Before journal_start. `fn` runs once, on the journal's thread, when durability can no longer be promised: everything
 * un-acked was answered with ERR_PANIC, nothing is written any more, and the process must exit and start anew. */
void journal_on_panic(struct journal *journal, void (*fn)(void *ctx), void *ctx);

/* ── appending ───────────────────────────────────────────────────────────── */

struct journal_entry {
	enum record_kind kind;
	struct str payload; /* borrowed until the append is settled */
};

struct journal_reject { /* an event that never became one */
	enum problem reason;
	struct str source_id, message_id, pointer, detail;
	struct str excerpt; /* start of the event as sent, at most JOURNAL_EXCERPT_MAX */
	uint32_t index;     /* in its request */
};
#define JOURNAL_EXCERPT_MAX 1024

/* One request = one transaction. Embedded in the caller's object; everything it points to must live until `settled` runs. */
struct journal_append {
	struct journal_append *next; /* the journal's while queued */
	const struct journal_entry *entries;
	size_t entry_count;
	const struct journal_reject *rejects;
	size_t reject_count;
	uint32_t received;       /* events this request held */
	uint64_t quarantine_seq; /* with a quarantine record: the position to index in the journal's meta; else 0 */
	bool is_urgent;          /* may use the queue's reserve and the disk's ballast room: the fold's own records */

	struct loop *loop; /* where `settled` runs; NULL: on the journal's thread, which it must not hold up */
	struct loop_task settled;

	/* answers */
	int status;                   /* OK: durable. ERR_FULL, ERR_NOMEM, ERR_PANIC, ERR_CLOSED: not in the journal */
	uint64_t first_seq, last_seq; /* of the entries; last_seq of the newest record when there are none */
	size_t bytes;                 /* the journal's bookkeeping */
};

/* From any thread; before journal_start too. Appends of one thread are settled in the order submitted. OK: the journal
 * answers through `settled` exactly once. ERR_BUSY (queue full → 429), ERR_FULL (disk budget → 503), ERR_CLOSED,
 * ERR_PANIC: refused now, `settled` does not run. */
MUST_USE int journal_submit(struct journal *journal, struct journal_append *append);
/* The same, waiting; not on a loop's thread. */
MUST_USE int journal_append_wait(struct journal *journal, enum record_kind kind, struct str payload, uint64_t *seq);

/* ── reading (any thread) ────────────────────────────────────────────────── */

uint64_t journal_epoch(const struct journal *journal);
uint64_t journal_first_seq(const struct journal *journal); /* oldest retained */
uint64_t journal_next_seq(const struct journal *journal);  /* durable: everything below it is readable */
int64_t journal_last_t(const struct journal *journal);
void journal_counters(const struct journal *journal, struct journal_counters *out);
uint64_t journal_bytes(const struct journal *journal); /* on disk */

struct journal_batch {
	struct arena arena; /* holds the payloads; the reader reuses it */
	struct record *records;
	size_t count, capacity;
};
void journal_batch_init(struct journal_batch *batch);
void journal_batch_fini(struct journal_batch *batch);
/* Up to max_count records and about max_bytes from `seq` on, copied. OK (count ≥ 1), ERR_AGAIN (nothing there yet),
 * ERR_GONE (behind retention), ERR_CORRUPT. */
MUST_USE int journal_read(struct journal *journal, uint64_t seq, size_t max_count, size_t max_bytes,
			  struct journal_batch *batch);
/* One record, copied into the arena. ERR_NOT_FOUND, ERR_GONE, ERR_CORRUPT. */
MUST_USE int journal_get(struct journal *journal, uint64_t seq, struct arena *arena, struct record *out);
/* Waits until next_seq > seq: OK; ERR_TIMEOUT; ERR_CLOSED after journal_stop. */
MUST_USE int journal_wait(struct journal *journal, uint64_t seq, int timeout_ms);
void journal_wake(struct journal *journal); /* makes every journal_wait under way return ERR_TIMEOUT at once */

/* Rejects, newest first, below *cursor (0: from the newest). `fn` gets borrowed text; returning non-zero stops. */
struct journal_reject_row {
	uint64_t id; /* cursor of this row */
	int64_t t;
	struct journal_reject reject;
};
MUST_USE int journal_rejects(struct journal *journal, uint64_t below_id,
			     int (*fn)(void *ctx, const struct journal_reject_row *row), void *ctx);

/* ── time, quarantine, retention ─────────────────────────────────────────── */

/* Earliest logical time at which something is due; INT64_MAX: nothing. The journal appends a tick when it passes and
 * nothing else arrives, at most one a second. */
void journal_set_due(struct journal *journal, int64_t t);
/* Positions the fold must leave out; consulted before folding. A quarantine record adds one in its own transaction. */
bool journal_is_quarantined(const struct journal *journal, uint64_t seq);
/* Is a clock jump holding due actions? The hold record carries the time before the jump and stands before the first
 * record after it, so that a reader who stops there has fired nothing. journal_confirm_clock appends the operator's word. */
bool journal_clock_is_held(const struct journal *journal);
MUST_USE int journal_confirm_clock(struct journal *journal, struct str actor); /* waits; ERR_NOT_FOUND: nothing held */
/* Everything below `seq` is in the checkpoint; retention may trim sealed segments that lie wholly below it. */
void journal_set_checkpoint(struct journal *journal, uint64_t seq);
/* Gives the ballast back to the file system (the fold ran out of pages); re-made when space returns. */
void journal_release_ballast(struct journal *journal);
/* The newest definition record's position and the SHA-256 of its payload; false: there is none. */
bool journal_definition(struct journal *journal, uint64_t *seq, uint8_t hash[32]);
/* Is the daemon refusing writes, and why? NULL: it takes writes. Static text. */
const char *journal_refusal(const struct journal *journal);
