#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/census.h"
#include "net/proxy.h"

static struct ip ip(const char *text)
{
	struct ip out;
	assert_int_equal(ip_parse(str_from(text), &out), OK);
	return out;
}

static struct ip_net net(const char *text)
{
	struct ip_net out;
	if (ip_net_parse(str_from(text), &out) != OK) fail_msg("%s is refused", text);
	return out;
}

static void reads_and_writes_addresses(void **state)
{
	static const char *const same[] = {"1.2.3.4", "::1", "2001:db8::5", "255.255.255.255"};
	static const char *const forms[][2] = {{"1.2.3.4:80", "1.2.3.4"},
					       {"[::1]:80", "::1"},
					       {"[2001:db8::5]", "2001:db8::5"},
					       {"::ffff:1.2.3.4", "1.2.3.4"}};
	static const char *const bad[] = {"",        "1.2.3", "1.2.3.4.5", "01.2.3.256", "[::1",
					  "unknown", "_x",    ":",         "1.2.3.4 "};
	char text[IP_TEXT_SIZE];
	struct ip out;
	(void)state;
	for (size_t i = 0; i < COUNT_OF(same); i++) {
		out = ip(same[i]);
		assert_int_equal(ip_format(&out, text), strlen(same[i]));
		assert_string_equal(text, same[i]);
	}
	for (size_t i = 0; i < COUNT_OF(forms); i++) {
		out = ip(forms[i][0]);
		(void)ip_format(&out, text);
		assert_string_equal(text, forms[i][1]);
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) assert_int_equal(ip_parse(str_from(bad[i]), &out), ERR_INVALID);
	assert_int_equal(ip_parse(STR("1.2.3.4\0"), &out), ERR_INVALID);
}

static bool has(const char *network, const char *address)
{
	struct ip_net n = net(network);
	struct ip a = ip(address);
	return ip_net_has(&n, &a);
}

static void knows_networks(void **state)
{
	static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "10/8", "/8", ""};
	struct ip_net out;
	(void)state;
	assert_true(has("10.0.0.0/8", "10.255.0.1"));
	assert_false(has("10.0.0.0/8", "11.0.0.1"));
	assert_true(has("10.1.2.128/25", "10.1.2.200"));
	assert_false(has("10.1.2.128/25", "10.1.2.100"));
	assert_true(has("10.1.2.3", "10.1.2.3"));
	assert_false(has("10.1.2.3", "10.1.2.2"));
	assert_true(has("0.0.0.0/0", "1.2.3.4"));
	assert_false(has("0.0.0.0/0", "::1"));
	assert_true(has("fd00::/8", "fd12::1"));
	assert_false(has("fd00::/8", "fe80::1"));
	assert_true(has("::/0", "1.2.3.4"));
	for (size_t i = 0; i < COUNT_OF(bad); i++) assert_int_equal(ip_net_parse(str_from(bad[i]), &out), ERR_INVALID);
}

/* Headers in their order; NULL ends. */
static const char *client(const char *peer, const char *const *headers)
{
	static char text[IP_TEXT_SIZE];
	struct ip_net nets[] = {net("10.0.0.0/8"), net("fd00::/8")};
	struct proxies proxies = {nets, COUNT_OF(nets), false};
	struct ip hop = ip(peer);
	size_t count = 0;
	while (headers[count]) count++;
	if (proxies_trust(&proxies, &hop))
		while (count > 0 && proxies_walk(&proxies, str_from(headers[count - 1]), &hop)) count--;
	(void)ip_format(&hop, text);
	return text;
}
#define CLIENT(peer, ...) client(peer, (const char *const[]){__VA_ARGS__, NULL})

static void believes_only_proxies(void **state)
{
	(void)state;
	assert_string_equal(CLIENT("9.9.9.9", "1.2.3.4"), "9.9.9.9");
	assert_string_equal(CLIENT("10.0.0.1", "1.2.3.4"), "1.2.3.4");
	assert_string_equal(CLIENT("10.0.0.1", "6.6.6.6, 1.2.3.4"), "1.2.3.4");
	assert_string_equal(CLIENT("10.0.0.1", "1.2.3.4, 10.0.0.2,fd00::3"), "1.2.3.4");
	assert_string_equal(CLIENT("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3");
	assert_string_equal(CLIENT("10.0.0.1", "6.6.6.6, 1.2.3.4", "10.0.0.2"), "1.2.3.4");
	assert_string_equal(CLIENT("10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
}

static void stops_at_the_malformed(void **state)
{
	(void)state;
	assert_string_equal(CLIENT("10.0.0.1", "1.2.3.4, unknown"), "10.0.0.1");
	assert_string_equal(CLIENT("10.0.0.1", "1.2.3.4, unknown, 10.0.0.2"), "10.0.0.2");
	assert_string_equal(CLIENT("10.0.0.1", ""), "10.0.0.1");
	assert_string_equal(CLIENT("10.0.0.1", ",,,"), "10.0.0.1");
	assert_string_equal(CLIENT("10.0.0.1", "1.2.3.4,"), "10.0.0.1");
}

static void counts_connections(void **state)
{
	struct census *census;
	struct census_entry *a, *b, *c, *none;
	struct ip first = ip("2001:db8::1"), neighbour = ip("2001:db8::2"), other = ip("1.2.3.4"), near = ip("1.2.3.5");
	(void)state;
	assert_int_equal(census_new(&census), OK);
	assert_true(census_wait_empty(census, 0));
	assert_int_equal(census_enter(census, &first, 4, 2, &a), OK);
	assert_int_equal(census_enter(census, &neighbour, 4, 2, &b), OK);
	assert_ptr_equal(a, b);
	assert_int_equal(census_enter(census, &first, 4, 2, &c), ERR_REFUSED);
	assert_int_equal(census_enter(census, &other, 4, 1, &c), OK);
	assert_int_equal(census_enter(census, &near, 3, 1, &none), ERR_BUSY);
	assert_int_equal(census_enter(census, NULL, 4, 1, &none), OK);
	assert_null(none);
	assert_int_equal(census_total(census), 4);
	assert_false(census_wait_empty(census, 1));
	census_leave(census, a);
	census_leave(census, b);
	census_leave(census, c);
	assert_int_equal(census_enter(census, &first, 4, 1, &a), OK);
	census_leave(census, a);
	census_leave(census, none);
	assert_true(census_wait_empty(census, 0));
	census_free(census);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_and_writes_addresses), cmocka_unit_test(knows_networks),
	    cmocka_unit_test(believes_only_proxies),      cmocka_unit_test(stops_at_the_malformed),
	    cmocka_unit_test(counts_connections),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
