#include "deliver_world.h"

static struct world w;
static struct letter_changes changes;

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
	letter_changes_fini(&changes);
	world_close(&w);
	world_fini(&w);
	return 0;
}

static void write_changes(struct str name, uint64_t *count, uint64_t *lost)
{
	struct people_reader *reader;
	struct store_txn *txn;
	struct cursors *cursors = w.deliver->shared.cursors;
	assert_int_equal(people_reader_new(w.people, &reader), OK);
	assert_int_equal(cursors_begin(cursors, &txn), OK);
	assert_int_equal(letters_write(cursors, txn, reader, name, &changes, count, lost), OK);
	assert_int_equal(cursors_commit(cursors, txn), OK);
	people_reader_free(reader);
	letter_changes_clear(&changes);
}

static void put_letters(struct str name, uint64_t from, uint64_t to, uint64_t *lost)
{
	static const uint8_t nobody[16] = {1};
	uint64_t count, more;
	*lost = 0;
	while (from < to) {
		for (size_t i = 0; from < to && i < 1000; i++, from++) {
			const struct letter letter =
			    letter_make(STREAM_OF_EVENTS, from, from, LETTER_DROPPED, nobody, 3, STR("not this one"));
			assert_int_equal(letter_changes_put(&changes, &letter), OK);
		}
		write_changes(name, &count, &more);
		*lost += more;
	}
}

static size_t list(struct str name, const struct letter_place *after, size_t limit, struct letter_row **rows)
{
	size_t count;
	assert_int_equal(deliver_letters(w.deliver, name, after, limit, &w.arena, rows, &count), OK);
	return count;
}

static void the_oldest_letters_make_room(void **state)
{
	(void)state;
	uint64_t lost, count, queued;
	struct letter_row *rows;
	assert_int_equal(world_new(&w), OK);
	put_letters(STR("d"), 1, LETTERS_MAX + 6, &lost);
	assert_int_equal(lost, 5);
	assert_int_equal(letters_count(w.deliver->shared.cursors, STR("d"), &count, &queued), OK);
	assert_int_equal(count, LETTERS_MAX);
	assert_int_equal(queued, 0);
	assert_int_equal(list(STR("d"), NULL, 1, &rows), 1);
	assert_int_equal(rows[0].letter.seq, 6);
	assert_int_equal(rows[0].letter.attempts, 3);
	assert_string_equal(rows[0].letter.reason, "not this one");
}

/* Names of which one begins with the other must not see each other's. */
static void letters_are_listed_by_destination(void **state)
{
	(void)state;
	uint64_t lost, seqs[10];
	size_t count;
	struct letter_row *rows;
	assert_int_equal(world_new(&w), OK);
	put_letters(STR("a"), 1, 4, &lost);
	put_letters(STR("ab"), 10, 13, &lost);
	put_letters(STR("b"), 2, 3, &lost);
	assert_int_equal(list(STR("a"), NULL, 10, &rows), 3);
	assert_int_equal(list(STR("ab"), NULL, 10, &rows), 3);
	assert_int_equal(rows[0].letter.seq, 10);
	assert_int_equal(list(STR(""), NULL, 10, &rows), 7);
	const struct letter_place place = {STR("ab"), STREAM_OF_EVENTS, 11};
	assert_int_equal(list(STR(""), &place, 10, &rows), 2);
	assert_int_equal(rows[0].letter.seq, 12);
	assert_true(str_eq(rows[1].destination, STR("b")));

	uint64_t met;
	struct cursors *cursors = w.deliver->shared.cursors;
	assert_int_equal(letters_act(cursors, STR("a"), STREAM_OF_EVENTS, 2, LETTER_REDRIVE, &met), OK);
	assert_int_equal(met, 1);
	assert_int_equal(letters_act(cursors, STR("a"), STREAM_OF_EVENTS, 99, LETTER_REDRIVE, &met), OK);
	assert_int_equal(met, 0);
	assert_int_equal(letters_queued(cursors, STR("a"), STREAM_OF_EVENTS, 10, seqs, &count), OK);
	assert_int_equal(count, 1);
	assert_int_equal(seqs[0], 2);
	assert_int_equal(letters_act(cursors, STR("a"), STREAM_OF_EVENTS, 0, LETTER_DISCARD, &met), OK);
	assert_int_equal(met, 3);
	assert_int_equal(list(STR(""), NULL, 10, &rows), 4);
}

/* Rows of destinations that know nothing of filters are as they always were. */
static void cursor_rows_of_all_formats(void **state)
{
	(void)state;
	const struct cursor_row rows[] = {
	    {.next_seq = 1, .delivered = 2, .last_success_us = 3},
	    {.next_seq = 4, .delivered = 5, .last_success_us = 6, .denied = 7},
	    {.next_seq = 8, .delivered = 9, .denied = 10, .filtered = 11, .unmapped = 12, .letters_lost = 13},
	    {.next_seq = 8, .letters_lost = 13},
	    {.next_seq = 9, .owes_repair = 1, .repairs = 14}};
	struct cursor_row row;
	assert_int_equal(world_new(&w), OK);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_int_equal(cursors_put(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &rows[i]), OK);
		assert_int_equal(cursors_get(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &row), OK);
		assert_memory_equal(&row, &rows[i], sizeof row);
	}
}

