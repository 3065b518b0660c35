/* What a training set promises, one promise a test. */
#include "training_world.h"

#include <dirent.h>
#include <pthread.h>

#define DAY US_PER_DAY

static int setup(void **state)
{
	static struct training_world t;
	training_world_open(&t, "");
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	training_world_close(*state);
	return 0;
}

static void pass(int64_t us)
{
	atomic_fetch_add(&fake_passed, us);
}

struct sent {
	const char *user, *visitor, *event, *properties; /* NULL: none */
	int64_t ago;
};

static uint64_t send(struct training_world *t, struct sent sent)
{
	static uint64_t id;
	struct sender sender;
	int64_t now = fake_now(NULL);
	sender_init(&sender, 1);
	struct cdpd_event event = {.source_id = STR("web"),
				   .rights = UINT32_MAX,
				   .canonical_hash = ++id,
				   .type = EVENT_TRACK,
				   .event = str_from(sent.event),
				   .event_time_us = now - sent.ago,
				   .received_at_us = now,
				   .utc_offset_min = UTC_OFFSET_UNKNOWN,
				   .user_id = str_from(sent.user),
				   .anonymous_id = str_from(sent.visitor),
				   .properties = str_from(sent.properties)};
	CHECK(arena_printf(&sender.arena, &event.message_id, "m%d", (int)id) == OK);
	sender_event(&sender, &event);
	uint64_t seq = sender_send(&sender, t->world.journal);
	world_settle(&t->world);
	return seq;
}

static void send_act(struct training_world *t, enum record_kind kind, const char *a, const char *b)
{
	struct str payload;
	const struct people_act act = {str_from(a), str_from(b), STR("test"), STR_NONE};
	CHECK(payload_write_act(&t->arena, &act, &payload) == OK);
	(void)world_send_record(&t->world, kind, payload);
	world_settle(&t->world);
}

static int order_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Rows of one time stand in the order of ids, which hang on a random key. */
static void sort_rows(char *text)
{
	char *lines[1000], *copy = strdup(text), *rest = NULL;
	size_t count = 0;
	assert_non_null(copy);
	for (char *line = strtok_r(copy, "\n", &rest); line && count < COUNT_OF(lines);
	     line = strtok_r(NULL, "\n", &rest))
		lines[count++] = line;
	if (count > 1) qsort(lines + 1, count - 1, sizeof *lines, order_lines);
	for (size_t i = 0; i < count; i++) text += sprintf(text, "%s\n", lines[i]);
	free(copy);
}

/* Without the ids: they hang on a random key. */
static char *without_ids(const struct buf *csv)
{
	char *out = calloc(csv->len + 1, 1), *to = out;
	const char *at = csv->len ? buf_ptr(csv) : "", *end = at + csv->len;
	assert_non_null(out);
	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *line = memchr(at, '\n', (size_t)(end - at));
		assert_true(comma && line && comma < line);
		memcpy(to, comma + 1, (size_t)(line - comma));
		to += line - comma;
		at = line + 1;
	}
	sort_rows(out);
	return out;
}

static struct training_status assert_rows(struct training_world *t, const char *yaml, const char *expected)
{
	struct training_status status;
	struct buf made;
	training_make(t, yaml, TRAINING_CSV, &made, &status);
	char *text = without_ids(&made);
	assert_string_equal(text, expected);
	free(text);
	buf_fini(&made);
	return status;
}

static void assert_refused(struct training_world *t, const char *yaml, const char *expected)
{
	char id[TRAINING_ID_SIZE], *errors = NULL;
	assert_int_equal(training_start(t->training, t->config, str_from(yaml), "s.yaml", id, &errors), ERR_INVALID);
	assert_non_null(errors);
	assert_string_equal(errors, expected);
	free(errors);
}

#define HEAD   "training_set:\n  name: s\n"
#define ORDERS "  features: [orders]\n"

/* ── points, labels, time ────────────────────────────────────────────────── */

