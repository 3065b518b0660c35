#include "profile/segments.h"

#include "base/clock.h"
#include "profile/backfill_state.h"
#include "profile/expiry.h"
#include "profile/segment_eval.h"

static const char *const why_names[WHY_COUNT] = {"event", "time", "identity", "definition"};

/* ── rows ────────────────────────────────────────────────────────────────── */

/* The row that shows the profile this id heads; NULL: it heads none. Loaded rows only. */
static struct row *view_of(const struct slot *slot)
{
	const struct row *fragment = slot->fragment.row;
	if (!slot->fragment.is_loaded) return slot->merged.row;
	if (!fragment || !fragment_id_eq(&fragment->profile, &slot->id)) return NULL;
	return fragment->has_merged ? slot->merged.row : slot->fragment.row;
}

static int load_view(struct people *people, struct slot *slot, struct row **out)
{
	struct row *row;
	*out = NULL;
	int rc = cache_row(&people->cache, slot, false, &row);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	if (row->has_merged && fragment_id_eq(&row->profile, &slot->id)) {
		rc = cache_row(&people->cache, slot, true, &row);
		if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	}
	*out = view_of(slot);
	return OK;
}

/* The row as it came from the store, whether or not another stands in its place now. */
static int stored_row(struct people *people, const struct slot *slot, bool is_merged, struct row **out)
{
	const struct cached_row *cached = is_merged ? &slot->merged : &slot->fragment;
	*out = cached->row;
	if (cached->row && !cached->row->is_made) return OK;
	return cache_original(&people->cache, slot, is_merged, false, out);
}

static int membership_of(struct people *people, struct slot *slot, struct membership **out)
{
	*out = slot->membership;
	if (*out) return OK;
	struct membership *membership = arena_new(&people->cache.arena, struct membership);
	if (!membership) return ERR_NOMEM;
	for (int is_merged = 1; is_merged >= 0; is_merged--) {
		struct row *row;
		int rc = stored_row(people, slot, is_merged, &row);
		if (rc) return rc;
		if (!row || (!row->segment_count && !row->due)) continue;
		membership->keys = row->segments;
		membership->count = row->segment_count;
		membership->due = row->due;
		break;
	}
	membership->slot = slot;
	membership->next = people->segments->loaded;
	people->segments->loaded = membership;
	*out = slot->membership = membership;
	return OK;
}

/* ── entering and leaving ────────────────────────────────────────────────── */

struct cause {
	uint64_t seq;
	int64_t t; /* of the record: the feed's retention goes by it */
	enum segment_why why;
	int64_t since; /* when it became true: earlier, when it was due before */
};

static int tell(struct people *people, const struct slot *slot, struct str name, bool is_entry,
		const struct cause *cause)
{
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("segment"));
	jo_str(&out, name);
	jo_key(&out, STR("entered"));
	jo_bool(&out, is_entry);
	jo_key(&out, STR("why"));
	jo_str(&out, str_from(why_names[cause->why]));
	if (cause->why == WHY_TIME) {
		jo_key(&out, STR("dueAt"));
		jo_time(&out, cause->since);
	}
	jo_end_object(&out);
	if (out.status) return out.status;
	struct change change = {
	    .kind = CHANGE_SEGMENT, .cause_seq = cause->seq, .t = cause->t, .body = buf_str(&people->json)};
	memcpy(change.profile, slot->id.bytes, sizeof change.profile);
	metric_add(is_entry ? people->segments->entered : people->segments->exited, 1);
	return people_append_change(people, &change);
}

static int make_room(struct people *people, struct membership *membership)
{
	if (membership->count < membership->room) return OK;
	size_t room = membership->count + 4;
	uint64_t *keys = arena_alloc(&people->cache.arena, room * sizeof *keys);
	if (!keys) return ERR_NOMEM;
	if (membership->count) memcpy(keys, membership->keys, membership->count * sizeof *keys);
	membership->keys = keys;
	membership->room = room;
	return OK;
}

