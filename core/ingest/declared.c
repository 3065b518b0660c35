/* What a person told us, as one message that a room above has made of it: the route, not the payload, says that it is declared. */
#include "ingest/message.h"

static int read_message(struct intake *in, struct draft *draft, void *ctx)
{
	const struct json *message = ctx;
	int rc = message_read(in, *message, 0, draft);
	draft->event.flags |= EVENT_DECLARED;
	return rc;
}

/* One request, one transaction: what was answered and what was consented to with it, or nothing. The token's single use is the message's;
 * the acts have ids of their own. */
static int admit_acts(struct intake *in, struct json acts)
{
	const struct ingest_request *request = in->request;
	struct ingest_request copy = *request;
	struct ingest_person person;
	struct json_iter it;
	struct json act;
	int rc = OK;
	if (request->person) {
		person = *request->person;
		person.token_id = STR_NONE;
		copy.person = &person;
	}
	in->request = &copy;
	json_iter_start(acts, &it);
	while (rc == OK && json_next_element(&it, &act)) rc = consent_admit(in, act);
	in->request = request;
	return rc;
}

static int read_whole(struct intake *in, struct json root)
{
	struct json message, acts;
	bool is_whole = json_get(root, STR("message"), &message) && json_get(root, STR("consents"), &acts);
	if (!is_whole) return intake_refuse(in, PROBLEM_SCHEMA_VIOLATION, STR_NONE, STR_NONE);
	size_t count = json_count(acts);
	if (count > 0 && !(in->caller.source->rights & RIGHT_CONSENT))
		return intake_refuse(in, PROBLEM_FORBIDDEN, STR("/consents"), STR("this source may not write consent"));
	int rc = intake_expect(in, 1 + count, STR_NONE);
	if (rc != OK) return rc;
	struct draft draft = {.root = &message, .shown = &message};
	rc = admit(in, &draft, read_message, &message);
	/* What names nobody, or is too large, says so itself; nothing of it is consented to then. */
	return rc == OK && in->batch->entry_count ? admit_acts(in, acts) : rc;
}

int declared_read_one(struct intake *in)
{
	const struct ingest_refusal *refusal = in->request->refusal;
	struct json root;
	const char *why = "";
	in->batch->is_single = true;
	if (!in->caller.source) return intake_refuse(in, PROBLEM_UNKNOWN_KEY, STR_NONE, STR("no write key was given"));
	if (!(in->caller.source->rights & RIGHT_DECLARED))
		return intake_refuse(in, PROBLEM_FORBIDDEN, STR_NONE,
				     STR("this source may not write declared data (may: [declared])"));
	if (refusal) return intake_refuse(in, refusal->problem, refusal->pointer, refusal->message);
	int rc = intake_parse(in, &root, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	return rc == OK ? read_whole(in, root) : rc;
}
