#include "net/cors.h"

#include "net/worker.h"

#define EXPOSED "Retry-After, X-Cdpd-Position, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
/* What the known SDKs send, for a preflight that does not say. */
#define USUAL_HEADERS \
	"authorization, content-type, x-write-key, x-ip-policy, x-enable-debug, x-retry-count, anonymousid, sentat, " \
	"rsa-retry-attempt, rsa-retry-reason, rsa-since-first-attempt, rsa-since-last-attempt, sp-anonymous"

static enum cors_class class_of(const struct http_request *request)
{
	return request->match.route ? request->match.route->cors : request->match.cors;
}

static struct str origin_of(const struct http_request *request)
{
	return head_value(request->head, request->base, HEAD_ORIGIN);
}

static bool is_allowed(const struct http_request *request, struct str origin)
{
	if (origin.len == 0) return false;
	return class_of(request) == CORS_INGEST || settings_allows_origin(request->conn->worker->settings, origin);
}

/* The origin is echoed: "*" would shut out pages that send credentials. */
void cors_add_fields(struct http_request *request)
{
	if (class_of(request) == CORS_NONE) return;
	struct str origin = origin_of(request);
	reply_add(request, STR("Vary"), STR("Origin"));
	if (!is_allowed(request, origin)) return;
	reply_add(request, STR("Access-Control-Allow-Origin"), origin);
	reply_add(request, STR("Access-Control-Allow-Credentials"), STR("true"));
	reply_add(request, STR("Access-Control-Expose-Headers"), STR(EXPOSED));
}

bool cors_preflight(struct http_request *request)
{
	struct str origin = origin_of(request), method, headers;
	enum cors_class class = class_of(request);
	if (class == CORS_NONE || origin.len == 0) return false;
	if (!head_find(request->head, request->base, STR("Access-Control-Request-Method"), &method)) return false;
	if (!head_find(request->head, request->base, STR("Access-Control-Request-Headers"), &headers) || !headers.len)
		headers = STR(USUAL_HEADERS);
	if (is_allowed(request, origin)) {
		bool is_ingest = class == CORS_INGEST;
		reply_add(request, STR("Access-Control-Allow-Methods"),
			  is_ingest ? STR("GET, POST, OPTIONS") : STR("GET, POST, PUT, OPTIONS"));
		reply_add(request, STR("Access-Control-Allow-Headers"), headers);
		reply_add(request, STR("Access-Control-Max-Age"), STR("7200"));
	}
	http_reply(request, 204, STR_NONE, STR_NONE);
	return true;
}
