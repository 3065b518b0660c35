#include "rates.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURRENCIES  (26 * 26 * 26)
#define RATES_MAX   5000000
#define COLUMNS_MAX 200
#define LINE_SIZE   8192

struct row { /* as read */
	int currency;
	unsigned order;
	struct rate rate;
};

struct rates {
	struct row *rows; /* by currency, then day */
	size_t count, room;
	uint32_t first[CURRENCIES + 1];
};

int currency_of(const char *text, size_t len)
{
	int code = 0;
	if (len != CURRENCY_LEN) return -1;
	for (size_t i = 0; i < len; i++) {
		int letter = (text[i] | 0x20) - 'a';
		if (letter < 0 || letter > 25) return -1;
		code = code * 26 + letter;
	}
	return code;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

struct table {
	struct rates *rates;
	bool is_wide;
	size_t columns;
	int currency[COLUMNS_MAX]; /* wide: of each column, -1: none */
	size_t date, name, value;  /* long: which column is which */
};

static char *trim(char *text)
{
	while (*text == ' ' || *text == '\t') text++;
	size_t len = strlen(text);
	while (len && strchr(" \t\r\n", text[len - 1])) text[--len] = '\0';
	return text;
}

static size_t split(char *line, char **fields)
{
	size_t count = 0;
	for (char *rest = line; rest && count < COLUMNS_MAX;) fields[count++] = trim(strsep(&rest, ","));
	return count;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar. */
static int32_t days_of(int year, int month, int day)
{
	int y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
	int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool read_date(const char *text, int32_t *out)
{
	int year, month, day, len = 0;
	if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &len) != 3 || len != 10 || text[10]) return false;
	if (year < 1900 || month < 1 || month > 12 || day < 1 || day > 31) return false;
	*out = days_of(year, month, day);
	return true;
}

static const char *add(struct rates *rates, int currency, int32_t day, const char *text)
{
	struct row row = {.currency = currency, .order = (unsigned)rates->count, .rate = {.day = day}};
	if (!decimal_read(text, strlen(text), &row.rate.units) || row.rate.units.units <= 0)
		return "a rate is a number above 0 of at most 12 decimal places";
	if (rates->count == rates->room) {
		size_t room = rates->room * 2 + 1024;
		struct row *rows = room <= RATES_MAX * 2 ? realloc(rates->rows, room * sizeof *rows) : NULL;
		if (!rows) return "too many rates";
		rates->rows = rows;
		rates->room = room;
	}
	rates->rows[rates->count++] = row;
	return NULL;
}

static const char *read_header(struct table *table, char **fields, size_t count)
{
	table->columns = count;
	table->date = table->name = table->value = COLUMNS_MAX;
	for (size_t i = 0; i < count; i++) {
		table->currency[i] = currency_of(fields[i], strlen(fields[i]));
		if (strcasecmp(fields[i], "date") == 0) table->date = i;
		if (strcasecmp(fields[i], "currency") == 0) table->name = i;
		if (strcasecmp(fields[i], "rate") == 0) table->value = i;
	}
	if (table->date == COLUMNS_MAX) return "the first line names the columns: date,currency,rate or date,USD,JPY,…";
	table->is_wide = table->name == COLUMNS_MAX || table->value == COLUMNS_MAX;
	for (size_t i = 0; i < count && table->is_wide; i++) {
		if (i != table->date && table->currency[i] < 0 && fields[i][0])
			return "a column is neither date nor a currency of three letters";
	}
	return NULL;
}

static bool is_absent(const char *text)
{
	return !*text || strcasecmp(text, "N/A") == 0 || strcmp(text, "-") == 0;
}

static const char *read_row(struct table *table, char **fields, size_t count)
{
	int32_t day;
	if (table->date >= count || !read_date(fields[table->date], &day)) return "a date is written 2026-11-21";
	if (!table->is_wide) {
		if (table->name >= count || table->value >= count) return "fields are missing";
		int currency = currency_of(fields[table->name], strlen(fields[table->name]));
		if (currency < 0) return "a currency has three letters";
		return add(table->rates, currency, day, fields[table->value]);
	}
	for (size_t i = 0; i < count && i < table->columns; i++) {
		if (i == table->date || table->currency[i] < 0 || is_absent(fields[i])) continue;
		const char *wrong = add(table->rates, table->currency[i], day, fields[i]);
		if (wrong) return wrong;
	}
	return NULL;
}

static int by_currency(const void *a, const void *b)
{
	const struct row *left = a, *right = b;
	if (left->currency != right->currency) return left->currency < right->currency ? -1 : 1;
	if (left->rate.day != right->rate.day) return left->rate.day < right->rate.day ? -1 : 1;
	return (left->order > right->order) - (left->order < right->order);
}

static void index_rows(struct rates *rates)
{
	size_t at = 0;
	if (rates->count) qsort(rates->rows, rates->count, sizeof *rates->rows, by_currency);
	for (int currency = 0; currency <= CURRENCIES; currency++) {
		while (at < rates->count && rates->rows[at].currency < currency) at++;
		rates->first[currency] = (uint32_t)at;
	}
}

static const char *read_lines(struct table *table, FILE *in, int *number)
{
	char line[LINE_SIZE], *fields[COLUMNS_MAX];
	while (fgets(line, sizeof line, in)) {
		++*number;
		if (strlen(line) == sizeof line - 1) return "the line is too long";
		char *text = trim(line);
		if (*text == '\0' || *text == '#') continue;
		size_t count = split(text, fields);
		const char *wrong = table->columns ? read_row(table, fields, count) : read_header(table, fields, count);
		if (wrong) return wrong;
	}
	return table->rates->count ? NULL : "there are no rates in it";
}

static void unload(void *object)
{
	struct rates *rates = object;
	free(rates->rows);
	free(rates);
}

static void *load(const char *path, char why[WATCHED_WHY_MAX])
{
	int number = 0;
	struct rates *rates = calloc(1, sizeof *rates);
	struct table table = {.rates = rates};
	FILE *in = rates ? fopen(path, "r") : NULL;
	if (!in) {
		snprintf(why, WATCHED_WHY_MAX, "%s", strerror(rates ? errno : ENOMEM));
		free(rates);
		return NULL;
	}
	const char *wrong = read_lines(&table, in, &number);
	fclose(in);
	if (!wrong) {
		index_rows(rates);
		return rates;
	}
	snprintf(why, WATCHED_WHY_MAX, "line %d: %s", number, wrong);
	unload(rates);
	return NULL;
}

const struct watched_kind rates_kind = {load, unload};

/* ── asking ──────────────────────────────────────────────────────────────── */

/* Of two rates of one day the later line counts. */
enum rate_answer rates_find(const struct rates *rates, int currency, int32_t day, const struct rate **out)
{
	size_t first = rates->first[currency], low = first, high = rates->first[currency + 1];
	if (low == high) return RATE_UNKNOWN;
	while (low < high) { /* the first that is later */
		size_t middle = (low + high) / 2;
		if (rates->rows[middle].rate.day <= day)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == first) return RATE_NONE_YET;
	*out = &rates->rows[low - 1].rate;
	return RATE_FOUND;
}
