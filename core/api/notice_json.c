#include "api/notice_json.h"

void notice_json_write(struct json_out *out, const struct notice_status *status)
{
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, status->destination);
	jo_key(out, STR("answer"));
	jo_str(out, str_from(notice_state_name(status->state)));
	jo_key(out, STR("at"));
	if (status->at_us)
		jo_time(out, status->at_us);
	else
		jo_null(out);
	jo_key(out, STR("attempts"));
	jo_uint(out, status->attempts);
	if (status->reason.len) {
		jo_key(out, STR("reason"));
		jo_str(out, status->reason);
	}
	jo_end_object(out);
}
