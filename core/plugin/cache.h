/* cache: an instance's single-flight cache: one question to the outside world however many ask, values that survive restarts (spaces.h), "there is
 * none" remembered too, stale values used while they are fetched anew. Errors are never kept. The instance's own thread. */
#pragma once

#include "base/metric.h"
#include "cdpd_plugin.h"
#include "plugin/spaces.h"

struct cache_flights;

#define CACHE_FLIGHTS_MAX 4096 /* keys that are being fetched */
#define CACHE_WAITERS_MAX 65536
#define CACHE_FLIGHT_US   (60 * INT64_C(1000000)) /* a fetch that was not filled by then has failed */

MUST_USE int cache_flights_new(struct spaces *spaces, struct str instance, struct cache_flights **out);
/* Everybody who waits is told CDPD_ERR_IO. Before the instance's destroy. */
void cache_flights_cancel(struct cache_flights *flights);
void cache_flights_free(struct cache_flights *flights); /* NULL is fine */

/* As the SDK's `cache_get` and `cache_fill`. */
int cache_flight_get(struct cache_flights *flights, const struct cdpd_cache_request *request, cdpd_cache_fn done,
		     void *ctx);
int cache_sdk_fill(struct cdpd_cache_slot *slot, int error, struct cdpd_str value);
/* Fetches that took too long. The next such time is cache_flights_due; INT64_MAX: none. */
void cache_flights_expire(struct cache_flights *flights, int64_t now_us);
int64_t cache_flights_due(const struct cache_flights *flights);
