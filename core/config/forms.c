#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/json.h"
#include "config/form_schema.h"

#define JSON_MAX        (1u << 20)
#define PREFERENCES     STR("preferences")
#define PREFERENCE_MOST 5

const struct conf_form *config_form(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->form_count; i++)
		if (str_eq(config->forms[i].name, name)) return &config->forms[i];
	return NULL;
}

size_t form_question_index(const struct conf_form *form, struct str id)
{
	size_t i = 0;
	while (i < form->question_count && !str_eq(form->questions[i].id, id)) i++;
	return i;
}

/* ── the file ──────────────────────────────────────────────────────────────── */

/* Relative to the configuration that names it. */
static int path_of(struct reading *r, struct str name, struct str *out)
{
	const char *slash = strrchr(r->complaints->file, '/');
	if (name.ptr[0] == '/' || !slash) return arena_str(r->arena, name, out);
	return arena_printf(r->arena, out, "%.*s/%.*s", (int)(slash - r->complaints->file), r->complaints->file,
			    STR_ARG(name));
}

/* Complaints made while `read` runs name that file. */
static void read_file(struct reading *r, struct str path, struct form_file *out)
{
	struct node *root;
	struct str error;
	const char *before = r->complaints->file;
	int rc = tree_parse_file(r->arena, path.ptr, &root, &error);
	if (rc == ERR_NOMEM)
		r->complaints->status = rc;
	else if (rc != OK)
		complain_whole(r->complaints, error);
	if (rc != OK) return;
	r->complaints->file = path.ptr;
	if (root->kind == NODE_MAP)
		read_table(r, &form_file_table, root, out);
	else if (root->kind != NODE_SCALAR || root->text.len)
		complain(r->complaints, root->line, "must be a map (forms: and a list)");
	r->complaints->file = before;
}

/* ── the preference centre, a form like any other ──────────────────────────── */

static struct node *text_node(struct reading *r, const char *text)
{
	struct node *node = arena_new(r->arena, struct node);
	if (!node) {
		r->complaints->status = ERR_NOMEM;
		return NULL;
	}
	*node = (struct node){.kind = NODE_SCALAR, .text = str_from(text), .key = STR_NONE, .is_quoted = true};
	return node;
}

static void add_preference(struct reading *r, struct conf_form *form, const char *id, enum question_type type,
			   const char *text, struct conf_option *options, size_t count)
{
	bool is_choice = type != QUESTION_HOURS;
	if (is_choice && count == 0) return;
	form->questions[form->question_count++] = (struct conf_question){.id = str_from(id),
									 .type = type,
									 .text = text_node(r, text),
									 .options = is_choice ? options : NULL,
									 .option_count = is_choice ? count : 0,
									 .trait = STR_NONE,
									 .refusal = STR_NONE,
									 .min_text = STR_NONE,
									 .max_text = STR_NONE,
									 .step_text = STR_NONE,
									 .line = form->line};
}

static bool has_choices(const struct conf_preferences *from)
{
	return from->topic_count || from->channel_count || from->frequency_count || from->language_count ||
	       from->has_quiet_hours;
}

static void make_preferences(struct reading *r, const struct node *node, const struct conf_preferences *from,
			     struct conf_form *form)
{
	*form = (struct conf_form){.name = PREFERENCES,
				   .version = from->version,
				   .accepts_since = 1,
				   .kind = FORM_PREFERENCES,
				   .title = from->title,
				   .line = node->line};
	form->questions = arena_array(r->arena, struct conf_question, PREFERENCE_MOST);
	if (!form->questions) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	add_preference(r, form, "topics", QUESTION_MULTIPLE, "Topics", from->topics, from->topic_count);
	add_preference(r, form, "channels", QUESTION_MULTIPLE, "Channels", from->channels, from->channel_count);
	add_preference(r, form, "frequency", QUESTION_SINGLE, "How often", from->frequencies, from->frequency_count);
	add_preference(r, form, "language", QUESTION_SINGLE, "Language", from->languages, from->language_count);
	if (from->has_quiet_hours) add_preference(r, form, "quiet_hours", QUESTION_HOURS, "Quiet hours", NULL, 0);
}

/* ── all of them ───────────────────────────────────────────────────────────── */

static int make_texts(struct arena *arena, struct conf_form *form)
{
	static const struct hash_key key = {{0}};
	struct buf text;
	buf_init(&text, JSON_MAX);
	int rc = form_write_json(&text, form, true);
	if (rc == OK) rc = arena_str(arena, buf_str(&text), &form->fingerprint);
	buf_clear(&text);
	if (rc == OK) rc = form_write_json(&text, form, false);
	if (rc == OK) rc = arena_str(arena, buf_str(&text), &form->json);
	for (size_t i = 0; rc == OK && i < form->question_count; i++) {
		buf_clear(&text);
		rc = form_write_question_json(&text, form, &form->questions[i]);
		if (rc == OK) rc = arena_str(arena, buf_str(&text), &form->questions[i].json);
	}
	if (rc == OK)
		rc = arena_printf(arena, &form->etag, "\"%u-%016llx\"", (unsigned)form->version,
				  (unsigned long long)hash64(&key, form->json.ptr, form->json.len));
	buf_fini(&text);
	return rc;
}

