/* Single Segment messages: what is kept of a good one, and what exactly is said to a bad one. */
#include "ingest/harness.h"

static void test_a_track_is_kept_whole(void **state)
{
	(void)state;
	const struct cdpd_event *e =
	    one("{\"type\":\"track\",\"event\":\"Order "
		"Completed\",\"userId\":\"u1\",\"anonymousId\":\"a1\",\"messageId\":\"m1\","
		"\"timestamp\":\"2026-11-21T20:49:59.801Z\",\"properties\":{\"total\":27.5,\"a\":[1,{\"x\":null}]},"
		"\"context\":{\"page\":{\"url\":\"https://x/"
		"\"}},\"integrations\":{\"All\":true},\"channel\":\"web\",\"writeKey\":\"zzz\"}");
	assert_text(e->source_id, "backend");
	assert_int_equal(e->source_kind, SOURCE_SERVER);
	assert_int_equal(e->rights, test_sources[1].rights);
	assert_int_equal(e->type, EVENT_TRACK);
	assert_text(e->event, "Order Completed");
	assert_text(e->user_id, "u1");
	assert_text(e->anonymous_id, "a1");
	assert_text(e->message_id, "m1");
	assert_int_equal(e->client_time_us, INT64_C(1795294199801000));
	assert_int_equal(e->event_time_us, e->client_time_us);
	assert_int_equal(e->received_at_us, NOW);
	assert_text(e->properties, "{\"a\":[1,{\"x\":null}],\"total\":27.5}");
	assert_text(e->context, "{\"page\":{\"url\":\"https://x/\"}}");
	assert_text(e->extra, "{\"channel\":\"web\",\"integrations\":{\"All\":true}}");
	assert_text(e->traits, "");
	assert_int_equal(e->flags, 0);
	assert_int_equal(e->utc_offset_min, UTC_OFFSET_UNKNOWN);
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.position_seq, 1);
	assert_int_equal(room.position_epoch, EPOCH_TEST);
}

static void test_ids_may_be_numbers_empty_or_null(void **state)
{
	(void)state;
	assert_text(one("{\"type\":\"track\",\"event\":\"e\",\"userId\":42}")->user_id, "42");
	assert_text(one("{\"type\":\"track\",\"event\":\"e\",\"userId\":1.5}")->user_id, "1.5");
	assert_text(one("{\"type\":\"track\",\"event\":\"e\",\"userId\":18446744073709551615}")->user_id,
		    "18446744073709551615");
	const struct cdpd_event *e =
	    one("{\"type\":\"track\",\"event\":\"e\",\"userId\":\"\",\"anonymousId\":\"a\",\"messageId\":7}");
	assert_text(e->user_id, "");
	assert_text(e->message_id, "7");
	assert_text(one("{\"type\":\"track\",\"event\":\"e\",\"userId\":null,\"anonymousId\":\"a\"}")->user_id, "");
}

static void test_a_missing_message_id_is_generated(void **state)
{
	(void)state;
	char first[64];
	const struct cdpd_event *e = one("{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\"}");
	assert_true(e->flags & EVENT_ID_GENERATED);
	assert_int_equal(e->message_id.len, 36);
	assert_int_equal(e->message_id.ptr[14], '4');
	assert_non_null(strchr("89ab", e->message_id.ptr[19]));
	copy_text(first, sizeof first, e->message_id);
	for (int i = 0; i < 200; i++) {
		e = one("{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\"}");
		assert_false(str_eq(e->message_id, str_from(first)));
	}
}

static void test_the_type_comes_from_the_body_else_the_route(void **state)
{
	(void)state;
	struct ingest_request request = request_of(DIALECT_SEGMENT_ONE, STR("{\"userId\":\"u\",\"name\":\"Home\"}"));
	request.route_type = EVENT_PAGE;
	ask(&request);
	assert_int_equal(room.events[0].type, EVENT_PAGE);
	assert_text(room.events[0].name, "Home");
	request = request_of(DIALECT_SEGMENT_ONE, STR("{\"userId\":\"u\",\"type\":\"screen\"}"));
	request.route_type = EVENT_PAGE;
	ask(&request);
	assert_int_equal(room.events[0].type, EVENT_SCREEN);
}

