#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/secret.h"
#include "cdpd/v1/store.pb-c.h"
#include "journal/state.h"

/* One transaction of the journal, from its beginning to its commit. */
struct commit {
	struct journal *journal;
	struct store_txn *txn;
	struct journal_meta meta;         /* becomes the journal's */
	struct position_list quarantined; /* becomes the journal's, when it has seqs */
	uint64_t rejects_bytes;
	bool has_jumped;
};

static int put_record(struct commit *c, enum record_kind kind, int64_t t, struct str payload)
{
	uint64_t seq = c->meta.next_seq;
	void *room;
	int rc = store_reserve(c->txn, c->journal->active->records, store_key64(&seq), RECORD_HEADER_SIZE + payload.len,
			       true, &room);
	if (rc != OK) return rc;
	record_header_write(room, kind, 0, t, payload);
	memcpy((char *)room + RECORD_HEADER_SIZE, payload.ptr, payload.len);
	c->meta.next_seq++;
	return OK;
}

/* The record says when the jump began: it lies before what came due by it, so that a reader who stops at a
 * hold has fired nothing. */
static int put_hold(struct commit *c, int64_t wall, int64_t ahead_us)
{
	uint8_t payload[64];
	Cdpd__V1__StoredClock clock = CDPD__V1__STORED_CLOCK__INIT;
	clock.act = CDPD__V1__STORED_CLOCK__ACT__HOLD;
	clock.jump_us = ahead_us;
	CHECK(cdpd__v1__stored_clock__get_packed_size(&clock) <= sizeof payload);
	size_t len = cdpd__v1__stored_clock__pack(&clock, payload);
	int64_t before = wall - ahead_us;
	if (before > c->meta.last_t) c->meta.last_t = before;
	int rc = put_record(c, RECORD_CLOCK, c->meta.last_t, str_of(payload, len));
	c->meta.is_clock_held = true;
	c->meta.clock_jump_us = ahead_us;
	c->has_jumped = true;
	return rc;
}

static int put_time(struct commit *c, int64_t clock_jump_us)
{
	int64_t ahead, wall = clock_watch_read(&c->journal->watch, &ahead);
	int rc = ahead > clock_jump_us ? put_hold(c, wall, ahead) : OK;
	if (wall > c->meta.last_t) c->meta.last_t = wall;
	return rc;
}

static int begin(struct commit *c, struct journal *journal, const struct journal_meta *meta)
{
	struct conf_journal conf;
	journal_conf(journal, &conf);
	*c = (struct commit){.journal = journal, .meta = *meta, .rejects_bytes = conf.rejects_bytes};
	int rc = store_begin(journal->active->env, true, &c->txn);
	return rc == OK ? put_time(c, conf.clock_jump_us) : rc;
}

/* A copy of the list with `seq` in its place; positions that retention took are left out. */
static int insert_position(const struct position_list *from, uint64_t first_seq, uint64_t seq, struct position_list *to)
{
	uint64_t *seqs = calloc(from->count + 1, sizeof *seqs);
	size_t count = 0;
	bool is_in = false;
	if (!seqs) return ERR_NOMEM;
	for (size_t i = 0; i < from->count; i++) {
		if (from->seqs[i] < first_seq) continue;
		if (!is_in && from->seqs[i] >= seq) {
			if (from->seqs[i] > seq) seqs[count++] = seq;
			is_in = true;
		}
		seqs[count++] = from->seqs[i];
	}
	if (!is_in) seqs[count++] = seq;
	*to = (struct position_list){seqs, count, from->count + 1};
	return count <= QUARANTINE_MAX ? OK : ERR_FULL;
}

static int put_quarantined(struct commit *c, uint64_t seq)
{
	const struct position_list *from = c->quarantined.seqs ? &c->quarantined : &c->journal->quarantined;
	struct position_list next = {0};
	int rc = insert_position(from, c->meta.first_seq, seq, &next);
	if (rc == OK) rc = segment_put_quarantined(c->journal->active, c->txn, &next);
	free(c->quarantined.seqs);
	c->quarantined = next;
	return rc;
}

