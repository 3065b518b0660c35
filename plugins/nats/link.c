#include "link.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "subject.h"

#define JS_MESSAGE_TOO_LARGE 10054 /* the stream's max_msg_size */
#define JS_WRONG_STREAM      10060
#define IO_BUFFER            (256 << 10)
#define PAUSE_NS             50000
#define PAUSE_MAX_NS         1000000

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void say(struct link *link, const char *what, natsStatus status)
{
	const char *detail = nats_GetLastError(NULL);
	snprintf(link->why, sizeof link->why, "%s: %s%s%s", what, natsStatus_GetText(status),
		 detail && *detail ? ", " : "", detail ? detail : "");
}

/* libnats frees messages on a thread of its own, which each of them would wake. */
static void destroy_done(struct link *link)
{
	for (size_t i = 0; i < link->done_count; i++) natsMsg_Destroy(link->done[i]);
	link->done_count = 0;
}

static void destroy_later(struct link *link, natsMsg *msg)
{
	if (link->done_count == LINK_DONE) destroy_done(link);
	if (msg) link->done[link->done_count++] = msg;
}

/* ── opening ─────────────────────────────────────────────────────────────── */

/* Of "tls://host:port", also "tls://[::1]:port". */
static void host_of(const char *url, char *out, size_t size)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t len = *host == '[' ? strcspn(++host, "]") : strcspn(host, ":/");
	snprintf(out, size, "%.*s", (int)len, host);
}

/* libnats checks the name in a certificate only when it is told one. */
static natsStatus set_tls(const struct link_options *o, const char *server, natsOptions *opts)
{
	char host[256];
	if (!o->ca_file && !o->cert_file && strncmp(server, "tls:", 4) != 0) return NATS_OK;
	host_of(server, host, sizeof host);
	natsStatus s = natsOptions_SetSecure(opts, true);
	if (s == NATS_OK) s = natsOptions_SetExpectedHostname(opts, o->tls_host ? o->tls_host : host);
	if (s == NATS_OK && o->ca_file) s = natsOptions_LoadCATrustedCertificates(opts, o->ca_file);
	if (s == NATS_OK && o->cert_file) s = natsOptions_LoadCertificatesChain(opts, o->cert_file, o->key_file);
	return s;
}

static natsStatus set_identity(const struct link_options *o, natsOptions *opts)
{
	natsStatus s = natsOptions_SetName(opts, "cdpd");
	if (s == NATS_OK && o->user) s = natsOptions_SetUserInfo(opts, o->user, o->password ? o->password : "");
	if (s == NATS_OK && o->token) s = natsOptions_SetToken(opts, o->token);
	if (s == NATS_OK && o->credentials) s = natsOptions_SetUserCredentialsFromFiles(opts, o->credentials, NULL);
	return s;
}

/* libnats prints asynchronous errors when nobody takes them; ours show when the batch is collected. */
static void ignore_error(natsConnection *conn, natsSubscription *sub, natsStatus status, void *ctx)
{
	(void)conn;
	(void)sub;
	(void)status;
	(void)ctx;
}

static natsStatus set_options(const struct link_options *o, const char *server, natsOptions *opts)
{
	natsStatus s = natsOptions_SetURL(opts, server);
	if (s == NATS_OK) s = natsOptions_SetAllowReconnect(opts, false);
	if (s == NATS_OK) s = natsOptions_SetTimeout(opts, o->connect_timeout_ms);
	if (s == NATS_OK) s = natsOptions_SetPingInterval(opts, 20000);
	if (s == NATS_OK) s = natsOptions_SetWriteDeadline(opts, o->timeout_ms);
	if (s == NATS_OK) s = natsOptions_SetIOBufSize(opts, IO_BUFFER);
	if (s == NATS_OK) s = natsOptions_SetErrorHandler(opts, ignore_error, NULL);
	if (s == NATS_OK) s = set_identity(o, opts);
	return s == NATS_OK ? set_tls(o, server, opts) : s;
}

