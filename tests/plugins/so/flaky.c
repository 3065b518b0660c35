/* An exporter that does what its option says and writes the message ids it took, a line each, to a file. Modes:
 * ack; retry_first (all of each batch once); pending (answered by a thread); pending_never; drop_odd (records at odd places); retry_second
 * (the second record of a batch, once); records (writes "kind flags profile other json" lines and asks for every third record again, sooner or
 * later); hang (sleeps in export_batch); slow (each batch is answered by a thread of its own, 5 ms later); hold (the message ids in <file>.hold, of
 * batches of one record, are answered when there is a file <file>.go, as .later says by then). A file named <file>.down makes every
 * batch a RETRY while it exists; one named <file>.refuse makes each record a DROP that repeats its message id; the message ids in one named
 * <file>.later, a line each, are asked for again. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdpd_plugin.h"

struct flaky {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char file[512], down[520], refuse[520], later[520], hold[520], go[520], mode[32];
	_Atomic unsigned held;
	unsigned calls, looked;
	pthread_t thread;
	bool has_thread;
	struct cdpd_receipt *receipt;
};

static bool is_mode(const struct flaky *self, const char *mode)
{
	return strcmp(self->mode, mode) == 0;
}

static void note(struct flaky *self, const struct cdpd_batch *batch, size_t index)
{
	struct cdpd_record record = {.size = sizeof record};
	FILE *file = fopen(self->file, "a");
	if (file && self->host->batch_record(batch, index, &record) == CDPD_OK) {
		fprintf(file, "%.*s %.*s %u\n", (int)record.message_id.len, record.message_id.ptr,
			(int)record.delivery_id.len, record.delivery_id.ptr, record.attempt);
	}
	if (file) fclose(file);
}

static void note_all(struct flaky *self, const struct cdpd_batch *batch)
{
	size_t count = self->host->batch_count(batch);
	for (size_t i = 0; i < count; i++) note(self, batch, i);
}

/* Every third call of it says no, whatever the record. */
static enum cdpd_verdict take_records(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	size_t count = self->host->batch_count(batch);
	struct cdpd_record record = {.size = sizeof record};
	FILE *file = fopen(self->file, "a");
	if (!file) return CDPD_RETRY;
	for (size_t i = 0; i < count; i++) {
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) continue;
		if (++self->looked % 3 == 0) {
			self->host->receipt_set(receipt, i, CDPD_RETRY, 1, "not yet");
			continue;
		}
		fprintf(file, "%u %u %.*s %.*s %.*s\n", record.kind, record.flags, (int)record.profile_id.len,
			record.profile_id.ptr, record.other_id.len ? (int)record.other_id.len : 1,
			record.other_id.len ? record.other_id.ptr : "-", (int)record.json.len, record.json.ptr);
	}
	fclose(file);
	return CDPD_ACK;
}

static void *answer(void *ctx)
{
	struct flaky *self = ctx;
	usleep(2000);
	(void)self->host->receipt_done(self->receipt, CDPD_ACK);
	return NULL;
}

static void join(struct flaky *self)
{
	if (self->has_thread) pthread_join(self->thread, NULL);
	self->has_thread = false;
}

static enum cdpd_verdict pend(struct flaky *self, struct cdpd_receipt *receipt)
{
	join(self);
	self->receipt = receipt;
	self->has_thread = pthread_create(&self->thread, NULL, answer, self) == 0;
	return self->has_thread ? CDPD_PENDING : CDPD_RETRY;
}

static enum cdpd_verdict drop_odd(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	size_t count = self->host->batch_count(batch);
	for (size_t i = 0; i < count; i++) {
		if (i % 2 == 1)
			self->host->receipt_set(receipt, i, CDPD_DROP, 0, "odd");
		else
			note(self, batch, i);
	}
	return CDPD_ACK;
}

static enum cdpd_verdict retry_second(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	size_t count = self->host->batch_count(batch);
	struct cdpd_record record = {.size = sizeof record};
	for (size_t i = 0; i < count; i++) {
		(void)self->host->batch_record(batch, i, &record);
		if (i == 1 && record.attempt == 1)
			self->host->receipt_set(receipt, i, CDPD_RETRY, 1, "not yet");
		else
			note(self, batch, i);
	}
	return CDPD_ACK;
}

static enum cdpd_verdict refuse(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	size_t count = self->host->batch_count(batch);
	struct cdpd_record record = {.size = sizeof record};
	char reason[200];
	for (size_t i = 0; i < count; i++) {
		if (self->host->batch_record(batch, i, &record) != CDPD_OK) return CDPD_RETRY;
		snprintf(reason, sizeof reason, "refused %.*s", (int)record.message_id.len, record.message_id.ptr);
		self->host->receipt_set(receipt, i, CDPD_DROP, 0, reason);
	}
	return CDPD_ACK;
}

