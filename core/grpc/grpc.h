/* grpc: the protocol gRPC over HTTP/2, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md describes it: paths,
 * message framing, gzip, deadlines, metadata, statuses and trailers; health and reflection. It knows no service of cdpd: core/rpc
 * registers those as tables of methods.
 *
 * A call lives on one loop's thread. Every callback runs there, and every function here is called there. */
#pragma once

#include <google/protobuf-c/protobuf-c.h>

#include "net/http.h"

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

#define GRPC_MESSAGE_MAX \
	((size_t)1024 * 1024) /* of one message from a client, decompressed, unless its method says otherwise */

struct grpc_call;

/* One row of a service. For a method without client streaming the protocol layer itself insists on exactly one message, and calls
 * `message` only once the client has sent all. */
struct grpc_method {
	const char *name; /* "Publish" */
	bool client_streams, server_streams;
	size_t message_max; /* 0: GRPC_MESSAGE_MAX */
	/* Like struct route's: the token scope, "write_key" or "". Documentation and the scope test; who checks is the method. */
	const char *scope;
	/* The metadata is there, no message yet; may be NULL. May end the call. */
	void (*start)(struct grpc_call *call);
	/* One message, decompressed, followed by BUF_SLACK readable bytes; borrowed until the callback returns or, after grpc_hold, until
	 * grpc_next. With client streaming the next one is not handed over before the callback returned (grpc_hold: before grpc_next). */
	void (*message)(struct grpc_call *call, struct str bytes);
	void (*half_closed)(struct grpc_call *call); /* client streaming: no more messages; may be NULL otherwise */
	void (*writable)(struct grpc_call *call);    /* server streaming: grpc_room grew again */
	/* The client cancelled, its deadline passed, it broke the protocol, or it is gone: nothing can be sent any more, the call is gone
	 * when this returns. Not called after grpc_finish; called also when no message has come yet. What other threads work on for the
	 * call must be cut off from it here. May be NULL for methods that always end within their callbacks. */
	void (*closed)(struct grpc_call *call);
	/* The connection is to end soon, because the server stops or it is old: calls that may last long end themselves at their next good
	 * moment, best with UNAVAILABLE. NULL: the call goes on until it ends by itself or drain_timeout is over. */
	void (*drain)(struct grpc_call *call);
};
struct grpc_service {
	const char *name; /* "cdpd.v1.EventService" */
	const struct grpc_method *methods;
	size_t method_count;
	void *ctx;
};

struct grpc_server;
/* `services`: borrowed for ever. Registers "/<service>/<method>" of each, health and reflection (both versions). `descriptors`: a serialized
 * google.protobuf.FileDescriptorSet of every service, for reflection. */
MUST_USE int grpc_server_new(const struct grpc_service *const *services, size_t count, struct str descriptors,
			     struct grpc_server **out);
/* After the io threads have stopped. */
void grpc_server_free(struct grpc_server *server);
/* The server outlives whoever matches paths with the router. */
MUST_USE int grpc_register(struct grpc_server *server, struct router *router);
/* Served at first; else its methods are UNIMPLEMENTED. Any thread. */
void grpc_set_reflection(struct grpc_server *server, bool is_served);
/* For tests and documentation: calls fn for each method in the order registered, the built-in ones last. */
void grpc_each_method(const struct grpc_server *server,
		      void (*fn)(void *ctx, const struct grpc_service *service, const struct grpc_method *method),
		      void *ctx);
/* Health says NOT_SERVING from now on, to watchers too once net_drain retires their connections. Any thread. */
void grpc_set_draining(struct grpc_server *server);

/* ── within a call ───────────────────────────────────────────────────────── */

const struct http_request *grpc_request(
    const struct grpc_call *call); /* for http_header, http_client_ip, http_worker … */
struct str grpc_metadata(const struct grpc_call *call, struct str name); /* first, or empty; "-bin" ones decoded */
struct arena *grpc_arena(struct grpc_call *call);                        /* dies with the call */
struct loop *grpc_loop(const struct grpc_call *call);
void *grpc_worker(const struct grpc_call *call); /* net_options.worker_ctx */
void *grpc_ctx(const struct grpc_call *call);    /* the service's */
void *grpc_state(const struct grpc_call *call);  /* the method's own; NULL at first */
void grpc_set_state(struct grpc_call *call, void *state);
int64_t grpc_deadline_us(const struct grpc_call *call); /* monotonic; INT64_MAX: none */
const struct grpc_method *grpc_call_method(const struct grpc_call *call);

/* Back-pressure: inside `message`, asks to hand over nothing more until grpc_next. */
void grpc_hold(struct grpc_call *call);
void grpc_next(struct grpc_call *call);

/* Unpacks into an arena with a cap, after checking that strings are UTF-8 without NUL and that no field lies about its length.
 * ERR_INVALID: the call has been ended with INVALID_ARGUMENT (`closed` was not called). Lives until the current message is over: until
 * `message` returns or, after grpc_hold, until grpc_next; without client streaming as long as the call. */
MUST_USE int grpc_unpack(struct grpc_call *call, const ProtobufCMessageDescriptor *descriptor, struct str bytes,
			 ProtobufCMessage **out);

/* One message to the client. ERR_TOO_LARGE when there is no grpc_room; a message that is larger than the room is taken all the
 * same and leaves none. ERR_BUSY: all clients together read too slowly, end the call; it is also given for ever once part of a
 * message could not be sent. Compressed when the client takes gzip and it pays (docs/grpc-api.md). */
MUST_USE int grpc_send(struct grpc_call *call, const ProtobufCMessage *message);
MUST_USE int grpc_send_bytes(struct grpc_call *call, struct str packed);
size_t grpc_room(const struct grpc_call *call); /* 0 while a message is still on its way */

/* Initial metadata, before the first grpc_send; trailing metadata, before the end. Copied; values of names in "-bin" are given as bytes. */
void grpc_set_metadata(struct grpc_call *call, struct str name, struct str value);
void grpc_set_trailer(struct grpc_call *call, struct str name, struct str value);
/* Sends the initial metadata now, so that a client sees that its stream has begun before there is a message for it. */
void grpc_begin(struct grpc_call *call);

/* Ends the call; it is gone afterwards. What was sent before goes out first. */
void grpc_finish(struct grpc_call *call, enum grpc_status status, struct str message);
void grpc_reply(struct grpc_call *call, const ProtobufCMessage *message); /* grpc_send and OK */
/* What the next grpc_finish_problem advises instead of the problem table's seconds; 0: not to retry. */
void grpc_set_retry_after(struct grpc_call *call, int seconds);
/* The problem table's status; details: ErrorInfo{reason: its code, domain: "cdpd"}, BadRequest with `pointer`, RetryInfo where retrying
 * can help. Empty message: the table's. */
void grpc_finish_problem(struct grpc_call *call, enum problem problem, struct str message, struct str pointer);
