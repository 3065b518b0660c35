/* Order per person while records are asked for again, while the other side is down, across merges, restarts and several handovers at a time. */
#include "deliver_world.h"

#include "cdpd/v1/store.pb-c.h"
#include "deliver/snapshot.h"
#include "profile/erase.h"

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

static void wait_parked(const char *name, uint64_t count)
{
	for (int i = 0; i < 10000; i++) {
		const struct destination_status status = world_status(&w, name);
		if (status.state.parked == count && status.lag == 0) return;
		sleep_ms(2);
	}
	fail_msg("%llu are parked, not %llu", (unsigned long long)world_status(&w, name).state.parked,
		 (unsigned long long)count);
}

/* The line, from 1, at which a message was taken last; 0: never. */
static unsigned line_of(const char *name, uint64_t id)
{
	char word[40];
	unsigned at = 0, line = 1;
	(void)snprintf(word, sizeof word, "m%llu ", (unsigned long long)id);
	for (const char *text = world_file(&w, name); *text; text = strchr(text, '\n') + 1, line++)
		if (strncmp(text, word, strlen(word)) == 0) at = line;
	return at;
}

/* Nobody's `count` messages from `from` on; each of w.users in turn. */
static void assert_in_order(const char *name, uint64_t from, uint64_t count)
{
	for (uint64_t id = from; id < from + count; id++) {
		assert_true(line_of(name, id) > 0);
		if (id >= from + w.users) assert_true(line_of(name, id) > line_of(name, id - w.users));
	}
}

static void one_refused_person_holds_up_nobody_else(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\n");
	world_start(&w);
	world_send_many(&w, 30);
	wait_parked("d", 10); /* those of u1 */
	for (uint64_t id = 0; id < 30; id++)
		if (id % 3 != 1) assert_int_equal(world_seen(&w, "d", id), 1);
	assert_false(world_status(&w, "d").is_failing);
	assert_int_equal(world_status(&w, "d").state.condition, DESTINATION_OK);
	world_send_many(&w, 30);
	wait_parked("d", 20);
	assert_int_equal(world_seen(&w, "d", 1), 0);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_in_order("d", 0, 60);
	assert_int_equal(world_status(&w, "d").delivered, 60);
	assert_true(world_status(&w, "d").retries > 0);
}

static void parked_records_outlive_restarts(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\nm2\n");
	world_start(&w);
	world_send_many(&w, 12);
	wait_parked("d", 8);
	world_stop(&w);
	world_send_many(&w, 12); /* while it is away */
	world_start(&w);
	wait_parked("d", 16);
	for (uint64_t id = 0; id < 24; id += 3) assert_int_equal(world_seen(&w, "d", id), 1);
	world_stop(&w);
	world_tell(&w, "d", ".later", NULL);
	world_start(&w);
	world_drain(&w, "d");
	assert_in_order("d", 0, 24);
}

/* The cursor is put back as a crash would leave it: behind records that are parked and such that were taken. */
static void a_cursor_behind_parked_records_meets_them_once(void **state)
{
	(void)state;
	struct cursor_row row;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\n");
	uint64_t first = people_applied(w.people);
	world_start(&w);
	world_send_many(&w, 12);
	wait_parked("d", 4);
	world_stop(&w);
	assert_int_equal(world_new(&w), OK);
	assert_int_equal(cursors_get(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &row), OK);
	row.next_seq = first;
	assert_int_equal(cursors_put(w.deliver->shared.cursors, STR("d"), STREAM_OF_EVENTS, &row), OK);
	world_stop(&w);
	world_start(&w);
	while (world_seen(&w, "d", 0) < 2) sleep_ms(1); /* it did go back */
	wait_parked("d", 4);
	assert_int_equal(world_seen(&w, "d", 1), 0);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_in_order("d", 0, 12);
	assert_int_equal(world_seen(&w, "d", 1), 1);
}

/* u1 has records parked and becomes one with u2: nothing newer of either overtakes them. */
static void after_a_merge_the_old_records_drain_first(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\n");
	world_start(&w);
	world_send_many(&w, 6);
	wait_parked("d", 2); /* m1, m4 */
	assert_int_equal(world_seen(&w, "d", 5), 1);
	world_merge(&w, "user_id:u1", "user_id:u2");
	world_send_many(&w, 6);
	wait_parked("d", 6); /* and m7, m8, m10, m11 */
	assert_int_equal(world_seen(&w, "d", 8), 0);
	assert_int_equal(world_seen(&w, "d", 9), 1); /* u0 goes on */
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	const uint64_t joined[] = {1, 4, 7, 8, 10, 11};
	for (size_t i = 1; i < COUNT_OF(joined); i++)
		assert_true(line_of("d", joined[i]) > line_of("d", joined[i - 1]));
}

