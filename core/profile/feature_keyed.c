#include <stdlib.h>

#include "profile/feature_state.h"
#include "profile/feature_value.h"

/* A state for each key. State: u64 adds in all · {u64 hash, u64 adds, u16 state length, u8 key length, key, state}… ordered by hash, then
 * key.
 *
 * The map keeps the max_keys keys that come first in that order. A key that is among them at the end was among them all the time, so
 * its state has seen every one of its adds, and adds − Σ kept adds is how many went to other keys: both are the same in
 * any order of adds and merges. */
#define ENTRY_FIXED 19

struct entry {
	uint64_t hash, adds;
	uint16_t state_len;
	uint8_t key_len;
	const uint8_t *key, *state;
};

static bool decode_entry(const uint8_t *at, const uint8_t *end, struct entry *out)
{
	if ((size_t)(end - at) < ENTRY_FIXED) return false;
	memcpy(&out->hash, at, 8);
	memcpy(&out->adds, at + 8, 8);
	memcpy(&out->state_len, at + 16, 2);
	out->key_len = at[18];
	out->key = at + ENTRY_FIXED;
	out->state = out->key + out->key_len;
	return (size_t)(end - out->key) >= (size_t)out->key_len + out->state_len;
}

static uint32_t entry_size(const struct entry *entry)
{
	return ENTRY_FIXED + (uint32_t)entry->key_len + entry->state_len;
}

static struct str entry_key(const struct entry *entry)
{
	return (struct str){(const char *)entry->key, entry->key_len};
}

/* `state` must not lie where the entry is written to. */
static void encode_entry(uint8_t *at, const struct entry *entry)
{
	memcpy(at, &entry->hash, 8);
	memcpy(at + 8, &entry->adds, 8);
	memcpy(at + 16, &entry->state_len, 2);
	at[18] = entry->key_len;
	memcpy(at + ENTRY_FIXED, entry->key, entry->key_len);
	memcpy(at + ENTRY_FIXED + entry->key_len, entry->state, entry->state_len);
}

static int order(const struct entry *entry, uint64_t hash, struct str key)
{
	if (entry->hash != hash) return entry->hash < hash ? -1 : 1;
	return str_cmp(entry_key(entry), key);
}

/* Where the key is, or would stand; -1: the state is not one. */
struct place {
	uint32_t at, count, last; /* offset; entries; offset of the last one */
	bool is_there;
	struct entry entry; /* when it is there */
};

static int find(const uint8_t *state, uint32_t len, uint64_t hash, struct str key, struct place *out)
{
	*out = (struct place){.at = len};
	if (len < KEYED_HEADER) return -1;
	for (uint32_t at = KEYED_HEADER; at < len; out->count++) {
		struct entry entry;
		if (!decode_entry(state + at, state + len, &entry)) return -1;
		int is = out->at < len ? 1 : order(&entry, hash, key);
		if (is >= 0 && out->at == len) {
			out->at = at;
			out->is_there = is == 0;
			out->entry = entry;
		}
		out->last = at;
		at += entry_size(&entry);
	}
	return 0;
}

/* Makes `size` bytes of what are `was` bytes at the offset. */
static void resize(uint8_t *state, uint32_t *len, uint32_t at, uint32_t was, uint32_t size)
{
	memmove(state + at + size, state + at + was, *len - at - was);
	*len = *len - was + size;
}

/* Puts the entry at its place; a map that is full loses its last key, or does not take this one. */
static void put(const struct feature_def *def, uint8_t *state, uint32_t *len, const struct place *place,
		const struct entry *entry)
{
	uint32_t was = place->is_there ? entry_size(&place->entry) : 0;
	if (!place->is_there && place->count >= def->max_keys) {
		if (place->at == *len) return;
		*len = place->last;
	}
	resize(state, len, place->at, was, entry_size(entry));
	encode_entry(state + place->at, entry);
}

uint32_t keyed_entry_max(const struct feature_def *def)
{
	return ENTRY_FIXED + FEATURE_LABEL_MAX + type_state_max(def);
}

uint32_t keyed_init(void *state)
{
	memset(state, 0, KEYED_HEADER);
	return KEYED_HEADER;
}

