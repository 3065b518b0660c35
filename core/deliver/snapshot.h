/* snapshot: the stream of everybody as they are, which a destination of profiles begins with. People come by their ids, in short looks at the store, so a
 * position says how far the walk is, and an interrupted one goes on there. Who changes meanwhile is told by the stream of profiles, which
 * the destination reads from where it ended when the walk began.
 *
 * A destination that missed something (it expired) takes a *repair*: everybody again, whose consent is gone, which ids it may know are others' by now,
 * and who was erased. One that takes no profiles is told of the notices alone. */
#pragma once

#include "deliver/stream.h"

#define SNAPSHOT_START  UINT64_C(0)
#define SNAPSHOT_REPAIR (UINT64_C(1) << 62)
#define SNAPSHOT_ERASED (UINT64_C(2) << 62) /* a repair's last part: nothing but who was erased */
#define SNAPSHOT_DONE   (UINT64_C(3) << 62) /* its end; a destination that stands there needs none */

static inline bool snapshot_is_running(uint64_t position)
{
	return position < SNAPSHOT_DONE;
}
/* How much of it is done: ids are evenly spread. */
double snapshot_progress(uint64_t position);