static void a_row_is_what_was_known_just_before_and_what_came_in_the_window(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "Order"});
	pass(DAY);
	(void)send(t, (struct sent){.user = "u", .event = "View"}); /* 2026-01-06 */
	(void)send(t,
		   (struct sent){.user = "u", .event = "Order", .ago = DAY / 2}); /* known later, but it was before */
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "u", .event = "Order"}); /* exactly at the end: in */
	pass(1);
	(void)send(t, (struct sent){.user = "u", .event = "Order"}); /* and one microsecond later: out */
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, value: count, horizon: 2d}\n" ORDERS;
	struct training_status status = assert_rows(t, set, "point_time,label,orders\n2026-01-06T12:00:00Z,1,1\n");
	assert_int_equal(status.censored, 1);
	assert_int_equal(status.positives, 1);
}

static void who_joins_later_changes_no_row_but_the_labels_of_open_windows(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.visitor = "a", .event = "Order"});
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(DAY);
	(void)send(t, (struct sent){.visitor = "a", .event = "Order"});
	send_act(t, RECORD_MERGE, "user_id:u", "anonymous_id:a");
	pass(DAY);
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(DAY);
	send_act(t, RECORD_UNMERGE, "user_id:u", "anonymous_id:a");
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(4 * DAY);
	(void)send(t, (struct sent){.visitor = "z", .event = "Page"});
	/* The first window closes while they are one, the second after they were parted again. */
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 2500m}\n" ORDERS;
	(void)assert_rows(t, set,
			  "point_time,label,orders\n2026-01-05T12:00:00Z,1,0\n2026-01-07T12:00:00Z,0,2\n"
			  "2026-01-08T12:00:00Z,0,0\n");
}

static void an_event_that_arrives_after_its_window_needs_grace(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(3 * DAY);
	(void)send(t, (struct sent){.user = "u", .event = "Order", .ago = 2 * DAY});
	pass(3 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	(void)assert_rows(t, HEAD "  points: {event: View}\n  label: {event: Order, horizon: 2d}\n" ORDERS,
			  "point_time,label,orders\n2026-01-05T12:00:00Z,0,0\n");
	(void)assert_rows(t, HEAD "  points: {event: View}\n  label: {event: Order, horizon: 2d, grace: 1d}\n" ORDERS,
			  "point_time,label,orders\n2026-01-05T12:00:00Z,1,0\n");
}

static void by_the_times_of_events_the_order_of_arrival_does_not_matter(void **state)
{
	struct training_world *t = *state;
	/* A year's history, imported backwards within a moment. */
	(void)send(t, (struct sent){.user = "u", .event = "View", .ago = 100 * DAY});
	(void)send(t, (struct sent){.user = "u", .event = "Order", .ago = 90 * DAY});
	(void)send(t, (struct sent){.user = "u", .event = "View", .ago = 200 * DAY});
	(void)send(t, (struct sent){.user = "u", .event = "Order", .ago = 199 * DAY});
	(void)send(t, (struct sent){.user = "u", .event = "View", .ago = 300 * DAY});
	(void)send(t, (struct sent){.user = "u", .event = "View", .ago = 5 * DAY});
	const char *by_event =
	    HEAD "  time: event\n  points: {event: View}\n  label: {event: Order, horizon: 15d}\n" ORDERS;
	struct training_status status = assert_rows(t, by_event,
						    "point_time,label,orders\n2025-03-11T12:00:00Z,0,0\n"
						    "2025-06-19T12:00:00Z,1,0\n2025-09-27T12:00:00Z,1,1\n");
	assert_int_equal(status.censored, 1);
	/* By arrival all of it is of today, and nobody knows yet. */
	status = assert_rows(t, HEAD "  points: {event: View}\n  label: {event: Order, horizon: 15d}\n" ORDERS,
			     "point_time,label,orders\n");
	assert_int_equal(status.censored, 4);
}

static void a_grid_asks_about_everybody_who_was_there(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":5}"});
	pass(8 * DAY); /* Tuesday, 2026-01-13 */
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":7.5}"});
	(void)send(t, (struct sent){.visitor = "v", .event = "View"});
	pass(7 * DAY);
	(void)send(t, (struct sent){.visitor = "v", .event = "Order", .properties = "{\"total\":1}"});
	pass(20 * DAY);
	(void)send(t, (struct sent){.user = "w", .event = "View"});
	(void)assert_rows(t,
			  HEAD "  points: {every: 7d, until: 2026-01-19T00:00:01Z}\n"
			       "  label: {event: Order, value: sum, field: properties.total, horizon: 7d}\n"
			       "  features: [orders, spend, last_total]\n",
			  "point_time,label,orders,spend,last_total\n2026-01-12T00:00:00Z,7.5,1,5,5\n"
			  "2026-01-19T00:00:00Z,0,2,7.5,7.5\n2026-01-19T00:00:00Z,1,0,0,\n");
	struct training_status status =
	    assert_rows(t,
			HEAD "  points: {every: 7d, active: 10d, from: 2026-01-25T00:00:00Z}\n  label: {event: Order, "
			     "horizon: 1d}\n" ORDERS,
			"point_time,label,orders\n2026-01-26T00:00:00Z,0,1\n");
	assert_int_equal(status.censored, 0);
}

