/* deliver_world: a real journal and real profiles, folded by the test itself, and destinations that misbehave on demand (the plugin
 * flaky writes "messageId deliveryId attempt" lines to a file). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/internal.h"
#include "store/test_dir.h"

struct world {
	struct test_dir dir;
	struct config config;
	struct conf_namespace namespaces[1];
	struct conf_instance destinations[20];
	struct node options[20], nodes[20][2];
	struct journal *journal;
	struct people *people;
	struct deliver *deliver;
	struct arena arena;
	uint64_t sent, users; /* users: how many send in turn */
};

static inline void world_init(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->dir = test_dir_make();
	arena_init(&w->arena, 4096, 0);
	w->users = 3;
	static struct str user_id[] = {{"userId", 6}};
	w->namespaces[0] = (struct conf_namespace){
	    .name = STR("user_id"), .from = user_id, .from_count = 1, .max_per_profile = 50, .is_known = true};
	w->config = (struct config){
	    .file = STR("test.yaml"),
	    .store_path = str_from(w->dir.path),
	    .plugin_path = STR(SO),
	    .journal = {.segment_bytes = 64 << 20,
			.segment_age_us = US_PER_DAY,
			.queue_bytes = 64 << 20,
			.rejects_bytes = 1 << 20,
			.clock_jump_us = 3600 * US_PER_SECOND},
	    .dedup_window_us = 7 * US_PER_DAY,
	    .dedup_max_ids = 1000000,
	    .namespaces = w->namespaces,
	    .namespace_count = 1,
	    .max_fragments = 50,
	    .changes_retention_us = 7 * US_PER_DAY,
	    .destinations = w->destinations,
	};
}

static inline void world_fini(struct world *w)
{
	arena_fini(&w->arena);
	test_dir_remove(&w->dir);
}

/* A destination of the plugin flaky; its lines go to world_file(name). */
static inline void world_add(struct world *w, const char *name, const char *mode)
{
	size_t i = w->config.destination_count++;
	CHECK(i < COUNT_OF(w->destinations));
	struct str file;
	CHECK(arena_printf(&w->arena, &file, "%s/%s.txt", w->dir.path, name) == OK);
	w->nodes[i][0] = (struct node){.kind = NODE_SCALAR, .key = STR("file"), .text = file, .next = &w->nodes[i][1]};
	w->nodes[i][1] = (struct node){.kind = NODE_SCALAR, .key = STR("mode"), .text = str_from(mode)};
	w->options[i] = (struct node){.kind = NODE_MAP, .children = w->nodes[i], .child_count = 2};
	w->destinations[i] = (struct conf_instance){
	    .name = str_from(name), .plugin = STR("flaky"), .options = &w->options[i], .line = 1};
}

/* ── the stores ──────────────────────────────────────────────────────────── */

static inline void world_open(struct world *w)
{
	CHECK(journal_open(w->dir.path, &w->config.journal, &w->journal) == OK);
	CHECK(journal_start(w->journal) == OK);
	CHECK(people_open(w->dir.path, &w->people) == OK);
	struct buf text;
	buf_init(&text, 1 << 20);
	CHECK(definitions_write(&w->config, &text) == OK);
	CHECK(people_begin(w->people) == OK);
	CHECK(people_define(w->people, buf_str(&text), 0) == OK);
	CHECK(people_commit(w->people,
			    people_applied(w->people) ? people_applied(w->people) : journal_first_seq(w->journal),
			    1) == OK);
	buf_fini(&text);
}

static inline void world_close(struct world *w)
{
	people_close(w->people);
	journal_stop(w->journal);
	journal_close(w->journal);
}

static inline int world_new(struct world *w)
{
	int rc = deliver_new(w->journal, w->people, &w->config, &w->deliver);
	if (rc) return rc;
	w->deliver->shared.tuning = (struct deliver_tuning){.answer_us = 200 * US_PER_MS,
							    .backoff_min_us = US_PER_MS,
							    .backoff_max_us = 20 * US_PER_MS,
							    .parked_max_us = 20 * US_PER_MS,
							    .stop_us = 2 * US_PER_SECOND};
	return OK;
}

static inline void world_start(struct world *w)
{
	CHECK(world_new(w) == OK);
	CHECK(deliver_start(w->deliver) == OK);
}

static inline void world_stop(struct world *w)
{
	deliver_stop(w->deliver);
	deliver_free(w->deliver);
	w->deliver = NULL;
}

/* ── events ──────────────────────────────────────────────────────────────── */

/* One event of user u<id % users> with the message id m<id>; its position. What names a purpose is her consent. */
static inline uint64_t world_send(struct world *w, const char *text)
{
	struct str payload;
	uint64_t seq;
	struct cdpd_event event = {.source_id = STR("web"),
				   .type = EVENT_TRACK,
				   .event = STR("A"),
				   .name = STR_NONE,
				   .category = STR_NONE,
				   .anonymous_id = STR_NONE,
				   .previous_id = STR_NONE,
				   .group_id = STR_NONE,
				   .traits = STR_NONE,
				   .context = STR_NONE,
				   .extra = STR_NONE,
				   .enrichment = STR_NONE,
				   .ip = STR_NONE,
				   .user_agent = STR_NONE,
				   .properties = str_from(text),
				   .event_time_us = clock_wall_us(),
				   .utc_offset_min = UTC_OFFSET_UNKNOWN};
	event.received_at_us = event.event_time_us;
	if (strstr(text, "\"purpose\"")) {
		event.flags |= EVENT_CONSENT;
		event.enrichment = STR("{\"consent\":{\"salt\":\"00112233445566778899aabbccddeeff\"}}");
	}
	CHECK(arena_printf(&w->arena, &event.user_id, "u%llu", (unsigned long long)(w->sent % w->users)) == OK);
	CHECK(arena_printf(&w->arena, &event.message_id, "m%llu", (unsigned long long)w->sent++) == OK);
	CHECK(event_encode(&event, &w->arena, &payload) == OK);
	CHECK(journal_append_wait(w->journal, RECORD_EVENT, payload, &seq) == OK);
	return seq;
}

