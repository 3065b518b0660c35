// rooms: fold
/* bench_fold: events folded per second, sustained, with N existing profiles and D remembered message ids, beside the best
 * raw LMDB loop that stores the same facts. Ingest is idle: the journal is filled beforehand.
 *
 *   bench_fold --profiles N --dedup D --seconds S --fragments 1|2 --dir DIR [--segments 0…10] [--features none|FILE]
 *
 * The last line printed is JSON. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fold/append.h"
#include "fold/dedup_row.h"
#include "fold/fold.h"

#define EVENTS_PER_SECOND 80000 /* prepared: more than is expected to be folded */
#define REQUEST_RECORDS   20000
#define IDS_EACH          ((uint64_t)1 << DEDUP_GENERATION_BITS)
/* The raw loop: events of one transaction, for about as many dirty pages as the fold's cap; bytes of its rows. */
#define RAW_EVENTS  9000
#define RAW_PROFILE 480
#define RAW_OUTCOME 48
#define RAW_CHANGE  128

struct options {
	uint64_t profiles, dedup, seconds, fragments, segments;
	const char *dir, *features; /* NULL: four */
};

struct bench {
	struct options options;
	char path[4096];
	struct config config;
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	uint64_t random_state;
	_Atomic uint64_t applied;
	_Atomic int64_t applied_at, cpu_us; /* the fold's thread, when it committed last */
};

struct result {
	double events_per_s, cpu_us_per_event, bytes_per_event; /* written to files */
};

