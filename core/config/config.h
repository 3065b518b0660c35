/* config: the daemon's whole configuration as one immutable struct.
 *
 * conf/cdpd.yaml documents every key for people; core/config/schema.c holds the table that checks
 * it. A config is parsed whole or refused whole, never changed after config_load, reference-counted,
 * and swapped by pointer on reload. Threads hold a reference while they use one.
 *
 * The room knows how a configuration is written and what its values may be; it knows nothing of what the
 * daemon does with them, of no plugin's options and of no data. */
#pragma once

#include "base/log.h"
#include "config/privacy.h"
#include "config/tree.h"

/* The last is never configured: an instance of a plugin that publishes events. */
enum source_kind { SOURCE_BROWSER, SOURCE_MOBILE, SOURCE_SERVER, SOURCE_WEBHOOK, SOURCE_PLUGIN };

/* What a source may do beyond sending behavioural events. Stored with each event as its rights at ingest. */
enum source_right {
	RIGHT_ALIAS = 1 << 0,      /* send alias */
	RIGHT_DECLARED = 1 << 1,   /* write declared (zero-party) data */
	RIGHT_LINK_KNOWN = 1 << 2, /* link two people who are both already known */
	RIGHT_TIME = 1 << 3,       /* its clock is trusted: no skew correction (servers) */
	RIGHT_CONSENT = 1 << 4,    /* state what people consent to (never browsers and mobile apps) */
};

struct conf_hook {         /* a webhook source's plugin */
	struct str plugin; /* empty: none */
	const struct node *options;
	uint32_t deadline_ms;   /* of one request, in the queue and in the plugin: 10 s */
	uint32_t queue;         /* requests that wait: 256 */
	struct str *http_allow; /* these three as in conf_async */
	size_t http_allow_count;
	uint32_t http_connections, http_requests_per_second;
	bool is_isolated; /* these as in conf_isolation */
	uint64_t memory;
	struct str *read;
	size_t read_count;
	int line;
};

struct conf_source {
	struct str id; /* [a-z0-9_-]{1,64}, unique */
	enum source_kind kind;
	struct str *write_keys;
	size_t write_key_count;
	struct str *origins; /* allowed Origin values; none: any */
	size_t origin_count;
	struct str default_country; /* ISO 3166-1 alpha-2 or empty */
	int16_t utc_offset_min;     /* from `utc_offset: "+03:00"`: when neither the event nor geo tells */
	uint32_t rights;            /* enum source_right; server and webhook sources have all by default */
	uint32_t events_per_second; /* limit for each key; 0: none */
	struct conf_privacy privacy;
	const struct privacy_rules *rules; /* those for everybody and its own; NULL: none */
	struct str purpose;                /* what its events are for; empty: none */
	struct conf_hook hook;             /* SOURCE_WEBHOOK */
};

struct conf_listener {
	struct str host;                    /* numeric address */
	uint16_t port;                      /* 0: any free port, printed */
	struct str unix_path;               /* instead of host and port: "unix:/run/cdpd.sock" */
	bool is_tls, is_loopback, is_admin; /* admin: serves /metrics and /v1/admin */
};

#define CONF_NAMESPACE_FROM_MAX    8
#define CONF_NAMESPACE_BLOCKED_MAX 10000
enum conf_normalize { CONF_NORMALIZE_NONE, CONF_NORMALIZE_EMAIL, CONF_NORMALIZE_PHONE };

struct conf_namespace {
	struct str name; /* "user_id", "email", … */
	struct str *
	    from; /* fields, the first that holds an identifier counts: userId, anonymousId, groupId, traits.email, … */
	size_t from_count;
	uint16_t max_per_profile;
	bool is_known; /* names a person rather than a device: user_id, email, phone … */
	enum conf_normalize normalize;
	struct str *blocked; /* values of this namespace that name nobody; lower case */
	size_t blocked_count;
};

struct conf_condition {      /* one of a feature's `where` */
	struct str field;    /* path */
	struct str *is, *in; /* is: read into `in` too */
	size_t is_count, in_count;
	struct str *not_in; /* from `not` */
	size_t not_in_count;
	bool exists, has_exists;
	struct str min_text, max_text;
	double min, max;
	bool has_min, has_max;
};

