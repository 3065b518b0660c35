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

static int order_segments(const void *a, const void *b)
{
	const struct conf_segment *x = *(const struct conf_segment *const *)a;
	const struct conf_segment *y = *(const struct conf_segment *const *)b;
	return str_cmp(x->name, y->name);
}

/* Nothing at all without segments: such definitions keep the text they had before there were any. */
static int write_segments(struct json_out *out, const struct config *config)
{
	if (config->segment_count == 0) return OK;
	const struct conf_segment **sorted = calloc(config->segment_count, sizeof(struct conf_segment *));
	if (!sorted) return ERR_NOMEM;
	for (size_t i = 0; i < config->segment_count; i++) sorted[i] = &config->segments[i];
	qsort(sorted, config->segment_count, sizeof(struct conf_segment *), order_segments);
	jo_key(out, STR("segments"));
	jo_array(out);
	for (size_t i = 0; i < config->segment_count; i++) {
		jo_object(out);
		jo_key(out, STR("name"));
		jo_str(out, sorted[i]->name);
		jo_key(out, STR("when"));
		jo_raw(out, sorted[i]->condition);
		jo_end_object(out);
	}
	jo_end_array(out);
	free(sorted);
	return OK;
}

/* Sorted, each once. */
static int write_texts(struct json_out *out, const struct str *texts, size_t count)
{
	struct str *sorted = calloc(count + 1, sizeof *sorted);
	if (!sorted) return ERR_NOMEM;
	if (count) memcpy(sorted, texts, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, order_text);
	jo_array(out);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || !str_eq(sorted[i], sorted[i - 1])) jo_str(out, sorted[i]);
	jo_end_array(out);
	free(sorted);
	return OK;
}

/* One path is a text, as it was before there could be several. */
static void write_from(struct json_out *out, const struct conf_namespace *ns)
{
	jo_key(out, STR("from"));
	if (ns->from_count == 1) {
		jo_str(out, ns->from[0]);
		return;
	}
	jo_array(out);
	for (size_t i = 0; i < ns->from_count; i++) jo_str(out, ns->from[i]);
	jo_end_array(out);
}

/* What is not set is not written: rules that stay as they were keep their text. */
static int write_namespace(struct json_out *out, const struct conf_namespace *ns)
{
	int rc = OK;
	jo_object(out);
	if (ns->blocked_count) {
		jo_key(out, STR("blocked"));
		rc = write_texts(out, ns->blocked, ns->blocked_count);
	}
	write_from(out, ns);
	jo_key(out, STR("is_known"));
	jo_bool(out, ns->is_known);
	jo_key(out, STR("max_per_profile"));
	jo_uint(out, ns->max_per_profile);
	jo_key(out, STR("name"));
	jo_str(out, ns->name);
	if (ns->normalize) {
		jo_key(out, STR("normalize"));
		jo_str(out, str_from(normalization_name((enum normalization)ns->normalize)));
	}
	jo_end_object(out);
	return rc;
}

