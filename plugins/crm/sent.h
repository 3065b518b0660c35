/* sent: what was written last for whom, as far as it is remembered: a contact whose mapped fields are as they were is not written again. In memory only; an entry
 * may be lost at any time, and then the contact is written once more. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SENT_SLOTS 65536

struct sent {
	struct sent_slot {
		uint64_t person, content; /* person 0: empty */
	} * slots;                        /* NULL: nothing was written yet, or there is no memory */
};

/* What a contact says, wherever it is written; never 0. */
uint64_t sent_hash(const json_t *contact, const char *email, const char *phone, const char *id);
bool sent_is_same(const struct sent *sent, const char *profile, uint64_t content);
/* content 0: forget. */
void sent_put(struct sent *sent, const char *profile, uint64_t content);
void sent_fini(struct sent *sent);
