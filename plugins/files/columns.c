/* Columns: what of a record is in which field, and as what. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "files.h"

static const char *const type_names[TYPE_COUNT] = {"string", "long", "double", "boolean", "timestamp", "json"};

/* ── reading them ────────────────────────────────────────────────────────── */

static bool is_avro_name(const char *text)
{
	if (!isalpha((unsigned char)text[0]) && text[0] != '_') return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && *text != '_') return false;
	return true;
}

static const char *what_is_wrong(const struct output *output, const struct column *column)
{
	if (!column->name[0] || !column->path[0]) return "a column is a path, name=path or name=path:type";
	for (size_t i = 0; i < output->column_count; i++)
		if (strcmp(output->columns[i].name, column->name) == 0) return "two columns have this name";
	if (output->files->format != &format_avro) return NULL;
	if (strcmp(column->name, "time") == 0 || strcmp(column->name, "json") == 0)
		return "every Avro record has this field already";
	return is_avro_name(column->name) ? NULL : "Avro names hold letters, digits and '_': give it one, name=path";
}

/* What stands behind the last ':', when it is a type. */
static enum column_type cut_type(struct cdpd_str *item)
{
	const char *colon = memrchr(item->ptr, ':', item->len);
	for (enum column_type t = 0; colon && t < TYPE_COUNT; t++) {
		size_t len = (size_t)(item->ptr + item->len - colon - 1);
		if (strlen(type_names[t]) != len || memcmp(colon + 1, type_names[t], len) != 0) continue;
		item->len = (size_t)(colon - item->ptr);
		return t;
	}
	return TYPE_STRING;
}

static enum column_source source_of(const char *path)
{
	if (strcmp(path, "profileId") == 0) return FROM_PROFILE_ID;
	if (strcmp(path, "deliveryId") == 0) return FROM_DELIVERY_ID;
	return strcmp(path, "position") == 0 ? FROM_POSITION : FROM_JSON;
}

const char *column_add(struct output *output, struct cdpd_str item)
{
	if (output->column_count == COLUMNS_MAX) return "there are too many columns";
	struct column *column = &output->columns[output->column_count];
	*column = (struct column){.type = cut_type(&item)};
	const char *equals = memchr(item.ptr, '=', item.len);
	size_t name = equals ? (size_t)(equals - item.ptr) : item.len, path = equals ? name + 1 : 0;
	column->name = strndup(item.ptr, name);
	column->path = strndup(item.ptr + path, item.len - path);
	const char *why = column->name && column->path ? what_is_wrong(output, column) : "out of memory";
	if (!why) {
		column->source = source_of(column->path);
		column->node = column->source == FROM_JSON ? picker_add(&output->picker, column->path) : 0;
		if (column->source == FROM_JSON && !column->node) why = "out of memory";
	}
	output->column_count++;
	return why;
}

void columns_free(struct output *output)
{
	for (size_t i = 0; i < output->column_count; i++) {
		free(output->columns[i].name);
		free(output->columns[i].path);
	}
	picker_free(&output->picker);
}

/* ── their values ────────────────────────────────────────────────────────── */

static bool is_null(struct cdpd_str text)
{
	return !text.ptr || text.len == 0 || (text.len == 4 && memcmp(text.ptr, "null", 4) == 0);
}

bool value_is_absent(struct value value)
{
	return is_null(value.text);
}

static bool is_string(struct value value)
{
	return value.is_json && value.text.len >= 2 && value.text.ptr[0] == '"';
}

/* Without the quotes of a string. NULL: it does not fit. */
static const char *copy_plain(struct value value, char out[64])
{
	struct cdpd_str text = value.text;
	if (is_string(value)) text = (struct cdpd_str){text.ptr + 1, text.len - 2};
	if (text.len == 0 || text.len >= 64) return NULL;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return out;
}

