// rooms: plugin
/* What the chain of sync enrichers costs an event once its caches are warm: campaign, geo, useragent and bot, each alone and all together, beside an empty
 * chain and beside the parsing of the same event, in one run. Prints one JSON line.
 *
 *	bench_enrich PLUGIN_FOLDER DATABASE.mmdb [EVENTS [NETWORK NETWORK]]
 *
 * The addresses are of two networks of 256, by default those of conf/demo-geo.csv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "plugin/enrich.h"
#include "plugin/plugin.h"

#define SAMPLES 64

static const char *const agents[] = {
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.6261.64 Mobile "
    "Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 "
    "Safari/537.36",
};

struct sample {
	char text[2048];
	size_t len;
	struct json_reader *reader;
	struct json root;
};
static struct sample samples[SAMPLES];

static void make_samples(const char *network, const char *other)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		struct sample *sample = &samples[i];
		const char *why;
		sample->len = (size_t)snprintf(
		    sample->text, sizeof sample->text,
		    "{\"type\":\"track\",\"event\":\"Product Viewed\",\"userId\":\"user-%zu\",\"messageId\":\"m-%zu\","
		    "\"properties\":{\"sku\":\"G-32\",\"name\":\"Board game\",\"price\":27.5},"
		    "\"context\":{\"ip\":\"%s.%zu\",\"userAgent\":\"%s\",\"locale\":\"en-US\",\"page\":{"
		    "\"url\":\"https://shop.example/p/G-32%s\",\"path\":\"/p/G-32\","
		    "\"referrer\":\"https://www.google.com/\",\"title\":\"Board game\"},"
		    "\"library\":{\"name\":\"analytics.js\",\"version\":\"next-1.84.3\"}}}",
		    i, i, i % 2 ? network : other, i, agents[i % 4],
		    i % 8 ? "" : "?utm_source=news&utm_medium=email&utm_campaign=autumn&gclid=Cj0KCQ");
		CHECK(json_reader_new(&sample->reader) == OK);
		CHECK(json_parse(sample->reader, str_of(sample->text, sample->len), &sample->root, &why) == OK);
	}
}

static double cpu_us(void)
{
	struct timespec now;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static struct cdpd_event event_of(size_t i)
{
	(void)i;
	return (struct cdpd_event){.source_id = STR("web"),
				   .message_id = STR("m"),
				   .type = EVENT_TRACK,
				   .event = STR("Product Viewed"),
				   .name = STR_NONE,
				   .category = STR_NONE,
				   .user_id = STR("u"),
				   .anonymous_id = STR_NONE,
				   .previous_id = STR_NONE,
				   .group_id = STR_NONE,
				   .properties = STR_NONE,
				   .traits = STR_NONE,
				   .context = STR_NONE,
				   .extra = STR_NONE,
				   .enrichment = STR_NONE,
				   .ip = STR_NONE,
				   .user_agent = STR_NONE};
}

static size_t enriched; /* bytes, of the last run's last event */

static double run(struct enrich_chain *chain, size_t events)
{
	struct arena arena;
	struct enrich_outcome out;
	arena_init(&arena, 65536, 0);
	double start = cpu_us();
	for (size_t i = 0; i < events; i++) {
		struct cdpd_event event = event_of(i);
		enrich_chain_run(chain, &event, &samples[i % SAMPLES].root, &arena, &out);
		CHECK(!out.is_dropped);
		enriched = event.enrichment.len;
		arena_reset(&arena);
	}
	double us = (cpu_us() - start) / (double)events;
	arena_fini(&arena);
	return us;
}

static double parse(size_t events)
{
	struct json_reader *reader;
	struct json root;
	const char *why;
	CHECK(json_reader_new(&reader) == OK);
	double start = cpu_us();
	for (size_t i = 0; i < events; i++) {
		const struct sample *sample = &samples[i % SAMPLES];
		CHECK(json_parse(reader, str_of(sample->text, sample->len), &root, &why) == OK);
	}
	double us = (cpu_us() - start) / (double)events;
	json_reader_free(reader);
	return us;
}

static const struct config *load(const char *folder, const char *database, const char *which)
{
	const struct config *config;
	char path[] = "/tmp/cdpd-bench-XXXXXX.yaml", *errors = NULL;
	int fd = mkstemps(path, 5);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	CHECK(out);
	fprintf(out, "plugins: {path: %s}\nenrichers:\n", folder);
	if (strchr(which, 'c')) fprintf(out, "  - campaign\n");
	if (strchr(which, 'g')) fprintf(out, "  - {plugin: geo, options: {databases: [%s]}}\n", database);
	if (strchr(which, 'u')) fprintf(out, "  - useragent\n");
	if (strchr(which, 'b')) fprintf(out, "  - {plugin: bot, options: {datacentre: true, rate: 1000000}}\n");
	if (!*which) fprintf(out, "  []\n");
	fclose(out);
	int rc = config_load(path, NULL, 0, &config, &errors);
	remove(path);
	if (rc != OK) fprintf(stderr, "%s\n", errors);
	CHECK(rc == OK);
	return config;
}

/* The best of five: the machine may do other things too. */
static double measure(const char *folder, const char *database, const char *which, size_t events)
{
	struct enrich_chain *chain;
	const struct config *config = load(folder, database, which);
	CHECK(enrich_chain_new(config, &chain) == OK);
	double best = 1e9;
	for (int i = 0; i < 5; i++) {
		double us = run(chain, events / 5);
		if (us < best) best = us;
	}
	enrich_chain_free(chain);
	config_unref(config);
	return best;
}

int main(int argc, char **argv)
{
	static const char *const chains[] = {"", "c", "g", "u", "b", "cgub"}, *const names[] = {"none", "campaign",
												"geo",  "useragent",
												"bot",  "all"};
	if (argc < 3) return 2;
	size_t events = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 500000;
	make_samples(argc > 5 ? argv[4] : "192.0.2", argc > 5 ? argv[5] : "198.51.100");
	printf("{\"parse_us\":%.3f", parse(events / 5));
	for (size_t i = 0; i < COUNT_OF(chains); i++)
		printf(",\"%s_us\":%.3f", names[i], measure(argv[1], argv[2], chains[i], events));
	printf(",\"bytes\":%zu}\n", enriched);
	return 0;
}
