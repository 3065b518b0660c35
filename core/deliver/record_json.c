#include "deliver/record_json.h"

#include "deliver/selection.h"
#include "event/position.h"
#include "profile/change_json.h"

static void begin(struct json_out *out, struct buf *buf, struct str type)
{
	json_out_init(out, buf);
	jo_object(out);
	jo_key(out, STR("type"));
	jo_str(out, type);
}

static int end(struct json_out *out)
{
	jo_end_object(out);
	return out->status;
}

static void write_id(struct json_out *out, const struct fragment_id *id)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	fragment_id_format(id, text);
	jo_str(out, str_from(text));
}

static void write_ids(struct json_out *out, const struct fragment_id *ids, size_t count)
{
	jo_key(out, STR("profileIds"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) write_id(out, &ids[i]);
	jo_end_array(out);
}

static void write_time(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	if (us)
		jo_time(out, us);
	else
		jo_null(out);
}

static void write_position(struct json_out *out, uint64_t epoch, uint64_t change_seq)
{
	char text[POSITION_TEXT_SIZE];
	size_t len = position_format(POSITION_CHANGES, (struct position){epoch, change_seq}, text);
	jo_key(out, STR("position"));
	jo_str(out, str_of(text, len));
}

int record_write_profile(struct buf *buf, const struct profile *profile, uint64_t epoch, uint64_t change_seq)
{
	struct json_out out;
	begin(&out, buf, STR("profile"));
	int rc = selection_write_members(&out, profile);
	write_time(&out, STR("firstSeen"), profile->first_seen);
	write_time(&out, STR("lastSeen"), profile->last_seen);
	jo_key(&out, STR("eventCount"));
	jo_uint(&out, profile->event_count);
	write_position(&out, epoch, change_seq);
	return rc ? rc : end(&out);
}

int record_write_gone(struct buf *buf, const struct fragment_id *id, const char *why, const struct fragment_id *into,
		      uint64_t epoch, uint64_t change_seq)
{
	struct json_out out;
	begin(&out, buf, STR("profile"));
	jo_key(&out, STR("id"));
	write_id(&out, id);
	jo_key(&out, STR("gone"));
	jo_str(&out, str_from(why));
	if (into) {
		jo_key(&out, STR("mergedInto"));
		write_id(&out, into);
	}
	write_position(&out, epoch, change_seq);
	return end(&out);
}

int record_write_change(struct buf *buf, const struct change *change, struct str body, uint64_t epoch)
{
	struct json_out out;
	begin(&out, buf, STR("change"));
	change_write_members(&out, epoch, change, body);
	return end(&out);
}

int record_write_erased(struct buf *buf, struct str receipt, bool is_whole, const struct fragment_id *ids, size_t count,
			int64_t t)
{
	struct json_out out;
	begin(&out, buf, STR("erased"));
	jo_key(&out, STR("messageId"));
	jo_str(&out, receipt);
	jo_key(&out, STR("scope"));
	jo_str(&out, is_whole ? STR("profile") : STR("identifier"));
	write_ids(&out, ids, count);
	jo_key(&out, STR("timestamp"));
	jo_time(&out, t);
	return end(&out);
}

int record_write_withdrawn(struct buf *buf, struct str purpose, enum consent_state state, const struct fragment_id *ids,
			   size_t count, int64_t t)
{
	struct json_out out;
	begin(&out, buf, STR("withdrawn"));
	jo_key(&out, STR("purpose"));
	jo_str(&out, purpose);
	jo_key(&out, STR("state"));
	jo_str(&out, str_from(consent_state_name(state)));
	write_ids(&out, ids, count);
	jo_key(&out, STR("at"));
	jo_time(&out, t);
	return end(&out);
}