static struct fragment_id profile_of(const char *ref)
{
	struct people_reader *reader;
	struct profile profile;
	uint64_t applied;
	assert_int_equal(people_reader_new(w.people, &reader), OK);
	assert_int_equal(people_read_begin(reader, &applied), OK);
	assert_int_equal(people_get(reader, str_from(ref), 0, 1, &w.arena, &profile), OK);
	people_read_end(reader);
	people_reader_free(reader);
	return profile.id;
}

static void wait_state_parked(const char *name, uint64_t count)
{
	for (int i = 0; i < 5000 && world_status(&w, name).state.parked != count; i++) sleep_ms(2);
	assert_int_equal(world_status(&w, name).state.parked, count);
}

/* Somebody becomes another while a record of hers is on its way, and those that are parked are looked up meanwhile. */
static void who_is_renamed_in_the_air_is_parked_by_her_new_name(void **state)
{
	(void)state;
	world_add(&w, "d", "hold");
	w.destinations[0].flow.batch_records = 1;
	w.destinations[0].flow.concurrency = 4;
	world_tell(&w, "d", ".later", "m0\n");
	world_tell(&w, "d", ".hold", "m1\nm2\n");
	assert_int_equal(world_new(&w), OK);
	w.deliver->shared.tuning.answer_us = 60 * US_PER_SECOND;
	w.deliver->shared.tuning.backoff_min_us = w.deliver->shared.tuning.parked_max_us = US_PER_DAY;
	world_send_many(&w, 3);
	struct fragment_id before = profile_of("user_id:u1");
	assert_int_equal(deliver_start(w.deliver), OK);
	wait_state_parked("d", 1);
	sleep_ms(100); /* m1 and m2 are with the plugin */
	world_merge(&w, "user_id:u1", "user_id:u2");
	struct fragment_id after = profile_of("user_id:u1");
	world_send_many(&w, 1); /* m3 stays behind m0 */
	wait_state_parked("d", 2);
	world_tell(&w, "d", ".later", memcmp(&before, &after, sizeof after) != 0 ? "m0\nm1\n" : "m0\nm2\n");
	world_tell(&w, "d", ".go", "");
	wait_parked("d", 3);
	world_send_many(&w, 2); /* hers, both */
	wait_parked("d", 5);
}

static void letters_go_however_much_is_under_way(void **state)
{
	uint64_t count;
	(void)state;
	world_add(&w, "d", "slow");
	w.destinations[0].flow.batch_records = 1;
	w.destinations[0].flow.concurrency = 4;
	w.users = 50;
	world_tell(&w, "d", ".refuse", "");
	world_start(&w);
	world_send_many(&w, 3);
	world_drain(&w, "d");
	world_tell(&w, "d", ".refuse", NULL);
	world_send_many(&w, 600);
	while (world_lines(&w, "d") < 20) sleep_ms(1);
	assert_int_equal(deliver_redrive(w.deliver, STR("d"), STREAM_OF_EVENTS, 0, &count), OK);
	assert_int_equal(count, 3);
	world_drain(&w, "d");
	while (!world_seen(&w, "d", 2)) sleep_ms(1);
	assert_true(line_of("d", 2) < line_of("d", 400));
}

/* Of whatever has the name: one that was changed begins anew, one that stays goes on, one that is gone does not fail. */
static void metrics_follow_a_reload(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_add(&w, "e", "ack");
	world_tell(&w, "d", ".down", "");
	world_tell(&w, "e", ".down", "");
	world_start(&w);
	world_send_many(&w, 3);
	while (!world_status(&w, "d").is_failing || !world_status(&w, "e").is_failing) sleep_ms(1);
	const struct destination *d = w.deliver->destinations, *e = d->next;
	struct metric *failing = d->failing, *failing_e = e->failing;
	assert_int_equal(metric_value(failing), 1);
	w.config.destination_count = 1;
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	assert_int_equal(metric_value(failing), 1);
	assert_int_equal(metric_value(failing_e), 0);
	world_tell(&w, "d", ".down", NULL);
	w.destinations[0].flow.batch_records = 7;
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	world_drain(&w, "d");
	assert_false(world_status(&w, "d").is_failing);
	assert_int_equal(metric_value(failing), 0);
}

