#include "outgoing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "writer.h"

#define CALL_HEADERS_MAX 16 /* of one call */

enum auth { AUTH_NONE, AUTH_FIXED, AUTH_OAUTH2 };

struct outgoing {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	enum auth auth;
	char *fixed; /* the authorization header */
	char *names[OUTGOING_HEADERS_MAX], *values[OUTGOING_HEADERS_MAX];
	size_t header_count, secrets_from; /* those behind are secret */
	char *password;                    /* of auth: basic */
	char *token_url, *client_id, *client_secret, *scope, *audience, *refresh_token, *redirect_uri;
	struct oauth2 *oauth2;
};

int64_t outgoing_now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ── one call ────────────────────────────────────────────────────────────── */

static void finish(struct outgoing_call *call, const struct cdpd_http_response *response)
{
	free(call->token);
	call->token = NULL;
	call->done(call, response);
}

static void fail(struct outgoing_call *call, int error, const char *why, int64_t retry_after_ms)
{
	const struct cdpd_http_response response = {
	    .size = sizeof response,
	    .error = error,
	    .retry_after_ms = retry_after_ms > 0 ? retry_after_ms : -1,
	    .body = {"", 0},
	    .why = writer_of(why),
	};
	finish(call, &response);
}

static void ask_token(struct outgoing_call *call)
{
	oauth2_ask(call->owner->oauth2, &call->wait);
}

static void on_response(void *ctx, const struct cdpd_http_response *response)
{
	struct outgoing_call *call = ctx;
	bool may_retry = call->token && !call->is_second && response->error == CDPD_OK && response->status == 401;
	if (!may_retry) {
		finish(call, response);
		return;
	}
	call->is_second = true;
	oauth2_refused(call->owner->oauth2, call->token);
	free(call->token);
	call->token = NULL;
	ask_token(call);
}

static bool limit_time(const struct outgoing_call *call, uint32_t *timeout_ms)
{
	if (!call->until_ms) return true;
	int64_t left = call->until_ms - outgoing_now_ms();
	if (left <= 0) return false;
	if (*timeout_ms == 0 || left < *timeout_ms) *timeout_ms = (uint32_t)left;
	return true;
}

static void send_with(struct outgoing_call *call, const char *authorization)
{
	struct outgoing *o = call->owner;
	struct cdpd_http_header headers[OUTGOING_HEADERS_MAX + CALL_HEADERS_MAX + 1];
	struct cdpd_http_request request = call->request;
	size_t count = 0;
	for (size_t i = 0; i < o->header_count; i++)
		headers[count++] = (struct cdpd_http_header){writer_of(o->names[i]), writer_of(o->values[i])};
	for (size_t i = 0; i < call->request.header_count && i < CALL_HEADERS_MAX; i++)
		headers[count++] = call->request.headers[i];
	if (authorization)
		headers[count++] = (struct cdpd_http_header){writer_of("authorization"), writer_of(authorization)};
	request.headers = headers;
	request.header_count = count;
	int rc = CDPD_ERR_TIMEOUT;
	if (limit_time(call, &request.timeout_ms)) rc = o->host->http(o->instance, &request, on_response, call);
	if (rc != CDPD_OK) fail(call, rc, "", 0);
}

static void on_token(struct oauth2_wait *wait, const char *token, const char *why, int64_t retry_after_ms)
{
	struct outgoing_call *call =
	    (struct outgoing_call *)(void *)((char *)wait - offsetof(struct outgoing_call, wait));
	if (!token) {
		fail(call, CDPD_ERR_IO, why, retry_after_ms);
		return;
	}
	struct writer header = {0};
	writer_text(&header, "Bearer ");
	writer_text(&header, token);
	writer_put(&header, "", 1);
	call->token = strdup(token);
	if (!call->token || header.is_short)
		fail(call, CDPD_ERR_NOMEM, "", 0);
	else
		send_with(call, header.ptr);
	writer_free(&header);
}

void outgoing_send(struct outgoing *o, struct outgoing_call *call)
{
	call->owner = o;
	call->token = NULL;
	call->is_second = false;
	call->wait = (struct oauth2_wait){.done = on_token};
	if (o->auth == AUTH_OAUTH2)
		ask_token(call);
	else
		send_with(call, o->fixed);
}

bool outgoing_has(const struct outgoing *o, const char *name)
{
	for (size_t i = 0; i < o->header_count; i++)
		if (strcasecmp(o->names[i], name) == 0) return true;
	return false;
}

