#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/subscription.h"
#include "store/test_dir.h"

#define EPOCH 7

static struct test_dir dir;
static struct cursors *cursors;
static struct subscriptions *subscriptions;
static struct arena arena;
static struct subscription_feed feed;

static void open_all(void)
{
	assert_int_equal(cursors_open(str_from(dir.path), EPOCH, 1, &cursors), OK);
	assert_int_equal(subscriptions_new(cursors, &subscriptions), OK);
}

static void close_all(void)
{
	subscriptions_free(subscriptions);
	cursors_close(cursors);
}

static int setup(void **state)
{
	(void)state;
	dir = test_dir_make();
	arena_init(&arena, 4096, 0);
	feed = (struct subscription_feed){.floor = 100, .last = 1000};
	open_all();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_all();
	arena_fini(&arena);
	test_dir_remove(&dir);
	return 0;
}

static struct subscription_order *order_of(enum subscription_deed deed, const char *name, uint64_t cursor)
{
	struct subscription_order *order = arena_new(&arena, struct subscription_order);
	assert_non_null(order);
	*order = (struct subscription_order){.deed = deed,
					     .name = str_from(name),
					     .filter = STR("{}"),
					     .start = cursor ? SUBSCRIPTION_CURSOR : SUBSCRIPTION_NOW,
					     .cursor = cursor,
					     .arena = &arena};
	return order;
}

static struct subscription_order *carry_out(struct subscription_order *order)
{
	subscriptions_queue(subscriptions, order);
	subscriptions_settle(subscriptions, &feed);
	assert_true(order->is_settled);
	return order;
}

static int put(const char *name, uint64_t cursor)
{
	return carry_out(order_of(SUBSCRIPTION_PUT, name, cursor))->status;
}

static struct subscription_order *commit(const char *name, uint64_t cursor)
{
	return carry_out(order_of(SUBSCRIPTION_COMMIT, name, cursor));
}

static struct subscription shown(const char *name)
{
	struct subscription subscription;
	assert_int_equal(subscriptions_get(subscriptions, str_from(name), &arena, &subscription), OK);
	return subscription;
}

static void names_are_plain(void **state)
{
	(void)state;
	char longest[SUBSCRIPTION_NAME_MAX + 2];
	memset(longest, 'n', sizeof longest);
	assert_true(subscription_name_is_valid(STR("Crm_1.prod-eu")));
	assert_true(subscription_name_is_valid(str_of(longest, SUBSCRIPTION_NAME_MAX)));
	assert_false(subscription_name_is_valid(str_of(longest, SUBSCRIPTION_NAME_MAX + 1)));
	assert_false(subscription_name_is_valid(STR_NONE));
	assert_false(subscription_name_is_valid(STR("a/b")));
	assert_false(subscription_name_is_valid(STR("ü")));
	assert_false(subscription_name_is_valid(STR("a\0b")));
}

static void they_begin_where_they_were_told(void **state)
{
	(void)state;
	struct subscription_order *oldest = order_of(SUBSCRIPTION_PUT, "oldest", 0);
	oldest->start = SUBSCRIPTION_OLDEST;
	assert_int_equal(carry_out(oldest)->status, OK);
	assert_true(oldest->is_new);
	assert_int_equal(put("now", 0), OK);
	assert_int_equal(put("there", 500), OK);
	assert_int_equal(put("gone", 99), ERR_GONE);
	assert_int_equal(put("ahead", 1001), ERR_INVALID);
	assert_int_equal(shown("oldest").cursor, 100);
	assert_int_equal(shown("now").cursor, 1000);
	assert_int_equal(shown("there").cursor, 500);
	struct subscription none;
	assert_int_equal(subscriptions_get(subscriptions, STR("gone"), &arena, &none), ERR_NOT_FOUND);
	/* Again: it is there and stays where it is. */
	struct subscription_order *again = carry_out(order_of(SUBSCRIPTION_PUT, "there", 900));
	assert_int_equal(again->status, OK);
	assert_false(again->is_new);
	assert_int_equal(again->result.cursor, 500);
}

