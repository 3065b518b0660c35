#include "profile/link_row.h"

#include <endian.h>

#include "profile/row.h"
#include "profile/sealed.h"

#define LINK_KEY   (16 + 16 + 1 + 8)
#define LINK_FIXED (SEALED_HEADER + 8 + 8)
#define ACT_FIXED  (LINK_FIXED + 8 + 3 * 2)
#define LINK_MAX   (ACT_FIXED + ROW_IDENTIFIER_MAX + PEOPLE_ACTOR_MAX + PEOPLE_NOTE_MAX)

enum link_flag { LINK_IS_LINKED = 1, LINK_IS_INITIATOR = 2, LINK_IS_ONE_SIDED = 4, LINK_WAS_ONE = 8, LINK_FLAGS = 15 };
#define ORDINAL_SHIFT 8

static const char *const reasons[LINK_REASON_COUNT] = {
    [LINK_OK] = "",
    [LINK_UNIQUE_CONFLICT] = "unique_conflict",
    [LINK_NAMESPACE_LIMIT] = "namespace_limit",
    [LINK_TOO_MANY_FRAGMENTS] = "too_many_fragments",
    [LINK_BLOCKED_VALUE] = "blocked_value",
    [LINK_NOT_ALLOWED] = "not_allowed",
    [LINK_CANNOT_LINK] = "cannot_link",
    [LINK_TOO_MANY_ATTEMPTS] = "too_many_attempts",
    [LINK_NOT_JOINED] = "not_joined",
    [LINK_TOO_ENTANGLED] = "too_entangled",
};

const char *link_reason_name(enum link_reason reason)
{
	return (unsigned)reason < LINK_REASON_COUNT ? reasons[reason] : "unknown";
}

const char *link_rule_name(uint8_t rule)
{
	switch (rule & ~LINK_TRUSTED) {
	case LINK_SAME_EVENT: return "same_event";
	case LINK_ALIAS: return "alias";
	case LINK_MERGE: return "merge";
	case LINK_UNMERGE: return "unmerge";
	case LINK_KEPT: return "kept";
	default: return "unknown";
	}
}

static struct str make_key(const struct link *link, char key[LINK_KEY])
{
	uint64_t version = htobe64(link_is_act(link->rule) ? link->seq : link->version);
	memcpy(key, link->fragment.bytes, 16);
	memcpy(key + 16, link->other.bytes, 16);
	key[32] = (char)link->rule;
	memcpy(key + 33, &version, sizeof version);
	return (struct str){key, LINK_KEY};
}

static size_t write_texts(const struct link *link, char *value)
{
	struct str texts[] = {link->other_identifier, link->actor, link->note};
	char *at = value + ACT_FIXED;
	memcpy(value + LINK_FIXED, &link->version, sizeof link->version);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		uint16_t len = (uint16_t)texts[i].len;
		memcpy(value + LINK_FIXED + 8 + 2 * i, &len, sizeof len);
		memcpy(at, texts[i].ptr, len);
		at += len;
	}
	return (size_t)(at - value);
}

int link_put(struct store_txn *txn, store_db links, const struct link *link)
{
	char key_bytes[LINK_KEY], value[LINK_MAX];
	struct str key = make_key(link, key_bytes);
	size_t len = LINK_FIXED + link->other_identifier.len;
	CHECK(link->other_identifier.len <= ROW_IDENTIFIER_MAX);
	memcpy(value + 8, &link->seq, sizeof link->seq);
	memcpy(value + 16, &link->t, sizeof link->t);
	if (link_is_act(link->rule)) {
		CHECK(link->actor.len <= PEOPLE_ACTOR_MAX && link->note.len <= PEOPLE_NOTE_MAX);
		len = write_texts(link, value);
	} else {
		memcpy(value + LINK_FIXED, link->other_identifier.ptr, link->other_identifier.len);
	}
	unsigned flags = (link->reason == LINK_OK ? LINK_IS_LINKED : 0U) |
			 (link->is_initiator ? LINK_IS_INITIATOR : 0U) | (link->is_one_sided ? LINK_IS_ONE_SIDED : 0U) |
			 (link->was_one ? LINK_WAS_ONE : 0U);
	flags |= (unsigned)link->ordinal << ORDINAL_SHIFT;
	sealed_close(key, value, len, (struct sealed){(uint8_t)link->reason, (uint16_t)flags});
	return store_put(txn, links, key, (struct str){value, len});
}

int link_find(struct store_txn *txn, store_db links, const struct link *link)
{
	char key[LINK_KEY];
	struct str value;
	return store_get(txn, links, make_key(link, key), &value);
}

