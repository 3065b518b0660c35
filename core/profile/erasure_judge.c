/* What of the journal is an erased person's, and what may stay of it. */
#include <stdlib.h>

#include "cdpd/v1/store.pb-c.h"
#include "profile/block.h"
#include "profile/reader.h"

struct erasure_view {
	struct event_view view;
	struct identifiers identifiers;
};

int erasure_view_new(struct erasure_view **out)
{
	*out = calloc(1, sizeof **out);
	if (!*out) return ERR_NOMEM;
	int rc = event_view_init(&(*out)->view);
	if (rc) {
		free(*out);
		*out = NULL;
	}
	return rc;
}

void erasure_view_free(struct erasure_view *view)
{
	if (!view) return;
	event_view_fini(&view->view);
	free(view);
}

/* ── the husk's bytes ────────────────────────────────────────────────────── */

static ProtobufCBinaryData to_bytes(struct str text)
{
	return (ProtobufCBinaryData){text.len, (uint8_t *)(uintptr_t)text.ptr};
}

static struct str to_str(ProtobufCBinaryData bytes)
{
	return bytes.len ? str_of(bytes.data, bytes.len) : STR_NONE;
}

static void *alloc_in_arena(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *ptr)
{
	(void)arena, (void)ptr;
}

int erased_event_encode(const struct erased_event *event, struct arena *arena, struct str *payload)
{
	Cdpd__V1__StoredErasedEvent stored = CDPD__V1__STORED_ERASED_EVENT__INIT;
	ProtobufCBinaryData identifiers[COUNT_OF(event->identifiers)];
	for (size_t i = 0; i < event->identifier_count; i++) identifiers[i] = to_bytes(event->identifiers[i]);
	stored.n_identifiers = event->identifier_count;
	stored.identifiers = identifiers;
	stored.previous_anonymous = to_bytes(event->previous_anonymous);
	stored.previous_user = to_bytes(event->previous_user);
	stored.rights = event->rights;
	stored.flags = event->flags;
	stored.event_time_us = event->event_time_us;
	stored.expired = event->is_expired;
	uint8_t *bytes = arena_alloc(arena, cdpd__v1__stored_erased_event__get_packed_size(&stored) + 1);
	if (!bytes) return ERR_NOMEM;
	*payload = str_of(bytes, cdpd__v1__stored_erased_event__pack(&stored, bytes));
	return OK;
}

int erased_event_decode(struct str payload, struct arena *arena, struct erased_event *out)
{
	ProtobufCAllocator allocator = {alloc_in_arena, free_nothing, arena};
	Cdpd__V1__StoredErasedEvent *stored =
	    cdpd__v1__stored_erased_event__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	*out = (struct erased_event){.identifier_count = 0};
	if (!stored || stored->n_identifiers > COUNT_OF(out->identifiers)) return ERR_CORRUPT;
	for (size_t i = 0; i < stored->n_identifiers; i++) out->identifiers[i] = to_str(stored->identifiers[i]);
	out->identifier_count = stored->n_identifiers;
	out->previous_anonymous = to_str(stored->previous_anonymous);
	out->previous_user = to_str(stored->previous_user);
	out->rights = stored->rights;
	out->flags = stored->flags;
	out->event_time_us = stored->event_time_us;
	out->is_expired = stored->expired;
	return OK;
}

int erasure_decode(struct str payload, struct arena *arena, struct people_erasure *out)
{
	ProtobufCAllocator allocator = {alloc_in_arena, free_nothing, arena};
	Cdpd__V1__StoredErasure *stored =
	    cdpd__v1__stored_erasure__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored || stored->receipt_id.len != RECEIPT_SIZE) return ERR_CORRUPT;
	struct fragment_id *ids = arena_array(arena, struct fragment_id, stored->n_fragment_ids + 1);
	if (!ids) return ERR_NOMEM;
	for (size_t i = 0; i < stored->n_fragment_ids; i++) {
		if (stored->fragment_ids[i].len != sizeof ids[i].bytes) return ERR_CORRUPT;
		memcpy(ids[i].bytes, stored->fragment_ids[i].data, sizeof ids[i].bytes);
	}
	*out = (struct people_erasure){.fragments = ids,
				       .count = stored->n_fragment_ids,
				       .is_whole = stored->whole_profile,
				       .before_us = stored->before_us};
	memcpy(out->receipt, stored->receipt_id.data, RECEIPT_SIZE);
	return OK;
}

