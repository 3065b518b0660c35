/* campaign: a sync enricher that reads utm_* parameters and click ids off the page's address, and tells where the visitor came
 * from. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"
#include "referrer.h"
#include "text.h"

#define QUERY_MAX       8192 /* bytes of a query string that are looked at */
#define PARAMS_MAX      64
#define VALUE_MAX       255      /* longer campaign values are cut */
#define CLICK_ID_MAX    TEXT_MAX /* longer click ids are ignored: half a click id is worth nothing */
#define EXTRA_IDS_MAX   32
#define EXTRA_ID_LENGTH 32
#define INTERNAL_MAX    32
#define HOST_LENGTH     253
#define TABLE_MAX       (1 << 20)

enum field { SOURCE, MEDIUM, NAME, TERM, CONTENT, ID, FIELD_COUNT };

static const char *const params[FIELD_COUNT] = {"utm_source", "utm_medium",  "utm_campaign",
						"utm_term",   "utm_content", "utm_id"};
static const char *const given_paths[FIELD_COUNT] = {
    "context.campaign.source", "context.campaign.medium",  "context.campaign.name",
    "context.campaign.term",   "context.campaign.content", "context.campaign.id",
};
static const char *const out_paths[FIELD_COUNT] = {
    "enrichment.campaign.source", "enrichment.campaign.medium",  "enrichment.campaign.name",
    "enrichment.campaign.term",   "enrichment.campaign.content", "enrichment.campaign.id",
};
static const char *const query_paths[] = {"context.page.url", "context.page.search", "properties.url"};
#define SEARCH      1 /* some clients send it without its '?' */
#define QUERY_PATHS (sizeof query_paths / sizeof query_paths[0])

/* Google Ads, Display & Video, Search Ads 360, Meta, Yandex (Direct and organic), Microsoft, TikTok, X, LinkedIn, VK,
 * Pinterest, Snapchat, Reddit, Impact, Google Shopping, Outbrain, Taboola, Mailchimp, HubSpot, Klaviyo, Awin, CJ. */
static const char *const known_ids[] = {
    "gclid",   "gbraid", "wbraid",    "dclid",      "fbclid", "yclid", "ysclid",  "msclkid",
    "ttclid",  "twclid", "li_fat_id", "rb_clickid", "epik",   "sccid", "rdt_cid", "irclickid",
    "srsltid", "obclid", "tblci",     "mc_eid",     "_hsenc", "_kx",   "awc",     "cjevent",
};

struct campaign {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int query[QUERY_PATHS], all_given, given[FIELD_COUNT], out[FIELD_COUNT], click_type, click_value;
	char extra_ids[EXTRA_IDS_MAX][EXTRA_ID_LENGTH + 1];
	size_t extra_count;
	struct referrers *referrers; /* NULL: not asked for */
	char internal[INTERNAL_MAX][HOST_LENGTH + 1];
	size_t internal_count;
	int page_referrer, event_referrer, medium, source, host_name, term;
};

static const char *find_click_id(const struct campaign *self, struct cdpd_str key)
{
	for (size_t i = 0; i < sizeof known_ids / sizeof known_ids[0]; i++) {
		if (text_is_key(key, known_ids[i])) return known_ids[i];
	}
	for (size_t i = 0; i < self->extra_count; i++) {
		if (text_is_key(key, self->extra_ids[i])) return self->extra_ids[i];
	}
	return NULL;
}

struct reading { /* of one query */
	struct campaign *self;
	struct cdpd_event *event;
	bool is_given; /* the SDK told the campaign: the address adds none of its fields */
	bool is_set[FIELD_COUNT];
	bool has_click_id;
	int error;
};

static void set(struct reading *r, int path, const char *text, size_t len)
{
	const struct cdpd_host *host = r->self->host;
	int rc = host->event_set_text(r->self->instance, r->event, path, (struct cdpd_str){text, len});
	if (rc != CDPD_OK) r->error = rc;
}

static void read_param(struct reading *r, struct cdpd_str key, struct cdpd_str raw)
{
	struct text value;
	for (size_t i = 0; i < FIELD_COUNT && !r->is_given; i++) {
		if (r->is_set[i] || !text_is_key(key, params[i])) continue;
		text_decode(raw, &value);
		if (!text_check(&value, VALUE_MAX)) return;
		r->is_set[i] = true;
		set(r, r->self->out[i], value.bytes, value.len);
		return;
	}
	const char *type = r->has_click_id ? NULL : find_click_id(r->self, key);
	if (!type) return;
	text_decode(raw, &value);
	if (!text_check(&value, CLICK_ID_MAX) || value.is_cut) return;
	r->has_click_id = true;
	set(r, r->self->click_type, type, strlen(type));
	set(r, r->self->click_value, value.bytes, value.len);
}

