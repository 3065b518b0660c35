/* geo: a sync enricher that tells the place of an address from MaxMind DB files. See README.md. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "../shared/watched_option.h"
#include "cdpd_plugin.h"
#include "places.h"

#define DATABASES_MAX 8
#define LANGUAGE_MAX  8
#define WAYS          2 /* places of the cache where an address may lie */

static const char *const paths[PLACE_FIELDS] = {
    [PLACE_AS_NAME] = "enrichment.geo.as_name",
    [PLACE_ASN] = "enrichment.geo.asn",
    [PLACE_CITY] = "enrichment.geo.city",
    [PLACE_CONTINENT] = "enrichment.geo.continent",
    [PLACE_COUNTRY] = "enrichment.geo.country",
    [PLACE_COUNTRY_NAME] = "enrichment.geo.country_name",
    [PLACE_LATITUDE] = "enrichment.geo.latitude",
    [PLACE_LONGITUDE] = "enrichment.geo.longitude",
    [PLACE_POSTAL_CODE] = "enrichment.geo.postal_code",
    [PLACE_RADIUS] = "enrichment.geo.accuracy_km",
    [PLACE_REGION] = "enrichment.geo.region",
    [PLACE_REGION_CODE] = "enrichment.geo.region_code",
    [PLACE_TIME_ZONE] = "enrichment.geo.time_zone",
};

enum which_address { ADDRESS_ANY, ADDRESS_EVENT, ADDRESS_CONNECTION };

/* An address as 16 bytes; IPv4 as ::ffff:a.b.c.d. */
struct address {
	uint64_t high, low;
};

struct entry { /* of the cache; its place's texts lie in the files' memory, so an entry is as old as the files */
	struct address address;
	uint32_t era; /* 0: empty */
	struct place place;
};

struct geo {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct watched_reader *readers[DATABASES_MAX];
	size_t reader_count;
	char language[LANGUAGE_MAX + 1];
	enum which_address which;
	struct entry *cache;
	size_t cache_sets; /* a power of two */
	uint32_t era;      /* +1 with each new file */
	int ip, event_ip, out[PLACE_FIELDS];
	int found, private, unknown, lookups;
	struct watched_option files; /* the databases */
};

/* ── which address ───────────────────────────────────────────────────────── */

static bool is_wanted(struct geo *self, const struct cdpd_event *event)
{
	struct cdpd_value own;
	if (self->which == ADDRESS_ANY) return true;
	int rc = self->host->event_get(self->instance, event, self->event_ip, &own);
	bool is_own = rc == CDPD_OK && own.kind == CDPD_VALUE_STRING && own.text.len > 0;
	return is_own == (self->which == ADDRESS_EVENT);
}

static bool parse(struct cdpd_str text, struct address *out)
{
	char copy[INET6_ADDRSTRLEN + 1];
	unsigned char bytes[16] = {[10] = 0xff, [11] = 0xff};
	if (text.len >= sizeof copy) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, bytes + 12) != 1 && inet_pton(AF_INET6, copy, bytes) != 1) return false;
	memcpy(&out->high, bytes, 8);
	memcpy(&out->low, bytes + 8, 8);
	return true;
}

static bool is_v4(const unsigned char bytes[16])
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(bytes, mapped, sizeof mapped) == 0;
}

/* Addresses that are nowhere: private, shared, link-local, loopback, unspecified. Only for counting. */
static bool is_private(const struct address *address)
{
	unsigned char b[16];
	memcpy(b, address, sizeof b);
	if (!is_v4(b)) {
		static const unsigned char zeros[15];
		bool is_low = memcmp(b, zeros, sizeof zeros) == 0 && b[15] <= 1;
		return is_low || (b[0] & 0xfe) == 0xfc || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
	}
	const unsigned char *p = b + 12;
	return p[0] == 10 || p[0] == 127 || p[0] == 0 || (p[0] == 172 && (p[1] & 0xf0) == 16) ||
	       (p[0] == 192 && p[1] == 168) || (p[0] == 169 && p[1] == 254) || (p[0] == 100 && (p[1] & 0xc0) == 64);
}

/* ── looking up ──────────────────────────────────────────────────────────── */

