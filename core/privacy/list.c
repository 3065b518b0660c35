#include "privacy/list.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "profile/sealed.h"
#include "profile/wire.h"

#define LIST_FORMAT 1
#define MAP_BYTES   ((uint64_t)4 << 30)
#define PATH_BYTES  4096

struct erasure_list {
	struct store_env *env;
	store_db rows, marks;
	pthread_mutex_t lock; /* one writer at a time */
};

const char *erasure_state_name(enum erasure_state state)
{
	static const char *const names[ERASURE_STATE_COUNT] = {"pending", "folding", "rewriting", "done"};
	return (unsigned)state < ERASURE_STATE_COUNT ? names[state] : "unknown";
}

int erasure_list_open(const char *store_path_, struct erasure_list **out)
{
	static const struct store_options options = {.map_bytes = MAP_BYTES, .max_dbs = 8, .format = LIST_FORMAT};
	char folder[PATH_BYTES], path[PATH_BYTES];
	*out = NULL;
	if ((size_t)snprintf(folder, sizeof folder, "%s/state", store_path_) >= sizeof folder ||
	    (size_t)snprintf(path, sizeof path, "%s/state/erasures", store_path_) >= sizeof path)
		return ERR_TOO_LARGE;
	struct erasure_list *list = calloc(1, sizeof *list);
	if (!list) return ERR_NOMEM;
	pthread_mutex_init(&list->lock, NULL);
	int rc = store_make_dir(folder);
	if (!rc) rc = store_open(path, &options, &list->env);
	if (!rc) rc = store_db_open(list->env, "erasures", 0, &list->rows);
	if (!rc) rc = store_db_open(list->env, "expired", 0, &list->marks);
	if (rc) {
		erasure_list_close(list);
		return rc;
	}
	*out = list;
	return OK;
}

void erasure_list_close(struct erasure_list *list)
{
	if (!list) return;
	store_close(list->env);
	pthread_mutex_destroy(&list->lock);
	free(list);
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static struct str receipt_key(const uint8_t receipt[RECEIPT_SIZE])
{
	return str_of(receipt, RECEIPT_SIZE);
}

#define NUMBERS 14
static size_t size_max(const struct erasure *e)
{
	return SEALED_HEADER + 1 + NUMBERS * 8 + 3 * WIRE_VARINT_MAX + e->fragment_count * 16 + e->actor.len +
	       e->reason.len;
}

static size_t encode(const struct erasure *e, uint8_t *value)
{
	const uint64_t numbers[NUMBERS] = {e->epoch,
					   e->seq,
					   (uint64_t)e->requested_us,
					   (uint64_t)e->folded_us,
					   (uint64_t)e->done_us,
					   (uint64_t)e->before_us,
					   e->events,
					   e->rejects,
					   e->changes,
					   e->segments,
					   e->segments_rewritten,
					   e->segments_total,
					   e->repeats,
					   0};
	uint8_t *at = value + SEALED_HEADER;
	*at++ = e->is_whole;
	for (size_t i = 0; i < NUMBERS; i++) at = wire_put_u64(at, numbers[i]);
	at = wire_put_varint(at, e->fragment_count);
	at = wire_put(at, e->fragments, e->fragment_count * sizeof *e->fragments);
	at = wire_put_str(at, e->actor);
	at = wire_put_str(at, e->reason);
	sealed_close(receipt_key(e->receipt), (char *)value, (size_t)(at - value),
		     (struct sealed){.kind = (uint8_t)e->state});
	return (size_t)(at - value);
}

static int decode(struct str key, struct str value, struct arena *arena, struct erasure *out)
{
	struct sealed sealed;
	uint64_t numbers[NUMBERS];
	int rc = key.len == RECEIPT_SIZE ? sealed_open(key, value, &sealed) : ERR_CORRUPT;
	if (rc) return rc;
	if (sealed.kind >= ERASURE_STATE_COUNT) return ERR_FORMAT;
	struct wire_in in = wire_in((struct str){value.ptr + SEALED_HEADER, value.len - SEALED_HEADER});
	bool is_whole = wire_u8(&in);
	for (size_t i = 0; i < NUMBERS; i++) numbers[i] = wire_u64(&in);
	size_t count = wire_count(&in, 16);
	struct fragment_id *fragments = arena_array(arena, struct fragment_id, count + 1);
	if (!fragments) return ERR_NOMEM;
	wire_copy(&in, fragments, count * sizeof *fragments);
	struct str actor = wire_str(&in), reason = wire_str(&in);
	if (in.is_bad || in.at != in.end) return ERR_CORRUPT;
	*out = (struct erasure){.state = (enum erasure_state)sealed.kind,
				.is_whole = is_whole,
				.epoch = numbers[0],
				.seq = numbers[1],
				.requested_us = (int64_t)numbers[2],
				.folded_us = (int64_t)numbers[3],
				.done_us = (int64_t)numbers[4],
				.before_us = (int64_t)numbers[5],
				.events = numbers[6],
				.rejects = numbers[7],
				.changes = numbers[8],
				.segments = numbers[9],
				.segments_rewritten = numbers[10],
				.segments_total = numbers[11],
				.repeats = numbers[12],
				.fragments = fragments,
				.fragment_count = count};
	memcpy(out->receipt, key.ptr, RECEIPT_SIZE);
	rc = arena_str(arena, actor, &out->actor);
	return rc ? rc : arena_str(arena, reason, &out->reason);
}

static int put_one(struct erasure_list *list, struct store_txn *txn, const struct erasure *erasure)
{
	uint8_t *value = malloc(size_max(erasure));
	if (!value) return ERR_NOMEM;
	struct str bytes = str_of(value, encode(erasure, value));
	int rc = store_put(txn, list->rows, receipt_key(erasure->receipt), bytes);
	free(value);
	return rc;
}

int erasure_list_put_all(struct erasure_list *list, const struct erasure *erasures, size_t count)
{
	struct store_txn *txn;
	pthread_mutex_lock(&list->lock);
	int rc = store_begin(list->env, true, &txn);
	if (!rc) {
		for (size_t i = 0; i < count && !rc; i++) rc = put_one(list, txn, &erasures[i]);
		if (rc)
			store_abort(txn);
		else
			rc = store_commit(txn);
	}
	pthread_mutex_unlock(&list->lock);
	return rc;
}

int erasure_list_put(struct erasure_list *list, const struct erasure *erasure)
{
	return erasure_list_put_all(list, erasure, 1);
}

int erasure_list_remove(struct erasure_list *list, const uint8_t receipt[RECEIPT_SIZE])
{
	struct store_txn *txn;
	pthread_mutex_lock(&list->lock);
	int rc = store_begin(list->env, true, &txn);
	if (!rc) {
		int deleted = store_del(txn, list->rows, receipt_key(receipt));
		rc = store_commit(txn);
		if (!rc && deleted != ERR_NOT_FOUND) rc = deleted;
	}
	pthread_mutex_unlock(&list->lock);
	return rc;
}

int erasure_list_get(struct erasure_list *list, const uint8_t receipt[RECEIPT_SIZE], struct arena *arena,
		     struct erasure *out)
{
	struct store_txn *txn;
	struct str value, key = receipt_key(receipt);
	int rc = store_begin(list->env, false, &txn);
	if (rc) return rc;
	rc = store_get(txn, list->rows, key, &value);
	if (!rc) rc = decode(key, value, arena, out);
	store_abort(txn);
	return rc;
}

static int seek(struct store_cursor *cursor, const uint8_t *below, struct str *key, struct str *value)
{
	if (!below) return store_cursor_move(cursor, STORE_LAST, key, value);
	*key = receipt_key(below);
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, key, value);
	return store_cursor_move(cursor, rc == ERR_NOT_FOUND ? STORE_LAST : STORE_PREV, key, value);
}

