#include "plugin/isolate_wire.h"

#include <math.h>

/* ── writing ─────────────────────────────────────────────────────────────── */

static void put(struct wire *wire, const void *bytes, size_t len)
{
	if (!wire->status) wire->status = buf_append(wire->buf, bytes, len);
}

void wire_begin(struct wire *wire, struct buf *buf, enum frame_type type)
{
	*wire = (struct wire){.buf = buf, .frame = buf->len};
	const char header[WIRE_HEADER] = {[4] = (char)type};
	put(wire, header, sizeof header);
}

int wire_end(struct wire *wire)
{
	if (!wire->status && wire->buf->len - wire->frame - WIRE_HEADER > WIRE_FRAME_MAX) wire->status = ERR_TOO_LARGE;
	if (wire->status) {
		buf_cut(wire->buf, wire->frame);
		return wire->status;
	}
	wire_count_at(wire, wire->frame, (uint32_t)(wire->buf->len - wire->frame - WIRE_HEADER));
	return OK;
}

void wire_count_at(struct wire *wire, size_t at, uint32_t count)
{
	if (!wire->status) memcpy(buf_ptr(wire->buf) + at, &count, sizeof count);
}

size_t wire_here(const struct wire *wire)
{
	return wire->buf->len;
}

void wire_u8(struct wire *wire, uint8_t value)
{
	put(wire, &value, sizeof value);
}

void wire_u32(struct wire *wire, uint32_t value)
{
	put(wire, &value, sizeof value);
}

void wire_i32(struct wire *wire, int32_t value)
{
	put(wire, &value, sizeof value);
}

void wire_i64(struct wire *wire, int64_t value)
{
	put(wire, &value, sizeof value);
}

void wire_f64(struct wire *wire, double value)
{
	put(wire, &value, sizeof value);
}

void wire_text(struct wire *wire, struct str text)
{
	if (text.len > WIRE_FRAME_MAX && !wire->status) wire->status = ERR_TOO_LARGE;
	wire_u32(wire, (uint32_t)text.len);
	put(wire, text.ptr, text.len);
}

/* ── reading ─────────────────────────────────────────────────────────────── */

struct wire_in wire_in(struct str body)
{
	return (struct wire_in){.at = body.ptr, .end = body.ptr + body.len};
}

static void take(struct wire_in *in, void *out, size_t len)
{
	if (in->is_bad || (size_t)(in->end - in->at) < len) {
		in->is_bad = true;
		memset(out, 0, len);
		return;
	}
	memcpy(out, in->at, len);
	in->at += len;
}

uint8_t wire_take_u8(struct wire_in *in)
{
	uint8_t value;
	take(in, &value, sizeof value);
	return value;
}

uint32_t wire_take_u32(struct wire_in *in)
{
	uint32_t value;
	take(in, &value, sizeof value);
	return value;
}

int32_t wire_take_i32(struct wire_in *in)
{
	int32_t value;
	take(in, &value, sizeof value);
	return value;
}

int64_t wire_take_i64(struct wire_in *in)
{
	int64_t value;
	take(in, &value, sizeof value);
	return value;
}

double wire_take_f64(struct wire_in *in)
{
	double value;
	take(in, &value, sizeof value);
	return value;
}

struct str wire_take_text(struct wire_in *in)
{
	uint32_t len = wire_take_u32(in);
	if (in->is_bad || (size_t)(in->end - in->at) < len) {
		in->is_bad = true;
		return STR_NONE;
	}
	struct str text = str_of(in->at, len);
	in->at += len;
	return text;
}

uint32_t wire_take_count(struct wire_in *in, size_t item)
{
	uint32_t count = wire_take_u32(in);
	if (!in->is_bad && count <= (size_t)(in->end - in->at) / item) return count;
	in->is_bad = true;
	return 0;
}

int wire_finish(const struct wire_in *in)
{
	return in->is_bad || in->at != in->end ? ERR_INVALID : OK;
}

