/* What an exporter may answer, and when: the promises of batch_*, receipt_set and receipt_done. The plugin is the test itself. */
#include "plugin_test.h"

#include <pthread.h>

#include "base/clock.h"
#include "plugin/handover.h"

static const struct cdpd_host *host;
static enum cdpd_verdict answer;
static struct cdpd_receipt *held;
static void (*during)(const struct cdpd_batch *batch, struct cdpd_receipt *receipt);

static enum cdpd_verdict export_batch(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	(void)self;
	held = receipt;
	if (during) during(batch, receipt);
	return answer;
}

static const struct cdpd_plugin table = {.size = sizeof table,
					 .abi_major = CDPD_ABI_MAJOR,
					 .name = "t",
					 .version = "1",
					 .summary = "t",
					 .caps = CDPD_CAP_EXPORT,
					 .export_batch = export_batch};
static const struct plugin plugin = {.table = &table};
static struct cdpd_instance *instance;
static struct handover *h;
static const _Atomic(bool) never_stop;

static int setup(void **state)
{
	(void)state;
	static const struct plugin_conf conf = {.sdk = {&table, NULL}};
	host = plugin_host();
	during = NULL;
	if (instance_new(&plugin, STR("t"), &conf, true, &instance) || handover_new(3, &h)) return -1;
	for (int i = 0; i < 3; i++) {
		struct export_record record = {.position = STR("p"),
					       .delivery_id = STR("d"),
					       .message_id = STR("m"),
					       .profile_id = STR("f"),
					       .json = STR("{}"),
					       .attempt = 1,
					       .kind = CDPD_RECORD_EVENT};
		if (handover_add(h, &record)) return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	handover_unref(h);
	instance_free(instance);
	return 0;
}

static void verdicts_are(enum cdpd_verdict a, enum cdpd_verdict b, enum cdpd_verdict c)
{
	assert_int_equal(handover_verdict(h, 0).verdict, a);
	assert_int_equal(handover_verdict(h, 1).verdict, b);
	assert_int_equal(handover_verdict(h, 2).verdict, c);
}

static int run(enum cdpd_verdict what, int64_t span_us)
{
	answer = what;
	return handover_run(h, instance, span_us, &never_stop);
}

static void test_one_verdict_for_all(void **state)
{
	(void)state;
	assert_int_equal(run(CDPD_ACK, US_PER_SECOND), OK);
	verdicts_are(CDPD_ACK, CDPD_ACK, CDPD_ACK);
	assert_false(handover_is_held(h));
	assert_int_equal(host->receipt_set(held, 0, CDPD_RETRY, 0, NULL), CDPD_ERR_TIMEOUT); /* final */
	verdicts_are(CDPD_ACK, CDPD_ACK, CDPD_ACK);
}

static void test_garbage_is_a_retry(void **state)
{
	(void)state;
	assert_int_equal(run((enum cdpd_verdict)99, US_PER_SECOND), OK);
	verdicts_are(CDPD_RETRY, CDPD_RETRY, CDPD_RETRY);
}

static void name_some(const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct cdpd_record record = {.size = sizeof record};
	assert_int_equal(host->batch_count(batch), 3);
	assert_int_equal(host->batch_record(batch, 2, &record), CDPD_OK);
	assert_int_equal(record.kind, CDPD_RECORD_EVENT);
	assert_int_equal(host->batch_record(batch, 3, &record), CDPD_ERR_NOT_FOUND);
	record.size = 8;
	assert_int_equal(host->batch_record(batch, 0, &record), CDPD_ERR_INVALID);
	assert_int_equal(host->receipt_set(receipt, 1, CDPD_DROP, 0, "poison"), CDPD_OK);
	assert_int_equal(host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, 1500, "full"), CDPD_OK);
	assert_int_equal(host->receipt_set(receipt, 3, CDPD_ACK, 0, NULL), CDPD_ERR_NOT_FOUND);
	assert_int_equal(host->receipt_set(receipt, 0, CDPD_PENDING, 0, NULL), CDPD_ERR_INVALID);
}

static void test_named_exceptions_and_reasons(void **state)
{
	(void)state;
	during = name_some;
	assert_int_equal(run(CDPD_RETRY, US_PER_SECOND), OK);
	verdicts_are(CDPD_RETRY, CDPD_DROP, CDPD_RETRY);
	assert_true(str_eq(handover_verdict(h, 1).reason, STR("poison")));
	assert_true(str_eq(handover_verdict(h, 0).reason, STR("full")));
	assert_int_equal(handover_verdict(h, 0).retry_after_us, 1500 * US_PER_MS);
}

