/* plan: definitions made ready for the fold: identifier fields parsed, features filtered and keyed. Immutable once
 * made; the writer and each reader hold their own. */
#pragma once

#include "profile/awaits.h"
#include "profile/event_view.h"
#include "profile/feature_filter.h"
#include "profile/feature_route.h"
#include "profile/people.h"
#include "profile/segment_plan.h"

#define PLAN_NAMESPACES_MAX 32
#define PLAN_FEATURES_MAX   256

struct plan_source { /* where a namespace may find its identifier */
	struct event_field field;
	struct str first_step; /* of the path: an object whose text lacks it cannot hold a value there */
};

struct plan_blocked {
	struct str *items; /* sorted */
	size_t count;
	uint64_t lengths; /* bit n: a value of n bytes exists (63: or longer) */
};

struct plan_namespace {
	struct identity_namespace rule;
	struct plan_source *sources; /* in the order asked */
	size_t source_count;
	struct plan_blocked blocked; /* of this namespace */
};

struct plan_feature {
	struct feature_def def; /* impl NULL: no such type here; the feature rests */
	uint64_t key;           /* of its states in rows */
	uint32_t max_state;
	struct feature_path field, key_field;
	bool is_of_elements; /* an input for each element of `elements` */
	struct event_field elements;
	struct feature_filter filter;
	bool wants_text; /* the type reads a number's text too */
	bool tells;      /* a changed state is a changed value */
	uint32_t awaits; /* bit i: it reads what plan->enrichers[i] provides */
};

struct plan {
	struct arena arena;
	struct str text; /* canonical definitions */
	struct definitions definitions;
	struct plan_namespace *namespaces; /* strongest first */
	size_t namespace_count;
	struct plan_feature *features; /* ordered by key */
	size_t feature_count;
	struct feature_routes routes;
	struct segment_plan *segments; /* NULL: none */
	struct plan_enricher *enrichers;
	size_t enricher_count;
	struct plan_blocked blocked; /* in every namespace */
	uint64_t seq;                /* position of the definition record */
	uint64_t identity_seq;       /* since when the identity rules are as they are: their version */
};

/* How far a feature type that is not registered may go. */
enum plan_strictness { PLAN_STRICT /* ERR_NOT_FOUND */, PLAN_LENIENT /* its feature rests */ };

/* From canonical text; since[i] is the position feature i (in the text's order) counts from. ERR_INVALID, ERR_NOT_FOUND, ERR_NOMEM. */
MUST_USE int plan_new(struct str text, uint64_t seq, uint64_t identity_seq, const uint64_t *since, size_t since_count,
		      enum plan_strictness strictness, struct plan **out);
/* The plan for `text` taking over from `old` (may be NULL) at position `seq`: unchanged features keep counting from where they
 * began, unchanged identity rules keep their version. */
MUST_USE int plan_succeed(const struct plan *old, struct str text, uint64_t seq, struct plan **out);
void plan_free(struct plan *plan);

/* Index of the namespace in the plan, namespace_count when it is not one of them: its strength. */
size_t plan_namespace_find(const struct plan *plan, struct str name);
/* Does the feature's value change by time alone, without an event? Segments on it are looked at once a day too. */
bool feature_ages(const struct plan_feature *feature);
const struct plan_feature *plan_feature_find(const struct plan *plan, uint64_t key);
/* Is a (normalised) value of that namespace (an index) blocked, there or everywhere? */
bool plan_is_blocked(const struct plan *plan, size_t namespace_, struct str value);
/* The same for a whole identifier, "namespace:value". */
bool plan_blocks(const struct plan *plan, struct str identifier);

/* definitions.c: parses into the arena; with `is_lenient` unknown feature types get impl NULL. */
MUST_USE int definitions_parse_text(struct str text, struct arena *arena, bool is_lenient, struct definitions *out);
