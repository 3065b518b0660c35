#include "config/config_test.h"
#include "config/units.h"

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"512", 512},
	    {"1B", 1},
	    {"64KB", 64000},
	    {"64KiB", 65536},
	    {"5 MiB", 5242880},
	    {"1GiB", 1073741824},
	    {"1GB", 1000000000},
	    {"2TB", 2000000000000},
	    {"1TiB", 1099511627776},
	    {"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {"",
					  "MB",
					  "-1",
					  "1.5MB",
					  "1 M",
					  "1mb",
					  "1kb",
					  "64K",
					  "1MBs",
					  "1 MiB x",
					  "18446744073709551616",
					  "16777216TiB",
					  "99999999999999999999",
					  "0x10",
					  "1e6"};
	uint64_t bytes;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		if (!unit_read_bytes(str_from(good[i].text), &bytes) || bytes != good[i].bytes)
			fail_msg("%s", good[i].text);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (unit_read_bytes(str_from(bad[i]), &bytes)) fail_msg("accepted %s", bad[i]);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = {
	    {"0", 0},          {"0s", 0},          {"5us", 5},           {"250ms", 250000},    {"10s", 10000000},
	    {"5m", 300000000}, {"2h", 7200000000}, {"7d", 604800000000}, {"1w", 604800000000}, {"7 d", 604800000000}};
	static const char *const bad[] = {
	    "", "10", "s", "1.5s", "-1s", "1 day", "1S", "10sec", "9223372036854775808us", "99999999999999w", "1d2h"};
	uint64_t us;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (!unit_read_duration(str_from(good[i].text), &us) || us != good[i].us) fail_msg("%s", good[i].text);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (unit_read_duration(str_from(bad[i]), &us)) fail_msg("accepted %s", bad[i]);
}

static void utc_offsets(void **state)
{
	static const struct {
		const char *text;
		int minutes;
	} good[] = {{"Z", 0},     {"+00:00", 0},    {"+03:00", 180}, {"+0300", 180},
		    {"+03", 180}, {"-05:30", -330}, {"+14:00", 840}, {"-14", -840}};
	static const char *const bad[] = {"",      "+",      "3",      "+3",  "03:00",   "+3:00",  "+03:",
					  "+03:0", "+03:60", "+14:01", "+15", "+03:00Z", "+03-00", "+aa:00"};
	int16_t minutes;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (!unit_read_utc_offset(str_from(good[i].text), &minutes) || minutes != good[i].minutes)
			fail_msg("%s", good[i].text);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (unit_read_utc_offset(str_from(bad[i]), &minutes)) fail_msg("accepted %s", bad[i]);
}

static void listeners(void **state)
{
	static const struct {
		const char *text, *host, *unix_path;
		uint16_t port;
		bool is_loopback;
	} good[] = {
	    {"127.0.0.1:8080", "127.0.0.1", "", 8080, true},
	    {"127.9.9.9:0", "127.9.9.9", "", 0, true},
	    {"localhost:80", "127.0.0.1", "", 80, true},
	    {"0.0.0.0:65535", "0.0.0.0", "", 65535, false},
	    {"[::1]:8080", "::1", "", 8080, true},
	    {"[::]:8080", "::", "", 8080, false},
	    {"[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", "", 1, true},
	    {"[2001:db8::1]:443", "2001:db8::1", "", 443, false},
	    {"10.0.0.1:80", "10.0.0.1", "", 80, false},
	    {"unix:/run/cdpd.sock", "", "/run/cdpd.sock", 0, true},
	};
	static const char *const bad[] = {"",
					  ":",
					  "8080",
					  ":8080",
					  "127.0.0.1",
					  "127.0.0.1:",
					  "127.0.0.1:65536",
					  "127.0.0.1:-1",
					  "127.0.0.1:x",
					  "::1:8080",
					  "[::1]",
					  "[127.0.0.1]:80",
					  "[]:80",
					  "example.com:80",
					  "*:80",
					  "256.0.0.1:80",
					  "127.1:80",
					  "unix:",
					  "http://127.0.0.1:80",
					  "[::1:80"};
	struct conf_listener l;
	char endless[300] = "unix:/";
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		if (!unit_read_listener(str_from(good[i].text), &l)) fail_msg("%s", good[i].text);
		assert_str(l.host, good[i].host);
		assert_str(l.unix_path, good[i].unix_path);
		assert_int_equal(l.port, good[i].port);
		assert_int_equal(l.is_loopback, good[i].is_loopback);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (unit_read_listener(str_from(bad[i]), &l)) fail_msg("accepted %s", bad[i]);
	memset(endless + 6, 'x', sizeof endless - 7);
	assert_false(unit_read_listener(str_from(endless), &l));
}

static void networks(void **state)
{
	static const char *const good[] = {"10.0.0.0/8", "10.1.2.3", "0.0.0.0/0",   "::1",
					   "fd00::/8",   "::/128",   "10.0.0.0/32", "unix:"};
	static const char *const bad[] = {"",   "10.0.0.0/33", "10.0.0/8",  "::/129",       "10.0.0.0/",
					  "/8", "10.0.0.0/-1", "localhost", "10.0.0.0/8/8", "[::1]"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (!unit_is_network(str_from(good[i]))) fail_msg("%s", good[i]);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (unit_is_network(str_from(bad[i]))) fail_msg("accepted %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes),     cmocka_unit_test(durations), cmocka_unit_test(utc_offsets),
	    cmocka_unit_test(listeners), cmocka_unit_test(networks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
