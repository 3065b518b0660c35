#include "base/log.h"
#include "journal/state.h"

#define UPKEEP_EVERY_US US_PER_SECOND
#define TICK_EVERY_US   US_PER_SECOND
#define TRIMMED_AT_ONCE 16 /* segments, so that appends do not wait for long */

static int64_t boot_now(const struct journal *journal)
{
	return journal->watch.source.boot_us(journal->watch.source.ctx);
}

static int64_t wall_now(const struct journal *journal)
{
	return journal->watch.source.wall_us(journal->watch.source.ctx);
}

/* Is something due that no record has reached yet? What a record has reached, its reader fires. */
static bool awaits_tick(const struct journal *journal)
{
	int64_t due = atomic_load(&journal->due_t);
	return due != INT64_MAX && journal->meta.last_t < due && !journal->meta.is_clock_held;
}

static void tick_if_due(struct journal *journal, int64_t boot)
{
	if (!awaits_tick(journal) || boot < journal->tick_at_us) return;
	if (wall_now(journal) < atomic_load(&journal->due_t)) return;
	journal->tick_at_us = boot + TICK_EVERY_US;
	commit_tick(journal);
}

static void hold_if_jumped(struct journal *journal, const struct conf_journal *conf)
{
	int64_t ahead;
	(void)clock_watch_read(&journal->watch, &ahead);
	if (ahead <= conf->clock_jump_us) return;
	/* Each commit looks at the clock; after a failure the next one will. */
	if (commit_meta(journal, &journal->meta) != OK)
		log_debug(LOG_JOURNAL, "a clock jump could not be recorded yet");
}

static bool may_trim(const struct journal *journal, const struct conf_journal *conf, int64_t last_t)
{
	if (conf->retention_bytes > 0 && atomic_load(&journal->bytes) > conf->retention_bytes) return true;
	int64_t jumped;
	int64_t wall = clock_watch_read(&journal->watch, &jumped);
	if (journal->meta.is_clock_held || jumped > conf->clock_jump_us) return false; /* age is not known for sure */
	return conf->retention_us > 0 && wall - last_t > conf->retention_us;
}

/* On record first, then out of the readers' reach, then deleted: a crash between leaves files that the next
 * start finds below the first position. */
static int trim_oldest(struct journal *journal, const struct conf_journal *conf)
{
	uint64_t end_seq;
	int64_t last_t;
	int rc = segment_set_oldest(&journal->segments, atomic_load(&journal->checkpoint), &end_seq, &last_t);
	if (rc != OK) return rc;
	if (!may_trim(journal, conf, last_t)) return ERR_NOT_FOUND;
	struct journal_meta meta = journal->meta;
	meta.first_seq = end_seq;
	rc = commit_meta(journal, &meta);
	if (rc != OK) return rc;
	atomic_store(&journal->first_seq, end_seq);
	segment_set_trim(&journal->segments, end_seq);
	atomic_store(&journal->bytes, segment_set_bytes(&journal->segments) + store_used_bytes(journal->active->env));
	log_info(LOG_JOURNAL, "records below %llu were trimmed", (unsigned long long)end_seq);
	return OK;
}

static void trim(struct journal *journal, const struct conf_journal *conf)
{
	int rc = OK;
	for (int i = 0; i < TRIMMED_AT_ONCE && rc == OK; i++) rc = trim_oldest(journal, conf);
	if (rc != OK && rc != ERR_NOT_FOUND)
		log_warn(LOG_JOURNAL, "retention could not trim, the journal stays as long as it is (%s)",
			 status_str(rc));
	segment_set_remove_trimmed(&journal->segments);
}

void upkeep(struct journal *journal)
{
	struct conf_journal conf;
	int64_t boot = boot_now(journal);
	if (atomic_load(&journal->has_panicked)) return;
	tick_if_due(journal, boot);
	if (atomic_load(&journal->seal_upto) >= journal->active->first_seq && boot >= journal->seal_at_us)
		commit_seal(journal);
	if (boot < journal->upkeep_at_us) return;
	journal->upkeep_at_us = boot + UPKEEP_EVERY_US;
	journal_conf(journal, &conf);
	hold_if_jumped(journal, &conf);
	trim(journal, &conf);
	if (disk_is_refusing(&journal->disk)) return;
	disk_restore_ballast(&journal->disk);
	commit_seal(journal); /* by age; a failure is logged there and met again by the next append */
}

int64_t upkeep_timeout_us(struct journal *journal)
{
	int64_t boot = boot_now(journal), timeout = journal->upkeep_at_us - boot;
	if (atomic_load(&journal->has_panicked)) return UPKEEP_EVERY_US;
	if (awaits_tick(journal)) {
		int64_t due = atomic_load(&journal->due_t) - wall_now(journal), allowed = journal->tick_at_us - boot;
		int64_t tick = due > allowed ? due : allowed;
		if (tick < timeout) timeout = tick;
	}
	if (timeout < US_PER_MS) return US_PER_MS;
	return timeout < UPKEEP_EVERY_US ? timeout : UPKEEP_EVERY_US;
}
