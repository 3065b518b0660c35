/* Segment batches: the envelope, and that one bad message never costs its neighbours. */
#include "ingest/harness.h"

static void ask_batch(const char *body)
{
	ask_server(DIALECT_SEGMENT_BATCH, str_from(body));
}

static void assert_rejected(size_t i, uint32_t index, enum problem code, const char *pointer, const char *message_id)
{
	assert_true(i < room.rejection_count);
	const struct told *told = &room.rejections[i];
	assert_int_equal(told->index, index);
	if (told->code != code) fail_msg("%s, not %s", problem_info(told->code)->code, problem_info(code)->code);
	assert_string_equal(told->pointer, pointer);
	assert_string_equal(told->message_id, message_id);
	assert_true(told->message[0] != '\0');
}

static void test_batch_stands_first_or_last(void **state)
{
	(void)state;
	ask_batch("{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"},{\"type\":\"page\",\"userId\":\"b\"}],\"sentAt\":"
		  "\"2026-11-21T20:50:00Z\",\"writeKey\":\"x\"}");
	assert_int_equal(room.accepted, 2);
	assert_int_equal(room.position_seq, 2);
	assert_text(room.events[1].user_id, "b");
	assert_int_equal(room.events[1].sent_at_us, NOW);
	ask_batch("{\"sentAt\":\"2026-11-21T20:50:00Z\",\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}]}");
	assert_int_equal(room.events[0].sent_at_us, NOW);
	assert_int_equal(tape.appends, 2);
	assert_int_equal(tape.received, 3);
}

static void test_what_holds_for_all_lies_under_what_each_says(void **state)
{
	(void)state;
	ask_batch("{\"context\":{\"app\":{\"name\":\"x\"},\"locale\":\"ru\"},\"integrations\":{\"All\":false,\"A\":1},"
		  "\"timestamp\":\"2026-11-21T20:00:00Z\",\"batch\":["
		  "{\"type\":\"page\",\"userId\":\"a\"},"
		  "{\"type\":\"page\",\"userId\":\"b\",\"context\":{\"locale\":\"en\",\"ip\":\"1.2.3.4\"},"
		  "\"integrations\":{\"All\":true},\"timestamp\":\"2026-11-21T20:30:00Z\"},"
		  "{\"type\":\"page\",\"userId\":\"c\",\"integrations\":true}]}");
	assert_int_equal(room.accepted, 3);
	assert_text(room.events[0].context, "{\"app\":{\"name\":\"x\"},\"locale\":\"ru\"}");
	assert_text(room.events[0].extra, "{\"integrations\":{\"A\":1,\"All\":false}}");
	assert_int_equal(room.events[0].event_time_us, NOW - 3000 * US_PER_SECOND);
	assert_text(room.events[1].context, "{\"app\":{\"name\":\"x\"},\"ip\":\"1.2.3.4\",\"locale\":\"en\"}");
	assert_text(room.events[1].extra, "{\"integrations\":{\"A\":1,\"All\":true}}");
	assert_int_equal(room.events[1].event_time_us, NOW - 1200 * US_PER_SECOND);
	assert_text(room.events[2].extra, "{\"integrations\":true}");
}

static void test_unreadable_times_of_the_envelope_serve_nobody(void **state)
{
	(void)state;
	ask_batch("{\"sentAt\":\"x\",\"timestamp\":[],\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}]}");
	assert_int_equal(room.accepted, 1);
	assert_int_equal(room.events[0].sent_at_us, 0);
	assert_true(room.events[0].flags & EVENT_TIME_MISSING);
}

static void test_good_neighbours_are_kept(void **state)
{
	(void)state;
	ask_batch(
	    "{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"},{\"type\":\"page\",\"messageId\":\"m2\"},7,{\"type\":"
	    "\"x\",\"userId\":\"u\",\"messageId\":\"m4\"},"
	    "{\"type\":\"page\",\"userId\":\"e\",\"timestamp\":\"never\"},{\"type\":\"page\",\"userId\":\"f\"}]}");
	assert_int_equal(room.accepted, 2);
	assert_int_equal(room.rejection_count, 4);
	assert_rejected(0, 1, PROBLEM_MISSING_IDENTITY, "/userId", "m2");
	assert_rejected(1, 2, PROBLEM_SCHEMA_VIOLATION, "", "");
	assert_rejected(2, 3, PROBLEM_UNKNOWN_TYPE, "/type", "m4");
	assert_rejected(3, 4, PROBLEM_BAD_TIMESTAMP, "/timestamp", "");
	assert_text(room.events[1].user_id, "f");
	assert_int_equal(tape.received, 6);
	assert_int_equal(tape.rejected, 4);
	assert_int_equal(tape.appends, 1); /* one request = one transaction */
}

