#include <stdlib.h>

#include "api/act.h"
#include "api/answer.h"
#include "api/feed.h"
#include "api/form_results.h"
#include "api/hooks.h"
#include "api/internal.h"
#include "api/position_wait.h"
#include "base/clock.h"

#define SCRATCH_BLOCK (64u << 10)

const struct str MIME_JSON = STR("application/json");
const struct str MIME_TEXT = STR("text/plain; charset=utf-8");
const struct str MIME_METRICS = STR("text/plain; version=0.0.4; charset=utf-8");
const struct str MIME_YAML = STR("application/yaml");
const struct str MIME_EVENT_STREAM = STR("text/event-stream");

/* ── what a reload swaps ─────────────────────────────────────────────────── */

static int load_forms(const struct config *config, struct live *live)
{
	char *errors;
	int rc = form_set_load(config->store_path, config, &live->forms, &errors);
	if (rc != OK) log_error(LOG_API, "forms of the store refused: %s", errors ? errors : status_str(rc));
	free(errors);
	return rc;
}

static int live_new(const struct config *config, struct live **out)
{
	struct live *live = calloc(1, sizeof *live);
	if (!live) return ERR_NOMEM;
	char *errors;
	int rc = token_set_load(config, &live->tokens, &errors);
	if (rc != OK) {
		log_error(LOG_API, "tokens refused: %s", errors ? errors : status_str(rc));
		free(errors);
		free(live);
		return rc;
	}
	rc = person_keys_load(config->store_path, &live->keys);
	if (rc == OK) rc = load_forms(config, live);
	if (rc != OK) {
		person_keys_free(live->keys);
		token_set_free(live->tokens);
		free(live);
		return rc;
	}
	live->config = config_ref(config);
	atomic_init(&live->refs, 1);
	*out = live;
	return OK;
}

static void live_unref(struct live *live)
{
	if (!live || atomic_fetch_sub(&live->refs, 1) != 1) return;
	config_unref(live->config);
	form_set_unref(live->forms);
	if (!live->base) token_set_free(live->tokens);
	if (!live->base) person_keys_free(live->keys);
	if (live->base) live_unref(live->base);
	free(live);
}

static struct live *live_take(struct api *api, uint64_t *generation)
{
	pthread_mutex_lock(&api->lock);
	struct live *live = api->live;
	atomic_fetch_add(&live->refs, 1);
	*generation = atomic_load(&api->live_generation);
	pthread_mutex_unlock(&api->lock);
	return live;
}

const struct config *api_config(struct api *api)
{
	pthread_mutex_lock(&api->lock);
	const struct config *config = config_ref(api->live->config);
	pthread_mutex_unlock(&api->lock);
	return config;
}

const struct live *api_worker_live(struct api_worker *worker)
{
	if (worker->live_generation != atomic_load(&worker->api->live_generation)) {
		struct live *before = worker->live;
		worker->live = live_take(worker->api, &worker->live_generation);
		live_unref(before);
	}
	return worker->live;
}

static void live_swap(struct api *api, struct live *next)
{
	pthread_mutex_lock(&api->lock);
	struct live *before = api->live;
	api->live = next;
	atomic_fetch_add(&api->live_generation, 1);
	pthread_mutex_unlock(&api->lock);
	live_unref(before);
}

int api_set_config(struct api *api, const struct config *config)
{
	struct live *next;
	pthread_mutex_lock(&api->forms_lock);
	int rc = live_new(config, &next);
	if (rc == OK) live_swap(api, next);
	pthread_mutex_unlock(&api->forms_lock);
	return rc;
}

int api_set_forms(struct api *api, struct form_set *forms)
{
	struct live *next = calloc(1, sizeof *next);
	if (!next) return ERR_NOMEM;
	const struct live *running = api->live; /* nobody else swaps it: forms_lock */
	struct live *base = running->base ? running->base : api->live;
	atomic_init(&next->refs, 1);
	atomic_fetch_add(&base->refs, 1);
	next->base = base;
	next->config = config_ref(running->config);
	next->tokens = base->tokens;
	next->keys = base->keys;
	next->forms = form_set_ref(forms);
	live_swap(api, next);
	return OK;
}

struct form_set *api_forms(struct api *api)
{
	pthread_mutex_lock(&api->lock);
	struct form_set *forms = form_set_ref(api->live->forms);
	pthread_mutex_unlock(&api->lock);
	return forms;
}

