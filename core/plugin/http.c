#include "plugin/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define WAIT_MAX_MS     60000
#define CONNECT_MAX_MS  10000
#define REQUEST_ARENA   ((size_t)18 << 20)
#define RETRY_AFTER_MAX INT64_C(86400) /* s */

struct request {
	struct request *next; /* waiting for its turn, or under way */
	struct http_client *client;
	cdpd_http_fn done;
	void *ctx;
	struct arena arena;
	struct str method, url, body, host;
	struct curl_slist *headers;
	bool is_once; /* never sent again by itself; GET and HEAD without a body may be */
	size_t sent;  /* of body, when is_once */
	size_t max_body;
	int64_t deadline_us;
	unsigned redirects;
	CURL *easy; /* NULL: it waits */
	int error;  /* that a callback found */
	char why[CURL_ERROR_SIZE];
	struct buf answer;
	struct cdpd_http_header answer_headers[HTTP_HEADERS_MAX];
	size_t answer_header_count, answer_header_bytes;
	struct arena answer_arena;
};

struct http_client {
	CURLM *multi;
	struct http_limits limits;
	struct http_tls *tls;                   /* NULL: none configured */
	struct request *waiting, **waiting_end; /* by the rate */
	struct request *running;
	size_t count, running_count;
	uint64_t ended;       /* requests so far */
	int64_t tokens_at_us; /* when the next request may start */
	bool is_ending;
	int watched_fd; /* -1: none */
	short watched_events;
	struct http_counts counts;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

int http_client_new(const struct http_limits *limits, struct http_client **out)
{
	*out = NULL;
	(void)pthread_once(&once, init_curl);
	struct http_client *client = calloc(1, sizeof *client);
	if (!client) return ERR_NOMEM;
	int rc = limits->tls ? http_tls_new(limits->name, limits->tls, &client->tls) : OK;
	client->multi = rc ? NULL : curl_multi_init();
	if (!client->multi) {
		http_tls_free(client->tls);
		free(client);
		return rc ? rc : ERR_NOMEM;
	}
	client->limits = *limits;
	client->watched_fd = -1;
	client->waiting_end = &client->waiting;
	uint32_t connections = limits->connections ? limits->connections : 8;
	(void)curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)connections);
	(void)curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)connections);
	*out = client;
	return OK;
}

/* ── one request ─────────────────────────────────────────────────────────── */

static void free_request(struct request *request)
{
	if (request->easy) curl_easy_cleanup(request->easy);
	curl_slist_free_all(request->headers);
	buf_fini(&request->answer);
	arena_fini(&request->arena);
	arena_fini(&request->answer_arena);
	request->client->count--;
	free(request);
}

static struct cdpd_str tell_why(const struct request *request, int error)
{
	static const char private[] = "the address is private and http.allow does not name it";
	if (error == CDPD_ERR_DENIED) return (struct cdpd_str){private, sizeof private - 1};
	return (struct cdpd_str){request->why, strlen(request->why)};
}