/* Folds what is there. Records whose event says {"verdict":"duplicate"} are not applied. */
static inline void world_fold(struct world *w)
{
	struct arena arena;
	arena_init(&arena, 65536, 0);
	uint64_t seq = people_applied(w->people), end = journal_next_seq(w->journal);
	int64_t t = 1;
	CHECK(people_begin(w->people) == OK);
	for (; seq < end; seq++) {
		struct record record;
		struct cdpd_event event;
		struct apply_result result;
		arena_reset(&arena);
		CHECK(journal_get(w->journal, seq, &arena, &record) == OK);
		t = record.t;
		if (record.kind != RECORD_EVENT) continue;
		CHECK(event_decode(record.payload, &arena, &event) == OK);
		struct outcome outcome = {.verdict = OUTCOME_DUPLICATE};
		if (!str_eq(event.properties, STR("{\"verdict\":\"duplicate\"}"))) {
			CHECK(people_apply(w->people, &event, seq, record.t, &result) == OK);
			outcome = (struct outcome){
			    .verdict = result.verdict, .reason = result.reason, .previous_seq = result.previous_seq};
			memcpy(outcome.fragment, result.fragment.bytes, sizeof outcome.fragment);
		}
		CHECK(people_put_outcome(w->people, seq, &outcome) == OK);
	}
	CHECK(people_commit(w->people, end, t) == OK);
	arena_fini(&arena);
	if (w->deliver) deliver_wake(w->deliver);
}

static inline void world_send_many(struct world *w, size_t count)
{
	for (size_t i = 0; i < count; i++) (void)world_send(w, "");
	world_fold(w);
}

/* Makes two users one person, at the end of the journal. */
static inline void world_merge(struct world *w, const char *a, const char *b)
{
	uint64_t seq;
	const struct people_act act = {str_from(a), str_from(b), STR("test"), STR_NONE};
	CHECK(journal_append_wait(w->journal, RECORD_MERGE, STR(""), &seq) == OK);
	CHECK(people_begin(w->people) == OK);
	CHECK(people_act(w->people, PEOPLE_MERGE, &act, seq, clock_wall_us()) == OK);
	CHECK(people_commit(w->people, seq + 1, clock_wall_us()) == OK);
	if (w->deliver) deliver_wake(w->deliver);
}

/* Creates, fills or (text NULL) removes the file <name>.txt<suffix> by which the plugin is told how to behave. */
static inline void world_tell(struct world *w, const char *name, const char *suffix, const char *text)
{
	char path[400], made[420];
	(void)snprintf(path, sizeof path, "%s/%s.txt%s", w->dir.path, name, suffix);
	(void)snprintf(made, sizeof made, "%s.new", path);
	if (!text) {
		(void)unlink(path);
		return;
	}
	FILE *file = fopen(made, "w");
	CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0 && rename(made, path) == 0);
}

/* ── looking ─────────────────────────────────────────────────────────────── */

static inline struct destination_status world_status(struct world *w, const char *name)
{
	struct destination_status *all;
	size_t count;
	CHECK(deliver_status(w->deliver, &w->arena, &all, &count) == OK);
	for (size_t i = 0; i < count; i++) {
		if (str_eq(all[i].name, str_from(name))) return all[i];
	}
	fail_msg("no destination %s", name);
	abort();
}

static inline void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	(void)nanosleep(&pause, NULL);
}

/* Until the destination has nothing left; 20 s at most. */
static inline void world_drain(struct world *w, const char *name)
{
	for (int i = 0; i < 10000; i++) {
		struct destination_status status = world_status(w, name);
		if (status.lag == 0 && status.state.parked == 0) return;
		sleep_ms(2);
	}
	const struct destination_status status = world_status(w, name);
	fail_msg("destination %s did not catch up: lag %llu, parked %llu, delivered %llu, retries %llu, %s, %.*s", name,
		 (unsigned long long)status.lag, (unsigned long long)status.state.parked,
		 (unsigned long long)status.delivered, (unsigned long long)status.retries,
		 destination_condition_name(status.state.condition), STR_ARG(status.last_error));
}

static inline char *world_file(struct world *w, const char *name)
{
	static char text[1 << 20];
	char path[400];
	(void)snprintf(path, sizeof path, "%s/%s.txt", w->dir.path, name);
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
	text[len] = '\0';
	if (file) (void)fclose(file);
	return text;
}

/* How often the file says that message `id` arrived. */
static inline unsigned world_seen(struct world *w, const char *name, uint64_t id)
{
	char word[40];
	unsigned count = 0;
	(void)snprintf(word, sizeof word, "m%llu ", (unsigned long long)id);
	for (const char *line = world_file(w, name); *line; line = strchr(line, '\n') + 1)
		count += strncmp(line, word, strlen(word)) == 0;
	return count;
}

static inline unsigned world_lines(struct world *w, const char *name)
{
	unsigned count = 0;
	for (const char *at = world_file(w, name); *at; at++) count += *at == '\n';
	return count;
}
