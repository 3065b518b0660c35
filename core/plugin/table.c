#include <stdarg.h>
#include <stdio.h>

#include "plugin/internal.h"

static const struct {
	uint32_t cap;
	const char *name;
} caps[] = {
    {CDPD_CAP_SOURCE, "source"},   {CDPD_CAP_ENRICH, "enrich"}, {CDPD_CAP_ENRICH_ASYNC, "enrich_async"},
    {CDPD_CAP_FEATURE, "feature"}, {CDPD_CAP_EXPORT, "export"},
};

int plugin_refuse(struct arena *arena, struct str *error, const char *fmt, ...)
{
	char text[501];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (len < 0 || arena_str(arena, str_from(text), error)) *error = STR("refused (no memory for the reason)");
	return ERR_INVALID;
}

bool plugin_is_name(struct str text, const char *extra)
{
	if (text.len == 0 || text.len > PLUGIN_NAME_MAX || text.ptr[0] < 'a' || text.ptr[0] > 'z') return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!is_plain && (c == '\0' || !strchr(extra, c))) return false;
	}
	return true;
}

bool plugin_is_field_path(struct str text)
{
	size_t steps = 1, step_len = 0;
	if (text.len == 0 || text.len > PLUGIN_PATH_MAX) return false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c < 0x20 || c == 0x7f || (c == '.' && step_len == 0)) return false;
		if (c == '.') {
			steps++;
			step_len = 0;
		} else {
			step_len++;
		}
	}
	return step_len > 0 && steps <= PLUGIN_STEPS_MAX;
}

bool plugin_path_is_under(struct str path, struct str root)
{
	return str_starts(path, root) && (path.len == root.len || path.ptr[root.len] == '.');
}

struct str plugin_caps_text(struct arena *arena, uint32_t mask)
{
	struct str text = STR_NONE;
	for (size_t i = 0; i < COUNT_OF(caps); i++) {
		if (!(mask & caps[i].cap)) continue;
		if (arena_printf(arena, &text, "%.*s%s%s", STR_ARG(text), text.len ? ", " : "", caps[i].name))
			return STR_NONE;
	}
	return text;
}

const char *plugin_option_type_name(enum cdpd_option_type type)
{
	switch (type) {
	case CDPD_OPTION_STRING: return "string";
	case CDPD_OPTION_INT: return "int";
	case CDPD_OPTION_FLOAT: return "float";
	case CDPD_OPTION_BOOL: return "bool";
	case CDPD_OPTION_DURATION: return "duration";
	case CDPD_OPTION_SIZE: return "size";
	case CDPD_OPTION_ENUM: return "enum";
	case CDPD_OPTION_LIST: return "list";
	case CDPD_OPTION_SECRET: return "secret";
	}
	return NULL;
}

static bool is_text(const char *text, size_t max)
{
	return text && text[0] && strnlen(text, max + 1) <= max;
}

static int check_default(struct arena *arena, const struct cdpd_option *option, struct str *error)
{
	struct option_value value;
	struct str why;
	if (!option->default_text || option->type == CDPD_OPTION_SECRET) return OK;
	if (option_read(arena, option, str_from(option->default_text), &value, &why) == OK) return OK;
	return plugin_refuse(arena, error, "the default of option '%s' %.*s", option->name, STR_ARG(why));
}

static int check_option(struct arena *arena, const struct cdpd_options *options, size_t index, struct str *error)
{
	const struct cdpd_option *option = plugin_option(options, index);
	if (!is_text(option->name, PLUGIN_NAME_MAX) || !plugin_is_name(str_from(option->name), "_")) {
		return plugin_refuse(arena, error, "the name of option %zu is missing, too long or not [a-z][a-z0-9_]*",
				     index);
	}
	const char *name = option->name;
	if (!plugin_option_type_name(option->type)) {
		return plugin_refuse(arena, error, "option '%s' has an unknown type (%d)", name, (int)option->type);
	}
	if (!is_text(option->help, 500)) return plugin_refuse(arena, error, "option '%s' has no help", name);
	if (option->is_required && option->default_text) {
		return plugin_refuse(arena, error, "option '%s' is required and has a default", name);
	}
	if (!(option->min <= option->max)) return plugin_refuse(arena, error, "option '%s' has min above max", name);
	if ((option->type == CDPD_OPTION_ENUM) != is_text(option->values, 1000)) {
		return plugin_refuse(arena, error, "option '%s': values belong to an enum, and an enum needs them",
				     name);
	}
	for (size_t i = 0; i < index; i++) {
		if (strcmp(plugin_option(options, i)->name, name) == 0) {
			return plugin_refuse(arena, error, "option '%s' stands twice in the table", name);
		}
	}
	return check_default(arena, option, error);
}

