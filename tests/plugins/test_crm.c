/* The crm destination against a fake host: what it asks of each CRM, and what their answers (of their documentation) make of the records. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crm/rate.h"
#include "fake_async.h"

#define ADA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BOB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	fake_async_begin();
	fake_open(&fake, "crm");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	return 0;
}

static void create(const char *provider, const char *more, const char *value)
{
	const struct fake_option options[] = {
	    {"provider", provider},
	    {"url", strcmp(provider, "hubspot") == 0 ? "" : "https://shop.amocrm.ru/"},
	    {"webhook", "https://shop.bitrix24.com/rest/1/s3cretwebhook/\n"},
	    {"token", "s3crettoken\n"},
	    {"requests_per_second", "1000"},
	    {more, value},
	};
	if (fake_create(&fake, options, more ? 6 : 5) != CDPD_OK) fail_msg("refused: %s", fake.log);
}

/* ── records and verdicts ────────────────────────────────────────────────── */

static struct cdpd_record record(const char *profile, const char *json)
{
	return (struct cdpd_record){
	    .size = sizeof(struct cdpd_record),
	    .kind = CDPD_RECORD_EVENT,
	    .position = {"p", 1},
	    .delivery_id = {"d", 1},
	    .message_id = {"m", 1},
	    .profile_id = {profile, strlen(profile)},
	    .json = {json, strlen(json)},
	    .other_id = {"", 0},
	};
}

static void export(const struct cdpd_record *records, size_t count)
{
	fake_request_count = 0;
	assert_int_equal(fake_export(&fake, records, count), CDPD_PENDING);
}

static void export_one(const char *profile, const char *json)
{
	const struct cdpd_record one = record(profile, json);
	export(&one, 1);
}

static enum cdpd_verdict verdict(size_t index)
{
	assert_int_equal(fake.receipt.done_count, 1);
	return fake.receipt.named[index].is_set ? fake.receipt.named[index].verdict : fake.receipt.all.verdict;
}

static void expect(size_t index, enum cdpd_verdict expected, const char *reason)
{
	assert_int_equal(verdict(index), expected);
	const struct fake_verdict *given =
	    fake.receipt.named[index].is_set ? &fake.receipt.named[index] : &fake.receipt.all;
	if (reason && !strstr(given->reason, reason)) fail_msg("'%s' does not hold '%s'", given->reason, reason);
	if (strstr(given->reason, "s3cret")) fail_msg("a secret is told: %s", given->reason);
}

/* The next request that is not answered yet; waits for its turn by the rate. */
static size_t next(const char *method, const char *url)
{
	for (int i = 0; i < 100000; i++) {
		size_t last = fake_request_count - 1;
		if (fake_request_count && !fake_requests[last].is_answered) {
			assert_string_equal(fake_requests[last].method, method);
			assert_string_equal(fake_requests[last].url, url);
			return last;
		}
		cdpd_timer_fn timer = fake.timer;
		if (!timer) fail_msg("nothing is asked");
		fake.timer = NULL;
		timer(fake.timer_ctx);
	}
	fail_msg("nothing is asked");
	return 0;
}

static void nothing_asked(void)
{
	assert_true(fake_request_count == 0 || fake_requests[fake_request_count - 1].is_answered);
	assert_int_equal(fake.receipt.done_count, 1);
}

static void assert_json(size_t request, const char *expected)
{
	json_t *is = json_loads(fake_requests[request].body, 0, NULL), *wanted = json_loads(expected, 0, NULL);
	assert_non_null(wanted);
	if (!json_equal(is, wanted)) fail_msg("%s\nis not\n%s", fake_requests[request].body, expected);
	json_decref(is);
	json_decref(wanted);
}

/* ── what a record may be ────────────────────────────────────────────────── */

static void test_the_shape_of_a_record(void **state)
{
	static const struct {
		const char *json, *reason;
	} rows[] = {
	    {"[]", "it is no JSON object"},
	    {"{", "it is no JSON object"},
	    {"{}", "neither `contact` nor `lead`"},
	    {"{\"type\":\"track\",\"event\":\"A\"}", "neither `contact` nor `lead`"},
	    {"{\"key\":{\"email\":\"a@b\"}}", "neither `contact` nor `lead`"},
	    {"{\"contact\":3}", "`contact` is no object"},
	    {"{\"contact\":{},\"key\":\"a@b\"}", "`key` is no object"},
	    {"{\"contact\":{},\"key\":{\"mail\":\"a@b\"}}", "unknown member 'key.mail'"},
	    {"{\"contact\":{},\"color\":1}", "unknown member 'color'"},
	    {"{\"contact\":{},\"lead\":{}}", "HubSpot: there are contacts only"},
	    {"{\"contact\":{\"a\":{\"b\":1}},\"key\":{\"email\":\"a@b\"}}", "HubSpot: properties are texts"},
	    {"{\"contact\":{\"a\":1}}", "`key.email` is not there"},
	};
	(void)state;
	create("hubspot", NULL, NULL);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		export_one(ADA, rows[i].json);
		expect(0, CDPD_DROP, rows[i].reason);
		nothing_asked();
	}
	char json[600];
	snprintf(json, sizeof json, "{\"contact\":{},\"key\":{\"email\":\"%0400d@b\"}}", 1);
	export_one(ADA, json);
	expect(0, CDPD_DROP, "key.email is too long");
}

