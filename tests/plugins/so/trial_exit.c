/* Ends the process at its third event. */
#include <unistd.h>

#include "cdpd_plugin.h"

static int enrich(void *ctx, struct cdpd_event *event)
{
	static int count;
	(void)ctx;
	(void)event;
	if (++count == 3) _exit(7);
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "trial_exit",
    .version = "1.0.0",
    .summary = "ends the process",
    .caps = CDPD_CAP_ENRICH,
    .enrich = enrich,
};
