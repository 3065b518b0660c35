/* Ingest as outsiders see it: every route, what a 200 says, what a refusal says, and the settings reply. */
#include "api/api_world.h"

static struct world world;

static struct reply post(const char *path, const char *headers, const char *body)
{
	struct reply reply;
	char all[1024];
	(void)snprintf(all, sizeof all, "Connection: close\r\n%s", headers);
	int fd = client_connect(&world);
	client_send(fd, "POST", path, all, body);
	client_receive(fd, &reply);
	close(fd);
	return reply;
}

static void expect(const char *path, const char *headers, const char *body, int status, const char *part)
{
	struct reply reply = post(path, headers, body);
	if (reply.status != status || !has_text(reply.body, part))
		fail_msg("%s %s: %d %.*s", path, body, reply.status, STR_ARG(reply.body));
	if (!has_text(reply.head, "application/json")) fail_msg("%s: not JSON: %.*s", path, STR_ARG(reply.head));
	reply_free(&reply);
}

#define KEY   "Authorization: Basic d2ViLWtleTo=\r\n"
#define WHOLE "{\"ok\":true,\"success\":true,\"status\":1,\"accepted\":1}"

static void every_route_takes_its_event(void **state)
{
	(void)state;
	static const struct {
		const char *path, *body;
	} routes[] = {
	    {"/v1/track", "{\"userId\":\"u\",\"event\":\"e\"}"},
	    {"/v1/t", "{\"userId\":\"u\",\"event\":\"e\"}"},
	    {"/v1/identify", "{\"userId\":\"u\"}"},
	    {"/v1/i", "{\"userId\":\"u\"}"},
	    {"/v1/page", "{\"userId\":\"u\"}"},
	    {"/v1/p", "{\"userId\":\"u\"}"},
	    {"/v1/screen", "{\"userId\":\"u\"}"},
	    {"/v1/s", "{\"userId\":\"u\"}"},
	    {"/v1/group", "{\"userId\":\"u\",\"groupId\":\"g\"}"},
	    {"/v1/g", "{\"userId\":\"u\",\"groupId\":\"g\"}"},
	    {"/v1/alias", "{\"userId\":\"u\",\"previousId\":\"p\"}"},
	    {"/v1/a", "{\"userId\":\"u\",\"previousId\":\"p\"}"},
	    {"/v1/batch", "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}"},
	    {"/v1/b", "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}"},
	    {"/v1/import", "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}"},
	    {"/v1/events", "{\"event\":\"e\",\"userId\":\"u\"}"},
	    {"/v1/track/", "{\"userId\":\"u\",\"event\":\"e\"}"},
	};
	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		struct reply reply = post(routes[i].path, KEY, routes[i].body);
		if (reply.status != 200 || !str_eq(reply.body, STR(WHOLE)))
			fail_msg("%s: %d %.*s", routes[i].path, reply.status, STR_ARG(reply.body));
		assert_true(has_text(reply.head, "X-Cdpd-Position: "));
		reply_free(&reply);
	}
}

static void json_is_decided_by_the_route(void **state)
{
	(void)state;
	static const char *const types[] = {"text/plain", "text/plain;charset=UTF-8",
					    "application/x-www-form-urlencoded", "application/octet-stream",
					    "application/json; charset=utf-8"};
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		char headers[256];
		(void)snprintf(headers, sizeof headers, KEY "Content-Type: %s\r\n", types[i]);
		expect("/v1/t", headers, "{\"userId\":\"u\",\"event\":\"e\"}", 200, WHOLE);
	}
	expect("/v1/events", KEY "Content-Type: application/x-protobuf\r\n",
	       "\x0a\x06\x1a\x01u\x3a\x01"
	       "e",
	       200, WHOLE);
	expect("/v1/events", KEY "Content-Type: Application/Protobuf; x=y\r\n",
	       "\x0a\x06\x1a\x01u\x3a\x01"
	       "e",
	       200, WHOLE);
	expect("/v1/events", KEY,
	       "\x0a\x06\x1a\x01u\x3a\x01"
	       "e",
	       400, "invalid_json");
}

static void keys_come_from_anywhere(void **state)
{
	(void)state;
	const char *body = "{\"userId\":\"u\",\"event\":\"e\"}";
	expect("/v1/t", "X-Write-Key: web-key:secret\r\n", body, 200, WHOLE);
	expect("/v1/t?x=1&writeKey=web-key", "", body, 200, WHOLE);
	expect("/v1/t", "", "{\"userId\":\"u\",\"event\":\"e\",\"writeKey\":\"web-key\"}", 200, WHOLE);
	expect("/v1/t", "", body, 401, "\"code\":\"unknown_key\"");
	expect("/v1/t", "X-Write-Key: nobody\r\n", body, 401, "\"code\":\"unknown_key\"");
}