int wire_frame(struct str bytes, enum frame_type *type, struct str *body, size_t *used)
{
	uint32_t len;
	if (bytes.len < WIRE_HEADER) return ERR_AGAIN;
	memcpy(&len, bytes.ptr, sizeof len);
	unsigned kind = (unsigned char)bytes.ptr[4];
	if (len > WIRE_FRAME_MAX || kind < FRAME_HELLO || kind > FRAME_STOP || bytes.ptr[5] || bytes.ptr[6] ||
	    bytes.ptr[7])
		return ERR_INVALID;
	if (bytes.len - WIRE_HEADER < len) return ERR_AGAIN;
	*type = (enum frame_type)kind;
	*body = str_of(bytes.ptr + WIRE_HEADER, len);
	*used = WIRE_HEADER + len;
	return OK;
}

/* ── hello and setup ─────────────────────────────────────────────────────── */

void wire_hello(struct buf *buf, int *status)
{
	struct wire wire;
	wire_begin(&wire, buf, FRAME_HELLO);
	wire_u32(&wire, WIRE_MAGIC);
	wire_u32(&wire, WIRE_VERSION);
	*status = wire_end(&wire);
}

int wire_read_hello(struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t magic = wire_take_u32(&in), version = wire_take_u32(&in);
	if (in.is_bad || magic != WIRE_MAGIC) return ERR_INVALID;
	return version == WIRE_VERSION ? wire_finish(&in) : ERR_FORMAT;
}

static void write_value(struct wire *wire, const struct option_value *value)
{
	wire_u8(wire, value->is_set);
	wire_u8(wire, value->boolean);
	wire_i64(wire, value->integer);
	wire_f64(wire, value->number);
	wire_text(wire, value->text);
	wire_u32(wire, (uint32_t)value->item_count);
	for (size_t i = 0; i < value->item_count; i++) wire_text(wire, value->items[i]);
}

int wire_write_setup(struct buf *buf, const struct wire_setup *setup)
{
	struct wire wire;
	wire_begin(&wire, buf, FRAME_SETUP);
	wire_u8(&wire, setup->only_looks);
	wire_u32(&wire, setup->use);
	wire_text(&wire, setup->name);
	wire_text(&wire, setup->folder);
	wire_text(&wire, setup->plugin);
	wire_i64(&wire, (int64_t)setup->memory);
	wire_u32(&wire, setup->log_level);
	wire_u32(&wire, (uint32_t)setup->read_count);
	for (size_t i = 0; i < setup->read_count; i++) wire_text(&wire, setup->read[i]);
	wire_u32(&wire, (uint32_t)setup->value_count);
	for (size_t i = 0; i < setup->value_count; i++) write_value(&wire, &setup->values[i]);
	return wire_end(&wire);
}

static struct str *read_texts(struct wire_in *in, struct arena *arena, size_t *count)
{
	*count = wire_take_count(in, sizeof(uint32_t));
	struct str *texts = arena_array(arena, struct str, *count + 1);
	for (size_t i = 0; texts && i < *count; i++) texts[i] = wire_take_text(in);
	return texts;
}

static int read_option_value(struct wire_in *in, struct arena *arena, struct option_value *out)
{
	*out = (struct option_value){.is_set = wire_take_u8(in), .boolean = wire_take_u8(in)};
	out->integer = wire_take_i64(in);
	out->number = wire_take_f64(in);
	out->text = wire_take_text(in);
	out->items = read_texts(in, arena, &out->item_count);
	return out->items ? OK : ERR_NOMEM;
}

int wire_read_setup(struct str body, struct arena *arena, struct wire_setup *out)
{
	struct wire_in in = wire_in(body);
	*out = (struct wire_setup){.only_looks = wire_take_u8(&in)};
	out->use = wire_take_u32(&in);
	out->name = wire_take_text(&in);
	out->folder = wire_take_text(&in);
	out->plugin = wire_take_text(&in);
	out->memory = (uint64_t)wire_take_i64(&in);
	out->log_level = wire_take_u32(&in);
	out->read = read_texts(&in, arena, &out->read_count);
	if (!out->read) return ERR_NOMEM;
	out->value_count = wire_take_count(&in, 26);
	out->values = arena_array(arena, struct option_value, out->value_count + 1);
	int rc = out->values ? OK : ERR_NOMEM;
	for (size_t i = 0; i < out->value_count && !rc; i++) rc = read_option_value(&in, arena, &out->values[i]);
	return rc ? rc : wire_finish(&in);
}

