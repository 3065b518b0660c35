#include "deliver/subscription.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"

/* A row: format u8, 7 zero bytes, then cursor, created at, committed at, expiries, missed, big endian, and the filter's text. */
#define ROW_FORMAT 1
#define ROW_FIXED  48

struct subscriptions {
	struct cursors *cursors;
	pthread_mutex_t lock; /* queue and holds */
	struct subscription_order *first, **last;
	struct subscription_hold *holds;
	struct metric *count, *held, *commits, *takeovers, *expired, *missed;
};

static const char NAME_CHARS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

bool subscription_name_is_valid(struct str name)
{
	if (name.len == 0 || name.len > SUBSCRIPTION_NAME_MAX) return false;
	for (size_t i = 0; i < name.len; i++)
		if (!memchr(NAME_CHARS, name.ptr[i], sizeof NAME_CHARS - 1)) return false;
	return true;
}

bool subscription_is_expired(const struct subscription *subscription, const struct subscription_feed *feed)
{
	return subscription->cursor < feed->floor || subscription->cursor > feed->last;
}

uint64_t subscription_gap(const struct subscription *subscription, const struct subscription_feed *feed)
{
	return subscription->cursor < feed->floor ? feed->floor - subscription->cursor : 0;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static int decode(struct str name, struct str bytes, struct arena *arena, struct subscription *out)
{
	const uint8_t *p = (const uint8_t *)bytes.ptr;
	if (bytes.len < ROW_FIXED) return ERR_CORRUPT;
	if (p[0] != ROW_FORMAT) return ERR_FORMAT;
	*out = (struct subscription){.cursor = get_be64(p + 8),
				     .created_at = (int64_t)get_be64(p + 16),
				     .committed_at = (int64_t)get_be64(p + 24),
				     .expiries = get_be64(p + 32),
				     .missed = get_be64(p + 40)};
	int rc = arena_str(arena, name, &out->name);
	if (rc) return rc;
	return arena_str(arena, (struct str){bytes.ptr + ROW_FIXED, bytes.len - ROW_FIXED}, &out->filter);
}

static int put_row(struct store_txn *txn, store_db rows, const struct subscription *row)
{
	void *room;
	int rc = store_reserve(txn, rows, row->name, ROW_FIXED + row->filter.len, false, &room);
	if (rc) return rc;
	uint8_t *p = room;
	memset(p, 0, ROW_FIXED);
	p[0] = ROW_FORMAT;
	put_be64(p + 8, row->cursor);
	put_be64(p + 16, (uint64_t)row->created_at);
	put_be64(p + 24, (uint64_t)row->committed_at);
	put_be64(p + 32, row->expiries);
	put_be64(p + 40, row->missed);
	memcpy(p + ROW_FIXED, row->filter.ptr, row->filter.len);
	return OK;
}

static int get_row(struct store_txn *txn, store_db rows, struct str name, struct arena *arena, struct subscription *out)
{
	struct str bytes;
	int rc = store_get(txn, rows, name, &bytes);
	return rc ? rc : decode(name, bytes, arena, out);
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void make_metrics(struct subscriptions *s)
{
	s->count = metric_get(METRIC_GAUGE, "cdpd_subscriptions", NULL, "Named subscriptions.");
	s->held = metric_get(METRIC_GAUGE, "cdpd_subscriptions_held", NULL, "Subscriptions somebody reads from now.");
	s->commits = metric_get(METRIC_COUNTER, "cdpd_subscription_commits_total", NULL,
				"Commits that moved a subscription's cursor.");
	s->takeovers = metric_get(METRIC_COUNTER, "cdpd_subscription_takeovers_total", NULL,
				  "Streams that ended because a newer consumer took their subscription over.");
	s->expired = metric_get(METRIC_COUNTER, "cdpd_subscription_expired_total", NULL,
				"Subscriptions that were moved on after retention had passed them.");
	s->missed = metric_get(METRIC_COUNTER, "cdpd_subscription_missed_changes_total", NULL,
			       "Changes such subscriptions never saw.");
}

static int count_rows(struct subscriptions *subscriptions, uint64_t *count)
{
	struct store_txn *txn;
	int rc = store_begin(cursors_env(subscriptions->cursors), false, &txn);
	if (rc) return rc;
	rc = store_count(txn, cursors_subscriptions(subscriptions->cursors), count);
	store_abort(txn);
	return rc;
}

int subscriptions_new(struct cursors *cursors, struct subscriptions **out)
{
	uint64_t count = 0;
	*out = NULL;
	struct subscriptions *subscriptions = calloc(1, sizeof *subscriptions);
	if (!subscriptions) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&subscriptions->lock, NULL) == 0);
	subscriptions->cursors = cursors;
	subscriptions->last = &subscriptions->first;
	make_metrics(subscriptions);
	int rc = count_rows(subscriptions, &count);
	if (rc) {
		subscriptions_free(subscriptions);
		return rc;
	}
	metric_set(subscriptions->count, (int64_t)count);
	*out = subscriptions;
	return OK;
}

