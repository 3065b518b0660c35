/* /v1/admin/training-sets: rows for training a model (core/training). A set is ordered with its definition in YAML, made in the background, and read as a
 * stream; who orders one asks now and then how far it is. */
#include <stdlib.h>

#include "api/answer.h"
#include "api/event_json.h"
#include "api/feed_http.h"
#include "api/params.h"
#include "base/clock.h"
#include "training/training.h"

#define FILE_NAME_MAX 1024

struct training_query {
	struct str id, yaml, file;
};

static int fail_missing(struct answer *answer)
{
	return answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no training set of that id (any more)"));
}

/* ── showing ─────────────────────────────────────────────────────────────── */

static void write_text(struct json_out *out, const char *key, struct str value)
{
	jo_key(out, str_from(key));
	jo_str(out, value);
}

static void write_count(struct json_out *out, const char *key, uint64_t value)
{
	jo_key(out, str_from(key));
	jo_uint(out, value);
}

static void write_time(struct json_out *out, const char *key, int64_t us)
{
	jo_key(out, str_from(key));
	jo_time(out, us);
}

static void write_seconds(struct json_out *out, const char *key, int64_t us)
{
	jo_key(out, str_from(key));
	jo_double(out, (double)us / US_PER_SECOND);
}

static void write_definition(struct json_out *out, const struct training_status *status)
{
	jo_key(out, STR("definition"));
	jo_object(out);
	write_text(out, "sha256", str_from(status->about.definition));
	write_text(out, "time", str_from(status->time));
	write_text(out, "read", str_from(status->read));
	write_text(out, "value", str_from(status->value));
	write_seconds(out, "horizonSeconds", status->horizon_us);
	write_seconds(out, "graceSeconds", status->grace_us);
	if (status->every_us) write_seconds(out, "everySeconds", status->every_us);
	jo_key(out, STR("sample"));
	jo_double(out, status->sample);
	if (status->purpose.len) write_text(out, "purpose", status->purpose);
	jo_end_object(out);
}

/* What a reader of the rows has to know. */
static void write_range(struct json_out *out, const struct api *api, const struct training_about *about)
{
	jo_key(out, STR("journal"));
	jo_object(out);
	event_json_position(out, api, STR("since"), about->first);
	write_time(out, "sinceTime", about->first_us);
	event_json_position(out, api, STR("until"), about->next ? about->next - 1 : 0);
	write_time(out, "untilTime", about->until_us);
	jo_key(out, STR("trimmed"));
	jo_bool(out, about->first > 1);
	jo_end_object(out);
}

static void write_rows(struct json_out *out, const struct training_status *status)
{
	if (status->has_read) {
		write_count(out, "rows", status->given);
		write_count(out, "positives", status->positives);
		jo_key(out, STR("labelSum"));
		jo_double(out, status->label_sum);
	}
	jo_key(out, STR("leftOut"));
	jo_object(out);
	write_count(out, "censored", status->censored);
	write_count(out, "sample", status->sampled_out);
	if (status->has_read) {
		write_count(out, "erased", status->left_out_erased);
		write_count(out, "consent", status->left_out_consent);
	}
	jo_end_object(out);
}

static void write_columns(struct json_out *out, const struct training_status *status)
{
	jo_key(out, STR("features"));
	jo_array(out);
	for (size_t i = 0; i < status->column_count; i++) {
		const struct training_column *column = &status->columns[i];
		jo_object(out);
		write_text(out, "name", column->name);
		write_text(out, "feature", column->feature);
		write_text(out, "type", column->type);
		write_text(out, "value", column->is_number ? STR("number") : STR("any"));
		jo_end_object(out);
	}
	jo_end_array(out);
}

static const char *why_failed(int failure)
{
	switch (failure) {
	case ERR_GONE: return "retention was faster than the export: order it again";
	case ERR_FULL: return "there is not enough room on the disk";
	case ERR_CLOSED: return "it was stopped";
	default: return status_str(failure);
	}
}

static void write_status(struct json_out *out, const struct api *api, const struct training_status *status)
{
	jo_object(out);
	write_text(out, "id", str_from(status->about.id));
	write_text(out, "name", str_from(status->about.name));
	write_text(out, "state", str_from(training_state_name(status->state)));
	if (status->state == TRAINING_FAILED) write_text(out, "reason", str_from(why_failed(status->failure)));
	jo_key(out, STR("percent"));
	jo_double(out, status->permille / 10.0);
	write_time(out, "beganAt", status->about.began_us);
	write_definition(out, status);
	if (status->state == TRAINING_DONE) {
		write_range(out, api, &status->about);
		write_count(out, "points", status->rows);
		write_rows(out, status);
	}
	write_columns(out, status);
	jo_end_object(out);
}

static int show(struct answer *answer, struct read_thread *thread)
{
	const struct training_query *query = answer->params;
	struct training_status status;
	if (!answer->api->training) return fail_missing(answer);
	int rc = training_status(answer->api->training, query->id, &thread->scratch, &status);
	if (rc) return rc == ERR_NOT_FOUND ? fail_missing(answer) : rc;
	write_status(&answer->json, answer->api, &status);
	return OK;
}

/* ── ordering ────────────────────────────────────────────────────────────── */

