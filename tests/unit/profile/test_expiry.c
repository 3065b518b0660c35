/* Consents and answers that run out are changes of the feed, at their time: a copy that applies every change knows at any
 * moment what a read at that moment shows. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "profile/consent_fold.h"
#include "profile/erase.h"
#include "profile/key_copy.h"
#include "profile/segment.h"
#include "profile/segments.h"
#include "profile/suppress.h"

#define SECOND US_PER_SECOND

static struct world world;
static uint64_t told_to; /* newest change that news() has shown */
static bool has_erased;  /* the invariants count events that are gone */

static const char *definitions(void)
{
	static char text[8192];
	(void)snprintf(
	    text, sizeof text,
	    "{\"consent\":[{\"basis\":\"consent\",\"channels\":[\"email\"],\"default\":false,\"destinations\":[],"
	    "\"double_opt_in\":false,\"events\":[],\"ingest\":false,\"name\":\"news\",\"sources\":[]}],%s",
	    world_definitions + 1);
	return text;
}

static int setup(void **state)
{
	(void)state;
	world_open_empty(&world);
	world_define(&world, definitions());
	told_to = people_last_change(world.people);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!has_erased) world_check(&world);
	has_erased = false;
	world_close(&world);
	return 0;
}

static int64_t now_of(uint64_t seq)
{
	return WORLD_T0 + world.ahead + (int64_t)seq;
}

/* Time stands at `seconds` behind the beginning from the next record on. */
static void at(int64_t seconds)
{
	world.ahead = seconds * SECOND;
}

static void fire(void)
{
	uint64_t seq = world.seq + 1;
	while (people_is_due(world.people, now_of(seq)))
		assert_int_equal(people_fire_due(world.people, seq, now_of(seq), 2), OK);
}

/* As the fold does: what is due first. Inside a transaction. */
static void record(const struct cdpd_event *event)
{
	struct apply_result result;
	fire();
	if (event)
		world_apply(&world, event, &result);
	else
		world.seq++;
}

static void one(const struct cdpd_event *event)
{
	world_begin(&world);
	record(event);
	world_commit(&world);
	if (!has_erased) world_check(&world);
}

static void tick(void)
{
	one(NULL);
}

static struct cdpd_event answer_of(const char *user, const char *anonymous, const char *traits, int expires_in)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Form Answered");
	event.event_time_us = now_of(world.seq + 1);
	event.flags = EVENT_DECLARED;
	assert_int_equal(arena_printf(&world.arena, &event.properties,
				      "{\"form\":\"fit\",\"version\":1,\"provenance\":{\"size\":{\"expiresIn\":%d},"
				      "\"color\":{\"expiresIn\":%d}}}",
				      expires_in, expires_in),
			 OK);
	event.traits = str_from(traits);
	return event;
}

static void answer(const char *user, const char *anonymous, const char *traits, int expires_in)
{
	struct cdpd_event event = answer_of(user, anonymous, traits, expires_in);
	one(&event);
}

static struct cdpd_event identify_of(const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.event_time_us = now_of(world.seq + 1);
	event.traits = str_from(traits);
	return event;
}

static void identify(const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = identify_of(user, anonymous, traits);
	one(&event);
}

/* A consent until `seconds` behind the beginning; 0: for ever. */
static void consent(const char *user, const char *anonymous, const char *said, int64_t seconds)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	char until[64] = "", time[64];
	if (seconds) {
		size_t len = clock_format(WORLD_T0 + seconds * SECOND, time);
		(void)snprintf(until, sizeof until, ",\"expires_at\":\"%.*s\"", (int)len, time);
	}
	event.flags |= EVENT_CONSENT;
	event.event = STR("Consent");
	event.event_time_us = now_of(world.seq + 1);
	assert_int_equal(arena_printf(&world.arena, &event.properties,
				      "{\"purpose\":\"news\",\"channel\":\"\",\"state\":\"%s\"%s}", said, until),
			 OK);
	event.enrichment = STR("{\"consent\":{\"salt\":\"00112233445566778899aabbccddeeff\"}}");
	one(&event);
}

