// rooms: fold deliver
/* bench_deliver: records that destinations take per second, and what they cost the fold. The journal is filled beforehand.
 *
 *   bench_deliver --dir DIR --plugins DIR --plugin NAME [--option KEY=VALUE] [--destinations N] [--events N] [--users N] [--batch N]
 *                 [--concurrency N] [--during]
 *
 * Without --during everything is folded first and then delivered; with it both run at once. The last line printed is JSON. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/internal.h"
#include "fold/fold.h"

#define REQUEST_RECORDS  10000
#define DESTINATIONS_MAX 64

struct bench {
	const char *dir, *plugins, *plugin, *key, *value;
	uint64_t events, users, destinations, batch, concurrency;
	bool is_during;
	char path[4096];
	struct config config;
	struct conf_instance instances[DESTINATIONS_MAX];
	struct node options[DESTINATIONS_MAX], nodes[DESTINATIONS_MAX];
	struct arena arena;
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct deliver *deliver;
	_Atomic int64_t applied_at;
};

#define MUST(call) \
	do { \
		int must_rc = (call); \
		if (must_rc) { \
			(void)fprintf(stderr, "bench_deliver: %s: %s\n", #call, status_str(must_rc)); \
			exit(1); \
		} \
	} while (0)

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

static double cpu_s(void)
{
	struct rusage usage;
	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ── preparing ───────────────────────────────────────────────────────────── */

static struct conf_namespace namespaces[] = {
    {.name = {"user_id", 7},
     .from = (struct str[]){{"userId", 6}},
     .from_count = 1,
     .max_per_profile = 1,
     .is_known = true},
};

static void configure_destination(struct bench *bench, size_t i)
{
	struct conf_instance *conf = &bench->instances[i];
	*conf = (struct conf_instance){.plugin = str_from(bench->plugin), .line = 1};
	conf->flow.batch_records = (uint32_t)bench->batch;
	conf->flow.concurrency = (uint32_t)bench->concurrency;
	MUST(arena_printf(&bench->arena, &conf->name, "d%zu", i));
	if (!bench->key) return;
	struct str value;
	MUST(arena_printf(&bench->arena, &value, bench->value, (int)i)); /* "%d" in it: the destination's number */
	bench->nodes[i] = (struct node){.kind = NODE_SCALAR, .key = str_from(bench->key), .text = value};
	bench->options[i] = (struct node){.kind = NODE_MAP, .children = &bench->nodes[i], .child_count = 1};
	conf->options = &bench->options[i];
}

static void configure(struct bench *bench)
{
	bench->config = (struct config){
	    .file = STR("bench.yaml"),
	    .store_path = str_from(bench->path),
	    .plugin_path = str_from(bench->plugins),
	    .journal = {.segment_bytes = UINT64_C(1) << 30,
			.segment_age_us = US_PER_DAY,
			.queue_bytes = (size_t)256 << 20,
			.rejects_bytes = 1 << 20,
			.clock_jump_us = 3600 * US_PER_SECOND},
	    .dedup_window_us = 7 * US_PER_DAY,
	    .dedup_max_ids = 20000000,
	    .namespaces = namespaces,
	    .namespace_count = COUNT_OF(namespaces),
	    .max_fragments = 50,
	    .changes_retention_us = 7 * US_PER_DAY,
	    .destinations = bench->instances,
	    .destination_count = bench->destinations,
	};
	for (size_t i = 0; i < bench->destinations; i++) configure_destination(bench, i);
}

/* About 600 bytes as a record. */
static struct cdpd_event order(struct bench *bench, struct arena *arena, uint64_t id, int64_t now)
{
	struct cdpd_event event = {.source_id = STR("web"),
				   .canonical_hash = id * UINT64_C(0x9e3779b97f4a7c15),
				   .type = EVENT_TRACK,
				   .event = STR("Order Completed"),
				   .event_time_us = now,
				   .client_time_us = now,
				   .sent_at_us = now,
				   .received_at_us = now,
				   .utc_offset_min = 180,
				   .ip = STR("203.0.113.17")};
	uint64_t mixed = id * UINT64_C(0x9e3779b97f4a7c15);
	MUST(arena_printf(arena, &event.user_id, "u%09" PRIu64, (mixed >> 20) % bench->users));
	MUST(arena_printf(arena, &event.message_id, "ajs-next-%016" PRIx64, mixed));
	MUST(arena_printf(arena, &event.properties,
			  "{\"orderId\":\"o-%" PRIu64
			  "\",\"total\":%u.50,\"currency\":\"RUB\",\"coupon\":\"autumn\",\"products\":"
			  "[{\"sku\":\"tea-green-100\",\"price\":349.5,\"quantity\":2},{\"sku\":\"cup-2\",\"price\":"
			  "120,\"quantity\":1}]}",
			  id, (unsigned)(mixed % 5000)));
	event.context = STR("{\"page\":{\"path\":\"/checkout\",\"url\":\"https://shop.example.com/checkout\"},"
			    "\"locale\":\"ru-RU\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
			    "(KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36\",\"timezone\":\"Europe/Moscow\"}");
	return event;
}

static void on_settled(struct loop_task *task)
{
	struct journal_append *append =
	    (struct journal_append *)((char *)task - offsetof(struct journal_append, settled));
	loop_stop(append->loop);
}

