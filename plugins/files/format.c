/* NDJSON, and CSV by RFC 4180. */
#include "files.h"

static void add_member(struct bytes *out, const char *name, struct cdpd_str value)
{
	bytes_text(out, name);
	bytes_add(out, value.ptr, value.len);
	bytes_text(out, "\"");
}

/* The record's object with three members more: it ends in '}', and the values are plain ASCII by the host's word. */
static bool ndjson_record(const struct files *self, const struct cdpd_record *record, struct bytes *out)
{
	struct cdpd_str json = record->json;
	(void)self;
	if (json.len < 2 || json.ptr[json.len - 1] != '}' || memchr(json.ptr, '\n', json.len)) return false;
	bytes_add(out, json.ptr, json.len - 1);
	if (json.len > 2) bytes_text(out, ",");
	add_member(out, "\"position\":\"", record->position);
	add_member(out, ",\"profileId\":\"", record->profile_id);
	add_member(out, ",\"deliveryId\":\"", record->delivery_id);
	bytes_text(out, "}\n");
	return true;
}

const struct format format_ndjson = {.name = "ndjson", .record = ndjson_record};

/* What stands from `from` on becomes a field. */
static void quote(struct bytes *out, size_t from)
{
	size_t len = out->len - from, quotes = 0;
	bool needs = false;
	for (size_t i = from; i < out->len; i++) {
		char c = out->ptr[i];
		quotes += c == '"';
		needs |= c == '"' || c == ',' || c == '\r' || c == '\n';
	}
	if (!needs) return;
	for (size_t i = 0; i < quotes + 2; i++) bytes_text(out, "\"");
	if (out->has_failed) return;
	char *start = out->ptr + from, *to = out->ptr + out->len;
	*--to = '"';
	for (size_t i = len; i-- > 0;) {
		*--to = start[i];
		if (start[i] == '"') *--to = '"';
	}
	*--to = '"';
}

static void csv_header(const struct files *self, struct bytes *out)
{
	for (size_t i = 0; i < self->column_count; i++) {
		if (i) bytes_text(out, ",");
		size_t from = out->len;
		bytes_text(out, self->columns[i].name);
		quote(out, from);
	}
	bytes_text(out, "\r\n");
}

static bool csv_record(const struct files *self, const struct cdpd_record *record, struct bytes *out)
{
	for (size_t i = 0; i < self->column_count; i++) {
		if (i) bytes_text(out, ",");
		size_t from = out->len;
		(void)column_value(&self->columns[i], record, out);
		quote(out, from);
	}
	bytes_text(out, "\r\n");
	return true;
}

const struct format format_csv = {.name = "csv", .header = csv_header, .record = csv_record};
