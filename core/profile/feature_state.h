/* feature_state: a feature's state as one flat piece of bytes, whether its type has options or not, and whether it is kept per key or not.
 * States are 8-byte aligned and have room for feature_state_max bytes. */
#pragma once

#include "profile/feature.h"
#include "profile/feature_types.h"

struct aligned_state {
	_Alignas(16) uint8_t bytes[FEATURE_STATE_MAX];
};

/* The longest state; may be above FEATURE_STATE_MAX: such a feature is refused. */
uint64_t feature_state_max(const struct feature_def *def);
/* The most keys whose states are sure to fit. */
uint32_t feature_keys_max(const struct feature_def *def);
uint32_t feature_state_init(const struct feature_def *def, void *state);
/* `key` counts when the feature has one. <0: refused, the state is unchanged. */
int feature_state_add(const struct feature_def *def, struct str key, void *state, uint32_t *len,
		      const struct cdpd_feature_input *input);
int feature_state_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other,
			uint32_t other_len);
int feature_state_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json,
		       uint32_t size);

/* ── of the type itself, without keys ────────────────────────────────────── */

uint32_t type_state_max(const struct feature_def *def);
uint32_t type_state_init(const struct feature_def *def, void *state);
int type_state_add(const struct feature_def *def, void *state, uint32_t *len, const struct cdpd_feature_input *input);
int type_state_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other, uint32_t other_len);
int type_state_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json,
		    uint32_t size);

/* ── feature_keyed.c: a map from key to state ────────────────────────────── */

uint32_t keyed_entry_max(const struct feature_def *def);
uint32_t keyed_init(void *state);
int keyed_add(const struct feature_def *def, struct str key, void *state, uint32_t *len,
	      const struct cdpd_feature_input *input);
int keyed_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other, uint32_t other_len);
int keyed_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json, uint32_t size);
#define KEYED_HEADER 8
