#include "config/read_value.h"

#include "config/tree_set.h"
#include "config/units.h"

bool node_is_absent(const struct node *node)
{
	if (node->kind != NODE_SCALAR || node->is_quoted) return false;
	return node->text.len == 0 || str_eq(node->text, STR("~")) || str_eq(node->text, STR("null"));
}

const struct node *default_node(struct reading *reading, const struct key *key)
{
	struct node *node;
	struct str error;
	if (!key->fallback) return NULL;
	int rc = node_from_text(reading->arena, str_from(key->fallback), key->path, &node, &error);
	CHECK(rc == OK || rc == ERR_NOMEM);
	if (rc == OK) return node;
	reading->complaints->status = rc;
	return NULL;
}

static void *alloc_array(struct reading *r, size_t count, size_t size)
{
	void *array = arena_zalloc_array(r->arena, count + 1, size);
	if (!array) r->complaints->status = ERR_NOMEM;
	return array;
}

static void store_number(const struct key *key, char *out, uint64_t value)
{
	const uint16_t v16 = (uint16_t)value;
	const uint32_t v32 = (uint32_t)value;
	switch (key->size) {
	case sizeof v16: memcpy(out + key->offset, &v16, sizeof v16); break;
	case sizeof v32: memcpy(out + key->offset, &v32, sizeof v32); break;
	default: CHECK(key->size == sizeof value); memcpy(out + key->offset, &value, sizeof value);
	}
}

/* ── numbers ───────────────────────────────────────────────────────────────── */

static bool parse_number(enum key_type type, struct str text, uint64_t *out)
{
	switch (type) {
	case KEY_INT: return str_to_u64(text, out) == OK;
	case KEY_BYTES: return unit_read_bytes(text, out);
	default: return unit_read_duration(text, out);
	}
}

static const char *number_help(enum key_type type)
{
	switch (type) {
	case KEY_INT: return "a whole number";
	case KEY_BYTES: return "a size such as 512, 64KB, 8MiB or 1GB";
	default: return "a duration such as 250ms, 10s, 5m, 2h or 7d";
	}
}

static uint64_t limit_of(const struct key *key, const char *text, uint64_t otherwise)
{
	uint64_t limit = otherwise;
	if (text) CHECK(parse_number(key->type, str_from(text), &limit));
	return limit;
}

static void read_number(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	uint64_t value;
	/* With a unit it is a text, which JSON has to quote. */
	bool is_text = node->is_quoted && key->type == KEY_INT;
	if (is_text || !parse_number(key->type, node->text, &value)) {
		complain(r->complaints, node->line, "%s: '%.*s' is not %s%s", path, STR_ARG(node->text),
			 number_help(key->type), is_text ? " (leave the quotes out)" : "");
		return;
	}
	if (value < limit_of(key, key->min, 0) || value > limit_of(key, key->max, UINT64_MAX)) {
		complain(r->complaints, node->line, "%s: %.*s is out of range, it must be %s to %s", path,
			 STR_ARG(node->text), key->min, key->max);
		return;
	}
	store_number(key, out, key->type == KEY_MS ? value / 1000 : value);
}

/* ── texts ─────────────────────────────────────────────────────────────────── */

static bool check_text(struct reading *r, const struct key *key, const struct node *node, const char *path)
{
	const char *must = key->check ? key->check(node->text) : NULL;
	if (must) complain(r->complaints, node->line, "%s: '%.*s' %s", path, STR_ARG(node->text), must);
	return !must;
}

static void read_texts(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	const struct node *first = node->kind == NODE_LIST ? node->children : node;
	size_t count = 0, most = node->kind == NODE_LIST ? node->child_count : 1;
	struct str *texts = alloc_array(r, most, sizeof *texts);
	if (!texts) return;
	for (const struct node *at = first; at && count < most; at = at->next) {
		if (at->kind != NODE_SCALAR)
			complain(r->complaints, at->line, "%s must be a list of texts", path);
		else if (check_text(r, key, at, path))
			texts[count++] = at->text;
	}
	memcpy(out + key->offset, &texts, sizeof texts);
	memcpy(out + key->count_offset, &count, sizeof count);
}

static void read_text(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	/* An empty text says "none" where nothing is required. */
	if (node->text.len || (key->flags & KEY_REQUIRED)) (void)check_text(r, key, node, path);
	memcpy(out + key->offset, &node->text, sizeof node->text);
}

