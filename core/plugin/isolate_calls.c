#include <stdlib.h>

#include "plugin/isolate_internal.h"

static struct isolate_call *begin_call(struct isolate *isolate, uint32_t id)
{
	struct isolate_call *call = isolate->call_count < ISOLATE_CALLS_MAX ? calloc(1, sizeof *call) : NULL;
	if (!call) return NULL;
	call->isolate = isolate;
	call->id = id;
	call->generation = isolate->generation;
	buf_init(&call->value, SPACE_CACHED_MAX);
	call->older = isolate->calls;
	if (call->older) call->older->newer = call;
	isolate->calls = call;
	isolate->call_count++;
	return call;
}

static void end_call(struct isolate_call *call)
{
	struct isolate *isolate = call->isolate;
	if (call->newer)
		call->newer->older = call->older;
	else
		isolate->calls = call->older;
	if (call->older) call->older->newer = call->newer;
	isolate->call_count--;
	buf_fini(&call->value);
	free(call);
}

void isolate_free_calls(struct isolate *isolate)
{
	while (isolate->calls) end_call(isolate->calls);
}

/* Is the process that asked still there? */
static bool is_wanted(const struct isolate_call *call)
{
	return call->generation == call->isolate->generation && call->isolate->state != ISOLATE_DOWN;
}

/* ── HTTP ────────────────────────────────────────────────────────────────── */

static int write_response(struct isolate *isolate, uint32_t id, const struct cdpd_http_response *response, int error)
{
	struct wire wire;
	wire_begin(&wire, &isolate->process.out, FRAME_HTTP_DONE);
	wire_u32(&wire, id);
	wire_i32(&wire, error);
	wire_i32(&wire, response && !error ? response->status : 0);
	wire_i64(&wire, response ? response->retry_after_ms : -1);
	wire_text(&wire, response && !error ? core_str(response->body) : STR_NONE);
	wire_text(&wire, response ? core_str(response->why) : STR_NONE);
	size_t count = response && !error ? response->header_count : 0;
	wire_u32(&wire, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		wire_text(&wire, core_str(response->headers[i].name));
		wire_text(&wire, core_str(response->headers[i].value));
	}
	return isolate_send(isolate, &wire);
}

/* Answers come while the thread waits: what was written for the process goes out at the next turn. */
static void come_back(struct isolate *isolate)
{
	http_wake(isolate->instance->services.http);
}

/* A frame that finds no room: the process does not read, which its deadline finds out. */
static void on_response(void *ctx, const struct cdpd_http_response *response)
{
	struct isolate_call *call = ctx;
	if (is_wanted(call)) {
		(void)!write_response(call->isolate, call->id, response, response->error);
		come_back(call->isolate);
	}
	end_call(call);
}

static int take_headers(struct wire_in *in, struct cdpd_http_header headers[HTTP_HEADERS_MAX], size_t *count)
{
	*count = wire_take_count(in, 8);
	if (*count > HTTP_HEADERS_MAX) return ERR_INVALID;
	for (size_t i = 0; i < *count; i++) {
		headers[i].name = sdk_str(wire_take_text(in));
		headers[i].value = sdk_str(wire_take_text(in));
	}
	return OK;
}

int isolate_take_http(struct isolate *isolate, struct str body)
{
	struct cdpd_http_header headers[HTTP_HEADERS_MAX];
	struct wire_in in = wire_in(body);
	uint32_t id = wire_take_u32(&in);
	struct cdpd_http_request request = {
	    .size = sizeof request, .timeout_ms = wire_take_u32(&in), .headers = headers};
	request.flags = wire_take_u32(&in);
	int64_t most = wire_take_i64(&in);
	request.max_body = most > 0 && most < (int64_t)WIRE_BODY_MAX ? (size_t)most : WIRE_BODY_MAX;
	if (most == 0) request.max_body = HTTP_BODY_DEFAULT;
	request.method = sdk_str(wire_take_text(&in));
	request.url = sdk_str(wire_take_text(&in));
	request.body = sdk_str(wire_take_text(&in));
	if (take_headers(&in, headers, &request.header_count) || wire_finish(&in)) return ERR_INVALID;
	struct isolate_call *call = begin_call(isolate, id);
	int rc = call ? isolate->host->http(isolate->instance, &request, on_response, call) : CDPD_ERR_BUSY;
	if (rc == CDPD_OK) return OK;
	if (call) end_call(call);
	return write_response(isolate, id, NULL, rc);
}

/* ── the cache ───────────────────────────────────────────────────────────── */

static int write_cached(struct isolate *isolate, uint32_t id, uint32_t slot, bool is_answered, int error,
			struct str value)
{
	struct wire wire;
	wire_begin(&wire, &isolate->process.out, FRAME_CACHE_DONE);
	wire_u32(&wire, id);
	wire_u32(&wire, slot);
	wire_u8(&wire, is_answered);
	wire_i32(&wire, error);
	wire_text(&wire, value);
	return isolate_send(isolate, &wire);
}