/* Exactly once for each request. */
static void finish(struct request *request, int error)
{
	struct http_client *client = request->client;
	struct cdpd_http_response response = {
	    .size = sizeof response, .error = error, .retry_after_ms = -1, .body = {"", 0}, .why = {"", 0}};
	if (request->easy) {
		long status = 0;
		curl_off_t after = 0;
		(void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
		if (error == CDPD_OK) response.status = (int)status;
		/* 0 is both "at once" and "not given". */
		if (curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
			response.retry_after_ms = (after < RETRY_AFTER_MAX ? after : RETRY_AFTER_MAX) * 1000;
	}
	if (error == CDPD_OK) {
		struct str body = buf_str(&request->answer);
		response.body = (struct cdpd_str){body.ptr, body.len};
		response.headers = request->answer_headers;
		response.header_count = request->answer_header_count;
	} else {
		client->counts.failures++;
		response.why = tell_why(request, error);
	}
	client->ended++;
	if (client->limits.enter) client->limits.enter(client->limits.ctx);
	request->done(request->ctx, &response);
	if (client->limits.leave) client->limits.leave(client->limits.ctx);
	free_request(request);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
	struct request *request = ctx;
	size_t len = size * count;
	if (request->answer.len + len > request->max_body) {
		request->error = CDPD_ERR_TOO_LARGE;
		return 0;
	}
	if (buf_append(&request->answer, bytes, len) == OK) return len;
	request->error = CDPD_ERR_NOMEM;
	return 0;
}

static void forget_answer(struct request *request)
{
	buf_clear(&request->answer);
	arena_reset(&request->answer_arena);
	request->answer_header_count = request->answer_header_bytes = 0;
}

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* What is too much is left out; only the first line of each answer (a redirect, 100) begins anew. */
static size_t take_header(char *bytes, size_t size, size_t count, void *ctx)
{
	struct request *request = ctx;
	struct str line = str_trim(str_of(bytes, size * count));
	if (str_starts(line, STR("HTTP/"))) forget_answer(request);
	const char *colon = memchr(line.ptr, ':', line.len);
	bool has_room = request->answer_header_count < HTTP_HEADERS_MAX &&
			request->answer_header_bytes + line.len <= HTTP_HEADER_BYTES;
	if (!colon || !has_room) return size * count;
	struct str name, value = str_trim(str_of(colon + 1, line.len - (size_t)(colon + 1 - line.ptr)));
	if (arena_str(&request->answer_arena, str_of(line.ptr, (size_t)(colon - line.ptr)), &name) ||
	    arena_str(&request->answer_arena, value, &value))
		return size * count;
	char *text = (char *)(uintptr_t)name.ptr; /* our own copy */
	for (size_t i = 0; i < name.len; i++) text[i] = lower(text[i]);
	request->answer_headers[request->answer_header_count++] =
	    (struct cdpd_http_header){{name.ptr, name.len}, {value.ptr, value.len}};
	request->answer_header_bytes += line.len;
	return size * count;
}

/* The address is the one that is connected to: nothing resolves again in between. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct request *request = ctx;
	(void)purpose;
	if (!http_guard_lets(request->client->limits.guard, request->host, &address->addr)) {
		request->error = CDPD_ERR_DENIED;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The host of a URL that one may ask; into the request's arena. */
static int take_url(struct request *request, const char *text)
{
	char *host = NULL, *scheme = NULL, *user = NULL, *whole = NULL;
	CURLU *url = curl_url();
	if (!url) return CDPD_ERR_NOMEM;
	int rc = CDPD_ERR_INVALID;
	bool is_url = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		      curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		      curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		      curl_url_get(url, CURLUPART_URL, &whole, 0) == CURLUE_OK;
	bool has_user = is_url && curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK;
	if (is_url && !has_user && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)) {
		rc = arena_str(&request->arena, str_from(host), &request->host);
		if (!rc) rc = arena_str(&request->arena, str_from(whole), &request->url);
		rc = rc ? CDPD_ERR_NOMEM : CDPD_OK;
	}
	curl_free(host);
	curl_free(scheme);
	curl_free(user);
	curl_free(whole);
	curl_url_cleanup(url);
	return rc;
}

/* A body that is read this way cannot be rewound, so that libcurl gives up instead of sending it again. */
static size_t give_body(char *to, size_t size, size_t count, void *ctx)
{
	struct request *request = ctx;
	size_t left = request->body.len - request->sent, len = size * count;
	if (len > left) len = left;
	memcpy(to, request->body.ptr + request->sent, len);
	request->sent += len;
	return len;
}

static void set_method(struct request *request)
{
	CURL *easy = request->easy;
	bool has_body = request->body.len > 0;
	if (str_eq(request->method, STR("GET")) && !has_body) return;
	if (str_eq(request->method, STR("HEAD"))) {
		(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
	/* Nothing to rewind: only what was kept open is tried again. */
	if (request->is_once && !has_body) (void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	if (request->is_once && has_body) {
		request->sent = 0;
		(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
		(void)curl_easy_setopt(easy, CURLOPT_READDATA, request);
		(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method.ptr);
		return;
	}
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.ptr);
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method.ptr);
}

/* The texts may be replaced while the request is under way: curl keeps copies. */
static void set_blob(CURL *easy, CURLoption option, struct str text)
{
	struct curl_blob blob = {.data = (void *)(uintptr_t)text.ptr, .len = text.len, .flags = CURL_BLOB_COPY};
	if (text.len) (void)curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, struct http_tls *tls)
{
	if (!tls) return;
	const struct http_tls_texts *texts = http_tls_get(tls);
	set_blob(easy, CURLOPT_CAINFO_BLOB, texts->ca);
	if (texts->ca.len) (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* the system's are not trusted then */
	set_blob(easy, CURLOPT_SSLCERT_BLOB, texts->certificate);
	set_blob(easy, CURLOPT_SSLKEY_BLOB, texts->key);
}

static int set_up(struct request *request)
{
	CURL *easy = request->easy;
	int64_t left = (request->deadline_us - clock_mono_us()) / US_PER_MS;
	if (left <= 0) return CDPD_ERR_TIMEOUT;
	curl_easy_reset(easy);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->why);
	(void)curl_easy_setopt(easy, CURLOPT_URL, request->url.ptr);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "cdpd");
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left < CONNECT_MAX_MS ? left : CONNECT_MAX_MS));
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, request);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
	set_tls(easy, request->client->tls);
	set_method(request);
	return CDPD_OK;
}

