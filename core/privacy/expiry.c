#include "privacy/expiry.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "event/resolution.h"
#include "journal/rewrite.h"
#include "profile/awaits.h"
#include "profile/backfill.h"

#define BATCH_RECORDS   1024
#define BATCH_BYTES     ((size_t)1 << 20)
#define ARENA_BLOCK     ((size_t)64 << 10)
#define INTERVAL_MAX_US (600 * US_PER_SECOND)
#define PAUSE_NS        10000000

struct rule {
	struct str event;     /* a type's name, or that of a track */
	enum event_type type; /* 0: none has that name */
	int64_t keep_us;
	uint64_t through; /* everything below is done; a run's own */
	bool is_due;      /* in the segment at hand */
};

struct rules {
	struct arena arena;
	struct rule *items;
	size_t count;
	int64_t interval_us;
};

struct expiry {
	struct expiry_options options;
	pthread_mutex_t lock; /* of `next` */
	struct rules *next;   /* set, and not taken by a run yet */
	int64_t interval_us;  /* under the lock too */
	struct rules *rules;  /* the run's */
	struct people_reader *reader;
	struct erasure_view *view;
	struct journal_batch batch;
	struct arena arena;
	uint64_t removed; /* events, in the segment at hand */
	struct metric *events, *segments;
};

/* ── rules ───────────────────────────────────────────────────────────────── */

static void rules_free(struct rules *rules)
{
	if (!rules) return;
	arena_fini(&rules->arena);
	free(rules);
}

static int add_rules(struct rules *out, const struct conf_event_retention *conf)
{
	for (size_t i = 0; i < conf->event_count; i++) {
		struct rule *rule = &out->items[out->count++];
		*rule = (struct rule){.keep_us = conf->keep_us};
		int rc = arena_str(&out->arena, conf->events[i], &rule->event);
		if (rc) return rc;
		if (!event_type_from_name(rule->event, &rule->type)) rule->type = (enum event_type)0;
	}
	int64_t interval = conf->keep_us / 10;
	if (interval < US_PER_SECOND / 2) interval = US_PER_SECOND / 2;
	if (interval < out->interval_us) out->interval_us = interval;
	return OK;
}

static int rules_new(const struct conf_event_retention *conf, size_t count, struct rules **out)
{
	size_t events = 0;
	struct rules *rules = calloc(1, sizeof *rules);
	if (!rules) return ERR_NOMEM;
	arena_init(&rules->arena, 4096, 0);
	for (size_t i = 0; i < count; i++) events += conf[i].event_count;
	rules->items = arena_array(&rules->arena, struct rule, events + 1);
	rules->interval_us = events ? INTERVAL_MAX_US : INT64_MAX;
	int rc = rules->items ? OK : ERR_NOMEM;
	for (size_t i = 0; i < count && !rc; i++) rc = add_rules(rules, &conf[i]);
	if (rc) {
		rules_free(rules);
		return rc;
	}
	*out = rules;
	return OK;
}

int expiry_set_rules(struct expiry *expiry, const struct conf_event_retention *conf, size_t count)
{
	struct rules *rules;
	int rc = rules_new(conf, count, &rules);
	if (rc) return rc;
	(void)pthread_mutex_lock(&expiry->lock);
	struct rules *old = expiry->next;
	expiry->next = rules;
	expiry->interval_us = rules->interval_us;
	(void)pthread_mutex_unlock(&expiry->lock);
	rules_free(old);
	return OK;
}

int64_t expiry_interval_us(struct expiry *expiry)
{
	(void)pthread_mutex_lock(&expiry->lock);
	int64_t interval = expiry->interval_us;
	(void)pthread_mutex_unlock(&expiry->lock);
	return interval;
}