static void read_query(struct reading *r, struct cdpd_str query)
{
	size_t start = 0;
	if (query.len > QUERY_MAX) query.len = QUERY_MAX;
	for (size_t i = 0, count = 0; i <= query.len && count < PARAMS_MAX; i++) {
		if (i < query.len && query.ptr[i] != '&' && query.ptr[i] != ';') continue;
		struct cdpd_str pair = {query.ptr + start, i - start};
		const char *eq = memchr(pair.ptr, '=', pair.len);
		if (eq) {
			size_t key_len = (size_t)(eq - pair.ptr);
			read_param(r, (struct cdpd_str){pair.ptr, key_len},
				   (struct cdpd_str){eq + 1, pair.len - key_len - 1});
		}
		start = i + 1;
		count++;
	}
}

/* What stands behind '?' and before '#'; empty when there is none. */
static struct cdpd_str query_of(struct cdpd_str url)
{
	const char *hash = memchr(url.ptr, '#', url.len);
	if (hash) url.len = (size_t)(hash - url.ptr);
	const char *mark = memchr(url.ptr, '?', url.len);
	if (!mark) return (struct cdpd_str){"", 0};
	return (struct cdpd_str){mark + 1, url.len - (size_t)(mark - url.ptr) - 1};
}

static struct cdpd_str find_query(struct campaign *self, const struct cdpd_event *event)
{
	struct cdpd_value value;
	for (size_t i = 0; i < QUERY_PATHS; i++) {
		int rc = self->host->event_get(self->instance, event, self->query[i], &value);
		if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING) continue;
		bool is_bare = i == SEARCH && !memchr(value.text.ptr, '?', value.text.len);
		struct cdpd_str query = is_bare ? value.text : query_of(value.text);
		if (query.len) return query;
	}
	return (struct cdpd_str){"", 0};
}

/* A campaign is one thing: fields of the SDK's and of the address are never mixed. */
static void take_given(struct reading *r)
{
	struct cdpd_value value;
	struct text text;
	int all = r->self->host->event_get(r->self->instance, r->event, r->self->all_given, &value);
	if (all != CDPD_OK || value.kind != CDPD_VALUE_JSON) return; /* nearly always: one question instead of six */
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		int rc = r->self->host->event_get(r->self->instance, r->event, r->self->given[i], &value);
		if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING || value.text.len == 0) continue;
		text.is_cut = value.text.len > CLICK_ID_MAX;
		text.len = text.is_cut ? CLICK_ID_MAX : value.text.len;
		memcpy(text.bytes, value.text.ptr, text.len);
		if (!text_check(&text, VALUE_MAX)) continue;
		r->is_given = true;
		set(r, r->self->out[i], text.bytes, text.len);
	}
}

/* ── where from ──────────────────────────────────────────────────────────── */

static struct cdpd_str text_at(struct campaign *self, const struct cdpd_event *event, int path)
{
	struct cdpd_value value;
	int rc = self->host->event_get(self->instance, event, path, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING) return (struct cdpd_str){"", 0};
	return value.text;
}

static bool is_internal(const struct campaign *self, const struct text *host)
{
	for (size_t i = 0; i < self->internal_count; i++) {
		if (referrer_is_under(host, self->internal[i], strlen(self->internal[i]))) return true;
	}
	return false;
}

static void set_referrer(struct reading *r, const struct referrer *from)
{
	struct text term;
	set(r, r->self->host_name, from->host.bytes, from->host.len);
	set(r, r->self->medium, from->medium, strlen(from->medium));
	if (from->source) set(r, r->self->source, from->source, strlen(from->source));
	text_decode(from->term, &term);
	if (text_check(&term, VALUE_MAX)) set(r, r->self->term, term.bytes, term.len);
}

/* A visit with a page and without a referrer was typed in, or came from where nothing is told. */
static void read_referrer(struct reading *r)
{
	struct campaign *self = r->self;
	struct referrer from;
	struct cdpd_str page = text_at(self, r->event, self->query[0]);
	struct cdpd_str text = text_at(self, r->event, self->page_referrer);
	if (text.len == 0) text = text_at(self, r->event, self->event_referrer);
	if (text.len == 0) {
		if (page.len) set(r, self->medium, "direct", 6);
		return;
	}
	if (text.len > QUERY_MAX) text.len = QUERY_MAX;
	referrer_find(self->referrers, text, page, &from);
	if (!from.medium) return;
	if (is_internal(self, &from.host)) {
		from.medium = "internal";
		from.source = NULL;
		from.term.len = 0;
	}
	set_referrer(r, &from);
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct reading r = {.self = ctx, .event = event};
	take_given(&r);
	struct cdpd_str query = find_query(ctx, event);
	if (query.len) read_query(&r, query);
	if (r.self->referrers) read_referrer(&r);
	return r.error;
}

static int add_click_id(struct campaign *self, struct cdpd_str name)
{
	if (self->extra_count == EXTRA_IDS_MAX || name.len == 0 || name.len > EXTRA_ID_LENGTH) {
		self->host->log(self->instance, CDPD_LOG_ERROR, "click_ids: at most %d names of 1 to %d bytes",
				EXTRA_IDS_MAX, EXTRA_ID_LENGTH);
		return CDPD_ERR_INVALID;
	}
	char *to = self->extra_ids[self->extra_count++];
	for (size_t i = 0; i < name.len; i++) to[i] = text_lower(name.ptr[i]);
	return CDPD_OK;
}

