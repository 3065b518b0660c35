/* A sync enricher in a trial: the host's own functions, one view, the events in order. */
#include <stdio.h>

#include "plugin/trial_internal.h"

struct answer {
	int code;
	size_t seeded; /* values that were there before */
};
struct tally {
	size_t set, nothing, dropped, failed;
};

/* What enrichers before this one would have set: an event's own `enrichment`, as cdpd lists and exports it. */
static int seed(struct enrich_view *view, struct json object, struct str above)
{
	struct json_iter members;
	struct json value;
	struct str key;
	int rc = OK;
	json_iter_start(object, &members);
	while (rc == OK && json_next_member(&members, &key, &value)) {
		struct enrich_value item = {.path = STR_NONE, .text = STR_NONE};
		bool boolean;
		rc = arena_printf(view->arena, &item.path, "%.*s%s%.*s", STR_ARG(above), above.len ? "." : "",
				  STR_ARG(key));
		if (rc) return rc;
		if (json_type(value) == JSON_OBJECT) {
			rc = seed(view, value, item.path);
			continue;
		}
		if (json_str(value, &item.text)) {
			item.kind = CDPD_VALUE_STRING;
			rc = arena_str(view->arena, item.text, &item.text);
		} else if (json_bool(value, &boolean)) {
			item.kind = CDPD_VALUE_BOOL;
			item.number = boolean;
		} else if (json_double(value, &item.number)) {
			item.kind = CDPD_VALUE_NUMBER;
		} else {
			continue;
		}
		if (rc == OK) rc = enrich_values_set(&view->values, &item);
	}
	return rc;
}

static void print_answer(struct enrich_view *view, const struct trial_event *event, int rc)
{
	buf_clear(&view->scratch);
	if (rc == CDPD_ENRICH_DROP)
		printf("%u: dropped (%.*s)\n", event->line, STR_ARG(view->drop_reason));
	else if (rc != CDPD_OK)
		printf("%u: failed (%d)\n", event->line, rc);
	else if (view->values.count && enrich_values_write(&view->values, &view->scratch) == OK)
		printf("%u: %.*s\n", event->line, (int)view->scratch.len, buf_str(&view->scratch).ptr);
	else
		printf("%u: -\n", event->line);
}

static int one(struct trial_run *run, struct cdpd_instance *instance, struct enrich_view *view, size_t index,
	       struct arena *arena, struct answer *out)
{
	struct trial_event *event = &run->events[index];
	struct cdpd_event copy = event->event; /* it may be given another name */
	struct json root, enrichment;
	const char *why;
	int rc = json_parse(run->reader, event->text, &root, &why);
	if (rc) return rc;
	arena_reset(arena);
	enrich_view_begin(view, &copy, &root, arena);
	if (json_get(root, STR("enrichment"), &enrichment)) rc = seed(view, enrichment, STR_NONE);
	if (rc) return rc;
	out->seeded = view->values.count;
	trial_at(run, "enrich", event);
	int64_t from = trial_now_ns();
	out->code = run->table->enrich(instance_self(instance), &copy);
	view->event = NULL;
	run->took_ns[index] = trial_now_ns() - from;
	trial_at(run, "between events", event);
	return OK;
}

static void tally_answer(struct tally *tally, const struct enrich_view *view, struct answer answer)
{
	if (answer.code == CDPD_ENRICH_DROP)
		tally->dropped++;
	else if (answer.code != CDPD_OK)
		tally->failed++;
	else if (view->values.count > answer.seeded)
		tally->set++;
	else
		tally->nothing++;
}

static int run_passes(struct trial_run *run, struct cdpd_instance *instance, struct enrich_view *view)
{
	struct arena arena;
	struct tally tally = {0};
	size_t after_first = 0;
	int rc = OK;
	arena_init(&arena, (size_t)64 << 10, 0);
	for (unsigned pass = 0; pass < run->trial->passes && rc == OK; pass++) {
		for (size_t i = 0; i < run->event_count && rc == OK; i++) {
			struct answer answer;
			rc = one(run, instance, view, i, &arena, &answer);
			if (rc || pass > 0) continue;
			tally_answer(&tally, view, answer);
			if (run->trial->prints_answers) print_answer(view, &run->events[i], answer.code);
		}
		if (pass == 0) after_first = trial_heap();
	}
	if (rc == OK) {
		printf("answers: %zu with fields, %zu without, %zu dropped, %zu failed\n", tally.set, tally.nothing,
		       tally.dropped, tally.failed);
		trial_print_times(run, "enrich");
		trial_judge_growth(run, after_first, trial_heap(), "held");
		if (tally.failed) trial_find(run, "it failed on %zu of %zu events", tally.failed, run->event_count);
	}
	arena_fini(&arena);
	return rc;
}

int trial_enrich(struct trial_run *run)
{
	struct enrich_view view;
	struct cdpd_instance *instance;
	trial_at(run, "create", NULL);
	if (instance_new(run->plugin, str_from(run->table->name), run->conf, false, &instance)) {
		trial_find(run, "create refused the options; the log says why");
		return ERR_REFUSED;
	}
	enrich_view_init(&view);
	instance->view = &view;
	int rc = run->event_count ? run_passes(run, instance, &view) : OK;
	enrich_view_fini(&view);
	trial_at(run, "destroy", NULL);
	instance_free(instance);
	return rc;
}
