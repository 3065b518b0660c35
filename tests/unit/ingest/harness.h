/* The ingest room on its own: the journal, the configuration's index and the enricher chain are stood in for at link time, so that a
 * test sees exactly what would have been written and decides what the journal answers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/internal.h"

#define HARNESS __attribute__((unused)) static

#define NOW        (INT64_C(1795294200) * US_PER_SECOND) /* 2026-11-21T20:50:00Z */
#define EPOCH_TEST 7

/* ── configuration ───────────────────────────────────────────────────────── */

static struct str web_keys[] = {{"web-key", 7}}, server_keys[] = {{"server-key", 10}, {"a:b", 3}},
		  shop_keys[] = {{"shop-key", 8}};
static struct str limited_keys[] = {{"limited-key", 11}};
static struct str shop_origins[] = {{"https://shop.example", 20}};
static struct conf_source test_sources[] = {
    {.id = {"web", 3},
     .kind = SOURCE_BROWSER,
     .write_keys = web_keys,
     .write_key_count = 1,
     .utc_offset_min = 180,
     .rights = 0},
    {.id = {"backend", 7},
     .kind = SOURCE_SERVER,
     .write_keys = server_keys,
     .write_key_count = 2,
     .utc_offset_min = UTC_OFFSET_UNKNOWN,
     .rights = RIGHT_ALIAS | RIGHT_DECLARED | RIGHT_LINK_KNOWN | RIGHT_TIME},
    {.id = {"shop", 4},
     .kind = SOURCE_MOBILE,
     .write_keys = shop_keys,
     .write_key_count = 1,
     .origins = shop_origins,
     .origin_count = 1,
     .utc_offset_min = UTC_OFFSET_UNKNOWN,
     .rights = RIGHT_ALIAS},
    {.id = {"limited", 7},
     .kind = SOURCE_SERVER,
     .write_keys = limited_keys,
     .write_key_count = 1,
     .utc_offset_min = UTC_OFFSET_UNKNOWN,
     .events_per_second = 5},
};
static struct config test_config = {
    .limits = {.body_bytes = 5 << 20, .event_bytes = 64 << 10, .batch_events = 2500},
    .sources = test_sources,
    .source_count = COUNT_OF(test_sources),
};
static int config_refs;

const struct config *config_ref(const struct config *config)
{
	config_refs++;
	return config;
}

void config_unref(const struct config *config)
{
	(void)config;
	config_refs--;
}

const struct conf_source *config_source_by_key(const struct config *config, struct str key)
{
	for (size_t i = 0; i < config->source_count; i++)
		for (size_t k = 0; k < config->sources[i].write_key_count; k++)
			if (str_eq(config->sources[i].write_keys[k], key)) return &config->sources[i];
	return NULL;
}

/* ── enrichers ───────────────────────────────────────────────────────────── */

static struct {
	bool drops;
	size_t calls, with_root;
} chain;
static char chain_token;
#define TEST_CHAIN ((struct enrich_chain *)(void *)&chain_token)

void enrich_chain_run(struct enrich_chain *enrichers, struct cdpd_event *event, const struct json *root,
		      struct arena *arena, struct enrich_outcome *out)
{
	assert_ptr_equal(enrichers, TEST_CHAIN);
	chain.calls++;
	chain.with_root += root != NULL;
	*out = (struct enrich_outcome){.is_dropped = chain.drops, .enricher = STR("bot"), .reason = STR("a robot")};
	if (!chain.drops) assert_int_equal(arena_str(arena, STR("{\"seen\":true}"), &event->enrichment), OK);
}

void enrich_chain_free(struct enrich_chain *enrichers)
{
	(void)enrichers;
}

/* ── the journal ─────────────────────────────────────────────────────────── */

static struct {
	int refusal;                   /* what journal_submit says */
	struct journal_append *queued; /* the last one, not yet settled */
	uint64_t next_seq;
	uint64_t received, rejected, records, appends;
	uint64_t rejected_by[PROBLEM_COUNT];
} tape;

