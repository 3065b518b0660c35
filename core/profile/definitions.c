#include <stdlib.h>

#include "profile/consent_rules.h"
#include "profile/feature_def.h"
#include "profile/plan.h"
#include "profile/row.h"

/* ── writing ─────────────────────────────────────────────────────────────── */

static int order_by_name(const void *a, const void *b)
{
	const struct conf_feature *x = *(const struct conf_feature *const *)a;
	const struct conf_feature *y = *(const struct conf_feature *const *)b;
	return str_cmp(x->name, y->name);
}

static int order_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The config was checked when it was loaded: complaints would say it again. */
static int write_features(struct json_out *out, const struct config *config)
{
	struct arena arena;
	struct complaints complaints;
	const struct conf_feature **sorted = calloc(config->feature_count + 1, sizeof(struct conf_feature *));
	if (!sorted) return ERR_NOMEM;
	for (size_t i = 0; i < config->feature_count; i++) sorted[i] = &config->features[i];
	qsort(sorted, config->feature_count, sizeof(struct conf_feature *), order_by_name);
	int rc = OK;
	arena_init(&arena, 4096, 0);
	complaints_init(&complaints, "");
	jo_key(out, STR("features"));
	jo_array(out);
	for (size_t i = 0; i < config->feature_count && !rc; i++) {
		struct feature_def def;
		rc = feature_def_from_conf(sorted[i], &arena, &complaints, &def);
		if (!rc) feature_def_write(out, &def);
	}
	jo_end_array(out);
	complaints_fini(&complaints);
	arena_fini(&arena);
	free(sorted);
	return rc;
}

static int write_blocked(struct json_out *out, const struct config *config)
{
	struct str *sorted = calloc(config->blocked_identifier_count + 1, sizeof *sorted);
	if (!sorted) return ERR_NOMEM;
	if (config->blocked_identifier_count)
		memcpy(sorted, config->blocked_identifiers, config->blocked_identifier_count * sizeof *sorted);
	qsort(sorted, config->blocked_identifier_count, sizeof *sorted, order_text);
	jo_key(out, STR("blocked"));
	jo_array(out);
	for (size_t i = 0; i < config->blocked_identifier_count; i++)
		if (i == 0 || !str_eq(sorted[i], sorted[i - 1])) jo_str(out, sorted[i]);
	jo_end_array(out);
	free(sorted);
	return OK;
}

static int write_identity(struct json_out *out, const struct config *config)
{
	jo_key(out, STR("identity"));
	jo_object(out);
	int rc = write_blocked(out, config);
	jo_key(out, STR("max_fragments"));
	jo_uint(out, config->max_fragments);
	jo_key(out, STR("namespaces"));
	jo_array(out);
	for (size_t i = 0; i < config->namespace_count; i++) {
		const struct conf_namespace *ns = &config->namespaces[i];
		jo_object(out);
		jo_key(out, STR("from"));
		jo_str(out, ns->from);
		jo_key(out, STR("is_known"));
		jo_bool(out, ns->is_known);
		jo_key(out, STR("max_per_profile"));
		jo_uint(out, ns->max_per_profile);
		jo_key(out, STR("name"));
		jo_str(out, ns->name);
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_end_object(out);
	return rc;
}

int definitions_write(const struct config *config, struct buf *buf)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	int rc = consent_rules_write(&out, config);
	if (rc) return rc;
	jo_key(&out, STR("dedup"));
	jo_object(&out);
	jo_key(&out, STR("max_ids"));
	jo_uint(&out, config->dedup_max_ids);
	jo_key(&out, STR("window_us"));
	jo_int(&out, config->dedup_window_us);
	jo_end_object(&out);
	rc = write_features(&out, config);
	if (!rc) rc = write_identity(&out, config);
	jo_end_object(&out);
	return rc ? rc : out.status;
}

/* ── parsing ─────────────────────────────────────────────────────────────── */

/* Copies of members into the arena; the first failure sticks. */
struct members {
	struct json object;
	struct arena *arena;
	int status;
};

static struct str take_str(struct members *members, struct str key)
{
	struct json value;
	struct str text = STR_NONE, copy = STR_NONE;
	if (!json_get(members->object, key, &value) || !json_str(value, &text)) {
		if (!members->status) members->status = ERR_INVALID;
		return STR_NONE;
	}
	int rc = arena_str(members->arena, text, &copy);
	if (rc && !members->status) members->status = rc;
	return rc ? STR_NONE : copy;
}

static uint64_t take_uint(struct members *members, struct str key, uint64_t max)
{
	struct json value;
	int64_t number = 0;
	if (json_get(members->object, key, &value) && json_int(value, &number) && number >= 0 &&
	    (uint64_t)number <= max)
		return (uint64_t)number;
	if (!members->status) members->status = ERR_INVALID;
	return 0;
}

