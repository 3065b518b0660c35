/* isolate_wire: the frames between the daemon and the process of an isolated enricher. Neither side trusts a byte of the other's: every reader is bounded
 * by its frame, and what does not read is ERR_INVALID.
 *
 *   frame   length of the body u32 · type u8 · 0 0 0 · body            integers as the machine has them: both ends are one binary
 *   text    length u32 · bytes */
#pragma once

#include "base/buf.h"
#include "event/event.h"
#include "plugin/decoding.h"
#include "plugin/internal.h"

#define WIRE_MAGIC     0x63647069u
#define WIRE_VERSION   1
#define WIRE_HEADER    8
#define WIRE_FRAME_MAX ((size_t)8 << 20)
#define WIRE_BATCH_MAX 16                /* questions of one frame: the first are answered while the last are written */
#define WIRE_BODY_MAX  ((size_t)4 << 20) /* of an HTTP request or answer */

enum frame_type {                  /* d: the daemon says it, p: the process */
		  FRAME_HELLO = 1, /* both: magic u32 · version u32; the first frame */
		  FRAME_SETUP,     /* d: struct wire_setup */
		  FRAME_TABLE,     /* p: what the plugin says of itself, or why it is refused */
		  FRAME_READY,     /* p: struct wire_ready */
		  FRAME_QUESTIONS, /* d: count u32 · (id u32 · event)… */
		  FRAME_ANSWERS,   /* p: count u32 · answer… */
		  FRAME_DONE,      /* p: how many frames it has dealt with u32 */
		  FRAME_LOG,       /* p: level u8 · text */
		  FRAME_METRICS,   /* p: count u32 · (number u32 · value i64)… */
		  FRAME_HTTP, /* p: id u32 · timeout u32 · flags u32 · most i64 · method · url · body · count u32 · (name · value)… */
		  FRAME_HTTP_DONE, /* d: id u32 · error i32 · status i32 · retry after i64 · body · why · count u32 · (name · value)… */
		  FRAME_CACHE,      /* p: id u32 · ttl i64 · negative ttl i64 · stale i64 · key */
		  FRAME_CACHE_DONE, /* d: id u32 · slot u32 (0: nothing to fetch) · is answered u8 · error i32 · value */
		  FRAME_CACHE_FILL, /* p: slot u32 · error i32 · value */
		  FRAME_KV_GET,     /* p: key */
		  FRAME_KV_PUT,     /* p: ttl i64 · key · value */
		  FRAME_KV_DONE,    /* d: error i32 · value: the answer to the last of either */
		  FRAME_REQUEST,    /* d: struct wire_request */
		  FRAME_DECODED,    /* p: id u32 · what became of it */
		  FRAME_BATCH,      /* d: id u32 · count u32 · record… */
		  FRAME_VERDICTS,   /* p: id u32 · count u32 · verdict…: one for each record, in their order */
		  FRAME_PING,       /* d: empty */
		  FRAME_STOP,       /* d: empty; the last one */
};

/* ── writing ─────────────────────────────────────────────────────────────── */

struct wire {
	struct buf *buf;
	size_t frame; /* where the open one begins, from the content's beginning */
	int status;   /* the first error; then nothing is written any more */
};
void wire_begin(struct wire *wire, struct buf *buf, enum frame_type type);
/* ERR_TOO_LARGE, ERR_NOMEM: the buffer is as before wire_begin. */
MUST_USE int wire_end(struct wire *wire);
void wire_u8(struct wire *wire, uint8_t value);
void wire_u32(struct wire *wire, uint32_t value);
void wire_i32(struct wire *wire, int32_t value);
void wire_i64(struct wire *wire, int64_t value);
void wire_f64(struct wire *wire, double value);
void wire_text(struct wire *wire, struct str text);
void wire_count_at(struct wire *wire, size_t at, uint32_t count); /* fills a u32 in that was written as `at` */
size_t wire_here(const struct wire *wire);

/* ── reading ─────────────────────────────────────────────────────────────── */

struct wire_in {
	const char *at, *end;
	bool is_bad; /* something did not read: everything is 0 and empty from there on */
};
struct wire_in wire_in(struct str body);
uint8_t wire_take_u8(struct wire_in *in);
uint32_t wire_take_u32(struct wire_in *in);
int32_t wire_take_i32(struct wire_in *in);
int64_t wire_take_i64(struct wire_in *in);
double wire_take_f64(struct wire_in *in);
struct str wire_take_text(struct wire_in *in); /* borrowed from the body */
/* A count of things of at least `item` bytes each: more than can be there is bad. */
uint32_t wire_take_count(struct wire_in *in, size_t item);
/* OK: all was read, and there is no more. */
MUST_USE int wire_finish(const struct wire_in *in);

