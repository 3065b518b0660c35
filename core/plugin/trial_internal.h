/* What the files of a trial share: trial.c loads, watches and reports, trial_enrich.c, trial_feature.c and trial_export.c run one kind each. */
#pragma once

#include "config/tree.h"
#include "plugin/internal.h"
#include "plugin/spaces.h"
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
	const char *folder;     /* of the run's own, empty; gone afterwards */
	struct spaces *spaces;  /* what the plugin keeps in it */
	struct trial_web *web;  /* trial_http.c */
	struct cdpd_host host;  /* plugin_host() with the web of the trial */
	unsigned tickets_wrong; /* answers to tickets that were none (any more) */
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

/* ── trial_http.c: the web as a file has it ──────────────────────────────── */
/* Fills run->host, opens run->spaces. */
MUST_USE int trial_web_begin(struct trial_run *run);
bool trial_web_turn(struct trial_run *run);   /* answers one request; false: none waits */
void trial_web_cancel(struct trial_run *run); /* what waits is told CDPD_ERR_IO: before the instance's destroy */
void trial_web_report(struct trial_run *run);
void trial_web_end(struct trial_run *run);
/* An instance with all that waits: HTTP, cache, key-values, timers. NULL: create refused, which is told. */
struct cdpd_instance *trial_instance(struct trial_run *run);
/* Calls `take` with each line of an NDJSON file that is an object. */
MUST_USE int trial_read_lines(struct trial_run *run, const char *path,
			      int (*take)(struct trial_run *run, struct json root, unsigned line));
MUST_USE int trial_copy(struct trial_run *run, struct str text, struct str *out);

MUST_USE int trial_async(struct trial_run *run);
MUST_USE int trial_source(struct trial_run *run);
MUST_USE int trial_enrich(struct trial_run *run);
MUST_USE int trial_feature(struct trial_run *run);
MUST_USE int trial_export(struct trial_run *run);
