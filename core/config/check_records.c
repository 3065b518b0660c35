/* Which kinds of records a destination is handed, and which changes. */
#include "config/check.h"

/* As the change feed names them: profile/change.h. A test keeps them the same. */
const char *const conf_change_kinds[] = {"profile", "trait",   "feature", "identifier", "merged",
					 "split",   "segment", "consent", "erased",     NULL};

struct checking {
	struct reading *r;
	const struct node *root;
	const struct config *config;
	const struct conf_instance *destination;
	size_t index;
};

static int line_of_own(const struct checking *c, const char *key)
{
	return line_of_item_key(c->root, "destinations", c->index, key);
}

bool conf_change_split(struct str text, struct str *kind, struct str *name)
{
	const char *colon = memchr(text.ptr, ':', text.len);
	size_t len = colon ? (size_t)(colon - text.ptr) : text.len;
	*kind = str_of(text.ptr, len);
	*name = colon ? str_of(colon + 1, text.len - len - 1) : STR_NONE;
	return colon != NULL;
}

static bool is_among(struct str word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(word, str_from(words[i]))) return true;
	return false;
}

static void check_known(const struct checking *c, const char *what, struct str name, const char *const *names,
			size_t count)
{
	char suggestion[SUGGESTION_SIZE];
	if (is_among(name, names, count)) return;
	complain(c->r->complaints, line_of_own(c, "changes"), "destinations[%zu].changes: unknown %s '%.*s'%s",
		 c->index, what, STR_ARG(name), suggest(name, names, count, suggestion));
}

static void check_name(const struct checking *c, struct str kind, struct str name)
{
	const struct config *config = c->config;
	size_t most = config->segment_count + config->feature_count + 1, count = 0;
	const char **names = arena_array(c->r->arena, const char *, most);
	if (!names) {
		c->r->complaints->status = ERR_NOMEM;
	} else if (str_eq(kind, STR("segment"))) {
		for (; count < config->segment_count; count++) names[count] = config->segments[count].name.ptr;
		check_known(c, "segment", name, names, count);
	} else if (str_eq(kind, STR("feature"))) {
		for (; count < config->feature_count; count++) names[count] = config->features[count].name.ptr;
		check_known(c, "feature", name, names, count);
	} else if (!str_eq(kind, STR("trait"))) {
		complain(c->r->complaints, line_of_own(c, "changes"),
			 "destinations[%zu].changes: only trait, feature and segment go with a name ('%.*s:…')",
			 c->index, STR_ARG(kind));
	} else if (!name.len) {
		complain(c->r->complaints, line_of_own(c, "changes"),
			 "destinations[%zu].changes: 'trait:' needs the name of a trait", c->index);
	}
}

static void check_changes(const struct checking *c)
{
	size_t kinds = 0;
	while (conf_change_kinds[kinds]) kinds++;
	for (size_t i = 0; i < c->destination->change_count; i++) {
		struct str kind, name;
		bool has_name = conf_change_split(c->destination->changes[i], &kind, &name);
		check_known(c, "kind", kind, conf_change_kinds, kinds);
		if (has_name && is_among(kind, conf_change_kinds, kinds)) check_name(c, kind, name);
	}
	if (c->destination->change_count > CONF_CHANGES_MAX)
		complain(c->r->complaints, line_of_own(c, "changes"), "destinations[%zu].changes: at most %d", c->index,
			 CONF_CHANGES_MAX);
}

/* A key that would say nothing is a mistake. */
static void check_needed(const struct checking *c, const char *key, bool is_given, uint32_t record, const char *name)
{
	uint32_t records = c->destination->records ? c->destination->records : CONF_RECORD_EVENTS;
	if (!is_given || (records & record)) return;
	complain(c->r->complaints, line_of_own(c, key), "destinations[%zu].%s needs '%s' in 'records'", c->index, key,
		 name);
}

void check_records(struct reading *r, const struct node *root, const struct config *config)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct conf_instance *d = &config->destinations[i];
		const struct checking c = {r, root, config, d, i};
		check_changes(&c);
		check_needed(&c, "changes", d->change_count > 0, CONF_RECORD_CHANGES, "changes");
		check_needed(&c, "events", d->async.event_count > 0, CONF_RECORD_EVENTS, "events");
		check_needed(&c, "start", d->start == CONF_START_SNAPSHOT, CONF_RECORD_PROFILES, "profiles");
	}
}