/* Where each rule stands; from the journal's beginning when that is not known. */
static int take_rules(struct expiry *expiry)
{
	(void)pthread_mutex_lock(&expiry->lock);
	struct rules *next = expiry->next;
	expiry->next = NULL;
	(void)pthread_mutex_unlock(&expiry->lock);
	if (!next) return OK;
	rules_free(expiry->rules);
	expiry->rules = next;
	for (size_t i = 0; i < next->count; i++) {
		struct rule *rule = &next->items[i];
		int rc = expiry_mark_get(expiry->options.list, rule->event, journal_epoch(expiry->options.journal),
					 &rule->through);
		if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) rule->through = 0;
		if (rc && rc != ERR_NOT_FOUND && rc != ERR_CORRUPT) return rc;
	}
	return OK;
}

/* ── events ──────────────────────────────────────────────────────────────── */

/* What people allowed stays as they said it. */
static bool is_expired(const struct expiry *expiry, const struct cdpd_event *event)
{
	if (event->flags & EVENT_CONSENT) return false;
	for (size_t i = 0; i < expiry->rules->count; i++) {
		const struct rule *rule = &expiry->rules->items[i];
		if (!rule->is_due) continue;
		bool is_name = event->type == EVENT_TRACK && str_eq(event->event, rule->event);
		if (is_name || (rule->type && event->type == rule->type)) return true;
	}
	return false;
}

/* An event that cannot be read is of no type. */
static int judge_event(struct expiry *expiry, struct str payload, struct cdpd_event *event, bool *out)
{
	int rc = event_decode(payload, &expiry->arena, event);
	if (!rc) *out = is_expired(expiry, event);
	return rc == ERR_CORRUPT ? OK : rc;
}

/* What an enricher answered goes with the event: the one that goes now, or went before, by whatever rule. */
static int judge_resolution(struct expiry *expiry, struct str payload, struct resolution *resolution, bool *out)
{
	struct record record;
	struct cdpd_event event;
	int rc = resolution_decode(payload, &expiry->arena, resolution);
	if (rc || (resolution->patch.len == 0 && resolution->reason.len == 0)) return rc == ERR_CORRUPT ? OK : rc;
	rc = journal_get(expiry->options.journal, resolution->event_seq, &expiry->arena, &record);
	*out = rc == ERR_GONE || rc == ERR_NOT_FOUND || (!rc && record.kind == RECORD_ERASED_EVENT);
	if (rc || record.kind != RECORD_EVENT) return rc == ERR_NOMEM ? rc : OK;
	return judge_event(expiry, record.payload, &event, out);
}

struct hit {
	bool is_one;
	struct cdpd_event event;      /* of a record of that kind */
	struct resolution resolution; /* likewise */
};

static int judge(struct expiry *expiry, const struct record *record, struct hit *out)
{
	out->is_one = false;
	if (record->kind == RECORD_RESOLUTION)
		return judge_resolution(expiry, record->payload, &out->resolution, &out->is_one);
	return record->kind == RECORD_EVENT ? judge_event(expiry, record->payload, &out->event, &out->is_one) : OK;
}

static int make_husk(struct expiry *expiry, uint64_t seq, const struct cdpd_event *event, struct erased_event *husk)
{
	struct outcome outcome;
	uint64_t applied;
	int rc = people_read_begin(expiry->reader, &applied);
	if (rc) return rc;
	rc = people_get_outcome(expiry->reader, seq, &outcome);
	const struct outcome *known = rc ? NULL : &outcome;
	if (rc == ERR_NOT_FOUND) rc = OK;
	if (!rc) rc = erasure_expire_event(expiry->reader, expiry->view, seq, event, known, &expiry->arena, husk);
	people_read_end(expiry->reader);
	return rc;
}

static int replace_event(struct expiry *expiry, uint64_t seq, const struct cdpd_event *event,
			 struct journal_replacement *out)
{
	struct erased_event husk;
	int rc = make_husk(expiry, seq, event, &husk);
	if (!rc) rc = erased_event_encode(&husk, &expiry->arena, &out->payload);
	if (rc) return rc;
	out->flags = RECORD_FLAG_ERASED;
	expiry->removed++;
	return OK;
}

