/* form_tally: counts of what was answered to one form, of a part of all people; parts are added up. It keeps no answers, no texts and nobody's
 * name. */
#pragma once

#include "base/json.h"
#include "config/form.h"
#include "profile/answer_scan.h"

#define TALLY_VERSIONS_MAX 32  /* told apart; answers to further ones count in the whole only */
#define TALLY_BINS_MAX     101 /* of a histogram; a scale of more steps has several in each */

struct tally_question {
	uint64_t answered, refused, other; /* other: answers that no option or step of today's definition stands for */
	double sum;
	uint64_t *counts; /* one for each option or bin */
	size_t count;
};

struct tally_block { /* of one version; 0: of all */
	uint32_t version;
	uint64_t respondents;
	struct tally_question *questions;
};

struct tally {
	const struct conf_form *form;
	struct arena *arena;
	struct tally_block *blocks[TALLY_VERSIONS_MAX + 1]; /* the first is of all */
	size_t block_count;
};

/* What the reading of values needs for a moment. */
struct tally_reader {
	struct json_reader *json;
	struct buf *text;
};

/* Counts live in the arena. ERR_NOMEM. */
MUST_USE int tally_init(struct tally *tally, const struct conf_form *form, struct arena *arena);
void tally_clear(struct tally *tally);
/* One person's answers. ERR_NOMEM. */
MUST_USE int tally_add(struct tally *tally, const struct tally_reader *reader, const struct answer_found *answers,
		       size_t count);
MUST_USE int tally_merge(struct tally *into, const struct tally *from);
/* "respondents", "questions" and "versions", as members of an open object. */
void tally_write(struct json_out *out, const struct tally *tally);
