#include "deliver/letter.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "profile/erase.h"

/* Key: the destination's name, NUL, position (8 bytes, big endian); of streams other than events the stream's number (1 byte) stands between
 * NUL and position. No position is as large as to begin with a byte that is not 0. Row: format, cause, queued, 0, attempts (4), time (8), fragment (16), with format 2, of
 * streams other than events, journal_seq (8), the reason's text. */
#define FORMAT        1
#define FORMAT_CAUSED 2
#define ROW_FIXED     32
#define ROW_CAUSED    40
#define KEY_MAX       96

struct key {
	uint8_t bytes[KEY_MAX];
	size_t len;
};

const char *letter_cause_name(enum letter_cause cause)
{
	static const char *const names[LETTER_CAUSE_COUNT] = {"dropped", "unmapped", "given_up"};
	return cause < LETTER_CAUSE_COUNT ? names[cause] : "unknown";
}

struct letter letter_make(enum stream_id stream, uint64_t seq, uint64_t journal_seq, enum letter_cause cause,
			  const uint8_t fragment[16], uint32_t attempts, struct str reason)
{
	struct letter letter = {.stream = stream,
				.seq = seq,
				.journal_seq = journal_seq,
				.cause = cause,
				.attempts = attempts,
				.at_us = clock_wall_us()};
	size_t len = reason.len < LETTER_REASON_MAX ? reason.len : LETTER_REASON_MAX;
	memcpy(letter.fragment, fragment, sizeof letter.fragment);
	memcpy(letter.reason, reason.ptr, len);
	return letter;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static struct str key_of(struct str destination, enum stream_id stream, uint64_t seq, struct key *key)
{
	CHECK(destination.len + 10 <= KEY_MAX);
	memcpy(key->bytes, destination.ptr, destination.len);
	key->len = destination.len;
	key->bytes[key->len++] = 0;
	if (stream) key->bytes[key->len++] = (uint8_t)stream;
	put_be64(key->bytes + key->len, seq);
	key->len += 8;
	return str_of(key->bytes, key->len);
}

static bool read_key(struct str key, struct str *destination, enum stream_id *stream, uint64_t *seq)
{
	const char *end = memchr(key.ptr, 0, key.len);
	if (!end) return false;
	*destination = str_of(key.ptr, (size_t)(end - key.ptr));
	size_t rest = key.len - destination->len - 1;
	*stream = rest == 9 ? (enum stream_id)(uint8_t)end[1] : STREAM_OF_EVENTS;
	if ((rest != 8 && rest != 9) || *stream >= STREAM_COUNT) return false;
	*seq = get_be64((const uint8_t *)key.ptr + key.len - 8);
	return true;
}

static void put(struct store_txn *txn, store_db db, struct str destination, const struct letter *letter)
{
	struct key key;
	bool is_caused = letter->stream != STREAM_OF_EVENTS;
	size_t len = strlen(letter->reason), fixed = is_caused ? ROW_CAUSED : ROW_FIXED;
	uint8_t row[ROW_CAUSED + LETTER_REASON_MAX] = {is_caused ? FORMAT_CAUSED : FORMAT, (uint8_t)letter->cause,
						       letter->is_queued, 0};
	put_be32(row + 4, letter->attempts);
	put_be64(row + 8, (uint64_t)letter->at_us);
	memcpy(row + 16, letter->fragment, sizeof letter->fragment);
	put_be64(row + ROW_FIXED, letter->journal_seq); /* or overwritten */
	memcpy(row + fixed, letter->reason, len);
	(void)!store_put(txn, db, key_of(destination, letter->stream, letter->seq, &key), str_of(row, fixed + len));
}

static int read_row(uint64_t seq, struct str row, struct letter *out)
{
	const uint8_t *p = (const uint8_t *)row.ptr;
	size_t fixed = row.len && p[0] == FORMAT_CAUSED ? ROW_CAUSED : ROW_FIXED;
	if (row.len < fixed || row.len > fixed + LETTER_REASON_MAX) return ERR_CORRUPT;
	if (p[0] != FORMAT && p[0] != FORMAT_CAUSED) return ERR_FORMAT;
	if (p[1] >= LETTER_CAUSE_COUNT) return ERR_CORRUPT;
	*out = (struct letter){.seq = seq,
			       .journal_seq = fixed == ROW_CAUSED ? get_be64(p + ROW_FIXED) : seq,
			       .cause = (enum letter_cause)p[1],
			       .is_queued = p[2] != 0,
			       .attempts = get_be32(p + 4),
			       .at_us = (int64_t)get_be64(p + 8)};
	memcpy(out->fragment, p + 16, sizeof out->fragment);
	memcpy(out->reason, p + fixed, row.len - fixed);
	return OK;
}

/* ── changes ─────────────────────────────────────────────────────────────── */

static void *grow(void *items, size_t count, size_t *room, size_t size)
{
	if (count < *room) return items;
	size_t more = *room ? 2 * *room : 16;
	void *larger = realloc(items, more * size);
	if (larger) *room = more;
	return larger;
}

int letter_changes_put(struct letter_changes *c, const struct letter *letter)
{
	struct letter *put = grow(c->put, c->put_count, &c->put_room, sizeof *put);
	if (!put) return ERR_NOMEM;
	c->put = put;
	c->put[c->put_count++] = *letter;
	return OK;
}

int letter_changes_gone(struct letter_changes *c, enum stream_id stream, uint64_t seq)
{
	struct letter_gone *gone = grow(c->gone, c->gone_count, &c->gone_room, sizeof *gone);
	if (!gone) return ERR_NOMEM;
	c->gone = gone;
	c->gone[c->gone_count++] = (struct letter_gone){stream, seq};
	return OK;
}

void letter_changes_clear(struct letter_changes *c)
{
	c->put_count = c->gone_count = 0;
}

void letter_changes_fini(struct letter_changes *c)
{
	free(c->put);
	free(c->gone);
	*c = (struct letter_changes){.put_count = 0};
}

/* ── walking ─────────────────────────────────────────────────────────────── */

struct walk {
	struct store_cursor *cursor;
	struct str only; /* destination; empty: all */
	struct str destination;
	struct letter letter;
	bool is_begun;
};

/* Of a destination from its first letter on, or of all. Closed by walk_close. */
static int walk_open(struct store_txn *txn, store_db db, struct str only, struct walk *walk)
{
	*walk = (struct walk){.only = only, .destination = STR_NONE};
	return store_cursor_open(txn, db, &walk->cursor);
}

static int walk_next(struct walk *walk)
{
	struct key first;
	struct str key = STR_NONE, row;
	uint64_t seq;
	enum stream_id stream;
	enum store_move move = walk->is_begun ? STORE_NEXT : STORE_FIRST;
	if (!walk->is_begun && walk->only.len) {
		key = key_of(walk->only, STREAM_OF_EVENTS, 0, &first);
		move = STORE_AT_OR_AFTER;
	}
	walk->is_begun = true;
	int rc = store_cursor_move(walk->cursor, move, &key, &row);
	if (rc) return rc;
	if (!read_key(key, &walk->destination, &stream, &seq)) return ERR_CORRUPT;
	if (walk->only.len && !str_eq(walk->only, walk->destination)) return ERR_NOT_FOUND;
	rc = read_row(seq, row, &walk->letter);
	walk->letter.stream = stream;
	return rc;
}

static int count_all(struct store_txn *txn, store_db db, struct str destination, uint64_t *count, uint64_t *queued)
{
	struct walk walk;
	*count = *queued = 0;
	int rc = walk_open(txn, db, destination, &walk);
	if (rc) return rc;
	while ((rc = walk_next(&walk)) == OK) {
		++*count;
		*queued += walk.letter.is_queued;
	}
	store_cursor_close(walk.cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── a destination's own ─────────────────────────────────────────────────── */

static int make_room(struct store_txn *txn, store_db db, struct str destination, uint64_t excess)
{
	struct walk walk;
	int rc = walk_open(txn, db, destination, &walk);
	if (rc) return rc;
	for (; excess && rc == OK; excess--) {
		rc = walk_next(&walk);
		if (rc == OK) rc = store_cursor_del(walk.cursor);
	}
	store_cursor_close(walk.cursor);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int is_erased(struct people_reader *reader, const struct letter *letter, bool *out)
{
	struct fragment_id id;
	struct erased_row row;
	memcpy(id.bytes, letter->fragment, sizeof id.bytes);
	int rc = people_erased(reader, &id, &row);
	*out = rc == OK && letter->journal_seq < row.seq;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* Asked while no sweep can write: one that comes later finds the rows, one that came before is seen here. */
static int put_all(struct store_txn *txn, store_db db, struct people_reader *reader, struct str destination,
		   const struct letter_changes *changes)
{
	uint64_t applied;
	bool is_gone;
	if (changes->put_count == 0) return OK;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	for (size_t i = 0; i < changes->put_count && rc == OK; i++) {
		rc = is_erased(reader, &changes->put[i], &is_gone);
		if (rc == OK && !is_gone) put(txn, db, destination, &changes->put[i]);
	}
	people_read_end(reader);
	return rc;
}

int letters_write(struct cursors *cursors, struct store_txn *txn, struct people_reader *reader, struct str destination,
		  const struct letter_changes *changes, uint64_t *count, uint64_t *lost)
{
	struct key key;
	uint64_t queued;
	store_db db = cursors_letters(cursors);
	*lost = 0;
	for (size_t i = 0; i < changes->gone_count; i++)
		(void)!store_del(txn, db, key_of(destination, changes->gone[i].stream, changes->gone[i].seq, &key));
	int rc = put_all(txn, db, reader, destination, changes);
	if (rc == OK) rc = count_all(txn, db, destination, count, &queued);
	if (rc || *count <= LETTERS_MAX) return rc;
	*lost = *count - LETTERS_MAX;
	*count = LETTERS_MAX;
	return make_room(txn, db, destination, *lost);
}

int letters_queued(struct cursors *cursors, struct str destination, enum stream_id stream, size_t max, uint64_t *seqs,
		   size_t *count)
{
	struct store_txn *txn;
	struct walk walk;
	*count = 0;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = walk_open(txn, cursors_letters(cursors), destination, &walk);
	if (rc == OK) {
		while (*count < max && (rc = walk_next(&walk)) == OK)
			if (walk.letter.is_queued && walk.letter.stream == stream) seqs[(*count)++] = walk.letter.seq;
		store_cursor_close(walk.cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* ── for people ──────────────────────────────────────────────────────────── */

int letters_count(struct cursors *cursors, struct str destination, uint64_t *count, uint64_t *queued)
{
	struct store_txn *txn;
	*count = *queued = 0;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = count_all(txn, cursors_letters(cursors), destination, count, queued);
	store_abort(txn);
	return rc;
}

int letters_last(struct cursors *cursors, struct str destination, enum stream_id stream, uint64_t *seq)
{
	struct store_txn *txn;
	struct walk walk;
	*seq = 0;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = walk_open(txn, cursors_letters(cursors), destination, &walk);
	if (rc == OK) {
		while ((rc = walk_next(&walk)) == OK)
			if (walk.letter.stream == stream) *seq = walk.letter.seq;
		store_cursor_close(walk.cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static bool is_of(const struct letter *letter, const struct fragment_id *fragments, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(letter->fragment, fragments[i].bytes, sizeof letter->fragment) == 0) return true;
	return false;
}

int letters_of(struct cursors *cursors, const struct fragment_id *fragments, size_t fragment_count, uint64_t *count)
{
	struct store_txn *txn;
	struct walk walk;
	*count = 0;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = walk_open(txn, cursors_letters(cursors), STR_NONE, &walk);
	if (rc == OK) {
		while ((rc = walk_next(&walk)) == OK) *count += is_of(&walk.letter, fragments, fragment_count);
		store_cursor_close(walk.cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static bool is_behind(const struct walk *walk, const struct letter_place *after)
{
	if (!after) return true;
	int order = str_cmp(walk->destination, after->destination);
	if (order || walk->letter.stream != after->stream)
		return order ? order > 0 : walk->letter.stream > after->stream;
	return walk->letter.seq > after->seq;
}

int letters_list(struct cursors *cursors, struct str destination, const struct letter_place *after, size_t limit,
		 struct arena *arena, struct letter_row **out, size_t *count)
{
	struct store_txn *txn;
	struct walk walk;
	*count = 0;
	*out = arena_array(arena, struct letter_row, limit + 1);
	if (!*out) return ERR_NOMEM;
	int rc = store_begin(cursors_env(cursors), false, &txn);
	if (rc) return rc;
	rc = walk_open(txn, cursors_letters(cursors), destination, &walk);
	if (rc == OK) {
		while (*count < limit && (rc = walk_next(&walk)) == OK) {
			if (!is_behind(&walk, after)) continue;
			(*out)[*count].letter = walk.letter;
			rc = arena_str(arena, walk.destination, &(*out)[*count].destination);
			if (rc) break;
			++*count;
		}
		store_cursor_close(walk.cursor);
	}
	store_abort(txn);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int act(struct store_txn *txn, store_db db, struct walk *walk, enum letter_deed deed)
{
	if (deed == LETTER_DISCARD) return store_cursor_del(walk->cursor);
	if (walk->letter.is_queued) return OK;
	walk->letter.is_queued = true;
	struct str destination = walk->destination;
	char name[KEY_MAX];
	memcpy(name, destination.ptr, destination.len); /* a write may move what the cursor borrows */
	put(txn, db, str_of(name, destination.len), &walk->letter);
	return OK;
}

int letters_act(struct cursors *cursors, struct str destination, enum stream_id stream, uint64_t seq,
		enum letter_deed deed, uint64_t *count)
{
	struct store_txn *txn;
	struct walk walk;
	*count = 0;
	int rc = cursors_begin(cursors, &txn);
	if (rc) return rc;
	rc = walk_open(txn, cursors_letters(cursors), destination, &walk);
	if (rc == OK) {
		while ((rc = walk_next(&walk)) == OK) {
			if (seq && (walk.letter.stream != stream || walk.letter.seq != seq)) continue;
			++*count;
			rc = act(txn, cursors_letters(cursors), &walk, deed);
			if (rc) break;
		}
		store_cursor_close(walk.cursor);
	}
	if (rc == ERR_NOT_FOUND) return cursors_commit(cursors, txn);
	cursors_abort(cursors, txn);
	return rc;
}

/* ── erasure ─────────────────────────────────────────────────────────────── */

static int erase_walked(struct walk *walk, struct people_reader *reader, uint64_t *count)
{
	int rc;
	while ((rc = walk_next(walk)) == OK) {
		bool is_gone;
		rc = is_erased(reader, &walk->letter, &is_gone);
		if (rc) return rc;
		if (!is_gone) continue;
		if ((rc = store_cursor_del(walk->cursor))) return rc;
		++*count;
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int letters_erase(struct cursors *cursors, struct people_reader *reader, uint64_t *count)
{
	struct store_txn *txn;
	struct walk walk;
	uint64_t applied;
	*count = 0;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = cursors_begin(cursors, &txn);
	if (rc == OK) {
		rc = walk_open(txn, cursors_letters(cursors), STR_NONE, &walk);
		if (rc == OK) {
			rc = erase_walked(&walk, reader, count);
			store_cursor_close(walk.cursor);
		}
		if (rc == OK)
			rc = cursors_commit(cursors, txn);
		else
			cursors_abort(cursors, txn);
	}
	people_read_end(reader);
	return rc;
}