static void fill(struct bench *bench)
{
	static struct journal_entry entries[REQUEST_RECORDS];
	struct arena arena;
	int64_t now = clock_wall_us();
	arena_init(&arena, (size_t)1 << 20, 0);
	for (uint64_t id = 0; id < bench->events;) {
		struct journal_append append = {.entries = entries};
		for (; append.entry_count < REQUEST_RECORDS && id < bench->events; id++) {
			struct journal_entry *entry = &entries[append.entry_count++];
			struct cdpd_event event = order(bench, &arena, id, now);
			entry->kind = RECORD_EVENT;
			MUST(event_encode(&event, &arena, &entry->payload));
		}
		append.settled.run = on_settled;
		MUST(loop_new(&append.loop));
		MUST(journal_submit(bench->journal, &append));
		loop_run(append.loop);
		loop_free(append.loop);
		MUST(append.status);
		arena_reset(&arena);
	}
	arena_fini(&arena);
}

/* ── measuring ───────────────────────────────────────────────────────────── */

static void on_commit(void *ctx, uint64_t applied, uint64_t last_change)
{
	struct bench *bench = ctx;
	(void)applied, (void)last_change;
	atomic_store(&bench->applied_at, clock_mono_us());
	if (bench->deliver) deliver_wake(bench->deliver);
}

static void on_fatal(void *ctx, int status)
{
	(void)ctx;
	(void)fprintf(stderr, "bench_deliver: the fold stopped (%s)\n", status_str(status));
	exit(1);
}

static double fold_all(struct bench *bench)
{
	struct fold_status status;
	int64_t begun = clock_mono_us();
	MUST(fold_start(bench->fold));
	do {
		pause_ms(2);
		fold_status(bench->fold, &status);
	} while (status.pending);
	return (double)bench->events * 1e6 / (double)(atomic_load(&bench->applied_at) - begun);
}

static bool has_lag(struct bench *bench)
{
	struct arena arena;
	struct destination_status *rows;
	size_t count;
	uint64_t lag = 0;
	arena_init(&arena, 4096, 0);
	MUST(deliver_status(bench->deliver, &arena, &rows, &count));
	for (size_t i = 0; i < count; i++) lag += rows[i].lag;
	arena_fini(&arena);
	return lag > 0;
}

static void start_deliver(struct bench *bench)
{
	MUST(deliver_new(bench->journal, bench->people, &bench->config, &bench->deliver));
	MUST(deliver_start(bench->deliver));
}

static void run(struct bench *bench)
{
	double fold_rate = 0;
	bool is_down = bench->value && strcmp(bench->value, "down") == 0;
	const struct fold_options options = {
	    .config = &bench->config, .on_commit = on_commit, .on_fatal = on_fatal, .ctx = bench};
	MUST(fold_new(bench->journal, bench->people, &options, &bench->fold)); /* its definitions come first */
	fill(bench);
	if (bench->is_during && bench->destinations) start_deliver(bench);
	double cpu = cpu_s();
	int64_t begun = clock_mono_us();
	fold_rate = fold_all(bench);
	double fold_cpu = cpu_s() - cpu;
	if (!bench->is_during) {
		cpu = cpu_s();
		begun = clock_mono_us();
		start_deliver(bench);
	}
	while (bench->deliver && !is_down && has_lag(bench)) pause_ms(1);
	double seconds = (double)(clock_mono_us() - begun) / 1e6;
	cpu = cpu_s() - cpu;
	(void)printf("{\"fold_events_per_s\":%.0f,\"fold_cpu_us_per_event\":%.2f,\"records_per_s\":%.0f,"
		     "\"cpu_us_per_record\":%.2f}\n",
		     fold_rate, fold_cpu * 1e6 / (double)bench->events, (double)bench->events / seconds,
		     cpu * 1e6 / (double)(bench->events * (bench->destinations ? bench->destinations : 1)));
}

static uint64_t number(const char *text)
{
	uint64_t value;
	MUST(str_to_u64(str_from(text), &value));
	return value;
}

static void read_option(struct bench *bench, char **argv, int *i)
{
	const char *name = argv[*i], *value = argv[*i + 1];
	if (strcmp(name, "--during") == 0) {
		bench->is_during = true;
		return;
	}
	++*i;
	if (!value) exit(2);
	if (strcmp(name, "--dir") == 0) bench->dir = value;
	if (strcmp(name, "--plugins") == 0) bench->plugins = value;
	if (strcmp(name, "--plugin") == 0) bench->plugin = value;
	if (strcmp(name, "--events") == 0) bench->events = number(value);
	if (strcmp(name, "--users") == 0) bench->users = number(value);
	if (strcmp(name, "--batch") == 0) bench->batch = number(value);
	if (strcmp(name, "--concurrency") == 0) bench->concurrency = number(value);
	if (strcmp(name, "--destinations") == 0) bench->destinations = number(value);
	if (strcmp(name, "--option") == 0) {
		char *equals = strchr(argv[*i], '=');
		if (!equals) exit(2);
		*equals = '\0';
		bench->key = argv[*i];
		bench->value = equals + 1;
	}
}

int main(int argc, char **argv)
{
	static struct bench bench = {.plugin = "null", .events = 300000, .users = 20000, .destinations = 1};
	for (int i = 1; i < argc; i++) read_option(&bench, argv, &i);
	if (!bench.dir || !bench.plugins || bench.destinations > DESTINATIONS_MAX) return 2;
	arena_init(&bench.arena, 4096, 0);
	(void)mkdir(bench.dir, 0700);
	(void)snprintf(bench.path, sizeof bench.path, "%s/data", bench.dir);
	if (mkdir(bench.path, 0700)) return 2;
	configure(&bench);
	MUST(journal_open(bench.path, &bench.config.journal, &bench.journal));
	MUST(journal_start(bench.journal));
	MUST(people_open(bench.path, &bench.people));
	run(&bench);
	if (bench.deliver) deliver_stop(bench.deliver);
	deliver_free(bench.deliver);
	fold_stop(bench.fold);
	fold_free(bench.fold);
	people_close(bench.people);
	journal_stop(bench.journal);
	journal_close(bench.journal);
	arena_fini(&bench.arena);
	return 0;
}
