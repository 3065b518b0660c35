/* files: what lies in the folder after anything that can happen is each record, once, in order. */
#include <avro.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "fake_host.h"

#define RECORDS 500
#define COLUMNS "deliveryId,profileId,n=properties.n,text=properties.text,userId"

static struct cdpd_instance fake;
static char folder[256], out[300], text[1 << 20];

/* The plugin's fdatasync is this one: so many of the next calls fail, as of a disk that is going. */
static _Atomic int failing_syncs;
__attribute__((visibility("default"))) int fdatasync(int fd)
{
	int left = failing_syncs;
	while (left > 0 && !__atomic_compare_exchange_n((int *)&failing_syncs, &left, left - 1, false, __ATOMIC_SEQ_CST,
							__ATOMIC_SEQ_CST)) {
	}
	if (left <= 0) return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

static int setup(void **state)
{
	(void)state;
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof folder, "%s/cdpd-files-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	snprintf(out, sizeof out, "%s/out", folder);
	fake_open(&fake, "files");
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

static int create_as(const char *format, const char *compression, const char *rotate_bytes)
{
	struct fake_option options[] = {{"directory", out},
					{"format", format},
					{"compression", compression},
					{"columns", COLUMNS},
					{"rotate_bytes", rotate_bytes}};
	return fake_create(&fake, options, 5);
}

/* ── records ─────────────────────────────────────────────────────────────── */

static struct cdpd_str str(const char *ptr)
{
	return (struct cdpd_str){ptr, strlen(ptr)};
}

static struct cdpd_record records[RECORDS];
static char ids[RECORDS][24], bodies[RECORDS][200];

/* Records from `from` on, by number. */
static void make_records(int from, int count)
{
	for (int i = 0; i < count; i++) {
		snprintf(ids[i], sizeof ids[i], "d%08d", from + i);
		snprintf(bodies[i], sizeof bodies[i],
			 "{\"type\":\"track\",\"userId\":null,\"properties\":{\"n\":%d,\"text\":\"a,"
			 "\\\"b\\\"\\r\\n\\u00e9\\ud83d\\ude00\"}}",
			 from + i);
		records[i] = (struct cdpd_record){.size = sizeof records[i],
						  .kind = CDPD_RECORD_EVENT,
						  .position = str(ids[i]),
						  .delivery_id = str(ids[i]),
						  .message_id = str(ids[i]),
						  .profile_id = str("00112233445566778899aabbccddeeff"),
						  .json = str(bodies[i]),
						  .time_us = 1000000 + from + i,
						  .attempt = 1};
	}
}

static enum cdpd_verdict export(int from, int count) {
	make_records(from, count); return fake_export(&fake, records, (size_t)count);
}

/* ── what lies there ─────────────────────────────────────────────────────── */

static int by_name(const void *a, const void *b)
{
	return strverscmp(a, b);
}

static char names[2000][256];

/* In the order in which they were begun; without the manifest and the state. */
static int list_files(void)
{
	int count = 0;
	DIR *dir = opendir(out);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (strncmp(entry->d_name, "events-2", 8) != 0) continue;
		assert_true(count < 2000);
		snprintf(names[count++], sizeof names[0], "%s", entry->d_name);
	}
	if (dir) closedir(dir);
	qsort(names, (size_t)count, sizeof names[0], by_name);
	return count;
}

static size_t slurp(const char *name)
{
	char path[600];
	snprintf(path, sizeof path, "%s/%s", out, name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t len = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[len] = '\0';
	return len;
}

/* All frames of a file, by the library's streaming reader. */
static void unpack(size_t len)
{
	static char plain[1 << 20];
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer in = {text, len, 0};
	ZSTD_outBuffer to = {plain, sizeof plain - 1, 0};
	size_t rc = 0;
	while (in.pos < in.size) {
		rc = ZSTD_decompressStream(stream, &to, &in);
		assert_false(ZSTD_isError(rc));
	}
	assert_int_equal(rc, 0); /* the last frame is whole */
	ZSTD_freeDStream(stream);
	plain[to.pos] = '\0';
	memcpy(text, plain, to.pos + 1);
}

static int next_number; /* that is expected */

static int read_lines(bool is_csv)
{
	int rows = 0;
	const char *at = text;
	if (is_csv) {
		if (strncmp(at, "deliveryId,profileId,n,text,userId\r\n", 36) != 0) fail_msg("there is %.200s", at);
		at += 36;
	}
	while (*at) {
		char expected[400];
		int n = next_number++;
		if (is_csv)
			snprintf(expected, sizeof expected,
				 "d%08d,00112233445566778899aabbccddeeff,%d,\"a,"
				 "\"\"b\"\"\r\n\xc3\xa9\xf0\x9f\x98\x80\",\r\n",
				 n, n);
		else
			snprintf(expected, sizeof expected,
				 "{\"type\":\"track\",\"userId\":null,\"properties\":{\"n\":%d,\"text\":\"a,"
				 "\\\"b\\\"\\r\\n\\u00e9\\ud83d\\ude00\"},"
				 "\"position\":\"d%08d\",\"profileId\":\"00112233445566778899aabbccddeeff\","
				 "\"deliveryId\":\"d%08d\"}\n",
				 n, n, n);
		if (strncmp(at, expected, strlen(expected)) != 0)
			fail_msg("expected %s, there is %.200s", expected, at);
		at += strlen(expected);
		rows++;
	}
	return rows;
}

/* The string of a union's second branch; NULL: its first. */
static const char *union_text(avro_value_t *record, const char *name)
{
	avro_value_t field, branch;
	int which;
	size_t size;
	const char *value = NULL;
	assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
	assert_int_equal(avro_value_get_discriminant(&field, &which), 0);
	assert_int_equal(avro_value_get_current_branch(&field, &branch), 0);
	if (which == 1) assert_int_equal(avro_value_get_string(&branch, &value, &size), 0);
	return value;
}

static void check_avro(avro_value_t *record)
{
	char expected[32];
	avro_value_t field;
	int64_t time_us;
	int n = next_number++;
	snprintf(expected, sizeof expected, "d%08d", n);
	assert_string_equal(union_text(record, "deliveryId"), expected);
	assert_string_equal(union_text(record, "n"), expected + 1 + strspn(expected + 1, "0") - (n == 0));
	assert_string_equal(union_text(record, "text"), "a,\"b\"\r\n\xc3\xa9\xf0\x9f\x98\x80");
	assert_null(union_text(record, "userId"));
	assert_int_equal(avro_value_get_by_name(record, "time", &field, NULL), 0);
	assert_int_equal(avro_value_get_long(&field, &time_us), 0);
	assert_int_equal(time_us, 1000000 + n);
}

static int read_avro(const char *name)
{
	char path[600];
	avro_file_reader_t reader;
	avro_value_t value;
	int rows = 0;
	snprintf(path, sizeof path, "%s/%s", out, name);
	if (avro_file_reader(path, &reader)) fail_msg("%s: %s", name, avro_strerror());
	avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
	avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
	assert_int_equal(avro_generic_value_new(iface, &value), 0);
	int rc;
	while ((rc = avro_file_reader_read_value(reader, &value)) == 0) {
		check_avro(&value);
		avro_value_reset(&value);
		rows++;
	}
	assert_int_equal(rc, EOF);
	avro_value_decref(&value);
	avro_value_iface_decref(iface);
	avro_schema_decref(schema);
	avro_file_reader_close(reader);
	return rows;
}

static int read_file(const char *name)
{
	if (strstr(name, ".avro")) return read_avro(name);
	size_t len = slurp(name);
	if (strstr(name, ".zst")) unpack(len);
	return read_lines(strstr(name, ".csv") != NULL);
}

/* Every record below `count` is in a file, once, in order; the manifest names each sealed file with what it holds. */
static void check_all(int count)
{
	static char manifest[1 << 20];
	int files = list_files(), sealed = 0, lines = 0;
	manifest[0] = '\0';
	char path[600];
	snprintf(path, sizeof path, "%s/events-manifest.ndjson", out);
	if (access(path, F_OK) == 0) {
		slurp("events-manifest.ndjson");
		memcpy(manifest, text, strlen(text) + 1);
	}
	const char *at = manifest;
	next_number = 0;
	for (int i = 0; i < files; i++) {
		char line[600];
		int first = next_number, rows = read_file(names[i]);
		if (strstr(names[i], ".part")) continue;
		sealed++;
		snprintf(path, sizeof path, "%s/%s", out, names[i]);
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		snprintf(line, sizeof line,
			 "{\"file\":\"%s\",\"rows\":%d,\"bytes\":%lld,\"firstPosition\":\"d%08d\",\"lastPosition\":\"d%"
			 "08d\",\"sealedAt\":\"",
			 names[i], rows, (long long)st.st_size, first, next_number - 1);
		if (strncmp(at, line, strlen(line)) != 0) fail_msg("expected %s, there is %.300s", line, at);
		at = strchr(at, '\n') + 1;
	}
	for (at = manifest; (at = strchr(at, '\n')); at++) lines++;
	assert_int_equal(lines, sealed);
	assert_int_equal(next_number, count);
}

/* ── tests ───────────────────────────────────────────────────────────────── */

static const char *const kinds[][2] = {
    {"ndjson", "none"}, {"ndjson", "zstd"}, {"csv", "none"}, {"csv", "zstd"}, {"avro", "none"}};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void test_each_format_over_restarts(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		int n = 0;
		for (int round = 0; round < 6; round++) {
			assert_int_equal(create_as(kinds[k][0], kinds[k][1], "400"), CDPD_OK);
			for (int i = 1; i < 6; n += i, i++) assert_int_equal(export(n, i), CDPD_ACK);
			fake_destroy(&fake);
			fake.self = NULL;
		}
		check_all(n);
		assert_true(list_files() > 2);
		remove_all(out);
	}
}

static void test_what_comes_again_is_not_written_again(void **state)
{
	(void)state;
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 20), CDPD_ACK);
	assert_int_equal(export(10, 20), CDPD_ACK); /* half of it again */
	assert_int_equal(fake.counted[2], 10);
	fake_destroy(&fake);
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 30), CDPD_ACK);
	check_all(30);
	fake_destroy(&fake);
	assert_int_equal(create_as("ndjson", "none", "1"), CDPD_OK); /* sealed at once */
	assert_int_equal(export(20, 20), CDPD_ACK);
	assert_int_equal(export(20, 20), CDPD_ACK);
	check_all(40);
}

