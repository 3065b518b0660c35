/* Erasure in the profiles: whoever stays is untouched, and a replay over what is left of the erased events comes to the same people. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "profile/block.h"
#include "profile/key_copy.h"

#define EVENTS_MAX 120
#define ACTS_MAX   4

static uint64_t state_of_random;

static uint32_t next(uint32_t below)
{
	state_of_random = state_of_random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((state_of_random >> 33) % below);
}

static struct str text(struct arena *arena, const char *format, uint32_t n)
{
	struct str out;
	assert_int_equal(arena_printf(arena, &out, format, n), OK);
	return out;
}

static struct cdpd_event random_event(struct arena *arena)
{
	static const enum event_type types[] = {EVENT_TRACK, EVENT_TRACK, EVENT_IDENTIFY, EVENT_PAGE, EVENT_ALIAS};
	struct cdpd_event event = world_event(types[next(COUNT_OF(types))], "", "");
	if (next(3)) event.anonymous_id = text(arena, "a%u", next(8));
	if (next(2) || !event.anonymous_id.len) event.user_id = text(arena, "u%u", next(4));
	if (next(3) == 0) event.rights = RIGHT_LINK_KNOWN | RIGHT_ALIAS;
	if (next(6) == 0) event.flags |= EVENT_INACTIVE;
	if (event.type == EVENT_IDENTIFY)
		event.traits =
		    text(arena, next(2) ? "{\"email\":\"e%u@x.y\",\"plan\":\"pro\"}" : "{\"plan\":\"p%u\"}", next(4));
	if (event.type == EVENT_ALIAS) event.previous_id = text(arena, next(2) ? "a%u" : "u%u", next(4));
	event.event_time_us = WORLD_T0 + next(200);
	return event;
}

struct act {
	uint64_t seq;
	struct fragment_id id;
	bool is_whole;
};

struct script {
	struct arena arena;
	struct cdpd_event events[EVENTS_MAX];
	struct str payloads[EVENTS_MAX];
	struct act acts[ACTS_MAX];
	size_t act_count;
};

static void erase(struct world *world, const struct act *act)
{
	struct people_erasure erasure = {.fragments = &act->id, .count = 1, .is_whole = act->is_whole};
	memcpy(erasure.receipt, &act->seq, sizeof act->seq);
	world_begin(world);
	assert_int_equal(people_erase(world->people, &erasure, act->seq, WORLD_T0 + (int64_t)act->seq), OK);
	assert_int_equal(people_note_act(world->people, act->seq), OK);
	world_commit(world);
}

static void identifier_of(struct world *world, const char *ref, struct fragment_id *id)
{
	struct str namespace_;
	view_begin(world);
	assert_int_equal(people_ref(world->reader, str_from(ref), &world->arena, id, &namespace_), OK);
	view_end(world);
}

static void choose_act(struct world *world, struct act *act)
{
	char ref[32];
	static const char *const formats[] = {"user_id:u%u", "anonymous_id:a%u", "email:e%u@x.y"};
	(void)snprintf(ref, sizeof ref, formats[next(3)], next(4));
	act->seq = ++world->seq;
	act->is_whole = next(2);
	identifier_of(world, ref, &act->id);
}

static void live(struct world *world, struct script *script)
{
	struct apply_result result;
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		if (script->act_count < ACTS_MAX && next(EVENTS_MAX / ACTS_MAX) == 0) {
			struct act *act = &script->acts[script->act_count++];
			choose_act(world, act);
			erase(world, act);
		}
		script->events[i] = random_event(&script->arena);
		script->events[i].message_id = text(&script->arena, "m%u", (uint32_t)world->seq + 1);
		assert_int_equal(event_encode(&script->events[i], &script->arena, &script->payloads[i]), OK);
		world_begin(world);
		world_apply(world, &script->events[i], &result);
		world_commit(world);
	}
}

/* What the sweep would make of the event at `seq`. */
static bool judge(struct world *world, struct erasure_view *view, uint64_t seq, struct str payload, struct arena *arena,
		  struct erased_event *husk)
{
	struct outcome outcome;
	struct erased_row row;
	bool hit;
	view_begin(world);
	assert_int_equal(people_get_outcome(world->reader, seq, &outcome), OK);
	assert_int_equal(erasure_judge_event(world->reader, view, seq, payload, &outcome, arena, &hit, &row, husk), OK);
	struct str bytes;
	if (hit) {
		assert_int_equal(erased_event_encode(husk, arena, &bytes), OK);
		assert_int_equal(erased_event_decode(bytes, arena, husk), OK);
	}
	view_end(world);
	return hit;
}

