/* Segments through people: entering and leaving by events, time, joins and definitions; what is stored about it; and that
 * random histories, however they are cut and replayed, end where a plain evaluation of everybody ends. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "profile/segment_eval.h"
#include "profile/segments.h"

#define DAY US_PER_DAY

/* ── definitions with little typing ──────────────────────────────────────── */

static const char *define_text(struct world *world, const char *segments)
{
	struct str text;
	size_t len = strlen(world_definitions);
	assert_int_equal(
	    arena_printf(&world->arena, &text, "%.*s,\"segments\":[%s]}", (int)len - 1, world_definitions, segments),
	    OK);
	return text.ptr;
}

#define LEAF(subject, name, op, value) \
	"{\"name\":\"" name "\",\"op\":\"" op "\",\"source\":\"" subject "\",\"value\":" value "}"
#define SEGMENT(name, when) "{\"name\":\"" name "\",\"when\":" when "}"
#define IN_30_DAYS          "2592000000000"

/* ── records as the fold brings them ─────────────────────────────────────── */

static int64_t now_of(const struct world *world, uint64_t seq)
{
	return WORLD_T0 + world->ahead + (int64_t)seq;
}

static void around(struct world *world, size_t slice)
{
	uint64_t seq = world->seq + 1;
	while (people_is_due(world->people, now_of(world, seq)))
		assert_int_equal(people_fire_due(world->people, seq, now_of(world, seq), slice), OK);
}

/* An event, or a tick when it is NULL; inside a transaction. */
static void record(struct world *world, const struct cdpd_event *event, size_t scan)
{
	struct apply_result result;
	around(world, 2);
	if (event)
		world_apply(world, event, &result);
	else
		world->seq++;
	assert_int_equal(people_scan_segments(world->people, now_of(world, world->seq), scan), OK);
}

static void one(struct world *world, const struct cdpd_event *event)
{
	world_begin(world);
	record(world, event, 1000);
	world_commit(world);
}

static void define(struct world *world, const char *segments)
{
	world_begin(world);
	assert_int_equal(people_define(world->people, str_from(define_text(world, segments)), ++world->seq), OK);
	assert_int_equal(people_scan_segments(world->people, now_of(world, world->seq), 1000), OK);
	world_commit(world);
}

static struct cdpd_event order(const char *user, const char *total)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, "");
	event.event = STR("Order Completed");
	event.properties = str_from(total);
	return event;
}

static struct cdpd_event identify(const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.traits = str_from(traits);
	return event;
}

/* ── looking ─────────────────────────────────────────────────────────────── */

static const char *segments_of(struct world *world, const char *ref)
{
	struct profile profile;
	struct str text = STR_NONE;
	view_begin(world);
	if (view_get(world, ref, &profile) == OK)
		for (size_t i = 0; i < profile.segment_count; i++)
			assert_int_equal(arena_printf(&world->arena, &text, "%.*s%s%.*s", STR_ARG(text), i ? " " : "",
						      STR_ARG(profile.segments[i])),
					 OK);
	view_end(world);
	return text.ptr;
}

static struct str name_of_id(struct world *world, const uint8_t bytes[16])
{
	struct fragment_id id;
	struct row *row;
	memcpy(id.bytes, bytes, sizeof id.bytes);
	assert_int_equal(reader_row(world->reader, &id, false, false, &world->arena, &row), OK);
	return row->identifier;
}

static bool json_member(struct json_reader *reader, struct world *world, struct str body, const char *key,
			struct json *out)
{
	struct buf copy;
	struct json root;
	const char *why;
	struct str kept;
	buf_init(&copy, 1 << 20);
	assert_int_equal(buf_append_str(&copy, body), OK);
	assert_int_equal(buf_append(&copy, "                                                                ", 64), OK);
	assert_int_equal(arena_str(&world->arena, buf_str(&copy), &kept), OK);
	kept.len = body.len;
	buf_fini(&copy);
	assert_int_equal(json_parse(reader, kept, &root, &why), OK);
	return json_get(root, str_from(key), out);
}

/* "user_id:u1 +vip event 5\n" of each segment change after `after`. */
static const char *entries(struct world *world, uint64_t after)
{
	struct change *changes;
	struct json_reader *reader;
	size_t count;
	struct str text = STR_NONE;
	assert_int_equal(json_reader_new(&reader), OK);
	view_begin(world);
	assert_int_equal(people_changes(world->reader, after, 1000000, &world->arena, &changes, &count), OK);
	for (size_t i = 0; i < count; i++) {
		struct json value;
		struct str segment, why;
		bool entered;
		if (changes[i].kind != CHANGE_SEGMENT) continue;
		assert_true(json_member(reader, world, changes[i].body, "segment", &value) &&
			    json_str(value, &segment));
		assert_int_equal(arena_str(&world->arena, segment, &segment), OK);
		assert_true(json_member(reader, world, changes[i].body, "entered", &value) &&
			    json_bool(value, &entered));
		assert_true(json_member(reader, world, changes[i].body, "why", &value) && json_str(value, &why));
		assert_int_equal(arena_str(&world->arena, why, &why), OK);
		struct str who = name_of_id(world, changes[i].profile);
		assert_int_equal(arena_printf(&world->arena, &text, "%.*s%.*s %c%.*s %.*s %llu\n", STR_ARG(text),
					      STR_ARG(who), entered ? '+' : '-', STR_ARG(segment), STR_ARG(why),
					      (unsigned long long)changes[i].cause_seq),
				 OK);
	}
	view_end(world);
	json_reader_free(reader);
	return text.ptr;
}

static uint64_t members_of(struct world *world, const char *name)
{
	struct segment_info info;
	view_begin(world);
	assert_int_equal(people_segment(world->reader, str_from(name), &world->arena, &info), OK);
	view_end(world);
	return info.members;
}

