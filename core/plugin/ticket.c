#include "plugin/ticket.h"

#include <stdlib.h>

#include "plugin/handle.h"
#include "plugin/internal.h"

#define TICKET_ARENA_MAX  ((size_t)8 << 20)
#define TICKET_REASON_MAX 200

struct ticket {
	void (*on_settled)(void *ctx, struct ticket *ticket);
	void *ctx;
	struct cdpd_instance *instance;
	struct arena arena;
	struct cdpd_event event;
	struct enrich_view view;
	void *handle;
	enum ticket_state state; /* under the handles' lock */
	bool is_finishing;       /* ticket_done is writing the answer */
	struct ticket_answer answer;
};

int ticket_new(void (*on_settled)(void *ctx, struct ticket *ticket), void *ctx, struct ticket **out)
{
	struct ticket *ticket = calloc(1, sizeof *ticket);
	*out = ticket;
	if (!ticket) return ERR_NOMEM;
	ticket->on_settled = on_settled;
	ticket->ctx = ctx;
	arena_init(&ticket->arena, 4096, TICKET_ARENA_MAX);
	enrich_view_init(&ticket->view);
	return OK;
}

void ticket_free(struct ticket *ticket)
{
	if (!ticket) return;
	if (ticket->handle) handle_release(ticket->handle);
	enrich_view_fini(&ticket->view);
	arena_fini(&ticket->arena);
	free(ticket);
}

struct arena *ticket_arena(struct ticket *ticket)
{
	return &ticket->arena;
}

struct cdpd_event *ticket_owner_event(struct ticket *ticket)
{
	return &ticket->event;
}

int ticket_open(struct ticket *ticket, struct cdpd_instance *instance)
{
	ticket->instance = instance;
	ticket->is_finishing = false;
	ticket->answer = (struct ticket_answer){.patch = STR_NONE, .reason = STR_NONE};
	enrich_view_begin(&ticket->view, &ticket->event, NULL, &ticket->arena);
	ticket->state = TICKET_OPEN;
	ticket->handle = handle_new(HANDLE_TICKET, ticket);
	if (ticket->handle) return OK;
	ticket->state = TICKET_IDLE;
	return ERR_BUSY;
}

enum ticket_state ticket_state(struct ticket *ticket)
{
	(void)handle_lock(HANDLE_NONE, NULL);
	enum ticket_state state = ticket->state;
	handle_unlock();
	return state;
}

void ticket_ask(struct ticket *ticket)
{
	struct cdpd_ticket *handle = ticket->handle;
	if (ticket_state(ticket) != TICKET_OPEN) {
		ticket_reclaim(ticket); /* the plugin never saw it */
		return;
	}
	/* From here on the ticket may be answered, and be another one, at any time. */
	const struct cdpd_plugin *table = instance_plugin(ticket->instance);
	int rc = table->enrich_async(instance_self(ticket->instance), handle);
	if (rc != CDPD_OK) (void)ticket_sdk_done(handle, rc, "enrich_async failed");
}

void ticket_refuse(struct ticket *ticket)
{
	if (ticket_state(ticket) == TICKET_OPEN)
		(void)ticket_sdk_done(ticket->handle, CDPD_ERR_BUSY, "the enricher ends");
	else
		ticket_reclaim(ticket);
}

bool ticket_close(struct ticket *ticket)
{
	(void)handle_lock(HANDLE_NONE, NULL);
	bool was_open = ticket->state == TICKET_OPEN && !ticket->is_finishing;
	if (was_open) ticket->state = TICKET_CLOSED;
	handle_unlock();
	return was_open;
}

void ticket_reclaim(struct ticket *ticket)
{
	(void)handle_lock(HANDLE_NONE, NULL);
	bool is_ours = ticket->state == TICKET_CLOSED && !ticket->is_finishing;
	if (is_ours) {
		handle_release_locked(ticket->handle);
		ticket->handle = NULL;
		ticket->state = TICKET_RETURNED;
	}
	handle_unlock();
	if (is_ours) ticket->on_settled(ticket->ctx, ticket);
}

struct ticket_answer ticket_answer(const struct ticket *ticket)
{
	return ticket->answer;
}

void ticket_reset(struct ticket *ticket)
{
	ticket->state = TICKET_IDLE;
	ticket->view.event = NULL;
	ticket->instance = NULL;
	arena_reset(&ticket->arena);
}

struct enrich_view *ticket_owner_view(struct ticket *ticket)
{
	return &ticket->view;
}

const struct cdpd_event *ticket_wanted(const struct cdpd_ticket *handle)
{
	const struct ticket *ticket = handle_lock(HANDLE_TICKET, handle);
	bool is_wanted = ticket && ticket->state == TICKET_OPEN && !ticket->is_finishing;
	handle_unlock();
	return is_wanted ? &ticket->event : NULL;
}

/* ── the plugin's side ───────────────────────────────────────────────────── */

struct cdpd_event *ticket_sdk_event(struct cdpd_ticket *handle)
{
	bool is_there = handle_lock(HANDLE_TICKET, handle) != NULL;
	handle_unlock();
	return is_there ? (struct cdpd_event *)(void *)handle : NULL;
}

struct enrich_view *ticket_view(const struct cdpd_instance *instance, const struct cdpd_event *handle)
{
	struct ticket *ticket = handle_lock(HANDLE_TICKET, handle);
	struct enrich_view *view =
	    ticket && ticket->instance == instance && !ticket->is_finishing ? &ticket->view : NULL;
	handle_unlock();
	return view;
}

/* What was set, as one object. */
static int write_patch(struct ticket *ticket)
{
	struct enrich_view *view = &ticket->view;
	if (view->values.count == 0) return OK;
	buf_clear(&view->scratch);
	int rc = enrich_values_write(&view->values, &view->scratch);
	return rc ? rc : arena_str(&ticket->arena, buf_str(&view->scratch), &ticket->answer.patch);
}

static void write_answer(struct ticket *ticket, int error, const char *reason)
{
	struct str text = str_from(reason);
	if (text.len > TICKET_REASON_MAX) text.len = TICKET_REASON_MAX;
	ticket->answer.error = error > 0 ? CDPD_ERR_INVALID : error;
	if (error == CDPD_OK && write_patch(ticket)) ticket->answer.error = CDPD_ERR_NOMEM;
	if (arena_str(&ticket->arena, text, &ticket->answer.reason)) ticket->answer.reason = STR_NONE;
}

int ticket_sdk_done(struct cdpd_ticket *handle, int error, const char *reason)
{
	struct ticket *ticket = handle_lock(HANDLE_TICKET, handle);
	if (!ticket || ticket->is_finishing) {
		handle_unlock();
		return CDPD_ERR_INVALID;
	}
	bool is_open = ticket->state == TICKET_OPEN;
	ticket->is_finishing = true; /* now nobody else closes, reclaims or answers it */
	handle_unlock();
	if (is_open) write_answer(ticket, error, reason);
	(void)handle_lock(HANDLE_NONE, NULL);
	handle_release_locked(handle);
	ticket->handle = NULL;
	ticket->state = is_open ? TICKET_ANSWERED : TICKET_RETURNED;
	handle_unlock();
	ticket->on_settled(ticket->ctx, ticket);
	return is_open ? CDPD_OK : CDPD_ERR_TIMEOUT;
}
