// rooms: base
/* What exporters cost a record: the plugin through a host that does nothing, and beside it, in turns and in the same run, a plain loop over what it stands on
 * (write and fdatasync, librdkafka, libnats) that sends the same records in the same batches. Prints one JSON line.
 *
 *	bench_export files FOLDER [FORMAT[+zstd] [BATCH [SECONDS]]]
 *	bench_export kafka BROKERS [ENCODING [BATCH [SECONDS]]]        BROKERS "-": librdkafka's mock of one, in a process of its own
 *	bench_export nats URL [- [BATCH [SECONDS]]]
 *
 * Seconds are of the wall clock, for both sides together. */
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "fake_host.h"

#define PEOPLE     10000
#define ROUNDS_MAX 2000
#define BODY_SIZE  700

static struct cdpd_record records[FAKE_RECORDS_MAX];
static char ids[FAKE_RECORDS_MAX][48], people[PEOPLE][40], bodies[FAKE_RECORDS_MAX][BODY_SIZE];
static size_t batch = 500;
static uint64_t next_number;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_export: %s: %s\n", what, why);
	exit(1);
}

/* ── the records ─────────────────────────────────────────────────────────── */

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static void make_bodies(void)
{
	for (size_t i = 0; i < PEOPLE; i++) snprintf(people[i], sizeof people[i], "%032zx", i * 7919);
	for (size_t i = 0; i < FAKE_RECORDS_MAX; i++)
		snprintf(
		    bodies[i], BODY_SIZE,
		    "{\"type\":\"track\",\"messageId\":\"0b9c3f52-%08zx-4f1f-9f53-2f5b1a3c0d11\",\"userId\":\"user-%"
		    "zu\","
		    "\"anonymousId\":\"3f0a6f0e-22c4-4d59-a5c4-%012zx\",\"event\":\"Order Completed\","
		    "\"timestamp\":\"2026-11-22T08:15:30.123456Z\",\"receivedAt\":\"2026-11-22T08:15:30.223456Z\","
		    "\"sourceId\":\"web\",\"properties\":{\"order_id\":\"o-%zu\",\"total\":%zu.25,\"currency\":\"EUR\","
		    "\"products\":[{\"sku\":\"A-1\",\"quantity\":2},{\"sku\":\"B-7\",\"quantity\":1}]},\"context\":{"
		    "\"locale\":\"de-DE\",\"page\":{\"url\":\"https://shop.example.org/checkout/thanks?id=%zu\"},"
		    "\"campaign\":{\"name\":\"autumn\",\"source\":\"newsletter\"}}}",
		    i, i % PEOPLE, i, i, i % 1000, i);
}

/* The next batch: ids that were never there. */
static void make_batch(void)
{
	for (size_t i = 0; i < batch; i++) {
		uint64_t n = next_number++;
		snprintf(ids[i], sizeof ids[i], "AtQ%08x%016llx", (unsigned)getpid(), (unsigned long long)n);
		records[i] = (struct cdpd_record){.size = sizeof records[i],
						  .kind = CDPD_RECORD_EVENT,
						  .position = str(ids[i]),
						  .delivery_id = str(ids[i]),
						  .message_id = str(ids[i]),
						  .profile_id = {people[n % PEOPLE], 32},
						  .json = str(bodies[n % FAKE_RECORDS_MAX]),
						  .time_us = 1700000000000000 + (int64_t)n,
						  .attempt = 1};
	}
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

static struct cost measure(void (*send)(void))
{
	make_batch();
	double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	send();
	return (struct cost){(now(CLOCK_MONOTONIC) - wall) / (double)batch,
			     (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)batch};
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

/* ── ours ────────────────────────────────────────────────────────────────── */

static struct cdpd_instance fake;

static void send_by_plugin(void)
{
	if (fake_export(&fake, records, batch) != CDPD_ACK) die("not acknowledged", fake.receipt.all.reason);
}

/* ── theirs ──────────────────────────────────────────────────────────────── */

static int file = -1;
static off_t file_end;
static char *lines;

static void send_by_write(void)
{
	size_t len = 0;
	for (size_t i = 0; i < batch; i++) {
		memcpy(lines + len, records[i].json.ptr, records[i].json.len);
		len += records[i].json.len;
		lines[len++] = '\n';
	}
	if (pwrite(file, lines, len, file_end) != (ssize_t)len || fdatasync(file)) die("write", "failed");
	file_end += (off_t)len;
}

static void open_file(const char *folder)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/plain", folder);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	lines = malloc((size_t)FAKE_RECORDS_MAX * BODY_SIZE);
	if (file < 0 || !lines) die(path, "cannot be made");
}

/* Before anything else is begun: the child has its threads alone. It ends with us. */
static void start_mock(char *brokers, size_t size)
{
	int ends[2];
	if (pipe(ends)) die("kafka", "no pipe");
	pid_t child = fork();
	if (child < 0) die("kafka", "no process");
	if (child == 0) {
		char why[300];
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
		rd_kafka_mock_cluster_t *cluster = rk ? rd_kafka_mock_cluster_new(rk, 1) : NULL;
		if (!cluster) die("kafka", "no mock");
		const char *where = rd_kafka_mock_cluster_bootstraps(cluster);
		if (write(ends[1], where, strlen(where)) < 0) die("kafka", "no pipe");
		for (;;) pause();
	}
	ssize_t len = read(ends[0], brokers, size - 1);
	brokers[len > 0 ? len : 0] = '\0';
	if (len <= 0) die("kafka", "no mock");
}

static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void)rk;
	(void)opaque;
	if (message->err) die("kafka", rd_kafka_err2str(message->err));
}

