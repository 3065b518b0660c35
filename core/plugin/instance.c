#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin/internal.h"

static int open_services(struct cdpd_instance *instance, struct str name)
{
	const struct instance_services *services = &instance->services;
	bool publishes = services->publisher && services->http && instance->table->caps & CDPD_CAP_EXPORT;
	int rc = services->spaces ? cache_flights_new(services->spaces, name, &instance->cache) : OK;
	if (rc == OK && publishes) rc = postbox_new(services->publisher, name, services->http, &instance->postbox);
	if (rc == OK) return OK;
	cache_flights_free(instance->cache);
	return rc;
}

/* Whoever waits is told, before the instance's destroy. */
static void close_services(struct cdpd_instance *instance)
{
	if (instance->cache) cache_flights_cancel(instance->cache);
	postbox_close(instance->postbox);
	instance->postbox = NULL;
}

static int make(const struct plugin *plugin, struct str name, const struct plugin_conf *conf, bool can_time,
		const struct instance_services *services, struct cdpd_instance **out)
{
	*out = NULL;
	if (name.len == 0 || name.len > INSTANCE_NAME_MAX) return ERR_INVALID;
	struct cdpd_instance *instance = calloc(1, sizeof *instance);
	if (!instance) return ERR_NOMEM;
	instance->magic = INSTANCE_MAGIC;
	memcpy(instance->name, name.ptr, name.len);
	instance->table = plugin_info(plugin);
	instance->can_time = can_time;
	if (services) instance->services = *services;
	int rc = open_services(instance, name);
	if (rc) {
		free(instance);
		return rc;
	}
	arena_init(&instance->arena, 1024, (size_t)PLUGIN_PATHS_MAX * (PLUGIN_PATH_MAX + 64) + 4096);
	if (instance->table->create) {
		instance->is_creating = true;
		const struct cdpd_host *host = services && services->host ? services->host : plugin_host();
		rc = instance->table->create(host, instance, &conf->sdk, &instance->self);
		instance->is_creating = false;
		if (rc != CDPD_OK) {
			log_error(LOG_PLUGIN, "%s could not be created (plugin %s answered %d)", instance->name,
				  instance->table->name, rc);
			arena_fini(&instance->arena);
			close_services(instance);
			cache_flights_free(instance->cache);
			free(instance);
			return ERR_INVALID;
		}
	}
	*out = instance;
	return OK;
}

int instance_new(const struct plugin *plugin, struct str name, const struct plugin_conf *conf, bool can_time,
		 struct cdpd_instance **out)
{
	return make(plugin, name, conf, can_time, NULL, out);
}

int instance_new_with(const struct plugin *plugin, struct str name, const struct plugin_conf *conf,
		      const struct instance_services *services, struct cdpd_instance **out)
{
	return make(plugin, name, conf, true, services, out);
}

void instance_free(struct cdpd_instance *instance)
{
	if (!instance) return;
	CHECK(instance->magic == INSTANCE_MAGIC);
	close_services(instance);
	if (instance->table->destroy) instance->table->destroy(instance->self);
	arena_fini(&instance->arena);
	cache_flights_free(instance->cache);
	instance->magic = 0;
	free(instance);
}

void *instance_self(const struct cdpd_instance *instance)
{
	return instance->self;
}

const char *instance_name(const struct cdpd_instance *instance)
{
	return instance->name;
}

const struct cdpd_plugin *instance_plugin(const struct cdpd_instance *instance)
{
	return instance->table;
}

int64_t instance_next_timer(const struct cdpd_instance *instance)
{
	int64_t next = instance->cache ? cache_flights_due(instance->cache) : INT64_MAX;
	if (instance->postbox && postbox_has_news(instance->postbox)) return 0;
	if (instance->turn && instance->turn_due_us < next) next = instance->turn_due_us;
	for (size_t i = 0; i < instance->timer_count; i++) {
		if (instance->timers[i].due_us < next) next = instance->timers[i].due_us;
	}
	return next;
}

bool instance_has_turn(const struct cdpd_instance *instance)
{
	return instance->turn != NULL;
}

void instance_run_timers(struct cdpd_instance *instance, int64_t now_us)
{
	struct instance_timer due[INSTANCE_TIMERS_MAX];
	size_t due_count = 0, kept = 0;
	if (instance->cache) cache_flights_expire(instance->cache, now_us);
	if (instance->postbox) postbox_tell(instance->postbox);
	if (instance->turn) instance->turn_due_us = instance->turn(instance->turn_ctx);
	for (size_t i = 0; i < instance->timer_count; i++) {
		struct instance_timer timer = instance->timers[i];
		if (timer.due_us <= now_us)
			due[due_count++] = timer;
		else
			instance->timers[kept++] = timer;
	}
	instance->timer_count = kept;
	for (size_t i = 0; i < due_count; i++) due[i].fn(due[i].ctx);
}
