/* xgboost: an exporter that gives nothing away: it scores people by a model of XGBoost's as their features change, and hands each score that moved back
 * as an inferred trait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shared/watched.h"
#include "scoring.h"

#define FEATURES_MAX 4096

/* ── the model's file ────────────────────────────────────────────────────── */

_Static_assert(WATCHED_WHY_MAX >= MODEL_WHY_MAX, "a text of the model's fits");

static void *load(const char *path, char why[WATCHED_WHY_MAX])
{
	return model_load(path, why);
}

static void unload(void *object)
{
	model_unref(object);
}

static const struct watched_kind kind = {load, unload};

/* Does the model take what the options say? */
static bool fits(const struct scorer *scorer, const struct model *model, char why[MODEL_WHY_MAX])
{
	size_t takes = model_feature_count(model), outputs = model_output_count(model);
	if (!scorer->features && !model_feature_name(model, 0)) {
		snprintf(why, MODEL_WHY_MAX, "the model has no feature names: say them, in its order, with 'features'");
		return false;
	}
	if (scorer->features && scorer->feature_count != takes) {
		snprintf(why, MODEL_WHY_MAX, "'features' names %zu, the model takes %zu", scorer->feature_count, takes);
		return false;
	}
	for (size_t i = 0; scorer->features && i < takes; i++) {
		const char *own = model_feature_name(model, i);
		if (!own || strcmp(own, scorer->features[i]) == 0) continue;
		snprintf(why, MODEL_WHY_MAX, "'features' has '%.100s' in place %zu, where the model has '%.100s'",
			 scorer->features[i], i + 1, own);
		return false;
	}
	if (scorer->output < 0 && outputs > 1) {
		snprintf(why, MODEL_WHY_MAX, "the model has %zu outputs: say which one with 'output' (0 to %zu)",
			 outputs, outputs - 1);
		return false;
	}
	if (scorer->output >= 0 && (size_t)scorer->output >= outputs) {
		snprintf(why, MODEL_WHY_MAX, "the model has %zu outputs, there is none with number %lld", outputs,
			 (long long)scorer->output);
		return false;
	}
	return true;
}

static void take(struct scorer *scorer, struct model *model)
{
	model_ref(model);
	model_unref(scorer->model);
	scorer->model = model;
	scorer->generation++;
}

void scorer_look_for_model(struct scorer *scorer)
{
	char why[MODEL_WHY_MAX];
	int is_new;
	struct model *model = (struct model *)watched_get(scorer->reader, &is_new);
	if (!is_new) return;
	bool is_fine = fits(scorer, model, why);
	scorer->host->count(scorer->instance, is_fine ? scorer->reloads : scorer->failures, 1);
	if (!is_fine) {
		scorer->host->log(scorer->instance, CDPD_LOG_WARN,
				  "the model has changed and cannot be used, the old one stays (%s)", why);
		return;
	}
	take(scorer, model);
	scorer->host->log(scorer->instance, CDPD_LOG_INFO, "the model has changed, version %s is used",
			  scorer->model_version[0] ? scorer->model_version : model_version(model));
}

/* On the watching thread. What could be loaded is looked at with the next batch. */
static void on_news(void *ctx, enum watched_news news, const char *path, const char *why)
{
	struct scorer *scorer = ctx;
	if (news == WATCHED_LOADED) return;
	scorer->host->count(scorer->instance, scorer->failures, 1);
	scorer->host->log(scorer->instance, CDPD_LOG_WARN, "%s has changed and cannot be used, the old one stays (%s)",
			  path, why);
}

/* ── life ────────────────────────────────────────────────────────────────── */

static enum cdpd_verdict export_batch(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	return scoring_run(self, batch, receipt);
}

static void destroy(void *ctx)
{
	struct scorer *scorer = ctx;
	if (scorer->reader) watched_close(scorer->reader);
	model_unref(scorer->model);
	last_free(scorer->last);
	for (size_t i = 0; scorer->features && i < scorer->feature_count; i++) free(scorer->features[i]);
	free(scorer->features);
	free(scorer->trait);
	free(scorer->model_name);
	free(scorer->model_version);
	free(scorer);
}

static char *copy(struct cdpd_str text)
{
	return strndup(text.ptr, text.len);
}

static int refuse(const struct scorer *scorer, const char *option, const char *why)
{
	scorer->host->log(scorer->instance, CDPD_LOG_ERROR, "%s: %s", option, why);
	return CDPD_ERR_INVALID;
}

static int read_features(struct scorer *scorer, const struct cdpd_conf *conf)
{
	size_t count = scorer->host->conf_count(conf, "features");
	if (count == 0) return CDPD_OK;
	scorer->features = calloc(count, sizeof *scorer->features);
	if (!scorer->features) return CDPD_ERR_NOMEM;
	for (; scorer->feature_count < count; scorer->feature_count++) {
		char *name = copy(scorer->host->conf_item(conf, "features", scorer->feature_count));
		if (!name) return CDPD_ERR_NOMEM;
		scorer->features[scorer->feature_count] = name;
	}
	return CDPD_OK;
}

