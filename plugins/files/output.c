/* What becomes of the records of one kind: their rows, and the files that hold them. */
#include <stdlib.h>
#include <zstd.h>

#include "files.h"

/* ── bytes ───────────────────────────────────────────────────────────────── */

bool bytes_room(struct bytes *bytes, size_t len)
{
	if (bytes->has_failed) return false;
	if (len <= bytes->size - bytes->len) return true;
	size_t size = bytes->size ? bytes->size : 512;
	while (size - bytes->len < len) size *= 2;
	char *bigger = realloc(bytes->ptr, size);
	bytes->has_failed = !bigger;
	if (!bigger) return false;
	bytes->ptr = bigger;
	bytes->size = size;
	return true;
}

void bytes_reset(struct bytes *bytes)
{
	bytes->len = 0;
	bytes->has_failed = false;
}

void bytes_free(struct bytes *bytes)
{
	free(bytes->ptr);
	*bytes = (struct bytes){0};
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void hash_shape(struct output *output)
{
	const struct files *files = output->files;
	uint64_t hash = hash_bytes(files->format->name, strlen(files->format->name), files->is_zstd);
	for (size_t i = 0; i < output->column_count && files->format != &format_ndjson; i++) {
		const struct column *column = &output->columns[i];
		hash = hash_bytes(column->name, strlen(column->name) + 1, hash);
		hash = hash_bytes(column->path, strlen(column->path) + 1, hash);
		hash = hash_bytes(&column->type, sizeof column->type, hash);
	}
	output->shape = hash;
}

bool output_init(struct output *output)
{
	hash_shape(output);
	output->picked = calloc(output->picker.count + 1, sizeof output->picked[0]);
	return memory_init(&output->memory) && output->picked;
}

void output_free(struct output *output)
{
	columns_free(output);
	memory_free(&output->memory);
	bytes_free(&output->rows);
	bytes_free(&output->block);
	bytes_free(&output->packed);
	bytes_free(&output->cell);
	free(output->picked);
	free(output->prefix);
}

/* ── the rows of a batch ─────────────────────────────────────────────────── */

bool output_begin(struct output *output, const char **why)
{
	bytes_reset(&output->rows);
	bytes_reset(&output->cell);
	output->mismatches = 0;
	if (folder_ready(output, why) != CDPD_OK) return false;
	output->next = output->state;
	return true;
}

static struct value value_of(const struct output *output, const struct column *column, const struct cdpd_record *record)
{
	switch (column->source) {
	case FROM_PROFILE_ID: return (struct value){record->profile_id, false};
	case FROM_DELIVERY_ID: return (struct value){record->delivery_id, false};
	case FROM_POSITION: return (struct value){record->position, false};
	default: return (struct value){output->picked[column->node], true};
	}
}

static bool take_row(struct output *output, const struct cdpd_record *record)
{
	const struct format *format = output->files->format;
	struct value values[COLUMNS_MAX];
	if (format != &format_ndjson) {
		picker_run(&output->picker, record->json, output->picked);
		for (size_t i = 0; i < output->column_count; i++)
			values[i] = value_of(output, &output->columns[i], record);
	}
	if (!format->row(output, record, values, &output->rows)) return false;
	output->next.rows++;
	return true;
}

static void note_position(char out[64], struct cdpd_str position)
{
	memset(out, 0, 64); /* at most 40 bytes, URL-safe: the host's word */
	memcpy(out, position.ptr, position.len < 63 ? position.len : 63);
}

enum taken output_take(struct output *output, const struct cdpd_record *record)
{
	struct id id = id_of(record->delivery_id);
	int64_t before = output->next.rows;
	if (memory_has(&output->memory, &output->state, id)) return TAKEN_BEFORE;
	if (!(output->kind == OUT_FEATURES ? features_take(output, record) : take_row(output, record)))
		return output->rows.has_failed ? TAKEN : TAKEN_NEVER;
	if (output->next.rows == before) return TAKEN; /* a person without features */
	if (before == 0) note_position(output->next.first_position, record->position);
	note_position(output->next.last_position, record->position);
	memory_note(&output->memory, &output->next, id);
	return TAKEN;
}

/* ── the bytes of a batch ────────────────────────────────────────────────── */

static bool pack(struct files *files, const struct bytes *from, struct bytes *to)
{
	bytes_reset(to);
	if (!bytes_room(to, ZSTD_compressBound(from->len))) return false;
	size_t len = ZSTD_compress2(files->zstd, to->ptr, to->size, from->ptr, from->len);
	to->len = ZSTD_isError(len) ? 0 : len;
	return to->len > 0;
}

/* NULL: out of memory. */
static const struct bytes *shape(struct output *output, uint64_t rows)
{
	const struct format *format = output->files->format;
	bool begins = output->state.size == 0 && format->header;
	const struct bytes *out = &output->rows;
	if (out->has_failed) return NULL;
	if (begins || format->block) {
		bytes_reset(&output->block);
		if (begins) format->header(output, &output->block);
		if (format->block)
			format->block(output, &output->rows, rows, &output->block);
		else
			bytes_add(&output->block, output->rows.ptr, output->rows.len);
		out = &output->block;
	}
	if (out->has_failed) return NULL;
	if (!output->files->is_zstd) return out;
	return pack(output->files, out, &output->packed) ? &output->packed : NULL;
}

int output_write(struct output *output, const char **why)
{
	const struct files *files = output->files;
	uint64_t rows = (uint64_t)(output->next.rows - output->state.rows);
	*why = "out of memory";
	if (output->rows.has_failed) return CDPD_ERR_NOMEM;
	if (rows == 0) return CDPD_OK;
	if (folder_begin(output, why) != CDPD_OK) return CDPD_ERR_IO;
	const struct bytes *bytes = shape(output, rows);
	if (!bytes) {
		folder_close(output);
		return CDPD_ERR_NOMEM;
	}
	int rc = folder_write(output, bytes, why);
	if (rc != CDPD_OK) return rc;
	files->host->count(files->instance, files->rows_metric, rows);
	files->host->count(files->instance, files->mismatches_metric, output->mismatches);
	return CDPD_OK;
}