static uint64_t due_waiting(struct world *world)
{
	uint64_t count;
	view_begin(world);
	assert_int_equal(people_due_waiting(world->reader, &count), OK);
	view_end(world);
	return count;
}

/* ── what must hold whenever all is evaluated ────────────────────────────── */

static int no_cold(void *ctx)
{
	(void)ctx;
	return ERR_CORRUPT;
}

/* Membership by plain evaluation of the stored row; and the due time it may have at most. */
static void check_person(struct world *world, struct row *view, int64_t now, struct value_scratch *scratch)
{
	const struct segment_plan *plan = world->reader->plan->segments;
	uint64_t keys[64];
	size_t count = 0;
	int64_t changes_at = INT64_MAX;
	struct segment_person person = {
	    .plan = world->reader->plan, .view = view, .decode_cold = no_cold, .now = now, .scratch = scratch};
	for (size_t i = 0; plan && i < plan->count; i++) {
		struct segment_verdict verdict;
		person.keys = keys;
		person.key_count = count;
		assert_int_equal(segment_eval(&person, &plan->items[i], &verdict), OK);
		assert_true(verdict.changes_at > now);
		if (verdict.changes_at < changes_at) changes_at = verdict.changes_at;
		if (!verdict.is_member) continue;
		size_t at = count++;
		for (; at > 0 && keys[at - 1] > plan->items[i].key; at--) keys[at] = keys[at - 1];
		keys[at] = plan->items[i].key;
	}
	assert_int_equal(view->segment_count, count);
	if (count) assert_memory_equal(view->segments, keys, count * sizeof *keys);
	if (changes_at != INT64_MAX) assert_true(view->due != 0 && view->due <= changes_at);
	if (view->due) assert_true(view->due > now);
}

static void check_entries(struct world *world, const struct row *view, uint64_t *members, uint64_t *dues)
{
	const struct segment_tables *tables = &world->people->segments->tables;
	uint8_t key[MEMBER_KEY_SIZE];
	struct str value;
	for (size_t i = 0; i < view->segment_count; i++) {
		member_key(view->segments[i], &view->id, key);
		assert_int_equal(
		    store_get(world->reader->txn, tables->members, (struct str){(char *)key, sizeof key}, &value), OK);
	}
	*members += view->segment_count;
	if (!view->due) return;
	uint64_t at = (uint64_t)view->due ^ (UINT64_C(1) << 63);
	for (size_t i = 0; i < 8; i++) key[i] = (uint8_t)(at >> (56 - 8 * i));
	memcpy(key + 8, view->id.bytes, 16);
	assert_int_equal(store_get(world->reader->txn, tables->due, (struct str){(char *)key, sizeof key}, &value), OK);
	*dues += 1;
}

static uint64_t counted_members(struct world *world, uint64_t *segments)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value, name;
	uint64_t total = 0, rows = 0;
	store_db members = world->people->segments->tables.members;
	assert_int_equal(store_cursor_open(world->reader->txn, members, &cursor), OK);
	for (int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value); rc == OK;
	     rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		rows++;
		if (key.len == MEMBER_KEY_SIZE) continue;
		uint64_t segment = 0, count;
		for (size_t i = 0; i < 8; i++) segment = segment << 8 | (uint8_t)key.ptr[i];
		assert_int_equal(member_count_get(world->reader->txn, members, segment, &count, &name), OK);
		assert_true(count > 0 && name.len > 0);
		total += count;
		*segments += 1;
	}
	store_cursor_close(cursor);
	assert_int_equal(rows, total + *segments);
	return total;
}

static void check_all(struct world *world)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	struct value_scratch scratch;
	uint64_t members = 0, dues = 0, segments = 0, waiting;
	int64_t now = now_of(world, world->seq);
	world_check(world);
	assert_int_equal(json_reader_new(&scratch.reader), OK);
	buf_init(&scratch.text, 1 << 20);
	view_begin(world);
	assert_int_equal(store_cursor_open(world->reader->txn, world->people->tables.rows, &cursor), OK);
	for (int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value); rc == OK;
	     rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		struct fragment_id id;
		struct row *row;
		if (key.len != 17) continue;
		memcpy(id.bytes, key.ptr, 16);
		assert_int_equal(reader_row(world->reader, &id, key.ptr[16] == 1, true, &world->arena, &row), OK);
		bool is_view = row->is_merged || (fragment_id_eq(&row->profile, &id) && !row->has_merged);
		if (!is_view) {
			assert_int_equal(row->segment_count, 0);
			assert_int_equal(row->due, 0);
			continue;
		}
		check_person(world, row, now, &scratch);
		check_entries(world, row, &members, &dues);
	}
	store_cursor_close(cursor);
	assert_int_equal(people_due_waiting(world->reader, &waiting), OK);
	assert_int_equal(waiting, dues);
	assert_int_equal(counted_members(world, &segments), members);
	view_end(world);
	buf_fini(&scratch.text);
	json_reader_free(scratch.reader);
}

/* ── entering and leaving ────────────────────────────────────────────────── */

static void enters_and_leaves_by_events(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("buyer", LEAF("feature", "orders", "at_least", "2")) "," SEGMENT(
			   "gold", LEAF("trait", "plan", "is", "\"gold\"")));
	struct cdpd_event buy = order("u1", "{\"total\":3}"), gold = identify("u1", "", "{\"plan\":\"gold\"}"),
			  silver = identify("u1", "", "{\"plan\":\"silver\"}");
	one(&world, &buy);
	assert_text(segments_of(&world, "user_id:u1"), "");
	one(&world, &buy);
	one(&world, &gold);
	assert_text(segments_of(&world, "user_id:u1"), "buyer gold");
	assert_int_equal(members_of(&world, "gold"), 1);
	check_all(&world);
	one(&world, &silver);
	assert_text(segments_of(&world, "user_id:u1"), "buyer");
	assert_int_equal(members_of(&world, "gold"), 0);
	assert_text(entries(&world, 0),
		    "user_id:u1 +buyer event 3\nuser_id:u1 +gold event 4\nuser_id:u1 -gold event 5\n");
	check_all(&world);
	world_close(&world);
}