static int put_entry(struct commit *c, const struct journal_entry *entry)
{
	if (entry->kind == RECORD_CLOCK) c->meta.is_clock_held = false; /* holds are never submitted: a confirm */
	if (entry->kind == RECORD_DEFINITION) {
		int rc = sha256(entry->payload, c->meta.definition_hash);
		if (rc != OK) return rc;
		c->meta.definition_seq = c->meta.next_seq;
	}
	return put_record(c, entry->kind, c->meta.last_t, entry->payload);
}

static int put_append(struct commit *c, struct journal_append *append)
{
	int rc = OK;
	append->first_seq = append->entry_count > 0 ? c->meta.next_seq : 0;
	for (size_t i = 0; i < append->entry_count && rc == OK; i++) rc = put_entry(c, &append->entries[i]);
	append->last_seq = c->meta.next_seq - 1;
	c->meta.counters.received += append->received;
	for (size_t i = 0; i < append->reject_count && rc == OK; i++)
		rc = rejects_put(c->journal->active, c->txn, &c->meta, c->rejects_bytes, &append->rejects[i]);
	if (rc == OK && append->quarantine_seq != 0) rc = put_quarantined(c, append->quarantine_seq);
	return rc;
}

/* Readers see it from here on. */
static void publish(struct commit *c)
{
	struct journal *journal = c->journal;
	uint64_t bytes = segment_set_bytes(&journal->segments) + store_used_bytes(journal->active->env);
	journal->meta = c->meta;
	if (c->has_jumped) clock_watch_rebase(&journal->watch);
	atomic_store(&journal->bytes, bytes);
	atomic_store(&journal->is_held, c->meta.is_clock_held);
	atomic_store(&journal->last_t, c->meta.last_t);
	pthread_mutex_lock(&journal->lock);
	journal->counters = c->meta.counters;
	journal->definition_seq = c->meta.definition_seq;
	memcpy(journal->definition_hash, c->meta.definition_hash, sizeof c->meta.definition_hash);
	if (c->quarantined.seqs) {
		free(journal->quarantined.seqs);
		journal->quarantined = c->quarantined;
		atomic_store(&journal->quarantined_count, c->quarantined.count);
	}
	atomic_store(&journal->next_seq, c->meta.next_seq);
	if (journal->waiters > 0) pthread_cond_broadcast(&journal->appended);
	pthread_mutex_unlock(&journal->lock);
	metric_set(journal->bytes_gauge, (int64_t)bytes);
	if (c->has_jumped)
		log_warn(LOG_JOURNAL, "the clock jumped ahead by %lld s, due actions are held until confirmed",
			 (long long)(c->meta.clock_jump_us / US_PER_SECOND));
}

/* `built`: how putting the records went. The transaction is gone afterwards. */
static int finish(struct commit *c, int built)
{
	struct journal *journal = c->journal;
	if (built == OK) built = segment_put_meta(journal->active, c->txn, &c->meta);
	if (built == OK) {
		int64_t begun = clock_mono_us();
		built = store_commit(c->txn);
		metric_observe_us(journal->commit_seconds, clock_mono_us() - begun);
	} else {
		store_abort(c->txn);
	}
	if (built == OK)
		publish(c);
	else
		free(c->quarantined.seqs);
	return built;
}

/* Only two failures leave a journal that goes on: no space and no memory. Only the first is the disk's. */
static int judge(struct journal *journal, int status)
{
	if (status == OK) return OK;
	if (status == ERR_FULL) disk_note_full(&journal->disk);
	if (status == ERR_FULL || status == ERR_NOMEM) return status;
	if (!atomic_exchange(&journal->has_panicked, true))
		log_error(LOG_JOURNAL, "nothing is acknowledged any more, cdpd must restart (%s)", status_str(status));
	return ERR_PANIC;
}