static void copy_file(const char *from, const char *to)
{
	char path[600];
	size_t len = slurp(from);
	snprintf(path, sizeof path, "%s/%s", out, to);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
}

/* As if it had died behind the bytes of a batch and before the state that counts them. */
static void test_bytes_that_were_not_counted_are_cut_off(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		assert_int_equal(create_as(kinds[k][0], kinds[k][1], "64MB"), CDPD_OK);
		assert_int_equal(export(0, 7), CDPD_ACK);
		copy_file(".events.state", "saved");
		assert_int_equal(export(7, 9), CDPD_ACK);
		fake_destroy(&fake);
		copy_file("saved", ".events.state");
		assert_int_equal(create_as(kinds[k][0], kinds[k][1], "64MB"), CDPD_OK);
		check_all(7);
		assert_int_equal(export(7, 9), CDPD_ACK);
		check_all(16);
		fake_destroy(&fake);
		fake.self = NULL;
		remove_all(out);
	}
}

/* Half a slot of the state was written: the other one counts. */
static void test_a_torn_state_is_the_one_before(void **state)
{
	(void)state;
	char path[600];
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	for (int i = 0; i < 5; i++) assert_int_equal(export(i, 1), CDPD_ACK);
	fake_destroy(&fake);
	snprintf(path, sizeof path, "%s/.events.state", out);
	slurp(".events.state");
	size_t slot = 4096;
	uint64_t turns[2];
	memcpy(&turns[0], text + 8, 8);
	memcpy(&turns[1], text + slot + 8, 8);
	size_t newer = turns[1] > turns[0] ? slot : 0;
	assert_true(turns[0] + 1 == turns[1] || turns[1] + 1 == turns[0]);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "torn", 4, (off_t)newer + 300), 4);
	close(fd);
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	check_all(4);
	assert_int_equal(export(4, 1), CDPD_ACK); /* it was not known to be there */
	check_all(5);
}

