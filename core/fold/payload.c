#include "fold/payload.h"

#include "base/buf.h"
#include "base/secret.h"
#include "cdpd/v1/store.pb-c.h"

/* protobuf-c's structs are not const-correct; packing only reads. */
static ProtobufCBinaryData to_bytes(const void *ptr, size_t len)
{
	return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)ptr};
}

static void *alloc_in_arena(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *ptr)
{
	(void)arena;
	(void)ptr;
}

static ProtobufCAllocator allocator_of(struct arena *arena)
{
	return (ProtobufCAllocator){alloc_in_arena, free_nothing, arena};
}

static int pack(struct arena *arena, const ProtobufCMessage *message, struct str *out)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = arena_alloc(arena, len);
	if (!bytes) return ERR_NOMEM;
	*out = str_of(bytes, protobuf_c_message_pack(message, bytes));
	return OK;
}

int payload_write_definition(struct arena *arena, struct str text, uint64_t since_seq, struct str *out)
{
	Cdpd__V1__StoredDefinition stored = CDPD__V1__STORED_DEFINITION__INIT;
	uint8_t hash[SHA256_SIZE];
	int rc = sha256(text, hash);
	if (rc) return rc;
	stored.since_seq = since_seq;
	stored.hash = to_bytes(hash, sizeof hash);
	stored.text = to_bytes(text.ptr, text.len);
	return pack(arena, &stored.base, out);
}

int payload_read_definition(struct arena *arena, struct str payload, struct str *text, uint64_t *since_seq)
{
	ProtobufCAllocator allocator = allocator_of(arena);
	uint8_t hash[SHA256_SIZE];
	Cdpd__V1__StoredDefinition *stored =
	    cdpd__v1__stored_definition__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored || stored->hash.len != sizeof hash) return ERR_CORRUPT;
	struct str found = str_of(stored->text.data, stored->text.len);
	int rc = sha256(found, hash);
	if (rc) return rc;
	if (memcmp(hash, stored->hash.data, sizeof hash) != 0) return ERR_CORRUPT;
	/* Copied for the readable bytes after it that a JSON parser wants. */
	char *copy = arena_alloc(arena, found.len + BUF_SLACK);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, found.ptr, found.len);
	memset(copy + found.len, 0, BUF_SLACK);
	*text = str_of(copy, found.len);
	*since_seq = stored->since_seq;
	return OK;
}

int payload_read_clock(struct arena *arena, struct str payload, bool *is_held)
{
	ProtobufCAllocator allocator = allocator_of(arena);
	Cdpd__V1__StoredClock *stored =
	    cdpd__v1__stored_clock__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored) return ERR_CORRUPT;
	if (stored->act != CDPD__V1__STORED_CLOCK__ACT__HOLD && stored->act != CDPD__V1__STORED_CLOCK__ACT__CONFIRM)
		return ERR_FORMAT;
	*is_held = stored->act == CDPD__V1__STORED_CLOCK__ACT__HOLD;
	return OK;
}

int payload_write_quarantine(struct arena *arena, uint64_t seq, struct str plugin, struct str reason, struct str *out)
{
	Cdpd__V1__StoredQuarantine stored = CDPD__V1__STORED_QUARANTINE__INIT;
	struct str plugin_text, reason_text; /* NUL-terminated copies */
	int rc = arena_str(arena, plugin, &plugin_text);
	if (!rc) rc = arena_str(arena, reason, &reason_text);
	if (rc) return rc;
	stored.seq = seq;
	stored.plugin = (char *)(uintptr_t)plugin_text.ptr;
	stored.reason = (char *)(uintptr_t)reason_text.ptr;
	return pack(arena, &stored.base, out);
}

/* ── what people asked for ───────────────────────────────────────────────── */

int payload_write_act(struct arena *arena, const struct people_act *act, struct str *out)
{
	Cdpd__V1__StoredMerge stored = CDPD__V1__STORED_MERGE__INIT;
	stored.a = to_bytes(act->a.ptr, act->a.len);
	stored.b = to_bytes(act->b.ptr, act->b.len);
	stored.reason = to_bytes(act->note.ptr, act->note.len);
	stored.actor = to_bytes(act->actor.ptr, act->actor.len);
	return pack(arena, &stored.base, out);
}

static struct str text_of(ProtobufCBinaryData bytes)
{
	return bytes.len ? str_of(bytes.data, bytes.len) : STR_NONE;
}

int payload_read_act(struct arena *arena, struct str payload, struct people_act *out)
{
	ProtobufCAllocator allocator = allocator_of(arena);
	Cdpd__V1__StoredMerge *stored =
	    cdpd__v1__stored_merge__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored || !stored->a.len || !stored->b.len) return ERR_CORRUPT;
	*out = (struct people_act){.a = text_of(stored->a),
				   .b = text_of(stored->b),
				   .actor = text_of(stored->actor),
				   .note = text_of(stored->reason)};
	return OK;
}

int payload_write_erasure(struct arena *arena, const struct people_erasure *erasure, struct str actor,
			  struct str reason, struct str *out)
{
	Cdpd__V1__StoredErasure stored = CDPD__V1__STORED_ERASURE__INIT;
	stored.receipt_id = to_bytes(erasure->receipt, sizeof erasure->receipt);
	stored.whole_profile = erasure->is_whole;
	stored.before_us = erasure->before_us;
	stored.actor = to_bytes(actor.ptr, actor.len);
	stored.reason = to_bytes(reason.ptr, reason.len);
	stored.n_fragment_ids = erasure->count;
	stored.fragment_ids = arena_array(arena, ProtobufCBinaryData, erasure->count + 1);
	if (!stored.fragment_ids) return ERR_NOMEM;
	for (size_t i = 0; i < erasure->count; i++)
		stored.fragment_ids[i] = to_bytes(erasure->fragments[i].bytes, sizeof erasure->fragments[i].bytes);
	return pack(arena, &stored.base, out);
}

int payload_write_suppression(struct arena *arena, const struct people_suppression *act, struct str *out)
{
	Cdpd__V1__StoredSuppression stored = CDPD__V1__STORED_SUPPRESSION__INIT;
	stored.lifted = act->is_lifted;
	stored.fragment_id = to_bytes(act->owner.bytes, sizeof act->owner.bytes);
	stored.namespace_ = to_bytes(act->namespace_.ptr, act->namespace_.len);
	stored.actor = to_bytes(act->actor.ptr, act->actor.len);
	stored.reason = to_bytes(act->reason.ptr, act->reason.len);
	return pack(arena, &stored.base, out);
}

int payload_read_suppression(struct arena *arena, struct str payload, struct people_suppression *out)
{
	ProtobufCAllocator allocator = allocator_of(arena);
	Cdpd__V1__StoredSuppression *stored =
	    cdpd__v1__stored_suppression__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored || stored->fragment_id.len != sizeof out->owner.bytes) return ERR_CORRUPT;
	*out = (struct people_suppression){.is_lifted = stored->lifted,
					   .namespace_ = text_of(stored->namespace_),
					   .actor = text_of(stored->actor),
					   .reason = text_of(stored->reason)};
	memcpy(out->owner.bytes, stored->fragment_id.data, sizeof out->owner.bytes);
	return OK;
}