static void erase(const char *ref)
{
	struct people_reader *reader;
	struct profile profile;
	uint64_t applied, seq;
	assert_int_equal(people_reader_new(w.people, &reader), OK);
	assert_int_equal(people_read_begin(reader, &applied), OK);
	assert_int_equal(people_get(reader, str_from(ref), 0, 1, &w.arena, &profile), OK);
	people_read_end(reader);
	people_reader_free(reader);
	const struct people_erasure erasure = {.fragments = &profile.id, .count = 1, .is_whole = true};
	assert_int_equal(journal_append_wait(w.journal, RECORD_MERGE, STR(""), &seq), OK);
	assert_int_equal(people_begin(w.people), OK);
	assert_int_equal(people_erase(w.people, &erasure, seq, clock_wall_us()), OK);
	assert_int_equal(people_commit(w.people, seq + 1, clock_wall_us()), OK);
	deliver_wake(w.deliver);
}

/* As a record of its own, which events are followed by. */
static void erase_told(const char *ref)
{
	static uint8_t bytes[400], receipt[RECEIPT_SIZE] = {0xee};
	struct fragment_id id = profile_of(ref);
	uint64_t seq;
	ProtobufCBinaryData ids[] = {{sizeof id.bytes, id.bytes}};
	Cdpd__V1__StoredErasure stored = CDPD__V1__STORED_ERASURE__INIT;
	stored.receipt_id = (ProtobufCBinaryData){sizeof receipt, receipt};
	stored.whole_profile = true;
	stored.n_fragment_ids = 1;
	stored.fragment_ids = ids;
	struct str payload = str_of(bytes, cdpd__v1__stored_erasure__pack(&stored, bytes));
	const struct people_erasure erasure = {.fragments = &id, .count = 1, .is_whole = true};
	assert_int_equal(journal_append_wait(w.journal, RECORD_ERASURE, payload, &seq), OK);
	assert_int_equal(people_begin(w.people), OK);
	assert_int_equal(people_erase(w.people, &erasure, seq, clock_wall_us()), OK);
	assert_int_equal(people_note_act(w.people, seq), OK);
	assert_int_equal(people_commit(w.people, seq + 1, clock_wall_us()), OK);
	deliver_wake(w.deliver);
}

/* What the other side still takes of her would be there for ever. */
static void an_erasure_waits_for_what_is_on_its_way(void **state)
{
	(void)state;
	world_add(&w, "d", "hold");
	w.destinations[0].flow.batch_records = 1;
	w.destinations[0].flow.concurrency = 4;
	world_tell(&w, "d", ".hold", "m1\n");
	assert_int_equal(world_new(&w), OK);
	w.deliver->shared.tuning.answer_us = 60 * US_PER_SECOND;
	world_send_many(&w, 3);
	assert_int_equal(deliver_start(w.deliver), OK);
	while (world_lines(&w, "d") < 2) sleep_ms(1);
	erase_told("user_id:u1");
	world_send_many(&w, 1);
	sleep_ms(200);
	assert_int_equal(world_lines(&w, "d"), 2);
	world_tell(&w, "d", ".go", "");
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 4);
	assert_non_null(strstr(world_file(&w, "d"), "\nee00"));
	assert_int_equal(line_of("d", 3), 4);
}

static void what_is_parked_of_somebody_erased_never_comes(void **state)
{
	static const _Atomic bool never = false;
	uint64_t count;
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\nm2\n");
	world_start(&w);
	world_send_many(&w, 12);
	wait_parked("d", 8);
	unsigned before = world_seen(&w, "d", 4);
	erase("user_id:u1");
	wait_parked("d", 4); /* withheld when they are due, which takes them out */
	assert_int_equal(world_seen(&w, "d", 1), 0);
	assert_int_equal(world_seen(&w, "d", 4), before);

	world_stop(&w); /* or by the sweep, while nobody looks */
	world_start(&w);
	wait_parked("d", 4);
	assert_int_equal(deliver_pause(w.deliver, STR("d"), true), OK);
	erase("user_id:u2");
	assert_int_equal(deliver_erase_letters(w.deliver, &never, &count), OK);
	world_stop(&w);
	world_start(&w);
	assert_int_equal(world_status(&w, "d").state.parked, 0);
	assert_int_equal(deliver_pause(w.deliver, STR("d"), false), OK);
	world_send_many(&w, 3);
	world_drain(&w, "d");
	assert_int_equal(world_seen(&w, "d", 2), 0);
	assert_int_equal(world_seen(&w, "d", 12), 1);
}

