/* postgres: an exporter that appends events to a table, each exactly once. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cdpd_plugin.h"
#include "link.h"
#include "rows.h"
#include "tables.h"

#define RECORDS_MAX 500 /* the host's */

struct postgres {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char *conninfo, *password;
	struct link link;
	struct tables tables;
	struct rows rows;
	int rows_metric, duplicates_metric, erased_metric, mended_metric, connects_metric;

	/* the batch at hand */
	struct cdpd_record records[RECORDS_MAX];
	size_t count, done; /* all before `done` have their verdict */
	struct cdpd_receipt *receipt;
	uint64_t inserted, duplicates, erased; /* by the transaction at hand */
};

/* ── one transaction ─────────────────────────────────────────────────────── */

/* What the host writes when somebody is erased; no client can send this type. */
static bool is_erasure(const struct cdpd_record *record)
{
	static const char begin[] = "{\"type\":\"erased\",";
	return record->json.len >= sizeof begin && memcmp(record->json.ptr, begin, sizeof begin - 1) == 0;
}

/* Events between two erasures are a run: rows that an erasure takes away are those before it. */
static enum link_result copy_in(struct postgres *self, size_t from, size_t to)
{
	int32_t run = 0;
	size_t events = 0;
	rows_begin(&self->rows);
	for (size_t i = from; i < to; i++) {
		if (is_erasure(&self->records[i])) {
			run++;
			continue;
		}
		rows_add(&self->rows, (int32_t)i, run, &self->records[i]);
		events++;
	}
	if (!rows_end(&self->rows)) {
		snprintf(self->link.why, sizeof self->link.why, "out of memory");
		return LINK_FAILED;
	}
	return events ? link_copy(&self->link, tables_copy, self->rows.ptr, self->rows.len) : LINK_OK;
}

static enum link_result insert_run(struct postgres *self, int run, uint64_t events)
{
	char number[16];
	struct link_answer answer;
	const char *const params[] = {number};
	if (events == 0) return LINK_OK;
	snprintf(number, sizeof number, "%d", run);
	enum link_result rc = link_run(&self->link, self->tables.insert, params, 1, &answer);
	if (rc != LINK_OK) return rc;
	self->inserted += (uint64_t)answer.rows;
	self->duplicates += events - (uint64_t)answer.rows;
	return LINK_OK;
}

static enum link_result erase(struct postgres *self, const struct cdpd_record *record)
{
	struct link_answer answer;
	if (!self->tables.erase) return LINK_OK;
	char *json = strndup(record->json.ptr, record->json.len);
	if (!json) {
		snprintf(self->link.why, sizeof self->link.why, "out of memory");
		return LINK_FAILED;
	}
	const char *const params[] = {json};
	enum link_result rc = link_run(&self->link, self->tables.erase, params, 1, &answer);
	free(json);
	if (rc == LINK_OK) self->erased += (uint64_t)answer.rows;
	return rc;
}

static enum link_result apply(struct postgres *self, size_t from, size_t to)
{
	int run = 0;
	uint64_t events = 0;
	enum link_result rc = copy_in(self, from, to);
	for (size_t i = from; rc == LINK_OK && i < to; i++) {
		if (!is_erasure(&self->records[i])) {
			events++;
			continue;
		}
		rc = insert_run(self, run++, events);
		if (rc == LINK_OK) rc = erase(self, &self->records[i]);
		events = 0;
	}
	return rc == LINK_OK ? insert_run(self, run, events) : rc;
}

static enum link_result transact(struct postgres *self, size_t from, size_t to)
{
	self->inserted = self->duplicates = self->erased = 0;
	enum link_result rc = link_run(&self->link, "BEGIN", NULL, 0, NULL);
	if (rc == LINK_OK) rc = apply(self, from, to);
	if (rc == LINK_OK) rc = link_run(&self->link, "COMMIT", NULL, 0, NULL);
	if (rc != LINK_OK) {
		link_rollback(&self->link);
		return rc;
	}
	self->host->count(self->instance, self->rows_metric, self->inserted);
	self->host->count(self->instance, self->duplicates_metric, self->duplicates);
	self->host->count(self->instance, self->erased_metric, self->erased);
	self->host->count(self->instance, self->mended_metric, self->rows.mended);
	return LINK_OK;
}

