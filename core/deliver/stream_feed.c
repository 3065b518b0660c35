#include "deliver/stream_feed.h"

#include "base/encode.h"
#include "deliver/record_json.h"
#include "plugin/instance.h"
#include "profile/erase.h"

/* ── where it is ─────────────────────────────────────────────────────────── */

uint64_t feed_first(const struct deliver_shared *shared)
{
	return feed_position(people_trimmed_change(shared->people) + 1, FEED_FIRST);
}

uint64_t feed_end(const struct deliver_shared *shared)
{
	return feed_position(people_last_change(shared->people) + 1, FEED_FIRST);
}

static int read_changes(struct people_reader *people, uint64_t from, size_t max, struct arena *arena,
			struct change **changes, size_t *count)
{
	uint64_t applied, seq = feed_seq(from);
	int rc = people_read_begin(people, &applied);
	if (rc) return rc;
	rc = people_changes(people, seq ? seq - 1 : 0, max, arena, changes, count);
	people_read_end(people);
	return rc;
}

int feed_time(const struct deliver_shared *shared, uint64_t position, struct arena *arena, int64_t *t)
{
	struct people_reader *people;
	struct change *changes;
	size_t count = 0;
	int rc = people_reader_new(shared->people, &people);
	if (rc) return rc;
	rc = read_changes(people, position, 1, arena, &changes, &count);
	people_reader_free(people);
	if (rc == OK && !count) rc = ERR_NOT_FOUND;
	if (rc == OK) *t = changes[0].t;
	return rc;
}

/* The records that are made of them lie in the same arena. */
static bool is_too_much(int rc, const struct stream_window *window)
{
	return rc == ERR_NOMEM || (rc == OK && window->arena.used > window->arena.cap / 2);
}

int feed_read(struct stream_reader *r, uint64_t from, size_t max, struct stream_window *window, struct change **changes,
	      size_t *count)
{
	int rc = read_changes(r->people, from, max, &window->arena, changes, count);
	while (is_too_much(rc, window) && max > 1 && window->count == 0) { /* large ones: fewer of them */
		arena_reset(&window->arena);
		max = max > 8 ? max / 8 : 1;
		rc = read_changes(r->people, from, max, &window->arena, changes, count);
	}
	return rc;
}

void feed_looked(struct stream_window *window, const struct change *changes, size_t count)
{
	if (count) window->next = feed_position(changes[count - 1].seq + 1, FEED_FIRST);
}

/* ── records ─────────────────────────────────────────────────────────────── */

int feed_record(struct stream_reader *r, struct stream_window *window, const struct stream *stream, uint64_t position,
		const struct change *change, struct stream_record **out)
{
	char place[POSITION_TEXT_SIZE];
	struct stream_record *record = &window->records[window->count];
	*record = (struct stream_record){.stream = stream->id,
					 .position = position,
					 .seq = change->cause_seq,
					 .kind = CDPD_RECORD_EVENT,
					 .type = STR_NONE,
					 .name = STR_NONE,
					 .message_id = STR_NONE,
					 .profile_id = STR_NONE,
					 .purpose = STR_NONE,
					 .other_id = STR_NONE,
					 .time_us = change->t};
	memcpy(record->fragment, change->profile, sizeof record->fragment);
	*out = record;
	buf_clear(&r->json);
	size_t len = stream_place_format(stream, r->shared->epoch, position, place);
	return arena_str(&window->arena, str_of(place, len), &record->place);
}

int feed_add(struct stream_reader *r, struct stream_window *window, struct stream_record *record)
{
	int rc = arena_str(&window->arena, buf_str(&r->json), &record->json);
	if (rc) return rc;
	window->count++;
	window->bytes += record->json.len;
	return OK;
}

/* ── bodies ──────────────────────────────────────────────────────────────── */

/* ERR_NOT_FOUND: it cannot be read. */
static int parse_body(struct stream_reader *r, const struct change *change, struct json *root)
{
	const char *why;
	int rc = r->parser ? OK : json_reader_new(&r->parser);
	buf_clear(&r->text);
	if (rc == OK) rc = buf_append_str(&r->text, change->body); /* the parser reads past the end */
	if (rc == OK) rc = json_parse(r->parser, buf_str(&r->text), root, &why);
	return rc == ERR_INVALID ? ERR_NOT_FOUND : rc;
}

