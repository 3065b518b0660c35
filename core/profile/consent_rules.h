/* consent_rules: the purposes as a part of the definitions: the fold decides by them, so they come with a record of the journal. */
#pragma once

#include "base/json.h"
#include "profile/consent.h"

/* The member "consent" of the definitions' object; nothing when the config has no purposes. ERR_NOMEM. */
MUST_USE int consent_rules_write(struct json_out *out, const struct config *config);
/* From the definitions' object; no member is no purpose. Everything is copied into the arena. ERR_INVALID, ERR_NOMEM. */
MUST_USE int consent_rules_parse(struct json root, struct arena *arena, struct consent_rules *out);
