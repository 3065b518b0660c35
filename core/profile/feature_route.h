/* feature_route: which features an event is for, looked up by its type and name. Compiled once, so an event that no feature asks for costs one
 * look-up. */
#pragma once

#include "event/event.h"
#include "profile/feature.h"

struct plan_feature;

#define ROUTE_TYPES (EVENT_ALIAS + 1) /* 0: no event has it */

struct feature_route {
	struct str name; /* of a track event */
	const struct plan_feature **features;
	size_t count;
};

struct feature_routes {
	struct feature_route types[ROUTE_TYPES]; /* track: for names that are not listed */
	struct feature_route *names;             /* ordered by name */
	size_t name_count;
};

MUST_USE int feature_routes_make(const struct plan_feature *features, size_t count, struct arena *arena,
				 struct feature_routes *out);
const struct feature_route *feature_route_of(const struct feature_routes *routes, const struct cdpd_event *event);
