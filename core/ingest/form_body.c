#include "ingest/form_body.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/json.h"

#define BOUNDARY_MAX 70 /* RFC 2046 */

struct fields {
	struct arena *arena;
	struct form_field *items;
	size_t count;
};

static int add(struct fields *fields, struct str name, struct str value)
{
	if (fields->count == FORM_FIELDS_MAX) return ERR_TOO_LARGE;
	if (!utf8_is_valid(name) || !utf8_is_valid(value)) return ERR_INVALID;
	if (name.len) fields->items[fields->count++] = (struct form_field){name, value};
	return OK;
}

static struct str from(struct str text, size_t at)
{
	return str_of(text.ptr + at, text.len - at);
}

/* ── application/x-www-form-urlencoded ─────────────────────────────────────── */

static int decode(struct arena *arena, struct str text, struct str *out)
{
	char *copy = arena_alloc(arena, text.len + 1);
	if (!copy) return ERR_NOMEM;
	for (size_t i = 0; i < text.len; i++) copy[i] = text.ptr[i] == '+' ? ' ' : text.ptr[i];
	return percent_decode(arena, str_of(copy, text.len), out);
}

static int parse_urlencoded(struct fields *fields, struct str body)
{
	int rc = OK;
	while (body.len && rc == OK) {
		const char *end = memchr(body.ptr, '&', body.len);
		struct str pair = str_of(body.ptr, end ? (size_t)(end - body.ptr) : body.len);
		const char *equals = memchr(pair.ptr, '=', pair.len);
		size_t name_len = equals ? (size_t)(equals - pair.ptr) : pair.len;
		struct str name, value = STR_NONE;
		body = from(body, pair.len + (end != NULL));
		rc = decode(fields->arena, str_of(pair.ptr, name_len), &name);
		if (rc == OK && equals) rc = decode(fields->arena, from(pair, name_len + 1), &value);
		if (rc == OK) rc = add(fields, name, value);
	}
	return rc;
}

/* ── multipart/form-data ───────────────────────────────────────────────────── */

/* The value of `key="…"` or `key=…` among a header's parameters. */
static bool parameter(struct str header, struct str key, struct str *out)
{
	while (header.len) {
		const char *semicolon = memchr(header.ptr, ';', header.len);
		if (!semicolon) return false;
		header = str_trim(from(header, (size_t)(semicolon - header.ptr) + 1));
		if (header.len <= key.len || header.ptr[key.len] != '=' ||
		    !str_eq_nocase(str_of(header.ptr, key.len), key))
			continue;
		struct str value = from(header, key.len + 1);
		bool is_quoted = value.len && value.ptr[0] == '"';
		if (is_quoted) value = from(value, 1);
		const char *end = memchr(value.ptr, is_quoted ? '"' : ';', value.len);
		if (is_quoted && !end) return false;
		*out = end ? str_of(value.ptr, (size_t)(end - value.ptr)) : value;
		return true;
	}
	return false;
}

static const char *find(struct str text, struct str what)
{
	return text.len >= what.len ? memmem(text.ptr, text.len, what.ptr, what.len) : NULL;
}

/* One line of a part's header; its end is CRLF. */
static bool take_line(struct str *rest, struct str *line)
{
	const char *end = find(*rest, STR("\r\n"));
	if (!end) return false;
	*line = str_of(rest->ptr, (size_t)(end - rest->ptr));
	*rest = from(*rest, line->len + 2);
	return true;
}

/* A part behind its boundary: header lines, an empty one, the value. */
static int parse_part(struct fields *fields, struct str part)
{
	const struct str disposition = STR("content-disposition:");
	struct str line, name = STR_NONE;
	for (;;) {
		if (!take_line(&part, &line)) return ERR_INVALID;
		if (line.len == 0) break;
		bool names =
		    line.len > disposition.len && str_eq_nocase(str_of(line.ptr, disposition.len), disposition);
		if (names && !parameter(line, STR("name"), &name)) return ERR_INVALID;
	}
	return add(fields, name, part);
}

