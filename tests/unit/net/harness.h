/* A real server on 127.0.0.1 with a few routes, and a raw-socket client, for the tests of core/net. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

#define BODY_CAP ((size_t)1 << 20)

struct server {
	struct config config;
	struct conf_listener listeners[2]; /* 0: public, 1: admin */
	struct conf_source source;
	struct str origins[1];
	struct router *router;
	struct net *net;
	uint16_t ports[2];
	int workers_started, workers_stopped;
};

/* Routes: GET /hello, POST /echo (CORS ingest), GET /params/{a}/{b}, GET /ip, GET /big?n=, GET /limited (429, CORS
 * ingest), GET /person (CORS person), GET /split (tries to split headers), GET /park (see below), GET /stream,
 * GET /admin (admin only), POST /small (cap of 10), POST /duplex, POST /duplex/early (see below). */
void server_defaults(struct server *server);
void server_start(struct server *server);
void server_stop(struct server *server);
/* Runs fn on the server's only loop and waits for it. */
void server_on_loop(struct server *server, void (*fn)(void *ctx), void *ctx);

/* GET /park leaves the request here; "?abort" also registers an abort handler. */
struct parked {
	struct http_request *request;
	bool is_aborted;
};
struct http_request *parked_wait(void);
void parked_answer(struct server *server, const char *text); /* on the loop */
void parked_wait_aborted(void);
void parked_watch_abort(struct server *server); /* http_on_abort, late */

/* GET /stream leaves its stream here. */
struct http_stream *stream_wait(void);
void stream_wait_closed(void);
bool stream_was_drained(void); /* and forgets it */
void stream_wait_drained(void);

/* POST /duplex: the request is taken over; "?end": and ended at once, with trailers only; "?reset": and reset. Data is echoed as it comes, and
 * consumed unless "?hoard"; the end of the body is answered with trailers. POST /duplex/early answers 401 as others do. */
struct duplex_state {
	struct http_duplex *duplex; /* NULL: none, or over */
	size_t received, drains, closes, retires, ends;
};
void duplex_wait(size_t received); /* until one is there and has received so much */
void duplex_wait_closed(size_t times);
void duplex_wait_retired(void);
struct duplex_state duplex_state(void);
void duplex_end(void *ctx); /* on the loop */

/* Waits at most some seconds until the counter has reached the value. */
void metric_wait(const char *name, const char *labels, int64_t at_least);
int64_t metric_now(const char *name, const char *labels);

/* ── client ──────────────────────────────────────────────────────────────── */

struct client {
	int fd;
	char *data; /* read and not consumed, inside memory */
	size_t len, size;
	char *memory;
};

struct response {
	int status;
	char *head, *body; /* NUL-terminated */
	size_t body_len;
};

void client_open(struct client *client, const struct server *server);
void client_open_port(struct client *client, uint16_t port);
void client_close(struct client *client);
void client_reset(struct client *client); /* leaves with RST */
void client_send(struct client *client, struct str text);
#define SEND(client, text) client_send((client), (struct str){text, sizeof(text) - 1})
/* Reads one answer by its framing; `has_body` false after HEAD. Fails the test when none comes. */
struct response client_read(struct client *client, bool has_body);
void response_free(struct response *response);
/* Reads and frees one answer, which must have that status. */
void client_expect(struct client *client, int status);
void client_expect_body(struct client *client, int status, const char *body);
bool response_has(const struct response *response, const char *line); /* "Name: value" in the head */
/* Reads to the end; fails when it does not come in time or bytes come before it. */
void client_expect_closed(struct client *client);
/* Reads at least n bytes into client->data. */
bool client_more(struct client *client); /* reads what is there, waits for something; false at the end */
void client_fill(struct client *client, size_t n);
struct str gzipped(size_t len, char fill); /* malloc'd: len times fill */
