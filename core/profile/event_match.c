#include "profile/event_match.h"

#include <stdlib.h>

#include "profile/feature_def.h"
#include "profile/feature_eval.h"

#define TEXT_MAX    ((size_t)4 << 20)
#define ARENA_BLOCK ((size_t)16 << 10)

struct event_match {
	struct plan *plan;
	struct event_view view;
	struct arena arena;
	char json[FEATURE_JSON_MAX + 1];
};

static void write_plan(struct json_out *out, const struct feature_def *def)
{
	jo_object(out);
	jo_key(out, STR("dedup"));
	jo_raw(out, STR("{\"max_ids\":0,\"window_us\":0}"));
	jo_key(out, STR("features"));
	jo_array(out);
	feature_def_write(out, def);
	jo_end_array(out);
	jo_key(out, STR("identity"));
	jo_raw(out, STR("{\"blocked\":[],\"max_fragments\":1,\"namespaces\":[]}"));
	jo_end_object(out);
}

static int make_plan(struct event_match *match, const struct conf_feature *conf, struct complaints *complaints)
{
	struct feature_def def;
	struct json_out out;
	struct buf text;
	int rc = feature_def_from_conf(conf, &match->arena, complaints, &def);
	if (rc) return rc;
	buf_init(&text, TEXT_MAX);
	json_out_init(&out, &text);
	write_plan(&out, &def);
	rc = out.status;
	if (!rc) rc = plan_new(buf_str(&text), 1, 1, NULL, 0, PLAN_STRICT, &match->plan);
	buf_fini(&text);
	return rc;
}

int event_match_new(const struct conf_feature *conf, struct complaints *complaints, struct event_match **out)
{
	*out = NULL;
	struct event_match *match = calloc(1, sizeof *match);
	if (!match) return ERR_NOMEM;
	arena_init(&match->arena, ARENA_BLOCK, 0);
	int rc = make_plan(match, conf, complaints);
	if (!rc) rc = event_view_init(&match->view);
	if (rc) {
		event_match_free(match);
		return rc;
	}
	*out = match;
	return OK;
}

void event_match_free(struct event_match *match)
{
	if (!match) return;
	event_view_fini(&match->view);
	plan_free(match->plan);
	arena_fini(&match->arena);
	free(match);
}

int event_match_test(struct event_match *match, const struct cdpd_event *event, bool *hit, double *value)
{
	const struct fragment_id nobody = {{0}};
	const struct plan *plan = match->plan;
	const struct feature_pick all = {{1}};
	struct feature_tally tally = {0};
	struct row row, *rows[1] = {&row};
	*hit = false;
	*value = 0;
	if (feature_route_of(&plan->routes, event)->count == 0) return OK;
	arena_reset(&match->arena);
	row_init(&row, &nobody, false);
	event_view_set(&match->view, event);
	int rc = features_apply_picked(plan, &all, &match->view, rows, 1, &match->arena, &tally);
	if (rc || row.feature_count == 0) return rc;
	size_t len = feature_read(&plan->features[0], &row.features[0], event->event_time_us, match->json);
	match->json[len] = '\0';
	*hit = true;
	*value = strtod(match->json, NULL);
	return OK;
}
