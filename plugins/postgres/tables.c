#include "tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a batch lands first; empty again after each transaction. */
static const char incoming[] =
    "CREATE TEMP TABLE IF NOT EXISTS cdpd_incoming (ord int, run int, action int, delivery_id text, position text, "
    "profile_id text, message_id text, event_time timestamptz, gone text, other_id text, raw jsonb) ON COMMIT DELETE "
    "ROWS";
const char tables_copy[] =
    "COPY pg_temp.cdpd_incoming (ord, run, action, delivery_id, position, profile_id, message_id, "
    "event_time, gone, other_id, raw) FROM STDIN (FORMAT binary)";

/* Step i makes version i + 1 of version i. Never changed once released; %1$s: schema, %2$s: table. */
static const char *const event_steps[] = {
    "CREATE TABLE \"%1$s\".\"%2$s\" ("
    "delivery_id text PRIMARY KEY, position text, profile_id text, message_id text, type text, event text, "
    "user_id text, anonymous_id text, source_id text, event_time timestamptz, received_at timestamptz, "
    "properties jsonb, traits jsonb, context jsonb, enrichment jsonb, raw jsonb)",
    "CREATE INDEX \"%2$s_profile\" ON \"%1$s\".\"%2$s\" (profile_id, event_time)",
    "CREATE INDEX \"%2$s_time\" ON \"%1$s\".\"%2$s\" USING brin (received_at)",
};
static const char *const profile_steps[] = {
    "CREATE TABLE \"%1$s\".\"%2$s\" ("
    "id text PRIMARY KEY, identifiers jsonb, traits jsonb, features jsonb, segments jsonb, consents jsonb, "
    "first_seen timestamptz, last_seen timestamptz, event_count bigint, position text, changed_at timestamptz, "
    "gone text, merged_into text, mapped jsonb, updated_at timestamptz NOT NULL DEFAULT now())",
};
static const char *const change_steps[] = {
    "CREATE TABLE \"%1$s\".\"%2$s\" ("
    "delivery_id text PRIMARY KEY, position text, profile_id text, kind text, changed_at timestamptz, "
    "caused_by text, details jsonb)",
    "CREATE INDEX \"%2$s_profile\" ON \"%1$s\".\"%2$s\" (profile_id, changed_at)",
};
static const char *const withdrawal_steps[] = {
    "CREATE TABLE \"%1$s\".\"%2$s\" ("
    "delivery_id text, position text, profile_id text, purpose text, state text, withdrawn_at timestamptz, "
    "PRIMARY KEY (delivery_id, profile_id))",
    "CREATE INDEX \"%2$s_profile\" ON \"%1$s\".\"%2$s\" (profile_id)",
};

#define STEPS(table) table, (int)(sizeof(table) / sizeof((table)[0]))
static const struct {
	const char *const *steps;
	int count; /* the version that this is */
} versions[TABLE_COUNT] = {
    [TABLE_EVENTS] = {STEPS(event_steps)},
    [TABLE_PROFILES] = {STEPS(profile_steps)},
    [TABLE_CHANGES] = {STEPS(change_steps)},
    [TABLE_WITHDRAWALS] = {STEPS(withdrawal_steps)},
};

