/* The lists a reader walks: chains, link attempts, outcomes, changes. */
#include <stdlib.h>

#include "profile/change_row.h"
#include "profile/link_row.h"
#include "profile/outcome_row.h"
#include "profile/reader.h"

/* ── chains ──────────────────────────────────────────────────────────────── */

struct chain {
	struct fragment_id fragment;
	uint64_t seq;           /* 0: its end, or where outcomes are trimmed */
	struct outcome outcome; /* of seq */
};

static int chain_step(struct people_reader *reader, struct chain *chain, uint64_t seq)
{
	chain->seq = seq;
	if (seq == 0) return OK;
	int rc = outcome_get(reader->txn, reader->people->tables.outcomes, seq, &chain->outcome);
	if (rc == ERR_NOT_FOUND) {
		chain->seq = 0;
		return OK;
	}
	if (rc) return rc;
	if (memcmp(chain->outcome.fragment, chain->fragment.bytes, sizeof chain->fragment.bytes) != 0)
		return ERR_CORRUPT;
	return chain->outcome.previous_seq < seq ? OK : ERR_CORRUPT;
}

static int open_chains(struct people_reader *reader, const struct profile *profile, uint64_t below_seq,
		       struct arena *arena, struct chain **chains)
{
	*chains = arena_array(arena, struct chain, profile->identifier_count + 1);
	if (!*chains) return ERR_NOMEM;
	for (size_t i = 0; i < profile->identifier_count; i++) {
		struct chain *chain = &(*chains)[i];
		chain->fragment = profile->identifiers[i].fragment;
		int rc = chain_step(reader, chain, profile->identifiers[i].chain_head);
		while (!rc && chain->seq && below_seq && chain->seq >= below_seq)
			rc = chain_step(reader, chain, chain->outcome.previous_seq);
		if (rc) return rc;
	}
	return OK;
}

static struct chain *newest(struct chain *chains, size_t count)
{
	struct chain *best = NULL;
	for (size_t i = 0; i < count; i++)
		if (chains[i].seq && (!best || chains[i].seq > best->seq)) best = &chains[i];
	return best;
}

/* A profile read without its identifiers is read again with them. */
static int with_identifiers(struct people_reader *reader, const struct profile *profile, struct arena *arena,
			    struct profile *out)
{
	char ref[3 + FRAGMENT_ID_TEXT_SIZE] = "id:";
	*out = *profile;
	if (profile->identifiers) return OK;
	fragment_id_format(&profile->id, ref + 3);
	return people_get(reader, str_from(ref), PROFILE_IDENTIFIERS, 0, arena, out);
}

int people_chain(struct people_reader *reader, const struct profile *profile, uint64_t below_seq, size_t limit,
		 struct arena *arena, struct chain_item **items, size_t *count)
{
	struct profile whole;
	struct chain *chains;
	*count = 0;
	*items = arena_array(arena, struct chain_item, limit + 1);
	if (!*items) return ERR_NOMEM;
	int rc = with_identifiers(reader, profile, arena, &whole);
	if (!rc) rc = open_chains(reader, &whole, below_seq, arena, &chains);
	while (!rc && *count < limit) {
		struct chain *chain = newest(chains, whole.identifier_count);
		if (!chain) break;
		(*items)[(*count)++] = (struct chain_item){chain->seq, chain->outcome};
		rc = chain_step(reader, chain, chain->outcome.previous_seq);
	}
	return rc;
}

/* ── link attempts ───────────────────────────────────────────────────────── */

struct attempt { /* as its initiator saw it, so that both copies are equal */
	struct link_row row;
	struct fragment_id a, b;
	uint64_t version;
	uint8_t rule, ordinal;
};

struct attempts {
	struct attempt *items;
	size_t count, room;
};

static int push_attempt(struct attempts *list, struct arena *arena, const struct attempt *attempt)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		struct attempt *items = arena_array(arena, struct attempt, room);
		if (!items) return ERR_NOMEM;
		if (list->count) memcpy(items, list->items, list->count * sizeof *items);
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = *attempt;
	return OK;
}

static int take_attempt(struct attempts *list, struct arena *arena, const struct row_member *member,
			const struct link *link)
{
	struct attempt attempt = {.a = link->is_initiator ? link->fragment : link->other,
				  .b = link->is_initiator ? link->other : link->fragment,
				  .version = link->version,
				  .rule = link->rule,
				  .ordinal = link->ordinal};
	int rc = link_show(link, member->identifier, arena, &attempt.row);
	return rc ? rc : push_attempt(list, arena, &attempt);
}

struct scan {
	const struct row_member *member;
	struct arena *arena;
	struct attempts *list;
};

