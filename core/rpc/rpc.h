/* rpc: cdpd's gRPC services, the other face beside core/api's HTTP. Tables of methods over core/grpc; what they do is done by the functions
 * that HTTP uses too. It holds no rule of its own: who may, what is refused, and how, is said below. */
#pragma once

#include "grpc/grpc.h"

extern const struct grpc_service event_service, profile_service, change_service;

/* A server of every service, with reflection; what handlers find as grpc_worker() is an api_worker. */
MUST_USE int rpc_new(struct grpc_server **out);
