/* ip: addresses and networks as bytes. IPv4 is held as ::ffff:a.b.c.d, so one comparison serves both. */
#pragma once

#include <sys/socket.h>

#include "base/str.h"

struct ip {
	uint8_t bytes[16];
};

struct ip_net {
	struct ip ip;
	uint8_t bits; /* of 128 */
};

#define IP_TEXT_SIZE 48

bool ip_from_sockaddr(const struct sockaddr *addr, struct ip *out); /* false: not an internet address */
/* "1.2.3.4", "::1", and as proxies write them: "1.2.3.4:80", "[::1]:80", "[::1]". */
MUST_USE int ip_parse(struct str text, struct ip *out);
size_t ip_format(const struct ip *ip, char out[IP_TEXT_SIZE]);
bool ip_is_loopback(const struct ip *ip);
MUST_USE int ip_net_parse(struct str text, struct ip_net *out); /* "10.0.0.0/8", "fd00::/8", a single address */
bool ip_net_has(const struct ip_net *net, const struct ip *ip);
