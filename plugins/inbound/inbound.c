/* inbound: webhooks of anybody who posts JSON and signs it with HMAC-SHA256. Options say where in the JSON an event's parts stand; what is
 * not signed, or not as the options say, becomes no event. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cdpd_plugin.h"
#include "signature.h"

#define PATH_MAX_BYTES 256
#define ID_MAX_BYTES   200
#define SECRETS        2

struct inbound {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char *secrets[SECRETS]; /* the second: the one before a rotation, or empty */
	size_t secret_lens[SECRETS];
	char *verify_token;
	char *signature_header, *signature_prefix, *timestamp_header;
	char *challenge_param, *verify_param;
	bool is_base64;
	int64_t tolerance_us;
	char *list, *event, *event_name, *user_id, *anonymous_id, *message_id, *timestamp, *properties;
	char *reply;
	int unsigned_total, stale_total;
};

/* ── the JSON ────────────────────────────────────────────────────────────── */

/* The value at "a.b.c"; the whole for an empty path; NULL: absent or null. */
static json_t *at_path(json_t *value, const char *path)
{
	char step[PATH_MAX_BYTES];
	while (value && *path) {
		size_t len = strcspn(path, ".");
		if (len >= sizeof step) return NULL;
		memcpy(step, path, len);
		step[len] = '\0';
		value = json_object_get(value, step);
		path += len + (path[len] == '.');
	}
	return json_is_null(value) ? NULL : value;
}

/* A text, or a whole number as text: providers have ids of both kinds. NULL: neither. */
static json_t *text_at(json_t *item, const char *path)
{
	char number[24];
	json_t *value = *path ? at_path(item, path) : NULL;
	if (json_is_string(value) && json_string_length(value) > 0) return json_incref(value);
	if (!json_is_integer(value)) return NULL;
	(void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return json_string(number);
}

/* Seconds or milliseconds since 1970 as ISO 8601; texts as they are, ingest judges them. */
static json_t *time_at(json_t *item, const char *path)
{
	char text[40], date[24];
	struct tm tm;
	json_t *value = *path ? at_path(item, path) : NULL;
	if (json_is_string(value)) return json_incref(value);
	if (!json_is_number(value)) return NULL;
	double number = json_number_value(value);
	if (!(number >= 0 && number < 1e14)) return NULL;
	int64_t ms = number < 1e11 ? (int64_t)(number * 1000) : (int64_t)number;
	time_t seconds = (time_t)(ms / 1000);
	if (!gmtime_r(&seconds, &tm) || !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm)) return NULL;
	(void)snprintf(text, sizeof text, "%s.%03dZ", date, (int)(ms % 1000));
	return json_string(text);
}

/* Without an id of its own an event is known by what it says, so that it may be delivered again. */
static json_t *digest_of(json_t *item)
{
	char hex[SIGNATURE_HEX_SIZE], id[SIGNATURE_HEX_SIZE + 8];
	char *text = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	bool is_made = text && signature_digest(text, strlen(text), hex);
	free(text);
	if (!is_made) return NULL;
	(void)snprintf(id, sizeof id, "sha256-%s", hex);
	return json_string(id);
}

static json_t *id_of(const struct inbound *self, json_t *item)
{
	json_t *id = text_at(item, self->message_id);
	if (id && json_string_length(id) <= ID_MAX_BYTES) return id;
	json_decref(id);
	return digest_of(item);
}

static json_t *name_of(const struct inbound *self, json_t *item)
{
	json_t *name = text_at(item, self->event);
	if (name || !*self->event_name) return name;
	return json_string(self->event_name);
}

static void set(json_t *event, const char *key, json_t *value)
{
	if (value) (void)json_object_set_new(event, key, value);
}

/* NULL: no event can be made of it, *why says so. */
static json_t *make_event(const struct inbound *self, json_t *item, const char **why)
{
	*why = "it is no JSON object";
	if (!json_is_object(item)) return NULL;
	json_t *name = name_of(self, item), *properties = at_path(item, self->properties);
	*why = "it has no event name";
	if (!name) return NULL;
	json_t *event = json_pack("{s:s}", "type", "track");
	*why = "there is no memory for it";
	if (!event) {
		json_decref(name);
		return NULL;
	}
	set(event, "event", name);
	set(event, "messageId", id_of(self, item));
	set(event, "userId", text_at(item, self->user_id));
	set(event, "anonymousId", text_at(item, self->anonymous_id));
	set(event, "timestamp", time_at(item, self->timestamp));
	if (json_is_object(properties)) set(event, "properties", json_incref(properties));
	return event;
}

