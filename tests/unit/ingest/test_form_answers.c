/* Answers judged by definitions: every type takes what it should and says which question is wrong; parts add up with what is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ingest/form_answers.h"

static const char definitions[] = "forms:\n"
				  "- name: f\n"
				  "  version: 4\n"
				  "  accepts_since: 3\n"
				  "  questions:\n"
				  "  - {id: one, type: single, text: T, options: [a, 1, true, \"1\"], required: true}\n"
				  "  - {id: many, type: multiple, text: T, options: [x, y, z], max_choices: 2}\n"
				  "  - {id: scale, type: scale, text: T, min: 0, max: 1, step: 0.1}\n"
				  "  - {id: text, type: text, text: T, max_length: 5}\n"
				  "  - {id: day, type: date, text: T, min: 2000-01-01}\n"
				  "  - {id: num, type: number, text: T, max: 10}\n"
				  "  - {id: hours, type: hours, text: T}\n"
				  "  - {id: cond, type: text, text: T, required: true, when: [{question: many, is: y}, "
				  "{question: num, at_least: 5}]}\n"
				  "  consents:\n"
				  "  - {purpose: mail, text: T, required: true}\n"
				  "- name: q\n"
				  "  kind: quiz\n"
				  "  questions:\n"
				  "  - {id: a, type: single, text: T, options: [r, w], correct: [r], points: 3}\n"
				  "  - {id: b, type: multiple, text: T, options: [x, y, z], correct: [x, y]}\n"
				  "  - {id: c, type: scale, text: T, min: 1, max: 5, correct: 3}\n"
				  "  pass: {score: 4}\n"
				  "- name: p\n"
				  "  kind: preferences\n"
				  "  questions:\n"
				  "  - {id: a, type: single, text: T, options: [r, w]}\n";

static const struct config *config;
static struct json_reader *body_reader, *known_reader;
static struct arena arena;
static struct buf body_text, known_text;

static int setup(void **state)
{
	char path[] = "/tmp/cdpd-judge-XXXXXX", *errors;
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, definitions, sizeof definitions - 1), sizeof definitions - 1);
	close(fd);
	if (config_load(path, NULL, 0, &config, &errors) != OK) fail_msg("%s", errors);
	unlink(path);
	arena_init(&arena, 4096, 0);
	buf_init(&body_text, 65536);
	buf_init(&known_text, 65536);
	assert_int_equal(json_reader_new(&body_reader), OK);
	assert_int_equal(json_reader_new(&known_reader), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	json_reader_free(body_reader);
	json_reader_free(known_reader);
	buf_fini(&body_text);
	buf_fini(&known_text);
	arena_fini(&arena);
	config_unref(config);
	return 0;
}

static struct json parse(struct json_reader *reader, struct buf *buf, const char *text)
{
	struct json root;
	const char *why;
	buf_clear(buf);
	assert_int_equal(buf_append_str(buf, str_from(text)), OK);
	assert_int_equal(json_parse(reader, buf_str(buf), &root, &why), OK);
	return root;
}

/* body: {"answers","refused","consents","version","partial"}; known: {"answers","refused"} or NULL. */
static int judge(const char *form, const char *body, const char *known, struct form_response *response,
		 struct form_verdict *verdict)
{
	struct json root = parse(body_reader, &body_text, body), value;
	int64_t version = 0;
	*response = (struct form_response){.form = config_form(config, str_from(form))};
	response->has_answers = json_get(root, STR("answers"), &response->answers);
	response->has_refused = json_get(root, STR("refused"), &response->refused);
	response->has_consents = json_get(root, STR("consents"), &response->consents);
	if (json_get(root, STR("version"), &value)) assert_true(json_int(value, &version));
	response->version = (uint32_t)version;
	response->is_partial = json_get(root, STR("partial"), &value);
	if (known) {
		root = parse(known_reader, &known_text, known);
		response->has_known = true;
		assert_true(json_get(root, STR("answers"), &response->known));
		assert_true(json_get(root, STR("refused"), &response->known_refused));
	}
	return form_judge(response, &arena, verdict);
}

