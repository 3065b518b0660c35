/* What a person consents to, as POST /v1/consents says it:
 *
 *   {"person","purpose","channel"?,"state","basis"?,"expires_at"?,"proof"?:{…},"at"?,"messageId"?}
 *
 * or, for every purpose of the configuration that has a TCF number at once, {"person","tcf","proof"?,"at"?,"messageId"?}.
 *
 * It becomes a track event of the person with EVENT_CONSENT, which no other dialect sets. The properties are what was
 * said; the salt of its place in the log and the person token lie in the enrichment, where a client writes nothing. */
#include "base/encode.h"
#include "base/hash.h"
#include "ingest/message.h"
#include "ingest/person_ref.h"
#include "ingest/tcf.h"

#define SALT_SIZE     16
#define PROOF_MAX     8192
#define TEXT_MAX      64
#define TCF_PROOF_MAX 7000 /* it is kept as a proof */
#define STATES        "must be granted, denied or withdrawn"
#define PERSON_REF    "must be a reference such as user_id:42, of a namespace of the configuration"

const struct conf_source consent_person_source = {
    .id = {"person", 6},
    .kind = SOURCE_BROWSER,
    .default_country = {"", 0},
    .purpose = {"", 0},
    .rights = RIGHT_CONSENT | RIGHT_DECLARED,
};

enum field {
	FIELD_PERSON,
	FIELD_PURPOSE,
	FIELD_CHANNEL,
	FIELD_STATE,
	FIELD_BASIS,
	FIELD_EXPIRES_AT,
	FIELD_PROOF,
	FIELD_AT,
	FIELD_MESSAGE_ID,
	FIELD_TCF,
	FIELD_COUNT
};
static const char *const names[FIELD_COUNT] = {"person",     "purpose", "channel", "state",     "basis",
					       "expires_at", "proof",   "at",      "messageId", "tcf"};
static const char *const pointers[FIELD_COUNT] = {"/person",     "/purpose", "/channel", "/state",     "/basis",
						  "/expires_at", "/proof",   "/at",      "/messageId", "/tcf"};
static const char *const credentials[] = {"writeKey", "api_key", "token"}; /* of the request, not of the act */

struct statement {
	struct json values[FIELD_COUNT];
	unsigned present;
	struct str purpose, channel, state, basis; /* as they will be written */
	struct str ref;
	const struct conf_purpose *conf;
	const struct tcf *tcf; /* what speaks instead of purpose and state; NULL: nothing */
	struct str tcf_text;
};

/* One body and, when it is a TCF string, the purpose that the next act is about. */
struct act_source {
	const struct json *body;
	const struct tcf *tcf;
	struct str tcf_text;
	const struct conf_purpose *conf;
};

static bool has(const struct statement *s, enum field field)
{
	return s->present >> field & 1;
}

static int fault(struct draft *draft, enum field field, struct str why)
{
	return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, str_from(pointers[field]), why);
}

/* ── members ─────────────────────────────────────────────────────────────── */

static bool is_credential(struct str key)
{
	for (size_t i = 0; i < COUNT_OF(credentials); i++)
		if (str_eq(key, str_from(credentials[i]))) return true;
	return false;
}

static int gather(struct intake *in, struct draft *draft, struct json body, struct statement *s)
{
	struct json_iter it;
	struct str key, pointer;
	struct json value;
	for (json_iter_start(body, &it); json_next_member(&it, &key, &value);) {
		int field = 0;
		while (field < FIELD_COUNT && !str_eq(key, str_from(names[field]))) field++;
		if (field == FIELD_COUNT && is_credential(key)) continue;
		if (field == FIELD_COUNT) {
			if (key.len > TEXT_MAX ||
			    arena_printf(&in->worker->scratch, &pointer, "/%.*s", STR_ARG(key)) != OK)
				pointer = STR_NONE;
			return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, pointer, STR("is no field of a consent"));
		}
		s->values[field] = value;
		s->present = (s->present & ~(1u << field)) | (json_type(value) != JSON_NULL ? 1u << field : 0);
	}
	return OK;
}

