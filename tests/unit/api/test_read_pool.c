#include "api/api_test.h"

#include <pthread.h>
#include <semaphore.h>

#include "api/read_pool.h"

struct counted_job {
	struct read_job job;
	atomic_int worked, done;
	sem_t *gate;       /* `work` waits here, when given */
	sem_t *entered;    /* and says that it does */
	struct loop *stop; /* loop to end in `done` */
	bool is_on_loop;
	struct loop *loop;
};

static void work(struct read_job *job, struct read_thread *thread)
{
	struct counted_job *counted = (struct counted_job *)job;
	assert_non_null(thread->json);
	if (counted->entered) sem_post(counted->entered);
	if (counted->gate) sem_wait(counted->gate);
	atomic_fetch_add(&counted->worked, 1);
}

static void done(struct read_job *job)
{
	struct counted_job *counted = (struct counted_job *)job;
	atomic_fetch_add(&counted->done, 1);
	counted->is_on_loop = loop_is_current(counted->loop);
	if (counted->stop) loop_stop(counted->stop);
}

static void prepare(struct counted_job *job, struct loop *loop)
{
	*job = (struct counted_job){.job = {.work = work, .done = done}, .loop = loop};
}

struct world {
	struct read_pool *pool;
	struct loop *loop;
	struct read_owner owner;
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof *world);
	assert_non_null(world);
	assert_int_equal(read_pool_new(NULL, &world->pool), OK);
	assert_int_equal(loop_new(&world->loop), OK);
	read_owner_init(&world->owner, world->loop);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	read_owner_settle(world->pool, &world->owner);
	read_pool_free(world->pool);
	loop_free(world->loop);
	free(world);
	return 0;
}

static void a_job_is_worked_on_elsewhere_and_comes_home(void **state)
{
	struct world *world = *state;
	struct counted_job jobs[20];
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		prepare(&jobs[i], world->loop);
		if (i + 1 == COUNT_OF(jobs)) jobs[i].stop = world->loop;
	}
	for (size_t i = 0; i < COUNT_OF(jobs); i++)
		assert_int_equal(read_pool_submit(world->pool, &world->owner, &jobs[i].job), OK);
	loop_run(world->loop);
	/* The last one submitted may be done before another: settle waits for that. */
	read_owner_settle(world->pool, &world->owner);
	assert_true(jobs[COUNT_OF(jobs) - 1].is_on_loop);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		assert_int_equal(atomic_load(&jobs[i].done), 1);
		assert_true(atomic_load(&jobs[i].worked) <= 1);
	}
}

/* Holds both threads, so that what is submitted afterwards stays in the queue. */
static void block(struct world *world, struct counted_job held[READ_THREADS], sem_t *gate, sem_t *entered)
{
	sem_init(gate, 0, 0);
	sem_init(entered, 0, 0);
	for (size_t i = 0; i < READ_THREADS; i++) {
		prepare(&held[i], world->loop);
		held[i].gate = gate;
		held[i].entered = entered;
		assert_int_equal(read_pool_submit(world->pool, &world->owner, &held[i].job), OK);
	}
	for (size_t i = 0; i < READ_THREADS; i++) sem_wait(entered);
}

static void a_cancelled_job_is_not_worked_on_but_comes_home(void **state)
{
	struct world *world = *state;
	struct counted_job held[READ_THREADS], cancelled, other;
	sem_t gate, entered;
	block(world, held, &gate, &entered);
	prepare(&cancelled, world->loop);
	prepare(&other, world->loop);
	assert_int_equal(read_pool_submit(world->pool, &world->owner, &cancelled.job), OK);
	assert_int_equal(read_pool_submit(world->pool, &world->owner, &other.job), OK);
	other.stop = world->loop;
	read_job_cancel(&cancelled.job);
	for (size_t i = 0; i < READ_THREADS; i++) sem_post(&gate);
	loop_run(world->loop);
	read_owner_settle(world->pool, &world->owner);
	assert_int_equal(atomic_load(&cancelled.worked), 0);
	assert_int_equal(atomic_load(&cancelled.done), 1);
	assert_int_equal(atomic_load(&other.worked), 1);
}

static void a_full_queue_says_so(void **state)
{
	struct world *world = *state;
	struct counted_job held[READ_THREADS], *queued = calloc(READ_QUEUE_MAX + 1, sizeof *queued);
	sem_t gate, entered;
	block(world, held, &gate, &entered);
	for (size_t i = 0; i < READ_QUEUE_MAX; i++) {
		prepare(&queued[i], world->loop);
		assert_int_equal(read_pool_submit(world->pool, &world->owner, &queued[i].job), OK);
	}
	assert_int_equal(read_pool_queued(world->pool), READ_QUEUE_MAX);
	prepare(&queued[READ_QUEUE_MAX], world->loop);
	assert_int_equal(read_pool_submit(world->pool, &world->owner, &queued[READ_QUEUE_MAX].job), ERR_BUSY);
	for (size_t i = 0; i < READ_THREADS; i++) sem_post(&gate);
	read_owner_settle(world->pool, &world->owner);
	for (size_t i = 0; i < READ_QUEUE_MAX; i++) assert_int_equal(atomic_load(&queued[i].done), 1);
	assert_int_equal(atomic_load(&queued[READ_QUEUE_MAX].done), 0);
	free(queued);
}

static void *open_gate(void *arg)
{
	usleep(20000);
	for (size_t i = 0; i < READ_THREADS; i++) sem_post(arg);
	return NULL;
}

/* The loop has ended while its jobs are being worked on: nothing may be posted to it once settle returned. */
static void settling_waits_for_jobs_in_progress(void **state)
{
	struct world *world = *state;
	struct counted_job held[READ_THREADS], late;
	sem_t gate, entered;
	pthread_t thread;
	block(world, held, &gate, &entered);
	assert_int_equal(pthread_create(&thread, NULL, open_gate, &gate), 0);
	read_owner_settle(world->pool, &world->owner);
	for (size_t i = 0; i < READ_THREADS; i++) {
		assert_int_equal(atomic_load(&held[i].worked), 1);
		assert_int_equal(atomic_load(&held[i].done), 1);
	}
	prepare(&late, world->loop);
	assert_int_equal(read_pool_submit(world->pool, &world->owner, &late.job), ERR_CLOSED);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_job_is_worked_on_elsewhere_and_comes_home, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_cancelled_job_is_not_worked_on_but_comes_home, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_queue_says_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(settling_waits_for_jobs_in_progress, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
