/* The stream of profiles: who has changed, as she is now, once for all her changes of a window. Her place is that of the newest of them, so
 * that a window that ends earlier leaves her to the next one. */
#include "deliver/stream_persons.h"
#include "profile/change.h"

#define CHANGES_MAX  2000 /* looked at for one window */
#define ITEMS_OF_ONE 2

struct item {
	const struct change *change;
	unsigned part;
	bool is_notice; /* else a person: */
	struct fragment_id id;
	bool is_over; /* she changed again later */
};
struct coalescing {
	struct item *items;
	size_t count;
	uint32_t *table; /* 1 + index of a person's newest item, by id */
	size_t mask;
};

static int prepare(struct coalescing *c, struct arena *arena, size_t changes)
{
	size_t size = 16;
	while (size < 4 * changes * ITEMS_OF_ONE) size *= 2;
	c->count = 0;
	c->mask = size - 1;
	c->items = arena_array(arena, struct item, changes * ITEMS_OF_ONE + 1);
	c->table = arena_array(arena, uint32_t, size);
	return c->items && c->table ? OK : ERR_NOMEM;
}

/* Ids are keyed hashes: their own bytes scatter them. */
static uint32_t *find_slot(struct coalescing *c, const struct fragment_id *id)
{
	uint64_t hash;
	memcpy(&hash, id->bytes, sizeof hash);
	size_t at = (size_t)hash & c->mask;
	while (c->table[at] && memcmp(&c->items[c->table[at] - 1].id, id, sizeof *id) != 0) at = (at + 1) & c->mask;
	return &c->table[at];
}

static void put_person(struct coalescing *c, const struct change *change, unsigned part, const struct fragment_id *id)
{
	uint32_t *slot = find_slot(c, id);
	if (*slot) c->items[*slot - 1].is_over = true;
	c->items[c->count++] = (struct item){.change = change, .part = part, .id = *id};
	*slot = (uint32_t)c->count;
}

static int put_change(struct coalescing *c, struct stream_reader *r, const struct change *change, uint64_t from)
{
	struct fragment_id id;
	bool found = false;
	int rc = OK;
	if (feed_may_tell(change))
		c->items[c->count++] = (struct item){.change = change, .part = FEED_FIRST, .is_notice = true};
	if (change->kind == CHANGE_MERGED && feed_position(change->seq, FEED_BEFORE) >= from)
		rc = feed_body_id(r, change, STR("from"), &id, &found);
	if (found) put_person(c, change, FEED_BEFORE, &id);
	memcpy(id.bytes, change->profile, sizeof id.bytes);
	if (rc == OK) put_person(c, change, FEED_ITSELF, &id);
	return rc;
}

/* `from`, `to`: of notices. ERR_AGAIN: no room for them. */
static int add_item(struct stream_reader *r, struct stream_window *window, const struct item *item, uint64_t from,
		    uint64_t to)
{
	const struct change *change = item->change;
	const struct person_place place = {.stream = &stream_profiles,
					   .position = feed_position(change->seq, item->part),
					   .id = item->id,
					   .change_seq = change->seq,
					   .cause_seq = change->cause_seq,
					   .is_split = change->kind == CHANGE_SPLIT,
					   .t = change->t};
	if (item->is_notice) return feed_tell(r, window, &stream_profiles, change, from, to);
	return item->is_over ? OK : person_add(r, window, &place);
}

static int gather(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	struct change *changes;
	struct coalescing c;
	size_t count;
	int rc = feed_read(r, from, CHANGES_MAX, window, &changes, &count);
	if (rc == OK) rc = prepare(&c, &window->arena, count);
	for (size_t i = 0; i < count && rc == OK; i++) rc = put_change(&c, r, &changes[i], from);
	if (rc == OK) feed_looked(window, changes, count);
	for (size_t i = 0; i < c.count && rc == OK; i++) {
		rc = ERR_AGAIN;
		if (window->count < WINDOW_RECORDS_MAX && window->bytes < WINDOW_BYTES_MAX)
			rc = add_item(r, window, &c.items[i], from, UINT64_MAX);
		if (rc != ERR_AGAIN) continue;
		uint64_t position = feed_position(c.items[i].change->seq, c.items[i].part);
		window->next = position > from ? position : from;
		return OK;
	}
	return rc;
}

/* What the change at a position was about, as it is by now. */
static int find_one(struct stream_reader *r, uint64_t position, struct stream_window *window)
{
	struct change *changes;
	size_t count;
	bool found = true;
	int rc = feed_read(r, position, 1, window, &changes, &count);
	if (rc == ERR_GONE) return OK;
	if (rc || !count || changes[0].seq != feed_seq(position)) return rc;
	struct item item = {.change = &changes[0], .part = feed_part(position)};
	memcpy(item.id.bytes, changes[0].profile, sizeof item.id.bytes);
	item.is_notice = item.part < FEED_NOTICES;
	if (item.part == FEED_BEFORE) rc = feed_body_id(r, &changes[0], STR("from"), &item.id, &found);
	return rc || !found ? rc : add_item(r, window, &item, position, position);
}

static int find(struct stream_reader *r, const uint64_t *positions, size_t count, struct stream_window *window)
{
	int rc = OK;
	window->next = UINT64_MAX;
	for (size_t i = 0; i < count && rc == OK; i++) {
		if (window->count < WINDOW_RECORDS_MAX && window->bytes < WINDOW_BYTES_MAX) {
			rc = find_one(r, positions[i], window);
			continue;
		}
		window->next = positions[i];
		break;
	}
	return rc;
}

const struct stream stream_profiles = {
    .id = STREAM_OF_PROFILES,
    .name = "profiles",
    .feed = POSITION_PROFILE_RECORDS,
    .first = feed_first,
    .end = feed_end,
    .time = feed_time,
    .gather = gather,
    .find = find,
};
