/* Merges and unmerges one by one; random sequences of them are in test_identity_property.c. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static void track(struct world *world, const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Clicked");
	(void)world_one(world, &event);
	world_check(world);
}

static void identify(struct world *world, const char *user, const char *anonymous, const char *traits)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	event.traits = str_from(traits);
	event.rights = RIGHT_LINK_KNOWN;
	(void)world_one(world, &event);
	world_check(world);
}

static void act(struct world *world, enum people_act_kind kind, const char *a, const char *b)
{
	struct people_act said = {str_from(a), str_from(b), STR("ops"), STR("they called")};
	uint64_t seq = ++world->seq;
	world_begin(world);
	assert_int_equal(people_act(world->people, kind, &said, seq, WORLD_T0 + (int64_t)seq), OK);
	world_commit(world);
	world_check(world);
}

static const char *result(struct world *world, enum people_act_kind kind, const char *a, const char *b)
{
	struct link_row row;
	view_begin(world);
	int rc = people_find_act(world->reader, kind, str_from(a), str_from(b), world->seq, &world->arena, &row);
	view_end(world);
	if (rc == ERR_NOT_FOUND) return "nothing kept";
	assert_int_equal(rc, OK);
	return row.reason.len ? row.reason.ptr : row.was_one ? "was one" : "done";
}

static void test_merge(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	identify(&world, "", "a1", "{\"plan\":\"free\",\"city\":\"Berlin\"}");
	identify(&world, "u1", "", "{\"plan\":\"gold\"}");
	act(&world, PEOPLE_MERGE, "anonymous_id:a1", "user_id:u1");
	assert_text(result(&world, PEOPLE_MERGE, "anonymous_id:a1", "user_id:u1"), "done");
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1 anonymous_id:a1");
	assert_text(view_traits(&world, "anonymous_id:a1"), "city=\"Berlin\" plan=\"gold\"");
	assert_text(view_links(&world, "user_id:u1"), "4 anonymous_id:a1 user_id:u1 merge linked\n");
	act(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:a1");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:a1"), "was one");
	act(&world, PEOPLE_MERGE, "user_id:u1", "user_id:nobody");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "user_id:nobody"), "nothing kept");
	assert_text(view_identifiers(&world, "user_id:nobody"), "not found");
	world_close(&world);
}

static void test_split_tells_what_went(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	identify(&world, "", "a1", "{\"plan\":\"free\",\"city\":\"Berlin\"}");
	identify(&world, "u1", "", "{\"plan\":\"gold\"}");
	act(&world, PEOPLE_MERGE, "anonymous_id:a1", "user_id:u1");
	view_begin(&world);
	uint64_t before = people_last_change(world.people);
	view_end(&world);
	act(&world, PEOPLE_UNMERGE, "anonymous_id:a1", "user_id:u1");
	assert_text(result(&world, PEOPLE_UNMERGE, "anonymous_id:a1", "user_id:u1"), "done");
	assert_text(view_traits(&world, "anonymous_id:a1"), "city=\"Berlin\" plan=\"free\"");
	assert_text(view_traits(&world, "user_id:u1"), "plan=\"gold\"");
	assert_text(view_changes(&world, before),
		    "split {\"from\":\"<user_id:u1>\",\"into\":[\"<anonymous_id:a1>\",\"<user_id:u1>\"]}\n"
		    "identifier {\"identifiers\":[\"anonymous_id:a1\"]}\n"
		    "identifier {\"identifiers\":[\"user_id:u1\"]}\n"
		    "trait {\"traits\":{\"city\":{\"value\":\"Berlin\",\"provenance\":\"observed\"},"
		    "\"plan\":{\"value\":\"free\",\"provenance\":\"observed\"}}}\n"
		    "feature {\"features\":{\"events\":1}}\n"
		    "trait {\"traits\":{\"city\":{\"value\":null}}}\n"
		    "feature {\"features\":{\"events\":1}}\n");
	world_close(&world);
}

/* The kiosk went with the first who used it. Cut from her, it goes where the record says it would have gone without. */
static void test_what_was_kept_out_is_tried_again(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	track(&world, "u1", "kiosk");
	track(&world, "u2", "kiosk");
	track(&world, "u3", "kiosk");
	act(&world, PEOPLE_UNMERGE, "user_id:u1", "anonymous_id:kiosk");
	assert_text(view_identifiers(&world, "user_id:u1"), "user_id:u1");
	assert_text(view_identifiers(&world, "user_id:u2"), "user_id:u2 anonymous_id:kiosk");
	assert_text(view_links(&world, "anonymous_id:kiosk"),
		    "2 user_id:u1 anonymous_id:kiosk same_event cannot_link\n"
		    "3 user_id:u2 anonymous_id:kiosk same_event linked\n"
		    "4 user_id:u3 anonymous_id:kiosk same_event unique_conflict\n"
		    "5 user_id:u1 anonymous_id:kiosk unmerge linked\n");
	act(&world, PEOPLE_UNMERGE, "user_id:u2", "anonymous_id:kiosk");
	assert_text(view_identifiers(&world, "user_id:u3"), "user_id:u3 anonymous_id:kiosk");
	act(&world, PEOPLE_UNMERGE, "user_id:u3", "anonymous_id:kiosk");
	assert_text(view_identifiers(&world, "anonymous_id:kiosk"), "anonymous_id:kiosk");
	world_close(&world);
}

