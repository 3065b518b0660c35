/* Counting walks in slices, each a short read transaction of its own. Joins and splits between two slices could show a person twice or not at
 * all: the change feed names them, and the slices that hold one are walked again. */
#include "api/form_results.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/answer.h"
#include "api/event_json.h"
#include "api/form_tally.h"
#include "api/forms.h"
#include "base/clock.h"

#define SLICE_US      (INT64_C(40) * US_PER_MS)
#define SLICES_MAX    8192
#define ROUNDS_MAX    10
#define CHANGES_BATCH 500
#define MEMORY_MAX    ((size_t)64 << 20)
#define KEPT_MAX      64
#define KEPT_BYTES    ((size_t)1 << 20) /* a longer answer is made anew each time */
#define AGE_MIN_US    US_PER_SECOND
#define AGE_IDLE_US   (60 * US_PER_SECOND) /* nothing was applied since; but answers expire */
#define AGE_TIMES     20                   /* kept as many times as long as the counting took */

struct kept {
	char name[65], etag[48];
	char *json;
	size_t len;
	uint64_t applied;
	int64_t at_us, took_us; /* monotonic */
};

struct form_counts {
	pthread_mutex_t lock;
	bool is_counting;
	struct kept items[KEPT_MAX];
	size_t next; /* gives way next */
};

int form_counts_new(struct form_counts **out)
{
	*out = calloc(1, sizeof **out);
	if (!*out) return ERR_NOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return OK;
}

void form_counts_free(struct form_counts *counts)
{
	if (!counts) return;
	for (size_t i = 0; i < KEPT_MAX; i++) free(counts->items[i].json);
	pthread_mutex_destroy(&counts->lock);
	free(counts);
}

struct results_query {
	struct str name;
	bool wants_newest;
};

/* ── walking ─────────────────────────────────────────────────────────────── */

struct slice {
	struct answer_range range;
	uint64_t seen; /* newest change of its snapshot */
	bool is_stale;
	struct tally tally;
};

struct counting {
	struct answer *answer;
	struct read_thread *thread;
	const struct conf_form *form;
	struct arena arena; /* the slices and their counts */
	struct slice **slices;
	size_t count;
	int64_t now;
	uint64_t applied, seen; /* of the first slice */
	bool is_exact;
	struct tally *tally; /* being filled */
	struct tally_reader reader;
};

static int on_person(void *ctx, const struct answer_found *answers, size_t count)
{
	struct counting *c = ctx;
	return tally_add(c->tally, &c->reader, answers, count);
}

static int walk(struct counting *c, struct slice *slice, int64_t budget_us, struct fragment_id *last, bool *is_done,
		uint64_t *applied)
{
	if (answer_is_cancelled(c->answer)) return ERR_CLOSED;
	c->tally = &slice->tally;
	return people_scan_answers(c->thread->people, c->form->name, &slice->range, c->now, budget_us,
				   &c->thread->scratch, on_person, c, last, is_done, &slice->seen, applied);
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
	struct fragment_id from = {{0}}, last;
	bool is_done = false;
	while (!is_done) {
		struct slice *slice = arena_new(&c->arena, struct slice);
		uint64_t applied;
		if (!slice || c->count == SLICES_MAX) return ERR_TOO_LARGE;
		int rc = tally_init(&slice->tally, c->form, &c->arena);
		slice->range.from = from;
		memset(slice->range.to.bytes, 0xff, sizeof slice->range.to.bytes);
		if (rc == OK) rc = walk(c, slice, SLICE_US, &last, &is_done, &applied);
		if (rc != OK) return rc;
		if (c->count == 0) {
			c->applied = applied;
			c->seen = slice->seen;
		}
		c->slices[c->count++] = slice;
		if (is_done) break;
		slice->range.to = from = last;
		is_done = !next_id(&from);
	}
	return OK;
}

/* ── who moved meanwhile ─────────────────────────────────────────────────── */

