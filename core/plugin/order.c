#include "plugin/internal.h"

/* Does what `provider` sets reach what `need` reads? Either may be the wider one. */
static bool does_provide(const struct cdpd_plugin *provider, struct str need)
{
	for (size_t i = 0; i < provider->provides.count; i++) {
		struct str path = str_from(provider->provides.items[i]);
		if (plugin_path_is_under(need, path) || plugin_path_is_under(path, need)) return true;
	}
	return false;
}

static bool reads_from(const struct cdpd_paths *paths, const struct cdpd_plugin *other)
{
	for (size_t i = 0; i < paths->count; i++) {
		if (does_provide(other, str_from(paths->items[i]))) return true;
	}
	return false;
}

/* `also_used`: what it can do without counts too. */
static bool is_behind(const struct cdpd_plugin *table, const struct cdpd_plugin *other, bool also_used)
{
	const struct cdpd_paths uses = plugin_uses(table);
	return reads_from(&table->needs, other) || (also_used && table != other && reads_from(&uses, other));
}

/* Nobody asynchronous provides in time. */
static bool is_provided(const struct order_item *items, size_t count, struct str need)
{
	if (!str_starts(need, STR("enrichment."))) return true;
	for (size_t i = 0; i < count; i++)
		if (!items[i].is_async && does_provide(items[i].table, need)) return true;
	return false;
}

/* An asynchronous enricher is asked when one of its inputs is there: one must be possible. */
static int check_async_inputs(struct arena *arena, const struct order_item *items, size_t count, size_t i,
			      struct str *error)
{
	const struct cdpd_paths *needs = &items[i].table->needs;
	for (size_t p = 0; p < needs->count; p++)
		if (is_provided(items, count, str_from(needs->items[p]))) return OK;
	if (needs->count == 0) return OK;
	return plugin_refuse(arena, error,
			     "enricher '%.*s' needs '%s', which no configured enricher provides before the journal",
			     STR_ARG(items[i].name), needs->items[0]);
}

static int check_inputs(struct arena *arena, const struct order_item *items, size_t count, struct str *error)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].is_async) {
			int rc = check_async_inputs(arena, items, count, i, error);
			if (rc) return rc;
			continue;
		}
		for (size_t p = 0; p < items[i].table->needs.count; p++) {
			struct str need = str_from(items[i].table->needs.items[p]);
			if (!is_provided(items, count, need)) {
				return plugin_refuse(
				    arena, error, "enricher '%.*s' needs '%.*s', which no configured enricher provides",
				    STR_ARG(items[i].name), STR_ARG(need));
			}
		}
	}
	return OK;
}

/* May `i` go next: does it stand behind none of those that are still left? */
static bool is_ready(const struct order_item *items, size_t count, const bool *is_placed, size_t i, bool also_used)
{
	for (size_t k = 0; k < count; k++) {
		if (items[k].is_async && !items[i].is_async) continue;
		if (items[i].is_async && items[k].is_async) continue; /* they know nothing of each other */
		if (!is_placed[k] && is_behind(items[i].table, items[k].table, also_used)) return false;
	}
	return true;
}

static int say_cycle(struct arena *arena, const struct order_item *items, size_t count, const bool *is_placed,
		     struct str *error)
{
	struct str names = STR_NONE;
	for (size_t i = 0; i < count; i++) {
		if (is_placed[i]) continue;
		if (arena_printf(arena, &names, "%.*s%s'%.*s'", STR_ARG(names), names.len ? ", " : "",
				 STR_ARG(items[i].name))) {
			return ERR_NOMEM;
		}
	}
	return plugin_refuse(arena, error, "enrichers need each other in a circle: %.*s", STR_ARG(names));
}

/* The first that may go; `count`: a circle. */
static size_t next_ready(const struct order_item *items, size_t count, const bool *is_placed, bool also_used)
{
	size_t next = 0;
	while (next < count && (is_placed[next] || !is_ready(items, count, is_placed, next, also_used))) next++;
	return next;
}

int enrich_order(struct arena *arena, const struct order_item *items, size_t count, size_t *order, struct str *error)
{
	*error = STR("out of memory");
	bool *is_placed = arena_array(arena, bool, count + 1);
	if (!is_placed) return ERR_NOMEM;
	int rc = check_inputs(arena, items, count, error);
	for (size_t done = 0; rc == OK && done < count; done++) {
		size_t next = next_ready(items, count, is_placed, true);
		if (next == count) next = next_ready(items, count, is_placed, false);
		if (next == count) return say_cycle(arena, items, count, is_placed, error);
		is_placed[next] = true;
		order[done] = next;
	}
	return rc;
}
