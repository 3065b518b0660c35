#include "api/publisher.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define SCRATCH_BYTES ((size_t)1 << 20)

struct publishing { /* the publisher itself */
	struct publisher base;
	struct ingest *ingest;
	struct people *people;

	/* the thread's own */
	struct loop *loop;
	struct ingest_worker *worker;
	struct people_reader *reader;
	struct arena scratch;

	pthread_mutex_t lock; /* everything below */
	pthread_t thread;
	bool has_thread, is_closed;
	struct publication *under_way;
	size_t refs;
};

static struct publishing *publishing_of(struct publisher *base)
{
	return (struct publishing *)((char *)base - offsetof(struct publishing, base));
}

/* ── on its thread ───────────────────────────────────────────────────────── */

static void answer(struct publishing *self, struct publication *publication, int error)
{
	(void)pthread_mutex_lock(&self->lock);
	*publication->link = publication->next;
	if (publication->next) publication->next->link = publication->link;
	(void)pthread_mutex_unlock(&self->lock);
	publication_answer(publication, error);
}

static int error_of(const struct ingest_result *result)
{
	if (result->problem == PROBLEM_NONE) return result->accepted ? CDPD_OK : CDPD_ERR_INVALID;
	int status = problem_info(result->problem)->http_status;
	if (status == 429 || status == 503) return CDPD_ERR_BUSY;
	return status >= 500 ? CDPD_ERR_IO : CDPD_ERR_INVALID;
}

static void on_ingested(void *ctx, const struct ingest_result *result)
{
	struct publication *publication = ctx;
	answer(publication->owner, publication, error_of(result));
}

static int find_person(struct publishing *self, struct str id, struct str *ref)
{
	uint64_t applied;
	struct str asked;
	arena_reset(&self->scratch);
	int rc = arena_printf(&self->scratch, &asked, "id:%.*s", STR_ARG(id));
	if (rc == OK) rc = people_read_begin(self->reader, &applied);
	if (rc) return rc;
	rc = people_resolve(self->reader, asked, &self->scratch, ref);
	people_read_end(self->reader);
	return rc;
}

static void publish(struct loop_task *task)
{
	struct publication *publication = (void *)((char *)task - offsetof(struct publication, task));
	struct publishing *self = publication->owner;
	struct str ref = STR_NONE;
	int rc = publication->profile_id.len ? find_person(self, publication->profile_id, &ref) : OK;
	if (rc) {
		answer(self, publication, rc == ERR_NOT_FOUND ? CDPD_ERR_NOT_FOUND : CDPD_ERR_BUSY);
		return;
	}
	const struct ingest_publication published = {publication->source, ref};
	const struct ingest_request request = {.dialect = DIALECT_PUBLISHED,
					       .authorization = STR_NONE,
					       .write_key_header = STR_NONE,
					       .write_key_query = STR_NONE,
					       .origin = STR_NONE,
					       .client_ip = STR_NONE,
					       .user_agent = STR_NONE,
					       .body = publication->json,
					       .received_at_us = clock_wall_us(),
					       .person_ref = STR_NONE,
					       .published = &published};
	(void)ingest_submit(self->worker, &request, on_ingested, publication);
}

static void *run(void *ctx)
{
	struct publishing *self = ctx;
	loop_run(self->loop);
	return NULL;
}

/* ── its life ────────────────────────────────────────────────────────────── */

static void drop_parts(struct publishing *self)
{
	ingest_worker_free(self->worker);
	people_reader_free(self->reader);
	loop_free(self->loop);
	arena_fini(&self->scratch);
	self->worker = NULL;
	self->reader = NULL;
	self->loop = NULL;
}

/* The lock is held. */
static bool start(struct publishing *self)
{
	if (self->has_thread) return true;
	arena_init(&self->scratch, 4096, SCRATCH_BYTES);
	int rc = loop_new(&self->loop);
	if (rc == OK) rc = people_reader_new(self->people, &self->reader);
	if (rc == OK) rc = ingest_worker_new(self->ingest, self->loop, NULL, &self->worker);
	if (rc == OK && pthread_create(&self->thread, NULL, run, self)) rc = ERR_NOMEM;
	if (rc == OK) {
		self->has_thread = true;
		return true;
	}
	log_error(LOG_API, "what plugins publish cannot be taken now (%s)", status_str(rc));
	drop_parts(self);
	return false;
}

static bool submit(struct publisher *base, struct publication *publication)
{
	struct publishing *self = publishing_of(base);
	(void)pthread_mutex_lock(&self->lock);
	bool is_taken = !self->is_closed && start(self);
	if (is_taken) {
		publication->owner = self;
		publication->next = self->under_way;
		publication->link = &self->under_way;
		if (self->under_way) self->under_way->link = &publication->next;
		self->under_way = publication;
		publication->task.run = publish;
		loop_post(self->loop, &publication->task);
	}
	(void)pthread_mutex_unlock(&self->lock);
	return is_taken;
}

static void hold(struct publisher *base)
{
	struct publishing *self = publishing_of(base);
	(void)pthread_mutex_lock(&self->lock);
	self->refs++;
	(void)pthread_mutex_unlock(&self->lock);
}

static void release(struct publisher *base)
{
	struct publishing *self = publishing_of(base);
	(void)pthread_mutex_lock(&self->lock);
	bool is_over = --self->refs == 0;
	(void)pthread_mutex_unlock(&self->lock);
	if (!is_over) return;
	(void)pthread_mutex_destroy(&self->lock);
	free(self);
}

int publisher_new(struct ingest *ingest, struct people *people, struct publisher **out)
{
	*out = NULL;
	struct publishing *self = calloc(1, sizeof *self);
	if (!self) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&self->lock, NULL) == 0);
	self->base = (struct publisher){.submit = submit, .hold = hold, .release = release};
	self->ingest = ingest;
	self->people = people;
	self->refs = 1;
	*out = &self->base;
	return OK;
}

/* The thread has ended: nobody else looks at the list. */
static void answer_all(struct publishing *self)
{
	while (self->under_way) answer(self, self->under_way, CDPD_ERR_IO);
}

void publisher_close(struct publisher *base)
{
	if (!base) return;
	struct publishing *self = publishing_of(base);
	(void)pthread_mutex_lock(&self->lock);
	self->is_closed = true;
	bool has_thread = self->has_thread;
	(void)pthread_mutex_unlock(&self->lock);
	if (has_thread) {
		loop_stop(self->loop);
		(void)pthread_join(self->thread, NULL);
		loop_forget_tasks(self->loop);
		drop_parts(self);
	}
	answer_all(self);
	release(base);
}
