/* bot: a sync enricher that marks events of bots, and drops them where it is told to. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../shared/setup.h"
#include "cdpd_plugin.h"
#include "rate.h"
#include "words.h"

#define AGENT_MAX    1024
#define NAME_MAX_LEN 64
#define NETWORKS_MAX 2000
#define WARN_AFTER   1000 /* events with an address and without a network: geo is missing */

extern const char bot_words[], bot_datacentres[]; /* bots.txt, datacentres.txt */
extern const size_t bot_words_len, bot_datacentres_len;

#define SEEN 1024 /* user agents remembered by each io thread */

/* What was found in a user agent, by its seeded hash. */
struct seen {
	uint64_t hash; /* 0: nothing yet */
	uint32_t end;
};

enum reason { DECLARED, DATACENTRE, RATE, REASONS };
static const char *const reasons[REASONS] = {"declared", "datacentre", "rate"};

struct bot {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct words *words;
	uint32_t networks[NETWORKS_MAX];
	size_t network_count;
	bool is_declared_on, is_datacentre_on, drops[REASONS];
	struct rate *rate; /* NULL: off */
	uint64_t seed;
	unsigned without_network; /* in a row */
	struct seen *seen;
	int agent, device, ip, asn, rate_key, is_bot, name, reason, marked[REASONS];
};

struct verdict {
	bool is_bot;
	enum reason reason;
	struct cdpd_str name; /* of a declared one; maybe empty */
};

static struct cdpd_value get(struct bot *self, const struct cdpd_event *event, int path)
{
	struct cdpd_value value;
	if (self->host->event_get(self->instance, event, path, &value) != CDPD_OK) value.kind = CDPD_VALUE_NONE;
	return value;
}

/* ── declared ────────────────────────────────────────────────────────────── */

static bool is_name(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' ||
	       c == '!';
}

/* The word around what was found: "Googlebot" of "Googlebot/2.1". */
static struct cdpd_str name_around(struct cdpd_str agent, size_t end)
{
	size_t start = end, stop = end;
	while (start && !is_name(agent.ptr[start - 1])) start--; /* what was found may end in '/' */
	stop = start;
	while (start && is_name(agent.ptr[start - 1])) start--;
	while (stop < agent.len && is_name(agent.ptr[stop])) stop++;
	return (struct cdpd_str){agent.ptr + start, stop - start < NAME_MAX_LEN ? stop - start : NAME_MAX_LEN};
}

/* Eight bytes a step; the seed is nobody's to guess, so what differs has another hash. */
static uint64_t hash_of(uint64_t hash, struct cdpd_str text)
{
	uint64_t word;
	hash ^= text.len;
	for (; text.len >= sizeof word; text.ptr += sizeof word, text.len -= sizeof word) {
		memcpy(&word, text.ptr, sizeof word);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	word = 0;
	memcpy(&word, text.ptr, text.len);
	hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 32) * 0x94d049bb133111ebu;
	return hash ^ hash >> 29;
}

static size_t find_word(struct bot *self, struct cdpd_str agent)
{
	uint64_t hash = hash_of(self->seed, agent) | 1;
	struct seen *seen = &self->seen[(hash >> 32) % SEEN];
	if (seen->hash != hash) *seen = (struct seen){hash, (uint32_t)words_find(self->words, agent.ptr, agent.len)};
	return seen->end;
}

static bool is_declared(struct bot *self, const struct cdpd_event *event, struct verdict *out)
{
	struct cdpd_value agent = get(self, event, self->agent);
	if (agent.kind == CDPD_VALUE_STRING) {
		size_t len = agent.text.len < AGENT_MAX ? agent.text.len : AGENT_MAX;
		size_t end = find_word(self, (struct cdpd_str){agent.text.ptr, len});
		if (end) {
			out->name = name_around((struct cdpd_str){agent.text.ptr, len}, end);
			return true;
		}
	}
	struct cdpd_value device = get(self, event, self->device); /* what useragent says, where there is one */
	return device.kind == CDPD_VALUE_STRING && device.text.len == 6 && memcmp(device.text.ptr, "Spider", 6) == 0;
}

/* ── data centres ────────────────────────────────────────────────────────── */

static int by_number(const void *a, const void *b)
{
	uint32_t left, right;
	memcpy(&left, a, sizeof left);
	memcpy(&right, b, sizeof right);
	return (left > right) - (left < right);
}

/* The order of enrichers cannot be asked for without making geo a must, so its absence is told. */
static void note_network(struct bot *self, const struct cdpd_event *event, bool is_there)
{
	if (is_there || self->without_network > WARN_AFTER) {
		self->without_network = is_there ? 0 : self->without_network;
		return;
	}
	if (get(self, event, self->ip).kind != CDPD_VALUE_STRING || ++self->without_network <= WARN_AFTER) return;
	self->host->log(self->instance, CDPD_LOG_WARN,
			"datacentre: no network was known for %d events; geo is wanted, with a database of networks",
			WARN_AFTER);
}

