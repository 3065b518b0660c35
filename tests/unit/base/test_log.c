#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/base_test.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"

static int saved_stderr, capture_fd;

static void capture(void)
{
	char path[] = "/tmp/cdpd-log-XXXXXX";
	(void)fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	capture_fd = mkstemp(path);
	assert_true(capture_fd >= 0);
	(void)unlink(path);
	(void)fcntl(capture_fd, F_SETFL, O_APPEND);
	(void)dup2(capture_fd, STDERR_FILENO);
}

static void release(struct buf *out)
{
	char piece[4096];
	ssize_t n;
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	(void)lseek(capture_fd, 0, SEEK_SET);
	buf_init(out, 16 << 20);
	while ((n = read(capture_fd, piece, sizeof piece)) > 0) assert_ok(buf_append(out, piece, (size_t)n));
	(void)close(capture_fd);
	assert_ok(buf_putc(out, '\0'));
}

static void logfmt_line(void **state)
{
	struct buf out;
	(void)state;
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
	capture();
	log_warn(LOG_STORE, "commit failed, %zu events \"kept\"\nqueued (\x1b[31m%s)", (size_t)3, "disk full");
	log_line(LOG_PLUGIN, LOG_LEVEL_INFO, "events-file", "up");
	release(&out);
	const char *text = buf_ptr(&out);
	assert_true(str_starts(str_from(text), STR("ts=20")));
	assert_non_null(strstr(text, "Z level=warn room=store msg=\"commit failed, 3 events \\\"kept\\\"\\nqueued "
				     "(\\u001b[31mdisk full)\"\n"));
	assert_non_null(strstr(text, " level=info room=plugin who=\"events-file\" msg=\"up\"\n"));
	buf_fini(&out);
}

static void json_line_is_json(void **state)
{
	struct buf out;
	struct json_reader *reader;
	struct json root, value;
	struct str text;
	const char *why;
	(void)state;
	log_setup(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	capture();
	log_line(LOG_API, LOG_LEVEL_ERROR, "a\"b", "tab\there \\ %s", "\x01\x7f");
	release(&out);
	assert_ok(json_reader_new(&reader));
	assert_ok(json_parse(reader, str_of(buf_ptr(&out), strlen(buf_ptr(&out))), &root, &why));
	assert_true(json_get(root, STR("msg"), &value) && json_str(value, &text));
	assert_str(text, "tab\there \\ \x01\x7f");
	assert_true(json_get(root, STR("who"), &value) && json_str(value, &text));
	assert_str(text, "a\"b");
	assert_true(json_get(root, STR("room"), &value) && json_str(value, &text));
	assert_str(text, "api");
	json_reader_free(reader);
	buf_fini(&out);
}

static void levels_filter_by_room(void **state)
{
	struct buf out;
	(void)state;
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_WARN);
	log_set_room_level(LOG_NET, LOG_LEVEL_DEBUG);
	assert_true(log_enabled(LOG_NET, LOG_LEVEL_DEBUG));
	assert_false(log_enabled(LOG_FOLD, LOG_LEVEL_INFO));
	capture();
	log_info(LOG_FOLD, "hidden");
	log_error(LOG_FOLD, "shown-error");
	log_debug(LOG_NET, "shown-debug");
	log_debug(LOG_API, "hidden");
	release(&out);
	assert_null(strstr(buf_ptr(&out), "hidden"));
	assert_non_null(strstr(buf_ptr(&out), "shown-error"));
	assert_non_null(strstr(buf_ptr(&out), "shown-debug"));
	buf_fini(&out);
}

static void names(void **state)
{
	enum log_room room;
	enum log_level level;
	(void)state;
	assert_true(log_room_from_name(STR("deliver"), &room));
	assert_int_equal(room, LOG_DELIVER);
	assert_false(log_room_from_name(STR("kitchen"), &room));
	assert_true(log_level_from_name(STR("debug"), &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_false(log_level_from_name(STR("loud"), &level));
}

static void a_huge_text_is_cut_to_one_line(void **state)
{
	struct buf out;
	char *huge = malloc(100000);
	(void)state;
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
	memset(huge, '\n', 99999);
	huge[99999] = '\0';
	capture();
	log_info(LOG_MAIN, "%s", huge);
	memset(huge, 'x', 99999);
	log_line(LOG_MAIN, LOG_LEVEL_INFO, huge, "%s", huge);
	release(&out);
	size_t lines = 0;
	for (const char *p = buf_ptr(&out); *p; p++) lines += *p == '\n';
	assert_int_equal(lines, 2);
	assert_true(out.len < 2 * 4096 + 1);
	assert_int_equal(buf_ptr(&out)[out.len - 2], '\n');
	buf_fini(&out);
	free(huge);
}

static void *log_a_lot(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_info(LOG_JOURNAL, "thread %s says a line of some length, number %d", (const char *)arg, i);
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	struct buf out;
	pthread_t threads[4];
	(void)state;
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
	capture();
	for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, log_a_lot, "abcd"), 0);
	for (int i = 0; i < 4; i++) (void)pthread_join(threads[i], NULL);
	release(&out);
	size_t lines = 0;
	for (char *line = buf_ptr(&out), *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
		*end = '\0';
		assert_true(str_starts(str_from(line), STR("ts=")));
		assert_non_null(strstr(line, "number "));
		assert_int_equal(end[-1], '"');
	}
	assert_int_equal(lines, 2000);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logfmt_line),
	    cmocka_unit_test(json_line_is_json),
	    cmocka_unit_test(levels_filter_by_room),
	    cmocka_unit_test(names),
	    cmocka_unit_test(a_huge_text_is_cut_to_one_line),
	    cmocka_unit_test(lines_of_threads_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
