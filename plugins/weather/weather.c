/* weather: an async enricher that says what the weather was where and when an event happened. See README.md.
 *
 * Its way: place and hour of the event → an archive's row, or the host's cache, which asks the provider once for each
 * cell and hour, however many events wait for it → the event's patch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive.h"
#include "cdpd_plugin.h"
#include "condition.h"
#include "provider.h"

#define ARCHIVES_MAX   16
#define REFRESH_S      10 /* how often archives are looked at for a new file */
#define KEY_MAX        96
#define SETTLED_S      (48 * HOUR_S) /* an hour that old is not corrected any more */
#define TTL_SETTLED_MS (365LL * 24 * 3600 * 1000)
#define TTL_FRESH_MS   (3600LL * 1000)
#define TTL_NONE_MS    (3600LL * 1000) /* of "the provider has nothing for it" */
#define STALE_MS       (24LL * 3600 * 1000)
#define PAUSE_S        60 /* after "too many requests" without a Retry-After */
#define PAUSE_MAX_S    3600
#define PAUSE_DENIED_S 300 /* a refused key is refused again */
#define ANSWER_MAX     ((size_t)256 * 1024)
#define AHEAD_S        (2 * HOUR_S) /* later events get no weather: there is none yet */
#define DAY_S          (24 * HOUR_S)
#define QUOTA_KEY      "quota"

enum output { TEMPERATURE, FEELS_LIKE, PRECIPITATION, WIND, HUMIDITY, CODE, GROUP, IS_DAY, RAINED, PROVIDER, OUTPUTS };
static const char *const output_paths[OUTPUTS] = {
    "enrichment.weather.temperature_c", "enrichment.weather.feels_like_c", "enrichment.weather.precipitation_mm",
    "enrichment.weather.wind_ms",       "enrichment.weather.humidity",     "enrichment.weather.code",
    "enrichment.weather.group",         "enrichment.weather.is_day",       "enrichment.weather.rained_recently",
    "enrichment.weather.provider",
};
/* Where coordinates are looked for, in that order: what the event says itself is nearer than its address. */
static const char *const place_paths[][2] = {
    {"context.location.latitude", "context.location.longitude"},
    {"properties.location.latitude", "properties.location.longitude"},
    {"properties.latitude", "properties.longitude"},
    {"enrichment.geo.latitude", "enrichment.geo.longitude"},
};
#define PLACES (sizeof place_paths / sizeof place_paths[0])

enum count { NO_PLACE, FROM_ARCHIVE, ANSWERED, UNKNOWN, DEFERRED, REQUESTS, GARBAGE, LIMITED, COUNTS };

struct ask { /* one event that waits for the cache */
	struct weather *self;
	struct cdpd_ticket *ticket;
	struct ask *next; /* while it is free */
};
struct fetch { /* one request to the provider */
	struct weather *self;
	struct cdpd_cache_slot *slot;
	struct spot spot;
	struct fetch *next, **link;
};
struct weather {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int place[PLACES][2], output[OUTPUTS], counter[COUNTS], latency;
	struct archive *archives[ARCHIVES_MAX];
	size_t archive_count;
	int64_t refreshed_s;
	const struct provider *provider; /* NULL: archives only */
	struct provider_settings settings;
	double grid;
	int64_t per_minute, per_day, used_today, today;
	double tokens;
	int64_t filled_s, paused_until_s;
	struct ask *free_asks, **asks; /* asks: every block ever made, freed at the end */
	size_t ask_blocks;
	struct fetch *fetches;
};

static int64_t now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec;
}

static void count(struct weather *self, enum count what)
{
	self->host->count(self->instance, self->counter[what], 1);
}

