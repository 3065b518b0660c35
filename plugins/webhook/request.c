/* One request: body, headers, signature. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "webhook.h"

static const struct cdpd_record *record_at(const struct request *request, size_t i)
{
	const struct delivery *d = request->delivery;
	return &d->records[d->order[request->items[i]]];
}

/* The same whenever the same records go out together, in whatever attempt: the other side knows them again. */
static bool name_request(const struct webhook *self, struct request *request)
{
	char digest[SIGNATURE_DIGEST_SIZE];
	if (self->format == BODY_RECORD) {
		struct cdpd_str id = record_at(request, 0)->delivery_id;
		int len = snprintf(request->id, sizeof request->id, "%.*s", (int)id.len, id.ptr);
		return len > 0 && (size_t)len < sizeof request->id;
	}
	writer_clear(&request->ids);
	for (size_t i = 0; i < request->count; i++) {
		writer_str(&request->ids, record_at(request, i)->delivery_id);
		writer_text(&request->ids, "\n");
	}
	if (request->ids.is_short || !signature_digest(writer_get(&request->ids), digest)) return false;
	snprintf(request->id, sizeof request->id, "batch_%s", digest);
	return true;
}

static bool make_body(const struct webhook *self, struct request *request)
{
	writer_clear(&request->body);
	body_begin(&request->body, self->format, writer_of(request->id));
	for (size_t i = 0; i < request->count; i++)
		body_add(&request->body, self->format, self->has_ids, record_at(request, i));
	body_end(&request->body, self->format);
	return !request->body.is_short;
}

static void add_header(struct request *request, const char *name, struct cdpd_str value)
{
	request->headers[request->call.request.header_count++] = (struct cdpd_http_header){writer_of(name), value};
}

/* Signed is the body before gzip: that is what servers hand to those who verify. */
static bool sign(const struct webhook *self, struct request *request)
{
	writer_clear(&request->signature);
	if (!self->keys) return true;
	return signature_write(self->keys, writer_of(request->id), writer_of(request->timestamp),
			       writer_get(&request->body), &request->signature);
}

static void make_headers(const struct webhook *self, struct request *request, bool is_packed)
{
	request->call.request.header_count = 0;
	if (!self->has_type) add_header(request, "content-type", writer_of(body_type(self->format)));
	if (is_packed) add_header(request, "content-encoding", writer_of("gzip"));
	add_header(request, "webhook-id", writer_of(request->id));
	add_header(request, "webhook-timestamp", writer_of(request->timestamp));
	if (self->keys) add_header(request, "webhook-signature", writer_get(&request->signature));
}

static void on_answer(struct outgoing_call *call, const struct cdpd_http_response *response)
{
	struct request *request = call->ctx;
	const struct webhook *self = request->delivery->owner;
	self->host->observe_us(self->instance, self->seconds_metric, (outgoing_now_ms() - request->started_ms) * 1000);
	delivery_answered(request, response);
}

bool request_send(struct request *request)
{
	const struct webhook *self = request->delivery->owner;
	if (!name_request(self, request) || !make_body(self, request)) return false;
	snprintf(request->timestamp, sizeof request->timestamp, "%lld", (long long)time(NULL));
	if (!sign(self, request)) return false;
	bool is_packed = self->gzip && request->body.len >= self->gzip_from;
	writer_clear(&request->packed);
	if (is_packed && !body_compress(self->gzip, writer_get(&request->body), &request->packed)) return false;
	struct cdpd_str body = writer_get(is_packed ? &request->packed : &request->body);
	request->call = (struct outgoing_call){
	    .request = {.size = sizeof request->call.request,
			.timeout_ms = self->timeout_ms,
			.method = writer_of(self->method),
			.url = writer_of(self->url),
			.body = body,
			.headers = request->headers},
	    .until_ms = request->delivery->until_ms,
	    .done = on_answer,
	    .ctx = request,
	};
	make_headers(self, request, is_packed);
	request->started_ms = outgoing_now_ms();
	self->host->count(self->instance, self->requests_metric, 1);
	self->host->count(self->instance, self->bytes_metric, body.len);
	outgoing_send(self->outgoing, &request->call);
	return true;
}

void request_free(struct request *request)
{
	free(request->items);
	writer_free(&request->body);
	writer_free(&request->packed);
	writer_free(&request->signature);
	writer_free(&request->ids);
}
