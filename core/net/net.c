#include "net/net.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "net/endpoint.h"
#include "net/stats.h"
#include "net/worker.h"

#define WORKERS_MAX  8
#define FILES_BESIDE 256 /* descriptors that others need */

struct net {
	struct net_options options;
	struct arena arena;
	struct census *census;
	struct endpoint *endpoints;
	size_t endpoint_count;
	struct worker *workers;
	size_t worker_count;
};

static size_t count_workers(const struct config *config)
{
	if (config->io_threads) return config->io_threads;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	if (processors < 1) processors = 1;
	return processors < WORKERS_MAX ? (size_t)processors : WORKERS_MAX;
}

static void raise_file_limit(uint32_t connections)
{
	struct rlimit limit;
	rlim_t need = (rlim_t)connections + FILES_BESIDE;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need) return;
	limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < need)
		log_warn(LOG_NET, "only %llu open files are allowed, %u connections will not all be taken",
			 (unsigned long long)limit.rlim_cur, connections);
}

static int check_tls(const struct net *net, const struct settings *settings)
{
	for (size_t i = 0; i < net->endpoint_count; i++) {
		if (!net->endpoints[i].is_tls || settings_tls(settings)) continue;
		log_error(LOG_NET, "%.*s needs a certificate and none is configured", STR_ARG(net->endpoints[i].url));
		return ERR_INVALID;
	}
	return OK;
}

static int bind_all(struct net *net, const struct config *config)
{
	net->endpoints = arena_array(&net->arena, struct endpoint, config->listener_count + 1);
	if (!net->endpoints) return ERR_NOMEM;
	for (size_t i = 0; i < config->listener_count; i++) {
		struct endpoint *endpoint = &net->endpoints[net->endpoint_count++];
		int rc = endpoint_bind(endpoint, &config->listeners[i], net->worker_count, &net->arena);
		if (rc != OK) return rc;
	}
	return OK;
}

static int make_workers(struct net *net, struct settings *settings)
{
	for (size_t i = 0; i < net->worker_count; i++) {
		struct worker *worker = &net->workers[i];
		int rc = worker_init(worker, i, &net->options, net->census, settings);
		if (rc == OK) rc = worker_listen(worker, net->endpoints, net->endpoint_count);
		if (rc != OK) return rc;
	}
	return OK;
}

static int build(struct net *net)
{
	const struct config *config = net->options.config;
	struct settings *settings = NULL;
	net->worker_count = count_workers(config);
	net->workers = calloc(net->worker_count, sizeof *net->workers);
	if (!net->workers) return ERR_NOMEM;
	int rc = census_new(&net->census);
	if (rc == OK) rc = settings_new(config, &settings);
	if (rc == OK) rc = bind_all(net, config);
	if (rc == OK) rc = check_tls(net, settings);
	if (rc == OK) rc = make_workers(net, settings);
	settings_unref(settings);
	return rc;
}

int net_new(const struct net_options *options, struct net **out)
{
	struct net *net = calloc(1, sizeof *net);
	if (!net) return ERR_NOMEM;
	net->options = *options;
	arena_init(&net->arena, 1024, 0);
	stats_init();
	raise_file_limit(options->config->limits.connections);
	int rc = build(net);
	net->options.config = NULL; /* all that is needed was copied */
	if (rc != OK) {
		net_free(net);
		return rc;
	}
	*out = net;
	return OK;
}

int net_start(struct net *net)
{
	for (size_t i = 0; i < net->endpoint_count; i++) {
		int rc = endpoint_listen(&net->endpoints[i]);
		if (rc != OK) return rc;
	}
	for (size_t i = 0; i < net->worker_count; i++) {
		int rc = worker_start(&net->workers[i]);
		if (rc == OK) continue;
		net_stop(net);
		return rc;
	}
	return OK;
}

void net_drain(struct net *net, int timeout_ms)
{
	bool has_threads = false;
	for (size_t i = 0; i < net->worker_count; i++) {
		if (!net->workers[i].has_thread) continue;
		has_threads = true;
		worker_drain(&net->workers[i]);
	}
	for (size_t i = 0; i < net->worker_count; i++)
		if (net->workers[i].has_thread) worker_wait_drain(&net->workers[i], timeout_ms);
	if (!has_threads || census_wait_empty(net->census, timeout_ms)) return;
	log_warn(LOG_NET, "%zu connections closed before they were done (the drain took longer than %d ms)",
		 census_total(net->census), timeout_ms);
	for (size_t i = 0; i < net->worker_count; i++) worker_close_all(&net->workers[i]);
	(void)census_wait_empty(net->census, 1000);
}

void net_stop(struct net *net)
{
	for (size_t i = 0; i < net->worker_count; i++) worker_stop(&net->workers[i]);
}

void net_free(struct net *net)
{
	if (!net) return;
	if (net->workers) net_stop(net);
	for (size_t i = 0; net->workers && i < net->worker_count; i++) worker_fini(&net->workers[i]);
	for (size_t i = 0; i < net->endpoint_count; i++) endpoint_fini(&net->endpoints[i]);
	census_free(net->census);
	free(net->workers);
	arena_fini(&net->arena);
	free(net);
}

int net_reload(struct net *net, const struct config *config)
{
	struct settings *settings;
	int rc = settings_new(config, &settings);
	if (rc != OK) return rc;
	rc = check_tls(net, settings);
	for (size_t i = 0; rc == OK && i < net->worker_count; i++) worker_reload(&net->workers[i], settings);
	settings_unref(settings);
	return rc;
}

const char *net_url(const struct net *net, size_t index)
{
	return index < net->endpoint_count ? net->endpoints[index].url.ptr : NULL;
}

size_t net_loop_count(const struct net *net)
{
	return net->worker_count;
}

struct loop *net_loop(const struct net *net, size_t index)
{
	return index < net->worker_count ? net->workers[index].loop : NULL;
}
