#include "profile/row.h"

#include <stdlib.h>

#include "profile/consent_row.h"
#include "profile/wire.h"

#define TRAIT_HAS_ORIGIN 0x80 /* in the byte of its class */

enum cold_tag { COLD_CONSENTS = 1 };
enum row_flag {
	ROW_HAS_PROFILE = 1,
	ROW_HAS_MERGED = 2,
	ROW_HAS_DECIDED = 4,
	ROW_HAS_CUTS = 8,
	ROW_HAS_SEGMENTS = 16,
	ROW_FLAGS = 31
};

void row_init(struct row *row, const struct fragment_id *id, bool is_merged)
{
	*row = (struct row){.id = *id,
			    .profile = *id,
			    .is_merged = is_merged,
			    .is_made = true,
			    .is_cold_decoded = true,
			    .is_cold_changed = true,
			    .cold = STR_NONE,
			    .identifier = STR_NONE,
			    .created_seq = is_merged ? UINT64_MAX : 0,
			    .first_seen = INT64_MAX,
			    .last_seen = ROW_TIME_NONE};
}

struct str identifier_namespace(struct str identifier)
{
	const char *colon = memchr(identifier.ptr, ':', identifier.len);
	return colon ? (struct str){identifier.ptr, (size_t)(colon - identifier.ptr)} : STR_NONE;
}

struct str identifier_value(struct str identifier)
{
	const char *colon = memchr(identifier.ptr, ':', identifier.len);
	if (!colon) return identifier;
	return (struct str){colon + 1, identifier.len - (size_t)(colon + 1 - identifier.ptr)};
}

/* ── hot ─────────────────────────────────────────────────────────────────── */

static int decode_decided(struct wire_in *in, struct row *row)
{
	row->decided_version = wire_varint(in);
	row->decided_count = wire_u8(in);
	if (row->decided_count > ROW_DECIDED_MAX) return ERR_CORRUPT;
	for (size_t i = 0; i < row->decided_count; i++) {
		wire_copy(in, &row->decided[i].other, sizeof row->decided[i].other);
		row->decided[i].rule = wire_u8(in);
	}
	return OK;
}

static int decode_features(struct wire_in *in, struct arena *arena, struct row *row)
{
	size_t count = wire_count(in, sizeof(uint64_t) + 1);
	row->feature_room = count + 4; /* new features mostly come with the first events */
	row->features = arena_alloc(arena, row->feature_room * sizeof *row->features);
	if (!row->features) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		uint64_t key = wire_u64(in);
		struct str state = wire_str(in);
		if (in->is_bad || state.len > UINT32_MAX || (i > 0 && key <= row->features[i - 1].key))
			return ERR_CORRUPT;
		row->features[i] = (struct row_feature){key, (uint8_t *)(uintptr_t)state.ptr, (uint32_t)state.len, 0};
	}
	row->feature_count = count;
	return OK;
}

static int decode_segments(struct wire_in *in, struct arena *arena, struct row *row)
{
	row->due = (int64_t)wire_u64(in);
	size_t count = wire_count(in, sizeof(uint64_t));
	row->segments = arena_alloc(arena, (count + 1) * sizeof *row->segments);
	if (!row->segments) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		row->segments[i] = wire_u64(in);
		if (in->is_bad || (i > 0 && row->segments[i] <= row->segments[i - 1])) return ERR_CORRUPT;
	}
	row->segment_count = count;
	return OK;
}

int row_decode_hot(struct str bytes, struct arena *arena, const struct fragment_id *id, bool is_merged, struct row *out)
{
	memset(out, 0, offsetof(struct row, decided));
	out->id = out->profile = *id;
	out->is_merged = is_merged;
	out->cold = STR_NONE;
	out->members = NULL;
	out->traits = NULL;
	out->member_count = out->trait_count = out->trait_room = out->trait_bytes = 0;
	out->consents = (struct consent_list){0};
	struct wire_in in = wire_in(bytes);
	out->identifier = wire_str(&in);
	out->created_seq = wire_u64(&in);
	out->first_seen = (int64_t)wire_u64(&in);
	out->last_seen = (int64_t)wire_u64(&in);
	out->event_count = wire_varint(&in);
	out->chain_head = wire_u64(&in);
	uint8_t flags = wire_u8(&in);
	if (flags & ~ROW_FLAGS) return ERR_CORRUPT;
	out->has_merged = flags & ROW_HAS_MERGED;
	out->has_cuts = flags & ROW_HAS_CUTS;
	if (flags & ROW_HAS_PROFILE) wire_copy(&in, &out->profile, sizeof out->profile);
	out->refused_traits = wire_varint(&in);
	out->attempt_count = wire_varint(&in);
	out->attempt_overflow = wire_varint(&in);
	int rc = flags & ROW_HAS_DECIDED ? decode_decided(&in, out) : OK;
	if (!rc) rc = decode_features(&in, arena, out);
	if (!rc && flags & ROW_HAS_SEGMENTS) rc = decode_segments(&in, arena, out);
	if (!rc && (in.is_bad || in.at != in.end)) rc = ERR_CORRUPT;
	return rc;
}