/* ── the table ───────────────────────────────────────────────────────────── */

static void write_paths(struct wire *wire, const struct cdpd_paths *paths)
{
	wire_u32(wire, (uint32_t)paths->count);
	for (size_t i = 0; i < paths->count; i++) wire_text(wire, str_from(paths->items[i]));
}

/* A text that may be missing. */
static void write_maybe(struct wire *wire, const char *text)
{
	wire_u8(wire, text != NULL);
	wire_text(wire, str_from(text));
}

static void write_option(struct wire *wire, const struct cdpd_option *option)
{
	wire_text(wire, str_from(option->name));
	wire_u32(wire, (uint32_t)option->type);
	wire_u8(wire, option->is_required);
	write_maybe(wire, option->default_text);
	wire_f64(wire, option->min);
	wire_f64(wire, option->max);
	write_maybe(wire, option->values);
	write_maybe(wire, option->help);
}

int wire_write_table(struct buf *buf, const struct cdpd_plugin *table)
{
	struct wire wire;
	wire_begin(&wire, buf, FRAME_TABLE);
	wire_u8(&wire, 1);
	wire_u32(&wire, table->abi_major);
	wire_u32(&wire, table->abi_minor);
	wire_text(&wire, str_from(table->name));
	wire_text(&wire, str_from(table->version));
	wire_text(&wire, str_from(table->summary));
	wire_u32(&wire, table->caps);
	wire_u32(&wire, table->flags);
	const struct cdpd_paths uses = plugin_uses(table);
	write_paths(&wire, &table->needs);
	write_paths(&wire, &uses);
	write_paths(&wire, &table->provides);
	wire_u32(&wire, (uint32_t)table->options.count);
	for (size_t i = 0; i < table->options.count; i++) write_option(&wire, plugin_option(&table->options, i));
	return wire_end(&wire);
}

int wire_write_refusal(struct buf *buf, struct str why)
{
	struct wire wire;
	wire_begin(&wire, buf, FRAME_TABLE);
	wire_u8(&wire, 0);
	wire_text(&wire, why);
	return wire_end(&wire);
}

/* A copy as C has texts. Bytes of 0 inside are no text. */
static const char *copy_text(struct wire_in *in, struct arena *arena)
{
	struct str text = wire_take_text(in), copy;
	if (memchr(text.ptr, 0, text.len)) in->is_bad = true;
	if (in->is_bad || arena_str(arena, text, &copy)) {
		in->is_bad = true;
		return "";
	}
	return copy.ptr;
}

static const char *copy_maybe(struct wire_in *in, struct arena *arena)
{
	bool is_there = wire_take_u8(in);
	const char *text = copy_text(in, arena);
	return is_there ? text : NULL;
}

static void read_paths(struct wire_in *in, struct arena *arena, struct cdpd_paths *out)
{
	size_t count = wire_take_count(in, sizeof(uint32_t));
	if (count > PLUGIN_PATHS_MAX) in->is_bad = true;
	const char **items = in->is_bad ? NULL : arena_array(arena, const char *, count + 1);
	if (!items) in->is_bad = true;
	for (size_t i = 0; !in->is_bad && i < count; i++) items[i] = copy_text(in, arena);
	*out = (struct cdpd_paths){.count = in->is_bad ? 0 : count, .items = items};
}

