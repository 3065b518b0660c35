#include "journal/journal_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "journal/state.h"

enum { EVENT_BYTES = 20000 };

static uint64_t expected_number;

static void expect_number(const struct record *record)
{
	assert_true(payload_number(record->payload) == expected_number);
	assert_int_equal(record->payload.len, EVENT_BYTES);
	expected_number++;
}

/* Appends events numbered as their positions; one request each, so that segments are sealed in between. */
static void append_many(int count)
{
	static char payload[EVENT_BYTES];
	for (int i = 0; i < count; i++) {
		uint64_t seq = journal_next_seq(world.journal);
		assert_true(append_event(numbered_payload(payload, sizeof payload, seq)) == seq);
	}
}

static void assert_holds_all_from(uint64_t first)
{
	expected_number = first;
	assert_true(read_all(first, 1000, 1 << 24, expect_number) == journal_next_seq(world.journal) - first);
}

static size_t segments_on_disk(void)
{
	struct test_path path = test_dir_path(&world.dir, "journal");
	DIR *dir = opendir(path.text);
	const struct dirent *entry;
	size_t count = 0;
	assert_non_null(dir);
	while ((entry = readdir(dir))) count += strlen(entry->d_name) == 20;
	closedir(dir);
	return count;
}

static struct test_path segment_path(uint64_t first_seq, const char *file)
{
	char name[64];
	(void)snprintf(name, sizeof name, "journal/%020llu%s", (unsigned long long)first_seq, file);
	return test_dir_path(&world.dir, name);
}

static void reading_goes_across_segments(void **state)
{
	(void)state;
	struct arena arena;
	struct record record;
	world_start(&world);
	append_many(400);
	assert_in_range(segments_on_disk(), 5, 20);
	assert_holds_all_from(1);
	assert_holds_all_from(77);
	expected_number = 1;
	assert_true(read_all(1, 3, 1 << 24, expect_number) == 400);
	expected_number = 1;
	assert_true(read_all(1, 1000, 50000, expect_number) == 400);
	arena_init(&arena, 65536, 0);
	for (uint64_t seq = 3; seq <= 400; seq += 57) {
		assert_int_equal(journal_get(world.journal, seq, &arena, &record), OK);
		assert_true(payload_number(record.payload) == seq);
	}
	arena_fini(&arena);
	uint64_t epoch = journal_epoch(world.journal), bytes = journal_bytes(world.journal);
	world_restart(&world);
	assert_true(journal_epoch(world.journal) == epoch && journal_bytes(world.journal) == bytes);
	assert_holds_all_from(1);
	append_many(10);
	assert_holds_all_from(1);
}

static void time_never_goes_back_across_segments(void **state)
{
	(void)state;
	struct journal_batch batch;
	int64_t t = 0;
	world_start(&world);
	append_many(150);
	journal_batch_init(&batch);
	for (uint64_t seq = 1; journal_read(world.journal, seq, 10, 1 << 20, &batch) == OK; seq += batch.count) {
		for (size_t i = 0; i < batch.count; i++) {
			assert_true(batch.records[i].t >= t);
			t = batch.records[i].t;
		}
	}
	assert_true(t == journal_last_t(world.journal));
	journal_batch_fini(&batch);
}

static void few_sealed_segments_are_open(void **state)
{
	(void)state;
	static char payload[40000];
	world.conf.segment_bytes = 65536;
	world_start(&world);
	for (int i = 0; i < 240; i++) append_event(numbered_payload(payload, sizeof payload, (uint64_t)i));
	assert_true(segments_on_disk() > SEGMENT_OPEN_MAX + 10);
	assert_true(world.journal->segments.open_count == 1); /* nobody reads the sealed ones */
	assert_true(read_all(1, 10, 1 << 24, NULL) == 240);
	assert_true(world.journal->segments.open_count <= SEGMENT_OPEN_MAX + 1);
	assert_true(read_all(1, 10, 1 << 24, NULL) == 240);
	world_restart(&world);
	assert_true(read_all(1, 10, 1 << 24, NULL) == 240);
	assert_true(world.journal->segments.open_count <= SEGMENT_OPEN_MAX + 1);
}