static void replay_one(struct world *copy, struct world *original, struct script *script, struct erasure_view *view,
		       size_t i, uint64_t *hits, size_t *hit_count)
{
	struct apply_result result;
	struct erased_event husk;
	uint64_t seq = copy->seq + 1;
	bool hit = judge(original, view, seq, script->payloads[i], &script->arena, &husk);
	world_begin(copy);
	if (hit) {
		const struct outcome erased = {.verdict = OUTCOME_ERASED};
		copy->seq++;
		assert_int_equal(people_apply_erased(copy->people, &husk, seq, WORLD_T0 + (int64_t)seq), OK);
		assert_int_equal(people_put_outcome(copy->people, seq, &erased), OK);
		hits[(*hit_count)++] = seq;
	} else {
		world_apply(copy, &script->events[i], &result);
	}
	world_commit(copy);
}

static void replay(struct world *copy, struct world *original, struct script *script, uint64_t *hits, size_t *hit_count)
{
	struct erasure_view *view;
	size_t act = 0;
	assert_int_equal(erasure_view_new(&view), OK);
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		while (act < script->act_count && script->acts[act].seq == copy->seq + 1) {
			copy->seq++;
			erase(copy, &script->acts[act++]);
		}
		replay_one(copy, original, script, view, i, hits, hit_count);
	}
	erasure_view_free(view);
}

static void open_copy(struct world *copy, const struct world *original)
{
	struct hash_key key;
	char path[80];
	assert_int_equal(key_copy_read(original->path, &key), OK);
	world_open_empty(copy);
	/* Made anew with the key of the original, as a rebuild would. */
	people_reader_free(copy->reader);
	people_close(copy->people);
	(void)snprintf(path, sizeof path, "%s/profiles", copy->path);
	assert_int_equal(store_remove_env(path), OK);
	assert_int_equal(key_copy_write(copy->path, &key), OK);
	assert_int_equal(people_open(copy->path, &copy->people), OK);
	assert_int_equal(people_reader_new(copy->people, &copy->reader), OK);
	world_define(copy, world_definitions);
}

static void test_a_replay_over_husks_gives_the_same_people(void **state)
{
	(void)state;
	const char *rounds = getenv("CDPD_ERASE_ROUNDS");
	size_t erased = 0;
	for (uint64_t round = 0; round < (rounds ? strtoull(rounds, NULL, 10) : 60); round++) {
		struct world original, copy;
		static struct script script;
		uint64_t hits[EVENTS_MAX];
		size_t hit_count = 0;
		memset(&script, 0, sizeof script);
		state_of_random = round * 7919 + 1;
		arena_init(&script.arena, 65536, 0);
		world_open(&original);
		live(&original, &script);
		open_copy(&copy, &original);
		replay(&copy, &original, &script, hits, &hit_count);
		/* The live ones' outcomes follow, as the sweep has it. */
		world_begin(&original);
		assert_int_equal(people_outcomes_erase(original.people, hits, hit_count), OK);
		world_commit(&original);
		world_check(&original);
		world_check(&copy);
		char *a = (char *)(uintptr_t)world_dump(&original), *b = (char *)(uintptr_t)world_dump(&copy);
		if (strcmp(a, b) != 0) print_error("round %llu\n%s\n=====\n%s\n", (unsigned long long)round, a, b);
		assert_string_equal(a, b);
		free(a);
		free(b);
		erased += hit_count;
		world_close(&copy);
		world_close(&original);
		arena_fini(&script.arena);
	}
	assert_true(erased > 100);
}

static struct apply_result told(struct world *world, const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(traits ? EVENT_IDENTIFY : EVENT_TRACK, user, anonymous);
	if (traits) event.traits = str_from(traits);
	return world_one(world, &event);
}