/* The slot was written whole, the ids that it counts were not. */
static void test_torn_ids_are_the_state_before(void **state)
{
	(void)state;
	char path[600];
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 20), CDPD_ACK);
	assert_int_equal(export(20, 20), CDPD_ACK);
	fake_destroy(&fake);
	snprintf(path, sizeof path, "%s/.events.state", out);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "torn", 4, 8192 + 30 * 16), 4); /* number 30 */
	close(fd);
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	check_all(20);
	assert_int_equal(export(10, 30), CDPD_ACK);
	assert_int_equal(fake.counted[2], 10);
	check_all(40);
}

/* What is remembered goes round in its ring; what is older is a new record. */
static void test_ids_are_remembered_for_long(void **state)
{
	(void)state;
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	for (int n = 0; n < 40000; n += 500) assert_int_equal(export(n, 500), CDPD_ACK);
	fake.counted[0] = fake.counted[2] = 0;
	for (int n = 40000 - 16000; n < 40000; n += 500) assert_int_equal(export(n, 500), CDPD_ACK);
	assert_int_equal(fake.counted[2], 16000);
	assert_int_equal(fake.counted[0], 0);
	fake_destroy(&fake);
	fake.counted[2] = 0;
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	for (int n = 40000 - 16000; n < 40000; n += 500) assert_int_equal(export(n, 500), CDPD_ACK);
	assert_int_equal(fake.counted[2], 16000);
	assert_int_equal(export(0, 50), CDPD_ACK); /* forgotten */
	assert_int_equal(fake.counted[0], 50);
}

