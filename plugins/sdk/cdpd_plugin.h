/* cdpd_plugin.h: the only header a plugin includes. A plugin is a shared object with one exported symbol:
 *
 *	CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = { .size = sizeof cdpd_plugin, … };
 *
 * plain data that says what the plugin is, what it can do (`caps`) and which functions do it. Everything it may ask
 * of cdpd stands in struct cdpd_host. docs/plugins.md is the guide.
 *
 * Text is UTF-8 and borrowed: what the host hands in lives until the call it was handed to returns (or as long as its
 * description says), what a plugin hands in is copied before the host's function returns. Time is int64_t in µs since 1970 UTC when
 * named _us. No function of either side may throw or longjmp across the border.
 *
 * struct cdpd_host, struct cdpd_plugin and every struct that starts with `size` grow at the end within a major version, and
 * `item_size` is the size of an element of an array; everything else is frozen for the life of a major version. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* +1 when something changes or goes: must match the host's. */
#define CDPD_ABI_MAJOR 1
/* +1 when something is appended: the host's must be >= the plugin's. */
#define CDPD_ABI_MINOR 4
/* 1.0  first version: source, enrich, enrich_async, feature, export.
 *      A host of 1.0 runs enrich, feature and export. It fills every entry of struct cdpd_host except those marked "not in
 *      1.0", which are NULL: ask with CDPD_HAS.
 * 1.1  struct cdpd_feature_type: flags, options, state_max, check and the four calls that get compiled options; max_state may be 8192.
 * 1.2  runs enrich_async. ticket_event, ticket_done, http, cache_get, cache_fill, kv_get and kv_put are there: for enrich_async and export; to others
 *      they answer CDPD_ERR_UNSUPPORTED. Nothing was appended.
 * 1.3  runs source: request_info to reply_body are there, and timer, http, the cache and the key-values for sources too. Nothing was appended.
 * 1.4  exporters are handed profile and change records where the configuration asks for them; struct cdpd_record: flags, other_id. */

#if defined(__GNUC__)
#define CDPD_EXPORT            __attribute__((visibility("default")))
#define CDPD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CDPD_EXPORT
#define CDPD_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed text or bytes; not NUL-terminated; ptr is never NULL from the host, absent text has len 0. */
struct cdpd_str {
	const char *ptr;
	size_t len;
};

/* What fallible host functions return, and what create, enrich and decode return when they fail. */
enum cdpd_error {
	CDPD_OK = 0,
	CDPD_ERR_NOMEM = -1,
	CDPD_ERR_INVALID = -2,     /* a malformed argument, or a call at the wrong time */
	CDPD_ERR_TOO_LARGE = -3,   /* a bound was passed */
	CDPD_ERR_NOT_FOUND = -4,   /* nothing there */
	CDPD_ERR_DENIED = -5,      /* not declared in `provides`, or not allowed to this plugin */
	CDPD_ERR_BUSY = -6,        /* a bounded queue or table is full: later */
	CDPD_ERR_IO = -7,          /* the outside world failed */
	CDPD_ERR_TIMEOUT = -8,     /* too late: a deadline has passed */
	CDPD_ERR_UNSUPPORTED = -9, /* not for this kind of plugin */
};

/* Opaque: the host's own. */
struct cdpd_instance;  /* one configured use of the plugin: the first argument of most host functions */
struct cdpd_conf;      /* its checked options; lives during `create` */
struct cdpd_event;     /* one event; lives during the call it was handed to */
struct cdpd_request;   /* source: one HTTP request of a foreign shape */
struct cdpd_batch_out; /* source: the events made of it */
struct cdpd_reply;     /* source: the answer, sent only after the events are durable */
struct cdpd_ticket;    /* enrich_async: one question that is answered once */
struct cdpd_batch;     /* export: records in order */
struct cdpd_receipt;   /* export: the verdict on each of them */
struct cdpd_cache_slot;

/* ── options: data, checked before `create` ──────────────────────────────── */