/* ── columns ─────────────────────────────────────────────────────────────── */

static void features_of_several_values_are_columns_of_their_own(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":\"a,\\\"b\\\"\\n\"}"});
	pass(DAY);
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":{\"x\":[1,2]}}"});
	(void)send(t, (struct sent){.user = "u", .event = "View", .properties = "{\"page\":\"/a.b\"}"});
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	(void)assert_rows(t,
			  HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n"
			       "  features: [by_page./a.b, rhythm.mean, hours.0, hours.1, last_total, by_page.none]\n",
			  "point_time,label,by_page./a.b,rhythm.mean,hours.0,hours.1,last_total,by_page.none\n"
			  "2026-01-06T12:00:00Z,0,,86400,1,1,\"{\"\"x\"\":[1,2]}\",\n"
			  "2026-01-06T12:00:00Z,0,1,86400,1,1,\"{\"\"x\"\":[1,2]}\",\n");
	(void)assert_rows(
	    t,
	    HEAD "  points: {event: Order}\n  label: {event: Order, horizon: 1h}\n"
		 "  features: [rhythm, hours]\n",
	    "point_time,label,rhythm.events,rhythm.count,rhythm.mean,rhythm.variance,rhythm.min,rhythm.max,"
	    "hours.0,hours.1,hours.2,hours.3,hours.4,hours.5,hours.6\n"
	    "2026-01-05T12:00:00Z,0,0,0,,,,,0,0,0,0,0,0,0\n"
	    "2026-01-06T12:00:00Z,0,1,0,,,,,1,0,0,0,0,0,0\n");
}

static void texts_are_quoted_as_csv_wants_it(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":\"a,\\\"b\\\"\\nc\"}"});
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	(void)assert_rows(t,
			  HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features: [orders]\n",
			  "point_time,label,orders\n2026-01-05T12:00:00Z,0,1\n");
	struct training_status status;
	struct buf made;
	training_make(t,
		      HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features: [last_total]\n",
		      TRAINING_CSV, &made, &status);
	struct str end = STR(",0,\"a,\"\"b\"\"\nc\"\n"), text = buf_str(&made);
	assert_true(text.len > end.len && str_eq(str_of(text.ptr + text.len - end.len, end.len), end));
	buf_fini(&made);
}

