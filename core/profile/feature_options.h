/* feature_options: the options of a feature's type: from a configuration's text, from and to the canonical JSON of definitions. */
#pragma once

#include "base/json.h"
#include "profile/feature.h"

/* The type's table of options; empty for types of 1.0. */
struct cdpd_options feature_options_of(const struct cdpd_feature_type *type);
const struct cdpd_option *feature_option(const struct cdpd_options *options, size_t index);

/* Every option at its default. ERR_NOMEM; ERR_INVALID: a default of the table cannot be read. */
MUST_USE int feature_options_default(const struct cdpd_feature_type *type, struct arena *arena,
				     struct cdpd_params *out);
/* From text as it stands in a file. ERR_INVALID with *why: a text in the arena that goes on after the option's name. */
MUST_USE int feature_option_read(const struct cdpd_option *option, struct str text, struct arena *arena,
				 struct cdpd_param *out, struct str *why);
/* Those that differ from their default, by name; nothing at all when none does. ERR_NOMEM. */
MUST_USE int feature_options_write(struct json_out *out, const struct cdpd_feature_type *type,
				   const struct cdpd_params *params, struct arena *arena);
/* From that JSON object into `out`, which holds the defaults. ERR_INVALID: an unknown option or a value its type does not take (any more). */
MUST_USE int feature_options_parse(struct json object, const struct cdpd_feature_type *type, struct arena *arena,
				   struct cdpd_params *out);