#define MUST(call) \
	do { \
		int must_rc = (call); \
		if (must_rc) { \
			(void)fprintf(stderr, "bench_fold: %s: %s\n", #call, status_str(must_rc)); \
			exit(1); \
		} \
	} while (0)

static uint64_t random_u64(struct bench *bench)
{
	uint64_t z = (bench->random_state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int64_t thread_cpu_us(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

static uint64_t written_bytes(void)
{
	char line[128];
	uint64_t bytes = 0;
	FILE *file = fopen("/proc/self/io", "r");
	if (!file) return 0;
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "wchar: %" SCNu64, &bytes) == 1) break;
	}
	(void)fclose(file);
	return bytes;
}

static void say(const char *what, int64_t since)
{
	(void)fprintf(stderr, "bench_fold: %s, %.1f s\n", what, (double)(clock_mono_us() - since) / 1e6);
}

/* ── preparing ───────────────────────────────────────────────────────────── */

static struct conf_namespace namespaces[] = {
    {.name = {"user_id", 7},
     .from = (struct str[]){{"userId", 6}},
     .from_count = 1,
     .max_per_profile = 1,
     .is_known = true},
    {.name = {"anonymous_id", 12},
     .from = (struct str[]){{"anonymousId", 11}},
     .from_count = 1,
     .max_per_profile = 50,
     .is_known = false},
};
static struct str completed = {"Order Completed", 15};
static struct conf_feature features[] = {
    {.name = {"events", 6}, .type = {"count", 5}},
    {.name = {"orders", 6}, .type = {"count", 5}, .events = &completed, .event_count = 1},
    {.name = {"revenue", 7},
     .type = {"sum", 3},
     .events = &completed,
     .event_count = 1,
     .field = {"properties.total", 16}},
    {.name = {"last_page", 9}, .type = {"last", 4}, .field = {"context.page.path", 17}},
};

#define LEAF(name, op, source, value) \
	"{\"name\":\"" name "\",\"op\":\"" op "\",\"source\":\"" source "\",\"value\":" value "}"
#define WHEN(name_, when) \
	{ \
		.name = STR(name_), .condition = STR(when) \
	}
/* Of each kind some; most are looked at with every event of the benchmark. */
static struct conf_segment segments[] = {
    WHEN("active", LEAF("last_seen", "within", "field", "2592000000000")),
    WHEN("buyers", LEAF("orders", "at_least", "feature", "1")),
    WHEN("regulars",
	 "{\"all\":[" LEAF("orders", "greater", "feature", "3") "," LEAF("revenue", "greater", "feature", "500") "]}"),
    WHEN("lapsed", "{\"all\":[" LEAF("orders", "greater", "feature", "0") "," LEAF("last_seen", "not_within", "field",
										   "2592000000000") "]}"),
    WHEN("engaged", LEAF("events", "at_least", "feature", "10")),
    WHEN("readers", LEAF("last_page", "contains", "feature", "\"a\"")),
    WHEN("newcomers", "{\"all\":[" LEAF("first_seen", "within", "field",
					"604800000000") ","
							"{\"not\":" LEAF("buyers", "is", "segment", "true") "}]}"),
    WHEN("gold", LEAF("plan", "is", "trait", "\"gold\"")),
    WHEN("known", LEAF("user_id", "exists", "identifier", "true")),
    WHEN("one", LEAF("user_id", "is", "identifier", "\"u42\"")),
};

static void configure(struct bench *bench)
{
	bench->config = (struct config){
	    .store_path = str_from(bench->path),
	    .journal = {.segment_bytes = UINT64_C(1) << 30,
			.segment_age_us = US_PER_DAY,
			.queue_bytes = (size_t)256 << 20,
			.rejects_bytes = 1 << 20,
			.clock_jump_us = 3600 * US_PER_SECOND},
	    .dedup_window_us = 7 * US_PER_DAY,
	    .dedup_max_ids = bench->options.dedup,
	    .namespaces = namespaces,
	    .namespace_count = COUNT_OF(namespaces),
	    .max_fragments = 50,
	    .features = features,
	    .feature_count = COUNT_OF(features),
	    .segments = segments,
	    .segment_count = bench->options.segments,
	    .changes_retention_us = 7 * US_PER_DAY,
	};
	if (!bench->options.features) return;
	bench->config.feature_count = 0;
	if (strcmp(bench->options.features, "none") == 0) return;
	const struct config *other;
	char *errors;
	if (config_load(bench->options.features, NULL, 0, &other, &errors)) {
		(void)fprintf(stderr, "bench_fold: %s\n", errors);
		exit(1);
	}
	bench->config.features = other->features;
	bench->config.feature_count = other->feature_count;
}

struct request {
	struct arena arena;
	struct journal_entry entries[REQUEST_RECORDS];
	size_t count;
};

static void on_settled(struct loop_task *task)
{
	struct journal_append *append =
	    (struct journal_append *)((char *)task - offsetof(struct journal_append, settled));
	loop_stop(append->loop);
}

static void send_request(struct bench *bench, struct request *request)
{
	struct journal_append append = {.entries = request->entries, .entry_count = request->count};
	append.settled.run = on_settled;
	MUST(loop_new(&append.loop));
	MUST(journal_submit(bench->journal, &append));
	loop_run(append.loop);
	loop_free(append.loop);
	MUST(append.status);
	arena_reset(&request->arena);
	request->count = 0;
}

static struct request *new_request(void)
{
	struct request *request = calloc(1, sizeof *request);
	if (!request) exit(1);
	arena_init(&request->arena, (size_t)1 << 20, 0);
	return request;
}

static void free_request(struct request *request)
{
	arena_fini(&request->arena);
	free(request);
}

/* Positions for the ids of the past: ticks, because records of events would only take longer to write. */
static uint64_t fill_positions(struct bench *bench)
{
	struct request *request = new_request();
	uint64_t wanted =
	    bench->options.profiles > bench->options.dedup ? bench->options.profiles : bench->options.dedup;
	uint64_t end = (wanted / IDS_EACH + 1) * IDS_EACH;
	while (journal_next_seq(bench->journal) < end) {
		uint64_t left = end - journal_next_seq(bench->journal);
		while (request->count < REQUEST_RECORDS && request->count < left) {
			request->entries[request->count++] =
			    (struct journal_entry){.kind = RECORD_TICK, .payload = STR_NONE};
		}
		send_request(bench, request);
	}
	free_request(request);
	return end;
}

static void name_user(struct bench *bench, struct cdpd_event *event, struct arena *arena, uint64_t user)
{
	MUST(arena_printf(arena, &event->user_id, "u%09" PRIu64, user));
	if (bench->options.fragments > 1)
		MUST(arena_printf(arena, &event->anonymous_id, "a-%09" PRIu64 "-device", user));
}

static struct cdpd_event sign_up(struct bench *bench, struct arena *arena, uint64_t user)
{
	struct cdpd_event event = {.source_id = STR("web"),
				   .type = EVENT_IDENTIFY,
				   .event_time_us = clock_wall_us(),
				   .utc_offset_min = 180,
				   .rights = RIGHT_DECLARED};
	name_user(bench, &event, arena, user);
	MUST(arena_printf(arena, &event.message_id, "sign-up-%" PRIu64, user));
	MUST(arena_printf(arena, &event.traits,
			  "{\"email\":\"user%09" PRIu64
			  "@example.com\",\"firstName\":\"Anna\",\"city\":\"Kazan\",\"plan\":\"basic\",\"age\":%d}",
			  user, (int)(user % 60 + 18)));
	return event;
}

static void commit_profiles(struct bench *bench, uint64_t next_seq)
{
	MUST(people_commit(bench->people, next_seq, journal_last_t(bench->journal)));
}

/* Straight into the profiles, without journal and fold: how they came to be is not what is measured. */
static void make_profiles(struct bench *bench, uint64_t end)
{
	struct arena arena;
	int64_t t = journal_last_t(bench->journal);
	arena_init(&arena, 1 << 16, 0);
	uint64_t next = people_applied(bench->people);
	MUST(people_begin(bench->people));
	for (uint64_t user = 0; user < bench->options.profiles; user++, next++) {
		struct apply_result result;
		struct cdpd_event event = sign_up(bench, &arena, user);
		MUST(people_apply(bench->people, &event, next, t, &result));
		struct outcome outcome = {.verdict = result.verdict, .reason = result.reason};
		memcpy(outcome.fragment, result.fragment.bytes, sizeof outcome.fragment);
		MUST(people_put_outcome(bench->people, next, &outcome));
		arena_reset(&arena);
		if (people_pages(bench->people) < 60000) continue;
		commit_profiles(bench, next + 1);
		MUST(people_begin(bench->people));
	}
	commit_profiles(bench, end);
	arena_fini(&arena);
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, DEDUP_KEY_SIZE);
}

