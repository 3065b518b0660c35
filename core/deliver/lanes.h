/* lanes: which streams a destination reads, where it begins in each, and when one has to wait for another: profiles for the snapshot
 * before them. A destination's thread; lanes_make and lanes_read also before it starts. */
#pragma once

#include "deliver/destination.h"

void lanes_make(struct destination *destination); /* by its selection and its gates */
/* Their cursors, or where a new one begins. */
MUST_USE int lanes_read(struct destination *destination);
/* Writes where new ones begin, so that a snapshot is followed by all the changes since its beginning. ERR_PANIC as cursors_put. */
MUST_USE int lanes_settle(struct destination *destination);
/* It waits for another one. */
bool lane_is_held(const struct destination *destination, const struct lane *lane);
/* As many records as that many positions of its stream stand for. */
uint64_t lane_records(const struct lane *lane, uint64_t positions);
struct lane *lane_of(struct destination *destination, enum stream_id stream); /* NULL: it does not read that one */
/* Changes were trimmed before the destination took them, or it is ahead of the feed (an older backup of the profiles): it takes everybody anew.
 * *gap: changes that it will not see. Durable. ERR_NOT_FOUND: nothing of the kind. */
MUST_USE int lanes_repair(struct destination *destination, uint64_t *gap);
/* While a snapshot runs, the changes since its beginning are kept. */
void lanes_lease(struct destination *destination);
void lanes_unlease(struct destination *destination);
