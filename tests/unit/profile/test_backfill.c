/* New features count what was there before them: random sequences of events, merges, unmerges, erasures and definitions, against a world in
 * which every feature was there from the start, against sums made by hand, and against the same records cut into other transactions. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "profile/backfill.h"
#include "profile/erase.h"
#include "profile/key_copy.h"
#include "profile/segment.h"
#include "profile/suppress.h"

#define BASE_SEED  UINT64_C(20261122)
#define WORLDS     12
#define ROUNDS     40 /* a world: each in names of its own, all in one history */
#define RECORDS    25
#define SCRIPT_MAX (ROUNDS * RECORDS + ROUNDS)
#define USERS      3
#define EMAILS     2
#define ANONYMOUS  4

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((random_state >> 33) % below);
}

/* ── definitions ─────────────────────────────────────────────────────────── */

#define FEATURE(name, type, event, field, extra) \
	"{\"event\":\"" event "\",\"extra\":{" extra "},\"field\":\"" field "\",\"name\":\"" name \
	"\",\"state_version\":1,\"type\":\"" type "\"}"

static const char *const candidates[] = {
    FEATURE("events", "count", "", "", ""),
    FEATURE("orders", "count", "Order", "", ""),
    FEATURE("revenue", "sum", "Order", "properties.total", ""),
    FEATURE("dear", "sum", "Order", "properties.total", "\"where\":[{\"field\":\"properties.total\",\"min\":50}]"),
    FEATURE("first_page", "first", "page", "name", ""),
    FEATURE("last_page", "last", "page", "name", ""),
    FEATURE("low", "min", "Order", "properties.total", ""),
    FEATURE("mean", "mean", "Order", "properties.total", ""),
    FEATURE("skus", "distinct", "Order", "properties.products[].sku", ""),
    FEATURE("bought", "count", "Order", "", "\"key\":\"properties.products[].sku\",\"max_keys\":3"),
    FEATURE("rhythm", "intervals", "Order", "", ""),
    FEATURE("warmth", "decayed", "", "", "\"options\":{\"half_life\":3600000000}"),
    FEATURE("lately", "window", "page", "", ""),
};
#define CANDIDATES COUNT_OF(candidates)
#define ALL        ((1u << CANDIDATES) - 1)

