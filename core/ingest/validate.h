/* validate: what an event must be to be taken, beyond being readable. Each refusal has a code and a JSON pointer; docs/http-api.md lists them. */
#pragma once

#include "ingest/internal.h"

/* The message has been read. OK, or ERR_INVALID with the draft's fault. */
MUST_USE int validate_event(struct draft *draft, const struct conf_source *source, const struct conf_limits *limits);
/* Has no object of it more than OBJECT_KEYS_MAX members? Else the draft's fault; its pointer is made in the arena. */
MUST_USE int validate_key_counts(struct draft *draft, struct json message, struct arena *arena);
