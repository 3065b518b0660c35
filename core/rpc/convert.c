#include "rpc/convert.h"

#define REPLACEMENT "\xef\xbf\xbd"

static size_t count_nuls(struct str text)
{
	size_t count = 0;
	for (size_t i = 0; i < text.len; i++) count += text.ptr[i] == '\0';
	return count;
}

char *convert_text(struct arena *arena, struct str text)
{
	size_t nuls = text.len && memchr(text.ptr, '\0', text.len) ? count_nuls(text) : 0;
	char *copy = arena_alloc(arena, text.len + nuls * (sizeof REPLACEMENT - 2) + 1), *at = copy;
	if (!copy) return NULL;
	if (!nuls) {
		memcpy(copy, text.ptr, text.len);
		copy[text.len] = '\0';
		return copy;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i]) {
			*at++ = text.ptr[i];
			continue;
		}
		memcpy(at, REPLACEMENT, sizeof REPLACEMENT - 1);
		at += sizeof REPLACEMENT - 1;
	}
	*at = '\0';
	return copy;
}

char *convert_position(struct arena *arena, const struct api *api, uint64_t next_seq)
{
	char text[POSITION_TEXT_SIZE];
	return convert_text(arena, api_position_text(api, next_seq, text));
}

char *convert_fragment(struct arena *arena, const struct fragment_id *id)
{
	char *text = arena_alloc(arena, FRAGMENT_ID_TEXT_SIZE);
	if (text) fragment_id_format(id, text);
	return text;
}

