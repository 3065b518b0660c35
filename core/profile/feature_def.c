#include "profile/feature_def.h"

#include <stdio.h>
#include <stdlib.h>

#include "profile/feature_options.h"
#include "profile/feature_path.h"
#include "profile/feature_state.h"

#define EXTRA_MAX  ((size_t)1 << 20)
#define VALUES_MAX 1000 /* of one list in a condition */

/* ── writing ─────────────────────────────────────────────────────────────── */

static void write_list(struct json_out *out, struct str key, const struct str *list, size_t count)
{
	if (count == 0) return;
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_str(out, list[i]);
	jo_end_array(out);
}

static void write_condition(struct json_out *out, const struct feature_condition *condition)
{
	jo_object(out);
	if (condition->has_exists) {
		jo_key(out, STR("exists"));
		jo_bool(out, condition->exists);
	}
	jo_key(out, STR("field"));
	jo_str(out, condition->field);
	write_list(out, STR("in"), condition->in, condition->in_count);
	if (condition->has_max) {
		jo_key(out, STR("max"));
		jo_double(out, condition->max);
	}
	if (condition->has_min) {
		jo_key(out, STR("min"));
		jo_double(out, condition->min);
	}
	write_list(out, STR("not"), condition->not_in, condition->not_in_count);
	jo_end_object(out);
}

/* The parts of an object that only newer definitions have, in the order of their names. */
static int write_extra(struct json_out *out, const struct feature_def *def, struct arena *arena)
{
	if (def->event_count > 1) write_list(out, STR("events"), def->events, def->event_count);
	if (def->key.len) {
		jo_key(out, STR("key"));
		jo_str(out, def->key);
		jo_key(out, STR("max_keys"));
		jo_uint(out, def->max_keys);
	}
	int rc = feature_options_write(out, def->impl, &def->params, arena);
	if (!rc && def->where_count) {
		jo_key(out, STR("where"));
		jo_array(out);
		for (size_t i = 0; i < def->where_count; i++) write_condition(out, &def->where[i]);
		jo_end_array(out);
	}
	return rc ? rc : out->status;
}

static int make_extra(struct feature_def *def, struct arena *arena)
{
	struct json_out out;
	struct buf buf;
	buf_init(&buf, EXTRA_MAX);
	json_out_init(&out, &buf);
	jo_object(&out);
	int rc = write_extra(&out, def, arena);
	jo_end_object(&out);
	if (!rc) rc = out.status;
	struct str text = buf_str(&buf);
	if (!rc && text.len > 2) rc = arena_str(arena, text, &def->extra);
	buf_fini(&buf);
	return rc == ERR_TOO_LARGE ? ERR_INVALID : rc;
}

void feature_def_write(struct json_out *out, const struct feature_def *def)
{
	jo_object(out);
	jo_key(out, STR("event"));
	jo_str(out, def->event_count == 1 ? def->events[0] : STR_NONE);
	if (def->extra.len) {
		jo_key(out, STR("extra"));
		jo_raw(out, def->extra);
	}
	jo_key(out, STR("field"));
	jo_str(out, def->field);
	jo_key(out, STR("name"));
	jo_str(out, def->name);
	jo_key(out, STR("state_version"));
	jo_uint(out, def->state_version);
	jo_key(out, STR("type"));
	jo_str(out, def->type);
	jo_end_object(out);
}

bool feature_def_is_same(const struct feature_def *a, const struct feature_def *b)
{
	if (!str_eq(a->name, b->name) || !str_eq(a->type, b->type) || !str_eq(a->field, b->field)) return false;
	if (a->state_version != b->state_version || a->event_count != b->event_count) return false;
	for (size_t i = 0; i < a->event_count; i++)
		if (!str_eq(a->events[i], b->events[i])) return false;
	return str_eq(a->extra, b->extra);
}

/* ── checks that both origins share ──────────────────────────────────────── */

static bool is_paths_ok(const struct feature_def *def)
{
	struct feature_path field, key, other;
	if (feature_path_parse(def->field, &field) || feature_path_parse(def->key, &key)) return false;
	if (field.is_array && key.is_array && !feature_path_is_paired(&field, &key)) return false;
	for (size_t i = 0; i < def->where_count; i++)
		if (def->where[i].field.len == 0 || feature_path_parse(def->where[i].field, &other)) return false;
	return true;
}

