/* kafka against librdkafka's mock broker: what lies in the topics is read back by a consumer of the test's own. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cdpd/v1/record.pb-c.h"
#include "fake_host.h"

#define PRODUCE    0 /* the API key */
#define ROWS_MAX   1000
#define PARTITIONS 4

struct row {
	int partition;
	char key[64], delivery[64], message[64], position[64], gone[64], into[64], value[512];
	size_t value_len;
	bool is_tombstone;
};

static struct cdpd_instance fake;
static struct cdpd_host host;
static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *cluster;
static struct row rows[ROWS_MAX];
static size_t row_count;

/* librdkafka logs from its own threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char said[8192];

static void keep_log(struct cdpd_instance *instance, enum cdpd_log_level level, const char *fmt, ...)
{
	va_list args;
	(void)instance, (void)level;
	va_start(args, fmt);
	pthread_mutex_lock(&lock);
	size_t len = strlen(said);
	vsnprintf(said + len, sizeof said - len, fmt, args);
	pthread_mutex_unlock(&lock);
	va_end(args);
}

static int setup(void **state)
{
	char why[300];
	(void)state;
	host = fake_host_table;
	host.log = keep_log;
	fake_host = &host;
	said[0] = '\0';
	owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
	assert_non_null(owner);
	cluster = rd_kafka_mock_cluster_new(owner, 1);
	assert_non_null(cluster);
	assert_int_equal(rd_kafka_mock_topic_create(cluster, "cdpd.events", PARTITIONS, 1), 0);
	fake_open(&fake, "kafka");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(owner);
	return 0;
}

static int create_with(const char *topic, const char *timeout_us, const char *settings)
{
	struct fake_option options[] = {{"brokers", rd_kafka_mock_cluster_bootstraps(cluster)},
					{"topic", topic},
					{"timeout", timeout_us},
					{"settings", settings}};
	return fake_create(&fake, options, 4);
}

/* ── records ─────────────────────────────────────────────────────────────── */

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static struct cdpd_record records[FAKE_MAX];
static char ids[FAKE_MAX][16], people[FAKE_MAX][40], bodies[FAKE_MAX][64];

/* Record i is the next of person i % persons. */
static void make_records(size_t count, unsigned persons)
{
	for (size_t i = 0; i < count; i++) {
		snprintf(ids[i], sizeof ids[i], "d%02zu", i);
		snprintf(people[i], sizeof people[i], "%032zx", i % persons);
		snprintf(bodies[i], sizeof bodies[i], "{\"type\":\"track\",\"n\":%zu}", i);
		records[i] = (struct cdpd_record){.size = sizeof records[i],
						  .kind = CDPD_RECORD_EVENT,
						  .position = str(ids[i]),
						  .delivery_id = str(ids[i]),
						  .message_id = str(ids[i]),
						  .profile_id = str(people[i]),
						  .json = str(bodies[i]),
						  .attempt = 1};
	}
}

static enum cdpd_verdict verdict_of(enum cdpd_verdict all, size_t i)
{
	if (fake.receipt.named[i].is_set) return fake.receipt.named[i].verdict;
	return fake.receipt.all.is_set ? fake.receipt.all.verdict : all;
}

static size_t count_verdicts(enum cdpd_verdict all, size_t count, enum cdpd_verdict wanted)
{
	size_t found = 0;
	for (size_t i = 0; i < count; i++) found += verdict_of(all, i) == wanted;
	return found;
}

/* ── what lies in a topic ────────────────────────────────────────────────── */

static void copy_bytes(char out[64], const void *ptr, size_t len)
{
	snprintf(out, 64, "%.*s", (int)len, (const char *)ptr);
}

static void copy_header(const rd_kafka_message_t *message, const char *name, char out[64])
{
	rd_kafka_headers_t *headers;
	const void *value;
	size_t size;
	assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
	if (rd_kafka_header_get_last(headers, name, &value, &size))
		out[0] = '\0';
	else
		copy_bytes(out, value, size);
}