/* A part of a generation: ids that nobody will send again. */
static void make_part(struct bench *bench, struct store_txn *txn, store_db rows, uint32_t part, uint64_t ids)
{
	static uint8_t keys[1 << DEDUP_PART_BITS][DEDUP_KEY_SIZE];
	for (uint64_t i = 0; i < ids; i++) {
		uint64_t high = random_u64(bench), low = random_u64(bench);
		put_be32(keys[i], part);
		put_be64(keys[i] + 4, high);
		put_be32(keys[i] + 12, (uint32_t)low);
	}
	qsort(keys, (size_t)ids, sizeof keys[0], by_bytes);
	for (uint64_t i = 0; i < ids; i++) {
		uint8_t value[DEDUP_VALUE_SIZE];
		dedup_value_write(value, i, ((uint64_t)part << DEDUP_PART_BITS) + i);
		MUST(store_append(txn, rows, str_of(keys[i], sizeof keys[i]), str_of(value, sizeof value)));
	}
}

static void make_generation(struct bench *bench, struct store_txn *txn, store_db rows, uint32_t generation,
			    uint64_t ids)
{
	const uint64_t each = 1u << DEDUP_PART_BITS;
	for (uint32_t part = generation * DEDUP_PARTS; ids > 0; part++) {
		uint64_t count = ids < each ? ids : each;
		make_part(bench, txn, rows, part, count);
		ids -= count;
	}
}

/* `meta` NULL: only the rows. */
static void make_ids(struct bench *bench, struct store_env *env, store_db rows, const store_db *meta)
{
	uint32_t generation = 0;
	for (uint64_t left = bench->options.dedup; left > 0; generation++) {
		struct store_txn *txn;
		uint64_t ids = left < IDS_EACH ? left : IDS_EACH;
		MUST(store_begin(env, true, &txn));
		make_generation(bench, txn, rows, generation, ids);
		if (meta) {
			uint8_t key[5], value[DEDUP_GENERATION_SIZE];
			dedup_generation_key(key, generation);
			put_be64(value, ids);
			put_be64(value + 8, (uint64_t)journal_last_t(bench->journal));
			MUST(store_put(txn, *meta, str_of(key, sizeof key), str_of(value, sizeof value)));
		}
		MUST(store_commit(txn));
		left -= ids;
	}
}

