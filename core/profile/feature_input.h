/* feature_input: a value of an event as a feature type gets it. */
#pragma once

#include "cdpd_plugin.h"
#include "profile/feature_path.h"

/* Time, offset and message id of the event; no value yet. */
void input_start(const struct cdpd_event *event, struct cdpd_feature_input *out);
/* Fills kind, number and text; `scratch` holds text that had to be made. Without `wants_text` a number comes without one.
 * ERR_NOT_FOUND: null, or the event lacks it; ERR_NOMEM. */
MUST_USE int input_set_json(struct buf *scratch, bool wants_text, struct json value, struct cdpd_feature_input *input);
/* The value at a path that leads into no array. PART_NONE leaves the input without a value. */
MUST_USE int input_set_path(struct event_view *view, struct buf *scratch, bool wants_text,
			    const struct feature_path *path, struct cdpd_feature_input *input);
