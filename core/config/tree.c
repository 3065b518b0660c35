#include "config/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/buf.h"

#define FILE_MAX  ((size_t)1 << 20)
#define DEPTH_MAX 32
#define KEYS_MAX  4096 /* of one map */

struct builder {
	yaml_parser_t parser;
	struct arena *arena;
	struct str text;
	const char *name;
	struct str *error;
};

static int fail(struct builder *b, int line, const char *what)
{
	int rc = arena_printf(b->arena, b->error, "%s:%d: %s", b->name, line, what);
	return rc == OK ? ERR_INVALID : rc;
}

static int fail_key(struct builder *b, int line, struct str key, int first_line)
{
	int rc = arena_printf(b->arena, b->error, "%s:%d: '%.*s' is here twice, first in line %d", b->name, line,
			      STR_ARG(key), first_line);
	return rc == OK ? ERR_INVALID : rc;
}

static int line_of(yaml_mark_t mark)
{
	return (int)mark.line + 1;
}

/* libyaml counts bytes, not lines, while it decodes characters. */
static int line_at(struct str text, size_t offset)
{
	int line = 1;
	for (size_t i = 0; i < offset && i < text.len; i++) line += text.ptr[i] == '\n';
	return line;
}

static int fail_in_parser(struct builder *b)
{
	yaml_parser_t *parser = &b->parser;
	struct str what;
	const char *context = parser->context ? parser->context : "";
	if (parser->error == YAML_MEMORY_ERROR) return ERR_NOMEM;
	if (parser->error == YAML_READER_ERROR)
		return fail(b, line_at(b->text, parser->problem_offset), parser->problem);
	int rc = arena_printf(b->arena, &what, "%s%s%s", parser->problem, *context ? " " : "", context);
	return rc == OK ? fail(b, line_of(parser->problem_mark), what.ptr) : rc;
}

static int next_event(struct builder *b, yaml_event_t *event)
{
	return yaml_parser_parse(&b->parser, event) ? OK : fail_in_parser(b);
}

static int refuse_anchor_and_tag(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag, int line)
{
	if (anchor) return fail(b, line, "anchors are not supported");
	if (tag) return fail(b, line, "tags are not supported");
	return OK;
}

static int take_scalar(struct builder *b, const yaml_event_t *event, struct node *node)
{
	const int line = line_of(event->start_mark);
	int rc = refuse_anchor_and_tag(b, event->data.scalar.anchor, event->data.scalar.tag, line);
	if (rc != OK) return rc;
	node->kind = NODE_SCALAR;
	node->line = line;
	node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	struct str text = str_of(event->data.scalar.value, event->data.scalar.length);
	if (memchr(text.ptr, '\0', text.len)) return fail(b, line, "NUL characters are not supported");
	return arena_str(b->arena, text, &node->text);
}

static int take_node(struct builder *b, const yaml_event_t *event, int depth, struct node **out);

static void append_child(struct node *parent, struct node **tail, struct node *child)
{
	if (*tail)
		(*tail)->next = child;
	else
		parent->children = child;
	*tail = child;
	parent->child_count++;
}

static int take_list(struct builder *b, struct node *list, int depth)
{
	struct node *tail = NULL;
	for (;;) {
		yaml_event_t event;
		struct node *child = NULL;
		int rc = next_event(b, &event);
		if (rc != OK) return rc;
		bool is_end = event.type == YAML_SEQUENCE_END_EVENT;
		if (!is_end) rc = take_node(b, &event, depth + 1, &child);
		yaml_event_delete(&event);
		if (is_end || rc != OK) return rc;
		append_child(list, &tail, child);
	}
}

static int take_key(struct builder *b, const struct node *map, const yaml_event_t *event, struct node *key)
{
	if (event->type == YAML_ALIAS_EVENT) return fail(b, line_of(event->start_mark), "aliases are not supported");
	if (event->type != YAML_SCALAR_EVENT) return fail(b, line_of(event->start_mark), "a key must be plain text");
	int rc = take_scalar(b, event, key);
	if (rc != OK) return rc;
	if (map->child_count >= KEYS_MAX) return fail(b, key->line, "too many keys");
	const struct node *first = node_child(map, key->text);
	return first ? fail_key(b, key->line, key->text, first->line) : OK;
}

static int take_member(struct builder *b, const struct node *key, int depth, struct node **out)
{
	yaml_event_t event;
	int rc = next_event(b, &event);
	if (rc != OK) return rc;
	rc = take_node(b, &event, depth + 1, out);
	yaml_event_delete(&event);
	if (rc != OK) return rc;
	(*out)->key = key->text;
	(*out)->line = key->line; /* a value may begin lines below; people look for the key */
	return OK;
}

static int take_map(struct builder *b, struct node *map, int depth)
{
	struct node *tail = NULL;
	for (;;) {
		yaml_event_t event;
		struct node key = {0}, *child = NULL;
		int rc = next_event(b, &event);
		if (rc != OK) return rc;
		bool is_end = event.type == YAML_MAPPING_END_EVENT;
		if (!is_end) rc = take_key(b, map, &event, &key);
		yaml_event_delete(&event);
		if (is_end || rc != OK) return rc;
		rc = take_member(b, &key, depth, &child);
		if (rc != OK) return rc;
		append_child(map, &tail, child);
	}
}

