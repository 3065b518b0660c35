#include "link.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GRACE_MS 5000 /* the server cancels its statements first, and says so */

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ── errors ──────────────────────────────────────────────────────────────── */

/* One line, without a final full stop of newlines. */
static void set_why(struct link *link, const char *before, const char *text, size_t len)
{
	snprintf(link->why, sizeof link->why, "%s%.*s", before, (int)(len < 180 ? len : 180), text);
	for (char *c = link->why; *c; c++) {
		if ((unsigned char)*c < ' ') *c = ' ';
	}
	for (size_t n = strlen(link->why); n > 0 && link->why[n - 1] == ' ';) link->why[--n] = '\0';
}

static enum link_result lost(struct link *link, const char *before)
{
	const char *text = link->conn ? PQerrorMessage(link->conn) : "";
	set_why(link, before, text, strlen(text));
	link_close(link);
	return LINK_LOST;
}

/* The connection may be in the middle of anything: it is not used again. */
static enum link_result timed_out(struct link *link)
{
	snprintf(link->why, sizeof link->why, "the server gave no answer within %lld s",
		 (long long)((link->timeout_ms + GRACE_MS) / 1000));
	link_close(link);
	return LINK_FAILED;
}

static bool is_class(const char *state, const char *class)
{
	return strncmp(state, class, strlen(class)) == 0;
}

/* Data exceptions, constraints, limits of what a row can hold, and what a trigger raises. */
static bool blames_data(const char *state)
{
	return is_class(state, "22") || is_class(state, "23") || is_class(state, "54") || strcmp(state, "P0001") == 0;
}

/* The server goes away or has become a standby: another connection may find another one. */
static bool needs_new_connection(const char *state)
{
	return is_class(state, "08") || is_class(state, "57P") || strcmp(state, "25006") == 0;
}

static enum link_result judge(struct link *link, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	if (!state || !text) return lost(link, "");
	char before[16];
	size_t len =
	    is_class(state, "22") ? strcspn(text, "\"") : strlen(text); /* 22: the quoted is a value of the data */
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == ':')) len--;
	snprintf(before, sizeof before, "%.5s: ", state);
	set_why(link, before, text, len);
	if (blames_data(state)) return LINK_BAD_DATA;
	if (!needs_new_connection(state) && PQstatus(link->conn) == CONNECTION_OK) return LINK_FAILED;
	link_close(link);
	return LINK_LOST;
}

/* ── waiting ─────────────────────────────────────────────────────────────── */

static enum link_result wait_for(struct link *link, short events, int64_t until)
{
	struct pollfd fd = {.fd = PQsocket(link->conn), .events = events};
	for (;;) {
		int64_t left = until - now_ms();
		if (left <= 0) return timed_out(link);
		int rc = poll(&fd, 1, (int)left);
		if (rc > 0) return LINK_OK;
		if (rc < 0 && errno != EINTR) return lost(link, "poll: ");
	}
}

static enum link_result flush(struct link *link, int64_t until)
{
	for (;;) {
		int rc = PQflush(link->conn);
		if (rc == 0) return LINK_OK;
		if (rc < 0) return lost(link, "");
		enum link_result result = wait_for(link, POLLOUT | POLLIN, until);
		if (result != LINK_OK) return result;
		if (!PQconsumeInput(link->conn)) return lost(link, ""); /* a server that talks must be listened to */
	}
}

/* *out is NULL when the answer is complete. */
static enum link_result next_result(struct link *link, int64_t until, PGresult **out)
{
	enum link_result result = flush(link, until);
	while (result == LINK_OK && PQisBusy(link->conn)) {
		result = wait_for(link, POLLIN, until);
		if (result == LINK_OK && !PQconsumeInput(link->conn)) result = lost(link, "");
	}
	*out = result == LINK_OK ? PQgetResult(link->conn) : NULL;
	return result;
}

static void take_answer(const PGresult *result, struct link_answer *answer)
{
	answer->rows = strtoll(PQcmdTuples((PGresult *)result), NULL, 10);
	answer->has_value = PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0);
	if (answer->has_value) snprintf(answer->value, sizeof answer->value, "%s", PQgetvalue(result, 0, 0));
}

/* Reads all that comes; the first error counts. */
static enum link_result finish(struct link *link, int64_t until, struct link_answer *answer)
{
	enum link_result first = LINK_OK;
	for (;;) {
		PGresult *result;
		enum link_result rc = next_result(link, until, &result);
		if (rc != LINK_OK) return first == LINK_BAD_DATA ? LINK_FAILED : rc;
		if (!result) return first;
		ExecStatusType status = PQresultStatus(result);
		if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
			if (answer) take_answer(result, answer);
		} else if (first == LINK_OK) {
			first = judge(link, result);
		}
		PQclear(result);
		if (!link->conn) return first;
	}
}

/* ── what is asked ───────────────────────────────────────────────────────── */

