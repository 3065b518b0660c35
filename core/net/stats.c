#include "net/stats.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/metric.h"

static struct metric *answered[6], *refused[PROBLEM_COUNT], *dropped[DROP_COUNT], *received, *sent;
static atomic_int connections;

static int64_t read_connections(void *ctx)
{
	(void)ctx;
	return atomic_load_explicit(&connections, memory_order_relaxed);
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

void stats_init(void)
{
	static const enum problem refusals[] = {PROBLEM_INVALID_REQUEST,   PROBLEM_INVALID_BODY,
						PROBLEM_TOO_LARGE,         PROBLEM_URI_TOO_LONG,
						PROBLEM_HEADERS_TOO_LARGE, PROBLEM_UNSUPPORTED_ENCODING,
						PROBLEM_REQUEST_TIMEOUT,   PROBLEM_EXPECTATION_FAILED,
						PROBLEM_OVERLOADED,        PROBLEM_INTERNAL};
	if (sent) return;
	make_metrics();
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
