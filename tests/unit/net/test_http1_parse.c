/* Every malformed request of the specification with the status it must end in, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/http.h"
#include "net/http1_parse.h"
#include "net/http1_scan.h"

#define GET      "GET / HTTP/1.1\r\n"
#define HOST     "Host: a\r\n"
#define POST     "POST /v1/track HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED  POST "Transfer-Encoding: chunked\r\n\r\n"
#define BODY_CAP 1000

struct parsed {
	enum http1_result result;
	int status; /* of a refusal */
	const char *why;
	struct head head;
	size_t head_len, body_len, used;
	char *bytes; /* body at the front */
};

/* Feeds `step` bytes at a time, as a connection would: the body is decoded in place behind the head. */
static struct parsed feed(struct str text, size_t step)
{
	struct parsed out = {.result = HTTP1_MORE};
	struct http1_head_parser head;
	struct http1_body body;
	char *data = malloc(text.len + 1), *rest = malloc(text.len + 1);
	size_t given = 0, body_at = 0;
	bool in_body = false;
	assert_non_null(data);
	assert_non_null(rest);
	http1_head_start(&head);
	while (out.result == HTTP1_MORE) {
		if (given == text.len && !in_body && given > 0) break;
		if (given == text.len) break;
		given = text.len - given < step ? text.len : given + step;
		if (!in_body) {
			memcpy(data, text.ptr, given);
			out.result = http1_head_parse(&head, data, given);
			if (out.result == HTTP1_REFUSED) out.status = problem_info(head.refusal.problem)->http_status;
			if (out.result == HTTP1_REFUSED) out.why = head.refusal.why;
			if (out.result != HTTP1_DONE) continue;
			in_body = true;
			body_at = head.length;
			http1_body_start(&body, &head.head, BODY_CAP);
		}
		size_t taken, made;
		memcpy(rest, text.ptr + body_at, given - body_at);
		out.result = http1_body_parse(&body, rest, given - body_at, &taken, &made);
		memcpy(data + head.length + out.body_len, rest, made);
		out.body_len += made;
		body_at += taken;
		if (out.result == HTTP1_REFUSED) out.status = problem_info(body.refusal.problem)->http_status;
		if (out.result == HTTP1_REFUSED) out.why = body.refusal.why;
	}
	out.head = head.head;
	out.head_len = head.length;
	out.used = body_at;
	out.bytes = data;
	free(rest);
	return out;
}

struct bad_case {
	const char *name;
	struct str text;
	int status;
};
#define BAD(name, text, status) \
	{ \
		name, {text, sizeof(text) - 1}, status \
	}

