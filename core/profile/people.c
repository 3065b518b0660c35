#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/encode.h"
#include "base/log.h"
#include "profile/backfill_state.h"
#include "profile/block.h"
#include "profile/change_row.h"
#include "profile/consent_log.h"
#include "profile/delta.h"
#include "profile/key_copy.h"
#include "profile/outcome_row.h"
#include "profile/room.h"
#include "profile/segments.h"

#define MAP_MAX    (UINT64_C(1) << 40)
#define ENV_FORMAT 1
#define ENV_DBS    32 /* rows to come have room */
#define BODY_MAX   ((size_t)16 << 20)

/* ── ids, names ──────────────────────────────────────────────────────────── */

void fragment_id_format(const struct fragment_id *id, char out[FRAGMENT_ID_TEXT_SIZE])
{
	hex_encode(id->bytes, sizeof id->bytes, out);
}

int fragment_id_parse(struct str text, struct fragment_id *out)
{
	return hex_decode(text, out->bytes, sizeof out->bytes) == OK ? OK : ERR_INVALID;
}

const char *provenance_name(enum provenance provenance)
{
	static const char *const names[PROVENANCE_COUNT] = {"declared", "observed", "inferred"};
	return (unsigned)provenance < PROVENANCE_COUNT ? names[provenance] : "unknown";
}

/* ── open, close ─────────────────────────────────────────────────────────── */

static uint64_t map_size(const char *path)
{
	struct statvfs fs;
	if (statvfs(path, &fs) != 0) return MAP_MAX;
	uint64_t size = (uint64_t)fs.f_blocks * fs.f_frsize;
	return size > 0 && size < MAP_MAX ? size : MAP_MAX;
}

static int open_tables(struct people *people)
{
	struct tables *tables = &people->tables;
	int rc = store_db_open(people->env, "rows", 0, &tables->rows);
	if (!rc) rc = store_db_open(people->env, "links", 0, &tables->links);
	if (!rc) rc = store_db_open(people->env, "outcomes", STORE_DB_INTEGER_KEY, &tables->outcomes);
	if (!rc) rc = store_db_open(people->env, "changes", STORE_DB_INTEGER_KEY, &tables->changes);
	if (!rc) rc = store_db_open(people->env, "meta", 0, &tables->meta);
	if (!rc) rc = store_db_open(people->env, "erased", 0, &tables->erased);
	if (!rc) rc = store_db_open(people->env, "suppressed", 0, &tables->suppressed);
	if (!rc) rc = store_db_open(people->env, "awaits", 0, &tables->awaits);
	if (!rc) rc = consent_log_open(people->env, tables);
	if (!rc) rc = backfill_open(people);
	return rc ? rc : segments_open(people);
}

/* The first transaction of a new env: the key that every id hangs on. */
static int found(struct people *people, struct store_txn *txn)
{
	int kept = key_copy_read(people->store_path, &people->key);
	if (kept == ERR_NOT_FOUND) random_bytes(&people->key, sizeof people->key);
	if (kept && kept != ERR_NOT_FOUND) return kept;
	people->committed = (struct checkpoint){.applied = 1};
	int rc = hash_key_write(txn, people->tables.meta, &people->key);
	return rc ? rc : checkpoint_write(txn, people->tables.meta, &people->committed);
}

static void warn_of_resting(const struct plan *plan)
{
	for (size_t i = 0; i < plan->feature_count; i++) {
		const struct feature_def *def = &plan->features[i].def;
		if (def->impl) continue;
		log_warn(LOG_PROFILE,
			 "feature %.*s rests, events do not reach it (no feature type %.*s with state version %u)",
			 STR_ARG(def->name), STR_ARG(def->type), (unsigned)def->state_version);
	}
}