static void send_by_librdkafka(void)
{
	for (size_t i = 0; i < batch; i++) {
		const struct cdpd_record *r = &records[i];
		while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, 0, (void *)(uintptr_t)r->json.ptr, r->json.len,
					r->profile_id.ptr, r->profile_id.len, NULL))
			rd_kafka_poll(producer, 10);
	}
	if (rd_kafka_flush(producer, 20000)) die("kafka", "not confirmed");
}

static void open_producer(const char *brokers)
{
	char why[300];
	const char *const settings[][2] = {{"bootstrap.servers", brokers},
					   {"enable.idempotence", "true"},
					   {"compression.codec", "lz4"},
					   {"partitioner", "murmur2_random"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why)) die("kafka", why);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (!producer) die("kafka", why);
	topic = rd_kafka_topic_new(producer, "plain", NULL);
}

static natsConnection *conn;
static jsCtx *js;

static void send_by_libnats(void)
{
	jsPubOptions options;
	jsPubOptions_Init(&options);
	for (size_t i = 0; i < batch; i++) {
		options.MsgId = records[i].delivery_id.ptr;
		natsStatus s =
		    js_PublishAsync(js, "plain.track", records[i].json.ptr, (int)records[i].json.len, &options);
		if (s != NATS_OK) die("nats", natsStatus_GetText(s));
	}
	jsPubOptions wait;
	jsPubOptions_Init(&wait);
	wait.MaxWait = 20000;
	if (js_PublishAsyncComplete(js, &wait) != NATS_OK) die("nats", "not confirmed");
}

static void open_nats(const char *url)
{
	const char *subjects[] = {"plain.>"};
	jsStreamConfig config;
	jsStreamConfig_Init(&config);
	config.Name = "PLAIN";
	config.Subjects = subjects;
	config.SubjectsLen = 1;
	config.Storage = js_FileStorage;
	if (natsConnection_ConnectTo(&conn, url) != NATS_OK || natsConnection_JetStream(&js, conn, NULL) != NATS_OK)
		die(url, "no connection");
	if (js_AddStream(NULL, js, &config, NULL, NULL) != NATS_OK) die(url, "no stream");
}

/* ── main ────────────────────────────────────────────────────────────────── */

static void create(const char *name, const struct fake_option *options, size_t count)
{
	fake_open(&fake, name);
	if (fake_create(&fake, options, count) != CDPD_OK) die(name, fake.log);
}

static void (*open_both(const char *what, const char *where, const char *how))(void)
{
	if (strcmp(what, "files") == 0) {
		char out[4096], format[16];
		snprintf(out, sizeof out, "%s/out", where);
		snprintf(format, sizeof format, "%.*s", (int)strcspn(how, "+"), how);
		const struct fake_option options[] = {
		    {"directory", out},
		    {"format", format},
		    {"compression", strchr(how, '+') ? strchr(how, '+') + 1 : "none"}};
		open_file(where);
		create("files", options, 3);
		return send_by_write;
	}
	if (strcmp(what, "kafka") == 0) {
		const struct fake_option options[] = {{"brokers", where}, {"timeout", "20s"}, {"encoding", how}};
		open_producer(where);
		create("kafka", options, 3);
		return send_by_librdkafka;
	}
	if (strcmp(what, "nats") != 0) die(what, "files, kafka or nats");
	const struct fake_option options[] = {{"servers", where}, {"stream", "EVENTS"}, {"create_stream", "true"}};
	open_nats(where);
	create("nats", options, 3);
	return send_by_libnats;
}

int main(int argc, char **argv)
{
	if (argc < 3) die("usage", "bench_export files|kafka|nats WHERE [HOW [BATCH [SECONDS]]]");
	char brokers[300];
	if (strcmp(argv[1], "kafka") == 0 && strcmp(argv[2], "-") == 0) {
		start_mock(brokers, sizeof brokers);
		argv[2] = brokers;
	}
	const char *how = argc > 3 ? argv[3] : strcmp(argv[1], "files") == 0 ? "ndjson" : "json";
	if (argc > 4) batch = strtoul(argv[4], NULL, 10);
	if (batch == 0 || batch > FAKE_RECORDS_MAX) die("BATCH", "1 to 5000");
	double seconds = argc > 5 ? strtod(argv[5], NULL) : 10;
	size_t rounds = 0;
	make_bodies();
	void (*send_plainly)(void) = open_both(argv[1], argv[2], how);
	(void)measure(send_plainly); /* connections, first pages */
	(void)measure(send_by_plugin);
	for (double end = now(CLOCK_MONOTONIC) + seconds; now(CLOCK_MONOTONIC) < end && rounds < ROUNDS_MAX; rounds++) {
		theirs[rounds] = measure(send_plainly);
		ours[rounds] = measure(send_by_plugin);
	}
	struct cost us = median(ours, rounds), them = median(theirs, rounds);
	printf(
	    "{\"what\":\"%s\",\"how\":\"%s\",\"batch\":%zu,\"rounds\":%zu,\"records_per_s\":%.0f,\"plain_per_s\":%.0f,"
	    "\"cpu_us\":%.3f,\"plain_cpu_us\":%.3f}\n",
	    argv[1], how, batch, rounds, 1 / us.wall, 1 / them.wall, us.cpu * 1e6, them.cpu * 1e6);
	return 0;
}