/* Each makes the whole document unreadable. */
static const char *const broken_elements[] = {
    "{\"type\":\"page\",\"userId\":\"\xc3\x28\"}",    "{\"type\":\"page\",\"userId\":\"x\",\"n\":1e999}",
    "{\"type\":\"page\",\"userId\":\"x\",}",          "{\"type\":\"page\" \"userId\":\"x\"}",
    "{\"type\":\"page\",\"userId\":\"x\",\"t\":tru}", "{\"type\":\"page\",\"userId\":\"x\\q\"}",
    "{\"type\":\"page\",\"userId\":\"x\ty\"}",        "",
};

static void test_an_undecodable_element_is_refused_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(broken_elements); i++) {
		char body[1000];
		(void)snprintf(body, sizeof body,
			       "{\"context\":{\"locale\":\"ru\"},\"batch\": [ {\"type\":\"page\",\"userId\":\"a\"} , "
			       "%s ,{\"type\":\"page\",\"userId\":\"c\"}],"
			       "\"sentAt\":\"2026-11-21T20:50:00Z\"}",
			       broken_elements[i]);
		ask_batch(body);
		if (room.accepted != 2 || room.rejection_count != 1) fail_msg("%s: %u accepted", body, room.accepted);
		assert_rejected(0, 1, PROBLEM_INVALID_JSON, "", "");
		assert_int_equal(room.rejects[0].excerpt.len, strlen(broken_elements[i]));
		assert_text(room.events[0].context, "{\"locale\":\"ru\"}");
		assert_text(room.events[1].user_id, "c");
		assert_int_equal(room.events[1].sent_at_us, NOW);
	}
}

static void test_a_deep_element_is_too_large_and_alone(void **state)
{
	(void)state;
	char body[4000];
	size_t n = (size_t)sprintf(
	    body, "{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"},{\"type\":\"page\",\"userId\":\"b\",\"x\":");
	memset(body + n, '[', 1000);
	memset(body + n + 1000, ']', 1000);
	n += 2000;
	n += (size_t)sprintf(body + n, "},{\"type\":\"page\",\"userId\":\"c\"}]}");
	ask_server(DIALECT_SEGMENT_BATCH, str_of(body, n));
	assert_int_equal(room.accepted, 2);
	assert_rejected(0, 1, PROBLEM_TOO_LARGE, "", "");
}

static void test_a_broken_envelope_is_one_event_refused(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		enum problem problem;
		const char *pointer;
	} bad[] = {
	    {"", PROBLEM_INVALID_JSON, ""},
	    {"{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}", PROBLEM_INVALID_JSON, ""},
	    {"{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}]} trailing", PROBLEM_INVALID_JSON, ""},
	    {"{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}],\"sentAt\":1e999}", PROBLEM_INVALID_JSON, ""},
	    {"{\"batch\":[],\"x\":\"\xff\"}", PROBLEM_INVALID_JSON, ""},
	    {"[]", PROBLEM_SCHEMA_VIOLATION, "/batch"},
	    {"{}", PROBLEM_SCHEMA_VIOLATION, "/batch"},
	    {"{\"type\":\"page\",\"userId\":\"a\"}", PROBLEM_SCHEMA_VIOLATION, "/batch"},
	    {"{\"batch\":{}}", PROBLEM_SCHEMA_VIOLATION, "/batch"},
	    {"{\"batch\":null}", PROBLEM_SCHEMA_VIOLATION, "/batch"},
	    {"{\"batch\":[],\"context\":7}", PROBLEM_SCHEMA_VIOLATION, "/context"},
	    {"{\"batch\":[],\"integrations\":[]}", PROBLEM_SCHEMA_VIOLATION, "/integrations"},
	};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		ask_batch(bad[i].body);
		if (room.problem != bad[i].problem) fail_msg("%s: %s", bad[i].body, problem_info(room.problem)->code);
		assert_refused(bad[i].problem, bad[i].pointer);
		assert_int_equal(room.accepted, 0);
	}
	assert_int_equal(tape.received, COUNT_OF(bad));
}

static void test_nothing_valid_is_still_an_answer_of_200(void **state)
{
	(void)state;
	ask_batch("{\"batch\":[{\"type\":\"page\"}]}");
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_int_equal(room.accepted, 0);
	assert_int_equal(room.rejection_count, 1);
	assert_int_equal(tape.rejected, 1);
}

static void test_an_empty_batch_writes_nothing(void **state)
{
	(void)state;
	ask_batch("{\"batch\":[]}");
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_int_equal(room.accepted, 0);
	assert_int_equal(tape.appends, 0);
}

