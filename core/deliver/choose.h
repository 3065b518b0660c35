/* choose: what a destination is handed of a record, asked at the moment of handing over: consent, `events`, `segments`, `where` and `mapping` as
 * they are then. One thread. */
#pragma once

#include "base/json.h"
#include "deliver/selection.h"
#include "deliver/stream.h"

enum choice {
	CHOICE_TAKEN,
	CHOICE_GONE,     /* erased since */
	CHOICE_DENIED,   /* by consent */
	CHOICE_FILTERED, /* not for this destination */
	CHOICE_UNMAPPED, /* its mapping cannot be filled: a dead letter */
};

struct gate { /* whom they are for */
	struct str name;
	bool is_gated; /* by the config: until the fold knows of it, nothing is handed over */
	const struct selection *selection;
};

struct chooser {
	struct people_reader *people;
	struct arena scratch;
	struct buf person;
	struct json_reader *json; /* NULL: nothing had to be parsed yet */
	const struct gate *gate;  /* since chooser_begin */
	bool is_gated;
	int64_t now;
};
void chooser_init(struct chooser *chooser, struct people_reader *people);
void chooser_fini(struct chooser *chooser);
/* Opens the reader; *applied: where the snapshot stands. ERR_BUSY: the fold does not know of the gate yet; the commit that brings the definition
 * wakes whoever waits for it. Short: see people_read_begin. */
MUST_USE int chooser_begin(struct chooser *chooser, const struct gate *gate, uint64_t *applied);
void chooser_end(struct chooser *chooser);
/* Is the record an erased person's? */
MUST_USE int chooser_is_withheld(struct chooser *chooser, const struct stream_record *record, bool *out);
/* *json: what is handed over, the record's own text or in the arena; *why: of the others, in the arena. */
MUST_USE int choose(struct chooser *chooser, const struct stream_record *record, struct arena *arena,
		    enum choice *choice, struct str *json, struct str *why);
