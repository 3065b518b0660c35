#include "config/mapping.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "config/json_literal.h"
#include "config/mapping_path.h"

#define WHERE_MAX 200

/* Names of the items of the `each`s around; one is visible to everything below. */
struct scope {
	const struct scope *outer;
	struct str item;
};
struct compiling {
	struct arena *arena;
	struct complaints *complaints;
	unsigned *needs;
};
/* Where in the template, for texts: "destinations[0].mapping.contact.email". */
struct at {
	char text[WHERE_MAX];
};

static struct mapping *compile(struct compiling *c, const struct scope *scope, const struct node *node,
			       const char *where, unsigned depth);

static struct mapping *wrong(struct compiling *c, const struct node *node, const char *where, const char *what)
{
	complain(c->complaints, node->line, "%s %s", where, what);
	return NULL;
}

static struct mapping *make(struct compiling *c, enum mapping_kind kind, const struct node *node)
{
	struct mapping *mapping = arena_new(c->arena, struct mapping);
	if (!mapping) {
		c->complaints->status = ERR_NOMEM;
		return NULL;
	}
	mapping->kind = kind;
	mapping->line = node->line;
	return mapping;
}

static const char *below(struct at *at, const char *where, struct str key)
{
	(void)snprintf(at->text, sizeof at->text, "%s.%.*s", where, STR_ARG(key));
	return at->text;
}

/* ── paths and constants ─────────────────────────────────────────────────── */

static bool read_path(struct compiling *c, const struct scope *scope, const struct node *node, struct str text,
		      const char *where, struct mapping_path *out)
{

	struct str copy;
	if (arena_str(c->arena, text, &copy)) {
		c->complaints->status = ERR_NOMEM;
		return false;
	}
	const char *why = mapping_path_read(copy, out);
	if (why) {
		complain(c->complaints, node->line, "%s: the path '%.*s' %s", where, STR_ARG(text), why);
		return false;
	}
	if (str_eq(out->steps[0].name, STR("profile"))) *c->needs |= MAPPING_NEEDS_PROFILE;
	for (; scope; scope = scope->outer)
		if (str_eq(scope->item, out->steps[0].name)) out->item = scope->item;
	return true;
}

static struct mapping *constant(struct compiling *c, const struct node *node, struct str json)
{
	struct mapping *mapping = make(c, MAPPING_CONSTANT, node);
	if (mapping && arena_str(c->arena, json, &mapping->json)) {
		c->complaints->status = ERR_NOMEM;
		return NULL;
	}
	return mapping;
}

static struct mapping *quoted(struct compiling *c, const struct node *node, struct str text)
{
	struct buf buf;
	struct mapping *mapping = NULL;
	buf_init(&buf, (size_t)1 << 20);
	if (json_write_str(&buf, text) == OK)
		mapping = constant(c, node, buf_str(&buf));
	else
		c->complaints->status = ERR_NOMEM;
	buf_fini(&buf);
	return mapping;
}

static bool is_number(const struct schema_literal *value)
{
	return value->type == SCHEMA_INTEGER || value->type == SCHEMA_NUMBER;
}

/* Plain null, true, false and numbers are what they look like, everything else is text. */
static struct mapping *literal(struct compiling *c, const struct node *node, const char *where)
{
	struct schema_literal value;
	if (node->kind != NODE_SCALAR) return wrong(c, node, where, "must be a plain value");
	if (!json_literal_read(node, &value)) return wrong(c, node, where, "is a number beyond what JSON readers take");
	if (value.type == SCHEMA_NULL) return constant(c, node, STR("null"));
	if (value.type == SCHEMA_BOOLEAN || is_number(&value)) return constant(c, node, value.text);
	return quoted(c, node, value.text);
}

/* ── text with paths in it ───────────────────────────────────────────────── */

static struct mapping *piece(struct compiling *c, const struct node *node, struct str text)
{
	struct mapping *mapping = make(c, MAPPING_CONSTANT, node);
	if (mapping) mapping->json = text;
	return mapping;
}

