#include <zlib.h>

#include "base/base_test.h"
#include "base/gunzip.h"

static struct str gzip(const void *data, size_t len, int window)
{
	z_stream stream = {0};
	size_t size = len + len / 100 + 1000;
	unsigned char *out = malloc(size);
	assert_non_null(out);
	assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)data;
	stream.avail_in = (uInt)len;
	stream.next_out = out;
	stream.avail_out = (uInt)size;
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	size = stream.total_out;
	(void)deflateEnd(&stream);
	return str_of(out, size);
}

static int inflate_in_steps(struct str in, size_t step, size_t cap, struct buf *out)
{
	struct gunzip *gz;
	int rc = OK;
	buf_init(out, cap);
	assert_ok(gunzip_new(&gz));
	for (size_t at = 0; at < in.len && rc == OK; at += step)
		rc = gunzip_feed(gz, str_of(in.ptr + at, in.len - at < step ? in.len - at : step), out);
	if (rc == OK) rc = gunzip_end(gz);
	gunzip_free(gz);
	return rc;
}

static char *sample(size_t len)
{
	char *text = malloc(len);
	assert_non_null(text);
	for (size_t i = 0; i < len; i++) text[i] = (char)((i * i >> 3) ^ i);
	return text;
}

static void round_trips_in_any_steps(void **state)
{
	const size_t len = 300000, steps[] = {1, 2, 7, 1000, 1000000};
	char *text = sample(len);
	struct str packed = gzip(text, len, 31);
	(void)state;
	assert_true(gunzip_is_magic(packed));
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		struct buf out;
		assert_ok(inflate_in_steps(packed, steps[i], len, &out));
		assert_int_equal(out.len, len);
		assert_memory_equal(buf_ptr(&out), text, len);
		buf_fini(&out);
	}
	free((void *)(uintptr_t)packed.ptr);
	free(text);
}

static void cap_is_exact(void **state)
{
	const size_t len = 70000;
	char *text = sample(len);
	struct str packed = gzip(text, len, 31);
	struct buf out;
	(void)state;
	assert_int_equal(inflate_in_steps(packed, 100, len - 1, &out), ERR_TOO_LARGE);
	buf_fini(&out);
	assert_ok(inflate_in_steps(packed, 100, len, &out));
	buf_fini(&out);
	free((void *)(uintptr_t)packed.ptr);
	free(text);
}

static void a_bomb_stops_at_the_cap(void **state)
{
	const size_t len = (size_t)50 << 20, cap = 1 << 20;
	char *zeros = calloc(1, len);
	struct buf out;
	(void)state;
	assert_non_null(zeros);
	struct str bomb = gzip(zeros, len, 31);
	free(zeros);
	assert_true(bomb.len < 100000);
	assert_int_equal(inflate_in_steps(bomb, bomb.len, cap, &out), ERR_TOO_LARGE);
	assert_true(out.len <= cap);
	assert_true(out.size <= cap + BUF_SLACK);
	buf_fini(&out);
	free((void *)(uintptr_t)bomb.ptr);
}

static void several_members_are_one_stream(void **state)
{
	struct str a = gzip("hello ", 6, 31), b = gzip("world", 5, 31), empty = gzip("", 0, 31);
	struct buf in, out;
	(void)state;
	buf_init(&in, 10000);
	assert_ok(buf_append_str(&in, a));
	assert_ok(buf_append_str(&in, empty));
	assert_ok(buf_append_str(&in, b));
	for (size_t step = 1; step < in.len + 1; step++) {
		assert_ok(inflate_in_steps(buf_str(&in), step, 100, &out));
		assert_str(buf_str(&out), "hello world");
		buf_fini(&out);
	}
	assert_ok(buf_append_str(&in, STR("junk")));
	assert_int_equal(inflate_in_steps(buf_str(&in), 5, 100, &out), ERR_INVALID);
	buf_fini(&out);
	buf_fini(&in);
	free((void *)(uintptr_t)a.ptr);
	free((void *)(uintptr_t)b.ptr);
	free((void *)(uintptr_t)empty.ptr);
}

static void broken_and_cut_streams_are_refused(void **state)
{
	const size_t len = 5000;
	char *text = sample(len);
	struct str packed = gzip(text, len, 31), raw_zlib = gzip(text, len, 15);
	struct buf out;
	char *broken = malloc(packed.len);
	(void)state;
	for (size_t cut = 0; cut < packed.len; cut += 3) {
		assert_int_equal(inflate_in_steps(str_of(packed.ptr, cut), packed.len, 10000, &out), ERR_INVALID);
		buf_fini(&out);
	}
	memcpy(broken, packed.ptr, packed.len);
	broken[packed.len - 6] ^= 1; /* the member's CRC */
	assert_int_equal(inflate_in_steps(str_of(broken, packed.len), packed.len, 10000, &out), ERR_INVALID);
	buf_fini(&out);
	assert_int_equal(inflate_in_steps(raw_zlib, 100, 10000, &out), ERR_INVALID);
	buf_fini(&out);
	assert_int_equal(inflate_in_steps(STR("{\"not\":\"gzip\"}"), 100, 10000, &out), ERR_INVALID);
	buf_fini(&out);
	assert_int_equal(inflate_in_steps(STR_NONE, 100, 10000, &out), ERR_INVALID);
	buf_fini(&out);
	free(broken);
	free(text);
	free((void *)(uintptr_t)packed.ptr);
	free((void *)(uintptr_t)raw_zlib.ptr);
	gunzip_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trips_in_any_steps),
	    cmocka_unit_test(cap_is_exact),
	    cmocka_unit_test(a_bomb_stops_at_the_cap),
	    cmocka_unit_test(several_members_are_one_stream),
	    cmocka_unit_test(broken_and_cut_streams_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
