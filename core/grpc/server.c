/* What is registered: services become routes, and methods get their counters. */
#include <stdio.h>
#include <stdlib.h>

#include "grpc/call.h"
#include "grpc/server.h"
#include "grpc/text.h"

#define ARENA_BLOCK ((size_t)4 * 1024)

struct grpc_server {
	struct arena arena; /* everything below */
	const struct grpc_service **services;
	size_t service_count;
	struct grpc_route *routes, unknown;
	size_t route_count;
	struct descriptors *descriptors;
	atomic_bool is_draining, is_secretive;
};

/* ── counting ────────────────────────────────────────────────────────────── */

static const char *const status_names[GRPC_STATUS_COUNT] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

static struct metric *status_metric(const struct grpc_route *route, enum grpc_status status)
{
	char labels[256];
	(void)snprintf(labels, sizeof labels, "method=\"%s\",status=\"%s\"", route->path + 1, status_names[status]);
	return metric_get(METRIC_COUNTER, "cdpd_grpc_calls_total", labels, "gRPC calls that have ended, by status.");
}

void grpc_route_count(struct grpc_route *route, enum grpc_status status)
{
	CHECK((unsigned)status < GRPC_STATUS_COUNT);
	struct metric *metric = atomic_load_explicit(&route->by_status[status], memory_order_acquire);
	if (!metric) {
		metric = status_metric(route, status);
		atomic_store_explicit(&route->by_status[status], metric, memory_order_release);
	}
	metric_add(metric, 1);
}

static void start_counting(struct grpc_route *route)
{
	char labels[200];
	(void)snprintf(labels, sizeof labels, "method=\"%s\"", route->path + 1);
	atomic_store(&route->by_status[GRPC_OK], status_metric(route, GRPC_OK));
	route->received =
	    metric_get(METRIC_COUNTER, "cdpd_grpc_messages_received_total", labels, "Messages received in gRPC calls.");
	route->sent =
	    metric_get(METRIC_COUNTER, "cdpd_grpc_messages_sent_total", labels, "Messages sent in gRPC calls.");
}

void grpc_set_draining(struct grpc_server *server)
{
	atomic_store(&server->is_draining, true);
}

void grpc_set_reflection(struct grpc_server *server, bool is_served)
{
	atomic_store(&server->is_secretive, !is_served);
}

bool grpc_server_has_reflection(const struct grpc_server *server)
{
	return !atomic_load(&server->is_secretive);
}

bool grpc_server_is_draining(const struct grpc_server *server)
{
	return atomic_load(&server->is_draining);
}

/* ── registering ─────────────────────────────────────────────────────────── */

static int add_route(struct grpc_server *server, const struct grpc_service *service, const struct grpc_method *method)
{
	struct grpc_route *route = &server->routes[server->route_count];
	struct str path;
	int rc = arena_printf(&server->arena, &path, "/%s/%s", service->name, method->name);
	if (rc != OK) return rc;
	CHECK(method->message);
	route->server = server;
	route->service = service;
	route->method = method;
	route->path = path.ptr;
	start_counting(route);
	server->route_count++;
	return OK;
}

static int add_services(struct grpc_server *server, const struct grpc_service *const *services, size_t count)
{
	size_t methods = 0;
	const struct grpc_service *const *builtin = grpc_builtin_services(&server->arena, server);
	if (!builtin) return ERR_NOMEM;
	server->services = arena_array(&server->arena, const struct grpc_service *, count + GRPC_BUILTIN_COUNT);
	if (!server->services) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) server->services[server->service_count++] = services[i];
	for (size_t i = 0; i < GRPC_BUILTIN_COUNT; i++) server->services[server->service_count++] = builtin[i];
	for (size_t i = 0; i < server->service_count; i++) methods += server->services[i]->method_count;
	server->routes = arena_array(&server->arena, struct grpc_route, methods);
	if (!server->routes) return ERR_NOMEM;
	int rc = OK;
	for (size_t i = 0; i < server->service_count && rc == OK; i++)
		for (size_t j = 0; j < server->services[i]->method_count && rc == OK; j++)
			rc = add_route(server, server->services[i], &server->services[i]->methods[j]);
	return rc;
}

int grpc_server_new(const struct grpc_service *const *services, size_t count, struct str descriptors,
		    struct grpc_server **out)
{
	struct grpc_server *server = calloc(1, sizeof *server);
	if (!server) return ERR_NOMEM;
	arena_init(&server->arena, ARENA_BLOCK, 0);
	server->unknown.server = server;
	server->unknown.path = "/unknown";
	int rc = add_services(server, services, count);
	if (rc == OK) rc = descriptors_new(&server->arena, descriptors, &server->descriptors);
	if (rc != OK) {
		grpc_server_free(server);
		return rc;
	}
	*out = server;
	return OK;
}

void grpc_server_free(struct grpc_server *server)
{
	if (!server) return;
	arena_fini(&server->arena);
	free(server);
}

/* Any path that no service has. */
static void refuse_unknown(struct http_request *request, void *ctx)
{
	struct grpc_server *server = ctx;
	grpc_route_count(&server->unknown, GRPC_UNIMPLEMENTED);
	grpc_status_refuse(request, GRPC_UNIMPLEMENTED, STR("no such service or method"), STR_NONE);
}

int grpc_register(struct grpc_server *server, struct router *router)
{
	int rc = OK;
	for (size_t i = 0; i < server->route_count && rc == OK; i++) {
		const struct grpc_method *method = server->routes[i].method;
		const struct route route = {
		    .methods = HTTP_POST,
		    .path = server->routes[i].path,
		    .cors = CORS_NONE,
		    .body_cap = method->message_max ? method->message_max : GRPC_MESSAGE_MAX,
		    .duplex = grpc_call_accept,
		    .ctx = &server->routes[i],
		    .scope = method->scope ? method->scope : "",
		};
		rc = router_add(router, &route);
	}
	if (rc == OK) router_set_unknown_duplex(router, refuse_unknown, server);
	return rc;
}

void grpc_each_method(const struct grpc_server *server,
		      void (*fn)(void *ctx, const struct grpc_service *service, const struct grpc_method *method),
		      void *ctx)
{
	for (size_t i = 0; i < server->route_count; i++) fn(ctx, server->routes[i].service, server->routes[i].method);
}

/* ── for the built-in services ───────────────────────────────────────────── */

const struct grpc_service *grpc_server_service(const struct grpc_server *server, size_t index)
{
	return index < server->service_count ? server->services[index] : NULL;
}

const struct descriptors *grpc_server_descriptors(const struct grpc_server *server)
{
	return server->descriptors;
}
