/* Answers of asynchronous enrichers: each counts once, whatever their order, and a rebuild from the journal counts the same. */
#include "fold_world.h"

#include "enrich/patched.h"
#include "profile/awaits.h"
#include "profile/backfill.h"
#include "profile/room.h"
#include "store/store.h"

static const char *const a_provides[] = {"enrichment.a"}, *const b_provides[] = {"enrichment.b"};
static const char *const b_needs[] = {"properties.b"};
static const struct cdpd_plugin plugin_a = {.name = "a", .provides = {1, a_provides}};
static const struct cdpd_plugin plugin_b = {.name = "b", .needs = {1, b_needs}, .provides = {1, b_provides}};
static struct conf_instance enrichers[] = {{.name = {"a", 1}, .plugin = {"a", 1}},
					   {.name = {"b", 1}, .plugin = {"b", 1}}};
static struct conf_condition where_a = {.field = {"enrichment.a.x", 14}, .has_exists = true, .exists = true};
static struct conf_condition where_b = {.field = {"enrichment.b.x", 14}, .has_exists = true, .exists = true};
static struct conf_condition where_both[2], where_none = {.field = {"enrichment.a.x", 14}, .has_exists = true};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);
	world_init(world);
	(void)!async_plugin_register(STR("a"), false, &plugin_a);
	(void)!async_plugin_register(STR("b"), false, &plugin_b);
	where_both[0] = where_a;
	where_both[1] = where_b;
	struct conf_feature counts = world->features[0];
	world->features[1] = counts;
	world->features[1].name = STR("has_a");
	world->features[1].where = &where_a;
	world->features[1].where_count = 1;
	world->features[2] = counts;
	world->features[2].name = STR("has_both");
	world->features[2].where = where_both;
	world->features[2].where_count = 2;
	world->features[3] = counts;
	world->features[3].name = STR("lacks_a");
	world->features[3].where = &where_none;
	world->features[3].where_count = 1;
	world->config.feature_count = 4;
	world->config.enrichers = enrichers;
	world->config.enricher_count = 2;
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	world_fini(world);
	free(world);
	return 0;
}

static uint64_t feature(struct world *world, uint64_t user, const char *name)
{
	char text[64];
	world_feature(world, user, name, text, sizeof text);
	return strtoull(text, NULL, 10);
}

/* With properties.b: both are asked. */
static uint64_t send(struct world *world, uint64_t user, uint64_t id, bool for_both)
{
	struct sender sender;
	sender_init(&sender, 1);
	struct cdpd_event event = event_make(&sender.arena, user, id);
	if (for_both) event.properties = STR("{\"b\":1}");
	sender_event(&sender, &event);
	return sender_send(&sender, world->journal);
}

static uint64_t answer(struct world *world, uint64_t seq, const char *enricher, const char *patch)
{
	struct arena arena;
	struct str payload;
	arena_init(&arena, 1024, 0);
	const struct resolution resolution = {.event_seq = seq,
					      .enricher = str_from(enricher),
					      .is_given_up = !patch,
					      .patch = str_from(patch),
					      .reason = patch ? STR_NONE : STR("timeout")};
	CHECK(resolution_encode(&resolution, &arena, &payload) == OK);
	uint64_t at = world_send_record(world, RECORD_RESOLUTION, payload);
	arena_fini(&arena);
	return at;
}