static void test_cannot_link_holds(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	track(&world, "u1", "a1");
	act(&world, PEOPLE_UNMERGE, "user_id:u1", "anonymous_id:a1");
	/* Round about: the address knows both. */
	identify(&world, "u1", "", "{\"email\":\"x@b.c\"}");
	identify(&world, "", "a1", "{\"email\":\"x@b.c\"}");
	assert_text(view_identifiers(&world, "email:x@b.c"), "user_id:u1 email:x@b.c");
	assert_text(view_identifiers(&world, "anonymous_id:a1"), "anonymous_id:a1");
	/* A merge of others does not lift it, a merge of the pair does. */
	act(&world, PEOPLE_MERGE, "email:x@b.c", "anonymous_id:a1");
	assert_text(result(&world, PEOPLE_MERGE, "email:x@b.c", "anonymous_id:a1"), "cannot_link");
	act(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:a1");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:a1"), "done");
	assert_text(view_identifiers(&world, "anonymous_id:a1"), "user_id:u1 email:x@b.c anonymous_id:a1");
	world_close(&world);
}

static void test_refusals(void **state)
{
	struct world world;
	char device[16];
	(void)state;
	world_open(&world);
	track(&world, "u1", "");
	track(&world, "u2", "");
	act(&world, PEOPLE_MERGE, "user_id:u1", "user_id:u2");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "user_id:u2"), "unique_conflict");
	act(&world, PEOPLE_UNMERGE, "user_id:u1", "user_id:u2");
	assert_text(result(&world, PEOPLE_UNMERGE, "user_id:u1", "user_id:u2"), "not_joined");
	for (int i = 0; i < 5; i++) {
		snprintf(device, sizeof device, "d%d", i);
		track(&world, i < 4 ? "u1" : "", device);
	}
	act(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:d4");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "anonymous_id:d4"), "namespace_limit");
	assert_text(view_identifiers(&world, "anonymous_id:d4"), "anonymous_id:d4");
	/* Refused ones stand in the history, and no more of them than are kept. */
	for (int i = 0; i < PEOPLE_ACTS_MAX; i++) act(&world, PEOPLE_MERGE, "user_id:u1", "user_id:u2");
	assert_text(result(&world, PEOPLE_MERGE, "user_id:u1", "user_id:u2"), "nothing kept");
	world_close(&world);
}

static void test_entangled(void **state)
{
	struct world world;
	char user[16];
	struct apply_result ignored;
	(void)state;
	world_open(&world);
	world_begin(&world);
	/* A street of kiosks: each person used two. Everybody is reachable from everybody. */
	for (int i = 0; i <= PEOPLE_UNMERGE_FRAGMENTS_MAX; i++) {
		char kiosk[16];
		snprintf(user, sizeof user, "u%d", i);
		for (int k = 0; k < 2; k++) {
			snprintf(kiosk, sizeof kiosk, "k%d", i / 2 + k);
			struct cdpd_event event = world_event(EVENT_TRACK, user, kiosk);
			world_apply(&world, &event, &ignored);
		}
	}
	world_commit(&world);
	const char *before = view_identifiers(&world, "user_id:u0");
	assert_text(before, "user_id:u0 anonymous_id:k0 anonymous_id:k1");
	struct people_act said = {STR("user_id:u0"), STR("anonymous_id:k0"), STR("ops"), STR_NONE};
	world_begin(&world);
	assert_int_equal(people_act(world.people, PEOPLE_UNMERGE, &said, ++world.seq, WORLD_T0), OK);
	world_commit(&world);
	assert_text(result(&world, PEOPLE_UNMERGE, "user_id:u0", "anonymous_id:k0"), "too_entangled");
	assert_text(view_identifiers(&world, "user_id:u0"), before);
	struct preview_unmerge preview;
	view_begin(&world);
	assert_int_equal(
	    people_preview_unmerge(world.reader, STR("user_id:u0"), STR("anonymous_id:k0"), &world.arena, &preview),
	    OK);
	assert_false(preview.is_allowed);
	assert_true(str_eq(preview.reason, STR("too_entangled")));
	view_end(&world);
	world_close(&world);
}

