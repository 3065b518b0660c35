/* schema: every key of a configuration, its type, range, default and place, as tables. */
#pragma once

#include "config/form.h"
#include "config/read.h"

struct conf_preferences { /* become a form: config/forms.c */
	uint32_t version;
	const struct node *title;
	struct conf_option *topics, *channels, *frequencies, *languages;
	size_t topic_count, channel_count, frequency_count, language_count;
	bool has_quiet_hours;
};

/* A config on its way from the tree: with what only the way needs. */
struct draft {
	struct config config;
	struct str *http, *https, *admin; /* listen.*: become config.listeners */
	size_t http_count, https_count, admin_count;
	struct conf_preferences preferences;
};

extern const struct table schema_root;         /* reads a struct draft */
extern const char *const lawful_basis_names[]; /* in the enum's order, ends with NULL */
extern const struct table schema_features;     /* features alone, of a file of their own; reads a struct draft too */
struct segment_file {                          /* what segments_file holds */
	struct conf_segment *items;
	size_t count;
};
extern const struct table schema_segment_file; /* reads a struct segment_file */