static void test_what_needs_nobody(void **state)
{
	static const char *const jsons[] = {
	    "{\"type\":\"erased\",\"profileIds\":[\"" ADA "\",\"" BOB "\"]}",
	    "{\"type\":\"erased\"}",
	    "{\"type\":\"withdrawn\",\"purpose\":\"ads\",\"profileIds\":[\"" ADA "\"]}",
	    "{\"type\":\"profile\",\"id\":\"" ADA "\",\"gone\":\"split\"}",
	    "{\"type\":\"profile\",\"id\":\"" ADA "\",\"gone\":\"erased\"}",
	    "{\"type\":\"profile\",\"id\":\"" ADA "\",\"gone\":\"merged\",\"mergedInto\":\"" BOB "\"}",
	};
	(void)state;
	create("amocrm", "withdrawn_field", "77");
	for (size_t i = 0; i < sizeof jsons / sizeof jsons[0]; i++) {
		export_one(ADA, jsons[i]);
		expect(0, CDPD_ACK, NULL);
		nothing_asked();
	}
}

static void refuse(const char *provider, const char *option, const char *value, const char *why)
{
	const struct fake_option options[] = {{"provider", provider}, {option, value}};
	assert_int_equal(fake_create(&fake, options, 2), CDPD_ERR_INVALID);
	if (!fake_has_logged(&fake, why)) fail_msg("'%s' does not hold '%s'", fake.log, why);
}

static void test_options(void **state)
{
	(void)state;
	refuse("hubspot", "token", "\n", "hubspot needs `token`");
	refuse("hubspot", "url", "ftp://x", "begins with https://");
	refuse("hubspot", "url", "https://x?y", "no plain URL");
	refuse("bitrix24", "token", "x", "bitrix24 needs `webhook`");
	refuse("bitrix24", "webhook", "https://x.bitrix24.com/", "bitrix24 needs `webhook`");
	refuse("amocrm", "token", "x", "amocrm needs `url`");
	refuse("amocrm", "url", "https://x.amocrm.ru", "amocrm needs `token`");
	fake.self = NULL;
}

static void test_rate(void **state)
{
	struct rate rate;
	(void)state;
	rate_init(&rate, 9, 9, 0);
	int64_t now = 0, sent[200];
	for (size_t i = 0; i < 200; i++) {
		for (int64_t wait; (wait = rate_take(&rate, now)) > 0;) now += wait;
		sent[i] = now;
	}
	for (size_t i = 0; i + 100 < 200; i++) assert_true(sent[i + 100] - sent[i] > 10000); /* HubSpot's limit */
	rate_init(&rate, 6, 1, 0);
	now = 0;
	for (size_t i = 0; i < 100; i++) {
		for (int64_t wait; (wait = rate_take(&rate, now)) > 0;) now += wait;
		sent[i] = now;
	}
	for (size_t i = 0; i + 7 < 100; i++) assert_true(sent[i + 7] - sent[i] > 1000); /* amoCRM's */
	assert_int_equal(rate_take(&rate, now - 5000) > 0, 1); /* a clock that goes back gives nothing */
}

/* ── HubSpot ─────────────────────────────────────────────────────────────── */

#define HUBSPOT  "https://api.hubapi.com/crm/v3/objects/contacts"
#define ADA_JSON "{\"contact\":{\"firstname\":\"Ada\"},\"key\":{\"email\":\"Ada@B.example\"}}"
#define BOB_JSON \
	"{\"contact\":{\"firstname\":\"Bob\",\"age\":3.5,\"is_new\":false,\"x\":null},\"key\":{\"email\":\"bob@b." \
	"example\"}}"

static void make_ada(const char *id)
{
	char body[200];
	snprintf(body, sizeof body,
		 "{\"status\":\"COMPLETE\",\"results\":[{\"id\":\"%s\",\"new\":true,\"properties\":{\"email\":\"ada@b."
		 "example\"}}]}",
		 id);
	export_one(ADA, ADA_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 201, body, -1);
	expect(0, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), id);
}

static void test_hubspot_upserts_then_updates(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	const struct cdpd_record both[] = {record(ADA, ADA_JSON), record(BOB, BOB_JSON)};
	export(both, 2);
	size_t request = next("POST", HUBSPOT "/batch/upsert");
	assert_string_equal(fake_header(request, "Authorization"), "Bearer s3crettoken");
	assert_json(request, "{\"inputs\":[{\"id\":\"ada@b.example\",\"idProperty\":\"email\",\"objectWriteTraceId\":"
			     "\"0\",\"properties\":{\"email\":"
			     "\"ada@b.example\",\"firstname\":\"Ada\"}},{\"id\":\"bob@b.example\",\"idProperty\":"
			     "\"email\",\"objectWriteTraceId\":\"1\","
			     "\"properties\":{\"email\":\"bob@b.example\",\"firstname\":\"Bob\",\"age\":\"3.5\",\"is_"
			     "new\":\"false\",\"x\":\"\"}}]}");
	fake_answer(request, 200,
		    "{\"status\":\"COMPLETE\",\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"1\",\"new\":false},{"
		    "\"id\":\"51\",\"new\":true,"
		    "\"objectWriteTraceId\":\"0\"}]}",
		    -1);
	expect(0, CDPD_ACK, NULL);
	expect(1, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), "51");
	assert_string_equal(fake_kept("c/" BOB), "52");
	assert_int_equal(fake_counted(&fake, "crm_created_total"), 1);
	export_one(BOB, "{\"contact\":{\"firstname\":\"B\"}}");
	request = next("POST", HUBSPOT "/batch/update");
	assert_json(request,
		    "{\"inputs\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\",\"properties\":{\"firstname\":\"B\"}}]}");
	fake_answer(request, 200, "{\"results\":[{\"id\":\"52\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
}

