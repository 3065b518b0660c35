#include "scoring.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUSY_RETRY_MS 500

#define NO_FEATURES \
	"the record has no object 'features': say records: [profiles], or mapping: {features: $profile.features}"

/* ── from records to rows ────────────────────────────────────────────────── */

static int digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_id(struct cdpd_str text, uint8_t id[LAST_ID_SIZE])
{
	if (text.len != ID_TEXT) return false;
	for (size_t i = 0; i < LAST_ID_SIZE; i++) {
		int high = digit(text.ptr[2 * i]), low = digit(text.ptr[2 * i + 1]);
		if (high < 0 || low < 0) return false;
		id[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void settle(struct scoring *scoring, size_t index, enum cdpd_verdict verdict, const char *reason)
{
	const struct cdpd_host *host = scoring->scorer->host;
	(void)host->receipt_set(scoring->receipt, index, verdict, verdict == CDPD_RETRY ? BUSY_RETRY_MS : 0, reason);
}

static bool is_notice(const json_t *root)
{
	const char *type = json_string_value(json_object_get(root, "type"));
	return type && (strcmp(type, "erased") == 0 || strcmp(type, "withdrawn") == 0);
}

static void read_features(struct scoring *scoring, size_t index, const json_t *features)
{
	struct scorer *scorer = scoring->scorer;
	struct row_counts counts = {0, 0};
	size_t width = model_feature_count(scorer->model);
	for (size_t i = 0; i < width; i++)
		scoring->rows[index * width + i] = row_value(features, scorer_feature(scorer, i), &counts);
	scorer->host->count(scorer->instance, scorer->missing, counts.missing);
	scorer->host->count(scorer->instance, scorer->unreadable, counts.unreadable);
}

static void read_json(struct scoring *scoring, size_t index, const json_t *root)
{
	struct person *person = &scoring->people[index];
	const json_t *features = json_object_get(root, "features");
	const json_t *known = json_object_get(json_object_get(root, "traits"), scoring->scorer->trait);
	if (!json_is_object(features)) {
		settle(scoring, index, is_notice(root) ? CDPD_ACK : CDPD_DROP, is_notice(root) ? NULL : NO_FEATURES);
		return;
	}
	person->is_scored = true;
	person->has_known = json_is_number(known);
	person->known = json_number_value(known);
	read_features(scoring, index, features);
}

static void read_record(struct scoring *scoring, size_t index)
{
	struct person *person = &scoring->people[index];
	const struct cdpd_record *record = &person->record;
	if (record->kind == CDPD_RECORD_CHANGE || !read_id(record->profile_id, person->id)) {
		settle(scoring, index, CDPD_ACK, NULL);
		return;
	}
	if (record->flags & CDPD_RECORD_GONE) {
		last_drop(scoring->scorer->last, person->id);
		settle(scoring, index, CDPD_ACK, NULL);
		return;
	}
	json_t *root = json_loadb(record->json.ptr, record->json.len, 0, NULL);
	if (root)
		read_json(scoring, index, root);
	else
		settle(scoring, index, CDPD_DROP, "the record is no JSON object");
	json_decref(root);
}

/* Of several records of one person the last one tells. */
static void pass_over_older(struct scoring *scoring)
{
	for (size_t i = 0; i < scoring->count; i++) {
		struct person *older = &scoring->people[i];
		bool is_last = true;
		for (size_t k = i + 1; k < scoring->count && older->is_scored && is_last; k++)
			is_last = !scoring->people[k].is_scored ||
				  memcmp(scoring->people[k].id, older->id, LAST_ID_SIZE) != 0;
		if (is_last) continue;
		older->is_scored = false;
		settle(scoring, i, CDPD_ACK, NULL);
	}
}

/* The rows of those that are scored, together at the front; their count. */
static size_t gather_rows(struct scoring *scoring)
{
	size_t width = model_feature_count(scoring->scorer->model), count = 0;
	for (size_t i = 0; i < scoring->count; i++) {
		if (!scoring->people[i].is_scored) continue;
		memmove(scoring->rows + count++ * width, scoring->rows + i * width, width * sizeof *scoring->rows);
	}
	return count;
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool score(struct scoring *scoring)
{
	struct scorer *scorer = scoring->scorer;
	char why[MODEL_WHY_MAX];
	size_t count = gather_rows(scoring), at = 0;
	size_t output = scorer->output < 0 ? 0 : (size_t)scorer->output;
	int64_t began = now_us();
	if (count == 0) return true;
	float *out = malloc(count * sizeof *out);
	if (!out || !model_score(scorer->model, scoring->rows, count, output, out, why)) {
		scorer->host->log(scorer->instance, CDPD_LOG_ERROR, "nobody could be scored (%s)",
				  out ? why : "out of memory");
		free(out);
		return false;
	}
	for (size_t i = 0; i < scoring->count; i++)
		if (scoring->people[i].is_scored) scoring->people[i].score = out[at++];
	free(out);
	scorer->host->observe_us(scorer->instance, scorer->seconds, now_us() - began);
	scorer->host->count(scorer->instance, scorer->scored, count);
	return true;
}

/* ── from scores to events ───────────────────────────────────────────────── */

static bool is_news(const struct scorer *scorer, const struct person *person)
{
	float last;
	uint32_t generation;
	double known = person->known;
	bool is_known = person->has_known;
	if (last_get(scorer->last, person->id, &last, &generation)) {
		if (generation != scorer->generation) return true;
		known = (double)last;
		is_known = true;
	}
	if (!is_known) return true;
	double moved = fabs((double)person->score - known);
	/* Written with nine digits, which name one float. */
	return (float)known != person->score && moved >= scorer->min_change;
}

static const char *version_of(const struct scorer *scorer)
{
	return scorer->model_version[0] ? scorer->model_version : model_version(scorer->model);
}

/* The same record scored to the same score by the same model is the same event, however often it is handed over. */
static bool name_event(const struct scorer *scorer, const struct person *person, const char *value, char out[48])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const struct cdpd_record *record = &person->record;
	const struct cdpd_str parts[] = {record->delivery_id,
					 record->profile_id,
					 {scorer->trait, strlen(scorer->trait) + 1},
					 {version_of(scorer), strlen(version_of(scorer)) + 1},
					 {value, strlen(value)}};
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool is_fine = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
	for (size_t i = 0; is_fine && i < sizeof parts / sizeof parts[0]; i++)
		is_fine = EVP_DigestUpdate(hash, parts[i].ptr, parts[i].len);
	is_fine = is_fine && EVP_DigestFinal_ex(hash, digest, NULL);
	EVP_MD_CTX_free(hash);
	int at = snprintf(out, 48, "score-");
	for (size_t i = 0; is_fine && i < 16; i++) at += snprintf(out + at, 48 - (size_t)at, "%02x", digest[i]);
	return is_fine;
}

static char *write_event(const struct scorer *scorer, const struct person *person)
{
	char value[32], id[48];
	(void)snprintf(value, sizeof value, "%.9g", (double)person->score);
	if (!name_event(scorer, person, value, id)) return NULL;
	json_t *root = json_pack("{s:s, s:s, s:{s:f}, s:{s:{s:s, s:s}}}", "type", "identify", "messageId", id, "traits",
				 scorer->trait, strtod(value, NULL), "properties", "model", "name", scorer->model_name,
				 "version", version_of(scorer));
	char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(root);
	return text;
}

static void finish(struct scoring *scoring)
{
	free(scoring->people);
	free(scoring->sent);
	free(scoring->rows);
	free(scoring);
}

static void on_published(void *ctx, int error)
{
	const struct sent *sent = ctx;
	struct scoring *scoring = sent->scoring;
	struct scorer *scorer = scoring->scorer;
	switch (error) {
	case CDPD_OK:
		last_put(scorer->last, sent->id, sent->score, sent->generation);
		scorer->host->count(scorer->instance, scorer->published, 1);
		break;
	case CDPD_ERR_NOT_FOUND: /* nobody is left to have a score */ break;
	case CDPD_ERR_INVALID:
		scorer->host->count(scorer->instance, scorer->refused, 1);
		settle(scoring, sent->index, CDPD_DROP, "the score was refused; the reason is among the rejects");
		break;
	default: settle(scoring, sent->index, CDPD_RETRY, "the score could not be written now"); break;
	}
	if (--scoring->under_way > 0) return;
	(void)scorer->host->receipt_done(scoring->receipt, CDPD_ACK);
	finish(scoring);
}

static void publish(struct scoring *scoring, size_t index)
{
	struct scorer *scorer = scoring->scorer;
	const struct person *person = &scoring->people[index];
	struct sent *sent = &scoring->sent[index];
	*sent = (struct sent){scoring, index, {0}, person->score, scorer->generation};
	memcpy(sent->id, person->id, sizeof sent->id);
	char *text = write_event(scorer, person);
	const struct cdpd_publication publication = {.size = sizeof publication,
						     .json = {text ? text : "", text ? strlen(text) : 0},
						     .profile_id = person->record.profile_id};
	int rc = text ? scorer->host->publish(scorer->instance, &publication, on_published, sent) : CDPD_ERR_NOMEM;
	free(text);
	if (rc == CDPD_OK)
		scoring->under_way++;
	else
		settle(scoring, index, CDPD_RETRY,
		       rc == CDPD_ERR_UNSUPPORTED ? "nothing can be published here"
						  : "the score could not be written now");
}

static void publish_all(struct scoring *scoring)
{
	const struct scorer *scorer = scoring->scorer;
	for (size_t i = 0; i < scoring->count; i++) {
		const struct person *person = &scoring->people[i];
		if (!person->is_scored) continue;
		if (!isfinite(person->score)) {
			settle(scoring, i, CDPD_DROP, "the model's answer is no finite number");
		} else if (is_news(scorer, person)) {
			publish(scoring, i);
		} else {
			scorer->host->count(scorer->instance, scorer->unchanged, 1);
			settle(scoring, i, CDPD_ACK, NULL);
		}
	}
}

/* ── the whole ───────────────────────────────────────────────────────────── */

static struct scoring *begin(struct scorer *scorer, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct scoring *scoring = calloc(1, sizeof *scoring);
	if (!scoring) return NULL;
	scoring->scorer = scorer;
	scoring->batch = batch;
	scoring->receipt = receipt;
	scoring->count = scorer->host->batch_count(batch);
	scoring->people = calloc(scoring->count + 1, sizeof *scoring->people);
	scoring->sent = calloc(scoring->count + 1, sizeof *scoring->sent);
	scoring->rows = malloc((scoring->count + 1) * model_feature_count(scorer->model) * sizeof *scoring->rows);
	if (scoring->people && scoring->sent && scoring->rows) return scoring;
	finish(scoring);
	return NULL;
}

enum cdpd_verdict scoring_run(struct scorer *scorer, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	scorer_look_for_model(scorer);
	struct scoring *scoring = begin(scorer, batch, receipt);
	if (!scoring) return CDPD_RETRY;
	for (size_t i = 0; i < scoring->count; i++) {
		scoring->people[i].record.size = sizeof scoring->people[i].record;
		if (scorer->host->batch_record(batch, i, &scoring->people[i].record) == CDPD_OK)
			read_record(scoring, i);
	}
	pass_over_older(scoring);
	if (!score(scoring)) {
		finish(scoring);
		return CDPD_RETRY;
	}
	publish_all(scoring);
	if (scoring->under_way > 0) return CDPD_PENDING; /* on_published goes on, never before this returns */
	finish(scoring);
	return CDPD_ACK;
}