static natsStatus connect_to(struct link *link, const char *server)
{
	natsOptions *opts = NULL;
	natsStatus s = natsOptions_Create(&opts);
	if (s == NATS_OK) s = set_options(link->options, server, opts);
	if (s != NATS_OK) {
		say(link, "the options do not work", s);
	} else if ((s = natsConnection_Connect(&link->conn, opts)) != NATS_OK) {
		say(link, "no connection", s);
		link->conn = NULL;
	}
	natsOptions_Destroy(opts);
	return s;
}

static natsStatus subscribe(struct link *link)
{
	natsInbox *inbox = NULL;
	char subject[sizeof link->inbox + 4];
	natsStatus s = natsInbox_Create(&inbox);
	if (s == NATS_OK) {
		snprintf(link->inbox, sizeof link->inbox, "%s", inbox);
		snprintf(subject, sizeof subject, "%s.>", link->inbox);
		s = natsConnection_SubscribeSync(&link->acks, link->conn, subject);
	}
	natsInbox_Destroy(inbox);
	if (s != NATS_OK) say(link, "no inbox", s);
	return s;
}

/* ── the stream ──────────────────────────────────────────────────────────── */

static bool is_taken(const jsStreamConfig *config, const char *pattern)
{
	for (int i = 0; i < config->SubjectsLen; i++)
		if (subject_covers(config->Subjects[i], pattern)) return true;
	return false;
}

/* The patterns of `wanted` that `config` does not take. */
static int missing(const struct link *link, unsigned wanted, const jsStreamConfig *config, const char **out)
{
	int count = 0;
	for (int i = 0; i < LINK_PATTERNS; i++) {
		const char *pattern = link->options->patterns[i];
		bool is_wanted = (wanted & 1u << i) && pattern;
		for (int k = 0; k < count && is_wanted; k++) is_wanted = !subject_covers(out[k], pattern);
		if (is_wanted && !(config && is_taken(config, pattern))) out[count++] = pattern;
	}
	return count;
}

static natsStatus make_stream(const struct link *link, unsigned wanted, jsCtx *js, jsErrCode *code)
{
	const struct link_options *o = link->options;
	const char *subjects[LINK_PATTERNS];
	jsStreamConfig config;
	jsStreamConfig_Init(&config);
	config.Name = o->stream;
	config.Subjects = subjects;
	config.SubjectsLen = missing(link, wanted, NULL, subjects);
	config.Storage = js_FileStorage;
	config.Replicas = o->replicas;
	config.MaxAge = o->max_age_us * 1000;
	config.Duplicates = o->duplicate_window_us * 1000;
	return js_AddStream(NULL, js, &config, NULL, code);
}

static natsStatus extend_stream(const struct link *link, unsigned wanted, jsStreamInfo *info, jsCtx *js,
				jsErrCode *code)
{
	const char *more[LINK_PATTERNS];
	const char **had = info->Config->Subjects;
	int had_count = info->Config->SubjectsLen, count = missing(link, wanted, info->Config, more);
	if (count == 0) return NATS_OK;
	const char **all = calloc((size_t)had_count + (size_t)count, sizeof all[0]);
	if (!all) return NATS_NO_MEMORY;
	for (int i = 0; i < had_count; i++) all[i] = had[i];
	for (int i = 0; i < count; i++) all[had_count + i] = more[i];
	jsStreamConfig config = *info->Config;
	config.Subjects = all;
	config.SubjectsLen = had_count + count;
	natsStatus s = js_UpdateStream(NULL, js, &config, NULL, code);
	free(all);
	return s;
}

