#include "rpc/rpc.h"

extern const char cdpd_descriptor_set[]; /* made by the build of proto/ */
extern const size_t cdpd_descriptor_set_len;

static const struct grpc_service *const SERVICES[] = {&event_service, &profile_service, &change_service};

int rpc_new(struct grpc_server **out)
{
	return grpc_server_new(SERVICES, COUNT_OF(SERVICES), str_of(cdpd_descriptor_set, cdpd_descriptor_set_len), out);
}