/* Empty when it is not given. */
static int take_text(struct draft *draft, const struct statement *s, enum field field, struct str *out)
{
	*out = STR_NONE;
	if (!has(s, field) || json_str(s->values[field], out)) return OK;
	return fault(draft, field, STR("must be a string"));
}

static struct str event_name(struct str state)
{
	if (str_eq(state, STR("granted"))) return STR("Consent Granted");
	if (str_eq(state, STR("denied"))) return STR("Consent Denied");
	return str_eq(state, STR("withdrawn")) ? STR("Consent Withdrawn") : STR_NONE;
}

/* What the string says of the purpose, by the legal ground that the configuration names for it. */
static int read_tcf(struct draft *draft, struct statement *s)
{
	static const enum field others[] = {FIELD_PURPOSE, FIELD_CHANNEL, FIELD_STATE, FIELD_BASIS, FIELD_EXPIRES_AT};
	for (size_t i = 0; i < COUNT_OF(others); i++)
		if (has(s, others[i])) return fault(draft, others[i], STR("the TCF string says it"));
	bool is_granted = s->conf->basis == BASIS_LEGITIMATE_INTERESTS ? tcf_purpose_legitimate(s->tcf, s->conf->tcf)
								       : tcf_purpose(s->tcf, s->conf->tcf);
	s->purpose = s->conf->name;
	s->state = is_granted ? STR("granted") : STR("denied");
	s->channel = s->basis = STR_NONE;
	draft->event.event = event_name(s->state);
	return OK;
}

static int read_purpose(struct intake *in, struct draft *draft, struct statement *s)
{
	int rc = take_text(draft, s, FIELD_PURPOSE, &s->purpose);
	if (rc == OK) rc = take_text(draft, s, FIELD_CHANNEL, &s->channel);
	if (rc != OK) return rc;
	if (s->purpose.len == 0) return fault(draft, FIELD_PURPOSE, STR("a consent needs a purpose"));
	s->conf = config_purpose(in->config, s->purpose);
	if (!s->conf) return draft_fault(draft, PROBLEM_UNKNOWN_PURPOSE, STR("/purpose"), STR_NONE);
	if (s->channel.len == 0) return OK;
	for (size_t i = 0; i < s->conf->channel_count; i++)
		if (str_eq(s->conf->channels[i], s->channel)) return OK;
	return draft_fault(draft, PROBLEM_UNKNOWN_CHANNEL, STR("/channel"), STR_NONE);
}

static int read_state(struct draft *draft, struct statement *s)
{
	enum lawful_basis basis;
	int rc = take_text(draft, s, FIELD_STATE, &s->state);
	if (rc == OK) rc = take_text(draft, s, FIELD_BASIS, &s->basis);
	if (rc != OK) return rc;
	draft->event.event = event_name(s->state);
	if (draft->event.event.len == 0) return fault(draft, FIELD_STATE, STR(STATES));
	if (s->basis.len == 0 || lawful_basis_from_name(s->basis, &basis)) return OK;
	return fault(draft, FIELD_BASIS,
		     STR("must be consent, contract, legal_obligation, vital_interests, public_task or "
			 "legitimate_interests"));
}

static int read_time(struct draft *draft, const struct statement *s, enum field field, int64_t *us)
{
	int16_t offset;
	*us = 0;
	if (!has(s, field)) return OK;
	int rc = message_time(s->values[field], us, &offset);
	if (rc == OK) return OK;
	return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, str_from(pointers[field]), STR_NONE);
}

static int read_times(struct intake *in, struct draft *draft, const struct statement *s)
{
	int64_t expires;
	struct cdpd_event *event = &draft->event;
	int rc = read_time(draft, s, FIELD_AT, &event->client_time_us);
	if (s->tcf && !event->client_time_us && s->tcf->updated_us < in->request->received_at_us)
		event->client_time_us = s->tcf->updated_us;
	if (rc == OK) rc = read_time(draft, s, FIELD_EXPIRES_AT, &expires);
	if (rc != OK) return rc;
	/* A person speaks now; only a source can tell of what was said before. */
	if (in->request->person || event->client_time_us == 0) {
		event->client_time_us = 0;
		event->flags |= EVENT_TIME_MISSING;
	}
	if (expires && !str_eq(s->state, STR("granted")))
		return fault(draft, FIELD_EXPIRES_AT, STR("only what is granted can expire"));
	if (expires && expires <= in->request->received_at_us)
		return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, STR("/expires_at"), STR("lies in the past"));
	return OK;
}

