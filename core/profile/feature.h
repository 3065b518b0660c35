/* feature: computed values of a person. A feature type is four pure functions over a small flat state:
 * init, add(event), merge(a, b), read. Built-in types and feature plugins use the same struct (the plugin SDK's
 * cdpd_feature_type), so neither can do what the other cannot.
 *
 * Exact types give the same answer for any order of adds and merges. */
#pragma once

#include "base/arena.h"
#include "cdpd_plugin.h" /* the SDK header: struct cdpd_feature_type */
#include "config/config.h"

/* One of `where`: all that is set must hold. Values compare as text; numbers by size. */
struct feature_condition {
	struct str field;
	struct str *in, *not_in; /* any of these; none of these */
	size_t in_count, not_in_count;
	bool has_exists, exists, has_min, has_max;
	double min, max; /* inclusive; what is no number fails */
};

struct feature_def {
	struct str name, type;
	struct str *events; /* filter, sorted: tracks' event names, or type names such as "page"; none: all */
	size_t event_count;
	struct str field; /* path of the input; empty: none */
	struct str key;   /* path of the key: a state for each key; empty: one state */
	uint32_t max_keys;
	struct feature_condition *where; /* all must hold */
	size_t where_count;
	uint32_t state_version;               /* of the type, when the definition was written */
	const struct cdpd_feature_type *impl; /* NULL: not registered (any more), the feature rests */
	struct cdpd_params params;            /* the type's options, compiled */
	/* Canonical JSON of all but name, type, event (when at most one) and field; empty when nothing of it is given. Equal features
	 * have equal text. */
	struct str extra;
	uint64_t since_seq;
};

/* The built-in types are registered from the start; plugins add theirs. One thread registers; any thread finds. */
MUST_USE int feature_type_register(struct str name, const struct cdpd_feature_type *type);
const struct cdpd_feature_type *feature_type_find(struct str name); /* NULL: unknown */
size_t feature_type_names(const char **names, size_t max);          /* how many were put */
/* Does the type have what was appended in 1.1? */
bool feature_type_has_options(const struct cdpd_feature_type *type);

/* The config's features against their types: unknown types and options, ranges, missing fields, keys. *errors is malloc'd text, one complaint a
 * line, each "file:line: …". After feature plugins were registered. ERR_INVALID, ERR_NOMEM. */
MUST_USE int features_check_config(const struct config *config, char **errors);

/* For a look after a crash: while a function of a type runs on the calling thread, `note` holds the type's name (NUL-terminated, cut to
 * `size`), else "". NULL: nobody asks, as on any other thread. */
void feature_watch(char *note, size_t size);
void feature_note(struct str type);