static const struct bad_case bad_cases[] = {
    BAD("bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    BAD("bare LF after a field", GET "Host: a\nX: b\r\n\r\n", 400),
    BAD("bare LF ends the head", GET "Host: a\r\n\n", 400),
    BAD("bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("bare CR in a value", GET "Host: a\r\nX: b\rc\r\n\r\n", 400),
    BAD("only CRs", "GET / HTTP/1.1\rHost: a\r\r", 400),
    BAD("CR CR LF", GET "Host: a\r\r\n\r\n", 400),
    BAD("obs-fold", GET "Host: a\r\nX: b\r\n c\r\n\r\n", 400),
    BAD("obs-fold with a TAB", GET "Host: a\r\nX: b\r\n\tc\r\n\r\n", 400),
    BAD("folded Content-Length", POST "Content-Length:\r\n 5\r\n\r\nhello", 400),
    BAD("space before the first field", GET " Host: a\r\n\r\n", 400),
    BAD("space before the colon", GET "Host : a\r\n\r\n", 400),
    BAD("space before Content-Length's colon", POST "Content-Length : 5\r\n\r\nhello", 400),
    BAD("TAB before Transfer-Encoding's colon", POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    BAD("no colon", GET "Host: a\r\nXyz\r\n\r\n", 400),
    BAD("empty field name", GET "Host: a\r\n: b\r\n\r\n", 400),
    BAD("field name with a slash", GET "Host: a\r\nX/Y: b\r\n\r\n", 400),
    BAD("field name with a high byte", GET "Host: a\r\nX\xe9: b\r\n\r\n", 400),
    BAD("field name with brackets", GET "Host: a\r\nX(y): b\r\n\r\n", 400),
    BAD("NUL in a value", GET "Host: a\r\nX: b\0c\r\n\r\n", 400),
    BAD("NUL in a name", GET "Host: a\r\nX\0: b\r\n\r\n", 400),
    BAD("control byte in a value", GET "Host: a\r\nX: b\x01\r\n\r\n", 400),
    BAD("DEL in a value", GET "Host: a\r\nX: b\x7f\r\n\r\n", 400),
    BAD("vertical TAB in a value",
	GET "Host: a\r\nX: \x0b"
	    "b\r\n\r\n",
	400),
    BAD("two Content-Lengths, different", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    BAD("two Content-Lengths, equal", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    BAD("Content-Length list", POST "Content-Length: 5, 5\r\n\r\nhello", 400),
    BAD("Content-Length +5", POST "Content-Length: +5\r\n\r\nhello", 400),
    BAD("Content-Length -1", POST "Content-Length: -1\r\n\r\n", 400),
    BAD("Content-Length 0x5", POST "Content-Length: 0x5\r\n\r\nhello", 400),
    BAD("Content-Length 5 5", POST "Content-Length: 5 5\r\n\r\nhello", 400),
    BAD("Content-Length 5.0", POST "Content-Length: 5.0\r\n\r\nhello", 400),
    BAD("Content-Length empty", POST "Content-Length:\r\n\r\n", 400),
    BAD("Content-Length past 64 bits", POST "Content-Length: 18446744073709551616\r\n\r\n", 413),
    BAD("Content-Length and chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    BAD("chunked and Content-Length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    BAD("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    BAD("chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    BAD("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    BAD("Transfer-Encoding identity", POST "Transfer-Encoding: identity\r\n\r\n", 400),
    BAD("Transfer-Encoding empty", POST "Transfer-Encoding:\r\n\r\n", 400),
    BAD("two Transfer-Encodings", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	400),
    BAD("quoted chunked", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    BAD("Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	400),
    BAD("chunk size with a sign", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size 0x5", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size with a space before", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size with a space behind", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size empty", CHUNKED "\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size not hexadecimal", CHUNKED "g\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size of 17 digits", CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size near 2^64", CHUNKED "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", 413),
    BAD("chunk size ends with LF", CHUNKED "5\nhello\r\n0\r\n\r\n", 400),
    BAD("chunk size ends with CR", CHUNKED "5\rhello\r\n0\r\n\r\n", 400),
    BAD("chunk without CRLF", CHUNKED "5\r\nhello0\r\n\r\n", 400),
    BAD("chunk ends with LF", CHUNKED "5\r\nhello\n0\r\n\r\n", 400),
    BAD("chunk longer than its size", CHUNKED "4\r\nhello\r\n0\r\n\r\n", 400),
    BAD("control byte in a chunk extension", CHUNKED "5;a=\x01\r\nhello\r\n0\r\n\r\n", 400),
    BAD("LF in a chunk extension", CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    BAD("no CRLF behind the last chunk", CHUNKED "0\r\n\rX", 400),
    BAD("trailer without a name", CHUNKED "0\r\n: x\r\n\r\n", 400),
    BAD("trailer obs-fold", CHUNKED "0\r\nX: y\r\n z\r\n\r\n", 400),
    BAD("trailer with a bare LF", CHUNKED "0\r\nX: y\n\r\n", 400),
    BAD("trailer with NUL", CHUNKED "0\r\nX: \0\r\n\r\n", 400),
    BAD("HTTP/1.9", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", 400),
    BAD("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    BAD("HTTP/0.9", "GET /\r\n\r\n", 400),
    BAD("http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    BAD("HTTP/1.", "GET / HTTP/1.\r\nHost: a\r\n\r\n", 400),
    BAD("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    BAD("PRI in HTTP/1.1", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("no Host", GET "\r\n", 400),
    BAD("two Hosts", GET "Host: a\r\nHost: a\r\n\r\n", 400),
    BAD("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    BAD("Host with a space", GET "Host: a b\r\n\r\n", 400),
    BAD("Host with a path", GET "Host: a/b\r\n\r\n", 400),
    BAD("Host with user info", GET "Host: a@b\r\n\r\n", 400),
    BAD("two spaces after the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    BAD("space in the path", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("TAB as separator", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("leading space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("method with a colon", "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("two leading CRLFs", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("leading LF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("target * with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("absolute target with user info", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("absolute target without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("fragment in the query", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("NUL in the path", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("escaped NUL in the path", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("broken escape in the path", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("cut escape in the path", "GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("high byte in the path", "GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    BAD("TLS on a plain port", "\x16\x03\x01\x02\x00\x01", 400),
    BAD("NUL bytes", "\0\0\0\0", 400),
    BAD("two Origins", GET HOST "Origin: http://a\r\nOrigin: http://b\r\n\r\n", 400),
};

static void refuses_the_malformed(void **state)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 3, 7};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad_cases); i++) {
		const struct bad_case *bad = &bad_cases[i];
		for (size_t j = 0; j < COUNT_OF(steps); j++) {
			struct parsed got = feed(bad->text, steps[j]);
			if (got.result != HTTP1_REFUSED || got.status != bad->status)
				fail_msg("%s, %zu at a time: result %d, status %d", bad->name, steps[j],
					 (int)got.result, got.status);
			assert_true(got.why && got.why[0]);
			free(got.bytes);
		}
	}
}

struct good_case {
	const char *name;
	struct str text;
	unsigned method;
	const char *path, *query, *body;
};
#define GOOD(name, text, method, path, query, body) \
	{ \
		name, {text, sizeof(text) - 1}, method, path, query, body \
	}

static const struct good_case good_cases[] = {
    GOOD("plain", GET HOST "\r\n", HTTP_GET, "/", "", ""),
    GOOD("one leading CRLF", "\r\n" GET HOST "\r\n", HTTP_GET, "/", "", ""),
    GOOD("empty Host", GET "Host:\r\n\r\n", HTTP_GET, "/", "", ""),
    GOOD("Host with IPv6 and port", GET "Host: [::1]:8080\r\n\r\n", HTTP_GET, "/", "", ""),
    GOOD("HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", HTTP_GET, "/a", "", ""),
    GOOD("query", "GET /a?b=c%20d&e HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/a", "b=c%20d&e", ""),
    GOOD("question marks in the query", "GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/a", "b?c", ""),
    GOOD("broken escape in the query is the handler's", "GET /a?b=%z HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/a",
	 "b=%z", ""),
    GOOD("escapes in the path", "GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/a%2Fb", "", ""),
    GOOD("absolute target", "GET http://a:80/b?c HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/b", "c", ""),
    GOOD("absolute target without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_GET, "/", "", ""),
    GOOD("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_OPTIONS, "*", "", ""),
    GOOD("other method", "PATCH /x HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_OTHER, "/x", "", ""),
    GOOD("Content-Length", POST "Content-Length: 5\r\n\r\nhello", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("Content-Length without spaces", POST "Content-Length:5\r\n\r\nhello", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("Content-Length with TABs", POST "Content-Length:\t5\t \r\n\r\nhello", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("Content-Length 005", POST "Content-Length: 005\r\n\r\nhello", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("Content-Length 0", POST "Content-Length: 0\r\n\r\n", HTTP_POST, "/v1/track", "", ""),
    GOOD("POST without a length has no body", POST "\r\n", HTTP_POST, "/v1/track", "", ""),
    GOOD("chunked", CHUNKED "5\r\nhello\r\n0\r\n\r\n", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("CHUNKED", POST "tRANSFER-eNCODING: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n", HTTP_POST, "/v1/track", "",
	 "hello"),
    GOOD("many chunks", CHUNKED "1\r\nh\r\n2\r\nel\r\n0002\r\nlo\r\n000\r\n\r\n", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("chunk extension", CHUNKED "5;a=\"b\";c\r\nhello\r\n0;x\r\n\r\n", HTTP_POST, "/v1/track", "", "hello"),
    GOOD("upper-case size", CHUNKED "A\r\nhellohello\r\n0\r\n\r\n", HTTP_POST, "/v1/track", "", "hellohello"),
    GOOD("empty chunked", CHUNKED "0\r\n\r\n", HTTP_POST, "/v1/track", "", ""),
    GOOD("trailers", CHUNKED "1\r\nh\r\n0\r\nX: y\r\nContent-Length: 99\r\n\r\n", HTTP_POST, "/v1/track", "", "h"),
    GOOD("TAB and high bytes in a value", GET HOST "X: a\tb\xc3\xa9\r\n\r\n", HTTP_GET, "/", "", ""),
    GOOD("empty value", GET HOST "X:\r\n\r\n", HTTP_GET, "/", "", ""),
    GOOD("all token characters", GET HOST "!#$%&'*+-.^_`|~0aZ: x\r\n\r\n", HTTP_GET, "/", "", ""),
};

static void check_text(const char *name, struct str got, const char *want)
{
	if (!str_eq(got, str_from(want))) fail_msg("%s: \"%.*s\" instead of \"%s\"", name, STR_ARG(got), want);
}

static void takes_the_well_formed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good_cases); i++) {
		const struct good_case *good = &good_cases[i];
		for (size_t step = 1; step <= good->text.len; step++) {
			struct parsed got = feed(good->text, step);
			if (got.result != HTTP1_DONE)
				fail_msg("%s, %zu at a time: %d %s", good->name, step, (int)got.result,
					 got.why ? got.why : "");
			assert_int_equal(got.head.method, good->method);
			assert_int_equal(got.used, good->text.len);
			check_text(good->name, text_at(good->text.ptr, got.head.path), good->path);
			check_text(good->name, text_at(good->text.ptr, got.head.query), good->query);
			check_text(good->name, (struct str){got.bytes + got.head_len, got.body_len}, good->body);
			free(got.bytes);
		}
	}
}

static void stops_at_the_next_request(void **state)
{
	static const char two[] = CHUNKED "1\r\nh\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n";
	(void)state;
	struct parsed got = feed(STR(CHUNKED "1\r\nh\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n"), SIZE_MAX / 2);
	assert_int_equal(got.result, HTTP1_DONE);
	assert_memory_equal(two + got.used, "GET /2", 6);
	free(got.bytes);
}

static void reads_the_meaning_of_fields(void **state)
{
	struct str value, text = STR(GET HOST "Connection: Keep-Alive , CLOSE\r\nExpect: 100-Continue\r\nX-Twice: a\r\n"
					      "x-twice: b\r\nContent-Encoding: gzip\r\n\r\n");
	(void)state;
	struct parsed got = feed(text, 5);
	assert_int_equal(got.result, HTTP1_DONE);
	assert_true(got.head.wants_close && got.head.wants_keep_alive && got.head.wants_continue);
	assert_false(got.head.has_other_expect);
	assert_int_equal(got.head.minor, 1);
	assert_true(head_find(&got.head, text.ptr, STR("X-TWICE"), &value));
	check_text("first of two", value, "a");
	assert_false(head_find(&got.head, text.ptr, STR("x-absent"), &value));
	check_text("known", head_value(&got.head, text.ptr, HEAD_CONTENT_ENCODING), "gzip");
	check_text("absent", head_value(&got.head, text.ptr, HEAD_ORIGIN), "");
	free(got.bytes);

	got = feed(STR(GET HOST "Expect: 200-ok\r\n\r\n"), 1);
	assert_true(got.head.has_other_expect);
	free(got.bytes);
}

/* ── caps ────────────────────────────────────────────────────────────────── */

static struct parsed feed_long(const char *before, size_t len, const char *after, size_t step)
{
	size_t a = strlen(before), b = strlen(after);
	char *text = malloc(a + len + b);
	assert_non_null(text);
	memcpy(text, before, a);
	memset(text + a, 'x', len);
	memcpy(text + a + len, after, b);
	struct parsed got = feed((struct str){text, a + len + b}, step);
	free(text);
	return got;
}

static void expect_long(const char *before, size_t len, const char *after, enum http1_result result, int status)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 1000};
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct parsed got = feed_long(before, len, after, steps[i]);
		if (got.result != result || got.status != status)
			fail_msg("%.20s… + %zu, %zu at a time: %d %d", before, len, steps[i], (int)got.result,
				 got.status);
		free(got.bytes);
	}
}

static void caps_the_request_line(void **state)
{
	size_t room = HEAD_LINE_MAX - strlen("GET / HTTP/1.1");
	(void)state;
	expect_long("GET /", room, " HTTP/1.1\r\nHost: a\r\n\r\n", HTTP1_DONE, 0);
	expect_long("GET /", room + 1, " HTTP/1.1\r\nHost: a\r\n\r\n", HTTP1_REFUSED, 414);
	expect_long("GET /", 100000, "", HTTP1_REFUSED, 414);
}

static void caps_the_head(void **state)
{
	size_t room = HEAD_BYTES_MAX - strlen(GET HOST "X: \r\n\r\n");
	(void)state;
	expect_long(GET HOST "X: ", room, "\r\n\r\n", HTTP1_DONE, 0);
	expect_long(GET HOST "X: ", room + 1, "\r\n\r\n", HTTP1_REFUSED, 431);
	expect_long(GET HOST "X: ", 100000, "", HTTP1_REFUSED, 431);
	expect_long(GET HOST "", 100000, ": y\r\n\r\n", HTTP1_REFUSED, 431);
}

static void caps_the_fields(void **state)
{
	(void)state;
	for (int extra = 0; extra < 2; extra++) {
		char text[2048];
		size_t len = (size_t)snprintf(text, sizeof text, GET HOST);
		for (int i = 1; i < HEAD_FIELDS_MAX + extra; i++)
			len += (size_t)snprintf(text + len, sizeof text - len, "X%d: y\r\n", i);
		len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
		struct parsed got = feed((struct str){text, len}, 1);
		assert_int_equal(got.result, extra ? HTTP1_REFUSED : HTTP1_DONE);
		assert_int_equal(got.status, extra ? 431 : 0);
		free(got.bytes);
	}
}

static void caps_bodies_extensions_and_trailers(void **state)
{
	(void)state;
	expect_long(CHUNKED "3e8\r\n", 1000, "\r\n0\r\n\r\n", HTTP1_DONE, 0);
	expect_long(CHUNKED "3e9\r\n", 1001, "\r\n0\r\n\r\n", HTTP1_REFUSED, 413);
	expect_long(CHUNKED "1\r\nh\r\n3e8\r\n", 1000, "\r\n0\r\n\r\n", HTTP1_REFUSED, 413);
	expect_long(CHUNKED "1;", BODY_EXTENSION_MAX, "\r\nh\r\n0\r\n\r\n", HTTP1_DONE, 0);
	expect_long(CHUNKED "1;", BODY_EXTENSION_MAX + 1, "\r\nh\r\n0\r\n\r\n", HTTP1_REFUSED, 400);
	expect_long(CHUNKED "0\r\nX: ", BODY_TRAILERS_MAX - 7, "\r\n\r\n", HTTP1_DONE, 0);
	expect_long(CHUNKED "0\r\nX: ", BODY_TRAILERS_MAX, "\r\n\r\n", HTTP1_REFUSED, 431);
}

static void caps_all_extensions_together(void **state)
{
	char text[16384];
	size_t len = (size_t)snprintf(text, sizeof text, CHUNKED);
	(void)state;
	for (int i = 0; i < 20; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "1;%0*d\r\nh\r\n", BODY_EXTENSION_MAX, 0);
	struct parsed got = feed((struct str){text, len}, 1);
	assert_int_equal(got.result, HTTP1_REFUSED);
	assert_int_equal(got.status, 400);
	free(got.bytes);
}

static void finds_control_bytes_anywhere(void **state)
{
	char text[40];
	(void)state;
	for (int c = 0; c < 256; c++) {
		bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
		for (size_t at = 0; at < sizeof text; at++) {
			memset(text, at % 2 ? '\xff' : '\t', sizeof text);
			text[at] = (char)c;
			assert_int_equal(http1_find_control(text, 0, sizeof text), is_control ? at : sizeof text);
			assert_int_equal(http1_find_control(text, at + 1, sizeof text), sizeof text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_the_malformed),
	    cmocka_unit_test(takes_the_well_formed),
	    cmocka_unit_test(stops_at_the_next_request),
	    cmocka_unit_test(reads_the_meaning_of_fields),
	    cmocka_unit_test(caps_the_request_line),
	    cmocka_unit_test(caps_the_head),
	    cmocka_unit_test(caps_the_fields),
	    cmocka_unit_test(caps_bodies_extensions_and_trailers),
	    cmocka_unit_test(caps_all_extensions_together),
	    cmocka_unit_test(finds_control_bytes_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
