/* people: the profiles/ environment. Identifiers, fragments, links, profiles, their event chains (through
 * outcomes) and the change feed. One writer (the fold's thread) applies events in journal order; any number of
 * readers look at committed snapshots. It must not know the journal, the network or who asks.
 *
 * A fragment is what was learned through one identifier; a profile is a connected component of fragments
 * (docs/architecture.md, "People"). Layout of the rows: core/profile/row.h. */
#pragma once

#include "base/hash.h"
#include "event/event.h"
#include "profile/async_def.h"
#include "profile/change.h"
#include "profile/consent.h"
#include "profile/feature.h"
#include "profile/normalize.h"
#include "profile/outcome.h"
#include "store/store.h"

struct people;

struct fragment_id {
	uint8_t bytes[16]; /* keyed hash of "namespace:value"; the key lies in the env and travels with backups */
};
#define FRAGMENT_ID_TEXT_SIZE 33 /* 32 hex digits and NUL */
void fragment_id_format(const struct fragment_id *id, char out[FRAGMENT_ID_TEXT_SIZE]);
MUST_USE int fragment_id_parse(struct str text, struct fragment_id *out);

#define PEOPLE_TRAITS_MAX         500 /* of one fragment; excess is refused and counted */
#define PEOPLE_FRAGMENT_BYTES_MAX 32768
/* Link attempts kept under one fragment (or four times identity.max_fragments, when that is more); the overflow is
 * counted in its row and links nothing. */
#define PEOPLE_ATTEMPTS_MAX 200
#define PEOPLE_ACTS_MAX     100 /* merges and unmerges kept under one fragment; beyond, they are refused */
#define PEOPLE_ACTOR_MAX    128 /* bytes; longer texts are cut */
#define PEOPLE_NOTE_MAX     500
/* An unmerge decides every attempt again that it could concern: at most that many fragments and attempts. */
#define PEOPLE_UNMERGE_FRAGMENTS_MAX 1000
#define PEOPLE_UNMERGE_ATTEMPTS_MAX  10000

/* Opens or creates `store_path`/profiles. ERR_FORMAT from a newer cdpd. */
MUST_USE int people_open(const char *store_path, struct people **out);
/* People of one's own, to fold the same records once more (core/training): a new env in the folder `path`, which is there, with the ids of
 * `model`. They keep identities and features, no traits, tell no changes, count in no metric, and nothing is fsynced. */
MUST_USE int people_open_private(const char *path, const struct people *model, struct people **out);
void people_close(struct people *people);
/* Where the fold stands: every record below is in the checkpoint. Any thread; newest committed. */
uint64_t people_applied(const struct people *people); /* next seq to fold */
int64_t people_applied_t(const struct people *people);
/* Snapshots that stand there or later name the same persons: a fragment is the same person's in all of them, and nobody was erased between
 * them. */
uint64_t people_renamed(const struct people *people);
/* The journal's epoch the checkpoint belongs to: set once, ERR_FOREIGN when it differs later. Before the fold starts. */
MUST_USE int people_bind_epoch(struct people *people, uint64_t epoch);
uint64_t people_epoch(const struct people *people);
void people_verdicts(const struct people *people, uint64_t counts[OUTCOME_VERDICT_COUNT]); /* for ever, events only */

/* ── definitions ─────────────────────────────────────────────────────────── */

struct identity_namespace {
	struct str name;
	struct str *from; /* the first that holds an identifier counts */
	size_t from_count;
	uint16_t max_per_profile;
	bool is_known;
	enum normalization normalize;
	struct str *blocked; /* lower case, of this namespace alone */
	size_t blocked_count;
};
struct segment_def {
	struct str name, when; /* when: canonical JSON, core/config/segment_condition.h */
};
/* Everything that decides how an event is folded; made from the config, or from a definition record's text. */
struct definitions {
	struct identity_namespace *namespaces; /* strongest first */
	size_t namespace_count;
	struct str *blocked; /* lower case */
	size_t blocked_count;
	uint16_t max_fragments;
	struct feature_def *features;
	size_t feature_count;
	struct segment_def *segments;
	size_t segment_count;
	int64_t dedup_window_us;
	uint64_t dedup_max_ids;
	struct consent_rules consent;
	struct async_def *enrichers; /* asynchronous ones, by name */
	size_t enricher_count;
};
/* Canonical JSON text of the config's definitions: equal definitions give equal text. */
MUST_USE int definitions_write(const struct config *config, struct buf *out);
/* Borrows the arena. Feature plugins are looked up by type name in the registry (profile/feature.h). ERR_INVALID, ERR_NOT_FOUND (a feature type
 * nobody registered). */
