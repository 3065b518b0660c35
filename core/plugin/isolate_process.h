/* isolate_process: the process of one isolated enricher, as its owner sees it: started, spoken with in frames, ended. It is cdpd's own binary with ISOLATE_ARGUMENT,
 * so that nothing of the daemon's memory is in it; it gets one socket, no environment and no other file descriptor, and dies with the thread
 * that started it. One owner, one thread; nothing here blocks but isolate_process_end and _wait. */
#pragma once

#include <sys/types.h>

#include "plugin/isolate_child.h"
#include "plugin/isolate_wire.h"

#define ISOLATE_OUT_MAX ((size_t)64 << 20) /* bytes that it has not read: past that it is taken for dead */

struct isolate_process {
	pid_t pid; /* 0: none */
	int fd;
	struct buf in, out;
	uint32_t sent, done; /* frames told to it, and dealt with */
	int64_t progress_us; /* since when it owes something */
};

void isolate_process_init(struct isolate_process *process);
void isolate_process_fini(struct isolate_process *process); /* ended */
/* ERR_REFUSED: the system does not let us. */
MUST_USE int isolate_process_start(struct isolate_process *process);
/* After a frame was put into `out`. */
void isolate_process_sent(struct isolate_process *process);
MUST_USE int isolate_process_dealt(struct isolate_process *process, uint32_t done); /* FRAME_DONE. ERR_INVALID */
/* How long it has not moved though there is something for it to do; 0: nothing is. */
int64_t isolate_process_idle_us(const struct isolate_process *process, int64_t now_us);
/* Writes what can be written. ERR_CLOSED. */
MUST_USE int isolate_process_write(struct isolate_process *process);
/* Reads what is there, not without end. ERR_CLOSED: it is gone. */
MUST_USE int isolate_process_read(struct isolate_process *process);
/* The next frame; the body lives until the next call of these. ERR_AGAIN, ERR_INVALID. */
MUST_USE int isolate_process_next(struct isolate_process *process, enum frame_type *type, struct str *body);
/* Waits until something can be read. ERR_TIMEOUT. */
MUST_USE int isolate_process_wait(struct isolate_process *process, int64_t until_us);

struct isolate_end {
	bool was_killed; /* by us: it had not ended within the grace */
	int status;      /* as of waitpid */
};
/* Gives it `grace_us` to end by itself, kills it then, and reaps it. */
struct isolate_end isolate_process_end(struct isolate_process *process, int64_t grace_us);
