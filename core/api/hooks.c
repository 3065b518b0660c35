#include "api/hooks.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/ingest_http.h"
#include "plugin/source.h"

#define HEADERS_MAX 64 /* headers of a request that are handed on */

struct hook_call {
	struct hook_call *next, **link; /* the worker's */
	struct api_worker *worker;
	struct http_request *req; /* NULL: the client has left */
	struct errand *errand;
	struct event *deadline;
	struct str source;          /* id, in the errand's arena */
	struct ingest_batch *batch; /* NULL: not with the journal */
};

/* ── its life ────────────────────────────────────────────────────────────── */

static void call_free(struct hook_call *call)
{
	if (call->next) call->next->link = call->link;
	if (call->link) *call->link = call->next;
	if (call->deadline) event_free(call->deadline);
	errand_free(call->errand);
	free(call);
}

static void refuse(struct http_request *req, enum problem problem, struct str message)
{
	http_reply_problem(req, problem, message, STR_NONE);
}

static void refuse_call(struct hook_call *call, enum problem problem, struct str message)
{
	struct http_request *req = call->req;
	call_free(call);
	if (req) refuse(req, problem, message);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	struct hook_call *call = ctx;
	(void)fd, (void)what;
	if (!errand_abandon(call->errand, true)) return; /* done this very moment */
	call->errand = NULL;
	refuse_call(call, PROBLEM_SOURCE_UNAVAILABLE, STR("the source's plugin did not answer in time"));
}

/* Whoever left before the answer sends again. What the journal holds counts. */
static void on_abort(void *ctx)
{
	struct hook_call *call = ctx;
	call->req = NULL;
	if (call->batch) {
		ingest_cancel(call->batch);
		call_free(call);
	} else if (call->errand && errand_abandon(call->errand, false)) {
		call->errand = NULL;
		call_free(call);
	} /* else its task is with the loop */
}

