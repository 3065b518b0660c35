#include "profile/consent_log.h"

#include "base/encode.h"
#include "profile/sealed.h"
#include "profile/wire.h"

#define ROW_FIXED      (SEALED_HEADER + 8 + 16 + 3 * SHA256_SIZE)
#define ROW_MAX        (ROW_FIXED + 2 * (64 + WIRE_VARINT_MAX))
#define PAYLOAD_FIXED  (SEALED_HEADER + CONSENT_SALT_SIZE)
#define TOKEN_KEY_SIZE (8 + CONSENT_TOKEN_SIZE)
#define TOKEN_SWEEP    4 /* expired ones deleted with each new one: more go than come */
/* A token may be shown a little after its end to a clock that is behind. */
#define TOKEN_GRACE_US INT64_C(86400000000)

int consent_log_open(struct store_env *env, struct tables *tables)
{
	int rc = store_db_open(env, "consent_log", STORE_DB_INTEGER_KEY, &tables->consent_log);
	if (!rc) rc = store_db_open(env, "consent_payloads", STORE_DB_INTEGER_KEY, &tables->consent_payloads);
	if (!rc) rc = store_db_open(env, "consent_tokens", 0, &tables->consent_tokens);
	return rc;
}

/* ── hashes ──────────────────────────────────────────────────────────────── */

int consent_payload_hash(const uint8_t salt[CONSENT_SALT_SIZE], struct str text, uint8_t out[SHA256_SIZE])
{
	struct str parts[] = {{(const char *)salt, CONSENT_SALT_SIZE}, text};
	return sha256_parts(parts, COUNT_OF(parts), out);
}

static int row_hash(const struct consent_log_row *row, uint8_t out[SHA256_SIZE])
{
	uint8_t fixed[8 + 1 + 8], lengths[2] = {(uint8_t)row->purpose.len, (uint8_t)row->channel.len};
	put_be64(fixed, row->n);
	fixed[8] = (uint8_t)row->state;
	put_be64(fixed + 9, row->position);
	struct str parts[] = {STR("cdpd consent 1"),
			      str_of(fixed, sizeof fixed),
			      str_of(row->fragment.bytes, sizeof row->fragment.bytes),
			      str_of(row->payload_hash, SHA256_SIZE),
			      str_of(row->previous, SHA256_SIZE),
			      str_of(lengths, sizeof lengths),
			      row->purpose,
			      row->channel};
	return sha256_parts(parts, COUNT_OF(parts), out);
}

