#include "profile/feature_input.h"

#include <stdlib.h>

static void set_string(struct str text, struct cdpd_feature_input *input)
{
	char copy[40];
	input->kind = CDPD_VALUE_STRING;
	input->text = (struct cdpd_str){text.ptr, text.len};
	if (text.len >= sizeof copy || !str_is_number(text)) return; /* "007" is a label */
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	input->number = strtod(copy, NULL);
	input->kind = CDPD_VALUE_NUMBER;
}

static int set_text(struct buf *scratch, struct json value, struct cdpd_feature_input *input)
{
	buf_clear(scratch);
	int rc = json_write(scratch, value);
	struct str text = buf_str(scratch);
	input->text = (struct cdpd_str){text.ptr, text.len};
	return rc;
}

void input_start(const struct cdpd_event *event, struct cdpd_feature_input *out)
{
	*out = (struct cdpd_feature_input){.size = sizeof *out,
					   .time_us = event->event_time_us,
					   .utc_offset_min = event->utc_offset_min,
					   .message_id = {event->message_id.ptr, event->message_id.len},
					   .text = {"", 0}};
}

int input_set_json(struct buf *scratch, bool wants_text, struct json value, struct cdpd_feature_input *input)
{
	struct str text;
	bool truth;
	input->text = (struct cdpd_str){"", 0};
	switch (json_type(value)) {
	case JSON_NULL: return ERR_NOT_FOUND;
	case JSON_STRING:
		if (!json_str(value, &text)) return ERR_NOT_FOUND;
		set_string(text, input);
		return input->kind == CDPD_VALUE_NUMBER && wants_text ? set_text(scratch, value, input) : OK;
	case JSON_BOOL:
		if (!json_bool(value, &truth)) return ERR_NOT_FOUND;
		input->kind = CDPD_VALUE_BOOL;
		input->number = truth;
		input->text = truth ? (struct cdpd_str){"true", 4} : (struct cdpd_str){"false", 5};
		return OK;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE:
		input->kind = CDPD_VALUE_NUMBER;
		if (!json_double(value, &input->number)) return ERR_NOT_FOUND;
		return wants_text ? set_text(scratch, value, input) : OK;
	case JSON_ARRAY:
	case JSON_OBJECT: input->kind = CDPD_VALUE_JSON; return wants_text ? set_text(scratch, value, input) : OK;
	}
	return ERR_NOT_FOUND;
}

/* A field that is the event's own text: quoted JSON for those who take it for a number, as input_set_json does. */
static int set_own_text(struct buf *scratch, struct str text, struct cdpd_feature_input *input)
{
	if (text.len == 0) return ERR_NOT_FOUND;
	set_string(text, input);
	if (input->kind != CDPD_VALUE_NUMBER) return OK;
	buf_clear(scratch);
	int rc = json_write_str(scratch, text);
	struct str json = buf_str(scratch);
	input->text = (struct cdpd_str){json.ptr, json.len};
	return rc;
}

int input_set_path(struct event_view *view, struct buf *scratch, bool wants_text, const struct feature_path *path,
		   struct cdpd_feature_input *input)
{
	struct str text;
	struct json value;
	if (path->field.part == PART_NONE) return OK;
	if (event_view_text(view, path->field.part, &text)) return set_own_text(scratch, text, input);
	int rc = event_view_get(view, &path->field, &value);
	return rc ? rc : input_set_json(scratch, wants_text, value, input);
}
