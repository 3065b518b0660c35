#include "api/api_test.h"

#include "profile/change_filter.h"

static struct arena arena;
static struct json_reader *json;
static struct buf text;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 1024, 1 << 20);
	buf_init(&text, 1 << 20);
	return json_reader_new(&json);
}

static int teardown(void **state)
{
	(void)state;
	json_reader_free(json);
	buf_fini(&text);
	arena_fini(&arena);
	return 0;
}

static struct change_filter parse(struct str kinds, struct str traits, struct str features)
{
	struct change_filter filter;
	struct str word;
	assert_int_equal(change_filter_parse(&filter, kinds, traits, features, STR_NONE, &arena, &word), OK);
	return filter;
}

static bool passes(const struct change_filter *filter, enum change_kind kind, struct str body, struct str *shown)
{
	struct change change = {.kind = kind, .body = body};
	struct change_look look = {.change = &change, .json = json, .text = &text, .arena = &arena};
	bool does;
	assert_int_equal(change_filter_look(filter, &look, &does, shown), OK);
	return does;
}

static const struct str TRAITS =
    STR("{\"traits\":{\"plan\":{\"value\":\"a,b\"},\"city\":{\"value\":1},\"x\":{\"value\":null}}}");

static void an_empty_filter_passes_everything_untouched(void **state)
{
	(void)state;
	struct change_filter filter = parse(STR_NONE, STR_NONE, STR_NONE);
	struct str shown;
	for (int kind = CHANGE_PROFILE; kind < CHANGE_KIND_COUNT; kind++) {
		assert_true(passes(&filter, (enum change_kind)kind, TRAITS, &shown));
		assert_true(str_eq(shown, TRAITS));
	}
}

static void kinds_are_a_comma_list(void **state)
{
	(void)state;
	struct change_filter filter = parse(STR(" trait ,merged,"), STR_NONE, STR_NONE);
	struct str shown;
	assert_true(passes(&filter, CHANGE_TRAIT, TRAITS, &shown));
	assert_true(passes(&filter, CHANGE_MERGED, STR("{}"), &shown));
	assert_false(passes(&filter, CHANGE_FEATURE, STR("{}"), &shown));
	assert_false(passes(&filter, CHANGE_PROFILE, STR("{}"), &shown));
}

static void names_show_only_what_was_asked_for(void **state)
{
	(void)state;
	struct change_filter filter = parse(STR_NONE, STR("x,plan"), STR("orders"));
	struct str shown;
	assert_true(passes(&filter, CHANGE_TRAIT, TRAITS, &shown));
	assert_true(str_eq(shown, STR("{\"traits\":{\"plan\":{\"value\":\"a,b\"},\"x\":{\"value\":null}}}")));
	assert_true(passes(&filter, CHANGE_FEATURE, STR("{\"features\":{\"orders\":3,\"revenue\":9}}"), &shown));
	assert_true(str_eq(shown, STR("{\"features\":{\"orders\":3}}")));
	assert_false(passes(&filter, CHANGE_TRAIT, STR("{\"traits\":{\"plans\":{}}}"), &shown));
	assert_false(passes(&filter, CHANGE_FEATURE, STR("{\"features\":{\"plan\":3}}"), &shown));
	assert_false(passes(&filter, CHANGE_MERGED, STR("{\"from\":\"plan\"}"), &shown));
	assert_false(passes(&filter, CHANGE_TRAIT, STR("not json"), &shown));
}

