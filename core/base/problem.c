#include "base/problem.h"

#include "base/json.h"

static const struct problem_info problems[] = {
#define X(id, code, http, grpc, retry, text) [PROBLEM_##id] = {code, http, grpc, retry, text},
    PROBLEM_TABLE(X)
#undef X
};

const struct problem_info *problem_info(enum problem problem)
{
	if ((int)problem < 0 || problem >= PROBLEM_COUNT) problem = PROBLEM_INTERNAL;
	return &problems[problem];
}

bool problem_from_code(struct str code, enum problem *out)
{
	for (int i = 0; i < PROBLEM_COUNT; i++) {
		if (!str_eq(code, str_from(problems[i].code))) continue;
		*out = (enum problem)i;
		return true;
	}
	return false;
}

static void write_three(struct json_out *jo, struct str code, struct str message, struct str pointer)
{
	jo_key(jo, STR("code"));
	jo_str(jo, code);
	jo_key(jo, STR("message"));
	jo_str(jo, message);
	jo_key(jo, STR("pointer"));
	jo_str(jo, pointer);
}

int problem_write_json(struct buf *out, enum problem problem, struct str message, struct str pointer)
{
	const struct problem_info *info = problem_info(problem);
	struct str code = str_from(info->code);
	struct json_out jo;
	if (message.len == 0) message = str_from(info->text);
	json_out_init(&jo, out);
	jo_object(&jo);
	jo_key(&jo, STR("ok"));
	jo_bool(&jo, false);
	write_three(&jo, code, message, pointer);
	jo_key(&jo, STR("error"));
	jo_object(&jo);
	write_three(&jo, code, message, pointer);
	jo_end_object(&jo);
	jo_end_object(&jo);
	return jo.status;
}
