#include "plugin/handover.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "plugin/http.h"
#include "plugin/internal.h"

#define HANDOVER_ARENA_MAX ((size_t)64 << 20)
#define REASON_MAX         200
#define RETRY_AFTER_MAX_MS INT64_C(86400000)
#define RECORD_SIZE_1_0    104 /* of struct cdpd_record: plugins of that time have room for no more */

struct cdpd_batch {
	struct handover *owner;
};
struct cdpd_receipt {
	struct handover *owner;
};
struct handover {
	struct cdpd_batch batch;
	struct cdpd_receipt receipt;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct http_client *http; /* that the destination waits on meanwhile; NULL: on `changed` */
	unsigned refs;
	bool is_held;   /* by the plugin */
	bool is_done;   /* receipt_done came in time */
	bool is_closed; /* verdicts are final, or nobody waits for them any more */
	enum cdpd_verdict rest;
	void (*on_done)(void *ctx); /* NULL: nobody asked */
	void *on_done_ctx;
	void (*on_free)(void *ctx); /* NULL: nothing to give back */
	void *on_free_ctx;
	struct arena arena;
	struct export_record *records;
	size_t count, room;
	struct export_verdict *verdicts;
	struct export_verdict all; /* what receipt_set said of CDPD_ALL */
};

int handover_new(size_t room, struct handover **out)
{
	pthread_condattr_t attr;
	struct handover *h = calloc(1, sizeof *h);
	*out = h;
	if (!h) return ERR_NOMEM;
	h->room = room;
	h->records = calloc(room, sizeof *h->records);
	h->verdicts = calloc(room, sizeof *h->verdicts);
	if (!h->records || !h->verdicts) {
		free(h->records);
		free(h->verdicts);
		free(h);
		*out = NULL;
		return ERR_NOMEM;
	}
	h->batch.owner = h->receipt.owner = h;
	h->refs = 1;
	h->all.reason = STR_NONE;
	arena_init(&h->arena, 65536, HANDOVER_ARENA_MAX);
	CHECK(pthread_mutex_init(&h->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&h->changed, &attr) == 0);
	pthread_condattr_destroy(&attr);
	return OK;
}

