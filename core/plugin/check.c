#include <stdlib.h>
#include <unistd.h>

#include "plugin/http_guard.h"
#include "plugin/http_tls.h"
#include "plugin/internal.h"
#include "plugin/isolate.h"

#define ERRORS_MAX ((size_t)256 << 10)

static const char *cap_name(uint32_t cap)
{
	return cap == CDPD_CAP_EXPORT ? "destination" : cap == CDPD_CAP_SOURCE ? "source" : "enricher";
}

static const char *article(uint32_t cap)
{
	return cap & (CDPD_CAP_EXPORT | CDPD_CAP_SOURCE) ? "a" : "an";
}

static int refuse_kind(struct arena *arena, const struct cdpd_plugin *table, uint32_t cap, struct str *error)
{
	struct str caps = plugin_caps_text(arena, table->caps);
	return plugin_refuse(arena, error, "'%s' cannot be used as %s %s: it is for %.*s", table->name, article(cap),
			     cap_name(cap), STR_ARG(caps));
}

static int add_error(struct buf *errors, const struct config *config, int line, struct str text)
{
	if (line < 0) return buf_printf(errors, "%.*s\n", STR_ARG(text));
	return buf_printf(errors, "%.*s:%d: %.*s\n", STR_ARG(config->file), line, STR_ARG(text));
}

static int check_name(struct arena *arena, const struct conf_instance *instances, size_t index, uint32_t cap,
		      struct str *error)
{
	struct str name = instances[index].name;
	if (!plugin_is_name(name, "_-")) {
		return plugin_refuse(
		    arena, error, "the name of %s %s is [a-z][a-z0-9_-]*, at most %d bytes, not '%.*s'", article(cap),
		    cap_name(cap), PLUGIN_NAME_MAX, name.len > 80 ? 80 : (int)name.len, name.ptr);
	}
	for (size_t i = 0; i < index; i++) {
		if (str_eq(instances[i].name, name)) {
			return plugin_refuse(arena, error,
					     "two %ss are named '%.*s': give one of them a name of its own",
					     cap_name(cap), STR_ARG(name));
		}
	}
	return OK;
}

static int check_one(struct arena *arena, const struct config *config, const struct conf_instance *instance,
		     uint32_t cap, struct checked_instance *out, struct buf *errors)
{
	struct str error = STR_NONE;
	int rc = plugin_load_for(arena, config, instance, &out->plugin, &error);
	if (rc == OK && !(plugin_info(out->plugin)->caps & cap))
		rc = refuse_kind(arena, plugin_info(out->plugin), cap, &error);
	if (rc) {
		int full = add_error(errors, config, instance->line, error);
		return full ? full : rc;
	}
	out->name = instance->name;
	if (instance->isolation.read_count && !instance->isolation.is_on) {
		rc = plugin_refuse(arena, &error, "'read' is for isolated plugins, '%.*s' is none",
				   STR_ARG(instance->name));
		return add_error(errors, config, instance->line, error) ? ERR_NOMEM : rc;
	}
	if (instance->isolation.is_on && plugin_info(out->plugin)->flags & CDPD_PLUGIN_OWN_IO) {
		rc = plugin_refuse(
		    arena, &error,
		    "%s opens sockets or files of its own and cannot be isolated: an isolated plugin reaches only "
		    "what cdpd asks for it over HTTP",
		    plugin_info(out->plugin)->name);
		return add_error(errors, config, instance->line, error) ? ERR_NOMEM : rc;
	}
	rc = plugin_conf_check(arena, out->plugin, instance, config->file, &out->conf, &error);
	if (rc == OK) out->conf->use = cap;
	if (rc == OK) return OK;
	int full = add_error(errors, config, -1, error); /* carries its own lines */
	return full ? full : rc;
}

int plugin_check_instances(struct arena *arena, const struct config *config, const struct conf_instance *instances,
			   size_t count, uint32_t cap, struct checked_instance *out, struct buf *errors)
{
	int worst = OK;
	for (size_t i = 0; i < count; i++) {
		struct str error;
		int rc = check_name(arena, instances, i, cap, &error);
		if (rc) {
			int full = add_error(errors, config, instances[i].line, error);
			if (full) return full;
		} else {
			rc = check_one(arena, config, &instances[i], cap, &out[i], errors);
		}
		if (rc == ERR_NOMEM) return rc;
		if (rc) worst = ERR_INVALID;
	}
	return worst;
}

bool plugin_is_async(const struct plugin *plugin)
{
	uint32_t caps = plugin_info(plugin)->caps;
	return (caps & CDPD_CAP_ENRICH_ASYNC) && !(caps & CDPD_CAP_ENRICH);
}

/* Keys that only say something to asynchronous enrichers. */
static const char *async_key(const struct conf_async *async)
{
	if (async->event_count) return "events";
	if (async->fail != ENRICH_FAIL_OPEN) return "fail";
	return async->http_allow_count ? "http.allow" : NULL;
}

