#include "setup.h"

#include <string.h>

int setup_refuse(struct setup setup, const char *option, struct cdpd_str value, const char *why)
{
	setup.host->log(setup.instance, CDPD_LOG_ERROR, "%s: '%.*s' %s", option, (int)value.len, value.ptr, why);
	return CDPD_ERR_INVALID;
}

int setup_text(struct setup setup, const char *option, struct cdpd_str value, char *out, size_t size)
{
	if (value.len >= size) return setup_refuse(setup, option, value, "is too long");
	if (memchr(value.ptr, 0, value.len)) return setup_refuse(setup, option, value, "holds a NUL");
	memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
	return CDPD_OK;
}

int setup_paths(struct setup setup, const struct setup_path *paths, size_t count)
{
	int rc = CDPD_OK;
	for (size_t i = 0; i < count; i++) {
		*paths[i].number = setup.host->path(setup.instance, paths[i].path);
		if (*paths[i].number < 0) rc = CDPD_ERR_NOMEM;
	}
	return rc;
}

void setup_counters(struct setup setup, const struct setup_counter *counters, size_t count)
{
	for (size_t i = 0; i < count; i++)
		*counters[i].number = setup.host->counter(setup.instance, counters[i].name, counters[i].help);
}
