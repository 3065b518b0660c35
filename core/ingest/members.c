#include "ingest/members.h"

#define FEW 32 /* sorted by insertion: most messages have a dozen members, nearly sorted or not */

void members_init(struct members *members, struct arena *arena)
{
	*members = (struct members){.arena = arena};
}

static int reserve(struct members *members, size_t more)
{
	size_t need = members->count + more;
	if (need <= members->capacity) return OK;
	size_t capacity = members->capacity ? members->capacity * 2 : 16;
	if (capacity < need) capacity = need;
	struct member *items = arena_alloc(members->arena, capacity * sizeof *items);
	if (!items) return ERR_NOMEM;
	if (members->count) memcpy(items, members->items, members->count * sizeof *items);
	members->items = items;
	members->capacity = capacity;
	return OK;
}

int members_add(struct members *members, struct str key, struct json value)
{
	int rc = reserve(members, 1);
	if (rc == OK) members->items[members->count++] = (struct member){.key = key, .value = value};
	return rc;
}

int members_add_all(struct members *members, struct json object)
{
	struct json_iter it;
	struct str key;
	struct json value;
	int rc = reserve(members, json_count(object));
	json_iter_start(object, &it);
	while (rc == OK && json_next_member(&it, &key, &value)) rc = members_add(members, key, value);
	return rc;
}

static void sort_few(struct member *items, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct member moved = items[i];
		size_t at = i;
		for (; at > 0 && str_cmp(items[at - 1].key, moved.key) > 0; at--) items[at] = items[at - 1];
		items[at] = moved;
	}
}

static void merge_sort(struct member *items, size_t count, struct member *room)
{
	if (count <= FEW) {
		sort_few(items, count);
		return;
	}
	size_t half = count / 2, left = 0, right = half;
	merge_sort(items, half, room);
	merge_sort(items + half, count - half, room);
	memcpy(room, items, count * sizeof *items);
	for (size_t i = 0; i < count; i++) {
		bool take_left = left < half && (right == count || str_cmp(room[left].key, room[right].key) <= 0);
		items[i] = room[take_left ? left++ : right++];
	}
}

/* Stable, so that of equal keys the one added last stands last. */
static void sort_items(struct members *members)
{
	struct member *room = NULL;
	if (members->count > FEW) room = arena_alloc(members->arena, members->count * sizeof *room);
	if (room || members->count <= FEW)
		merge_sort(members->items, members->count, room);
	else
		sort_few(members->items, members->count);
}

void members_sort(struct members *members)
{
	size_t kept = 0;
	if (members->count < 2) return;
	sort_items(members);
	for (size_t i = 0; i < members->count; i++) {
		if (i + 1 < members->count && str_eq(members->items[i].key, members->items[i + 1].key)) continue;
		members->items[kept++] = members->items[i];
	}
	members->count = kept;
}

struct member *members_find(const struct members *members, struct str key)
{
	for (size_t i = 0; i < members->count; i++)
		if (str_eq(members->items[i].key, key)) return &members->items[i];
	return NULL;
}

static int write_object(struct buf *out, const struct members *object)
{
	int rc = buf_putc(out, '{');
	if (rc == OK) rc = members_write(out, object, false);
	return rc == OK ? buf_putc(out, '}') : rc;
}

int members_write(struct buf *out, const struct members *members, bool need_comma)
{
	int rc = OK;
	for (size_t i = 0; i < members->count && rc == OK; i++) {
		const struct member *m = &members->items[i];
		if (i > 0 || need_comma) rc = buf_putc(out, ',');
		if (rc == OK) rc = json_write_str(out, m->key);
		if (rc == OK) rc = buf_putc(out, ':');
		if (rc == OK) rc = m->object ? write_object(out, m->object) : json_write_canonical(out, m->value);
	}
	return rc;
}