static void refusals_name_code_pointer_and_event(void **state)
{
	(void)state;
	expect("/v1/t", KEY, "{\"event\":\"e\"}", 400,
	       "{\"ok\":false,\"code\":\"missing_identity\",\"message\":\"the event names nobody: give userId or "
	       "anonymousId\",\"pointer\":\"/userId\",\"error\":{");
	expect("/v1/t", KEY, "{\"event\":", 400, "\"code\":\"invalid_json\"");
	expect("/v1/batch", KEY, "{\"batch\":[{\"type\":\"page\",\"messageId\":\"m\"}]}", 200,
	       "{\"ok\":true,\"success\":true,\"status\":1,\"accepted\":0,\"rejected\":[{\"index\":0,\"messageId\":"
	       "\"m\",\"code\":\"missing_identity\","
	       "\"pointer\":\"/userId\",\"message\":\"");
	expect("/v1/batch", KEY, "{}", 400, "\"pointer\":\"/batch\"");
}

static void bodies_of_10_mb_are_refused(void **state)
{
	(void)state;
	struct reply reply;
	int fd = client_connect(&world);
	client_send(fd, "POST", "/v1/batch", "Connection: close\r\nContent-Length: 10485760\r\n" KEY, NULL);
	client_receive(fd, &reply);
	close(fd);
	assert_int_equal(reply.status, 413);
	assert_true(has_text(reply.body, "too_large"));
	reply_free(&reply);
}

static void a_client_that_leaves_early_still_counts(void **state)
{
	(void)state;
	struct journal_counters before, after;
	journal_counters(world.journal, &before);
	for (int i = 0; i < 20; i++) {
		int fd = client_connect(&world);
		client_send(fd, "POST", "/v1/t", KEY, "{\"userId\":\"u\",\"event\":\"e\"}");
		close(fd);
	}
	/* Each of the 20 is either never read or counted whole; the daemon goes on either way. */
	expect("/v1/t", KEY, "{\"userId\":\"u\",\"event\":\"e\"}", 200, WHOLE);
	journal_counters(world.journal, &after);
	assert_in_range(after.received - before.received, 1, 21);
}

static void segments_own_metrics_are_swallowed(void **state)
{
	(void)state;
	struct journal_counters before, after;
	journal_counters(world.journal, &before);
	expect("/v1/m", "", "{\"series\":[]}", 200, "\"success\":true");
	journal_counters(world.journal, &after);
	assert_int_equal(after.received, before.received);
}

static void settings_name_our_own_address(void **state)
{
	(void)state;
	char wanted[256];
	(void)snprintf(wanted, sizeof wanted,
		       "{\"integrations\":{\"Segment.io\":{\"apiKey\":\"web-key\",\"apiHost\":\"127.0.0.1:%u/"
		       "v1\",\"protocol\":\"http\"}},\"metrics\":{\"sampleRate\":0}}",
		       world.port);
	struct reply reply = ask(&world, "GET", "/v1/projects/web-key/settings", NULL, NULL); /* with "Host: test" */
	assert_int_equal(reply.status, 200);
	if (!str_eq(reply.body, str_from(wanted))) fail_msg("%.*s", STR_ARG(reply.body));
	reply_free(&reply);
	reply = ask(&world, "GET", "/v1/projects/nobody/settings", NULL, NULL);
	assert_int_equal(reply.status, 404);
	assert_true(has_text(reply.body, "\"code\":\"not_found\""));
	reply_free(&reply);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	(void)state;
	struct reply reply;
	int fd = client_connect(&world);
	client_send(fd, "POST", "/v1/t", KEY, "{\"userId\":\"u\",\"event\":\"e\"}");
	client_send(fd, "POST", "/v1/t", KEY, "{\"userId\":\"u\"}");
	client_send(fd, "POST", "/v1/t", "Connection: close\r\n" KEY, "{\"event\":\"e\"}");
	client_receive(fd, &reply);
	close(fd);
	struct str all = buf_str(&reply.text);
	const char *accepted = memmem(all.ptr, all.len, "accepted", 8),
		   *schema = memmem(all.ptr, all.len, "schema_violation", 16),
		   *identity = memmem(all.ptr, all.len, "missing_identity", 16);
	assert_true(accepted && schema && identity);
	assert_true(accepted < schema && schema < identity);
	reply_free(&reply);
}

static int start(void **state)
{
	(void)state;
	world_start(&world, "1s");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_route_takes_its_event),
	    cmocka_unit_test(json_is_decided_by_the_route),
	    cmocka_unit_test(keys_come_from_anywhere),
	    cmocka_unit_test(refusals_name_code_pointer_and_event),
	    cmocka_unit_test(bodies_of_10_mb_are_refused),
	    cmocka_unit_test(segments_own_metrics_are_swallowed), /* counts: nothing may be under way */
	    cmocka_unit_test(a_client_that_leaves_early_still_counts),
	    cmocka_unit_test(settings_name_our_own_address),
	    cmocka_unit_test(pipelined_requests_are_answered_in_order),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