/* The state was written whole, the bytes that it counts were not. */
static void test_torn_bytes_are_the_state_before(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		char path[600];
		struct stat st;
		assert_int_equal(create_as(kinds[k][0], kinds[k][1], "64MB"), CDPD_OK);
		assert_int_equal(export(0, 20), CDPD_ACK);
		assert_int_equal(export(20, 20), CDPD_ACK);
		fake_destroy(&fake);
		assert_int_equal(list_files(), 1);
		snprintf(path, sizeof path, "%s/%s", out, names[0]);
		assert_int_equal(stat(path, &st), 0);
		int fd = open(path, O_WRONLY);
		if (k % 2)
			assert_int_equal(pwrite(fd, "\0\0\0", 3, st.st_size - 40), 3);
		else
			assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
		close(fd);
		assert_int_equal(create_as(kinds[k][0], kinds[k][1], "64MB"), CDPD_OK);
		check_all(20);
		assert_int_equal(export(10, 30), CDPD_ACK);
		check_all(40);
		fake_destroy(&fake);
		fake.self = NULL;
		remove_all(out);
	}
}

/* One of the two files, both, and the state that takes it back. */
static void test_a_disk_that_fails_to_sync(void **state)
{
	(void)state;
	for (int failures = 1; failures < 6; failures++) {
		assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
		assert_int_equal(export(0, 5), CDPD_ACK);
		failing_syncs = failures;
		assert_int_equal(export(5, 7), CDPD_RETRY);
		assert_non_null(strstr(fake.receipt.all.reason, "cannot be written"));
		for (int i = 0; failing_syncs > 0; i++) {
			assert_true(i < 10);
			assert_int_equal(export(5, 7), CDPD_RETRY);
		}
		assert_int_equal(export(5, 7), CDPD_ACK);
		check_all(12);
		fake_destroy(&fake);
		assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
		assert_int_equal(export(5, 8), CDPD_ACK);
		check_all(13);
		fake_destroy(&fake);
		fake.self = NULL;
		remove_all(out);
	}
}

