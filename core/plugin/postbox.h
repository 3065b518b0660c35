/* postbox: the events that one instance has published and that are not answered yet. The instance's thread puts them in and is told what became of
 * each; whoever publishes them (a room above: it knows ingest, this one does not) answers from any thread. It outlives its instance as long as something is under way. */
#pragma once

#include "base/loop.h"
#include "base/str.h"
#include "cdpd_plugin.h"

#define POSTBOX_MAX      1024 /* publications of one instance under way */
#define POSTBOX_BYTES    ((size_t)8 << 20)
#define PUBLICATION_MAX  ((size_t)1 << 20) /* bytes of one event */
#define PROFILE_ID_BYTES 32

struct http_client;
struct postbox;

/* One event; the publisher's between submit and publication_answer. */
struct publication {
	struct str json;       /* followed by BUF_SLACK zero bytes */
	struct str profile_id; /* 32 hex digits, or empty: the event names the person */
	struct str source;     /* as which it is published */

	/* the publisher's */
	struct loop_task task;
	struct publication *next, **link;
	void *owner;

	/* the postbox's */
	struct postbox *postbox;
	struct publication *under_way, **under_way_link; /* not answered yet */
	struct publication *answered_next;
	int error;
	cdpd_publish_fn done;
	void *ctx;
};

/* Who publishes, for all instances; lives as long as an postbox holds it. */
struct publisher {
	/* Any thread. True: publication_answer will be called once, from any thread, maybe before this returns. */
	bool (*submit)(struct publisher *publisher, struct publication *publication);
	void (*hold)(struct publisher *publisher), (*release)(struct publisher *publisher);
};
/* `error`: as cdpd_publish_fn is told it. The publication is gone. */
void publication_answer(struct publication *publication, int error);

/* `http`: what the instance's thread waits on, woken by answers; until postbox_close. */
MUST_USE int postbox_new(struct publisher *publisher, struct str source, struct http_client *http,
			 struct postbox **out);
/* As the SDK's publish. Own thread, like the rest. */
int postbox_put(struct postbox *postbox, const struct cdpd_publication *publication, cdpd_publish_fn done, void *ctx);
bool postbox_has_news(struct postbox *postbox);
void postbox_tell(struct postbox *postbox); /* calls `done` of what was answered */
/* Before the instance's destroy: what is under way is told CDPD_ERR_IO. The postbox is the caller's no more. NULL is fine. */
void postbox_close(struct postbox *postbox);