enum cdpd_option_type {
	CDPD_OPTION_STRING = 1, /* min, max: bytes */
	CDPD_OPTION_INT,
	CDPD_OPTION_FLOAT,
	CDPD_OPTION_BOOL,     /* true or false */
	CDPD_OPTION_DURATION, /* 250ms, 10s, 5m, 2h, 7d; min, max: µs */
	CDPD_OPTION_SIZE,     /* 512, 64KB, 8MB, 1GB, 1MiB (KB is 1000, KiB 1024); min, max: bytes */
	CDPD_OPTION_ENUM,     /* one of `values` */
	CDPD_OPTION_LIST,     /* of strings; min, max: items */
	CDPD_OPTION_SECRET,   /* file:/path or env:NAME; read before create, never logged or listed */
};

struct cdpd_option {
	const char *name; /* [a-z][a-z0-9_]*, at most 64 bytes, unique in the table */
	enum cdpd_option_type type;
	bool is_required;         /* then default_text is NULL */
	const char *default_text; /* as it would stand in the YAML; lists: "a, b"; NULL: absent (empty, 0, false) */
	double min, max;          /* inclusive; both 0: no limits */
	const char *values;       /* ENUM: "a|b|c"; otherwise NULL */
	const char *help;         /* one sentence for people */
};

struct cdpd_options {
	size_t item_size; /* sizeof(struct cdpd_option) */
	size_t count;
	const struct cdpd_option *items;
};

/* ── values ──────────────────────────────────────────────────────────────── */

enum cdpd_value_kind { CDPD_VALUE_NONE, CDPD_VALUE_NUMBER, CDPD_VALUE_STRING, CDPD_VALUE_BOOL, CDPD_VALUE_JSON };

/* One field of an event. NONE: absent or null. */
struct cdpd_value {
	enum cdpd_value_kind kind;
	double number;        /* NUMBER; BOOL: 0 or 1 */
	struct cdpd_str text; /* STRING: decoded; JSON (an object or array) and NUMBER: as minified JSON */
};

/* Field paths, one name a step. In a message: type, event, name, category, messageId, userId, anonymousId, previousId, groupId,
 * properties.…, traits.…, context.… and any other member as sent. Of cdpd: ip and userAgent (the event's own or its
 * connection's), sourceId. What enrichers earlier in the chain have set: enrichment.…, by exactly the path it was set at. A path is
 * at most 200 bytes and 8 steps. */
struct cdpd_paths {
	size_t count; /* at most 64 */
	const char *const *items;
};

struct cdpd_event_info {
	uint32_t size;          /* set by the plugin; the host fills no more */
	int16_t utc_offset_min; /* of the event's place; 32767: unknown */
	int64_t time_us;        /* corrected event time */
	int64_t received_us;
	uint32_t flags; /* reserved */
};

/* ── features ────────────────────────────────────────────────────────────── */

/* One event as a feature sees it: its time and the value at the feature's `field`. */
struct cdpd_feature_input {
	uint32_t size;
	int64_t time_us;            /* corrected event time, µs since 1970 UTC */
	int16_t utc_offset_min;     /* of the event's place; 32767: unknown */
	struct cdpd_str message_id; /* breaks ties of time: the larger bytes win */
	enum cdpd_value_kind kind;  /* NONE when the feature has no field or the event lacks it */
	double number;              /* NUMBER (numeric strings count as NUMBER); BOOL: 0 or 1 */
	struct cdpd_str text;       /* STRING: decoded text; otherwise the value as JSON */
};

enum cdpd_feature_flag {
	CDPD_FEATURE_KEYED =
	    1 << 0, /* may be kept per key (`key:`): small states that never need a bound on their own */
	CDPD_FEATURE_NO_TEXT = 1 << 1, /* does not look at the text of numbers: the host need not make it */
	CDPD_FEATURE_TELLS =
	    1 << 2, /* states that differ read differently, rare cases aside: the host need not compare readings */
};

/* The value of one option of a feature, as its type means it. */
struct cdpd_param {
	int64_t integer;      /* INT; DURATION: µs; SIZE: bytes; BOOL: 0 or 1; ENUM: index in `values` */
	double number;        /* FLOAT; the others: the integer */
	struct cdpd_str text; /* STRING, ENUM */
};