static void test_records_of_one_person_are_one_request(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	const struct cdpd_record records[] = {
	    record(ADA, "{\"contact\":{\"a\":\"1\",\"b\":\"1\"},\"key\":{\"email\":\"a@b\"}}"),
	    record(
		BOB,
		"{\"contact\":{\"a\":\"2\"},\"key\":{\"email\":\"A@B\"}}"), /* another with the same address: behind her */
	    record(ADA, "{\"contact\":{\"b\":\"3\"},\"key\":{\"email\":\"a@b\"}}"),
	};
	export(records, 3);
	size_t request = next("POST", HUBSPOT "/batch/upsert");
	assert_json(request, "{\"inputs\":[{\"id\":\"a@b\",\"idProperty\":\"email\",\"objectWriteTraceId\":\"0\","
			     "\"properties\":{\"email\":\"a@b\",\"a\":"
			     "\"1\",\"b\":\"1\"}}]}");
	fake_answer(request, 200, "{\"results\":[{\"id\":\"5\",\"objectWriteTraceId\":\"0\"}]}", -1);
	request = next("POST", HUBSPOT "/batch/upsert");
	fake_answer(request, 200, "{\"results\":[{\"id\":\"5\",\"objectWriteTraceId\":\"0\"}]}", -1);
	request = next("POST", HUBSPOT "/batch/update");
	fake_answer(request, 200, "{\"results\":[{\"id\":\"5\"}]}", -1);
	for (size_t i = 0; i < 3; i++) expect(i, CDPD_ACK, NULL);
	/* neighbours of one person become one, the later values win, and share their fate */
	const struct cdpd_record again[] = {records[0], records[2], records[0]};
	export(again, 3);
	request = next("POST", HUBSPOT "/batch/update");
	assert_json(request, "{\"inputs\":[{\"id\":\"5\",\"objectWriteTraceId\":\"0\",\"properties\":{\"email\":\"a@"
			     "b\",\"a\":\"1\",\"b\":\"1\"}}]}");
	fake_answer(request, 400,
		    "{\"status\":\"error\",\"category\":\"VALIDATION_ERROR\",\"message\":\"b was not one of the "
		    "allowed options\"}",
		    -1);
	for (size_t i = 0; i < 3; i++) expect(i, CDPD_DROP, "HubSpot: b was not one of the allowed options");
}

static void test_hubspot_multi_status(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	char emails[5][80];
	static const char *const profiles[] = {"p0", "p1", "p2", "p3", "p4"};
	struct cdpd_record records[5];
	for (size_t i = 0; i < 5; i++) {
		snprintf(emails[i], sizeof emails[i], "{\"contact\":{},\"key\":{\"email\":\"u%zu@b\"}}", i);
		records[i] = record(profiles[i], emails[i]);
	}
	export(records, 5);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 207,
		    "{\"status\":\"COMPLETE\",\"results\":[{\"id\":\"60\",\"properties\":{\"email\":\"u0@b\"}}],"
		    "\"numErrors\":3,\"errors\":["
		    "{\"category\":\"VALIDATION_ERROR\",\"message\":\"Property values were not valid: "
		    "s3crettoken\",\"context\":{\"objectWriteTraceId\":[\"1\"]}},"
		    "{\"category\":\"RATE_LIMITS\",\"message\":\"slow down\",\"context\":{\"ids\":[\"u2@b\"]}},"
		    "{\"category\":\"CONFLICT\",\"message\":\"Contact already exists. Existing ID: "
		    "77\",\"context\":{\"objectWriteTraceId\":[\"3\",\"99\"]}}]}",
		    -1);
	/* the one of the conflict is updated; the one of whom nothing was said goes alone */
	size_t request = next("POST", HUBSPOT "/batch/update");
	assert_non_null(strstr(fake_requests[request].body, "\"id\":\"77\""));
	fake_answer(request, 200, "{\"results\":[{\"id\":\"77\"}]}", -1);
	request = next("POST", HUBSPOT "/batch/upsert");
	assert_non_null(strstr(fake_requests[request].body, "u4@b"));
	fake_answer(request, 200, "{\"results\":[]}", -1);
	expect(0, CDPD_ACK, NULL);
	expect(1, CDPD_DROP, "Property values were not valid: ***");
	expect(2, CDPD_RETRY, "slow down");
	expect(3, CDPD_ACK, NULL);
	expect(4, CDPD_RETRY, "says nothing of the contact");
	assert_string_equal(fake_kept("c/p3"), "77");
}

static void test_hubspot_a_bad_batch_is_halved(void **state)
{
	static char jsons[8][80], profiles[8][4];
	struct cdpd_record records[8];
	(void)state;
	create("hubspot", NULL, NULL);
	for (size_t i = 0; i < 8; i++) {
		snprintf(jsons[i], sizeof jsons[i], "{\"contact\":{},\"key\":{\"email\":\"u%zu@b\"}}", i);
		snprintf(profiles[i], sizeof profiles[i], "p%zu", i);
		records[i] = record(profiles[i], jsons[i]);
	}
	export(records, 8);
	unsigned requests = 0;
	while (!fake.receipt.done_count) {
		size_t request = next("POST", HUBSPOT "/batch/upsert");
		json_t *body = json_loads(fake_requests[request].body, 0, NULL), *results = json_array();
		const json_t *inputs = json_object_get(body, "inputs");
		bool is_bad = false;
		for (size_t i = 0; i < json_array_size(inputs); i++) {
			const char *id = json_string_value(json_object_get(json_array_get(inputs, i), "id"));
			is_bad |= strcmp(id, "u5@b") == 0;
			json_array_append_new(results,
					      json_pack("{s:s, s:{s:s}}", "id", "9", "properties", "email", id));
		}
		json_t *answer = is_bad ? json_pack("{s:s, s:s}", "category", "VALIDATION_ERROR", "message", "bad one")
					: json_pack("{s:O}", "results", results);
		char *text = json_dumps(answer, 0);
		fake_answer(request, is_bad ? 400 : 200, text, -1);
		free(text);
		json_decref(answer);
		json_decref(results);
		json_decref(body);
		assert_true(++requests < 20);
	}
	for (size_t i = 0; i < 8; i++) expect(i, i == 5 ? CDPD_DROP : CDPD_ACK, i == 5 ? "HubSpot: bad one" : NULL);
}

