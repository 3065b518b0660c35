#include "fake_async.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

struct fake_request fake_requests[FAKE_MAX];
size_t fake_request_count;
int fake_http_error;

enum state { EMPTY, FETCHING, VALUE, NOTHING };

struct cdpd_cache_slot {
	enum state state;
	char key[256], value[2048];
	size_t len;
	struct {
		cdpd_cache_fn done;
		void *ctx;
	} waiters[FAKE_MAX];
	size_t waiter_count;
};
static struct cdpd_cache_slot slots[FAKE_MAX];

static struct pair {
	char key[256], value[2048];
} kept[FAKE_MAX];

static bool is_text(struct cdpd_str a, const char *b)
{
	return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0;
}

static void copy(char *to, size_t size, struct cdpd_str from)
{
	assert_true(from.len < size);
	if (from.len) memcpy(to, from.ptr, from.len);
	to[from.len] = 0;
}

static struct cdpd_event *ticket_event(struct cdpd_ticket *ticket)
{
	return &ticket->event;
}

static int ticket_done(struct cdpd_ticket *ticket, int error, const char *reason)
{
	ticket->done_count++;
	ticket->error = error;
	snprintf(ticket->reason, sizeof ticket->reason, "%s", reason ? reason : "");
	return CDPD_OK;
}

static int http(struct cdpd_instance *fake, const struct cdpd_http_request *request, cdpd_http_fn done, void *ctx)
{
	(void)fake;
	if (fake_http_error != CDPD_OK) return fake_http_error;
	assert_true(fake_request_count < FAKE_MAX);
	struct fake_request *it = &fake_requests[fake_request_count++];
	memset(it, 0, sizeof *it);
	it->done = done;
	it->ctx = ctx;
	it->timeout_ms = request->timeout_ms;
	copy(it->url, sizeof it->url, request->url);
	copy(it->method, sizeof it->method, request->method);
	copy(it->body, sizeof it->body, request->body);
	it->body_len = request->body.len;
	for (size_t i = 0, at = 0; i < request->header_count; i++) {
		struct cdpd_str name = request->headers[i].name, value = request->headers[i].value;
		int len = snprintf(it->headers + at, sizeof it->headers - at, "%.*s: %.*s\n", (int)name.len, name.ptr,
				   (int)value.len, value.ptr);
		assert_true(len > 0 && at + (size_t)len < sizeof it->headers);
		at += (size_t)len;
	}
	return CDPD_OK;
}

const char *fake_header(size_t index, const char *name)
{
	static char value[4096];
	size_t len = strlen(name);
	assert_true(index < fake_request_count);
	for (const char *at = fake_requests[index].headers; *at; at = strchr(at, '\n') + 1) {
		if (strncasecmp(at, name, len) != 0 || at[len] != ':') continue;
		size_t value_len = strcspn(at + len + 2, "\n");
		assert_true(value_len < sizeof value);
		memcpy(value, at + len + 2, value_len);
		value[value_len] = 0;
		return value;
	}
	return NULL;
}

static struct cdpd_cache_slot *find_slot(struct cdpd_str key)
{
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (slots[i].state != EMPTY && is_text(key, slots[i].key)) return &slots[i];
	for (size_t i = 0; i < FAKE_MAX; i++) {
		if (slots[i].state != EMPTY) continue;
		copy(slots[i].key, sizeof slots[i].key, key);
		return &slots[i];
	}
	fail_msg("the cache is full");
	return NULL;
}

static int cache_get(struct cdpd_instance *fake, const struct cdpd_cache_request *request, cdpd_cache_fn done,
		     void *ctx)
{
	(void)fake;
	struct cdpd_cache_slot *slot = find_slot(request->key);
	if (slot->state == VALUE || slot->state == NOTHING) {
		done(ctx, slot->state == VALUE ? CDPD_OK : CDPD_ERR_NOT_FOUND,
		     (struct cdpd_str){slot->value, slot->len});
		return CDPD_OK;
	}
	assert_true(slot->waiter_count < FAKE_MAX);
	slot->waiters[slot->waiter_count].done = done;
	slot->waiters[slot->waiter_count++].ctx = ctx;
	if (slot->state == FETCHING) return CDPD_OK;
	slot->state = FETCHING;
	request->fetch(ctx, slot, (struct cdpd_str){slot->key, strlen(slot->key)});
	return CDPD_OK;
}

