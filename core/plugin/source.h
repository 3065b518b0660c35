/* source: the source plugins of a configuration: one instance and one thread for each source that names a plugin, and before it a bounded queue of
 * requests. Whatever a plugin does is done to its own queue alone: who waits has a deadline, and a thread that does not come back is asked nothing
 * more until it does. */
#pragma once

#include "base/loop.h"
#include "config/config.h"
#include "plugin/decoding.h"
#include "plugin/runner.h"

struct sources;
struct source;
struct spaces;

#define SOURCE_QUEUE_BYTES ((size_t)64 << 20) /* of bodies that wait for one source; one request may always wait */

/* `spaces` NULL: plugins keep nothing. Starts the threads. */
MUST_USE int sources_new(struct spaces *spaces, const struct config *config, struct sources **out);
/* Sources that stayed the same go on; others begin anew, and the old instance still answers what waits for it. One thread. */
MUST_USE int sources_reload(struct sources *sources, const struct config *config);
/* Ends the instances: what waits is answered ERR_CLOSED. */
void sources_stop(struct sources *sources);
void sources_free(struct sources *sources); /* stopped; nobody asks any more */

enum errand_state { ERRAND_IDLE, ERRAND_WAITING, ERRAND_ABANDONED, ERRAND_DONE };

/* One request for one source, on the heap. Its maker's but between sources_submit and `done`. */
struct errand {
	struct decoding decode;
	struct loop *loop;                   /* of its maker */
	void (*done)(struct errand *errand); /* on that loop, when `status` is known */
	void *ctx;                           /* its maker's */
	int status;                          /* OK: decode has run; ERR_CLOSED: it has not, the instance ended */

	/* the room's */
	struct sources *sources;
	struct source *source;
	struct runner_job job;
	struct loop_task returned;
	enum errand_state state;
	int64_t submitted_us;
	size_t bytes;
};
/* Its request is not begun (decoding_begin). Free with errand_free while it is one's own. */
MUST_USE int errand_new(struct errand **out);
void errand_free(struct errand *errand);

struct source_terms { /* of one source */
	uint32_t deadline_ms;
};
/* False: there is no source of that id with a plugin. Any thread. */
bool sources_find(struct sources *sources, struct str id, struct source_terms *out);
/* ERR_NOT_FOUND; ERR_BUSY: the queue is full; ERR_TIMEOUT: the plugin hangs; ERR_AGAIN: no instance now. `done` is not called then. */
MUST_USE int sources_submit(struct sources *sources, struct str id, struct errand *errand);
/* The maker waits no more. True: the errand is gone. False: it is done, its task was posted to the loop. */
MUST_USE bool errand_abandon(struct errand *errand, bool is_late);
/* What became of the answer, for the source's metrics. While the errand is done and its sources are not freed. */
void sources_count(struct sources *sources, struct str id, uint64_t events, uint64_t rejects);
