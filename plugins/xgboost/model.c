#include "model.h"

#include <errno.h>
#include <math.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>

#define FEATURES_MAX 4096

struct model {
	atomic_uint refs;
	pthread_mutex_t lock; /* a booster keeps the answer of its last prediction */
	BoosterHandle booster;
	size_t feature_count, output_count;
	char **names; /* NULL: the file has none */
	char version[MODEL_VERSION_MAX];
};

static bool fail(char why[MODEL_WHY_MAX], const char *text)
{
	snprintf(why, MODEL_WHY_MAX, "%s", text);
	return false;
}

/* XGBoost's errors begin with a time and a place in its source, and may go on with a stack. */
static bool fail_of_xgboost(char why[MODEL_WHY_MAX])
{
	const char *text = XGBGetLastError(), *mark = strstr(text, ": ");
	if (text[0] == '[' && mark) text = mark + 2;
	snprintf(why, MODEL_WHY_MAX, "%.*s", (int)strcspn(text, "\n"), text);
	return false;
}

/* Its warnings would go to the daemon's standard error. Holds for the calling thread. */
static void quieten(void)
{
	(void)XGBSetGlobalConfig("{\"verbosity\":0}");
}

/* ── loading ─────────────────────────────────────────────────────────────── */

static bool hash_file(const char *path, char out[MODEL_VERSION_MAX], char why[MODEL_WHY_MAX])
{
	unsigned char block[65536], digest[EVP_MAX_MD_SIZE];
	size_t len;
	FILE *file = fopen(path, "rb");
	if (!file) return fail(why, strerror(errno));
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool is_fine = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
	while (is_fine && (len = fread(block, 1, sizeof block, file)) > 0) is_fine = EVP_DigestUpdate(hash, block, len);
	if (is_fine && ferror(file)) is_fine = fail(why, strerror(EIO));
	is_fine = is_fine && EVP_DigestFinal_ex(hash, digest, NULL);
	for (size_t i = 0; is_fine && i < (MODEL_VERSION_MAX - 1) / 2; i++) sprintf(out + 2 * i, "%02x", digest[i]);
	EVP_MD_CTX_free(hash);
	fclose(file);
	return is_fine;
}

static bool has_known_end(const char *path)
{
	const char *dot = strrchr(path, '.');
	return dot && (strcmp(dot, ".json") == 0 || strcmp(dot, ".ubj") == 0);
}

static bool open_booster(struct model *model, const char *path, char why[MODEL_WHY_MAX])
{
	bst_ulong features = 0;
	if (XGBoosterCreate(NULL, 0, &model->booster) != 0) return fail_of_xgboost(why);
	if (XGBoosterLoadModel(model->booster, path) != 0) return fail_of_xgboost(why);
	/* The caller has threads of its own, and rows come in small batches. */
	if (XGBoosterSetParam(model->booster, "nthread", "1") != 0) return fail_of_xgboost(why);
	if (XGBoosterGetNumFeature(model->booster, &features) != 0) return fail_of_xgboost(why);
	model->feature_count = (size_t)features;
	if (features >= 1 && features <= FEATURES_MAX) return true;
	snprintf(why, MODEL_WHY_MAX, "it takes %zu features, 1 to %d are possible", model->feature_count, FEATURES_MAX);
	return false;
}

static bool copy_names(struct model *model, char why[MODEL_WHY_MAX])
{
	bst_ulong count = 0;
	const char **names = NULL;
	if (XGBoosterGetStrFeatureInfo(model->booster, "feature_name", &count, &names) != 0)
		return fail_of_xgboost(why);
	if (count == 0) return true;
	if (count != model->feature_count) return fail(why, "it has not as many feature names as features");
	model->names = calloc(model->feature_count, sizeof *model->names);
	for (size_t i = 0; model->names && i < model->feature_count; i++)
		if (!(model->names[i] = strdup(names[i]))) return fail(why, "out of memory");
	return model->names ? true : fail(why, "out of memory");
}

static bool predict(struct model *model, DMatrixHandle matrix, size_t count, size_t *outputs, const float **out,
		    char why[MODEL_WHY_MAX])
{
	static const char config[] =
	    "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_"
	    "shape\":true}";
	const bst_ulong *shape;
	bst_ulong dimensions;
	if (XGBoosterPredictFromDMatrix(model->booster, matrix, config, &shape, &dimensions, out) != 0)
		return fail_of_xgboost(why);
	if (dimensions < 1 || shape[0] != count) return fail(why, "it does not answer each row");
	*outputs = 1;
	for (bst_ulong i = 1; i < dimensions; i++) *outputs *= (size_t)shape[i];
	return *outputs > 0 ? true : fail(why, "it answers nothing");
}

/* What a file says of itself and what it can do are two things: one row is tried. */
static bool try_a_row(struct model *model, char why[MODEL_WHY_MAX])
{
	float *row = malloc(model->feature_count * sizeof *row);
	const float *out;
	DMatrixHandle matrix;
	if (!row) return fail(why, "out of memory");
	for (size_t i = 0; i < model->feature_count; i++) row[i] = NAN;
	bool is_fine = XGDMatrixCreateFromMat(row, 1, model->feature_count, NAN, &matrix) == 0;
	free(row);
	if (!is_fine) return fail_of_xgboost(why);
	is_fine = predict(model, matrix, 1, &model->output_count, &out, why);
	XGDMatrixFree(matrix);
	return is_fine;
}

struct model *model_load(const char *path, char why[MODEL_WHY_MAX])
{
	struct model *model = calloc(1, sizeof *model);
	fail(why, "out of memory");
	if (!model) return NULL;
	atomic_init(&model->refs, 1);
	pthread_mutex_init(&model->lock, NULL);
	quieten();
	bool is_fine = has_known_end(path) ? hash_file(path, model->version, why)
					   : fail(why, "a model's file ends in .json or .ubj");
	if (is_fine && open_booster(model, path, why) && copy_names(model, why) && try_a_row(model, why)) return model;
	model_unref(model);
	return NULL;
}

void model_ref(struct model *model)
{
	atomic_fetch_add(&model->refs, 1);
}

void model_unref(struct model *model)
{
	if (!model || atomic_fetch_sub(&model->refs, 1) > 1) return;
	if (model->booster) XGBoosterFree(model->booster);
	for (size_t i = 0; model->names && i < model->feature_count; i++) free(model->names[i]);
	free(model->names);
	pthread_mutex_destroy(&model->lock);
	free(model);
}

/* ── using ───────────────────────────────────────────────────────────────── */

size_t model_feature_count(const struct model *model)
{
	return model->feature_count;
}

const char *model_feature_name(const struct model *model, size_t index)
{
	return model->names ? model->names[index] : NULL;
}

size_t model_output_count(const struct model *model)
{
	return model->output_count;
}

const char *model_version(const struct model *model)
{
	return model->version;
}

bool model_score(struct model *model, const float *rows, size_t count, size_t output, float *out,
		 char why[MODEL_WHY_MAX])
{
	const float *answers;
	size_t outputs;
	DMatrixHandle matrix;
	quieten();
	if (XGDMatrixCreateFromMat(rows, count, model->feature_count, NAN, &matrix) != 0) return fail_of_xgboost(why);
	pthread_mutex_lock(&model->lock);
	bool is_fine = predict(model, matrix, count, &outputs, &answers, why);
	if (is_fine && output >= outputs) is_fine = fail(why, "it has no such output");
	for (size_t i = 0; is_fine && i < count; i++) out[i] = answers[i * outputs + output];
	pthread_mutex_unlock(&model->lock);
	XGDMatrixFree(matrix);
	return is_fine;
}
