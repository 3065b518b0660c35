/* http_guard: where a plugin's requests may go. Only addresses of the public internet, unless the configuration allows more: a plugin that can be made to ask
 * for any URL must not become a way into the network that cdpd stands in. Judged is the address that is connected to, after
 * every redirect and name resolution. */
#pragma once

#include <sys/socket.h>

#include "base/arena.h"

struct http_allowed {
	struct str host; /* in lower case; its addresses may be private. Empty: it is a network */
	uint8_t address[16];
	unsigned bits;
};
struct http_guard {
	struct http_allowed *items;
	size_t count;
};

/* "10.0.0.0/8", "::1", "api.internal". ERR_INVALID: it is none of these, *bad says which; ERR_NOMEM. */
MUST_USE int http_guard_make(struct arena *arena, const struct str *texts, size_t count, struct http_guard *out,
			     struct str *bad);
/* `host`: of the URL. */
bool http_guard_lets(const struct http_guard *guard, struct str host, const struct sockaddr *address);
