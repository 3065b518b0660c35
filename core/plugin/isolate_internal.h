/* isolate_internal: what the files of the daemon's side of isolation share. */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "plugin/http.h"
#include "plugin/internal.h"
#include "plugin/isolate.h"
#include "plugin/isolate_process.h"
#include "plugin/ticket.h"
#include "plugin/vigil.h"

#define ISOLATE_QUESTIONS   2048                 /* at a time; the enricher's concurrency is below */
#define ISOLATE_BATCHES_MAX 64                   /* held by one exporter */
#define ISOLATE_OUT_ENOUGH  ((size_t)4 << 20)    /* what it has not read; more is not sent meanwhile */
#define ISOLATE_CALLS_MAX   1024                 /* HTTP requests and questions to the cache of one process */
#define ISOLATE_SLOTS_MAX   4096                 /* values it is to fetch */
#define ISOLATE_START_US    (60 * US_PER_SECOND) /* to load the plugin and create the instance */
#define ISOLATE_GRACE_US    (500 * US_PER_MS)
#define ISOLATE_BACKOFF_MIN (200 * US_PER_MS)
#define ISOLATE_BACKOFF_MAX (60 * US_PER_SECOND)
#define ISOLATE_HEALTHY_US  (10 * US_PER_SECOND) /* of life, after which the next pause is a short one again */
#define ISOLATE_PING_US     (10 * US_PER_SECOND)
#define ISOLATE_HOLD_US     US_PER_SECOND /* what comes while it is down this long at most is kept */

enum isolate_state { ISOLATE_DOWN, ISOLATE_STARTING, ISOLATE_UP };
enum question_state { QUESTION_FREE, QUESTION_WAITING, QUESTION_SENT };

struct isolate_question {
	struct cdpd_ticket *ticket;
	uint32_t id;   /* index + ISOLATE_QUESTIONS * how often the place was used */
	uint32_t next; /* of its queue */
	enum question_state state;
};

struct isolate;
struct isolate_call { /* HTTP, cache */
	struct isolate *isolate;
	struct isolate_call *newer, *older;
	uint32_t id, generation; /* of the process that asked */
	/* while cache_get runs */
	bool is_inside, is_answered;
	uint32_t slot;
	int error;
	struct buf value;
};

struct isolate_exchange { /* the request that a source is at: one at a time */
	uint32_t id;
	const struct decoding *decode; /* NULL: none */
	struct cdpd_batch_out *out;
	struct cdpd_reply *reply;
	bool is_sent, is_done;
	int error;
};

/* What an exporter holds. It is sent whole; when its process ended over it, record by record, so that it is known which one it dies of. */
struct isolate_batch {
	const struct cdpd_batch *batch; /* NULL: free */
	struct cdpd_receipt *receipt;
	uint32_t id;         /* of the part that is there; 0: none is */
	size_t first, count; /* that part */
	size_t done;         /* records with a verdict */
	bool is_careful;
	unsigned deaths; /* over the record at `done`, alone */
	int64_t until_us;
};

struct isolate_queue { /* of places + 1; 0: none */
	uint32_t first, last, count;
};

struct isolate {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	const struct cdpd_plugin *table;
	struct isolate_process process;
	struct buf setup; /* the frames that begin a process's life */
	enum isolate_state state;
	uint32_t generation;
	int64_t since_us, restart_us, pinged_us, deadline_us;
	unsigned deaths_in_row;
	uint32_t use; /* what it is for: one capability */
	struct vigil vigil;
	bool was_greeted, has_warned, has_more; /* frames that one turn left */

	struct isolate_question questions[ISOLATE_QUESTIONS];
	struct isolate_queue free, fresh, suspects;
	uint32_t sent;

	int metrics[INSTANCE_METRICS_MAX]; /* the process's numbers → the host's */
	size_t metric_count;
	struct arena path_arena;
	struct field_path paths[PLUGIN_PATHS_MAX]; /* that the process declared */
	size_t path_count;
	uint32_t parts; /* of events: all that its paths reach */
	struct isolate_exchange exchange;
	struct isolate_batch batches[ISOLATE_BATCHES_MAX];
	uint32_t next_id;           /* of requests and batches */
	struct isolate_call *calls; /* newest */
	size_t call_count;
	struct cdpd_cache_slot *slots[ISOLATE_SLOTS_MAX]; /* number + 1 → slot */

	int64_t lines_at_us; /* when the next line of its log may be written */
	uint64_t lines_dropped;
	struct life *life;
	struct metric *starts, *deaths, *up;
};

/* A frame of `process.out` is whole: wire_end, and count it. */
MUST_USE int isolate_send(struct isolate *isolate, struct wire *wire);

/* ── isolate_calls.c: what the process asks of the host. ERR_INVALID: nonsense ── */
MUST_USE int isolate_take_http(struct isolate *isolate, struct str body);
MUST_USE int isolate_take_cache(struct isolate *isolate, struct str body);
MUST_USE int isolate_take_fill(struct isolate *isolate, struct str body);
MUST_USE int isolate_take_kv_get(struct isolate *isolate, struct str body);
MUST_USE int isolate_take_kv_put(struct isolate *isolate, struct str body);
void isolate_drop_slots(struct isolate *isolate); /* the process is gone: what it was to fetch fails */
void isolate_free_calls(struct isolate *isolate); /* everything under way has ended */

/* ── isolate_source.c, isolate_export.c ──────────────────────────────────── */
int isolate_decode(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out,
		   struct cdpd_reply *reply);
MUST_USE int isolate_take_decoded(struct isolate *isolate, struct str body);
MUST_USE int isolate_send_request(struct isolate *isolate); /* when one waits */
enum cdpd_verdict isolate_export(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt);
MUST_USE int isolate_take_verdicts(struct isolate *isolate, struct str body);
MUST_USE int isolate_send_batches(struct isolate *isolate);
/* The process is gone. `why` for people. */
void isolate_drop_request(struct isolate *isolate);
void isolate_sort_batches(struct isolate *isolate, const char *why);

/* ── isolate_life.c ──────────────────────────────────────────────────────── */
struct life *life_of(const char *instance); /* made when it is not there; never freed */
void life_began(struct life *life);
void life_ended(struct life *life, const char *why);
/* The end in words, after isolate_process_end; `why` (maybe empty) is what we know. */
void life_describe_end(struct isolate_end end, const char *why, char *out, size_t size);

/* ── isolate_load.c ──────────────────────────────────────────────────────── */
const char *isolate_path(const struct cdpd_plugin *table); /* of the .so */
uint32_t isolate_caps(const struct cdpd_plugin *table);    /* of the .so */

/* ── isolate.c ───────────────────────────────────────────────────────────── */
int64_t isolate_turn(struct isolate *isolate); /* reads, writes, starts; when it wants to be called again */
void isolate_kill(struct isolate *isolate, const char *why);
bool isolate_is_long_down(const struct isolate *isolate); /* what comes now is refused at once */
int isolate_create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		   void **self);
void isolate_destroy(void *self);
int isolate_ask(void *self, struct cdpd_ticket *ticket);