static void start(struct http_client *client, struct request *request)
{
	request->easy = curl_easy_init();
	int rc = request->easy ? set_up(request) : CDPD_ERR_NOMEM;
	if (!rc && curl_multi_add_handle(client->multi, request->easy) != CURLM_OK) rc = CDPD_ERR_NOMEM;
	if (rc) {
		finish(request, rc);
		return;
	}
	request->next = client->running;
	client->running = request;
	client->running_count++;
}

static void unlink_running(struct http_client *client, const struct request *request)
{
	struct request **at = &client->running;
	while (*at != request) at = &(*at)->next;
	*at = request->next;
	client->running_count--;
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static bool is_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				(c && strchr("!#$%&'*+-.^_`|~", c));
		if (!is_plain) return false;
	}
	return text.len > 0;
}

static bool has_breaks(struct str text)
{
	return memchr(text.ptr, '\r', text.len) || memchr(text.ptr, '\n', text.len) || memchr(text.ptr, 0, text.len);
}

static int take_headers(struct request *request, const struct cdpd_http_request *from)
{
	if (from->header_count > HTTP_HEADERS_MAX) return CDPD_ERR_TOO_LARGE;
	for (size_t i = 0; i < from->header_count; i++) {
		struct str line, name = str_of(from->headers[i].name.ptr, from->headers[i].name.len);
		struct str value = str_of(from->headers[i].value.ptr, from->headers[i].value.len);
		if (!is_token(name) || has_breaks(value)) return CDPD_ERR_INVALID;
		int rc = value.len ? arena_printf(&request->arena, &line, "%.*s: %.*s", STR_ARG(name), STR_ARG(value))
				   : arena_printf(&request->arena, &line, "%.*s;", STR_ARG(name));
		struct curl_slist *more = rc ? NULL : curl_slist_append(request->headers, line.ptr);
		if (!more) return CDPD_ERR_NOMEM;
		request->headers = more;
	}
	/* Who does not know `Expect: 100-continue` would let us wait for a second. */
	struct curl_slist *all = curl_slist_append(request->headers, "Expect:");
	if (!all) return CDPD_ERR_NOMEM;
	request->headers = all;
	return CDPD_OK;
}

