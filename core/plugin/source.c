#include "plugin/source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin/internal.h"

#define STOP_US  (5 * US_PER_SECOND)
#define DRAIN_US (5 * US_PER_SECOND) /* a reload waits that long for what the old instances still hold */

struct source {
	struct source *next;
	struct sources *all;
	struct arena arena; /* of what follows */
	struct str id, name;
	const struct plugin *plugin;
	struct plugin_conf *conf;
	struct conf_async async; /* what a runner looks at */
	struct runner *runner;

	/* under all->lock */
	uint32_t deadline_ms, queue_max;
	size_t waiting, waiting_bytes; /* with the runner, abandoned ones too */
	bool is_stuck;

	struct metric *answered, *failed, *timeouts, *refused, *events, *rejects, *queued, *stuck, *seconds;
};

struct sources {
	struct spaces *spaces;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct source *list, *left_behind;
	bool is_stopped;
};

/* ── errands ─────────────────────────────────────────────────────────────── */

int errand_new(struct errand **out)
{
	*out = calloc(1, sizeof **out);
	return *out ? OK : ERR_NOMEM;
}

void errand_free(struct errand *errand)
{
	if (!errand) return;
	decoding_fini(&errand->decode);
	free(errand);
}

static struct errand *errand_of(struct runner_job *job)
{
	return (void *)((char *)job - offsetof(struct errand, job));
}

/* Nobody may have waited so long. */
static void call(struct runner_job *job, struct cdpd_instance *instance)
{
	struct errand *errand = errand_of(job);
	(void)pthread_mutex_lock(&errand->sources->lock);
	bool is_wanted = errand->state == ERRAND_WAITING;
	(void)pthread_mutex_unlock(&errand->sources->lock);
	if (is_wanted) decoding_run(&errand->decode, instance);
}

static void note_return(struct source *source)
{
	if (!source->is_stuck) return;
	source->is_stuck = false;
	metric_set(source->stuck, 0);
	log_info(LOG_PLUGIN, "source %.*s returned, it is asked again", STR_ARG(source->id));
}

static void count_answer(struct errand *errand, bool was_called)
{
	struct source *source = errand->source;
	if (!was_called) return;
	metric_add(errand->decode.error == CDPD_OK ? source->answered : source->failed, 1);
	metric_observe_us(source->seconds, clock_mono_us() - errand->submitted_us);
}

static void run_done(struct loop_task *task)
{
	struct errand *errand = (void *)((char *)task - offsetof(struct errand, returned));
	errand->done(errand);
}

/* Posted under the lock: whoever finds the state knows that the task is with the loop. */
static void done(struct runner_job *job, bool was_called)
{
	struct errand *errand = errand_of(job);
	struct source *source = errand->source;
	struct sources *all = errand->sources;
	(void)pthread_mutex_lock(&all->lock);
	source->waiting--;
	source->waiting_bytes -= errand->bytes;
	metric_set(source->queued, (int64_t)source->waiting);
	note_return(source);
	bool is_abandoned = errand->state == ERRAND_ABANDONED;
	if (!is_abandoned) {
		count_answer(errand, was_called);
		errand->state = ERRAND_DONE;
		errand->status = was_called ? OK : ERR_CLOSED;
		errand->returned.run = run_done;
		loop_post(errand->loop, &errand->returned);
	}
	(void)pthread_cond_broadcast(&all->changed);
	(void)pthread_mutex_unlock(&all->lock);
	if (is_abandoned) errand_free(errand);
}

/* The lock is held. */
static void look_at_thread(struct source *source)
{
	int64_t inside_us = runner_inside_us(source->runner);
	if (source->is_stuck || inside_us < (int64_t)source->deadline_ms * US_PER_MS) return;
	source->is_stuck = true;
	metric_set(source->stuck, 1);
	log_warn(LOG_PLUGIN, "source %.*s does not return from a call for %lld ms, it is asked nothing meanwhile",
		 STR_ARG(source->id), (long long)(inside_us / US_PER_MS));
}