static void done(struct weather *self, struct cdpd_ticket *ticket, enum count what)
{
	count(self, what);
	(void)self->host->ticket_done(ticket, CDPD_OK, NULL);
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static void set_number(struct weather *self, struct cdpd_event *event, enum output output, double value)
{
	if (!isnan(value)) (void)self->host->event_set_number(self->instance, event, self->output[output], value);
}

static void set_flag(struct weather *self, struct cdpd_event *event, enum output output, int value)
{
	if (value >= 0) (void)self->host->event_set_bool(self->instance, event, self->output[output], value > 0);
}

static void set_text(struct weather *self, struct cdpd_event *event, enum output output, const char *text)
{
	if (text)
		(void)self->host->event_set_text(self->instance, event, self->output[output],
						 (struct cdpd_str){text, strlen(text)});
}

static void answer(struct weather *self, struct cdpd_ticket *ticket, const struct observation *seen, enum count what)
{
	struct cdpd_event *event = self->host->ticket_event(ticket);
	set_number(self, event, TEMPERATURE, seen->temperature_c);
	set_number(self, event, FEELS_LIKE, seen->feels_like_c);
	set_number(self, event, PRECIPITATION, seen->precipitation_mm);
	set_number(self, event, WIND, seen->wind_ms);
	set_number(self, event, HUMIDITY, seen->humidity_percent);
	if (seen->code != CONDITION_NONE) set_number(self, event, CODE, seen->code);
	set_text(self, event, GROUP, condition_group(seen->code));
	set_flag(self, event, IS_DAY, seen->is_day);
	set_flag(self, event, RAINED, seen->rained);
	set_text(self, event, PROVIDER, seen->provider);
	done(self, ticket, what);
}

/* ── asking the provider ─────────────────────────────────────────────────── */

/* The day's count survives restarts: a quota is counted by the other side, who does not know of them. */
static void load_quota(struct weather *self)
{
	char text[64];
	size_t len = 0;
	long long day, used;
	self->today = now_s() / DAY_S;
	int rc = self->host->kv_get(self->instance, (struct cdpd_str){QUOTA_KEY, strlen(QUOTA_KEY)}, text,
				    sizeof text - 1, &len);
	if (rc != CDPD_OK || len >= sizeof text) return;
	text[len] = 0;
	if (sscanf(text, "%lld %lld", &day, &used) == 2 && day == self->today) self->used_today = used;
}

static void save_quota(struct weather *self)
{
	char text[64];
	int len = snprintf(text, sizeof text, "%lld %lld", (long long)self->today, (long long)self->used_today);
	(void)self->host->kv_put(self->instance, (struct cdpd_str){QUOTA_KEY, strlen(QUOTA_KEY)},
				 (struct cdpd_str){text, (size_t)len}, 2LL * DAY_S * 1000);
}

static bool may_request(struct weather *self)
{
	int64_t now = now_s();
	if (now / DAY_S != self->today) {
		self->today = now / DAY_S;
		self->used_today = 0;
	}
	double filled = self->tokens + (double)(now - self->filled_s) * (double)self->per_minute / 60;
	self->tokens = fmin((double)self->per_minute, fmax(0, filled));
	self->filled_s = now;
	if (now < self->paused_until_s || self->tokens < 1 || self->used_today >= self->per_day) return false;
	self->tokens -= 1;
	self->used_today++;
	save_quota(self);
	return true;
}

static void pause_requests(struct weather *self, int64_t seconds, const char *why)
{
	if (seconds > PAUSE_MAX_S) seconds = PAUSE_MAX_S;
	self->paused_until_s = now_s() + seconds;
	self->host->log(self->instance, CDPD_LOG_WARN, "%s is not asked for %lld s (%s)", self->provider->name,
			(long long)seconds, why);
}

static void fill(struct weather *self, struct cdpd_cache_slot *slot, int error, const char *text, size_t len)
{
	(void)self->host->cache_fill(slot, error, (struct cdpd_str){text, len});
}

/* A well-formed no is remembered, everything else is only an error of the moment. */
static void read_answer(struct weather *self, const struct fetch *fetch, const struct cdpd_http_response *response)
{
	struct observation seen;
	char text[OBSERVATION_TEXT_MAX];
	int found = self->provider->read(&self->settings, &fetch->spot, response->body.ptr, response->body.len, &seen);
	if (found > 0) {
		fill(self, fetch->slot, CDPD_OK, text, observation_write(&seen, text));
	} else if (found == 0) {
		fill(self, fetch->slot, CDPD_ERR_NOT_FOUND, "", 0);
	} else {
		count(self, GARBAGE);
		fill(self, fetch->slot, CDPD_ERR_IO, "", 0);
	}
}

static void forget(struct fetch *fetch)
{
	*fetch->link = fetch->next;
	if (fetch->next) fetch->next->link = fetch->link;
	free(fetch);
}

static void on_response(void *ctx, const struct cdpd_http_response *response)
{
	struct fetch *fetch = ctx;
	struct weather *self = fetch->self;
	int64_t wait_s = response->retry_after_ms >= 0 ? (response->retry_after_ms + 999) / 1000 : PAUSE_S;
	if (response->error != CDPD_OK) {
		fill(self, fetch->slot, response->error, "", 0);
	} else if (response->status == 200) {
		read_answer(self, fetch, response);
	} else if (response->status == 400 || response->status == 404) {
		fill(self, fetch->slot, CDPD_ERR_NOT_FOUND, "", 0); /* outside what it knows */
	} else if (response->status == 429 || response->status == 503) {
		pause_requests(self, wait_s, response->status == 429 ? "too many requests" : "out of service");
		fill(self, fetch->slot, CDPD_ERR_BUSY, "", 0);
	} else if (response->status == 401 || response->status == 403) {
		pause_requests(self, PAUSE_DENIED_S, "it refuses the key");
		fill(self, fetch->slot, CDPD_ERR_BUSY, "", 0);
	} else {
		fill(self, fetch->slot, CDPD_ERR_IO, "", 0);
	}
	forget(fetch);
}

/* The key says all: whoever asked first may be answered and gone by now (a stale value is used while it is fetched anew). */
static bool spot_of_key(struct cdpd_str key, struct spot *out)
{
	char text[KEY_MAX];
	long long hour;
	if (key.len >= sizeof text) return false;
	memcpy(text, key.ptr, key.len);
	text[key.len] = 0;
	const char *colon = strchr(text, ':');
	if (!colon || sscanf(colon, ":%lf:%lf:%lld", &out->latitude, &out->longitude, &hour) != 3) return false;
	out->hour = hour;
	return true;
}

static int request(struct weather *self, struct cdpd_cache_slot *slot, const struct spot *spot)
{
	char url[URL_MAX];
	if (!self->provider->url(&self->settings, spot, now_s(), url)) return CDPD_ERR_TOO_LARGE;
	struct fetch *fetch = calloc(1, sizeof *fetch);
	if (!fetch) return CDPD_ERR_NOMEM;
	*fetch =
	    (struct fetch){.self = self, .slot = slot, .spot = *spot, .next = self->fetches, .link = &self->fetches};
	if (fetch->next) fetch->next->link = &fetch->next;
	self->fetches = fetch;
	struct cdpd_http_request wanted = {
	    .size = sizeof wanted,
	    .method = {"GET", 3},
	    .url = {url, strlen(url)},
	    .max_body = ANSWER_MAX,
	};
	int rc = self->host->http(self->instance, &wanted, on_response, fetch);
	if (rc != CDPD_OK) forget(fetch);
	return rc;
}

static void fetch_spot(void *ctx, struct cdpd_cache_slot *slot, struct cdpd_str key)
{
	struct weather *self = ((struct ask *)ctx)->self;
	struct spot spot;
	if (!spot_of_key(key, &spot)) {
		fill(self, slot, CDPD_ERR_INVALID, "", 0);
		return;
	}
	if (!may_request(self)) {
		count(self, LIMITED);
		fill(self, slot, CDPD_ERR_BUSY, "", 0);
		return;
	}
	count(self, REQUESTS);
	int rc = request(self, slot, &spot);
	if (rc != CDPD_OK) fill(self, slot, rc, "", 0);
}

/* ── one event ───────────────────────────────────────────────────────────── */

/* Asks live until destroy, because the cache may still hand one to `fetch` after it was answered. */
static struct ask *take_ask(struct weather *self, struct cdpd_ticket *ticket)
{
	enum { BLOCK = 64 };
	if (!self->free_asks) {
		struct ask **blocks = realloc(self->asks, (self->ask_blocks + 1) * sizeof(struct ask *));
		if (!blocks) return NULL;
		self->asks = blocks;
		struct ask *block = calloc(BLOCK, sizeof *block);
		if (!block) return NULL;
		self->asks[self->ask_blocks++] = block;
		for (size_t i = 0; i < BLOCK; i++) {
			block[i] = (struct ask){.self = self, .next = self->free_asks};
			self->free_asks = &block[i];
		}
	}
	struct ask *ask = self->free_asks;
	self->free_asks = ask->next;
	ask->ticket = ticket;
	return ask;
}

static struct cdpd_ticket *give_back(struct ask *ask)
{
	struct cdpd_ticket *ticket = ask->ticket;
	ask->ticket = NULL;
	ask->next = ask->self->free_asks;
	ask->self->free_asks = ask;
	return ticket;
}

static void on_cached(void *ctx, int error, struct cdpd_str value)
{
	struct weather *self = ((struct ask *)ctx)->self;
	struct cdpd_ticket *ticket = give_back(ctx);
	struct observation seen;
	if (error == CDPD_OK && observation_read(value.ptr, value.len, &seen)) {
		answer(self, ticket, &seen, ANSWERED);
	} else if (error == CDPD_ERR_NOT_FOUND) {
		done(self, ticket, UNKNOWN);
	} else {
		count(self, DEFERRED);
		(void)self->host->ticket_done(ticket, CDPD_ERR_BUSY, "the provider did not answer");
	}
}

static void ask_cache(struct weather *self, struct cdpd_ticket *ticket, const struct spot *spot)
{
	char key[KEY_MAX];
	struct ask *ask = take_ask(self, ticket);
	int len = snprintf(key, sizeof key, "%s:%.4f:%.4f:%lld", self->provider->name, spot->latitude, spot->longitude,
			   (long long)spot->hour);
	bool is_settled = now_s() - spot->hour * HOUR_S > SETTLED_S;
	struct cdpd_cache_request wanted = {
	    .size = sizeof wanted,
	    .key = {key, (size_t)len},
	    .ttl_ms = is_settled ? TTL_SETTLED_MS : TTL_FRESH_MS,
	    .negative_ttl_ms = TTL_NONE_MS,
	    .stale_ms = STALE_MS,
	    .fetch = fetch_spot,
	};
	int rc = ask ? self->host->cache_get(self->instance, &wanted, on_cached, ask) : CDPD_ERR_NOMEM;
	if (rc == CDPD_OK) return;
	if (ask) give_back(ask);
	count(self, DEFERRED);
	(void)self->host->ticket_done(ticket, CDPD_ERR_BUSY, "no room to ask");
}

static bool read_degrees(struct weather *self, const struct cdpd_event *event, int path, double limit, double *out)
{
	struct cdpd_value value;
	if (self->host->event_get(self->instance, event, path, &value) != CDPD_OK) return false;
	char text[32], *end;
	if (value.kind == CDPD_VALUE_NUMBER) {
		*out = value.number;
	} else if (value.kind == CDPD_VALUE_STRING && value.text.len > 0 && value.text.len < sizeof text) {
		memcpy(text, value.text.ptr, value.text.len);
		text[value.text.len] = 0;
		*out = strtod(text, &end);
		if (*end) return false;
	} else {
		return false;
	}
	return fabs(*out) <= limit;
}

static bool find_place(struct weather *self, const struct cdpd_event *event, struct spot *spot)
{
	for (size_t i = 0; i < PLACES; i++) {
		if (read_degrees(self, event, self->place[i][0], 90, &spot->latitude) &&
		    read_degrees(self, event, self->place[i][1], 180, &spot->longitude))
			return true;
	}
	return false;
}

static void refresh(struct weather *self)
{
	char why[ARCHIVE_WHY_MAX];
	int64_t now = now_s();
	if (now - self->refreshed_s < REFRESH_S && now >= self->refreshed_s) return;
	self->refreshed_s = now;
	for (size_t i = 0; i < self->archive_count; i++)
		if (!archive_refresh(self->archives[i], why))
			self->host->log(self->instance, CDPD_LOG_WARN,
					"the archive %s stays as it was read before (%s)",
					archive_path(self->archives[i]), why);
}

static bool find_archived(struct weather *self, const struct spot *spot, int utc_offset_min, struct observation *out)
{
	refresh(self);
	for (size_t i = 0; i < self->archive_count; i++)
		if (archive_find(self->archives[i], spot, utc_offset_min, self->settings.recent_hours, out))
			return true;
	return false;
}

static int enrich(void *ctx, struct cdpd_ticket *ticket)
{
	struct weather *self = ctx;
	struct cdpd_event *event = self->host->ticket_event(ticket);
	struct cdpd_event_info info = {.size = sizeof info};
	struct observation seen;
	struct spot spot;
	if (!find_place(self, event, &spot) || self->host->event_info(self->instance, event, &info) != CDPD_OK) {
		done(self, ticket, NO_PLACE);
		return CDPD_OK;
	}
	int64_t time_s = info.time_us / 1000000;
	spot.hour = time_s / HOUR_S;
	bool is_archived = find_archived(self, &spot, info.utc_offset_min, &seen);
	if (!is_archived && (!self->provider || time_s > now_s() + AHEAD_S)) {
		done(self, ticket, UNKNOWN);
		return CDPD_OK;
	}
	if (is_archived) {
		if (seen.is_day < 0) seen.is_day = sun_is_up(spot.latitude, spot.longitude, time_s);
		answer(self, ticket, &seen, FROM_ARCHIVE);
		return CDPD_OK;
	}
	spot.latitude = round(spot.latitude / self->grid) * self->grid;
	spot.longitude = round(spot.longitude / self->grid) * self->grid;
	ask_cache(self, ticket, &spot);
	return CDPD_OK;
}

/* ── configuration ───────────────────────────────────────────────────────── */

static char *copy_text(struct cdpd_str text)
{
	return text.len ? strndup(text.ptr, text.len) : NULL;
}

static int complain(struct weather *self, const char *what, const char *why)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "%s: %s", what, why);
	return CDPD_ERR_INVALID;
}

