/* What the files of core/journal share: struct journal, and the steps of its thread. */
#pragma once

#include "journal/clock_source.h"
#include "journal/disk_budget.h"
#include "journal/queue.h"
#include "journal/segment_set.h"

#define JOURNAL_MAGIC 0x6a6f7572u

struct metric;

struct journal {
	uint32_t magic;
	char *dir;
	struct segment_set segments;
	struct append_queue queue;
	struct disk_budget disk;

	/* the journal thread's own */
	pthread_t thread;
	bool is_running;
	struct journal_meta meta; /* as last committed */
	struct segment *active;
	struct clock_watch watch;
	int64_t upkeep_at_us, tick_at_us, seal_at_us; /* boot clock: not before */
	struct metric *commit_seconds, *bytes_gauge;

	pthread_mutex_t lock; /* of the eight below */
	pthread_cond_t appended;
	unsigned waiters;
	uint64_t wakes; /* calls of journal_wake */
	struct conf_journal conf;
	struct journal_counters counters;
	struct position_list quarantined;
	uint64_t definition_seq;
	uint8_t definition_hash[DEFINITION_HASH_SIZE];

	_Atomic uint64_t first_seq, next_seq, quarantined_count, checkpoint, bytes;
	_Atomic uint64_t seal_upto; /* the segment of that position is to be sealed at once; 0: none */
	_Atomic int64_t last_t, due_t;
	atomic_bool is_held, has_panicked, is_closed;
	void (*on_panic)(void *ctx);
	void *panic_ctx;
};

/* ── commit.c ── */
/* Writes the chain in one transaction, publishes, settles. Takes the chain, whose queue_take said `bytes`. */
void commit_chain(struct journal *journal, struct journal_append *chain, size_t bytes);
/* Seals by age or size; false: it was needed and could not be done. */
bool commit_seal(struct journal *journal);
/* A tick of time. */
void commit_tick(struct journal *journal);
/* Commits `meta` as the journal's (and, as every commit does, a clock jump). ERR_FULL, ERR_NOMEM, ERR_PANIC. */
MUST_USE int commit_meta(struct journal *journal, const struct journal_meta *meta);

/* ── seal.c ── */
/* Address space of a segment. */
uint64_t seal_map_bytes(const struct conf_journal *conf);
/* Starts the next segment when the active one is full or old, or has no room for `bytes` more. ERR_FULL, ERR_NOMEM, ERR_PANIC. */
MUST_USE int seal_if_needed(struct journal *journal, size_t bytes);

/* ── rejects.c ── */
/* Keeps the reject's details within the budget and counts it. */
MUST_USE int rejects_put(struct segment *segment, struct store_txn *txn, struct journal_meta *meta, uint64_t budget,
			 const struct journal_reject *reject);

/* `out` borrows the value. ERR_CORRUPT, ERR_FORMAT. */
MUST_USE int rejects_read(struct str key, struct str value, struct journal_reject_row *out);

/* ── settle.c ── */
/* Hands each append of the chain back to its loop, one wake-up per loop. */
void settle_chain(struct journal_append *chain);

/* ── upkeep.c ── */
/* What time brings: ticks, sealing by age, retention, ballast. Cheap when there is nothing to do. */
void upkeep(struct journal *journal);
int64_t upkeep_timeout_us(struct journal *journal); /* until it wants to run again */
void journal_conf(struct journal *journal, struct conf_journal *out);
