#include "oauth2.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "writer.h"

#define ANSWER_MAX     ((size_t)64 * 1024)
#define KEPT_MAX       1900 /* the host's, of a value */
#define AHEAD_MS       INT64_C(60000)
#define BETWEEN_MS     INT64_C(5000) /* tries to replace a token that is still good */
#define LIFETIME_MAX_S (INT64_C(365) * 24 * 3600)
#define KEY_SIZE       40

struct oauth2 {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct oauth2_settings settings;
	char key[KEY_SIZE];        /* of the remembered refresh token */
	char *token, *refresh;     /* NULL: none */
	int64_t ends_ms, renew_ms; /* by the monotonic clock */
	struct oauth2_wait *first, **last;
	bool is_asking;
	uint64_t requests;
};

static int64_t now_ms(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ── the refresh token ───────────────────────────────────────────────────── */

/* Another configured token has another key: it was given because the old line of tokens is broken. FNV-1a. */
static void name_key(struct oauth2 *o)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	const char *const parts[] = {o->settings.refresh_token, o->settings.client_id, o->settings.url};
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		for (const char *at = parts[i] ? parts[i] : ""; *at; at++)
			hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
	snprintf(o->key, sizeof o->key, "oauth2/%016llx", (unsigned long long)hash);
}

static bool load_refresh(struct oauth2 *o)
{
	char kept[KEPT_MAX];
	size_t len = 0;
	name_key(o);
	int rc = o->host->kv_get(o->instance, writer_of(o->key), kept, sizeof kept, &len);
	if (rc == CDPD_OK && len > 0 && len <= sizeof kept)
		o->refresh = strndup(kept, len);
	else
		o->refresh = strdup(o->settings.refresh_token);
	return o->refresh != NULL;
}

/* Servers take a refresh token once: its successor must be on disk before anybody uses the access token that came with it. */
static void keep_refresh(struct oauth2 *o, const char *token)
{
	char *copy = strdup(token);
	if (copy) {
		free(o->refresh);
		o->refresh = copy;
	}
	if (o->host->kv_put(o->instance, writer_of(o->key), writer_of(token), 0) != CDPD_OK)
		o->host->log(o->instance, CDPD_LOG_ERROR,
			     "the new refresh token was not kept: after a restart it must be configured anew");
}

/* ── telling those who wait ──────────────────────────────────────────────── */

static void tell_all(struct oauth2 *o, const char *token, const char *why, int64_t retry_after_ms)
{
	struct oauth2_wait *wait = o->first;
	o->first = NULL;
	o->last = &o->first;
	while (wait) {
		struct oauth2_wait *next = wait->next; /* it may ask again */
		wait->done(wait, token, why, retry_after_ms);
		wait = next;
	}
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static int64_t lifetime_s(const json_t *root)
{
	const json_t *value = json_object_get(root, "expires_in");
	double seconds = json_is_string(value) ? strtod(json_string_value(value), NULL) : json_number_value(value);
	if (!(seconds > 0)) return LIFETIME_MAX_S; /* not said: until it is refused */
	return seconds < (double)LIFETIME_MAX_S ? (int64_t)seconds : LIFETIME_MAX_S;
}

static bool is_header_text(const char *text)
{
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f) return false;
	return text[0] && strlen(text) <= OAUTH2_TOKEN_MAX;
}

/* Also when the access token is none: the refresh token before this one is used up. */
static bool take_token(struct oauth2 *o, const json_t *root)
{
	const char *token = json_string_value(json_object_get(root, "access_token"));
	const char *refresh = json_string_value(json_object_get(root, "refresh_token"));
	if (refresh && refresh[0] && o->settings.grant == OAUTH2_REFRESH_TOKEN && strcmp(refresh, o->refresh) != 0)
		keep_refresh(o, refresh);
	char *copy = token && is_header_text(token) ? strdup(token) : NULL;
	if (!copy) return false;
	free(o->token);
	o->token = copy;
	int64_t span = lifetime_s(root) * 1000, now = now_ms();
	o->ends_ms = now + span;
	o->renew_ms = o->ends_ms - (span / 5 < AHEAD_MS ? span / 5 : AHEAD_MS);
	return true;
}

