#include "profile/block.h"
#include "profile/component.h"
#include "profile/reader.h"
#include "profile/sealed.h"

#define MEMBER_KEY  (1 + 16 + 16)
#define OWNER_KEY   (1 + 16)
#define OWNER_FIXED (SEALED_HEADER + 8 + 8 + 4)
#define TEXT_MAX    300 /* of actor and reason; longer is cut */
#define MEMBERS_MAX 1000
#define OWNER_MAX   (OWNER_FIXED + MEMBERS_MAX * 16 + 3 * (2 + TEXT_MAX))
enum { KIND_MEMBER = 'm', KIND_OWNER = 'o', IS_NAMED = 1 };

struct owner {
	struct suppression_row row;
	const char *members; /* 16 bytes each; borrowed */
};

static struct str member_key(const struct fragment_id *member, const struct fragment_id *owner, char key[MEMBER_KEY])
{
	key[0] = KIND_MEMBER;
	memcpy(key + 1, member->bytes, 16);
	memcpy(key + 17, owner->bytes, 16);
	return (struct str){key, MEMBER_KEY};
}

static struct str owner_key(const struct fragment_id *owner, char key[OWNER_KEY])
{
	key[0] = KIND_OWNER;
	memcpy(key + 1, owner->bytes, 16);
	return (struct str){key, OWNER_KEY};
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static bool take_text(const char **at, const char *end, struct str *out)
{
	uint16_t len;
	if ((size_t)(end - *at) < sizeof len) return false;
	memcpy(&len, *at, sizeof len);
	*at += sizeof len;
	if ((size_t)(end - *at) < len) return false;
	*out = (struct str){*at, len};
	*at += len;
	return true;
}

static int owner_decode(struct str key, struct str value, struct owner *out)
{
	struct sealed sealed;
	uint32_t count;
	if (key.len != OWNER_KEY || value.len < OWNER_FIXED) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	struct suppression_row *row = &out->row;
	memcpy(row->owner.bytes, key.ptr + 1, 16);
	memcpy(&row->seq, value.ptr + 8, 8);
	memcpy(&row->t, value.ptr + 16, 8);
	memcpy(&count, value.ptr + 24, 4);
	if (count > (value.len - OWNER_FIXED) / 16) return ERR_CORRUPT;
	row->member_count = count;
	out->members = value.ptr + OWNER_FIXED;
	const char *at = out->members + (size_t)count * 16, *end = value.ptr + value.len;
	bool is_whole = take_text(&at, end, &row->namespace_) && take_text(&at, end, &row->actor) &&
			take_text(&at, end, &row->reason);
	return is_whole ? OK : ERR_CORRUPT;
}

static char *put_text(char *at, struct str text)
{
	uint16_t len = (uint16_t)(text.len < TEXT_MAX ? text.len : TEXT_MAX);
	memcpy(at, &len, sizeof len);
	if (len) memcpy(at + sizeof len, text.ptr, len);
	return at + sizeof len + len;
}

static int owner_put(struct people *people, const struct owner *owner)
{
	char key_bytes[OWNER_KEY];
	const struct suppression_row *row = &owner->row;
	char *value = arena_alloc(&people->cache.arena, OWNER_MAX);
	uint32_t count = (uint32_t)row->member_count;
	if (!value) return ERR_NOMEM;
	memcpy(value + 8, &row->seq, 8);
	memcpy(value + 16, &row->t, 8);
	memcpy(value + 24, &count, 4);
	memcpy(value + OWNER_FIXED, owner->members, (size_t)count * 16);
	char *at = put_text(value + OWNER_FIXED + (size_t)count * 16, row->namespace_);
	at = put_text(at, row->actor);
	at = put_text(at, row->reason);
	struct str key = owner_key(&row->owner, key_bytes);
	sealed_close(key, value, (size_t)(at - value), (struct sealed){0});
	return store_put(people->txn, people->tables.suppressed, key, (struct str){value, (size_t)(at - value)});
}

/* Members are copied into the transaction's arena, with room for more. */
static int owner_get(struct people *people, const struct fragment_id *id, struct owner *out)
{
	char key_bytes[OWNER_KEY];
	struct str value, copy;
	struct str key = owner_key(id, key_bytes);
	int rc = store_get(people->txn, people->tables.suppressed, key, &value);
	if (!rc) rc = arena_str(&people->cache.arena, value, &copy);
	return rc ? rc : owner_decode(key, copy, out);
}

int suppressed_has(struct people *people, const struct fragment_id *id, bool is_strongest, bool *out)
{
	static const struct fragment_id lowest;
	char bytes[MEMBER_KEY];
	struct store_cursor *cursor;
	struct sealed sealed;
	struct str prefix = member_key(id, &lowest, bytes), key = prefix, value;
	*out = false;
	int rc = store_cursor_open(people->txn, people->tables.suppressed, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc && !*out && key.len == MEMBER_KEY && memcmp(key.ptr, prefix.ptr, 17) == 0) {
		rc = sealed_open(key, value, &sealed);
		*out = !rc && (is_strongest || sealed.kind == IS_NAMED);
		if (!rc && !*out) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── acts ────────────────────────────────────────────────────────────────── */

static int put_member(struct people *people, const struct fragment_id *member, const struct fragment_id *owner)
{
	char key_bytes[MEMBER_KEY], value[SEALED_HEADER];
	struct str key = member_key(member, owner, key_bytes);
	uint8_t kind = fragment_id_eq(member, owner) ? IS_NAMED : 0;
	sealed_close(key, value, sizeof value, (struct sealed){.kind = kind});
	return store_put(people->txn, people->tables.suppressed, key, (struct str){value, sizeof value});
}

static int lift(struct people *people, const struct fragment_id *id)
{
	char key_bytes[MEMBER_KEY];
	struct owner owner;
	int rc = owner_get(people, id, &owner);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	for (size_t i = 0; i < owner.row.member_count; i++) {
		struct fragment_id member;
		memcpy(member.bytes, owner.members + 16 * i, 16);
		rc = store_del(people->txn, people->tables.suppressed, member_key(&member, id, key_bytes));
		if (rc && rc != ERR_NOT_FOUND) return rc;
	}
	rc = store_del(people->txn, people->tables.suppressed, owner_key(id, key_bytes));
	return rc ? rc : blocks_begin(people);
}

static bool has_member(const char *members, size_t count, const struct fragment_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(members + 16 * i, id->bytes, 16) == 0) return true;
	return false;
}

/* Who is one person with the named identifier now; nobody when it is not known. */
static int component_now(struct people *people, const struct fragment_id *id, struct component *out)
{
	struct slot *slot;
	struct row *row;
	*out = (struct component){.count = 0};
	int rc = cache_slot(&people->cache, id, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return component_of(people, slot, out);
}

int people_suppress(struct people *people, const struct people_suppression *act, uint64_t seq, int64_t t)
{
	struct owner owner = {.row = {.owner = act->owner,
				      .seq = seq,
				      .t = t,
				      .namespace_ = act->namespace_,
				      .actor = act->actor,
				      .reason = act->reason}};
	struct component component;
	CHECK(people->txn);
	if (act->is_lifted) return lift(people, &act->owner);
	char *members = arena_alloc(&people->cache.arena, (size_t)MEMBERS_MAX * 16);
	if (!members) return ERR_NOMEM;
	int rc = owner_get(people, &act->owner, &owner);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (!rc) memcpy(members, owner.members, owner.row.member_count * 16);
	owner.members = members;
	rc = component_now(people, &act->owner, &component);
	for (size_t i = 0; i <= component.count && !rc; i++) {
		const struct fragment_id *id = i < component.count ? &component.members[i].id : &act->owner;
		if (owner.row.member_count == MEMBERS_MAX || has_member(members, owner.row.member_count, id)) continue;
		memcpy(members + 16 * owner.row.member_count++, id->bytes, 16);
		rc = put_member(people, id, &act->owner);
	}
	people->has_suppressed = true;
	return rc ? rc : owner_put(people, &owner);
}

/* ── reading ─────────────────────────────────────────────────────────────── */

static int copy_row(const struct owner *owner, struct arena *arena, struct suppression_row *out)
{
	*out = owner->row;
	int rc = arena_str(arena, owner->row.namespace_, &out->namespace_);
	if (!rc) rc = arena_str(arena, owner->row.actor, &out->actor);
	return rc ? rc : arena_str(arena, owner->row.reason, &out->reason);
}

int people_suppression(struct people_reader *reader, const struct fragment_id *id, struct arena *arena,
		       struct suppression_row *out)
{
	char key_bytes[OWNER_KEY];
	struct owner owner;
	struct str key = owner_key(id, key_bytes), value;
	CHECK(reader->is_open);
	int rc = store_get(reader->txn, reader->people->tables.suppressed, key, &value);
	if (!rc) rc = owner_decode(key, value, &owner);
	return rc ? rc : copy_row(&owner, arena, out);
}

int people_suppressions(struct people_reader *reader, const struct fragment_id *after, size_t max, struct arena *arena,
			struct suppression_row **rows, size_t *count)
{
	static const struct fragment_id lowest;
	char key_bytes[OWNER_KEY];
	struct store_cursor *cursor;
	struct str key = owner_key(after ? after : &lowest, key_bytes), value;
	CHECK(reader->is_open);
	*count = 0;
	*rows = arena_array(arena, struct suppression_row, max + 1);
	int rc = *rows ? store_cursor_open(reader->txn, reader->people->tables.suppressed, &cursor) : ERR_NOMEM;
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc && *count < max && key.len == OWNER_KEY && key.ptr[0] == KIND_OWNER) {
		struct owner owner;
		rc = owner_decode(key, value, &owner);
		if (rc) break;
		if (!after || !fragment_id_eq(after, &owner.row.owner))
			rc = copy_row(&owner, arena, &(*rows)[(*count)++]);
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int people_ref(struct people_reader *reader, struct str ref, struct arena *arena, struct fragment_id *id,
	       struct str *namespace_)
{
	char memory[ROW_IDENTIFIER_MAX];
	struct str text;
	struct row *row;
	if (!str_starts(ref, STR("id:"))) {
		int rc = identifier_normalize(reader->plan, ref, memory, &text);
		if (rc) return rc;
		fragment_id_make(&reader->people->key, text, id);
		return arena_str(arena, identifier_namespace(text), namespace_);
	}
	int rc = fragment_id_parse((struct str){ref.ptr + 3, ref.len - 3}, id);
	if (!rc) rc = reader_row(reader, id, false, false, arena, &row);
	return rc ? rc : arena_str(arena, identifier_namespace(row->identifier), namespace_);
}
