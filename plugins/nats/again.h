/* again: messages that the stream has, and that must nevertheless be published once more: an earlier one of the same person was not taken, and order counts. The
 * stream would know them by their ids, so they get another one. */
#pragma once

#include "cdpd_plugin.h"

#define AGAIN_MAX 65536 /* more are forgotten: then the server leaves them out */

struct again {
	uint64_t *hashes; /* of delivery ids */
	size_t count, size;
};

void again_add(struct again *again, struct cdpd_str delivery_id);
bool again_has(const struct again *again, struct cdpd_str delivery_id);
void again_remove(struct again *again, struct cdpd_str delivery_id);
void again_free(struct again *again);