void subscriptions_free(struct subscriptions *subscriptions)
{
	if (!subscriptions) return;
	CHECK(!subscriptions->holds && !subscriptions->first);
	pthread_mutex_destroy(&subscriptions->lock);
	free(subscriptions);
}

/* ── holding ─────────────────────────────────────────────────────────────── */

static void unlink_hold(struct subscriptions *subscriptions, struct subscription_hold *hold)
{
	*hold->link = hold->next;
	if (hold->next) hold->next->link = hold->link;
	hold->link = NULL;
	metric_set(subscriptions->held, metric_value(subscriptions->held) - 1);
}

static struct subscription_hold *holder_of(const struct subscriptions *subscriptions, struct str name)
{
	for (struct subscription_hold *hold = subscriptions->holds; hold; hold = hold->next)
		if (str_eq(hold->name, name)) return hold;
	return NULL;
}

/* Under the lock. */
static bool lose(struct subscriptions *subscriptions, struct str name, enum problem why)
{
	struct subscription_hold *hold = holder_of(subscriptions, name);
	if (!hold) return false;
	unlink_hold(subscriptions, hold);
	hold->is_lost = true;
	hold->on_lost(hold, why);
	return true;
}

void subscriptions_hold(struct subscriptions *subscriptions, struct subscription_hold *hold)
{
	pthread_mutex_lock(&subscriptions->lock);
	if (lose(subscriptions, hold->name, PROBLEM_TAKEN_OVER)) metric_add(subscriptions->takeovers, 1);
	hold->is_lost = false;
	hold->next = subscriptions->holds;
	hold->link = &subscriptions->holds;
	if (hold->next) hold->next->link = &hold->next;
	subscriptions->holds = hold;
	metric_set(subscriptions->held, metric_value(subscriptions->held) + 1);
	pthread_mutex_unlock(&subscriptions->lock);
}

void subscriptions_release(struct subscriptions *subscriptions, struct subscription_hold *hold)
{
	pthread_mutex_lock(&subscriptions->lock);
	if (hold->link) unlink_hold(subscriptions, hold);
	pthread_mutex_unlock(&subscriptions->lock);
}

static void tell_holder(struct subscriptions *subscriptions, struct str name, enum problem why)
{
	pthread_mutex_lock(&subscriptions->lock);
	(void)lose(subscriptions, name, why);
	pthread_mutex_unlock(&subscriptions->lock);
}

/* ── orders ──────────────────────────────────────────────────────────────── */

void subscriptions_queue(struct subscriptions *subscriptions, struct subscription_order *order)
{
	order->is_settled = false;
	order->next = NULL;
	pthread_mutex_lock(&subscriptions->lock);
	*subscriptions->last = order;
	subscriptions->last = &order->next;
	pthread_mutex_unlock(&subscriptions->lock);
}

void subscriptions_forget(struct subscriptions *subscriptions, struct subscription_order *order)
{
	pthread_mutex_lock(&subscriptions->lock);
	struct subscription_order **at = &subscriptions->first;
	while (*at && *at != order) at = &(*at)->next;
	if (*at) *at = order->next;
	if (!*at) subscriptions->last = at;
	pthread_mutex_unlock(&subscriptions->lock);
}

