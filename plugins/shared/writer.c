#include "writer.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256
#define HIDDEN_MIN 6 /* bytes: shorter ones are not secrets, and would hide words */

static bool make_room(struct writer *writer, size_t len)
{
	if (writer->is_short) return false;
	if (len <= writer->size - writer->len) return true;
	size_t size = writer->size ? writer->size : FIRST_SIZE;
	while (size - writer->len < len && size <= SIZE_MAX / 2) size *= 2;
	char *bigger = size - writer->len < len ? NULL : realloc(writer->ptr, size);
	if (!bigger) {
		writer->is_short = true;
		return false;
	}
	writer->ptr = bigger;
	writer->size = size;
	return true;
}

void writer_put(struct writer *writer, const void *bytes, size_t len)
{
	if (len == 0 || !make_room(writer, len)) return;
	memcpy(writer->ptr + writer->len, bytes, len);
	writer->len += len;
}

void writer_text(struct writer *writer, const char *text)
{
	writer_put(writer, text, strlen(text));
}

void writer_str(struct writer *writer, struct cdpd_str text)
{
	writer_put(writer, text.ptr, text.len);
}

static void put_escaped(struct writer *writer, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char shorts[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
	const char *found = c ? strchr(shorts, c) : NULL;
	if (found) {
		char text[2] = {'\\', letters[found - shorts]};
		writer_put(writer, text, sizeof text);
	} else {
		char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
		writer_put(writer, text, sizeof text);
	}
}

void writer_json(struct writer *writer, struct cdpd_str text)
{
	size_t plain = 0; /* begins the part that is not yet written */
	writer_put(writer, "\"", 1);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c >= 0x20 && c != '"' && c != '\\') continue;
		writer_put(writer, text.ptr + plain, i - plain);
		put_escaped(writer, c);
		plain = i + 1;
	}
	writer_put(writer, text.ptr + plain, text.len - plain);
	writer_put(writer, "\"", 1);
}

void writer_form(struct writer *writer, struct cdpd_str text)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				(c && strchr("-._~", c));
		char text_of[3] = {'%', hex[c >> 4], hex[c & 15]};
		writer_put(writer, is_plain ? (const char *)&text.ptr[i] : text_of, is_plain ? 1 : sizeof text_of);
	}
}

void writer_base64(struct writer *writer, struct cdpd_str text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)text.ptr;
	for (size_t i = 0; i < text.len; i += 3) {
		size_t left = text.len - i;
		unsigned bits = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) |
				(left > 2 ? (unsigned)in[i + 2] : 0);
		char out[4] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
			       left > 2 ? digits[bits & 63] : '='};
		writer_put(writer, out, sizeof out);
	}
}

void writer_clear(struct writer *writer)
{
	writer->len = 0;
	writer->is_short = false;
}

void writer_free(struct writer *writer)
{
	free(writer->ptr);
	*writer = (struct writer){0};
}

struct cdpd_str writer_get(const struct writer *writer)
{
	if (writer->is_short || writer->len == 0) return (struct cdpd_str){"", 0};
	return (struct cdpd_str){writer->ptr, writer->len};
}

void writer_hide(char *text, const char *secret)
{
	size_t len = secret ? strlen(secret) : 0;
	if (len < HIDDEN_MIN) return;
	for (char *at = text; (at = strstr(at, secret)) != NULL;) {
		memcpy(at, "***", 3);
		memmove(at + 3, at + len, strlen(at + len) + 1);
	}
}
