#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/secret.h"
#include "training/internal.h"

#define ARENA_BLOCK  ((size_t)64 << 10)
#define FEATURES_MAX ((size_t)8 << 20)

/* ── the definition ──────────────────────────────────────────────────────── */

static int read_definition(struct job *job, struct complaints *complaints, struct str yaml, const char *file)
{
	struct reading reading = {.arena = &job->arena, .complaints = complaints};
	int rc = training_set_read(&reading, yaml, file, job->config, &job->set);
	if (!rc) rc = columns_make(&reading, &job->set, job->config, &job->columns);
	if (!rc && !job->set.every_us) rc = event_match_new(&job->set.points, complaints, &job->points);
	if (!rc) rc = event_match_new(&job->set.label, complaints, &job->label);
	return rc;
}

static int describe(struct job *job, struct str yaml)
{
	uint8_t bytes[16], hash[SHA256_SIZE];
	int rc = sha256(yaml, hash);
	if (rc) return rc;
	random_bytes(bytes, sizeof bytes);
	hex_encode(bytes, sizeof bytes, job->about.id);
	hex_encode(hash, sizeof hash, job->about.definition);
	(void)snprintf(job->about.name, sizeof job->about.name, "%.*s", STR_ARG(job->set.name));
	job->about.began_us = clock_wall_us();
	return OK;
}

static struct job *new_job(const struct training *training, const struct config *config)
{
	struct job *job = calloc(1, sizeof *job);
	if (!job) return NULL;
	job->config = config_ref(config);
	job->journal = training->journal;
	job->people = training->people;
	memcpy(job->folder, training->folder, sizeof job->folder);
	arena_init(&job->arena, ARENA_BLOCK, 0);
	arena_init(&job->scratch, ARENA_BLOCK, 0);
	buf_init(&job->features, FEATURES_MAX);
	job->next_grid = INT64_MAX;
	return job;
}

int job_make(const struct training *training, const struct config *config, struct str yaml, const char *file,
	     struct job **out, char **errors)
{
	struct complaints complaints;
	struct job *job = new_job(training, config);
	*out = NULL;
	*errors = NULL;
	if (!job) return ERR_NOMEM;
	complaints_init(&complaints, file);
	int rc = read_definition(job, &complaints, yaml, file);
	if (complaints.status) rc = complaints.status;
	if (rc && complaints.count && complaints.status == OK) {
		*errors = strndup(buf_ptr(&complaints.text), complaints.text.len);
		rc = *errors ? ERR_INVALID : ERR_NOMEM;
	}
	complaints_fini(&complaints);
	if (!rc) rc = describe(job, yaml);
	if (rc)
		job_free(job);
	else
		*out = job;
	return rc;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int path_in(const char *folder, const char *name, char out[4200])
{
	int len = snprintf(out, 4200, "%s/%s", folder, name);
	return len < 0 || len >= 4200 ? ERR_TOO_LARGE : OK;
}

static void remove_env(const char *folder, const char *name)
{
	char path[4200];
	int rc = path_in(folder, name, path);
	if (!rc) rc = store_remove_env(path);
	if (rc) log_warn(LOG_API, "%s/%s cannot be removed (%s)", folder, name, status_str(rc));
}

void job_clean(const char *folder)
{
	remove_env(folder, "profiles");
	int rc = store_remove_env(folder);
	if (rc) log_warn(LOG_API, "%s cannot be removed (%s)", folder, status_str(rc));
}

/* What the making needs and the rows do not. */
static void close_making(struct job *job)
{
	people_close(job->own);
	people_reader_free(job->live);
	erasure_view_free(job->view);
	job->own = NULL;
	job->live = NULL;
	job->view = NULL;
	remove_env(job->folder, "profiles");
}

/* Only of one that has made some: they have one name for all. */
static void drop_files(struct job *job)
{
	if (!job->rows) return;
	rows_close(job->rows);
	job->rows = NULL;
	job_clean(job->folder);
}

void job_free(struct job *job)
{
	if (!job) return;
	drop_files(job);
	event_match_free(job->points);
	event_match_free(job->label);
	json_reader_free(job->json);
	buf_fini(&job->features);
	arena_fini(&job->arena);
	arena_fini(&job->scratch);
	config_unref(job->config);
	free(job);
}

static int on_erased(void *ctx, const struct fragment_id *id, const struct erased_row *row)
{
	(void)id, (void)row;
	*(bool *)ctx = true;
	return 1;
}

static int look_at_people(struct job *job)
{
	uint64_t applied;
	int rc = people_reader_new(job->people, &job->live);
	if (!rc) rc = erasure_view_new(&job->view);
	if (!rc) rc = people_read_begin(job->live, &applied);
	if (rc) return rc;
	rc = people_each_erased(job->live, on_erased, &job->has_erased);
	people_read_end(job->live);
	return rc;
}

/* What was folded so far. The time first: it may be less than that of the position, never more. */
static int look_at_journal(struct job *job)
{
	struct record record;
	struct training_about *about = &job->about;
	about->until_us = people_applied_t(job->people);
	job->end = about->next = people_applied(job->people);
	job->first = about->first = journal_first_seq(job->journal);
	about->first_us = about->until_us;
	atomic_store(&job->total, job->end > job->first ? job->end - job->first : 0);
	if (job->first >= job->end) return OK;
	int rc = journal_get(job->journal, job->first, &job->scratch, &record);
	if (rc) return rc;
	about->first_us = record.t;
	return OK;
}

static int open_making(struct job *job)
{
	char path[4200];
	job_clean(job->folder);
	int rc = store_make_dir(job->folder);
	if (!rc) rc = path_in(job->folder, "rows", path);
	if (!rc) rc = rows_open(path, &job->rows);
	if (!rc) rc = people_open_private(job->folder, job->people, &job->own);
	if (!rc) rc = labels_open(&job->labels, job->own);
	if (!rc) rc = json_reader_new(&job->json);
	if (!rc) rc = look_at_people(job);
	if (!rc) rc = look_at_journal(job);
	return rc;
}

int job_run(struct job *job)
{
	int rc = open_making(job);
	if (!rc) rc = define_start(job);
	if (!rc) rc = replay_run(job);
	close_making(job);
	if (rc) drop_files(job); /* nobody can read them, and the disk may be what was full */
	return rc;
}