size_t row_hot_max(const struct row *row)
{
	size_t size = 8 * WIRE_VARINT_MAX + row->identifier.len + 4 * sizeof(uint64_t) + 2 + sizeof row->profile +
		      row->decided_count * sizeof(struct row_decided) + WIRE_VARINT_MAX +
		      (1 + row->segment_count) * sizeof(uint64_t);
	for (size_t i = 0; i < row->feature_count; i++)
		size += sizeof(uint64_t) + WIRE_VARINT_MAX + row->features[i].len;
	return size;
}

static uint8_t *encode_decided(const struct row *row, uint8_t *at)
{
	at = wire_put_varint(at, row->decided_version);
	*at++ = row->decided_count;
	for (size_t i = 0; i < row->decided_count; i++) {
		at = wire_put(at, &row->decided[i].other, sizeof row->decided[i].other);
		*at++ = row->decided[i].rule;
	}
	return at;
}

size_t row_encode_hot(const struct row *row, uint8_t *out)
{
	bool has_profile = !fragment_id_eq(&row->profile, &row->id), has_segments = row->segment_count || row->due;
	uint8_t *at = wire_put_str(out, row->identifier);
	at = wire_put_u64(at, row->created_seq);
	at = wire_put_u64(at, (uint64_t)row->first_seen);
	at = wire_put_u64(at, (uint64_t)row->last_seen);
	at = wire_put_varint(at, row->event_count);
	at = wire_put_u64(at, row->chain_head);
	*at++ = (uint8_t)((has_profile ? ROW_HAS_PROFILE : 0) | (row->has_merged ? ROW_HAS_MERGED : 0) |
			  (row->decided_count ? ROW_HAS_DECIDED : 0) | (row->has_cuts ? ROW_HAS_CUTS : 0) |
			  (has_segments ? ROW_HAS_SEGMENTS : 0));
	if (has_profile) at = wire_put(at, &row->profile, sizeof row->profile);
	at = wire_put_varint(at, row->refused_traits);
	at = wire_put_varint(at, row->attempt_count);
	at = wire_put_varint(at, row->attempt_overflow);
	if (row->decided_count) at = encode_decided(row, at);
	at = wire_put_varint(at, row->feature_count);
	for (size_t i = 0; i < row->feature_count; i++) {
		at = wire_put_u64(at, row->features[i].key);
		at = wire_put_varint(at, row->features[i].len);
		at = wire_put(at, row->features[i].state, row->features[i].len);
	}
	if (has_segments) {
		at = wire_put_u64(at, (uint64_t)row->due);
		at = wire_put_varint(at, row->segment_count);
		for (size_t i = 0; i < row->segment_count; i++) at = wire_put_u64(at, row->segments[i]);
	}
	return (size_t)(at - out);
}

/* ── cold ────────────────────────────────────────────────────────────────── */

static int decode_members(struct wire_in *in, struct arena *arena, struct row *row)
{
	row->member_count = wire_count(in, sizeof(struct fragment_id) + sizeof(uint64_t) + 1);
	row->members = arena_array(arena, struct row_member, row->member_count + 1);
	if (!row->members) return ERR_NOMEM;
	for (size_t i = 0; i < row->member_count; i++) {
		wire_copy(in, &row->members[i].id, sizeof row->members[i].id);
		row->members[i].created_seq = wire_u64(in);
		row->members[i].identifier = wire_str(in);
	}
	return OK;
}

