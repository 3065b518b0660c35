#include "ingest/address.h"

#include <arpa/inet.h>

#define IPV6_KEPT 6 /* bytes */

size_t address_truncate(struct str text, char out[ADDRESS_SIZE])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char copy[ADDRESS_SIZE];
	uint8_t bytes[16];
	if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len)) return 0;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	int family = AF_INET;
	if (inet_pton(AF_INET, copy, bytes) == 1) {
		bytes[3] = 0;
	} else if (inet_pton(AF_INET6, copy, bytes) == 1) {
		family = AF_INET6;
		if (memcmp(bytes, mapped, sizeof mapped) == 0)
			bytes[15] = 0;
		else
			memset(bytes + IPV6_KEPT, 0, sizeof bytes - IPV6_KEPT);
	} else {
		return 0;
	}
	return inet_ntop(family, bytes, out, ADDRESS_SIZE) ? strlen(out) : 0;
}
