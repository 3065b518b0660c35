#include "plugin/enrich.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/tree_set.h"
#include "plugin/internal.h"

static struct metric *counter(struct str name, const char *metric, const char *help)
{
	char labels[PLUGIN_NAME_MAX + 20];
	snprintf(labels, sizeof labels, "enricher=\"%.*s\"", STR_ARG(name));
	return metric_get(METRIC_COUNTER, metric, labels, help);
}

static int add_enricher(struct enrich_chain *chain, const struct checked_instance *checked)
{
	struct enricher *enricher = &chain->items[chain->count];
	int rc = instance_new(checked->plugin, checked->name, checked->conf, false, &enricher->instance);
	if (rc) return rc;
	struct str name = str_from(instance_name(enricher->instance));
	enricher->instance->view = &chain->view;
	enricher->name = name;
	enricher->enrich = plugin_info(checked->plugin)->enrich;
	enricher->events = counter(name, "cdpd_enricher_events_total", "Events handed to the enricher.");
	enricher->errors =
	    counter(name, "cdpd_enricher_errors_total", "Events the enricher failed on; they went on without it.");
	enricher->drops = counter(name, "cdpd_enricher_drops_total", "Events the enricher refused.");
	enricher->skipped =
	    counter(name, "cdpd_enricher_skipped_total", "Events that passed while the enricher was paused.");
	enricher->pauses =
	    counter(name, "cdpd_enricher_pauses_total", "Times it was paused after too many errors in a row.");
	chain->count++;
	return OK;
}

/* Fills the chain; what went wrong is in `errors`, one complaint a line. */
static int build(struct enrich_chain *chain, const struct config *config, struct buf *errors)
{
	size_t count = config->enricher_count;
	struct arena *arena = &chain->arena;
	struct str error;
	struct checked_instance *checked = arena_array(arena, struct checked_instance, count + 1);
	struct order_item *items = arena_array(arena, struct order_item, count + 1);
	size_t *order = arena_array(arena, size_t, count + 1);
	chain->items = arena_array(arena, struct enricher, count + 1);
	if (!checked || !items || !order || !chain->items) return ERR_NOMEM;
	int rc = plugin_check_instances(arena, config, config->enrichers, count,
					CDPD_CAP_ENRICH | CDPD_CAP_ENRICH_ASYNC, checked, errors);
	if (rc) return rc;
	for (size_t i = 0; i < count; i++)
		items[i] = (struct order_item){checked[i].name, plugin_info(checked[i].plugin),
					       plugin_is_async(checked[i].plugin)};
	if ((rc = enrich_order(arena, items, count, order, &error))) {
		return buf_printf(errors, "%.*s: %.*s\n", STR_ARG(config->file), STR_ARG(error)) ? ERR_NOMEM : rc;
	}
	for (size_t i = 0; i < count && rc == OK; i++)
		if (!items[order[i]].is_async) rc = add_enricher(chain, &checked[order[i]]);
	return rc;
}

static void log_complaints(struct str text)
{
	while (text.len) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;
		log_error(LOG_PLUGIN, "%.*s", (int)len, text.ptr);
		text = str_of(text.ptr + len + (end ? 1 : 0), text.len - len - (end ? 1 : 0));
	}
}

int enrich_chain_new(const struct config *config, struct enrich_chain **out)
{
	struct buf errors;
	*out = NULL;
	struct enrich_chain *chain = calloc(1, sizeof *chain);
	if (!chain) return ERR_NOMEM;
	arena_init(&chain->arena, 16384, 0);
	enrich_view_init(&chain->view);
	chain->pause_us = ENRICH_PAUSE_US;
	chain->lost = metric_get(METRIC_COUNTER, "cdpd_enrichment_lost_total", NULL,
				 "Events that went on without their enrichment because there was no room for it.");
	buf_init(&errors, (size_t)64 << 10);
	int rc = build(chain, config, &errors);
	log_complaints(buf_str(&errors));
	buf_fini(&errors);
	if (!rc && chain->count) {
		rc = watchdog_add(&chain->watched);
		chain->is_watched = rc == OK;
	}
	if (rc) {
		enrich_chain_free(chain);
		return rc;
	}
	*out = chain;
	return OK;
}

void enrich_chain_free(struct enrich_chain *chain)
{
	if (!chain) return;
	if (chain->is_watched) watchdog_remove(&chain->watched);
	for (size_t i = chain->count; i-- > 0;) instance_free(chain->items[i].instance);
	enrich_view_fini(&chain->view);
	arena_fini(&chain->arena);
	free(chain);
}

