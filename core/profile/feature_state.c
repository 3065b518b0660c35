#include "profile/feature_state.h"

/* ── of the type ─────────────────────────────────────────────────────────── */

uint32_t type_state_max(const struct feature_def *def)
{
	const struct cdpd_feature_type *type = def->impl;
	uint32_t max = feature_type_has_options(type) && type->state_max ? type->state_max(&def->params) : 0;
	return max > 0 && max < type->max_state ? max : type->max_state;
}

uint32_t type_state_init(const struct feature_def *def, void *state)
{
	const struct cdpd_feature_type *type = def->impl;
	if (feature_type_has_options(type) && type->init_with) return type->init_with(&def->params, state);
	return type->init(state);
}

int type_state_add(const struct feature_def *def, void *state, uint32_t *len, const struct cdpd_feature_input *input)
{
	const struct cdpd_feature_type *type = def->impl;
	if (feature_type_has_options(type) && type->add_with) return type->add_with(&def->params, state, len, input);
	return type->add(state, len, input);
}

int type_state_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	const struct cdpd_feature_type *type = def->impl;
	if (feature_type_has_options(type) && type->merge_with)
		return type->merge_with(&def->params, into, len, other, other_len);
	return type->merge(into, len, other, other_len);
}

int type_state_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json,
		    uint32_t size)
{
	const struct cdpd_feature_type *type = def->impl;
	if (feature_type_has_options(type) && type->read_with)
		return type->read_with(&def->params, state, len, now, json, size);
	return type->read(state, len, now, json, size);
}

/* ── of the feature ──────────────────────────────────────────────────────── */

uint64_t feature_state_max(const struct feature_def *def)
{
	if (def->key.len == 0) return type_state_max(def);
	return KEYED_HEADER + (uint64_t)def->max_keys * keyed_entry_max(def);
}

uint32_t feature_keys_max(const struct feature_def *def)
{
	return (FEATURE_STATE_MAX - KEYED_HEADER) / keyed_entry_max(def);
}

uint32_t feature_state_init(const struct feature_def *def, void *state)
{
	return def->key.len ? keyed_init(state) : type_state_init(def, state);
}

int feature_state_add(const struct feature_def *def, struct str key, void *state, uint32_t *len,
		      const struct cdpd_feature_input *input)
{
	return def->key.len ? keyed_add(def, key, state, len, input) : type_state_add(def, state, len, input);
}

int feature_state_merge(const struct feature_def *def, void *into, uint32_t *len, const void *other, uint32_t other_len)
{
	return def->key.len ? keyed_merge(def, into, len, other, other_len)
			    : type_state_merge(def, into, len, other, other_len);
}

int feature_state_read(const struct feature_def *def, const void *state, uint32_t len, int64_t now, char *json,
		       uint32_t size)
{
	return def->key.len ? keyed_read(def, state, len, now, json, size)
			    : type_state_read(def, state, len, now, json, size);
}