static int replace_resolution(struct expiry *expiry, const struct resolution *resolution,
			      struct journal_replacement *out)
{
	const struct resolution blank = {.event_seq = resolution->event_seq,
					 .enricher = resolution->enricher,
					 .is_given_up = true,
					 .patch = STR_NONE,
					 .reason = STR_NONE};
	return resolution_encode(&blank, &expiry->arena, &out->payload);
}

static int replace(void *ctx, const struct record *record, struct journal_replacement *out)
{
	struct expiry *expiry = ctx;
	struct hit hit;
	arena_reset(&expiry->arena);
	int rc = judge(expiry, record, &hit);
	if (rc || !hit.is_one) return rc;
	out->is_replaced = true;
	return record->kind == RECORD_EVENT ? replace_event(expiry, record->seq, &hit.event, out)
					    : replace_resolution(expiry, &hit.resolution, out);
}

static int keep_reject(void *ctx, const struct journal_reject_row *row, bool *goes)
{
	(void)ctx, (void)row;
	*goes = false;
	return OK;
}

/* ── segments ────────────────────────────────────────────────────────────── */

static int holds_any(struct expiry *expiry, uint64_t first, uint64_t end, bool *out)
{
	int rc = OK;
	*out = false;
	for (uint64_t seq = first; seq < end && !rc && !*out;) {
		if (atomic_load(expiry->options.stop)) return ERR_CLOSED;
		rc = journal_read(expiry->options.journal, seq, BATCH_RECORDS, BATCH_BYTES, &expiry->batch);
		arena_reset(&expiry->arena);
		for (size_t i = 0; i < expiry->batch.count && !rc && !*out; i++) {
			const struct record *record = &expiry->batch.records[i];
			struct hit hit;
			if (record->seq >= end) break;
			rc = judge(expiry, record, &hit);
			*out = !rc && hit.is_one;
		}
		if (!rc) seq = expiry->batch.records[expiry->batch.count - 1].seq + 1;
	}
	return rc;
}

static int rewrite(struct expiry *expiry, uint64_t first)
{
	const struct journal_rewriter rewriter = {
	    .record = replace, .reject = keep_reject, .ctx = expiry, .stop = expiry->options.stop};
	expiry->removed = 0;
	int rc = journal_rewrite(expiry->options.journal, first, &rewriter);
	if (rc) return rc;
	metric_add(expiry->events, expiry->removed);
	metric_add(expiry->segments, 1);
	log_info(LOG_PRIVACY,
		 "%" PRIu64 " events past their keeping were taken out of the segment from position %" PRIu64,
		 expiry->removed, first);
	return OK;
}

static int mark(struct expiry *expiry, uint64_t end)
{
	int rc = OK;
	for (size_t i = 0; i < expiry->rules->count && !rc; i++) {
		struct rule *rule = &expiry->rules->items[i];
		if (!rule->is_due) continue;
		rule->through = end;
		rc = expiry_mark_put(expiry->options.list, rule->event, journal_epoch(expiry->options.journal), end);
	}
	return rc;
}

static int expire_segment(struct expiry *expiry, uint64_t first, uint64_t end)
{
	bool has_any;
	int rc = holds_any(expiry, first, end, &has_any);
	if (!rc && has_any) rc = rewrite(expiry, first);
	if (rc == ERR_GONE) rc = OK; /* retention was faster */
	if (rc == ERR_CORRUPT) {
		log_warn(LOG_PRIVACY,
			 "the segment from position %" PRIu64 " is damaged, events past their keeping stay in it",
			 first);
		rc = OK;
	}
	return rc ? rc : mark(expiry, end);
}

/* Its newest record says how old all of it is, at least. */
static int is_any_due(struct expiry *expiry, uint64_t end, int64_t now, bool *is_due, bool *is_open)
{
	struct record newest;
	arena_reset(&expiry->arena);
	*is_due = *is_open = false;
	int rc = journal_get(expiry->options.journal, end - 1, &expiry->arena, &newest);
	if (rc) return rc;
	for (size_t i = 0; i < expiry->rules->count; i++) {
		struct rule *rule = &expiry->rules->items[i];
		bool is_old = now - newest.t > rule->keep_us;
		rule->is_due = rule->through < end && is_old;
		*is_due |= rule->is_due;
		*is_open |= is_old;
	}
	return OK;
}

