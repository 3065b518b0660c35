/* Forms as JSON: what YAML would have said, faults with their pointers, and when two mean the same. */
#include "config/config_file.h"
#include "config/stored_form.h"
#include "config/tree_json.h"

static const struct config *config;
static struct json_reader *reader;
static struct arena arena;
static struct buf text;

static int setup(void **state)
{
	(void)state;
	(void)config_folder_make("beside.yaml");
	config = config_loaded("consent: {purposes: [{name: mail, channels: [email]}]}\n");
	buf_init(&text, 1 << 20);
	arena_init(&arena, 4096, 0);
	return json_reader_new(&reader);
}

static int teardown(void **state)
{
	json_reader_free(reader);
	arena_fini(&arena);
	buf_fini(&text);
	config_unref(config);
	return config_folder_remove(state);
}

static struct json parsed(const char *json)
{
	struct json root;
	const char *why;
	buf_clear(&text);
	assert_ok(buf_append_str(&text, str_from(json)));
	if (json_parse(reader, buf_str(&text), &root, &why) != OK) fail_msg("%s: %s", json, why);
	return root;
}

static struct stored_form *made(const char *json, uint32_t version)
{
	const struct form_about about = {.name = STR("f"), .version = version, .changed_by = STR("t")};
	struct stored_form *form;
	struct form_fault *faults;
	size_t count;
	int rc = stored_form_make(config, &about, parsed(json), &arena, &form, &faults, &count);
	if (rc != OK) fail_msg("%s: %.*s", json, STR_ARG(faults[0].message));
	return form;
}

static void refused(const char *json, const char *pointer, const char *message)
{
	const struct form_about about = {.name = STR("f"), .version = 1, .changed_by = STR("t")};
	struct stored_form *form;
	struct form_fault *faults;
	size_t count;
	assert_int_equal(stored_form_make(config, &about, parsed(json), &arena, &form, &faults, &count), ERR_INVALID);
	assert_null(form);
	assert_true(count >= 1);
	assert_str(faults[0].pointer, pointer);
	if (!strstr(faults[0].message.ptr, message)) fail_msg("%s", faults[0].message.ptr);
}

static void it_is_what_yaml_says(void **state)
{
	(void)state;
	const struct config *same = config_loaded(
	    "forms:\n- name: f\n  version: 4\n  questions:\n"
	    "  - {id: a, type: single, text: {en: A, fr: \"\\u00c4\"}, options: [1, \"1\", yes, true, 2.5], expires: "
	    "1d}\n"
	    "  - {id: b, type: scale, text: B, min: 0, max: 1, step: 0.1, when: {question: a, in: [1, yes]}}\n");
	struct stored_form *form =
	    made("{\"questions\":[{\"id\":\"a\",\"type\":\"single\",\"text\":{\"en\":\"A\",\"fr\":\"\\u00c4\"},"
		 "\"options\":[1,"
		 "\"1\",\"yes\",true,2.5],\"expires\":\"1d\",\"help\":null},{\"id\":\"b\",\"type\":\"scale\",\"text\":"
		 "\"B\","
		 "\"min\":0,\"max\":1,\"step\":0.1,\"when\":{\"question\":\"a\",\"in\":[1,\"yes\"]}}]}",
		 4);
	assert_str(form->form.fingerprint, config_form(same, STR("f"))->fingerprint.ptr);
	assert_str(form->form.json, config_form(same, STR("f"))->json.ptr);
	stored_form_unref(form);
	config_unref(same);
}

static void faults_have_pointers(void **state)
{
	(void)state;
	refused("[]", "", "must be an object");
	refused("{}", "", "questions");
	refused("{\"name\":\"g\",\"questions\":[]}", "/name", "another name");
	refused("{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"},{\"id\":\"b\",\"typ\":\"text\"}]}",
		"/questions/1/typ", "did you mean 'type'?");
	refused("{\"questions\":[{\"id\":\"a\",\"type\":\"number\",\"text\":\"A\",\"max_length\":\"7\"}]}",
		"/questions/0/max_length", "leave the quotes out");
	refused("{\"a~/b\":1,\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}]}", "/a~0~1b",
		"unknown key");
	refused("{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\",\"id\":\"b\"}]}", "/questions/0",
		"twice");
	refused("{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\\u0000\"}]}", "/questions/0/text", "NUL");
	refused("{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}],\"consents\":[{\"purpose\":\"spam\","
		"\"text\":\"T\"}]}",
		"", "'spam' is not one of consent.purposes");
	char deep[256] = "{\"questions\":";
	for (int i = 0; i < 40; i++) strcat(deep, "[");
	for (int i = 0; i < 40; i++) strcat(deep, "]");
	strcat(deep, "}");
	refused(deep, "/questions/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0", "nested too deeply");
}

static void versions_apart_they_mean_the_same(void **state)
{
	(void)state;
	static const char *const others[] = {
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"B\"}]}",
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\",\"expires\":\"1d\"}]}",
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}],\"results\":\"public\"}",
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}],\"accepts_since\":1}",
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}],\"kind\":\"poll\"}",
	    "{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}],\"consents\":[{\"purpose\":\"mail\","
	    "\"text\":\"T\"}]}"};
	struct stored_form *a = made("{\"questions\":[{\"id\":\"a\",\"type\":\"text\",\"text\":\"A\"}]}", 1);
	struct stored_form *b = made("{\"kind\":\"form\",\"version\":9,\"questions\":[{\"text\":\"A\",\"required\":"
				     "false,\"type\":\"text\",\"id\":\"a\"}]}",
				     2);
	assert_true(stored_form_equal(a, b));
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		struct stored_form *c = made(others[i], 1);
		if (stored_form_equal(a, c)) fail_msg("%s", others[i]);
		stored_form_unref(c);
	}
	assert_str(
	    b->definition,
	    "{\"kind\":\"form\",\"questions\":[{\"text\":\"A\",\"required\":false,\"type\":\"text\",\"id\":\"a\"}]}");
	stored_form_unref(b);
	stored_form_unref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_what_yaml_says),
	    cmocka_unit_test(faults_have_pointers),
	    cmocka_unit_test(versions_apart_they_mean_the_same),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
