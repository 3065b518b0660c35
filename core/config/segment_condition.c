#include "config/segment_condition.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "config/read_value.h"
#include "config/units.h"

#define JSON_MAX ((size_t)1 << 20)

/* ── the language's tables ─────────────────────────────────────────────────── */

/* What a condition's subject can be compared as. */
enum { ANY = 1, NUMBER = 2, TIME = 4, LABEL = 8, SEGMENT = 16 };

enum operand { SCALAR, LIST, NUMERIC, TRUTH, GLOB, STAMP, SPAN };

static const struct operator
{
	const char *name;
	enum operand operand;
	unsigned fits;
}
operators[] = {
    {"is", SCALAR, ANY | NUMBER | LABEL | SEGMENT},
    {"is_not", SCALAR, ANY | NUMBER | LABEL},
    {"in", LIST, ANY | NUMBER | LABEL},
    {"greater", NUMERIC, ANY | NUMBER},
    {"at_least", NUMERIC, ANY | NUMBER},
    {"less", NUMERIC, ANY | NUMBER},
    {"at_most", NUMERIC, ANY | NUMBER},
    {"exists", TRUTH, ANY | NUMBER | TIME | LABEL},
    {"contains", SCALAR, ANY | LABEL},
    {"matches", GLOB, ANY | LABEL},
    {"before", STAMP, ANY | TIME},
    {"after", STAMP, ANY | TIME},
    {"within", SPAN, ANY | TIME},
    {"not_within", SPAN, ANY | TIME},
};

static const char *const subjects[] = {"trait", "feature", "identifier", "segment", "consent", "field"};
static const char *const fields[] = {"first_seen", "last_seen", "event_count", "fragments"};
/* For suggestions: everything that may stand in a condition. */
static const char *const words[] = {"all",     "any",      "not",   "trait",   "feature",   "identifier",
				    "segment", "consent",  "field", "is",      "is_not",    "in",
				    "greater", "at_least", "less",  "at_most", "exists",    "contains",
				    "matches", "before",   "after", "within",  "not_within"};

static size_t index_of(struct str word, const char *const *list, size_t count)
{
	size_t i = 0;
	while (i < count && !str_eq(word, str_from(list[i]))) i++;
	return i;
}

static const struct operator* find_operator(struct str word)
{
	for (size_t i = 0; i < COUNT_OF(operators); i++)
		if (str_eq(word, str_from(operators[i].name))) return &operators[i];
	return NULL;
}

/* ── a condition being read ────────────────────────────────────────────────── */

struct writer {
	struct reading *r;
	const struct condition_names *names;
	struct str segment; /* whose condition */
	struct json_out out;
	size_t leaves;
};

static void wrong(struct writer *w, int line, const char *what, struct str word, const char *suggestion)
{
	complain(w->r->complaints, line, "segment '%.*s': %s '%.*s'%s", STR_ARG(w->segment), what, STR_ARG(word),
		 suggestion);
}

static void unknown(struct writer *w, int line, const char *what, struct str word, const char *const *known,
		    size_t count)
{
	char suggestion[SUGGESTION_SIZE];
	wrong(w, line, what, word, suggest(word, known, count, suggestion));
}

/* ── operands ──────────────────────────────────────────────────────────────── */

#define NUMBER_MAX 40 /* bytes of one */

static bool is_number(struct str text)
{
	return text.len <= NUMBER_MAX && str_is_number(text);
}

static void write_number(struct json_out *out, struct str text)
{
	char copy[48];
	int64_t whole;
	if (str_to_i64(text, &whole) == OK) {
		jo_int(out, whole);
		return;
	}
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	jo_double(out, strtod(copy, NULL));
}

static bool write_scalar(struct writer *w, const struct node *node)
{
	struct json_out *out = &w->out;
	if (node->kind != NODE_SCALAR || node_is_absent(node) || node->text.len > CONDITION_TEXT_MAX) return false;
	if (!node->is_quoted && is_number(node->text))
		write_number(out, node->text);
	else if (!node->is_quoted && (str_eq(node->text, STR("true")) || str_eq(node->text, STR("false"))))
		jo_bool(out, node->text.ptr[0] == 't');
	else
		jo_str(out, node->text);
	return true;
}