static void test_a_state_of_another_version_is_not_touched(void **state)
{
	(void)state;
	char path[600];
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 5), CDPD_ACK);
	fake_destroy(&fake);
	fake.self = NULL;
	snprintf(path, sizeof path, "%s/.events.state", out);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "cdpdfil9", 8, 0), 8);
	close(fd);
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_ERR_UNSUPPORTED);
	assert_non_null(strstr(fake.log, "another version"));
}

/* It dies between the final name and the line of the manifest. */
static void test_sealing_goes_on_where_it_stopped(void **state)
{
	(void)state;
	char path[600];
	assert_int_equal(create_as("csv", "none", "1500"), CDPD_OK);
	snprintf(path, sizeof path, "%s/events-manifest.ndjson", out);
	assert_int_equal(mkdir(path, 0700), 0); /* in the way */
	assert_int_equal(export(0, 40), CDPD_ACK);
	assert_int_equal(export(40, 1), CDPD_RETRY);
	fake_destroy(&fake);
	fake.self = NULL;
	assert_int_equal(create_as("csv", "none", "1500"), CDPD_ERR_IO);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(create_as("csv", "none", "1500"), CDPD_OK);
	check_all(40);
	assert_int_equal(export(40, 1), CDPD_ACK);
	check_all(41);
}

static void test_other_columns_begin_another_file(void **state)
{
	(void)state;
	assert_int_equal(create_as("csv", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 3), CDPD_ACK);
	fake_destroy(&fake);
	struct fake_option options[] = {{"directory", out}, {"format", "csv"}, {"columns", "a \"b\"=type,position"}};
	assert_int_equal(fake_create(&fake, options, 3), CDPD_OK);
	assert_int_equal(export(3, 1), CDPD_ACK);
	int files = list_files();
	assert_int_equal(files, 2);
	slurp(strstr(names[0], ".part") ? names[0] : names[1]);
	assert_string_equal(text, "\"a \"\"b\"\"\",position\r\ntrack,d00000003\r\n");
}

/* The file size limit stands for a full disk. */
static void test_a_full_disk_is_a_retry(void **state)
{
	(void)state;
	struct rlimit old, small;
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	assert_int_equal(export(0, 5), CDPD_ACK);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){2000, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(export(5, 20), CDPD_RETRY);
	assert_true(fake.receipt.all.is_set && fake.receipt.all.reason[0]);
	assert_int_equal(export(5, 20), CDPD_RETRY);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(export(5, 20), CDPD_ACK);
	check_all(25);
}

static void test_a_second_user_of_the_prefix_is_refused(void **state)
{
	(void)state;
	struct cdpd_instance second;
	struct fake_option options[] = {{"directory", out}};
	assert_int_equal(create_as("ndjson", "none", "64MB"), CDPD_OK);
	fake_open(&second, "files");
	assert_int_equal(fake_create(&second, options, 1), CDPD_ERR_BUSY);
	assert_non_null(strstr(second.log, "in use"));
	fake_close(&second);
}

static void test_columns_that_cannot_be(void **state)
{
	(void)state;
	static const char *const bad[][3] = {{"csv", "a,a", "two columns"},    {"csv", "=x", "name=path"},
					     {"avro", "a.b", "Avro names"},    {"avro", "time", "already"},
					     {"avro", "json=type", "already"}, {"avro", "1a", "Avro names"}};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct fake_option options[] = {{"directory", out}, {"format", bad[i][0]}, {"columns", bad[i][1]}};
		assert_int_equal(fake_create(&fake, options, 3), CDPD_ERR_INVALID);
		assert_non_null(strstr(fake.log, bad[i][2]));
	}
	assert_int_equal(create_as("avro", "zstd", "64MB"), CDPD_ERR_INVALID);
}

