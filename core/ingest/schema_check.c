#include "ingest/schema_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "ingest/schema_format.h"

#define CHOICES_SHOWN 5

/* The way down to the value at hand, on the C stack. */
struct place {
	const struct place *above;
	struct str key; /* or, when its pointer is NULL, the index */
	size_t index;
};

/* ── telling ─────────────────────────────────────────────────────────────── */

/* A text of bounded length, cut between characters. */
struct line {
	char text[VIOLATION_TEXT_SIZE + 1];
	size_t len, max;
};

static void add(struct line *line, struct str text)
{
	size_t room = line->max - line->len;
	if (text.len > room) {
		text.len = room;
		while (text.len && ((uint8_t)text.ptr[text.len] & 0xc0) == 0x80) text.len--;
		line->max = line->len + text.len; /* nothing may follow a cut */
	}
	memcpy(line->text + line->len, text.ptr, text.len);
	line->len += text.len;
}

static void add_number(struct line *line, double number)
{
	char text[40];
	int len = snprintf(text, sizeof text, "%.15g", number);
	add(line, str_of(text, (size_t)len));
}

static void add_token(struct line *line, struct str key)
{
	for (size_t i = 0; i < key.len;) {
		size_t run = i;
		while (run < key.len && key.ptr[run] != '~' && key.ptr[run] != '/') run++;
		add(line, str_of(key.ptr + i, run - i));
		if (run < key.len) add(line, key.ptr[run++] == '~' ? STR("~0") : STR("~1"));
		i = run;
	}
}

static void add_place(struct line *line, const struct place *place)
{
	char index[24];
	if (!place) return;
	add_place(line, place->above);
	add(line, STR("/"));
	if (place->key.ptr)
		add_token(line, place->key);
	else
		add(line, str_of(index, (size_t)snprintf(index, sizeof index, "%zu", place->index)));
}

static bool is_done(const struct schema_check *check)
{
	return check->count == VIOLATIONS_MAX;
}

/* `rule` is what the schema wants; `sent` what came instead, or empty. */
static void tell(struct schema_check *check, const struct place *place, const struct line *rule, struct str sent)
{
	struct line pointer = {.max = VIOLATION_POINTER}, text = *rule;
	if (is_done(check)) return;
	struct schema_violation *violation = &check->violations[check->count];
	add(&pointer, check->prefix);
	add_place(&pointer, place);
	if (sent.len) add(&text, STR(", "));
	add(&text, sent);
	int rc = arena_str(check->arena, str_of(pointer.text, pointer.len), &violation->pointer);
	if (rc == OK) rc = arena_str(check->arena, str_of(text.text, text.len), &violation->text);
	if (rc != OK) {
		check->status = rc;
		return;
	}
	violation->rule = str_of(violation->text.ptr, rule->len);
	check->count++;
}

static void tell_text(struct schema_check *check, const struct place *place, struct str rule)
{
	struct line line = {.max = VIOLATION_TEXT_SIZE};
	add(&line, rule);
	tell(check, place, &line, STR_NONE);
}

/* "must be at least 0, is -5" */
static void tell_number(struct schema_check *check, const struct place *place, const char *rule, double limit,
			double sent)
{
	struct line line = {.max = VIOLATION_TEXT_SIZE}, is = {.max = 60};
	add(&line, str_from(rule));
	add_number(&line, limit);
	add(&is, STR("is "));
	add_number(&is, sent);
	tell(check, place, &line, str_of(is.text, is.len));
}

/* "must have at most 3 items, has 4" */
static void tell_count(struct schema_check *check, const struct place *place, const char *rule, uint64_t limit,
		       const char *unit, size_t sent)
{
	char text[80], has[40];
	struct line line = {.max = VIOLATION_TEXT_SIZE};
	add(&line, str_of(text, (size_t)snprintf(text, sizeof text, "must have at %s %llu %s", rule,
						 (unsigned long long)limit, unit)));
	(void)snprintf(has, sizeof has, "has %zu", sent);
	tell(check, place, &line, str_from(has));
}

/* ── types ───────────────────────────────────────────────────────────────── */

static bool is_whole(struct json value)
{
	double number;
	return json_double(value, &number) && number == floor(number);
}