static struct mapping *value_of(struct compiling *c, const struct scope *scope, const struct node *node,
				struct str path, const char *where)
{
	struct mapping *mapping = make(c, MAPPING_VALUE, node);
	return mapping && read_path(c, scope, node, path, where, &mapping->path) ? mapping : NULL;
}

/* "${a} and ${b}", "costs $$5". */
static struct mapping *text(struct compiling *c, const struct scope *scope, const struct node *node, const char *where)
{
	struct mapping *whole = make(c, MAPPING_TEXT, node), **link = whole ? &whole->children : NULL;
	const char *at = node->text.ptr, *end = at + node->text.len;
	while (whole && at < end) {
		const char *dollar = memchr(at, '$', (size_t)(end - at));
		struct mapping *next;
		if (!dollar || dollar > at) {
			const char *stop = dollar ? dollar : end;
			next = piece(c, node, str_of(at, (size_t)(stop - at)));
			at = stop;
		} else if (end - at > 1 && at[1] == '$') {
			next = piece(c, node, str_of(at, 1));
			at += 2;
		} else {
			const char *close = end - at > 1 && at[1] == '{' ? memchr(at, '}', (size_t)(end - at)) : NULL;
			if (!close) return wrong(c, node, where, "has a '$' that begins neither ${path} nor $$");
			next = value_of(c, scope, node, str_of(at + 2, (size_t)(close - at - 2)), where);
			at = close + 1;
		}
		if (!next) return NULL;
		*link = next;
		link = &next->next;
	}
	return whole;
}

static struct mapping *scalar(struct compiling *c, const struct scope *scope, const struct node *node,
			      const char *where)
{
	const char *dollar = memchr(node->text.ptr, '$', node->text.len);
	if (!dollar) return literal(c, node, where);
	bool is_path = dollar == node->text.ptr && node->text.len > 1 && dollar[1] != '{' && dollar[1] != '$';
	if (is_path) return value_of(c, scope, node, str_of(dollar + 1, node->text.len - 1), where);
	return text(c, scope, node, where);
}

/* ── conditions ──────────────────────────────────────────────────────────── */

static bool read_texts(struct compiling *c, const struct node *node, const char *where, struct str **out, size_t *count)
{
	const struct node *item = node->kind == NODE_LIST ? node->children : node;
	size_t room = node->kind == NODE_LIST ? node->child_count : 1;
	*out = arena_array(c->arena, struct str, room + 1);
	if (!*out) c->complaints->status = ERR_NOMEM;
	for (size_t i = 0; *out && i < room; i++, item = item->next) {
		if (item->kind != NODE_SCALAR) {
			complain(c->complaints, item->line, "%s: must be a plain value or a list of them", where);
			return false;
		}
		(*out)[(*count)++] = item->text;
	}
	return *out != NULL;
}

static bool read_number(struct compiling *c, const struct node *node, const char *where, double *out)
{
	struct schema_literal value;
	if (node->kind == NODE_SCALAR && json_literal_read(node, &value) && is_number(&value)) {
		*out = value.number;
		return true;
	}
	complain(c->complaints, node->line, "%s: '%.*s' must be a number", where, STR_ARG(node->key));
	return false;
}