static void in_and_out_within_one_transaction_is_two_changes(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("gold", LEAF("trait", "plan", "is", "\"gold\"")));
	struct cdpd_event gold = identify("u1", "", "{\"plan\":\"gold\"}"),
			  silver = identify("u1", "", "{\"plan\":\"silver\"}");
	world_begin(&world);
	for (int i = 0; i < 3; i++) {
		record(&world, &gold, 1000);
		record(&world, &silver, 1000);
	}
	world_commit(&world);
	assert_text(entries(&world, 0), "user_id:u1 +gold event 2\nuser_id:u1 -gold event 3\n"
					"user_id:u1 +gold event 4\nuser_id:u1 -gold event 5\n"
					"user_id:u1 +gold event 6\nuser_id:u1 -gold event 7\n");
	check_all(&world);
	world_close(&world);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("active", LEAF("field", "last_seen", "within", IN_30_DAYS)));
	struct cdpd_event buy = order("u1", "{}");
	uint64_t seq = world.seq;
	world_begin(&world);
	record(&world, &buy, 1000);
	people_abort(world.people);
	world.seq = seq;
	assert_false(people_is_due(world.people, INT64_MAX - 1));
	check_all(&world);
	one(&world, &buy);
	assert_text(entries(&world, 0), "user_id:u1 +active event 2\n");
	check_all(&world);
	world_close(&world);
}

static void segments_of_segments_follow_in_order(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	/* Named so that the order of names is not the order of evaluation. */
	define(&world,
	       SEGMENT("a", "{\"all\":[" LEAF("segment", "b", "is", "true") "," LEAF(
				"segment", "c", "is",
				"false") "]}") "," SEGMENT("b",
							   "{\"not\":" LEAF(
							       "segment", "c", "is",
							       "true") "}") "," SEGMENT("c", LEAF("feature", "orders",
												  "greater", "0")));
	struct cdpd_event page = world_event(EVENT_PAGE, "u1", ""), buy = order("u1", "{}");
	one(&world, &page);
	assert_text(segments_of(&world, "user_id:u1"), "a b");
	one(&world, &buy);
	assert_text(segments_of(&world, "user_id:u1"), "c");
	assert_text(entries(&world, 0), "user_id:u1 +b event 2\nuser_id:u1 +a event 2\n"
					"user_id:u1 +c event 3\nuser_id:u1 -b event 3\nuser_id:u1 -a event 3\n");
	check_all(&world);
	world_close(&world);
}

/* ── time ────────────────────────────────────────────────────────────────── */

#define LAPSED \
	SEGMENT("active", LEAF("field", "last_seen", "within", IN_30_DAYS)) \
	"," SEGMENT("lapsed", "{\"all\":[" LEAF("field", "last_seen", "not_within", \
						IN_30_DAYS) "," LEAF("feature", "orders", "greater", "0") "]}")

static void time_alone_moves_people(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, LAPSED);
	struct cdpd_event buy = order("u1", "{}"), again = order("u2", "{}");
	one(&world, &buy);
	int64_t seen = now_of(&world, world.seq);
	one(&world, &again);
	assert_text(segments_of(&world, "user_id:u1"), "active");
	assert_int_equal(due_waiting(&world), 2);
	assert_int_equal(people_wake_at(world.people, 0), seen + 30 * DAY);
	world.ahead = 30 * DAY - 3; /* one microsecond before it is due */
	one(&world, NULL);
	assert_text(segments_of(&world, "user_id:u1"), "active");
	world_reopen(&world); /* due times are stored */
	assert_int_equal(people_wake_at(world.people, 0), seen + 30 * DAY);
	world.ahead = 90 * DAY; /* very late */
	uint64_t changes = people_last_change(world.people);
	one(&world, NULL);
	assert_text(segments_of(&world, "user_id:u1"), "lapsed");
	assert_text(entries(&world, changes), "user_id:u1 -active time 5\nuser_id:u1 +lapsed time 5\n"
					      "user_id:u2 -active time 5\nuser_id:u2 +lapsed time 5\n");
	view_begin(&world);
	struct change *list;
	size_t count;
	assert_int_equal(people_changes(world.reader, changes, 10, &world.arena, &list, &count), OK);
	assert_int_equal(count, 4);
	/* In the feed now, and true since then. */
	char due[CLOCK_TEXT_SIZE], want[CLOCK_TEXT_SIZE + 16];
	clock_format(seen + 30 * DAY, due);
	snprintf(want, sizeof want, "\"dueAt\":\"%s\"", due);
	assert_int_equal(list[0].t, now_of(&world, world.seq));
	assert_non_null(memmem(list[0].body.ptr, list[0].body.len, want, strlen(want)));
	view_end(&world);
	assert_int_equal(due_waiting(&world), 0);
	check_all(&world);
	one(&world, &buy); /* back */
	assert_text(segments_of(&world, "user_id:u1"), "active");
	check_all(&world);
	world_close(&world);
}

