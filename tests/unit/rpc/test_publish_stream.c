/* The order of a stream: whatever ingest says, and whenever, only the settled front is acknowledged. Ingest, which settles when the test
 * says so, and the call are played. */
#include "rpc/rpc_test.h"

#include <event2/event.h>

#include "rpc/publish.h"
#include "rpc/task.h"

#define SUBMITTED_MAX 4096

struct ingest_batch {
	ingest_done_fn done;
	void *ctx;
	struct buf body;
	bool is_cancelled, is_settled;
};

static struct {
	struct ingest_batch batches[SUBMITTED_MAX];
	size_t count;
	enum problem at_once; /* what ingest says within submit; NONE: it waits for the test */
} ingest;

static struct {
	void *state;
	struct loop *loop;
	struct api_worker worker;
	struct arena arena;
	bool is_held, is_finished, is_in_message;
	size_t nexts, room;
	enum problem problem;
	int retry_after_s;
	uint64_t settled_through;
	size_t ack_count;
	struct {
		uint64_t request;
		uint32_t index;
		bool is_whole;
		char code[40];
	} rejected[64];
	size_t rejected_count;
} call;
static struct grpc_call *const the_call = (void *)&call;

/* ── what is played ──────────────────────────────────────────────────────── */

static struct ingest_result result_of(enum problem problem)
{
	return (struct ingest_result){.problem = problem,
				      .message = STR_NONE,
				      .pointer = STR_NONE,
				      .limit = -1,
				      .limit_remaining = -1,
				      .accepted = problem == PROBLEM_NONE,
				      .position_seq = problem == PROBLEM_NONE ? 7 : 0,
				      .position_epoch = 1};
}

struct ingest_batch *__wrap_ingest_submit(struct ingest_worker *worker, const struct ingest_request *request,
					  ingest_done_fn done, void *ctx);
struct ingest_batch *__wrap_ingest_submit(struct ingest_worker *worker, const struct ingest_request *request,
					  ingest_done_fn done, void *ctx)
{
	(void)worker;
	assert_true(ingest.count < SUBMITTED_MAX);
	if (ingest.at_once != PROBLEM_NONE) {
		const struct ingest_result result = result_of(ingest.at_once);
		done(ctx, &result);
		return NULL;
	}
	struct ingest_batch *batch = &ingest.batches[ingest.count++];
	*batch = (struct ingest_batch){.done = done, .ctx = ctx};
	buf_init(&batch->body, 1 << 20);
	assert_int_equal(buf_append_str(&batch->body, request->body), OK);
	return batch;
}

void __wrap_ingest_cancel(struct ingest_batch *batch);
void __wrap_ingest_cancel(struct ingest_batch *batch)
{
	assert_false(batch->is_settled);
	batch->is_cancelled = true;
}

static struct config config;

const struct live *__wrap_api_worker_live(struct api_worker *worker);
const struct live *__wrap_api_worker_live(struct api_worker *worker)
{
	static const struct live live = {.config = &config};
	assert_ptr_equal(worker, &call.worker);
	return &live;
}

void __wrap_task_fill_ingest(struct grpc_call *c, struct ingest_request *out);
void __wrap_task_fill_ingest(struct grpc_call *c, struct ingest_request *out)
{
	assert_ptr_equal(c, the_call);
	*out = (struct ingest_request){0};
}

void *__wrap_grpc_state(const struct grpc_call *c);
void *__wrap_grpc_state(const struct grpc_call *c)
{
	(void)c;
	return call.state;
}

void __wrap_grpc_set_state(struct grpc_call *c, void *state);
void __wrap_grpc_set_state(struct grpc_call *c, void *state)
{
	(void)c;
	call.state = state;
}

void *__wrap_grpc_worker(const struct grpc_call *c);
void *__wrap_grpc_worker(const struct grpc_call *c)
{
	(void)c;
	return &call.worker;
}

struct loop *__wrap_grpc_loop(const struct grpc_call *c);
struct loop *__wrap_grpc_loop(const struct grpc_call *c)
{
	(void)c;
	return call.loop;
}