static void mistakes_are_told_with_their_lines_and_what_was_meant(void **state)
{
	struct training_world *t = *state;
	assert_refused(t, HEAD "  points: {evnt: View}\n  label: {event: Order, horizon: 1d}\n",
		       "s.yaml:3: unknown key 'evnt' in training_set.points, did you mean 'event'?\n"
		       "s.yaml:3: training_set.points needs 'event' or 'every'");
	assert_refused(t,
		       HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features:\n    - ordrs\n"
			    "    - rhythm.maen\n    - by_page\n    - hours.7\n    - orders.x\n  purpose: mi\n",
		       "s.yaml:11: training_set.purpose: there is no purpose 'mi', did you mean 'ml'?");
	assert_refused(
	    t,
	    HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features:\n    - ordrs\n"
		 "    - rhythm.maen\n    - by_page\n    - hours.7\n    - orders.x\n    - spend\n    - spend\n",
	    "s.yaml:6: training_set.features: there is no feature 'ordrs', did you mean 'orders'?\n"
	    "s.yaml:7: training_set.features: 'rhythm' (type intervals) has no part 'maen', did you mean 'mean'?\n"
	    "s.yaml:8: training_set.features: 'by_page' has a value for each key, say which: 'by_page.KEY'\n"
	    "s.yaml:9: training_set.features: 'hours' (type histogram) has no part '7'\n"
	    "s.yaml:10: training_set.features: 'orders' (type count) has no part 'x'\n"
	    "s.yaml:5: training_set.features: 'spend' is there twice");
	assert_refused(
	    t, HEAD "  points: {every: 7d, event: View}\n  label: {event: Order, value: sum}\n  sample: 1.5\n",
	    "s.yaml:5: training_set.sample: '1.5' must be a share of all people above 0 and up to 1, such as 0.1\n"
	    "s.yaml:3: training_set.points: 'every' makes its own points, it takes no 'event' and no 'where'\n"
	    "s.yaml:4: training_set.label needs 'horizon'\n"
	    "s.yaml:4: training_set.label: 'value: sum' needs 'field'");
	assert_refused(t, "sets: {}\n", "s.yaml:1: 'training_set' must be a map (lines of 'key: value')");
	assert_refused(t, HEAD "  points: {event: View, where: [{field: bad}]}\n  label: {event: Order, horizon: 1d}\n",
		       "s.yaml:3: training_set.points.where[0].field: 'bad' must be userId, anonymousId, groupId, "
		       "event, name, or a "
		       "path in properties., traits., context. or enrichment.\n"
		       "s.yaml:3: training_set.points.where[0] needs one of is, in, not, exists, min and max");
}

static void conditions_choose_points_and_what_counts(void **state)
{
	struct training_world *t = *state;
	(void)send(t, (struct sent){.user = "u", .event = "View", .properties = "{\"page\":\"a\"}"});
	(void)send(t, (struct sent){.user = "u", .event = "View", .properties = "{\"page\":\"b\"}"});
	pass(DAY / 2);
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":3}"});
	(void)send(t, (struct sent){.user = "u", .event = "Order", .properties = "{\"total\":30}"});
	pass(DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	(void)assert_rows(
	    t,
	    HEAD "  points: {event: View, where: [{field: properties.page, is: b}]}\n"
		 "  label: {event: Order, where: [{field: properties.total, min: 10}], value: count, horizon: 1d}\n"
		 "  features: [events]\n",
	    "point_time,label,events\n2026-01-05T12:00:00Z,1,1\n");
}

/* ── who is in it ────────────────────────────────────────────────────────── */

static void a_sample_is_the_same_people_every_time(void **state)
{
	struct training_world *t = *state;
	char user[16];
	for (int i = 0; i < 60; i++) {
		(void)snprintf(user, sizeof user, "u%d", i % 30);
		(void)send(t, (struct sent){.user = user, .event = "View"});
	}
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  sample: 0.5\n" ORDERS;
	struct training_status first, second;
	struct buf a, b;
	training_make(t, set, TRAINING_CSV, &a, &first);
	training_make(t, set, TRAINING_CSV, &b, &second);
	assert_true(str_eq(buf_str(&a), buf_str(&b)));
	assert_int_equal(first.given + first.sampled_out, 60);
	assert_int_equal(first.given % 2, 0); /* both events of a person or none */
	assert_true(first.given > 0 && first.given < 60);
	buf_fini(&a);
	buf_fini(&b);
}

