/* What a template sees of the person: values by name, so that a path says what is meant. */
#include "deliver/selection.h"

static bool is_first_of_its_kind(const struct profile *profile, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq(profile->identifiers[k].namespace_, profile->identifiers[i].namespace_)) return false;
	return true;
}

static void write_identifiers(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("identifiers"));
	jo_object(out);
	for (size_t i = 0; i < profile->identifier_count; i++) {
		if (!is_first_of_its_kind(profile, i)) continue;
		struct str name = profile->identifiers[i].namespace_;
		jo_key(out, name);
		jo_array(out);
		for (size_t k = i; k < profile->identifier_count; k++)
			if (str_eq(profile->identifiers[k].namespace_, name))
				jo_str(out, profile->identifiers[k].value);
		jo_end_array(out);
	}
	jo_end_object(out);
}

static void write_traits(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("traits"));
	jo_object(out);
	for (size_t i = 0; i < profile->trait_count; i++) {
		if (!profile->traits[i].is_winner) continue;
		jo_key(out, profile->traits[i].name);
		jo_raw(out, profile->traits[i].value);
	}
	jo_end_object(out);
}

static void write_features(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("features"));
	jo_object(out);
	for (size_t i = 0; i < profile->feature_count; i++) {
		jo_key(out, profile->features[i].name);
		jo_raw(out, profile->features[i].value);
	}
	jo_end_object(out);
}

/* "newsletter" for all channels, "newsletter/email" for one. */
static int write_consent(struct json_out *out, const struct profile_consent *consent)
{
	struct buf key;
	buf_init(&key, 4096);
	int rc = buf_append_str(&key, consent->record.purpose);
	if (rc == OK && consent->record.channel.len) rc = buf_putc(&key, '/');
	if (rc == OK) rc = buf_append_str(&key, consent->record.channel);
	if (rc == OK) {
		jo_key(out, buf_str(&key));
		jo_str(out, str_from(consent_state_name(consent->state)));
	}
	buf_fini(&key);
	return rc;
}

static int write_consents(struct json_out *out, const struct profile *profile)
{
	int rc = OK;
	jo_key(out, STR("consents"));
	jo_object(out);
	for (size_t i = 0; i < profile->consent_count && rc == OK; i++) rc = write_consent(out, &profile->consents[i]);
	jo_end_object(out);
	return rc;
}

int selection_write_members(struct json_out *out, const struct profile *profile)
{
	char id[FRAGMENT_ID_TEXT_SIZE];
	fragment_id_format(&profile->id, id);
	jo_key(out, STR("id"));
	jo_str(out, str_from(id));
	write_identifiers(out, profile);
	write_traits(out, profile);
	write_features(out, profile);
	jo_key(out, STR("segments"));
	jo_array(out);
	for (size_t i = 0; i < profile->segment_count; i++) jo_str(out, profile->segments[i]);
	jo_end_array(out);
	int rc = write_consents(out, profile);
	return rc ? rc : out->status;
}

int selection_write_person(struct buf *buf, const struct profile *profile)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	int rc = selection_write_members(&out, profile);
	jo_end_object(&out);
	return rc ? rc : out.status;
}
