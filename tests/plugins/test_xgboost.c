/* xgboost: models trained here with the library's own interface, records as destinations are handed them, and every way a model's file can be wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xgboost/c_api.h>

#include <cmocka.h>

#include "fake_host.h"

#define ROWS 400
#define A    "0000000000000000000000000000000a"
#define B    "0000000000000000000000000000000b"

/* ── a host that publishes ───────────────────────────────────────────────── */

static struct published {
	char json[1024], id[33];
	cdpd_publish_fn done;
	void *ctx;
} published[FAKE_MAX];
static size_t published_count;
static int publish_rc;

static int publish(struct cdpd_instance *fake, const struct cdpd_publication *from, cdpd_publish_fn done, void *ctx)
{
	(void)fake;
	if (publish_rc != CDPD_OK) return publish_rc;
	assert_true(published_count < FAKE_MAX && from->json.len < sizeof published[0].json);
	struct published *to = &published[published_count++];
	memset(to, 0, sizeof *to);
	memcpy(to->json, from->json.ptr, from->json.len);
	memcpy(to->id, from->profile_id.ptr, from->profile_id.len);
	to->done = done;
	to->ctx = ctx;
	return CDPD_OK;
}

/* ── models ──────────────────────────────────────────────────────────────── */

static char folder[256], path[320];
static int serial;

static void check(int rc)
{
	if (rc != 0) fail_msg("%s", XGBGetLastError());
}

/* What the models learn: more orders, more likely; `sign` -1: less likely; not known, likely. */
static BoosterHandle train(size_t width, float sign, const char *objective, const char *classes)
{
	static float rows[ROWS * 8], labels[ROWS];
	DMatrixHandle matrix;
	BoosterHandle booster;
	for (size_t i = 0; i < ROWS; i++) {
		for (size_t k = 0; k < width; k++) rows[i * width + k] = (float)((i * (k + 3)) % 17);
		if (i % 5 == 0) rows[i * width] = NAN;
		labels[i] = isnan(rows[i * width]) || sign * (rows[i * width] - 8) > 0 ? 1 : 0;
	}
	check(XGDMatrixCreateFromMat(rows, ROWS, width, NAN, &matrix));
	check(XGDMatrixSetFloatInfo(matrix, "label", labels, ROWS));
	check(XGBoosterCreate(&matrix, 1, &booster));
	check(XGBoosterSetParam(booster, "objective", objective));
	if (classes) check(XGBoosterSetParam(booster, "num_class", classes));
	check(XGBoosterSetParam(booster, "max_depth", "3"));
	check(XGBoosterSetParam(booster, "verbosity", "0"));
	check(XGBoosterSetParam(booster, "nthread", "1"));
	for (int i = 0; i < 5; i++) check(XGBoosterUpdateOneIter(booster, i, matrix));
	check(XGDMatrixFree(matrix));
	return booster;
}

/* Written beside and renamed, as whoever replaces a model should. */
static void save(BoosterHandle booster, const char *to)
{
	char beside[320];
	snprintf(beside, sizeof beside, "%s/new.json", folder);
	check(XGBoosterSaveModel(booster, beside));
	assert_int_equal(rename(beside, to), 0);
}

