/* Enrichers that run before the ack run before the fold, so nobody knows yet whose event it is or what that person said. What is
 * known is what the request itself declares:
 *
 *   context.consent: {"purposes": {"ads": true}, "categoryPreferences": {…}, "tcf": "CO…", "gpc": true}
 *
 * The first of these that speaks of the purpose decides; gpc (Global Privacy Control) denies what nothing else grants; else
 * the purpose's default. */
#include "ingest/internal.h"
#include "ingest/tcf.h"

enum word { WORD_NONE, WORD_YES, WORD_NO };

static bool has(const struct str *texts, size_t count, struct str text)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(texts[i], text)) return true;
	return false;
}

static const struct conf_purpose *purpose_of(const struct config *config, const struct cdpd_event *event,
					     const struct conf_source *source)
{
	for (size_t i = 0; i < config->purpose_count; i++) {
		const struct conf_purpose *purpose = &config->purposes[i];
		if (event->event.len && has(purpose->events, purpose->event_count, event->event)) return purpose;
	}
	return source->purpose.len ? config_purpose(config, source->purpose) : NULL;
}

static enum word word_of(struct json value)
{
	struct str text;
	bool is_true;
	if (json_bool(value, &is_true)) return is_true ? WORD_YES : WORD_NO;
	if (!json_str(value, &text)) return WORD_NONE;
	return str_eq(text, STR("granted")) ? WORD_YES : WORD_NO;
}

static enum word ask_map(struct json consent, struct str map, struct str name)
{
	struct json object, value;
	if (!json_get(consent, map, &object) || !json_get(object, name, &value)) return WORD_NONE;
	return word_of(value);
}

static enum word ask_tcf(struct json consent, const struct conf_purpose *purpose)
{
	struct json value;
	struct str text;
	struct tcf tcf;
	if (!purpose->tcf || !json_get(consent, STR("tcf"), &value) || !json_str(value, &text)) return WORD_NONE;
	if (tcf_read(text, &tcf) != OK) return WORD_NO; /* something was said, and it is no yes */
	bool is_granted = purpose->basis == BASIS_LEGITIMATE_INTERESTS ? tcf_purpose_legitimate(&tcf, purpose->tcf)
								       : tcf_purpose(&tcf, purpose->tcf);
	return is_granted ? WORD_YES : WORD_NO;
}

static enum word ask_gpc(struct json consent)
{
	struct json value;
	return json_get(consent, STR("gpc"), &value) && word_of(value) == WORD_YES ? WORD_NO : WORD_NONE;
}

static enum word ask(struct ingest_worker *worker, struct str context, const struct conf_purpose *purpose)
{
	struct json root, consent;
	const char *why;
	if (context.len == 0 || !memmem(context.ptr, context.len, "\"consent\"", 9)) return WORD_NONE;
	if (!worker->context_reader && json_reader_new(&worker->context_reader) != OK) return WORD_NO;
	if (json_parse(worker->context_reader, context, &root, &why) != OK) return WORD_NO;
	if (!json_get(root, STR("consent"), &consent)) return WORD_NONE;
	enum word word = ask_map(consent, STR("purposes"), purpose->name);
	if (word == WORD_NONE) word = ask_map(consent, STR("categoryPreferences"), purpose->name);
	if (word == WORD_NONE) word = ask_tcf(consent, purpose);
	return word == WORD_NONE ? ask_gpc(consent) : word;
}

bool enrich_gate_allows(struct ingest_worker *worker, struct draft *draft, const struct conf_source *source)
{
	const struct conf_purpose *purpose = purpose_of(worker->config, &draft->event, source);
	if (!purpose || !has(purpose->gates, purpose->gate_count, STR("enrich"))) return true;
	enum word word = ask(worker, draft->event.context, purpose);
	/* Later the person's own word is known too, but this one stays. */
	if (word == WORD_NO) draft->event.flags |= EVENT_UNENRICHED;
	return word == WORD_YES || (word == WORD_NONE && purpose->default_ == CONSENT_DEFAULT_GRANTED);
}
