/* campaign: a sync enricher that reads utm_* parameters and click ids off the page's address. See README.md. */
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"

#define QUERY_MAX       8192 /* bytes of a query string that are looked at */
#define PARAMS_MAX      64
#define VALUE_MAX       255 /* longer campaign values are cut */
#define CLICK_ID_MAX    512 /* longer click ids are ignored: half a click id is worth nothing */
#define EXTRA_IDS_MAX   32
#define EXTRA_ID_LENGTH 32

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
 * Pinterest, Snapchat, Reddit, Impact. */
static const char *const known_ids[] = {
    "gclid",  "gbraid", "wbraid",    "dclid",      "fbclid", "yclid", "ysclid",  "msclkid",
    "ttclid", "twclid", "li_fat_id", "rb_clickid", "epik",   "sccid", "rdt_cid", "irclickid",
};

struct campaign {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int query[QUERY_PATHS], given[FIELD_COUNT], out[FIELD_COUNT], click_type, click_value;
	char extra_ids[EXTRA_IDS_MAX][EXTRA_ID_LENGTH + 1];
	size_t extra_count;
};

struct text {
	char bytes[CLICK_ID_MAX + 1];
	size_t len;
	bool is_cut;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_key(struct cdpd_str key, const char *name)
{
	if (key.len != strlen(name)) return false;
	for (size_t i = 0; i < key.len; i++) {
		if (lower(key.ptr[i]) != name[i]) return false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX and plus; a broken escape stays as it is. */
static void decode(struct cdpd_str raw, struct text *out)
{
	out->len = 0;
	out->is_cut = false;
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
		if (c == '%' && raw.len - i > 2 && hex_digit(raw.ptr[i + 1]) >= 0 && hex_digit(raw.ptr[i + 2]) >= 0) {
			c = (char)(hex_digit(raw.ptr[i + 1]) * 16 + hex_digit(raw.ptr[i + 2]));
			i += 2;
		}
		if (out->len == CLICK_ID_MAX) {
			out->is_cut = true;
			return;
		}
		out->bytes[out->len++] = c;
	}
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no surrogates, no overlong forms) or a control character. */
static size_t sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80) return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
	size_t len = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
		     : (p[0] & 0xf0) == 0xe0        ? 3
		     : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						    : 0;
	if (len == 0 || len > left) return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
	if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
	return len;
}

/* Is the text printable UTF-8? Cuts it at `max` bytes, between characters; what the decoder cut may end in half a character. */
static bool check(struct text *text, size_t max)
{
	size_t at = 0;
	while (at < text->len) {
		size_t len = sequence((const unsigned char *)text->bytes + at, text->len - at);
		if (len == 0 && !(text->is_cut && text->len - at < 4)) return false;
		if (len == 0 || at + len > max) break;
		at += len;
	}
	text->is_cut = text->is_cut || at < text->len;
	text->len = at;
	return at > 0;
}

static const char *find_click_id(const struct campaign *self, struct cdpd_str key)
{
	for (size_t i = 0; i < sizeof known_ids / sizeof known_ids[0]; i++) {
		if (is_key(key, known_ids[i])) return known_ids[i];
	}
	for (size_t i = 0; i < self->extra_count; i++) {
		if (is_key(key, self->extra_ids[i])) return self->extra_ids[i];
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
		if (r->is_set[i] || !is_key(key, params[i])) continue;
		decode(raw, &value);
		if (!check(&value, VALUE_MAX)) return;
		r->is_set[i] = true;
		set(r, r->self->out[i], value.bytes, value.len);
		return;
	}
	const char *type = r->has_click_id ? NULL : find_click_id(r->self, key);
	if (!type) return;
	decode(raw, &value);
	if (!check(&value, CLICK_ID_MAX) || value.is_cut) return;
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
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		int rc = r->self->host->event_get(r->self->instance, r->event, r->self->given[i], &value);
		if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING || value.text.len == 0) continue;
		text.is_cut = value.text.len > CLICK_ID_MAX;
		text.len = text.is_cut ? CLICK_ID_MAX : value.text.len;
		memcpy(text.bytes, value.text.ptr, text.len);
		if (!check(&text, VALUE_MAX)) continue;
		r->is_given = true;
		set(r, r->self->out[i], text.bytes, text.len);
	}
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct reading r = {.self = ctx, .event = event};
	take_given(&r);
	struct cdpd_str query = find_query(ctx, event);
	if (query.len) read_query(&r, query);
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
	for (size_t i = 0; i < name.len; i++) to[i] = lower(name.ptr[i]);
	return CDPD_OK;
}

static int intern(struct campaign *self)
{
	const struct cdpd_host *host = self->host;
	int worst = 0;
	for (size_t i = 0; i < QUERY_PATHS; i++) worst |= self->query[i] = host->path(self->instance, query_paths[i]);
	for (size_t i = 0; i < FIELD_COUNT; i++) worst |= self->given[i] = host->path(self->instance, given_paths[i]);
	for (size_t i = 0; i < FIELD_COUNT; i++) worst |= self->out[i] = host->path(self->instance, out_paths[i]);
	worst |= self->click_type = host->path(self->instance, "enrichment.campaign.click_id.type");
	worst |= self->click_value = host->path(self->instance, "enrichment.campaign.click_id.value");
	return worst < 0 ? CDPD_ERR_NOMEM : CDPD_OK;
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
	if (rc != CDPD_OK) {
		free(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static void destroy(void *self)
{
	free(self);
}

static const char *const needs[] = {"context.page.url", "context.page.search", "properties.url", "context.campaign"};
static const char *const provides[] = {"enrichment.campaign"};
static const struct cdpd_option options[] = {
    {
	.name = "click_ids",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.help = "further query parameters that are click ids, beside the known ones",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "campaign",
    .version = "1.0.0",
    .summary = "campaign parameters (utm_*) and click ids from the page's address",
    .caps = CDPD_CAP_ENRICH,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {1, provides},
    .options = {sizeof options[0], 1, options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
