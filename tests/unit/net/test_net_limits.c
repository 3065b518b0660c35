/* Timers, caps, drain and reload against a real server. Short timeouts are only ever waited for, never raced. */
#include "net/one_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define HELLO   "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define REFUSED "cdpd_http_refused_total"

/* A connection that is closed in silence. */
static void expect_silence(struct client *client)
{
	client_expect_closed(client);
	client_close(client);
}

static void nap_ms(long ms)
{
	const struct timespec nap = {0, ms * 1000000};
	(void)nanosleep(&nap, NULL);
}

/* A byte now and then must not buy time: the deadline counts from the first. */
static void ends_a_head_that_drips(void **state)
{
	static const char drip[] =
	    "GET /hello HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct client client;
	(void)state;
	server.config.limits.header_timeout_ms = 300;
	server_start(&server);
	int64_t before = metric_now(REFUSED, "reason=\"request_timeout\""), start = clock_mono_us();
	client_open(&client, &server);
	for (size_t i = 0; i + 1 < sizeof drip && clock_mono_us() - start < 2 * US_PER_SECOND; i++) {
		client_send(&client, (struct str){drip + i, 1});
		nap_ms(50);
	}
	client_expect(&client, 408);
	assert_true(clock_mono_us() - start >= 300 * US_PER_MS);
	client_expect_closed(&client);
	client_close(&client);
	assert_int_equal(metric_now(REFUSED, "reason=\"request_timeout\""), before + 1);
	server_stop(&server);
}

static void closes_silent_connections(void **state)
{
	struct client client;
	(void)state;
	server.config.limits.header_timeout_ms = 100;
	server.config.limits.idle_timeout_ms = 200;
	server_start(&server);
	client_open(&client, &server);
	expect_silence(&client);
	client_open(&client, &server);
	SEND(&client, HELLO);
	client_expect(&client, 200);
	int64_t start = clock_mono_us();
	client_expect_closed(&client);
	assert_true(clock_mono_us() - start >= 150 * US_PER_MS);
	client_close(&client);
	server_stop(&server);
}

static void asks_bodies_for_a_minimum_rate(void **state)
{
	struct client client;
	(void)state;
	server.config.limits.body_timeout_ms = 100;
	server.config.limits.body_min_rate = 100000;
	server_start(&server);
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx");
	client_expect(&client, 408);
	client_expect_closed(&client);
	client_close(&client);
	/* Chunk framing is no progress. */
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 40; i++) {
		SEND(&client, "1\r\nx\r\n");
		nap_ms(10);
	}
	client_expect(&client, 408);
	client_close(&client);
	/* Bytes earn time: 50,000 of them half a second. */
	static char body[50000];
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50001\r\n\r\n");
	client_send(&client, (struct str){body, sizeof body});
	nap_ms(250);
	SEND(&client, "x");
	client_expect(&client, 200);
	client_close(&client);
	server_stop(&server);
}

#define RECEIVED "cdpd_http_bytes_received_total"

