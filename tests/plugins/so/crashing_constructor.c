/* Dies while it is loaded. */
#include <stdlib.h>

#include "cdpd_plugin.h"

__attribute__((constructor)) static void die(void)
{
	abort();
}

static int enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "crashing_constructor",
    .version = "1",
    .summary = "dies while it is loaded",
    .caps = CDPD_CAP_ENRICH,
    .enrich = enrich,
};
