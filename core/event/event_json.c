#include "event/event.h"

static void text(struct json_out *out, struct str key, struct str value)
{
	if (value.len == 0) return;
	jo_key(out, key);
	jo_str(out, value);
}

static void raw(struct json_out *out, struct str key, struct str json)
{
	if (json.len == 0) return;
	jo_key(out, key);
	jo_raw(out, json);
}

static void moment(struct json_out *out, struct str key, int64_t us)
{
	if (us == 0) return;
	jo_key(out, key);
	jo_time(out, us);
}

int event_write_json(struct buf *buf, const struct cdpd_event *event, bool leave_open)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	text(&out, STR("type"), str_from(event_type_name(event->type)));
	text(&out, STR("messageId"), event->message_id);
	text(&out, STR("event"), event->event);
	text(&out, STR("name"), event->name);
	text(&out, STR("category"), event->category);
	text(&out, STR("userId"), event->user_id);
	text(&out, STR("anonymousId"), event->anonymous_id);
	text(&out, STR("previousId"), event->previous_id);
	text(&out, STR("groupId"), event->group_id);
	raw(&out, STR("properties"), event->properties);
	raw(&out, STR("traits"), event->traits);
	raw(&out, STR("context"), event->context);
	raw(&out, STR("enrichment"), event->enrichment);
	raw(&out, STR("extra"), event->extra);
	raw(&out, STR("violations"), event->violations);
	text(&out, STR("ip"), event->ip);
	text(&out, STR("userAgent"), event->user_agent);
	moment(&out, STR("timestamp"), event->event_time_us);
	moment(&out, STR("originalTimestamp"), event->client_time_us);
	moment(&out, STR("sentAt"), event->sent_at_us);
	moment(&out, STR("receivedAt"), event->received_at_us);
	text(&out, STR("sourceId"), event->source_id);
	if (!leave_open) jo_end_object(&out);
	return out.status;
}
