// rooms: plugin
/* What the webhook destination costs a record: batches go through the host's own handover, the plugin and the host's HTTP client to an endpoint on
 * loopback. Beside it, in turns and in the same run, a plain libcurl handle posts bodies of the same bytes. Prints one JSON line.
 *
 *	bench_webhook PLUGINS URL RECORDS_A_REQUEST [CONCURRENCY [SECONDS]]
 *
 * Signed with one key. Seconds are of the wall clock, for both sides together. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin/handover.h"
#include "plugin/http.h"
#include "plugin/internal.h"

#define PEOPLE     10000
#define ROUNDS_MAX 20000
#define BODY_SIZE  700
#define BATCH      500 /* as a destination hands over at once, unless it is told otherwise */

static char people[PEOPLE][40], bodies[BATCH][BODY_SIZE];
static size_t body_lens[BATCH];
static size_t a_request;
static uint64_t next_number;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_webhook: %s: %s\n", what, why);
	exit(1);
}

static void make_bodies(void)
{
	for (size_t i = 0; i < PEOPLE; i++) snprintf(people[i], sizeof people[i], "%032zx", i * 7919);
	for (size_t i = 0; i < BATCH; i++)
		body_lens[i] = (size_t)snprintf(
		    bodies[i], BODY_SIZE,
		    "{\"type\":\"track\",\"messageId\":\"0b9c3f52-%08zx-4f1f-9f53-2f5b1a3c0d11\",\"userId\":\"user-%"
		    "zu\","
		    "\"anonymousId\":\"3f0a6f0e-22c4-4d59-a5c4-%012zx\",\"event\":\"Order Completed\","
		    "\"timestamp\":\"2026-11-22T08:15:30.123456Z\",\"sourceId\":\"web\",\"properties\":{\"order_id\":"
		    "\"o-%zu\",\"total\":%zu.25,\"currency\":\"EUR\",\"products\":[{\"sku\":\"A-1\",\"quantity\":2},{"
		    "\"sku\":\"B-7\",\"quantity\":1}]},\"context\":{\"locale\":\"de-DE\",\"page\":{\"url\":"
		    "\"https://shop.example.org/checkout/thanks?id=%zu\"},\"campaign\":{\"name\":\"autumn\"}}}",
		    i, i % PEOPLE, i, i, i % 1000, i);
}

/* ── ours ────────────────────────────────────────────────────────────────── */

static struct arena arena;
static struct http_guard guard;
static struct http_client *http;
static struct cdpd_instance *instance;

static struct node scalar(const char *key, const char *text)
{
	return (struct node){.kind = NODE_SCALAR, .line = 1, .key = str_from(key), .text = str_from(text)};
}