/* An entry that an event makes too early stays and costs a look; the person leaves at the right time all the same. */
static void activity_moves_the_due_time(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, LAPSED);
	struct cdpd_event buy = order("u1", "{}");
	for (int i = 0; i < 5; i++) {
		world.ahead = i * 20 * DAY;
		one(&world, &buy);
		assert_int_equal(due_waiting(&world), 1);
		check_all(&world);
	}
	assert_text(entries(&world, 0), "user_id:u1 +active event 2\n");
	world.ahead = 110 * DAY + 100;
	one(&world, NULL);
	assert_text(entries(&world, 0),
		    "user_id:u1 +active event 2\nuser_id:u1 -active time 7\nuser_id:u1 +lapsed time 7\n");
	check_all(&world);
	world_close(&world);
}

static void a_held_clock_fires_nothing(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, LAPSED);
	struct cdpd_event buy = order("u1", "{}"), other = order("u2", "{}");
	one(&world, &buy);
	world_begin(&world);
	people_hold(world.people, true, now_of(&world, ++world.seq));
	world_commit(&world);
	world.ahead = 400 * DAY; /* the jump */
	other.event_time_us = WORLD_T0 + 5;
	one(&world, &other); /* u2 is seen as of before the jump */
	assert_text(segments_of(&world, "user_id:u1"), "active");
	assert_text(segments_of(&world, "user_id:u2"), "active");
	assert_int_equal(people_wake_at(world.people, 0), INT64_MAX);
	world_reopen(&world);
	one(&world, NULL);
	assert_text(segments_of(&world, "user_id:u1"), "active");
	world_begin(&world);
	world.seq++;
	people_hold(world.people, false, now_of(&world, world.seq));
	world.seq--;
	around(&world, 1);
	world.seq++;
	world_commit(&world);
	assert_text(segments_of(&world, "user_id:u1"), "lapsed");
	assert_text(segments_of(&world, "user_id:u2"), "lapsed");
	check_all(&world);
	world_close(&world);
}

/* A feature whose value changes by time alone: whole days since the newest event. */
static uint32_t idle_init(void *state)
{
	memset(state, 0, sizeof(int64_t));
	return sizeof(int64_t);
}

static int idle_add(void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	int64_t newest;
	(void)len;
	memcpy(&newest, state, sizeof newest);
	if (input->time_us > newest) memcpy(state, &input->time_us, sizeof newest);
	return 0;
}

static int idle_merge(void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	struct cdpd_feature_input input = {.size = sizeof input};
	(void)other_len;
	memcpy(&input.time_us, other, sizeof input.time_us);
	return idle_add(into, len, &input);
}

static int idle_read(const void *state, uint32_t len, int64_t now, char *json, uint32_t size)
{
	int64_t newest;
	(void)len;
	memcpy(&newest, state, sizeof newest);
	return snprintf(json, size, "%lld", (long long)((now - newest) / DAY));
}

static void features_that_age_are_looked_at_daily(void **state)
{
	static const struct cdpd_feature_type idle = {.size = sizeof idle,
						      .state_version = 1,
						      .max_state = sizeof(int64_t),
						      .exact = true,
						      .init = idle_init,
						      .add = idle_add,
						      .merge = idle_merge,
						      .read = idle_read};
	struct world world;
	struct str definition;
	const char *rest = strstr(world_definitions, "\"features\":[") + strlen("\"features\":[");
	(void)state;
	assert_int_equal(feature_type_register(STR("idle_days"), &idle), OK);
	world_open_empty(&world);
	assert_int_equal(
	    arena_printf(&world.arena, &definition,
			 "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":["
			 "{\"event\":\"\",\"field\":\"\",\"name\":\"idle\",\"state_version\":1,\"type\":\"idle_days\"},"
			 "%.*s,\"segments\":[%s]}",
			 (int)strlen(rest) - 1, rest, SEGMENT("quiet", LEAF("feature", "idle", "at_least", "3"))),
	    OK);
	world_define(&world, definition.ptr);
	struct cdpd_event buy = order("u1", "{}"), other = order("u2", "{}");
	one(&world, &buy);
	one(&world, &other);
	assert_int_equal(due_waiting(&world), 2);
	for (int day = 1; day <= 8; day++) {
		world.ahead = day * DAY + 100;
		one(&world, NULL);
		assert_int_equal(due_waiting(&world), 2);
		bool is_quiet = segments_of(&world, "user_id:u1")[0] != '\0';
		if (day <= 2) assert_false(is_quiet);
		if (day >= 4) assert_true(is_quiet); /* within a day of its coming true */
	}
	one(&world, &buy);
	assert_text(segments_of(&world, "user_id:u1"), "");
	assert_text(segments_of(&world, "user_id:u2"), "quiet");
	world_close(&world);
}

/* ── joins ───────────────────────────────────────────────────────────────── */

static void a_join_moves_memberships(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("buyer", LEAF("feature", "orders", "at_least", "2")) "," SEGMENT(
			   "visitor", "{\"not\":" LEAF("identifier", "user_id", "exists", "true") "}") "," LAPSED);
	struct cdpd_event buy = order("", "{}"), buy_user = order("u1", "{}"), login = identify("u1", "a1", "{}");
	buy.anonymous_id = STR("a1");
	one(&world, &buy);
	one(&world, &buy_user);
	assert_text(segments_of(&world, "anonymous_id:a1"), "active visitor");
	assert_text(segments_of(&world, "user_id:u1"), "active");
	check_all(&world);
	uint64_t changes = people_last_change(world.people);
	one(&world, &login);
	assert_text(segments_of(&world, "anonymous_id:a1"), "active buyer");
	const char *told = entries(&world, changes);
	assert_non_null(strstr(told, "anonymous_id:a1 -active identity 4\n"));
	assert_non_null(strstr(told, "anonymous_id:a1 -visitor identity 4\n"));
	assert_non_null(strstr(told, "user_id:u1 +buyer event 4\n"));
	assert_null(strstr(told, "u1 +active")); /* was in it, is in it */
	assert_int_equal(members_of(&world, "active"), 1);
	assert_int_equal(members_of(&world, "visitor"), 0);
	assert_int_equal(due_waiting(&world), 1);
	check_all(&world);
	world.ahead = 40 * DAY;
	one(&world, NULL);
	assert_text(segments_of(&world, "user_id:u1"), "buyer lapsed");
	check_all(&world);
	world_close(&world);
}