int api_check_config(const struct config *config, char **errors)
{
	struct token_set *tokens;
	struct form_set *forms;
	int rc = token_set_load(config, &tokens, errors);
	if (rc != OK) return rc;
	token_set_free(tokens);
	rc = form_set_load(config->store_path, config, &forms, errors);
	if (rc == OK) form_set_unref(forms);
	if (rc != ERR_REFUSED) return rc;
	log_warn(LOG_API, "the forms of the store were not checked: this user may not read %.*s",
		 STR_ARG(config->store_path));
	return OK;
}

/* ── the object ──────────────────────────────────────────────────────────── */

static int64_t read_uptime(void *ctx)
{
	return (clock_wall_us() - *(const int64_t *)ctx) / US_PER_SECOND;
}

/* Metrics live for ever, an api does not (tests make several): they read what outlives it. */
static int64_t started_at;
static atomic_int open_streams;

static int64_t read_streams(void *ctx)
{
	return atomic_load((atomic_int *)ctx);
}

static void register_metrics(void)
{
	started_at = clock_wall_us();
	metric_callback(METRIC_GAUGE, "cdpd_uptime_seconds", NULL, "Seconds since the start.", read_uptime,
			&started_at);
	metric_callback(METRIC_GAUGE, "cdpd_streams", NULL, "Open event streams.", read_streams, &open_streams);
	metric_set(metric_get(METRIC_GAUGE, "cdpd_build_info", "version=\"" CDPD_VERSION "\"",
			      "Always 1; the label tells the version."),
		   1);
}

int api_new(const struct api_options *options, struct api **out)
{
	struct api *api = calloc(1, sizeof *api);
	if (!api) return ERR_NOMEM;
	api->journal = options->journal;
	api->people = options->people;
	api->deliver = options->deliver;
	api->ingest = options->ingest;
	api->privacy = options->privacy;
	api->sources = options->sources;
	api->training = options->training;
	api->started_at_us = clock_wall_us();
	api->heartbeat_ms = options->heartbeat_ms ? options->heartbeat_ms : FEED_HEARTBEAT_MS;
	api->streams = &open_streams;
	api->fold = options->fold;
	pthread_mutex_init(&api->lock, NULL);
	pthread_mutex_init(&api->forms_lock, NULL);
	atomic_init(&api->live_generation, 1);
	int rc = live_new(options->config, &api->live);
	if (rc == OK) rc = form_counts_new(&api->counts);
	if (rc == OK) rc = read_pool_new(api->people, &api->pool);
	if (rc == OK) rc = read_pool_new_of(api->people, 1, &api->writes);
	if (rc != OK) {
		api_free(api);
		return rc;
	}
	register_metrics();
	*out = api;
	return OK;
}

void api_free(struct api *api)
{
	if (!api) return;
	CHECK(!api->workers);
	read_pool_free(api->pool);
	form_counts_free(api->counts);
	read_pool_free(api->writes);
	acts_free(api->orphan_acts);
	live_unref(api->live);
	pthread_mutex_destroy(&api->forms_lock);
	pthread_mutex_destroy(&api->lock);
	free(api);
}

struct fold *api_fold(struct api *api)
{
	return api->fold;
}

void api_set_draining(struct api *api)
{
	atomic_store(&api->is_draining, true);
}

struct str api_position_text(const struct api *api, uint64_t next_seq, char out[POSITION_TEXT_SIZE])
{
	struct position position = {.epoch = journal_epoch(api->journal), .seq = next_seq ? next_seq - 1 : 0};
	return str_of(out, position_format(POSITION_JOURNAL, position, out));
}

/* ── routes ──────────────────────────────────────────────────────────────── */

static void dispatch(struct http_request *req, void *ctx)
{
	const struct api_route *route = ctx;
	struct api_worker *worker = http_worker(req);
	if (!auth_allows(worker, req, route->scope)) return;
	if (route->is_gated)
		position_gate(worker, req, route->handler);
	else
		route->handler(worker, req);
}

int api_add_routes(struct router *router, const struct api_route *routes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct route route = {
		    .methods = routes[i].methods,
		    .path = routes[i].path,
		    .cors = CORS_NONE,
		    .body_cap = routes[i].body_cap,
		    .admin_only = routes[i].admin_only,
		    .handler = dispatch,
		    .ctx = (void *)(uintptr_t)&routes[i],
		    .scope = scope_name(routes[i].scope),
		};
		int rc = router_add(router, &route);
		if (rc != OK) return rc;
	}
	return OK;
}

