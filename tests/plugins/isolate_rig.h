/* isolate_rig: an isolated enricher without a daemon: its instance, an HTTP client to wait with, and questions. */
#pragma once

#include "base/clock.h"
#include "plugin/http.h"
#include "plugin/isolate.h"
#include "plugin/isolate_child.h"
#include "plugin/ticket.h"

#define RIG_TICKETS 256
#define RIG_WAIT_US (120 * US_PER_SECOND) /* of a machine that has other things to do */

struct rig {
	struct arena arena;
	struct http_guard guard;
	struct http_client *http;
	struct spaces *spaces;
	struct cdpd_instance *instance;
	struct ticket *tickets[RIG_TICKETS];
	size_t asked;
	_Atomic(size_t) settled;
};

static inline void rig_on_settled(void *ctx, struct ticket *ticket)
{
	struct rig *rig = ctx;
	(void)ticket;
	rig->settled++; /* on our own thread: nobody needs to be woken */
}

static inline void rig_init(struct rig *rig)
{
	struct str bad, allowed[] = {STR("127.0.0.1")};
	memset(rig, 0, sizeof *rig);
	arena_init(&rig->arena, 4096, 0);
	CHECK(http_guard_make(&rig->arena, allowed, 1, &rig->guard, &bad) == OK);
	const struct http_limits limits = {.guard = &rig->guard};
	CHECK(http_client_new(&limits, &rig->http) == OK);
	for (size_t i = 0; i < RIG_TICKETS; i++) CHECK(ticket_new(rig_on_settled, rig, &rig->tickets[i]) == OK);
}

static inline int rig_make(struct rig *rig, struct str path, const struct conf_instance *conf, struct str *error)
{
	const struct config config = {.plugin_path = path};
	const struct plugin *plugin;
	struct plugin_conf *checked;
	int rc = plugin_load_for(&rig->arena, &config, conf, &plugin, error);
	if (!rc) rc = plugin_conf_check(&rig->arena, plugin, conf, STR("c.yaml"), &checked, error);
	if (rc) return rc;
	const struct instance_services services = {.http = rig->http, .spaces = rig->spaces};
	return instance_new_with(plugin, conf->name, checked, &services, &rig->instance);
}

static inline void rig_turn(struct rig *rig)
{
	int64_t now = clock_mono_us(), until = now + 20 * US_PER_MS;
	size_t before = rig->settled;
	instance_run_timers(rig->instance, now);
	if (rig->settled > before) return;
	int64_t next = instance_next_timer(rig->instance);
	http_wait(rig->http, next < until ? next : until);
}

static inline void rig_ask(struct rig *rig, const struct cdpd_event *event)
{
	struct ticket *ticket = rig->tickets[rig->asked++];
	*ticket_owner_event(ticket) = *event;
	CHECK(ticket_open(ticket, rig->instance) == OK);
	ticket_ask(ticket);
}

/* False: they did not come. */
static inline bool rig_wait(struct rig *rig, size_t count)
{
	int64_t until = clock_mono_us() + RIG_WAIT_US;
	while (rig->settled < count && clock_mono_us() < until) rig_turn(rig);
	return rig->settled >= count;
}

/* Those that were asked may be asked again. */
static inline void rig_reset(struct rig *rig)
{
	for (size_t i = 0; i < rig->asked; i++) ticket_reset(rig->tickets[i]);
	rig->asked = 0;
	rig->settled = 0;
}

static inline void rig_end(struct rig *rig)
{
	http_client_cancel(rig->http);
	instance_free(rig->instance);
	rig->instance = NULL;
	http_client_free(rig->http);
	rig->http = NULL;
	for (size_t i = 0; i < RIG_TICKETS; i++) ticket_free(rig->tickets[i]);
	arena_fini(&rig->arena);
}
