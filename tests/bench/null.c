/* An exporter for benches: looks at every record and takes it, or is never there. */
#include <string.h>

#include "cdpd_plugin.h"

struct null {
	const struct cdpd_host *host;
	bool is_down;
	size_t bytes;
};

static struct null self; /* the sum only keeps the reading from being left out */

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	const bool *is_down = ctx;
	struct cdpd_record record = {.size = sizeof record};
	size_t count = self.host->batch_count(batch), bytes = 0;
	if (*is_down) {
		self.host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, "never there");
		return CDPD_RETRY;
	}
	for (size_t i = 0; i < count; i++)
		if (self.host->batch_record(batch, i, &record) == CDPD_OK)
			bytes += record.json.len + (size_t)*record.json.ptr;
	__atomic_fetch_add(&self.bytes, bytes, __ATOMIC_RELAXED);
	return CDPD_ACK;
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	static bool up = false, down = true;
	struct cdpd_str mode = host->conf_text(conf, "mode");
	(void)instance;
	self.host = host;
	*out = mode.len == 4 && memcmp(mode.ptr, "down", 4) == 0 ? &down : &up;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "mode", .type = CDPD_OPTION_ENUM, .default_text = "ack", .values = "ack|down", .help = "what it does"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "null",
    .version = "1",
    .summary = "takes everything and does nothing",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .export_batch = export_batch,
};
