/* What came of a flight: records that were taken are settled, those that are to come again are parked with what follows of the same person, and
 * when the other side is down all of them wait where they were. */
#include "base/clock.h"
#include "base/log.h"
#include "deliver/destination.h"

enum fate {
	FATE_TAKEN,
	FATE_DROPPED,
	FATE_BACK, /* it waits where it was */
	FATE_PARKED,
};

struct landing {
	struct destination *d;
	struct flight *flight;
	bool may_park;
	uint64_t delivered, dropped, retried;
	int64_t retry_after_us;
	struct str retry_reason;
};

/* ── of one record ───────────────────────────────────────────────────────── */

static void set_state(struct cargo *cargo, enum lane_state state)
{
	cargo->window->states[cargo->index] = (uint8_t)state;
}

/* For the receipt of an erasure. Not noted for want of memory: the receipt says that it passed by. */
static void note_answer(struct landing *l, const struct cargo *cargo, enum notice_verdict verdict, struct str reason)
{
	if (!cargo->has_notice) return;
	const struct notice_answer answer = {.destination = l->d->name,
					     .verdict = verdict,
					     .attempts = cargo->attempts + 1,
					     .at_us = clock_wall_us(),
					     .reason = reason,
					     .is_redriven = l->flight->source == FLIGHT_LETTERS};
	(void)!destination_put_answer(l->d, cargo->notice_id, &answer);
}

static void take(struct landing *l, struct cargo *cargo)
{
	struct destination *d = l->d;
	enum stream_id stream = l->flight->lane->stream->id;
	if (l->flight->source == FLIGHT_LANE) set_state(cargo, LANE_DELIVERED);
	if (l->flight->source == FLIGHT_PARKED) destination_unpark(d, stream, cargo->position);
	l->delivered++;
	note_answer(l, cargo, NOTICE_TAKEN, STR_NONE);
	/* Not noted: the letter stays, and whoever queues it again hands it over once more. */
	(void)!destination_end_letter(d, stream, cargo->position);
}

static void put_back(struct landing *l, struct cargo *cargo)
{
	struct parked *parked = parked_find(&l->d->parked, l->flight->lane->stream->id, cargo->position);
	if (l->flight->source == FLIGHT_PARKED && parked) parked->is_out = false;
	if (l->flight->source == FLIGHT_LETTERS) destination_redrive(l->d);
	if (l->flight->source != FLIGHT_LANE) return;
	set_state(cargo, LANE_WAITING);
	if (cargo->window->tries[cargo->index] < UINT8_MAX) cargo->window->tries[cargo->index]++;
}

static void note_drop(struct destination *d, uint64_t position, struct str reason)
{
	int64_t now = clock_mono_us();
	if (d->logged_drop_us && now - d->logged_drop_us < 10 * US_PER_SECOND) return;
	d->logged_drop_us = now;
	log_warn(LOG_DELIVER, "destination %.*s can never take record %llu, it is left out (%.*s)", STR_ARG(d->name),
		 (unsigned long long)position, STR_ARG(reason.len ? reason : STR("no reason given")));
}

static void drop(struct landing *l, struct cargo *cargo, enum letter_cause cause, struct str reason)
{
	struct destination *d = l->d;
	enum stream_id stream = l->flight->lane->stream->id;
	const struct letter letter = letter_make(stream, cargo->position, cargo->journal_seq, cause, cargo->fragment,
						 cargo->attempts + 1, reason);
	if (destination_put_letter(d, &letter)) {
		put_back(l, cargo);
		return;
	}
	note_drop(d, cargo->position, reason);
	note_answer(l, cargo, NOTICE_REFUSED, reason);
	if (l->flight->source == FLIGHT_LANE) set_state(cargo, LANE_DROPPED);
	if (l->flight->source == FLIGHT_PARKED) destination_unpark(d, stream, cargo->position);
	l->dropped++;
}

