#include "world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static void track(struct world *world, const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Clicked");
	(void)world_one(world, &event);
}

static void test_refs(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	static const char *const bad[] = {
	    "", "user_id", "user_id:", ":x", "id:", "id:12", "id:zz112233445566778899aabbccddeeff"};
	world_open(&world);
	track(&world, "u1", "");
	view_begin(&world);
	assert_int_equal(world.applied, world.seq + 1);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_int_equal(people_get(world.reader, str_from(bad[i]), PROFILE_ALL, 0, &world.arena, &profile),
				 ERR_INVALID);
	assert_int_equal(view_get(&world, "user_id:u2", &profile), ERR_NOT_FOUND);
	assert_int_equal(view_get(&world, "id:00112233445566778899aabbccddeeff", &profile), ERR_NOT_FOUND);
	assert_int_equal(people_get(world.reader, STR("user_id:u1"), 0, 0, &world.arena, &profile), OK);
	assert_int_equal(profile.event_count, 1);
	assert_int_equal(profile.identifier_count + profile.trait_count + profile.feature_count, 0);
	view_end(&world);
	world_close(&world);
}

static void test_seen(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "");
	world_open(&world);
	event.event_time_us = WORLD_T0 + 100;
	event.flags = EVENT_INACTIVE;
	(void)world_one(&world, &event);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.first_seen, WORLD_T0 + 100);
	assert_int_equal(profile.last_seen, 0); /* never active */
	view_end(&world);
	event.flags = 0;
	event.event_time_us = WORLD_T0 + 50;
	(void)world_one(&world, &event);
	event.flags = EVENT_INACTIVE;
	event.event_time_us = WORLD_T0 + 200;
	(void)world_one(&world, &event);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.first_seen, WORLD_T0 + 50);
	assert_int_equal(profile.last_seen, WORLD_T0 + 50);
	assert_int_equal(profile.event_count, 3);
	view_end(&world);
	world_close(&world);
}

static void test_chains(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);        /* 1: definitions */
	track(&world, "", "a1");   /* 2 */
	track(&world, "", "a1");   /* 3 */
	track(&world, "u9", "");   /* 4 */
	track(&world, "u1", "a1"); /* 5: joins */
	track(&world, "", "a1");   /* 6 */
	track(&world, "u1", "");   /* 7 */
	assert_text(view_chain(&world, "user_id:u1", 0, 100), "7 6 5 3 2");
	assert_text(view_chain(&world, "anonymous_id:a1", 0, 2), "7 6");
	assert_text(view_chain(&world, "user_id:u1", 6, 100), "5 3 2");
	assert_text(view_chain(&world, "user_id:u1", 5, 1), "3");
	assert_text(view_chain(&world, "user_id:u1", 2, 5), "");
	assert_text(view_chain(&world, "user_id:u1", 100, 1), "7");
	/* Without its identifiers, too. */
	struct profile profile;
	struct chain_item *items;
	size_t count;
	view_begin(&world);
	assert_int_equal(people_get(world.reader, STR("user_id:u1"), 0, 0, &world.arena, &profile), OK);
	assert_int_equal(people_chain(world.reader, &profile, 0, 10, &world.arena, &items, &count), OK);
	assert_int_equal(count, 5);
	assert_int_equal(items[0].outcome.verdict, OUTCOME_APPLIED);
	view_end(&world);

	/* Trimmed behind the journal: a chain ends there. */
	world_begin(&world);
	assert_int_equal(people_trim(world.people, 6, INT64_MIN, 2), OK);
	world_commit(&world);
	assert_text(view_chain(&world, "user_id:u1", 0, 100), "7 6 5"); /* only two rows went */
	world_begin(&world);
	assert_int_equal(people_trim(world.people, 6, INT64_MIN, 100), OK);
	world_commit(&world);
	assert_text(view_chain(&world, "user_id:u1", 0, 100), "7 6");
	struct outcome outcome;
	view_begin(&world);
	assert_int_equal(people_get_outcome(world.reader, 5, &outcome), ERR_NOT_FOUND);
	assert_int_equal(people_get_outcome(world.reader, 7, &outcome), OK);
	assert_int_equal(outcome.previous_seq, 5);
	view_end(&world);
	world_close(&world);
}

struct seen {
	uint64_t seqs[16];
	size_t count, stop_at;
};

static int see(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	struct seen *seen = ctx;
	assert_int_equal(outcome->verdict, OUTCOME_APPLIED);
	seen->seqs[seen->count++] = seq;
	return seen->count == seen->stop_at;
}

static void test_outcomes(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	for (int i = 0; i < 5; i++) track(&world, "u1", "");
	view_begin(&world);
	struct seen all = {0}, some = {0}, stopped = {.stop_at = 2};
	assert_int_equal(people_outcomes(world.reader, 0, 100, see, &all), OK);
	assert_int_equal(all.count, 5);
	assert_int_equal(all.seqs[0], 2);
	assert_int_equal(people_outcomes(world.reader, 4, 2, see, &some), OK);
	assert_int_equal(some.count, 2);
	assert_int_equal(some.seqs[1], 5);
	assert_int_equal(people_outcomes(world.reader, 1, 100, see, &stopped), OK);
	assert_int_equal(stopped.count, 2);
	assert_int_equal(people_outcomes(world.reader, 100, 100, see, &all), OK);
	view_end(&world);
	world_close(&world);
}

