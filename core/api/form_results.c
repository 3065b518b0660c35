#include "api/form_results.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/answer.h"
#include "api/event_json.h"
#include "api/form_tally.h"
#include "api/forms.h"
#include "base/clock.h"
#include "profile/answer_count.h"

#define SLICE_US    (INT64_C(40) * US_PER_MS)
#define MEMORY_MAX  ((size_t)64 << 20)
#define KEPT_MAX    64
#define KEPT_BYTES  ((size_t)1 << 20) /* a longer answer is made anew each time */
#define AGE_MIN_US  US_PER_SECOND
#define AGE_IDLE_US (60 * US_PER_SECOND) /* nothing was applied since; but answers expire */
#define AGE_TIMES   20                   /* kept as many times as long as the counting took */

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

/* ── counting ────────────────────────────────────────────────────────────── */

struct counting {
	struct answer *answer;
	const struct conf_form *form;
	struct arena arena; /* slices and their counts */
	struct tally_reader reader;
};

static void *begin_tally(void *ctx)
{
	struct counting *c = ctx;
	struct tally *tally = arena_new(&c->arena, struct tally);
	return tally && tally_init(tally, c->form, &c->arena) == OK ? tally : NULL;
}

static void clear_tally(void *ctx, void *part)
{
	(void)ctx;
	tally_clear(part);
}

static int add_person(void *ctx, void *part, const struct answer_found *answers, size_t count)
{
	const struct counting *c = ctx;
	return tally_add(part, &c->reader, answers, count);
}

static bool should_stop(void *ctx)
{
	return answer_is_cancelled(((struct counting *)ctx)->answer);
}

/* ── the answer ──────────────────────────────────────────────────────────── */

static int write_results(struct counting *c, const struct answer_count *counted, int64_t now)
{
	struct json_out *out = &c->answer->json;
	struct tally whole;
	int rc = tally_init(&whole, c->form, &c->arena);
	for (size_t i = 0; i < counted->count && rc == OK; i++) rc = tally_merge(&whole, counted->parts[i]);
	if (rc != OK) return rc;
	jo_object(out);
	jo_key(out, STR("form"));
	jo_str(out, c->form->name);
	jo_key(out, STR("version"));
	jo_uint(out, c->form->version);
	jo_key(out, STR("kind"));
	jo_str(out, str_from(form_kind_name(c->form->kind)));
	jo_key(out, STR("at"));
	jo_time(out, now);
	event_json_position(out, c->answer->api, STR("position"), counted->applied ? counted->applied - 1 : 0);
	jo_key(out, STR("exact"));
	jo_bool(out, counted->is_exact);
	tally_write(out, &whole);
	jo_end_object(out);
	return out->status;
}

static int count(struct answer *answer, struct read_thread *thread, const struct conf_form *form)
{
	struct counting c = {.answer = answer, .form = form, .reader = {.json = thread->json, .text = &thread->text}};
	const struct answer_counter counter = {.begin = begin_tally,
					       .clear = clear_tally,
					       .add = add_person,
					       .should_stop = should_stop,
					       .ctx = &c,
					       .slice_us = SLICE_US};
	struct answer_count counted = {.count = 0};
	int64_t now = clock_wall_us();
	arena_init(&c.arena, 65536, MEMORY_MAX);
	int rc = people_count_answers(thread->people, form->name, now, &counter, &c.arena, &thread->scratch, &counted);
	if (rc == OK) rc = write_results(&c, &counted, now);
	answer->applied = counted.applied;
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