static int write_chain(struct journal *journal, struct journal_append *chain, bool urgent_only)
{
	struct commit c;
	int rc = begin(&c, journal, &journal->meta);
	if (!c.txn) return judge(journal, rc);
	for (struct journal_append *it = chain; it && rc == OK; it = it->next) {
		if (it->is_urgent || !urgent_only) rc = put_append(&c, it);
	}
	return judge(journal, finish(&c, rc));
}

static bool has_urgent(const struct journal_append *chain)
{
	while (chain && !chain->is_urgent) chain = chain->next;
	return chain != NULL;
}

static void answer(struct journal_append *chain, int status, bool urgent_only)
{
	for (struct journal_append *it = chain; it; it = it->next) {
		it->status = urgent_only && !it->is_urgent ? ERR_FULL : status;
		if (it->status != OK) it->first_seq = it->last_seq = 0;
	}
}

static int seal_and_write(struct journal *journal, struct journal_append *chain, size_t bytes, bool urgent_only)
{
	if (atomic_load(&journal->has_panicked)) return ERR_PANIC;
	int rc = judge(journal, seal_if_needed(journal, bytes));
	return rc == OK ? write_chain(journal, chain, urgent_only) : rc;
}

static void tell_panic(struct journal *journal)
{
	if (!atomic_load(&journal->has_panicked) || !journal->on_panic) return;
	void (*fn)(void *ctx) = journal->on_panic;
	journal->on_panic = NULL;
	fn(journal->panic_ctx);
}

void commit_chain(struct journal *journal, struct journal_append *chain, size_t bytes)
{
	size_t count = 0;
	bool urgent_only = false;
	for (const struct journal_append *it = chain; it; it = it->next) count++;
	int rc = seal_and_write(journal, chain, bytes, false);
	if (rc == ERR_FULL && has_urgent(chain)) {
		/* The ballast is for those who cannot be told to come back later. */
		urgent_only = true;
		(void)disk_release_ballast(&journal->disk);
		rc = seal_and_write(journal, chain, bytes, true);
	}
	answer(chain, rc, urgent_only);
	queue_settled(&journal->queue, bytes, count);
	settle_chain(chain);
	tell_panic(journal);
}

static int write_own(struct journal *journal, const struct journal_meta *meta, bool is_tick)
{
	struct commit c;
	int rc = begin(&c, journal, meta);
	if (!c.txn) return judge(journal, rc);
	/* A tick would be what the hold is there to prevent. */
	if (rc == OK && is_tick && !c.meta.is_clock_held) rc = put_record(&c, RECORD_TICK, c.meta.last_t, STR_NONE);
	/* Time moves with records alone: what is due by it would wait for a tick that never comes. */
	if (c.meta.next_seq == meta->next_seq) c.meta.last_t = meta->last_t;
	return judge(journal, finish(&c, rc));
}

static int commit_own(struct journal *journal, const struct journal_meta *meta, bool is_tick)
{
	if (atomic_load(&journal->has_panicked)) return ERR_PANIC;
	int rc = write_own(journal, meta, is_tick);
	if (rc == ERR_FULL && disk_release_ballast(&journal->disk)) rc = write_own(journal, meta, is_tick);
	tell_panic(journal);
	return rc;
}

bool commit_seal(struct journal *journal)
{
	if (atomic_load(&journal->has_panicked)) return false;
	int rc = judge(journal, seal_if_needed(journal, 0));
	tell_panic(journal);
	return rc == OK;
}

void commit_tick(struct journal *journal)
{
	if (!commit_seal(journal)) return;               /* the next try is a second away */
	(void)commit_own(journal, &journal->meta, true); /* and so it is for this; a panic was told */
}

int commit_meta(struct journal *journal, const struct journal_meta *meta)
{
	return commit_own(journal, meta, false);
}
