/* record: what the journal holds. A record is a 16-byte header and a protobuf payload.
 *
 *   offset 0  u8   format   RECORD_FORMAT; a larger one is from the future and refused
 *          1  u8   kind     enum record_kind; unknown kinds are refused
 *          2  u16  flags    little endian; RECORD_FLAG_ERASED, others must be zero
 *          4  u32  crc32c   over bytes 0-3, 8-15 and the payload
 *          8  i64  t        logical time, µs, little endian: max(previous t, wall clock) */
#pragma once

#include "base/str.h"

#define RECORD_FORMAT      1
#define RECORD_HEADER_SIZE 16
#define RECORD_FLAG_ERASED 1 /* of an event: its content was erased, the payload is a StoredErasedEvent */

enum record_kind {
	RECORD_EVENT = 1,
	RECORD_RESOLUTION = 2,
	RECORD_MERGE = 3,
	RECORD_UNMERGE = 4,
	RECORD_ERASURE = 5,
	RECORD_SUPPRESSION = 6,
	RECORD_DEFINITION = 7,
	RECORD_TICK = 8,
	RECORD_CLOCK = 9,
	RECORD_QUARANTINE = 10,
	RECORD_KIND_MAX = RECORD_QUARANTINE,
	RECORD_ERASED_EVENT = 255 /* in memory only: an event with RECORD_FLAG_ERASED. Never on disk as a kind. */
};
const char *record_kind_name(enum record_kind kind);

struct record {
	enum record_kind kind;
	uint16_t flags;
	int64_t t;
	uint64_t seq;       /* its key, not part of the bytes */
	struct str payload; /* borrowed */
};

/* Writes the header for `payload` to out[RECORD_HEADER_SIZE]; the payload follows it. */
void record_header_write(void *out, enum record_kind kind, uint16_t flags, int64_t t, struct str payload);
/* ERR_CORRUPT: too short or checksum; ERR_FORMAT: newer format or unknown kind. Borrows `bytes`. */
MUST_USE int record_read(struct str bytes, uint64_t seq, struct record *out);
