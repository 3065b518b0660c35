#include <stdio.h>

#include "config/check.h"
#include "config/mapping.h"

#define WHERE_MAX 64

static bool has_segment(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->segment_count; i++)
		if (str_eq(config->segments[i].name, name)) return true;
	return false;
}

static void check_segments(struct reading *r, const struct node *root, const struct config *config, size_t index)
{
	const struct conf_instance *destination = &config->destinations[index];
	char suggestion[SUGGESTION_SIZE];
	const char **names = arena_array(r->arena, const char *, config->segment_count + 1);
	if (!names) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->segment_count; i++) names[i] = config->segments[i].name.ptr;
	for (size_t i = 0; i < destination->segment_count; i++) {
		struct str name = destination->segments[i];
		if (has_segment(config, name)) continue;
		complain(r->complaints, line_of_item_key(root, "destinations", index, "segments"),
			 "destinations[%zu].segments: unknown segment '%.*s'%s", index, STR_ARG(name),
			 suggest(name, names, config->segment_count, suggestion));
	}
}

/* Only for the complaints: who runs them compiles them for itself. */
static void check_templates(struct reading *r, const struct conf_instance *destination, size_t index)
{
	char where[WHERE_MAX];
	unsigned needs;
	(void)snprintf(where, sizeof where, "destinations[%zu].where", index);
	if (destination->where)
		(void)!mapping_compile_conditions(r->arena, r->complaints, destination->where, where, &needs);
	(void)snprintf(where, sizeof where, "destinations[%zu].mapping", index);
	if (destination->mapping) (void)!mapping_compile(r->arena, r->complaints, destination->mapping, where, &needs);
}

void check_destinations(struct reading *r, const struct node *root, const struct config *config)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		check_segments(r, root, config, i);
		check_templates(r, &config->destinations[i], i);
	}
}
