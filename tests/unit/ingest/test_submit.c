/* The way through the journal and back: when the answer comes, what each of the journal's refusals becomes, who may leave early. */
#include "ingest/harness.h"

#define PAGE STR("{\"type\":\"page\",\"userId\":\"u\"}")

static struct ingest_batch *submit(struct str body)
{
	struct ingest_request request = request_of(DIALECT_SEGMENT_ONE, body);
	forget();
	return ingest_submit(room.worker, &request, on_answer, &room);
}

static void test_no_answer_before_the_commit(void **state)
{
	(void)state;
	assert_non_null(submit(PAGE));
	assert_int_equal(room.answers, 0);
	settle(OK);
	assert_int_equal(room.answers, 1);
	assert_int_equal(room.accepted, 1);
	/* a refusal waits for its commit too: it is counted there */
	assert_non_null(submit(STR("{")));
	assert_int_equal(room.answers, 0);
	settle(OK);
	assert_int_equal(room.problem, PROBLEM_INVALID_JSON);
}

static void test_what_the_journal_refuses_at_once(void **state)
{
	(void)state;
	static const struct {
		int status;
		enum problem problem;
	} refusals[] = {{ERR_BUSY, PROBLEM_OVERLOADED},
			{ERR_FULL, PROBLEM_NOT_DURABLE},
			{ERR_CLOSED, PROBLEM_SHUTTING_DOWN},
			{ERR_PANIC, PROBLEM_NOT_DURABLE}};
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		tape.refusal = refusals[i].status;
		assert_null(submit(PAGE));
		assert_int_equal(room.answers, 1);
		assert_int_equal(room.problem, refusals[i].problem);
		assert_int_equal(room.retry_after_s, problem_info(refusals[i].problem)->retry_after_s);
		assert_true(room.retry_after_s > 0);
		assert_null(submit(STR("{"))); /* not even a refusal can be recorded now */
		assert_int_equal(room.problem, refusals[i].problem);
	}
	assert_null(room.worker->busy);
}

static void test_what_the_journal_could_not_commit(void **state)
{
	(void)state;
	static const int failures[] = {ERR_FULL, ERR_NOMEM, ERR_PANIC, ERR_CLOSED, ERR_IO};
	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		assert_non_null(submit(PAGE));
		settle(failures[i]);
		assert_int_equal(room.answers, 1);
		assert_int_equal(room.accepted, 0);
		assert_int_equal(problem_info(room.problem)->http_status, 503);
	}
	assert_int_equal(tape.records, 0);
}

static void test_who_leaves_early_is_not_called_but_counts(void **state)
{
	(void)state;
	struct ingest_batch *batch = submit(PAGE);
	assert_non_null(batch);
	ingest_cancel(batch);
	settle(OK);
	assert_int_equal(room.answers, 0);
	assert_int_equal(tape.records, 1);
	assert_non_null(submit(PAGE));
	settle(OK);
	assert_int_equal(room.answers, 1);
}

static void test_batches_are_used_again(void **state)
{
	(void)state;
	struct ingest_batch *first = submit(PAGE);
	settle(OK);
	for (int i = 0; i < 100; i++) {
		assert_ptr_equal(submit(PAGE), first);
		settle(OK);
	}
	assert_int_equal(room.worker->idle_count, 1);
}

static void test_a_worker_may_end_while_the_journal_has_a_batch(void **state)
{
	(void)state;
	assert_non_null(submit(PAGE));
	tape.queued = NULL; /* the loop stopped before `settled` could run; the teardown must not leak */
}

static void test_a_new_configuration_takes_hold_with_the_next_request(void **state)
{
	(void)state;
	static struct str keys[] = {{"server-key", 10}};
	struct conf_source source = {
	    .id = {"renamed", 7}, .kind = SOURCE_SERVER, .write_keys = keys, .write_key_count = 1};
	struct config next = test_config;
	next.sources = &source;
	next.source_count = 1;
	next.limits.event_bytes = 200;
	ask_server(DIALECT_SEGMENT_ONE, PAGE);
	assert_text(room.events[0].source_id, "backend");
	ingest_set_config(room.ingest, &next);
	ask_server(DIALECT_SEGMENT_ONE, PAGE);
	assert_text(room.events[0].source_id, "renamed");
	char body[400];
	int len =
	    snprintf(body, sizeof body, "{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":\"%0250d\"}}", 0);
	ask_server(DIALECT_SEGMENT_ONE, str_of(body, (size_t)len));
	assert_refused(PROBLEM_TOO_LARGE, "");
}

static int setup_enriched(void **state)
{
	(void)state;
	return room_open(TEST_CHAIN);
}

static void test_enrichers_run_on_valid_events_only(void **state)
{
	(void)state;
	const struct cdpd_event *e = one("{\"type\":\"page\",\"userId\":\"u\"}");
	assert_text(e->enrichment, "{\"seen\":true}");
	assert_int_equal(chain.with_root, 1);
	uint64_t hash = e->canonical_hash;
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\"}"));
	assert_int_equal(chain.calls, 1);
	chain.drops = true;
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"userId\":\"u\",\"messageId\":\"m\"}"));
	assert_refused(PROBLEM_ENRICHER_DROPPED, "");
	assert_text(room.rejects[0].detail, "a robot");
	assert_text(room.rejects[0].message_id, "m");
	ask_server(DIALECT_SEGMENT_BATCH, STR("{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}"));
	assert_int_equal(room.rejection_count, 1);
	assert_int_equal(room.rejections[0].code, PROBLEM_ENRICHER_DROPPED);
	assert_int_equal(tape.rejected_by[PROBLEM_ENRICHER_DROPPED], 2);
	assert_true(hash != 0);
}

/* What the enrichers see must be what is stored. */
static void test_enrichers_get_no_document_that_says_less_than_the_event(void **state)
{
	(void)state;
	ask_server(DIALECT_SEGMENT_BATCH,
		   STR("{\"context\":{\"page\":{\"url\":\"x\"}},\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}"));
	ask_server(DIALECT_SEGMENT_ONE,
		   STR("{\"type\":\"identify\",\"userId\":\"u\",\"context\":{\"traits\":{\"a\":1}}}"));
	assert_int_equal(chain.calls, 2);
	assert_int_equal(chain.with_root, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_no_answer_before_the_commit, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_what_the_journal_refuses_at_once, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_what_the_journal_could_not_commit, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_who_leaves_early_is_not_called_but_counts, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_batches_are_used_again, room_setup, room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_worker_may_end_while_the_journal_has_a_batch, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_a_new_configuration_takes_hold_with_the_next_request, room_setup,
					    room_teardown),
	    cmocka_unit_test_setup_teardown(test_enrichers_run_on_valid_events_only, setup_enriched, room_teardown),
	    cmocka_unit_test_setup_teardown(test_enrichers_get_no_document_that_says_less_than_the_event,
					    setup_enriched, room_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
