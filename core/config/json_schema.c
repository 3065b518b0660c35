#include "config/json_schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/json_literal.h"

#define WHERE_SIZE 400

struct compiler {
	struct arena *arena;
	struct complaints *complaints;
	size_t depth;
};

static const char *const type_names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
static const char *const format_names[] = {"", "date-time", "date", "email", "uri"};

const char *schema_type_name(enum schema_type type)
{
	for (size_t i = 0; i < COUNT_OF(type_names); i++)
		if (type == 1u << i) return type_names[i];
	return "unknown";
}

const char *schema_format_name(enum schema_format format)
{
	return format_names[format];
}

static void *array_of(struct compiler *c, size_t count, size_t size)
{
	void *array = arena_zalloc_array(c->arena, count + 1, size);
	if (!array) c->complaints->status = ERR_NOMEM;
	return array;
}

/* ── single keywords; each complains by itself ───────────────────────────── */

static void read_type_name(struct compiler *c, const struct node *node, const char *where, uint32_t *types)
{
	char suggestion[SUGGESTION_SIZE];
	for (size_t i = 0; i < COUNT_OF(type_names) && node->kind == NODE_SCALAR; i++) {
		if (!str_eq(node->text, str_from(type_names[i]))) continue;
		*types |= 1u << i;
		return;
	}
	complain(c->complaints, node->line,
		 "%s: type '%.*s' is not one of: null, boolean, integer, number, string, array, object%s", where,
		 STR_ARG(node->text), suggest(node->text, type_names, COUNT_OF(type_names), suggestion));
}

static void read_type(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	if (node->kind != NODE_LIST) {
		read_type_name(c, node, where, &out->types);
		return;
	}
	if (node->child_count == 0) complain(c->complaints, node->line, "%s: type names nothing", where);
	for (const struct node *at = node->children; at; at = at->next) read_type_name(c, at, where, &out->types);
}

static void read_number(struct compiler *c, const struct node *node, const char *where, double *out)
{
	struct schema_literal literal;
	if (json_literal_read(node, &literal) && literal.type & (SCHEMA_INTEGER | SCHEMA_NUMBER))
		*out = literal.number;
	else
		complain(c->complaints, node->line, "%s: %.*s: '%.*s' is not a number%s", where, STR_ARG(node->key),
			 STR_ARG(node->text), node->is_quoted ? " (leave the quotes out)" : "");
}

static void read_count(struct compiler *c, const struct node *node, const char *where, uint64_t *out)
{
	if (node->kind != NODE_SCALAR || node->is_quoted || str_to_u64(node->text, out) != OK)
		complain(c->complaints, node->line, "%s: %.*s: '%.*s' is not a whole number of 0 or more", where,
			 STR_ARG(node->key), STR_ARG(node->text));
}

static void read_pattern(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	const char *why = "must be a text";
	int rc = ERR_INVALID;
	if (node->kind == NODE_SCALAR) rc = pattern_compile(c->arena, node->text, &out->pattern, &why);
	out->pattern_text = node->text;
	if (rc == ERR_NOMEM)
		c->complaints->status = rc;
	else if (rc != OK)
		complain(c->complaints, node->line, "%s: pattern '%.*s' %s", where, STR_ARG(node->text), why);
}

static void read_format(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	char suggestion[SUGGESTION_SIZE];
	for (size_t i = 1; i < COUNT_OF(format_names) && node->kind == NODE_SCALAR; i++)
		if (str_eq(node->text, str_from(format_names[i]))) out->format = (enum schema_format)i;
	if (out->format) return;
	complain(c->complaints, node->line, "%s: format '%.*s' is not supported; date-time, date, email and uri are%s",
		 where, STR_ARG(node->text),
		 suggest(node->text, format_names + 1, COUNT_OF(format_names) - 1, suggestion));
}

static void read_choices(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	bool is_list = str_eq(node->key, STR("enum"));
	const struct node *first = is_list ? node->children : node;
	size_t count = 0, most = is_list ? node->child_count : 1;
	if (is_list && (node->kind != NODE_LIST || most == 0 || most > SCHEMA_PROPERTIES_MAX)) {
		complain(c->complaints, node->line, "%s: enum must be a list of 1 to %d values", where,
			 SCHEMA_PROPERTIES_MAX);
		return;
	}
	struct schema_literal *choices = array_of(c, most, sizeof *choices);
	if (!choices) return;
	for (const struct node *at = first; at && count < most; at = at->next)
		if (!json_literal_read(at, &choices[count++]))
			complain(c->complaints, at->line, "%s: %s takes texts, numbers, true, false and null", where,
				 is_list ? "enum" : "const");
	out->choices = choices;
	out->choice_count = count;
	out->rules |= RULE_CHOICES;
}

