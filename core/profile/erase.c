#include "profile/erase.h"

#include "profile/block.h"
#include "profile/change_row.h"
#include "profile/component.h"
#include "profile/consent_log.h"
#include "profile/expiry.h"
#include "profile/link.h"
#include "profile/link_row.h"
#include "profile/outcome_row.h"
#include "profile/segments.h"

#define COMPACT_SPARE ((uint64_t)64 << 20) /* bytes that stay free */

struct erasing {
	struct people *people;
	const struct people_erasure *erasure;
	uint64_t seq;
	int64_t t, before_us;
	struct fragment_id *ids; /* all that go */
	size_t count, room;
};

static bool goes(const struct erasing *erasing, const struct fragment_id *id)
{
	for (size_t i = 0; i < erasing->count; i++)
		if (fragment_id_eq(&erasing->ids[i], id)) return true;
	return false;
}

static int add(struct erasing *erasing, const struct fragment_id *id)
{
	if (goes(erasing, id)) return OK;
	if (erasing->count == erasing->room) {
		size_t room = erasing->room ? 2 * erasing->room : 64;
		struct fragment_id *ids = arena_array(&erasing->people->cache.arena, struct fragment_id, room);
		if (!ids) return ERR_NOMEM;
		if (erasing->count) memcpy(ids, erasing->ids, erasing->count * sizeof *ids);
		erasing->ids = ids;
		erasing->room = room;
	}
	erasing->ids[erasing->count++] = *id;
	return OK;
}

/* The slot of a fragment that exists; ERR_NOT_FOUND. */
static int find(struct people *people, const struct fragment_id *id, struct slot **slot)
{
	struct row *row;
	int rc = cache_slot(&people->cache, id, slot);
	return rc ? rc : cache_row(&people->cache, *slot, false, &row);
}

static int collect(struct erasing *erasing)
{
	struct slot *slot;
	struct component component;
	int rc = OK;
	for (size_t i = 0; i < erasing->erasure->count && !rc; i++) {
		const struct fragment_id *id = &erasing->erasure->fragments[i];
		rc = add(erasing, id);
		if (rc || !erasing->erasure->is_whole) continue;
		rc = find(erasing->people, id, &slot);
		if (rc == ERR_NOT_FOUND) {
			rc = OK;
			continue;
		}
		if (!rc) rc = component_of(erasing->people, slot, &component);
		for (size_t k = 0; !rc && k < component.count; k++) rc = add(erasing, &component.members[k].id);
	}
	return rc;
}

/* ── one fragment ────────────────────────────────────────────────────────── */

struct links {
	struct link *items;
	size_t count, room;
};

static int keep_link(struct links *links, struct arena *arena, const struct link *link)
{
	if (links->count == links->room) {
		size_t room = links->room ? 2 * links->room : 32;
		struct link *items = arena_array(arena, struct link, room);
		if (!items) return ERR_NOMEM;
		if (links->count) memcpy(items, links->items, links->count * sizeof *items);
		links->items = items;
		links->room = room;
	}
	links->items[links->count++] = *link;
	return OK;
}

struct reading_links {
	struct links *links;
	struct arena *arena;
};

static int take_link(void *ctx, const struct link *link)
{
	struct reading_links *reading = ctx;
	return keep_link(reading->links, reading->arena, link);
}

static int forget_links(struct erasing *erasing, const struct fragment_id *id, struct str identifier)
{
	struct people *people = erasing->people;
	struct links links = {0};
	struct str hashed;
	struct reading_links reading = {&links, &people->cache.arena};
	int rc = links_each(people->txn, people->tables.links, id, take_link, &reading);
	if (!rc) rc = identifier_hash_text(id, identifier, &people->cache.arena, &hashed);
	for (size_t i = 0; i < links.count && !rc; i++)
		rc = link_forget(people->txn, people->tables.links, &links.items[i],
				 !goes(erasing, &links.items[i].other), hashed);
	return rc;
}

/* Whatever else hangs on a fragment's id goes here. */
static int forget(struct erasing *erasing, const struct row_member *member)
{
	struct slot *slot;
	int rc = find(erasing->people, &member->id, &slot);
	if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	rc = expiry_forget(erasing->people, slot);
	if (!rc) rc = forget_links(erasing, &member->id, member->identifier);
	if (!rc) rc = consent_words_forget(erasing->people->txn, &erasing->people->tables, &member->id);
	return rc ? rc : cache_delete(&erasing->people->cache, slot, false);
}

/* ── one person ──────────────────────────────────────────────────────────── */

static void write_id(struct json_out *out, const struct fragment_id *id)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	fragment_id_format(id, text);
	jo_str(out, str_from(text));
}