struct arena *__wrap_grpc_arena(struct grpc_call *c);
struct arena *__wrap_grpc_arena(struct grpc_call *c)
{
	(void)c;
	return &call.arena;
}

void __wrap_grpc_hold(struct grpc_call *c);
void __wrap_grpc_hold(struct grpc_call *c)
{
	(void)c;
	assert_true(call.is_in_message && !call.is_held);
	call.is_held = true;
}

void __wrap_grpc_next(struct grpc_call *c);
void __wrap_grpc_next(struct grpc_call *c)
{
	(void)c;
	assert_true(call.is_held && !call.is_finished);
	call.is_held = false;
	call.nexts++;
}

size_t __wrap_grpc_room(const struct grpc_call *c);
size_t __wrap_grpc_room(const struct grpc_call *c)
{
	(void)c;
	return call.room;
}

int __wrap_grpc_send_bytes(struct grpc_call *c, struct str packed);
int __wrap_grpc_send_bytes(struct grpc_call *c, struct str packed)
{
	(void)c;
	assert_true(call.room > 0 && packed.len <= 2u << 20);
	Cdpd__V1__PublishAck *ack = cdpd__v1__publish_ack__unpack(NULL, packed.len, (const uint8_t *)packed.ptr);
	assert_non_null(ack);
	assert_true(ack->settled_through >= call.settled_through);
	assert_true(ack->settled_through > call.settled_through || ack->n_rejected > 0);
	for (size_t i = 0; i < ack->n_rejected && call.rejected_count < COUNT_OF(call.rejected); i++) {
		const Cdpd__V1__StreamRejection *told = ack->rejected[i];
		assert_true(told->request > call.settled_through);
		call.rejected[call.rejected_count].request = told->request;
		call.rejected[call.rejected_count].index = told->rejection->index;
		call.rejected[call.rejected_count].is_whole = told->whole;
		(void)snprintf(call.rejected[call.rejected_count++].code, 40, "%s", told->rejection->code);
	}
	call.settled_through = ack->settled_through;
	call.ack_count++;
	cdpd__v1__publish_ack__free_unpacked(ack, NULL);
	return OK;
}

void __wrap_grpc_finish(struct grpc_call *c, enum grpc_status status, struct str message);
void __wrap_grpc_finish(struct grpc_call *c, enum grpc_status status, struct str message)
{
	(void)c, (void)message;
	assert_false(call.is_finished);
	assert_int_equal(status, GRPC_OK);
	call.is_finished = true;
}

void __wrap_grpc_finish_problem(struct grpc_call *c, enum problem problem, struct str message, struct str pointer);
void __wrap_grpc_finish_problem(struct grpc_call *c, enum problem problem, struct str message, struct str pointer)
{
	(void)c, (void)message, (void)pointer;
	assert_false(call.is_finished);
	call.is_finished = true;
	call.problem = problem;
}

void __wrap_grpc_set_retry_after(struct grpc_call *c, int seconds);
void __wrap_grpc_set_retry_after(struct grpc_call *c, int seconds)
{
	(void)c;
	call.retry_after_s = seconds;
}

/* ── the player ──────────────────────────────────────────────────────────── */

static int setup(void **state)
{
	(void)state;
	memset(&ingest, 0, sizeof ingest);
	memset(&call, 0, sizeof call);
	config.limits.batch_events = 2500;
	call.room = 65536;
	arena_init(&call.arena, 1024, 0);
	buf_init(&call.worker.out, 16 << 20);
	assert_int_equal(loop_new(&call.loop), OK);
	publish_stream_start(the_call);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!call.is_finished && call.state) publish_stream_closed(the_call);
	for (size_t i = 0; i < ingest.count; i++) {
		assert_true(ingest.batches[i].is_settled || ingest.batches[i].is_cancelled);
		buf_fini(&ingest.batches[i].body);
	}
	buf_fini(&call.worker.out);
	arena_fini(&call.arena);
	loop_free(call.loop);
	return 0;
}

