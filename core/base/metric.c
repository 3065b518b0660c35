#include "base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Upper bounds of a histogram's buckets; +Inf is the implied last one. */
static const int64_t bucket_us[] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};
static const char *const bucket_names[] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
    "0.05",   "0.1",     "0.25",   "0.5",   "1",      "2.5",   "5",    "10",
};
#define BUCKETS COUNT_OF(bucket_us)

struct metric {
	struct metric *next; /* of the same name, in order of registration */
	char *labels;        /* NULL: none */
	int64_t (*read)(void *ctx);
	void *ctx;
	_Atomic(int64_t) value;                 /* of a histogram: the sum in µs */
	_Atomic(uint64_t) buckets[BUCKETS + 1]; /* not cumulative */
};

/* All metrics of one name: they share HELP and TYPE. */
struct family {
	struct family *next;
	enum metric_type type;
	char *name, *help;
	struct metric *metrics;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the lists; values are atomics */
static struct family *families;

static char *copy_text(const char *text)
{
	char *copy = strdup(text);
	CHECK(copy);
	return copy;
}

static struct family *get_family(enum metric_type type, const char *name, const char *help)
{
	struct family **at = &families;
	for (; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, name) != 0) continue;
		CHECK((*at)->type == type);
		return *at;
	}
	struct family *family = calloc(1, sizeof *family);
	CHECK(family);
	family->type = type;
	family->name = copy_text(name);
	family->help = copy_text(help);
	*at = family;
	return family;
}

static struct metric *get_metric(struct family *family, const char *labels)
{
	struct metric **at = &family->metrics;
	for (; *at; at = &(*at)->next)
		if (strcmp((*at)->labels ? (*at)->labels : "", labels ? labels : "") == 0) return *at;
	struct metric *metric = calloc(1, sizeof *metric);
	CHECK(metric);
	if (labels) metric->labels = copy_text(labels);
	*at = metric;
	return metric;
}

struct metric *metric_get(enum metric_type type, const char *name, const char *labels, const char *help)
{
	(void)pthread_mutex_lock(&lock);
	struct metric *metric = get_metric(get_family(type, name, help), labels);
	(void)pthread_mutex_unlock(&lock);
	return metric;
}

void metric_callback(enum metric_type type, const char *name, const char *labels, const char *help,
		     int64_t (*read)(void *ctx), void *ctx)
{
	CHECK(type != METRIC_HISTOGRAM);
	(void)pthread_mutex_lock(&lock);
	struct metric *metric = get_metric(get_family(type, name, help), labels);
	metric->read = read;
	metric->ctx = ctx;
	(void)pthread_mutex_unlock(&lock);
}

void metric_add(struct metric *metric, uint64_t n)
{
	if (metric) atomic_fetch_add_explicit(&metric->value, (int64_t)n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value)
{
	if (metric) atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *metric)
{
	return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, int64_t us)
{
	size_t bucket = 0;
	while (bucket < BUCKETS && us > bucket_us[bucket]) bucket++;
	atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metric->value, us, memory_order_relaxed);
}

static int write_bucket(struct buf *out, const struct family *family, const struct metric *metric, const char *bound,
			uint64_t count)
{
	const char *labels = metric->labels ? metric->labels : "", *comma = *labels ? "," : "";
	return buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", family->name, labels, comma, bound,
			  (unsigned long long)count);
}

static int write_total(struct buf *out, const struct family *family, const struct metric *metric, const char *suffix)
{
	const char *labels = metric->labels ? metric->labels : "";
	return buf_printf(out, "%s%s%s%s%s ", family->name, suffix, *labels ? "{" : "", labels, *labels ? "}" : "");
}

static int write_histogram(struct buf *out, const struct family *family, const struct metric *metric)
{
	uint64_t count = 0;
	int rc = OK;
	for (size_t i = 0; i <= BUCKETS && rc == OK; i++) {
		count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
		rc = write_bucket(out, family, metric, i < BUCKETS ? bucket_names[i] : "+Inf", count);
	}
	if (rc == OK) rc = write_total(out, family, metric, "_sum");
	if (rc == OK) rc = buf_printf(out, "%.6f\n", (double)metric_value(metric) / 1e6);
	if (rc == OK) rc = write_total(out, family, metric, "_count");
	if (rc == OK) rc = buf_printf(out, "%llu\n", (unsigned long long)count);
	return rc;
}

static int write_metric(struct buf *out, const struct family *family, const struct metric *metric)
{
	if (family->type == METRIC_HISTOGRAM) return write_histogram(out, family, metric);
	int64_t value = metric->read ? metric->read(metric->ctx) : metric_value(metric);
	int rc = write_total(out, family, metric, "");
	return rc == OK ? buf_printf(out, "%lld\n", (long long)value) : rc;
}

/* HELP text: the format escapes backslash and newline only. */
static int write_help(struct buf *out, const char *help)
{
	int rc = OK;
	for (; *help && rc == OK; help++) {
		if (*help == '\n')
			rc = buf_append(out, "\\n", 2);
		else if (*help == '\\')
			rc = buf_append(out, "\\\\", 2);
		else
			rc = buf_putc(out, *help);
	}
	return rc;
}

static int write_family(struct buf *out, const struct family *family)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};
	int rc = buf_printf(out, "# HELP %s ", family->name);
	if (rc == OK) rc = write_help(out, family->help);
	if (rc == OK) rc = buf_printf(out, "\n# TYPE %s %s\n", family->name, types[family->type]);
	for (const struct metric *m = family->metrics; m && rc == OK; m = m->next) rc = write_metric(out, family, m);
	return rc;
}

int metric_write_all(struct buf *out)
{
	int rc = OK;
	(void)pthread_mutex_lock(&lock);
	for (const struct family *f = families; f && rc == OK; f = f->next) rc = write_family(out, f);
	(void)pthread_mutex_unlock(&lock);
	return rc;
}
