/* census: how many connections are open, in all and from each address. Thread-safe; touched only when a connection
 * opens or closes. */
#pragma once

#include "net/ip.h"

struct census;
struct census_entry;

MUST_USE int census_new(struct census **out);
void census_free(struct census *census);
/* Counts one more; ERR_BUSY past max_total, ERR_REFUSED past max_per_ip (ip NULL: exempt; IPv6 counts by /64),
 * ERR_NOMEM. */
MUST_USE int census_enter(struct census *census, const struct ip *ip, uint32_t max_total, uint32_t max_per_ip,
                          struct census_entry **entry);
void census_leave(struct census *census, struct census_entry *entry); /* entry NULL: was exempt */
size_t census_total(struct census *census);
/* Waits until none is open; false after timeout_ms. */
bool census_wait_empty(struct census *census, int timeout_ms);
