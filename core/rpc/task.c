#include "rpc/task.h"

#include "api/position_wait.h"
#include "base/clock.h"
#include "rpc/convert.h"

void task_fail(struct task *task, enum problem problem, struct str message, struct str pointer)
{
	grpc_finish_problem(task->call, problem, message, pointer);
}

struct arena *task_arena(struct task *task)
{
	return grpc_arena(task->call);
}

bool task_allows(struct grpc_call *call)
{
	enum scope scope = SCOPE_NONE;
	struct str message;
	bool is_known = scope_from_name(str_from(grpc_call_method(call)->scope), &scope);
	CHECK(is_known);
	enum problem problem = auth_judge(grpc_worker(call), grpc_metadata(call, STR("authorization")), scope,
					  clock_wall_us(), grpc_arena(call), &message);
	if (problem == PROBLEM_NONE) return true;
	grpc_finish_problem(call, problem, message, STR_NONE);
	return false;
}

static void on_position(struct api_worker *worker, enum position_verdict verdict, void *ctx)
{
	(void)worker;
	struct task *task = ctx;
	struct str message;
	enum problem problem = position_problem(verdict, &message);
	task->waiter = NULL;
	if (problem == PROBLEM_NONE)
		task->go(task);
	else
		task_fail(task, problem, message, STR_NONE);
}

static void wait_for(struct task *task, struct str text)
{
	struct str message;
	uint64_t seq;
	if (text.len == 0) {
		task->go(task);
		return;
	}
	enum problem problem = position_read(task->worker->api, POSITION_JOURNAL, text, &seq, &message);
	if (problem != PROBLEM_NONE) {
		task_fail(task, problem, message, STR("/minPosition"));
		return;
	}
	struct position_waiter *waiter = position_wait(task->worker, seq, on_position, task);
	if (waiter) task->waiter = waiter; /* else it went on, and may be gone */
}

void task_start(struct grpc_call *call, struct str bytes, const ProtobufCMessageDescriptor *descriptor,
		size_t min_position, void (*go)(struct task *task))
{
	ProtobufCMessage *request;
	if (!task_allows(call) || grpc_unpack(call, descriptor, bytes, &request) != OK) return;
	struct task *task = arena_new(grpc_arena(call), struct task);
	if (!task) {
		grpc_finish_problem(call, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	*task = (struct task){.call = call, .worker = grpc_worker(call), .request = request, .go = go};
	grpc_set_state(call, task);
	struct str position = STR_NONE;
	if (min_position) position = str_from(*(char *const *)((const char *)request + min_position));
	wait_for(task, position);
}

void task_closed(struct grpc_call *call)
{
	struct task *task = grpc_state(call);
	if (!task) return;
	if (task->waiter) position_cancel(task->waiter);
	if (task->answer) answer_leave(task->answer);
	if (task->act) act_leave(task->act);
	if (task->batch) ingest_cancel(task->batch);
}

/* ── answers from the read pool ──────────────────────────────────────────── */

static void reply(struct answer *answer)
{
	struct task *task = answer->asker;
	task->answer = NULL;
	if (answer->is_failed) {
		task_fail(task, answer->problem, answer->message, answer->pointer);
		return;
	}
	int rc = grpc_send_bytes(task->call, buf_str(&answer->out));
	if (rc == OK)
		grpc_finish(task->call, GRPC_OK, STR_NONE);
	else
		task_fail(task, rc == ERR_BUSY ? PROBLEM_OVERLOADED : PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

struct answer *task_answer(struct task *task, int (*work)(struct answer *answer, struct read_thread *thread),
			   size_t params_size)
{
	struct answer *answer = answer_new_for(task->worker, task, reply, work, params_size);
	if (!answer) task_fail(task, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	return answer;
}

void task_submit(struct task *task, struct answer *answer)
{
	task->answer = answer;
	answer_submit(answer);
}

void task_fill_ingest(struct grpc_call *call, struct ingest_request *out)
{
	const struct http_request *req = grpc_request(call);
	*out = (struct ingest_request){
	    .dialect = DIALECT_NATIVE_PROTOBUF,
	    .authorization = http_header(req, STR("authorization")),
	    .write_key_header = http_header(req, STR("x-write-key")),
	    .write_key_query = STR_NONE,
	    .origin = http_header(req, STR("origin")),
	    .client_ip = http_client_ip(req),
	    .user_agent = http_header(req, STR("user-agent")),
	    .received_at_us = clock_wall_us(),
	    .person_ref = STR_NONE,
	};
}
