#include "profile/trait.h"

#include "profile/origin.h"

#define STAMP_MAX (sizeof(int64_t) + 3 + 64 + EVENT_ID_MAX) /* encoded bytes, from above */

static int compare_key(const struct row_trait *trait, struct str name, enum provenance provenance)
{
	int order = str_cmp(trait->name, name);
	return order ? order : (int)trait->provenance - (int)provenance;
}

/* First index whose (name, class) is not below; *is_same when it is equal. */
static size_t find(const struct row *row, struct str name, enum provenance provenance, bool *is_same)
{
	size_t low = 0, high = row->trait_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (compare_key(&row->traits[middle], name, provenance) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*is_same = low < row->trait_count && compare_key(&row->traits[low], name, provenance) == 0;
	return low;
}

size_t trait_next_name(const struct row *row, size_t i)
{
	size_t next = i + 1;
	while (next < row->trait_count && str_eq(row->traits[next].name, row->traits[i].name)) next++;
	return next;
}

const struct row_trait *trait_in_force(const struct row *row, size_t i, int64_t now)
{
	size_t end = trait_next_name(row, i);
	while (i < end && row->traits[i].origin.len && origin_is_expired(row->traits[i].origin, now)) i++;
	return i < end ? &row->traits[i] : NULL;
}

const struct row_trait *trait_winner(const struct row *row, struct str name, int64_t now)
{
	bool is_same;
	size_t at = find(row, name, (enum provenance)0, &is_same);
	if (at < row->trait_count && str_eq(row->traits[at].name, name)) return trait_in_force(row, at, now);
	return NULL;
}

/* > 0: `a` is the newer value. */
static int compare_age(const struct row_trait *a, const struct row_trait *b)
{
	if (a->stamp->time != b->stamp->time) return a->stamp->time < b->stamp->time ? -1 : 1;
	int order = str_cmp(a->stamp->message_id, b->stamp->message_id);
	if (!order) order = str_cmp(a->stamp->source, b->stamp->source);
	if (!order) order = str_cmp(a->value, b->value);
	return order ? order : str_cmp(a->origin, b->origin);
}

int trait_compare(const struct row_trait *a, const struct row_trait *b)
{
	return a->provenance != b->provenance ? (int)b->provenance - (int)a->provenance : compare_age(a, b);
}

/* As in row.c: whether a row is full must not depend on whether it came from the disk just now. */
static size_t trait_size(const struct row_trait *trait)
{
	return 16 + trait->name.len + trait->value.len + (trait->origin.len ? 10 + trait->origin.len : 0);
}

/* Encoded size of the fragment, stamps counted once each. */
static size_t fragment_size(const struct row *row)
{
	size_t size = row_hot_max(row) + row->trait_bytes;
	for (size_t i = 0; i < row->trait_count; i++) row->traits[i].stamp->index = UINT32_MAX;
	for (size_t i = 0; i < row->trait_count; i++) {
		struct stamp *stamp = row->traits[i].stamp;
		if (stamp->index != UINT32_MAX) continue;
		stamp->index = 0;
		size += sizeof(int64_t) + 3 + stamp->source.len + stamp->message_id.len;
	}
	return size;
}

static bool has_room(const struct row *row, const struct row_trait *trait, const struct row_trait *old)
{
	if (trait->name.len > TRAIT_NAME_MAX || trait->value.len > TRAIT_VALUE_MAX) return false;
	if (!old && row->trait_count >= PEOPLE_TRAITS_MAX) return false;
	size_t more = trait_size(trait) + STAMP_MAX;
	if (row->trait_bytes + row->trait_count * STAMP_MAX + more + 4096 < PEOPLE_FRAGMENT_BYTES_MAX) return true;
	size_t less = old ? trait_size(old) : 0;
	return fragment_size(row) + more - less <= PEOPLE_FRAGMENT_BYTES_MAX;
}

static int make_gap(struct row *row, size_t at, struct arena *arena)
{
	if (row->trait_count == row->trait_room) {
		size_t room = row->trait_room ? row->trait_room * 2 : 8;
		struct row_trait *traits = arena_alloc(arena, room * sizeof *traits);
		if (!traits) return ERR_NOMEM;
		CHECK(row->traits || row->trait_count == 0);
		if (row->trait_count) memcpy(traits, row->traits, row->trait_count * sizeof *traits);
		row->traits = traits;
		row->trait_room = room;
	}
	memmove(row->traits + at + 1, row->traits + at, (row->trait_count - at) * sizeof *row->traits);
	row->trait_count++;
	return OK;
}

int trait_put(struct row *row, const struct row_trait *trait, bool is_bounded, struct arena *arena, enum trait_put *out)
{
	bool is_same;
	size_t at = find(row, trait->name, trait->provenance, &is_same);
	const struct row_trait *old = is_same ? &row->traits[at] : NULL;
	*out = TRAIT_LOST;
	if (old && compare_age(trait, old) <= 0) return OK;
	*out = TRAIT_REFUSED;
	if (is_bounded && !has_room(row, trait, old)) {
		row->refused_traits++;
		return OK;
	}
	struct row_trait taken = *trait;
	int rc = arena_str(arena, trait->value, &taken.value);
	if (!rc && trait->origin.len) rc = arena_str(arena, trait->origin, &taken.origin);
	if (!rc && old) {
		row->trait_bytes -= trait_size(old);
		taken.name = old->name;
	} else if (!rc) {
		rc = arena_str(arena, trait->name, &taken.name);
		if (!rc) rc = make_gap(row, at, arena);
	}
	if (rc) return rc;
	row->traits[at] = taken;
	row->trait_bytes += trait_size(&taken);
	row->is_cold_changed = true;
	*out = TRAIT_TAKEN;
	return OK;
}

int traits_merge(struct row *into, const struct row *from, struct arena *arena)
{
	size_t room = into->trait_count + from->trait_count, n = 0, i = 0, k = 0;
	struct row_trait *merged = arena_alloc(arena, (room + 1) * sizeof *merged);
	if (!merged) return ERR_NOMEM;
	while (i < into->trait_count || k < from->trait_count) {
		const struct row_trait *a = i < into->trait_count ? &into->traits[i] : NULL;
		const struct row_trait *b = k < from->trait_count ? &from->traits[k] : NULL;
		CHECK(a || b);
		int order = !a ? 1 : !b ? -1 : compare_key(a, b->name, b->provenance);
		merged[n++] = order < 0 || (order == 0 && compare_age(a, b) >= 0) ? *a : *b;
		i += order <= 0;
		k += order >= 0;
	}
	into->traits = merged;
	into->trait_count = n;
	into->trait_room = room + 1;
	into->trait_bytes = 0;
	for (size_t t = 0; t < n; t++) into->trait_bytes += trait_size(&merged[t]);
	into->is_cold_changed = true;
	return OK;
}
