/* scoring: what the parts of this plugin share: one instance, and one batch on its way from records to written scores. */
#pragma once

#include <stdint.h>

#include "cdpd_plugin.h"
#include "last.h"
#include "model.h"
#include "row.h"

#define ID_TEXT 32 /* bytes of a profile's id as text */

struct scorer {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char *trait, *model_name, *model_version; /* version empty: the file's */
	char **features;                          /* names in the model's order; NULL: the model's own */
	size_t feature_count;
	double min_change;
	int64_t output; /* -1: the only one */

	struct watched_reader *reader;
	struct model *model; /* the one in use: a reference of its own */
	uint32_t generation; /* of `model`: +1 with each */
	struct last *last;
	int scored, published, unchanged, missing, unreadable, refused, reloads, failures, seconds;
};

/* The score of one person on its way to the journal. */
struct sent {
	struct scoring *scoring;
	size_t index; /* of the record */
	uint8_t id[LAST_ID_SIZE];
	float score;
	uint32_t generation;
};

/* One batch; lives until the last of its scores is answered. */
struct scoring {
	struct scorer *scorer;
	const struct cdpd_batch *batch;
	struct cdpd_receipt *receipt;
	size_t count, under_way;
	struct person {
		struct cdpd_record record;
		uint8_t id[LAST_ID_SIZE];
		bool is_scored; /* else the record has its verdict */
		bool has_known; /* the trait as the record has it */
		double known;
		float score;
	} * people;
	struct sent *sent;
	float *rows;
};

/* The features' names as the model takes them. */
static inline const char *scorer_feature(const struct scorer *scorer, size_t index)
{
	return scorer->features ? scorer->features[index] : model_feature_name(scorer->model, index);
}

/* Moves over to a newer model, if there is one that fits the options. */
void scorer_look_for_model(struct scorer *scorer);

/* As export_batch answers. */
enum cdpd_verdict scoring_run(struct scorer *scorer, const struct cdpd_batch *batch, struct cdpd_receipt *receipt);
