/* ctl: the parts of cdpctl, a client of the daemon's HTTP API. It knows nothing of the daemon's insides: only the base
 * and config rooms.
 *
 * client: requests over HTTP or a unix socket. libcurl lives here. */
#pragma once

#include <stdio.h>

#include "base/buf.h"

/* What cdpctl exits with; documented in its help and in docs/operations.md. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_NOT_FOUND = 1, /* the daemon knows no such thing */
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3, /* no daemon answered */
	CTL_DENIED = 4,      /* 401 or 403 */
	CTL_FAILED = 5       /* any other refusal, or an answer that cannot be read */
};

struct client;

struct client_options {
	const char *url;          /* "http://127.0.0.1:8080", "https://…" or "unix:/run/cdpd.sock" */
	const char *token;        /* may be NULL */
	const char *token_origin; /* for error texts: "CDPD_TOKEN" … */
};

/* ERR_NOMEM. The strings are borrowed. */
MUST_USE int client_new(const struct client_options *options, struct client **out);
void client_free(struct client *client);
/* Percent-encodes one path segment or query value; malloc'd. NULL: no memory. */
MUST_USE char *client_escape(struct client *client, const char *text);

/* GET `path`; the body is in *body (cleared first). CTL_OK on 2xx; else what went wrong has been printed to stderr. */
MUST_USE enum ctl_exit client_get(struct client *client, const char *path, struct buf *body);
MUST_USE enum ctl_exit client_post(struct client *client, const char *path, struct buf *body);
/* Any method, with an empty body. */
MUST_USE enum ctl_exit client_request(struct client *client, const char *method, const char *path, struct buf *body);
/* GET straight into a file, however long; *body holds a refusal. */
MUST_USE enum ctl_exit client_save(struct client *client, const char *path, FILE *out, struct buf *body);
/* Any method, with a JSON body. */
MUST_USE enum ctl_exit client_send_json(struct client *client, const char *method, const char *path, struct str json,
					struct buf *body);
/* POST with a JSON body. */
MUST_USE enum ctl_exit client_post_json(struct client *client, const char *path, struct str json, struct buf *body);
/* Reads a text/event-stream until it ends or `fn` returns non-zero; fn gets each event's name and data. */
MUST_USE enum ctl_exit client_stream(struct client *client, const char *path,
				     int (*fn)(void *ctx, struct str event, struct str data), void *ctx);
