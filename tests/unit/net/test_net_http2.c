/* HTTP/2 against a real server: requests, bodies, answers, streams and duplex, frame by frame. */
#include "net/h2_client.h"
#include "net/one_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ── requests and answers ────────────────────────────────────────────────── */

static void answers_requests(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "GET", "/hello", true, NULL);
	struct h2_answer got = h2_answer(&h2, 1);
	assert_int_equal(got.status, 200);
	assert_string_equal(got.body, "hello");
	assert_true(h2_has(got.head, "content-type: text/plain"));
	assert_true(h2_has(got.head, "content-length: 5"));
	assert_non_null(strstr(got.head, "\ndate: "));
	assert_null(strstr(got.head, "connection"));
	h2_answer_free(&got);
	h2_request(&h2, 3, "GET", "/params/a%20b/c?q=%26x", true, NULL);
	h2_expect(&h2, 3, 200, "a b|c|&x");
	h2_request(&h2, 5, "GET", "/nowhere", true, NULL);
	h2_expect(&h2, 5, 404, NULL);
	h2_request(&h2, 7, "PUT", "/hello", true, NULL);
	got = h2_answer(&h2, 7);
	assert_int_equal(got.status, 405);
	assert_true(h2_has(got.head, "allow: GET, HEAD, OPTIONS"));
	h2_answer_free(&got);
	h2_request(&h2, 9, "HEAD", "/hello", true, NULL);
	got = h2_answer(&h2, 9);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body_len, 0);
	assert_true(h2_has(got.head, "content-length: 5"));
	h2_answer_free(&got);
	h2_request(&h2, 11, "OPTIONS", "*", true, NULL);
	h2_expect(&h2, 11, 204, "");
	h2_request(&h2, 13, "GET", "/admin", true, NULL);
	h2_expect(&h2, 13, 404, NULL);
	h2_request(&h2, 15, "GET", "/split", true, NULL);
	got = h2_answer(&h2, 15);
	assert_true(h2_has(got.head, "x-good: c"));
	assert_null(strstr(got.head, "evil"));
	h2_answer_free(&got);
	h2_close(&h2);
}

static void adds_cors_fields(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "OPTIONS", "/echo", true, "origin", "https://any.example", "access-control-request-method",
		   "POST", NULL);
	struct h2_answer got = h2_answer(&h2, 1);
	assert_int_equal(got.status, 204);
	assert_true(h2_has(got.head, "access-control-allow-origin: https://any.example"));
	h2_answer_free(&got);
	h2_close(&h2);
}

static void reads_bodies(void **state)
{
	struct h2 h2;
	static char large[BODY_CAP + 1];
	(void)state;
	memset(large, 'x', sizeof large);
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/echo", false, "content-length", "5", NULL);
	h2_send(&h2, H2_DATA, 0, 1, "he", 2);
	h2_send(&h2, H2_DATA, 0, 1, "", 0);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 1, "llo", 3);
	h2_expect(&h2, 1, 200, "hello");
	/* Ended by an empty frame, and by trailers. */
	h2_request(&h2, 3, "POST", "/echo", false, NULL);
	h2_send(&h2, H2_DATA, 0, 3, "abc", 3);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 3, "", 0);
	h2_expect(&h2, 3, 200, "abc");
	struct h2_block trailers = {.len = 0};
	h2_put(&trailers, "x-checksum", "1");
	h2_request(&h2, 5, "POST", "/echo", false, NULL);
	h2_send(&h2, H2_DATA, 0, 5, "def", 3);
	h2_send(&h2, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 5, trailers.bytes, trailers.len);
	h2_expect(&h2, 5, 200, "def");
	h2_request(&h2, 7, "POST", "/echo", true, NULL);
	h2_expect(&h2, 7, 200, "");
	/* As much as the windows allow, again and again. */
	h2_request(&h2, 9, "POST", "/echo", false, NULL);
	for (size_t sent = 0; sent < 200000; sent += 10000) h2_send(&h2, H2_DATA, 0, 9, large, 10000);
	h2_sync(&h2);
	for (size_t sent = 0; sent < 200000; sent += 10000) h2_send(&h2, H2_DATA, 0, 9, large, 10000);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 9, "", 0);
	struct h2_answer got = h2_answer(&h2, 9);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.body_len, 400000);
	h2_answer_free(&got);
	h2_close(&h2);
}