static int check_guard(struct arena *arena, const struct config *config, const struct conf_instance *instance,
		       struct buf *errors)
{
	struct http_guard guard;
	struct str bad, error;
	int rc = http_guard_make(arena, instance->async.http_allow, instance->async.http_allow_count, &guard, &bad);
	if (rc != ERR_INVALID) return rc;
	rc = plugin_refuse(arena, &error, "http.allow: '%.*s' is neither a network (10.0.0.0/8) nor a host name",
			   STR_ARG(bad));
	return add_error(errors, config, instance->line, error) ? ERR_NOMEM : rc;
}

/* What destinations say of their HTTP. */
static int check_http(struct arena *arena, const struct config *config, struct buf *errors)
{
	int worst = OK;
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct conf_instance *instance = &config->destinations[i];
		struct str error;
		int rc = check_guard(arena, config, instance, errors);
		if (rc == ERR_NOMEM) return rc;
		if (rc) worst = rc;
		rc = http_tls_check(arena, &instance->async.http_tls, &error);
		if (rc == ERR_INVALID && add_error(errors, config, instance->line, error)) return ERR_NOMEM;
		if (rc == ERR_NOMEM) return rc;
		if (rc) worst = rc;
	}
	return worst;
}

/* What asynchronous enrichers alone are asked for, and what they may not be. */
static int check_async(struct arena *arena, const struct config *config, const struct checked_instance *checked,
		       struct buf *errors)
{
	size_t count = 0;
	int worst = OK;
	for (size_t i = 0; i < config->enricher_count; i++) {
		const struct conf_instance *instance = &config->enrichers[i];
		struct str error = STR_NONE;
		const char *key = async_key(&instance->async);
		int rc = OK;
		if (plugin_is_async(checked[i].plugin)) {
			rc = check_guard(arena, config, instance, errors);
			if (!rc && ++count > ASYNC_MAX)
				rc = plugin_refuse(arena, &error, "at most %d asynchronous enrichers", ASYNC_MAX);
		} else if (key) {
			rc = plugin_refuse(arena, &error, "'%s' is for asynchronous enrichers, '%.*s' is none", key,
					   STR_ARG(instance->name));
		}
		if (error.len && add_error(errors, config, instance->line, error)) return ERR_NOMEM;
		if (rc == ERR_NOMEM) return rc;
		if (rc) worst = rc;
	}
	return worst;
}

static int check_chain(struct arena *arena, const struct config *config, const struct checked_instance *checked,
		       size_t count, struct buf *errors)
{
	struct str error;
	struct order_item *items = arena_array(arena, struct order_item, count + 1);
	size_t *order = arena_array(arena, size_t, count + 1);
	if (!items || !order) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		items[i] = (struct order_item){checked[i].name, plugin_info(checked[i].plugin),
					       plugin_is_async(checked[i].plugin)};
	int rc = enrich_order(arena, items, count, order, &error);
	if (rc == ERR_INVALID && add_error(errors, config, config->enrichers[0].line, error)) return ERR_NOMEM;
	return rc;
}

struct conf_instance source_instance(const struct conf_source *source)
{
	return (struct conf_instance){.name = source->id,
				      .plugin = source->hook.plugin,
				      .options = source->hook.options,
				      .purpose = STR_NONE,
				      .async = {.http_allow = source->hook.http_allow,
						.http_allow_count = source->hook.http_allow_count,
						.deadline_ms = source->hook.deadline_ms},
				      .isolation = {.is_on = source->hook.is_isolated,
						    .memory = source->hook.memory,
						    .read = source->hook.read,
						    .read_count = source->hook.read_count},
				      .line = source->hook.line};
}

static int check_sources(struct arena *arena, const struct config *config, struct buf *errors)
{
	struct conf_instance *instances = arena_array(arena, struct conf_instance, config->source_count + 1);
	struct checked_instance *checked = arena_array(arena, struct checked_instance, config->source_count + 1);
	size_t count = 0;
	if (!instances || !checked) return ERR_NOMEM;
	for (size_t i = 0; i < config->source_count; i++)
		if (config->sources[i].hook.plugin.len) instances[count++] = source_instance(&config->sources[i]);
	int worst = plugin_check_instances(arena, config, instances, count, CDPD_CAP_SOURCE, checked, errors);
	for (size_t i = 0; i < count && worst != ERR_NOMEM; i++) {
		int rc = check_guard(arena, config, &instances[i], errors);
		if (rc) worst = rc;
	}
	return worst;
}

