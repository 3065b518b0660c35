/* Streamed answers against a real server. */
#include "net/one_server.h"

#include <sys/socket.h>
#include <unistd.h>

#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

static void write_two(void *ctx)
{
	(void)ctx;
	assert_int_equal(http_stream_write(stream_wait(), STR("data: 1\n\n")), OK);
	assert_int_equal(http_stream_write(stream_wait(), STR_NONE), OK);
	assert_int_equal(http_stream_write(stream_wait(), STR("data: 2\n\n")), OK);
}

static void end(void *ctx)
{
	(void)ctx;
	http_stream_end(stream_wait());
}

static void streams_chunks_and_goes_on(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
	(void)stream_wait();
	server_on_loop(&server, write_two, NULL);
	server_on_loop(&server, write_two, NULL);
	server_on_loop(&server, end, NULL);
	struct response got = client_read(&client, true);
	assert_int_equal(got.status, 200);
	assert_true(response_has(&got, "Content-Type: text/event-stream"));
	assert_true(response_has(&got, "Transfer-Encoding: chunked"));
	assert_null(strstr(got.head, "Content-Length"));
	assert_string_equal(got.body, "data: 1\n\ndata: 2\n\ndata: 1\n\ndata: 2\n\n");
	response_free(&got);
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void streams_plain_bytes_to_http_1_0(void **state)
{
	static const char want[] = "data: 1\n\ndata: 2\n\n";
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	(void)stream_wait();
	server_on_loop(&server, write_two, NULL);
	server_on_loop(&server, end, NULL);
	struct response got = client_read(&client, true);
	assert_true(response_has(&got, "Connection: close"));
	assert_null(strstr(got.head, "chunked"));
	response_free(&got);
	client_fill(&client, sizeof want - 1);
	assert_memory_equal(client.data, want, sizeof want - 1);
	client.len = 0;
	client_expect_closed(&client);
	client_close(&client);
}

struct flood {
	size_t written, most;
	int status;
};

static void write_until_full(void *ctx)
{
	static char block[1000];
	struct flood *flood = ctx;
	struct http_stream *stream = stream_wait();
	for (size_t i = 0; i < sizeof block; i++) block[i] = (char)('a' + i % 26);
	for (;;) {
		size_t room = http_stream_room(stream);
		assert_true(room <= HTTP_STREAM_BUFFER);
		flood->status = http_stream_write(stream, (struct str){block, sizeof block});
		if (flood->status != OK) return;
		flood->written += sizeof block;
	}
}

/* The sockets take some, then the stream's buffer fills and refuses; reading makes room again and on_drain tells. */
static void bounds_what_waits_for_a_slow_reader(void **state)
{
	struct client client;
	struct flood flood = {0};
	const int small = 64 * 1024; /* the kernel's own buffers would take megabytes */
	(void)state;
	client_open(&client, &server);
	assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	SEND(&client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)stream_wait();
	size_t before;
	int rounds = 0;
	do { /* each turn flushes to the socket until that is full too */
		before = flood.written;
		(void)stream_was_drained();
		server_on_loop(&server, write_until_full, &flood);
		assert_int_equal(flood.status, ERR_TOO_LARGE);
		assert_true(flood.written - before <= HTTP_STREAM_BUFFER);
		assert_true(++rounds < 1000);
	} while (flood.written != before);
	size_t total = flood.written;
	assert_false(stream_was_drained());
	/* Reading all but the end makes room. */
	client_fill(&client, total - HTTP_STREAM_BUFFER / 8);
	stream_wait_drained();
	flood.written = 0;
	server_on_loop(&server, end, NULL);
	struct response got = client_read(&client, true);
	assert_int_equal(got.body_len, total);
	for (size_t i = 0; i < total; i += 997) assert_int_equal(got.body[i], 'a' + (int)(i % 1000 % 26));
	response_free(&got);
	client_close(&client);
}

/* With no budget left a stream still gets what a client that keeps reading needs, and no more. */
static void ends_streams_that_wait_when_all_read_too_slowly(void **state)
{
	struct client client;
	struct flood flood = {0};
	const int small = 64 * 1024;
	(void)state;
	server.config.limits.reply_bytes = 1;
	server_start(&server);
	client_open(&client, &server);
	assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	SEND(&client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)stream_wait();
	for (int rounds = 0; rounds < 1000; rounds++) {
		size_t before = flood.written;
		server_on_loop(&server, write_until_full, &flood);
		assert_int_equal(flood.status, ERR_BUSY);
		assert_true(flood.written - before <= HTTP_STREAM_BUFFER / 2);
		if (flood.written == before) break;
	}
	assert_true(flood.written > 0);
	server_on_loop(&server, end, NULL);
	struct response got = client_read(&client, true);
	assert_int_equal(got.body_len, flood.written);
	response_free(&got);
	client_close(&client);
	server_stop(&server);
}

static void tells_when_the_client_leaves(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)stream_wait();
	server_on_loop(&server, write_two, NULL);
	client_close(&client);
	stream_wait_closed();
}

static void tells_when_the_server_drains(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)stream_wait();
	server_on_loop(&server, write_two, NULL);
	net_drain(server.net, 5000);
	stream_wait_closed();
	struct response got = client_read(&client, true); /* the framing is whole */
	assert_string_equal(got.body, "data: 1\n\ndata: 2\n\n");
	response_free(&got);
	client_expect_closed(&client);
	client_close(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(streams_chunks_and_goes_on, server_setup_started, server_teardown),
	    cmocka_unit_test_setup_teardown(streams_plain_bytes_to_http_1_0, server_setup_started, server_teardown),
	    cmocka_unit_test_setup_teardown(bounds_what_waits_for_a_slow_reader, server_setup_started, server_teardown),
	    cmocka_unit_test_setup(ends_streams_that_wait_when_all_read_too_slowly, server_setup),
	    cmocka_unit_test_setup_teardown(tells_when_the_client_leaves, server_setup_started, server_teardown),
	    cmocka_unit_test_setup_teardown(tells_when_the_server_drains, server_setup_started, server_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
