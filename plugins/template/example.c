/* example: a sync enricher that marks large orders. The header says everything about each function: cdpd_plugin.h. */
#include <stdlib.h>

#include "cdpd_plugin.h"

struct example { /* one for each io thread of the daemon */
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int total, is_large; /* numbers of field paths */
	double least;
};

/* In microseconds and without I/O: this stands in the path of every event. */
static int enrich(void *ctx, struct cdpd_event *event)
{
	struct example *self = ctx;
	struct cdpd_value total;
	int rc = self->host->event_get(self->instance, event, self->total, &total);
	if (rc != CDPD_OK || total.kind != CDPD_VALUE_NUMBER) return rc;
	return self->host->event_set_bool(self->instance, event, self->is_large, total.number >= self->least);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct example *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->least = host->conf_float(conf, "least");
	self->total = host->path(instance, "properties.total");
	self->is_large = host->path(instance, "enrichment.example.is_large");
	*out = self;
	return CDPD_OK;
}

/* The chain of enrichers is sorted by these two; what is not under `provides` cannot be set. */
static const char *const needs[] = {"properties.total"};
static const char *const provides[] = {"enrichment.example"};

static const struct cdpd_option options[] = {
    {
	.name = "least",
	.type = CDPD_OPTION_FLOAT,
	.default_text = "100",
	.max = 1e9,
	.help = "a total from which an order is large",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0, /* the oldest that has all it uses */
    .name = "example",
    .version = "1.0.0",
    .summary = "marks large orders",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .options = {sizeof options[0], 1, options},
    .create = create,
    .destroy = free,
    .enrich = enrich,
};
