#include "base/base_test.h"
#include "base/gunzip.h"
#include "base/gzip.h"

static void round_trip(struct gzip *gz, const char *data, size_t len)
{
	struct gunzip *back;
	struct buf packed, plain;
	buf_init(&packed, 2 * len + 1000);
	buf_init(&plain, len + 1);
	assert_ok(gzip_pack(gz, str_of(data, len), &packed));
	assert_true(gunzip_is_magic(buf_str(&packed)));
	assert_ok(gunzip_new(&back));
	assert_ok(gunzip_feed(back, buf_str(&packed), &plain));
	assert_ok(gunzip_end(back));
	assert_true(str_eq(buf_str(&plain), str_of(data, len)));
	gunzip_free(back);
	buf_fini(&packed);
	buf_fini(&plain);
}

static void test_round_trips(void **state)
{
	struct gzip *gz;
	char *data = malloc(1 << 20);
	uint32_t random = 1;
	(void)state;
	assert_non_null(data);
	assert_ok(gzip_new(&gz));
	for (size_t i = 0; i < 1 << 20; i++) data[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
	round_trip(gz, "", 0);
	round_trip(gz, "hello", 5);
	for (size_t len = 1; len <= 1 << 20; len *= 4) round_trip(gz, data, len); /* does not compress */
	memset(data, 'x', 1 << 20);
	round_trip(gz, data, 1 << 20);
	gzip_free(gz);
	free(data);
}

static void test_cap(void **state)
{
	struct gzip *gz;
	struct buf out;
	(void)state;
	assert_ok(gzip_new(&gz));
	buf_init(&out, 30);
	assert_ok(buf_append_str(&out, STR("before")));
	assert_int_equal(gzip_pack(gz, STR("a text that has more than a few characters"), &out), ERR_TOO_LARGE);
	assert_str(buf_str(&out), "before");
	buf_fini(&out);
	gzip_free(gz);
	gzip_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips), cmocka_unit_test(test_cap)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