bool tables_is_name(const char *text)
{
	size_t len = strlen(text);
	return len > 0 && len <= TABLES_NAME_MAX && !(text[0] >= '0' && text[0] <= '9') &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

void tables_forget(struct tables *tables)
{
	tables->has_versions = tables->has_incoming = false;
	for (enum table_kind k = 0; k < TABLE_COUNT; k++) tables->table[k].version = 0;
}

/* A statement with the names in it; `fmt` refers to them as %1$s and %2$s. */
static enum link_result run_named(const struct tables *tables, enum table_kind kind, struct link *link, const char *fmt,
				  struct link_answer *answer)
{
	char sql[1200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats of this file only */
	snprintf(sql, sizeof sql, fmt, tables->schema, tables->table[kind].name);
#pragma GCC diagnostic pop
	return link_run(link, sql, NULL, 0, answer);
}

/* 0: there is none yet. */
static enum link_result read_version(const struct tables *tables, enum table_kind kind, struct link *link, int *version)
{
	struct link_answer answer;
	*version = 0;
	enum link_result rc = run_named(tables, kind, link,
					"SELECT version FROM \"%1$s\".cdpd_schema WHERE table_name = '%2$s'", &answer);
	if (rc == LINK_OK && answer.has_value) *version = (int)strtol(answer.value, NULL, 10);
	return rc;
}

static enum link_result read_versions(struct tables *tables, struct link *link)
{
	struct link_answer answer;
	if (tables->has_versions) return LINK_OK;
	enum link_result rc = run_named(tables, 0, link, "SELECT to_regclass('\"%1$s\".cdpd_schema')::text", &answer);
	for (enum table_kind k = 0; rc == LINK_OK && answer.has_value && k < TABLE_COUNT; k++)
		rc = read_version(tables, k, link, &tables->table[k].version);
	tables->has_versions = rc == LINK_OK;
	return rc;
}

static enum link_result refuse(struct link *link, const struct tables *tables, enum table_kind kind, const char *why)
{
	snprintf(link->why, sizeof link->why, "%s.%s %s", tables->schema, tables->table[kind].name, why);
	return LINK_FAILED;
}

static enum link_result begin_schema(const struct tables *tables, struct link *link)
{
	struct link_answer answer;
	enum link_result rc = run_named(tables, 0, link, "SELECT to_regnamespace('\"%1$s\"')::text", &answer);
	/* Not IF NOT EXISTS: that asks for the right to create schemas even when there is nothing to do. */
	if (rc == LINK_OK && !answer.has_value) rc = run_named(tables, 0, link, "CREATE SCHEMA \"%1$s\"", NULL);
	if (rc == LINK_OK) rc = run_named(tables, 0, link, "SELECT to_regclass('\"%1$s\".cdpd_schema')::text", &answer);
	if (rc == LINK_OK && !answer.has_value)
		rc = run_named(tables, 0, link,
			       "CREATE TABLE \"%1$s\".cdpd_schema (table_name text PRIMARY KEY, version int NOT NULL, "
			       "changed_at timestamptz NOT NULL DEFAULT now())",
			       NULL);
	return rc;
}

/* A table of somebody else's is left alone. */
static enum link_result check_is_free(const struct tables *tables, enum table_kind kind, struct link *link)
{
	struct link_answer answer;
	enum link_result rc = run_named(tables, kind, link, "SELECT to_regclass('\"%1$s\".\"%2$s\"')::text", &answer);
	if (rc == LINK_OK && answer.has_value)
		rc = refuse(link, tables, kind, "is there and was not made by cdpd: choose another table");
	return rc;
}

static enum link_result migrate_table(const struct tables *tables, enum table_kind kind, struct link *link)
{
	int version;
	char number[16], sql[300];
	enum link_result rc = begin_schema(tables, link);
	/* another connection may have been faster */
	if (rc == LINK_OK) rc = read_version(tables, kind, link, &version);
	if (rc == LINK_OK && version == 0) rc = check_is_free(tables, kind, link);
	for (; rc == LINK_OK && version < versions[kind].count; version++)
		rc = run_named(tables, kind, link, versions[kind].steps[version], NULL);
	if (rc != LINK_OK) return rc;
	snprintf(number, sizeof number, "%d", version);
	const char *const params[] = {tables->table[kind].name, number};
	snprintf(sql, sizeof sql,
		 "INSERT INTO \"%s\".cdpd_schema (table_name, version) VALUES ($1, $2::int) "
		 "ON CONFLICT (table_name) DO UPDATE SET version = EXCLUDED.version, changed_at = now()",
		 tables->schema);
	return link_run(link, sql, params, 2, NULL);
}

static enum link_result migrate(const struct tables *tables, unsigned missing, struct link *link)
{
	enum link_result rc = link_run(link, "BEGIN", NULL, 0, NULL);
	/* Several destinations may begin at the same time: 1667526756 is "cdpd". */
	if (rc == LINK_OK) rc = link_run(link, "SELECT pg_advisory_xact_lock(1667526756)", NULL, 0, NULL);
	for (enum table_kind k = 0; rc == LINK_OK && k < TABLE_COUNT; k++)
		if (missing & 1u << k) rc = migrate_table(tables, k, link);
	if (rc == LINK_OK) rc = link_run(link, "COMMIT", NULL, 0, NULL);
	if (rc != LINK_OK) link_rollback(link);
	return rc;
}

static enum link_result bring_up(struct tables *tables, unsigned wanted, struct link *link)
{
	unsigned missing = 0;
	for (enum table_kind k = 0; k < TABLE_COUNT; k++) {
		if (!(wanted & 1u << k) || tables->table[k].version == versions[k].count) continue;
		if (tables->table[k].version > versions[k].count)
			return refuse(link, tables, k, "was made by a newer version of this plugin");
		if (!tables->may_migrate)
			return refuse(link, tables, k, "is not there in this version, and `migrate` is false");
		missing |= 1u << k;
	}
	enum link_result rc = missing ? migrate(tables, missing, link) : LINK_OK;
	for (enum table_kind k = 0; rc == LINK_OK && k < TABLE_COUNT; k++)
		if (missing & 1u << k) tables->table[k].version = versions[k].count;
	return rc;
}

enum link_result tables_prepare(struct tables *tables, struct link *link, unsigned wanted)
{
	enum link_result rc = read_versions(tables, link);
	if (rc == LINK_OK) rc = bring_up(tables, wanted, link);
	if (rc == LINK_OK && !tables->has_incoming) {
		rc = link_run(link, incoming, NULL, 0, NULL);
		tables->has_incoming = rc == LINK_OK;
	}
	if (rc == LINK_FAILED) tables->has_versions = false; /* somebody may put it right meanwhile */
	return rc == LINK_BAD_DATA ? LINK_FAILED : rc;       /* whatever it was, no record is to blame */
}