/* ── who ─────────────────────────────────────────────────────────────────── */

static int read_ref(struct intake *in, struct draft *draft, struct statement *s)
{
	const struct ingest_person *person = in->request->person;
	int rc = take_text(draft, s, FIELD_PERSON, &s->ref);
	if (rc != OK) return rc;
	if (in->request->person_ref.len) s->ref = in->request->person_ref;
	if (person) {
		if (s->ref.len && !str_eq(s->ref, person->ref))
			return draft_fault(draft, PROBLEM_FORBIDDEN, STR("/person"),
					   STR("the token speaks for another person"));
		s->ref = person->ref;
	}
	if (s->ref.len == 0) return draft_fault(draft, PROBLEM_MISSING_IDENTITY, STR("/person"), STR(PERSON_REF));
	return OK;
}

static int write_part_path(struct buf *text, struct str path, struct str value, struct span *out)
{
	out->at = text->len;
	int rc = buf_putc(text, '{');
	if (rc == OK) rc = person_ref_write_path(text, path, value);
	if (rc == OK) rc = buf_putc(text, '}');
	out->len = text->len - out->at;
	return rc;
}

/* Puts the value where the namespace's identifiers are read from. *in_properties: its path there, or empty. */
static int place_person(struct intake *in, struct draft *draft, struct str from, struct str value,
			struct str *in_properties)
{
	const struct str traits = STR("traits."), context = STR("context."), properties = STR("properties.");
	struct buf *text = &in->worker->text;
	struct cdpd_event *event = &draft->event;
	int rc = OK;
	*in_properties = STR_NONE;
	if (str_eq(from, STR("userId"))) {
		event->user_id = value;
	} else if (str_eq(from, STR("anonymousId"))) {
		event->anonymous_id = value;
	} else if (str_eq(from, STR("groupId"))) {
		event->group_id = value;
	} else if (str_starts(from, traits)) {
		rc = write_part_path(text, str_of(from.ptr + traits.len, from.len - traits.len), value, &draft->traits);
	} else if (str_starts(from, context)) {
		rc = write_part_path(text, str_of(from.ptr + context.len, from.len - context.len), value,
				     &draft->context);
	} else if (str_starts(from, properties)) {
		*in_properties = str_of(from.ptr + properties.len, from.len - properties.len);
	} else {
		return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR("/person"), STR(PERSON_REF));
	}
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int read_person(struct intake *in, struct draft *draft, struct statement *s, struct str *in_properties)
{
	struct str value;
	int rc = read_ref(in, draft, s);
	if (rc != OK) return rc;
	const struct conf_namespace *namespace_ = person_ref_read(in->config, s->ref, &value);
	if (!namespace_) return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR("/person"), STR(PERSON_REF));
	return place_person(in, draft, namespace_->from[0], value, in_properties);
}

/* ── what is written ─────────────────────────────────────────────────────── */

static int check_proof(struct draft *draft, const struct statement *s)
{
	static const char *const texts[] = {"text", "version", "where", "how"};
	struct json value, proof = s->values[FIELD_PROOF];
	struct str ignored;
	if (!has(s, FIELD_PROOF)) return OK;
	if (json_type(proof) != JSON_OBJECT) return fault(draft, FIELD_PROOF, STR("must be an object"));
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (json_get(proof, str_from(texts[i]), &value) && json_type(value) != JSON_NULL &&
		    !json_str(value, &ignored))
			return fault(draft, FIELD_PROOF, STR("text, version, where and how must be strings"));
	return OK;
}

static void write_member(struct json_out *out, const char *key, struct str value)
{
	if (value.len == 0) return;
	jo_key(out, str_from(key));
	jo_str(out, value);
}

