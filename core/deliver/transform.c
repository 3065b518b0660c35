#include "deliver/transform.h"

#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"

/* The items of the `each`s around. */
struct scope {
	const struct scope *outer;
	struct str name;
	struct json item;
};
struct running {
	struct json record;
	struct arena *arena;
	struct str why;
	size_t made; /* bytes of JSON so far, parts that are joined later included */
};

/* OK with the JSON text; ERR_NOT_FOUND: absent. */
static int run(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out);

/* ── paths ───────────────────────────────────────────────────────────────── */

static bool step_into(struct json from, const struct mapping_step *step, struct json *out)
{
	struct json_iter it;
	if (step->name.len) return json_get(from, step->name, out);
	if (json_type(from) != JSON_ARRAY) return false;
	int64_t at = step->index >= 0 ? step->index : (int64_t)json_count(from) + step->index;
	for (json_iter_start(from, &it); at >= 0 && json_next_element(&it, out); at--)
		if (at == 0) return true;
	return false;
}

/* null is as absent as nothing: no destination should have to tell them apart. */
static bool find(const struct running *r, const struct scope *scope, const struct mapping_path *path, struct json *out)
{
	size_t first = 0;
	*out = r->record;
	if (path->item.len) {
		while (scope && !str_eq(scope->name, path->item)) scope = scope->outer;
		CHECK(scope);
		*out = scope->item;
		first = 1;
	}
	for (size_t i = first; i < path->count; i++)
		if (!step_into(*out, &path->steps[i], out)) return false;
	return json_type(*out) != JSON_NULL;
}