/* Sends most of a large body; false when the server refused it rather than read it all. */
static bool hold_body(struct client *client, size_t len)
{
	static char body[200000];
	int64_t refused = metric_now(REFUSED, "reason=\"overloaded\""), received = metric_now(RECEIVED, NULL);
	client_open(client, &server);
	SEND(client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
	client_send(client, (struct str){body, len});
	for (int i = 0; i < 10000; i++) {
		if (metric_now(REFUSED, "reason=\"overloaded\"") > refused) return false;
		if (metric_now(RECEIVED, NULL) >= received + (int64_t)len) return true;
		nap_ms(1);
	}
	fail_msg("neither read nor refused");
	return false;
}

/* All together must not take any amount of memory. */
static void bounds_the_bodies_of_all_connections(void **state)
{
	enum { SIZE = 200000, MOST = 40 };
	struct client clients[MOST];
	size_t count = 0;
	(void)state;
	server.config.limits.body_bytes = SIZE;
	server_start(&server);
	while (count < MOST && hold_body(&clients[count], SIZE - 1)) count++;
	assert_true(count > 10 && count < MOST);
	client_expect(&clients[count], 429);
	client_expect_closed(&clients[count]);
	client_close(&clients[count]);
	for (size_t i = 0; i < count; i++) { /* the others are not harmed, and give back what they held */
		SEND(&clients[i], "x");
		client_expect(&clients[i], 200);
	}
	for (size_t i = 0; i < count; i++) client_close(&clients[i]);
	assert_true(hold_body(&clients[0], SIZE - 1));
	client_close(&clients[0]);
	server_stop(&server);
}

static size_t count_refused_readers(struct client *clients, size_t count)
{
	size_t refused = 0;
	for (size_t i = 0; i < count; i++) {
		client_fill(&clients[i], sizeof "HTTP/1.1 429" - 1);
		refused += memcmp(clients[i].data, "HTTP/1.1 429", sizeof "HTTP/1.1 429" - 1) == 0;
	}
	return refused;
}

/* Each asks for more than the sockets hold and reads only how it starts. */
static void bounds_the_answers_that_wait_for_clients(void **state)
{
	enum { MOST = 24, BUDGET = 50000000 };
	struct client clients[MOST], reader;
	(void)state;
	server.config.limits.reply_bytes = BUDGET;
	server_start(&server);
	int64_t before = metric_now(REFUSED, "reason=\"overloaded\"");
	for (size_t i = 0; i < MOST; i++) {
		client_open(&clients[i], &server);
		SEND(&clients[i], "GET /big?n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
	}
	assert_int_equal(count_refused_readers(clients, MOST), MOST - 3); /* the third passes the budget */
	assert_int_equal(metric_now(REFUSED, "reason=\"overloaded\""), before + MOST - 3);
	/* Small answers are not concerned, and what is read makes room. */
	client_open(&reader, &server);
	SEND(&reader, HELLO "HEAD /big?n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect(&reader, 200);
	struct response head = client_read(&reader, false);
	assert_int_equal(head.status, 200);
	response_free(&head);
	for (size_t i = 0; i < MOST; i++) {
		struct response got = client_read(&clients[i], true);
		if (got.status == 200) assert_int_equal(got.body_len, 20000000);
		if (got.status == 429) assert_true(response_has(&got, "Retry-After: 1"));
		response_free(&got);
		client_close(&clients[i]);
	}
	SEND(&reader, "GET /big?n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect(&reader, 200);
	client_close(&reader);
	server_stop(&server);
}

/* Who left gives its part back too. */
static void forgets_the_answers_of_who_left(void **state)
{
	struct client client;
	(void)state;
	server.config.limits.reply_bytes = 1;
	server_start(&server);
	for (int i = 0; i < 5; i++) {
		struct response got;
		do {
			client_open(&client, &server);
			SEND(&client, "GET /big?n=20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
			client_fill(&client, sizeof "HTTP/1.1 429" - 1);
			bool is_served = memcmp(client.data, "HTTP/1.1 200", sizeof "HTTP/1.1 200" - 1) == 0;
			if (is_served) break;
			got = client_read(&client, true); /* the one before is not missed yet */
			response_free(&got);
			client_close(&client);
		} while (true);
		client_reset(&client);
	}
	server_stop(&server);
}

static void gives_up_on_who_does_not_read(void **state)
{
	struct client client;
	(void)state;
	server.config.limits.write_timeout_ms = 100;
	server_start(&server);
	int64_t before = metric_now(REFUSED, "reason=\"write_timeout\"");
	client_open(&client, &server);
	SEND(&client, "GET /big?n=50000000 HTTP/1.1\r\nHost: a\r\n\r\n");
	metric_wait(REFUSED, "reason=\"write_timeout\"", before + 1);
	client_close(&client);
	server_stop(&server);
}

static void limits_requests_of_a_connection(void **state)
{
	struct client client;
	(void)state;
	server.config.limits.requests_per_connection = 3;
	server_start(&server);
	client_open(&client, &server);
	SEND(&client, HELLO HELLO HELLO HELLO);
	client_expect(&client, 200);
	client_expect(&client, 200);
	struct response got = client_read(&client, true);
	assert_true(response_has(&got, "Connection: close"));
	response_free(&got);
	client_expect_closed(&client);
	client_close(&client);
	server_stop(&server);
}

static void limits_connections(void **state)
{
	struct client clients[4], one_more;
	(void)state;
	server.config.limits.connections = COUNT_OF(clients);
	server_start(&server);
	int64_t before = metric_now(REFUSED, "reason=\"connections\"");
	for (size_t i = 0; i < COUNT_OF(clients); i++) {
		client_open(&clients[i], &server);
		SEND(&clients[i], HELLO);
		client_expect(&clients[i], 200);
	}
	client_open(&one_more, &server);
	expect_silence(&one_more);
	assert_int_equal(metric_now(REFUSED, "reason=\"connections\""), before + 1);
	SEND(&clients[0], "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	client_expect(&clients[0], 200);
	client_expect_closed(&clients[0]);
	client_close(&clients[0]);
	client_open(&one_more, &server);
	SEND(&one_more, HELLO);
	client_expect(&one_more, 200);
	client_close(&one_more);
	for (size_t i = 1; i < COUNT_OF(clients); i++) client_close(&clients[i]);
	server_stop(&server);
}

/* Without descriptors new connections wait in the kernel's queue; the server neither spins nor forgets them. */
static void waits_when_files_run_out(void **state)
{
	struct rlimit old, low;
	struct client client;
	int spare[256];
	size_t count = 0;
	(void)state;
	server_start(&server);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 200;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (count < COUNT_OF(spare) && (spare[count] = dup(fd)) >= 0) count++;
	assert_true(count > 0 && count < COUNT_OF(spare));
	int64_t before = metric_now(REFUSED, "reason=\"open_files\"");
	(void)close(fd); /* just enough for the client's socket */
	client_open(&client, &server);
	SEND(&client, HELLO);
	metric_wait(REFUSED, "reason=\"open_files\"", before + 2);
	while (count > 0) (void)close(spare[--count]);
	client_expect_body(&client, 200, "hello");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	client_close(&client);
	server_stop(&server);
}

/* ── drain ───────────────────────────────────────────────────────────────── */

static void *answer_soon(void *arg)
{
	nap_ms(100);
	parked_answer(arg, "done");
	return NULL;
}

static void drains(void **state)
{
	struct client idle, silent, busy;
	pthread_t thread;
	(void)state;
	server_start(&server);
	client_open(&idle, &server);
	SEND(&idle, HELLO);
	client_expect(&idle, 200);
	client_open(&silent, &server);
	client_open(&busy, &server);
	SEND(&busy, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	assert_int_equal(pthread_create(&thread, NULL, answer_soon, &server), 0);
	int64_t start = clock_mono_us();
	net_drain(server.net, 10000);
	int64_t took = clock_mono_us() - start;
	assert_true(took >= 50 * US_PER_MS && took < 8 * US_PER_SECOND);
	assert_int_equal(pthread_join(thread, NULL), 0);
	struct response got = client_read(&busy, true);
	assert_string_equal(got.body, "done");
	assert_true(response_has(&got, "Connection: close"));
	response_free(&got);
	expect_silence(&busy);
	expect_silence(&idle);
	expect_silence(&silent);
	server_stop(&server);
}

static void drains_only_so_long(void **state)
{
	struct client stuck, half;
	(void)state;
	server_start(&server);
	client_open(&stuck, &server);
	SEND(&stuck, "GET /park?abort HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_open(&half, &server);
	SEND(&half, "GET /hel");
	net_drain(server.net, 50);
	parked_wait_aborted();
	expect_silence(&stuck);
	expect_silence(&half);
	server_stop(&server);
}

static void takes_no_connections_while_draining(void **state)
{
	(void)state;
	server_start(&server);
	net_drain(server.net, 1000);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server.ports[0])};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
	assert_int_equal(errno, ECONNREFUSED);
	(void)close(fd);
	server_stop(&server);
}

static void stops_with_everything_open(void **state)
{
	struct client clients[3];
	(void)state;
	server_start(&server);
	for (size_t i = 0; i < COUNT_OF(clients); i++) client_open(&clients[i], &server);
	SEND(&clients[0], "GET /park?abort HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	SEND(&clients[1], "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)stream_wait();
	SEND(&clients[2], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
	server_stop(&server);
	parked_wait_aborted();
	stream_wait_closed();
	for (size_t i = 0; i < COUNT_OF(clients); i++) client_close(&clients[i]);
}

/* ── reload ──────────────────────────────────────────────────────────────── */

static void takes_over_new_settings(void **state)
{
	struct str proxies[] = {STR("127.0.0.1")}, nonsense[] = {STR("127.0.0.1/99")};
	struct client client;
	(void)state;
	server_start(&server);
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
	client_expect(&client, 200);
	struct config next = server.config;
	next.limits.body_bytes = 4;
	next.trusted_proxies = nonsense;
	next.trusted_proxy_count = 1;
	assert_int_equal(net_reload(server.net, &next), ERR_INVALID);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
	client_expect(&client, 200);
	next.trusted_proxies = proxies;
	assert_int_equal(net_reload(server.net, &next), OK);
	SEND(&client, "GET /ip HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
		      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
	client_expect_body(&client, 200, "1.2.3.4");
	client_expect(&client, 413);
	client_close(&client);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(ends_a_head_that_drips, server_setup),
	    cmocka_unit_test_setup(closes_silent_connections, server_setup),
	    cmocka_unit_test_setup(asks_bodies_for_a_minimum_rate, server_setup),
	    cmocka_unit_test_setup(bounds_the_bodies_of_all_connections, server_setup),
	    cmocka_unit_test_setup(bounds_the_answers_that_wait_for_clients, server_setup),
	    cmocka_unit_test_setup(forgets_the_answers_of_who_left, server_setup),
	    cmocka_unit_test_setup(gives_up_on_who_does_not_read, server_setup),
	    cmocka_unit_test_setup(limits_requests_of_a_connection, server_setup),
	    cmocka_unit_test_setup(limits_connections, server_setup),
	    cmocka_unit_test_setup(waits_when_files_run_out, server_setup),
	    cmocka_unit_test_setup(drains, server_setup),
	    cmocka_unit_test_setup(drains_only_so_long, server_setup),
	    cmocka_unit_test_setup(takes_no_connections_while_draining, server_setup),
	    cmocka_unit_test_setup(stops_with_everything_open, server_setup),
	    cmocka_unit_test_setup(takes_over_new_settings, server_setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
