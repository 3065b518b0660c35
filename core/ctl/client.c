#include "ctl/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

#define BODY_MAX          (64u << 20)
#define LINE_MAX_BYTES    (8u << 20)
#define CONNECT_TIMEOUT_S 5L
#define ANSWER_TIMEOUT_S  60L

struct client {
	CURL *curl;
	struct curl_slist *headers;
	struct client_options options;
	const char *socket; /* of a unix: URL */
	bool is_admin_path; /* of the request in progress */
	char error[CURL_ERROR_SIZE];
};

struct stream {
	struct client *client;
	struct buf line, event, data;
	struct buf *refusal; /* the body of an answer that is no stream */
	int (*fn)(void *ctx, struct str event, struct str data);
	void *ctx;
	bool is_stopped, has_begun;
};

static int set_headers(struct client *client)
{
	struct buf text;
	if (!client->options.token) return OK;
	buf_init(&text, 8192);
	int rc = buf_printf(&text, "Authorization: Bearer %s", client->options.token);
	if (rc == OK) rc = buf_putc(&text, '\0');
	if (rc == OK) client->headers = curl_slist_append(NULL, buf_ptr(&text));
	buf_fini(&text);
	return rc == OK && client->headers ? OK : ERR_NOMEM;
}

int client_new(const struct client_options *options, struct client **out)
{
	struct client *client = calloc(1, sizeof *client);
	if (!client) return ERR_NOMEM;
	client->options = *options;
	if (strncmp(options->url, "unix:", 5) == 0) client->socket = options->url + 5;
	client->curl = curl_easy_init();
	if (!client->curl || set_headers(client) != OK) {
		client_free(client);
		return ERR_NOMEM;
	}
	*out = client;
	return OK;
}

void client_free(struct client *client)
{
	if (!client) return;
	curl_slist_free_all(client->headers);
	if (client->curl) curl_easy_cleanup(client->curl);
	free(client);
}

char *client_escape(struct client *client, const char *text)
{
	char *escaped = curl_easy_escape(client->curl, text, 0);
	char *copy = escaped ? strdup(escaped) : NULL;
	curl_free(escaped);
	return copy;
}

/* ── what went wrong ─────────────────────────────────────────────────────── */

static enum ctl_exit complain_unreachable(const struct client *client, CURLcode code)
{
	const char *why = client->error[0] ? client->error : curl_easy_strerror(code);
	(void)fprintf(
	    stderr,
	    "cdpctl: no answer from cdpd at %s: %s\n"
	    "  Is it running?        systemctl status cdpd, or: cdpd -c conf/quickstart.yaml\n"
	    "  Is that its address?  it prints 'listens on …' when it starts; give it with --url or CDPD_URL\n",
	    client->options.url, why);
	return CTL_UNREACHABLE;
}

static void print_message(struct buf *body)
{
	struct json_reader *reader = NULL;
	struct json root, member;
	struct str message = STR_NONE;
	const char *why;
	if (json_reader_new(&reader) == OK && json_parse(reader, buf_str(body), &root, &why) == OK &&
	    json_get(root, STR("message"), &member) && json_str(member, &message))
		(void)fprintf(stderr, ": %.*s", STR_ARG(message));
	(void)fputc('\n', stderr);
	json_reader_free(reader);
}

static enum ctl_exit complain_refused(const struct client *client, long status, struct buf *body)
{
	(void)fprintf(stderr, "cdpctl: cdpd answered %ld", status);
	print_message(body);
	if (status == 401 && !client->options.token)
		(void)fputs("  No token was sent: give one with --token, --token-file or CDPD_TOKEN.\n", stderr);
	else if (status == 401 || status == 403)
		(void)fprintf(stderr,
			      "  The token came from %s; its name and scopes stand in the daemon's tokens file.\n",
			      client->options.token_origin);
	if (status == 404 && client->is_admin_path)
		(void)fputs("  (Admin routes are only served on admin listeners, by default those on loopback.)\n",
			    stderr);
	if (status == 401 || status == 403) return CTL_DENIED;
	return status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
}

static enum ctl_exit judge(struct client *client, CURLcode code, struct buf *body)
{
	long status = 0;
	if (code == CURLE_WRITE_ERROR) {
		(void)fputs("cdpctl: the answer is too large\n", stderr);
		return CTL_FAILED;
	}
	if (code != CURLE_OK) return complain_unreachable(client, code);
	(void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300 ? CTL_OK : complain_refused(client, status, body);
}

/* ── requests ────────────────────────────────────────────────────────────── */

static int set_url(struct client *client, const char *path)
{
	struct buf text;
	buf_init(&text, 64 << 10);
	const char *base = client->socket ? "http://localhost" : client->options.url;
	size_t len = strlen(base);
	while (len && base[len - 1] == '/') len--;
	int rc = buf_append(&text, base, len);
	if (rc == OK) rc = buf_append(&text, path, strlen(path) + 1);
	if (rc == OK && curl_easy_setopt(client->curl, CURLOPT_URL, buf_ptr(&text)) != CURLE_OK) rc = ERR_NOMEM;
	buf_fini(&text);
	return rc;
}

static int prepare(struct client *client, const char *path, curl_write_callback fn, void *ctx)
{
	CURL *curl = client->curl;
	client->error[0] = '\0';
	client->is_admin_path = strncmp(path, "/v1/admin/", 10) == 0;
	curl_easy_reset(curl);
	(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->error);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "cdpctl");
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, fn);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, ctx);
	if (client->socket) (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	return set_url(client, path);
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	return buf_append(ctx, data, size * count) == OK ? size * count : 0;
}

