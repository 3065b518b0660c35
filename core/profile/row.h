/* row: one logical row of the `rows` database, decoded. A fragment's row and a profile's merged row share the form.
 *
 * A row's bytes are two sections. The hot one (times, counters, chain head, decided links, feature states) changes
 * with every event; the cold one (members, traits) only when a trait or a link does, so an ordinary event neither
 * decodes nor rewrites it. core/profile/piece.h says how the sections are cut into LMDB values.
 *
 *   hot:  identifier str · created u64 · first seen i64 · last seen i64 · events varint · chain head u64 · flags u8 ·
 *         profile id 16 (only when it is not the row's own) · refused traits varint · attempts varint ·
 *         attempts not kept varint · [decided version varint · count u8 · {other 16, rule u8}…] ·
 *         features varint {key u64, state str}… ordered by key · [due i64 · segments varint · key u64… ordered]
 *   cold: members varint {id 16, created u64, identifier str}… strongest first ·
 *         stamps varint {time i64, source str, message id str}… ordered ·
 *         traits varint {name str, provenance u8 (and 0x80: with origin), stamp varint, value str, [origin str]}… ordered by
 *         name, then class ·
 *         [{tag u8, length u32, bytes}…: what few rows have, ordered by tag; 1: consents (core/profile/consent_row.h)]
 *
 * Equal rows have equal bytes, whatever the order in which their content came. */
#pragma once

#include "base/arena.h"
#include "profile/consent.h"
#include "profile/people.h"

#define ROW_DECIDED_MAX    8   /* link decisions remembered in the row */
#define ROW_IDENTIFIER_MAX 336 /* "namespace:value": 64 + 1 + 255, rounded up */
#define ROW_NAMESPACE_MAX  64
#define TRAIT_NAME_MAX     255
#define TRAIT_VALUE_MAX    8192      /* JSON text of one value; longer is refused and counted */
#define ROW_TIME_NONE      INT64_MIN /* last seen: only inactive events so far */

/* When, by whom and in which message a value was told: shared by all traits of one event. */
struct stamp {
	int64_t time;
	struct str source, message_id;
	uint32_t index; /* scratch of the encoder */
};

struct row_trait {
	struct str name, value; /* value: JSON text */
	struct str origin;      /* core/profile/origin.h; empty: none */
	struct stamp *stamp;
	enum provenance provenance;
};

struct row_feature {
	uint64_t key;   /* of feature, type, state version and the position it counts from */
	uint8_t *state; /* not aligned unless `room` */
	uint32_t len;
	uint32_t room; /* bytes that may be written at `state`; 0: borrowed, copy before writing */
};

struct row_member {
	struct fragment_id id;
	uint64_t created_seq;
	struct str identifier;
};

struct row_decided { /* a link attempt whose verdict stands in `links` */
	struct fragment_id other;
	uint8_t rule;
};

struct row {
	struct fragment_id id;
	bool is_merged;
	bool has_merged;      /* a fragment's: its profile has a merged row beside this one */
	bool has_cuts;        /* it (or a member of the merged row) was unmerged from somebody: look into `links` */
	bool is_cold_decoded; /* members and traits are filled in; else `cold` holds their bytes */
	struct str cold;      /* the cold section as stored; meaningful until a trait or member changes */
	bool is_cold_changed;
	struct str identifier; /* "namespace:value"; empty in a merged row */
	uint64_t created_seq;
	int64_t first_seen, last_seen;
	uint64_t event_count, chain_head;
	struct fragment_id profile; /* strongest fragment of the component */
	uint64_t refused_traits;
	uint64_t attempt_count; /* link attempts kept under this fragment, and those over the cap */
	uint64_t attempt_overflow;
	/* Of the row that shows a profile: when time alone may change its segments (0: never), and their keys, ordered. */
	int64_t due;
	uint64_t *segments;
	size_t segment_count;
	bool is_made;                 /* not read from the store: what it says of segments is not what is stored */
	uint64_t touched_features[4]; /* indexes in the plan that the event at hand added to */
	uint64_t decided_version;     /* identity rules the decisions were made by */
	uint8_t decided_count;
	struct row_decided decided[ROW_DECIDED_MAX];
	struct row_feature *features; /* ordered by key */
	size_t feature_count, feature_room;
	struct row_member *members; /* merged rows: strongest first */
	size_t member_count;
	struct row_trait *traits; /* ordered by name, then class */
	size_t trait_count, trait_room;
	size_t trait_bytes;           /* what the traits take, encoded (from above) */
	struct consent_list consents; /* cold */
};

void row_init(struct row *row, const struct fragment_id *id, bool is_merged);

/* Both borrow `bytes`; arrays live in the arena. ERR_CORRUPT, ERR_NOMEM. */
MUST_USE int row_decode_hot(struct str bytes, struct arena *arena, const struct fragment_id *id, bool is_merged,
			    struct row *out);
MUST_USE int row_decode_cold(struct str bytes, struct arena *arena, struct row *row);

/* Upper bounds of the encoded sections, and the encoders, which return the length. */
size_t row_hot_max(const struct row *row);
size_t row_cold_max(const struct row *row);
size_t row_encode_hot(const struct row *row, uint8_t *out);
MUST_USE int row_encode_cold(const struct row *row, struct arena *scratch, uint8_t *out, size_t *len);

bool row_has_decided(const struct row *row, const struct fragment_id *other, uint8_t rule);
void row_remember_decided(struct row *row, const struct fragment_id *other, uint8_t rule); /* the oldest gives way */

/* What row `from` adds to merged row `into`: times, counts, refusals. Traits and features have their own rooms. */
void row_merge_counts(struct row *into, const struct row *from);

static inline bool fragment_id_eq(const struct fragment_id *a, const struct fragment_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
struct str identifier_namespace(struct str identifier); /* the part before the first ':' */
struct str identifier_value(struct str identifier);
