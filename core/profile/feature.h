/* feature: computed values of a person. A feature type is four pure functions over a small flat state:
 * init, add(event), merge(a, b), read. Built-in types and feature plugins use the same struct (the plugin SDK's
 * cdpd_feature_type), so neither can do what the other cannot.
 *
 * Exact types give the same answer for any order of adds and merges. */
#pragma once

#include "base/arena.h"
#include "cdpd_plugin.h" /* the SDK header: struct cdpd_feature_type */

struct feature_def {
	struct str name, type;
	struct str event;       /* filter: a track's event name, or a type name such as "page"; empty: all */
	struct str field;       /* path of the input; empty: none */
	uint32_t state_version; /* of the type, when the definition was written */
	const struct cdpd_feature_type *impl; /* NULL: not registered (any more), the feature rests */
	uint64_t since_seq;
};

/* count, sum, first, last are registered from the start; plugins add theirs before the fold starts. Not thread-safe. */
MUST_USE int feature_type_register(struct str name, const struct cdpd_feature_type *type);
const struct cdpd_feature_type *feature_type_find(struct str name); /* NULL: unknown */

/* For a look after a crash: while a function of a type runs on the calling thread, `note` holds the type's name (NUL-terminated, cut to
 * `size`), else "". NULL: nobody asks, as on any other thread. */
void feature_watch(char *note, size_t size);
void feature_note(struct str type);
