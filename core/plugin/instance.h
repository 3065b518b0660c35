/* instance: one configured use of a plugin, and the function table it is given.
 *
 * An instance has one thread at a time, its owner's: a chain's io thread or a destination's thread. */
#pragma once

#include "base/buf.h"
#include "plugin/plugin.h"

struct cdpd_instance;

#define INSTANCE_NAME_MAX 72 /* "source:" and 64 */

const struct cdpd_host *plugin_host(void);

/* The same plugin with the same values, secrets as read included. */
bool plugin_conf_is_same(const struct plugin_conf *a, const struct plugin_conf *b);

/* Loads and checks instances of one list, each of a plugin with `cap`. ERR_INVALID: `errors` has one complaint a line.
 * The results borrow the arena; out[i] belongs to instances[i]. */
struct checked_instance {
	struct str name;
	const struct plugin *plugin;
	struct plugin_conf *conf;
};
MUST_USE int plugin_check_instances(struct arena *arena, const struct config *config,
				    const struct conf_instance *instances, size_t count, uint32_t cap,
				    struct checked_instance *out, struct buf *errors);

/* A webhook source's plugin, as an instance of the source's id. */
struct conf_instance source_instance(const struct conf_source *source);

/* An enricher that is asked after the journal, on its own time. */
bool plugin_is_async(const struct plugin *plugin);

/* Calls the plugin's `create`. The name is copied; `conf` is not needed afterwards. ERR_INVALID: create refused (the plugin has
 * logged why). `can_time`: the owner runs its timers. */
MUST_USE int instance_new(const struct plugin *plugin, struct str name, const struct plugin_conf *conf, bool can_time,
			  struct cdpd_instance **out);
struct http_client;
struct publisher;
struct spaces;
struct instance_services { /* of an instance with a thread of its own; each may be NULL */
	struct http_client *http;
	struct spaces *spaces;
	struct publisher *publisher;  /* needs http */
	const struct cdpd_host *host; /* the table it is given; NULL: plugin_host() */
};
/* The same; the owner runs its timers, and http_wait. */
MUST_USE int instance_new_with(const struct plugin *plugin, struct str name, const struct plugin_conf *conf,
			       const struct instance_services *services, struct cdpd_instance **out);
void instance_free(struct cdpd_instance *instance); /* calls `destroy`; NULL is fine */
void *instance_self(const struct cdpd_instance *instance);
const char *instance_name(const struct cdpd_instance *instance);
const struct cdpd_plugin *instance_plugin(const struct cdpd_instance *instance);

/* When the next timer is due (clock_mono_us); INT64_MAX: none. */
int64_t instance_next_timer(const struct cdpd_instance *instance);
/* It speaks with somebody over a file descriptor that http_wait watches: run its timers whenever the thread has waited. */
bool instance_has_turn(const struct cdpd_instance *instance);
/* Runs what is due; a timer set by a timer waits for the next call. */
void instance_run_timers(struct cdpd_instance *instance, int64_t now_us);
