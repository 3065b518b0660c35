/* Work that others have for the thread that may write the profiles. */
#include "fold/worker.h"

int fold_run(struct fold *fold, int (*fn)(void *ctx, struct people *people), void *ctx, bool is_outside)
{
	const struct fold_task task = {fn, ctx, is_outside};
	(void)pthread_mutex_lock(&fold->lock);
	CHECK(!fold->task);
	if (fold->is_over || !fold->is_started) {
		(void)pthread_mutex_unlock(&fold->lock);
		return ERR_CLOSED;
	}
	fold->task = &task;
	atomic_store(&fold->has_task, true);
	(void)pthread_cond_broadcast(&fold->wake);
	(void)pthread_mutex_unlock(&fold->lock);
	journal_wake(fold->journal);
	(void)pthread_mutex_lock(&fold->lock);
	while (fold->task && !fold->is_over) (void)pthread_cond_wait(&fold->task_done, &fold->lock);
	int rc = fold->task ? ERR_CLOSED : fold->task_status;
	fold->task = NULL;
	atomic_store(&fold->has_task, false);
	(void)pthread_mutex_unlock(&fold->lock);
	return rc;
}

int task_run(struct fold *fold, const struct fold_task *task)
{
	return task->fn(task->ctx, fold->people);
}

void task_finish(struct fold *fold, int status)
{
	(void)pthread_mutex_lock(&fold->lock);
	fold->task = NULL;
	fold->task_status = status;
	atomic_store(&fold->has_task, false);
	(void)pthread_cond_broadcast(&fold->task_done);
	(void)pthread_mutex_unlock(&fold->lock);
}

void task_end(struct fold *fold)
{
	(void)pthread_mutex_lock(&fold->lock);
	fold->is_over = true;
	(void)pthread_cond_broadcast(&fold->task_done);
	(void)pthread_mutex_unlock(&fold->lock);
}