static void mark(struct counting *c, const struct fragment_id *id, uint64_t seq, size_t *stale)
{
	size_t low = 0, high = c->count - 1;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (memcmp(c->slices[middle]->range.to.bytes, id->bytes, sizeof id->bytes) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	struct slice *slice = c->slices[low];
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
		if (fragment_id_parse(str_of(quote + 1, (size_t)(end - quote - 1)), &id) == OK)
			mark(c, &id, change->seq, stale);
		body = str_of(end + 1, rest - (size_t)(end + 1 - (quote + 1)));
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
		int rc = people_read_begin(c->thread->people, &applied);
		if (rc != OK) return rc;
		rc = people_changes(c->thread->people, *after, CHANGES_BATCH, &c->thread->scratch, &changes, &count);
		people_read_end(c->thread->people);
		if (rc != OK) return rc;
		for (size_t i = 0; i < count; i++)
			if (moves_people(&changes[i])) mark_ids(c, &changes[i], stale);
		if (count) *after = changes[count - 1].seq;
		arena_reset(&c->thread->scratch);
	}
	return OK;
}

static int walk_stale(struct counting *c)
{
	struct fragment_id last;
	uint64_t applied;
	bool is_done;
	for (size_t i = 0; i < c->count; i++) {
		struct slice *slice = c->slices[i];
		if (!slice->is_stale) continue;
		slice->is_stale = false;
		tally_clear(&slice->tally);
		/* In one piece: it was one slice before. */
		int rc = walk(c, slice, INT64_C(3600) * US_PER_SECOND, &last, &is_done, &applied);
		if (rc != OK) return rc;
	}
	return OK;
}

static int settle(struct counting *c)
{
	uint64_t after = c->seen;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		size_t stale = 0;
		int rc = read_changes(c, &after, &stale);
		if (rc == ERR_GONE) return OK; /* the feed is shorter than this took */
		c->is_exact = rc == OK && stale == 0;
		if (rc != OK || c->is_exact) return rc;
		rc = walk_stale(c);
		if (rc != OK) return rc;
	}
	return OK;
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static int write_results(struct counting *c)
{
	struct json_out *out = &c->answer->json;
	struct tally whole;
	int rc = tally_init(&whole, c->form, &c->arena);
	for (size_t i = 0; i < c->count && rc == OK; i++) rc = tally_merge(&whole, &c->slices[i]->tally);
	if (rc != OK) return rc;
	jo_object(out);
	jo_key(out, STR("form"));
	jo_str(out, c->form->name);
	jo_key(out, STR("version"));
	jo_uint(out, c->form->version);
	jo_key(out, STR("kind"));
	jo_str(out, str_from(form_kind_name(c->form->kind)));
	jo_key(out, STR("at"));
	jo_time(out, c->now);
	event_json_position(out, c->answer->api, STR("position"), c->applied ? c->applied - 1 : 0);
	jo_key(out, STR("exact"));
	jo_bool(out, c->is_exact);
	tally_write(out, &whole);
	jo_end_object(out);
	return out->status;
}

static int count(struct answer *answer, struct read_thread *thread, const struct conf_form *form)
{
	struct counting c = {.answer = answer,
			     .thread = thread,
			     .form = form,
			     .now = clock_wall_us(),
			     .reader = {.json = thread->json, .text = &thread->text}};
	arena_init(&c.arena, 65536, MEMORY_MAX);
	c.slices = arena_array(&c.arena, struct slice *, SLICES_MAX);
	int rc = c.slices ? walk_all(&c) : ERR_NOMEM;
	if (rc == OK) rc = settle(&c);
	if (rc == OK) rc = write_results(&c);
	answer->applied = c.applied;
	arena_fini(&c.arena);
	if (rc == ERR_CLOSED) return answer_fail(answer, PROBLEM_SHUTTING_DOWN, STR_NONE); /* nobody reads it */
	return rc;
}

/* ── what was counted before ─────────────────────────────────────────────── */

static struct kept *find_kept(struct form_counts *counts, const struct conf_form *form)
{
	for (size_t i = 0; i < KEPT_MAX; i++) {
		struct kept *kept = &counts->items[i];
		if (kept->json && str_eq(str_from(kept->name), form->name) && str_eq(str_from(kept->etag), form->etag))
			return kept;
	}
	return NULL;
}