static void expect_fault(const char *form, const char *body, const char *known, const char *pointer, const char *text)
{
	struct form_response response;
	struct form_verdict verdict;
	assert_int_equal(judge(form, body, known, &response, &verdict), ERR_INVALID);
	if (!str_eq(verdict.pointer, str_from(pointer)) || !strstr(verdict.message.ptr, text))
		fail_msg("%s: %.*s %.*s", body, STR_ARG(verdict.pointer), STR_ARG(verdict.message));
}

static void every_type_takes_what_it_should(void **state)
{
	(void)state;
	static const char *const good[] = {
	    "{\"one\":\"a\"}",
	    "{\"one\":1}",
	    "{\"one\":1.0}",
	    "{\"one\":true}",
	    "{\"one\":\"1\"}",
	    "{\"many\":[]}",
	    "{\"many\":[\"z\",\"x\"]}",
	    "{\"scale\":0}",
	    "{\"scale\":0.3}",
	    "{\"scale\":1}",
	    "{\"text\":\"12345\"}",
	    "{\"day\":\"2000-01-01\"}",
	    "{\"day\":\"2024-02-29\"}",
	    "{\"num\":-1e9}",
	    "{\"num\":10}",
	    "{\"hours\":{\"from\":\"00:00\",\"to\":\"23:59\"}}",
	    "{\"text\":{\"refused\":true}}",
	};
	static const struct {
		const char *question, *value, *text;
	} bad[] = {
	    {"one", "\"b\"", "must be one of \"a\", 1, true, \"1\""},
	    {"one", "[\"a\"]", "must be one of"},
	    {"one", "{\"refused\":false}", "must be one of"},
	    {"many", "\"x\"", "must be a list"},
	    {"many", "[\"x\",\"x\"]", "twice"},
	    {"many", "[\"x\",\"y\",\"z\"]", "at most 2 options"},
	    {"many", "[\"x\",7]", "must be one of"},
	    {"many", "[[\"x\"]]", "must be one of"},
	    {"scale", "0.35", "between two steps"},
	    {"scale", "1.1", "a number from 0 to 1"},
	    {"scale", "\"1\"", "must be a number"},
	    {"text", "\"123456\"", "at most 5 bytes"},
	    {"text", "\"\\u00e9\\u00e9\\u00e9\"", "at most 5 bytes"},
	    {"text", "\"a\\u0000\"", "NUL"},
	    {"text", "12", "must be a text"},
	    {"day", "\"1999-12-31\"", "a date of at least 2000-01-01"},
	    {"day", "\"2001-02-29\"", "must be a date"},
	    {"day", "20000101", "must be a date"},
	    {"num", "10.5", "a number of at most 10"},
	    {"num", "true", "must be a number"},
	    {"hours", "{\"from\":\"24:00\",\"to\":\"07:00\"}", "must be hours"},
	    {"hours", "{\"from\":\"2:000\",\"to\":\"07:00\"}", "must be hours"},
	    {"hours", "{\"from\":\"22:00\"}", "must be hours"},
	    {"hours", "{\"from\":\"22:00\",\"to\":\"07:60\"}", "must be hours"},
	    {"hours", "{\"from\":\"22:00\",\"to\":\"07:00\",\"x\":1}", "must be hours"},
	    {"nun", "1", "there is no such question, did you mean 'num'?"},
	};
	char body[256], pointer[64];
	struct form_response response;
	struct form_verdict verdict;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		snprintf(body, sizeof body, "{\"partial\":true,\"answers\":%s}", good[i]);
		if (judge("f", body, NULL, &response, &verdict) != OK)
			fail_msg("%s: %.*s", body, STR_ARG(verdict.message));
		assert_int_equal(verdict.new_count, 1);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		snprintf(body, sizeof body, "{\"partial\":true,\"answers\":{\"%s\":%s}}", bad[i].question,
			 bad[i].value);
		snprintf(pointer, sizeof pointer, "/answers/%s", bad[i].question);
		expect_fault("f", body, NULL, pointer, bad[i].text);
	}
}

