/* HTTP/2 against a real server: what all connections share, and the server's end. Short timeouts are only ever waited for, never raced. */
#include "net/h2_client.h"
#include "net/one_server.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define REFUSED "cdpd_http_refused_total"

/* ── bodies ──────────────────────────────────────────────────────────────── */

/* Streams that each send most of a large body and then wait: as many as the budget of all connections allows. */
static void bounds_bodies_together(void **state)
{
	static char block[16384];
	struct h2 h2;
	int64_t refused = metric_now(REFUSED, "reason=\"overloaded\"");
	(void)state;
	server.config.limits.body_bytes = 100000; /* 32 of these at once */
	server_start(&server);
	h2_open(&h2, &server);
	for (uint32_t id = 1; id < 200; id += 2) {
		h2_request(&h2, id, "POST", "/echo", false, NULL);
		for (int i = 0; i < 6; i++) h2_send(&h2, H2_DATA, 0, id, block, sizeof block);
	}
	metric_wait(REFUSED, "reason=\"overloaded\"", refused + 50);
	h2_sync(&h2);
	/* Once they have gone, there is room again. */
	h2_close(&h2);
	h2_open(&h2, &server);
	for (int tries = 0;; tries++) {
		uint32_t id = (uint32_t)tries * 2 + 1;
		h2_request(&h2, id, "POST", "/echo", false, NULL);
		for (int i = 0; i < 6; i++) h2_send(&h2, H2_DATA, i == 5 ? H2_END_STREAM : 0, id, block, sizeof block);
		struct h2_answer got = h2_answer(&h2, id);
		int status = got.status;
		h2_answer_free(&got);
		if (status == 200) break;
		assert_true(tries < 1000);
	}
	h2_close(&h2);
	server_stop(&server);
}

/* Large heads that wait for their bodies are part of it. */
static void bounds_heads_together(void **state)
{
	static char value[15000];
	static struct h2 h2[4];
	int64_t refused = metric_now(REFUSED, "reason=\"overloaded\"");
	(void)state;
	memset(value, 'v', sizeof value - 1);
	server.config.limits.body_bytes = 100000;
	server_start(&server);
	for (size_t i = 0; i < COUNT_OF(h2); i++) {
		h2_open(&h2[i], &server);
		for (uint32_t id = 1; id < 200; id += 2)
			h2_request(&h2[i], id, "POST", "/echo", false, "x", value, NULL);
	}
	metric_wait(REFUSED, "reason=\"overloaded\"", refused + 100);
	for (size_t i = 0; i < COUNT_OF(h2); i++) h2_close(&h2[i]);
	server_stop(&server);
}

static void asks_bodies_for_a_minimum_rate(void **state)
{
	static char body[50000];
	const struct timespec nap = {0, 250000000};
	struct h2 h2;
	(void)state;
	server.config.limits.body_timeout_ms = 100;
	server.config.limits.body_min_rate = 10000;
	server_start(&server);
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/echo", false, NULL);
	h2_send(&h2, H2_DATA, 0, 1, "x", 1);
	h2_expect(&h2, 1, 408, NULL);
	struct h2_answer rest = h2_answer(&h2, 1); /* told to stop */
	assert_true(rest.is_reset && rest.error == 0);
	h2_answer_free(&rest);
	/* Bytes earn time: 50,000 of them five seconds. */
	h2_request(&h2, 3, "POST", "/echo", false, NULL);
	for (size_t sent = 0; sent < sizeof body; sent += 10000) h2_send(&h2, H2_DATA, 0, 3, body + sent, 10000);
	(void)nanosleep(&nap, NULL);
	h2_send(&h2, H2_DATA, H2_END_STREAM, 3, "x", 1);
	h2_expect(&h2, 3, 200, NULL);
	/* An answer that came early does not let a client keep the stream. */
	h2_request(&h2, 5, "POST", "/nowhere", false, NULL);
	h2_expect(&h2, 5, 404, NULL);
	rest = h2_answer(&h2, 5);
	assert_true(rest.is_reset && rest.error == 0);
	h2_answer_free(&rest);
	h2_close(&h2);
	server_stop(&server);
}