static int decode_stamps(struct wire_in *in, struct arena *arena, struct stamp **stamps, size_t *count)
{
	*count = wire_count(in, sizeof(int64_t) + 2);
	*stamps = arena_array(arena, struct stamp, *count + 1);
	if (!*stamps) return ERR_NOMEM;
	for (size_t i = 0; i < *count; i++) {
		(*stamps)[i].time = (int64_t)wire_u64(in);
		(*stamps)[i].source = wire_str(in);
		(*stamps)[i].message_id = wire_str(in);
	}
	return OK;
}

static size_t trait_size(const struct row_trait *trait)
{
	size_t origin = trait->origin.len ? WIRE_VARINT_MAX + trait->origin.len : 0;
	return 1 + 3 * WIRE_VARINT_MAX / 2 + trait->name.len + trait->value.len + origin;
}

static int trait_order(const struct row_trait *a, const struct row_trait *b)
{
	int order = str_cmp(a->name, b->name);
	return order ? order : (int)a->provenance - (int)b->provenance;
}

static int decode_traits(struct wire_in *in, struct arena *arena, struct row *row)
{
	struct stamp *stamps;
	size_t stamp_count;
	int rc = decode_stamps(in, arena, &stamps, &stamp_count);
	if (rc) return rc;
	size_t count = wire_count(in, 4);
	row->trait_room = count + 4;
	row->traits = arena_array(arena, struct row_trait, row->trait_room);
	if (!row->traits) return ERR_NOMEM;
	row->trait_bytes = 0;
	for (size_t i = 0; i < count; i++) {
		struct row_trait *trait = &row->traits[i];
		trait->name = wire_str(in);
		uint8_t provenance = wire_u8(in);
		uint64_t stamp = wire_varint(in);
		trait->value = wire_str(in);
		trait->origin = provenance & TRAIT_HAS_ORIGIN ? wire_str(in) : STR_NONE;
		if (provenance & TRAIT_HAS_ORIGIN && trait->origin.len == 0) return ERR_CORRUPT;
		provenance &= (uint8_t)~TRAIT_HAS_ORIGIN;
		if (in->is_bad || provenance >= PROVENANCE_COUNT || stamp >= stamp_count) return ERR_CORRUPT;
		trait->provenance = (enum provenance)provenance;
		trait->stamp = &stamps[stamp];
		if (i > 0 && trait_order(trait - 1, trait) >= 0) return ERR_CORRUPT;
		row->trait_bytes += trait_size(trait);
	}
	row->trait_count = count;
	return OK;
}

static int decode_tagged(struct wire_in *in, struct arena *arena, struct row *row)
{
	uint32_t len;
	for (uint8_t before = 0; !in->is_bad && in->at != in->end;) {
		uint8_t tag = wire_u8(in);
		wire_copy(in, &len, sizeof len);
		const uint8_t *bytes = wire_take(in, len);
		if (!bytes || tag <= before) return ERR_CORRUPT;
		before = tag;
		if (tag != COLD_CONSENTS) return ERR_FORMAT;
		int rc = consents_decode(str_of(bytes, len), arena, &row->consents);
		if (rc) return rc;
	}
	return OK;
}

int row_decode_cold(struct str bytes, struct arena *arena, struct row *row)
{
	struct wire_in in = wire_in(bytes);
	int rc = decode_members(&in, arena, row);
	if (!rc) rc = decode_traits(&in, arena, row);
	if (!rc) rc = decode_tagged(&in, arena, row);
	if (!rc && (in.is_bad || in.at != in.end)) rc = ERR_CORRUPT;
	if (rc) return rc;
	row->cold = bytes;
	row->is_cold_decoded = true;
	return OK;
}

static int stamp_order(const void *a, const void *b)
{
	const struct stamp *x = *(struct stamp *const *)a, *y = *(struct stamp *const *)b;
	if (x->time != y->time) return x->time < y->time ? -1 : 1;
	int order = str_cmp(x->message_id, y->message_id);
	return order ? order : str_cmp(x->source, y->source);
}

/* Numbers the stamps in use, equal ones alike; *used lists one of each in order. */
static int collect_stamps(const struct row *row, struct arena *scratch, struct stamp ***used, size_t *count)
{
	struct stamp **list = arena_array(scratch, struct stamp *, row->trait_count + 1);
	if (!list) return ERR_NOMEM;
	size_t n = 0;
	for (size_t i = 0; i < row->trait_count; i++) row->traits[i].stamp->index = UINT32_MAX;
	for (size_t i = 0; i < row->trait_count; i++) {
		if (row->traits[i].stamp->index != UINT32_MAX) continue;
		row->traits[i].stamp->index = 0;
		list[n++] = row->traits[i].stamp;
	}
	if (n > 1) qsort(list, n, sizeof(struct stamp *), stamp_order);
	size_t distinct = 0;
	for (size_t i = 0; i < n; i++) {
		if (distinct == 0 || stamp_order(&list[distinct - 1], &list[i]) != 0) list[distinct++] = list[i];
		list[i]->index = (uint32_t)(distinct - 1);
	}
	*used = list;
	*count = distinct;
	return OK;
}

