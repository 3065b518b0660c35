/* The native route: JSON in its three shapes, and protobuf, packed here by protobuf-c itself. */
#include "cdpd/v1/event.pb-c.h"
#include "ingest/harness.h"

#define EVENT_JSON(id) "{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"" id "\"}"

static void ask_json(const char *body)
{
	ask_server(DIALECT_NATIVE_JSON, str_from(body));
}

static void test_an_object_is_one_event(void **state)
{
	(void)state;
	ask_json("{\n \"event\":\"Bought\",\n \"userId\":\"u\"\n}\n");
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.events[0].type, EVENT_TRACK); /* an event name makes it a track */
	ask_json("{\"userId\":\"u\"}");
	assert_refused(PROBLEM_UNKNOWN_TYPE, "/type");
	ask_json("{\n \"event\":\"Bought\",\n \"userId\":\n}\n");
	assert_refused(PROBLEM_INVALID_JSON, "");
	assert_int_equal(tape.received, 3);
	ask_json(" \n ");
	assert_refused(PROBLEM_INVALID_JSON, "");
	ask_json("7");
	assert_refused(PROBLEM_SCHEMA_VIOLATION, "");
}

static void test_an_array_keeps_its_good_elements(void **state)
{
	(void)state;
	ask_json(" [" EVENT_JSON("a") "," EVENT_JSON("b") "]");
	assert_int_equal(room.accepted, 2);
	ask_json("[" EVENT_JSON("a") ",{\"type\":\"page\",\"userId\":\"\xff\"}," EVENT_JSON("c") "]");
	assert_int_equal(room.accepted, 2);
	assert_int_equal(room.rejection_count, 1);
	assert_int_equal(room.rejections[0].index, 1);
	assert_int_equal(room.rejections[0].code, PROBLEM_INVALID_JSON);
	assert_text(room.events[1].message_id, "c");
	ask_json("[" EVENT_JSON("a") "," EVENT_JSON("b"));
	assert_refused(PROBLEM_INVALID_JSON, "");
	ask_json("[]");
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_int_equal(room.accepted, 0);
}

static void test_one_bad_line_rejects_only_itself(void **state)
{
	(void)state;
	ask_json(EVENT_JSON("a") "\n" EVENT_JSON("b") "\r\n\n{broken\n" EVENT_JSON("d"));
	assert_int_equal(room.accepted, 3);
	assert_int_equal(room.rejection_count, 1);
	assert_int_equal(room.rejections[0].index, 2);
	assert_int_equal(room.rejections[0].code, PROBLEM_INVALID_JSON);
	assert_text(room.rejects[0].excerpt, "{broken");
	ask_json("{broken\n" EVENT_JSON("b") "\n");
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.rejections[0].index, 0);
	ask_json(EVENT_JSON("a") "\n7\n[" EVENT_JSON("b") "]\n");
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.rejections[0].code, PROBLEM_SCHEMA_VIOLATION);
	assert_int_equal(room.rejections[1].code, PROBLEM_SCHEMA_VIOLATION);
}

static void test_a_key_may_stand_in_the_first_event(void **state)
{
	(void)state;
	static const char *const bodies[] = {
	    "{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"web-key\"}",
	    "[{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"web-key\"},{\"type\":\"page\",\"userId\":\"u\"}]",
	    "{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"web-key\"}\n{\"type\":\"page\",\"userId\":\"u\"}",
	};
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		ask_as("", DIALECT_NATIVE_JSON, str_from(bodies[i]));
		assert_int_equal(room.problem, PROBLEM_NONE);
		assert_text(room.events[0].source_id, "web");
	}
}

/* ── protobuf ────────────────────────────────────────────────────────────── */

static uint8_t wire[6 << 20];

