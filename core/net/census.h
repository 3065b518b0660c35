/* census: how many connections are open, in all and from each address, and how much they hold. Thread-safe. */
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
/* Bytes of bodies that connections hold, all together: lock-free. The new sum is returned. */
size_t census_hold(struct census *census, size_t bytes);
void census_let_go(struct census *census, size_t bytes);
/* Memory of answers that wait for their clients, all together: lock-free. One connection's part was `before` and is `now`. */
void census_queue(struct census *census, size_t before, size_t now);
size_t census_queued(const struct census *census);
/* Waits until none is open; false after timeout_ms. */
bool census_wait_empty(struct census *census, int timeout_ms);