static int open_archives(struct weather *self, const struct cdpd_conf *conf)
{
	char why[ARCHIVE_WHY_MAX];
	size_t given = self->host->conf_count(conf, "archives");
	for (size_t i = 0; i < given; i++) {
		struct cdpd_str item = self->host->conf_item(conf, "archives", i);
		struct archive *archive = archive_open(item.ptr, item.len, why);
		if (!archive) {
			self->host->log(self->instance, CDPD_LOG_ERROR, "archives: '%.*s': %s", (int)item.len, item.ptr,
					why);
			return CDPD_ERR_INVALID;
		}
		self->archives[self->archive_count++] = archive;
	}
	self->refreshed_s = now_s();
	return CDPD_OK;
}

static int choose_provider(struct weather *self, const struct cdpd_conf *conf)
{
	static const struct provider *const providers[] = {&open_meteo, &openweathermap};
	struct cdpd_str name = self->host->conf_text(conf, "provider");
	for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
		if (strlen(providers[i]->name) == name.len && memcmp(providers[i]->name, name.ptr, name.len) == 0)
			self->provider = providers[i];
	self->settings.base = copy_text(self->host->conf_text(conf, "url"));
	self->settings.archive_base = copy_text(self->host->conf_text(conf, "archive_url"));
	self->settings.key = copy_text(self->host->conf_text(conf, "key"));
	self->settings.archive_after_s = self->host->conf_int(conf, "archive_after") / 1000000;
	if (!self->settings.archive_base) self->settings.archive_base = copy_text(self->host->conf_text(conf, "url"));
	if (self->provider && self->provider->needs_key && !self->settings.key)
		return complain(self, self->provider->name, "needs a key (the option `key`)");
	if (!self->provider && self->archive_count == 0)
		return complain(self, "nobody to ask", "give `archives` or a `provider`");
	return CDPD_OK;
}

