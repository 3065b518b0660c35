/* Its option's default breaks the option's own rule. */
#include "cdpd_plugin.h"

static int enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "retries", .type = CDPD_OPTION_INT, .default_text = "99", .min = 0, .max = 10, .help = "whole number"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "bad_default",
    .version = "1",
    .summary = "its table is wrong",
    .caps = CDPD_CAP_ENRICH,
    .options = {sizeof options[0], 1, options},
    .enrich = enrich,
};