/* ── Avro's types ────────────────────────────────────────────────────────── */

static avro_file_reader_t open_avro(const char *prefix, avro_value_t *value)
{
	char path[600] = "";
	avro_file_reader_t reader;
	DIR *dir = opendir(out);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && strstr(entry->d_name, ".avro"))
			snprintf(path, sizeof path, "%s/%s", out, entry->d_name);
	if (dir) closedir(dir);
	if (avro_file_reader(path, &reader)) fail_msg("%s: %s", path, avro_strerror());
	avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
	avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
	assert_int_equal(avro_generic_value_new(iface, value), 0);
	avro_value_iface_decref(iface);
	avro_schema_decref(schema);
	return reader;
}

/* false: null. */
static bool branch_of(avro_value_t *record, const char *name, avro_value_t *branch)
{
	avro_value_t field;
	int which;
	assert_int_equal(avro_value_get_by_name(record, name, &field, NULL), 0);
	assert_int_equal(avro_value_get_discriminant(&field, &which), 0);
	assert_int_equal(avro_value_get_current_branch(&field, branch), 0);
	return which == 1;
}

static int64_t long_of(avro_value_t *record, const char *name)
{
	avro_value_t branch;
	int64_t number;
	assert_true(branch_of(record, name, &branch));
	assert_int_equal(avro_value_get_long(&branch, &number), 0);
	return number;
}

static double double_of(avro_value_t *record, const char *name)
{
	avro_value_t branch;
	double number;
	assert_true(branch_of(record, name, &branch));
	assert_int_equal(avro_value_get_double(&branch, &number), 0);
	return number;
}

static const char profile_text[] =
    "{\"type\":\"profile\",\"id\":\"00112233445566778899aabbccddeeff\",\"traits\":{\"plan\":\"pro\",\"vip\":true,"
    "\"odd\":\"\\\"}\"},\"features\":{\"orders\":-12,\"big\":9007199254740993,\"score\":0.5,\"name\":\"x\","
    "\"when\":\"2026-11-22T10:15:30.25+02:00\"},\"segments\":[\"a\"]}";

static void check_profile(void)
{
	avro_value_t value, branch;
	int is_vip;
	avro_file_reader_t reader = open_avro("profiles-2", &value);
	assert_int_equal(avro_file_reader_read_value(reader, &value), 0);
	assert_string_equal(union_text(&value, "plan"), "pro");
	assert_string_equal(union_text(&value, "segments"), "[\"a\"]");
	assert_int_equal(long_of(&value, "orders"), -12);
	assert_int_equal(long_of(&value, "big"), 9007199254740993);
	assert_true(double_of(&value, "score") == 0.5);
	assert_int_equal(long_of(&value, "seen"), 1795335330250000);
	assert_true(branch_of(&value, "vip", &branch));
	assert_int_equal(avro_value_get_boolean(&branch, &is_vip), 0);
	assert_true(is_vip);
	assert_false(branch_of(&value, "plan_number", &branch)); /* not of its type */
	assert_false(branch_of(&value, "nothing", &branch));
	assert_int_equal(avro_file_reader_read_value(reader, &value), EOF);
	avro_value_decref(&value);
	avro_file_reader_close(reader);
	assert_int_equal(fake_counted(&fake, "files_mismatched_values_total"), 1);
}

static void check_features(void)
{
	static const char *const expected[] = {"orders", "big", "score", "name", "when"};
	avro_value_t value, branch;
	avro_file_reader_t reader = open_avro("features-2", &value);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(avro_file_reader_read_value(reader, &value), 0);
		assert_string_equal(union_text(&value, "feature"), expected[i]);
		assert_string_equal(union_text(&value, "profileId"), "00112233445566778899aabbccddeeff");
		assert_int_equal(long_of(&value, "at"), 1000000);
		assert_int_equal(branch_of(&value, "number", &branch), i < 3);
		if (i == 0) assert_true(double_of(&value, "number") == -12);
		if (i == 3) assert_string_equal(union_text(&value, "value"), "\"x\"");
		avro_value_reset(&value);
	}
	assert_int_equal(avro_file_reader_read_value(reader, &value), EOF);
	avro_value_decref(&value);
	avro_file_reader_close(reader);
}

