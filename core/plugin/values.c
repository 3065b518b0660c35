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
	size_t low = 0, high = values->count;
	if (high && path_cmp(values->items[high - 1].path, path) < 0) return high; /* most are set in order */
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (path_cmp(values->items[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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

static int write_value(struct buf *out, const struct enrich_value *value)
{
	switch (value->kind) {
	case CDPD_VALUE_STRING: return json_write_str(out, value->text);
	case CDPD_VALUE_NUMBER: return json_write_double(out, value->number);
	case CDPD_VALUE_BOOL: return buf_append_str(out, value->number != 0 ? STR("true") : STR("false"));
	case CDPD_VALUE_JSON: return buf_append_str(out, value->text);
	case CDPD_VALUE_NONE: break;
	}
	return buf_append_str(out, STR("null"));
}

/* How far `path` goes down the objects that are open below `open`: the bytes both share up to a dot. */
static size_t shared(struct str open, struct str path)
{
	size_t len = 0;
	for (size_t i = 0; i < open.len && i < path.len && open.ptr[i] == path.ptr[i]; i++) {
		if (path.ptr[i] == '.') len = i + 1;
	}
	return len;
}

static int close_objects(struct buf *out, const char *from, const char *end)
{
	int rc = OK;
	for (; from < end && rc == OK; from++) {
		if (*from == '.') rc = buf_putc(out, '}');
	}
	return rc;
}

/* The keys of `path` from `at` on, each with its object but the last. */
static int write_keys(struct buf *out, struct str path, size_t at)
{
	for (int rc;;) {
		const char *start = path.ptr + at, *dot = memchr(start, '.', path.len - at);
		size_t len = dot ? (size_t)(dot - start) : path.len - at;
		if ((rc = json_write_str(out, str_of(start, len)))) return rc;
		if ((rc = buf_append(out, ":{", dot ? 2 : 1)) || !dot) return rc;
		at += len + 1;
	}
}

int enrich_values_write(const struct enrich_values *values, struct buf *out)
{
	struct str open = STR_NONE; /* the path before: its objects are open */
	int rc = buf_putc(out, '{');
	for (size_t i = 0; i < values->count && rc == OK; i++) {
		struct str path = values->items[i].path;
		size_t same = shared(open, path);
		rc = close_objects(out, open.ptr + same, open.ptr + open.len);
		if (rc == OK && i) rc = buf_putc(out, ',');
		if (rc == OK) rc = write_keys(out, path, same);
		if (rc == OK) rc = write_value(out, &values->items[i]);
		open = path;
	}
	if (rc == OK) rc = close_objects(out, open.ptr, open.ptr + open.len);
	return rc == OK ? buf_putc(out, '}') : rc;
}