static void test_identify_takes_traits_over_context_traits(void **state)
{
	(void)state;
	assert_text(one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"b\":2,\"a\":1}}")->traits,
		    "{\"a\":1,\"b\":2}");
	const struct cdpd_event *e =
	    one("{\"type\":\"identify\",\"userId\":\"u\",\"context\":{\"traits\":{\"plan\":\"free\"}}}");
	assert_text(e->traits, "{\"plan\":\"free\"}");
	assert_text(e->context, "{\"traits\":{\"plan\":\"free\"}}");
	e = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"plan\":\"pro\",\"a\":1},\"context\":{\"traits\":"
		"{\"plan\":\"free\",\"z\":{\"y\":1}}}}");
	assert_text(e->traits, "{\"a\":1,\"plan\":\"pro\",\"z\":{\"y\":1}}");
	assert_text(
	    one("{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"context\":{\"traits\":{\"plan\":\"free\"}}}")
		->traits,
	    "");
}

static void test_other_members_are_kept_and_credentials_are_not(void **state)
{
	(void)state;
	const struct cdpd_event *e = one("{\"type\":\"page\",\"event\":\"Viewed\",\"userId\":\"u\",\"writeKey\":\"k\","
					 "\"api_key\":\"k\",\"token\":\"k\","
					 "\"_metadata\":{\"n\":1},\"version\":2,\"timestamp\":\"2026-11-21T20:00:00Z\","
					 "\"originalTimestamp\":\"x\"}");
	assert_text(e->extra,
		    "{\"event\":\"Viewed\",\"originalTimestamp\":\"x\",\"version\":2,\"_metadata\":{\"n\":1}}");
	assert_text(e->event, "");
	assert_text(one("{\"type\":\"page\",\"userId\":\"u\",\"_metadata\":{}}")->extra, "{\"_metadata\":{}}");
}

static void test_declared_is_never_taken_from_the_payload(void **state)
{
	(void)state;
	const struct cdpd_event *e =
	    one("{\"type\":\"identify\",\"userId\":\"u\",\"flags\":16,\"declared\":true,\"traits\":{}}");
	assert_false(e->flags & EVENT_DECLARED);
}

static void test_inactive_contexts_are_flagged(void **state)
{
	(void)state;
	assert_true(one("{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"active\":false}}")->flags & EVENT_INACTIVE);
	assert_false(one("{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"active\":true}}")->flags & EVENT_INACTIVE);
}

static void test_the_connection_tells_only_of_client_side_sources(void **state)
{
	(void)state;
	assert_text(one("{\"type\":\"page\",\"userId\":\"u\"}")->ip, "");
	ask_as("web-key", DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"u\"}"));
	assert_text(room.events[0].ip, "203.0.113.7");
	assert_text(room.events[0].user_agent, "agent/1");
	assert_text(room.events[0].context, "");
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"ip\":\"10.0.0.1\",\"userAgent\":\"mine\"}}"));
	assert_text(room.events[0].ip, "");
	assert_text(room.events[0].user_agent, "");
	struct ingest_request request =
	    request_of(DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"web-key\"}"));
	char agent[2000];
	memset(agent, 'x', sizeof agent);
	memcpy(agent + 511, "\xc3\xa9", 2);
	request.authorization = STR_NONE;
	request.user_agent = str_of(agent, sizeof agent);
	ask(&request);
	assert_int_equal(room.events[0].user_agent.len, 511);
	request.user_agent = STR("bad \xff");
	ask(&request);
	assert_text(room.events[0].user_agent, "");
}

