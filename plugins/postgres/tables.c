#include "tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a batch lands first; empty again after each transaction. */
static const char incoming[] = "CREATE TEMP TABLE IF NOT EXISTS cdpd_incoming (ord int, run int, delivery_id text, "
			       "position text, profile_id text, "
			       "message_id text, event_time timestamptz, raw jsonb) ON COMMIT DELETE ROWS";
const char tables_copy[] =
    "COPY pg_temp.cdpd_incoming (ord, run, delivery_id, position, profile_id, message_id, event_time, raw) "
    "FROM STDIN (FORMAT binary)";

/* Step i makes version i + 1 of version i. Never changed once released; %1$s: schema, %2$s: table. */
static const char *const steps[] = {
    "CREATE TABLE \"%1$s\".\"%2$s\" ("
    "delivery_id text PRIMARY KEY, position text, profile_id text, message_id text, type text, event text, "
    "user_id text, anonymous_id text, source_id text, event_time timestamptz, received_at timestamptz, "
    "properties jsonb, traits jsonb, context jsonb, enrichment jsonb, raw jsonb)",
    "CREATE INDEX \"%2$s_profile\" ON \"%1$s\".\"%2$s\" (profile_id, event_time)",
    "CREATE INDEX \"%2$s_time\" ON \"%1$s\".\"%2$s\" USING brin (received_at)",
};
#define VERSION ((int)(sizeof steps / sizeof steps[0]))

#define COLUMNS \
	"delivery_id, position, profile_id, message_id, type, event, user_id, anonymous_id, source_id, event_time, " \
	"received_at, properties, traits, context, enrichment, raw"

