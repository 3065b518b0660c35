#include "journal/segment.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_AHEAD_BYTES (16u << 20) /* well under a second of the fastest writing */
#define SEGMENT_READERS     128
#define SEGMENT_DBS         3
#define HALF_MADE           "new"       /* the name under which one is built */
#define REWRITTEN           "rewritten" /* and the one under which one is written anew */
#define META_KEY            STR("meta")
#define QUARANTINE_KEY      STR("quarantine")

struct segment *segment_new(const char *journal_dir, uint64_t first_seq)
{
	struct segment *segment = calloc(1, sizeof *segment);
	if (!segment) return NULL;
	segment->first_seq = first_seq;
	if (asprintf(&segment->path, "%s/%020" PRIu64, journal_dir, first_seq) < 0) {
		free(segment);
		return NULL;
	}
	return segment;
}

void segment_free(struct segment *segment)
{
	if (!segment) return;
	segment_close(segment);
	free(segment->path);
	free(segment);
}

void segment_close(struct segment *segment)
{
	store_close(segment->env);
	segment->env = NULL;
	segment->is_written = false;
}

static int open_at(struct segment *segment, const char *path, uint64_t map_bytes, bool read_only)
{
	struct store_options options = {
	    .map_bytes = map_bytes,
	    .max_dbs = SEGMENT_DBS,
	    .max_readers = SEGMENT_READERS,
	    .read_only = read_only,
	    .format = SEGMENT_FORMAT,
	    .ahead_bytes = read_only ? 0 : SEGMENT_AHEAD_BYTES,
	};
	int rc = store_open(path, &options, &segment->env);
	if (rc == OK) rc = store_db_open(segment->env, "records", STORE_DB_INTEGER_KEY, &segment->records);
	if (rc == OK) rc = store_db_open(segment->env, "meta", 0, &segment->meta);
	if (rc == OK) rc = store_db_open(segment->env, "rejects", STORE_DB_INTEGER_KEY, &segment->rejects);
	segment->map_bytes = map_bytes;
	segment->is_written = !read_only;
	return rc;
}

int segment_put_meta(struct segment *segment, struct store_txn *txn, const struct journal_meta *meta)
{
	uint8_t bytes[META_SIZE_MAX];
	size_t len = meta_encode(meta, bytes);
	return store_put(txn, segment->meta, META_KEY, str_of(bytes, len));
}

int segment_put_quarantined(struct segment *segment, struct store_txn *txn, const struct position_list *list)
{
	return store_put(txn, segment->meta, QUARANTINE_KEY, str_of(list->seqs, list->count * sizeof *list->seqs));
}

static int copy_positions(struct str bytes, struct position_list *list)
{
	size_t count = bytes.len / sizeof *list->seqs;
	if (bytes.len % sizeof *list->seqs != 0 || count > QUARANTINE_MAX) return ERR_CORRUPT;
	list->seqs = calloc(count + 1, sizeof *list->seqs);
	if (!list->seqs) return ERR_NOMEM;
	memcpy(list->seqs, bytes.ptr, bytes.len);
	list->count = count;
	list->capacity = count + 1;
	return OK;
}

