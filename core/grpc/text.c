#include "grpc/text.h"

#include "base/clock.h"
#include "base/encode.h"

enum grpc_content grpc_content_type(struct str value)
{
	const struct str grpc = STR("application/grpc"), web = STR("application/grpc-web"), proto = STR("+proto");
	if (value.len >= web.len && str_eq_nocase(str_of(value.ptr, web.len), web)) return GRPC_CONTENT_WEB;
	if (value.len < grpc.len || !str_eq_nocase(str_of(value.ptr, grpc.len), grpc)) return GRPC_CONTENT_OTHER;
	struct str rest = str_of(value.ptr + grpc.len, value.len - grpc.len);
	const char *parameters = memchr(rest.ptr, ';', rest.len);
	if (parameters) rest.len = (size_t)(parameters - rest.ptr);
	rest = str_trim(rest);
	return rest.len == 0 || str_eq_nocase(rest, proto) ? GRPC_CONTENT_OK : GRPC_CONTENT_OTHER;
}

bool grpc_list_has(struct str list, struct str name)
{
	while (list.len) {
		const char *comma = memchr(list.ptr, ',', list.len);
		size_t len = comma ? (size_t)(comma - list.ptr) : list.len;
		if (str_eq_nocase(str_trim(str_of(list.ptr, len)), name)) return true;
		len += comma ? 1 : 0;
		list = str_of(list.ptr + len, list.len - len);
	}
	return false;
}

bool grpc_te_has_trailers(struct str value)
{
	return grpc_list_has(value, STR("trailers"));
}

int grpc_timeout_parse(struct str value, int64_t *us)
{
	static const struct {
		char unit;
		int64_t ns;
	} units[] = {{'H', 3600 * INT64_C(1000000000)},
		     {'M', 60 * INT64_C(1000000000)},
		     {'S', INT64_C(1000000000)},
		     {'m', INT64_C(1000000)},
		     {'u', INT64_C(1000)},
		     {'n', 1}};
	uint64_t count;
	if (value.len < 2 || value.len > 9) return ERR_INVALID;
	if (str_to_u64(str_of(value.ptr, value.len - 1), &count) != OK) return ERR_INVALID;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (units[i].unit != value.ptr[value.len - 1]) continue;
		*us = units[i].ns >= 1000 ? (int64_t)count * (units[i].ns / 1000) : ((int64_t)count + 999) / 1000;
		return OK;
	}
	return ERR_INVALID;
}

/* No more than max bytes, and no half character at the end where the text is UTF-8. */
static struct str cut(struct str text, size_t max)
{
	if (text.len <= max) return text;
	size_t len = max;
	while (len > 0 && max - len < 4 && ((uint8_t)text.ptr[len] & 0xc0) == 0x80) len--;
	return str_of(text.ptr, len);
}

int grpc_message_encode(struct arena *arena, struct str text, size_t max, struct str *out)
{
	static const char digits[] = "0123456789ABCDEF";
	text = cut(text, max);
	char *bytes = arena_alloc(arena, 3 * text.len + 1);
	if (!bytes) return ERR_NOMEM;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = (uint8_t)text.ptr[i];
		if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
			bytes[len++] = (char)byte;
			continue;
		}
		bytes[len++] = '%';
		bytes[len++] = digits[byte >> 4];
		bytes[len++] = digits[byte & 15];
	}
	*out = str_of(bytes, len);
	return OK;
}
