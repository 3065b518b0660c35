/* http: the HTTP client that plugins ask through, one for each instance, on the instance's own thread; the only file that knows libcurl.
 * It is also what that thread waits on. Nothing here blocks but http_wait.
 *
 * Redirects are followed at most HTTP_REDIRECTS times, each judged by the guard; nothing of the environment (proxies, .netrc) is used. */
#pragma once

#include "base/arena.h"
#include "cdpd_plugin.h"
#include "plugin/http_guard.h"
#include "plugin/http_tls.h"

struct http_client;

#define HTTP_TIMEOUT_MS     10000 /* when the request says nothing */
#define HTTP_TIMEOUT_MAX_MS 300000
#define HTTP_BODY_DEFAULT   ((size_t)1 << 20)
#define HTTP_BODY_MAX       ((size_t)64 << 20)
#define HTTP_REQUEST_MAX    ((size_t)16 << 20) /* of a request's body */
#define HTTP_REQUESTS_MAX   1024               /* of one instance, waiting ones included */
#define HTTP_HEADERS_MAX    64                 /* of a request, and of an answer */
#define HTTP_HEADER_BYTES   32768
#define HTTP_REDIRECTS      3

struct http_limits {
	const struct http_guard *guard;                /* outlives the client */
	uint32_t connections, requests_per_second;     /* 0: no limit */
	struct str name;                               /* of the instance, for the log */
	const struct conf_http_tls *tls;               /* outlives the client; NULL: none */
	void (*enter)(void *ctx), (*leave)(void *ctx); /* around calls into the plugin; may be NULL */
	void *ctx;
};

struct http_counts {                          /* since the client was made */
	uint64_t requests, failures, refused; /* refused: by the guard */
};

/* ERR_INVALID: a file of limits->tls, the cause is logged. */
MUST_USE int http_client_new(const struct http_limits *limits, struct http_client **out);
/* Requests under way end with CDPD_ERR_IO; new ones are refused from here on. On the owner's thread, before the instance's destroy. */
void http_client_cancel(struct http_client *client);
void http_client_free(struct http_client *client); /* after http_client_cancel; NULL is fine */
/* As the SDK's `http`. Owner's thread. */
int http_request(struct http_client *client, const struct cdpd_http_request *request, cdpd_http_fn done, void *ctx);
/* Waits until `until_us` (clock_mono_us), an answer or http_wake; runs what has come. Owner's thread. */
void http_wait(struct http_client *client, int64_t until_us);
void http_wake(struct http_client *client); /* any thread */
/* http_wait ends too when `fd` can be read, or written if `also_written`. -1: no more. Owner's thread. */
void http_watch(struct http_client *client, int fd, bool also_written);
size_t http_under_way(const struct http_client *client);
struct http_counts http_counts(const struct http_client *client);