struct cdpd_params {
	uint32_t size;
	uint32_t count;
	const struct cdpd_param *values;
};

/* Pure functions over a flat state of at most max_state bytes (8-byte aligned). `add` runs on the fold's thread; `merge` and
 * `read` are const in their sources and may run on any thread. No I/O, no clock, no globals: the same inputs always give the
 * same bytes. A feature has no instance and calls no host function. */
struct cdpd_feature_type {
	uint32_t size;
	uint32_t state_version; /* +1 when the state's layout or meaning changes */
	uint32_t max_state;     /* bytes; at most 8192 (hosts of 1.0: 1024) */
	bool exact;             /* any order of adds and merges gives the same answer */
	bool needs_field;
	/* Returns the state's length. */
	uint32_t (*init)(void *state);
	/* 0; <0: the input is refused, the state unchanged. */
	int (*add)(void *state, uint32_t *len, const struct cdpd_feature_input *input);
	/* 0; <0: the states cannot be merged. */
	int (*merge)(void *into, uint32_t *len, const void *other, uint32_t other_len);
	/* The length of the JSON text; <0: it does not fit. */
	int (*read)(const void *state, uint32_t len, int64_t now_us, char *json, uint32_t json_size);

	/* Since 1.1. A type of 1.0 ends here: the host looks at `size`. */
	uint32_t flags; /* enum cdpd_feature_flag */
	/* What a feature of this type may say besides name, type, event, field, where, key and max_keys: every type but LIST and SECRET.
	 * An option is part of a feature's identity: a changed one begins a new feature. The default of an option never changes within
	 * a state_version, because only what differs from it is stored. */
	struct cdpd_options options;
	/* With options each of these replaces its namesake above, which may then be NULL. params->values[i] is item i of `options`. */
	uint32_t (*init_with)(const struct cdpd_params *params, void *state);
	int (*add_with)(const struct cdpd_params *params, void *state, uint32_t *len,
			const struct cdpd_feature_input *input);
	int (*merge_with)(const struct cdpd_params *params, void *into, uint32_t *len, const void *other,
			  uint32_t other_len);
	int (*read_with)(const struct cdpd_params *params, const void *state, uint32_t len, int64_t now_us, char *json,
			 uint32_t json_size);
	/* The longest state with these options, at most max_state. NULL: max_state. */
	uint32_t (*state_max)(const struct cdpd_params *params);
	/* What no single option can tell: NULL, or a static text of what is wrong ("window must be …"). NULL: nothing to check. */
	const char *(*check)(const struct cdpd_params *params);
};

/* ── export ──────────────────────────────────────────────────────────────── */

/* Zero is the answer that loses nothing. */
enum cdpd_verdict {
	CDPD_RETRY,   /* hand it over again, later: by name this person's records wait, of the rest everybody's */
	CDPD_ACK,     /* it is safe on the other side: never hand it over again */
	CDPD_DROP,    /* it can never be taken (counted, with the reason) */
	CDPD_PENDING, /* receipt_done will tell, from any thread */
};

#define CDPD_ALL ((size_t)-1) /* receipt_set: every record that was not named singly */

/* Other kinds than events come only to destinations whose configuration asks for them (`records`). */
enum cdpd_record_kind {
	CDPD_RECORD_EVENT = 1, /* an applied event, or a notice: {"type":"erased",…}, {"type":"withdrawn",…} */
	CDPD_RECORD_PROFILE =
	    2, /* a person as she is now: {"type":"profile",…}; replaces what was said of her before */
	CDPD_RECORD_CHANGE = 3, /* one change of a person: {"type":"change",…} */
};

enum cdpd_record_flag {
	/* A profile record: this person is no more: joined into other_id, split away or erased. {"type":"profile","id":…,"gone":…} whatever the mapping is. */
	CDPD_RECORD_GONE = 1,
};