static int take_node(struct builder *b, const yaml_event_t *event, int depth, struct node **out)
{
	const int line = line_of(event->start_mark);
	int rc = OK;
	if (depth > DEPTH_MAX) return fail(b, line, "nested too deeply");
	struct node *node = arena_new(b->arena, struct node);
	if (!node) return ERR_NOMEM;
	*out = node;
	node->key = node->text = STR_NONE;
	node->line = line;
	switch (event->type) {
	case YAML_ALIAS_EVENT: return fail(b, line, "aliases are not supported");
	case YAML_SCALAR_EVENT: return take_scalar(b, event, node);
	case YAML_SEQUENCE_START_EVENT:
		node->kind = NODE_LIST;
		rc = refuse_anchor_and_tag(b, event->data.sequence_start.anchor, event->data.sequence_start.tag, line);
		return rc == OK ? take_list(b, node, depth) : rc;
	case YAML_MAPPING_START_EVENT:
		node->kind = NODE_MAP;
		rc = refuse_anchor_and_tag(b, event->data.mapping_start.anchor, event->data.mapping_start.tag, line);
		return rc == OK ? take_map(b, node, depth) : rc;
	default: return fail(b, line, "unexpected structure");
	}
}

/* The document's content. A file of nothing but comments is an empty map. */
static int take_root(struct builder *b, struct node **root)
{
	yaml_event_t event;
	int rc = next_event(b, &event);
	if (rc != OK) return rc;
	bool is_empty = event.type == YAML_STREAM_END_EVENT;
	yaml_event_delete(&event);
	if (!is_empty) {
		rc = next_event(b, &event);
		if (rc != OK) return rc;
		rc = take_node(b, &event, 1, root);
		yaml_event_delete(&event);
		return rc;
	}
	*root = arena_new(b->arena, struct node);
	if (!*root) return ERR_NOMEM;
	**root = (struct node){.kind = NODE_MAP, .line = 1, .key = STR_NONE, .text = STR_NONE};
	return OK;
}

/* Nothing may follow the one document. */
static int take_end(struct builder *b)
{
	for (;;) {
		yaml_event_t event;
		int rc = next_event(b, &event);
		if (rc != OK) return rc;
		yaml_event_type_t type = event.type;
		int line = line_of(event.start_mark);
		yaml_event_delete(&event);
		if (type == YAML_DOCUMENT_START_EVENT) return fail(b, line, "only one document is allowed");
		if (type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT) return OK;
	}
}

static int take_stream(struct builder *b, struct node **root)
{
	yaml_event_t event;
	int rc = next_event(b, &event);
	if (rc != OK) return rc;
	yaml_event_delete(&event); /* the stream's start */
	rc = take_root(b, root);
	return rc == OK ? take_end(b) : rc;
}

int tree_parse(struct arena *arena, struct str text, const char *name, struct node **root, struct str *error)
{
	struct builder b = {.arena = arena, .text = text, .name = name, .error = error};
	*error = STR_NONE;
	if (text.len > FILE_MAX) return fail(&b, 1, "larger than 1 MB");
	if (!yaml_parser_initialize(&b.parser)) return ERR_NOMEM;
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text.ptr, text.len);
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	int rc = take_stream(&b, root);
	yaml_parser_delete(&b.parser);
	return rc;
}

static int read_all(FILE *file, struct buf *out)
{
	char *tail;
	for (;;) {
		int rc = buf_reserve(out, 4096, &tail);
		if (rc != OK) return rc;
		size_t n = fread(tail, 1, 4096, file);
		if (n == 0) return ferror(file) ? ERR_IO : OK;
		buf_commit(out, n);
	}
}

int tree_parse_file(struct arena *arena, const char *path, struct node **root, struct str *error)
{
	struct buf buf;
	FILE *file = fopen(path, "re");
	*error = STR_NONE;
	if (!file) {
		int rc = arena_printf(arena, error, "%s:1: cannot be opened: %s", path, strerror(errno));
		return rc == OK ? ERR_IO : rc;
	}
	buf_init(&buf, FILE_MAX + 8192);
	int rc = read_all(file, &buf), cause = errno;
	(void)fclose(file);
	if (rc == OK || rc == ERR_TOO_LARGE) {
		rc = tree_parse(arena, buf_str(&buf), path, root, error);
	} else if (rc == ERR_IO) {
		int printed = arena_printf(arena, error, "%s:1: cannot be read: %s", path, strerror(cause));
		if (printed != OK) rc = printed;
	}
	buf_fini(&buf);
	return rc;
}

const struct node *node_child(const struct node *map, struct str key)
{
	if (map->kind != NODE_MAP) return NULL;
	for (const struct node *child = map->children; child; child = child->next)
		if (str_eq(child->key, key)) return child;
	return NULL;
}
