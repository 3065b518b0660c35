/* Nothing but the header: what a plugin in C11 starts from. */
#include "cdpd_plugin.h"

static enum cdpd_verdict export_batch(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	(void)self;
	(void)batch;
	(void)receipt;
	return CDPD_RETRY;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "alone",
    .version = "1",
    .summary = "the header by itself",
    .caps = CDPD_CAP_EXPORT,
    .export_batch = export_batch,
};