static void commits_move_forwards(void **state)
{
	(void)state;
	assert_int_equal(put("crm", 200), OK);
	assert_int_equal(shown("crm").committed_at, 0);
	assert_true(commit("crm", 300)->has_moved);
	assert_false(commit("crm", 300)->has_moved);
	assert_false(commit("crm", 250)->has_moved);
	assert_int_equal(shown("crm").cursor, 300);
	assert_true(shown("crm").committed_at > 0);
	assert_int_equal(commit("crm", 1001)->status, ERR_INVALID);
	assert_int_equal(commit("crm", 99)->status, ERR_GONE);
	assert_int_equal(commit("nobody", 300)->status, ERR_NOT_FOUND);
	struct subscription_order *back = order_of(SUBSCRIPTION_COMMIT, "crm", 150);
	back->is_reset = true;
	assert_true(carry_out(back)->has_moved);
	assert_int_equal(shown("crm").cursor, 150);
	assert_int_equal(shown("crm").expiries, 0);
}

static void what_is_settled_is_there_after_a_restart(void **state)
{
	(void)state;
	assert_int_equal(put("crm", 200), OK);
	assert_true(commit("crm", 300)->has_moved);
	assert_int_equal(put("gone", 200), OK);
	assert_int_equal(carry_out(order_of(SUBSCRIPTION_DELETE, "gone", 0))->status, OK);
	assert_int_equal(carry_out(order_of(SUBSCRIPTION_DELETE, "gone", 0))->status, ERR_NOT_FOUND);
	struct subscription before = shown("crm");
	close_all();
	open_all();
	struct subscription after = shown("crm");
	assert_int_equal(after.cursor, 300);
	assert_int_equal(after.created_at, before.created_at);
	assert_int_equal(after.committed_at, before.committed_at);
	assert_true(str_eq(after.filter, STR("{}")));
	struct subscription *list;
	size_t count;
	assert_int_equal(subscriptions_list(subscriptions, STR_NONE, 10, &arena, &list, &count), OK);
	assert_int_equal(count, 1);
}

/* Retention goes on without them; what they missed is counted once they move on. */
static void an_expired_one_counts_what_it_missed(void **state)
{
	(void)state;
	assert_int_equal(put("crm", 200), OK);
	feed = (struct subscription_feed){.floor = 700, .last = 1000};
	struct subscription crm = shown("crm");
	assert_true(subscription_is_expired(&crm, &feed));
	assert_int_equal(subscription_gap(&crm, &feed), 500);
	assert_int_equal(commit("crm", 300)->status, ERR_GONE); /* behind retention itself */
	assert_int_equal(shown("crm").missed, 0);
	struct subscription_order *on = commit("crm", 900);
	assert_true(on->has_moved && on->was_expired);
	assert_int_equal(on->gap, 500);
	crm = shown("crm");
	assert_false(subscription_is_expired(&crm, &feed));
	assert_int_equal(crm.expiries, 1);
	assert_int_equal(crm.missed, 500);
	feed.floor = 950;
	assert_true(commit("crm", 950)->has_moved);
	assert_int_equal(shown("crm").expiries, 2);
	assert_int_equal(shown("crm").missed, 550);
	/* The feed of an older backup: what it says is ahead of it, and a commit brings it back. */
	feed = (struct subscription_feed){.floor = 0, .last = 10};
	crm = shown("crm");
	assert_true(subscription_is_expired(&crm, &feed));
	assert_true(commit("crm", 5)->has_moved);
	assert_int_equal(shown("crm").cursor, 5);
}

/* Each sees what those before it did, and one that is refused costs its neighbours nothing. */
static void orders_are_settled_together_in_their_order(void **state)
{
	(void)state;
	struct subscription_order *orders[] = {
	    order_of(SUBSCRIPTION_PUT, "a", 200),       order_of(SUBSCRIPTION_COMMIT, "a", 300),
	    order_of(SUBSCRIPTION_COMMIT, "none", 300), order_of(SUBSCRIPTION_COMMIT, "a", 250),
	    order_of(SUBSCRIPTION_PUT, "b", 99),        order_of(SUBSCRIPTION_DELETE, "a", 0),
	    order_of(SUBSCRIPTION_COMMIT, "a", 400),    order_of(SUBSCRIPTION_PUT, "a", 600)};
	const int expected[] = {OK, OK, ERR_NOT_FOUND, OK, ERR_GONE, OK, ERR_NOT_FOUND, OK};
	for (size_t i = 0; i < COUNT_OF(orders); i++) subscriptions_queue(subscriptions, orders[i]);
	subscriptions_settle(subscriptions, &feed);
	for (size_t i = 0; i < COUNT_OF(orders); i++) {
		assert_true(orders[i]->is_settled);
		assert_int_equal(orders[i]->status, expected[i]);
	}
	assert_false(orders[3]->has_moved);
	assert_int_equal(shown("a").cursor, 600);
}