static void test_duplicate_keys_the_last_wins(void **state)
{
	(void)state;
	const struct cdpd_event *e = one("{\"type\":\"page\",\"userId\":\"first\",\"userId\":\"last\",\"properties\":{"
					 "\"a\":1,\"a\":2},\"x\":1,\"x\":2}");
	assert_text(e->user_id, "last");
	assert_text(e->properties, "{\"a\":2}");
	assert_text(e->extra, "{\"x\":2}");
	assert_text(one("{\"type\":\"page\",\"anonymousId\":\"a\",\"userId\":\"u\",\"userId\":null}")->user_id, "");
}

static void test_numbers_at_the_edges(void **state)
{
	(void)state;
	const struct cdpd_event *e = one("{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":"
					 "18446744073709551616,\"b\":-9223372036854775808}}");
	assert_non_null(memmem(e->properties.ptr, e->properties.len, "-9223372036854775808", 20));
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":1e999}}"));
	assert_refused(PROBLEM_INVALID_JSON, "");
}

static void test_nul_in_free_text_is_kept_as_an_escape(void **state)
{
	(void)state;
	const struct cdpd_event *e =
	    one("{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\\u0000b\":\"x\\u0000y\"}}");
	assert_text(e->properties, "{\"a\\u0000b\":\"x\\u0000y\"}");
}

/* Browsers cut strings in the middle of an emoji. */
static void test_a_lone_surrogate_becomes_the_replacement_character(void **state)
{
	(void)state;
	assert_text(one("{\"type\":\"page\",\"userId\":\"a\\ud83d\"}")->user_id, "a\xef\xbf\xbd");
}

/* ── times ───────────────────────────────────────────────────────────────── */

static void test_which_time_is_the_events(void **state)
{
	(void)state;
	assert_int_equal(
	    one("{\"type\":\"page\",\"userId\":\"u\",\"originalTimestamp\":\"2026-11-21T20:00:00Z\"}")->event_time_us,
	    NOW - 3000 * US_PER_SECOND);
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T20:30:00Z\","
			     "\"originalTimestamp\":\"2026-11-21T20:00:00Z\"}")
			     ->event_time_us,
			 NOW - 1200 * US_PER_SECOND);
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":1795294199801}")->event_time_us,
			 INT64_C(1795294199801000));
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"1795294199801\"}")->event_time_us,
			 INT64_C(1795294199801000));
	const struct cdpd_event *e =
	    one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"\",\"originalTimestamp\":null}");
	assert_int_equal(e->event_time_us, NOW);
	assert_int_equal(e->client_time_us, 0);
	assert_true(e->flags & EVENT_TIME_MISSING);
}

static void test_the_utc_offset_is_resolved_once(void **state)
{
	(void)state;
	assert_int_equal(
	    one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T22:00:00+05:30\"}")->utc_offset_min,
	    330);
	assert_int_equal(
	    one("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T20:00:00+00:00\"}")->utc_offset_min,
	    UTC_OFFSET_UNKNOWN);
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T20:00:00Z\"}"));
	assert_int_equal(room.events[0].utc_offset_min, 180);
	test_sources[1].utc_offset_min = 0; /* as config_load leaves a source that was not told */
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\"}")->utc_offset_min, UTC_OFFSET_UNKNOWN);
	test_sources[1].utc_offset_min = UTC_OFFSET_UNKNOWN;
	ask_as("web-key", DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"u\"}"));
	assert_int_equal(room.events[0].utc_offset_min, 180);
}

static void test_clocks_are_corrected_for_browsers_only(void **state)
{
	(void)state;
	const struct str body = STR("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T19:49:50Z\","
				    "\"sentAt\":\"2026-11-21T19:50:00Z\"}");
	ask_as("web-key", DIALECT_SEGMENT_ONE, body);
	assert_int_equal(room.events[0].event_time_us, NOW - 10 * US_PER_SECOND);
	assert_int_equal(room.events[0].correction_us, 3600 * US_PER_SECOND);
	assert_int_equal(room.events[0].sent_at_us, NOW - 3600 * US_PER_SECOND);
	assert_true(room.events[0].flags & EVENT_SKEW_CORRECTED);
	ask_as("server-key", DIALECT_SEGMENT_ONE, body);
	assert_int_equal(room.events[0].correction_us, 0);
	assert_int_equal(room.events[0].event_time_us, NOW - 3610 * US_PER_SECOND);
}