/* {"fragments":[id…],"remaining":id or null} */
static int tell(struct erasing *erasing, const struct component *component, const struct fragment_id *remaining)
{
	struct people *people = erasing->people;
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("fragments"));
	jo_array(&out);
	for (size_t i = 0; i < component->count; i++)
		if (goes(erasing, &component->members[i].id)) write_id(&out, &component->members[i].id);
	jo_end_array(&out);
	jo_key(&out, STR("remaining"));
	if (remaining)
		write_id(&out, remaining);
	else
		jo_null(&out);
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {
	    .kind = CHANGE_ERASED, .cause_seq = erasing->seq, .t = erasing->t, .body = buf_str(&people->json)};
	memcpy(change.profile, component->head->id.bytes, sizeof change.profile);
	int rc = people_append_change(people, &change);
	if (rc || (remaining && fragment_id_eq(remaining, &component->head->id))) return rc;
	return component_forget(people, &component->head->id);
}

/* What had joined them may be gone with the erased: from here on this stands for it, so that deciding again joins them too. */
static int keep_together(struct erasing *erasing, const struct row_member *members, size_t count)
{
	struct people *people = erasing->people;
	for (size_t i = 1; i < count; i++) {
		const struct link link = {.fragment = members[0].id,
					  .other = members[i].id,
					  .rule = LINK_KEPT | LINK_TRUSTED,
					  .version = people->plan->identity_seq,
					  .is_initiator = true,
					  .was_one = true,
					  .seq = erasing->seq,
					  .t = erasing->t,
					  .other_identifier = members[i].identifier,
					  .actor = STR_NONE,
					  .note = STR_NONE};
		int rc = link_put_both(people, &link, members[0].identifier);
		if (rc) return rc;
	}
	return OK;
}

/* Who stays is one person as before. */
static int regroup(struct erasing *erasing, struct row_member *members, size_t count, struct slot *old_head)
{
	struct people *people = erasing->people;
	struct component_made made;
	bool old_stays = !goes(erasing, &old_head->id);
	int rc = keep_together(erasing, members, count);
	if (!rc) rc = component_make(people, members, count, erasing->seq, erasing->t, &made);
	if (!rc) rc = erased_head_put(people->txn, people->tables.erased, &made.head->id, erasing->seq);
	if (!rc && old_stays) rc = component_drop(people, &old_head->id);
	if (!rc)
		rc = component_announce(people, CHANGE_IDENTIFIER, &made.head->id, members, count, erasing->seq,
					erasing->t);
	if (!rc) rc = component_tell_consents(people, &made, erasing->seq, erasing->t);
	if (!rc && made.head != old_head) rc = segments_profile_changed(people, old_head, erasing->seq, erasing->t);
	return rc ? rc : segments_profile_changed(people, made.head, erasing->seq, erasing->t);
}

static int erase_from(struct erasing *erasing, struct slot *slot)
{
	struct people *people = erasing->people;
	struct component component;
	size_t stay = 0;
	int rc = component_of(people, slot, &component);
	if (rc) return rc;
	/* What is merged anew below is the same memory: members are looked at through a copy. */
	struct row_member *members = arena_array(&people->cache.arena, struct row_member, component.count);
	struct row_member *staying = arena_array(&people->cache.arena, struct row_member, component.count);
	if (!members || !staying) return ERR_NOMEM;
	memcpy(members, component.members, component.count * sizeof *members);
	component.members = members;
	for (size_t i = 0; i < component.count; i++)
		if (!goes(erasing, &members[i].id)) staying[stay++] = members[i];
	rc = tell(erasing, &component, stay ? &staying[0].id : NULL);
	if (!rc && component.count > 1 && goes(erasing, &component.head->id))
		rc = cache_delete(&people->cache, component.head, true);
	if (!rc) rc = erased_head_put(people->txn, people->tables.erased, &component.head->id, erasing->seq);
	for (size_t i = 0; i < component.count && !rc; i++)
		if (goes(erasing, &members[i].id)) rc = forget(erasing, &members[i]);
	if (!rc && !stay) return segments_profile_changed(people, component.head, erasing->seq, erasing->t);
	return rc ? rc : regroup(erasing, staying, stay, component.head);
}

/* A later erasure never lowers what an earlier one blocks. */
static int block(struct erasing *erasing, const struct fragment_id *id)
{
	struct people *people = erasing->people;
	struct erased_row row = {.seq = erasing->seq, .before_us = erasing->before_us}, old;
	memcpy(row.receipt, erasing->erasure->receipt, sizeof row.receipt);
	int rc = erased_get(people->txn, people->tables.erased, id, &old);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (!rc) {
		row.late_seq = old.late_seq;
		if (old.before_us > row.before_us) row.before_us = old.before_us;
	}
	return erased_put(people->txn, people->tables.erased, id, &row);
}

