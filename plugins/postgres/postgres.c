/* postgres: an exporter that appends events and changes to tables, each exactly once, and keeps a row for each person. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shared/records.h"
#include "cdpd_plugin.h"
#include "latest.h"
#include "link.h"
#include "rows.h"
#include "tables.h"

_Static_assert(PUT_EVENT == 0 && PUT_PROFILE == 1 && MARK_PROFILE == 2 && DROP_PROFILE == 3 && PUT_CHANGE == 4 &&
		   PUT_WITHDRAWAL == 5,
	       "the statements have these numbers");

struct counts {
	uint64_t inserted, duplicates, profiles, changes, erased;
};

struct postgres {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char *conninfo, *password;
	struct link link;
	struct tables tables;
	struct rows rows;
	struct latest latest;
	enum on_erase on_erase;
	bool marks_gone; /* else their rows are deleted */
	int rows_metric, duplicates_metric, profiles_metric, changes_metric, erased_metric, mended_metric,
	    connects_metric;

	/* the batch at hand */
	struct cdpd_record *records;
	bool *is_stale;
	size_t count, size, done; /* all before `done` have their verdict */
	struct cdpd_receipt *receipt;
	struct counts now; /* by the transaction at hand */
};

static enum link_result out_of_memory(struct postgres *self)
{
	snprintf(self->link.why, sizeof self->link.why, "out of memory");
	return LINK_FAILED;
}

/* ── what a record asks for ──────────────────────────────────────────────── */

static struct cdpd_str why_gone(const struct cdpd_record *record)
{
	if (!record_is_gone(record)) return (struct cdpd_str){"", 0};
	struct cdpd_str why = record_why_gone(record);
	return why.len ? why : (struct cdpd_str){"gone", 4};
}

static enum action profile_action(const struct postgres *self, const struct cdpd_record *record)
{
	struct cdpd_str gone = why_gone(record);
	if (!gone.len) return PUT_PROFILE;
	if (!record_is(gone, "erased")) return self->marks_gone ? PUT_PROFILE : DROP_PROFILE;
	return self->on_erase == ON_ERASE_DELETE      ? DROP_PROFILE
	       : self->on_erase == ON_ERASE_ANONYMISE ? PUT_PROFILE
						      : MARK_PROFILE;
}

static enum action action_of(const struct postgres *self, size_t i)
{
	const struct cdpd_record *record = &self->records[i];
	enum record_notice notice = record_notice(record);
	if (notice == NOTICE_ERASED) return ACTION_NONE;
	if (notice == NOTICE_WITHDRAWN) return PUT_WITHDRAWAL;
	switch (record->kind) {
	case CDPD_RECORD_EVENT: return PUT_EVENT;
	case CDPD_RECORD_PROFILE: return self->is_stale[i] ? ACTION_NONE : profile_action(self, record);
	case CDPD_RECORD_CHANGE: return PUT_CHANGE;
	default: return ACTION_NONE;
	}
}

/* Rows are taken away by the notice in its place: those before it go, those behind it stay. */
static bool takes_away(const struct postgres *self, size_t i)
{
	enum record_notice notice = record_notice(&self->records[i]);
	return notice == NOTICE_ERASED ||
	       (notice == NOTICE_WITHDRAWN && self->tables.table[TABLE_EVENTS].withdraw != NULL);
}

static unsigned tables_wanted(const struct postgres *self)
{
	unsigned wanted = 0;
	for (size_t i = self->done; i < self->count; i++) {
		enum action action = action_of(self, i);
		if (action != ACTION_NONE) wanted |= 1u << tables_of(action);
	}
	return wanted;
}

/* ── one transaction ─────────────────────────────────────────────────────── */

/* Records between two notices are a run. */
static enum link_result copy_in(struct postgres *self, size_t from, size_t to)
{
	int32_t run = 0;
	size_t rows = 0;
	if (!latest_mark(&self->latest, self->records, from, to, self->is_stale)) return out_of_memory(self);
	rows_begin(&self->rows);
	for (size_t i = from; i < to; i++) {
		const struct cdpd_record *record = &self->records[i];
		enum action action = action_of(self, i);
		if (takes_away(self, i)) run++;
		if (action == ACTION_NONE) continue;
		rows_add(&self->rows, (int32_t)i, run, (int32_t)action, record, why_gone(record));
		rows++;
	}
	if (!rows_end(&self->rows)) return out_of_memory(self);
	return rows ? link_copy(&self->link, tables_copy, self->rows.ptr, self->rows.len) : LINK_OK;
}

static void count_rows(struct counts *now, enum action action, uint64_t wanted, uint64_t rows)
{
	if (action == PUT_EVENT) now->inserted += rows;
	if (action == PUT_CHANGE) now->changes += rows;
	if ((action == PUT_EVENT || action == PUT_CHANGE) && rows < wanted) now->duplicates += wanted - rows;
	if (action == PUT_PROFILE || action == MARK_PROFILE || action == DROP_PROFILE) now->profiles += rows;
}

