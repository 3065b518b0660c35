/* handover: what an exporter is handed, and what it answers. core/deliver fills the batch and waits for the receipt; the
 * plugin sees both through the host's functions.
 *
 * A handover (batch and receipt) is shared between the destination and, while it is pending, the plugin: whoever lets go last
 * frees it, so a late answer never touches a batch that has moved on. */
#pragma once

#include <stdatomic.h>

#include "base/clock.h"
#include "plugin/instance.h"

struct handover;

struct export_record { /* text of the handover's arena, or of what handover_on_free gives back */
	struct str position, delivery_id, message_id, profile_id, json;
	int64_t time_us;
	uint32_t attempt;
	uint32_t kind;  /* enum cdpd_record_kind; 0: an event */
	uint32_t flags; /* enum cdpd_record_flag */
	struct str other_id;
};

struct export_verdict {
	enum cdpd_verdict verdict; /* never PENDING */
	int64_t retry_after_us;    /* 0: none */
	struct str reason;         /* maybe empty */
	bool is_named;             /* given to this record alone */
};

#define HANDOVER_RECORDS_MAX 5000 /* however many a destination is configured to take at once */

/* Empty, with one reference and room for so many records. */
MUST_USE int handover_new(size_t room, struct handover **out);
/* `fn` runs when the last reference goes, on whatever thread that is: until then the plugin may look at the records. */
void handover_on_free(struct handover *handover, void (*fn)(void *ctx), void *ctx);
void handover_unref(struct handover *handover);
struct arena *handover_arena(struct handover *handover); /* for the records' text; before handover_run */
MUST_USE int handover_add(struct handover *handover,
			  const struct export_record *record); /* ERR_TOO_LARGE past its room */
size_t handover_count(const struct handover *handover);

#define HANDOVER_STOP_GRACE_US (2 * US_PER_SECOND)

/* Calls export_batch, and when it answers PENDING waits until receipt_done, but no longer than `span_us`, and when *stop
 * is set no longer than HANDOVER_STOP_GRACE_US from then. OK: every record has a verdict. ERR_TIMEOUT: none came; the
 * plugin still holds the handover, and what it answers later is ignored. On the instance's thread. */
MUST_USE int handover_run(struct handover *handover, struct cdpd_instance *instance, int64_t span_us,
			  const _Atomic(bool) *stop);
/* The same without waiting. OK: every record has a verdict. ERR_AGAIN: it is pending; `on_done` is called when the plugin has answered, from any
 * thread, under a lock: only to wake whoever asks handover_poll. On the instance's thread. */
MUST_USE int handover_begin(struct handover *handover, struct cdpd_instance *instance, void (*on_done)(void *ctx),
			    void *ctx);
MUST_USE int handover_poll(struct handover *handover); /* after ERR_AGAIN: OK or ERR_AGAIN */
/* Nobody waits for it any more: what the plugin answers later is ignored, and on_done is not called. */
void handover_give_up(struct handover *handover);
/* After OK. The text lives in the handover. */
struct export_verdict handover_verdict(const struct handover *handover, size_t index);
bool handover_is_held(struct handover *handover); /* by the plugin, still */
/* After the instance's destroy, which ends what the plugin holds. */
void handover_reclaim(struct handover *handover);

/* Entries of the host's table. */
size_t handover_sdk_count(const struct cdpd_batch *batch);
int handover_sdk_record(const struct cdpd_batch *batch, size_t index, struct cdpd_record *out);
int handover_sdk_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict, int64_t retry_after_ms,
		     const char *reason);
int handover_sdk_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest);