void outgoing_hide(const struct outgoing *o, char *text)
{
	const char *credentials = o->fixed ? strchr(o->fixed, ' ') : NULL;
	writer_hide(text, credentials ? credentials + 1 : NULL);
	writer_hide(text, o->password);
	for (size_t i = o->secrets_from; i < o->header_count; i++) writer_hide(text, o->values[i]);
	if (o->oauth2) oauth2_hide(o->oauth2, text);
}

/* ── the configuration ───────────────────────────────────────────────────── */

static int complain(const struct outgoing *o, const char *option, const char *what)
{
	o->host->log(o->instance, CDPD_LOG_ERROR, "%s: %s", option, what);
	return CDPD_ERR_INVALID;
}

static bool has_control(struct cdpd_str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f) return true;
	return false;
}

const char *outgoing_check_url(struct cdpd_str url)
{
	size_t start = url.len > 8 && memcmp(url.ptr, "https://", 8) == 0  ? 8
		       : url.len > 7 && memcmp(url.ptr, "http://", 7) == 0 ? 7
									   : 0;
	if (!start) return "it begins with http:// or https://";
	if (has_control(url) || memchr(url.ptr, ' ', url.len)) return "it holds no spaces and control characters";
	for (size_t i = start; i < url.len && !strchr("/?#", url.ptr[i]); i++)
		if (url.ptr[i] == '@') return "user and password do not belong into it: say `auth: basic`";
	return NULL;
}

/* Without the line break that files end in. NULL stays NULL when the option is empty. */
static int take(const struct outgoing *o, const struct cdpd_conf *conf, const char *name, char **out)
{
	struct cdpd_str text = o->host->conf_text(conf, name);
	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) text.len--;
	if (text.len == 0) return CDPD_OK;
	if (has_control(text)) return complain(o, name, "it holds control characters");
	*out = strndup(text.ptr, text.len);
	return *out ? CDPD_OK : CDPD_ERR_NOMEM;
}

static bool is_name(struct cdpd_str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				(c && strchr("!#$%&'*+-.^_`|~", c));
		if (!is_plain) return false;
	}
	return text.len > 0;
}

static struct cdpd_str trim(struct cdpd_str text)
{
	while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1])) text.len--;
	while (text.len > 0 && strchr(" \t", text.ptr[0])) {
		text.ptr++;
		text.len--;
	}
	return text;
}

