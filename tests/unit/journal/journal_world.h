/* journal_world: a journal in a directory of its own, and short ways to use it. */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "journal/clock_source.h"
#include "journal/journal.h"
#include "store/test_dir.h"

struct world {
	struct test_dir dir;
	struct conf_journal conf;
	struct journal *journal;
};

static inline struct conf_journal world_conf(void)
{
	return (struct conf_journal){
	    .segment_bytes = 1 << 20,
	    .segment_age_us = US_PER_DAY,
	    .queue_bytes = 8 << 20,
	    .disk_free_min = 1 << 20,
	    .ballast_bytes = 1 << 16,
	    .rejects_bytes = 1 << 20,
	    .clock_jump_us = 3600 * US_PER_SECOND,
	};
}

static inline void world_open(struct world *world)
{
	assert_int_equal(journal_open(world->dir.path, &world->conf, &world->journal), OK);
}

static inline void world_start(struct world *world)
{
	world_open(world);
	assert_int_equal(journal_start(world->journal), OK);
}

static inline void world_stop(struct world *world)
{
	if (!world->journal) return;
	journal_stop(world->journal);
	journal_close(world->journal);
	world->journal = NULL;
}

static inline void world_restart(struct world *world)
{
	world_stop(world);
	world_start(world);
}

static struct world world;

static inline int world_set_up(void **state)
{
	*state = NULL;
	world = (struct world){.dir = test_dir_make(), .conf = world_conf()};
	return 0;
}

static inline int world_tear_down(void **state)
{
	(void)state;
	world_stop(&world);
	test_dir_remove(&world.dir);
	return 0;
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

/* Waits for a condition that another thread brings about. */
#define EVENTUALLY(condition) \
	do { \
		for (int eventually = 0; !(condition); eventually++) { \
			if (eventually > 20000) fail_msg("never became true: %s", #condition); \
			usleep(1000); \
		} \
	} while (0)

/* ── a request that can be waited for ── */

struct request {
	struct journal_append append;
	struct journal_entry entry;
	atomic_bool is_settled;
	void (*on_settled)(struct request *request);
	void *ctx;
};

static inline void request_settled(struct loop_task *task)
{
	struct request *request = (struct request *)((char *)task - offsetof(struct request, append.settled));
	if (request->on_settled) request->on_settled(request);
	atomic_store(&request->is_settled, true);
}

static inline void request_init(struct request *request, struct str payload)
{
	*request = (struct request){
	    .append = {.received = 1, .entry_count = 1, .settled = {.run = request_settled}},
	    .entry = {RECORD_EVENT, payload},
	};
	request->append.entries = &request->entry;
}

static inline int request_submit_and_wait(struct request *request)
{
	int rc = journal_submit(world.journal, &request->append);
	if (rc != OK) return rc;
	EVENTUALLY(atomic_load(&request->is_settled));
	return request->append.status;
}

static inline uint64_t append_event(struct str payload)
{
	struct request request;
	request_init(&request, payload);
	assert_int_equal(request_submit_and_wait(&request), OK);
	assert_true(request.append.first_seq == request.append.last_seq);
	return request.append.first_seq;
}

/* Payload of a given size that names its number. */
static inline struct str numbered_payload(char *out, size_t size, uint64_t number)
{
	memset(out, 'p', size);
	memcpy(out, &number, sizeof number);
	return (struct str){out, size};
}

static inline uint64_t payload_number(struct str payload)
{
	uint64_t number;
	assert_true(payload.len >= sizeof number);
	memcpy(&number, payload.ptr, sizeof number);
	return number;
}

/* Reads all there is from `seq` on; each record is handed to fn. Returns how many there were. */
static inline uint64_t read_all(uint64_t seq, size_t max_count, size_t max_bytes,
				void (*fn)(const struct record *record))
{
	struct journal_batch batch;
	uint64_t count = 0;
	int rc;
	journal_batch_init(&batch);
	while ((rc = journal_read(world.journal, seq, max_count, max_bytes, &batch)) == OK) {
		assert_true(batch.count >= 1 && batch.count <= max_count);
		for (size_t i = 0; i < batch.count; i++, seq++, count++) {
			assert_true(batch.records[i].seq == seq);
			if (fn) fn(&batch.records[i]);
		}
	}
	assert_int_equal(rc, ERR_AGAIN);
	journal_batch_fini(&batch);
	return count;
}
