#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static void identify_at(struct world *world, const char *user, const char *anonymous, int64_t time, const char *id,
			uint32_t flags, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.event_time_us = WORLD_T0 + time;
	event.message_id = str_from(id);
	event.flags = flags;
	event.traits = str_from(traits);
	(void)world_one(world, &event);
	world_check(world);
}

static void test_newest_event_time_wins(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	identify_at(&world, "u1", "", 100, "b", 0, "{\"plan\":\"second\",\"city\":\"Rome\"}");
	identify_at(&world, "u1", "", 50, "z", 0, "{\"plan\":\"first\",\"age\":30}"); /* arrives late */
	assert_text(view_traits(&world, "user_id:u1"), "age=30 city=\"Rome\" plan=\"second\"");
	identify_at(&world, "u1", "", 100, "a", 0, "{\"plan\":\"smaller id\"}");
	assert_text(view_traits(&world, "user_id:u1"), "age=30 city=\"Rome\" plan=\"second\"");
	identify_at(&world, "u1", "", 100, "c", 0, "{\"plan\":\"larger id\"}");
	assert_text(view_traits(&world, "user_id:u1"), "age=30 city=\"Rome\" plan=\"larger id\"");
	identify_at(&world, "u1", "", 101, "a", 0, "{\"plan\":null,\"list\":[1,{\"a\":2.50}]}"); /* null is a value */
	assert_text(view_traits(&world, "user_id:u1"), "age=30 city=\"Rome\" list=[1,{\"a\":2.5}] plan=null");
	world_close(&world);
}

static void test_classes(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	world_open(&world);
	identify_at(&world, "u1", "", 10, "a", EVENT_DECLARED, "{\"colour\":\"red\"}");
	identify_at(&world, "u1", "a1", 90, "b", 0, "{\"colour\":\"blue\"}"); /* newer, but only observed */
	identify_at(&world, "", "a1", 95, "c", 0, "{\"colour\":\"green\"}");  /* in another fragment */
	assert_text(view_traits(&world, "user_id:u1"), "colour=\"red\"");
	view_begin(&world);
	assert_int_equal(
	    people_get(world.reader, STR("user_id:u1"), PROFILE_ALL | PROFILE_LOSERS, 0, &world.arena, &profile), OK);
	assert_int_equal(profile.trait_count, 3);
	static const char *const values[] = {"\"red\"", "\"green\"", "\"blue\""};
	for (size_t i = 0; i < 3; i++) {
		assert_true(str_eq(profile.traits[i].value, str_from(values[i])));
		assert_int_equal(profile.traits[i].is_winner, i == 0);
		assert_int_equal(profile.traits[i].provenance, i == 0 ? PROVENANCE_DECLARED : PROVENANCE_OBSERVED);
	}
	assert_int_equal(profile.traits[1].updated_at, WORLD_T0 + 95);
	assert_true(str_eq(profile.traits[0].source, STR("web")));
	view_end(&world);
	/* The weaker class changing is not a change of the person. */
	assert_null(strstr(view_changes(&world, 0), "green"));
	world_close(&world);
}

/* Any order of the same identifies gives the same traits. */
static void test_any_order(void **state)
{
	(void)state;
	char *expected = NULL;
	for (unsigned seed = 0; seed < 12; seed++) {
		struct world world;
		int order[20];
		srand(seed);
		world_open(&world);
		for (int i = 0; i < 20; i++) order[i] = i;
		for (int i = 19; i > 0; i--) {
			int k = rand() % (i + 1), swap = order[i];
			order[i] = order[k];
			order[k] = swap;
		}
		for (int i = 0; i < 20; i++) {
			char id[8], traits[80];
			int n = order[i];
			snprintf(id, sizeof id, "m%02d", n % 7);
			snprintf(traits, sizeof traits, "{\"t%d\":%d,\"same\":\"v%d\"}", n % 3, n, n);
			identify_at(&world, n % 2 ? "u1" : "", "a1", n % 4, id, n % 5 ? 0 : EVENT_DECLARED, traits);
		}
		identify_at(&world, "u1", "a1", -1, "last", 0, "{}"); /* whoever came first, they are one now */
		const char *text = view_traits(&world, "user_id:u1");
		if (!expected) expected = strdup(text);
		assert_string_equal(text, expected);
		world_close(&world);
	}
	free(expected);
}

static void test_bounds(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	static char traits[200000];
	size_t at = 0;
	world_open(&world);
	for (int i = 0; i < 600; i++)
		at += (size_t)snprintf(traits + at, sizeof traits - at, "%c\"t%03d\":%d", i ? ',' : '{', i, i);
	snprintf(traits + at, sizeof traits - at, "}");
	identify_at(&world, "u1", "a1", 1, "a", 0, traits);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.trait_count, PEOPLE_TRAITS_MAX);
	assert_int_equal(profile.refused_traits, 100);
	view_end(&world);
	/* Those that are there may still change; a new one may not come. */
	identify_at(&world, "u1", "a1", 2, "b", 0, "{\"t000\":\"new\",\"zzz\":1}");
	assert_non_null(strstr(view_traits(&world, "user_id:u1"), "t000=\"new\""));
	assert_null(strstr(view_traits(&world, "user_id:u1"), "zzz"));
	/* The anonymous fragment has its own room. */
	identify_at(&world, "", "a1", 2, "c", 0, "{\"zzz\":1}");
	assert_non_null(strstr(view_traits(&world, "user_id:u1"), "zzz=1"));

	/* 32 KB, and no value beyond TRAIT_VALUE_MAX, no name beyond TRAIT_NAME_MAX. */
	for (int i = 0; i < 12; i++) {
		snprintf(traits, sizeof traits, "{\"big%d\":\"%08000d\",\"%0300d\":1}", i, i, 0);
		identify_at(&world, "u2", "", i, "d", 0, traits);
	}
	snprintf(traits, sizeof traits, "{\"huge\":\"%09000d\"}", 0);
	identify_at(&world, "u2", "", 50, "e", 0, traits);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u2", &profile), OK);
	assert_int_equal(profile.trait_count, 4);
	assert_int_equal(profile.refused_traits, 8 + 12 + 1);
	struct row *row;
	assert_int_equal(reader_row(world.reader, &profile.id, false, true, &world.arena, &row), OK);
	assert_true(row_hot_max(row) + row_cold_max(row) <= PEOPLE_FRAGMENT_BYTES_MAX + 1024);
	view_end(&world);
	/* A smaller value makes room again. */
	identify_at(&world, "u2", "", 60, "f", 0, "{\"big0\":1,\"late\":\"fits\"}");
	assert_non_null(strstr(view_traits(&world, "user_id:u2"), "late=\"fits\""));
	world_close(&world);
}

static void test_merged_is_larger_than_a_fragment(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	static char traits[40000];
	world_open(&world);
	for (int f = 0; f < 5; f++) {
		char anonymous[8];
		snprintf(anonymous, sizeof anonymous, "a%d", f);
		for (int i = 0; i < 4; i++) {
			snprintf(traits, sizeof traits, "{\"f%d-%d\":\"%07500d\"}", f, i, i);
			identify_at(&world, "", anonymous, i, "x", 0, traits);
		}
		identify_at(&world, "u1", anonymous, 10, "y", 0, "{}");
	}
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.trait_count, 16); /* the fifth device was one too many */
	assert_int_equal(profile.identifier_count, 5);
	view_end(&world);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_newest_event_time_wins),
	    cmocka_unit_test(test_classes),
	    cmocka_unit_test(test_any_order),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_merged_is_larger_than_a_fragment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
