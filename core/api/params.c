#include "api/params.h"

#include "api/position_wait.h"

void param_refuse(struct http_request *req, struct str name, const char *why)
{
	struct str message = STR_NONE;
	if (arena_printf(http_arena(req), &message, "%.*s: %s", STR_ARG(name), why) != OK) message = STR_NONE;
	http_reply_problem(req, PROBLEM_INVALID_PARAMETER, message, STR_NONE);
}

bool param_limit(struct http_request *req, size_t *limit)
{
	struct str text;
	uint64_t value = LIST_LIMIT_DEFAULT;
	if (http_query_get(req, STR("limit"), &text) &&
	    (str_to_u64(text, &value) != OK || value < 1 || value > LIST_LIMIT_MAX)) {
		param_refuse(req, STR("limit"), "a number from 1 to 500");
		return false;
	}
	*limit = (size_t)value;
	return true;
}

bool param_position(struct api *api, struct http_request *req, enum position_feed feed, struct str name,
		    struct str text, uint64_t *seq)
{
	struct str message;
	enum problem problem = position_read(api, feed, text, seq, &message);
	if (problem == PROBLEM_NONE) return true;
	if (problem == PROBLEM_INVALID_PARAMETER)
		param_refuse(req, name, message.ptr);
	else
		http_reply_problem(req, problem, message, STR_NONE);
	return false;
}

bool param_cursor(struct api *api, struct http_request *req, uint64_t *seq)
{
	struct str text;
	*seq = 0;
	if (!http_query_get(req, STR("cursor"), &text)) return true;
	return param_position(api, req, POSITION_EVENTS, STR("cursor"), text, seq);
}

void param_write_next(struct json_out *out, const struct api *api, bool has_more, uint64_t seq)
{
	char text[POSITION_TEXT_SIZE];
	struct position next = {.epoch = journal_epoch(api->journal), .seq = seq};
	jo_key(out, STR("next"));
	if (has_more)
		jo_str(out, str_of(text, position_format(POSITION_EVENTS, next, text)));
	else
		jo_null(out);
}

bool param_text(struct http_request *req, struct str name, size_t max, struct arena *arena, struct str *out)
{
	struct str text;
	*out = STR_NONE;
	if (!http_query_get(req, name, &text)) return true;
	if (text.len > max) {
		param_refuse(req, name, "too long");
		return false;
	}
	if (arena_str(arena, text, out) == OK) return true;
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	return false;
}
