/* Asks a web service for each event, through the cache when told to: GET <url>/<event name>. Sets enrichment.fetcher.{status,body,error,header}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"

struct fetcher {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char url[256];
	bool cached;
	int64_t ttl_ms, max_body, timeout_ms;
	int name, status, body, error, header, seen;
	int requests;
};

struct question {
	struct fetcher *self;
	struct cdpd_ticket *ticket;
	char key[128];
};

struct flight { /* of a cached fetch: outlives the question */
	struct fetcher *self;
	struct cdpd_cache_slot *slot;
};

static struct cdpd_str text(const char *from)
{
	return (struct cdpd_str){from, strlen(from)};
}

static int send(struct fetcher *self, struct cdpd_str key, cdpd_http_fn done, void *ctx)
{
	char url[512];
	(void)snprintf(url, sizeof url, "%s/%.*s", self->url, (int)key.len, key.ptr);
	const struct cdpd_http_header headers[] = {{text("x-secret"), text("s3cret")}};
	const struct cdpd_http_request request = {.size = sizeof request,
						  .timeout_ms = (uint32_t)self->timeout_ms,
						  .method = text("GET"),
						  .url = text(url),
						  .body = text(""),
						  .headers = headers,
						  .header_count = 1,
						  .max_body = (size_t)self->max_body};
	self->host->count(self->instance, self->requests, 1);
	return self->host->http(self->instance, &request, done, ctx);
}

static void finish(struct question *question, int error)
{
	const struct cdpd_host *host = question->self->host;
	(void)host->ticket_done(question->ticket, error, error ? "no answer" : NULL);
	free(question);
}

static void on_answer(void *ctx, const struct cdpd_http_response *response)
{
	struct question *question = ctx;
	struct fetcher *self = question->self;
	struct cdpd_event *event = self->host->ticket_event(question->ticket);
	if (response->error) {
		(void)self->host->event_set_number(self->instance, event, self->error, response->error);
		/* What is refused stays so: the answer tells. The rest may get better. */
		finish(question, response->error == CDPD_ERR_DENIED || response->error == CDPD_ERR_TOO_LARGE
				     ? CDPD_OK
				     : response->error);
		return;
	}
	if (response->status == 429 || response->status == 503) {
		finish(question, CDPD_ERR_BUSY);
		return;
	}
	if (response->status >= 500) {
		finish(question, CDPD_ERR_IO);
		return;
	}
	(void)self->host->event_set_number(self->instance, event, self->status, response->status);
	(void)self->host->event_set_text(self->instance, event, self->body, response->body);
	for (size_t i = 0; i < response->header_count; i++)
		if (response->headers[i].name.len == 6 && !memcmp(response->headers[i].name.ptr, "x-test", 6))
			(void)self->host->event_set_text(self->instance, event, self->header,
							 response->headers[i].value);
	finish(question, CDPD_OK);
}

static void on_fetched(void *ctx, const struct cdpd_http_response *response)
{
	struct flight *flight = ctx;
	int error = response->error           ? response->error
		    : response->status == 404 ? CDPD_ERR_NOT_FOUND
		    : response->status == 200 ? CDPD_OK
					      : CDPD_ERR_IO;
	(void)flight->self->host->cache_fill(flight->slot, error, response->body);
	free(flight);
}

static void fetch(void *ctx, struct cdpd_cache_slot *slot, struct cdpd_str key)
{
	struct fetcher *self = ((struct question *)ctx)->self;
	struct flight *flight = malloc(sizeof *flight);
	if (flight) {
		*flight = (struct flight){self, slot};
		if (send(self, key, on_fetched, flight) == CDPD_OK) return;
		free(flight);
	}
	(void)self->host->cache_fill(slot, CDPD_ERR_IO, text(""));
}

