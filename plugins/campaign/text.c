#include "text.h"

#include <string.h>

char text_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool text_is_key(struct cdpd_str key, const char *name)
{
	if (key.len != strlen(name)) return false;
	for (size_t i = 0; i < key.len; i++) {
		if (text_lower(key.ptr[i]) != name[i]) return false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c = text_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void text_decode(struct cdpd_str raw, struct text *out)
{
	out->len = 0;
	out->is_cut = false;
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
		if (c == '%' && raw.len - i > 2 && hex_digit(raw.ptr[i + 1]) >= 0 && hex_digit(raw.ptr[i + 2]) >= 0) {
			c = (char)(hex_digit(raw.ptr[i + 1]) * 16 + hex_digit(raw.ptr[i + 2]));
			i += 2;
		}
		if (out->len == TEXT_MAX) {
			out->is_cut = true;
			return;
		}
		out->bytes[out->len++] = c;
	}
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no surrogates, no overlong forms) or a control character. */
static size_t sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80) return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
	size_t len = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
		     : (p[0] & 0xf0) == 0xe0        ? 3
		     : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						    : 0;
	if (len == 0 || len > left) return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
	if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
	return len;
}

bool text_check(struct text *text, size_t max)
{
	size_t at = 0;
	while (at < text->len) {
		size_t len = sequence((const unsigned char *)text->bytes + at, text->len - at);
		if (len == 0 && !(text->is_cut && text->len - at < 4)) return false;
		if (len == 0 || at + len > max) break;
		at += len;
	}
	text->is_cut = text->is_cut || at < text->len;
	text->len = at;
	return at > 0;
}
