/* net: listeners, connections and N io threads. Bytes in, requests to the router's handlers, bytes out. It knows no
 * events, people or plugins. */
#pragma once

#include "net/http.h"

struct net;

struct net_options {
	const struct config *config; /* listeners, limits, TLS, proxies */
	struct router *router;       /* borrowed; complete before net_start */
	/* Called once on each io thread before its loop runs, and once after: makes what handlers find as http_worker(). */
	int (*worker_start)(void *ctx, struct loop *loop, void **worker);
	void (*worker_stop)(void *ctx, void *worker);
	void *ctx;
};

/* All functions here belong to one thread, the main one; `router` and `ctx` are borrowed until net_free, `config` until
 * net_new or net_reload returns.
 *
 * Binds every listener (SO_REUSEPORT, one socket per io thread) without accepting yet; ERR_IO, ERR_INVALID with the
 * cause logged. Raises the soft limit of open files when limits.connections needs it. */
MUST_USE int net_new(const struct net_options *options, struct net **out);
/* Accepts from here on. A worker_start that failed stops all threads again and its status is returned. */
MUST_USE int net_start(struct net *net);
/* Stops accepting, closes idle connections, lets requests in progress finish, then closes all after timeout_ms.
 * Returns when no connection is left. */
void net_drain(struct net *net, int timeout_ms);
void net_stop(struct net *net); /* joins the threads */
void net_free(struct net *net);
/* New limits, certificates, origins and proxies, in force on all threads when it returns; listeners stay. On failure
 * (ERR_INVALID, the cause logged) everything stays as it was, the old certificate too. */
MUST_USE int net_reload(struct net *net, const struct config *config);
/* "http://127.0.0.1:8080" of listener i, with the port that was really bound; NULL past the last. */
const char *net_url(const struct net *net, size_t index);
size_t net_loop_count(const struct net *net);
struct loop *net_loop(const struct net *net, size_t index);