static int intern(struct weather *self)
{
	int worst = 0;
	for (size_t i = 0; i < PLACES; i++)
		for (size_t half = 0; half < 2; half++)
			worst |= self->place[i][half] = self->host->path(self->instance, place_paths[i][half]);
	for (size_t i = 0; i < OUTPUTS; i++)
		worst |= self->output[i] = self->host->path(self->instance, output_paths[i]);
	return worst < 0 ? CDPD_ERR_NOMEM : CDPD_OK;
}

static void add_metrics(struct weather *self)
{
	static const char *const names[COUNTS][2] = {
	    [NO_PLACE] = {"weather_no_place_total", "Events that say no place."},
	    [FROM_ARCHIVE] = {"weather_from_archive_total", "Events answered from an archive."},
	    [ANSWERED] = {"weather_answered_total", "Events answered by the provider or its cache."},
	    [UNKNOWN] = {"weather_unknown_total", "Events for whose place and hour nobody knows the weather."},
	    [DEFERRED] = {"weather_deferred_total", "Times an event was put off because the provider did not answer."},
	    [REQUESTS] = {"weather_requests_total", "Requests to the provider."},
	    [GARBAGE] = {"weather_garbage_total",
			 "Answers of the provider that could not be read or were for another place."},
	    [LIMITED] = {"weather_limited_total", "Requests not made because of the rate, the quota or a pause."},
	};
	for (size_t i = 0; i < COUNTS; i++)
		self->counter[i] = self->host->counter(self->instance, names[i][0], names[i][1]);
}