/* NULL, or what is wrong. The type is there, its options are compiled. */
static const char *find_fault(const struct feature_def *def)
{
	const struct cdpd_feature_type *type = def->impl;
	bool is_new = feature_type_has_options(type);
	if (!is_paths_ok(def))
		return "'field', 'key' and 'where' are paths with at most one [], and 'field' and 'key' may not lead "
		       "into two different arrays";
	if (type->needs_field && def->field.len == 0) return "its type needs 'field'";
	const char *fault = is_new && type->check ? type->check(&def->params) : NULL;
	if (fault) return fault;
	if (def->key.len == 0) return def->max_keys ? "'max_keys' belongs to 'key'" : NULL;
	if (!is_new || !(type->flags & CDPD_FEATURE_KEYED)) return "its type cannot be kept per key";
	if (def->max_keys > FEATURE_KEYS_MAX) return "'max_keys' must be 1 to 50";
	return NULL;
}

static int order_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* In byte order, each once. */
static size_t sort_unique(struct str *list, size_t count)
{
	size_t kept = 0;
	if (count) qsort(list, count, sizeof *list, order_text);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || !str_eq(list[i], list[kept - 1])) list[kept++] = list[i];
	return kept;
}

static int copy_list(struct arena *arena, const struct str *list, size_t count, struct str **out, size_t *out_count)
{
	*out = arena_array(arena, struct str, count + 1);
	if (!*out) return ERR_NOMEM;
	if (count) memcpy(*out, list, count * sizeof *list);
	*out_count = sort_unique(*out, count);
	return OK;
}

/* ── from the configuration ──────────────────────────────────────────────── */

static const char *const own_keys[] = {"name", "type", "event", "field", "where", "key", "max_keys"};

static bool is_own_key(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(own_keys); i++)
		if (str_eq(name, str_from(own_keys[i]))) return true;
	return false;
}

/* " (its options: a, b)", for names that are near none. */
static void list_options(const struct cdpd_options *options, char out[SUGGESTION_SIZE])
{
	size_t len = 0;
	out[0] = '\0';
	for (size_t i = 0; i < options->count && len < SUGGESTION_SIZE - 80; i++) {
		int n = snprintf(out + len, SUGGESTION_SIZE - len, "%s%s",
				 i ? ", " : " (its options: ", feature_option(options, i)->name);
		len += n > 0 ? (size_t)n : 0;
	}
	(void)snprintf(out + len, SUGGESTION_SIZE - len, "%s", options->count ? ")" : " (it has no options)");
}

static void complain_option(const struct conf_feature *conf, const struct node *node,
			    const struct cdpd_options *options, struct complaints *complaints)
{
	const char *names[64 + COUNT_OF(own_keys)];
	char suggestion[SUGGESTION_SIZE];
	size_t count = 0;
	for (size_t i = 0; i < COUNT_OF(own_keys); i++) names[count++] = own_keys[i];
	for (size_t i = 0; i < options->count && i < 64; i++) names[count++] = feature_option(options, i)->name;
	if (!*suggest(node->key, names, count, suggestion)) list_options(options, suggestion);
	complain(complaints, node->line, "feature '%.*s': unknown option '%.*s' of type %.*s%s", STR_ARG(conf->name),
		 STR_ARG(node->key), STR_ARG(conf->type), suggestion);
}