static int check_options(struct arena *arena, const struct cdpd_options *options, struct str *error)
{
	if (options->count == 0) return OK;
	if (!options->items || options->item_size < sizeof(struct cdpd_option) || options->item_size % 8 != 0 ||
	    options->item_size > 4096) {
		return plugin_refuse(arena, error, "its option table has no items or a wrong item_size");
	}
	if (options->count > PLUGIN_OPTIONS_MAX) {
		return plugin_refuse(arena, error, "it has more than %d options", PLUGIN_OPTIONS_MAX);
	}
	for (size_t i = 0; i < options->count; i++) {
		if (check_option(arena, options, i, error)) return ERR_INVALID;
	}
	return OK;
}

/* `what`: provides, needs or uses. */
static int check_paths(struct arena *arena, const struct cdpd_paths *paths, const char *what, struct str *error)
{
	bool are_ours = *what != 'n';
	if (paths->count > PLUGIN_PATHS_MAX || (paths->count > 0 && !paths->items)) {
		return plugin_refuse(arena, error, "its %s have no items or more than %d", what, PLUGIN_PATHS_MAX);
	}
	for (size_t i = 0; i < paths->count; i++) {
		const char *path = paths->items[i];
		if (!is_text(path, PLUGIN_PATH_MAX) || !plugin_is_field_path(str_from(path))) {
			return plugin_refuse(arena, error, "item %zu of its %s is not a field path of at most %d bytes",
					     i, what, PLUGIN_PATH_MAX);
		}
		if (are_ours && !str_starts(str_from(path), STR("enrichment."))) {
			return plugin_refuse(arena, error, "it %s '%s', which is not under enrichment.", what, path);
		}
	}
	return OK;
}

bool plugin_feature_has_options(const struct cdpd_feature_type *type)
{
	return type->size >= offsetof(struct cdpd_feature_type, check) + sizeof type->check;
}

/* What a feature says of itself whatever its type. */
static bool is_taken_name(const char *name)
{
	static const char *const names[] = {"name", "type", "event", "field", "where", "key", "max_keys"};
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (strcmp(name, names[i]) == 0) return true;
	return false;
}

static int check_feature_options(struct arena *arena, const struct cdpd_feature_type *type, struct str *error)
{
	int rc = check_options(arena, &type->options, error);
	for (size_t i = 0; rc == OK && i < type->options.count; i++) {
		const struct cdpd_option *option = plugin_option(&type->options, i);
		if (option->type == CDPD_OPTION_LIST || option->type == CDPD_OPTION_SECRET)
			rc = plugin_refuse(arena, error, "option '%s': a feature's option is no list and no secret",
					   option->name);
		else if (is_taken_name(option->name))
			rc = plugin_refuse(arena, error, "option '%s' has the name of something every feature has",
					   option->name);
	}
	return rc;
}

#define FEATURE_MAX_STATE 8192

static int check_feature(struct arena *arena, const struct cdpd_feature_type *type, struct str *error)
{
	const size_t size_1_0 = offsetof(struct cdpd_feature_type, flags);
	if (type->size < size_1_0) return plugin_refuse(arena, error, "its feature type is smaller than that of 1.0");
	bool is_new = plugin_feature_has_options(type);
	bool has_plain = type->init && type->add && type->merge && type->read;
	bool has_with = is_new && type->init_with && type->add_with && type->merge_with && type->read_with;
	if (type->size > size_1_0 && !is_new)
		return plugin_refuse(arena, error, "its feature type has a size between two versions");
	if (!has_with && !(has_plain && (!is_new || type->options.count == 0))) {
		return plugin_refuse(arena, error, "its feature type lacks init, add, merge or read%s",
				     is_new && type->options.count ? " with options" : "");
	}
	if (type->state_version == 0 || type->max_state == 0 || type->max_state > FEATURE_MAX_STATE) {
		return plugin_refuse(arena, error,
				     "its feature type needs a state_version and a max_state of 1 to %d bytes",
				     FEATURE_MAX_STATE);
	}
	return is_new ? check_feature_options(arena, type, error) : OK;
}