static const char *definitions_of(unsigned set, const char *segments)
{
	static char text[16384];
	int len =
	    snprintf(text, sizeof text, "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":[");
	const char *comma = "";
	for (size_t i = 0; i < CANDIDATES; i++) {
		if (!(set >> i & 1)) continue;
		len += snprintf(text + len, sizeof text - (size_t)len, "%s%s", comma, candidates[i]);
		comma = ",";
	}
	(void)snprintf(text + len, sizeof text - (size_t)len,
		       "],\"identity\":{\"blocked\":[],\"max_fragments\":6,\"namespaces\":["
		       "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
		       "{\"from\":\"traits.email\",\"is_known\":true,\"max_per_profile\":2,\"name\":\"email\"},"
		       "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":4,\"name\":\"anonymous_id\"}]}"
		       "%s}",
		       segments);
	return text;
}

/* ── a script ────────────────────────────────────────────────────────────── */

enum kind { EVENT, MERGE, UNMERGE, ERASE, SUPPRESS, DEFINE };
struct step {
	enum kind kind;
	struct cdpd_event event;
	struct str a, b; /* references */
	bool flag;       /* a whole person, or a suppression that is lifted */
	unsigned features;
	uint32_t budget; /* positions that are counted before it */
};
struct script {
	struct arena arena;
	struct step steps[SCRIPT_MAX];
	size_t count;
	uint64_t round_end[ROUNDS]; /* steps */
};

static struct str text(struct arena *arena, const char *format, uint32_t round, uint32_t n)
{
	struct str out;
	assert_int_equal(arena_printf(arena, &out, format, round, n), OK);
	return out;
}

static struct str random_ref(struct arena *arena, uint32_t round)
{
	switch (pick(3)) {
	case 0: return text(arena, "user_id:r%uu%u", round, pick(USERS));
	case 1: return text(arena, "email:r%ue%u@x.y", round, pick(EMAILS));
	default: return text(arena, "anonymous_id:r%ua%u", round, pick(ANONYMOUS));
	}
}

static struct cdpd_event random_event(struct arena *arena, uint32_t round)
{
	static const enum event_type types[] = {EVENT_TRACK, EVENT_TRACK, EVENT_TRACK, EVENT_PAGE, EVENT_IDENTIFY};
	struct cdpd_event event = world_event(types[pick(COUNT_OF(types))], "", "");
	if (pick(2)) event.anonymous_id = text(arena, "r%ua%u", round, pick(ANONYMOUS));
	if (pick(2) || !event.anonymous_id.len) event.user_id = text(arena, "r%uu%u", round, pick(USERS));
	if (pick(3) == 0) event.rights = RIGHT_LINK_KNOWN | RIGHT_ALIAS;
	if (event.type == EVENT_IDENTIFY) event.traits = text(arena, "{\"email\":\"r%ue%u@x.y\"}", round, pick(EMAILS));
	if (event.type == EVENT_PAGE) event.name = text(arena, "page %u %u", pick(2), pick(5));
	if (event.type == EVENT_TRACK) {
		event.event = pick(4) ? STR("Order") : STR("Other");
		event.properties =
		    text(arena, "{\"total\":%u,\"products\":[{\"sku\":\"s%u\"},{\"sku\":\"s1\"}]}", pick(100), pick(6));
	}
	event.event_time_us = WORLD_T0 + (int64_t)pick(8) * 100000000; /* late ones, and ties */
	return event;
}

static struct step random_step(struct arena *arena, uint32_t round)
{
	struct step step = {.budget = pick(3) ? pick(3) : pick(60)};
	uint32_t dice = pick(40);
	if (dice < 3) {
		step.kind = DEFINE;
		step.features = (unsigned)pick(ALL + 1);
		return step;
	}
	if (dice < 5) step.kind = ERASE;
	if (dice == 5) step.kind = SUPPRESS;
	if (dice == 6 || dice == 7) step.kind = MERGE;
	if (dice == 8 || dice == 9) step.kind = UNMERGE;
	if (step.kind == EVENT) step.event = random_event(arena, round);
	step.a = random_ref(arena, round);
	step.b = random_ref(arena, round);
	step.flag = pick(2);
	return step;
}

static void write_script(struct script *script, uint64_t seed)
{
	random_state = seed;
	arena_init(&script->arena, 65536, 0);
	script->count = 0;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < RECORDS; i++) {
			struct step *step = &script->steps[script->count++];
			*step = random_step(&script->arena, round);
			step->event.message_id = text(&script->arena, "m%u-%u", (uint32_t)script->count, 0);
		}
		script->round_end[round] = script->count;
	}
}

/* ── living it ───────────────────────────────────────────────────────────── */

struct life {
	struct world world;
	const struct script *script;
	const struct cdpd_event *events[SCRIPT_MAX + 2]; /* by position; NULL: none */
	bool is_early;                                   /* all features from the start */
	uint32_t cut;                                    /* a commit every so many steps, at random; 1: after each */
	uint64_t cuts_state;
	bool is_open;
};

static void open_txn(struct life *life)
{
	if (!life->is_open) world_begin(&life->world);
	life->is_open = true;
}

static void close_txn(struct life *life)
{
	if (life->is_open) world_commit(&life->world);
	life->is_open = false;
}

/* As the fold does: what is complete is let go at the start of a transaction. */
static void settle_ripe(struct life *life)
{
	if (!people_backfill_is_ripe(life->world.people)) return;
	close_txn(life);
	open_txn(life);
	assert_int_equal(people_backfill_finish(life->world.people, life->world.seq), OK);
}

