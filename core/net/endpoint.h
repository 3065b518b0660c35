/* endpoint: what is known of one configured listener once it is bound. Lives as long as the net. */
#pragma once

#include "config/config.h"

struct endpoint {
	bool is_tls, is_admin, is_unix;
	uint16_t port;        /* really bound */
	struct str unix_path; /* NUL-terminated */
	struct str authority; /* "127.0.0.1:8080", "localhost" on a unix socket */
	struct str url;       /* "http://127.0.0.1:8080", "unix:/run/cdpd.sock"; NUL-terminated */
	int *fds;             /* one for each worker; -1: that worker does not listen here */
	size_t fd_count;
};

/* Binds one socket for each worker (SO_REUSEPORT), a single one for a unix path, and listens on none yet. ERR_IO,
 * ERR_INVALID with the cause logged. Texts live in the arena. */
MUST_USE int endpoint_bind(struct endpoint *endpoint, const struct conf_listener *listener, size_t workers,
			   struct arena *arena);
MUST_USE int endpoint_listen(const struct endpoint *endpoint);
/* Closes one worker's socket. */
void endpoint_close(struct endpoint *endpoint, size_t worker);
void endpoint_fini(struct endpoint *endpoint); /* closes all, removes the unix socket */