/* Trait and consent changes since the last call. */
static const char *news(void)
{
	static char shown[8192];
	const char *text = view_changes(&world, told_to), *line = text;
	size_t len = 0;
	shown[0] = '\0';
	for (const char *end; *line && (end = strchr(line, '\n')); line = end + 1) {
		if (strncmp(line, "trait", 5) != 0 && strncmp(line, "consent", 7) != 0) continue;
		memcpy(shown + len, line, (size_t)(end - line) + 1);
		len += (size_t)(end - line) + 1;
		shown[len] = '\0';
	}
	told_to = people_last_change(world.people);
	return shown;
}

static bool says(const char *news, const char *what)
{
	return strstr(news, what) != NULL;
}

static bool nothing_waits(void)
{
	return people_wake_at(world.people, 0) == INT64_MAX;
}

static void an_answer_that_runs_out_is_told_when_it_does(void **state)
{
	(void)state;
	answer("u1", "", "{\"size\":\"m\",\"other\":1}", 100);
	assert_true(says(news(), "\"size\":{\"value\":\"m\""));
	int64_t due = people_wake_at(world.people, 0);
	assert_true(due > WORLD_T0 + 99 * SECOND && due < WORLD_T0 + 101 * SECOND);
	at(99);
	tick();
	assert_text(news(), "");
	at(101);
	tick();
	const char *told = news();
	assert_true(says(told, "trait {\"traits\":{\"size\":{\"value\":null}},\"why\":\"time\",\"dueAt\":\"2023-"));
	assert_false(says(told, "other"));
	assert_true(nothing_waits());
	at(500);
	tick();
	assert_text(news(), "");
}

static void what_it_hid_comes_back(void **state)
{
	(void)state;
	identify("u1", "", "{\"size\":\"l\"}");
	answer("u1", "", "{\"size\":\"m\"}", 100);
	(void)news();
	at(101);
	tick();
	assert_true(says(news(), "{\"traits\":{\"size\":{\"value\":\"l\",\"provenance\":\"observed\"}}"));
}

/* Only what is in force runs out: not what was renewed, replaced or hidden, and not what had run out when it came. */
static void what_does_not_count_any_more_is_not_told(void **state)
{
	(void)state;
	answer("u1", "", "{\"size\":\"m\"}", 100);
	at(50);
	answer("u1", "", "{\"size\":\"m\"}", 100);
	answer("u2", "", "{\"size\":\"m\"}", 100);
	answer("u2", "", "{\"size\":\"s\"}", 0);
	(void)news();
	at(120);
	tick();
	assert_text(news(), "");
	at(151);
	tick();
	const char *told = news();
	assert_true(says(told, "{\"value\":null}"));
	assert_null(strstr(strstr(told, "null") + 1, "null")); /* u1's alone */
	struct cdpd_event late = answer_of("u3", "", "{\"size\":\"m\"}", 10);
	late.event_time_us = WORLD_T0 + 100 * SECOND;
	one(&late);
	assert_text(news(), "");
	assert_true(nothing_waits());
}

static void a_consent_that_runs_out_is_told_when_it_does(void **state)
{
	(void)state;
	consent("u1", "", "granted", 100);
	consent("u2", "", "granted", 0);
	consent("u3", "", "granted", 100);
	consent("u3", "", "withdrawn", 0);
	consent("u4", "", "granted", 100);
	consent("u4", "", "granted", 300);
	(void)news();
	at(99);
	tick();
	assert_text(news(), "");
	at(100);
	tick();
	const char *told = news();
	assert_true(says(told, "consent {\"purpose\":\"news\",\"state\":\"expired\",\"previous\":\"granted\""));
	assert_true(says(told, "\"cause\":\"time\""));
	assert_null(strstr(strchr(told, '\n'), "consent"));
	at(300);
	tick();
	assert_true(says(news(), "\"state\":\"expired\""));
	assert_true(nothing_waits());
}