int people_erase(struct people *people, const struct people_erasure *erasure, uint64_t seq, int64_t t)
{
	struct erasing erasing = {.people = people,
				  .erasure = erasure,
				  .seq = seq,
				  .t = t,
				  .before_us = erasure->before_us ? erasure->before_us : t};
	CHECK(people->txn);
	int rc = collect(&erasing);
	people->has_erased = people->has_renamed = true;
	for (size_t i = 0; i < erasing.count && !rc; i++) {
		struct slot *slot;
		rc = block(&erasing, &erasing.ids[i]);
		if (rc) break;
		rc = find(people, &erasing.ids[i], &slot);
		if (!rc)
			rc = erase_from(&erasing, slot);
		else if (rc == ERR_NOT_FOUND)
			rc = OK;
	}
	return rc;
}

int people_note_act(struct people *people, uint64_t seq)
{
	const struct outcome noted = {.verdict = OUTCOME_APPLIED};
	CHECK(people->txn && seq > people->working.last_outcome);
	int rc = outcome_append(people->txn, people->tables.outcomes, seq, &noted);
	if (!rc) people->working.last_outcome = seq;
	return rc;
}

/* ── cleaning up ─────────────────────────────────────────────────────────── */

int people_outcomes_erase(struct people *people, const uint64_t *seqs, size_t count)
{
	const struct outcome erased = {.verdict = OUTCOME_ERASED};
	struct outcome old;
	CHECK(people->txn);
	for (size_t i = 0; i < count; i++) {
		int rc = outcome_get(people->txn, people->tables.outcomes, seqs[i], &old);
		if (rc == ERR_NOT_FOUND) continue; /* trimmed: its count stands */
		if (!rc) rc = people_put_outcome(people, seqs[i], &erased);
		if (rc) return rc;
	}
	return OK;
}

/* Does the change tell values of somebody erased? Identity transitions hold nothing but ids. */
static int is_telling(struct people *people, const struct change *change, bool *out)
{
	struct fragment_id id;
	struct erased_row row;
	uint64_t seq = 0;
	*out = false;
	if (change->kind == CHANGE_MERGED || change->kind == CHANGE_SPLIT || change->kind == CHANGE_ERASED) return OK;
	if (str_eq(change->body, STR("{}"))) return OK;
	memcpy(id.bytes, change->profile, sizeof id.bytes);
	int rc = erased_get(people->txn, people->tables.erased, &id, &row);
	if (!rc && change->cause_seq < row.seq) *out = true;
	if (rc == ERR_NOT_FOUND) rc = OK;
	if (rc || *out) return rc;
	rc = erased_head_get(people->txn, people->tables.erased, &id, &seq);
	*out = !rc && change->cause_seq < seq;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int blank(struct people *people, struct store_cursor *cursor, size_t max, uint64_t *seqs, size_t *count,
		 uint64_t *next, struct str *key, struct str *value, bool *done)
{
	int rc = OK;
	for (size_t i = 0; i < max && !rc; i++) {
		struct change change;
		bool is_hit;
		rc = change_decode(*key, *value, &change);
		if (!rc) rc = is_telling(people, &change, &is_hit);
		if (rc) return rc;
		*next = change.seq;
		if (is_hit) seqs[(*count)++] = change.seq;
		rc = store_cursor_move(cursor, STORE_NEXT, key, value);
	}
	*done = rc == ERR_NOT_FOUND;
	return *done ? OK : rc;
}

int people_changes_blank(struct people *people, uint64_t after, size_t max, uint64_t *next, size_t *blanked, bool *done)
{
	struct store_cursor *cursor;
	uint64_t from = after + 1;
	struct str key = store_key64(&from), value;
	size_t count = 0;
	CHECK(people->txn);
	*next = after;
	*done = false;
	uint64_t *seqs = arena_array(&people->cache.arena, uint64_t, max + 1);
	int rc = seqs ? store_cursor_open(people->txn, people->tables.changes, &cursor) : ERR_NOMEM;
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	*done = rc == ERR_NOT_FOUND;
	if (!rc) rc = blank(people, cursor, max, seqs, &count, next, &key, &value, done);
	store_cursor_close(cursor);
	if (rc == ERR_NOT_FOUND) rc = OK;
	for (size_t i = 0; i < count && !rc; i++) rc = change_blank(people->txn, people->tables.changes, seqs[i]);
	*blanked += count;
	return rc;
}

int people_compact(struct people *people, const _Atomic bool *stop)
{
	char path[4096];
	uint64_t room;
	CHECK(!people->txn);
	/* The copy must not take the disk from the journal. */
	if (store_free_bytes(store_path(people->env), &room) != OK ||
	    room < store_used_bytes(people->env) + COMPACT_SPARE)
		return ERR_FULL;
	int rc = people_compact_path(store_path(people->env), path, sizeof path);
	if (!rc) rc = store_copy(people->env, path, stop);
	return rc ? rc : store_swap_in(people->env, path);
}
