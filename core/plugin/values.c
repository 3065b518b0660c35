#include "plugin/internal.h"

/* Byte order with '.' before every other byte, so that a path stands right before what is below it. */
static int path_cmp(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	for (size_t i = 0; i < len; i++) {
		unsigned ca = a.ptr[i] == '.' ? 0 : (unsigned char)a.ptr[i],
			 cb = b.ptr[i] == '.' ? 0 : (unsigned char)b.ptr[i];
		if (ca != cb) return ca < cb ? -1 : 1;
	}
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* The first item not before `path`. */
static size_t lower_bound(const struct enrich_values *values, struct str path)
{
	size_t at = 0;
	while (at < values->count && path_cmp(values->items[at].path, path) < 0) at++;
	return at;
}

const struct enrich_value *enrich_values_get(const struct enrich_values *values, struct str path)
{
	size_t at = lower_bound(values, path);
	return at < values->count && str_eq(values->items[at].path, path) ? &values->items[at] : NULL;
}

static size_t bytes_of(const struct enrich_value *value)
{
	return value->path.len + value->text.len + 8;
}

int enrich_values_set(struct enrich_values *values, const struct enrich_value *value)
{
	size_t at = lower_bound(values, value->path), bytes = values->bytes + bytes_of(value);
	bool is_there = at < values->count && str_eq(values->items[at].path, value->path);
	if (is_there) bytes -= bytes_of(&values->items[at]);
	if (bytes > ENRICH_BYTES_MAX || (!is_there && values->count == ENRICH_VALUES_MAX)) return ERR_TOO_LARGE;
	/* Neighbours are enough: values that are one below the other never get in together. */
	if (!is_there && at > 0 && plugin_path_is_under(value->path, values->items[at - 1].path)) return ERR_INVALID;
	if (!is_there && at < values->count && plugin_path_is_under(values->items[at].path, value->path))
		return ERR_INVALID;
	if (!is_there) {
		memmove(&values->items[at + 1], &values->items[at], (values->count - at) * sizeof values->items[0]);
		values->count++;
	}
	values->items[at] = *value;
	values->bytes = bytes;
	return OK;
}

static void write_value(struct json_out *out, const struct enrich_value *value)
{
	switch (value->kind) {
	case CDPD_VALUE_STRING: jo_str(out, value->text); break;
	case CDPD_VALUE_NUMBER: jo_double(out, value->number); break;
	case CDPD_VALUE_BOOL: jo_bool(out, value->number != 0); break;
	case CDPD_VALUE_JSON: jo_raw(out, value->text); break;
	case CDPD_VALUE_NONE: jo_null(out); break;
	}
}

static size_t steps_of(struct str path, struct str steps[PLUGIN_STEPS_MAX])
{
	size_t count = 0, start = 0;
	for (size_t i = 0; i <= path.len && count < PLUGIN_STEPS_MAX; i++) {
		if (i < path.len && path.ptr[i] != '.') continue;
		steps[count++] = str_of(path.ptr + start, i - start);
		start = i + 1;
	}
	return count;
}

int enrich_values_write(const struct enrich_values *values, struct buf *buf)
{
	struct json_out out;
	struct str open[PLUGIN_STEPS_MAX], steps[PLUGIN_STEPS_MAX];
	size_t depth = 0; /* objects open below the outermost */
	json_out_init(&out, buf);
	jo_object(&out);
	for (size_t i = 0; i < values->count; i++) {
		size_t count = steps_of(values->items[i].path, steps), same = 0;
		while (same < depth && same + 1 < count && str_eq(open[same], steps[same])) same++;
		for (; depth > same; depth--) jo_end_object(&out);
		for (; depth + 1 < count; depth++) {
			jo_key(&out, steps[depth]);
			jo_object(&out);
			open[depth] = steps[depth];
		}
		jo_key(&out, steps[count - 1]);
		write_value(&out, &values->items[i]);
	}
	for (; depth > 0; depth--) jo_end_object(&out);
	jo_end_object(&out);
	return out.status;
}