/* The entries are the fragments': whoever they belong to when the time comes is told of. */
static void persons_join_and_part_meanwhile(void **state)
{
	(void)state;
	int64_t time;
	struct people_act act = {
	    .a = STR("user_id:u1"), .b = STR("anonymous_id:a1"), .actor = STR("t"), .note = STR("")};
	answer("", "a1", "{\"size\":\"m\"}", 100);
	identify("u1", "", "{\"size\":\"l\"}");
	time = now_of(world.seq + 1);
	world_begin(&world);
	assert_int_equal(people_act(world.people, PEOPLE_MERGE, &act, ++world.seq, time), OK);
	world_commit(&world);
	(void)news();
	at(101);
	tick();
	assert_true(says(news(), "{\"traits\":{\"size\":{\"value\":\"l\",\"provenance\":\"observed\"}}"));
	answer("", "a1", "{\"color\":\"red\"}", 100);
	time = now_of(world.seq + 1);
	world_begin(&world);
	assert_int_equal(people_act(world.people, PEOPLE_UNMERGE, &act, ++world.seq, time), OK);
	world_commit(&world);
	(void)news();
	at(202);
	tick();
	assert_true(says(news(), "{\"traits\":{\"color\":{\"value\":null}}"));
	assert_text(view_traits(&world, "user_id:u1"), "size=\"l\"");
}

static void erased_persons_leave_nothing_that_waits(void **state)
{
	(void)state;
	struct fragment_id id;
	struct str namespace_;
	answer("u1", "", "{\"size\":\"m\",\"color\":1}", 100);
	consent("u1", "", "granted", 200);
	assert_false(nothing_waits());
	view_begin(&world);
	assert_int_equal(people_ref(world.reader, STR("user_id:u1"), &world.arena, &id, &namespace_), OK);
	view_end(&world);
	struct people_erasure erasure = {.fragments = &id, .count = 1, .is_whole = true};
	int64_t time = now_of(world.seq + 1);
	has_erased = true;
	world_begin(&world);
	assert_int_equal(people_erase(world.people, &erasure, ++world.seq, time), OK);
	assert_int_equal(people_note_act(world.people, world.seq), OK);
	world_commit(&world);
	assert_true(nothing_waits());
	uint64_t last = people_last_change(world.people);
	at(300);
	tick();
	assert_int_equal(people_last_change(world.people), last);
}

static void while_the_clock_is_held_nothing_runs_out(void **state)
{
	(void)state;
	answer("u1", "", "{\"size\":\"m\"}", 100);
	(void)news();
	world_begin(&world);
	people_hold(world.people, true, now_of(world.seq));
	world_commit(&world);
	at(500);
	tick();
	assert_text(news(), "");
	world_reopen(&world);
	world_begin(&world);
	people_hold(world.people, false, now_of(world.seq));
	fire();
	world_commit(&world);
	assert_true(says(news(), "{\"value\":null}"));
}

static void they_are_remembered_across_a_restart(void **state)
{
	(void)state;
	answer("u1", "", "{\"size\":\"m\"}", 100);
	(void)news();
	world_reopen(&world);
	assert_false(nothing_waits());
	at(101);
	tick();
	assert_true(says(news(), "{\"value\":null}"));
}

/* ── a copy ──────────────────────────────────────────────────────────────── */

#define PEOPLE 4
static const char *const NAMES[] = {"size", "color"};

struct copy {
	char value[PEOPLE][COUNT_OF(NAMES)][32]; /* JSON; empty: none */
};

static uint64_t random_state;

