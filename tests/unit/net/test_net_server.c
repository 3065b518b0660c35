/* Requests and answers against a real server with raw sockets. */
#include "net/one_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

/* ── framing ─────────────────────────────────────────────────────────────── */

static void answers_pipelined_requests_in_order(void **state)
{
	char text[16384], want[32];
	size_t len = 0;
	struct client client;
	(void)state;
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(text + len, sizeof text - len,
					"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d", i);
	client_open(&client, &server);
	client_send(&client, (struct str){text, len});
	for (int i = 0; i < 100; i++) {
		(void)snprintf(want, sizeof want, "%04d", i);
		client_expect_body(&client, 200, want);
	}
	client_close(&client);
}

static void keeps_the_order_behind_a_late_answer(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n" HELLO "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	parked_answer(&server, "first");
	client_expect_body(&client, 200, "first");
	client_expect_body(&client, 200, "hello");
	parked_answer(&server, "third");
	client_expect_body(&client, 200, "third");
	client_close(&client);
}

/* More output than the sockets hold: the server must stop reading requests and go on later, losing none. */
static void holds_back_pipelined_requests(void **state)
{
	enum { COUNT = 200, SIZE = 100000 };
	struct client client;
	(void)state;
	client_open(&client, &server);
	for (int i = 0; i < COUNT; i++) SEND(&client, "GET /big?n=100000 HTTP/1.1\r\nHost: a\r\n\r\n");
	for (int i = 0; i < COUNT; i++) {
		struct response got = client_read(&client, true);
		assert_int_equal(got.body_len, SIZE);
		response_free(&got);
	}
	SEND(&client, HELLO);
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void reads_byte_by_byte(void **state)
{
	static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n" HELLO;
	struct client client;
	(void)state;
	client_open(&client, &server);
	for (size_t i = 0; i + 1 < sizeof text; i++) client_send(&client, (struct str){text + i, 1});
	client_expect_body(&client, 200, "abcde");
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void reads_large_bodies(void **state)
{
	static char body[BODY_CAP];
	char head[128];
	struct client client;
	(void)state;
	for (size_t i = 0; i < sizeof body; i++) body[i] = (char)('a' + i % 23);
	client_open(&client, &server);
	size_t len = (size_t)snprintf(head, sizeof head,
				      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof body);
	client_send(&client, (struct str){head, len});
	client_send(&client, (struct str){body, sizeof body});
	struct response got = client_read(&client, true);
	assert_int_equal(got.body_len, sizeof body);
	assert_memory_equal(got.body, body, sizeof body);
	response_free(&got);

	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < sizeof body; at += 4096) {
		SEND(&client, "1000\r\n");
		client_send(&client, (struct str){body + at, 4096});
		SEND(&client, "\r\n");
	}
	SEND(&client, "0\r\n\r\n" HELLO);
	got = client_read(&client, true);
	assert_int_equal(got.body_len, sizeof body);
	assert_memory_equal(got.body, body, sizeof body);
	response_free(&got);
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void answers_head_without_a_body(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
	struct response got = client_read(&client, false);
	assert_int_equal(got.status, 200);
	assert_true(response_has(&got, "Content-Length: 5"));
	response_free(&got);
	got = client_read(&client, false);
	assert_true(response_has(&got, "Content-Type: text/event-stream"));
	response_free(&got);
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void closes_when_it_should(void **state)
{
	static const char *const closing[] = {"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
					      "GET /hello HTTP/1.0\r\n\r\n",
					      "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"};
	struct client client;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(closing); i++) {
		client_open(&client, &server);
		client_send(&client, str_from(closing[i]));
		struct response got = client_read(&client, true);
		assert_true(response_has(&got, "Connection: close"));
		response_free(&got);
		client_expect_closed(&client);
		client_close(&client);
	}
	client_open(&client, &server);
	SEND(&client, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	struct response got = client_read(&client, true);
	assert_true(response_has(&got, "Connection: keep-alive"));
	response_free(&got);
	SEND(&client, HELLO);
	got = client_read(&client, true);
	assert_null(strstr(got.head, "Connection:"));
	assert_non_null(strstr(got.head, "\r\nDate: "));
	response_free(&got);
	client_close(&client);
}

static void answers_who_has_closed_its_half(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, HELLO "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(shutdown(client.fd, SHUT_WR), 0);
	client_expect_body(&client, 200, "hello");
	parked_answer(&server, "late");
	client_expect_body(&client, 200, "late");
	client_expect_closed(&client);
	client_close(&client);
}

/* ── refusals ────────────────────────────────────────────────────────────── */

static void refuses_and_closes(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
	    {"GET /hello HTTP/1.1\r\n\r\n", 400},
	    {"GET /hello HTTP/1.1\nHost: a\n\n", 400},
	    {"PRI * HTTP/2.0\r\n\r\n", 400}, /* what follows is not the rest of HTTP/2's preface */
	    {"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 400},
	    {"PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", 400},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413},
	    {"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world", 413},
	    {"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n", 413},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\nx", 417},
	    {"\x16\x03\x01", 400},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct client client;
		int64_t before = metric_now("cdpd_http_requests_total", "class=\"4xx\"");
		client_open(&client, &server);
		client_send(&client, str_from(cases[i].text));
		SEND(&client, HELLO); /* must not be answered: where it starts is in doubt */
		struct response got = client_read(&client, true);
		if (got.status != cases[i].status) fail_msg("%s: %d", cases[i].text, got.status);
		assert_true(response_has(&got, "Connection: close"));
		assert_true(response_has(&got, "Content-Type: application/json"));
		assert_memory_equal(got.body, "{\"ok\":false,\"code\":\"", 20);
		response_free(&got);
		client_expect_closed(&client);
		client_close(&client);
		assert_int_equal(metric_now("cdpd_http_requests_total", "class=\"4xx\""), before + 1);
	}
}

/* The client writes 8 MB before it reads: without lingering the kernel's reset would take the 413 away. */
static void lets_a_sender_read_the_refusal(void **state)
{
	static char junk[65536];
	struct client client;
	(void)state;
	for (int round = 0; round < 5; round++) {
		client_open(&client, &server);
		SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
		for (int i = 0; i < 128; i++) client_send(&client, (struct str){junk, sizeof junk});
		client_expect(&client, 413);
		client_expect_closed(&client);
		client_close(&client);
	}
}

static void keeps_the_connection_where_framing_is_clear(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
		      "DELETE /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
		      "PATCH /hello/ HTTP/1.1\r\nHost: a\r\n\r\n"
		      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: deflate\r\nContent-Length: 3\r\n\r\nabc"
		      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 3\r\n\r\nabc"
		      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"
		      "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789" HELLO);
	client_expect(&client, 404);
	struct response got = client_read(&client, true);
	assert_int_equal(got.status, 405);
	assert_true(response_has(&got, "Allow: GET, HEAD, OPTIONS"));
	response_free(&got);
	client_expect(&client, 405);
	client_expect(&client, 415);
	client_expect(&client, 415);
	client_expect_body(&client, 200, "abc");
	client_expect_body(&client, 200, "0123456789");
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void hides_admin_routes(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect(&client, 404);
	client_close(&client);
	client_open_port(&client, server.ports[1]);
	SEND(&client, "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect(&client, 200);
	client_close(&client);
}

/* ── Expect ──────────────────────────────────────────────────────────────── */

static void says_continue(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
	struct response got = client_read(&client, false);
	assert_int_equal(got.status, 100);
	response_free(&got);
	SEND(&client, "hello");
	client_expect_body(&client, 200, "hello");
	/* With the body there nobody waits. */
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

static void refuses_before_continue(void **state)
{
	static const struct {
		const char *head;
		int status;
	} cases[] = {{"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n", 413},
		     {"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n", 404},
		     {"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 405},
		     {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 5\r\n", 415}};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct client client;
		client_open(&client, &server);
		client_send(&client, str_from(cases[i].head));
		SEND(&client, "Expect: 100-continue\r\n\r\n");
		client_expect(&client, cases[i].status);
		client_expect_closed(&client);
		client_close(&client);
	}
}

/* ── gzip ────────────────────────────────────────────────────────────────── */

static struct response post_gzip(struct client *client, struct str body, const char *encoding, size_t step)
{
	char head[256];
	size_t len = (size_t)snprintf(
	    head, sizeof head, "POST /echo HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n", encoding, body.len);
	client_send(client, (struct str){head, len});
	for (size_t at = 0; at < body.len; at += step)
		client_send(client, (struct str){body.ptr + at, body.len - at < step ? body.len - at : step});
	return client_read(client, true);
}

static void inflates_by_header_and_by_magic(void **state)
{
	static const char *const encodings[] = {"Content-Encoding: gzip\r\n", "Content-Encoding: x-GZIP\r\n", "",
						"Content-Type: text/plain\r\n", "Content-Encoding: identity\r\n"};
	struct str packed = gzipped(100000, 'z');
	struct client client;
	(void)state;
	client_open(&client, &server);
	for (size_t i = 0; i < COUNT_OF(encodings); i++) {
		for (size_t step = 1; step <= packed.len; step = step * 16) {
			struct response got = post_gzip(&client, packed, encodings[i], step);
			assert_int_equal(got.status, 200);
			assert_int_equal(got.body_len, 100000);
			assert_int_equal(got.body[99999], 'z');
			response_free(&got);
		}
	}
	struct response got = post_gzip(&client, STR("\x1f"), "", 1); /* half a magic is no gzip */
	assert_int_equal(got.status, 200);
	response_free(&got);
	got = post_gzip(&client, STR_NONE, "Content-Encoding: gzip\r\n", 1);
	assert_int_equal(got.status, 200);
	response_free(&got);
	free((void *)(uintptr_t)packed.ptr);
	client_close(&client);
}

static void inflates_chunked(void **state)
{
	struct str packed = gzipped(5000, 'y');
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < packed.len; i++) {
		SEND(&client, "1\r\n");
		client_send(&client, (struct str){packed.ptr + i, 1});
		SEND(&client, "\r\n");
	}
	SEND(&client, "0\r\n\r\n" HELLO);
	struct response got = client_read(&client, true);
	assert_int_equal(got.body_len, 5000);
	response_free(&got);
	client_expect_body(&client, 200, "hello");
	free((void *)(uintptr_t)packed.ptr);
	client_close(&client);
}

static void refuses_bombs_and_broken_gzip(void **state)
{
	struct str bomb = gzipped(100 << 20, 0), packed = gzipped(1000, 'x');
	struct str cut = {packed.ptr, packed.len - 3};
	const struct {
		struct str body;
		const char *encoding;
		int status;
	} cases[] = {{bomb, "", 413},
		     {bomb, "Content-Encoding: gzip\r\n", 413},
		     {cut, "", 400},
		     {STR("\x1f\x8bnonsense-that-is-no-gzip"), "", 400},
		     {STR("{\"plain\":1}"), "Content-Encoding: gzip\r\n", 400}};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct client client;
		client_open(&client, &server);
		struct response got = post_gzip(&client, cases[i].body, cases[i].encoding, 4096);
		assert_int_equal(got.status, cases[i].status);
		response_free(&got);
		client_expect_closed(&client);
		client_close(&client);
	}
	free((void *)(uintptr_t)bomb.ptr);
	free((void *)(uintptr_t)packed.ptr);
}

/* ── what handlers see ───────────────────────────────────────────────────── */

static void expect_get(const char *path, const char *extra, const char *body)
{
	struct client client;
	char text[512];
	int len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, extra);
	client_open(&client, &server);
	client_send(&client, (struct str){text, (size_t)len});
	client_expect_body(&client, 200, body);
	client_close(&client);
}

static void decodes_parameters(void **state)
{
	(void)state;
	expect_get("/params/a/b?q=c", "", "a|b|c");
	expect_get("/params/a%20b/user_id:4%2F2/?x=1&q=c+d%2B%26e&q=2", "", "a b|user_id:4/2|c d+&e");
	expect_get("/params/a+b/c?%71=yes", "", "a+b|c|yes");
	expect_get("/params/a/b?q=%zz", "", "a|b|-");
	expect_get("/params/a/b?q=%4", "", "a|b|-");
	expect_get("/params/a/b?q", "", "a|b|");
	expect_get("/params/a/b?qq=1&&=2", "", "a|b|-");
	expect_get("/ip", "X-Forwarded-For: 1.2.3.4\r\n", "127.0.0.1");
}

static void sends_no_forged_headers(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /split HTTP/1.1\r\nHost: a\r\n\r\n" HELLO);
	struct response got = client_read(&client, true);
	assert_null(strstr(got.head, "Set-Cookie"));
	assert_true(response_has(&got, "X-Good: c"));
	response_free(&got);
	client_expect_body(&client, 200, "hello");
	client_close(&client);
}

/* ── CORS ────────────────────────────────────────────────────────────────── */

static struct response ask(const char *request)
{
	struct client client;
	client_open(&client, &server);
	client_send(&client, str_from(request));
	struct response got = client_read(&client, true);
	client_close(&client);
	return got;
}

static void answers_preflights(void **state)
{
	(void)state;
	struct response got = ask("OPTIONS /echo/ HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\n"
				  "Access-Control-Request-Method: POST\r\n"
				  "Access-Control-Request-Headers: authorization,x-retry-count\r\n\r\n");
	assert_int_equal(got.status, 204);
	assert_true(response_has(&got, "Access-Control-Allow-Origin: https://any.example"));
	assert_true(response_has(&got, "Access-Control-Allow-Credentials: true"));
	assert_true(response_has(&got, "Access-Control-Allow-Methods: GET, POST, OPTIONS"));
	assert_true(response_has(&got, "Access-Control-Allow-Headers: authorization,x-retry-count"));
	assert_true(response_has(&got, "Access-Control-Max-Age: 7200"));
	assert_true(response_has(&got, "Vary: Origin"));
	assert_null(strstr(got.head, "Content-Length"));
	response_free(&got);
	got = ask("OPTIONS /echo HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\nAccess-Control-Request-Method: "
		  "POST\r\n\r\n");
	assert_non_null(strstr(got.head, "x-write-key"));
	response_free(&got);
	got = ask("OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(got.status, 204);
	assert_true(response_has(&got, "Allow: POST, OPTIONS"));
	response_free(&got);
	got = ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(got.status, 204);
	response_free(&got);
}

static void adds_cors_to_answers_and_errors(void **state)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nContent-Length: 2\r\n\r\nhi", 200},
	    {"GET /limited HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n\r\n", 429},
	    {"GET /echo HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n\r\n", 405},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nContent-Length: 9999999\r\n\r\n", 413},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nContent-Length: 1\r\nContent-Encoding: br\r\n\r\nx",
	     415},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct response got = ask(cases[i].request);
		assert_int_equal(got.status, cases[i].status);
		assert_true(response_has(&got, "Access-Control-Allow-Origin: null"));
		assert_true(response_has(&got, "Access-Control-Allow-Credentials: true"));
		assert_true(
		    response_has(&got, "Access-Control-Expose-Headers: Retry-After, X-Cdpd-Position, RateLimit-Limit, "
				       "RateLimit-Remaining, RateLimit-Reset"));
		assert_true(response_has(&got, "Vary: Origin"));
		if (got.status == 429) assert_true(response_has(&got, "Retry-After: 1"));
		response_free(&got);
	}
}

static void gives_cors_only_to_whom_it_belongs(void **state)
{
	(void)state;
	struct response got = ask("GET /hello HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\n\r\n");
	assert_null(strstr(got.head, "Access-Control"));
	assert_null(strstr(got.head, "Vary"));
	response_free(&got);
	got = ask("OPTIONS /hello HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\nAccess-Control-Request-Method: "
		  "GET\r\n\r\n");
	assert_null(strstr(got.head, "Access-Control"));
	response_free(&got);
	got = ask("GET /person HTTP/1.1\r\nHost: a\r\nOrigin: https://any.example\r\n\r\n");
	assert_null(strstr(got.head, "Access-Control"));
	assert_true(response_has(&got, "Vary: Origin"));
	response_free(&got);
	got =
	    ask("OPTIONS /person HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.example\r\nAccess-Control-Request-Method: "
		"PUT\r\n\r\n");
	assert_true(response_has(&got, "Access-Control-Allow-Origin: https://shop.example"));
	assert_true(response_has(&got, "Access-Control-Allow-Methods: GET, POST, PUT, OPTIONS"));
	response_free(&got);
	got = ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
	assert_null(strstr(got.head, "Access-Control"));
	response_free(&got);
}

/* ── leaving ─────────────────────────────────────────────────────────────── */

static void tells_when_the_client_leaves(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /park?abort HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_reset(&client);
	parked_wait_aborted();

	client_open(&client, &server);
	SEND(&client, "GET /park?abort HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_close(&client);
	parked_wait_aborted();
}

/* A handler that does not ask still holds the request: its answer must find it. */
static void lets_an_answer_come_too_late(void **state)
{
	struct client client;
	(void)state;
	client_open(&client, &server);
	SEND(&client, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_reset(&client);
	/* A whole exchange later the reset has been seen. */
	expect_get("/hello", "", "hello");
	parked_answer(&server, "too late");

	client_open(&client, &server);
	SEND(&client, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_reset(&client);
	expect_get("/hello", "", "hello");
	parked_watch_abort(&server);
	parked_wait_aborted();

	/* One that is never answered is freed at the end. */
	client_open(&client, &server);
	SEND(&client, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)parked_wait();
	client_reset(&client);
	expect_get("/hello", "", "hello");
}

/* ── more listeners ──────────────────────────────────────────────────────── */

static void believes_trusted_proxies(void **state)
{
	struct server behind;
	struct str proxies[] = {STR("127.0.0.0/8")};
	struct client client;
	(void)state;
	server_defaults(&behind);
	behind.config.trusted_proxies = proxies;
	behind.config.trusted_proxy_count = 1;
	server_start(&behind);
	client_open(&client, &behind);
	SEND(&client,
	     "GET /ip HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 1.2.3.4, 127.0.0.5\r\n\r\n"
	     "GET /ip HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: nonsense\r\n\r\n"
	     "GET /ip HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect_body(&client, 200, "1.2.3.4");
	client_expect_body(&client, 200, "127.0.0.1");
	client_expect_body(&client, 200, "127.0.0.1");
	client_close(&client);
	server_stop(&behind);
}

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
	if (fd >= 0) (void)close(fd);
	return -1;
}

static void listens_on_unix_sockets(void **state)
{
	char dir[] = "/tmp/cdpd-net-XXXXXX", path[64];
	struct server local;
	struct net *second;
	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/sock", dir);
	/* A stale one is left behind, as by a crash. */
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
	(void)close(stale);

	server_defaults(&local);
	local.config.io_threads = 3;
	local.listeners[1].unix_path = str_from(path);
	server_start(&local);
	assert_memory_equal(net_url(local.net, 1), "unix:/tmp/", 10);
	struct client client = {.fd = connect_unix(path), .size = 65536, .memory = malloc(65536)};
	client.data = client.memory;
	assert_true(client.fd >= 0);
	SEND(&client, "GET /admin HTTP/1.1\r\nHost: a\r\n\r\nGET /ip HTTP/1.1\r\nHost: a\r\n\r\n");
	client_expect_body(&client, 200, "hello");
	client_expect_body(&client, 200, "");
	/* In use: a second server must not take it away. */
	struct net_options options = {.config = &local.config, .router = local.router};
	assert_int_equal(net_new(&options, &second), ERR_IO);
	client_close(&client);
	int again = connect_unix(path);
	assert_true(again >= 0);
	(void)close(again);
	server_stop(&local);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void refuses_a_port_in_use(void **state)
{
	struct server second;
	struct net *net;
	(void)state;
	server_defaults(&second);
	second.listeners[0].port = server.ports[0];
	struct net_options options = {.config = &second.config, .router = server.router};
	assert_int_equal(net_new(&options, &net), ERR_IO);
	second.listeners[0].port = 0;
	second.listeners[0].host = STR("localhost");
	assert_int_equal(net_new(&options, &net), ERR_INVALID);
	second.listeners[0].host = STR("127.0.0.1");
	second.listeners[0].is_tls = true;
	assert_int_equal(net_new(&options, &net), ERR_INVALID);
}

static void serves_on_every_thread(void **state)
{
	struct server many;
	struct client clients[32];
	(void)state;
	server_defaults(&many);
	many.config.io_threads = 4;
	server_start(&many);
	assert_int_equal(net_loop_count(many.net), 4);
	for (size_t i = 0; i < COUNT_OF(clients); i++) {
		client_open(&clients[i], &many);
		SEND(&clients[i], HELLO HELLO);
	}
	for (size_t i = 0; i < COUNT_OF(clients); i++) {
		client_expect_body(&clients[i], 200, "hello");
		client_expect_body(&clients[i], 200, "hello");
		client_close(&clients[i]);
	}
	server_stop(&many);
}

static void listens_on_ipv6(void **state)
{
	struct server six;
	(void)state;
	server_defaults(&six);
	six.listeners[0].host = STR("::1");
	six.config.listener_count = 1;
	if (access("/proc/net/if_inet6", R_OK) != 0) skip();
	server_start(&six);
	assert_memory_equal(net_url(six.net, 0), "http://[::1]:", 13);
	server_stop(&six);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_pipelined_requests_in_order),
	    cmocka_unit_test(keeps_the_order_behind_a_late_answer),
	    cmocka_unit_test(holds_back_pipelined_requests),
	    cmocka_unit_test(reads_byte_by_byte),
	    cmocka_unit_test(reads_large_bodies),
	    cmocka_unit_test(answers_head_without_a_body),
	    cmocka_unit_test(closes_when_it_should),
	    cmocka_unit_test(answers_who_has_closed_its_half),
	    cmocka_unit_test(refuses_and_closes),
	    cmocka_unit_test(lets_a_sender_read_the_refusal),
	    cmocka_unit_test(keeps_the_connection_where_framing_is_clear),
	    cmocka_unit_test(hides_admin_routes),
	    cmocka_unit_test(says_continue),
	    cmocka_unit_test(refuses_before_continue),
	    cmocka_unit_test(inflates_by_header_and_by_magic),
	    cmocka_unit_test(inflates_chunked),
	    cmocka_unit_test(refuses_bombs_and_broken_gzip),
	    cmocka_unit_test(decodes_parameters),
	    cmocka_unit_test(sends_no_forged_headers),
	    cmocka_unit_test(answers_preflights),
	    cmocka_unit_test(adds_cors_to_answers_and_errors),
	    cmocka_unit_test(gives_cors_only_to_whom_it_belongs),
	    cmocka_unit_test(tells_when_the_client_leaves),
	    cmocka_unit_test(lets_an_answer_come_too_late),
	    cmocka_unit_test(believes_trusted_proxies),
	    cmocka_unit_test(listens_on_unix_sockets),
	    cmocka_unit_test(refuses_a_port_in_use),
	    cmocka_unit_test(serves_on_every_thread),
	    cmocka_unit_test(listens_on_ipv6),
	};
	return cmocka_run_group_tests(tests, server_setup_started, server_teardown);
}