static void count_past(struct life *life, uint32_t budget)
{
	struct world *world = &life->world;
	while (budget-- > 0) {
		uint64_t at = people_backfill_next(world->people);
		if (at == BACKFILL_NONE) break;
		open_txn(life);
		assert_true(at <= world->seq);
		assert_int_equal(people_backfill_count(world->people, at, WORLD_T0 + (int64_t)at, life->events[at],
						       world->seq, WORLD_T0 + (int64_t)world->seq),
				 OK);
	}
	settle_ripe(life);
}

static void id_of(struct world *world, struct str ref, struct fragment_id *id)
{
	struct str namespace_;
	view_begin(world);
	assert_int_equal(people_ref(world->reader, ref, &world->arena, id, &namespace_), OK);
	view_end(world);
}

static void erase(struct world *world, const struct step *step, uint64_t seq)
{
	struct fragment_id id;
	id_of(world, step->a, &id);
	struct people_erasure erasure = {.fragments = &id, .count = 1, .is_whole = step->flag};
	memcpy(erasure.receipt, &seq, sizeof seq);
	assert_int_equal(people_erase(world->people, &erasure, seq, WORLD_T0 + (int64_t)seq), OK);
	assert_int_equal(people_note_act(world->people, seq), OK);
}

static void suppress(struct world *world, const struct step *step, uint64_t seq)
{
	struct people_suppression act = {
	    .is_lifted = step->flag, .namespace_ = STR("user_id"), .actor = STR("ops"), .reason = STR_NONE};
	id_of(world, step->a, &act.owner);
	assert_int_equal(people_suppress(world->people, &act, seq, WORLD_T0 + (int64_t)seq), OK);
}

static void act(struct world *world, const struct step *step, uint64_t seq)
{
	const struct people_act act = {step->a, step->b, STR("ops"), STR("because")};
	assert_int_equal(people_act(world->people, step->kind == MERGE ? PEOPLE_MERGE : PEOPLE_UNMERGE, &act, seq,
				    WORLD_T0 + (int64_t)seq),
			 OK);
}

static void take_step(struct life *life, const struct step *step)
{
	struct world *world = &life->world;
	struct apply_result result;
	if (step->kind == DEFINE) close_txn(life);
	count_past(life, step->budget);
	open_txn(life);
	if (step->kind == EVENT) {
		world_apply(world, &step->event, &result);
		life->events[world->seq] = &step->event;
		return;
	}
	uint64_t seq = ++world->seq;
	life->events[seq] = NULL;
	switch (step->kind) {
	case DEFINE:
		if (!life->is_early)
			assert_int_equal(people_define_since(world->people,
							     str_from(definitions_of(step->features, "")), seq,
							     WORLD_T0 + (int64_t)seq, 1),
					 OK);
		return;
	case ERASE: erase(world, step, seq); return;
	case SUPPRESS: suppress(world, step, seq); return;
	default: act(world, step, seq); return;
	}
}

/* Erased identifiers stand as hashes in histories: those of two worlds that are to be the same hang on one key. */
static void take_key(struct world *world, const struct hash_key *key)
{
	char path[96];
	(void)snprintf(path, sizeof path, "%s/profiles", world->path);
	people_reader_free(world->reader);
	people_close(world->people);
	assert_int_equal(store_remove_env(path), OK);
	assert_int_equal(key_copy_write(world->path, key), OK);
	assert_int_equal(people_open(world->path, &world->people), OK);
	assert_int_equal(people_reader_new(world->people, &world->reader), OK);
}

static void start(struct life *life, const struct script *script, bool is_early, uint32_t cut)
{
	static const struct hash_key key = {"one for all here"};
	*life = (struct life){.script = script, .is_early = is_early, .cut = cut, .cuts_state = cut};
	world_open_empty(&life->world);
	take_key(&life->world, &key);
	world_define(&life->world, definitions_of(is_early ? ALL : 1, ""));
}