static void read_option(struct wire_in *in, struct arena *arena, struct cdpd_option *out)
{
	out->name = copy_text(in, arena);
	uint32_t type = wire_take_u32(in);
	if (type < CDPD_OPTION_STRING || type > CDPD_OPTION_SECRET) in->is_bad = true;
	out->type = in->is_bad ? CDPD_OPTION_STRING : (enum cdpd_option_type)type;
	out->is_required = wire_take_u8(in);
	out->default_text = copy_maybe(in, arena);
	out->min = wire_take_f64(in);
	out->max = wire_take_f64(in);
	out->values = copy_maybe(in, arena);
	out->help = copy_maybe(in, arena);
}

static void read_options(struct wire_in *in, struct arena *arena, struct cdpd_options *out)
{
	size_t count = wire_take_count(in, 40);
	if (count > PLUGIN_OPTIONS_MAX) in->is_bad = true;
	struct cdpd_option *items = in->is_bad ? NULL : arena_array(arena, struct cdpd_option, count + 1);
	if (!items) in->is_bad = true;
	for (size_t i = 0; !in->is_bad && i < count; i++) read_option(in, arena, &items[i]);
	*out = (struct cdpd_options){
	    .item_size = sizeof(struct cdpd_option), .count = in->is_bad ? 0 : count, .items = items};
}

int wire_read_table(struct str body, struct arena *arena, struct cdpd_plugin *out, struct str *why)
{
	struct wire_in in = wire_in(body);
	*out = (struct cdpd_plugin){.size = sizeof *out};
	*why = STR("it did not say what it is");
	if (!wire_take_u8(&in)) {
		struct str text = wire_take_text(&in);
		if (in.is_bad || arena_str(arena, text, why)) return ERR_INVALID;
		return ERR_REFUSED;
	}
	out->abi_major = (uint16_t)wire_take_u32(&in);
	out->abi_minor = (uint16_t)wire_take_u32(&in);
	out->name = copy_text(&in, arena);
	out->version = copy_text(&in, arena);
	out->summary = copy_text(&in, arena);
	out->caps = wire_take_u32(&in);
	out->flags = wire_take_u32(&in);
	read_paths(&in, arena, &out->needs);
	read_paths(&in, arena, &out->uses);
	read_paths(&in, arena, &out->provides);
	read_options(&in, arena, &out->options);
	return wire_finish(&in);
}

/* ── ready ───────────────────────────────────────────────────────────────── */

int wire_write_ready(struct buf *buf, const struct wire_ready *ready)
{
	struct wire wire;
	wire_begin(&wire, buf, FRAME_READY);
	wire_i32(&wire, ready->error);
	wire_u8(&wire, ready->has_landlock);
	wire_u32(&wire, (uint32_t)ready->metric_count);
	for (size_t i = 0; i < ready->metric_count; i++) {
		wire_u8(&wire, ready->metrics[i].type);
		wire_text(&wire, ready->metrics[i].name);
		wire_text(&wire, ready->metrics[i].help);
	}
	wire_u32(&wire, ready->parts);
	wire_u32(&wire, (uint32_t)ready->path_count);
	for (size_t i = 0; i < ready->path_count; i++) wire_text(&wire, ready->paths[i]);
	return wire_end(&wire);
}

int wire_read_ready(struct str body, struct wire_ready *out)
{
	struct wire_in in = wire_in(body);
	out->error = wire_take_i32(&in);
	out->has_landlock = wire_take_u8(&in);
	out->metric_count = wire_take_count(&in, 9);
	if (out->metric_count > INSTANCE_METRICS_MAX) return ERR_INVALID;
	for (size_t i = 0; i < out->metric_count; i++) {
		out->metrics[i].type = wire_take_u8(&in);
		out->metrics[i].name = wire_take_text(&in);
		out->metrics[i].help = wire_take_text(&in);
	}
	out->parts = wire_take_u32(&in);
	out->path_count = wire_take_count(&in, sizeof(uint32_t));
	if (out->path_count > PLUGIN_PATHS_MAX) return ERR_INVALID;
	for (size_t i = 0; i < out->path_count; i++) out->paths[i] = wire_take_text(&in);
	return wire_finish(&in);
}

/* ── questions and answers ───────────────────────────────────────────────── */

