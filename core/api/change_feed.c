#include "api/change_feed.h"

#include "profile/change_json.h"
#include "profile/erase.h"

#define CHANGES_STEP  128 /* in one read transaction */
#define CHANGES_STEPS 32  /* in one pull: a filter may pass over them all */

int change_write_json(struct buf *buf, const struct api *api, const struct change *change, struct str body)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	change_write_members(&out, journal_epoch(api->journal), change, body);
	jo_end_object(&out);
	return out.status;
}

static int read_step(struct read_thread *thread, uint64_t after, struct change **changes, size_t *count)
{
	uint64_t applied;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_changes(thread->people, after, CHANGES_STEP, &thread->scratch, changes, count);
	people_read_end(thread->people);
	return rc;
}

static struct change_look look_at(const struct change *change, struct read_thread *thread)
{
	return (struct change_look){
	    .change = change, .json = thread->json, .text = &thread->text, .arena = &thread->scratch};
}

/* ── one feed ────────────────────────────────────────────────────────────── */

static int show(struct feed_pull *pull, struct read_thread *thread, const struct change *change)
{
	const struct change_feed *feed = pull->params;
	struct change_look look = look_at(change, thread);
	struct str body;
	bool passes = false;
	if (!change_filter_wants(&feed->filter, change->kind)) return OK;
	int rc = change_filter_look(&feed->filter, &look, &passes, &body);
	return rc == OK && passes ? feed->write(pull->out, pull->api, change, body) : rc;
}

static int fill_step(struct feed_pull *pull, struct read_thread *thread, bool *has_more)
{
	struct change *changes;
	size_t count = 0;
	int rc = read_step(thread, pull->cursor, &changes, &count);
	for (size_t i = 0; i < count && rc == OK && pull->out->len < FEED_BATCH; i++) {
		if (changes[i].seq > pull->limit) {
			*has_more = false;
			return OK;
		}
		rc = show(pull, thread, &changes[i]);
		if (rc == OK) pull->cursor = changes[i].seq;
	}
	*has_more = count == CHANGES_STEP;
	return rc;
}

static int find_start(struct feed_pull *pull, struct read_thread *thread)
{
	uint64_t applied;
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	pull->cursor = people_changes_floor(thread->people);
	people_read_end(thread->people);
	return OK;
}

static int fill(struct feed_pull *pull, struct read_thread *thread)
{
	bool has_more = true;
	if (pull->cursor == FEED_FROM_START) return find_start(pull, thread);
	for (int i = 0; i < CHANGES_STEPS && has_more && pull->out->len < FEED_BATCH; i++) {
		if (atomic_load(pull->is_cancelled)) return OK;
		int rc = fill_step(pull, thread, &has_more);
		if (rc != OK) return rc;
	}
	return OK;
}

/* ── those who have caught up, together ──────────────────────────────────── */

/* A change as it was written last: whoever wants the same bytes gets a copy. */
struct written {
	change_write_fn by;
	const struct buf *in;
	size_t at, len;
};

static int write_once(struct feed_slice *slice, struct feed_share *share, const struct change *change, struct str body,
		      struct written *last)
{
	const struct change_feed *feed = slice->params;
	struct buf *out = &slice->out;
	bool is_own = body.ptr == change->body.ptr;
	if (is_own && last->in && last->by == feed->write)
		return buf_append(out, buf_ptr(last->in) + last->at, last->len);
	size_t before = out->len;
	int rc = feed->write(out, share->api, change, body);
	if (rc == OK && is_own) *last = (struct written){feed->write, out, before, out->len - before};
	return rc;
}

/* After an error nothing of the flight is handed out. */
static int share_change(struct feed_share *share, struct read_thread *thread, const struct change *change,
			bool *is_full)
{
	struct change_look look = look_at(change, thread);
	struct written last = {0};
	for (size_t i = 0; i < share->count; i++) {
		struct feed_slice *slice = share->slices[i];
		const struct change_feed *feed = slice->params;
		struct str body;
		bool passes = false;
		if (!change_filter_wants(&feed->filter, change->kind)) continue;
		int rc = change_filter_look(&feed->filter, &look, &passes, &body);
		if (rc == OK && passes) rc = write_once(slice, share, change, body, &last);
		if (rc != OK) return rc;
		if (slice->out.len >= FEED_BATCH) *is_full = true;
	}
	share->cursor = change->seq;
	return OK;
}

static unsigned wanted_by_any(const struct feed_share *share)
{
	unsigned wants = 0;
	for (size_t i = 0; i < share->count; i++)
		wants |= ((const struct change_feed *)share->slices[i]->params)->filter.wants;
	return wants;
}

static int fill_shared(struct feed_share *share, struct read_thread *thread)
{
	unsigned wants = wanted_by_any(share);
	bool is_full = false;
	size_t count = CHANGES_STEP;
	for (int i = 0; i < CHANGES_STEPS && count == CHANGES_STEP && !is_full; i++) {
		struct change *changes;
		if (atomic_load(share->is_cancelled)) return OK;
		int rc = read_step(thread, share->cursor, &changes, &count);
		for (size_t k = 0; k < count && rc == OK && !is_full; k++) {
			if (wants & 1u << changes[k].kind)
				rc = share_change(share, thread, &changes[k], &is_full);
			else
				share->cursor = changes[k].seq;
		}
		if (rc != OK) return rc;
	}
	return OK;
}

static bool is_same(const void *params, const void *other)
{
	const struct change_feed *a = params, *b = other;
	return a->write == b->write && change_filter_eq(&a->filter, &b->filter);
}

static uint64_t newest(struct api *api)
{
	return people_last_change(api->people);
}

const struct feed_kind CHANGE_FEED = {.newest = newest, .fill = fill, .fill_shared = fill_shared, .is_same = is_same};
