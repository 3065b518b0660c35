/* The stream of changes: each change of the feed, as its readers see it. And the stream of notices: nothing but withdrawals. */
#include "deliver/record_json.h"
#include "deliver/stream_feed.h"
#include "plugin/instance.h"
#include "profile/erase.h"

#define CHANGES_MAX 500 /* looked at for one window */

/* Nothing is told of it: a body was blanked, or will be. */
static int is_withheld(struct stream_reader *r, const struct change *change, bool *out)
{
	uint64_t applied;
	*out = str_eq(str_trim(change->body), STR("{}"));
	if (*out) return OK;
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_change_is_erased(r->people, change, out);
	people_read_end(r->people);
	return rc;
}

static int add_change(struct stream_reader *r, struct stream_window *window, const struct change *change)
{
	struct stream_record *record;
	bool withheld;
	int rc = is_withheld(r, change, &withheld);
	if (rc || withheld) return rc;
	rc = feed_record(r, window, &stream_changes, feed_position(change->seq, FEED_ITSELF), change, &record);
	if (rc) return rc;
	record->kind = CDPD_RECORD_CHANGE;
	record->type = STR("change");
	record->change = change;
	rc = record_write_change(&r->json, change, change->body, r->shared->epoch);
	return rc ? rc : feed_add(r, window, record);
}

/* ERR_AGAIN: no room; the next window begins at window->next. */
static int add_parts(struct stream_reader *r, struct stream_window *window, const struct change *change, uint64_t from)
{
	uint64_t first = feed_position(change->seq, FEED_FIRST);
	window->next = first > from ? first : from;
	int rc = feed_tell(r, window, &stream_changes, change, from, UINT64_MAX);
	if (rc) return rc;
	window->next = feed_position(change->seq, FEED_ITSELF);
	return window->count < WINDOW_RECORDS_MAX ? add_change(r, window, change) : ERR_AGAIN;
}

static int gather(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	struct change *changes;
	size_t count;
	int rc = feed_read(r, from, CHANGES_MAX, window, &changes, &count);
	for (size_t i = 0; i < count && rc == OK; i++) {
		rc = add_parts(r, window, &changes[i], from);
		if (rc == ERR_AGAIN) return OK;
		if (window->bytes >= WINDOW_BYTES_MAX) count = i + 1;
	}
	if (rc == OK) feed_looked(window, changes, count);
	return rc;
}

/* One at a position. */
static int find_one(struct stream_reader *r, uint64_t position, struct stream_window *window)
{
	struct change *changes;
	size_t count;
	int rc = feed_read(r, position, 1, window, &changes, &count);
	if (rc == ERR_GONE) return OK;
	if (rc || !count || changes[0].seq != feed_seq(position)) return rc;
	if (feed_part(position) != FEED_ITSELF)
		return feed_tell(r, window, &stream_changes, &changes[0], position, position);
	return add_change(r, window, &changes[0]);
}

static int find(struct stream_reader *r, const uint64_t *positions, size_t count, struct stream_window *window)
{
	int rc = OK;
	window->next = UINT64_MAX;
	for (size_t i = 0; i < count && rc == OK; i++) {
		if (window->bytes < WINDOW_BYTES_MAX) {
			rc = find_one(r, positions[i], window);
			continue;
		}
		window->next = positions[i];
		break;
	}
	return rc;
}

const struct stream stream_changes = {
    .id = STREAM_OF_CHANGES,
    .name = "changes",
    .feed = POSITION_CHANGE_RECORDS,
    .first = feed_first,
    .end = feed_end,
    .time = feed_time,
    .gather = gather,
    .find = find,
};

/* ── withdrawals alone ───────────────────────────────────────────────────── */

static int gather_notices(struct stream_reader *r, uint64_t from, struct stream_window *window)
{
	struct change *changes;
	size_t count;
	int rc = feed_read(r, from, CHANGES_MAX, window, &changes, &count);
	for (size_t i = 0; i < count && rc == OK; i++)
		if (changes[i].kind == CHANGE_CONSENT)
			rc = feed_tell(r, window, &stream_notices, &changes[i], from, UINT64_MAX);
	if (rc == OK) feed_looked(window, changes, count);
	return rc;
}

static int find_notices(struct stream_reader *r, const uint64_t *positions, size_t count, struct stream_window *window)
{
	int rc = OK;
	window->next = UINT64_MAX;
	for (size_t i = 0; i < count && rc == OK; i++) {
		struct change *changes;
		size_t found;
		rc = feed_read(r, positions[i], 1, window, &changes, &found);
		if (rc == OK && found && changes[0].seq == feed_seq(positions[i]))
			rc = feed_tell(r, window, &stream_notices, &changes[0], positions[i], positions[i]);
		if (rc == ERR_GONE) rc = OK;
	}
	return rc;
}

const struct stream stream_notices = {
    .id = STREAM_OF_NOTICES,
    .name = "notices",
    .feed = POSITION_NOTICES,
    .first = feed_first,
    .end = feed_end,
    .time = feed_time,
    .gather = gather_notices,
    .find = find_notices,
};