/* What a row was decoded with is never written to: the settling compares with it. */
static int change_keys(struct people *people, struct membership *membership, uint64_t key, bool is_entry)
{
	size_t at = 0;
	int rc = make_room(people, membership);
	if (rc) return rc;
	uint64_t *keys = membership->keys;
	while (at < membership->count && keys[at] < key) at++;
	if (is_entry) {
		memmove(keys + at + 1, keys + at, (membership->count - at) * sizeof key);
		keys[at] = key;
		membership->count++;
		cache_grow(&people->cache, sizeof key);
	} else {
		membership->count--;
		memmove(keys + at, keys + at + 1, (membership->count - at) * sizeof key);
	}
	return OK;
}

static int write_counts(struct people *people)
{
	struct segments *segments = people->segments;
	int rc = OK;
	for (size_t i = 0; i < segments->counted_count; i++) {
		struct segment_count *item = &segments->counts[segments->counted[i]];
		struct str name = {item->name, item->name_len};
		if (!rc) rc = member_count_put(people->txn, segments->tables.members, item->key, item->count, name);
		item->is_used = false;
	}
	segments->counted_count = 0;
	return rc;
}

/* `name` empty: no longer defined, its name lies beside its count. */
static int count_of(struct people *people, uint64_t key, struct str name, struct segment_count **out)
{
	struct segments *segments = people->segments;
	struct str stored = STR_NONE;
	uint64_t count = 0;
	size_t at = key % SEGMENT_COUNTS;
	while (segments->counts[at].is_used && segments->counts[at].key != key) at = (at + 1) % SEGMENT_COUNTS;
	*out = &segments->counts[at];
	if ((*out)->is_used) return OK;
	if (segments->counted_count == COUNT_OF(segments->counted)) {
		int rc = write_counts(people);
		return rc ? rc : count_of(people, key, name, out);
	}
	int rc = member_count_get(people->txn, segments->tables.members, key, &count, &stored);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (name.len == 0) name = stored;
	if (name.len == 0 || name.len > SEGMENT_NAME_MAX) return ERR_CORRUPT;
	**out = (struct segment_count){.key = key, .count = count, .is_used = true, .name_len = name.len};
	memcpy((*out)->name, name.ptr, name.len);
	segments->counted[segments->counted_count++] = at;
	return OK;
}

static int toggle(struct people *people, struct membership *membership, uint64_t key, struct str name, bool is_entry,
		  const struct cause *cause)
{
	struct segments *segments = people->segments;
	const struct fragment_id *profile = &membership->slot->id;
	struct segment_count *counted;
	int rc = count_of(people, key, name, &counted);
	if (!rc && !is_entry && counted->count == 0) rc = ERR_CORRUPT;
	if (rc) return rc;
	counted->count = is_entry ? counted->count + 1 : counted->count - 1;
	rc = member_queue(&segments->members, people->txn, segments->tables.members, key, profile, is_entry,
			  cause->since);
	if (!rc) rc = change_keys(people, membership, key, is_entry);
	name = (struct str){counted->name, counted->name_len};
	return rc ? rc : tell(people, membership->slot, name, is_entry, cause);
}

static struct str name_of(const struct people *people, uint64_t key)
{
	const struct segment *segment = people->plan ? segment_find(people->plan->segments, key) : NULL;
	return segment ? segment->name : STR_NONE;
}

/* ── due times ───────────────────────────────────────────────────────────── */

static int set_due(struct people *people, struct membership *membership, int64_t due)
{
	struct segments *segments = people->segments;
	store_db table = segments->tables.due;
	if (membership->due == due) return OK;
	const struct fragment_id *id = &membership->slot->id;
	int rc = membership->due ? due_queue(&segments->due, people->txn, table, membership->due, id, false) : OK;
	if (rc) return rc;
	if (membership->due && membership->due == segments->working.next_due) segments->is_due_known = false;
	membership->due = due;
	if (!due) return OK;
	if (due < segments->working.next_due) segments->working.next_due = due;
	return due_queue(&segments->due, people->txn, table, due, id, true);
}