/* All types that the value is of. */
static uint32_t types_of(struct json value)
{
	switch (json_type(value)) {
	case JSON_NULL: return SCHEMA_NULL;
	case JSON_BOOL: return SCHEMA_BOOLEAN;
	case JSON_INT:
	case JSON_UINT: return SCHEMA_INTEGER | SCHEMA_NUMBER;
	case JSON_DOUBLE: return is_whole(value) ? SCHEMA_INTEGER | SCHEMA_NUMBER : SCHEMA_NUMBER;
	case JSON_STRING: return SCHEMA_STRING;
	case JSON_ARRAY: return SCHEMA_ARRAY;
	case JSON_OBJECT: return SCHEMA_OBJECT;
	}
	return 0;
}

static void tell_type(struct schema_check *check, const struct place *place, uint32_t wanted, uint32_t found)
{
	struct line line = {.max = VIOLATION_TEXT_SIZE}, is = {.max = 40};
	bool is_first = true;
	add(&line, STR("must be "));
	for (uint32_t bit = 1; bit <= SCHEMA_OBJECT; bit <<= 1) {
		if (!(wanted & bit)) continue;
		if (!is_first) add(&line, STR(" or "));
		add(&line, str_from(schema_type_name((enum schema_type)bit)));
		is_first = false;
	}
	add(&is, STR("is "));
	add(&is, str_from(schema_type_name((enum schema_type)(found & ~(found - 1)))));
	tell(check, place, &line, str_of(is.text, is.len));
}

/* ── enum and const ──────────────────────────────────────────────────────── */

static bool equals(const struct schema_literal *literal, struct json value)
{
	struct str text;
	bool is_true;
	double number;
	int64_t integer;
	switch (literal->type) {
	case SCHEMA_NULL: return json_type(value) == JSON_NULL;
	case SCHEMA_BOOLEAN: return json_bool(value, &is_true) && is_true == (literal->integer != 0);
	case SCHEMA_STRING: return json_str(value, &text) && str_eq(text, literal->text);
	case SCHEMA_INTEGER:
		if (json_int(value, &integer)) return integer == literal->integer;
		return json_double(value, &number) && number == literal->number;
	default: return json_double(value, &number) && number == literal->number;
	}
}

static void tell_choices(struct schema_check *check, const struct place *place, const struct json_schema *schema)
{
	struct line line = {.max = VIOLATION_TEXT_SIZE};
	add(&line, schema->choice_count > 1 ? STR("must be one of ") : STR("must be "));
	for (size_t i = 0; i < schema->choice_count && i < CHOICES_SHOWN; i++) {
		if (i) add(&line, STR(", "));
		bool is_text = schema->choices[i].type == SCHEMA_STRING;
		if (is_text) add(&line, STR("\""));
		add(&line, schema->choices[i].text);
		if (is_text) add(&line, STR("\""));
	}
	if (schema->choice_count > CHOICES_SHOWN) add(&line, STR(" …"));
	tell(check, place, &line, STR_NONE);
}

static void check_choices(struct schema_check *check, const struct json_schema *schema, struct json value,
			  const struct place *place)
{
	for (size_t i = 0; i < schema->choice_count; i++)
		if (equals(&schema->choices[i], value)) return;
	tell_choices(check, place, schema);
}

/* ── numbers and texts ───────────────────────────────────────────────────── */

static void check_number(struct schema_check *check, const struct json_schema *schema, struct json value,
			 const struct place *place)
{
	double number;
	if (!json_double(value, &number)) return;
	if (schema->rules & RULE_MINIMUM && number < schema->minimum)
		tell_number(check, place, "must be at least ", schema->minimum, number);
	if (schema->rules & RULE_MAXIMUM && number > schema->maximum)
		tell_number(check, place, "must be at most ", schema->maximum, number);
	if (schema->rules & RULE_EXCLUSIVE_MINIMUM && number <= schema->exclusive_minimum)
		tell_number(check, place, "must be above ", schema->exclusive_minimum, number);
	if (schema->rules & RULE_EXCLUSIVE_MAXIMUM && number >= schema->exclusive_maximum)
		tell_number(check, place, "must be below ", schema->exclusive_maximum, number);
}

static size_t count_characters(struct str text)
{
	size_t count = 0;
	for (size_t i = 0; i < text.len; i++) count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
	return count;
}

/* What was sent is not told: it may be personal, and the reject keeps an excerpt. */
static void tell_form(struct schema_check *check, const struct place *place, const char *rule, struct str form)
{
	struct line line = {.max = VIOLATION_TEXT_SIZE};
	add(&line, str_from(rule));
	add(&line, form);
	tell(check, place, &line, STR_NONE);
}

