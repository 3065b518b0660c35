#include "plugin/isolate_wire.h"

/* ── requests ────────────────────────────────────────────────────────────── */

static void write_headers(struct wire *wire, const struct decoding_header *headers, size_t count)
{
	wire_u32(wire, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		wire_text(wire, headers[i].name);
		wire_text(wire, headers[i].value);
	}
}

void wire_request(struct wire *wire, uint32_t id, const struct decoding *decode)
{
	const struct decoding_request *request = &decode->request;
	wire_u32(wire, id);
	wire_i64(wire, (int64_t)decode->items_max);
	wire_i64(wire, (int64_t)decode->bytes_left);
	wire_i64(wire, request->received_us);
	wire_text(wire, request->method);
	wire_text(wire, request->path);
	wire_text(wire, request->query);
	wire_text(wire, request->client_ip);
	wire_text(wire, request->body);
	write_headers(wire, request->headers, request->header_count);
}

int wire_read_request(struct str body, struct arena *arena, struct wire_request *out)
{
	struct wire_in in = wire_in(body);
	struct decoding_request *request = &out->request;
	out->id = wire_take_u32(&in);
	int64_t items = wire_take_i64(&in), bytes = wire_take_i64(&in);
	request->received_us = wire_take_i64(&in);
	request->method = wire_take_text(&in);
	request->path = wire_take_text(&in);
	request->query = wire_take_text(&in);
	request->client_ip = wire_take_text(&in);
	request->body = wire_take_text(&in);
	request->header_count = wire_take_count(&in, 8);
	struct decoding_header *headers = arena_array(arena, struct decoding_header, request->header_count + 1);
	if (!headers) return ERR_NOMEM;
	for (size_t i = 0; i < request->header_count; i++) {
		headers[i].name = wire_take_text(&in);
		headers[i].value = wire_take_text(&in);
	}
	request->headers = headers;
	out->items_max = (size_t)items;
	out->bytes_max = (size_t)bytes;
	return items < 0 || bytes < 0 || items > UINT32_MAX || bytes > UINT32_MAX ? ERR_INVALID : wire_finish(&in);
}

/* ── what became of them ─────────────────────────────────────────────────── */

void wire_decoded(struct wire *wire, uint32_t id, const struct decoding *decode)
{
	bool is_fine = decode->error == CDPD_OK;
	wire_u32(wire, id);
	wire_i32(wire, decode->error);
	wire_i32(wire, decode->status);
	wire_text(wire, is_fine ? decode->content_type : STR_NONE);
	wire_text(wire, is_fine ? decode->body : STR_NONE);
	write_headers(wire, decode->headers, is_fine ? decode->header_count : 0);
	wire_u32(wire, is_fine ? (uint32_t)decode->item_count : 0);
	for (size_t i = 0; is_fine && i < decode->item_count; i++) {
		wire_u8(wire, decode->items[i].is_reject);
		wire_text(wire, decode->items[i].text);
		wire_text(wire, decode->items[i].reason);
	}
}

/* As C has texts. */
static bool copy_text(struct str text, char *out, size_t size)
{
	if (text.len >= size || memchr(text.ptr, 0, text.len)) return false;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return true;
}

static bool take_headers(struct wire_in *in, struct cdpd_reply *reply)
{
	char name[DECODING_HEADER_MAX];
	uint32_t count = wire_take_count(in, 8);
	for (uint32_t i = 0; i < count; i++) {
		struct str key = wire_take_text(in), value = wire_take_text(in);
		if (in->is_bad || !copy_text(key, name, sizeof name)) return false;
		if (decoding_sdk_reply_header(reply, name, sdk_str(value))) return false;
	}
	return true;
}

static bool take_reply(struct wire_in *in, struct cdpd_reply *reply)
{
	int status = wire_take_i32(in);
	struct str content_type = wire_take_text(in), body = wire_take_text(in);
	if (in->is_bad || decoding_sdk_status(reply, status)) return false;
	if (content_type.len && decoding_sdk_reply_header(reply, "Content-Type", sdk_str(content_type))) return false;
	return decoding_sdk_reply_body(reply, sdk_str(body)) == CDPD_OK && take_headers(in, reply);
}

static bool take_item(struct wire_in *in, struct cdpd_batch_out *out)
{
	char reason[DECODING_REASON_MAX + 1];
	bool is_reject = wire_take_u8(in);
	struct str text = wire_take_text(in), why = wire_take_text(in);
	if (in->is_bad || !copy_text(why, reason, sizeof reason)) return false;
	return (is_reject ? decoding_sdk_reject(out, reason, sdk_str(text)) : decoding_sdk_event(out, sdk_str(text))) ==
	       CDPD_OK;
}

int wire_take_decoded(struct str body, uint32_t id, struct cdpd_batch_out *out, struct cdpd_reply *reply, int *error)
{
	struct wire_in in = wire_in(body);
	if (wire_take_u32(&in) != id) return ERR_INVALID;
	*error = wire_take_i32(&in);
	if (*error > 0 || !take_reply(&in, reply)) return ERR_INVALID;
	uint32_t count = wire_take_count(&in, 9);
	for (uint32_t i = 0; i < count; i++)
		if (!take_item(&in, out)) return ERR_INVALID;
	return wire_finish(&in);
}

/* ── records and verdicts ────────────────────────────────────────────────── */

void wire_record(struct wire *wire, const struct cdpd_record *record)
{
	wire_u32(wire, record->kind);
	wire_u32(wire, record->flags);
	wire_u32(wire, record->attempt);
	wire_i64(wire, record->time_us);
	wire_text(wire, core_str(record->position));
	wire_text(wire, core_str(record->delivery_id));
	wire_text(wire, core_str(record->message_id));
	wire_text(wire, core_str(record->profile_id));
	wire_text(wire, core_str(record->other_id));
	wire_text(wire, core_str(record->json));
}

void wire_take_record(struct wire_in *in, struct cdpd_record *out)
{
	*out = (struct cdpd_record){.size = sizeof *out, .kind = wire_take_u32(in)};
	out->flags = wire_take_u32(in);
	out->attempt = wire_take_u32(in);
	out->time_us = wire_take_i64(in);
	out->position = sdk_str(wire_take_text(in));
	out->delivery_id = sdk_str(wire_take_text(in));
	out->message_id = sdk_str(wire_take_text(in));
	out->profile_id = sdk_str(wire_take_text(in));
	out->other_id = sdk_str(wire_take_text(in));
	out->json = sdk_str(wire_take_text(in));
}

void wire_verdict(struct wire *wire, const struct wire_verdict *verdict)
{
	wire_u8(wire, (uint8_t)verdict->verdict);
	wire_i64(wire, verdict->retry_after_ms);
	wire_text(wire, verdict->reason);
}

void wire_take_verdict(struct wire_in *in, struct wire_verdict *out)
{
	uint8_t verdict = wire_take_u8(in);
	if (verdict != CDPD_RETRY && verdict != CDPD_ACK && verdict != CDPD_DROP) in->is_bad = true;
	*out = (struct wire_verdict){.verdict = in->is_bad ? CDPD_RETRY : (enum cdpd_verdict)verdict};
	out->retry_after_ms = wire_take_i64(in);
	out->reason = wire_take_text(in);
	if (out->reason.len > WIRE_REASON_MAX) in->is_bad = true;
}
