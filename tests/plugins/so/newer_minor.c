/* Built for a newer minor version. */
#include "cdpd_plugin.h"

static int enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR + 1,
    .name = "newer_minor",
    .version = "1",
    .summary = "from the future",
    .caps = CDPD_CAP_ENRICH,
    .enrich = enrich,
};
