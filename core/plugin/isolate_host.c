/* The host's table of the isolated process: events, options and timers are its own, all else asks the daemon. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/log.h"
#include "plugin/handle.h"
#include "plugin/http.h"
#include "plugin/isolate_inside.h"

static bool is_own(const struct cdpd_instance *instance)
{
	return instance && instance->magic == INSTANCE_MAGIC;
}

/* ── metrics ─────────────────────────────────────────────────────────────── */

static int add_metric(int number, uint8_t type, const char *name, const char *help)
{
	struct str texts[2];
	if (number < 0) return number;
	if (arena_str(&inside.arena, str_from(name), &texts[0]) || arena_str(&inside.arena, str_from(help), &texts[1]))
		return CDPD_ERR_NOMEM;
	inside.ready.metrics[number] = (struct wire_metric){type, texts[0], texts[1]};
	inside.ready.metric_count = (size_t)number + 1;
	return number;
}

static int add_counter(struct cdpd_instance *instance, const char *name, const char *help)
{
	return add_metric(plugin_host()->counter(instance, name, help), METRIC_COUNTER, name, help);
}

static int add_histogram(struct cdpd_instance *instance, const char *name, const char *help)
{
	return add_metric(plugin_host()->histogram(instance, name, help), METRIC_HISTOGRAM, name, help);
}

static bool is_metric(const struct cdpd_instance *instance, int number, enum metric_type type)
{
	return is_own(instance) && number >= 0 && (size_t)number < instance->metric_count &&
	       instance->metric_types[number] == type;
}

static void count(struct cdpd_instance *instance, int number, uint64_t n)
{
	if (!is_metric(instance, number, METRIC_COUNTER)) return;
	inside_lock();
	inside.counts[number] += n;
	inside_unlock();
}

/* Between two flushes the first so many count. */
static void observe_us(struct cdpd_instance *instance, int number, int64_t us)
{
	if (!is_metric(instance, number, METRIC_HISTOGRAM)) return;
	inside_lock();
	if (inside.sample_count < INSIDE_SAMPLES_MAX) {
		inside.samples[inside.sample_count].number = (uint32_t)number;
		inside.samples[inside.sample_count++].value = us;
	}
	inside_unlock();
}

void inside_write_metrics(void)
{
	struct wire wire;
	uint32_t written = (uint32_t)inside.sample_count;
	size_t count_of = inside.ready.metric_count;
	for (size_t i = 0; i < count_of; i++) written += inside.counts[i] != 0;
	if (!written) return;
	wire_begin(&wire, &inside.out, FRAME_METRICS);
	wire_u32(&wire, written);
	for (size_t i = 0; i < count_of; i++) {
		if (!inside.counts[i]) continue;
		wire_u32(&wire, (uint32_t)i);
		wire_i64(&wire, (int64_t)inside.counts[i]);
		inside.counts[i] = 0;
	}
	for (size_t i = 0; i < inside.sample_count; i++) {
		wire_u32(&wire, inside.samples[i].number);
		wire_i64(&wire, inside.samples[i].value);
	}
	inside.sample_count = 0;
	inside_written(wire_end(&wire));
}

/* ── HTTP ────────────────────────────────────────────────────────────────── */

static int check_http(const struct cdpd_http_request *request)
{
	if (request->size < offsetof(struct cdpd_http_request, flags)) return CDPD_ERR_INVALID;
	if (request->header_count > HTTP_HEADERS_MAX || request->body.len > WIRE_BODY_MAX) return CDPD_ERR_TOO_LARGE;
	size_t bytes = request->url.len + request->method.len;
	for (size_t i = 0; i < request->header_count; i++)
		bytes += request->headers[i].name.len + request->headers[i].value.len;
	return bytes > WIRE_BODY_MAX ? CDPD_ERR_TOO_LARGE : CDPD_OK;
}

