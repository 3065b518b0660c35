/* The webhook destination against a fake host: what it sends and in which order, and what answers make of the records. */
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "fake_async.h"
#include "shared/answer.h"
#include "shared/writer.h"
#include "webhook/body.h"
#include "webhook/signature.h"

static struct cdpd_instance fake;
static int64_t shift_ms; /* that the clock has jumped ahead */

/* The plugin's clock too. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *out);
int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);
	out->tv_sec += shift_ms / 1000;
	return rc;
}

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

/* ── writing ─────────────────────────────────────────────────────────────── */

static void assert_written(struct writer *writer, const char *expected)
{
	struct cdpd_str text = writer_get(writer);
	assert_int_equal(text.len, strlen(expected));
	assert_memory_equal(text.ptr, expected, text.len);
	writer_clear(writer);
}

static void test_writer(void **state)
{
	struct writer writer = {0};
	(void)state;
	assert_written(&writer, "");
	writer_json(&writer, (struct cdpd_str){"a\"\\\n\t\x01\x00z\x7fü", 11});
	assert_written(&writer, "\"a\\\"\\\\\\n\\t\\u0001\\u0000z\x7fü\"");
	writer_form(&writer, str("a b+c/ü~-._&="));
	assert_written(&writer, "a%20b%2Bc%2F%C3%BC~-._%26%3D");
	const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	for (size_t i = 0; i < 7; i++) {
		writer_base64(&writer, str(plain[i]));
		assert_written(&writer, coded[i]);
	}
	for (int i = 0; i < 5000; i++) writer_text(&writer, "0123456789");
	assert_int_equal(writer_get(&writer).len, 50000);
	writer_free(&writer);
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static struct cdpd_http_response answered(int status, const char *body)
{
	return (struct cdpd_http_response){.size = sizeof(struct cdpd_http_response),
					   .status = status,
					   .retry_after_ms = -1,
					   .body = str(body),
					   .why = {"", 0}};
}

static void test_what_statuses_mean(void **state)
{
	static const struct {
		int status;
		enum answer kind;
	} rows[] = {
	    {200, ANSWER_TAKEN},   {204, ANSWER_TAKEN},   {299, ANSWER_TAKEN},   {301, ANSWER_WRONG},
	    {304, ANSWER_WRONG},   {308, ANSWER_WRONG},   {400, ANSWER_REFUSED}, {401, ANSWER_WRONG},
	    {402, ANSWER_WRONG},   {403, ANSWER_WRONG},   {404, ANSWER_WRONG},   {407, ANSWER_WRONG},
	    {408, ANSWER_LATER},   {409, ANSWER_REFUSED}, {410, ANSWER_WRONG},   {413, ANSWER_REFUSED},
	    {415, ANSWER_WRONG},   {422, ANSWER_REFUSED}, {425, ANSWER_LATER},   {429, ANSWER_DOWN},
	    {451, ANSWER_REFUSED}, {500, ANSWER_LATER},   {502, ANSWER_LATER},   {503, ANSWER_DOWN},
	    {504, ANSWER_LATER},   {599, ANSWER_LATER},   {101, ANSWER_WRONG},   {600, ANSWER_WRONG},
	    {999, ANSWER_WRONG},   {0, ANSWER_WRONG},
	};
	struct answer_rules rules = {.kinds = {0}};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cdpd_http_response response = answered(rows[i].status, "");
		if (answer_kind(&rules, &response) != rows[i].kind) fail_msg("HTTP %d", rows[i].status);
	}
	struct cdpd_http_response broken = answered(0, "");
	broken.error = CDPD_ERR_IO;
	assert_int_equal(answer_kind(&rules, &broken), ANSWER_DOWN);
	broken.error = CDPD_ERR_TIMEOUT;
	assert_int_equal(answer_kind(&rules, &broken), ANSWER_LATER);
	broken.error = CDPD_ERR_DENIED;
	assert_int_equal(answer_kind(&rules, &broken), ANSWER_WRONG);
}

static void test_rules_of_ones_own(void **state)
{
	struct answer_rules rules = {.kinds = {0}};
	(void)state;
	assert_null(answer_rules_add(&rules, str("4xx"), ANSWER_LATER));
	assert_null(answer_rules_add(&rules, str("409"), ANSWER_TAKEN));
	assert_null(answer_rules_add(&rules, str("500-503"), ANSWER_REFUSED));
	static const struct {
		int status;
		enum answer kind;
	} rows[] = {{400, ANSWER_LATER},   {499, ANSWER_LATER},   {409, ANSWER_TAKEN},
		    {500, ANSWER_REFUSED}, {503, ANSWER_REFUSED}, {504, ANSWER_LATER}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct cdpd_http_response response = answered(rows[i].status, "");
		if (answer_kind(&rules, &response) != rows[i].kind) fail_msg("HTTP %d", rows[i].status);
	}
	const char *const bad[] = {"",    "4",   "40",   "4x",      "xx4",     "6xx",     "1xx",
				   "099", "600", "4040", "500-499", "500-600", "500 503", "a00"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!answer_rules_add(&rules, str(bad[i]), ANSWER_TAKEN)) fail_msg("'%s' was taken", bad[i]);
}

static void assert_told(const struct cdpd_http_response *response, const char *expected)
{
	char text[ANSWER_TEXT_SIZE];
	memset(text, 'x', sizeof text);
	answer_tell(response, text);
	assert_string_equal(text, expected);
}

