/* What of librdkafka's settings may be given, and what cdpd promises and therefore sets itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka.h"

struct name_and_text {
	const char *name, *text;
};

/* Stand before the user's settings, which may change them. */
static const struct name_and_text defaults[] = {
    {"client.id", "cdpd"},
    {"partitioner", "murmur2_random"}, /* where Java's clients put a key */
    {"log.connection.close", "false"},
    {"topic.metadata.propagation.max.ms", "5000"}, /* then an unknown topic is told, not waited for */
};

/* Stand behind them: the promises. A gap may never be left in a key's order, and only we say how long a batch is waited for. */
static const struct name_and_text promises[] = {
    {"enable.idempotence", "true"},
    {"enable.gapless.guarantee", "true"},
    {"acks", "all"},
    {"message.timeout.ms", "0"},
};

/* Another reason why a name is not taken from `settings`. */
static const struct name_and_text refused[] = {
    {"bootstrap.servers", "use the option brokers"},
    {"metadata.broker.list", "use the option brokers"},
    {"compression.codec", "use the option compression"},
    {"compression.type", "use the option compression"},
    {"sasl.password", "use the option sasl_password, which is not written in the configuration"},
    {"ssl.key.password", "use the option ssl_key_password, which is not written in the configuration"},
    {"ssl.keystore.password", "use the option ssl_keystore_password, which is not written in the configuration"},
    {"sasl.oauthbearer.client.secret", "use the option oauth_client_secret, which is not written in the configuration"},
    {"ssl.key.pem", "use ssl.key.location: a key is not written in the configuration"},
    {"request.required.acks", "cdpd sets it"},
    {"delivery.timeout.ms", "cdpd sets it"},
    {"transactional.id", "cdpd does not use transactions"},
    {"plugin.library.paths", "no code is loaded by a setting"},
    {"delivery.report.only.error", "cdpd needs every report"},
    {"dr_cb", "it is a function"},
    {"dr_msg_cb", "it is a function"},
    {"log_cb", "it is a function"},
    {"opaque", "it is a pointer"},
};

static const struct name_and_text secrets[] = {
    {"sasl_password", "sasl.password"},
    {"ssl_key_password", "ssl.key.password"},
    {"ssl_keystore_password", "ssl.keystore.password"},
    {"oauth_client_secret", "sasl.oauthbearer.client.secret"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const char *why_refused(const char *name)
{
	for (size_t i = 0; i < COUNT(refused); i++)
		if (strcmp(refused[i].name, name) == 0) return refused[i].text;
	for (size_t i = 0; i < COUNT(promises); i++)
		if (strcmp(promises[i].name, name) == 0) return "cdpd's promises need it as it is";
	return NULL;
}

/* The value is not told: it may be half a secret. */
static int set(struct kafka *self, const char *name, const char *value)
{
	char why[300];
	if (rd_kafka_conf_set(self->conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK) return CDPD_OK;
	self->host->log(self->instance, CDPD_LOG_ERROR, "settings: '%s' is not taken: %s", name, why);
	return CDPD_ERR_INVALID;
}

static int set_all(struct kafka *self, const struct name_and_text *table, size_t count)
{
	int rc = CDPD_OK;
	for (size_t i = 0; i < count && rc == CDPD_OK; i++) rc = set(self, table[i].name, table[i].text);
	return rc;
}

static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len > 0 && strchr(" \t", text[len - 1])) text[--len] = '\0';
	return text;
}

/* "name=value" */
static int set_item(struct kafka *self, struct cdpd_str item)
{
	char *text = strndup(item.ptr, item.len);
	if (!text) return CDPD_ERR_NOMEM;
	char *equals = strchr(text, '=');
	int rc = CDPD_ERR_INVALID;
	if (equals) *equals = '\0';
	const char *name = trim(text), *why = equals ? why_refused(name) : "it must be name=value";
	if (why)
		self->host->log(self->instance, CDPD_LOG_ERROR, "settings: '%s' cannot be given: %s", name, why);
	else
		rc = set(self, name, trim(equals + 1));
	free(text);
	return rc;
}

static int set_brokers(struct kafka *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "brokers"), len = 0;
	for (size_t i = 0; i < count; i++) len += self->host->conf_item(conf, "brokers", i).len + 1;
	char *list = malloc(len + 1);
	if (!list) return CDPD_ERR_NOMEM;
	len = 0;
	for (size_t i = 0; i < count; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "brokers", i);
		if (len) list[len++] = ',';
		memcpy(list + len, item.ptr, item.len);
		len += item.len;
	}
	list[len] = '\0';
	int rc = set(self, "bootstrap.servers", list);
	free(list);
	return rc;
}

static int set_from(struct kafka *self, const struct cdpd_conf *conf, const char *option, const char *name)
{
	struct cdpd_str value = self->host->conf_text(conf, option);
	if (!value.len) return CDPD_OK;
	char *text = strndup(value.ptr, value.len);
	if (!text) return CDPD_ERR_NOMEM;
	int rc = set(self, name, text);
	explicit_bzero(text, value.len);
	free(text);
	return rc;
}

int settings_read(struct kafka *self, const struct cdpd_conf *conf)
{
	self->conf = rd_kafka_conf_new();
	int rc = set_all(self, defaults, COUNT(defaults));
	if (rc == CDPD_OK) rc = set_brokers(self, conf);
	if (rc == CDPD_OK) rc = set_from(self, conf, "compression", "compression.codec");
	size_t count = self->host->conf_count(conf, "settings");
	for (size_t i = 0; i < count && rc == CDPD_OK; i++)
		rc = set_item(self, self->host->conf_item(conf, "settings", i));
	for (size_t i = 0; i < COUNT(secrets) && rc == CDPD_OK; i++)
		rc = set_from(self, conf, secrets[i].name, secrets[i].text);
	return rc == CDPD_OK ? set_all(self, promises, COUNT(promises)) : rc;
}