static int take_array(struct json object, struct str key, size_t max, struct json_iter *it, size_t *count)
{
	struct json array;
	if (!json_get(object, key, &array) || json_type(array) != JSON_ARRAY) return ERR_INVALID;
	*count = json_count(array);
	if (*count > max) return ERR_INVALID;
	json_iter_start(array, it);
	return OK;
}

static int parse_features(struct json root, struct arena *arena, bool is_lenient, struct definitions *out)
{
	struct json_iter it;
	struct json element;
	int rc = take_array(root, STR("features"), PLAN_FEATURES_MAX, &it, &out->feature_count);
	if (rc) return rc;
	out->features = arena_array(arena, struct feature_def, out->feature_count + 1);
	if (!out->features) return ERR_NOMEM;
	for (size_t i = 0; !rc && json_next_element(&it, &element); i++)
		rc = feature_def_parse(element, arena, is_lenient, &out->features[i]);
	return rc;
}

static int parse_namespaces(struct json identity, struct arena *arena, struct definitions *out)
{
	struct json_iter it;
	struct json element, value;
	int rc = take_array(identity, STR("namespaces"), PLAN_NAMESPACES_MAX, &it, &out->namespace_count);
	if (rc) return rc;
	out->namespaces = arena_array(arena, struct identity_namespace, out->namespace_count + 1);
	if (!out->namespaces) return ERR_NOMEM;
	for (size_t i = 0; json_next_element(&it, &element); i++) {
		struct members members = {element, arena, OK};
		struct identity_namespace *ns = &out->namespaces[i];
		struct event_field field;
		ns->name = take_str(&members, STR("name"));
		ns->from = take_str(&members, STR("from"));
		ns->max_per_profile = (uint16_t)take_uint(&members, STR("max_per_profile"), UINT16_MAX);
		if (members.status) return members.status;
		if (!json_get(element, STR("is_known"), &value) || !json_bool(value, &ns->is_known)) return ERR_INVALID;
		if (ns->name.len == 0 || ns->name.len > ROW_NAMESPACE_MAX || memchr(ns->name.ptr, ':', ns->name.len))
			return ERR_INVALID;
		rc = event_field_parse(ns->from, &field);
		if (rc || field.part == PART_NONE) return ERR_INVALID;
	}
	return OK;
}

static int parse_blocked(struct json identity, struct arena *arena, struct definitions *out)
{
	struct json_iter it;
	struct json element;
	int rc = take_array(identity, STR("blocked"), 100000, &it, &out->blocked_count);
	if (rc) return rc;
	out->blocked = arena_array(arena, struct str, out->blocked_count + 1);
	if (!out->blocked) return ERR_NOMEM;
	for (size_t i = 0; !rc && json_next_element(&it, &element); i++) {
		struct str text;
		rc = json_str(element, &text) ? arena_str(arena, text, &out->blocked[i]) : ERR_INVALID;
	}
	return rc;
}

static int parse_root(struct json root, struct arena *arena, bool is_lenient, struct definitions *out)
{
	struct members dedup = {.arena = arena}, identity = {.arena = arena};
	if (!json_get(root, STR("dedup"), &dedup.object) || !json_get(root, STR("identity"), &identity.object))
		return ERR_INVALID;
	out->dedup_window_us = (int64_t)take_uint(&dedup, STR("window_us"), INT64_MAX);
	out->dedup_max_ids = take_uint(&dedup, STR("max_ids"), INT64_MAX);
	out->max_fragments = (uint16_t)take_uint(&identity, STR("max_fragments"), UINT16_MAX);
	int rc = dedup.status ? dedup.status : identity.status;
	if (!rc) rc = parse_blocked(identity.object, arena, out);
	if (!rc) rc = parse_namespaces(identity.object, arena, out);
	if (!rc) rc = parse_features(root, arena, is_lenient, out);
	if (!rc) rc = consent_rules_parse(root, arena, &out->consent);
	return rc;
}

int definitions_parse_text(struct str text, struct arena *arena, bool is_lenient, struct definitions *out)
{
	struct json_reader *reader = NULL;
	struct buf copy;
	struct json root;
	const char *why;
	*out = (struct definitions){0};
	buf_init(&copy, (size_t)64 << 20);
	int rc = buf_append_str(&copy, text);
	if (!rc) rc = json_reader_new(&reader);
	if (!rc) rc = json_parse(reader, buf_str(&copy), &root, &why);
	if (!rc) rc = parse_root(root, arena, is_lenient, out);
	if (reader) json_reader_free(reader);
	buf_fini(&copy);
	return rc;
}

int definitions_parse(struct str text, struct arena *arena, struct definitions *out)
{
	return definitions_parse_text(text, arena, false, out);
}
