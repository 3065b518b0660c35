#include "api/answer.h"

#include <stdlib.h>

#include "api/ref.h"

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

static void reply_http(struct answer *answer)
{
	struct http_request *req = answer->req;
	http_on_abort(req, NULL, NULL);
	if (answer->applied) {
		char text[POSITION_TEXT_SIZE];
		http_set_header(req, STR("X-Cdpd-Position"), api_position_text(answer->api, answer->applied, text));
	}
	if (answer->is_failed)
		http_reply_problem(req, answer->problem, answer->message, answer->pointer);
	else
		http_reply(req, answer->status ? answer->status : 200, MIME_JSON, buf_str(&answer->out));
}

static void done(struct read_job *job)
{
	struct answer *answer = answer_of(job);
	if (answer->asker) answer->reply(answer);
	answer_free(answer);
}

void answer_leave(struct answer *answer)
{
	answer->req = NULL;
	answer->asker = NULL;
	read_job_cancel(&answer->job);
}

static void on_client_left(void *ctx)
{
	answer_leave(ctx);
}

struct answer *answer_new_for(struct api_worker *worker, void *asker, void (*reply)(struct answer *answer),
			      int (*fn)(struct answer *answer, struct read_thread *thread), size_t params_size)
{
	struct answer *answer = calloc(1, sizeof *answer);
	if (!answer) return NULL;
	arena_init(&answer->arena, 1024, ANSWER_ARENA_BYTES);
	answer->params = arena_zalloc(&answer->arena, params_size ? params_size : 1);
	if (!answer->params) {
		free(answer);
		return NULL;
	}
	answer->api = worker->api;
	answer->worker = worker;
	answer->asker = asker;
	answer->reply = reply;
	answer->work = fn;
	answer->message = answer->pointer = STR_NONE;
	buf_init(&answer->out, API_OUTPUT_BYTES);
	json_out_init(&answer->json, &answer->out);
	return answer;
}

struct answer *answer_new(struct api_worker *worker, struct http_request *req,
			  int (*fn)(struct answer *answer, struct read_thread *thread), size_t params_size)
{
	struct answer *answer = answer_new_for(worker, req, reply_http, fn, params_size);
	if (answer)
		answer->req = req;
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
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
	if (answer->req) http_on_abort(answer->req, on_client_left, answer);
	if (read_pool_submit(answer->api->pool, &answer->worker->jobs, &answer->job) == OK) return;
	(void)answer_fail(answer, PROBLEM_OVERLOADED, STR("the read threads' queue is full"));
	answer->reply(answer);
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
	struct str message;
	enum problem problem = ref_problem(status, &message);
	return problem == PROBLEM_INTERNAL ? status : answer_fail(answer, problem, message);
}

bool answer_is_cancelled(const struct answer *answer)
{
	return atomic_load(&answer->job.is_cancelled);
}