/* One record of a batch, borrowed from it. */
struct cdpd_record {
	uint32_t size;            /* set by the plugin; the host fills no more */
	uint32_t kind;            /* enum cdpd_record_kind; DROP or ACK kinds you do not know */
	struct cdpd_str position; /* opaque, URL-safe, at most 40 bytes; orders nothing, names the record */
	struct cdpd_str
	    delivery_id; /* the same for every attempt, also after a restart: for the other side's deduplication */
	struct cdpd_str message_id; /* of an event or a notice; else empty */
	struct cdpd_str profile_id; /* 32 hex digits: the person at the time of handing over */
	struct cdpd_str
	    json; /* the event as readers of /v1/profiles/…/events see it, the profile or the change: one JSON object on one line */
	int64_t time_us;  /* corrected event time; of profiles and changes: when it was caused */
	uint32_t attempt; /* 1: handed over for the first time since the daemon started */
	/* ── 1.4 ── */
	uint32_t flags;           /* enum cdpd_record_flag */
	struct cdpd_str other_id; /* of one that is gone: the profile she was joined into; else empty */
};

/* ── source ──────────────────────────────────────────────────────────────── */

struct cdpd_request_info {
	uint32_t size; /* set by the plugin; the host fills no more */
	struct cdpd_str method, path, query, body, client_ip;
	int64_t received_us;
};

/* ── asynchronous HTTP and cache ─────────────────────────────────────────── */

struct cdpd_http_header {
	struct cdpd_str name, value;
};
struct cdpd_http_request {
	uint32_t size;
	uint32_t timeout_ms; /* 0: the host's default */
	struct cdpd_str method, url, body;
	const struct cdpd_http_header *headers;
	size_t header_count;
	size_t max_body; /* larger answers fail with CDPD_ERR_TOO_LARGE; 0: 1 MB */
};
struct cdpd_http_response {
	uint32_t size;
	int error;              /* enum cdpd_error; not CDPD_OK: there was no answer */
	int status;             /* HTTP status */
	int64_t retry_after_ms; /* -1: not given */
	struct cdpd_str body;
	const struct cdpd_http_header *headers; /* names in lower case */
	size_t header_count;
};
/* On the instance's own thread, exactly once for each accepted request; the response lives during the call. */
typedef void (*cdpd_http_fn)(void *ctx, const struct cdpd_http_response *response);

/* On the instance's own thread. error CDPD_OK with the value; CDPD_ERR_NOT_FOUND: a remembered "there is none". */
typedef void (*cdpd_cache_fn)(void *ctx, int error, struct cdpd_str value);
struct cdpd_cache_request {
	uint32_t size;
	struct cdpd_str key;     /* at most 255 bytes */
	int64_t ttl_ms;          /* of a value */
	int64_t negative_ttl_ms; /* of "there is none" */
	int64_t stale_ms;        /* how long past its ttl a value may be used while it is fetched anew */
	/* Asks the outside world, once however many ask for the key; answers with cache_fill. ctx: cache_get's. */
	void (*fetch)(void *ctx, struct cdpd_cache_slot *slot, struct cdpd_str key);
};

typedef void (*cdpd_timer_fn)(void *ctx);

/* ── the host ────────────────────────────────────────────────────────────── */

enum cdpd_log_level { CDPD_LOG_ERROR, CDPD_LOG_WARN, CDPD_LOG_INFO, CDPD_LOG_DEBUG };

/* Is this entry there? CDPD_HAS(host, http) */
#define CDPD_HAS(host, entry) \
	((host)->size >= offsetof(struct cdpd_host, entry) + sizeof((host)->entry) && (host)->entry != NULL)

/* Everything a plugin may ask of cdpd. The table is the same for every instance and lives until exit. "own thread": only on
 * the thread that is inside one of this instance's callbacks. */
struct cdpd_host {
	uint32_t size;
	uint16_t abi_major, abi_minor;

	/* Any thread. One line in the daemon's log under the instance's name; no payload, no secret. At most 1,000 bytes. */
	void (*log)(struct cdpd_instance *instance, enum cdpd_log_level level, const char *fmt, ...) CDPD_PRINTF(3, 4);