static void features_wait_for_what_they_read(void **state)
{
	struct world *world = *state;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t both = send(world, 1, 1, true), one = send(world, 1, 2, false);
	world_settle(world);
	assert_int_equal(feature(world, 1, "events"), 2);
	assert_int_equal(feature(world, 1, "lacks_a"), 0);
	uint64_t first = answer(world, both, "a", "{\"a\":{\"x\":1}}");
	world_settle(world);
	assert_int_equal(feature(world, 1, "has_a"), 1);
	assert_int_equal(feature(world, 1, "has_both"), 0);  /* waits for b too */
	(void)answer(world, both, "a", "{\"a\":{\"x\":2}}"); /* answered already */
	(void)answer(world, both, "c", "{\"a\":{\"x\":2}}"); /* nobody asked */
	(void)answer(world, one, "b", "{\"b\":{\"x\":2}}");  /* it was not asked about that */
	uint64_t second = answer(world, both, "b", "{\"b\":{\"x\":1}}");
	(void)answer(world, one, "a", NULL);
	world_settle(world);
	assert_int_equal(feature(world, 1, "has_a"), 1);
	assert_int_equal(feature(world, 1, "has_both"), 1);
	assert_int_equal(feature(world, 1, "lacks_a"), 1);
	assert_int_equal(feature(world, 1, "events"), 2);
	assert_int_equal(world_outcome(world, both).resolution_seq, second);
	assert_int_equal(world_outcome(world, second).resolution_seq, first);
	assert_int_equal(world_outcome(world, one).resolution_seq, 0);
	uint64_t verdicts[OUTCOME_VERDICT_COUNT];
	people_verdicts(world->people, verdicts);
	assert_int_equal(verdicts[OUTCOME_APPLIED], 2); /* answers are no events */
	world_close(world);
}

/* A feature that is defined later counts an earlier event once: when the answer comes that it waits for. */
static void definitions_change_meanwhile(void **state)
{
	struct world *world = *state;
	world->config.feature_count = 1;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t before = send(world, 1, 1, true);
	world_settle(world);
	world->config.feature_count = 4;
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	uint64_t between = send(world, 1, 2, true);
	world_settle(world);
	world->config.enricher_count = 0; /* both are removed: what waits, waits on */
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	(void)send(world, 1, 3, true);
	world_settle(world);
	assert_int_equal(feature(world, 1, "lacks_a"), 1); /* nobody waits for anything any more */
	(void)answer(world, before, "a", "{\"a\":{\"x\":1}}");
	(void)answer(world, between, "a", "{\"a\":{\"x\":1}}");
	(void)answer(world, between, "b", NULL);
	world_settle(world);
	assert_int_equal(feature(world, 1, "events"), 3);
	assert_int_equal(feature(world, 1, "has_a"), 2);
	assert_int_equal(feature(world, 1, "has_both"), 0);
	assert_int_equal(feature(world, 1, "lacks_a"), 1);
	world_close(world);
}

struct deferring {
	uint64_t seq;
	bool is_deferred;
};

static int defer(void *ctx, struct people *people)
{
	struct deferring *deferring = ctx;
	for (size_t i = 0; i < people->plan->feature_count; i++) {
		const struct plan_feature *feature = &people->plan->features[i];
		if (!str_eq(feature->def.name, STR("has_a"))) continue;
		return people_await_defer(people, deferring->seq, feature, &deferring->is_deferred);
	}
	return ERR_NOT_FOUND;
}

/* What a backfill does: who waits is counted when the wait ends, once, however often it is asked. */
static void a_backfill_leaves_what_waits(void **state)
{
	struct world *world = *state;
	world->config.feature_count = 1;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	struct deferring waiting = {.seq = send(world, 1, 1, true)}, answered = {.seq = send(world, 1, 2, true)};
	(void)answer(world, answered.seq, "a", "{\"a\":{\"x\":1}}");
	world->config.feature_count = 4;
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
	world_settle(world);
	assert_int_equal(fold_run(world->fold, defer, &waiting, false), OK);
	assert_int_equal(fold_run(world->fold, defer, &waiting, false), OK);
	assert_int_equal(fold_run(world->fold, defer, &answered, false), OK);
	assert_true(waiting.is_deferred);
	assert_false(answered.is_deferred); /* the backfill counts it now, with its answer */
	(void)answer(world, waiting.seq, "a", "{\"a\":{\"x\":1}}");
	world_settle(world);
	assert_int_equal(feature(world, 1, "has_a"), 2);
	world_close(world);
}

/* ── any order ───────────────────────────────────────────────────────────── */

