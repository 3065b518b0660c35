/* Random events, late ones, duplicates, merges, unmerges and erasures. What a row must say is asked of the running fold before the point's
 * event is written; its label is counted by hand when its window is over. The export, made at the end from the journal alone, must say the same.
 * CDPD_SEED adds a run from that seed. */
#include "training_world.h"

#define HORIZON    (5 * US_PER_DAY)
#define GRACE      (1 * US_PER_DAY)
#define OPS        300
#define USERS      5
#define VISITORS   7
#define EVENTS_MAX 1000

static uint64_t random_state;

static uint64_t next_random(uint64_t below)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = random_state;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % below;
}

struct happened {
	struct fragment_id fragment;
	int64_t at;
	uint64_t seq;
	double total;
	bool is_order;
};

struct expected {
	struct fragment_id fragment, profile, members[60];
	size_t member_count;
	int64_t at;
	uint64_t seq;
	char features[2000];
	size_t hits[EVENTS_MAX];
	size_t hit_count;
};

struct erased {
	struct fragment_id fragment;
	uint64_t seq;
};

struct model {
	struct training_world *t;
	struct happened events[EVENTS_MAX];
	size_t event_count;
	struct expected *rows;
	size_t row_count, closed;
	struct erased erased[200];
	size_t erased_count;
	int64_t last_t;
	uint64_t next_id;
	bool is_after; /* points are read after their event */
};

/* ── asking the running fold ─────────────────────────────────────────────── */

static int ask(struct model *m, const char *ref, int64_t now, struct profile *out)
{
	uint64_t applied;
	assert_int_equal(people_read_begin(m->t->reader, &applied), OK);
	int rc =
	    people_get(m->t->reader, str_from(ref), PROFILE_IDENTIFIERS | PROFILE_FEATURES, now, &m->t->arena, out);
	people_read_end(m->t->reader);
	assert_true(rc == OK || rc == ERR_NOT_FOUND);
	return rc;
}

static const struct str *feature_of(const struct profile *profile, const char *name)
{
	for (size_t i = 0; profile && i < profile->feature_count; i++)
		if (str_eq(profile->features[i].name, str_from(name))) return &profile->features[i].value;
	return NULL;
}

/* A member of an object, by its text; features here are plain enough for that. */
static void put_member(char *out, size_t size, struct str json, const char *key, const char *fallback)
{
	char wanted[64];
	(void)snprintf(wanted, sizeof wanted, "\"%s\":", key);
	const char *at = memmem(json.ptr, json.len, wanted, strlen(wanted));
	if (!at) {
		(void)snprintf(out + strlen(out), size - strlen(out), "%s", fallback);
		return;
	}
	at += strlen(wanted);
	(void)snprintf(out + strlen(out), size - strlen(out), "%.*s", (int)strcspn(at, ",}"), at);
}

static void write_features(const struct profile *profile, char out[2000])
{
	static const char *const plain[] = {"events", "orders", "spend", "last_total"};
	static const char *const nobody[] = {"0", "0", "0", "null"};
	out[0] = '\0';
	for (size_t i = 0; i < COUNT_OF(plain); i++) {
		const struct str *value = feature_of(profile, plain[i]);
		(void)snprintf(out + strlen(out), 2000 - strlen(out), "%s\"%s\":%.*s", i ? "," : "", plain[i],
			       value ? (int)value->len : (int)strlen(nobody[i]), value ? value->ptr : nobody[i]);
	}
	const struct str *rhythm = feature_of(profile, "rhythm"), *pages = feature_of(profile, "by_page");
	(void)strcat(out, ",\"rhythm.mean\":");
	put_member(out, 2000, rhythm ? *rhythm : STR_NONE, "mean", "null");
	(void)strcat(out, ",\"by_page.p1\":");
	put_member(out, 2000, pages ? *pages : STR_NONE, "p1", "null");
}

/* ── windows ─────────────────────────────────────────────────────────────── */

static bool is_member(const struct fragment_id *ids, size_t count, const struct fragment_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(ids[i].bytes, id->bytes, sizeof id->bytes) == 0) return true;
	return false;
}

