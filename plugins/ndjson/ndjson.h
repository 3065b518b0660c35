/* ndjson: what its two files share. files.c owns the directory, ndjson.c the records. */
#pragma once

#include "cdpd_plugin.h"

struct ndjson {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char *directory, *prefix;
	int64_t rotate_bytes, rotate_seconds;
	int lines_metric, files_metric;

	char *lines; /* of the batch at hand */
	size_t line_len, line_size;

	int dir_fd, lock_fd;
	int fd;            /* the file being written, -1: none */
	char name[256];    /* its final name; "<name>.part" while it is written */
	int64_t size;      /* durable bytes */
	int64_t opened_at; /* seconds, from its name */
	bool has_timer;
};

int64_t files_now(void); /* seconds since 1970 */
/* Takes the directory: lock, recovery of what a crash left. Logs why not. */
int files_open(struct ndjson *self);
/* Gives the directory back; an open file goes on when it is taken again. */
void files_close(struct ndjson *self);
/* Appends self->lines durably, or not at all; rotates. On failure *why is a static text. */
int files_write(struct ndjson *self, const char **why);
void files_seal_if_old(struct ndjson *self);
void files_set_timer(struct ndjson *self);