#define EVENTS 300
#define USERS  5

struct expected {
	uint64_t has_a[USERS], has_both[USERS], lacks_a[USERS];
};

static uint64_t noise = 1;

static uint64_t dice(uint64_t sides)
{
	noise = noise * 6364136223846793005u + 1442695040888963407u;
	return (noise >> 33) % sides;
}

struct asked {
	uint64_t seq, user;
	bool for_both;
	int a, b; /* 0: no answer yet; 1: with x; 2: given up or without */
};

static void answer_one(struct world *world, struct asked *asked, bool is_a, bool is_last)
{
	int *state = is_a ? &asked->a : &asked->b;
	bool gives = dice(3) > 0;
	if (!is_a && !asked->for_both && !is_last) gives = true; /* ignored: it was not asked */
	const char *patch = gives ? is_a ? "{\"a\":{\"x\":1}}" : "{\"b\":{\"x\":1}}" : NULL;
	(void)answer(world, asked->seq, is_a ? "a" : "b", patch);
	if (*state == 0 && (is_a || asked->for_both)) *state = gives ? 1 : 2;
}

static void check(struct world *world, const struct expected *expected)
{
	for (uint64_t user = 0; user < USERS; user++) {
		assert_int_equal(feature(world, user, "has_a"), expected->has_a[user]);
		assert_int_equal(feature(world, user, "has_both"), expected->has_both[user]);
		assert_int_equal(feature(world, user, "lacks_a"), expected->lacks_a[user]);
	}
}

/* Features that begin to count in the middle count what was there before, each event once, with its answers. */
static void define_more(struct world *world, size_t sent)
{
	size_t count = sent < EVENTS / 3 ? 1 : sent < EVENTS / 2 ? 2 : 4;
	if (count == world->config.feature_count) return;
	world->config.feature_count = count;
	assert_int_equal(fold_reload(world->fold, &world->config), OK);
}

static void until_counted(struct world *world)
{
	world_settle(world);
	for (int i = 0; i < 60000 && !world->fatal; i++) {
		struct backfill_progress progress;
		people_backfill_progress(world->people, &progress);
		if (progress.features == 0) return;
		sleep_ms(2);
	}
	fail_msg("the new features did not come to an end");
}

static void any_order(struct world *world, bool is_late)
{
	static struct asked asked[EVENTS];
	struct expected expected = {0};
	memset(asked, 0, sizeof asked);
	if (is_late) world->config.feature_count = 1;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	size_t sent = 0;
	while (sent < EVENTS) {
		for (uint64_t burst = 1 + dice(20); burst && sent < EVENTS; burst--, sent++) {
			asked[sent] = (struct asked){.user = dice(USERS), .for_both = dice(2)};
			asked[sent].seq = send(world, asked[sent].user, sent, asked[sent].for_both);
		}
		for (uint64_t answers = dice(30); answers; answers--)
			answer_one(world, &asked[dice(sent)], dice(2), false);
		if (is_late) define_more(world, sent);
	}
	for (size_t i = EVENTS; i-- > 0;) {
		answer_one(world, &asked[i], true, true);
		if (asked[i].for_both) answer_one(world, &asked[i], false, true);
		expected.has_a[asked[i].user] += asked[i].a == 1;
		expected.lacks_a[asked[i].user] += asked[i].a == 2;
		expected.has_both[asked[i].user] += asked[i].a == 1 && asked[i].b == 1;
	}
	until_counted(world);
	check(world, &expected);
	world_close(world);
	struct test_path profiles = test_dir_path(&world->dir, "profiles");
	assert_int_equal(store_remove_env(profiles.text), OK);
	assert_int_equal(world_open(world), OK);
	world_start(world);
	until_counted(world);
	assert_int_equal(world->fatal, OK);
	check(world, &expected);
	world_close(world);
}

static void any_order_and_a_rebuild_count_the_same(void **state)
{
	any_order(*state, false);
}

static void features_that_are_defined_later_count_the_same(void **state)
{
	any_order(*state, true);
}

