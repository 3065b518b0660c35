/* json: strict RFC 8259 reading behind a C face (simdjson's DOM, one parser per reader).
 *
 * A document lives in its reader until the next parse; values and strings borrow from it.
 * Depth is at most JSON_MAX_DEPTH (an empty array or object adds none). UTF-8 is checked; a \u escape
 * of a lone surrogate reads as U+FFFD. Numbers that fit neither int64, uint64 nor a finite double make
 * the document invalid. Duplicate keys are kept; json_get finds the first. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#define JSON_MAX_DEPTH 64

struct json_reader;
enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_UINT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A value inside a document: plain data, copy freely. */
struct json {
	const void *doc;
	size_t index;
};

MUST_USE int json_reader_new(struct json_reader **out);
void json_reader_free(struct json_reader *reader);
/* Gives back memory that an unusually large document left behind. */
void json_reader_trim(struct json_reader *reader, size_t keep_bytes);

/* `text` must be followed by BUF_SLACK readable bytes. OK; ERR_INVALID with *why a static phrase
 * ("invalid UTF-8", "number out of range", "nested too deeply", …); ERR_NOMEM. */
MUST_USE int json_parse(struct json_reader *reader, struct str text, struct json *root, const char **why);

/* For a document that does not parse whole: the source text of each element of the array at
 * root key `key` (or of the root array when key is empty), found by bracket and string structure only,
 * so that one bad element does not cost its neighbours. ERR_INVALID when the structure itself is broken.
 * `fn` returning non-zero stops. */
MUST_USE int json_split_array(struct str text, struct str key, int (*fn)(void *ctx, struct str element), void *ctx);

enum json_type json_type(struct json value);
bool json_get(struct json object, struct str key, struct json *out); /* false: absent or not an object */
/* "a.b.c" one object level per step; false when any step is absent. */
bool json_get_path(struct json object, struct str path, struct json *out);
/* The string's text (borrowed); false when not a string. */
bool json_str(struct json value, struct str *out);
bool json_bool(struct json value, bool *out);
bool json_int(struct json value, int64_t *out);   /* integers that fit only */
bool json_double(struct json value, double *out); /* any number */
size_t json_count(struct json container);         /* members or elements */

struct json_iter {
	struct json at;
	size_t end;
};
/* for (json_iter_start(v, &it); json_next_member(&it, &key, &value); ) */
void json_iter_start(struct json container, struct json_iter *it);
bool json_next_member(struct json_iter *it, struct str *key, struct json *value);
bool json_next_element(struct json_iter *it, struct json *value);

/* ── writing ─────────────────────────────────────────────────────────────── */

/* Appends the value as minified JSON, members in their own order. */
MUST_USE int json_write(struct buf *out, struct json value);
/* The same with object keys sorted by bytes (equal keys: later wins) and numbers in one spelling:
 * equal values give equal bytes. */
MUST_USE int json_write_canonical(struct buf *out, struct json value);
MUST_USE int json_write_str(struct buf *out, struct str text); /* quoted and escaped; invalid UTF-8 → U+FFFD */
/* Is it ASCII with nothing to escape? May say no of a text that is (near '"' and '\\'). */
bool json_is_plain(struct str text);
MUST_USE int json_write_double(struct buf *out, double value); /* shortest that reads back equal; not finite → null */

/* A small sticky-error writer for objects we make: commas and colons by themselves. */
struct json_out {
	struct buf *buf;
	int status; /* sticky: the first error */
	bool need_comma;
};
void json_out_init(struct json_out *out, struct buf *buf);
void jo_object(struct json_out *out);
void jo_end_object(struct json_out *out);
void jo_array(struct json_out *out);
void jo_end_array(struct json_out *out);
void jo_key(struct json_out *out, struct str key);
void jo_str(struct json_out *out, struct str value);
void jo_int(struct json_out *out, int64_t value);
void jo_uint(struct json_out *out, uint64_t value);
void jo_double(struct json_out *out, double value);
void jo_bool(struct json_out *out, bool value);
void jo_null(struct json_out *out);
void jo_time(struct json_out *out, int64_t us);     /* as clock_format, quoted */
void jo_raw(struct json_out *out, struct str json); /* text that already is JSON */
