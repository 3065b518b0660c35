/* What the files of this room share. The way of a request: ingest.c takes a batch and asks credentials.c; the dialect
 * (segment.c, native.c, native_protobuf.c) finds the events in the body and hands each to admit.c, whose steps are read, validate,
 * plan, redact, clock, hash, connection, enrich, address, encode; batch.c carries what came of it through the journal and back to the asker.
 *
 * Two arenas: the batch's holds what must live until the journal has answered (records, rejects), the worker's scratch what one event needs
 * while it is looked at. Both are capped, so is every buffer; nothing is allocated per event once they are warm. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/metric.h"
#include "ingest/clock_skew.h"
#include "ingest/credentials.h"
#include "ingest/ingest.h"
#include "ingest/limits.h"
#include "ingest/privacy_key.h"

#define OBJECT_KEYS_MAX ((size_t)10000) /* members of one object */
/* More events than this many times limits.batch_events: the request is refused whole, so that telling why each was rejected stays small. */
#define BATCH_EXCESS_FACTOR 2u
#define USER_AGENT_MAX      512 /* bytes kept of the connection's */

struct ingest {
	struct journal *journal;
	struct limits *limits;
	pthread_mutex_t lock; /* config, orphans */
	const struct config *config;
	_Atomic uint64_t generation;  /* +1 with each config */
	struct ingest_batch *orphans; /* under lock: what the journal held when its worker ended */
	struct privacy_key key;       /* of pseudonyms; read when a config first needs it, then fixed */
	struct metric *accepted, *rejected, *unenriched;
};

#define ID_POOL 64
struct ingest_worker {
	struct ingest *ingest;
	struct loop *loop;
	struct enrich_chain *enrichers;
	const struct config *config; /* as of generation */
	uint64_t generation;
	struct json_reader *reader;          /* the body, or one element or part of it */
	struct json_reader *envelope_reader; /* the batch around elements that are parsed singly */
	struct arena scratch;                /* of one event; of the envelope before the first */
	struct arena envelope;               /* of one request */
	struct buf text;                     /* JSON parts of one event */
	struct buf excerpt;
	struct buf violations;              /* of one event, as JSON */
	struct json_reader *part_reader;    /* one part of an event, read again; made when first needed */
	struct json_reader *context_reader; /* of enrich_gate.c; made when it is first needed */
	uint8_t ids[ID_POOL][16];           /* random bytes for generated message ids */
	size_t ids_left;
	struct ingest_batch *idle; /* singly linked */
	size_t idle_count;
	struct ingest_batch *busy; /* with the journal; doubly linked */
};

/* ── batch.c ─────────────────────────────────────────────────────────────── */

/* One request's results on their way through the journal. Belongs to the worker's loop, to the journal between journal_submit and `settled`. */
struct ingest_batch {
	uint32_t magic;
	struct ingest_batch *next, *prev;
	struct ingest_worker *worker;
	struct arena arena;
	struct journal_entry *entries;
	size_t entry_count, entry_capacity;
	struct journal_reject *rejects;
	size_t reject_count, reject_capacity;
	struct ingest_rejection *rejections; /* the same, for the answer; made before the journal is asked */
	uint32_t received;
	bool is_single; /* a refusal of its one event is the answer's own status */

	/* The request failed as a whole: nothing of it is kept, and unless it is to be retried it counts as one rejected event. */
	enum problem problem;
	struct journal_reject whole;
	int retry_after_s;

	int64_t limit, limit_remaining;
	struct journal_append append;
	ingest_done_fn done;
	void *ctx;
};

/* Why one event is refused. Text is static, or lives as long as the event is looked at. */
struct fault {
	enum problem problem;
	struct str pointer; /* JSON pointer into the event */
	struct str message; /* empty: the problem's own */
};

MUST_USE struct ingest_batch *batch_take(struct ingest_worker *worker); /* NULL: out of memory */
void batch_recycle(struct ingest_batch *batch);
void batch_free(struct ingest_batch *batch);
MUST_USE int batch_expect(struct ingest_batch *batch, size_t events); /* room for that many records */
void batch_accept(struct ingest_batch *batch, struct str payload);    /* in the batch's arena */
/* Copies. ERR_NOMEM: the batch's arena is used up. */
MUST_USE int batch_reject(struct ingest_batch *batch, const struct journal_reject *reject);
/* Room for the answer to all rejects. ERR_NOMEM: refuse the request whole. */
MUST_USE int batch_finish(struct ingest_batch *batch);
/* Hands the batch to the journal or answers at once; true when `done` will be called later. */
bool batch_settle(struct ingest_batch *batch);

/* ── admit.c ─────────────────────────────────────────────────────────────── */

/* What a batch says for all of its events. */
struct envelope {
	bool has_context, has_integrations, has_timestamp;
	struct json context, integrations; /* objects */
	int64_t sent_at_us;                /* 0: not given */
	int64_t timestamp_us;
	int16_t offset_min;
};

