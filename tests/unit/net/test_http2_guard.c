/* http2_guard: which frames cost a token, and that no split of the bytes changes the count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/http2_guard.h"

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION, UNKNOWN = 0xfa };

#define NOW (100 * US_PER_SECOND)

struct bytes {
	char data[1 << 16];
	size_t len;
};

static void add(struct bytes *bytes, uint8_t type, uint8_t flags, size_t len)
{
	const char header[9] = {0, (char)(len >> 8), (char)len, (char)type, (char)flags};
	assert_true(bytes->len + 9 + len <= sizeof bytes->data);
	memcpy(bytes->data + bytes->len, header, 9);
	memset(bytes->data + bytes->len + 9, 'x', len);
	bytes->len += 9 + len;
}

static void start(struct http2_guard *guard)
{
	http2_guard_init(guard, NOW);
	assert_int_equal(http2_guard_scan(guard, HTTP2_PREFACE, HTTP2_PREFACE_LEN, NOW), HTTP2_PREFACE_LEN);
}

/* Tokens that one such frame takes. */
static int cost(uint8_t type, uint8_t flags, size_t len)
{
	static struct bytes bytes;
	struct http2_guard guard;
	start(&guard);
	guard.control.tokens = 100;
	bytes.len = 0;
	add(&bytes, type, flags, len);
	assert_int_equal(http2_guard_scan(&guard, bytes.data, bytes.len, NOW), bytes.len);
	return 100 - (int)guard.control.tokens;
}

static void charges_what_brings_nothing(void **state)
{
	(void)state;
	assert_int_equal(cost(PING, 0, 8), 1);
	assert_int_equal(cost(SETTINGS, 0, 6), 1);
	assert_int_equal(cost(PRIORITY, 0, 5), 1);
	assert_int_equal(cost(WINDOW, 0, 4), 1);
	assert_int_equal(cost(RST, 0, 4), 1);
	assert_int_equal(cost(UNKNOWN, 0, 1000), 1);
	assert_int_equal(cost(DATA, 0, 0), 1);
	assert_int_equal(cost(CONTINUATION, 0, 0), 1);
	assert_int_equal(cost(DATA, 1, 0), 0); /* the end of a body */
	assert_int_equal(cost(DATA, 0, 1), 0);
	assert_int_equal(cost(CONTINUATION, 4, 10), 0);
	assert_true(cost(HEADERS, 4, 10) < 0);
}

static void stops_at_the_burst_and_earns_with_time(void **state)
{
	static struct bytes bytes;
	struct http2_guard guard;
	(void)state;
	start(&guard);
	for (int i = 0; i < HTTP2_CONTROL_BURST + 5; i++) add(&bytes, PING, 0, 8);
	assert_int_equal(http2_guard_scan(&guard, bytes.data, bytes.len, NOW), HTTP2_CONTROL_BURST * 17 + 9);
	start(&guard);
	assert_int_equal(http2_guard_scan(&guard, bytes.data, (size_t)HTTP2_CONTROL_BURST * 17, NOW),
			 (size_t)HTTP2_CONTROL_BURST * 17);
	int64_t later = NOW + US_PER_SECOND / 10; /* a tenth of a second's worth */
	assert_int_equal(http2_guard_scan(&guard, bytes.data, bytes.len, later), HTTP2_CONTROL_RATE / 10 * 17 + 9);
	start(&guard);
	(void)http2_guard_scan(&guard, bytes.data, 17 * 10, NOW);
	(void)http2_guard_scan(&guard, bytes.data, 17, NOW + US_PER_DAY * 1000);
	assert_int_equal(guard.control.tokens, HTTP2_CONTROL_BURST - 1);
}

/* A client that reads much updates windows as often; one that asks much too. */
static void honest_clients_earn_their_frames(void **state)
{
	static struct bytes bytes;
	struct http2_guard guard;
	(void)state;
	start(&guard);
	for (int round = 0; round < 10000; round++) {
		http2_guard_sent_data(&guard);
		bytes.len = 0;
		add(&bytes, WINDOW, 0, 4);
		add(&bytes, WINDOW, 0, 4);
		add(&bytes, HEADERS, 5, 10);
		add(&bytes, RST, 0, 4);
		assert_int_equal(http2_guard_scan(&guard, bytes.data, bytes.len, NOW), bytes.len);
	}
	assert_true(guard.control.tokens <= HTTP2_CONTROL_BURST);
}