static uint64_t send_consent(struct training_world *t, const char *user, const char *state)
{
	char properties[200];
	struct sender sender;
	static uint64_t id;
	(void)snprintf(properties, sizeof properties, "{\"purpose\":\"ml\",\"state\":\"%s\"}", state);
	sender_init(&sender, 1);
	struct cdpd_event event = {.source_id = STR("web"),
				   .rights = UINT32_MAX,
				   .canonical_hash = ++id,
				   .type = EVENT_TRACK,
				   .event = STR("Consent Updated"),
				   .flags = EVENT_CONSENT,
				   .event_time_us = fake_now(NULL),
				   .received_at_us = fake_now(NULL),
				   .utc_offset_min = UTC_OFFSET_UNKNOWN,
				   .user_id = str_from(user),
				   .properties = str_from(properties),
				   .enrichment = STR("{\"consent\":{\"confirmed\":false,\"salt\":"
						     "\"000102030405060708090a0b0c0d0e0f\"}}")};
	CHECK(arena_printf(&sender.arena, &event.message_id, "c%d", (int)id) == OK);
	sender_event(&sender, &event);
	uint64_t seq = sender_send(&sender, t->world.journal);
	world_settle(&t->world);
	return seq;
}

static void who_does_not_allow_the_purpose_now_is_left_out(void **state)
{
	struct training_world *t = *state;
	struct outcome outcome;
	uint64_t applied;
	(void)send(t, (struct sent){.user = "yes", .event = "View"});
	(void)send(t, (struct sent){.user = "no", .event = "View"});
	pass(DAY);
	uint64_t seq = send_consent(t, "no", "denied");
	assert_int_equal(people_read_begin(t->reader, &applied), OK);
	assert_int_equal(people_get_outcome(t->reader, seq, &outcome), OK);
	people_read_end(t->reader);
	assert_int_equal(outcome.verdict, OUTCOME_APPLIED);
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "no", .event = "View"});
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	const char *all = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features: [events]\n";
	/* Consents count as the events they are. */
	(void)assert_rows(t, all,
			  "point_time,label,events\n2026-01-05T12:00:00Z,0,0\n2026-01-05T12:00:00Z,0,0\n"
			  "2026-01-08T12:00:00Z,0,2\n");
	struct training_status status = assert_rows(
	    t,
	    HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1d}\n  features: [events]\n  purpose: ml\n",
	    "point_time,label,events\n2026-01-05T12:00:00Z,0,0\n");
	assert_int_equal(status.left_out_consent, 2);
}

/* 2040-01-02 at noon. */
#define TRIMMED_START INT64_C(2209118400000000)

static int setup_trimmed(void **state)
{
	static struct training_world t;
	training_world_open(&t, ", retention: 2d, segment_age: 1h");
	atomic_store(&fake_passed, TRIMMED_START - FAKE_START); /* the first segment is as old as the real clock says */
	*state = &t;
	return 0;
}

/* Where the newest segment begins. How many there are tells nothing: retention takes others away meanwhile. */
static uint64_t newest_segment(struct training_world *t)
{
	struct test_path path = test_dir_path(&t->world.dir, "journal");
	DIR *dir = opendir(path.text);
	uint64_t newest = 0;
	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		uint64_t first = strtoull(entry->d_name, NULL, 10);
		if (first > newest) newest = first;
	}
	(void)closedir(dir);
	return newest;
}

static void until_sealed(struct training_world *t)
{
	uint64_t before = newest_segment(t);
	pass(7200 * US_PER_SECOND);
	for (int i = 0; i < 3000 && newest_segment(t) == before; i++) {
		pass(US_PER_SECOND);
		sleep_ms(20);
	}
	assert_true(newest_segment(t) > before);
}

static void until_trimmed(struct training_world *t)
{
	for (int i = 0; i < 3000 && journal_first_seq(t->world.journal) == 1; i++) {
		pass(US_PER_SECOND);
		sleep_ms(20);
	}
	assert_true(journal_first_seq(t->world.journal) > 1);
	atomic_store(&fake_passed, TRIMMED_START - FAKE_START + 6 * DAY);
}

/* a and u are one, b and v were parted again, c and w are parted by a record that is still held, x is alone. */
static void send_history(struct training_world *t)
{
	(void)send(t, (struct sent){.user = "u", .visitor = "a", .event = "Order"});
	(void)send(t, (struct sent){.user = "v", .visitor = "b", .event = "Order"});
	send_act(t, RECORD_UNMERGE, "user_id:v", "anonymous_id:b");
	(void)send(t, (struct sent){.user = "w", .visitor = "c", .event = "Order"});
	(void)send(t, (struct sent){.user = "x", .event = "Order"});
	until_sealed(t);
	pass(5 * DAY);
	(void)send(t, (struct sent){.visitor = "z", .event = "Page"});
	until_trimmed(t);
}