static int take_request(struct request *request, const struct cdpd_http_request *from)
{
	struct str method = str_of(from->method.ptr, from->method.len), url = str_of(from->url.ptr, from->url.len);
	struct str body = str_of(from->body.ptr, from->body.len), copy;
	if (method.len == 0) method = STR("GET");
	if (!is_token(method) || has_breaks(url)) return CDPD_ERR_INVALID;
	if (method.len > 20 || url.len > 8192 || body.len > HTTP_REQUEST_MAX) return CDPD_ERR_TOO_LARGE;
	uint32_t timeout = from->timeout_ms ? from->timeout_ms : HTTP_TIMEOUT_MS;
	if (timeout > HTTP_TIMEOUT_MAX_MS) timeout = HTTP_TIMEOUT_MAX_MS;
	request->deadline_us = clock_mono_us() + timeout * US_PER_MS;
	request->max_body = from->max_body ? from->max_body : HTTP_BODY_DEFAULT;
	if (request->max_body > HTTP_BODY_MAX) request->max_body = HTTP_BODY_MAX;
	bool has_flags = from->size >= offsetof(struct cdpd_http_request, flags) + sizeof from->flags;
	request->is_once = has_flags && (from->flags & CDPD_HTTP_ONCE);
	if (arena_str(&request->arena, method, &request->method) || arena_str(&request->arena, body, &request->body) ||
	    arena_str(&request->arena, url, &copy))
		return CDPD_ERR_NOMEM;
	int rc = take_url(request, copy.ptr);
	return rc ? rc : take_headers(request, from);
}

int http_request(struct http_client *client, const struct cdpd_http_request *from, cdpd_http_fn done, void *ctx)
{
	if (!done || from->size < offsetof(struct cdpd_http_request, flags)) return CDPD_ERR_INVALID;
	if (client->is_ending) return CDPD_ERR_INVALID;
	if (client->count >= HTTP_REQUESTS_MAX) return CDPD_ERR_BUSY;
	struct request *request = calloc(1, sizeof *request);
	if (!request) return CDPD_ERR_NOMEM;
	client->count++;
	request->client = client;
	request->done = done;
	request->ctx = ctx;
	arena_init(&request->arena, 2048, REQUEST_ARENA);
	arena_init(&request->answer_arena, 2048, 4 * (size_t)HTTP_HEADER_BYTES);
	buf_init(&request->answer, HTTP_BODY_MAX);
	int rc = take_request(request, from);
	if (rc) {
		free_request(request);
		return rc;
	}
	client->counts.requests++;
	*client->waiting_end = request;
	client->waiting_end = &request->next;
	return CDPD_OK;
}

/* ── running ─────────────────────────────────────────────────────────────── */

static struct request *take_waiting(struct http_client *client)
{
	struct request *request = client->waiting;
	client->waiting = request->next;
	if (!client->waiting) client->waiting_end = &client->waiting;
	request->next = NULL;
	return request;
}

/* Those whose turn it is; a request that waits longer than its own time ends too. */
static void start_waiting(struct http_client *client)
{
	uint32_t rate = client->limits.requests_per_second;
	while (client->waiting) {
		int64_t now = clock_mono_us();
		bool is_late = client->waiting->deadline_us <= now;
		if (!is_late && rate && now < client->tokens_at_us) return;
		struct request *request = take_waiting(client);
		if (is_late) {
			finish(request, CDPD_ERR_TIMEOUT);
			continue;
		}
		/* A burst of a tenth of a second, then evenly. */
		int64_t oldest = now - US_PER_SECOND / 10;
		if (client->tokens_at_us < oldest) client->tokens_at_us = oldest;
		if (rate) client->tokens_at_us += US_PER_SECOND / rate;
		start(client, request);
	}
}

