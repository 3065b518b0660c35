/* nats: an exporter that publishes events, people and changes to a JetStream stream of NATS. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../shared/records.h"
#include "again.h"
#include "cdpd_plugin.h"
#include "link.h"
#include "subject.h"

#define SERVERS_MAX 16
#define ID_MAX      200

struct nats {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct link_options options;
	struct link link;
	char *servers[SERVERS_MAX];
	char *templates[LINK_PATTERNS]; /* by kind */
	char *stream, *user, *password, *token, *credentials, *ca_file, *cert_file, *key_file, *tls_host;
	char patterns[LINK_PATTERNS][SUBJECT_SIZE];
	int messages_metric, duplicates_metric, connects_metric;

	/* the batch at hand */
	struct cdpd_record *records;
	enum link_verdict *verdicts;
	size_t count, size;
	char *payload;
	size_t payload_len, payload_size;

	struct again again;
	uint64_t next_name; /* unlike those before a restart */
};

/* ── a message ───────────────────────────────────────────────────────────── */

static bool append(struct nats *self, const char *ptr, size_t len)
{
	if (len > self->payload_size - self->payload_len) {
		size_t size = self->payload_size ? self->payload_size : 16384;
		while (size - self->payload_len < len) size *= 2;
		char *bigger = realloc(self->payload, size);
		if (!bigger) return false;
		self->payload = bigger;
		self->payload_size = size;
	}
	memcpy(self->payload + self->payload_len, ptr, len);
	self->payload_len += len;
	return true;
}

/* The record's object with members more. */
static bool make_payload(struct nats *self, const struct cdpd_record *record)
{
	char tail[RECORD_TAIL_MAX];
	size_t len = record->json.len, tail_len = record_tail(record, tail);
	self->payload_len = 0;
	return append(self, record->json.ptr, tail_len ? len - 1 : len) && append(self, tail, tail_len);
}

/* 0 is that of events; LINK_PATTERNS: this version does not know the kind. */
static size_t template_of(const struct cdpd_record *record)
{
	if (record->kind == CDPD_RECORD_EVENT) return 0;
	return record->kind == CDPD_RECORD_PROFILE ? 1 : record->kind == CDPD_RECORD_CHANGE ? 2 : LINK_PATTERNS;
}

static enum link_verdict publish(struct nats *self, size_t index)
{
	const struct cdpd_record *record = &self->records[index];
	char subject[SUBJECT_SIZE], id[ID_MAX + 24];
	size_t len = record->delivery_id.len < ID_MAX ? record->delivery_id.len : ID_MAX;
	memcpy(id, record->delivery_id.ptr, len);
	id[len] = '\0';
	if (again_has(&self->again, record->delivery_id))
		snprintf(id + len, sizeof id - len, "~%llx", (unsigned long long)self->next_name++);
	subject_make(self->templates[template_of(record)], record, subject);
	if (!make_payload(self, record)) {
		snprintf(self->link.why, sizeof self->link.why, "out of memory");
		return LINK_FAILED;
	}
	return link_publish(&self->link, index, subject, id, self->payload, self->payload_len);
}

/* ── a batch ─────────────────────────────────────────────────────────────── */

static unsigned templates_wanted(const struct nats *self)
{
	unsigned wanted = 0;
	for (size_t i = 0; i < self->count; i++) {
		size_t template = template_of(&self->records[i]);
		if (template <LINK_PATTERNS) wanted |= 1u << template;
	}
	return wanted;
}

static bool is_settled(enum link_verdict verdict)
{
	return verdict == LINK_STORED || verdict == LINK_REFUSED;
}

static bool is_same_person(const struct cdpd_record *a, const struct cdpd_record *b)
{
	return a->profile_id.len == b->profile_id.len &&
	       memcmp(a->profile_id.ptr, b->profile_id.ptr, a->profile_id.len) == 0;
}

/* What the stream took although it did not take an earlier one of the same person comes once more, behind that. */
static void keep_order(struct nats *self)
{
	size_t first = 0;
	while (first < self->count && is_settled(self->verdicts[first])) first++;
	for (size_t i = first; i < self->count; i++) {
		bool is_behind = false;
		if (self->verdicts[i] != LINK_STORED) continue;
		for (size_t k = first; k < i && !is_behind; k++)
			is_behind =
			    !is_settled(self->verdicts[k]) && is_same_person(&self->records[k], &self->records[i]);
		if (!is_behind) continue;
		again_add(&self->again, self->records[i].delivery_id);
		self->verdicts[i] = LINK_UNKNOWN;
	}
}

