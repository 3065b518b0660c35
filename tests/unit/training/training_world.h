/* training_world: a journal, people and a fold under a clock that the test moves, and training sets made from them. */
#pragma once

#include "../fold/fold_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fold/payload.h"
#include "training/training.h"

#define TRAINING_CONFIG \
	"store: {path: %s}\n" \
	"journal: {disk_free_min: 1MiB, ballast: 1MiB%s}\n" \
	"%s" \
	"sources: [{id: web, kind: server, write_keys: [k]}]\n" \
	"consent: {purposes: [{name: ml, default: granted}]}\n" \
	"features:\n" \
	"  - {name: events, type: count}\n" \
	"  - {name: orders, type: count, event: Order}\n" \
	"  - {name: spend, type: window, event: Order, field: properties.total, window: 10d, bucket: 1d}\n" \
	"  - {name: last_total, type: last, event: Order, field: properties.total}\n" \
	"  - {name: rhythm, type: intervals, event: Order, n: 4}\n" \
	"  - {name: hours, type: histogram, event: Order, by: weekday}\n" \
	"  - {name: by_page, type: count, event: View, key: properties.page}\n"

static int64_t fake_start;
static _Atomic int64_t fake_passed;

static inline int64_t fake_now(void *ctx)
{
	(void)ctx;
	return fake_start + atomic_load(&fake_passed);
}

struct training_world {
	struct world world;
	const struct config *config;
	struct training *training;
	struct people_reader *reader;
	struct arena arena; /* of the test's own */
};

/* 2026-01-05, a Monday, at noon. */
#define FAKE_START INT64_C(1767614400000000)

/* `more`: further lines. */
static inline const struct config *training_config(const struct training_world *t, const char *journal_options,
						   const char *more)
{
	const struct config *config;
	char path[4200], *errors = NULL;
	(void)snprintf(path, sizeof path, "%s/cdpd.yaml", t->world.path);
	FILE *file = fopen(path, "we");
	CHECK(file);
	(void)fprintf(file, TRAINING_CONFIG, t->world.path, journal_options, more);
	CHECK(fclose(file) == 0);
	int rc = config_load(path, NULL, 0, &config, &errors);
	if (errors) (void)fputs(errors, stderr);
	CHECK(rc == OK);
	return config;
}

static inline void training_world_open(struct training_world *t, const char *journal_options)
{
	memset(t, 0, sizeof *t);
	world_init(&t->world);
	fake_start = FAKE_START;
	fake_passed = 0;
	t->world.clock = (struct clock_source){fake_now, fake_now, NULL};
	t->config = training_config(t, journal_options, "");
	t->world.config = *t->config;
	CHECK(world_open(&t->world) == OK);
	world_start(&t->world);
	CHECK(training_new(t->world.journal, t->world.people, t->world.path, &t->training) == OK);
	CHECK(people_reader_new(t->world.people, &t->reader) == OK);
	arena_init(&t->arena, 1 << 16, 0);
}

static inline void training_world_close(struct training_world *t)
{
	arena_fini(&t->arena);
	people_reader_free(t->reader);
	training_free(t->training);
	world_close(&t->world);
	config_unref(t->config);
	world_fini(&t->world);
}

/* Until it is done or failed; a minute or two at most. */
static inline struct training_status training_wait(struct training_world *t, const char *id)
{
	struct training_status status = {.state = TRAINING_RUNNING};
	for (int i = 0; i < 60000; i++) {
		CHECK(training_status(t->training, str_from(id), &t->arena, &status) == OK);
		if (status.state != TRAINING_RUNNING) return status;
		sleep_ms(2);
	}
	CHECK(!"the training set did not come to an end");
	return status;
}

/* The whole set as text; *status as it is afterwards. The buffer is the caller's to finish. */
static inline void training_make(struct training_world *t, const char *yaml, enum training_format format,
				 struct buf *out, struct training_status *status)
{
	char id[TRAINING_ID_SIZE], *errors = NULL;
	struct training_read *read;
	bool is_done = false;
	int rc = training_start(t->training, t->config, str_from(yaml), "set.yaml", id, &errors);
	if (errors) (void)fputs(errors, stderr);
	CHECK(rc == OK);
	*status = training_wait(t, id);
	CHECK(status->state == TRAINING_DONE);
	CHECK(training_read_open(t->training, str_from(id), format, &read) == OK);
	buf_init(out, (size_t)64 << 20);
	for (size_t enough = 1000; !is_done; enough += 1000)
		CHECK(training_read_some(read, t->reader, enough, out, &is_done) == OK);
	training_read_close(read);
	CHECK(training_status(t->training, str_from(id), &t->arena, status) == OK);
}
