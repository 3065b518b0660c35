#include "config/units.h"

#include <arpa/inet.h>
#include <sys/un.h>

struct unit {
	struct str name;
	uint64_t factor;
};

#define NAME(text) \
	{ \
		text, sizeof(text) - 1 \
	}

static const struct unit sizes[] = {
    {NAME(""), 1},
    {NAME("B"), 1},
    {NAME("KB"), 1000},
    {NAME("MB"), 1000000},
    {NAME("GB"), 1000000000},
    {NAME("TB"), 1000000000000},
    {NAME("KiB"), UINT64_C(1) << 10},
    {NAME("MiB"), UINT64_C(1) << 20},
    {NAME("GiB"), UINT64_C(1) << 30},
    {NAME("TiB"), UINT64_C(1) << 40},
};

static const struct unit durations[] = {
    {NAME("us"), 1},
    {NAME("ms"), 1000},
    {NAME("s"), 1000000},
    {NAME("m"), UINT64_C(60) * 1000000},
    {NAME("h"), UINT64_C(3600) * 1000000},
    {NAME("d"), UINT64_C(86400) * 1000000},
    {NAME("w"), UINT64_C(604800) * 1000000},
};

static bool read_unit(struct str text, const struct unit *units, size_t count, uint64_t *out)
{
	uint64_t number;
	size_t digits = 0;
	while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') digits++;
	if (str_to_u64(str_of(text.ptr, digits), &number) != OK) return false;
	struct str name = str_trim(str_of(text.ptr + digits, text.len - digits));
	for (size_t i = 0; i < count; i++)
		if (str_eq(name, units[i].name)) return !__builtin_mul_overflow(number, units[i].factor, out);
	return false;
}

bool unit_read_bytes(struct str text, uint64_t *out)
{
	return read_unit(text, sizes, COUNT_OF(sizes), out);
}

bool unit_read_duration(struct str text, uint64_t *out_us)
{
	*out_us = 0;
	if (str_eq(text, STR("0"))) return true;
	return read_unit(text, durations, COUNT_OF(durations), out_us) && *out_us <= INT64_MAX;
}

static bool two_digits(const char *text, int *out)
{
	uint64_t value;
	if (str_to_u64(str_of(text, 2), &value) != OK) return false;
	*out = (int)value;
	return true;
}

bool unit_read_utc_offset(struct str text, int16_t *out_min)
{
	int hours, minutes = 0;
	*out_min = 0;
	if (str_eq(text, STR("Z"))) return true;
	if (text.len < 3 || (text.ptr[0] != '+' && text.ptr[0] != '-')) return false;
	bool has_colon = text.len == 6 && text.ptr[3] == ':';
	if (text.len != 3 && text.len != 5 && !has_colon) return false;
	if (!two_digits(text.ptr + 1, &hours)) return false;
	if (text.len > 3 && !two_digits(text.ptr + (has_colon ? 4 : 3), &minutes)) return false;
	if (minutes > 59 || hours * 60 + minutes > 14 * 60) return false;
	*out_min = (int16_t)((hours * 60 + minutes) * (text.ptr[0] == '-' ? -1 : 1));
	return true;
}

/* 4 or 6 with the address's bytes, or 0. */
static int read_address(struct str text, uint8_t bytes[16])
{
	char copy[INET6_ADDRSTRLEN];
	if (text.len >= sizeof copy || memchr(text.ptr, '\0', text.len)) return 0;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1) return 4;
	return inet_pton(AF_INET6, copy, bytes) == 1 ? 6 : 0;
}

static bool is_loopback(int family, const uint8_t bytes[16])
{
	static const uint8_t one[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (family == 4) return bytes[0] == 127;
	return memcmp(bytes, one, 16) == 0 || (memcmp(bytes, mapped, 12) == 0 && bytes[12] == 127);
}

static bool read_unix(struct str path, struct conf_listener *out)
{
	if (path.len == 0 || path.len >= sizeof(((struct sockaddr_un *)0)->sun_path)) return false;
	out->unix_path = path;
	out->is_loopback = true;
	return true;
}

bool unit_read_listener(struct str text, struct conf_listener *out)
{
	uint8_t bytes[16];
	uint64_t port;
	*out = (struct conf_listener){.host = STR_NONE, .unix_path = STR_NONE};
	if (str_starts(text, STR("unix:"))) return read_unix(str_of(text.ptr + 5, text.len - 5), out);
	const char *colon = memrchr(text.ptr, ':', text.len);
	if (!colon) return false;
	struct str host = str_of(text.ptr, (size_t)(colon - text.ptr));
	struct str digits = str_of(colon + 1, text.len - host.len - 1);
	if (str_to_u64(digits, &port) != OK || port > UINT16_MAX) return false;
	bool is_bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	if (is_bracketed) host = str_of(host.ptr + 1, host.len - 2);
	if (str_eq(host, STR("localhost"))) host = STR("127.0.0.1");
	int family = read_address(host, bytes);
	if (family != (is_bracketed ? 6 : 4)) return false;
	out->host = host;
	out->port = (uint16_t)port;
	out->is_loopback = is_loopback(family, bytes);
	return true;
}

bool unit_is_network(struct str text)
{
	uint8_t bytes[16];
	uint64_t bits = 0;
	if (str_eq(text, STR("unix:"))) return true;
	const char *slash = memchr(text.ptr, '/', text.len);
	struct str host = slash ? str_of(text.ptr, (size_t)(slash - text.ptr)) : text;
	if (slash && str_to_u64(str_of(slash + 1, text.len - host.len - 1), &bits) != OK) return false;
	int family = read_address(host, bytes);
	return family != 0 && bits <= (family == 4 ? 32 : 128);
}