static void read_closed(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	bool is_plain = node->kind == NODE_SCALAR && !node->is_quoted;
	if (is_plain && str_eq(node->text, STR("false")))
		out->rules |= RULE_CLOSED;
	else if (!is_plain || !str_eq(node->text, STR("true")))
		complain(c->complaints, node->line,
			 "%s: additionalProperties must be true or false; a schema is not supported there", where);
}

/* ── nesting ─────────────────────────────────────────────────────────────── */

static const struct json_schema *compile(struct compiler *c, const struct node *node, const char *where);

static const struct json_schema *compile_below(struct compiler *c, const struct node *node, const char *where,
					       const char *step, struct str name)
{
	char path[WHERE_SIZE];
	(void)snprintf(path, sizeof path, "%s.%s%.*s", where, step, (int)(name.len < 100 ? name.len : 100), name.ptr);
	return compile(c, node, path);
}

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct schema_property *)a)->name, ((const struct schema_property *)b)->name);
}

static struct schema_property *find(struct schema_property *properties, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(properties[i].name, name)) return &properties[i];
	return NULL;
}

static size_t read_described(struct compiler *c, const struct node *node, const char *where,
			     struct schema_property *out)
{
	size_t count = 0;
	for (const struct node *at = node->children; at; at = at->next)
		out[count++] = (struct schema_property){.name = at->key,
							.schema = compile_below(c, at, where, "properties.", at->key)};
	return count;
}

static size_t read_required(struct compiler *c, const struct node *node, const char *where,
			    struct schema_property *properties, size_t count, struct json_schema *out)
{
	for (const struct node *at = node->children; at; at = at->next) {
		if (at->kind != NODE_SCALAR) {
			complain(c->complaints, at->line, "%s: required must be a list of names", where);
			continue;
		}
		struct schema_property *property = find(properties, count, at->text);
		if (!property) {
			property = &properties[count++];
			*property = (struct schema_property){.name = at->text};
		}
		if (!property->required) property->required = ++out->required_count;
	}
	return count;
}

static const struct node none = {.kind = NODE_LIST};

/* `properties` and `required` become one sorted list. */
static void read_members(struct compiler *c, const struct node *node, const char *where, struct json_schema *out)
{
	const struct node *described = node_child(node, STR("properties")),
			  *required = node_child(node, STR("required"));
	if (described && (described->kind != NODE_MAP || described->child_count > SCHEMA_PROPERTIES_MAX)) {
		complain(c->complaints, described->line, "%s: properties must be a map of at most %d names", where,
			 SCHEMA_PROPERTIES_MAX);
		return;
	}
	if (required && (required->kind != NODE_LIST || required->child_count > SCHEMA_REQUIRED_MAX)) {
		complain(c->complaints, required->line, "%s: required must be a list of at most %d names", where,
			 SCHEMA_REQUIRED_MAX);
		return;
	}
	if (!described) described = &none;
	if (!required) required = &none;
	struct schema_property *properties =
	    array_of(c, described->child_count + required->child_count, sizeof *properties);
	if (!properties) return;
	size_t count = read_described(c, described, where, properties);
	count = read_required(c, required, where, properties, count, out);
	qsort(properties, count, sizeof *properties, by_name);
	out->properties = properties;
	out->property_count = count;
}

/* ── the keywords ────────────────────────────────────────────────────────── */

enum keyword_kind { KEYWORD_IGNORED, KEYWORD_MEMBERS, KEYWORD_ITEMS, KEYWORD_NUMBER, KEYWORD_COUNT, KEYWORD_OWN };

struct keyword {
	const char *name;
	enum keyword_kind kind;
	uint32_t rule;
	size_t offset; /* of the double or uint64_t */
	void (*read)(struct compiler *c, const struct node *node, const char *where, struct json_schema *out);
};

#define AT(member) offsetof(struct json_schema, member)
static const struct keyword keywords[] = {
    {"type", KEYWORD_OWN, 0, 0, read_type},
    {"properties", KEYWORD_MEMBERS, 0, 0, NULL},
    {"required", KEYWORD_MEMBERS, 0, 0, NULL},
    {"additionalProperties", KEYWORD_OWN, 0, 0, read_closed},
    {"enum", KEYWORD_OWN, 0, 0, read_choices},
    {"const", KEYWORD_OWN, 0, 0, read_choices},
    {"minimum", KEYWORD_NUMBER, RULE_MINIMUM, AT(minimum), NULL},
    {"maximum", KEYWORD_NUMBER, RULE_MAXIMUM, AT(maximum), NULL},
    {"exclusiveMinimum", KEYWORD_NUMBER, RULE_EXCLUSIVE_MINIMUM, AT(exclusive_minimum), NULL},
    {"exclusiveMaximum", KEYWORD_NUMBER, RULE_EXCLUSIVE_MAXIMUM, AT(exclusive_maximum), NULL},
    {"minLength", KEYWORD_COUNT, RULE_MIN_LENGTH, AT(min_length), NULL},
    {"maxLength", KEYWORD_COUNT, RULE_MAX_LENGTH, AT(max_length), NULL},
    {"minItems", KEYWORD_COUNT, RULE_MIN_ITEMS, AT(min_items), NULL},
    {"maxItems", KEYWORD_COUNT, RULE_MAX_ITEMS, AT(max_items), NULL},
    {"pattern", KEYWORD_OWN, 0, 0, read_pattern},
    {"format", KEYWORD_OWN, 0, 0, read_format},
    {"items", KEYWORD_ITEMS, 0, 0, NULL},
    {"title", KEYWORD_IGNORED, 0, 0, NULL},
    {"description", KEYWORD_IGNORED, 0, 0, NULL},
};

