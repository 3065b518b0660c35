#include "profile/feature_route.h"

#include <stdlib.h>

#include "profile/plan.h"

static bool takes_type(const struct feature_def *def, enum event_type type)
{
	enum event_type named;
	if (def->event_count == 0) return true;
	for (size_t i = 0; i < def->event_count; i++)
		if (event_type_from_name(def->events[i], &named) && named == type) return true;
	return false;
}

static bool takes_name(const struct feature_def *def, struct str name)
{
	for (size_t i = 0; i < def->event_count; i++)
		if (str_eq(def->events[i], name)) return true;
	return false;
}

/* Features for events of the type; for tracks of `name` too, when there is one. */
static int fill(const struct plan_feature *features, size_t count, enum event_type type, struct str name,
		struct arena *arena, struct feature_route *out)
{
	*out = (struct feature_route){.name = name};
	out->features = arena_array(arena, const struct plan_feature *, count + 1);
	if (!out->features) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct feature_def *def = &features[i].def;
		if (!def->impl) continue;
		if (takes_type(def, type) || (name.len && takes_name(def, name)))
			out->features[out->count++] = &features[i];
	}
	return OK;
}

static int order_routes(const void *a, const void *b)
{
	return str_cmp(((const struct feature_route *)a)->name, ((const struct feature_route *)b)->name);
}

static int collect_names(const struct plan_feature *features, size_t count, struct arena *arena,
			 struct feature_routes *out)
{
	enum event_type type;
	size_t room = 0, kept = 0;
	for (size_t i = 0; i < count; i++) room += features[i].def.event_count;
	out->names = arena_array(arena, struct feature_route, room + 1);
	if (!out->names) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < features[i].def.event_count; k++)
			if (!event_type_from_name(features[i].def.events[k], &type))
				out->names[out->name_count++].name = features[i].def.events[k];
	if (out->name_count) qsort(out->names, out->name_count, sizeof *out->names, order_routes);
	for (size_t i = 0; i < out->name_count; i++)
		if (i == 0 || !str_eq(out->names[i].name, out->names[kept - 1].name))
			out->names[kept++] = out->names[i];
	out->name_count = kept;
	return OK;
}

int feature_routes_make(const struct plan_feature *features, size_t count, struct arena *arena,
			struct feature_routes *out)
{
	*out = (struct feature_routes){0};
	int rc = collect_names(features, count, arena, out);
	for (size_t i = 0; !rc && i < out->name_count; i++)
		rc = fill(features, count, EVENT_TRACK, out->names[i].name, arena, &out->names[i]);
	for (size_t type = 0; !rc && type < ROUTE_TYPES; type++)
		rc = fill(features, count, (enum event_type)type, STR_NONE, arena, &out->types[type]);
	return rc;
}

const struct feature_route *feature_route_of(const struct feature_routes *routes, const struct cdpd_event *event)
{
	size_t low = 0, high = event->type == EVENT_TRACK ? routes->name_count : 0;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int is = str_cmp(routes->names[middle].name, event->event);
		if (is == 0) return &routes->names[middle];
		if (is < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return &routes->types[event->type < ROUTE_TYPES ? event->type : 0];
}
