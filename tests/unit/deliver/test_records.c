/* Destinations that take profiles: what was trimmed before they took it, cursors ahead of the feed, where they go on. */
#include "deliver/snapshot.h"
#include "deliver/stream_feed.h"
#include "deliver_world.h"
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

static void add_profiles(const char *name, uint32_t records)
{
	world_add(&w, name, "ack");
	w.destinations[w.config.destination_count - 1].records = records;
}

static void trim_all_changes(void)
{
	assert_int_equal(people_begin(w.people), OK);
	assert_int_equal(people_trim(w.people, 0, INT64_MAX, 100000), OK);
	assert_int_equal(people_commit(w.people, people_applied(w.people), people_applied_t(w.people)), OK);
}

static void wait_quiet(const char *name)
{
	for (int i = 0; i < 10000; i++) {
		struct destination_status status = world_status(&w, name);
		if (status.lag == 0 && status.snapshot < 0) return;
		sleep_ms(2);
	}
	fail_msg("destination %s did not catch up", name);
}

/* Delivery ids of rows of snapshots end in "-<where it began>". */
static unsigned count_rows(const char *name, bool of_snapshots)
{
	unsigned count = 0;
	for (const char *line = world_file(&w, name); *line; line = strchr(line, '\n') + 1) {
		const char *id = strchr(line, ' ') + 1;
		size_t len = strcspn(id, " ");
		count += (len > 28) == of_snapshots;
	}
	return count;
}

static void a_new_one_takes_everybody_and_then_the_changes(void **state)
{
	(void)state;
	world_send_many(&w, 9); /* three people */
	add_profiles("d", CONF_RECORD_PROFILES);
	world_start(&w);
	wait_quiet("d");
	assert_int_equal(count_rows("d", true), 3);
	assert_int_equal(count_rows("d", false), 0);
	world_stop(&w);
	world_start(&w);
	wait_quiet("d");
	assert_int_equal(world_lines(&w, "d"), 3);
}

static void erase(struct str ref)
{
	struct people_reader *reader;
	struct profile profile;
	uint64_t applied;
	assert_int_equal(people_reader_new(w.people, &reader), OK);
	assert_int_equal(people_read_begin(reader, &applied), OK);
	assert_int_equal(people_get(reader, ref, 0, 1, &w.arena, &profile), OK);
	people_read_end(reader);
	people_reader_free(reader);
	const struct people_erasure erasure = {.receipt = {1}, .fragments = &profile.id, .count = 1, .is_whole = true};
	assert_int_equal(people_begin(w.people), OK);
	assert_int_equal(people_erase(w.people, &erasure, people_applied(w.people), clock_wall_us()), OK);
	assert_int_equal(people_commit(w.people, people_applied(w.people), people_applied_t(w.people)), OK);
}

static void who_expired_is_told_everybody_anew_and_what_is_gone(void **state)
{
	(void)state;
	add_profiles("d", CONF_RECORD_PROFILES);
	world_start(&w);
	wait_quiet("d");
	world_send_many(&w, 3);
	wait_quiet("d");
	assert_int_equal(world_lines(&w, "d"), 3);
	world_stop(&w);

	/* While it is away: somebody is erased, others come, and the feed is trimmed. */
	erase(STR("user_id:u1"));
	uint64_t missed = people_last_change(w.people);
	trim_all_changes();
	assert_int_equal(people_trimmed_change(w.people), missed);
	world_start(&w);
	for (int i = 0; i < 10000 && count_rows("d", true) < 4; i++) sleep_ms(2);
	assert_int_equal(count_rows("d", true), 4); /* two people, and of one a notice and that she is no more */
	wait_quiet("d");
	assert_true(world_status(&w, "d").expired_records > 0);
}

static void define_anew(void)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	assert_int_equal(definitions_write(&w.config, &text), OK);
	assert_int_equal(people_begin(w.people), OK);
	assert_int_equal(people_define(w.people, buf_str(&text), 1), OK);
	assert_int_equal(people_commit(w.people, people_applied(w.people), 1), OK);
	buf_fini(&text);
}

static void gate_by_a_purpose(void)
{
	static struct str gates[] = {{"d", 1}};
	static struct conf_purpose purposes[] = {
	    {.default_ = CONSENT_DEFAULT_GRANTED, .gates = gates, .gate_count = 1}};
	purposes[0].name = STR("ads");
	w.config.purposes = purposes;
	w.config.purpose_count = 1;
	define_anew();
}