int link_show(const struct link *link, struct str identifier, struct arena *arena, struct link_row *out)
{
	bool is_initiator = link->is_initiator;
	*out = (struct link_row){.seq = link->seq,
				 .t = link->t,
				 .rule = str_from(link_rule_name(link->rule)),
				 .is_act = link_is_act(link->rule),
				 .is_unmerge = link->rule == LINK_UNMERGE,
				 .is_linked = link->reason == LINK_OK,
				 .was_one = link->was_one,
				 .reason = str_from(link_reason_name(link->reason))};
	int rc = arena_str(arena, is_initiator ? identifier : link->other_identifier, &out->a);
	if (!rc) rc = arena_str(arena, is_initiator ? link->other_identifier : identifier, &out->b);
	if (!rc) rc = arena_str(arena, link->actor, &out->actor);
	return rc ? rc : arena_str(arena, link->note, &out->note);
}

static int decode_texts(struct str value, struct link *out)
{
	struct str *texts[] = {&out->other_identifier, &out->actor, &out->note};
	size_t at = ACT_FIXED;
	if (value.len < ACT_FIXED) return ERR_CORRUPT;
	out->version = 0;
	memcpy(&out->version, value.ptr + LINK_FIXED, sizeof out->version);
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		uint16_t len;
		memcpy(&len, value.ptr + LINK_FIXED + 8 + 2 * i, sizeof len);
		if (value.len - at < len) return ERR_CORRUPT;
		*texts[i] = (struct str){value.ptr + at, len};
		at += len;
	}
	return at == value.len ? OK : ERR_CORRUPT;
}

int link_decode(struct str key, struct str value, struct link *out)
{
	struct sealed sealed;
	if (key.len != LINK_KEY || value.len < LINK_FIXED || value.len > LINK_MAX) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (sealed.kind >= LINK_REASON_COUNT || (sealed.extra & ((1U << ORDINAL_SHIFT) - 1)) > LINK_FLAGS)
		return ERR_FORMAT;
	memcpy(out->fragment.bytes, key.ptr, 16);
	memcpy(out->other.bytes, key.ptr + 16, 16);
	out->rule = (uint8_t)key.ptr[32];
	memcpy(&out->version, key.ptr + 33, sizeof out->version);
	out->version = be64toh(out->version);
	out->reason = (enum link_reason)sealed.kind;
	out->is_initiator = sealed.extra & LINK_IS_INITIATOR;
	out->is_one_sided = sealed.extra & LINK_IS_ONE_SIDED;
	out->was_one = sealed.extra & LINK_WAS_ONE;
	out->ordinal = (uint8_t)(sealed.extra >> ORDINAL_SHIFT);
	memcpy(&out->seq, value.ptr + 8, sizeof out->seq);
	memcpy(&out->t, value.ptr + 16, sizeof out->t);
	out->actor = out->note = STR_NONE;
	if (link_is_act(out->rule)) return decode_texts(value, out);
	out->other_identifier = (struct str){value.ptr + LINK_FIXED, value.len - LINK_FIXED};
	return OK;
}

int link_forget(struct store_txn *txn, store_db links, const struct link *link, bool other_stays, struct str hashed)
{
	char key_bytes[LINK_KEY], mirror_bytes[LINK_KEY];
	struct link mirror = *link;
	struct str value;
	int rc = store_del(txn, links, make_key(link, key_bytes));
	if ((rc && rc != ERR_NOT_FOUND) || !other_stays) return rc == ERR_NOT_FOUND ? OK : rc;
	mirror.fragment = link->other;
	mirror.other = link->fragment;
	struct str key = make_key(&mirror, mirror_bytes);
	rc = store_get(txn, links, key, &value);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc; /* a blocked value has no fragment */
	rc = link_decode(key, value, &mirror);
	if (rc) return rc;
	mirror.other_identifier = hashed;
	mirror.note = STR_NONE; /* what somebody wrote about the two */
	return link_put(txn, links, &mirror);
}

int links_each(struct store_txn *txn, store_db links, const struct fragment_id *fragment,
	       int (*fn)(void *ctx, const struct link *link), void *ctx)
{
	struct store_cursor *cursor;
	struct str key = {(const char *)fragment->bytes, sizeof fragment->bytes}, value;
	int rc = store_cursor_open(txn, links, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc) {
		struct link link;
		rc = link_decode(key, value, &link);
		if (rc || !fragment_id_eq(&link.fragment, fragment)) break;
		rc = fn(ctx, &link);
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int link_get(struct store_txn *txn, store_db links, const struct link *link, struct link *out)
{
	char bytes[LINK_KEY];
	struct str key = make_key(link, bytes), value;
	int rc = store_get(txn, links, key, &value);
	return rc ? rc : link_decode(key, value, out);
}
