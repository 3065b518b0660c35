#include "profile/answer_count.h"

#include "base/clock.h"

#define SLICES_MAX    8192
#define ROUNDS_MAX    10
#define CHANGES_BATCH 500
#define NO_HURRY_US   (INT64_C(3600) * US_PER_SECOND)

struct slice {
	struct answer_range range;
	uint64_t seen; /* newest change of its snapshot */
	bool is_stale;
};

struct counting {
	struct people_reader *reader;
	const struct answer_counter *counter;
	struct str form;
	int64_t now;
	struct arena *scratch;
	struct slice *slices;
	struct answer_count *out;
	void *part; /* being filled */
};

static int on_person(void *ctx, const struct answer_found *answers, size_t count)
{
	struct counting *c = ctx;
	return c->counter->add(c->counter->ctx, c->part, answers, count);
}

static int walk(struct counting *c, size_t index, int64_t budget_us, struct answer_scanned *scanned)
{
	const struct answer_scan scan = {.form = c->form,
					 .range = c->slices[index].range,
					 .now = c->now,
					 .budget_us = budget_us,
					 .fn = on_person,
					 .ctx = c,
					 .scratch = c->scratch};
	if (c->counter->should_stop && c->counter->should_stop(c->counter->ctx)) return ERR_CLOSED;
	c->part = c->out->parts[index];
	int rc = people_scan_answers(c->reader, &scan, scanned);
	if (rc == OK) c->slices[index].seen = scanned->seen;
	return rc;
}

/* False: that was the last id there can be. */
static bool next_id(struct fragment_id *id)
{
	for (size_t i = sizeof id->bytes; i-- > 0;)
		if (++id->bytes[i] != 0) return true;
	return false;
}

static int walk_all(struct counting *c)
{
	struct fragment_id from = {{0}};
	struct answer_scanned scanned = {.is_done = false};
	struct answer_count *out = c->out;
	for (bool is_done = false; !is_done; is_done = scanned.is_done || !next_id(&from)) {
		struct slice *slice = &c->slices[out->count];
		if (out->count == SLICES_MAX) return ERR_TOO_LARGE;
		out->parts[out->count] = c->counter->begin(c->counter->ctx);
		if (!out->parts[out->count]) return ERR_NOMEM;
		slice->range.from = from;
		memset(slice->range.to.bytes, 0xff, sizeof slice->range.to.bytes);
		int rc = walk(c, out->count, c->counter->slice_us, &scanned);
		if (rc != OK) return rc;
		if (out->count++ == 0) out->applied = scanned.applied;
		if (!scanned.is_done) slice->range.to = from = scanned.last;
	}
	return OK;
}

/* ── who moved meanwhile ─────────────────────────────────────────────────── */

static void mark(struct counting *c, const struct fragment_id *id, uint64_t seq, size_t *stale)
{
	size_t low = 0, high = c->out->count - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (memcmp(c->slices[middle].range.to.bytes, id->bytes, sizeof id->bytes) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	struct slice *slice = &c->slices[low];
	if (slice->is_stale || seq <= slice->seen) return;
	slice->is_stale = true;
	++*stale;
}

/* Every quoted id of the body: of those who were joined, of those who were split. */
static void mark_ids(struct counting *c, const struct change *change, size_t *stale)
{
	struct fragment_id id;
	struct str body = change->body;
	memcpy(id.bytes, change->profile, sizeof id.bytes);
	mark(c, &id, change->seq, stale);
	while (body.len) {
		const char *quote = memchr(body.ptr, '"', body.len);
		if (!quote) return;
		size_t rest = body.len - (size_t)(quote + 1 - body.ptr);
		const char *end = memchr(quote + 1, '"', rest);
		if (!end) return;
		size_t len = (size_t)(end - quote - 1);
		if (fragment_id_parse(str_of(quote + 1, len), &id) == OK) mark(c, &id, change->seq, stale);
		body = str_of(end + 1, rest - len - 1);
	}
}

static bool moves_people(const struct change *change)
{
	return change->kind == CHANGE_MERGED || change->kind == CHANGE_SPLIT || change->kind == CHANGE_ERASED;
}

static int read_changes(struct counting *c, uint64_t *after, size_t *stale)
{
	for (size_t count = CHANGES_BATCH; count == CHANGES_BATCH;) {
		struct change *changes;
		uint64_t applied;
		int rc = people_read_begin(c->reader, &applied);
		if (rc != OK) return rc;
		rc = people_changes(c->reader, *after, CHANGES_BATCH, c->scratch, &changes, &count);
		people_read_end(c->reader);
		if (rc != OK) return rc;
		for (size_t i = 0; i < count; i++)
			if (moves_people(&changes[i])) mark_ids(c, &changes[i], stale);
		if (count) *after = changes[count - 1].seq;
		arena_reset(c->scratch);
	}
	return OK;
}

/* Each in one piece: it was one slice before. */
static int walk_stale(struct counting *c)
{
	struct answer_scanned scanned;
	for (size_t i = 0; i < c->out->count; i++) {
		if (!c->slices[i].is_stale) continue;
		c->slices[i].is_stale = false;
		c->counter->clear(c->counter->ctx, c->out->parts[i]);
		int rc = walk(c, i, NO_HURRY_US, &scanned);
		if (rc != OK) return rc;
	}
	return OK;
}

static int settle(struct counting *c)
{
	uint64_t after = c->slices[0].seen;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		size_t stale = 0;
		int rc = read_changes(c, &after, &stale);
		if (rc == ERR_GONE) return OK; /* the feed is shorter than this took */
		c->out->is_exact = rc == OK && stale == 0;
		if (rc != OK || c->out->is_exact) return rc;
		rc = walk_stale(c);
		if (rc != OK) return rc;
	}
	return OK;
}

int people_count_answers(struct people_reader *reader, struct str form, int64_t now,
			 const struct answer_counter *counter, struct arena *arena, struct arena *scratch,
			 struct answer_count *out)
{
	struct counting c = {
	    .reader = reader, .counter = counter, .form = form, .now = now, .scratch = scratch, .out = out};
	*out = (struct answer_count){.parts = arena_array(arena, void *, SLICES_MAX)};
	c.slices = arena_array(arena, struct slice, SLICES_MAX);
	if (!out->parts || !c.slices) return ERR_NOMEM;
	int rc = walk_all(&c);
	return rc == OK ? settle(&c) : rc;
}
