/* NDJSON, and CSV by RFC 4180. */
#include "../shared/records.h"
#include "files.h"

/* ── NDJSON ──────────────────────────────────────────────────────────────── */

static void add_member(struct bytes *out, const char *name, struct value value)
{
	bytes_text(out, name);
	bytes_text(out, value.is_json ? "" : "\"");
	bytes_add(out, value.text.ptr, value.text.len);
	bytes_text(out, value.is_json ? "" : "\"");
}

/* Of features_columns. */
static bool ndjson_feature(const struct value *values, struct bytes *out)
{
	static const char *const names[] = {"{\"profileId\":", ",\"feature\":",    ",\"value\":",   NULL,
					    ",\"at\":",        ",\"deliveryId\":", ",\"position\":"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i]) add_member(out, names[i], values[i]);
	bytes_text(out, "}\n");
	return true;
}

static bool ndjson_row(struct output *output, const struct cdpd_record *record, const struct value *values,
		       struct bytes *out)
{
	if (output->kind == OUT_FEATURES) return ndjson_feature(values, out);
	char tail[RECORD_TAIL_MAX];
	struct cdpd_str json = record->json;
	size_t len = record_tail(record, tail);
	if (len == 0 || memchr(json.ptr, '\n', json.len) || !bytes_room(out, json.len + len + 1)) return false;
	bytes_add(out, json.ptr, json.len - 1);
	bytes_add(out, tail, len);
	bytes_add(out, "\n", 1);
	return true;
}

const struct format format_ndjson = {.name = "ndjson", .row = ndjson_row};

/* ── CSV ─────────────────────────────────────────────────────────────────── */

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
	if (!needs || !bytes_room(out, quotes + 2)) return;
	out->len += quotes + 2;
	char *start = out->ptr + from, *to = out->ptr + out->len;
	*--to = '"';
	for (size_t i = len; i-- > 0;) {
		*--to = start[i];
		if (start[i] == '"') *--to = '"';
	}
	*--to = '"';
}

static void csv_header(const struct output *output, struct bytes *out)
{
	for (size_t i = 0; i < output->column_count; i++) {
		if (i) bytes_add(out, ",", 1);
		size_t from = out->len;
		bytes_text(out, output->columns[i].name);
		quote(out, from);
	}
	bytes_text(out, "\r\n");
}

static bool csv_row(struct output *output, const struct cdpd_record *record, const struct value *values,
		    struct bytes *out)
{
	(void)record;
	for (size_t i = 0; i < output->column_count; i++) {
		if (i) bytes_add(out, ",", 1);
		size_t from = out->len;
		if (column_text(&output->columns[i], values[i], out))
			quote(out, from);
		else
			output->mismatches += !value_is_absent(values[i]);
	}
	bytes_add(out, "\r\n", 2);
	return true;
}

const struct format format_csv = {.name = "csv", .header = csv_header, .row = csv_row};
