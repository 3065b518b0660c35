#include "profile/block.h"

#include "base/encode.h"
#include "profile/reader.h"
#include "profile/sealed.h"

#define ERASED_SIZE (SEALED_HEADER + 8 + 8 + RECEIPT_SIZE + 8)
#define HEAD_SIZE   (SEALED_HEADER + 8)
#define KEY_SIZE    (1 + 16)
enum { KIND_FRAGMENT = 'f', KIND_HEAD = 'h' };

/* ── the hashed form of an identifier ────────────────────────────────────── */

#define HASHED_VALUE 33 /* '~' and 32 digits */

static bool hashed_id(struct str identifier, struct fragment_id *out)
{
	struct str value = identifier_value(identifier);
	if (value.len != HASHED_VALUE || value.ptr[0] != '~') return false;
	return fragment_id_parse((struct str){value.ptr + 1, value.len - 1}, out) == OK;
}

bool identifier_is_hashed(struct str identifier)
{
	struct fragment_id id;
	return hashed_id(identifier, &id);
}

void identifier_id(const struct hash_key *key, struct str text, struct fragment_id *out)
{
	if (!hashed_id(text, out)) fragment_id_make(key, text, out);
}

void identifier_from_text(const struct people *people, struct str text, struct identifier *out)
{
	*out = (struct identifier){.text = text, .value = identifier_value(text)};
	out->strength = plan_namespace_find(people->plan, identifier_namespace(text));
	identifier_id(&people->key, text, &out->id);
}

int identifier_hash_text(const struct fragment_id *id, struct str identifier, struct arena *arena, struct str *out)
{
	char hex[FRAGMENT_ID_TEXT_SIZE];
	fragment_id_format(id, hex);
	return arena_printf(arena, out, "%.*s:~%s", STR_ARG(identifier_namespace(identifier)), hex);
}

/* ── erased ──────────────────────────────────────────────────────────────── */

static struct str make_key(char kind, const struct fragment_id *id, char key[KEY_SIZE])
{
	key[0] = kind;
	memcpy(key + 1, id->bytes, sizeof id->bytes);
	return (struct str){key, KEY_SIZE};
}

static int erased_decode(struct str key, struct str value, struct erased_row *out)
{
	struct sealed sealed;
	if (value.len != ERASED_SIZE) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	memcpy(&out->seq, value.ptr + 8, 8);
	memcpy(&out->before_us, value.ptr + 16, 8);
	memcpy(out->receipt, value.ptr + 24, RECEIPT_SIZE);
	memcpy(&out->late_seq, value.ptr + 24 + RECEIPT_SIZE, 8);
	return OK;
}

int erased_get(struct store_txn *txn, store_db erased, const struct fragment_id *id, struct erased_row *out)
{
	char bytes[KEY_SIZE];
	struct str key = make_key(KIND_FRAGMENT, id, bytes), value;
	int rc = store_get(txn, erased, key, &value);
	return rc ? rc : erased_decode(key, value, out);
}

int erased_put(struct store_txn *txn, store_db erased, const struct fragment_id *id, const struct erased_row *row)
{
	char bytes[KEY_SIZE], value[ERASED_SIZE];
	struct str key = make_key(KIND_FRAGMENT, id, bytes);
	memcpy(value + 8, &row->seq, 8);
	memcpy(value + 16, &row->before_us, 8);
	memcpy(value + 24, row->receipt, RECEIPT_SIZE);
	memcpy(value + 24 + RECEIPT_SIZE, &row->late_seq, 8);
	sealed_close(key, value, sizeof value, (struct sealed){0});
	return store_put(txn, erased, key, (struct str){value, sizeof value});
}

int erased_head_put(struct store_txn *txn, store_db erased, const struct fragment_id *id, uint64_t seq)
{
	char bytes[KEY_SIZE], value[HEAD_SIZE];
	struct str key = make_key(KIND_HEAD, id, bytes);
	memcpy(value + 8, &seq, 8);
	sealed_close(key, value, sizeof value, (struct sealed){0});
	return store_put(txn, erased, key, (struct str){value, sizeof value});
}