static void keep_row(const rd_kafka_message_t *message)
{
	assert_true(row_count < ROWS_MAX);
	struct row *row = &rows[row_count++];
	row->partition = message->partition;
	copy_bytes(row->key, message->key, message->key_len);
	copy_header(message, "delivery-id", row->delivery);
	copy_header(message, "message-id", row->message);
	copy_header(message, "position", row->position);
	copy_header(message, "gone", row->gone);
	copy_header(message, "merged-into", row->into);
	assert_true(message->len < sizeof row->value);
	row->is_tombstone = message->payload == NULL;
	row->value_len = message->len;
	memset(row->value, 0, sizeof row->value);
	if (message->len) memcpy(row->value, message->payload, message->len);
}

static void read_topic(const char *topic, int partitions)
{
	char why[300];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), why, sizeof why);
	rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why);
	rd_kafka_conf_set(conf, "group.id", "test", why, sizeof why);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
	assert_non_null(rk);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	row_count = 0;
	for (int ended = 0; ended < partitions;) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 30000);
		assert_non_null(message);
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ended++;
		if (!message->err) keep_row(message);
		rd_kafka_message_destroy(message);
	}
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

static size_t times(const char *delivery)
{
	size_t found = 0;
	for (size_t i = 0; i < row_count; i++) found += strcmp(rows[i].delivery, delivery) == 0;
	return found;
}

/* Of each key, by first appearance: what a reader sees that leaves repetitions out. The ids count up. */
static void assert_order(void)
{
	for (size_t i = 0; i < row_count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(rows[k].key, rows[i].key) != 0) continue;
			assert_int_equal(rows[k].partition, rows[i].partition);
			bool was_there = false;
			for (size_t m = 0; m < i; m++) was_there |= strcmp(rows[m].delivery, rows[i].delivery) == 0;
			if (!was_there) assert_true(strcmp(rows[k].delivery, rows[i].delivery) < 0);
		}
	}
}

static void assert_each(size_t count, size_t how_often)
{
	for (size_t i = 0; i < count; i++) {
		if (how_often ? times(ids[i]) != how_often : times(ids[i]) == 0)
			fail_msg("%s is there %zu times", ids[i], times(ids[i]));
	}
	assert_order();
}

/* Hands over what must be handed over again, as the daemon does, until nothing is left. */
static void export_until_settled(size_t count)
{
	struct cdpd_record left[FAKE_MAX];
	memcpy(left, records, sizeof left);
	for (int round = 0; count > 0; round++) {
		assert_true(round < 100);
		size_t kept = 0;
		enum cdpd_verdict all = fake_export(&fake, left, count);
		for (size_t i = 0; i < count; i++)
			if (verdict_of(all, i) == CDPD_RETRY) left[kept++] = left[i];
		count = kept;
	}
}

/* ── tests ───────────────────────────────────────────────────────────────── */

static void test_key_headers_and_value(void **state)
{
	(void)state;
	make_records(40, 7);
	assert_int_equal(create_with("cdpd.events", "25000000", ""), CDPD_OK);
	enum cdpd_verdict all = fake_export(&fake, records, 40);
	assert_int_equal(count_verdicts(all, 40, CDPD_ACK), 40);
	read_topic("cdpd.events", PARTITIONS);
	assert_int_equal(row_count, 40);
	assert_each(40, 1);
	for (size_t i = 0; i < row_count; i++) {
		int n = atoi(rows[i].delivery + 1);
		assert_string_equal(rows[i].key, people[n]);
		assert_string_equal(rows[i].message, ids[n]);
		assert_string_equal(rows[i].position, ids[n]);
		assert_string_equal(rows[i].value, bodies[n]);
	}
	assert_int_equal(fake.counted[0], 40);
}