static int take_option(const struct conf_feature *conf, const struct node *node, struct arena *arena,
		       struct complaints *complaints, struct feature_def *def)
{
	struct cdpd_options options = feature_options_of(def->impl);
	struct cdpd_param *values = (struct cdpd_param *)(uintptr_t)def->params.values;
	struct str why;
	size_t i = 0;
	while (i < options.count && !str_eq(str_from(feature_option(&options, i)->name), node->key)) i++;
	if (i == options.count) {
		complain_option(conf, node, &options, complaints);
		return OK;
	}
	if (node->kind != NODE_SCALAR) {
		complain(complaints, node->line, "feature '%.*s': %.*s must be a single value", STR_ARG(conf->name),
			 STR_ARG(node->key));
		return OK;
	}
	int rc = feature_option_read(feature_option(&options, i), node->text, arena, &values[i], &why);
	if (rc == ERR_INVALID)
		complain(complaints, node->line, "feature '%.*s': %.*s: '%.*s' %.*s", STR_ARG(conf->name),
			 STR_ARG(node->key), STR_ARG(node->text), STR_ARG(why));
	return rc == ERR_INVALID ? OK : rc;
}

static int take_options(const struct conf_feature *conf, struct arena *arena, struct complaints *complaints,
			struct feature_def *def)
{
	int rc = feature_options_default(def->impl, arena, &def->params);
	const struct node *node = conf->node ? conf->node->children : NULL;
	for (; !rc && node; node = node->next)
		if (!is_own_key(node->key)) rc = take_option(conf, node, arena, complaints, def);
	struct cdpd_options options = feature_options_of(def->impl);
	for (size_t i = 0; !rc && i < options.count; i++) {
		const struct cdpd_option *option = feature_option(&options, i);
		if (option->is_required && !(conf->node && node_child(conf->node, str_from(option->name))))
			complain(complaints, conf->line, "feature '%.*s' needs '%s'", STR_ARG(conf->name),
				 option->name);
	}
	return rc;
}

static int take_where(const struct conf_feature *conf, struct arena *arena, struct feature_def *def)
{
	def->where_count = conf->where_count;
	def->where = arena_array(arena, struct feature_condition, conf->where_count + 1);
	int rc = def->where ? OK : ERR_NOMEM;
	for (size_t i = 0; !rc && i < conf->where_count; i++) {
		const struct conf_condition *from = &conf->where[i];
		struct feature_condition *to = &def->where[i];
		*to = (struct feature_condition){.field = from->field,
						 .has_exists = from->has_exists,
						 .exists = from->exists,
						 .has_min = from->has_min,
						 .has_max = from->has_max,
						 .min = from->min,
						 .max = from->max};
		rc = copy_list(arena, from->in, from->in_count, &to->in, &to->in_count);
		if (!rc) rc = copy_list(arena, from->not_in, from->not_in_count, &to->not_in, &to->not_in_count);
	}
	return rc;
}

static void complain_type(const struct conf_feature *conf, struct complaints *complaints)
{
	const char *names[64];
	char suggestion[SUGGESTION_SIZE];
	size_t count = feature_type_names(names, COUNT_OF(names));
	complain(complaints, conf->line, "feature '%.*s': there is no feature type '%.*s'%s", STR_ARG(conf->name),
		 STR_ARG(conf->type), suggest(conf->type, names, count, suggestion));
}

/* As many keys as are sure to fit, when the file says nothing. */
static void check_keys(const struct conf_feature *conf, struct complaints *complaints, struct feature_def *def)
{
	uint32_t most = feature_keys_max(def);
	if (def->max_keys == 0) def->max_keys = most < FEATURE_KEYS_DEFAULT ? most : FEATURE_KEYS_DEFAULT;
	if (def->max_keys == 0 || feature_state_max(def) > FEATURE_STATE_MAX)
		complain(complaints, conf->line,
			 "feature '%.*s': the states of %u keys may not fit into %d bytes, max_keys is at most %u here",
			 STR_ARG(conf->name), (unsigned)def->max_keys, FEATURE_STATE_MAX, (unsigned)most);
}