static bool read_clause(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			struct mapping_condition *out)
{
	static const char *const names[] = {"field", "is", "in", "not", "exists", "min", "max"};
	char hint[SUGGESTION_SIZE];
	if (str_eq(node->key, STR("field"))) {
		if (node->kind == NODE_SCALAR) return read_path(c, scope, node, node->text, where, &out->path);
	} else if (str_eq(node->key, STR("is")) || str_eq(node->key, STR("in"))) {
		return read_texts(c, node, where, &out->in, &out->in_count);
	} else if (str_eq(node->key, STR("not"))) {
		return read_texts(c, node, where, &out->not_in, &out->not_in_count);
	} else if (str_eq(node->key, STR("min"))) {
		return out->has_min = read_number(c, node, where, &out->min);
	} else if (str_eq(node->key, STR("max"))) {
		return out->has_max = read_number(c, node, where, &out->max);
	} else if (!str_eq(node->key, STR("exists"))) {
		complain(c->complaints, node->line, "%s: unknown key '%.*s'%s", where, STR_ARG(node->key),
			 suggest(node->key, names, COUNT_OF(names), hint));
		return false;
	}
	out->has_exists = true;
	out->exists = str_eq(node->text, STR("true"));
	if (node->kind == NODE_SCALAR && (out->exists || str_eq(node->text, STR("false")))) return true;
	complain(c->complaints, node->line, "%s: '%.*s' must be %s", where, STR_ARG(node->key),
		 str_eq(node->key, STR("field")) ? "a path" : "true or false");
	return false;
}

static bool read_condition(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			   struct mapping_condition *out)
{
	bool is_good = node->kind == NODE_MAP;
	for (const struct node *key = node->children; is_good && key; key = key->next)
		is_good = read_clause(c, scope, key, where, out);
	if (node->kind == NODE_MAP && !is_good) return false;
	if (is_good && out->path.count &&
	    (out->in_count || out->not_in_count || out->has_exists || out->has_min || out->has_max))
		return true;
	complain(c->complaints, node->line,
		 "%s: a condition is {field: path} with one of is, in, not, exists, min and max", where);
	return false;
}

/* One condition, or a list of which all must hold. */
static bool read_conditions(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			    struct mapping *out)
{
	const struct node *item = node->kind == NODE_LIST ? node->children : node;
	out->condition_count = node->kind == NODE_LIST ? node->child_count : 1;
	out->conditions = arena_array(c->arena, struct mapping_condition, out->condition_count + 1);
	if (!out->conditions) c->complaints->status = ERR_NOMEM;
	bool is_good = out->conditions != NULL;
	for (size_t i = 0; is_good && i < out->condition_count; i++, item = item->next)
		is_good = read_condition(c, scope, item, where, &out->conditions[i]);
	return is_good;
}

/* ── forms with a key of their own ───────────────────────────────────────── */

static bool only_has(struct compiling *c, const struct node *node, const char *where, const char *const *keys,
		     size_t count)
{
	char hint[SUGGESTION_SIZE];
	for (const struct node *child = node->children; child; child = child->next) {
		bool is_known = false;
		for (size_t i = 0; i < count && !is_known; i++) is_known = str_eq(child->key, str_from(keys[i]));
		if (is_known) continue;
		complain(c->complaints, child->line,
			 "%s: unknown key '%.*s' beside '%s'%s (an object with such members: `literal:`)", where,
			 STR_ARG(child->key), keys[0], suggest(child->key, keys, count, hint));
		return false;
	}
	return true;
}

static bool read_word(struct compiling *c, const struct node *node, const char *where, const char *const *words,
		      size_t count, size_t *out)
{
	char hint[SUGGESTION_SIZE];
	for (*out = 0; node->kind == NODE_SCALAR && *out < count; (*out)++)
		if (str_eq(node->text, str_from(words[*out]))) return true;
	complain(c->complaints, node->line, "%s: unknown %.*s '%.*s'%s", where, STR_ARG(node->key),
		 STR_ARG(node->kind == NODE_SCALAR ? node->text : STR("…")), suggest(node->text, words, count, hint));
	return false;
}

static bool read_ops(struct compiling *c, const struct node *node, const char *where, struct mapping *out)
{
	static const char *const words[] = {"trim", "lower", "upper", "sha256", "digits"};
	const struct node *item = node->kind == NODE_LIST ? node->children : node;
	size_t count = node->kind == NODE_LIST ? node->child_count : 1, word;
	for (; count && item; item = item->next, count--) {
		if (out->op_count == MAPPING_OPS_MAX)
			return wrong(c, node, where, "applies more than 8 operations") != NULL;
		if (!read_word(c, item, where, words, COUNT_OF(words), &word)) return false;
		out->ops[out->op_count++] = (enum mapping_op)word;
	}
	return true;
}

