#include "net/h2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t put_length(uint8_t *to, size_t len)
{
	if (len < 127) {
		to[0] = (uint8_t)len;
		return 1;
	}
	size_t n = 0;
	to[n++] = 127;
	for (len -= 127; len >= 128; len >>= 7) to[n++] = (uint8_t)(len % 128 + 128);
	to[n++] = (uint8_t)len;
	return n;
}

static void put_text(struct h2_block *block, const char *text)
{
	size_t len = strlen(text);
	assert_true(block->len + len + 8 < sizeof block->bytes);
	block->len += put_length(block->bytes + block->len, len);
	memcpy(block->bytes + block->len, text, len);
	block->len += len;
}

void h2_put(struct h2_block *block, const char *name, const char *value)
{
	block->bytes[block->len++] = 0; /* literal, not indexed, new name */
	put_text(block, name);
	put_text(block, value);
}

void h2_send(struct h2 *h2, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len)
{
	uint8_t header[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
			     (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
	client_send(&h2->client, (struct str){(const char *)header, sizeof header});
	client_send(&h2->client, (struct str){payload, len});
}

void h2_number(struct h2 *h2, uint8_t type, uint32_t id, uint32_t number)
{
	uint8_t bytes[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
	h2_send(h2, type, 0, id, bytes, sizeof bytes);
}

void h2_open(struct h2 *h2, const struct server *server)
{
	nghttp2_hd_inflater *inflater;
	*h2 = (struct h2){.grants = true};
	assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
	h2->inflater = inflater;
	client_open(&h2->client, server);
	SEND(&h2->client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	h2_send(h2, H2_SETTINGS, 0, 0, "", 0);
}

void h2_close(struct h2 *h2)
{
	free(h2->frame.payload);
	nghttp2_hd_inflate_del(h2->inflater);
	client_close(&h2->client);
}

#define FRAME_MAX ((size_t)16384)

void h2_head(struct h2 *h2, uint32_t id, const struct h2_block *block, bool is_last)
{
	uint8_t type = H2_HEADERS, flags = is_last ? H2_END_STREAM : 0;
	size_t at = 0;
	do {
		size_t len = block->len - at < FRAME_MAX ? block->len - at : FRAME_MAX;
		if (at + len == block->len) flags |= H2_END_HEADERS;
		h2_send(h2, type, flags, id, block->bytes + at, len);
		type = H2_CONTINUATION;
		flags = 0;
		at += len;
	} while (at < block->len);
}

void h2_request(struct h2 *h2, uint32_t id, const char *method, const char *path, bool is_last, ...)
{
	struct h2_block block = {.len = 0};
	const char *name;
	va_list args;
	h2_put(&block, ":method", method);
	h2_put(&block, ":scheme", "http");
	h2_put(&block, ":path", path);
	h2_put(&block, ":authority", "a");
	va_start(args, is_last);
	while ((name = va_arg(args, const char *))) h2_put(&block, name, va_arg(args, const char *));
	va_end(args);
	h2_head(h2, id, &block, is_last);
}

static bool has_bytes(struct h2 *h2, size_t n)
{
	while (h2->client.len < n)
		if (!client_more(&h2->client)) return false;
	return true;
}

bool h2_next(struct h2 *h2)
{
	struct h2_frame *frame = &h2->frame;
	free(frame->payload);
	frame->payload = NULL;
	if (!has_bytes(h2, 9)) return false;
	const uint8_t *header = (const uint8_t *)h2->client.data;
	*frame = (struct h2_frame){.len = (size_t)header[0] << 16 | (size_t)header[1] << 8 | header[2],
				   .type = header[3],
				   .flags = header[4],
				   .id = (uint32_t)header[5] << 24 | (uint32_t)header[6] << 16 |
					 (uint32_t)header[7] << 8 | header[8]};
	if (!has_bytes(h2, 9 + frame->len)) return false;
	frame->payload = malloc(frame->len + 1);
	assert_non_null(frame->payload);
	memcpy(frame->payload, h2->client.data + 9, frame->len);
	h2->client.data += 9 + frame->len;
	h2->client.len -= 9 + frame->len;
	if (frame->type == H2_SETTINGS && !(frame->flags & H2_ACK)) h2_send(h2, H2_SETTINGS, H2_ACK, 0, "", 0);
	return true;
}

static uint32_t number_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void read_fields(struct h2 *h2, char *to, int *status)
{
	const uint8_t *in = h2->frame.payload;
	size_t left = h2->frame.len, used = strlen(to);
	int flags = 0;
	if (used == 0) used += (size_t)snprintf(to, 4096, "\n");
	while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		nghttp2_nv nv;
		ssize_t n = nghttp2_hd_inflate_hd2(h2->inflater, &nv, &flags, in, left, 1);
		assert_true(n >= 0);
		in += n;
		left -= (size_t)n;
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT)) continue;
		if (strcmp((char *)nv.name, ":status") == 0) *status = atoi((char *)nv.value);
		used += (size_t)snprintf(to + used, 4096 - used, "%s: %s\n", nv.name, nv.value);
		assert_true(used < 4096);
	}
	nghttp2_hd_inflate_end_headers(h2->inflater);
}

static void add_body(struct h2 *h2, struct h2_answer *answer)
{
	const struct h2_frame *frame = &h2->frame;
	answer->body = realloc(answer->body, answer->body_len + frame->len + 1);
	assert_non_null(answer->body);
	memcpy(answer->body + answer->body_len, frame->payload, frame->len);
	answer->body_len += frame->len;
	answer->body[answer->body_len] = '\0';
	if (!h2->grants || frame->len == 0) return;
	uint32_t len = (uint32_t)frame->len, id = frame->id;
	h2_number(h2, H2_WINDOW, id, len);
	h2_number(h2, H2_WINDOW, 0, len);
}

/* False when the stream has ended with it. */
static bool take_frame(struct h2 *h2, uint32_t id, struct h2_answer *answer)
{
	const struct h2_frame *frame = &h2->frame;
	if (frame->type == H2_GOAWAY) answer->goaway = number_at(frame->payload + 4);
	if (frame->id == 0 || frame->type == H2_WINDOW) return true;
	if (frame->id != id) fail_msg("frame %u of stream %u", frame->type, frame->id);
	if (frame->type == H2_RST) {
		answer->is_reset = true;
		answer->error = number_at(frame->payload);
		return false;
	}
	if (frame->type == H2_HEADERS) {
		assert_true(frame->flags & H2_END_HEADERS);
		read_fields(h2, answer->status ? answer->trailers : answer->head, &answer->status);
	}
	if (frame->type == H2_DATA) add_body(h2, answer);
	return !(frame->flags & H2_END_STREAM);
}

bool h2_read(struct h2 *h2, uint32_t id, struct h2_answer *answer)
{
	if (!answer->body) answer->body = calloc(1, 1);
	answer->is_closed = !h2_next(h2);
	return !answer->is_closed && take_frame(h2, id, answer);
}

struct h2_answer h2_answer(struct h2 *h2, uint32_t id)
{
	struct h2_answer answer = H2_NO_ANSWER;
	while (h2_read(h2, id, &answer)) continue;
	return answer;
}

void h2_answer_free(struct h2_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
}

void h2_expect(struct h2 *h2, uint32_t id, int status, const char *body)
{
	struct h2_answer answer = h2_answer(h2, id);
	if (answer.is_closed) fail_msg("closed, GOAWAY %lld", (long long)answer.goaway);
	if (answer.is_reset) fail_msg("reset with %u", answer.error);
	if (answer.status != status) fail_msg("%d instead of %d: %s", answer.status, status, answer.body);
	if (body) assert_string_equal(answer.body, body);
	h2_answer_free(&answer);
}

bool h2_has(const char *fields, const char *line)
{
	size_t len = strlen(line);
	for (const char *at = fields; (at = strstr(at, line)); at++)
		if (at[-1] == '\n' && at[len] == '\n') return true;
	return false;
}

int64_t h2_expect_end(struct h2 *h2)
{
	int64_t error = -1;
	while (h2_next(h2))
		if (h2->frame.type == H2_GOAWAY) error = number_at(h2->frame.payload + 4);
	return error;
}

void h2_sync(struct h2 *h2)
{
	h2_send(h2, H2_PING, 0, 0, "in sync?", 8);
	while (h2_next(h2))
		if (h2->frame.type == H2_PING && h2->frame.flags & H2_ACK &&
		    memcmp(h2->frame.payload, "in sync?", 8) == 0)
			return;
	fail_msg("closed before the PING was answered");
}
