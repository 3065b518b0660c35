#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_host.h"

static struct cdpd_instance fake;
static char folder[256], out[300];

static int setup(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof folder, "%s/cdpd-ndjson-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(out, sizeof out, "%s/out", folder);
	fake_open(&fake, "ndjson");
	return 0;
}

static void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	char name[600];
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		if (unlink(name)) remove_all(name);
	}
	if (dir) closedir(dir);
	rmdir(path);
}

static int teardown(void **state)
{
	(void)state;
	if (fake.self) fake_destroy(&fake);
	fake_close(&fake);
	remove_all(folder);
	return 0;
}

static int create_with(const char *rotate_bytes, const char *rotate_seconds)
{
	struct fake_option options[] = {
	    {"directory", out}, {"rotate_bytes", rotate_bytes}, {"rotate_seconds", rotate_seconds}};
	return fake_create(&fake, options, 3);
}

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static struct cdpd_record record(const char *json)
{
	return (struct cdpd_record){
	    .size = sizeof(struct cdpd_record),
	    .kind = CDPD_RECORD_EVENT,
	    .position = str("pos-1"),
	    .delivery_id = str("del-1"),
	    .message_id = str("m-1"),
	    .profile_id = str("00112233445566778899aabbccddeeff"),
	    .json = str(json),
	    .attempt = 1,
	};
}

static enum cdpd_verdict export_one(const char *json)
{
	struct cdpd_record one = record(json);
	return fake_export(&fake, &one, 1);
}

/* Files whose name ends in `end`; the last one's name. */
static int count_files(const char *end, char last[600])
{
	int count = 0;
	DIR *dir = opendir(out);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		size_t len = strlen(entry->d_name), end_len = strlen(end);
		if (len <= end_len || strcmp(entry->d_name + len - end_len, end) != 0) continue;
		count++;
		if (last) snprintf(last, 600, "%s/%s", out, entry->d_name);
	}
	if (dir) closedir(dir);
	return count;
}