static void what_retention_took_is_stated_and_links_from_before_it_hold(void **state)
{
	struct training_world *t = *state;
	send_history(t);
	(void)send(t, (struct sent){.visitor = "a", .event = "Order"});
	(void)send(t, (struct sent){.visitor = "b", .event = "Order"});
	(void)send(t, (struct sent){.visitor = "c", .event = "Order"});
	static const char *const users[] = {"u", "v", "w", "x", "new"};
	for (size_t i = 0; i < COUNT_OF(users); i++) {
		pass(1);
		(void)send(t, (struct sent){.user = users[i], .event = "View"});
	}
	send_act(t, RECORD_UNMERGE, "user_id:w", "anonymous_id:c");
	pass(1);
	(void)send(t, (struct sent){.user = "w", .event = "View"});
	(void)send(t, (struct sent){.user = "v", .visitor = "b", .event = "View"}); /* kept apart still */
	pass(DAY);
	(void)send(t, (struct sent){.visitor = "z", .event = "Page"});
	const char *rows = "point_time,label,orders,since\n2040-01-08T12:00:00.000001Z,0,1,%s\n"
			   "2040-01-08T12:00:00.000002Z,0,0,%s\n2040-01-08T12:00:00.000003Z,0,1,%s\n"
			   "2040-01-08T12:00:00.000004Z,0,0,%s\n2040-01-08T12:00:00.000005Z,0,0,\n"
			   "2040-01-08T12:00:00.000006Z,0,0,%s\n2040-01-08T12:00:00.000006Z,0,0,%s\n";
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1h}\n" ORDERS;
	struct training_status status;
	struct buf made;
	char since[CLOCK_TEXT_SIZE], expected[1000];
	training_make(t, set, TRAINING_CSV, &made, &status);
	assert_int_equal(status.about.first, journal_first_seq(t->world.journal));
	(void)clock_format(status.about.first_us, since);
	(void)snprintf(expected, sizeof expected, rows, since, since, since, since, since, since);
	char *text = without_ids(&made);
	assert_string_equal(text, expected);
	free(text);
	buf_fini(&made);
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void only_one_is_made_at_a_time_and_a_finished_one_makes_room(void **state)
{
	struct training_world *t = *state;
	const char *set = HEAD "  points: {every: 1m}\n  label: {event: Order, horizon: 1h}\n" ORDERS;
	char first[TRAINING_ID_SIZE], second[TRAINING_ID_SIZE], *errors;
	struct training_read *read;
	struct training_status status;
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	pass(3600 * DAY); /* five million points: longer than this test waits */
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	assert_int_equal(training_start(t->training, t->config, str_from(set), "s", first, &errors), OK);
	assert_int_equal(training_start(t->training, t->config, str_from(set), "s", second, &errors), ERR_BUSY);
	assert_int_equal(training_read_open(t->training, str_from(first), TRAINING_CSV, &read), ERR_AGAIN);
	assert_int_equal(training_drop(t->training, str_from(second)), ERR_NOT_FOUND);
	assert_int_equal(training_drop(t->training, str_from(first)), OK);
	assert_int_equal(training_status(t->training, str_from(first), &t->arena, &status), ERR_NOT_FOUND);
	struct test_path folder = test_dir_path(&t->world.dir, "training");
	assert_int_not_equal(access(folder.text, F_OK), 0);
	struct buf made;
	for (int i = 0; i < 2; i++) {
		training_make(t, HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1h}\n" ORDERS,
			      TRAINING_CSV, &made, &status);
		buf_fini(&made);
	}
	assert_int_equal(access(folder.text, F_OK), 0);
	training_stop(t->training);
	assert_int_not_equal(access(folder.text, F_OK), 0);
	assert_int_equal(training_start(t->training, t->config, str_from(set), "s", second, &errors), ERR_CLOSED);
}

#define ORDERERS 4

