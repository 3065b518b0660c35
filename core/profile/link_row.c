#include "profile/link_row.h"

#include <endian.h>

#include "profile/row.h"
#include "profile/sealed.h"

#define LINK_KEY   (16 + 16 + 1 + 8)
#define LINK_FIXED (SEALED_HEADER + 8 + 8)
#define LINK_MAX   (LINK_FIXED + ROW_IDENTIFIER_MAX)

enum link_flag { LINK_IS_LINKED = 1, LINK_IS_INITIATOR = 2 };

static const char *const reasons[LINK_REASON_COUNT] = {
    [LINK_OK] = "",
    [LINK_UNIQUE_CONFLICT] = "unique_conflict",
    [LINK_NAMESPACE_LIMIT] = "namespace_limit",
    [LINK_TOO_MANY_FRAGMENTS] = "too_many_fragments",
    [LINK_BLOCKED_VALUE] = "blocked_value",
    [LINK_NOT_ALLOWED] = "not_allowed",
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
	default: return "unknown";
	}
}

static struct str make_key(const struct link *link, char key[LINK_KEY])
{
	uint64_t version = htobe64(link->version);
	memcpy(key, link->fragment.bytes, 16);
	memcpy(key + 16, link->other.bytes, 16);
	key[32] = (char)link->rule;
	memcpy(key + 33, &version, sizeof version);
	return (struct str){key, LINK_KEY};
}

int link_put(struct store_txn *txn, store_db links, const struct link *link)
{
	char key_bytes[LINK_KEY], value[LINK_MAX];
	struct str key = make_key(link, key_bytes);
	size_t len = LINK_FIXED + link->other_identifier.len;
	CHECK(len <= sizeof value);
	memcpy(value + 8, &link->seq, sizeof link->seq);
	memcpy(value + 16, &link->t, sizeof link->t);
	memcpy(value + LINK_FIXED, link->other_identifier.ptr, link->other_identifier.len);
	uint16_t flags =
	    (uint16_t)((link->reason == LINK_OK ? LINK_IS_LINKED : 0) | (link->is_initiator ? LINK_IS_INITIATOR : 0));
	sealed_close(key, value, len, (struct sealed){(uint8_t)link->reason, flags});
	return store_put(txn, links, key, (struct str){value, len});
}

int link_find(struct store_txn *txn, store_db links, const struct link *link)
{
	char key[LINK_KEY];
	struct str value;
	return store_get(txn, links, make_key(link, key), &value);
}

int link_decode(struct str key, struct str value, struct link *out)
{
	struct sealed sealed;
	if (key.len != LINK_KEY || value.len < LINK_FIXED || value.len > LINK_MAX) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (sealed.kind >= LINK_REASON_COUNT) return ERR_FORMAT;
	memcpy(out->fragment.bytes, key.ptr, 16);
	memcpy(out->other.bytes, key.ptr + 16, 16);
	out->rule = (uint8_t)key.ptr[32];
	memcpy(&out->version, key.ptr + 33, sizeof out->version);
	out->version = be64toh(out->version);
	out->reason = (enum link_reason)sealed.kind;
	out->is_initiator = sealed.extra & LINK_IS_INITIATOR;
	memcpy(&out->seq, value.ptr + 8, sizeof out->seq);
	memcpy(&out->t, value.ptr + 16, sizeof out->t);
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
	return link_put(txn, links, &mirror);
}
