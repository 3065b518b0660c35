#include "base/base_test.h"
#include "base/buf.h"

static void append_up_to_the_cap_and_no_further(void **state)
{
	struct buf buf;
	(void)state;
	buf_init(&buf, 1000);
	for (int i = 0; i < 100; i++) assert_ok(buf_append(&buf, "0123456789", 10));
	assert_int_equal(buf.len, 1000);
	assert_int_equal(buf_putc(&buf, 'x'), ERR_TOO_LARGE);
	assert_int_equal(buf_append(&buf, "xy", 2), ERR_TOO_LARGE);
	assert_int_equal(buf_printf(&buf, "%d", 1), ERR_TOO_LARGE);
	assert_int_equal(buf.len, 1000);
	assert_memory_equal(buf_ptr(&buf) + 990, "0123456789", 10);
	assert_ok(buf_append(&buf, "", 0));
	buf_consume(&buf, 1);
	assert_ok(buf_putc(&buf, 'x'));
	assert_true(buf.size <= 2 * 1000 + BUF_SLACK);
	buf_fini(&buf);
	buf_fini(&buf);
}

static void an_overflowing_append_changes_nothing(void **state)
{
	struct buf buf;
	char *tail;
	(void)state;
	buf_init(&buf, 10);
	assert_ok(buf_append_str(&buf, STR("abc")));
	assert_int_equal(buf_append(&buf, "12345678", 8), ERR_TOO_LARGE);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX, &tail), ERR_TOO_LARGE);
	assert_str(buf_str(&buf), "abc");
	buf_fini(&buf);
}

static void slack_is_always_readable(void **state)
{
	struct buf buf;
	unsigned sum = 0;
	(void)state;
	buf_init(&buf, 5000);
	for (int i = 0; i < 5000; i++) {
		assert_ok(buf_putc(&buf, (char)i));
		/* ASan is the judge: the bytes must be there, whatever they hold. */
		volatile const char *after = buf_ptr(&buf) + buf.len;
		memset(buf_ptr(&buf) + buf.len, 0, BUF_SLACK);
		for (int j = 0; j < BUF_SLACK; j++) sum += (unsigned char)after[j];
		if (i % 7 == 6) buf_consume(&buf, 3);
	}
	assert_int_equal(sum, 0);
	buf_fini(&buf);
}

static void consume_and_append_keep_the_order(void **state)
{
	struct buf buf;
	unsigned next_in = 0, next_out = 0;
	(void)state;
	buf_init(&buf, 4096);
	for (int round = 0; round < 2000; round++) {
		while (buf.len < 3000) assert_ok(buf_putc(&buf, (char)(next_in++ % 251)));
		for (size_t i = 0; i < 1234; i++) assert_int_equal((unsigned char)buf_ptr(&buf)[i], next_out++ % 251);
		buf_consume(&buf, 1234);
	}
	assert_true(buf.size <= 2 * (4096 + BUF_SLACK)); /* consuming made room, growing did not go on */
	buf_fini(&buf);
}

static void reserve_commit_and_printf(void **state)
{
	struct buf buf;
	char *tail;
	(void)state;
	buf_init(&buf, 100);
	assert_true(buf_str(&buf).ptr != NULL);
	assert_ok(buf_reserve(&buf, 0, &tail));
	buf_commit(&buf, 0);
	assert_ok(buf_reserve(&buf, 100, &tail));
	memcpy(tail, "hi", 2);
	buf_commit(&buf, 2);
	assert_ok(buf_printf(&buf, "-%05d-%s", 42, "x"));
	assert_str(buf_str(&buf), "hi-00042-x");
	buf_clear(&buf);
	assert_int_equal(buf_str(&buf).len, 0);
	assert_true(buf.size > 0);
	buf_fini(&buf);
}

static void shrink_frees_only_what_is_empty_and_large(void **state)
{
	struct buf buf;
	(void)state;
	buf_init(&buf, 100000);
	char big[20000] = {0};
	assert_ok(buf_append(&buf, big, sizeof big));
	buf_shrink(&buf, 1000);
	assert_int_equal(buf.len, sizeof big);
	buf_consume(&buf, sizeof big);
	buf_shrink(&buf, 1000000);
	assert_true(buf.size > 0);
	buf_shrink(&buf, 1000);
	assert_int_equal(buf.size, 0);
	assert_ok(buf_append_str(&buf, STR("again")));
	assert_str(buf_str(&buf), "again");
	buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(append_up_to_the_cap_and_no_further),
	    cmocka_unit_test(an_overflowing_append_changes_nothing),
	    cmocka_unit_test(slack_is_always_readable),
	    cmocka_unit_test(consume_and_append_keep_the_order),
	    cmocka_unit_test(reserve_commit_and_printf),
	    cmocka_unit_test(shrink_frees_only_what_is_empty_and_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
