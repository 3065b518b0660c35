/* consent: what a person allowed, per purpose and channel, and the rule by which the fragments of one person agree.
 *
 * A fragment keeps one record for each (purpose, channel): the last explicit act. An act without a channel is for all of
 * them, so it replaces those of single channels. `pending` (a grant that waits for its double opt-in) never replaces
 * an explicit record.
 *
 * Fragments that became one person agree by this rule, computed from their records and the positions of the links alone:
 * a record is superseded by a later one of another fragment when that was made after the two had been joined; among what is
 * left the most restrictive holds (denied or withdrawn, then the grant that expires first, then pending). */
#pragma once

#include "base/arena.h"
#include "config/config.h"

enum consent_state {               /* numbers are stored */
		     CONSENT_NONE, /* only as an answer: nothing was ever said */
		     CONSENT_GRANTED,
		     CONSENT_DENIED,
		     CONSENT_WITHDRAWN,
		     CONSENT_PENDING,
		     CONSENT_EXPIRED, /* only as an answer: a grant past its time */
		     CONSENT_STATE_COUNT
};
const char *consent_state_name(enum consent_state state);
bool consent_state_from_name(struct str name,
			     enum consent_state *out); /* what people can say: granted, denied, withdrawn */

#define CONSENTS_MAX      512 /* records of one fragment: more than any configuration allows at a time */
#define CONSENT_PROOF_MAX 8192

struct consent {
	struct str purpose, channel; /* channel empty: all of them */
	enum consent_state state;    /* granted, denied, withdrawn, pending */
	enum lawful_basis basis;
	int64_t time;      /* when the person said so */
	int64_t expires;   /* of a grant; 0: never */
	uint64_t position; /* of its record in the journal */
	uint64_t log;      /* its row in the consent log, where the proof lies */
	struct str source, message_id;
};

struct consent_list { /* ordered by purpose, then channel */
	struct consent *items;
	size_t count, room;
};

/* At `now`: a grant past its time is expired. */
enum consent_state consent_state_at(const struct consent *consent, int64_t now);
/* The record that answers for a channel: its own, else that of all channels, else NULL. */
const struct consent *consent_lookup(const struct consent_list *list, struct str purpose, struct str channel);
/* A new act, made after everything in the list. False in *is_taken: a pending one that has to stand back. The texts must live in
 * the arena. ERR_NOMEM. */
MUST_USE int consent_put(struct consent_list *list, const struct consent *act, struct arena *arena, bool *is_taken);

/* joined[i * count + k]: position of the link since which fragments i and k are one person. */
struct joins {
	size_t count;
	uint64_t *joined;
};
/* What `count` fragments of one person allow together; joins may be NULL when at most one list holds anything. ERR_NOMEM. */
MUST_USE int consents_agree(const struct consent_list *const *lists, size_t count, const struct joins *joins,
			    struct arena *arena, struct consent_list *out);

/* ── purposes, as the active definitions have them ───────────────────────── */

struct purpose_rule {
	struct str name;
	struct str *channels;
	size_t channel_count;
	bool is_granted_by_default, needs_confirmation, gates_ingest, gates_enrich;
	enum lawful_basis basis;
	struct str *destinations; /* that it gates */
	size_t destination_count;
	struct str *events, *sources; /* names and ids: what is for this purpose */
	size_t event_count, source_count;
};
struct consent_rules {
	struct purpose_rule *purposes; /* ordered by name */
	size_t count;
	bool gates_ingest, gates_enrich; /* one of them does */
};
const struct purpose_rule *purpose_rule_find(const struct consent_rules *rules, struct str name); /* or NULL */
bool purpose_rule_has_channel(const struct purpose_rule *rule, struct str channel);               /* empty: always */
/* What an event is for: by its name, else by its source; NULL: no purpose. */
const struct purpose_rule *purpose_rule_of_event(const struct consent_rules *rules, struct str event,
						 struct str source);
bool purpose_rule_gates(const struct purpose_rule *rule, struct str destination);

/* May one act on it? With no record the default decides. */
static inline bool consent_allows(const struct purpose_rule *rule, enum consent_state state)
{
	return state == CONSENT_GRANTED || (state == CONSENT_NONE && rule->is_granted_by_default);
}