static bool is_listed(const char *path, struct cdpd_str message)
{
	char line[64];
	bool is_found = false;
	FILE *file = fopen(path, "r");
	while (file && !is_found && fgets(line, sizeof line, file)) {
		size_t len = strcspn(line, "\n");
		is_found = len == message.len && memcmp(line, message.ptr, len) == 0;
	}
	if (file) fclose(file);
	return is_found;
}

static enum cdpd_verdict take_some(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	size_t count = self->host->batch_count(batch);
	struct cdpd_record record = {.size = sizeof record};
	for (size_t i = 0; i < count; i++) {
		(void)self->host->batch_record(batch, i, &record);
		if (is_listed(self->later, record.message_id))
			self->host->receipt_set(receipt, i, CDPD_RETRY, 1, "later");
		else
			note(self, batch, i);
	}
	return CDPD_ACK;
}

struct held {
	struct flaky *self;
	struct cdpd_receipt *receipt;
	char message[64];
	bool is_slow;
};

static void *answer_held(void *ctx)
{
	struct held *held = ctx;
	struct flaky *self = held->self;
	const struct cdpd_str message = {held->message, strlen(held->message)};
	if (held->is_slow) usleep(5000);
	while (!held->is_slow && access(self->go, F_OK) != 0) usleep(1000);
	if (!held->is_slow && is_listed(self->later, message))
		self->host->receipt_set(held->receipt, 0, CDPD_RETRY, 1, "later");
	(void)self->host->receipt_done(held->receipt, CDPD_ACK);
	free(held);
	self->held--;
	return NULL;
}

static enum cdpd_verdict hold(struct flaky *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt,
			      bool is_slow)
{
	pthread_t thread;
	struct cdpd_record record = {.size = sizeof record};
	struct held *held = calloc(1, sizeof *held);
	if (!held) return CDPD_RETRY;
	(void)self->host->batch_record(batch, 0, &record);
	held->self = self;
	held->receipt = receipt;
	held->is_slow = is_slow;
	snprintf(held->message, sizeof held->message, "%.*s", (int)record.message_id.len, record.message_id.ptr);
	self->held++;
	if (pthread_create(&thread, NULL, answer_held, held) == 0) {
		pthread_detach(thread);
		return CDPD_PENDING;
	}
	self->held--;
	free(held);
	return CDPD_RETRY;
}

static bool is_to_be_held(const struct flaky *self, const struct cdpd_batch *batch)
{
	struct cdpd_record record = {.size = sizeof record};
	return self->host->batch_record(batch, 0, &record) == CDPD_OK && is_listed(self->hold, record.message_id);
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct flaky *self = ctx;
	self->calls++;
	if (access(self->down, F_OK) == 0) {
		self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, "the other side is down");
		return CDPD_RETRY;
	}
	if (access(self->refuse, F_OK) == 0) return refuse(self, batch, receipt);
	if (is_mode(self, "hold") && is_to_be_held(self, batch)) return hold(self, batch, receipt, false);
	if (access(self->later, F_OK) == 0) return take_some(self, batch, receipt);
	if (is_mode(self, "retry_first") && self->calls % 2 == 1) return CDPD_RETRY;
	if (is_mode(self, "drop_odd")) return drop_odd(self, batch, receipt);
	if (is_mode(self, "retry_second")) return retry_second(self, batch, receipt);
	if (is_mode(self, "records")) return take_records(self, batch, receipt);
	if (is_mode(self, "pending_never") && self->calls == 1) return CDPD_PENDING;
	note_all(self, batch);
	while (is_mode(self, "hang")) sleep(1);
	if (is_mode(self, "slow")) return hold(self, batch, receipt, true);
	return is_mode(self, "pending") ? pend(self, receipt) : CDPD_ACK;
}

static void destroy(void *ctx)
{
	struct flaky *self = ctx;
	join(self);
	while (self->held) usleep(1000);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct flaky *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	struct cdpd_str file = host->conf_text(conf, "file"), mode = host->conf_text(conf, "mode");
	self->host = host;
	self->instance = instance;
	snprintf(self->file, sizeof self->file, "%.*s", (int)file.len, file.ptr);
	snprintf(self->down, sizeof self->down, "%s.down", self->file);
	snprintf(self->later, sizeof self->later, "%s.later", self->file);
	snprintf(self->hold, sizeof self->hold, "%s.hold", self->file);
	snprintf(self->go, sizeof self->go, "%s.go", self->file);
	snprintf(self->refuse, sizeof self->refuse, "%s.refuse", self->file);
	snprintf(self->mode, sizeof self->mode, "%.*s", (int)mode.len, mode.ptr);
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "file", .type = CDPD_OPTION_STRING, .is_required = true, .help = "where the message ids go"},
    {
	.name = "mode",
	.type = CDPD_OPTION_ENUM,
	.default_text = "ack",
	.values = "ack|retry_first|pending|pending_never|drop_odd|retry_second|records|hang|slow|hold",
	.help = "how it misbehaves",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "flaky",
    .version = "1",
    .summary = "an exporter that misbehaves on demand",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
