/* export: what an exporter is handed, and what it answers. core/deliver fills the batch and waits for the receipt; the
 * plugin sees both through the host's functions.
 *
 * A handover (batch and receipt) is shared between the destination and, while it is pending, the plugin: whoever lets go last
 * frees it, so a late answer never touches a batch that has moved on. */
#pragma once

#include "plugin/instance.h"

struct handover;

struct export_record { /* all text borrowed from the handover's arena */
	struct str position, delivery_id, message_id, profile_id, json;
	int64_t time_us;
	uint32_t attempt;
};

struct export_verdict {
	enum cdpd_verdict verdict; /* never PENDING */
	int64_t retry_after_us;    /* 0: none */
	struct str reason;         /* maybe empty */
};

/* Empty, with one reference. */
MUST_USE int handover_new(struct handover **out);
void handover_unref(struct handover *handover);
struct arena *handover_arena(struct handover *handover); /* for the records' text; before handover_run */
MUST_USE int handover_add(struct handover *handover, const struct export_record *record); /* ERR_TOO_LARGE past 500 */
size_t handover_count(const struct handover *handover);

/* Calls export_batch, and when it answers PENDING waits until receipt_done, `deadline_us` from now (mono time: a span) or until
 * *stop is set and handover_wake was called. OK: every record has a verdict. ERR_TIMEOUT: none came; the plugin may still hold the handover, and
 * what it answers later is ignored. On the instance's thread. */
MUST_USE int handover_run(struct handover *handover, struct cdpd_instance *instance, int64_t deadline_us, const bool *stop);
void handover_wake(struct handover *handover); /* any thread */
/* After OK. The text lives in the handover. */
struct export_verdict handover_verdict(const struct handover *handover, size_t index);
/* After destroy: the plugin holds nothing any more. */
void handover_reclaim(struct handover *handover);
/* Does the plugin still hold it? */
bool handover_is_held(struct handover *handover);
