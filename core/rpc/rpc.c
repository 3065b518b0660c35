#include "rpc/rpc.h"

extern const char rpc_descriptor_set[];
extern const size_t rpc_descriptor_set_len;

static const struct grpc_service *const SERVICES[] = {&event_service, &profile_service};

int rpc_new(struct grpc_server **out)
{
	return grpc_server_new(SERVICES, COUNT_OF(SERVICES), str_of(rpc_descriptor_set, rpc_descriptor_set_len), out);
}
