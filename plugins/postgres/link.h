/* link: one connection to a PostgreSQL server. Every wait ends: after connect_timeout_s, or `timeout_ms` and five seconds more than the server
 * itself gives a statement. Knows nothing of events; the only file that knows libpq. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum link_result {
	LINK_OK,
	LINK_BAD_DATA, /* the server refuses what it was given: it will always */
	LINK_FAILED,   /* the server cannot or may not, now: the same may work later */
	LINK_LOST,     /* there is no connection any more; what was asked may have been done */
};

struct link {
	struct pg_conn *conn;            /* NULL: none */
	const char *conninfo, *password; /* the owner's; password NULL: none */
	int connect_timeout_s;
	int64_t timeout_ms;
	char why[200]; /* of the last that was not LINK_OK: for operators, without values of the data */
};

struct link_answer {
	bool has_value;
	char value[64]; /* of the first row's first column */
	int64_t rows;   /* changed */
};

/* NULL: a connection string that libpq understands and that holds no password. Else what is wrong, in `why`. */
const char *link_check(const char *conninfo, char *why, size_t size);

/* Connects and sets the session up: UTF-8, UTC, statement timeout, commits that are durable. */
enum link_result link_open(struct link *link);
/* May be called when there is none. */
void link_close(struct link *link);

/* One statement with up to 4 text parameters; several statements without parameters. `answer` may be NULL. */
enum link_result link_run(struct link *link, const char *sql, const char *const *params, int count,
			  struct link_answer *answer);
/* COPY … FROM STDIN of all of `data`. */
enum link_result link_copy(struct link *link, const char *sql, const char *data, size_t len);
/* Ends a transaction that went wrong. Without a connection afterwards when that fails too. */
void link_rollback(struct link *link);
