// rooms: journal
/* What the journal keeps, from any bytes: the first one picks a record with its header, an event's payload, or the meta of a segment. What is
 * sealed by a checksum is sealed here, for a broken disk or a broken cdpd may also have sealed nonsense. */
#include "base/crc32c.h"
#include "event/event.h"
#include "event/record.h"
#include "journal/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;

/* What was read is written and read again without a change; and it can be shown. */
static void try_event(struct str payload)
{
	struct cdpd_event event, again;
	struct str first, second;
	struct buf json;
	if (event_decode(payload, &arena, &event) != OK) return;
	CHECK(event_encode(&event, &arena, &first) == OK);
	CHECK(event_decode(first, &arena, &again) == OK);
	CHECK(event_encode(&again, &arena, &second) == OK);
	CHECK(str_eq(first, second));
	buf_init(&json, 8 << 20);
	int rc = event_write_json(&json, &event, false);
	CHECK(rc == OK || rc == ERR_TOO_LARGE);
	buf_fini(&json);
}

static void try_record(struct str bytes)
{
	struct record record;
	char header[RECORD_HEADER_SIZE];
	int rc = record_read(bytes, 7, &record);
	CHECK(rc == OK || rc == ERR_CORRUPT || rc == ERR_FORMAT);
	if (bytes.len < RECORD_HEADER_SIZE) return;
	struct str payload = str_of(bytes.ptr + RECORD_HEADER_SIZE, bytes.len - RECORD_HEADER_SIZE);
	record_header_write(header, (enum record_kind)(uint8_t)bytes.ptr[1], 0, 1, payload);
	char *whole = arena_alloc(&arena, bytes.len);
	CHECK(whole);
	memcpy(whole, header, sizeof header);
	memcpy(whole + sizeof header, payload.ptr, payload.len);
	rc = record_read(str_of(whole, bytes.len), 7, &record);
	CHECK(rc == OK || rc == ERR_FORMAT);
	if (rc == OK) CHECK(str_eq(record.payload, payload));
	if (rc == OK && record.kind == RECORD_EVENT) try_event(record.payload);
}

static void try_meta(struct str bytes)
{
	struct journal_meta meta;
	CHECK(meta_decode(bytes, &meta) != OK || bytes.len >= 4);
	if (bytes.len < 4) return;
	char *sealed = arena_alloc(&arena, bytes.len);
	CHECK(sealed);
	memcpy(sealed, bytes.ptr, bytes.len);
	uint32_t crc = crc32c(0, sealed + 4, bytes.len - 4);
	memcpy(sealed, &crc, sizeof crc);
	int rc = meta_decode(str_of(sealed, bytes.len), &meta);
	CHECK(rc == OK || rc == ERR_CORRUPT || rc == ERR_FORMAT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(struct str bytes) = {try_event, try_record, try_meta};
	if (size == 0) return 0;
	arena_init(&arena, 4096, 64 << 20);
	tries[data[0] % COUNT_OF(tries)](str_of(data + 1, size - 1));
	arena_fini(&arena);
	return 0;
}
