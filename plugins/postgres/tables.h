/* tables: the schema that the plugin keeps in the database, its versions, and the statements on it. */
#pragma once

#include "link.h"

#define TABLES_NAME_MAX 50 /* bytes of a schema's or table's name: index names are made of them */

enum on_erase { ON_ERASE_DELETE, ON_ERASE_ANONYMISE, ON_ERASE_KEEP };

struct tables {
	char schema[TABLES_NAME_MAX + 1], table[TABLES_NAME_MAX + 1];
	bool may_migrate;
	bool is_ready; /* on the present connection */
	char *insert;  /* $1: a run of cdpd_incoming */
	char *erase;   /* $1: the erasure as JSON; NULL: rows are kept */
};

/* Lower case letters, digits and '_', not beginning with a digit. */
bool tables_is_name(const char *text);
/* Makes the statements; false: out of memory. */
bool tables_init(struct tables *tables, bool keeps_raw, enum on_erase on_erase);
void tables_fini(struct tables *tables);

/* On a new connection: makes or migrates what is there, in one transaction and under a lock, or refuses with link->why. */
enum link_result tables_prepare(struct tables *tables, struct link *link);
/* What tables_prepare made on this connection is filled by it, in the order of tables_incoming's columns. */
extern const char tables_copy[];
