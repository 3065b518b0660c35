#include "daemon.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "api/publisher.h"
#include "config/form.h"
#include "enrich/enrichers.h"
#include "plugin/enrich.h"
#include "plugin/plugin.h"
#include "plugin/source.h"
#include "plugin/spaces.h"
#include "rpc/rpc.h"

struct daemon {
	const struct daemon_source *source;
	const struct config *config;
	pthread_t main_thread;
	_Atomic int fatal; /* the first status that must end the process */

	int lock_fd;
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct deliver *deliver;
	struct enrichers *enrichers;
	struct spaces *spaces;
	struct publisher *publisher;
	struct sources *sources;
	struct ingest *ingest;
	struct privacy *privacy;
	struct training *training;
	struct router *router;
	struct api *api;
	struct grpc_server *grpc;
	struct net *net;
};

/* ── what rooms tell the daemon ──────────────────────────────────────────── */

static void on_fatal(void *ctx, int status)
{
	struct daemon *daemon = ctx;
	int none = OK;
	if (atomic_compare_exchange_strong(&daemon->fatal, &none, status))
		(void)pthread_kill(daemon->main_thread, SIGTERM);
}

static void on_panic(void *ctx)
{
	on_fatal(ctx, ERR_PANIC);
}

static void on_fold_commit(void *ctx, uint64_t applied, uint64_t last_change)
{
	struct daemon *daemon = ctx;
	deliver_wake(daemon->deliver);
	enrichers_wake(daemon->enrichers);
	api_on_commit(daemon->api, applied, last_change);
}

/* ── starting and stopping, a row of the table each ──────────────────────── */

static int start_store(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	int rc = store_make_dir(path);
	if (rc) {
		log_error(LOG_MAIN, "cannot create the data directory %s (%s)", path, status_str(rc));
		return rc;
	}
	rc = store_lock(path, &d->lock_fd);
	if (rc == ERR_LOCKED) log_error(LOG_MAIN, "another cdpd is running on the data directory %s", path);
	return rc;
}

static void stop_store(struct daemon *d)
{
	store_unlock(d->lock_fd);
}

static int open_journal(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	int rc = journal_open(path, &d->config->journal, &d->journal);
	if (!rc) journal_on_panic(d->journal, on_panic, d);
	return rc;
}

static void close_journal(struct daemon *d)
{
	journal_close(d->journal);
}

static int open_people(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	return people_open(path, &d->people);
}

static void close_people(struct daemon *d)
{
	people_close(d->people);
}

static int make_fold(struct daemon *d)
{
	const struct fold_options options = {
	    .config = d->config, .on_commit = on_fold_commit, .on_fatal = on_fatal, .ctx = d};
	return fold_new(d->journal, d->people, &options, &d->fold);
}

static void free_fold(struct daemon *d)
{
	fold_free(d->fold);
}

static int erase_letters(void *ctx, const _Atomic bool *stop, uint64_t *count)
{
	return deliver_erase_letters(ctx, stop, count);
}

static int open_publisher(struct daemon *d)
{
	return publisher_new(d->ingest, d->people, &d->publisher);
}

static void close_publisher(struct daemon *d)
{
	publisher_close(d->publisher);
}

static int make_deliver(struct daemon *d)
{
	int rc = deliver_new(d->journal, d->people, d->config, &d->deliver);
	if (rc) return rc;
	deliver_set_spaces(d->deliver, d->spaces);
	deliver_set_publisher(d->deliver, d->publisher);
	privacy_set_letters(d->privacy, erase_letters, d->deliver);
	return OK;
}

static void free_deliver(struct daemon *d)
{
	deliver_free(d->deliver);
}

static int open_spaces(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	return spaces_open(path, d->config->plugin_cache_bytes, &d->spaces);
}

/* Whoever was left behind inside a plugin may still come back to it. */
static void close_spaces(struct daemon *d)
{
	spaces_close(d->spaces);
}

static int make_enrichers(struct daemon *d)
{
	return enrichers_new(d->journal, d->people, d->spaces, d->config, &d->enrichers);
}

static void free_enrichers(struct daemon *d)
{
	enrichers_free(d->enrichers);
}

static int start_enrichers(struct daemon *d)
{
	return enrichers_start(d->enrichers);
}

static void stop_enrichers(struct daemon *d)
{
	enrichers_stop(d->enrichers);
}

static int start_sources(struct daemon *d)
{
	return sources_new(d->spaces, d->config, &d->sources);
}

static void stop_sources(struct daemon *d)
{
	sources_stop(d->sources);
	sources_free(d->sources);
}

static int make_privacy(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	const struct privacy_options options = {.journal = d->journal,
						.people = d->people,
						.fold = d->fold,
						.store_path = path,
						.config = d->config,
						.on_fatal = on_fatal,
						.ctx = d};
	return privacy_new(&options, &d->privacy);
}

static void free_privacy(struct daemon *d)
{
	privacy_free(d->privacy);
}

static int start_privacy(struct daemon *d)
{
	return privacy_start(d->privacy);
}

static void stop_privacy(struct daemon *d)
{
	privacy_stop(d->privacy);
}

