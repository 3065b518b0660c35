/* What a source's plugin may ask of a request, and what of its answer is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plugin/decoding.h"
#include "plugin/internal.h"

static struct decoding decode;
static void (*body)(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply);
static int answer;

/* All three are one name. */
static int run_body(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out,
		    struct cdpd_reply *reply)
{
	(void)self;
	if (body) body((struct cdpd_request *)(uintptr_t)request, out, reply);
	return answer;
}

static const struct cdpd_plugin table = {
    .size = sizeof table, .name = "told", .caps = CDPD_CAP_SOURCE, .decode = run_body};

static void run(const char *query,
		void (*fn)(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply))
{
	static const struct decoding_header headers[] = {{STR("X-Told"), STR("so")}, {STR("x-empty"), STR("")}};
	struct cdpd_instance instance = {.magic = INSTANCE_MAGIC, .table = &table};
	const struct decoding_request request = {.method = STR("POST"),
						 .path = STR("/v1/hooks/shop"),
						 .query = str_from(query),
						 .body = STR("{}"),
						 .client_ip = STR("203.0.113.1"),
						 .received_us = 7,
						 .headers = headers,
						 .header_count = 2};
	assert_int_equal(decoding_begin(&decode, &request, 3, 100), OK);
	body = fn;
	decoding_run(&decode, &instance);
}

static int teardown(void **state)
{
	(void)state;
	decoding_fini(&decode);
	answer = 0;
	return 0;
}

static struct cdpd_str text(const char *from)
{
	return sdk_str(str_from(from));
}

static void assert_text(struct cdpd_str is, const char *wanted)
{
	if (!str_eq(core_str(is), str_from(wanted))) fail_msg("'%.*s' is not '%s'", (int)is.len, is.ptr, wanted);
}

static void ask(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	struct cdpd_request_info info = {.size = sizeof info};
	(void)out, (void)reply;
	assert_int_equal(decoding_sdk_info(request, &info), CDPD_OK);
	assert_text(info.method, "POST");
	assert_text(info.path, "/v1/hooks/shop");
	assert_text(info.body, "{}");
	assert_int_equal(info.received_us, 7);
	info.size = 8;
	assert_int_equal(decoding_sdk_info(request, &info), CDPD_ERR_INVALID);
	assert_text(decoding_sdk_header(request, "x-TOLD"), "so");
	assert_text(decoding_sdk_header(request, "x-empty"), "");
	assert_text(decoding_sdk_header(request, "absent"), "");
	assert_text(decoding_sdk_header(request, NULL), "");
	assert_text(decoding_sdk_param(request, "a"), "1 2");
	assert_text(decoding_sdk_param(request, "b"), "+&=");
	assert_text(decoding_sdk_param(request, "c d"), "first");
	assert_text(decoding_sdk_param(request, "flag"), "");
	assert_text(decoding_sdk_param(request, "broken"), "");
	assert_text(decoding_sdk_param(request, "behind"), "there");
	assert_text(decoding_sdk_param(request, "absent"), "");
	assert_text(decoding_sdk_param(request, NULL), "");
}

static void test_what_is_asked(void **state)
{
	(void)state;
	run("a=1+2&b=%2b%26%3D&c+d=first&c+d=second&flag&broken=%zz&&behind=there", ask);
	assert_int_equal(decode.error, CDPD_OK);
	assert_int_equal(decode.status, 200);
}

static void make_too_many(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	char excerpt[3000];
	(void)request, (void)reply;
	memset(excerpt, 'x', sizeof excerpt);
	assert_int_equal(decoding_sdk_event(out, text("")), CDPD_ERR_INVALID);
	assert_int_equal(decoding_sdk_event(out, text("{\"n\":1}")), CDPD_OK);
	assert_int_equal(decoding_sdk_reject(out, "no", (struct cdpd_str){excerpt, sizeof excerpt}),
			 CDPD_ERR_TOO_LARGE);
	assert_int_equal(decoding_sdk_reject(out, "no \xff", text("part")), CDPD_OK);
	assert_int_equal(decoding_sdk_event(out, text("{\"n\":2}")), CDPD_OK);
	assert_int_equal(decoding_sdk_event(out, text("{\"n\":3}")), CDPD_ERR_TOO_LARGE); /* the fourth */
}