/* A copy of one trait needs the merges too: names narrow their own kind, given kinds the rest. */
static void names_narrow_their_own_kind(void **state)
{
	(void)state;
	struct change_filter filter = parse(STR("trait,merged,feature"), STR("plan"), STR_NONE);
	struct str shown;
	assert_true(passes(&filter, CHANGE_TRAIT, TRAITS, &shown));
	assert_true(str_eq(shown, STR("{\"traits\":{\"plan\":{\"value\":\"a,b\"}}}")));
	assert_false(passes(&filter, CHANGE_TRAIT, STR("{\"traits\":{\"city\":{}}}"), &shown));
	assert_true(passes(&filter, CHANGE_MERGED, STR("{\"from\":\"a\"}"), &shown));
	assert_true(passes(&filter, CHANGE_FEATURE, STR("{\"features\":{\"orders\":3}}"), &shown));
	assert_false(passes(&filter, CHANGE_PROFILE, STR("{}"), &shown));
	filter = parse(STR("feature"), STR("plan"), STR_NONE);
	assert_false(passes(&filter, CHANGE_TRAIT, TRAITS, &shown));
}

/* Who wants the same gets the same bytes, and nobody else's. */
static void equal_filters_are_known_as_such(void **state)
{
	(void)state;
	struct change_filter a = parse(STR("trait,merged"), STR("plan"), STR("orders"));
	struct change_filter same = parse(STR("merged, trait"), STR(" plan "), STR("orders"));
	assert_true(change_filter_eq(&a, &same));
	struct change_filter others[] = {parse(STR("trait"), STR("plan"), STR("orders")),
					 parse(STR("trait,merged"), STR("plan,city"), STR("orders")),
					 parse(STR("trait,merged"), STR("city"), STR("orders")),
					 parse(STR("trait,merged"), STR("plan"), STR_NONE)};
	for (size_t i = 0; i < COUNT_OF(others); i++) assert_false(change_filter_eq(&a, &others[i]));
}

/* What was not looked at for want of memory must not count as passed over: the stream ends there and is resumed. */
static void no_memory_is_no_answer(void **state)
{
	(void)state;
	struct change_filter filter = parse(STR_NONE, STR("plan,city"), STR_NONE);
	struct change change = {.kind = CHANGE_TRAIT, .body = TRAITS};
	struct arena none;
	struct buf little;
	struct str shown;
	bool does;
	arena_init(&none, 64, 32);
	struct change_look look = {.change = &change, .json = json, .text = &text, .arena = &none};
	assert_int_equal(change_filter_look(&filter, &look, &does, &shown), ERR_NOMEM);
	buf_init(&little, TRAITS.len - 1);
	look = (struct change_look){.change = &change, .json = json, .text = &little, .arena = &arena};
	assert_int_equal(change_filter_look(&filter, &look, &does, &shown), ERR_TOO_LARGE);
	assert_false(does);
	buf_fini(&little);
	arena_fini(&none);
}

static void unknown_kinds_and_endless_lists_are_refused(void **state)
{
	(void)state;
	struct change_filter filter;
	struct str word;
	assert_int_equal(
	    change_filter_parse(&filter, STR("trait,nothing"), STR_NONE, STR_NONE, STR_NONE, &arena, &word),
	    ERR_INVALID);
	assert_true(str_eq(word, STR("nothing")));
	char many[2 * CHANGE_FILTER_NAMES_MAX + 3];
	for (size_t i = 0; i < sizeof many; i++) many[i] = i % 2 ? ',' : 'a';
	struct str list = str_of(many, sizeof many);
	assert_int_equal(change_filter_parse(&filter, STR_NONE, list, STR_NONE, STR_NONE, &arena, &word),
			 ERR_TOO_LARGE);
	list.len = 2 * CHANGE_FILTER_NAMES_MAX;
	assert_int_equal(change_filter_parse(&filter, STR_NONE, list, STR_NONE, STR_NONE, &arena, &word), OK);
	assert_int_equal(filter.traits.count, CHANGE_FILTER_NAMES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_empty_filter_passes_everything_untouched, setup, teardown),
	    cmocka_unit_test_setup_teardown(kinds_are_a_comma_list, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_show_only_what_was_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_narrow_their_own_kind, setup, teardown),
	    cmocka_unit_test_setup_teardown(equal_filters_are_known_as_such, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_memory_is_no_answer, setup, teardown),
	    cmocka_unit_test_setup_teardown(unknown_kinds_and_endless_lists_are_refused, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