static void *answer_soon(void *ctx)
{
	const struct timespec pause = {0, 20000000};
	(void)ctx;
	nanosleep(&pause, NULL);
	assert_int_equal(host->receipt_set(held, 0, CDPD_RETRY, 0, NULL), CDPD_OK);
	assert_int_equal(host->receipt_done(held, CDPD_ACK), CDPD_OK);
	return NULL;
}

static pthread_t thread;

static void start_answering(const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	(void)batch;
	held = receipt;
	assert_int_equal(pthread_create(&thread, NULL, answer_soon, NULL), 0);
}

static void test_pending_is_answered_by_another_thread(void **state)
{
	(void)state;
	during = start_answering;
	assert_int_equal(run(CDPD_PENDING, 60 * US_PER_SECOND), OK);
	pthread_join(thread, NULL);
	verdicts_are(CDPD_RETRY, CDPD_ACK, CDPD_ACK);
}

static void answer_inside(const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	(void)batch;
	assert_int_equal(host->receipt_done(receipt, CDPD_ACK), CDPD_OK);
	assert_int_equal(host->receipt_done(receipt, CDPD_DROP), CDPD_ERR_INVALID); /* once */
}

static void test_answered_before_it_returned(void **state)
{
	(void)state;
	during = answer_inside;
	assert_int_equal(run(CDPD_PENDING, US_PER_SECOND), OK);
	verdicts_are(CDPD_ACK, CDPD_ACK, CDPD_ACK);
}

static void test_a_late_answer_is_told_so_and_harms_nothing(void **state)
{
	(void)state;
	assert_int_equal(run(CDPD_PENDING, 1000), ERR_TIMEOUT);
	assert_true(handover_is_held(h));
	handover_unref(h); /* the destination lets go: the plugin's share keeps the memory */
	assert_int_equal(host->receipt_set(held, 0, CDPD_ACK, 0, NULL), CDPD_ERR_TIMEOUT);
	assert_int_equal(host->receipt_done(held, CDPD_ACK), CDPD_ERR_TIMEOUT); /* frees it */
	h = NULL;
}

static void test_what_destroy_left_is_reclaimed(void **state)
{
	(void)state;
	assert_int_equal(run(CDPD_PENDING, 1000), ERR_TIMEOUT);
	handover_reclaim(h);
	assert_false(handover_is_held(h));
	handover_reclaim(h); /* nothing more to take */
}

static void test_a_stop_does_not_wait_for_the_deadline(void **state)
{
	(void)state;
	static const _Atomic(bool) stop = true;
	answer = CDPD_PENDING;
	int64_t before = clock_mono_us();
	assert_int_equal(handover_run(h, instance, 3600 * US_PER_SECOND, &stop), ERR_TIMEOUT);
	assert_true(clock_mono_us() - before < HANDOVER_STOP_GRACE_US + 30 * US_PER_SECOND);
	handover_reclaim(h);
}

/* ── timers ──────────────────────────────────────────────────────────────── */

static int fired;

static void fire(void *ctx)
{
	(void)ctx;
	fired++;
	if (fired == 1) assert_int_equal(host->timer(instance, 0, fire, NULL), CDPD_OK);
}

static void test_timers(void **state)
{
	(void)state;
	fired = 0;
	assert_true(instance_next_timer(instance) == INT64_MAX);
	assert_int_equal(host->timer(instance, 0, fire, NULL), CDPD_OK);
	assert_int_equal(host->timer(instance, 3600000, fire, NULL), CDPD_OK);
	int64_t later = clock_mono_us() + US_PER_SECOND;
	instance_run_timers(instance, later);
	assert_int_equal(fired, 1); /* what a timer sets waits for the next call */
	instance_run_timers(instance, later);
	assert_int_equal(fired, 2);
	assert_true(instance_next_timer(instance) > later);
	for (int i = 0; i < INSTANCE_TIMERS_MAX - 1; i++)
		assert_int_equal(host->timer(instance, 3600000, fire, NULL), CDPD_OK);
	assert_int_equal(host->timer(instance, 3600000, fire, NULL), CDPD_ERR_BUSY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_one_verdict_for_all),
	    TEST(test_garbage_is_a_retry),
	    TEST(test_named_exceptions_and_reasons),
	    TEST(test_pending_is_answered_by_another_thread),
	    TEST(test_answered_before_it_returned),
	    TEST(test_a_late_answer_is_told_so_and_harms_nothing),
	    TEST(test_what_destroy_left_is_reclaimed),
	    TEST(test_a_stop_does_not_wait_for_the_deadline),
	    TEST(test_timers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
