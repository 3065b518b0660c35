/* proxy: whose word about the client's address is believed. */
#pragma once

#include "net/ip.h"

struct proxies {
	const struct ip_net *nets;
	size_t count;
	bool trusts_unix; /* "unix:" is in the list: peers on unix sockets are proxies */
};

bool proxies_trust(const struct proxies *proxies, const struct ip *ip);
/* The nearest untrusted hop of X-Forwarded-For ("client, proxy1, proxy2"), read from its right end; `hop` starts as the
 * peer, which must be trusted, and is what the last believed proxy said. A malformed element ends the search.
 * Call once for each such header, last header first; false: nothing further left is to be believed. */
bool proxies_walk(const struct proxies *proxies, struct str forwarded, struct ip *hop);
