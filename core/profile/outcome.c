#include "profile/outcome_row.h"
#include "profile/sealed.h"

/* value: sealed header (verdict, reason) · fragment 16 · previous u64 · resolution u64 */
#define OUTCOME_SIZE (SEALED_HEADER + 16 + 8 + 8)

static const char *const verdicts[OUTCOME_VERDICT_COUNT] = {
    [0] = "none",
    [OUTCOME_APPLIED] = "applied",
    [OUTCOME_DUPLICATE] = "duplicate",
    [OUTCOME_CONFLICT] = "conflict",
    [OUTCOME_REFUSED] = "refused",
    [OUTCOME_DENIED] = "denied",
    [OUTCOME_SUPPRESSED] = "suppressed",
    [OUTCOME_QUARANTINED] = "quarantined",
    [OUTCOME_ERASED] = "erased",
};

static const char *const reasons[OUTCOME_REASON_COUNT] = {
    [OUTCOME_REASON_NONE] = "none",
    [OUTCOME_REASON_BLOCKED_IDENTIFIER] = "blocked_identifier",
    [OUTCOME_REASON_UNDECODABLE] = "undecodable",
    [OUTCOME_REASON_MAYBE_DUPLICATE] = "maybe_duplicate",
    [OUTCOME_REASON_TOO_MANY_FRAGMENTS] = "too_many_fragments",
    [OUTCOME_REASON_CRASHED] = "crashed",
    [OUTCOME_REASON_NO_IDENTIFIER] = "no_identifier",
    [OUTCOME_REASON_OLDER_THAN_ERASURE] = "older_than_erasure",
    [OUTCOME_REASON_CONSENT] = "consent",
    [OUTCOME_REASON_UNKNOWN_PURPOSE] = "unknown_purpose",
    [OUTCOME_REASON_CONSENT_LIMIT] = "consent_limit",
};

const char *outcome_verdict_name(enum outcome_verdict verdict)
{
	return (unsigned)verdict < OUTCOME_VERDICT_COUNT ? verdicts[verdict] : "unknown";
}

const char *outcome_reason_name(enum outcome_reason reason)
{
	return (unsigned)reason < OUTCOME_REASON_COUNT ? reasons[reason] : "unknown";
}

static void encode(uint64_t seq, const struct outcome *outcome, char value[OUTCOME_SIZE])
{
	memcpy(value + 8, outcome->fragment, sizeof outcome->fragment);
	memcpy(value + 24, &outcome->previous_seq, sizeof outcome->previous_seq);
	memcpy(value + 32, &outcome->resolution_seq, sizeof outcome->resolution_seq);
	sealed_close(store_key64(&seq), value, OUTCOME_SIZE,
		     (struct sealed){(uint8_t)outcome->verdict, (uint16_t)outcome->reason});
}

int outcome_append(struct store_txn *txn, store_db outcomes, uint64_t seq, const struct outcome *outcome)
{
	char value[OUTCOME_SIZE];
	encode(seq, outcome, value);
	return store_append(txn, outcomes, store_key64(&seq), (struct str){value, sizeof value});
}

int outcome_replace(struct store_txn *txn, store_db outcomes, uint64_t seq, const struct outcome *outcome)
{
	char value[OUTCOME_SIZE];
	encode(seq, outcome, value);
	return store_put(txn, outcomes, store_key64(&seq), (struct str){value, sizeof value});
}

int outcome_decode(struct str key, struct str value, struct outcome *out)
{
	struct sealed sealed;
	if (key.len != sizeof(uint64_t) || value.len != OUTCOME_SIZE) return ERR_CORRUPT;
	int rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	if (sealed.kind == 0 || sealed.kind >= OUTCOME_VERDICT_COUNT || sealed.extra >= OUTCOME_REASON_COUNT)
		return ERR_FORMAT;
	out->verdict = (enum outcome_verdict)sealed.kind;
	out->reason = (enum outcome_reason)sealed.extra;
	memcpy(out->fragment, value.ptr + 8, sizeof out->fragment);
	memcpy(&out->previous_seq, value.ptr + 24, sizeof out->previous_seq);
	memcpy(&out->resolution_seq, value.ptr + 32, sizeof out->resolution_seq);
	return OK;
}

int outcome_get(struct store_txn *txn, store_db outcomes, uint64_t seq, struct outcome *out)
{
	struct str key = store_key64(&seq), value;
	int rc = store_get(txn, outcomes, key, &value);
	return rc ? rc : outcome_decode(key, value, out);
}