/* The next whole frame of what has come; *used: its bytes. ERR_AGAIN: not all of it is there; ERR_INVALID: no frame. */
MUST_USE int wire_frame(struct str bytes, enum frame_type *type, struct str *body, size_t *used);

/* ── what frames hold ────────────────────────────────────────────────────── */

void wire_hello(struct buf *buf, int *status);
/* ERR_INVALID; ERR_FORMAT: another version. */
MUST_USE int wire_read_hello(struct str body);

struct wire_setup {
	bool only_looks; /* answer with the table and end */
	uint32_t use;    /* the one of its capabilities that it is to have */
	struct str name; /* of the instance */
	struct str folder, plugin;
	uint64_t memory; /* bytes; 0: no limit */
	uint32_t log_level;
	struct str *read; /* what may be read besides */
	size_t read_count;
	struct option_value *values;
	size_t value_count;
};
MUST_USE int wire_write_setup(struct buf *buf, const struct wire_setup *setup);
/* Texts are borrowed from the body, arrays lie in the arena. */
MUST_USE int wire_read_setup(struct str body, struct arena *arena, struct wire_setup *out);

/* The table without its functions. */
MUST_USE int wire_write_table(struct buf *buf, const struct cdpd_plugin *table);
MUST_USE int wire_write_refusal(struct buf *buf, struct str why);
/* Everything is copied into the arena. ERR_REFUSED: *why says so. */
MUST_USE int wire_read_table(struct str body, struct arena *arena, struct cdpd_plugin *out, struct str *why);

struct wire_metric {
	uint8_t type; /* enum metric_type */
	struct str name, help;
};
struct wire_ready {
	int32_t error; /* create's */
	bool has_landlock;
	size_t metric_count;
	struct wire_metric metrics[INSTANCE_METRICS_MAX];
	uint32_t parts;    /* wire_parts of its paths: nothing else of an event can be read there */
	size_t path_count; /* what answers call by number */
	struct str paths[PLUGIN_PATHS_MAX];
};
MUST_USE int wire_write_ready(struct buf *buf, const struct wire_ready *ready);
MUST_USE int wire_read_ready(struct str body, struct wire_ready *out);

/* The texts of an event that reading a path takes, as bits for wire_event. */
uint32_t wire_parts(const struct field_path *path);
/* What a plugin may see of an event, and of that those texts: nothing else crosses. */
void wire_event(struct wire *wire, const struct cdpd_event *event, uint32_t parts);
void wire_take_event(struct wire_in *in, struct cdpd_event *out);

/* An answer: id u32 · error i32 · reason · count u32 · values, each with the number of its path. */
void wire_answer(struct wire *wire, uint32_t id, int32_t error, struct str reason, const struct enrich_values *values);
/* The head of one; *count values follow. */
struct wire_answer {
	uint32_t id;
	int32_t error;
	struct str reason;
	uint32_t count;
};
void wire_take_answer(struct wire_in *in, struct wire_answer *out);
void wire_take_value(struct wire_in *in, struct enrich_value *out); /* its path is not known here: `index` is */

/* ── isolate_wire_errands.c: sources and exporters ───────────────────────── */

void wire_request(struct wire *wire, uint32_t id, const struct decoding *decode);
struct wire_request {
	uint32_t id;
	struct decoding_request request;
	size_t items_max, bytes_max;
};
/* Texts are borrowed from the body, headers lie in the arena. */
MUST_USE int wire_read_request(struct str body, struct arena *arena, struct wire_request *out);

void wire_decoded(struct wire *wire, uint32_t id, const struct decoding *decode);
/* Says it again to the host's functions, which judge it as a plugin's own words. *error: decode's. ERR_INVALID: it does not read, or is of another
 * request. */
MUST_USE int wire_take_decoded(struct str body, uint32_t id, struct cdpd_batch_out *out, struct cdpd_reply *reply,
			       int *error);

void wire_record(struct wire *wire, const struct cdpd_record *record);
void wire_take_record(struct wire_in *in, struct cdpd_record *out);
struct wire_verdict {
	enum cdpd_verdict verdict; /* never PENDING */
	int64_t retry_after_ms;
	struct str reason; /* of at most WIRE_REASON_MAX bytes */
};
#define WIRE_REASON_MAX 200
void wire_verdict(struct wire *wire, const struct wire_verdict *verdict);
void wire_take_verdict(struct wire_in *in, struct wire_verdict *out);