static void test_stale_senders_are_not_corrected(void **state)
{
	(void)state;
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2026-11-21T19:49:50Z\",\"sentAt\":\"2026-11-"
		   "21T19:50:00Z\","
		   "\"context\":{\"library\":{\"name\":\"analytics-node\"}}}"));
	assert_int_equal(room.events[0].correction_us, 0);
	assert_int_equal(room.events[0].sent_at_us, NOW - 3600 * US_PER_SECOND);
}

static void test_an_unreadable_sent_at_is_no_reason_to_lose_the_event(void **state)
{
	(void)state;
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\",\"sentAt\":\"soon\"}")->sent_at_us, 0);
	assert_int_equal(one("{\"type\":\"page\",\"userId\":\"u\",\"sentAt\":{}}")->sent_at_us, 0);
}

/* ── refusals ────────────────────────────────────────────────────────────── */

struct bad {
	const char *json;
	enum problem problem;
	const char *pointer;
};

static const struct bad bad_messages[] = {
    {"", PROBLEM_INVALID_JSON, ""},
    {"{", PROBLEM_INVALID_JSON, ""},
    {"{\"type\":\"page\",\"userId\":\"u\"} x", PROBLEM_INVALID_JSON, ""},
    {"{'type':'page'}", PROBLEM_INVALID_JSON, ""},
    {"{\"type\":\"page\",\"userId\":\"\xff\"}", PROBLEM_INVALID_JSON, ""},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":NaN}}", PROBLEM_INVALID_JSON, ""},
    {"[]", PROBLEM_SCHEMA_VIOLATION, ""},
    {"7", PROBLEM_SCHEMA_VIOLATION, ""},
    {"null", PROBLEM_SCHEMA_VIOLATION, ""},
    {"{\"type\":\"page\"}", PROBLEM_MISSING_IDENTITY, "/userId"},
    {"{\"type\":\"page\",\"userId\":\"\",\"anonymousId\":null}", PROBLEM_MISSING_IDENTITY, "/userId"},
    {"{\"userId\":\"u\"}", PROBLEM_UNKNOWN_TYPE, "/type"},
    {"{\"userId\":\"u\",\"type\":\"\"}", PROBLEM_UNKNOWN_TYPE, "/type"},
    {"{\"userId\":\"u\",\"type\":\"Track\",\"event\":\"e\"}", PROBLEM_UNKNOWN_TYPE, "/type"},
    {"{\"userId\":\"u\",\"type\":\"purchase\"}", PROBLEM_UNKNOWN_TYPE, "/type"},
    {"{\"userId\":\"u\",\"type\":7}", PROBLEM_UNKNOWN_TYPE, "/type"},
    {"{\"userId\":true,\"type\":\"page\"}", PROBLEM_INVALID_IDENTIFIER, "/userId"},
    {"{\"userId\":{},\"type\":\"page\"}", PROBLEM_INVALID_IDENTIFIER, "/userId"},
    {"{\"userId\":\"u\",\"anonymousId\":[1],\"type\":\"page\"}", PROBLEM_INVALID_IDENTIFIER, "/anonymousId"},
    {"{\"userId\":\"a\\u0000b\",\"type\":\"page\"}", PROBLEM_INVALID_IDENTIFIER, "/userId"},
    {"{\"userId\":\"u\",\"messageId\":\"a\\u0000b\",\"type\":\"page\"}", PROBLEM_SCHEMA_VIOLATION, "/messageId"},
    {"{\"userId\":\"u\",\"messageId\":[],\"type\":\"page\"}", PROBLEM_SCHEMA_VIOLATION, "/messageId"},
    {"{\"userId\":\"u\",\"type\":\"track\"}", PROBLEM_SCHEMA_VIOLATION, "/event"},
    {"{\"userId\":\"u\",\"type\":\"track\",\"event\":\"\"}", PROBLEM_SCHEMA_VIOLATION, "/event"},
    {"{\"userId\":\"u\",\"type\":\"track\",\"event\":7}", PROBLEM_SCHEMA_VIOLATION, "/event"},
    {"{\"userId\":\"u\",\"type\":\"track\",\"event\":\"a\\u0000\"}", PROBLEM_SCHEMA_VIOLATION, "/event"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"name\":7}", PROBLEM_SCHEMA_VIOLATION, "/name"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"category\":{}}", PROBLEM_SCHEMA_VIOLATION, "/category"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"properties\":[]}", PROBLEM_SCHEMA_VIOLATION, "/properties"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"properties\":\"x\"}", PROBLEM_SCHEMA_VIOLATION, "/properties"},
    {"{\"userId\":\"u\",\"type\":\"identify\",\"traits\":\"x\"}", PROBLEM_SCHEMA_VIOLATION, "/traits"},
    {"{\"userId\":\"u\",\"type\":\"identify\",\"traits\":7,\"context\":{\"traits\":{}}}", PROBLEM_SCHEMA_VIOLATION,
     "/traits"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"context\":7}", PROBLEM_SCHEMA_VIOLATION, "/context"},
    {"{\"userId\":\"u\",\"type\":\"group\"}", PROBLEM_SCHEMA_VIOLATION, "/groupId"},
    {"{\"userId\":\"u\",\"type\":\"alias\"}", PROBLEM_SCHEMA_VIOLATION, "/previousId"},
    {"{\"anonymousId\":\"a\",\"previousId\":\"p\",\"type\":\"alias\"}", PROBLEM_MISSING_IDENTITY, "/userId"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":\"yesterday\"}", PROBLEM_BAD_TIMESTAMP, "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":\"1969-12-31T23:59:59Z\"}", PROBLEM_BAD_TIMESTAMP,
     "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":\"2100-01-01T00:00:00Z\"}", PROBLEM_BAD_TIMESTAMP,
     "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":\"9999-12-31T23:59:59Z\"}", PROBLEM_BAD_TIMESTAMP,
     "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":\"2026-02-30T00:00:00Z\"}", PROBLEM_BAD_TIMESTAMP,
     "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":-1}", PROBLEM_BAD_TIMESTAMP, "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":1e300}", PROBLEM_BAD_TIMESTAMP, "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"timestamp\":{}}", PROBLEM_BAD_TIMESTAMP, "/timestamp"},
    {"{\"userId\":\"u\",\"type\":\"page\",\"originalTimestamp\":true}", PROBLEM_BAD_TIMESTAMP, "/originalTimestamp"},
};

