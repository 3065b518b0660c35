/* A call from its head to its trailers, with a client that is played byte by byte. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/gzip.h"
#include "base/wire.h"
#include "grpc/fake_duplex.h"
#include "grpc/memory.h"

#define LARGE ((size_t)3 << 20)

/* What the methods were told. */
static struct {
	int started, messages, half_closed, writable, closed, drained;
	char bytes[64];
	size_t len, total;
	bool should_hold, should_finish_in_message, should_finish_in_start, should_reply;
	struct grpc_call *call;
} seen;

static struct grpc_server *server;

static void on_start(struct grpc_call *call)
{
	seen.started++;
	seen.call = call;
	if (seen.should_finish_in_start) grpc_finish_problem(call, PROBLEM_UNAUTHORIZED, STR_NONE, STR_NONE);
}

static void on_message(struct grpc_call *call, struct str bytes)
{
	seen.messages++;
	seen.len = bytes.len;
	seen.total += bytes.len;
	memcpy(seen.bytes, bytes.ptr, bytes.len < sizeof seen.bytes ? bytes.len : sizeof seen.bytes);
	/* BUF_SLACK bytes behind it may be read. */
	volatile char sink = bytes.ptr[bytes.len + BUF_SLACK - 1];
	(void)sink;
	if (seen.should_hold) grpc_hold(call);
	if (seen.should_reply) {
		assert_int_equal(grpc_send_bytes(call, bytes), OK);
		grpc_finish(call, GRPC_OK, STR_NONE);
	} else if (seen.should_finish_in_message) {
		grpc_finish(call, GRPC_ABORTED, STR("enough"));
	}
}

static void on_half_closed(struct grpc_call *call)
{
	(void)call;
	seen.half_closed++;
}

static void on_writable(struct grpc_call *call)
{
	(void)call;
	seen.writable++;
}

static void on_closed(struct grpc_call *call)
{
	assert_ptr_equal(call, seen.call);
	assert_non_null(grpc_request(call));
	seen.closed++;
}

static void on_drain(struct grpc_call *call)
{
	seen.drained++;
	grpc_finish(call, GRPC_UNAVAILABLE, STR("going"));
}

#define COMMON .start = on_start, .message = on_message, .closed = on_closed
static const struct grpc_method methods[] = {
    {.name = "Unary", COMMON},
    {.name = "Large", .message_max = LARGE, COMMON},
    {.name = "Small", .message_max = 10, COMMON},
    {.name = "Client", .client_streams = true, .half_closed = on_half_closed, COMMON},
    {.name = "Bidi",
     .client_streams = true,
     .server_streams = true,
     .half_closed = on_half_closed,
     .writable = on_writable,
     .drain = on_drain,
     COMMON},
};
static const struct grpc_service service = {"t.T", methods, COUNT_OF(methods), NULL};
static const struct grpc_service *const services[] = {&service};

static int setup(void **state)
{
	memset(&seen, 0, sizeof seen);
	if (!server) assert_int_equal(grpc_server_new(services, 1, STR_NONE, &server), OK);
	return fake_setup(state);
}

static int teardown(void **state)
{
	int rc = fake_teardown(state);
	assert_int_equal(grpc_memory_used(), 0);
	grpc_server_free(server);
	server = NULL;
	return rc;
}

static void open_call(const char *method)
{
	char path[64];
	(void)snprintf(path, sizeof path, "/t.T/%s", method);
	fake_call(server, path);
}

static int64_t counted(const char *method, const char *status)
{
	char labels[100];
	(void)snprintf(labels, sizeof labels, "method=\"t.T/%s\",status=\"%s\"", method, status);
	return metric_value(metric_get(METRIC_COUNTER, "cdpd_grpc_calls_total", labels, ""));
}

/* ── heads ───────────────────────────────────────────────────────────────── */

static void test_content_type(void **state)
{
	(void)state;
	fake.sent_count = 0;
	open_call("Unary");
	assert_true(fake.is_http_reply);
	assert_int_equal(fake.http_status, 415);
	assert_int_equal(seen.started, 0);
}

static void test_grpc_web(void **state)
{
	(void)state;
	fake.sent_count = 0;
	fake_header("content-type", "application/grpc-web+proto");
	open_call("Unary");
	assert_int_equal(fake.http_status, 415);
	assert_non_null(strstr(fake.http_body, "docs/grpc-api.md"));
}