static bool is_fresh(const struct kept *kept, uint64_t applied, bool wants_newest)
{
	int64_t age = clock_mono_us() - kept->at_us, limit = kept->took_us * AGE_TIMES;
	if (kept->applied == applied && age < AGE_IDLE_US) return true;
	return !wants_newest && age < (limit > AGE_MIN_US ? limit : AGE_MIN_US);
}

static int reply_kept(struct answer *answer, const struct kept *kept)
{
	answer->applied = kept->applied;
	return buf_append(&answer->out, kept->json, kept->len);
}

static void keep(struct form_counts *counts, const struct conf_form *form, const struct answer *answer, int64_t began)
{
	if (answer->out.len > KEPT_BYTES || form->etag.len >= sizeof counts->items[0].etag) return;
	struct kept *kept = find_kept(counts, form);
	char *json = malloc(answer->out.len);
	if (!json) return;
	if (!kept) kept = &counts->items[counts->next++ % KEPT_MAX];
	memcpy(json, buf_ptr(&answer->out), answer->out.len);
	free(kept->json);
	*kept = (struct kept){.json = json,
			      .len = answer->out.len,
			      .applied = answer->applied,
			      .at_us = clock_mono_us(),
			      .took_us = clock_mono_us() - began};
	(void)snprintf(kept->name, sizeof kept->name, "%.*s", STR_ARG(form->name));
	(void)snprintf(kept->etag, sizeof kept->etag, "%.*s", STR_ARG(form->etag));
}

/* One is counted at a time, so that the other read threads stay free. */
static int count_or_reply(struct answer *answer, struct read_thread *thread, const struct conf_form *form)
{
	const struct results_query *query = answer->params;
	struct form_counts *counts = answer->api->counts;
	pthread_mutex_lock(&counts->lock);
	const struct kept *kept = find_kept(counts, form);
	bool is_good = kept && is_fresh(kept, people_applied(answer->api->people), query->wants_newest);
	bool is_busy = !is_good && counts->is_counting;
	int rc = OK;
	if (is_good || (is_busy && kept && !query->wants_newest))
		rc = reply_kept(answer, kept);
	else if (is_busy)
		rc = answer_fail(answer, PROBLEM_OVERLOADED, STR("another form is being counted: ask again"));
	else
		counts->is_counting = true;
	bool is_ours = !is_good && !is_busy;
	pthread_mutex_unlock(&counts->lock);
	if (!is_ours) return rc;
	int64_t began = clock_mono_us();
	rc = count(answer, thread, form);
	pthread_mutex_lock(&counts->lock);
	counts->is_counting = false;
	if (rc == OK && !answer->is_failed) keep(counts, form, answer, began);
	pthread_mutex_unlock(&counts->lock);
	return rc;
}

static int work(struct answer *answer, struct read_thread *thread)
{
	const struct results_query *query = answer->params;
	const struct config *config = api_config(answer->api);
	struct form_set *set = api_forms(answer->api);
	const struct conf_form *form = config_form(config, query->name);
	const struct stored_form *stored = form ? NULL : form_set_form(set, query->name);
	if (stored) form = &stored->form;
	int rc = form ? count_or_reply(answer, thread, form)
		      : answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no form of that name"));
	form_set_unref(set);
	config_unref(config);
	return rc;
}

/* ── the request ─────────────────────────────────────────────────────────── */

static void submit(struct api_worker *worker, struct http_request *req, struct str name, bool wants_newest)
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct results_query));
	if (!answer) return;
	struct results_query *query = answer->params;
	query->wants_newest = wants_newest;
	if (arena_str(&answer->arena, name, &query->name) == OK) {
		answer_submit(answer);
		return;
	}
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	answer_drop(answer);
}

/* Results that the form makes public are for everybody; what is newest is for tokens, because it costs a count. */
void form_results_get(struct api_worker *worker, struct http_request *req)
{
	struct form_held held;
	struct str position;
	if (!form_hold(worker, req, http_path_param(req, 0), &held)) return;
	bool has_token = bearer_secret(http_header(req, STR("Authorization"))).len > 0;
	bool is_public = held.form->results == FORM_RESULTS_PUBLIC && !has_token;
	if (is_public || auth_allows(worker, req, SCOPE_PROFILES_READ))
		submit(worker, req, held.form->name, !is_public && http_query_get(req, STR("min_position"), &position));
	form_release(&held);
}
