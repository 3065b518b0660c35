/* ticket: one question to an asynchronous enricher: an event, a place for what is set, one answer. The owner (core/enrich) fills the event, hands
 * the ticket to the instance's thread and closes it when its time is over; the plugin answers from any thread. Whoever comes first decides.
 *
 * States: idle → open → answered → idle; or open → closed (nobody waits any more, the plugin still holds it) → returned → idle. */
#pragma once

#include "plugin/instance.h"

struct ticket;

enum ticket_state { TICKET_IDLE, TICKET_OPEN, TICKET_ANSWERED, TICKET_CLOSED, TICKET_RETURNED };

/* `on_settled` runs on any thread when the plugin answers an open ticket or gives a closed one back; it must only note it. */
MUST_USE int ticket_new(void (*on_settled)(void *ctx, struct ticket *ticket), void *ctx, struct ticket **out);
void ticket_free(struct ticket *ticket);           /* idle, answered or returned; after the instance's end: any */
struct arena *ticket_arena(struct ticket *ticket); /* for the event's texts; while idle */
struct cdpd_event *ticket_owner_event(struct ticket *ticket);

/* Makes the event askable. ERR_BUSY: too many handles. */
MUST_USE int ticket_open(struct ticket *ticket, struct cdpd_instance *instance);
/* On the instance's thread: asks, unless it was closed meanwhile. */
void ticket_ask(struct ticket *ticket);
/* It will not be asked: comes back as CDPD_ERR_BUSY. */
void ticket_refuse(struct ticket *ticket);
/* The owner waits no longer. False: it was answered just before (on_settled ran or runs). */
bool ticket_close(struct ticket *ticket);
/* The instance is gone and holds nothing any more: the closed ticket is returned. */
void ticket_reclaim(struct ticket *ticket);
enum ticket_state ticket_state(struct ticket *ticket);

struct ticket_answer {
	int error;        /* enum cdpd_error; CDPD_OK: `patch` is the answer, maybe empty */
	struct str patch; /* JSON object; these live until the ticket is reset */
	struct str reason;
};
struct ticket_answer ticket_answer(const struct ticket *ticket); /* answered */
void ticket_reset(struct ticket *ticket);                        /* answered or returned → idle */

struct enrich_view;
struct enrich_view *ticket_owner_view(struct ticket *ticket); /* what was set; answered */
/* Its event, as long as the plugin holds it. NULL: nobody waits for it any more. Any thread. */
const struct cdpd_event *ticket_wanted(const struct cdpd_ticket *handle);

/* Entries of the host's table, and what they need. */
struct cdpd_event *ticket_sdk_event(struct cdpd_ticket *handle);
int ticket_sdk_done(struct cdpd_ticket *handle, int error, const char *reason);
struct enrich_view *ticket_view(const struct cdpd_instance *instance, const struct cdpd_event *handle);
