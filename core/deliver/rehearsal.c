#include "deliver/rehearsal.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "deliver/destination.h"

#define ID_BYTES   8
#define REASON_MAX 200
#define JSON_MAX   ((size_t)4 << 20)

struct rehearsal {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned refs;
	bool is_over;
	const char *verdict;
	char reason[REASON_MAX + 1];
	struct buf json;
	int64_t retry_after_us, began_us, took_us;
	struct handover *handover; /* the destination's thread's; NULL: not begun */
};

int rehearsal_new(struct rehearsal **out)
{
	pthread_condattr_t attr;
	struct rehearsal *r = calloc(1, sizeof *r);
	*out = r;
	if (!r) return ERR_NOMEM;
	r->refs = 1;
	r->verdict = "no_answer";
	buf_init(&r->json, JSON_MAX);
	CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&r->changed, &attr) == 0);
	pthread_condattr_destroy(&attr);
	return OK;
}

void rehearsal_unref(struct rehearsal *r)
{
	pthread_mutex_lock(&r->lock);
	bool is_last = --r->refs == 0;
	pthread_mutex_unlock(&r->lock);
	if (!is_last) return;
	buf_fini(&r->json);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int rehearsal_post(struct rehearsal *r, struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	bool is_free = !d->rehearsal;
	if (is_free) {
		r->refs++;
		d->rehearsal = r;
		d->is_reordered = true; /* whoever waits looks */
	}
	pthread_mutex_unlock(&d->lock);
	if (!is_free) return ERR_BUSY;
	destination_wake(d);
	return OK;
}

int rehearsal_wait(struct rehearsal *r, int64_t span_us, struct arena *arena, struct rehearsal_result *out)
{
	int64_t until = clock_mono_us() + span_us;
	const struct timespec ts = {(time_t)(until / US_PER_SECOND), (long)(until % US_PER_SECOND) * 1000};
	int rc = 0;
	pthread_mutex_lock(&r->lock);
	while (!r->is_over && rc == 0) rc = pthread_cond_timedwait(&r->changed, &r->lock, &ts);
	*out = (struct rehearsal_result){.verdict = r->verdict,
					 .retry_after_us = r->retry_after_us,
					 .took_us = r->is_over ? r->took_us : span_us,
					 .json = STR_NONE};
	rc = arena_str(arena, str_from(r->reason), &out->reason);
	if (rc == OK) rc = arena_str(arena, buf_str(&r->json), &out->json);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

/* ── the destination's thread ────────────────────────────────────────────── */

static void finish(struct destination *d, struct rehearsal *r, const char *verdict, struct str reason)
{
	size_t len = reason.len < REASON_MAX ? reason.len : REASON_MAX;
	pthread_mutex_lock(&d->lock);
	d->rehearsal = NULL;
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_lock(&r->lock);
	r->is_over = true;
	r->verdict = verdict;
	r->took_us = r->began_us ? clock_mono_us() - r->began_us : 0;
	memcpy(r->reason, reason.ptr, len);
	r->reason[len] = '\0';
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	rehearsal_unref(r);
}

static int write_event(struct buf *out, struct str id, int64_t now)
{
	struct json_out json;
	json_out_init(&json, out);
	jo_object(&json);
	jo_key(&json, STR("type"));
	jo_str(&json, STR("track"));
	jo_key(&json, STR("event"));
	jo_str(&json, STR("cdpd test"));
	jo_key(&json, STR("messageId"));
	jo_str(&json, id);
	jo_key(&json, STR("userId"));
	jo_str(&json, STR("cdpd-test"));
	jo_key(&json, STR("properties"));
	jo_object(&json);
	jo_key(&json, STR("test"));
	jo_bool(&json, true);
	jo_end_object(&json);
	jo_key(&json, STR("timestamp"));
	jo_time(&json, now);
	jo_key(&json, STR("receivedAt"));
	jo_time(&json, now);
	jo_end_object(&json);
	return json.status;
}

/* As the mapping makes it; `where` and the rest of the selection do not hold it back. */
static int map(struct destination *d, struct str json, struct arena *arena, struct selection_result *out)
{
	struct selection selection = d->selection;
	selection.where = NULL;
	if (!d->chooser.json) {
		int rc = json_reader_new(&d->chooser.json);
		if (rc) return rc;
	}
	return selection_run(&selection, d->chooser.json, CDPD_RECORD_EVENT, json, STR_NONE, arena, out);
}

static int make_record(struct destination *d, struct rehearsal *r, struct handover *handover, struct str *why)
{
	uint8_t noise[ID_BYTES];
	char hex[2 * ID_BYTES + 1];
	struct arena *arena = handover_arena(handover);
	struct export_record record = {
	    .kind = CDPD_RECORD_EVENT,
	    .profile_id = STR("00000000000000000000000000000000"),
	    .time_us = clock_wall_us(),
	    .attempt = 1,
	};
	struct selection_result made;
	struct buf text;
	*why = STR_NONE;
	random_bytes(noise, sizeof noise);
	hex_encode(noise, sizeof noise, hex);
	int rc = arena_printf(arena, &record.message_id, "cdpd-test-%s", hex);
	record.position = record.delivery_id = record.message_id;
	buf_init(&text, JSON_MAX);
	if (rc == OK) rc = write_event(&text, record.message_id, record.time_us);
	if (rc == OK) rc = map(d, buf_str(&text), arena, &made);
	if (rc == OK && made.verdict != SELECTION_TAKEN) *why = made.why;
	if (rc == OK) rc = arena_str(arena, made.verdict == SELECTION_TAKEN ? made.json : buf_str(&text), &record.json);
	buf_fini(&text);
	pthread_mutex_lock(&r->lock);
	if (rc == OK) rc = buf_append_str(&r->json, record.json);
	pthread_mutex_unlock(&r->lock);
	return rc == OK ? handover_add(handover, &record) : rc;
}

static void tell(struct destination *d, struct rehearsal *r)
{
	static const char *const names[] = {[CDPD_RETRY] = "retry", [CDPD_ACK] = "ack", [CDPD_DROP] = "drop"};
	struct handover *handover = r->handover;
	d->is_rehearsing = false;
	struct export_verdict verdict = handover_verdict(handover, 0);
	r->handover = NULL;
	r->retry_after_us = verdict.retry_after_us;
	finish(d, r, names[verdict.verdict], verdict.reason);
	handover_unref(handover);
}

static void start(struct destination *d, struct rehearsal *r)
{
	struct str why;
	struct handover *handover;
	r->began_us = clock_mono_us();
	if (!d->instance && !destination_create(d)) {
		finish(d, r, "retry", STR("the plugin could not be created; its own text is in the log"));
		return;
	}
	int rc = handover_new(1, &handover);
	if (rc == OK) rc = make_record(d, r, handover, &why);
	if (rc || why.len) {
		finish(d, r, rc ? "retry" : "dead_letter", rc ? str_from(status_str(rc)) : why);
		handover_unref(handover);
		return;
	}
	r->handover = handover;
	d->is_rehearsing = true;
	if (destination_hand_over(d, handover) == OK) tell(d, r);
}

static void give_up(struct destination *d, struct rehearsal *r, struct str why)
{
	struct handover *handover = r->handover;
	r->handover = NULL;
	d->is_rehearsing = false;
	finish(d, r, "no_answer", why);
	if (!handover) return;
	handover_give_up(handover);
	if (handover_is_held(handover) && d->abandoned_count < COUNT_OF(d->abandoned))
		d->abandoned[d->abandoned_count++] = handover;
	else
		handover_unref(handover);
}

void rehearsal_run(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	struct rehearsal *r = d->rehearsal;
	pthread_mutex_unlock(&d->lock);
	if (!r) return;
	if (!r->handover && d->flight_count < d->flow.concurrency)
		start(d, r);
	else if (!r->handover)
		return; /* as many are under way as may be */
	else if (handover_poll(r->handover) == OK)
		tell(d, r);
	else if (clock_mono_us() - r->began_us > d->shared->tuning.answer_us)
		give_up(d, r, STR("no answer in time"));
}

void rehearsal_end(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	struct rehearsal *r = d->rehearsal;
	pthread_mutex_unlock(&d->lock);
	if (r) give_up(d, r, STR("the destination was stopped"));
}