/* Everything within one transaction, several joins deep. */
static void joins_of_joins_in_one_transaction(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("many", LEAF("field", "fragments", "at_least", "3")) "," LAPSED);
	static const char *const devices[] = {"a1", "a2", "a3"};
	world_begin(&world);
	for (size_t i = 0; i < COUNT_OF(devices); i++) {
		struct cdpd_event page = world_event(EVENT_PAGE, "", devices[i]);
		record(&world, &page, 1000);
	}
	for (size_t i = 0; i < COUNT_OF(devices); i++) {
		struct cdpd_event login = world_event(EVENT_PAGE, "u1", devices[i]);
		record(&world, &login, 1000);
	}
	world_commit(&world);
	assert_text(segments_of(&world, "user_id:u1"), "active many");
	assert_int_equal(members_of(&world, "active"), 1);
	check_all(&world);
	world_close(&world);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

static void a_changed_definition_is_taken_over_in_slices(void **state)
{
	struct world world;
	struct segment_progress progress;
	char user[16];
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("old", LEAF("feature", "orders", "exists", "true")));
	for (int i = 0; i < 40; i++) {
		snprintf(user, sizeof user, "u%d", i);
		struct cdpd_event buy = order(user, "{}");
		one(&world, &buy);
	}
	assert_int_equal(members_of(&world, "old"), 40);
	/* `old` goes, `new` comes, in the background. */
	world_begin(&world);
	assert_int_equal(
	    people_define(world.people,
			  str_from(define_text(&world, SEGMENT("new", LEAF("feature", "orders", "is", "1")))),
			  ++world.seq),
	    OK);
	uint64_t position = world.seq;
	world_commit(&world);
	people_segment_progress(world.people, &progress);
	assert_int_equal(progress.scan_seq, position);
	assert_int_equal(progress.scan_permille, 0);
	assert_int_equal(people_wake_at(world.people, 77), 78); /* a tick, please */
	assert_text(segments_of(&world, "user_id:u1"), "");     /* `old` is no longer shown, `new` not yet */
	struct cdpd_event buy = order("u0", "{}"), late = order("late", "{}");
	size_t rounds = 0;
	unsigned before = 0;
	do {
		if (rounds % 3 == 1) world_reopen(&world);
		world_begin(&world);
		if (rounds == 2) {
			record(&world, &late, 3);
			record(&world, &buy, 3);
		} else {
			record(&world, NULL, 3);
		}
		world_commit(&world);
		people_segment_progress(world.people, &progress);
		assert_true(progress.scan_permille >= before);
		before = progress.scan_permille;
		assert_true(++rounds < 100);
	} while (progress.scan_seq);
	assert_true(rounds > 10);
	assert_int_equal(progress.scan_count, 40);
	assert_int_equal(members_of(&world, "new"), 40); /* u0 has two orders by now, `late` one */
	check_all(&world);
	const char *told = entries(&world, 0);
	char line[64];
	snprintf(line, sizeof line, "user_id:u7 +new definition %llu\n", (unsigned long long)position);
	assert_non_null(strstr(told, line));
	snprintf(line, sizeof line, "user_id:u7 -old definition %llu\n", (unsigned long long)position);
	assert_non_null(strstr(told, line)); /* under the name it had */
	assert_int_equal(people_wake_at(world.people, 77), INT64_MAX);
	world_close(&world);
}

static void definitions_without_segments_stay_as_they_were(void **state)
{
	struct world world;
	struct segment_progress progress;
	(void)state;
	world_open(&world);
	struct cdpd_event buy = order("u1", "{}");
	one(&world, &buy);
	people_segment_progress(world.people, &progress);
	assert_int_equal(progress.scan_seq, 0);
	assert_int_equal(people_wake_at(world.people, 1), INT64_MAX);
	define(&world, LAPSED);
	assert_text(segments_of(&world, "user_id:u1"), "active");
	define(&world, LAPSED); /* the same again: nothing to do, nothing told */
	world_define(&world, world_definitions);
	people_segment_progress(world.people, &progress);
	assert_int_equal(progress.scan_seq, world.seq);
	one(&world, NULL);
	assert_text(entries(&world, 0), "user_id:u1 +active definition 3\nuser_id:u1 -active definition 5\n");
	assert_int_equal(due_waiting(&world), 0);
	check_all(&world);
	world_close(&world);
}

static void a_definition_amid_a_transaction_waits(void **state)
{
	struct world world;
	struct apply_result result;
	(void)state;
	world_open(&world);
	struct cdpd_event buy = order("u1", "{}");
	world_begin(&world);
	world_apply(&world, &buy, &result); /* not in the store yet */
	assert_int_equal(people_define(world.people, str_from(define_text(&world, LAPSED)), ++world.seq), OK);
	assert_int_equal(people_scan_segments(world.people, now_of(&world, world.seq), 1000), OK);
	world_commit(&world);
	one(&world, NULL);
	assert_text(segments_of(&world, "user_id:u1"), "active");
	check_all(&world);
	world_close(&world);
}