static void inflates_bodies(void **state)
{
	struct h2 h2;
	struct str gz = gzipped(1000, 'z'), bomb = gzipped(BODY_CAP * 2, 'z');
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/echo", false, "content-encoding", "gzip", NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 1, gz.ptr, gz.len);
	struct h2_answer got = h2_answer(&h2, 1);
	assert_int_equal(got.body_len, 1000);
	h2_answer_free(&got);
	/* Not said, one byte at first. */
	h2_request(&h2, 3, "POST", "/echo", false, NULL);
	h2_send(&h2, H2_DATA, 0, 3, gz.ptr, 1);
	h2_send(&h2, H2_DATA, 0, 3, gz.ptr + 1, gz.len - 1);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 3, "", 0);
	got = h2_answer(&h2, 3);
	assert_int_equal(got.body_len, 1000);
	h2_answer_free(&got);
	h2_request(&h2, 5, "POST", "/echo", false, "content-encoding", "gzip", NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 5, bomb.ptr, bomb.len);
	h2_expect(&h2, 5, 413, NULL);
	h2_request(&h2, 7, "POST", "/echo", false, "content-encoding", "gzip", NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 7, gz.ptr, gz.len - 1);
	h2_expect(&h2, 7, 400, NULL);
	h2_request(&h2, 9, "POST", "/echo", false, "content-encoding", "br", NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 9, "x", 1);
	h2_expect(&h2, 9, 415, NULL);
	h2_sync(&h2);
	free((void *)(uintptr_t)gz.ptr);
	free((void *)(uintptr_t)bomb.ptr);
	h2_close(&h2);
}

/* ── duplex ──────────────────────────────────────────────────────────────── */

static void speaks_both_ways(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/duplex", false, NULL);
	h2_send(&h2, H2_DATA, 0, 1, "one", 3);
	duplex_wait(3);
	struct h2_answer got = H2_NO_ANSWER;
	while (got.body_len < 3) assert_true(h2_read(&h2, 1, &got));
	assert_string_equal(got.body, "one");
	h2_send(&h2, H2_DATA, H2_END_STREAM, 1, "two", 3);
	while (h2_read(&h2, 1, &got)) continue;
	assert_string_equal(got.body, "onetwo");
	assert_true(h2_has(got.trailers, "x-sum: all"));
	assert_null(strstr(got.trailers, "evil"));
	h2_answer_free(&got);
	/* All in one go: head, data and end. */
	h2_request(&h2, 3, "POST", "/duplex", true, NULL);
	got = h2_answer(&h2, 3);
	assert_int_equal(got.status, 200);
	assert_true(h2_has(got.head, "x-kind: duplex"));
	assert_true(h2_has(got.trailers, "x-sum: all"));
	assert_int_equal(got.body_len, 0);
	h2_answer_free(&got);
	h2_close(&h2);
}

static void ends_with_trailers_only(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/duplex?end", true, NULL);
	struct h2_answer got = h2_answer(&h2, 1);
	assert_int_equal(got.status, 200);
	assert_true(h2_has(got.head, "x-only: yes"));
	assert_true(h2_has(got.head, "content-type: text/plain"));
	assert_true(h2_has(got.head, "x-kind: duplex"));
	assert_string_equal(got.trailers, "");
	h2_answer_free(&got);
	/* While the client is still sending: told to stop, after the answer. */
	h2_request(&h2, 3, "POST", "/duplex?end", false, NULL);
	got = h2_answer(&h2, 3);
	assert_int_equal(got.status, 200);
	h2_answer_free(&got);
	got = h2_answer(&h2, 3);
	assert_true(got.is_reset);
	assert_int_equal(got.error, 0);
	h2_answer_free(&got);
	h2_request(&h2, 5, "POST", "/duplex?reset", false, NULL);
	got = h2_answer(&h2, 5);
	assert_true(got.is_reset);
	assert_int_equal(got.error, 2);
	h2_answer_free(&got);
	h2_request(&h2, 7, "POST", "/duplex/early", false, NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 7, "x", 1);
	h2_expect(&h2, 7, 401, NULL);
	h2_request(&h2, 9, "GET", "/hello", true, NULL);
	h2_expect(&h2, 9, 200, "hello");
	h2_close(&h2);
}

static void duplex_needs_http2(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "POST /duplex HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
	client_expect(&client, 505);
	SEND(&client, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void stops_who_is_not_consumed(void **state)
{
	static char block[16384];
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_sync(&h2); /* the window counts once the SETTINGS are acknowledged */
	h2_request(&h2, 1, "POST", "/duplex?hoard", false, NULL);
	for (size_t i = 0; i < 16; i++) h2_send(&h2, H2_DATA, 0, 1, block, sizeof block);
	duplex_wait(16 * sizeof block);
	struct h2_answer got = H2_NO_ANSWER;
	while (!got.status) assert_true(h2_read(&h2, 1, &got));
	/* Its window is used up, other streams go on. */
	h2_request(&h2, 3, "POST", "/echo", false, NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 3, "other", 5);
	h2_expect(&h2, 3, 200, "other");
	/* Past its window: that stream is reset, and what it held is the connection's again. */
	h2_send(&h2, H2_DATA, 0, 1, block, sizeof block);
	duplex_wait_closed(1);
	while (h2_read(&h2, 1, &got)) continue;
	assert_true(got.is_reset);
	assert_int_equal(got.error, 3);
	h2_answer_free(&got);
	h2_request(&h2, 5, "GET", "/hello", true, NULL);
	h2_expect(&h2, 5, 200, "hello");
	h2_close(&h2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, server_setup_started, server_teardown)
	    CASE(answers_requests),   CASE(adds_cors_fields),          CASE(reads_bodies),
	    CASE(inflates_bodies),    CASE(speaks_both_ways),          CASE(ends_with_trailers_only),
	    CASE(duplex_needs_http2), CASE(stops_who_is_not_consumed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