static unsigned count_notices(void)
{
	unsigned notices = 0;
	for (const char *line = world_file(&w, "d"); *line; line = strchr(line, '\n') + 1) notices += *line != ' ';
	return notices;
}

/* Consent may have gone while nobody could be told. */
static void who_expired_hears_of_withdrawals_too(void **state)
{
	(void)state;
	add_profiles("d", CONF_RECORD_PROFILES);
	gate_by_a_purpose();
	world_start(&w);
	wait_quiet("d");
	world_send_many(&w, 3);
	wait_quiet("d");
	assert_int_equal(world_lines(&w, "d"), 3);
	world_stop(&w);
	(void)world_send(&w, "{\"purpose\":\"ads\",\"state\":\"withdrawn\"}");
	world_fold(&w);
	trim_all_changes();
	world_start(&w);
	for (int i = 0; i < 10000 && world_lines(&w, "d") < 6; i++) sleep_ms(2);
	wait_quiet("d");
	assert_int_equal(count_notices(), 1);
	assert_int_equal(world_lines(&w, "d"), 3 + 2 + 1);
	assert_int_equal(world_status(&w, "d").denied, 1);
}

#define MANY_PURPOSES 40

/* However many there are, and whatever of a person fits into one window. */
static void who_expired_hears_of_every_purpose(void **state)
{
	(void)state;
	static struct str gates[] = {{"d", 1}};
	static struct conf_purpose purposes[MANY_PURPOSES];
	static char names[MANY_PURPOSES][16], text[80];
	w.users = 30;
	for (unsigned i = 0; i < MANY_PURPOSES; i++) {
		(void)snprintf(names[i], sizeof names[i], "purpose%02u", i);
		purposes[i] = (struct conf_purpose){
		    .name = str_from(names[i]), .default_ = CONSENT_DEFAULT_GRANTED, .gates = gates, .gate_count = 1};
	}
	w.config.purposes = purposes;
	w.config.purpose_count = MANY_PURPOSES;
	add_profiles("d", CONF_RECORD_CHANGES);
	define_anew();
	world_start(&w);
	world_send_many(&w, w.users);
	wait_quiet("d");
	assert_int_equal(count_notices(), 0);
	world_stop(&w);
	for (unsigned i = 0; i < MANY_PURPOSES; i++) {
		(void)snprintf(text, sizeof text, "{\"purpose\":\"%s\",\"state\":\"withdrawn\"}", names[i]);
		for (unsigned k = 0; k < w.users; k++) (void)world_send(&w, text);
	}
	world_fold(&w);
	trim_all_changes();
	world_start(&w);
	for (int i = 0; i < 10000 && count_notices() < MANY_PURPOSES * w.users; i++) sleep_ms(2);
	wait_quiet("d");
	assert_int_equal(count_notices(), MANY_PURPOSES * w.users);
}

/* … and to who keeps changes alone; nobody else is told anew. */
static void who_missed_changes_hears_of_erasures_and_withdrawals(void **state)
{
	(void)state;
	add_profiles("d", CONF_RECORD_CHANGES);
	gate_by_a_purpose();
	world_start(&w);
	wait_quiet("d");
	world_send_many(&w, 3);
	wait_quiet("d");
	unsigned before = world_lines(&w, "d");
	assert_int_equal(count_notices(), 0);
	world_stop(&w);
	(void)world_send(&w, "{\"purpose\":\"ads\",\"state\":\"withdrawn\"}");
	world_fold(&w);
	erase(STR("user_id:u1"));
	trim_all_changes();
	world_start(&w);
	for (int i = 0; i < 10000 && count_notices() < 2; i++) sleep_ms(2);
	wait_quiet("d");
	assert_int_equal(count_notices(), 2);
	assert_int_equal(world_lines(&w, "d"), before + 2);
	assert_true(world_status(&w, "d").expired_records > 0);
}

/* What was told by an earlier repair comes again: whoever knows delivery ids must not take it for a repetition. */
static unsigned count_notices_by_id(void)
{
	unsigned count = 0;
	const char *text = world_file(&w, "d");
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		char id[100], word[110];
		if (*line == ' ') continue;
		assert_int_equal(sscanf(line, "%*s %99s", id), 1);
		(void)snprintf(word, sizeof word, " %s ", id);
		count += strstr(text, word) > line;
	}
	return count;
}