static void write_http(uint32_t id, const struct cdpd_http_request *request)
{
	struct wire wire;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_HTTP);
	wire_u32(&wire, id);
	wire_u32(&wire, request->timeout_ms);
	bool has_flags = request->size >= offsetof(struct cdpd_http_request, flags) + sizeof request->flags;
	wire_u32(&wire, has_flags ? request->flags : 0);
	wire_i64(&wire, (int64_t)(request->max_body < WIRE_BODY_MAX ? request->max_body : WIRE_BODY_MAX));
	wire_text(&wire, core_str(request->method));
	wire_text(&wire, core_str(request->url));
	wire_text(&wire, core_str(request->body));
	wire_u32(&wire, (uint32_t)request->header_count);
	for (size_t i = 0; i < request->header_count; i++) {
		wire_text(&wire, core_str(request->headers[i].name));
		wire_text(&wire, core_str(request->headers[i].value));
	}
	inside_written(wire_end(&wire));
	inside_unlock();
}

/* What the daemon refuses is told to `done`. */
static int http(struct cdpd_instance *instance, const struct cdpd_http_request *request, cdpd_http_fn done, void *ctx)
{
	if (!is_own(instance) || !request || !done || inside.is_stopping) return CDPD_ERR_INVALID;
	int rc = check_http(request);
	if (rc) return rc;
	for (uint32_t id = 0; id < INSIDE_CALLS_MAX; id++) {
		if (inside.https[id].done) continue;
		inside.https[id] = (struct inside_http){done, ctx};
		write_http(id, request);
		return CDPD_OK;
	}
	return CDPD_ERR_BUSY;
}

void inside_http_done(struct str body)
{
	struct cdpd_http_header headers[HTTP_HEADERS_MAX];
	struct wire_in in = wire_in(body);
	uint32_t id = wire_take_u32(&in);
	struct cdpd_http_response response = {.size = sizeof response, .error = wire_take_i32(&in)};
	response.status = wire_take_i32(&in);
	response.retry_after_ms = wire_take_i64(&in);
	response.body = sdk_str(wire_take_text(&in));
	response.why = sdk_str(wire_take_text(&in));
	response.header_count = wire_take_count(&in, 8);
	for (size_t i = 0; i < response.header_count && i < HTTP_HEADERS_MAX; i++) {
		headers[i].name = sdk_str(wire_take_text(&in));
		headers[i].value = sdk_str(wire_take_text(&in));
	}
	response.headers = headers;
	if (wire_finish(&in) || id >= INSIDE_CALLS_MAX || !inside.https[id].done) inside_end(INSIDE_EXIT_SPEECH);
	struct inside_http call = inside.https[id];
	inside.https[id].done = NULL;
	call.done(call.ctx, &response);
}

/* ── the cache ───────────────────────────────────────────────────────────── */

static int keep_call(const struct cdpd_cache_request *request, cdpd_cache_fn done, void *ctx, uint32_t *id)
{
	for (*id = 0; *id < INSIDE_CALLS_MAX && inside.caches[*id].done;) ++*id;
	if (*id == INSIDE_CALLS_MAX) return CDPD_ERR_BUSY;
	char *key = malloc(request->key.len);
	if (!key) return CDPD_ERR_NOMEM;
	memcpy(key, request->key.ptr, request->key.len);
	inside.caches[*id] = (struct inside_cache){
	    .done = done, .ctx = ctx, .fetch = request->fetch, .key = str_of(key, request->key.len)};
	return CDPD_OK;
}

