#include "api/event_walk.h"

#include "api/event_json.h"
#include "base/clock.h"

#define CHAIN_STEP 200  /* rows of the chain in one read transaction */
#define WALK_MAX   5000 /* events looked at for one page: a filter may match none of them */

static int read_step(struct event_walk *walk, struct read_thread *thread)
{
	uint64_t applied;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	if (!walk->applied) walk->applied = applied;
	rc = people_get(thread->people, walk->query->ref, PROFILE_IDENTIFIERS, clock_wall_us(), &thread->scratch,
			&walk->profile);
	if (rc == OK)
		rc = people_chain(thread->people, &walk->profile, walk->below, CHAIN_STEP, &thread->scratch,
				  &walk->items, &walk->item_count);
	people_read_end(thread->people);
	return rc;
}

static bool is_wanted(const struct event_query *query, const struct cdpd_event *event)
{
	if (query->type && event->type != query->type) return false;
	return !query->event.len || str_eq(query->event, event->event);
}

/* ERR_GONE: the journal does not hold it any more, nor anything older. */
static int look_at(struct event_walk *walk, struct read_thread *thread, const struct chain_item *item)
{
	struct record record;
	struct cdpd_event event;
	int rc = journal_get(walk->api->journal, item->seq, &thread->scratch, &record);
	if (rc == ERR_NOT_FOUND) return ERR_GONE;
	if (rc != OK) return rc;
	walk->seen++;
	walk->below = item->seq;
	if (record.kind != RECORD_EVENT) return OK;
	rc = event_decode(record.payload, &thread->scratch, &event);
	if (rc != OK || !is_wanted(walk->query, &event)) return rc;
	walk->found++;
	rc = event_json_patch(walk->api, thread, &item->outcome, &event);
	if (rc != OK) return rc;
	return walk->fn(walk->ctx, thread, &event, item->seq, &item->outcome);
}

static int take_step(struct event_walk *walk, struct read_thread *thread)
{
	for (size_t i = 0; i < walk->item_count; i++) {
		if (walk->found >= walk->query->limit || walk->seen >= WALK_MAX || walk->page->len > walk->page_max)
			return ERR_AGAIN;
		int rc = look_at(walk, thread, &walk->items[i]);
		if (rc != OK) return rc;
	}
	return walk->item_count < CHAIN_STEP ? ERR_GONE : OK;
}

int event_walk_run(struct event_walk *walk, struct read_thread *thread)
{
	int rc;
	walk->below = walk->query->below;
	do {
		rc = read_step(walk, thread);
		if (rc == OK) rc = take_step(walk, thread);
	} while (rc == OK && !atomic_load(walk->is_cancelled));
	walk->has_more = rc == OK || rc == ERR_AGAIN;
	return rc == ERR_AGAIN || rc == ERR_GONE ? OK : rc; /* gone: that was the oldest */
}