static int make_training(struct daemon *d)
{
	char path[4096];
	(void)snprintf(path, sizeof path, "%.*s", STR_ARG(d->config->store_path));
	return training_new(d->journal, d->people, path, &d->training);
}

static void free_training(struct daemon *d)
{
	training_free(d->training);
}

static int make_ingest(struct daemon *d)
{
	return ingest_new(d->journal, d->config, &d->ingest);
}

static void free_ingest(struct daemon *d)
{
	ingest_free(d->ingest);
}

static int make_api(struct daemon *d)
{
	const struct api_options options = {.journal = d->journal,
					    .people = d->people,
					    .fold = d->fold,
					    .deliver = d->deliver,
					    .ingest = d->ingest,
					    .privacy = d->privacy,
					    .sources = d->sources,
					    .training = d->training,
					    .config = d->config};
	int rc = router_new(&d->router);
	if (!rc) rc = api_new(&options, &d->api);
	if (!rc) rc = api_register(d->api, d->router);
	return rc;
}

static void free_api(struct daemon *d)
{
	api_free(d->api);
	router_free(d->router);
}

static int make_grpc(struct daemon *d)
{
	int rc = rpc_new(&d->grpc);
	if (!rc) grpc_set_reflection(d->grpc, d->config->grpc_reflection);
	return rc ? rc : grpc_register(d->grpc, d->router);
}

static void free_grpc(struct daemon *d)
{
	grpc_server_free(d->grpc);
}

static int bind_net(struct daemon *d)
{
	const struct net_options options = {.config = d->config,
					    .router = d->router,
					    .worker_start = api_worker_start,
					    .worker_stop = api_worker_stop,
					    .ctx = d->api};
	return net_new(&options, &d->net);
}

static void free_net(struct daemon *d)
{
	net_free(d->net);
}

static int start_journal(struct daemon *d)
{
	return journal_start(d->journal);
}

static void stop_journal(struct daemon *d)
{
	journal_stop(d->journal);
}

static int start_fold(struct daemon *d)
{
	return fold_start(d->fold);
}

static void stop_fold(struct daemon *d)
{
	fold_stop(d->fold);
}

static int start_deliver(struct daemon *d)
{
	return deliver_start(d->deliver);
}

static void stop_deliver(struct daemon *d)
{
	deliver_stop(d->deliver);
}

static int start_net(struct daemon *d)
{
	return net_start(d->net);
}

static void stop_net(struct daemon *d)
{
	net_stop(d->net);
}

/* Started from the top, stopped from the bottom. The network comes last and goes first, so that no request meets a room
 * that is not there. The fold needs a running journal to be made; the journal in turn must have settled everything before
 * the loops it answers to are freed, hence its second row (stopping twice is fine). */
static const struct step {
	const char *name;
	int (*start)(struct daemon *daemon);
	void (*stop)(struct daemon *daemon);
} steps[] = {
    {"data directory", start_store, stop_store},
    {"journal", open_journal, close_journal},
    {"profiles", open_people, close_people},
    {"what plugins keep", open_spaces, close_spaces},
    {"ingest", make_ingest, free_ingest},
    {"journal thread", start_journal, stop_journal},
    {"fold", make_fold, free_fold},
    {"erasures", make_privacy, free_privacy},
    {"what plugins publish", open_publisher, close_publisher},
    {"destinations", make_deliver, free_deliver},
    {"asynchronous enrichers", make_enrichers, free_enrichers},
    {"source plugins", start_sources, stop_sources},
    {"training sets", make_training, free_training},
    {"api", make_api, free_api},
    {"gRPC", make_grpc, free_grpc},
    {"listeners", bind_net, free_net},
    {"journal's answers", NULL, stop_journal},
    {"fold thread", start_fold, stop_fold},
    {"erasing thread", start_privacy, stop_privacy},
    {"destination threads", start_deliver, stop_deliver},
    {"enricher threads", start_enrichers, stop_enrichers},
    {"io threads", start_net, stop_net},
};

static void stop_steps(struct daemon *daemon, size_t started)
{
	while (started-- > 0)
		if (steps[started].stop) steps[started].stop(daemon);
}

static int start_steps(struct daemon *daemon)
{
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		int rc = steps[i].start ? steps[i].start(daemon) : OK;
		if (!rc) continue;
		log_error(LOG_MAIN, "not started: %s (%s)", steps[i].name, status_str(rc));
		stop_steps(daemon, i);
		return rc;
	}
	return OK;
}

/* ── configuration ───────────────────────────────────────────────────────── */

static int load(const struct daemon_source *source, const struct config **out)
{
	char *errors = NULL;
	int rc = config_load(source->config_file, source->overrides, source->override_count, out, &errors);
	if (!rc) {
		rc = plugin_check_config(*out, &errors);
		if (!rc) rc = plugin_register_async(*out, async_plugin_register, &errors);
		if (!rc) rc = plugin_register_features(*out, feature_type_register, &errors);
		if (!rc) rc = features_check_config(*out, &errors);
		if (!rc) rc = api_check_config(*out, &errors);
		if (rc) {
			config_unref(*out);
			*out = NULL;
		}
	}
	if (rc && errors) (void)fprintf(stderr, "%s\n", errors);
	free(errors);
	return rc;
}

