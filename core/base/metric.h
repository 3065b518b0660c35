/* metric: counters, gauges and histograms in Prometheus text format 0.0.4.
 *
 * Metrics are registered once, live for ever and may be changed from any thread (relaxed
 * atomics). Names start with cdpd_ and are documented in docs/operations.md. */
#pragma once

#include "base/buf.h"

struct metric;
enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* `labels` is NULL or ready text such as `verdict="applied"`. The same name and labels return the same
 * metric. Never NULL. A histogram of seconds has fixed buckets from 100 µs to 10 s. */
struct metric *metric_get(enum metric_type type, const char *name, const char *labels, const char *help);
void metric_add(struct metric *metric, uint64_t n);    /* counter; NULL, here and below: counted nowhere */
void metric_set(struct metric *metric, int64_t value); /* gauge; or a counter restored from disk */
int64_t metric_value(const struct metric *metric);
void metric_observe_us(struct metric *metric, int64_t us); /* histogram */
/* A value computed at scrape time: `read` may run on any thread. */
void metric_callback(enum metric_type type, const char *name, const char *labels, const char *help,
		     int64_t (*read)(void *ctx), void *ctx);
MUST_USE int metric_write_all(struct buf *out);
