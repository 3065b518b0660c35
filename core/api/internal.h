/* What the files of this room share: the api object, what each io thread has of its own, and how a route reaches its
 * handler. Nobody outside includes it but core/rpc, the other face.
 *
 * A route's way: dispatch (api.c) → auth.c (token and scope) → position_wait.c (?min_position=) → the handler, on the io
 * thread. Handlers answer from memory and single profile rows; everything that may fault cold pages or walk far goes
 * through answer.h to the read pool. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/auth.h"
#include "api/form_store.h"
#include "api/person_token.h"
#include "api/read_pool.h"
#include "base/json.h"
#include "base/metric.h"
#include "event/position.h"

#define API_SCRATCH_BYTES (8u << 20) /* of one read on an io thread */
#define API_OUTPUT_BYTES  (16u << 20)
#define API_BUF_KEEP      (256u << 10) /* output memory an io thread keeps between requests */
#define API_WAITERS_MAX   1024         /* requests of one io thread waiting for a position */

extern const struct str MIME_JSON, MIME_TEXT, MIME_METRICS, MIME_YAML, MIME_EVENT_STREAM;

/* What a reload swaps, whole; a change of the store's forms too, which borrows the rest from `base`. */
struct live {
	atomic_uint refs;
	const struct config *config;
	struct token_set *tokens;
	struct person_keys *keys;
	struct form_set *forms; /* made over the API */
	struct live *base;      /* whose tokens and keys these are; NULL: its own */
};

struct api {
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct deliver *deliver;
	struct ingest *ingest;
	struct privacy *privacy;
	struct sources *sources;   /* NULL: none */
	struct training *training; /* NULL: none are made */
	struct read_pool *pool;
	struct read_pool *writes; /* one thread, which may wait for the disk: subscription_call.h */
	int64_t started_at_us;
	uint32_t heartbeat_ms;
	atomic_bool is_draining;
	atomic_int *streams; /* open feeds of all workers */

	pthread_mutex_t forms_lock; /* who changes `live`: one after the other, files and all; taken before `lock` */
	struct form_counts *counts; /* core/api/form_results.c */
	pthread_mutex_t lock;       /* live, workers */
	struct live *live;
	_Atomic uint64_t live_generation;
	struct api_worker *workers;
	struct act *orphan_acts; /* under lock: what the journal held when its worker ended */
};

struct position_waiter;
struct feed;
struct act;

/* One for each io thread, found by http_worker(). Everything in it belongs to that thread, except `wake`. */
struct api_worker {
	struct api *api;
	struct api_worker *next; /* under api->lock */
	struct loop *loop;
	struct ingest_worker *ingest;
	struct people_reader *reader; /* for single rows: begin, copy, end */
	struct json_reader *json;     /* for bodies of this room's own routes */
	struct arena scratch;         /* reset at the start of each read */
	struct buf out;               /* the answer being made */
	struct read_owner jobs;       /* this thread's jobs in the read pool */
	struct read_owner writes;     /* and in api->writes */

	struct live *live; /* as of live_generation: api_worker_live */
	uint64_t live_generation;

	struct loop_task wake; /* the fold committed */
	atomic_bool is_wake_posted;
	atomic_uint interest; /* waiters and feeds that want to be woken */

	struct position_waiter *waiters;
	size_t waiter_count;
	struct feed_hub *feeds;
	struct hook_call *hooks; /* with source plugins: hooks.c */
	struct act *acts;        /* merges and unmerges under way: act.c */
};

/* A reference to the running config, from any thread: config_unref it. */
const struct config *api_config(struct api *api);
/* The running config and tokens, borrowed until this worker's next call; on its thread. */
const struct live *api_worker_live(struct api_worker *worker);
struct fold *api_fold(struct api *api);
/* The forms of the store swapped for `forms`, which it takes a reference of. With forms_lock. ERR_NOMEM. */
MUST_USE int api_set_forms(struct api *api, struct form_set *forms);
/* The running set, with a reference. Any thread. */
struct form_set *api_forms(struct api *api);
/* Position of the newest record below `next_seq`, as text: what X-Cdpd-Position says. */
struct str api_position_text(const struct api *api, uint64_t next_seq, char out[POSITION_TEXT_SIZE]);

/* ── routes ──────────────────────────────────────────────────────────────── */

typedef void (*api_handler_fn)(struct api_worker *worker, struct http_request *req);

/* Rows of static tables; api_add_routes registers them behind dispatch, which is the only way to a handler. */
struct api_route {
	unsigned methods;
	const char *path;
	enum scope scope; /* SCOPE_NONE: public */
	bool admin_only;
	bool is_gated; /* ?min_position= is honoured */
	size_t body_cap;
	api_handler_fn handler;
};
MUST_USE int api_add_routes(struct router *router, const struct api_route *routes, size_t count);

MUST_USE int profiles_register(struct router *router);
MUST_USE int traits_register(struct router *router);
MUST_USE int merge_register(struct router *router);
MUST_USE int events_register(struct router *router);
MUST_USE int history_register(struct router *router);
MUST_USE int segments_register(struct router *router);
MUST_USE int changes_register(struct router *router);
MUST_USE int subscriptions_register(struct router *router);
MUST_USE int snapshot_register(struct router *router);
MUST_USE int admin_register(struct router *router);
MUST_USE int operate_register(struct router *router);
MUST_USE int rejects_register(struct router *router);
MUST_USE int trace_register(struct router *router);
MUST_USE int tail_register(struct router *router);
MUST_USE int ops_register(struct router *router);
MUST_USE int export_register(struct router *router);
MUST_USE int erasures_register(struct router *router);
MUST_USE int suppressions_register(struct router *router);
MUST_USE int consents_register(struct router *router);
MUST_USE int links_register(struct router *router);
MUST_USE int hooks_register(struct router *router);
MUST_USE int training_register(struct router *router);
/* ingest_http.c and settings.c: routes with write keys; they register on the router themselves. */
MUST_USE int ingest_http_register(struct api *api, struct router *router);
MUST_USE int settings_register(struct api *api, struct router *router);
/* forms.c: routes with write keys, person tokens or tokens with a scope. */
MUST_USE int forms_register(struct router *router);
MUST_USE int admin_forms_register(struct router *router);
MUST_USE int amp_register(struct router *router);
