/* HTTP/2 against a real server: what is refused, who leaves, and what waits. */
#include "net/h2_client.h"
#include "net/one_server.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ── refusals ────────────────────────────────────────────────────────────── */

static void refuses_heads(void **state)
{
	struct h2 h2;
	static char value[7000], path[8200];
	(void)state;
	memset(value, 'v', sizeof value - 1);
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/hello", true, "a", value, "b", value, NULL);
	h2_expect(&h2, 1, 200, NULL);
	h2_request(&h2, 3, "GET", "/hello", true, "a", value, "b", value, "c", "2300 bytes are left", "d", value, NULL);
	h2_expect(&h2, 3, 431, NULL);
	h2_request(&h2, 5, "POST", "/duplex", true, "a", value, "b", value, "c", value, NULL);
	h2_expect(&h2, 5, 431, NULL);
	assert_null(duplex_state().duplex); /* nobody was called */
	struct h2_block block = {.len = 0};
	h2_put(&block, ":method", "GET");
	h2_put(&block, ":scheme", "http");
	h2_put(&block, ":path", "/hello");
	h2_put(&block, ":authority", "a");
	for (int i = 0; i < 64; i++) h2_put(&block, "x", "y");
	h2_send(&h2, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 7, block.bytes, block.len);
	h2_expect(&h2, 7, 431, NULL);
	memset(path, 'p', sizeof path - 1);
	path[0] = '/';
	h2_request(&h2, 9, "GET", path, true, NULL);
	h2_expect(&h2, 9, 414, NULL);
	h2_request(&h2, 11, "GET", "/a%zz", true, NULL);
	h2_expect(&h2, 11, 400, NULL);
	h2_request(&h2, 13, "GET", "/hello", true, "host", "b", NULL);
	h2_expect(&h2, 13, 400, NULL);
	h2_request(&h2, 15, "GET", "/hello", true, "host", "A", NULL);
	h2_expect(&h2, 15, 200, "hello");
	h2_request(&h2, 17, "POST", "/echo", false, "content-length", "1048577", NULL);
	h2_expect(&h2, 17, 413, NULL);
	h2_request(&h2, 19, "GET", "/hello", true, "te", "trailers", "expect", "100-continue", NULL);
	h2_expect(&h2, 19, 200, "hello");
	h2_close(&h2);
}

/* Streams that break the rules are reset, the connection lives on. */
#define GET_HELLO ":method", "GET", ":scheme", "http", ":path", "/hello", ":authority", "a"
static void resets_malformed_requests(void **state)
{
	static const struct {
		const char *fields[12];
	} cases[] = {
	    {{":method", "GET", ":scheme", "http", ":authority", "a"}},
	    {{":scheme", "http", ":path", "/hello", ":authority", "a"}},
	    {{":method", "GET", ":scheme", "http", ":path", "/hello"}},
	    {{":method", "GET", ":scheme", "http", ":path", "", ":authority", "a"}},
	    {{":method", "GET", "x", "y", ":scheme", "http", ":path", "/hello", ":authority", "a"}},
	    {{GET_HELLO, "Upper", "x"}},
	    {{GET_HELLO, "connection", "close"}},
	    {{GET_HELLO, "transfer-encoding", "chunked"}},
	    {{GET_HELLO, "te", "gzip"}},
	    {{GET_HELLO, "a b", "x"}},
	    {{GET_HELLO, "a", "x\ny"}},
	    {{GET_HELLO, ":path", "/x"}},
	    {{GET_HELLO, ":unknown", "x"}},
	    {{GET_HELLO, "content-length", "+1"}},
	};
	struct h2 h2;
	uint32_t id = 1;
	(void)state;
	h2_open(&h2, &server);
	for (size_t i = 0; i < COUNT_OF(cases); i++, id += 2) {
		struct h2_block block = {.len = 0};
		for (size_t j = 0; j < 12 && cases[i].fields[j]; j += 2)
			h2_put(&block, cases[i].fields[j], cases[i].fields[j + 1]);
		h2_send(&h2, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, id, block.bytes, block.len);
		struct h2_answer got = h2_answer(&h2, id);
		if (!got.is_reset || got.error != 1) fail_msg("case %zu: %d, %u", i, got.status, got.error);
		h2_answer_free(&got);
	}
	struct h2_block block = {.len = 0};
	h2_put(&block, ":method", "CONNECT");
	h2_put(&block, ":authority", "a:1");
	h2_send(&h2, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, id, block.bytes, block.len);
	h2_expect(&h2, id, 400, NULL);
	h2_request(&h2, id + 2, "POST", "/echo", false, "content-length", "2", NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, id + 2, "abc", 3);
	struct h2_answer got = h2_answer(&h2, id + 2);
	assert_true(got.is_reset);
	h2_answer_free(&got);
	h2_request(&h2, id + 4, "GET", "/hello", true, NULL);
	h2_expect(&h2, id + 4, 200, "hello");
	h2_close(&h2);
}

