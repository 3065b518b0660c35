/* What the files of core/training share about the one set there is. */
#pragma once

#include <pthread.h>

#include "training/job.h"

struct training {
	struct journal *journal;
	struct people *people;
	char folder[4096];

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *job; /* NULL: none */
	pthread_t thread;
	bool has_thread;     /* to be joined */
	uint64_t generation; /* of `job`: orders for one must not wait for the next */
	bool is_stopped, should_drop;
	enum training_state state;
	int failure;
	int readers;

	/* of the last pass over the rows */
	bool has_read;
	uint64_t given, positives, left_out_erased, left_out_consent;
	double label_sum;
};

/* job.c: reads the definition. ERR_INVALID: *errors. */
MUST_USE int job_make(const struct training *training, const struct config *config, struct str yaml, const char *file,
		      struct job **out, char **errors);
/* Makes the rows; afterwards only they are left, and not even they when it failed. */
MUST_USE int job_run(struct job *job);
void job_free(struct job *job);     /* and its files */
void job_clean(const char *folder); /* files of one that is no more */
