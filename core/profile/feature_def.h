/* feature_def: one feature's definition: from the configuration, and from and to the canonical JSON of definition records. */
#pragma once

#include "base/json.h"
#include "config/complaint.h"
#include "profile/feature.h"

#define FEATURE_KEYS_MAX     50
#define FEATURE_KEYS_DEFAULT 20

/* Complains about all that is wrong with the feature. ERR_NOT_FOUND: an unknown type; ERR_INVALID; ERR_NOMEM. Texts borrow the config. */
MUST_USE int feature_def_from_conf(const struct conf_feature *conf, struct arena *arena, struct complaints *complaints,
				   struct feature_def *out);
void feature_def_write(struct json_out *out, const struct feature_def *def);
/* Texts are copied into the arena. With `is_lenient` a type that is not here, or no longer takes the definition, leaves impl NULL; else
 * ERR_NOT_FOUND. ERR_INVALID, ERR_NOMEM. */
MUST_USE int feature_def_parse(struct json object, struct arena *arena, bool is_lenient, struct feature_def *out);
/* Do both count the same in the same way? Not since when. */
bool feature_def_is_same(const struct feature_def *a, const struct feature_def *b);