static void what_is_missing_or_too_much_is_named(void **state)
{
	(void)state;
	expect_fault("f", "{\"answers\":{},\"consents\":{\"mail\":true}}", NULL, "/answers/one",
		     "an answer is required");
	expect_fault("f", "{\"answers\":{\"one\":null}}", NULL, "/answers/one", "an answer is required");
	expect_fault("f", "{\"refused\":[\"one\"]}", NULL, "/answers/one", "cannot be refused");
	expect_fault("f", "{\"answers\":{\"one\":1}}", NULL, "/consents/mail", "is required");
	expect_fault("f", "{\"answers\":{\"one\":1},\"consents\":{\"mail\":false}}", NULL, "/consents/mail",
		     "is required");
	expect_fault("f", "{\"answers\":{\"one\":1},\"consents\":{\"male\":true}}", NULL, "/consents/male", "not ask");
	expect_fault("f", "{\"answers\":{\"one\":1},\"consents\":{\"mail\":1}}", NULL, "/consents/mail",
		     "true or false");
	expect_fault("f", "{\"partial\":true,\"answers\":{}}", NULL, "/answers", "there is no answer");
	expect_fault("f", "{\"partial\":true,\"answers\":{\"one\":null,\"text\":\"\"}}", NULL, "/answers",
		     "there is no answer");
	expect_fault("f", "{\"partial\":true,\"answers\":7}", NULL, "/answers", "must be an object");
	expect_fault("f", "{\"partial\":true,\"refused\":{}}", NULL, "/refused", "must be a list");
	expect_fault("f", "{\"partial\":true,\"refused\":[5]}", NULL, "/refused", "must be a list");
	expect_fault("f", "{\"partial\":true,\"refused\":[\"x\"]}", NULL, "/refused/x", "no such question");
	expect_fault("f", "{\"partial\":true,\"answers\":{\"text\":\"a\"},\"refused\":[\"text\"]}", NULL,
		     "/refused/text", "answered and refused");
	expect_fault("f", "{\"partial\":true,\"answers\":{\"text\":\"a\",\"text\":\"b\"}}", NULL, "/answers/text",
		     "twice");
	expect_fault("f", "{\"version\":2,\"answers\":{}}", NULL, "/version", "at version 4");
	expect_fault("f", "{\"version\":5,\"answers\":{}}", NULL, "/version", "at version 4");
}

static void conditions_look_at_this_and_at_what_is_known(void **state)
{
	(void)state;
	struct form_response response;
	struct form_verdict verdict;
	const char *known = "{\"answers\":{\"one\":\"a\",\"many\":[\"x\",\"y\"],\"num\":5},\"refused\":{}}";
	expect_fault("f", "{\"partial\":true,\"answers\":{\"cond\":\"c\"}}", NULL, "/answers/cond", "not asked");
	expect_fault("f", "{\"partial\":true,\"answers\":{\"cond\":\"c\",\"many\":[\"y\"],\"num\":4}}", NULL,
		     "/answers/cond", "not asked");
	expect_fault("f", "{\"answers\":{\"one\":1,\"many\":[\"y\"],\"num\":5},\"consents\":{\"mail\":true}}", NULL,
		     "/answers/cond", "required");
	assert_int_equal(judge("f", "{\"partial\":true,\"answers\":{\"cond\":\"c\"}}", known, &response, &verdict), OK);
	assert_true(verdict.is_complete && verdict.new_count == 1);
	/* What this response says lies over what is known. */
	expect_fault("f", "{\"partial\":true,\"answers\":{\"cond\":\"c\",\"num\":1}}", known, "/answers/cond",
		     "not asked");
	assert_int_equal(judge("f", "{\"partial\":true,\"answers\":{\"text\":\"t\"}}", known, &response, &verdict), OK);
	assert_false(verdict.is_complete);
	assert_false(verdict.has_result);
}

static const char *next_ids(const char *known, size_t max)
{
	static char text[256];
	size_t indexes[16], count, at = 0;
	const struct conf_form *form = config_form(config, STR("f"));
	struct json answers, refused, root = parse(known_reader, &known_text, known);
	assert_true(json_get(root, STR("answers"), &answers) && json_get(root, STR("refused"), &refused));
	assert_int_equal(form_next(form, &answers, &refused, &arena, max, indexes, &count), OK);
	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", at ? " " : "",
				       STR_ARG(form->questions[indexes[i]].id));
	return text;
}

