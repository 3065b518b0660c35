#include "journal/meta.h"

#include <endian.h>

#include "base/crc32c.h"

/* crc32c over all that follows, then the format, the fixed part, and one {code, count} for each reason that
 * rejected something: codes are stable text, their numbers are not. */
struct fixed {
	uint32_t crc, format;
	uint64_t epoch, first_seq, next_seq, next_reject_id, reject_bytes;
	uint64_t last_t, created_t, clock_jump_us;
	uint64_t is_clock_held, definition_seq;
	uint8_t definition_hash[DEFINITION_HASH_SIZE];
	uint64_t received, rejected, rejects_not_kept, reason_count;
};
#define CRC_FROM         offsetof(struct fixed, format)
#define REASON_CODE_SIZE 24 /* NUL-padded */
struct reason {
	char code[REASON_CODE_SIZE];
	uint64_t count;
};
_Static_assert(sizeof(struct fixed) == 152 && sizeof(struct reason) == 32, "these layouts are the disk's");
_Static_assert(sizeof(struct fixed) + PROBLEM_COUNT * sizeof(struct reason) <= META_SIZE_MAX, "the row fits a leaf");

static uint64_t write_reasons(const struct journal_counters *counters, uint8_t *out)
{
	uint64_t count = 0;
	for (int i = 0; i < PROBLEM_COUNT; i++) {
		if (counters->rejected_by[i] == 0) continue;
		struct reason reason = {.count = htole64(counters->rejected_by[i])};
		struct str code = str_from(problem_info((enum problem)i)->code);
		CHECK(code.len < sizeof reason.code);
		memcpy(reason.code, code.ptr, code.len);
		memcpy(out + count * sizeof reason, &reason, sizeof reason);
		count++;
	}
	return count;
}

size_t meta_encode(const struct journal_meta *meta, uint8_t out[META_SIZE_MAX])
{
	struct fixed fixed = {
	    .format = htole32(META_FORMAT),
	    .epoch = htole64(meta->epoch),
	    .first_seq = htole64(meta->first_seq),
	    .next_seq = htole64(meta->next_seq),
	    .next_reject_id = htole64(meta->next_reject_id),
	    .reject_bytes = htole64(meta->reject_bytes),
	    .last_t = htole64((uint64_t)meta->last_t),
	    .created_t = htole64((uint64_t)meta->created_t),
	    .clock_jump_us = htole64((uint64_t)meta->clock_jump_us),
	    .is_clock_held = htole64(meta->is_clock_held),
	    .definition_seq = htole64(meta->definition_seq),
	    .received = htole64(meta->counters.received),
	    .rejected = htole64(meta->counters.rejected),
	    .rejects_not_kept = htole64(meta->counters.rejects_not_kept),
	};
	memcpy(fixed.definition_hash, meta->definition_hash, sizeof fixed.definition_hash);
	uint64_t reasons = write_reasons(&meta->counters, out + sizeof fixed);
	fixed.reason_count = htole64(reasons);
	memcpy(out, &fixed, sizeof fixed);
	size_t len = sizeof fixed + (size_t)reasons * sizeof(struct reason);
	fixed.crc = htole32(crc32c(0, out + CRC_FROM, len - CRC_FROM));
	memcpy(out, &fixed.crc, sizeof fixed.crc);
	return len;
}

static void read_reasons(const char *bytes, uint64_t count, struct journal_counters *out)
{
	for (uint64_t i = 0; i < count; i++) {
		struct reason reason;
		enum problem problem;
		memcpy(&reason, bytes + i * sizeof reason, sizeof reason);
		struct str code = {reason.code, strnlen(reason.code, sizeof reason.code)};
		if (problem_from_code(code, &problem)) out->rejected_by[problem] = le64toh(reason.count);
	}
}

int meta_decode(struct str bytes, struct journal_meta *out)
{
	struct fixed fixed;
	if (bytes.len < sizeof fixed) return ERR_CORRUPT;
	memcpy(&fixed, bytes.ptr, sizeof fixed);
	if (le32toh(fixed.crc) != crc32c(0, bytes.ptr + CRC_FROM, bytes.len - CRC_FROM)) return ERR_CORRUPT;
	if (le32toh(fixed.format) > META_FORMAT) return ERR_FORMAT;
	uint64_t reasons = le64toh(fixed.reason_count);
	if (reasons != (bytes.len - sizeof fixed) / sizeof(struct reason)) return ERR_CORRUPT;
	*out = (struct journal_meta){
	    .epoch = le64toh(fixed.epoch),
	    .first_seq = le64toh(fixed.first_seq),
	    .next_seq = le64toh(fixed.next_seq),
	    .next_reject_id = le64toh(fixed.next_reject_id),
	    .reject_bytes = le64toh(fixed.reject_bytes),
	    .last_t = (int64_t)le64toh(fixed.last_t),
	    .created_t = (int64_t)le64toh(fixed.created_t),
	    .clock_jump_us = (int64_t)le64toh(fixed.clock_jump_us),
	    .is_clock_held = fixed.is_clock_held != 0,
	    .definition_seq = le64toh(fixed.definition_seq),
	    .counters = {.received = le64toh(fixed.received),
			 .rejected = le64toh(fixed.rejected),
			 .rejects_not_kept = le64toh(fixed.rejects_not_kept)},
	};
	memcpy(out->definition_hash, fixed.definition_hash, sizeof out->definition_hash);
	read_reasons(bytes.ptr + sizeof fixed, reasons, &out->counters);
	return OK;
}
