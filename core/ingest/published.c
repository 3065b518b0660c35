/* One event that an instance of a plugin published. Its source is the instance; the route, not the payload, says that what it tells of a
 * person is inferred, and that it is nothing the person did. */
#include "ingest/message.h"
#include "ingest/person_ref.h"

int published_take_source(struct intake *in)
{
	struct conf_source *source = arena_new(&in->worker->envelope, struct conf_source);
	if (!source) return intake_refuse(in, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	*source = (struct conf_source){.id = in->request->published->source,
				       .kind = SOURCE_PLUGIN,
				       .default_country = STR_NONE,
				       .purpose = STR_NONE,
				       .rights = RIGHT_TIME,
				       .rules = in->config->rules};
	in->caller = (struct caller){source, source->id};
	return OK;
}

static int read_event(struct intake *in, struct draft *draft, void *ctx)
{
	const struct json *message = ctx;
	struct str ref = in->request->published->ref;
	int rc = message_read(in, *message, 0, draft);
	draft->event.flags |= EVENT_INFERRED | EVENT_INACTIVE;
	if (rc == OK && ref.len) rc = person_ref_put(in, draft, ref, *message);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

int published_read(struct intake *in)
{
	struct json message;
	const char *why = "";
	in->batch->is_single = true;
	int rc = intake_parse(in, &message, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	struct draft draft = {.root = &message, .shown = &message};
	return rc == OK ? admit(in, &draft, read_event, &message) : rc;
}
