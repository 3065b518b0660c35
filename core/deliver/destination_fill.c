/* Which records go out next, in one flight: dead letters that were queued again, parked ones that are due, then whatever comes next in the
 * lanes. Persons of whom something is on its way or parked are passed over, so that nothing overtakes. */
#include "base/clock.h"
#include "deliver/lanes.h"

#define PULLS_MAX 8 /* windows that are read for one flight before the cursor is looked at again */

/* ── who may not go ──────────────────────────────────────────────────────── */

/* With the reader open: everybody of whom something is on its way, by their names of now. */
static int find_airborne(struct destination *d)
{
	int rc = OK;
	person_set_clear(&d->airborne);
	for (const struct flight *f = d->flights; f; f = f->next) {
		for (size_t i = 0; i < f->count && rc == OK; i++) {
			struct fragment_id id, person;
			memcpy(id.bytes, f->cargo[i].fragment, sizeof id.bytes);
			if (person_is_nobody(&id)) continue;
			arena_reset(&d->chooser.scratch);
			rc = people_person_of(d->reader, &id, &d->chooser.scratch, &person);
			if (rc == OK || rc == ERR_NOT_FOUND)
				rc = person_set_add(&d->airborne, rc == OK ? &person : &id);
		}
	}
	return rc;
}

struct view {                  /* the snapshot that a flight is filled from */
	uint64_t applied, now; /* when it was begun, and the one that is open */
	bool is_begun;
};

/* Opens the chooser. ERR_AGAIN: somebody was renamed since the flight was begun. */
static int begin(struct destination *d, struct view *view)
{
	uint64_t applied;
	int rc = chooser_begin(&d->chooser, &d->gate, &applied);
	if (rc) return rc;
	uint64_t renamed = people_renamed(d->shared->people); /* after the snapshot was taken */
	if (view->is_begun && view->applied != applied && renamed > view->applied) rc = ERR_AGAIN;
	if (rc == OK && (d->parked.count || d->parked.is_stale))
		rc = parked_look(&d->parked, d->reader, renamed, applied, &d->chooser.scratch);
	if (rc == OK && !view->is_begun) {
		view->applied = applied;
		view->is_begun = true;
		person_set_clear(&d->skipped);
		rc = find_airborne(d);
	}
	if (rc) chooser_end(&d->chooser);
	view->now = applied;
	return rc;
}

static bool must_wait(const struct destination *d, const struct fragment_id *person)
{
	return person_set_has(&d->airborne, person) || person_set_has(&d->skipped, person);
}

/* ── in a row ────────────────────────────────────────────────────────────── */

static int park_behind(struct destination *d, const struct stream_record *record, enum stream_id stream,
		       const struct fragment_id *person)
{
	struct parked parked = {.stream = stream,
				.position = record->position,
				.journal_seq = record->seq,
				.since_us = clock_wall_us(),
				.person = *person};
	if (parked_find(&d->parked, stream, record->position)) return OK; /* since before the last start */
	memcpy(parked.fragment, record->fragment, sizeof parked.fragment);
	return destination_park(d, &parked);
}

static int make_unmapped(struct destination *d, enum stream_id stream, const struct stream_record *record,
			 struct str why)
{
	const struct letter letter =
	    letter_make(stream, record->position, record->seq, LETTER_UNMAPPED, record->fragment, 0, why);
	return destination_put_letter(d, &letter);
}

/* *state: what becomes of it. */
static int consider(struct destination *d, struct flight *flight, struct lane_window *w, size_t i, uint8_t *state)
{
	static const uint8_t states[] = {[CHOICE_TAKEN] = LANE_OUT,
					 [CHOICE_GONE] = LANE_GONE,
					 [CHOICE_DENIED] = LANE_DENIED,
					 [CHOICE_FILTERED] = LANE_FILTERED,
					 [CHOICE_UNMAPPED] = LANE_UNMAPPED};
	const struct stream_record *record = &w->window->records[i];
	enum stream_id stream = flight->lane->stream->id;
	const struct fragment_id *person = &w->people->persons[i];
	enum choice choice;
	struct str json, why;
	if (parked_has(&d->parked, stream, person) && selection_may_take(&d->selection, record)) {
		int rc = park_behind(d, record, stream, person);
		*state = rc == OK ? LANE_PARKED : LANE_WAITING;
		return rc == ERR_FULL ? person_set_add(&d->skipped, person) : rc;
	}
	int rc = choose(&d->chooser, record, flight->arena, &choice, &json, &why);
	if (rc) return rc;
	if (choice == CHOICE_UNMAPPED) rc = make_unmapped(d, stream, record, why);
	if (choice == CHOICE_TAKEN) {
		struct cargo cargo = {.position = record->position,
				      .journal_seq = record->seq,
				      .person = *person,
				      .attempts = w->tries[i],
				      .window = w,
				      .index = i};
		memcpy(cargo.fragment, record->fragment, sizeof cargo.fragment);
		rc = flight_add(flight, w->window, record, json, &cargo);
	}
	if (rc == OK) *state = states[choice];
	return rc;
}