static enum link_result put_run(struct postgres *self, int run, const uint64_t wanted[ACTION_COUNT])
{
	char number[16];
	const char *const params[] = {number};
	enum link_result rc = LINK_OK;
	snprintf(number, sizeof number, "%d", run);
	for (enum action a = 0; a < ACTION_COUNT && rc == LINK_OK; a++) {
		struct link_answer answer;
		if (wanted[a] == 0) continue;
		rc = link_run(&self->link, self->tables.run[a], params, 1, &answer);
		if (rc == LINK_OK) count_rows(&self->now, a, wanted[a], (uint64_t)answer.rows);
	}
	return rc;
}

static enum link_result take_away(struct postgres *self, const struct cdpd_record *record)
{
	char *json = strndup(record->json.ptr, record->json.len), time[24];
	if (!json) return out_of_memory(self);
	snprintf(time, sizeof time, "%lld", (long long)record->time_us);
	const char *const params[] = {json, time};
	enum link_result rc = LINK_OK;
	for (enum table_kind k = 0; k < TABLE_COUNT && rc == LINK_OK; k++) {
		const struct table *table = &self->tables.table[k];
		const char *sql = record_notice(record) == NOTICE_ERASED ? table->erase : table->withdraw;
		struct link_answer answer;
		if (!sql || table->version == 0) continue;
		rc = link_run(&self->link, sql, params, 2, &answer);
		if (rc == LINK_OK) self->now.erased += (uint64_t)answer.rows;
	}
	free(json);
	return rc;
}

static enum link_result apply(struct postgres *self, size_t from, size_t to)
{
	int run = 0;
	uint64_t wanted[ACTION_COUNT] = {0};
	enum link_result rc = copy_in(self, from, to);
	for (size_t i = from; rc == LINK_OK && i < to; i++) {
		enum action action = action_of(self, i);
		if (takes_away(self, i)) {
			rc = put_run(self, run++, wanted);
			if (rc == LINK_OK) rc = take_away(self, &self->records[i]);
			memset(wanted, 0, sizeof wanted);
		}
		if (action != ACTION_NONE) wanted[action]++;
	}
	return rc == LINK_OK ? put_run(self, run, wanted) : rc;
}

static void count_all(struct postgres *self)
{
	const struct cdpd_host *host = self->host;
	host->count(self->instance, self->rows_metric, self->now.inserted);
	host->count(self->instance, self->duplicates_metric, self->now.duplicates);
	host->count(self->instance, self->profiles_metric, self->now.profiles);
	host->count(self->instance, self->changes_metric, self->now.changes);
	host->count(self->instance, self->erased_metric, self->now.erased);
	host->count(self->instance, self->mended_metric, self->rows.mended);
}

static enum link_result transact(struct postgres *self, size_t from, size_t to)
{
	self->now = (struct counts){0};
	enum link_result rc = link_run(&self->link, "BEGIN", NULL, 0, NULL);
	if (rc == LINK_OK) rc = apply(self, from, to);
	if (rc == LINK_OK) rc = link_run(&self->link, "COMMIT", NULL, 0, NULL);
	if (rc != LINK_OK) {
		link_rollback(&self->link);
		return rc;
	}
	count_all(self);
	return LINK_OK;
}

/* ── a batch ─────────────────────────────────────────────────────────────── */

static void acknowledge(struct postgres *self, size_t i)
{
	bool is_known = record_stream(&self->records[i]) != NULL;
	self->host->receipt_set(self->receipt, i, is_known ? CDPD_ACK : CDPD_DROP, 0,
				is_known ? NULL : "a kind of record that this version does not know");
}

/* In order, also when it has to be done in halves to find the record that the server refuses. */
static enum link_result store(struct postgres *self, size_t from, size_t to)
{
	enum link_result rc = transact(self, from, to);
	if (rc == LINK_OK) {
		for (size_t i = from; i < to; i++) acknowledge(self, i);
		self->done = to;
		return LINK_OK;
	}
	if (rc != LINK_BAD_DATA) return rc;
	if (to - from == 1) {
		self->host->receipt_set(self->receipt, from, CDPD_DROP, 0, self->link.why);
		self->done = to;
		return self->link.conn ? LINK_OK : LINK_LOST;
	}
	if (!self->link.conn) return LINK_LOST; /* the rollback found it gone */
	size_t middle = from + (to - from) / 2;
	rc = store(self, from, middle);
	return rc == LINK_OK ? store(self, middle, to) : rc;
}

