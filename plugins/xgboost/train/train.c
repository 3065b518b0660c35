/* xgboost-train: a model of a training set, with XGBoost's own interface. Small on purpose: an example that is run by the tests, and a start.
 *
 *	xgboost-train [--rounds N] [--depth N] [--holdout SHARE] SET.csv MODEL.json
 *	xgboost-train --predict MODEL.json ROWS.csv
 *
 * SET.csv is what `cdpctl export training-set` writes: profile_id, point_time, label, and a column for each feature. People are held out whole: who
 * is trained on is not tested on. The second form writes a score for each row. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>

#define COLUMNS_MAX 4096

struct set {
	char *header;                   /* what the names point into */
	const char *names[COLUMNS_MAX]; /* of features */
	int feature[COLUMNS_MAX];       /* of each column: index of the feature; -1: none */
	size_t column_count, width, count, room;
	int label_column; /* -1: there is none */
	float *values, *labels;
	bool *is_held_out;
};

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "xgboost-train: %s: %s\n", what, why);
	exit(1);
}

static void check(int rc)
{
	if (rc != 0) die("xgboost", XGBGetLastError());
}

static void *or_die(void *memory)
{
	if (!memory) die("memory", "there is not enough");
	return memory;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

/* Splits off the next cell in place; quotes are taken away. NULL: the line is over. */
static char *next_cell(char **rest)
{
	char *cell = *rest, *to = cell, *at = cell;
	if (!cell) return NULL;
	bool is_quoted = *at == '"';
	if (is_quoted) at++;
	for (; *at && (is_quoted || *at != ','); at++) {
		if (is_quoted && *at == '"' && *++at != '"') is_quoted = false;
		if (!*at || (!is_quoted && *at == ',')) break;
		*to++ = *at;
	}
	*rest = *at == ',' ? at + 1 : NULL;
	*to = '\0';
	return cell;
}

static bool is_feature(const char *name)
{
	static const char *const others[] = {"profile_id", "point_time", "label", "since"};
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (strcmp(name, others[i]) == 0) return false;
	return true;
}

static void read_header(struct set *set, const char *line, const char *path)
{
	char *rest = set->header = or_die(strdup(line)), *name;
	set->label_column = -1;
	while ((name = next_cell(&rest)) != NULL) {
		if (set->column_count == COLUMNS_MAX) die(path, "too many columns");
		bool is_one = is_feature(name);
		if (strcmp(name, "label") == 0) set->label_column = (int)set->column_count;
		set->feature[set->column_count++] = is_one ? (int)set->width : -1;
		if (is_one) set->names[set->width++] = name;
	}
	if (set->width == 0) die(path, "there is no column of a feature");
}

/* As the daemon's plugin reads them: true is 1, what is no number is missing. */
static float value_of(const char *cell)
{
	char *end;
	if (strcmp(cell, "true") == 0) return 1;
	if (strcmp(cell, "false") == 0) return 0;
	double value = strtod(cell, &end);
	return *cell && *end == '\0' ? (float)value : NAN;
}

/* By the person's id, which is a hash already: the same people every time. */
static bool is_held_out(const char *id, double share)
{
	char digits[9] = "";
	(void)strncat(digits, id, 8);
	return (double)strtoul(digits, NULL, 16) / 4294967296.0 < share;
}

static void grow(struct set *set)
{
	if (set->count < set->room) return;
	set->room = set->room ? 2 * set->room : 1024;
	set->values = or_die(realloc(set->values, set->room * set->width * sizeof *set->values));
	set->labels = or_die(realloc(set->labels, set->room * sizeof *set->labels));
	set->is_held_out = or_die(realloc(set->is_held_out, set->room * sizeof *set->is_held_out));
}

static void read_row(struct set *set, char *line, double holdout)
{
	char *rest = line, *cell;
	grow(set);
	float *row = set->values + set->count * set->width;
	for (size_t i = 0; i < set->width; i++) row[i] = NAN;
	set->labels[set->count] = NAN;
	set->is_held_out[set->count] = false;
	for (size_t i = 0; i < set->column_count && (cell = next_cell(&rest)) != NULL; i++) {
		if (set->feature[i] >= 0) row[set->feature[i]] = value_of(cell);
		if ((int)i == set->label_column) set->labels[set->count] = value_of(cell);
		if (i == 0) set->is_held_out[set->count] = is_held_out(cell, holdout);
	}
	set->count++;
}

static void read_set(struct set *set, const char *path, double holdout)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *file = fopen(path, "r");
	if (!file) die(path, strerror(errno));
	while ((len = getline(&line, &size, file)) > 0) {
		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) line[--len] = '\0';
		if (!set->header)
			read_header(set, line, path);
		else if (len > 0)
			read_row(set, line, holdout);
	}
	free(line);
	(void)fclose(file);
	if (!set->header) die(path, "it is empty");
}

static void free_set(struct set *set)
{
	free(set->header);
	free(set->values);
	free(set->labels);
	free(set->is_held_out);
}

/* ── XGBoost ─────────────────────────────────────────────────────────────── */

/* The rows that are held out, or the others; *labels of them in order. */
static DMatrixHandle matrix_of(const struct set *set, bool held_out, float **labels, size_t *count)
{
	DMatrixHandle matrix;
	float *values = or_die(malloc((set->count + 1) * set->width * sizeof *values));
	*labels = or_die(malloc((set->count + 1) * sizeof **labels));
	*count = 0;
	for (size_t i = 0; i < set->count; i++) {
		if (set->is_held_out[i] != held_out) continue;
		memcpy(values + *count * set->width, set->values + i * set->width, set->width * sizeof *values);
		(*labels)[(*count)++] = set->labels[i];
	}
	if (*count == 0) die("the set", held_out ? "nobody was held out" : "there is nobody to train on");
	check(XGDMatrixCreateFromMat(values, *count, set->width, NAN, &matrix));
	free(values);
	return matrix;
}

