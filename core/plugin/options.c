#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/units.h"
#include "plugin/internal.h"

#define SECRET_MAX 16384

/* ── one value ───────────────────────────────────────────────────────────── */

/* For showing limits; core/config/units.c reads. */
struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit durations[] = {
    {"us", 1},         {"ms", US_PER_MS}, {"s", US_PER_SECOND}, {"m", 60 * US_PER_SECOND}, {"h", 3600 * US_PER_SECOND},
    {"d", US_PER_DAY},
};
static const struct unit sizes[] = {{"B", 1}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000}};

static bool read_double(struct str text, double *out)
{
	char copy[64], *end;
	if (text.len == 0 || text.len >= sizeof copy) return false;
	for (size_t i = 0; i < text.len; i++) {
		if (!strchr("0123456789+-.eE", text.ptr[i]) || text.ptr[i] == '\0') return false;
	}
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' && isfinite(*out);
}

static bool is_in_values(const char *values, struct str text)
{
	for (const char *at = values; at;) {
		const char *bar = strchr(at, '|');
		struct str one = bar ? str_of(at, (size_t)(bar - at)) : str_from(at);
		if (str_eq(one, text)) return true;
		at = bar ? bar + 1 : NULL;
	}
	return false;
}

static int split_list(struct arena *arena, struct str text, struct option_value *out)
{
	size_t commas = 0;
	for (size_t i = 0; i < text.len; i++) commas += text.ptr[i] == ',';
	out->items = arena_array(arena, struct str, commas + 1);
	if (!out->items) return ERR_NOMEM;
	for (size_t start = 0, i = 0; i <= text.len; i++) {
		if (i < text.len && text.ptr[i] != ',') continue;
		struct str item = str_trim(str_of(text.ptr + start, i - start));
		if (item.len > 0) out->items[out->item_count++] = item;
		start = i + 1;
	}
	return OK;
}

/* A number as people write it in this option's unit, for texts about ranges. */
static void format_limit(const struct cdpd_option *option, double limit, char out[40])
{
	const struct unit *units = option->type == CDPD_OPTION_DURATION ? durations : sizes;
	size_t count = option->type == CDPD_OPTION_DURATION ? COUNT_OF(durations) : COUNT_OF(sizes);
	if (option->type != CDPD_OPTION_DURATION && option->type != CDPD_OPTION_SIZE) {
		snprintf(out, 40, "%.15g", limit);
		return;
	}
	size_t best = 0;
	for (size_t i = 0; i < count; i++) {
		if (limit >= (double)units[i].factor && fmod(limit, (double)units[i].factor) == 0) best = i;
	}
	snprintf(out, 40, "%.15g%s", limit / (double)units[best].factor, units[best].name);
}

static int check_range(struct arena *arena, const struct cdpd_option *option, double value, const char *what,
		       struct str *why)
{
	char min[40], max[40];
	if (option->min == 0 && option->max == 0) return OK;
	if (value >= option->min && value <= option->max) return OK;
	format_limit(option, option->min, min);
	format_limit(option, option->max, max);
	return plugin_refuse(arena, why, "must %s %s to %s", what, min, max);
}

static int check_value(struct arena *arena, const struct cdpd_option *option, const struct option_value *value,
		       struct str *why)
{
	switch (option->type) {
	case CDPD_OPTION_INT:
	case CDPD_OPTION_DURATION:
	case CDPD_OPTION_SIZE: return check_range(arena, option, (double)value->integer, "be", why);
	case CDPD_OPTION_FLOAT: return check_range(arena, option, value->number, "be", why);
	case CDPD_OPTION_LIST:
		return check_range(arena, option, (double)value->item_count, "have this many items:", why);
	case CDPD_OPTION_STRING:
		return check_range(arena, option, (double)value->text.len, "have this many bytes:", why);
	default: return OK;
	}
}

