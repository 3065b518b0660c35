#include "api/form_person.h"

#include "base/clock.h"

static const struct conf_namespace *namespace_of(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->namespace_count; i++)
		if (str_eq(config->namespaces[i].name, name)) return &config->namespaces[i];
	return NULL;
}

static bool is_read_from(const struct conf_namespace *ns, struct str from)
{
	for (size_t i = 0; i < ns->from_count; i++)
		if (str_eq(ns->from[i], from)) return true;
	return false;
}

static const struct conf_namespace *namespace_from(const struct config *config, struct str from)
{
	for (size_t i = 0; i < config->namespace_count; i++)
		if (is_read_from(&config->namespaces[i], from)) return &config->namespaces[i];
	return NULL;
}

/* An event's own fields name a person; other identifiers only come with traits. */
static struct str *field_for(const struct config *config, struct str name, struct form_person *person)
{
	const struct conf_namespace *ns = namespace_of(config, name);
	if (ns && is_read_from(ns, STR("userId"))) return &person->user_id;
	if (ns && is_read_from(ns, STR("anonymousId"))) return &person->anonymous_id;
	return NULL;
}

static int read_person(struct api_worker *worker, struct str ref, unsigned parts, struct arena *arena,
		       struct profile *out)
{
	uint64_t applied;
	int rc = people_read_begin(worker->reader, &applied);
	if (rc != OK) return rc;
	rc = people_get(worker->reader, ref, parts, clock_wall_us(), arena, out);
	/* What it borrows of the snapshot must be copied before that ends; traits and identifiers lie in the arena. */
	people_read_end(worker->reader);
	return rc;
}

int form_person_resolve(struct api_worker *worker, struct str ref, struct arena *arena, struct form_person *out)
{
	const struct config *config = api_worker_live(worker)->config;
	const char *colon = memchr(ref.ptr, ':', ref.len);
	struct profile profile;
	*out = FORM_PERSON_NONE;
	if (!colon || colon == ref.ptr || colon + 1 == ref.ptr + ref.len) return ERR_INVALID;
	size_t len = (size_t)(colon - ref.ptr);
	struct str *field = field_for(config, str_of(ref.ptr, len), out);
	if (field) return arena_str(arena, str_of(colon + 1, ref.len - len - 1), field);
	int rc = read_person(worker, ref, PROFILE_IDENTIFIERS, arena, &profile);
	for (size_t i = 0; rc == OK && i < profile.identifier_count; i++) {
		field = field_for(config, profile.identifiers[i].namespace_, out);
		if (field) return arena_str(arena, profile.identifiers[i].value, field);
	}
	return rc == OK ? ERR_NOT_FOUND : rc;
}

int form_person_ref(const struct config *config, const struct form_person *person, struct arena *arena, struct str *ref)
{
	bool is_user = person->user_id.len > 0;
	const struct conf_namespace *ns = namespace_from(config, is_user ? STR("userId") : STR("anonymousId"));
	struct str value = is_user ? person->user_id : person->anonymous_id;
	*ref = STR_NONE;
	if (!ns || value.len == 0) return OK;
	return arena_printf(arena, ref, "%.*s:%.*s", STR_ARG(ns->name), STR_ARG(value));
}

/* ── what is known ─────────────────────────────────────────────────────────── */

struct told {
	const struct profile_trait *answer; /* in force */
	int64_t told_at;                    /* newest declared value, expired ones too */
};

static struct told find_told(const struct profile *profile, struct str name)
{
	struct told told = {.told_at = INT64_MIN};
	for (size_t i = 0; i < profile->trait_count; i++) {
		const struct profile_trait *trait = &profile->traits[i];
		if (trait->provenance != PROVENANCE_DECLARED || !str_eq(trait->name, name)) continue;
		if (trait->updated_at > told.told_at) told.told_at = trait->updated_at;
		if (trait->is_winner && !str_eq(trait->value, STR("null"))) told.answer = trait;
	}
	return told;
}

static void write_known(struct json_out *out, const struct conf_form *form, const struct profile *profile)
{
	jo_array(out);
	jo_object(out);
	for (size_t i = 0; i < form->question_count; i++) {
		struct told told = find_told(profile, form->questions[i].trait);
		if (!told.answer) continue;
		jo_key(out, form->questions[i].id);
		jo_raw(out, told.answer->value);
	}
	jo_end_object(out);
	jo_object(out);
	for (size_t i = 0; i < form->question_count; i++) {
		struct told told = find_told(profile, form->questions[i].trait);
		struct told refusal = find_told(profile, form->questions[i].refusal);
		/* Who answered after refusing may be asked again once the answer has expired. */
		if (!refusal.answer || !str_eq(refusal.answer->value, STR("true")) || refusal.told_at < told.told_at)
			continue;
		jo_key(out, form->questions[i].id);
		jo_bool(out, true);
	}
	jo_end_object(out);
	jo_end_array(out);
}

static int parse_known(struct form_known *known, struct str text)
{
	struct json root;
	struct json_iter it;
	const char *why;
	int rc = json_reader_new(&known->reader);
	if (rc == OK) rc = json_parse(known->reader, text, &root, &why);
	if (rc != OK) return rc == ERR_INVALID ? ERR_CORRUPT : rc;
	json_iter_start(root, &it);
	CHECK(json_next_element(&it, &known->answers) && json_next_element(&it, &known->refused));
	return OK;
}

int form_known_read(struct api_worker *worker, struct str ref, const struct conf_form *form, struct arena *arena,
		    struct form_known *out)
{
	*out = (struct form_known){.is_found = false};
	if (ref.len == 0) return OK;
	int rc = read_person(worker, ref, PROFILE_TRAITS | PROFILE_LOSERS, arena, &out->profile);
	if (rc == ERR_NOT_FOUND) return OK;
	if (rc != OK) return rc;
	out->is_found = true;
	struct json_out json;
	buf_clear(&worker->out);
	json_out_init(&json, &worker->out);
	write_known(&json, form, &out->profile);
	rc = json.status;
	if (rc == OK) rc = parse_known(out, buf_str(&worker->out));
	buf_clear(&worker->out);
	if (rc != OK) form_known_free(out);
	return rc;
}

void form_known_free(struct form_known *known)
{
	if (known->reader) json_reader_free(known->reader);
	known->reader = NULL;
}
