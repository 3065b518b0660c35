#include "api/answer.h"

#include <stdlib.h>

#define ANSWER_ARENA_BYTES (1u << 20)

static struct answer *answer_of(struct read_job *job)
{
	return (struct answer *)((char *)job - offsetof(struct answer, job));
}

static void answer_free(struct answer *answer)
{
	buf_fini(&answer->out);
	arena_fini(&answer->arena);
	free(answer);
}

static void work(struct read_job *job, struct read_thread *thread)
{
	struct answer *answer = answer_of(job);
	int rc = answer->work(answer, thread);
	if (rc == OK) rc = answer->json.status;
	if (rc == OK || answer->is_failed) return;
	if (rc != ERR_TOO_LARGE) log_error(LOG_API, "a read failed and is answered 500 (%s)", status_str(rc));
	answer_fail(answer, rc == ERR_TOO_LARGE ? PROBLEM_TOO_LARGE : PROBLEM_INTERNAL, STR_NONE);
}

static void done(struct read_job *job)
{
	struct answer *answer = answer_of(job);
	struct http_request *req = answer->req;
	if (!req) {
		answer_free(answer);
		return;
	}
	http_on_abort(req, NULL, NULL);
	if (answer->applied) {
		char text[POSITION_TEXT_SIZE];
		http_set_header(req, STR("X-Cdpd-Position"), api_position_text(answer->api, answer->applied, text));
	}
	if (answer->is_failed)
		http_reply_problem(req, answer->problem, answer->message, answer->pointer);
	else
		http_reply(req, answer->status ? answer->status : 200, MIME_JSON, buf_str(&answer->out));
	answer_free(answer);
}

static void on_client_left(void *ctx)
{
	struct answer *answer = ctx;
	answer->req = NULL;
	read_job_cancel(&answer->job);
}

struct answer *answer_new(struct api_worker *worker, struct http_request *req,
			  int (*fn)(struct answer *answer, struct read_thread *thread), size_t params_size)
{
	struct answer *answer = calloc(1, sizeof *answer);
	if (answer) {
		arena_init(&answer->arena, 1024, ANSWER_ARENA_BYTES);
		answer->params = arena_zalloc(&answer->arena, params_size ? params_size : 1);
	}
	if (!answer || !answer->params) {
		free(answer);
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return NULL;
	}
	answer->api = worker->api;
	answer->worker = worker;
	answer->req = req;
	answer->work = fn;
	answer->message = answer->pointer = STR_NONE;
	buf_init(&answer->out, API_OUTPUT_BYTES);
	json_out_init(&answer->json, &answer->out);
	return answer;
}

void answer_drop(struct answer *answer)
{
	answer_free(answer);
}

void answer_submit(struct answer *answer)
{
	answer->job.work = work;
	answer->job.done = done;
	http_on_abort(answer->req, on_client_left, answer);
	if (read_pool_submit(answer->api->pool, &answer->worker->jobs, &answer->job) == OK) return;
	http_on_abort(answer->req, NULL, NULL);
	http_reply_problem(answer->req, PROBLEM_OVERLOADED, STR("the read threads' queue is full"), STR_NONE);
	answer_free(answer);
}

int answer_fail(struct answer *answer, enum problem problem, struct str message)
{
	answer->is_failed = true;
	answer->problem = problem;
	answer->message = message;
	return OK;
}

int answer_fail_ref(struct answer *answer, int status)
{
	if (status == ERR_NOT_FOUND)
		return answer_fail(answer, PROBLEM_NOT_FOUND, STR("nobody is known by that reference"));
	if (status == ERR_INVALID)
		return answer_fail(answer, PROBLEM_INVALID_PARAMETER,
				   STR("a reference is 'namespace:value' or 'id:<profile id>'"));
	return status;
}

bool answer_is_cancelled(const struct answer *answer)
{
	return atomic_load(&answer->job.is_cancelled);
}