static struct subscription_order *take_all(struct subscriptions *subscriptions)
{
	pthread_mutex_lock(&subscriptions->lock);
	struct subscription_order *list = subscriptions->first;
	subscriptions->first = NULL;
	subscriptions->last = &subscriptions->first;
	pthread_mutex_unlock(&subscriptions->lock);
	return list;
}

struct writing {
	struct subscriptions *subscriptions;
	const struct subscription_feed *feed;
	struct store_txn *txn;
	store_db rows;
};

/* The place a client names must be one of the feed's. */
static int check_cursor(const struct writing *writing, uint64_t cursor)
{
	if (cursor > writing->feed->last) return ERR_INVALID;
	return cursor < writing->feed->floor ? ERR_GONE : OK;
}

static int create(const struct writing *writing, struct subscription_order *order)
{
	uint64_t count;
	int rc = store_count(writing->txn, writing->rows, &count);
	if (rc) return rc;
	if (count >= SUBSCRIPTIONS_MAX) {
		order->has_too_many = true;
		return ERR_FULL;
	}
	uint64_t cursor = order->cursor;
	if (order->start == SUBSCRIPTION_CURSOR) rc = check_cursor(writing, cursor);
	if (rc) return rc;
	if (order->start == SUBSCRIPTION_NOW) cursor = writing->feed->last;
	if (order->start == SUBSCRIPTION_OLDEST) cursor = writing->feed->floor;
	order->is_new = order->has_moved = true;
	order->result = (struct subscription){
	    .name = order->name, .filter = order->filter, .cursor = cursor, .created_at = clock_wall_us()};
	return put_row(writing->txn, writing->rows, &order->result);
}

static int put(const struct writing *writing, struct subscription_order *order)
{
	int rc = get_row(writing->txn, writing->rows, order->name, order->arena, &order->result);
	if (rc == ERR_NOT_FOUND) return create(writing, order);
	if (rc || str_eq(order->result.filter, order->filter)) return rc;
	order->result.filter = order->filter;
	order->has_moved = true;
	return put_row(writing->txn, writing->rows, &order->result);
}

static int commit(const struct writing *writing, struct subscription_order *order)
{
	struct subscription *row = &order->result;
	int rc = get_row(writing->txn, writing->rows, order->name, order->arena, row);
	if (!rc) rc = check_cursor(writing, order->cursor);
	if (rc) return rc;
	bool is_expired = subscription_is_expired(row, writing->feed);
	if (order->cursor <= row->cursor && !order->is_reset && !is_expired) return OK;
	if (is_expired) {
		order->was_expired = true;
		order->gap = subscription_gap(row, writing->feed);
		row->expiries++;
		row->missed += order->gap;
	}
	order->has_moved = row->cursor != order->cursor;
	row->cursor = order->cursor;
	row->committed_at = clock_wall_us();
	return put_row(writing->txn, writing->rows, row);
}

static int erase(const struct writing *writing, const struct subscription_order *order)
{
	return store_del(writing->txn, writing->rows, order->name);
}

static int carry_out(const struct writing *writing, struct subscription_order *order)
{
	switch (order->deed) {
	case SUBSCRIPTION_PUT: return put(writing, order);
	case SUBSCRIPTION_COMMIT: return commit(writing, order);
	case SUBSCRIPTION_DELETE: return erase(writing, order);
	}
	return ERR_INVALID;
}

/* An answer that leaves the transaction as it was. */
static bool is_answer(const struct subscription_order *order)
{
	return order->status == ERR_NOT_FOUND || order->status == ERR_GONE || order->status == ERR_INVALID ||
	       (order->status == ERR_FULL && order->has_too_many);
}

/* Those who read from what has changed are told when it is durable. */
static void tell(struct subscriptions *subscriptions, const struct subscription_order *order)
{
	if (order->deed == SUBSCRIPTION_DELETE)
		tell_holder(subscriptions, order->name, PROBLEM_NOT_FOUND);
	else if ((order->deed == SUBSCRIPTION_PUT && order->has_moved) || order->is_reset)
		tell_holder(subscriptions, order->name, PROBLEM_SUBSCRIPTION_CHANGED);
}

