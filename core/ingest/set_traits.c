/* Traits that a token's bearer states of one person: a server, or a model. They become an identify event that the route, not the payload,
 * says the provenance of. It is nothing the person did: it does not touch when they were last seen. */
#include "ingest/message.h"
#include "ingest/person_ref.h"
#include "ingest/validate.h"

#define PERSON_REF "must be a reference such as user_id:42, of a namespace of the configuration"

static const struct str in_traits = {"traits.", 7}, in_context = {"context.", 8}, in_properties = {"properties.", 11};

/* Where the identifier goes: best beside the traits, for there it would become one itself. */
static struct str choose_field(const struct conf_namespace *namespace_)
{
	for (size_t i = 0; i < namespace_->from_count; i++)
		if (!str_starts(namespace_->from[i], in_traits)) return namespace_->from[i];
	return namespace_->from[0];
}

static int bad_ref(struct draft *draft)
{
	return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR("/ref"), STR(PERSON_REF));
}

static struct str behind(struct str from, struct str prefix)
{
	return str_of(from.ptr + prefix.len, from.len - prefix.len);
}

static int write_part(struct intake *in, struct draft *draft, struct str path, struct str value, struct span *out)
{
	struct buf *text = &in->worker->text;
	out->at = text->len;
	int rc = buf_putc(text, '{');
	if (rc == OK) rc = person_ref_write_path(text, path, value);
	if (rc == OK) rc = buf_putc(text, '}');
	out->len = text->len - out->at;
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

/* The reference lies among the traits: it must not contradict them. */
static int write_with_identifier(struct intake *in, struct draft *draft, struct json traits, struct str path,
				 struct str value)
{
	struct buf *text = &in->worker->text;
	struct json own, top;
	struct str named;
	const char *dot = memchr(path.ptr, '.', path.len);
	struct str first = str_of(path.ptr, dot ? (size_t)(dot - path.ptr) : path.len);
	if (json_get(traits, first, &top)) {
		if (json_get_path(traits, path, &own) && json_str(own, &named) && str_eq(named, value))
			return message_write_part(in, draft, traits, STR("/traits"), &draft->traits);
		return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR("/traits"),
				   STR("the traits name somebody else than the reference"));
	}
	int rc = message_write_part(in, draft, traits, STR("/traits"), &draft->traits);
	if (rc != OK) return rc;
	buf_cut(text, text->len - 1); /* the closing brace */
	if (json_count(traits)) rc = buf_putc(text, ',');
	if (rc == OK) rc = person_ref_write_path(text, path, value);
	if (rc == OK) rc = buf_putc(text, '}');
	draft->traits.len = text->len - draft->traits.at;
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int write_traits(struct intake *in, struct draft *draft, struct json traits)
{
	struct cdpd_event *event = &draft->event;
	struct str value;
	const struct conf_namespace *namespace_ = person_ref_read(in->config, in->request->traits->ref, &value);
	if (!namespace_) return bad_ref(draft);
	struct str from = choose_field(namespace_);
	if (str_starts(from, in_traits))
		return write_with_identifier(in, draft, traits, behind(from, in_traits), value);
	int rc = message_write_part(in, draft, traits, STR("/traits"), &draft->traits);
	if (rc != OK) return rc;
	if (str_starts(from, in_context))
		return write_part(in, draft, behind(from, in_context), value, &draft->context);
	if (str_starts(from, in_properties))
		return write_part(in, draft, behind(from, in_properties), value, &draft->properties);
	if (str_eq(from, STR("userId")))
		event->user_id = value;
	else if (str_eq(from, STR("anonymousId")))
		event->anonymous_id = value;
	else if (str_eq(from, STR("groupId")))
		event->group_id = value;
	else
		return bad_ref(draft);
	return OK;
}

static int read_statement(struct intake *in, struct draft *draft, void *ctx)
{
	const struct json *traits = ctx;
	const struct ingest_traits *told = in->request->traits;
	struct cdpd_event *event = &draft->event;
	event->type = EVENT_IDENTIFY;
	event->message_id = told->message_id;
	event->client_time_us = told->time_us;
	event->flags |= told->flags | EVENT_INACTIVE | (told->time_us ? 0 : EVENT_TIME_MISSING);
	draft->is_named_by_ref = true;
	if (!time_is_plausible(told->time_us))
		return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, STR("/timestamp"), STR_NONE);
	if (json_type(*traits) != JSON_OBJECT || json_count(*traits) == 0)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/traits"),
				   STR("must be an object with at least one trait"));
	int rc = validate_key_counts(draft, *traits, &in->worker->scratch);
	if (rc == OK) rc = write_traits(in, draft, *traits);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

int set_traits_read(struct intake *in)
{
	struct json traits;
	const char *why = "";
	in->batch->is_single = true;
	int rc = intake_parse(in, &traits, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR("/traits"), str_from(why));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	struct draft draft = {.shown = &traits};
	return rc == OK ? admit(in, &draft, read_statement, &traits) : rc;
}