struct conf_feature {
	struct str name;    /* [a-z0-9_]{1,64} */
	struct str type;    /* count, sum, first, last … (docs/features.md), or a feature plugin's name */
	struct str *events; /* only events of these names (track) or types; none: every event */
	size_t event_count;
	struct str field;  /* path of the input: properties.total, properties.products[].price …; may be empty */
	struct str key;    /* path of the key: a value for each key; empty: one value */
	uint32_t max_keys; /* 0: as many as fit, at most 20 */
	struct conf_condition *where;
	size_t where_count;
	const struct node *node; /* the whole map: keys that are not above are options of the type. NULL: none */
	int line;
	struct str file; /* of features_file; empty: the main file */
};

struct conf_segment {
	struct str name;         /* [a-z0-9_-]{1,64} */
	const struct node *when; /* as written */
	struct str condition;    /* checked, as canonical JSON: core/config/segment_condition.h */
	struct str file;         /* where it stands */
	int line;
};

enum enrich_fail { ENRICH_FAIL_OPEN, ENRICH_FAIL_CLOSED };

struct conf_http_tls {               /* PEM files; empty: none */
	struct str ca;               /* only what this signed is trusted; none: the system's */
	struct str certificate, key; /* who we are to servers that ask */
};

/* How an instance is bounded that works on its own time: asynchronous enrichers; of destinations only `events` and `http`. */
struct conf_async {
	struct str *events; /* these only: names of tracks, or types such as "page"; none: all */
	size_t event_count;
	uint32_t deadline_ms; /* of one question: 10 s */
	int64_t max_wait_us;  /* from the event on, after which it is given up: 1 day */
	uint32_t concurrency; /* questions at a time: 16 */
	enum enrich_fail fail;
	struct str *http_allow; /* hosts or networks that may be reached though they are private */
	size_t http_allow_count;
	uint32_t http_connections;         /* at a time: 8 */
	uint32_t http_requests_per_second; /* 0: no limit */
	struct conf_http_tls http_tls;     /* destinations */
};

/* What a destination is handed; bits. */
enum conf_record { CONF_RECORD_EVENTS = 1, CONF_RECORD_PROFILES = 2, CONF_RECORD_CHANGES = 4 };
/* Where a new one begins. AUTO: with everybody as they are now for profiles, with the oldest record for the rest. */
enum conf_start { CONF_START_AUTO, CONF_START_OLDEST, CONF_START_NOW, CONF_START_SNAPSHOT };

#define CONF_CHANGES_MAX 100                  /* of one destination */
extern const char *const conf_change_kinds[]; /* ends with NULL */
/* "trait:plan" is a kind and a name; false: a kind alone. */
bool conf_change_split(struct str text, struct str *kind, struct str *name);
#define CONF_BATCH_RECORDS   500
#define CONF_BATCH_BYTES     1000000
#define CONF_CONCURRENCY_MAX 64

struct conf_flow {                   /* how a destination is handed records */
	uint32_t batch_records;      /* of one handover: 500 */
	uint64_t batch_bytes;        /* about so many: 1 MB */
	int64_t batch_age_us;        /* how long a record may wait for others to fill it: 0 */
	uint32_t concurrency;        /* handovers under way: 1 */
	uint32_t records_per_second; /* 0: no limit */
	uint32_t max_attempts;       /* at one record, then it is a dead letter; 0: for ever */
	int64_t max_hold_us;         /* records that have waited for longer are given up; 0: none is */
};

struct conf_isolation { /* of an enricher in a process of its own */
	bool is_on;
	uint64_t memory;  /* bytes: 256 MiB */
	struct str *read; /* files and folders that it may read besides those its options name */
	size_t read_count;
	uint32_t deadline_ms; /* as in conf_async */
};

