#include "training/training.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "training/internal.h"

#define NICEST         19
#define IOPRIO_IDLE    (3 << 13)
#define IOPRIO_PROCESS 1
#define LOOK_SECONDS   5

const char *training_state_name(enum training_state state)
{
	static const char *const names[] = {"running", "done", "failed"};
	return names[state];
}

/* ── the thread ──────────────────────────────────────────────────────────── */

/* Acks and the fold come first, on the processor and on the disk. */
static void give_way(void)
{
	id_t self = (id_t)syscall(SYS_gettid);
	(void)setpriority(PRIO_PROCESS, self, NICEST);
	(void)syscall(SYS_ioprio_set, IOPRIO_PROCESS, self, IOPRIO_IDLE);
	(void)pthread_setname_np(pthread_self(), "cdpd-training");
}

static bool is_forgotten(const struct training *training)
{
	int64_t age = clock_mono_us() - atomic_load(&training->job->asked_at);
	return training->readers == 0 && age > TRAINING_KEEP_SECONDS * US_PER_SECOND;
}

static void wait_a_while(struct training *training)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LOOK_SECONDS;
	(void)pthread_cond_timedwait(&training->changed, &training->lock, &until);
}

static void tell(const struct job *job, int rc)
{
	if (rc == ERR_CLOSED) return;
	if (rc)
		log_warn(LOG_API, "training set %s was not made (%s)", job->about.name, status_str(rc));
	else
		log_info(LOG_API, "training set %s has %llu rows", job->about.name,
			 (unsigned long long)rows_count(job->rows));
}

/* Finished; it stays until nobody wants it any more. */
static void keep(struct training *training)
{
	while (training->readers || (!training->should_drop && !training->is_stopped && !is_forgotten(training)))
		wait_a_while(training);
}

static void *run(void *ctx)
{
	struct training *training = ctx;
	give_way();
	int rc = job_run(training->job);
	tell(training->job, rc);
	(void)pthread_mutex_lock(&training->lock);
	training->state = rc ? TRAINING_FAILED : TRAINING_DONE;
	training->failure = rc;
	atomic_store(&training->job->asked_at, clock_mono_us());
	keep(training);
	job_free(training->job);
	training->job = NULL;
	(void)pthread_cond_broadcast(&training->changed);
	(void)pthread_mutex_unlock(&training->lock);
	return NULL;
}

static int start_thread(struct training *training)
{
	sigset_t all, before;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	int failure = pthread_create(&training->thread, NULL, run, training);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	training->has_thread = failure == 0;
	return failure ? ERR_NOMEM : OK;
}

/* ── life ────────────────────────────────────────────────────────────────── */