static int cache_get(struct cdpd_instance *instance, const struct cdpd_cache_request *request, cdpd_cache_fn done,
		     void *ctx)
{
	struct wire wire;
	uint32_t id;
	if (!is_own(instance) || !request || request->size < sizeof *request || !done || !request->fetch)
		return CDPD_ERR_INVALID;
	if (request->key.len == 0 || inside.is_stopping) return CDPD_ERR_INVALID;
	if (request->key.len > SPACE_KEY_MAX) return CDPD_ERR_TOO_LARGE;
	int rc = keep_call(request, done, ctx, &id);
	if (rc) return rc;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_CACHE);
	wire_u32(&wire, id);
	wire_i64(&wire, request->ttl_ms);
	wire_i64(&wire, request->negative_ttl_ms);
	wire_i64(&wire, request->stale_ms);
	wire_text(&wire, core_str(request->key));
	inside_written(wire_end(&wire));
	inside_unlock();
	return CDPD_OK;
}

static void write_fill(uint32_t slot, int error, struct str value)
{
	struct wire wire;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_CACHE_FILL);
	wire_u32(&wire, slot);
	wire_i32(&wire, error > 0 ? CDPD_ERR_INVALID : error);
	wire_text(&wire, error == CDPD_OK ? value : STR_NONE);
	inside_written(wire_end(&wire));
	inside_unlock();
}

static int cache_fill(struct cdpd_cache_slot *handle, int error, struct cdpd_str value)
{
	struct inside_slot *slot = handle_lock(HANDLE_CACHE_SLOT, handle);
	if (slot) handle_release_locked(handle);
	handle_unlock();
	if (!slot) return CDPD_ERR_INVALID;
	bool is_long = error == CDPD_OK && value.len > SPACE_CACHED_MAX;
	write_fill(slot->number, is_long ? CDPD_ERR_TOO_LARGE : error, core_str(value));
	free(slot);
	return is_long ? CDPD_ERR_TOO_LARGE : CDPD_OK;
}

static void fetch(const struct inside_cache *call, uint32_t number)
{
	struct inside_slot *slot = malloc(sizeof *slot);
	if (!slot) inside_end(INSIDE_EXIT_MEMORY);
	slot->number = number;
	struct cdpd_cache_slot *handle = handle_new(HANDLE_CACHE_SLOT, slot);
	if (handle) {
		call->fetch(call->ctx, handle, sdk_str(call->key));
		return;
	}
	free(slot);
	write_fill(number, CDPD_ERR_BUSY, STR_NONE);
}

void inside_cache_done(struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t id = wire_take_u32(&in), slot = wire_take_u32(&in);
	bool is_answered = wire_take_u8(&in);
	int32_t error = wire_take_i32(&in);
	struct str value = wire_take_text(&in);
	if (wire_finish(&in) || id >= INSIDE_CALLS_MAX || !inside.caches[id].done) inside_end(INSIDE_EXIT_SPEECH);
	struct inside_cache call = inside.caches[id];
	if (is_answered) inside.caches[id].done = NULL;
	if (slot) fetch(&call, slot);
	if (!is_answered) return;
	call.done(call.ctx, error, sdk_str(value));
	free((void *)(uintptr_t)call.key.ptr); /* our own copy */
}

/* ── key-values ──────────────────────────────────────────────────────────── */

static int take_kv(struct str *value)
{
	struct wire_in in = wire_in(inside_wait_for(FRAME_KV_DONE));
	int32_t error = wire_take_i32(&in);
	*value = wire_take_text(&in);
	if (wire_finish(&in)) inside_end(INSIDE_EXIT_SPEECH);
	return error;
}

static int kv_get_there(struct cdpd_instance *instance, struct cdpd_str key, void *value, size_t size, size_t *len)
{
	struct wire wire;
	struct str found;
	if (!is_own(instance) || (size && !value)) return CDPD_ERR_INVALID;
	if (key.len > SPACE_KEY_MAX) return CDPD_ERR_TOO_LARGE;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_KV_GET);
	wire_text(&wire, core_str(key));
	inside_written(wire_end(&wire));
	inside_unlock();
	int rc = take_kv(&found);
	if (rc) return rc;
	if (len) *len = found.len;
	if (size) memcpy(value, found.ptr, found.len < size ? found.len : size);
	return CDPD_OK;
}

