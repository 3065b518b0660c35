/* setup: what the `create` of most plugins does alike: options as texts, and the word for people when one cannot be used. Compiled into each plugin that asks for
 * it. */
#pragma once

#include <stddef.h>

#include "cdpd_plugin.h"

/* Who is being set up. */
struct setup {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
};

/* "option: 'value' why" in the log. CDPD_ERR_INVALID. */
int setup_refuse(struct setup setup, const char *option, struct cdpd_str value, const char *why);
/* An option's text as C has it. CDPD_ERR_INVALID: it does not fit, or has a NUL inside; told. */
int setup_text(struct setup setup, const char *option, struct cdpd_str value, char *out, size_t size);

/* The numbers of several paths, and of counters. CDPD_ERR_NOMEM: one has none. */
struct setup_path {
	int *number;
	const char *path;
};
int setup_paths(struct setup setup, const struct setup_path *paths, size_t count);
struct setup_counter {
	int *number;
	const char *name, *help;
};
void setup_counters(struct setup setup, const struct setup_counter *counters, size_t count);