static void destroy(void *ctx)
{
	struct weather *self = ctx;
	while (self->fetches) forget(self->fetches);
	for (size_t i = 0; i < self->archive_count; i++) archive_free(self->archives[i]);
	for (size_t i = 0; i < self->ask_blocks; i++) free(self->asks[i]);
	free(self->asks);
	free((void *)(uintptr_t)self->settings.base);
	free((void *)(uintptr_t)self->settings.archive_base);
	free((void *)(uintptr_t)self->settings.key);
	free(self);
}

static int configure(struct weather *self, const struct cdpd_conf *conf)
{
	self->grid = self->host->conf_float(conf, "grid");
	self->settings.recent_hours = (int)(self->host->conf_int(conf, "recent") / 1000000 / HOUR_S);
	self->per_minute = self->host->conf_int(conf, "requests_per_minute");
	self->per_day = self->host->conf_int(conf, "requests_per_day");
	self->tokens = (double)self->per_minute;
	self->filled_s = now_s();
	int rc = intern(self);
	if (rc == CDPD_OK) rc = open_archives(self, conf);
	if (rc == CDPD_OK) rc = choose_provider(self, conf);
	if (rc == CDPD_OK && self->provider) load_quota(self);
	return rc;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct weather *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	add_metrics(self);
	int rc = configure(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

/* It is asked about events that have one of them. */
static const char *const needs[] = {"context.location", "properties.location", "properties.latitude",
				    "enrichment.geo.latitude"};
static const char *const provides[] = {"enrichment.weather"};
static const struct cdpd_option options[] = {
    {.name = "archives",
     .type = CDPD_OPTION_LIST,
     .default_text = "",
     .max = ARCHIVES_MAX,
     .help = "CSV files of observations, each FILE LATITUDE LONGITUDE [RADIUSkm]; asked before the provider"},
    {.name = "provider",
     .type = CDPD_OPTION_ENUM,
     .default_text = "none",
     .values = "none|open-meteo|openweathermap",
     .help = "who is asked over the network"},
    {.name = "key", .type = CDPD_OPTION_SECRET, .help = "the provider's API key; openweathermap needs one"},
    {.name = "url",
     .type = CDPD_OPTION_STRING,
     .max = 200,
     .help = "another address of the provider, such as https://customer-api.open-meteo.com"},
    {.name = "archive_url",
     .type = CDPD_OPTION_STRING,
     .max = 200,
     .help = "the same of its archive; `url` when not given"},
    {.name = "archive_after",
     .type = CDPD_OPTION_DURATION,
     .default_text = "7d",
     .min = 3600e6,
     .max = 92 * 86400e6,
     .help = "hours older than that are asked of open-meteo's archive instead of its forecast"},
    {.name = "grid",
     .type = CDPD_OPTION_FLOAT,
     .default_text = "0.1",
     .min = 0.01,
     .max = 1,
     .help = "size of a cell in degrees: places in one cell share one request (0.1 is 11 km from north to south)"},
    {.name = "recent",
     .type = CDPD_OPTION_DURATION,
     .default_text = "3h",
     .min = 0,
     .max = 24 * 3600e6,
     .help = "how far back rain counts for rained_recently"},
    {.name = "requests_per_minute",
     .type = CDPD_OPTION_INT,
     .default_text = "600",
     .min = 1,
     .max = 100000,
     .help = "to the provider"},
    {.name = "requests_per_day",
     .type = CDPD_OPTION_INT,
     .default_text = "10000",
     .min = 1,
     .max = 100000000,
     .help = "to the provider, counted in UTC days and across restarts"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 2, /* tickets, HTTP, cache, key-values */
    .name = "weather",
    .version = "1.0.0",
    .summary = "the weather where and when the event happened",
    .caps = CDPD_CAP_ENRICH_ASYNC,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich_async = enrich,
};
