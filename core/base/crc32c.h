/* crc32c: Castagnoli CRC (RFC 3720 appendix B.4), as in iSCSI and ext4; hardware-assisted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Start with crc 0; feed pieces in order: crc32c(crc32c(0, a, n), b, m) covers a then b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
