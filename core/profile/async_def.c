#include "profile/async_def.h"

#include <stdlib.h>

#define LIST_MAX 1000

/* ── which plugins ───────────────────────────────────────────────────────── */

static struct {
	struct str name;
	bool is_isolated;
	const struct cdpd_plugin *table;
} plugins[256];
static size_t plugin_count;

int async_plugin_register(struct str plugin, bool is_isolated, const struct cdpd_plugin *table)
{
	if (async_plugin_find(plugin, is_isolated)) return ERR_EXISTS;
	if (plugin_count == COUNT_OF(plugins)) return ERR_TOO_LARGE;
	plugins[plugin_count].name = plugin;
	plugins[plugin_count].is_isolated = is_isolated;
	plugins[plugin_count++].table = table;
	return OK;
}

const struct cdpd_plugin *async_plugin_find(struct str plugin, bool is_isolated)
{
	for (size_t i = 0; i < plugin_count; i++)
		if (plugins[i].is_isolated == is_isolated && str_eq(plugins[i].name, plugin)) return plugins[i].table;
	return NULL;
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static int order_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void write_sorted(struct json_out *out, struct str key, struct str *texts, size_t count)
{
	if (count == 0) return;
	qsort(texts, count, sizeof *texts, order_text);
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || !str_eq(texts[i], texts[i - 1])) jo_str(out, texts[i]);
	jo_end_array(out);
}

static int write_paths(struct json_out *out, struct str key, const struct cdpd_paths *paths)
{
	struct str texts[64];
	if (paths->count > COUNT_OF(texts)) return ERR_INVALID;
	for (size_t i = 0; i < paths->count; i++) texts[i] = str_from(paths->items[i]);
	write_sorted(out, key, texts, paths->count);
	return OK;
}

static int write_one(struct json_out *out, const struct conf_instance *conf, const struct cdpd_plugin *table)
{
	struct str *events = calloc(conf->async.event_count + 1, sizeof *events);
	if (!events) return ERR_NOMEM;
	if (conf->async.event_count) memcpy(events, conf->async.events, conf->async.event_count * sizeof *events);
	jo_object(out);
	write_sorted(out, STR("events"), events, conf->async.event_count);
	free(events);
	jo_key(out, STR("name"));
	jo_str(out, conf->name);
	int rc = write_paths(out, STR("needs"), &table->needs);
	if (!rc) rc = write_paths(out, STR("provides"), &table->provides);
	jo_end_object(out);
	return rc;
}

static int order_instances(const void *a, const void *b)
{
	return str_cmp((*(const struct conf_instance *const *)a)->name,
		       (*(const struct conf_instance *const *)b)->name);
}

static const struct cdpd_plugin *find_for(const struct conf_instance *conf)
{
	return async_plugin_find(conf->plugin, conf->isolation.is_on);
}

/* Nothing at all without them: such definitions keep the text they had before there were any. */
int async_defs_write(struct json_out *out, const struct config *config)
{
	const struct conf_instance **sorted = calloc(config->enricher_count + 1, sizeof(struct conf_instance *));
	size_t count = 0;
	int rc = OK;
	if (!sorted) return ERR_NOMEM;
	for (size_t i = 0; i < config->enricher_count; i++)
		if (find_for(&config->enrichers[i])) sorted[count++] = &config->enrichers[i];
	if (count) {
		qsort(sorted, count, sizeof(struct conf_instance *), order_instances);
		jo_key(out, STR("enrichers"));
		jo_array(out);
		for (size_t i = 0; i < count && !rc; i++) rc = write_one(out, sorted[i], find_for(sorted[i]));
		jo_end_array(out);
	}
	free(sorted);
	return rc;
}

/* ── parsing ─────────────────────────────────────────────────────────────── */

static int take_list(struct json object, struct str name, struct arena *arena, struct str **out, size_t *count)
{
	struct json list, item;
	struct json_iter it;
	struct str text;
	*count = 0;
	*out = NULL;
	if (!json_get(object, name, &list)) return OK;
	if (json_type(list) != JSON_ARRAY || json_count(list) > LIST_MAX) return ERR_INVALID;
	*out = arena_array(arena, struct str, json_count(list) + 1);
	int rc = *out ? OK : ERR_NOMEM;
	for (json_iter_start(list, &it); !rc && json_next_element(&it, &item);)
		rc = json_str(item, &text) ? arena_str(arena, text, &(*out)[(*count)++]) : ERR_INVALID;
	return rc;
}

static int parse_one(struct json object, struct arena *arena, struct async_def *out)
{
	struct json value;
	struct str name;
	if (!json_get(object, STR("name"), &value) || !json_str(value, &name) || name.len == 0 || name.len > 64)
		return ERR_INVALID;
	int rc = arena_str(arena, name, &out->name);
	if (!rc) rc = take_list(object, STR("events"), arena, &out->events, &out->event_count);
	if (!rc) rc = take_list(object, STR("needs"), arena, &out->needs, &out->need_count);
	return rc ? rc : take_list(object, STR("provides"), arena, &out->provides, &out->provide_count);
}

int async_defs_parse(struct json root, struct arena *arena, struct async_def **out, size_t *count)
{
	struct json list, item;
	struct json_iter it;
	int rc = OK;
	*count = 0;
	*out = NULL;
	if (!json_get(root, STR("enrichers"), &list)) return OK;
	if (json_type(list) != JSON_ARRAY || json_count(list) > ASYNC_ENRICHERS_MAX) return ERR_INVALID;
	*out = arena_array(arena, struct async_def, json_count(list) + 1);
	if (!*out) return ERR_NOMEM;
	for (json_iter_start(list, &it); !rc && json_next_element(&it, &item);)
		rc = parse_one(item, arena, &(*out)[(*count)++]);
	return rc;
}
