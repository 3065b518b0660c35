/* Positions: two bits of phase, the first 55 of an id, and seven of what of the person it is: in a repair consents that are gone, each at the
 * place of its purpose among those that are defined, then she herself. */
#include "base/clock.h"
#include "base/encode.h"
#include "config/config.h"
#include "deliver/snapshot.h"
#include "deliver/stream_persons.h"
#include "profile/erase.h"
#include "profile/scan.h"

#define PHASE_BITS 62
#define PLACE_MASK ((UINT64_C(1) << PHASE_BITS) - 1)
#define PART_BITS  7
#define PART_SELF  ((1u << PART_BITS) - 1)
#define LOOK_ROWS  64  /* identifiers looked at in one read transaction */
#define LOOKS      256 /* for one window, when few of them head a profile */

_Static_assert(CONF_PURPOSES_MAX <= PART_SELF, "every purpose has a part");
_Static_assert(CONF_PURPOSES_MAX + 1 <= WINDOW_RECORDS_MAX, "all parts of a person must fit into one window");

enum phase { PHASE_PEOPLE, PHASE_REPAIR /* and ids that are others' now */, PHASE_ERASED /* ids that were erased */ };

static enum phase phase_of(uint64_t position)
{
	return (enum phase)(position >> PHASE_BITS);
}

static uint64_t position_of(enum phase phase, const struct fragment_id *id, unsigned part)
{
	uint64_t prefix = get_be64(id->bytes) >> (64 - PHASE_BITS + PART_BITS);
	return (uint64_t)phase << PHASE_BITS | prefix << PART_BITS | part;
}

static unsigned part_of(uint64_t position)
{
	return (unsigned)position & PART_SELF;
}

static uint64_t end_of(enum phase phase)
{
	return phase == PHASE_REPAIR ? (uint64_t)PHASE_ERASED << PHASE_BITS : SNAPSHOT_DONE;
}

double snapshot_progress(uint64_t position)
{
	if (!snapshot_is_running(position)) return 1;
	double part = (double)(position & PLACE_MASK) / (double)PLACE_MASK;
	return phase_of(position) == PHASE_ERASED ? 1 : part;
}

/* A walk that looks at the id of `position` next. */
static struct people_scan scan_from(uint64_t position)
{
	uint64_t place = (position & PLACE_MASK) >> PART_BITS;
	struct people_scan scan = {.has_after = place != 0};
	put_be64(scan.after.bytes, place << (64 - PHASE_BITS + PART_BITS));
	for (size_t i = sizeof scan.after.bytes; i-- > 0 && scan.has_after;)
		if (scan.after.bytes[i]-- != 0) break;
	return scan;
}

/* ── people ──────────────────────────────────────────────────────────────── */

struct look { /* ids of one read transaction */
	struct fragment_id ids[LOOK_ROWS];
	size_t count;
	uint64_t change_seq, applied;
	int64_t t;
};

/* Who is a person, and in a repair who is a part of one. */
static int take_ids(struct stream_reader *r, enum phase phase, struct people_scan *scan, struct look *look)
{
	int rc = OK;
	for (size_t i = 0; i < LOOK_ROWS && rc == OK && !scan->is_done; i++) {
		struct profile profile;
		bool found;
		arena_reset(&r->scratch);
		rc = people_scan_next(r->people, scan, 1, 0, look->t, &r->scratch, &profile, &found);
		if (rc == OK && !scan->is_done && (found || phase == PHASE_REPAIR))
			look->ids[look->count++] = scan->after;
	}
	return rc;
}

static int look_on(struct stream_reader *r, enum phase phase, struct people_scan *scan, struct look *look)
{
	*look = (struct look){.t = clock_wall_us()};
	int rc = people_read_begin(r->people, &look->applied);
	if (rc) return rc;
	look->change_seq = people_read_last_change(r->people);
	rc = take_ids(r, phase, scan, look);
	people_read_end(r->people);
	return rc;
}

static int add_id(struct stream_reader *r, struct stream_window *window, enum phase phase, const struct look *look,
		  const struct fragment_id *id)
{
	const struct person_place place = {.stream = &stream_snapshot,
					   .position = position_of(phase, id, PART_SELF),
					   .id = *id,
					   .change_seq = look->change_seq,
					   .cause_seq = look->applied ? look->applied - 1 : 0,
					   .t = look->t};
	return person_add(r, window, &place);
}

/* ── consents that are gone ──────────────────────────────────────────────── */

struct gone {                               /* of a person */
	struct change change;               /* as if it were one of the feed */
	struct feed_lost *items[PART_SELF]; /* by part; NULL: it is not gone */
};