static void write_file(const char *to, const char *text, size_t len)
{
	FILE *file = fopen(to, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
}

static BoosterHandle churn; /* of the features orders, revenue and is_member */

static void name_features(BoosterHandle booster, const char *const *names, size_t count)
{
	check(XGBoosterSetStrFeatureInfo(booster, "feature_name", (const char **)(uintptr_t)names, count));
}

static float expect_score(BoosterHandle booster, const float *row, size_t width)
{
	DMatrixHandle matrix;
	const bst_ulong *shape;
	bst_ulong dimensions;
	const float *out;
	check(XGDMatrixCreateFromMat(row, 1, width, NAN, &matrix));
	check(XGBoosterPredictFromDMatrix(booster, matrix,
					  "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,"
					  "\"strict_shape\":true}",
					  &shape, &dimensions, &out));
	float score = out[0];
	check(XGDMatrixFree(matrix));
	return score;
}

/* ── the plugin ──────────────────────────────────────────────────────────── */

static struct cdpd_instance fake;

static int setup(void **state)
{
	(void)state;
	static struct cdpd_host table;
	static const char *const names[] = {"orders", "revenue", "is_member"};
	table = fake_host_table;
	table.publish = publish;
	fake_host = &table;
	published_count = 0;
	publish_rc = CDPD_OK;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof folder, "%s/cdpd-xgboost-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder)) return -1;
	snprintf(path, sizeof path, "%s/model%d.json", folder, serial++);
	churn = train(3, 1, "binary:logistic", NULL);
	name_features(churn, names, 3);
	save(churn, path);
	fake_open(&fake, "xgboost");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	char command[320];
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	check(XGBoosterFree(churn));
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static int create_with(const char *name, const char *text)
{
	const struct fake_option all[] = {{"model", path}, {"trait", "churn"}, {"reload", "10ms"}, {name, text}};
	int rc = fake_create(&fake, all, name ? 4 : 3);
	if (rc != CDPD_OK) fake.self = NULL;
	return rc;
}

static enum cdpd_verdict hand(const char *const *ids, const char *const *texts, size_t count, uint32_t flags)
{
	static struct cdpd_record records[FAKE_MAX];
	static char places[FAKE_MAX][16];
	static unsigned place;
	for (size_t i = 0; i < count; i++) {
		snprintf(places[i], sizeof places[i], "p%u", place++);
		records[i] = (struct cdpd_record){.size = sizeof records[i],
						  .kind = CDPD_RECORD_PROFILE,
						  .position = {places[i], strlen(places[i])},
						  .delivery_id = {places[i], strlen(places[i])},
						  .message_id = {"", 0},
						  .profile_id = {ids[i], strlen(ids[i])},
						  .json = {texts[i], strlen(texts[i])},
						  .attempt = 1,
						  .flags = flags,
						  .other_id = {"", 0}};
	}
	return fake_export(&fake, records, count);
}

static enum cdpd_verdict hand_one(const char *text)
{
	const char *id = A;
	return hand(&id, &text, 1, 0);
}

static void answer(size_t index, int error)
{
	published[index].done(published[index].ctx, error);
}

/* The score in the published event. */
static float score_of(size_t index)
{
	const char *at = strstr(published[index].json, "\"churn\":");
	assert_non_null(at);
	return strtof(at + 8, NULL);
}

/* ── what is scored ──────────────────────────────────────────────────────── */

static void test_a_score_is_what_the_model_says(void **state)
{
	(void)state;
	assert_int_equal(create_with("model_name", "leavers"), CDPD_OK);
	assert_int_equal(
	    hand_one("{\"type\":\"profile\",\"features\":{\"orders\":12,\"revenue\":3.5,\"is_member\":true,"
		     "\"other\":\"x\"}}"),
	    CDPD_PENDING);
	const float row[] = {12, 3.5F, 1};
	assert_int_equal(published_count, 1);
	assert_true(score_of(0) == expect_score(churn, row, 3));
	assert_string_equal(published[0].id, A);
	assert_non_null(strstr(published[0].json, "\"type\":\"identify\""));
	assert_non_null(strstr(published[0].json, "\"model\":{\"name\":\"leavers\",\"version\":\""));
	assert_false(fake.receipt.all.is_set);
	answer(0, CDPD_OK);
	assert_int_equal(fake.receipt.all.verdict, CDPD_ACK);
	assert_int_equal(fake_counted(&fake, "xgboost_written_total"), 1);
}

static void test_what_is_missing_is_nothing_and_no_zero(void **state)
{
	(void)state;
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":null,\"revenue\":\"7\",\"is_member\":false}}"),
			 CDPD_PENDING);
	const float row[] = {NAN, NAN, 0}, zeros[] = {0, 0, 0};
	assert_true(score_of(0) == expect_score(churn, row, 3));
	assert_true(score_of(0) != expect_score(churn, zeros, 3));
	assert_int_equal(fake_counted(&fake, "xgboost_missing_total"), 1);
	assert_int_equal(fake_counted(&fake, "xgboost_unreadable_total"), 1);
	answer(0, CDPD_OK);
}