static void check_text(struct schema_check *check, const struct json_schema *schema, struct json value,
		       const struct place *place)
{
	struct str text;
	if (!json_str(value, &text)) return;
	if (schema->rules & (RULE_MIN_LENGTH | RULE_MAX_LENGTH)) {
		size_t length = count_characters(text);
		if (schema->rules & RULE_MIN_LENGTH && length < schema->min_length)
			tell_count(check, place, "least", schema->min_length, "characters", length);
		if (schema->rules & RULE_MAX_LENGTH && length > schema->max_length)
			tell_count(check, place, "most", schema->max_length, "characters", length);
	}
	if (schema->pattern && !pattern_matches(schema->pattern, text))
		tell_form(check, place, "must match ", schema->pattern_text);
	if (schema->format && !schema_format_is(schema->format, text))
		tell_form(check, place, "must have the format ", str_from(schema_format_name(schema->format)));
}

/* ── arrays and objects ──────────────────────────────────────────────────── */

static void check_value(struct schema_check *check, const struct json_schema *schema, struct json value,
			const struct place *place);

static void check_array(struct schema_check *check, const struct json_schema *schema, struct json value,
			const struct place *place)
{
	struct json_iter it;
	struct json element;
	struct place below = {.above = place, .key = {NULL, 0}};
	size_t count = json_count(value);
	if (schema->rules & RULE_MIN_ITEMS && count < schema->min_items)
		tell_count(check, place, "least", schema->min_items, "items", count);
	if (schema->rules & RULE_MAX_ITEMS && count > schema->max_items)
		tell_count(check, place, "most", schema->max_items, "items", count);
	if (!schema->items) return;
	for (json_iter_start(value, &it); !is_done(check) && json_next_element(&it, &element); below.index++)
		check_value(check, schema->items, element, &below);
}

static void tell_missing(struct schema_check *check, const struct json_schema *schema, const uint64_t *seen,
			 const struct place *place)
{
	for (size_t i = 0; i < schema->property_count && !is_done(check); i++) {
		const struct schema_property *property = &schema->properties[i];
		size_t bit = property->required - 1u;
		if (!property->required || seen[bit >> 6] >> (bit & 63) & 1) continue;
		struct place below = {.above = place, .key = property->name};
		tell_text(check, &below, STR("is required"));
	}
}

static void check_object(struct schema_check *check, const struct json_schema *schema, const struct json *value,
			 const struct place *place)
{
	struct json_iter it;
	struct json member;
	struct place below = {.above = place};
	uint64_t seen[SCHEMA_REQUIRED_MAX / 64] = {0};
	if (value) json_iter_start(*value, &it);
	while (value && !is_done(check) && json_next_member(&it, &below.key, &member)) {
		const struct schema_property *property = json_schema_property(schema, below.key);
		if (property && property->required) {
			size_t bit = property->required - 1u;
			seen[bit >> 6] |= UINT64_C(1) << (bit & 63);
		}
		if (property && property->schema)
			check_value(check, property->schema, member, &below);
		else if (schema->rules & RULE_CLOSED)
			tell_text(check, &below, STR("is not in the schema"));
	}
	if (schema->required_count) tell_missing(check, schema, seen, place);
}

/* ── the whole ───────────────────────────────────────────────────────────── */

/* As deep as the schema, which SCHEMA_DEPTH_MAX bounds. */
static void check_value(struct schema_check *check, const struct json_schema *schema, struct json value,
			const struct place *place)
{
	uint32_t types = types_of(value);
	if (schema->types && !(schema->types & types)) {
		tell_type(check, place, schema->types, types);
		return;
	}
	if (schema->rules & RULE_CHOICES) check_choices(check, schema, value, place);
	if (types & SCHEMA_NUMBER) check_number(check, schema, value, place);
	if (types & SCHEMA_STRING) check_text(check, schema, value, place);
	if (types & SCHEMA_ARRAY) check_array(check, schema, value, place);
	if (types & SCHEMA_OBJECT) check_object(check, schema, &value, place);
}

bool schema_check(struct schema_check *check, const struct json_schema *schema, const struct json *value)
{
	check->count = 0;
	check->status = OK;
	if (value)
		check_value(check, schema, *value, NULL);
	else if (schema->types && !(schema->types & SCHEMA_OBJECT))
		tell_type(check, NULL, schema->types, SCHEMA_OBJECT);
	else
		check_object(check, schema, NULL, NULL);
	return check->count == 0 && check->status == OK;
}