/* What only one side had room to keep links nothing, before an unmerge and after it, wherever that starts. */
static void test_more_attempts_than_are_kept(void **state)
{
	struct world world;
	struct apply_result ignored;
	char user[16];
	(void)state;
	world_open(&world);
	world_begin(&world);
	for (int i = 0; i < PEOPLE_ATTEMPTS_MAX + 50; i++) {
		snprintf(user, sizeof user, "u%03d", i);
		struct cdpd_event event = world_event(EVENT_TRACK, user, "kiosk");
		world_apply(&world, &event, &ignored);
	}
	world_commit(&world);
	world_check(&world);
	assert_text(view_links(&world, "user_id:u240"),
		    "242 user_id:u240 anonymous_id:kiosk same_event too_many_attempts\n");
	act(&world, PEOPLE_UNMERGE, "anonymous_id:kiosk", "user_id:u000");
	assert_text(view_identifiers(&world, "anonymous_id:kiosk"), "user_id:u001 anonymous_id:kiosk");
	for (int i = 1; i < 5; i++) {
		snprintf(user, sizeof user, "user_id:u%03d", i);
		act(&world, PEOPLE_UNMERGE, user, "anonymous_id:kiosk");
	}
	assert_text(view_identifiers(&world, "anonymous_id:kiosk"), "user_id:u005 anonymous_id:kiosk");
	assert_text(view_links(&world, "user_id:u240"),
		    "242 user_id:u240 anonymous_id:kiosk same_event too_many_attempts\n");
	/* A person's word has room of its own. */
	act(&world, PEOPLE_UNMERGE, "user_id:u005", "anonymous_id:kiosk");
	track(&world, "", "other");
	act(&world, PEOPLE_MERGE, "anonymous_id:other", "anonymous_id:kiosk");
	assert_text(result(&world, PEOPLE_MERGE, "anonymous_id:other", "anonymous_id:kiosk"), "done");
	world_close(&world);
}

/* Attempts are decided again by the rules of their time. */
static void test_rules_of_their_time(void **state)
{
	struct world world;
	(void)state;
	world_open(&world);
	for (int i = 0; i < 4; i++) {
		char device[8];
		snprintf(device, sizeof device, "d%d", i);
		track(&world, "u1", device);
	}
	char *text = strdup(world_definitions), *at = strstr(text, "\"max_per_profile\":4");
	assert_non_null(at);
	at[strlen("\"max_per_profile\":")] = '2';
	world_define(&world, text);
	/* The person is over today's limits: world_check would say so. */
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "d9");
	(void)world_one(&world, &event);
	assert_text(view_identifiers(&world, "anonymous_id:d9"), "anonymous_id:d9");
	world_reopen(&world); /* the old rules are in the checkpoint */
	struct people_act said = {STR("user_id:u1"), STR("anonymous_id:d0"), STR("ops"), STR_NONE};
	world_begin(&world);
	assert_int_equal(people_act(world.people, PEOPLE_UNMERGE, &said, ++world.seq, WORLD_T0), OK);
	world_commit(&world);
	free(text);
	/* Three of four: allowed when they came, and d9 still one too many when it came. */
	view_begin(&world);
	struct profile profile;
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.identifier_count, 4);
	view_end(&world);
	assert_text(view_identifiers(&world, "anonymous_id:d0"), "anonymous_id:d0");
	world_close(&world);
}

