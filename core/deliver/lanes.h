/* lanes: which streams a destination reads, where it begins in each, and when one has to wait for another: profiles for the snapshot before
 * them. A destination's thread; before it starts also whoever makes it. */
#pragma once

#include "deliver/destination.h"

/* By its selection and its gates, in the order of its lanes; returns how many. */
size_t lanes_choose(const struct selection *selection, bool is_gated, enum stream_id out[STREAM_COUNT]);
/* Where a new destination begins in the stream. */
uint64_t lanes_start(const struct deliver_shared *shared, const struct selection *selection,
		     const struct stream *stream);
/* After they were read: one that took other records so far begins with everybody, too. */
void lanes_begin(struct destination *destination);
struct lane *lane_of(struct destination *destination, enum stream_id stream); /* NULL: it does not read that one */
/* It waits for another one. */
bool lane_is_held(const struct destination *destination, const struct lane *lane);
/* How much of a snapshot is done; below 0: none is running. */
double lanes_walked(const struct destination *destination);
/* As many records as that many positions of its stream stand for. */
uint64_t lane_records(const struct lane *lane, uint64_t positions);
/* Lanes were read, or moved: what follows a snapshot is kept while it runs, and says which one it is. */
void lanes_keep(struct destination *destination);
void lanes_let_go(struct destination *destination);
/* The repair that is owed could begin if nothing was on its way. */
bool lanes_may_repair(const struct destination *destination);
/* The destination missed what lay before `position` in the lane. It goes on there, or with profiles where they end now, and takes a repair: nobody may
 * be forgotten who was erased or withdrew meanwhile. Nothing is on its way; to be written. */
void lanes_repair(struct destination *destination, struct lane *missed, uint64_t position);