static void test_one_identifier_leaves_the_rest_one_person(void **state)
{
	(void)state;
	struct world world;
	struct act act = {.is_whole = false};
	struct profile profile;
	world_open(&world);
	told(&world, "", "a", NULL);
	told(&world, "", "a", "{\"email\":\"e@x.y\",\"plan\":\"free\"}");
	told(&world, "u", "a", NULL);
	identifier_of(&world, "anonymous_id:a", &act.id);
	act.seq = ++world.seq;
	erase(&world, &act);
	assert_text(view_identifiers(&world, "user_id:u"), "user_id:u email:e@x.y");
	assert_text(view_traits(&world, "user_id:u"), "email=\"e@x.y\" plan=\"free\"");
	view_begin(&world);
	assert_int_equal(view_get(&world, "anonymous_id:a", &profile), ERR_NOT_FOUND);
	assert_int_equal(view_get(&world, "email:e@x.y", &profile), OK);
	view_end(&world);
	assert_null(strstr(view_links(&world, "user_id:u"), "anonymous_id:a "));
	world_close(&world);
}

static void test_older_events_are_blocked_and_newer_ones_are_not(void **state)
{
	(void)state;
	struct world world;
	struct act act = {.is_whole = true};
	world_open(&world);
	told(&world, "u", "a", NULL);
	identifier_of(&world, "user_id:u", &act.id);
	act.seq = ++world.seq;
	erase(&world, &act);
	struct cdpd_event event = world_event(EVENT_TRACK, "u", "");
	event.event_time_us = WORLD_T0 + (int64_t)act.seq; /* at its very time */
	struct apply_result result = world_one(&world, &event);
	assert_int_equal(result.verdict, OUTCOME_ERASED);
	assert_int_equal(result.reason, OUTCOME_REASON_OLDER_THAN_ERASURE);
	event.event_time_us++;
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_APPLIED);
	/* The member that went with it is blocked as well, others are not. */
	event = world_event(EVENT_TRACK, "", "a");
	event.event_time_us = WORLD_T0;
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_ERASED);
	event = world_event(EVENT_TRACK, "", "b");
	event.event_time_us = WORLD_T0;
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_APPLIED);
	world_reopen(&world);
	event = world_event(EVENT_TRACK, "u", "");
	event.event_time_us = WORLD_T0;
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_ERASED);
	world_close(&world);
}

static void test_an_aborted_erasure_leaves_nothing(void **state)
{
	(void)state;
	struct world world;
	struct act act = {.is_whole = true};
	world_open(&world);
	told(&world, "u", "a", "{\"plan\":\"pro\"}");
	identifier_of(&world, "user_id:u", &act.id);
	char *before = (char *)(uintptr_t)world_dump(&world);
	struct people_erasure erasure = {.fragments = &act.id, .count = 1, .is_whole = true};
	world_begin(&world);
	assert_int_equal(people_erase(world.people, &erasure, world.seq + 1, WORLD_T0), OK);
	people_abort(world.people);
	char *after = (char *)(uintptr_t)world_dump(&world);
	assert_string_equal(before, after);
	assert_int_equal(told(&world, "u", "", NULL).verdict, OUTCOME_APPLIED);
	free(before);
	free(after);
	world_close(&world);
}

static void test_texts_are_searched_for_erased_identifiers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool hit;
	} cases[] = {
	    {"{\"userId\":\"u\",\"x\":1}", true},
	    {"{\"userId\":\"other\",\"note\":\"u2\"}", false},
	    {"{\"anonymousId\":\"a\"", true},
	    {"{\"id\":42,\"cut\":\"", false},
	    {"", false},
	    {"\"", false},
	    {"{\"a\\\"b\":\"u\"}", true},
	};
	struct world world;
	struct act act = {.is_whole = true};
	world_open(&world);
	told(&world, "u", "a", NULL);
	told(&world, "other", "", NULL);
	identifier_of(&world, "user_id:u", &act.id);
	act.seq = ++world.seq;
	erase(&world, &act);
	view_begin(&world);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		bool hit;
		assert_int_equal(erasure_names(world.reader, str_from(cases[i].text), &world.arena, &hit), OK);
		if (hit != cases[i].hit) fail_msg("%s", cases[i].text);
	}
	view_end(&world);
	world_close(&world);
}

static void suppress(struct world *world, const char *ref, bool is_lifted)
{
	struct people_suppression act = {
	    .is_lifted = is_lifted, .namespace_ = STR("user_id"), .actor = STR("me"), .reason = STR_NONE};
	uint64_t seq = ++world->seq;
	identifier_of(world, ref, &act.owner);
	world_begin(world);
	assert_int_equal(people_suppress(world->people, &act, seq, WORLD_T0 + (int64_t)seq), OK);
	world_commit(world);
}

