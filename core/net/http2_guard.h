/* http2_guard: what a client may send over HTTP/2 that is cheap for it and brings it nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
 * empty or unknown frames. It reads the frames' headers as they go by and takes a token for each such frame; tokens come back
 * with time, with requests and with data, since both make honest control frames. It also counts the CONTINUATION frames of a header
 * block (nghttp2's own count depends on how the bytes arrive) and the resets that a client's mistakes make us send.
 *
 * Pure: no I/O, no clock. Any split of the bytes gives the same answer. */
#pragma once

#include "base/status.h"

#define HTTP2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_LEN 24

#define HTTP2_CONTROL_BURST 1000 /* frames at once … */
#define HTTP2_CONTROL_RATE  200  /* … and a second */
#define HTTP2_RESET_BURST   500
#define HTTP2_CONTINUATIONS 8 /* of one header block */
#define HTTP2_RESET_RATE    50

struct http2_bucket {
	uint32_t tokens;
	int64_t filled_us;
};

struct http2_guard {
	uint8_t preface_left;
	uint8_t have; /* bytes of `header` */
	uint8_t header[9];
	uint32_t payload_left;
	bool is_in_block;       /* a header block goes on in the next frame */
	uint32_t heads;         /* header blocks begun */
	uint32_t continuations; /* of the newest block */
	struct http2_bucket control, resets;
};

void http2_guard_init(struct http2_guard *guard, int64_t now_us);
/* Looks at the next bytes, the preface included. Returns how many may be read on: fewer than `len` when there were too many frames, and
 * then no more are to be read at all. */
size_t http2_guard_scan(struct http2_guard *guard, const char *data, size_t len, int64_t now_us);
/* A header block has begun and is not whole. */
bool http2_guard_in_head(const struct http2_guard *guard);
/* A DATA frame was sent: the client answers it with window updates and, some clients, a PING. */
void http2_guard_sent_data(struct http2_guard *guard);
/* We reset a stream because of what the client sent; false: once too often. */
bool http2_guard_reset(struct http2_guard *guard, int64_t now_us);