/* Publishes what is not settled, in order, and waits for the acks. true: everything is settled. */
static bool attempt(struct nats *self)
{
	size_t pending = 0;
	uint64_t duplicates = 0;
	bool goes_on = true;
	if (!link_is_up(&self->link)) {
		if (!link_open(&self->link)) return false;
		self->host->count(self->instance, self->connects_metric, 1);
	}
	if (!link_want(&self->link, templates_wanted(self))) return false;
	link_begin(&self->link);
	for (size_t i = 0; i < self->count && goes_on; i++) {
		if (is_settled(self->verdicts[i])) continue;
		self->verdicts[i] = publish(self, i);
		pending += self->verdicts[i] == LINK_UNKNOWN;
		goes_on = self->verdicts[i] != LINK_FAILED;
	}
	bool is_answered = link_collect(&self->link, pending, self->count, self->verdicts, &duplicates);
	self->host->count(self->instance, self->duplicates_metric, duplicates);
	if (!is_answered) link_close(&self->link); /* the next attempt begins with a new one */
	bool is_done = true;
	for (size_t i = 0; i < self->count; i++) is_done &= is_settled(self->verdicts[i]);
	if (!is_done) keep_order(self);
	return is_done;
}

static enum cdpd_verdict tell(struct nats *self, struct cdpd_receipt *receipt, bool is_done)
{
	uint64_t stored = 0;
	for (size_t i = 0; i < self->count; i++) {
		if (self->verdicts[i] == LINK_STORED) {
			self->host->receipt_set(receipt, i, CDPD_ACK, 0, NULL);
			again_remove(&self->again, self->records[i].delivery_id);
			stored++;
		} else if (self->verdicts[i] == LINK_REFUSED) {
			bool is_known = record_stream(&self->records[i]) != NULL;
			self->host->receipt_set(
			    receipt, i, CDPD_DROP, 0,
			    is_known ? "larger than max_payload of the server or max_msg_size of the stream"
				     : "a kind of record that this version does not know");
		}
	}
	self->host->count(self->instance, self->messages_metric, stored);
	if (!is_done) self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, self->link.why);
	return is_done ? CDPD_ACK : CDPD_RETRY;
}

static bool make_room(struct nats *self, size_t count)
{
	if (count <= self->size) return true;
	struct cdpd_record *records = realloc(self->records, count * sizeof *records);
	if (records) self->records = records;
	enum link_verdict *verdicts = realloc(self->verdicts, count * sizeof *verdicts);
	if (verdicts) self->verdicts = verdicts;
	if (!records || !verdicts) return false;
	self->size = count;
	return true;
}

static bool collect(struct nats *self, const struct cdpd_batch *batch)
{
	self->count = self->host->batch_count(batch);
	if (!make_room(self, self->count)) return false;
	for (size_t i = 0; i < self->count; i++) {
		self->records[i].size = sizeof self->records[i];
		if (self->host->batch_record(batch, i, &self->records[i]) != CDPD_OK) return false;
		bool is_known = record_stream(&self->records[i]) != NULL;
		self->verdicts[i] = is_known ? LINK_UNKNOWN : LINK_REFUSED;
	}
	return true;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct nats *self = ctx;
	if (!collect(self, batch)) return CDPD_RETRY;
	bool was_up = link_is_up(&self->link);
	bool is_done = attempt(self);
	if (!is_done && was_up && !link_is_up(&self->link)) is_done = attempt(self); /* a server that was restarted */
	return tell(self, receipt, is_done);
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct nats *self = ctx;
	char **const texts[] = {&self->stream,  &self->user,      &self->password, &self->token,   &self->credentials,
				&self->ca_file, &self->cert_file, &self->key_file, &self->tls_host};
	link_close(&self->link);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) free(*texts[i]);
	for (size_t i = 0; i < SERVERS_MAX; i++) free(self->servers[i]);
	for (size_t i = 0; i < LINK_PATTERNS; i++) free(self->templates[i]);
	free(self->records);
	free(self->verdicts);
	again_free(&self->again);
	free(self->payload);
	free(self);
}