static bool write_list(struct writer *w, const struct node *node)
{
	if (node->kind != NODE_LIST || node->child_count == 0 || node->child_count > CONDITION_LIST_MAX) return false;
	jo_array(&w->out);
	for (const struct node *item = node->children; item; item = item->next)
		if (!write_scalar(w, item)) return false;
	jo_end_array(&w->out);
	return true;
}

static bool write_truth(struct writer *w, const struct node *node)
{
	bool is_true = str_eq(node->text, STR("true"));
	if (node->is_quoted || (!is_true && !str_eq(node->text, STR("false")))) return false;
	jo_bool(&w->out, is_true);
	return true;
}

/* "2026-11-21" is the beginning of that day in UTC. */
static bool write_stamp(struct writer *w, const struct node *node)
{
	char text[64];
	int64_t us;
	int16_t offset;
	if (node->text.len == 0 || node->text.len > 40) return false;
	const char *midnight = node->text.len == 10 ? "T00:00:00Z" : "";
	(void)snprintf(text, sizeof text, "%.*s%s", STR_ARG(node->text), midnight);
	if (!strchr(text, '-') || clock_parse(str_from(text), &us, &offset) != OK) return false;
	jo_int(&w->out, us);
	return true;
}

static bool write_span(struct writer *w, const struct node *node)
{
	uint64_t us;
	if (!unit_read_duration(node->text, &us) || us == 0 || us > (uint64_t)(INT64_C(36500) * US_PER_DAY))
		return false;
	jo_int(&w->out, (int64_t)us);
	return true;
}

static bool write_operand(struct writer *w, enum operand operand, const struct node *node)
{
	if (operand == LIST) return write_list(w, node);
	if (node->kind != NODE_SCALAR) return false;
	switch (operand) {
	case SCALAR: return write_scalar(w, node);
	case NUMERIC: return !node->is_quoted && is_number(node->text) && write_scalar(w, node);
	case TRUTH: return write_truth(w, node);
	case GLOB:
		if (node->text.len == 0 || node->text.len > CONDITION_GLOB_MAX) return false;
		jo_str(&w->out, node->text);
		return true;
	case STAMP: return write_stamp(w, node);
	case SPAN: return write_span(w, node);
	case LIST: break;
	}
	return false;
}

static const char *operand_help(enum operand operand)
{
	switch (operand) {
	case SCALAR: return "a text, a number, true or false";
	case LIST: return "a list of 1 to 1000 texts or numbers";
	case NUMERIC: return "a number";
	case TRUTH: return "true or false";
	case GLOB: return "a pattern of at most 128 bytes, such as '*@example.com'";
	case STAMP: return "a date such as 2026-11-21 or 2026-11-21T20:00:00Z";
	case SPAN: return "a duration such as 30d, 12h or 90m";
	}
	return "something else";
}

/* ── leaves ────────────────────────────────────────────────────────────────── */

struct leaf {
	const struct node *subject; /* its key says what kind, its text the name */
	unsigned type;
};

static bool find_name(struct writer *w, const struct node *subject, const char *what, const char *const *known,
		      size_t count)
{
	if (index_of(subject->text, known, count) < count) return true;
	unknown(w, subject->line, what, subject->text, known, count);
	return false;
}

static bool find_feature(struct writer *w, const struct node *subject, unsigned *type)
{
	const struct config *config = w->names->config;
	if (!find_name(w, subject, "unknown feature", w->names->features, config->feature_count)) return false;
	struct str name = config->features[index_of(subject->text, w->names->features, config->feature_count)].type;
	*type = str_eq(name, STR("count")) || str_eq(name, STR("sum")) ? NUMBER : ANY;
	return true;
}

/* "purpose" or "purpose/channel"; its value is the name of a state. */
static bool find_consent(struct writer *w, const struct node *subject, unsigned *type)
{
	const struct config *config = w->names->config;
	const char *slash = memchr(subject->text.ptr, '/', subject->text.len);
	struct node purpose = *subject, channel = *subject;
	*type = LABEL;
	if (slash) {
		purpose.text.len = (size_t)(slash - subject->text.ptr);
		channel.text = str_of(slash + 1, subject->text.len - purpose.text.len - 1);
	}
	if (!find_name(w, &purpose, "unknown consent purpose", w->names->purposes, config->purpose_count)) return false;
	if (!slash) return true;
	size_t at = index_of(purpose.text, w->names->purposes, config->purpose_count);
	for (size_t i = 0; i < config->purposes[at].channel_count; i++)
		if (str_eq(config->purposes[at].channels[i], channel.text)) return true;
	wrong(w, subject->line, "the purpose has no channel", channel.text, "");
	return false;
}

