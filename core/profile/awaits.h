/* awaits: which events wait for the answers of asynchronous enrichers, and which features count an event only when it has them.
 *
 * The fold notes a wait for each applied event and each enricher that is asked about it. A feature that reads what an
 * enricher provides is *deferred*: it counts the event when its last wait that it reads from ends, by an answer or by giving up. What
 * is deferred is decided once, with the event, and kept in the wait: definitions that change meanwhile neither lose nor double a count.
 *
 *   awaits   event's position u64 BE · enricher's key u64 BE
 *            value  sealed · t i64 (of the event's record) · name length u16 · name · keys of deferred features, u64 each */
#pragma once

#include "profile/async_def.h"
#include "profile/event_view.h"
#include "profile/people.h"

struct plan;
struct plan_feature;

struct plan_enricher {
	const struct async_def *def;
	uint64_t key; /* of its name */
};

uint64_t await_key(struct str enricher);
/* Fills plan->enrichers, and of each feature the enrichers it reads from; after the features were made. ERR_NOMEM. */
MUST_USE int plan_enrichers_make(struct plan *plan);

/* Bit i: plan->enrichers[i] is asked about the event. ERR_NOMEM. */
MUST_USE int awaits_of_event(const struct plan *plan, struct event_view *view, uint32_t *mask);
/* Notes the waits of an event; `deferred` are features' keys. */
MUST_USE int awaits_put(struct people *people, uint64_t seq, int64_t t, uint32_t mask, const uint64_t *deferred,
			size_t deferred_count);

/* One wait; texts and keys are borrowed. */
struct await_row {
	uint64_t seq, enricher;
	int64_t t;
	struct str name;
	const uint8_t *keys; /* u64 each, unaligned */
	size_t key_count;
};

/* ── folding an answer ───────────────────────────────────────────────────── */

/* Does the event at `event_seq` wait for that enricher? Its outcome, as in people_get_outcome. ERR_NOT_FOUND: no (any more). The fold's thread,
 * in a transaction. */
MUST_USE int people_await_find(struct people *people, uint64_t event_seq, struct str enricher, struct outcome *outcome);
/* The positions of the answers that the event has, oldest first. */
MUST_USE int people_resolutions_of(struct people *people, const struct outcome *outcome,
				   uint64_t seqs[ASYNC_ENRICHERS_MAX], size_t *count);
struct people_resolution {
	uint64_t event_seq;
	struct str enricher;
	const struct outcome *outcome; /* of the event */
	const struct cdpd_event
	    *event;     /* with all answers so far laid over its enrichment; NULL: it is gone, nothing is counted */
	bool has_patch; /* the record at `seq` changes how the event reads */
};
/* The wait ends at record `seq`: counts the event for the features that waited for nothing else. */
MUST_USE int people_resolve_await(struct people *people, const struct people_resolution *resolution, uint64_t seq,
				  int64_t t);
/* For a feature that begins to count older events (a backfill): true in *is_deferred when the event still waits for something the feature
 * reads; then it is counted when that wait ends, and must not be counted now. */
MUST_USE int people_await_defer(struct people *people, uint64_t event_seq, const struct plan_feature *feature,
				bool *is_deferred);
/* The oldest event that waits; UINT64_MAX: none. In a transaction. The journal is not trimmed beyond it. */
MUST_USE int people_oldest_await(struct people *people, uint64_t *seq);

/* ── reading (inside people_read_begin/end) ──────────────────────────────── */

/* Waits from `seq` on (and of that event those of enrichers with keys above `after`), in order, at most `max` looked at. `fn` non-zero stops. *next_seq, *next_after: where to go on. */
MUST_USE int people_awaits(struct people_reader *reader, uint64_t seq, uint64_t after, size_t max,
			   int (*fn)(void *ctx, const struct await_row *row), void *ctx);
MUST_USE int people_read_resolutions(struct people_reader *reader, const struct outcome *outcome,
				     uint64_t seqs[ASYNC_ENRICHERS_MAX], size_t *count);
MUST_USE int people_await_count(struct people_reader *reader, uint64_t *out);