static int put_reject(const struct inbound *self, struct cdpd_batch_out *out, const char *why, json_t *item)
{
	char *text = item ? json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	int rc = self->host->out_reject(out, why, (struct cdpd_str){text ? text : "", text ? strlen(text) : 0});
	free(text);
	return rc;
}

static int put_item(const struct inbound *self, struct cdpd_batch_out *out, json_t *item)
{
	const char *why;
	json_t *event = make_event(self, item, &why);
	if (!event) return put_reject(self, out, why, item);
	char *text = json_dumps(event, JSON_COMPACT);
	int rc = text ? self->host->out_event(out, (struct cdpd_str){text, strlen(text)}) : CDPD_ERR_NOMEM;
	free(text);
	json_decref(event);
	return rc;
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static int say(const struct inbound *self, struct cdpd_reply *reply, int status, struct cdpd_str text)
{
	int rc = self->host->reply_status(reply, status);
	if (rc == CDPD_OK) rc = self->host->reply_header(reply, "Content-Type", str("text/plain; charset=utf-8"));
	if (rc == CDPD_OK) rc = self->host->reply_header(reply, "X-Content-Type-Options", str("nosniff"));
	return rc == CDPD_OK ? self->host->reply_body(reply, text) : rc;
}

static int put_all(const struct inbound *self, json_t *root, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	json_t *items = at_path(root, self->list);
	size_t count = json_is_array(items) ? json_array_size(items) : 1;
	int rc = CDPD_OK;
	if (!items) {
		rc = put_reject(self, out, "the list is not where the option 'list' says", root);
		return rc ? rc : say(self, reply, 400, str("no list of events\n"));
	}
	for (size_t i = 0; i < count && rc == CDPD_OK; i++)
		rc = put_item(self, out, json_is_array(items) ? json_array_get(items, i) : items);
	if (rc == CDPD_ERR_TOO_LARGE) return say(self, reply, 413, str("too many events in one request\n"));
	return rc ? rc : say(self, reply, 200, str(self->reply));
}

static int take_body(const struct inbound *self, const struct cdpd_request_info *info, struct cdpd_batch_out *out,
		     struct cdpd_reply *reply)
{
	json_error_t error;
	json_t *root = json_loadb(info->body.ptr, info->body.len, 0, &error);
	if (!root) {
		int rc = self->host->out_reject(out, "the body is not JSON", info->body);
		return rc ? rc : say(self, reply, 400, str("the body is not JSON\n"));
	}
	int rc = put_all(self, root, out, reply);
	json_decref(root);
	return rc;
}

/* ── who sends ───────────────────────────────────────────────────────────── */

static bool is_signed(const struct inbound *self, const struct cdpd_request_info *info, struct cdpd_str timestamp,
		      struct cdpd_str given)
{
	unsigned char made[SIGNATURE_SIZE];
	size_t prefix = strlen(self->signature_prefix);
	if (given.len < prefix || memcmp(given.ptr, self->signature_prefix, prefix) != 0) return false;
	given = (struct cdpd_str){given.ptr + prefix, given.len - prefix};
	for (size_t i = 0; i < SECRETS; i++) {
		if (self->secret_lens[i] == 0) continue;
		if (!signature_make(self->secrets[i], self->secret_lens[i], timestamp.ptr, timestamp.len,
				    info->body.ptr, info->body.len, made))
			continue;
		if (self->is_base64 ? signature_is_base64(given.ptr, given.len, made)
				    : signature_is_hex(given.ptr, given.len, made))
			return true;
	}
	return false;
}

/* Seconds or milliseconds since 1970. */
static bool is_fresh(const struct inbound *self, struct cdpd_str timestamp, int64_t now_us)
{
	int64_t number = 0;
	if (timestamp.len == 0 || timestamp.len > 13) return false;
	for (size_t i = 0; i < timestamp.len; i++) {
		if (timestamp.ptr[i] < '0' || timestamp.ptr[i] > '9') return false;
		number = number * 10 + (timestamp.ptr[i] - '0');
	}
	int64_t sent_us = number < INT64_C(100000000000) ? number * 1000000 : number * 1000;
	int64_t apart = now_us > sent_us ? now_us - sent_us : sent_us - now_us;
	return apart <= self->tolerance_us;
}

static int take_post(const struct inbound *self, const struct cdpd_request *request,
		     const struct cdpd_request_info *info, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	bool has_time = *self->timestamp_header != '\0';
	struct cdpd_str none = {"", 0};
	struct cdpd_str timestamp = has_time ? self->host->request_header(request, self->timestamp_header) : none;
	struct cdpd_str given = self->host->request_header(request, self->signature_header);
	if ((has_time && timestamp.len == 0) || !is_signed(self, info, timestamp, given)) {
		self->host->count(self->instance, self->unsigned_total, 1);
		return say(self, reply, 401, str("the signature is missing or wrong\n"));
	}
	if (has_time && !is_fresh(self, timestamp, info->received_us)) {
		self->host->count(self->instance, self->stale_total, 1);
		return say(self, reply, 401, str("the timestamp is too far from now\n"));
	}
	return take_body(self, info, out, reply);
}

static bool is_same(struct cdpd_str given, const char *token)
{
	size_t len = strlen(token);
	unsigned char differs = given.len != len;
	for (size_t i = 0; i < given.len && i < len; i++)
		differs |= (unsigned char)given.ptr[i] ^ (unsigned char)token[i];
	return !differs;
}

/* The handshake of providers that ask first whether the address is ours. */
static int take_get(const struct inbound *self, const struct cdpd_request *request, struct cdpd_reply *reply)
{
	if (!*self->challenge_param) return say(self, reply, 405, str("only POST\n"));
	if (!is_same(self->host->request_param(request, self->verify_param), self->verify_token))
		return say(self, reply, 401, str("the verify token is wrong\n"));
	return say(self, reply, 200, self->host->request_param(request, self->challenge_param));
}

static int decode(void *ctx, const struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	const struct inbound *self = ctx;
	struct cdpd_request_info info = {.size = sizeof info};
	int rc = self->host->request_info(request, &info);
	if (rc != CDPD_OK) return rc;
	bool is_post = info.method.len == 4 && memcmp(info.method.ptr, "POST", 4) == 0;
	return is_post ? take_post(self, request, &info, out, reply) : take_get(self, request, reply);
}

/* ── its life ────────────────────────────────────────────────────────────── */

static const struct cdpd_option options[] = {
    {.name = "secret", .type = CDPD_OPTION_SECRET, .is_required = true, .help = "what the sender signs with"},
    {.name = "previous_secret", .type = CDPD_OPTION_SECRET, .help = "one that still counts while secrets are changed"},
    {.name = "signature_header",
     .type = CDPD_OPTION_STRING,
     .default_text = "X-Signature",
     .min = 1,
     .max = 64,
     .help = "the header with the signature"},
    {.name = "signature_prefix", .type = CDPD_OPTION_STRING, .max = 32, .help = "what stands before it: sha256="},
    {.name = "signature_encoding",
     .type = CDPD_OPTION_ENUM,
     .default_text = "hex",
     .values = "hex|base64",
     .help = "how it is written"},
    {.name = "timestamp_header",
     .type = CDPD_OPTION_STRING,
     .max = 64,
     .help = "the header with the time of sending; then \"<time>.<body>\" is what is signed"},
    {.name = "tolerance",
     .type = CDPD_OPTION_DURATION,
     .default_text = "5m",
     .min = 1e6,
     .max = 86400e6,
     .help = "how far that time may be from now"},
    {.name = "list",
     .type = CDPD_OPTION_STRING,
     .max = 200,
     .help = "path of the list of events; none: the body is one"},
    {.name = "event",
     .type = CDPD_OPTION_STRING,
     .default_text = "event",
     .max = 200,
     .help = "path of the event's name"},
    {.name = "event_name", .type = CDPD_OPTION_STRING, .max = 200, .help = "the name of events without one"},
    {.name = "user_id",
     .type = CDPD_OPTION_STRING,
     .default_text = "userId",
     .max = 200,
     .help = "path of the user id"},
    {.name = "anonymous_id",
     .type = CDPD_OPTION_STRING,
     .default_text = "anonymousId",
     .max = 200,
     .help = "path of the anonymous id"},
    {.name = "message_id",
     .type = CDPD_OPTION_STRING,
     .default_text = "id",
     .max = 200,
     .help = "path of the event's own id; events without one are known by what they say"},
    {.name = "timestamp",
     .type = CDPD_OPTION_STRING,
     .default_text = "timestamp",
     .max = 200,
     .help = "path of its time: ISO 8601, or seconds or milliseconds since 1970"},
    {.name = "properties",
     .type = CDPD_OPTION_STRING,
     .max = 200,
     .help = "path of its properties; none: the whole event"},
    {.name = "reply", .type = CDPD_OPTION_STRING, .default_text = "ok", .max = 1000, .help = "the body of the answer"},
    {.name = "challenge_param",
     .type = CDPD_OPTION_STRING,
     .max = 64,
     .help = "GET is answered with this query parameter; none: GET is refused"},
    {.name = "verify_param",
     .type = CDPD_OPTION_STRING,
     .default_text = "hub.verify_token",
     .max = 64,
     .help = "the query parameter that must be the verify_token"},
    {.name = "verify_token", .type = CDPD_OPTION_SECRET, .help = "what a GET must know"},
};

static void destroy(void *ctx)
{
	struct inbound *self = ctx;
	char *texts[] = {self->secrets[0],
			 self->secrets[1],
			 self->verify_token,
			 self->signature_header,
			 self->signature_prefix,
			 self->timestamp_header,
			 self->challenge_param,
			 self->verify_param,
			 self->list,
			 self->event,
			 self->event_name,
			 self->user_id,
			 self->anonymous_id,
			 self->message_id,
			 self->timestamp,
			 self->properties,
			 self->reply};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
	free(self);
}

static bool copy(const struct cdpd_host *host, const struct cdpd_conf *conf, const char *name, char **out)
{
	struct cdpd_str text = host->conf_text(conf, name);
	*out = strndup(text.ptr, text.len);
	return *out != NULL;
}

static bool copy_all(struct inbound *self, const struct cdpd_conf *conf)
{
	const struct {
		const char *name;
		char **out;
	} texts[] = {{"secret", &self->secrets[0]},
		     {"previous_secret", &self->secrets[1]},
		     {"verify_token", &self->verify_token},
		     {"signature_header", &self->signature_header},
		     {"signature_prefix", &self->signature_prefix},
		     {"timestamp_header", &self->timestamp_header},
		     {"challenge_param", &self->challenge_param},
		     {"verify_param", &self->verify_param},
		     {"list", &self->list},
		     {"event", &self->event},
		     {"event_name", &self->event_name},
		     {"user_id", &self->user_id},
		     {"anonymous_id", &self->anonymous_id},
		     {"message_id", &self->message_id},
		     {"timestamp", &self->timestamp},
		     {"properties", &self->properties},
		     {"reply", &self->reply}};
	bool is_copied = true;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		is_copied &= copy(self->host, conf, texts[i].name, texts[i].out);
	return is_copied;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct inbound *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	if (!copy_all(self, conf)) {
		destroy(self);
		return CDPD_ERR_NOMEM;
	}
	self->secret_lens[0] = host->conf_text(conf, "secret").len;
	self->secret_lens[1] = host->conf_text(conf, "previous_secret").len;
	struct cdpd_str encoding = host->conf_text(conf, "signature_encoding");
	self->is_base64 = encoding.len == 6 && memcmp(encoding.ptr, "base64", 6) == 0;
	self->tolerance_us = host->conf_int(conf, "tolerance");
	self->unsigned_total = host->counter(instance, "unsigned_total", "Requests without a right signature.");
	self->stale_total = host->counter(instance, "stale_total", "Signed requests that are too old or too new.");
	bool has_no_token = *self->challenge_param && !*self->verify_token;
	if (self->secret_lens[0] == 0 || has_no_token) {
		host->log(instance, CDPD_LOG_ERROR,
			  has_no_token ? "challenge_param needs verify_token" : "the secret is empty");
		destroy(self);
		return CDPD_ERR_INVALID;
	}
	*out = self;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 3,
    .name = "inbound",
    .version = "1.0.0",
    .summary = "takes signed JSON webhooks",
    .caps = CDPD_CAP_SOURCE,
    .options = {sizeof options[0], sizeof options / sizeof *options, options},
    .create = create,
    .destroy = destroy,
    .decode = decode,
};
