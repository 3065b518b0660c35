/* A child appends as fast as it can and writes to a file what was acknowledged; it is killed with SIGKILL at some
 * moment. Then everything acknowledged must be there, contiguous, and no request may be split. */
#include "journal/journal_world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "store/disk_faults.h"

enum { ROUNDS = 30, SENDERS = 3, OUTSTANDING = 16, ENTRIES = 4, PAYLOAD = 700 };

/* Shared with the child: a page that outlives it, written before the next request goes out. */
struct ledger {
	_Atomic uint64_t acked[SENDERS];      /* requests, each sender's are in order */
	_Atomic uint64_t first_seq, last_seq; /* of the newest ack */
};
static struct ledger *ledger;

struct flight {
	struct request request;
	struct journal_entry entries[ENTRIES];
	char payloads[ENTRIES][PAYLOAD];
	uint64_t sender, number;
};

static void launch(struct flight *flight)
{
	for (uint64_t i = 0; i < ENTRIES; i++) {
		uint64_t id = flight->sender << 48 | (flight->number * ENTRIES + i);
		flight->entries[i] =
		    (struct journal_entry){RECORD_EVENT, numbered_payload(flight->payloads[i], PAYLOAD, id)};
	}
	request_init(&flight->request, STR_NONE);
	flight->request.append.entries = flight->entries;
	flight->request.append.entry_count = ENTRIES;
	if (journal_submit(world.journal, &flight->request.append) != OK) _exit(3);
}

static void *fly(void *arg)
{
	uint64_t sender = (uint64_t)(uintptr_t)arg;
	struct flight *flights = calloc(OUTSTANDING, sizeof *flights);
	uint64_t base = atomic_load(&ledger->acked[sender]);
	for (uint64_t i = 0; i < OUTSTANDING; i++) {
		flights[i].sender = sender;
		flights[i].number = base + i;
		launch(&flights[i]);
	}
	for (uint64_t i = 0;; i = (i + 1) % OUTSTANDING) {
		struct flight *flight = &flights[i];
		while (!atomic_load(&flight->request.is_settled)) usleep(20);
		if (flight->request.append.status != OK) _exit(4);
		atomic_store(&ledger->first_seq, flight->request.append.first_seq);
		atomic_store(&ledger->last_seq, flight->request.append.last_seq);
		atomic_store(&ledger->acked[sender], flight->number + 1);
		flight->number += OUTSTANDING;
		launch(flight);
	}
	return NULL;
}

static _Noreturn void run_child(void)
{
	pthread_t threads[SENDERS];
	log_set_room_level(LOG_JOURNAL, LOG_LEVEL_ERROR);
	if (journal_open(world.dir.path, &world.conf, &world.journal) != OK) _exit(5);
	if (journal_start(world.journal) != OK) _exit(6);
	for (uintptr_t i = 0; i < SENDERS; i++) {
		if (pthread_create(&threads[i], NULL, fly, (void *)i) != 0) _exit(7);
	}
	for (;;) pause();
}

/* What a reader found, per sender: the number its next record must have. A request that was in flight when the
 * child died may be there or not, but whole; its number is used again by the next child. */
static uint64_t seen_requests[SENDERS], part, part_id;
static uint64_t records_seen;

static void see(const struct record *record)
{
	uint64_t id = payload_number(record->payload);
	uint64_t sender = id >> 48, number = id & (UINT64_MAX >> 16);
	assert_true(sender < SENDERS);
	assert_int_equal(record->payload.len, PAYLOAD);
	assert_true(number % ENTRIES == part); /* the parts of a request follow each other */
	if (part > 0) assert_true(id == part_id + 1);
	part_id = id;
	part = (part + 1) % ENTRIES;
	records_seen++;
	if (part != 0) return;
	uint64_t request = number / ENTRIES;
	/* In order; what was not acknowledged before a kill may come a second time. */
	assert_true(request <= seen_requests[sender]);
	if (request == seen_requests[sender]) seen_requests[sender]++;
}

static void verify(void)
{
	memset(seen_requests, 0, sizeof seen_requests);
	part = records_seen = 0;
	world_open(&world);
	assert_true(read_all(1, 1000, 1 << 22, see) == journal_next_seq(world.journal) - 1);
	assert_true(part == 0); /* no request was cut at the end */
	for (int i = 0; i < SENDERS; i++) assert_true(seen_requests[i] >= atomic_load(&ledger->acked[i]));
	assert_true(journal_next_seq(world.journal) > atomic_load(&ledger->last_seq));
	world_stop(&world);
}

static void kill_after(useconds_t us)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) run_child();
	usleep(us);
	assert_int_equal(kill(child, SIGKILL), 0);
	int status;
	assert_true(waitpid(child, &status, 0) == child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it did not end by itself */
}

