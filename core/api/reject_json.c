#include "api/reject_json.h"

static void text(struct json_out *out, struct str key, struct str value)
{
	if (!value.len) return;
	jo_key(out, key);
	jo_str(out, value);
}

void reject_json_write(struct json_out *out, const struct journal_reject_row *row)
{
	const struct journal_reject *reject = &row->reject;
	const struct problem_info *info = problem_info(reject->reason);
	jo_object(out);
	text(out, STR("stage"), STR("ingest"));
	jo_key(out, STR("at"));
	jo_time(out, row->t);
	text(out, STR("code"), str_from(info->code));
	text(out, STR("message"), reject->detail.len ? reject->detail : str_from(info->text));
	text(out, STR("pointer"), reject->pointer);
	text(out, STR("source"), reject->source_id);
	text(out, STR("messageId"), reject->message_id);
	jo_key(out, STR("index"));
	jo_uint(out, reject->index);
	text(out, STR("excerpt"), reject->excerpt);
	jo_end_object(out);
}

int reject_copy(struct arena *arena, const struct journal_reject_row *row, struct journal_reject_row *out)
{
	*out = *row;
	struct str *texts[] = {&out->reject.source_id, &out->reject.message_id, &out->reject.pointer,
			       &out->reject.detail, &out->reject.excerpt};
	int rc = OK;
	for (size_t i = 0; i < COUNT_OF(texts) && rc == OK; i++) rc = arena_str(arena, *texts[i], texts[i]);
	return rc;
}
