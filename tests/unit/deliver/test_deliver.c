#include "deliver_world.h"

static struct world w;

static int setup(void **state)
{
	(void)state;
	world_init(&w);
	world_open(&w);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (w.deliver) world_stop(&w);
	world_close(&w);
	world_fini(&w);
	return 0;
}

static void assert_each_once(const char *name, uint64_t from, uint64_t to)
{
	for (uint64_t id = from; id < to; id++) assert_int_equal(world_seen(&w, name, id), 1);
}

static void test_applied_records_arrive_once_in_order(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_send_many(&w, 10); /* a new destination starts at the oldest record */
	world_start(&w);
	world_drain(&w, "d");
	(void)world_send(&w, "{\"verdict\":\"duplicate\"}");
	world_send_many(&w, 1200); /* more than two batches */
	world_drain(&w, "d");
	struct destination_status status = world_status(&w, "d");
	assert_int_equal(status.delivered, 1210);
	assert_false(status.is_failing);
	assert_true(status.last_success_us > 0);
	assert_int_equal(world_seen(&w, "d", 10), 0); /* the duplicate */
	unsigned expected = 0, lines = 0;
	for (const char *line = world_file(&w, "d"); *line; line = strchr(line, '\n') + 1, lines++, expected++) {
		if (expected == 10) expected++;
		assert_int_equal(strtoul(line + 1, NULL, 10), expected);
	}
	assert_int_equal(lines, 1210);
}

static void test_nothing_ahead_of_the_fold(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_start(&w);
	(void)world_send(&w, ""); /* durable, not folded */
	deliver_wake(w.deliver);
	sleep_ms(100);
	assert_int_equal(world_lines(&w, "d"), 0);
	world_fold(&w);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 1);
}

static void test_the_cursor_survives_a_restart(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_start(&w);
	world_send_many(&w, 20);
	world_drain(&w, "d");
	world_stop(&w);
	world_send_many(&w, 20);
	world_start(&w);
	world_drain(&w, "d");
	assert_each_once("d", 0, 40);
	assert_int_equal(world_status(&w, "d").delivered, 40);
}

/* A process that dies between the plugin's ACK and the cursor's commit hands over again: the cursor is put back by hand. */
static void test_at_least_once_with_the_same_delivery_id(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_start(&w);
	uint64_t first = people_applied(w.people);
	world_send_many(&w, 5);
	world_drain(&w, "d");
	struct cursor_row row;
	world_stop(&w);
	assert_int_equal(world_new(&w), OK);
	assert_int_equal(cursors_get(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &row), OK);
	row.next_seq = first;
	assert_int_equal(cursors_put(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &row), OK);
	world_stop(&w);
	world_start(&w);
	world_drain(&w, "d");
	for (uint64_t id = 0; id < 5; id++) assert_int_equal(world_seen(&w, "d", id), 2);
	char one[200], two[200], word[40];
	const char *text = world_file(&w, "d");
	(void)snprintf(word, sizeof word, "m3 ");
	const char *at = strstr(text, word), *again = strstr(at + 1, word);
	assert_int_equal(sscanf(at, "%*s %199s", one), 1);
	assert_int_equal(sscanf(again, "%*s %199s", two), 1);
	assert_string_equal(one, two);
}

/* Rows of destinations that consent never held back are as they always were. */
static void test_what_consent_kept_back_is_counted_for_ever(void **state)
{
	(void)state;
	const struct cursor_row rows[] = {{.next_seq = 1, .delivered = 2, .last_success_us = 3},
					  {.next_seq = 4, .delivered = 5, .last_success_us = 6, .denied = 7}};
	struct cursor_row row;
	assert_int_equal(world_new(&w), OK);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_int_equal(cursors_put(w.deliver->shared.cursors, STR("gated"), STREAM_OF_EVENTS, &rows[i]), OK);
		assert_int_equal(cursors_get(w.deliver->shared.cursors, STR("gated"), STREAM_OF_EVENTS, &row), OK);
		assert_int_equal(row.next_seq, rows[i].next_seq);
		assert_int_equal(row.delivered, rows[i].delivered);
		assert_int_equal(row.last_success_us, rows[i].last_success_us);
		assert_int_equal(row.denied, rows[i].denied);
	}
	world_stop(&w);
}

