#include "plugin/internal.h"

/* Heads that are members of the event itself; `is_object`: a path goes on below. */
static const struct {
	const char *name;
	enum field_head head;
	bool is_object;
} heads[] = {
    {"properties", FIELD_PROPERTIES, true},
    {"traits", FIELD_TRAITS, true},
    {"context", FIELD_CONTEXT, true},
    {"enrichment", FIELD_ENRICHMENT, true},
    {"type", FIELD_TYPE, false},
    {"event", FIELD_EVENT, false},
    {"name", FIELD_NAME, false},
    {"category", FIELD_CATEGORY, false},
    {"messageId", FIELD_MESSAGE_ID, false},
    {"userId", FIELD_USER_ID, false},
    {"anonymousId", FIELD_ANONYMOUS_ID, false},
    {"previousId", FIELD_PREVIOUS_ID, false},
    {"groupId", FIELD_GROUP_ID, false},
    {"ip", FIELD_IP, false},
    {"userAgent", FIELD_USER_AGENT, false},
    {"sourceId", FIELD_SOURCE_ID, false},
};

enum field_head field_head_of(struct str text, struct str *rest)
{
	const char *dot = memchr(text.ptr, '.', text.len);
	struct str first = dot ? str_of(text.ptr, (size_t)(dot - text.ptr)) : text;
	*rest = dot ? str_of(dot + 1, text.len - first.len - 1) : STR_NONE;
	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		if (str_eq(first, str_from(heads[i].name)) && heads[i].is_object == (dot != NULL)) return heads[i].head;
	}
	*rest = text;
	return FIELD_ROOT;
}

void enrich_view_init(struct enrich_view *view)
{
	memset(view, 0, sizeof *view);
	for (size_t i = 0; i < VIEW_PARTS; i++) buf_init(&view->bufs[i], (size_t)1 << 20);
	buf_init(&view->scratch, (size_t)1 << 20);
}

void enrich_view_fini(struct enrich_view *view)
{
	for (size_t i = 0; i < VIEW_PARTS; i++) {
		json_reader_free(view->readers[i]);
		buf_fini(&view->bufs[i]);
	}
	json_reader_free(view->checker);
	buf_fini(&view->scratch);
}

void enrich_view_begin(struct enrich_view *view, struct cdpd_event *event, const struct json *root, struct arena *arena)
{
	view->event = event;
	view->root = root;
	view->arena = arena;
	view->values.count = view->values.bytes = 0;
	memset(view->part_state, 0, sizeof view->part_state);
	view->is_dropped = view->was_renamed = false;
	view->drop_reason = STR_NONE;
}

/* A parsed copy of `text`, which has no slack behind it. */
static int parse_copy(struct json_reader **reader, struct buf *buf, struct str text, struct json *out)
{
	const char *why;
	int rc = *reader ? OK : json_reader_new(reader);
	if (rc) return rc;
	buf_clear(buf);
	if ((rc = buf_append_str(buf, text))) return rc;
	return json_parse(*reader, buf_str(buf), out, &why);
}

static struct str part_text(const struct cdpd_event *event, size_t part)
{
	switch (part) {
	case 0: return event->properties;
	case 1: return event->traits;
	case 2: return event->context;
	case VIEW_ENRICHMENT: return event->enrichment;
	default: return event->extra;
	}
}

/* The value at `rest` below one of the event's JSON parts. */
static int find(struct enrich_view *view, size_t part, const struct field_path *path, struct json *out, bool *is_there)
{
	*is_there = false;
	if (view->root) {
		*is_there = json_get_path(*view->root, path->text, out);
		return OK;
	}
	if (view->part_state[part] == 0) {
		struct str text = part_text(view->event, part);
		int rc = text.len ? parse_copy(&view->readers[part], &view->bufs[part], text, &view->parts[part])
				  : ERR_NOT_FOUND;
		if (rc == ERR_NOMEM) return rc;
		view->part_state[part] = rc == OK ? 1 : -1;
	}
	*is_there = view->part_state[part] == 1 && json_get_path(view->parts[part], path->rest, out);
	return OK;
}

static int copy_json(struct enrich_view *view, struct json value, struct str *out)
{
	buf_clear(&view->scratch);
	int rc = json_write(&view->scratch, value);
	return rc ? rc : arena_str(view->arena, buf_str(&view->scratch), out);
}

static int give_json(struct enrich_view *view, struct json value, struct cdpd_value *out)
{
	struct str text = STR_NONE;
	bool boolean = false;
	int rc = OK;
	switch (json_type(value)) {
	case JSON_NULL: return OK;
	case JSON_BOOL:
		out->kind = CDPD_VALUE_BOOL;
		if (json_bool(value, &boolean)) out->number = boolean;
		return OK;
	case JSON_STRING:
		out->kind = CDPD_VALUE_STRING;
		if (!json_str(value, &text)) return ERR_INVALID;
		break;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		out->kind = CDPD_VALUE_NUMBER;
		if (!json_double(value, &out->number)) return ERR_INVALID;
		rc = copy_json(view, value, &text);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		out->kind = CDPD_VALUE_JSON;
		rc = copy_json(view, value, &text);
		break;
	}
	out->text = sdk_str(text);
	return rc;
}

static int give_text(struct str text, struct cdpd_value *out)
{
	if (text.len == 0) return OK;
	out->kind = CDPD_VALUE_STRING;
	out->text = sdk_str(text);
	return OK;
}

