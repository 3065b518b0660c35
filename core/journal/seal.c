#include "base/log.h"
#include "journal/state.h"

/* A page holds at least half its size in what the queue counts as bytes; this much more for the tree above. */
#define TREE_SLACK (UINT64_C(1) << 20)

/* Twice its seal size, and always room for the largest request the queue admits: address space costs nothing. */
uint64_t seal_map_bytes(const struct conf_journal *conf)
{
	return 2 * conf->segment_bytes + 4 * (uint64_t)conf->queue_bytes + 2 * TREE_SLACK;
}

static bool has_room(const struct segment *active, size_t bytes)
{
	return store_used_bytes(active->env) + 2 * (uint64_t)bytes + TREE_SLACK <= active->map_bytes;
}

static int64_t logical_now(const struct journal *journal)
{
	int64_t ahead, wall = clock_watch_read(&journal->watch, &ahead);
	return wall > journal->meta.last_t ? wall : journal->meta.last_t;
}

static bool is_needed(const struct journal *journal, const struct conf_journal *conf, size_t bytes)
{
	const struct segment *active = journal->active;
	if (journal->meta.next_seq == active->first_seq) return false; /* empty: the next would be named the same */
	if (atomic_load(&journal->seal_upto) >= active->first_seq) return true;
	if (store_used_bytes(active->env) >= conf->segment_bytes || !has_room(active, bytes)) return true;
	return logical_now(journal) - journal->meta.created_t >= conf->segment_age_us;
}

/* The old segment stays open as a sealed one, until it is the least recently used. */
static int start_next(struct journal *journal, const struct conf_journal *conf)
{
	struct journal_meta meta = journal->meta;
	meta.created_t = logical_now(journal);
	meta.reject_bytes = 0;
	int rc = segment_set_reserve(&journal->segments);
	if (rc != OK) return rc;
	struct segment *next = segment_new(journal->dir, meta.next_seq);
	if (!next) return ERR_NOMEM;
	rc = segment_create(next, journal->dir, &meta, &journal->quarantined, seal_map_bytes(conf));
	if (rc != OK) {
		segment_free(next);
		return rc;
	}
	segment_set_add(&journal->segments, next, meta.last_t);
	journal->active = next;
	journal->meta = meta;
	log_info(LOG_JOURNAL, "%s was begun", next->path);
	return OK;
}

int seal_if_needed(struct journal *journal, size_t bytes)
{
	struct conf_journal conf;
	journal_conf(journal, &conf);
	if (!is_needed(journal, &conf, bytes)) return OK;
	/* A segment may grow somewhat beyond its size while the next one cannot be made (no space, no descriptors). */
	int64_t boot = journal->watch.source.boot_us(journal->watch.source.ctx);
	bool can_wait = has_room(journal->active, bytes);
	if (can_wait && boot < journal->seal_at_us) return OK;
	int rc = start_next(journal, &conf);
	if (rc == OK || rc == ERR_PANIC) return rc;
	journal->seal_at_us = boot + US_PER_SECOND;
	log_warn(LOG_JOURNAL, "no new segment could be begun, the old one %s (%s)",
		 can_wait ? "goes on" : "has no room", status_str(rc));
	if (can_wait) return OK;
	return rc == ERR_NOMEM ? rc : ERR_FULL;
}