static void test_hubspot_what_holds_everything(void **state)
{
	static const struct {
		int status, seconds;
		const char *body, *reason;
	} rows[] = {
	    {401, 300, "{\"message\":\"Authentication credentials s3crettoken not found\"}",
	     "HubSpot: 401: Authentication credentials *** not found"},
	    {403, 300,
	     "{\"category\":\"MISSING_SCOPES\",\"message\":\"This app hasn't been granted all required scopes\"}",
	     "all required scopes"},
	    {429, 10, "{\"policyName\":\"TEN_SECONDLY_ROLLING\"}", "TEN_SECONDLY_ROLLING"},
	    {429, 1, "{\"policyName\":\"SECONDLY\"}", "SECONDLY"},
	    {500, 0, "<html>", "HubSpot: answers 500"},
	    {302, 0, "", "HubSpot: answers 302"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		create("hubspot", NULL, NULL);
		export_one(ADA, ADA_JSON);
		fake_answer(next("POST", HUBSPOT "/batch/upsert"), rows[i].status, rows[i].body, -1);
		expect(0, CDPD_RETRY, rows[i].reason);
		assert_int_equal(fake.receipt.all.retry_after_ms, rows[i].seconds * 1000);
		if (rows[i].seconds) { /* whatever comes meanwhile waits too, without a request */
			export_one(BOB, BOB_JSON);
			expect(0, CDPD_RETRY, rows[i].reason);
			nothing_asked();
			assert_true(fake.receipt.all.retry_after_ms <= rows[i].seconds * 1000);
		}
		fake_destroy(&fake);
	}
	create("hubspot", NULL, NULL);
	export_one(ADA, ADA_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 429, "{\"policyName\":\"DAILY\"}", 1000);
	expect(0, CDPD_RETRY, "DAILY");
	assert_true(fake.receipt.all.retry_after_ms > 1000 && fake.receipt.all.retry_after_ms <= 1805000);
	fake_destroy(&fake);
	create("hubspot", NULL, NULL);
	export_one(ADA, ADA_JSON);
	fake_answer_error(next("POST", HUBSPOT "/batch/upsert"), CDPD_ERR_TIMEOUT);
	expect(0, CDPD_RETRY, "no answer in time");
	fake_http_error = CDPD_ERR_BUSY;
	export_one(ADA, ADA_JSON);
	expect(0, CDPD_RETRY, "the request could not be made");
	fake_http_error = CDPD_OK;
	make_ada("51");
}

static void test_what_is_as_before_is_not_written_again(void **state)
{
	static const char ada_l[] = "{\"contact\":{\"firstname\":\"Ada L\"},\"key\":{\"email\":\"ada@b.example\"}}";
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(ADA, ADA_JSON);
	expect(0, CDPD_ACK, NULL);
	nothing_asked();
	assert_int_equal(fake_counted(&fake, "crm_unchanged_total"), 1);
	export_one(ADA, ada_l);
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
	export_one(ADA, ADA_JSON); /* back again is a change */
	fake_answer(next("POST", HUBSPOT "/batch/update"), 503, "", -1);
	expect(0, CDPD_RETRY, NULL);
	export_one(ADA, ADA_JSON); /* what was not written is not remembered */
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
	fake_destroy(&fake);
	create("hubspot", NULL, NULL);
	export_one(ADA, ADA_JSON); /* nor over a restart */
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
}

static void test_a_mark_does_not_outlast_what_is_mapped(void **state)
{
	static const char mapped[] = "{\"contact\":{\"no\":\"false\"},\"key\":{\"email\":\"ada@b.example\"}}";
	(void)state;
	create("hubspot", "withdrawn_field", "no");
	make_ada("51");
	export_one(ADA, mapped);
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	export_one("x", "{\"type\":\"withdrawn\",\"purpose\":\"ads\",\"profileIds\":[\"cccc\",\"" ADA "\"]}");
	size_t request = next("POST", HUBSPOT "/batch/update");
	assert_json(request,
		    "{\"inputs\":[{\"id\":\"51\",\"objectWriteTraceId\":\"0\",\"properties\":{\"no\":\"true\"}}]}");
	fake_answer(request, 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
	export_one(ADA, mapped);
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"51\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
	/* nobody is made for a notice */
	export_one("x", "{\"type\":\"withdrawn\",\"profileIds\":[\"" ADA "\"]}");
	fake_answer(next("POST", HUBSPOT "/batch/update"), 404, "{}", -1);
	expect(0, CDPD_ACK, NULL);
	nothing_asked();
}

static void test_hubspot_merges(void **state)
{
	static const char gone[] =
	    "{\"type\":\"profile\",\"id\":\"" BOB "\",\"gone\":\"merged\",\"mergedInto\":\"" ADA "\"}";
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(BOB, BOB_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 200,
		    "{\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\"}]}", -1);
	export_one(BOB, gone);
	size_t request = next("POST", HUBSPOT "/merge");
	assert_json(request, "{\"primaryObjectId\":\"51\",\"objectIdToMerge\":\"52\"}");
	fake_answer(request, 423, "{}", -1);
	expect(0, CDPD_RETRY, "locked");
	assert_string_equal(fake_kept("c/" BOB), "52");
	export_one(BOB, gone);
	fake_answer(next("POST", HUBSPOT "/merge"), 200, "{\"id\":\"90\"}", -1);
	expect(0, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), "90");
	assert_true(!fake_kept("c/" BOB) || !fake_kept("c/" BOB)[0]);
	/* she takes over the contact of one who is joined into her, if she has none */
	export_one("x", "{\"type\":\"profile\",\"id\":\"" ADA "\",\"gone\":\"merged\",\"mergedInto\":\"" BOB "\"}");
	export_one(ADA, "{\"type\":\"profile\",\"id\":\"" ADA "\",\"gone\":\"merged\",\"mergedInto\":\"" BOB "\"}");
	expect(0, CDPD_ACK, NULL);
	nothing_asked();
	assert_string_equal(fake_kept("c/" BOB), "90");
}

static void test_hubspot_a_merge_that_cannot_be(void **state)
{
	static const char gone[] =
	    "{\"type\":\"profile\",\"id\":\"" BOB "\",\"gone\":\"merged\",\"mergedInto\":\"" ADA "\"}";
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(BOB, BOB_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 200,
		    "{\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\"}]}", -1);
	export_one(BOB, gone);
	fake_answer(next("POST", HUBSPOT "/merge"), 414,
		    "{\"message\":\"Cannot have more than 250 identities on a profile\"}", -1);
	expect(0, CDPD_DROP, "contact 52 is not merged into 51: Cannot have more than 250");
	export_one(BOB, gone); /* it is settled: the map knows him no more */
	expect(0, CDPD_ACK, NULL);
	nothing_asked();
}

static void test_hubspot_the_former_contact_is_merged(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(BOB, BOB_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 200,
		    "{\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\"}]}", -1);
	/* Bob is told to be Ada first by the address, then as a merge */
	export_one(ADA, "{\"contact\":{\"email\":\"bob@b.example\"},\"key\":{\"email\":\"ada@b.example\"}}");
	fake_answer(next("POST", HUBSPOT "/batch/update"), 409,
		    "{\"category\":\"CONFLICT\",\"message\":\"Contact already exists. Existing ID: 52\"}", -1);
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"52\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
	export_one(BOB, "{\"type\":\"profile\",\"id\":\"" BOB "\",\"gone\":\"merged\",\"mergedInto\":\"" ADA "\"}");
	size_t request = next("POST", HUBSPOT "/merge");
	assert_json(request, "{\"primaryObjectId\":\"52\",\"objectIdToMerge\":\"51\"}");
	fake_answer(request, 200, "{\"id\":\"52\"}", -1);
	expect(0, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), "52");
}