size_t row_cold_max(const struct row *row)
{
	size_t size = 3 * WIRE_VARINT_MAX;
	for (size_t i = 0; i < row->member_count; i++)
		size += sizeof(struct fragment_id) + 2 * sizeof(uint64_t) + row->members[i].identifier.len;
	for (size_t i = 0; i < row->trait_count; i++) {
		const struct stamp *stamp = row->traits[i].stamp;
		size += trait_size(&row->traits[i]) + sizeof(int64_t) + WIRE_VARINT_MAX + stamp->source.len +
			stamp->message_id.len;
	}
	return size + 1 + sizeof(uint32_t) + consents_encoded_max(&row->consents);
}

/* Rows without any have no section: their bytes are as they always were. */
static uint8_t *encode_consents(const struct row *row, uint8_t *at)
{
	if (row->consents.count == 0) return at;
	*at++ = COLD_CONSENTS;
	uint8_t *end = consents_encode(&row->consents, at + sizeof(uint32_t));
	uint32_t len = (uint32_t)(end - at - (ptrdiff_t)sizeof len);
	memcpy(at, &len, sizeof len);
	return end;
}

int row_encode_cold(const struct row *row, struct arena *scratch, uint8_t *out, size_t *len)
{
	struct stamp **stamps;
	size_t stamp_count;
	int rc = collect_stamps(row, scratch, &stamps, &stamp_count);
	if (rc) return rc;
	uint8_t *at = wire_put_varint(out, row->member_count);
	for (size_t i = 0; i < row->member_count; i++) {
		at = wire_put(at, &row->members[i].id, sizeof row->members[i].id);
		at = wire_put_u64(at, row->members[i].created_seq);
		at = wire_put_str(at, row->members[i].identifier);
	}
	at = wire_put_varint(at, stamp_count);
	for (size_t i = 0; i < stamp_count; i++) {
		at = wire_put_u64(at, (uint64_t)stamps[i]->time);
		at = wire_put_str(at, stamps[i]->source);
		at = wire_put_str(at, stamps[i]->message_id);
	}
	at = wire_put_varint(at, row->trait_count);
	for (size_t i = 0; i < row->trait_count; i++) {
		const struct row_trait *trait = &row->traits[i];
		at = wire_put_str(at, trait->name);
		*at++ = (uint8_t)(trait->provenance | (trait->origin.len ? TRAIT_HAS_ORIGIN : 0));
		at = wire_put_varint(at, trait->stamp->index);
		at = wire_put_str(at, trait->value);
		if (trait->origin.len) at = wire_put_str(at, trait->origin);
	}
	at = encode_consents(row, at);
	*len = (size_t)(at - out);
	return OK;
}

/* ── decided links, counts ───────────────────────────────────────────────── */

bool row_has_decided(const struct row *row, const struct fragment_id *other, uint8_t rule)
{
	for (size_t i = 0; i < row->decided_count; i++)
		if (row->decided[i].rule == rule && fragment_id_eq(&row->decided[i].other, other)) return true;
	return false;
}

void row_remember_decided(struct row *row, const struct fragment_id *other, uint8_t rule)
{
	if (row->decided_count == ROW_DECIDED_MAX) {
		memmove(row->decided, row->decided + 1, (ROW_DECIDED_MAX - 1) * sizeof *row->decided);
		row->decided_count--;
	}
	row->decided[row->decided_count++] = (struct row_decided){*other, rule};
}

void row_merge_counts(struct row *into, const struct row *from)
{
	if (from->first_seen < into->first_seen) into->first_seen = from->first_seen;
	if (from->last_seen > into->last_seen) into->last_seen = from->last_seen;
	if (from->created_seq < into->created_seq) into->created_seq = from->created_seq;
	into->event_count += from->event_count;
	into->refused_traits += from->refused_traits;
	into->has_cuts |= from->has_cuts;
}
