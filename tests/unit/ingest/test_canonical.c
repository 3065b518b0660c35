/* The number that tells a retry from a conflict. */
#include "ingest/harness.h"

static uint64_t hash_of(const char *json)
{
	return one(json)->canonical_hash;
}

#define SAME \
	"\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"m\",\"timestamp\":\"2026-11-21T20:00:" \
	"00Z\""
#define BASE "{" SAME ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}"

static void test_a_retry_has_the_same_hash(void **state)
{
	(void)state;
	const char *const retries[] = {
	    BASE,
	    "{\"sentAt\":\"2026-11-21T20:51:00Z\"," SAME
	    ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}",
	    "{\"channel\":\"x\",\"context\":{\"locale\":\"ru\"},\"properties\":{\"b\":[1,2],\"a\":1}," SAME "}",
	    "{" SAME ",\"properties\":{\"a\":1.0,\"b\":[1, "
	    "2e0]},\"context\":{\"locale\":\"\\u0072u\"},\"channel\":\"x\",\"_metadata\":{\"nodeVersion\":\"v20\"}}",
	    "{" SAME ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\",\"_"
	    "metadata\":{\"n\":2},\"writeKey\":\"k\",\"receivedAt\":\"now\"}",
	};
	uint64_t wanted = hash_of(retries[0]);
	for (size_t i = 1; i < COUNT_OF(retries); i++)
		if (hash_of(retries[i]) != wanted) fail_msg("%s", retries[i]);
}

static void test_neither_sender_nor_clock_nor_generated_id_counts(void **state)
{
	(void)state;
	const struct str body = STR("{\"type\":\"page\",\"userId\":\"u\"}");
	struct ingest_request request = request_of(DIALECT_SEGMENT_ONE, body);
	request.authorization = STR("Bearer web-key");
	ask(&request);
	uint64_t first = room.events[0].canonical_hash;
	request.client_ip = STR("10.1.1.1");
	request.user_agent = STR("other");
	request.received_at_us += 77 * US_PER_SECOND;
	ask(&request);
	assert_true(room.events[0].canonical_hash == first);
}

static void test_other_content_has_another_hash(void **state)
{
	(void)state;
	const char *const others[] = {
	    BASE,
	    "{" SAME ",\"properties\":{\"a\":2,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}",
	    "{" SAME ",\"properties\":{\"a\":1,\"b\":[2,1]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}",
	    "{" SAME ",\"properties\":{\"a\":\"1\",\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}",
	    "{" SAME ",\"traits\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"x\"}",
	    "{" SAME ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"en\"},\"channel\":\"x\"}",
	    "{" SAME ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"},\"channel\":\"y\"}",
	    "{" SAME ",\"properties\":{\"a\":1,\"b\":[1,2]},\"context\":{\"locale\":\"ru\"}}",
	    "{" SAME "}",
	    "{\"type\":\"track\",\"event\":\"f\",\"userId\":\"u\",\"messageId\":\"m\",\"timestamp\":\"2026-11-21T20:00:"
	    "00Z\"}",
	    "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"v\",\"messageId\":\"m\",\"timestamp\":\"2026-11-21T20:00:"
	    "00Z\"}",
	    "{\"type\":\"track\",\"event\":\"e\",\"anonymousId\":\"u\",\"messageId\":\"m\",\"timestamp\":\"2026-11-"
	    "21T20:00:00Z\"}",
	    "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"m\",\"timestamp\":\"2026-11-21T20:00:"
	    "00.001Z\"}",
	    "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"m\"}",
	    "{\"type\":\"page\",\"name\":\"e\",\"userId\":\"u\",\"messageId\":\"m\"}",
	    "{\"type\":\"page\",\"category\":\"e\",\"userId\":\"u\",\"messageId\":\"m\"}",
	    "{\"type\":\"screen\",\"name\":\"e\",\"userId\":\"u\",\"messageId\":\"m\"}",
	};
	uint64_t seen[COUNT_OF(others)];
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		seen[i] = hash_of(others[i]);
		for (size_t j = 0; j < i; j++)
			if (seen[i] == seen[j]) fail_msg("%s\n%s", others[i], others[j]);
	}
}

/* Days, processes and versions compare with what is on disk: this number may never change. */
static void test_the_hash_is_fixed_for_ever(void **state)
{
	(void)state;
	assert_true(hash_of(BASE) == UINT64_C(0x2950a8272a89045d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_retry_has_the_same_hash, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_neither_sender_nor_clock_nor_generated_id_counts, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_other_content_has_another_hash, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_the_hash_is_fixed_for_ever, room_setup, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