#define EVENT_TEXTS 16
#define EVENT_FIXED (2 * sizeof(int64_t) + sizeof(int16_t) + 2)

static void event_texts(const struct cdpd_event *e, struct str out[EVENT_TEXTS])
{
	const struct str texts[EVENT_TEXTS] = {e->source_id, e->message_id, e->event,        e->name,
					       e->category,  e->user_id,    e->anonymous_id, e->previous_id,
					       e->group_id,  e->properties, e->traits,       e->context,
					       e->extra,     e->enrichment, e->ip,           e->user_agent};
	memcpy(out, texts, sizeof texts);
}

/* As event_texts has them. */
enum {
	PART_SOURCE_ID,
	PART_MESSAGE_ID,
	PART_EVENT,
	PART_NAME,
	PART_CATEGORY,
	PART_USER_ID,
	PART_ANONYMOUS_ID,
	PART_PREVIOUS_ID,
	PART_GROUP_ID,
	PART_PROPERTIES,
	PART_TRAITS,
	PART_CONTEXT,
	PART_EXTRA,
	PART_ENRICHMENT,
	PART_IP,
	PART_USER_AGENT
};
#define PART(name) (1u << PART_##name)

uint32_t wire_parts(const struct field_path *path)
{
	static const uint32_t parts[] = {
	    [FIELD_PROPERTIES] = PART(PROPERTIES),
	    [FIELD_TRAITS] = PART(TRAITS),
	    [FIELD_CONTEXT] = PART(CONTEXT),
	    [FIELD_ENRICHMENT] = PART(ENRICHMENT),
	    [FIELD_TYPE] = 0,
	    [FIELD_EVENT] = PART(EVENT),
	    [FIELD_NAME] = PART(NAME),
	    [FIELD_CATEGORY] = PART(CATEGORY),
	    [FIELD_MESSAGE_ID] = PART(MESSAGE_ID),
	    [FIELD_USER_ID] = PART(USER_ID),
	    [FIELD_ANONYMOUS_ID] = PART(ANONYMOUS_ID),
	    [FIELD_PREVIOUS_ID] = PART(PREVIOUS_ID),
	    [FIELD_GROUP_ID] = PART(GROUP_ID),
	    [FIELD_IP] = PART(IP) | PART(CONTEXT), /* an event may bring its own */
	    [FIELD_USER_AGENT] = PART(USER_AGENT) | PART(CONTEXT),
	    [FIELD_SOURCE_ID] = PART(SOURCE_ID),
	};
	if (path->head != FIELD_ROOT) return parts[path->head];
	if (str_eq(path->text, STR("properties"))) return PART(PROPERTIES);
	if (str_eq(path->text, STR("traits"))) return PART(TRAITS);
	if (str_eq(path->text, STR("context"))) return PART(CONTEXT);
	return PART(EXTRA);
}

