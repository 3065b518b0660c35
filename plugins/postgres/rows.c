#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define EPOCH_US      INT64_C(946684800000000) /* 2000-01-01, where PostgreSQL counts from */
#define COLUMNS       11
#define JSONB_VERSION 1

static char *grow(struct rows *rows, size_t len)
{
	if (rows->is_broken) return NULL;
	if (len > rows->size - rows->len) {
		size_t size = rows->size ? rows->size : 65536;
		while (size - rows->len < len) size *= 2;
		char *bigger = realloc(rows->ptr, size);
		if (!bigger) {
			rows->is_broken = true;
			return NULL;
		}
		rows->ptr = bigger;
		rows->size = size;
	}
	char *at = rows->ptr + rows->len;
	rows->len += len;
	return at;
}

/* Big-endian. */
static void put_number(struct rows *rows, uint64_t value, size_t bytes)
{
	char *at = grow(rows, bytes);
	for (size_t i = 0; at && i < bytes; i++) at[i] = (char)(value >> (8 * (bytes - 1 - i)));
}

static void put_int32(struct rows *rows, int32_t value)
{
	put_number(rows, 4, 4);
	put_number(rows, (uint32_t)value, 4);
}

/* Nothing is NULL. */
static void put_text(struct rows *rows, struct cdpd_str text)
{
	if (text.len == 0) {
		put_number(rows, UINT32_MAX, 4);
		return;
	}
	size_t len = text_mend_nul(text.ptr, text.len, NULL);
	put_number(rows, len, 4);
	char *at = grow(rows, len);
	if (at) text_mend_nul(text.ptr, text.len, at);
	rows->mended += (len - text.len) / 2;
}

static void put_time(struct rows *rows, int64_t us)
{
	int64_t since = us < INT64_MIN + EPOCH_US ? INT64_MIN : us - EPOCH_US;
	put_number(rows, 8, 4);
	put_number(rows, (uint64_t)since, 8);
}

static void put_json(struct rows *rows, struct cdpd_str json)
{
	put_number(rows, json.len + 1, 4);
	put_number(rows, JSONB_VERSION, 1);
	char *at = grow(rows, json.len);
	if (!at) return;
	memcpy(at, json.ptr, json.len);
	rows->mended += text_mend_json(at, json.len);
}

void rows_begin(struct rows *rows)
{
	static const char signature[] = "PGCOPY\n\377\r\n"; /* and its NUL */
	rows->len = 0;
	rows->mended = 0;
	rows->is_broken = false;
	char *at = grow(rows, sizeof signature);
	if (at) memcpy(at, signature, sizeof signature);
	put_number(rows, 0, 8); /* flags, header extension */
}

void rows_add(struct rows *rows, int32_t ord, int32_t run, int32_t action, const struct cdpd_record *record,
	      struct cdpd_str gone)
{
	put_number(rows, COLUMNS, 2);
	put_int32(rows, ord);
	put_int32(rows, run);
	put_int32(rows, action);
	put_text(rows, record->delivery_id);
	put_text(rows, record->position);
	put_text(rows, record->profile_id);
	put_text(rows, record->message_id);
	put_time(rows, record->time_us);
	put_text(rows, gone);
	put_text(rows, record->other_id);
	put_json(rows, record->json);
}

bool rows_end(struct rows *rows)
{
	put_number(rows, UINT16_MAX, 2);
	return !rows->is_broken;
}

void rows_free(struct rows *rows)
{
	free(rows->ptr);
	*rows = (struct rows){0};
}