int option_read_secret(struct arena *arena, struct str text, struct option_value *out, struct str *why)
{
	struct str name;
	if (str_starts(text, STR("env:"))) {
		if (arena_str(arena, str_of(text.ptr + 4, text.len - 4), &name)) return ERR_NOMEM;
		const char *value = getenv(name.ptr);
		if (!value || !value[0])
			return plugin_refuse(arena, why, "names the variable %s, which is not set", name.ptr);
		return arena_str(arena, str_from(value), &out->text);
	}
	if (!str_starts(text, STR("file:")) || text.len == 5) {
		return plugin_refuse(arena, why,
				     "is a secret: give file:PATH or env:NAME instead of the secret itself");
	}
	if (arena_str(arena, str_of(text.ptr + 5, text.len - 5), &name)) return ERR_NOMEM;
	char *buf = arena_alloc(arena, SECRET_MAX + 1);
	if (!buf) return ERR_NOMEM;
	int fd = open(name.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t len = fd < 0 ? -1 : read(fd, buf, SECRET_MAX + 1);
	if (fd >= 0) close(fd);
	if (len < 0) return plugin_refuse(arena, why, "names a file that cannot be read");
	if (len > SECRET_MAX) return plugin_refuse(arena, why, "names a file of more than %d bytes", SECRET_MAX);
	out->text = str_trim(str_of(buf, (size_t)len));
	return out->text.len ? OK : plugin_refuse(arena, why, "names an empty file");
}

static int read_typed(struct arena *arena, const struct cdpd_option *option, struct str text, struct option_value *out,
		      struct str *why)
{
	uint64_t count;
	switch (option->type) {
	case CDPD_OPTION_STRING: return arena_str(arena, text, &out->text);
	case CDPD_OPTION_INT:
		if (str_to_i64(text, &out->integer)) return plugin_refuse(arena, why, "must be a whole number");
		out->number = (double)out->integer;
		return OK;
	case CDPD_OPTION_FLOAT:
		return read_double(text, &out->number) ? OK : plugin_refuse(arena, why, "must be a number");
	case CDPD_OPTION_BOOL:
		out->boolean = str_eq(text, STR("true"));
		if (!out->boolean && !str_eq(text, STR("false")))
			return plugin_refuse(arena, why, "must be true or false");
		return OK;
	case CDPD_OPTION_DURATION:
		if (unit_read_duration(text, &count)) {
			out->integer = (int64_t)count;
			return OK;
		}
		return plugin_refuse(arena, why, "must be a duration such as 250ms, 10s, 5m, 2h or 7d");
	case CDPD_OPTION_SIZE:
		if (unit_read_bytes(text, &count) && count <= INT64_MAX) {
			out->integer = (int64_t)count;
			return OK;
		}
		return plugin_refuse(arena, why, "must be a size such as 512, 64KB, 8MB or 1GB");
	case CDPD_OPTION_ENUM:
		if (!is_in_values(option->values, text))
			return plugin_refuse(arena, why, "must be one of %s", option->values);
		return arena_str(arena, text, &out->text);
	case CDPD_OPTION_LIST: return split_list(arena, text, out);
	case CDPD_OPTION_SECRET: return option_read_secret(arena, text, out, why);
	}
	return ERR_INVALID;
}

int option_read(struct arena *arena, const struct cdpd_option *option, struct str text, struct option_value *out,
		struct str *why)
{
	memset(out, 0, sizeof *out);
	out->text = STR_NONE;
	*why = STR("cannot be read");
	int rc = read_typed(arena, option, text, out, why);
	if (rc == OK) rc = check_value(arena, option, out, why);
	out->is_set = rc == OK;
	return rc;
}

/* ── an instance's options ───────────────────────────────────────────────── */

struct checking {
	struct arena *arena;
	const struct cdpd_plugin *table;
	const struct conf_instance *instance;
	struct str file;
	struct plugin_conf *conf;
	struct str errors; /* one complaint a line */
};

static int complain(struct checking *c, int line, struct str what)
{
	int rc =
	    arena_printf(c->arena, &c->errors, "%.*s%s%.*s:%d: %.*s", STR_ARG(c->errors), c->errors.len ? "\n" : "",
			 STR_ARG(c->file), line > 0 ? line : c->instance->line, STR_ARG(what));
	return rc ? rc : ERR_INVALID;
}

static int complain_unknown(struct checking *c, const struct node *node)
{
	const char *names[PLUGIN_OPTIONS_MAX];
	size_t count = c->table->options.count;
	struct str what;
	for (size_t i = 0; i < count; i++) names[i] = plugin_option(&c->table->options, i)->name;
	const char *near = count ? str_nearest(node->key, names, count) : NULL;
	int rc = arena_printf(c->arena, &what, "unknown option '%.*s' for %s%s%s%s", STR_ARG(node->key), c->table->name,
			      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
	return rc ? rc : complain(c, node->line, what);
}

static int complain_value(struct checking *c, int line, const struct cdpd_option *option, struct str why)
{
	struct str what;
	int rc = arena_printf(c->arena, &what, "option '%s' of %.*s %.*s", option->name, STR_ARG(c->instance->name),
			      STR_ARG(why));
	return rc ? rc : complain(c, line, what);
}

/* An unquoted nothing or null is as if the key were not there. */
static bool is_null(const struct node *node)
{
	if (node->kind != NODE_SCALAR || node->is_quoted) return false;
	return node->text.len == 0 || str_eq(node->text, STR("~")) || str_eq(node->text, STR("null"));
}

static int read_list(struct checking *c, const struct cdpd_option *option, const struct node *node,
		     struct option_value *out)
{
	struct str why;
	if (node->kind != NODE_LIST) return complain_value(c, node->line, option, STR("must be a list"));
	*out = (struct option_value){.is_set = true, .text = STR_NONE};
	out->items = arena_array(c->arena, struct str, node->child_count);
	if (!out->items && node->child_count) return ERR_NOMEM;
	for (const struct node *item = node->children; item; item = item->next) {
		if (item->kind != NODE_SCALAR)
			return complain_value(c, item->line, option, STR("must be a list of plain values"));
		if (arena_str(c->arena, item->text, &out->items[out->item_count++])) return ERR_NOMEM;
	}
	return check_value(c->arena, option, out, &why) ? complain_value(c, node->line, option, why) : OK;
}

static int read_option(struct checking *c, const struct cdpd_option *option, const struct node *node,
		       struct option_value *out)
{
	struct str why;
	if (option->type == CDPD_OPTION_LIST) return read_list(c, option, node, out);
	if (node->kind != NODE_SCALAR) return complain_value(c, node->line, option, STR("must be a plain value"));
	bool is_plain =
	    option->type == CDPD_OPTION_INT || option->type == CDPD_OPTION_FLOAT || option->type == CDPD_OPTION_BOOL;
	if (is_plain && node->is_quoted) return complain_value(c, node->line, option, STR("must not be in quotes"));
	int rc = option_read(c->arena, option, node->text, out, &why);
	return rc == ERR_INVALID ? complain_value(c, node->line, option, why) : rc;
}

static int read_default(struct checking *c, const struct cdpd_option *option, struct option_value *out)
{
	struct str why;
	if (option->is_required) {
		return complain_value(c, c->instance->line, option, STR("is required"));
	}
	if (!option->default_text) {
		*out = (struct option_value){.text = STR_NONE};
		return OK;
	}
	int rc = option_read(c->arena, option, str_from(option->default_text), out, &why);
	return rc == ERR_INVALID ? complain_value(c, c->instance->line, option, why) : rc;
}

static int check_known(struct checking *c, const struct node *options)
{
	for (const struct node *node = options->children; node; node = node->next) {
		bool is_known = false;
		for (size_t i = 0; i < c->table->options.count && !is_known; i++) {
			is_known = str_eq(node->key, str_from(plugin_option(&c->table->options, i)->name));
		}
		if (!is_known && complain_unknown(c, node) == ERR_NOMEM) return ERR_NOMEM;
	}
	return OK;
}

static int copy_isolation(struct checking *c)
{
	const struct conf_isolation *from = &c->instance->isolation;
	struct conf_isolation *to = &c->conf->isolation;
	*to = *from;
	to->deadline_ms = c->instance->async.deadline_ms;
	to->read = arena_array(c->arena, struct str, from->read_count + 1);
	int rc = to->read ? OK : ERR_NOMEM;
	for (size_t i = 0; i < from->read_count && !rc; i++) rc = arena_str(c->arena, from->read[i], &to->read[i]);
	return rc;
}

static int check_all(struct checking *c)
{
	const struct node *options = c->instance->options;
	if (options && is_null(options)) options = NULL;
	if (options && options->kind != NODE_MAP)
		return complain(c, options->line, STR("options must be a map of names and values"));
	if (options && check_known(c, options)) return ERR_NOMEM;
	for (size_t i = 0; i < c->table->options.count; i++) {
		const struct cdpd_option *option = plugin_option(&c->table->options, i);
		const struct node *node = options ? node_child(options, str_from(option->name)) : NULL;
		struct option_value *out = &c->conf->sdk.values[i];
		int rc = node && !is_null(node) ? read_option(c, option, node, out) : read_default(c, option, out);
		if (rc == ERR_NOMEM) return rc;
	}
	return c->errors.len ? ERR_INVALID : OK;
}

int plugin_conf_check(struct arena *arena, const struct plugin *plugin, const struct conf_instance *instance,
		      struct str file, struct plugin_conf **out, struct str *error)
{
	const struct cdpd_plugin *table = plugin_info(plugin);
	struct checking c = {arena, table, instance, file, arena_new(arena, struct plugin_conf), STR_NONE};
	*error = STR("out of memory");
	*out = NULL;
	if (!c.conf) return ERR_NOMEM;
	c.conf->sdk.table = table;
	c.conf->sdk.values = arena_array(arena, struct option_value, table->options.count + 1);
	if (!c.conf->sdk.values) return ERR_NOMEM;
	int rc = copy_isolation(&c);
	if (rc == OK) rc = check_all(&c);
	if (rc == OK) {
		*out = c.conf;
	} else if (rc == ERR_INVALID) {
		*error = c.errors;
	}
	return rc;
}

const struct option_value *conf_find(const struct cdpd_conf *conf, const char *name, unsigned types)
{
	for (size_t i = 0; name && i < conf->table->options.count; i++) {
		const struct cdpd_option *option = plugin_option(&conf->table->options, i);
		if (strcmp(option->name, name) != 0) continue;
		return types & (1u << option->type) ? &conf->values[i] : NULL;
	}
	return NULL;
}

static bool is_same_value(const struct option_value *a, const struct option_value *b)
{
	if (a->is_set != b->is_set || a->boolean != b->boolean || a->integer != b->integer || a->number != b->number)
		return false;
	if (!str_eq(a->text, b->text) || a->item_count != b->item_count) return false;
	for (size_t i = 0; i < a->item_count; i++) {
		if (!str_eq(a->items[i], b->items[i])) return false;
	}
	return true;
}

static bool is_same_isolation(const struct conf_isolation *a, const struct conf_isolation *b)
{
	if (a->is_on != b->is_on || a->read_count != b->read_count) return false;
	if (a->is_on && (a->memory != b->memory || a->deadline_ms != b->deadline_ms)) return false;
	for (size_t i = 0; i < a->read_count; i++) {
		if (!str_eq(a->read[i], b->read[i])) return false;
	}
	return true;
}

bool plugin_conf_is_same(const struct plugin_conf *a, const struct plugin_conf *b)
{
	if (a->sdk.table != b->sdk.table || !is_same_isolation(&a->isolation, &b->isolation)) return false;
	for (size_t i = 0; i < a->sdk.table->options.count; i++) {
		if (!is_same_value(&a->sdk.values[i], &b->sdk.values[i])) return false;
	}
	return true;
}
