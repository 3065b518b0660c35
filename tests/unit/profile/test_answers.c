/* Answers of forms in the fold: declared traits that know where they were asked, and stop counting when they expire. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "profile/origin.h"

static void answer_at(struct world *world, const char *user, const char *anonymous, int64_t time, uint32_t flags,
		      const char *properties, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Form Answered");
	event.event_time_us = WORLD_T0 + time;
	event.flags = flags;
	event.properties = str_from(properties);
	event.traits = str_from(traits);
	(void)world_one(world, &event);
	world_check(world);
}

static void identify_at(struct world *world, const char *user, const char *anonymous, int64_t time, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.event_time_us = WORLD_T0 + time;
	event.traits = str_from(traits);
	(void)world_one(world, &event);
	world_check(world);
}

#define FIT "{\"form\":\"fit\",\"version\":3,\"provenance\":{\"size\":{\"question\":\"q1\",\"expiresIn\":100}}}"

/* "value class form/version/question[!]" of each, winner marked with *. */
static const char *told(struct world *world, const char *ref, int64_t now)
{
	static char text[4096];
	struct profile profile;
	size_t at = 0;
	text[0] = '\0';
	view_begin(world);
	assert_int_equal(
	    people_get(world->reader, str_from(ref), PROFILE_TRAITS | PROFILE_LOSERS, now, &world->arena, &profile),
	    OK);
	for (size_t i = 0; i < profile.trait_count; i++) {
		const struct profile_trait *t = &profile.traits[i];
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%.*s=%.*s %s %.*s/%u/%.*s%s", at ? " | " : "",
				       t->is_winner ? "*" : "", STR_ARG(t->name), STR_ARG(t->value),
				       provenance_name(t->provenance), STR_ARG(t->origin.form), t->origin.version,
				       STR_ARG(t->origin.question), t->is_expired ? "!" : "");
	}
	view_end(world);
	return text;
}

static const char *winners(struct world *world, const char *ref, int64_t now)
{
	static char text[1024];
	struct profile profile;
	size_t at = 0;
	text[0] = '\0';
	view_begin(world);
	assert_int_equal(people_get(world->reader, str_from(ref), PROFILE_TRAITS, now, &world->arena, &profile), OK);
	for (size_t i = 0; i < profile.trait_count; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s=%.*s", at ? " " : "",
				       STR_ARG(profile.traits[i].name), STR_ARG(profile.traits[i].value));
	view_end(world);
	return text;
}

static void test_answers_are_declared_traits(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	identify_at(&world, "u1", "", 50, "{\"size\":\"l\"}");
	answer_at(&world, "u1", "", 10, EVENT_DECLARED, FIT, "{\"size\":\"m\",\"fit.score\":3}");
	assert_text(told(&world, "user_id:u1", WORLD_T0 + 60),
		    "*fit.score=3 declared fit/3/ | *size=\"m\" declared fit/3/q1 | size=\"l\" observed /0/");
	/* Somebody else's track of the same shape declares nothing, and is no trait at all. */
	answer_at(&world, "u2", "", 10, 0, FIT, "{\"size\":\"m\"}");
	assert_text(told(&world, "user_id:u2", WORLD_T0 + 60), "");
	/* What cannot be read costs the origin, not the answer. */
	answer_at(&world, "u3", "", 10, EVENT_DECLARED, "{\"form\":7,\"provenance\":[]}", "{\"size\":\"m\"}");
	assert_text(told(&world, "user_id:u3", WORLD_T0 + 60), "*size=\"m\" declared /0/");
	world_reopen(&world);
	assert_text(told(&world, "user_id:u3", WORLD_T0 + 60), "*size=\"m\" declared /0/");
	assert_text(winners(&world, "user_id:u1", WORLD_T0 + 60), "fit.score=3 size=\"m\"");
	world_close(&world);
}

