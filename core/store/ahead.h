/* ahead: writes the data file of an append-mostly env ahead of its use, with zeros.
 *
 * A commit that makes a file longer needs a commit of the file system's own journal too, and with ext4 that waits for the
 * data of every other file that grew: the fold's 40 MB would stand before an ack's 16 KB. Blocks that have been written before
 * need no such commit (PostgreSQL recycles its log files for the same reason). Measured: docs/performance.md.
 *
 * One thread an env writes step after step while the env's writer stays below where it began; the writer waits for a step only when
 * it would pass that line. Running out of space or any other failure only means that nothing is written ahead. */
#pragma once

#include "base/status.h"

struct ahead;

/* `path`: the env's directory; `depth_max`: bytes written ahead at most. Writes nothing before the first claim. */
MUST_USE int ahead_start(const char *path, uint64_t depth_max, struct ahead **out);
/* Ends the thread and cuts off what was never used (`used`: bytes of the file by LMDB's count; 0: cut nothing); NULL is fine. */
void ahead_stop(struct ahead *ahead, uint64_t used);
/* Before a commit: the writer may write anything below `bound` from now on. */
void ahead_claim(struct ahead *ahead, uint64_t bound);
/* After it. */
void ahead_used(struct ahead *ahead, uint64_t used);