static void test_bad_messages_get_their_reason_and_pointer(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad_messages); i++) {
		const struct bad *bad = &bad_messages[i];
		ask_server(DIALECT_SEGMENT_ONE, str_from(bad->json));
		if (room.problem != bad->problem || strcmp(room.whole.pointer, bad->pointer) != 0)
			fail_msg("%s: %s at \"%s\"", bad->json, problem_info(room.problem)->code, room.whole.pointer);
		assert_refused(bad->problem, bad->pointer);
	}
	assert_int_equal(tape.received, COUNT_OF(bad_messages));
	assert_int_equal(tape.rejected, COUNT_OF(bad_messages));
}

static void test_alias_needs_the_right(void **state)
{
	(void)state;
	const struct str body = STR("{\"type\":\"alias\",\"userId\":\"u\",\"previousId\":\"p\"}");
	ask_as("web-key", DIALECT_SEGMENT_ONE, body);
	assert_refused(PROBLEM_FORBIDDEN, "/type");
	ask_as("server-key", DIALECT_SEGMENT_ONE, body);
	assert_int_equal(room.events[0].type, EVENT_ALIAS);
	assert_text(room.events[0].previous_id, "p");
}

static void ask_format(const char *format, size_t len)
{
	char *fill = malloc(len + 1), *body = malloc(len + strlen(format) + 1);
	assert_non_null(fill);
	assert_non_null(body);
	memset(fill, 'x', len);
	fill[len] = '\0';
	int n = snprintf(body, len + strlen(format) + 1, format, fill);
	ask_server(DIALECT_SEGMENT_ONE, str_of(body, (size_t)n));
	free(fill);
	free(body);
}

