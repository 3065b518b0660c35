/* router: from a path and a method to a route. Built once, then only read, from any thread. */
#pragma once

#include "net/head.h"
#include "net/http.h"

#define ROUTE_PARAMS_MAX 8

struct route_match {
	const struct route *route; /* NULL: nothing at this path, or not with this method */
	unsigned allowed;          /* methods at this path, HEAD and OPTIONS included; 0: nothing is here */
	enum cors_class cors;      /* of the path, whatever the method */
	uint8_t param_count;
	struct text_ref params[ROUTE_PARAMS_MAX]; /* offsets into the path */
};

/* `is_admin`: whether admin-only routes can be seen. A literal segment wins over a {name}. */
void router_match(const struct router *router, struct str path, unsigned method, bool is_admin,
		  struct route_match *out);
/* What router_set_unknown_duplex set, as a route of no path; or NULL. */
const struct route *router_unknown_duplex(const struct router *router);
#define METHODS_TEXT_SIZE 64
/* "GET, HEAD, OPTIONS" of a set of methods, for Allow. */
struct str methods_text(unsigned methods, char out[METHODS_TEXT_SIZE]);