struct conf_instance {   /* an enricher or a destination: one instance of a plugin */
	struct str name; /* defaults to the plugin's name */
	struct str plugin;
	const struct node *options; /* NULL or a map; checked by the plugin's own table */
	struct str purpose;         /* destinations: only people who consent to it are handed over; empty: all */
	struct str *segments;       /* destinations: only people who are in one of them; none: all */
	size_t segment_count;
	const struct node *where, *mapping; /* destinations: checked by check_destinations; NULL: none */
	uint32_t records;                   /* destinations: enum conf_record; 0: events */
	struct str *changes;                /* destinations: kinds of changes, or "kind:name"; none: all */
	size_t change_count;
	enum conf_start start; /* destinations */
	struct conf_async async;
	struct conf_isolation isolation;
	struct conf_flow flow; /* of destinations */
	int line;
};

enum lawful_basis { /* GDPR article 6; numbers are stored */
		    BASIS_CONSENT,
		    BASIS_CONTRACT,
		    BASIS_LEGAL_OBLIGATION,
		    BASIS_VITAL_INTERESTS,
		    BASIS_PUBLIC_TASK,
		    BASIS_LEGITIMATE_INTERESTS,
		    BASIS_COUNT
};
const char *lawful_basis_name(enum lawful_basis basis);
bool lawful_basis_from_name(struct str name, enum lawful_basis *out);

enum consent_default { CONSENT_DEFAULT_DENIED, CONSENT_DEFAULT_GRANTED };

#define CONF_PURPOSES_MAX 64
#define CONF_CHANNELS_MAX 15 /* of one purpose */

struct conf_purpose { /* what people are asked for: consent.purposes */
	struct str name;
	struct str *channels; /* email, sms …; none: consent is for the purpose as a whole */
	size_t channel_count;
	enum consent_default default_; /* while a person has said nothing */
	enum lawful_basis basis;
	bool double_opt_in; /* a grant waits for its confirmation by the person */
	struct str *gates;  /* "ingest", "enrich", names of destinations */
	size_t gate_count;
	struct str *events; /* names of the events that are for this purpose */
	size_t event_count;
	uint16_t tcf; /* number of the IAB TCF purpose that stands for it; 0: none */
};

struct conf_limits {
	uint32_t connections;              /* open connections, all listeners: 10000 */
	uint32_t connections_per_ip;       /* 1000; loopback is exempt */
	uint32_t requests_per_connection;  /* 100000 */
	size_t body_bytes;                 /* 5 MiB, decompressed: 413 beyond */
	size_t event_bytes;                /* 64 KiB: the event is rejected singly */
	size_t reply_bytes;                /* 128 MiB: large answers that wait for their clients, all together */
	uint32_t batch_events;             /* 2500: those beyond are rejected singly */
	uint32_t header_timeout_ms;        /* 10 s, absolute */
	uint32_t body_timeout_ms;          /* 10 s of grace … */
	uint32_t body_min_rate;            /* … and then at least this many bytes per second: 1024 */
	uint32_t idle_timeout_ms;          /* 75 s between requests */
	uint32_t write_timeout_ms;         /* 30 s without progress while we have bytes to send */
	uint32_t events_per_second_per_ip; /* 0: none */
	uint32_t streams_per_connection;   /* HTTP/2: requests at once: 100 */
	uint32_t keepalive_ms;             /* HTTP/2: PING after so long a silence with streams open: 60 s; 0: never */
	uint32_t connection_age_ms;        /* then it ends at the next good moment, ± 10 %; 0: never */
};

struct conf_journal {
	uint64_t segment_bytes;   /* seal at: 1 GiB (1 MiB … 64 GiB) */
	int64_t segment_age_us;   /* or at: 1 day */
	int64_t retention_us;     /* 0: for ever; trims sealed segments behind the checkpoint */
	uint64_t retention_bytes; /* 0: no limit */
	size_t queue_bytes;       /* un-acked payload bytes held: 64 MiB → 429 overloaded beyond */
	uint64_t disk_free_min;   /* refuse writes (503) when the file system has less free: 512 MiB */
	uint64_t ballast_bytes;   /* preallocated, given up when the fold needs pages: 64 MiB */
	uint64_t rejects_bytes;   /* detail budget of rejects per segment: 16 MiB */
	int64_t clock_jump_us;    /* hold due actions past such a jump: 1 h */
};

struct conf_event_retention { /* journal.event_retention: events that are not kept as long as the rest */
	struct str *events;   /* names (track) or types */
	size_t event_count;
	int64_t keep_us; /* since they arrived */
	int line;
};