static void test_te(void **state)
{
	(void)state;
	fake.sent_count = 1;
	open_call("Unary");
	assert_int_equal(fake_status(), GRPC_INTERNAL);
	assert_non_null(strstr(fake_trailer("grpc-message"), "te: trailers"));
	assert_int_equal(seen.started, 0);
}

static void test_encoding(void **state)
{
	(void)state;
	fake_header("grpc-encoding", "deflate");
	open_call("Unary");
	assert_int_equal(fake_status(), GRPC_UNIMPLEMENTED);
	assert_string_equal(fake_trailer("grpc-accept-encoding"), "identity,gzip");
}

static void test_bad_timeout(void **state)
{
	(void)state;
	fake_header("grpc-timeout", "12");
	open_call("Unary");
	assert_int_equal(fake_status(), GRPC_INTERNAL);
}

static void test_unknown_method(void **state)
{
	(void)state;
	fake_call(server, NULL);
	assert_int_equal(fake_status(), GRPC_UNIMPLEMENTED);
	assert_false(fake.has_head);
}

/* ── framing ─────────────────────────────────────────────────────────────── */

static void test_unary(void **state)
{
	int64_t before = counted("Unary", "OK");
	(void)state;
	seen.should_reply = true;
	open_call("Unary");
	assert_int_equal(seen.started, 1);
	fake_message(false, "hello", 5);
	assert_int_equal(seen.messages, 0); /* only once the client has sent all */
	fake_end();
	assert_int_equal(seen.messages, 1);
	assert_memory_equal(seen.bytes, "hello", 5);
	struct str message;
	bool is_compressed;
	assert_true(fake_take(&message, &is_compressed));
	assert_true(str_eq(message, STR("hello")) && !is_compressed);
	assert_int_equal(fake_status(), GRPC_OK);
	assert_null(fake_trailer("grpc-message"));
	assert_int_equal(seen.closed, 0);
	assert_int_equal(counted("Unary", "OK"), before + 1);
	assert_int_equal(fake.consumed, 10);
}

static void test_every_split(void **state)
{
	const char bytes[] = "\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\2de";
	const size_t len = sizeof bytes - 1;
	for (size_t step = 1; step <= len; step++) {
		(void)setup(state);
		open_call("Client");
		for (size_t at = 0; at < len; at += step) fake_data(bytes + at, len - at < step ? len - at : step);
		assert_int_equal(seen.messages, 3);
		assert_int_equal(seen.total, 5);
		assert_memory_equal(seen.bytes, "de", 2);
		assert_int_equal(fake.consumed, len);
		fake_end();
		assert_int_equal(seen.half_closed, 1);
		assert_int_equal(fake_status(), -1);
		grpc_finish(seen.call, GRPC_OK, STR_NONE);
		assert_int_equal(fake_status(), GRPC_OK);
	}
}

static void expect_broken(const char *method, const char *bytes, size_t len, bool has_end, enum grpc_status status)
{
	void *state = NULL;
	(void)setup(&state);
	open_call(method);
	fake_data(bytes, len);
	if (has_end) fake_end();
	assert_int_equal(fake_status(), (int)status);
	assert_int_equal(seen.closed, 1);
	assert_int_equal(seen.half_closed, 0);
}
#define BROKEN(method, bytes, has_end, status) expect_broken(method, bytes, sizeof bytes - 1, has_end, status)

static void test_broken_framing(void **state)
{
	(void)state;
	BROKEN("Unary", "", true, GRPC_UNIMPLEMENTED);                        /* no message */
	BROKEN("Unary", "\0\0\0\0\1a\0\0\0\0\1b", false, GRPC_UNIMPLEMENTED); /* two */
	BROKEN("Unary", "\0\0\0\0\1a\0\0\0\0\0", false, GRPC_UNIMPLEMENTED);  /* two, the second empty */
	BROKEN("Unary", "\0\0\0\0\1a\0\0", true, GRPC_INTERNAL);              /* bytes left over */
	BROKEN("Unary", "\0\0\0", true, GRPC_INTERNAL);                       /* no whole prefix */
	BROKEN("Unary", "\0\0\0\0\3ab", true, GRPC_INTERNAL);                 /* no whole message */
	BROKEN("Client", "\0\0\0\0\1a\0\0\0\0\3ab", true, GRPC_INTERNAL);
	BROKEN("Client", "\2\0\0\0\1a", false, GRPC_INTERNAL);          /* flag */
	BROKEN("Client", "\1\0\0\0\1a", false, GRPC_INTERNAL);          /* compressed how? */
	BROKEN("Small", "\0\0\0\0\13", false, GRPC_RESOURCE_EXHAUSTED); /* 11 bytes announced */
	BROKEN("Unary", "\0\377\377\377\377", false, GRPC_RESOURCE_EXHAUSTED);
	BROKEN("Client", "\0\0\20\0\1", false, GRPC_RESOURCE_EXHAUSTED); /* 1 MiB and one */
}

