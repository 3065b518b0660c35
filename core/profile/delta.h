/* delta: what a transaction changed about each person it touched, as changes of the feed. Only values that differ between
 * the beginning and the end of the transaction are told. */
#pragma once

#include "profile/room.h"

/* Appends trait and feature changes of every viewed profile, in the order first touched. Before cache_write. */
MUST_USE int delta_append_all(struct people *people);