void hooks_settle(struct api_worker *worker)
{
	while (worker->hooks) {
		struct hook_call *call = worker->hooks;
		if (!call->batch && errand_abandon(call->errand, false)) call->errand = NULL;
		call_free(call); /* takes it out of the list */
	}
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static void answer(struct hook_call *call)
{
	struct http_request *req = call->req;
	const struct decoding *said = &call->errand->decode;
	for (size_t i = 0; i < said->header_count; i++)
		http_set_header(req, said->headers[i].name, said->headers[i].value);
	bool has_body = said->status != 204 && said->status != 304;
	http_reply(req, said->status, said->content_type, has_body ? said->body : STR_NONE);
	call_free(call);
}

static void on_ingested(void *ctx, const struct ingest_result *result)
{
	struct hook_call *call = ctx;
	struct api_worker *worker = call->worker;
	if (result->problem != PROBLEM_NONE) {
		struct http_request *req = call->req;
		ingest_http_set_headers(req, result);
		http_reply_problem(req, result->problem, result->message, result->pointer);
		call_free(call);
		return;
	}
	sources_count(worker->api->sources, call->source, result->accepted, result->rejection_count);
	answer(call);
}

static struct ingest_hook_item *items_of(struct decoding *decode)
{
	struct ingest_hook_item *items = arena_array(&decode->arena, struct ingest_hook_item, decode->item_count);
	for (size_t i = 0; items && i < decode->item_count; i++) {
		const struct decoding_item *from = &decode->items[i];
		items[i] = (struct ingest_hook_item){from->is_reject, from->text, from->reason};
	}
	return items;
}

static void ingest(struct hook_call *call)
{
	struct decoding *decode = &call->errand->decode;
	struct ingest_hook hook = {call->source, items_of(decode), decode->item_count};
	struct ingest_request request = {.dialect = DIALECT_HOOK,
					 .authorization = STR_NONE,
					 .write_key_header = STR_NONE,
					 .write_key_query = STR_NONE,
					 .origin = STR_NONE,
					 .client_ip = decode->request.client_ip,
					 .user_agent = STR_NONE,
					 .body = STR_NONE,
					 .received_at_us = decode->request.received_us,
					 .person_ref = STR_NONE,
					 .hook = &hook};
	if (!hook.items) {
		refuse_call(call, PROBLEM_TOO_LARGE, STR_NONE);
		return;
	}
	struct ingest_batch *batch = ingest_submit(call->worker->ingest, &request, on_ingested, call);
	if (batch) call->batch = batch; /* else it is answered and gone */
}

/* Costs the sender what one event costs; whether it may was asked before. */
static void charge(struct hook_call *call)
{
	int ignored;
	(void)ingest_hook_may(call->worker->ingest, call->source, call->errand->decode.request.client_ip, true,
			      &ignored);
}

static void on_decoded(struct errand *errand)
{
	struct hook_call *call = errand->ctx;
	if (!call->req) {
		call_free(call);
		return;
	}
	event_free(call->deadline);
	call->deadline = NULL;
	if (errand->status != OK) {
		refuse_call(call, PROBLEM_SOURCE_UNAVAILABLE, STR("the source's plugin ended, send again"));
	} else if (errand->decode.error == CDPD_ERR_BUSY) {
		refuse_call(call, PROBLEM_SOURCE_UNAVAILABLE,
			    STR("the source's plugin cannot take it now, send again"));
	} else if (errand->decode.error == CDPD_ERR_TOO_LARGE) {
		charge(call);
		refuse_call(call, PROBLEM_TOO_LARGE, STR("more than the source's plugin can take at once"));
	} else if (errand->decode.error != CDPD_OK) {
		charge(call);
		refuse_call(call, PROBLEM_INTERNAL, STR("the source's plugin failed on the request"));
	} else if (errand->decode.item_count == 0) {
		charge(call);
		answer(call);
	} else {
		ingest(call);
	}
}

/* ── the request ─────────────────────────────────────────────────────────── */

static struct str method_name(const struct http_request *req)
{
	switch (http_method(req)) {
	case HTTP_GET: return STR("GET");
	case HTTP_HEAD: return STR("HEAD");
	default: return STR("POST");
	}
}

static int begin(struct hook_call *call, struct str id)
{
	struct http_request *req = call->req;
	struct decoding_header headers[HEADERS_MAX];
	struct decoding_request request = {.method = method_name(req),
					   .path = http_path(req),
					   .query = http_query(req),
					   .body = http_body(req),
					   .client_ip = http_client_ip(req),
					   .received_us = http_received_at_us(req),
					   .headers = headers};
	const struct conf_limits *limits = &api_worker_live(call->worker)->config->limits;
	while (request.header_count < HEADERS_MAX &&
	       http_header_at(req, request.header_count, &headers[request.header_count].name,
			      &headers[request.header_count].value))
		request.header_count++;
	int rc = errand_new(&call->errand);
	if (rc == OK)
		rc = decoding_begin(&call->errand->decode, &request, limits->batch_events,
				    limits->body_bytes + DECODING_REPLY_MAX);
	if (rc == OK) rc = arena_str(&call->errand->decode.arena, id, &call->source);
	return rc;
}

static int arm(struct hook_call *call, uint32_t deadline_ms)
{
	struct timeval wait = {.tv_sec = deadline_ms / 1000, .tv_usec = (suseconds_t)(deadline_ms % 1000) * 1000};
	call->deadline = evtimer_new(loop_base(call->worker->loop), on_deadline, call);
	return call->deadline && evtimer_add(call->deadline, &wait) == 0 ? OK : ERR_NOMEM;
}

static void submit(struct hook_call *call)
{
	struct errand *errand = call->errand;
	errand->loop = call->worker->loop;
	errand->done = on_decoded;
	errand->ctx = call;
	switch (sources_submit(call->worker->api->sources, call->source, errand)) {
	case OK: http_on_abort(call->req, on_abort, call); return;
	case ERR_BUSY: refuse_call(call, PROBLEM_OVERLOADED, STR("too many requests wait for the source")); return;
	case ERR_TIMEOUT:
		refuse_call(call, PROBLEM_SOURCE_UNAVAILABLE, STR("the source's plugin does not answer"));
		return;
	case ERR_NOT_FOUND: refuse_call(call, PROBLEM_NOT_FOUND, STR("there is no such source")); return;
	default: refuse_call(call, PROBLEM_SOURCE_UNAVAILABLE, STR("the source's plugin is not ready")); return;
	}
}

static bool may(struct api_worker *worker, struct http_request *req, struct str id)
{
	char seconds[16];
	int retry_after_s = 1;
	if (ingest_hook_may(worker->ingest, id, http_client_ip(req), false, &retry_after_s)) return true;
	(void)snprintf(seconds, sizeof seconds, "%d", retry_after_s);
	http_set_header(req, STR("Retry-After"), str_from(seconds));
	refuse(req, PROBLEM_RATE_LIMITED, STR_NONE);
	return false;
}

static void on_hook(struct api_worker *worker, struct http_request *req)
{
	struct str id = http_path_param(req, 0);
	struct source_terms terms;
	if (!worker->ingest || !worker->api->sources || !sources_find(worker->api->sources, id, &terms)) {
		refuse(req, PROBLEM_NOT_FOUND, STR("there is no such source"));
		return;
	}
	if (!may(worker, req, id)) return;
	struct hook_call *call = calloc(1, sizeof *call);
	if (!call) {
		refuse(req, PROBLEM_INTERNAL, STR_NONE);
		return;
	}
	call->worker = worker;
	call->req = req;
	call->next = worker->hooks;
	call->link = &worker->hooks;
	if (worker->hooks) worker->hooks->link = &call->next;
	worker->hooks = call;
	int rc = begin(call, id);
	if (rc == OK) rc = arm(call, terms.deadline_ms);
	if (rc == OK)
		submit(call);
	else
		refuse_call(call, PROBLEM_INTERNAL, STR_NONE);
}

static const struct api_route routes[] = {
    {.methods = HTTP_GET | HTTP_POST, .path = "/v1/hooks/{source}", .scope = SCOPE_NONE, .handler = on_hook},
};

int hooks_register(struct router *router)
{
	return api_add_routes(router, routes, COUNT_OF(routes));
}