static void owe_a_repair(void)
{
	struct cursors *cursors;
	struct cursor_row row;
	assert_int_equal(
	    cursors_open(w.config.store_path, journal_epoch(w.journal), journal_next_seq(w.journal), &cursors), OK);
	assert_int_equal(cursors_get(cursors, STR("d"), STREAM_OF_SNAPSHOT, &row), OK);
	assert_int_equal(row.repairs, 2);
	row.owes_repair = 1;
	assert_int_equal(cursors_put(cursors, STR("d"), STREAM_OF_SNAPSHOT, &row), OK);
	cursors_close(cursors);
}

/* One that is not begun yet when the daemon ends is begun after the start. */
static void each_repair_has_ids_of_its_own_and_none_is_forgotten(void **state)
{
	(void)state;
	add_profiles("d", CONF_RECORD_CHANGES);
	world_start(&w);
	world_send_many(&w, 3);
	wait_quiet("d");
	for (unsigned i = 1; i <= 3; i++) {
		world_stop(&w);
		if (i == 1) erase(STR("user_id:u1"));
		if (i < 3) {
			(void)world_send(&w, "{\"n\":1}");
			world_fold(&w);
			trim_all_changes();
		} else {
			owe_a_repair();
		}
		world_start(&w);
		for (int n = 0; n < 5000 && count_notices() < i; n++) sleep_ms(2);
		wait_quiet("d");
		assert_int_equal(count_notices(), i);
		assert_int_equal(count_notices_by_id(), i);
	}
}

/* An older backup of the profiles was put back. */
static void ahead_of_the_feed_everybody_comes_anew(void **state)
{
	(void)state;
	world_send_many(&w, 3);
	add_profiles("d", CONF_RECORD_PROFILES | CONF_RECORD_CHANGES);
	world_start(&w);
	wait_quiet("d");
	world_stop(&w);
	unsigned before = count_rows("d", true);
	struct cursors *cursors;
	struct cursor_row row;
	assert_int_equal(
	    cursors_open(w.config.store_path, journal_epoch(w.journal), journal_next_seq(w.journal), &cursors), OK);
	for (int i = 0; i < 2; i++) {
		enum stream_id stream = i ? STREAM_OF_CHANGES : STREAM_OF_PROFILES;
		assert_int_equal(cursors_get(cursors, STR("d"), stream, &row), OK);
		row.next_seq += 1000 * FEED_PARTS;
		assert_int_equal(cursors_put(cursors, STR("d"), stream, &row), OK);
	}
	cursors_close(cursors);
	world_start(&w);
	for (int i = 0; i < 10000 && count_rows("d", true) < 2 * before; i++) sleep_ms(2);
	assert_int_equal(count_rows("d", true), 2 * before);
	wait_quiet("d");
}

/* ── streams ─────────────────────────────────────────────────────────────── */

struct reading {
	struct people_reader *people;
	struct stream_reader reader;
	struct stream_window *window; /* the last */
};

static void reading_begin(struct reading *r)
{
	assert_int_equal(world_new(&w), OK);
	assert_int_equal(people_reader_new(w.people, &r->people), OK);
	stream_reader_init(&r->reader, &w.deliver->shared, r->people);
	r->window = NULL;
}

static void reading_end(struct reading *r)
{
	window_unref(r->window);
	stream_reader_fini(&r->reader);
	people_reader_free(r->people);
}

static void renew(struct reading *r, uint64_t from)
{
	window_unref(r->window);
	assert_int_equal(window_new(from, &r->window), OK);
}

static void gather(struct reading *r, const struct stream *stream, uint64_t from)
{
	renew(r, from);
	assert_int_equal(stream->gather(&r->reader, from, r->window), OK);
	for (size_t i = 0; i < r->window->count; i++) {
		assert_true(r->window->records[i].position >= from);
		assert_true(r->window->records[i].position < r->window->next);
		if (i) assert_true(r->window->records[i].position > r->window->records[i - 1].position);
	}
}