static void test_the_columns_of_a_training_set(void **state)
{
	(void)state;
	static const char *const names[] = {"order.mean", "hours.2", "bought.G.32"};
	name_features(churn, names, 3);
	save(churn, path);
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"order\":{\"mean\":16},\"hours\":[4,5,13],"
				  "\"bought\":{\"keys\":{\"G\":{\"32\":1},\"G.32\":9}}}}"),
			 CDPD_PENDING);
	const float row[] = {16, 13, 9};
	assert_true(score_of(0) == expect_score(churn, row, 3));
	assert_int_equal(fake_counted(&fake, "xgboost_missing_total"), 0);
	answer(0, CDPD_OK);
}

static void test_only_what_moved_is_written(void **state)
{
	(void)state;
	assert_int_equal(create_with("min_change", "0.5"), CDPD_OK);
	const char *low = "{\"features\":{\"orders\":1,\"revenue\":1,\"is_member\":0}}";
	const char *near = "{\"features\":{\"orders\":2,\"revenue\":5,\"is_member\":0}}";
	const char *high = "{\"features\":{\"orders\":16,\"revenue\":1,\"is_member\":0}}";
	assert_int_equal(hand_one(low), CDPD_PENDING);
	answer(0, CDPD_OK);
	assert_int_equal(hand_one(low), CDPD_ACK);
	assert_int_equal(hand_one(near), CDPD_ACK);
	assert_int_equal(published_count, 1);
	assert_int_equal(fake_counted(&fake, "xgboost_unchanged_total"), 2);
	assert_int_equal(hand_one(high), CDPD_PENDING);
	assert_true(score_of(1) - score_of(0) >= 0.5F);
	answer(1, CDPD_OK);
}

static void test_what_the_record_knows_counts_after_a_restart(void **state)
{
	(void)state;
	char known[256];
	const float row[] = {1, 1, 0};
	snprintf(known, sizeof known,
		 "{\"features\":{\"orders\":1,\"revenue\":1,\"is_member\":0},\"traits\":{\"churn\":%.9g}}",
		 (double)expect_score(churn, row, 3));
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one(known), CDPD_ACK);
	assert_int_equal(published_count, 0);
	/* What was written since is nearer than what an older record says. */
	assert_int_equal(hand_one("{\"features\":{\"orders\":16}}"), CDPD_PENDING);
	answer(0, CDPD_OK);
	assert_int_equal(hand_one(known), CDPD_PENDING);
	assert_true(score_of(1) == expect_score(churn, row, 3));
	answer(1, CDPD_OK);
}

static void test_the_last_record_of_a_person_tells(void **state)
{
	(void)state;
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	const char *ids[] = {A, B, A};
	const char *texts[] = {"{\"features\":{\"orders\":16}}", "{\"features\":{\"orders\":16}}",
			       "{\"features\":{\"orders\":1}}"};
	assert_int_equal(hand(ids, texts, 3, 0), CDPD_PENDING);
	assert_int_equal(published_count, 2);
	assert_string_equal(published[0].id, B);
	assert_string_equal(published[1].id, A);
	assert_true(score_of(1) < score_of(0));
	assert_int_equal(fake.receipt.named[0].verdict, CDPD_ACK);
	answer(1, CDPD_OK);
	assert_false(fake.receipt.all.is_set);
	answer(0, CDPD_OK);
	assert_int_equal(fake.receipt.all.verdict, CDPD_ACK);
}