static uint32_t pick(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

static int person_of(const uint8_t profile[16], const struct fragment_id *ids)
{
	for (int i = 0; i < PEOPLE; i++)
		if (memcmp(profile, ids[i].bytes, 16) == 0) return i;
	return -1;
}

/* Bodies hold plain strings or null only: read by hand. */
static void take(struct copy *copy, int person, struct str body)
{
	char text[4096], key[64];
	(void)snprintf(text, sizeof text, "%.*s", STR_ARG(body));
	for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
		(void)snprintf(key, sizeof key, "\"%s\":{\"value\":", NAMES[i]);
		const char *found = strstr(text, key);
		if (!found) continue;
		found += strlen(key);
		size_t len = strcspn(found, ",}");
		(void)snprintf(copy->value[person][i], 32, "%.*s", (int)len, found);
		if (strcmp(copy->value[person][i], "null") == 0) copy->value[person][i][0] = '\0';
	}
}

static void apply_changes(struct copy *copy, const struct fragment_id *ids)
{
	struct change *changes;
	size_t count;
	view_begin(&world);
	assert_int_equal(people_changes(world.reader, told_to, 100000, &world.arena, &changes, &count), OK);
	for (size_t i = 0; i < count; i++) {
		int person = person_of(changes[i].profile, ids);
		if (changes[i].kind == CHANGE_TRAIT && person >= 0) take(copy, person, changes[i].body);
		told_to = changes[i].seq;
	}
	view_end(&world);
}

static void assert_copy_is_what_is_shown(const struct copy *copy, int64_t now)
{
	for (int p = 0; p < PEOPLE; p++) {
		struct profile profile;
		char ref[32];
		(void)snprintf(ref, sizeof ref, "user_id:u%d", p);
		view_begin(&world);
		assert_int_equal(people_get(world.reader, str_from(ref), PROFILE_TRAITS, now, &world.arena, &profile),
				 OK);
		for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
			struct str shown = STR_NONE;
			for (size_t k = 0; k < profile.trait_count; k++)
				if (str_eq(profile.traits[k].name, str_from(NAMES[i]))) shown = profile.traits[k].value;
			if (!str_eq(shown, str_from(copy->value[p][i])))
				fail_msg("%s of %s is %.*s, a copy says %s", NAMES[i], ref, STR_ARG(shown),
					 copy->value[p][i]);
		}
		view_end(&world);
	}
}

static void random_record(void)
{
	char user[8], device[8], traits[64];
	(void)snprintf(user, sizeof user, "u%u", pick(PEOPLE));
	(void)snprintf(device, sizeof device, "%s", pick(3) ? "" : user);
	(void)snprintf(traits, sizeof traits, "{\"%s\":\"%c\"}", NAMES[pick(2)], 'a' + (int)pick(2));
	struct str kept;
	assert_int_equal(arena_str(&world.arena, str_from(traits), &kept), OK);
	world.ahead += (int64_t)pick(20) * SECOND;
	struct cdpd_event event;
	switch (pick(4)) {
	case 0: event = identify_of(user, device, kept.ptr); break;
	case 1: record(NULL); return;
	default: event = answer_of(user, device, kept.ptr, (int)pick(40)); break;
	}
	event.event_time_us -= (int64_t)pick(10) * SECOND;
	record(&event);
}

/* However the records are cut into transactions. */
static void a_copy_knows_what_is_shown(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 40; n++) {
		struct copy copy = {0};
		struct fragment_id ids[PEOPLE];
		struct str namespace_;
		random_state = n;
		(void)setup(NULL);
		for (int p = 0; p < PEOPLE; p++) {
			char ref[32];
			(void)snprintf(ref, sizeof ref, "user_id:u%d", p);
			identify(ref + 8, "", "{}");
			view_begin(&world);
			assert_int_equal(people_ref(world.reader, str_from(ref), &world.arena, &ids[p], &namespace_),
					 OK);
			view_end(&world);
		}
		for (int transaction = 0; transaction < 12; transaction++) {
			world_begin(&world);
			for (uint32_t records = 1 + pick(8); records; records--) random_record();
			world_commit(&world);
			apply_changes(&copy, ids);
			assert_copy_is_what_is_shown(&copy, now_of(world.seq));
		}
		(void)teardown(NULL);
	}
}

