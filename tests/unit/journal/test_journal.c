#include "journal/journal_world.h"

#include "base/secret.h"

static void a_new_journal_is_empty(void **state)
{
	(void)state;
	struct journal_batch batch;
	struct journal_counters counters;
	struct arena arena;
	struct record record;
	world_start(&world);
	assert_true(journal_first_seq(world.journal) == 1 && journal_next_seq(world.journal) == 1);
	assert_true(journal_epoch(world.journal) != 0);
	assert_true(journal_bytes(world.journal) > 0);
	assert_null(journal_refusal(world.journal));
	journal_batch_init(&batch);
	arena_init(&arena, 4096, 0);
	assert_int_equal(journal_read(world.journal, 1, 10, 1000, &batch), ERR_AGAIN);
	assert_int_equal(journal_read(world.journal, 0, 10, 1000, &batch), ERR_GONE);
	assert_int_equal(journal_get(world.journal, 1, &arena, &record), ERR_NOT_FOUND);
	journal_counters(world.journal, &counters);
	assert_true(counters.received == 0 && counters.rejected == 0);
	arena_fini(&arena);
	journal_batch_fini(&batch);
}

static void an_append_is_read_back(void **state)
{
	(void)state;
	struct arena arena;
	struct record record;
	world_start(&world);
	int64_t before = clock_wall_us();
	assert_true(append_event(STR("one")) == 1);
	assert_true(append_event(STR("two")) == 2);
	int64_t after = clock_wall_us();
	arena_init(&arena, 4096, 0);
	assert_int_equal(journal_get(world.journal, 2, &arena, &record), OK);
	assert_true(str_eq(record.payload, STR("two")) && record.kind == RECORD_EVENT && record.seq == 2);
	assert_true(record.t >= before && record.t <= after);
	assert_true(journal_last_t(world.journal) == record.t);
	assert_true(journal_next_seq(world.journal) == 3);
	arena_fini(&arena);
}

static void an_emptied_journal_has_another_epoch(void **state)
{
	(void)state;
	world_start(&world);
	uint64_t epoch = journal_epoch(world.journal);
	world_stop(&world);
	test_dir_remove(&world.dir);
	world_start(&world);
	assert_true(journal_epoch(world.journal) != epoch);
}

static void a_restart_goes_on_where_it_was(void **state)
{
	(void)state;
	struct journal_counters counters;
	world_start(&world);
	uint64_t epoch = journal_epoch(world.journal);
	append_event(STR("one"));
	append_event(STR("two"));
	int64_t last_t = journal_last_t(world.journal);
	world_restart(&world);
	assert_true(journal_epoch(world.journal) == epoch);
	assert_true(journal_next_seq(world.journal) == 3 && journal_last_t(world.journal) == last_t);
	assert_true(append_event(STR("three")) == 3);
	assert_true(read_all(1, 10, 1000, NULL) == 3);
	journal_counters(world.journal, &counters);
	assert_true(counters.received == 3);
}

static void a_request_has_neighbouring_positions(void **state)
{
	(void)state;
	struct request request;
	struct journal_entry entries[5];
	world_start(&world);
	append_event(STR("before"));
	request_init(&request, STR_NONE);
	for (size_t i = 0; i < COUNT_OF(entries); i++) entries[i] = (struct journal_entry){RECORD_EVENT, STR("x")};
	entries[2].kind = RECORD_MERGE;
	request.append.entries = entries;
	request.append.entry_count = COUNT_OF(entries);
	assert_int_equal(request_submit_and_wait(&request), OK);
	assert_true(request.append.first_seq == 2 && request.append.last_seq == 6);
}

static int count_row(void *ctx, const struct journal_reject_row *row)
{
	(void)row;
	(*(int *)ctx)++;
	return 0;
}