static char *slurp(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t len = fread(text, 1, sizeof text - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static void put_file(const char *name, const char *text)
{
	char path[600];
	snprintf(path, sizeof path, "%s/%s", out, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static bool has_file(const char *name)
{
	char path[600];
	snprintf(path, sizeof path, "%s/%s", out, name);
	return access(path, F_OK) == 0;
}

static void test_one_line_for_each_event(void **state)
{
	(void)state;
	char path[600];
	struct stat st;
	struct cdpd_record two[2] = {record("{\"type\":\"track\"}"), record("{}")};
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(fake_export(&fake, two, 2), CDPD_ACK);
	assert_int_equal(count_files(".ndjson.part", path), 1);
	assert_int_equal(count_files(".ndjson", NULL), 0);
	assert_string_equal(
	    slurp(path),
	    "{\"type\":\"track\",\"position\":\"pos-1\",\"profileId\":\"00112233445566778899aabbccddeeff\","
	    "\"deliveryId\":\"del-1\"}\n"
	    "{\"position\":\"pos-1\",\"profileId\":\"00112233445566778899aabbccddeeff\",\"deliveryId\":\"del-1\"}\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fake.counted[0], 2);
}

static void test_rotation_by_size(void **state)
{
	(void)state;
	char path[600];
	assert_int_equal(create_with("200", "3600"), CDPD_OK);
	for (int i = 0; i < 4; i++) assert_int_equal(export_one("{\"type\":\"track\"}"), CDPD_ACK); /* 111 bytes each */
	assert_int_equal(count_files(".ndjson", path), 2);
	assert_int_equal(count_files(".part", NULL), 0);
	assert_int_equal(strlen(slurp(path)),
			 2 * strlen("{\"type\":\"track\",\"position\":\"pos-1\",\"profileId\":"
				    "\"00112233445566778899aabbccddeeff\",\"deliveryId\":\"del-1\"}\n"));
}

static void test_rotation_by_age_without_new_events(void **state)
{
	(void)state;
	assert_int_equal(create_with("64MB", "1"), CDPD_OK);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	assert_non_null(fake.timer);
	assert_in_range(fake.timer_ms, 0, 1100);
	cdpd_timer_fn timer = fake.timer;
	fake.timer = NULL;
	struct timespec wait = {2, 0}; /* age is counted in whole seconds */
	nanosleep(&wait, NULL);
	timer(fake.timer_ctx);
	assert_int_equal(count_files(".ndjson", NULL), 1);
	assert_int_equal(count_files(".part", NULL), 0);
	assert_null(fake.timer); /* nothing open, nothing to wait for */
}

static void test_a_crash_leaves_a_partial_line(void **state)
{
	(void)state;
	char path[600], stamp[32], name[100];
	time_t now = time(NULL);
	assert_int_equal(mkdir(out, 0700), 0);
	strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime(&now));
	snprintf(name, sizeof name, "events-%s-1.ndjson.part", stamp);
	put_file(name, "{\"a\":1}\n{\"b\":2}\n{\"c\":");
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_true(fake.log_count > 0); /* the cut is told */
	assert_int_equal(count_files(".part", path), 1);
	assert_string_equal(slurp(path), "{\"a\":1}\n{\"b\":2}\n");
	assert_int_equal(export_one("{}"), CDPD_ACK); /* and it goes on in the same file */
	assert_int_equal(count_files(".part", NULL), 1);
	assert_non_null(strstr(slurp(path), "{\"b\":2}\n{\"position\""));
}

static void test_old_and_empty_leftovers(void **state)
{
	(void)state;
	assert_int_equal(mkdir(out, 0700), 0);
	put_file("events-20200101T000000Z-1.ndjson.part", "{\"a\":1}\n{");
	put_file("events-20200101T000000Z-2.ndjson.part", "no newline at all");
	put_file("events-eu-20200101T000000Z-1.ndjson.part", "{\"other\":"); /* another prefix: not ours */
	put_file("events-20200101T000000Z-9.ndjson", "sealed");
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_true(has_file("events-20200101T000000Z-1.ndjson"));
	assert_false(has_file("events-20200101T000000Z-1.ndjson.part"));
	assert_false(has_file("events-20200101T000000Z-2.ndjson"));
	assert_false(has_file("events-20200101T000000Z-2.ndjson.part"));
	assert_true(has_file("events-eu-20200101T000000Z-1.ndjson.part"));
	char path[600];
	snprintf(path, sizeof path, "%s/events-20200101T000000Z-1.ndjson", out);
	assert_string_equal(slurp(path), "{\"a\":1}\n");
}

static void test_a_restart_goes_on_in_the_open_file(void **state)
{
	(void)state;
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	fake_destroy(&fake);
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	assert_int_equal(count_files(".part", NULL), 1);
}

static void test_a_second_user_of_the_prefix_is_refused(void **state)
{
	(void)state;
	struct cdpd_instance second;
	struct fake_option options[] = {{"directory", out}};
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	fake_open(&second, "ndjson");
	assert_int_equal(fake_create(&second, options, 1), CDPD_ERR_BUSY);
	assert_non_null(strstr(second.log, "in use"));
	fake_close(&second);
}

/* The file size limit stands for a full disk: write fails half-way through a batch. */
static void test_a_full_disk_is_a_retry_and_leaves_no_half_line(void **state)
{
	(void)state;
	char path[600], big[9000] = "{\"x\":\"";
	struct rlimit old, small = {4096, 0};
	memset(big + 6, 'y', 8000);
	strcpy(big + 8006, "\"}");
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	assert_int_equal(count_files(".part", path), 1);
	char before[1000];
	snprintf(before, sizeof before, "%s", slurp(path));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(export_one(big), CDPD_RETRY);
	assert_true(fake.receipt.all.is_set && fake.receipt.all.reason[0]);
	assert_string_equal(slurp(path), before);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(export_one(big), CDPD_ACK);
	assert_int_equal(strlen(slurp(path)), 2 * strlen(before) + strlen(big) - 1);
}

static void test_a_deleted_directory_is_a_retry_until_it_can_be_made(void **state)
{
	(void)state;
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	remove_all(out);
	FILE *file = fopen(out, "w"); /* in the way */
	assert_non_null(file);
	fclose(file);
	assert_int_equal(export_one("{}"), CDPD_RETRY);
	assert_int_equal(export_one("{}"), CDPD_RETRY);
	assert_int_equal(unlink(out), 0);
	assert_int_equal(export_one("{}"), CDPD_ACK);
	assert_int_equal(count_files(".part", NULL), 1);
}

static void test_what_is_no_line_is_dropped_alone(void **state)
{
	(void)state;
	struct cdpd_record three[3] = {record("{}"), record("{\n}"), record("{\"z\":1}")};
	assert_int_equal(create_with("64MB", "3600"), CDPD_OK);
	assert_int_equal(fake_export(&fake, three, 3), CDPD_ACK);
	assert_false(fake.receipt.named[0].is_set || fake.receipt.named[2].is_set);
	assert_int_equal(fake.receipt.named[1].verdict, CDPD_DROP);
	assert_int_equal(fake.counted[0], 2);
}

static void test_a_bad_prefix_is_refused(void **state)
{
	(void)state;
	struct fake_option options[] = {{"directory", out}, {"prefix", "../evil"}};
	assert_int_equal(fake_create(&fake, options, 2), CDPD_ERR_INVALID);
	assert_non_null(strstr(fake.log, "prefix"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_one_line_for_each_event),
	    TEST(test_rotation_by_size),
	    TEST(test_rotation_by_age_without_new_events),
	    TEST(test_a_crash_leaves_a_partial_line),
	    TEST(test_old_and_empty_leftovers),
	    TEST(test_a_restart_goes_on_in_the_open_file),
	    TEST(test_a_second_user_of_the_prefix_is_refused),
	    TEST(test_a_full_disk_is_a_retry_and_leaves_no_half_line),
	    TEST(test_a_deleted_directory_is_a_retry_until_it_can_be_made),
	    TEST(test_what_is_no_line_is_dropped_alone),
	    TEST(test_a_bad_prefix_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