bool errand_abandon(struct errand *errand, bool is_late)
{
	struct sources *all = errand->sources;
	(void)pthread_mutex_lock(&all->lock);
	bool was_waiting = errand->state == ERRAND_WAITING;
	if (was_waiting) {
		errand->state = ERRAND_ABANDONED;
		if (is_late) metric_add(errand->source->timeouts, 1);
		if (is_late) look_at_thread(errand->source);
	}
	(void)pthread_mutex_unlock(&all->lock);
	return was_waiting;
}

static struct source *find(struct source *list, struct str id)
{
	while (list && !str_eq(list->id, id)) list = list->next;
	return list;
}

bool sources_find(struct sources *sources, struct str id, struct source_terms *out)
{
	(void)pthread_mutex_lock(&sources->lock);
	const struct source *source = find(sources->list, id);
	if (source) *out = (struct source_terms){.deadline_ms = source->deadline_ms};
	(void)pthread_mutex_unlock(&sources->lock);
	return source != NULL;
}

static int admit(struct source *source, struct errand *errand)
{
	bool has_room = source->waiting < source->queue_max &&
			(source->waiting == 0 || source->waiting_bytes + errand->bytes <= SOURCE_QUEUE_BYTES);
	look_at_thread(source);
	if (source->is_stuck && runner_inside_us(source->runner)) return ERR_TIMEOUT;
	if (!has_room) return ERR_BUSY;
	errand->source = source;
	errand->state = ERRAND_WAITING;
	errand->submitted_us = clock_mono_us();
	/* Counted before the runner can be done with it. */
	source->waiting++;
	source->waiting_bytes += errand->bytes;
	int rc = runner_submit(source->runner, &errand->job);
	if (rc == OK) {
		metric_set(source->queued, (int64_t)source->waiting);
		return OK;
	}
	source->waiting--;
	source->waiting_bytes -= errand->bytes;
	errand->state = ERRAND_IDLE;
	return ERR_AGAIN;
}

int sources_submit(struct sources *sources, struct str id, struct errand *errand)
{
	int rc = ERR_NOT_FOUND;
	errand->sources = sources;
	errand->job = (struct runner_job){.call = call, .done = done};
	errand->bytes = errand->decode.request.body.len;
	(void)pthread_mutex_lock(&sources->lock);
	struct source *source = sources->is_stopped ? NULL : find(sources->list, id);
	if (source) rc = admit(source, errand);
	if (source && rc) metric_add(source->refused, 1);
	(void)pthread_mutex_unlock(&sources->lock);
	return rc;
}

void sources_count(struct sources *sources, struct str id, uint64_t events, uint64_t rejects)
{
	(void)pthread_mutex_lock(&sources->lock);
	const struct source *source = find(sources->list, id);
	if (source) metric_add(source->events, events);
	if (source) metric_add(source->rejects, rejects);
	(void)pthread_mutex_unlock(&sources->lock);
}

/* ── making and ending ───────────────────────────────────────────────────── */

static struct metric *metric_of(const struct source *source, enum metric_type type, const char *name,
				const char *result, const char *help)
{
	char labels[160];
	(void)snprintf(labels, sizeof labels, "source=\"%.*s\"%s%s%s", STR_ARG(source->id), result ? ",result=\"" : "",
		       result ? result : "", result ? "\"" : "");
	return metric_get(type, name, labels, help);
}

static void make_metrics(struct source *s)
{
	static const char requests[] = "cdpd_source_requests_total", told[] = "Requests for a source plugin.";
	static const char events[] = "cdpd_source_events_total", made[] = "Events that a source plugin made.";
	s->answered = metric_of(s, METRIC_COUNTER, requests, "answered", told);
	s->failed = metric_of(s, METRIC_COUNTER, requests, "failed", told);
	s->timeouts = metric_of(s, METRIC_COUNTER, requests, "timeout", told);
	s->refused = metric_of(s, METRIC_COUNTER, requests, "refused", told);
	s->events = metric_of(s, METRIC_COUNTER, events, "accepted", made);
	s->rejects = metric_of(s, METRIC_COUNTER, events, "rejected", made);
	s->queued = metric_of(s, METRIC_GAUGE, "cdpd_source_queued", NULL, "Requests with a source plugin.");
	s->stuck = metric_of(s, METRIC_GAUGE, "cdpd_source_stuck", NULL,
			     "1 while a source plugin does not return from a call.");
	s->seconds = metric_of(s, METRIC_HISTOGRAM, "cdpd_source_seconds", NULL,
			       "Time a request waits for its source plugin and spends in it.");
	metric_set(s->stuck, 0);
}