static void what_is_asked_next(void **state)
{
	(void)state;
	assert_string_equal(next_ids("{\"answers\":{},\"refused\":{}}", 1), "one");
	assert_string_equal(next_ids("{\"answers\":{},\"refused\":{}}", 16), "one many scale text day num hours");
	assert_string_equal(
	    next_ids("{\"answers\":{\"one\":1,\"many\":[\"y\"],\"num\":7},\"refused\":{\"scale\":true}}", 16),
	    "text day hours cond");
	size_t count;
	size_t index;
	assert_int_equal(form_next(config_form(config, STR("p")), NULL, NULL, &arena, 1, &index, &count), OK);
	assert_int_equal(count, 1);
}

static void scores_and_passing(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		bool has_result;
		uint32_t score;
		bool is_passed;
	} cases[] = {
	    {"{\"answers\":{\"a\":\"r\",\"b\":[\"y\",\"x\"],\"c\":3}}", true, 5, true},
	    {"{\"answers\":{\"a\":\"r\",\"b\":[\"x\"],\"c\":3}}", true, 4, true},
	    {"{\"answers\":{\"a\":\"r\",\"b\":[\"x\",\"y\",\"z\"],\"c\":4}}", true, 3, false},
	    {"{\"answers\":{\"a\":\"w\"}}", true, 0, false},
	    {"{\"partial\":true,\"answers\":{\"a\":\"r\",\"b\":[\"x\",\"y\"]}}", false, 0, false},
	    {"{\"partial\":true,\"answers\":{\"a\":\"r\",\"b\":[\"x\",\"y\"]},\"refused\":[\"c\"]}", true, 4, true},
	};
	struct form_response response;
	struct form_verdict verdict;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_int_equal(judge("q", cases[i].body, NULL, &response, &verdict), OK);
		assert_int_equal(verdict.has_result, cases[i].has_result);
		assert_int_equal(verdict.score, cases[i].score);
		assert_int_equal(verdict.is_passed, cases[i].is_passed);
	}
}

static void the_event_says_what_was_told_and_where(void **state)
{
	(void)state;
	struct form_response response;
	struct form_verdict verdict;
	struct form_person person = {.user_id = STR("u"),
				     .anonymous_id = STR_NONE,
				     .token_id = STR_NONE,
				     .tells_consents = true,
				     .ref = STR("user_id:u")};
	struct buf text;
	buf_init(&text, 65536);
	assert_int_equal(judge("p", "{\"answers\":{\"a\":null}}", NULL, &response, &verdict), OK);
	assert_int_equal(form_write_message(&text, &response, &verdict, &person, STR("r"), STR_NONE), OK);
	assert_int_equal(buf_putc(&text, '\0'), OK);
	assert_string_equal(
	    buf_ptr(&text),
	    "{\"message\":{\"type\":\"track\",\"event\":\"Form "
	    "Answered\",\"messageId\":\"r\",\"userId\":\"u\",\"properties\":{"
	    "\"form\":\"p\",\"version\":1,\"kind\":\"preferences\",\"complete\":true,\"answers\":{\"a\":null},"
	    "\"refused\":[],\"provenance\":{\"p.a\":{\"question\":\"a\"}}},\"traits\":{\"p.a\":null}},\"consents\":[]"
	    "}");
	buf_clear(&text);
	assert_int_equal(judge("f", "{\"partial\":true,\"answers\":{\"one\":1.0},\"refused\":[\"day\"]}",
			       "{\"answers\":{\"text\":\"t\"},\"refused\":{}}", &response, &verdict),
			 OK);
	assert_int_equal(form_write_message(&text, &response, &verdict, &person, STR_NONE, STR_NONE), OK);
	assert_int_equal(buf_putc(&text, '\0'), OK);
	assert_non_null(strstr(buf_ptr(&text), "\"traits\":{\"f.one\":1,\"f.day.refused\":true}"));
	assert_null(strstr(buf_ptr(&text), "f.text"));
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_takes_what_it_should),
	    cmocka_unit_test(what_is_missing_or_too_much_is_named),
	    cmocka_unit_test(conditions_look_at_this_and_at_what_is_known),
	    cmocka_unit_test(what_is_asked_next),
	    cmocka_unit_test(scores_and_passing),
	    cmocka_unit_test(the_event_says_what_was_told_and_where),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
