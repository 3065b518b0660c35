/* act: one word about two people, that they are one or are not, from the asking to what came of it, whatever face asks. The word becomes a
 * record of the journal; the fold decides, and the result tells what it decided. */
#pragma once

#include "api/internal.h"

#define ACT_REF_MAX ((size_t)400) /* bytes of a reference; the faces refuse longer ones */

struct act_request { /* borrowed until act_start returns */
	enum people_act_kind kind;
	struct str a, b;  /* references */
	struct str actor; /* token name */
	struct str note;  /* at most PEOPLE_NOTE_MAX bytes */
};
struct act_result {           /* lives during the call */
	enum problem problem; /* NONE: carried out, or pending */
	struct str message, pointer;
	enum people_act_kind kind;
	struct str a, b; /* the identifiers meant */
	uint64_t seq;    /* the record's position; 0: nothing was written */
	bool is_pending; /* durable, and not decided yet: seq can be waited for */
	bool was_one;    /* a merge of two who were one already */
	struct fragment_id profile_a, profile_b;
};
typedef void (*act_fn)(struct api_worker *worker, const struct act_result *result, void *ctx);
struct act;
/* Calls `done` once on the worker's loop, at once (NULL is returned then) or later, unless act_leave came first. */
struct act *act_start(struct api_worker *worker, const struct act_request *request, act_fn done, void *ctx);
/* The asker is gone; the act goes on. */
void act_leave(struct act *act);
/* The worker's loop has ended: what the journal still holds is freed with the api. */
void acts_leave_to_api(struct api_worker *worker);
void acts_free(struct act *acts);

/* What a merge or an unmerge would do, on a pool thread; in its scratch. Errors as people_get's. */
struct act_preview {
	struct preview_merge merge;
	struct preview_unmerge unmerge; /* of the two the one that was asked for */
};
MUST_USE int act_preview(struct read_thread *thread, enum people_act_kind kind, struct str a, struct str b,
			 uint64_t *applied, struct act_preview *out);