static void a_request_of_rejects_alone_is_counted(void **state)
{
	(void)state;
	struct request request;
	struct journal_counters counters;
	const struct journal_reject rejects[] = {
	    {.reason = PROBLEM_UNKNOWN_TYPE,
	     .source_id = STR("web"),
	     .message_id = STR("m-1"),
	     .pointer = STR("/batch/0/type"),
	     .detail = STR("what is a 'poke'?"),
	     .excerpt = STR("{\"type\":\"poke\"}"),
	     .index = 7},
	    {.reason = PROBLEM_TOO_LARGE,
	     .source_id = STR_NONE,
	     .message_id = STR_NONE,
	     .pointer = STR_NONE,
	     .detail = STR_NONE,
	     .excerpt = STR_NONE},
	};
	world_start(&world);
	append_event(STR("one"));
	request_init(&request, STR_NONE);
	request.append.entry_count = 0;
	request.append.rejects = rejects;
	request.append.reject_count = COUNT_OF(rejects);
	request.append.received = 2;
	assert_int_equal(request_submit_and_wait(&request), OK);
	assert_true(request.append.last_seq == 1 && request.append.first_seq == 0);
	assert_true(journal_next_seq(world.journal) == 2);
	for (int restarts = 0; restarts < 2; restarts++) {
		journal_counters(world.journal, &counters);
		assert_true(counters.received == 3 && counters.rejected == 2 && counters.rejects_not_kept == 0);
		assert_true(counters.rejected_by[PROBLEM_UNKNOWN_TYPE] == 1);
		assert_true(counters.rejected_by[PROBLEM_TOO_LARGE] == 1);
		assert_true(counters.rejected_by[PROBLEM_INVALID_JSON] == 0);
		int rows = 0;
		assert_int_equal(journal_rejects(world.journal, 0, count_row, &rows), OK);
		assert_int_equal(rows, 2);
		world_restart(&world);
	}
}

/* ── many threads ── */

enum { THREADS = 6, REQUESTS = 400, ENTRIES = 3 };

struct sender {
	pthread_t thread;
	struct request requests[REQUESTS];
	struct journal_entry entries[REQUESTS][ENTRIES];
	char payloads[REQUESTS][ENTRIES][24];
	uint32_t id;
	_Atomic uint32_t settled;
	uint32_t out_of_order, failed;
};

static void on_sent(struct request *request)
{
	struct sender *sender = request->ctx;
	uint32_t number = (uint32_t)(request - sender->requests);
	if (atomic_fetch_add(&sender->settled, 1) != number) sender->out_of_order++;
	if (request->append.status != OK) sender->failed++;
}

static void *send_all(void *arg)
{
	struct sender *sender = arg;
	for (uint32_t i = 0; i < REQUESTS; i++) {
		struct request *request = &sender->requests[i];
		request_init(request, STR_NONE);
		request->ctx = sender;
		request->on_settled = on_sent;
		for (uint32_t j = 0; j < ENTRIES; j++) {
			uint64_t number = (uint64_t)sender->id << 32 | ((uint64_t)i * ENTRIES + j);
			sender->entries[i][j] = (struct journal_entry){
			    RECORD_EVENT,
			    numbered_payload(sender->payloads[i][j], sizeof sender->payloads[i][j], number)};
		}
		request->append.entries = sender->entries[i];
		request->append.entry_count = ENTRIES;
		if (journal_submit(world.journal, &request->append) != OK) sender->failed++;
	}
	return NULL;
}

static uint64_t next_of[THREADS]; /* the number that the sender's next record must have */

static void expect_next(const struct record *record)
{
	uint64_t number = payload_number(record->payload);
	uint64_t id = number >> 32;
	assert_true(id < THREADS);
	assert_true((number & UINT32_MAX) == next_of[id]);
	next_of[id]++;
}

static void many_threads_keep_their_order(void **state)
{
	(void)state;
	struct sender *senders = calloc(THREADS, sizeof *senders);
	assert_non_null(senders);
	memset(next_of, 0, sizeof next_of);
	world_start(&world);
	for (uint32_t i = 0; i < THREADS; i++) {
		senders[i].id = i;
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) pthread_join(senders[i].thread, NULL);
	for (uint32_t i = 0; i < THREADS; i++) {
		EVENTUALLY(atomic_load(&senders[i].settled) == REQUESTS);
		assert_int_equal(senders[i].out_of_order, 0);
		assert_int_equal(senders[i].failed, 0);
		for (uint32_t j = 0; j < REQUESTS; j++) { /* no request was split, nobody stands between */
			const struct journal_append *append = &senders[i].requests[j].append;
			assert_true(append->last_seq == append->first_seq + ENTRIES - 1);
		}
	}
	world_stop(&world);
	world_start(&world);
	assert_true(read_all(1, 100, 1 << 20, expect_next) == THREADS * REQUESTS * ENTRIES);
	for (int i = 0; i < THREADS; i++) assert_true(next_of[i] == REQUESTS * ENTRIES);
	free(senders);
}