/* Of a refused body as much is read as a body may have; then the client is told to stop. */
static void reads_refused_bodies_to_the_cap(void **state)
{
	static char block[16000];
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/echo", false, "content-encoding", "br", NULL);
	h2_expect(&h2, 1, 415, NULL);
	for (int i = 0; i < 30; i++) {
		h2_send(&h2, H2_DATA, i == 29 ? H2_END_STREAM : 0, 1, block, sizeof block);
		h2_sync(&h2);
	}
	h2_request(&h2, 3, "POST", "/small", false, NULL);
	h2_send(&h2, H2_DATA, 0, 3, "much more than ten", 18);
	h2_expect(&h2, 3, 413, NULL);
	h2_send(&h2, H2_DATA, 0, 3, "and more", 8);
	h2_send(&h2, H2_DATA, 0, 3, "and more", 8);
	struct h2_answer rest = h2_answer(&h2, 3);
	assert_true(rest.is_reset && rest.error == 0);
	h2_answer_free(&rest);
	h2_request(&h2, 5, "GET", "/hello", true, NULL);
	h2_expect(&h2, 5, 200, "hello");
	h2_close(&h2);
}

/* ── the end ─────────────────────────────────────────────────────────────── */

static void *drain(void *arg)
{
	net_drain(((struct server *)arg)->net, 60000);
	return NULL;
}

static void drains_with_everything_open(void **state)
{
	struct h2 h2;
	pthread_t thread;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/duplex", false, NULL);
	h2_request(&h2, 3, "GET", "/stream", true, NULL);
	h2_request(&h2, 5, "GET", "/park", true, NULL);
	duplex_wait(0);
	(void)stream_wait();
	(void)parked_wait();
	assert_int_equal(pthread_create(&thread, NULL, drain, &server), 0);
	duplex_wait_retired();
	stream_wait_closed(); /* politely, see below */
	bool has_notice = false, is_ended = false;
	while (!has_notice || !is_ended) {
		assert_true(h2_next(&h2));
		if (h2.frame.type == H2_GOAWAY) {
			has_notice = true;
			assert_memory_equal(h2.frame.payload, "\x7f\xff\xff\xff\0\0\0\0", 8);
		}
		if (h2.frame.id == 3 && h2.frame.flags & H2_END_STREAM) is_ended = true;
		assert_int_not_equal(h2.frame.type, H2_RST);
	}
	/* A request that was under way when the notice came is still taken. */
	h2_request(&h2, 7, "GET", "/hello", true, NULL);
	server_on_loop(&server, duplex_end, NULL);
	parked_answer(&server, "late");
	bool got_7 = false, got_5 = false, got_1 = false;
	while (h2_next(&h2)) {
		if (h2.frame.type == H2_PING && !(h2.frame.flags & H2_ACK))
			h2_send(&h2, H2_PING, H2_ACK, 0, h2.frame.payload, 8);
		if (h2.frame.flags & H2_END_STREAM && h2.frame.type == H2_DATA && h2.frame.id == 7) got_7 = true;
		if (h2.frame.flags & H2_END_STREAM && h2.frame.type == H2_DATA && h2.frame.id == 5) got_5 = true;
		if (h2.frame.flags & H2_END_STREAM && h2.frame.type == H2_DATA && h2.frame.id == 1) got_1 = true;
	}
	assert_true(got_7 && got_5 && got_1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	h2_close(&h2);
}

static void closes_all_when_told(void **state)
{
	struct h2 h2;
	(void)state;
	h2_open(&h2, &server);
	h2_request(&h2, 1, "POST", "/duplex", false, NULL);
	h2_request(&h2, 3, "GET", "/stream", true, NULL);
	duplex_wait(0);
	(void)stream_wait();
	net_drain(server.net, 100); /* nobody ends the duplex */
	duplex_wait_closed(1);
	(void)h2_expect_end(&h2);
	h2_close(&h2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(bounds_bodies_together, server_setup),
	    cmocka_unit_test_setup(bounds_heads_together, server_setup),
	    cmocka_unit_test_setup(asks_bodies_for_a_minimum_rate, server_setup),
	    cmocka_unit_test_setup_teardown(reads_refused_bodies_to_the_cap, server_setup_started, server_teardown),
	    cmocka_unit_test_setup_teardown(drains_with_everything_open, server_setup_started, server_teardown),
	    cmocka_unit_test_setup_teardown(closes_all_when_told, server_setup_started, server_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