static void test_a_topic_for_each_type(void **state)
{
	(void)state;
	make_records(4, 4);
	records[1].json = str("{\"properties\":{\"type\":\"nested\"},\"x\":\"\\\"type\\\"\",\"type\":\"identify\"}");
	records[2].json = str("{\"type\":\"erased\",\"messageId\":\"r\"}");
	records[3].json = str("{\"type\":\"a b/c\"}");
	assert_int_equal(create_with("cdpd.{type}.{kind}", "25000000", ""), CDPD_OK);
	export_until_settled(4);
	static const char *const topics[] = {"cdpd.track.events", "cdpd.identify.events", "cdpd.erased.events",
					     "cdpd.a_b_c.events"};
	for (size_t i = 0; i < 4; i++) {
		read_topic(topics[i], PARTITIONS);
		assert_int_equal(row_count, 1);
		assert_string_equal(rows[0].delivery, ids[i]);
	}
}

static void make_gone(size_t i, const char *into)
{
	records[i].kind = CDPD_RECORD_PROFILE;
	records[i].flags = CDPD_RECORD_GONE;
	records[i].other_id = str(into);
	records[i].json = str("{\"type\":\"profile\",\"id\":\"x\",\"gone\":\"merged\",\"mergedInto\":\"y\"}");
}

static int create_more(const char *name, const char *value, const char *other, const char *other_value)
{
	struct fake_option options[] = {{"brokers", rd_kafka_mock_cluster_bootstraps(cluster)},
					{"timeout", "25000000"},
					{name, value},
					{other, other_value}};
	return fake_create(&fake, options, other ? 4 : 3);
}

/* The default: a topic for each kind; notices stand with the events. */
static void test_a_topic_for_each_kind(void **state)
{
	(void)state;
	make_records(4, 4);
	records[1].json = str("{\"type\":\"withdrawn\",\"purpose\":\"ads\"}");
	make_gone(2, people[1]);
	records[3].kind = CDPD_RECORD_CHANGE;
	assert_int_equal(create_more("compression", "none", NULL, NULL), CDPD_OK);
	export_until_settled(4);
	read_topic("cdpd.events", PARTITIONS);
	assert_int_equal(row_count, 2);
	read_topic("cdpd.profiles", PARTITIONS);
	assert_int_equal(row_count, 1);
	assert_string_equal(rows[0].gone, "merged");
	assert_string_equal(rows[0].into, people[1]);
	assert_non_null(strstr(rows[0].value, "mergedInto"));
	read_topic("cdpd.changes", PARTITIONS);
	assert_int_equal(row_count, 1);
	assert_string_equal(rows[0].delivery, ids[3]);
}

static void test_tombstones(void **state)
{
	(void)state;
	make_records(3, 3);
	records[0].kind = CDPD_RECORD_PROFILE;
	make_gone(1, people[0]);
	records[2].flags = CDPD_RECORD_GONE; /* of an event it means nothing */
	assert_int_equal(create_more("gone", "tombstone", "topic", "all"), CDPD_OK);
	export_until_settled(3);
	read_topic("all", PARTITIONS);
	assert_int_equal(row_count, 3);
	for (size_t i = 0; i < 3; i++) {
		bool is_gone = strcmp(rows[i].delivery, ids[1]) == 0;
		assert_int_equal(rows[i].is_tombstone, is_gone);
		if (!is_gone) continue;
		assert_string_equal(rows[i].key, people[1]);
		assert_string_equal(rows[i].gone, "merged");
		assert_string_equal(rows[i].into, people[0]);
	}
}

