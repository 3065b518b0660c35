#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "plugin/isolate_internal.h"

#define LOOK_US (60 * US_PER_SECOND)

struct isolated_plugin {
	struct plugin plugin; /* first */
	struct isolated_plugin *next;
	struct arena arena; /* of the table's texts */
	struct cdpd_plugin table;
	uint32_t caps; /* of the .so */
};

/* Looked at once and kept for ever, like loaded ones. */
static struct isolated_plugin *known;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct isolated_plugin *of(const struct cdpd_plugin *table)
{
	return (const struct isolated_plugin *)(const void *)((const char *)table -
							      offsetof(struct isolated_plugin, table));
}

bool plugin_is_isolated(const struct plugin *plugin)
{
	return plugin_info(plugin)->create == isolate_create;
}

bool plugin_is_batched(const struct plugin *plugin)
{
	return plugin_is_isolated(plugin) && of(plugin_info(plugin))->caps & CDPD_CAP_ENRICH;
}

uint32_t isolate_caps(const struct cdpd_plugin *table)
{
	return of(table)->caps;
}

const char *isolate_path(const struct cdpd_plugin *table)
{
	return of(table)->plugin.path;
}

/* ── looking ─────────────────────────────────────────────────────────────── */

static int begin_look(struct isolate_process *process, struct str folder, struct str name)
{
	const struct wire_setup setup = {.only_looks = true, .name = name, .folder = folder, .plugin = name};
	int rc;
	wire_hello(&process->out, &rc);
	if (!rc) rc = wire_write_setup(&process->out, &setup);
	return rc ? rc : isolate_process_write(process);
}

static int take_look(struct isolate_process *process, struct isolated_plugin *plugin, struct str *why)
{
	int64_t until = clock_mono_us() + LOOK_US;
	for (;;) {
		enum frame_type type;
		struct str body;
		int rc = isolate_process_next(process, &type, &body);
		if (rc == OK && type == FRAME_TABLE) return wire_read_table(body, &plugin->arena, &plugin->table, why);
		if (rc == OK && type == FRAME_HELLO) rc = wire_read_hello(body);
		if (rc == ERR_AGAIN) {
			rc = isolate_process_wait(process, until);
			if (!rc) rc = isolate_process_read(process);
		}
		if (rc) return rc;
	}
}

/* Its process says what it is. *why as text when it does not. */
static int look(struct arena *arena, struct isolated_plugin *plugin, struct str folder, struct str name,
		struct str *why)
{
	struct isolate_process process;
	char cause[120];
	isolate_process_init(&process);
	int rc = isolate_process_start(&process);
	if (!rc) rc = begin_look(&process, folder, name);
	if (!rc) rc = take_look(&process, plugin, why);
	struct isolate_end end = isolate_process_end(&process, rc == ERR_CLOSED ? ISOLATE_GRACE_US : 0);
	isolate_process_fini(&process);
	if (rc == ERR_REFUSED && why->len) /* the child's text names the file already */
		return arena_str(arena, *why, why) ? ERR_NOMEM : ERR_REFUSED;
	if (rc) {
		const char *known_why = rc == ERR_TIMEOUT  ? "it did not finish loading in time"
					: rc == ERR_CLOSED ? ""
							   : "it said what does not read";
		life_describe_end(end, known_why, cause, sizeof cause);
		return plugin_refuse(arena, why, "its process ended while it was looked at: %s", cause);
	}
	return OK;
}

/* ── what it is for the daemon ───────────────────────────────────────────── */

static int make_table(struct arena *arena, struct isolated_plugin *plugin, struct str name, struct str *why)
{
	uint32_t caps = plugin->table.caps;
	uint32_t enrich = caps & (CDPD_CAP_ENRICH | CDPD_CAP_ENRICH_ASYNC),
		 others = caps & (CDPD_CAP_SOURCE | CDPD_CAP_EXPORT);
	if (!enrich && !others)
		return plugin_refuse(
		    arena, why, "it is a feature: they run where the fold runs, or a rebuild could say something else");
	plugin->caps = caps;
	plugin->table.caps = others | (enrich ? CDPD_CAP_ENRICH_ASYNC : 0u);
	plugin->table.create = isolate_create;
	plugin->table.destroy = isolate_destroy;
	if (enrich) plugin->table.enrich_async = isolate_ask;
	if (caps & CDPD_CAP_SOURCE) plugin->table.decode = isolate_decode;
	if (caps & CDPD_CAP_EXPORT) plugin->table.export_batch = isolate_export;
	plugin->plugin.table = &plugin->table;
	return plugin_table_check(arena, &plugin->table, name, why);
}

static struct isolated_plugin *find(const char *path)
{
	struct isolated_plugin *plugin = known;
	while (plugin && strcmp(plugin->plugin.path, path) != 0) plugin = plugin->next;
	return plugin;
}

static void free_plugin(struct isolated_plugin *plugin)
{
	if (!plugin) return;
	arena_fini(&plugin->arena);
	free(plugin->plugin.path);
	free(plugin);
}

static int add(struct arena *arena, const char *path, struct str folder, struct str name, struct isolated_plugin **out,
	       struct str *why)
{
	struct isolated_plugin *plugin = calloc(1, sizeof *plugin);
	*why = STR_NONE;
	if (!plugin) return ERR_NOMEM;
	arena_init(&plugin->arena, 2048, (size_t)1 << 20);
	plugin->plugin.path = strdup(path);
	int rc = plugin->plugin.path ? look(arena, plugin, folder, name, why) : ERR_NOMEM;
	if (!rc) rc = make_table(arena, plugin, name, why);
	if (rc) {
		free_plugin(plugin);
		return rc;
	}
	plugin->next = known;
	known = *out = plugin;
	return OK;
}

int isolate_load(struct arena *arena, struct str folder, struct str name, const struct plugin **out, struct str *error)
{
	char real[PATH_MAX];
	struct str path, why = STR_NONE;
	struct isolated_plugin *plugin = NULL;
	*out = NULL;
	*error = STR("a plugin is refused (no memory for the reason)");
	if (arena_printf(arena, &path, "%.*s", STR_ARG(folder.len ? folder : STR(".")))) return ERR_NOMEM;
	if (!realpath(path.ptr, real))
		return plugin_refuse(arena, error, "plugin %.*s/%.*s.so is refused: its folder cannot be read",
				     STR_ARG(folder), STR_ARG(name));
	if (arena_printf(arena, &path, "%s/%.*s.so", real, STR_ARG(name))) return ERR_NOMEM;
	(void)pthread_mutex_lock(&known_lock);
	plugin = find(path.ptr);
	int rc = plugin ? OK : add(arena, path.ptr, str_from(real), name, &plugin, &why);
	(void)pthread_mutex_unlock(&known_lock);
	if (rc == OK) {
		*out = &plugin->plugin;
		return OK;
	}
	if (rc == ERR_REFUSED && why.len) { /* whole already */
		*error = why;
		return ERR_INVALID;
	}
	if (!why.len) why = str_from(status_str(rc));
	int refused = plugin_refuse(arena, error, "plugin %.*s/%.*s.so is refused: %.*s", STR_ARG(folder),
				    STR_ARG(name), STR_ARG(why));
	return rc == ERR_NOMEM ? rc : refused;
}

int plugin_load_for(struct arena *arena, const struct config *config, const struct conf_instance *instance,
		    const struct plugin **out, struct str *error)
{
	if (!instance->isolation.is_on) return plugin_load(arena, config->plugin_path, instance->plugin, out, error);
	return isolate_load(arena, config->plugin_path, instance->plugin, out, error);
}