int feature_def_from_conf(const struct conf_feature *conf, struct arena *arena, struct complaints *complaints,
			  struct feature_def *out)
{
	size_t before = complaints->count;
	*out = (struct feature_def){.name = conf->name,
				    .type = conf->type,
				    .field = str_of(conf->field.ptr, conf->field.len),
				    .key = str_of(conf->key.ptr, conf->key.len),
				    .max_keys = conf->max_keys,
				    .extra = STR_NONE,
				    .impl = feature_type_find(conf->type)};
	if (!out->impl) {
		complain_type(conf, complaints);
		return ERR_NOT_FOUND;
	}
	out->state_version = out->impl->state_version;
	int rc = copy_list(arena, conf->events, conf->event_count, &out->events, &out->event_count);
	if (!rc) rc = take_where(conf, arena, out);
	if (!rc) rc = take_options(conf, arena, complaints, out);
	if (rc) return rc;
	const char *fault = complaints->count == before ? find_fault(out) : NULL;
	if (fault) complain(complaints, conf->line, "feature '%.*s': %s", STR_ARG(conf->name), fault);
	if (complaints->count == before && out->key.len) check_keys(conf, complaints, out);
	if (complaints->count != before) return ERR_INVALID;
	return make_extra(out, arena);
}

/* ── from JSON ───────────────────────────────────────────────────────────── */

static int take_str(struct json object, struct str name, struct arena *arena, struct str *out)
{
	struct json value;
	struct str text;
	*out = STR_NONE;
	if (!json_get(object, name, &value) || !json_str(value, &text)) return ERR_INVALID;
	return arena_str(arena, text, out);
}

/* A list of texts; absent: none. */
static int take_list(struct json object, struct str name, struct arena *arena, struct str **out, size_t *count)
{
	struct json list, item;
	struct json_iter it;
	struct str text;
	*count = 0;
	*out = NULL;
	if (!json_get(object, name, &list)) return OK;
	if (json_type(list) != JSON_ARRAY || json_count(list) > VALUES_MAX) return ERR_INVALID;
	*out = arena_array(arena, struct str, json_count(list) + 1);
	int rc = *out ? OK : ERR_NOMEM;
	for (json_iter_start(list, &it); !rc && json_next_element(&it, &item);)
		rc = json_str(item, &text) ? arena_str(arena, text, &(*out)[(*count)++]) : ERR_INVALID;
	return rc;
}

static int parse_condition(struct json object, struct arena *arena, struct feature_condition *out)
{
	struct json value;
	int rc = take_str(object, STR("field"), arena, &out->field);
	if (!rc) rc = take_list(object, STR("in"), arena, &out->in, &out->in_count);
	if (!rc) rc = take_list(object, STR("not"), arena, &out->not_in, &out->not_in_count);
	out->has_exists = json_get(object, STR("exists"), &value);
	if (out->has_exists && !json_bool(value, &out->exists)) return ERR_INVALID;
	out->has_min = json_get(object, STR("min"), &value);
	if (out->has_min && !json_double(value, &out->min)) return ERR_INVALID;
	out->has_max = json_get(object, STR("max"), &value);
	if (out->has_max && !json_double(value, &out->max)) return ERR_INVALID;
	return rc;
}

static int parse_where(struct json extra, struct arena *arena, struct feature_def *out)
{
	struct json list, item;
	struct json_iter it;
	if (!json_get(extra, STR("where"), &list)) return OK;
	if (json_type(list) != JSON_ARRAY || json_count(list) > VALUES_MAX) return ERR_INVALID;
	out->where = arena_array(arena, struct feature_condition, json_count(list) + 1);
	int rc = out->where ? OK : ERR_NOMEM;
	for (json_iter_start(list, &it); !rc && json_next_element(&it, &item);)
		rc = parse_condition(item, arena, &out->where[out->where_count++]);
	return rc;
}

static int parse_key(struct json extra, struct arena *arena, struct feature_def *out)
{
	struct json value;
	int64_t max_keys;
	if (!json_get(extra, STR("key"), &value)) return OK;
	int rc = take_str(extra, STR("key"), arena, &out->key);
	if (rc) return rc;
	if (!json_get(extra, STR("max_keys"), &value) || !json_int(value, &max_keys) || max_keys < 1 ||
	    max_keys > FEATURE_KEYS_MAX)
		return ERR_INVALID;
	out->max_keys = (uint32_t)max_keys;
	return OK;
}