static void ends_on_connection_errors(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t id;
		const char *payload;
		size_t len;
	} cases[] = {
	    {H2_DATA, 0, 0, "x", 1},
	    {H2_DATA, 0, 1, "x", 1},
	    {H2_HEADERS, H2_END_HEADERS, 2, "", 0},
	    {H2_PING, 0, 0, "short", 5},
	    {H2_SETTINGS, 0, 0, "odd", 3},
	    {H2_WINDOW, 0, 0, "\0\0\0\0", 4},
	    {H2_CONTINUATION, 0, 1, "x", 1},
	    {H2_PUSH, 0, 1, "\0\0\0\2", 4},
	    {H2_HEADERS, H2_END_HEADERS, 1, "\xff\xff\xff\xff", 4},
	};
	struct client client;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct h2 h2;
		h2_open(&h2, &server);
		h2_send(&h2, cases[i].type, cases[i].flags, cases[i].id, cases[i].payload, cases[i].len);
		if (h2_expect_end(&h2) <= 0) fail_msg("case %zu: no GOAWAY with an error", i);
		h2_close(&h2);
	}
	/* No SETTINGS behind the preface. */
	client_open(&client, &server);
	SEND(&client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0");
	while (client_more(&client)) continue;
	client_close(&client);
}

/* ── clients that leave ──────────────────────────────────────────────────── */