static enum link_result connect_and_store(struct postgres *self)
{
	enum link_result rc = LINK_OK;
	if (!self->link.conn) {
		tables_forget(&self->tables);
		rc = link_open(&self->link);
		if (rc == LINK_OK) self->host->count(self->instance, self->connects_metric, 1);
	}
	if (rc == LINK_OK) rc = tables_prepare(&self->tables, &self->link, tables_wanted(self));
	if (rc == LINK_OK && self->done < self->count) rc = store(self, self->done, self->count);
	return rc;
}

static bool make_room(struct postgres *self, size_t count)
{
	if (count <= self->size) return true;
	struct cdpd_record *records = realloc(self->records, count * sizeof *records);
	if (records) self->records = records;
	bool *is_stale = realloc(self->is_stale, count * sizeof *is_stale);
	if (is_stale) self->is_stale = is_stale;
	if (!records || !is_stale) return false;
	self->size = count;
	return true;
}

static bool collect(struct postgres *self, const struct cdpd_batch *batch)
{
	self->count = self->host->batch_count(batch);
	self->done = 0;
	if (!make_room(self, self->count)) return false;
	for (size_t i = 0; i < self->count; i++) {
		self->records[i].size = sizeof self->records[i];
		if (self->host->batch_record(batch, i, &self->records[i]) != CDPD_OK) return false;
		self->is_stale[i] = false;
	}
	return true;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct postgres *self = ctx;
	self->receipt = receipt;
	if (!collect(self, batch)) return CDPD_RETRY;
	bool was_open = self->link.conn != NULL;
	enum link_result rc = connect_and_store(self);
	if (rc == LINK_LOST && was_open) rc = connect_and_store(self); /* a server that was restarted meanwhile */
	if (rc == LINK_OK) return CDPD_ACK;
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, self->link.why);
	return CDPD_RETRY;
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct postgres *self = ctx;
	link_close(&self->link);
	tables_fini(&self->tables);
	rows_free(&self->rows);
	latest_free(&self->latest);
	free(self->records);
	free(self->is_stale);
	free(self->conninfo);
	free(self->password);
	free(self);
}

static char *copy_option(const struct postgres *self, const struct cdpd_conf *conf, const char *name)
{
	struct cdpd_str text = self->host->conf_text(conf, name);
	return strndup(text.ptr, text.len);
}

static int take_name(struct postgres *self, const struct cdpd_conf *conf, const char *option, char *out)
{
	struct cdpd_str text = self->host->conf_text(conf, option);
	if (text.len <= TABLES_NAME_MAX) {
		memcpy(out, text.ptr, text.len);
		out[text.len] = '\0';
		if (tables_is_name(out)) return CDPD_OK;
	}
	self->host->log(self->instance, CDPD_LOG_ERROR,
			"%s may hold lower case letters, digits and '_' only, and does not begin with a digit", option);
	return CDPD_ERR_INVALID;
}

static int take_connection(struct postgres *self, const struct cdpd_conf *conf)
{
	char why[300];
	self->conninfo = copy_option(self, conf, "connection");
	self->password = copy_option(self, conf, "password");
	if (!self->conninfo || !self->password) return CDPD_ERR_NOMEM;
	size_t len = strcspn(self->password, "\r\n"); /* files end in a newline */
	self->password[len] = '\0';
	if (link_check(self->conninfo, why, sizeof why)) {
		self->host->log(self->instance, CDPD_LOG_ERROR, "connection: %s", why);
		return CDPD_ERR_INVALID;
	}
	self->link = (struct link){
	    .conninfo = self->conninfo,
	    .password = self->password[0] ? self->password : NULL,
	    .connect_timeout_s = (int)(self->host->conf_int(conf, "connect_timeout") / 1000000),
	    .timeout_ms = self->host->conf_int(conf, "statement_timeout") / 1000,
	};
	return CDPD_OK;
}

/* The names, different from each other. */
static int take_names(struct postgres *self, const struct cdpd_conf *conf)
{
	static const char *const names[TABLE_COUNT] = {"table", "profile_table", "change_table", "withdrawal_table"};
	int rc = take_name(self, conf, "schema", self->tables.schema);
	for (enum table_kind k = 0; k < TABLE_COUNT && rc == CDPD_OK; k++) {
		rc = take_name(self, conf, names[k], self->tables.table[k].name);
		for (enum table_kind other = 0; other < k && rc == CDPD_OK; other++) {
			if (strcmp(self->tables.table[k].name, self->tables.table[other].name) != 0) continue;
			self->host->log(self->instance, CDPD_LOG_ERROR, "%s and %s must be different tables",
					names[other], names[k]);
			rc = CDPD_ERR_INVALID;
		}
	}
	return rc;
}

