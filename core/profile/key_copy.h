/* key_copy: the key that every fragment's id hangs on, kept a second time in `state/profiles.key`. Erasures and what is left of erased
 * events name people by these ids alone: profiles that are built anew from the journal must come to the same ones. */
#pragma once

#include "base/hash.h"

MUST_USE int key_copy_read(const char *store_path, struct hash_key *out); /* ERR_NOT_FOUND, ERR_CORRUPT */
/* Durable, whole or not at all. */
MUST_USE int key_copy_write(const char *store_path, const struct hash_key *key);
