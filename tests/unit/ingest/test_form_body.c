/* Fields of HTML forms: both encodings are read strictly, and become the JSON that the definition expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ingest/form_body.h"

static const char definitions[] = "forms:\n- name: f\n  questions:\n"
				  "  - {id: one, type: single, text: T, options: [a, 1, true, \"2\"]}\n"
				  "  - {id: many, type: multiple, text: T, options: [x, 7]}\n"
				  "  - {id: num, type: number, text: T}\n"
				  "  - {id: quiet, type: hours, text: T}\n"
				  "  - {id: text, type: text, text: T}\n";

static const struct config *config;

static int setup(void **state)
{
	char path[] = "/tmp/cdpd-fields-XXXXXX", *errors;
	(void)state;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, definitions, sizeof definitions - 1), sizeof definitions - 1);
	close(fd);
	if (config_load(path, NULL, 0, &config, &errors) != OK) fail_msg("%s", errors);
	unlink(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	config_unref(config);
	return 0;
}

/* The JSON, or NULL with *rc. */
static const char *read_fields(const char *type, struct str body, int *rc)
{
	static char text[65536];
	struct arena arena;
	struct buf out;
	struct form_field *fields;
	size_t count;
	arena_init(&arena, 4096, 0);
	buf_init(&out, sizeof text - 1);
	*rc = form_fields_parse(str_from(type), body, &arena, &fields, &count);
	if (*rc == OK) *rc = form_fields_write(&out, config_form(config, STR("f")), fields, count);
	text[0] = '\0';
	if (*rc == OK && out.len) memcpy(text, buf_ptr(&out), out.len), text[out.len] = '\0';
	buf_fini(&out);
	arena_fini(&arena);
	return *rc == OK ? text : NULL;
}

static void expect(const char *type, const char *body, const char *json)
{
	int rc;
	const char *text = read_fields(type, str_from(body), &rc);
	if (!text) fail_msg("%s: %d", body, rc);
	assert_string_equal(text, json);
}

static void refuse(const char *type, const char *body)
{
	int rc;
	(void)read_fields(type, str_from(body), &rc);
	if (rc != ERR_INVALID) fail_msg("%s: %d", body, rc);
}

#define URL   "application/x-www-form-urlencoded"
#define MULTI "multipart/form-data; boundary=\"b-1\""
#define REST  ",\"refused\":[],\"consents\":{}}"

static void fields_become_answers(void **state)
{
	(void)state;
	expect(URL, "", "{\"answers\":{}" REST);
	expect(URL, "one=a&num=4", "{\"answers\":{\"one\":\"a\",\"num\":4}" REST);
	expect(URL "; charset=utf-8", "one=1", "{\"answers\":{\"one\":1}" REST);
	expect(URL, "one=true", "{\"answers\":{\"one\":true}" REST);
	expect(URL, "one=2", "{\"answers\":{\"one\":\"2\"}" REST);
	expect(URL, "many=x&many=7&many=", "{\"answers\":{\"many\":[\"x\",7]}" REST);
	expect(URL, "num=abc&text=a%2Bb+c%26", "{\"answers\":{\"num\":\"abc\",\"text\":\"a+b c&\"}" REST);
	expect(URL, "quiet.from=22%3A00&quiet.to=07:00",
	       "{\"answers\":{\"quiet\":{\"from\":\"22:00\",\"to\":\"07:00\"}}" REST);
	expect(URL, "token=t&version=3&partial=on&responseId=r",
	       "{\"token\":\"t\",\"responseId\":\"r\",\"version\":3,\"partial\":true,\"answers\":{}" REST);
	expect(URL, "refused=num&consent.mail=on&consent.sms=",
	       "{\"answers\":{},\"refused\":[\"num\"],\"consents\":{\"mail\":true,\"sms\":false}}");
	expect(URL, "nun=4&__amp_form=x", "{\"answers\":{\"nun\":\"4\"}" REST);
	expect(URL, "&&=x&one", "{\"answers\":{}" REST);
	expect(MULTI,
	       "--b-1\r\ncontent-disposition: form-data; x=1; name=text\r\nContent-Type: "
	       "text/plain\r\n\r\nline\r\nline\r\n--b-1\r\n"
	       "Content-Disposition: form-data; name=\"one\"\r\n\r\na\r\n--b-1--\r\n",
	       "{\"answers\":{\"one\":\"a\",\"text\":\"line\\r\\nline\"}" REST);
	expect(MULTI, "--b-1--", "{\"answers\":{}" REST);
}

static void malformed_bodies_are_refused(void **state)
{
	(void)state;
	int rc;
	char *many = malloc(4 * 1000);
	assert_non_null(many);
	refuse("application/json", "{}");
	refuse("", "one=a");
	refuse(URL, "one=%zz");
	refuse(URL, "one=%ff");
	refuse("multipart/form-data", "--b-1--");
	refuse(MULTI, "");
	refuse(MULTI, "--b-1");
	refuse(MULTI, "--b-2--");
	refuse(MULTI, "--b-1\r\n\r\nno end");
	refuse(MULTI, "--b-1\r\nno empty line\r\n--b-1--");
	refuse(MULTI, "--b-1\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b-1--");
	refuse(MULTI, "--b-1\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--b-1--");
	for (size_t i = 0; i < 1000; i++) memcpy(many + 4 * i, "a=b&", 4);
	(void)read_fields(URL, str_of(many, 4000), &rc);
	assert_int_equal(rc, ERR_TOO_LARGE);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_become_answers),
	    cmocka_unit_test(malformed_bodies_are_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
