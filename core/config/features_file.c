#include "config/features_file.h"

/* The path as it is opened: relative ones start where the configuration lies. */
static int resolve(struct arena *arena, const char *config_path, struct str path, struct str *out)
{
	const char *slash = strrchr(config_path, '/');
	if (path.ptr[0] == '/' || !slash) return arena_str(arena, path, out);
	return arena_printf(arena, out, "%.*s%.*s", (int)(slash + 1 - config_path), config_path, STR_ARG(path));
}

static bool is_taken(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->feature_count; i++)
		if (str_eq(config->features[i].name, name)) return true;
	return false;
}

static void append(struct reading *r, struct config *config, struct draft *other, struct str file)
{
	struct config *more = &other->config;
	size_t count = config->feature_count + more->feature_count;
	struct conf_feature *all = arena_array(r->arena, struct conf_feature, count + 1);
	if (!all) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < more->feature_count; i++) {
		more->features[i].file = file;
		if (is_taken(config, more->features[i].name))
			complain(r->complaints, more->features[i].line,
				 "features[%zu]: name '%.*s' is taken in the main file", i,
				 STR_ARG(more->features[i].name));
	}
	if (config->feature_count) memcpy(all, config->features, config->feature_count * sizeof *all);
	if (more->feature_count) memcpy(all + config->feature_count, more->features, more->feature_count * sizeof *all);
	config->features = all;
	config->feature_count = count;
}

static void read_file(struct reading *r, struct str file, struct config *config)
{
	struct str error;
	struct node *root;
	int rc = tree_parse_file(r->arena, file.ptr, &root, &error);
	if (rc == ERR_NOMEM) {
		r->complaints->status = rc;
	} else if (rc) {
		complain_whole(r->complaints, error);
	} else if (root->kind != NODE_MAP) {
		complain(r->complaints, root->line, "must be a map with the list 'features'");
	} else {
		struct draft *other = arena_new(r->arena, struct draft);
		if (!other) {
			r->complaints->status = ERR_NOMEM;
			return;
		}
		read_table(r, &schema_features, root, other);
		append(r, config, other, file);
	}
}

void read_features_file(struct reading *reading, const char *config_path, struct draft *draft)
{
	struct config *config = &draft->config;
	const char *main_file = reading->complaints->file;
	struct str file;
	if (config->features_file.len == 0) return;
	int rc = resolve(reading->arena, config_path, config->features_file, &file);
	if (rc) {
		reading->complaints->status = rc;
		return;
	}
	reading->complaints->file = file.ptr;
	read_file(reading, file, config);
	reading->complaints->file = main_file;
}