static void test_events_are_bounded(void **state)
{
	(void)state;
	run("", make_too_many);
	assert_int_equal(decode.item_count, 3);
	assert_int_equal(decode.event_count, 2);
	assert_true(decode.items[1].is_reject);
	assert_int_equal(decode.items[1].reason.len, 0); /* no UTF-8 */
	assert_true(str_eq(decode.items[2].text, STR("{\"n\":2}")));
}

static void answer_all(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	static char large[DECODING_REPLY_MAX + 1];
	(void)request, (void)out;
	for (int status = 190; status < 610; status += 5)
		assert_int_equal(decoding_sdk_status(reply, status),
				 status < 200 || status > 599 ? CDPD_ERR_INVALID : CDPD_OK);
	assert_int_equal(decoding_sdk_status(reply, 202), CDPD_OK);
	static const char *const names[] = {"", "a b", "a:", "a\n", "\xc3\xa4"};
	for (size_t i = 0; i < COUNT_OF(names); i++)
		assert_int_equal(decoding_sdk_reply_header(reply, names[i], text("v")), CDPD_ERR_INVALID);
	assert_int_equal(decoding_sdk_reply_header(reply, "X-A", text("v\r\nX-B: w")), CDPD_ERR_INVALID);
	assert_int_equal(decoding_sdk_reply_header(reply, "X-A", (struct cdpd_str){"a\0b", 3}), CDPD_ERR_INVALID);
	assert_int_equal(decoding_sdk_reply_header(reply, "connection", text("close")), CDPD_ERR_DENIED);
	assert_int_equal(decoding_sdk_reply_header(reply, "Content-LENGTH", text("1")), CDPD_ERR_DENIED);
	assert_int_equal(decoding_sdk_reply_header(reply, "content-type", text("text/odd")), CDPD_OK);
	for (int i = 0; i < DECODING_HEADERS_MAX; i++)
		assert_int_equal(decoding_sdk_reply_header(reply, "X-A", text("a\tb")), CDPD_OK);
	assert_int_equal(decoding_sdk_reply_header(reply, "X-A", text("v")), CDPD_ERR_TOO_LARGE);
	assert_int_equal(decoding_sdk_reply_body(reply, (struct cdpd_str){large, sizeof large}), CDPD_ERR_TOO_LARGE);
	assert_int_equal(decoding_sdk_reply_body(reply, text("first")), CDPD_OK);
	assert_int_equal(decoding_sdk_reply_body(reply, text("ok")), CDPD_OK);
}

static void test_the_answer(void **state)
{
	(void)state;
	run("", answer_all);
	assert_int_equal(decode.status, 202);
	assert_int_equal(decode.header_count, DECODING_HEADERS_MAX);
	assert_true(str_eq(decode.content_type, STR("text/odd")));
	assert_true(str_eq(decode.body, STR("ok")));
}

static void *kept;
static void keep(struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	(void)out, (void)reply;
	kept = request;
	assert_ptr_equal(decoding_of(request), &decode);
}

static void test_what_is_kept_names_nothing(void **state)
{
	struct cdpd_request_info info = {.size = sizeof info};
	(void)state;
	run("a=1", keep);
	assert_null(decoding_of(kept));
	assert_int_equal(decoding_sdk_info(kept, &info), CDPD_ERR_INVALID);
	assert_text(decoding_sdk_param(kept, "a"), "");
	assert_int_equal(decoding_sdk_event(kept, text("{}")), CDPD_ERR_INVALID);
	assert_int_equal(decoding_sdk_status(kept, 200), CDPD_ERR_INVALID);
	assert_int_equal(decode.item_count, 0);
}

static void test_a_positive_answer_is_no_success(void **state)
{
	(void)state;
	answer = 7;
	run("", NULL);
	assert_int_equal(decode.error, CDPD_ERR_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_what_is_asked),
	    TEST(test_events_are_bounded),
	    TEST(test_the_answer),
	    TEST(test_what_is_kept_names_nothing),
	    TEST(test_a_positive_answer_is_no_success),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