enum link_result link_run(struct link *link, const char *sql, const char *const *params, int count,
			  struct link_answer *answer)
{
	int64_t until = now_ms() + link->timeout_ms + GRACE_MS;
	if (answer) *answer = (struct link_answer){0};
	int rc = count ? PQsendQueryParams(link->conn, sql, count, NULL, params, NULL, NULL, 0)
		       : PQsendQuery(link->conn, sql);
	return rc ? finish(link, until, answer) : lost(link, "");
}

static enum link_result send_copy(struct link *link, const char *data, size_t len, int64_t until)
{
	for (size_t sent = 0; sent < len;) {
		size_t part = len - sent < 65536 ? len - sent : 65536;
		int rc = PQputCopyData(link->conn, data + sent, (int)part);
		if (rc < 0) return lost(link, "");
		if (rc > 0) sent += part;
		enum link_result result = flush(link, until);
		if (result != LINK_OK) return result;
	}
	int rc;
	while ((rc = PQputCopyEnd(link->conn, NULL)) == 0) {
		enum link_result result = flush(link, until);
		if (result != LINK_OK) return result;
	}
	return rc < 0 ? lost(link, "") : LINK_OK;
}

enum link_result link_copy(struct link *link, const char *sql, const char *data, size_t len)
{
	int64_t until = now_ms() + link->timeout_ms + GRACE_MS;
	PGresult *result;
	if (!PQsendQuery(link->conn, sql)) return lost(link, "");
	enum link_result rc = next_result(link, until, &result);
	if (rc != LINK_OK) return rc;
	bool is_ready = result && PQresultStatus(result) == PGRES_COPY_IN;
	if (!is_ready) rc = judge(link, result);
	PQclear(result);
	if (is_ready) {
		rc = send_copy(link, data, len, until);
		return rc == LINK_OK ? finish(link, until, NULL) : rc;
	}
	if (link->conn) (void)finish(link, until, NULL);
	return rc;
}

void link_rollback(struct link *link)
{
	char why[sizeof link->why];
	if (!link->conn) return;
	memcpy(why, link->why, sizeof why);
	if (link_run(link, "ROLLBACK", NULL, 0, NULL) != LINK_OK) link_close(link);
	memcpy(link->why, why, sizeof why); /* the cause is what counts */
}

/* ── opening ─────────────────────────────────────────────────────────────── */

const char *link_check(const char *conninfo, char *why, size_t size)
{
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &error);
	if (!options) {
		snprintf(why, size, "%s", error ? error : "out of memory");
		for (char *c = why; *c; c++) {
			if (*c == '\n') *c = '\0';
		}
		PQfreemem(error);
		return why;
	}
	bool has_password = false;
	for (const PQconninfoOption *o = options; o->keyword; o++)
		has_password |= strcmp(o->keyword, "password") == 0 && o->val && o->val[0];
	PQconninfoFree(options);
	if (!has_password) return NULL;
	snprintf(why, size, "the password does not belong here: say `password: file:/path` or `password: env:NAME`");
	return why;
}

static void ignore_notice(void *ctx, const PGresult *result)
{
	(void)ctx;
	(void)result;
}

/* A server whose default is not to wait for the disk would lose what was acknowledged; stricter defaults stay. */
static enum link_result set_session(struct link *link)
{
	char sql[400];
	snprintf(
	    sql, sizeof sql,
	    "SET statement_timeout = %lld; SET TimeZone = 'UTC'; SET standard_conforming_strings = on; "
	    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
	    (long long)link->timeout_ms);
	return link_run(link, sql, NULL, 0, NULL);
}

enum link_result link_open(struct link *link)
{
	char timeout[16];
	snprintf(timeout, sizeof timeout, "%d", link->connect_timeout_s);
	/* What stands before dbname is a default, what stands behind it overrides the string. */
	const char *const names[] = {"target_session_attrs",
				     "application_name",
				     "connect_timeout",
				     "dbname",
				     "client_encoding",
				     "password",
				     NULL};
	const char *const values[] = {"read-write", "cdpd", timeout, link->conninfo, "UTF8", link->password, NULL};
	link_close(link);
	link->conn = PQconnectdbParams(names, values, 1);
	if (!link->conn || PQstatus(link->conn) != CONNECTION_OK) return lost(link, "");
	PQsetNoticeReceiver(link->conn, ignore_notice, NULL);
	const char *encoding = PQparameterStatus(link->conn, "server_encoding");
	if (!encoding || strcmp(encoding, "UTF8") != 0) {
		snprintf(link->why, sizeof link->why, "the database's encoding is %s, it must be UTF8",
			 encoding ? encoding : "unknown");
		link_close(link);
		return LINK_FAILED;
	}
	if (PQsetnonblocking(link->conn, 1)) return lost(link, "");
	return set_session(link);
}

void link_close(struct link *link)
{
	if (link->conn) PQfinish(link->conn);
	link->conn = NULL;
}