static void close_row(struct model *m, struct expected *row)
{
	struct fragment_id members[60] = {row->fragment};
	struct profile profile;
	char ref[40] = "id:";
	size_t count = 1;
	fragment_id_format(&row->fragment, ref + 3);
	if (ask(m, ref, m->last_t, &profile) == OK)
		for (count = 0; count < profile.identifier_count; count++)
			members[count] = profile.identifiers[count].fragment;
	for (size_t i = 0; i < m->event_count; i++) {
		const struct happened *event = &m->events[i];
		bool is_in_time = event->at > row->at && event->at <= row->at + HORIZON;
		if (event->is_order && is_in_time && is_member(members, count, &event->fragment))
			row->hits[row->hit_count++] = i;
	}
}

/* Before the record of time `t` is written. */
static void close_windows(struct model *m, int64_t t, bool is_end)
{
	for (; m->closed < m->row_count; m->closed++) {
		int64_t over = m->rows[m->closed].at + HORIZON + GRACE;
		if (is_end ? over > t : over >= t) return;
		close_row(m, &m->rows[m->closed]);
	}
}

/* ── what happens ────────────────────────────────────────────────────────── */

static void settle(struct model *m)
{
	world_settle(&m->t->world);
	assert_int_equal(m->t->world.fatal, 0);
}

static bool was_applied(struct model *m, uint64_t seq, struct fragment_id *fragment)
{
	struct outcome outcome;
	uint64_t applied;
	assert_int_equal(people_read_begin(m->t->reader, &applied), OK);
	assert_int_equal(people_get_outcome(m->t->reader, seq, &outcome), OK);
	people_read_end(m->t->reader);
	memcpy(fragment->bytes, outcome.fragment, sizeof fragment->bytes);
	return outcome.verdict == OUTCOME_APPLIED;
}

static void expect_row(struct model *m, const struct profile *profile, const struct fragment_id *fragment, int64_t at,
		       uint64_t seq)
{
	struct expected *row = &m->rows[m->row_count++];
	*row = (struct expected){.fragment = *fragment, .profile = *fragment, .at = at, .seq = seq};
	write_features(profile, row->features);
	if (!profile) return;
	row->profile = profile->id;
	for (; row->member_count < profile->identifier_count; row->member_count++)
		row->members[row->member_count] = profile->identifiers[row->member_count].fragment;
}

static void send_event(struct model *m)
{
	struct sender sender;
	char ref[64], properties[64];
	struct fragment_id fragment;
	struct profile before;
	int64_t now = fake_now(NULL);
	uint64_t user = next_random(USERS), visitor = next_random(VISITORS), who = next_random(4);
	uint64_t total = next_random(50),
		 id = m->next_id && next_random(20) == 0 ? next_random(m->next_id) : m->next_id++;
	bool is_order = next_random(3) == 0;
	uint64_t late = next_random(10) < 7   ? 0
			: next_random(10) < 8 ? next_random(4 * 86400)
					      : next_random(40 * 86400);
	sender_init(&sender, 1);
	(void)snprintf(properties, sizeof properties, "{\"total\":%d,\"page\":\"p%d\"}", (int)total, (int)(total % 3));
	struct cdpd_event event = {.source_id = STR("web"),
				   .rights = UINT32_MAX,
				   .canonical_hash = id * 7 + 1,
				   .type = EVENT_TRACK,
				   .event = is_order ? STR("Order") : STR("View"),
				   .event_time_us = now - (int64_t)late * US_PER_SECOND,
				   .received_at_us = now,
				   .utc_offset_min = UTC_OFFSET_UNKNOWN,
				   .properties = str_from(properties)};
	CHECK(arena_printf(&sender.arena, &event.message_id, "m%d", (int)id) == OK);
	if (who != 0) CHECK(arena_printf(&sender.arena, &event.user_id, "u%d", (int)user) == OK);
	if (who < 2) CHECK(arena_printf(&sender.arena, &event.anonymous_id, "a%d", (int)visitor) == OK);
	(void)snprintf(ref, sizeof ref, who ? "user_id:u%d" : "anonymous_id:a%d", who ? (int)user : (int)visitor);
	bool is_known = ask(m, ref, now, &before) == OK;
	sender_event(&sender, &event);
	uint64_t seq = sender_send(&sender, m->t->world.journal);
	settle(m);
	if (!was_applied(m, seq, &fragment)) return;
	if (m->is_after) is_known = ask(m, ref, now, &before) == OK;
	if (!is_order) expect_row(m, is_known ? &before : NULL, &fragment, now, seq);
	m->events[m->event_count++] = (struct happened){
	    .fragment = fragment, .at = event.event_time_us, .seq = seq, .total = (double)total, .is_order = is_order};
}