static int take_first(void *ctx, const struct await_row *row)
{
	*(uint64_t *)ctx = row->seq;
	return 1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Only what is folded, what no new feature has still to count, and what waits for no answer that it is counted with. */
static int free_below(struct expiry *expiry, uint64_t *out)
{
	struct backfill_progress counting;
	uint64_t waiting = UINT64_MAX;
	int rc = people_read_begin(expiry->reader, out);
	if (rc) return rc;
	rc = people_awaits(expiry->reader, 0, 0, 1, take_first, &waiting);
	people_read_end(expiry->reader);
	people_backfill_progress(expiry->options.people, &counting);
	*out = least(least(*out, waiting), counting.features ? counting.next : UINT64_MAX);
	return rc;
}

static int walk(struct expiry *expiry, int64_t now)
{
	struct journal *journal = expiry->options.journal;
	uint64_t first, end, bound;
	int failure = free_below(expiry, &bound);
	if (failure) return failure;
	for (uint64_t seq = journal_first_seq(journal); seq < bound; seq = end) {
		bool is_due, is_open;
		int rc = journal_segment(journal, seq, &first, &end);
		if (rc) return rc == ERR_GONE ? OK : rc; /* trimmed meanwhile: the next run begins there */
		if (end > bound) return OK;
		rc = is_any_due(expiry, end, now, &is_due, &is_open);
		if (rc == ERR_GONE) return OK;
		if (rc == ERR_CORRUPT) continue;
		if (rc || !is_open) return rc;
		if (is_due) rc = expire_segment(expiry, first, end);
		if (rc) return rc;
	}
	return OK;
}

static int wait_for_old_files(const struct expiry *expiry)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	while (!journal_rewritten_are_gone(expiry->options.journal)) {
		if (atomic_load(expiry->options.stop)) return ERR_CLOSED;
		(void)nanosleep(&pause, NULL);
	}
	return OK;
}

int expiry_run(struct expiry *expiry, int64_t now)
{
	int rc = take_rules(expiry);
	if (rc || !expiry->rules || !expiry->rules->count) return rc;
	if (journal_clock_is_held(expiry->options.journal)) return OK; /* age is not known for sure */
	rc = walk(expiry, now);
	return rc ? rc : wait_for_old_files(expiry);
}

/* ── life ────────────────────────────────────────────────────────────────── */

int expiry_new(const struct expiry_options *options, struct expiry **out)
{
	*out = NULL;
	struct expiry *expiry = calloc(1, sizeof *expiry);
	if (!expiry) return ERR_NOMEM;
	expiry->options = *options;
	expiry->interval_us = INT64_MAX;
	(void)pthread_mutex_init(&expiry->lock, NULL);
	journal_batch_init(&expiry->batch);
	arena_init(&expiry->arena, ARENA_BLOCK, 0);
	expiry->events = metric_get(METRIC_COUNTER, "cdpd_expired_events_total", NULL,
				    "Events taken out of the journal because their type is kept for a shorter time.");
	expiry->segments = metric_get(METRIC_COUNTER, "cdpd_expired_segments_total", NULL,
				      "Segments of the journal written anew without such events.");
	int rc = people_reader_new(options->people, &expiry->reader);
	if (!rc) rc = erasure_view_new(&expiry->view);
	if (rc) {
		expiry_free(expiry);
		return rc;
	}
	*out = expiry;
	return OK;
}

void expiry_free(struct expiry *expiry)
{
	if (!expiry) return;
	rules_free(expiry->rules);
	rules_free(expiry->next);
	if (expiry->reader) people_reader_free(expiry->reader);
	erasure_view_free(expiry->view);
	journal_batch_fini(&expiry->batch);
	arena_fini(&expiry->arena);
	(void)pthread_mutex_destroy(&expiry->lock);
	free(expiry);
}
