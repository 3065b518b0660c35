/* fake_host: a host of its own for testing a plugin without a daemon. It loads the built .so, gives it options, events and batches made by
 * the test, and keeps what the plugin said. One instance at a time, one thread. */
#pragma once

#include "cdpd_plugin.h"

#define FAKE_MAX         64
#define FAKE_RECORDS_MAX 5000 /* of a batch */

struct fake_field {
	const char *path;
	struct cdpd_value value;
};
struct cdpd_event { /* what the test says an event holds */
	struct fake_field fields[FAKE_MAX];
	size_t field_count;
	int64_t time_us, received_us;
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
	int64_t retry_after_ms;
	char reason[201];
};
struct cdpd_batch {
	const struct cdpd_record *records;
	size_t count;
};
struct cdpd_receipt {
	struct fake_verdict named[FAKE_RECORDS_MAX], all;
	unsigned done_count;
};

struct fake_pair {
	const char *name, *value;
};
struct cdpd_request { /* what the test posts */
	const char *method, *body, *ip;
	size_t body_len; /* 0: all of body */
	struct fake_pair headers[8], params[8];
	int64_t received_us;
};
struct fake_item { /* what the source made, NUL-terminated */
	bool is_reject;
	char text[2048], reason[201];
};
struct cdpd_batch_out {
	struct fake_item items[FAKE_MAX];
	size_t count, max; /* max: CDPD_ERR_TOO_LARGE beyond; 0: FAKE_MAX */
};
struct cdpd_reply {
	int status;
	char body[2048], type[64];
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
	char counters[FAKE_MAX][48];
	int counter_count;
	cdpd_timer_fn timer;
	void *timer_ctx;
	int64_t timer_ms;
	char log[2048]; /* the last line */
	unsigned log_count;
	char renamed[256]; /* what event_rename said last */
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

bool fake_has_logged(struct cdpd_instance *fake, const char *part);  /* in the last line */
uint64_t fake_counted(struct cdpd_instance *fake, const char *name); /* of a counter of the plugin's */
void fake_text(struct cdpd_event *event, const char *path, const char *text);
void fake_number(struct cdpd_event *event, const char *path, const char *text);
void fake_bytes(struct cdpd_event *event, const char *path, const void *ptr, size_t len);
void fake_json(struct cdpd_event *event, const char *path, const char *json); /* an object or array, minified */
/* What enrich set at `path`, NULL: nothing. */
const struct fake_set *fake_get(const struct cdpd_instance *fake, const char *path);
/* Fails the test unless `path` was set to `text`; NULL: was not set. */
void fake_expect(const struct cdpd_instance *fake, const char *path, const char *text);
int fake_enrich(struct cdpd_instance *fake, struct cdpd_event *event); /* forgets earlier sets */
/* Calls decode; out->max is kept, the rest begins empty. */
int fake_decode(struct cdpd_instance *fake, const struct cdpd_request *request, struct cdpd_batch_out *out,
		struct cdpd_reply *reply);
enum cdpd_verdict fake_export(struct cdpd_instance *fake, const struct cdpd_record *records, size_t count);