static int set_up(void **state)
{
	disk_faults_clear();
	ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(ledger != MAP_FAILED);
	log_set_room_level(LOG_JOURNAL, LOG_LEVEL_ERROR);
	return world_set_up(state);
}

/* A process that dies leaves the page cache as it is, so for these a file system in memory is as good as a disk. */
static int set_up_in_memory(void **state)
{
	int rc = set_up(state);
	test_dir_remove(&world.dir);
	world.dir = test_dir_make_in_memory();
	return rc;
}

static int tear_down(void **state)
{
	munmap(ledger, sizeof *ledger);
	return world_tear_down(state);
}

static void what_was_acknowledged_survives_a_kill(void **state)
{
	(void)state;
	unsigned seed = 4711;
	uint64_t acked = 0;
	for (int round = 0; round < ROUNDS; round++) {
		kill_after(10000 + (useconds_t)(rand_r(&seed) % 60000));
		verify();
	}
	for (int i = 0; i < SENDERS; i++) acked += atomic_load(&ledger->acked[i]);
	assert_true(acked > ROUNDS); /* the load was there */
	assert_true(records_seen >= acked * ENTRIES);
}

/* Segments of the smallest size, in a journal that seals all the time: a kill mostly hits the making of one. */
static void a_kill_while_a_segment_is_made_leaves_a_journal(void **state)
{
	(void)state;
	unsigned seed = 815;
	world.conf.segment_bytes = 65536;
	world.conf.segment_age_us = 1;
	for (int round = 0; round < ROUNDS; round++) {
		kill_after(8000 + (useconds_t)(rand_r(&seed) % 20000));
		verify();
	}
}

/* ── every step ── */

enum { STEP_EVENTS = 9, STEP_BYTES = 30000 }; /* a segment of 64 KB is full after three */

/* Writes the events that are missing, one after the other, and ends. */
static _Noreturn void run_few(int kill_at)
{
	static char payload[STEP_BYTES];
	atomic_store(&disk_steps, 0);
	atomic_store(&kill_at_step, kill_at);
	if (journal_open(world.dir.path, &world.conf, &world.journal) != OK) _exit(5);
	if (journal_start(world.journal) != OK) _exit(6);
	atomic_store(&ledger->last_seq,
		     journal_next_seq(world.journal) - 1); /* durable, even if the ack did not get out */
	for (uint64_t seq = journal_next_seq(world.journal); seq <= STEP_EVENTS; seq++) {
		struct request request;
		request_init(&request, numbered_payload(payload, sizeof payload, seq));
		if (journal_submit(world.journal, &request.append) != OK) _exit(7);
		while (!atomic_load(&request.is_settled)) usleep(20);
		if (request.append.status != OK || request.append.first_seq != seq) _exit(8);
		atomic_store(&ledger->last_seq, seq);
	}
	journal_stop(world.journal);
	journal_close(world.journal);
	_exit(0);
}

/* True: it was killed; false: it came to its end before that step. */
static bool dies_at(int step)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) run_few(step);
	int status;
	assert_true(waitpid(child, &status, 0) == child);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

static void expect_step_event(const struct record *record)
{
	assert_true(payload_number(record->payload) == record->seq);
	assert_int_equal(record->payload.len, STEP_BYTES);
}

static void assert_acked_are_there(void)
{
	uint64_t acked = atomic_load(&ledger->last_seq);
	world_open(&world);
	uint64_t count = read_all(1, 100, 1 << 22, expect_step_event);
	assert_true(count == acked || count == acked + 1);
	assert_true(journal_next_seq(world.journal) == count + 1);
	world_stop(&world);
}

static void every_step_on_disk_can_be_the_last(void **state)
{
	(void)state;
	int step = 1;
	world.conf.segment_bytes = 65536;
	for (; dies_at(step); step++) {
		assert_acked_are_there();
		assert_false(dies_at(0)); /* goes on from there to the end */
		assert_true(atomic_load(&ledger->last_seq) == STEP_EVENTS);
		assert_acked_are_there();
		test_dir_remove(&world.dir);
		world.dir = test_dir_make_in_memory();
		atomic_store(&ledger->last_seq, 0);
	}
	assert_in_range(step, 50, 1000); /* there were steps to die at, several segments among them */
}

/* The start after a crash may crash too. */
static void every_step_of_a_recovery_can_be_the_last(void **state)
{
	(void)state;
	world.conf.segment_bytes = 65536;
	for (int deep = 1; deep <= 60; deep++) {
		(void)dies_at(deep % 7 + 1);
		assert_acked_are_there();
	}
	assert_false(dies_at(0));
	assert_acked_are_there();
}

int main(void)
{
#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_in_memory, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(what_was_acknowledged_survives_a_kill),
	    TEST(a_kill_while_a_segment_is_made_leaves_a_journal),
	    MEMORY_TEST(every_step_on_disk_can_be_the_last),
	    MEMORY_TEST(every_step_of_a_recovery_can_be_the_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
