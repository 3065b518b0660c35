#include "profile/event_view.h"

#define PART_BYTES_MAX ((size_t)16 << 20) /* far above what ingest takes */
#define KEEP_BYTES     ((size_t)256 << 10)

static const struct part_name {
	struct str text;
	enum event_part part;
} json_parts[] =
    {
	{{"properties.", 11}, PART_PROPERTIES},
	{{"traits.", 7}, PART_TRAITS},
	{{"context.", 8}, PART_CONTEXT},
	{{"enrichment.", 11}, PART_ENRICHMENT},
},
  text_parts[] = {
      {{"event", 5}, PART_EVENT},      {{"name", 4}, PART_NAME},
      {{"userId", 6}, PART_USER_ID},   {{"anonymousId", 11}, PART_ANONYMOUS_ID},
      {{"groupId", 7}, PART_GROUP_ID},
};

int event_field_parse(struct str text, struct event_field *out)
{
	*out = (struct event_field){PART_NONE, STR_NONE};
	if (text.len == 0) return OK;
	for (size_t i = 0; i < COUNT_OF(text_parts); i++) {
		if (!str_eq(text, text_parts[i].text)) continue;
		out->part = text_parts[i].part;
		return OK;
	}
	for (size_t i = 0; i < COUNT_OF(json_parts); i++) {
		size_t len = json_parts[i].text.len;
		if (!str_starts(text, json_parts[i].text) || text.len == len) continue;
		*out = (struct event_field){json_parts[i].part, {text.ptr + len, text.len - len}};
		return OK;
	}
	return ERR_INVALID;
}

int event_view_init(struct event_view *view)
{
	*view = (struct event_view){0};
	int rc = OK;
	for (size_t i = PART_PROPERTIES; i < PART_JSON_COUNT; i++) {
		buf_init(&view->parts[i].text, PART_BYTES_MAX);
		if (!rc) rc = json_reader_new(&view->parts[i].reader);
	}
	buf_init(&view->number, PART_BYTES_MAX);
	buf_init(&view->key, PART_BYTES_MAX);
	if (rc) event_view_fini(view);
	return rc;
}

void event_view_fini(struct event_view *view)
{
	for (size_t i = PART_PROPERTIES; i < PART_JSON_COUNT; i++) {
		if (view->parts[i].reader) json_reader_free(view->parts[i].reader);
		view->parts[i].reader = NULL;
		buf_fini(&view->parts[i].text);
	}
	buf_fini(&view->number);
	buf_fini(&view->key);
}

void event_view_set(struct event_view *view, const struct cdpd_event *event)
{
	view->event = event;
	for (size_t i = PART_PROPERTIES; i < PART_JSON_COUNT; i++) view->parts[i].is_parsed = false;
}

static struct str part_text(const struct cdpd_event *event, enum event_part part)
{
	switch (part) {
	case PART_PROPERTIES: return event->properties;
	case PART_TRAITS: return event->traits;
	case PART_CONTEXT: return event->context;
	case PART_ENRICHMENT: return event->enrichment;
	default: return STR_NONE;
	}
}

static int parse(struct view_part *part, struct str text)
{
	const char *why;
	if (text.len == 0) return ERR_NOT_FOUND;
	if (part->text.size > KEEP_BYTES) {
		buf_clear(&part->text);
		buf_shrink(&part->text, KEEP_BYTES);
		json_reader_trim(part->reader, KEEP_BYTES);
	}
	buf_clear(&part->text);
	int rc = buf_append_str(&part->text, text);
	if (rc) return rc == ERR_TOO_LARGE ? ERR_NOT_FOUND : rc;
	rc = json_parse(part->reader, buf_str(&part->text), &part->root, &why);
	if (rc) return rc == ERR_NOMEM ? rc : ERR_NOT_FOUND;
	return json_type(part->root) == JSON_OBJECT ? OK : ERR_NOT_FOUND;
}

int event_view_root(struct event_view *view, enum event_part part, struct json *out)
{
	struct view_part *parsed = &view->parts[part];
	if (!parsed->is_parsed) {
		parsed->status = parse(parsed, part_text(view->event, part));
		parsed->is_parsed = true;
	}
	*out = parsed->root;
	return parsed->status;
}

int event_view_get(struct event_view *view, const struct event_field *field, struct json *out)
{
	struct json root;
	int rc = event_view_root(view, field->part, &root);
	if (rc) return rc;
	return json_get_path(root, field->path, out) ? OK : ERR_NOT_FOUND;
}

bool event_view_text(const struct event_view *view, enum event_part part, struct str *out)
{
	const struct cdpd_event *event = view->event;
	switch (part) {
	case PART_EVENT: *out = event->event; return true;
	case PART_NAME: *out = event->name; return true;
	case PART_USER_ID: *out = event->user_id; return true;
	case PART_ANONYMOUS_ID: *out = event->anonymous_id; return true;
	case PART_GROUP_ID: *out = event->group_id; return true;
	default: return false;
	}
}