static void test_the_same_record_makes_the_same_event(void **state)
{
	(void)state;
	assert_int_equal(create_with("remember", "0"), CDPD_OK);
	struct cdpd_record record = {.size = sizeof record,
				     .kind = CDPD_RECORD_PROFILE,
				     .delivery_id = {"d", 1},
				     .profile_id = {A, 32},
				     .json = {"{\"features\":{\"orders\":1}}", 25}};
	for (size_t i = 0; i < 3; i++) {
		if (i == 2) record.delivery_id.ptr = "e";
		assert_int_equal(fake_export(&fake, &record, 1), CDPD_PENDING);
		answer(i, CDPD_OK);
	}
	assert_string_equal(published[0].json, published[1].json);
	assert_string_not_equal(published[0].json, published[2].json);
}

/* ── what is no score ────────────────────────────────────────────────────── */

static void test_records_that_are_no_person(void **state)
{
	(void)state;
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	const char *ids[] = {A, A, A, A};
	const char *texts[] = {"{\"type\":\"track\"}", "{\"type\":\"erased\",\"profileIds\":[]}",
			       "{\"type\":\"withdrawn\"}", "{"};
	assert_int_equal(hand(ids, texts, 4, 0), CDPD_ACK);
	assert_int_equal(fake.receipt.named[0].verdict, CDPD_DROP);
	assert_non_null(strstr(fake.receipt.named[0].reason, "records: [profiles]"));
	assert_int_equal(fake.receipt.named[1].verdict, CDPD_ACK);
	assert_int_equal(fake.receipt.named[2].verdict, CDPD_ACK);
	assert_int_equal(fake.receipt.named[3].verdict, CDPD_DROP);
	const char *gone = "{\"type\":\"profile\",\"gone\":\"merged\"}";
	assert_int_equal(hand(ids, &gone, 1, CDPD_RECORD_GONE), CDPD_ACK);
	assert_int_equal(fake.receipt.named[0].verdict, CDPD_ACK);
	assert_int_equal(published_count, 0);
}

static void test_who_is_gone_is_forgotten(void **state)
{
	(void)state;
	const char *id = A, *gone = "{\"type\":\"profile\",\"gone\":\"split\"}";
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":1}}"), CDPD_PENDING);
	answer(0, CDPD_OK);
	assert_int_equal(hand(&id, &gone, 1, CDPD_RECORD_GONE), CDPD_ACK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":1}}"), CDPD_PENDING);
	answer(1, CDPD_OK);
}

static void test_what_becomes_of_a_score_decides(void **state)
{
	(void)state;
	static const struct {
		int error;
		bool is_named;
		enum cdpd_verdict verdict;
	} cases[] = {{CDPD_ERR_BUSY, true, CDPD_RETRY},
		     {CDPD_ERR_IO, true, CDPD_RETRY},
		     {CDPD_ERR_INVALID, true, CDPD_DROP},
		     {CDPD_ERR_NOT_FOUND, false, CDPD_ACK}};
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(hand_one("{\"features\":{\"orders\":1}}"), CDPD_PENDING);
		answer(i, cases[i].error);
		assert_int_equal(fake.receipt.all.verdict, CDPD_ACK);
		assert_int_equal(fake.receipt.named[0].is_set, cases[i].is_named);
		if (cases[i].is_named) assert_int_equal(fake.receipt.named[0].verdict, cases[i].verdict);
	}
	assert_int_equal(published_count, 4); /* nothing was remembered */
	publish_rc = CDPD_ERR_BUSY;
	assert_int_equal(hand_one("{\"features\":{\"orders\":1}}"), CDPD_ACK);
	assert_int_equal(fake.receipt.named[0].verdict, CDPD_RETRY);
}

static void test_the_end_comes_while_scores_are_under_way(void **state)
{
	(void)state;
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":1}}"), CDPD_PENDING);
	answer(0, CDPD_ERR_IO); /* the host's promise before destroy */
	fake_destroy(&fake);
	fake.self = NULL;
}

/* ── models that do not fit ──────────────────────────────────────────────── */

static void refused(const char *name, const char *text, const char *why)
{
	assert_int_equal(create_with(name, text), CDPD_ERR_INVALID);
	if (!fake_has_logged(&fake, why)) fail_msg("'%s' does not say '%s'", fake.log, why);
}