static int write_list(struct subscriptions *subscriptions, const struct subscription_feed *feed,
		      struct subscription_order *list)
{
	struct writing writing = {
	    .subscriptions = subscriptions, .feed = feed, .rows = cursors_subscriptions(subscriptions->cursors)};
	int rc = cursors_begin(subscriptions->cursors, &writing.txn);
	if (rc) return rc;
	for (struct subscription_order *order = list; order; order = order->next) {
		order->status = carry_out(&writing, order);
		if (!order->status || is_answer(order)) continue;
		cursors_abort(subscriptions->cursors, writing.txn);
		return order->status;
	}
	return cursors_commit(subscriptions->cursors, writing.txn);
}

static void show(struct subscriptions *subscriptions, const struct subscription_order *order)
{
	if (order->deed == SUBSCRIPTION_COMMIT && order->has_moved) metric_add(subscriptions->commits, 1);
	if (!order->was_expired) return;
	metric_add(subscriptions->expired, 1);
	metric_add(subscriptions->missed, order->gap);
	log_warn(LOG_DELIVER, "subscription %.*s was moved on after it had expired, %llu changes were missed",
		 STR_ARG(order->name), (unsigned long long)order->gap);
}

void subscriptions_settle(struct subscriptions *subscriptions, const struct subscription_feed *feed)
{
	uint64_t count;
	struct subscription_order *next, *list = take_all(subscriptions);
	if (!list) return;
	int rc = write_list(subscriptions, feed, list);
	for (struct subscription_order *order = list; order; order = next) {
		next = order->next;
		if (rc) order->status = rc;
		if (!order->status) {
			show(subscriptions, order);
			tell(subscriptions, order);
		}
		order->is_settled = true;
	}
	if (!rc && count_rows(subscriptions, &count) == OK) metric_set(subscriptions->count, (int64_t)count);
}

/* ── reading ─────────────────────────────────────────────────────────────── */

static void fill_held(struct subscriptions *subscriptions, struct subscription *items, size_t count)
{
	pthread_mutex_lock(&subscriptions->lock);
	for (size_t i = 0; i < count; i++) items[i].is_held = holder_of(subscriptions, items[i].name) != NULL;
	pthread_mutex_unlock(&subscriptions->lock);
}

int subscriptions_get(struct subscriptions *subscriptions, struct str name, struct arena *arena,
		      struct subscription *out)
{
	struct store_txn *txn;
	int rc = store_begin(cursors_env(subscriptions->cursors), false, &txn);
	if (rc) return rc;
	rc = get_row(txn, cursors_subscriptions(subscriptions->cursors), name, arena, out);
	store_abort(txn);
	if (!rc) fill_held(subscriptions, out, 1);
	return rc;
}

static int read_list(struct store_cursor *cursor, struct str after, size_t limit, struct arena *arena,
		     struct subscription *items, size_t *count)
{
	struct str key = after, value;
	int rc = store_cursor_move(cursor, after.len ? STORE_AT_OR_AFTER : STORE_FIRST, &key, &value);
	for (; !rc && *count < limit; rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		if (str_eq(key, after)) continue;
		rc = decode(key, value, arena, &items[*count]);
		if (rc) return rc;
		*count += 1;
	}
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int subscriptions_list(struct subscriptions *subscriptions, struct str after, size_t limit, struct arena *arena,
		       struct subscription **out, size_t *count)
{
	struct store_txn *txn;
	struct store_cursor *cursor;
	*count = 0;
	*out = arena_array(arena, struct subscription, limit + 1);
	if (!*out) return ERR_NOMEM;
	int rc = store_begin(cursors_env(subscriptions->cursors), false, &txn);
	if (rc) return rc;
	rc = store_cursor_open(txn, cursors_subscriptions(subscriptions->cursors), &cursor);
	if (!rc) {
		rc = read_list(cursor, after, limit, arena, *out, count);
		store_cursor_close(cursor);
	}
	store_abort(txn);
	if (!rc) fill_held(subscriptions, *out, *count);
	return rc;
}