static int kv_put_there(struct cdpd_instance *instance, struct cdpd_str key, struct cdpd_str value, int64_t ttl_ms)
{
	struct wire wire;
	struct str nothing;
	if (!is_own(instance)) return CDPD_ERR_INVALID;
	if (key.len > SPACE_KEY_MAX || value.len > SPACE_VALUE_MAX) return CDPD_ERR_TOO_LARGE;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_KV_PUT);
	wire_i64(&wire, ttl_ms);
	wire_text(&wire, core_str(key));
	wire_text(&wire, core_str(value));
	inside_written(wire_end(&wire));
	inside_unlock();
	return take_kv(&nothing);
}

/* After the journal nobody can be told no. */
static int event_drop(struct cdpd_instance *instance, struct cdpd_event *event, const char *reason)
{
	(void)instance, (void)event, (void)reason;
	return CDPD_ERR_UNSUPPORTED;
}

static int event_rename(struct cdpd_instance *instance, struct cdpd_event *event, struct cdpd_str name)
{
	(void)instance, (void)event, (void)name;
	return CDPD_ERR_UNSUPPORTED;
}

const struct cdpd_host *inside_host(void)
{
	static struct cdpd_host host;
	host = *plugin_host();
	host.counter = add_counter;
	host.histogram = add_histogram;
	host.count = count;
	host.observe_us = observe_us;
	host.event_drop = event_drop;
	host.event_rename = event_rename;
	host.publish = NULL;
	host.batch_count = inside_batch_count;
	host.batch_record = inside_batch_record;
	host.receipt_set = inside_receipt_set;
	host.receipt_done = inside_receipt_done;
	if (inside.use == CDPD_CAP_ENRICH) return &host; /* as in the daemon: nothing that waits */
	host.http = http;
	host.cache_get = cache_get;
	host.cache_fill = cache_fill;
	host.kv_get = kv_get_there;
	host.kv_put = kv_put_there;
	return &host;
}

/* ── refused system calls ────────────────────────────────────────────────── */

#define CALLS_MAX 512

static _Atomic(uint32_t) refused[CALLS_MAX]; /* by number; the last one holds all others */
static _Atomic(bool) was_refused;

static const struct {
	int number;
	const char *name;
} names[] = {
    {SYS_socket, "socket"},
    {SYS_connect, "connect"},
    {SYS_bind, "bind"},
    {SYS_clone, "clone (a process)"},
    {SYS_execve, "execve"},
    {SYS_kill, "kill"},
    {SYS_ptrace, "ptrace"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_mkdirat, "mkdirat"},
    {SYS_setuid, "setuid"},
    {SYS_tkill, "tkill"},
    {SYS_tgkill, "tgkill"},
    {SYS_pidfd_open, "pidfd_open"},
#ifdef SYS_fork
    {SYS_fork, "fork"},
    {SYS_vfork, "vfork"},
    {SYS_unlink, "unlink"},
#endif
};

static void on_refusal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *at = context;
	(void)signal;
	unsigned number = (unsigned)info->si_syscall;
	atomic_fetch_add(&refused[number < CALLS_MAX - 1 ? number : CALLS_MAX - 1], 1);
	atomic_store(&was_refused, true);
#if defined(__x86_64__)
	at->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	at->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
	(void)at;
#endif
}

void inside_watch_refusals(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
	action.sa_sigaction = on_refusal;
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGSYS, &action, NULL);
}

static const char *name_of(unsigned number)
{
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if ((unsigned)names[i].number == number) return names[i].name;
	return "";
}

void inside_tell_refusals(void)
{
	if (!atomic_exchange(&was_refused, false)) return;
	for (unsigned i = 0; i < CALLS_MAX; i++) {
		uint32_t times = atomic_exchange(&refused[i], 0);
		if (times)
			log_warn(LOG_PLUGIN,
				 "refused: system call %u %s, %u times (an isolated plugin reaches nothing outside)", i,
				 name_of(i), times);
	}
}