static int look_up(struct geo *self, const struct address *address, struct place *place)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	const struct sockaddr *socket;
	unsigned char bytes[16];
	int is_new, rc = 0;
	memcpy(bytes, address, sizeof bytes);
	memcpy(&v6.sin6_addr, bytes, 16);
	memcpy(&v4.sin_addr, bytes + 12, 4);
	socket = is_v4(bytes) ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
	place->has = 0;
	for (size_t i = 0; i < self->reader_count && rc == 0; i++)
		rc = places_find(watched_get(self->readers[i], &is_new), socket, self->language, place);
	return rc;
}

/* Moves to the newest files; what the cache holds belongs to the old ones then. */
static void take_new_files(struct geo *self)
{
	bool is_any_new = false;
	for (size_t i = 0; i < self->reader_count; i++) {
		int is_new;
		watched_get(self->readers[i], &is_new);
		is_any_new |= is_new != 0;
	}
	if (!is_any_new) return;
	if (++self->era == 0) {
		memset(self->cache, 0, self->cache_sets * WAYS * sizeof *self->cache);
		self->era = 1;
	}
}

static struct entry *set_of(struct geo *self, const struct address *address)
{
	uint64_t hash = address->low ^ address->high * 0x9e3779b97f4a7c15u;
	hash = (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9u; /* what tells neighbours apart stands in the highest byte */
	hash = (hash ^ hash >> 29) * 0x94d049bb133111ebu;
	return &self->cache[((hash >> 32) & (self->cache_sets - 1)) * WAYS];
}

/* The address's entry, or the one to overwrite: the second place, where the first has moved to. */
static struct entry *find_entry(struct geo *self, const struct address *address, bool *is_hit)
{
	struct entry *set = set_of(self, address);
	for (size_t i = 0; i < WAYS; i++) {
		*is_hit = set[i].era == self->era && set[i].address.low == address->low &&
			  set[i].address.high == address->high;
		if (*is_hit) return &set[i];
	}
	set[1] = set[0];
	return &set[0];
}

static int find(struct geo *self, const struct address *address, const struct place **out)
{
	bool is_hit;
	take_new_files(self);
	struct entry *entry = find_entry(self, address, &is_hit);
	*out = &entry->place;
	if (is_hit) return 0;
	entry->era = 0;
	self->host->count(self->instance, self->lookups, 1);
	int rc = look_up(self, address, &entry->place);
	if (rc != 0) return rc;
	entry->address = *address;
	entry->era = self->era;
	return 0;
}

static int set(struct geo *self, struct cdpd_event *event, const struct place *place)
{
	const struct cdpd_host *host = self->host;
	int error = CDPD_OK;
	for (unsigned i = 0; i < PLACE_FIELDS; i++) {
		const struct place_value *value = &place->values[i];
		if (!(place->has & (1u << i))) continue;
		int rc = value->text ? host->event_set_text(self->instance, event, self->out[i],
							    (struct cdpd_str){value->text, value->len})
				     : host->event_set_number(self->instance, event, self->out[i], value->number);
		if (rc != CDPD_OK) error = rc;
	}
	return error;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct geo *self = ctx;
	struct cdpd_value ip;
	struct address address;
	const struct place *place;
	int rc = self->host->event_get(self->instance, event, self->ip, &ip);
	if (rc != CDPD_OK || ip.kind != CDPD_VALUE_STRING || !is_wanted(self, event)) return rc;
	if (!parse(ip.text, &address)) {
		self->host->count(self->instance, self->unknown, 1);
		return CDPD_OK;
	}
	if (find(self, &address, &place) != 0) return CDPD_ERR_IO;
	int counter = place->has ? self->found : is_private(&address) ? self->private : self->unknown;
	self->host->count(self->instance, counter, 1);
	return set(self, event, place);
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int open_databases(struct geo *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	const struct watched_kind *kind = host->conf_bool(conf, "map") ? &places_mapped : &places_copied;
	size_t count = host->conf_count(conf, "databases");
	for (size_t i = 0; i < count && i < DATABASES_MAX; i++) {
		self->readers[i] =
		    watched_option_open(&self->files, kind, "databases", host->conf_item(conf, "databases", i),
					host->conf_int(conf, "reload"), "");
		if (!self->readers[i]) return CDPD_ERR_IO;
		self->reader_count++;
	}
	return CDPD_OK;
}

static int intern(struct geo *self)
{
	const struct cdpd_host *host = self->host;
	int worst = 0;
	worst |= self->ip = host->path(self->instance, "ip");
	worst |= self->event_ip = host->path(self->instance, "context.ip");
	for (size_t i = 0; i < PLACE_FIELDS; i++) worst |= self->out[i] = host->path(self->instance, paths[i]);
	self->found = host->counter(self->instance, "geo_found_total", "Addresses with a place.");
	self->private =
	    host->counter(self->instance, "geo_private_total", "Addresses that are nowhere: private, loopback.");
	self->unknown = host->counter(self->instance, "geo_unknown_total", "Addresses that no database knows.");
	self->lookups =
	    host->counter(self->instance, "geo_lookups_total", "Addresses that were not remembered and looked up.");
	self->files.reloads =
	    host->counter(self->instance, "geo_reloads_total", "Databases that changed and were taken.");
	self->files.failures = host->counter(self->instance, "geo_reload_failures_total",
					     "Databases that changed and could not be used; the old ones stay.");
	return worst < 0 ? CDPD_ERR_NOMEM : CDPD_OK;
}

static enum which_address read_which(struct cdpd_str text)
{
	if (text.len == 5) return ADDRESS_EVENT;
	return text.len == 10 ? ADDRESS_CONNECTION : ADDRESS_ANY;
}

static int read_options(struct geo *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	struct cdpd_str language = host->conf_text(conf, "language");
	size_t entries = (size_t)host->conf_int(conf, "cache");
	if (language.len > LANGUAGE_MAX) return CDPD_ERR_TOO_LARGE;
	memcpy(self->language, language.ptr, language.len);
	self->which = read_which(host->conf_text(conf, "address"));
	self->era = 1;
	self->cache_sets = 1;
	while (self->cache_sets * WAYS < entries) self->cache_sets *= 2;
	self->cache = calloc(self->cache_sets * WAYS, sizeof *self->cache);
	return self->cache ? CDPD_OK : CDPD_ERR_NOMEM;
}

static void destroy(void *ctx)
{
	struct geo *self = ctx;
	for (size_t i = 0; i < self->reader_count; i++) watched_close(self->readers[i]);
	free(self->cache);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct geo *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->files.setup = (struct setup){host, instance};
	int rc = intern(self);
	if (rc == CDPD_OK) rc = read_options(self, conf);
	if (rc == CDPD_OK) rc = open_databases(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"ip", "context.ip"};
static const char *const provides[] = {"enrichment.geo"};
static const struct cdpd_option options[] = {
    {
	.name = "databases",
	.type = CDPD_OPTION_LIST,
	.is_required = true,
	.min = 1,
	.max = DATABASES_MAX,
	.help = "MaxMind DB files; of two that know a field, the first counts",
    },
    {
	.name = "address",
	.type = CDPD_OPTION_ENUM,
	.default_text = "any",
	.values = "any|event|connection",
	.help = "whose address: the event's own (context.ip) or else the connection's, only the one or only the other",
    },
    {
	.name = "language",
	.type = CDPD_OPTION_STRING,
	.default_text = "en",
	.min = 2,
	.max = LANGUAGE_MAX,
	.help = "of the names, where a database has several: en, de, fr, pt-BR, ru, zh-CN …",
    },
    {
	.name = "reload",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 10e3,
	.max = 86400e6,
	.help = "how often the files are looked at; a changed one is used without a restart",
    },
    {
	.name = "map",
	.type = CDPD_OPTION_BOOL,
	.default_text = "false",
	.help = "map the files instead of reading them into memory; then never overwrite one, rename a new one over it",
    },
    {
	.name = "cache",
	.type = CDPD_OPTION_INT,
	.default_text = "4096",
	.min = 16,
	.max = 1e6,
	.help = "addresses remembered by each io thread, about 350 bytes each",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "geo",
    .version = "1.0.0",
    .summary = "country, region, city, coordinates, time zone and network of an address",
    .caps = CDPD_CAP_ENRICH,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
