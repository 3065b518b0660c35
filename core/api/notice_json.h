/* notice_json: what destinations answered to a notice, as receipts show it. */
#pragma once

#include "api/internal.h"

/* One object of a list. */
void notice_json_write(struct json_out *out, const struct notice_status *status);
