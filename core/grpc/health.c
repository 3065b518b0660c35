/* grpc.health.v1.Health. The whole server serves or it does not: every service has the status of all. */
#include "base/wire.h"
#include "grpc/call.h"
#include "grpc/server.h"

enum serving { UNKNOWN = 0, SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 }; /* HealthCheckResponse.ServingStatus */

static enum serving status_of(struct grpc_call *call, struct str service)
{
	const struct grpc_server *server = grpc_ctx(call);
	enum serving status = grpc_server_is_draining(server) ? NOT_SERVING : SERVING;
	const struct grpc_service *known;
	if (service.len == 0) return status;
	for (size_t i = 0; (known = grpc_server_service(server, i)); i++)
		if (str_eq(service, str_from(known->name))) return status;
	return SERVICE_UNKNOWN;
}

static int send_status(struct grpc_call *call, enum serving status)
{
	const char bytes[2] = {0x08, (char)status}; /* status = 1 */
	return grpc_send_bytes(call, str_of(bytes, sizeof bytes));
}

/* HealthCheckRequest{service = 1}; false: the call has been ended. */
static bool read_request(struct grpc_call *call, struct str bytes, struct str *service)
{
	struct wire_field field;
	*service = STR_NONE;
	while (bytes.len) {
		if (!wire_take(&bytes, &field)) {
			grpc_finish(call, GRPC_INVALID_ARGUMENT, STR("the message is not valid protobuf"));
			return false;
		}
		if (field.number == 1 && field.type == WIRE_BYTES) *service = field.bytes;
	}
	return true;
}

static void check(struct grpc_call *call, struct str bytes)
{
	struct str service;
	if (!read_request(call, bytes, &service)) return;
	enum serving status = status_of(call, service);
	if (status == SERVICE_UNKNOWN)
		grpc_finish(call, GRPC_NOT_FOUND, STR("no such service"));
	else if (send_status(call, status) == OK)
		grpc_finish(call, GRPC_OK, STR_NONE);
	else
		grpc_finish(call, GRPC_UNAVAILABLE, STR_NONE);
}

/* An unknown service is told and watched on: it can only become known with a restart. */
static void watch(struct grpc_call *call, struct str bytes)
{
	struct str service;
	if (!read_request(call, bytes, &service)) return;
	enum serving status = status_of(call, service);
	grpc_set_state(call, (void *)(uintptr_t)status);
	if (send_status(call, status) != OK) grpc_finish(call, GRPC_UNAVAILABLE, STR_NONE);
}

static void tell_draining(struct grpc_call *call)
{
	enum serving said = (enum serving)(uintptr_t)grpc_state(call);
	/* When it cannot be sent, the end says enough. */
	if (said == SERVING && grpc_server_is_draining(grpc_ctx(call))) (void)send_status(call, NOT_SERVING);
	grpc_finish_problem(call, PROBLEM_SHUTTING_DOWN, STR_NONE, STR_NONE);
}

const struct grpc_method grpc_health_methods[2] = {
    {.name = "Check", .message_max = 4096, .scope = "", .message = check},
    {.name = "Watch",
     .server_streams = true,
     .message_max = 4096,
     .scope = "",
     .message = watch,
     .drain = tell_draining},
};