static void test_length_alone_takes_no_memory(void **state)
{
	(void)state;
	open_call("Large");
	fake_data("\0\0\57\377\377", 5); /* 3 MiB - 1 */
	assert_true(seen.call->reader.body.size <= 65 * 1024);
	fake_close();
	assert_int_equal(seen.closed, 1);
}

static void test_large_message(void **state)
{
	char *bytes = malloc(LARGE);
	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', LARGE);
	open_call("Large");
	char prefix[5] = {0, (char)(LARGE >> 24), (char)(LARGE >> 16), (char)(LARGE >> 8), (char)LARGE};
	fake_data(prefix, 5);
	for (size_t at = 0; at < LARGE; at += 16384) fake_data(bytes + at, 16384);
	assert_true(grpc_memory_used() >= LARGE);
	seen.should_reply = true;
	fake_end();
	assert_int_equal(seen.len, LARGE);
	/* The answer is larger than the carrier's room: it goes out in parts, then the trailers. */
	assert_int_equal(fake_status(), -1);
	assert_int_equal(fake.out.len, HTTP_STREAM_BUFFER);
	for (int i = 0; i < 100 && fake_status() < 0; i++) fake_drain(100000);
	assert_int_equal(fake_status(), GRPC_OK);
	struct str message;
	bool is_compressed;
	assert_true(fake_take(&message, &is_compressed));
	assert_int_equal(message.len, LARGE);
	assert_memory_equal(message.ptr, bytes, LARGE);
	assert_int_equal(fake.out.len, 0);
	free(bytes);
}

