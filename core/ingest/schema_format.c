#include "ingest/schema_format.h"

#include "base/clock.h"

#define EMAIL_MAX 254

static bool are_digits(struct str text, size_t at, size_t count)
{
	for (size_t i = at; i < at + count; i++)
		if (i >= text.len || text.ptr[i] < '0' || text.ptr[i] > '9') return false;
	return true;
}

/* "2026-11-21", a day that exists. */
static bool is_date(struct str text)
{
	int64_t us;
	int16_t offset;
	char whole[] = "0000-00-00T00:00:00Z";
	bool has_shape = text.len == 10 && are_digits(text, 0, 4) && text.ptr[4] == '-' && are_digits(text, 5, 2) &&
			 text.ptr[7] == '-' && are_digits(text, 8, 2);
	if (!has_shape) return false;
	memcpy(whole, text.ptr, text.len);
	return clock_parse(str_from(whole), &us, &offset) == OK;
}

/* RFC 3339: the day, T, the time to the second or finer, and an offset. */
static bool is_date_time(struct str text)
{
	int64_t us;
	int16_t offset;
	if (text.len < 20 || !is_date(str_of(text.ptr, 10))) return false;
	bool has_shape = (text.ptr[10] == 'T' || text.ptr[10] == 't') && are_digits(text, 11, 2) &&
			 text.ptr[13] == ':' && are_digits(text, 14, 2) && text.ptr[16] == ':' &&
			 are_digits(text, 17, 2);
	char last = text.ptr[text.len - 1];
	bool has_offset = last == 'Z' || last == 'z' ||
			  (text.len >= 25 && text.ptr[text.len - 3] == ':' &&
			   (text.ptr[text.len - 6] == '+' || text.ptr[text.len - 6] == '-'));
	char upper[40];
	if (!has_shape || !has_offset || text.len >= sizeof upper) return false;
	memcpy(upper, text.ptr, text.len);
	upper[10] = 'T';
	if (last == 'z') upper[text.len - 1] = 'Z';
	return clock_parse(str_of(upper, text.len), &us, &offset) == OK;
}

static bool has_space(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((uint8_t)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f) return true;
	return false;
}

/* One @ with something before it, and a host with an inner dot behind it. */
static bool is_email(struct str text)
{
	const char *at = memchr(text.ptr, '@', text.len);
	if (!at || at == text.ptr || text.len > EMAIL_MAX || has_space(text)) return false;
	struct str host = str_of(at + 1, text.len - (size_t)(at + 1 - text.ptr));
	if (host.len < 3 || memchr(host.ptr, '@', host.len) || memmem(host.ptr, host.len, "..", 2)) return false;
	bool is_inner = host.ptr[0] != '.' && host.ptr[host.len - 1] != '.';
	return is_inner && memchr(host.ptr, '.', host.len);
}

/* A scheme, a colon and something behind it. */
static bool is_uri(struct str text)
{
	size_t i = 0;
	for (; i < text.len && text.ptr[i] != ':'; i++) {
		char c = text.ptr[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool is_other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
		if (!is_letter && (i == 0 || !is_other)) return false;
	}
	return i > 0 && i + 1 < text.len && !has_space(text);
}

bool schema_format_is(enum schema_format format, struct str text)
{
	switch (format) {
	case FORMAT_NONE: return true;
	case FORMAT_DATE_TIME: return is_date_time(text);
	case FORMAT_DATE: return is_date(text);
	case FORMAT_EMAIL: return is_email(text);
	case FORMAT_URI: return is_uri(text);
	}
	return true;
}