static int check_config(struct arena *arena, const struct config *config, struct buf *errors)
{
	struct checked_instance *enrichers = arena_array(arena, struct checked_instance, config->enricher_count + 1);
	struct checked_instance *destinations =
	    arena_array(arena, struct checked_instance, config->destination_count + 1);
	if (!enrichers || !destinations) return ERR_NOMEM;
	int first = plugin_check_instances(arena, config, config->enrichers, config->enricher_count,
					   CDPD_CAP_ENRICH | CDPD_CAP_ENRICH_ASYNC, enrichers, errors);
	if (first == OK) first = check_async(arena, config, enrichers, errors);
	if (first == OK && config->enricher_count)
		first = check_chain(arena, config, enrichers, config->enricher_count, errors);
	if (first == ERR_NOMEM) return first;
	int second = plugin_check_instances(arena, config, config->destinations, config->destination_count,
					    CDPD_CAP_EXPORT, destinations, errors);
	if (second == ERR_NOMEM) return second;
	int third = check_http(arena, config, errors);
	if (third == ERR_NOMEM) return third;
	int fourth = check_sources(arena, config, errors);
	return first ? first : second ? second : third ? third : fourth;
}

/* The buffer's text as a malloc'd string without the last newline; NULL when there is no memory. */
static char *take_text(const struct buf *buf)
{
	struct str text = buf_str(buf);
	if (text.len && text.ptr[text.len - 1] == '\n') text.len--;
	return strndup(text.ptr, text.len);
}

int plugin_check_config(const struct config *config, char **errors)
{
	struct arena arena;
	struct buf text;
	arena_init(&arena, 16384, 0);
	buf_init(&text, ERRORS_MAX);
	int rc = check_config(&arena, config, &text);
	*errors = rc ? take_text(&text) : NULL;
	buf_fini(&text);
	arena_fini(&arena);
	return rc;
}

int plugin_register_async(const struct config *config,
			  int (*register_fn)(struct str plugin, bool is_isolated, const struct cdpd_plugin *table),
			  char **errors)
{
	struct arena arena;
	struct str error = STR_NONE;
	int rc = OK;
	*errors = NULL;
	arena_init(&arena, 4096, 0);
	for (size_t i = 0; i < config->enricher_count && rc == OK; i++) {
		const struct plugin *plugin;
		const struct conf_instance *instance = &config->enrichers[i];
		rc = plugin_load_for(&arena, config, instance, &plugin, &error);
		if (rc || !plugin_is_async(plugin)) continue;
		rc = register_fn(str_from(plugin_info(plugin)->name), instance->isolation.is_on, plugin_info(plugin));
		if (rc == ERR_EXISTS) rc = OK;
	}
	if (rc) *errors = strndup(error.ptr, error.len);
	arena_fini(&arena);
	return rc;
}

/* ── features ────────────────────────────────────────────────────────────── */

static bool has_file(struct arena *arena, struct str folder, struct str name)
{
	struct str path;
	return plugin_is_name(name, "_-") &&
	       arena_printf(arena, &path, "%.*s/%.*s.so", STR_ARG(folder), STR_ARG(name)) == OK &&
	       access(path.ptr, F_OK) == 0;
}

static int register_one(struct arena *arena, const struct config *config, const struct conf_feature *feature,
			int (*register_fn)(struct str name, const struct cdpd_feature_type *type), struct str *error)
{
	const struct plugin *plugin;
	int rc = plugin_load(arena, config->plugin_path, feature->type, &plugin, error);
	if (rc) return rc;
	const struct cdpd_plugin *table = plugin_info(plugin);
	if (!(table->caps & CDPD_CAP_FEATURE)) {
		return plugin_refuse(arena, error, "feature '%.*s': plugin '%s' is not a feature type",
				     STR_ARG(feature->name), table->name);
	}
	rc = register_fn(str_from(table->name), table->feature);
	if (rc == OK || rc == ERR_EXISTS) return OK;
	return plugin_refuse(arena, error, "feature type '%s' is refused (%s)", table->name, status_str(rc));
}

int plugin_register_features(const struct config *config,
			     int (*register_fn)(struct str name, const struct cdpd_feature_type *type), char **errors)
{
	struct arena arena;
	struct buf text;
	int worst = OK;
	arena_init(&arena, 4096, 0);
	buf_init(&text, ERRORS_MAX);
	for (size_t i = 0; i < config->feature_count && worst != ERR_NOMEM; i++) {
		struct str error = STR_NONE;
		if (!has_file(&arena, config->plugin_path, config->features[i].type)) continue;
		int rc = register_one(&arena, config, &config->features[i], register_fn, &error);
		if (rc == OK) continue;
		struct str file = config->features[i].file.len ? config->features[i].file : config->file;
		worst = buf_printf(&text, "%.*s:%d: %.*s\n", STR_ARG(file), config->features[i].line, STR_ARG(error))
			    ? ERR_NOMEM
			    : rc;
	}
	*errors = worst ? take_text(&text) : NULL;
	buf_fini(&text);
	arena_fini(&arena);
	return worst;
}
