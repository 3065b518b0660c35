/* rows: a batch as PostgreSQL's binary COPY wants it. */
#pragma once

#include <stdint.h>

#include "cdpd_plugin.h"

struct rows {
	char *ptr;
	size_t len, size;
	uint64_t mended; /* characters replaced since rows_begin */
	bool is_broken;  /* out of memory: what is there is no use */
};

void rows_begin(struct rows *rows);
/* `action`: enum action. `gone`: why the person is no more; empty: she is. */
void rows_add(struct rows *rows, int32_t ord, int32_t run, int32_t action, const struct cdpd_record *record,
	      struct cdpd_str gone);
/* false: out of memory. */
bool rows_end(struct rows *rows);
void rows_free(struct rows *rows);