static int read_meta(struct people *people, struct store_txn *txn)
{
	int rc = checkpoint_read(txn, people->tables.meta, &people->committed);
	if (rc == ERR_NOT_FOUND) return found(people, txn);
	if (!rc) rc = hash_key_read(txn, people->tables.meta, &people->key);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	rc = plan_read(txn, people->tables.meta, &people->plan);
	if (!rc) warn_of_resting(people->plan);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static void publish(struct people *people)
{
	const struct checkpoint *now = &people->committed;
	for (size_t i = 0; i < OUTCOME_VERDICT_COUNT; i++)
		atomic_store_explicit(&people->verdicts[i], now->verdicts[i], memory_order_relaxed);
	atomic_store(&people->epoch, now->epoch);
	atomic_store(&people->applied_t, now->applied_t);
	atomic_store(&people->last_change, now->last_change);
	atomic_store(&people->applied, now->applied);
}

int people_compact_path(const char *env_path, char *out, size_t size)
{
	int len = snprintf(out, size, "%s.compact", env_path);
	return len < 0 || (size_t)len >= size ? ERR_INVALID : OK;
}

/* A compaction that was cut off, before or after its copy took the place of the rest. */
static int remove_leftover(const char *env_path)
{
	char path[4200];
	int rc = people_compact_path(env_path, path, sizeof path);
	return rc ? rc : store_remove_env(path);
}

static int open_env(struct people *people, const char *store_path)
{
	char path[4096];
	int len = snprintf(path, sizeof path, "%s/profiles", store_path);
	if (len < 0 || (size_t)len >= sizeof path) return ERR_INVALID;
	struct store_options options = {.map_bytes = map_size(store_path), .max_dbs = ENV_DBS, .format = ENV_FORMAT};
	int rc = remove_leftover(path);
	if (!rc) rc = store_open(path, &options, &people->env);
	return rc ? rc : open_tables(people);
}

/* The profiles' own key wins over a copy that belongs to others. */
static int keep_key(const struct people *people)
{
	struct hash_key copy;
	int rc = key_copy_read(people->store_path, &copy);
	if (!rc && memcmp(&copy, &people->key, sizeof copy) == 0) return OK;
	if (rc && rc != ERR_NOT_FOUND && rc != ERR_CORRUPT) return rc;
	if (rc != ERR_NOT_FOUND)
		log_warn(LOG_PROFILE, "state/profiles.key is not the key of these profiles and is written anew");
	return key_copy_write(people->store_path, &people->key);
}

static int open_all(struct people *people, const char *store_path)
{
	people->store_path = store_path;
	struct store_txn *txn;
	int rc = open_env(people, store_path);
	if (!rc) rc = store_begin(people->env, true, &txn);
	if (rc) return rc;
	rc = read_meta(people, txn);
	if (!rc) rc = segments_load(people, txn);
	if (!rc) rc = backfill_load(people, txn);
	if (rc) {
		store_abort(txn);
		return rc;
	}
	/* Before anything can hang on it. */
	rc = keep_key(people);
	if (rc) {
		store_abort(txn);
		return rc;
	}
	rc = store_commit(txn);
	if (!rc) rc = cache_init(&people->cache, people->tables.rows);
	if (!rc) rc = event_view_init(&people->view);
	if (rc) return rc;
	publish(people);
	return OK;
}

int people_open(const char *store_path, struct people **out)
{
	*out = NULL;
	struct people *people = calloc(1, sizeof *people);
	if (!people) return ERR_NOMEM;
	buf_init(&people->json, BODY_MAX);
	people->refused_inputs = metric_get(METRIC_COUNTER, "cdpd_feature_inputs_refused_total", NULL,
					    "Values that a feature's type could not take");
	int rc = open_all(people, store_path);
	if (rc) {
		people_close(people);
		return rc;
	}
	*out = people;
	return OK;
}

void people_close(struct people *people)
{
	if (!people) return;
	people_abort(people);
	event_view_fini(&people->view);
	cache_fini(&people->cache);
	buf_fini(&people->json);
	plan_free(people->plan);
	segments_close(people);
	backfill_close(people);
	if (people->env) store_close(people->env);
	free(people);
}

/* ── where the fold stands ───────────────────────────────────────────────── */

uint64_t people_applied(const struct people *people)
{
	return atomic_load(&people->applied);
}

uint64_t people_renamed(const struct people *people)
{
	return atomic_load(&people->renamed);
}

int64_t people_applied_t(const struct people *people)
{
	return atomic_load(&people->applied_t);
}

uint64_t people_epoch(const struct people *people)
{
	return atomic_load(&people->epoch);
}

uint64_t people_last_change(const struct people *people)
{
	return atomic_load(&people->last_change);
}

void people_verdicts(const struct people *people, uint64_t counts[OUTCOME_VERDICT_COUNT])
{
	for (size_t i = 0; i < OUTCOME_VERDICT_COUNT; i++)
		counts[i] = atomic_load_explicit(&people->verdicts[i], memory_order_relaxed);
}

int people_bind_epoch(struct people *people, uint64_t epoch)
{
	struct store_txn *txn;
	if (people->committed.epoch == epoch) return OK;
	if (people->committed.epoch != 0) return ERR_FOREIGN;
	int rc = store_begin(people->env, true, &txn);
	if (rc) return rc;
	struct checkpoint bound = people->committed;
	bound.epoch = epoch;
	rc = checkpoint_write(txn, people->tables.meta, &bound);
	if (rc) {
		store_abort(txn);
		return rc;
	}
	rc = store_commit(txn);
	if (rc) return rc;
	people->committed = bound;
	publish(people);
	return OK;
}

/* ── transactions ────────────────────────────────────────────────────────── */

int people_begin(struct people *people)
{
	CHECK(!people->txn);
	int rc = store_begin(people->env, true, &people->txn);
	if (rc) {
		people->txn = NULL;
		return rc;
	}
	people->working = people->committed;
	segments_begin(people);
	backfill_begin(people);
	rc = cache_begin(&people->cache, people->txn);
	if (!rc) rc = blocks_begin(people);
	if (rc) people_abort(people);
	return rc;
}

struct store_txn *people_txn(struct people *people)
{
	return people->txn;
}

struct store_env *people_env(struct people *people)
{
	return people->env;
}

int people_define(struct people *people, struct str text, uint64_t seq)
{
	return people_define_since(people, text, seq, people->working.applied_t, seq);
}

int people_define_since(struct people *people, struct str text, uint64_t seq, int64_t t, uint64_t oldest)
{
	struct plan *plan;
	CHECK(people->txn);
	int rc = plan_succeed(people->plan, text, seq, &plan);
	if (rc) return rc;
	rc = plan_write(people->txn, people->tables.meta, plan);
	if (!rc && plan->identity_seq == seq) rc = rules_write(people->txn, people->tables.meta, plan);
	if (rc) {
		plan_free(plan);
		return rc;
	}
	struct plan *old = people->plan, *gone = people->has_new_plan ? old : NULL;
	if (!people->has_new_plan) people->previous_plan = old;
	people->has_new_plan = true;
	people->plan = plan;
	people->working.plan_seq = seq;
	backfill_defined(people, seq, t, oldest);
	segments_defined(people, old, seq);
	plan_free(gone);
	return OK;
}

const struct definitions *people_definitions(const struct people *people)
{
	return people->plan ? &people->plan->definitions : NULL;
}

struct str people_definitions_text(const struct people *people)
{
	return people->plan ? people->plan->text : STR_NONE;
}

int people_append_change(struct people *people, struct change *change)
{
	change->seq = people->working.last_change + 1;
	int rc = change_append(people->txn, people->tables.changes, change);
	if (!rc) people->working.last_change++;
	return rc;
}

int people_put_outcome(struct people *people, uint64_t seq, const struct outcome *outcome)
{
	struct checkpoint *working = &people->working;
	struct outcome old;
	CHECK(people->txn && outcome->verdict > 0 && outcome->verdict < OUTCOME_VERDICT_COUNT);
	int rc;
	if (seq > working->last_outcome) {
		rc = outcome_append(people->txn, people->tables.outcomes, seq, outcome);
		if (!rc) working->last_outcome = seq;
	} else {
		rc = outcome_get(people->txn, people->tables.outcomes, seq, &old);
		if (rc && rc != ERR_NOT_FOUND) return rc;
		if (!rc) working->verdicts[old.verdict]--;
		rc = outcome_replace(people->txn, people->tables.outcomes, seq, outcome);
	}
	if (!rc) working->verdicts[outcome->verdict]++;
	return rc;
}

size_t people_pages(const struct people *people)
{
	if (!people->txn) return 0;
	const struct cache *cache = &people->cache;
	/* Changes lie a dozen to a page; and what LMDB keeps of its own. */
	return store_dirty_pages(people->txn) + cache_pages(cache) + segments_pages(people) + cache->viewed.count / 12 +
	       8;
}

static void settle(struct people *people, bool is_committed)
{
	if (people->has_new_plan) {
		struct plan *gone = is_committed ? people->previous_plan : people->plan;
		if (!is_committed) people->plan = people->previous_plan;
		plan_free(gone);
		people->previous_plan = NULL;
		people->has_new_plan = false;
	}
	people->txn = NULL;
	people->has_renamed = false;
	segments_ended(people, is_committed);
	backfill_ended(people, is_committed);
	cache_reset(&people->cache);
}

static int write_all(struct people *people)
{
	int rc = delta_append_all(people);
	if (!rc) rc = segments_write(people);
	if (!rc) rc = backfill_write(people);
	if (!rc) rc = cache_write(&people->cache);
	if (!rc) rc = checkpoint_write(people->txn, people->tables.meta, &people->working);
	return rc;
}

int people_commit(struct people *people, uint64_t next_seq, int64_t t)
{
	CHECK(people->txn);
	people->working.applied = next_seq;
	people->working.applied_t = t;
	int rc = write_all(people);
	if (rc) {
		people_abort(people);
		return rc;
	}
	/* Before anybody can see it: who looks at an older snapshot is told too early, never too late. */
	if (people->has_renamed) atomic_store(&people->renamed, next_seq);
	rc = store_commit(people->txn);
	settle(people, rc == OK);
	if (rc) return rc;
	people->committed = people->working;
	publish(people);
	return OK;
}

void people_abort(struct people *people)
{
	if (!people->txn) return;
	store_abort(people->txn);
	settle(people, false);
}

/* ── trimming ────────────────────────────────────────────────────────────── */

/* Deletes rows from the lowest key on while `is_old` says so. */
static int trim_table(struct people *people, store_db table, size_t max_rows, size_t *done,
		      int (*is_old)(struct people *people, struct str key, struct str value, int64_t bound, bool *out),
		      int64_t bound)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	int rc = store_cursor_open(people->txn, table, &cursor);
	if (rc) return rc;
	while (*done < max_rows) {
		bool is_over;
		rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
		if (!rc) rc = is_old(people, key, value, bound, &is_over);
		if (rc || !is_over) break;
		rc = store_cursor_del(cursor);
		if (rc) break;
		*done += 1;
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int is_old_outcome(struct people *people, struct str key, struct str value, int64_t bound, bool *out)
{
	(void)people, (void)value;
	uint64_t seq;
	memcpy(&seq, key.ptr, sizeof seq);
	*out = seq < (uint64_t)bound;
	return OK;
}

static bool is_leased(const struct people *people, const struct change *change, int64_t bound)
{
	return change->seq > people_leased(people) && change->t >= bound - PEOPLE_LEASE_US;
}

static int is_old_change(struct people *people, struct str key, struct str value, int64_t bound, bool *out)
{
	struct change change;
	int rc = change_decode(key, value, &change);
	*out = !rc && change.t < bound && !is_leased(people, &change, bound);
	if (*out) people->working.changes_floor = change.seq;
	return rc;
}

int people_trim(struct people *people, uint64_t outcomes_below, int64_t changes_before_t, size_t max_rows)
{
	size_t done = 0;
	CHECK(people->txn && outcomes_below <= INT64_MAX);
	int rc = trim_table(people, people->tables.outcomes, max_rows, &done, is_old_outcome, (int64_t)outcomes_below);
	if (rc) return rc;
	return trim_table(people, people->tables.changes, max_rows, &done, is_old_change, changes_before_t);
}
