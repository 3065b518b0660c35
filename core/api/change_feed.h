/* change_feed: the change feed as a source for feeds, whatever dress they go out in. */
#pragma once

#include "api/feed.h"
#include "profile/change_filter.h"

/* How one change is written: a message whole or not at all. `body`: what the filter shows of it. On a pool thread. */
typedef int (*change_write_fn)(struct buf *out, const struct api *api, const struct change *change, struct str body);

/* Params of a feed of CHANGE_FEED. */
struct change_feed {
	struct change_filter filter;
	change_write_fn write;
};
extern const struct feed_kind CHANGE_FEED;

/* {"kind","profile","position","at", and the body's own members}: a change as outsiders see it. */
MUST_USE int change_write_json(struct buf *out, const struct api *api, const struct change *change, struct str body);