static void attempts_are_bounded_when_that_is_asked(void **state)
{
	(void)state;
	struct letter_row *rows;
	size_t count;
	world_add(&w, "d", "ack");
	w.destinations[0].flow.max_attempts = 3;
	world_tell(&w, "d", ".later", "m1\n");
	world_start(&w);
	world_send_many(&w, 12);
	world_drain(&w, "d");
	/* What follows of u1 came with the first batch, and once more behind it. */
	for (uint64_t id = 0; id < 12; id++)
		assert_int_equal(world_seen(&w, "d", id), id == 1 ? 0 : id % 3 == 1 ? 2 : 1);
	assert_int_equal(deliver_letters(w.deliver, STR("d"), NULL, 10, &w.arena, &rows, &count), OK);
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].letter.cause, LETTER_GIVEN_UP);
	assert_int_equal(rows[0].letter.attempts, 3);
	assert_string_equal(rows[0].letter.reason, "later");
	assert_int_equal(world_status(&w, "d").dropped, 1);

	/* Handed over again it is parked like any other, and taken when it can be. */
	w.destinations[0].flow.max_attempts = 0;
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	uint64_t queued;
	assert_int_equal(deliver_redrive(w.deliver, STR("d"), STREAM_OF_EVENTS, 0, &queued), OK);
	assert_int_equal(queued, 1);
	wait_parked("d", 1);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_int_equal(world_seen(&w, "d", 1), 1);
	assert_int_equal(world_status(&w, "d").letters, 0);
}

/* Down for so long that its whole backoff is used: nothing is parked, nothing is handed over while it is open, and it comes back whole. */
static void when_the_other_side_is_down_nothing_is_parked(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".down", "");
	world_start(&w);
	world_send_many(&w, 300);
	while (world_status(&w, "d").retries < 350) sleep_ms(1); /* all of it twice, then single probes */
	struct destination_status status = world_status(&w, "d");
	assert_int_equal(status.state.parked, 0);
	assert_int_equal(status.lag, 300);
	assert_true(status.is_failing);
	assert_true(status.state.since_us > 0);
	assert_true(status.state.condition == DESTINATION_WAITING || status.state.condition == DESTINATION_TRYING);
	while (world_status(&w, "d").retries < 620) sleep_ms(1);
	uint64_t before = world_status(&w, "d").retries;
	while (world_status(&w, "d").retries < before + 5) sleep_ms(1);
	assert_true(world_status(&w, "d").retries < before + 300); /* probes are small */
	world_tell(&w, "d", ".down", NULL);
	world_drain(&w, "d");
	assert_in_order("d", 0, 300);
	assert_int_equal(world_lines(&w, "d"), 300);
	assert_int_equal(world_status(&w, "d").state.condition, DESTINATION_OK);
	assert_false(world_status(&w, "d").is_failing);
}

/* Whoever refuses each record by its name is down too: only a few are parked. */
static void refusing_everybody_is_being_down(void **state)
{
	(void)state;
	char text[4096] = "";
	w.users = 200;
	for (size_t i = 0; i < 200; i++) (void)snprintf(text + strlen(text), 8, "m%zu\n", i);
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", text);
	world_start(&w);
	world_send_many(&w, 200);
	while (!world_status(&w, "d").is_failing) sleep_ms(1);
	while (world_status(&w, "d").retries < 400) sleep_ms(1);
	assert_true(world_status(&w, "d").state.parked <= 2 * BREAKER_SUSPECT + BREAKER_PARKED);
	assert_true(world_status(&w, "d").lag > 0);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_in_order("d", 0, 200);
	assert_int_equal(world_lines(&w, "d"), 200);
}

/* A few persons, all of whom are refused by name: they are all parked, and it is told that nobody's records get through. Somebody new is tried at
 * once all the same. */