/* NULL when the option is empty. Without the newline that files end in. */
static int take(struct nats *self, const struct cdpd_conf *conf, const char *name, char **out)
{
	struct cdpd_str text = self->host->conf_text(conf, name);
	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) text.len--;
	if (text.len == 0) return CDPD_OK;
	*out = strndup(text.ptr, text.len);
	return *out ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int complain(const struct nats *self, const char *option, const char *what)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s: %s", option, what);
	return CDPD_ERR_INVALID;
}

static int take_servers(struct nats *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "servers");
	if (count == 0 || count > SERVERS_MAX) return complain(self, "servers", "there must be 1 to 16");
	for (size_t i = 0; i < count; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "servers", i);
		if (!(self->servers[i] = strndup(item.ptr, item.len))) return CDPD_ERR_NOMEM;
		if (strchr(self->servers[i], '@'))
			return complain(self, "servers",
					"user and password do not belong into a URL: say `user` and `password`");
		if (strncmp(self->servers[i], "nats://", 7) != 0 && strncmp(self->servers[i], "tls://", 6) != 0)
			return complain(self, "servers", "they are nats://host:port or tls://host:port");
	}
	self->options.servers = (const char *const *)self->servers;
	self->options.server_count = (int)count;
	return CDPD_OK;
}

static const char *const template_options[LINK_PATTERNS] = {"subject", "profile_subject", "change_subject"};

static int take_texts(struct nats *self, const struct cdpd_conf *conf)
{
	const struct {
		const char *name;
		char **out;
	} texts[] = {
	    {template_options[0], &self->templates[0]},
	    {template_options[1], &self->templates[1]},
	    {template_options[2], &self->templates[2]},
	    {"stream", &self->stream},
	    {"user", &self->user},
	    {"password", &self->password},
	    {"token", &self->token},
	    {"credentials", &self->credentials},
	    {"ca_file", &self->ca_file},
	    {"cert_file", &self->cert_file},
	    {"key_file", &self->key_file},
	    {"tls_host", &self->tls_host},
	};
	int rc = CDPD_OK;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == CDPD_OK; i++)
		rc = take(self, conf, texts[i].name, texts[i].out);
	return rc;
}

/* And what its subjects match. */
static int check_template(struct nats *self, size_t i)
{
	const char *text = self->templates[i], *why = text ? subject_check(text) : "it is empty";
	if (why) return complain(self, template_options[i], why);
	if (subject_pattern(text, self->patterns[i])) self->options.patterns[i] = self->patterns[i];
	return CDPD_OK;
}

static int check(struct nats *self)
{
	for (size_t i = 0; i < LINK_PATTERNS; i++)
		if (check_template(self, i) != CDPD_OK) return CDPD_ERR_INVALID;
	if (self->stream && strpbrk(self->stream, " .*>/\\\t\n"))
		return complain(self, "stream", "names hold no '.', '*', '>', '/', '\\' and no white space");
	if (self->options.create_stream && !self->stream) return complain(self, "create_stream", "say `stream` too");
	for (size_t i = 0; i < LINK_PATTERNS && self->options.create_stream; i++)
		if (!self->options.patterns[i])
			return complain(self, template_options[i],
					"with create_stream it must begin with a token without placeholder");
	if (!self->cert_file != !self->key_file)
		return complain(self, "cert_file", "`cert_file` and `key_file` go together");
	if (self->password && !self->user) return complain(self, "password", "say `user` too");
	return CDPD_OK;
}

