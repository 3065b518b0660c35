/* outcome: the fold's verdict on one record, the only verdict there is. Rows are keyed by the record's seq and form
 * the chain of each fragment's events. */
#pragma once

#include "base/status.h"

enum outcome_verdict {
	OUTCOME_APPLIED = 1,
	OUTCOME_DUPLICATE, /* same source, messageId and content inside the window */
	OUTCOME_CONFLICT,  /* same source and messageId, other content: the first won */
	OUTCOME_REFUSED,   /* a rule of identity or of the store refuses it (reason) */
	OUTCOME_DENIED,    /* consent */
	OUTCOME_SUPPRESSED,
	OUTCOME_QUARANTINED, /* the fold crashed on it */
	OUTCOME_ERASED,
	OUTCOME_VERDICT_COUNT
};
enum outcome_reason {
	OUTCOME_REASON_NONE,
	OUTCOME_REASON_BLOCKED_IDENTIFIER, /* every identifier it carries is blocked */
	OUTCOME_REASON_UNDECODABLE,
	OUTCOME_REASON_MAYBE_DUPLICATE, /* applied, but older than the dedup window */
	OUTCOME_REASON_TOO_MANY_FRAGMENTS,
	OUTCOME_REASON_CRASHED,
	OUTCOME_REASON_NO_IDENTIFIER,      /* none of the namespaces found one in it */
	OUTCOME_REASON_CONSENT,            /* denied: the person does not allow what the event is for */
	OUTCOME_REASON_UNKNOWN_PURPOSE,    /* a consent for a purpose that the definitions do not have */
	OUTCOME_REASON_CONSENT_LIMIT,      /* more consents than one fragment can hold */
	OUTCOME_REASON_OLDER_THAN_ERASURE, /* erased: it came after its person's erasure but happened before */
	OUTCOME_REASON_COUNT
};
struct outcome {
	enum outcome_verdict verdict;
	enum outcome_reason reason;
	uint8_t fragment[16];    /* that it went into; zero when none */
	uint64_t previous_seq;   /* of that fragment's chain; of a duplicate or conflict: the winner's seq */
	uint64_t resolution_seq; /* of the enricher resolution that completed it; 0 */
};
const char *outcome_verdict_name(enum outcome_verdict verdict);
const char *outcome_reason_name(enum outcome_reason reason);