static void turn(void)
{
	(void)event_base_loop(loop_base(call.loop), EVLOOP_NONBLOCK);
}

static void turn_until(bool (*is_true)(void))
{
	while (!is_true()) (void)event_base_loop(loop_base(call.loop), EVLOOP_ONCE);
}

static void send_bytes(struct str bytes)
{
	assert_false(call.is_held || call.is_finished);
	call.is_in_message = true;
	publish_stream_message(the_call, bytes);
	call.is_in_message = false;
}

/* One event of two bytes. */
static void send_single(void)
{
	send_bytes(STR("\x0a\x02\x08\x01"));
}

static void send_pair(void)
{
	send_bytes(STR("\x0a\x02\x08\x01\x0a\x02\x08\x02"));
}

static void settle(size_t i, enum problem problem)
{
	const struct ingest_result result = result_of(problem);
	ingest.batches[i].is_settled = true;
	ingest.batches[i].done(ingest.batches[i].ctx, &result);
}

static void settle_rejecting(size_t i, uint32_t index)
{
	static char why[500];
	memset(why, '?', sizeof why);
	struct ingest_rejection rejection = {index, STR("id"), PROBLEM_MISSING_IDENTITY, STR("/userId"),
					     str_of(why, sizeof why)};
	struct ingest_result result = result_of(PROBLEM_NONE);
	result.rejections = &rejection;
	result.rejection_count = 1;
	ingest.batches[i].is_settled = true;
	ingest.batches[i].done(ingest.batches[i].ctx, &result);
}

static void end(void)
{
	publish_stream_half_closed(the_call);
	turn();
}

/* ── the tests ───────────────────────────────────────────────────────────── */

static void requests_of_one_turn_go_together(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) send_single();
	assert_int_equal(ingest.count, 0);
	turn();
	assert_int_equal(ingest.count, 1);
	assert_int_equal(ingest.batches[0].body.len, 40);
	settle(0, PROBLEM_NONE);
	assert_int_equal(call.ack_count, 0);
	turn();
	assert_int_equal(call.ack_count, 1);
	assert_int_equal(call.settled_through, 10);
	end();
	assert_true(call.is_finished && call.problem == PROBLEM_NONE);
}

static void a_group_is_no_larger_than_a_request_may_be(void **state)
{
	(void)state;
	config.limits.batch_events = 3;
	for (int i = 0; i < 10; i++) send_single();
	turn();
	assert_int_equal(ingest.count, 4);
	for (size_t i = 0; i < 4; i++) assert_int_equal(ingest.batches[i].body.len, i < 3 ? 12 : 4);
	for (size_t i = 0; i < 4; i++) settle(i, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 10);
}

/* Only what ingest says at once may be tried again: what was submitted since must not overtake it. */
static void a_late_refusal_ends_it(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) send_pair();
	settle(1, PROBLEM_OVERLOADED);
	settle(2, PROBLEM_NONE);
	settle(0, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 1);
	assert_true(call.is_finished);
	assert_int_equal(call.problem, PROBLEM_OVERLOADED);
}

static void others_go_alone_and_in_order(void **state)
{
	(void)state;
	send_single();
	send_single();
	send_pair();
	assert_int_equal(ingest.count, 2);
	send_single();
	turn();
	assert_int_equal(ingest.count, 3);
	assert_int_equal(ingest.batches[0].body.len, 8);
	assert_int_equal(ingest.batches[1].body.len, 8);
	assert_int_equal(ingest.batches[2].body.len, 4);
	settle(0, PROBLEM_NONE);
	settle_rejecting(1, 1);
	settle(2, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 4);
	assert_int_equal(call.rejected_count, 1);
	assert_int_equal(call.rejected[0].request, 3);
	assert_int_equal(call.rejected[0].index, 1);
	assert_false(call.rejected[0].is_whole);
}