static const float *predict(BoosterHandle booster, DMatrixHandle matrix)
{
	static const char config[] =
	    "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"strict_"
	    "shape\":true}";
	const bst_ulong *shape;
	bst_ulong dimensions;
	const float *out;
	check(XGBoosterPredictFromDMatrix(booster, matrix, config, &shape, &dimensions, &out));
	return out;
}

/* The share of pairs of one who did and one who did not in which the former has the higher score. */
static double area_under_curve(const float *scores, const float *labels, size_t count)
{
	double won = 0, pairs = 0;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < count && labels[i] > 0; k++) {
			if (labels[k] > 0) continue;
			pairs++;
			won += scores[i] > scores[k] ? 1 : scores[i] == scores[k] ? 0.5 : 0;
		}
	}
	return pairs > 0 ? won / pairs : NAN;
}

struct training {
	int rounds;
	const char *depth;
	double holdout;
};

static BoosterHandle train(const struct set *set, const struct training *how)
{
	static const char *const parameters[][2] = {{"objective", "binary:logistic"},
						    {"eta", "0.2"},
						    {"seed", "7"},
						    {"base_score", "0.5"},
						    {"nthread", "1"},
						    {"verbosity", "0"}};
	float *labels;
	size_t count;
	BoosterHandle booster;
	DMatrixHandle matrix = matrix_of(set, false, &labels, &count);
	check(XGDMatrixSetFloatInfo(matrix, "label", labels, count));
	check(XGBoosterCreate(&matrix, 1, &booster));
	for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
		check(XGBoosterSetParam(booster, parameters[i][0], parameters[i][1]));
	check(XGBoosterSetParam(booster, "max_depth", how->depth));
	/* So that the file says which number goes where. */
	check(XGBoosterSetStrFeatureInfo(booster, "feature_name", (const char **)(uintptr_t)set->names, set->width));
	for (int i = 0; i < how->rounds; i++) check(XGBoosterUpdateOneIter(booster, i, matrix));
	check(XGDMatrixFree(matrix));
	(void)printf("trained on %zu rows of %zu features\n", count, set->width);
	free(labels);
	return booster;
}

static void judge(BoosterHandle booster, const struct set *set)
{
	float *labels;
	size_t count, positives = 0;
	DMatrixHandle matrix = matrix_of(set, true, &labels, &count);
	for (size_t i = 0; i < count; i++) positives += labels[i] > 0;
	(void)printf("held out: %zu rows, %zu of them with a label, AUC %.3f\n", count, positives,
		     area_under_curve(predict(booster, matrix), labels, count));
	check(XGDMatrixFree(matrix));
	free(labels);
}

static int run_training(const char *set_path, const char *model_path, const struct training *how)
{
	char beside[4096];
	struct set set = {0};
	const char *dot = strrchr(model_path, '.');
	read_set(&set, set_path, how->holdout);
	if (set.label_column < 0) die(set_path, "there is no column 'label'");
	BoosterHandle booster = train(&set, how);
	if (how->holdout > 0) judge(booster, &set);
	/* Whoever watches the file never sees half of it. */
	(void)snprintf(beside, sizeof beside, "%s.new%s", model_path, dot ? dot : ".json");
	check(XGBoosterSaveModel(booster, beside));
	if (rename(beside, model_path) != 0) die(model_path, strerror(errno));
	check(XGBoosterFree(booster));
	free_set(&set);
	return 0;
}

static int run_prediction(const char *model_path, const char *rows_path)
{
	float *labels;
	size_t count;
	BoosterHandle booster;
	struct set set = {0};
	read_set(&set, rows_path, 0);
	check(XGBoosterCreate(NULL, 0, &booster));
	check(XGBoosterLoadModel(booster, model_path));
	DMatrixHandle matrix = matrix_of(&set, false, &labels, &count);
	const float *scores = predict(booster, matrix);
	for (size_t i = 0; i < count; i++) (void)printf("%.9g\n", (double)scores[i]);
	check(XGDMatrixFree(matrix));
	check(XGBoosterFree(booster));
	free(labels);
	free_set(&set);
	return 0;
}

static int usage(void)
{
	(void)fputs("usage: xgboost-train [--rounds N] [--depth N] [--holdout SHARE] SET.csv MODEL.json\n"
		    "       xgboost-train --predict MODEL.json ROWS.csv\n",
		    stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
						{"depth", required_argument, NULL, 'd'},
						{"holdout", required_argument, NULL, 'h'},
						{"predict", no_argument, NULL, 'p'},
						{NULL, 0, NULL, 0}};
	struct training how = {.rounds = 50, .depth = "3", .holdout = 0.25};
	bool predicts = false;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case 'r': how.rounds = atoi(optarg); break;
		case 'd': how.depth = optarg; break;
		case 'h': how.holdout = strtod(optarg, NULL); break;
		case 'p': predicts = true; break;
		default: return usage();
		}
	}
	if (argc - optind != 2 || how.rounds < 1 || !(how.holdout >= 0 && how.holdout < 1)) return usage();
	check(XGBSetGlobalConfig("{\"verbosity\":0}"));
	return predicts ? run_prediction(argv[optind], argv[optind + 1])
			: run_training(argv[optind], argv[optind + 1], &how);
}
