#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shared/records.h"
#include "envelope.h"

/* ── order ───────────────────────────────────────────────────────────────── */

static bool is_same_key(const struct sent *a, const struct sent *b)
{
	return a->record.profile_id.len == b->record.profile_id.len &&
	       memcmp(a->record.profile_id.ptr, b->record.profile_id.ptr, a->record.profile_id.len) == 0;
}

static bool comes_again(const struct sent *slot)
{
	return slot->state == SENT_NOT || slot->state == SENT_FAILED || slot->state == SENT_REFUSED;
}

/* Does an earlier record of the same person come again? Then this one comes after it. `first`: the first that comes again. */
static bool is_behind(const struct kafka *self, size_t first, size_t i)
{
	for (size_t k = first; k < i; k++)
		if (comes_again(&self->sent[k]) && is_same_key(&self->sent[k], &self->sent[i])) return true;
	return false;
}

/* ── the batch ───────────────────────────────────────────────────────────── */

static bool make_room(struct kafka *self, size_t count)
{
	if (count <= self->size) return true;
	struct sent *bigger = realloc(self->sent, count * sizeof *bigger);
	if (!bigger) return false;
	self->sent = bigger;
	self->size = count;
	return true;
}

static void refuse(struct sent *slot, const char *why)
{
	slot->state = SENT_IMPOSSIBLE;
	snprintf(slot->reason, sizeof slot->reason, "%s", why);
}

static bool take_record(struct kafka *self, const struct cdpd_batch *batch, size_t i)
{
	struct sent *slot = &self->sent[i];
	slot->record = (struct cdpd_record){.size = sizeof slot->record};
	slot->state = SENT_NOT;
	slot->reason[0] = '\0';
	if (self->host->batch_record(batch, i, &slot->record) != CDPD_OK) return false;
	slot->value = slot->record.json;
	if (!record_stream(&slot->record))
		refuse(slot, "a kind of record that this version does not know");
	else if (!topic_make(self->topic, &slot->record, slot->topic))
		refuse(slot, "the topic's name would be too long");
	else if (self->has_tombstones && record_is_gone(&slot->record))
		slot->value = (struct cdpd_str){NULL, 0};
	return true;
}

/* As protobuf, one behind the other: librdkafka does not copy them. */
static bool pack(struct kafka *self)
{
	size_t size = 0, at = 0;
	for (size_t i = 0; i < self->count; i++) size += envelope_size(&self->sent[i].record);
	if (size > self->packed_size) {
		free(self->packed);
		self->packed = malloc(size);
		self->packed_size = self->packed ? size : 0;
		if (!self->packed) return false;
	}
	for (size_t i = 0; i < self->count; i++) {
		struct sent *slot = &self->sent[i];
		size_t len = envelope_size(&slot->record);
		if (!slot->value.ptr) continue;
		envelope_write(&slot->record, self->packed + at);
		slot->value = (struct cdpd_str){self->packed + at, len};
		at += len;
	}
	return true;
}

static bool collect(struct kafka *self, const struct cdpd_batch *batch)
{
	self->count = 0;
	size_t count = self->host->batch_count(batch);
	if (!make_room(self, count)) return false;
	for (; self->count < count; self->count++)
		if (!take_record(self, batch, self->count)) return false;
	return !self->is_protobuf || pack(self);
}

static void send_all(struct kafka *self, int64_t deadline_us)
{
	size_t failed = self->count;
	for (size_t i = 0; i < self->count; i++) {
		struct sent *slot = &self->sent[i];
		if (slot->state != SENT_NOT || (failed < i && is_behind(self, failed, i))) continue;
		if (!producer_send(self, slot, deadline_us)) break;
		if (slot->state == SENT_FAILED && failed == self->count) failed = i;
	}
	producer_settle(self, deadline_us);
}

static size_t first_refused(const struct kafka *self)
{
	size_t i = 0;
	while (i < self->count && self->sent[i].state != SENT_REFUSED) i++;
	return i;
}

/* A broker refuses whole requests. From the first refused record on each goes alone, so that only those to blame are left out. */
static void send_singly(struct kafka *self, int64_t deadline_us)
{
	for (size_t i = first_refused(self); i < self->count; i++) {
		struct sent *slot = &self->sent[i];
		if (slot->state == SENT_CONFIRMED || slot->state == SENT_IMPOSSIBLE) continue;
		if (producer_now_us() >= deadline_us || producer_open(self) != CDPD_OK) return;
		(void)producer_send(self, slot, deadline_us);
		producer_settle(self, deadline_us);
		if (slot->state == SENT_REFUSED) slot->state = SENT_IMPOSSIBLE;
		if (slot->state != SENT_CONFIRMED && slot->state != SENT_IMPOSSIBLE) return;
	}
}

/* ── the verdicts ────────────────────────────────────────────────────────── */

static const char *why_again(const struct kafka *self, const struct sent *slot)
{
	if (slot->reason[0] && slot->state == SENT_FAILED) return slot->reason;
	return self->trouble[0] ? self->trouble : "not confirmed in time";
}

/* Nothing came through: that is no matter of single records. */
static enum cdpd_verdict judge_all(struct kafka *self, struct cdpd_receipt *receipt, size_t first)
{
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, why_again(self, &self->sent[first]));
	return CDPD_RETRY;
}