/* An entry that is too early stays: it costs a look when it comes, moving it with every event would cost two pages each time. */
static int arm(struct people *people, struct membership *membership, int64_t changes_at)
{
	if (changes_at == INT64_MAX) return OK;
	if (membership->due && membership->due <= changes_at) return OK;
	return set_due(people, membership, changes_at);
}

/* ── evaluating ──────────────────────────────────────────────────────────── */

struct look {
	struct people *people;
	struct membership *membership;
	struct row *view;
	struct cause cause;
	int64_t now;
	int64_t changes_at;
};

static int decode_cold(void *ctx)
{
	struct look *look = ctx;
	return cache_cold(&look->people->cache, look->membership->slot, look->view->is_merged);
}

static int look_at(struct look *look, struct segment_person *person, const struct segment *segment,
		   struct segment_set *pending)
{
	struct segment_verdict verdict;
	struct membership *membership = look->membership;
	person->keys = membership->keys;
	person->key_count = membership->count;
	int rc = segment_eval(person, segment, &verdict);
	if (rc) return rc;
	if (verdict.changes_at < look->changes_at) look->changes_at = verdict.changes_at;
	if (verdict.is_member == segment_keys_have(membership->keys, membership->count, segment->key)) return OK;
	segment_set_join(pending, &segment->dependents);
	return toggle(look->people, membership, segment->key, segment->name, verdict.is_member, &look->cause);
}

/* In the plan's order: what a segment refers to is decided before it. */
static int look_through(struct look *look, struct segment_set pending)
{
	const struct plan *plan = look->people->plan;
	struct segment_person person = {.plan = plan,
					.view = look->view,
					.decode_cold = decode_cold,
					.ctx = look,
					.now = look->now,
					.scratch = &look->people->segments->scratch};
	for (size_t word = 0; word < SEGMENT_WORDS; word++) {
		while (pending.words[word]) {
			unsigned bit = (unsigned)__builtin_ctzll(pending.words[word]);
			pending.words[word] &= pending.words[word] - 1;
			size_t at = word * 64 + bit;
			if (backfill_waits(look->people->backfill, at)) continue;
			int rc = look_at(look, &person, &plan->segments->items[at], &pending);
			if (rc) return rc;
		}
	}
	return arm(look->people, look->membership, look->changes_at);
}

static int64_t present(const struct people *people, int64_t t)
{
	const struct segment_state *state = &people->segments->working;
	return state->is_held && state->held_t < t ? state->held_t : t;
}

/* Leaves what is not defined any more, or everything. */
static int leave(struct people *people, struct membership *membership, bool everything, const struct cause *cause)
{
	for (size_t i = 0; i < membership->count;) {
		uint64_t key = membership->keys[i];
		struct str name = name_of(people, key);
		if (name.len && !everything) {
			i++;
			continue;
		}
		int rc = toggle(people, membership, key, name, false, cause);
		if (rc) return rc;
	}
	return everything ? set_due(people, membership, 0) : OK;
}

static int look_whole(struct people *people, struct membership *membership, struct row *view, const struct cause *cause)
{
	const struct segment_plan *plan = people->plan ? people->plan->segments : NULL;
	int rc = leave(people, membership, !plan, cause);
	membership->is_stale = false;
	if (rc || !plan) return rc;
	struct look look = {.people = people,
			    .membership = membership,
			    .view = view,
			    .cause = *cause,
			    .now = present(people, cause->t),
			    .changes_at = INT64_MAX};
	rc = look_through(&look, plan->all);
	return !rc && look.changes_at == INT64_MAX ? set_due(people, membership, 0) : rc;
}

/* ── what changes a profile ──────────────────────────────────────────────── */

static bool has_any(const struct people *people)
{
	return (people->plan && people->plan->segments) || people->segments->working.scan_seq;
}