/* `refused`: NULL when it only waits behind another. False: there is no room. */
static bool park(struct landing *l, struct cargo *cargo, const struct export_verdict *refused)
{
	struct destination *d = l->d;
	const struct deliver_tuning *tuning = &d->shared->tuning;
	enum stream_id stream = l->flight->lane->stream->id;
	const struct parked *old = parked_find(&d->parked, stream, cargo->position);
	int64_t now = clock_wall_us();
	struct parked parked = {.stream = stream,
				.position = cargo->position,
				.journal_seq = cargo->journal_seq,
				.person = cargo->person,
				.since_us = old ? old->since_us : now,
				.attempts = cargo->attempts};
	memcpy(parked.fragment, cargo->fragment, sizeof parked.fragment);
	if (refused) {
		int64_t wait = backoff_us(tuning->backoff_min_us, tuning->parked_max_us, ++parked.attempts);
		parked.due_us = now + (refused->retry_after_us > wait ? refused->retry_after_us : wait);
	} else if (old) {
		parked.due_us = old->due_us;
	} else {
		parked.attempts = 0;
	}
	if (destination_park(d, &parked)) {
		put_back(l, cargo);
		return false;
	}
	if (l->flight->source == FLIGHT_LANE) set_state(cargo, LANE_PARKED);
	if (l->flight->source == FLIGHT_LETTERS) (void)!letter_changes_gone(&d->changes, stream, cargo->position);
	return true;
}

/* ── of all of them ──────────────────────────────────────────────────────── */

struct sum {
	size_t settled, named, unnamed; /* taken or dropped; refused by name; refused as a whole */
};

static struct sum sum_up(struct landing *l)
{
	struct sum sum = {0};
	for (size_t i = 0; i < l->flight->count; i++) {
		struct export_verdict verdict = handover_verdict(l->flight->handover, i);
		if (verdict.verdict != CDPD_RETRY) {
			sum.settled++;
			continue;
		}
		sum.named += verdict.is_named;
		sum.unnamed += !verdict.is_named;
		l->retried++;
		if (verdict.retry_after_us > l->retry_after_us) l->retry_after_us = verdict.retry_after_us;
		if (verdict.reason.len) l->retry_reason = verdict.reason;
	}
	return sum;
}

/* Whatever follows of a person whose record is to come again comes again after it, taken or not. */
static bool is_behind(const struct destination *d, const struct cargo *cargo)
{
	return person_set_has(&d->skipped, &cargo->person);
}

static bool is_exhausted(const struct destination *d, const struct cargo *cargo)
{
	return d->flow.max_attempts && cargo->attempts + 1 >= d->flow.max_attempts;
}

static bool is_held_too_long(const struct landing *l, const struct cargo *cargo)
{
	const struct parked *parked = parked_find(&l->d->parked, l->flight->lane->stream->id, cargo->position);
	return l->d->flow.max_hold_us && parked && clock_wall_us() - parked->since_us > l->d->flow.max_hold_us;
}

/* False: there was no room to park it. */
static bool settle_one(struct landing *l, size_t i)
{
	struct destination *d = l->d;
	struct cargo *cargo = &l->flight->cargo[i];
	struct export_verdict verdict = handover_verdict(l->flight->handover, i);
	bool behind = is_behind(d, cargo), has_room = true;
	if (verdict.verdict == CDPD_DROP) {
		drop(l, cargo, LETTER_DROPPED, verdict.reason);
	} else if (verdict.verdict == CDPD_ACK && !behind) {
		take(l, cargo);
	} else if (!l->may_park) {
		put_back(l, cargo);
	} else if (verdict.verdict == CDPD_RETRY && !behind && (is_exhausted(d, cargo) || is_held_too_long(l, cargo))) {
		drop(l, cargo, LETTER_GIVEN_UP, verdict.reason.len ? verdict.reason : STR("no reason given"));
		return true;
	} else {
		has_room = park(l, cargo, verdict.verdict == CDPD_RETRY ? &verdict : NULL);
	}
	bool comes_again = verdict.verdict == CDPD_RETRY || (verdict.verdict == CDPD_ACK && behind);
	/* When there is no memory for it, whoever follows may overtake: nothing is lost. */
	if (comes_again) (void)!person_set_add(&d->skipped, &cargo->person);
	return has_room;
}

static void fail(struct landing *l, struct str why)
{
	struct destination *d = l->d;
	const struct deliver_tuning *tuning = &d->shared->tuning;
	int64_t wait = backoff_us(tuning->backoff_min_us, tuning->backoff_max_us, d->breaker.failures + 1);
	if (l->retry_after_us > wait) wait = l->retry_after_us;
	breaker_failed(&d->breaker, clock_mono_us(), wait);
	destination_note_failure(d, why);
}