static void test_hubspot_erases_all_that_a_person_had(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(BOB, BOB_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 200,
		    "{\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\"}]}", -1);
	static const char erased[] = "{\"type\":\"erased\",\"profileIds\":[\"" BOB "\",\"cccc\",\"" ADA "\"]}";
	export_one(BOB, erased);
	size_t request = next("POST", HUBSPOT "/gdpr-delete");
	assert_json(request, "{\"objectId\":\"52\"}");
	fake_answer(request, 204, "", -1);
	fake_answer(next("POST", HUBSPOT "/gdpr-delete"), 503, "", 7000);
	expect(0, CDPD_RETRY, "answers 503");
	fake_destroy(&fake);
	create("hubspot", NULL, NULL);
	export_one(BOB, erased);
	request = next("POST", HUBSPOT "/gdpr-delete");
	assert_json(request, "{\"objectId\":\"51\"}");
	fake_answer(request, 404, "{}", -1);
	expect(0, CDPD_ACK, NULL);
	assert_true(!fake_kept("c/" ADA) || !fake_kept("c/" ADA)[0]);
}

static void test_hubspot_erases_the_former_contact_too(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	make_ada("51");
	export_one(ADA, "{\"contact\":{\"email\":\"bob@b.example\"},\"key\":{\"email\":\"ada@b.example\"}}");
	fake_answer(next("POST", HUBSPOT "/batch/update"), 409,
		    "{\"category\":\"CONFLICT\",\"message\":\"Contact already exists. Existing ID: 52\"}", -1);
	fake_answer(next("POST", HUBSPOT "/batch/update"), 200, "{\"results\":[{\"id\":\"52\"}]}", -1);
	static const char erased[] = "{\"type\":\"erased\",\"profileIds\":[\"" ADA "\"]}";
	export_one(ADA, erased);
	size_t request = next("POST", HUBSPOT "/gdpr-delete");
	assert_json(request, "{\"objectId\":\"52\"}");
	fake_answer(request, 204, "", -1);
	fake_answer(next("POST", HUBSPOT "/gdpr-delete"), 503, "", -1);
	expect(0, CDPD_RETRY, "answers 503");
	fake_destroy(&fake);
	create("hubspot", NULL, NULL);
	export_one(ADA, erased);
	request = next("POST", HUBSPOT "/gdpr-delete");
	assert_json(request, "{\"objectId\":\"51\"}");
	fake_answer(request, 204, "", -1);
	expect(0, CDPD_ACK, NULL);
	nothing_asked();
	assert_false(fake_kept("c/" ADA) && fake_kept("c/" ADA)[0]);
	assert_false(fake_kept("f/" ADA) && fake_kept("f/" ADA)[0]);
}

static void test_hubspot_a_contact_that_is_gone_ends_no_mark(void **state)
{
	(void)state;
	create("hubspot", "withdrawn_field", "withdrawn");
	make_ada("51");
	export_one(BOB, BOB_JSON);
	fake_answer(next("POST", HUBSPOT "/batch/upsert"), 200,
		    "{\"results\":[{\"id\":\"52\",\"objectWriteTraceId\":\"0\"}]}", -1);
	export_one(ADA, "{\"type\":\"withdrawn\",\"profileIds\":[\"" ADA "\",\"" BOB "\"]}");
	fake_answer(next("POST", HUBSPOT "/batch/update"), 404, "{}", -1);
	size_t request = next("POST", HUBSPOT "/batch/update");
	assert_non_null(strstr(fake_requests[request].body, "\"52\""));
	fake_answer(request, 200, "{\"results\":[{\"id\":\"52\"}]}", -1);
	expect(0, CDPD_ACK, NULL);
}

/* ── Bitrix24 ────────────────────────────────────────────────────────────── */

#define BITRIX24 "https://shop.bitrix24.com/rest/1/s3cretwebhook"