static int intern(struct campaign *self)
{
	const struct cdpd_host *host = self->host;
	int worst = 0;
	for (size_t i = 0; i < QUERY_PATHS; i++) worst |= self->query[i] = host->path(self->instance, query_paths[i]);
	for (size_t i = 0; i < FIELD_COUNT; i++) worst |= self->given[i] = host->path(self->instance, given_paths[i]);
	for (size_t i = 0; i < FIELD_COUNT; i++) worst |= self->out[i] = host->path(self->instance, out_paths[i]);
	worst |= self->all_given = host->path(self->instance, "context.campaign");
	worst |= self->click_type = host->path(self->instance, "enrichment.campaign.click_id.type");
	worst |= self->click_value = host->path(self->instance, "enrichment.campaign.click_id.value");
	worst |= self->page_referrer = host->path(self->instance, "context.page.referrer");
	worst |= self->event_referrer = host->path(self->instance, "properties.referrer");
	worst |= self->host_name = host->path(self->instance, "enrichment.referrer.host");
	worst |= self->medium = host->path(self->instance, "enrichment.referrer.medium");
	worst |= self->source = host->path(self->instance, "enrichment.referrer.source");
	worst |= self->term = host->path(self->instance, "enrichment.referrer.term");
	return worst < 0 ? CDPD_ERR_NOMEM : CDPD_OK;
}

static int add_internal(struct campaign *self, struct cdpd_str name)
{
	if (self->internal_count == INTERNAL_MAX || name.len == 0 || name.len > HOST_LENGTH) {
		self->host->log(self->instance, CDPD_LOG_ERROR, "internal: at most %d names of 1 to %d bytes",
				INTERNAL_MAX, HOST_LENGTH);
		return CDPD_ERR_INVALID;
	}
	char *to = self->internal[self->internal_count++];
	for (size_t i = 0; i < name.len; i++) to[i] = text_lower(name.ptr[i]);
	return CDPD_OK;
}

/* The file's bytes, malloc'd; an empty name is an empty file. */
static char *read_own_table(struct cdpd_str name, size_t *len)
{
	char path[4096], *bytes = malloc(TABLE_MAX);
	FILE *in = NULL;
	*len = 0;
	if (!bytes || name.len == 0) return bytes;
	if (name.len < sizeof path) {
		memcpy(path, name.ptr, name.len);
		path[name.len] = '\0';
		in = fopen(path, "r");
	}
	if (in) *len = fread(bytes, 1, TABLE_MAX, in);
	bool is_read = in && !ferror(in) && *len < TABLE_MAX;
	if (in) fclose(in);
	if (is_read) return bytes;
	free(bytes);
	return NULL;
}

static int read_referrers(struct campaign *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	struct cdpd_str name = host->conf_text(conf, "referrers");
	char why[REFERRER_WHY_MAX] = "it cannot be read, or is too large";
	size_t len, count = host->conf_count(conf, "internal");
	for (size_t i = 0; i < count; i++) {
		int rc = add_internal(self, host->conf_item(conf, "internal", i));
		if (rc != CDPD_OK) return rc;
	}
	if (!host->conf_bool(conf, "referrer")) return CDPD_OK;
	char *own = read_own_table(name, &len);
	if (own) self->referrers = referrers_new(own, len, why);
	free(own);
	if (self->referrers) return CDPD_OK;
	host->log(self->instance, CDPD_LOG_ERROR, "referrers: %.*s: %s", (int)name.len, name.ptr, why);
	return CDPD_ERR_INVALID;
}

static void destroy(void *ctx)
{
	struct campaign *self = ctx;
	referrers_free(self->referrers);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct campaign *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	int rc = intern(self);
	size_t count = host->conf_count(conf, "click_ids");
	for (size_t i = 0; i < count && rc == CDPD_OK; i++)
		rc = add_click_id(self, host->conf_item(conf, "click_ids", i));
	if (rc == CDPD_OK) rc = read_referrers(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"context.page.url", "context.page.search",   "properties.url",
				    "context.campaign", "context.page.referrer", "properties.referrer"};
static const char *const provides[] = {"enrichment.campaign", "enrichment.referrer"};
static const struct cdpd_option options[] = {
    {
	.name = "click_ids",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.help = "further query parameters that are click ids, beside the known ones",
    },
    {
	.name = "referrer",
	.type = CDPD_OPTION_BOOL,
	.default_text = "true",
	.help = "tell where visitors came from: enrichment.referrer",
    },
    {
	.name = "internal",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.help = "domains of one's own, with their subdomains, beside the host of the page itself",
    },
    {
	.name = "referrers",
	.type = CDPD_OPTION_STRING,
	.default_text = "",
	.help = "a file with further lines of plugins/campaign/referrers.txt, which come before those built in",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "campaign",
    .version = "1.1.0",
    .summary = "campaign parameters, click ids and where the visitor came from",
    .caps = CDPD_CAP_ENRICH,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {sizeof provides / sizeof provides[0], provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