/* Of the purpose as a whole: gates ask for that. */
static const struct profile_consent *find_consent(const struct profile *profile, struct str purpose)
{
	for (size_t i = 0; i < profile->consent_count; i++) {
		const struct consent *record = &profile->consents[i].record;
		if (!record->channel.len && str_eq(record->purpose, purpose)) return &profile->consents[i];
	}
	return NULL;
}

static int take_gone(struct stream_reader *r, const struct profile *profile, struct gone *gone)
{
	struct str purpose;
	int rc = OK;
	for (unsigned i = 0; i < PART_SELF && people_purpose_at(r->people, i, &purpose) && rc == OK; i++) {
		const struct profile_consent *consent = find_consent(profile, purpose);
		if (!consent || !people_consent_lost(r->people, purpose, CONSENT_GRANTED, consent->state)) continue;
		struct feed_lost *lost = arena_alloc(&r->scratch, sizeof *lost);
		if (!lost) return ERR_NOMEM;
		lost->purpose = consent->record.purpose;
		lost->state = consent->state;
		rc = feed_list_ids(r, &gone->change, lost);
		gone->items[i] = lost;
	}
	return rc;
}

/* What somebody who missed changes may not have heard: whoever does not allow it now may have allowed it before. */
static int look_for_gone(struct stream_reader *r, const struct look *look, const struct fragment_id *id,
			 struct gone *gone)
{
	struct profile profile;
	uint64_t applied;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	*gone = (struct gone){.change = {.cause_seq = look->applied ? look->applied - 1 : 0, .t = look->t}};
	memcpy(gone->change.profile, id->bytes, sizeof gone->change.profile);
	fragment_id_format(id, ref + 3);
	arena_reset(&r->scratch);
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_get(r->people, str_from(ref), PROFILE_CONSENTS, look->t, &r->scratch, &profile);
	if (rc == OK && memcmp(&profile.id, id, sizeof profile.id) == 0) rc = take_gone(r, &profile, gone);
	people_read_end(r->people);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int add_gone(struct stream_reader *r, struct stream_window *window, const struct look *look,
		    const struct fragment_id *id, uint64_t from)
{
	struct gone gone;
	int rc = look_for_gone(r, look, id, &gone);
	for (unsigned i = 0; i < PART_SELF && rc == OK; i++) {
		uint64_t position = position_of(PHASE_REPAIR, id, i);
		if (gone.items[i] && position >= from)
			rc = feed_add_withdrawn(r, window, &stream_snapshot, position, &gone.change, gone.items[i]);
	}
	return rc;
}

/* Is there room for all of one more? */
static bool has_room(const struct stream_window *window)
{
	return window->bytes < WINDOW_BYTES_MAX && window->count + CONF_PURPOSES_MAX + 1 <= WINDOW_RECORDS_MAX;
}

/* *done: of the ids that were looked at. */
static int add_all(struct stream_reader *r, struct stream_window *window, enum phase phase, const struct look *look,
		   uint64_t from, size_t *done)
{
	int rc = OK;
	for (*done = 0; *done < look->count && rc == OK && has_room(window); ++*done) {
		const struct fragment_id *id = &look->ids[*done];
		if (phase == PHASE_REPAIR) rc = add_gone(r, window, look, id, from);
		if (rc == OK && position_of(phase, id, PART_SELF) >= from) rc = add_id(r, window, phase, look, id);
	}
	return rc;
}

static int gather_people(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	enum phase phase = phase_of(from);
	struct people_scan scan = scan_from(from);
	struct look look;
	int rc = OK;
	for (int i = 0; i < LOOKS && rc == OK && !scan.is_done && has_room(window); i++) {
		size_t done = 0;
		rc = look_on(r, phase, &scan, &look);
		if (rc == OK) rc = add_all(r, window, phase, &look, from, &done);
		if (rc || done == look.count) continue;
		window->next = position_of(phase, &look.ids[done], 0);
		return OK;
	}
	uint64_t next = position_of(phase, &scan.after, PART_SELF) + 1;
	window->next = scan.is_done || phase_of(next) != phase ? end_of(phase) : next;
	return rc;
}

/* ── who was erased ──────────────────────────────────────────────────────── */

#define ERASED_MAX (WINDOW_RECORDS_MAX / 2) /* each with a notice and a profile that is gone */

struct erased_item {
	struct fragment_id id;
	struct erased_row row;
};
struct erased_list {
	struct erased_item *items;
	size_t count, max;
	uint64_t from;
};

/* They come by id. */
static int take_erased(void *ctx, const struct fragment_id *id, const struct erased_row *row)
{
	struct erased_list *list = ctx;
	if (position_of(PHASE_ERASED, id, PART_SELF) < list->from) return 0;
	list->items[list->count++] = (struct erased_item){*id, *row};
	return list->count == list->max;
}

static int list_erased(struct stream_reader *r, struct stream_window *window, struct erased_list *list,
		       struct look *look)
{
	*look = (struct look){.t = clock_wall_us()};
	list->items = arena_array(&window->arena, struct erased_item, list->max);
	if (!list->items) return ERR_NOMEM;
	int rc = people_read_begin(r->people, &look->applied);
	if (rc) return rc;
	look->change_seq = people_read_last_change(r->people);
	rc = people_each_erased(r->people, take_erased, list);
	people_read_end(r->people);
	return rc;
}

/* What happened up to then is to go: who came back later is told behind it, if she is a profile. */
static int add_erased(struct stream_reader *r, struct stream_window *window, const struct erased_item *item)
{
	struct change change = {.cause_seq = item->row.seq, .t = item->row.before_us};
	struct feed_erased erased = {.is_whole = true};
	memcpy(change.profile, item->id.bytes, sizeof change.profile);
	memcpy(erased.receipt, item->row.receipt, sizeof erased.receipt);
	return feed_add_erased(r, window, &stream_snapshot, position_of(PHASE_ERASED, &item->id, 0), &change, &erased,
			       &item->id);
}

static int gather_erased(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	struct look look;
	struct erased_list list = {.max = ERASED_MAX, .from = from};
	int rc = list_erased(r, window, &list, &look);
	for (size_t i = 0; i < list.count && rc == OK; i++) {
		const struct erased_item *item = &list.items[i];
		if (position_of(PHASE_ERASED, &item->id, 0) >= from) rc = add_erased(r, window, item);
		if (rc == OK) rc = add_id(r, window, PHASE_ERASED, &look, &item->id);
	}
	window->next = list.count == list.max ? position_of(PHASE_ERASED, &list.items[list.count - 1].id, PART_SELF) + 1
					      : SNAPSHOT_DONE;
	return rc;
}

static int gather(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	if (!snapshot_is_running(from)) return OK; /* nothing more */
	return phase_of(from) == PHASE_ERASED ? gather_erased(r, from, window) : gather_people(r, from, window);
}

/* ── by name ─────────────────────────────────────────────────────────────── */

static int find_gone(struct stream_reader *r, uint64_t position, const struct look *look, struct stream_window *window)
{
	struct gone gone;
	int rc = look_for_gone(r, look, &look->ids[0], &gone);
	if (rc || !gone.items[part_of(position)]) return rc;
	return feed_add_withdrawn(r, window, &stream_snapshot, position, &gone.change, gone.items[part_of(position)]);
}

static int find_erased(struct stream_reader *r, uint64_t position, struct stream_window *window)
{
	struct look look;
	struct erased_list list = {.max = 1, .from = position};
	unsigned part = part_of(position);
	int rc = list_erased(r, window, &list, &look);
	if (rc || !list.count || position_of(PHASE_ERASED, &list.items[0].id, part) != position) return rc;
	return part == PART_SELF ? add_id(r, window, PHASE_ERASED, &look, &list.items[0].id)
				 : add_erased(r, window, &list.items[0]);
}

static int find_one(struct stream_reader *r, uint64_t position, struct stream_window *window)
{
	struct people_scan scan = scan_from(position);
	struct look look;
	unsigned part = part_of(position);
	if (phase_of(position) == PHASE_ERASED) return find_erased(r, position, window);
	int rc = look_on(r, PHASE_REPAIR, &scan, &look);
	if (rc || !look.count || position_of(phase_of(position), &look.ids[0], part) != position) return rc;
	return part == PART_SELF ? add_id(r, window, phase_of(position), &look, &look.ids[0])
				 : find_gone(r, position, &look, window);
}

static int find(struct stream_reader *r, const uint64_t *positions, size_t count, struct stream_window *window)
{
	int rc = OK;
	window->next = UINT64_MAX;
	for (size_t i = 0; i < count && rc == OK; i++) {
		if (window->count < WINDOW_RECORDS_MAX && window->bytes < WINDOW_BYTES_MAX) {
			rc = find_one(r, positions[i], window);
			continue;
		}
		window->next = positions[i];
		break;
	}
	return rc;
}

/* ── where it is ─────────────────────────────────────────────────────────── */

static uint64_t first(const struct deliver_shared *shared)
{
	(void)shared;
	return SNAPSHOT_START;
}

static uint64_t end(const struct deliver_shared *shared)
{
	(void)shared;
	return SNAPSHOT_DONE;
}

static int no_time(const struct deliver_shared *shared, uint64_t position, struct arena *arena, int64_t *t)
{
	(void)shared, (void)position, (void)arena, (void)t;
	return ERR_NOT_FOUND;
}

const struct stream stream_snapshot = {
    .is_private = true,
    .id = STREAM_OF_SNAPSHOT,
    .name = "snapshot",
    .feed = POSITION_SNAPSHOT_RECORDS,
    .first = first,
    .end = end,
    .time = no_time,
    .gather = gather,
    .find = find,
};
