/* Crashes at its eighth event. */
#include "cdpd_plugin.h"

static int enrich(void *ctx, struct cdpd_event *event)
{
	static int count;
	int *volatile nowhere = (void *)8;
	(void)ctx;
	(void)event;
	if (++count == 8) *nowhere = 1;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "trial_crash",
    .version = "1.0.0",
    .summary = "crashes at its eighth event",
    .caps = CDPD_CAP_ENRICH,
    .enrich = enrich,
};