static void test_too_much_memory(void **state)
{
	size_t counted_bytes = 0;
	char *bytes = calloc(1, 200000);
	(void)state;
	assert_non_null(bytes);
	assert_true(grpc_memory_count(&counted_bytes, GRPC_MEMORY_MAX - 100000));
	open_call("Large");
	fake_data("\0\0\57\377\377", 5);
	fake_data(bytes, 200000);
	assert_int_equal(fake_status(), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(seen.closed, 1);
	grpc_memory_release(&counted_bytes);
	free(bytes);
}

/* ── compression ─────────────────────────────────────────────────────────── */

static void gzipped(const char *data, size_t len, struct buf *out)
{
	struct gzip *gz;
	buf_init(out, 2 * len + 1000);
	assert_int_equal(gzip_new(&gz), OK);
	assert_int_equal(gzip_pack(gz, str_of(data, len), out), OK);
	gzip_free(gz);
}

static void test_gzip(void **state)
{
	struct buf packed;
	(void)state;
	fake_header("grpc-encoding", "gzip");
	open_call("Client");
	gzipped("hello hello hello", 17, &packed);
	fake_message(true, packed.data, packed.len);
	assert_int_equal(seen.len, 17);
	assert_memory_equal(seen.bytes, "hello hello hello", 17);
	fake_message(false, "plain", 5); /* the flag decides for each message */
	assert_int_equal(seen.len, 5);
	fake_message(true, packed.data, packed.len);
	assert_int_equal(seen.len, 17);
	fake_message(true, packed.data, packed.len - 1);
	assert_int_equal(fake_status(), GRPC_INTERNAL);
	buf_fini(&packed);
}

static void test_bomb(void **state)
{
	struct buf packed;
	char *zeros = calloc(1, LARGE);
	(void)state;
	assert_non_null(zeros);
	fake_header("grpc-encoding", "gzip");
	open_call("Unary");
	gzipped(zeros, LARGE, &packed);
	assert_true(packed.len < 20000);
	fake_message(true, packed.data, packed.len);
	assert_int_equal(fake_status(), GRPC_RESOURCE_EXHAUSTED);
	buf_fini(&packed);
	free(zeros);
}

static void test_not_gzip(void **state)
{
	(void)state;
	fake_header("grpc-encoding", "gzip");
	open_call("Unary");
	fake_message(true, "this is not gzip", 16);
	assert_int_equal(fake_status(), GRPC_INTERNAL);
}

static void send_and_check(const char *accepts, const char *encoding, size_t len, bool want)
{
	void *state = NULL;
	struct str message;
	bool is_compressed;
	char *bytes = calloc(1, len);
	assert_non_null(bytes);
	(void)setup(&state);
	if (accepts) fake_header("grpc-accept-encoding", accepts);
	if (encoding) fake_header("grpc-encoding", encoding);
	seen.should_reply = true;
	open_call("Large");
	fake_message(false, bytes, len);
	fake.room = len + 100;
	fake_end();
	assert_true(fake_take(&message, &is_compressed));
	assert_int_equal(is_compressed, want);
	if (want) assert_string_equal(fake_head("grpc-encoding"), "gzip");
	if (want) assert_true(gunzip_is_magic(message) && message.len < len / 10);
	if (!want) assert_null(fake_head("grpc-encoding"));
	free(bytes);
}

static void test_answers_compressed(void **state)
{
	(void)state;
	send_and_check(NULL, NULL, 100000, false);
	send_and_check("identity,deflate", NULL, 100000, false);
	send_and_check("identity, deflate, gzip", NULL, 100000, true);
	send_and_check("gzip", NULL, 10000, false);
	send_and_check("gzip", NULL, (size_t)1024 * 1024, true);
	send_and_check("gzip", NULL, (size_t)1024 * 1024 + 1, false);
	send_and_check("gzip", "gzip", 10000, true);
	send_and_check("gzip", "gzip", 1000, false);
}

/* ── back-pressure ───────────────────────────────────────────────────────── */

static void test_hold(void **state)
{
	(void)state;
	seen.should_hold = true;
	open_call("Client");
	fake_data("\0\0\0\0\1a\0\0\0\0\1b\0\0\0\0\1c", 18);
	assert_int_equal(seen.messages, 1);
	assert_int_equal(fake.consumed, 6); /* the rest stays in the client's window */
	fake_data("\0\0\0", 3);
	assert_int_equal(fake.consumed, 6);
	grpc_next(seen.call);
	assert_int_equal(seen.messages, 2);
	assert_int_equal(fake.consumed, 12);
	fake_data("\0\1d", 3);
	fake_end();
	assert_int_equal(seen.half_closed, 0);
	grpc_next(seen.call);
	assert_int_equal(seen.messages, 3);
	assert_int_equal(seen.bytes[0], 'c');
	grpc_next(seen.call);
	assert_int_equal(seen.messages, 4);
	assert_int_equal(seen.bytes[0], 'd');
	assert_int_equal(seen.half_closed, 0);
	grpc_next(seen.call);
	assert_int_equal(seen.half_closed, 1);
	assert_int_equal(fake.consumed, 24);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
}

static void test_hold_then_close(void **state)
{
	(void)state;
	seen.should_hold = true;
	open_call("Client");
	fake_data("\0\0\0\0\1a\0\0\0\0\1b", 12);
	fake_close();
	assert_int_equal(seen.closed, 1);
	assert_int_equal(seen.messages, 1);
}

static void test_room(void **state)
{
	char bytes[1000] = {0};
	(void)state;
	open_call("Bidi");
	grpc_begin(seen.call);
	assert_true(fake.has_head);
	fake.room = 1500;
	assert_int_equal(grpc_room(seen.call), 1495);
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	assert_int_equal(grpc_room(seen.call), 490);
	/* Larger than the room: taken whole, then no more. */
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	assert_int_equal(grpc_room(seen.call), 0);
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, 1)), ERR_TOO_LARGE);
	fake_drain(200);
	assert_int_equal(seen.writable, 0);
	fake_drain(100000);
	assert_int_equal(seen.writable, 1);
	assert_int_equal(fake.out.len, 2010);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_int_equal(fake_status(), GRPC_OK);
}

static void test_broken_output(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	open_call("Bidi");
	fake.write_status = ERR_BUSY;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, 10)), ERR_BUSY);
	fake.write_status = OK;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, 10)), OK); /* nothing of the first was sent */
	/* The prefix has left, the message cannot follow: the client may not take what comes next for it. */
	fake.write_status = ERR_BUSY;
	fake.busy_above = 100;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), ERR_BUSY);
	fake.write_status = OK;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, 10)), ERR_BUSY);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_true(fake.is_reset);
}