static void test_an_expired_answer_gives_way(void **state)
{
	(void)state;
	struct world world;
	int64_t end = WORLD_T0 + 10 + 100 * US_PER_SECOND;
	world_open(&world);
	answer_at(&world, "u1", "", 10, EVENT_DECLARED, FIT, "{\"size\":\"m\"}");
	assert_text(winners(&world, "user_id:u1", end - 1), "size=\"m\"");
	assert_text(winners(&world, "user_id:u1", end), "");
	assert_text(told(&world, "user_id:u1", end), "size=\"m\" declared fit/3/q1!");
	identify_at(&world, "u1", "", 5, "{\"size\":\"l\"}");
	assert_text(winners(&world, "user_id:u1", end - 1), "size=\"m\"");
	assert_text(winners(&world, "user_id:u1", end), "size=\"l\"");
	assert_text(told(&world, "user_id:u1", end), "*size=\"l\" observed /0/ | size=\"m\" declared fit/3/q1!");
	/* A new answer counts again, and it is a change of the person although the old value was the same. */
	answer_at(&world, "u1", "", 200 * US_PER_SECOND, EVENT_DECLARED, FIT, "{\"size\":\"m\"}");
	assert_text(winners(&world, "user_id:u1", end), "size=\"m\"");
	world_close(&world);
}

/* The feed tells what is in force when it changes: an expired answer hides nothing. */
static void test_changes_look_past_expired_answers(void **state)
{
	(void)state;
	struct world world;
	world_open(&world);
	answer_at(&world, "u1", "", -200 * US_PER_SECOND, EVENT_DECLARED, FIT, "{\"size\":\"m\"}");
	assert_null(strstr(view_changes(&world, 0), "size"));
	identify_at(&world, "u1", "", 5, "{\"size\":\"l\"}");
	assert_non_null(strstr(view_changes(&world, 0), "\"size\":{\"value\":\"l\",\"provenance\":\"observed\"}"));
	answer_at(&world, "u1", "", 10, EVENT_DECLARED, FIT, "{\"size\":\"m\"}");
	assert_non_null(strstr(view_changes(&world, 0), "\"size\":{\"value\":\"m\",\"provenance\":\"declared\"}"));
	world_close(&world);
}

/* However the fragments of a person share the answers, the newest of the class decides, expired or not. */
static void test_joined_people_read_the_same(void **state)
{
	(void)state;
	struct world world;
	int64_t end = WORLD_T0 + 20 + 100 * US_PER_SECOND;
	world_open(&world);
	answer_at(&world, "", "a1", 10, EVENT_DECLARED, "{\"form\":\"fit\",\"version\":1}", "{\"size\":\"s\"}");
	answer_at(&world, "u1", "", 20, EVENT_DECLARED, FIT, "{\"size\":\"m\"}");
	identify_at(&world, "u1", "a1", 5, "{\"size\":\"l\"}");
	assert_text(winners(&world, "anonymous_id:a1", end - 1), "size=\"m\"");
	assert_text(winners(&world, "anonymous_id:a1", end), "size=\"l\"");
	assert_text(told(&world, "anonymous_id:a1", end),
		    "*size=\"l\" observed /0/ | size=\"m\" declared fit/3/q1! | size=\"s\" declared fit/1/");
	assert_text(told(&world, "anonymous_id:a1", end - 1),
		    "*size=\"m\" declared fit/3/q1 | size=\"s\" declared fit/1/ | size=\"l\" observed /0/");
	world_close(&world);
}

static void test_origins_round_trip(void **state)
{
	(void)state;
	struct trait_origin in = {.form = STR("fit"),
				  .question = STR("q"),
				  .version = 70000,
				  .expires_at = INT64_C(1) << 60},
			    out;
	uint8_t bytes[ORIGIN_MAX];
	size_t len = origin_encode(&in, bytes);
	assert_int_equal(origin_decode(str_of(bytes, len), &out), OK);
	assert_true(str_eq(out.form, in.form) && str_eq(out.question, in.question));
	assert_true(out.version == 70000 && out.expires_at == in.expires_at);
	for (size_t cut = 0; cut < len; cut++) assert_int_equal(origin_decode(str_of(bytes, cut), &out), ERR_CORRUPT);
	assert_true(origin_is_expired(str_of(bytes, len), INT64_MAX) && !origin_is_expired(STR_NONE, INT64_MAX));
}

