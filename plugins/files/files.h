/* files: an exporter that writes NDJSON, CSV or Avro files whose contents are exact: each record is in one file of its kind, once. files.c owns options and
 * batches, output.c what becomes of the records of one kind, columns.c and features.c their rows, format.c and avro.c the bytes, folder.c the files, state.c what
 * is remembered durably, syncer.c makes it so, manifest.c the list of sealed files, json.c looks into records. See README.md. */
#pragma once

#include <string.h>

#include "cdpd_plugin.h"

#define NAME_MAX_LEN 256
#define COLUMNS_MAX  200
#define SYNC_SIZE    16
#define IDS_KEPT     ((size_t)16384) /* remembered at least */
#define IDS_SIZE     (2 * IDS_KEPT)  /* a batch that is being written stands beside those of the one before */
#define ROWS_MAX     IDS_KEPT        /* records of a batch */

/* ── bytes ───────────────────────────────────────────────────────────────── */

struct bytes {
	char *ptr;
	size_t len, size;
	bool has_failed; /* out of memory: nothing is added any more */
};

/* Room for `len` more. false: out of memory. */
bool bytes_room(struct bytes *bytes, size_t len);
void bytes_reset(struct bytes *bytes);
void bytes_free(struct bytes *bytes);
static inline void bytes_add(struct bytes *bytes, const void *ptr, size_t len)
{
	if (len == 0 || !bytes_room(bytes, len)) return;
	memcpy(bytes->ptr + bytes->len, ptr, len);
	bytes->len += len;
}
static inline void bytes_text(struct bytes *bytes, const char *text)
{
	bytes_add(bytes, text, strlen(text));
}

/* ── what is remembered durably ──────────────────────────────────────────── */

struct id {
	uint64_t a, b;
};

/* The open file up to its last committed batch. Lies twice in the state file, the newer whole one counts; behind both lies the ring of ids. */
struct state {
	char magic[8];
	uint64_t turn;  /* +1 with each commit */
	uint64_t shape; /* of format, compression and columns: another one begins another file */
	int64_t size, rows, opened_at;
	uint64_t id_count;       /* ever remembered */
	uint64_t id_from;        /* of them before the last commit */
	uint64_t ids_checksum;   /* of the last commit's */
	uint64_t bytes_checksum; /* of the file from `bytes_from` on: written with this commit, maybe not to the end */
	int64_t bytes_from;
	uint32_t is_sealing; /* the file is complete: it gets its name and its line of the manifest */
	uint32_t reserved;
	char name[NAME_MAX_LEN]; /* final; empty: no file is open */
	char first_position[64], last_position[64];
	unsigned char sync[SYNC_SIZE]; /* Avro's */
	uint64_t checksum;
};

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed);
struct id id_of(struct cdpd_str delivery_id);

struct memory {
	struct id *ring;  /* IDS_SIZE: number n at n % IDS_SIZE */
	uint32_t *index;  /* the last 31 bits of a number; 0: free */
	size_t used;      /* of index */
	uint64_t indexed; /* ids below this number are in the index, if they are still remembered */
};

/* false: out of memory. */
bool memory_init(struct memory *memory);
void memory_free(struct memory *memory);
bool memory_has(const struct memory *memory, const struct state *state, struct id id);
/* Notes one more in `next`, to be known when `next` is committed. */
void memory_note(struct memory *memory, struct state *next, struct id id);

/* Does the file hold the bytes that were written with the last commit? */
typedef bool (*state_check_fn)(void *ctx, const struct state *state);

/* CDPD_ERR_NOT_FOUND: there is none, *out is empty; CDPD_ERR_UNSUPPORTED: it is of another version. */
int state_read(int fd, struct state *out, struct memory *memory, state_check_fn has_bytes, void *ctx);
/* Writes it; it is durable when the file has been synced, and then state_settle is told. */
int state_write(int fd, struct state *state, struct memory *memory);
void state_settle(struct state *state, struct memory *memory);
/* Both, when all bytes are durable already. After CDPD_ERR_IO nobody knows: read it again before anything is written. */
int state_commit(int fd, struct state *state, struct memory *memory);

/* ── rows ────────────────────────────────────────────────────────────────── */

enum column_type { TYPE_STRING, TYPE_LONG, TYPE_DOUBLE, TYPE_BOOLEAN, TYPE_TIMESTAMP, TYPE_JSON, TYPE_COUNT };
enum column_source { FROM_JSON, FROM_PROFILE_ID, FROM_DELIVERY_ID, FROM_POSITION };

struct column {
	char *name, *path;
	enum column_type type;
	enum column_source source;
	size_t node; /* of the picker */
};

/* The value of a column: as it stands in the JSON, or plain text. ptr NULL: absent or null. */
struct value {
	struct cdpd_str text;
	bool is_json;
};