static void test_lengths_at_their_limits(void **state)
{
	(void)state;
	static const struct {
		const char *format;
		size_t max;
		enum problem problem;
		const char *pointer;
	} limits[] = {
	    {"{\"type\":\"page\",\"userId\":\"%s\"}", EVENT_IDENTIFIER_MAX, PROBLEM_INVALID_IDENTIFIER, "/userId"},
	    {"{\"type\":\"page\",\"anonymousId\":\"%s\"}", EVENT_IDENTIFIER_MAX, PROBLEM_INVALID_IDENTIFIER,
	     "/anonymousId"},
	    {"{\"type\":\"alias\",\"userId\":\"u\",\"previousId\":\"%s\"}", EVENT_IDENTIFIER_MAX,
	     PROBLEM_INVALID_IDENTIFIER, "/previousId"},
	    {"{\"type\":\"group\",\"userId\":\"u\",\"groupId\":\"%s\"}", EVENT_IDENTIFIER_MAX,
	     PROBLEM_INVALID_IDENTIFIER, "/groupId"},
	    {"{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"%s\"}", EVENT_ID_MAX, PROBLEM_TOO_LARGE,
	     "/messageId"},
	    {"{\"type\":\"track\",\"userId\":\"u\",\"event\":\"%s\"}", EVENT_NAME_MAX, PROBLEM_TOO_LARGE, "/event"},
	};
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		ask_format(limits[i].format, limits[i].max);
		assert_int_equal(room.problem, PROBLEM_NONE);
		ask_format(limits[i].format, limits[i].max + 1);
		assert_refused(limits[i].problem, limits[i].pointer);
		ask_format(limits[i].format, 10 << 10);
		assert_refused(limits[i].problem, limits[i].pointer);
		assert_true(room.rejects[0].message_id.len <= EVENT_ID_MAX);
		assert_true(room.rejects[0].excerpt.len <= JOURNAL_EXCERPT_MAX);
	}
}

static void test_an_event_beyond_its_size_is_refused(void **state)
{
	(void)state;
	const char *format = "{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":\"%s\"}}";
	ask_format(format, (64 << 10) - 100);
	assert_int_equal(room.problem, PROBLEM_NONE);
	ask_format(format, 64 << 10);
	assert_refused(PROBLEM_TOO_LARGE, "");
	ask_format(format, 4 << 20);
	assert_refused(PROBLEM_TOO_LARGE, "/properties");
	ask_format("{\"type\":\"page\",\"userId\":\"u\",\"x\":\"%s\"}", 10 << 20);
	assert_refused(PROBLEM_TOO_LARGE, "");
	assert_true(room.rejects[0].excerpt.len > 0);
	/* context.traits count once, though they are kept twice */
	ask_format("{\"type\":\"identify\",\"userId\":\"u\",\"context\":{\"traits\":{\"a\":\"%s\"}}}", 60 << 10);
	assert_int_equal(room.problem, PROBLEM_NONE);
}