static struct str many(size_t count, const char *element)
{
	static char body[10 << 20];
	size_t n = (size_t)sprintf(body, "{\"batch\":["), len = strlen(element);
	for (size_t i = 0; i < count; i++) {
		if (i) body[n++] = ',';
		memcpy(body + n, element, len);
		n += len;
	}
	memcpy(body + n, "]}", 2);
	return str_of(body, n + 2);
}

static void test_messages_beyond_the_count_are_refused_singly(void **state)
{
	(void)state;
	ask_server(DIALECT_SEGMENT_BATCH, many(2503, "{\"type\":\"page\",\"userId\":\"a\"}"));
	assert_int_equal(room.accepted, 2500);
	assert_int_equal(room.rejection_count, 3);
	assert_rejected(0, 2500, PROBLEM_TOO_LARGE, "", "");
	assert_rejected(2, 2502, PROBLEM_TOO_LARGE, "", "");
}

static void test_very_many_bad_messages_stay_small(void **state)
{
	(void)state;
	ask_server(DIALECT_SEGMENT_BATCH, many(5000, "{}"));
	assert_int_equal(room.problem, PROBLEM_NONE);
	assert_int_equal(room.rejection_count, 5000);
	ask_server(DIALECT_SEGMENT_BATCH, many(5001, "{}"));
	assert_refused(PROBLEM_TOO_LARGE, "/batch");
	ask_server(DIALECT_SEGMENT_BATCH, many(1600000, "1"));
	assert_refused(PROBLEM_TOO_LARGE, "/batch");
	ask_server(DIALECT_SEGMENT_BATCH, many(1600000, ""));
	assert_refused(PROBLEM_TOO_LARGE, "/batch");
}

/* A few bytes of batch-level context would become gigabytes, repeated in each event. */
static void test_the_arena_cap_holds(void **state)
{
	(void)state;
	static char body[1 << 20];
	size_t n = (size_t)sprintf(body, "{\"context\":{\"a\":\"");
	memset(body + n, 'x', 60 << 10);
	n += 60 << 10;
	n += (size_t)sprintf(body + n, "\"},\"batch\":[");
	for (size_t i = 0; i < 2500; i++)
		n += (size_t)sprintf(body + n, "%s{\"type\":\"page\",\"userId\":\"u\"}", i ? "," : "");
	n += (size_t)sprintf(body + n, "]}");
	forget();
	struct ingest_request request = request_of(DIALECT_SEGMENT_BATCH, str_of(body, n));
	struct ingest_batch *batch = ingest_submit(room.worker, &request, on_answer, &room);
	assert_non_null(batch);
	assert_true(batch->arena.used <= 4 * test_config.limits.body_bytes + (4 << 20));
	assert_true(batch->problem == PROBLEM_TOO_LARGE || batch->reject_count > 0);
	settle(OK);
	assert_int_equal(room.answers, 1);
	ask_batch("{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"}]}");
	assert_int_equal(room.accepted, 1);
	/* what is idle keeps one block */
	assert_true(room.worker->idle->arena.used <= 64 << 10);
}

static void test_random_damage_never_breaks_the_books(void **state)
{
	(void)state;
	static const char good[] = "{\"writeKey\":\"k\",\"batch\":[{\"type\":\"track\",\"event\":\"e\",\"userId\":"
				   "\"u\",\"properties\":{\"a\":[1,2.5e3,true,null]}},"
				   "{\"type\":\"identify\",\"anonymousId\":\"a\\u00e9\",\"traits\":{\"x\":{}}}],"
				   "\"sentAt\":\"2026-11-21T20:50:00Z\"}";
	char body[sizeof good];
	unsigned seed = 1;
	for (int round = 0; round < 20000; round++) {
		memcpy(body, good, sizeof good);
		size_t len = sizeof good - 1;
		for (int hits = 0; hits < 1 + round % 3; hits++) {
			seed = seed * 1103515245 + 12345;
			body[(seed >> 8) % len] = (char)(seed >> 24);
		}
		if (round % 5 == 0) len = (seed >> 10) % len;
		ask_server(DIALECT_SEGMENT_BATCH,
			   str_of(body, len)); /* the harness checks received = records + rejects */
	}
	assert_int_equal(tape.received, tape.records + tape.rejected);
	assert_true(tape.records > 1000 && tape.rejected > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_batch_stands_first_or_last, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_what_holds_for_all_lies_under_what_each_says, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_unreadable_times_of_the_envelope_serve_nobody, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_good_neighbours_are_kept, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_undecodable_element_is_refused_alone, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_deep_element_is_too_large_and_alone, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_broken_envelope_is_one_event_refused, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_nothing_valid_is_still_an_answer_of_200, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_an_empty_batch_writes_nothing, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_messages_beyond_the_count_are_refused_singly, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_very_many_bad_messages_stay_small, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_the_arena_cap_holds, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_random_damage_never_breaks_the_books, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