struct config {
	struct str file; /* where it was read from, for texts */
	struct str store_path;
	struct conf_listener *listeners;
	size_t listener_count;
	struct str tls_certificate, tls_key; /* PEM files; empty: no TLS listeners */
	struct str tls_min_version;          /* "1.2" (default) or "1.3" */
	struct str public_url; /* "https://cdp.example.com" without a trailing slash; empty: from the first listener */
	struct str *trusted_proxies; /* CIDR: whose X-Forwarded-For is believed */
	size_t trusted_proxy_count;
	bool grpc_reflection;   /* served? true */
	uint32_t io_threads;    /* 0: one per processor, at most 8 */
	struct str tokens_file; /* bootstrap tokens */
	enum log_level log_level;
	enum log_format log_format;

	struct conf_limits limits;
	struct conf_journal journal;
	struct conf_event_retention *event_retention;
	size_t event_retention_count;
	int64_t dedup_window_us; /* 7 days */
	uint64_t dedup_max_ids;  /* 20 M */

	struct conf_namespace *namespaces; /* strongest first; defaults in conf/cdpd.yaml */
	size_t namespace_count;
	uint16_t max_fragments;          /* of one profile: 50 */
	struct str *blocked_identifiers; /* lower case; compared without case */
	size_t blocked_identifier_count;

	struct conf_source *sources;
	size_t source_count;
	struct conf_feature *features; /* those of features_file come last */
	size_t feature_count;
	struct conf_form *forms; /* config/form.h; those of forms_file and of `preferences` too */
	size_t form_count;
	struct str forms_file;
	struct str *amp_senders; /* whose mails may hold our forms; none: no AMP */
	size_t amp_sender_count;
	struct conf_purpose *purposes;
	size_t purpose_count;
	struct str features_file;      /* as given; empty: none */
	struct conf_segment *segments; /* those of the file behind those of `segments:` */
	size_t segment_count;
	struct str segments_file; /* relative to the configuration's folder; empty: none */

	struct str plugin_path;      /* folder of *.so; default: config_plugin_folder; never empty */
	uint64_t plugin_cache_bytes; /* of all plugins together: 256 MiB */
	struct conf_instance *enrichers;
	size_t enricher_count;
	struct conf_instance *destinations;
	size_t destination_count;
	int64_t changes_retention_us;  /* of the change feed: 7 days */
	uint32_t min_position_wait_ms; /* bound of ?min_position=: 5 s */
	uint32_t drain_timeout_ms;     /* of a stop: 10 s */

	struct conf_privacy privacy;
	struct str hash_key_file;          /* of pseudonyms; never empty */
	const struct privacy_rules *rules; /* those for everybody; NULL: none */
	bool has_privacy, needs_hash_key;  /* any source does */
	const struct node *tracking_plan_node;
	const struct tracking_plan *tracking_plan; /* NULL: none; config/tracking_plan.h */
};

/* Where plugins lie unless a config says otherwise: "plugins" beside the executable (a build), else "../lib/cdpd/plugins" from there (an
 * installation). The text is NUL-terminated. */
MUST_USE int config_plugin_folder(struct arena *arena, struct str *out);

struct config_override {
	struct str path, value; /* --set path=value */
};

/* Reads, overrides, checks. On failure *errors holds every complaint, one per line, each
 * "file:line: what, did you mean …?", malloc'd (free it); *out is NULL then. The result starts with one reference. */
MUST_USE int config_load(const char *path, const struct config_override *overrides, size_t count,
			 const struct config **out, char **errors);
const struct config *config_ref(const struct config *config); /* thread-safe */
void config_unref(const struct config *config);

/* What of `next` cannot be taken over while running (listeners, store.path, threads …): the first such
 * key's path, or NULL when a reload may go on. */
const char *config_needs_restart(const struct config *running, const struct config *next);

const char *source_kind_name(enum source_kind kind);
/* Source by write key, or NULL. O(1): an index is built at load. */
const struct conf_source *config_source_by_key(const struct config *config, struct str key);
const struct conf_source *config_source_by_id(const struct config *config, struct str id);
const struct conf_purpose *config_purpose(const struct config *config, struct str name); /* or NULL */