static int write_identity(struct json_out *out, const struct config *config)
{
	jo_key(out, STR("identity"));
	jo_object(out);
	jo_key(out, STR("blocked"));
	int rc = write_texts(out, config->blocked_identifiers, config->blocked_identifier_count);
	jo_key(out, STR("max_fragments"));
	jo_uint(out, config->max_fragments);
	jo_key(out, STR("namespaces"));
	jo_array(out);
	for (size_t i = 0; i < config->namespace_count && !rc; i++) rc = write_namespace(out, &config->namespaces[i]);
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
	rc = async_defs_write(&out, config);
	if (!rc) rc = write_features(&out, config);
	if (!rc) rc = write_identity(&out, config);
	if (!rc) rc = write_segments(&out, config);
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

/* A list of texts; a single one may stand for a list of one. */
static int parse_texts(struct json value, size_t max, struct arena *arena, struct str **out, size_t *count)
{
	struct json_iter it;
	struct json element;
	struct str text;
	bool is_one = json_str(value, &text);
	if (!is_one && json_type(value) != JSON_ARRAY) return ERR_INVALID;
	*count = is_one ? 1 : json_count(value);
	if (*count > max) return ERR_INVALID;
	*out = arena_array(arena, struct str, *count + 1);
	if (!*out) return ERR_NOMEM;
	if (is_one) return arena_str(arena, text, &(*out)[0]);
	json_iter_start(value, &it);
	for (size_t i = 0; json_next_element(&it, &element); i++) {
		int rc = json_str(element, &text) ? arena_str(arena, text, &(*out)[i]) : ERR_INVALID;
		if (rc) return rc;
	}
	return OK;
}

static int parse_from(struct json object, struct arena *arena, struct identity_namespace *out)
{
	struct json value;
	struct event_field field;
	int rc = json_get(object, STR("from"), &value)
		     ? parse_texts(value, CONF_NAMESPACE_FROM_MAX, arena, &out->from, &out->from_count)
		     : ERR_INVALID;
	if (!rc && out->from_count == 0) rc = ERR_INVALID;
	for (size_t i = 0; i < out->from_count && !rc; i++)
		if (event_field_parse(out->from[i], &field) || field.part == PART_NONE) rc = ERR_INVALID;
	return rc;
}

static int parse_namespace(struct json object, struct arena *arena, struct identity_namespace *out)
{
	struct members members = {object, arena, OK};
	struct json value;
	struct str name;
	out->name = take_str(&members, STR("name"));
	out->max_per_profile = (uint16_t)take_uint(&members, STR("max_per_profile"), UINT16_MAX);
	if (members.status) return members.status;
	if (!json_get(object, STR("is_known"), &value) || !json_bool(value, &out->is_known)) return ERR_INVALID;
	if (out->name.len == 0 || out->name.len > ROW_NAMESPACE_MAX || memchr(out->name.ptr, ':', out->name.len))
		return ERR_INVALID;
	if (json_get(object, STR("normalize"), &value) &&
	    (!json_str(value, &name) || !normalization_from_name(name, &out->normalize)))
		return ERR_INVALID;
	int rc = parse_from(object, arena, out);
	if (!rc && json_get(object, STR("blocked"), &value))
		rc = parse_texts(value, CONF_NAMESPACE_BLOCKED_MAX, arena, &out->blocked, &out->blocked_count);
	return rc;
}

static int parse_namespaces(struct json identity, struct arena *arena, struct definitions *out)
{
	struct json_iter it;
	struct json element;
	int rc = take_array(identity, STR("namespaces"), PLAN_NAMESPACES_MAX, &it, &out->namespace_count);
	if (rc) return rc;
	out->namespaces = arena_array(arena, struct identity_namespace, out->namespace_count + 1);
	if (!out->namespaces) return ERR_NOMEM;
	for (size_t i = 0; !rc && json_next_element(&it, &element); i++)
		rc = parse_namespace(element, arena, &out->namespaces[i]);
	return rc;
}

static int parse_blocked(struct json identity, struct arena *arena, struct definitions *out)
{
	struct json value;
	if (!json_get(identity, STR("blocked"), &value) || json_type(value) != JSON_ARRAY) return ERR_INVALID;
	return parse_texts(value, 100000, arena, &out->blocked, &out->blocked_count);
}

static int parse_segment(struct json object, struct arena *arena, struct segment_def *out)
{
	struct members members = {object, arena, OK};
	struct json when;
	struct buf text;
	out->name = take_str(&members, STR("name"));
	if (members.status) return members.status;
	if (out->name.len == 0 || out->name.len > SEGMENT_NAME_MAX || !json_get(object, STR("when"), &when))
		return ERR_INVALID;
	buf_init(&text, (size_t)4 << 20);
	int rc = json_write(&text, when);
	if (!rc) rc = arena_str(arena, buf_str(&text), &out->when);
	buf_fini(&text);
	return rc;
}

/* Absent in definitions from before there were segments. */
static int parse_segments(struct json root, struct arena *arena, struct definitions *out)
{
	struct json_iter it;
	struct json element;
	if (!json_get(root, STR("segments"), &element)) return OK;
	int rc = take_array(root, STR("segments"), SEGMENTS_MAX, &it, &out->segment_count);
	if (rc) return rc;
	out->segments = arena_array(arena, struct segment_def, out->segment_count + 1);
	if (!out->segments) return ERR_NOMEM;
	for (size_t i = 0; !rc && json_next_element(&it, &element); i++)
		rc = parse_segment(element, arena, &out->segments[i]);
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
	if (!rc) rc = parse_segments(root, arena, out);
	if (!rc) rc = async_defs_parse(root, arena, &out->enrichers, &out->enricher_count);
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