static void only_the_front_is_acknowledged(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) send_pair();
	settle(3, PROBLEM_NONE);
	settle(1, PROBLEM_NONE);
	turn();
	assert_int_equal(call.ack_count, 0);
	settle(0, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 2);
	settle(2, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 4);
}

static void a_rejection_in_a_group_names_its_request(void **state)
{
	(void)state;
	send_pair();
	for (int i = 0; i < 5; i++) send_single();
	turn();
	settle(0, PROBLEM_NONE);
	settle_rejecting(1, 3);
	turn();
	assert_int_equal(call.settled_through, 6);
	assert_int_equal(call.rejected_count, 1);
	assert_int_equal(call.rejected[0].request, 5);
	assert_int_equal(call.rejected[0].index, 0);
}

static void a_refused_request_is_settled_as_a_whole(void **state)
{
	(void)state;
	send_pair();
	send_pair();
	settle(0, PROBLEM_INVALID_BODY);
	settle(1, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 2);
	assert_int_equal(call.rejected_count, 1);
	assert_true(call.rejected[0].is_whole && call.rejected[0].request == 1);
	assert_string_equal(call.rejected[0].code, "invalid_body");
	assert_false(call.is_finished);
}

static void what_cannot_be_durable_ends_it_behind_the_front(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) send_pair();
	settle(2, PROBLEM_NOT_DURABLE);
	settle(3, PROBLEM_NONE);
	settle(0, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 1);
	assert_false(call.is_finished); /* the second may still settle */
	settle(1, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 2);
	assert_true(call.is_finished);
	assert_int_equal(call.problem, PROBLEM_NOT_DURABLE);
}

static void a_full_window_holds(void **state)
{
	(void)state;
	size_t sent = 0;
	for (; !call.is_held; sent++) send_pair();
	assert_int_equal(sent, 1024);
	turn();
	assert_true(call.is_held);
	settle(1, PROBLEM_NONE); /* not the front: no room yet */
	turn();
	assert_true(call.is_held);
	settle(0, PROBLEM_NONE);
	turn();
	assert_false(call.is_held);
	for (size_t i = 2; i < sent; i++) settle(i, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, sent);
}

static void the_window_counts_bytes_too(void **state)
{
	(void)state;
	static char large[100000];
	memset(large, 0x08, sizeof large); /* no request; ingest is played */
	for (int i = 0; i < 3; i++) send_bytes(str_of(large, sizeof large));
	assert_true(call.is_held);
	assert_int_equal(ingest.count, 3);
	settle(0, PROBLEM_NONE);
	turn();
	assert_false(call.is_held);
}

static bool is_let_go(void)
{
	return call.nexts > 0;
}

static void a_full_queue_is_waited_for(void **state)
{
	(void)state;
	send_pair();
	ingest.at_once = PROBLEM_OVERLOADED;
	send_pair();
	assert_true(call.is_held);
	turn();
	assert_true(call.is_held && ingest.count == 1 && !call.is_finished);
	ingest.at_once = PROBLEM_NONE;
	turn_until(is_let_go);
	assert_int_equal(ingest.count, 2);
	settle(0, PROBLEM_NONE);
	settle(1, PROBLEM_NONE);
	turn();
	assert_int_equal(call.settled_through, 2);
	assert_int_equal(call.rejected_count, 0);
}

static bool has_submitted(void)
{
	return ingest.count > 0;
}

/* The group was refused at the end of the turn, when nothing can be held: what comes next is. */
static void a_refused_group_is_sent_again_whole(void **state)
{
	(void)state;
	ingest.at_once = PROBLEM_RATE_LIMITED;
	send_single();
	send_single();
	turn();
	assert_int_equal(ingest.count, 0);
	send_single();
	assert_true(call.is_held);
	ingest.at_once = PROBLEM_NONE;
	turn_until(has_submitted);
	assert_int_equal(ingest.batches[0].body.len, 8);
	turn();
	assert_int_equal(ingest.count, 2);
	assert_int_equal(ingest.batches[1].body.len, 4);
	settle(0, PROBLEM_NONE);
	settle(1, PROBLEM_NONE);
	end();
	assert_int_equal(call.settled_through, 3);
	assert_true(call.is_finished && call.problem == PROBLEM_NONE);
}

