/* mmdb_writer: writes small MaxMind DB files (format 2.0, records of 32 bits) from a table. For demonstration, one's own networks and tests: a file
 * of millions of networks wants a tool of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum mmdb_type { MMDB_TEXT, MMDB_NUMBER, MMDB_WHOLE }; /* utf8_string, double, uint32 */

#define MMDB_STEPS_MAX   6
#define MMDB_COLUMNS_MAX 40

/* A column's place in a record: "subdivisions.0.iso_code" is the member iso_code of the first item of an array. */
struct mmdb_column {
	enum mmdb_type type;
	size_t step_count;
	const char *steps[MMDB_STEPS_MAX];
};

struct mmdb_writer;

/* The columns are borrowed until free; those with common steps stand together. NULL: out of memory. */
struct mmdb_writer *mmdb_writer_new(const struct mmdb_column *columns, size_t count);
void mmdb_writer_free(struct mmdb_writer *writer);
/* `network`: "192.0.2.0/24", "2001:db8::/32" or an address; `values`: one text a column, NULL or empty: absent. Networks
 * come in any order, the narrower wins. NULL, or a static text of what is wrong. */
const char *mmdb_writer_add(struct mmdb_writer *writer, const char *network, const char *const *values);
/* Only IPv4 networks make an IPv4 database. NULL, or a static text. */
const char *mmdb_writer_write(struct mmdb_writer *writer, const char *type, FILE *out);
