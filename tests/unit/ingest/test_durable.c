/* Ingest on the real journal, configuration and loop: what was answered is what is on disk, and the persisted counters balance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "ingest/ingest.h"

#define YAML \
	"store: {path: %s/data}\n" \
	"listen: {http: \"127.0.0.1:0\"}\n" \
	"journal: {disk_free_min: 1MiB, ballast: 1MiB}\n" \
	"sources:\n" \
	"  - {id: web, kind: browser, write_keys: [web-key]}\n"

static struct {
	char folder[64];
	const struct config *config;
	struct journal *journal;
	struct loop *loop;
	struct ingest *ingest;
	struct ingest_worker *worker;
	struct loop_task start;
	const char *body;
	size_t wanted, answers;
	uint32_t accepted, rejected;
	enum problem problem;
	uint64_t last_position;
} t;

static void on_answer(void *ctx, const struct ingest_result *result)
{
	(void)ctx;
	assert_true(loop_is_current(t.loop));
	t.problem = result->problem;
	t.accepted += result->accepted;
	t.rejected += (uint32_t)result->rejection_count;
	/* durable before it is said, and in the order asked */
	if (result->accepted) {
		assert_true(result->position_seq > t.last_position);
		assert_true(result->position_seq < journal_next_seq(t.journal));
		assert_true(result->position_epoch == journal_epoch(t.journal));
		t.last_position = result->position_seq;
	}
	if (++t.answers == t.wanted) loop_stop(t.loop);
}

static void submit_all(struct loop_task *task)
{
	(void)task;
	static char padded[64 << 10];
	size_t len = strlen(t.body);
	assert_true(len + BUF_SLACK < sizeof padded);
	for (size_t i = 0; i < t.wanted; i++) {
		memcpy(padded, t.body, len);
		const struct ingest_request request = {
		    .dialect = DIALECT_SEGMENT_BATCH,
		    .authorization = STR("Basic d2ViLWtleTo="),
		    .write_key_header = STR_NONE,
		    .write_key_query = STR_NONE,
		    .origin = STR_NONE,
		    .client_ip = STR("127.0.0.1"),
		    .user_agent = STR("test"),
		    .body = str_of(padded, len),
		    .received_at_us = clock_wall_us(),
		};
		(void)ingest_submit(t.worker, &request, on_answer, NULL);
		memset(padded, 'x', len); /* nothing of the body may be needed any more */
	}
}

static void ask(const char *body, size_t times)
{
	t.body = body;
	t.wanted = times;
	t.answers = 0;
	t.accepted = t.rejected = 0;
	t.start.run = submit_all;
	loop_post(t.loop, &t.start);
	loop_run(t.loop);
	assert_int_equal(t.answers, times);
}

static int setup(void **state)
{
	(void)state;
	char path[128], *errors = NULL;
	const char *root = getenv("TMPDIR");
	memset(&t, 0, sizeof t);
	(void)snprintf(t.folder, sizeof t.folder, "%s/cdpd-ingest-XXXXXX", root && strlen(root) < 40 ? root : "/tmp");
	assert_non_null(mkdtemp(t.folder));
	(void)snprintf(path, sizeof path, "%s/cdpd.yaml", t.folder);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, YAML, t.folder);
	assert_int_equal(fclose(file), 0);
	if (config_load(path, NULL, 0, &t.config, &errors) != OK) fail_msg("%s", errors);
	assert_int_equal(journal_open(t.config->store_path.ptr, &t.config->journal, &t.journal), OK);
	assert_int_equal(journal_start(t.journal), OK);
	assert_int_equal(loop_new(&t.loop), OK);
	assert_int_equal(ingest_new(t.journal, t.config, &t.ingest), OK);
	assert_int_equal(ingest_worker_new(t.ingest, t.loop, NULL, &t.worker), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	char command[128];
	ingest_worker_free(t.worker); /* in the daemon's order */
	journal_stop(t.journal);
	loop_free(t.loop);
	ingest_free(t.ingest);
	journal_close(t.journal);
	config_unref(t.config);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", t.folder);
	assert_int_equal(system(command), 0);
	return 0;
}

static void test_what_was_answered_is_on_disk(void **state)
{
	(void)state;
	struct journal_batch batch;
	struct arena arena;
	struct cdpd_event event;
	ask("{\"batch\":[{\"type\":\"page\",\"userId\":\"a\"},{\"type\":\"page\"},{\"type\":\"page\",\"userId\":\"c\"}]"
	    "}",
	    50);
	assert_int_equal(t.accepted, 100);
	assert_int_equal(t.rejected, 50);

	journal_batch_init(&batch);
	arena_init(&arena, 4096, 0);
	size_t events = 0;
	for (uint64_t seq = journal_first_seq(t.journal); journal_read(t.journal, seq, 1000, 1 << 20, &batch) == OK;) {
		for (size_t i = 0; i < batch.count; i++) {
			if (batch.records[i].kind != RECORD_EVENT) continue;
			assert_int_equal(event_decode(batch.records[i].payload, &arena, &event), OK);
			assert_true(str_eq(event.user_id, events % 2 ? STR("c") : STR("a")));
			events++;
		}
		seq = batch.records[batch.count - 1].seq + 1;
	}
	assert_int_equal(events, 100);
	arena_fini(&arena);
	journal_batch_fini(&batch);
}

static int count_reject(void *ctx, const struct journal_reject_row *row)
{
	size_t *count = ctx;
	++*count;
	assert_int_equal(row->reject.reason, PROBLEM_INVALID_JSON);
	assert_true(str_eq(row->reject.source_id, STR("web")));
	assert_true(str_eq(row->reject.excerpt, STR("{\"batch\":")));
	return 0;
}

static void test_the_persisted_counters_balance(void **state)
{
	(void)state;
	struct journal_counters counters;
	size_t rejects = 0;
	ask("{\"batch\":", 3);
	assert_int_equal(t.problem, PROBLEM_INVALID_JSON);
	assert_int_equal(journal_rejects(t.journal, 0, count_reject, &rejects), OK);
	assert_int_equal(rejects, 3);
	ask("{\"batch\":[{\"type\":\"page\"},{\"type\":\"page\",\"userId\":\"u\"}]}", 4);
	journal_counters(t.journal, &counters);
	assert_int_equal(counters.received, 3 + 8);
	assert_int_equal(counters.rejected, 3 + 4);
	assert_int_equal(counters.rejected_by[PROBLEM_INVALID_JSON], 3);
	assert_int_equal(counters.rejected_by[PROBLEM_MISSING_IDENTITY], 4);
}

static void test_a_stopped_journal_says_so(void **state)
{
	(void)state;
	journal_stop(t.journal);
	ask("{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}", 1);
	assert_int_equal(t.problem, PROBLEM_SHUTTING_DOWN);
	assert_int_equal(t.accepted, 0);
}

/* The io threads end before the journal does: what it still holds must outlive their workers. */
static void test_a_worker_may_end_before_the_journal(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		t.body = "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"},{\"type\":\"page\"}]}";
		t.wanted = 20;
		t.answers = 0;
		submit_all(NULL); /* the loop does not run: no answer can arrive */
		ingest_worker_free(t.worker);
		assert_int_equal(t.answers, 0);
		assert_int_equal(ingest_worker_new(t.ingest, t.loop, NULL, &t.worker), OK);
	}
	journal_stop(t.journal);
	struct journal_counters counters;
	journal_counters(t.journal, &counters);
	assert_int_equal(counters.received, 20 * 20 * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_what_was_answered_is_on_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_the_persisted_counters_balance, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_stopped_journal_says_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_worker_may_end_before_the_journal, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
