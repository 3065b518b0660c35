/* fold_world: a real journal, real profiles and a fold over them in a temporary folder, opened and closed like the daemon does. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "fold/append.h"
#include "fold/fold.h"
#include "journal/clock_source.h"
#include "store/test_dir.h"

struct world {
	struct test_dir dir;
	const char *path; /* of dir */
	struct config config;
	struct conf_namespace namespaces[2];
	struct conf_feature features[4];
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct clock_source clock;                                /* wall_us NULL: the real one */
	_Atomic int fatal;                                        /* status that on_fatal brought; 0: none */
	_Atomic uint64_t commits;                                 /* that on_commit told of */
	void (*on_commit)(struct world *world, uint64_t applied); /* may be NULL */
};

static inline void world_init(struct world *world)
{
	memset(world, 0, sizeof *world);
	world->dir = test_dir_make();
	world->path = world->dir.path;
	static struct str user_id[] = {{"userId", 6}}, anonymous_id[] = {{"anonymousId", 11}};
	world->namespaces[0] = (struct conf_namespace){
	    .name = STR("user_id"), .from = user_id, .from_count = 1, .max_per_profile = 1, .is_known = true};
	world->namespaces[1] = (struct conf_namespace){
	    .name = STR("anonymous_id"), .from = anonymous_id, .from_count = 1, .max_per_profile = 50};
	world->features[0] =
	    (struct conf_feature){.name = STR("events"), .type = STR("count"), .field = STR_NONE, .key = STR_NONE};
	world->config = (struct config){
	    .store_path = str_from(world->path),
	    .journal = {.segment_bytes = 64 << 20,
			.segment_age_us = US_PER_DAY,
			.queue_bytes = 64 << 20,
			.rejects_bytes = 1 << 20,
			.clock_jump_us = 3600 * US_PER_SECOND},
	    .dedup_window_us = 7 * US_PER_DAY,
	    .dedup_max_ids = 20000000,
	    .namespaces = world->namespaces,
	    .namespace_count = 2,
	    .max_fragments = 50,
	    .features = world->features,
	    .feature_count = 1,
	    .changes_retention_us = 7 * US_PER_DAY,
	};
}

static inline void world_fini(struct world *world)
{
	test_dir_remove(&world->dir);
}

static inline void world_on_commit(void *ctx, uint64_t applied, uint64_t last_change)
{
	struct world *world = ctx;
	(void)last_change;
	world->commits++;
	if (world->on_commit) world->on_commit(world, applied);
}

static inline void world_on_fatal(void *ctx, int status)
{
	((struct world *)ctx)->fatal = status;
}

static inline void world_open_journal(struct world *world)
{
	CHECK(journal_open(world->path, &world->config.journal, &world->journal) == OK);
	if (world->clock.wall_us) journal_set_clock(world->journal, world->clock);
	CHECK(journal_start(world->journal) == OK);
}

static inline int world_new_fold(struct world *world)
{
	const struct fold_options options = {
	    .config = &world->config, .on_commit = world_on_commit, .on_fatal = world_on_fatal, .ctx = world};
	world->fatal = 0;
	return fold_new(world->journal, world->people, &options, &world->fold);
}

/* Everything open, the fold not started. */
static inline int world_open(struct world *world)
{
	world_open_journal(world);
	CHECK(people_open(world->path, &world->people) == OK);
	return world_new_fold(world);
}

static inline void world_start(struct world *world)
{
	CHECK(fold_start(world->fold) == OK);
}

static inline void world_close(struct world *world)
{
	if (world->fold) {
		fold_stop(world->fold);
		fold_free(world->fold);
	}
	people_close(world->people);
	journal_stop(world->journal);
	journal_close(world->journal);
	world->fold = NULL;
}

static inline void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

static inline struct fold_status world_status(const struct world *world)
{
	struct fold_status status;
	fold_status(world->fold, &status);
	return status;
}

/* Until everything in the journal is folded, or the fold gave up; a minute at most. */
static inline void world_settle(struct world *world)
{
	for (int i = 0; i < 30000; i++) {
		if (world->fatal || world_status(world).pending == 0) return;
		sleep_ms(2);
	}
	CHECK(!"the fold did not catch up");
}

/* ── appending ───────────────────────────────────────────────────────────── */

struct sender { /* one request being put together */
	struct arena arena;
	struct journal_entry *entries;
	size_t count, capacity;
};

static inline void sender_init(struct sender *sender, size_t capacity)
{
	arena_init(&sender->arena, 1 << 16, 0);
	sender->entries = calloc(capacity, sizeof *sender->entries);
	CHECK(sender->entries);
	sender->count = 0;
	sender->capacity = capacity;
}

static inline void sender_add(struct sender *sender, enum record_kind kind, struct str payload)
{
	CHECK(sender->count < sender->capacity);
	sender->entries[sender->count++] = (struct journal_entry){kind, payload};
}

