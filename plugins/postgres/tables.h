/* tables: the schema that the plugin keeps in the database, the versions of each table, and the statements on them. A table is made when the first
 * record of its kind comes. */
#pragma once

#include "link.h"

#define TABLES_NAME_MAX 50 /* bytes of a schema's or table's name: index names are made of them */

enum table_kind { TABLE_EVENTS, TABLE_PROFILES, TABLE_CHANGES, TABLE_WITHDRAWALS, TABLE_COUNT };

/* What is done with a row of cdpd_incoming. */
enum action {
	PUT_EVENT,
	PUT_PROFILE,  /* also of one that is gone: then it holds nothing of the person */
	MARK_PROFILE, /* it is gone and keeps what it holds */
	DROP_PROFILE,
	PUT_CHANGE,
	PUT_WITHDRAWAL,
	ACTION_COUNT,
	ACTION_NONE /* there is no row */
};

enum on_erase { ON_ERASE_DELETE, ON_ERASE_ANONYMISE, ON_ERASE_KEEP };

struct table {
	char name[TABLES_NAME_MAX + 1];
	int version; /* on the present connection; 0: it is not there */
	char *erase; /* $1: whom, as JSON; $2: µs since 1970, of the notice. NULL: rows are kept */
	char *withdraw;
};

struct tables {
	char schema[TABLES_NAME_MAX + 1];
	bool may_migrate;
	bool has_versions, has_incoming; /* on the present connection */
	struct table table[TABLE_COUNT];
	char *run[ACTION_COUNT]; /* $1: a run of cdpd_incoming */
};

/* Lower case letters, digits and '_', not beginning with a digit. */
bool tables_is_name(const char *text);
/* Makes the statements; false: out of memory. */
bool tables_init(struct tables *tables, bool keeps_raw, enum on_erase on_erase, bool deletes_withdrawn);
void tables_fini(struct tables *tables);

enum table_kind tables_of(enum action action);
/* There is a new connection. */
void tables_forget(struct tables *tables);
/* `wanted`: a bit for each table. Makes or migrates what is missing, in one transaction and under a lock, or refuses with link->why. */
enum link_result tables_prepare(struct tables *tables, struct link *link, unsigned wanted);
/* What tables_prepare made on this connection is filled by it, in the order of rows_add. */
extern const char tables_copy[];
