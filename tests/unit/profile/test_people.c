/* Random events: whatever they are, the env stays whole, the same events give the same people however they are cut
 * into transactions, and an aborted transaction leaves nothing. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

struct random {
	uint64_t state;
};

static uint32_t next(struct random *random, uint32_t below)
{
	random->state = random->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random->state >> 33) % below);
}

struct script { /* events kept for another run */
	struct arena arena;
	struct cdpd_event *events;
	size_t count;
};

static struct str text(struct arena *arena, const char *fmt, uint32_t a, uint32_t b)
{
	struct str out;
	char buffer[256];
	snprintf(buffer, sizeof buffer, fmt, a, b);
	assert_int_equal(arena_str(arena, str_from(buffer), &out), OK);
	return out;
}

static struct str long_traits(struct arena *arena, struct random *random)
{
	struct str out;
	char buffer[9000];
	size_t at = (size_t)snprintf(buffer, sizeof buffer, "{\"big%u\":\"", next(random, 20));
	size_t len = 200 + next(random, 4000);
	memset(buffer + at, 'x', len);
	snprintf(buffer + at + len, sizeof buffer - at - len, "%u\"}", next(random, 100));
	assert_int_equal(arena_str(arena, str_from(buffer), &out), OK);
	return out;
}

/* A form's answers, some of which expire, and traits of the same name that others observe. */
static void answer(struct cdpd_event *event, struct arena *arena, struct random *random)
{
	event->event = STR("Form Answered");
	event->properties = text(
	    arena, "{\"form\":\"f%u\",\"version\":1,\"provenance\":{\"plan\":{\"question\":\"q\",\"expiresIn\":%u}}}",
	    next(random, 3), next(random, 3));
	event->traits = text(arena, "{\"plan\":\"d%u\",\"t%u\":true}", next(random, 5), next(random, 4));
}

static struct cdpd_event random_event(struct arena *arena, struct random *random, uint32_t people)
{
	static const enum event_type types[] = {EVENT_TRACK, EVENT_TRACK, EVENT_IDENTIFY,
						EVENT_PAGE,  EVENT_ALIAS, EVENT_GROUP};
	struct cdpd_event event = world_event(types[next(random, COUNT_OF(types))], "", "");
	if (next(random, 3)) event.anonymous_id = text(arena, "a%u", next(random, people * 2), 0);
	if (next(random, 2) || event.anonymous_id.len == 0) event.user_id = text(arena, "u%u", next(random, people), 0);
	if (next(random, 40) == 0) event.user_id = STR("guest");
	if (next(random, 3) == 0) event.rights = RIGHT_LINK_KNOWN | RIGHT_ALIAS;
	if (next(random, 6) == 0) event.flags |= EVENT_INACTIVE;
	if (next(random, 4) == 0) event.flags |= EVENT_DECLARED;
	if (next(random, 5) == 0)
		event.context = text(arena, "{\"device\":{\"id\":\"d%u\"},\"page\":{\"path\":\"/%u\"}}",
				     next(random, people), next(random, 9));
	if (next(random, 4) == 0) event.source_id = STR("server");
	event.event_time_us = WORLD_T0 + next(random, 50);
	event.message_id = text(arena, "m%u-%u", next(random, 1000000), next(random, 1000000));
	switch (event.type) {
	case EVENT_TRACK:
		event.event = next(random, 2) ? STR("Order Completed") : STR("Clicked");
		event.properties = text(arena, "{\"total\":%u.%02u}", next(random, 1000), next(random, 100));
		if (event.flags & EVENT_DECLARED) answer(&event, arena, random);
		break;
	case EVENT_IDENTIFY:
		event.traits = next(random, 3) ? text(arena, "{\"plan\":\"p%u\",\"email\":\"e%u@x.y\"}",
						      next(random, 5), next(random, people))
					       : long_traits(arena, random);
		break;
	case EVENT_PAGE: event.name = text(arena, "Page %u", next(random, 10), 0); break;
	case EVENT_ALIAS:
		event.previous_id = text(arena, next(random, 2) ? "a%u" : "u%u", next(random, people), 0);
		break;
	default: event.traits = STR("{\"email\":\"group@x.y\"}");
	}
	return event;
}