int keyed_add(const struct feature_def *def, struct str key, void *state, uint32_t *len,
	      const struct cdpd_feature_input *input)
{
	struct aligned_state scratch;
	struct place place;
	uint64_t total, hash = feature_hash(key);
	uint32_t state_len;
	if (key.len > FEATURE_LABEL_MAX || find(state, *len, hash, key, &place)) return -1;
	if (place.is_there) {
		state_len = place.entry.state_len;
		memcpy(scratch.bytes, place.entry.state, state_len);
	} else {
		state_len = type_state_init(def, scratch.bytes);
	}
	/* Also for a key that will not be kept: what is refused is not counted as over the bound either. */
	if (type_state_add(def, scratch.bytes, &state_len, input) < 0) return -1;
	memcpy(&total, state, sizeof total);
	total++;
	memcpy(state, &total, sizeof total);
	const struct entry entry = {.hash = hash,
				    .adds = place.is_there ? place.entry.adds + 1 : 1,
				    .state_len = (uint16_t)state_len,
				    .key_len = (uint8_t)key.len,
				    .key = (const uint8_t *)key.ptr,
				    .state = scratch.bytes};
	put(def, state, len, &place, &entry);
	return 0;
}

static int merge_entry(const struct feature_def *def, void *into, uint32_t *len, const struct entry *from)
{
	struct aligned_state ours, theirs;
	struct entry entry = *from;
	struct place place;
	if (find(into, *len, from->hash, entry_key(from), &place)) return -1;
	memcpy(theirs.bytes, from->state, from->state_len);
	if (!place.is_there) {
		put(def, into, len, &place, from);
		return 0;
	}
	uint32_t state_len = place.entry.state_len;
	memcpy(ours.bytes, place.entry.state, state_len);
	if (type_state_merge(def, ours.bytes, &state_len, theirs.bytes, from->state_len) < 0) return -1;
	entry.adds += place.entry.adds;
	entry.state_len = (uint16_t)state_len;
	entry.state = ours.bytes;
	put(def, into, len, &place, &entry);
	return 0;
}

int keyed_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	const uint8_t *from = other, *end = from + other_len;
	uint64_t total, by;
	if (*len < KEYED_HEADER || other_len < KEYED_HEADER) return -1;
	memcpy(&total, into, sizeof total);
	memcpy(&by, other, sizeof by);
	total += by;
	memcpy(into, &total, sizeof total);
	for (const uint8_t *at = from + KEYED_HEADER; at < end;) {
		struct entry entry;
		if (!decode_entry(at, end, &entry) || merge_entry(def, into, len, &entry)) return -1;
		at += entry_size(&entry);
	}
	return 0;
}

static int order_keys(const void *a, const void *b)
{
	return str_cmp(entry_key(a), entry_key(b));
}

#define KEYS_MAX ((FEATURE_STATE_MAX - KEYED_HEADER) / ENTRY_FIXED)

/* {"keys":{key: reading, …},"over":adds whose key is not among them}, ordered by key. */
int keyed_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json, uint32_t size)
{
	struct entry entries[KEYS_MAX];
	struct feature_out out = feature_out(json, size);
	const uint8_t *at = state, *end = at + len;
	uint64_t over;
	size_t count = 0;
	if (len < KEYED_HEADER) return -1;
	memcpy(&over, state, sizeof over);
	for (at += KEYED_HEADER; at < end; at += entry_size(&entries[count++])) {
		if (count == KEYS_MAX || !decode_entry(at, end, &entries[count])) return -1;
		over -= entries[count].adds;
	}
	if (count) qsort(entries, count, sizeof entries[0], order_keys);
	put_raw(&out, STR("{\"keys\":{"));
	for (size_t i = 0; i < count; i++) {
		struct aligned_state aligned;
		if (i) put_raw(&out, STR(","));
		put_quoted(&out, entry_key(&entries[i]));
		put_raw(&out, STR(":"));
		if (out.is_full) return -1;
		memcpy(aligned.bytes, entries[i].state, entries[i].state_len);
		int written =
		    type_state_read(def, aligned.bytes, entries[i].state_len, now, json + out.len, size - out.len);
		if (written < 0) return -1;
		out.len += (uint32_t)written;
	}
	put_raw(&out, STR("},\"over\":"));
	put_uint(&out, over);
	put_raw(&out, STR("}"));
	return feature_out_len(&out);
}
