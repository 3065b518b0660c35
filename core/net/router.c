/* Literal paths are found by hash, patterns by comparing segment for segment. Several routes may share a path with
 * different methods: they hang on one place. */
#include "net/router.h"

#include <stdio.h>
#include <stdlib.h>

struct place {
	struct place *next_in_bucket; /* literal */
	struct place *next_pattern;
	struct str path; /* without a trailing slash */
	bool is_pattern;
	struct entry *entries;
};

struct entry {
	struct entry *next_here, *next_added;
	struct route route;
	struct place *place;
};

#define BUCKETS 256

struct router {
	struct place *buckets[BUCKETS];
	struct place *patterns, **patterns_end;
	struct entry *added, **added_end;
	struct route unknown_duplex;
};

int router_new(struct router **out)
{
	struct router *router = calloc(1, sizeof *router);
	if (!router) return ERR_NOMEM;
	router->patterns_end = &router->patterns;
	router->added_end = &router->added;
	*out = router;
	return OK;
}

void router_free(struct router *router)
{
	if (!router) return;
	for (struct entry *entry = router->added, *next; entry; entry = next) {
		next = entry->next_added;
		/* The place goes with the last entry on it. */
		if (!entry->next_here) free(entry->place);
		free(entry);
	}
	free(router);
}

static struct str without_slash(struct str path)
{
	if (path.len > 1 && path.ptr[path.len - 1] == '/') path.len--;
	return path;
}

/* FNV-1a. The keys are our own routes; an outsider can only look things up. */
static size_t bucket_of(struct str path)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < path.len; i++) hash = (hash ^ (uint8_t)path.ptr[i]) * 16777619u;
	return (hash ^ hash >> 16) % BUCKETS;
}

static struct place *find_literal(const struct router *router, struct str path)
{
	struct place *place = router->buckets[bucket_of(path)];
	while (place && !str_eq(place->path, path)) place = place->next_in_bucket;
	return place;
}

static struct place *find_place(const struct router *router, struct str path)
{
	struct place *place = find_literal(router, path);
	if (place) return place;
	for (place = router->patterns; place; place = place->next_pattern)
		if (str_eq(place->path, path)) return place;
	return NULL;
}

static struct place *add_place(struct router *router, struct str path)
{
	struct place *place = calloc(1, sizeof *place);
	if (!place) return NULL;
	place->path = path;
	place->is_pattern = memchr(path.ptr, '{', path.len) != NULL;
	if (place->is_pattern) {
		*router->patterns_end = place;
		router->patterns_end = &place->next_pattern;
	} else {
		struct place **bucket = &router->buckets[bucket_of(path)];
		place->next_in_bucket = *bucket;
		*bucket = place;
	}
	return place;
}

int router_add(struct router *router, const struct route *route)
{
	struct str path = without_slash(str_from(route->path));
	CHECK(path.len > 0 && path.ptr[0] == '/' && route->methods && !route->handler != !route->duplex);
	struct place *place = find_place(router, path);
	for (struct entry *other = place ? place->entries : NULL; other; other = other->next_here)
		if (other->route.methods & route->methods) return ERR_EXISTS;
	struct entry *entry = calloc(1, sizeof *entry);
	if (!entry) return ERR_NOMEM;
	if (!place) place = add_place(router, path);
	if (!place) {
		free(entry);
		return ERR_NOMEM;
	}
	entry->route = *route;
	entry->place = place;
	entry->next_here = place->entries;
	place->entries = entry;
	*router->added_end = entry;
	router->added_end = &entry->next_added;
	return OK;
}

void router_set_unknown_duplex(struct router *router, void (*duplex)(struct http_request *req, void *ctx), void *ctx)
{
	CHECK(!router->unknown_duplex.duplex);
	router->unknown_duplex =
	    (struct route){.methods = HTTP_POST, .path = "", .duplex = duplex, .ctx = ctx, .scope = ""};
}

const struct route *router_unknown_duplex(const struct router *router)
{
	return router->unknown_duplex.duplex ? &router->unknown_duplex : NULL;
}

void router_each(const struct router *router, void (*fn)(void *ctx, const struct route *route), void *ctx)
{
	for (const struct entry *entry = router->added; entry; entry = entry->next_added) fn(ctx, &entry->route);
}

/* ── matching ────────────────────────────────────────────────────────────── */

static struct str next_segment(struct str *rest)
{
	const char *slash = memchr(rest->ptr + 1, '/', rest->len - 1);
	size_t len = slash ? (size_t)(slash - rest->ptr) : rest->len;
	struct str segment = {rest->ptr + 1, len - 1};
	*rest = (struct str){rest->ptr + len, rest->len - len};
	return segment;
}

static bool fits(struct str pattern, struct str path, struct route_match *out)
{
	const char *base = path.ptr;
	out->param_count = 0;
	while (pattern.len > 0 && path.len > 0) {
		struct str want = next_segment(&pattern), have = next_segment(&path);
		if (want.len == 0 || want.ptr[0] != '{') {
			if (!str_eq(want, have)) return false;
			continue;
		}
		if (have.len == 0 || out->param_count == ROUTE_PARAMS_MAX) return false;
		out->params[out->param_count++] = (struct text_ref){(uint32_t)(have.ptr - base), (uint32_t)have.len};
	}
	return pattern.len == 0 && path.len == 0;
}

/* Adds what the place allows; true when it has a route for the method. */
static bool look_at(const struct place *place, unsigned method, bool is_admin, struct route_match *out)
{
	for (const struct entry *entry = place->entries; entry; entry = entry->next_here) {
		const struct route *route = &entry->route;
		if (route->admin_only && !is_admin) continue;
		if (out->allowed == 0 || out->cors == CORS_NONE) out->cors = route->cors;
		unsigned methods = route->methods | HTTP_OPTIONS | (route->methods & HTTP_GET ? HTTP_HEAD : 0);
		out->allowed |= methods;
		/* OPTIONS is answered by the server unless a route asks for it. */
		if (methods & method && (method != HTTP_OPTIONS || route->methods & HTTP_OPTIONS)) out->route = route;
	}
	return out->route != NULL;
}

void router_match(const struct router *router, struct str path, unsigned method, bool is_admin, struct route_match *out)
{
	path = without_slash(path);
	out->route = NULL;
	out->allowed = 0;
	out->cors = CORS_NONE;
	out->param_count = 0;
	if (path.len == 0 || path.ptr[0] != '/') return;
	const struct place *literal = find_literal(router, path);
	if (literal && look_at(literal, method, is_admin, out)) return;
	for (const struct place *place = router->patterns; place; place = place->next_pattern)
		if (fits(place->path, path, out) && look_at(place, method, is_admin, out)) return;
	out->param_count = 0;
}

struct str methods_text(unsigned methods, char out[METHODS_TEXT_SIZE])
{
	static const struct {
		unsigned method;
		const char *name;
	} names[] = {{HTTP_GET, "GET"}, {HTTP_HEAD, "HEAD"},     {HTTP_POST, "POST"},
		     {HTTP_PUT, "PUT"}, {HTTP_DELETE, "DELETE"}, {HTTP_OPTIONS, "OPTIONS"}};
	size_t len = 0;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (!(methods & names[i].method)) continue;
		int n = snprintf(out + len, METHODS_TEXT_SIZE - len, "%s%s", len ? ", " : "", names[i].name);
		CHECK(n > 0 && (size_t)n < METHODS_TEXT_SIZE - len);
		len += (size_t)n;
	}
	return (struct str){out, len};
}
