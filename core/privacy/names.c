#include "privacy/names.h"

#include "base/buf.h"
#include "profile/wire.h"

/* The two references of a StoredMerge, whether text or bytes: protobuf writes both alike. */
enum { FIELD_A = 1, FIELD_B = 2, FIELD_REASON = 3, WIRE_BYTES = 2 };

struct rewriting {
	struct people_reader *reader;
	uint64_t seq;
	struct arena *arena;
	uint8_t *at; /* in the new payload */
	bool is_replaced;
};

static int put_field(struct rewriting *r, uint64_t tag, struct str text)
{
	bool is_hit = false;
	struct str hashed = text;
	if (tag >> 3 == FIELD_A || tag >> 3 == FIELD_B) {
		int rc = erasure_of_text(r->reader, text, r->seq, r->arena, &is_hit, &hashed);
		if (rc) return rc;
	}
	if (is_hit) r->is_replaced = true;
	/* Fields come in order: who it is about is known by now, and so is that the words may tell of them. */
	if (tag >> 3 == FIELD_REASON && r->is_replaced) return OK;
	r->at = wire_put_varint(r->at, tag);
	r->at = wire_put_str(r->at, hashed);
	return OK;
}

int names_hash(struct people_reader *reader, const struct record *record, struct arena *arena, bool *is_replaced,
	       struct str *payload)
{
	struct wire_in in = wire_in(record->payload);
	size_t room = record->payload.len + (size_t)4 * 128; /* a hash is longer than a short value */
	uint8_t *bytes = arena_alloc(arena, room);
	struct rewriting r = {.reader = reader, .seq = record->seq, .arena = arena, .at = bytes};
	*is_replaced = false;
	if (!bytes) return ERR_NOMEM;
	while (!in.is_bad && in.at < in.end) {
		uint64_t tag = wire_varint(&in);
		struct str text = wire_str(&in);
		if (in.is_bad || (tag & 7) != WIRE_BYTES) return OK; /* not ours to read */
		if ((size_t)(r.at - bytes) + text.len + 128 > room) return OK;
		int rc = put_field(&r, tag, text);
		if (rc) return rc;
	}
	*is_replaced = r.is_replaced;
	*payload = str_of(bytes, (size_t)(r.at - bytes));
	return OK;
}