/* From any position on, a window tells everybody who changed from there on, at the same places as any other window. */
static void windows_of_profiles_agree_wherever_they_begin(void **state)
{
	(void)state;
	struct reading r;
	for (int i = 0; i < 5; i++) world_send_many(&w, 3);
	reading_begin(&r);
	uint64_t first = stream_profiles.first(&w.deliver->shared), end = stream_profiles.end(&w.deliver->shared);
	assert_true(first < end);
	gather(&r, &stream_profiles, first);
	assert_int_equal(r.window->next, end);
	assert_int_equal(r.window->count, 3); /* each once */
	uint64_t places[3];
	for (size_t i = 0; i < 3; i++) places[i] = r.window->records[i].position;
	for (uint64_t from = first; from <= end; from += from % 7 ? 1 : 93) { /* parts of a change, and others */
		size_t behind = 0;
		gather(&r, &stream_profiles, from);
		for (size_t i = 0; i < 3; i++) behind += places[i] >= from;
		assert_int_equal(r.window->count, behind);
		for (size_t i = 0; i < behind; i++)
			assert_int_equal(r.window->records[i].position, places[3 - behind + i]);
	}
	renew(&r, 0);
	assert_int_equal(stream_profiles.find(&r.reader, places, 3, r.window), OK);
	assert_int_equal(r.window->count, 3);
	reading_end(&r);
}

static void a_snapshot_goes_on_from_any_place(void **state)
{
	(void)state;
	struct reading r;
	world_send_many(&w, 3);
	reading_begin(&r);
	gather(&r, &stream_snapshot, SNAPSHOT_START);
	assert_int_equal(r.window->count, 3);
	assert_int_equal(r.window->next, SNAPSHOT_DONE);
	uint64_t places[3];
	for (size_t i = 0; i < 3; i++) places[i] = r.window->records[i].position;
	for (size_t i = 0; i < 3; i++) {
		gather(&r, &stream_snapshot, places[i]);
		assert_int_equal(r.window->count, 3 - i);
		gather(&r, &stream_snapshot, places[i] + 1);
		assert_int_equal(r.window->count, 2 - i);
	}
	gather(&r, &stream_snapshot, SNAPSHOT_REPAIR);
	assert_int_equal(r.window->count, 3);
	assert_true(r.window->next < SNAPSHOT_DONE); /* who was erased comes behind */
	gather(&r, &stream_snapshot, r.window->next);
	assert_int_equal(r.window->count, 0);
	assert_int_equal(r.window->next, SNAPSHOT_DONE);
	renew(&r, 0);
	assert_int_equal(stream_snapshot.find(&r.reader, places, 3, r.window), OK);
	assert_int_equal(r.window->count, 3);
	assert_true(snapshot_progress(SNAPSHOT_START) < 0.01 && snapshot_progress(places[2]) <= 1);
	reading_end(&r);
}

static void every_change_is_one_record(void **state)
{
	(void)state;
	struct reading r;
	for (int i = 0; i < 3; i++) world_send_many(&w, 3);
	reading_begin(&r);
	uint64_t first = stream_changes.first(&w.deliver->shared);
	gather(&r, &stream_changes, first);
	assert_int_equal(r.window->count, people_last_change(w.people));
	for (size_t i = 0; i < r.window->count; i++) {
		const struct stream_record *record = &r.window->records[i];
		assert_int_equal(record->kind, CDPD_RECORD_CHANGE);
		assert_int_equal(feed_seq(record->position), i + 1);
		assert_true(str_starts(record->json, STR("{\"type\":\"change\",\"kind\":\"")));
	}
	int64_t t;
	assert_int_equal(stream_changes.time(&w.deliver->shared, first, &w.arena, &t), OK);
	assert_true(t > 0);
	trim_all_changes();
	renew(&r, first);
	assert_int_equal(stream_changes.gather(&r.reader, first, r.window), ERR_GONE);
	reading_end(&r);
}

/* What the configuration takes is what the feed knows. */
static void the_kinds_of_the_configuration_are_those_of_the_feed(void **state)
{
	(void)state;
	int count = 0;
	for (; conf_change_kinds[count]; count++) {
		enum change_kind kind;
		assert_true(change_kind_from_name(str_from(conf_change_kinds[count]), &kind));
	}
	assert_int_equal(count, CHANGE_KIND_COUNT - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_new_one_takes_everybody_and_then_the_changes),
	    TEST(who_expired_is_told_everybody_anew_and_what_is_gone),
	    TEST(who_expired_hears_of_withdrawals_too),
	    TEST(who_expired_hears_of_every_purpose),
	    TEST(who_missed_changes_hears_of_erasures_and_withdrawals),
	    TEST(each_repair_has_ids_of_its_own_and_none_is_forgotten),
	    TEST(ahead_of_the_feed_everybody_comes_anew),
	    TEST(windows_of_profiles_agree_wherever_they_begin),
	    TEST(a_snapshot_goes_on_from_any_place),
	    TEST(every_change_is_one_record),
	    TEST(the_kinds_of_the_configuration_are_those_of_the_feed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
