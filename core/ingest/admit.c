#include "base/encode.h"
#include "base/hash.h"
#include "ingest/canonical.h"
#include "ingest/message.h"
#include "ingest/planned.h"
#include "ingest/redact.h"
#include "ingest/validate.h"

int draft_fault(struct draft *draft, enum problem problem, struct str pointer, struct str message)
{
	draft->fault = (struct fault){problem, pointer, message};
	return ERR_INVALID;
}

/* ── the steps, in order; each returns OK, or ERR_INVALID with the draft's fault ── */

static int step_validate(struct intake *in, struct draft *draft)
{
	return validate_event(draft, in->caller.source, &in->config->limits);
}

/* RFC 9562 version 4. */
static int generate_id(struct ingest_worker *worker, struct str *out)
{
	char hex[33];
	if (worker->ids_left == 0) {
		random_bytes(worker->ids, sizeof worker->ids);
		worker->ids_left = ID_POOL;
	}
	uint8_t *id = worker->ids[--worker->ids_left];
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	hex_encode(id, sizeof worker->ids[0], hex);
	return arena_printf(&worker->scratch, out, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
			    hex + 20);
}

static int step_name(struct intake *in, struct draft *draft)
{
	struct cdpd_event *event = &draft->event;
	event->source_id = in->caller.source->id;
	event->source_kind = in->caller.source->kind;
	event->rights = in->caller.source->rights;
	event->country = in->caller.source->default_country;
	event->received_at_us = in->request->received_at_us;
	if (event->message_id.len) return OK;
	event->flags |= EVENT_ID_GENERATED;
	if (generate_id(in->worker, &event->message_id) == OK) return OK;
	return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int step_clock(struct intake *in, struct draft *draft)
{
	clock_skew_apply(&draft->event, clock_skew_trusts(in->caller.source) || draft->is_sent_stale);
	return OK;
}

static int step_hash(struct intake *in, struct draft *draft)
{
	(void)in;
	struct str extra = str_of(draft->event.extra.ptr, draft->extra_hashed_len);
	draft->event.canonical_hash = canonical_hash(&draft->event, extra);
	return OK;
}

static struct str cut_at(struct str text, size_t max)
{
	if (text.len <= max) return text;
	while (max > 0 && ((uint8_t)text.ptr[max] & 0xc0) == 0x80) max--;
	return str_of(text.ptr, max);
}

/* A server's address and agent are not those of the person. */
static int step_connection(struct intake *in, struct draft *draft)
{
	enum source_kind kind = in->caller.source->kind;
	if (kind != SOURCE_BROWSER && kind != SOURCE_MOBILE) return OK;
	struct str agent = cut_at(in->request->user_agent, USER_AGENT_MAX);
	if (!draft->has_ip) draft->event.ip = in->request->client_ip;
	if (!draft->has_user_agent && utf8_is_valid(agent)) draft->event.user_agent = agent;
	return OK;
}

static int step_enrich(struct intake *in, struct draft *draft)
{
	struct enrich_outcome outcome = {0};
	if (!in->worker->enrichers || draft->event.flags & EVENT_CONSENT) return OK;
	if (in->config->purpose_count && !enrich_gate_allows(in->worker, draft, in->caller.source)) {
		metric_add(in->worker->ingest->unenriched, 1);
		return OK;
	}
	enrich_chain_run(in->worker->enrichers, &draft->event, draft->root, &in->worker->scratch, &outcome);
	return outcome.is_dropped ? draft_fault(draft, PROBLEM_ENRICHER_DROPPED, STR_NONE, outcome.reason) : OK;
}

static int step_accept(struct intake *in, struct draft *draft)
{
	struct str payload;
	if (event_encode(&draft->event, &in->batch->arena, &payload) != OK)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE,
				   STR("the request needs more memory than one may have"));
	batch_accept(in->batch, payload);
	return OK;
}

static int (*const steps[])(struct intake *, struct draft *) = {
    step_validate, planned_check,   redact_event, step_name,      step_clock,
    step_hash,     step_connection, step_enrich,  redact_address, step_accept,
};

static int check_count(const struct intake *in, struct draft *draft, uint32_t index)
{
	if (index < in->config->limits.batch_events) return OK;
	return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR("beyond limits.batch_events"));
}

/* ── a refused event ─────────────────────────────────────────────────────── */

/* What fits of the event's start. */
static struct str excerpt_of(struct intake *in, const struct draft *draft)
{
	struct ingest_worker *worker = in->worker;
	if (intake_rules(in)) {
		redact_excerpt(in, draft, &worker->excerpt);
		return buf_str(&worker->excerpt);
	}
	if (!draft->shown) return cut_at(draft->raw, JOURNAL_EXCERPT_MAX);
	buf_clear(&worker->excerpt);
	if (json_write(&worker->excerpt, *draft->shown) == ERR_NOMEM) return STR_NONE;
	return buf_str(&worker->excerpt);
}

static int reject(struct intake *in, const struct draft *draft, uint32_t index)
{
	const struct journal_reject row = {
	    .reason = draft->fault.problem,
	    .source_id = in->caller.source->id,
	    .message_id = cut_at(draft->event.message_id, EVENT_ID_MAX),
	    .pointer = draft->fault.pointer,
	    .detail = draft->fault.message,
	    .excerpt = excerpt_of(in, draft),
	    .index = index,
	};
	if (batch_reject(in->batch, &row) == OK) return OK;
	return intake_refuse(in, PROBLEM_TOO_LARGE, STR_NONE, STR("too many rejected events to report"));
}

int admit(struct intake *in, struct draft *draft, draft_read_fn read, void *ctx)
{
	uint32_t index = in->next_index++;
	in->batch->received++;
	arena_reset(&in->worker->scratch);
	buf_clear(&in->worker->text);
	draft->event.utc_offset_min = source_utc_offset(in->caller.source);
	int rc = check_count(in, draft, index);
	if (rc == OK) rc = read(in, draft, ctx);
	for (size_t i = 0; i < COUNT_OF(steps) && rc == OK; i++) rc = steps[i](in, draft);
	return rc == OK ? OK : reject(in, draft, index);
}

/* ── events that are JSON ────────────────────────────────────────────────── */

struct json_source {
	struct json message;
	enum event_type route_type;
};

static int read_json(struct intake *in, struct draft *draft, void *ctx)
{
	const struct json_source *source = ctx;
	return message_read(in, source->message, source->route_type, draft);
}

int admit_json(struct intake *in, struct json message, enum event_type route_type)
{
	struct json_source source = {message, route_type};
	struct draft draft = {.root = &source.message, .shown = &source.message};
	return admit(in, &draft, read_json, &source);
}

static int read_text(struct intake *in, struct draft *draft, void *ctx)
{
	struct json_source *source = ctx;
	const char *why = "";
	int rc = json_parse(in->worker->reader, draft->raw, &source->message, &why);
	if (rc == OK) {
		draft->root = &source->message;
		if (intake_rules(in)) draft->shown = &source->message; /* the text as it came must not be kept */
		return message_read(in, source->message, source->route_type, draft);
	}
	return draft_fault(draft, rc == ERR_NOMEM ? PROBLEM_TOO_LARGE : intake_problem_of_json(why), STR_NONE,
			   str_from(why));
}

int admit_text(struct intake *in, struct str text, enum event_type route_type)
{
	struct json_source source = {.route_type = route_type};
	struct draft draft = {.raw = text};
	return admit(in, &draft, read_text, &source);
}
