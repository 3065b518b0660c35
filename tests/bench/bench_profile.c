// rooms: profile
/* bench_profile: events folded into people per second by the profile room alone (no journal, no dedup), LMDB commits included.
 *
 *   bench_profile [--profiles N] [--seconds S] [--pages CAP] [--fragments N] [--dir DIR] [--gets N]
 *
 * Loads N profiles, then applies random events of about 600 bytes in transactions capped by dirty pages, then reads
 * random profiles. The last line printed is JSON. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "profile/people.h"

#define OUT_OF_MEMORY 3

static const char definitions[] =
    "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":["
    "{\"event\":\"\",\"field\":\"\",\"name\":\"events\",\"state_version\":1,\"type\":\"count\"},"
    "{\"event\":\"page\",\"field\":\"context.page.path\",\"name\":\"last_page\",\"state_version\":1,\"type\":\"last\"},"
    "{\"event\":\"Order Completed\",\"field\":\"\",\"name\":\"orders\",\"state_version\":1,\"type\":\"count\"},"
    "{\"event\":\"Order "
    "Completed\",\"field\":\"properties.total\",\"name\":\"revenue\",\"state_version\":1,\"type\":\"sum\"}],"
    "\"identity\":{\"blocked\":[\"0\",\"guest\",\"null\",\"undefined\"],\"max_fragments\":50,\"namespaces\":["
    "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
    "{\"from\":\"traits.email\",\"is_known\":true,\"max_per_profile\":5,\"name\":\"email\"},"
    "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":30,\"name\":\"anonymous_id\"}]}}";

static const char context[] =
    "{\"library\":{\"name\":\"analytics.js\",\"version\":\"next-1.70.0\"},\"locale\":\"en-GB\",\"page\":{\"path\":\"/"
    "shoes/runner-42\","
    "\"referrer\":\"https://www.example.org/search?q=shoes\",\"search\":\"\",\"title\":\"Runner 42\",\"url\":"
    "\"https://shop.example.com/shoes/runner-42\"},\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0\"}";

struct bench {
	struct people *people;
	uint64_t profiles, seq;
	size_t page_cap, fragments;
	double seconds;
	uint64_t random, gets;
	uint64_t transactions;
	double cpu_apply;
	uint64_t device; /* of the next event: which of the person's anonymous ids */
};

static uint64_t next(struct bench *bench)
{
	bench->random ^= bench->random << 13;
	bench->random ^= bench->random >> 7;
	bench->random ^= bench->random << 17;
	return bench->random;
}

static void must(int rc, const char *what)
{
	if (rc == OK) return;
	fprintf(stderr, "bench_profile: %s failed (%s)\n", what, status_str(rc));
	exit(1);
}

