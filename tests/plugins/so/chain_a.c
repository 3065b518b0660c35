/* Needs what chain_b provides, and the other way round. */
#include "cdpd_plugin.h"

static int enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return CDPD_OK;
}

static const char *const needs[] = {"enrichment.chain_b.x"};
static const char *const provides[] = {"enrichment.chain_a"};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "chain_a",
    .version = "1",
    .summary = "one half of a circle",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .enrich = enrich,
};
