/* The statements: %1$s is the schema, %2$s the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tables.h"

#define FROM   " FROM pg_temp.cdpd_incoming WHERE run = $1::int AND action = "
#define OWN    "raw->>'type' IS NOT DISTINCT FROM " /* else a mapping made it */
#define PEOPLE "(SELECT jsonb_array_elements_text($1::jsonb->'profileIds'))"
/* Not all comes by the stream of the notice, and an old notice may be told again: what is newer is of somebody new, or allowed again. */
#define NOTICED      "'epoch'::timestamptz + $2::bigint * interval '1 microsecond'"
#define BEFORE       " AND coalesce(changed_at, '-infinity') <= " NOTICED
#define NOTED_BEFORE " AND coalesce(withdrawn_at, '-infinity') <= " NOTICED
/* An event may say that it happens minutes after it was received; of what a mapping made only that is known. */
#define TOLD_BEFORE \
	" AND coalesce(CASE WHEN received_at IS NULL THEN event_time - interval '5 minutes' ELSE least(received_at, " \
	"event_time) END, '-infinity') <= " NOTICED

/* %3$s: what is kept whole. */
static const char *const runs[ACTION_COUNT] = {
    [PUT_EVENT] =
	"INSERT INTO \"%1$s\".\"%2$s\" (delivery_id, position, profile_id, message_id, type, event, user_id, "
	"anonymous_id, source_id, event_time, received_at, properties, traits, context, enrichment, raw) "
	"SELECT delivery_id, position, profile_id, message_id, raw->>'type', coalesce(raw->>'event', raw->>'name'), "
	"raw->>'userId', raw->>'anonymousId', raw->>'sourceId', event_time, (raw->>'receivedAt')::timestamptz, "
	"raw->'properties', raw->'traits', raw->'context', raw->'enrichment', %3$s" FROM
	"0 ORDER BY ord ON CONFLICT (delivery_id) DO NOTHING",
    [PUT_PROFILE] =
	"INSERT INTO \"%1$s\".\"%2$s\" (id, identifiers, traits, features, segments, consents, first_seen, last_seen, "
	"event_count, position, changed_at, gone, merged_into, mapped) "
	"SELECT profile_id, raw->'identifiers', raw->'traits', raw->'features', raw->'segments', raw->'consents', "
	"CASE WHEN " OWN "'profile' THEN (raw->>'firstSeen')::timestamptz END, "
	"CASE WHEN " OWN "'profile' THEN (raw->>'lastSeen')::timestamptz END, "
	"CASE WHEN " OWN "'profile' THEN (raw->>'eventCount')::bigint END, "
	"position, event_time, gone, other_id, CASE WHEN NOT (" OWN "'profile') THEN raw END" FROM
	"1 ORDER BY profile_id ON CONFLICT (id) DO UPDATE SET identifiers = EXCLUDED.identifiers, "
	"traits = EXCLUDED.traits, features = EXCLUDED.features, segments = EXCLUDED.segments, "
	"consents = EXCLUDED.consents, first_seen = EXCLUDED.first_seen, last_seen = EXCLUDED.last_seen, "
	"event_count = EXCLUDED.event_count, position = EXCLUDED.position, changed_at = EXCLUDED.changed_at, "
	"gone = EXCLUDED.gone, merged_into = EXCLUDED.merged_into, mapped = EXCLUDED.mapped, updated_at = now()",
    [MARK_PROFILE] = "UPDATE \"%1$s\".\"%2$s\" p SET gone = i.gone, merged_into = i.other_id, position = i.position, "
		     "changed_at = i.event_time, updated_at = now() FROM pg_temp.cdpd_incoming i "
		     "WHERE i.run = $1::int AND i.action = 2 AND p.id = i.profile_id",
    [DROP_PROFILE] = "DELETE FROM \"%1$s\".\"%2$s\" p USING pg_temp.cdpd_incoming i "
		     "WHERE i.run = $1::int AND i.action = 3 AND p.id = i.profile_id",
    [PUT_CHANGE] =
	"INSERT INTO \"%1$s\".\"%2$s\" (delivery_id, position, profile_id, kind, changed_at, caused_by, details) "
	"SELECT delivery_id, position, profile_id, CASE WHEN " OWN "'change' THEN raw->>'kind' END, "
	"CASE WHEN " OWN "'change' AND raw ? 'at' THEN (raw->>'at')::timestamptz ELSE event_time END, "
	"CASE WHEN " OWN "'change' THEN raw->>'position' END, "
	"CASE WHEN " OWN "'change' THEN raw - '{type,kind,profile,position,at}'::text[] ELSE raw END" FROM
	"4 ORDER BY ord ON CONFLICT (delivery_id) DO NOTHING",
    [PUT_WITHDRAWAL] =
	"INSERT INTO \"%1$s\".\"%2$s\" (delivery_id, position, profile_id, purpose, state, withdrawn_at) "
	"SELECT delivery_id, position, p.id, raw->>'purpose', raw->>'state', "
	"CASE WHEN raw ? 'at' THEN (raw->>'at')::timestamptz ELSE event_time END "
	"FROM pg_temp.cdpd_incoming, jsonb_array_elements_text(raw->'profileIds') AS p(id) "
	"WHERE run = $1::int AND action = 5 ORDER BY ord ON CONFLICT (delivery_id, profile_id) DO NOTHING",
};

