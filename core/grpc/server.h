/* server: what health and reflection see of it. */
#pragma once

#include "grpc/descriptors.h"
#include "grpc/grpc.h"

#define GRPC_BUILTIN_COUNT 3

/* Health, reflection v1 and v1alpha; in the arena. NULL: no memory. */
const struct grpc_service *const *grpc_builtin_services(struct arena *arena, struct grpc_server *server);
extern const struct grpc_method grpc_health_methods[2], grpc_reflection_methods[1];

bool grpc_server_has_reflection(const struct grpc_server *server);
bool grpc_server_is_draining(const struct grpc_server *server);
const struct grpc_service *grpc_server_service(const struct grpc_server *server, size_t index); /* NULL past the last */
const struct descriptors *grpc_server_descriptors(const struct grpc_server *server);