int training_new(struct journal *journal, struct people *people, const char *store_path, struct training **out)
{
	pthread_condattr_t attributes;
	*out = NULL;
	struct training *training = calloc(1, sizeof *training);
	if (!training) return ERR_NOMEM;
	int len = snprintf(training->folder, sizeof training->folder, "%s/training", store_path);
	if (len < 0 || (size_t)len >= sizeof training->folder) {
		free(training);
		return ERR_TOO_LARGE;
	}
	training->journal = journal;
	training->people = people;
	(void)pthread_mutex_init(&training->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&training->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	job_clean(training->folder);
	*out = training;
	return OK;
}

/* With the lock. The one there is goes, and its thread with it. */
static void drop(struct training *training)
{
	uint64_t generation = training->generation;
	training->should_drop = true;
	if (training->job) atomic_store(&training->job->should_stop, true);
	(void)pthread_cond_broadcast(&training->changed);
	while (training->job && training->generation == generation)
		(void)pthread_cond_wait(&training->changed, &training->lock);
	if (training->generation != generation) return; /* somebody else saw it go */
	if (training->has_thread) (void)pthread_join(training->thread, NULL);
	training->has_thread = training->should_drop = false;
}

void training_stop(struct training *training)
{
	if (!training) return;
	(void)pthread_mutex_lock(&training->lock);
	training->is_stopped = true;
	drop(training);
	(void)pthread_mutex_unlock(&training->lock);
}

void training_free(struct training *training)
{
	if (!training) return;
	training_stop(training);
	(void)pthread_cond_destroy(&training->changed);
	(void)pthread_mutex_destroy(&training->lock);
	free(training);
}

/* ── orders ──────────────────────────────────────────────────────────────── */

static bool is_busy(const struct training *training)
{
	return training->job && (training->state == TRAINING_RUNNING || training->readers || training->should_drop);
}

/* With the lock. */
static int begin(struct training *training, struct job *job)
{
	/* While the one before is waited for the lock is let go: somebody else may begin, or stop everything. */
	do {
		if (training->is_stopped) return ERR_CLOSED;
		if (is_busy(training)) return ERR_BUSY;
		drop(training);
	} while (training->is_stopped || training->job || training->has_thread);
	training->job = job;
	training->generation++;
	training->state = TRAINING_RUNNING;
	training->failure = OK;
	training->has_read = false;
	atomic_store(&job->asked_at, clock_mono_us());
	int rc = start_thread(training);
	if (rc) training->job = NULL;
	return rc;
}

int training_start(struct training *training, const struct config *config, struct str yaml, const char *file,
		   char id[TRAINING_ID_SIZE], char **errors)
{
	struct job *job;
	int rc = job_make(training, config, yaml, file, &job, errors);
	if (rc) return rc;
	memcpy(id, job->about.id, TRAINING_ID_SIZE);
	(void)pthread_mutex_lock(&training->lock);
	rc = begin(training, job);
	(void)pthread_mutex_unlock(&training->lock);
	if (rc) job_free(job);
	return rc;
}

/* With the lock. */
static struct job *find(struct training *training, struct str id)
{
	struct job *job = training->should_drop ? NULL : training->job;
	if (!job || (id.len && !str_eq(id, str_from(job->about.id)))) return NULL;
	atomic_store(&job->asked_at, clock_mono_us());
	return job;
}

/* Whoever reads its rows is waited for by the thread, not by us. */
int training_drop(struct training *training, struct str id)
{
	int rc = OK;
	(void)pthread_mutex_lock(&training->lock);
	if (!find(training, id))
		rc = ERR_NOT_FOUND;
	else if (training->readers)
		rc = ERR_BUSY;
	else
		drop(training);
	(void)pthread_mutex_unlock(&training->lock);
	return rc;
}

/* ── showing ─────────────────────────────────────────────────────────────── */

static int copy_columns(const struct columns *columns, struct arena *arena, struct training_status *out)
{
	out->columns = arena_array(arena, struct training_column, columns->count + 1);
	if (!out->columns) return ERR_NOMEM;
	for (size_t i = 0; i < columns->count; i++) {
		const struct column *column = &columns->items[i];
		const struct conf_feature *feature = columns->features[column->feature];
		struct training_column *shown = &out->columns[i];
		shown->is_number = column->is_number;
		int rc = arena_str(arena, column->name, &shown->name);
		if (!rc) rc = arena_str(arena, feature->name, &shown->feature);
		if (!rc) rc = arena_str(arena, feature->type, &shown->type);
		if (rc) return rc;
	}
	out->column_count = columns->count;
	return OK;
}

static void show_definition(const struct training_set *set, struct training_status *out)
{
	static const char *const clocks[] = {"arrival", "event"}, *const moments[] = {"before", "after"};
	static const char *const values[] = {"any", "count", "sum"};
	out->time = clocks[set->clock];
	out->read = moments[set->moment];
	out->value = values[set->value];
	out->horizon_us = set->horizon_us;
	out->grace_us = set->grace_us;
	out->every_us = set->every_us;
	out->sample = (double)set->sample / TRAINING_SAMPLE_ONE;
}

static void show_job(const struct job *job, struct training_status *out)
{
	uint64_t done = atomic_load(&job->done), total = atomic_load(&job->total);
	out->permille = total && done < total ? (unsigned)(1000 * done / total) : 1000;
	out->censored = atomic_load(&job->censored);
	out->sampled_out = atomic_load(&job->sampled_out);
}

static int show(const struct training *training, const struct job *job, struct arena *arena,
		struct training_status *out)
{
	*out = (struct training_status){.state = training->state,
					.failure = training->failure,
					.has_read = training->has_read,
					.given = training->given,
					.positives = training->positives,
					.left_out_erased = training->left_out_erased,
					.left_out_consent = training->left_out_consent,
					.label_sum = training->label_sum};
	show_job(job, out);
	show_definition(&job->set, out);
	memcpy(out->about.id, job->about.id, sizeof out->about.id);
	if (training->state == TRAINING_RUNNING) {
		memcpy(out->about.name, job->about.name, sizeof out->about.name);
		memcpy(out->about.definition, job->about.definition, sizeof out->about.definition);
		out->about.began_us = job->about.began_us;
		if (out->permille == 1000) out->permille = 999;
	} else {
		out->about = job->about;
		out->rows = job->rows ? rows_count(job->rows) : 0;
	}
	int rc = arena_str(arena, job->set.purpose, &out->purpose);
	return rc ? rc : copy_columns(&job->columns, arena, out);
}

int training_status(struct training *training, struct str id, struct arena *arena, struct training_status *out)
{
	(void)pthread_mutex_lock(&training->lock);
	const struct job *job = find(training, id);
	int rc = job ? show(training, job, arena, out) : ERR_NOT_FOUND;
	(void)pthread_mutex_unlock(&training->lock);
	return rc;
}