static int add_header(struct outgoing *o, const char *option, struct cdpd_str line)
{
	const char *colon = memchr(line.ptr, ':', line.len);
	if (o->header_count == OUTGOING_HEADERS_MAX) return complain(o, option, "there are more than 24");
	if (!colon) return complain(o, option, "a header is written \"Name: value\"");
	struct cdpd_str name = trim((struct cdpd_str){line.ptr, (size_t)(colon - line.ptr)});
	struct cdpd_str value = trim((struct cdpd_str){colon + 1, line.len - (size_t)(colon + 1 - line.ptr)});
	if (!is_name(name) || has_control(value)) return complain(o, option, "a header is written \"Name: value\"");
	size_t at = o->header_count++;
	o->names[at] = strndup(name.ptr, name.len);
	o->values[at] = strndup(value.ptr, value.len);
	return o->names[at] && o->values[at] ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int take_headers(struct outgoing *o, const struct cdpd_conf *conf)
{
	int rc = CDPD_OK;
	size_t count = o->host->conf_count(conf, "headers");
	for (size_t i = 0; i < count && rc == CDPD_OK; i++)
		rc = add_header(o, "headers", o->host->conf_item(conf, "headers", i));
	o->secrets_from = o->header_count;
	struct cdpd_str secret = o->host->conf_text(conf, "secret_headers");
	for (size_t i = 0; i < secret.len && rc == CDPD_OK;) {
		const char *end = memchr(secret.ptr + i, '\n', secret.len - i);
		size_t len = end ? (size_t)(end - secret.ptr) - i : secret.len - i;
		struct cdpd_str line = trim((struct cdpd_str){secret.ptr + i, len});
		if (line.len) rc = add_header(o, "secret_headers", line);
		i += len + 1;
	}
	return rc;
}

static int use_bearer(struct outgoing *o, const struct cdpd_conf *conf)
{
	char *token = NULL;
	struct writer header = {0};
	int rc = take(o, conf, "token", &token);
	if (rc == CDPD_OK && !token) rc = complain(o, "auth", "bearer needs `token`");
	if (rc == CDPD_OK) {
		writer_text(&header, "Bearer ");
		writer_text(&header, token);
		writer_put(&header, "", 1);
		o->auth = AUTH_FIXED;
		o->fixed = header.ptr;
		if (header.is_short) rc = CDPD_ERR_NOMEM;
	}
	free(token);
	return rc;
}

static int use_basic(struct outgoing *o, const struct cdpd_conf *conf)
{
	char *user = NULL;
	struct writer pair = {0}, header = {0};
	int rc = take(o, conf, "user", &user);
	if (rc == CDPD_OK) rc = take(o, conf, "password", &o->password);
	if (rc == CDPD_OK && (!user || strchr(user, ':')))
		rc = complain(o, "auth", "basic needs `user`, which holds no colon");
	if (rc == CDPD_OK) {
		writer_text(&pair, user);
		writer_text(&pair, ":");
		writer_text(&pair, o->password ? o->password : "");
		writer_text(&header, "Basic ");
		writer_base64(&header, writer_get(&pair));
		writer_put(&header, "", 1);
		o->auth = AUTH_FIXED;
		o->fixed = header.ptr;
		if (header.is_short || pair.is_short) rc = CDPD_ERR_NOMEM;
	}
	writer_free(&pair);
	free(user);
	return rc;
}

static bool is_choice(const struct outgoing *o, const struct cdpd_conf *conf, const char *option, const char *choice)
{
	struct cdpd_str text = o->host->conf_text(conf, option);
	return text.len == strlen(choice) && memcmp(text.ptr, choice, text.len) == 0;
}

static int use_oauth2(struct outgoing *o, const struct cdpd_conf *conf)
{
	const struct {
		const char *name;
		char **out;
	} texts[] = {{"token_url", &o->token_url},         {"client_id", &o->client_id},
		     {"client_secret", &o->client_secret}, {"scope", &o->scope},
		     {"audience", &o->audience},           {"refresh_token", &o->refresh_token},
		     {"redirect_uri", &o->redirect_uri}};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		int rc = take(o, conf, texts[i].name, texts[i].out);
		if (rc != CDPD_OK) return rc;
	}
	if (!o->token_url || !o->client_id) return complain(o, "auth", "oauth2 needs `token_url` and `client_id`");
	const char *why = outgoing_check_url(writer_of(o->token_url));
	if (why) return complain(o, "token_url", why);
	const struct oauth2_settings settings = {
	    .grant = o->refresh_token ? OAUTH2_REFRESH_TOKEN : OAUTH2_CLIENT_CREDENTIALS,
	    .url = o->token_url,
	    .client_id = o->client_id,
	    .client_secret = o->client_secret,
	    .scope = o->scope,
	    .audience = o->audience,
	    .refresh_token = o->refresh_token,
	    .redirect_uri = o->redirect_uri,
	    .is_basic = is_choice(o, conf, "client_auth", "basic"),
	    .is_json = is_choice(o, conf, "client_auth", "json"),
	    .timeout_ms = OUTGOING_TOKEN_MS,
	};
	o->auth = AUTH_OAUTH2;
	o->oauth2 = oauth2_new(o->host, o->instance, &settings);
	return o->oauth2 ? CDPD_OK : CDPD_ERR_NOMEM;
}

int outgoing_new(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		 struct outgoing **out)
{
	struct outgoing *o = calloc(1, sizeof *o);
	*out = NULL;
	if (!o) return CDPD_ERR_NOMEM;
	o->host = host;
	o->instance = instance;
	int rc = take_headers(o, conf);
	if (rc == CDPD_OK && is_choice(o, conf, "auth", "bearer")) rc = use_bearer(o, conf);
	if (rc == CDPD_OK && is_choice(o, conf, "auth", "basic")) rc = use_basic(o, conf);
	if (rc == CDPD_OK && is_choice(o, conf, "auth", "oauth2")) rc = use_oauth2(o, conf);
	if (rc != CDPD_OK) {
		outgoing_free(o);
		return rc;
	}
	*out = o;
	return CDPD_OK;
}

void outgoing_free(struct outgoing *o)
{
	if (!o) return;
	oauth2_free(o->oauth2);
	char *const texts[] = {o->fixed, o->password, o->token_url,     o->client_id,   o->client_secret,
			       o->scope, o->audience, o->refresh_token, o->redirect_uri};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) free(texts[i]);
	for (size_t i = 0; i < o->header_count; i++) {
		free(o->names[i]);
		free(o->values[i]);
	}
	free(o);
}