static void a_stream_ends_when_all_is_settled_and_told(void **state)
{
	(void)state;
	send_single();
	end();
	assert_false(call.is_finished);
	call.room = 0;
	settle(0, PROBLEM_NONE);
	turn();
	assert_false(call.is_finished);
	config.limits.batch_events = 2500;
	call.room = 65536;
	publish_stream_writable(the_call);
	turn();
	assert_int_equal(call.settled_through, 1);
	assert_true(call.is_finished && call.problem == PROBLEM_NONE);
}

static void draining_settles_what_was_taken(void **state)
{
	(void)state;
	send_pair();
	send_single();
	publish_stream_drain(the_call);
	turn();
	assert_int_equal(ingest.count, 2);
	assert_false(call.is_finished);
	send_single(); /* not taken */
	assert_true(call.is_held);
	settle(0, PROBLEM_NONE);
	settle(1, PROBLEM_NONE);
	turn();
	assert_int_equal(ingest.count, 2);
	assert_int_equal(call.settled_through, 2);
	assert_true(call.is_finished);
	assert_int_equal(call.problem, PROBLEM_SHUTTING_DOWN);
}

static void a_reader_that_is_away_gets_one_word_for_many(void **state)
{
	(void)state;
	call.room = 0;
	for (size_t i = 0; i < 500; i++) {
		send_pair();
		settle(i, PROBLEM_NONE);
		turn();
	}
	assert_int_equal(call.ack_count, 0);
	config.limits.batch_events = 2500;
	call.room = 65536;
	publish_stream_writable(the_call);
	turn();
	assert_int_equal(call.ack_count, 1);
	assert_int_equal(call.settled_through, 500);
}

static void rejections_that_nobody_reads_stop_the_stream(void **state)
{
	(void)state;
	call.room = 0;
	size_t sent = 0;
	for (; !call.is_held; sent++) {
		send_pair();
		if (!call.is_held) settle_rejecting(sent, 0);
		turn();
		assert_true(sent < SUBMITTED_MAX - 1);
	}
	assert_int_equal(ingest.count, sent - 1); /* the last waits */
	config.limits.batch_events = 2500;
	call.room = 65536;
	publish_stream_writable(the_call);
	turn();
	assert_false(call.is_held);
	assert_int_equal(call.settled_through, sent - 1);
	settle_rejecting(sent - 1, 0);
	turn();
	assert_int_equal(call.settled_through, sent);
}

static void leaving_cancels_what_is_with_the_journal(void **state)
{
	(void)state;
	send_pair();
	send_pair();
	send_single();
	settle(0, PROBLEM_NONE);
	publish_stream_closed(the_call);
	call.state = NULL;
	assert_true(ingest.batches[1].is_cancelled);
	turn(); /* nothing of it is left to run */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(requests_of_one_turn_go_together),
	    TEST(a_group_is_no_larger_than_a_request_may_be),
	    TEST(a_late_refusal_ends_it),
	    TEST(others_go_alone_and_in_order),
	    TEST(only_the_front_is_acknowledged),
	    TEST(a_rejection_in_a_group_names_its_request),
	    TEST(a_refused_request_is_settled_as_a_whole),
	    TEST(what_cannot_be_durable_ends_it_behind_the_front),
	    TEST(a_full_window_holds),
	    TEST(the_window_counts_bytes_too),
	    TEST(a_full_queue_is_waited_for),
	    TEST(a_refused_group_is_sent_again_whole),
	    TEST(a_stream_ends_when_all_is_settled_and_told),
	    TEST(draining_settles_what_was_taken),
	    TEST(a_reader_that_is_away_gets_one_word_for_many),
	    TEST(rejections_that_nobody_reads_stop_the_stream),
	    TEST(leaving_cancels_what_is_with_the_journal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
