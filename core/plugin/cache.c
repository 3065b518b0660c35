#include "plugin/cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plugin/handle.h"

#define SCRATCH_MAX ((size_t)1 << 20)
#define TTL_MAX_MS  (INT64_C(3650) * 86400 * 1000)
#define BUCKETS     1024

struct waiter {
	struct waiter *next;
	cdpd_cache_fn done;
	void *ctx;
};

struct flight {
	struct flight *next;          /* of its bucket */
	struct flight *newer, *older; /* by age */
	struct cache_flights *owner;
	struct cdpd_cache_slot *slot;
	struct waiter *waiters, **waiters_end; /* in the order asked */
	size_t waiter_count;
	int64_t ttl_ms, negative_ttl_ms, stale_ms, until_us;
	size_t key_len;
	char key[SPACE_KEY_MAX];
};

struct cache_flights {
	struct spaces *spaces;
	uint64_t space;
	struct flight *buckets[BUCKETS];
	struct flight *oldest, *newest;
	size_t count;
	bool is_ending;
	struct metric *hits, *stale, *misses, *failures;
};

static struct metric *counter(struct str instance, const char *name, const char *help)
{
	char labels[100];
	(void)snprintf(labels, sizeof labels, "instance=\"%.*s\"", STR_ARG(instance));
	return metric_get(METRIC_COUNTER, name, labels, help);
}

int cache_flights_new(struct spaces *spaces, struct str instance, struct cache_flights **out)
{
	struct cache_flights *flights = calloc(1, sizeof *flights);
	*out = flights;
	if (!flights) return ERR_NOMEM;
	flights->spaces = spaces;
	flights->space = space_of(instance);
	flights->hits = counter(instance, "cdpd_plugin_cache_hits_total", "Cache look-ups that were answered at once.");
	flights->stale =
	    counter(instance, "cdpd_plugin_cache_stale_total", "Of those, by a stale value that is fetched anew.");
	flights->misses = counter(instance, "cdpd_plugin_cache_misses_total", "Cache look-ups that had to wait.");
	flights->failures = counter(instance, "cdpd_plugin_cache_failures_total", "Fetches that failed.");
	return OK;
}

static struct flight **find(struct cache_flights *flights, struct str key)
{
	size_t bucket = 5381;
	for (size_t i = 0; i < key.len; i++) bucket = bucket * 33 + (unsigned char)key.ptr[i];
	struct flight **at = &flights->buckets[bucket % BUCKETS];
	while (*at && !str_eq(str_of((*at)->key, (*at)->key_len), key)) at = &(*at)->next;
	return at;
}

static int add_waiter(struct flight *flight, cdpd_cache_fn done, void *ctx)
{
	if (flight->waiter_count == CACHE_WAITERS_MAX) return CDPD_ERR_BUSY;
	struct waiter *waiter = malloc(sizeof *waiter);
	if (!waiter) return CDPD_ERR_NOMEM;
	*waiter = (struct waiter){NULL, done, ctx};
	*flight->waiters_end = waiter;
	flight->waiters_end = &waiter->next;
	flight->waiter_count++;
	return CDPD_OK;
}

static int64_t bounded(int64_t ms)
{
	return ms < 0 ? 0 : ms < TTL_MAX_MS ? ms : TTL_MAX_MS;
}

static int begin(struct cache_flights *flights, const struct cdpd_cache_request *request, struct str key,
		 struct flight **out)
{
	struct flight **at = find(flights, key);
	if (flights->count == CACHE_FLIGHTS_MAX) return CDPD_ERR_BUSY;
	struct flight *flight = calloc(1, sizeof *flight);
	if (!flight) return CDPD_ERR_NOMEM;
	flight->slot = handle_new(HANDLE_CACHE_SLOT, flight);
	if (!flight->slot) {
		free(flight);
		return CDPD_ERR_BUSY;
	}
	flight->owner = flights;
	flight->waiters_end = &flight->waiters;
	flight->ttl_ms = bounded(request->ttl_ms);
	flight->negative_ttl_ms = bounded(request->negative_ttl_ms);
	flight->stale_ms = bounded(request->stale_ms);
	flight->until_us = clock_mono_us() + CACHE_FLIGHT_US;
	flight->key_len = key.len;
	memcpy(flight->key, key.ptr, key.len);
	*at = flight;
	flight->older = flights->newest;
	if (flights->newest)
		flights->newest->newer = flight;
	else
		flights->oldest = flight;
	flights->newest = flight;
	flights->count++;
	*out = flight;
	return CDPD_OK;
}

static void unlink_flight(struct flight *flight)
{
	struct cache_flights *flights = flight->owner;
	struct flight **at = find(flights, str_of(flight->key, flight->key_len));
	*at = flight->next;
	if (flight->older)
		flight->older->newer = flight->newer;
	else
		flights->oldest = flight->newer;
	if (flight->newer)
		flight->newer->older = flight->older;
	else
		flights->newest = flight->older;
	flights->count--;
	handle_release(flight->slot);
}