static void a_request_larger_than_a_segment_fits(void **state)
{
	(void)state;
	static char payload[2000];
	enum { COUNT = 3500 };
	static struct journal_entry entries[COUNT];
	struct request request;
	world_start(&world);
	for (int round = 0; round < 3; round++) {
		append_event(STR("x"));
		request_init(&request, STR_NONE);
		for (int i = 0; i < COUNT; i++)
			entries[i] = (struct journal_entry){RECORD_EVENT, {payload, sizeof payload}};
		request.append.entries = entries;
		request.append.entry_count = COUNT; /* 7 MB, segments of 1 MB */
		assert_int_equal(request_submit_and_wait(&request), OK);
		assert_true(request.append.last_seq == request.append.first_seq + COUNT - 1);
	}
	assert_true(read_all(1, 1000, 1 << 24, NULL) == 3 * (COUNT + 1));
}

static void old_segments_are_sealed(void **state)
{
	(void)state;
	world.conf.segment_age_us = 1;
	world_start(&world);
	append_event(STR("one"));
	append_event(STR("two"));
	append_event(STR("three"));
	assert_in_range(segments_on_disk(), 3, 5);
	EVENTUALLY(segments_on_disk() == 4); /* the last is sealed when time passes, without an append */
	usleep(1100000);
	assert_int_equal(segments_on_disk(), 4); /* an empty one never is */
	assert_true(read_all(1, 10, 1000, NULL) == 3);
}

/* ── retention ── */

static void retention_spares_what_is_not_in_the_checkpoint(void **state)
{
	(void)state;
	struct journal_batch batch;
	struct arena arena;
	struct record record;
	world.conf.retention_bytes = 1;
	world_start(&world);
	append_many(300);
	usleep(1300000); /* upkeep has come by: without a checkpoint nothing may go */
	assert_true(journal_first_seq(world.journal) == 1);
	journal_set_checkpoint(world.journal, 150);
	EVENTUALLY(journal_first_seq(world.journal) > 1);
	usleep(1300000);
	uint64_t first = journal_first_seq(world.journal);
	assert_true(first > 50 && first <= 150);
	journal_batch_init(&batch);
	arena_init(&arena, 4096, 0);
	assert_int_equal(journal_read(world.journal, first - 1, 10, 1000, &batch), ERR_GONE);
	assert_int_equal(journal_get(world.journal, 1, &arena, &record), ERR_GONE);
	assert_holds_all_from(first);
	assert_int_equal(access(segment_path(1, "").text, F_OK), -1);
	uint64_t bytes = journal_bytes(world.journal);
	world_restart(&world);
	assert_true(journal_first_seq(world.journal) == first && journal_bytes(world.journal) == bytes);
	assert_holds_all_from(first);
	journal_set_checkpoint(world.journal, journal_next_seq(world.journal));
	EVENTUALLY(segments_on_disk() == 1);
	assert_holds_all_from(journal_first_seq(world.journal));
	arena_fini(&arena);
	journal_batch_fini(&batch);
}

static void retention_by_age_waits_for_the_age(void **state)
{
	(void)state;
	world.conf.retention_us = 3600 * US_PER_SECOND;
	world_start(&world);
	append_many(150);
	journal_set_checkpoint(world.journal, journal_next_seq(world.journal));
	usleep(1300000);
	assert_true(journal_first_seq(world.journal) == 1);
	world.conf.retention_us = 1;
	journal_set_conf(world.journal, &world.conf);
	EVENTUALLY(segments_on_disk() == 1);
	assert_true(journal_first_seq(world.journal) > 1);
}

static void a_segment_that_is_read_is_deleted_later(void **state)
{
	(void)state;
	struct segment *segment;
	world.conf.retention_bytes = 1;
	world_start(&world);
	append_many(150);
	assert_int_equal(segment_acquire(&world.journal->segments, 1, &segment), OK);
	journal_set_checkpoint(world.journal, 150);
	EVENTUALLY(journal_first_seq(world.journal) > 1);
	usleep(1300000);
	assert_int_equal(access(segment_path(1, "/data.mdb").text, F_OK), 0);
	assert_true(store_used_bytes(segment->env) > 0);
	segment_release(&world.journal->segments, segment);
	EVENTUALLY(access(segment_path(1, "/data.mdb").text, F_OK) != 0);
}

