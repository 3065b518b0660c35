/* useragent: a sync enricher that tells browser, operating system and device from the user agent. See README.md. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../shared/watched_option.h"
#include "cdpd_plugin.h"
#include "rules.h"

#define AGENT_MAX   1024 /* longer ones are cut */
#define VERSION_MAX 100

enum out { /* in the order in which they are set: that of their paths */
	   OUT_BROWSER,
	   OUT_BROWSER_MAJOR,
	   OUT_BROWSER_VERSION,
	   OUT_BRAND,
	   OUT_DEVICE,
	   OUT_MODEL,
	   OUT_TYPE,
	   OUT_OS,
	   OUT_OS_VERSION,
	   OUTS,
};
static const char *const paths[OUTS] = {
    [OUT_BROWSER] = "enrichment.userAgent.browser.family",
    [OUT_BROWSER_MAJOR] = "enrichment.userAgent.browser.major",
    [OUT_BROWSER_VERSION] = "enrichment.userAgent.browser.version",
    [OUT_BRAND] = "enrichment.userAgent.device.brand",
    [OUT_DEVICE] = "enrichment.userAgent.device.family",
    [OUT_MODEL] = "enrichment.userAgent.device.model",
    [OUT_TYPE] = "enrichment.userAgent.device.type",
    [OUT_OS] = "enrichment.userAgent.os.family",
    [OUT_OS_VERSION] = "enrichment.userAgent.os.version",
};

/* One user agent and what is said of it; the texts lie behind the struct, the agent first. */
struct entry {
	struct entry *newer, *older; /* by last use */
	struct entry *next;          /* of the same bucket */
	uint64_t hash;
	unsigned short agent_len, ends[OUTS]; /* of the texts, counted from the agent's end */
	char bytes[];
};

struct useragent {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct watched_reader *rules;
	struct watched_option file;
	struct rules_scratch *scratch;
	struct entry **buckets;
	size_t bucket_count, count, max; /* bucket_count: a power of two */
	struct entry *newest, *oldest;
	uint64_t seed;
	int agent, out[OUTS], hits, misses, limited;
};

/* ── what is set ─────────────────────────────────────────────────────────── */

struct description {
	char text[OUTS][RULES_TEXT * 4];
	size_t len[OUTS];
};

static void copy(struct description *to, enum out out, const struct ua_text *from)
{
	memcpy(to->text[out], from->bytes, from->len);
	to->len[out] = from->len;
}

/* "17.4.1": parts up to the first that is absent. */
static void join_version(struct description *to, enum out out, const struct ua_text *parts, size_t count)
{
	size_t len = 0;
	for (size_t i = 0; i < count && parts[i].len && len + parts[i].len < VERSION_MAX; i++) {
		if (i) to->text[out][len++] = '.';
		memcpy(to->text[out] + len, parts[i].bytes, parts[i].len);
		len += parts[i].len;
	}
	to->len[out] = len;
}

static bool is_text(const struct ua_text *text, const char *one)
{
	return text->len == strlen(one) && memcmp(text->bytes, one, text->len) == 0;
}

static bool has(const char *agent, size_t len, const char *part)
{
	return memmem(agent, len, part, strlen(part)) != NULL;
}

/* Rules know families; the kind of device follows from the system and from what browsers say of themselves. */
static const char *type_of(const struct ua_result *result, const char *agent, size_t len)
{
	static const char *const desktops[] = {"Windows", "Mac OS X", "Linux",   "Ubuntu", "Chrome OS",
					       "Fedora",  "Debian",   "FreeBSD", "OpenBSD"};
	const struct ua_text *os = &result->parts[UA_OS];
	if (is_text(&result->parts[UA_DEVICE], "Spider")) return "bot";
	if (has(agent, len, "TV") || has(agent, len, "Tizen 2.") || is_text(os, "tvOS") || is_text(os, "ATV OS X"))
		return "tv";
	if (has(agent, len, "iPad") || has(agent, len, "Tablet")) return "tablet";
	if (is_text(os, "Android")) return has(agent, len, "Mobile") ? "mobile" : "tablet";
	if (is_text(os, "iOS") || is_text(os, "Windows Phone") || is_text(os, "KaiOS")) return "mobile";
	for (size_t i = 0; i < sizeof desktops / sizeof desktops[0]; i++) {
		if (is_text(os, desktops[i])) return "desktop";
	}
	return "";
}

