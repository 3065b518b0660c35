/* head: what every protocol makes of a request's head, and the refusal it may end in.
 *
 * Texts are offsets into the bytes the head was read from, so that those bytes may move while a body
 * is still arriving. Plain data. */
#pragma once

#include "base/problem.h"

#define HEAD_LINE_MAX   ((size_t)8 * 1024)  /* request line: 414 */
#define HEAD_BYTES_MAX  ((size_t)16 * 1024) /* whole block, CRLFs included: 431 */
#define HEAD_FIELDS_MAX 64                  /* 431 */

struct text_ref {
	uint32_t off, len;
};

static inline struct str text_at(const char *base, struct text_ref ref)
{
	return (struct str){base + ref.off, ref.len};
}

struct head_field {
	struct text_ref name, value;
};

/* Fields with a meaning to the server; others are found by name. */
enum head_known {
	HEAD_HOST,
	HEAD_CONTENT_LENGTH,
	HEAD_TRANSFER_ENCODING,
	HEAD_CONNECTION,
	HEAD_EXPECT,
	HEAD_CONTENT_ENCODING,
	HEAD_ORIGIN,
	HEAD_KNOWN_COUNT
};

struct head {
	unsigned method; /* enum http_method */
	uint8_t minor;   /* HTTP/1.minor */
	bool is_chunked;
	bool has_length;
	bool wants_close;      /* Connection: close */
	bool wants_keep_alive; /* Connection: keep-alive */
	bool wants_continue;   /* Expect: 100-continue */
	bool has_other_expect; /* Expect: anything else: 417 */
	uint64_t content_length;
	struct text_ref path, query;
	uint8_t known[HEAD_KNOWN_COUNT]; /* index of the first such field plus one; 0: absent */
	uint32_t field_count;
	struct head_field fields[HEAD_FIELDS_MAX];
};

/* The first field of that name, compared without case; false when absent. */
bool head_find(const struct head *head, const char *base, struct str name, struct str *value);
/* A known field's value, empty when absent. */
struct str head_value(const struct head *head, const char *base, enum head_known known);
unsigned head_method(struct str name); /* enum http_method; HTTP_OTHER when it is none that routes know */
/* Which of enum head_known the field is, or -1. */
int head_known_field(struct str name);