int erased_head_get(struct store_txn *txn, store_db erased, const struct fragment_id *id, uint64_t *seq)
{
	char bytes[KEY_SIZE];
	struct sealed sealed;
	struct str key = make_key(KIND_HEAD, id, bytes), value;
	int rc = store_get(txn, erased, key, &value);
	if (!rc) rc = value.len == HEAD_SIZE ? sealed_open(key, value, &sealed) : ERR_CORRUPT;
	if (!rc) memcpy(seq, value.ptr + 8, 8);
	return rc;
}

int people_erased(struct people_reader *reader, const struct fragment_id *id, struct erased_row *out)
{
	CHECK(reader->is_open);
	return erased_get(reader->txn, reader->people->tables.erased, id, out);
}

int people_each_erased(struct people_reader *reader,
		       int (*fn)(void *ctx, const struct fragment_id *id, const struct erased_row *row), void *ctx)
{
	struct store_cursor *cursor;
	const char first = KIND_FRAGMENT;
	struct str key = {&first, 1}, value;
	CHECK(reader->is_open);
	int rc = store_cursor_open(reader->txn, reader->people->tables.erased, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc && key.len == KEY_SIZE && key.ptr[0] == KIND_FRAGMENT) {
		struct erased_row row;
		struct fragment_id id;
		rc = erased_decode(key, value, &row);
		memcpy(id.bytes, key.ptr + 1, sizeof id.bytes);
		if (rc || fn(ctx, &id, &row)) break;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── judging ─────────────────────────────────────────────────────────────── */

int blocks_begin(struct people *people)
{
	uint64_t erased, suppressed;
	int rc = store_count(people->txn, people->tables.erased, &erased);
	if (!rc) rc = store_count(people->txn, people->tables.suppressed, &suppressed);
	if (rc) return rc;
	people->has_erased = erased > 0;
	people->has_suppressed = suppressed > 0;
	return OK;
}

/* What a plugin published of somebody who was erased meanwhile and did not come back: she is not to come back by that. */
static int is_echo(struct people *people, const struct identifier *strongest, const struct cdpd_event *event, bool *out)
{
	struct slot *slot;
	struct row *row;
	*out = false;
	if (event->source_kind != SOURCE_PLUGIN) return OK;
	int rc = cache_slot(&people->cache, &strongest->id, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, &row);
	*out = rc == ERR_NOT_FOUND;
	return *out ? OK : rc;
}

static int judge_erased(struct people *people, const struct identifier *strongest, const struct cdpd_event *event,
			uint64_t seq, struct apply_result *out)
{
	struct erased_row row;
	int rc = erased_get(people->txn, people->tables.erased, &strongest->id, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	bool is_blocked = event->event_time_us <= row.before_us;
	if (!is_blocked) rc = is_echo(people, strongest, event, &is_blocked);
	if (rc || !is_blocked) return rc;
	out->verdict = OUTCOME_ERASED;
	out->reason = OUTCOME_REASON_OLDER_THAN_ERASURE;
	row.late_seq = seq;
	return erased_put(people->txn, people->tables.erased, &strongest->id, &row);
}

int blocks_judge(struct people *people, const struct identifier *strongest, const struct cdpd_event *event,
		 uint64_t seq, struct apply_result *out)
{
	const struct identifiers *all = &people->identifiers;
	for (size_t i = 0; people->has_suppressed && i < all->count; i++) {
		const struct identifier *it = &all->items[i];
		bool is_suppressed;
		if (it->is_blocked) continue;
		int rc = suppressed_has(people, &it->id, it == strongest, &is_suppressed);
		if (rc) return rc;
		if (!is_suppressed) continue;
		out->verdict = OUTCOME_SUPPRESSED;
		return OK;
	}
	return people->has_erased ? judge_erased(people, strongest, event, seq, out) : OK;
}

uint64_t people_changes_floor(const struct people_reader *reader)
{
	CHECK(reader->is_open);
	return reader->checkpoint.changes_floor;
}
