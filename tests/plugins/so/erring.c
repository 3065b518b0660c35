/* A sync enricher that sets something, then does what properties.do says: err, drop, trespass, junk, clash or nothing. */
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"

struct erring {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int what, out, below, foreign;
};

static int do_it(struct erring *self, struct cdpd_event *event, struct cdpd_str what)
{
	const struct cdpd_host *host = self->host;
	if (what.len == 3 && memcmp(what.ptr, "err", 3) == 0) return CDPD_ERR_IO;
	if (what.len == 4 && memcmp(what.ptr, "drop", 4) == 0)
		return host->event_drop(self->instance, event, "asked to");
	if (what.len == 8 && memcmp(what.ptr, "trespass", 8) == 0)
		return host->event_set_bool(self->instance, event, self->foreign, true);
	if (what.len == 4 && memcmp(what.ptr, "junk", 4) == 0) {
		return host->event_set_json(self->instance, event, self->out, (struct cdpd_str){"{\"a\":", 5});
	}
	if (what.len == 5 && memcmp(what.ptr, "clash", 5) == 0)
		return host->event_set_bool(self->instance, event, self->below, true);
	return CDPD_OK;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct erring *self = ctx;
	struct cdpd_value value;
	int rc = self->host->event_set_text(self->instance, event, self->out, (struct cdpd_str){"here", 4});
	if (rc == CDPD_OK) rc = self->host->event_get(self->instance, event, self->what, &value);
	return rc == CDPD_OK ? do_it(self, event, value.text) : rc;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	(void)conf;
	struct erring *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->what = host->path(instance, "properties.do");
	self->out = host->path(instance, "enrichment.erring.mark");
	self->below = host->path(instance, "enrichment.erring.mark.below");
	self->foreign = host->path(instance, "enrichment.campaign.source");
	*out = self;
	return CDPD_OK;
}

static const char *const provides[] = {"enrichment.erring"};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "erring",
    .version = "1",
    .summary = "does what the event says",
    .caps = CDPD_CAP_ENRICH,
    .provides = {1, provides},
    .create = create,
    .destroy = free,
    .enrich = enrich,
};
