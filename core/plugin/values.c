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

/* A piece of the output: room was reserved for all of it, so that bytes are just put. */
struct piece {
	struct buf *buf;
	char *start, *at;
	size_t room; /* of the whole, at most */
	int status;
};

static void begin(struct piece *piece)
{
	if (piece->status == OK) piece->status = buf_reserve(piece->buf, piece->room, &piece->start);
	if (piece->status != OK) return;
	piece->at = piece->start;
}

static void end(struct piece *piece)
{
	if (piece->status == OK) buf_commit(piece->buf, (size_t)(piece->at - piece->start));
}

static void put(struct piece *piece, struct str text)
{
	memcpy(piece->at, text.ptr, text.len);
	piece->at += text.len;
}

/* What has to be escaped, and numbers, go the long way. */
static void put_otherwise(struct piece *piece, const struct enrich_value *value, struct str text)
{
	end(piece);
	if (piece->status == OK) {
		piece->status = value ? json_write_double(piece->buf, value->number) : json_write_str(piece->buf, text);
	}
	begin(piece);
}

static void put_text(struct piece *piece, struct str text)
{
	if (!json_is_plain(text)) {
		put_otherwise(piece, NULL, text);
		return;
	}
	*piece->at++ = '"';
	put(piece, text);
	*piece->at++ = '"';
}

static void put_value(struct piece *piece, const struct enrich_value *value)
{
	switch (value->kind) {
	case CDPD_VALUE_STRING: put_text(piece, value->text); break;
	case CDPD_VALUE_NUMBER: put_otherwise(piece, value, STR_NONE); break;
	case CDPD_VALUE_BOOL: put(piece, value->number != 0 ? STR("true") : STR("false")); break;
	case CDPD_VALUE_JSON: put(piece, value->text); break;
	case CDPD_VALUE_NONE: put(piece, STR("null")); break;
	}
}

/* How far `path` goes down the objects that are open for `open`: the bytes both share up to a dot. */
static size_t shared(struct str open, struct str path)
{
	size_t len = 0;
	for (size_t i = 0; i < open.len && i < path.len && open.ptr[i] == path.ptr[i]; i++) {
		if (path.ptr[i] == '.') len = i + 1;
	}
	return len;
}

static void close_objects(struct piece *piece, struct str open, size_t from)
{
	for (; from < open.len; from++) {
		if (open.ptr[from] == '.') *piece->at++ = '}';
	}
}

/* The keys of `path` from `at` on, each with its object but the last. */
static void put_keys(struct piece *piece, struct str path, size_t at)
{
	for (const char *dot = ""; dot && piece->status == OK;) {
		const char *start = path.ptr + at;
		dot = memchr(start, '.', path.len - at);
		size_t len = dot ? (size_t)(dot - start) : path.len - at;
		put_text(piece, str_of(start, len));
		if (piece->status == OK) put(piece, dot ? STR(":{") : STR(":"));
		at += len + 1;
	}
}

int enrich_values_write(const struct enrich_values *values, struct buf *buf)
{
	/* Beside texts and paths: quotes, a colon, a brace and a comma each step, a brace to close it. */
	struct piece piece = {.buf = buf, .room = values->bytes + values->count * (PLUGIN_STEPS_MAX * 6 + 16) + 16};
	struct str open = STR_NONE; /* the path before: its objects are open */
	begin(&piece);
	if (piece.status == OK) *piece.at++ = '{';
	for (size_t i = 0; i < values->count && piece.status == OK; i++) {
		struct str path = values->items[i].path;
		size_t same = shared(open, path);
		close_objects(&piece, open, same);
		if (i) *piece.at++ = ',';
		put_keys(&piece, path, same);
		if (piece.status == OK) put_value(&piece, &values->items[i]);
		open = path;
	}
	if (piece.status == OK) {
		close_objects(&piece, open, 0);
		*piece.at++ = '}';
	}
	end(&piece);
	return piece.status;
}
