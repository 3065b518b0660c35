/* crm: an exporter that keeps contacts (and leads) of a CRM as profiles are: HubSpot, Bitrix24, amoCRM. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crm.h"

#define BUDGET_MS 15000 /* then no request is begun; with the last one's time it is less than the host waits */

static const struct provider *const providers[] = {&hubspot, &bitrix24, &amocrm};
#define PROVIDERS (sizeof providers / sizeof providers[0])

static const struct {
	const char *name, *help;
} counters[COUNTS] = {
    [REQUESTS] = {"crm_requests_total", "Requests to the CRM."},
    [CREATED] = {"crm_created_total", "Contacts that were made."},
    [UPDATED] = {"crm_updated_total", "Contacts that were updated."},
    [MERGED] = {"crm_merged_total", "Pairs of contacts that became one."},
    [ERASED] = {"crm_erased_total", "Contacts of erased people."},
    [LIMITED] = {"crm_limited_total", "Answers that meant: too many requests."},
    [CONFLICTS] = {"crm_conflicts_total", "Contacts that gave way to the one that had their e-mail already."},
    [UNCHANGED] = {"crm_unchanged_total", "Contacts that were not written: all that was mapped is as before."},
    [UNMAPPED] = {"crm_unmapped_total", "Ids that could not be remembered."},
};

/* ── a batch ─────────────────────────────────────────────────────────────── */

static struct run *read_batch(struct crm *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct run *run = calloc(1, sizeof *run);
	size_t count = self->host->batch_count(batch);
	if (run) run->items = calloc(count ? count : 1, sizeof *run->items);
	if (!run || !run->items) {
		free(run);
		return NULL;
	}
	run->self = self;
	run->receipt = receipt;
	run->until_ms = now_ms() + BUDGET_MS;
	for (size_t i = 0; i < count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		struct item *item = &run->items[i];
		item->index = i;
		run->count++;
		if (self->host->batch_record(batch, i, &record) == CDPD_OK)
			item_read(self, item, &record);
		else
			item_settle(item, CDPD_RETRY, 0, "the record cannot be read");
	}
	return run;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct crm *self = ctx;
	struct run *run = read_batch(self, batch, receipt);
	if (!run) return CDPD_RETRY;
	*self->runs_end = run;
	self->runs_end = &run->next;
	run_step(self);
	return CDPD_PENDING;
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct crm *self = ctx;
	while (self->runs) {
		struct run *run = self->runs;
		self->runs = run->next;
		for (size_t i = 0; i < run->count; i++) item_fini(&run->items[i]);
		free(run->items);
		free(run);
	}
	json_decref(self->call.body);
	oauth2_free(self->oauth2);
	sent_fini(&self->sent);
	char *const texts[] = {self->url,           self->bearer,          self->unique_property, self->origin,
			       self->merge_tag,     self->withdrawn_field, self->withdrawn_value, self->client_id,
			       self->client_secret, self->refresh_token,   self->redirect_uri,    self->token_url};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) free(texts[i]);
	free(self);
}

/* NULL when the option is empty. Without the newline that files end in. */
static int take(struct crm *self, const struct cdpd_conf *conf, const char *name, char **out)
{
	struct cdpd_str text = self->host->conf_text(conf, name);
	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) text.len--;
	if (text.len == 0) return CDPD_OK;
	*out = strndup(text.ptr, text.len);
	return *out ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int complain(const struct crm *self, const char *what)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s", what);
	return CDPD_ERR_INVALID;
}

static int take_texts(struct crm *self, const struct cdpd_conf *conf)
{
	bool is_bitrix24 = self->provider == &bitrix24;
	const struct {
		const char *name;
		char **out;
	} texts[] = {
	    {is_bitrix24 ? "webhook" : "url", &self->url},
	    {"unique_property", &self->unique_property},
	    {"origin", &self->origin},
	    {"merge_tag", &self->merge_tag},
	    {"withdrawn_field", &self->withdrawn_field},
	    {"withdrawn_value", &self->withdrawn_value},
	    {"client_id", &self->client_id},
	    {"client_secret", &self->client_secret},
	    {"refresh_token", &self->refresh_token},
	    {"redirect_uri", &self->redirect_uri},
	};
	int rc = CDPD_OK;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == CDPD_OK; i++)
		rc = take(self, conf, texts[i].name, texts[i].out);
	if (rc == CDPD_OK && !is_bitrix24) rc = take(self, conf, "token", &self->bearer);
	if (rc == CDPD_OK && !self->url && self->provider->url && !(self->url = strdup(self->provider->url)))
		rc = CDPD_ERR_NOMEM;
	return rc;
}

static int take_url(struct crm *self)
{
	if (!self->url) return CDPD_OK;
	size_t len = strlen(self->url);
	if (strncmp(self->url, "https://", 8) != 0 && strncmp(self->url, "http://", 7) != 0)
		return complain(self, "the CRM's address begins with https://");
	if (len > 400 || strpbrk(self->url, " \t\r\n?#@\"<>"))
		return complain(self, "the CRM's address is no plain URL");
	while (len > 0 && self->url[len - 1] == '/') self->url[--len] = '\0';
	return CDPD_OK;
}

