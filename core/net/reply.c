/* http.h: answering. */
#include <stdio.h>

#include "base/log.h"
#include "net/cors.h"
#include "net/http1_scan.h"
#include "net/request.h"
#include "net/stats.h"
#include "net/worker.h"

static void check(const struct http_request *request)
{
	CHECK(request->magic == REQUEST_MAGIC && !request->is_answered);
}

void reply_add(struct http_request *request, struct str name, struct str value)
{
	CHECK(request->field_count < REPLY_FIELDS_MAX);
	request->fields[request->field_count++] = (struct reply_field){name, value};
}

bool reply_has(const struct http_request *request, struct str name)
{
	for (size_t i = 0; i < request->field_count; i++)
		if (str_eq_nocase(request->fields[i].name, name)) return true;
	return false;
}

/* A value with a line break in it would be a second header, or a second answer. */
void http_set_header(struct http_request *req, struct str name, struct str value)
{
	struct str name_copy, value_copy;
	check(req);
	if (!http1_is_token(name) || !http1_is_field_value(value)) {
		log_error(LOG_NET, "header %.*s not sent (its name or value holds a forbidden byte)", STR_ARG(name));
		return;
	}
	if (arena_str(&req->arena, name, &name_copy) != OK || arena_str(&req->arena, value, &value_copy) != OK) {
		log_error(LOG_NET, "header %.*s not sent (%s)", STR_ARG(name), status_str(ERR_NOMEM));
		return;
	}
	reply_add(req, name_copy, value_copy);
}

bool http_may_reply(const struct http_request *req, size_t len)
{
	return conn_may_queue(req->conn, len);
}

static bool must_refuse(const struct http_request *req, int status, size_t len)
{
	return status < 400 && http_method(req) != HTTP_HEAD && !http_may_reply(req, len);
}

void http_reply(struct http_request *req, int status, struct str content_type, struct str body)
{
	check(req);
	if (must_refuse(req, status, body.len)) {
		stats_refused(PROBLEM_OVERLOADED);
		http_reply_problem(req, PROBLEM_OVERLOADED, STR("too many large answers wait for clients to read them"),
				   STR_NONE);
		return;
	}
	cors_add_fields(req);
	stats_answered(status);
	req->carrier->reply(req, status, content_type, body);
}

void http_reply_problem(struct http_request *req, enum problem problem, struct str message, struct str pointer)
{
	const struct problem_info *info = problem_info(problem);
	struct buf *json = &req->conn->worker->scratch;
	char seconds[16];
	check(req);
	if (info->retry_after_s > 0 && !reply_has(req, STR("Retry-After"))) {
		(void)snprintf(seconds, sizeof seconds, "%d", info->retry_after_s);
		http_set_header(req, STR("Retry-After"), str_from(seconds));
	}
	buf_clear(json);
	if (problem_write_json(json, problem, message, pointer) != OK) {
		buf_clear(json);
		log_warn(LOG_NET, "answered %s without a body (its text is too long)", info->code);
	}
	http_reply(req, info->http_status, STR("application/json"), buf_str(json));
}

/* ── streams ─────────────────────────────────────────────────────────────── */

static void check_stream(const struct http_stream *stream)
{
	CHECK(stream->magic == STREAM_MAGIC);
}

struct http_stream *http_stream_begin(struct http_request *req, int status, struct str content_type,
				      const struct http_stream_events *events, void *ctx)
{
	check(req);
	cors_add_fields(req);
	stats_answered(status);
	req->stream = (struct http_stream){.magic = STREAM_MAGIC, .request = req, .events = *events, .ctx = ctx};
	return req->carrier->stream_begin(req, status, content_type);
}

int http_stream_write(struct http_stream *stream, struct str data)
{
	check_stream(stream);
	if (!stream->is_open) return ERR_CLOSED;
	return data.len ? stream->request->carrier->stream_write(stream, data) : OK;
}

size_t http_stream_room(const struct http_stream *stream)
{
	check_stream(stream);
	return stream->is_open ? stream->request->carrier->stream_room(stream) : 0;
}

void http_stream_end(struct http_stream *stream)
{
	check_stream(stream);
	if (stream->is_open) stream->request->carrier->stream_end(stream);
}
