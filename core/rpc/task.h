/* task: one unary call of a service that needs a token: the scope, the request, ?min_position, and whatever it then waits for. Lives in the
 * call's arena; when the client leaves, all of that is cut off. */
#pragma once

#include "api/act.h"
#include "api/answer.h"
#include "grpc/grpc.h"

struct task {
	struct grpc_call *call;
	struct api_worker *worker;
	const ProtobufCMessage *request;
	void (*go)(struct task *task);

	/* what it waits for; at most one */
	struct position_waiter *waiter;
	struct answer *answer;
	struct act *act;
	struct ingest_batch *batch;
};

/* May the call do what its method's scope says? When not, it has been ended. */
MUST_USE bool task_allows(struct grpc_call *call);
/* Checks the scope, unpacks, waits for the request's `min_position` (its offset in the message; 0: it has none), and goes on in `go`. */
void task_start(struct grpc_call *call, struct str bytes, const ProtobufCMessageDescriptor *descriptor,
		size_t min_position, void (*go)(struct task *task));
/* For the table of methods: cuts off. */
void task_closed(struct grpc_call *call);
void task_fail(struct task *task, enum problem problem, struct str message, struct str pointer);
struct arena *task_arena(struct task *task);

/* Ends the call with what `work` packed into answer->out on a pool thread. NULL: no memory, the call has been ended. */
MUST_USE struct answer *task_answer(struct task *task, int (*work)(struct answer *answer, struct read_thread *thread),
				    size_t params_size);
void task_submit(struct task *task, struct answer *answer);
/* The connection's part of what ingest is asked. */
void task_fill_ingest(struct grpc_call *call, struct ingest_request *out);