static const char *const deletes[TABLE_COUNT] = {
    [TABLE_EVENTS] = "DELETE FROM \"%1$s\".\"%2$s\" WHERE profile_id IN " PEOPLE TOLD_BEFORE,
    [TABLE_PROFILES] = "DELETE FROM \"%1$s\".\"%2$s\" WHERE id IN " PEOPLE BEFORE,
    [TABLE_CHANGES] = "DELETE FROM \"%1$s\".\"%2$s\" WHERE profile_id IN " PEOPLE BEFORE,
    [TABLE_WITHDRAWALS] = "DELETE FROM \"%1$s\".\"%2$s\" WHERE profile_id IN " PEOPLE NOTED_BEFORE,
};

static const char *const anonymisations[TABLE_COUNT] = {
    [TABLE_EVENTS] =
	"UPDATE \"%1$s\".\"%2$s\" SET profile_id = NULL, message_id = NULL, user_id = NULL, anonymous_id = NULL, "
	"properties = NULL, traits = NULL, context = NULL, enrichment = NULL, raw = NULL "
	"WHERE profile_id IN " PEOPLE TOLD_BEFORE,
    [TABLE_PROFILES] =
	"UPDATE \"%1$s\".\"%2$s\" SET identifiers = NULL, traits = NULL, features = NULL, segments = NULL, "
	"consents = NULL, first_seen = NULL, last_seen = NULL, event_count = NULL, mapped = NULL, "
	"gone = 'erased', merged_into = NULL, updated_at = now() WHERE id IN " PEOPLE BEFORE,
    [TABLE_CHANGES] =
	"UPDATE \"%1$s\".\"%2$s\" SET profile_id = NULL, details = NULL WHERE profile_id IN " PEOPLE BEFORE,
    [TABLE_WITHDRAWALS] = "DELETE FROM \"%1$s\".\"%2$s\" WHERE profile_id IN " PEOPLE NOTED_BEFORE,
};

static char *make(const struct tables *tables, enum table_kind kind, const char *fmt, const char *whole)
{
	char *sql = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats of this file only */
#pragma GCC diagnostic ignored "-Wformat-extra-args"
	if (asprintf(&sql, fmt, tables->schema, tables->table[kind].name, whole) < 0) sql = NULL;
#pragma GCC diagnostic pop
	return sql;
}

enum table_kind tables_of(enum action action)
{
	static const enum table_kind kinds[ACTION_COUNT] = {
	    [PUT_EVENT] = TABLE_EVENTS,      [PUT_PROFILE] = TABLE_PROFILES, [MARK_PROFILE] = TABLE_PROFILES,
	    [DROP_PROFILE] = TABLE_PROFILES, [PUT_CHANGE] = TABLE_CHANGES,   [PUT_WITHDRAWAL] = TABLE_WITHDRAWALS,
	};
	return kinds[action];
}

bool tables_init(struct tables *tables, bool keeps_raw, enum on_erase on_erase, bool deletes_withdrawn)
{
	const char *const *erasures = on_erase == ON_ERASE_DELETE ? deletes : anonymisations;
	bool is_made = true;
	for (enum action a = 0; a < ACTION_COUNT; a++) {
		tables->run[a] = make(tables, tables_of(a), runs[a], keeps_raw ? "raw" : "NULL::jsonb");
		is_made &= tables->run[a] != NULL;
	}
	for (enum table_kind k = 0; k < TABLE_COUNT; k++) {
		struct table *table = &tables->table[k];
		if (on_erase != ON_ERASE_KEEP) is_made &= (table->erase = make(tables, k, erasures[k], "")) != NULL;
		if (deletes_withdrawn && k != TABLE_WITHDRAWALS)
			is_made &= (table->withdraw = make(tables, k, deletes[k], "")) != NULL;
	}
	return is_made;
}

void tables_fini(struct tables *tables)
{
	for (enum action a = 0; a < ACTION_COUNT; a++) free(tables->run[a]);
	for (enum table_kind k = 0; k < TABLE_COUNT; k++) {
		free(tables->table[k].erase);
		free(tables->table[k].withdraw);
	}
	memset(tables, 0, sizeof *tables);
}