/* amoCRM's other way of signing in. */
static int take_oauth2(struct crm *self)
{
	static const char path[] = "/oauth2/access_token";
	if (self->provider != &amocrm || self->bearer || !self->url || !self->refresh_token) return CDPD_OK;
	if (!self->client_id || !self->client_secret || !self->redirect_uri)
		return complain(self, "refresh_token: say client_id, client_secret and redirect_uri too");
	size_t size = strlen(self->url) + sizeof path;
	self->token_url = malloc(size);
	if (!self->token_url) return CDPD_ERR_NOMEM;
	snprintf(self->token_url, size, "%s%s", self->url, path);
	const struct oauth2_settings settings = {
	    .grant = OAUTH2_REFRESH_TOKEN,
	    .url = self->token_url,
	    .client_id = self->client_id,
	    .client_secret = self->client_secret,
	    .refresh_token = self->refresh_token,
	    .redirect_uri = self->redirect_uri,
	    .is_json = true,
	    .timeout_ms = (uint32_t)self->timeout_ms,
	};
	self->oauth2 = oauth2_new(self->host, self->instance, &settings);
	return self->oauth2 ? CDPD_OK : CDPD_ERR_NOMEM;
}

static bool is_choice(const struct crm *self, const struct cdpd_conf *conf, const char *name, const char *choice)
{
	struct cdpd_str text = self->host->conf_text(conf, name);
	return text.len == strlen(choice) && memcmp(text.ptr, choice, text.len) == 0;
}

static void make_counters(struct crm *self)
{
	for (size_t i = 0; i < COUNTS; i++)
		self->counter[i] = self->host->counter(self->instance, counters[i].name, counters[i].help);
}

static int configure(struct crm *self, const struct cdpd_conf *conf)
{
	for (size_t i = 0; i < PROVIDERS; i++)
		if (is_choice(self, conf, "provider", providers[i]->name)) self->provider = providers[i];
	if (!self->provider) return complain(self, "provider: unknown");
	self->keeps_erased = is_choice(self, conf, "on_erase", "keep");
	self->replaces_values = is_choice(self, conf, "values", "replace");
	self->timeout_ms = self->host->conf_int(conf, "timeout") / 1000;
	double rate = self->host->conf_float(conf, "requests_per_second");
	double burst = self->provider->burst;
	if (rate > 0) burst = rate > 1 ? rate : 1;
	if (rate > 0 && burst > self->provider->burst && self->provider->burst <= 1) burst = self->provider->burst;
	rate_init(&self->rate, rate > 0 ? rate : self->provider->requests_per_second, burst, now_ms());
	int rc = take_texts(self, conf);
	if (rc == CDPD_OK) rc = take_url(self);
	if (rc == CDPD_OK) rc = take_oauth2(self);
	if (rc != CDPD_OK) return rc;
	const char *why = self->provider->check(self);
	return why ? complain(self, why) : CDPD_OK;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct crm *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->runs_end = &self->runs;
	make_counters(self);
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
		.name = option, .type = CDPD_OPTION_STRING, .max = most, .help = sentence \
	}
#define WORD(option, fallback, most, sentence) \
	{ \
		.name = option, .type = CDPD_OPTION_STRING, .default_text = fallback, .min = 1, .max = most, \
		.help = sentence \
	}
#define CHOICE(option, fallback, choices, sentence) \
	{ \
		.name = option, .type = CDPD_OPTION_ENUM, .default_text = fallback, .values = choices, \
		.help = sentence \
	}
#define SECRET(option, sentence) \
	{ \
		.name = option, .type = CDPD_OPTION_SECRET, .help = sentence \
	}

static const struct cdpd_option options[] = {
    {
	.name = "provider",
	.type = CDPD_OPTION_ENUM,
	.is_required = true,
	.values = "hubspot|bitrix24|amocrm",
	.help = "which CRM; amocrm is Kommo too",
    },
    TEXT("url", 400, "amocrm: https://NAME.amocrm.ru; hubspot: only if it is not https://api.hubapi.com"),
    SECRET("webhook", "bitrix24: URL of an inbound webhook"),
    SECRET("token", "hubspot: of a private app; amocrm: a long-lived one"),
    TEXT("client_id", 200, "amocrm, instead of token: the integration's id"),
    SECRET("client_secret", "and its secret"),
    TEXT("redirect_uri", 2000, "and its redirect address"),
    SECRET("refresh_token", "and the first refresh token; its successors are kept"),
    {
	.name = "requests_per_second",
	.type = CDPD_OPTION_FLOAT,
	.default_text = "0",
	.max = 1000,
	.help = "0: what the CRM allows to everybody (hubspot 9, bitrix24 2, amocrm 6)",
    },
    {
	.name = "timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 1e5,
	.max = 12e6,
	.help = "of one request",
    },
    CHOICE("on_erase", "delete", "delete|keep", "what becomes of the contact of somebody who is erased"),
    CHOICE("values", "add", "add|replace",
	   "bitrix24, amocrm: e-mails and phones that others have written: they stay, or go"),
    TEXT("unique_property", 100, "hubspot: a property with unique values that holds the profile's id"),
    WORD("origin", "cdpd", 60, "bitrix24: ORIGINATOR_ID of what is made"),
    WORD("merge_tag", "cdpd duplicate", 100, "amocrm: tag of contacts that are one with another"),
    TEXT("withdrawn_field", 100, "set when consent is withdrawn; amocrm: the field's number or code"),
    WORD("withdrawn_value", "true", 200, "what it is set to"),
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 2,
    .name = "crm",
    .version = "1.0.0",
    .summary = "keeps contacts and leads of HubSpot, Bitrix24 or amoCRM as profiles are",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