/* About 600 bytes as a record. */
static struct cdpd_event order(struct bench *bench, struct arena *arena, uint64_t id, int64_t now)
{
	struct cdpd_event event = {.source_id = STR("web"),
				   .canonical_hash = random_u64(bench),
				   .type = EVENT_TRACK,
				   .event = STR("Order Completed"),
				   .event_time_us = now,
				   .client_time_us = now,
				   .sent_at_us = now,
				   .received_at_us = now,
				   .utc_offset_min = 180,
				   .ip = STR("203.0.113.17")};
	name_user(bench, &event, arena, random_u64(bench) % bench->options.profiles);
	MUST(arena_printf(arena, &event.message_id, "ajs-next-%016" PRIx64 "-%" PRIu64, random_u64(bench), id));
	MUST(arena_printf(arena, &event.properties,
			  "{\"orderId\":\"o-%" PRIu64
			  "\",\"total\":%u.%02u,\"currency\":\"RUB\",\"coupon\":\"autumn\",\"products\":"
			  "[{\"sku\":\"tea-green-100\",\"price\":349.5,\"quantity\":2},{\"sku\":\"cup-2\",\"price\":"
			  "120,\"quantity\":1}]}",
			  id, (unsigned)(random_u64(bench) % 5000), (unsigned)(random_u64(bench) % 100)));
	MUST(arena_printf(arena, &event.context,
			  "{\"page\":{\"path\":\"/checkout/%u\",\"url\":\"https://shop.example.com/"
			  "checkout\",\"title\":\"Checkout\"},"
			  "\"locale\":\"ru-RU\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
			  "(KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36\","
			  "\"timezone\":\"Europe/Moscow\",\"screen\":{\"width\":1920,\"height\":1080}}",
			  (unsigned)(random_u64(bench) % 50)));
	return event;
}

static size_t fill_events(struct bench *bench)
{
	struct request *request = new_request();
	uint64_t count = bench->options.seconds * EVENTS_PER_SECOND;
	size_t bytes = 0;
	int64_t now = clock_wall_us();
	for (uint64_t id = 0; id < count; id++) {
		struct journal_entry *entry = &request->entries[request->count++];
		struct cdpd_event event = order(bench, &request->arena, id, now);
		entry->kind = RECORD_EVENT;
		MUST(event_encode(&event, &request->arena, &entry->payload));
		bytes += entry->payload.len;
		if (request->count == REQUEST_RECORDS) send_request(bench, request);
	}
	if (request->count) send_request(bench, request);
	free_request(request);
	return bytes / count;
}

/* Reads the env's file anew, page by page, as daemons find it that were restarted: written in bulk it lies in the page cache
 * in large pieces, of which some kernels (ext4 since 6.16) rewrite single pages several times slower. The env is closed. */
static void reread(const char *folder)
{
	static char page[4096];
	char path[4300];
	(void)snprintf(path, sizeof path, "%s/data.mdb", folder);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	if (fd < 0 || fdatasync(fd)) exit(1);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* no read-ahead: it would make large pieces again */
	for (off_t at = 0; at < end; at += (off_t)sizeof page) {
		if (pread(fd, page, sizeof page, at) < 0) exit(1);
	}
	(void)close(fd);
}

static void reopen_people(struct bench *bench)
{
	char path[4200];
	int64_t start = clock_mono_us();
	(void)snprintf(path, sizeof path, "%s/profiles", bench->path);
	people_close(bench->people);
	reread(path);
	MUST(people_open(bench->path, &bench->people));
	say("profiles read anew", start);
}

/* ── the fold ────────────────────────────────────────────────────────────── */

static void on_commit(void *ctx, uint64_t applied, uint64_t last_change)
{
	struct bench *bench = ctx;
	(void)last_change;
	atomic_store(&bench->applied, applied);
	atomic_store(&bench->cpu_us, thread_cpu_us());
	atomic_store(&bench->applied_at, clock_mono_us());
}