static void test_changes(void **state)
{
	(void)state;
	struct world world;
	struct change *changes;
	size_t count;
	world_open(&world);
	assert_int_equal(people_last_change(world.people), 0);
	struct cdpd_event identify = world_event(EVENT_IDENTIFY, "u1", "");
	identify.traits = STR("{\"a\":1,\"b\":\"x\"}");
	(void)world_one(&world, &identify);
	uint64_t after = people_last_change(world.people);
	assert_int_equal(after, 3); /* profile, traits, features */
	identify.traits = STR("{\"a\":1,\"b\":\"y\"}");
	(void)world_one(&world, &identify);
	assert_text(view_changes(&world, after),
		    "trait {\"traits\":{\"b\":{\"value\":\"y\",\"provenance\":\"observed\"}}}\n"
		    "feature {\"features\":{\"events\":2}}\n");
	/* Within one transaction values coalesce, identity transitions do not. */
	after = people_last_change(world.people);
	struct apply_result result;
	world_begin(&world);
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "a1");
	for (int i = 0; i < 10; i++) world_apply(&world, &event, &result);
	event.anonymous_id = STR("a2");
	world_apply(&world, &event, &result);
	world_commit(&world);
	assert_text(view_changes(&world, after), "identifier {\"identifiers\":[\"anonymous_id:a1\"]}\n"
						 "identifier {\"identifiers\":[\"anonymous_id:a2\"]}\n"
						 "feature {\"features\":{\"events\":13}}\n");
	view_begin(&world);
	assert_int_equal(people_changes(world.reader, after, 1, &world.arena, &changes, &count), OK);
	assert_int_equal(count, 1);
	assert_int_equal(changes[0].cause_seq, 4);
	assert_int_equal(people_changes(world.reader, after + 2, 9, &world.arena, &changes, &count), OK);
	assert_int_equal(changes[0].cause_seq, world.seq);
	assert_int_equal(changes[0].t, WORLD_T0 + (int64_t)world.seq);
	assert_int_equal(
	    people_changes(world.reader, people_last_change(world.people), 9, &world.arena, &changes, &count), OK);
	assert_int_equal(count, 0);
	view_end(&world);

	/* Retention. */
	world_begin(&world);
	assert_int_equal(people_trim(world.people, 0, WORLD_T0 + 4, 100), OK);
	world_commit(&world);
	view_begin(&world);
	assert_int_equal(people_changes(world.reader, 0, 9, &world.arena, &changes, &count), ERR_GONE);
	assert_int_equal(people_changes(world.reader, 4, 9, &world.arena, &changes, &count), ERR_GONE);
	assert_int_equal(people_changes(world.reader, 5, 9, &world.arena, &changes, &count), OK);
	assert_int_equal(count, 3);
	assert_int_equal(changes[0].seq, 6);
	view_end(&world);
	world_reopen(&world);
	track(&world, "u1", "");
	assert_int_equal(people_last_change(world.people), 9); /* numbers are never used again */
	world_close(&world);
}

/* Two who were known become one: the other id goes on resolving. */
static void test_merged_change(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	struct cdpd_event identify = world_event(EVENT_IDENTIFY, "", "a1");
	identify.traits = STR("{\"colour\":\"red\"}");
	(void)world_one(&world, &identify);
	track(&world, "u1", "");
	uint64_t after = people_last_change(world.people);
	track(&world, "u1", "a1");
	assert_text(view_changes(&world, after),
		    "merged {\"from\":\"<anonymous_id:a1>\",\"into\":\"<user_id:u1>\"}\n"
		    "trait {\"traits\":{\"colour\":{\"value\":\"red\",\"provenance\":\"observed\"}}}\n"
		    "feature {\"features\":{\"events\":3}}\n");
	world_close(&world);
}

/* Many traits in one transaction: bodies stay small, nothing is lost. */
static void test_large_changes(void **state)
{
	(void)state;
	struct world world;
	struct change *changes;
	size_t count, traits = 0;
	char text[8192];
	size_t at = 0;
	world_open(&world);
	for (int i = 0; i < 200; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%c\"trait%03d\":\"value\"", i ? ',' : '{', i);
	snprintf(text + at, sizeof text - at, "}");
	struct cdpd_event identify = world_event(EVENT_IDENTIFY, "u1", "");
	identify.traits = str_from(text);
	(void)world_one(&world, &identify);
	view_begin(&world);
	assert_int_equal(people_changes(world.reader, 0, 100, &world.arena, &changes, &count), OK);
	for (size_t i = 0; i < count; i++) {
		assert_true(changes[i].body.len < 2000);
		for (const char *p = changes[i].body.ptr; (p = strstr(p, "\"trait0")) || false; p++) traits++;
	}
	assert_int_equal(traits, 100);
	assert_true(count > 4);
	view_end(&world);
	world_close(&world);
}