static int scan_link(void *ctx, const struct link *link)
{
	struct scan *scan = ctx;
	return take_attempt(scan->list, scan->arena, scan->member, link);
}

static int scan_member(struct people_reader *reader, const struct row_member *member, struct arena *arena,
		       struct attempts *list)
{
	struct scan scan = {member, arena, list};
	return links_each(reader->txn, reader->people->tables.links, &member->id, scan_link, &scan);
}

static int order_attempts(const void *a, const void *b)
{
	const struct attempt *x = a, *y = b;
	if (x->row.seq != y->row.seq) return x->row.seq < y->row.seq ? -1 : 1;
	if (x->ordinal != y->ordinal) return x->ordinal < y->ordinal ? -1 : 1;
	int order = memcmp(&x->a, &y->a, sizeof x->a);
	if (!order) order = memcmp(&x->b, &y->b, sizeof x->b);
	if (!order) order = (int)x->rule - (int)y->rule;
	return order ? order : x->version < y->version ? -1 : x->version > y->version;
}

static bool is_same_pair(const struct link_row *x, const struct link_row *y)
{
	return (str_eq(x->a, y->a) && str_eq(x->b, y->b)) || (str_eq(x->a, y->b) && str_eq(x->b, y->a));
}

/* Rows are in the order of positions. Each accepted act on a pair ends the cannot-link before it. */
static void mark_lifted(struct link_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct link_row *row = &rows[i];
		if (!row->is_unmerge || !row->is_linked) continue;
		for (size_t k = i + 1; k < count && !row->is_lifted; k++)
			row->is_lifted = rows[k].is_act && rows[k].is_linked && is_same_pair(row, &rows[k]);
	}
}

int people_links(struct people_reader *reader, const struct profile *profile, struct arena *arena,
		 struct link_row **rows, size_t *count)
{
	struct row_member *members;
	size_t member_count;
	struct attempts list = {0};
	*count = 0;
	int rc = reader_members(reader, &profile->id, arena, &members, &member_count);
	for (size_t i = 0; !rc && i < member_count; i++) rc = scan_member(reader, &members[i], arena, &list);
	if (rc) return rc;
	if (list.count) qsort(list.items, list.count, sizeof *list.items, order_attempts);
	*rows = arena_array(arena, struct link_row, list.count + 1);
	if (!*rows) return ERR_NOMEM;
	for (size_t i = 0; i < list.count; i++)
		if (i == 0 || order_attempts(&list.items[i - 1], &list.items[i]) != 0)
			(*rows)[(*count)++] = list.items[i].row;
	mark_lifted(*rows, *count);
	return OK;
}

/* ── outcomes, changes ───────────────────────────────────────────────────── */

int people_get_outcome(struct people_reader *reader, uint64_t seq, struct outcome *out)
{
	CHECK(reader->is_open);
	return outcome_get(reader->txn, reader->people->tables.outcomes, seq, out);
}

int people_outcomes(struct people_reader *reader, uint64_t seq, size_t max,
		    int (*fn)(void *ctx, uint64_t seq, const struct outcome *outcome), void *ctx)
{
	struct store_cursor *cursor;
	struct str key = store_key64(&seq), value;
	CHECK(reader->is_open);
	int rc = store_cursor_open(reader->txn, reader->people->tables.outcomes, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (size_t i = 0; !rc && i < max; i++) {
		struct outcome outcome;
		uint64_t at;
		rc = outcome_decode(key, value, &outcome);
		if (rc) break;
		memcpy(&at, key.ptr, sizeof at);
		if (fn(ctx, at, &outcome)) break;
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int read_changes(struct store_cursor *cursor, uint64_t from, size_t max, struct arena *arena,
			struct change *changes, size_t *count)
{
	struct str key = store_key64(&from), value;
	int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	while (!rc && *count < max) {
		struct change *change = &changes[*count];
		rc = change_decode(key, value, change);
		if (!rc) rc = arena_str(arena, change->body, &change->body);
		if (rc) return rc;
		*count += 1;
		if (*count < max) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int people_changes(struct people_reader *reader, uint64_t after, size_t max, struct arena *arena,
		   struct change **changes, size_t *count)
{
	struct store_cursor *cursor;
	*count = 0;
	CHECK(reader->is_open);
	if (after < reader->checkpoint.changes_floor) return ERR_GONE;
	*changes = arena_array(arena, struct change, max + 1);
	if (!*changes) return ERR_NOMEM;
	if (after == UINT64_MAX || max == 0) return OK;
	int rc = store_cursor_open(reader->txn, reader->people->tables.changes, &cursor);
	if (rc) return rc;
	rc = read_changes(cursor, after + 1, max, arena, *changes, count);
	store_cursor_close(cursor);
	return rc;
}