static void test_telling(void **state)
{
	char text[ANSWER_TEXT_SIZE], many[400];
	(void)state;
	struct cdpd_http_response response = answered(422, " {\n\t\"error\":  \"no\x01 \xc3\xbc \xc3\xff\"\r\n}\n");
	assert_told(&response, "HTTP 422: { \"error\": \"no ü ??\" } ");
	response = answered(500, "");
	assert_told(&response, "HTTP 500");
	response = answered(401, "x");
	assert_told(&response, "HTTP 401, are the credentials right?: x");
	response = answered(0, "");
	response.error = CDPD_ERR_IO;
	assert_told(&response, "no connection, or it broke");
	response.why = str("Could not resolve host: a.invalid");
	assert_told(&response, "Could not resolve host: a.invalid");
	response.size = offsetof(struct cdpd_http_response, why); /* an older host */
	assert_told(&response, "no connection, or it broke");
	struct cdpd_http_header location = {str("location"), str("https://elsewhere.example/x")};
	response = answered(302, "moved");
	response.headers = &location;
	response.header_count = 1;
	answer_tell(&response, text);
	assert_non_null(strstr(text, "not followed"));
	assert_non_null(strstr(text, "https://elsewhere.example/x"));
	/* Cut between characters, within the bounds, whatever is in front. */
	for (size_t lead = 0; lead < 4; lead++) {
		memset(many, 'a', lead);
		for (size_t i = lead; i + 3 < sizeof many; i += 3) memcpy(many + i, "\xe2\x82\xac", 4);
		response = answered(400, many);
		answer_tell(&response, text);
		size_t len = strlen(text);
		assert_true(len <= sizeof "HTTP 400: " - 1 + ANSWER_EXCERPT && len > 140);
		assert_memory_equal(text + len - 3, "\xe2\x82\xac", 3);
	}
}

/* ── signatures ──────────────────────────────────────────────────────────── */

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

static void test_signature_of_the_published_example(void **state)
{
	struct signature_keys *keys;
	struct writer out = {0};
	(void)state;
	assert_null(signature_keys_new(str(SECRET "\n"), &keys));
	assert_true(signature_write(keys, str("msg_p5jXN8AQM9LWM0D4loKWxJek"), str("1614265330"),
				    str("{\"test\": 2432232314}"), &out));
	assert_written(&out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	signature_keys_free(keys);
	writer_free(&out);
}

static void test_several_keys_sign(void **state)
{
	struct signature_keys *keys;
	struct writer out = {0};
	unsigned char seed[32] = {7}, public[32], code[64];
	char text[300];
	size_t len = sizeof public;
	(void)state;
	struct writer coded = {0};
	writer_base64(&coded, (struct cdpd_str){(const char *)seed, sizeof seed});
	snprintf(text, sizeof text, SECRET " \n%s%.*s\n whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsk_",
		 (int)coded.len, coded.ptr);
	assert_null(signature_keys_new(str(text), &keys));
	assert_true(signature_write(keys, str("i"), str("1"), str("body"), &out));
	writer_put(&out, "", 1);
	char *second = strchr(out.ptr, ' ');
	assert_non_null(second);
	char *third = strchr(second + 1, ' ');
	assert_non_null(third);
	assert_memory_equal(out.ptr, "v1,", 3);
	assert_memory_equal(second + 1, "v1a,", 4);
	assert_memory_equal(third + 1, "v1,", 3);
	assert_int_equal(third - (second + 5), 88);
	assert_int_equal(EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)second + 5, 88), 66);
	memcpy(code, text, sizeof code);
	EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
	assert_int_equal(EVP_PKEY_get_raw_public_key(pair, public, &len), 1);
	EVP_PKEY *verifier = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, sizeof public);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(context, NULL, NULL, NULL, verifier), 1);
	assert_int_equal(EVP_DigestVerify(context, code, sizeof code, (const unsigned char *)"i.1.body", 8), 1);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pair);
	EVP_PKEY_free(verifier);
	signature_keys_free(keys);
	writer_free(&out);
	writer_free(&coded);
}

static void test_keys_that_are_none(void **state)
{
	const char *const bad[] = {"",
				   " \n",
				   "secret",
				   "whsec_",
				   "whsec_AAAA",
				   "whsec_****************************",
				   "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
				   SECRET " whatever"};
	struct signature_keys *keys;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (!signature_keys_new(str(bad[i]), &keys)) fail_msg("'%s' was taken", bad[i]);
		assert_null(keys);
	}
	char many[9 * 40 + 1] = "";
	for (int i = 0; i < 9; i++) strcat(many, SECRET " ");
	assert_non_null(signature_keys_new(str(many), &keys));
}

/* ── the plugin ──────────────────────────────────────────────────────────── */

#define URL "http://hook.example/in"

static struct cdpd_record records[FAKE_RECORDS_MAX];
static char texts[FAKE_RECORDS_MAX][4][64];

/* Record i of person `who`. */
static void put_record(size_t i, const char *who, const char *what)
{
	snprintf(texts[i][0], 64, "d%03zu", i);
	snprintf(texts[i][1], 64, "%s", who);
	snprintf(texts[i][2], 64, "{\"n\":%zu,\"what\":\"%s\"}", i, what);
	records[i] = (struct cdpd_record){
	    .size = sizeof records[i],
	    .kind = CDPD_RECORD_EVENT,
	    .position = str(texts[i][0]),
	    .delivery_id = str(texts[i][0]),
	    .message_id = str(texts[i][0]),
	    .profile_id = str(texts[i][1]),
	    .json = str(texts[i][2]),
	    .attempt = 1,
	};
}

static void put_people(size_t count, size_t people)
{
	char who[16];
	for (size_t i = 0; i < count; i++) {
		snprintf(who, sizeof who, "p%zu", i % people);
		put_record(i, who, "ok");
	}
}

#define BEGIN(...) \
	begin((const struct fake_option[]){{"url", URL}, __VA_ARGS__}, \
	      sizeof((const struct fake_option[]){{"url", URL}, __VA_ARGS__}) / sizeof(struct fake_option))
#define ONE(name, value) \
	{ \
		name, value \
	}

static void begin(const struct fake_option *options, size_t count)
{
	fake_async_begin();
	fake_open(&fake, "webhook");
	if (fake_create(&fake, options, count) != CDPD_OK) fail_msg("%s", fake.log);
}

static void end(void)
{
	fake_destroy(&fake);
	fake_close(&fake);
	fake_host = &fake_host_table;
}

/* Answers what waits as long as something waits; how: by the request's body. */
static size_t answered_until;
static size_t serve(int (*status_of)(const struct fake_request *request))
{
	size_t count = 0;
	for (; answered_until < fake_request_count; answered_until++, count++) {
		if (fake_requests[answered_until].is_answered) continue;
		fake_answer(answered_until, status_of(&fake_requests[answered_until]), "said so", -1);
	}
	return count;
}