static bool read_lookup(struct compiling *c, const struct node *node, const char *where, struct mapping *out)
{
	struct mapping **link = &out->lookup;
	if (node->kind != NODE_MAP) return wrong(c, node, where, "has a `map` that is no map") != NULL;
	for (const struct node *pair = node->children; pair; pair = pair->next) {
		*link = literal(c, pair, where);
		if (!*link) return false;
		(*link)->key = pair->key;
		link = &(*link)->next;
	}
	return true;
}

static struct mapping *from(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			    unsigned depth)
{
	static const char *const keys[] = {"from", "apply", "map", "cast", "format", "default", "required"};
	static const char *const casts[] = {"", "string", "integer", "number", "boolean", "json"};
	static const char *const formats[] = {"", "iso8601", "date", "unix_s", "unix_ms"};
	const struct node *path = node_child(node, STR("from")), *child;
	struct mapping *out = make(c, MAPPING_VALUE, node);
	size_t word = 0;
	if (!out || !only_has(c, node, where, keys, COUNT_OF(keys))) return NULL;
	if (path->kind != NODE_SCALAR) return wrong(c, path, where, "has a `from` that is no path");
	struct str bare =
	    path->text.len && path->text.ptr[0] == '$' ? str_of(path->text.ptr + 1, path->text.len - 1) : path->text;
	if (!read_path(c, scope, path, bare, where, &out->path)) return NULL;
	if ((child = node_child(node, STR("apply"))) && !read_ops(c, child, where, out)) return NULL;
	if ((child = node_child(node, STR("map"))) && !read_lookup(c, child, where, out)) return NULL;
	if ((child = node_child(node, STR("cast"))) && !read_word(c, child, where, casts, COUNT_OF(casts), &word))
		return NULL;
	out->cast = (enum mapping_cast)word;
	word = 0;
	if ((child = node_child(node, STR("format"))) && !read_word(c, child, where, formats, COUNT_OF(formats), &word))
		return NULL;
	out->format = (enum mapping_format)word;
	if ((child = node_child(node, STR("required")))) {
		out->is_required = child->kind == NODE_SCALAR && str_eq(child->text, STR("true"));
		if (!out->is_required && !str_eq(child->text, STR("false")))
			return wrong(c, child, where, "has a `required` that is neither true nor false");
	}
	child = node_child(node, STR("default"));
	if (child && out->is_required) return wrong(c, child, where, "has a default, so nothing is required");
	if (child && !(out->otherwise = compile(c, scope, child, where, depth + 1))) return NULL;
	return out;
}

static struct mapping *if_else(struct compiling *c, const struct scope *scope, const struct node *node,
			       const char *where, unsigned depth)
{
	static const char *const keys[] = {"if", "then", "else"};
	const struct node *then = node_child(node, STR("then")), *otherwise = node_child(node, STR("else"));
	struct mapping *out = make(c, MAPPING_IF, node);
	if (!out || !only_has(c, node, where, keys, COUNT_OF(keys))) return NULL;
	if (!then) return wrong(c, node, where, "has an `if` without a `then`");
	if (!read_conditions(c, scope, node_child(node, STR("if")), where, out)) return NULL;
	out->children = compile(c, scope, then, where, depth + 1);
	if (!out->children) return NULL;
	if (otherwise && !(out->otherwise = compile(c, scope, otherwise, where, depth + 1))) return NULL;
	return out;
}

