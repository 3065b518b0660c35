#include "ingest/planned.h"

#include "config/tracking_plan.h"
#include "ingest/redact.h"
#include "ingest/schema_check.h"

#define UNPLANNED STR("the tracking plan does not name this event")

/* False: no plan speaks of it. */
static bool plan_type_of(enum event_type type, enum plan_type *out)
{
	switch (type) {
	case EVENT_TRACK: *out = PLAN_TRACK; return true;
	case EVENT_IDENTIFY: *out = PLAN_IDENTIFY; return true;
	case EVENT_PAGE: *out = PLAN_PAGE; return true;
	case EVENT_SCREEN: *out = PLAN_SCREEN; return true;
	case EVENT_GROUP: *out = PLAN_GROUP; return true;
	case EVENT_ALIAS: return false;
	}
	return false;
}

/* ── what is told ────────────────────────────────────────────────────────── */

static void write_text(struct json_out *out, struct str key, struct str text)
{
	jo_key(out, key);
	jo_str(out, text);
}

static void write_violation(struct json_out *out, const char *code, struct str pointer, struct str message)
{
	jo_object(out);
	write_text(out, STR("code"), str_from(code));
	write_text(out, STR("pointer"), pointer);
	write_text(out, STR("message"), message);
	jo_end_object(out);
}

static struct json_out begin_flags(struct intake *in)
{
	struct json_out out;
	buf_clear(&in->worker->violations);
	json_out_init(&out, &in->worker->violations);
	jo_array(&out);
	return out;
}

static int end_flags(struct intake *in, struct draft *draft, struct json_out *out)
{
	jo_end_array(out);
	if (out->status != OK)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE,
				   STR("the event's violations need too much room"));
	draft->event.violations = buf_str(&in->worker->violations);
	return OK;
}

/* Where a value is private, neither it nor anything below it is told. A pointer that was cut may hide that. */
static void hide(const struct privacy_rules *rules, struct schema_violation *violation)
{
	if (!rules) return;
	if (redact_pointer(rules, &violation->pointer) || violation->pointer.len + 8 > VIOLATION_POINTER)
		violation->text = violation->rule;
}

static int flag(struct intake *in, struct draft *draft, const struct schema_check *check)
{
	const char *code = problem_info(PROBLEM_SCHEMA_VIOLATION)->code;
	struct json_out out = begin_flags(in);
	for (size_t i = 0; i < check->count; i++)
		write_violation(&out, code, check->violations[i].pointer, check->violations[i].text);
	return end_flags(in, draft, &out);
}

static int judge(struct intake *in, struct draft *draft, enum plan_mode mode, struct schema_check *check)
{
	if (check->status != OK)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE,
				   STR("the event's violations need too much room"));
	for (size_t i = 0; i < check->count; i++) hide(in->caller.source->rules, &check->violations[i]);
	switch (mode) {
	case PLAN_ACCEPT: return OK;
	case PLAN_FLAG: return flag(in, draft, check);
	case PLAN_REJECT: break;
	}
	return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, check->violations[0].pointer, check->violations[0].text);
}

static int judge_unplanned(struct intake *in, struct draft *draft, const struct tracking_plan *plan)
{
	struct str pointer = draft->event.type == EVENT_TRACK ? STR("/event") : STR("/type");
	metric_add(plan->unplanned_events, 1);
	if (plan->unplanned == PLAN_REJECT) return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, pointer, UNPLANNED);
	if (plan->unplanned == PLAN_ACCEPT) return OK;
	struct json_out out = begin_flags(in);
	write_violation(&out, "unplanned_event", pointer, UNPLANNED);
	return end_flags(in, draft, &out);
}

/* ── what is looked at ───────────────────────────────────────────────────── */

/* The part that schemas speak of: as the document has it, or where several were made one, from the text. */
static int find_part(struct intake *in, const struct draft *draft, bool is_traits, struct json *value, bool *has)
{
	struct str text = is_traits ? draft->event.traits : draft->event.properties;
	*has = is_traits ? draft->has_traits_value : draft->has_properties_value;
	*value = is_traits ? draft->traits_value : draft->properties_value;
	if (*has || text.len == 0) return OK;
	*has = true;
	return intake_parse_part(in, text, value);
}

int planned_check(struct intake *in, struct draft *draft)
{
	const struct tracking_plan *plan = in->config->tracking_plan;
	enum plan_type type;
	struct json value;
	bool has;
	if (!plan || !plan_type_of(draft->event.type, &type)) return OK;
	const struct plan_entry *entry = tracking_plan_find(plan, type, draft->event.event);
	if (!entry) return judge_unplanned(in, draft, plan);
	if (!entry->schema) return OK;
	bool is_traits = type == PLAN_IDENTIFY || type == PLAN_GROUP;
	struct schema_check check = {.arena = &in->worker->scratch,
				     .prefix = is_traits ? STR("/traits") : STR("/properties")};
	if (find_part(in, draft, is_traits, &value, &has) != OK)
		return draft_fault(draft, PROBLEM_TOO_LARGE, check.prefix, STR_NONE);
	if (schema_check(&check, entry->schema, has ? &value : NULL)) return OK;
	metric_add(entry->violations, 1);
	return judge(in, draft, entry->mode, &check);
}
