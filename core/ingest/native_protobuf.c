/* cdpd.v1.PublishRequest. The wire format is read here rather than by protobuf-c for three reasons: its strings end at the first NUL, one
 * malformed event would cost the whole request, and two bytes of an empty event become hundreds in memory. Nothing is copied: texts
 * borrow from the body. */
#include "base/encode.h"
#include "ingest/message.h"
#include "ingest/validate.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire_field {
	uint32_t number;
	enum wire wire;
	uint64_t varint;
	struct str bytes;
};

static bool take_varint(struct str *in, uint64_t *out)
{
	uint64_t value = 0;
	for (size_t i = 0; i < 10 && i < in->len; i++) {
		uint8_t byte = (uint8_t)in->ptr[i];
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80) continue;
		*in = str_of(in->ptr + i + 1, in->len - i - 1);
		*out = value;
		return true;
	}
	return false;
}

static bool take_bytes(struct str *in, size_t len, struct str *out)
{
	if (len > in->len) return false;
	*out = str_of(in->ptr, len);
	*in = str_of(in->ptr + len, in->len - len);
	return true;
}

/* False: malformed, or a group, which proto3 does not have. */
static bool take_field(struct str *in, struct wire_field *out)
{
	uint64_t tag, len;
	*out = (struct wire_field){.bytes = STR_NONE};
	if (!take_varint(in, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3) return false;
	out->number = (uint32_t)(tag >> 3);
	out->wire = (enum wire)(tag & 7);
	switch (out->wire) {
	case WIRE_VARINT: return take_varint(in, &out->varint);
	case WIRE_FIXED64: return take_bytes(in, 8, &out->bytes);
	case WIRE_FIXED32: return take_bytes(in, 4, &out->bytes);
	case WIRE_BYTES: return take_varint(in, &len) && len <= in->len && take_bytes(in, (size_t)len, &out->bytes);
	default: return false;
	}
}

/* ── one event ───────────────────────────────────────────────────────────── */

enum { /* as in proto/cdpd/v1/event.proto */
       FIELD_TYPE = 1,
       FIELD_MESSAGE_ID,
       FIELD_USER_ID,
       FIELD_ANONYMOUS_ID,
       FIELD_PREVIOUS_ID,
       FIELD_GROUP_ID,
       FIELD_EVENT,
       FIELD_NAME,
       FIELD_CATEGORY,
       FIELD_TIMESTAMP,
       FIELD_SENT_AT,
       FIELD_PROPERTIES,
       FIELD_TRAITS,
       FIELD_CONTEXT,
       FIELD_END
};

static const struct {
	struct str pointer;
	size_t offset; /* in struct cdpd_event; 0: not a text */
} texts[FIELD_END] = {
    [FIELD_MESSAGE_ID] = {{"/messageId", 10}, offsetof(struct cdpd_event, message_id)},
    [FIELD_USER_ID] = {{"/userId", 7}, offsetof(struct cdpd_event, user_id)},
    [FIELD_ANONYMOUS_ID] = {{"/anonymousId", 12}, offsetof(struct cdpd_event, anonymous_id)},
    [FIELD_PREVIOUS_ID] = {{"/previousId", 11}, offsetof(struct cdpd_event, previous_id)},
    [FIELD_GROUP_ID] = {{"/groupId", 8}, offsetof(struct cdpd_event, group_id)},
    [FIELD_EVENT] = {{"/event", 6}, offsetof(struct cdpd_event, event)},
    [FIELD_NAME] = {{"/name", 5}, offsetof(struct cdpd_event, name)},
    [FIELD_CATEGORY] = {{"/category", 9}, offsetof(struct cdpd_event, category)},
};

struct wire_event {
	uint64_t numbers[FIELD_END];
	struct str texts[FIELD_END]; /* of repeated fields the last counts, as protobuf has it */
};

static bool read_wire(struct str bytes, struct wire_event *out)
{
	struct wire_field field;
	*out = (struct wire_event){0};
	for (size_t i = 0; i < FIELD_END; i++) out->texts[i] = STR_NONE;
	while (bytes.len) {
		if (!take_field(&bytes, &field)) return false;
		if (field.number >= FIELD_END) continue; /* of a newer client */
		bool is_number =
		    field.number == FIELD_TYPE || field.number == FIELD_TIMESTAMP || field.number == FIELD_SENT_AT;
		if (field.wire != (is_number ? WIRE_VARINT : WIRE_BYTES)) return false;
		if (is_number)
			out->numbers[field.number] = field.varint;
		else
			out->texts[field.number] = field.bytes;
	}
	return true;
}

static int read_texts(struct draft *draft, const struct wire_event *wire)
{
	for (size_t i = 0; i < FIELD_END; i++) {
		if (texts[i].offset == 0) continue;
		if (!utf8_is_valid(wire->texts[i]))
			return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, texts[i].pointer, STR("invalid UTF-8"));
		*(struct str *)((char *)&draft->event + texts[i].offset) = wire->texts[i];
		draft->size += wire->texts[i].len;
	}
	return OK;
}

