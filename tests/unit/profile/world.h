/* world: a people env in a temporary directory, events with little typing, and two ways to look at everything at once: a dump
 * that does not depend on the env's random key, and the invariants that must hold after every commit. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/component.h"
#include "profile/feature_eval.h"
#include "profile/link_row.h"
#include "profile/outcome_row.h"
#include "profile/reader.h"
#include "profile/trait.h"

struct world {
	char path[64];
	struct people *people;
	struct people_reader *reader;
	struct arena arena; /* of what reads return and events are made of */
	uint64_t seq;       /* of the last event */
	int64_t ahead;      /* records' time is WORLD_T0 + seq + this */
	uint64_t applied;   /* by the last view_begin */
};

#define WORLD_T0 INT64_C(1700000000000000)

/* user_id (1), email (2, from traits.email), device (from context.device.id), anonymous_id (4): at most 6 fragments; features events,
 * orders, revenue, first_page, last_page. */
extern const char *const world_definitions;

void world_open(struct world *world); /* with world_definitions, committed */
void world_open_empty(struct world *world);
void world_reopen(struct world *world);
void world_close(struct world *world);                    /* and removes the directory */
void world_define(struct world *world, const char *text); /* in a transaction of its own */

struct cdpd_event world_event(enum event_type type, const char *user, const char *anonymous);
/* Applies as the fold does: verdict, outcome. Inside begin/commit. The seq is the next one unless event says so. */
void world_apply(struct world *world, const struct cdpd_event *event, struct apply_result *out);
void world_begin(struct world *world);
void world_commit(struct world *world);
/* begin, apply, commit */
struct apply_result world_one(struct world *world, const struct cdpd_event *event);

void view_begin(struct world *world);
void view_end(struct world *world);
/* ERR_NOT_FOUND or OK; anything else fails the test. */
int view_get(struct world *world, const char *ref, struct profile *out);
/* "name=value name=value …" of winners; "feature=value …"; "ns:value ns:value …": strongest first. */
const char *view_traits(struct world *world, const char *ref);
const char *view_features(struct world *world, const char *ref);
const char *view_identifiers(struct world *world, const char *ref);
/* One line for each attempt: "seq a b rule linked|reason\n". */
const char *view_links(struct world *world, const char *ref);
/* "kind body\n" of every change. Ids are replaced by <ns:value>. */
const char *view_changes(struct world *world, uint64_t after);
/* Positions, newest first: "9 7 3". */
const char *view_chain(struct world *world, const char *ref, uint64_t below, size_t limit);

const char *world_dump(struct world *world); /* malloc'd; free it */
void world_check(struct world *world);       /* the invariants */

#define assert_text(actual, expected) assert_string_equal((actual), (expected))