static void gather(const struct segment_plan *plan, const struct segment_event *event, struct segment_set *set)
{
	*set = plan->every_event;
	if (event->took_trait) segment_set_join(set, &plan->traits);
	for (size_t word = 0; word < COUNT_OF(event->view->touched_features); word++) {
		uint64_t bits = event->view->touched_features[word];
		event->view->touched_features[word] = 0;
		for (; bits; bits &= bits - 1) {
			size_t feature = word * 64 + (unsigned)__builtin_ctzll(bits);
			/* A bit may be left from a plan that had more. */
			if (feature < plan->feature_count) segment_set_join(set, &plan->of_feature[feature]);
		}
	}
}

static bool is_empty(const struct segment_set *set)
{
	for (size_t i = 0; i < SEGMENT_WORDS; i++)
		if (set->words[i]) return false;
	return true;
}

int segments_event(struct people *people, const struct segment_event *event)
{
	const struct segment_plan *plan = people->plan->segments;
	struct segment_set set;
	struct membership *membership;
	struct cause cause = {event->seq, event->t, WHY_EVENT, event->t};
	if (!has_any(people)) return OK;
	bool is_whole = event->is_identity || (event->head->membership && event->head->membership->is_stale);
	if (!plan && !is_whole) return OK;
	if (plan) gather(plan, event, &set);
	if (!is_whole && is_empty(&set)) return OK;
	int rc = membership_of(people, event->head, &membership);
	if (rc) return rc;
	if (is_whole) return look_whole(people, membership, event->view, &cause);
	struct look look = {.people = people,
			    .membership = membership,
			    .view = event->view,
			    .cause = cause,
			    .now = present(people, event->t),
			    .changes_at = INT64_MAX};
	return look_through(&look, set);
}

int segments_profile_changed(struct people *people, struct slot *slot, uint64_t seq, int64_t t)
{
	struct membership *membership;
	struct row *view;
	struct cause cause = {seq, t, WHY_IDENTITY, t};
	if (!has_any(people)) return OK;
	int rc = load_view(people, slot, &view);
	if (!rc) rc = membership_of(people, slot, &membership);
	if (rc) return rc;
	return view ? look_whole(people, membership, view, &cause) : leave(people, membership, true, &cause);
}

int segments_joined(struct people *people, struct slot *head, struct slot *a, struct slot *b, uint64_t seq, int64_t t)
{
	struct slot *const old[] = {a, b};
	struct membership *membership;
	if (!has_any(people)) return OK;
	for (size_t i = 0; i < COUNT_OF(old); i++) {
		int rc = old[i] == head ? OK : segments_profile_changed(people, old[i], seq, t);
		if (rc) return rc;
	}
	int rc = membership_of(people, head, &membership);
	if (!rc) membership->is_stale = true;
	return rc;
}

/* ── time ────────────────────────────────────────────────────────────────── */

void people_hold(struct people *people, bool is_held, int64_t t)
{
	struct segment_state *state = &people->segments->working;
	CHECK(people->txn);
	if (is_held && !state->is_held) state->held_t = t;
	state->is_held = is_held;
}

bool people_is_due(const struct people *people, int64_t t)
{
	const struct segments *segments = people->segments;
	const struct segment_state *state = people->txn ? &segments->working : &segments->committed;
	if (state->is_held) return false;
	if (people->txn && !(segments->is_due_known && segments->is_expiry_known)) return true;
	return state->next_due <= t || state->next_expiry <= t;
}

int64_t people_wake_at(const struct people *people, int64_t t)
{
	const struct segment_state *state = &people->segments->committed;
	if (state->is_held) return INT64_MAX;
	int64_t next = state->next_expiry < state->next_due ? state->next_expiry : state->next_due;
	bool wants_more =
	    state->scan_seq || people_backfill_next(people) != BACKFILL_NONE || people_backfill_is_ripe(people);
	return wants_more && t + 1 < next ? t + 1 : next;
}

static int know_due(struct people *people, struct fragment_id *profile)
{
	struct segments *segments = people->segments;
	int rc = due_queue_settle(&segments->due, people->txn, segments->tables.due);
	if (!rc) rc = due_first(people->txn, segments->tables.due, &segments->working.next_due, profile);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (rc) segments->working.next_due = INT64_MAX;
	segments->is_due_known = true;
	return OK;
}