static void when_all_there_are_are_parked_it_is_told(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m0\nm1\nm2\n");
	world_start(&w);
	world_send_many(&w, 3);
	while (!world_status(&w, "d").is_failing) sleep_ms(1);
	assert_int_equal(world_status(&w, "d").state.parked, 3);
	world_send_many(&w, 3);
	wait_parked("d", 6);
	w.users = 100;
	world_send_many(&w, 1); /* m6 of u6 */
	while (world_seen(&w, "d", 6) == 0) sleep_ms(1);
	while (world_status(&w, "d").is_failing) sleep_ms(1);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_int_equal(world_status(&w, "d").delivered, 7);
}

static void a_batch_waits_to_be_filled(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	w.destinations[0].flow.batch_records = 10;
	w.destinations[0].flow.batch_age_us = 3600 * US_PER_SECOND;
	world_start(&w);
	world_send_many(&w, 9);
	sleep_ms(50);
	assert_int_equal(world_lines(&w, "d"), 0);
	world_send_many(&w, 1);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 10);
	world_send_many(&w, 3);
	w.destinations[0].flow.batch_age_us = 20 * US_PER_MS;
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	world_drain(&w, "d"); /* by age alone */
	assert_int_equal(world_lines(&w, "d"), 13);
}

static void a_rate_is_kept(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	w.destinations[0].flow.records_per_second = 100;
	world_send_many(&w, 250);
	int64_t before = clock_mono_us();
	world_start(&w);
	world_drain(&w, "d");
	/* The first hundred or less may go at once. */
	assert_true(clock_mono_us() - before >= 1400 * US_PER_MS);
	assert_in_order("d", 0, 250);
}

static void what_waits_too_long_is_given_up_visibly(void **state)
{
	(void)state;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".down", "");
	world_start(&w);
	world_send_many(&w, 5);
	while (!world_status(&w, "d").is_failing) sleep_ms(1);
	world_stop(&w);
	sleep_ms(300);
	w.destinations[0].flow.max_hold_us = 250 * US_PER_MS;
	world_tell(&w, "d", ".down", NULL);
	world_start(&w);
	world_drain(&w, "d");
	struct destination_status status = world_status(&w, "d");
	assert_int_equal(status.expired_records + status.delivered, 5);
	assert_int_equal(status.expired_records, 5);
	w.destinations[0].flow.max_hold_us = 3600 * US_PER_SECOND;
	assert_int_equal(deliver_reload(w.deliver, &w.config), OK);
	world_send_many(&w, 5);
	world_drain(&w, "d");
	assert_int_equal(world_lines(&w, "d"), 5);
}

static void a_replay_brings_parked_records_in_their_place(void **state)
{
	(void)state;
	uint64_t from, first;
	world_add(&w, "d", "ack");
	world_tell(&w, "d", ".later", "m1\n");
	first = people_applied(w.people);
	world_start(&w);
	world_send_many(&w, 9);
	wait_parked("d", 3);
	assert_int_equal(deliver_replay(w.deliver, STR("d"), first, &from), OK);
	while (world_seen(&w, "d", 8) < 2) sleep_ms(1);
	wait_parked("d", 3);
	world_tell(&w, "d", ".later", NULL);
	world_drain(&w, "d");
	assert_in_order("d", 0, 9);
	for (uint64_t id = 0; id < 9; id++)
		if (id % 3 != 1) assert_int_equal(world_seen(&w, "d", id), 2);
}

static void a_test_event_shows_what_the_plugin_says(void **state)
{
	(void)state;
	struct rehearsal_result result;
	world_add(&w, "d", "ack");
	world_add(&w, "late", "pending");
	world_start(&w);
	assert_int_equal(deliver_rehearse(w.deliver, STR("nobody"), US_PER_SECOND, &w.arena, &result), ERR_NOT_FOUND);
	assert_int_equal(deliver_rehearse(w.deliver, STR("d"), 20 * US_PER_SECOND, &w.arena, &result), OK);
	assert_string_equal(result.verdict, "ack");
	assert_non_null(memmem(result.json.ptr, result.json.len, "\"test\":true", 11));
	assert_int_equal(deliver_rehearse(w.deliver, STR("late"), 20 * US_PER_SECOND, &w.arena, &result), OK);
	assert_string_equal(result.verdict, "ack");
	world_tell(&w, "d", ".down", "");
	assert_int_equal(deliver_rehearse(w.deliver, STR("d"), 20 * US_PER_SECOND, &w.arena, &result), OK);
	assert_string_equal(result.verdict, "retry");
	assert_true(str_eq(result.reason, STR("the other side is down")));
	assert_int_equal(world_status(&w, "d").delivered, 0);
	assert_false(world_status(&w, "d").is_failing);
}