static void hand_over(size_t count)
{
	answered_until = fake_request_count = 0;
	assert_int_equal(fake_export(&fake, records, count), CDPD_PENDING);
}

static int says_yes(const struct fake_request *request)
{
	(void)request;
	return 204;
}

static int refuses_poison(const struct fake_request *request)
{
	return strstr(request->body, "poison") ? 422 : 200;
}

static int fails_on_poison(const struct fake_request *request)
{
	return strstr(request->body, "poison") ? 500 : 200;
}

static int fails(const struct fake_request *request)
{
	(void)request;
	return 500;
}

static enum cdpd_verdict verdict(size_t i)
{
	const struct cdpd_receipt *receipt = &fake.receipt;
	return receipt->named[i].is_set ? receipt->named[i].verdict : receipt->all.verdict;
}

static void assert_all(size_t count, enum cdpd_verdict expected)
{
	assert_int_equal(fake.receipt.done_count, 1);
	for (size_t i = 0; i < count; i++)
		if (verdict(i) != expected) fail_msg("record %zu: %d", i, (int)verdict(i));
}

static void test_one_record_in_a_request(void **state)
{
	char at[24];
	(void)state;
	BEGIN(ONE("signing_secret", SECRET), ONE("headers", "X-Team: growth"));
	put_people(3, 3);
	hand_over(3);
	assert_int_equal(fake_request_count, 1); /* one at a time */
	assert_string_equal(fake_requests[0].url, URL);
	assert_string_equal(fake_requests[0].method, "POST");
	assert_string_equal(fake_requests[0].body, "{\"n\":0,\"what\":\"ok\"}");
	assert_string_equal(fake_header(0, "webhook-id"), "d000");
	assert_string_equal(fake_header(0, "content-type"), "application/json");
	assert_string_equal(fake_header(0, "x-team"), "growth");
	assert_null(fake_header(0, "authorization"));
	snprintf(at, sizeof at, "%s", fake_header(0, "webhook-timestamp"));
	struct signature_keys *keys;
	struct writer expected = {0};
	assert_null(signature_keys_new(str(SECRET), &keys));
	assert_true(signature_write(keys, str("d000"), str(at), str(fake_requests[0].body), &expected));
	assert_written(&expected, fake_header(0, "webhook-signature"));
	writer_free(&expected);
	signature_keys_free(keys);
	assert_int_equal(serve(says_yes), 3);
	assert_all(3, CDPD_ACK);
	assert_int_equal(fake_counted(&fake, "webhook_requests_total"), 3);
	end();
}

static void test_formats(void **state)
{
	(void)state;
	put_people(3, 1);
	BEGIN(ONE("mode", "batch"), ONE("max_records", "2"));
	hand_over(3);
	serve(says_yes);
	assert_string_equal(fake_requests[0].body, "[{\"n\":0,\"what\":\"ok\"},{\"n\":1,\"what\":\"ok\"}]");
	assert_string_equal(fake_requests[1].body, "[{\"n\":2,\"what\":\"ok\"}]");
	assert_all(3, CDPD_ACK);
	end();
	BEGIN(ONE("mode", "batch"), ONE("format", "ndjson"), ONE("ids", "true"), ONE("method", "PUT"));
	hand_over(2);
	serve(says_yes);
	assert_string_equal(fake_requests[0].method, "PUT");
	assert_string_equal(fake_header(0, "content-type"), "application/x-ndjson");
	assert_string_equal(
	    fake_requests[0].body,
	    "{\"n\":0,\"what\":\"ok\",\"deliveryId\":\"d000\",\"profileId\":\"p0\",\"position\":\"d000\"}\n"
	    "{\"n\":1,\"what\":\"ok\",\"deliveryId\":\"d001\",\"profileId\":\"p0\",\"position\":\"d001\"}\n");
	end();
	char expected[400];
	BEGIN(ONE("mode", "batch"), ONE("format", "json_object"),
	      ONE("headers", "Content-Type: application/vnd.x+json"));
	hand_over(1);
	serve(says_yes);
	assert_string_equal(fake_header(0, "content-type"), "application/vnd.x+json");
	snprintf(expected, sizeof expected,
		 "{\"id\":\"%s\",\"records\":[{\"deliveryId\":\"d000\",\"profileId\":\"p0\",\"position\":\"d000\","
		 "\"record\":{\"n\":0,\"what\":\"ok\"}}]}",
		 fake_header(0, "webhook-id"));
	assert_string_equal(fake_requests[0].body, expected);
	end();
}

static void test_bytes_are_bounded(void **state)
{
	(void)state;
	put_people(5, 1); /* 20 bytes each */
	BEGIN(ONE("mode", "batch"), ONE("max_bytes", "45"));
	hand_over(5);
	assert_int_equal(serve(says_yes), 3);
	end();
	BEGIN(ONE("mode", "batch"), ONE("max_bytes", "1")); /* a record that is larger goes alone */
	hand_over(5);
	assert_int_equal(serve(says_yes), 5);
	assert_all(5, CDPD_ACK);
	end();
}

static void test_the_id_of_a_batch_is_that_of_its_records(void **state)
{
	char first[64], second[64];
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("max_records", "2"));
	put_people(4, 2);
	hand_over(4);
	serve(fails);
	snprintf(first, sizeof first, "%s", fake_header(0, "webhook-id"));
	assert_all(4, CDPD_RETRY);
	hand_over(4);
	serve(says_yes);
	assert_string_equal(fake_header(0, "webhook-id"), first);
	snprintf(second, sizeof second, "%s", fake_header(1, "webhook-id"));
	assert_string_not_equal(first, second);
	put_record(1, "p1", "ok");
	texts[1][0][0] = 'e'; /* other records, another id */
	hand_over(2);
	serve(says_yes);
	assert_string_not_equal(fake_header(0, "webhook-id"), first);
	end();
}