static struct str some_ref(struct arena *arena)
{
	struct str out;
	bool is_user = next_random(2) == 0;
	CHECK(arena_printf(arena, &out, is_user ? "user_id:u%d" : "anonymous_id:a%d",
			   (int)next_random(is_user ? USERS : VISITORS)) == OK);
	return out;
}

static void send_act(struct model *m, enum record_kind kind)
{
	struct str payload;
	const struct people_act act = {some_ref(&m->t->arena), some_ref(&m->t->arena), STR("test"), STR_NONE};
	if (str_eq(act.a, act.b)) return;
	CHECK(payload_write_act(&m->t->arena, &act, &payload) == OK);
	(void)world_send_record(&m->t->world, kind, payload);
	settle(m);
}

static void send_erasure(struct model *m)
{
	struct profile profile;
	struct str payload;
	struct people_erasure erasure = {.count = 1, .is_whole = next_random(2) == 0};
	if (ask(m, some_ref(&m->t->arena).ptr, fake_now(NULL), &profile) != OK) return;
	erasure.fragments = &profile.requested_id;
	random_bytes(erasure.receipt, sizeof erasure.receipt);
	CHECK(payload_write_erasure(&m->t->arena, &erasure, STR("test"), STR_NONE, &payload) == OK);
	uint64_t seq = world_send_record(&m->t->world, RECORD_ERASURE, payload);
	settle(m);
	for (size_t i = 0; i < (erasure.is_whole ? profile.identifier_count : 1); i++)
		m->erased[m->erased_count++] =
		    (struct erased){erasure.is_whole ? profile.identifiers[i].fragment : profile.requested_id, seq};
}

static void do_something(struct model *m)
{
	uint64_t what = next_random(100);
	atomic_fetch_add(&fake_passed, (int64_t)next_random(86400) * US_PER_SECOND + 1);
	settle(m);
	close_windows(m, fake_now(NULL), false);
	m->last_t = fake_now(NULL);
	if (what < 86)
		send_event(m);
	else if (what < 91)
		send_act(m, RECORD_MERGE);
	else if (what < 96)
		send_act(m, RECORD_UNMERGE);
	else if (what < 97 && m->erased_count < 100)
		send_erasure(m);
}

/* ── comparing ───────────────────────────────────────────────────────────── */

static bool is_erased_after(const struct model *m, const struct fragment_id *id, uint64_t seq)
{
	for (size_t i = 0; i < m->erased_count; i++)
		if (m->erased[i].seq > seq && is_member(&m->erased[i].fragment, 1, id)) return true;
	return false;
}

static bool is_left_out(const struct model *m, const struct expected *row)
{
	bool is_out = is_erased_after(m, &row->fragment, row->seq);
	for (size_t i = 0; i < row->member_count; i++) is_out |= is_erased_after(m, &row->members[i], row->seq);
	return is_out;
}

static double label_of(const struct model *m, const struct expected *row)
{
	double sum = 0;
	for (size_t i = 0; i < row->hit_count; i++) {
		const struct happened *event = &m->events[row->hits[i]];
		if (!is_erased_after(m, &event->fragment, event->seq)) sum += event->total;
	}
	return sum;
}