/* The next enricher of the config that is no asynchronous one; NULL: there is none. */
static const struct conf_instance *next_sync(const struct config *config, size_t *at, struct arena *arena)
{
	while (*at < config->enricher_count) {
		const struct conf_instance *instance = &config->enrichers[(*at)++];
		const struct plugin *plugin;
		struct str error;
		if (instance->isolation.is_on) continue;
		if (plugin_load(arena, config->plugin_path, instance->plugin, &plugin, &error) != OK ||
		    !plugin_is_async(plugin))
			return instance;
	}
	return NULL;
}

static bool is_same_instance(const struct conf_instance *a, const struct conf_instance *b)
{
	if (!a || !b) return a == b;
	bool has_a = a->options, has_b = b->options;
	return str_eq(a->name, b->name) && str_eq(a->plugin, b->plugin) && has_a == has_b &&
	       (!has_a || node_equal(a->options, b->options));
}

bool enrich_chain_is_same(const struct config *a, const struct config *b)
{
	struct arena arena;
	size_t at_a = 0, at_b = 0;
	bool is_same;
	const struct conf_instance *one;
	arena_init(&arena, 4096, 0);
	do {
		one = next_sync(a, &at_a, &arena);
		is_same = is_same_instance(one, next_sync(b, &at_b, &arena));
	} while (one && is_same);
	arena_fini(&arena);
	return is_same;
}

/* ── one event ───────────────────────────────────────────────────────────── */

static bool is_paused(struct enricher *enricher)
{
	if (enricher->paused_until_us == 0) return false;
	if (clock_mono_us() < enricher->paused_until_us) return true;
	enricher->paused_until_us = 0;
	enricher->errors_in_row = 0;
	log_info(LOG_PLUGIN, "enricher %.*s runs again", STR_ARG(enricher->name));
	return false;
}

static void note_error(struct enrich_chain *chain, struct enricher *enricher, int error)
{
	metric_add(enricher->errors, 1);
	if (++enricher->errors_in_row < ENRICH_ERRORS_IN_ROW) return;
	enricher->paused_until_us = clock_mono_us() + chain->pause_us;
	metric_add(enricher->pauses, 1);
	log_warn(LOG_PLUGIN,
		 "enricher %.*s is paused for %lld s, events go on without it (%d errors in a row, the last %d)",
		 STR_ARG(enricher->name), (long long)(chain->pause_us / US_PER_SECOND), ENRICH_ERRORS_IN_ROW, error);
}

static void save_values(struct enrich_values *to, const struct enrich_values *from)
{
	to->count = from->count;
	to->bytes = from->bytes;
	memcpy(to->items, from->items, from->count * sizeof from->items[0]);
}

static void run_one(struct enrich_chain *chain, struct enricher *enricher)
{
	struct enrich_view *view = &chain->view;
	if (is_paused(enricher)) {
		metric_add(enricher->skipped, 1);
		return;
	}
	save_values(&chain->saved, &view->values);
	chain->saved_name = view->event->event;
	chain->was_renamed = view->was_renamed;
	metric_add(enricher->events, 1);
	watched_enter(&chain->watched, instance_name(enricher->instance));
	int rc = enricher->enrich(instance_self(enricher->instance), view->event);
	watched_leave(&chain->watched);
	if (rc == CDPD_OK || (rc == CDPD_ENRICH_DROP && view->is_dropped)) {
		enricher->errors_in_row = 0;
		view->is_dropped = rc == CDPD_ENRICH_DROP;
		if (view->is_dropped) metric_add(enricher->drops, 1);
		return;
	}
	view->is_dropped = false;
	save_values(&view->values, &chain->saved);
	view->event->event = chain->saved_name;
	view->was_renamed = chain->was_renamed;
	note_error(chain, enricher, rc);
}

static void finish(struct enrich_chain *chain, struct cdpd_event *event)
{
	struct enrich_view *view = &chain->view;
	if (view->values.count == 0) return;
	buf_clear(&view->scratch);
	int rc = enrich_values_write(&view->values, &view->scratch);
	struct str text = STR_NONE;
	if (rc == OK) rc = arena_str(view->arena, buf_str(&view->scratch), &text);
	if (rc == OK)
		event->enrichment = text;
	else
		metric_add(chain->lost, 1);
}

void enrich_chain_run(struct enrich_chain *chain, struct cdpd_event *event, const struct json *root,
		      struct arena *arena, struct enrich_outcome *out)
{
	struct enrich_view *view = &chain->view;
	*out = (struct enrich_outcome){.enricher = STR_NONE, .reason = STR_NONE};
	if (chain->count == 0) return;
	enrich_view_begin(view, event, root, arena);
	for (size_t i = 0; i < chain->count && !out->is_dropped; i++) {
		run_one(chain, &chain->items[i]);
		if (view->is_dropped) *out = (struct enrich_outcome){true, chain->items[i].name, view->drop_reason};
	}
	if (!out->is_dropped) finish(chain, event);
	view->event = NULL;
}