int consent_log_check(const struct consent_log_row *row, bool *is_sound)
{
	uint8_t hash[SHA256_SIZE];
	int rc = row_hash(row, hash);
	*is_sound = !rc && memcmp(hash, row->hash, sizeof hash) == 0;
	return rc;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

int consent_log_decode(struct str key, struct str value, struct consent_log_row *out)
{
	struct sealed sealed;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (key.len != sizeof out->n || value.len < ROW_FIXED) return ERR_CORRUPT;
	struct wire_in in = wire_in(str_of(value.ptr + SEALED_HEADER, value.len - SEALED_HEADER));
	memcpy(&out->n, key.ptr, sizeof out->n);
	out->state = (enum consent_state)sealed.kind;
	out->position = wire_u64(&in);
	wire_copy(&in, out->fragment.bytes, sizeof out->fragment.bytes);
	wire_copy(&in, out->payload_hash, SHA256_SIZE);
	wire_copy(&in, out->previous, SHA256_SIZE);
	wire_copy(&in, out->hash, SHA256_SIZE);
	out->purpose = wire_str(&in);
	out->channel = wire_str(&in);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

/* Where the chain ends: the next number, and the hash of its last row (zeroes at first). */
static int find_end(struct store_txn *txn, const struct tables *tables, struct consent_log_row *row)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	struct consent_log_row last;
	int rc = store_cursor_open(txn, tables->consent_log, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_LAST, &key, &value);
	if (!rc) rc = consent_log_decode(key, value, &last);
	store_cursor_close(cursor);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	row->n = rc ? 1 : last.n + 1;
	if (rc)
		memset(row->previous, 0, SHA256_SIZE);
	else
		memcpy(row->previous, last.hash, SHA256_SIZE);
	return OK;
}

static int put_row(struct store_txn *txn, const struct tables *tables, const struct consent_log_row *row)
{
	uint8_t value[ROW_MAX], *at = value + SEALED_HEADER;
	struct str key = store_key64(&row->n);
	CHECK(row->purpose.len <= 64 && row->channel.len <= 64);
	at = wire_put_u64(at, row->position);
	at = wire_put(at, row->fragment.bytes, sizeof row->fragment.bytes);
	at = wire_put(at, row->payload_hash, SHA256_SIZE);
	at = wire_put(at, row->previous, SHA256_SIZE);
	at = wire_put(at, row->hash, SHA256_SIZE);
	at = wire_put_str(at, row->purpose);
	at = wire_put_str(at, row->channel);
	size_t len = (size_t)(at - value);
	sealed_close(key, (char *)value, len, (struct sealed){(uint8_t)row->state, 0});
	return store_append(txn, tables->consent_log, key, str_of(value, len));
}

static int put_payload(struct store_txn *txn, const struct tables *tables, uint64_t n, const uint8_t *salt,
		       struct str text)
{
	struct str key = store_key64(&n);
	void *room;
	int rc = store_reserve(txn, tables->consent_payloads, key, PAYLOAD_FIXED + text.len, true, &room);
	if (rc) return rc;
	char *value = room;
	memcpy(value + SEALED_HEADER, salt, CONSENT_SALT_SIZE);
	memcpy(value + PAYLOAD_FIXED, text.ptr, text.len);
	sealed_close(key, value, PAYLOAD_FIXED + text.len, (struct sealed){1, 0});
	return OK;
}

int consent_log_append(struct store_txn *txn, const struct tables *tables, struct consent_log_row *row,
		       const uint8_t salt[CONSENT_SALT_SIZE], struct str text)
{
	int rc = find_end(txn, tables, row);
	if (!rc) rc = consent_payload_hash(salt, text, row->payload_hash);
	if (!rc) rc = row_hash(row, row->hash);
	if (!rc) rc = put_row(txn, tables, row);
	return rc ? rc : put_payload(txn, tables, row->n, salt, text);
}

int consent_payload_get(struct store_txn *txn, const struct tables *tables, uint64_t n, uint8_t salt[CONSENT_SALT_SIZE],
			struct str *text)
{
	struct str key = store_key64(&n), value;
	struct sealed sealed;
	int rc = store_get(txn, tables->consent_payloads, key, &value);
	if (!rc) rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (value.len < PAYLOAD_FIXED) return ERR_CORRUPT;
	memcpy(salt, value.ptr + SEALED_HEADER, CONSENT_SALT_SIZE);
	*text = str_of(value.ptr + PAYLOAD_FIXED, value.len - PAYLOAD_FIXED);
	return OK;
}

/* ── tokens that were used ───────────────────────────────────────────────── */

int consent_words_forget(struct store_txn *txn, const struct tables *tables, const struct fragment_id *fragment)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	int rc = store_cursor_open(txn, tables->consent_log, &cursor);
	if (rc) return rc;
	for (rc = store_cursor_move(cursor, STORE_FIRST, &key, &value); !rc;
	     rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		struct consent_log_row row;
		rc = consent_log_decode(key, value, &row);
		if (!rc && fragment_id_eq(&row.fragment, fragment)) rc = store_del(txn, tables->consent_payloads, key);
		if (rc && rc != ERR_NOT_FOUND) break; /* erased before */
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static void token_key(int64_t expires, const uint8_t *id, uint8_t out[TOKEN_KEY_SIZE])
{
	put_be64(out, (uint64_t)expires);
	memcpy(out + 8, id, CONSENT_TOKEN_SIZE);
}

int consent_token_find(struct store_txn *txn, const struct tables *tables, int64_t expires,
		       const uint8_t id[CONSENT_TOKEN_SIZE], uint64_t *seq)
{
	uint8_t key[TOKEN_KEY_SIZE];
	struct str value;
	token_key(expires, id, key);
	int rc = store_get(txn, tables->consent_tokens, str_of(key, sizeof key), &value);
	if (rc) return rc;
	if (value.len != sizeof *seq) return ERR_CORRUPT;
	memcpy(seq, value.ptr, sizeof *seq);
	return OK;
}

static int sweep(struct store_txn *txn, const struct tables *tables, int64_t t)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	int rc = store_cursor_open(txn, tables->consent_tokens, &cursor);
	if (rc) return rc;
	for (int i = 0; i < TOKEN_SWEEP && !rc; i++) {
		rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
		if (rc) break;
		if (key.len != TOKEN_KEY_SIZE) rc = ERR_CORRUPT;
		if (rc || (int64_t)get_be64((const uint8_t *)key.ptr) + TOKEN_GRACE_US >= t) break;
		rc = store_cursor_del(cursor);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int consent_token_use(struct store_txn *txn, const struct tables *tables, int64_t expires,
		      const uint8_t id[CONSENT_TOKEN_SIZE], uint64_t seq, int64_t t)
{
	uint8_t key[TOKEN_KEY_SIZE];
	token_key(expires, id, key);
	int rc = sweep(txn, tables, t);
	return rc ? rc : store_put(txn, tables->consent_tokens, str_of(key, sizeof key), store_key64(&seq));
}