void oauth2_hide(const struct oauth2 *o, char *text)
{
	writer_hide(text, o->settings.client_secret);
	writer_hide(text, o->settings.refresh_token);
	writer_hide(text, o->refresh);
	writer_hide(text, o->token);
}

/* A copy, for servers repeat what they were sent. NULL: it is not there. */
static char *without_secrets(const struct oauth2 *o, const json_t *root, const char *name)
{
	const char *text = json_string_value(json_object_get(root, name));
	char *copy = text ? strdup(text) : NULL;
	if (copy) oauth2_hide(o, copy);
	return copy;
}

/* "invalid_client: the secret is wrong", printable and short. */
static void read_error(const struct oauth2 *o, const json_t *root, char *out, size_t size)
{
	char *error = without_secrets(o, root, "error"), *more = without_secrets(o, root, "error_description");
	int len = snprintf(out, size, "%s%s%.80s", error ? error : "", error && more ? ": " : "", more ? more : "");
	free(error);
	free(more);
	for (int i = 0; i < len && (size_t)i < size; i++)
		if (out[i] && ((unsigned char)out[i] < 0x20 || (unsigned char)out[i] >= 0x7f)) out[i] = '?';
}

static const char *transport_text(int error)
{
	if (error == CDPD_ERR_TIMEOUT) return "no answer in time";
	if (error == CDPD_ERR_DENIED) return "its address is private, see http.allow";
	return "no connection, or it broke";
}

static void fail(struct oauth2 *o, const struct cdpd_http_response *response, const json_t *root)
{
	char why[OAUTH2_WHY_SIZE], error[120];
	read_error(o, root, error, sizeof error);
	if (response->error != CDPD_OK)
		snprintf(why, sizeof why, "no access token: %s", transport_text(response->error));
	else if (response->status >= 200 && response->status < 300)
		snprintf(why, sizeof why, "no access token: the token endpoint's answer holds none");
	else
		snprintf(why, sizeof why, "no access token: the token endpoint answered HTTP %d%s%s", response->status,
			 error[0] ? ", " : "", error);
	if (o->token) { /* nobody waits: the old one is still good */
		o->renew_ms = now_ms() + BETWEEN_MS;
		o->host->log(o->instance, CDPD_LOG_WARN, "%s; the old one serves on", why);
	}
	tell_all(o, NULL, why, response->retry_after_ms > 0 ? response->retry_after_ms : 0);
}

static void on_answer(void *ctx, const struct cdpd_http_response *response)
{
	struct oauth2 *o = ctx;
	o->is_asking = false;
	bool is_good = response->error == CDPD_OK && response->status >= 200 && response->status < 300;
	json_t *root = response->error == CDPD_OK ? json_loadb(response->body.ptr, response->body.len, 0, NULL) : NULL;
	bool is_taken = is_good && take_token(o, root);
	char *token =
	    is_taken ? strdup(o->token) : NULL; /* who is told may ask again, and ours may have ended by then */
	if (token)
		tell_all(o, token, NULL, 0);
	else if (is_taken)
		tell_all(o, NULL, "no access token: out of memory", 0);
	else
		fail(o, response, root);
	free(token);
	json_decref(root);
}

/* ── the request ─────────────────────────────────────────────────────────── */

static void add_field(struct writer *body, bool is_json, const char *name, const char *value)
{
	if (!value) return;
	if (body->len) writer_text(body, is_json ? "," : "&");
	if (is_json) {
		writer_text(body, body->len ? "" : "{");
		writer_json(body, writer_of(name));
		writer_text(body, ":");
		writer_json(body, writer_of(value));
	} else {
		writer_form(body, writer_of(name));
		writer_text(body, "=");
		writer_form(body, writer_of(value));
	}
}

