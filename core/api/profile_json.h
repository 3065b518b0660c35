/* profile_json: a person as outsiders see one. Pure: from struct profile to JSON text. */
#pragma once

#include "base/json.h"
#include "profile/people.h"

/* Members only; the caller opens and closes the object. `position`: of the snapshot. */
void profile_write_ids(struct json_out *out, const struct profile *profile);
void profile_write_identifiers(struct json_out *out, const struct profile *profile);
void profile_write_traits(struct json_out *out, const struct profile *profile); /* losers, when read, under "others" */
void profile_write_features(struct json_out *out, const struct profile *profile);
void profile_write_consent(struct json_out *out, const struct profile_consent *consent); /* members of one */
void profile_write_segments(struct json_out *out, const struct profile *profile);
/* The whole object of GET /v1/profiles/{ref}. */
void profile_write(struct json_out *out, const struct profile *profile, struct str position);
void profile_write_id(struct json_out *out, const uint8_t id[16]); /* 32 hex digits */