int api_register(struct api *api, struct router *router)
{
	int (*const own[])(struct router *) = {
	    segments_register, profiles_register, traits_register,        merge_register,    events_register,
	    history_register,  changes_register,  subscriptions_register, snapshot_register, admin_register,
	    operate_register,  rejects_register,  trace_register,         tail_register,     ops_register,
	    consents_register, links_register,    export_register,        erasures_register, suppressions_register,
	    hooks_register,    training_register};
	int rc = ingest_http_register(api, router);
	if (rc == OK) rc = settings_register(api, router);
	if (rc == OK) rc = forms_register(router);
	if (rc == OK) rc = admin_forms_register(router);
	if (rc == OK) rc = amp_register(router);
	for (size_t i = 0; i < COUNT_OF(own) && rc == OK; i++) rc = own[i](router);
	return rc;
}

/* ── workers ─────────────────────────────────────────────────────────────── */

static void on_wake(struct loop_task *task)
{
	struct api_worker *worker = (struct api_worker *)((char *)task - offsetof(struct api_worker, wake));
	atomic_store(&worker->is_wake_posted, false);
	position_waiters_wake(worker);
	feed_hub_wake(worker->feeds);
}

static int worker_init(struct api_worker *worker)
{
	struct api *api = worker->api;
	int rc = people_reader_new(api->people, &worker->reader);
	if (rc == OK) rc = json_reader_new(&worker->json);
	if (rc == OK) rc = feed_hub_new(worker, &worker->feeds);
	if (rc != OK || !api->ingest) return rc;
	struct enrich_chain *chain;
	const struct config *config = api_config(api);
	rc = enrich_chain_new(config, &chain);
	config_unref(config);
	return rc == OK ? ingest_worker_new(api->ingest, worker->loop, chain, &worker->ingest) : rc;
}

static void worker_free(struct api_worker *worker)
{
	feed_hub_free(worker->feeds);
	ingest_worker_free(worker->ingest);
	json_reader_free(worker->json);
	people_reader_free(worker->reader);
	buf_fini(&worker->out);
	arena_fini(&worker->scratch);
	live_unref(worker->live);
	free(worker);
}

int api_worker_start(void *ctx, struct loop *loop, void **out)
{
	struct api *api = ctx;
	struct api_worker *worker = calloc(1, sizeof *worker);
	if (!worker) return ERR_NOMEM;
	worker->api = api;
	worker->loop = loop;
	worker->wake.run = on_wake;
	read_owner_init(&worker->jobs, loop);
	read_owner_init(&worker->writes, loop);
	arena_init(&worker->scratch, SCRATCH_BLOCK, API_SCRATCH_BYTES);
	buf_init(&worker->out, API_OUTPUT_BYTES);
	int rc = worker_init(worker);
	if (rc != OK) {
		worker_free(worker);
		return rc;
	}
	pthread_mutex_lock(&api->lock);
	worker->next = api->workers;
	api->workers = worker;
	pthread_mutex_unlock(&api->lock);
	*out = worker;
	return OK;
}

void api_worker_stop(void *ctx, void *arg)
{
	struct api *api = ctx;
	struct api_worker *worker = arg;
	pthread_mutex_lock(&api->lock);
	for (struct api_worker **at = &api->workers; *at; at = &(*at)->next) {
		if (*at != worker) continue;
		*at = worker->next;
		break;
	}
	pthread_mutex_unlock(&api->lock);
	read_owner_settle(api->writes, &worker->writes);
	read_owner_settle(api->pool, &worker->jobs);
	position_waiters_drop(worker);
	hooks_settle(worker);
	acts_leave_to_api(worker);
	worker_free(worker);
}

/* The order matters: a waiter raises `interest` first and looks at the fold afterwards, we come from a fold that has
 * already moved. One of the two sees the other. */
void api_on_commit(struct api *api, uint64_t applied, uint64_t last_change)
{
	(void)applied, (void)last_change;
	pthread_mutex_lock(&api->lock);
	for (struct api_worker *worker = api->workers; worker; worker = worker->next) {
		if (atomic_load(&worker->interest) == 0) continue;
		if (!atomic_exchange(&worker->is_wake_posted, true)) loop_post(worker->loop, &worker->wake);
	}
	pthread_mutex_unlock(&api->lock);
}
