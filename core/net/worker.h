/* worker: one io thread: its loop, its listening sockets, its connections and what they share. Everything here runs on
 * that thread unless stated otherwise. */
#pragma once

#include <event2/event_struct.h>
#include <pthread.h>
#include <semaphore.h>

#include "base/loop.h"
#include "net/census.h"
#include "net/conn.h"
#include "net/net.h"
#include "net/settings.h"

#define WORKER_MAGIC    0x6b726f77u
#define WORKER_SPARES   64
#define CONN_OUTPUT_MAX ((size_t)64 * 1024 * 1024) /* one answer, or pipelined ones */
#define DATE_TEXT_SIZE  40

struct endpoint;
struct http1;
struct http2_stream;
struct acceptor;

struct worker {
	uint32_t magic;
	size_t index;
	struct loop *loop;
	struct event_base *base;
	const struct net_options *options;
	struct census *census;
	struct settings *settings; /* a reference; swapped by worker_reload */
	void *app;                 /* what handlers find as http_worker() */
	struct acceptor *acceptors;
	size_t acceptor_count;
	bool is_draining;

	int64_t now_us; /* monotonic, of this callback */
	int64_t date_second;
	char date[DATE_TEXT_SIZE]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

	struct conn *conns, *held; /* open; closed but still referred to */
	struct conn *later, **later_end, *dead;
	struct event turn;
	bool is_turn_due;
	struct buf spares[WORKER_SPARES]; /* empty buffers of the usual size, the last used first */
	size_t spare_count;
	struct http1 *spare_http1;
	size_t spare_http1_count;
	struct http2_stream *spare_streams;
	size_t spare_stream_count;
	struct buf scratch; /* for building one answer's body */

	pthread_t thread;
	bool has_thread;
	sem_t started, refusing, reloaded; /* the thread has started; takes no more connections; took new settings */
	int start_status;
	struct loop_task drain_task, close_task, reload_task;
	struct settings *next_settings; /* for reload_task */
};

/* From the main thread, before the thread runs. Takes a reference of settings; borrows the rest. */
MUST_USE int worker_init(struct worker *worker, size_t index, const struct net_options *options, struct census *census,
			 struct settings *settings);
MUST_USE int worker_listen(struct worker *worker, struct endpoint *endpoints, size_t count);
MUST_USE int worker_start(struct worker *worker); /* returns when worker_start of the options did */
void worker_stop(struct worker *worker);          /* from the main thread: joins */
void worker_fini(struct worker *worker);

/* From the main thread. */
void worker_drain(struct worker *worker); /* no new connections; the open ones end at the next good moment */
void worker_wait_drain(struct worker *worker, int timeout_ms);        /* until no new ones are taken */
void worker_close_all(struct worker *worker);                         /* at once */
void worker_reload(struct worker *worker, struct settings *settings); /* takes its own reference; returns when done */

int64_t worker_tick(struct worker *worker); /* reads the clock */
static inline int64_t worker_now(const struct worker *worker)
{
	return worker->now_us;
}
struct str worker_date(struct worker *worker, int64_t wall_us);

void worker_list(struct worker *worker, struct conn *conn);
void worker_hold(struct worker *worker, struct conn *conn);
void worker_unlist(struct worker *worker, struct conn *conn);
void worker_later(struct worker *worker, struct conn *conn); /* protocol->resume at the end of the turn */
void worker_bury(struct worker *worker, struct conn *conn);  /* freed at the end of the turn */
/* Empty buffers change hands, their caps stay. */
void worker_take_buf(struct worker *worker, struct buf *buf);
void worker_give_buf(struct worker *worker, struct buf *buf);