/* ── a replay ────────────────────────────────────────────────────────────── */

static void take_key(void)
{
	static const struct hash_key key = {"one for all here"};
	char path[96];
	(void)snprintf(path, sizeof path, "%s/profiles", world.path);
	people_reader_free(world.reader);
	people_close(world.people);
	assert_int_equal(store_remove_env(path), OK);
	assert_int_equal(key_copy_write(world.path, &key), OK);
	assert_int_equal(people_open(world.path, &world.people), OK);
	assert_int_equal(people_reader_new(world.people, &world.reader), OK);
}

static void hash_table(struct store_txn *txn, store_db table, uint64_t *hash, uint64_t *count)
{
	static const struct hash_key key = {"of what is there"};
	struct store_cursor *cursor;
	struct str row_key = STR_NONE, value;
	assert_int_equal(store_cursor_open(txn, table, &cursor), OK);
	int rc = store_cursor_move(cursor, STORE_FIRST, &row_key, &value);
	for (; !rc; rc = store_cursor_move(cursor, STORE_NEXT, &row_key, &value)) {
		const uint64_t parts[] = {*hash, hash64(&key, row_key.ptr, row_key.len),
					  hash64(&key, value.ptr, value.len)};
		*hash = hash64(&key, parts, sizeof parts);
		*count += 1;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	store_cursor_close(cursor);
}

struct bytes {
	uint64_t rows, expiries, row_count, expiry_count;
};

/* The same records each time, cut into transactions, and restarts, of their own. */
static void live(uint64_t seed, uint32_t cut, struct bytes *out)
{
	uint64_t cuts = cut;
	*out = (struct bytes){0};
	random_state = seed;
	world_open_empty(&world);
	take_key();
	world_define(&world, definitions());
	world_begin(&world);
	for (int i = 0; i < 150; i++) {
		random_record();
		cuts = cuts * UINT64_C(6364136223846793005) + 1442695040888963407u;
		if ((cuts >> 33) % cut) continue;
		world_commit(&world);
		if (cut > 1 && (cuts >> 40) % 8 == 0) world_reopen(&world);
		world_begin(&world);
	}
	hash_table(people_txn(world.people), world.people->segments->tables.expiries, &out->expiries,
		   &out->expiry_count);
	world_commit(&world);
	view_begin(&world);
	hash_table(world.reader->txn, world.people->tables.rows, &out->rows, &out->row_count);
	view_end(&world);
	world_close(&world);
}

static void a_replay_comes_to_the_same_bytes(void **state)
{
	uint64_t waiting = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct bytes first, again;
		live(seed, 1, &first);
		live(seed, 12, &again);
		waiting += first.expiry_count;
		assert_int_equal(again.expiry_count, first.expiry_count);
		assert_true(again.expiries == first.expiries);
		assert_int_equal(again.row_count, first.row_count);
		assert_true(first.row_count > 0 && again.rows == first.rows);
	}
	assert_true(waiting > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_answer_that_runs_out_is_told_when_it_does, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_it_hid_comes_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_does_not_count_any_more_is_not_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_consent_that_runs_out_is_told_when_it_does, setup, teardown),
	    cmocka_unit_test_setup_teardown(persons_join_and_part_meanwhile, setup, teardown),
	    cmocka_unit_test_setup_teardown(erased_persons_leave_nothing_that_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(while_the_clock_is_held_nothing_runs_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(they_are_remembered_across_a_restart, setup, teardown),
	    cmocka_unit_test(a_copy_knows_what_is_shown),
	    cmocka_unit_test(a_replay_comes_to_the_same_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