static bool find_subject(struct writer *w, struct leaf *leaf)
{
	const struct config *config = w->names->config;
	const struct node *subject = leaf->subject;
	struct str kind = subject->key;
	if (subject->kind != NODE_SCALAR || subject->text.len == 0 || subject->text.len > 255) {
		complain(w->r->complaints, subject->line, "segment '%.*s': '%.*s' must be followed by a name",
			 STR_ARG(w->segment), STR_ARG(kind));
		return false;
	}
	leaf->type = ANY;
	if (str_eq(kind, STR("trait"))) return true;
	if (str_eq(kind, STR("feature"))) return find_feature(w, subject, &leaf->type);
	if (str_eq(kind, STR("identifier"))) {
		leaf->type = LABEL;
		return find_name(w, subject, "unknown identifier namespace", w->names->namespaces,
				 config->namespace_count);
	}
	if (str_eq(kind, STR("segment"))) {
		leaf->type = SEGMENT;
		return find_name(w, subject, "unknown segment", w->names->segments, config->segment_count);
	}
	if (str_eq(kind, STR("consent"))) return find_consent(w, subject, &leaf->type);
	leaf->type = index_of(subject->text, fields, COUNT_OF(fields)) < 2 ? TIME : NUMBER;
	return find_name(w, subject, "unknown field", fields, COUNT_OF(fields));
}

static void write_leaf_head(struct writer *w, const struct leaf *leaf, const char *op)
{
	jo_object(&w->out);
	jo_key(&w->out, STR("name"));
	jo_str(&w->out, leaf->subject->text);
	jo_key(&w->out, STR("op"));
	jo_str(&w->out, str_from(op));
	jo_key(&w->out, STR("source"));
	jo_str(&w->out, leaf->subject->key);
	jo_key(&w->out, STR("value"));
}

static const char *type_name(unsigned type)
{
	switch (type) {
	case NUMBER: return "a number";
	case TIME: return "a time";
	case LABEL: return "an identifier";
	default: return "a segment";
	}
}

static void write_test(struct writer *w, const struct leaf *leaf, const struct operator* op, const struct node *node)
{
	bool wants_truth = op->operand == TRUTH || leaf->type == SEGMENT;
	if (!(op->fits & leaf->type)) {
		complain(w->r->complaints, node->line, "segment '%.*s': '%s' does not fit %.*s '%.*s', which is %s",
			 STR_ARG(w->segment), op->name, STR_ARG(leaf->subject->key), STR_ARG(leaf->subject->text),
			 type_name(leaf->type));
		return;
	}
	enum operand operand = wants_truth ? TRUTH : op->operand;
	if (leaf->type == NUMBER && operand == SCALAR) operand = NUMERIC;
	write_leaf_head(w, leaf, op->name);
	if (!write_operand(w, operand, node))
		complain(w->r->complaints, node->line, "segment '%.*s': '%s' wants %s", STR_ARG(w->segment), op->name,
			 operand_help(operand));
	jo_end_object(&w->out);
	w->leaves++;
}

/* Counts the operators beside the subject and refuses what is neither. */
static size_t check_tests(struct writer *w, const struct node *map, const struct leaf *leaf)
{
	size_t count = 0;
	for (const struct node *child = map->children; child; child = child->next) {
		if (child == leaf->subject) continue;
		if (find_operator(child->key))
			count++;
		else if (index_of(child->key, subjects, COUNT_OF(subjects)) < COUNT_OF(subjects))
			wrong(w, child->line,
			      "one condition asks for one thing, join them with 'all' or 'any'; there is", child->key,
			      " beside another");
		else
			unknown(w, child->line, "unknown operator", child->key, words, COUNT_OF(words));
	}
	return count;
}