static void write_expected(const struct model *m, struct buf *out, uint64_t *left_out)
{
	for (size_t i = 0; i < m->closed; i++) {
		const struct expected *row = &m->rows[i];
		char id[FRAGMENT_ID_TEXT_SIZE], time[CLOCK_TEXT_SIZE];
		if (is_left_out(m, row)) {
			*left_out += 1;
			continue;
		}
		fragment_id_format(&row->profile, id);
		(void)clock_format(row->at, time);
		assert_int_equal(
		    buf_printf(out, "{\"profile_id\":\"%s\",\"point_time\":\"%s\",\"label\":%.0f,\"features\":{%s}}\n",
			       id, time, label_of(m, row), row->features),
		    OK);
	}
}

static void compare(const struct buf *expected, const struct buf *made, uint64_t seed)
{
	struct str a = buf_str(expected), b = buf_str(made);
	if (str_eq(a, b)) return;
	size_t at = 0, line = 0, begin = 0;
	while (at < a.len && at < b.len && a.ptr[at] == b.ptr[at]) {
		if (a.ptr[at++] != '\n') continue;
		line++;
		begin = at;
	}
	print_error("CDPD_SEED=%llu, row %zu\nexpected %.*s\nmade     %.*s\n", (unsigned long long)seed, line,
		    (int)strcspn(a.ptr + begin, "\n"), a.ptr + begin, (int)strcspn(b.ptr + begin, "\n"), b.ptr + begin);
	fail();
}

static const char SET[] = "training_set:\n"
			  "  name: spend_in_5_days\n"
			  "  points: {event: View, read: %s}\n"
			  "  label: {event: Order, value: sum, field: properties.total, horizon: 5d, grace: 1d}\n"
			  "  features: [events, orders, spend, last_total, rhythm.mean, by_page.p1]\n";

/* From then on a person has room for two visitors; who has more stays who they are. */
static void tighten_identity(struct training_world *t)
{
	const struct config *next =
	    training_config(t, "",
			    "identity: {namespaces: [{name: user_id, from: userId, max: 1, known: true}, "
			    "{name: anonymous_id, from: anonymousId, max: 2}]}\n");
	assert_int_equal(fold_reload(t->world.fold, next), OK);
	world_settle(&t->world);
	config_unref(t->config);
	t->config = next;
}

static void run(uint64_t seed, const char *moment, bool has_new_rules)
{
	struct training_world t;
	struct training_status status;
	struct buf expected, made;
	char yaml[1000];
	uint64_t left_out = 0;
	random_state = seed;
	training_world_open(&t, "");
	struct model *m = calloc(1, sizeof *m);
	assert_non_null(m);
	m->t = &t;
	m->is_after = strcmp(moment, "after") == 0;
	m->rows = calloc(OPS + 1, sizeof *m->rows);
	assert_non_null(m->rows);
	for (int i = 0; i < OPS; i++) {
		arena_reset(&t.arena);
		if (has_new_rules && i == OPS / 2) tighten_identity(&t);
		do_something(m);
	}
	m->last_t = people_applied_t(t.world.people);
	close_windows(m, m->last_t, true);
	/* Time that passed without a record is not in the journal. */
	while (m->closed && m->rows[m->closed - 1].at + HORIZON + GRACE > m->last_t) m->closed--;
	buf_init(&expected, (size_t)64 << 20);
	write_expected(m, &expected, &left_out);
	(void)snprintf(yaml, sizeof yaml, SET, moment);
	training_make(&t, yaml, TRAINING_NDJSON, &made, &status);
	compare(&expected, &made, seed);
	/* An erased person's events are no points at all; the others of whom an identifier was erased are left out. */
	assert_true(status.left_out_erased <= left_out);
	assert_true(status.censored <= m->row_count - m->closed);
	assert_int_equal(status.given + left_out, m->closed);
	assert_true(status.given > 10); /* it could fail */
	buf_fini(&expected);
	buf_fini(&made);
	free(m->rows);
	free(m);
	training_world_close(&t);
}

static void rows_say_what_was_known_and_what_came(void **state)
{
	(void)state;
	const char *text = getenv("CDPD_SEED");
	if (text) run(strtoull(text, NULL, 10), "before", false);
	for (uint64_t seed = 1; seed <= 3; seed++) run(seed, "before", false);
}

