// rooms: journal
/* bench_journal: events made durable per second, in requests of 1, 100 and 1000 events of 600 bytes with some of them
 * outstanding at a time as the io threads have them, beside a raw LMDB append loop of the same bytes in the same run.
 *
 *   bench_journal [--dir DIR] [--seconds S] [--raw [--batch N]]     --raw: only the raw loop, N events a transaction
 *
 * The last line printed is JSON. */
#include <ftw.h>
#include <getopt.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/journal.h"
#include "store/store.h"

enum { EVENT_BYTES = 600, BATCH_MAX = 1000 };

static char payload[EVENT_BYTES];
static struct journal_entry entries[BATCH_MAX];

struct flight {
	struct journal_append append;
	struct load *load;
	int64_t sent_us;
};

struct load {
	struct journal *journal;
	struct loop *loop;
	size_t batch, outstanding, in_flight;
	int64_t end_us;
	uint64_t acked;
	int64_t *latencies;
	size_t latency_count;
};
#define LATENCIES_MAX (4u << 20)

static void send_one(struct flight *flight)
{
	flight->sent_us = clock_mono_us();
	CHECK(journal_submit(flight->load->journal, &flight->append) == OK);
	flight->load->in_flight++;
}

static void on_settled(struct loop_task *task)
{
	struct flight *flight = (struct flight *)((char *)task - offsetof(struct flight, append.settled));
	struct load *load = flight->load;
	CHECK(flight->append.status == OK);
	int64_t now = clock_mono_us();
	load->acked += load->batch;
	load->in_flight--;
	if (load->latency_count < LATENCIES_MAX) load->latencies[load->latency_count++] = now - flight->sent_us;
	if (now < load->end_us)
		send_one(flight);
	else if (load->in_flight == 0)
		loop_stop(load->loop);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static double run_load(struct load *load, double seconds)
{
	struct flight *flights = calloc(load->outstanding, sizeof *flights);
	CHECK(flights);
	int64_t begun = clock_mono_us();
	load->end_us = begun + (int64_t)(seconds * 1e6);
	load->latency_count = 0;
	load->acked = 0;
	for (size_t i = 0; i < load->outstanding; i++) {
		flights[i].load = load;
		flights[i].append = (struct journal_append){.entries = entries,
							    .entry_count = load->batch,
							    .received = (uint32_t)load->batch,
							    .loop = load->loop,
							    .settled = {.run = on_settled}};
		send_one(&flights[i]);
	}
	loop_run(load->loop);
	double rate = (double)load->acked / ((double)(clock_mono_us() - begun) / 1e6);
	free(flights);
	qsort(load->latencies, load->latency_count, sizeof *load->latencies, compare);
	return rate;
}

static int64_t quantile(const struct load *load, double q)
{
	return load->latencies[(size_t)((double)(load->latency_count - 1) * q)];
}

/* The limit: the same bytes under the same keys, `batch` events in a transaction, nothing else. */
static double raw_loop(const char *dir, size_t batch, double seconds)
{
	char path[4096];
	char record[RECORD_HEADER_SIZE + EVENT_BYTES] = {0};
	MDB_env *env;
	MDB_dbi db;
	MDB_txn *txn;
	uint64_t seq = 0;
	(void)snprintf(path, sizeof path, "%s/raw", dir);
	CHECK(store_make_dir(path) == OK && mdb_env_create(&env) == 0 &&
	      mdb_env_set_mapsize(env, UINT64_C(64) << 30) == 0);
	CHECK(mdb_env_set_maxdbs(env, 1) == 0 && mdb_env_open(env, path, MDB_NOTLS | MDB_NORDAHEAD, 0600) == 0);
	CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0);
	CHECK(mdb_dbi_open(txn, "records", MDB_CREATE | MDB_INTEGERKEY, &db) == 0 && mdb_txn_commit(txn) == 0);
	int64_t begun = clock_mono_us(), end = begun + (int64_t)(seconds * 1e6);
	while (clock_mono_us() < end) {
		CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0);
		for (size_t i = 0; i < batch; i++) {
			seq++;
			MDB_val key = {sizeof seq, &seq}, value = {sizeof record, record};
			CHECK(mdb_put(txn, db, &key, &value, MDB_APPEND) == 0);
		}
		CHECK(mdb_txn_commit(txn) == 0);
	}
	double rate = (double)seq / ((double)(clock_mono_us() - begun) / 1e6);
	mdb_env_close(env);
	CHECK(store_remove_env(path) == OK);
	return rate;
}