static bool is_datacentre(struct bot *self, const struct cdpd_event *event)
{
	struct cdpd_value asn = get(self, event, self->asn);
	note_network(self, event, asn.kind == CDPD_VALUE_NUMBER);
	if (asn.kind != CDPD_VALUE_NUMBER || asn.number < 1 || asn.number > UINT32_MAX) return false;
	uint32_t number = (uint32_t)asn.number;
	return bsearch(&number, self->networks, self->network_count, sizeof number, by_number) != NULL;
}

/* ── rate ────────────────────────────────────────────────────────────────── */

static bool is_too_fast(struct bot *self, const struct cdpd_event *event)
{
	struct cdpd_event_info info = {.size = sizeof info};
	struct cdpd_value key = get(self, event, self->rate_key);
	if (key.kind != CDPD_VALUE_STRING || self->host->event_info(self->instance, event, &info) != CDPD_OK)
		return false;
	return rate_is_high(self->rate, hash_of(self->seed, key.text), info.received_us);
}

/* ── one event ───────────────────────────────────────────────────────────── */

/* Every event counts for the rate, whatever else it is. */
static struct verdict judge(struct bot *self, const struct cdpd_event *event)
{
	struct verdict verdict = {.name = {"", 0}};
	bool is_fast = self->rate && is_too_fast(self, event);
	if (self->is_declared_on && is_declared(self, event, &verdict)) {
		verdict.is_bot = true;
		verdict.reason = DECLARED;
	} else if (self->is_datacentre_on && is_datacentre(self, event)) {
		verdict.is_bot = true;
		verdict.reason = DATACENTRE;
	} else if (is_fast) {
		verdict.is_bot = true;
		verdict.reason = RATE;
	}
	return verdict;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct bot *self = ctx;
	const struct cdpd_host *host = self->host;
	struct verdict verdict = judge(self, event);
	if (!verdict.is_bot) return CDPD_OK;
	const char *reason = reasons[verdict.reason];
	host->count(self->instance, self->marked[verdict.reason], 1);
	if (self->drops[verdict.reason]) {
		char text[100];
		snprintf(text, sizeof text, "bot: %s%s%.*s", reason, verdict.name.len ? " " : "", (int)verdict.name.len,
			 verdict.name.ptr);
		return host->event_drop(self->instance, event, text);
	}
	int rc = host->event_set_bool(self->instance, event, self->is_bot, true);
	if (rc == CDPD_OK && verdict.name.len)
		rc = host->event_set_text(self->instance, event, self->name, verdict.name);
	if (rc != CDPD_OK) return rc;
	return host->event_set_text(self->instance, event, self->reason, (struct cdpd_str){reason, strlen(reason)});
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int refuse(struct bot *self, const char *option, struct cdpd_str text, const char *why)
{
	return setup_refuse((struct setup){self->host, self->instance}, option, text, why);
}

static bool add_network(struct bot *self, const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);
	if (end == text || number == 0 || number > UINT32_MAX || self->network_count == NETWORKS_MAX) return false;
	self->networks[self->network_count++] = (uint32_t)number;
	return true;
}

static int read_networks(struct bot *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "datacentre_asns");
	for (size_t at = 0; at < bot_datacentres_len;) {
		const char *line = bot_datacentres + at, *end = strchr(line, '\n');
		if (*line != '#') add_network(self, line);
		at += end ? (size_t)(end - line) + 1 : strlen(line);
	}
	for (size_t i = 0; i < count; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "datacentre_asns", i);
		char text[24];
		snprintf(text, sizeof text, "%.*s", (int)item.len, item.ptr);
		bool has_prefix = strncmp(text, "AS", 2) == 0;
		if (item.len >= sizeof text || !add_network(self, has_prefix ? text + 2 : text))
			return refuse(self, "datacentre_asns", item,
				      "is no number of a network, such as 64496 or AS64496");
	}
	qsort(self->networks, self->network_count, sizeof self->networks[0], by_number);
	return CDPD_OK;
}

/* The built-in words and the configured ones, one a line. */
static int read_words(struct bot *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "agents"), len = bot_words_len,
	       room = bot_words_len + count * 80 + 1;
	char *lines = malloc(room), why[WORDS_WHY_MAX];
	if (!lines) return CDPD_ERR_NOMEM;
	memcpy(lines, bot_words, bot_words_len);
	for (size_t i = 0; i < count; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "agents", i);
		if (item.len < 3 || item.len > 64) {
			free(lines);
			return refuse(self, "agents", item, "is no word of 3 to 64 bytes");
		}
		lines[len++] = '\n';
		memcpy(lines + len, item.ptr, item.len);
		len += item.len;
	}
	self->words = words_new(lines, len, why);
	free(lines);
	if (self->words) return CDPD_OK;
	self->host->log(self->instance, CDPD_LOG_ERROR, "agents: %s", why);
	return CDPD_ERR_INVALID;
}

static int read_drops(struct bot *self, const struct cdpd_conf *conf)
{
	size_t count = self->host->conf_count(conf, "drop");
	for (size_t i = 0; i < count; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "drop", i);
		size_t reason = 0;
		while (reason < REASONS &&
		       (strlen(reasons[reason]) != item.len || memcmp(reasons[reason], item.ptr, item.len) != 0))
			reason++;
		if (reason == REASONS) return refuse(self, "drop", item, "is not declared, datacentre or rate");
		self->drops[reason] = true;
	}
	return CDPD_OK;
}