struct watcher {
	struct world *world;
	atomic_bool stop;
	_Atomic uint64_t reads;
	_Atomic int failures;
};

/* Every snapshot is one commit: the joined row and its fragments always agree. */
static void *watch(void *ctx)
{
	struct watcher *watcher = ctx;
	struct people_reader *reader;
	struct arena arena;
	uint64_t applied, last = 0;
	arena_init(&arena, 65536, 0);
	if (people_reader_new(watcher->world->people, &reader)) return NULL;
	while (!atomic_load(&watcher->stop)) {
		struct profile profile;
		uint64_t sum = 0;
		int rc = people_read_begin(reader, &applied);
		if (!rc) rc = people_get(reader, STR("anonymous_id:a1"), PROFILE_ALL, 0, &arena, &profile);
		for (size_t i = 0; !rc && i < profile.identifier_count; i++) sum += profile.identifiers[i].event_count;
		if (rc || sum != profile.event_count || applied < last) atomic_fetch_add(&watcher->failures, 1);
		people_read_end(reader);
		last = applied;
		arena_reset(&arena);
		atomic_fetch_add(&watcher->reads, 1);
	}
	people_reader_free(reader);
	arena_fini(&arena);
	return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
	(void)state;
	struct world world;
	struct watcher watcher = {.world = &world};
	pthread_t thread;
	world_open(&world);
	track(&world, "", "a1");
	assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
	for (int i = 0; i < 60 || (atomic_load(&watcher.reads) < 50 && i < 5000); i++) {
		char user[8];
		snprintf(user, sizeof user, "u%d", i % 3);
		track(&world, i % 4 ? user : "", "a1");
	}
	atomic_store(&watcher.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&watcher.failures), 0);
	assert_true(atomic_load(&watcher.reads) > 0);
	world_check(&world);
	world_close(&world);
}

/* A row that no longer is what was written is an error, never a guess. */
static void test_damaged_row(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	struct apply_result result;
	world_open(&world);
	track(&world, "u1", "");
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	view_end(&world);
	char key[17] = {0}, value[480] = {0};
	memcpy(key, profile.id.bytes, 16);
	world_begin(&world);
	assert_int_equal(store_put(people_txn(world.people), world.people->tables.rows, (struct str){key, 17},
				   (struct str){value, 480}),
			 OK);
	world_commit(&world);
	view_begin(&world);
	assert_int_equal(people_get(world.reader, STR("user_id:u1"), PROFILE_ALL, 0, &world.arena, &profile),
			 ERR_CORRUPT);
	view_end(&world);
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "");
	world_begin(&world);
	event.message_id = STR("m");
	assert_int_equal(people_apply(world.people, &event, world.seq + 1, 0, &result), ERR_CORRUPT);
	people_abort(world.people);
	world_close(&world);
}

/* An id that belongs to another identifier is refused: two people are never taken for one. */
static void test_foreign_identifier(void **state)
{
	(void)state;
	struct world world;
	struct apply_result result;
	struct fragment_id id;
	struct profile profile;
	world_open(&world);
	fragment_id_make(&world.people->key, STR("user_id:u1"), &id);
	struct row row;
	row_init(&row, &id, false);
	row.identifier = STR("user_id:somebody else");
	row.first_seen = row.last_seen = 1;
	uint8_t bytes[512];
	size_t cold, hot = row_encode_hot(&row, bytes);
	assert_int_equal(row_encode_cold(&row, &world.arena, bytes + hot, &cold), OK);
	struct stored_row none = {.head = STR_NONE};
	struct str cold_str = {(char *)bytes + hot, cold};
	world_begin(&world);
	assert_int_equal(stored_row_write(people_txn(world.people), world.people->tables.rows, &id, false, &none,
					  (struct str){(char *)bytes, hot}, &cold_str),
			 OK);
	world_commit(&world);
	view_begin(&world);
	assert_int_equal(people_get(world.reader, STR("user_id:u1"), PROFILE_ALL, 0, &world.arena, &profile),
			 ERR_CORRUPT);
	view_end(&world);
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "");
	event.message_id = STR("m");
	world_begin(&world);
	assert_int_equal(people_apply(world.people, &event, world.seq + 1, 0, &result), ERR_CORRUPT);
	people_abort(world.people);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refs),          cmocka_unit_test(test_seen),
	    cmocka_unit_test(test_chains),        cmocka_unit_test(test_outcomes),
	    cmocka_unit_test(test_changes),       cmocka_unit_test(test_merged_change),
	    cmocka_unit_test(test_large_changes), cmocka_unit_test(test_readers_beside_the_writer),
	    cmocka_unit_test(test_damaged_row),   cmocka_unit_test(test_foreign_identifier),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