/* ── a batch ─────────────────────────────────────────────────────────────── */

/* In order, also when it has to be done in halves to find the record that the server refuses. */
static enum link_result store(struct postgres *self, size_t from, size_t to)
{
	enum link_result rc = transact(self, from, to);
	if (rc == LINK_OK) {
		for (size_t i = from; i < to; i++) self->host->receipt_set(self->receipt, i, CDPD_ACK, 0, NULL);
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
		self->tables.is_ready = false;
		rc = link_open(&self->link);
		if (rc == LINK_OK) self->host->count(self->instance, self->connects_metric, 1);
	}
	if (rc == LINK_OK) rc = tables_prepare(&self->tables, &self->link);
	if (rc == LINK_OK && self->done < self->count) rc = store(self, self->done, self->count);
	return rc;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct postgres *self = ctx;
	self->count = self->host->batch_count(batch);
	self->done = 0;
	self->receipt = receipt;
	if (self->count > RECORDS_MAX) self->count = RECORDS_MAX; /* the rest is handed over again */
	for (size_t i = 0; i < self->count; i++) {
		self->records[i].size = sizeof self->records[i];
		if (self->host->batch_record(batch, i, &self->records[i]) != CDPD_OK) return CDPD_RETRY;
	}
	bool was_open = self->link.conn != NULL;
	enum link_result rc = connect_and_store(self);
	if (rc == LINK_LOST && was_open) rc = connect_and_store(self); /* a server that was restarted meanwhile */
	if (rc == LINK_OK && self->done == self->host->batch_count(batch)) return CDPD_ACK;
	self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 0, rc == LINK_OK ? NULL : self->link.why);
	return CDPD_RETRY;
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void destroy(void *ctx)
{
	struct postgres *self = ctx;
	link_close(&self->link);
	tables_fini(&self->tables);
	rows_free(&self->rows);
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

static int take_tables(struct postgres *self, const struct cdpd_conf *conf)
{
	struct cdpd_str text = self->host->conf_text(conf, "on_erase");
	enum on_erase on_erase = text.ptr[0] == 'k'   ? ON_ERASE_KEEP
				 : text.ptr[0] == 'a' ? ON_ERASE_ANONYMISE
						      : ON_ERASE_DELETE;
	int rc = take_name(self, conf, "schema", self->tables.schema);
	if (rc == CDPD_OK) rc = take_name(self, conf, "table", self->tables.table);
	self->tables.may_migrate = self->host->conf_bool(conf, "migrate");
	if (rc == CDPD_OK && !tables_init(&self->tables, self->host->conf_bool(conf, "keep_raw"), on_erase))
		rc = CDPD_ERR_NOMEM;
	return rc;
}

static void make_metrics(struct postgres *self)
{
	const struct cdpd_host *host = self->host;
	self->rows_metric = host->counter(self->instance, "postgres_rows_total", "Rows inserted.");
	self->duplicates_metric = host->counter(self->instance, "postgres_duplicates_total",
						"Events handed over again that the table had already.");
	self->erased_metric = host->counter(self->instance, "postgres_erased_rows_total",
					    "Rows deleted or anonymised because somebody was erased.");
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
	.name = "on_erase",
	.type = CDPD_OPTION_ENUM,
	.default_text = "delete",
	.values = "delete|anonymise|keep",
	.help = "what becomes of the rows of somebody who is erased",
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
    .abi_minor = 0,
    .name = "postgres",
    .version = "1.0.0",
    .summary = "appends events to a PostgreSQL table, each exactly once",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