static int fire(struct people *people, const struct fragment_id *profile, uint64_t seq, int64_t t, int64_t due)
{
	const struct segment_plan *plan = people->plan ? people->plan->segments : NULL;
	struct membership *membership;
	struct slot *slot;
	struct row *view;
	int rc = cache_slot(&people->cache, profile, &slot);
	if (!rc) rc = load_view(people, slot, &view);
	if (!rc) rc = membership_of(people, slot, &membership);
	if (rc) return rc;
	people->segments->is_due_known = false;
	metric_add(people->segments->fired, 1);
	if (!view || !plan || membership->due != due) {
		struct segments *segments = people->segments;
		if (membership->due != due)
			return due_queue(&segments->due, people->txn, segments->tables.due, due, profile, false);
		return set_due(people, membership, 0);
	}
	struct look look = {.people = people,
			    .membership = membership,
			    .view = view,
			    .cause = {seq, t, WHY_TIME, due},
			    .now = due,
			    .changes_at = INT64_MAX};
	rc = set_due(people, membership, 0);
	return rc ? rc : look_through(&look, plan->timed);
}

int people_fire_due(struct people *people, uint64_t seq, int64_t t, size_t max)
{
	CHECK(people->txn);
	for (size_t i = 0; i < max && people_is_due(people, t); i++) {
		const struct segment_state *state = &people->segments->working;
		struct fragment_id profile, fragment;
		int rc = know_due(people, &profile);
		if (!rc) rc = expiry_next(people, &fragment);
		if (rc || (state->next_due > t && state->next_expiry > t)) return rc;
		/* What expires is told before what follows from it. */
		if (state->next_expiry <= state->next_due)
			rc = expiry_fire(people, &fragment, seq, t);
		else
			rc = fire(people, &profile, seq, t, state->next_due);
		if (rc) return rc;
	}
	return OK;
}

/* ── definitions ─────────────────────────────────────────────────────────── */

void segments_defined(struct people *people, const struct plan *old, uint64_t seq)
{
	if (segment_plans_differ(old, people->plan)) segments_rescan(people, seq);
}

void segments_rescan(struct people *people, uint64_t seq)
{
	struct segments *segments = people->segments;
	segments->working.scan_seq = seq;
	segments->working.has_scanned = false;
	segments->working.scan_count = 0;
	segments->is_scan_waiting = people->cache.dirty.count > 0;
}

/* Whoever was made after the definition was evaluated by it from the start. */
static int scan_one(struct people *people, const struct fragment_id *id, int64_t t, bool *is_counted)
{
	struct segment_state *state = &people->segments->working;
	struct membership *membership;
	struct slot *slot;
	struct row *row;
	int rc = cache_slot(&people->cache, id, &slot);
	if (!rc) rc = cache_row(&people->cache, slot, false, &row);
	*is_counted = !rc && row->created_seq <= state->scan_seq;
	if (rc || !*is_counted) return rc == ERR_NOT_FOUND ? OK : rc;
	if (!fragment_id_eq(&row->profile, id)) return OK;
	rc = load_view(people, slot, &row);
	if (!rc) rc = membership_of(people, slot, &membership);
	if (rc) return rc;
	struct cause cause = {state->scan_seq, t, WHY_DEFINITION, t};
	return look_whole(people, membership, row, &cause);
}

static int scan_step(struct people *people, struct store_cursor *cursor, int64_t t, size_t *done, bool *is_over)
{
	struct segment_state *state = &people->segments->working;
	char after[sizeof state->scan_after.bytes + 1];
	struct str key = {after, sizeof after}, value;
	bool is_counted = false;
	memcpy(after, state->scan_after.bytes, sizeof state->scan_after.bytes);
	after[sizeof after - 1] = (char)0xff; /* behind all rows of that id */
	int rc = store_cursor_move(cursor, state->has_scanned ? STORE_AT_OR_AFTER : STORE_FIRST, &key, &value);
	*is_over = rc == ERR_NOT_FOUND;
	if (rc) return *is_over ? OK : rc;
	if (key.len < sizeof state->scan_after.bytes) return ERR_CORRUPT;
	memcpy(state->scan_after.bytes, key.ptr, sizeof state->scan_after.bytes);
	state->has_scanned = true;
	rc = scan_one(people, &state->scan_after, t, &is_counted);
	if (rc || !is_counted) return rc;
	state->scan_count++;
	*done += 1;
	metric_add(people->segments->scanned, 1);
	return OK;
}