static void test_bitrix24_finds_reads_and_writes(void **state)
{
	(void)state;
	create("bitrix24", NULL, NULL);
	export_one(ADA,
		   "{\"contact\":{\"NAME\":\"Ада & "
		   "co\",\"N\":3,\"B\":true,\"UF\":[\"x\",\"y\"]},\"key\":{\"email\":\"a@b\",\"phone\":\"+7 916\"}}");
	size_t request = next("POST", BITRIX24 "/batch");
	assert_null(fake_header(request, "Authorization"));
	assert_json(request,
		    "{\"halt\":0,\"cmd\":{\"E0\":\"crm.duplicate.findbycomm?entity_type=CONTACT&type=EMAIL&values%5B0%"
		    "5D=a%40b\","
		    "\"P0\":\"crm.duplicate.findbycomm?entity_type=CONTACT&type=PHONE&values%5B0%5D=%2B7%20916\"}}");
	fake_answer(request, 200,
		    "{\"result\":{\"result\":{\"E0\":[],\"P0\":{\"CONTACT\":[12,40]}},\"result_error\":[]}}", -1);
	request = next("POST", BITRIX24 "/batch");
	assert_json(request, "{\"halt\":0,\"cmd\":{\"R0\":\"crm.contact.get?id=12\"}}");
	fake_answer(request, 200,
		    "{\"result\":{\"result\":{\"R0\":{\"ID\":\"12\",\"PHONE\":[{\"ID\":\"7\",\"VALUE\":\"+7 "
		    "(916)\",\"VALUE_TYPE\":\"HOME\"}]}},\"result_error\":[]}}",
		    -1);
	request = next("POST", BITRIX24 "/batch");
	assert_json(request, "{\"halt\":0,\"cmd\":{\"U0\":\"crm.contact.update?id=12&fields%5BNAME%5D=%D0%90%D0%B4%D0%"
			     "B0%20%26%20co&fields%5BN%5D=3&fields%5BB%5D=1"
			     "&fields%5BUF%5D%5B0%5D=x&fields%5BUF%5D%5B1%5D=y&fields%5BEMAIL%5D%5B0%5D%5BVALUE%5D=a%"
			     "40b&fields%5BEMAIL%5D%5B0%5D%5BVALUE_TYPE%5D=WORK\"}}");
	fake_answer(request, 200, "{\"result\":{\"result\":{\"U0\":true},\"result_error\":[]}}", -1);
	expect(0, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), "12");
}

static void test_bitrix24_each_command_has_its_end(void **state)
{
	(void)state;
	create("bitrix24", NULL, NULL);
	static char jsons[5][80], profiles[5][4];
	struct cdpd_record records[5];
	for (size_t i = 0; i < 5; i++) {
		snprintf(jsons[i], sizeof jsons[i], "{\"contact\":{},\"key\":{\"email\":\"u%zu@b\"}}", i);
		snprintf(profiles[i], sizeof profiles[i], "p%zu", i);
		records[i] = record(profiles[i], jsons[i]);
	}
	export(records, 5);
	fake_answer(next("POST", BITRIX24 "/batch"), 200,
		    "{\"result\":{\"result\":{\"E0\":[],\"E1\":[],\"E2\":[],\"E4\":[]},\"result_error\":{\"E3\":{"
		    "\"error\":\"INTERNAL_SERVER_ERROR\",\"error_description\":\"x\"}}}}",
		    -1);
	fake_answer(next("POST", BITRIX24 "/batch"), 200,
		    "{\"result\":{\"result\":{\"A0\":101},\"result_error\":{\"A1\":{\"error\":\"ERROR_CORE\",\"error_"
		    "description\":\"wrong at s3cretwebhook\"},"
		    "\"A2\":{\"error\":\"\",\"error_description\":\"Access denied\"}}}}",
		    -1);
	expect(0, CDPD_ACK, NULL);
	expect(1, CDPD_DROP, "Bitrix24: wrong at ***");
	expect(2, CDPD_RETRY, "Access denied");
	expect(3, CDPD_RETRY, "x");
	expect(4, CDPD_RETRY, "says nothing of the command");
}

static void test_bitrix24_garbage_is_no_answer(void **state)
{
	static const char *const bodies[] = {"",
					     "[]",
					     "{}",
					     "{\"result\":[]}",
					     "{\"result\":{\"result\":[],\"result_error\":[]}}",
					     "{\"result\":{\"result\":{\"E0\":{\"CONTACT\":{}}},\"result_error\":7}}",
					     "{\"result\":{\"result\":{\"E0\":\"x\"},\"result_error\":[]}}"};
	(void)state;
	create("bitrix24", NULL, NULL);
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		export_one(ADA, "{\"contact\":{},\"key\":{\"email\":\"a@b\"}}");
		fake_answer(next("POST", BITRIX24 "/batch"), 200, bodies[i], -1);
		if (i == 5) { /* nobody has it */
			fake_answer(next("POST", BITRIX24 "/batch"), 200,
				    "{\"result\":{\"result\":{\"A0\":0},\"result_error\":[]}}", -1);
		}
		expect(0, CDPD_RETRY, NULL);
	}
}

/* ── amoCRM ──────────────────────────────────────────────────────────────── */

#define AMOCRM "https://shop.amocrm.ru/api/v4"

