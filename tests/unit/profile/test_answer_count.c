/* Who answered a form: everybody once, whatever happens between two slices of the walk. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "profile/answer_count.h"

#define PEOPLE 40
#define FORM   STR("fit")

static void answer_of(struct world *world, const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Form Answered");
	event.event_time_us = WORLD_T0 + (int64_t)world->seq;
	event.flags = EVENT_DECLARED;
	event.properties = STR("{\"form\":\"fit\",\"version\":3,\"provenance\":{\"size\":{\"question\":\"q1\"}}}");
	event.traits = str_from(traits);
	(void)world_one(world, &event);
}

static void join(struct world *world, const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Seen");
	(void)world_one(world, &event);
}

static void unjoin(struct world *world, const char *a, const char *b)
{
	const struct people_act act = {str_from(a), str_from(b), STR("t"), STR("")};
	world_begin(world);
	world->seq++;
	assert_int_equal(people_act(world->people, PEOPLE_UNMERGE, &act, world->seq, WORLD_T0 + (int64_t)world->seq),
			 OK);
	world_commit(world);
}

static const char *name_of(char prefix, int i)
{
	static char names[2][16];
	static int turn;
	turn = !turn;
	(void)snprintf(names[turn], sizeof names[turn], "%c%d", prefix, i);
	return names[turn];
}

/* Counts, and does something to the people between slices. */
struct counts {
	struct world *world;
	size_t slices, cleared;
	void (*between)(struct counts *counts);
	int turn;
	bool should_stop;
};

static void *begin_part(void *ctx)
{
	struct counts *counts = ctx;
	counts->slices++;
	if (counts->between) counts->between(counts);
	return arena_zalloc(&counts->world->arena, sizeof(size_t));
}

static void clear_part(void *ctx, void *part)
{
	((struct counts *)ctx)->cleared++;
	*(size_t *)part = 0;
}

static int add_to_part(void *ctx, void *part, const struct answer_found *answers, size_t count)
{
	(void)ctx;
	for (size_t i = 0; i < count; i++) {
		assert_true(str_eq(answers[i].question, STR("q1")) || answers[i].question.len == 0);
		assert_int_equal(answers[i].version, 3);
		if (str_eq(answers[i].trait, STR("size"))) ++*(size_t *)part;
	}
	return OK;
}

static bool stop(void *ctx)
{
	return ((struct counts *)ctx)->should_stop;
}

static int count_all(struct counts *counts, int64_t slice_us, size_t *people, bool *is_exact)
{
	const struct answer_counter counter = {.begin = begin_part,
					       .clear = clear_part,
					       .add = add_to_part,
					       .should_stop = stop,
					       .ctx = counts,
					       .slice_us = slice_us};
	struct answer_count out;
	struct arena arena, scratch;
	arena_init(&arena, 65536, 0);
	arena_init(&scratch, 65536, 0);
	int rc = people_count_answers(counts->world->reader, FORM, INT64_MAX / 2, &counter, &arena, &scratch, &out);
	*people = 0;
	*is_exact = out.is_exact;
	for (size_t i = 0; rc == OK && i < out.count; i++) *people += *(size_t *)out.parts[i];
	arena_fini(&scratch);
	arena_fini(&arena);
	return rc;
}

static size_t counted(struct counts *counts, int64_t slice_us)
{
	size_t people;
	bool is_exact;
	assert_int_equal(count_all(counts, slice_us, &people, &is_exact), OK);
	assert_true(is_exact);
	return people;
}

static void open_people(struct world *world)
{
	world_open(world);
	for (int i = 0; i < PEOPLE; i++) answer_of(world, name_of('u', i), "", "{\"size\":\"m\",\"fit.score\":1}");
	for (int i = 0; i < PEOPLE; i++) answer_of(world, "", name_of('a', i), "{\"size\":\"s\"}");
	for (int i = 0; i < PEOPLE; i++) join(world, name_of('x', i), ""); /* who answered nothing */
}

static void one_slice_and_one_for_each_row_see_the_same(void **state)
{
	(void)state;
	struct world world;
	struct counts counts = {.world = &world};
	open_people(&world);
	assert_int_equal(counted(&counts, INT64_C(3600) * US_PER_SECOND), 2 * PEOPLE);
	assert_int_equal(counts.slices, 1);
	counts.slices = 0;
	assert_int_equal(counted(&counts, 0), 2 * PEOPLE);
	assert_true(counts.slices >= 3 * PEOPLE);
	assert_int_equal(counts.cleared, 0);
	for (int i = 0; i < 5; i++) join(&world, name_of('u', i), name_of('a', i));
	assert_int_equal(counted(&counts, 0), 2 * PEOPLE - 5);
	counts.should_stop = true;
	size_t people;
	bool is_exact;
	assert_int_equal(count_all(&counts, 0, &people, &is_exact), ERR_CLOSED);
	world_close(&world);
}

/* Somebody is joined at each step: the walk has met one of the two, or will meet the other. */
static void join_between(struct counts *counts)
{
	int i = counts->turn++;
	if (i < PEOPLE) join(counts->world, name_of('u', i), name_of('a', i));
}

static void who_is_joined_meanwhile_counts_once(void **state)
{
	(void)state;
	struct world world;
	struct counts counts = {.world = &world, .between = join_between};
	open_people(&world);
	assert_int_equal(counted(&counts, 0), PEOPLE);
	assert_true(counts.cleared > 0);
	world_close(&world);
}

static void unjoin_between(struct counts *counts)
{
	char user[32], anonymous[32];
	int i = counts->turn++;
	if (i >= PEOPLE) return;
	(void)snprintf(user, sizeof user, "user_id:u%d", i);
	(void)snprintf(anonymous, sizeof anonymous, "anonymous_id:a%d", i);
	unjoin(counts->world, user, anonymous);
}

static void who_is_parted_meanwhile_counts_twice(void **state)
{
	(void)state;
	struct world world;
	struct counts counts = {.world = &world};
	open_people(&world);
	for (int i = 0; i < PEOPLE; i++) join(&world, name_of('u', i), name_of('a', i));
	assert_int_equal(counted(&counts, 0), PEOPLE);
	counts.between = unjoin_between;
	assert_int_equal(counted(&counts, 0), 2 * PEOPLE);
	assert_true(counts.cleared > 0);
	world_close(&world);
}

/* Rows longer than a piece: wherever the form's name is cut, it is found. */
static void a_name_across_two_chunks_is_found(void **state)
{
	(void)state;
	struct world world;
	struct counts counts = {.world = &world};
	char *value = malloc(6000), *traits = malloc(8000);
	world_open(&world);
	assert_true(value && traits);
	size_t people = 0;
	for (int len = 1; len<4300; len += len> 1800 && len < 2000 ? 1 : 30) {
		struct cdpd_event event = world_event(EVENT_IDENTIFY, name_of('u', len), "");
		memset(value, 'x', (size_t)len);
		value[len] = '\0';
		(void)snprintf(traits, 8000, "{\"aaa\":\"%s\"}", value);
		event.traits = str_from(traits);
		(void)world_one(&world, &event);
		answer_of(&world, name_of('u', len), "", "{\"size\":\"m\"}");
		people++;
	}
	assert_int_equal(counted(&counts, US_PER_SECOND), people);
	free(traits);
	free(value);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_slice_and_one_for_each_row_see_the_same),
	    cmocka_unit_test(who_is_joined_meanwhile_counts_once),
	    cmocka_unit_test(who_is_parted_meanwhile_counts_twice),
	    cmocka_unit_test(a_name_across_two_chunks_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
