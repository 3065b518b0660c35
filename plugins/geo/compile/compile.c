/* geo-compile TABLE.csv OUT.mmdb: a small MaxMind DB file from a readable table, for the quickstart, tests and one's own networks. The first
 * column is the network; the others say in their names where in a record they stand and of which type they are:
 *
 *	network,country.iso_code,city.names.en,location.latitude:number,autonomous_system_number:whole
 *
 * Fields are split at commas, without quotes; empty ones are absent; lines that begin with # are passed over. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmdb_writer.h"

#define LINE_MAX_LEN 4096

struct table {
	char header[LINE_MAX_LEN];
	struct mmdb_column columns[MMDB_COLUMNS_MAX];
	size_t count;
};

static size_t split(char *text, char by, char **parts, size_t max)
{
	size_t count = 0;
	for (char *rest = text; rest && count < max;) {
		parts[count++] = rest;
		rest = strchr(rest, by);
		if (rest) *rest++ = '\0';
	}
	return count;
}

static const char *read_column(char *name, struct mmdb_column *out)
{
	char *type = strchr(name, ':'), *steps[MMDB_STEPS_MAX];
	if (type) *type++ = '\0';
	if (!type)
		out->type = MMDB_TEXT;
	else if (strcmp(type, "number") == 0)
		out->type = MMDB_NUMBER;
	else if (strcmp(type, "whole") == 0)
		out->type = MMDB_WHOLE;
	else
		return "a column's type is number, whole, or none for text";
	out->step_count = split(name, '.', steps, MMDB_STEPS_MAX);
	for (size_t i = 0; i < out->step_count; i++) out->steps[i] = steps[i];
	return name[0] ? NULL : "a column without a name";
}

static const char *read_header(struct table *table, const char *line)
{
	char *names[MMDB_COLUMNS_MAX + 1];
	memcpy(table->header, line, strlen(line) + 1);
	size_t count = split(table->header, ',', names, MMDB_COLUMNS_MAX + 1);
	if (count < 2 || strcmp(names[0], "network") != 0) return "the first column is 'network', and there are others";
	table->count = count - 1;
	for (size_t i = 0; i < table->count; i++) {
		const char *wrong = read_column(names[i + 1], &table->columns[i]);
		if (wrong) return wrong;
	}
	return NULL;
}

static const char *read_row(const struct table *table, struct mmdb_writer *writer, char *line)
{
	char *fields[MMDB_COLUMNS_MAX + 1] = {NULL};
	if (split(line, ',', fields, MMDB_COLUMNS_MAX + 1) > table->count + 1) return "more fields than columns";
	return mmdb_writer_add(writer, fields[0], (const char *const *)fields + 1);
}

/* Reads the table; the line that something is wrong with in *number. */
static const char *read_table(FILE *in, struct table *table, struct mmdb_writer **writer, int *number)
{
	char line[LINE_MAX_LEN];
	const char *wrong = NULL;
	while (!wrong && fgets(line, sizeof line, in)) {
		++*number;
		size_t len = strlen(line);
		if (len == sizeof line - 1) return "the line is too long";
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r')) line[--len] = '\0';
		if (line[0] == '#' || line[0] == '\0') continue;
		if (strchr(line, '"')) return "quotes are not understood";
		if (*writer) {
			wrong = read_row(table, *writer, line);
			continue;
		}
		wrong = read_header(table, line);
		if (!wrong && !(*writer = mmdb_writer_new(table->columns, table->count))) wrong = "out of memory";
	}
	return wrong || *writer ? wrong : "the table is empty";
}

/* A half-written file never has the final name. */
static const char *write_file(struct mmdb_writer *writer, const char *path)
{
	char temporary[4096];
	if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) >= sizeof temporary)
		return "the name is too long";
	FILE *out = fopen(temporary, "wb");
	if (!out) return "cannot be written";
	const char *wrong = mmdb_writer_write(writer, "geo-compile", out);
	if (fclose(out) != 0 && !wrong) wrong = "cannot be written";
	if (!wrong && rename(temporary, path) != 0) wrong = "cannot be renamed";
	if (wrong) (void)unlink(temporary);
	return wrong;
}

int main(int argc, char **argv)
{
	static struct table table;
	struct mmdb_writer *writer = NULL;
	int number = 0;
	if (argc != 3) {
		fprintf(stderr, "usage: geo-compile TABLE.csv OUT.mmdb\n");
		return 2;
	}
	FILE *in = fopen(argv[1], "r");
	if (!in) {
		perror(argv[1]);
		return 1;
	}
	const char *wrong = read_table(in, &table, &writer, &number);
	fclose(in);
	if (wrong)
		fprintf(stderr, "%s:%d: %s\n", argv[1], number, wrong);
	else if ((wrong = write_file(writer, argv[2])))
		fprintf(stderr, "%s: %s\n", argv[2], wrong);
	mmdb_writer_free(writer);
	return wrong ? 1 : 0;
}