static int read_type(struct draft *draft, const struct wire_event *wire)
{
	uint64_t type = wire->numbers[FIELD_TYPE];
	if (type == 0 && draft->event.event.len) type = EVENT_TRACK;
	if (type < EVENT_TRACK || type > EVENT_ALIAS)
		return draft_fault(draft, PROBLEM_UNKNOWN_TYPE, STR("/type"), STR_NONE);
	draft->event.type = (enum event_type)type;
	return OK;
}

static int read_times(struct draft *draft, const struct wire_event *wire)
{
	int64_t time = (int64_t)wire->numbers[FIELD_TIMESTAMP], sent_at = (int64_t)wire->numbers[FIELD_SENT_AT];
	if (!time_is_plausible(time)) return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, STR("/timestampUs"), STR_NONE);
	if (time == 0) draft->event.flags |= EVENT_TIME_MISSING;
	draft->event.client_time_us = time;
	if (time_is_plausible(sent_at)) draft->event.sent_at_us = sent_at;
	return OK;
}

/* Parts share the worker's reader, so each is written before the next is parsed. */
static int read_part(struct intake *in, struct draft *draft, struct str text, struct str pointer, struct span *out)
{
	struct json value;
	const char *why = "";
	if (text.len == 0) return OK;
	int rc = json_parse(in->worker->reader, text, &value, &why);
	if (rc == ERR_NOMEM) return draft_fault(draft, PROBLEM_TOO_LARGE, pointer, STR_NONE);
	if (rc != OK) return draft_fault(draft, intake_problem_of_json(why), pointer, str_from(why));
	rc = validate_key_counts(draft, value, &in->worker->scratch);
	if (rc == OK) rc = message_write_part(in, draft, value, pointer, out);
	if (rc == OK && out == &draft->context)
		draft->is_sent_stale = clock_skew_is_stale_sender(message_look_at_context(draft, value));
	return rc;
}

static int read_event(struct intake *in, struct draft *draft, void *ctx)
{
	struct wire_event wire;
	const struct str *bytes = ctx;
	if (!read_wire(*bytes, &wire))
		return draft_fault(draft, PROBLEM_INVALID_BODY, STR_NONE, STR("malformed protobuf"));
	int rc = read_texts(draft, &wire);
	if (rc == OK) rc = read_type(draft, &wire);
	if (rc == OK) rc = read_times(draft, &wire);
	if (rc == OK) rc = read_part(in, draft, wire.texts[FIELD_PROPERTIES], STR("/properties"), &draft->properties);
	if (rc == OK) rc = read_part(in, draft, wire.texts[FIELD_TRAITS], STR("/traits"), &draft->traits);
	if (rc == OK) rc = read_part(in, draft, wire.texts[FIELD_CONTEXT], STR("/context"), &draft->context);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

/* ── the request ─────────────────────────────────────────────────────────── */

enum { REQUEST_EVENTS = 1, REQUEST_WRITE_KEY };

struct outline {
	size_t events;
	struct str write_key;
};

static bool read_outline(struct str body, struct outline *out)
{
	struct wire_field field;
	*out = (struct outline){.write_key = STR_NONE};
	while (body.len) {
		if (!take_field(&body, &field)) return false;
		if (field.number > REQUEST_WRITE_KEY) continue;
		if (field.wire != WIRE_BYTES) return false;
		if (field.number == REQUEST_EVENTS)
			out->events++;
		else
			out->write_key = field.bytes;
	}
	return true;
}

static int admit_event(struct intake *in, struct str bytes)
{
	struct draft draft = {.raw = STR_NONE}; /* binary: no excerpt */
	return admit(in, &draft, read_event, &bytes);
}

int native_read_protobuf(struct intake *in)
{
	struct outline outline;
	struct wire_field field;
	struct str rest = in->request->body;
	if (!read_outline(rest, &outline))
		return intake_refuse(in, PROBLEM_INVALID_BODY, STR_NONE, STR("malformed protobuf"));
	int rc = intake_identify(in, outline.write_key);
	if (rc == OK) rc = intake_expect(in, outline.events, STR("/events"));
	while (rc == OK && rest.len && take_field(&rest, &field))
		if (field.number == REQUEST_EVENTS) rc = admit_event(in, field.bytes);
	return rc;
}
