#include "net/stats.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/metric.h"

static struct metric *answered[6], *refused[PROBLEM_COUNT], *dropped[DROP_COUNT], *received, *sent;
static struct metric *http2_requests, *http2_resets[2], *http2_ended[HTTP2_ENDED_COUNT];
static atomic_int connections, http2_connections;

static int64_t read_connections(void *ctx)
{
	(void)ctx;
	return atomic_load_explicit(&connections, memory_order_relaxed);
}

static int64_t read_http2_connections(void *ctx)
{
	(void)ctx;
	return atomic_load_explicit(&http2_connections, memory_order_relaxed);
}

static struct metric *refusal(const char *reason)
{
	char labels[64];
	(void)snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
	return metric_get(METRIC_COUNTER, "cdpd_http_refused_total", labels,
			  "Requests and connections that net itself refused.");
}

static void make_metrics(void)
{
	static const char *const classes[] = {
	    NULL, "class=\"1xx\"", "class=\"2xx\"", "class=\"3xx\"", "class=\"4xx\"", "class=\"5xx\""};
	static const char *const drops[DROP_COUNT] = {
	    [DROP_CONNECTIONS] = "connections",
	    [DROP_CONNECTIONS_PER_IP] = "connections_per_ip",
	    [DROP_FILES] = "open_files",
	    [DROP_TLS] = "tls_handshake",
	    [DROP_WRITE_TIMEOUT] = "write_timeout",
	};
	for (size_t i = 1; i < COUNT_OF(classes); i++)
		answered[i] = metric_get(METRIC_COUNTER, "cdpd_http_requests_total", classes[i], "Requests answered.");
	for (int i = 0; i < DROP_COUNT; i++) dropped[i] = refusal(drops[i]);
	received = metric_get(METRIC_COUNTER, "cdpd_http_bytes_received_total", NULL, "Bytes read from clients.");
	sent = metric_get(METRIC_COUNTER, "cdpd_http_bytes_sent_total", NULL, "Bytes written to clients.");
	metric_callback(METRIC_GAUGE, "cdpd_http_connections", NULL, "Open connections.", read_connections, NULL);
}

static void make_http2_metrics(void)
{
	static const char *const ends[HTTP2_ENDED_COUNT] = {
	    [HTTP2_ENDED_CONTROL] = "reason=\"control_frames\"",
	    [HTTP2_ENDED_RESETS] = "reason=\"resets\"",
	    [HTTP2_ENDED_ERROR] = "reason=\"protocol_error\"",
	    [HTTP2_ENDED_PING] = "reason=\"ping_timeout\"",
	    [HTTP2_ENDED_AGE] = "reason=\"age\"",
	};
	static const char *const sides[2] = {"by=\"client\"", "by=\"server\""};
	for (size_t i = 0; i < COUNT_OF(ends); i++)
		http2_ended[i] = metric_get(METRIC_COUNTER, "cdpd_http2_ended_total", ends[i],
					    "HTTP/2 connections that the server ended, by reason.");
	for (size_t i = 0; i < COUNT_OF(sides); i++)
		http2_resets[i] = metric_get(METRIC_COUNTER, "cdpd_http2_resets_total", sides[i], "Streams reset.");
	http2_requests = metric_get(METRIC_COUNTER, "cdpd_http2_requests_total", NULL, "Requests over HTTP/2.");
	metric_callback(METRIC_GAUGE, "cdpd_http2_connections", NULL, "Open HTTP/2 connections.",
			read_http2_connections, NULL);
}

void stats_init(void)
{
	static const enum problem refusals[] = {PROBLEM_INVALID_REQUEST,   PROBLEM_INVALID_BODY,
						PROBLEM_TOO_LARGE,         PROBLEM_URI_TOO_LONG,
						PROBLEM_HEADERS_TOO_LARGE, PROBLEM_UNSUPPORTED_ENCODING,
						PROBLEM_REQUEST_TIMEOUT,   PROBLEM_EXPECTATION_FAILED,
						PROBLEM_HTTP2_REQUIRED,    PROBLEM_OVERLOADED,
						PROBLEM_INTERNAL};
	if (sent) return;
	make_metrics();
	make_http2_metrics();
	for (size_t i = 0; i < COUNT_OF(refusals); i++) refused[refusals[i]] = refusal(problem_info(refusals[i])->code);
}

void stats_answered(int http_status)
{
	int class = http_status / 100;
	if (class >= 1 && class <= 5) metric_add(answered[class], 1);
}

void stats_refused(enum problem problem)
{
	if (refused[problem]) metric_add(refused[problem], 1);
}

void stats_dropped(enum stats_drop why)
{
	metric_add(dropped[why], 1);
}

void stats_received(size_t bytes)
{
	metric_add(received, bytes);
}

void stats_sent(size_t bytes)
{
	metric_add(sent, bytes);
}

void stats_connections(int change)
{
	atomic_fetch_add_explicit(&connections, change, memory_order_relaxed);
}

void stats_http2_connections(int change)
{
	atomic_fetch_add_explicit(&http2_connections, change, memory_order_relaxed);
}

void stats_http2_request(void)
{
	metric_add(http2_requests, 1);
}

void stats_reset(bool is_ours)
{
	metric_add(http2_resets[is_ours], 1);
}

void stats_http2_ended(enum http2_end why)
{
	metric_add(http2_ended[why], 1);
}