static bool read_long(const char *text, int64_t *out)
{
	char *end;
	double number = strtod(text, &end);
	if (*end || isspace((unsigned char)*text) || !(number >= -9.3e18 && number <= 9.3e18) || rint(number) != number)
		return false;
	/* 12 and -3 to their last digit; 1e3 and 12.0 as what they are. */
	*out = strtoll(text, &end, 10);
	if (*end && !(fabs(number) < 9e15)) return false;
	if (*end) *out = (int64_t)number;
	return true;
}

static bool read_double(const char *text, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return !*end && !isspace((unsigned char)*text) && isfinite(*out);
}

static int digits(const char *at, int count)
{
	int number = 0;
	for (int i = 0; i < count; i++) {
		if (at[i] < '0' || at[i] > '9') return -1;
		number = 10 * number + (at[i] - '0');
	}
	return number;
}

/* The µs of ".5", and where they end. */
static const char *read_fraction(const char *at, int64_t *us)
{
	int64_t unit = 100000;
	*us = 0;
	if (*at != '.') return at;
	for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10) *us += unit * (*at - '0');
	return at;
}

/* "Z" or "+02:00", in seconds. */
static bool read_zone(const char *at, int64_t *seconds)
{
	*seconds = 0;
	if (strcmp(at, "Z") == 0) return true;
	if ((*at != '+' && *at != '-') || strlen(at) != 6 || at[3] != ':') return false;
	int hours = digits(at + 1, 2), minutes = digits(at + 4, 2);
	if (hours < 0 || minutes < 0) return false;
	*seconds = (hours * 60 + minutes) * INT64_C(60) * (*at == '-' ? -1 : 1);
	return true;
}

/* RFC 3339. */
static bool read_timestamp(const char *text, int64_t *us)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	size_t len = strlen(text);
	if (len < sizeof shape) return false;
	for (size_t i = 0; i < sizeof shape - 1; i++) {
		bool is_digit = text[i] >= '0' && text[i] <= '9';
		if (shape[i] == 'd' ? !is_digit : text[i] != shape[i]) return false;
	}
	struct tm tm = {.tm_year = digits(text, 4) - 1900,
			.tm_mon = digits(text + 5, 2) - 1,
			.tm_mday = digits(text + 8, 2),
			.tm_hour = digits(text + 11, 2),
			.tm_min = digits(text + 14, 2),
			.tm_sec = digits(text + 17, 2)};
	int64_t fraction, zone;
	const char *behind = read_fraction(text + sizeof shape - 1, &fraction);
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 24 || tm.tm_min > 59 ||
	    tm.tm_sec > 60 || !read_zone(behind, &zone))
		return false;
	*us = ((int64_t)timegm(&tm) - zone) * 1000000 + fraction;
	return true;
}

static bool read_boolean(const char *text, int64_t *out)
{
	*out = strcmp(text, "true") == 0;
	return *out || strcmp(text, "false") == 0;
}

bool column_number(const struct column *column, struct value value, int64_t *integer, double *number)
{
	char text[64];
	if (is_null(value.text) || !copy_plain(value, text)) return false;
	switch (column->type) {
	case TYPE_LONG: return read_long(text, integer);
	case TYPE_DOUBLE: return read_double(text, number);
	case TYPE_BOOLEAN: return read_boolean(text, integer);
	case TYPE_TIMESTAMP: return read_timestamp(text, integer);
	default: return false;
	}
}

bool column_text(const struct column *column, struct value value, struct bytes *out)
{
	int64_t integer;
	double number;
	if (is_null(value.text)) return false;
	if (column->type != TYPE_STRING && column->type != TYPE_JSON &&
	    !column_number(column, value, &integer, &number))
		return false;
	if (is_string(value) && column->type != TYPE_JSON)
		json_decode(value.text, out);
	else if (value.is_json || column->type != TYPE_JSON)
		bytes_add(out, value.text.ptr, value.text.len);
	else { /* our own words: plain ASCII */
		bytes_text(out, "\"");
		bytes_add(out, value.text.ptr, value.text.len);
		bytes_text(out, "\"");
	}
	return true;
}