static void write_body(const struct oauth2 *o, struct writer *body)
{
	const struct oauth2_settings *s = &o->settings;
	bool is_refresh = s->grant == OAUTH2_REFRESH_TOKEN;
	add_field(body, s->is_json, "grant_type", is_refresh ? "refresh_token" : "client_credentials");
	if (!s->is_basic) add_field(body, s->is_json, "client_id", s->client_id);
	if (!s->is_basic) add_field(body, s->is_json, "client_secret", s->client_secret);
	if (is_refresh) add_field(body, s->is_json, "refresh_token", o->refresh);
	add_field(body, s->is_json, "redirect_uri", s->redirect_uri);
	add_field(body, s->is_json, "scope", s->scope);
	add_field(body, s->is_json, "audience", s->audience);
	if (s->is_json) writer_text(body, "}");
}

/* RFC 6749 2.3.1: both are percent-encoded first. */
static void write_basic(const struct oauth2_settings *s, struct writer *out)
{
	struct writer pair = {0};
	writer_form(&pair, writer_of(s->client_id ? s->client_id : ""));
	writer_text(&pair, ":");
	writer_form(&pair, writer_of(s->client_secret ? s->client_secret : ""));
	writer_text(out, "Basic ");
	writer_base64(out, writer_get(&pair));
	out->is_short |= pair.is_short;
	writer_free(&pair);
}

static int send_request(struct oauth2 *o)
{
	struct writer body = {0}, basic = {0};
	struct cdpd_http_header headers[3] = {
	    {writer_of("content-type"),
	     writer_of(o->settings.is_json ? "application/json" : "application/x-www-form-urlencoded")},
	    {writer_of("accept"), writer_of("application/json")},
	};
	write_body(o, &body);
	if (o->settings.is_basic) write_basic(&o->settings, &basic);
	headers[2] = (struct cdpd_http_header){writer_of("authorization"), writer_get(&basic)};
	const struct cdpd_http_request request = {
	    .size = sizeof request,
	    .timeout_ms = o->settings.timeout_ms,
	    .method = writer_of("POST"),
	    .url = writer_of(o->settings.url),
	    .body = writer_get(&body),
	    .headers = headers,
	    .header_count = o->settings.is_basic ? 3 : 2,
	    .max_body = ANSWER_MAX,
	};
	int rc = body.is_short || basic.is_short ? CDPD_ERR_NOMEM : o->host->http(o->instance, &request, on_answer, o);
	writer_free(&body);
	writer_free(&basic);
	return rc;
}

static void ask_server(struct oauth2 *o)
{
	o->is_asking = true;
	o->requests++;
	int rc = send_request(o);
	if (rc == CDPD_OK) return;
	o->is_asking = false;
	tell_all(o, NULL,
		 rc == CDPD_ERR_INVALID ? "no access token: the token URL cannot be asked"
					: "no access token: the request for it could not be made",
		 0);
}

/* ── from outside ────────────────────────────────────────────────────────── */

struct oauth2 *oauth2_new(const struct cdpd_host *host, struct cdpd_instance *instance,
			  const struct oauth2_settings *settings)
{
	struct oauth2 *o = calloc(1, sizeof *o);
	if (!o) return NULL;
	o->host = host;
	o->instance = instance;
	o->settings = *settings;
	o->last = &o->first;
	if (settings->grant == OAUTH2_REFRESH_TOKEN && !load_refresh(o)) {
		free(o);
		return NULL;
	}
	return o;
}

void oauth2_free(struct oauth2 *o)
{
	if (!o) return;
	free(o->token);
	free(o->refresh);
	free(o);
}

static void forget(struct oauth2 *o)
{
	free(o->token);
	o->token = NULL;
}

void oauth2_ask(struct oauth2 *o, struct oauth2_wait *wait)
{
	int64_t now = now_ms();
	if (o->token && now >= o->ends_ms) forget(o);
	if (o->token && now >= o->renew_ms && !o->is_asking) {
		o->renew_ms = now + BETWEEN_MS;
		ask_server(o);
	}
	if (o->token) { /* also while its successor is asked for */
		wait->done(wait, o->token, NULL, 0);
		return;
	}
	wait->next = NULL;
	*o->last = wait;
	o->last = &wait->next;
	if (!o->is_asking) ask_server(o);
}

void oauth2_refused(struct oauth2 *o, const char *token)
{
	if (o->token && strcmp(o->token, token) == 0) forget(o);
}

uint64_t oauth2_requests(const struct oauth2 *o)
{
	return o->requests;
}
