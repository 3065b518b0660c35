#include "net/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct ip *ip)
{
	return memcmp(ip->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

static void set_v4(struct ip *out, const void *four)
{
	memcpy(out->bytes, v4_prefix, sizeof v4_prefix);
	memcpy(out->bytes + sizeof v4_prefix, four, 4);
}

bool ip_from_sockaddr(const struct sockaddr *addr, struct ip *out)
{
	if (addr->sa_family == AF_INET)
		set_v4(out, &((const struct sockaddr_in *)(const void *)addr)->sin_addr);
	else if (addr->sa_family == AF_INET6)
		memcpy(out->bytes, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr, sizeof out->bytes);
	else
		return false;
	return true;
}

static int parse_plain(struct str text, struct ip *out)
{
	char copy[IP_TEXT_SIZE];
	struct in_addr four;
	if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, 0, text.len)) return ERR_INVALID;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET6, copy, out->bytes) == 1) return OK;
	if (inet_pton(AF_INET, copy, &four) != 1) return ERR_INVALID;
	set_v4(out, &four);
	return OK;
}

int ip_parse(struct str text, struct ip *out)
{
	if (text.len > 0 && text.ptr[0] == '[') {
		const char *close = memchr(text.ptr, ']', text.len);
		if (!close) return ERR_INVALID;
		return parse_plain((struct str){text.ptr + 1, (size_t)(close - text.ptr) - 1}, out);
	}
	const char *colon = memchr(text.ptr, ':', text.len);
	if (colon && !memchr(colon + 1, ':', text.len - (size_t)(colon + 1 - text.ptr)))
		text.len = (size_t)(colon - text.ptr);
	return parse_plain(text, out);
}

size_t ip_format(const struct ip *ip, char out[IP_TEXT_SIZE])
{
	const char *text = is_v4(ip) ? inet_ntop(AF_INET, ip->bytes + 12, out, IP_TEXT_SIZE)
				     : inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_SIZE);
	CHECK(text);
	return strlen(out);
}

bool ip_is_loopback(const struct ip *ip)
{
	static const struct ip one = {{[15] = 1}};
	return is_v4(ip) ? ip->bytes[12] == 127 : memcmp(ip, &one, sizeof one) == 0;
}

int ip_net_parse(struct str text, struct ip_net *out)
{
	const char *slash = memchr(text.ptr, '/', text.len);
	struct str address = {text.ptr, slash ? (size_t)(slash - text.ptr) : text.len};
	int rc = parse_plain(address, &out->ip);
	if (rc != OK) return rc;
	uint64_t most = is_v4(&out->ip) ? 32 : 128, bits = most;
	if (slash) {
		rc = str_to_u64((struct str){slash + 1, text.len - address.len - 1}, &bits);
		if (rc != OK || bits > most) return ERR_INVALID;
	}
	out->bits = (uint8_t)(bits + (128 - most));
	return OK;
}

bool ip_net_has(const struct ip_net *net, const struct ip *ip)
{
	size_t whole = net->bits / 8, rest = net->bits % 8;
	if (memcmp(net->ip.bytes, ip->bytes, whole) != 0) return false;
	if (rest == 0) return true;
	uint8_t mask = (uint8_t)(0xff00 >> rest);
	return ((net->ip.bytes[whole] ^ ip->bytes[whole]) & mask) == 0;
}
