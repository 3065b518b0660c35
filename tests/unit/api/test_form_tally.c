/* What a tally makes of answers: options, bins, versions, and what nothing stands for any more. */
#include "api/api_test.h"

#include "api/form_tally.h"
#include "config/config.h"

static const struct config *config;
static struct arena arena;
static struct buf text, out;
static struct tally_reader reader = {.text = &text};

static int setup(void **state)
{
	static char folder[256];
	char path[300], *errors;
	make_temp_dir(folder);
	write_file(folder, "c.yaml", 0600,
		   "forms:\n- name: f\n  version: 3\n  questions:\n"
		   "  - {id: a, type: single, text: A, options: [x, 1, true]}\n"
		   "  - {id: b, type: multiple, text: B, options: [x, y]}\n"
		   "  - {id: c, type: scale, text: C, min: -1, max: 1, step: 0.5}\n"
		   "  - {id: d, type: scale, text: D, min: 0, max: 1000}\n"
		   "  - {id: e, type: text, text: E}\n");
	(void)snprintf(path, sizeof path, "%s/c.yaml", folder);
	if (config_load(path, NULL, 0, &config, &errors) != OK) fail_msg("%s", errors);
	arena_init(&arena, 4096, 0);
	buf_init(&text, 1 << 16);
	buf_init(&out, 1 << 20);
	*state = folder;
	return json_reader_new(&reader.json);
}

static int teardown(void **state)
{
	char command[300];
	json_reader_free(reader.json);
	buf_fini(&out);
	buf_fini(&text);
	arena_fini(&arena);
	config_unref(config);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", (const char *)*state);
	return system(command);
}

static struct answer_found found(const char *question, const char *value, uint32_t version, int64_t at)
{
	return (struct answer_found){
	    .trait = STR("t"), .question = str_from(question), .value = str_from(value), .version = version, .at = at};
}

static void add(struct tally *tally, struct answer_found answer)
{
	assert_int_equal(tally_add(tally, &reader, &answer, 1), OK);
}

static const char *written(const struct tally *tally)
{
	struct json_out json;
	buf_clear(&out);
	json_out_init(&json, &out);
	jo_object(&json);
	tally_write(&json, tally);
	jo_end_object(&json);
	assert_int_equal(json.status, OK);
	assert_int_equal(buf_putc(&out, '\0'), OK);
	return buf_ptr(&out);
}

static void shows(const struct tally *tally, const char *part)
{
	if (!strstr(written(tally), part)) fail_msg("no %s in\n%s", part, written(tally));
}

static void answers_find_their_options(void **state)
{
	struct tally tally;
	(void)state;
	assert_int_equal(tally_init(&tally, config_form(config, STR("f")), &arena), OK);
	static const char *const values[] = {"\"x\"", "1", "1.0", "true", "\"true\"", "\"gone\"", "[\"x\"]"};
	for (size_t i = 0; i < COUNT_OF(values); i++) add(&tally, found("a", values[i], 3, 1));
	shows(&tally, "\"respondents\":7,\"questions\":[{\"id\":\"a\",\"type\":\"single\",\"answered\":7,\"refused\":0,"
		      "\"options\":[{\"value\":\"x\",\"count\":2},{\"value\":1,\"count\":2},{\"value\":true,\"count\":"
		      "1}],\"other\":2}");
	add(&tally, found("b", "[\"y\",\"x\",\"z\"]", 3, 1));
	add(&tally, found("b", "[]", 3, 1));
	shows(&tally, "\"answered\":2,\"refused\":0,\"options\":[{\"value\":\"x\",\"count\":1},{\"value\":\"y\","
		      "\"count\":1}],\"other\":1}");
	add(&tally, found("e", "\"secret\"", 3, 1));
	assert_null(strstr(written(&tally), "secret"));
}

static void numbers_find_their_bins(void **state)
{
	struct tally tally;
	(void)state;
	assert_int_equal(tally_init(&tally, config_form(config, STR("f")), &arena), OK);
	static const char *const values[] = {"-1", "-0.5", "1", "1", "7", "-7"};
	for (size_t i = 0; i < COUNT_OF(values); i++) add(&tally, found("c", values[i], 3, 1));
	shows(&tally,
	      "\"mean\":0.08333333333333333,\"histogram\":[{\"value\":-1,\"count\":1},{\"value\":-0.5,\"count\":1},"
	      "{\"value\":0,\"count\":0},{\"value\":0.5,\"count\":0},{\"value\":1,\"count\":2}],\"other\":2}");
	/* 1,001 steps in 101 bins of at most ten. */
	add(&tally, found("d", "0", 3, 1));
	add(&tally, found("d", "9", 3, 1));
	add(&tally, found("d", "10", 3, 1));
	add(&tally, found("d", "1000", 3, 1));
	shows(&tally, "\"histogram\":[{\"value\":0,\"to\":9,\"count\":2},{\"value\":10,\"to\":19,\"count\":1}");
	shows(&tally, "{\"value\":1000,\"to\":1000,\"count\":1}],\"other\":0}");
}

static void the_newest_answer_of_a_person_counts_once(void **state)
{
	struct tally tally;
	(void)state;
	assert_int_equal(tally_init(&tally, config_form(config, STR("f")), &arena), OK);
	struct answer_found answers[] = {found("a", "\"x\"", 2, 5), found("a", "true", 3, 9), found("gone", "1", 1, 1),
					 found("b", "true", 3, 4), found("", "7", 3, 4)};
	answers[3].trait = STR("t.refused");
	assert_int_equal(tally_add(&tally, &reader, answers, COUNT_OF(answers)), OK);
	shows(&tally, "{\"value\":\"x\",\"count\":0},{\"value\":1,\"count\":0},{\"value\":true,\"count\":1}");
	shows(&tally, "{\"id\":\"b\",\"type\":\"multiple\",\"answered\":0,\"refused\":1,");
	shows(&tally, "\"versions\":[{\"version\":1,\"respondents\":1,");
	shows(&tally, "{\"version\":2,\"respondents\":1,");
	shows(&tally, "{\"version\":3,\"respondents\":1,");
}

static void parts_add_up_and_versions_have_an_end(void **state)
{
	struct tally whole, part;
	(void)state;
	assert_int_equal(tally_init(&whole, config_form(config, STR("f")), &arena), OK);
	for (uint32_t version = 1; version <= 2 * TALLY_VERSIONS_MAX; version++) {
		assert_int_equal(tally_init(&part, config_form(config, STR("f")), &arena), OK);
		add(&part, found("c", "1", version, 1));
		tally_clear(&part);
		add(&part, found("c", "0.5", version, 1));
		assert_int_equal(tally_merge(&whole, &part), OK);
	}
	shows(&whole, "{\"respondents\":64,");
	shows(&whole, "\"mean\":0.5,\"histogram\":[{\"value\":-1,\"count\":0},{\"value\":-0.5,\"count\":0},{\"value\":"
		      "0,\"count\":0},"
		      "{\"value\":0.5,\"count\":64}");
	shows(&whole, "{\"version\":32,");
	assert_null(strstr(written(&whole), "{\"version\":33,"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_find_their_options),
	    cmocka_unit_test(numbers_find_their_bins),
	    cmocka_unit_test(the_newest_answer_of_a_person_counts_once),
	    cmocka_unit_test(parts_add_up_and_versions_have_an_end),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
