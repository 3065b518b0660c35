/* runner: the thread of one asynchronous enricher: creates its instance (again and again, while that fails), asks it the tickets it is given, runs
 * its timers, HTTP answers and cache, destroys it. Whatever the plugin does is done to this thread alone. */
#pragma once

#include "config/config.h"
#include "plugin/http.h"
#include "plugin/ticket.h"

struct runner;
struct spaces;

struct runner_options {
	const struct plugin *plugin;
	struct str name; /* all that is given here outlives the runner */
	const struct plugin_conf *conf;
	const struct conf_async *async;
	struct spaces *spaces;                      /* caches and key-values; NULL: none */
	void (*on_ready)(void *ctx, bool is_ready); /* on the runner's thread: the instance is there, or no more */
	void *ctx;
};

/* Starts the thread. ERR_INVALID: http.allow, logged; ERR_NOMEM. */
MUST_USE int runner_new(const struct runner_options *options, struct runner **out);
/* Opens and queues the ticket. ERR_BUSY: no instance now, or too many handles. */
MUST_USE int runner_ask(struct runner *runner, struct ticket *ticket);
/* Ends the instance and begins a new one, when it comes back: what it held on to is free then (on_ready is called twice). */
void runner_restart(struct runner *runner);
void runner_stop(struct runner *runner); /* asks for the end */

/* Something that is done on the instance's thread between its other calls; it belongs to the runner until `done`. */
struct runner_job {
	struct runner_job *next;
	void (*call)(struct runner_job *job,
		     struct cdpd_instance *instance); /* goes into the plugin: may never return */
	void (*done)(struct runner_job *job,
		     bool was_called); /* on the same thread; not called: the instance ended before */
};
/* In order; how many wait is the caller's to bound. They wait for the first instance. ERR_BUSY: it cannot be made now, or ends. */
MUST_USE int runner_submit(struct runner *runner, struct runner_job *job);
/* Waits until `until_us` (clock_mono_us). False: a call into the plugin does not come back, the runner stays as it is for ever. */
bool runner_join(struct runner *runner, int64_t until_us);
void runner_free(struct runner *runner); /* joined */
/* How long the thread has been inside one call into the plugin; 0: it is not. Any thread. */
int64_t runner_inside_us(struct runner *runner);
