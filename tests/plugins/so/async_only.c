/* An asynchronous enricher: a kind of the contract that a host of 1.0 does not run. */
#include "cdpd_plugin.h"

static int enrich_async(void *self, struct cdpd_ticket *ticket)
{
	(void)self;
	(void)ticket;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "async_only",
    .version = "1",
    .summary = "asks somebody else",
    .caps = CDPD_CAP_ENRICH_ASYNC,
    .enrich_async = enrich_async,
};