static void test_avro_types(void **state)
{
	(void)state;
	struct fake_option options[] = {
	    {"directory", out},
	    {"format", "avro"},
	    {"profiles_as", "both"},
	    {"profile_columns",
	     "profileId,plan=traits.plan,orders=features.orders:long,big=features.big:long,score=features.score:double,"
	     "seen=features.when:timestamp,vip=traits.vip:boolean,plan_number=traits.plan:long,segments:json,"
	     "nothing=features.nothing:long"}};
	assert_int_equal(fake_create(&fake, options, 4), CDPD_OK);
	make_records(0, 1);
	records[0].kind = CDPD_RECORD_PROFILE;
	records[0].json = str(profile_text);
	assert_int_equal(fake_export(&fake, records, 1), CDPD_ACK);
	check_profile();
	check_features();
}

/* ── kill -9 ─────────────────────────────────────────────────────────────── */

/* Exports without end from the cursor on, which like the daemon's moves after the acknowledgement: a kill in between repeats a batch. */
static void run_until_killed(size_t kind, int cursor_fd)
{
	int cursor = 0;
	(void)!pread(cursor_fd, &cursor, sizeof cursor, 0);
	if (create_as(kinds[kind][0], kinds[kind][1], "4000") != CDPD_OK) _exit(3);
	for (;; cursor += 1 + cursor % 23) {
		if (pwrite(cursor_fd, &cursor, sizeof cursor, 0) != sizeof cursor) _exit(4);
		if (export(cursor, 1 + cursor % 23) != CDPD_ACK) _exit(5);
	}
}

static void kill_once(size_t kind, int cursor_fd, long wait_us)
{
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) run_until_killed(kind, cursor_fd);
	struct timespec wait = {0, wait_us * 1000};
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFSIGNALED(status)) fail_msg("the child ended by itself: %d", WEXITSTATUS(status));
}

static void test_kill_9_leaves_each_record_once(void **state)
{
	(void)state;
	const char *rounds = getenv("CDPD_ROUNDS");
	for (size_t k = 0; k < KINDS; k++) {
		char path[600];
		int cursor = 0;
		unsigned seed = 7;
		snprintf(path, sizeof path, "%s/cursor", folder);
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		for (int i = 0; i < (rounds ? atoi(rounds) : 25); i++) kill_once(k, fd, 1000 + rand_r(&seed) % 40000);
		(void)!pread(fd, &cursor, sizeof cursor, 0);
		close(fd);
		int batch = 1 + cursor % 23;
		assert_int_equal(create_as(kinds[k][0], kinds[k][1], "4000"), CDPD_OK);
		assert_int_equal(export(cursor, batch), CDPD_ACK);
		check_all(cursor + batch);
		fake_destroy(&fake);
		fake.self = NULL;
		remove_all(out);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_each_format_over_restarts),
	    TEST(test_what_comes_again_is_not_written_again),
	    TEST(test_bytes_that_were_not_counted_are_cut_off),
	    TEST(test_a_torn_state_is_the_one_before),
	    TEST(test_torn_ids_are_the_state_before),
	    TEST(test_torn_bytes_are_the_state_before),
	    TEST(test_a_disk_that_fails_to_sync),
	    TEST(test_ids_are_remembered_for_long),
	    TEST(test_a_state_of_another_version_is_not_touched),
	    TEST(test_avro_types),
	    TEST(test_sealing_goes_on_where_it_stopped),
	    TEST(test_other_columns_begin_another_file),
	    TEST(test_a_full_disk_is_a_retry),
	    TEST(test_a_second_user_of_the_prefix_is_refused),
	    TEST(test_columns_that_cannot_be),
	    TEST(test_kill_9_leaves_each_record_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