static int parse_extra(struct json object, struct arena *arena, struct json *extra, bool *has_extra,
		       struct feature_def *out)
{
	*has_extra = json_get(object, STR("extra"), extra);
	if (!*has_extra) return OK;
	if (json_type(*extra) != JSON_OBJECT) return ERR_INVALID;
	int rc = OK;
	if (out->event_count == 0) {
		rc = take_list(*extra, STR("events"), arena, &out->events, &out->event_count);
		out->event_count = sort_unique(out->events, out->event_count);
	}
	if (!rc) rc = parse_key(*extra, arena, out);
	return rc ? rc : parse_where(*extra, arena, out);
}

static int parse_plain(struct json object, struct arena *arena, struct feature_def *out)
{
	struct json value;
	struct str event;
	int64_t version;
	*out = (struct feature_def){.key = STR_NONE, .extra = STR_NONE};
	int rc = take_str(object, STR("name"), arena, &out->name);
	if (!rc) rc = take_str(object, STR("type"), arena, &out->type);
	if (!rc) rc = take_str(object, STR("event"), arena, &event);
	if (!rc) rc = take_str(object, STR("field"), arena, &out->field);
	if (rc) return rc;
	if (out->name.len == 0 || !json_get(object, STR("state_version"), &value) || !json_int(value, &version) ||
	    version < 0 || version > UINT32_MAX)
		return ERR_INVALID;
	out->state_version = (uint32_t)version;
	return copy_list(arena, &event, event.len ? 1 : 0, &out->events, &out->event_count);
}

/* The type and its options, or ERR_NOT_FOUND when the type here is not the one that was meant. */
static int parse_type(const struct json *extra, struct arena *arena, struct feature_def *out)
{
	struct json options;
	out->impl = feature_type_find(out->type);
	if (!out->impl || out->impl->state_version != out->state_version) return ERR_NOT_FOUND;
	int rc = feature_options_default(out->impl, arena, &out->params);
	if (!rc && extra && json_get(*extra, STR("options"), &options))
		rc = feature_options_parse(options, out->impl, arena, &out->params);
	if (!rc && find_fault(out)) return extra ? ERR_NOT_FOUND : ERR_INVALID;
	if (!rc && feature_state_max(out) > FEATURE_STATE_MAX) rc = ERR_INVALID;
	return rc == ERR_INVALID ? ERR_NOT_FOUND : rc;
}

int feature_def_parse(struct json object, struct arena *arena, bool is_lenient, struct feature_def *out)
{
	struct json extra;
	bool has_extra;
	int rc = parse_plain(object, arena, out);
	if (!rc) rc = parse_extra(object, arena, &extra, &has_extra, out);
	if (!rc && !is_paths_ok(out)) rc = ERR_INVALID;
	if (rc) return rc;
	rc = parse_type(has_extra ? &extra : NULL, arena, out);
	if (!rc) return make_extra(out, arena);
	if (rc != ERR_NOT_FOUND || !is_lenient) return rc;
	out->impl = NULL;
	if (!has_extra) return OK;
	/* It rests under its own name and key, so its text must be what it was. */
	struct buf buf;
	buf_init(&buf, EXTRA_MAX);
	rc = json_write(&buf, extra);
	if (!rc) rc = arena_str(arena, buf_str(&buf), &out->extra);
	buf_fini(&buf);
	return rc;
}

/* ── all of them ─────────────────────────────────────────────────────────── */

int features_check_config(const struct config *config, char **errors)
{
	struct arena arena;
	struct complaints complaints;
	int rc = OK;
	*errors = NULL;
	arena_init(&arena, 4096, 0);
	complaints_init(&complaints, "");
	for (size_t i = 0; i < config->feature_count && rc != ERR_NOMEM; i++) {
		struct feature_def def;
		struct str file = config->features[i].file.len ? config->features[i].file : config->file, name;
		rc = arena_str(&arena, file, &name); /* ends with a NUL */
		complaints.file = rc ? "" : name.ptr;
		if (!rc) rc = feature_def_from_conf(&config->features[i], &arena, &complaints, &def);
	}
	if (rc != ERR_NOMEM) rc = complaints.status ? complaints.status : complaints.count ? ERR_INVALID : OK;
	struct str text = buf_str(&complaints.text);
	if (rc) *errors = strndup(text.ptr, text.len);
	complaints_fini(&complaints);
	arena_fini(&arena);
	return rc;
}