static int parse_multipart(struct fields *fields, struct str content_type, struct str body)
{
	char text[BOUNDARY_MAX + 5];
	struct str boundary;
	if (!parameter(content_type, STR("boundary"), &boundary) || boundary.len == 0 || boundary.len > BOUNDARY_MAX ||
	    memchr(boundary.ptr, '\0', boundary.len))
		return ERR_INVALID;
	(void)snprintf(text, sizeof text, "\r\n--%.*s", STR_ARG(boundary));
	struct str delimiter = str_of(text, boundary.len + 4), first = from(delimiter, 2);
	if (!str_starts(body, first)) return ERR_INVALID;
	body = from(body, first.len);
	while (!str_starts(body, STR("--"))) {
		if (!str_starts(body, STR("\r\n"))) return ERR_INVALID;
		body = from(body, 2);
		const char *end = find(body, delimiter);
		if (!end) return ERR_INVALID;
		size_t len = (size_t)(end - body.ptr);
		int rc = parse_part(fields, str_of(body.ptr, len));
		if (rc != OK) return rc;
		body = from(body, len + delimiter.len);
	}
	return OK;
}

int form_fields_parse(struct str content_type, struct str body, struct arena *arena, struct form_field **out,
		      size_t *count)
{
	struct fields fields = {.arena = arena, .items = arena_array(arena, struct form_field, FORM_FIELDS_MAX)};
	const char *end = memchr(content_type.ptr, ';', content_type.len);
	struct str mime = str_trim(str_of(content_type.ptr, end ? (size_t)(end - content_type.ptr) : content_type.len));
	int rc = ERR_INVALID;
	if (!fields.items) return ERR_NOMEM;
	if (str_eq_nocase(mime, STR("application/x-www-form-urlencoded"))) rc = parse_urlencoded(&fields, body);
	if (str_eq_nocase(mime, STR("multipart/form-data"))) rc = parse_multipart(&fields, content_type, body);
	*out = fields.items;
	*count = fields.count;
	return rc;
}

/* ── as JSON ───────────────────────────────────────────────────────────────── */

/* What the text stands for: the option that is spelled so, a number, or text. What it is not, the definition's judge says. */
static void write_choice(struct json_out *out, const struct conf_question *question, struct str text)
{
	for (size_t i = 0; i < question->option_count; i++) {
		struct str json = question->options[i].json;
		bool is_text = json.len >= 2 && json.ptr[0] == '"';
		if (is_text || !str_eq(json, text)) continue;
		jo_raw(out, json);
		return;
	}
	jo_str(out, text);
}

static void write_one(struct json_out *out, const struct conf_question *question, struct str text)
{
	double number;
	switch (question->type) {
	case QUESTION_SINGLE:
	case QUESTION_MULTIPLE: write_choice(out, question, text); break;
	case QUESTION_SCALE:
	case QUESTION_NUMBER:
		if (decimal_parse(text, &number))
			jo_raw(out, text);
		else
			jo_str(out, text);
		break;
	default: jo_str(out, text);
	}
}

static const struct form_field *find_field(const struct form_field *fields, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (fields[i].value.len && str_eq(fields[i].name, name)) return &fields[i];
	return NULL;
}

static void write_question(struct json_out *out, const struct conf_question *question, const struct form_field *fields,
			   size_t count)
{
	const struct form_field *first = find_field(fields, count, question->id);
	if (!first) return;
	jo_key(out, question->id);
	if (question->type != QUESTION_MULTIPLE) {
		write_one(out, question, first->value);
		return;
	}
	jo_array(out);
	for (size_t i = 0; i < count; i++)
		if (fields[i].value.len && str_eq(fields[i].name, question->id))
			write_one(out, question, fields[i].value);
	jo_end_array(out);
}

