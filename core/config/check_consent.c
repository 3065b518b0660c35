#include <stdlib.h>

#include "config/check.h"

#define PURPOSES "consent.purposes"

static void complain_unknown(struct reading *r, int line, const char *what, struct str name, const char *const *known,
			     size_t count)
{
	char suggestion[SUGGESTION_SIZE];
	suggest(name, known, count, suggestion);
	complain(r->complaints, line, "%s '%.*s'%s", what, STR_ARG(name), suggestion);
}

/* Names as suggest() wants them: texts of a config end with a NUL. */
static const char **list_purposes(struct reading *r, const struct config *config)
{
	const char **names = arena_array(r->arena, const char *, config->purpose_count + 1);
	if (!names) r->complaints->status = ERR_NOMEM;
	for (size_t i = 0; names && i < config->purpose_count; i++) names[i] = config->purposes[i].name.ptr;
	return names;
}

static const char **list_gates(struct reading *r, const struct config *config)
{
	const char **names = arena_array(r->arena, const char *, config->destination_count + 2);
	if (!names) {
		r->complaints->status = ERR_NOMEM;
		return NULL;
	}
	names[0] = "ingest";
	names[1] = "enrich";
	for (size_t i = 0; i < config->destination_count; i++) names[i + 2] = config->destinations[i].name.ptr;
	return names;
}

static void check_references(struct reading *r, const struct node *root, const struct config *config,
			     const char *const *names)
{
	for (size_t i = 0; i < config->source_count; i++) {
		struct str name = config->sources[i].purpose;
		if (str_eq(config->sources[i].id, STR("person")))
			complain(
			    r->complaints, line_of_item(root, "sources", i),
			    "sources: the id 'person' is that of people who speak for themselves with person tokens");
		if (name.len && !config_purpose(config, name))
			complain_unknown(r, line_of_item(root, "sources", i), "sources: unknown purpose", name, names,
					 config->purpose_count);
	}
	for (size_t i = 0; i < config->destination_count; i++) {
		struct str name = config->destinations[i].purpose;
		if (name.len && !config_purpose(config, name))
			complain_unknown(r, line_of_item(root, "destinations", i), "destinations: unknown purpose",
					 name, names, config->purpose_count);
	}
}

static void check_gates(struct reading *r, const struct node *root, const struct config *config, size_t index,
			const char *const *gates)
{
	const struct conf_purpose *purpose = &config->purposes[index];
	size_t known = config->destination_count + 2;
	for (size_t i = 0; i < purpose->gate_count; i++) {
		bool is_known = false;
		for (size_t k = 0; k < known; k++) is_known |= str_eq(purpose->gates[i], str_from(gates[k]));
		if (!is_known)
			complain_unknown(r, line_of_item(root, PURPOSES, index),
					 PURPOSES ": a gate is ingest, enrich or the name of a destination, not",
					 purpose->gates[i], gates, known);
	}
}

static void check_channels(struct reading *r, int line, const struct conf_purpose *purpose)
{
	if (purpose->channel_count > CONF_CHANNELS_MAX)
		complain(r->complaints, line, PURPOSES ": at most %d channels", CONF_CHANNELS_MAX);
	for (size_t i = 0; i < purpose->channel_count; i++)
		for (size_t k = 0; k < i; k++)
			if (str_eq(purpose->channels[i], purpose->channels[k]))
				complain(r->complaints, line, PURPOSES ": channel '%.*s' is named twice",
					 STR_ARG(purpose->channels[i]));
}

static bool names_event(const struct conf_purpose *purpose, struct str event)
{
	for (size_t i = 0; i < purpose->event_count; i++)
		if (str_eq(purpose->events[i], event)) return true;
	return false;
}

/* What is said twice could be answered twice, differently. */
static void check_overlap(struct reading *r, int line, const struct conf_purpose *a, const struct conf_purpose *b)
{
	for (size_t i = 0; i < a->event_count; i++)
		if (names_event(b, a->events[i]))
			complain(r->complaints, line, PURPOSES ": event '%.*s' is for purpose '%.*s' already",
				 STR_ARG(a->events[i]), STR_ARG(b->name));
	if (a->tcf && a->tcf == b->tcf)
		complain(r->complaints, line, PURPOSES ": TCF purpose %u stands for purpose '%.*s' already",
			 (unsigned)a->tcf, STR_ARG(b->name));
}

void check_consent(struct reading *r, const struct node *root, const struct config *config)
{
	const char **names = list_purposes(r, config), **gates = list_gates(r, config);
	if (!names || !gates) return;
	if (config->purpose_count > CONF_PURPOSES_MAX)
		complain(r->complaints, line_of(root, PURPOSES), PURPOSES ": at most %d", CONF_PURPOSES_MAX);
	check_references(r, root, config, names);
	for (size_t i = 0; i < config->purpose_count; i++) {
		const struct conf_purpose *purpose = &config->purposes[i];
		int line = line_of_item(root, PURPOSES, i);
		check_gates(r, root, config, i, gates);
		check_channels(r, line, purpose);
		for (size_t k = 0; k < i; k++) check_overlap(r, line, purpose, &config->purposes[k]);
		if (purpose->double_opt_in && purpose->default_ == CONSENT_DEFAULT_GRANTED)
			complain(r->complaints, line,
				 PURPOSES ": '%.*s' cannot be granted by default and need a double opt-in",
				 STR_ARG(purpose->name));
	}
}
