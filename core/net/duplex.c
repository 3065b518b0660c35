/* http.h: duplex requests. */
#include "base/log.h"
#include "net/cors.h"
#include "net/http1_scan.h"
#include "net/request.h"
#include "net/stats.h"

static void check(const struct http_duplex *duplex)
{
	CHECK(duplex->magic == DUPLEX_MAGIC && duplex->is_open);
}

struct http_duplex *http_duplex_begin(struct http_request *req, const struct http_duplex_events *events, void *ctx)
{
	CHECK(req->magic == REQUEST_MAGIC && !req->is_answered && req->carrier->duplex_begin);
	req->duplex =
	    (struct http_duplex){.magic = DUPLEX_MAGIC, .is_open = true, .request = req, .events = *events, .ctx = ctx};
	req->on_abort = NULL;
	req->carrier->duplex_begin(req);
	return &req->duplex;
}

const struct http_request *http_duplex_request(const struct http_duplex *duplex)
{
	check(duplex);
	return duplex->request;
}

void http_duplex_consume(struct http_duplex *duplex, size_t len)
{
	check(duplex);
	if (len) duplex->request->carrier->duplex_consume(duplex, len);
}

void http_duplex_reply(struct http_duplex *duplex, int status, struct str content_type)
{
	check(duplex);
	CHECK(!duplex->has_replied);
	duplex->has_replied = true;
	cors_add_fields(duplex->request);
	stats_answered(status);
	duplex->request->carrier->duplex_reply(duplex, status, content_type);
}

int http_duplex_write(struct http_duplex *duplex, struct str data)
{
	check(duplex);
	CHECK(duplex->has_replied);
	return data.len ? duplex->request->carrier->duplex_write(duplex, data) : OK;
}

size_t http_duplex_room(const struct http_duplex *duplex)
{
	check(duplex);
	return duplex->request->carrier->duplex_room(duplex);
}

/* A copy that lives as long as the request; NULL: no memory. What cannot be a field is left out: it would break the answer. */
static const struct http_trailer *copy_trailers(struct arena *arena, const struct http_trailer *trailers, size_t *count)
{
	struct http_trailer *copy = arena_array(arena, struct http_trailer, *count + 1);
	size_t n = 0;
	for (size_t i = 0; copy && i < *count; i++) {
		if (!http1_is_token(trailers[i].name) || !http1_is_field_value(trailers[i].value)) {
			log_error(LOG_NET, "trailer %.*s not sent (its name or value holds a forbidden byte)",
				  STR_ARG(trailers[i].name));
			continue;
		}
		if (arena_str(arena, trailers[i].name, &copy[n].name) != OK ||
		    arena_str(arena, trailers[i].value, &copy[n].value) != OK)
			return NULL;
		n++;
	}
	*count = n;
	return copy;
}

void http_duplex_end(struct http_duplex *duplex, struct str content_type, const struct http_trailer *trailers,
		     size_t count)
{
	struct http_request *request = duplex->request;
	check(duplex);
	CHECK(count <= HTTP_TRAILERS_MAX);
	const struct http_trailer *copy = copy_trailers(&request->arena, trailers, &count);
	if (!copy) {
		http_duplex_reset(duplex);
		return;
	}
	duplex->is_open = false;
	if (!duplex->has_replied) {
		cors_add_fields(request);
		stats_answered(200);
	}
	request->carrier->duplex_end(duplex, content_type, copy, count);
}

void http_duplex_reset(struct http_duplex *duplex)
{
	check(duplex);
	duplex->is_open = false;
	duplex->request->carrier->duplex_reset(duplex);
}