static void on_cached(void *ctx, int error, struct cdpd_str value)
{
	struct isolate_call *call = ctx;
	if (call->is_inside) {
		call->is_answered = true;
		call->error = buf_append_str(&call->value, core_str(value)) ? CDPD_ERR_NOMEM : error;
		return;
	}
	if (is_wanted(call)) {
		(void)!write_cached(call->isolate, call->id, 0, true, error, core_str(value));
		come_back(call->isolate);
	}
	end_call(call);
}

/* The process fetches; only ever inside cache_get. */
static void on_fetch(void *ctx, struct cdpd_cache_slot *slot, struct cdpd_str key)
{
	struct isolate_call *call = ctx;
	struct isolate *isolate = call->isolate;
	(void)key;
	for (uint32_t i = 0; i < ISOLATE_SLOTS_MAX; i++) {
		if (isolate->slots[i]) continue;
		isolate->slots[i] = slot;
		call->slot = i + 1;
		return;
	}
	(void)isolate->host->cache_fill(slot, CDPD_ERR_BUSY, (struct cdpd_str){"", 0});
}

static int ask_cache(struct isolate *isolate, const struct cdpd_cache_request *request, struct isolate_call *call)
{
	call->is_inside = true;
	int rc = isolate->host->cache_get(isolate->instance, request, on_cached, call);
	call->is_inside = false;
	if (rc != CDPD_OK) {
		rc = write_cached(isolate, call->id, 0, true, rc, STR_NONE);
		end_call(call);
		return rc;
	}
	if (!call->slot && !call->is_answered) return OK; /* somebody else fetches it */
	rc = write_cached(isolate, call->id, call->slot, call->is_answered, call->error, buf_str(&call->value));
	if (call->is_answered) end_call(call);
	return rc;
}

int isolate_take_cache(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t id = wire_take_u32(&in);
	struct cdpd_cache_request request = {.size = sizeof request, .fetch = on_fetch};
	request.ttl_ms = wire_take_i64(&in);
	request.negative_ttl_ms = wire_take_i64(&in);
	request.stale_ms = wire_take_i64(&in);
	request.key = sdk_str(wire_take_text(&in));
	if (wire_finish(&in)) return ERR_INVALID;
	struct isolate_call *call = begin_call(isolate, id);
	return call ? ask_cache(isolate, &request, call) : write_cached(isolate, id, 0, true, CDPD_ERR_BUSY, STR_NONE);
}

int isolate_take_fill(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t number = wire_take_u32(&in);
	int32_t error = wire_take_i32(&in);
	struct str value = wire_take_text(&in);
	if (wire_finish(&in) || number == 0 || number > ISOLATE_SLOTS_MAX || !isolate->slots[number - 1])
		return ERR_INVALID;
	struct cdpd_cache_slot *slot = isolate->slots[number - 1];
	isolate->slots[number - 1] = NULL;
	(void)isolate->host->cache_fill(slot, error > 0 ? CDPD_ERR_INVALID : error, sdk_str(value));
	return OK;
}

void isolate_drop_slots(struct isolate *isolate)
{
	for (size_t i = 0; i < ISOLATE_SLOTS_MAX; i++) {
		struct cdpd_cache_slot *slot = isolate->slots[i];
		isolate->slots[i] = NULL;
		if (slot) (void)isolate->host->cache_fill(slot, CDPD_ERR_IO, (struct cdpd_str){"", 0});
	}
}

/* ── key-values ──────────────────────────────────────────────────────────── */

static int write_kv(struct isolate *isolate, int error, struct str value)
{
	struct wire wire;
	wire_begin(&wire, &isolate->process.out, FRAME_KV_DONE);
	wire_i32(&wire, error);
	wire_text(&wire, value);
	return isolate_send(isolate, &wire);
}

int isolate_take_kv_get(struct isolate *isolate, struct str body)
{
	char value[SPACE_VALUE_MAX];
	size_t len = 0;
	struct wire_in in = wire_in(body);
	struct str key = wire_take_text(&in);
	if (wire_finish(&in)) return ERR_INVALID;
	int rc = isolate->host->kv_get(isolate->instance, sdk_str(key), value, sizeof value, &len);
	if (len > sizeof value) len = sizeof value;
	return write_kv(isolate, rc, rc == CDPD_OK ? str_of(value, len) : STR_NONE);
}

int isolate_take_kv_put(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	int64_t ttl_ms = wire_take_i64(&in);
	struct str key = wire_take_text(&in), value = wire_take_text(&in);
	if (wire_finish(&in)) return ERR_INVALID;
	return write_kv(isolate, isolate->host->kv_put(isolate->instance, sdk_str(key), sdk_str(value), ttl_ms),
			STR_NONE);
}
