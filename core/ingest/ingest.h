/* ingest: from the bytes of one request to a settled answer: credentials → dialect → validation → sync enrichers
 * → journal → result. It knows nothing of sockets or HTTP: core/api puts a face on it.
 *
 * A request lives in one ingest_batch: one arena, one owner, moved to the journal and back. Everything runs on the loop's thread
 * that submitted, except the journal's commit. */
#pragma once

#include "event/event.h"
#include "journal/journal.h"
#include "plugin/enrich.h"

struct ingest;        /* shared by all threads; owns limits and the live config */
struct ingest_worker; /* one per loop: JSON reader, enricher instances, free batches */

MUST_USE int ingest_new(struct journal *journal, const struct config *config, struct ingest **out);
void ingest_free(struct ingest *ingest); /* after every worker ended and the journal was stopped */
/* Fetches what the config needs before it is set: the key of pseudonyms. On failure, which is logged, it must not be set. One thread. */
MUST_USE int ingest_prepare(struct ingest *ingest, const struct config *config);
void ingest_set_config(struct ingest *ingest, const struct config *config); /* any thread; takes a reference */
/* `enrichers`: this loop's own chain (taken, on failure too), or NULL. */
MUST_USE int ingest_worker_new(struct ingest *ingest, struct loop *loop, struct enrich_chain *enrichers,
			       struct ingest_worker **out);
/* When its loop no longer runs. The journal may still hold batches of it; they are ingest's then, and nobody is answered. */
void ingest_worker_free(struct ingest_worker *worker);

/* How the body is to be read. One file per dialect: core/ingest/segment.c, native.c … */
enum ingest_dialect {
	DIALECT_SEGMENT_ONE,     /* one Segment message; `route_type` says which when the body does not */
	DIALECT_SEGMENT_BATCH,   /* {"batch":[…],"sentAt":…,"context":…,"writeKey":…} */
	DIALECT_NATIVE_JSON,     /* object, array or NDJSON */
	DIALECT_NATIVE_PROTOBUF, /* cdpd.v1.PublishRequest */
	DIALECT_CONSENT,         /* what one person consents to */
	DIALECT_DECLARED,        /* what a person told us, made by the caller (form_answers.h); never says who asks */
	DIALECT_TRAITS,          /* traits of one person, a JSON object; the caller has checked the token */
	DIALECT_HOOK,            /* what a source's plugin made of a request; the plugin has checked who asks */
	DIALECT_PUBLISHED        /* one event that a plugin's instance published */
};

/* Who speaks, when a person token says so instead of a source's key. */
struct ingest_person {
	struct str ref;        /* "namespace:value" */
	struct str token_id;   /* 32 hex digits; empty: the token may be used again */
	int64_t token_expires; /* µs */
};

/* Who states traits, of whom, and how they are known. */
struct ingest_traits {
	struct str ref;                         /* "namespace:value" */
	struct str source;                      /* 1 to INGEST_SOURCE_MAX bytes */
	struct str message_id;                  /* empty: not idempotent */
	uint32_t flags;                         /* EVENT_DECLARED, EVENT_INFERRED, or 0: observed */
	int64_t time_us;                        /* since when they hold; 0: now */
	struct str model, model_version;        /* who inferred them; empty: not told */
	const struct ingest_traits_item *items; /* of many persons; NULL: of one, the body */
	size_t item_count;
};
#define INGEST_SOURCE_MAX 64
#define INGEST_MODEL_MAX  64 /* bytes of a model's name, and of its version */

struct ingest_refusal { /* why the caller refuses what was asked, to be counted and kept like any other reject */
	enum problem problem;
	struct str pointer, message;
};

/* One person of many. */
struct ingest_traits_item {
	struct str ref, message_id;
	struct str traits;                    /* JSON, followed by BUF_SLACK readable bytes */
	int64_t time_us;                      /* 0: as all of them */
	const struct ingest_refusal *refusal; /* of the caller; NULL: none */
};

struct ingest_hook_item {
	bool is_reject;
	struct str text;   /* the event in the native form; of a reject its excerpt */
	struct str reason; /* of a reject */
};
struct ingest_hook {
	struct str source; /* id of a webhook source */
	const struct ingest_hook_item *items;
	size_t count;
};

struct ingest_publication {
	struct str source; /* the instance */
	struct str ref;    /* "namespace:value" of whom; empty: the event says */
};

struct ingest_request {
	enum ingest_dialect dialect;
	enum event_type route_type;  /* 0: the body must say */
	struct str authorization;    /* header value, or empty */
	struct str write_key_header; /* X-Write-Key */
	struct str write_key_query;  /* ?writeKey= */
	struct str origin;           /* browser's Origin, or empty */
	struct str client_ip, user_agent;
	struct str body; /* decompressed, followed by BUF_SLACK readable bytes; copied where kept */
	int64_t received_at_us;
	const struct ingest_person *person; /* DIALECT_CONSENT, DIALECT_DECLARED: NULL when a source's key speaks */
	struct str person_ref;              /* DIALECT_CONSENT: instead of the body's `person`, or empty */
	const struct ingest_traits *traits; /* DIALECT_TRAITS */
	const struct ingest_hook *hook;     /* DIALECT_HOOK */
	const struct ingest_publication *published; /* DIALECT_PUBLISHED */
	const struct ingest_refusal *refusal;       /* DIALECT_DECLARED; NULL: the body is the message */
};

struct ingest_rejection {
	uint32_t index;
	struct str message_id;
	enum problem code;
	struct str pointer, message;
};

struct ingest_result {
	enum problem problem; /* NONE: accepted (perhaps partly); else the whole request failed */
	struct str message, pointer;
	int retry_after_s; /* 0: no advice */
	uint32_t accepted;
	const struct ingest_rejection *rejections;
	size_t rejection_count;
	uint64_t position_seq; /* 0: none */
	uint64_t position_epoch;
	int64_t limit_remaining; /* events left this second for this key; -1: no limit */
	int64_t limit;
};

/* `done` is called exactly once, on the worker's loop, after the commit (or at once for refusals that store nothing); result is valid during the
 * call. If the asker went away first, call ingest_cancel with the returned handle: the events still count, `done` is not called. */
typedef void (*ingest_done_fn)(void *ctx, const struct ingest_result *result);
struct ingest_batch;
/* NULL: `done` has already been called. */
struct ingest_batch *ingest_submit(struct ingest_worker *worker, const struct ingest_request *request,
				   ingest_done_fn done, void *ctx);
void ingest_cancel(struct ingest_batch *batch);

/* For a request that a source's plugin is to look at first: may its sender and its source send? False: *retry_after_s says when. ingest_submit asks
 * again, and takes what its events cost; a request without events costs as much as one (`costs`). */
bool ingest_hook_may(struct ingest_worker *worker, struct str source_id, struct str client_ip, bool costs,
		     int *retry_after_s);