int journal_submit(struct journal *journal, struct journal_append *append)
{
	(void)journal;
	if (tape.refusal) return tape.refusal;
	assert_null(tape.queued);
	tape.queued = append;
	return OK;
}

uint64_t journal_epoch(const struct journal *journal)
{
	(void)journal;
	return EPOCH_TEST;
}

/* ── one request and what came of it ─────────────────────────────────────── */

#define TOLD_MAX 64
struct told {
	uint32_t index;
	enum problem code;
	char message_id[128], pointer[512], message[600];
};

static struct {
	struct ingest *ingest;
	struct ingest_worker *worker;
	struct arena arena; /* of what was asked last */
	struct cdpd_event *events;
	size_t event_count;
	struct journal_reject rejects[TOLD_MAX]; /* texts in the arena */
	size_t reject_count;

	int answers;
	enum problem problem;
	struct told whole, rejections[TOLD_MAX];
	size_t rejection_count;
	uint32_t accepted;
	uint64_t position_seq, position_epoch;
	int retry_after_s;
	int64_t limit, limit_remaining;
} room;

static void copy_text(char *out, size_t size, struct str text)
{
	assert_non_null(text.ptr);
	size_t len = text.len < size - 1 ? text.len : size - 1;
	memcpy(out, text.ptr, len);
	out[len] = '\0';
}

static void on_answer(void *ctx, const struct ingest_result *result)
{
	assert_ptr_equal(ctx, &room);
	room.answers++;
	room.problem = result->problem;
	copy_text(room.whole.pointer, sizeof room.whole.pointer, result->pointer);
	copy_text(room.whole.message, sizeof room.whole.message, result->message);
	room.accepted = result->accepted;
	room.retry_after_s = result->retry_after_s;
	room.position_seq = result->position_seq;
	room.position_epoch = result->position_epoch;
	room.limit = result->limit;
	room.limit_remaining = result->limit_remaining;
	room.rejection_count = result->rejection_count;
	for (size_t i = 0; i < result->rejection_count && i < TOLD_MAX; i++) {
		const struct ingest_rejection *r = &result->rejections[i];
		struct told *told = &room.rejections[i];
		told->index = r->index;
		told->code = r->code;
		copy_text(told->message_id, sizeof told->message_id, r->message_id);
		copy_text(told->pointer, sizeof told->pointer, r->pointer);
		copy_text(told->message, sizeof told->message, r->message);
	}
}

static void keep_str(struct str *text)
{
	assert_int_equal(arena_str(&room.arena, *text, text), OK);
}

static void keep_append(const struct journal_append *append)
{
	room.event_count = append->entry_count;
	room.events = arena_array(&room.arena, struct cdpd_event, append->entry_count + 1);
	for (size_t i = 0; i < append->entry_count; i++) {
		struct str payload = append->entries[i].payload;
		keep_str(&payload);
		assert_int_equal(append->entries[i].kind, RECORD_EVENT);
		assert_int_equal(event_decode(payload, &room.arena, &room.events[i]), OK);
	}
	room.reject_count = append->reject_count;
	for (size_t i = 0; i < append->reject_count; i++) {
		struct journal_reject r = append->rejects[i];
		tape.rejected_by[r.reason]++;
		if (i >= TOLD_MAX) continue;
		keep_str(&r.source_id);
		keep_str(&r.message_id);
		keep_str(&r.pointer);
		keep_str(&r.detail);
		keep_str(&r.excerpt);
		room.rejects[i] = r;
	}
}