/* Members that are looked for, as a tree of their paths. */
struct picker {
	struct pick_node *nodes; /* [0]: the record */
	size_t count, size;
};
/* The node of a path of member names, split by dots; 0: out of memory. */
size_t picker_add(struct picker *picker, const char *path);
void picker_free(struct picker *picker);
/* values[node]: the text as it stands in `json`, ptr NULL: it is not there. Of equal keys the first counts. */
void picker_run(const struct picker *picker, struct cdpd_str json, struct cdpd_str *values);
/* The members of an object one after the other, from *at == 0 on. false: there is no more. */
bool json_next(struct cdpd_str object, size_t *at, struct cdpd_str *key, struct cdpd_str *value);
/* Adds the text of a JSON string, with its quotes, decoded. */
void json_decode(struct cdpd_str quoted, struct bytes *out);

bool value_is_absent(struct value value);
struct output;
/* Reads "[name=]path[:type]". NULL, or what is wrong with it; the columns are the output's. */
const char *column_add(struct output *output, struct cdpd_str item);
void columns_free(struct output *output);
/* As text: decoded strings, everything else as it stands. false: null, or not of the column's type. */
bool column_text(const struct column *column, struct value value, struct bytes *out);
bool column_number(const struct column *column, struct value value, int64_t *integer, double *number);

/* ── formats ─────────────────────────────────────────────────────────────── */

struct format {
	const char *name;
	void (*header)(const struct output *output, struct bytes *out); /* NULL: none */
	/* One row. `values`: of each column. false: the record cannot be written, `out` as it was. */
	bool (*row)(struct output *output, const struct cdpd_record *record, const struct value *values,
		    struct bytes *out);
	/* Around the rows of a batch. NULL: they stand as they are. */
	void (*block)(const struct output *output, const struct bytes *rows, uint64_t count, struct bytes *out);
};

extern const struct format format_ndjson, format_csv, format_avro;

/* ── outputs ─────────────────────────────────────────────────────────────── */

enum output_kind { OUT_EVENTS, OUT_PROFILES, OUT_FEATURES, OUT_CHANGES, OUTPUT_COUNT };

struct output {
	struct files *files;
	enum output_kind kind;
	char *prefix;
	struct column columns[COLUMNS_MAX];
	size_t column_count;
	struct picker picker;
	struct cdpd_str *picked; /* of each node */
	uint64_t shape;

	/* the batch at hand */
	struct bytes rows, block, packed, cell;
	bool is_wanted;
	uint64_t mismatches; /* values that were not of their column's type */

	struct state state, next; /* as committed; as it is to be */
	struct memory memory;
	int dir_fd, state_fd, fd;
	bool has_timer;
	bool owes_state; /* a commit of `state` failed: what the disk holds may be newer and wrong */
};

struct files {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int rows_metric, files_metric, repeats_metric, mismatches_metric;
	char *directory, *prefix;
	int64_t rotate_bytes, rotate_seconds;
	const struct format *format;
	bool is_zstd;
	struct ZSTD_CCtx_s *zstd;
	struct syncer *syncer;                 /* NULL: not needed yet */
	bool writes_profiles, writes_features; /* of profile records */
	struct output outputs[OUTPUT_COUNT];
};

/* Once the columns are there. false: out of memory. */
bool output_init(struct output *output);
void output_free(struct output *output);
/* Begins a batch. false: *why. */
bool output_begin(struct output *output, const char **why);
enum taken { TAKEN, TAKEN_BEFORE, TAKEN_NEVER };
/* TAKEN_NEVER: it cannot be written. */
enum taken output_take(struct output *output, const struct cdpd_record *record);
/* Makes what was taken durable, all or nothing. CDPD_OK also when it was nothing. */
int output_write(struct output *output, const char **why);
/* The rows of a profile's features. */
bool features_take(struct output *output, const struct cdpd_record *record);
extern const char features_columns[];

/* ── durability ──────────────────────────────────────────────────────────── */

/* fdatasync of both. CDPD_ERR_IO: of one of them, errno says why. */
int syncer_sync(struct files *files, int fd, int other);
void syncer_end(struct files *files);

/* ── the folder ──────────────────────────────────────────────────────────── */

int64_t folder_now(void); /* seconds since 1970 */
/* Takes the directory, ends what a crash left half done. Logs why not. */
int folder_open(struct output *output);
void folder_close(struct output *output);
/* Was there anything of this output before? */
bool folder_is_known(const struct output *output);
/* The directory is there and output->state is what it holds. On failure *why is a static text. */
int folder_ready(struct output *output, const char **why);
/* A file to write output->next to: the open one, or a new one (then output->state.size is 0). What is begun and not written is nothing: folder_close. */
int folder_begin(struct output *output, const char **why);
/* Appends bytes and commits output->next, all or nothing; rotates. */
int folder_write(struct output *output, const struct bytes *bytes, const char **why);
void folder_seal_if_old(struct output *output);
void folder_set_timer(struct output *output);
/* A line about the file of `state`, unless it is the last already. */
int manifest_add(int dir_fd, const char *prefix, const struct state *state);
