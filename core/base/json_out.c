#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"

/* 0: as it is; else the letter after the backslash, 'u' for \u00XX; 1: not ASCII, needs a look at its sequence. */
static char escape_of(uint8_t c)
{
	if (c >= 0x80) return 1;
	if (c >= 0x20) return c == '"' || c == '\\' ? (char)c : 0;
	switch (c) {
	case '\b': return 'b';
	case '\f': return 'f';
	case '\n': return 'n';
	case '\r': return 'r';
	case '\t': return 't';
	default: return 'u';
	}
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Does any of the eight bytes need a look: control, quote, backslash or not ASCII? The subtraction borrows into the
 * top bit of a byte that is smaller; a borrow from a lower byte only ever adds false alarms. */
static bool has_special(uint64_t eight)
{
	uint64_t is_control = eight - EACH_BYTE(0x20);
	uint64_t is_quote = (eight ^ EACH_BYTE('"')) - EACH_BYTE(1);
	uint64_t is_backslash = (eight ^ EACH_BYTE('\\')) - EACH_BYTE(1);
	return ((is_control | is_quote | is_backslash | eight) & EACH_BYTE(0x80)) != 0;
}

bool json_is_plain(struct str text)
{
	uint64_t eight = EACH_BYTE(' ');
	size_t i = 0;
	if (text.len < sizeof eight) {
		char *to = (char *)&eight;
		for (; i < text.len; i++) to[i] = text.ptr[i];
		return !has_special(eight);
	}
	for (; i + sizeof eight < text.len; i += sizeof eight) {
		memcpy(&eight, text.ptr + i, sizeof eight);
		if (has_special(eight)) return false;
	}
	memcpy(&eight, text.ptr + text.len - sizeof eight, sizeof eight); /* the last eight, some of them again */
	return !has_special(eight);
}

/* Bytes from `at` on that go out as they are. */
static size_t plain_run(struct str text, size_t at)
{
	size_t i = at;
	uint64_t eight;
	while (i < text.len) {
		/* The last few bytes are looked at with those before them. */
		size_t from = text.len - i >= sizeof eight || i < at + sizeof eight ? i : text.len - sizeof eight;
		if (text.len - from >= sizeof eight) {
			memcpy(&eight, text.ptr + from, sizeof eight);
			if (!has_special(eight)) {
				i = from + sizeof eight;
				continue;
			}
		}
		uint8_t c = (uint8_t)text.ptr[i];
		size_t len = c >= 0x80 ? utf8_sequence(text.ptr + i, text.len - i) : escape_of(c) == 0;
		if (len == 0) break;
		i += len;
	}
	return i - at;
}

static int write_escape(struct buf *out, uint8_t c)
{
	char letter = escape_of(c);
	if (letter == 1) return buf_append(out, "\xef\xbf\xbd", 3);
	if (letter == 'u') return buf_printf(out, "\\u%04x", (unsigned)c);
	return buf_append(out, (char[]){'\\', letter}, 2);
}

/* Nearly every string: nothing to escape, one reservation. */
static int write_plain(struct buf *out, struct str text)
{
	char *tail;
	int rc = buf_reserve(out, text.len + 2, &tail);
	if (rc != OK) return rc;
	tail[0] = '"';
	memcpy(tail + 1, text.ptr, text.len);
	tail[1 + text.len] = '"';
	buf_commit(out, text.len + 2);
	return OK;
}

int json_write_str(struct buf *out, struct str text)
{
	if (json_is_plain(text)) return write_plain(out, text);
	size_t run = plain_run(text, 0);
	if (run == text.len) return write_plain(out, text);
	int rc = buf_putc(out, '"');
	if (rc == OK) rc = buf_append(out, text.ptr, run);
	for (size_t i = run; i < text.len && rc == OK; i += run) {
		rc = write_escape(out, (uint8_t)text.ptr[i++]);
		run = plain_run(text, i);
		if (rc == OK) rc = buf_append(out, text.ptr + i, run);
	}
	return rc == OK ? buf_putc(out, '"') : rc;
}

void json_out_init(struct json_out *out, struct buf *buf)
{
	*out = (struct json_out){.buf = buf, .status = OK};
}

static bool begin_value(struct json_out *out)
{
	if (out->status == OK && out->need_comma) out->status = buf_putc(out->buf, ',');
	out->need_comma = true;
	return out->status == OK;
}

static void open_container(struct json_out *out, char bracket)
{
	if (begin_value(out)) out->status = buf_putc(out->buf, bracket);
	out->need_comma = false;
}

static void close_container(struct json_out *out, char bracket)
{
	if (out->status == OK) out->status = buf_putc(out->buf, bracket);
	out->need_comma = true;
}

void jo_object(struct json_out *out)
{
	open_container(out, '{');
}

void jo_end_object(struct json_out *out)
{
	close_container(out, '}');
}

void jo_array(struct json_out *out)
{
	open_container(out, '[');
}

void jo_end_array(struct json_out *out)
{
	close_container(out, ']');
}

void jo_key(struct json_out *out, struct str key)
{
	jo_str(out, key);
	if (out->status == OK) out->status = buf_putc(out->buf, ':');
	out->need_comma = false;
}

void jo_str(struct json_out *out, struct str value)
{
	if (begin_value(out)) out->status = json_write_str(out->buf, value);
}

void jo_int(struct json_out *out, int64_t value)
{
	if (begin_value(out)) out->status = buf_printf(out->buf, "%" PRId64, value);
}

void jo_uint(struct json_out *out, uint64_t value)
{
	if (begin_value(out)) out->status = buf_printf(out->buf, "%" PRIu64, value);
}

void jo_double(struct json_out *out, double value)
{
	if (begin_value(out)) out->status = json_write_double(out->buf, value);
}

void jo_bool(struct json_out *out, bool value)
{
	jo_raw(out, value ? STR("true") : STR("false"));
}

void jo_null(struct json_out *out)
{
	jo_raw(out, STR("null"));
}

void jo_time(struct json_out *out, int64_t us)
{
	char text[CLOCK_TEXT_SIZE];
	size_t len = clock_format(us, text);
	jo_str(out, str_of(text, len));
}

void jo_raw(struct json_out *out, struct str json)
{
	if (begin_value(out)) out->status = buf_append_str(out->buf, json);
}