int segment_read_quarantined(struct segment *segment, struct position_list *list)
{
	struct store_txn *txn;
	struct str bytes;
	*list = (struct position_list){0};
	int rc = store_begin(segment->env, false, &txn);
	if (rc != OK) return rc;
	rc = store_get(txn, segment->meta, QUARANTINE_KEY, &bytes);
	if (rc == OK) rc = copy_positions(bytes, list);
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int write_first(struct segment *segment, const struct journal_meta *meta,
		       const struct position_list *quarantined)
{
	struct store_txn *txn;
	int rc = store_begin(segment->env, true, &txn);
	if (rc != OK) return rc;
	rc = segment_put_meta(segment, txn, meta);
	if (rc == OK && quarantined->count > 0) rc = segment_put_quarantined(segment, txn, quarantined);
	int committed = store_commit(txn);
	return rc != OK ? rc : committed;
}

static int half_made_path(const char *journal_dir, char **out)
{
	if (asprintf(out, "%s/" HALF_MADE, journal_dir) >= 0) return OK;
	*out = NULL;
	return ERR_NOMEM;
}

char *segment_rewrite_path(const char *journal_dir)
{
	char *path;
	return asprintf(&path, "%s/" REWRITTEN, journal_dir) < 0 ? NULL : path;
}

int segment_open_copy(struct segment *segment, uint64_t map_bytes)
{
	int rc = store_remove_env(segment->path);
	return rc == OK ? open_at(segment, segment->path, map_bytes, false) : rc;
}

static int remove_made(const char *path)
{
	return path ? store_remove_env(path) : ERR_NOMEM;
}

/* The old one goes when the new one stands in its place; else it comes back. */
static int end_exchange(const char *journal_dir, const char *name, size_t name_len)
{
	char *old = NULL, *path = NULL;
	uint64_t bytes;
	int rc = ERR_NOMEM;
	if (asprintf(&old, "%s/%s", journal_dir, name) >= 0 &&
	    asprintf(&path, "%s/%.*s", journal_dir, (int)name_len, name) >= 0) {
		rc = store_path_bytes(path, &bytes) == OK ? store_remove_env(old) : store_rename(old, path);
	}
	free(old);
	free(path);
	return rc;
}

static int end_exchanges(const char *journal_dir)
{
	DIR *files = opendir(journal_dir);
	const struct dirent *entry;
	int rc = files ? OK : ERR_IO;
	while (rc == OK && (entry = readdir(files))) {
		struct str name = str_from(entry->d_name);
		size_t suffix = strlen(SEGMENT_OLD_SUFFIX);
		if (name.len == SEGMENT_NAME_SIZE - 1 + suffix &&
		    strcmp(entry->d_name + name.len - suffix, SEGMENT_OLD_SUFFIX) == 0)
			rc = end_exchange(journal_dir, entry->d_name, name.len - suffix);
	}
	if (files) closedir(files);
	return rc;
}

int segment_remove_leftover(const char *journal_dir)
{
	char *path, *rewritten = segment_rewrite_path(journal_dir);
	int rc = half_made_path(journal_dir, &path);
	if (rc == OK) rc = store_remove_env(path);
	if (rc == OK) rc = end_exchanges(journal_dir);
	if (rc == OK) rc = remove_made(rewritten);
	free(path);
	free(rewritten);
	return rc;
}

/* A segment that stands under its name but is not used would, at the next start, hide what the one before it
 * went on to take: it must go, or this process must not write on. */
static int withdraw(struct segment *segment, int cause)
{
	segment_close(segment);
	return store_remove_env(segment->path) == OK ? cause : ERR_PANIC;
}

static int build(struct segment *segment, const char *path, const struct journal_meta *meta,
		 const struct position_list *quarantined, uint64_t map_bytes)
{
	int rc = store_remove_env(path); /* of an attempt that met a full disk */
	if (rc == OK) rc = open_at(segment, path, map_bytes, false);
	if (rc == OK) rc = write_first(segment, meta, quarantined);
	segment_close(segment);
	return rc == OK ? store_fsync_dir(path) : rc;
}

int segment_create(struct segment *segment, const char *journal_dir, const struct journal_meta *meta,
		   const struct position_list *quarantined, uint64_t map_bytes)
{
	char *path;
	struct journal_meta again;
	int rc = half_made_path(journal_dir, &path);
	if (rc == OK) rc = build(segment, path, meta, quarantined, map_bytes);
	if (rc == OK) {
		rc = store_rename(path, segment->path);
		if (rc == OK) rc = segment_open(segment, map_bytes, false, meta->epoch, &again);
		if (rc != OK) rc = withdraw(segment, rc);
	}
	free(path);
	return rc;
}

/* Appends make the keys ascend, so the last key and the number of entries prove there is no gap. */
static int check_run(struct segment *segment, struct store_txn *txn, const struct journal_meta *meta)
{
	uint64_t count;
	int rc = store_count(txn, segment->records, &count);
	if (rc != OK) return rc;
	if (meta->next_seq < segment->first_seq || count != meta->next_seq - segment->first_seq) return ERR_CORRUPT;
	if (count == 0) return OK;
	uint64_t last = meta->next_seq - 1;
	struct str value;
	struct record record;
	rc = store_get(txn, segment->records, store_key64(&last), &value);
	if (rc == OK) rc = record_read(value, last, &record);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int check(struct segment *segment, uint64_t epoch, struct journal_meta *meta)
{
	struct store_txn *txn;
	struct str bytes;
	int rc = store_begin(segment->env, false, &txn);
	if (rc != OK) return rc;
	rc = store_get(txn, segment->meta, META_KEY, &bytes);
	if (rc == OK) rc = meta_decode(bytes, meta);
	if (rc == OK && epoch != 0 && meta->epoch != epoch) rc = ERR_FOREIGN;
	if (rc == OK) rc = check_run(segment, txn, meta);
	store_abort(txn);
	return rc;
}

int segment_open(struct segment *segment, uint64_t map_bytes, bool read_only, uint64_t epoch, struct journal_meta *meta)
{
	uint64_t bytes;
	int rc = store_path_bytes(segment->path, &bytes);
	if (rc == OK && bytes == 0) rc = ERR_NOT_FOUND;
	if (rc == OK) rc = open_at(segment, segment->path, map_bytes, read_only);
	if (rc == OK) rc = check(segment, epoch, meta);
	if (rc != OK) {
		segment_close(segment);
		return rc;
	}
	segment->bytes = bytes;
	segment->last_t = meta->last_t;
	if (read_only) segment->end_seq = meta->next_seq;
	return OK;
}