int erasure_list_read(struct erasure_list *list, const uint8_t *below, size_t max, struct arena *arena,
		      struct erasure **out, size_t *count)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	*count = 0;
	*out = arena_array(arena, struct erasure, max + 1);
	int rc = *out ? store_begin(list->env, false, &txn) : ERR_NOMEM;
	if (rc) return rc;
	rc = store_cursor_open(txn, list->rows, &cursor);
	if (!rc) {
		rc = max ? seek(cursor, below, &key, &value) : ERR_NOT_FOUND;
		while (!rc && *count < max) {
			rc = decode(key, value, arena, &(*out)[*count]);
			if (rc) break;
			++*count;
			rc = store_cursor_move(cursor, STORE_PREV, &key, &value);
		}
		store_cursor_close(cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── marks ───────────────────────────────────────────────────────────────── */

#define MARK_SIZE (SEALED_HEADER + 2 * sizeof(uint64_t))

int expiry_mark_put(struct erasure_list *list, struct str event, uint64_t epoch, uint64_t through)
{
	struct store_txn *txn;
	char value[MARK_SIZE];
	memcpy(value + SEALED_HEADER, &epoch, sizeof epoch);
	memcpy(value + SEALED_HEADER + sizeof epoch, &through, sizeof through);
	sealed_close(event, value, sizeof value, (struct sealed){.kind = 0});
	pthread_mutex_lock(&list->lock);
	int rc = store_begin(list->env, true, &txn);
	if (!rc) {
		rc = store_put(txn, list->marks, event, (struct str){value, sizeof value});
		if (rc)
			store_abort(txn);
		else
			rc = store_commit(txn);
	}
	pthread_mutex_unlock(&list->lock);
	return rc;
}

int expiry_mark_get(struct erasure_list *list, struct str event, uint64_t epoch, uint64_t *through)
{
	struct store_txn *txn;
	struct sealed sealed;
	struct str value;
	uint64_t of = 0;
	int rc = store_begin(list->env, false, &txn);
	if (rc) return rc;
	rc = store_get(txn, list->marks, event, &value);
	if (!rc) rc = value.len == MARK_SIZE ? sealed_open(event, value, &sealed) : ERR_CORRUPT;
	if (!rc) {
		memcpy(&of, value.ptr + SEALED_HEADER, sizeof of);
		memcpy(through, value.ptr + SEALED_HEADER + sizeof of, sizeof *through);
	}
	store_abort(txn);
	return !rc && of != epoch ? ERR_NOT_FOUND : rc;
}