static void test_protobuf(void **state)
{
	(void)state;
	make_records(3, 3);
	records[0].time_us = 1700000000000000;
	make_gone(1, people[0]);
	records[1].time_us = -1;
	records[2].kind = CDPD_RECORD_CHANGE;
	records[2].json = str("{}");
	assert_int_equal(create_more("encoding", "protobuf", "topic", "all"), CDPD_OK);
	export_until_settled(3);
	read_topic("all", PARTITIONS);
	assert_int_equal(row_count, 3);
	for (size_t i = 0; i < 3; i++) {
		int n = atoi(rows[i].delivery + 1);
		Cdpd__V1__Record *record =
		    cdpd__v1__record__unpack(NULL, rows[i].value_len, (const uint8_t *)rows[i].value);
		assert_non_null(record);
		assert_int_equal(record->kind, records[n].kind);
		assert_string_equal(record->type, n == 0 ? "track" : n == 1 ? "profile" : "");
		assert_string_equal(record->delivery_id, ids[n]);
		assert_string_equal(record->position, ids[n]);
		assert_string_equal(record->message_id, ids[n]);
		assert_string_equal(record->profile_id, people[n]);
		assert_int_equal(record->gone, n == 1);
		assert_string_equal(record->other_id, n == 1 ? people[0] : "");
		assert_int_equal(record->time_us, records[n].time_us);
		assert_int_equal(record->json.len, records[n].json.len);
		assert_memory_equal(record->json.data, records[n].json.ptr, record->json.len);
		cdpd__v1__record__free_unpacked(record, NULL);
	}
}

static void test_a_kind_of_tomorrow_is_dropped_alone(void **state)
{
	(void)state;
	make_records(3, 3);
	records[1].kind = 9;
	assert_int_equal(create_with("cdpd.events", "25000000", ""), CDPD_OK);
	enum cdpd_verdict all = fake_export(&fake, records, 3);
	assert_int_equal(verdict_of(all, 1), CDPD_DROP);
	assert_int_equal(count_verdicts(all, 3, CDPD_ACK), 2);
}

