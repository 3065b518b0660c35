#include "api/read_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/metric.h"

#define SCRATCH_BLOCK (64u << 10)
#define TEXT_KEEP     (256u << 10)

struct pool_thread {
	struct read_pool *pool;
	pthread_t id;
	bool is_started;
	struct read_thread lent;
};

struct read_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, settled;
	struct read_job *first, *last;
	size_t queued;
	bool is_stopping;
	struct metric *jobs, *refused;
	size_t thread_count;
	struct pool_thread threads[READ_THREADS];
};

static struct read_job *take(struct read_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->is_stopping) pthread_cond_wait(&pool->work, &pool->lock);
	struct read_job *job = pool->first;
	if (job) {
		pool->first = job->next;
		if (!pool->first) pool->last = NULL;
		pool->queued--;
	}
	pthread_mutex_unlock(&pool->lock);
	return job;
}

/* The owner outlives in_pool > 0, the job may be gone as soon as it is posted. */
static void give_back(struct read_pool *pool, struct read_job *job)
{
	struct read_owner *owner = job->owner;
	loop_post(owner->loop, &job->returned);
	pthread_mutex_lock(&pool->lock);
	owner->in_pool--;
	pthread_cond_broadcast(&pool->settled);
	pthread_mutex_unlock(&pool->lock);
}

static void *run(void *arg)
{
	struct pool_thread *thread = arg;
	struct read_job *job;
	while ((job = take(thread->pool))) {
		if (!atomic_load(&job->is_cancelled)) {
			job->work(job, &thread->lent);
			arena_reset(&thread->lent.scratch);
			buf_clear(&thread->lent.text);
			buf_shrink(&thread->lent.text, TEXT_KEEP);
			json_reader_trim(thread->lent.json, TEXT_KEEP);
		}
		give_back(thread->pool, job);
	}
	return NULL;
}

static int thread_start(struct read_pool *pool, struct pool_thread *thread, struct people *people)
{
	thread->pool = pool;
	arena_init(&thread->lent.scratch, SCRATCH_BLOCK, READ_SCRATCH_BYTES);
	buf_init(&thread->lent.text, READ_SCRATCH_BYTES);
	journal_batch_init(&thread->lent.batch);
	int rc = json_reader_new(&thread->lent.json);
	if (rc == OK && people) rc = people_reader_new(people, &thread->lent.people);
	if (rc != OK) return rc;
	if (pthread_create(&thread->id, NULL, run, thread) != 0) return ERR_NOMEM;
	thread->is_started = true;
	return OK;
}

static void thread_fini(struct pool_thread *thread)
{
	if (!thread->pool) return;
	people_reader_free(thread->lent.people);
	json_reader_free(thread->lent.json);
	journal_batch_fini(&thread->lent.batch);
	buf_fini(&thread->lent.text);
	arena_fini(&thread->lent.scratch);
}

int read_pool_new(struct people *people, struct read_pool **out)
{
	return read_pool_new_of(people, READ_THREADS, out);
}

int read_pool_new_of(struct people *people, size_t threads, struct read_pool **out)
{
	CHECK(threads <= READ_THREADS);
	struct read_pool *pool = calloc(1, sizeof *pool);
	if (!pool) return ERR_NOMEM;
	pool->thread_count = threads;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->settled, NULL);
	pool->jobs = metric_get(METRIC_COUNTER, "cdpd_read_jobs_total", NULL, "Reads handed to the read threads.");
	pool->refused = metric_get(METRIC_COUNTER, "cdpd_read_refused_total", NULL,
				   "Reads answered 429 because the read threads' queue was full.");
	/* Signals are the main thread's business. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = OK;
	for (size_t i = 0; i < threads && rc == OK; i++) rc = thread_start(pool, &pool->threads[i], people);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != OK) {
		read_pool_free(pool);
		return rc;
	}
	*out = pool;
	return OK;
}

void read_pool_free(struct read_pool *pool)
{
	if (!pool) return;
	pthread_mutex_lock(&pool->lock);
	pool->is_stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->thread_count; i++)
		if (pool->threads[i].is_started) pthread_join(pool->threads[i].id, NULL);
	for (size_t i = 0; i < pool->thread_count; i++) thread_fini(&pool->threads[i]);
	pthread_cond_destroy(&pool->settled);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void read_owner_init(struct read_owner *owner, struct loop *loop)
{
	*owner = (struct read_owner){.loop = loop};
}

static void owner_remove(struct read_job *job)
{
	*job->owner_link = job->owner_next;
	if (job->owner_next) job->owner_next->owner_link = job->owner_link;
}

static void on_returned(struct loop_task *task)
{
	struct read_job *job = (struct read_job *)((char *)task - offsetof(struct read_job, returned));
	owner_remove(job);
	job->done(job);
}

int read_pool_submit(struct read_pool *pool, struct read_owner *owner, struct read_job *job)
{
	if (owner->is_settled) return ERR_CLOSED;
	pthread_mutex_lock(&pool->lock);
	if (pool->queued >= READ_QUEUE_MAX) {
		pthread_mutex_unlock(&pool->lock);
		metric_add(pool->refused, 1);
		return ERR_BUSY;
	}
	job->next = NULL;
	job->owner = owner;
	job->returned = (struct loop_task){.run = on_returned};
	atomic_store(&job->is_cancelled, false);
	job->owner_next = owner->jobs;
	job->owner_link = &owner->jobs;
	if (owner->jobs) owner->jobs->owner_link = &job->owner_next;
	owner->jobs = job;
	owner->in_pool++;
	if (pool->last)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pool->queued++;
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	metric_add(pool->jobs, 1);
	return OK;
}

void read_job_cancel(struct read_job *job)
{
	atomic_store(&job->is_cancelled, true);
}

void read_owner_settle(struct read_pool *pool, struct read_owner *owner)
{
	owner->is_settled = true;
	for (struct read_job *job = owner->jobs; job; job = job->owner_next) read_job_cancel(job);
	pthread_mutex_lock(&pool->lock);
	while (owner->in_pool > 0) pthread_cond_wait(&pool->settled, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	while (owner->jobs) on_returned(&owner->jobs->returned);
}

size_t read_pool_queued(struct read_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	size_t queued = pool->queued;
	pthread_mutex_unlock(&pool->lock);
	return queued;
}