static void test_retries_lose_nothing(void **state)
{
	(void)state;
	world_add(&w, "d", "retry_first");
	world_start(&w);
	world_send_many(&w, 30);
	world_drain(&w, "d");
	assert_each_once("d", 0, 30);
	struct destination_status status = world_status(&w, "d");
	assert_true(status.retries > 0); /* the fault fired */
	assert_int_equal(status.delivered, 30);
	assert_false(status.is_failing);
}

/* Of six records of three persons the second is refused once: it comes again, and after it the fifth, which is the same person's. */
static void test_only_the_refused_persons_records_come_again(void **state)
{
	(void)state;
	world_add(&w, "d", "retry_second");
	world_send_many(&w, 6);
	world_start(&w);
	world_drain(&w, "d");
	for (uint64_t id = 0; id < 6; id++) assert_int_equal(world_seen(&w, "d", id), id == 4 ? 2 : 1);
	assert_int_equal(world_status(&w, "d").retries, 1);
	assert_int_equal(world_status(&w, "d").delivered, 6);
	const char *last = world_file(&w, "d"), *before = last;
	for (const char *line = last; *line; line = strchr(line, '\n') + 1) {
		before = last;
		last = line;
	}
	assert_int_equal(strncmp(before, "m1 ", 3), 0); /* as attempt 2 */
	assert_non_null(strstr(before, " 2\nm4 "));
	assert_int_equal(strncmp(last, "m4 ", 3), 0);
}

static void test_drops_are_counted_and_passed(void **state)
{
	(void)state;
	world_add(&w, "d", "drop_odd");
	world_send_many(&w, 6);
	world_start(&w);
	world_drain(&w, "d");
	struct destination_status status = world_status(&w, "d");
	assert_int_equal(status.dropped, 3);
	assert_int_equal(status.delivered, 3);
	assert_each_once("d", 0, 1);
	assert_int_equal(world_seen(&w, "d", 1), 0);
}

static void test_pending_answers_from_another_thread(void **state)
{
	(void)state;
	world_add(&w, "d", "pending");
	world_start(&w);
	for (int i = 0; i < 5; i++) {
		world_send_many(&w, 3);
		world_drain(&w, "d");
	}
	assert_each_once("d", 0, 15);
	assert_int_equal(world_status(&w, "d").delivered, 15);
}

static void test_a_pending_batch_without_answer_comes_again(void **state)
{
	(void)state;
	world_add(&w, "d", "pending_never");
	world_start(&w);
	world_send_many(&w, 3);
	world_drain(&w, "d");
	assert_each_once("d", 0, 3);
	struct destination_status status = world_status(&w, "d");
	assert_int_equal(status.retries, 3);
	assert_non_null(memmem(status.last_error.ptr, status.last_error.len, "no answer", 9));
}

static void test_a_dead_destination_delays_nobody(void **state)
{
	(void)state;
	world_add(&w, "dead", "ack");
	world_add(&w, "hung", "hang");
	world_add(&w, "alive", "ack");
	char down[400];
	(void)snprintf(down, sizeof down, "%s/dead.txt.down", w.dir.path);
	FILE *file = fopen(down, "w");
	assert_non_null(file);
	(void)fclose(file);
	world_start(&w);
	world_send_many(&w, 50);
	world_drain(&w, "alive");
	assert_each_once("alive", 0, 50);
	while (!world_status(&w, "dead").is_failing) sleep_ms(1);
	struct destination_status status = world_status(&w, "dead");
	assert_int_equal(status.lag, 50);
	assert_int_equal(status.delivered, 0);
	assert_non_null(memmem(status.last_error.ptr, status.last_error.len, "the other side is down", 22));
	assert_int_equal(world_status(&w, "hung").lag, 50);
	while (world_lines(&w, "hung") < 50) sleep_ms(1); /* it does hang in there */
	assert_int_equal(unlink(down), 0);                /* it comes back and loses nothing */
	world_drain(&w, "dead");
	assert_each_once("dead", 0, 50);
	assert_false(world_status(&w, "dead").is_failing);
	int64_t before = clock_mono_us();
	deliver_stop(w.deliver); /* the hung one is left behind, in bounded time */
	assert_true(clock_mono_us() - before < 10 * US_PER_SECOND);
	assert_non_null(w.deliver->left_behind);
}