static struct mapping *each(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			    unsigned depth)
{
	static const char *const keys[] = {"each", "as", "where", "do"};
	const struct node *list = node_child(node, STR("each")), *as = node_child(node, STR("as")),
			  *body = node_child(node, STR("do")), *where_node = node_child(node, STR("where"));
	struct mapping *out = make(c, MAPPING_EACH, node);
	struct scope inner = {scope, STR("item")};
	if (!out || !only_has(c, node, where, keys, COUNT_OF(keys))) return NULL;
	if (list->kind != NODE_SCALAR || !body) return wrong(c, node, where, "wants `each: path` and `do:`");
	struct str bare =
	    list->text.len && list->text.ptr[0] == '$' ? str_of(list->text.ptr + 1, list->text.len - 1) : list->text;
	if (!read_path(c, scope, list, bare, where, &out->path)) return NULL;
	if (as && (as->kind != NODE_SCALAR || as->text.len == 0))
		return wrong(c, as, where, "has an `as` that is no name");
	if (as) inner.item = as->text;
	out->item = inner.item;
	if (where_node && !read_conditions(c, &inner, where_node, where, out)) return NULL;
	out->children = compile(c, &inner, body, where, depth + 1);
	return out->children ? out : NULL;
}

/* ── objects, lists, alternatives ────────────────────────────────────────── */

static struct mapping *several(struct compiling *c, const struct scope *scope, enum mapping_kind kind,
			       const struct node *node, const char *where, unsigned depth)
{
	struct mapping *out = make(c, kind, node), **link = out ? &out->children : NULL;
	bool is_good = out != NULL;
	for (const struct node *child = node->children; out && child; child = child->next) {
		struct at at;
		const char *place = kind == MAPPING_OBJECT ? below(&at, where, child->key) : where;
		*link = compile(c, scope, child, place, depth + 1);
		if (!*link) {
			is_good = false; /* the rest is compiled too: all complaints at once */
			continue;
		}
		(*link)->key = child->key;
		link = &(*link)->next;
	}
	return is_good ? out : NULL;
}

static struct mapping *map(struct compiling *c, const struct scope *scope, const struct node *node, const char *where,
			   unsigned depth)
{
	const struct node *child;
	if (node_child(node, STR("from"))) return from(c, scope, node, where, depth);
	if (node_child(node, STR("if"))) return if_else(c, scope, node, where, depth);
	if (node_child(node, STR("each"))) return each(c, scope, node, where, depth);
	if (node->child_count == 1 && (child = node_child(node, STR("first")))) {
		if (child->kind != NODE_LIST) return wrong(c, child, where, "has a `first` that is no list");
		return several(c, scope, MAPPING_FIRST, child, where, depth);
	}
	if (node->child_count == 1 && (child = node_child(node, STR("literal")))) {
		if (child->kind != NODE_MAP) return wrong(c, child, where, "has a `literal` that is no map");
		return several(c, scope, MAPPING_OBJECT, child, where, depth);
	}
	return several(c, scope, MAPPING_OBJECT, node, where, depth);
}

static struct mapping *compile(struct compiling *c, const struct scope *scope, const struct node *node,
			       const char *where, unsigned depth)
{
	if (depth > MAPPING_DEPTH_MAX) return wrong(c, node, where, "is nested deeper than 16 levels");
	switch (node->kind) {
	case NODE_SCALAR: return scalar(c, scope, node, where);
	case NODE_LIST: return several(c, scope, MAPPING_LIST, node, where, depth);
	case NODE_MAP: return map(c, scope, node, where, depth);
	}
	return NULL;
}

const struct mapping *mapping_compile(struct arena *arena, struct complaints *complaints, const struct node *node,
				      const char *where, unsigned *needs)
{
	struct compiling c = {arena, complaints, needs};
	*needs = 0;
	return compile(&c, NULL, node, where, 0);
}

const struct mapping *mapping_compile_conditions(struct arena *arena, struct complaints *complaints,
						 const struct node *node, const char *where, unsigned *needs)
{
	struct compiling c = {arena, complaints, needs};
	*needs = 0;
	struct mapping *out = make(&c, MAPPING_IF, node);
	return out && read_conditions(&c, NULL, node, where, out) ? out : NULL;
}