static double now_s(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void apply(struct bench *bench, const struct cdpd_event *event)
{
	struct apply_result result;
	must(people_apply(bench->people, event, bench->seq, event->received_at_us, &result), "apply");
	struct outcome outcome = {
	    .verdict = result.verdict, .reason = result.reason, .previous_seq = result.previous_seq};
	memcpy(outcome.fragment, result.fragment.bytes, sizeof outcome.fragment);
	must(people_put_outcome(bench->people, bench->seq, &outcome), "outcome");
	bench->seq++;
}

static void commit(struct bench *bench)
{
	must(people_commit(bench->people, bench->seq, (int64_t)bench->seq), "commit");
	bench->transactions++;
}

struct texts {
	char user[32], anonymous[48], message[48], properties[256], traits[256];
};

static struct str put(char *out, size_t size, const char *fmt, uint64_t a, uint64_t b)
{
	int len = snprintf(out, size, fmt, a, b);
	return (struct str){out, (size_t)len};
}

static struct cdpd_event make_event(struct bench *bench, struct texts *texts, uint64_t user, enum event_type type)
{
	struct cdpd_event event = {.source_id = STR("web"),
				   .type = type,
				   .event = STR_NONE,
				   .name = STR_NONE,
				   .category = STR_NONE,
				   .anonymous_id = STR_NONE,
				   .previous_id = STR_NONE,
				   .group_id = STR_NONE,
				   .properties = STR_NONE,
				   .traits = STR_NONE,
				   .extra = STR_NONE,
				   .enrichment = STR_NONE,
				   .ip = STR_NONE,
				   .user_agent = STR_NONE,
				   .context = {context, sizeof context - 1},
				   .event_time_us = INT64_C(1700000000000000) + (int64_t)bench->seq,
				   .received_at_us = INT64_C(1700000000000000) + (int64_t)bench->seq,
				   .utc_offset_min = 180};
	event.user_id = put(texts->user, sizeof texts->user, "user-%" PRIu64, user, 0);
	if (bench->fragments > 1)
		event.anonymous_id =
		    put(texts->anonymous, sizeof texts->anonymous, "6f1c8a2e-0000-4000-8000-%010" PRIx64 "%02" PRIx64,
			user, bench->device % (bench->fragments - 1));
	event.message_id =
	    put(texts->message, sizeof texts->message, "ajs-next-%016" PRIx64 "-%08" PRIx64, next(bench), bench->seq);
	return event;
}

static struct cdpd_event random_event(struct bench *bench, struct texts *texts)
{
	uint64_t dice = next(bench) % 10;
	bench->device = next(bench);
	struct cdpd_event event =
	    make_event(bench, texts, next(bench) % bench->profiles, dice < 2 ? EVENT_PAGE : EVENT_TRACK);
	if (event.type == EVENT_TRACK) event.event = dice < 5 ? STR("Order Completed") : STR("Product Viewed");
	event.properties =
	    put(texts->properties, sizeof texts->properties,
		"{\"product_id\":\"507f1f77bcf86cd799439011\",\"sku\":\"45790-32\",\"name\":\"Runner "
		"42\",\"brand\":\"Example\","
		"\"variant\":\"red\",\"currency\":\"EUR\",\"total\":%" PRIu64 ".%02" PRIu64 ",\"quantity\":1}",
		next(bench) % 500, next(bench) % 100);
	return event;
}

static void load(struct bench *bench)
{
	struct texts texts;
	uint64_t devices = bench->fragments > 1 ? bench->fragments - 1 : 1;
	double start = now_s(CLOCK_MONOTONIC);
	bench->device = 0;
	for (uint64_t user = 0; user < bench->profiles;) {
		must(people_begin(bench->people), "begin");
		for (; user < bench->profiles && people_pages(bench->people) < 60000;
		     user += ++bench->device >= devices) {
			if (bench->device >= devices) bench->device = 0;
			struct cdpd_event event = make_event(bench, &texts, user, EVENT_IDENTIFY);
			event.traits = put(texts.traits, sizeof texts.traits,
					   "{\"plan\":\"plan-%" PRIu64 "\",\"country\":\"DE\",\"age\":%" PRIu64 "}",
					   user % 7, 18 + user % 60);
			apply(bench, &event);
		}
		commit(bench);
	}
	fprintf(stderr, "%" PRIu64 " profiles loaded in %.1f s\n", bench->profiles, now_s(CLOCK_MONOTONIC) - start);
}

static uint64_t fold(struct bench *bench)
{
	struct texts texts;
	uint64_t count = 0;
	double start = now_s(CLOCK_MONOTONIC), cpu = now_s(CLOCK_THREAD_CPUTIME_ID);
	bench->transactions = 0;
	do {
		must(people_begin(bench->people), "begin");
		double from = now_s(CLOCK_THREAD_CPUTIME_ID);
		for (; people_pages(bench->people) < bench->page_cap; count++) {
			struct cdpd_event event = random_event(bench, &texts);
			apply(bench, &event);
		}
		bench->cpu_apply += now_s(CLOCK_THREAD_CPUTIME_ID) - from;
		must(people_trim(bench->people, bench->seq > 2000000 ? bench->seq - 2000000 : 0, INT64_MIN, 20000),
		     "trim");
		commit(bench);
	} while (now_s(CLOCK_MONOTONIC) - start < bench->seconds);
	double took = now_s(CLOCK_MONOTONIC) - start;
	printf("{\"profiles\":%" PRIu64 ",\"fragments\":%zu,\"events\":%" PRIu64
	       ",\"seconds\":%.1f,\"events_per_second\":%.0f,"
	       "\"cpu_us_per_event\":%.2f,\"apply_cpu_us\":%.2f,\"events_per_transaction\":%.0f",
	       bench->profiles, bench->fragments, count, took, (double)count / took,
	       (now_s(CLOCK_THREAD_CPUTIME_ID) - cpu) * 1e6 / (double)count, bench->cpu_apply * 1e6 / (double)count,
	       (double)count / (double)bench->transactions);
	return count;
}

static int order_times(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void get(struct bench *bench)
{
	double *took = calloc(bench->gets + 1, sizeof *took);
	if (!took) must(ERR_NOMEM, "times");
	struct people_reader *reader;
	struct arena arena;
	uint64_t applied;
	char ref[48];
	arena_init(&arena, 65536, 0);
	must(people_reader_new(bench->people, &reader), "reader");
	double start = now_s(CLOCK_MONOTONIC);
	for (uint64_t i = 0; i < bench->gets; i++) {
		struct profile profile;
		struct str text = put(ref, sizeof ref, "user_id:user-%" PRIu64, next(bench) % bench->profiles, 0);
		double begun = now_s(CLOCK_MONOTONIC);
		must(people_read_begin(reader, &applied), "read begin");
		must(people_get(reader, text, PROFILE_ALL, 0, &arena, &profile), "get");
		people_read_end(reader);
		arena_reset(&arena);
		took[i] = now_s(CLOCK_MONOTONIC) - begun;
	}
	double each = (now_s(CLOCK_MONOTONIC) - start) * 1e6 / (double)bench->gets;
	qsort(took, bench->gets, sizeof *took, order_times);
	printf(",\"us_per_get\":%.2f,\"get_p99_us\":%.2f}\n", each, took[bench->gets * 99 / 100] * 1e6);
	free(took);
	people_reader_free(reader);
	arena_fini(&arena);
}

static void run(struct bench *bench, const char *dir)
{
	must(people_open(dir, &bench->people), "open");
	must(people_begin(bench->people), "begin");
	must(people_define(bench->people, str_from(definitions), bench->seq++), "define");
	commit(bench);
	load(bench);
	fold(bench);
	get(bench);
	people_close(bench->people);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"profiles", 1, NULL, 'p'},  {"seconds", 1, NULL, 's'}, {"pages", 1, NULL, 'c'}, {"dir", 1, NULL, 'd'},
	    {"fragments", 1, NULL, 'f'}, {"gets", 1, NULL, 'g'},    {NULL, 0, NULL, 0}};
	struct bench bench = {.profiles = 100000,
			      .seq = 1,
			      .page_cap = 12000,
			      .fragments = 1,
			      .seconds = 5,
			      .random = 88172645463325252,
			      .gets = 200000};
	char temporary[] = "/tmp/bench-profile-XXXXXX", env[4096];
	const char *dir = NULL;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'p': bench.profiles = strtoull(optarg, NULL, 10); break;
		case 's': bench.seconds = strtod(optarg, NULL); break;
		case 'c': bench.page_cap = strtoull(optarg, NULL, 10); break;
		case 'f': bench.fragments = strtoull(optarg, NULL, 10); break;
		case 'g': bench.gets = strtoull(optarg, NULL, 10); break;
		case 'd': dir = optarg; break;
		default: return 2;
		}
	}
	if (bench.profiles == 0) return 2;
	if (!dir) dir = mkdtemp(temporary);
	if (!dir) return OUT_OF_MEMORY;
	run(&bench, dir);
	if (dir == temporary) {
		snprintf(env, sizeof env, "%s/profiles", dir);
		must(store_remove_env(env), "remove");
		rmdir(dir);
	}
	return 0;
}