static void vanish(struct h2 *h2)
{
	const struct linger now = {1, 0};
	assert_int_equal(setsockopt(h2->client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	h2_close(h2);
}

static void tells_of_reset_streams(void **state)
{
	struct h2 h2;
	(void)state;
	/* Asked to be told. */
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/park?abort", true, NULL);
	(void)parked_wait();
	h2_number(&h2, H2_RST, 1, 8);
	parked_wait_aborted();
	/* Not asked: the late answer goes nowhere. */
	h2_request(&h2, 3, "GET", "/park", true, NULL);
	(void)parked_wait();
	h2_number(&h2, H2_RST, 3, 8);
	h2_sync(&h2);
	parked_answer(&server, "late");
	/* Asked after it had left. */
	h2_request(&h2, 5, "GET", "/park", true, NULL);
	(void)parked_wait();
	h2_number(&h2, H2_RST, 5, 8);
	h2_sync(&h2);
	parked_watch_abort(&server);
	parked_wait_aborted();
	h2_request(&h2, 7, "GET", "/hello", true, NULL);
	h2_expect(&h2, 7, 200, "hello");
	h2_close(&h2);
}

static void tells_of_lost_connections(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/stream", true, NULL);
	h2_request(&h2, 3, "POST", "/duplex", false, NULL);
	h2_request(&h2, 5, "GET", "/park?abort", true, NULL);
	(void)parked_wait();
	(void)stream_wait();
	duplex_wait(0);
	vanish(&h2);
	parked_wait_aborted();
	stream_wait_closed();
	duplex_wait_closed(1);
	/* With a request that nobody is told about: its answer frees the rest. */
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/park", true, NULL);
	h2_request(&h2, 3, "POST", "/duplex", false, NULL);
	(void)parked_wait();
	duplex_wait(0);
	vanish(&h2);
	duplex_wait_closed(2);
	parked_answer(&server, "late");
}

static void stops_with_an_unanswered_request(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/park", true, NULL);
	h2_request(&h2, 3, "POST", "/duplex", false, NULL);
	(void)parked_wait();
	duplex_wait(0);
	vanish(&h2);
	duplex_wait_closed(1);
}

static void answers_half_closed_clients(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/hello", true, NULL);
	assert_int_equal(shutdown(h2.client.fd, SHUT_WR), 0);
	h2_expect(&h2, 1, 200, "hello");
	(void)h2_expect_end(&h2);
	h2_close(&h2);
	/* A stream is of no use to a client that has left. */
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/stream", true, NULL);
	(void)stream_wait();
	assert_int_equal(shutdown(h2.client.fd, SHUT_WR), 0);
	stream_wait_closed();
	h2_close(&h2);
}

/* ── what waits ──────────────────────────────────────────────────────────── */

static void sends_large_answers_as_windows_allow(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/big?n=3000000", true, NULL);
	struct h2_answer got = h2_answer(&h2, 1);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body_len, 3000000);
	for (size_t i = 0; i < got.body_len; i++)
		if (got.body[i] != (char)('a' + i % 26)) fail_msg("wrong byte at %zu", i);
	h2_answer_free(&got);
	/* No window for one: the others are answered. */
	h2.grants = false;
	h2_request(&h2, 3, "GET", "/big?n=100000", true, NULL);
	got = H2_NO_ANSWER;
	while (got.body_len < 65535) assert_true(h2_read(&h2, 3, &got));
	h2_number(&h2, H2_WINDOW, 0, 100000);
	h2_sync(&h2);
	h2_request(&h2, 5, "GET", "/hello", true, NULL);
	h2_expect(&h2, 5, 200, "hello");
	h2_number(&h2, H2_WINDOW, 3, 100000);
	while (h2_read(&h2, 3, &got)) continue;
	assert_int_equal(got.body_len, 100000);
	h2_answer_free(&got);
	h2_close(&h2);
}

/* What may wait for all clients together is bounded, whichever streams it waits in. */
static void refuses_large_answers_past_the_budget(void **state)
{
	struct h2 h2;
	int refused = 0;
	(void)state;
	server.config.limits.reply_bytes = 1 << 20;
	server_start(&server);
	h2_open(&h2, &server);
	h2.grants = false;
	for (uint32_t id = 1; id < 101; id += 2) h2_request(&h2, id, "GET", "/big?n=60000", true, NULL);
	h2_send(&h2, H2_PING, 0, 0, "all read", 8);
	for (int done = 0; done < 50;) {
		assert_true(h2_next(&h2));
		const struct h2_frame *frame = &h2.frame;
		if (frame->type == H2_PING && frame->flags & H2_ACK) { /* only now is any of it taken */
			h2_number(&h2, H2_WINDOW, 0, 1 << 30);
			for (uint32_t id = 1; id < 101; id += 2) h2_number(&h2, H2_WINDOW, id, 1 << 20);
		}
		if (frame->type != H2_DATA || !(frame->flags & H2_END_STREAM)) continue;
		done++;
		refused += frame->len < 1000 && memmem(frame->payload, frame->len, "overloaded", 10) != NULL;
	}
	assert_true(refused >= 20 && refused < 40);
	h2_close(&h2);
	server_stop(&server);
}

static void write_two(void *ctx)
{
	(void)ctx;
	assert_int_equal(http_stream_write(stream_wait(), STR("data: 1\n\n")), OK);
	assert_int_equal(http_stream_write(stream_wait(), STR("data: 2\n\n")), OK);
}

static void end_stream(void *ctx)
{
	(void)ctx;
	http_stream_end(stream_wait());
}

static void streams_beside_requests(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/stream", true, NULL);
	(void)stream_wait();
	server_on_loop(&server, write_two, NULL);
	struct h2_answer got = H2_NO_ANSWER;
	while (got.body_len < 18) assert_true(h2_read(&h2, 1, &got));
	assert_true(h2_has(got.head, "content-type: text/event-stream"));
	h2_request(&h2, 3, "GET", "/hello", true, NULL);
	h2_expect(&h2, 3, 200, "hello");
	server_on_loop(&server, write_two, NULL);
	server_on_loop(&server, end_stream, NULL);
	while (h2_read(&h2, 1, &got)) continue;
	assert_string_equal(got.body, "data: 1\n\ndata: 2\n\ndata: 1\n\ndata: 2\n\n");
	h2_answer_free(&got);
	h2_request(&h2, 5, "HEAD", "/stream", true, NULL);
	got = h2_answer(&h2, 5);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body_len, 0);
	h2_answer_free(&got);
	h2_close(&h2);
}