static void bad_definitions_are_refused(void **state)
{
	static const char *const bad[] = {
	    SEGMENT("a", LEAF("segment", "a", "is", "true")),
	    SEGMENT("a", LEAF("segment", "b", "is", "true")) "," SEGMENT("b", LEAF("segment", "a", "is", "true")),
	    SEGMENT("a", LEAF("segment", "nobody", "is", "true")),
	    SEGMENT("a", LEAF("feature", "nobody", "is", "1")),
	    SEGMENT("a", LEAF("feature", "orders", "nearly", "1")),
	    SEGMENT("a", LEAF("colour", "orders", "is", "1")),
	    SEGMENT("a", LEAF("field", "hair", "is", "1")),
	    SEGMENT("a", LEAF("feature", "orders", "greater", "\"many\"")),
	    SEGMENT("a", LEAF("trait", "x", "within", "-5")),
	    SEGMENT("a", LEAF("trait", "x", "within", "\"30d\"")),
	    SEGMENT("a", LEAF("trait", "x", "is", "[1]")),
	    SEGMENT("a", LEAF("trait", "x", "in", "1")),
	    SEGMENT("a", "{\"all\":[]}"),
	    SEGMENT("a", "{\"not\":7}"),
	    SEGMENT("a", "7"),
	    SEGMENT("a", LEAF("trait", "x", "is", "1")) "," SEGMENT("a", LEAF("trait", "x", "is", "2")),
	    "{\"name\":\"a\"}",
	    SEGMENT("", LEAF("trait", "x", "is", "1")),
	};
	struct world world;
	(void)state;
	world_open(&world);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		world_begin(&world);
		int rc = people_define(world.people, str_from(define_text(&world, bad[i])), world.seq + 1);
		if (rc != ERR_INVALID) print_error("%s\n", bad[i]);
		assert_int_equal(rc, ERR_INVALID);
		people_abort(world.people);
	}
	world_close(&world);
}

/* ── operators ───────────────────────────────────────────────────────────── */

struct expectation {
	const char *when;
	bool is_member;
};

#define T(name, op, value) LEAF("trait", name, op, value)

static const struct expectation expectations[] = {
    {T("plan", "is", "\"gold\""), true},
    {T("plan", "is", "\"Gold\""), false},
    {T("plan", "is_not", "\"gold\""), false},
    {T("nothing", "is_not", "\"gold\""), true},
    {T("nothing", "is", "\"\""), false},
    {T("plan", "in", "[\"silver\",\"gold\"]"), true},
    {T("plan", "in", "[\"silver\"]"), false},
    {T("age", "is", "42"), true},
    {T("age", "is", "42.0"), true},
    {T("age", "is", "\"42\""), true},
    {T("age_text", "is", "42"), true},
    {T("age_text", "at_least", "42"), true},
    {T("age", "greater", "42"), false},
    {T("age", "greater", "41.5"), true},
    {T("age", "less", "42"), false},
    {T("age", "less", "43"), true},
    {T("age", "at_most", "42"), true},
    {T("plan", "greater", "1"), false},
    {T("nothing", "less", "1"), false},
    {T("big", "is", "9007199254740993"), true},
    {T("big", "is", "9007199254740992"), false},
    {T("yes", "is", "true"), true},
    {T("yes", "is", "false"), false},
    {T("nil", "exists", "true"), false},
    {T("nil", "exists", "false"), true},
    {T("plan", "exists", "true"), true},
    {T("quoted", "is", "\"a\\\"b\""), true},
    {T("plan", "contains", "\"ol\""), true},
    {T("plan", "contains", "\"x\""), false},
    {T("list", "contains", "\"b\""), true},
    {T("list", "contains", "7"), true},
    {T("list", "contains", "8"), false},
    {T("list", "contains", "true"), true},
    {T("list", "is", "\"b\""), false},
    {T("mail", "matches", "\"*@example.com\""), true},
    {T("mail", "matches", "\"*@example.org\""), false},
    {T("mail", "matches", "\"?nn@*\""), true},
    {T("mail", "matches", "\"ann\""), false},
    {T("mail", "matches", "\"*n*e*.c?m\""), true},
    {T("umlaut", "matches", "\"b?r\""), true},
    {T("born", "before", "1000000000000000"), true},
    {T("born", "after", "1000000000000000"), false},
    {T("joined", "within", IN_30_DAYS), true},
    {T("joined", "not_within", IN_30_DAYS), false},
    {T("joined_s", "within", IN_30_DAYS), true},
    {T("joined_ms", "within", IN_30_DAYS), true},
    {T("born", "within", IN_30_DAYS), false},
    {T("born", "not_within", IN_30_DAYS), true},
    {T("nothing", "within", IN_30_DAYS), false},
    {T("nothing", "not_within", IN_30_DAYS), false},
    {"{\"not\":" T("nothing", "within", IN_30_DAYS) "}", true},
    {T("plan", "before", "1000000000000000"), false},
    {LEAF("identifier", "email", "is", "\"ann@example.com\""), true},
    {LEAF("identifier", "email", "matches", "\"*@example.com\""), true},
    {LEAF("identifier", "email", "is_not", "\"ann@example.com\""), false},
    {LEAF("identifier", "email", "is_not", "\"bob@example.com\""), true},
    {LEAF("identifier", "device", "exists", "false"), true},
    {LEAF("identifier", "user_id", "in", "[\"u7\",\"u1\"]"), true},
    {LEAF("field", "event_count", "is", "1"), true},
    {LEAF("field", "fragments", "is", "2"), true},
    {LEAF("field", "first_seen", "after", "1"), true},
    {LEAF("feature", "events", "at_least", "1"), true},
    {LEAF("feature", "revenue", "is", "0"), true},
    {LEAF("feature", "last_page", "exists", "true"), false},
    {"{\"any\":[" T("plan", "is", "\"x\"") "," T("age", "is", "42") "]}", true},
    {"{\"all\":[" T("plan", "is", "\"gold\"") ",{\"not\":" T("age", "is", "42") "}]}", false},
};