static void test_suppression(void **state)
{
	(void)state;
	struct world world;
	struct suppression_row *rows;
	size_t count;
	world_open(&world);
	told(&world, "u", "a", NULL);
	suppress(&world, "user_id:u", false);
	suppress(&world, "user_id:u", false);
	world_reopen(&world);
	assert_int_equal(told(&world, "u", "", NULL).verdict, OUTCOME_SUPPRESSED);
	assert_int_equal(told(&world, "", "a", NULL).verdict, OUTCOME_SUPPRESSED);
	assert_int_equal(told(&world, "v", "a", NULL).verdict, OUTCOME_APPLIED);
	suppress(&world, "anonymous_id:a", false);
	assert_int_equal(told(&world, "v", "a", NULL).verdict, OUTCOME_SUPPRESSED); /* named: wherever it stands */
	view_begin(&world);
	assert_int_equal(people_suppressions(world.reader, NULL, 10, &world.arena, &rows, &count), OK);
	assert_int_equal(count, 2);
	assert_int_equal(rows[0].member_count, 2);
	assert_int_equal(people_suppressions(world.reader, &rows[0].owner, 10, &world.arena, &rows, &count), OK);
	assert_int_equal(count, 1);
	view_end(&world);
	suppress(&world, "user_id:u", true);
	assert_int_equal(told(&world, "u", "", NULL).verdict, OUTCOME_SUPPRESSED); /* a member of the other one */
	suppress(&world, "anonymous_id:a", true);
	assert_int_equal(told(&world, "u", "a", NULL).verdict, OUTCOME_APPLIED);
	world_close(&world);
}

/* A score that was on its way while its person was erased: she does not come back by it, and its bytes go too. */
static void test_what_plugins_publish_brings_nobody_back(void **state)
{
	(void)state;
	struct world world;
	struct arena arena;
	struct act act = {.is_whole = true};
	struct erasure_view *view;
	struct erased_event husk;
	struct str payload;
	struct cdpd_event score = world_event(EVENT_IDENTIFY, "u", "");
	world_open(&world);
	arena_init(&arena, 4096, 0);
	assert_int_equal(erasure_view_new(&view), OK);
	score.source_kind = SOURCE_PLUGIN;
	score.flags = EVENT_INFERRED | EVENT_INACTIVE;
	score.traits = STR("{\"churn\":0.5}");
	score.event_time_us = WORLD_T0 + 1000000; /* newer than the erasure */
	score.message_id = STR("s1");
	assert_int_equal(event_encode(&score, &arena, &payload), OK);
	struct cdpd_event own = world_event(EVENT_TRACK, "u", "");
	own.event_time_us = WORLD_T0 + 2000000;
	assert_int_equal(world_one(&world, &score).verdict,
			 OUTCOME_APPLIED); /* nobody was erased: it may be the first of her */
	act.seq = ++world.seq;
	identifier_of(&world, "user_id:u", &act.id);
	erase(&world, &act);
	score.message_id = STR("s2");
	assert_int_equal(world_one(&world, &score).verdict, OUTCOME_ERASED);
	uint64_t blocked = world.seq;
	assert_true(judge(&world, view, blocked, payload, &arena, &husk));
	struct profile profile;
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u", &profile), ERR_NOT_FOUND);
	view_end(&world);
	assert_int_equal(world_one(&world, &own).verdict, OUTCOME_APPLIED); /* she came back by herself */
	score.message_id = STR("s3");
	assert_int_equal(world_one(&world, &score).verdict, OUTCOME_APPLIED);
	assert_false(judge(&world, view, world.seq, payload, &arena, &husk));
	erasure_view_free(view);
	arena_fini(&arena);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_replay_over_husks_gives_the_same_people),
	    cmocka_unit_test(test_one_identifier_leaves_the_rest_one_person),
	    cmocka_unit_test(test_older_events_are_blocked_and_newer_ones_are_not),
	    cmocka_unit_test(test_an_aborted_erasure_leaves_nothing),
	    cmocka_unit_test(test_texts_are_searched_for_erased_identifiers),
	    cmocka_unit_test(test_suppression),
	    cmocka_unit_test(test_what_plugins_publish_brings_nobody_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