/* ── a model ─────────────────────────────────────────────────────────────── */

#define MODEL_USERS  7
#define MODEL_EVENTS 600

/* What the plugin says it was handed: each message was taken or refused for ever at last; of each person those that were taken stand, by the last
 * time, in the order of the events; nobody was with the plugin twice at a time. */
static void check_model(const char *name, uint64_t events)
{
	static uint64_t last[MODEL_EVENTS];
	static bool was_taken[MODEL_EVENTS];
	uint64_t line = 1;
	memset(last, 0, sizeof last);
	memset(was_taken, 0, sizeof was_taken);
	for (const char *text = world_file(&w, name); *text; text = strchr(text, '\n') + 1, line++) {
		char word[16], message[40];
		assert_int_equal(sscanf(text, "%15s %39s", word, message), 2);
		assert_string_not_equal(word, "OVERLAP");
		uint64_t id = strtoull(message + 1, NULL, 10);
		assert_true(id < events);
		if (*word == 'A' || *word == 'D') {
			last[id] = line;
			was_taken[id] = *word == 'A';
		}
	}
	for (uint64_t id = 0; id < events; id++) {
		assert_true(last[id] > 0);
		for (uint64_t before = id % MODEL_USERS; before < id; before += MODEL_USERS)
			if (was_taken[before] && was_taken[id] && last[before] > last[id])
				fail_msg("%s: m%llu was taken after m%llu", name, (unsigned long long)before,
					 (unsigned long long)id);
	}
}

static void whatever_it_answers_order_holds_and_nothing_is_lost(void **state)
{
	const char *given = getenv("CDPD_SEED");
	(void)state;
	for (unsigned round = 0; round < 4; round++) {
		static const char *const names[] = {"d0", "d1", "d2", "d3"};
		static char seeds[4][32];
		const char *name = names[round], *seed = seeds[round];
		(void)snprintf(seeds[round], sizeof seeds[round], "%s%u", given ? given : "seed", round);
		print_message("seed %s\n", seed);
		world_add(&w, name, seed);
		struct conf_instance *conf = &w.destinations[w.config.destination_count - 1];
		conf->plugin = STR("chaos");
		conf->flow.batch_records = 1 + 5 * round;
		conf->flow.concurrency = 1 + 2 * round;
	}
	w.users = MODEL_USERS;
	world_start(&w);
	for (uint64_t sent = 0; sent < MODEL_EVENTS; sent += 20) {
		world_send_many(&w, 20);
		sleep_ms(3);
		if (sent % 200 == 180) { /* as an operator would: in the middle of everything */
			world_stop(&w);
			world_start(&w);
		}
	}
	sleep_ms(200);
	for (unsigned round = 0; round < 4; round++) world_tell(&w, w.destinations[round].name.ptr, ".calm", "");
	for (unsigned round = 0; round < 4; round++) {
		const char *name = w.destinations[round].name.ptr;
		world_drain(&w, name);
		assert_true(world_status(&w, name).retries > 0);
		check_model(name, MODEL_EVENTS);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(one_refused_person_holds_up_nobody_else),
	    TEST(parked_records_outlive_restarts),
	    TEST(a_cursor_behind_parked_records_meets_them_once),
	    TEST(after_a_merge_the_old_records_drain_first),
	    TEST(who_is_renamed_in_the_air_is_parked_by_her_new_name),
	    TEST(letters_go_however_much_is_under_way),
	    TEST(metrics_follow_a_reload),
	    TEST(an_erasure_waits_for_what_is_on_its_way),
	    TEST(what_is_parked_of_somebody_erased_never_comes),
	    TEST(attempts_are_bounded_when_that_is_asked),
	    TEST(when_the_other_side_is_down_nothing_is_parked),
	    TEST(refusing_everybody_is_being_down),
	    TEST(when_all_there_are_are_parked_it_is_told),
	    TEST(a_batch_waits_to_be_filled),
	    TEST(a_rate_is_kept),
	    TEST(what_waits_too_long_is_given_up_visibly),
	    TEST(a_replay_brings_parked_records_in_their_place),
	    TEST(a_test_event_shows_what_the_plugin_says),
	    TEST(whatever_it_answers_order_holds_and_nothing_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