static natsStatus find_stream(struct link *link, unsigned wanted)
{
	jsCtx *js = NULL;
	jsStreamInfo *info = NULL;
	jsErrCode code = 0;
	jsOptions js_options;
	char what[160];
	bool may_make = link->options->create_stream;
	jsOptions_Init(&js_options);
	js_options.Wait = link->options->timeout_ms;
	natsStatus s = natsConnection_JetStream(&js, link->conn, &js_options);
	if (s == NATS_OK) s = js_GetStreamInfo(&info, js, link->options->stream, NULL, &code);
	if (s == NATS_NOT_FOUND && may_make)
		s = make_stream(link, wanted, js, &code);
	else if (s == NATS_OK && may_make)
		s = extend_stream(link, wanted, info, js, &code);
	if (s != NATS_OK) {
		snprintf(what, sizeof what, "stream %.100s", link->options->stream);
		say(link, what, s);
	}
	jsStreamInfo_Destroy(info);
	jsCtx_Destroy(js);
	return s;
}

bool link_want(struct link *link, unsigned wanted)
{
	if (!link->options->stream || (wanted & ~link->known) == 0) return true;
	if (find_stream(link, wanted) != NATS_OK) {
		link_close(link);
		return false;
	}
	link->known |= link->options->create_stream ? wanted : ~0u;
	return true;
}

/* ── connecting ──────────────────────────────────────────────────────────── */

bool link_open(struct link *link)
{
	link_close(link);
	natsStatus s = NATS_NO_SERVER;
	for (int i = 0; i < link->options->server_count && s != NATS_OK; i++)
		s = connect_to(link, link->options->servers[i]);
	if (s == NATS_OK) s = subscribe(link);
	if (s != NATS_OK) link_close(link);
	return s == NATS_OK;
}

void link_close(struct link *link)
{
	destroy_done(link);
	natsSubscription_Destroy(link->acks);
	natsConnection_Destroy(link->conn);
	link->acks = NULL;
	link->conn = NULL;
	link->known = 0;
}

bool link_is_up(const struct link *link)
{
	return link->conn && natsConnection_Status(link->conn) == NATS_CONN_STATUS_CONNECTED;
}

/* ── a batch ─────────────────────────────────────────────────────────────── */

void link_begin(struct link *link)
{
	destroy_done(link);
	link->batch++;
}

static natsStatus make_message(const struct link *link, natsMsg **msg, size_t index, const char *subject,
			       const char *id, const char *data, size_t len)
{
	char reply[sizeof link->inbox + 48];
	snprintf(reply, sizeof reply, "%s.%llu.%zu", link->inbox, (unsigned long long)link->batch, index);
	natsStatus s = natsMsg_Create(msg, subject, reply, data, (int)len);
	if (s == NATS_OK) s = natsMsgHeader_Set(*msg, "Nats-Msg-Id", id);
	if (s == NATS_OK && link->options->stream)
		s = natsMsgHeader_Set(*msg, "Nats-Expected-Stream", link->options->stream);
	return s;
}

enum link_verdict link_publish(struct link *link, size_t index, const char *subject, const char *id, const char *data,
			       size_t len)
{
	natsMsg *msg = NULL;
	natsStatus s = make_message(link, &msg, index, subject, id, data, len);
	if (s == NATS_OK) s = natsConnection_PublishMsg(link->conn, msg);
	destroy_later(link, msg);
	if (s == NATS_OK) return LINK_UNKNOWN;
	if (s == NATS_MAX_PAYLOAD) {
		snprintf(link->why, sizeof link->why, "larger than the server's max_payload");
		return LINK_REFUSED;
	}
	say(link, "not sent", s);
	return LINK_FAILED;
}

/* ── acks ────────────────────────────────────────────────────────────────── */

static const char *find(const char *data, size_t len, const char *word)
{
	return memmem(data, len, word, strlen(word));
}