static bool is_taken(const struct config *config, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (str_eq(config->forms[i].name, config->forms[index].name)) return true;
	return false;
}

static bool has_channel(const struct conf_purpose *purpose, struct str channel)
{
	size_t i = 0;
	while (i < purpose->channel_count && !str_eq(purpose->channels[i], channel)) i++;
	return i < purpose->channel_count;
}

/* Where purposes are configured, a form asks for those only. */
static void check_purposes(struct reading *r, const struct config *config, const struct conf_form *form)
{
	for (size_t i = 0; i < form->consent_count; i++) {
		const struct conf_form_consent *consent = &form->consents[i];
		const struct conf_purpose *purpose = config_purpose(config, consent->purpose);
		if (!purpose)
			complain(r->complaints, form->line,
				 "form '%.*s': the purpose '%.*s' is not one of consent.purposes", STR_ARG(form->name),
				 STR_ARG(consent->purpose));
		for (size_t k = 0; purpose && k < consent->channel_count; k++)
			if (!has_channel(purpose, consent->channels[k]))
				complain(r->complaints, form->line,
					 "form '%.*s': the purpose '%.*s' has no channel '%.*s'", STR_ARG(form->name),
					 STR_ARG(consent->purpose), STR_ARG(consent->channels[k]));
	}
}

void form_finish(struct reading *r, const struct config *config, struct conf_form *form)
{
	size_t faults = r->complaints->count;
	form_compile(r, form);
	if (config->purpose_count) check_purposes(r, config, form);
	if (r->complaints->count > faults || r->complaints->status != OK) return;
	int rc = make_texts(r->arena, form);
	if (rc == ERR_TOO_LARGE)
		complain(r->complaints, form->line, "form '%.*s' is too large", STR_ARG(form->name));
	else if (rc != OK)
		r->complaints->status = rc;
}

static void finish(struct reading *r, struct config *config, size_t index, const char *file)
{
	struct conf_form *form = &config->forms[index];
	const char *before = r->complaints->file;
	r->complaints->file = file;
	if (arena_str(r->arena, str_from(file), &form->file) != OK) r->complaints->status = ERR_NOMEM;
	if (is_taken(config, index))
		complain(r->complaints, form->line, "there is another form '%.*s'", STR_ARG(form->name));
	form_finish(r, config, form);
	r->complaints->file = before;
}

void forms_check(struct reading *r, const struct node *root, struct draft *draft)
{
	struct config *config = &draft->config;
	struct form_file file = {0};
	struct str path = STR_NONE;
	const struct node *preferences = node_child(root, PREFERENCES), *key = node_child(root, STR("forms_file"));
	bool has_preferences = preferences && has_choices(&draft->preferences);
	if (config->forms_file.len && path_of(r, config->forms_file, &path) == OK) read_file(r, path, &file);
	size_t own = config->form_count, count = own + file.count + has_preferences;
	if (count > FORMS_MAX) {
		complain(r->complaints, key ? key->line : root->line, "at most %d forms", FORMS_MAX);
		return;
	}
	struct conf_form *forms = arena_array(r->arena, struct conf_form, count + 1);
	if (!forms) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	if (own) memcpy(forms, config->forms, own * sizeof *forms);
	if (file.count) memcpy(forms + own, file.forms, file.count * sizeof *forms);
	if (has_preferences) make_preferences(r, preferences, &draft->preferences, &forms[own + file.count]);
	config->forms = forms;
	config->form_count = count;
	for (size_t i = 0; i < count; i++) {
		bool is_of_file = i >= own && i < own + file.count;
		finish(r, config, i, is_of_file ? path.ptr : r->complaints->file);
	}
}

bool forms_may_follow(const struct config *running, const struct config *next, char **text)
{
	*text = NULL;
	for (size_t i = 0; i < next->form_count; i++) {
		const struct conf_form *form = &next->forms[i], *old = config_form(running, form->name);
		if (!old || str_eq(old->fingerprint, form->fingerprint)) continue;
		if (form->version > old->version) continue;
		if (asprintf(text, "%.*s:%d: form '%.*s' has changed and is still version %u: give it version %u",
			     STR_ARG(form->file), form->line, STR_ARG(form->name), (unsigned)form->version,
			     (unsigned)old->version + 1) < 0)
			*text = NULL;
		return false;
	}
	return true;
}
