/* files: an exporter that writes NDJSON, CSV or Avro files whose contents are exact: each record is in one file, once. files.c owns options and batches,
 * folder.c the files, state.c what is remembered durably, manifest.c the list of sealed files, format.c, csv.c and avro.c the bytes, json.c
 * looks into records. See README.md. */
#pragma once

#include <string.h>

#include "cdpd_plugin.h"

#define NAME_MAX_LEN 256
#define IDS_MAX      2048 /* remembered; a batch has at most 500 */
#define COLUMNS_MAX  200
#define SYNC_SIZE    16

/* ── bytes ───────────────────────────────────────────────────────────────── */

struct bytes {
	char *ptr;
	size_t len, size;
	bool has_failed; /* out of memory: nothing is added any more */
};

void bytes_add(struct bytes *bytes, const void *ptr, size_t len);
void bytes_free(struct bytes *bytes);
static inline void bytes_text(struct bytes *bytes, const char *text)
{
	bytes_add(bytes, text, strlen(text));
}

/* ── what is remembered durably ──────────────────────────────────────────── */

struct id {
	uint64_t a, b;
};

/* The open file up to its last committed batch, and the records that came last. Lies twice in the state file, the newer whole one counts. */
struct state {
	char magic[8];
	uint64_t turn;  /* +1 with each commit */
	uint64_t shape; /* of format, compression and columns: another one begins another file */
	int64_t size, rows, opened_at;
	uint32_t is_sealing; /* the file is complete: it gets its name and its line of the manifest */
	uint32_t id_count, id_next, reserved;
	char name[NAME_MAX_LEN]; /* final; empty: no file is open */
	char first_position[64], last_position[64];
	unsigned char sync[SYNC_SIZE]; /* Avro's */
	struct id ids[IDS_MAX];        /* a ring */
	uint64_t checksum;
};

struct id id_of(struct cdpd_str delivery_id);
uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed);
/* false: there is none, *out is empty. */
bool state_read(int fd, struct state *out);
/* Durable when it returns CDPD_OK. After CDPD_ERR_IO nobody knows: read it again before anything is written. */
int state_commit(int fd, struct state *state);
void state_remember(struct state *state, struct id id);

/* ── formats ─────────────────────────────────────────────────────────────── */

struct column {
	char *name, *path;
};

struct files;
struct format {
	const char *name;
	void (*header)(const struct files *self, struct bytes *out); /* NULL: none */
	/* false: the record cannot be written, `out` as it was. */
	bool (*record)(const struct files *self, const struct cdpd_record *record, struct bytes *out);
	/* Around the records of a batch. NULL: they stand as they are. */
	void (*block)(const struct files *self, const struct bytes *records, uint64_t count, struct bytes *out);
};

extern const struct format format_ndjson, format_csv, format_avro;

struct files {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	int rows_metric, files_metric, repeats_metric;
	char *directory, *prefix;
	int64_t rotate_bytes, rotate_seconds;
	const struct format *format;
	bool is_zstd;
	struct column columns[COLUMNS_MAX];
	size_t column_count;
	uint64_t shape;

	struct bytes records, block, packed; /* of the batch at hand */
	struct state state, next;            /* as committed; as it is to be */

	int dir_fd, state_fd, fd;
	bool has_timer;
};

/* The value at a column's path: of the record's own members or of its JSON, decoded into `out`. false: absent or null. */
bool column_value(const struct column *column, const struct cdpd_record *record, struct bytes *out);
/* A path of member names, split by dots. *out: the value's text as it stands there. */
bool json_find(struct cdpd_str json, const char *path, struct cdpd_str *out);
/* Adds the text of a JSON string, with its quotes, decoded. */
void json_decode(struct cdpd_str quoted, struct bytes *out);

/* ── the folder ──────────────────────────────────────────────────────────── */

int64_t folder_now(void); /* seconds since 1970 */
/* Takes the directory, ends what a crash left half done. Logs why not. */
int folder_open(struct files *self);
void folder_close(struct files *self);
/* The directory is there and self->state is what it holds. On failure *why is a static text. */
int folder_ready(struct files *self, const char **why);
/* A file to write self->next to: the open one, or a new one (then self->state.size is 0). What is begun and not written is nothing: folder_close. */
int folder_begin(struct files *self, const char **why);
/* Appends bytes and commits self->next, all or nothing; rotates. */
int folder_write(struct files *self, const struct bytes *bytes, const char **why);
void folder_seal_if_old(struct files *self);
void folder_set_timer(struct files *self);
/* A line about the file of `state`, unless it is the last already. */
int manifest_add(int dir_fd, const char *prefix, const struct state *state);