bool people_is_scanning(const struct people *people)
{
	return people->segments->working.scan_seq != 0;
}

int people_scan_segments(struct people *people, int64_t t, size_t max)
{
	struct segments *segments = people->segments;
	struct store_cursor *cursor;
	bool is_over = false;
	size_t done = 0;
	if (!segments->working.scan_seq || segments->is_scan_waiting) return OK;
	CHECK(people->txn);
	int rc = store_cursor_open(people->txn, people->tables.rows, &cursor);
	if (rc) return rc;
	while (!rc && !is_over && done < max) rc = scan_step(people, cursor, t, &done, &is_over);
	store_cursor_close(cursor);
	if (!rc && is_over) segments->working.scan_seq = 0;
	return rc;
}

/* ── the end of a transaction ────────────────────────────────────────────── */

static bool has_keys(const struct row *row, const uint64_t *keys, size_t count, int64_t due)
{
	if (row->due != due || row->segment_count != count) return false;
	return row->segments == keys || count == 0 || memcmp(row->segments, keys, count * sizeof *keys) == 0;
}

static int settle_row(struct people *people, struct membership *membership, bool is_merged, const struct row *view)
{
	struct slot *slot = membership->slot;
	struct row *row = is_merged ? slot->merged.row : slot->fragment.row;
	if (!row) return OK;
	bool is_view = row == view;
	size_t count = is_view ? membership->count : 0;
	int64_t due = is_view ? membership->due : 0;
	if (has_keys(row, membership->keys, count, due)) return OK;
	row->segments = membership->keys;
	row->segment_count = count;
	row->due = due;
	return cache_dirty(&people->cache, slot, is_merged);
}

/* Membership goes into the rows. */
static int settle(struct people *people)
{
	int64_t t = people->working.applied_t;
	struct cause cause = {people->working.applied ? people->working.applied - 1 : 0, t, WHY_IDENTITY, t};
	for (struct membership *it = people->segments->loaded; it; it = it->next) {
		const struct row *view = view_of(it->slot);
		int rc = view ? OK : leave(people, it, true, &cause);
		if (!rc) rc = settle_row(people, it, false, view);
		if (!rc) rc = settle_row(people, it, true, view);
		if (rc) return rc;
	}
	return OK;
}

static bool is_same_state(const struct segment_state *a, const struct segment_state *b)
{
	return a->is_held == b->is_held && a->held_t == b->held_t && a->scan_seq == b->scan_seq &&
	       fragment_id_eq(&a->scan_after, &b->scan_after) && a->has_scanned == b->has_scanned &&
	       a->scan_count == b->scan_count;
}

int segments_write(struct people *people)
{
	struct segments *segments = people->segments;
	struct fragment_id profile;
	int rc = settle(people);
	if (!rc) rc = write_counts(people);
	if (!rc) rc = member_queue_settle(&segments->members, people->txn, segments->tables.members);
	if (!rc) rc = due_queue_settle(&segments->due, people->txn, segments->tables.due);
	if (!rc && !segments->is_due_known) rc = know_due(people, &profile);
	if (!rc && !segments->is_expiry_known) rc = expiry_next(people, &profile);
	if (rc) return rc;
	if (is_same_state(&segments->working, &segments->committed)) return OK;
	return segment_state_write(people->txn, people->tables.meta, &segments->working);
}

size_t segments_pages(const struct people *people)
{
	return member_queue_pages(&people->segments->members) + due_queue_pages(&people->segments->due);
}