static struct str pack(Cdpd__V1__Event **events, size_t count, const char *key)
{
	Cdpd__V1__PublishRequest request = CDPD__V1__PUBLISH_REQUEST__INIT;
	request.events = events;
	request.n_events = count;
	request.write_key = (char *)(uintptr_t)key;
	assert_true(cdpd__v1__publish_request__get_packed_size(&request) <= sizeof wire);
	return str_of(wire, cdpd__v1__publish_request__pack(&request, wire));
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static Cdpd__V1__Event full_event(void)
{
	Cdpd__V1__Event e = CDPD__V1__EVENT__INIT;
	e.type = CDPD__V1__EVENT_TYPE__EVENT_TYPE_IDENTIFY;
	e.message_id = "m1";
	e.user_id = "u\xc3\xa9";
	e.anonymous_id = "a1";
	e.previous_id = "p1";
	e.group_id = "g1";
	e.name = "n";
	e.category = "c";
	e.timestamp_us = NOW - 5;
	e.sent_at_us = NOW - 4;
	e.properties = bytes("{\"b\":1,\"a\":2}");
	e.traits = bytes("{\"plan\":\"pro\"}");
	e.context = bytes("{\"active\":false,\"ip\":\"9.9.9.9\"}");
	return e;
}

static void test_protobuf_says_the_same_as_json(void **state)
{
	(void)state;
	Cdpd__V1__Event e = full_event(), *list[] = {&e};
	ask_server(DIALECT_NATIVE_PROTOBUF, pack(list, 1, ""));
	assert_int_equal(room.accepted, 1);
	const struct cdpd_event *got = &room.events[0];
	assert_int_equal(got->type, EVENT_IDENTIFY);
	assert_text(got->message_id, "m1");
	assert_text(got->user_id, "u\xc3\xa9");
	assert_text(got->anonymous_id, "a1");
	assert_text(got->previous_id, "p1");
	assert_text(got->group_id, "g1");
	assert_text(got->name, "n");
	assert_text(got->category, "c");
	assert_int_equal(got->client_time_us, NOW - 5);
	assert_int_equal(got->sent_at_us, NOW - 4);
	assert_text(got->properties, "{\"a\":2,\"b\":1}");
	assert_text(got->traits, "{\"plan\":\"pro\"}");
	assert_true(got->flags & EVENT_INACTIVE);
	uint64_t hash = got->canonical_hash;
	ask_json("{\"type\":\"identify\",\"messageId\":\"m1\",\"userId\":\"ué\",\"anonymousId\":\"a1\",\"previousId\":"
		 "\"p1\",\"groupId\":\"g1\",\"name\":\"n\",\"category\":\"c\","
		 "\"timestamp\":\"2026-11-21T20:49:59.999995Z\",\"properties\":{\"a\":2,\"b\":1},\"traits\":{\"plan\":"
		 "\"pro\"},\"context\":{\"active\":false,\"ip\":\"9.9.9.9\"}}");
	assert_true(room.events[0].canonical_hash == hash);
}

static void test_protobuf_key_and_defaults(void **state)
{
	(void)state;
	Cdpd__V1__Event e = CDPD__V1__EVENT__INIT, *list[] = {&e};
	e.event = "Bought";
	e.user_id = "u";
	ask_as("", DIALECT_NATIVE_PROTOBUF, pack(list, 1, "web-key"));
	assert_int_equal(room.accepted, 1);
	assert_text(room.events[0].source_id, "web");
	assert_int_equal(room.events[0].type, EVENT_TRACK);
	assert_true(room.events[0].flags & EVENT_TIME_MISSING);
	assert_true(room.events[0].flags & EVENT_ID_GENERATED);
	ask_as("", DIALECT_NATIVE_PROTOBUF, pack(list, 1, "nobody's"));
	assert_refused(PROBLEM_UNKNOWN_KEY, "");
}

static void test_bad_protobuf_events_are_refused_alone(void **state)
{
	(void)state;
	static const struct {
		const char *wire;
		size_t len;
		enum problem code;
		const char *pointer;
	} bad[] = {
	    {"\x1a\x01u\x08", 4, PROBLEM_INVALID_BODY, ""},                                 /* cut in a varint */
	    {"\x1a\x7fu", 3, PROBLEM_INVALID_BODY, ""},                                     /* cut in a text */
	    {"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, PROBLEM_INVALID_BODY, ""}, /* a length of 2^64 - 1 */
	    {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, PROBLEM_INVALID_BODY,
	     ""},                                      /* a varint of 11 bytes */
	    {"\x18\x01", 2, PROBLEM_INVALID_BODY, ""}, /* userId as a number */
	    {"\x0a\x00", 2, PROBLEM_INVALID_BODY, ""}, /* type as a text */
	    {"\x1b", 1, PROBLEM_INVALID_BODY, ""},     /* a group */
	    {"\x00\x00", 2, PROBLEM_INVALID_BODY, ""}, /* field 0 */
	    {"\x08\x03", 2, PROBLEM_MISSING_IDENTITY, "/userId"},
	    {"\x08\x03\x1a\x00", 4, PROBLEM_MISSING_IDENTITY, "/userId"},
	    {"\x1a\x01u", 3, PROBLEM_UNKNOWN_TYPE, "/type"},
	    {"\x08\x07\x1a\x01u", 5, PROBLEM_UNKNOWN_TYPE, "/type"},
	    {"\x08\x03\x1a\x03u\x00v", 7, PROBLEM_INVALID_IDENTIFIER, "/userId"},
	    {"\x08\x03\x1a\x02\xc3\x28", 6, PROBLEM_SCHEMA_VIOLATION, "/userId"},
	    {"\x08\x03\x1a\x01u\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 16, PROBLEM_BAD_TIMESTAMP,
	     "/timestampUs"},
	    {"\x08\x03\x1a\x01u\x62\x01{", 8, PROBLEM_INVALID_JSON, "/properties"},
	    {"\x08\x03\x1a\x01u\x62\x02[]", 9, PROBLEM_SCHEMA_VIOLATION, "/properties"},
	    {"\x08\x03\x1a\x01u\x72\x02\"\xff", 9, PROBLEM_INVALID_JSON, "/context"},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		uint8_t body[64] = {0x0a, 5, 0x08, 3, 0x1a, 1, 'a', 0x0a, (uint8_t)bad[i].len};
		memcpy(body + 9, bad[i].wire, bad[i].len);
		ask_server(DIALECT_NATIVE_PROTOBUF, str_of(body, 9 + bad[i].len));
		if (room.accepted != 1 || room.rejection_count != 1 || room.rejections[0].code != bad[i].code)
			fail_msg("row %zu: %u accepted, %s", i, room.accepted,
				 problem_info(room.rejections[0].code)->code);
		assert_int_equal(room.rejections[0].index, 1);
		assert_string_equal(room.rejections[0].pointer, bad[i].pointer);
	}
}

static void test_unknown_protobuf_fields_are_passed_over(void **state)
{
	(void)state;
	/* in the event field 100 as a number and as eight bytes; beside the events field 5 as a number */
	static const char body[] = "\x0a\x12\x08\x03\x1a\x01u\xa0\x06\x01\xa1\x06"
				   "12345678\x28\x07";
	ask_server(DIALECT_NATIVE_PROTOBUF, str_of(body, sizeof body - 1));
	assert_int_equal(room.accepted, 1);
	assert_text(room.events[0].user_id, "u");
}

static void test_a_malformed_request_is_refused_whole(void **state)
{
	(void)state;
	ask_server(DIALECT_NATIVE_PROTOBUF, STR("\x0a\x05\x08"));
	assert_refused(PROBLEM_INVALID_BODY, "");
	ask_server(DIALECT_NATIVE_PROTOBUF, STR("{\"type\":\"page\"}"));
	assert_refused(PROBLEM_INVALID_BODY, "");
	assert_int_equal(tape.received, 2);
}

static void test_millions_of_empty_events_stay_small(void **state)
{
	(void)state;
	for (size_t i = 0; i + 1 < 5 << 20; i += 2) memcpy(wire + i, "\x0a\x00", 2);
	ask_server(DIALECT_NATIVE_PROTOBUF, str_of(wire, 5 << 20));
	assert_refused(PROBLEM_TOO_LARGE, "/events");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_an_object_is_one_event, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_array_keeps_its_good_elements, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_one_bad_line_rejects_only_itself, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_key_may_stand_in_the_first_event, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_protobuf_says_the_same_as_json, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_protobuf_key_and_defaults, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_bad_protobuf_events_are_refused_alone, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_unknown_protobuf_fields_are_passed_over, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_malformed_request_is_refused_whole, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_millions_of_empty_events_stay_small, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