static int configure(struct nats *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	int rc = take_servers(self, conf);
	if (rc == CDPD_OK) rc = take_texts(self, conf);
	if (rc != CDPD_OK) return rc;
	struct link_options *o = &self->options;
	o->stream = self->stream;
	o->user = self->user;
	o->password = self->password;
	o->token = self->token;
	o->credentials = self->credentials;
	o->ca_file = self->ca_file;
	o->cert_file = self->cert_file;
	o->key_file = self->key_file;
	o->tls_host = self->tls_host;
	o->create_stream = host->conf_bool(conf, "create_stream");
	o->replicas = host->conf_int(conf, "replicas");
	o->max_age_us = host->conf_int(conf, "max_age");
	o->duplicate_window_us = host->conf_int(conf, "duplicate_window");
	if (o->max_age_us && o->duplicate_window_us > o->max_age_us) o->duplicate_window_us = o->max_age_us;
	o->connect_timeout_ms = host->conf_int(conf, "connect_timeout") / 1000;
	o->timeout_ms = host->conf_int(conf, "timeout") / 1000;
	self->link.options = o;
	return check(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct nats *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->next_name = (uint64_t)time(NULL) << 24;
	self->messages_metric = host->counter(instance, "nats_messages_total", "Messages that a stream has.");
	self->duplicates_metric = host->counter(instance, "nats_duplicates_total", "Of these, those it had before.");
	self->connects_metric = host->counter(instance, "nats_connects_total", "Connections made.");
	int rc = configure(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

#define TEXT(option, most, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_STRING, .max = (most), .help = (sentence) \
	}
#define SECRET(option, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_SECRET, .help = (sentence) \
	}

static const struct cdpd_option options[] = {
    {
	.name = "servers",
	.type = CDPD_OPTION_LIST,
	.is_required = true,
	.min = 1,
	.max = SERVERS_MAX,
	.help = "nats://host:port or tls://host:port, tried until one answers",
    },
    {
	.name = "subject",
	.type = CDPD_OPTION_STRING,
	.default_text = "cdpd.events.{type}.{event}",
	.min = 1,
	.max = SUBJECT_TEMPLATE_MAX,
	.help = "of an event's message; {type}, {event}, {source}, {profile}",
    },
    {
	.name = "profile_subject",
	.type = CDPD_OPTION_STRING,
	.default_text = "cdpd.profiles.{profile}",
	.min = 1,
	.max = SUBJECT_TEMPLATE_MAX,
	.help = "of a person's message",
    },
    {
	.name = "change_subject",
	.type = CDPD_OPTION_STRING,
	.default_text = "cdpd.changes.{change}.{profile}",
	.min = 1,
	.max = SUBJECT_TEMPLATE_MAX,
	.help = "of a change's message; {change} is its kind",
    },
    TEXT("stream", 255, "that must take the messages; none: whichever takes the subject"),
    {
	.name = "create_stream",
	.type = CDPD_OPTION_BOOL,
	.default_text = "false",
	.help = "make `stream` when it is not there, and give it the subjects that it does not take",
    },
    {
	.name = "replicas",
	.type = CDPD_OPTION_INT,
	.default_text = "1",
	.min = 1,
	.max = 5,
	.help = "of a stream that is made",
    },
    {
	.name = "max_age",
	.type = CDPD_OPTION_DURATION,
	.default_text = "0s",
	.max = 3.2e14,
	.help = "how long a stream that is made keeps messages; 0s: for ever",
    },
    {
	.name = "duplicate_window",
	.type = CDPD_OPTION_DURATION,
	.default_text = "2m",
	.min = 1e5,
	.max = 3.2e14,
	.help = "how long a stream that is made knows messages again",
    },
    TEXT("user", 255, "who cdpd is to the server"),
    SECRET("password", "of `user`"),
    SECRET("token", "instead of user and password"),
    TEXT("credentials", 4095, "a .creds file: user JWT and seed"),
    TEXT("ca_file", 4095, "certificates that the server's is checked with, PEM; none: the system's"),
    TEXT("cert_file", 4095, "cdpd's own certificate, PEM"),
    TEXT("key_file", 4095, "and its key"),
    TEXT("tls_host", 255, "the name that the server's certificate must have; none: that of the URL"),
    {
	.name = "connect_timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "4s",
	.min = 1e5,
	.max = 60e6,
	.help = "how long to wait for each server",
    },
    {
	.name = "timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 1e5,
	.max = 600e6,
	.help = "how long to wait for the acks of a batch",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4,
    .name = "nats",
    .version = "1.1.0",
    .summary = "publishes events, people and changes to a JetStream stream of NATS",
    .caps = CDPD_CAP_EXPORT,
    .flags = CDPD_PLUGIN_OWN_IO,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