static void a_newer_order_outlives_the_older_ones_end(void **state)
{
	(void)state;
	struct order order;
	struct cursor_row row = {.next_seq = 7};
	assert_int_equal(world_new(&w), OK);
	struct cursors *cursors = w.deliver->shared.cursors;
	assert_int_equal(order_get(cursors, STR("d"), &order), OK);
	assert_false(order.is_paused || order.has_seek);
	assert_int_equal(order_seek(cursors, STR("d"), 7, &order), OK);
	assert_int_equal(order_pause(cursors, STR("d"), true, &order), OK);
	assert_true(order.is_paused && order.has_seek);
	assert_int_equal(order_seek(cursors, STR("d"), 3, &order), OK); /* while the first is carried out */
	assert_int_equal(order_settle(cursors, STR("d"), 7, &row), OK);
	assert_int_equal(order_get(cursors, STR("d"), &order), OK);
	assert_true(order.is_paused && order.has_seek);
	assert_int_equal(order.seek_seq, 3);
	assert_int_equal(order_settle(cursors, STR("d"), 3, &row), OK);
	assert_int_equal(order_get(cursors, STR("d"), &order), OK);
	assert_true(order.is_paused && !order.has_seek);
}

/* As after a kill between the order and its end. */
static void an_order_from_before_the_start_is_carried_out(void **state)
{
	(void)state;
	struct order order;
	world_add(&w, "d", "ack");
	world_start(&w);
	uint64_t first = people_applied(w.people);
	world_send_many(&w, 5);
	world_drain(&w, "d");
	world_stop(&w);
	assert_int_equal(world_new(&w), OK);
	assert_int_equal(order_seek(w.deliver->shared.cursors, STR("d"), first + 3, &order), OK);
	world_stop(&w);
	world_start(&w);
	for (int i = 0; i < 10000 && world_lines(&w, "d") < 7; i++) sleep_ms(2);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 7);
	assert_int_equal(world_seen(&w, "d", 3), 2);
	assert_int_equal(world_seen(&w, "d", 4), 2);
}

static void orders_to_nobody_and_ahead_are_refused(void **state)
{
	(void)state;
	uint64_t from, count;
	world_add(&w, "d", "ack");
	world_start(&w);
	world_send_many(&w, 5);
	world_drain(&w, "d");
	assert_int_equal(deliver_pause(w.deliver, STR("nobody"), true), ERR_NOT_FOUND);
	assert_int_equal(deliver_replay(w.deliver, STR("nobody"), 1, &from), ERR_NOT_FOUND);
	assert_int_equal(deliver_redrive(w.deliver, STR("nobody"), STREAM_OF_EVENTS, 0, &count), ERR_NOT_FOUND);
	assert_int_equal(deliver_replay(w.deliver, STR("d"), 1000000, &from), ERR_INVALID);
	assert_int_equal(deliver_pause(w.deliver, STR("d"), true), OK);
	world_send_many(&w, 5);
	assert_true(world_status(&w, "d").is_paused);
	assert_int_equal(world_lines(&w, "d"), 5);
	assert_int_equal(deliver_pause(w.deliver, STR("d"), false), OK);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 10);
}

static void the_first_record_that_is_not_older(void **state)
{
	(void)state;
	uint64_t seq;
	struct record record;
	assert_int_equal(world_new(&w), OK);
	world_send_many(&w, 20);
	for (uint64_t at = journal_first_seq(w.journal); at < journal_next_seq(w.journal); at++) {
		assert_int_equal(journal_get(w.journal, at, &w.arena, &record), OK);
		assert_int_equal(deliver_seq_at(w.deliver, record.t, &seq), OK);
		assert_true(seq <= at);
		assert_int_equal(journal_get(w.journal, seq, &w.arena, &record), OK);
		assert_int_equal(deliver_seq_at(w.deliver, record.t + 1, &seq), OK);
		assert_true(seq > at || seq == journal_next_seq(w.journal));
	}
	assert_int_equal(deliver_seq_at(w.deliver, 0, &seq), OK);
	assert_int_equal(seq, journal_first_seq(w.journal));
	assert_int_equal(deliver_seq_at(w.deliver, INT64_MAX, &seq), OK);
	assert_int_equal(seq, journal_next_seq(w.journal));
}

/* The environment is written anew while destinations and readers use it. */
static void nothing_is_lost_while_it_is_compacted(void **state)
{
	(void)state;
	static const _Atomic bool stop = false;
	uint64_t lost;
	struct letter_row *rows;
	world_add(&w, "d", "ack");
	world_start(&w);
	put_letters(STR("x"), 1, 500, &lost);
	for (int i = 0; i < 5; i++) {
		world_send_many(&w, 50);
		assert_int_equal(cursors_compact(w.deliver->shared.cursors, &stop), OK);
		assert_int_equal(list(STR("x"), NULL, 1000, &rows), 499);
	}
	world_drain(&w, "d");
	world_stop(&w);
	world_start(&w);
	world_send_many(&w, 1);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 251);
	assert_int_equal(world_status(&w, "d").delivered, 251);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_oldest_letters_make_room),
	    TEST(letters_are_listed_by_destination),
	    TEST(cursor_rows_of_all_formats),
	    TEST(a_newer_order_outlives_the_older_ones_end),
	    TEST(an_order_from_before_the_start_is_carried_out),
	    TEST(orders_to_nobody_and_ahead_are_refused),
	    TEST(the_first_record_that_is_not_older),
	    TEST(nothing_is_lost_while_it_is_compacted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