/* A crash between the record of a trimming and the deletion. */
static void what_retention_left_is_removed_at_start(void **state)
{
	(void)state;
	world.conf.retention_bytes = 1;
	world_start(&world);
	append_many(150);
	journal_set_checkpoint(world.journal, 150);
	EVENTUALLY(segments_on_disk() == 1 || journal_first_seq(world.journal) > 100);
	EVENTUALLY(access(segment_path(1, "").text, F_OK) != 0);
	uint64_t first = journal_first_seq(world.journal);
	world_stop(&world);
	assert_int_equal(mkdir(segment_path(1, "").text, 0700), 0);
	int fd = open(segment_path(1, "/data.mdb").text, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0 && write(fd, "junk", 4) == 4 && close(fd) == 0);
	world_start(&world);
	assert_true(journal_first_seq(world.journal) == first);
	assert_int_equal(access(segment_path(1, "").text, F_OK), -1);
}

/* ── what a crash or a person may leave ── */

static uint64_t newest_first_seq(void)
{
	return segment_set_active(&world.journal->segments)->first_seq;
}

static void half_made_segments_do_not_hinder_a_start(void **state)
{
	(void)state;
	world_start(&world);
	append_many(150);
	uint64_t next = journal_next_seq(world.journal);
	static const char *const leftovers[] = {"", "/data.mdb", "/lock.mdb"};
	for (size_t i = 0; i < COUNT_OF(leftovers); i++) {
		/* under its building name, as a crash leaves it */
		world_stop(&world);
		struct test_path half = test_dir_path(&world.dir, "journal/new");
		assert_int_equal(mkdir(half.text, 0700), 0);
		struct test_path file = test_dir_path(&world.dir, "journal/new/data.mdb");
		if (leftovers[i][0]) assert_int_equal(close(open(file.text, O_CREAT | O_WRONLY, 0600)), 0);
		world_start(&world);
		assert_int_equal(access(half.text, F_OK), -1);
		assert_true(journal_next_seq(world.journal) == next);
		/* under its final name, as a file system may leave it after a power cut */
		world_stop(&world);
		assert_int_equal(mkdir(segment_path(next, "").text, 0700), 0);
		if (leftovers[i][0]) {
			file = segment_path(next, leftovers[i]);
			assert_int_equal(close(open(file.text, O_CREAT | O_WRONLY, 0600)), 0);
		}
		world_start(&world);
		assert_true(journal_next_seq(world.journal) == next);
		assert_true(newest_first_seq() < next);
	}
	append_many(100);
	assert_holds_all_from(1);
}

static void a_half_made_first_segment_does_not_hinder_a_start(void **state)
{
	(void)state;
	struct test_path dir = test_dir_path(&world.dir, "journal");
	assert_int_equal(mkdir(dir.text, 0700), 0);
	assert_int_equal(mkdir(segment_path(1, "").text, 0700), 0);
	world_start(&world);
	append_many(2);
	assert_holds_all_from(1);
}

static void assert_refused(int expected)
{
	assert_int_equal(journal_open(world.dir.path, &world.conf, &world.journal), expected);
	assert_null(world.journal);
}

static void missing_segments_are_noticed(void **state)
{
	(void)state;
	world_start(&world);
	append_many(200);
	uint64_t newest = newest_first_seq(), middle = 0, before_newest = 0;
	const struct segment_set *set = &world.journal->segments;
	assert_true(set->count >= 4);
	middle = set->items[1]->first_seq;
	before_newest = set->items[set->count - 2]->first_seq;
	world_stop(&world);
	struct test_path aside = test_dir_path(&world.dir, "aside");
	/* the one before the newest, the first, and the newest emptied: refused at start */
	assert_int_equal(rename(segment_path(before_newest, "").text, aside.text), 0);
	assert_refused(ERR_CORRUPT);
	assert_int_equal(rename(aside.text, segment_path(before_newest, "").text), 0);
	assert_int_equal(rename(segment_path(1, "").text, aside.text), 0);
	assert_refused(ERR_CORRUPT);
	assert_int_equal(rename(aside.text, segment_path(1, "").text), 0);
	struct test_path data = segment_path(newest, "/data.mdb");
	assert_int_equal(truncate(data.text, 4096), 0);
	assert_refused(ERR_CORRUPT);
	assert_int_equal(store_remove_env(segment_path(newest, "").text), OK);
	/* one in the middle: its records cannot be read, the others can */
	assert_int_equal(rename(segment_path(middle, "").text, aside.text), 0);
	world_start(&world);
	struct journal_batch batch;
	journal_batch_init(&batch);
	assert_int_equal(journal_read(world.journal, middle, 10, 1000, &batch), ERR_CORRUPT);
	assert_int_equal(journal_read(world.journal, 1, 10, 1000, &batch), OK);
	assert_int_equal(journal_read(world.journal, before_newest, 10, 1000, &batch), OK);
	journal_batch_fini(&batch);
}

