/* The order in which credentials are looked for, and what each of the places may hold. */
#include "ingest/harness.h"

#define BODY(key_member) "{\"type\":\"page\",\"userId\":\"u\"" key_member "}"

struct attempt {
	const char *authorization, *header, *query, *body_member;
	const char *source; /* NULL: unknown_key */
};

/* base64: server-key: c2VydmVyLWtleTo=, web-key: d2ViLWtleTo=, web-key (bare) d2ViLWtleQ==, nobody: bm9ib2R5Og==, ":" Og== */
static const struct attempt attempts[] = {
    {"Basic c2VydmVyLWtleTo=", "", "", "", "backend"},
    {"basic c2VydmVyLWtleTo=", "", "", "", "backend"},
    {"Basic c2VydmVyLWtleTpzZWNyZXQ=", "", "", "", "backend"}, /* server-key:secret */
    {"Basic d2ViLWtleQ==", "", "", "", "web"},                 /* no colon */
    {"Basic web-key", "", "", "", "web"},                      /* not even encoded */
    {"Basic web-key:", "", "", "", "web"},
    {"Basic bm9ib2R5Og==", "web-key", "web-key", ",\"writeKey\":\"web-key\"", NULL}, /* a named key decides */
    {"Basic Og==", "", "", ",\"writeKey\":\"web-key\"", "web"},                      /* an empty one does not */
    {"Basic !", "", "", ",\"writeKey\":\"web-key\"", NULL},
    {"Bearer web-key", "", "", "", "web"},
    {"Bearer web-key", "server-key", "", "", "web"},
    {"Bearer eyJh.bGci.OiJ", "", "", ",\"writeKey\":\"web-key\"", "web"}, /* OAuth: the key is in the body */
    {"Bearer eyJh.bGci.OiJ", "server-key", "", ",\"writeKey\":\"web-key\"", "backend"},
    {"Bearer eyJh.bGci.OiJ", "", "", "", NULL},
    {"Digest web-key", "", "", "", NULL},
    {"web-key", "", "", "", NULL},
    {"", "web-key", "server-key", "", "web"},
    {"", "web-key:secret", "", "", "web"},
    {"", "nobody:secret", "web-key", "", NULL},
    {"", "", "web-key", ",\"writeKey\":\"server-key\"", "web"},
    {"", "", "nobody", ",\"writeKey\":\"web-key\"", NULL},
    {"", "", "", ",\"writeKey\":\"web-key\"", "web"},
    {"", "", "", ",\"api_key\":\"web-key\"", "web"},
    {"", "", "", ",\"token\":\"web-key\"", "web"},
    {"", "", "", ",\"token\":\"server-key\",\"writeKey\":\"web-key\"", "web"},
    {"", "", "", ",\"writeKey\":\"\",\"api_key\":\"web-key\"", "web"},
    {"", "", "", ",\"writeKey\":7", NULL},
    {"", "", "", ",\"writeKey\":\"web-key:***\"", NULL}, /* masked */
    {"", "", "", ",\"writeKey\":\"nobody\"", NULL},
    {"", "", "", "", NULL},
};

static void test_the_first_place_that_names_a_key_decides(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(attempts); i++) {
		const struct attempt *a = &attempts[i];
		char body[300];
		int len = snprintf(body, sizeof body, BODY("%s"), a->body_member);
		struct ingest_request request = request_of(DIALECT_SEGMENT_ONE, str_of(body, (size_t)len));
		request.authorization = str_from(a->authorization);
		request.write_key_header = str_from(a->header);
		request.write_key_query = str_from(a->query);
		ask(&request);
		if (a->source) {
			if (room.problem) fail_msg("row %zu: %s", i, problem_info(room.problem)->code);
			assert_text(room.events[0].source_id, a->source);
		} else {
			if (room.problem != PROBLEM_UNKNOWN_KEY)
				fail_msg("row %zu: %s", i, problem_info(room.problem)->code);
			assert_refused(PROBLEM_UNKNOWN_KEY, "");
		}
	}
	assert_int_equal(tape.received, COUNT_OF(attempts)); /* unknown keys are counted too */
}

static void test_a_masked_key_is_never_looked_up(void **state)
{
	(void)state;
	struct caller caller;
	static struct str masked[] = {{"x:***", 5}};
	struct conf_source source = {.id = {"s", 1}, .write_keys = masked, .write_key_count = 1};
	const struct config config = {.sources = &source, .source_count = 1};
	assert_int_equal(credentials_of_body(&config, STR("x:***"), &caller), CREDENTIAL_NONE);
}

static void test_an_unknown_key_reads_nothing_of_the_body(void **state)
{
	(void)state;
	struct ingest_request request = request_of(DIALECT_SEGMENT_BATCH, STR("not json at all"));
	request.authorization = STR("Basic bm9ib2R5Og==");
	ask(&request);
	assert_refused(PROBLEM_UNKNOWN_KEY, "");
	assert_text(room.rejects[0].source_id, "");
	assert_text(room.rejects[0].excerpt, "not json at all");
}

static void test_origins(void **state)
{
	(void)state;
	static const struct {
		const char *origin;
		bool is_allowed;
	} origins[] = {{"https://shop.example", true},  {"HTTPS://SHOP.example", true},       {"", true},
		       {"https://evil.example", false}, {"https://shop.example.evil", false}, {"null", false},
		       {"http://shop.example", false}};
	for (size_t i = 0; i < COUNT_OF(origins); i++) {
		struct ingest_request request =
		    request_of(DIALECT_SEGMENT_ONE, STR(BODY(",\"writeKey\":\"shop-key\"")));
		request.authorization = STR_NONE;
		request.origin = str_from(origins[i].origin);
		ask(&request);
		if (origins[i].is_allowed)
			assert_int_equal(room.accepted, 1);
		else
			assert_refused(PROBLEM_FORBIDDEN, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_the_first_place_that_names_a_key_decides, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_masked_key_is_never_looked_up, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_unknown_key_reads_nothing_of_the_body, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_origins, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
