#include "profile/segment_tables.h"

#include "profile/sealed.h"
#include "profile/segment_plan.h"

int segment_tables_open(struct store_env *env, struct segment_tables *out)
{
	int rc = store_db_open(env, "members", 0, &out->members);
	if (!rc) rc = store_db_open(env, "due", 0, &out->due);
	return rc ? rc : store_db_open(env, "expiries", 0, &out->expiries);
}

static void put_be64(uint8_t *out, uint64_t value)
{
	for (size_t i = 0; i < 8; i++) out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_be64(const char *in)
{
	uint64_t value = 0;
	for (size_t i = 0; i < 8; i++) value = value << 8 | (uint8_t)in[i];
	return value;
}

/* Gone already is as good. */
static int del(struct store_txn *txn, store_db db, struct str key)
{
	int rc = store_del(txn, db, key);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── members ─────────────────────────────────────────────────────────────── */

void member_key(uint64_t segment, const struct fragment_id *profile, uint8_t out[MEMBER_KEY_SIZE])
{
	put_be64(out, segment);
	memcpy(out + 8, profile->bytes, sizeof profile->bytes);
}

int member_put(struct store_txn *txn, store_db members, const uint8_t bytes[MEMBER_KEY_SIZE], int64_t since)
{
	char value[SEALED_HEADER + sizeof since];
	struct str key = {(const char *)bytes, MEMBER_KEY_SIZE};
	memcpy(value + SEALED_HEADER, &since, sizeof since);
	sealed_close(key, value, sizeof value, (struct sealed){0});
	return store_put(txn, members, key, (struct str){value, sizeof value});
}

int member_del(struct store_txn *txn, store_db members, const uint8_t bytes[MEMBER_KEY_SIZE])
{
	return del(txn, members, (struct str){(const char *)bytes, MEMBER_KEY_SIZE});
}

int member_decode(struct str key, struct str value, uint64_t *segment, struct fragment_id *profile, int64_t *since)
{
	struct sealed sealed;
	if (key.len != MEMBER_KEY_SIZE || value.len != SEALED_HEADER + sizeof *since) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	*segment = get_be64(key.ptr);
	memcpy(profile->bytes, key.ptr + 8, sizeof profile->bytes);
	memcpy(since, value.ptr + SEALED_HEADER, sizeof *since);
	return OK;
}

int member_count_get(struct store_txn *txn, store_db members, uint64_t segment, uint64_t *count, struct str *name)
{
	uint8_t bytes[8];
	struct str key = {(const char *)bytes, sizeof bytes}, value;
	struct sealed sealed;
	put_be64(bytes, segment);
	int rc = store_get(txn, members, key, &value);
	if (!rc) rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (value.len < SEALED_HEADER + sizeof *count) return ERR_CORRUPT;
	memcpy(count, value.ptr + SEALED_HEADER, sizeof *count);
	*name = (struct str){value.ptr + SEALED_HEADER + sizeof *count, value.len - SEALED_HEADER - sizeof *count};
	return OK;
}

int member_count_put(struct store_txn *txn, store_db members, uint64_t segment, uint64_t count, struct str name)
{
	uint8_t bytes[8];
	char value[SEALED_HEADER + sizeof count + SEGMENT_NAME_MAX];
	struct str key = {(const char *)bytes, sizeof bytes};
	CHECK(name.len <= SEGMENT_NAME_MAX);
	put_be64(bytes, segment);
	if (count == 0) return del(txn, members, key);
	memcpy(value + SEALED_HEADER, &count, sizeof count);
	memcpy(value + SEALED_HEADER + sizeof count, name.ptr, name.len);
	size_t len = SEALED_HEADER + sizeof count + name.len;
	sealed_close(key, value, len, (struct sealed){0});
	return store_put(txn, members, key, (struct str){value, len});
}

/* ── due ─────────────────────────────────────────────────────────────────── */

#define SIGN (UINT64_C(1) << 63)

void due_key(int64_t at, const struct fragment_id *profile, uint8_t out[DUE_KEY_SIZE])
{
	put_be64(out, (uint64_t)at ^ SIGN);
	memcpy(out + 8, profile->bytes, sizeof profile->bytes);
}

int due_put(struct store_txn *txn, store_db due, const uint8_t bytes[DUE_KEY_SIZE])
{
	char value[SEALED_HEADER];
	struct str key = {(const char *)bytes, DUE_KEY_SIZE};
	sealed_close(key, value, sizeof value, (struct sealed){0});
	return store_put(txn, due, key, (struct str){value, sizeof value});
}

int due_del(struct store_txn *txn, store_db due, const uint8_t bytes[DUE_KEY_SIZE])
{
	return del(txn, due, (struct str){(const char *)bytes, DUE_KEY_SIZE});
}

int due_first(struct store_txn *txn, store_db due, int64_t *at, struct fragment_id *profile)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	struct sealed sealed;
	int rc = store_cursor_open(txn, due, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	if (!rc && key.len != DUE_KEY_SIZE) rc = ERR_CORRUPT;
	if (!rc) rc = sealed_open(key, value, &sealed);
	if (!rc) {
		*at = (int64_t)(get_be64(key.ptr) ^ SIGN);
		memcpy(profile->bytes, key.ptr + 8, sizeof profile->bytes);
	}
	store_cursor_close(cursor);
	return rc;
}