static void on_ready(void *ctx, bool is_ready)
{
	(void)ctx, (void)is_ready; /* runner_submit knows */
}

static void source_free(struct source *source)
{
	runner_free(source->runner);
	arena_fini(&source->arena);
	free(source);
}

static int copy_texts(struct arena *arena, const struct str *from, size_t count, struct str **out)
{
	*out = arena_array(arena, struct str, count + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		if (arena_str(arena, from[i], &(*out)[i])) return ERR_NOMEM;
	return OK;
}

/* Its texts and checked options, in its arena. */
static int fill(struct source *source, const struct config *config, const struct conf_source *conf)
{
	struct buf errors;
	struct arena *arena = &source->arena;
	struct checked_instance checked = {.name = STR_NONE};
	const struct conf_instance instance = source_instance(conf);
	buf_init(&errors, (size_t)64 << 10);
	int rc = plugin_check_instances(arena, config, &instance, 1, CDPD_CAP_SOURCE, &checked, &errors);
	struct str text = str_trim(buf_str(&errors));
	if (text.len) log_error(LOG_PLUGIN, "%.*s", STR_ARG(text));
	buf_fini(&errors);
	if (rc == OK) rc = arena_str(arena, conf->id, &source->id);
	/* No enricher or destination has a colon in its name: what it keeps is its own. */
	if (rc == OK) rc = arena_printf(arena, &source->name, "source:%.*s", STR_ARG(conf->id));
	if (rc == OK)
		rc = copy_texts(arena, conf->hook.http_allow, conf->hook.http_allow_count, &source->async.http_allow);
	source->plugin = checked.plugin;
	source->conf = checked.conf;
	source->async.http_allow_count = conf->hook.http_allow_count;
	source->async.http_connections = conf->hook.http_connections;
	source->async.http_requests_per_second = conf->hook.http_requests_per_second;
	source->deadline_ms = conf->hook.deadline_ms;
	source->queue_max = conf->hook.queue;
	return rc;
}

static int source_new(struct sources *all, const struct config *config, const struct conf_source *conf,
		      struct source **out)
{
	struct source *source = calloc(1, sizeof *source);
	if (!source) return ERR_NOMEM;
	source->all = all;
	arena_init(&source->arena, 4096, 0);
	int rc = fill(source, config, conf);
	if (rc) {
		source_free(source);
		return rc;
	}
	make_metrics(source);
	*out = source;
	return OK;
}

static int source_start(struct source *source)
{
	const struct runner_options options = {.plugin = source->plugin,
					       .name = source->name,
					       .conf = source->conf,
					       .async = &source->async,
					       .spaces = source->all->spaces,
					       .on_ready = on_ready,
					       .ctx = source};
	return source->runner ? OK : runner_new(&options, &source->runner);
}

static int make_list(struct sources *all, const struct config *config, struct source **list)
{
	struct source **at = list;
	int rc = OK;
	*list = NULL;
	for (size_t i = 0; i < config->source_count && !rc; i++) {
		if (config->sources[i].hook.plugin.len == 0) continue;
		rc = source_new(all, config, &config->sources[i], at);
		if (!rc) at = &(*at)->next;
	}
	return rc;
}

static void free_list(struct source *list)
{
	while (list) {
		struct source *next = list->next;
		source_free(list);
		list = next;
	}
}

/* One whose plugin does not come back is left alone for ever. */
static void end_list(struct sources *all, struct source *list)
{
	for (struct source *source = list; source; source = source->next)
		if (source->runner) runner_stop(source->runner);
	int64_t until = clock_mono_us() + STOP_US;
	for (struct source *source = list, *next; source; source = next) {
		next = source->next;
		if (!source->runner || runner_join(source->runner, until)) {
			source_free(source);
			continue;
		}
		log_error(LOG_PLUGIN, "source %.*s did not stop, it is left behind (its plugin does not return)",
			  STR_ARG(source->id));
		source->next = all->left_behind;
		all->left_behind = source;
	}
}

static void wait_for_queue(struct sources *all, const struct source *source, int64_t until_us)
{
	const struct timespec until = {.tv_sec = until_us / US_PER_SECOND, .tv_nsec = until_us % US_PER_SECOND * 1000};
	int rc = 0;
	(void)pthread_mutex_lock(&all->lock);
	while (source->waiting && rc == 0) rc = pthread_cond_timedwait(&all->changed, &all->lock, &until);
	(void)pthread_mutex_unlock(&all->lock);
}

static bool is_same_texts(const struct conf_async *a, const struct conf_async *b)
{
	if (a->http_allow_count != b->http_allow_count) return false;
	for (size_t i = 0; i < a->http_allow_count; i++)
		if (!str_eq(a->http_allow[i], b->http_allow[i])) return false;
	return true;
}

static bool is_same(const struct source *a, const struct source *b)
{
	return str_eq(a->id, b->id) && a->plugin == b->plugin && plugin_conf_is_same(a->conf, b->conf) &&
	       a->async.http_connections == b->async.http_connections &&
	       a->async.http_requests_per_second == b->async.http_requests_per_second &&
	       is_same_texts(&a->async, &b->async);
}

/* ── all of them ─────────────────────────────────────────────────────────── */

static int start_list(struct source *list)
{
	int rc = OK;
	for (; list && !rc; list = list->next) rc = source_start(list);
	return rc;
}

int sources_new(struct spaces *spaces, const struct config *config, struct sources **out)
{
	pthread_condattr_t attr;
	*out = NULL;
	struct sources *all = calloc(1, sizeof *all);
	if (!all) return ERR_NOMEM;
	all->spaces = spaces;
	CHECK(pthread_mutex_init(&all->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&all->changed, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	int rc = make_list(all, config, &all->list);
	if (!rc) rc = start_list(all->list);
	if (rc) {
		sources_stop(all);
		sources_free(all);
		return rc;
	}
	*out = all;
	return OK;
}

/* Moves those of `list` that run already from `olds` to it. */
static void keep_running(struct source **list, struct source **olds)
{
	for (struct source **at = list; *at; at = &(*at)->next) {
		struct source **was = olds;
		while (*was && !is_same(*was, *at)) was = &(*was)->next;
		if (!*was) continue;
		struct source *kept = *was, *made = *at;
		*was = kept->next;
		kept->next = made->next;
		kept->deadline_ms = made->deadline_ms;
		kept->queue_max = made->queue_max;
		*at = kept;
		made->next = NULL;
		source_free(made);
	}
}

int sources_reload(struct sources *all, const struct config *config)
{
	struct source *list;
	int rc = make_list(all, config, &list);
	if (rc) {
		free_list(list);
		return rc;
	}
	(void)pthread_mutex_lock(&all->lock);
	struct source *olds = all->list;
	keep_running(&list, &olds);
	rc = start_list(list); /* those that were kept run */
	all->list = list;
	(void)pthread_mutex_unlock(&all->lock);
	int64_t until = clock_mono_us() + DRAIN_US;
	for (const struct source *old = olds; old; old = old->next) wait_for_queue(all, old, until);
	end_list(all, olds);
	return rc;
}

void sources_stop(struct sources *all)
{
	if (!all) return;
	(void)pthread_mutex_lock(&all->lock);
	struct source *list = all->list;
	all->list = NULL;
	all->is_stopped = true;
	(void)pthread_mutex_unlock(&all->lock);
	end_list(all, list);
}

void sources_free(struct sources *all)
{
	if (!all || all->left_behind) return; /* its thread may still come back */
	(void)pthread_cond_destroy(&all->changed);
	(void)pthread_mutex_destroy(&all->lock);
	free(all);
}
