/* What the files of a trial share: trial.c loads, watches and reports, trial_enrich.c, trial_feature.c and trial_export.c run one kind each. */
#pragma once

#include "config/tree.h"
#include "plugin/internal.h"
#include "plugin/trial.h"

/* Where the child is, in memory that the parent sees after its death. */
struct trial_place {
	char doing[32]; /* "enrich" */
	unsigned line;  /* of the events file; 0: none */
};

struct trial_event {
	unsigned line;
	struct str text;
	struct cdpd_event event; /* its texts lie in the arena */
};

struct trial_run {
	const struct plugin_trial *trial;
	struct arena arena;
	const struct plugin *plugin;
	const struct cdpd_plugin *table;
	struct plugin_conf *conf;
	struct json_reader *reader;
	struct trial_event *events;
	size_t event_count;
	struct trial_place *place;
	int64_t *took_ns; /* of each event in the last pass */
	unsigned findings;
};

void trial_at(struct trial_run *run, const char *doing, const struct trial_event *event);
/* One line on stderr, and the exit code is 1. */
void trial_find(struct trial_run *run, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "enrich: 0.21 us an event (median 0.18, p99 0.4, slowest 12), 4,000 events" */
void trial_print_times(struct trial_run *run, const char *what);
/* Bytes of the heap in use; 0 where the allocator does not say (sanitizers). */
size_t trial_heap(void);
/* Complains when `bytes` more are in use after `rounds` passes than after the first. */
void trial_judge_growth(struct trial_run *run, size_t after_first, size_t after_last, const char *what);
int64_t trial_now_ns(void);

MUST_USE int trial_enrich(struct trial_run *run);
MUST_USE int trial_feature(struct trial_run *run);
MUST_USE int trial_export(struct trial_run *run);