static int read_options(struct scorer *scorer, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = scorer->host;
	struct cdpd_str name = host->conf_text(conf, "model_name");
	scorer->trait = copy(host->conf_text(conf, "trait"));
	scorer->model_name = copy(name.len ? name : host->conf_text(conf, "trait"));
	scorer->model_version = copy(host->conf_text(conf, "model_version"));
	scorer->min_change = host->conf_float(conf, "min_change");
	scorer->output = host->conf_int(conf, "output");
	scorer->last = last_new((size_t)host->conf_int(conf, "remember"));
	if (!scorer->trait || !scorer->model_name || !scorer->model_version || !scorer->last) return CDPD_ERR_NOMEM;
	return read_features(scorer, conf);
}

static int open_model(struct scorer *scorer, const struct cdpd_conf *conf)
{
	char why[WATCHED_WHY_MAX], text[WATCHED_WHY_MAX + 200];
	int is_new;
	char *path = copy(scorer->host->conf_text(conf, "model"));
	if (!path) return CDPD_ERR_NOMEM;
	scorer->reader = watched_open(&kind, path, scorer->host->conf_int(conf, "reload") / 1000, on_news, scorer, why);
	snprintf(text, sizeof text, "'%.190s' %s", path, why);
	free(path);
	if (!scorer->reader) return refuse(scorer, "model", text);
	struct model *model = (struct model *)watched_get(scorer->reader, &is_new);
	if (!fits(scorer, model, why)) return refuse(scorer, "model", why);
	take(scorer, model);
	scorer->host->log(scorer->instance, CDPD_LOG_INFO, "scores with %s, version %s, %zu features",
			  scorer->model_name, scorer->model_version[0] ? scorer->model_version : model_version(model),
			  model_feature_count(model));
	return CDPD_OK;
}

static void make_metrics(struct scorer *scorer)
{
	const struct cdpd_host *host = scorer->host;
	struct cdpd_instance *instance = scorer->instance;
	scorer->scored = host->counter(instance, "xgboost_scored_total", "People scored.");
	scorer->published = host->counter(instance, "xgboost_written_total", "Scores written as a trait.");
	scorer->unchanged =
	    host->counter(instance, "xgboost_unchanged_total", "Scores that moved too little to be written.");
	scorer->missing = host->counter(instance, "xgboost_missing_total", "Features that a person did not have.");
	scorer->unreadable = host->counter(instance, "xgboost_unreadable_total",
					   "Features that were no numbers: texts, lists, objects.");
	scorer->refused = host->counter(instance, "xgboost_refused_total", "Scores that ingest refused.");
	scorer->reloads = host->counter(instance, "xgboost_reloads_total", "Models that changed and were taken.");
	scorer->failures = host->counter(instance, "xgboost_reload_failures_total",
					 "Models that changed and could not be used; the old ones stay.");
	scorer->seconds = host->histogram(instance, "xgboost_batch_seconds", "Time the model takes for one batch.");
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	if (!CDPD_HAS(host, publish)) {
		host->log(instance, CDPD_LOG_ERROR, "scores cannot be handed back from here: it cannot be isolated");
		return CDPD_ERR_UNSUPPORTED;
	}
	struct scorer *scorer = calloc(1, sizeof *scorer);
	if (!scorer) return CDPD_ERR_NOMEM;
	scorer->host = host;
	scorer->instance = instance;
	make_metrics(scorer);
	int rc = read_options(scorer, conf);
	if (rc == CDPD_OK) rc = open_model(scorer, conf);
	if (rc != CDPD_OK) {
		destroy(scorer);
		return rc;
	}
	*out = scorer;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {
	.name = "model",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 4095,
	.help = "the file that XGBoost saved: .json or .ubj",
    },
    {
	.name = "trait",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 255,
	.help = "the trait that is the score",
    },
    {
	.name = "features",
	.type = CDPD_OPTION_LIST,
	.min = 1,
	.max = FEATURES_MAX,
	.help = "names of the features in the model's order; none: as the model's file has them",
    },
    {
	.name = "model_name",
	.type = CDPD_OPTION_STRING,
	.default_text = "",
	.max = 64,
	.help = "what the model is called beside the score; none: like the trait",
    },
    {
	.name = "model_version",
	.type = CDPD_OPTION_STRING,
	.default_text = "",
	.max = 64,
	.help = "its version beside the score; none: the first digits of the file's SHA-256",
    },
    {
	.name = "min_change",
	.type = CDPD_OPTION_FLOAT,
	.default_text = "0",
	.max = 1e9,
	.help = "a score that moved less than this is not written",
    },
    {
	.name = "output",
	.type = CDPD_OPTION_INT,
	.default_text = "-1",
	.min = -1,
	.max = 100000,
	.help = "which output of a model that has several, such as a class; -1: the only one",
    },
    {
	.name = "remember",
	.type = CDPD_OPTION_INT,
	.default_text = "100000",
	.max = 50e6,
	.help = "of so many people the last score is kept in memory, 36 bytes each",
    },
    {
	.name = "reload",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 10e3,
	.max = 86400e6,
	.help = "how often the file is looked at; a changed one is used without a restart",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4, /* publish, profile records */
    .name = "xgboost",
    .version = "1.0.0",
    .summary = "scores people by a model of XGBoost's as their features change",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