/* Tells everybody. They may ask anew meanwhile: the flight is over before the first is told. */
static void end(struct flight *flight, int error, struct cdpd_str value)
{
	unlink_flight(flight);
	if (error != CDPD_OK && error != CDPD_ERR_NOT_FOUND) metric_add(flight->owner->failures, 1);
	struct waiter *waiter = flight->waiters;
	while (waiter) {
		struct waiter *next = waiter->next;
		waiter->done(waiter->ctx, error, value);
		free(waiter);
		waiter = next;
	}
	free(flight);
}

/* ── asking ──────────────────────────────────────────────────────────────── */

/* Starts the fetch; the flight may be over when it returns. */
static int fetch(struct cache_flights *flights, const struct cdpd_cache_request *request, struct str key,
		 cdpd_cache_fn done, void *ctx)
{
	struct flight *flight;
	int rc = begin(flights, request, key, &flight);
	if (rc) return rc;
	if (done) rc = add_waiter(flight, done, ctx);
	if (rc) {
		unlink_flight(flight);
		free(flight);
		return rc;
	}
	char copy[SPACE_KEY_MAX];
	memcpy(copy, key.ptr, key.len);
	request->fetch(ctx, flight->slot, (struct cdpd_str){copy, key.len});
	return CDPD_OK;
}

static int look(struct cache_flights *flights, const struct cdpd_cache_request *request, struct str key,
		cdpd_cache_fn done, void *ctx, struct arena *scratch)
{
	struct cached found;
	int rc = cached_get(flights->spaces, flights->space, key, scratch, &found);
	struct flight *flight = *find(flights, key);
	if (rc == OK) {
		bool is_stale = found.fresh_until <= clock_wall_us() / US_PER_MS;
		metric_add(flights->hits, 1);
		if (is_stale) metric_add(flights->stale, 1);
		/* Before `done`: with that the plugin may let go of ctx. Nobody waits for it. */
		if (is_stale && !flight) (void)fetch(flights, request, key, NULL, ctx);
		done(ctx, found.is_negative ? CDPD_ERR_NOT_FOUND : CDPD_OK,
		     (struct cdpd_str){found.value.ptr, found.value.len});
		return CDPD_OK;
	}
	metric_add(flights->misses, 1);
	return flight ? add_waiter(flight, done, ctx) : fetch(flights, request, key, done, ctx);
}

int cache_flight_get(struct cache_flights *flights, const struct cdpd_cache_request *request, cdpd_cache_fn done,
		     void *ctx)
{
	struct arena scratch;
	struct str key = str_of(request->key.ptr, request->key.len);
	if (request->size < sizeof *request || !done || !request->fetch || flights->is_ending) return CDPD_ERR_INVALID;
	if (key.len == 0) return CDPD_ERR_INVALID;
	if (key.len > SPACE_KEY_MAX) return CDPD_ERR_TOO_LARGE;
	arena_init(&scratch, 1024, SCRATCH_MAX);
	int rc = look(flights, request, key, done, ctx, &scratch);
	arena_fini(&scratch);
	return rc;
}

/* ── answering ───────────────────────────────────────────────────────────── */

static void keep(const struct flight *flight, bool is_negative, struct str value)
{
	int64_t ttl = is_negative ? flight->negative_ttl_ms : flight->ttl_ms;
	int64_t now = clock_wall_us() / US_PER_MS;
	if (ttl == 0) return;
	const struct cached cached = {.is_negative = is_negative,
				      .fresh_until = now + ttl,
				      .usable_until = now + ttl + (is_negative ? 0 : flight->stale_ms),
				      .value = value};
	cached_put(flight->owner->spaces, flight->owner->space, str_of(flight->key, flight->key_len), &cached);
}

int cache_sdk_fill(struct cdpd_cache_slot *slot, int error, struct cdpd_str value)
{
	struct flight *flight = handle_lock(HANDLE_CACHE_SLOT, slot);
	handle_unlock(); /* only this thread ends flights */
	if (!flight) return CDPD_ERR_INVALID;
	if (error == CDPD_OK && value.len > SPACE_CACHED_MAX) {
		end(flight, CDPD_ERR_TOO_LARGE, (struct cdpd_str){"", 0});
		return CDPD_ERR_TOO_LARGE;
	}
	if (error == CDPD_OK || error == CDPD_ERR_NOT_FOUND)
		keep(flight, error != CDPD_OK, error == CDPD_OK ? str_of(value.ptr, value.len) : STR_NONE);
	end(flight, error, error == CDPD_OK ? value : (struct cdpd_str){"", 0});
	return CDPD_OK;
}

void cache_flights_expire(struct cache_flights *flights, int64_t now_us)
{
	while (flights->oldest && flights->oldest->until_us <= now_us)
		end(flights->oldest, CDPD_ERR_TIMEOUT, (struct cdpd_str){"", 0});
}

int64_t cache_flights_due(const struct cache_flights *flights)
{
	return flights->oldest ? flights->oldest->until_us : INT64_MAX;
}

void cache_flights_cancel(struct cache_flights *flights)
{
	flights->is_ending = true;
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): its end takes it out of the list */
	while (flights->oldest) end(flights->oldest, CDPD_ERR_IO, (struct cdpd_str){"", 0});
}

void cache_flights_free(struct cache_flights *flights)
{
	if (!flights) return;
	CHECK(flights->count == 0);
	free(flights);
}
