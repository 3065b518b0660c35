#include "body.h"

#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

#define GZIP_WINDOW 31 /* 15 bits, with gzip's header */
#define GZIP_LEVEL  4  /* JSON hardly gets smaller above it */
#define PIECE       16384

const char *body_type(enum body_format format)
{
	return format == BODY_LINES ? "application/x-ndjson" : "application/json";
}

void body_begin(struct writer *body, enum body_format format, struct cdpd_str id)
{
	if (format == BODY_ARRAY) writer_text(body, "[");
	if (format != BODY_OBJECT) return;
	writer_text(body, "{\"id\":");
	writer_json(body, id);
	writer_text(body, ",\"records\":[");
}

/* At the top of an object, which is sound: the host made it. */
static bool has_member(struct cdpd_str json, struct cdpd_str name)
{
	size_t depth = 0;
	for (size_t i = 0; i < json.len; i++) {
		char c = json.ptr[i];
		if (c == '{' || c == '[') depth++;
		if (c == '}' || c == ']') depth--;
		if (c != '"') continue;
		size_t start = ++i;
		while (i < json.len && json.ptr[i] != '"') i += json.ptr[i] == '\\' ? 2 : 1;
		bool is_name = depth == 1 && i + 1 < json.len && json.ptr[i + 1] == ':';
		if (is_name && i - start == name.len && memcmp(json.ptr + start, name.ptr, name.len) == 0) return true;
	}
	return false;
}

static void add_id(struct writer *body, const char *name, struct cdpd_str value, struct cdpd_str beside)
{
	if (has_member(beside, writer_of(name))) return;
	if (body->len && body->ptr[body->len - 1] != '{') writer_text(body, ",");
	writer_json(body, writer_of(name));
	writer_text(body, ":");
	writer_json(body, value);
}

/* beside: an object whose members they stand among; what it has itself stays, for nothing may be there twice. */
static void add_ids(struct writer *body, const struct cdpd_record *record, struct cdpd_str beside)
{
	add_id(body, "deliveryId", record->delivery_id, beside);
	add_id(body, "profileId", record->profile_id, beside);
	add_id(body, "position", record->position, beside);
}

void body_add(struct writer *body, enum body_format format, bool has_ids, const struct cdpd_record *record)
{
	struct cdpd_str json = record->json;
	bool is_first = body->len == 0 || body->ptr[body->len - 1] == '[';
	if ((format == BODY_ARRAY || format == BODY_OBJECT) && !is_first) writer_text(body, ",");
	if (format == BODY_OBJECT) {
		writer_text(body, "{");
		add_ids(body, record, (struct cdpd_str){"", 0});
		writer_text(body, ",\"record\":");
		writer_str(body, json);
		writer_text(body, "}");
	} else if (has_ids && json.len >= 2 && json.ptr[0] == '{' && json.ptr[json.len - 1] == '}') {
		writer_put(body, json.ptr, json.len - 1);
		add_ids(body, record, json);
		writer_text(body, "}");
	} else {
		writer_str(body, json);
	}
	if (format == BODY_LINES) writer_text(body, "\n");
}

void body_end(struct writer *body, enum body_format format)
{
	if (format == BODY_ARRAY) writer_text(body, "]");
	if (format == BODY_OBJECT) writer_text(body, "]}");
}

/* ── gzip ────────────────────────────────────────────────────────────────── */

struct body_gzip {
	z_stream stream;
};

struct body_gzip *body_gzip_new(void)
{
	struct body_gzip *gzip = calloc(1, sizeof *gzip);
	if (!gzip) return NULL;
	if (deflateInit2(&gzip->stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
		return gzip;
	free(gzip);
	return NULL;
}

void body_gzip_free(struct body_gzip *gzip)
{
	if (!gzip) return;
	(void)deflateEnd(&gzip->stream);
	free(gzip);
}

bool body_compress(struct body_gzip *gzip, struct cdpd_str body, struct writer *out)
{
	unsigned char piece[PIECE];
	z_stream *stream = &gzip->stream;
	int rc = deflateReset(stream);
	stream->next_in = (const unsigned char *)body.ptr;
	stream->avail_in = (unsigned)body.len; /* capped by max_bytes and the host's largest record */
	while (rc == Z_OK) {
		stream->next_out = piece;
		stream->avail_out = sizeof piece;
		rc = deflate(stream, Z_FINISH);
		writer_put(out, piece, sizeof piece - stream->avail_out);
	}
	if (rc != Z_STREAM_END) out->is_short = true;
	return !out->is_short;
}
