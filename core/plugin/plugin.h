/* plugin: loading, checking and configuring plugins; the host functions they may call. Everything a plugin can ask of
 * cdpd is in plugins/sdk/cdpd_plugin.h; this room is the only one that calls dlopen.
 *
 * A .so is refused, with path and reason, when it is group- or world-writable, a symlink out of its folder, not an ELF file, lacks the one symbol, or
 * was built for another ABI. Plugins are never dlclosed before exit. */
#pragma once

#include "cdpd_plugin.h"
#include "config/config.h"
#include "event/event.h"

struct plugin; /* a loaded .so */

/* Loads `name` from `folder` ("<folder>/<name>.so"), once; later calls return the same. *error (static or in the arena) says why not. */
MUST_USE int plugin_load(struct arena *arena, struct str folder, struct str name, const struct plugin **out,
			 struct str *error);
const struct cdpd_plugin *plugin_info(const struct plugin *plugin);

/* Checks an instance's options against the plugin's table (unknown names, types, ranges; "did you mean") and fills defaults.
 * *error is "file:line: …". */
struct plugin_conf;
MUST_USE int plugin_conf_check(struct arena *arena, const struct plugin *plugin, const struct conf_instance *instance,
			       struct str file, struct plugin_conf **out, struct str *error);

/* `cdpd plugins`: prints kind, version and options of each file, read in a sandboxed child (no network, no writes). No files: all of
 * `folder`; an empty folder is config_plugin_folder. The process's exit code: 1 when any was refused. */
int plugin_inspect_main(const char *const *files, size_t count, struct str folder);

/* All instances of a config, loaded and checked (not created): cdpd -n calls it too. *errors malloc'd text, one complaint per line. */
MUST_USE int plugin_check_config(const struct config *config, char **errors);
/* Hands each asynchronous enricher's plugin of the config to `register_fn` (async_plugin_register). After plugin_check_config. */
MUST_USE int plugin_register_async(const struct config *config,
				   int (*register_fn)(struct str plugin, bool is_isolated,
						      const struct cdpd_plugin *table),
				   char **errors);
/* Loads the feature plugins that the config's features name by type and hands each to `register_fn` (the daemon passes
 * feature_type_register). ERR_EXISTS from it means already known: not an error. Types without a file in the plugin path are left to whoever
 * registered them. Before the fold starts; not thread-safe. */
MUST_USE int plugin_register_features(const struct config *config,
				      int (*register_fn)(struct str name, const struct cdpd_feature_type *type),
				      char **errors);