/* One request while its body is read. */
struct intake {
	struct ingest_worker *worker;
	struct ingest_batch *batch;
	const struct ingest_request *request;
	const struct config *config;
	struct caller caller;
	struct limit_pass pass;
	struct envelope envelope;
	uint32_t next_index;
};

struct span { /* in worker->text, which may move */
	size_t at, len;
};

/* One event while it is looked at. */
struct draft {
	struct cdpd_event event;
	struct span properties, traits, context, extra;
	size_t extra_hashed_len;                     /* the rest of extra is what SDKs refresh on a retry */
	size_t size;                                 /* bytes as minified JSON, about */
	const struct json *root;                     /* says the same as the texts, or NULL */
	struct str raw;                              /* as sent, when the dialect has it */
	const struct json *shown;                    /* else what the excerpt is made of, or NULL */
	bool has_ip, has_user_agent;                 /* in its context */
	bool is_sent_stale;                          /* its SDK resends with the sentAt of the first attempt */
	bool is_ip_lent;                             /* event.ip is the context's, for enrichers only */
	bool is_named_by_ref;                        /* by an identifier of any namespace */
	struct json properties_value, traits_value;  /* what the spans were written of, */
	bool has_properties_value, has_traits_value; /* where the document still stands */
	struct fault fault;
};
/* Sets the draft's fault; always ERR_INVALID. */
int draft_fault(struct draft *draft, enum problem problem, struct str pointer, struct str message);

/* Who is asking, when headers did not say: `body_key` may be empty. OK: events may follow. Else the batch is refused. */
MUST_USE int intake_identify(struct intake *in, struct str body_key);
/* A source that was not told its offset has 0, as one in UTC has: either way the event's is unknown, which reads as UTC. */
static inline int16_t source_utc_offset(const struct conf_source *source)
{
	return source->utc_offset_min ? source->utc_offset_min : UTC_OFFSET_UNKNOWN;
}

/* What must not be kept of the caller's events, or NULL; of everybody's while the caller is not known. */
static inline const struct privacy_rules *intake_rules(const struct intake *in)
{
	return in->caller.source ? in->caller.source->rules : in->config->rules;
}

/* The text of a part of the event as a document again, in the worker's part reader. ERR_INVALID never happens to a text that was written here. */
MUST_USE int intake_parse_part(struct intake *in, struct str text, struct json *out);
/* Refuses the request whole; always ERR_REFUSED. Text is copied. */
int intake_refuse(struct intake *in, enum problem problem, struct str pointer, struct str message);
/* What json_parse's phrase means for the sender. */
enum problem intake_problem_of_json(const char *why);
/* The body as one document. OK, ERR_INVALID with *why, or ERR_REFUSED. */
MUST_USE int intake_parse(struct intake *in, struct json *root, const char **why);
/* The body holds so many events: makes room. ERR_REFUSED past the excess. */
MUST_USE int intake_expect(struct intake *in, size_t events, struct str pointer);

/* Each counts one event and accepts or rejects it. OK, or ERR_REFUSED when the whole request had to be refused. */
typedef int (*draft_read_fn)(struct intake *in, struct draft *draft, void *ctx);
MUST_USE int admit(struct intake *in, struct draft *draft, draft_read_fn read, void *ctx);
MUST_USE int admit_json(struct intake *in, struct json message, enum event_type route_type);
/* Text that may not be JSON. */
MUST_USE int admit_text(struct intake *in, struct str text, enum event_type route_type);

/* ── the dialects ────────────────────────────────────────────────────────── */

/* Each returns OK or ERR_REFUSED. */
MUST_USE int segment_read_one(struct intake *in);
MUST_USE int segment_read_batch(struct intake *in);
MUST_USE int native_read_json(struct intake *in);
MUST_USE int native_read_protobuf(struct intake *in);
MUST_USE int declared_read_one(struct intake *in);
MUST_USE int set_traits_read(struct intake *in);
const struct conf_source *hook_source(const struct config *config, struct str id); /* NULL: none */
MUST_USE int hook_take_source(struct intake *in);                                  /* the caller */
MUST_USE int hook_read(struct intake *in);
MUST_USE int published_take_source(struct intake *in); /* the caller */
MUST_USE int published_read(struct intake *in);
/* One statement of consent, by a caller that may. As admit. */
MUST_USE int consent_admit(struct intake *in, struct json statement);
MUST_USE int consent_read(struct intake *in);
/* May enrichers see the event? Those of a purpose that gates them only when its own context.consent, or the purpose's default, says so. */
bool enrich_gate_allows(struct ingest_worker *worker, struct draft *draft, const struct conf_source *source);
extern const struct conf_source consent_person_source; /* of acts that a person token brought */