/* The usual body of a problem, with all faults behind it. */
static int refuse_definition(struct answer *answer, const char *errors)
{
	struct json_out *out = &answer->json;
	const char *end = strchr(errors, '\n');
	struct str first = str_of(errors, end ? (size_t)(end - errors) : strlen(errors));
	int rc = problem_write_json(&answer->out, PROBLEM_SCHEMA_VIOLATION, first, STR_NONE);
	if (rc) return rc;
	buf_cut(&answer->out, answer->out.len - 1); /* its closing brace */
	answer->status = problem_info(PROBLEM_SCHEMA_VIOLATION)->http_status;
	out->need_comma = true;
	jo_key(out, STR("errors"));
	jo_array(out);
	for (const char *at = errors; *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, '\n');
		jo_object(out);
		write_text(out, "message", str_of(at, (size_t)(end - at)));
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_end_object(out);
	return OK;
}

static int order(struct answer *answer, struct read_thread *thread)
{
	struct training_query *query = answer->params;
	const struct config *config = api_config(answer->api);
	char id[TRAINING_ID_SIZE], *errors = NULL;
	int rc = answer->api->training
		     ? training_start(answer->api->training, config, query->yaml, query->file.ptr, id, &errors)
		     : ERR_CLOSED;
	config_unref(config);
	if (rc == ERR_INVALID && errors) {
		rc = refuse_definition(answer, errors);
		free(errors);
		return rc;
	}
	if (rc == ERR_BUSY) return answer_fail(answer, PROBLEM_OVERLOADED, STR("another training set is being made"));
	if (rc == ERR_CLOSED) return answer_fail(answer, PROBLEM_SHUTTING_DOWN, STR_NONE);
	if (rc) return rc;
	query->id = str_from(id);
	answer->status = 202;
	return show(answer, thread);
}

static int drop(struct answer *answer, struct read_thread *thread)
{
	const struct training_query *query = answer->params;
	(void)thread;
	int rc = answer->api->training ? training_drop(answer->api->training, query->id) : ERR_NOT_FOUND;
	if (rc == ERR_NOT_FOUND) return fail_missing(answer);
	if (rc == ERR_BUSY) return answer_fail(answer, PROBLEM_OVERLOADED, STR("its rows are being read"));
	if (rc) return rc;
	jo_object(&answer->json);
	write_text(&answer->json, "id", query->id);
	jo_key(&answer->json, STR("dropped"));
	jo_bool(&answer->json, true);
	jo_end_object(&answer->json);
	return OK;
}

static void submit(struct api_worker *worker, struct http_request *req,
		   int (*work)(struct answer *answer, struct read_thread *thread))
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct training_query));
	if (!answer) return;
	struct training_query *query = answer->params;
	*query = (struct training_query){.id = STR_NONE, .yaml = STR_NONE, .file = STR_NONE};
	bool is_order = work == order;
	int rc = is_order ? arena_str(&answer->arena, http_body(req), &query->yaml)
			  : arena_str(&answer->arena, http_path_param(req, 0), &query->id);
	if (rc) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		answer_drop(answer);
		return;
	}
	if (is_order && !param_text(req, STR("file"), FILE_NAME_MAX, &answer->arena, &query->file)) {
		answer_drop(answer);
		return;
	}
	if (!query->file.len) query->file = STR("training set");
	answer_submit(answer);
}

static void post_order(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, order);
}

static void get_status(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, show);
}

static void delete_set(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, drop);
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static int fill(struct feed_pull *pull, struct read_thread *thread)
{
	return training_read_some(pull->params, thread->people, FEED_BATCH, pull->out, &pull->is_done);
}

/* There is always more, until fill says that there is not. */
static uint64_t newest(struct api *api)
{
	(void)api;
	return UINT64_MAX;
}

static const struct feed_kind ROWS = {.newest = newest, .fill = fill};

static void release(void *ctx)
{
	training_read_close(ctx);
}

static bool take_format(struct http_request *req, enum training_format *out)
{
	struct str text = STR("csv");
	(void)http_query_get(req, STR("format"), &text);
	*out = str_eq(text, STR("csv")) ? TRAINING_CSV : TRAINING_NDJSON;
	if (*out == TRAINING_CSV || str_eq(text, STR("ndjson"))) return true;
	param_refuse(req, STR("format"), "must be csv or ndjson");
	return false;
}

static void get_rows(struct api_worker *worker, struct http_request *req)
{
	struct api *api = worker->api;
	struct training_read *read = NULL;
	enum training_format format;
	if (!take_format(req, &format)) return;
	int rc =
	    api->training ? training_read_open(api->training, http_path_param(req, 0), format, &read) : ERR_NOT_FOUND;
	if (rc == ERR_NOT_FOUND) {
		http_reply_problem(req, PROBLEM_NOT_FOUND, STR("there is no training set of that id (any more)"),
				   STR_NONE);
		return;
	}
	if (rc) {
		http_reply_problem(req, rc == ERR_AGAIN ? PROBLEM_OVERLOADED : PROBLEM_INTERNAL,
				   rc == ERR_AGAIN ? STR("it is not made yet, or could not be") : STR_NONE, STR_NONE);
		return;
	}
	struct feed_options options = {.kind = &ROWS, .params = read, .release = release, .release_ctx = read};
	arena_init(&options.arena, 256, 1024);
	feed_http_start(worker, req, format == TRAINING_CSV ? FEED_CSV : FEED_LINES, POSITION_JOURNAL, &options);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/admin/training-sets", SCOPE_ADMIN, true, false, TRAINING_YAML_MAX, post_order},
    {HTTP_GET, "/v1/admin/training-sets/{id}", SCOPE_ADMIN, true, false, 0, get_status},
    {HTTP_DELETE, "/v1/admin/training-sets/{id}", SCOPE_ADMIN, true, false, 4096, delete_set},
    {HTTP_GET, "/v1/admin/training-sets/{id}/rows", SCOPE_ADMIN, true, false, 0, get_rows},
};

int training_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