static void live(struct life *life, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		take_step(life, &life->script->steps[i]);
		life->cuts_state = life->cuts_state * 6364136223846793005u + 1442695040888963407u;
		if ((life->cuts_state >> 33) % life->cut == 0) {
			close_txn(life);
			if (life->cut > 1 && (life->cuts_state >> 40) % 64 == 0) world_reopen(&life->world);
		}
	}
	close_txn(life);
}

static void rest(struct life *life)
{
	count_past(life, UINT32_MAX);
	close_txn(life);
}

/* ── comparing ───────────────────────────────────────────────────────────── */

static const struct profile_feature *find(const struct profile *profile, struct str name)
{
	for (size_t i = 0; i < profile->feature_count; i++)
		if (str_eq(profile->features[i].name, name)) return &profile->features[i];
	fail_msg("a feature is missing");
	return NULL;
}

static void compare(struct life *late, struct life *early, struct str ref)
{
	struct profile ours, theirs;
	char name[64];
	(void)snprintf(name, sizeof name, "%.*s", STR_ARG(ref));
	arena_reset(&late->world.arena);
	arena_reset(&early->world.arena);
	view_begin(&late->world);
	view_begin(&early->world);
	int rc = view_get(&late->world, name, &ours);
	assert_int_equal(view_get(&early->world, name, &theirs), rc);
	for (size_t i = 0; rc == OK && i < ours.feature_count; i++) {
		const struct profile_feature *expected = find(&theirs, ours.features[i].name);
		if (!str_eq(ours.features[i].value, expected->value))
			fail_msg("%s: %.*s is %.*s, not %.*s", name, STR_ARG(expected->name),
				 STR_ARG(ours.features[i].value), STR_ARG(expected->value));
		assert_int_equal(ours.features[i].since_seq, 1);
		assert_true(ours.features[i].is_complete);
	}
	view_end(&late->world);
	view_end(&early->world);
}

/* Orders that lie in the person's fragments, counted from the log. */
static void count_by_hand(struct life *life, struct str ref)
{
	struct world *world = &life->world;
	struct profile profile;
	char name[64];
	uint64_t orders = 0;
	(void)snprintf(name, sizeof name, "%.*s", STR_ARG(ref));
	arena_reset(&world->arena);
	view_begin(world);
	if (view_get(world, name, &profile) == OK) {
		for (uint64_t seq = 1; seq <= world->seq; seq++) {
			struct outcome outcome;
			const struct cdpd_event *event = life->events[seq];
			if (!event || !str_eq(event->event, STR("Order"))) continue;
			assert_int_equal(people_get_outcome(world->reader, seq, &outcome), OK);
			for (size_t i = 0; outcome.verdict == OUTCOME_APPLIED && i < profile.identifier_count; i++)
				orders += memcmp(outcome.fragment, profile.identifiers[i].fragment.bytes, 16) == 0 &&
					  seq >= profile.identifiers[i].first_seq;
		}
		for (size_t i = 0; i < profile.feature_count; i++) {
			char value[32];
			(void)snprintf(value, sizeof value, "%llu", (unsigned long long)orders);
			if (str_eq(profile.features[i].name, STR("orders")) &&
			    !str_eq(profile.features[i].value, str_from(value)))
				fail_msg("%s: orders is %.*s, counted by hand %s", name,
					 STR_ARG(profile.features[i].value), value);
		}
	}
	view_end(world);
}

static void compare_round(struct life *late, struct life *early, uint32_t round)
{
	struct arena arena;
	arena_init(&arena, 4096, 0);
	for (uint32_t i = 0; i < USERS + EMAILS + ANONYMOUS; i++) {
		struct str ref = i < USERS            ? text(&arena, "user_id:r%uu%u", round, i)
				 : i < USERS + EMAILS ? text(&arena, "email:r%ue%u@x.y", round, i - USERS)
						      : text(&arena, "anonymous_id:r%ua%u", round, i - USERS - EMAILS);
		compare(late, early, ref);
		count_by_hand(late, ref);
	}
	arena_fini(&arena);
}

