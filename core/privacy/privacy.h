/* privacy: erasures from the request to the last byte on disk. A request is noted in the list, then put into the journal; the
 * fold takes the person out of the profiles at that position; then one thread, in the background, writes the journal's segments anew
 * without what was theirs, blanks the change feed and compacts the profiles. docs/erasure.md. */
#pragma once

#include "fold/fold.h"
#include "privacy/list.h"
#include "profile/suppress.h"

struct privacy;
struct privacy_options {
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	const char *store_path;
	const struct config *config;             /* as for privacy_set_config; may be NULL */
	void (*on_fatal)(void *ctx, int status); /* the process must end; may be NULL */
	void *ctx;
};
MUST_USE int privacy_new(const struct privacy_options *options, struct privacy **out);
/* What else holds something of people and sweeps it by itself, after the journal: destinations' dead letters. Before the start. `count` is raised by what
 * went; ERR_CLOSED when *stop becomes true. */
void privacy_set_letters(struct privacy *privacy, int (*erase)(void *ctx, const _Atomic bool *stop, uint64_t *count),
			 void *ctx);
/* After the fold was started: asks the journal again for erasures it does not know (after a restore) and waits until they are folded; then the
 * thread. */
MUST_USE int privacy_start(struct privacy *privacy);
void privacy_stop(struct privacy *privacy);
void privacy_free(struct privacy *privacy);

/* journal.event_retention from now on: copied. Any thread. */
MUST_USE int privacy_set_config(struct privacy *privacy, const struct config *config);

struct erasure_request {
	struct str ref;
	bool is_whole; /* the person; else the one identifier */
	struct str actor, reason;
};
/* Durable when it returns OK; *erasure lives in the arena. Asking twice gives the same receipt. Blocks: not on a loop's thread. `reader` is
 * not open. ERR_NOT_FOUND, ERR_INVALID (the reference), ERR_FULL, ERR_BUSY, ERR_CLOSED. */
MUST_USE int privacy_erase(struct privacy *privacy, struct people_reader *reader, const struct erasure_request *request,
			   struct arena *arena, struct erasure *erasure);

/* Later events of a person are not applied (or are again). Durable when it returns OK, not folded. Blocks. *seq: the record's. */
MUST_USE int privacy_suppress(struct privacy *privacy, const struct people_suppression *act, struct arena *arena,
			      uint64_t *seq);

struct erasure_preview {
	struct profile profile; /* whose fragments would go: first `fragments` of */
	size_t fragments, remaining;
	uint64_t events, links, changes, segments;
	bool is_cut; /* events, changes or segments were not counted to the end */
};
MUST_USE int privacy_preview(struct privacy *privacy, struct people_reader *reader, struct str ref, bool is_whole,
			     struct arena *arena, struct erasure_preview *out);

MUST_USE int privacy_get(struct privacy *privacy, struct str receipt, struct arena *arena, struct erasure *out);
struct erasure_list *privacy_list(struct privacy *privacy);