	/* In create: a metric of the instance, cdpd_plugin_<name>{instance="…"}; name [a-z][a-z0-9_]*, at most 40 bytes, counters
	 * end in _total. Its number (>= 0) or an error; at most 32 for an instance. */
	int (*counter)(struct cdpd_instance *instance, const char *name, const char *help);
	int (*histogram)(struct cdpd_instance *instance, const char *name,
			 const char *help); /* of seconds, observed in µs */
	/* Any thread. Unknown numbers (also negative ones) are ignored. */
	void (*count)(struct cdpd_instance *instance, int metric, uint64_t n);
	void (*observe_us)(struct cdpd_instance *instance, int metric, int64_t us);

	/* In create: the option's value, its default, or empty, 0, false. The types must be those of the table (another
	 * name or type is logged as the plugin's error and reads as absent). Text lives during create. */
	bool (*conf_has)(const struct cdpd_conf *conf, const char *name);             /* given or defaulted */
	struct cdpd_str (*conf_text)(const struct cdpd_conf *conf, const char *name); /* STRING, ENUM, SECRET */
	int64_t (*conf_int)(const struct cdpd_conf *conf, const char *name);  /* INT; DURATION: µs; SIZE: bytes */
	double (*conf_float)(const struct cdpd_conf *conf, const char *name); /* FLOAT, INT */
	bool (*conf_bool)(const struct cdpd_conf *conf, const char *name);    /* BOOL */
	size_t (*conf_count)(const struct cdpd_conf *conf, const char *name); /* LIST: items */
	struct cdpd_str (*conf_item)(const struct cdpd_conf *conf, const char *name, size_t index);

	/* In create: a field path's number (>= 0) for the functions below, or CDPD_ERR_INVALID, CDPD_ERR_BUSY (more than 64). */
	int (*path)(struct cdpd_instance *instance, const char *text);

	/* Own thread, inside enrich (or with a ticket's event). The value lives until enrich returns. CDPD_OK with kind NONE when absent;
	 * CDPD_ERR_INVALID: not the event at hand, or an unknown path. */
	int (*event_get)(struct cdpd_instance *instance, const struct cdpd_event *event, int path,
			 struct cdpd_value *out);
	int (*event_info)(struct cdpd_instance *instance, const struct cdpd_event *event, struct cdpd_event_info *out);
	/* Sets one field under enrichment.… ; the event as sent is never changed. CDPD_ERR_DENIED: the path is not at or under one of
	 * `provides`; CDPD_ERR_INVALID: not JSON, not finite, or a value stands where the path needs an object (or the
	 * other way round); CDPD_ERR_TOO_LARGE: over 4,096 bytes, or over 64 values or 16,384 bytes in the event. Setting again
	 * replaces. Of two instances that provide the same path, the later in the chain wins. Broken UTF-8 becomes U+FFFD. */
	int (*event_set_text)(struct cdpd_instance *instance, struct cdpd_event *event, int path, struct cdpd_str text);
	int (*event_set_number)(struct cdpd_instance *instance, struct cdpd_event *event, int path, double number);
	int (*event_set_bool)(struct cdpd_instance *instance, struct cdpd_event *event, int path, bool value);
	int (*event_set_json)(struct cdpd_instance *instance, struct cdpd_event *event, int path, struct cdpd_str json);
	/* Sync enrichers: `return host->event_drop(instance, event, "bot");` answers the client that this event was refused, and
	 * keeps it among the rejects. Returns CDPD_ENRICH_DROP. The reason is at most 100 bytes. */
	int (*event_drop)(struct cdpd_instance *instance, struct cdpd_event *event, const char *reason);

	/* Any thread, while the batch lives: until export_batch returns anything but PENDING, or until receipt_done. */
	size_t (*batch_count)(const struct cdpd_batch *batch);
	int (*batch_record)(const struct cdpd_batch *batch, size_t index,
			    struct cdpd_record *out); /* CDPD_ERR_NOT_FOUND */
	/* Any thread, before the verdict is final. retry_after_ms counts with RETRY (0: the host's backoff); reason (may be NULL,
	 * at most 200 bytes kept) is shown to operators for RETRY and DROP. PENDING is no verdict here. CDPD_ERR_TIMEOUT: too late. */
	int (*receipt_set)(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict,
			   int64_t retry_after_ms, const char *reason);
	/* After export_batch returned PENDING (or shortly before), exactly once, from any thread: every record not named singly gets
	 * `rest`. Batch and receipt are gone when it returns. CDPD_ERR_TIMEOUT: the deadline (30 s) had passed, the host counts all
	 * as RETRY and hands them over again. */
	int (*receipt_done)(struct cdpd_receipt *receipt, enum cdpd_verdict rest);