static void refuse_keyword(struct compiler *c, const struct node *node, const char *where)
{
	const char *names[COUNT_OF(keywords)];
	char suggestion[SUGGESTION_SIZE];
	for (size_t i = 0; i < COUNT_OF(keywords); i++) names[i] = keywords[i].name;
	complain(c->complaints, node->line, "%s: keyword '%.*s' is not supported%s", where, STR_ARG(node->key),
		 suggest(node->key, names, COUNT_OF(names), suggestion));
}

static void read_keyword(struct compiler *c, const struct keyword *keyword, const struct node *node, const char *where,
			 struct json_schema *out)
{
	void *at = (char *)out + keyword->offset;
	out->rules |= keyword->rule;
	switch (keyword->kind) {
	case KEYWORD_IGNORED:
	case KEYWORD_MEMBERS: break;
	case KEYWORD_ITEMS: out->items = compile_below(c, node, where, "items", STR_NONE); break;
	case KEYWORD_NUMBER: read_number(c, node, where, at); break;
	case KEYWORD_COUNT: read_count(c, node, where, at); break;
	case KEYWORD_OWN: keyword->read(c, node, where, out);
	}
}

static const struct keyword *keyword_of(struct str name)
{
	for (size_t i = 0; i < COUNT_OF(keywords); i++)
		if (str_eq(name, str_from(keywords[i].name))) return &keywords[i];
	return NULL;
}

/* What no value can ever satisfy is a mistake of the schema. */
static void check_ranges(struct compiler *c, const struct node *node, const char *where, const struct json_schema *s)
{
	uint32_t both = RULE_MINIMUM | RULE_MAXIMUM;
	if ((s->rules & both) == both && s->minimum > s->maximum)
		complain(c->complaints, node->line, "%s: minimum is above maximum", where);
	both = RULE_MIN_LENGTH | RULE_MAX_LENGTH;
	if ((s->rules & both) == both && s->min_length > s->max_length)
		complain(c->complaints, node->line, "%s: minLength is above maxLength", where);
	both = RULE_MIN_ITEMS | RULE_MAX_ITEMS;
	if ((s->rules & both) == both && s->min_items > s->max_items)
		complain(c->complaints, node->line, "%s: minItems is above maxItems", where);
	if (node_child(node, STR("enum")) && node_child(node, STR("const")))
		complain(c->complaints, node->line, "%s: enum and const exclude each other", where);
}

static const struct json_schema *compile(struct compiler *c, const struct node *node, const char *where)
{
	if (node->kind != NODE_MAP) {
		complain(c->complaints, node->line, "%s must be a map of keywords", where);
		return NULL;
	}
	if (c->depth == SCHEMA_DEPTH_MAX) {
		complain(c->complaints, node->line, "%s is nested more than %d deep", where, SCHEMA_DEPTH_MAX);
		return NULL;
	}
	struct json_schema *out = arena_new(c->arena, struct json_schema);
	if (!out) {
		c->complaints->status = ERR_NOMEM;
		return NULL;
	}
	c->depth++;
	for (const struct node *at = node->children; at; at = at->next) {
		const struct keyword *keyword = keyword_of(at->key);
		if (keyword)
			read_keyword(c, keyword, at, where, out);
		else
			refuse_keyword(c, at, where);
	}
	read_members(c, node, where, out);
	check_ranges(c, node, where, out);
	c->depth--;
	return out;
}

const struct json_schema *json_schema_compile(struct arena *arena, struct complaints *complaints,
					      const struct node *node, const char *where)
{
	struct compiler c = {.arena = arena, .complaints = complaints};
	size_t before = complaints->count;
	const struct json_schema *schema = compile(&c, node, where);
	return complaints->count == before && complaints->status == OK ? schema : NULL;
}

const struct schema_property *json_schema_property(const struct json_schema *schema, struct str name)
{
	size_t low = 0, high = schema->property_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = str_cmp(name, schema->properties[middle].name);
		if (order == 0) return &schema->properties[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