static bool read_id(struct json value, struct fragment_id *out)
{
	struct str text;
	return json_str(value, &text) && fragment_id_parse(text, out) == OK;
}

int feed_body_id(struct stream_reader *r, const struct change *change, struct str member, struct fragment_id *out,
		 bool *found)
{
	struct json root, value;
	int rc = parse_body(r, change, &root);
	*found = rc == OK && json_get(root, member, &value) && read_id(value, out);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static bool read_state(struct json root, struct str member, enum consent_state *out)
{
	struct json value;
	struct str text;
	if (!json_get(root, member, &value) || !json_str(value, &text)) return false;
	for (int state = CONSENT_NONE; state < CONSENT_STATE_COUNT; state++) {
		if (!str_eq(text, str_from(consent_state_name((enum consent_state)state)))) continue;
		*out = (enum consent_state)state;
		return true;
	}
	return false;
}

/* ── notices ─────────────────────────────────────────────────────────────── */

bool feed_may_tell(const struct change *change)
{
	return change->kind == CHANGE_ERASED || change->kind == CHANGE_CONSENT;
}

static int name_notice(struct stream_window *window, struct stream_record *record, const struct fragment_id *id)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	record->is_notice = true;
	fragment_id_format(id, text);
	return arena_str(&window->arena, str_from(text), &record->profile_id);
}

static size_t read_ids(struct json list, struct fragment_id *ids)
{
	struct json item;
	struct json_iter it;
	size_t count = 0;
	for (json_iter_start(list, &it); count < FEED_NOTICES && json_next_element(&it, &item);)
		count += read_id(item, &ids[count]);
	return count;
}