static void on_cached(void *ctx, int error, struct cdpd_str value)
{
	struct question *question = ctx;
	struct fetcher *self = question->self;
	struct cdpd_event *event = self->host->ticket_event(question->ticket);
	if (error == CDPD_OK) (void)self->host->event_set_text(self->instance, event, self->body, value);
	if (error == CDPD_ERR_NOT_FOUND) {
		(void)self->host->event_set_number(self->instance, event, self->status, 404);
		error = CDPD_OK;
	}
	finish(question, error);
}

static int enrich_async(void *ctx, struct cdpd_ticket *ticket)
{
	struct fetcher *self = ctx;
	struct cdpd_value name;
	struct question *question = calloc(1, sizeof *question);
	if (!question) return CDPD_ERR_NOMEM;
	*question = (struct question){.self = self, .ticket = ticket};
	int rc = self->host->event_get(self->instance, self->host->ticket_event(ticket), self->name, &name);
	size_t len = name.text.len < sizeof question->key - 1 ? name.text.len : sizeof question->key - 1;
	memcpy(question->key, name.text.ptr, len);
	struct cdpd_str key = {question->key, len};
	if (rc == CDPD_OK && self->cached) {
		const struct cdpd_cache_request request = {.size = sizeof request,
							   .key = key,
							   .ttl_ms = self->ttl_ms,
							   .negative_ttl_ms = self->ttl_ms,
							   .stale_ms = self->ttl_ms,
							   .fetch = fetch};
		rc = self->host->cache_get(self->instance, &request, on_cached, question);
	} else if (rc == CDPD_OK) {
		rc = send(self, key, on_answer, question);
	}
	if (rc) free(question);
	return rc;
}

static void copy(char *to, size_t size, struct cdpd_str from)
{
	size_t len = from.len < size - 1 ? from.len : size - 1;
	memcpy(to, from.ptr, len);
	to[len] = '\0';
}

/* How often it was created, from its key-values. */
static int count_lives(struct fetcher *self)
{
	char lives[16] = "";
	size_t len;
	int rc = self->host->kv_get(self->instance, text("lives"), lives, sizeof lives - 1, &len);
	if (rc && rc != CDPD_ERR_NOT_FOUND) return rc;
	(void)snprintf(lives, sizeof lives, "%d", atoi(lives) + 1);
	self->host->log(self->instance, CDPD_LOG_INFO, "life %s", lives);
	return self->host->kv_put(self->instance, text("lives"), text(lives), 0);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct fetcher *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	copy(self->url, sizeof self->url, host->conf_text(conf, "url"));
	self->cached = host->conf_bool(conf, "cached");
	self->ttl_ms = host->conf_int(conf, "ttl") / 1000;
	self->timeout_ms = host->conf_int(conf, "timeout") / 1000;
	self->max_body = host->conf_int(conf, "max_body");
	self->name = host->path(instance, "event");
	self->status = host->path(instance, "enrichment.fetcher.status");
	self->body = host->path(instance, "enrichment.fetcher.body");
	self->error = host->path(instance, "enrichment.fetcher.error");
	self->header = host->path(instance, "enrichment.fetcher.header");
	self->requests = host->counter(instance, "requests_total", "Requests.");
	int rc = count_lives(self);
	if (rc) {
		free(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"event"};
static const char *const provides[] = {"enrichment.fetcher"};
static const struct cdpd_option options[] = {
    {.name = "url", .type = CDPD_OPTION_STRING, .is_required = true, .help = "where to ask"},
    {.name = "cached", .type = CDPD_OPTION_BOOL, .default_text = "false", .help = "keep answers"},
    {.name = "ttl", .type = CDPD_OPTION_DURATION, .default_text = "1h", .help = "how long"},
    {.name = "timeout", .type = CDPD_OPTION_DURATION, .default_text = "5s", .help = "of a request"},
    {.name = "max_body", .type = CDPD_OPTION_SIZE, .default_text = "64KB", .help = "of an answer"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR,
    .name = "fetcher",
    .version = "1",
    .summary = "asks a web service",
    .caps = CDPD_CAP_ENRICH_ASYNC,
    .needs = {1, needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = free,
    .enrich_async = enrich_async,
};