static int look(struct destination *d, struct lane_window *w, const struct view *view)
{
	struct window_people *people;
	int rc = window_look(w->window, d->shared->people, d->reader, view->now, &d->chooser.scratch, &people);
	if (rc) return rc;
	window_people_unref(w->people);
	w->people = people;
	return OK;
}

/* Those of one window, in one snapshot. */
static int take_window(struct destination *d, struct flight *flight, struct lane_window *w, struct view *view)
{
	int rc = begin(d, view);
	if (rc) return rc;
	rc = look(d, w, view);
	for (size_t i = w->front; i < w->window->count && rc == OK && !flight_is_full(flight); i++) {
		if (w->states[i] != LANE_WAITING) continue;
		if (d->flight_count && is_told_alone(&w->window->records[i])) {
			d->awaits_landing = true;
			rc = ERR_AGAIN;
			break;
		}
		if (w->people->is_withheld[i])
			w->states[i] = LANE_GONE;
		else if (must_wait(d, &w->people->persons[i]))
			rc = person_set_add(&d->skipped, &w->people->persons[i]);
		else
			rc = consider(d, flight, w, i, &w->states[i]);
	}
	chooser_end(&d->chooser);
	return rc;
}

static int fill_from_lane(struct destination *d, struct flight *flight)
{
	struct lane *lane = flight->lane;
	struct view view = {.applied = 0};
	size_t at = 0;
	int rc = OK;
	for (unsigned pulls = 0; pulls < PULLS_MAX && rc == OK;) {
		for (; at < lane->count && rc == OK && !flight_is_full(flight); at++)
			rc = take_window(d, flight, lane->windows[at], &view);
		if (rc || flight_is_full(flight)) break;
		bool did;
		rc = lane_pull(lane, d->shared->windows, &d->streams, &did);
		pulls++;
		if (!did) break;
	}
	flight->named_at = view.applied;
	/* Unknown gates are waited for; ERR_AGAIN: it goes with what it has; ERR_GONE: the next round sees the gap. */
	return rc == ERR_BUSY || rc == ERR_AGAIN || rc == ERR_GONE ? OK : rc;
}

/* ── by name: parked ones, letters ───────────────────────────────────────── */

struct named {
	uint64_t *positions;
	size_t count;
};

/* A record that is not handed over, or is not there any more. */
static int set_aside(struct destination *d, struct flight *flight, const struct stream_record *record,
		     uint64_t position, enum choice choice, struct str why)
{
	enum stream_id stream = flight->lane->stream->id;
	bool was_trimmed = !record && position < flight->lane->stream->first(d->shared);
	int rc = OK;
	pthread_mutex_lock(&d->lock);
	struct cursor_row *row = &flight->lane->row;
	row->denied += choice == CHOICE_DENIED;
	row->filtered += choice == CHOICE_FILTERED;
	row->unmapped += choice == CHOICE_UNMAPPED;
	if (flight->source == FLIGHT_LETTERS)
		row->letters_lost += choice == CHOICE_GONE;
	else
		row->expired_records += was_trimmed;
	pthread_mutex_unlock(&d->lock);
	if (choice == CHOICE_UNMAPPED)
		rc = make_unmapped(d, stream, record, why);
	else if (flight->source == FLIGHT_LETTERS)
		rc = letter_changes_gone(&d->changes, stream, position);
	if (rc == OK && flight->source == FLIGHT_PARKED) destination_unpark(d, stream, position);
	return rc;
}

static int take_named(struct destination *d, struct flight *flight, struct stream_window *window,
		      const struct stream_record *record)
{
	enum choice choice;
	struct str json, why;
	bool is_withheld;
	int rc = chooser_is_withheld(&d->chooser, record, &is_withheld);
	if (rc) return rc;
	if (is_withheld) return set_aside(d, flight, record, record->position, CHOICE_GONE, STR_NONE);
	rc = choose(&d->chooser, record, flight->arena, &choice, &json, &why);
	if (rc) return rc;
	if (choice != CHOICE_TAKEN) return set_aside(d, flight, record, record->position, choice, why);
	struct cargo cargo = {.position = record->position, .journal_seq = record->seq};
	struct parked *parked = parked_find(&d->parked, flight->lane->stream->id, record->position);
	memcpy(cargo.fragment, record->fragment, sizeof cargo.fragment);
	memcpy(cargo.person.bytes, record->fragment, sizeof cargo.person.bytes);
	if (flight->source == FLIGHT_PARKED && parked) cargo.attempts = parked->attempts;
	arena_reset(&d->chooser.scratch);
	if (!person_is_nobody(&cargo.person)) {
		struct fragment_id person;
		rc = people_person_of(d->reader, &cargo.person, &d->chooser.scratch, &person);
		if (rc == OK) cargo.person = person;
		if (rc && rc != ERR_NOT_FOUND) return rc;
	}
	rc = flight_add(flight, window, record, json, &cargo);
	if (rc == OK && flight->source == FLIGHT_PARKED && parked) parked->is_out = true;
	return rc;
}