static inline void sender_event(struct sender *sender, const struct cdpd_event *event)
{
	struct str payload;
	CHECK(event_encode(event, &sender->arena, &payload) == OK);
	sender_add(sender, RECORD_EVENT, payload);
}

static inline void sender_settled(struct loop_task *task)
{
	struct journal_append *append =
	    (struct journal_append *)((char *)task - offsetof(struct journal_append, settled));
	loop_stop(append->loop);
}

/* Sends as one request, waits until it is durable, frees. The first entry's position. */
static inline uint64_t sender_send(struct sender *sender, struct journal *journal)
{
	struct journal_append append = {
	    .entries = sender->entries, .entry_count = sender->count, .received = (uint32_t)sender->count};
	append.settled.run = sender_settled;
	CHECK(loop_new(&append.loop) == OK);
	CHECK(journal_submit(journal, &append) == OK);
	loop_run(append.loop);
	loop_free(append.loop);
	CHECK(append.status == OK);
	arena_fini(&sender->arena);
	free(sender->entries);
	return append.first_seq;
}

/* A track of user `u<user>` whose message id is `m<id>`. Text borrows the arena. */
static inline struct cdpd_event event_make(struct arena *arena, uint64_t user, uint64_t id)
{
	int64_t now = clock_wall_us();
	struct cdpd_event event = {.source_id = STR("web"),
				   .canonical_hash = id * 7 + 1,
				   .type = EVENT_TRACK,
				   .event = STR("Order Completed"),
				   .event_time_us = now,
				   .received_at_us = now,
				   .utc_offset_min = UTC_OFFSET_UNKNOWN};
	CHECK(arena_printf(arena, &event.user_id, "u%llu", (unsigned long long)user) == OK);
	CHECK(arena_printf(arena, &event.message_id, "m%llu", (unsigned long long)id) == OK);
	return event;
}

static inline uint64_t world_send(struct world *world, uint64_t user, uint64_t id)
{
	struct sender sender;
	sender_init(&sender, 1);
	struct cdpd_event event = event_make(&sender.arena, user, id);
	sender_event(&sender, &event);
	return sender_send(&sender, world->journal);
}

/* Ids first … first + count - 1 of users id % users. */
static inline uint64_t world_send_many(struct world *world, uint64_t first, size_t count, uint64_t users)
{
	struct sender sender;
	sender_init(&sender, count);
	for (uint64_t id = first; id < first + count; id++) {
		struct cdpd_event event = event_make(&sender.arena, id % users, id);
		sender_event(&sender, &event);
	}
	return sender_send(&sender, world->journal);
}

static inline uint64_t world_send_record(struct world *world, enum record_kind kind, struct str payload)
{
	uint64_t seq;
	CHECK(append_and_wait(world->journal, kind, payload, 0, &seq) == OK);
	return seq;
}

/* ── looking ─────────────────────────────────────────────────────────────── */

static inline struct outcome world_outcome(struct world *world, uint64_t seq)
{
	struct people_reader *reader;
	struct outcome outcome;
	uint64_t applied;
	memset(&outcome, 0, sizeof outcome);
	CHECK(people_reader_new(world->people, &reader) == OK);
	CHECK(people_read_begin(reader, &applied) == OK);
	int rc = people_get_outcome(reader, seq, &outcome);
	CHECK(rc == OK || rc == ERR_NOT_FOUND);
	people_read_end(reader);
	people_reader_free(reader);
	return outcome;
}

/* The feature's JSON text, "" when the person or the feature is not there. */
static inline void world_feature(struct world *world, uint64_t user, const char *name, char *out, size_t size)
{
	struct people_reader *reader;
	struct arena arena;
	struct profile profile;
	uint64_t applied;
	char ref[64];
	(void)snprintf(ref, sizeof ref, "user_id:u%llu", (unsigned long long)user);
	arena_init(&arena, 1 << 14, 0);
	out[0] = 0;
	CHECK(people_reader_new(world->people, &reader) == OK);
	CHECK(people_read_begin(reader, &applied) == OK);
	int rc = people_get(reader, str_from(ref), PROFILE_FEATURES, clock_wall_us(), &arena, &profile);
	CHECK(rc == OK || rc == ERR_NOT_FOUND);
	for (size_t i = 0; rc == OK && i < profile.feature_count; i++) {
		if (!str_eq(profile.features[i].name, str_from(name))) continue;
		(void)snprintf(out, size, "%.*s", STR_ARG(profile.features[i].value));
	}
	people_read_end(reader);
	people_reader_free(reader);
	arena_fini(&arena);
}

static inline uint64_t world_count(struct world *world, uint64_t user)
{
	char text[64];
	world_feature(world, user, "events", text, sizeof text);
	return strtoull(text, NULL, 10);
}