static void make_instance(const char *folder, const char *url, const char *records, const char *concurrency)
{
	struct str bad, error, allowed[] = {STR("127.0.0.1")};
	bool is_batch = strcmp(records, "1") != 0;
	struct node options[] = {scalar("url", url), scalar("mode", is_batch ? "batch" : "single"),
				 scalar("max_records", records), scalar("concurrency", concurrency),
				 scalar("signing_secret", "env:BENCH_SECRET")};
	for (size_t i = 0; i + 1 < COUNT_OF(options); i++) options[i].next = &options[i + 1];
	struct node map = {.kind = NODE_MAP, .line = 1, .children = options, .child_count = COUNT_OF(options)};
	const struct conf_instance conf = {.name = STR("bench"), .plugin = STR("webhook"), .options = &map};
	const struct plugin *plugin;
	struct plugin_conf *checked;
	(void)setenv("BENCH_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1);
	arena_init(&arena, 65536, 0);
	CHECK(http_guard_make(&arena, allowed, 1, &guard, &bad) == OK);
	const struct http_limits limits = {.guard = &guard, .connections = 64, .name = STR("bench")};
	CHECK(http_client_new(&limits, &http) == OK);
	if (plugin_load(&arena, str_from(folder), STR("webhook"), &plugin, &error) ||
	    plugin_conf_check(&arena, plugin, &conf, STR("bench"), &checked, &error))
		die("webhook.so", error.ptr);
	const struct instance_services services = {.http = http};
	if (instance_new_with(plugin, STR("bench"), checked, &services, &instance)) die("webhook.so", "not created");
}

static size_t send_by_plugin(void)
{
	static const _Atomic(bool) never;
	struct handover *h;
	size_t count = 0, bytes = 0;
	CHECK(handover_new(BATCH, &h) == OK);
	for (; count < BATCH && bytes < 1000000; count++) { /* as the destination does: about 1 MB */
		uint64_t n = next_number++;
		struct str json, id;
		struct arena *own = handover_arena(h);
		CHECK(arena_str(own, str_of(bodies[count], body_lens[count]), &json) == OK);
		CHECK(arena_printf(own, &id, "AtQ%024llx", (unsigned long long)n) == OK);
		const struct export_record record = {.position = id,
						     .delivery_id = id,
						     .message_id = id,
						     .profile_id = str_of(people[n % PEOPLE], 32),
						     .json = json,
						     .attempt = 1};
		CHECK(handover_add(h, &record) == OK);
		bytes += json.len;
	}
	if (handover_run(h, instance, 30 * US_PER_SECOND, &never) != OK) die("handover", "no answer");
	for (size_t i = 0; i < count; i++)
		if (handover_verdict(h, i).verdict != CDPD_ACK) die("not taken", handover_verdict(h, i).reason.ptr);
	handover_unref(h);
	return count;
}

/* ── theirs ──────────────────────────────────────────────────────────────── */

static CURL *curl;
static char *plain;

static size_t ignore(char *bytes, size_t size, size_t count, void *ctx)
{
	(void)bytes, (void)ctx;
	return size * count;
}

static void open_curl(const char *url)
{
	static struct curl_slist *headers;
	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	curl = curl_easy_init();
	headers = curl_slist_append(curl_slist_append(NULL, "content-type: application/json"), "Expect:");
	plain = malloc((size_t)BATCH * BODY_SIZE);
	CHECK(curl && headers && plain);
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
	(void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
}

static size_t send_by_curl(void)
{
	for (size_t at = 0; at < BATCH;) {
		size_t len = 0;
		long status = 0;
		for (size_t i = 0; i < a_request && at < BATCH; i++, at++) {
			memcpy(plain + len, bodies[at], body_lens[at]);
			len += body_lens[at];
			plain[len++] = ',';
		}
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, plain);
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		if (curl_easy_perform(curl) != CURLE_OK) die("curl", "failed");
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		if (status / 100 != 2) die("curl", "not taken");
	}
	return BATCH;
}

/* ── time ────────────────────────────────────────────────────────────────── */

struct cost {
	double wall, cpu; /* seconds a record, of each round */
};
static struct cost ours[ROUNDS_MAX], theirs[ROUNDS_MAX];

static double now(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct cost measure(size_t (*send)(void))
{
	double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	double count = (double)send();
	return (struct cost){(now(CLOCK_MONOTONIC) - wall) / count, (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / count};
}

static int by_wall(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;
	return (x->wall > y->wall) - (x->wall < y->wall);
}

static int by_cpu(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;
	return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

static struct cost median(struct cost *costs, size_t count)
{
	struct cost middle;
	qsort(costs, count, sizeof costs[0], by_wall);
	middle.wall = costs[count / 2].wall;
	qsort(costs, count, sizeof costs[0], by_cpu);
	middle.cpu = costs[count / 2].cpu;
	return middle;
}

int main(int argc, char **argv)
{
	if (argc < 4) die("usage", "bench_webhook PLUGINS URL RECORDS_A_REQUEST [CONCURRENCY [SECONDS]]");
	a_request = strtoul(argv[3], NULL, 10);
	if (a_request == 0 || a_request > BATCH) die("RECORDS_A_REQUEST", "1 to 500");
	double seconds = argc > 5 ? strtod(argv[5], NULL) : 10;
	size_t rounds = 0;
	make_bodies();
	open_curl(argv[2]);
	make_instance(argv[1], argv[2], argv[3], argc > 4 ? argv[4] : "1");
	(void)measure(send_by_curl); /* connections, first pages */
	(void)measure(send_by_plugin);
	for (double end = now(CLOCK_MONOTONIC) + seconds; now(CLOCK_MONOTONIC) < end && rounds < ROUNDS_MAX; rounds++) {
		theirs[rounds] = measure(send_by_curl);
		ours[rounds] = measure(send_by_plugin);
	}
	http_client_cancel(http);
	instance_free(instance);
	http_client_free(http);
	arena_fini(&arena);
	struct cost us = median(ours, rounds), them = median(theirs, rounds);
	printf("{\"a_request\":%zu,\"rounds\":%zu,\"records_per_s\":%.0f,\"plain_per_s\":%.0f,\"cpu_us\":%.3f,\"plain_"
	       "cpu_us\":%.3f}\n",
	       a_request, rounds, 1 / us.wall, 1 / them.wall, us.cpu * 1e6, them.cpu * 1e6);
	return 0;
}
