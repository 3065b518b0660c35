/* Gives an event the name at properties.as, then fails when properties.fail is there. What event_rename answered is enrichment.renamer.rc, the campaign's source,
 * which it uses when somebody sets it, enrichment.renamer.seen. */
#include <stdlib.h>

#include "cdpd_plugin.h"

struct renamer {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int as, fail, source, rc, seen;
};

static int enrich(void *ctx, struct cdpd_event *event)
{
	const struct renamer *self = ctx;
	const struct cdpd_host *host = self->host;
	struct cdpd_value value;
	int rc = host->event_get(self->instance, event, self->source, &value);
	if (rc == CDPD_OK && value.kind == CDPD_VALUE_STRING)
		rc = host->event_set_text(self->instance, event, self->seen, value.text);
	if (rc == CDPD_OK) rc = host->event_get(self->instance, event, self->as, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING) return rc;
	rc = host->event_set_number(self->instance, event, self->rc,
				    host->event_rename(self->instance, event, value.text));
	if (rc == CDPD_OK) rc = host->event_get(self->instance, event, self->fail, &value);
	return rc == CDPD_OK && value.kind != CDPD_VALUE_NONE ? CDPD_ERR_IO : rc;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct renamer *self = calloc(1, sizeof *self);
	(void)conf;
	if (!self || !CDPD_HAS(host, event_rename)) return CDPD_ERR_NOMEM;
	*self = (struct renamer){host,
				 instance,
				 host->path(instance, "properties.as"),
				 host->path(instance, "properties.fail"),
				 host->path(instance, "enrichment.campaign.source"),
				 host->path(instance, "enrichment.renamer.rc"),
				 host->path(instance, "enrichment.renamer.seen")};
	*out = self;
	return CDPD_OK;
}

static const char *const provides[] = {"enrichment.renamer", "enrichment.renamed_from"};
static const char *const uses[] = {"enrichment.campaign.source"};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4,
    .name = "renamer",
    .version = "1",
    .summary = "gives events another name",
    .caps = CDPD_CAP_ENRICH,
    .provides = {2, provides},
    .create = create,
    .destroy = free,
    .enrich = enrich,
    .uses = {1, uses},
};