static void counts_resets(void **state)
{
	struct http2_guard guard;
	(void)state;
	start(&guard);
	for (int i = 0; i < HTTP2_RESET_BURST; i++) assert_true(http2_guard_reset(&guard, NOW));
	assert_false(http2_guard_reset(&guard, NOW));
	assert_true(http2_guard_reset(&guard, NOW + US_PER_SECOND));
}

static void counts_the_parts_of_a_header_block(void **state)
{
	static struct bytes bytes;
	struct http2_guard guard;
	(void)state;
	start(&guard);
	for (int block = 0; block < 2; block++) { /* each block counts anew */
		add(&bytes, HEADERS, 0, 10);
		for (int i = 0; i < HTTP2_CONTINUATIONS; i++) add(&bytes, CONTINUATION, i == 7 ? 4 : 0, 10);
	}
	for (size_t i = 0; i < bytes.len; i++) /* byte by byte */
		assert_int_equal(http2_guard_scan(&guard, bytes.data + i, 1, NOW), 1);
	bytes.len = 0;
	add(&bytes, CONTINUATION, 0, 10);
	add(&bytes, CONTINUATION, 0, 10);
	assert_int_equal(http2_guard_scan(&guard, bytes.data, bytes.len, NOW), 9);
}

static void knows_when_a_head_is_not_whole(void **state)
{
	static struct bytes bytes;
	struct http2_guard guard;
	(void)state;
	start(&guard);
	add(&bytes, HEADERS, 0, 10);
	assert_false(http2_guard_in_head(&guard));
	(void)http2_guard_scan(&guard, bytes.data, 12, NOW);
	assert_true(http2_guard_in_head(&guard));
	(void)http2_guard_scan(&guard, bytes.data + 12, 7, NOW);
	assert_true(http2_guard_in_head(&guard)); /* no END_HEADERS */
	bytes.len = 0;
	add(&bytes, CONTINUATION, 4, 10);
	(void)http2_guard_scan(&guard, bytes.data, 18, NOW);
	assert_true(http2_guard_in_head(&guard));
	(void)http2_guard_scan(&guard, bytes.data + 18, 1, NOW);
	assert_false(http2_guard_in_head(&guard));
	assert_int_equal(guard.heads, 1);
}

static void splits_change_nothing(void **state)
{
	static struct bytes bytes;
	(void)state;
	for (unsigned seed = 1; seed < 200; seed++) {
		struct http2_guard whole, parts;
		srand(seed);
		bytes.len = 0;
		for (int i = 0; i < 50; i++)
			add(&bytes, (uint8_t)(rand() % 12), (uint8_t)(rand() % 8), (size_t)rand() % 40);
		start(&whole);
		start(&parts);
		whole.control.tokens = parts.control.tokens = (uint32_t)(rand() % 40);
		size_t end = http2_guard_scan(&whole, bytes.data, bytes.len, NOW), at = 0;
		while (at < bytes.len) {
			size_t len = 1 + (size_t)rand() % 20;
			if (len > bytes.len - at) len = bytes.len - at;
			size_t allowed = http2_guard_scan(&parts, bytes.data + at, len, NOW);
			at += allowed;
			if (allowed < len || (at == end && end < bytes.len)) break;
		}
		assert_int_equal(at, end);
		assert_int_equal(parts.control.tokens, whole.control.tokens);
		assert_int_equal(http2_guard_in_head(&parts), http2_guard_in_head(&whole));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(charges_what_brings_nothing),
	    cmocka_unit_test(stops_at_the_burst_and_earns_with_time),
	    cmocka_unit_test(honest_clients_earn_their_frames),
	    cmocka_unit_test(counts_resets),
	    cmocka_unit_test(counts_the_parts_of_a_header_block),
	    cmocka_unit_test(knows_when_a_head_is_not_whole),
	    cmocka_unit_test(splits_change_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
