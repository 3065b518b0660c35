#include "profile/consent_rules.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 64
#define LIST_MAX       4096

/* ── writing ─────────────────────────────────────────────────────────────── */

static int order_purposes(const void *a, const void *b)
{
	const struct conf_purpose *x = *(const struct conf_purpose *const *)a;
	const struct conf_purpose *y = *(const struct conf_purpose *const *)b;
	return str_cmp(x->name, y->name);
}

static void write_texts(struct json_out *out, struct str key, const struct str *texts, size_t count)
{
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_str(out, texts[i]);
	jo_end_array(out);
}

static bool is_stage(struct str gate)
{
	return str_eq(gate, STR("ingest")) || str_eq(gate, STR("enrich"));
}

static bool has_gate(const struct conf_purpose *purpose, struct str name)
{
	for (size_t i = 0; i < purpose->gate_count; i++)
		if (str_eq(purpose->gates[i], name)) return true;
	return false;
}

/* A destination is gated by its own key or by the purpose's list. */
static void write_destinations(struct json_out *out, const struct config *config, const struct conf_purpose *purpose)
{
	jo_key(out, STR("destinations"));
	jo_array(out);
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct conf_instance *destination = &config->destinations[i];
		if (str_eq(destination->purpose, purpose->name) ||
		    (!is_stage(destination->name) && has_gate(purpose, destination->name)))
			jo_str(out, destination->name);
	}
	jo_end_array(out);
}

static void write_sources(struct json_out *out, const struct config *config, const struct conf_purpose *purpose)
{
	jo_key(out, STR("sources"));
	jo_array(out);
	for (size_t i = 0; i < config->source_count; i++)
		if (str_eq(config->sources[i].purpose, purpose->name)) jo_str(out, config->sources[i].id);
	jo_end_array(out);
}

static void write_purpose(struct json_out *out, const struct config *config, const struct conf_purpose *purpose)
{
	jo_object(out);
	jo_key(out, STR("basis"));
	jo_str(out, str_from(lawful_basis_name(purpose->basis)));
	write_texts(out, STR("channels"), purpose->channels, purpose->channel_count);
	jo_key(out, STR("default"));
	jo_bool(out, purpose->default_ == CONSENT_DEFAULT_GRANTED);
	write_destinations(out, config, purpose);
	jo_key(out, STR("double_opt_in"));
	jo_bool(out, purpose->double_opt_in);
	/* Only when it is so: rules without it keep the text they had before. */
	if (has_gate(purpose, STR("enrich"))) {
		jo_key(out, STR("enrich"));
		jo_bool(out, true);
	}
	write_texts(out, STR("events"), purpose->events, purpose->event_count);
	jo_key(out, STR("ingest"));
	jo_bool(out, has_gate(purpose, STR("ingest")));
	jo_key(out, STR("name"));
	jo_str(out, purpose->name);
	write_sources(out, config, purpose);
	jo_end_object(out);
}

int consent_rules_write(struct json_out *out, const struct config *config)
{
	if (config->purpose_count == 0) return OK;
	const struct conf_purpose **sorted = calloc(config->purpose_count, sizeof(struct conf_purpose *));
	if (!sorted) return ERR_NOMEM;
	for (size_t i = 0; i < config->purpose_count; i++) sorted[i] = &config->purposes[i];
	qsort(sorted, config->purpose_count, sizeof(struct conf_purpose *), order_purposes);
	jo_key(out, STR("consent"));
	jo_array(out);
	for (size_t i = 0; i < config->purpose_count; i++) write_purpose(out, config, sorted[i]);
	jo_end_array(out);
	free(sorted);
	return OK;
}

/* ── parsing ─────────────────────────────────────────────────────────────── */

/* Members of one purpose; the first failure sticks. */
struct members {
	struct json object;
	struct arena *arena;
	int status;
};

static void fail(struct members *members, int status)
{
	if (!members->status) members->status = status;
}

static struct str take_str(struct members *members, struct str key)
{
	struct json value;
	struct str text = STR_NONE, copy = STR_NONE;
	if (!json_get(members->object, key, &value) || !json_str(value, &text)) {
		fail(members, ERR_INVALID);
		return STR_NONE;
	}
	int rc = arena_str(members->arena, text, &copy);
	if (rc) fail(members, rc);
	return copy;
}

static bool take_bool(struct members *members, struct str key)
{
	struct json value;
	bool is_true = false;
	if (!json_get(members->object, key, &value) || !json_bool(value, &is_true)) fail(members, ERR_INVALID);
	return is_true;
}

static struct str *take_texts(struct members *members, struct str key, size_t *count)
{
	struct json array, element;
	struct json_iter it;
	struct str text;
	*count = 0;
	if (!json_get(members->object, key, &array) || json_type(array) != JSON_ARRAY || json_count(array) > LIST_MAX) {
		fail(members, ERR_INVALID);
		return NULL;
	}
	struct str *texts = arena_array(members->arena, struct str, json_count(array) + 1);
	if (!texts) fail(members, ERR_NOMEM);
	for (json_iter_start(array, &it); texts && json_next_element(&it, &element);) {
		int rc = json_str(element, &text) ? arena_str(members->arena, text, &texts[*count]) : ERR_INVALID;
		if (rc) {
			fail(members, rc);
			return texts;
		}
		*count += 1;
	}
	return texts;
}

static int parse_purpose(struct json object, struct arena *arena, struct purpose_rule *out)
{
	struct members members = {object, arena, OK};
	out->name = take_str(&members, STR("name"));
	out->is_granted_by_default = take_bool(&members, STR("default"));
	out->needs_confirmation = take_bool(&members, STR("double_opt_in"));
	out->gates_ingest = take_bool(&members, STR("ingest"));
	struct json enrich;
	out->gates_enrich = json_get(object, STR("enrich"), &enrich) && take_bool(&members, STR("enrich"));
	out->channels = take_texts(&members, STR("channels"), &out->channel_count);
	out->destinations = take_texts(&members, STR("destinations"), &out->destination_count);
	out->events = take_texts(&members, STR("events"), &out->event_count);
	out->sources = take_texts(&members, STR("sources"), &out->source_count);
	if (!lawful_basis_from_name(take_str(&members, STR("basis")), &out->basis)) fail(&members, ERR_INVALID);
	if (out->name.len == 0 || out->name.len > NAME_MAX_BYTES) fail(&members, ERR_INVALID);
	for (size_t i = 0; i < out->channel_count; i++)
		if (out->channels[i].len == 0 || out->channels[i].len > NAME_MAX_BYTES) fail(&members, ERR_INVALID);
	return members.status;
}

int consent_rules_parse(struct json root, struct arena *arena, struct consent_rules *out)
{
	struct json array, element;
	struct json_iter it;
	*out = (struct consent_rules){0};
	if (!json_get(root, STR("consent"), &array)) return OK;
	if (json_type(array) != JSON_ARRAY || json_count(array) > CONF_PURPOSES_MAX) return ERR_INVALID;
	out->purposes = arena_array(arena, struct purpose_rule, json_count(array) + 1);
	if (!out->purposes) return ERR_NOMEM;
	for (json_iter_start(array, &it); json_next_element(&it, &element);) {
		struct purpose_rule *rule = &out->purposes[out->count];
		int rc = parse_purpose(element, arena, rule);
		if (rc) return rc;
		if (out->count && str_cmp(rule[-1].name, rule->name) >= 0) return ERR_INVALID;
		out->gates_ingest |= rule->gates_ingest;
		out->gates_enrich |= rule->gates_enrich;
		out->count++;
	}
	return OK;
}