/* The string itself proves what it says. */
static void write_tcf_proof(const struct statement *s, struct json_out *out)
{
	jo_key(out, STR("proof"));
	jo_object(out);
	jo_key(out, STR("cmp"));
	jo_uint(out, s->tcf->cmp_id);
	jo_key(out, STR("how"));
	jo_str(out, STR("tcf"));
	jo_key(out, STR("text"));
	jo_str(out, s->tcf_text);
	jo_key(out, STR("vendorList"));
	jo_uint(out, s->tcf->vendor_list_version);
	jo_end_object(out);
}

static int write_proof(struct draft *draft, const struct statement *s, struct json_out *out)
{
	if (s->tcf && !has(s, FIELD_PROOF)) write_tcf_proof(s, out);
	if (!has(s, FIELD_PROOF) || out->status) return OK;
	jo_key(out, STR("proof"));
	size_t at = out->buf->len;
	int rc = json_write_canonical(out->buf, s->values[FIELD_PROOF]);
	if (rc != OK || out->buf->len - at > PROOF_MAX)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR("/proof"), STR("a proof has at most 8192 bytes"));
	out->need_comma = true;
	return OK;
}

static int write_properties(struct intake *in, struct draft *draft, const struct statement *s, struct str person_path)
{
	struct buf *text = &in->worker->text;
	struct json_out out;
	int16_t offset;
	int64_t expires = 0;
	draft->properties.at = text->len;
	json_out_init(&out, text);
	jo_object(&out);
	write_member(&out, "basis", s->basis);
	write_member(&out, "channel", s->channel);
	if (has(s, FIELD_EXPIRES_AT) && message_time(s->values[FIELD_EXPIRES_AT], &expires, &offset) == OK) {
		jo_key(&out, STR("expires_at"));
		jo_time(&out, expires);
	}
	int rc = write_proof(draft, s, &out);
	if (rc != OK) return rc;
	write_member(&out, "purpose", s->purpose);
	write_member(&out, "state", s->state);
	if (person_path.len && out.status == OK) {
		out.status = buf_putc(text, ',');
		struct str value;
		if (out.status == OK && person_ref_read(in->config, s->ref, &value))
			out.status = person_ref_write_path(text, person_path, value);
	}
	jo_end_object(&out);
	draft->properties.len = text->len - draft->properties.at;
	draft->size += draft->properties.len;
	return out.status == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

/* What the daemon itself says of the act. */
static int attest(struct intake *in, struct draft *draft)
{
	const struct ingest_person *person = in->request->person;
	uint8_t salt[SALT_SIZE];
	char hex[2 * SALT_SIZE + 1];
	struct str token = STR_NONE;
	int rc = OK;
	random_bytes(salt, sizeof salt);
	hex_encode(salt, sizeof salt, hex);
	if (person && person->token_id.len)
		rc = arena_printf(&in->worker->scratch, &token, ",\"token\":{\"expires\":%lld,\"id\":\"%.*s\"}",
				  (long long)person->token_expires, STR_ARG(person->token_id));
	/* A person token was sent to the person: whoever has it has proved who he is. */
	if (rc == OK)
		rc = arena_printf(&in->worker->scratch, &draft->event.enrichment,
				  "{\"consent\":{\"confirmed\":%s,\"salt\":\"%s\"%.*s}}", person ? "true" : "false",
				  hex, STR_ARG(token));
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int read_message_id(struct intake *in, struct draft *draft, const struct statement *s)
{
	const struct ingest_person *person = in->request->person;
	int rc = take_text(draft, s, FIELD_MESSAGE_ID, &draft->event.message_id);
	if (rc == OK && person && person->token_id.len) draft->event.message_id = person->token_id;
	if (rc != OK || !s->tcf || !draft->event.message_id.len) return rc;
	/* One message became several acts, each with an id of its own. */
	rc = arena_printf(&in->worker->scratch, &draft->event.message_id, "%.*s/%.*s", STR_ARG(draft->event.message_id),
			  STR_ARG(s->conf->name));
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR("/messageId"), STR_NONE);
}

static int finish(struct intake *in, struct draft *draft, struct statement *s)
{
	struct str in_properties = STR_NONE;
	int rc = read_person(in, draft, s, &in_properties);
	if (rc == OK) rc = check_proof(draft, s);
	if (rc == OK) rc = write_properties(in, draft, s, in_properties);
	if (rc == OK) rc = attest(in, draft);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

static int read_statement(struct intake *in, struct draft *draft, void *ctx)
{
	const struct act_source *source = ctx;
	struct statement s = {.ref = STR_NONE, .tcf = source->tcf, .tcf_text = source->tcf_text, .conf = source->conf};
	draft->event.type = EVENT_TRACK;
	draft->event.flags |= EVENT_CONSENT;
	if (json_type(*source->body) != JSON_OBJECT)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR_NONE, STR("must be an object"));
	int rc = gather(in, draft, *source->body, &s);
	if (rc == OK) rc = read_message_id(in, draft, &s);
	if (rc == OK && s.tcf) rc = read_tcf(draft, &s);
	if (rc == OK && !s.tcf) rc = read_purpose(in, draft, &s);
	if (rc == OK && !s.tcf) rc = read_state(draft, &s);
	if (rc == OK) rc = read_times(in, draft, &s);
	return rc == OK ? finish(in, draft, &s) : rc;
}

/* ── the request ─────────────────────────────────────────────────────────── */

static int check_right(struct intake *in)
{
	if (in->caller.source->rights & RIGHT_CONSENT) return OK;
	return intake_refuse(
	    in, PROBLEM_FORBIDDEN, STR_NONE,
	    STR("this source may not write consent: a person token must speak for the person, or a server "
		"source with may: [consent]"));
}

static int admit_act(struct intake *in, struct act_source *source)
{
	struct draft draft = {.shown = source->body};
	return admit(in, &draft, read_statement, source);
}

int consent_admit(struct intake *in, struct json statement)
{
	struct act_source source = {.body = &statement, .tcf_text = STR_NONE};
	return admit_act(in, &source);
}

static int refuse_tcf(struct intake *in, struct str why)
{
	return intake_refuse(in, PROBLEM_SCHEMA_VIOLATION, STR("/tcf"), why);
}

/* An act for each purpose that stands for one of the framework's. */
static int admit_tcf(struct intake *in, const struct json *body, struct str text)
{
	struct tcf tcf;
	struct act_source source = {.body = body, .tcf = &tcf, .tcf_text = text};
	size_t count = 0;
	const struct config *config = in->config;
	for (size_t i = 0; i < config->purpose_count; i++) count += config->purposes[i].tcf != 0;
	if (count == 0) return refuse_tcf(in, STR("no purpose of the configuration has a tcf number"));
	if (in->request->person && in->request->person->token_id.len)
		return refuse_tcf(in, STR("a token for one use states one consent"));
	if (text.len > TCF_PROOF_MAX) return intake_refuse(in, PROBLEM_TOO_LARGE, STR("/tcf"), STR_NONE);
	int rc = tcf_read(text, &tcf);
	if (rc == ERR_FORMAT) return refuse_tcf(in, STR("is not a TCF string of version 2"));
	if (rc != OK) return refuse_tcf(in, STR("is malformed or cut short"));
	rc = intake_expect(in, count, STR_NONE);
	in->batch->is_single = count == 1;
	for (size_t i = 0; i < config->purpose_count && rc == OK; i++) {
		source.conf = &config->purposes[i];
		if (source.conf->tcf) rc = admit_act(in, &source);
	}
	return rc;
}

int consent_read(struct intake *in)
{
	struct json root, tcf;
	struct str text;
	const char *why = "";
	in->batch->is_single = true;
	int rc = intake_parse(in, &root, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	if (rc != OK) return rc;
	rc = intake_identify(in, message_key(root));
	if (rc == OK) rc = check_right(in);
	if (rc != OK) return rc;
	if (json_get(root, STR("tcf"), &tcf) && json_type(tcf) != JSON_NULL)
		return json_str(tcf, &text) ? admit_tcf(in, &root, text) : refuse_tcf(in, STR("must be a string"));
	rc = intake_expect(in, 1, STR_NONE);
	struct act_source source = {.body = &root, .tcf_text = STR_NONE};
	return rc == OK ? admit_act(in, &source) : rc;
}