static void test_gzip_from_a_size_on(void **state)
{
	char plain[4096];
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("gzip", "100"), ONE("signing_secret", SECRET));
	put_people(40, 4);
	hand_over(40);
	serve(says_yes);
	assert_string_equal(fake_header(0, "content-encoding"), "gzip");
	z_stream stream = {.next_in = (unsigned char *)fake_requests[0].body,
			   .avail_in = (unsigned)fake_requests[0].body_len,
			   .next_out = (unsigned char *)plain,
			   .avail_out = sizeof plain};
	assert_int_equal(inflateInit2(&stream, 31), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	plain[stream.total_out] = 0;
	inflateEnd(&stream);
	assert_memory_equal(plain, "[{\"n\":0,", 8);
	assert_non_null(strstr(plain, "{\"n\":39,\"what\":\"ok\"}]"));
	/* Signed is the text. */
	char at[24], id[64];
	struct signature_keys *keys;
	struct writer expected = {0};
	snprintf(at, sizeof at, "%s", fake_header(0, "webhook-timestamp"));
	snprintf(id, sizeof id, "%s", fake_header(0, "webhook-id"));
	assert_null(signature_keys_new(str(SECRET), &keys));
	assert_true(signature_write(keys, str(id), str(at), str(plain), &expected));
	assert_written(&expected, fake_header(0, "webhook-signature"));
	writer_free(&expected);
	signature_keys_free(keys);
	hand_over(2);
	serve(says_yes);
	assert_null(fake_header(0, "content-encoding")); /* too small to be worth it */
	end();
}

/* ── order ───────────────────────────────────────────────────────────────── */

/* Whatever waits at a time is of different people, and each person's records come in order. */
static void check_order(size_t count, size_t people, size_t concurrency)
{
	size_t last[16] = {0}, seen = 0, most = 0;
	put_people(count, people);
	hand_over(count);
	while (answered_until < fake_request_count) {
		size_t waiting = fake_request_count - answered_until;
		if (waiting > most) most = waiting;
		assert_true(waiting <= concurrency);
		bool is_busy[16] = {false};
		for (size_t i = answered_until; i < fake_request_count; i++) {
			size_t n = (size_t)atoi(fake_requests[i].body + 5);
			assert_false(is_busy[n % people]);
			is_busy[n % people] = true;
		}
		size_t n = (size_t)atoi(fake_requests[answered_until].body + 5);
		assert_true(n >= last[n % people]);
		last[n % people] = n;
		fake_answer(answered_until++, 200, "", -1);
		seen++;
	}
	assert_int_equal(seen, count);
	assert_int_equal(most, people < concurrency ? people : concurrency);
	assert_all(count, CDPD_ACK);
}

static void test_people_stay_in_order(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "4"));
	check_order(60, 1, 4);
	check_order(60, 3, 4);
	check_order(60, 10, 4);
	end();
}

static void test_batches_beside_each_other_share_nobody(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("concurrency", "4"), ONE("max_records", "10"));
	put_people(200, 16);
	hand_over(200);
	assert_true(fake_request_count >= 2 && fake_request_count <= 4);
	size_t lane_of[16], total = 0;
	for (size_t i = 0; i < 16; i++) lane_of[i] = SIZE_MAX;
	for (size_t i = 0; i < fake_request_count; i++) {
		for (const char *at = fake_requests[i].body; (at = strstr(at, "\"n\":")) != NULL; at++) {
			size_t person = (size_t)atoi(at + 4) % 16;
			assert_true(lane_of[person] == SIZE_MAX || lane_of[person] == i);
			lane_of[person] = i;
			total++;
		}
	}
	assert_true(total > 10);
	serve(says_yes);
	assert_all(200, CDPD_ACK);
	end();
}

/* ── failures ────────────────────────────────────────────────────────────── */

static void test_poison_is_found_and_told(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"));
	for (size_t poison = 0; poison < 100; poison += 9) {
		put_people(100, 7);
		put_record(poison, "p1", "poison");
		hand_over(100);
		size_t requests = serve(refuses_poison);
		assert_true(requests <= 16); /* halves, not one by one */
		for (size_t i = 0; i < 100; i++) assert_int_equal(verdict(i), i == poison ? CDPD_DROP : CDPD_ACK);
		assert_string_equal(fake.receipt.named[poison].reason, "HTTP 422: said so");
	}
	end();
}

static void test_all_poison_in_a_batch(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("max_records", "16"), ONE("concurrency", "2"));
	put_people(16, 3);
	for (size_t i = 0; i < 16; i += 5) put_record(i, "p1", "poison");
	hand_over(16);
	serve(refuses_poison);
	assert_int_equal(fake.receipt.done_count, 1);
	for (size_t i = 0; i < 16; i++) assert_int_equal(verdict(i), i % 5 == 0 ? CDPD_DROP : CDPD_ACK);
	end();
}

static int takes_ten(const struct fake_request *request)
{
	size_t count = 0;
	for (const char *at = request->body; (at = strstr(at, "\"n\":")) != NULL; at++) count++;
	return count > 10 ? 413 : 200;
}

static void test_too_large_a_batch_is_cut(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"));
	put_people(100, 5);
	hand_over(100);
	size_t requests = serve(takes_ten);
	assert_all(100, CDPD_ACK);
	assert_true(requests < 60);
	end();
}

static void test_a_failing_record_waits_alone(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "2"));
	put_people(9, 3);
	put_record(1, "p1", "poison");
	hand_over(9);
	serve(fails_on_poison);
	for (size_t i = 0; i < 9; i++) assert_int_equal(verdict(i), i % 3 == 1 ? CDPD_RETRY : CDPD_ACK);
	assert_string_equal(fake.receipt.named[1].reason, "HTTP 500: said so");
	assert_non_null(strstr(fake.receipt.named[4].reason, "earlier record"));
	assert_int_equal(fake_request_count, 7); /* those behind it were not sent */
	end();
}

static void test_when_everything_fails_it_is_the_endpoint(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "1"));
	put_people(60, 60);
	hand_over(60);
	assert_int_equal(serve(fails), 5);
	assert_all(60, CDPD_RETRY);
	assert_string_equal(fake.receipt.all.reason, "HTTP 500: said so");
	end();
}

