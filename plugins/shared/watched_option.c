#include "watched_option.h"

#define PATH_BYTES 4096

static void on_news(void *ctx, enum watched_news news, const char *path, const char *why)
{
	const struct watched_option *option = ctx;
	const struct setup *setup = &option->setup;
	bool is_fine = news == WATCHED_LOADED;
	setup->host->count(setup->instance, is_fine ? option->reloads : option->failures, 1);
	if (is_fine)
		setup->host->log(setup->instance, CDPD_LOG_INFO, "%s has changed, the new one is used", path);
	else
		setup->host->log(setup->instance, CDPD_LOG_WARN,
				 "%s has changed and cannot be used, the old one stays (%s)", path, why);
}

struct watched_reader *watched_option_open(struct watched_option *option, const struct watched_kind *kind,
					   const char *name, struct cdpd_str path, int64_t every_us, const char *hint)
{
	char text[PATH_BYTES], why[WATCHED_WHY_MAX];
	const struct setup *setup = &option->setup;
	if (setup_text(*setup, name, path, text, sizeof text) != CDPD_OK) return NULL;
	struct watched_reader *reader = watched_open(kind, text, every_us / 1000, on_news, option, why);
	if (!reader)
		setup->host->log(setup->instance, CDPD_LOG_ERROR, "%s: %s cannot be used (%s)%s", name, text, why,
				 hint);
	return reader;
}
