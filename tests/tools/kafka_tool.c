/* kafka_tool: a Kafka broker for tests, and a reader of topics.
 *
 *	kafka_tool mock              librdkafka's mock broker: prints its address, obeys `down`, `up` and `peek TOPIC` on standard input, ends
 *	                             with it
 *	kafka_tool peek BROKERS TOPIC
 *
 * peek prints one line a record: partition, offset, key, delivery-id, message-id and value, split by tabs, then a line "end". */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 64

static void die(const char *what, const char *why)
{
	fprintf(stderr, "kafka_tool: %s: %s\n", what, why);
	exit(1);
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers)
{
	char why[300];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (brokers && rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why)) die(brokers, why);
	if (rd_kafka_conf_set(conf, "enable.partition.eof", "true", why, sizeof why)) die("eof", why);
	if (rd_kafka_conf_set(conf, "group.id", "peek", why, sizeof why)) die("group", why);
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
	if (!rk) die("no client", why);
	return rk;
}

/* 0: the topic is not there. */
static int partitions_of(rd_kafka_t *rk, const char *topic)
{
	const struct rd_kafka_metadata *all;
	int count = 0;
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, rkt, &all, 20000);
	if (error) die("no metadata", rd_kafka_err2str(error));
	if (all->topic_cnt == 1 && !all->topics[0].err) count = all->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(all);
	rd_kafka_topic_destroy(rkt);
	return count < PARTITIONS_MAX ? count : PARTITIONS_MAX;
}

static void print_header(const rd_kafka_message_t *message, const char *name)
{
	rd_kafka_headers_t *headers;
	const void *value = "";
	size_t size = 0;
	if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
		(void)rd_kafka_header_get_last(headers, name, &value, &size);
	printf("%.*s\t", (int)size, (const char *)value);
}

static void peek(const char *brokers, const char *topic)
{
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, brokers);
	int partitions = partitions_of(rk, topic);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	for (int ended = 0; ended < partitions;) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 20000);
		if (!message) die(topic, "nothing comes");
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			ended++;
		} else if (!message->err) {
			printf("%d\t%lld\t%.*s\t", message->partition, (long long)message->offset,
			       (int)message->key_len, (const char *)message->key);
			print_header(message, "delivery-id");
			print_header(message, "message-id");
			printf("%.*s\n", (int)message->len, (const char *)message->payload);
		}
		rd_kafka_message_destroy(message);
	}
	printf("end\n");
	fflush(stdout);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
}

static void mock(void)
{
	char line[300];
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, NULL);
	rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
	if (!cluster) die("mock", "no cluster");
	char *brokers = strdup(rd_kafka_mock_cluster_bootstraps(cluster));
	printf("%s\n", brokers);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "down") == 0) rd_kafka_mock_broker_set_down(cluster, 1);
		if (strcmp(line, "up") == 0) rd_kafka_mock_broker_set_up(cluster, 1);
		if (strncmp(line, "peek ", 5) == 0) peek(brokers, line + 5);
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	free(brokers);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "mock") == 0)
		mock();
	else if (argc == 4 && strcmp(argv[1], "peek") == 0)
		peek(argv[2], argv[3]);
	else
		die("usage", "kafka_tool mock | kafka_tool peek BROKERS TOPIC");
	return 0;
}