static void test_a_failing_batch_is_cut_at_the_third_attempt(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("max_records", "32"));
	put_people(32, 32);
	put_record(20, "p20", "poison");
	for (uint32_t attempt = 1; attempt <= 2; attempt++) {
		for (size_t i = 0; i < 32; i++) records[i].attempt = attempt;
		hand_over(32);
		assert_int_equal(serve(fails_on_poison), 1);
		assert_all(32, CDPD_RETRY);
	}
	for (size_t i = 0; i < 32; i++) records[i].attempt = 3;
	hand_over(32);
	serve(fails_on_poison);
	assert_int_equal(fake.receipt.done_count, 1);
	for (size_t i = 0; i < 32; i++) assert_int_equal(verdict(i), i == 20 ? CDPD_RETRY : CDPD_ACK);
	end();
}

static void test_a_dead_endpoint_is_not_asked_for_every_record(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"), ONE("max_records", "128"));
	put_people(128, 128);
	for (size_t i = 0; i < 128; i++) records[i].attempt = 9;
	hand_over(128);
	for (size_t i = 0; i < fake_request_count; i++) fake_answer_error(i, CDPD_ERR_IO);
	assert_true(fake_request_count <= 7 + 5);
	assert_all(128, CDPD_RETRY);
	end();
}

static void test_retry_after_is_for_all(void **state)
{
	(void)state;
	const int statuses[] = {429, 503};
	for (size_t k = 0; k < 2; k++) {
		BEGIN(ONE("concurrency", "2"));
		put_people(6, 6);
		hand_over(6);
		fake_answer(0, 200, "", -1);
		fake_answer(1, statuses[k], "slow down", 7000);
		fake_answer(2, 200, "", -1); /* was under way */
		assert_int_equal(fake_request_count, 3);
		assert_int_equal(fake.receipt.done_count, 1);
		for (size_t i = 0; i < 6; i++) assert_int_equal(verdict(i), i == 0 || i == 2 ? CDPD_ACK : CDPD_RETRY);
		assert_int_equal(fake.receipt.all.retry_after_ms, 7000);
		assert_false(fake.receipt.named[1].is_set); /* it says nothing of the record */
		end();
	}
}

static void test_a_wrong_configuration_loses_nothing(void **state)
{
	(void)state;
	const int statuses[] = {301, 401, 403, 404, 407, 410};
	for (size_t k = 0; k < sizeof statuses / sizeof statuses[0]; k++) {
		BEGIN(ONE("mode", "batch"));
		put_people(6, 6);
		hand_over(6);
		fake_answer(0, statuses[k], "", -1);
		assert_int_equal(fake_request_count, 1);
		assert_all(6, CDPD_RETRY);
		assert_true(strlen(fake.receipt.all.reason) > 12);
		assert_int_equal(fake.receipt.all.retry_after_ms, statuses[k] == 410 ? ANSWER_GONE_MS : 0);
		end();
	}
}

static void test_statuses_as_configured(void **state)
{
	(void)state;
	BEGIN(ONE("ack_status", "409"), ONE("retry_status", "418"), ONE("drop_status", "500-502,404"));
	put_people(4, 4);
	hand_over(4);
	fake_answer(0, 409, "", -1);
	fake_answer(1, 418, "teapot", -1);
	fake_answer(2, 501, "never", -1);
	fake_answer(3, 404, "gone", -1);
	const enum cdpd_verdict expected[] = {CDPD_ACK, CDPD_RETRY, CDPD_DROP, CDPD_DROP};
	for (size_t i = 0; i < 4; i++) assert_int_equal(verdict(i), expected[i]);
	end();
}

static void test_a_host_that_takes_no_requests(void **state)
{
	(void)state;
	BEGIN(ONE("mode", "batch"));
	put_people(6, 6);
	fake_http_error = CDPD_ERR_BUSY;
	hand_over(6); /* answered before export_batch has returned */
	assert_all(6, CDPD_RETRY);
	fake_http_error = CDPD_OK;
	hand_over(6);
	serve(says_yes);
	assert_all(6, CDPD_ACK);
	end();
}

static void test_batches_at_a_time(void **state)
{
	static struct cdpd_receipt receipts[3];
	(void)state;
	BEGIN(ONE("concurrency", "2"));
	put_people(12, 12);
	fake_request_count = answered_until = 0;
	memset(receipts, 0, sizeof receipts);
	for (size_t i = 0; i < 3; i++) {
		const struct cdpd_batch batch = {records + 4 * i, 4};
		assert_int_equal(fake.plugin->export_batch(fake.self, &batch, &receipts[i]), CDPD_PENDING);
	}
	assert_int_equal(fake_request_count, 6); /* two of each */
	fake_answer(0, 429, "", 5000);
	fake_answer(1, 200, "", -1);
	fake_answer(2, 422, "", -1);
	serve(says_yes);
	assert_int_equal(fake_request_count, 6); /* "too many requests" is said to all of them */
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(receipts[i].done_count, 1);
		assert_int_equal(receipts[i].all.verdict, CDPD_RETRY);
		assert_int_equal(receipts[i].all.retry_after_ms, 5000);
		assert_int_equal(receipts[i].named[1].verdict, CDPD_ACK);
	}
	assert_int_equal(receipts[1].named[0].verdict, CDPD_DROP);
	assert_int_equal(receipts[2].named[0].verdict, CDPD_ACK);
	hand_over(12); /* with the memory of those */
	serve(says_yes);
	assert_all(12, CDPD_ACK);
	end();
}

/* The host waits for 30 s. */
static void test_a_batch_that_the_host_gave_up(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "1"));
	put_people(2, 2);
	hand_over(2);
	shift_ms += 31000;
	assert_int_equal(fake_export(&fake, records, 2), CDPD_RETRY); /* its requests may still arrive */
	assert_int_equal(fake_request_count, 1);
	serve(says_yes);
	hand_over(2);
	serve(says_yes);
	assert_all(2, CDPD_ACK);
	end();
}

