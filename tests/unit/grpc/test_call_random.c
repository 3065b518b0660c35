/* Random lives of calls: whatever the client and the method do, in whatever order, each call is told of its end once and only if it did not end itself,
 * messages arrive whole, in order and never after the end, what is sent is whole messages, and no memory stays. CDPD_SEED chooses other lives. */
#include <stdio.h>
#include <stdlib.h>

#include "grpc/fake_duplex.h"
#include "grpc/memory.h"

#define LIVES       6000
#define STEPS       40
#define MESSAGES    30
#define MESSAGE_MAX 3000

static uint64_t seed, current; /* of this life: its number */

static uint32_t pick(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* What this life knows. */
static struct {
	struct grpc_call *call; /* NULL: it has ended */
	bool is_held, has_finished;
	int started, closed, half_closed;
	size_t received, sent; /* messages */
	struct buf stream;     /* what the client sends, all of it */
	size_t fed, sizes[MESSAGES];
} life;

static struct grpc_server *server;
static char content[1024 * 1024];

static void finish(struct grpc_call *call)
{
	life.call = NULL;
	life.has_finished = true;
	if (pick(2))
		grpc_finish(call, (enum grpc_status)pick(17), STR("random"));
	else
		grpc_finish_problem(call, (enum problem)pick(PROBLEM_COUNT), STR_NONE, STR("/somewhere"));
}

static void send_one(struct grpc_call *call)
{
	static const uint32_t sizes[] = {1, 100, 3000, 100000, 1000000};
	size_t len = pick(sizes[pick(COUNT_OF(sizes))]);
	int rc = grpc_send_bytes(call, str_of(content, len));
	if (rc == OK)
		life.sent++;
	else
		assert_true(rc == ERR_TOO_LARGE || rc == ERR_BUSY);
}

/* Something that a method may do at any time. */
static void act(struct grpc_call *call)
{
	switch (pick(8)) {
	case 0:
	case 1:
	case 2: send_one(call); break;
	case 3: grpc_begin(call); break;
	case 4: grpc_set_trailer(call, STR("x-some"), STR("thing")); break;
	case 5:
		if (!life.is_held) break;
		life.is_held = false;
		grpc_next(call);
		break;
	case 6:
		if (pick(6) == 0) finish(call);
		break;
	default: (void)grpc_metadata(call, STR("x-any-bin")); break;
	}
}

static void maybe_act(struct grpc_call *call)
{
	for (uint32_t n = pick(3); n > 0 && life.call; n--) act(call);
}

static void on_start(struct grpc_call *call)
{
	assert_int_equal(life.started++, 0);
	life.call = call;
	maybe_act(call);
}

static void expect_alive(struct grpc_call *call)
{
	assert_ptr_equal(call, life.call);
}

static void on_message(struct grpc_call *call, struct str bytes)
{
	expect_alive(call);
	assert_false(life.is_held || life.half_closed);
	assert_true(life.received < MESSAGES);
	assert_int_equal(bytes.len, life.sizes[life.received++]);
	assert_memory_equal(bytes.ptr, content, bytes.len);
	if (grpc_call_method(call)->client_streams && pick(3) == 0) {
		grpc_hold(call);
		life.is_held = true;
	}
	maybe_act(call);
}

static void on_half_closed(struct grpc_call *call)
{
	expect_alive(call);
	assert_int_equal(life.half_closed++, 0);
	maybe_act(call);
}

static void on_writable(struct grpc_call *call)
{
	expect_alive(call);
	maybe_act(call);
}

static void on_closed(struct grpc_call *call)
{
	expect_alive(call);
	assert_int_equal(life.closed++, 0);
	assert_int_equal(grpc_send_bytes(call, STR("too late")), ERR_CLOSED);
	assert_int_equal(grpc_room(call), 0);
	life.call = NULL;
}

static void on_retired(struct grpc_call *call)
{
	expect_alive(call);
	if (pick(2)) finish(call);
}

#define COMMON \
	.start = on_start, .message = on_message, .closed = on_closed, .drain = on_retired, .writable = on_writable
static const struct grpc_method methods[] = {
    {.name = "Unary", COMMON},
    {.name = "Client", .client_streams = true, .half_closed = on_half_closed, COMMON},
    {.name = "Server", .server_streams = true, COMMON},
    {.name = "Bidi", .client_streams = true, .server_streams = true, .half_closed = on_half_closed, COMMON},
};
static const struct grpc_service service = {"t.T", methods, COUNT_OF(methods), NULL};
static const struct grpc_service *const services[] = {&service};

/* ── one life ────────────────────────────────────────────────────────────── */

/* One message for methods that take one, most of the time; sometimes with a broken byte at the end. */
static void make_stream(bool is_single)
{
	size_t count = is_single && pick(10) ? 1 : pick(MESSAGES);
	buf_clear(&life.stream);
	for (size_t i = 0; i < count; i++) {
		size_t len = life.sizes[i] = pick(MESSAGE_MAX);
		const char prefix[5] = {0, 0, 0, (char)(len >> 8), (char)len};
		assert_int_equal(buf_append(&life.stream, prefix, 5), OK);
		assert_int_equal(buf_append(&life.stream, content, len), OK);
	}
	if (pick(10) == 0) assert_int_equal(buf_append(&life.stream, "\xff\xff\xff\xff\xff", 1 + pick(5)), OK);
}

static void feed_some(void)
{
	size_t left = life.stream.len - life.fed;
	size_t len = left ? 1 + pick((uint32_t)(left < 6000 ? left : 6000)) : 0;
	if (!len) return;
	fake_data(buf_ptr(&life.stream) + life.fed, len);
	life.fed += len;
}

static bool is_over(void)
{
	return fake.is_ended || fake.is_reset || fake.had_client_gone;
}

static void step(bool *has_ended)
{
	switch (pick(10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (!*has_ended) feed_some();
		break;
	case 4:
	case 5: fake_drain(pick(2) ? pick(1000) : pick(300000)); break;
	case 6:
		if (life.call) act(life.call);
		break;
	case 7:
		if (*has_ended || (life.fed < life.stream.len && pick(5))) break;
		*has_ended = true;
		fake_end();
		break;
	case 8:
		if (pick(10) == 0) fake_retire();
		break;
	default:
		fake.write_status = pick(5) ? OK : ERR_BUSY;
		fake.busy_above = pick(20);
		break;
	}
}

/* Whole messages, as many as were sent. */
static void check_output(void)
{
	struct str message;
	bool is_compressed;
	size_t count = 0;
	while (fake_take(&message, &is_compressed)) count++;
	assert_int_equal(fake.out.len, 0);
	assert_int_equal(count, life.sent);
}

static void live(const char *path)
{
	bool has_ended = false;
	struct buf stream = life.stream;
	memset(&life, 0, sizeof life);
	life.stream = stream;
	make_stream(strcmp(path, "/t.T/Unary") == 0 || strcmp(path, "/t.T/Server") == 0);
	if (pick(2)) fake_header("grpc-accept-encoding", "gzip");
	fake.room = pick(2) ? HTTP_STREAM_BUFFER : pick(2000);
	fake_call(server, path);
	for (int i = 0; i < STEPS && !is_over(); i++) step(&has_ended);
	if (!is_over()) {
		if (pick(2)) {
			fake.write_status = OK;
			if (life.call) finish(life.call);
			for (int i = 0; i < 100 && !is_over(); i++) fake_drain(HTTP_STREAM_BUFFER);
			assert_true(is_over());
		} else {
			fake_close();
		}
	}
	assert_null(life.call);
	assert_int_equal(life.started, 1);
	assert_int_equal(life.closed + life.has_finished, 1);
	assert_true(fake.consumed <= life.fed);
	if (fake.is_ended) {
		assert_true(fake_status() >= 0);
		check_output();
	}
	assert_int_equal(grpc_memory_used(), 0);
}

static void test_random_lives(void **state)
{
	static const char *const paths[] = {"/t.T/Unary", "/t.T/Client", "/t.T/Server", "/t.T/Bidi"};
	const char *chosen = getenv("CDPD_SEED");
	uint64_t first = chosen ? strtoull(chosen, NULL, 10) : 1;
	memset(content, 'x', sizeof content);
	buf_init(&life.stream, (size_t)1 << 20);
	for (uint64_t i = 0; i < LIVES; i++) {
		seed = current = first + i;
		if (fake_setup(state) != 0) fail();
		live(paths[pick(COUNT_OF(paths))]);
	}
	buf_fini(&life.stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_random_lives, fake_teardown)};
	assert_int_equal(grpc_server_new(services, 1, STR_NONE, &server), OK);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (failed) (void)fprintf(stderr, "CDPD_SEED=%llu fails\n", (unsigned long long)current);
	grpc_server_free(server);
	return failed;
}