/* ── choices ───────────────────────────────────────────────────────────────── */

static size_t count_choices(const char *const *choices)
{
	size_t count = 0;
	while (choices[count]) count++;
	return count;
}

static void list_choices(const char *const *choices, char out[256])
{
	size_t len = 0;
	for (size_t i = 0; choices[i] && len < 200; i++) {
		size_t n = strlen(choices[i]);
		if (i) out[len++] = ',', out[len++] = ' ';
		if (n > 40) n = 40;
		memcpy(out + len, choices[i], n);
		len += n;
	}
	out[len] = '\0';
}

static bool find_choice(struct reading *r, const struct key *key, const struct node *node, const char *path,
			uint32_t *out)
{
	char suggestion[SUGGESTION_SIZE], list[256];
	size_t count = count_choices(key->choices);
	for (uint32_t i = 0; node->kind == NODE_SCALAR && i < count; i++) {
		if (!str_eq(node->text, str_from(key->choices[i]))) continue;
		*out = i;
		return true;
	}
	list_choices(key->choices, list);
	complain(r->complaints, node->line, "%s: '%.*s' is not one of: %s%s", path, STR_ARG(node->text), list,
		 suggest(node->text, key->choices, count, suggestion));
	return false;
}

static void read_choice(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	uint32_t choice;
	if (find_choice(r, key, node, path, &choice)) store_number(key, out, choice);
}

static void read_flags(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	uint32_t flags = 0, choice;
	for (const struct node *at = node->children; at; at = at->next)
		if (find_choice(r, key, at, path, &choice)) flags |= UINT32_C(1) << choice;
	store_number(key, out, flags);
}

static void read_bool(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	bool value = !node->is_quoted && str_eq(node->text, STR("true"));
	if (!value && (node->is_quoted || !str_eq(node->text, STR("false")))) {
		complain(r->complaints, node->line, "%s: '%.*s' is not true or false%s", path, STR_ARG(node->text),
			 node->is_quoted ? " (leave the quotes out)" : "");
		return;
	}
	memcpy(out + key->offset, &value, sizeof value);
}

static void read_offset(struct reading *r, const struct key *key, const struct node *node, const char *path, char *out)
{
	int16_t minutes;
	if (unit_read_utc_offset(node->text, &minutes))
		memcpy(out + key->offset, &minutes, sizeof minutes);
	else
		complain(r->complaints, node->line, "%s: '%.*s' is not an offset such as +03:00 or -0530", path,
			 STR_ARG(node->text));
}

/* ── any ───────────────────────────────────────────────────────────────────── */

/* The kinds of node that a type takes; NULL when `kind` is one. */
static const char *wanted_kind(enum key_type type, enum node_kind kind)
{
	switch (type) {
	case KEY_TEXTS: return kind == NODE_MAP ? "a list of texts" : NULL;
	case KEY_FLAGS: return kind == NODE_LIST ? NULL : "a list";
	case KEY_ANY: return NULL;
	case KEY_NODE: return kind == NODE_MAP ? NULL : "a map (lines of 'key: value')";
	default: return kind == NODE_SCALAR ? NULL : "a single value";
	}
}

void read_value(struct reading *reading, const struct key *key, const struct node *node, const char *path, char *out)
{
	const char *wanted = wanted_kind(key->type, node->kind);
	if (wanted) {
		complain(reading->complaints, node->line, "%s must be %s", path, wanted);
		return;
	}
	switch (key->type) {
	case KEY_INT:
	case KEY_BYTES:
	case KEY_MS:
	case KEY_US: read_number(reading, key, node, path, out); break;
	case KEY_BOOL: read_bool(reading, key, node, path, out); break;
	case KEY_CHOICE: read_choice(reading, key, node, path, out); break;
	case KEY_FLAGS: read_flags(reading, key, node, path, out); break;
	case KEY_TEXT: read_text(reading, key, node, path, out); break;
	case KEY_TEXTS: read_texts(reading, key, node, path, out); break;
	case KEY_OFFSET: read_offset(reading, key, node, path, out); break;
	case KEY_ANY:
	case KEY_NODE: memcpy(out + key->offset, &node, sizeof node); break;
	case KEY_ITEMS: CHECK(key->type != KEY_ITEMS); /* read.c reads them */
	}
}