static void each_operator(void **state)
{
	struct world world;
	(void)state;
	world_open_empty(&world);
	struct str segments = STR_NONE;
	for (size_t i = 0; i < COUNT_OF(expectations); i++)
		assert_int_equal(arena_printf(&world.arena, &segments, "%.*s%s{\"name\":\"s%02zu\",\"when\":%s}",
					      STR_ARG(segments), i ? "," : "", i, expectations[i].when),
				 OK);
	define(&world, segments.ptr);
	struct cdpd_event ann = identify(
	    "u1", "",
	    "{\"plan\":\"gold\",\"age\":42,\"age_text\":\"42\",\"big\":9007199254740993,\"yes\":true,\"nil\":null,"
	    "\"quoted\":\"a\\\"b\",\"list\":[\"a\",\"b\",7,true],\"mail\":\"ann@example.com\",\"umlaut\":\"b\u00e4r\","
	    "\"born\":\"1990-05-01\",\"joined\":\"2023-11-10T00:00:00Z\",\"joined_s\":1699999000,"
	    "\"joined_ms\":1699999000000,\"email\":\"ann@example.com\"}");
	one(&world, &ann);
	struct profile profile;
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	for (size_t i = 0; i < COUNT_OF(expectations); i++) {
		char name[8];
		bool is_member = false;
		snprintf(name, sizeof name, "s%02zu", i);
		for (size_t k = 0; k < profile.segment_count; k++)
			is_member |= str_eq(profile.segments[k], str_from(name));
		if (is_member != expectations[i].is_member) print_error("%s\n", expectations[i].when);
		assert_int_equal(is_member, expectations[i].is_member);
	}
	view_end(&world);
	world_close(&world);
}

/* ── members ─────────────────────────────────────────────────────────────── */

static void members_are_listed_in_pages(void **state)
{
	struct world world;
	char user[16];
	(void)state;
	world_open_empty(&world);
	define(&world, SEGMENT("all", LEAF("field", "event_count", "greater", "0")) "," SEGMENT(
			   "one", LEAF("identifier", "user_id", "is", "\"u13\"")));
	for (int i = 0; i < 25; i++) {
		snprintf(user, sizeof user, "u%d", i);
		struct cdpd_event page = world_event(EVENT_PAGE, user, "");
		one(&world, &page);
	}
	struct segment_member *members;
	struct fragment_id after, *from = NULL;
	size_t count, total = 0;
	view_begin(&world);
	do {
		assert_int_equal(
		    people_segment_members(world.reader, STR("all"), from, 7, &world.arena, &members, &count), OK);
		for (size_t i = 0; i < count; i++) {
			if (from || i) assert_true(memcmp(after.bytes, members[i].id.bytes, 16) < 0);
			after = members[i].id;
			from = &after;
			assert_true(str_starts(members[i].identifier, STR("user_id:u")));
			assert_true(members[i].since > WORLD_T0);
		}
		total += count;
	} while (count == 7);
	assert_int_equal(total, 25);
	assert_int_equal(people_segment_members(world.reader, STR("one"), NULL, 10, &world.arena, &members, &count),
			 OK);
	assert_int_equal(count, 1);
	assert_true(str_eq(members[0].identifier, STR("user_id:u13")));
	assert_int_equal(people_segment_members(world.reader, STR("none"), NULL, 10, &world.arena, &members, &count),
			 ERR_NOT_FOUND);
	view_end(&world);
	check_all(&world);
	world_close(&world);
}

/* ── random histories ────────────────────────────────────────────────────── */

struct random {
	uint64_t state;
};

static uint32_t next(struct random *random, uint32_t below)
{
	random->state = random->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random->state >> 33) % below);
}

static const char *const plans[] = {
    LAPSED "," SEGMENT("gold", LEAF("trait", "plan", "is", "\"p1\"")),
    LAPSED "," SEGMENT("gold", LEAF("trait", "plan", "in", "[\"p1\",\"p2\"]")) "," SEGMENT(
	"best",
	"{\"all\":[" LEAF("segment", "gold", "is", "true") "," LEAF("segment", "lapsed", "is", "false") "," LEAF(
	    "feature", "revenue", "greater",
	    "500") "]}") "," SEGMENT("new", LEAF("field", "first_seen", "within",
						 "604800000000")) "," SEGMENT("visitor",
									      "{\"not\":" LEAF("identifier", "user_id",
											       "exists", "true") "}"),
    SEGMENT("visited", LEAF("trait", "at", "within", "864000000000")) "," SEGMENT(
	"wide", LEAF("field", "fragments", "at_least",
		     "2")) "," SEGMENT("gone",
				       "{\"any\":[" LEAF("trait", "at", "not_within", "1728000000000") "," LEAF(
					   "field", "last_seen", "not_within", IN_30_DAYS) "]}"),
    NULL,
};

enum act { ACT_EVENT, ACT_TICK, ACT_DEFINE };
struct item {
	enum act act;
	struct cdpd_event event;
	const char *definition;
	int64_t ahead;
};
struct script {
	struct arena arena;
	struct item *items;
	size_t count;
};

static struct str text(struct arena *arena, const char *fmt, uint32_t a)
{
	struct str out;
	char buffer[64];
	snprintf(buffer, sizeof buffer, fmt, a);
	assert_int_equal(arena_str(arena, str_from(buffer), &out), OK);
	return out;
}

