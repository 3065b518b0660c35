/* Claims what it cannot do. */
#include "cdpd_plugin.h"

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "no_callback",
    .version = "1",
    .summary = "claims enrich without the callback",
    .caps = CDPD_CAP_ENRICH,
};