bool daemon_check(const struct daemon_source *source)
{
	const struct config *config;
	if (load(source, &config)) return false;
	config_unref(config);
	return true;
}

/* A bad file never touches the running daemon: everything that can be refused is checked before the first room is told. */
static void reload(struct daemon *d)
{
	const struct config *next;
	if (load(d->source, &next)) {
		log_error(LOG_MAIN, "reload refused, the running configuration stays");
		return;
	}
	const char *key = config_needs_restart(d->config, next);
	if (!key && !enrich_chain_is_same(d->config, next)) key = "enrichers (those before the journal)";
	if (key) {
		log_error(LOG_MAIN,
			  "reload refused, the running configuration stays: '%s' can only change at a restart", key);
		config_unref(next);
		return;
	}
	char *text;
	if (!forms_may_follow(d->config, next, &text)) {
		log_error(LOG_MAIN, "reload refused, the running configuration stays: %s",
			  text ? text : "a form changed");
		free(text);
		config_unref(next);
		return;
	}
	int rc = ingest_prepare(d->ingest, next);
	if (!rc) rc = net_reload(d->net, next);
	if (!rc) rc = api_set_config(d->api, next);
	if (rc) {
		log_error(LOG_MAIN, "reload refused, the running configuration stays (%s)", status_str(rc));
		if (net_reload(d->net, d->config))
			log_error(LOG_MAIN, "the old limits and certificates could not be put back");
		config_unref(next);
		return;
	}
	ingest_set_config(d->ingest, next);
	grpc_set_reflection(d->grpc, next->grpc_reflection);
	journal_set_conf(d->journal, &next->journal);
	rc = fold_reload(d->fold, next);
	if (!rc) rc = deliver_reload(d->deliver, next);
	if (!rc) rc = enrichers_reload(d->enrichers, next);
	if (!rc) rc = sources_reload(d->sources, next);
	if (!rc) rc = privacy_set_config(d->privacy, next);
	if (rc) log_error(LOG_MAIN, "reload is not complete, restart to make it so (%s)", status_str(rc));
	log_setup(next->log_format, next->log_level);
	config_unref(d->config);
	d->config = next;
	log_info(LOG_MAIN, "configuration reloaded from %s", d->source->config_file);
}

/* ── running ─────────────────────────────────────────────────────────────── */

static void block_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

static void announce(const struct daemon *d)
{
	for (size_t i = 0; net_url(d->net, i); i++)
		(void)printf("cdpd %s listens on %s\n", CDPD_VERSION, net_url(d->net, i));
	(void)fflush(stdout);
}

static void wait_for_stop(struct daemon *d, const sigset_t *set)
{
	for (int sig; !sigwait(set, &sig);) {
		if (sig != SIGHUP) return;
		reload(d);
	}
}

static void *second_signal(void *ctx)
{
	int sig;
	do
		if (sigwait(ctx, &sig)) return NULL;
	while (sig == SIGHUP);
	log_warn(LOG_MAIN, "second signal: stopping at once");
	_exit(DAEMON_EXIT_OK);
}

/* Exits without waiting for anyone when asked twice; what was acknowledged is on disk at any moment. */
static void watch_for_impatience(sigset_t *set)
{
	pthread_t thread;
	if (!pthread_create(&thread, NULL, second_signal, set)) (void)pthread_detach(thread);
}

static int exit_code(struct daemon *d)
{
	int fatal = atomic_load(&d->fatal);
	if (!fatal) return DAEMON_EXIT_OK;
	log_error(LOG_MAIN, "stopped because durability can no longer be promised (%s)", status_str(fatal));
	return DAEMON_EXIT_DURABLE;
}

int daemon_run(const struct daemon_source *source)
{
	/* Few malloc arenas and early trimming: memory follows the work instead of its peaks. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
	struct daemon daemon = {.source = source, .lock_fd = -1, .main_thread = pthread_self()};
	static sigset_t signals;
	block_signals(&signals);
	if (load(source, &daemon.config)) return DAEMON_EXIT_CONFIG;
	log_setup(daemon.config->log_format, daemon.config->log_level);
	int rc = start_steps(&daemon);
	if (rc) {
		config_unref(daemon.config);
		return rc == ERR_PANIC ? DAEMON_EXIT_DURABLE : DAEMON_EXIT_START;
	}
	announce(&daemon);
	wait_for_stop(&daemon, &signals);
	if (atomic_load(&daemon.fatal)) _exit(exit_code(&daemon)); /* nothing may be written after a failed fsync */
	watch_for_impatience(&signals);
	log_info(LOG_MAIN, "stopping");
	api_set_draining(daemon.api);
	grpc_set_draining(daemon.grpc);
	net_drain(daemon.net, (int)daemon.config->drain_timeout_ms);
	if (atomic_load(&daemon.fatal)) _exit(exit_code(&daemon));
	stop_steps(&daemon, COUNT_OF(steps));
	config_unref(daemon.config);
	return exit_code(&daemon);
}
