/* The body: a length, or chunks. Decoded in place: framing only ever shrinks. */
#include "net/http1_parse.h"
#include "net/http1_scan.h"

enum body_step {
	BODY_LENGTH,
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	BODY_LAST_LF,
	BODY_DONE,
	BODY_REFUSED,
};

void http1_body_start(struct http1_body *body, const struct head *head, uint64_t cap)
{
	*body = (struct http1_body){.cap = cap, .is_chunked = head->is_chunked};
	body->left = head->is_chunked ? 0 : head->content_length;
	body->step = head->is_chunked ? CHUNK_SIZE : body->left ? BODY_LENGTH : BODY_DONE;
}

static uint8_t refuse(struct http1_body *body, enum problem problem, const char *why)
{
	body->refusal = (struct http1_refusal){problem, why};
	return BODY_REFUSED;
}

static uint8_t bad(struct http1_body *body, const char *why)
{
	return refuse(body, PROBLEM_INVALID_REQUEST, why);
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t on_size(struct http1_body *body, uint8_t c)
{
	int digit = hex_digit(c);
	if (digit >= 0) {
		if (body->digits == 16) return bad(body, "a chunk size is longer than 16 digits");
		body->digits++;
		body->left = body->left << 4 | (uint64_t)digit;
		return CHUNK_SIZE;
	}
	if (body->digits == 0) return bad(body, "a chunk size is not a hexadecimal number");
	if (body->left > body->cap - body->total) return refuse(body, PROBLEM_TOO_LARGE, "the body is too large");
	body->extension = 0;
	if (c == '\r') return CHUNK_SIZE_LF;
	return c == ';' ? CHUNK_EXTENSION : bad(body, "a chunk size is not a hexadecimal number");
}

static uint8_t on_extension(struct http1_body *body, uint8_t c)
{
	if (c == '\r') return CHUNK_SIZE_LF;
	if ((c < 0x20 && c != '\t') || c == 0x7f) return bad(body, "a control byte in a chunk extension");
	if (++body->extension > BODY_EXTENSION_MAX || ++body->extensions > BODY_EXTENSIONS_MAX)
		return bad(body, "the chunk extensions are too long");
	return CHUNK_EXTENSION;
}

static uint8_t on_size_lf(struct http1_body *body, uint8_t c)
{
	if (c != '\n') return bad(body, "a CR without LF after a chunk size");
	body->digits = 0;
	return body->left ? CHUNK_DATA : TRAILER_START;
}

static uint8_t on_trailer_byte(struct http1_body *body, uint8_t c)
{
	if (++body->trailer > BODY_TRAILERS_MAX)
		return refuse(body, PROBLEM_HEADERS_TOO_LARGE, "the trailers are too large");
	switch (body->step) {
	case TRAILER_START:
		if (c == '\r') return BODY_LAST_LF;
		return http1_is_token_char((char)c) ? TRAILER_NAME : bad(body, "a trailer name is malformed");
	case TRAILER_NAME:
		if (c == ':') return TRAILER_VALUE;
		return http1_is_token_char((char)c) ? TRAILER_NAME : bad(body, "a trailer name is malformed");
	case TRAILER_VALUE:
		if (c == '\r') return TRAILER_LF;
		if ((c < 0x20 && c != '\t') || c == 0x7f) return bad(body, "a control byte in a trailer");
		return TRAILER_VALUE;
	default: return c == '\n' ? TRAILER_START : bad(body, "a CR without LF in a trailer");
	}
}

static uint8_t on_byte(struct http1_body *body, uint8_t c)
{
	switch (body->step) {
	case CHUNK_SIZE: return on_size(body, c);
	case CHUNK_EXTENSION: return on_extension(body, c);
	case CHUNK_SIZE_LF: return on_size_lf(body, c);
	case CHUNK_DATA_CR: return c == '\r' ? CHUNK_DATA_LF : bad(body, "a chunk is longer than its size");
	case CHUNK_DATA_LF: return c == '\n' ? CHUNK_SIZE : bad(body, "a chunk ends without CRLF");
	case BODY_LAST_LF: return c == '\n' ? BODY_DONE : bad(body, "the body ends without CRLF");
	default: return on_trailer_byte(body, c);
	}
}

/* Moves what is there of the length or chunk to the front; the number of its bytes. */
static size_t take_data(struct http1_body *body, char *to, const char *from, size_t available)
{
	size_t n = available < body->left ? available : (size_t)body->left;
	if (to != from) memmove(to, from, n);
	body->left -= n;
	body->total += n;
	if (body->left == 0) body->step = body->is_chunked ? CHUNK_DATA_CR : BODY_DONE;
	return n;
}

enum http1_result http1_body_parse(struct http1_body *body, char *data, size_t len, size_t *taken, size_t *made)
{
	size_t at = 0, out = 0;
	while (at < len && body->step < BODY_DONE) {
		if (body->step == CHUNK_DATA || body->step == BODY_LENGTH) {
			size_t n = take_data(body, data + out, data + at, len - at);
			at += n;
			out += n;
		} else {
			body->step = on_byte(body, (uint8_t)data[at++]);
		}
	}
	*taken = at;
	*made = out;
	if (body->step == BODY_REFUSED) return HTTP1_REFUSED;
	return body->step == BODY_DONE ? HTTP1_DONE : HTTP1_MORE;
}