MUST_USE int definitions_parse(struct str text, struct arena *arena, struct definitions *out);

/* ── writing: the fold's thread only ─────────────────────────────────────── */

struct apply_result {
	enum outcome_verdict verdict; /* applied, refused, denied; duplicate: a single-use token was used before */
	enum outcome_reason reason;
	struct fragment_id fragment; /* that the event went into */
	uint64_t previous_seq; /* its chain: the fragment's previous event, 0: none; of a duplicate: the first use */
};

/* One write transaction with a cache of decoded rows. Between begin and commit/abort. */
MUST_USE int people_begin(struct people *people);
struct store_txn *people_txn(struct people *people); /* for the fold's own tables (dedup) */
struct store_env *people_env(struct people *people);
/* Replaces the active definitions (in the checkpoint too). `seq`: the definition record's position. */
MUST_USE int people_define(struct people *people, struct str text, uint64_t seq);
const struct definitions *people_definitions(const struct people *people); /* active; valid until people_define */
struct str people_definitions_text(const struct people *people);           /* canonical text, empty at first */
/* Identity, traits, features, first/last seen, changes. Does not write the outcome. The event's JSON parts are parsed inside.
 * Memory comes from the transaction's arena. Errors are the store's: nothing of the txn may be committed then. */
MUST_USE int people_apply(struct people *people, const struct cdpd_event *event, uint64_t seq, int64_t t,
			  struct apply_result *out);
enum people_act_kind { PEOPLE_MERGE, PEOPLE_UNMERGE };
struct people_act {
	struct str a, b;  /* "namespace:value", as their fragments have them */
	struct str actor; /* token name; cut to PEOPLE_ACTOR_MAX */
	struct str note;  /* the reason given; cut to PEOPLE_NOTE_MAX */
};
/* A merge joins the two persons unless a limit or a cannot-link forbids it; an unmerge lays a cannot-link between two identifiers
 * of one person and decides everything it may concern again (core/profile/redecide.h). What came of it, refusals too, stands in both
 * histories (people_find_act); nothing is kept when an identifier does not exist or its history is full. Errors are the store's. */
MUST_USE int people_act(struct people *people, enum people_act_kind kind, const struct people_act *act, uint64_t seq,
			int64_t t);
MUST_USE int people_put_outcome(struct people *people, uint64_t seq, const struct outcome *outcome);
/* Upper estimate of dirty pages a commit would write now, cached rows included. The fold commits at a cap. */
size_t people_pages(const struct people *people);
/* Writes the cached rows, the changes, the counters and applied = next_seq in one durable transaction. */
MUST_USE int people_commit(struct people *people, uint64_t next_seq, int64_t t);
void people_abort(struct people *people);
/* Deletes outcomes below `seq` and changes older than `t`, at most `max_rows` (in the open transaction). */
MUST_USE int people_trim(struct people *people, uint64_t outcomes_below, int64_t changes_before_t, size_t max_rows);

/* ── reading: any thread, one reader object per thread ───────────────────── */

struct people_reader; /* a read transaction's slot, reset between uses */
MUST_USE int people_reader_new(struct people *people, struct people_reader **out);
void people_reader_free(struct people_reader *reader);
/* Takes the newest snapshot; at most 100 ms until people_read_end. *applied is the snapshot's next seq to fold. */
MUST_USE int people_read_begin(struct people_reader *reader, uint64_t *applied);
void people_read_end(struct people_reader *reader);

enum provenance {
	PROVENANCE_DECLARED,
	PROVENANCE_OBSERVED,
	PROVENANCE_INFERRED,
	PROVENANCE_COUNT
}; /* strongest first */
const char *provenance_name(enum provenance provenance);