/* Flips a byte of the payload of a record in the file. */
static void damage(uint64_t segment, uint64_t number)
{
	struct test_path path = segment_path(segment, "/data.mdb");
	int fd = open(path.text, O_RDWR);
	struct stat st;
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	char *bytes = malloc((size_t)st.st_size);
	assert_true(bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size);
	char needle[16];
	(void)numbered_payload(needle, sizeof needle, number);
	char *found = memmem(bytes, (size_t)st.st_size, needle, sizeof needle);
	assert_non_null(found);
	assert_int_equal(pwrite(fd, "X", 1, found - bytes + 100), 1);
	close(fd);
	free(bytes);
}

static void a_damaged_record_is_found_when_read(void **state)
{
	(void)state;
	struct journal_batch batch;
	struct arena arena;
	struct record record;
	world_start(&world);
	append_many(20);
	world_stop(&world);
	damage(1, 7);
	world_start(&world);
	journal_batch_init(&batch);
	arena_init(&arena, 65536, 0);
	assert_int_equal(journal_read(world.journal, 1, 100, 1 << 24, &batch), OK);
	assert_int_equal(batch.count, 6); /* what lies before it is good */
	assert_int_equal(journal_read(world.journal, 7, 100, 1 << 24, &batch), ERR_CORRUPT);
	assert_int_equal(journal_get(world.journal, 7, &arena, &record), ERR_CORRUPT);
	assert_int_equal(journal_read(world.journal, 8, 100, 1 << 24, &batch), OK);
	assert_int_equal(batch.count, 13);
	arena_fini(&arena);
	journal_batch_fini(&batch);
}

static void a_damaged_tail_is_refused_at_start(void **state)
{
	(void)state;
	world_start(&world);
	append_many(20);
	world_stop(&world);
	damage(1, 20);
	assert_refused(ERR_CORRUPT);
}

static void a_segment_of_another_journal_is_refused(void **state)
{
	(void)state;
	struct world other = {.dir = test_dir_make_in_memory(), .conf = world.conf};
	world_start(&world);
	append_many(150);
	const struct segment_set *set = &world.journal->segments;
	uint64_t before_newest = set->items[set->count - 2]->first_seq;
	world_stop(&world);
	struct world mine = world;
	world = other;
	world_start(&world);
	append_many(150);
	world_stop(&world);
	struct test_path foreign = segment_path(before_newest, "");
	world = mine;
	struct test_path own = segment_path(before_newest, "");
	assert_int_equal(store_remove_env(own.text), OK);
	assert_int_equal(rename(foreign.text, own.text), 0); /* the same positions, another epoch */
	assert_refused(ERR_CORRUPT);
	test_dir_remove(&other.dir);
}

/* ── rejects across segments ── */

struct seen {
	uint64_t last_id, count, stop_after;
};

static int see_row(void *ctx, const struct journal_reject_row *row)
{
	struct seen *seen = ctx;
	assert_true(seen->last_id == 0 || row->id == seen->last_id - 1); /* newest first, none left out */
	assert_true(payload_number(row->reject.excerpt) == row->id);
	assert_int_equal(row->reject.index, row->id % 1000);
	assert_int_equal(row->reject.reason, PROBLEM_MISSING_IDENTITY);
	assert_true(str_eq(row->reject.source_id, STR("web")));
	assert_true(str_eq(row->reject.message_id, STR("m")));
	assert_true(str_eq(row->reject.pointer, STR("/userId")));
	assert_true(str_eq(row->reject.detail, STR("nobody")));
	assert_true(row->t > 0 && row->t <= journal_last_t(world.journal));
	seen->last_id = row->id;
	return ++seen->count == seen->stop_after;
}

