// rooms: ingest
/* What ingest itself costs: credentials, JSON, validation, hash and record of each event, on one thread. The journal is stood in for by one
 * that settles at once, so nothing is written. Prints µs of processor time per event. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ingest/internal.h"

static struct str keys[] = {{"bench-key", 9}};
static struct conf_source source = {.id = {"web", 3},
				    .kind = SOURCE_BROWSER,
				    .write_keys = keys,
				    .write_key_count = 1,
				    .utc_offset_min = UTC_OFFSET_UNKNOWN};
static struct config config = {.limits = {.body_bytes = 5 << 20, .event_bytes = 64 << 10, .batch_events = 2500},
			       .sources = &source,
			       .source_count = 1};

const struct config *config_ref(const struct config *c)
{
	return c;
}

void config_unref(const struct config *c)
{
	(void)c;
}

const struct conf_source *config_source_by_key(const struct config *c, struct str key)
{
	return str_eq(key, keys[0]) ? c->sources : NULL;
}

void enrich_chain_run(struct enrich_chain *enrichers, struct cdpd_event *event, const struct json *root,
		      struct arena *arena, struct enrich_outcome *out)
{
	(void)enrichers, (void)event, (void)root, (void)arena, (void)out;
}

void enrich_chain_free(struct enrich_chain *enrichers)
{
	(void)enrichers;
}

static struct journal_append *queued;
static uint64_t records, record_bytes;

int journal_submit(struct journal *journal, struct journal_append *append)
{
	(void)journal;
	queued = append;
	records += append->entry_count;
	for (size_t i = 0; i < append->entry_count; i++) record_bytes += append->entries[i].payload.len;
	return OK;
}

uint64_t journal_epoch(const struct journal *journal)
{
	(void)journal;
	return 1;
}

static void on_done(void *ctx, const struct ingest_result *result)
{
	(void)ctx;
	CHECK(result->problem == PROBLEM_NONE && result->rejection_count == 0);
}

static size_t write_event(char *out, size_t i)
{
	return (size_t)sprintf(
	    out,
	    "{\"timestamp\":\"2026-11-21T20:49:59.801Z\",\"integrations\":{},\"event\":\"Order "
	    "Completed\",\"type\":\"track\","
	    "\"properties\":{\"order_id\":\"ord-%zu\",\"total\":27.5,\"currency\":\"RUB\",\"products\":[{\"product_"
	    "id\":\"p-1\",\"sku\":\"G-32\","
	    "\"price\":19,\"quantity\":1}]},\"context\":{\"page\":{\"path\":\"/cart\",\"url\":\"https://shop.example/"
	    "cart?utm_source=news\"},"
	    "\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\",\"locale\":\"ru-RU\","
	    "\"library\":{\"name\":\"analytics.js\",\"version\":\"next-1.84.3\"}},\"userId\":\"user-%zu\","
	    "\"messageId\":\"ajs-next-1795294578369-f763f32c-%08zu\",\"_metadata\":{\"bundled\":[\"Segment.io\"]}}",
	    i, i % 1000000, i);
}

static double cpu_us(void)
{
	struct timespec now;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void run(struct ingest_worker *worker, size_t per_request, size_t events)
{
	static char body[1 << 20];
	size_t n = 0;
	if (per_request > 1) n += (size_t)sprintf(body, "{\"batch\":[");
	for (size_t i = 0; i < per_request; i++) {
		if (i) body[n++] = ',';
		n += write_event(body + n, i);
	}
	if (per_request > 1) n += (size_t)sprintf(body + n, "],\"sentAt\":\"2026-11-21T20:50:00Z\"}");
	const struct ingest_request request = {
	    .dialect = per_request > 1 ? DIALECT_SEGMENT_BATCH : DIALECT_SEGMENT_ONE,
	    .authorization = STR("Basic YmVuY2gta2V5Og=="),
	    .write_key_header = STR_NONE,
	    .write_key_query = STR_NONE,
	    .origin = STR_NONE,
	    .client_ip = STR("203.0.113.7"),
	    .user_agent = STR("bench"),
	    .body = str_of(body, n),
	    .received_at_us = INT64_C(1795294200000000),
	};
	records = record_bytes = 0;
	double start = cpu_us();
	for (size_t done = 0; done < events; done += per_request) {
		CHECK(ingest_submit(worker, &request, on_done, NULL));
		queued->status = OK;
		queued->settled.run(&queued->settled);
	}
	double us = (cpu_us() - start) / (double)records;
	printf("ingest, %4zu events of %zu bytes a request: %.2f us/event, %.0f k events/s, records of %.0f bytes\n",
	       per_request, n / per_request, us, 1e3 / us, (double)record_bytes / (double)records);
}

int main(int argc, char **argv)
{
	size_t events = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 300000;
	struct ingest *ingest;
	struct ingest_worker *worker;
	CHECK(ingest_new(NULL, &config, &ingest) == OK);
	CHECK(ingest_worker_new(ingest, NULL, NULL, &worker) == OK);
	run(worker, 1, events);
	run(worker, 10, events);
	run(worker, 100, events);
	run(worker, 1000, events);
	ingest_worker_free(worker);
	ingest_free(ingest);
	return 0;
}
