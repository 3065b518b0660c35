#include "plugin/http_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* Addresses are compared as IPv6, those of IPv4 as ::ffff:a.b.c.d. */
#define V4_BITS 96
static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct range {
	uint8_t bytes[16];
	unsigned bits;
};

#define V4(a, b, c, n) \
	{ \
		{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, 0}, V4_BITS + (n) \
	}

/* Of IPv4 what is not the public internet. */
static const struct range v4_closed[] = {
    V4(0, 0, 0, 8),     V4(10, 0, 0, 8),      V4(100, 64, 0, 10),  V4(127, 0, 0, 8),    V4(169, 254, 0, 16),
    V4(172, 16, 0, 12), V4(192, 0, 0, 24),    V4(192, 0, 2, 24),   V4(192, 88, 99, 24), V4(192, 168, 0, 16),
    V4(198, 18, 0, 15), V4(198, 51, 100, 24), V4(203, 0, 113, 24), V4(224, 0, 0, 4),    V4(240, 0, 0, 4),
};
/* Of IPv6 the public internet is 2000::/3 without these. */
static const struct range v6_open = {{0x20}, 3};
static const struct range v6_closed[] = {
    {{0x20, 0x01, 0x00}, 23},       /* Teredo, ORCHID, benchmarks … */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4: leads to an IPv4 address */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation */
};
static const struct range nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};

static bool is_in(const uint8_t address[16], const uint8_t range[16], unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(address, range, whole) != 0) return false;
	return rest == 0 || ((address[whole] ^ range[whole]) >> (8 - rest)) == 0;
}

static bool is_in_any(const uint8_t address[16], const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_in(address, ranges[i].bytes, ranges[i].bits)) return true;
	return false;
}

static bool is_public(const uint8_t address[16])
{
	if (memcmp(address, v4_prefix, sizeof v4_prefix) == 0)
		return !is_in_any(address, v4_closed, COUNT_OF(v4_closed));
	if (is_in(address, nat64.bytes, nat64.bits)) {
		uint8_t inner[16];
		memcpy(inner, v4_prefix, sizeof v4_prefix);
		memcpy(inner + 12, address + 12, 4);
		return is_public(inner);
	}
	return is_in(address, v6_open.bytes, v6_open.bits) && !is_in_any(address, v6_closed, COUNT_OF(v6_closed));
}

static bool take_address(const struct sockaddr *from, uint8_t out[16])
{
	if (from->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, from, sizeof v4);
		memcpy(out, v4_prefix, sizeof v4_prefix);
		memcpy(out + 12, &v4.sin_addr, 4);
		return true;
	}
	if (from->sa_family != AF_INET6) return false;
	struct sockaddr_in6 v6;
	memcpy(&v6, from, sizeof v6);
	memcpy(out, &v6.sin6_addr, 16);
	return true;
}

bool http_guard_lets(const struct http_guard *guard, struct str host, const struct sockaddr *address)
{
	uint8_t bytes[16];
	if (!take_address(address, bytes)) return false;
	if (is_public(bytes)) return true;
	for (size_t i = 0; i < guard->count; i++) {
		const struct http_allowed *item = &guard->items[i];
		if (item->host.len ? str_eq_nocase(item->host, host) : is_in(bytes, item->address, item->bits))
			return true;
	}
	return false;
}

/* ── the configuration's list ────────────────────────────────────────────── */

static bool is_host(struct str text)
{
	bool has_letter = false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
		has_letter |= is_letter;
	}
	return text.len > 0 && text.len <= 253 && has_letter;
}

static bool read_network(struct str text, struct http_allowed *out)
{
	char copy[64];
	uint64_t bits = 0;
	const char *slash = memchr(text.ptr, '/', text.len);
	size_t len = slash ? (size_t)(slash - text.ptr) : text.len;
	if (len >= sizeof copy) return false;
	memcpy(copy, text.ptr, len);
	copy[len] = '\0';
	unsigned most = 32;
	memcpy(out->address, v4_prefix, sizeof v4_prefix);
	if (inet_pton(AF_INET, copy, out->address + 12) != 1) {
		most = 128;
		if (inet_pton(AF_INET6, copy, out->address) != 1) return false;
	}
	if (slash && str_to_u64(str_of(slash + 1, text.len - len - 1), &bits) != OK) return false;
	if (!slash) bits = most;
	out->bits = (unsigned)bits + (most == 32 ? V4_BITS : 0);
	return bits <= most;
}

int http_guard_make(struct arena *arena, const struct str *texts, size_t count, struct http_guard *out, struct str *bad)
{
	out->count = 0;
	out->items = arena_array(arena, struct http_allowed, count + 1);
	if (!out->items) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct http_allowed *item = &out->items[out->count++];
		*item = (struct http_allowed){.host = STR_NONE};
		*bad = texts[i];
		if (read_network(texts[i], item)) continue;
		if (!is_host(texts[i])) return ERR_INVALID;
		if (arena_str(arena, texts[i], &item->host)) return ERR_NOMEM;
	}
	return OK;
}