static void describe(const struct ua_result *result, const char *agent, size_t len, struct description *out)
{
	copy(out, OUT_BROWSER, &result->parts[UA_BROWSER]);
	copy(out, OUT_BROWSER_MAJOR, &result->parts[UA_BROWSER_1]);
	join_version(out, OUT_BROWSER_VERSION, &result->parts[UA_BROWSER_1], 3);
	copy(out, OUT_OS, &result->parts[UA_OS]);
	join_version(out, OUT_OS_VERSION, &result->parts[UA_OS_1], 4);
	copy(out, OUT_DEVICE, &result->parts[UA_DEVICE]);
	copy(out, OUT_BRAND, &result->parts[UA_BRAND]);
	copy(out, OUT_MODEL, &result->parts[UA_MODEL]);
	const char *type = type_of(result, agent, len);
	out->len[OUT_TYPE] = strlen(type);
	memcpy(out->text[OUT_TYPE], type, out->len[OUT_TYPE]);
}

/* ── what was asked before ───────────────────────────────────────────────── */

/* Eight bytes a step; the seed keeps strangers from choosing the bucket. */
static uint64_t hash_of(uint64_t seed, const char *text, size_t len)
{
	uint64_t hash = seed ^ len, word;
	for (; len >= 8; text += 8, len -= 8) {
		memcpy(&word, text, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	word = 0;
	memcpy(&word, text, len);
	hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
	return hash ^ (hash >> 32);
}

static struct entry **bucket_of(struct useragent *self, uint64_t hash)
{
	return &self->buckets[hash & (self->bucket_count - 1)];
}

static void unlink_entry(struct useragent *self, struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &self->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &self->oldest) = entry->newer;
}

static void push(struct useragent *self, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = self->newest;
	*(self->newest ? &self->newest->newer : &self->oldest) = entry;
	self->newest = entry;
}

static struct entry *find(struct useragent *self, uint64_t hash, const char *agent, size_t len)
{
	for (struct entry *entry = *bucket_of(self, hash); entry; entry = entry->next) {
		if (entry->hash != hash || entry->agent_len != len || memcmp(entry->bytes, agent, len) != 0) continue;
		if (entry != self->newest) {
			unlink_entry(self, entry);
			push(self, entry);
		}
		return entry;
	}
	return NULL;
}

static void forget_oldest(struct useragent *self)
{
	struct entry *entry = self->oldest, **at = bucket_of(self, entry->hash);
	while (*at != entry) at = &(*at)->next;
	*at = entry->next;
	unlink_entry(self, entry);
	free(entry);
	self->count--;
}

static struct entry *add(struct useragent *self, const struct rules *rules, uint64_t hash, const char *agent,
			 size_t len)
{
	struct ua_result result;
	struct description description;
	size_t total = len;
	rules_match(rules, self->scratch, agent, len, &result);
	if (result.is_limited) self->host->count(self->instance, self->limited, 1);
	describe(&result, agent, len, &description);
	for (size_t i = 0; i < OUTS; i++) total += description.len[i];
	struct entry *entry = malloc(sizeof *entry + total);
	if (!entry) return NULL;
	if (self->count == self->max) forget_oldest(self);
	entry->hash = hash;
	entry->agent_len = (unsigned short)len;
	memcpy(entry->bytes, agent, len);
	for (size_t i = 0, at = 0; i < OUTS; i++) {
		memcpy(entry->bytes + len + at, description.text[i], description.len[i]);
		entry->ends[i] = (unsigned short)(at += description.len[i]);
	}
	entry->next = *bucket_of(self, hash);
	*bucket_of(self, hash) = entry;
	push(self, entry);
	self->count++;
	return entry;
}

/* ── one event ───────────────────────────────────────────────────────────── */

static int set(struct useragent *self, struct cdpd_event *event, const struct entry *entry)
{
	int error = CDPD_OK;
	const char *text = entry->bytes + entry->agent_len;
	for (size_t i = 0, from = 0; i < OUTS; from = entry->ends[i++]) {
		size_t len = entry->ends[i] - from;
		if (len == 0) continue;
		int rc = self->host->event_set_text(self->instance, event, self->out[i],
						    (struct cdpd_str){text + from, len});
		if (rc != CDPD_OK) error = rc;
	}
	return error;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct useragent *self = ctx;
	struct cdpd_value value;
	int rc = self->host->event_get(self->instance, event, self->agent, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING) return rc;
	int is_new;
	const struct rules *rules = watched_get(self->rules, &is_new);
	while (is_new && self->oldest) forget_oldest(self); /* what other rules said */
	size_t len = value.text.len < AGENT_MAX ? value.text.len : AGENT_MAX;
	uint64_t hash = hash_of(self->seed, value.text.ptr, len);
	struct entry *entry = find(self, hash, value.text.ptr, len);
	self->host->count(self->instance, entry ? self->hits : self->misses, 1);
	if (!entry) entry = add(self, rules, hash, value.text.ptr, len);
	return entry ? set(self, event, entry) : CDPD_ERR_NOMEM;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int intern(struct useragent *self)
{
	const struct cdpd_host *host = self->host;
	int worst = self->agent = host->path(self->instance, "userAgent");
	for (size_t i = 0; i < OUTS; i++) worst |= self->out[i] = host->path(self->instance, paths[i]);
	const struct setup_counter counters[] = {
	    {&self->hits, "useragent_hits_total", "User agents that were remembered."},
	    {&self->misses, "useragent_misses_total", "User agents that the rules were asked about."},
	    {&self->limited, "useragent_limited_total", "User agents for which a rule gave up at its limit."},
	    {&self->file.reloads, "useragent_reloads_total", "Rule files that changed and were taken."},
	    {&self->file.failures, "useragent_reload_failures_total",
	     "Rule files that changed and could not be used; the old ones stay."},
	};
	setup_counters(self->file.setup, counters, sizeof counters / sizeof counters[0]);
	return worst < 0 ? CDPD_ERR_NOMEM : CDPD_OK;
}

static int open_rules(struct useragent *self, const struct cdpd_conf *conf)
{
	self->rules =
	    watched_option_open(&self->file, &rules_kind, "rules", self->host->conf_text(conf, "rules"),
				self->host->conf_int(conf, "reload"), "; the Debian package uap-core has them");
	return self->rules ? CDPD_OK : CDPD_ERR_IO;
}

static int prepare(struct useragent *self, const struct cdpd_conf *conf)
{
	self->max = (size_t)self->host->conf_int(conf, "cache");
	self->bucket_count = 16;
	while (self->bucket_count < self->max) self->bucket_count *= 2;
	self->buckets = calloc(self->bucket_count, sizeof(struct entry *));
	self->scratch = rules_scratch_new();
	if (getrandom(&self->seed, sizeof self->seed, 0) != sizeof self->seed) return CDPD_ERR_IO;
	return self->buckets && self->scratch ? CDPD_OK : CDPD_ERR_NOMEM;
}

static void destroy(void *ctx)
{
	struct useragent *self = ctx;
	while (self->oldest) forget_oldest(self);
	free(self->buckets);
	rules_scratch_free(self->scratch);
	watched_close(self->rules);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct useragent *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->file.setup = (struct setup){host, instance};
	int rc = intern(self);
	if (rc == CDPD_OK) rc = open_rules(self, conf);
	if (rc == CDPD_OK) rc = prepare(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"userAgent"};
static const char *const provides[] = {"enrichment.userAgent"};
static const struct cdpd_option options[] = {
    {
	.name = "rules",
	.type = CDPD_OPTION_STRING,
	.default_text = "/usr/share/uap-core/regexes.yaml",
	.help = "the regexes.yaml of uap-core",
    },
    {
	.name = "cache",
	.type = CDPD_OPTION_INT,
	.default_text = "4096",
	.min = 16,
	.max = 1e6,
	.help = "user agents remembered by each io thread, about 400 bytes each, 3,000 at most",
    },
    {
	.name = "reload",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 10e3,
	.max = 86400e6,
	.help = "how often the file is looked at; a changed one is used without a restart",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "useragent",
    .version = "1.0.0",
    .summary = "browser, operating system and device from the user agent",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
