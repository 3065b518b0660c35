/* GET /v1/profiles/{ref}/events: a person's events, newest first, on the read pool. */
#include "api/answer.h"
#include "api/event_json.h"
#include "api/internal.h"
#include "api/params.h"
#include "base/clock.h"

#define CHAIN_STEP 200        /* rows of the chain in one read transaction */
#define WALK_MAX   5000       /* events looked at for one page: a filter may match none of them */
#define PAGE_BYTES (4u << 20) /* a page ends early beyond */

struct events_query {
	struct str ref, event;
	enum event_type type; /* 0: any */
	size_t limit;
	uint64_t below;
};

struct walk {
	const struct events_query *query;
	struct profile profile;
	struct chain_item *items;
	size_t item_count, found, seen;
	uint64_t below; /* the next step's */
	bool is_at_end;
};

static int read_step(struct walk *walk, struct answer *answer, struct read_thread *thread)
{
	uint64_t applied;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	if (!answer->applied) answer->applied = applied;
	rc = people_get(thread->people, walk->query->ref, PROFILE_IDENTIFIERS, clock_wall_us(), &thread->scratch,
			&walk->profile);
	if (rc == OK)
		rc = people_chain(thread->people, &walk->profile, walk->below, CHAIN_STEP, &thread->scratch,
				  &walk->items, &walk->item_count);
	people_read_end(thread->people);
	return rc;
}

static bool is_wanted(const struct events_query *query, const struct cdpd_event *event)
{
	if (query->type && event->type != query->type) return false;
	return !query->event.len || str_eq(query->event, event->event);
}

/* ERR_GONE: the journal does not hold it any more, nor anything older. */
static int write_item(struct walk *walk, struct answer *answer, struct read_thread *thread,
		      const struct chain_item *item)
{
	struct record record;
	struct cdpd_event event;
	int rc = journal_get(answer->api->journal, item->seq, &thread->scratch, &record);
	if (rc == ERR_NOT_FOUND) return ERR_GONE;
	if (rc != OK) return rc;
	walk->seen++;
	walk->below = item->seq;
	if (record.kind != RECORD_EVENT) return OK;
	rc = event_decode(record.payload, &thread->scratch, &event);
	if (rc != OK || !is_wanted(walk->query, &event)) return rc;
	walk->found++;
	rc = event_json_patch(answer->api, thread, &item->outcome, &event);
	if (rc != OK) return rc;
	return event_json_write(&answer->json, answer->api, &event, item->seq, &item->outcome);
}

static int write_step(struct walk *walk, struct answer *answer, struct read_thread *thread)
{
	for (size_t i = 0; i < walk->item_count; i++) {
		if (walk->found >= walk->query->limit || walk->seen >= WALK_MAX || answer->out.len > PAGE_BYTES)
			return ERR_AGAIN;
		int rc = write_item(walk, answer, thread, &walk->items[i]);
		if (rc != OK) return rc;
	}
	return walk->item_count < CHAIN_STEP ? ERR_GONE : OK;
}

/* OK: there is more; ERR_GONE: that was the oldest. */
static int write_page(struct walk *walk, struct answer *answer, struct read_thread *thread)
{
	int rc;
	do {
		rc = read_step(walk, answer, thread);
		if (rc == OK) rc = write_step(walk, answer, thread);
	} while (rc == OK && !answer_is_cancelled(answer));
	return rc == ERR_AGAIN ? OK : rc;
}

static int list_events(struct answer *answer, struct read_thread *thread)
{
	const struct events_query *query = answer->params;
	struct walk walk = {.query = query, .below = query->below};
	struct json_out *out = &answer->json;
	jo_object(out);
	jo_key(out, STR("events"));
	jo_array(out);
	int rc = write_page(&walk, answer, thread);
	if (rc == ERR_NOT_FOUND || rc == ERR_INVALID) return answer_fail_ref(answer, rc);
	if (rc != OK && rc != ERR_GONE) return rc;
	jo_end_array(out);
	param_write_next(out, answer->api, rc == OK, walk.below);
	jo_end_object(out);
	return OK;
}

static bool read_type(struct http_request *req, enum event_type *type)
{
	struct str name;
	if (!http_query_get(req, STR("type"), &name) || event_type_from_name(name, type)) return true;
	param_refuse(req, STR("type"), "track, identify, page, screen, group or alias");
	return false;
}

static void get_events(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list_events, sizeof(struct events_query));
	if (!answer) return;
	struct events_query *query = answer->params;
	if (!param_limit(req, &query->limit) || !param_cursor(worker->api, req, &query->below) ||
	    !read_type(req, &query->type) ||
	    !param_text(req, STR("event"), EVENT_NAME_MAX, &answer->arena, &query->event)) {
		answer_drop(answer);
		return;
	}
	if (arena_str(&answer->arena, http_path_param(req, 0), &query->ref) != OK) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	answer_submit(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/profiles/{ref}/events", SCOPE_PROFILES_READ, false, true, 0, get_events},
};

int events_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
