/* publish: what Publish and PublishStream share: how ingest's word on a request becomes messages. */
#pragma once

#include "cdpd/v1/event_service.pb-c.h"
#include "grpc/grpc.h"
#include "ingest/ingest.h"
#include "rpc/convert.h"

/* Copies into the arena. ERR_NOMEM. */
MUST_USE int publish_rejection(struct arena *arena, const struct ingest_rejection *from, Cdpd__V1__Rejection *to);
/* Position of the result, or empty; `out` holds it. */
char *publish_position(const struct ingest_result *result, char out[POSITION_TEXT_SIZE]);

#define PUBLISH_MESSAGE_MAX ((size_t)5 << 20) /* as much as an HTTP batch */

/* publish_stream.c */
void publish_stream_start(struct grpc_call *call);
void publish_stream_message(struct grpc_call *call, struct str bytes);
void publish_stream_half_closed(struct grpc_call *call);
void publish_stream_writable(struct grpc_call *call);
void publish_stream_closed(struct grpc_call *call);
void publish_stream_drain(struct grpc_call *call);