static bool is_redirect(const struct request *request)
{
	long status = 0;
	(void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	bool may = str_eq(request->method, STR("GET")) || str_eq(request->method, STR("HEAD"));
	return may && (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

/* Goes on at the new place. Another host gets none of the plugin's headers: they may hold its credentials. */
static int redirect(struct http_client *client, struct request *request)
{
	char *to = NULL;
	struct str before = request->host;
	if (curl_easy_getinfo(request->easy, CURLINFO_REDIRECT_URL, &to) != CURLE_OK || !to) return CDPD_ERR_NOT_FOUND;
	if (++request->redirects > HTTP_REDIRECTS) return CDPD_ERR_IO;
	bool was_tls = str_starts(request->url, STR("https:"));
	int rc = take_url(request, to);
	if (rc) return CDPD_ERR_DENIED;
	if (!str_eq_nocase(before, request->host) || (was_tls && !str_starts(request->url, STR("https:")))) {
		curl_slist_free_all(request->headers);
		request->headers = NULL;
	}
	(void)curl_multi_remove_handle(client->multi, request->easy);
	forget_answer(request);
	rc = set_up(request);
	if (rc) return rc;
	return curl_multi_add_handle(client->multi, request->easy) == CURLM_OK ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int error_of(const struct request *request, CURLcode code)
{
	if (request->error) return request->error;
	switch (code) {
	case CURLE_OK: return CDPD_OK;
	case CURLE_OPERATION_TIMEDOUT: return CDPD_ERR_TIMEOUT;
	case CURLE_OUT_OF_MEMORY: return CDPD_ERR_NOMEM;
	default: return CDPD_ERR_IO;
	}
}

static void settle(struct http_client *client, struct request *request, CURLcode code)
{
	int error = error_of(request, code);
	if (error == CDPD_ERR_DENIED) client->counts.refused++;
	if (error == CDPD_OK && is_redirect(request)) {
		error = redirect(client, request);
		if (error == CDPD_OK) return;
		if (error == CDPD_ERR_NOT_FOUND) error = CDPD_OK; /* without a place to go: an answer like others */
	}
	(void)curl_multi_remove_handle(client->multi, request->easy);
	unlink_running(client, request);
	finish(request, error);
}

static void take_answers(struct http_client *client)
{
	const CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
		char *private = NULL;
		if (message->msg != CURLMSG_DONE) continue;
		CURLcode code = message->data.result;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		settle(client, (struct request *)(void *)private, code);
	}
}

static int64_t next_turn(const struct http_client *client, int64_t until_us)
{
	if (!client->waiting) return until_us;
	int64_t next = client->tokens_at_us;
	if (client->waiting->deadline_us < next) next = client->waiting->deadline_us;
	return next < until_us ? next : until_us;
}

void http_wait(struct http_client *client, int64_t until_us)
{
	int running;
	uint64_t ended = client->ended;
	start_waiting(client);
	if (client->running) {
		(void)curl_multi_perform(client->multi, &running);
		take_answers(client);
		start_waiting(client);
	}
	if (client->ended != ended) return; /* who was told may have set a timer that is due before `until_us` */
	int64_t left_us = next_turn(client, until_us) - clock_mono_us();
	int64_t left_ms = left_us <= 0 ? 0 : left_us / US_PER_MS + 1;
	struct curl_waitfd watched = {.fd = client->watched_fd, .events = client->watched_events};
	(void)curl_multi_poll(client->multi, &watched, client->watched_fd >= 0,
			      (int)(left_ms < WAIT_MAX_MS ? left_ms : WAIT_MAX_MS), NULL);
	if (!client->running) return;
	(void)curl_multi_perform(client->multi, &running);
	take_answers(client);
}

void http_wake(struct http_client *client)
{
	(void)curl_multi_wakeup(client->multi);
}

void http_watch(struct http_client *client, int fd, bool also_written)
{
	client->watched_fd = fd;
	client->watched_events = also_written ? CURL_WAIT_POLLIN | CURL_WAIT_POLLOUT : CURL_WAIT_POLLIN;
}

size_t http_under_way(const struct http_client *client)
{
	return client->count;
}

struct http_counts http_counts(const struct http_client *client)
{
	return client->counts;
}

/* ── ending ──────────────────────────────────────────────────────────────── */

void http_client_cancel(struct http_client *client)
{
	client->is_ending = true;
	while (client->running) {
		struct request *request = client->running;
		(void)curl_multi_remove_handle(client->multi, request->easy);
		unlink_running(client, request);
		finish(request, CDPD_ERR_IO);
	}
	while (client->waiting) finish(take_waiting(client), CDPD_ERR_IO);
}

void http_client_free(struct http_client *client)
{
	if (!client) return;
	CHECK(client->count == 0);
	(void)curl_multi_cleanup(client->multi);
	http_tls_free(client->tls);
	free(client);
}
