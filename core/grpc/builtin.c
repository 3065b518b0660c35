/* The services that every server has. */
#include "grpc/server.h"

const struct grpc_service *const *grpc_builtin_services(struct arena *arena, struct grpc_server *server)
{
	static const struct {
		const char *name;
		const struct grpc_method *methods;
		size_t count;
	} builtin[GRPC_BUILTIN_COUNT] = {
	    {"grpc.health.v1.Health", grpc_health_methods, COUNT_OF(grpc_health_methods)},
	    {"grpc.reflection.v1.ServerReflection", grpc_reflection_methods, COUNT_OF(grpc_reflection_methods)},
	    {"grpc.reflection.v1alpha.ServerReflection", grpc_reflection_methods, COUNT_OF(grpc_reflection_methods)},
	};
	struct grpc_service *services = arena_array(arena, struct grpc_service, GRPC_BUILTIN_COUNT);
	const struct grpc_service **list = arena_array(arena, const struct grpc_service *, GRPC_BUILTIN_COUNT);
	if (!services || !list) return NULL;
	for (size_t i = 0; i < GRPC_BUILTIN_COUNT; i++) {
		services[i] = (struct grpc_service){builtin[i].name, builtin[i].methods, builtin[i].count, server};
		list[i] = &services[i];
	}
	return list;
}