static void one_world(uint64_t seed)
{
	static struct script script;
	static struct life late, early;
	write_script(&script, seed);
	start(&late, &script, false, 6);
	start(&early, &script, true, 6);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		size_t from = round ? script.round_end[round - 1] : 0;
		live(&late, from, script.round_end[round]);
		live(&early, from, script.round_end[round]);
		if (pick(4)) continue; /* else what is counted goes on over the rounds */
		rest(&late);
		for (uint32_t i = 0; i <= round; i++) compare_round(&late, &early, i);
	}
	rest(&late);
	for (uint32_t i = 0; i < ROUNDS; i++) compare_round(&late, &early, i);
	world_close(&late.world);
	world_close(&early.world);
	arena_fini(&script.arena);
}

static void late_features_are_as_if_they_had_been_there(void **state)
{
	(void)state;
	const char *own = getenv("CDPD_SEED");
	for (uint64_t i = 0; i < WORLDS; i++) {
		print_message("seed %llu\n", (unsigned long long)(BASE_SEED + i));
		one_world(BASE_SEED + i);
	}
	if (own) one_world(strtoull(own, NULL, 10));
}

/* ── the same records, cut differently ───────────────────────────────────── */

static void a_replay_comes_to_the_same_bytes(void **state)
{
	(void)state;
	static struct script script;
	static struct life lives[2];
	for (uint64_t seed = 1; seed <= 6; seed++) {
		const char *dumps[2];
		write_script(&script, BASE_SEED * 3 + seed);
		for (uint32_t i = 0; i < 2; i++) {
			start(&lives[i], &script, false, i ? 9 : 1);
			live(&lives[i], 0, script.count - 7); /* some of it is still to be counted */
			dumps[i] = world_dump(&lives[i].world);
			struct backfill_progress progress;
			people_backfill_progress(lives[i].world.people, &progress);
			print_message("seed %llu: %u features open at %u permille\n", (unsigned long long)seed,
				      progress.features, progress.permille);
		}
		assert_string_equal(dumps[0], dumps[1]);
		for (uint32_t i = 0; i < 2; i++) {
			free((void *)(uintptr_t)dumps[i]);
			world_close(&lives[i].world);
		}
		arena_fini(&script.arena);
	}
}

/* ── alone ───────────────────────────────────────────────────────────────── */

static struct cdpd_event order(const char *user)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, "");
	event.event = STR("Order");
	event.properties = STR("{\"total\":10}");
	return event;
}

static void what_the_journal_has_lost_is_not_claimed(void **state)
{
	(void)state;
	struct world world;
	struct profile profile;
	const struct cdpd_event event = order("u");
	world_open_empty(&world);
	world_define(&world, definitions_of(1, ""));
	for (int i = 0; i < 5; i++) (void)world_one(&world, &event); /* positions 2 to 6 */
	world_begin(&world);
	assert_int_equal(
	    people_define_since(world.people, str_from(definitions_of(3, "")), ++world.seq, WORLD_T0 + 7, 3), OK);
	assert_int_equal(people_backfill_next(world.people), 3);
	assert_int_equal(people_backfill_count(world.people, 3, WORLD_T0 + 3, &event, 8, WORLD_T0 + 8), OK);
	people_backfill_skip(world.people, 5);
	assert_int_equal(people_backfill_next(world.people), 5);
	world_commit(&world);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u", &profile), OK);
	assert_int_equal(find(&profile, STR("orders"))->since_seq, 5);
	assert_false(find(&profile, STR("orders"))->is_complete);
	assert_int_equal(find(&profile, STR("events"))->since_seq, 1);
	assert_true(find(&profile, STR("events"))->is_complete);
	view_end(&world);
	world_begin(&world);
	for (uint64_t at = 5; at < 7; at++)
		assert_int_equal(
		    people_backfill_count(world.people, at, WORLD_T0 + (int64_t)at, &event, 8, WORLD_T0 + 8), OK);
	assert_true(people_backfill_is_ripe(world.people));
	assert_int_equal(people_backfill_next(world.people), BACKFILL_NONE);
	world_commit(&world);
	world_begin(&world);
	assert_int_equal(people_backfill_finish(world.people, 8), OK);
	world_commit(&world);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u", &profile), OK);
	assert_true(str_eq(find(&profile, STR("orders"))->value, STR("3"))); /* 3, 5 and 6 */
	assert_int_equal(find(&profile, STR("orders"))->since_seq, 5);
	assert_int_equal(find(&profile, STR("orders"))->since_t, WORLD_T0 + 5);
	assert_true(find(&profile, STR("orders"))->is_complete);
	view_end(&world);
	world_close(&world);
}