/* The lock is held; gives it back. */
static void unref_locked(struct handover *h)
{
	bool is_last = --h->refs == 0;
	pthread_mutex_unlock(&h->lock);
	if (!is_last) return;
	if (h->on_free) h->on_free(h->on_free_ctx);
	free(h->records);
	free(h->verdicts);
	arena_fini(&h->arena);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handover_unref(struct handover *h)
{
	if (!h) return;
	pthread_mutex_lock(&h->lock);
	unref_locked(h);
}

void handover_on_free(struct handover *h, void (*fn)(void *ctx), void *ctx)
{
	h->on_free = fn;
	h->on_free_ctx = ctx;
}

struct arena *handover_arena(struct handover *h)
{
	return &h->arena;
}

int handover_add(struct handover *h, const struct export_record *record)
{
	if (h->count == h->room) return ERR_TOO_LARGE;
	h->verdicts[h->count].reason = STR_NONE;
	h->records[h->count++] = *record;
	return OK;
}

size_t handover_count(const struct handover *h)
{
	return h->count;
}

static void wake_locked(struct handover *h)
{
	pthread_cond_broadcast(&h->changed);
	if (h->http) http_wake(h->http);
	if (h->is_done && h->on_done) h->on_done(h->on_done_ctx);
}

/* ── the plugin's side ───────────────────────────────────────────────────── */

size_t handover_sdk_count(const struct cdpd_batch *batch)
{
	return batch->owner->count;
}

int handover_sdk_record(const struct cdpd_batch *batch, size_t index, struct cdpd_record *out)
{
	const struct handover *h = batch->owner;
	uint32_t size = out->size;
	if (size < RECORD_SIZE_1_0) return CDPD_ERR_INVALID;
	if (index >= h->count) return CDPD_ERR_NOT_FOUND;
	const struct export_record *record = &h->records[index];
	const struct cdpd_record all = {
	    .size = size,
	    .kind = record->kind ? record->kind : CDPD_RECORD_EVENT,
	    .position = sdk_str(record->position),
	    .delivery_id = sdk_str(record->delivery_id),
	    .message_id = sdk_str(record->message_id),
	    .profile_id = sdk_str(record->profile_id),
	    .json = sdk_str(record->json),
	    .time_us = record->time_us,
	    .attempt = record->attempt,
	    .flags = record->flags,
	    .other_id = sdk_str(record->other_id.len ? record->other_id : STR_NONE),
	};
	memcpy(out, &all, size < sizeof all ? size : sizeof all);
	return CDPD_OK;
}

int handover_sdk_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict, int64_t retry_after_ms,
		     const char *reason)
{
	struct handover *h = receipt->owner;
	if (verdict != CDPD_RETRY && verdict != CDPD_ACK && verdict != CDPD_DROP) return CDPD_ERR_INVALID;
	if (index >= h->count && index != CDPD_ALL) return CDPD_ERR_NOT_FOUND;
	if (retry_after_ms < 0) retry_after_ms = 0;
	if (retry_after_ms > RETRY_AFTER_MAX_MS) retry_after_ms = RETRY_AFTER_MAX_MS;
	struct str text = str_from(reason);
	if (text.len > REASON_MAX) text.len = REASON_MAX;
	struct export_verdict given = {verdict, retry_after_ms * US_PER_MS, STR_NONE, index != CDPD_ALL};
	int rc = CDPD_ERR_TIMEOUT;
	pthread_mutex_lock(&h->lock);
	if (!h->is_closed && !h->is_done) {
		if (arena_str(&h->arena, text, &given.reason)) given.reason = STR_NONE;
		if (index == CDPD_ALL) {
			h->all = given;
		} else {
			h->verdicts[index] = given;
		}
		rc = CDPD_OK;
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int handover_sdk_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest)
{
	struct handover *h = receipt->owner;
	pthread_mutex_lock(&h->lock);
	if (!h->is_held || rest == CDPD_PENDING) {
		pthread_mutex_unlock(&h->lock);
		return CDPD_ERR_INVALID;
	}
	h->is_held = false;
	int rc = h->is_closed ? CDPD_ERR_TIMEOUT : CDPD_OK;
	if (!h->is_closed) {
		h->is_done = true;
		h->rest = rest;
		wake_locked(h);
	}
	unref_locked(h);
	return rc;
}

/* ── the destination's side ──────────────────────────────────────────────── */

/* Every record gets its verdict; the lock is held. */
static void settle(struct handover *h, enum cdpd_verdict rest)
{
	struct export_verdict others = {rest == CDPD_ACK || rest == CDPD_DROP ? rest : CDPD_RETRY, 0, STR_NONE, false};
	if (h->all.verdict == others.verdict) others = h->all;
	for (size_t i = 0; i < h->count; i++) {
		if (!h->verdicts[i].is_named) h->verdicts[i] = others;
	}
	h->is_closed = true;
}

static struct timespec to_timespec(int64_t us)
{
	return (struct timespec){.tv_sec = (time_t)(us / US_PER_SECOND), .tv_nsec = (long)(us % US_PER_SECOND) * 1000};
}

/* The plugin's HTTP answers and timers come while it is waited for: they may be what the batch depends on. The lock is held. */
static void pump(struct handover *h, struct cdpd_instance *instance, int64_t until_us)
{
	struct http_client *http = h->http;
	int64_t timer = instance_next_timer(instance);
	pthread_mutex_unlock(&h->lock);
	http_wait(http, timer < until_us ? timer : until_us);
	instance_run_timers(instance, clock_mono_us());
	pthread_mutex_lock(&h->lock);
}

/* The lock is held. */
static int wait_for_plugin(struct handover *h, struct cdpd_instance *instance, int64_t until_us,
			   const _Atomic(bool) *stop)
{
	bool was_stopped = false;
	while (!h->is_done) {
		int64_t now = clock_mono_us();
		if (!was_stopped && atomic_load(stop)) {
			was_stopped = true;
			if (now + HANDOVER_STOP_GRACE_US < until_us) until_us = now + HANDOVER_STOP_GRACE_US;
		}
		if (now >= until_us) return ERR_TIMEOUT;
		if (h->http) {
			pump(h, instance, until_us);
			continue;
		}
		struct timespec ts = to_timespec(until_us);
		pthread_cond_timedwait(&h->changed, &h->lock, &ts);
	}
	return OK;
}

/* *answer: export_batch's. */
static void call_plugin(struct handover *h, struct cdpd_instance *instance, enum cdpd_verdict *answer)
{
	pthread_mutex_lock(&h->lock);
	h->is_held = true;
	h->refs++;
	pthread_mutex_unlock(&h->lock);
	*answer = instance_plugin(instance)->export_batch(instance_self(instance), &h->batch, &h->receipt);
}

/* It is answered; the lock is held. */
static void take_answer(struct handover *h, enum cdpd_verdict answer)
{
	settle(h, h->is_done ? h->rest : answer);
	if (!h->is_held) return;
	h->is_held = false; /* answered at once: it holds nothing */
	h->refs--;
}

int handover_run(struct handover *h, struct cdpd_instance *instance, int64_t span_us, const _Atomic(bool) *stop)
{
	int rc = OK;
	int64_t until_us = clock_mono_us() + span_us;
	enum cdpd_verdict answer;
	h->http = instance->services.http;
	call_plugin(h, instance, &answer);
	pthread_mutex_lock(&h->lock);
	if (answer == CDPD_PENDING && (rc = wait_for_plugin(h, instance, until_us, stop)))
		h->is_closed = true;
	else
		take_answer(h, answer);
	h->http = NULL;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int handover_begin(struct handover *h, struct cdpd_instance *instance, void (*on_done)(void *ctx), void *ctx)
{
	enum cdpd_verdict answer;
	call_plugin(h, instance, &answer);
	pthread_mutex_lock(&h->lock);
	bool is_pending = answer == CDPD_PENDING && !h->is_done;
	if (is_pending) {
		h->on_done = on_done;
		h->on_done_ctx = ctx;
	} else {
		take_answer(h, answer);
	}
	pthread_mutex_unlock(&h->lock);
	return is_pending ? ERR_AGAIN : OK;
}

int handover_poll(struct handover *h)
{
	pthread_mutex_lock(&h->lock);
	int rc = h->is_done ? OK : ERR_AGAIN;
	if (rc == OK && !h->is_closed) settle(h, h->rest);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

void handover_give_up(struct handover *h)
{
	pthread_mutex_lock(&h->lock);
	h->is_closed = true;
	h->on_done = NULL;
	pthread_mutex_unlock(&h->lock);
}

struct export_verdict handover_verdict(const struct handover *h, size_t index)
{
	CHECK(h->is_closed && index < h->count);
	return h->verdicts[index];
}

bool handover_is_held(struct handover *h)
{
	pthread_mutex_lock(&h->lock);
	bool is_held = h->is_held;
	pthread_mutex_unlock(&h->lock);
	return is_held;
}

void handover_reclaim(struct handover *h)
{
	pthread_mutex_lock(&h->lock);
	if (!h->is_held) {
		pthread_mutex_unlock(&h->lock);
		return;
	}
	h->is_held = false;
	unref_locked(h);
}
