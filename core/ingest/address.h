/* address: an IP address cut down to its network: IPv4 to 24 bits, IPv6 to 48. */
#pragma once

#include "base/str.h"

#define ADDRESS_SIZE 48
/* Returns the length; 0: not an address. */
size_t address_truncate(struct str text, char out[ADDRESS_SIZE]);