/* What was set before this event became a question. */
static int give_earlier(struct enrich_view *view, struct str path, struct cdpd_value *out)
{
	const struct field_path field = {.text = path, .rest = path};
	struct json value;
	bool is_there;
	if (view->root || view->event->enrichment.len == 0) return OK;
	int rc = find(view, VIEW_ENRICHMENT, &field, &value, &is_there);
	return rc == OK && is_there ? give_json(view, value, out) : rc;
}

static int give_enrichment(struct enrich_view *view, struct str path, struct cdpd_value *out)
{
	const struct enrich_value *value = enrich_values_get(&view->values, path);
	if (!value) return give_earlier(view, path, out);
	out->kind = value->kind;
	out->number = value->number;
	out->text = sdk_str(value->text);
	if (value->kind != CDPD_VALUE_NUMBER) return OK;
	struct str text;
	buf_clear(&view->scratch);
	int rc = json_write_double(&view->scratch, value->number);
	if (rc == OK) rc = arena_str(view->arena, buf_str(&view->scratch), &text);
	if (rc == OK) out->text = sdk_str(text);
	return rc;
}

static struct str own_field(const struct cdpd_event *event, enum field_head head)
{
	switch (head) {
	case FIELD_TYPE: return str_from(event_type_name(event->type));
	case FIELD_EVENT: return event->event;
	case FIELD_NAME: return event->name;
	case FIELD_CATEGORY: return event->category;
	case FIELD_MESSAGE_ID: return event->message_id;
	case FIELD_USER_ID: return event->user_id;
	case FIELD_ANONYMOUS_ID: return event->anonymous_id;
	case FIELD_PREVIOUS_ID: return event->previous_id;
	case FIELD_GROUP_ID: return event->group_id;
	case FIELD_IP: return event->ip;
	case FIELD_USER_AGENT: return event->user_agent;
	case FIELD_SOURCE_ID: return event->source_id;
	default: return STR_NONE;
	}
}

/* "properties", "traits", "context" as a whole. */
static bool is_whole_part(struct str path, const struct cdpd_event *event, struct str *text)
{
	if (str_eq(path, STR("properties")))
		*text = event->properties;
	else if (str_eq(path, STR("traits")))
		*text = event->traits;
	else if (str_eq(path, STR("context")))
		*text = event->context;
	else
		return false;
	return true;
}

/* An event that brings its own address or agent has it in its context, and only there. */
static int give_own_field(struct enrich_view *view, enum field_head head, struct cdpd_value *out)
{
	static const struct field_path own_ip = {.text = {"context.ip", 10}, .rest = {"ip", 2}},
				       own_agent = {.text = {"context.userAgent", 17}, .rest = {"userAgent", 9}};
	struct str text = own_field(view->event, head);
	struct json value;
	bool is_there;
	if (text.len || (head != FIELD_IP && head != FIELD_USER_AGENT)) return give_text(text, out);
	int rc = find(view, 2, head == FIELD_IP ? &own_ip : &own_agent, &value, &is_there);
	return rc == OK && is_there && json_type(value) == JSON_STRING ? give_json(view, value, out) : rc;
}

int enrich_view_get(struct enrich_view *view, const struct field_path *path, struct cdpd_value *out)
{
	static const size_t parts[] = {
	    [FIELD_ROOT] = 3, [FIELD_PROPERTIES] = 0, [FIELD_TRAITS] = 1, [FIELD_CONTEXT] = 2};
	struct json value;
	struct str text;
	bool is_there;
	*out = (struct cdpd_value){.kind = CDPD_VALUE_NONE, .text = {"", 0}};
	if (path->head == FIELD_ENRICHMENT) return give_enrichment(view, path->rest, out);
	if (path->head > FIELD_ENRICHMENT) return give_own_field(view, path->head, out);
	if (path->head == FIELD_ROOT && is_whole_part(path->text, view->event, &text)) {
		if (text.len) *out = (struct cdpd_value){.kind = CDPD_VALUE_JSON, .text = sdk_str(text)};
		return OK;
	}
	int rc = find(view, parts[path->head], path, &value, &is_there);
	return rc == OK && is_there ? give_json(view, value, out) : rc;
}

/* Minified and copied; ERR_INVALID when it is not JSON. */
static int check_json(struct enrich_view *view, struct str text, struct str *out)
{
	struct json value;
	struct buf copy;
	buf_init(&copy, ENRICH_VALUE_MAX);
	int rc = parse_copy(&view->checker, &copy, text, &value);
	if (rc == OK) rc = copy_json(view, value, out);
	buf_fini(&copy);
	return rc;
}

int enrich_view_rename(struct enrich_view *view, struct str name)
{
	struct str copy;
	const struct enrich_value sent = {
	    .path = STR("renamed_from"), .kind = CDPD_VALUE_STRING, .text = view->event->event};
	if (str_eq(name, view->event->event)) return OK;
	int rc = arena_str(view->arena, name, &copy);
	if (rc == OK && !view->was_renamed) rc = enrich_values_set(&view->values, &sent);
	if (rc) return rc;
	view->was_renamed = true;
	view->event->event = copy;
	return OK;
}

int enrich_view_set(struct enrich_view *view, const struct field_path *path, struct enrich_value value)
{
	if (value.text.len > ENRICH_VALUE_MAX) return ERR_TOO_LARGE;
	int rc = value.kind == CDPD_VALUE_JSON ? check_json(view, value.text, &value.text)
					       : arena_str(view->arena, value.text, &value.text);
	if (rc) return rc;
	value.path = path->rest;
	return enrich_values_set(&view->values, &value);
}