/* ── ends ────────────────────────────────────────────────────────────────── */

static void test_finish_in_start(void **state)
{
	(void)state;
	seen.should_finish_in_start = true;
	open_call("Unary");
	assert_int_equal(fake_status(), GRPC_UNAUTHENTICATED);
	assert_false(fake.has_head); /* Trailers-Only */
	fake_message(false, "a", 1);
	fake_end();
	assert_int_equal(seen.messages + seen.closed, 0);
}

static void test_finish_in_message(void **state)
{
	(void)state;
	seen.should_finish_in_message = true;
	open_call("Client");
	fake_data("\0\0\0\0\1a\0\0\0\0\1b", 12);
	assert_int_equal(seen.messages, 1);
	assert_int_equal(fake_status(), GRPC_ABORTED);
	assert_string_equal(fake_trailer("grpc-message"), "enough");
}

static void test_cancel(void **state)
{
	int64_t before = counted("Bidi", "CANCELLED");
	(void)state;
	open_call("Bidi");
	fake_close();
	assert_int_equal(seen.closed, 1);
	assert_int_equal(counted("Bidi", "CANCELLED"), before + 1);
}

static void test_leaves_before_reading_all(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	open_call("Bidi");
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_int_equal(fake_status(), -1);
	fake_close();
	assert_int_equal(seen.closed, 0); /* it had finished */
}

static bool has_ended(void)
{
	return fake.is_ended || fake.is_reset;
}

/* The client goes on sending, which must not shut the connection's window. */
static void test_late_bytes_are_consumed(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	seen.should_hold = true;
	open_call("Bidi");
	fake_data("\0\0\0\0\1a\0\0\0\0\1b", 12);
	assert_int_equal(fake.consumed, 6);
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_int_equal(fake.consumed, 12);
	fake_data(bytes, 100);
	assert_int_equal(fake.consumed, 112);
	fake_end();
	fake_drain(10000);
	assert_int_equal(fake_status(), GRPC_OK);
	assert_int_equal(seen.messages, 1);
}

