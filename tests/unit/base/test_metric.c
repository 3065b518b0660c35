#include <pthread.h>

#include "base/base_test.h"
#include "base/metric.h"

static const char *scrape(struct buf *buf)
{
	buf_init(buf, 1 << 20);
	assert_ok(metric_write_all(buf));
	assert_ok(buf_putc(buf, '\0'));
	return buf_ptr(buf);
}

static void assert_has(const char *text, const char *line)
{
	if (!strstr(text, line)) fail_msg("missing: %s\nin:\n%s", line, text);
}

static void counters_share_help_and_type(void **state)
{
	struct buf buf;
	(void)state;
	struct metric *a =
	    metric_get(METRIC_COUNTER, "cdpd_events_total", "verdict=\"applied\"", "Events by\nverdict \\.");
	struct metric *b = metric_get(METRIC_COUNTER, "cdpd_events_total", "verdict=\"rejected\"", "x");
	struct metric *plain = metric_get(METRIC_COUNTER, "cdpd_plain_total", NULL, "Plain.");
	assert_ptr_equal(metric_get(METRIC_COUNTER, "cdpd_events_total", "verdict=\"applied\"", "x"), a);
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(metric_get(METRIC_COUNTER, "cdpd_plain_total", "", "x"), plain);
	metric_add(a, 3);
	metric_add(a, 4);
	metric_set(b, 100);
	metric_add(b, 1);
	assert_int_equal(metric_value(a), 7);
	const char *text = scrape(&buf);
	assert_has(text, "# HELP cdpd_events_total Events by\\nverdict \\\\.\n# TYPE cdpd_events_total counter\n"
			 "cdpd_events_total{verdict=\"applied\"} 7\ncdpd_events_total{verdict=\"rejected\"} 101\n");
	assert_has(text, "# TYPE cdpd_plain_total counter\ncdpd_plain_total 0\n");
	buf_fini(&buf);
}

static int64_t read_answer(void *ctx)
{
	return *(int64_t *)ctx;
}

static void gauges_and_callbacks(void **state)
{
	struct buf buf;
	static int64_t answer = -42, other = 43;
	(void)state;
	metric_set(metric_get(METRIC_GAUGE, "cdpd_depth", NULL, "Depth."), -5);
	metric_callback(METRIC_GAUGE, "cdpd_answer", "k=\"v\"", "Answer.", read_answer, &answer);
	const char *text = scrape(&buf);
	assert_has(text, "# TYPE cdpd_depth gauge\ncdpd_depth -5\n");
	assert_has(text, "cdpd_answer{k=\"v\"} -42\n");
	buf_fini(&buf);
	metric_callback(METRIC_GAUGE, "cdpd_answer", "k=\"v\"", "Answer.", read_answer, &other);
	assert_has(scrape(&buf), "cdpd_answer{k=\"v\"} 43\n");
	buf_fini(&buf);
}

static void histogram_is_cumulative(void **state)
{
	struct buf buf;
	(void)state;
	struct metric *plain = metric_get(METRIC_HISTOGRAM, "cdpd_ack_seconds", NULL, "Acks.");
	struct metric *labelled = metric_get(METRIC_HISTOGRAM, "cdpd_route_seconds", "route=\"/v1/t\"", "Routes.");
	metric_observe_us(plain, 100); /* on the bound: inside */
	metric_observe_us(plain, 101);
	metric_observe_us(plain, 9999999);
	metric_observe_us(plain, 60000000); /* beyond the last */
	metric_observe_us(labelled, 0);
	const char *text = scrape(&buf);
	assert_has(text, "# TYPE cdpd_ack_seconds histogram\ncdpd_ack_seconds_bucket{le=\"0.0001\"} 1\n"
			 "cdpd_ack_seconds_bucket{le=\"0.00025\"} 2\n");
	assert_has(
	    text, "cdpd_ack_seconds_bucket{le=\"5\"} 2\ncdpd_ack_seconds_bucket{le=\"10\"} 3\n"
		  "cdpd_ack_seconds_bucket{le=\"+Inf\"} 4\ncdpd_ack_seconds_sum 70.000200\ncdpd_ack_seconds_count 4\n");
	assert_has(text, "cdpd_route_seconds_bucket{route=\"/v1/t\",le=\"0.0001\"} 1\n");
	assert_has(text, "cdpd_route_seconds_count{route=\"/v1/t\"} 1\n");
	buf_fini(&buf);
}

static void *count_up(void *arg)
{
	for (int i = 0; i < 100000; i++) {
		struct metric *m = arg;
		if (i % 1000 == 0) m = metric_get(METRIC_COUNTER, "cdpd_threads_total", NULL, "Threads.");
		metric_add(m, 1);
	}
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	pthread_t threads[4];
	(void)state;
	struct metric *m = metric_get(METRIC_COUNTER, "cdpd_threads_total", NULL, "Threads.");
	for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_up, m), 0);
	for (int i = 0; i < 4; i++) (void)pthread_join(threads[i], NULL);
	assert_int_equal(metric_value(m), 400000);
}

static void a_full_buffer_is_an_error(void **state)
{
	struct buf buf;
	(void)state;
	buf_init(&buf, 100);
	assert_int_equal(metric_write_all(&buf), ERR_TOO_LARGE);
	buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counters_share_help_and_type), cmocka_unit_test(gauges_and_callbacks),
	    cmocka_unit_test(histogram_is_cumulative),      cmocka_unit_test(threads_lose_nothing),
	    cmocka_unit_test(a_full_buffer_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