/* Fills segments until retention has trimmed the first `below` positions away. */
static void trim_until(uint64_t below)
{
	static char big[60000];
	memset(big, 'x', sizeof big - 1);
	memcpy(big, "{\"x\":\"", 6);
	memcpy(big + sizeof big - 3, "\"}", 3);
	struct conf_journal conf = w.config.journal;
	conf.segment_bytes = 1 << 20;
	conf.retention_bytes = 1 << 20;
	journal_set_conf(w.journal, &conf);
	for (int i = 0; i < 600 && journal_first_seq(w.journal) < below; i++) {
		for (int k = 0; k < 20; k++) (void)world_send(&w, big);
		world_fold(&w);
		journal_set_checkpoint(w.journal, people_applied(w.people));
		sleep_ms(50);
	}
	assert_true(journal_first_seq(w.journal) >= below);
}

static void test_an_expired_gap_is_counted_and_visible(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_start(&w);
	world_send_many(&w, 3);
	world_drain(&w, "d");
	uint64_t cursor = world_status(&w, "d").cursor;
	world_stop(&w);
	trim_until(cursor + 5);
	world_start(&w);
	world_drain(&w, "d");
	struct destination_status status = world_status(&w, "d");
	uint64_t first = journal_first_seq(w.journal);
	assert_int_equal(status.expired_records, first - cursor); /* the gap did happen and is exactly this large */
	assert_true(status.expired_records > 0);
	assert_each_once("d", 0, 3);
	assert_true(status.delivered > 3);
	assert_int_equal(status.delivered, world_lines(&w, "d"));
}

static void test_a_cursor_ahead_of_the_journal_is_refused(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_start(&w);
	struct cursor_row row = {.next_seq = journal_next_seq(w.journal) + 1};
	assert_int_equal(cursors_put(w.deliver->shared.cursors, STR("gone"), STREAM_OF_EVENTS, &row),
			 OK); /* also of one no longer configured */
	world_stop(&w);
	assert_int_equal(world_new(&w), ERR_CORRUPT);
	assert_null(w.deliver);
}

static void test_another_epoch_is_refused(void **state)
{
	(void)state;
	struct cursors *cursors;
	uint64_t epoch = journal_epoch(w.journal), next = journal_next_seq(w.journal);
	assert_int_equal(cursors_open(str_from(w.dir.path), epoch ^ 1, next, &cursors), OK);
	cursors_close(cursors);
	assert_int_equal(world_new(&w), ERR_FOREIGN);
	assert_int_equal(cursors_open(str_from(w.dir.path), epoch ^ 1, next, &cursors),
			 OK); /* and nothing was changed by it */
	cursors_close(cursors);
}

static void test_bad_options_are_refused_at_start(void **state)
{
	(void)state;
	world_add(&w, "d", "no_such_mode");
	assert_int_equal(world_new(&w), ERR_INVALID);
}

static void test_reload_adds_removes_and_recreates(void **state)
{
	(void)state;
	world_add(&w, "keep", "ack");
	world_add(&w, "change", "ack");
	world_add(&w, "remove", "ack");
	world_start(&w);
	world_send_many(&w, 5);
	world_drain(&w, "keep");
	world_drain(&w, "change");
	world_drain(&w, "remove");
	const struct destination *kept = w.deliver->destinations;

	w.nodes[1][1].text = STR("retry_first");
	w.config.destination_count = 2;
	world_add(&w, "new", "ack"); /* takes the place of `remove` */
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	assert_ptr_equal(w.deliver->destinations, kept); /* untouched */
	world_send_many(&w, 5);
	world_drain(&w, "keep");
	world_drain(&w, "change");
	world_drain(&w, "new");
	assert_each_once("keep", 0, 10);
	assert_each_once("change", 0, 10); /* goes on at its cursor */
	assert_true(world_status(&w, "change").retries > 0);
	assert_each_once("new", 0, 10); /* from the oldest record on */
	assert_int_equal(world_lines(&w, "remove"), 5);

	w.nodes[1][1].text = STR("no_such_mode");
	assert_int_equal(deliver_reload(w.deliver, &w.config), ERR_INVALID); /* refused whole */
	world_send_many(&w, 1);
	world_drain(&w, "change");

	w.config.destination_count = 0;
	w.nodes[1][1].text = STR("ack");
	world_add(&w, "remove", "ack"); /* added back: goes on where it was */
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	world_drain(&w, "remove");
	assert_each_once("remove", 0, 11);
}