/* Was nobody's record taken since the first of these was parked? */
static bool is_silent_since(const struct landing *l)
{
	const struct destination *d = l->d;
	int64_t since = INT64_MAX;
	for (size_t i = 0; i < l->flight->count; i++) {
		const struct parked *parked =
		    parked_find(&d->parked, l->flight->lane->stream->id, l->flight->cargo[i].position);
		if (parked && parked->since_us < since) since = parked->since_us;
	}
	for (size_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i].row.last_success_us >= since) return false;
	return true;
}

/* Each record was refused by name. That parked ones are refused again says nothing of the others, and holds up none of them; but when there was no
 * other since, it is told. */
static void judge_refused(struct landing *l, struct str why)
{
	struct destination *d = l->d;
	if (l->flight->source == FLIGHT_PARKED && d->breaker.state == BREAKER_CLOSED) {
		l->may_park = true;
		if (++d->refused_again >= BREAKER_STREAK && is_silent_since(l))
			destination_note_failure(d, why);
		else
			destination_note_error(d, why);
		return;
	}
	l->may_park = breaker_all_refused(&d->breaker, l->flight->count);
	if (!l->may_park || d->breaker.streak >= BREAKER_STREAK)
		fail(l, why);
	else
		destination_note_error(d, why);
}

/* Is the other side down, and if not, may what it refused be parked? */
static void judge(struct landing *l, const struct sum *sum)
{
	struct destination *d = l->d;
	struct str why = l->retry_reason.len ? l->retry_reason : STR("it asked for a retry");
	l->may_park = sum->unnamed == 0;
	if (sum->settled) {
		breaker_succeeded(&d->breaker);
		d->refused_again = 0;
	}
	if (sum->unnamed) {
		fail(l, why);
	} else if (sum->named && !sum->settled) {
		judge_refused(l, why);
	} else if (sum->named) {
		destination_note_error(d, why);
	}
	if (!sum->unnamed && sum->settled && d->breaker.state == BREAKER_CLOSED) destination_note_success(d);
}

static void book(struct landing *l)
{
	struct cursor_row *row = &l->flight->lane->row;
	pthread_mutex_lock(&l->d->lock);
	row->retries += l->retried;
	if (l->delivered) row->last_success_us = clock_wall_us();
	if (l->flight->source != FLIGHT_LANE) { /* those of a lane are counted when the cursor passes them */
		row->delivered += l->delivered;
		row->dropped += l->dropped;
	}
	pthread_mutex_unlock(&l->d->lock);
}

static void no_answer(struct landing *l)
{
	struct destination *d = l->d;
	handover_give_up(l->flight->handover);
	l->retried = l->flight->count;
	for (size_t i = 0; i < l->flight->count; i++) put_back(l, &l->flight->cargo[i]);
	fail(l, STR("no answer to a pending batch in time"));
	book(l);
	if (!handover_is_held(l->flight->handover)) return;
	CHECK(d->abandoned_count < COUNT_OF(d->abandoned));
	d->abandoned[d->abandoned_count++] = l->flight->handover;
	l->flight->handover = NULL; /* kept until the plugin lets go of it */
}

void destination_land(struct destination *d, struct flight *flight, bool is_answered)
{
	struct landing landing = {.d = d, .flight = flight, .retry_reason = STR_NONE};
	bool has_room = true;
	if (!is_answered) {
		no_answer(&landing);
		flight_free(flight);
		return;
	}
	const struct sum sum = sum_up(&landing);
	judge(&landing, &sum);
	person_set_clear(&d->skipped);
	for (size_t i = 0; i < flight->count; i++) has_room = settle_one(&landing, i) && has_room;
	/* What was parked has the names of when it left: somebody may have become another while it was on its way. */
	if (flight->named_at < d->parked.looked_at) d->parked.looked_at = flight->named_at;
	if (!has_room) {
		landing.retry_after_us = 0;
		fail(&landing, STR("as many records are parked as may be: all of them wait"));
	}
	book(&landing);
	flight_free(flight);
}

void destination_cancel(struct destination *d, struct flight *flight)
{
	for (size_t i = 0; i < flight->count; i++) {
		struct cargo *cargo = &flight->cargo[i];
		struct parked *parked = parked_find(&d->parked, flight->lane->stream->id, cargo->position);
		if (flight->source == FLIGHT_LANE) set_state(cargo, LANE_WAITING);
		if (flight->source == FLIGHT_PARKED && parked) parked->is_out = false;
		if (flight->source == FLIGHT_LETTERS) destination_redrive(d);
	}
	flight_free(flight);
}
