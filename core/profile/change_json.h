/* change_json: a change as outsiders see it, whoever shows it: the feed, subscriptions, destinations. */
#pragma once

#include "base/json.h"
#include "profile/change.h"

/* "kind", "profile", "position", "at", then the body's own members. The caller opens and closes the object. `epoch`: of the journal; `body`:
 * what is shown of the change, an object. */
void change_write_members(struct json_out *out, uint64_t epoch, const struct change *change, struct str body);