static enum cdpd_verdict judge_each(struct kafka *self, struct cdpd_receipt *receipt, size_t first)
{
	for (size_t i = first; i < self->count; i++) {
		const struct sent *slot = &self->sent[i];
		if (comes_again(slot))
			self->host->receipt_set(receipt, i, CDPD_RETRY, 0, why_again(self, slot));
		else if (slot->state == SENT_CONFIRMED && is_behind(self, first, i))
			self->host->receipt_set(receipt, i, CDPD_RETRY, 0, "an earlier record of this person waits");
	}
	return CDPD_ACK; /* of those that are not named */
}

static enum cdpd_verdict judge(struct kafka *self, struct cdpd_receipt *receipt)
{
	size_t first = self->count; /* that comes again */
	uint64_t confirmed = 0;
	for (size_t i = 0; i < self->count; i++) {
		const struct sent *slot = &self->sent[i];
		if (slot->state == SENT_IMPOSSIBLE) self->host->receipt_set(receipt, i, CDPD_DROP, 0, slot->reason);
		if (comes_again(slot) && first == self->count) first = i;
		confirmed += slot->state == SENT_CONFIRMED;
	}
	self->host->count(self->instance, self->records_metric, confirmed);
	if (first == self->count) {
		self->trouble[0] = '\0';
		return CDPD_ACK;
	}
	return confirmed ? judge_each(self, receipt, first) : judge_all(self, receipt, first);
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct kafka *self = ctx;
	int64_t began_us = producer_now_us(), deadline_us = began_us + self->timeout_us;
	if (!collect(self, batch)) return CDPD_RETRY;
	if (producer_open(self) != CDPD_OK) {
		self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, self->trouble);
		return CDPD_RETRY;
	}
	send_all(self, deadline_us);
	if (first_refused(self) < self->count) send_singly(self, deadline_us);
	self->host->observe_us(self->instance, self->confirm_metric, producer_now_us() - began_us);
	return judge(self, receipt);
}

/* ── making and ending ───────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct kafka *self = ctx;
	producer_close(self); /* between batches nothing waits */
	if (self->conf) rd_kafka_conf_destroy(self->conf);
	free(self->sent);
	free(self->packed);
	free(self->topic);
	free(self);
}

static int configure(struct kafka *self, const struct cdpd_conf *conf)
{
	struct cdpd_str topic = self->host->conf_text(conf, "topic");
	self->timeout_us = self->host->conf_int(conf, "timeout");
	self->is_protobuf = record_is(self->host->conf_text(conf, "encoding"), "protobuf");
	self->has_tombstones = record_is(self->host->conf_text(conf, "gone"), "tombstone");
	self->topic = strndup(topic.ptr, topic.len);
	if (!self->topic) return CDPD_ERR_NOMEM;
	const char *wrong = topic_check(self->topic);
	if (wrong) {
		self->host->log(self->instance, CDPD_LOG_ERROR, "topic '%s': %s", self->topic, wrong);
		return CDPD_ERR_INVALID;
	}
	self->records_metric =
	    self->host->counter(self->instance, "kafka_records_total", "Records that all in-sync replicas have.");
	self->restarts_metric =
	    self->host->counter(self->instance, "kafka_restarts_total", "Producers given up and made anew.");
	self->confirm_metric =
	    self->host->histogram(self->instance, "kafka_confirm_seconds", "From a batch to its last report.");
	return settings_read(self, conf);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct kafka *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	int rc = configure(self, conf);
	if (rc == CDPD_OK) rc = producer_open(self);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {
	.name = "brokers",
	.type = CDPD_OPTION_LIST,
	.is_required = true,
	.min = 1,
	.max = 100,
	.help = "host:port of some brokers; the others are found through them",
    },
    {
	.name = "topic",
	.type = CDPD_OPTION_STRING,
	.default_text = "cdpd.{kind}",
	.min = 1,
	.max = TOPIC_MAX,
	.help = "where records go; {kind} is events, profiles or changes, {type} the record's type",
    },
    {
	.name = "encoding",
	.type = CDPD_OPTION_ENUM,
	.default_text = "json",
	.values = "json|protobuf",
	.help = "of values; protobuf: cdpd.v1.Record",
    },
    {
	.name = "gone",
	.type = CDPD_OPTION_ENUM,
	.default_text = "mark",
	.values = "mark|tombstone",
	.help =
	    "what tells that a person is no more: a record that says so, or one without a value, for compacted topics",
    },
    {
	.name = "compression",
	.type = CDPD_OPTION_ENUM,
	.default_text = "lz4",
	.values = "none|gzip|snappy|lz4|zstd",
	.help = "of what is sent and stored",
    },
    {
	.name = "timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 100e3,
	.max = 25e6,
	.help = "how long a batch is waited for; what is not confirmed then is handed over again",
    },
    {
	.name = "settings",
	.type = CDPD_OPTION_LIST,
	.min = 0,
	.max = 200,
	.help = "librdkafka's settings, each name=value: security.protocol=SASL_SSL, linger.ms=5",
    },
    {.name = "sasl_password", .type = CDPD_OPTION_SECRET, .help = "sasl.password"},
    {.name = "ssl_key_password", .type = CDPD_OPTION_SECRET, .help = "ssl.key.password"},
    {.name = "ssl_keystore_password", .type = CDPD_OPTION_SECRET, .help = "ssl.keystore.password"},
    {.name = "oauth_client_secret", .type = CDPD_OPTION_SECRET, .help = "sasl.oauthbearer.client.secret"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4,
    .name = "kafka",
    .version = "1.1.0",
    .summary = "publishes events, people and changes to Apache Kafka, in order for each person",
    .caps = CDPD_CAP_EXPORT,
    .flags = CDPD_PLUGIN_OWN_IO,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