static void test_amocrm_looks_makes_and_updates(void **state)
{
	(void)state;
	create("amocrm", NULL, NULL);
	export_one(ADA,
		   "{\"contact\":{\"name\":\"Ada\"},\"key\":{\"email\":\"a+1@b\",\"phone\":\"8 (916) 123-45-67\"}}");
	fake_answer(next("GET", AMOCRM "/contacts?query=a%2B1%40b&limit=50&page=1"), 200,
		    "{\"_links\":{\"next\":{\"href\":\"https://evil.example/"
		    "?page=2\"}},\"_embedded\":{\"contacts\":[{\"id\":3,\"custom_fields_values\":[{\"field_code\":"
		    "\"EMAIL\",\"values\":[{\"value\":\"aa+1@b\"}]}]}]}}",
		    -1);
	fake_answer(next("GET", AMOCRM "/contacts?query=a%2B1%40b&limit=50&page=2"), 204, "", -1);
	fake_answer(next("GET", AMOCRM "/contacts?query=9161234567&limit=50&page=1"), 204, "", -1);
	size_t request = next("POST", AMOCRM "/contacts");
	assert_json(request, "[{\"name\":\"Ada\",\"request_id\":\"0\",\"custom_fields_values\":[{\"field_code\":"
			     "\"EMAIL\",\"values\":[{\"value\":\"a+1@b\",\"enum_code\":"
			     "\"WORK\"}]},{\"field_code\":\"PHONE\",\"values\":[{\"value\":\"8 (916) "
			     "123-45-67\",\"enum_code\":\"WORK\"}]}]}]");
	fake_answer(request, 200, "{\"_embedded\":{\"contacts\":[{\"id\":40401635,\"request_id\":\"0\"}]}}", -1);
	expect(0, CDPD_ACK, NULL);
	assert_string_equal(fake_kept("c/" ADA), "40401635");
	export_one(ADA, "{\"contact\":{\"name\":\"Ada L\"},\"key\":{\"email\":\"new@b\"}}");
	fake_answer(next("GET", AMOCRM "/contacts?limit=250&filter%5Bid%5D%5B%5D=40401635"), 200,
		    "{\"_embedded\":{\"contacts\":[{\"id\":40401635,\"custom_fields_values\":[{\"field_id\":7,\"field_"
		    "code\":\"EMAIL\",\"values\":[{\"value\":\"a+1@b\","
		    "\"enum_id\":1,\"enum_code\":\"WORK\"}]}]}]}}",
		    -1);
	request = next("PATCH", AMOCRM "/contacts");
	assert_json(
	    request,
	    "[{\"id\":40401635,\"name\":\"Ada "
	    "L\",\"request_id\":\"0\",\"custom_fields_values\":[{\"field_code\":\"EMAIL\",\"values\":[{\"value\":"
	    "\"a+1@b\",\"enum_code\":\"WORK\"},{\"value\":\"new@b\",\"enum_code\":\"WORK\"}]}]}]");
	fake_answer(request, 200,
		    "{\"_embedded\":{\"contacts\":[{\"id\":40401635,\"name\":\"Ada L\",\"updated_at\":1}]}}", -1);
	expect(0, CDPD_ACK, NULL);
}

static void test_amocrm_who_is_wrong_is_named(void **state)
{
	(void)state;
	create("amocrm", NULL, NULL);
	const struct cdpd_record records[] = {record("p0", "{\"contact\":{\"name\":\"0\"}}"),
					      record("p1", "{\"contact\":{\"name\":\"1\"}}"),
					      record("p2", "{\"contact\":{\"name\":\"2\"}}")};
	export(records, 3);
	fake_answer(next("POST", AMOCRM "/contacts"), 400,
		    "{\"validation-errors\":[{\"request_id\":\"1\",\"errors\":[{\"code\":\"NotSupportedChoice\","
		    "\"path\":\"custom_fields_values.0.field_id\",\"detail\":\"The "
		    "value you selected is not a valid choice.\"}]}],\"title\":\"Bad "
		    "Request\",\"type\":\"https://httpstatus.es/400\",\"status\":400,\"detail\":\"Request "
		    "validation failed\"}",
		    -1);
	size_t request = next("POST", AMOCRM "/contacts");
	assert_json(request, "[{\"name\":\"0\",\"request_id\":\"0\"},{\"name\":\"2\",\"request_id\":\"1\"}]");
	fake_answer(request, 200, "{\"_embedded\":{\"contacts\":[{\"id\":10,\"request_id\":\"0\"}]}}", -1);
	expect(0, CDPD_ACK, NULL);
	expect(1, CDPD_DROP,
	       "amoCRM: custom_fields_values.0.field_id: The value you selected is not a valid choice. "
	       "(NotSupportedChoice)");
	expect(2, CDPD_RETRY,
	       "says nothing of the contact"); /* it may have been made: it is looked for, never made again at once */
}

static void test_amocrm_what_cannot_be_read_makes_nobody(void **state)
{
	(void)state;
	create("amocrm", NULL, NULL);
	export_one(ADA, "{\"contact\":{\"name\":\"Ada\"},\"key\":{\"email\":\"a@b\"}}");
	fake_answer(next("GET", AMOCRM "/contacts?query=a%40b&limit=50&page=1"), 200, "<html>maintenance</html>", -1);
	expect(0, CDPD_RETRY, "amoCRM: 200 an answer that is no JSON");
	nothing_asked();
}

static void test_who_takes_over_an_address_waits_for_who_had_it(void **state)
{
	(void)state;
	create("amocrm", NULL, NULL);
	const struct cdpd_record records[] = {
	    record(ADA, "{\"contact\":{\"name\":\"Ada\"},\"key\":{\"email\":\"a@b\"}}"),
	    record(BOB, "{\"contact\":{\"name\":\"Bob\"},\"key\":{\"email\":\"x@b\"}}"),
	    record(ADA, "{\"contact\":{\"name\":\"Ada\"},\"key\":{\"email\":\"x@b\"}}")};
	export(records, 3);
	fake_answer(next("GET", AMOCRM "/contacts?query=a%40b&limit=50&page=1"), 204, "", -1);
	fake_answer(next("GET", AMOCRM "/contacts?query=x%40b&limit=50&page=1"), 204, "", -1);
	size_t request = next("POST", AMOCRM "/contacts");
	assert_null(strstr(strstr(fake_requests[request].body, "x@b") + 1, "x@b")); /* one of them, not two */
	fake_answer(request, 200,
		    "{\"_embedded\":{\"contacts\":[{\"id\":1,\"request_id\":\"0\"},{\"id\":2,\"request_id\":\"1\"}]}}",
		    -1);
	fake_answer(next("GET", AMOCRM "/contacts?limit=250&filter%5Bid%5D%5B%5D=1"), 500, "", -1);
	expect(0, CDPD_ACK, NULL);
	expect(1, CDPD_ACK, NULL);
	expect(2, CDPD_RETRY, NULL);
}