static void *order_again_and_again(void *ctx)
{
	const struct training_world *t = ctx;
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1h}\n" ORDERS;
	char id[TRAINING_ID_SIZE], *errors;
	for (int i = 0; i < 200; i++) {
		int rc = training_start(t->training, t->config, str_from(set), "s", id, &errors);
		CHECK(rc == OK || rc == ERR_BUSY);
	}
	return NULL;
}

/* Each waits for the finished one to go: only one of them may take its place. */
static void orders_that_come_together_do_not_lose_each_other(void **state)
{
	struct training_world *t = *state;
	pthread_t threads[ORDERERS];
	(void)send(t, (struct sent){.user = "u", .event = "View"});
	for (int i = 0; i < ORDERERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, order_again_and_again, t), 0);
	for (int i = 0; i < ORDERERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
	training_stop(t->training);
	struct test_path folder = test_dir_path(&t->world.dir, "training");
	assert_int_not_equal(access(folder.text, F_OK), 0);
}

static void who_is_erased_while_rows_wait_is_not_handed_out(void **state)
{
	struct training_world *t = *state;
	char id[TRAINING_ID_SIZE], *errors;
	struct profile profile;
	struct training_read *read;
	struct str payload;
	struct buf out;
	uint64_t applied;
	bool is_done = false;
	(void)send(t, (struct sent){.user = "gone", .event = "View"});
	(void)send(t, (struct sent){.user = "stays", .event = "View"});
	pass(2 * DAY);
	(void)send(t, (struct sent){.user = "z", .event = "Page"});
	const char *set = HEAD "  points: {event: View}\n  label: {event: Order, horizon: 1h}\n" ORDERS;
	assert_int_equal(training_start(t->training, t->config, str_from(set), "s", id, &errors), OK);
	assert_int_equal(training_wait(t, id).rows, 2);
	assert_int_equal(people_read_begin(t->reader, &applied), OK);
	assert_int_equal(people_get(t->reader, STR("user_id:gone"), 0, fake_now(NULL), &t->arena, &profile), OK);
	people_read_end(t->reader);
	const struct people_erasure erasure = {.fragments = &profile.id, .count = 1, .is_whole = true};
	CHECK(payload_write_erasure(&t->arena, &erasure, STR("test"), STR_NONE, &payload) == OK);
	(void)world_send_record(&t->world, RECORD_ERASURE, payload);
	world_settle(&t->world);
	buf_init(&out, 1 << 20);
	assert_int_equal(training_read_open(t->training, str_from(id), TRAINING_NDJSON, &read), OK);
	assert_int_equal(training_drop(t->training, str_from(id)), ERR_BUSY);
	while (!is_done) assert_int_equal(training_read_some(read, t->reader, 1 << 19, &out, &is_done), OK);
	training_read_close(read);
	struct training_status status = training_wait(t, id);
	assert_int_equal(status.given, 1);
	assert_int_equal(status.left_out_erased, 1);
	buf_fini(&out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_row_is_what_was_known_just_before_and_what_came_in_the_window),
	    TEST(who_joins_later_changes_no_row_but_the_labels_of_open_windows),
	    TEST(an_event_that_arrives_after_its_window_needs_grace),
	    TEST(by_the_times_of_events_the_order_of_arrival_does_not_matter),
	    TEST(a_grid_asks_about_everybody_who_was_there),
	    TEST(features_of_several_values_are_columns_of_their_own),
	    TEST(texts_are_quoted_as_csv_wants_it),
	    TEST(mistakes_are_told_with_their_lines_and_what_was_meant),
	    TEST(conditions_choose_points_and_what_counts),
	    TEST(a_sample_is_the_same_people_every_time),
	    TEST(who_does_not_allow_the_purpose_now_is_left_out),
	    cmocka_unit_test_setup_teardown(what_retention_took_is_stated_and_links_from_before_it_hold, setup_trimmed,
					    teardown),
	    TEST(only_one_is_made_at_a_time_and_a_finished_one_makes_room),
	    TEST(orders_that_come_together_do_not_lose_each_other),
	    TEST(who_is_erased_while_rows_wait_is_not_handed_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