static int json_text(struct running *r, struct json value, struct str *out)
{
	struct buf buf;
	buf_init(&buf, TRANSFORM_BYTES_MAX);
	int rc = json_write(&buf, value);
	if (rc == OK) rc = arena_str(r->arena, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

static int quote(struct running *r, struct str text, struct str *out)
{
	struct buf buf;
	buf_init(&buf, TRANSFORM_BYTES_MAX);
	int rc = json_write_str(&buf, text);
	if (rc == OK) rc = arena_str(r->arena, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

/* ── one value and what is done to it ────────────────────────────────────── */

/* A value on its way: as text (what a string holds; a number, a boolean or a list as its JSON) and whether that is a string. */
struct value {
	struct str text;
	bool is_string;
};

static int take(struct running *r, struct json json, struct value *out)
{
	out->is_string = json_str(json, &out->text);
	return out->is_string ? OK : json_text(r, json, &out->text);
}

static int apply(struct running *r, enum mapping_op op, struct value *value)
{
	struct str copy;
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	if (op == MAPPING_TRIM) {
		value->text = str_trim(value->text);
		return OK;
	}
	if (op == MAPPING_SHA256) {
		int rc = sha256(value->text, digest);
		if (rc) return rc;
		hex_encode(digest, sizeof digest, hex);
		value->is_string = true;
		return arena_str(r->arena, str_of(hex, sizeof hex - 1), &value->text);
	}
	int rc = arena_str(r->arena, value->text, &copy);
	if (rc) return rc;
	char *at = (char *)(uintptr_t)copy.ptr;
	size_t len = 0;
	for (size_t i = 0; i < copy.len; i++) { /* ASCII letters only: what others hash and compare is ASCII */
		unsigned char c = (unsigned char)copy.ptr[i];
		if (op == MAPPING_DIGITS && !(c >= '0' && c <= '9')) continue;
		bool is_lower = c >= 'a' && c <= 'z', is_upper = c >= 'A' && c <= 'Z';
		at[len++] = (char)(op == MAPPING_LOWER && is_upper   ? c + 32
				   : op == MAPPING_UPPER && is_lower ? c - 32
								     : c);
	}
	value->text = str_of(copy.ptr, len);
	return OK;
}

static bool is_among(struct str text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq_nocase(text, str_from(words[i]))) return true;
	return false;
}

/* The number's JSON text, cut at the point for an integer; absent when it is none. Digits are kept as they came, so that no
 * amount of money is rounded on its way. */
static int cast_number(struct running *r, bool is_integer, struct value *value, struct str *out)
{
	struct str text = str_trim(value->text);
	if (!str_is_number(text)) return ERR_NOT_FOUND;
	if (!is_integer) return arena_str(r->arena, text, out);
	const char *end = text.ptr + text.len, *at = text.ptr;
	while (at < end && *at != '.' && *at != 'e' && *at != 'E') at++;
	if (at == end || (*at == '.' && !memchr(at, 'e', (size_t)(end - at)) && !memchr(at, 'E', (size_t)(end - at)))) {
		struct str whole = str_of(text.ptr, (size_t)(at - text.ptr));
		return arena_str(r->arena, str_eq(whole, STR("-0")) ? STR("0") : whole, out);
	}
	char copy[64];
	if (text.len >= sizeof copy) return ERR_NOT_FOUND;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = 0;
	double number = trunc(strtod(copy, NULL));
	if (!(fabs(number) < 9.2e18)) return ERR_NOT_FOUND;
	return arena_printf(r->arena, out, "%lld", (long long)number);
}

static int cast_boolean(struct value *value, struct str *out)
{
	static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off"};
	struct str text = str_trim(value->text);
	if (is_among(text, yes, COUNT_OF(yes)))
		*out = STR("true");
	else if (is_among(text, no, COUNT_OF(no)))
		*out = STR("false");
	else
		return ERR_NOT_FOUND;
	return OK;
}

/* Takes "2026-11-21T10:00:00+01:00" and epoch milliseconds. */
static int format_time(struct running *r, enum mapping_format format, struct value *value, struct str *out)
{
	int64_t us;
	int16_t offset;
	char text[CLOCK_TEXT_SIZE];
	if (clock_parse(value->text, &us, &offset)) return ERR_NOT_FOUND;
	if (format == MAPPING_UNIX_S) return arena_printf(r->arena, out, "%lld", (long long)floor((double)us / 1e6));
	if (format == MAPPING_UNIX_MS) return arena_printf(r->arena, out, "%lld", (long long)floor((double)us / 1e3));
	size_t len = clock_format(us, text);
	return quote(r, str_of(text, format == MAPPING_DATE && len > 10 ? 10 : len), out);
}

static int finish(struct running *r, const struct mapping *mapping, struct value *value, struct str *out)
{
	if (mapping->format != MAPPING_PLAIN) return format_time(r, mapping->format, value, out);
	switch (mapping->cast) {
	case MAPPING_AS_IS: break;
	case MAPPING_INTEGER: return cast_number(r, true, value, out);
	case MAPPING_NUMBER: return cast_number(r, false, value, out);
	case MAPPING_BOOLEAN: return cast_boolean(value, out);
	case MAPPING_STRING: return quote(r, value->text, out);
	case MAPPING_JSON_TEXT: {
		struct str json = value->text;
		int rc = value->is_string ? quote(r, value->text, &json) : OK;
		return rc ? rc : quote(r, json, out);
	}
	}
	if (value->is_string) return quote(r, value->text, out);
	*out = value->text;
	return OK;
}

static int look_up(const struct mapping *mapping, const struct value *value, struct str *out)
{
	for (const struct mapping *pair = mapping->lookup; pair; pair = pair->next) {
		if (!str_eq(pair->key, value->text)) continue;
		*out = pair->json;
		return OK;
	}
	return ERR_NOT_FOUND;
}

static int convert(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	struct json json;
	struct value value;
	if (!find(r, scope, &mapping->path, &json)) return ERR_NOT_FOUND;
	int rc = take(r, json, &value);
	for (size_t i = 0; i < mapping->op_count && rc == OK; i++) rc = apply(r, mapping->ops[i], &value);
	if (rc) return rc;
	return mapping->lookup ? look_up(mapping, &value, out) : finish(r, mapping, &value, out);
}

static int run_value(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	int rc = convert(r, scope, mapping, out);
	if (rc != ERR_NOT_FOUND) return rc;
	if (mapping->otherwise) return run(r, scope, mapping->otherwise, out);
	if (!mapping->is_required) return ERR_NOT_FOUND;
	rc = arena_printf(r->arena, &r->why, "%.*s is required", STR_ARG(mapping->path.text));
	return rc ? rc : ERR_INVALID;
}

/* Absent when any of its paths is. */
static int run_text(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	struct buf buf;
	int rc = OK;
	buf_init(&buf, TRANSFORM_BYTES_MAX);
	for (const struct mapping *at = mapping->children; at && rc == OK; at = at->next) {
		struct json json;
		struct value value = {at->json, true};
		if (at->kind == MAPPING_VALUE)
			rc = find(r, scope, &at->path, &json) ? take(r, json, &value) : ERR_NOT_FOUND;
		if (rc == OK) rc = buf_append_str(&buf, value.text);
	}
	if (rc == OK) rc = quote(r, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

/* ── conditions ──────────────────────────────────────────────────────────── */

static bool is_in(struct str text, const struct str *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(text, list[i])) return true;
	return false;
}

static int holds(struct running *r, const struct scope *scope, const struct mapping_condition *condition, bool *out)
{
	struct json json;
	struct value value = {STR_NONE, false};
	double number = 0;
	bool is_there = find(r, scope, &condition->path, &json);
	int rc = is_there ? take(r, json, &value) : OK;
	if (rc) return rc;
	bool is_number = is_there && json_double(json, &number);
	*out =
	    (!condition->has_exists || condition->exists == is_there) &&
	    (!condition->in_count || (is_there && is_in(value.text, condition->in, condition->in_count))) &&
	    (!condition->not_in_count || !is_there || !is_in(value.text, condition->not_in, condition->not_in_count)) &&
	    (!condition->has_min || (is_number && number >= condition->min)) &&
	    (!condition->has_max || (is_number && number <= condition->max));
	return OK;
}

static int all_hold(struct running *r, const struct scope *scope, const struct mapping *mapping, bool *out)
{
	int rc = OK;
	*out = true;
	for (size_t i = 0; i < mapping->condition_count && *out && rc == OK; i++)
		rc = holds(r, scope, &mapping->conditions[i], out);
	return rc;
}

/* ── what is made of several ─────────────────────────────────────────────── */

struct joining {
	struct buf buf;
	bool has_any;
};

static int join(struct running *r, struct joining *j, struct str key, struct str json)
{
	int rc = j->has_any ? buf_putc(&j->buf, ',') : OK;
	if (rc == OK && key.len) rc = json_write_str(&j->buf, key);
	if (rc == OK && key.len) rc = buf_putc(&j->buf, ':');
	if (rc == OK) rc = buf_append_str(&j->buf, json);
	j->has_any = true;
	r->made += json.len + key.len;
	return rc == OK && r->made > TRANSFORM_BYTES_MAX ? ERR_TOO_LARGE : rc;
}

static int run_several(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	bool is_object = mapping->kind == MAPPING_OBJECT;
	struct joining j = {.has_any = false};
	buf_init(&j.buf, TRANSFORM_BYTES_MAX);
	int rc = buf_putc(&j.buf, is_object ? '{' : '[');
	for (const struct mapping *at = mapping->children; at && rc == OK; at = at->next) {
		struct str json;
		rc = run(r, scope, at, &json);
		if (rc == ERR_NOT_FOUND)
			rc = OK;
		else if (rc == OK)
			rc = join(r, &j, is_object ? at->key : STR_NONE, json);
	}
	if (rc == OK) rc = buf_putc(&j.buf, is_object ? '}' : ']');
	if (rc == OK) rc = arena_str(r->arena, buf_str(&j.buf), out);
	buf_fini(&j.buf);
	return rc;
}

static int run_element(struct running *r, const struct scope *scope, const struct mapping *mapping, struct joining *j)
{
	struct str json;
	bool passes;
	int rc = all_hold(r, scope, mapping, &passes);
	if (rc || !passes) return rc;
	rc = run(r, scope, mapping->children, &json);
	if (rc == ERR_NOT_FOUND) return OK;
	return rc ? rc : join(r, j, STR_NONE, json);
}

/* What is no list is a list of one: some clients send a single product bare. */
static int run_each(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	struct scope inner = {.outer = scope, .name = mapping->item};
	struct joining j = {.has_any = false};
	struct json list;
	struct json_iter it;
	if (!find(r, scope, &mapping->path, &list)) return ERR_NOT_FOUND;
	buf_init(&j.buf, TRANSFORM_BYTES_MAX);
	int rc = buf_putc(&j.buf, '[');
	if (json_type(list) != JSON_ARRAY) {
		inner.item = list;
		if (rc == OK) rc = run_element(r, &inner, mapping, &j);
	} else {
		for (json_iter_start(list, &it); rc == OK && json_next_element(&it, &inner.item);)
			rc = run_element(r, &inner, mapping, &j);
	}
	if (rc == OK) rc = buf_putc(&j.buf, ']');
	if (rc == OK) rc = arena_str(r->arena, buf_str(&j.buf), out);
	buf_fini(&j.buf);
	return rc;
}

static int run_if(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	bool passes;
	int rc = all_hold(r, scope, mapping, &passes);
	if (rc) return rc;
	const struct mapping *chosen = passes ? mapping->children : mapping->otherwise;
	return chosen ? run(r, scope, chosen, out) : ERR_NOT_FOUND;
}

static int run_first(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	for (const struct mapping *at = mapping->children; at; at = at->next) {
		int rc = run(r, scope, at, out);
		if (rc != ERR_NOT_FOUND) return rc;
	}
	return ERR_NOT_FOUND;
}

static int run(struct running *r, const struct scope *scope, const struct mapping *mapping, struct str *out)
{
	switch (mapping->kind) {
	case MAPPING_CONSTANT: *out = mapping->json; return OK;
	case MAPPING_VALUE: return run_value(r, scope, mapping, out);
	case MAPPING_TEXT: return run_text(r, scope, mapping, out);
	case MAPPING_OBJECT:
	case MAPPING_LIST: return run_several(r, scope, mapping, out);
	case MAPPING_IF: return run_if(r, scope, mapping, out);
	case MAPPING_EACH: return run_each(r, scope, mapping, out);
	case MAPPING_FIRST: return run_first(r, scope, mapping, out);
	}
	return ERR_NOT_FOUND;
}

int transform_run(const struct mapping *mapping, struct json record, struct arena *arena, struct transform_result *out)
{
	struct running r = {.record = record, .arena = arena, .why = STR_NONE};
	int rc = run(&r, NULL, mapping, &out->json);
	out->why = r.why;
	return rc;
}

int transform_holds(const struct mapping *conditions, struct json record, struct arena *arena, bool *out)
{
	struct running r = {.record = record, .arena = arena, .why = STR_NONE};
	return all_hold(&r, NULL, conditions, out);
}
