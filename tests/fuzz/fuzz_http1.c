// rooms: net
/* HTTP/1.1 heads and bodies. The first byte says in which steps the rest is fed; the result must be the one of feeding
 * all at once, and everything a head points at must lie inside the bytes. */
#include <stdlib.h>

#include "net/http1_parse.h"
#include "net/http1_scan.h"

#define BODY_CAP 4096

struct parsed {
	enum http1_result result;
	enum problem problem;
	struct http1_head_parser head;
	char *bytes; /* the decoded body */
	size_t body_len, used;
};

static void note(struct parsed *out, enum http1_result result, const struct http1_refusal *refusal)
{
	out->result = result;
	if (result == HTTP1_REFUSED) out->problem = refusal->problem;
}

/* The text is copied to the end of a block of just that size, so that reading past it is seen. */
static enum http1_result feed_head(struct parsed *out, const uint8_t *data, size_t given)
{
	char *copy = malloc(given ? given : 1);
	CHECK(copy);
	memcpy(copy, data, given);
	enum http1_result result = http1_head_parse(&out->head, copy, given);
	note(out, result, &out->head.refusal);
	free(copy);
	return result;
}

static void feed_body(struct parsed *out, struct http1_body *body, const uint8_t *data, size_t given)
{
	size_t len = given - out->used, taken, made;
	char *fresh = malloc(len ? len : 1);
	CHECK(fresh);
	memcpy(fresh, data + out->used, len);
	enum http1_result result = http1_body_parse(body, fresh, len, &taken, &made);
	CHECK(taken <= len && made <= taken && (!body->is_chunked || body->total <= BODY_CAP));
	memcpy(out->bytes + out->body_len, fresh, made);
	out->body_len += made;
	out->used += taken;
	note(out, result, &body->refusal);
	free(fresh);
}

static struct parsed feed(const uint8_t *data, size_t size, size_t step)
{
	struct parsed out = {.result = HTTP1_MORE, .bytes = malloc(size + 1)};
	struct http1_body body;
	bool in_body = false;
	CHECK(out.bytes);
	http1_head_start(&out.head);
	for (size_t given = 0; given < size && out.result == HTTP1_MORE;) {
		given = size - given < step ? size : given + step;
		if (!in_body) {
			if (feed_head(&out, data, given) != HTTP1_DONE) continue;
			in_body = true;
			out.used = out.head.length;
			http1_body_start(&body, &out.head.head, BODY_CAP);
		}
		feed_body(&out, &body, data, given);
	}
	return out;
}

static void check_ref(struct text_ref ref, size_t length)
{
	CHECK(ref.off <= length && ref.len <= length - ref.off);
}

static void check_head(const struct http1_head_parser *parser, const uint8_t *data)
{
	const struct head *head = &parser->head;
	const char *base = (const char *)data;
	CHECK(parser->length <= HEAD_BYTES_MAX && head->field_count <= HEAD_FIELDS_MAX);
	CHECK(!(head->is_chunked && head->has_length));
	check_ref(head->path, parser->length);
	check_ref(head->query, parser->length);
	CHECK(head->path.len > 0);
	for (uint32_t i = 0; i < head->field_count; i++) {
		check_ref(head->fields[i].name, parser->length);
		check_ref(head->fields[i].value, parser->length);
		CHECK(http1_is_token(text_at(base, head->fields[i].name)));
		CHECK(http1_is_field_value(text_at(base, head->fields[i].value)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) return 0;
	size_t step = data[0] ? data[0] : 1;
	struct parsed whole = feed(data + 1, size - 1, size), parts = feed(data + 1, size - 1, step);
	CHECK(whole.result == parts.result && whole.problem == parts.problem);
	CHECK(whole.head.length == parts.head.length);
	if (whole.head.length) check_head(&whole.head, data + 1);
	if (whole.result == HTTP1_DONE) {
		CHECK(whole.used == parts.used && whole.body_len == parts.body_len);
		CHECK(memcmp(whole.bytes, parts.bytes, whole.body_len) == 0);
	}
	free(whole.bytes);
	free(parts.bytes);
	return 0;
}
