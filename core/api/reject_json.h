/* reject_json: an event that was refused before the journal, as rejects and trace show it. */
#pragma once

#include "base/json.h"
#include "journal/journal.h"

void reject_json_write(struct json_out *out, const struct journal_reject_row *row);
/* A copy that outlives journal_rejects' callback. */
MUST_USE int reject_copy(struct arena *arena, const struct journal_reject_row *row, struct journal_reject_row *out);
