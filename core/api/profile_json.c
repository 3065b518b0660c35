#include "api/profile_json.h"

void profile_write_id(struct json_out *out, const uint8_t id[16])
{
	struct fragment_id fragment;
	char text[FRAGMENT_ID_TEXT_SIZE];
	memcpy(fragment.bytes, id, sizeof fragment.bytes);
	fragment_id_format(&fragment, text);
	jo_str(out, str_of(text, FRAGMENT_ID_TEXT_SIZE - 1));
}

void profile_write_ids(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("id"));
	profile_write_id(out, profile->id.bytes);
	if (memcmp(&profile->id, &profile->requested_id, sizeof profile->id) == 0) return;
	jo_key(out, STR("requestedId"));
	profile_write_id(out, profile->requested_id.bytes);
}

static void write_time(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	if (us)
		jo_time(out, us);
	else
		jo_null(out);
}

static void write_identifier(struct json_out *out, const struct profile_identifier *id)
{
	jo_object(out);
	jo_key(out, STR("namespace"));
	jo_str(out, id->namespace_);
	jo_key(out, STR("value"));
	jo_str(out, id->value);
	write_time(out, STR("firstSeen"), id->first_seen);
	write_time(out, STR("lastSeen"), id->last_seen);
	jo_key(out, STR("events"));
	jo_uint(out, id->event_count);
	jo_end_object(out);
}

void profile_write_identifiers(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("identifiers"));
	jo_array(out);
	for (size_t i = 0; i < profile->identifier_count; i++) write_identifier(out, &profile->identifiers[i]);
	jo_end_array(out);
}

/* The form that asked for it. */
static void write_origin(struct json_out *out, const struct profile_trait *trait)
{
	const struct trait_origin *origin = &trait->origin;
	jo_key(out, STR("form"));
	jo_str(out, origin->form);
	jo_key(out, STR("version"));
	jo_uint(out, origin->version);
	if (origin->question.len) {
		jo_key(out, STR("question"));
		jo_str(out, origin->question);
	}
	if (origin->expires_at) write_time(out, STR("expiresAt"), origin->expires_at);
	if (!trait->is_expired) return;
	jo_key(out, STR("expired"));
	jo_bool(out, true);
}

/* The model that inferred it. */
static void write_model(struct json_out *out, const struct profile_trait *trait)
{
	jo_key(out, STR("model"));
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, trait->origin.model);
	if (trait->origin.model_version.len) {
		jo_key(out, STR("version"));
		jo_str(out, trait->origin.model_version);
	}
	write_time(out, STR("scoredAt"), trait->updated_at);
	jo_end_object(out);
}

static void write_trait_value(struct json_out *out, const struct profile_trait *trait)
{
	jo_key(out, STR("value"));
	jo_raw(out, trait->value);
	jo_key(out, STR("provenance"));
	jo_str(out, str_from(provenance_name(trait->provenance)));
	write_time(out, STR("updatedAt"), trait->updated_at);
	jo_key(out, STR("source"));
	jo_str(out, trait->source);
	if (trait->origin.form.len) write_origin(out, trait);
	if (trait->origin.model.len) write_model(out, trait);
}

static bool is_loser_of(struct str name, const struct profile_trait *traits, size_t count, size_t i)
{
	return i < count && !traits[i].is_winner && str_eq(traits[i].name, name);
}

/* The winner and the losers that follow it; returns how many rows that were. */
static size_t write_trait(struct json_out *out, const struct profile_trait *traits, size_t count)
{
	struct str name = traits[0].name;
	size_t n = traits[0].is_winner; /* none: whatever was told has expired */
	jo_key(out, name);
	jo_object(out);
	if (n) write_trait_value(out, &traits[0]);
	if (is_loser_of(name, traits, count, n)) {
		jo_key(out, STR("others"));
		jo_array(out);
		for (; is_loser_of(name, traits, count, n); n++) {
			jo_object(out);
			write_trait_value(out, &traits[n]);
			jo_end_object(out);
		}
		jo_end_array(out);
	}
	jo_end_object(out);
	return n;
}

void profile_write_traits(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("traits"));
	jo_object(out);
	for (size_t i = 0; i < profile->trait_count;)
		i += write_trait(out, &profile->traits[i], profile->trait_count - i);
	jo_end_object(out);
}

void profile_write_features(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("features"));
	jo_object(out);
	for (size_t i = 0; i < profile->feature_count; i++) {
		jo_key(out, profile->features[i].name);
		jo_raw(out, profile->features[i].value);
	}
	jo_end_object(out);
}

void profile_write_segments(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("segments"));
	jo_array(out);
	for (size_t i = 0; i < profile->segment_count; i++) jo_str(out, profile->segments[i]);
	jo_end_array(out);
}

void profile_write_consent(struct json_out *out, const struct profile_consent *consent)
{
	const struct consent *record = &consent->record;
	jo_key(out, STR("purpose"));
	jo_str(out, record->purpose);
	if (record->channel.len) {
		jo_key(out, STR("channel"));
		jo_str(out, record->channel);
	}
	jo_key(out, STR("state"));
	jo_str(out, str_from(consent_state_name(consent->state)));
	jo_key(out, STR("basis"));
	jo_str(out, str_from(lawful_basis_name(record->basis)));
	write_time(out, STR("at"), record->time);
	if (record->expires) write_time(out, STR("expiresAt"), record->expires);
	jo_key(out, STR("source"));
	jo_str(out, record->source);
	jo_key(out, STR("messageId"));
	jo_str(out, record->message_id);
}

static void write_consents(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("consents"));
	jo_array(out);
	for (size_t i = 0; i < profile->consent_count; i++) {
		jo_object(out);
		profile_write_consent(out, &profile->consents[i]);
		jo_end_object(out);
	}
	jo_end_array(out);
}

void profile_write(struct json_out *out, const struct profile *profile, struct str position)
{
	jo_object(out);
	profile_write_ids(out, profile);
	profile_write_identifiers(out, profile);
	profile_write_traits(out, profile);
	profile_write_features(out, profile);
	profile_write_segments(out, profile);
	write_consents(out, profile);
	write_time(out, STR("firstSeen"), profile->first_seen);
	write_time(out, STR("lastSeen"), profile->last_seen);
	jo_key(out, STR("fragments"));
	jo_uint(out, profile->identifier_count);
	jo_key(out, STR("position"));
	jo_str(out, position);
	jo_end_object(out);
}