/* ── retention ───────────────────────────────────────────────────────────── */

static void what_waits_is_kept_across_a_restart(void **state)
{
	struct world *world = *state;
	world->config.enrichers = enrichers + 1;
	world->config.enricher_count = 1;
	world->features[1].where = &where_b;
	world->config.feature_count = 2;
	world->config.journal.segment_bytes = 1 << 20;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	uint64_t waiting = send(world, 1, 1, true);
	for (uint64_t sent = 100; sent < 20100; sent += 2000) (void)world_send_many(world, sent, 2000, 10);
	world_settle(world);
	world_close(world);
	world->config.journal.retention_bytes = 1;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	sleep_ms(1500); /* the journal looks once a second; nothing is folded meanwhile */
	assert_true(journal_first_seq(world->journal) <= waiting);
	(void)answer(world, waiting, "b", "{\"b\":{\"x\":1}}");
	world_settle(world);
	assert_int_equal(feature(world, 1, "has_a"), 1);
	for (int i = 0; i < 30000 && journal_first_seq(world->journal) <= waiting; i++) sleep_ms(2);
	assert_true(journal_first_seq(world->journal) > waiting); /* nothing holds it any more */
	world_close(world);
}

/* The person of the event became another one meanwhile. */
static void the_answer_finds_the_person_it_is_now(void **state)
{
	struct world *world = *state;
	struct sender sender;
	assert_int_equal(world_open(world), OK);
	world_start(world);
	sender_init(&sender, 2);
	struct cdpd_event event = event_make(&sender.arena, 1, 1);
	event.user_id = STR_NONE;
	event.anonymous_id = STR("visitor");
	sender_event(&sender, &event);
	struct cdpd_event link = event_make(&sender.arena, 1, 2);
	link.type = EVENT_IDENTIFY;
	link.event = STR_NONE;
	link.anonymous_id = STR("visitor");
	sender_event(&sender, &link);
	uint64_t seq = sender_send(&sender, world->journal);
	world_settle(world);
	(void)answer(world, seq, "a", "{\"a\":{\"x\":1}}");
	world_settle(world);
	assert_int_equal(feature(world, 1, "has_a"), 1);
	assert_int_equal(feature(world, 1, "events"), 2);
	world_close(world);
}

static void patches_are_laid_over_each_other(void **state)
{
	struct arena arena;
	struct str out;
	(void)state;
	arena_init(&arena, 1024, 0);
	assert_int_equal(enrichment_merge(STR("{\"a\":{\"b\":1,\"c\":{\"d\":2}},\"e\":[1]}"),
					  STR("{\"a\":{\"c\":{\"f\":3},\"b\":\"x\"},\"e\":{\"g\":1},\"h\":null}"),
					  &arena, &out),
			 OK);
	assert_true(str_eq(out, STR("{\"a\":{\"b\":\"x\",\"c\":{\"d\":2,\"f\":3}},\"e\":{\"g\":1},\"h\":null}")));
	assert_int_equal(enrichment_merge(STR_NONE, STR("{\"a\":1}"), &arena, &out), OK);
	assert_true(str_eq(out, STR("{\"a\":1}")));
	assert_int_equal(enrichment_merge(STR("{\"a\":1}"), STR_NONE, &arena, &out), OK);
	assert_true(str_eq(out, STR("{\"a\":1}")));
	assert_int_equal(enrichment_merge(STR("{\"a\":1}"), STR("[]"), &arena, &out), OK);
	assert_true(str_eq(out, STR("{\"a\":1}")));
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(features_wait_for_what_they_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(definitions_change_meanwhile, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_backfill_leaves_what_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(any_order_and_a_rebuild_count_the_same, setup, teardown),
	    cmocka_unit_test_setup_teardown(features_that_are_defined_later_count_the_same, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_waits_is_kept_across_a_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_answer_finds_the_person_it_is_now, setup, teardown),
	    cmocka_unit_test(patches_are_laid_over_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