static void test_amocrm_a_401_without_oauth2_is_told(void **state)
{
	(void)state;
	create("amocrm", NULL, NULL);
	export_one(ADA, "{\"contact\":{\"name\":\"0\"}}");
	fake_answer(next("POST", AMOCRM "/contacts"), 401, "{\"title\":\"Unauthorized\"}", -1);
	expect(0, CDPD_RETRY, "amoCRM: 401 the token is not good (any more): Unauthorized");
	assert_int_equal(fake.receipt.all.retry_after_ms, 300000);
	fake_destroy(&fake);
	create("amocrm", NULL, NULL);
	export_one(ADA, "{\"contact\":{\"name\":\"0\"}}");
	fake_answer(next("POST", AMOCRM "/contacts"), 403, "", -1);
	expect(0, CDPD_RETRY, "this address is blocked");
	assert_int_equal(fake.receipt.all.retry_after_ms, 3600000);
}

static void test_amocrm_refreshes_and_goes_on(void **state)
{
	const struct fake_option options[] = {
	    {"provider", "amocrm"},
	    {"url", "https://shop.amocrm.ru"},
	    {"client_id", "id"},
	    {"client_secret", "s3cretclient"},
	    {"redirect_uri", "https://x"},
	    {"refresh_token", "s3cretfirst"},
	    {"requests_per_second", "1000"},
	};
	(void)state;
	assert_int_equal(fake_create(&fake, options, 7), CDPD_OK);
	export_one(ADA, "{\"contact\":{\"name\":\"0\"}}");
	size_t request = next("POST", "https://shop.amocrm.ru/oauth2/access_token");
	assert_json(request, "{\"grant_type\":\"refresh_token\",\"client_id\":\"id\",\"client_secret\":"
			     "\"s3cretclient\",\"refresh_token\":\"s3cretfirst\",\"redirect_uri\":"
			     "\"https://x\"}");
	fake_answer(request, 200,
		    "{\"token_type\":\"Bearer\",\"expires_in\":86400,\"access_token\":\"access1\",\"refresh_token\":"
		    "\"second\"}",
		    -1);
	request = next("POST", AMOCRM "/contacts");
	assert_string_equal(fake_header(request, "Authorization"), "Bearer access1");
	fake_answer(request, 401, "{}", -1);
	request = next("POST", "https://shop.amocrm.ru/oauth2/access_token");
	assert_non_null(strstr(fake_requests[request].body, "\"refresh_token\":\"second\""));
	fake_answer(request, 200, "{\"access_token\":\"access2\",\"refresh_token\":\"third\"}", -1);
	request = next("POST", AMOCRM "/contacts");
	assert_string_equal(fake_header(request, "Authorization"), "Bearer access2");
	fake_answer(request, 401, "{}", -1);
	expect(0, CDPD_RETRY, "amoCRM: 401");
	fake_destroy(&fake);
	assert_int_equal(fake_create(&fake, options, 7), CDPD_OK); /* after a restart it goes on with the last one */
	export_one(ADA, "{\"contact\":{\"name\":\"0\"}}");
	request = next("POST", "https://shop.amocrm.ru/oauth2/access_token");
	assert_non_null(strstr(fake_requests[request].body, "\"refresh_token\":\"third\""));
	fake_answer(request, 400, "{\"hint\":\"Token has been revoked\"}", -1);
	expect(0, CDPD_RETRY, "no access token");
}

static void test_what_is_under_way_ends_with_the_plugin(void **state)
{
	(void)state;
	create("hubspot", NULL, NULL);
	export_one(ADA, ADA_JSON);
	(void)next("POST", HUBSPOT "/batch/upsert");
	fake_http_error = CDPD_ERR_INVALID; /* as the host does, before destroy */
	fake_answer_error(fake_request_count - 1, CDPD_ERR_IO);
	fake_http_error = CDPD_OK;
	expect(0, CDPD_RETRY, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_the_shape_of_a_record),
	    TEST(test_what_needs_nobody),
	    TEST(test_options),
	    TEST(test_rate),
	    TEST(test_hubspot_upserts_then_updates),
	    TEST(test_records_of_one_person_are_one_request),
	    TEST(test_hubspot_multi_status),
	    TEST(test_hubspot_a_bad_batch_is_halved),
	    TEST(test_hubspot_what_holds_everything),
	    TEST(test_what_is_as_before_is_not_written_again),
	    TEST(test_a_mark_does_not_outlast_what_is_mapped),
	    TEST(test_hubspot_merges),
	    TEST(test_hubspot_a_merge_that_cannot_be),
	    TEST(test_hubspot_the_former_contact_is_merged),
	    TEST(test_hubspot_erases_all_that_a_person_had),
	    TEST(test_hubspot_erases_the_former_contact_too),
	    TEST(test_hubspot_a_contact_that_is_gone_ends_no_mark),
	    TEST(test_amocrm_what_cannot_be_read_makes_nobody),
	    TEST(test_who_takes_over_an_address_waits_for_who_had_it),
	    TEST(test_bitrix24_finds_reads_and_writes),
	    TEST(test_bitrix24_each_command_has_its_end),
	    TEST(test_bitrix24_garbage_is_no_answer),
	    TEST(test_amocrm_looks_makes_and_updates),
	    TEST(test_amocrm_who_is_wrong_is_named),
	    TEST(test_amocrm_a_401_without_oauth2_is_told),
	    TEST(test_amocrm_refreshes_and_goes_on),
	    TEST(test_what_is_under_way_ends_with_the_plugin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