static void test_options_that_do_not_fit_the_model(void **state)
{
	(void)state;
	refused("features", "orders,revenue", "'features' names 2, the model takes 3");
	refused("features", "revenue,orders,is_member", "has 'revenue' in place 1, where the model has 'orders'");
	refused("output", "1", "there is none with number 1");
	assert_int_equal(create_with("features", "orders,revenue,is_member"), CDPD_OK);
}

static void test_a_model_without_names_needs_them(void **state)
{
	(void)state;
	BoosterHandle plain = train(2, 1, "binary:logistic", NULL);
	save(plain, path);
	refused(NULL, NULL, "say them, in its order, with 'features'");
	assert_int_equal(create_with("features", "a,b"), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"a\":12,\"b\":2}}"), CDPD_PENDING);
	const float row[] = {12, 2};
	assert_true(score_of(0) == expect_score(plain, row, 2));
	answer(0, CDPD_OK);
	check(XGBoosterFree(plain));
}

static void test_several_outputs(void **state)
{
	(void)state;
	BoosterHandle classes = train(2, 1, "multi:softprob", "3");
	save(classes, path);
	const struct fake_option without[] = {{"model", path}, {"trait", "churn"}, {"features", "a,b"}};
	assert_int_equal(fake_create(&fake, without, 3), CDPD_ERR_INVALID);
	assert_true(fake_has_logged(&fake, "the model has 3 outputs: say which one with 'output' (0 to 2)"));
	float sum = 0;
	for (int i = 0; i < 3; i++) {
		char number[4];
		snprintf(number, sizeof number, "%d", i);
		const struct fake_option with[] = {
		    {"model", path}, {"trait", "churn"}, {"features", "a,b"}, {"output", number}};
		assert_int_equal(fake_create(&fake, with, 4), CDPD_OK);
		assert_int_equal(hand_one("{\"features\":{\"a\":12,\"b\":2}}"), CDPD_PENDING);
		sum += score_of((size_t)i);
		answer((size_t)i, CDPD_OK);
		fake_destroy(&fake);
	}
	fake.self = NULL;
	assert_true(fabsf(sum - 1) < 1e-5F);
	check(XGBoosterFree(classes));
}

static char *read_file(size_t *len)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	*len = (size_t)st.st_size;
	char *text = malloc(*len);
	FILE *file = fopen(path, "rb");
	assert_non_null(text);
	assert_non_null(file);
	assert_int_equal(fread(text, 1, *len, file), *len);
	fclose(file);
	return text;
}

static void test_files_that_are_no_model(void **state)
{
	(void)state;
	size_t len;
	char *whole = read_file(&len), other[320];
	for (size_t i = 0; i < 12; i++) {
		write_file(path, whole, len * i / 12);
		refused(NULL, NULL, "model: ");
	}
	write_file(path, "{}", 2);
	refused(NULL, NULL, "model: ");
	write_file(path, "{\"learner\":{},\"version\":[1,7,4]}", 32);
	refused(NULL, NULL, "model: ");
	assert_int_equal(unlink(path), 0);
	refused(NULL, NULL, "No such file");
	snprintf(other, sizeof other, "%s/model.bin", folder);
	write_file(other, whole, len);
	snprintf(path, sizeof path, "%s", other);
	refused(NULL, NULL, "a model's file ends in .json or .ubj");
	free(whole);
}

static void test_the_binary_form(void **state)
{
	(void)state;
	char binary[320];
	snprintf(binary, sizeof binary, "%s/model%d.ubj", folder, serial);
	check(XGBoosterSaveModel(churn, binary));
	snprintf(path, sizeof path, "%s", binary);
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":12,\"revenue\":3.5,\"is_member\":true}}"), CDPD_PENDING);
	const float row[] = {12, 3.5F, 1};
	assert_true(score_of(0) == expect_score(churn, row, 3));
	answer(0, CDPD_OK);
}

/* ── a file that changes ─────────────────────────────────────────────────── */

