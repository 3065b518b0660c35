#include "journal/segment_set.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

static int by_first_seq(const void *a, const void *b)
{
	const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;
	return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

/* `trimmed` always has room for every segment there is and for those that readers hold, so that trimming
 * cannot fail. */
static int reserve(struct segment_set *set)
{
	if (set->count < set->capacity) return OK;
	size_t capacity = set->capacity ? 2 * set->capacity : 64;
	struct segment **items = realloc(set->items, capacity * sizeof(struct segment *));
	if (!items) return ERR_NOMEM;
	set->items = items;
	struct segment **trimmed = realloc(set->trimmed, 4 * capacity * sizeof(struct segment *));
	if (!trimmed) return ERR_NOMEM;
	set->trimmed = trimmed;
	set->capacity = capacity;
	return OK;
}

static int add_found(struct segment_set *set, const char *name)
{
	uint64_t first_seq;
	struct str text = str_from(name);
	if (text.len != SEGMENT_NAME_SIZE - 1 || str_to_u64(text, &first_seq) != OK || first_seq == 0) return OK;
	struct segment *segment = segment_new(set->dir, first_seq);
	if (!segment) return ERR_NOMEM;
	/* One that has no file is judged when it is opened. */
	int rc = store_path_bytes(segment->path, &segment->bytes);
	if (rc == OK || rc == ERR_NOT_FOUND) rc = reserve(set);
	if (rc == OK)
		set->items[set->count++] = segment;
	else
		segment_free(segment);
	return rc;
}

int segment_set_init(struct segment_set *set, const char *dir)
{
	*set = (struct segment_set){.dir = strdup(dir)};
	pthread_mutex_init(&set->lock, NULL);
	if (!set->dir) return ERR_NOMEM;
	DIR *files = opendir(dir);
	if (!files) return ERR_IO;
	const struct dirent *entry;
	int rc = OK;
	while (rc == OK && (entry = readdir(files))) rc = add_found(set, entry->d_name);
	closedir(files);
	if (set->count > 0) qsort(set->items, set->count, sizeof(struct segment *), by_first_seq);
	for (size_t i = 0; i + 1 < set->count; i++) set->sealed_bytes += set->items[i]->bytes;
	return rc;
}

void segment_set_fini(struct segment_set *set)
{
	for (size_t i = 0; i < set->count; i++) segment_free(set->items[i]);
	for (size_t i = 0; i < set->trimmed_count; i++) segment_free(set->trimmed[i]);
	free(set->items);
	free(set->trimmed);
	free(set->dir);
	pthread_mutex_destroy(&set->lock);
}

int segment_set_reserve(struct segment_set *set)
{
	pthread_mutex_lock(&set->lock);
	int rc = reserve(set);
	pthread_mutex_unlock(&set->lock);
	return rc;
}

/* The active segment is always open beside them. */
static bool is_open_max_passed(const struct segment_set *set)
{
	return set->open_count > SEGMENT_OPEN_MAX + 1;
}

/* Under the lock. An env that was written keeps the memory of its largest transaction; once sealed and not being
 * read it is closed, and opened again only for reading. */
static void close_written(struct segment_set *set, struct segment *sealed)
{
	if (!sealed->is_written || sealed->refs > 0) return;
	segment_close(sealed);
	set->open_count--;
}

/* Under the lock. The active segment never is a victim. */
static bool close_least_used(struct segment_set *set)
{
	struct segment *victim = NULL;
	for (size_t i = 0; i + 1 < set->count; i++) {
		struct segment *it = set->items[i];
		if (it->env && it->refs == 0 && (!victim || it->used_at < victim->used_at)) victim = it;
	}
	if (!victim) return false;
	segment_close(victim);
	set->open_count--;
	return true;
}

void segment_set_add(struct segment_set *set, struct segment *segment, int64_t last_t)
{
	pthread_mutex_lock(&set->lock);
	CHECK(set->count < set->capacity);
	if (set->count > 0) {
		struct segment *sealed = set->items[set->count - 1];
		sealed->end_seq = segment->first_seq;
		sealed->last_t = last_t;
		sealed->bytes = store_used_bytes(sealed->env);
		set->sealed_bytes += sealed->bytes;
		close_written(set, sealed);
	}
	set->items[set->count++] = segment;
	set->open_count++;
	while (is_open_max_passed(set) && close_least_used(set)) continue;
	pthread_mutex_unlock(&set->lock);
}

void segment_set_note_open(struct segment_set *set)
{
	pthread_mutex_lock(&set->lock);
	set->open_count++;
	pthread_mutex_unlock(&set->lock);
}

struct segment *segment_set_active(struct segment_set *set)
{
	pthread_mutex_lock(&set->lock);
	struct segment *segment = set->count ? set->items[set->count - 1] : NULL;
	pthread_mutex_unlock(&set->lock);
	return segment;
}

void segment_set_drop_active(struct segment_set *set)
{
	pthread_mutex_lock(&set->lock);
	struct segment *segment = set->items[--set->count];
	CHECK(segment->refs == 0 && !segment->env);
	segment_free(segment);
	if (set->count > 0) set->sealed_bytes -= set->items[set->count - 1]->bytes;
	pthread_mutex_unlock(&set->lock);
}

/* Under the lock: index of the segment that would hold `seq`; false: it lies before the first. */
static bool find(const struct segment_set *set, uint64_t seq, size_t *out)
{
	size_t low = 0, high = set->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (set->items[mid]->first_seq <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0) return false;
	*out = low - 1;
	return true;
}

/* Under the lock. */
static int ensure_open(struct segment_set *set, struct segment *segment)
{
	if (segment->env) return OK;
	if (set->open_count > SEGMENT_OPEN_MAX && !close_least_used(set)) return ERR_BUSY;
	struct journal_meta meta;
	int rc = segment_open(segment, segment->bytes, true, set->epoch, &meta);
	if (rc == OK) {
		set->open_count++;
		return OK;
	}
	log_error(LOG_JOURNAL, "%s cannot be read (%s)", segment->path, status_str(rc));
	return rc == ERR_NOT_FOUND || rc == ERR_FOREIGN ? ERR_CORRUPT : rc;
}

int segment_acquire(struct segment_set *set, uint64_t seq, struct segment **out)
{
	size_t at;
	*out = NULL;
	pthread_mutex_lock(&set->lock);
	int rc = find(set, seq, &at) ? OK : ERR_GONE;
	struct segment *segment = rc == OK ? set->items[at] : NULL;
	if (rc == OK) rc = ensure_open(set, segment);
	if (rc == OK && at + 1 < set->count && seq >= segment->end_seq) rc = ERR_CORRUPT;
	if (rc == OK) {
		segment->refs++;
		segment->used_at = ++set->ticks;
		*out = segment;
	}
	pthread_mutex_unlock(&set->lock);
	return rc;
}

void segment_release(struct segment_set *set, struct segment *segment)
{
	pthread_mutex_lock(&set->lock);
	CHECK(segment->refs > 0);
	segment->refs--;
	if (set->count == 0 || segment != set->items[set->count - 1]) close_written(set, segment);
	pthread_mutex_unlock(&set->lock);
}

int segment_set_oldest(struct segment_set *set, uint64_t checkpoint, uint64_t *end_seq, int64_t *last_t)
{
	pthread_mutex_lock(&set->lock);
	int rc = ERR_NOT_FOUND;
	if (set->count >= 2 && set->items[1]->first_seq <= checkpoint) {
		/* Its newest time stands in its meta. */
		rc = ensure_open(set, set->items[0]);
		*end_seq = set->items[1]->first_seq;
		*last_t = set->items[0]->last_t;
	}
	pthread_mutex_unlock(&set->lock);
	return rc;
}

void segment_set_trim(struct segment_set *set, uint64_t first_seq)
{
	pthread_mutex_lock(&set->lock);
	size_t gone = 0;
	while (gone + 1 < set->count && set->items[gone + 1]->first_seq <= first_seq) {
		struct segment *segment = set->items[gone++];
		set->sealed_bytes -= segment->bytes;
		CHECK(set->trimmed_count < 4 * set->capacity);
		set->trimmed[set->trimmed_count++] = segment;
	}
	set->count -= gone;
	memmove(set->items, set->items + gone, set->count * sizeof(struct segment *));
	pthread_mutex_unlock(&set->lock);
}

/* Under the lock: takes one trimmed segment that nobody reads. */
static struct segment *take_trimmed(struct segment_set *set)
{
	for (size_t i = 0; i < set->trimmed_count; i++) {
		struct segment *segment = set->trimmed[i];
		if (segment->refs > 0) continue;
		set->trimmed[i] = set->trimmed[--set->trimmed_count];
		if (segment->env) set->open_count--;
		return segment;
	}
	return NULL;
}

void segment_set_remove_trimmed(struct segment_set *set)
{
	for (;;) {
		pthread_mutex_lock(&set->lock);
		struct segment *segment = take_trimmed(set);
		pthread_mutex_unlock(&set->lock);
		if (!segment) return;
		segment_close(segment);
		int rc = store_remove_env(segment->path);
		/* What stays is found below the first position at the next start, and removed then. */
		if (rc != OK) log_warn(LOG_JOURNAL, "%s could not be deleted (%s)", segment->path, status_str(rc));
		segment_free(segment);
	}
}

uint64_t segment_set_bytes(struct segment_set *set)
{
	pthread_mutex_lock(&set->lock);
	uint64_t bytes = set->sealed_bytes;
	pthread_mutex_unlock(&set->lock);
	return bytes;
}

int segment_set_range(struct segment_set *set, uint64_t seq, uint64_t *first_seq, uint64_t *end_seq, bool *is_sealed)
{
	size_t at;
	pthread_mutex_lock(&set->lock);
	int rc = find(set, seq, &at) ? OK : ERR_GONE;
	if (rc == OK) {
		*is_sealed = at + 1 < set->count;
		*first_seq = set->items[at]->first_seq;
		*end_seq = *is_sealed ? set->items[at + 1]->first_seq : UINT64_MAX;
	}
	pthread_mutex_unlock(&set->lock);
	return rc;
}

/* Under the lock: two renames; a start between them brings the old one back. */
static int exchange_files(const struct segment *old, const char *old_path, const char *path)
{
	int rc = store_rename(old->path, old_path);
	if (rc != OK) return rc;
	rc = store_rename(path, old->path);
	if (rc != OK && store_rename(old_path, old->path) != OK) return ERR_PANIC;
	return rc;
}

int segment_set_exchange(struct segment_set *set, struct segment *old, const char *path)
{
	size_t at;
	char *old_path = NULL;
	uint64_t bytes;
	int rc = store_path_bytes(path, &bytes);
	struct segment *fresh = segment_new(set->dir, old->first_seq);
	if (!fresh || asprintf(&old_path, "%s" SEGMENT_OLD_SUFFIX, old->path) < 0) rc = ERR_NOMEM;
	pthread_mutex_lock(&set->lock);
	if (rc == OK && (!find(set, old->first_seq, &at) || set->items[at] != old)) rc = ERR_GONE;
	if (rc == OK) rc = exchange_files(old, old_path, path);
	if (rc == OK) {
		CHECK(at + 1 < set->count && set->trimmed_count < 4 * set->capacity);
		fresh->bytes = bytes;
		fresh->end_seq = set->items[at + 1]->first_seq;
		fresh->last_t = old->last_t;
		set->sealed_bytes += bytes - old->bytes;
		set->items[at] = fresh;
		free(old->path);
		old->path = old_path;
		set->trimmed[set->trimmed_count++] = old;
		fresh = NULL;
		old_path = NULL;
	}
	pthread_mutex_unlock(&set->lock);
	segment_free(fresh);
	free(old_path);
	return rc;
}
