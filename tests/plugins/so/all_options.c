/* One option of each type, for the tests of checking; its create tells nothing. */
#include "cdpd_plugin.h"

static int enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "title", .type = CDPD_OPTION_STRING, .default_text = "none", .min = 2, .max = 8, .help = "text"},
    {.name = "retries", .type = CDPD_OPTION_INT, .default_text = "3", .min = 0, .max = 10, .help = "whole number"},
    {.name = "ratio", .type = CDPD_OPTION_FLOAT, .default_text = "0.5", .min = 0, .max = 1, .help = "number"},
    {.name = "is_on", .type = CDPD_OPTION_BOOL, .default_text = "true", .help = "switch"},
    {.name = "timeout", .type = CDPD_OPTION_DURATION, .default_text = "10s", .min = 1000, .max = 60e6, .help = "time"},
    {.name = "buffer", .type = CDPD_OPTION_SIZE, .default_text = "64KiB", .min = 1, .max = 1e6, .help = "bytes"},
    {.name = "color", .type = CDPD_OPTION_ENUM, .default_text = "red", .values = "red|green", .help = "one of some"},
    {.name = "names", .type = CDPD_OPTION_LIST, .default_text = "a, b", .min = 0, .max = 3, .help = "several"},
    {.name = "key", .type = CDPD_OPTION_SECRET, .help = "hidden"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "all_options",
    .version = "1",
    .summary = "one option of each type",
    .caps = CDPD_CAP_ENRICH,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .enrich = enrich,
};