int convert_texts(struct arena *arena, const struct str *texts, size_t count, char ***out)
{
	*out = arena_array(arena, char *, count + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		if (!((*out)[i] = convert_text(arena, texts[i]))) return ERR_NOMEM;
	return OK;
}

/* Both the array of messages and the messages themselves, as protobuf-c wants them. */
/* NOLINTBEGIN(bugprone-macro-parentheses): neither types nor names that are declared can stand in them */
#define MESSAGES(arena, type, INIT, count, list, items) \
	type **list = arena_array(arena, type *, (count) + 1), *items = arena_array(arena, type, (count) + 1); \
	if (!list || !items) return ERR_NOMEM; \
	for (size_t n_ = 0; n_ < (count); n_++) { \
		items[n_] = (type)INIT; \
		list[n_] = &items[n_]; \
	}
/* NOLINTEND(bugprone-macro-parentheses) */

/* ── a person ────────────────────────────────────────────────────────────── */

static int identifiers(struct arena *arena, const struct profile *from, Cdpd__V1__Profile *to)
{
	MESSAGES(arena, Cdpd__V1__Identifier, CDPD__V1__IDENTIFIER__INIT, from->identifier_count, list, items)
	for (size_t i = 0; i < from->identifier_count; i++) {
		const struct profile_identifier *id = &from->identifiers[i];
		items[i].namespace_ = convert_text(arena, id->namespace_);
		items[i].value = convert_text(arena, id->value);
		items[i].first_seen_us = id->first_seen;
		items[i].last_seen_us = id->last_seen;
		items[i].events = id->event_count;
		if (!items[i].namespace_ || !items[i].value) return ERR_NOMEM;
	}
	to->identifiers = list;
	to->n_identifiers = from->identifier_count;
	return OK;
}

Cdpd__V1__Provenance convert_provenance(enum provenance provenance)
{
	switch (provenance) {
	case PROVENANCE_DECLARED: return CDPD__V1__PROVENANCE__PROVENANCE_DECLARED;
	case PROVENANCE_OBSERVED: return CDPD__V1__PROVENANCE__PROVENANCE_OBSERVED;
	case PROVENANCE_INFERRED: return CDPD__V1__PROVENANCE__PROVENANCE_INFERRED;
	case PROVENANCE_COUNT: break;
	}
	return CDPD__V1__PROVENANCE__PROVENANCE_UNSPECIFIED;
}

const char *convert_provenance_name(Cdpd__V1__Provenance provenance)
{
	switch (provenance) {
	case CDPD__V1__PROVENANCE__PROVENANCE_UNSPECIFIED: return "";
	case CDPD__V1__PROVENANCE__PROVENANCE_DECLARED: return provenance_name(PROVENANCE_DECLARED);
	case CDPD__V1__PROVENANCE__PROVENANCE_OBSERVED: return provenance_name(PROVENANCE_OBSERVED);
	case CDPD__V1__PROVENANCE__PROVENANCE_INFERRED: return provenance_name(PROVENANCE_INFERRED);
	default: return NULL;
	}
}

static int origin(struct arena *arena, const struct trait_origin *from, Cdpd__V1__TraitValue *to)
{
	if (!from->form.len) return OK;
	Cdpd__V1__TraitOrigin *out = arena_new(arena, Cdpd__V1__TraitOrigin);
	if (!out) return ERR_NOMEM;
	*out = (Cdpd__V1__TraitOrigin)CDPD__V1__TRAIT_ORIGIN__INIT;
	out->form = convert_text(arena, from->form);
	out->question = convert_text(arena, from->question);
	out->version = from->version;
	out->expires_at_us = from->expires_at;
	to->origin = out;
	return out->form && out->question ? OK : ERR_NOMEM;
}

static int model(struct arena *arena, const struct profile_trait *from, Cdpd__V1__TraitValue *to)
{
	if (!from->origin.model.len) return OK;
	Cdpd__V1__TraitModel *out = arena_new(arena, Cdpd__V1__TraitModel);
	if (!out) return ERR_NOMEM;
	*out = (Cdpd__V1__TraitModel)CDPD__V1__TRAIT_MODEL__INIT;
	out->name = convert_text(arena, from->origin.model);
	out->version = convert_text(arena, from->origin.model_version);
	out->scored_at_us = from->updated_at;
	to->model = out;
	return out->name && out->version ? OK : ERR_NOMEM;
}

static int trait_value(struct arena *arena, const struct profile_trait *from, Cdpd__V1__TraitValue **out)
{
	Cdpd__V1__TraitValue *value = arena_new(arena, Cdpd__V1__TraitValue);
	if (!value) return ERR_NOMEM;
	*value = (Cdpd__V1__TraitValue)CDPD__V1__TRAIT_VALUE__INIT;
	*out = value;
	value->value = convert_bytes(from->value);
	value->provenance = convert_provenance(from->provenance);
	value->updated_at_us = from->updated_at;
	value->source = convert_text(arena, from->source);
	value->expired = from->is_expired;
	int rc = value->source ? origin(arena, &from->origin, value) : ERR_NOMEM;
	return rc == OK ? model(arena, from, value) : rc;
}

/* The winner, if there is one, and the losers behind it. */
static int trait(struct arena *arena, const struct profile_trait *from, size_t count, Cdpd__V1__Trait *to)
{
	size_t at = from[0].is_winner;
	to->name = convert_text(arena, from[0].name);
	to->others = arena_array(arena, Cdpd__V1__TraitValue *, count);
	if (!to->name || !to->others) return ERR_NOMEM;
	int rc = at ? trait_value(arena, &from[0], &to->winner) : OK;
	for (; at < count && rc == OK; at++) rc = trait_value(arena, &from[at], &to->others[to->n_others++]);
	return rc;
}

static size_t count_same_name(const struct profile *from, size_t i)
{
	size_t end = i + 1;
	while (end < from->trait_count && !from->traits[end].is_winner &&
	       str_eq(from->traits[end].name, from->traits[i].name))
		end++;
	return end - i;
}

static int traits(struct arena *arena, const struct profile *from, Cdpd__V1__Profile *to)
{
	MESSAGES(arena, Cdpd__V1__Trait, CDPD__V1__TRAIT__INIT, from->trait_count, list, items)
	to->traits = list;
	for (size_t i = 0; i < from->trait_count;) {
		size_t count = count_same_name(from, i);
		int rc = trait(arena, &from->traits[i], count, &items[to->n_traits++]);
		if (rc != OK) return rc;
		i += count;
	}
	return OK;
}

static int features(struct arena *arena, const struct profile *from, Cdpd__V1__Profile *to)
{
	MESSAGES(arena, Cdpd__V1__Feature, CDPD__V1__FEATURE__INIT, from->feature_count, list, items)
	for (size_t i = 0; i < from->feature_count; i++) {
		items[i].name = convert_text(arena, from->features[i].name);
		items[i].value = convert_bytes(from->features[i].value);
		if (!items[i].name) return ERR_NOMEM;
	}
	to->features = list;
	to->n_features = from->feature_count;
	return OK;
}

static Cdpd__V1__ConsentState consent_state(enum consent_state state)
{
	switch (state) {
	case CONSENT_GRANTED: return CDPD__V1__CONSENT_STATE__CONSENT_STATE_GRANTED;
	case CONSENT_DENIED: return CDPD__V1__CONSENT_STATE__CONSENT_STATE_DENIED;
	case CONSENT_WITHDRAWN: return CDPD__V1__CONSENT_STATE__CONSENT_STATE_WITHDRAWN;
	case CONSENT_PENDING: return CDPD__V1__CONSENT_STATE__CONSENT_STATE_PENDING;
	case CONSENT_EXPIRED: return CDPD__V1__CONSENT_STATE__CONSENT_STATE_EXPIRED;
	case CONSENT_NONE:
	case CONSENT_STATE_COUNT: break;
	}
	return CDPD__V1__CONSENT_STATE__CONSENT_STATE_UNSPECIFIED;
}

static int consents(struct arena *arena, const struct profile *from, Cdpd__V1__Profile *to)
{
	MESSAGES(arena, Cdpd__V1__Consent, CDPD__V1__CONSENT__INIT, from->consent_count, list, items)
	for (size_t i = 0; i < from->consent_count; i++) {
		const struct consent *record = &from->consents[i].record;
		items[i].purpose = convert_text(arena, record->purpose);
		items[i].channel = convert_text(arena, record->channel);
		items[i].state = consent_state(from->consents[i].state);
		items[i].basis = convert_text(arena, str_from(lawful_basis_name(record->basis)));
		items[i].at_us = record->time;
		items[i].expires_at_us = record->expires;
		items[i].source = convert_text(arena, record->source);
		items[i].message_id = convert_text(arena, record->message_id);
		if (!items[i].purpose || !items[i].channel || !items[i].basis || !items[i].source ||
		    !items[i].message_id)
			return ERR_NOMEM;
	}
	to->consents = list;
	to->n_consents = from->consent_count;
	return OK;
}

int convert_profile(struct arena *arena, const struct profile *from, char *position, Cdpd__V1__Profile **out)
{
	Cdpd__V1__Profile *to = arena_new(arena, Cdpd__V1__Profile);
	if (!to || !position) return ERR_NOMEM;
	*to = (Cdpd__V1__Profile)CDPD__V1__PROFILE__INIT;
	*out = to;
	to->id = convert_fragment(arena, &from->id);
	if (memcmp(&from->id, &from->requested_id, sizeof from->id) != 0)
		to->requested_id = convert_fragment(arena, &from->requested_id);
	to->first_seen_us = from->first_seen;
	to->last_seen_us = from->last_seen;
	to->position = position;
	to->n_segments = from->segment_count;
	if (!to->id || !to->requested_id) return ERR_NOMEM;
	int rc = identifiers(arena, from, to);
	if (rc == OK) rc = traits(arena, from, to);
	if (rc == OK) rc = features(arena, from, to);
	if (rc == OK) rc = convert_texts(arena, from->segments, from->segment_count, &to->segments);
	return rc == OK ? consents(arena, from, to) : rc;
}

int convert_pack(struct buf *out, const ProtobufCMessage *message)
{
	char *room;
	size_t size = protobuf_c_message_get_packed_size(message);
	int rc = buf_reserve(out, size, &room);
	if (rc != OK) return rc;
	buf_commit(out, protobuf_c_message_pack(message, (uint8_t *)room));
	return OK;
}