static void rows_read_after_their_event_have_counted_it(void **state)
{
	(void)state;
	for (uint64_t seed = 11; seed <= 11; seed++) run(seed, "after", false);
}

static void rows_know_the_rules_of_their_time(void **state)
{
	(void)state;
	for (uint64_t seed = 21; seed <= 22; seed++) run(seed, "before", true);
}

/* ── by the times of events ──────────────────────────────────────────────── */

struct past {
	uint64_t user;
	int64_t at;
	bool is_order;
};

static uint64_t orders_between(const struct past *events, size_t count, uint64_t user, int64_t after, int64_t until)
{
	uint64_t orders = 0;
	for (size_t i = 0; i < count; i++)
		orders += events[i].is_order && events[i].user == user && events[i].at > after && events[i].at <= until;
	return orders;
}

static int order_past(const void *a, const void *b)
{
	int64_t x = ((const struct past *)a)->at, y = ((const struct past *)b)->at;
	return x < y ? -1 : x > y;
}

/* A year that arrives in one afternoon and in no order. */
static void history_is_put_in_its_order(void **state)
{
	(void)state;
	enum { COUNT = 500 };
	struct training_world t;
	struct training_status status;
	struct past events[COUNT];
	struct sender sender;
	struct buf expected, made;
	uint64_t censored = 0;
	random_state = 77;
	training_world_open(&t, "");
	sender_init(&sender, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		int64_t ago = (int64_t)next_random(365 * 86400) * US_PER_SECOND + (int64_t)i; /* no two at one time */
		events[i] = (struct past){next_random(USERS), FAKE_START - ago, next_random(2) == 0};
		struct cdpd_event event = event_make(&sender.arena, events[i].user, i);
		event.event = events[i].is_order ? STR("Order") : STR("View");
		event.event_time_us = events[i].at;
		event.received_at_us = FAKE_START;
		sender_event(&sender, &event);
	}
	(void)sender_send(&sender, t.world.journal);
	world_settle(&t.world);
	buf_init(&expected, 1 << 20);
	assert_int_equal(buf_printf(&expected, "point_time,label,orders\n"), OK);
	qsort(events, COUNT, sizeof *events, order_past);
	for (size_t i = 0; i < COUNT; i++) {
		char time[CLOCK_TEXT_SIZE];
		const struct past *at = &events[i];
		if (at->is_order) continue;
		if (at->at > FAKE_START - HORIZON - GRACE) {
			censored++;
			continue;
		}
		(void)clock_format(at->at, time);
		assert_int_equal(
		    buf_printf(&expected, "%s,%llu,%llu\n", time,
			       (unsigned long long)orders_between(events, COUNT, at->user, at->at, at->at + HORIZON),
			       (unsigned long long)orders_between(events, COUNT, at->user, INT64_MIN, at->at - 1)),
		    OK);
	}
	training_make(&t,
		      "training_set:\n  name: s\n  time: event\n  points: {event: View}\n  features: [orders]\n"
		      "  label: {event: Order, value: count, horizon: 5d, grace: 1d}\n",
		      TRAINING_CSV, &made, &status);
	struct buf plain;
	buf_init(&plain, 1 << 20);
	for (const char *line = buf_ptr(&made), *end = line + made.len; line < end;) {
		const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		const char *comma = memchr(line, ',', (size_t)(next - line));
		assert_int_equal(buf_append(&plain, comma + 1, (size_t)(next - comma - 1)), OK);
		line = next;
	}
	compare(&expected, &plain, 77);
	assert_int_equal(status.censored, censored);
	buf_fini(&plain);
	buf_fini(&expected);
	buf_fini(&made);
	training_world_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_say_what_was_known_and_what_came),
	    cmocka_unit_test(rows_read_after_their_event_have_counted_it),
	    cmocka_unit_test(rows_know_the_rules_of_their_time),
	    cmocka_unit_test(history_is_put_in_its_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
