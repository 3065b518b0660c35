/* internal: what the files of this room share. Nobody else includes it, but its tests. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/metric.h"
#include "plugin/cache.h"
#include "plugin/enrich.h"
#include "plugin/instance.h"
#include "plugin/postbox.h"
#include "plugin/watchdog.h"

struct plugin {
	struct plugin *next;
	char *path;
	const struct cdpd_plugin *table;
};

#define PLUGIN_NAME_MAX    64
#define PLUGIN_PATH_MAX    200 /* bytes of a field path */
#define PLUGIN_STEPS_MAX   8
#define PLUGIN_PATHS_MAX   64
#define PLUGIN_OPTIONS_MAX 100

/* Puts a text (at most 500 bytes) into *error and returns ERR_INVALID. */
MUST_USE int plugin_refuse(struct arena *arena, struct str *error, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Does [text] match [a-z][a-z0-9<extra>]*, at most PLUGIN_NAME_MAX bytes? */
bool plugin_is_name(struct str text, const char *extra);
/* "a.b.c": 1-8 non-empty steps, at most 200 bytes. */
bool plugin_is_field_path(struct str text);
/* Is `path` equal to `root` or below it? */
bool plugin_path_is_under(struct str path, struct str root);

/* table.c: is what a .so says of itself sound? *error static or in the arena. `stem`: the file's name without .so. */
MUST_USE int plugin_table_check(struct arena *arena, const struct cdpd_plugin *table, struct str stem,
				struct str *error);
/* What of the kinds this host runs; caps as text: "enrich, export". */
struct str plugin_caps_text(struct arena *arena, uint32_t caps);
bool plugin_feature_has_options(const struct cdpd_feature_type *type); /* what was appended in 1.1 */
/* What was appended in 1.4; of an older table: none. */
struct cdpd_paths plugin_uses(const struct cdpd_plugin *table);

static inline const struct cdpd_option *plugin_option(const struct cdpd_options *options, size_t index)
{
	return (const struct cdpd_option *)(const void *)((const char *)options->items + index * options->item_size);
}
const char *plugin_option_type_name(enum cdpd_option_type type);

/* ── checked options ─────────────────────────────────────────────────────── */

struct option_value {
	bool is_set;
	bool boolean;
	int64_t integer; /* INT, DURATION (µs), SIZE */
	double number;   /* FLOAT, INT */
	struct str text;
	struct str *items;
	size_t item_count;
};

struct cdpd_conf {
	const struct cdpd_plugin *table;
	struct option_value *values; /* one for each option of the table */
};
struct plugin_conf {
	struct cdpd_conf sdk;
	struct conf_isolation isolation; /* as the instance has it, texts copied */
	uint32_t use;                    /* the capability it was configured for; 0: not known */
};

/* Reads one scalar for one option. ERR_INVALID with *why, a phrase such as "must be a whole number". */
MUST_USE int option_read(struct arena *arena, const struct cdpd_option *option, struct str text,
			 struct option_value *out, struct str *why);
/* The same for a secret: reads the file or the variable that the text names. */
MUST_USE int option_read_secret(struct arena *arena, struct str text, struct option_value *out, struct str *why);
/* `types`: bits 1 << enum cdpd_option_type. NULL: no such option, or of another type. */
const struct option_value *conf_find(const struct cdpd_conf *conf, const char *name, unsigned types);

/* ── the sync chain ──────────────────────────────────────────────────────── */

#define ENRICH_VALUES_MAX      64
#define ENRICH_VALUE_MAX       4096
#define ENRICH_BYTES_MAX       16384
#define ENRICH_ERRORS_IN_ROW   100
#define ENRICH_PAUSE_US        (10 * US_PER_SECOND)
#define ENRICH_DROP_REASON_MAX 100

/* What the chain has set so far for one event, sorted by path; text lies in the event's arena. */
struct enrich_value {
	struct str path; /* without "enrichment." */
	enum cdpd_value_kind kind;
	double number;
	struct str text; /* STRING: decoded, JSON: minified */
	uint32_t index;  /* of its path among the instance's */
};
struct enrich_values {
	struct enrich_value items[ENRICH_VALUES_MAX];
	size_t count, bytes;
};
/* Replaces an equal path. ERR_INVALID: a value stands where the path needs an object or the other way round; ERR_TOO_LARGE. */
MUST_USE int enrich_values_set(struct enrich_values *values, const struct enrich_value *value);
const struct enrich_value *enrich_values_get(const struct enrich_values *values, struct str path);
/* The whole as one JSON object. */
MUST_USE int enrich_values_write(const struct enrich_values *values, struct buf *out);

enum field_head {             /* where a path starts */
		  FIELD_ROOT, /* any member of the message that has no own place */
		  FIELD_PROPERTIES,
		  FIELD_TRAITS,
		  FIELD_CONTEXT,
		  FIELD_ENRICHMENT,
		  FIELD_TYPE,
		  FIELD_EVENT,
		  FIELD_NAME,
		  FIELD_CATEGORY,
		  FIELD_MESSAGE_ID,
		  FIELD_USER_ID,
		  FIELD_ANONYMOUS_ID,
		  FIELD_PREVIOUS_ID,
		  FIELD_GROUP_ID,
		  FIELD_IP,
		  FIELD_USER_AGENT,
		  FIELD_SOURCE_ID,
};
struct field_path {
	struct str text, rest; /* rest: after the head and its dot, maybe empty */
	enum field_head head;
	bool is_provided; /* may be set by the instance that asked */
};
enum field_head field_head_of(struct str text, struct str *rest);

/* One event as enrichers see it. One for each chain, reused. */
#define VIEW_PARTS      5 /* properties, traits, context, everything else, what was enriched before */
#define VIEW_ENRICHMENT 4
struct enrich_view {
	struct cdpd_event *event; /* NULL between events */
	const struct json *root;
	struct arena *arena;
	struct enrich_values values;
	struct json_reader *readers[VIEW_PARTS]; /* of the event's texts, made when first needed */
	struct buf bufs[VIEW_PARTS];
	struct json parts[VIEW_PARTS];
	int part_state[VIEW_PARTS];  /* 0: not yet parsed; 1: there; -1: absent */
	struct json_reader *checker; /* of JSON that plugins set */
	struct buf scratch;
	struct str drop_reason;
	bool is_dropped, was_renamed;
};
void enrich_view_init(struct enrich_view *view);
void enrich_view_fini(struct enrich_view *view);
void enrich_view_begin(struct enrich_view *view, struct cdpd_event *event, const struct json *root,
		       struct arena *arena);
/* OK with kind NONE when absent; ERR_NOMEM. */
MUST_USE int enrich_view_get(struct enrich_view *view, const struct field_path *path, struct cdpd_value *out);
/* `value->text` is copied and, for JSON, checked. */
MUST_USE int enrich_view_set(struct enrich_view *view, const struct field_path *path, struct enrich_value value);
/* The event's name; the one that was sent becomes a value at "renamed_from". ERR_NOMEM, and as enrich_values_set: nothing has changed. */
MUST_USE int enrich_view_rename(struct enrich_view *view, struct str name);

struct enricher {
	struct cdpd_instance *instance;
	int (*enrich)(void *self, struct cdpd_event *event);
	struct str name;
	unsigned errors_in_row;
	int64_t paused_until_us; /* 0: runs */
	struct metric *events, *errors, *drops, *skipped, *pauses;
};
struct enrich_chain {
	struct arena arena;
	struct enricher *items;
	size_t count;
	struct enrich_view view;
	struct enrich_values saved; /* before the enricher at hand, as the next */
	struct str saved_name;
	bool was_renamed;
	int64_t pause_us;
	struct metric *lost;
	struct watched watched;
	bool is_watched;
};

/* order.c: sorts plugins so that each stands behind those that provide what it needs, else in the order given. order[i] is an index.
 * ERR_INVALID with *error: a cycle or an input nobody provides, with names. */
struct order_item {
	struct str name;
	const struct cdpd_plugin *table;
	bool is_async; /* asked after the journal: behind everybody */
};
#define ASYNC_MAX 32
MUST_USE int enrich_order(struct arena *arena, const struct order_item *items, size_t count, size_t *order,
			  struct str *error);

/* ── instances ───────────────────────────────────────────────────────────── */

#define INSTANCE_MAGIC       0x63647069u
#define INSTANCE_TIMERS_MAX  16
#define INSTANCE_METRICS_MAX 32

struct instance_timer {
	int64_t due_us;
	cdpd_timer_fn fn;
	void *ctx;
};
struct cdpd_instance {
	uint32_t magic;
	char name[INSTANCE_NAME_MAX + 1];
	const struct cdpd_plugin *table;
	void *self;
	bool is_creating, can_time;
	struct arena arena; /* of path texts */
	struct field_path paths[PLUGIN_PATHS_MAX];
	size_t path_count;
	struct metric *metrics[INSTANCE_METRICS_MAX];
	enum metric_type metric_types[INSTANCE_METRICS_MAX];
	size_t metric_count;
	struct instance_timer timers[INSTANCE_TIMERS_MAX];
	size_t timer_count;
	struct enrich_view *view; /* of its chain; NULL outside one */
	struct instance_services services;
	struct cache_flights *cache; /* NULL: it has no spaces */
	struct postbox *postbox;     /* NULL: it publishes nothing */
	int64_t (*turn)(void *ctx);  /* run with the timers; when it wants to run next. NULL: none */
	void *turn_ctx;
	int64_t turn_due_us;
};

/* ── looking into a file ─────────────────────────────────────────────────── */

/* Gives up everything but reading libraries and `folder`, and writing to `keep_fd`; all other file descriptors are closed. For a
 * child that loads a stranger's .so. ERR_REFUSED: the kernel cannot. */
MUST_USE int sandbox_enter(int keep_fd, const char *folder);
struct sandbox {
	const char *folder;      /* of the plugin: may be read */
	const char *const *read; /* and these */
	size_t read_count;
	uint64_t memory; /* bytes it may take besides what the process has; 0: 2 GiB in all */
	bool
	    works; /* it is to stay: no limit of processor time, may wait and have threads; refused system calls raise SIGSYS */
	bool has_landlock; /* filled in: files are restricted */
};
/* The same for a child without other file descriptors. */
MUST_USE int sandbox_confine(struct sandbox *sandbox);
/* Describes the plugin at `path` into `out`, from a sandboxed child. ERR_REFUSED: not a plugin, or it crashed; `out` says why. */
MUST_USE int plugin_inspect(struct str path, struct buf *out);
/* The text that the child writes. */
MUST_USE int plugin_describe(const struct plugin *plugin, struct buf *out);

static inline struct cdpd_str sdk_str(struct str text)
{
	return (struct cdpd_str){text.ptr, text.len};
}
static inline struct str core_str(struct cdpd_str text)
{
	return str_of(text.ptr, text.ptr ? text.len : 0);
}
