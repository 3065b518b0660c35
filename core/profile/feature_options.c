#include "profile/feature_options.h"

#include <math.h>
#include <stdlib.h>

#include "config/units.h"

struct cdpd_options feature_options_of(const struct cdpd_feature_type *type)
{
	struct cdpd_options none = {0};
	return feature_type_has_options(type) ? type->options : none;
}

const struct cdpd_option *feature_option(const struct cdpd_options *options, size_t index)
{
	return (const struct cdpd_option *)(const void *)((const char *)options->items + index * options->item_size);
}

/* ── from text ───────────────────────────────────────────────────────────── */

static bool read_number(struct str text, double *out)
{
	char copy[64], *end;
	if (text.len == 0 || text.len >= sizeof copy) return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\0' || !strchr("0123456789+-.eE", text.ptr[i])) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' && isfinite(*out);
}

/* The index in "a|b|c", or -1. */
static int64_t find_value(const char *values, struct str text)
{
	int64_t index = 0;
	for (const char *at = values; at; index++) {
		const char *bar = strchr(at, '|');
		struct str one = bar ? str_of(at, (size_t)(bar - at)) : str_from(at);
		if (str_eq(one, text)) return index;
		at = bar ? bar + 1 : NULL;
	}
	return -1;
}

static const char *must_be(enum cdpd_option_type type)
{
	switch (type) {
	case CDPD_OPTION_INT: return "a whole number";
	case CDPD_OPTION_FLOAT: return "a number";
	case CDPD_OPTION_BOOL: return "true or false";
	case CDPD_OPTION_DURATION: return "a duration such as 30m, 12h or 7d";
	case CDPD_OPTION_SIZE: return "a size such as 512, 64KB or 8MB";
	default: return "something else";
	}
}

static bool read_value(const struct cdpd_option *option, struct str text, struct cdpd_param *out)
{
	uint64_t number = 0;
	*out = (struct cdpd_param){.text = {"", 0}};
	switch (option->type) {
	case CDPD_OPTION_INT:
		if (str_to_i64(text, &out->integer)) return false;
		break;
	case CDPD_OPTION_FLOAT: return read_number(text, &out->number);
	case CDPD_OPTION_BOOL:
		out->integer = str_eq(text, STR("true"));
		if (!out->integer && !str_eq(text, STR("false"))) return false;
		break;
	case CDPD_OPTION_DURATION:
		if (!unit_read_duration(text, &number) || number > INT64_MAX) return false;
		out->integer = (int64_t)number;
		break;
	case CDPD_OPTION_SIZE:
		if (!unit_read_bytes(text, &number) || number > INT64_MAX) return false;
		out->integer = (int64_t)number;
		break;
	case CDPD_OPTION_ENUM:
		out->integer = find_value(option->values, text);
		if (out->integer < 0) return false;
		out->text = (struct cdpd_str){text.ptr, text.len};
		break;
	case CDPD_OPTION_STRING:
		out->integer = (int64_t)text.len;
		out->text = (struct cdpd_str){text.ptr, text.len};
		break;
	default: return false;
	}
	out->number = (double)out->integer;
	return true;
}

static bool is_in_range(const struct cdpd_option *option, const struct cdpd_param *param)
{
	if (option->min == 0 && option->max == 0) return true;
	return param->number >= option->min && param->number <= option->max;
}

/* A limit as people write it. */
static int write_limit(const struct cdpd_option *option, double limit, struct arena *arena, struct str *out)
{
	static const struct {
		double us;
		const char *name;
	} units[] = {{86400e6, "d"}, {3600e6, "h"}, {60e6, "m"}, {1e6, "s"}, {1e3, "ms"}};
	for (size_t i = 0; option->type == CDPD_OPTION_DURATION && i < COUNT_OF(units); i++)
		if (limit >= units[i].us && fmod(limit, units[i].us) == 0)
			return arena_printf(arena, out, "%.0f%s", limit / units[i].us, units[i].name);
	return arena_printf(arena, out, "%.15g", limit);
}

static int refuse_range(const struct cdpd_option *option, struct arena *arena, struct str *why)
{
	struct str min, max;
	int rc = write_limit(option, option->min, arena, &min);
	if (!rc) rc = write_limit(option, option->max, arena, &max);
	if (!rc)
		rc = arena_printf(arena, why, "must be %.*s to %.*s%s", STR_ARG(min), STR_ARG(max),
				  option->type == CDPD_OPTION_STRING ? " bytes long" : "");
	return rc ? rc : ERR_INVALID;
}

int feature_option_read(const struct cdpd_option *option, struct str text, struct arena *arena, struct cdpd_param *out,
			struct str *why)
{
	if (!read_value(option, text, out)) {
		int rc = option->type == CDPD_OPTION_ENUM
			     ? arena_printf(arena, why, "must be one of %s", option->values)
			     : arena_printf(arena, why, "must be %s", must_be(option->type));
		return rc ? rc : ERR_INVALID;
	}
	return is_in_range(option, out) ? OK : refuse_range(option, arena, why);
}