static void write_until_full(void *ctx)
{
	static char block[1000];
	size_t *written = ctx;
	while (http_stream_write(stream_wait(), (struct str){block, sizeof block}) == OK) *written += sizeof block;
	assert_true(http_stream_room(stream_wait()) < sizeof block);
}

static void bounds_streams_that_are_not_read(void **state)
{
	struct h2 h2;
	size_t written = 0, more = 0;
	(void)state;
	h2_open(&h2, &server);
	h2.grants = false;
	h2_request(&h2, 1, "GET", "/stream", true, NULL);
	(void)stream_wait();
	server_on_loop(&server, write_until_full, &written);
	assert_true(written <= HTTP_STREAM_BUFFER);
	h2_send(&h2, H2_PING, 0, 0, "not read", 8);
	struct h2_answer got = H2_NO_ANSWER;
	while (got.body_len < 65535) assert_true(h2_read(&h2, 1, &got)); /* as much as the windows allow */
	server_on_loop(&server, write_until_full, &more);
	assert_true(more > 0 && more <= 66000);
	assert_false(stream_was_drained());
	h2_number(&h2, H2_WINDOW, 1, 1 << 20);
	h2_number(&h2, H2_WINDOW, 0, 1 << 20);
	stream_wait_drained();
	server_on_loop(&server, end_stream, NULL);
	while (h2_read(&h2, 1, &got)) continue;
	assert_int_equal(got.body_len, written + more);
	h2_answer_free(&got);
	h2_close(&h2);
}

static void write_duplex_until_full(void *ctx)
{
	static char block[10000];
	size_t *written = ctx;
	struct http_duplex *duplex = duplex_state().duplex;
	while (http_duplex_room(duplex) >= sizeof block) {
		assert_int_equal(http_duplex_write(duplex, (struct str){block, sizeof block}), OK);
		*written += sizeof block;
	}
	assert_int_equal(http_duplex_write(duplex, (struct str){block, sizeof block}), ERR_TOO_LARGE);
}

static void bounds_duplex_answers(void **state)
{
	struct h2 h2;
	size_t written = 0;
	(void)state;
	h2_open(&h2, &server);
	h2.grants = false;
	h2_request(&h2, 1, "POST", "/duplex", false, NULL);
	duplex_wait(0);
	server_on_loop(&server, write_duplex_until_full, &written);
	assert_true(written <= HTTP_STREAM_BUFFER && written > HTTP_STREAM_BUFFER - 10000);
	struct h2_answer got = H2_NO_ANSWER;
	while (got.body_len < 65535) assert_true(h2_read(&h2, 1, &got));
	assert_int_equal(duplex_state().drains, 0);
	h2_number(&h2, H2_WINDOW, 0, 1 << 20);
	h2_number(&h2, H2_WINDOW, 1, 1 << 20);
	while (got.body_len < written) assert_true(h2_read(&h2, 1, &got));
	h2_sync(&h2);
	assert_int_equal(duplex_state().drains, 1);
	h2_answer_free(&got);
	h2_close(&h2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define CASE(name)   cmocka_unit_test_setup_teardown(name, server_setup_started, server_teardown)
#define CUSTOM(name) cmocka_unit_test_setup(name, server_setup)
	    CASE(refuses_heads),
	    CASE(resets_malformed_requests),
	    CASE(ends_on_connection_errors),
	    CASE(tells_of_reset_streams),
	    CASE(tells_of_lost_connections),
	    CASE(stops_with_an_unanswered_request),
	    CASE(answers_half_closed_clients),
	    CASE(sends_large_answers_as_windows_allow),
	    CUSTOM(refuses_large_answers_past_the_budget),
	    CASE(streams_beside_requests),
	    CASE(bounds_streams_that_are_not_read),
	    CASE(bounds_duplex_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
