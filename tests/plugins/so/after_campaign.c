/* Reads what campaign set: must stand behind it wherever the config names it. */
#include <stdlib.h>

#include "cdpd_plugin.h"

struct after {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int in, out;
};

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct after *self = ctx;
	struct cdpd_value value;
	int rc = self->host->event_get(self->instance, event, self->in, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING) return rc;
	return self->host->event_set_text(self->instance, event, self->out, value.text);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	(void)conf;
	struct after *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->in = host->path(instance, "enrichment.campaign.source");
	self->out = host->path(instance, "enrichment.after.seen");
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"enrichment.campaign.source"};
static const char *const provides[] = {"enrichment.after"};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "after_campaign",
    .version = "1",
    .summary = "copies the campaign's source",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .create = create,
    .destroy = free,
    .enrich = enrich,
};