static void read_leaf(struct writer *w, const struct node *map, const struct node *subject)
{
	struct leaf leaf = {.subject = subject};
	bool is_known = find_subject(w, &leaf);
	size_t before = w->r->complaints->count, count = check_tests(w, map, &leaf);
	if (!is_known || w->r->complaints->count > before) return;
	if (count == 0 && leaf.type == SEGMENT) {
		write_leaf_head(w, &leaf, "is");
		jo_bool(&w->out, true);
		jo_end_object(&w->out);
		w->leaves++;
		return;
	}
	if (count == 0) wrong(w, map->line, "nothing is asked of", subject->text, ", such as 'exists: true'");
	if (count > 1) {
		jo_object(&w->out);
		jo_key(&w->out, STR("all"));
		jo_array(&w->out);
	}
	for (size_t i = 0; i < COUNT_OF(operators); i++) {
		const struct node *node = node_child(map, str_from(operators[i].name));
		if (node) write_test(w, &leaf, &operators[i], node);
	}
	if (count > 1) {
		jo_end_array(&w->out);
		jo_end_object(&w->out);
	}
}

/* ── the whole ─────────────────────────────────────────────────────────────── */

static void read_condition(struct writer *w, const struct node *node);

static void read_list(struct writer *w, const struct node *list)
{
	jo_object(&w->out);
	jo_key(&w->out, list->key);
	jo_array(&w->out);
	if (list->kind != NODE_LIST || list->child_count == 0)
		wrong(w, list->line, "there must be a list of conditions after", list->key, "");
	else
		for (const struct node *item = list->children; item; item = item->next) read_condition(w, item);
	jo_end_array(&w->out);
	jo_end_object(&w->out);
}

static void read_not(struct writer *w, const struct node *node)
{
	jo_object(&w->out);
	jo_key(&w->out, STR("not"));
	read_condition(w, node);
	jo_end_object(&w->out);
}

static const struct node *find_subject_key(const struct node *map)
{
	for (const struct node *child = map->children; child; child = child->next)
		if (index_of(child->key, subjects, COUNT_OF(subjects)) < COUNT_OF(subjects)) return child;
	return NULL;
}

static bool is_junction(struct str key)
{
	return str_eq(key, STR("all")) || str_eq(key, STR("any")) || str_eq(key, STR("not"));
}

static void read_condition(struct writer *w, const struct node *node)
{
	if (node->kind != NODE_MAP || node->child_count == 0) {
		complain(w->r->complaints, node->line,
			 "segment '%.*s': a condition must be a map such as {trait: plan, is: gold}",
			 STR_ARG(w->segment));
		return;
	}
	const struct node *first = node->children, *subject = find_subject_key(node);
	if (is_junction(first->key) && node->child_count == 1) {
		if (str_eq(first->key, STR("not")))
			read_not(w, first);
		else
			read_list(w, first);
	} else if (is_junction(first->key)) {
		wrong(w, first->line, "nothing may stand beside", first->key, ": put it into the list");
	} else if (subject) {
		read_leaf(w, node, subject);
	} else {
		unknown(w, first->line, "a condition begins with all, any, not or what it asks for, not with",
			first->key, words, COUNT_OF(words));
	}
}

void segment_condition_read(struct reading *reading, const struct condition_names *names, struct conf_segment *segment)
{
	struct buf json;
	struct writer w = {.r = reading, .names = names, .segment = segment->name};
	buf_init(&json, JSON_MAX);
	json_out_init(&w.out, &json);
	segment->condition = STR_NONE;
	read_condition(&w, segment->when);
	if (w.leaves > CONDITION_LEAVES_MAX)
		complain(reading->complaints, segment->when->line, "segment '%.*s': at most %d comparisons",
			 STR_ARG(segment->name), CONDITION_LEAVES_MAX);
	int rc = w.out.status;
	if (!rc) rc = arena_str(reading->arena, buf_str(&json), &segment->condition);
	if (rc == ERR_TOO_LARGE)
		complain(reading->complaints, segment->when->line, "segment '%.*s': the condition is too large",
			 STR_ARG(segment->name));
	else if (rc)
		reading->complaints->status = rc;
	buf_fini(&json);
}

void segment_condition_references(const struct node *when, void (*fn)(void *ctx, struct str segment, int line),
				  void *ctx)
{
	if (!when || when->kind == NODE_SCALAR) return;
	for (const struct node *child = when->children; child; child = child->next) {
		if (when->kind == NODE_LIST || is_junction(child->key))
			segment_condition_references(child, fn, ctx);
		else if (str_eq(child->key, STR("segment")) && child->kind == NODE_SCALAR)
			fn(ctx, child->text, child->line);
	}
}
