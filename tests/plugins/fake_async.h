/* fake_async: what fake_host lacks for plugins that ask the outside world: tickets, HTTP, the cache and the key-value space. Requests wait
 * until the test answers them, in any order. */
#pragma once

#include "fake_host.h"

struct cdpd_ticket {
	struct cdpd_event event;
	unsigned done_count;
	int error;
	char reason[201];
};

struct fake_request {
	char url[2048], method[21];
	char headers[8192]; /* "name: value" lines */
	char body[65536];   /* NUL-terminated */
	size_t body_len;
	uint32_t timeout_ms;
	cdpd_http_fn done;
	void *ctx;
	bool is_answered;
};
extern struct fake_request fake_requests[FAKE_MAX];
extern size_t fake_request_count;
extern int fake_http_error; /* what http answers from here on; CDPD_OK: it takes requests */

/* Makes the async host the one that create is given, and forgets all there was. */
void fake_async_begin(void);
/* Hands a ticket to the plugin; forgets earlier sets. */
void fake_ask(struct cdpd_instance *fake, struct cdpd_ticket *ticket);
/* Answers request `index`. retry_after_ms -1: none. */
void fake_answer(size_t index, int status, const char *body, int64_t retry_after_ms);
void fake_answer_error(size_t index, int error);
/* The value of a request's header; NULL: it has none. Valid until the next call. */
const char *fake_header(size_t index, const char *name);
/* What the plugin keeps under `key`; NULL: nothing. Survives fake_destroy, not fake_async_begin. */
const char *fake_kept(const char *key);
