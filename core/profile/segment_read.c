#include <stdlib.h>

#include "profile/reader.h"
#include "profile/segments.h"

static int fill(struct people_reader *reader, const struct segment *segment, struct arena *arena,
		struct segment_info *out)
{
	struct str stored;
	*out = (struct segment_info){.name = STR_NONE, .when = STR_NONE};
	int rc = arena_str(arena, segment->name, &out->name);
	if (!rc) rc = arena_str(arena, segment->when, &out->when);
	if (rc) return rc;
	rc = member_count_get(reader->txn, reader->people->segments->tables.members, segment->key, &out->members,
			      &stored);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int order_names(const void *a, const void *b)
{
	return str_cmp(((const struct segment_info *)a)->name, ((const struct segment_info *)b)->name);
}

static const struct segment_plan *plan_of(const struct people_reader *reader)
{
	CHECK(reader->is_open);
	return reader->plan ? reader->plan->segments : NULL;
}

int people_segments(struct people_reader *reader, struct arena *arena, struct segment_info **out, size_t *count)
{
	const struct segment_plan *plan = plan_of(reader);
	*count = plan ? plan->count : 0;
	*out = arena_array(arena, struct segment_info, *count + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < *count; i++) {
		int rc = fill(reader, &plan->items[i], arena, &(*out)[i]);
		if (rc) return rc;
	}
	qsort(*out, *count, sizeof **out, order_names);
	return OK;
}

int people_segment(struct people_reader *reader, struct str name, struct arena *arena, struct segment_info *out)
{
	const struct segment *segment = segment_find(plan_of(reader), segment_key(name));
	if (!segment || !str_eq(segment->name, name)) return ERR_NOT_FOUND;
	return fill(reader, segment, arena, out);
}

/* Copies: rows are read while the cursor stands. */
static int list_ids(struct people_reader *reader, uint64_t key, const struct fragment_id *after, size_t limit,
		    struct segment_member *items, size_t *count)
{
	static const struct fragment_id first;
	struct store_cursor *cursor;
	uint8_t start[MEMBER_KEY_SIZE];
	struct str at = {(const char *)start, sizeof start}, value;
	member_key(key, after ? after : &first, start);
	int rc = store_cursor_open(reader->txn, reader->people->segments->tables.members, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &at, &value);
	for (; !rc && *count < limit; rc = store_cursor_move(cursor, STORE_NEXT, &at, &value)) {
		struct segment_member *item = &items[*count];
		uint64_t segment;
		if (at.len != MEMBER_KEY_SIZE) break; /* the next segment's count */
		rc = member_decode(at, value, &segment, &item->id, &item->since);
		if (rc || segment != key) break;
		if (!after || !fragment_id_eq(&item->id, after)) *count += 1;
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int people_segment_members(struct people_reader *reader, struct str name, const struct fragment_id *after, size_t limit,
			   struct arena *arena, struct segment_member **out, size_t *count)
{
	const struct segment *segment = segment_find(plan_of(reader), segment_key(name));
	*count = 0;
	if (!segment || !str_eq(segment->name, name)) return ERR_NOT_FOUND;
	*out = arena_array(arena, struct segment_member, limit + 1);
	if (!*out) return ERR_NOMEM;
	int rc = list_ids(reader, segment->key, after, limit, *out, count);
	for (size_t i = 0; i < *count && !rc; i++) {
		struct row *row;
		rc = reader_row(reader, &(*out)[i].id, false, false, arena, &row);
		if (!rc) (*out)[i].identifier = row->identifier;
	}
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int people_due_waiting(struct people_reader *reader, uint64_t *count)
{
	CHECK(reader->is_open);
	return store_count(reader->txn, reader->people->segments->tables.due, count);
}