static int cache_fill(struct cdpd_cache_slot *slot, int error, struct cdpd_str value)
{
	assert_int_equal(slot->state, FETCHING);
	copy(slot->value, sizeof slot->value, value);
	slot->len = value.len;
	slot->state = error == CDPD_OK ? VALUE : error == CDPD_ERR_NOT_FOUND ? NOTHING : EMPTY;
	size_t count = slot->waiter_count;
	slot->waiter_count = 0;
	for (size_t i = 0; i < count; i++) slot->waiters[i].done(slot->waiters[i].ctx, error, value);
	return CDPD_OK;
}

static struct pair *find_pair(struct cdpd_str key)
{
	for (size_t i = 0; i < FAKE_MAX; i++)
		if (kept[i].key[0] && is_text(key, kept[i].key)) return &kept[i];
	return NULL;
}

static int kv_get(struct cdpd_instance *fake, struct cdpd_str key, void *value, size_t size, size_t *len)
{
	(void)fake;
	const struct pair *pair = find_pair(key);
	if (!pair) return CDPD_ERR_NOT_FOUND;
	*len = strlen(pair->value);
	memcpy(value, pair->value, *len < size ? *len : size);
	return CDPD_OK;
}

static int kv_put(struct cdpd_instance *fake, struct cdpd_str key, struct cdpd_str value, int64_t ttl_ms)
{
	(void)fake;
	(void)ttl_ms;
	struct pair *pair = find_pair(key);
	for (size_t i = 0; !pair && i < FAKE_MAX; i++)
		if (!kept[i].key[0]) pair = &kept[i];
	assert_non_null(pair);
	copy(pair->key, sizeof pair->key, key);
	copy(pair->value, sizeof pair->value, value);
	return CDPD_OK;
}

/* ── for the test ────────────────────────────────────────────────────────── */

void fake_async_begin(void)
{
	static struct cdpd_host table;
	table = fake_host_table;
	table.ticket_event = ticket_event;
	table.ticket_done = ticket_done;
	table.http = http;
	table.cache_get = cache_get;
	table.cache_fill = cache_fill;
	table.kv_get = kv_get;
	table.kv_put = kv_put;
	fake_host = &table;
	fake_request_count = 0;
	fake_http_error = CDPD_OK;
	memset(slots, 0, sizeof slots);
	memset(kept, 0, sizeof kept);
}

void fake_ask(struct cdpd_instance *fake, struct cdpd_ticket *ticket)
{
	fake->set_count = 0;
	ticket->done_count = 0;
	assert_int_equal(fake->plugin->enrich_async(fake->self, ticket), CDPD_OK);
}

static void respond(size_t index, const struct cdpd_http_response *response)
{
	assert_true(index < fake_request_count && !fake_requests[index].is_answered);
	fake_requests[index].is_answered = true;
	fake_requests[index].done(fake_requests[index].ctx, response);
}

void fake_answer(size_t index, int status, const char *body, int64_t retry_after_ms)
{
	struct cdpd_http_response response = {
	    .size = sizeof response,
	    .status = status,
	    .retry_after_ms = retry_after_ms,
	    .body = {body, strlen(body)},
	    .why = {"", 0},
	};
	respond(index, &response);
}

void fake_answer_error(size_t index, int error)
{
	struct cdpd_http_response response = {
	    .size = sizeof response, .error = error, .retry_after_ms = -1, .body = {"", 0}, .why = {"", 0}};
	respond(index, &response);
}

const char *fake_kept(const char *key)
{
	const struct pair *pair = find_pair((struct cdpd_str){key, strlen(key)});
	return pair ? pair->value : NULL;
}
