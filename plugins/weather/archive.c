#include "archive.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "condition.h"

#define RADIUS_KM  50
#define EARTH_KM   6371
#define FIELDS_MAX 64
#define DAY_H      24
#define NO_OFFSET  32767

enum column {
	DATE,
	TIME,
	TEMPERATURE,
	TEMP_MAX,
	TEMP_MIN,
	FEELS_LIKE,
	PRECIPITATION,
	WIND,
	HUMIDITY,
	IS_DAY,
	WEATHER,
	COLUMNS
};
static const char *const column_names[COLUMNS] = {"date",     "time",       "temperature",   "temp_max",
						  "temp_min", "feels_like", "precipitation", "wind",
						  "humidity", "is_day",     "weather"};

struct row {
	int64_t at; /* days or hours since 1970 */
	float temperature, feels_like, precipitation, wind, humidity;
	int16_t code;
	int8_t is_day;
};
struct archive {
	char path[ARCHIVE_PATH_MAX];
	double latitude, longitude, radius_km;
	struct row *rows; /* sorted by `at` */
	size_t count;
	bool is_daily;
	struct timespec modified;
	off_t size;
	ino_t inode;
};

static bool fail(char why[ARCHIVE_WHY_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(char why[ARCHIVE_WHY_MAX], const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, ARCHIVE_WHY_MAX, fmt, args);
	va_end(args);
	return false;
}

/* ── one line ────────────────────────────────────────────────────────────── */

struct field {
	const char *text;
	size_t len;
};

/* Splits a line in place at commas; a field may stand in double quotes. */
static size_t split(char *line, struct field fields[FIELDS_MAX])
{
	size_t count = 0;
	for (char *at = line; count < FIELDS_MAX;) {
		bool is_quoted = *at == '"';
		if (is_quoted) at++;
		size_t len = is_quoted ? strcspn(at, "\"") : strcspn(at, ",");
		fields[count++] = (struct field){at, len};
		at += len;
		at += strcspn(at, ",");
		if (*at == 0) break;
		at++;
	}
	for (size_t i = 0; i < count; i++) ((char *)(uintptr_t)fields[i].text)[fields[i].len] = 0;
	return count;
}

static bool to_number(const struct field *field, float *out)
{
	char *end;
	*out = NAN;
	if (!field || field->len == 0) return true;
	*out = strtof(field->text, &end);
	return *end == 0 && !isinf(*out);
}

/* "2015-12-31", "2015/12/31", "2015-12-31T13:00[:00][Z]" as seconds; false: none of them. */
static bool to_time(const char *text, bool is_day, int64_t *out)
{
	struct tm tm = {0};
	int used = 0;
	if (sscanf(text, "%4d%*1[-/]%2d%*1[-/]%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3) return false;
	text += used;
	if (!is_day && (sscanf(text, "%*1[T ]%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &used) != 2)) return false;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23) return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*out = (int64_t)timegm(&tm);
	return true;
}

struct table {              /* a file being read */
	int place[COLUMNS]; /* of each column among the fields; -1: none */
	struct archive *into;
	size_t room;
	size_t line;
	char *why;
};

static const struct field *field_of(const struct table *table, const struct field *fields, size_t count,
				    enum column column)
{
	int place = table->place[column];
	return place >= 0 && (size_t)place < count ? &fields[place] : NULL;
}

static bool read_heads(struct table *table, char *line)
{
	struct field fields[FIELDS_MAX];
	size_t count = split(line, fields);
	for (int c = 0; c < COLUMNS; c++) {
		table->place[c] = -1;
		for (size_t i = 0; i < count; i++)
			if (strcmp(fields[i].text, column_names[c]) == 0) table->place[c] = (int)i;
	}
	if ((table->place[DATE] < 0) == (table->place[TIME] < 0))
		return fail(table->why, "the first line must name either a `date` or a `time` column");
	table->into->is_daily = table->place[DATE] >= 0;
	return true;
}

static bool read_numbers(const struct table *table, const struct field *fields, size_t count, struct row *row)
{
	float max, min, is_day;
	if (!to_number(field_of(table, fields, count, TEMPERATURE), &row->temperature) ||
	    !to_number(field_of(table, fields, count, TEMP_MAX), &max) ||
	    !to_number(field_of(table, fields, count, TEMP_MIN), &min) ||
	    !to_number(field_of(table, fields, count, FEELS_LIKE), &row->feels_like) ||
	    !to_number(field_of(table, fields, count, PRECIPITATION), &row->precipitation) ||
	    !to_number(field_of(table, fields, count, WIND), &row->wind) ||
	    !to_number(field_of(table, fields, count, HUMIDITY), &row->humidity) ||
	    !to_number(field_of(table, fields, count, IS_DAY), &is_day))
		return false;
	if (isnan(row->temperature)) row->temperature = (max + min) / 2;
	row->is_day = isnan(is_day) ? -1 : is_day != 0;
	return true;
}

static bool read_row(struct table *table, char *line)
{
	struct archive *archive = table->into;
	struct field fields[FIELDS_MAX];
	size_t count = split(line, fields);
	struct row row;
	int64_t time_s;
	const struct field *when = field_of(table, fields, count, archive->is_daily ? DATE : TIME);
	if (!when || !to_time(when->text, archive->is_daily, &time_s))
		return fail(table->why, "line %zu: no date like 2015-12-31 or time like 2015-12-31T13:00", table->line);
	if (!read_numbers(table, fields, count, &row))
		return fail(table->why, "line %zu: a field is no number", table->line);
	const struct field *weather = field_of(table, fields, count, WEATHER);
	row.code = (int16_t)(weather ? condition_from_word(weather->text, weather->len) : CONDITION_NONE);
	row.at = time_s / (archive->is_daily ? DAY_H * HOUR_S : HOUR_S);
	if (archive->count == table->room) {
		size_t room = table->room ? table->room * 2 : 1024;
		struct row *rows = realloc(archive->rows, room * sizeof *rows);
		if (!rows) return fail(table->why, "no memory");
		archive->rows = rows;
		table->room = room;
	}
	archive->rows[archive->count++] = row;
	return true;
}

/* ── the file ────────────────────────────────────────────────────────────── */

static int by_time(const void *a, const void *b)
{
	int64_t x = ((const struct row *)a)->at, y = ((const struct row *)b)->at;
	return (x > y) - (x < y);
}

static bool read_lines(struct archive *archive, FILE *file, char *why)
{
	struct table table = {.into = archive, .why = why};
	char line[4096];
	while (fgets(line, sizeof line, file)) {
		table.line++;
		size_t len = strlen(line);
		if (len == sizeof line - 1) return fail(why, "line %zu is too long", table.line);
		while (len && strchr("\r\n", line[len - 1])) line[--len] = 0;
		if (len == 0 || line[0] == '#') continue;
		if (table.place[DATE] == table.place[TIME] ? !read_heads(&table, line) : !read_row(&table, line))
			return false;
	}
	if (ferror(file)) return fail(why, "%s", strerror(errno));
	if (archive->count == 0) return fail(why, "there is no row in it");
	qsort(archive->rows, archive->count, sizeof archive->rows[0], by_time);
	return true;
}

/* Fills rows and the file's identity of `archive`, which has none yet. */
static bool read_file(struct archive *archive, char *why)
{
	struct stat info;
	FILE *file = fopen(archive->path, "re");
	if (!file) return fail(why, "%s", strerror(errno));
	bool is_good = fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode);
	if (!is_good || (size_t)info.st_size > ARCHIVE_BYTES_MAX) {
		fclose(file);
		return fail(why, "it is no file, or larger than 64 MiB");
	}
	archive->modified = info.st_mtim;
	archive->size = info.st_size;
	archive->inode = info.st_ino;
	is_good = read_lines(archive, file, why);
	fclose(file);
	return is_good;
}

/* The place stands at the end, so that a path may hold blanks. */
static bool parse(const char *text, size_t len, struct archive *out)
{
	char copy[ARCHIVE_PATH_MAX], *words[3], *end;
	if (len >= sizeof copy) return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	out->radius_km = RADIUS_KM;
	int wanted = len > 2 && strcmp(copy + len - 2, "km") == 0 ? 3 : 2;
	for (int i = wanted; i-- > 0;) {
		char *blank = strrchr(copy, ' ');
		if (!blank) return false;
		*blank = 0;
		words[i] = blank + 1;
	}
	out->latitude = strtod(words[0], &end);
	if (*end || !words[0][0]) return false;
	out->longitude = strtod(words[1], &end);
	if (*end || !words[1][0]) return false;
	if (wanted == 3) {
		out->radius_km = strtod(words[2], &end);
		if (strcmp(end, "km") != 0) return false;
	}
	memcpy(out->path, copy, strlen(copy) + 1);
	return copy[0] && fabs(out->latitude) <= 90 && fabs(out->longitude) <= 180 && out->radius_km > 0;
}

struct archive *archive_open(const char *text, size_t len, char why[ARCHIVE_WHY_MAX])
{
	struct archive *archive = calloc(1, sizeof *archive);
	if (!archive) {
		fail(why, "no memory");
		return NULL;
	}
	if (!parse(text, len, archive)) {
		fail(why, "an archive is given as FILE LATITUDE LONGITUDE [RADIUSkm], in degrees");
	} else if (read_file(archive, why)) {
		return archive;
	}
	archive_free(archive);
	return NULL;
}

void archive_free(struct archive *archive)
{
	if (archive) free(archive->rows);
	free(archive);
}

const char *archive_path(const struct archive *archive)
{
	return archive->path;
}

bool archive_refresh(struct archive *archive, char why[ARCHIVE_WHY_MAX])
{
	struct stat info;
	if (stat(archive->path, &info)) return fail(why, "%s", strerror(errno));
	if (info.st_mtim.tv_sec == archive->modified.tv_sec && info.st_mtim.tv_nsec == archive->modified.tv_nsec &&
	    info.st_size == archive->size && info.st_ino == archive->inode)
		return true;
	struct archive fresh = *archive;
	fresh.rows = NULL;
	fresh.count = 0;
	bool is_good = read_file(&fresh, why);
	/* What was wrong once is not read again before it changes. */
	archive->modified = fresh.modified;
	archive->size = fresh.size;
	archive->inode = fresh.inode;
	if (!is_good) {
		free(fresh.rows);
		return false;
	}
	free(archive->rows);
	*archive = fresh;
	return true;
}

/* ── looking up ──────────────────────────────────────────────────────────── */

static double distance_km(double latitude_a, double longitude_a, double latitude_b, double longitude_b)
{
	double radians = M_PI / 180;
	double north = sin((latitude_b - latitude_a) * radians / 2),
	       east = sin((longitude_b - longitude_a) * radians / 2);
	double h = north * north + cos(latitude_a * radians) * cos(latitude_b * radians) * east * east;
	return 2 * EARTH_KM * asin(sqrt(fmin(1, h)));
}

static const struct row *row_at(const struct archive *archive, int64_t at)
{
	struct row key = {.at = at};
	return bsearch(&key, archive->rows, archive->count, sizeof key, by_time);
}

static int64_t local_day(const struct spot *spot, int utc_offset_min)
{
	int64_t offset_s =
	    utc_offset_min == NO_OFFSET ? (int64_t)lround(spot->longitude / 15) * HOUR_S : (int64_t)utc_offset_min * 60;
	int64_t local_s = spot->hour * HOUR_S + offset_s;
	return local_s >= 0 ? local_s / (DAY_H * HOUR_S) : -1;
}

static int rained(const struct archive *archive, int64_t from, int64_t to)
{
	int answer = -1;
	for (int64_t at = from; at <= to; at++) {
		const struct row *row = row_at(archive, at);
		if (!row || isnan(row->precipitation)) continue;
		if (row->precipitation > 0) return 1;
		answer = 0;
	}
	return answer;
}

bool archive_find(const struct archive *archive, const struct spot *spot, int utc_offset_min, int recent_hours,
		  struct observation *out)
{
	if (distance_km(archive->latitude, archive->longitude, spot->latitude, spot->longitude) > archive->radius_km)
		return false;
	int64_t at = archive->is_daily ? local_day(spot, utc_offset_min) : spot->hour;
	const struct row *row = row_at(archive, at);
	if (!row) return false;
	observation_init(out, "archive");
	out->temperature_c = row->temperature;
	out->feels_like_c = row->feels_like;
	out->precipitation_mm = row->precipitation;
	out->wind_ms = row->wind;
	out->humidity_percent = row->humidity;
	out->code = row->code;
	out->is_day = row->is_day;
	out->rained = rained(archive, archive->is_daily ? at : at - recent_hours, at);
	return true;
}