static void test_previews(void **state)
{
	struct world world;
	struct preview_merge merge;
	struct preview_unmerge unmerge;
	(void)state;
	world_open(&world);
	identify(&world, "", "a1", "{\"plan\":\"free\",\"city\":\"Berlin\"}");
	identify(&world, "u1", "", "{\"plan\":\"gold\"}");
	track(&world, "u2", "a2");
	track(&world, "u1", "a2");
	char *before = (char *)(uintptr_t)world_dump(&world);
	view_begin(&world);
	assert_int_equal(
	    people_preview_merge(world.reader, STR("anonymous_id:a1"), STR("user_id:u1"), 0, &world.arena, &merge), OK);
	assert_true(merge.is_allowed && !merge.was_one && merge.identifier_count == 2 && merge.conflict_count == 1);
	assert_true(str_eq(merge.identifiers[0], STR("user_id:u1")) && str_eq(merge.conflicts[0].name, STR("plan")) &&
		    str_eq(merge.conflicts[0].winner, STR("\"gold\"")));
	assert_int_equal(
	    people_preview_merge(world.reader, STR("anonymous_id:a2"), STR("user_id:u1"), 0, &world.arena, &merge), OK);
	assert_true(!merge.is_allowed && merge.limit_count == 1 && str_eq(merge.reason, STR("unique_conflict")));
	assert_int_equal(
	    people_preview_unmerge(world.reader, STR("user_id:u2"), STR("anonymous_id:a2"), &world.arena, &unmerge),
	    OK);
	assert_true(unmerge.is_allowed && unmerge.cut_count == 1 && unmerge.made_count == 1 &&
		    unmerge.group_count == 2);
	assert_true(str_eq(unmerge.groups[0].identifiers[0], STR("user_id:u1")) && unmerge.groups[0].count == 2);
	assert_int_equal(
	    people_preview_unmerge(world.reader, STR("user_id:u1"), STR("anonymous_id:a2"), &world.arena, &unmerge),
	    OK);
	assert_true(!unmerge.is_allowed && str_eq(unmerge.reason, STR("not_joined")));
	assert_int_equal(
	    people_preview_merge(world.reader, STR("user_id:u9"), STR("user_id:u1"), 0, &world.arena, &merge),
	    ERR_NOT_FOUND);
	view_end(&world);
	char *after = (char *)(uintptr_t)world_dump(&world);
	assert_string_equal(before, after);
	free(before);
	free(after);
	world_close(&world);
}

/* ── work done ───────────────────────────────────────────────────────────── */

/* Rows that a transaction reads and writes, whatever the number of events on one identifier. */
static void test_hot_identifier(void **state)
{
	struct world world;
	struct apply_result ignored;
	char device[16];
	(void)state;
	world_open(&world);
	world_begin(&world);
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "a1");
	for (int i = 0; i < 10000; i++) world_apply(&world, &event, &ignored);
	assert_int_equal(world.people->cache.slots.count, 2);
	assert_int_equal(world.people->cache.dirty.count, 2);
	world_commit(&world);
	/* A person at the limit, and devices that keep coming: each event touches its own two rows, the head, and a new one. */
	for (int i = 0; i < 300; i++) {
		snprintf(device, sizeof device, "x%d", i);
		struct cdpd_event other = world_event(EVENT_TRACK, "u1", device);
		(void)world_one(&world, &other);
	}
	world_begin(&world);
	for (int i = 0; i < 1000; i++) {
		snprintf(device, sizeof device, "y%d", i);
		struct cdpd_event other = world_event(EVENT_TRACK, "u1", device);
		world_apply(&world, &other, &ignored);
	}
	assert_int_equal(world.people->cache.slots.count, 1001);
	world_commit(&world);
	/* An event of a joined person reads its fragment and the merged row, not the other members. */
	world_begin(&world);
	event = world_event(EVENT_TRACK, "", "a1");
	for (int i = 0; i < 1000; i++) world_apply(&world, &event, &ignored);
	assert_int_equal(world.people->cache.slots.count, 2);
	world_commit(&world);
	world_check(&world);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_merge),
	    cmocka_unit_test(test_split_tells_what_went),
	    cmocka_unit_test(test_what_was_kept_out_is_tried_again),
	    cmocka_unit_test(test_cannot_link_holds),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_entangled),
	    cmocka_unit_test(test_more_attempts_than_are_kept),
	    cmocka_unit_test(test_rules_of_their_time),
	    cmocka_unit_test(test_previews),
	    cmocka_unit_test(test_hot_identifier),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