static void on_fatal(void *ctx, int status)
{
	(void)ctx;
	(void)fprintf(stderr, "bench_fold: the fold stopped (%s)\n", status_str(status));
	exit(1);
}

static void new_fold(struct bench *bench)
{
	const struct fold_options options = {
	    .config = &bench->config, .on_commit = on_commit, .on_fatal = on_fatal, .ctx = bench};
	MUST(fold_new(bench->journal, bench->people, &options, &bench->fold));
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

static struct fold_status status_of(const struct bench *bench)
{
	struct fold_status status;
	fold_status(bench->fold, &status);
	return status;
}

static void open_rooms(struct bench *bench)
{
	(void)mkdir(bench->options.dir, 0700);
	(void)snprintf(bench->path, sizeof bench->path, "%s/data", bench->options.dir);
	if (mkdir(bench->path, 0700)) {
		(void)fprintf(stderr, "bench_fold: %s cannot be made (is it there already?)\n", bench->path);
		exit(1);
	}
	configure(bench);
	MUST(journal_open(bench->path, &bench->config.journal, &bench->journal));
	MUST(journal_start(bench->journal));
	MUST(people_open(bench->path, &bench->people));
}

static void prepare(struct bench *bench)
{
	int64_t start = clock_mono_us();
	store_db rows, meta;
	open_rooms(bench);
	new_fold(bench); /* for its definition and its tables */
	MUST(fold_start(bench->fold));
	while (status_of(bench).pending) pause_ms(5);
	fold_stop(bench->fold);
	fold_free(bench->fold);
	uint64_t end = fill_positions(bench);
	say("positions written", start);
	make_profiles(bench, end);
	say("profiles written", start);
	MUST(store_db_open(people_env(bench->people), DEDUP_DB, 0, &rows));
	MUST(store_db_open(people_env(bench->people), DEDUP_META_DB, 0, &meta));
	make_ids(bench, people_env(bench->people), rows, &meta);
	say("message ids written", start);
	size_t bytes = fill_events(bench);
	(void)fprintf(stderr, "bench_fold: %" PRIu64 " events of %zu bytes, profiles env %.0f MB\n",
		      bench->options.seconds * EVENTS_PER_SECOND, bytes,
		      (double)store_used_bytes(people_env(bench->people)) / 1e6);
	say("prepared", start);
	reopen_people(bench);
}

static struct result measure_fold(struct bench *bench)
{
	int64_t start = clock_mono_us();
	new_fold(bench);
	uint64_t from = status_of(bench).applied;
	MUST(fold_start(bench->fold));
	while (!status_of(bench).is_ready) pause_ms(1);
	say("filter rebuilt", start);
	start = clock_mono_us();
	uint64_t written = written_bytes();
	int64_t deadline = start + (int64_t)bench->options.seconds * US_PER_SECOND;
	while (clock_mono_us() < deadline && status_of(bench).pending) pause_ms(10);
	double events = (double)(atomic_load(&bench->applied) - from);
	struct result result = {.events_per_s = events * 1e6 / (double)(atomic_load(&bench->applied_at) - start),
				.cpu_us_per_event = (double)atomic_load(&bench->cpu_us) / events,
				.bytes_per_event = (double)(written_bytes() - written) / events};
	say(status_of(bench).pending ? "folded" : "folded all there was", start);
	fold_stop(bench->fold);
	fold_free(bench->fold);
	return result;
}

/* ── the raw loop ────────────────────────────────────────────────────────── */

struct raw {
	struct store_env *env;
	store_db profiles, dedup, outcomes, changes;
	uint8_t (*keys)[DEDUP_KEY_SIZE]; /* of the profiles */
	uint64_t seq;
};

static void raw_path(const struct bench *bench, char out[4200])
{
	(void)snprintf(out, 4200, "%s/raw", bench->options.dir);
}

static void raw_open(struct bench *bench, struct raw *raw)
{
	char path[4200];
	const struct store_options options = {.map_bytes = UINT64_C(1) << 40, .max_dbs = 8, .format = 1};
	raw_path(bench, path);
	MUST(store_open(path, &options, &raw->env));
	MUST(store_db_open(raw->env, "profiles", 0, &raw->profiles));
	MUST(store_db_open(raw->env, "dedup", 0, &raw->dedup));
	MUST(store_db_open(raw->env, "outcomes", STORE_DB_INTEGER_KEY, &raw->outcomes));
	MUST(store_db_open(raw->env, "changes", STORE_DB_INTEGER_KEY, &raw->changes));
}

static void raw_prepare(struct bench *bench, struct raw *raw)
{
	static const char row[RAW_PROFILE];
	char path[4200];
	raw->seq = (bench->options.dedup / IDS_EACH + 1) * IDS_EACH;
	raw->keys = malloc(bench->options.profiles * sizeof *raw->keys);
	if (!raw->keys) exit(1);
	raw_open(bench, raw);
	for (uint64_t i = 0; i < bench->options.profiles; i++) {
		put_be64(raw->keys[i], random_u64(bench));
		put_be64(raw->keys[i] + 8, random_u64(bench));
	}
	qsort(raw->keys, bench->options.profiles, sizeof *raw->keys, by_bytes);
	for (uint64_t i = 0; i < bench->options.profiles;) {
		struct store_txn *txn;
		MUST(store_begin(raw->env, true, &txn));
		for (uint64_t end = i + 200000; i < end && i < bench->options.profiles; i++) {
			MUST(store_append(txn, raw->profiles, str_of(raw->keys[i], 16), str_of(row, sizeof row)));
		}
		MUST(store_commit(txn));
	}
	make_ids(bench, raw->env, raw->dedup, NULL);
	store_close(raw->env);
	raw_path(bench, path);
	reread(path);
	raw_open(bench, raw);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Read, modified, written, in the order of their keys; a person met twice is written once. */
static void raw_profiles(struct bench *bench, struct raw *raw, struct store_txn *txn)
{
	static uint64_t users[RAW_EVENTS];
	for (size_t i = 0; i < RAW_EVENTS; i++) users[i] = random_u64(bench) % bench->options.profiles;
	qsort(users, RAW_EVENTS, sizeof users[0], by_number);
	for (size_t i = 0; i < RAW_EVENTS; i++) {
		char row[RAW_PROFILE];
		struct str value, key = str_of(raw->keys[users[i]], 16);
		if (i > 0 && users[i] == users[i - 1]) continue;
		MUST(store_get(txn, raw->profiles, key, &value));
		memcpy(row, value.ptr, sizeof row);
		row[users[i] % sizeof row]++;
		MUST(store_put(txn, raw->profiles, key, str_of(row, sizeof row)));
	}
}

static void raw_ids(struct bench *bench, struct raw *raw, struct store_txn *txn)
{
	static uint8_t keys[RAW_EVENTS][DEDUP_KEY_SIZE];
	for (size_t i = 0; i < RAW_EVENTS; i++) {
		put_be32(keys[i], dedup_part(raw->seq + i));
		put_be64(keys[i] + 4, random_u64(bench));
		put_be32(keys[i] + 12, (uint32_t)random_u64(bench));
	}
	qsort(keys, RAW_EVENTS, sizeof keys[0], by_bytes);
	for (size_t i = 0; i < RAW_EVENTS; i++) {
		uint8_t value[DEDUP_VALUE_SIZE];
		dedup_value_write(value, i, raw->seq + i);
		MUST(store_put(txn, raw->dedup, str_of(keys[i], sizeof keys[i]), str_of(value, sizeof value)));
	}
}

/* As many old ids are forgotten as new ones come. */
static void raw_forget(struct raw *raw, struct store_txn *txn)
{
	struct store_cursor *cursor;
	struct str key, value;
	MUST(store_cursor_open(txn, raw->dedup, &cursor));
	int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	for (size_t i = 0; i < RAW_EVENTS && rc == OK; i++) {
		MUST(store_cursor_del(cursor));
		rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
}

static void raw_transaction(struct bench *bench, struct raw *raw)
{
	static const char outcome[RAW_OUTCOME], change[RAW_CHANGE];
	struct store_txn *txn;
	MUST(store_begin(raw->env, true, &txn));
	raw_profiles(bench, raw, txn);
	raw_ids(bench, raw, txn);
	raw_forget(raw, txn);
	for (uint64_t i = 0; i < RAW_EVENTS; i++) {
		uint64_t seq = raw->seq + i;
		MUST(store_append(txn, raw->outcomes, store_key64(&seq), str_of(outcome, sizeof outcome)));
		MUST(store_append(txn, raw->changes, store_key64(&seq), str_of(change, sizeof change)));
	}
	MUST(store_commit(txn));
	raw->seq += RAW_EVENTS;
}

static struct result measure_raw(struct bench *bench)
{
	struct raw raw = {0};
	int64_t start = clock_mono_us();
	raw_prepare(bench, &raw);
	say("raw loop prepared", start);
	uint64_t from = raw.seq, written = written_bytes();
	int64_t cpu = thread_cpu_us();
	start = clock_mono_us();
	int64_t deadline = start + (int64_t)bench->options.seconds * US_PER_SECOND;
	while (clock_mono_us() < deadline) raw_transaction(bench, &raw);
	double events = (double)(raw.seq - from);
	struct result result = {.events_per_s = events * 1e6 / (double)(clock_mono_us() - start),
				.cpu_us_per_event = (double)(thread_cpu_us() - cpu) / events,
				.bytes_per_event = (double)(written_bytes() - written) / events};
	store_close(raw.env);
	free(raw.keys);
	return result;
}

/* ── main ────────────────────────────────────────────────────────────────── */

static bool read_options(int argc, char **argv, struct options *out)
{
	*out = (struct options){.profiles = 1000000, .dedup = 20000000, .seconds = 60, .fragments = 1};
	for (int i = 1; i + 1 < argc; i += 2) {
		struct str name = str_from(argv[i]), value = str_from(argv[i + 1]);
		int rc = OK;
		if (str_eq(name, STR("--profiles")))
			rc = str_to_u64(value, &out->profiles);
		else if (str_eq(name, STR("--dedup")))
			rc = str_to_u64(value, &out->dedup);
		else if (str_eq(name, STR("--seconds")))
			rc = str_to_u64(value, &out->seconds);
		else if (str_eq(name, STR("--fragments")))
			rc = str_to_u64(value, &out->fragments);
		else if (str_eq(name, STR("--segments")))
			rc = str_to_u64(value, &out->segments);
		else if (str_eq(name, STR("--dir")))
			out->dir = argv[i + 1];
		else if (str_eq(name, STR("--features")))
			out->features = argv[i + 1];
		else
			return false;
		if (rc) return false;
	}
	return argc % 2 && out->dir && out->profiles && out->dedup && out->seconds && out->fragments - 1 < 2 &&
	       out->segments <= COUNT_OF(segments);
}

int main(int argc, char **argv)
{
	static struct bench bench = {.random_state = 42};
	if (!read_options(argc, argv, &bench.options)) {
		(void)fprintf(stderr, "usage: bench_fold --profiles N --dedup D --seconds S --fragments 1|2 "
				      "--segments 0…10 --dir DIR\n");
		return 2;
	}
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_WARN);
	prepare(&bench);
	struct result folded = measure_fold(&bench);
	people_close(bench.people);
	journal_stop(bench.journal);
	journal_close(bench.journal);
	struct result raw = measure_raw(&bench);
	(void)printf("{\"events_per_s\":%.0f,\"raw_events_per_s\":%.0f,\"ratio\":%.3f,\"cpu_us_per_event\":%.2f,"
		     "\"raw_cpu_us_per_event\":%.2f,\"bytes_per_event\":%.0f,\"raw_bytes_per_event\":%.0f,"
		     "\"profiles\":%" PRIu64 ",\"dedup_ids\":%" PRIu64 ",\"fragments\":%" PRIu64 "}\n",
		     folded.events_per_s, raw.events_per_s, folded.events_per_s / raw.events_per_s,
		     folded.cpu_us_per_event, raw.cpu_us_per_event, folded.bytes_per_event, raw.bytes_per_event,
		     bench.options.profiles, bench.options.dedup, bench.options.fragments);
	return 0;
}