/* The receipt of the newest erasure of a fragment: what was erased again since is told again. */
static int read_receipt(struct stream_reader *r, const struct fragment_id *id, uint8_t out[RECEIPT_SIZE])
{
	struct erased_row row = {.seq = 0};
	uint64_t applied;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_erased(r->people, id, &row);
	people_read_end(r->people);
	memcpy(out, row.receipt, RECEIPT_SIZE);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int feed_add_erased(struct stream_reader *r, struct stream_window *window, const struct stream *stream,
		    uint64_t position, const struct change *change, const struct feed_erased *erased,
		    const struct fragment_id *id)
{
	struct stream_record *record;
	char receipt[2 * RECEIPT_SIZE + 1];
	int rc = feed_record(r, window, stream, position, change, &record);
	if (rc) return rc;
	hex_encode(erased->receipt, RECEIPT_SIZE, receipt);
	record->notice = NOTICE_ERASED;
	memcpy(record->notice_id, erased->receipt, sizeof record->notice_id);
	record->type = STR("erased");
	memcpy(record->fragment, id->bytes, sizeof record->fragment);
	if ((rc = name_notice(window, record, id))) return rc;
	if ((rc = arena_str(&window->arena, str_from(receipt), &record->message_id))) return rc;
	rc = record_write_erased(&r->json, str_from(receipt), erased->is_whole, id, 1, change->t);
	return rc ? rc : feed_add(r, window, record);
}

/* Of each id that an erasure took of a person. */
static int tell_erased(struct stream_reader *r, struct stream_window *window, const struct stream *stream,
		       const struct change *change, struct json root, uint64_t from, uint64_t to)
{
	struct json fragments, remaining;
	struct fragment_id *ids = arena_array(&r->scratch, struct fragment_id, FEED_NOTICES);
	if (!ids) return ERR_NOMEM;
	if (!json_get(root, STR("fragments"), &fragments)) return OK;
	struct feed_erased erased;
	size_t count = read_ids(fragments, ids);
	if (!count) return OK;
	if (window->count + count > WINDOW_RECORDS_MAX && from != to) return ERR_AGAIN;
	erased.is_whole = !json_get(root, STR("remaining"), &remaining) || json_type(remaining) == JSON_NULL;
	int rc = read_receipt(r, &ids[0], erased.receipt);
	for (unsigned i = 0; i < count && rc == OK; i++) {
		uint64_t position = feed_position(change->seq, i);
		if (position >= from && position <= to)
			rc = feed_add_erased(r, window, stream, position, change, &erased, &ids[i]);
	}
	return rc;
}

int feed_list_ids(struct stream_reader *r, const struct change *change, struct feed_lost *lost)
{
	struct profile profile;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	memcpy(lost->ids[0].bytes, change->profile, sizeof change->profile);
	lost->count = 1;
	fragment_id_format(&lost->ids[0], ref + 3);
	int rc = people_get(r->people, str_from(ref), PROFILE_IDENTIFIERS, change->t, &r->scratch, &profile);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	if (memcmp(&profile.id, &lost->ids[0], sizeof profile.id) != 0) return OK; /* others are hers too by now */
	for (size_t i = 0; i < profile.identifier_count && lost->count < FEED_NOTICES; i++)
		if (memcmp(&profile.identifiers[i].fragment, &profile.id, sizeof profile.id) != 0)
			lost->ids[lost->count++] = profile.identifiers[i].fragment;
	return OK;
}

/* ERR_NOT_FOUND: nothing was lost. */
static int look_at_consent(struct stream_reader *r, const struct change *change, struct json root,
			   struct feed_lost *lost)
{
	struct json value;
	enum consent_state before;
	uint64_t applied;
	if (json_get(root, STR("channel"), &value)) return ERR_NOT_FOUND; /* gates ask for the purpose as a whole */
	if (!json_get(root, STR("purpose"), &value) || !json_str(value, &lost->purpose)) return ERR_NOT_FOUND;
	if (!read_state(root, STR("state"), &lost->state) || !read_state(root, STR("previous"), &before))
		return ERR_NOT_FOUND;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	bool is_lost = people_consent_lost(r->people, lost->purpose, before, lost->state);
	rc = is_lost ? feed_list_ids(r, change, lost) : ERR_NOT_FOUND;
	people_read_end(r->people);
	return rc;
}

int feed_add_withdrawn(struct stream_reader *r, struct stream_window *window, const struct stream *stream,
		       uint64_t position, const struct change *change, const struct feed_lost *lost)
{
	struct stream_record *record;
	int rc = feed_record(r, window, stream, position, change, &record);
	if (rc) return rc;
	record->notice = NOTICE_WITHDRAWN;
	notice_id_of_withdrawal(change->cause_seq, lost->purpose, record->notice_id);
	record->type = STR("withdrawn");
	record->message_id = record->place;
	if ((rc = name_notice(window, record, &lost->ids[0]))) return rc;
	if ((rc = arena_str(&window->arena, lost->purpose, &record->purpose))) return rc;
	rc = record_write_withdrawn(&r->json, lost->purpose, lost->state, lost->ids, lost->count, change->t);
	return rc ? rc : feed_add(r, window, record);
}

static int tell_withdrawn(struct stream_reader *r, struct stream_window *window, const struct stream *stream,
			  const struct change *change, struct json root, uint64_t from)
{
	struct feed_lost *lost = arena_alloc(&r->scratch, sizeof *lost);
	uint64_t position = feed_position(change->seq, FEED_FIRST);
	if (!lost) return ERR_NOMEM;
	if (position < from) return OK;
	if (window->count == WINDOW_RECORDS_MAX) return ERR_AGAIN;
	int rc = look_at_consent(r, change, root, lost);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return feed_add_withdrawn(r, window, stream, position, change, lost);
}

int feed_tell(struct stream_reader *r, struct stream_window *window, const struct stream *stream,
	      const struct change *change, uint64_t from, uint64_t to)
{
	struct json root;
	if (!feed_may_tell(change) || feed_position(change->seq, FEED_NOTICES) <= from) return OK;
	arena_reset(&r->scratch);
	int rc = parse_body(r, change, &root);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	return change->kind == CHANGE_ERASED ? tell_erased(r, window, stream, change, root, from, to)
					     : tell_withdrawn(r, window, stream, change, root, from);
}
