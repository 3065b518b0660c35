/* training: rows for training a model: features and links as they were at each point, and what happened afterwards (docs/training-sets.md).
 * A set is made in the background, one at a time, on a thread that gives way to all others; it writes nothing but files of its own, which go
 * with it. It must not know who asks or how rows travel. */
#pragma once

#include "config/config.h"
#include "journal/journal.h"
#include "profile/people.h"

struct training;

#define TRAINING_ID_SIZE      33
#define TRAINING_YAML_MAX     ((size_t)256 << 10)
#define TRAINING_KEEP_SECONDS 600 /* since somebody last asked about a finished set: then it goes */
#define TRAINING_ASK_SECONDS  120 /* about one that is being made: whoever ordered it has left */

/* Removes what a killed daemon left behind. */
MUST_USE int training_new(struct journal *journal, struct people *people, const char *store_path,
			  struct training **out);
void training_stop(struct training *training); /* gives up what is being made; takes no more */
void training_free(struct training *training);

/* Reads the definition and begins. ERR_INVALID: *errors is malloc'd text, one complaint a line; ERR_BUSY: another one is being made;
 * ERR_CLOSED. `file` names the definition in complaints. A finished set makes room for the new one. */
MUST_USE int training_start(struct training *training, const struct config *config, struct str yaml, const char *file,
			    char id[TRAINING_ID_SIZE], char **errors);
/* Stops it and removes it. ERR_NOT_FOUND. */
MUST_USE int training_drop(struct training *training, struct str id);

enum training_state { TRAINING_RUNNING, TRAINING_DONE, TRAINING_FAILED };
const char *training_state_name(enum training_state state);

struct training_about {
	char id[TRAINING_ID_SIZE];
	char name[72];
	char definition[65];        /* SHA-256 of the YAML, hex */
	uint64_t first, next;       /* positions of the journal that were folded */
	int64_t first_us, until_us; /* when the first record arrived; up to when is known what happened */
	int64_t began_us;
};
struct training_column {
	struct str name, feature, type;
	bool is_number;
};
struct training_status {
	struct training_about about;
	enum training_state state;
	int failure;       /* status, when it failed */
	unsigned permille; /* of the records */
	uint64_t rows;     /* with a label, before anybody is left out */
	uint64_t censored; /* their window is not over */
	uint64_t sampled_out;
	/* Of the last time that the rows were read to their end; has_read: they were. */
	bool has_read;
	uint64_t given, positives, left_out_erased, left_out_consent;
	double label_sum;
	const char *time, *value, *read; /* as in the definition */
	int64_t horizon_us, grace_us, every_us;
	double sample;
	struct str purpose;
	struct training_column *columns; /* texts and array live in the arena */
	size_t column_count;
};
/* `id` empty: of whichever there is. Being asked keeps it. ERR_NOT_FOUND. */
MUST_USE int training_status(struct training *training, struct str id, struct arena *arena,
			     struct training_status *out);

/* ── rows ────────────────────────────────────────────────────────────────── */

enum training_format { TRAINING_CSV, TRAINING_NDJSON };
struct training_read; /* one pass over the rows of a finished set; the set stays until it is closed */

/* ERR_NOT_FOUND; ERR_AGAIN: it is not finished. */
MUST_USE int training_read_open(struct training *training, struct str id, enum training_format format,
				struct training_read **out);
void training_read_close(struct training_read *read);
/* Appends rows until `out` holds about `enough` bytes; people who were erased, or do not allow it, are left out as of now. `reader`: of the daemon's
 * people, closed. *is_done: that was all. Any thread, one at a time. */
MUST_USE int training_read_some(struct training_read *read, struct people_reader *reader, size_t enough,
				struct buf *out, bool *is_done);