static void test_origins_of_models_round_trip(void **state)
{
	(void)state;
	struct trait_origin out;
	uint8_t bytes[ORIGIN_MAX];
	size_t len = origin_encode_model(STR("churn"), STR("2026-11"), bytes);
	assert_int_equal(origin_decode_model(str_of(bytes, len), &out), OK);
	assert_true(str_eq(out.model, STR("churn")) && str_eq(out.model_version, STR("2026-11")));
	assert_true(out.form.len == 0 && out.question.len == 0 && out.expires_at == 0);
	assert_false(origin_is_expired(str_of(bytes, len), INT64_MAX));
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(origin_decode_model(str_of(bytes, cut), &out), ERR_CORRUPT);
	len = origin_encode_model(STR("churn"), STR_NONE, bytes);
	assert_int_equal(origin_decode_model(str_of(bytes, len), &out), OK);
	assert_true(str_eq(out.model, STR("churn")) && out.model_version.len == 0);
}

/* Without an origin a trait's bytes are as they always were; with one they come back whole. */
static void test_rows_keep_origins(void **state)
{
	(void)state;
	struct arena arena;
	struct fragment_id id = {{1}};
	struct stamp stamp = {.time = 5, .source = STR("s"), .message_id = STR("m")};
	static uint8_t plain[512], told_bytes[512];
	uint8_t origin[ORIGIN_MAX];
	struct row row, back;
	size_t plain_len, len;
	enum trait_put put;
	arena_init(&arena, 4096, 0);
	row_init(&row, &id, false);
	struct row_trait trait = {.name = STR("a"), .value = STR("1"), .origin = STR_NONE, .stamp = &stamp};
	assert_int_equal(trait_put(&row, &trait, true, &arena, &put), OK);
	assert_int_equal(row_encode_cold(&row, &arena, plain, &plain_len), OK);
	static const uint8_t expected[] = {0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 's', 1, 'm', 1, 1, 'a', 0, 0, 1, '1'};
	assert_int_equal(plain_len, sizeof expected);
	assert_memory_equal(plain, expected, sizeof expected);
	struct trait_origin from = {.form = STR("fit"), .question = STR("q"), .version = 2, .expires_at = 99};
	trait.name = STR("b");
	trait.origin = str_of(origin, origin_encode(&from, origin));
	assert_int_equal(trait_put(&row, &trait, true, &arena, &put), OK);
	assert_true(row_cold_max(&row) <= sizeof told_bytes);
	assert_int_equal(row_encode_cold(&row, &arena, told_bytes, &len), OK);
	row_init(&back, &id, false);
	assert_int_equal(row_decode_cold(str_of(told_bytes, len), &arena, &back), OK);
	assert_int_equal(back.trait_count, 2);
	assert_int_equal(back.trait_bytes, row.trait_bytes);
	assert_int_equal(back.traits[0].origin.len, 0);
	assert_true(str_eq(back.traits[1].origin, trait.origin));
	assert_null(trait_winner(&back, STR("b"), 99));
	assert_non_null(trait_winner(&back, STR("b"), 98));
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers_are_declared_traits),
	    cmocka_unit_test(test_an_expired_answer_gives_way),
	    cmocka_unit_test(test_joined_people_read_the_same),
	    cmocka_unit_test(test_changes_look_past_expired_answers),
	    cmocka_unit_test(test_origins_round_trip),
	    cmocka_unit_test(test_origins_of_models_round_trip),
	    cmocka_unit_test(test_rows_keep_origins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
