#include "base/json_text.h"

struct found {
	size_t count, stop_after;
	struct str elements[32];
};

static int on_element(void *ctx, struct str element)
{
	struct found *found = ctx;
	found->elements[found->count++] = element;
	return found->count == found->stop_after ? 77 : 0;
}

static struct found split(const char *text, const char *key, int want)
{
	struct found found = {0};
	int rc = json_split_array(str_from(text), str_from(key), on_element, &found);
	if (rc != want) fail_msg("%s: %d, not %d", text, rc, want);
	if (want == ERR_INVALID) assert_int_equal(found.count, 0); /* nothing handed out of a broken whole */
	return found;
}

static void one_bad_element_does_not_cost_its_neighbours(void **state)
{
	static const char *const bad[] = {"{\"a\":nul}",
					  "{\"a\":1,}",
					  "{\"b\":[1}}",
					  "{'c':1}",
					  "01",
					  "tru",
					  "\"\xff\"",
					  "{\"a\" 1}",
					  "[1,]",
					  "",
					  "{\"t\":\"tab\there\"}",
					  "{\"a\":\"\\x\"}",
					  "{[}]"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		char text[200];
		(void)snprintf(text, sizeof text,
			       "{\"sentAt\":\"x\",\"batch\":[{\"i\":1}, %s ,{\"i\":2}],\"context\":{\"a\":[1]}}",
			       bad[i]);
		struct found found = split(text, "batch", OK);
		assert_int_equal(found.count, 3);
		assert_str(found.elements[0], "{\"i\":1}");
		assert_str(found.elements[1], bad[i]);
		assert_str(found.elements[2], "{\"i\":2}");
		struct json root;
		const char *why;
		assert_int_equal(parse_text(found.elements[1], &root, &why), ERR_INVALID);
	}
}

static void root_arrays(void **state)
{
	struct found found = split(" [ 1 , \"a,]\\\"\" , [2,[3]] , {\"x\":\"}\"} ] ", "", OK);
	(void)state;
	assert_int_equal(found.count, 4);
	assert_str(found.elements[0], "1");
	assert_str(found.elements[1], "\"a,]\\\"\"");
	assert_str(found.elements[2], "[2,[3]]");
	assert_str(found.elements[3], "{\"x\":\"}\"}");
	assert_int_equal(split("[]", "", OK).count, 0);
	assert_int_equal(split(" [ ] ", "", OK).count, 0);
	assert_int_equal(split("{\"batch\":[]}", "batch", OK).count, 0);
}

static void finds_the_key_at_the_root_only(void **state)
{
	struct found found =
	    split("{\"x\":{\"batch\":[9]},\"y\":\"batch\",\"batch\":[1,2],\"batch\":[3]}", "batch", OK);
	(void)state;
	assert_int_equal(found.count, 2);
	assert_str(found.elements[0], "1");
	(void)split("{\"x\":{\"batch\":[9]}}", "batch", ERR_INVALID);
	(void)split("{\"batch\":{\"a\":[1]}}", "batch", ERR_INVALID);
	(void)split("{\"batch\":1}", "batch", ERR_INVALID);
	(void)split("[1,2]", "batch", ERR_INVALID);
	(void)split("{\"batch\":[1]}", "", ERR_INVALID);
}

static void a_broken_whole_is_refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    " ",
	    "{",
	    "{\"batch\"",
	    "{\"batch\":",
	    "{\"batch\":[",
	    "{\"batch\":[1",
	    "{\"batch\":[1,",
	    "{\"batch\":[1,2]",
	    "{\"batch\":[{\"a\":1}",
	    "{\"batch\":[\"a",
	    "{\"batch\":[1]},",
	    "{\"batch\":[1]}]",
	    "{\"batch\":[1]}x",
	    "{\"batch\":[1],}",
	    "{\"batch\":[1],\"x\"}",
	    "{\"batch\":[1]\"x\":1}",
	    "{batch:[1]}",
	    "{\"batch\":[1}}",
	    "{\"batch\":[1]]}",
	    "{\"batch\":[\"\\\"]}",
	    "{\"a\":1 \"batch\":[1]}",
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) (void)split(texts[i], "batch", ERR_INVALID);
}

static void the_callback_may_stop(void **state)
{
	struct found found = {.stop_after = 2};
	(void)state;
	assert_int_equal(json_split_array(STR("[1,2,3]"), STR_NONE, on_element, &found), 77);
	assert_int_equal(found.count, 2);
}

static void depth_costs_nothing(void **state)
{
	const size_t depth = 1000000;
	char *text = malloc(2 * depth + 5);
	struct found found = {0};
	(void)state;
	assert_non_null(text);
	text[0] = '[';
	memset(text + 1, '[', depth);
	memset(text + 1 + depth, ']', depth);
	memcpy(text + 1 + 2 * depth, ",1]", 4);
	assert_ok(json_split_array(str_of(text, 2 * depth + 4), STR_NONE, on_element, &found));
	assert_int_equal(found.count, 2);
	assert_str(found.elements[1], "1");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_bad_element_does_not_cost_its_neighbours),
	    cmocka_unit_test(root_arrays),
	    cmocka_unit_test(finds_the_key_at_the_root_only),
	    cmocka_unit_test(a_broken_whole_is_refused),
	    cmocka_unit_test(the_callback_may_stop),
	    cmocka_unit_test(depth_costs_nothing),
	};
	return cmocka_run_group_tests(tests, make_reader, free_reader);
}