static int read_rate(struct bot *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	int64_t limit = host->conf_int(conf, "rate");
	struct cdpd_str key = host->conf_text(conf, "rate_key");
	char path[32];
	snprintf(path, sizeof path, "%.*s", (int)key.len, key.ptr);
	self->rate_key = host->path(self->instance, path);
	if (limit == 0) return CDPD_OK;
	self->rate =
	    rate_new((size_t)host->conf_int(conf, "rate_keys"), (uint32_t)limit, host->conf_int(conf, "rate_span"));
	return self->rate ? CDPD_OK : CDPD_ERR_NOMEM;
}

static int intern(struct bot *self)
{
	const struct setup setup = {self->host, self->instance};
	const struct setup_path paths[] = {
	    {&self->agent, "userAgent"},
	    {&self->device, "enrichment.userAgent.device.family"},
	    {&self->ip, "ip"},
	    {&self->asn, "enrichment.geo.asn"},
	    {&self->is_bot, "enrichment.bot.is_bot"},
	    {&self->name, "enrichment.bot.name"},
	    {&self->reason, "enrichment.bot.reason"},
	};
	const struct setup_counter counters[] = {
	    {&self->marked[DECLARED], "bot_declared_total", "Events whose user agent names a bot."},
	    {&self->marked[DATACENTRE], "bot_datacentre_total", "Events from networks of data centres."},
	    {&self->marked[RATE], "bot_rate_total", "Events of keys that sent too many."},
	};
	setup_counters(setup, counters, sizeof counters / sizeof counters[0]);
	return setup_paths(setup, paths, sizeof paths / sizeof paths[0]);
}

static void destroy(void *ctx)
{
	struct bot *self = ctx;
	words_free(self->words);
	rate_free(self->rate);
	free(self->seen);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct bot *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->is_declared_on = host->conf_bool(conf, "declared");
	self->is_datacentre_on = host->conf_bool(conf, "datacentre");
	int rc = intern(self);
	self->seen = calloc(SEEN, sizeof *self->seen);
	if (rc == CDPD_OK && !self->seen) rc = CDPD_ERR_NOMEM;
	if (rc == CDPD_OK && getrandom(&self->seed, sizeof self->seed, 0) != sizeof self->seed) rc = CDPD_ERR_IO;
	if (rc == CDPD_OK) rc = read_words(self, conf);
	if (rc == CDPD_OK) rc = read_networks(self, conf);
	if (rc == CDPD_OK) rc = read_drops(self, conf);
	if (rc == CDPD_OK) rc = read_rate(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

/* enrichment.geo.asn and enrichment.userAgent.device.family are read where they are there; named here they would be musts. */
static const char *const needs[] = {"userAgent", "ip", "anonymousId", "userId"};
static const char *const uses[] = {"enrichment.geo.asn", "enrichment.userAgent.device"};
static const char *const provides[] = {"enrichment.bot"};
static const struct cdpd_option options[] = {
    {
	.name = "declared",
	.type = CDPD_OPTION_BOOL,
	.default_text = "true",
	.help = "mark events whose user agent names a bot",
    },
    {
	.name = "agents",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.max = 500,
	.help = "further words of user agents, as in plugins/bot/bots.txt: uptime-check, |probe|, !exception",
    },
    {
	.name = "datacentre",
	.type = CDPD_OPTION_BOOL,
	.default_text = "false",
	.help = "mark events from networks of data centres; geo is wanted, with a database of networks",
    },
    {
	.name = "datacentre_asns",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.max = 1000,
	.help = "further numbers of such networks: AS64496",
    },
    {
	.name = "rate",
	.type = CDPD_OPTION_INT,
	.default_text = "0",
	.max = 1e9,
	.help = "mark events beyond so many of one key in rate_span; 0: do not",
    },
    {
	.name = "rate_span",
	.type = CDPD_OPTION_DURATION,
	.default_text = "1m",
	.min = 1e6,
	.max = 3600e6,
	.help = "the span of time that rate counts in",
    },
    {
	.name = "rate_key",
	.type = CDPD_OPTION_ENUM,
	.default_text = "ip",
	.values = "ip|anonymousId|userId",
	.help = "whose events rate counts",
    },
    {
	.name = "rate_keys",
	.type = CDPD_OPTION_INT,
	.default_text = "16384",
	.min = 64,
	.max = 1e7,
	.help = "keys remembered by each io thread, 24 bytes each; of more, the longest quiet are forgotten",
    },
    {
	.name = "drop",
	.type = CDPD_OPTION_LIST,
	.default_text = "",
	.max = REASONS,
	.help = "refuse instead of marking, by reason: declared, datacentre, rate",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4, /* uses */
    .name = "bot",
    .version = "1.0.0",
    .summary = "marks events of bots: declared ones, data centres, too many events",
    .caps = CDPD_CAP_ENRICH,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
    .uses = {sizeof uses / sizeof uses[0], uses},
};
