/* instance: one configured use of a plugin, and the function table it is given.
 *
 * An instance has one thread at a time, its owner's: a chain's io thread or a destination's thread. */
#pragma once

#include "plugin/plugin.h"

struct cdpd_instance;

#define INSTANCE_NAME_MAX 64

const struct cdpd_host *plugin_host(void);

/* Calls the plugin's `create`. The name is copied; `conf` is not needed afterwards. ERR_INVALID: create refused (the plugin has
 * logged why). `can_time`: the owner runs its timers. */
MUST_USE int instance_new(const struct plugin *plugin, struct str name, const struct plugin_conf *conf, bool can_time,
                          struct cdpd_instance **out);
void instance_free(struct cdpd_instance *instance); /* calls `destroy`; NULL is fine */
void *instance_self(const struct cdpd_instance *instance);
const char *instance_name(const struct cdpd_instance *instance);
const struct cdpd_plugin *instance_plugin(const struct cdpd_instance *instance);

/* When the next timer is due (clock_mono_us); INT64_MAX: none. */
int64_t instance_next_timer(const struct cdpd_instance *instance);
/* Runs what is due; a timer set by a timer waits for the next call. */
void instance_run_timers(struct cdpd_instance *instance, int64_t now_us);
