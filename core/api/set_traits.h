/* set_traits: traits that a token's bearer states of one person, whatever face asks. They become one event, through ingest like any other. */
#pragma once

#include "api/internal.h"

struct set_traits {
	struct str ref;                  /* "namespace:value", known or not, or the "id:…" of somebody known */
	struct str traits;               /* JSON object, as sent */
	struct str provenance;           /* "declared", "observed" or "inferred"; empty: observed */
	struct str source;               /* who says so; empty: the token's name */
	struct str message_id;           /* empty: not idempotent */
	struct str token;                /* its name */
	int64_t time_us;                 /* 0: now */
	struct str model, model_version; /* who inferred them; only with "inferred"; empty: not told */
	bool has_model;                  /* one was given, maybe without a name */
};
struct set_traits_refusal {
	struct str message, pointer; /* in the arena or static */
};
/* What a statement says besides whom and what: checked, and copied into `told`. */
MUST_USE enum problem set_traits_describe(const struct set_traits *what, struct arena *arena,
					  struct ingest_traits *told, struct set_traits_refusal *refusal);
/* Makes what ingest_submit wants of it; `out` has the connection's parts filled in (address, agent, time). PROBLEM_NONE, or why not. Lives in the
 * arena, the body in worker->out, until either is used again. */
MUST_USE enum problem set_traits_prepare(struct api_worker *worker, const struct set_traits *what, struct arena *arena,
					 struct ingest_request *out, struct set_traits_refusal *refusal);