/* The journal answers what is queued. */
HARNESS void settle(int status)
{
	struct journal_append *append = tape.queued;
	assert_non_null(append);
	tape.queued = NULL;
	keep_append(append);
	append->status = status;
	if (status == OK) {
		append->first_seq = tape.next_seq + 1;
		tape.next_seq += append->entry_count;
		append->last_seq = tape.next_seq;
		tape.received += append->received;
		tape.rejected += append->reject_count;
		tape.records += append->entry_count;
		tape.appends++;
		/* Rule 10, for each transaction. */
		assert_int_equal(append->received, append->entry_count + append->reject_count);
	}
	append->settled.run(&append->settled);
}

HARNESS struct ingest_request request_of(enum ingest_dialect dialect, struct str body)
{
	static char padded[(11 << 20) + BUF_SLACK];
	assert_true(body.len <= sizeof padded - BUF_SLACK);
	memcpy(padded, body.ptr, body.len);
	memset(padded + body.len, 0x5a, BUF_SLACK);
	return (struct ingest_request){
	    .dialect = dialect,
	    .authorization = STR("Basic c2VydmVyLWtleTo="), /* server-key: */
	    .write_key_header = STR_NONE,
	    .write_key_query = STR_NONE,
	    .origin = STR_NONE,
	    .client_ip = STR("203.0.113.7"),
	    .user_agent = STR("agent/1"),
	    .body = str_of(padded, body.len),
	    .received_at_us = NOW,
	};
}

HARNESS void forget(void)
{
	arena_reset(&room.arena);
	room.answers = 0;
	room.event_count = room.reject_count = room.rejection_count = 0;
	room.accepted = 0;
}

HARNESS void ask(const struct ingest_request *request)
{
	forget();
	struct ingest_batch *batch = ingest_submit(room.worker, request, on_answer, &room);
	if (batch) {
		assert_int_equal(room.answers, 0); /* no answer before the commit */
		settle(OK);
	}
	assert_int_equal(room.answers, 1);
}

HARNESS void ask_server(enum ingest_dialect dialect, struct str body)
{
	struct ingest_request request = request_of(dialect, body);
	ask(&request);
}

HARNESS void ask_as(const char *write_key, enum ingest_dialect dialect, struct str body)
{
	struct ingest_request request = request_of(dialect, body);
	request.authorization = STR_NONE;
	request.write_key_header = str_from(write_key);
	ask(&request);
}

/* One event by a trusted server; the only record. */
HARNESS const struct cdpd_event *one(const char *json)
{
	ask_server(DIALECT_SEGMENT_ONE, str_from(json));
	if (room.problem)
		fail_msg("%s refused: %s at \"%s\"", json, problem_info(room.problem)->code, room.whole.pointer);
	assert_int_equal(room.event_count, 1);
	return &room.events[0];
}

HARNESS void assert_text(struct str text, const char *wanted)
{
	if (!str_eq(text, str_from(wanted))) fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(text), wanted);
}

/* The single event was refused so. */
HARNESS void assert_refused(enum problem problem, const char *pointer)
{
	if (room.problem != problem)
		fail_msg("%s, not %s", problem_info(room.problem)->code, problem_info(problem)->code);
	assert_string_equal(room.whole.pointer, pointer);
	assert_true(room.whole.message[0] != '\0');
	assert_int_equal(room.event_count, 0);
	assert_int_equal(room.reject_count, 1);
	assert_int_equal(room.rejects[0].reason, problem);
}

HARNESS int room_open(struct enrich_chain *enrichers)
{
	memset(&tape, 0, sizeof tape);
	memset(&chain, 0, sizeof chain);
	memset(&room, 0, sizeof room);
	arena_init(&room.arena, 64 << 10, 0);
	if (ingest_new(NULL, &test_config, &room.ingest) != OK) return -1;
	return ingest_worker_new(room.ingest, NULL, enrichers, &room.worker);
}

HARNESS int room_setup(void **state)
{
	(void)state;
	return room_open(NULL);
}

HARNESS int room_teardown(void **state)
{
	(void)state;
	ingest_worker_free(room.worker);
	ingest_free(room.ingest);
	arena_fini(&room.arena);
	assert_int_equal(config_refs, 0);
	return 0;
}
