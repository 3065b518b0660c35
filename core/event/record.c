#include "event/record.h"

#include <endian.h>

#include "base/crc32c.h"

/* The 16 bytes as they lie on disk. Where the checksum sits never changes, so it is looked at first and a
 * damaged format number is not mistaken for a newer one. */
struct header {
	uint8_t format, kind;
	uint16_t flags;
	uint32_t crc;
	int64_t t;
};
_Static_assert(sizeof(struct header) == RECORD_HEADER_SIZE, "the header's layout is the disk's");

const char *record_kind_name(enum record_kind kind)
{
	static const char *const names[] = {
	    [RECORD_EVENT] = "event",           [RECORD_RESOLUTION] = "resolution",
	    [RECORD_MERGE] = "merge",           [RECORD_UNMERGE] = "unmerge",
	    [RECORD_ERASURE] = "erasure",       [RECORD_SUPPRESSION] = "suppression",
	    [RECORD_DEFINITION] = "definition", [RECORD_TICK] = "tick",
	    [RECORD_CLOCK] = "clock",           [RECORD_QUARANTINE] = "quarantine",
	};
	if (kind == RECORD_ERASED_EVENT) return "erased event";
	return (size_t)kind < COUNT_OF(names) && names[kind] ? names[kind] : "unknown";
}

static uint32_t checksum(const struct header *header, struct str payload)
{
	uint32_t crc = crc32c(0, header, offsetof(struct header, crc));
	crc = crc32c(crc, &header->t, sizeof header->t);
	return crc32c(crc, payload.ptr, payload.len);
}

void record_header_write(void *out, enum record_kind kind, uint16_t flags, int64_t t, struct str payload)
{
	struct header header = {
	    .format = RECORD_FORMAT,
	    .kind = (uint8_t)kind,
	    .flags = htole16(flags),
	    .t = (int64_t)htole64((uint64_t)t),
	};
	header.crc = htole32(checksum(&header, payload));
	memcpy(out, &header, sizeof header);
}

int record_read(struct str bytes, uint64_t seq, struct record *out)
{
	struct header header;
	if (bytes.len < sizeof header) return ERR_CORRUPT;
	memcpy(&header, bytes.ptr, sizeof header);
	struct str payload = {bytes.ptr + sizeof header, bytes.len - sizeof header};
	if (le32toh(header.crc) != checksum(&header, payload)) return ERR_CORRUPT;
	if (header.format == 0) return ERR_CORRUPT;
	uint16_t flags = le16toh(header.flags);
	if (header.format > RECORD_FORMAT || (flags & ~RECORD_FLAG_ERASED)) return ERR_FORMAT;
	if (header.kind == 0 || header.kind > RECORD_KIND_MAX || (flags && header.kind != RECORD_EVENT))
		return ERR_FORMAT;
	*out = (struct record){
	    .kind = flags ? RECORD_ERASED_EVENT : (enum record_kind)header.kind,
	    .flags = flags,
	    .t = (int64_t)le64toh((uint64_t)header.t),
	    .seq = seq,
	    .payload = payload,
	};
	return OK;
}