static void test_deadline(void **state)
{
	(void)state;
	fake_header("grpc-timeout", "20m");
	open_call("Bidi");
	assert_true(grpc_deadline_us(seen.call) <= clock_mono_us() + 20000);
	fake_run_until(has_ended);
	assert_int_equal(fake_status(), GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(seen.closed, 1);
}

static void test_deadline_of_nothing(void **state)
{
	(void)state;
	fake_header("grpc-timeout", "0n");
	open_call("Unary");
	fake_run_until(has_ended);
	assert_int_equal(fake_status(), GRPC_DEADLINE_EXCEEDED);
}

static void test_deadline_with_output_waiting(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	fake_header("grpc-timeout", "20m");
	open_call("Bidi");
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	fake_run_until(has_ended);
	assert_true(fake.is_reset); /* trailers would be read as part of the message */
	assert_int_equal(seen.closed, 1);
}

static void test_deadline_after_finish(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	fake_header("grpc-timeout", "20m");
	open_call("Bidi");
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	fake_run_until(has_ended);
	assert_true(fake.is_reset);
	assert_int_equal(seen.closed, 0);
}

static void test_no_deadline(void **state)
{
	(void)state;
	fake_header("grpc-timeout", "99999999H");
	open_call("Bidi");
	assert_false(seen.call->has_timer);
	fake_close();
}

static bool no_stall_is_set(void)
{
	return !seen.call->has_stall || has_ended();
}

static bool is_set_anew(void)
{
	return has_ended() || seen.call->at_stall.message_count > 0;
}

/* Thirty seconds pass. */
static void let_stall(bool (*until)(void))
{
	(void)event_del(&seen.call->stall);
	event_active(&seen.call->stall, EV_TIMEOUT, 0);
	fake_run_until(until);
}

static void test_message_never_comes(void **state)
{
	(void)state;
	open_call("Unary");
	assert_false(seen.call->has_stall); /* an idle call costs nobody anything */
	fake_data("\0\0\0\0\5ab", 7);
	assert_true(seen.call->has_stall);
	let_stall(has_ended);
	assert_int_equal(fake_status(), GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(seen.closed, 1);
}

static void test_slow_messages_are_fine(void **state)
{
	(void)state;
	open_call("Client");
	fake_data("\0\0\0\0\3a", 6);
	fake_data("bc\0\0\0\0\3a", 8); /* another one than the timer was set for */
	let_stall(is_set_anew);
	assert_false(has_ended());
	assert_int_equal(seen.call->at_stall.message_count, 1);
	fake_data("bc", 2);
	let_stall(no_stall_is_set);
	assert_false(has_ended());
	fake_close();
}

static void test_last_bytes_are_never_read(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	open_call("Bidi");
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_true(seen.call->has_stall);
	let_stall(has_ended);
	assert_true(fake.is_reset);
}

static void test_drain(void **state)
{
	(void)state;
	open_call("Bidi");
	fake_retire();
	assert_int_equal(seen.drained, 1);
	assert_int_equal(fake_status(), GRPC_UNAVAILABLE);
}

static void test_goes_on_while_draining(void **state)
{
	(void)state;
	seen.should_reply = true;
	open_call("Unary");
	fake_retire();
	fake_message(false, "a", 1);
	fake_end();
	assert_int_equal(fake_status(), GRPC_OK);
}

static void test_output_gets_stuck(void **state)
{
	char bytes[5000] = {0};
	(void)state;
	open_call("Bidi");
	fake.room = 1000;
	assert_int_equal(grpc_send_bytes(seen.call, str_of(bytes, sizeof bytes)), OK);
	fake.write_status = ERR_BUSY;
	fake_drain(1000);
	assert_true(fake.is_reset);
	assert_int_equal(seen.closed, 1);
}

/* ── metadata and statuses ───────────────────────────────────────────────── */

static void test_metadata(void **state)
{
	(void)state;
	fake_header("x-text", "value");
	fake_header("x-padded-bin", "q6urqw==");
	fake_header("x-bare-bin", "q6urqw");
	fake_header("x-list-bin", "q6urqw, AAAA");
	fake_header("x-broken-bin", "!!!");
	open_call("Bidi");
	const struct str want = STR("\xab\xab\xab\xab");
	assert_true(str_eq(grpc_metadata(seen.call, STR("x-text")), STR("value")));
	assert_true(str_eq(grpc_metadata(seen.call, STR("x-padded-bin")), want));
	assert_true(str_eq(grpc_metadata(seen.call, STR("x-bare-bin")), want));
	assert_true(str_eq(grpc_metadata(seen.call, STR("x-list-bin")), want));
	assert_int_equal(grpc_metadata(seen.call, STR("x-broken-bin")).len, 0);
	assert_int_equal(grpc_metadata(seen.call, STR("x-none-bin")).len, 0);
	grpc_set_metadata(seen.call, STR("x-initial"), STR("one"));
	grpc_set_metadata(seen.call, STR("x-initial-bin"), want);
	grpc_set_trailer(seen.call, STR("x-trailing-bin"), want);
	grpc_set_trailer(seen.call, STR("x-split"), STR("a\r\nb: c"));
	grpc_finish(seen.call, GRPC_OK, STR_NONE);
	assert_true(fake.has_head); /* or initial metadata would arrive as trailing */
	assert_string_equal(fake_head("x-initial"), "one");
	assert_string_equal(fake_head("x-initial-bin"), "q6urqw");
	assert_string_equal(fake_trailer("x-trailing-bin"), "q6urqw");
	assert_null(fake_trailer("x-split"));
}

static struct str detail(struct arena *arena, const char *type)
{
	struct str bytes, url;
	struct wire_field field;
	const char *text = fake_trailer("grpc-status-details-bin");
	assert_non_null(text);
	assert_null(strchr(text, '='));
	assert_int_equal(base64_decode(arena, str_from(text), &bytes), OK);
	assert_int_equal(wire_find_varint(bytes, 1), fake_status());
	while (bytes.len) {
		assert_true(wire_take(&bytes, &field));
		url = wire_find_bytes(field.bytes, 1);
		if (field.number == 3 && url.len > strlen(type) &&
		    memcmp(url.ptr + url.len - strlen(type), type, strlen(type)) == 0)
			return wire_find_bytes(field.bytes, 2);
	}
	return STR_NONE;
}

static void test_problems(void **state)
{
	for (int i = 1; i < PROBLEM_COUNT; i++) {
		const struct problem_info *info = problem_info((enum problem)i);
		struct arena arena;
		(void)setup(state);
		arena_init(&arena, 4096, 0);
		open_call("Bidi");
		grpc_finish_problem(seen.call, (enum problem)i, STR_NONE, STR("/events/3"));
		assert_int_equal(fake_status(), info->grpc_status);
		assert_string_equal(fake_trailer("grpc-message"), info->text);
		struct str error = detail(&arena, "/google.rpc.ErrorInfo");
		assert_true(str_eq(wire_find_bytes(error, 1), str_from(info->code)));
		assert_true(str_eq(wire_find_bytes(error, 2), STR("cdpd")));
		struct str violation = wire_find_bytes(detail(&arena, "/google.rpc.BadRequest"), 1);
		assert_true(str_eq(wire_find_bytes(violation, 1), STR("/events/3")));
		assert_true(str_eq(wire_find_bytes(violation, 2), str_from(info->text)));
		struct str delay = wire_find_bytes(detail(&arena, "/google.rpc.RetryInfo"), 1);
		assert_int_equal(wire_find_varint(delay, 1), info->retry_after_s);
		const char *pushback = fake_trailer("grpc-retry-pushback-ms");
		if (info->retry_after_s > 0)
			assert_int_equal(atoi(pushback), info->retry_after_s * 1000);
		else if (info->grpc_status == GRPC_RESOURCE_EXHAUSTED || info->grpc_status == GRPC_UNAVAILABLE)
			assert_string_equal(pushback, "-1");
		else
			assert_null(pushback);
		arena_fini(&arena);
	}
}

static void test_retry_after(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 4096, 0);
	open_call("Bidi");
	grpc_set_retry_after(seen.call, 30);
	grpc_finish_problem(seen.call, PROBLEM_RATE_LIMITED, STR_NONE, STR_NONE);
	struct str delay = wire_find_bytes(detail(&arena, "/google.rpc.RetryInfo"), 1);
	assert_int_equal(wire_find_varint(delay, 1), 30);
	assert_string_equal(fake_trailer("grpc-retry-pushback-ms"), "30000");
	assert_int_equal(detail(&arena, "/google.rpc.BadRequest").len, 0);
	arena_fini(&arena);
}

static void test_trailers_stay_small(void **state)
{
	size_t total = 0;
	char *text = malloc(20000);
	(void)state;
	assert_non_null(text);
	memset(text, '%', 20000);
	open_call("Bidi");
	grpc_finish_problem(seen.call, PROBLEM_INVALID_REQUEST, str_of(text, 20000), str_of(text, 1000));
	for (size_t i = 0; i < fake.trailer_count; i++) total += strlen(fake.trailers[i].value);
	assert_int_equal(fake_status(), GRPC_INVALID_ARGUMENT);
	assert_true(total < 8000);
	free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_content_type),
	    CASE(test_grpc_web),
	    CASE(test_te),
	    CASE(test_encoding),
	    CASE(test_bad_timeout),
	    CASE(test_unknown_method),
	    CASE(test_unary),
	    CASE(test_every_split),
	    CASE(test_broken_framing),
	    CASE(test_length_alone_takes_no_memory),
	    CASE(test_large_message),
	    CASE(test_too_much_memory),
	    CASE(test_gzip),
	    CASE(test_bomb),
	    CASE(test_not_gzip),
	    CASE(test_answers_compressed),
	    CASE(test_hold),
	    CASE(test_hold_then_close),
	    CASE(test_room),
	    CASE(test_broken_output),
	    CASE(test_finish_in_start),
	    CASE(test_finish_in_message),
	    CASE(test_cancel),
	    CASE(test_leaves_before_reading_all),
	    CASE(test_late_bytes_are_consumed),
	    CASE(test_deadline),
	    CASE(test_deadline_of_nothing),
	    CASE(test_deadline_with_output_waiting),
	    CASE(test_deadline_after_finish),
	    CASE(test_no_deadline),
	    CASE(test_message_never_comes),
	    CASE(test_slow_messages_are_fine),
	    CASE(test_last_bytes_are_never_read),
	    CASE(test_drain),
	    CASE(test_goes_on_while_draining),
	    CASE(test_output_gets_stuck),
	    CASE(test_metadata),
	    CASE(test_problems),
	    CASE(test_retry_after),
	    CASE(test_trailers_stay_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