static void script_make(struct script *script, uint64_t seed, size_t count, uint32_t people)
{
	struct random random = {seed};
	arena_init(&script->arena, 65536, 0);
	script->events = arena_array(&script->arena, struct cdpd_event, count);
	script->count = count;
	for (size_t i = 0; i < count; i++) script->events[i] = random_event(&script->arena, &random, people);
}

/* Plays events [from, to) in transactions of 1 to `most`. */
static void play(struct world *world, const struct script *script, size_t from, size_t to, uint64_t seed, uint32_t most)
{
	struct random random = {seed};
	struct apply_result result;
	while (from < to) {
		size_t end = from + 1 + next(&random, most);
		world_begin(world);
		for (; from < end && from < to; from++) world_apply(world, &script->events[from], &result);
		world_commit(world);
	}
}

static void test_invariants(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct world world;
		struct script script;
		world_open(&world);
		script_make(&script, seed, 600, seed % 2 ? 12 : 40);
		for (size_t at = 0; at < script.count; at += 100) {
			play(&world, &script, at, at + 100, seed, 30);
			world_check(&world);
			arena_reset(&world.arena);
		}
		world_reopen(&world);
		world_check(&world);
		arena_fini(&script.arena);
		world_close(&world);
	}
}

static void test_same_events_same_people(void **state)
{
	(void)state;
	for (uint64_t seed = 21; seed <= 24; seed++) {
		struct world one, many;
		struct script script;
		script_make(&script, seed, 500, 15);
		world_open(&one);
		world_open(&many);
		play(&one, &script, 0, script.count, seed, 1000000); /* all at once */
		play(&many, &script, 0, script.count, seed, 3);
		char *a = (char *)(uintptr_t)world_dump(&one), *b = (char *)(uintptr_t)world_dump(&many);
		assert_string_equal(a, b);
		free(a);
		free(b);
		arena_fini(&script.arena);
		world_close(&one);
		world_close(&many);
	}
}

static void test_abort_leaves_nothing(void **state)
{
	(void)state;
	struct world world, straight;
	struct script script;
	struct apply_result result;
	uint64_t seq;
	script_make(&script, 77, 400, 12);
	world_open(&world);
	world_open(&straight);
	for (size_t at = 0; at < script.count; at += 40) {
		char *before = (char *)(uintptr_t)world_dump(&world);
		seq = world.seq;
		uint64_t change = people_last_change(world.people);
		world_begin(&world);
		for (size_t i = at; i < at + 25; i++) world_apply(&world, &script.events[i], &result);
		if (at % 80 == 0) assert_int_equal(people_define(world.people, STR("{}"), ++world.seq), ERR_INVALID);
		people_abort(world.people);
		people_abort(world.people); /* harmless */
		world.seq = seq;
		char *after = (char *)(uintptr_t)world_dump(&world);
		assert_string_equal(before, after);
		assert_int_equal(people_last_change(world.people), change);
		free(before);
		free(after);
		play(&world, &script, at, at + 40, at, 17);
		play(&straight, &script, at, at + 40, at, 17);
	}
	world_check(&world);
	char *a = (char *)(uintptr_t)world_dump(&world), *b = (char *)(uintptr_t)world_dump(&straight);
	assert_string_equal(a, b);
	assert_string_equal(view_changes(&world, 0), view_changes(&straight, 0));
	free(a);
	free(b);
	arena_fini(&script.arena);
	world_close(&world);
	world_close(&straight);
}

/* A definition inside an aborted transaction never acted. */
static void test_abort_definition(void **state)
{
	(void)state;
	struct world world;
	struct apply_result result;
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "");
	world_open_empty(&world);
	assert_null(people_definitions(world.people));
	world_begin(&world);
	assert_int_equal(people_define(world.people, str_from(world_definitions), 1), OK);
	assert_int_equal(people_define(world.people, str_from(world_definitions), 2), OK);
	world_apply(&world, &event, &result);
	assert_int_equal(result.verdict, OUTCOME_APPLIED);
	people_abort(world.people);
	assert_null(people_definitions(world.people));
	assert_int_equal(people_definitions_text(world.people).len, 0);
	world.seq = 0;
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_REFUSED);
	world_close(&world);
}