int feature_options_default(const struct cdpd_feature_type *type, struct arena *arena, struct cdpd_params *out)
{
	struct cdpd_options options = feature_options_of(type);
	struct cdpd_param *values = arena_array(arena, struct cdpd_param, options.count + 1);
	if (!values) return ERR_NOMEM;
	*out = (struct cdpd_params){sizeof *out, (uint32_t)options.count, values};
	for (size_t i = 0; i < options.count; i++) {
		const struct cdpd_option *option = feature_option(&options, i);
		values[i].text = (struct cdpd_str){"", 0};
		if (option->default_text && !read_value(option, str_from(option->default_text), &values[i]))
			return ERR_INVALID;
	}
	return OK;
}

/* ── canonical JSON ──────────────────────────────────────────────────────── */

static bool is_same(const struct cdpd_param *a, const struct cdpd_param *b)
{
	return a->integer == b->integer && a->number == b->number &&
	       str_eq(str_of(a->text.ptr, a->text.len), str_of(b->text.ptr, b->text.len));
}

static void write_value(struct json_out *out, const struct cdpd_option *option, const struct cdpd_param *param)
{
	switch (option->type) {
	case CDPD_OPTION_FLOAT: jo_double(out, param->number); break;
	case CDPD_OPTION_BOOL: jo_bool(out, param->integer != 0); break;
	case CDPD_OPTION_STRING:
	case CDPD_OPTION_ENUM: jo_str(out, (struct str){param->text.ptr, param->text.len}); break;
	default: jo_int(out, param->integer); break;
	}
}

/* The next name after `after` (NULL: the first) in byte order, or count. */
static size_t next_by_name(const struct cdpd_options *options, const char *after)
{
	size_t best = options->count;
	const char *best_name = NULL;
	for (size_t i = 0; i < options->count; i++) {
		const char *name = feature_option(options, i)->name;
		if ((after && strcmp(name, after) <= 0) || (best_name && strcmp(name, best_name) >= 0)) continue;
		best_name = name;
		best = i;
	}
	return best;
}

int feature_options_write(struct json_out *out, const struct cdpd_feature_type *type, const struct cdpd_params *params,
			  struct arena *arena)
{
	struct cdpd_options options = feature_options_of(type);
	struct cdpd_params defaults;
	bool is_open = false;
	int rc = feature_options_default(type, arena, &defaults);
	if (rc) return rc;
	for (size_t i = next_by_name(&options, NULL); i < options.count;
	     i = next_by_name(&options, feature_option(&options, i)->name)) {
		if (is_same(&params->values[i], &defaults.values[i])) continue;
		if (!is_open) {
			jo_key(out, STR("options"));
			jo_object(out);
			is_open = true;
		}
		jo_key(out, str_from(feature_option(&options, i)->name));
		write_value(out, feature_option(&options, i), &params->values[i]);
	}
	if (is_open) jo_end_object(out);
	return OK;
}

static int parse_value(const struct cdpd_option *option, struct json value, struct arena *arena, struct cdpd_param *out)
{
	struct str text = STR_NONE;
	bool truth;
	*out = (struct cdpd_param){.text = {"", 0}};
	switch (option->type) {
	case CDPD_OPTION_FLOAT: return json_double(value, &out->number) ? OK : ERR_INVALID;
	case CDPD_OPTION_BOOL:
		if (!json_bool(value, &truth)) return ERR_INVALID;
		out->integer = truth;
		break;
	case CDPD_OPTION_STRING:
	case CDPD_OPTION_ENUM: {
		if (!json_str(value, &text)) return ERR_INVALID;
		int rc = arena_str(arena, text, &text);
		return rc ? rc : read_value(option, text, out) ? OK : ERR_INVALID;
	}
	default:
		if (!json_int(value, &out->integer)) return ERR_INVALID;
	}
	out->number = (double)out->integer;
	return OK;
}

int feature_options_parse(struct json object, const struct cdpd_feature_type *type, struct arena *arena,
			  struct cdpd_params *out)
{
	struct cdpd_options options = feature_options_of(type);
	struct json_iter it;
	struct json value;
	struct str name;
	if (json_type(object) != JSON_OBJECT) return ERR_INVALID;
	struct cdpd_param *values = (struct cdpd_param *)(uintptr_t)out->values;
	for (json_iter_start(object, &it); json_next_member(&it, &name, &value);) {
		size_t i = 0;
		while (i < options.count && !str_eq(str_from(feature_option(&options, i)->name), name)) i++;
		if (i == options.count) return ERR_INVALID;
		const struct cdpd_option *option = feature_option(&options, i);
		int rc = parse_value(option, value, arena, &values[i]);
		if (!rc && !is_in_range(option, &values[i])) rc = ERR_INVALID;
		if (rc) return rc;
	}
	return OK;
}
