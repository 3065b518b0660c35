#include "base/crc32c.h"

#include <isa-l/crc.h>

#define PIECE ((size_t)1 << 30) /* isa-l takes an int length */

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	/* isa-l leaves the inversion before and after to its caller, and does not declare what it only reads const. */
	unsigned char *bytes = (unsigned char *)(uintptr_t)data;
	crc = ~crc;
	while (len > 0) {
		size_t piece = len < PIECE ? len : PIECE;
		crc = crc32_iscsi(bytes, (int)piece, crc);
		bytes += piece;
		len -= piece;
	}
	return ~crc;
}