static struct cdpd_event random_event(struct arena *arena, struct random *random, int64_t now, size_t number)
{
	struct cdpd_event event = world_event(EVENT_PAGE, "", "");
	struct str traits;
	if (next(random, 2)) event.user_id = text(arena, "u%u", next(random, 8));
	if (event.user_id.len == 0 || next(random, 4) == 0) event.anonymous_id = text(arena, "a%u", next(random, 12));
	event.message_id = text(arena, "m%u", (uint32_t)number);
	event.event_time_us = now - (int64_t)next(random, 3) * DAY;
	if (next(random, 5) == 0) event.flags |= EVENT_INACTIVE;
	if (next(random, 3) == 0) {
		event.type = EVENT_TRACK;
		event.event = STR("Order Completed");
		event.properties = text(arena, "{\"total\":%u}", next(random, 400));
	} else if (next(random, 2)) {
		char at[CLOCK_TEXT_SIZE], buffer[128];
		event.type = EVENT_IDENTIFY;
		clock_format(now - (int64_t)next(random, 25) * DAY, at);
		snprintf(buffer, sizeof buffer, "{\"plan\":\"p%u\",\"at\":\"%s\"}", next(random, 4), at);
		assert_int_equal(arena_str(arena, str_from(buffer), &traits), OK);
		event.traits = traits;
	}
	return event;
}

static struct script make_script(uint64_t seed, size_t count)
{
	struct script script = {.count = count};
	struct random random = {seed * 977 + 5};
	int64_t ahead = 0;
	arena_init(&script.arena, 1 << 16, 0);
	script.items = arena_array(&script.arena, struct item, count);
	for (size_t i = 0; i < count; i++) {
		struct item *item = &script.items[i];
		ahead += (int64_t)next(&random, 1000) * 1000003 +
			 (next(&random, 12) == 0 ? (int64_t)next(&random, 20) * DAY : 0);
		item->ahead = ahead;
		uint32_t die = next(&random, 40);
		if (i == 3 || die == 0) {
			item->act = ACT_DEFINE;
			item->definition = plans[next(&random, COUNT_OF(plans))];
		} else if (die < 6) {
			item->act = ACT_TICK;
		} else {
			item->act = ACT_EVENT;
			item->event = random_event(&script.arena, &random, WORLD_T0 + ahead, i);
		}
	}
	return script;
}

static void play(struct world *world, const struct item *item)
{
	world->ahead = item->ahead;
	if (item->act == ACT_DEFINE) {
		around(world, 1);
		const char *definition = item->definition ? define_text(world, item->definition) : world_definitions;
		assert_int_equal(people_define(world->people, str_from(definition), ++world->seq), OK);
		assert_int_equal(people_scan_segments(world->people, now_of(world, world->seq), 3), OK);
		return;
	}
	record(world, item->act == ACT_EVENT ? &item->event : NULL, item->act == ACT_EVENT ? 1 : 3);
}

/* As the fold does: a definition begins a transaction. Otherwise the cuts, aborts and restarts are random. */
static void play_all(struct world *world, const struct script *script, uint64_t seed)
{
	struct random random = {seed};
	for (size_t i = 0; i < script->count;) {
		size_t end = i + 1 + next(&random, 12);
		bool is_aborted = next(&random, 6) == 0;
		uint64_t seq = world->seq;
		size_t at = i;
		world_begin(world);
		do play(world, &script->items[at++]);
		while (at < end && at < script->count && script->items[at].act != ACT_DEFINE);
		if (is_aborted) {
			people_abort(world->people);
			world->seq = seq;
			continue;
		}
		world_commit(world);
		if (next(&random, 10) == 0) world_reopen(world);
		i = at;
	}
}

static void finish(struct world *world)
{
	struct segment_progress progress;
	do {
		one(world, NULL);
		people_segment_progress(world->people, &progress);
	} while (progress.scan_seq);
}

/* Fragments get the same ids in every run of one script, and so the same order among equals. */
static void open_with_key(struct world *world)
{
	static const struct hash_key key = {"0123456789abcde"};
	world_open_empty(world);
	world_begin(world);
	world->people->key = key;
	assert_int_equal(hash_key_write(world->people->txn, world->people->tables.meta, &key), OK);
	world_commit(world);
	world_define(world, world_definitions);
}

static void random_histories_end_as_evaluated(void **state)
{
	const char *rounds_text = getenv("CDPD_SEGMENT_ROUNDS");
	uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : 25;
	size_t told_bytes = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= rounds; seed++) {
		struct script script = make_script(seed, 150);
		struct world worlds[2];
		const char *told[2];
		for (size_t i = 0; i < 2; i++) {
			open_with_key(&worlds[i]);
			play_all(&worlds[i], &script, seed * 31 + i);
			finish(&worlds[i]);
			check_all(&worlds[i]);
			told[i] = entries(&worlds[i], 0);
		}
		/* However it was cut into transactions: the same changes in the same order. */
		assert_text(told[0], told[1]);
		told_bytes += strlen(told[0]);
		for (size_t i = 0; i < 2; i++) world_close(&worlds[i]);
		arena_fini(&script.arena);
	}
	assert_true(told_bytes > rounds * 1000); /* they did tell of something */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(enters_and_leaves_by_events),
	    cmocka_unit_test(in_and_out_within_one_transaction_is_two_changes),
	    cmocka_unit_test(an_aborted_transaction_leaves_nothing),
	    cmocka_unit_test(segments_of_segments_follow_in_order),
	    cmocka_unit_test(time_alone_moves_people),
	    cmocka_unit_test(activity_moves_the_due_time),
	    cmocka_unit_test(a_held_clock_fires_nothing),
	    cmocka_unit_test(features_that_age_are_looked_at_daily),
	    cmocka_unit_test(a_join_moves_memberships),
	    cmocka_unit_test(joins_of_joins_in_one_transaction),
	    cmocka_unit_test(a_changed_definition_is_taken_over_in_slices),
	    cmocka_unit_test(definitions_without_segments_stay_as_they_were),
	    cmocka_unit_test(a_definition_amid_a_transaction_waits),
	    cmocka_unit_test(bad_definitions_are_refused),
	    cmocka_unit_test(each_operator),
	    cmocka_unit_test(members_are_listed_in_pages),
	    cmocka_unit_test(random_histories_end_as_evaluated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