static enum link_verdict read_refusal(struct link *link, const char *data, size_t len)
{
	const char *end = data + len, *code_at = find(data, len, "\"err_code\":");
	const char *text = find(data, len, "\"description\":\"");
	char number[16] = "";
	size_t text_len = 0;
	if (code_at) {
		code_at += strlen("\"err_code\":");
		size_t left = (size_t)(end - code_at);
		snprintf(number, sizeof number, "%.*s", (int)(left < 9 ? left : 9), code_at);
	}
	int code = (int)strtol(number, NULL, 10);
	if (text) {
		text += strlen("\"description\":\"");
		const char *quote = memchr(text, '"', (size_t)(end - text));
		text_len = (size_t)((quote ? quote : end) - text);
	}
	if (!text_len || code == JS_WRONG_STREAM) {
		text = text_len ? "another stream takes the subject" : "refused";
		text_len = strlen(text);
	}
	snprintf(link->why, sizeof link->why, "%.*s (%d)", (int)(text_len < 150 ? text_len : 150), text, code);
	return code == JS_MESSAGE_TOO_LARGE ? LINK_REFUSED : LINK_FAILED;
}

/* {"stream":"EVENTS","seq":17,"duplicate":true} or {"error":{"code":400,"err_code":10054,"description":"…"}}, as the server's encoder writes it: no space, and no
 * quotation mark in a stream's name. */
static enum link_verdict read_ack(struct link *link, const char *data, size_t len, uint64_t *duplicates)
{
	if (find(data, len, "\"error\":")) return read_refusal(link, data, len);
	if (!find(data, len, "\"stream\":\"")) {
		snprintf(link->why, sizeof link->why, "the answer is no ack of JetStream");
		return LINK_FAILED;
	}
	const char *duplicate = find(data, len, "\"duplicate\":");
	*duplicates += duplicate && !find(duplicate, (size_t)(data + len - duplicate), ":false");
	return LINK_STORED;
}

/* Which record of this batch; `count`: none. */
static size_t index_of(const struct link *link, const natsMsg *msg, size_t count)
{
	const char *subject = natsMsg_GetSubject(msg);
	size_t inbox_len = strlen(link->inbox);
	char *end;
	if (strncmp(subject, link->inbox, inbox_len) != 0 || subject[inbox_len] != '.') return count;
	if (strtoull(subject + inbox_len + 1, &end, 10) != link->batch || *end != '.') return count;
	unsigned long long index = strtoull(end + 1, NULL, 10);
	return index < count ? (size_t)index : count;
}

/* Until as many are there as are wanted, or some time has passed: whoever waits for each of them alone is woken for each of them alone. */
static void let_them_come(struct link *link, size_t wanted, int64_t until)
{
	struct timespec pause = {0, PAUSE_NS};
	int count = 0, bytes = 0;
	while (natsSubscription_GetPending(link->acks, &count, &bytes) == NATS_OK && (size_t)count < wanted &&
	       link_is_up(link) && now_ms() < until) {
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < PAUSE_MAX_NS) pause.tv_nsec += pause.tv_nsec / 2;
	}
}

bool link_collect(struct link *link, size_t pending, size_t count, enum link_verdict *verdicts, uint64_t *duplicates)
{
	int64_t until = now_ms() + link->options->timeout_ms;
	let_them_come(link, pending, until);
	while (pending > 0) {
		natsMsg *msg = NULL;
		int64_t left = until - now_ms();
		natsStatus s = natsSubscription_NextMsg(&msg, link->acks, left > 0 ? left : 1);
		if (s == NATS_TIMEOUT && left > 0) continue;
		if (s == NATS_NO_RESPONDERS) { /* libnats keeps to itself for which message */
			snprintf(link->why, sizeof link->why, "no stream takes the subject, or JetStream is off");
			pending--;
			continue;
		}
		if (s != NATS_OK) {
			say(link, "no acks", s);
			return false;
		}
		size_t index = index_of(link, msg, count);
		if (index < count && verdicts[index] == LINK_UNKNOWN) {
			verdicts[index] =
			    read_ack(link, natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg), duplicates);
			pending--;
		}
		destroy_later(link, msg);
	}
	return true;
}
