/* Keeps 64 bytes of each event and never gives them back. */
#include <stdlib.h>

#include "cdpd_plugin.h"

static void **kept;

static int enrich(void *ctx, struct cdpd_event *event)
{
	void **more = malloc(64);
	(void)ctx;
	(void)event;
	if (!more) return CDPD_ERR_NOMEM;
	*more = (void *)kept;
	kept = more;
	return CDPD_OK;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "trial_leak",
    .version = "1.0.0",
    .summary = "leaks",
    .caps = CDPD_CAP_ENRICH,
    .enrich = enrich,
};
