/* call: what stands behind grpc.h: one call from its head to its trailers. Everything here runs on the call's loop.
 *
 * A call ends once, from any of four sides: its method finishes it, the client leaves, its deadline passes, or its client breaks
 * the protocol. It may do so inside of any callback, so whoever calls one looks at the state afterwards; the memory stays
 * until the last of those has returned. */
#pragma once

#include <event2/event_struct.h>
#include <stdatomic.h>

#include "base/gzip.h"
#include "base/metric.h"
#include "grpc/grpc.h"
#include "grpc/reader.h"

#define GRPC_CALL_MAGIC   0x63707267u
#define GRPC_TRAILERS_MAX 8 /* keeps a call small enough for the quick lists of malloc */
#define GRPC_STATUS_COUNT 17

/* A method as it is registered, with what is counted of it. Lives as long as the server. */
struct grpc_route {
	struct grpc_server *server;
	const struct grpc_service *service;
	const struct grpc_method *method;
	const char *path;                                      /* "/cdpd.v1.EventService/Publish" */
	_Atomic(struct metric *) by_status[GRPC_STATUS_COUNT]; /* made when first needed */
	struct metric *received, *sent;
};

enum grpc_call_state {
	GRPC_CALL_OPEN,
	GRPC_CALL_ENDING, /* finished; its last bytes wait for the client to read */
	GRPC_CALL_OVER,   /* only its memory is left */
};

struct grpc_call {
	uint32_t magic;
	enum grpc_call_state state;
	unsigned depth; /* callbacks that are running */
	struct grpc_route *route;
	struct http_request *request;
	struct http_duplex *duplex;
	void *method_state;

	/* from the client */
	struct grpc_reader reader;
	struct buf pending; /* came while the call was held; not consumed yet */
	struct str message; /* of a method without client streaming, until the client has sent all */
	struct arena unpacked;
	bool is_held, is_delivering, has_sent_all, is_half_closed, is_closing /* `closed` is running */;

	/* to the client */
	bool has_head, has_metadata, is_broken /* part of a message could not be sent */, accepts_gzip;
	struct buf packed, out; /* the message in hand; the same, compressed */
	struct buf backlog;     /* what of sent messages the carrier had no room for */
	size_t backlog_counted; /* grpc/memory.h */
	struct gzip *gzip;
	struct http_trailer trailers[GRPC_TRAILERS_MAX]; /* the first three are ours: status, message, details */
	size_t trailer_count;
	int retry_after_s; /* -1: the problem table's */

	int64_t deadline_us;
	struct event timer, stall;
	bool has_timer, has_stall;
	size_t received, message_count; /* bytes and whole messages of the client */
	struct {
		size_t received, message_count, backlog;
	} at_stall; /* when `stall` was set */
};

/* ── call_life.c ── */

/* NULL: no memory. */
struct grpc_call *grpc_call_new(struct http_request *request, struct grpc_route *route, bool has_gzip);
/* Around everything that may call the method: keeps the memory. */
void grpc_call_enter(struct grpc_call *call);
void grpc_call_leave(struct grpc_call *call);
/* Nothing of it but memory is left; that goes when no callback runs any more. */
void grpc_call_release(struct grpc_call *call);

/* ── call.c ── */

/* A route's duplex handler; ctx is a struct grpc_route. */
void grpc_call_accept(struct http_request *request, void *ctx);
/* The head of the answer, once. */
void grpc_call_head(struct grpc_call *call);
/* The protocol layer ends the call: the method is told. */
void grpc_call_break(struct grpc_call *call, enum grpc_status status, struct str message);
/* A message has begun, or the last bytes wait: neither may take for ever. */
void grpc_call_watch(struct grpc_call *call);

/* ── send.c ── */

/* Sends what waits; true when nothing does any more. */
bool grpc_send_backlog(struct grpc_call *call);

/* ── status.c ── */

/* Answers a request that becomes no call. `accepted`: the encodings to advertise, or empty. */
void grpc_status_refuse(struct http_request *request, enum grpc_status status, struct str message, struct str accepted);
/* Counts, and sends the trailers as soon as everything before them is sent. */
void grpc_status_end(struct grpc_call *call, enum grpc_status status, struct str message);
/* Sends the trailers made by grpc_status_end; the call is over. */
void grpc_status_send(struct grpc_call *call);

/* ── server.c ── */

void grpc_route_count(struct grpc_route *route, enum grpc_status status);
