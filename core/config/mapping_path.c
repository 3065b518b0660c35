/* "properties.products[0].sku", "item.sku", "traits.\"first.name\"" of a mapping. */
#include "config/mapping_path.h"

static bool is_name_end(char c)
{
	return c == '.' || c == '[';
}

static struct str take_name(struct str *rest)
{
	size_t len = 0;
	if (rest->len && rest->ptr[0] == '"') {
		const char *end = memchr(rest->ptr + 1, '"', rest->len - 1);
		if (!end) return STR_NONE;
		struct str name = str_of(rest->ptr + 1, (size_t)(end - rest->ptr - 1));
		*rest = str_of(end + 1, rest->len - name.len - 2);
		return name;
	}
	while (len < rest->len && !is_name_end(rest->ptr[len])) len++;
	struct str name = str_of(rest->ptr, len);
	*rest = str_of(rest->ptr + len, rest->len - len);
	return name;
}

/* "[12]", "[-1]"; at most five digits. */
static bool take_index(struct str *rest, int32_t *out)
{
	size_t at = 1;
	bool is_negative = at < rest->len && rest->ptr[at] == '-';
	int32_t value = 0;
	size_t digits = at += is_negative;
	for (; at < rest->len && rest->ptr[at] >= '0' && rest->ptr[at] <= '9' && at - digits < 5; at++)
		value = value * 10 + (rest->ptr[at] - '0');
	if (at == digits || at >= rest->len || rest->ptr[at] != ']') return false;
	*rest = str_of(rest->ptr + at + 1, rest->len - at - 1);
	*out = is_negative ? -value : value;
	return !is_negative || value > 0;
}

const char *mapping_path_read(struct str text, struct mapping_path *out)
{
	struct str rest = text;
	*out = (struct mapping_path){.text = text};
	if (text.len == 0 || text.len > 255) return "must be a path of 1 to 255 bytes";
	while (rest.len) {
		if (out->count == MAPPING_STEPS_MAX) return "has more than 12 steps";
		struct mapping_step *step = &out->steps[out->count++];
		if (rest.ptr[0] == '[') {
			if (out->count == 1 || !take_index(&rest, &step->index))
				return "has a bad index: [0] is the first, [-1] the last";
			step->name = STR_NONE;
		} else {
			step->name = take_name(&rest);
			if (step->name.len == 0) return "has an empty name in it";
		}
		if (rest.len == 0) break;
		if (rest.ptr[0] == '.') {
			rest = str_of(rest.ptr + 1, rest.len - 1);
			if (rest.len == 0 || rest.ptr[0] == '[') return "has a dot with no name behind it";
		} else if (rest.ptr[0] != '[') {
			return "wants a dot between two names";
		}
	}
	return NULL;
}
