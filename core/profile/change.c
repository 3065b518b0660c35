#include "profile/change_row.h"
#include "profile/sealed.h"

/* value: sealed header (kind) · t i64 · cause seq u64 · profile 16 · body */
#define CHANGE_FIXED (SEALED_HEADER + 8 + 8 + 16)

static const char *const names[CHANGE_KIND_COUNT] = {
    [CHANGE_PROFILE] = "profile",       [CHANGE_TRAIT] = "trait",     [CHANGE_FEATURE] = "feature",
    [CHANGE_IDENTIFIER] = "identifier", [CHANGE_MERGED] = "merged",   [CHANGE_SPLIT] = "split",
    [CHANGE_SEGMENT] = "segment",       [CHANGE_CONSENT] = "consent", [CHANGE_ERASED] = "erased",
};

const char *change_kind_name(enum change_kind kind)
{
	return kind > 0 && kind < CHANGE_KIND_COUNT ? names[kind] : "unknown";
}

bool change_kind_from_name(struct str name, enum change_kind *out)
{
	for (int kind = 1; kind < CHANGE_KIND_COUNT; kind++) {
		if (!str_eq(str_from(names[kind]), name)) continue;
		*out = (enum change_kind)kind;
		return true;
	}
	return false;
}

int change_append(struct store_txn *txn, store_db changes, const struct change *change)
{
	struct str key = store_key64(&change->seq);
	void *room;
	int rc = store_reserve(txn, changes, key, CHANGE_FIXED + change->body.len, true, &room);
	if (rc) return rc;
	char *value = room;
	memcpy(value + 8, &change->t, sizeof change->t);
	memcpy(value + 16, &change->cause_seq, sizeof change->cause_seq);
	memcpy(value + 24, change->profile, sizeof change->profile);
	memcpy(value + CHANGE_FIXED, change->body.ptr, change->body.len);
	sealed_close(key, value, CHANGE_FIXED + change->body.len, (struct sealed){(uint8_t)change->kind, 0});
	return OK;
}

int change_decode(struct str key, struct str value, struct change *out)
{
	struct sealed sealed;
	if (key.len != sizeof out->seq || value.len < CHANGE_FIXED) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (sealed.kind == 0 || sealed.kind >= CHANGE_KIND_COUNT) return ERR_FORMAT;
	memcpy(&out->seq, key.ptr, sizeof out->seq);
	out->kind = (enum change_kind)sealed.kind;
	memcpy(&out->t, value.ptr + 8, sizeof out->t);
	memcpy(&out->cause_seq, value.ptr + 16, sizeof out->cause_seq);
	memcpy(out->profile, value.ptr + 24, sizeof out->profile);
	out->body = (struct str){value.ptr + CHANGE_FIXED, value.len - CHANGE_FIXED};
	return OK;
}

int change_blank(struct store_txn *txn, store_db changes, uint64_t seq)
{
	char bytes[CHANGE_FIXED + 2];
	struct change change;
	struct str key = store_key64(&seq), value;
	int rc = store_get(txn, changes, key, &value);
	if (!rc) rc = change_decode(key, value, &change);
	if (rc) return rc;
	memcpy(bytes, value.ptr, CHANGE_FIXED);
	memcpy(bytes + CHANGE_FIXED, "{}", 2);
	sealed_close(key, bytes, sizeof bytes, (struct sealed){(uint8_t)change.kind, 0});
	return store_put(txn, changes, key, (struct str){bytes, sizeof bytes});
}