bool tables_is_name(const char *text)
{
	size_t len = strlen(text);
	return len > 0 && len <= TABLES_NAME_MAX && !(text[0] >= '0' && text[0] <= '9') &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

bool tables_init(struct tables *tables, bool keeps_raw, enum on_erase on_erase)
{
	/* clang-format off */
	if (asprintf(&tables->insert,
		"INSERT INTO \"%s\".\"%s\" (" COLUMNS ") "
		"SELECT delivery_id, position, profile_id, message_id, raw->>'type', coalesce(raw->>'event', raw->>'name'), "
		"raw->>'userId', raw->>'anonymousId', raw->>'sourceId', event_time, (raw->>'receivedAt')::timestamptz, "
		"raw->'properties', raw->'traits', raw->'context', raw->'enrichment', %s "
		"FROM pg_temp.cdpd_incoming WHERE run = $1::int ORDER BY ord ON CONFLICT (delivery_id) DO NOTHING",
		tables->schema, tables->table, keeps_raw ? "raw" : "NULL::jsonb") < 0) {
		tables->insert = NULL;
		return false;
	}
	static const char by_person[] = "WHERE profile_id IN (SELECT jsonb_array_elements_text($1::jsonb->'profileIds'))";
	int rc = 0;
	if (on_erase == ON_ERASE_DELETE)
		rc = asprintf(&tables->erase, "DELETE FROM \"%s\".\"%s\" %s", tables->schema, tables->table, by_person);
	if (on_erase == ON_ERASE_ANONYMISE)
		rc = asprintf(&tables->erase, "UPDATE \"%s\".\"%s\" SET profile_id = NULL, message_id = NULL, user_id = NULL, "
			"anonymous_id = NULL, properties = NULL, traits = NULL, context = NULL, enrichment = NULL, raw = NULL %s",
			tables->schema, tables->table, by_person);
	/* clang-format on */
	if (rc < 0) tables->erase = NULL;
	return rc >= 0;
}

void tables_fini(struct tables *tables)
{
	free(tables->insert);
	free(tables->erase);
	tables->insert = tables->erase = NULL;
}

/* A statement with the names in it; `fmt` refers to them as %1$s and %2$s. */
static enum link_result run_named(const struct tables *tables, struct link *link, const char *fmt,
				  struct link_answer *answer)
{
	char sql[1200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats of this file only */
	snprintf(sql, sizeof sql, fmt, tables->schema, tables->table);
#pragma GCC diagnostic pop
	return link_run(link, sql, NULL, 0, answer);
}

/* 0: there is none yet. */
static enum link_result read_version(const struct tables *tables, struct link *link, int *version)
{
	struct link_answer answer;
	*version = 0;
	enum link_result rc = run_named(tables, link, "SELECT to_regclass('\"%1$s\".cdpd_schema')::text", &answer);
	if (rc != LINK_OK || !answer.has_value) return rc;
	rc = run_named(tables, link, "SELECT version FROM \"%1$s\".cdpd_schema WHERE table_name = '%2$s'", &answer);
	if (rc == LINK_OK && answer.has_value) *version = (int)strtol(answer.value, NULL, 10);
	return rc;
}

static enum link_result refuse(struct link *link, const struct tables *tables, const char *why)
{
	snprintf(link->why, sizeof link->why, "%s.%s %s", tables->schema, tables->table, why);
	return LINK_FAILED;
}

/* A table of somebody else's is left alone. */
static enum link_result begin_table(const struct tables *tables, struct link *link)
{
	struct link_answer answer;
	enum link_result rc = run_named(tables, link, "SELECT to_regnamespace('\"%1$s\"')::text", &answer);
	/* Not IF NOT EXISTS: that asks for the right to create schemas even when there is nothing to do. */
	if (rc == LINK_OK && !answer.has_value) rc = run_named(tables, link, "CREATE SCHEMA \"%1$s\"", NULL);
	if (rc == LINK_OK) rc = run_named(tables, link, "SELECT to_regclass('\"%1$s\".cdpd_schema')::text", &answer);
	if (rc == LINK_OK && !answer.has_value)
		rc = run_named(tables, link,
			       "CREATE TABLE \"%1$s\".cdpd_schema (table_name text PRIMARY KEY, version int NOT NULL, "
			       "changed_at timestamptz NOT NULL DEFAULT now())",
			       NULL);
	if (rc == LINK_OK) rc = run_named(tables, link, "SELECT to_regclass('\"%1$s\".\"%2$s\"')::text", &answer);
	if (rc == LINK_OK && answer.has_value)
		rc = refuse(link, tables, "is there and was not made by cdpd: choose another table");
	return rc;
}

static enum link_result migrate_locked(const struct tables *tables, struct link *link)
{
	int version;
	char number[16];
	enum link_result rc = read_version(tables, link, &version); /* another connection may have been faster */
	if (rc == LINK_OK && version == 0) rc = begin_table(tables, link);
	for (; rc == LINK_OK && version < VERSION; version++) rc = run_named(tables, link, steps[version], NULL);
	if (rc != LINK_OK) return rc;
	snprintf(number, sizeof number, "%d", version);
	const char *const params[] = {tables->table, number};
	char sql[300];
	snprintf(sql, sizeof sql,
		 "INSERT INTO \"%s\".cdpd_schema (table_name, version) VALUES ($1, $2::int) "
		 "ON CONFLICT (table_name) DO UPDATE SET version = EXCLUDED.version, changed_at = now()",
		 tables->schema);
	return link_run(link, sql, params, 2, NULL);
}

static enum link_result migrate(const struct tables *tables, struct link *link)
{
	enum link_result rc = link_run(link, "BEGIN", NULL, 0, NULL);
	/* Several destinations may begin at the same time: 1667526756 is "cdpd". */
	if (rc == LINK_OK) rc = link_run(link, "SELECT pg_advisory_xact_lock(1667526756)", NULL, 0, NULL);
	if (rc == LINK_OK) rc = migrate_locked(tables, link);
	if (rc == LINK_OK) rc = link_run(link, "COMMIT", NULL, 0, NULL);
	if (rc != LINK_OK) link_rollback(link);
	return rc;
}

enum link_result tables_prepare(struct tables *tables, struct link *link)
{
	int version;
	if (tables->is_ready) return LINK_OK;
	enum link_result rc = read_version(tables, link, &version);
	if (rc == LINK_OK && version > VERSION) rc = refuse(link, tables, "was made by a newer version of this plugin");
	if (rc == LINK_OK && version < VERSION) {
		rc = tables->may_migrate ? migrate(tables, link)
					 : refuse(link, tables, "is not there in this version, and `migrate` is false");
	}
	if (rc == LINK_OK) rc = link_run(link, incoming, NULL, 0, NULL);
	if (rc == LINK_BAD_DATA) rc = LINK_FAILED; /* whatever it was, no record is to blame */
	tables->is_ready = rc == LINK_OK;
	return rc;
}