/* ── identifiers ─────────────────────────────────────────────────────────── */

static int was_erased(struct people_reader *reader, const struct fragment_id *id, uint64_t seq, bool *out,
		      struct erased_row *row)
{
	int rc = erased_get(reader->txn, reader->people->tables.erased, id, row);
	*out = !rc && seq < row->seq;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int erasure_of_text(struct people_reader *reader, struct str identifier, uint64_t seq, struct arena *arena, bool *hit,
		    struct str *hashed)
{
	struct fragment_id id;
	struct erased_row row;
	*hit = false;
	*hashed = identifier;
	if (!identifier.len || identifier_is_hashed(identifier)) return OK;
	fragment_id_make(&reader->people->key, identifier, &id);
	int rc = was_erased(reader, &id, seq, hit, &row);
	return rc || !*hit ? rc : identifier_hash_text(&id, identifier, arena, hashed);
}

/* Texts of erased identifiers become hashes, others are copied. *clear: some stays as it was. */
static int hash_text(struct people_reader *reader, uint64_t seq, struct arena *arena, struct str *text, bool *hit,
		     bool *clear)
{
	bool is_hit;
	struct str out;
	if (!text->len) return OK;
	int rc = erasure_of_text(reader, *text, seq, arena, &is_hit, &out);
	if (!rc) rc = arena_str(arena, out, text);
	if (is_hit) *hit = true;
	if (!is_hit && !identifier_is_hashed(*text)) *clear = true;
	return rc;
}

static int hash_husk(struct people_reader *reader, uint64_t seq, struct arena *arena, struct erased_event *husk,
		     bool *hit)
{
	bool has_clear = false;
	int rc = OK;
	for (size_t i = 0; i < husk->identifier_count && !rc; i++)
		rc = hash_text(reader, seq, arena, &husk->identifiers[i], hit, &has_clear);
	if (!rc) rc = hash_text(reader, seq, arena, &husk->previous_anonymous, hit, &has_clear);
	if (!rc) rc = hash_text(reader, seq, arena, &husk->previous_user, hit, &has_clear);
	if (!has_clear) husk->event_time_us = 0;
	return rc;
}

int erasure_judge_husk(struct people_reader *reader, uint64_t seq, struct arena *arena, bool *hit,
		       struct erased_event *husk)
{
	*hit = false;
	return hash_husk(reader, seq, arena, husk, hit);
}

/* ── events ──────────────────────────────────────────────────────────────── */

static const struct identifier *strongest_of(const struct identifiers *all)
{
	for (size_t i = 0; i < all->count; i++)
		if (!all->items[i].is_blocked) return &all->items[i];
	return NULL;
}

static int fill_husk(struct people_reader *reader, struct erasure_view *view, const struct cdpd_event *event,
		     struct arena *arena, struct erased_event *husk)
{
	const struct identifiers *all = &view->identifiers;
	struct identifier previous;
	for (size_t i = 0; i < all->count; i++)
		if (!all->items[i].is_blocked) husk->identifiers[husk->identifier_count++] = all->items[i].text;
	husk->rights = event->rights;
	husk->flags = event->flags & EVENT_INACTIVE;
	husk->event_time_us = event->event_time_us;
	if (event->type != EVENT_ALIAS || !event->previous_id.len) return OK;
	const struct plan *plan = reader->plan;
	const struct hash_key *key = &reader->people->key;
	int rc = OK;
	if (identifier_in(plan, key, PART_ANONYMOUS_ID, event->previous_id, &view->identifiers, &previous))
		rc = arena_str(arena, previous.text, &husk->previous_anonymous);
	if (!rc && identifier_in(plan, key, PART_USER_ID, event->previous_id, &view->identifiers, &previous))
		rc = arena_str(arena, previous.text, &husk->previous_user);
	return rc;
}

/* Only an applied event has a fragment; of others its strongest identifier tells whose it is. */
static int find_owner(struct people_reader *reader, struct erasure_view *view, uint64_t seq, int64_t event_time_us,
		      bool was_blocked, bool *hit, struct erased_row *row)
{
	const struct identifier *strongest = strongest_of(&view->identifiers);
	*hit = false;
	if (!strongest) return OK;
	int rc = erased_get(reader->txn, reader->people->tables.erased, &strongest->id, row);
	/* Came later: was blocked, by its time or as an echo of whom the erasure found. */
	*hit = !rc && (seq < row->seq || event_time_us <= row->before_us || was_blocked);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int erasure_judge_event(struct people_reader *reader, struct erasure_view *view, uint64_t seq, struct str payload,
			const struct outcome *outcome, struct arena *arena, bool *hit, struct erased_row *row,
			struct erased_event *husk)
{
	struct cdpd_event event;
	struct fragment_id fragment;
	bool was_applied = outcome && outcome->verdict == OUTCOME_APPLIED, is_hit = false;
	*hit = false;
	*husk = (struct erased_event){.identifier_count = 0};
	CHECK(reader->is_open);
	if (was_applied) {
		memcpy(fragment.bytes, outcome->fragment, sizeof fragment.bytes);
		int rc = was_erased(reader, &fragment, seq, hit, row);
		if (rc || !*hit) return rc;
	}
	if (!reader->plan) return OK;
	int rc = event_decode(payload, arena, &event);
	if (rc) return rc == ERR_CORRUPT ? OK : rc;
	event_view_set(&view->view, &event);
	rc = identifiers_collect(reader->plan, &reader->people->key, &view->view, &view->identifiers);
	if (rc) return rc;
	bool was_blocked = outcome && outcome->verdict == OUTCOME_ERASED;
	if (!was_applied) return find_owner(reader, view, seq, event.event_time_us, was_blocked, hit, row);
	rc = fill_husk(reader, view, &event, arena, husk);
	return rc ? rc : hash_husk(reader, seq, arena, husk, &is_hit);
}

/* Only an applied event had a part in who is one person with whom. */
int erasure_expire_event(struct people_reader *reader, struct erasure_view *view, uint64_t seq,
			 const struct cdpd_event *event, const struct outcome *outcome, struct arena *arena,
			 struct erased_event *husk)
{
	bool is_hit = false;
	*husk = (struct erased_event){.is_expired = true};
	CHECK(reader->is_open);
	if (!reader->plan || !outcome || outcome->verdict != OUTCOME_APPLIED) return OK;
	event_view_set(&view->view, event);
	int rc = identifiers_collect(reader->plan, &reader->people->key, &view->view, &view->identifiers);
	if (!rc) rc = fill_husk(reader, view, event, arena, husk);
	return rc ? rc : hash_husk(reader, seq, arena, husk, &is_hit);
}

/* ── free text ───────────────────────────────────────────────────────────── */

static int names_value(struct people_reader *reader, struct str value, struct arena *arena, bool *hit)
{
	char memory[ROW_IDENTIFIER_MAX];
	struct fragment_id id;
	struct erased_row row;
	struct str text, ref;
	for (size_t i = 0; reader->plan && i < reader->plan->namespace_count && !*hit; i++) {
		struct str name = reader->plan->namespaces[i].rule.name;
		int rc = arena_printf(arena, &ref, "%.*s:%.*s", STR_ARG(name), STR_ARG(value));
		if (rc) return rc;
		if (identifier_normalize(reader->plan, ref, memory, &text)) continue;
		fragment_id_make(&reader->people->key, text, &id);
		rc = erased_get(reader->txn, reader->people->tables.erased, &id, &row);
		*hit = rc == OK;
		if (rc && rc != ERR_NOT_FOUND) return rc;
	}
	return OK;
}

/* Strings are taken as they stand between quotes, numbers up to the next sign: an excerpt may end anywhere. */
int erasure_names(struct people_reader *reader, struct str text, struct arena *arena, bool *hit)
{
	static const char ends[] = "\"{}[],: \t\r\n";
	*hit = false;
	CHECK(reader->is_open);
	for (size_t at = 0; at < text.len && !*hit;) {
		size_t len = 0;
		bool is_quoted = text.ptr[at] == '"';
		if (is_quoted) at++;
		while (at + len < text.len &&
		       (is_quoted ? text.ptr[at + len] != '"' : !memchr(ends, text.ptr[at + len], sizeof ends - 1)))
			len += is_quoted && text.ptr[at + len] == '\\' && at + len + 1 < text.len ? 2 : 1;
		struct str value = {text.ptr + at, len};
		if (len && len <= EVENT_IDENTIFIER_MAX) {
			int rc = names_value(reader, value, arena, hit);
			if (rc) return rc;
		}
		at += len + (is_quoted || !len); /* a closing quote opens nothing */
	}
	return OK;
}
