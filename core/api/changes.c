/* GET /v1/changes: the change feed as Server-Sent Events. */
#include "api/change_feed.h"
#include "api/feed_http.h"
#include "api/params.h"
#include "api/subscriptions.h"

#define LIST_TEXT_MAX 4096

int changes_write_event(struct buf *out, const struct api *api, const struct change *change, struct str body)
{
	size_t before = out->len;
	int rc = feed_message_begin(out, api, POSITION_CHANGES, change->seq, change_kind_name(change->kind));
	if (rc == OK) rc = change_write_json(out, api, change, body);
	return feed_message_end(out, rc, before);
}

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

/* What the subscription says holds: its cursor, its filter. (A browser's EventSource sends Last-Event-ID by itself: passed over.) */
static bool names_subscription(struct http_request *req, struct str *name, bool *is_refused)
{
	static const struct str others[] = {STR("since"), STR("kind"), STR("trait"), STR("feature"), STR("segment")};
	struct str value;
	*is_refused = false;
	if (!http_query_get(req, STR("subscription"), name)) return false;
	for (size_t i = 0; i < COUNT_OF(others) && !*is_refused; i++) {
		if (!http_query_get(req, others[i], &value)) continue;
		param_refuse(req, others[i], "the subscription has its own cursor and filter");
		*is_refused = true;
	}
	return true;
}

static void get_changes(struct api_worker *worker, struct http_request *req)
{
	struct str name;
	bool is_refused;
	if (names_subscription(req, &name, &is_refused)) {
		if (!is_refused) subscription_stream(worker, req, name);
		return;
	}
	struct feed_options options = {.kind = &CHANGE_FEED, .cursor = people_last_change(worker->api->people)};
	arena_init(&options.arena, 512, 64 << 10);
	struct change_feed *feed = arena_new(&options.arena, struct change_feed);
	options.params = feed;
	if (!feed) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		arena_fini(&options.arena);
		return;
	}
	feed->write = changes_write_event;
	if (read_filter(req, &options.arena, &feed->filter) &&
	    feed_http_cursor(worker, req, &CHANGE_FEED, POSITION_CHANGES, &options.cursor))
		feed_http_start(worker, req, FEED_EVENTS, POSITION_CHANGES, &options);
	else
		arena_fini(&options.arena);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/changes", SCOPE_CHANGES_READ, false, true, 0, get_changes},
};

int changes_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