/* `sent`: the body; NULL: a GET. */
static enum ctl_exit perform(struct client *client, const char *method, const char *path, const struct str *sent,
			     struct buf *body)
{
	buf_clear(body);
	if (prepare(client, path, on_body, body) != OK) {
		(void)fputs("cdpctl: out of memory\n", stderr);
		return CTL_FAILED;
	}
	(void)curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, ANSWER_TIMEOUT_S);
	if (sent) {
		(void)curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, (long)sent->len);
		(void)curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, sent->ptr);
		(void)curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
	}
	CURLcode code = curl_easy_perform(client->curl);
	return judge(client, code, body);
}

enum ctl_exit client_get(struct client *client, const char *path, struct buf *body)
{
	return perform(client, "GET", path, NULL, body);
}

enum ctl_exit client_request(struct client *client, const char *method, const char *path, struct buf *body)
{
	const struct str nothing = STR_NONE;
	return perform(client, method, path, &nothing, body);
}

enum ctl_exit client_post(struct client *client, const char *path, struct buf *body)
{
	return client_request(client, "POST", path, body);
}

enum ctl_exit client_send_json(struct client *client, const char *method, const char *path, struct str json,
			       struct buf *body)
{
	return perform(client, method, path, &json, body);
}

enum ctl_exit client_post_json(struct client *client, const char *path, struct str json, struct buf *body)
{
	return client_send_json(client, "POST", path, json, body);
}

struct saving {
	struct client *client;
	FILE *out;
	struct buf *refusal;
};

static size_t on_saved(char *data, size_t size, size_t count, void *ctx)
{
	struct saving *saving = ctx;
	long status = 0;
	(void)curl_easy_getinfo(saving->client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status >= 300) return on_body(data, size, count, saving->refusal);
	return fwrite(data, 1, size * count, saving->out) == size * count ? size * count : 0;
}

enum ctl_exit client_save(struct client *client, const char *path, FILE *out, struct buf *body)
{
	struct saving saving = {client, out, body};
	buf_clear(body);
	if (prepare(client, path, on_saved, &saving) != OK) {
		(void)fputs("cdpctl: out of memory\n", stderr);
		return CTL_FAILED;
	}
	CURLcode code = curl_easy_perform(client->curl);
	if (code == CURLE_WRITE_ERROR && ferror(out)) {
		(void)fputs("cdpctl: the output cannot be written\n", stderr);
		return CTL_FAILED;
	}
	return judge(client, code, body);
}

/* ── streams ─────────────────────────────────────────────────────────────── */

static int end_event(struct stream *stream)
{
	int stop = stream->data.len ? stream->fn(stream->ctx, buf_str(&stream->event), buf_str(&stream->data)) : 0;
	buf_clear(&stream->event);
	buf_clear(&stream->data);
	return stop;
}

static int on_line(struct stream *stream, struct str line)
{
	if (!line.len) return end_event(stream);
	if (str_starts(line, STR("event: "))) return buf_append(&stream->event, line.ptr + 7, line.len - 7);
	if (str_starts(line, STR("data: "))) return buf_append(&stream->data, line.ptr + 6, line.len - 6);
	return 0; /* comments, ids */
}

static bool is_refusal(struct stream *stream)
{
	long status = 0;
	(void)curl_easy_getinfo(stream->client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status < 200 || status >= 300;
}

static size_t on_stream(char *data, size_t size, size_t count, void *ctx)
{
	struct stream *stream = ctx;
	size_t len = size * count;
	if (is_refusal(stream)) return on_body(data, size, count, stream->refusal);
	stream->has_begun = true;
	if (buf_append(&stream->line, data, len) != OK) return 0;
	const char *end;
	while ((end = memchr(buf_ptr(&stream->line), '\n', stream->line.len))) {
		size_t line_len = (size_t)(end - buf_ptr(&stream->line));
		if (on_line(stream, str_of(buf_ptr(&stream->line), line_len)) != 0) {
			stream->is_stopped = true;
			return 0;
		}
		buf_consume(&stream->line, line_len + 1);
	}
	return len;
}

static enum ctl_exit judge_stream(struct stream *stream, CURLcode code)
{
	if (code == CURLE_OK || code == CURLE_WRITE_ERROR || !stream->has_begun)
		return judge(stream->client, code, stream->refusal);
	(void)fprintf(stderr, "cdpctl: the stream broke off: %s\n", curl_easy_strerror(code));
	return CTL_UNREACHABLE;
}

enum ctl_exit client_stream(struct client *client, const char *path,
			    int (*fn)(void *ctx, struct str event, struct str data), void *ctx)
{
	struct buf refusal;
	struct stream stream = {.client = client, .refusal = &refusal, .fn = fn, .ctx = ctx};
	buf_init(&refusal, BODY_MAX);
	buf_init(&stream.line, LINE_MAX_BYTES);
	buf_init(&stream.event, 256);
	buf_init(&stream.data, LINE_MAX_BYTES);
	enum ctl_exit result = CTL_FAILED;
	if (prepare(client, path, on_stream, &stream) == OK) {
		CURLcode code = curl_easy_perform(client->curl);
		result = stream.is_stopped ? CTL_OK : judge_stream(&stream, code);
	}
	buf_fini(&stream.data);
	buf_fini(&stream.event);
	buf_fini(&stream.line);
	buf_fini(&refusal);
	return result;
}
