// rooms: profile
/* bench_identity: what hot and crowded identifiers cost, by the profile room alone (no journal, no dedup): events a second for
 * each shape, and how long an unmerge of the largest closure takes. LMDB commits every 20,000 events included.
 *
 *   bench_identity [EVENTS]
 *
 * The last line printed is JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "profile/people.h"

#define COMMIT_EVERY 20000
#define T0           INT64_C(1700000000000000)

static const char definitions[] =
    "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":["
    "{\"event\":\"\",\"field\":\"\",\"name\":\"events\",\"state_version\":1,\"type\":\"count\"}],"
    "\"identity\":{\"blocked\":[\"0\"],\"max_fragments\":50,\"namespaces\":["
    "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
    "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":49,\"name\":\"anonymous_id\"}]}}";

struct bench {
	char path[64];
	struct people *people;
	uint64_t seq;
};

static void must(int rc, const char *what)
{
	if (rc == OK) return;
	(void)fprintf(stderr, "bench_identity: %s failed (%s)\n", what, status_str(rc));
	exit(1);
}

static void apply(struct bench *bench, const char *user, const char *visitor)
{
	char id[24];
	struct apply_result result;
	struct cdpd_event event = {.source_id = STR("web"),
				   .type = EVENT_TRACK,
				   .event = STR("Clicked"),
				   .user_id = str_from(user),
				   .anonymous_id = str_from(visitor),
				   .utc_offset_min = UTC_OFFSET_UNKNOWN,
				   .event_time_us = T0 + (int64_t)bench->seq};
	event.message_id = str_of(id, (size_t)snprintf(id, sizeof id, "m%" PRIu64, bench->seq));
	must(people_apply(bench->people, &event, bench->seq, event.event_time_us, &result), "apply");
	bench->seq++;
	if (bench->seq % COMMIT_EVERY) return;
	must(people_commit(bench->people, bench->seq, T0), "commit");
	must(people_begin(bench->people), "begin");
}

enum shape { ONE_ID, FIFTY_DEVICES, NEW_DEVICES, KIOSK, SHAPES };
static const char *const names[SHAPES] = {"one_identifier", "fifty_devices_in_turn", "new_device_each_event",
					  "kiosk_of_everybody"};

static void apply_shape(struct bench *bench, enum shape shape, uint64_t i)
{
	char user[24] = "hot", visitor[24] = "";
	switch (shape) {
	case FIFTY_DEVICES: (void)snprintf(visitor, sizeof visitor, "d%" PRIu64, i % 49); break;
	case NEW_DEVICES: (void)snprintf(visitor, sizeof visitor, "n%" PRIu64, i); break;
	case KIOSK:
		(void)snprintf(user, sizeof user, "u%" PRIu64, i % 100000);
		(void)snprintf(visitor, sizeof visitor, "kiosk");
		break;
	case ONE_ID:
	case SHAPES: break;
	}
	apply(bench, user, visitor);
}

static double run(struct bench *bench, enum shape shape, uint64_t events)
{
	int64_t start = clock_mono_us();
	for (uint64_t i = 0; i < events; i++) apply_shape(bench, shape, i);
	return (double)events * 1e6 / (double)(clock_mono_us() - start);
}

/* A closure near the cap: kiosks in a row, each shared by two people. */
static double unmerge_ms(struct bench *bench)
{
	char user[24], visitor[24];
	for (int i = 0; i < 600; i++) {
		(void)snprintf(user, sizeof user, "street%d", i);
		for (int k = 0; k < 2; k++) {
			(void)snprintf(visitor, sizeof visitor, "street%d", i / 2 + k);
			apply(bench, user, visitor);
		}
	}
	must(people_commit(bench->people, bench->seq, T0), "commit");
	must(people_begin(bench->people), "begin");
	struct people_act act = {STR("user_id:street0"), STR("anonymous_id:street0"), STR("bench"), STR_NONE};
	int64_t start = clock_mono_us();
	must(people_act(bench->people, PEOPLE_UNMERGE, &act, bench->seq++, T0), "unmerge");
	must(people_commit(bench->people, bench->seq, T0), "commit");
	return (double)(clock_mono_us() - start) / 1e3;
}

int main(int argc, char **argv)
{
	struct bench bench = {.path = "/tmp/cdpd-bench-XXXXXX", .seq = 2};
	uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	char path[80];
	double rates[SHAPES];
	if (!mkdtemp(bench.path)) return 1;
	must(people_open(bench.path, &bench.people), "open");
	must(people_begin(bench.people), "begin");
	must(people_define(bench.people, str_from(definitions), 1), "define");
	for (enum shape shape = 0; shape < SHAPES; shape++) {
		rates[shape] = run(&bench, shape, events);
		printf("%-24s %9.0f events/s\n", names[shape], rates[shape]);
	}
	double ms = unmerge_ms(&bench);
	printf("%-24s %9.1f ms\n", "unmerge of 900", ms);
	people_close(bench.people);
	(void)snprintf(path, sizeof path, "%s/profiles", bench.path);
	must(store_remove_env(path), "clean up");
	(void)rmdir(bench.path);
	printf("{");
	for (enum shape shape = 0; shape < SHAPES; shape++)
		printf("\"%s_per_second\":%.0f,", names[shape], rates[shape]);
	printf("\"unmerge_ms\":%.1f}\n", ms);
	return 0;
}
