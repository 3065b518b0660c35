#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "../shared/records.h"
#include "kafka.h"

#define US_PER_MS  1000
#define SLICE_MS   100
#define PURGE_US   (INT64_C(2000) * US_PER_MS)
#define CONST_CAST (void *)(uintptr_t) /* librdkafka copies or only reads what it takes as void * */

int64_t producer_now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ── what librdkafka tells ───────────────────────────────────────────────── */

/* Of these the request may be to blame, not each record in it. */
static bool is_refusal(rd_kafka_resp_err_t error)
{
	return error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || error == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
	       error == RD_KAFKA_RESP_ERR_INVALID_RECORD || error == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct kafka *self = opaque;
	struct sent *slot = message->_private;
	(void)rk;
	self->waiting--;
	slot->state = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? SENT_CONFIRMED
		      : is_refusal(message->err)                 ? SENT_REFUSED
								 : SENT_FAILED;
	bool is_purged =
	    message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
	if (message->err && !is_purged)
		snprintf(slot->reason, sizeof slot->reason, "%s", rd_kafka_err2str(message->err));
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
	struct kafka *self = opaque;
	(void)rk;
	if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && self->trouble[0]) return; /* why is more */
	snprintf(self->trouble, sizeof self->trouble, "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)error), reason);
}

/* On librdkafka's threads. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct kafka *self = rd_kafka_opaque(rk);
	/* It calls what we rest on experimental, for every producer anew. */
	if (strcmp(facility, "CONFWARN") == 0 && strstr(text, "enable.gapless.guarantee")) return;
	/* A broken connection is its errors too; that the destination fails is the daemon's to say. */
	enum cdpd_log_level at = level <= LOG_WARNING ? CDPD_LOG_WARN
				 : level <= LOG_INFO  ? CDPD_LOG_INFO
						      : CDPD_LOG_DEBUG;
	if (self) self->host->log(self->instance, at, "%s: %s", facility, text);
}

/* ── making and ending ───────────────────────────────────────────────────── */

int producer_open(struct kafka *self)
{
	char why[300];
	if (self->rk) return CDPD_OK;
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(self->conf);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_opaque(conf, self);
	self->waiting = 0;
	self->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (self->rk) return CDPD_OK;
	rd_kafka_conf_destroy(conf); /* still ours when it fails */
	self->host->log(self->instance, CDPD_LOG_ERROR, "the producer cannot be made: %s", why);
	snprintf(self->trouble, sizeof self->trouble, "%.*s", (int)sizeof self->trouble - 1, why);
	return CDPD_ERR_IO;
}

static void poll_until(struct kafka *self, int64_t deadline_us)
{
	while (self->waiting > 0 && producer_now_us() < deadline_us) (void)rd_kafka_poll(self->rk, SLICE_MS);
}

void producer_close(struct kafka *self)
{
	if (!self->rk) return;
	if (self->waiting > 0) {
		(void)rd_kafka_purge(self->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		poll_until(self, producer_now_us() + PURGE_US);
	}
	rd_kafka_destroy(self->rk); /* no report comes after it */
	self->rk = NULL;
	for (size_t i = 0; self->waiting > 0 && i < self->count; i++)
		if (self->sent[i].state == SENT_WAITING) self->sent[i].state = SENT_FAILED;
	self->waiting = 0;
}

static bool has_failed(struct kafka *self)
{
	char why[300];
	rd_kafka_resp_err_t error = rd_kafka_fatal_error(self->rk, why, sizeof why);
	if (!error) return false;
	snprintf(self->trouble, sizeof self->trouble, "%.*s", (int)sizeof self->trouble - 1, why);
	return true;
}

/* ── sending ─────────────────────────────────────────────────────────────── */

/* Of somebody who is gone, a tombstone has no other place to say why. Owned by the message once it is taken. */
static rd_kafka_headers_t *make_headers(const struct cdpd_record *r)
{
	bool is_gone = record_is_gone(r);
	rd_kafka_headers_t *headers = rd_kafka_headers_new(is_gone ? 5 : 3);
	struct cdpd_str why = is_gone ? record_why_gone(r) : (struct cdpd_str){"", 0};
	(void)rd_kafka_header_add(headers, "delivery-id", -1, r->delivery_id.ptr, (ssize_t)r->delivery_id.len);
	(void)rd_kafka_header_add(headers, "message-id", -1, r->message_id.ptr, (ssize_t)r->message_id.len);
	(void)rd_kafka_header_add(headers, "position", -1, r->position.ptr, (ssize_t)r->position.len);
	if (is_gone) (void)rd_kafka_header_add(headers, "gone", -1, why.ptr, (ssize_t)why.len);
	if (is_gone) (void)rd_kafka_header_add(headers, "merged-into", -1, r->other_id.ptr, (ssize_t)r->other_id.len);
	return headers;
}

static rd_kafka_resp_err_t produce(struct kafka *self, struct sent *slot)
{
	const struct cdpd_record *r = &slot->record;
	rd_kafka_headers_t *headers = make_headers(r);
	slot->state = SENT_WAITING;
	self->waiting++;
	rd_kafka_resp_err_t error =
	    rd_kafka_producev(self->rk, RD_KAFKA_V_TOPIC(slot->topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
			      RD_KAFKA_V_KEY(CONST_CAST r->profile_id.ptr, r->profile_id.len),
			      RD_KAFKA_V_VALUE(CONST_CAST slot->value.ptr, slot->value.len),
			      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(slot), RD_KAFKA_V_END);
	if (error) rd_kafka_headers_destroy(headers); /* still ours when it fails */
	if (!error) return error;
	self->waiting--;
	slot->state = SENT_FAILED;
	snprintf(slot->reason, sizeof slot->reason, "%s", rd_kafka_err2str(error));
	return error;
}

bool producer_send(struct kafka *self, struct sent *slot, int64_t deadline_us)
{
	rd_kafka_resp_err_t error;
	while ((error = produce(self, slot)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
		if (producer_now_us() >= deadline_us || has_failed(self)) return false;
		(void)rd_kafka_poll(self->rk, SLICE_MS);
	}
	if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
		slot->state = SENT_IMPOSSIBLE;
		snprintf(slot->reason, sizeof slot->reason, "the record is larger than message.max.bytes");
		return true;
	}
	return error != RD_KAFKA_RESP_ERR__FATAL;
}

void producer_settle(struct kafka *self, int64_t deadline_us)
{
	if (!self->rk) return;
	while (self->waiting > 0 && !has_failed(self)) {
		int64_t left_us = deadline_us - producer_now_us();
		if (left_us <= 0) break;
		int slice = left_us < (int64_t)SLICE_MS * US_PER_MS ? (int)(left_us / US_PER_MS) + 1 : SLICE_MS;
		(void)rd_kafka_flush(self->rk, slice); /* sends at once, whatever linger.ms says */
	}
	if (self->waiting == 0 && !has_failed(self)) return;
	self->host->count(self->instance, self->restarts_metric, 1);
	producer_close(self);
}