static char *write_bytes(char *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

void wire_event(struct wire *wire, const struct cdpd_event *event, uint32_t parts)
{
	struct str texts[EVENT_TEXTS];
	size_t len = EVENT_FIXED + EVENT_TEXTS * sizeof(uint32_t);
	char *at;
	event_texts(event, texts);
	for (size_t i = 0; i < EVENT_TEXTS; i++) {
		if (!(parts & 1u << i)) texts[i] = STR_NONE;
		len += texts[i].len;
	}
	if (!wire->status && len > WIRE_FRAME_MAX) wire->status = ERR_TOO_LARGE;
	if (!wire->status) wire->status = buf_reserve(wire->buf, len, &at);
	if (wire->status) return;
	const uint8_t type[2] = {(uint8_t)event->type, 0};
	at = write_bytes(at, &event->event_time_us, sizeof event->event_time_us);
	at = write_bytes(at, &event->received_at_us, sizeof event->received_at_us);
	at = write_bytes(at, &event->utc_offset_min, sizeof event->utc_offset_min);
	at = write_bytes(at, type, sizeof type);
	for (size_t i = 0; i < EVENT_TEXTS; i++) {
		uint32_t text_len = (uint32_t)texts[i].len;
		at = write_bytes(at, &text_len, sizeof text_len);
		at = write_bytes(at, texts[i].ptr, texts[i].len);
	}
	buf_commit(wire->buf, len);
}

void wire_take_event(struct wire_in *in, struct cdpd_event *e)
{
	*e = (struct cdpd_event){.event_time_us = wire_take_i64(in)};
	struct str *const texts[EVENT_TEXTS] = {&e->source_id, &e->message_id, &e->event,        &e->name,
						&e->category,  &e->user_id,    &e->anonymous_id, &e->previous_id,
						&e->group_id,  &e->properties, &e->traits,       &e->context,
						&e->extra,     &e->enrichment, &e->ip,           &e->user_agent};
	e->received_at_us = wire_take_i64(in);
	take(in, &e->utc_offset_min, sizeof e->utc_offset_min);
	uint8_t type = wire_take_u8(in);
	if (wire_take_u8(in) != 0 || type < EVENT_TRACK || type > EVENT_ALIAS) in->is_bad = true;
	e->type = in->is_bad ? EVENT_TRACK : (enum event_type)type;
	for (size_t i = 0; i < EVENT_TEXTS; i++) *texts[i] = wire_take_text(in);
	e->violations = e->country = STR_NONE;
}

static void write_enriched(struct wire *wire, const struct enrich_value *value)
{
	bool is_text = value->kind == CDPD_VALUE_STRING || value->kind == CDPD_VALUE_JSON;
	struct str text = is_text ? value->text : STR_NONE;
	const double number = is_text ? 0 : value->number;
	const uint8_t kind = (uint8_t)value->kind;
	const uint32_t text_len = (uint32_t)text.len;
	size_t len = sizeof kind + sizeof number + 2 * sizeof(uint32_t) + text.len;
	char *at;
	if (!wire->status && len > WIRE_FRAME_MAX) wire->status = ERR_TOO_LARGE;
	if (!wire->status) wire->status = buf_reserve(wire->buf, len, &at);
	if (wire->status) return;
	at = write_bytes(at, &kind, sizeof kind);
	at = write_bytes(at, &number, sizeof number);
	at = write_bytes(at, &value->index, sizeof value->index);
	at = write_bytes(at, &text_len, sizeof text_len);
	(void)write_bytes(at, text.ptr, text.len);
	buf_commit(wire->buf, len);
}

void wire_answer(struct wire *wire, uint32_t id, int32_t error, struct str reason, const struct enrich_values *values)
{
	size_t count = error == CDPD_OK && values ? values->count : 0;
	wire_u32(wire, id);
	wire_i32(wire, error);
	wire_text(wire, reason.len > WIRE_REASON_MAX ? str_of(reason.ptr, WIRE_REASON_MAX) : reason);
	wire_u32(wire, (uint32_t)count);
	for (size_t i = 0; i < count; i++) write_enriched(wire, &values->items[i]);
}

void wire_take_answer(struct wire_in *in, struct wire_answer *out)
{
	out->id = wire_take_u32(in);
	out->error = wire_take_i32(in);
	out->reason = wire_take_text(in);
	out->count = wire_take_count(in, 17);
	if (out->count > ENRICH_VALUES_MAX || out->reason.len > WIRE_REASON_MAX || out->error > 0) in->is_bad = true;
	if (in->is_bad) *out = (struct wire_answer){.reason = STR_NONE};
}

void wire_take_value(struct wire_in *in, struct enrich_value *out)
{
	uint8_t kind = wire_take_u8(in);
	if (kind <= CDPD_VALUE_NONE || kind > CDPD_VALUE_JSON) in->is_bad = true;
	*out = (struct enrich_value){.kind = in->is_bad ? CDPD_VALUE_NONE : (enum cdpd_value_kind)kind};
	out->number = wire_take_f64(in);
	if (!isfinite(out->number)) in->is_bad = true;
	out->path = STR_NONE;
	out->index = wire_take_u32(in);
	out->text = wire_take_text(in);
}
