/* consent_fold: consent on the fold's thread: acts into rows, the log and the feed; what links and the gate at ingest ask of it.
 *
 * An act is an event with EVENT_CONSENT. Its properties say what the person said; what the daemon itself attests
 * lies in its enrichment, which no client writes: {"consent":{"salt":hex,"confirmed":true,"token":{"id":hex,"expires":µs}}}. */
#pragma once

#include "profile/component.h"
#include "profile/consent_log.h"
#include "profile/link.h"

struct consent_act { /* an event's, read; texts borrow the event and its view */
	const struct purpose_rule *rule;
	struct consent record; /* not yet: log */
	uint8_t salt[CONSENT_SALT_SIZE];
	bool has_token; /* a single-use one */
	int64_t token_expires;
	uint8_t token_id[CONSENT_TOKEN_SIZE];
};

/* Reads the act of the event in people->view. *verdict: applied, refused or duplicate (with the reason, and the position of the token's
 * first use); anything but applied changes nothing. ERR_NOMEM, or the store's errors. */
MUST_USE int consent_act_read(struct people *people, uint64_t seq, struct consent_act *act,
			      struct apply_result *verdict);
/* Does the person's fragment have room for the act? `row`: cold section decoded. */
bool consent_act_fits(const struct row *row, const struct consent_act *act);
/* Into the fragment's row and, rows[1], the merged one; both cold sections are decoded. `head`: of the profile. */
MUST_USE int consent_act_apply(struct people *people, const struct consent_act *act, struct row *const *rows,
			       size_t count, const struct slot *head, int64_t t);

/* Since when the fragments of one person are joined, from the links that stand; *out NULL when fewer than two hold
 * consents, so that nobody will ask. Cold sections are decoded. */
MUST_USE int consent_joins(struct store_txn *txn, store_db links, struct row *const *fragments, size_t count,
			   struct arena *arena, struct joins **out);
/* What a link (or its undoing) changed of what a profile allows: a change for each (purpose, channel). `old` and `new` are the rows
 * that showed and show the profile; cold sections decoded. */
MUST_USE int consent_tell(struct people *people, const struct row *old, const struct row *new, uint64_t seq, int64_t t);

enum consent_stage { STAGE_INGEST, STAGE_ENRICH /* asynchronous enrichers */ };
/* Is the event for a purpose that gates this stage, of a person who does not allow it? Looks at the profiles of every identifier that the event would
 * join. people->identifiers and people->view are the event's. */
MUST_USE int consent_gate(struct people *people, const struct identifier *strongest, enum consent_stage stage,
			  int64_t t, bool *is_denied);