/* ── answers arrive on the loop that asked ── */

static struct loop *asked;
static int on_loop, still_open;

static void answered(struct request *request)
{
	(void)request;
	if (loop_is_current(asked)) on_loop++;
	if (--still_open == 0) loop_stop(asked);
}

static void answers_come_on_the_loop_that_asked(void **state)
{
	(void)state;
	static struct request requests[100];
	world_start(&world);
	assert_int_equal(loop_new(&asked), OK);
	on_loop = 0;
	still_open = COUNT_OF(requests);
	for (size_t i = 0; i < COUNT_OF(requests); i++) {
		request_init(&requests[i], STR("x"));
		requests[i].append.loop = asked;
		requests[i].on_settled = answered;
		assert_int_equal(journal_submit(world.journal, &requests[i].append), OK);
	}
	loop_run(asked);
	assert_int_equal(on_loop, COUNT_OF(requests));
	loop_free(asked);
}

/* ── bounds ── */

static void a_full_queue_is_busy(void **state)
{
	(void)state;
	enum { COUNT = 12 };
	static char payload[100000];
	struct request requests[COUNT];
	world.conf.queue_bytes = 1000000;
	world_open(&world); /* not started: nothing leaves the queue */
	int taken = 0, rc = OK;
	for (int i = 0; i < COUNT && rc == OK; i++) {
		request_init(&requests[i], (struct str){payload, sizeof payload});
		rc = journal_submit(world.journal, &requests[i].append);
		if (rc == OK) taken++;
	}
	assert_int_equal(rc, ERR_BUSY);
	assert_int_equal(taken, 9); /* ten would need a few bytes of bookkeeping more */
	/* The reserve is for the fold's own records, and has an end too. */
	struct request urgent[COUNT];
	int urgent_taken = 0;
	rc = OK;
	for (int i = 0; i < COUNT && rc == OK; i++) {
		request_init(&urgent[i], (struct str){payload, sizeof payload});
		urgent[i].append.is_urgent = true;
		rc = journal_submit(world.journal, &urgent[i].append);
		if (rc == OK) urgent_taken++;
	}
	assert_int_equal(rc, ERR_BUSY);
	assert_in_range(urgent_taken, 2, 4);
	assert_int_equal(journal_start(world.journal), OK);
	for (int i = 0; i < taken; i++) EVENTUALLY(atomic_load(&requests[i].is_settled));
	for (int i = 0; i < urgent_taken; i++) EVENTUALLY(atomic_load(&urgent[i].is_settled));
	struct request again;
	request_init(&again, (struct str){payload, sizeof payload});
	assert_int_equal(request_submit_and_wait(&again), OK);
}

static void the_queue_is_bounded_in_number_too(void **state)
{
	(void)state;
	enum { COUNT = 65536 + 1 };
	struct request *requests = calloc(COUNT, sizeof *requests);
	assert_non_null(requests);
	world.conf.queue_bytes = 64 << 20;
	world_open(&world);
	int rc = OK, taken = 0;
	for (int i = 0; i < COUNT && rc == OK; i++) {
		request_init(&requests[i], STR("x"));
		rc = journal_submit(world.journal, &requests[i].append);
		if (rc == OK) taken++;
	}
	assert_int_equal(rc, ERR_BUSY);
	assert_int_equal(taken, 65536);
	journal_stop(world.journal); /* settles what is queued, started or not */
	for (int i = 0; i < taken; i++) {
		assert_true(atomic_load(&requests[i].is_settled));
		assert_int_equal(requests[i].append.status, OK);
	}
	assert_true(journal_next_seq(world.journal) == 65537);
	free(requests);
}

static void a_stopped_journal_takes_nothing(void **state)
{
	(void)state;
	struct request request;
	world_start(&world);
	append_event(STR("one"));
	journal_stop(world.journal);
	request_init(&request, STR("late"));
	assert_int_equal(journal_submit(world.journal, &request.append), ERR_CLOSED);
	assert_int_equal(journal_append_wait(world.journal, RECORD_MERGE, STR("x"), NULL), ERR_CLOSED);
	assert_int_equal(journal_wait(world.journal, 1, 0), OK);
	assert_int_equal(journal_wait(world.journal, 2, 10000), ERR_CLOSED);
	assert_non_null(journal_refusal(world.journal));
}