	/* Own thread (create included); export, enrich_async and source. `fn` runs once on the instance's own thread, between
	 * its other calls, no sooner than delay_ms from now; not after destroy. At most 16 waiting: CDPD_ERR_BUSY. */
	int (*timer)(struct cdpd_instance *instance, int64_t delay_ms, cdpd_timer_fn fn, void *ctx);

	/* From 1.2 on: enrich_async. The ticket's event lives until ticket_done; event_get, event_info and event_set_* work on it, on the own
	 * thread. Past its deadline they still do, what is set is lost. NULL: there is no such ticket (any more). */
	struct cdpd_event *(*ticket_event)(struct cdpd_ticket *ticket);
	/* Any thread, exactly once. CDPD_OK: what was set is the answer, also when it is nothing. CDPD_ERR_BUSY: not now (a quota, a 429): nobody is asked for a
	 * while, then this event again. Another error: given up, or with `fail: closed` asked again later. Returns CDPD_ERR_TIMEOUT:
	 * the deadline had passed, nobody waits any more; CDPD_ERR_INVALID: there is no such ticket, or it was answered. */
	int (*ticket_done)(struct cdpd_ticket *ticket, int error, const char *reason);

	/* From 1.3 on: source. Inside decode, on its thread; afterwards they answer CDPD_ERR_INVALID. Texts live until decode returns. A header or
	 * parameter that is absent is empty. Events and rejects: at most limits.batch_events and limits.body_bytes of the
	 * configuration, an excerpt keeps 1,024 bytes (CDPD_ERR_TOO_LARGE). The answer is 200 without a body unless something else is said: status 200 to
	 * 599, 8 headers of 1,024 bytes, 65,536 bytes of body; headers of the connection and the framing are CDPD_ERR_DENIED. */
	int (*request_info)(const struct cdpd_request *request, struct cdpd_request_info *out);
	struct cdpd_str (*request_header)(const struct cdpd_request *request, const char *name);
	struct cdpd_str (*request_param)(const struct cdpd_request *request, const char *name); /* decoded */
	int (*out_event)(struct cdpd_batch_out *out, struct cdpd_str json); /* one event of the native JSON form */
	int (*out_reject)(struct cdpd_batch_out *out, const char *reason, struct cdpd_str excerpt);
	int (*reply_status)(struct cdpd_reply *reply, int status);
	int (*reply_header)(struct cdpd_reply *reply, const char *name, struct cdpd_str value);
	int (*reply_body)(struct cdpd_reply *reply, struct cdpd_str body);

	/* From 1.2 on: own thread; enrich_async, export, source. `done` is called exactly once if and only if CDPD_OK is returned: on the own thread, never
	 * before http returns; with CDPD_ERR_IO before destroy for what is still under way then. http and https; at most three redirects of GET and HEAD,
	 * another host gets none of the headers. CDPD_ERR_DENIED (in the response): a private address that the
	 * configuration does not allow. CDPD_ERR_BUSY: 1,024 wait already. */
	int (*http)(struct cdpd_instance *instance, const struct cdpd_http_request *request, cdpd_http_fn done,
		    void *ctx);
	/* From 1.2 on: own thread; enrich_async, export, source. A cache of the instance's own that survives restarts: `fetch` is called once however many ask for a key,
	 * and must bring about one cache_fill, on the own thread, within 60 s. `done` is called exactly once if CDPD_OK is returned, maybe before that. A stale
	 * value is given at once while `fetch` runs for nobody: its ctx is valid only until fetch returns. Filled with CDPD_OK
	 * the value (at most 65,536 bytes) is kept, with CDPD_ERR_NOT_FOUND that there is none; other errors are told and never kept.
	 * The host may forget what it keeps. */
	int (*cache_get)(struct cdpd_instance *instance, const struct cdpd_cache_request *request, cdpd_cache_fn done,
			 void *ctx);
	int (*cache_fill)(struct cdpd_cache_slot *slot, int error, struct cdpd_str value);

