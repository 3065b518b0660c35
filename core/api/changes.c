/* GET /v1/changes: the change feed as Server-Sent Events. */
#include "api/change_filter.h"
#include "api/event_json.h"
#include "api/feed.h"
#include "api/internal.h"
#include "api/params.h"
#include "api/profile_json.h"

#define CHANGES_STEP  128 /* in one read transaction */
#define CHANGES_STEPS 32  /* in one pull: a filter may pass over them all */
#define LIST_TEXT_MAX 4096

static int write_change(struct feed_pull *pull, const struct change *change, struct str body)
{
	struct json_out out;
	size_t before = pull->out->len;
	int rc =
	    feed_message_begin(pull->out, pull->api, POSITION_CHANGES, change->seq, change_kind_name(change->kind));
	json_out_init(&out, pull->out);
	jo_object(&out);
	jo_key(&out, STR("kind"));
	jo_str(&out, str_from(change_kind_name(change->kind)));
	jo_key(&out, STR("profile"));
	profile_write_id(&out, change->profile);
	event_json_position(&out, pull->api, STR("position"), change->cause_seq);
	jo_key(&out, STR("at"));
	jo_time(&out, change->t);
	/* The body's own members: its text without the braces. */
	body = str_trim(body);
	if (body.len > 2) jo_raw(&out, str_trim(str_of(body.ptr + 1, body.len - 2)));
	jo_end_object(&out);
	return feed_message_end(pull->out, rc == OK ? out.status : rc, before);
}

static int fill_step(struct feed_pull *pull, struct read_thread *thread, size_t *count)
{
	const struct change_filter *filter = pull->params;
	struct change *changes;
	uint64_t applied;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_changes(thread->people, pull->cursor, CHANGES_STEP, &thread->scratch, &changes, count);
	people_read_end(thread->people);
	for (size_t i = 0; i < *count && rc == OK && pull->out->len < FEED_BATCH; i++) {
		struct str body;
		bool passes = false;
		rc = change_filter_look(filter, &changes[i], thread->json, &thread->text, &thread->scratch, &passes,
					&body);
		if (rc == OK && passes) rc = write_change(pull, &changes[i], body);
		if (rc == OK) pull->cursor = changes[i].seq;
	}
	return rc;
}

/* ?since=start is the oldest change there is. What lies behind retention is gone for every smaller cursor too, so it is found by halving. */
static int find_start(struct feed_pull *pull, struct read_thread *thread)
{
	struct change *changes;
	uint64_t applied, low = 0, high = people_last_change(pull->api->people);
	size_t count;
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		rc = people_changes(thread->people, middle, 1, &thread->scratch, &changes, &count);
		if (rc != OK && rc != ERR_GONE) break;
		if (rc == OK)
			high = middle;
		else
			low = middle + 1;
	}
	people_read_end(thread->people);
	pull->cursor = low;
	return rc == ERR_GONE ? OK : rc;
}

static int fill(struct feed_pull *pull, struct read_thread *thread)
{
	if (pull->cursor == FEED_FROM_START) return find_start(pull, thread);

	for (int i = 0; i < CHANGES_STEPS && pull->out->len < FEED_BATCH && !atomic_load(pull->is_cancelled); i++) {
		size_t count = 0;
		int rc = fill_step(pull, thread, &count);
		if (rc != OK || count < CHANGES_STEP) return rc;
	}
	return OK;
}

static uint64_t newest(struct api *api)
{
	return people_last_change(api->people);
}

static const struct feed_kind CHANGES = {.cursors = POSITION_CHANGES, .newest = newest, .fill = fill};

static bool read_filter(struct http_request *req, struct arena *arena, struct change_filter *filter)
{
	struct str kinds, traits, features, segments, word = STR_NONE;
	if (!param_text(req, STR("kind"), LIST_TEXT_MAX, arena, &kinds) ||
	    !param_text(req, STR("trait"), LIST_TEXT_MAX, arena, &traits) ||
	    !param_text(req, STR("feature"), LIST_TEXT_MAX, arena, &features) ||
	    !param_text(req, STR("segment"), LIST_TEXT_MAX, arena, &segments))
		return false;
	int rc = change_filter_parse(filter, kinds, traits, features, segments, arena, &word);
	if (rc == OK) return true;
	if (rc == ERR_INVALID)
		param_refuse(req, STR("kind"),
			     "profile, trait, feature, identifier, merged, split, segment, consent or erased");
	else if (rc == ERR_TOO_LARGE)
		http_reply_problem(req, PROBLEM_INVALID_PARAMETER, STR("at most 100 names in a filter"), STR_NONE);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	return false;
}

static void get_changes(struct api_worker *worker, struct http_request *req)
{
	struct arena arena;
	arena_init(&arena, 1024, 64 << 10);
	struct change_filter *filter = arena_new(&arena, struct change_filter);
	uint64_t cursor = people_last_change(worker->api->people);
	if (!filter) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		arena_fini(&arena);
	} else if (!read_filter(req, &arena, filter) || !feed_cursor(worker, req, &CHANGES, &cursor)) {
		arena_fini(&arena);
	} else {
		feed_start(worker, req, &CHANGES, &arena, filter, cursor);
	}
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/changes", SCOPE_CHANGES_READ, false, true, 0, get_changes},
};

int changes_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