static void a_forgotten_order_is_not_carried_out(void **state)
{
	(void)state;
	struct subscription_order *first = order_of(SUBSCRIPTION_PUT, "first", 200);
	struct subscription_order *last = order_of(SUBSCRIPTION_PUT, "last", 200);
	subscriptions_queue(subscriptions, first);
	subscriptions_queue(subscriptions, last);
	subscriptions_forget(subscriptions, last);
	subscriptions_forget(subscriptions, last);
	struct subscription_order *behind = order_of(SUBSCRIPTION_PUT, "behind", 200);
	subscriptions_queue(subscriptions, behind);
	subscriptions_settle(subscriptions, &feed);
	assert_true(first->is_settled && behind->is_settled);
	assert_false(last->is_settled);
	struct subscription none;
	assert_int_equal(subscriptions_get(subscriptions, STR("last"), &arena, &none), ERR_NOT_FOUND);
}

static void there_are_never_too_many(void **state)
{
	(void)state;
	char name[32];
	for (int i = 0; i < SUBSCRIPTIONS_MAX + 3; i++) {
		(void)snprintf(name, sizeof name, "s%d", i);
		struct subscription_order *order = order_of(SUBSCRIPTION_PUT, "", 200);
		assert_int_equal(arena_str(&arena, str_from(name), &order->name), OK);
		subscriptions_queue(subscriptions, order);
	}
	subscriptions_settle(subscriptions, &feed);
	struct subscription *list;
	size_t count;
	assert_int_equal(subscriptions_list(subscriptions, STR_NONE, SUBSCRIPTIONS_MAX + 5, &arena, &list, &count), OK);
	assert_int_equal(count, SUBSCRIPTIONS_MAX);
	assert_int_equal(put("s0", 300), OK); /* there already */
	struct subscription_order *more = carry_out(order_of(SUBSCRIPTION_PUT, "more", 200));
	assert_int_equal(more->status, ERR_FULL);
	assert_true(more->has_too_many);
}

/* ── holding ─────────────────────────────────────────────────────────────── */

struct holder {
	struct subscription_hold hold;
	enum problem why;
	size_t told;
};

static void on_lost(struct subscription_hold *hold, enum problem why)
{
	struct holder *holder = (struct holder *)((char *)hold - offsetof(struct holder, hold));
	holder->why = why;
	holder->told++;
}

static void hold(struct holder *holder, const char *name)
{
	*holder = (struct holder){.hold = {.name = str_from(name), .on_lost = on_lost}};
	subscriptions_hold(subscriptions, &holder->hold);
}

static void the_newest_takes_over(void **state)
{
	(void)state;
	struct holder a, b, other;
	assert_int_equal(put("crm", 200), OK);
	assert_false(shown("crm").is_held);
	hold(&a, "crm");
	hold(&other, "other");
	assert_true(shown("crm").is_held);
	hold(&b, "crm");
	assert_int_equal(a.told, 1);
	assert_int_equal(a.why, PROBLEM_TAKEN_OVER);
	assert_int_equal(b.told + other.told, 0);
	subscriptions_release(subscriptions, &a.hold); /* holds nothing any more: b's stays */
	assert_true(shown("crm").is_held);
	/* A commit and the same definition again tell nobody. */
	assert_true(commit("crm", 300)->has_moved);
	assert_int_equal(put("crm", 0), OK);
	assert_int_equal(b.told, 0);
	struct subscription_order *changed = order_of(SUBSCRIPTION_PUT, "crm", 0);
	changed->filter = STR("{\"kinds\":[\"trait\"]}");
	assert_int_equal(carry_out(changed)->status, OK);
	assert_int_equal(b.why, PROBLEM_SUBSCRIPTION_CHANGED);
	assert_false(shown("crm").is_held);
	hold(&a, "crm");
	assert_int_equal(carry_out(order_of(SUBSCRIPTION_DELETE, "crm", 0))->status, OK);
	assert_int_equal(a.why, PROBLEM_NOT_FOUND);
	assert_int_equal(b.told, 1);
	assert_int_equal(other.told, 0);
	subscriptions_release(subscriptions, &other.hold);
	subscriptions_release(subscriptions, &b.hold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_plain),
	    cmocka_unit_test_setup_teardown(they_begin_where_they_were_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(commits_move_forwards, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_settled_is_there_after_a_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_expired_one_counts_what_it_missed, setup, teardown),
	    cmocka_unit_test_setup_teardown(orders_are_settled_together_in_their_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_forgotten_order_is_not_carried_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(there_are_never_too_many, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_newest_takes_over, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
