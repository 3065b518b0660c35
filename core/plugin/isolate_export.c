/* Batches for an isolated exporter. What its process ended over is handed to the next one record by record; the one that it dies of twice is dropped, with the
 * reason: a dead letter, and the others go on. */
#include <stdio.h>

#include "plugin/isolate_internal.h"

#define HOLD_US     (20 * US_PER_SECOND) /* then what was found out is told, and the rest is handed over again */
#define DEATHS_MOST 2

static void set(const struct isolate *isolate, const struct isolate_batch *batch, size_t index,
		const struct wire_verdict *verdict)
{
	char reason[WIRE_REASON_MAX + 1];
	(void)snprintf(reason, sizeof reason, "%.*s", STR_ARG(verdict->reason));
	/* Nobody may wait for it any more. */
	(void)isolate->host->receipt_set(batch->receipt, index, verdict->verdict, verdict->retry_after_ms, reason);
}

/* The rest is handed over again. */
static void finish(const struct isolate *isolate, struct isolate_batch *batch)
{
	struct cdpd_receipt *receipt = batch->receipt;
	*batch = (struct isolate_batch){.batch = NULL};
	(void)isolate->host->receipt_done(receipt, CDPD_RETRY);
}

static void finish_with(const struct isolate *isolate, struct isolate_batch *batch, struct str why)
{
	const struct wire_verdict later = {.verdict = CDPD_RETRY, .reason = why};
	set(isolate, batch, CDPD_ALL, &later);
	finish(isolate, batch);
}

enum cdpd_verdict isolate_export(void *self, const struct cdpd_batch *sdk, struct cdpd_receipt *receipt)
{
	struct isolate *isolate = self;
	for (size_t i = 0; i < ISOLATE_BATCHES_MAX && !isolate_is_long_down(isolate); i++) {
		struct isolate_batch *batch = &isolate->batches[i];
		if (batch->batch) continue;
		*batch = (struct isolate_batch){.batch = sdk,
						.receipt = receipt,
						.count = isolate->host->batch_count(sdk),
						.until_us = clock_mono_us() + HOLD_US};
		return CDPD_PENDING;
	}
	(void)isolate->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, "its process is down");
	return CDPD_RETRY;
}

static int write_part(struct isolate *isolate, const struct isolate_batch *batch, uint32_t id)
{
	struct wire wire;
	wire_begin(&wire, &isolate->process.out, FRAME_BATCH);
	wire_u32(&wire, id);
	wire_u32(&wire, (uint32_t)batch->count);
	for (size_t i = 0; i < batch->count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		if (isolate->host->batch_record(batch->batch, batch->first + i, &record)) return ERR_INVALID;
		wire_record(&wire, &record);
	}
	return isolate_send(isolate, &wire);
}

static int send_part(struct isolate *isolate, struct isolate_batch *batch)
{
	uint32_t id = ++isolate->next_id ? isolate->next_id : ++isolate->next_id;
	int rc = write_part(isolate, batch, id);
	if (rc == ERR_TOO_LARGE && !batch->is_careful) { /* one after the other they may fit */
		batch->is_careful = true;
		batch->count = 1;
		rc = write_part(isolate, batch, id);
	}
	if (rc == ERR_TOO_LARGE) {
		const struct wire_verdict never = {.verdict = CDPD_DROP,
						   .reason = STR("too large for an isolated exporter")};
		set(isolate, batch, batch->done, &never);
		finish(isolate, batch);
		return OK;
	}
	if (rc == OK) batch->id = id;
	return rc;
}

/* No more than fits: a record must not be called too large because those before it are not read yet. */
int isolate_send_batches(struct isolate *isolate)
{
	int rc = OK;
	int64_t now = clock_mono_us();
	if (isolate->use != CDPD_CAP_EXPORT) return OK;
	for (size_t i = 0; i < ISOLATE_BATCHES_MAX && !rc; i++) {
		struct isolate_batch *batch = &isolate->batches[i];
		if (!batch->batch || batch->id) continue;
		if (now >= batch->until_us)
			finish_with(isolate, batch, STR("its process was not there in time"));
		else if (isolate->state == ISOLATE_UP && isolate->process.out.len < ISOLATE_OUT_ENOUGH)
			rc = send_part(isolate, batch);
	}
	return rc;
}

static struct isolate_batch *find(struct isolate *isolate, uint32_t id)
{
	for (size_t i = 0; i < ISOLATE_BATCHES_MAX; i++)
		if (isolate->batches[i].batch && isolate->batches[i].id == id && id) return &isolate->batches[i];
	return NULL;
}

/* All have a verdict but those behind the part: they go next, unless one of the part is to come again, for they come in order. */
static void go_on(const struct isolate *isolate, struct isolate_batch *batch, bool is_held_up)
{
	batch->id = 0;
	batch->deaths = 0;
	batch->done = batch->first + batch->count;
	if (is_held_up || batch->done >= isolate->host->batch_count(batch->batch) ||
	    clock_mono_us() >= batch->until_us) {
		finish(isolate, batch);
		return;
	}
	batch->first = batch->done;
	batch->count = 1;
}

int isolate_take_verdicts(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	struct isolate_batch *batch = find(isolate, wire_take_u32(&in));
	uint32_t count = wire_take_count(&in, 13);
	bool is_held_up = false;
	if (!batch || count != batch->count) return ERR_INVALID;
	for (size_t i = 0; i < count; i++) {
		struct wire_verdict verdict;
		wire_take_verdict(&in, &verdict);
		if (in.is_bad) return ERR_INVALID;
		set(isolate, batch, batch->first + i, &verdict);
		is_held_up |= verdict.verdict == CDPD_RETRY;
	}
	if (wire_finish(&in)) return ERR_INVALID;
	go_on(isolate, batch, is_held_up);
	return OK;
}

static void sort_out(struct isolate *isolate, struct isolate_batch *batch, const char *why)
{
	char reason[WIRE_REASON_MAX];
	bool was_alone = batch->count == 1;
	if (!batch->id) return; /* it was not there */
	batch->id = 0;
	batch->is_careful = true;
	batch->count = 1;
	if (!was_alone || ++batch->deaths < DEATHS_MOST) return;
	(void)snprintf(reason, sizeof reason, "its process ended over it: %s", why);
	const struct wire_verdict never = {.verdict = CDPD_DROP, .reason = str_from(reason)};
	set(isolate, batch, batch->first, &never);
	go_on(isolate, batch, false);
}

void isolate_sort_batches(struct isolate *isolate, const char *why)
{
	for (size_t i = 0; i < ISOLATE_BATCHES_MAX; i++)
		if (isolate->batches[i].batch) sort_out(isolate, &isolate->batches[i], why);
}