/* ── waiting ── */

static void *wait_long(void *arg)
{
	*(int *)arg = journal_wait(world.journal, 2, 60000);
	return NULL;
}

static void waiting_ends_with_news_or_a_wake(void **state)
{
	(void)state;
	pthread_t thread;
	int rc = 1;
	world_start(&world);
	assert_int_equal(journal_wait(world.journal, 1, 1), ERR_TIMEOUT);
	append_event(STR("one"));
	assert_int_equal(journal_wait(world.journal, 1, 0), OK);
	assert_int_equal(pthread_create(&thread, NULL, wait_long, &rc), 0);
	append_event(STR("two"));
	pthread_join(thread, NULL);
	assert_int_equal(rc, OK);
	rc = 1;
	assert_int_equal(pthread_create(&thread, NULL, wait_long, &rc), 0);
	pthread_join(thread, NULL); /* 2 is there already */
	assert_int_equal(rc, OK);
}

static void *wait_for_ever(void *arg)
{
	*(atomic_int *)arg = journal_wait(world.journal, 1000, 60000);
	return NULL;
}

static void a_wake_ends_a_wait(void **state)
{
	(void)state;
	pthread_t thread;
	atomic_int rc = 1;
	world_start(&world);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_ever, &rc), 0);
	EVENTUALLY((journal_wake(world.journal), atomic_load(&rc) != 1));
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&rc), ERR_TIMEOUT);
}

/* ── what a commit keeps beside its records ── */

static void quarantined_positions_persist(void **state)
{
	(void)state;
	static const uint64_t seqs[] = {5, 2, 9, 5, 7};
	world_start(&world);
	for (int i = 0; i < 10; i++) append_event(STR("x"));
	assert_false(journal_is_quarantined(world.journal, 5));
	for (size_t i = 0; i < COUNT_OF(seqs); i++) {
		struct request request;
		request_init(&request, STR("crashed"));
		request.entry.kind = RECORD_QUARANTINE;
		request.append.received = 0;
		request.append.is_urgent = true;
		request.append.quarantine_seq = seqs[i];
		assert_int_equal(request_submit_and_wait(&request), OK);
		assert_true(journal_is_quarantined(world.journal, seqs[i]));
	}
	for (int restarts = 0; restarts < 2; restarts++) {
		for (uint64_t seq = 1; seq <= 16; seq++)
			assert_int_equal(journal_is_quarantined(world.journal, seq),
					 seq == 2 || seq == 5 || seq == 7 || seq == 9);
		world_restart(&world);
	}
}

static void the_newest_definition_is_known(void **state)
{
	(void)state;
	uint64_t seq, seen;
	uint8_t hash[32], expected[SHA256_SIZE];
	world_start(&world);
	assert_false(journal_definition(world.journal, &seen, hash));
	append_event(STR("x"));
	assert_int_equal(journal_append_wait(world.journal, RECORD_DEFINITION, STR("first"), &seq), OK);
	assert_int_equal(journal_append_wait(world.journal, RECORD_DEFINITION, STR("second"), &seq), OK);
	assert_true(seq == 3);
	assert_int_equal(sha256(STR("second"), expected), OK);
	for (int restarts = 0; restarts < 2; restarts++) {
		assert_true(journal_definition(world.journal, &seen, hash));
		assert_true(seen == 3);
		assert_memory_equal(hash, expected, sizeof hash);
		world_restart(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WORLD_TEST(a_new_journal_is_empty),
	    WORLD_TEST(an_append_is_read_back),
	    WORLD_TEST(an_emptied_journal_has_another_epoch),
	    WORLD_TEST(a_restart_goes_on_where_it_was),
	    WORLD_TEST(a_request_has_neighbouring_positions),
	    WORLD_TEST(a_request_of_rejects_alone_is_counted),
	    WORLD_TEST(many_threads_keep_their_order),
	    WORLD_TEST(answers_come_on_the_loop_that_asked),
	    WORLD_TEST(a_full_queue_is_busy),
	    WORLD_TEST(the_queue_is_bounded_in_number_too),
	    WORLD_TEST(a_stopped_journal_takes_nothing),
	    WORLD_TEST(waiting_ends_with_news_or_a_wake),
	    WORLD_TEST(a_wake_ends_a_wait),
	    WORLD_TEST(quarantined_positions_persist),
	    WORLD_TEST(the_newest_definition_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