/* Where a value is from, beside its source: the form that asked for a declared one, or the model that inferred it; never both. */
struct trait_origin {
	struct str form, question;       /* form empty: none; question empty: made of several answers */
	uint32_t version;                /* of the form */
	int64_t expires_at;              /* 0: never */
	struct str model, model_version; /* model empty: none */
};
struct profile_trait {
	struct str name, value; /* value: JSON text */
	enum provenance provenance;
	int64_t updated_at; /* event time */
	struct str source;  /* source id */
	struct trait_origin origin;
	bool is_winner;  /* false: a losing value, still readable */
	bool is_expired; /* an answer that has run out: never a winner */
};
struct profile_feature {
	struct str name, type, value; /* value: JSON text at the time of reading */
	uint64_t since_seq;           /* counts events from here on */
	int64_t since_t;              /* logical time there; INT64_MIN: not known */
	bool is_complete;             /* false: what was there before its definition is still being counted */
};
struct profile_consent {
	struct consent record;
	enum consent_state state; /* at the time of reading */
};
struct profile_identifier {
	struct str namespace_, value;
	struct fragment_id fragment;
	uint64_t first_seq;
	int64_t first_seen, last_seen;
	uint64_t event_count, chain_head;
};
struct profile {
	struct fragment_id id, requested_id;    /* differ when the reference was joined into another profile */
	struct profile_identifier *identifiers; /* strongest first */
	size_t identifier_count;                /* = fragments */
	struct profile_trait *traits; /* winners by name, losers after their winner (if there is any) when asked for */
	size_t trait_count;
	struct profile_feature *features;
	size_t feature_count;
	struct profile_consent *consents; /* by purpose, then channel */
	size_t consent_count;
	struct str *segments; /* names, ordered; always filled */
	size_t segment_count;
	int64_t first_seen, last_seen;
	uint64_t event_count;
	uint64_t refused_traits; /* over the bounds, never stored */
};
enum profile_part { /* what to fill beyond ids */
		    PROFILE_IDENTIFIERS = 1,
		    PROFILE_TRAITS = 2,
		    PROFILE_FEATURES = 4,
		    PROFILE_LOSERS = 8,
		    PROFILE_CONSENTS = 16,
		    PROFILE_ALL = PROFILE_IDENTIFIERS | PROFILE_TRAITS | PROFILE_FEATURES | PROFILE_CONSENTS
};
/* `ref`: "namespace:value" or "id:<32 hex>". ERR_NOT_FOUND; ERR_INVALID. Inside read_begin/end; the result lives in the arena. */
MUST_USE int people_get(struct people_reader *reader, struct str ref, unsigned parts, int64_t now, struct arena *arena,
			struct profile *out);

/* May one act on a purpose, on a channel (empty: all of them)? ERR_REFUSED: no such purpose in the definitions; ERR_EXISTS: the purpose has no such
 * channel; ERR_INVALID: the reference is malformed. Nobody known by the reference is somebody who said nothing. Inside read_begin/end. */
struct consent_answer {
	bool is_allowed, is_person_known;
	enum consent_state state; /* none: the default decided */
	struct consent record;    /* unless none; in the arena */
};
MUST_USE int people_consent_check(struct people_reader *reader, struct str ref, struct str purpose, struct str channel,
				  int64_t now, struct arena *arena, struct consent_answer *out);
/* May the person of a fragment be handed to that destination? */
MUST_USE int people_consent_gate(struct people_reader *reader, const uint8_t fragment[16], struct str destination,
				 int64_t now, struct arena *arena, bool *is_allowed);
bool people_gates_destination(const struct people_reader *reader, struct str destination); /* any purpose does */
bool people_purpose_at(const struct people_reader *reader, size_t index,
		       struct str *name); /* as defined; false: no more */
bool people_purpose_gates(const struct people_reader *reader, struct str purpose, struct str destination);
/* Was one allowed to act on the purpose as long as its consent was `before`, and is no longer now that it is `after`? False too when there is no
 * such purpose any more. Inside read_begin/end. */
bool people_consent_lost(const struct people_reader *reader, struct str purpose, enum consent_state before,
			 enum consent_state after);
/* What the log keeps of an act (JSON text, in the arena): who said what, where, and the proof. ERR_NOT_FOUND: erased. */
MUST_USE int people_consent_proof(struct people_reader *reader, uint64_t log, struct arena *arena, struct str *out);
/* Was this single-use token used? ERR_NOT_FOUND: no. */
MUST_USE int people_token_used(struct people_reader *reader, int64_t expires, const uint8_t id[16], uint64_t *seq);

/* Walks the consent log from row `from` on. `verify` starts zeroed and is carried from call to call. */
struct consent_verify {
	uint64_t rows, erased; /* looked at; of them without their payload */
	uint64_t broken_at;    /* first row that does not fit; 0: none */
	const char *why;       /* of it */
	uint8_t head[32];      /* hash of the last row: note it elsewhere, and a cut end of the log is seen too */
	uint64_t next;         /* 0: from the beginning */
	bool is_done;
};
MUST_USE int people_consent_verify(struct people_reader *reader, size_t max_rows, struct consent_verify *verify);

/* A person's events, newest first: positions below `below_seq` (0: newest) by walking the chains of the profile's fragments. */
struct chain_item {
	uint64_t seq;
	struct outcome outcome;
};
MUST_USE int people_chain(struct people_reader *reader, const struct profile *profile, uint64_t below_seq, size_t limit,
			  struct arena *arena, struct chain_item **items, size_t *count);