static int take_tables(struct postgres *self, const struct cdpd_conf *conf)
{
	struct cdpd_str text = self->host->conf_text(conf, "on_erase");
	self->on_erase = record_is(text, "keep")        ? ON_ERASE_KEEP
			 : record_is(text, "anonymise") ? ON_ERASE_ANONYMISE
							: ON_ERASE_DELETE;
	self->marks_gone = record_is(self->host->conf_text(conf, "gone"), "mark");
	bool deletes = record_is(self->host->conf_text(conf, "on_withdraw"), "delete");
	int rc = take_names(self, conf);
	self->tables.may_migrate = self->host->conf_bool(conf, "migrate");
	if (rc == CDPD_OK &&
	    !tables_init(&self->tables, self->host->conf_bool(conf, "keep_raw"), self->on_erase, deletes))
		rc = CDPD_ERR_NOMEM;
	return rc;
}

static void make_metrics(struct postgres *self)
{
	const struct cdpd_host *host = self->host;
	self->rows_metric = host->counter(self->instance, "postgres_rows_total", "Rows of events inserted.");
	self->duplicates_metric = host->counter(self->instance, "postgres_duplicates_total",
						"Events and changes handed over again that the table had already.");
	self->profiles_metric =
	    host->counter(self->instance, "postgres_profiles_total", "Rows of people written or deleted.");
	self->changes_metric = host->counter(self->instance, "postgres_changes_total", "Rows of changes inserted.");
	self->erased_metric = host->counter(self->instance, "postgres_erased_rows_total",
					    "Rows deleted or anonymised because somebody was erased, or withdrew.");
	self->mended_metric = host->counter(self->instance, "postgres_replaced_characters_total",
					    "Characters that the server cannot store, replaced by U+FFFD.");
	self->connects_metric = host->counter(self->instance, "postgres_connects_total", "Connections made.");
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct postgres *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	make_metrics(self);
	int rc = take_connection(self, conf);
	if (rc == CDPD_OK) rc = take_tables(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {
	.name = "connection",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 2000,
	.help = "a libpq connection string or URI, without the password",
    },
    {
	.name = "password",
	.type = CDPD_OPTION_SECRET,
	.help = "of the user of `connection`; none: as libpq finds it (peer, .pgpass, certificates)",
    },
    {
	.name = "schema",
	.type = CDPD_OPTION_STRING,
	.default_text = "cdpd",
	.min = 1,
	.max = TABLES_NAME_MAX,
	.help = "of the database; made when missing",
    },
    {
	.name = "table",
	.type = CDPD_OPTION_STRING,
	.default_text = "events",
	.min = 1,
	.max = TABLES_NAME_MAX,
	.help = "where the events go; made when missing",
    },
    {
	.name = "profile_table",
	.type = CDPD_OPTION_STRING,
	.default_text = "profiles",
	.min = 1,
	.max = TABLES_NAME_MAX,
	.help = "where the people are, a row each; made when the first comes",
    },
    {
	.name = "change_table",
	.type = CDPD_OPTION_STRING,
	.default_text = "changes",
	.min = 1,
	.max = TABLES_NAME_MAX,
	.help = "where the changes go; made when the first comes",
    },
    {
	.name = "withdrawal_table",
	.type = CDPD_OPTION_STRING,
	.default_text = "withdrawals",
	.min = 1,
	.max = TABLES_NAME_MAX,
	.help = "where it is noted who withdrew consent; made when the first does",
    },
    {
	.name = "migrate",
	.type = CDPD_OPTION_BOOL,
	.default_text = "true",
	.help = "make and change schema and table; false: they must be as this version wants them",
    },
    {
	.name = "keep_raw",
	.type = CDPD_OPTION_BOOL,
	.default_text = "true",
	.help = "keep the whole event in the column raw",
    },
    {
	.name = "gone",
	.type = CDPD_OPTION_ENUM,
	.default_text = "mark",
	.values = "mark|delete",
	.help = "what becomes of the row of a person who was joined into another or split",
    },
    {
	.name = "on_erase",
	.type = CDPD_OPTION_ENUM,
	.default_text = "delete",
	.values = "delete|anonymise|keep",
	.help = "what becomes of the rows of somebody who is erased",
    },
    {
	.name = "on_withdraw",
	.type = CDPD_OPTION_ENUM,
	.default_text = "keep",
	.values = "keep|delete",
	.help = "what becomes of the rows of somebody who consents no more",
    },
    {
	.name = "connect_timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "4s",
	.min = 2e6,
	.max = 60e6,
	.help = "how long to wait for each host of the connection string",
    },
    {
	.name = "statement_timeout",
	.type = CDPD_OPTION_DURATION,
	.default_text = "30s",
	.min = 1e5,
	.max = 600e6,
	.help = "how long the server may take for one statement",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 4,
    .name = "postgres",
    .version = "1.1.0",
    .summary = "keeps events, people and changes in PostgreSQL, each exactly once",
    .caps = CDPD_CAP_EXPORT,
    .flags = CDPD_PLUGIN_OWN_IO,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