static void test_a_plugin_that_cannot_be_created_is_tried_again(void **state)
{
	(void)state;
	char directory[400];
	(void)snprintf(directory, sizeof directory, "%s/later/out", w.dir.path);
	w.config.plugin_path = STR(PLUGINS);
	w.nodes[0][0] = (struct node){.kind = NODE_SCALAR, .key = STR("directory"), .text = str_from(directory)};
	w.options[0] = (struct node){.kind = NODE_MAP, .children = w.nodes[0], .child_count = 1};
	w.destinations[0] =
	    (struct conf_instance){.name = STR("files"), .plugin = STR("ndjson"), .options = &w.options[0], .line = 1};
	w.config.destination_count = 1;
	world_start(&w);
	world_send_many(&w, 4);
	while (!world_status(&w, "files").is_failing) sleep_ms(1);
	char parent[400];
	(void)snprintf(parent, sizeof parent, "%s/later", w.dir.path);
	assert_int_equal(mkdir(parent, 0700), 0);
	world_drain(&w, "files");
	assert_int_equal(world_status(&w, "files").delivered, 4);
}

static int count_lines_of_person(const char *folder, const char *profile_id);

static void test_records_name_the_person_as_she_is_now(void **state)
{
	(void)state;
	struct people_reader *reader;
	struct profile profile;
	uint64_t applied;
	char id[FRAGMENT_ID_TEXT_SIZE], directory[400];
	(void)snprintf(directory, sizeof directory, "%s/out", w.dir.path);
	w.config.plugin_path = STR(PLUGINS);
	w.nodes[0][0] = (struct node){.kind = NODE_SCALAR, .key = STR("directory"), .text = str_from(directory)};
	w.options[0] = (struct node){.kind = NODE_MAP, .children = w.nodes[0], .child_count = 1};
	w.destinations[0] =
	    (struct conf_instance){.name = STR("files"), .plugin = STR("ndjson"), .options = &w.options[0], .line = 1};
	w.config.destination_count = 1;
	world_start(&w);
	world_send_many(&w, 6); /* two of each of three users */
	world_drain(&w, "files");
	assert_int_equal(people_reader_new(w.people, &reader), OK);
	assert_int_equal(people_read_begin(reader, &applied), OK);
	assert_int_equal(people_get(reader, STR("user_id:u1"), 0, 1, &w.arena, &profile), OK);
	people_read_end(reader);
	people_reader_free(reader);
	fragment_id_format(&profile.id, id);
	assert_int_equal(count_lines_of_person(directory, id), 2);
}

static struct {
	const char *word;
	int count;
} counting;

static int count_in_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	char line[4096];
	(void)info;
	(void)where;
	FILE *file = kind == FTW_F ? fopen(path, "r") : NULL;
	while (file && fgets(line, sizeof line, file)) counting.count += strstr(line, counting.word) != NULL;
	if (file) (void)fclose(file);
	return 0;
}

static int count_lines_of_person(const char *folder, const char *profile_id)
{
	char word[80];
	(void)snprintf(word, sizeof word, "\"profileId\":\"%s\"", profile_id);
	counting.word = word;
	counting.count = 0;
	(void)nftw(folder, count_in_file, 8, FTW_PHYS);
	return counting.count;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_applied_records_arrive_once_in_order),
	    TEST(test_nothing_ahead_of_the_fold),
	    TEST(test_the_cursor_survives_a_restart),
	    TEST(test_at_least_once_with_the_same_delivery_id),
	    TEST(test_what_consent_kept_back_is_counted_for_ever),
	    TEST(test_retries_lose_nothing),
	    TEST(test_only_the_refused_persons_records_come_again),
	    TEST(test_drops_are_counted_and_passed),
	    TEST(test_pending_answers_from_another_thread),
	    TEST(test_a_pending_batch_without_answer_comes_again),
	    TEST(test_an_expired_gap_is_counted_and_visible),
	    TEST(test_a_cursor_ahead_of_the_journal_is_refused),
	    TEST(test_another_epoch_is_refused),
	    TEST(test_bad_options_are_refused_at_start),
	    TEST(test_reload_adds_removes_and_recreates),
	    TEST(test_a_plugin_that_cannot_be_created_is_tried_again),
	    TEST(test_records_name_the_person_as_she_is_now),
	    TEST(test_a_dead_destination_delays_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
