#include "ctl/print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define COLUMNS_MAX 16

struct table {
	const char *const *titles;
	size_t columns, count, size;
	char **cells;
};

/* C0, DEL and, in UTF-8, C1. */
static size_t control_len(struct str text, size_t at)
{
	uint8_t c = (uint8_t)text.ptr[at];
	if (c < 0x20 || c == 0x7f) return 1;
	bool is_c1 =
	    c == 0xc2 && at + 1 < text.len && (uint8_t)text.ptr[at + 1] >= 0x80 && (uint8_t)text.ptr[at + 1] < 0xa0;
	return is_c1 ? 2 : 0;
}

void print_text(FILE *out, struct str text)
{
	for (size_t i = 0; i < text.len;) {
		size_t control = control_len(text, i);
		(void)fputc(control ? '?' : text.ptr[i], out);
		i += control ? control : 1;
	}
}

/* Characters, not bytes; wide ones count one, which is good enough for a column. */
static size_t width_of(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		if (((uint8_t)*text & 0xc0) != 0x80) width++;
	return width;
}

struct table *table_new(const char *const *titles)
{
	struct table *table = calloc(1, sizeof *table);
	if (!table) return NULL;
	table->titles = titles;
	while (titles[table->columns]) table->columns++;
	CHECK(table->columns && table->columns <= COLUMNS_MAX);
	return table;
}

size_t table_rows(const struct table *table)
{
	return table ? table->count / table->columns : 0;
}

void table_cell(struct table *table, struct str text)
{
	if (!table) return;
	if (table->count == table->size) {
		size_t size = table->size ? table->size * 2 : 64;
		char **cells = reallocarray(table->cells, size, sizeof *cells);
		if (!cells) return;
		table->cells = cells;
		table->size = size;
	}
	char *cell = malloc(text.len + 1);
	if (!cell) return;
	size_t len = 0;
	for (size_t i = 0; i < text.len;) {
		size_t control = control_len(text, i);
		cell[len++] = control ? '?' : text.ptr[i];
		i += control ? control : 1;
	}
	cell[len] = '\0';
	table->cells[table->count++] = cell;
}

void table_cell_f(struct table *table, const char *fmt, ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	table_cell(table, str_from(text));
}

static void print_row(const struct table *table, FILE *out, int indent, const char *const *cells, const size_t *widths)
{
	(void)fprintf(out, "%*s", indent, "");
	for (size_t i = 0; i < table->columns; i++) {
		(void)fputs(cells[i], out);
		if (i + 1 < table->columns) (void)fprintf(out, "%*s", (int)(widths[i] - width_of(cells[i]) + 2), "");
	}
	(void)fputc('\n', out);
}

void table_print(struct table *table, FILE *out, int indent)
{
	if (!table) return;
	size_t widths[COLUMNS_MAX] = {0};
	size_t rows = table_rows(table);
	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = width_of(table->titles[c]);
		for (size_t r = 0; r < rows; r++) {
			size_t width = width_of(table->cells[r * table->columns + c]);
			if (width > widths[c]) widths[c] = width;
		}
	}
	if (rows) print_row(table, out, indent, table->titles, widths);
	for (size_t r = 0; r < rows; r++)
		print_row(table, out, indent, (const char *const *)&table->cells[r * table->columns], widths);
	for (size_t i = 0; i < table->count; i++) free(table->cells[i]);
	free(table->cells);
	free(table);
}

struct str json_text_at(struct json root, const char *path)
{
	struct json value;
	struct str text;
	return json_get_path(root, str_from(path), &value) && json_str(value, &text) ? text : STR_NONE;
}

int64_t json_int_at(struct json root, const char *path)
{
	struct json value;
	int64_t number;
	return json_get_path(root, str_from(path), &value) && json_int(value, &number) ? number : 0;
}

bool json_bool_at(struct json root, const char *path)
{
	struct json value;
	bool is_true;
	return json_get_path(root, str_from(path), &value) && json_bool(value, &is_true) && is_true;
}

void table_cell_json(struct table *table, struct json value, size_t max)
{
	struct str text;
	struct buf buf;
	buf_init(&buf, 1 << 20);
	if (!json_str(value, &text)) text = json_write(&buf, value) == OK ? buf_str(&buf) : STR("…");
	if (text.len <= max) {
		table_cell(table, text);
	} else {
		while (max && ((uint8_t)text.ptr[max] & 0xc0) == 0x80) max--; /* not inside a character */
		table_cell_f(table, "%.*s…", (int)(max < 200 ? max : 200), text.ptr);
	}
	buf_fini(&buf);
}

void format_bytes(uint64_t bytes, char out[32])
{
	static const char *const UNITS[] = {"B", "kB", "MB", "GB", "TB"};
	double value = (double)bytes;
	size_t unit = 0;
	for (; value >= 1000 && unit + 1 < COUNT_OF(UNITS); unit++) value /= 1000;
	(void)snprintf(out, 32, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, UNITS[unit]);
}

void format_seconds(int64_t seconds, char out[32])
{
	if (seconds < 120)
		(void)snprintf(out, 32, "%" PRId64 " s", seconds);
	else if (seconds < 7200)
		(void)snprintf(out, 32, "%" PRId64 " min", seconds / 60);
	else if (seconds < 172800)
		(void)snprintf(out, 32, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds / 60 % 60);
	else
		(void)snprintf(out, 32, "%" PRId64 " days", seconds / 86400);
}
