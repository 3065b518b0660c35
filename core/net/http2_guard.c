#include "net/http2_guard.h"

#include <string.h>

#include "base/clock.h"

#define HEADER_LEN 9

/* Of RFC 9113 section 6. */
enum frame_type { FRAME_DATA, FRAME_HEADERS, FRAME_CONTINUATION = 9 };
#define FLAG_END_STREAM  0x1
#define FLAG_END_HEADERS 0x4

#define FOR_REQUEST   4 /* tokens: a client may set a window, ask for the priority and cancel */
#define FOR_SENT_DATA 4 /* WINDOW_UPDATE of the stream and of the connection, a PING and its answer's cause */

static void refill(struct http2_bucket *bucket, uint32_t rate, uint32_t burst, int64_t now_us)
{
	int64_t earned = (now_us - bucket->filled_us) * rate / US_PER_SECOND;
	if (earned <= 0) return;
	bucket->tokens = earned >= (int64_t)(burst - bucket->tokens) ? burst : bucket->tokens + (uint32_t)earned;
	bucket->filled_us = now_us;
}

static bool take(struct http2_bucket *bucket)
{
	if (bucket->tokens == 0) return false;
	bucket->tokens--;
	return true;
}

static void give(struct http2_guard *guard, uint32_t tokens)
{
	uint32_t room = HTTP2_CONTROL_BURST - guard->control.tokens;
	guard->control.tokens += tokens < room ? tokens : room;
}

void http2_guard_init(struct http2_guard *guard, int64_t now_us)
{
	*guard = (struct http2_guard){.preface_left = HTTP2_PREFACE_LEN,
				      .control = {HTTP2_CONTROL_BURST, now_us},
				      .resets = {HTTP2_RESET_BURST, now_us}};
}

static bool judge(struct http2_guard *guard)
{
	const uint8_t *header = guard->header;
	guard->payload_left = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
	switch (header[3]) {
	case FRAME_DATA: return guard->payload_left > 0 || header[4] & FLAG_END_STREAM || take(&guard->control);
	case FRAME_HEADERS:
		guard->is_in_block = !(header[4] & FLAG_END_HEADERS);
		guard->heads++;
		guard->continuations = 0;
		give(guard, FOR_REQUEST);
		return true;
	case FRAME_CONTINUATION:
		if (header[4] & FLAG_END_HEADERS) guard->is_in_block = false;
		if (++guard->continuations > HTTP2_CONTINUATIONS) return false;
		return guard->payload_left > 0 || take(&guard->control);
	default: return take(&guard->control);
	}
}

bool http2_guard_in_head(const struct http2_guard *guard)
{
	bool is_head = guard->header[3] == FRAME_HEADERS || guard->header[3] == FRAME_CONTINUATION;
	return guard->is_in_block || (is_head && guard->payload_left > 0);
}

size_t http2_guard_scan(struct http2_guard *guard, const char *data, size_t len, int64_t now_us)
{
	size_t at = guard->preface_left < len ? guard->preface_left : len;
	guard->preface_left = (uint8_t)(guard->preface_left - at);
	refill(&guard->control, HTTP2_CONTROL_RATE, HTTP2_CONTROL_BURST, now_us);
	while (at < len) {
		size_t skip = guard->payload_left < len - at ? guard->payload_left : len - at;
		guard->payload_left -= (uint32_t)skip;
		at += skip;
		size_t want = (size_t)HEADER_LEN - guard->have;
		if (want > len - at) want = len - at;
		memcpy(guard->header + guard->have, data + at, want);
		guard->have = (uint8_t)(guard->have + want);
		at += want;
		if (guard->have < HEADER_LEN) break;
		guard->have = 0;
		if (!judge(guard)) return at;
	}
	return len;
}

void http2_guard_sent_data(struct http2_guard *guard)
{
	give(guard, FOR_SENT_DATA);
}

bool http2_guard_reset(struct http2_guard *guard, int64_t now_us)
{
	refill(&guard->resets, HTTP2_RESET_RATE, HTTP2_RESET_BURST, now_us);
	return take(&guard->resets);
}