static int take_found(struct destination *d, struct flight *flight, const struct named *named,
		      struct stream_window *window)
{
	int rc = OK;
	for (size_t i = 0, at = 0; i < named->count && named->positions[i] < window->next && rc == OK; i++) {
		while (at < window->count && window->records[at].position < named->positions[i]) at++;
		if (flight_is_full(flight)) break;
		if (at < window->count && window->records[at].position == named->positions[i])
			rc = take_named(d, flight, window, &window->records[at]);
		else
			rc = set_aside(d, flight, NULL, named->positions[i], CHOICE_GONE, STR_NONE);
	}
	return rc;
}

/* `view`: the snapshot that they were picked in. */
static int fill_named(struct destination *d, struct flight *flight, const struct named *named, const struct view *view)
{
	struct stream_window *window;
	uint64_t applied;
	int rc = window_new(0, &window);
	if (rc) return rc;
	rc = flight->lane->stream->find(&d->streams, named->positions, named->count, window);
	if (rc == OK) rc = chooser_begin(&d->chooser, &d->gate, &applied);
	if (rc == OK) {
		flight->named_at = view ? view->applied : applied;
		/* Somebody may have become another meanwhile: they are picked anew. */
		if (!view || people_renamed(d->shared->people) <= view->applied)
			rc = take_found(d, flight, named, window);
		chooser_end(&d->chooser);
	}
	window_unref(window);
	return rc == ERR_BUSY ? OK : rc;
}

/* Heads that are due, and of persons whose head was not refused what follows it. */
static int pick_parked(struct destination *d, enum stream_id stream, size_t most, struct named *named)
{
	int64_t now = clock_wall_us();
	int rc = OK;
	for (size_t i = 0; i < d->parked.count && named->count < most && rc == OK; i++) {
		const struct parked *item = &d->parked.items[i];
		if (item->stream != stream || must_wait(d, &item->person)) continue;
		bool is_ready = !item->is_out && item->due_us <= now;
		if (is_ready) named->positions[named->count++] = item->position;
		if (!is_ready || item->attempts) rc = person_set_add(&d->skipped, &item->person);
	}
	return rc;
}

static int fill_from_parked(struct destination *d, struct flight *flight)
{
	struct view view = {.applied = 0};
	struct named named = {.positions = arena_array(flight->arena, uint64_t, flight->most)};
	if (!named.positions) return ERR_NOMEM;
	int rc = begin(d, &view);
	if (rc) return rc == ERR_BUSY ? OK : rc;
	rc = pick_parked(d, flight->lane->stream->id, flight->most, &named);
	chooser_end(&d->chooser);
	return rc || !named.count ? rc : fill_named(d, flight, &named, &view);
}

static int fill_from_letters(struct destination *d, struct flight *flight)
{
	struct named named = {.positions = arena_array(flight->arena, uint64_t, flight->most)};
	if (!named.positions) return ERR_NOMEM;
	int rc = letters_queued(d->shared->cursors, d->name, flight->lane->stream->id, flight->most, named.positions,
				&named.count);
	if (rc || !named.count) return rc;
	pthread_mutex_lock(&d->lock);
	d->has_queued = true; /* until a look finds none: the fold may not know of the gate yet */
	pthread_mutex_unlock(&d->lock);
	return fill_named(d, flight, &named, NULL);
}

/* ── when ────────────────────────────────────────────────────────────────── */

static void sooner(int64_t *until_us, int64_t then_us)
{
	if (then_us < *until_us) *until_us = then_us;
}

/* How many records the rate allows now. */
static size_t take_rate(struct destination *d, size_t most, int64_t *wait_until_us)
{
	int64_t now = clock_mono_us(), each;
	if (!d->flow.records_per_second) return most;
	each = US_PER_SECOND / d->flow.records_per_second;
	if (each == 0) each = 1;
	d->tokens_us += now - d->tokens_at_us;
	d->tokens_at_us = now;
	if (d->tokens_us > US_PER_SECOND) d->tokens_us = US_PER_SECOND; /* a second's worth may go at once */
	if (d->tokens_us < each) {
		sooner(wait_until_us, now + each - d->tokens_us);
		return 0;
	}
	size_t allowed = (size_t)(d->tokens_us / each);
	return allowed < most ? allowed : most;
}