/* Hands a record over until the counter has come to `count`; what is published meanwhile is durable. */
static void wait_for(const char *counter, uint64_t count)
{
	for (int i = 0; i < 12000 && fake_counted(&fake, counter) < count; i++) {
		published_count = 0;
		if (hand_one("{\"features\":{\"orders\":12,\"revenue\":1,\"is_member\":0}}") == CDPD_PENDING)
			answer(0, CDPD_OK);
		usleep(5000);
	}
	assert_int_equal(fake_counted(&fake, counter), count);
}

static void test_a_new_model_is_taken(void **state)
{
	(void)state;
	static const char *const names[] = {"orders", "revenue", "is_member"};
	const float row[] = {12, 1, 0};
	BoosterHandle other = train(3, -1, "binary:logistic", NULL);
	name_features(other, names, 3);
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":12,\"revenue\":1,\"is_member\":0}}"), CDPD_PENDING);
	answer(0, CDPD_OK);
	float before = score_of(0);
	save(other, path);
	wait_for("xgboost_reloads_total", 1);
	assert_int_equal(published_count, 1); /* the wait's last record was scored anew */
	assert_true(score_of(0) == expect_score(other, row, 3));
	assert_true(score_of(0) != before);
	check(XGBoosterFree(other));
}

/* The same score by another model is told again: beside it stands who said it. */
static void test_a_new_version_is_told(void **state)
{
	(void)state;
	assert_int_equal(create_with(NULL, NULL), CDPD_OK);
	assert_int_equal(hand_one("{\"features\":{\"orders\":12,\"revenue\":1,\"is_member\":0}}"), CDPD_PENDING);
	answer(0, CDPD_OK);
	float before = score_of(0);
	check(XGBoosterSetAttr(churn, "note", "the same trees"));
	save(churn, path);
	wait_for("xgboost_reloads_total", 1);
	assert_int_equal(published_count, 1);
	assert_true(score_of(0) == before);
}

static void test_a_broken_new_model_leaves_the_old_one(void **state)
{
	(void)state;
	size_t len;
	const float row[] = {12, 1, 0};
	float expected = expect_score(churn, row, 3);
	char *whole = read_file(&len);
	assert_int_equal(create_with("min_change", "0"), CDPD_OK);
	write_file(path, whole, len / 2);
	wait_for("xgboost_reload_failures_total", 1);
	BoosterHandle narrow = train(2, 1, "binary:logistic", NULL);
	save(narrow, path);
	wait_for("xgboost_reload_failures_total", 2);
	check(XGBoosterFree(narrow));
	published_count = 0;
	const char *id = B, *text = "{\"features\":{\"orders\":12,\"revenue\":1,\"is_member\":0}}";
	assert_int_equal(hand(&id, &text, 1, 0), CDPD_PENDING);
	assert_true(score_of(0) == expected);
	answer(0, CDPD_OK);
	assert_int_equal(fake_counted(&fake, "xgboost_reloads_total"), 0);
	free(whole);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_score_is_what_the_model_says),
	    TEST(test_what_is_missing_is_nothing_and_no_zero),
	    TEST(test_the_columns_of_a_training_set),
	    TEST(test_only_what_moved_is_written),
	    TEST(test_what_the_record_knows_counts_after_a_restart),
	    TEST(test_the_last_record_of_a_person_tells),
	    TEST(test_the_same_record_makes_the_same_event),
	    TEST(test_records_that_are_no_person),
	    TEST(test_who_is_gone_is_forgotten),
	    TEST(test_what_becomes_of_a_score_decides),
	    TEST(test_the_end_comes_while_scores_are_under_way),
	    TEST(test_options_that_do_not_fit_the_model),
	    TEST(test_a_model_without_names_needs_them),
	    TEST(test_several_outputs),
	    TEST(test_files_that_are_no_model),
	    TEST(test_the_binary_form),
	    TEST(test_a_new_model_is_taken),
	    TEST(test_a_new_version_is_told),
	    TEST(test_a_broken_new_model_leaves_the_old_one),
	};
	return cmocka_run_group_tests_name("xgboost", tests, NULL, NULL);
}