/* Every link attempt of the profile's fragments, in position order. */
struct link_row {
	struct str a, b; /* "namespace:value" */
	uint64_t seq;    /* first position */
	int64_t t;
	struct str rule;        /* "same_event", "alias", "merge", "unmerge" */
	bool is_act;            /* a merge or an unmerge */
	bool is_unmerge;        /* the row is a cannot-link, not a link */
	bool is_linked;         /* of an unmerge: it was accepted */
	bool was_one;           /* a merge of two who were one already */
	bool is_lifted;         /* an accepted unmerge that a later merge (or unmerge) of the pair took the place of */
	struct str reason;      /* of a refusal: unique_conflict … (core/profile/link_row.c) */
	struct str actor, note; /* of merges and unmerges */
};
MUST_USE int people_links(struct people_reader *reader, const struct profile *profile, struct arena *arena,
			  struct link_row **rows, size_t *count);

/* What came of the merge or unmerge of these two identifiers at position `seq`. ERR_NOT_FOUND: nothing was kept. */
MUST_USE int people_find_act(struct people_reader *reader, enum people_act_kind kind, struct str a, struct str b,
			     uint64_t seq, struct arena *arena, struct link_row *out);

/* ── dry runs (core/profile/preview.c) ───────────────────────────────────── */

struct preview_conflict {               /* a trait of which both have a value */
	struct str name, winner, loser; /* values: JSON text */
};
struct preview_limit {
	struct str reason, namespace_; /* namespace_: empty when it is about no namespace */
};
struct preview_merge {
	struct str a, b; /* the identifiers meant */
	bool was_one, is_allowed;
	struct str reason;       /* of the refusal: what the fold would say first */
	struct str *identifiers; /* of the resulting person, strongest first */
	size_t identifier_count;
	struct fragment_id id;
	struct preview_conflict *conflicts;
	size_t conflict_count;
	struct preview_limit *limits; /* all that would be broken */
	size_t limit_count;
};
struct preview_group {
	struct fragment_id id;
	struct str *identifiers; /* strongest first */
	size_t count;
};
struct preview_unmerge {
	struct str a, b;
	bool is_allowed;
	struct str reason;
	struct link_row *cut, *made; /* links that would go, and refused ones that would then hold */
	size_t cut_count, made_count;
	struct preview_group *groups; /* the persons that would be, of all that change */
	size_t group_count;
};
/* What a merge or unmerge would do now. Inside read_begin/end; the result lives in the arena. ERR_NOT_FOUND, ERR_INVALID as in
 * people_get. */
MUST_USE int people_preview_merge(struct people_reader *reader, struct str ref_a, struct str ref_b, int64_t now,
				  struct arena *arena, struct preview_merge *out);
MUST_USE int people_preview_unmerge(struct people_reader *reader, struct str ref_a, struct str ref_b,
				    struct arena *arena, struct preview_unmerge *out);
/* The identifier a reference names ("id:…" ones too): the text that people_act takes. ERR_NOT_FOUND, ERR_INVALID. */
MUST_USE int people_resolve(struct people_reader *reader, struct str ref, struct arena *arena, struct str *identifier);
/* The profile that an identifier (as people_resolve tells it) is in. */
MUST_USE int people_profile_of(struct people_reader *reader, struct str identifier, struct arena *arena,
			       struct fragment_id *out);

MUST_USE int people_get_outcome(struct people_reader *reader, uint64_t seq, struct outcome *out); /* ERR_NOT_FOUND */
/* Outcomes from `seq` on, for exporters. `fn` non-zero stops. */
MUST_USE int people_outcomes(struct people_reader *reader, uint64_t seq, size_t max,
			     int (*fn)(void *ctx, uint64_t seq, const struct outcome *outcome), void *ctx);
/* Changes with sequence > after, in order, copied into the arena. ERR_GONE when `after` is behind retention; OK with *count 0 at the end. */
MUST_USE int people_changes(struct people_reader *reader, uint64_t after, size_t max, struct arena *arena,
			    struct change **changes, size_t *count);
uint64_t people_last_change(const struct people *people); /* newest committed */
uint64_t people_trimmed_change(
    const struct people *people); /* newest committed of those that retention took; 0: none */

/* The profile that a fragment is in. ERR_NOT_FOUND: it is no more. Inside read_begin/end. */
MUST_USE int people_person_of(struct people_reader *reader, const struct fragment_id *fragment, struct arena *arena,
			      struct fragment_id *out);