#define NO_ORDERS \
	",\"segments\":[{\"name\":\"idle\",\"when\":{\"name\":\"orders\",\"op\":\"is\",\"source\":\"feature\"," \
	"\"value\":0}}," \
	"{\"name\":\"strangers\",\"when\":{\"name\":\"idle\",\"op\":\"is\",\"source\":\"segment\",\"value\":true}}]"

static uint64_t members(struct world *world, const char *name)
{
	struct segment_info info;
	view_begin(world);
	assert_int_equal(people_segment(world->reader, str_from(name), &world->arena, &info), OK);
	view_end(world);
	return info.members;
}

static void scan(struct world *world)
{
	world_begin(world);
	assert_int_equal(people_scan_segments(world->people, WORLD_T0 + (int64_t)++world->seq, SIZE_MAX), OK);
	world_commit(world);
}

/* Nobody who has ordered is told to have never ordered, in between. */
static void segments_wait_until_all_is_counted(void **state)
{
	(void)state;
	struct world world;
	const struct cdpd_event orders = order("u");
	const struct cdpd_event other = world_event(EVENT_PAGE, "v", ""), more = world_event(EVENT_PAGE, "u", "");
	world_open_empty(&world);
	world_define(&world, definitions_of(1, ""));
	(void)world_one(&world, &orders);
	(void)world_one(&world, &other);
	uint64_t feed = people_last_change(world.people);
	world_begin(&world);
	assert_int_equal(
	    people_define_since(world.people, str_from(definitions_of(3, NO_ORDERS)), ++world.seq, WORLD_T0 + 4, 1),
	    OK);
	world_commit(&world);
	scan(&world);
	(void)world_one(&world, &more);
	assert_int_equal(members(&world, "idle"), 0);
	assert_int_equal(members(&world, "strangers"), 0);
	world_reopen(&world); /* what waits is known again */
	(void)world_one(&world, &more);
	assert_int_equal(members(&world, "idle"), 0);
	world_begin(&world);
	for (uint64_t at = 1; at < 4; at++)
		assert_int_equal(people_backfill_count(world.people, at, WORLD_T0,
						       at == 2   ? &orders
						       : at == 3 ? &other
								 : NULL,
						       world.seq, WORLD_T0 + (int64_t)world.seq),
				 OK);
	world_commit(&world);
	assert_int_equal(members(&world, "idle"), 0);
	world_begin(&world);
	assert_int_equal(people_backfill_finish(world.people, world.seq), OK);
	world_commit(&world);
	scan(&world);
	assert_int_equal(members(&world, "idle"), 1); /* v alone */
	assert_int_equal(members(&world, "strangers"), 1);
	const char *changes = view_changes(&world, feed);
	assert_null(strstr(changes, "\"entered\":false"));
	assert_non_null(strstr(changes, "\"orders\":1")); /* subscribers hear the value, too */
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_journal_has_lost_is_not_claimed),
	    cmocka_unit_test(segments_wait_until_all_is_counted),
	    cmocka_unit_test(a_replay_comes_to_the_same_bytes),
	    cmocka_unit_test(late_features_are_as_if_they_had_been_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
