/* fake_host: a host of its own for testing a plugin without a daemon. It loads the built .so, gives it options, events and batches made by
 * the test, and keeps what the plugin said. One instance at a time, one thread. */
#pragma once

#include "cdpd_plugin.h"

#define FAKE_MAX 64

struct fake_field {
	const char *path;
	struct cdpd_value value;
};
struct cdpd_event { /* what the test says an event holds */
	struct fake_field fields[FAKE_MAX];
	size_t field_count;
	int64_t time_us;
	bool has_offset; /* else the offset is unknown */
	int16_t utc_offset_min;
};
struct fake_set {                   /* what the plugin set */
	char path[256], text[8192]; /* NUL-terminated */
	size_t len;
};
struct fake_option {
	const char *name, *text; /* lists: items split by ',' */
};
struct cdpd_conf {
	const struct fake_option *options;
	size_t count;
	const struct cdpd_options *table;
};
struct fake_verdict {
	enum cdpd_verdict verdict;
	bool is_set;
	char reason[201];
};
struct cdpd_batch {
	const struct cdpd_record *records;
	size_t count;
};
struct cdpd_receipt {
	struct fake_verdict named[FAKE_MAX], all;
};

struct cdpd_instance { /* the fake itself */
	void *library;
	const struct cdpd_plugin *plugin;
	void *self;
	char paths[FAKE_MAX][256];
	size_t path_count;
	struct fake_set sets[FAKE_MAX];
	size_t set_count;
	uint64_t counted[FAKE_MAX];
	int counter_count;
	cdpd_timer_fn timer;
	void *timer_ctx;
	int64_t timer_ms;
	char log[2048]; /* the last line */
	unsigned log_count;
	struct cdpd_receipt receipt;
};

extern const struct cdpd_host fake_host_table;
/* What create is given; fake_host_table unless a test says otherwise. */
extern const struct cdpd_host *fake_host;

/* dlopens PLUGINS/<name>.so. Fails the test when it cannot. */
void fake_open(struct cdpd_instance *fake, const char *name);
/* Calls create with the table's defaults and these; its answer. */
int fake_create(struct cdpd_instance *fake, const struct fake_option *options, size_t count);
void fake_destroy(struct cdpd_instance *fake);
void fake_close(struct cdpd_instance *fake);

void fake_text(struct cdpd_event *event, const char *path, const char *text);
void fake_bytes(struct cdpd_event *event, const char *path, const void *ptr, size_t len);
void fake_json(struct cdpd_event *event, const char *path, const char *json); /* an object or array, minified */
/* What enrich set at `path`, NULL: nothing. */
const struct fake_set *fake_get(const struct cdpd_instance *fake, const char *path);
int fake_enrich(struct cdpd_instance *fake, struct cdpd_event *event); /* forgets earlier sets */
enum cdpd_verdict fake_export(struct cdpd_instance *fake, const struct cdpd_record *records, size_t count);