static void test_errors_that_pass_are_nobodys_business(void **state)
{
	(void)state;
	make_records(60, 5);
	assert_int_equal(create_with("cdpd.events", "25000000", "batch.num.messages=5,retry.backoff.ms=10"), CDPD_OK);
	rd_kafka_mock_push_request_errors(cluster, PRODUCE, 5, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
					  RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
					  RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
	export_until_settled(60);
	assert_int_equal(rd_kafka_mock_broker_error_stack_cnt(cluster, 1, PRODUCE, &(size_t){0}), 0);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(60, 0);
}

static void test_a_broker_that_is_down_is_a_retry(void **state)
{
	(void)state;
	make_records(30, 3);
	assert_int_equal(create_with("cdpd.events", "500000", "reconnect.backoff.max.ms=200"), CDPD_OK);
	export_until_settled(30);
	make_records(30, 3);
	for (size_t i = 0; i < 30; i++) ids[i][0] = 'e';
	rd_kafka_mock_broker_set_down(cluster, 1);
	enum cdpd_verdict all = fake_export(&fake, records, 30);
	assert_int_equal(count_verdicts(all, 30, CDPD_RETRY), 30);
	assert_true(fake.receipt.all.reason[0] != '\0');
	all = fake_export(&fake, records, 30);
	assert_int_equal(count_verdicts(all, 30, CDPD_RETRY), 30);
	rd_kafka_mock_broker_set_up(cluster, 1);
	export_until_settled(30);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(30, 0);
	assert_true(row_count >= 60);
}

static void test_too_few_replicas_until_the_deadline(void **state)
{
	rd_kafka_resp_err_t errors[300];
	(void)state;
	make_records(20, 2);
	for (size_t i = 0; i < 300; i++) errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
	assert_int_equal(create_with("cdpd.events", "1000000", ""), CDPD_OK);
	rd_kafka_mock_push_request_errors_array(cluster, PRODUCE, 300, errors);
	enum cdpd_verdict all = fake_export(&fake, records, 20);
	assert_int_equal(count_verdicts(all, 20, CDPD_RETRY), 20);
	rd_kafka_mock_clear_request_errors(cluster, PRODUCE);
	export_until_settled(20);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(20, 0); /* a second may be too short for a busy machine: then they come again */
}

/* Sequences that do not fit are fatal to an idempotent producer. */
static void test_a_fatal_error_costs_a_producer(void **state)
{
	(void)state;
	make_records(20, 2);
	assert_int_equal(create_with("cdpd.events", "25000000", ""), CDPD_OK);
	rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	enum cdpd_verdict all = fake_export(&fake, records, 20);
	assert_true(count_verdicts(all, 20, CDPD_RETRY) > 0);
	assert_int_equal(fake.counted[1], 1); /* made anew */
	export_until_settled(20);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(20, 0);
}

static void test_too_large_for_the_client_is_dropped_alone(void **state)
{
	static char big[3000];
	(void)state;
	make_records(3, 1);
	memset(big, 'x', sizeof big - 1);
	records[1].json = str(big);
	assert_int_equal(create_with("cdpd.events", "25000000", "message.max.bytes=2000"), CDPD_OK);
	enum cdpd_verdict all = fake_export(&fake, records, 3);
	assert_int_equal(verdict_of(all, 0), CDPD_ACK);
	assert_int_equal(verdict_of(all, 1), CDPD_DROP);
	assert_non_null(strstr(fake.receipt.named[1].reason, "message.max.bytes"));
	assert_int_equal(verdict_of(all, 2), CDPD_ACK);
}

/* A request of many records that a broker finds too large says nothing of each of them. */
static void test_a_request_too_large_for_the_broker_drops_nobody(void **state)
{
	(void)state;
	make_records(10, 1);
	assert_int_equal(create_with("cdpd.events", "25000000", ""), CDPD_OK);
	rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	enum cdpd_verdict all = fake_export(&fake, records, 10);
	assert_int_equal(count_verdicts(all, 10, CDPD_ACK), 10);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(10, 1);
}

static void test_a_record_too_large_for_the_broker_is_dropped_alone(void **state)
{
	(void)state;
	make_records(10, 1);
	assert_int_equal(create_with("cdpd.events", "25000000", ""), CDPD_OK);
	rd_kafka_mock_push_request_errors(cluster, PRODUCE, 2, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
					  RD_KAFKA_RESP_ERR_INVALID_RECORD);
	enum cdpd_verdict all = fake_export(&fake, records, 10);
	assert_int_equal(count_verdicts(all, 10, CDPD_DROP), 1);
	assert_int_equal(count_verdicts(all, 10, CDPD_ACK), 9);
	read_topic("cdpd.events", PARTITIONS);
	assert_int_equal(row_count, 9);
	for (size_t i = 0; i < 10; i++) assert_int_equal(times(ids[i]), verdict_of(all, i) == CDPD_ACK);
}

/* One topic is forbidden: its records wait, and so do later ones of the same people, wherever they go. */
static void test_nobody_overtakes_a_record_of_theirs(void **state)
{
	(void)state;
	make_records(6, 3);
	records[1].json = str("{\"type\":\"identify\"}"); /* of person 1, as is record 4 */
	assert_int_equal(rd_kafka_mock_topic_create(cluster, "t.identify", 1, 1), 0);
	assert_int_equal(rd_kafka_mock_topic_create(cluster, "t.track", 1, 1), 0);
	rd_kafka_mock_topic_set_error(cluster, "t.identify", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	assert_int_equal(create_with("t.{type}", "3000000", ""), CDPD_OK);
	enum cdpd_verdict all = CDPD_RETRY;
	for (int round = 0; round < 20 && (round == 0 || verdict_of(all, 0) != CDPD_ACK); round++)
		all = fake_export(&fake, records, 6);
	for (size_t i = 0; i < 6; i++) assert_int_equal(verdict_of(all, i), i % 3 == 1 ? CDPD_RETRY : CDPD_ACK);
	rd_kafka_mock_topic_set_error(cluster, "t.identify", RD_KAFKA_RESP_ERR_NO_ERROR);
	export_until_settled(6);
	read_topic("t.identify", 1);
	assert_true(times(ids[1]) >= 1);
	read_topic("t.track", 1);
	assert_true(times(ids[4]) >= 1);
}

static void test_a_small_queue_takes_them_all(void **state)
{
	(void)state;
	make_records(64, 5);
	assert_int_equal(create_with("cdpd.events", "25000000", "queue.buffering.max.messages=8"), CDPD_OK);
	enum cdpd_verdict all = fake_export(&fake, records, 64);
	assert_int_equal(count_verdicts(all, 64, CDPD_ACK), 64);
	read_topic("cdpd.events", PARTITIONS);
	assert_each(64, 1);
}

static void test_what_may_be_set(void **state)
{
	(void)state;
	static const struct {
		const char *settings, *says;
	} bad[] = {
	    {"enable.idempotence=false", "promises"},
	    {"acks=0", "promises"},
	    {" message.timeout.ms = 5", "promises"},
	    {"bootstrap.servers=x", "brokers"},
	    {"sasl.password=hunter2", "sasl_password"},
	    {"ssl.key.pem=x", "ssl.key.location"},
	    {"plugin.library.paths=/x.so", "no code"},
	    {"linger.msec=5", "linger.msec"},
	    {"linger.ms=soon", "linger.ms"},
	    {"linger.ms", "name=value"},
	    {"dr_msg_cb=1", "function"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		said[0] = '\0';
		assert_int_equal(create_with("cdpd.events", "1000000", bad[i].settings), CDPD_ERR_INVALID);
		if (!strstr(said, bad[i].says)) fail_msg("'%s' says '%s'", bad[i].settings, said);
		assert_null(strstr(said, "hunter2"));
	}
	assert_int_equal(create_with("cdpd.events", "1000000", "linger.ms = 1,security.protocol=PLAINTEXT"), CDPD_OK);
}

static void test_topics_that_cannot_be(void **state)
{
	(void)state;
	static const char *const bad[] = {"a b", "..", "cdpd.{event}", "{type", "a}"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		said[0] = '\0';
		assert_int_equal(create_with(bad[i], "1000000", ""), CDPD_ERR_INVALID);
		assert_non_null(strstr(said, "topic"));
	}
}

static void test_a_broker_that_never_was_does_not_hold_the_end(void **state)
{
	(void)state;
	struct fake_option options[] = {{"brokers", "127.0.0.1:1"}, {"timeout", "300000"}};
	make_records(5, 1);
	assert_int_equal(fake_create(&fake, options, 2), CDPD_OK);
	enum cdpd_verdict all = fake_export(&fake, records, 5);
	assert_int_equal(count_verdicts(all, 5, CDPD_RETRY), 5);
	if (!strstr(fake.receipt.all.reason, "127.0.0.1:1")) fail_msg("%s", fake.receipt.all.reason);
	fake_destroy(&fake);
	fake.self = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_key_headers_and_value),
	    TEST(test_a_topic_for_each_type),
	    TEST(test_a_topic_for_each_kind),
	    TEST(test_tombstones),
	    TEST(test_protobuf),
	    TEST(test_a_kind_of_tomorrow_is_dropped_alone),
	    TEST(test_errors_that_pass_are_nobodys_business),
	    TEST(test_a_broker_that_is_down_is_a_retry),
	    TEST(test_too_few_replicas_until_the_deadline),
	    TEST(test_a_fatal_error_costs_a_producer),
	    TEST(test_too_large_for_the_client_is_dropped_alone),
	    TEST(test_a_request_too_large_for_the_broker_drops_nobody),
	    TEST(test_a_record_too_large_for_the_broker_is_dropped_alone),
	    TEST(test_nobody_overtakes_a_record_of_theirs),
	    TEST(test_a_small_queue_takes_them_all),
	    TEST(test_what_may_be_set),
	    TEST(test_topics_that_cannot_be),
	    TEST(test_a_broker_that_never_was_does_not_hold_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
