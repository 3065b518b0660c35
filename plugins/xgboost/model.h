/* model: one file of XGBoost's, loaded: its features, and scores of rows. The only part that knows XGBoost. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MODEL_WHY_MAX     400
#define MODEL_VERSION_MAX 13 /* of the file: 12 hex digits of its SHA-256 and a NUL */

/* Read only once loaded; any thread. Counted: it is freed with the last reference. */
struct model;

/* `.json` or `.ubj`. NULL: `why` says why not, without the path. */
struct model *model_load(const char *path, char why[MODEL_WHY_MAX]);
void model_ref(struct model *model);
void model_unref(struct model *model); /* NULL is fine */

size_t model_feature_count(const struct model *model);
/* Name of feature `index`, NULL: the file has no names. */
const char *model_feature_name(const struct model *model, size_t index);
size_t model_output_count(const struct model *model); /* of each row: 1, or one a class */
const char *model_version(const struct model *model);

/* Scores `count` rows of model_feature_count numbers each, NaN where there is none, into `out`: output `output` of each row, as the model's objective
 * tells it. Waits for other threads that score with the same model. False: `why`. */
bool model_score(struct model *model, const float *rows, size_t count, size_t output, float *out,
		 char why[MODEL_WHY_MAX]);
