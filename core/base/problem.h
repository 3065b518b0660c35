/* problem: everything cdpd can say no with. One table maps each code to its HTTP status, its gRPC
 * status, and whether retrying can help; it is the only source of all three. docs/http-api.md lists it. */
#pragma once

#include "base/buf.h"

/* name, HTTP status, gRPC status, retry (seconds to advise; 0: do not retry), text */
#define PROBLEM_TABLE(X) \
	X(NONE, "ok", 200, 0, 0, "ok") \
	X(INVALID_JSON, "invalid_json", 400, 3, 0, "the body is not valid JSON") \
	X(INVALID_BODY, "invalid_body", 400, 3, 0, "the body cannot be read") \
	X(INVALID_REQUEST, "invalid_request", 400, 3, 0, "the request is malformed") \
	X(INVALID_PARAMETER, "invalid_parameter", 400, 3, 0, "a parameter is malformed or out of range") \
	X(MISSING_IDENTITY, "missing_identity", 400, 3, 0, "the event names nobody: give userId or anonymousId") \
	X(INVALID_IDENTIFIER, "invalid_identifier", 400, 3, 0, "an identifier is too long or malformed") \
	X(UNKNOWN_TYPE, "unknown_type", 400, 3, 0, "the event type is not known") \
	X(BAD_TIMESTAMP, "bad_timestamp", 400, 3, 0, "a timestamp cannot be read or lies outside 1970-2100") \
	X(SCHEMA_VIOLATION, "schema_violation", 400, 3, 0, "a field has the wrong type or is missing") \
	X(TOO_LARGE, "too_large", 413, 8, 0, "a size limit was passed") \
	X(URI_TOO_LONG, "uri_too_long", 414, 8, 0, "the request line is too long") \
	X(HEADERS_TOO_LARGE, "headers_too_large", 431, 8, 0, "the header block is too large") \
	X(UNSUPPORTED_ENCODING, "unsupported_encoding", 415, 12, 0, "the content encoding is not supported") \
	X(UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, 12, 0, "the content type is not supported") \
	X(UNKNOWN_KEY, "unknown_key", 401, 16, 0, "the write key is not known") \
	X(UNAUTHORIZED, "unauthorized", 401, 16, 0, "a valid token is required") \
	X(FORBIDDEN, "forbidden", 403, 7, 0, "this key or token may not do that") \
	X(NOT_FOUND, "not_found", 404, 5, 0, "there is nothing here") \
	X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, 12, 0, "the method is not allowed here") \
	X(REQUEST_TIMEOUT, "request_timeout", 408, 4, 1, "the request did not arrive in time") \
	X(GONE, "gone", 410, 11, 0, "the position is behind retention or from another store") \
	X(RATE_LIMITED, "rate_limited", 429, 8, 1, "the limit of this key or address is reached") \
	X(OVERLOADED, "overloaded", 429, 8, 1, "the journal's queue is full") \
	X(NOT_DURABLE, "not_durable", 503, 14, 2, "the events could not be made durable") \
	X(NOT_YET_APPLIED, "not_yet_applied", 503, 14, 1, "the fold has not passed that position yet") \
	X(SHUTTING_DOWN, "shutting_down", 503, 14, 1, "the daemon is shutting down") \
	X(HTTP2_REQUIRED, "http2_required", 505, 12, 0, "this path is spoken to over HTTP/2 only") \
	X(EXPECTATION_FAILED, "expectation_failed", 417, 9, 0, "only 100-continue may be expected") \
	X(ENRICHER_DROPPED, "enricher_dropped", 400, 9, 0, "an enricher dropped the event") \
	X(UNKNOWN_PURPOSE, "unknown_purpose", 404, 5, 0, "no such purpose is configured under consent.purposes") \
	X(UNKNOWN_CHANNEL, "unknown_channel", 404, 5, 0, "the purpose has no such channel") \
	X(INVALID_TOKEN, "invalid_token", 401, 16, 0, "the person token is not one of ours, or was changed") \
	X(TOKEN_EXPIRED, "token_expired", 410, 9, 0, "the person token has expired: ask for a new link") \
	X(TOKEN_USED, "token_used", 409, 6, 0, "the person token was for one use and has been used") \
	X(UNIQUE_CONFLICT, "unique_conflict", 409, 9, 0, "both have an identifier of which a person has one") \
	X(NAMESPACE_LIMIT, "namespace_limit", 409, 9, 0, "together they have too many identifiers of one namespace") \
	X(TOO_MANY_FRAGMENTS, "too_many_fragments", 409, 9, 0, "together they have too many identifiers") \
	X(BLOCKED_VALUE, "blocked_value", 409, 9, 0, "the identifier's value is blocked, it names nobody") \
	X(CANNOT_LINK, "cannot_link", 409, 9, 0, "identifiers of the two were unmerged from each other") \
	X(NOT_JOINED, "not_joined", 409, 9, 0, "the two are not one person") \
	X(TOO_ENTANGLED, "too_entangled", 409, 9, 0, "too many links hang together to be decided again at once") \
	X(TOO_MANY_ACTS, "too_many_acts", 409, 9, 0, "the identifier's history of merges and unmerges is full") \
	X(FORM_IN_CONFIG, "form_in_config", 409, 9, 0, \
	  "the configuration defines a form of that name: change it there") \
	X(TAKEN_OVER, "taken_over", 409, 10, 0, "another consumer has taken the subscription over") \
	X(SUBSCRIPTION_CHANGED, "subscription_changed", 409, 10, 0, "the subscription was changed: subscribe again") \
	X(SOURCE_UNAVAILABLE, "source_unavailable", 503, 14, 1, "the source's plugin does not answer") \
	X(INTERNAL, "internal", 500, 13, 1, "an internal error; it is in the log")

enum problem {
#define X(id, code, http, grpc, retry, text) PROBLEM_##id,
	PROBLEM_TABLE(X)
#undef X
	    PROBLEM_COUNT
};

struct problem_info {
	const char *code;
	int http_status, grpc_status;
	int retry_after_s;
	const char *text;
};
const struct problem_info *problem_info(enum problem problem); /* never NULL */
bool problem_from_code(struct str code, enum problem *out);

/* The error body of every face: {"ok":false,"code","message","pointer","error":{…the same three}}.
 * `message` empty: the table's text. `pointer` is a JSON pointer into the request, or empty. */
MUST_USE int problem_write_json(struct buf *out, enum problem problem, struct str message, struct str pointer);
