/* kafka: an exporter that publishes every record to Apache Kafka. settings.c knows what may be configured, topic.c names topics, envelope.c
 * writes protobuf, producer.c owns the connection, kafka.c the batch and its verdicts. See README.md. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "cdpd_plugin.h"

#define TOPIC_MAX  249 /* Kafka's own limit */
#define REASON_MAX 200

enum sent_state {
	SENT_NOT = 0,   /* nothing is known: hand it over again */
	SENT_WAITING,   /* with librdkafka */
	SENT_CONFIRMED, /* all in-sync replicas have it */
	SENT_FAILED,    /* hand it over again */
	SENT_REFUSED,   /* the broker refuses it, or the request that it came in */
	SENT_IMPOSSIBLE /* it can never be taken */
};

struct sent {
	struct cdpd_record record;
	struct cdpd_str value; /* ptr NULL: a tombstone */
	enum sent_state state;
	char topic[TOPIC_MAX + 1];
	char reason[REASON_MAX];
};

struct kafka {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int records_metric, restarts_metric, confirm_metric;

	char *topic;           /* the template */
	rd_kafka_conf_t *conf; /* checked; copied for each producer */
	int64_t timeout_us;

	rd_kafka_t *rk;           /* NULL: none at the moment */
	size_t waiting;           /* reports that have not come; own thread only: they are served by our polls */
	char trouble[REASON_MAX]; /* what the client said last of its brokers */

	bool is_protobuf, has_tombstones;

	struct sent *sent;
	size_t count, size;
	char *packed; /* the values of the batch, when they are not its records' own */
	size_t packed_size;
};

/* Reads brokers, compression, settings and secrets into self->conf. CDPD_ERR_INVALID: logged. */
int settings_read(struct kafka *self, const struct cdpd_conf *conf);

/* NULL, or what is wrong with a template. */
const char *topic_check(const char *text);
/* The topic of a record: {type} is its member "type", {kind} `events`, `profiles` or `changes`. false: too long. */
bool topic_make(const char *text, const struct cdpd_record *record, char out[TOPIC_MAX + 1]);

int64_t producer_now_us(void); /* monotonic */
/* Makes the producer unless there is one; it connects by itself. CDPD_ERR_IO: logged. */
int producer_open(struct kafka *self);
/* What was not confirmed is forgotten: its state is SENT_FAILED afterwards. */
void producer_close(struct kafka *self);
/* The record's text and the value must live until its state is no more SENT_WAITING. Waits for room in the queue until `deadline_us`.
 * false: this producer can send nothing more. */
bool producer_send(struct kafka *self, struct sent *slot, int64_t deadline_us);
/* Waits for every report. Past the deadline, or when the producer has failed for good, nothing waits any more and a new producer is
 * used from then on: so what is sent again later never comes before what was sent first. */
void producer_settle(struct kafka *self, int64_t deadline_us);