static void test_counters(void **state)
{
	(void)state;
	struct world world;
	struct apply_result result;
	uint64_t counts[OUTCOME_VERDICT_COUNT];
	world_open(&world);
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "");
	world_begin(&world);
	world_apply(&world, &event, &result);
	struct outcome duplicate = {.verdict = OUTCOME_DUPLICATE, .previous_seq = world.seq};
	assert_int_equal(people_put_outcome(world.people, ++world.seq, &duplicate), OK);
	people_verdicts(world.people, counts);
	assert_int_equal(counts[OUTCOME_APPLIED], 0); /* not committed yet */
	world_commit(&world);
	people_verdicts(world.people, counts);
	assert_int_equal(counts[OUTCOME_APPLIED], 1);
	assert_int_equal(counts[OUTCOME_DUPLICATE], 1);
	/* A later word on the same record replaces the first. */
	world_begin(&world);
	struct outcome erased = {.verdict = OUTCOME_ERASED};
	assert_int_equal(people_put_outcome(world.people, world.seq, &erased), OK);
	world_commit(&world);
	world_reopen(&world);
	people_verdicts(world.people, counts);
	assert_int_equal(counts[OUTCOME_DUPLICATE], 0);
	assert_int_equal(counts[OUTCOME_ERASED], 1);
	assert_int_equal(people_applied(world.people), world.seq + 1);
	assert_int_equal(people_applied_t(world.people), WORLD_T0 + (int64_t)world.seq);
	world_close(&world);
}

static void test_epoch(void **state)
{
	(void)state;
	struct world world;
	world_open_empty(&world);
	assert_int_equal(people_applied(world.people), 1);
	assert_int_equal(people_epoch(world.people), 0);
	assert_int_equal(people_bind_epoch(world.people, 7), OK);
	world_reopen(&world);
	assert_int_equal(people_epoch(world.people), 7);
	assert_int_equal(people_bind_epoch(world.people, 7), OK);
	assert_int_equal(people_bind_epoch(world.people, 8), ERR_FOREIGN);
	world_close(&world);
}

/* One writer and its readers: what they see is always one commit's people. */
static void test_pages_grow(void **state)
{
	(void)state;
	struct world world;
	struct apply_result result;
	char user[16];
	world_open(&world);
	assert_int_equal(people_pages(world.people), 0);
	world_begin(&world);
	size_t last = people_pages(world.people);
	for (int i = 0; i < 100; i++) {
		snprintf(user, sizeof user, "u%d", i);
		struct cdpd_event event = world_event(EVENT_TRACK, user, "");
		world_apply(&world, &event, &result);
	}
	assert_true(people_pages(world.people) >= last + 100);
	last = people_pages(world.people);
	for (int i = 0; i < 100; i++) { /* the same person again costs almost nothing */
		struct cdpd_event event = world_event(EVENT_TRACK, "u5", "");
		world_apply(&world, &event, &result);
	}
	assert_true(people_pages(world.people) <= last + 5);
	last = people_pages(world.people);
	char traits[8000];
	for (int i = 0; i < 20; i++) { /* large values need chunks */
		snprintf(user, sizeof user, "u%d", i);
		snprintf(traits, sizeof traits, "{\"bio\":\"%07900d\"}", i);
		struct cdpd_event event = world_event(EVENT_IDENTIFY, user, "");
		event.traits = str_from(traits);
		world_apply(&world, &event, &result);
	}
	assert_true(people_pages(world.people) >= last + 20 * 4);
	world_commit(&world);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_invariants),
	    cmocka_unit_test(test_same_events_same_people),
	    cmocka_unit_test(test_abort_leaves_nothing),
	    cmocka_unit_test(test_abort_definition),
	    cmocka_unit_test(test_counters),
	    cmocka_unit_test(test_epoch),
	    cmocka_unit_test(test_pages_grow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