static void test_an_endpoint_that_is_too_slow_for_a_batch(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "1"), ONE("timeout", "10s"));
	put_people(9, 9);
	hand_over(9);
	size_t answers = 0;
	for (; fake_request_count > answers; answers++) {
		assert_true(fake_requests[answers].timeout_ms <= 10000);
		shift_ms += 4000;
		fake_answer(answers, 200, "", -1);
	}
	assert_int_equal(fake.receipt.done_count, 1); /* in time, for the host counts all as unanswered otherwise */
	assert_true(answers >= 4 && answers <= 5);
	for (size_t i = 0; i < 9; i++) assert_int_equal(verdict(i), i < answers ? CDPD_ACK : CDPD_RETRY);
	end();
}

static void test_the_end_while_requests_are_under_way(void **state)
{
	(void)state;
	BEGIN(ONE("concurrency", "4"));
	put_people(20, 10);
	hand_over(20);
	assert_int_equal(fake_request_count, 4);
	fake_http_error = CDPD_ERR_INVALID; /* as the host does before destroy */
	for (size_t i = 0; i < 4; i++) fake_answer_error(i, CDPD_ERR_IO);
	assert_all(20, CDPD_RETRY);
	end();
}

/* ── credentials ─────────────────────────────────────────────────────────── */

