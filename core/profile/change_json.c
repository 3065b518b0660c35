#include "profile/change_json.h"

#include "event/position.h"
#include "profile/people.h"

static void write_id(struct json_out *out, const uint8_t id[16])
{
	struct fragment_id fragment;
	char text[FRAGMENT_ID_TEXT_SIZE];
	memcpy(fragment.bytes, id, sizeof fragment.bytes);
	fragment_id_format(&fragment, text);
	jo_str(out, str_from(text));
}

void change_write_members(struct json_out *out, uint64_t epoch, const struct change *change, struct str body)
{
	char position[POSITION_TEXT_SIZE];
	size_t len = position_format(POSITION_JOURNAL, (struct position){epoch, change->cause_seq}, position);
	jo_key(out, STR("kind"));
	jo_str(out, str_from(change_kind_name(change->kind)));
	jo_key(out, STR("profile"));
	write_id(out, change->profile);
	jo_key(out, STR("position"));
	jo_str(out, str_of(position, len));
	jo_key(out, STR("at"));
	jo_time(out, change->t);
	/* The body's own members: its text without the braces. */
	body = str_trim(body);
	if (body.len > 2) jo_raw(out, str_trim(str_of(body.ptr + 1, body.len - 2)));
}
