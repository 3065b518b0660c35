/* A sync enricher that sleeps in the path of events named "Sleep". */
#include <string.h>
#include <unistd.h>

#include "cdpd_plugin.h"

struct sleepy {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int event;
};

static struct sleepy selves[64];
static int count;

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	(void)conf;
	struct sleepy *self = &selves[__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) % 64];
	*self = (struct sleepy){host, instance, host->path(instance, "event")};
	*out = self;
	return CDPD_OK;
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct sleepy *self = ctx;
	struct cdpd_value name;
	int rc = self->host->event_get(self->instance, event, self->event, &name);
	if (rc == CDPD_OK && name.text.len == 5 && !memcmp(name.text.ptr, "Sleep", 5)) sleep(2);
	return rc;
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "sleepy",
    .version = "1",
    .summary = "sleeps",
    .caps = CDPD_CAP_ENRICH,
    .create = create,
    .enrich = enrich,
};