	/* From 1.2 on: the instance's own persistent key-value space; keys at most 255 bytes, values 1,900. Own thread; enrich_async,
	 * export, source. kv_put is durable when it returns CDPD_OK; 64 MB for an instance. kv_get copies at most `size` bytes and gives the whole length. kv_put with ttl_ms 0 keeps for ever;
	 * an empty value deletes. */
	int (*kv_get)(struct cdpd_instance *instance, struct cdpd_str key, void *value, size_t size, size_t *len);
	int (*kv_put)(struct cdpd_instance *instance, struct cdpd_str key, struct cdpd_str value, int64_t ttl_ms);
};

/* ── the plugin ──────────────────────────────────────────────────────────── */

enum cdpd_cap {                                 /* each claimed one needs its callback */
		CDPD_CAP_SOURCE = 1 << 0,       /* decode */
		CDPD_CAP_ENRICH = 1 << 1,       /* enrich */
		CDPD_CAP_ENRICH_ASYNC = 1 << 2, /* enrich_async */
		CDPD_CAP_FEATURE = 1 << 3,      /* feature */
		CDPD_CAP_EXPORT = 1 << 4,       /* export_batch */
};

#define CDPD_ENRICH_DROP 1 /* enrich's third answer; made by event_drop */

struct cdpd_plugin {
	uint32_t size; /* sizeof(struct cdpd_plugin) */
	uint16_t abi_major, abi_minor;
	const char *name;    /* [a-z][a-z0-9_-]*, at most 64 bytes; the file is <name>.so */
	const char *version; /* at most 32 bytes */
	const char *summary; /* one line, at most 200 bytes */
	uint32_t caps;       /* enum cdpd_cap */
	uint32_t flags;      /* reserved: 0 */

	/* Enrichers: the fields it reads and the enrichment.… fields it sets. The host sorts the chain by them; a cycle or
	 * an enrichment.… input that nobody provides is refused. `needs` is what the documents call requires (a C++20 keyword). */
	struct cdpd_paths needs, provides;
	struct cdpd_options options;

	/* Source, enrich and export: once for each io thread for sync enrichers, else once. No two threads are ever inside one
	 * `self`. Not CDPD_OK: the cause must have been logged; *self is ignored. May be NULL: then self is NULL. */
	int (*create)(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		      void **self);
	/* Last call for `self`; pending receipts and tickets are the plugin's no more when it returns. May be NULL. */
	void (*destroy)(void *self);

	/* Source. One request → events and the exact reply, which is sent when the events are durable. On the instance's own thread; may block, but past the
	 * source's deadline the client is answered 503 and what was made is lost. CDPD_OK, or an error (500, counted; no event is kept). A webhook is
	 * delivered again: give events a messageId that is the same every time. */
	int (*decode)(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out,
		      struct cdpd_reply *reply);
	/* Sync enricher: on an io thread, before the journal, in microseconds, without I/O. CDPD_OK, CDPD_ENRICH_DROP, or an error: then
	 * what it set is taken back, the event goes on and the error is counted; 100 errors in a row pause the instance for 10 s. */
	int (*enrich)(void *self, struct cdpd_event *event);
	/* Async enricher: on the instance's own thread; returns at once; the ticket is answered once, now or later. An error answers it. Asked are only applied
	 * events, in their order at first, that have at least one of `needs` (none: all). */
	int (*enrich_async)(void *self, struct cdpd_ticket *ticket);
	/* Feature. */
	const struct cdpd_feature_type *feature;
	/* Export: on the destination's own thread; may block. As many records and bytes as the destination's `batch` says (500 and about 1 MB by
	 * default, at most 5,000), in order. Called again while an earlier batch is pending only where its `concurrency` is more than 1. The returned verdict is for
	 * every record not named through the receipt. */
	enum cdpd_verdict (*export_batch)(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt);
};

/* The one symbol that the host looks for. */
extern CDPD_EXPORT const struct cdpd_plugin cdpd_plugin;

#ifdef __cplusplus
}
#endif
