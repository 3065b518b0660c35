/* Traits that a token's bearer states of one person, or of many: a server, or a model. They become identify events that the
 * route, not the payload, says the provenance of. It is nothing the person did: it does not touch when they were last seen. */
#include "ingest/message.h"
#include "ingest/person_ref.h"
#include "ingest/validate.h"

#define PERSON_REF "must be a reference such as user_id:42, of a namespace of the configuration"

static const struct str in_traits = {"traits.", 7}, in_context = {"context.", 8}, in_properties = {"properties.", 11};

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

struct statement { /* of one person */
	const struct ingest_traits *told;
	struct str ref, message_id;
	int64_t time_us;
	struct json traits;
	struct str text; /* of the traits, when they are not parsed yet */
	const struct ingest_refusal *refusal;
};

/* properties.model, by which the fold knows who inferred them. */
static int write_model(struct intake *in, struct draft *draft, const struct ingest_traits *told)
{
	struct buf *text = &in->worker->text;
	if (!told->model.len) return OK;
	draft->properties.at = text->len;
	int rc = buf_append_str(text, STR("{\"model\":{\"name\":"));
	if (rc == OK) rc = json_write_str(text, told->model);
	if (rc == OK && told->model_version.len) rc = buf_append_str(text, STR(",\"version\":"));
	if (rc == OK && told->model_version.len) rc = json_write_str(text, told->model_version);
	if (rc == OK) rc = buf_append_str(text, STR("}}"));
	draft->properties.len = text->len - draft->properties.at;
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

/* The reference lies beside the model. */
static int write_in_properties(struct intake *in, struct draft *draft, struct str path, struct str value)
{
	struct buf *text = &in->worker->text;
	struct span *out = &draft->properties;
	if (!out->len) return write_part(in, draft, path, value, out);
	if (str_eq(path, STR("model")) || str_starts(path, STR("model.")))
		return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR("/ref"),
				   STR("the namespace is read from properties.model, where the model is named"));
	CHECK(out->at + out->len == text->len);
	buf_cut(text, text->len - 1); /* the closing brace */
	int rc = buf_putc(text, ',');
	if (rc == OK) rc = person_ref_write_path(text, path, value);
	if (rc == OK) rc = buf_putc(text, '}');
	out->len = text->len - out->at;
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int write_traits(struct intake *in, struct draft *draft, const struct statement *said)
{
	struct cdpd_event *event = &draft->event;
	struct json traits = said->traits;
	struct str value;
	const struct conf_namespace *namespace_ = person_ref_read(in->config, said->ref, &value);
	if (!namespace_) return bad_ref(draft);
	struct str from = person_ref_field(namespace_);
	if (str_starts(from, in_traits)) {
		int rc = write_with_identifier(in, draft, traits, behind(from, in_traits), value);
		return rc == OK ? write_model(in, draft, said->told) : rc;
	}
	int rc = message_write_part(in, draft, traits, STR("/traits"), &draft->traits);
	if (rc == OK) rc = write_model(in, draft, said->told);
	if (rc != OK) return rc;
	if (str_starts(from, in_context))
		return write_part(in, draft, behind(from, in_context), value, &draft->context);
	if (str_starts(from, in_properties)) return write_in_properties(in, draft, behind(from, in_properties), value);
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

static int read_traits_text(struct intake *in, struct draft *draft, struct statement *said)
{
	const char *why = "";
	draft->raw = said->text;
	int rc = json_parse(in->worker->reader, said->text, &said->traits, &why);
	if (rc == OK) {
		draft->shown = &said->traits;
		return OK;
	}
	return draft_fault(draft, rc == ERR_NOMEM ? PROBLEM_TOO_LARGE : intake_problem_of_json(why), STR("/traits"),
			   str_from(why));
}

static int read_statement(struct intake *in, struct draft *draft, void *ctx)
{
	struct statement *said = ctx;
	struct cdpd_event *event = &draft->event;
	event->type = EVENT_IDENTIFY;
	event->message_id = said->message_id;
	event->client_time_us = said->time_us;
	event->flags |= said->told->flags | EVENT_INACTIVE | (said->time_us ? 0 : EVENT_TIME_MISSING);
	draft->is_named_by_ref = true;
	int rc = said->text.len ? read_traits_text(in, draft, said) : OK;
	if (rc != OK) return rc;
	if (said->refusal)
		return draft_fault(draft, said->refusal->problem, said->refusal->pointer, said->refusal->message);
	if (!time_is_plausible(said->time_us))
		return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, STR("/timestamp"), STR_NONE);
	if (json_type(said->traits) != JSON_OBJECT || json_count(said->traits) == 0)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/traits"),
				   STR("must be an object with at least one trait"));
	rc = validate_key_counts(draft, said->traits, &in->worker->scratch);
	if (rc == OK) rc = write_traits(in, draft, said);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

static int read_many(struct intake *in)
{
	const struct ingest_traits *told = in->request->traits;
	int rc = intake_expect(in, told->item_count, STR("/items"));
	for (size_t i = 0; i < told->item_count && rc == OK; i++) {
		const struct ingest_traits_item *item = &told->items[i];
		struct statement said = {.told = told,
					 .ref = item->ref,
					 .message_id = item->message_id,
					 .time_us = item->time_us ? item->time_us : told->time_us,
					 .text = item->traits,
					 .refusal = item->refusal};
		struct draft draft = {.raw = item->traits};
		rc = admit(in, &draft, read_statement, &said);
	}
	return rc;
}

int set_traits_read(struct intake *in)
{
	const struct ingest_traits *told = in->request->traits;
	struct statement said = {
	    .told = told, .ref = told->ref, .message_id = told->message_id, .time_us = told->time_us, .text = STR_NONE};
	const char *why = "";
	if (told->items) return read_many(in);
	in->batch->is_single = true;
	int rc = intake_parse(in, &said.traits, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR("/traits"), str_from(why));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	struct draft draft = {.shown = &said.traits};
	return rc == OK ? admit(in, &draft, read_statement, &said) : rc;
}