static void reject_some(uint64_t first_id, size_t count)
{
	static char excerpt[1024];
	struct request request;
	for (size_t i = 0; i < count; i++) {
		uint64_t id = first_id + i;
		struct journal_reject reject = {
		    .reason = PROBLEM_MISSING_IDENTITY,
		    .source_id = STR("web"),
		    .message_id = STR("m"),
		    .pointer = STR("/userId"),
		    .detail = STR("nobody"),
		    .excerpt = numbered_payload(excerpt, sizeof excerpt, id),
		    .index = (uint32_t)(id % 1000),
		};
		request_init(&request, STR("x"));
		request.append.rejects = &reject;
		request.append.reject_count = 1;
		request.append.received = 2;
		assert_int_equal(request_submit_and_wait(&request), OK);
	}
}

static void rejects_are_listed_newest_first(void **state)
{
	(void)state;
	world_start(&world);
	reject_some(1, 200);
	append_many(100);
	reject_some(201, 200);
	append_many(100);
	assert_true(segments_on_disk() > 3);
	struct seen all = {0}, page = {.stop_after = 150};
	assert_int_equal(journal_rejects(world.journal, 0, see_row, &all), OK);
	assert_true(all.count == 400 && all.last_id == 1);
	assert_int_equal(journal_rejects(world.journal, 0, see_row, &page), OK);
	assert_true(page.count == 150 && page.last_id == 251);
	page.stop_after = 0;
	assert_int_equal(journal_rejects(world.journal, page.last_id, see_row, &page), OK);
	assert_true(page.count == 400 && page.last_id == 1);
	world_restart(&world);
	all = (struct seen){0};
	assert_int_equal(journal_rejects(world.journal, 0, see_row, &all), OK);
	assert_true(all.count == 400);
}

static void rejects_beyond_the_budget_are_counted(void **state)
{
	(void)state;
	struct journal_counters counters;
	world.conf.rejects_bytes = 20000;
	world_start(&world);
	reject_some(1, 100);
	struct seen all = {0};
	assert_int_equal(journal_rejects(world.journal, 0, see_row, &all), OK);
	assert_in_range(all.count, 10, 20);
	journal_counters(world.journal, &counters);
	assert_true(counters.rejected == 100 && counters.rejects_not_kept == 100 - all.count);
	assert_true(counters.received == 200);
	uint64_t kept = all.count;
	append_many(100); /* another segment has a budget of its own */
	reject_some(kept + 1, 5);
	all = (struct seen){0};
	assert_int_equal(journal_rejects(world.journal, 0, see_row, &all), OK);
	assert_true(all.count == kept + 5);
}

/* Hundreds of commits each: in memory. What needs a disk is in test_disk.c. */
static int set_up(void **state)
{
	int rc = world_set_up(state);
	test_dir_remove(&world.dir);
	world.dir = test_dir_make_in_memory();
	return rc;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(reading_goes_across_segments),
	    TEST(time_never_goes_back_across_segments),
	    TEST(few_sealed_segments_are_open),
	    TEST(a_request_larger_than_a_segment_fits),
	    TEST(old_segments_are_sealed),
	    TEST(retention_spares_what_is_not_in_the_checkpoint),
	    TEST(retention_by_age_waits_for_the_age),
	    TEST(a_segment_that_is_read_is_deleted_later),
	    TEST(what_retention_left_is_removed_at_start),
	    TEST(half_made_segments_do_not_hinder_a_start),
	    TEST(a_half_made_first_segment_does_not_hinder_a_start),
	    TEST(missing_segments_are_noticed),
	    TEST(a_damaged_record_is_found_when_read),
	    TEST(a_damaged_tail_is_refused_at_start),
	    TEST(a_segment_of_another_journal_is_refused),
	    TEST(rejects_are_listed_newest_first),
	    TEST(rejects_beyond_the_budget_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
