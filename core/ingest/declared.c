/* What a person told us, as one message that a room above has made of it: the route, not the payload, says that it is declared. */
#include "ingest/message.h"

static int read_message(struct intake *in, struct draft *draft, void *ctx)
{
	const struct json *message = ctx;
	int rc = message_read(in, *message, 0, draft);
	draft->event.flags |= EVENT_DECLARED;
	return rc;
}

int declared_read_one(struct intake *in)
{
	const struct ingest_refusal *refusal = in->request->refusal;
	struct json message;
	const char *why = "";
	in->batch->is_single = true;
	if (!in->caller.source) return intake_refuse(in, PROBLEM_UNKNOWN_KEY, STR_NONE, STR("no write key was given"));
	if (!(in->caller.source->rights & RIGHT_DECLARED))
		return intake_refuse(in, PROBLEM_FORBIDDEN, STR_NONE,
				     STR("this source may not write declared data (may: [declared])"));
	if (refusal) return intake_refuse(in, refusal->problem, refusal->pointer, refusal->message);
	int rc = intake_parse(in, &message, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	if (rc != OK) return rc;
	struct draft draft = {.root = &message, .shown = &message};
	return admit(in, &draft, read_message, &message);
}