static void test_bearer_and_basic(void **state)
{
	(void)state;
	put_people(1, 1);
	BEGIN(ONE("auth", "bearer"), ONE("token", "t0k\n"), ONE("secret_headers", "X-Key: k1\n\nX-Other:k2\r\n"));
	hand_over(1);
	assert_string_equal(fake_header(0, "authorization"), "Bearer t0k");
	assert_string_equal(fake_header(0, "x-key"), "k1");
	assert_string_equal(fake_header(0, "x-other"), "k2");
	fake_answer(0, 401, "", -1); /* nothing to ask anew */
	assert_int_equal(fake_request_count, 1);
	end();
	BEGIN(ONE("auth", "basic"), ONE("user", "Aladdin"), ONE("password", "open sesame\n"));
	hand_over(1);
	assert_string_equal(fake_header(0, "authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	serve(says_yes);
	end();
}

#define TOKEN_URL "https://login.example/token"
#define OAUTH2 \
	ONE("auth", "oauth2"), ONE("token_url", TOKEN_URL), ONE("client_id", "me:1"), \
	    ONE("client_secret", "s&cret\n"), ONE("concurrency", "4")

static void test_a_token_is_asked_for_once(void **state)
{
	(void)state;
	BEGIN(OAUTH2, ONE("scope", "a b"));
	put_people(8, 8);
	hand_over(8);
	assert_int_equal(fake_request_count, 1); /* four wait for it */
	assert_string_equal(fake_requests[0].url, TOKEN_URL);
	assert_string_equal(fake_requests[0].body, "grant_type=client_credentials&scope=a%20b");
	assert_string_equal(fake_header(0, "authorization"), "Basic bWUlM0ExOnMlMjZjcmV0");
	fake_answer(0, 200, "{\"access_token\":\"one\",\"expires_in\":3600,\"token_type\":\"bearer\"}", -1);
	assert_int_equal(fake_request_count, 5);
	for (size_t i = 1; i < 5; i++) assert_string_equal(fake_header(i, "authorization"), "Bearer one");
	answered_until = 1;
	serve(says_yes);
	assert_all(8, CDPD_ACK);
	hand_over(8); /* it is still good */
	assert_string_equal(fake_requests[0].url, URL);
	serve(says_yes);
	end();
}

static void test_a_refused_token_is_replaced_once(void **state)
{
	(void)state;
	BEGIN(OAUTH2, ONE("client_auth", "form"));
	put_people(3, 3);
	hand_over(3);
	assert_string_equal(fake_requests[0].body,
			    "grant_type=client_credentials&client_id=me%3A1&client_secret=s%26cret");
	fake_answer(0, 200, "{\"access_token\":\"one\"}", -1);
	assert_int_equal(fake_request_count, 4);
	for (size_t i = 1; i < 4; i++) fake_answer(i, 401, "", -1);
	assert_int_equal(fake_request_count, 5); /* one request for a token, though three were refused */
	assert_string_equal(fake_requests[4].url, TOKEN_URL);
	fake_answer(4, 200, "{\"access_token\":\"two\",\"expires_in\":\"3600\"}", -1);
	assert_int_equal(fake_request_count, 8);
	assert_string_equal(fake_header(5, "authorization"), "Bearer two");
	assert_string_equal(fake_requests[5].body, fake_requests[1].body);
	fake_answer(5, 200, "", -1);
	fake_answer(6, 401, "still no", -1); /* a second time: the configuration is wrong */
	fake_answer(7, 200, "", -1);
	assert_int_equal(fake_request_count, 8);
	assert_int_equal(verdict(0), CDPD_ACK);
	assert_int_equal(verdict(1), CDPD_RETRY);
	assert_int_equal(verdict(2), CDPD_ACK);
	assert_non_null(strstr(fake.receipt.all.reason, "HTTP 401"));
	end();
}

static void test_no_token(void **state)
{
	(void)state;
	const char *const bodies[] = {"{\"error\":\"invalid_client\",\"error_description\":\"who\\u0007?\"}",
				      "not json",
				      "{}",
				      "[1]",
				      "{\"access_token\":5}",
				      "{\"access_token\":\"a\\r\\nb\"}",
				      "{\"access_token\":\"\"}"};
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		BEGIN(OAUTH2);
		put_people(8, 8);
		hand_over(8);
		fake_answer(0, i ? 200 : 401, bodies[i], i ? -1 : 3000);
		assert_int_equal(fake_request_count, 1);
		assert_all(8, CDPD_RETRY);
		assert_non_null(strstr(fake.receipt.all.reason, "no access token"));
		if (i == 0) assert_non_null(strstr(fake.receipt.all.reason, "HTTP 401, invalid_client: who??"));
		if (i == 0) assert_int_equal(fake.receipt.all.retry_after_ms, 3000);
		hand_over(8);
		fake_answer_error(0, CDPD_ERR_TIMEOUT);
		assert_all(8, CDPD_RETRY);
		end();
	}
}

static void test_ids_stand_in_a_record_once(void **state)
{
	static const struct {
		const char *json, *becomes;
	} rows[] = {
	    {"{}", "{\"deliveryId\":\"d\",\"profileId\":\"p\",\"position\":\"at\"}"},
	    {"{\"a\":\"position\",\"b\":{\"position\":1}}", "{\"a\":\"position\",\"b\":{\"position\":1},"
							    "\"deliveryId\":\"d\",\"profileId\":\"p\","
							    "\"position\":\"at\"}"},
	    {"{\"x\\\"{\":[],\"position\":\"own\"}",
	     "{\"x\\\"{\":[],\"position\":\"own\",\"deliveryId\":\"d\",\"profileId\":\"p\"}"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct writer body = {0};
		const struct cdpd_record record = {.delivery_id = str("d"),
						   .message_id = str(""),
						   .profile_id = str("p"),
						   .position = str("at"),
						   .json = str(rows[i].json),
						   .other_id = str("")};
		body_add(&body, BODY_RECORD, true, &record);
		assert_written(&body, rows[i].becomes);
		writer_free(&body);
	}
}

/* The other side repeats what it was sent, as some do in their errors. */
static void test_secrets_are_not_told(void **state)
{
	(void)state;
	BEGIN(ONE("auth", "basic"), ONE("user", "u"), ONE("password", "s3cretword"),
	      ONE("secret_headers", "X-Key: s3cretkey\n"));
	put_people(1, 1);
	hand_over(1);
	fake_answer(0, 403, "you sent X-Key s3cretkey, Basic dTpzM2NyZXR3b3Jk, and s3cretword", -1);
	assert_non_null(strstr(fake.receipt.all.reason, "you sent X-Key ***, Basic ***, and ***"));
	hand_over(1);
	char body[200];
	memset(body, 'x', 144);
	memcpy(body + 144, "s3cretkey", 10); /* would be cut in its midst */
	fake_answer(0, 403, body, -1);
	assert_null(strstr(fake.receipt.all.reason, "s3c"));
	end();
	BEGIN(ONE("auth", "oauth2"), ONE("token_url", TOKEN_URL), ONE("client_id", "me"),
	      ONE("client_secret", "s3cretclient"), ONE("refresh_token", "s3cretfirst"));
	hand_over(1);
	fake_answer(0, 200, "{\"access_token\":\"s3cretaccess\",\"refresh_token\":\"s3cretsecond\"}", -1);
	fake_answer(1, 500, "no s3cretaccess, no s3cretsecond", -1);
	assert_non_null(strstr(fake.receipt.named[0].reason, "no ***, no ***"));
	hand_over(1);
	fake_answer(0, 401, "", -1);
	fake_answer(1, 400,
		    "{\"error\":\"invalid_grant\",\"error_description\":\"s3cretsecond of s3cretclient ended\"}", -1);
	assert_non_null(strstr(fake.receipt.all.reason, "invalid_grant: *** of *** ended"));
	end();
}

/* The one before it is used up, whatever else the answer says. */
static void test_a_refresh_token_is_kept_without_an_access_token(void **state)
{
	(void)state;
	BEGIN(ONE("auth", "oauth2"), ONE("token_url", TOKEN_URL), ONE("client_id", "me"),
	      ONE("refresh_token", "first"));
	put_people(1, 1);
	hand_over(1);
	fake_answer(0, 200, "{\"access_token\":\"a b\",\"refresh_token\":\"second\"}", -1);
	assert_all(1, CDPD_RETRY);
	hand_over(1);
	assert_non_null(strstr(fake_requests[0].body, "refresh_token=second"));
	fake_answer_error(0, CDPD_ERR_IO);
	end();
}

static void test_a_token_is_renewed_ahead_of_its_end(void **state)
{
	static const char one[] = "{\"access_token\":\"one\",\"expires_in\":600}",
			  two[] = "{\"access_token\":\"two\",\"expires_in\":600}";
	(void)state;
	BEGIN(OAUTH2);
	put_people(2, 2);
	hand_over(2);
	fake_answer(0, 200, one, -1);
	answered_until = 1;
	serve(says_yes);
	shift_ms += 545000;
	hand_over(2); /* a minute before its end: nobody waits for the new one */
	assert_int_equal(fake_request_count, 3);
	assert_string_equal(fake_requests[0].url, TOKEN_URL);
	assert_string_equal(fake_header(1, "authorization"), "Bearer one");
	fake_answer(0, 500, "", -1); /* and it is not needed yet */
	answered_until = 1;
	serve(says_yes);
	assert_all(2, CDPD_ACK);
	hand_over(2); /* nor is it asked for with every request */
	assert_int_equal(fake_request_count, 2);
	serve(says_yes);
	shift_ms += 10000;
	hand_over(2);
	fake_answer(0, 200, two, -1);
	answered_until = 1;
	serve(says_yes);
	hand_over(2);
	assert_string_equal(fake_header(0, "authorization"), "Bearer two");
	serve(says_yes);
	shift_ms += 700000;
	hand_over(2); /* it has ended: they wait */
	assert_int_equal(fake_request_count, 1);
	assert_string_equal(fake_requests[0].url, TOKEN_URL);
	fake_answer(0, 200, one, -1);
	answered_until = 1;
	serve(says_yes);
	assert_all(2, CDPD_ACK);
	end();
}

static void test_refresh_tokens_succeed_each_other_over_restarts(void **state)
{
	(void)state;
	const struct fake_option options[] = {{"url", URL},        {"auth", "oauth2"},      {"token_url", TOKEN_URL},
					      {"client_id", "me"}, {"client_auth", "json"}, {"refresh_token", "first"}};
	begin(options, 6);
	put_people(1, 1);
	hand_over(1);
	assert_string_equal(fake_requests[0].body,
			    "{\"grant_type\":\"refresh_token\",\"client_id\":\"me\",\"refresh_token\":\"first\"}");
	fake_answer(0, 200, "{\"access_token\":\"a1\",\"refresh_token\":\"second\",\"expires_in\":3600}", -1);
	serve(says_yes);
	fake_destroy(&fake);
	assert_int_equal(fake_create(&fake, options, 6), CDPD_OK);
	hand_over(1);
	assert_non_null(strstr(fake_requests[0].body, "\"refresh_token\":\"second\""));
	fake_answer_error(0, CDPD_ERR_IO);
	fake_destroy(&fake);
	const struct fake_option others[] = {{"url", URL},        {"auth", "oauth2"},      {"token_url", TOKEN_URL},
					     {"client_id", "me"}, {"client_auth", "json"}, {"refresh_token", "anew"}};
	assert_int_equal(fake_create(&fake, others, 6), CDPD_OK);
	hand_over(1);
	assert_non_null(
	    strstr(fake_requests[0].body, "\"refresh_token\":\"anew\"")); /* given, for the old line is broken */
	fake_answer_error(0, CDPD_ERR_IO);
	end();
}

static void test_a_token_that_ends_at_once(void **state)
{
	(void)state;
	BEGIN(OAUTH2);
	put_people(2, 2);
	hand_over(2);
	fake_answer(0, 200, "{\"access_token\":\"short\",\"expires_in\":0.0001}", -1);
	for (int round = 0; round < 20 && !fake.receipt.done_count; round++) {
		for (size_t i = 0; i < fake_request_count; i++) {
			if (fake_requests[i].is_answered) continue;
			bool is_token = strcmp(fake_requests[i].url, TOKEN_URL) == 0;
			fake_answer(i, 200, is_token ? "{\"access_token\":\"short\",\"expires_in\":0.0001}" : "", -1);
		}
	}
	assert_all(2, CDPD_ACK);
	end();
}

/* ── the configuration ───────────────────────────────────────────────────── */

static void test_options_that_are_refused(void **state)
{
	(void)state;
	static const struct {
		struct fake_option options[4];
		const char *text;
	} rows[] = {
	    {{{"url", "ftp://x"}}, "url: it begins with"},
	    {{{"url", "http://user:pw@x/"}}, "user and password"},
	    {{{"url", "http://x/a b"}}, "no spaces"},
	    {{{"url", URL}, {"format", "ndjson"}}, "mode: batch"},
	    {{{"url", URL}, {"signing_secret", "hello"}}, "signing_secret: keys begin"},
	    {{{"url", URL}, {"auth", "bearer"}}, "needs `token`"},
	    {{{"url", URL}, {"auth", "basic"}}, "needs `user`"},
	    {{{"url", URL}, {"auth", "basic"}, {"user", "a:b"}}, "no colon"},
	    {{{"url", URL}, {"auth", "oauth2"}, {"client_id", "x"}}, "token_url"},
	    {{{"url", URL}, {"auth", "oauth2"}, {"client_id", "x"}, {"token_url", "x"}}, "token_url: it begins"},
	    {{{"url", URL}, {"headers", "no colon"}}, "headers: "},
	    {{{"url", URL}, {"headers", "bad name: x"}}, "headers: "},
	    {{{"url", URL}, {"secret_headers", "X: a\x01"}}, "secret_headers: "},
	    {{{"url", URL}, {"drop_status", "4x"}}, "drop_status: "},
	    {{{"url", URL}, {"auth", "bearer"}, {"token", "a\nb"}}, "control characters"},
	};
	fake_async_begin();
	fake_open(&fake, "webhook");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t count = 0;
		while (count < 4 && rows[i].options[count].name) count++;
		assert_int_equal(fake_create(&fake, rows[i].options, count), CDPD_ERR_INVALID);
		if (!fake_has_logged(&fake, rows[i].text)) fail_msg("'%s' does not say '%s'", fake.log, rows[i].text);
	}
	fake_close(&fake);
	fake_host = &fake_host_table;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_writer),
	    cmocka_unit_test(test_what_statuses_mean),
	    cmocka_unit_test(test_rules_of_ones_own),
	    cmocka_unit_test(test_telling),
	    cmocka_unit_test(test_signature_of_the_published_example),
	    cmocka_unit_test(test_several_keys_sign),
	    cmocka_unit_test(test_keys_that_are_none),
	    cmocka_unit_test(test_one_record_in_a_request),
	    cmocka_unit_test(test_formats),
	    cmocka_unit_test(test_bytes_are_bounded),
	    cmocka_unit_test(test_the_id_of_a_batch_is_that_of_its_records),
	    cmocka_unit_test(test_gzip_from_a_size_on),
	    cmocka_unit_test(test_people_stay_in_order),
	    cmocka_unit_test(test_batches_beside_each_other_share_nobody),
	    cmocka_unit_test(test_poison_is_found_and_told),
	    cmocka_unit_test(test_all_poison_in_a_batch),
	    cmocka_unit_test(test_too_large_a_batch_is_cut),
	    cmocka_unit_test(test_a_failing_record_waits_alone),
	    cmocka_unit_test(test_when_everything_fails_it_is_the_endpoint),
	    cmocka_unit_test(test_a_failing_batch_is_cut_at_the_third_attempt),
	    cmocka_unit_test(test_a_dead_endpoint_is_not_asked_for_every_record),
	    cmocka_unit_test(test_retry_after_is_for_all),
	    cmocka_unit_test(test_a_wrong_configuration_loses_nothing),
	    cmocka_unit_test(test_statuses_as_configured),
	    cmocka_unit_test(test_a_host_that_takes_no_requests),
	    cmocka_unit_test(test_batches_at_a_time),
	    cmocka_unit_test(test_a_batch_that_the_host_gave_up),
	    cmocka_unit_test(test_an_endpoint_that_is_too_slow_for_a_batch),
	    cmocka_unit_test(test_the_end_while_requests_are_under_way),
	    cmocka_unit_test(test_bearer_and_basic),
	    cmocka_unit_test(test_a_token_is_asked_for_once),
	    cmocka_unit_test(test_a_refused_token_is_replaced_once),
	    cmocka_unit_test(test_no_token),
	    cmocka_unit_test(test_a_token_is_renewed_ahead_of_its_end),
	    cmocka_unit_test(test_refresh_tokens_succeed_each_other_over_restarts),
	    cmocka_unit_test(test_ids_stand_in_a_record_once),
	    cmocka_unit_test(test_secrets_are_not_told),
	    cmocka_unit_test(test_a_refresh_token_is_kept_without_an_access_token),
	    cmocka_unit_test(test_a_token_that_ends_at_once),
	    cmocka_unit_test(test_options_that_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