static void test_depth_is_bounded(void **state)
{
	(void)state;
	for (size_t depth = 1; depth < 100000; depth *= 10) {
		char *body = malloc(2 * depth + 100);
		assert_non_null(body);
		size_t n = (size_t)sprintf(body, "{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":");
		memset(body + n, '[', depth);
		memset(body + n + depth, ']', depth);
		memcpy(body + n + 2 * depth, "}}", 2);
		ask_server(DIALECT_SEGMENT_ONE, str_of(body, n + 2 * depth + 2));
		if (depth <= 10)
			assert_int_equal(room.problem, PROBLEM_NONE);
		else
			assert_refused(PROBLEM_TOO_LARGE, "");
		free(body);
	}
}

/* {"type":…, PREFIX {"k0":0,…} SUFFIX */
static void ask_keys(const char *prefix, const char *key_format, size_t keys, const char *suffix)
{
	char *body = malloc(200 + keys * 24);
	assert_non_null(body);
	size_t n = (size_t)sprintf(body, "{\"type\":\"page\",\"userId\":\"u\",%s", prefix);
	for (size_t i = 0; i < keys; i++) {
		if (i) body[n++] = ',';
		n += (size_t)sprintf(body + n, key_format, i);
	}
	n += (size_t)sprintf(body + n, "%s", suffix);
	ask_server(DIALECT_SEGMENT_ONE, str_of(body, n));
	free(body);
}

static void test_100000_keys_are_refused_wherever_they_stand(void **state)
{
	(void)state;
	ask_keys("\"properties\":{", "\"k%zu\":0", 100000, "}}");
	assert_refused(PROBLEM_TOO_LARGE, "/properties");
	ask_keys("", "\"k%zu\":0", 100000, "}");
	assert_refused(PROBLEM_TOO_LARGE, "");
	ask_keys("\"context\":{\"a\":[{\"b\":{", "\"k%zu\":0", 100000, "}}]}}");
	assert_refused(PROBLEM_TOO_LARGE, "/context");
	ask_keys("\"other\":{", "\"k%zu\":0", 100000, "}}");
	assert_refused(PROBLEM_TOO_LARGE, "/other");
	/* all the same key: small once read, yet refused */
	ask_keys("\"properties\":{", "\"k\":%zu", 100000, "}}");
	assert_refused(PROBLEM_TOO_LARGE, "/properties");
	ask_keys("\"properties\":{", "\"k\":%zu", 10000, "}}");
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_text(room.events[0].properties, "{\"k\":9999}");
	ask_keys("\"properties\":{", "\"k\":%zu", 10001, "}}");
	assert_refused(PROBLEM_TOO_LARGE, "/properties");
}

static void test_rejects_say_whose_and_show_the_start(void **state)
{
	(void)state;
	ask_server(DIALECT_SEGMENT_ONE, STR("{ \"type\":\"page\", \"messageId\":\"m9\" }"));
	assert_refused(PROBLEM_MISSING_IDENTITY, "/userId");
	assert_text(room.rejects[0].source_id, "backend");
	assert_text(room.rejects[0].message_id, "m9");
	assert_text(room.rejects[0].excerpt, "{\"type\":\"page\",\"messageId\":\"m9\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_track_is_kept_whole, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_ids_may_be_numbers_empty_or_null, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_missing_message_id_is_generated, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_the_type_comes_from_the_body_else_the_route, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_identify_takes_traits_over_context_traits, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_other_members_are_kept_and_credentials_are_not, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_declared_is_never_taken_from_the_payload, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_inactive_contexts_are_flagged, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_the_connection_tells_only_of_client_side_sources, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_duplicate_keys_the_last_wins, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_numbers_at_the_edges, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_nul_in_free_text_is_kept_as_an_escape, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_lone_surrogate_becomes_the_replacement_character, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_which_time_is_the_events, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_the_utc_offset_is_resolved_once, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_clocks_are_corrected_for_browsers_only, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_stale_senders_are_not_corrected, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_unreadable_sent_at_is_no_reason_to_lose_the_event, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_bad_messages_get_their_reason_and_pointer, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_alias_needs_the_right, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_lengths_at_their_limits, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_event_beyond_its_size_is_refused, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_depth_is_bounded, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_100000_keys_are_refused_wherever_they_stand, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_rejects_say_whose_and_show_the_start, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
