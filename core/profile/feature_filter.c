#include "profile/feature_filter.h"

#include "profile/feature_value.h"

int feature_filter_make(const struct feature_def *def, const struct feature_path *elements, struct arena *arena,
			struct feature_filter *out)
{
	*out = (struct feature_filter){.count = def->where_count};
	out->conditions = arena_array(arena, struct filter_condition, def->where_count + 1);
	if (!out->conditions) return ERR_NOMEM;
	for (size_t i = 0; i < def->where_count; i++) {
		struct filter_condition *condition = &out->conditions[i];
		condition->rule = &def->where[i];
		int rc = feature_path_parse(def->where[i].field, &condition->path);
		if (rc) return rc;
		condition->is_of_element = feature_path_is_paired(&condition->path, elements);
		if (condition->is_of_element)
			out->has_element_conditions = true;
		else
			out->has_event_conditions = true;
	}
	return OK;
}

/* ── one value ───────────────────────────────────────────────────────────── */

static bool is_among(struct str label, const struct str *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(label, list[i])) return true;
	return false;
}

/* What only a value that is there can meet: in, min and max. */
static bool is_met(const struct feature_condition *rule, const struct cdpd_feature_input *value)
{
	struct str label;
	bool is_number = value->kind == CDPD_VALUE_NUMBER;
	if (rule->in_count && !(feature_label(value, &label) && is_among(label, rule->in, rule->in_count)))
		return false;
	if (rule->has_min && !(is_number && value->number >= rule->min)) return false;
	return !rule->has_max || (is_number && value->number <= rule->max);
}

static bool is_excluded(const struct feature_condition *rule, const struct cdpd_feature_input *value)
{
	struct str label;
	return feature_label(value, &label) && is_among(label, rule->not_in, rule->not_in_count);
}

/* What all values at the condition's path come to. */
struct verdict {
	bool is_there, is_met, is_excluded;
};

static void judge(const struct feature_condition *rule, const struct cdpd_feature_input *value, struct verdict *verdict)
{
	verdict->is_there = true;
	if (rule->not_in_count && is_excluded(rule, value)) verdict->is_excluded = true;
	if (!verdict->is_met) verdict->is_met = is_met(rule, value);
}

static bool holds(const struct feature_condition *rule, const struct verdict *verdict)
{
	bool needs_value = rule->in_count || rule->has_min || rule->has_max;
	if (verdict->is_excluded || (needs_value && !verdict->is_met)) return false;
	return !rule->has_exists || rule->exists == verdict->is_there;
}

/* ── conditions ──────────────────────────────────────────────────────────── */

static int judge_json(const struct feature_condition *rule, struct event_view *view, struct json json,
		      struct verdict *verdict)
{
	struct cdpd_feature_input value = {.text = {"", 0}};
	bool wants_text = rule->in_count || rule->not_in_count;
	int rc = input_set_json(&view->number, wants_text, json, &value);
	if (!rc) judge(rule, &value, verdict);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int judge_any(const struct filter_condition *condition, struct event_view *view, struct verdict *verdict)
{
	struct json array, element, value;
	struct json_iter it;
	int rc = event_view_get(view, &condition->path.field, &array);
	if (rc || json_type(array) != JSON_ARRAY) return rc == ERR_NOMEM ? rc : OK;
	for (json_iter_start(array, &it); !rc && json_next_element(&it, &element);)
		if (feature_path_in_element(&condition->path, element, &value))
			rc = judge_json(condition->rule, view, value, verdict);
	return rc;
}

static int judge_one(const struct filter_condition *condition, struct event_view *view, struct verdict *verdict)
{
	struct cdpd_feature_input value = {.text = {"", 0}};
	bool wants_text = condition->rule->in_count || condition->rule->not_in_count;
	int rc = input_set_path(view, &view->number, wants_text, &condition->path, &value);
	if (!rc) judge(condition->rule, &value, verdict);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int feature_filter_event(const struct feature_filter *filter, struct event_view *view, bool *passes)
{
	*passes = true;
	for (size_t i = 0; filter->has_event_conditions && *passes && i < filter->count; i++) {
		const struct filter_condition *condition = &filter->conditions[i];
		struct verdict verdict = {0};
		if (condition->is_of_element) continue;
		int rc = condition->path.is_array ? judge_any(condition, view, &verdict)
						  : judge_one(condition, view, &verdict);
		if (rc) return rc;
		*passes = holds(condition->rule, &verdict);
	}
	return OK;
}

int feature_filter_element(const struct feature_filter *filter, struct event_view *view, struct json element,
			   bool *passes)
{
	*passes = true;
	for (size_t i = 0; filter->has_element_conditions && *passes && i < filter->count; i++) {
		const struct filter_condition *condition = &filter->conditions[i];
		struct verdict verdict = {0};
		struct json value;
		if (!condition->is_of_element) continue;
		if (feature_path_in_element(&condition->path, element, &value)) {
			int rc = judge_json(condition->rule, view, value, &verdict);
			if (rc) return rc;
		}
		*passes = holds(condition->rule, &verdict);
	}
	return OK;
}