static int check_caps(struct arena *arena, const struct cdpd_plugin *table, struct str *error)
{
	uint32_t has = (table->decode ? CDPD_CAP_SOURCE : 0u) | (table->enrich ? CDPD_CAP_ENRICH : 0u) |
		       (table->enrich_async ? CDPD_CAP_ENRICH_ASYNC : 0u) | (table->feature ? CDPD_CAP_FEATURE : 0u) |
		       (table->export_batch ? CDPD_CAP_EXPORT : 0u);
	uint32_t known = CDPD_CAP_SOURCE | CDPD_CAP_ENRICH | CDPD_CAP_ENRICH_ASYNC | CDPD_CAP_FEATURE | CDPD_CAP_EXPORT;
	if (table->caps == 0) return plugin_refuse(arena, error, "it claims no capability");
	if (table->caps & ~known)
		return plugin_refuse(arena, error, "it claims capabilities that do not exist (0x%x)", table->caps);
	uint32_t flags = table->abi_minor >= 4 ? CDPD_PLUGIN_OWN_IO : 0;
	if (table->flags & ~flags) return plugin_refuse(arena, error, "its reserved flags are not 0");
	for (size_t i = 0; i < COUNT_OF(caps); i++) {
		if (table->caps & ~has & caps[i].cap) {
			return plugin_refuse(arena, error, "it claims %s without the callback", caps[i].name);
		}
	}
	return table->feature ? check_feature(arena, table->feature, error) : OK;
}

static int check_abi(struct arena *arena, const struct cdpd_plugin *table, struct str *error)
{
	if (table->abi_major != CDPD_ABI_MAJOR || table->abi_minor > CDPD_ABI_MINOR) {
		return plugin_refuse(arena, error, "it was built for plugin ABI %u.%u, this cdpd has %d.%d",
				     table->abi_major, table->abi_minor, CDPD_ABI_MAJOR, CDPD_ABI_MINOR);
	}
	size_t least = offsetof(struct cdpd_plugin, uses);
	if (table->size < least || (table->size > least && table->size < sizeof *table)) {
		return plugin_refuse(arena, error, "its table has %u bytes, ABI %d.0 needs %zu", table->size,
				     CDPD_ABI_MAJOR, least);
	}
	return OK;
}

struct cdpd_paths plugin_uses(const struct cdpd_plugin *table)
{
	bool has_them = table->size >= offsetof(struct cdpd_plugin, uses) + sizeof table->uses;
	return has_them ? table->uses : (struct cdpd_paths){.count = 0};
}

int plugin_table_check(struct arena *arena, const struct cdpd_plugin *table, struct str stem, struct str *error)
{
	int rc = check_abi(arena, table, error);
	if (rc) return rc;
	const struct cdpd_paths uses = plugin_uses(table);
	if (!is_text(table->name, PLUGIN_NAME_MAX) || !plugin_is_name(str_from(table->name), "_-")) {
		return plugin_refuse(arena, error, "its name is missing, over %d bytes or not [a-z][a-z0-9_-]*",
				     PLUGIN_NAME_MAX);
	}
	if (!str_eq(str_from(table->name), stem)) {
		return plugin_refuse(arena, error, "it calls itself '%s', the file must be %s.so", table->name,
				     table->name);
	}
	if (!is_text(table->version, 32)) return plugin_refuse(arena, error, "its version is missing or over 32 bytes");
	if (!is_text(table->summary, 200))
		return plugin_refuse(arena, error, "its summary is missing or over 200 bytes");
	if ((rc = check_caps(arena, table, error)) || (rc = check_paths(arena, &table->needs, "needs", error)) ||
	    (rc = check_paths(arena, &table->provides, "provides", error)) ||
	    (rc = check_paths(arena, &uses, "uses", error))) {
		return rc;
	}
	return check_options(arena, &table->options, error);
}