static void spend_rate(struct destination *d, size_t count)
{
	if (d->flow.records_per_second) d->tokens_us -= (int64_t)count * (US_PER_SECOND / d->flow.records_per_second);
}

static size_t count_waiting(const struct lane *lane)
{
	size_t count = 0;
	for (size_t i = 0; i < lane->count; i++) {
		const struct lane_window *w = lane->windows[i];
		for (size_t k = w->front; k < w->window->count; k++) count += w->states[k] == LANE_WAITING;
	}
	return count;
}

/* Is a batch of it worth sending: is there something, and is it full, or has it waited long enough? */
static bool is_ripe(struct destination *d, struct lane *lane, int64_t *wait_until_us)
{
	uint64_t end = lane->stream->end(d->shared);
	uint64_t ahead = end > lane->end ? lane_records(lane, end - lane->end) : 0;
	if (end <= lane->end && !lane_has_waiting(lane)) {
		lane->waits_since_us = 0;
		return false;
	}
	if (!d->flow.batch_age_us || d->breaker.failures) return true;
	int64_t now = clock_mono_us();
	if (!lane->waits_since_us) lane->waits_since_us = now;
	if (now - lane->waits_since_us >= d->flow.batch_age_us) return true;
	if (ahead + count_waiting(lane) >= d->flow.batch_records) return true;
	sooner(wait_until_us, lane->waits_since_us + d->flow.batch_age_us);
	return false;
}

/* ── one flight ──────────────────────────────────────────────────────────── */

static int fill(struct destination *d, enum flight_source source, struct lane *lane, size_t most, struct flight **out)
{
	struct flight *flight;
	int rc = flight_new(source, lane, most, d->flow.batch_bytes, &flight);
	if (rc) return rc;
	switch (source) {
	case FLIGHT_LANE: rc = fill_from_lane(d, flight); break;
	case FLIGHT_PARKED: rc = fill_from_parked(d, flight); break;
	case FLIGHT_LETTERS: rc = fill_from_letters(d, flight); break;
	}
	if (rc || !flight->count) {
		destination_cancel(d, flight);
		return rc;
	}
	spend_rate(d, flight->count);
	*out = flight;
	return OK;
}

static bool has_queued(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	bool has_queued = d->has_queued;
	pthread_mutex_unlock(&d->lock);
	return has_queued;
}

/* Letters go before anything new, and alone. Until a look finds none. */
static int fill_letters(struct destination *d, size_t most, struct flight **out)
{
	int rc = OK;
	if (d->flight_count || !has_queued(d)) return OK;
	pthread_mutex_lock(&d->lock);
	d->has_queued = false;
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < d->lane_count && rc == OK && !*out; i++)
		rc = fill(d, FLIGHT_LETTERS, &d->lanes[i], most, out);
	if (rc || *out || destination_has_changes(d)) destination_redrive(d);
	return rc;
}

static int fill_parked(struct destination *d, size_t most, struct flight **out, int64_t *wait_until_us)
{
	int rc = OK;
	if (!d->parked.count) return OK;
	int64_t now = clock_wall_us(), due = d->parked.is_stale ? now : parked_next_due(&d->parked);
	for (size_t i = 0; i < d->lane_count && rc == OK && !*out && due <= now; i++)
		rc = fill(d, FLIGHT_PARKED, &d->lanes[i], most, out);
	if (!d->parked.is_stale) due = parked_next_due(&d->parked);
	if (due > now && due != INT64_MAX) sooner(wait_until_us, clock_mono_us() + (due - now));
	return rc;
}

int destination_fill(struct destination *d, struct flight **out, int64_t *wait_until_us)
{
	*out = NULL;
	size_t most = take_rate(d, breaker_limit(&d->breaker, d->flow.batch_records), wait_until_us);
	if (most == 0) return OK;
	int rc = fill_letters(d, most, out);
	/* Whoever was refused before is a bad probe. */
	bool is_probe = d->breaker.state == BREAKER_HALF_OPEN;
	if (rc == OK && !*out && !is_probe) rc = fill_parked(d, most, out, wait_until_us);
	for (size_t i = 0; i < d->lane_count && rc == OK && !*out; i++) {
		struct lane *lane = &d->lanes[(d->turn + i) % d->lane_count];
		if (lane_is_held(d, lane) || !is_ripe(d, lane, wait_until_us)) continue;
		rc = fill(d, FLIGHT_LANE, lane, most, out);
		if (*out) lane->waits_since_us = 0;
		if (d->awaits_landing) { /* and is the first to go then */
			d->turn = (size_t)(lane - d->lanes);
			return rc;
		}
	}
	d->turn = (d->turn + 1) % d->lane_count;
	if (rc == OK && !*out && is_probe) rc = fill_parked(d, most, out, wait_until_us);
	return rc;
}