/* quiet_hours.from and quiet_hours.to */
static void write_hours(struct json_out *out, const struct conf_question *question, const struct form_field *fields,
			size_t count)
{
	static const char *const ends[] = {"from", "to"};
	bool is_open = false;
	for (size_t i = 0; i < count; i++) {
		struct str name = fields[i].name;
		for (size_t k = 0; k < COUNT_OF(ends); k++) {
			struct str end = str_from(ends[k]);
			if (!fields[i].value.len || name.len != question->id.len + 1 + end.len ||
			    !str_starts(name, question->id) || name.ptr[question->id.len] != '.' ||
			    !str_eq(from(name, question->id.len + 1), end))
				continue;
			if (!is_open) {
				jo_key(out, question->id);
				jo_object(out);
			}
			is_open = true;
			jo_key(out, end);
			jo_str(out, fields[i].value);
		}
	}
	if (is_open) jo_end_object(out);
}

static bool is_member(struct str name)
{
	static const char *const members[] = {"token", "version", "partial", "responseId", "refused"};
	for (size_t i = 0; i < COUNT_OF(members); i++)
		if (str_eq(name, str_from(members[i]))) return true;
	return str_starts(name, STR("__amp_")) || str_starts(name, STR("consent."));
}

static bool is_known(const struct conf_form *form, struct str name)
{
	const char *dot = memchr(name.ptr, '.', name.len);
	struct str id = dot ? str_of(name.ptr, (size_t)(dot - name.ptr)) : name;
	size_t index = form_question_index(form, id);
	if (index == form->question_count) return false;
	return (form->questions[index].type == QUESTION_HOURS) == (dot != NULL);
}

static void write_answers(struct json_out *out, const struct conf_form *form, const struct form_field *fields,
			  size_t count)
{
	jo_key(out, form->kind == FORM_PREFERENCES ? STR("preferences") : STR("answers"));
	jo_object(out);
	for (size_t i = 0; i < form->question_count; i++) {
		if (form->questions[i].type == QUESTION_HOURS)
			write_hours(out, &form->questions[i], fields, count);
		else
			write_question(out, &form->questions[i], fields, count);
	}
	for (size_t i = 0; i < count; i++) {
		if (is_member(fields[i].name) || is_known(form, fields[i].name)) continue;
		jo_key(out, fields[i].name);
		jo_str(out, fields[i].value);
		break; /* the first is refused, and the whole with it */
	}
	jo_end_object(out);
}

static bool is_yes(struct str value)
{
	return str_eq(value, STR("true")) || str_eq(value, STR("on")) || str_eq(value, STR("1"));
}

static void write_lists(struct json_out *out, const struct form_field *fields, size_t count)
{
	const struct str prefix = STR("consent.");
	jo_key(out, STR("refused"));
	jo_array(out);
	for (size_t i = 0; i < count; i++)
		if (fields[i].value.len && str_eq(fields[i].name, STR("refused"))) jo_str(out, fields[i].value);
	jo_end_array(out);
	jo_key(out, STR("consents"));
	jo_object(out);
	for (size_t i = 0; i < count; i++) {
		if (!str_starts(fields[i].name, prefix)) continue;
		jo_key(out, from(fields[i].name, prefix.len));
		jo_bool(out, is_yes(fields[i].value));
	}
	jo_end_object(out);
}

static void write_members(struct json_out *out, const struct form_field *fields, size_t count)
{
	static const char *const texts[] = {"token", "responseId"};
	uint64_t version;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		const struct form_field *field = find_field(fields, count, str_from(texts[i]));
		if (!field) continue;
		jo_key(out, field->name);
		jo_str(out, field->value);
	}
	const struct form_field *field = find_field(fields, count, STR("version"));
	if (field) {
		jo_key(out, field->name);
		if (str_to_u64(field->value, &version) == OK)
			jo_uint(out, version);
		else
			jo_str(out, field->value);
	}
	field = find_field(fields, count, STR("partial"));
	if (!field) return;
	jo_key(out, field->name);
	jo_bool(out, is_yes(field->value));
}

int form_fields_write(struct buf *text, const struct conf_form *form, const struct form_field *fields, size_t count)
{
	struct json_out out;
	json_out_init(&out, text);
	jo_object(&out);
	write_members(&out, fields, count);
	write_answers(&out, form, fields, count);
	write_lists(&out, fields, count);
	jo_end_object(&out);
	return out.status;
}