static double measure(const char *dir, struct load *load, double seconds)
{
	/* The limit is taken before and after, because a shared disk changes its mind. */
	double before = raw_loop(dir, load->batch, seconds / 2);
	double rate = run_load(load, seconds);
	double after = raw_loop(dir, load->batch, seconds / 2);
	double raw = (before + after) / 2;
	printf("%4zu events a request, %4zu outstanding: %8.0f events/s, ack p50 %6.2f ms, p99 %6.2f ms; "
	       "raw loop of %zu a transaction %8.0f events/s; ratio %.2f\n",
	       load->batch, load->outstanding, rate, (double)quantile(load, 0.5) / 1e3,
	       (double)quantile(load, 0.99) / 1e3, load->batch, raw, rate / raw);
	(void)fflush(stdout);
	return rate;
}

static struct journal *open_journal(const char *dir)
{
	const struct conf_journal conf = {
	    .segment_bytes = UINT64_C(1) << 30,
	    .segment_age_us = US_PER_DAY,
	    .queue_bytes = 64 << 20,
	    .disk_free_min = UINT64_C(512) << 20,
	    .ballast_bytes = 64 << 20,
	    .rejects_bytes = 16 << 20,
	    .clock_jump_us = 3600 * US_PER_SECOND,
	};
	struct journal *journal;
	CHECK(journal_open(dir, &conf, &journal) == OK);
	CHECK(journal_start(journal) == OK);
	return journal;
}

static void measure_all(const char *dir, double seconds)
{
	static const struct {
		size_t batch, outstanding;
	} loads[] = {{1, 1}, {1, 64}, {1, 256}, {1000, 4}, {1000, 16}, {100, 8}, {100, 32}};
	struct load load = {.journal = open_journal(dir), .latencies = calloc(LATENCIES_MAX, sizeof(int64_t))};
	double rate = 0;
	CHECK(load.latencies && loop_new(&load.loop) == OK);
	for (size_t i = 0; i < COUNT_OF(loads); i++) {
		load.batch = loads[i].batch;
		load.outstanding = loads[i].outstanding;
		rate = measure(dir, &load, seconds);
	}
	journal_stop(load.journal);
	journal_close(load.journal);
	loop_free(load.loop);
	free(load.latencies);
	printf("{\"events_per_s\":%.0f,\"batch\":100}\n", rate);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

struct arguments {
	const char *dir;
	double seconds;
	size_t batch;
	bool raw;
};

static bool read_arguments(int argc, char **argv, struct arguments *out)
{
	static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
						{"seconds", required_argument, NULL, 's'},
						{"batch", required_argument, NULL, 'b'},
						{"raw", no_argument, NULL, 'r'},
						{0}};
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'd')
			out->dir = optarg;
		else if (option == 's')
			out->seconds = strtod(optarg, NULL);
		else if (option == 'b')
			out->batch = strtoul(optarg, NULL, 10);
		else if (option == 'r')
			out->raw = true;
		else
			return false;
	}
	return out->seconds > 0 && out->batch > 0;
}

int main(int argc, char **argv)
{
	char made[] = "/var/tmp/cdpd-bench-XXXXXX";
	struct arguments arguments = {.seconds = 4, .batch = 100};
	if (!read_arguments(argc, argv, &arguments)) return 2;
	const char *dir = arguments.dir ? arguments.dir : mkdtemp(made);
	CHECK(dir && store_make_dir(dir) == OK);
	for (size_t i = 0; i < sizeof payload; i++) payload[i] = (char)('a' + i % 26);
	for (size_t i = 0; i < BATCH_MAX; i++)
		entries[i] = (struct journal_entry){RECORD_EVENT, {payload, sizeof payload}};
	if (arguments.raw) {
		double rate = raw_loop(dir, arguments.batch, arguments.seconds);
		printf("{\"raw_events_per_s\":%.0f,\"batch\":%zu}\n", rate, arguments.batch);
	} else {
		measure_all(dir, arguments.seconds);
	}
	if (!arguments.dir) CHECK(nftw(made, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}
