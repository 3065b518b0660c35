#include <stdio.h>
#include <stdlib.h>

#include "ingest/internal.h"

#define BATCH_MAGIC 0x62617463u
#define ARENA_BLOCK (4u << 10) /* one event and its record */
#define ARENA_SPARE (4u << 20) /* beyond four times the largest body */
#define IDLE_MAX    512u       /* batches kept by one worker: HTTP/2 brings that many at once */
#define DETAIL_MAX  512u       /* bytes of a reject's text */

/* ── their life ──────────────────────────────────────────────────────────── */

struct ingest_batch *batch_take(struct ingest_worker *worker)
{
	struct ingest_batch *batch = worker->idle;
	if (batch) {
		worker->idle = batch->next;
		worker->idle_count--;
		batch->next = NULL;
	} else {
		batch = calloc(1, sizeof *batch);
		if (!batch) return NULL;
		batch->magic = BATCH_MAGIC;
		batch->worker = worker;
		arena_init(&batch->arena, ARENA_BLOCK, 0);
	}
	batch->arena.cap = 4 * worker->config->limits.body_bytes + ARENA_SPARE;
	batch->limit = batch->limit_remaining = -1;
	return batch;
}

void batch_free(struct ingest_batch *batch)
{
	arena_fini(&batch->arena);
	batch->magic = 0;
	free(batch);
}

void batch_recycle(struct ingest_batch *batch)
{
	struct ingest_worker *worker = batch->worker;
	if (worker->idle_count >= IDLE_MAX) {
		batch_free(batch);
		return;
	}
	arena_reset(&batch->arena);
	*batch =
	    (struct ingest_batch){.magic = BATCH_MAGIC, .worker = worker, .arena = batch->arena, .next = worker->idle};
	worker->idle = batch;
	worker->idle_count++;
}

static void link_busy(struct ingest_batch *batch)
{
	struct ingest_worker *worker = batch->worker;
	batch->prev = NULL;
	batch->next = worker->busy;
	if (worker->busy) worker->busy->prev = batch;
	worker->busy = batch;
}

static void unlink_busy(struct ingest_batch *batch)
{
	if (batch->prev)
		batch->prev->next = batch->next;
	else
		batch->worker->busy = batch->next;
	if (batch->next) batch->next->prev = batch->prev;
	batch->prev = batch->next = NULL;
}

/* ── their content ───────────────────────────────────────────────────────── */

int batch_expect(struct ingest_batch *batch, size_t events)
{
	CHECK(!batch->entries);
	if (events == 0) return OK;
	batch->entries = arena_alloc(&batch->arena, events * sizeof *batch->entries);
	if (!batch->entries) return ERR_NOMEM;
	batch->entry_capacity = events;
	return OK;
}

void batch_accept(struct ingest_batch *batch, struct str payload)
{
	CHECK(batch->entry_count < batch->entry_capacity);
	batch->entries[batch->entry_count++] = (struct journal_entry){RECORD_EVENT, payload};
}

/* Texts of one event's fault are short; what a peer sized is cut. */
static int keep(struct ingest_batch *batch, struct str text, size_t max, struct str *out)
{
	*out = STR_NONE;
	if (text.len == 0) return OK;
	if (text.len > max) {
		text.len = max;
		while (text.len > 0 && ((uint8_t)text.ptr[text.len] & 0xc0) == 0x80) text.len--;
	}
	return arena_str(&batch->arena, text, out);
}

static int copy_reject(struct ingest_batch *batch, const struct journal_reject *from, struct journal_reject *to)
{
	*to = *from;
	int rc = keep(batch, from->source_id, DETAIL_MAX, &to->source_id);
	if (rc == OK) rc = keep(batch, from->message_id, EVENT_ID_MAX, &to->message_id);
	if (rc == OK) rc = keep(batch, from->pointer, DETAIL_MAX, &to->pointer);
	if (rc == OK) rc = keep(batch, from->detail, DETAIL_MAX, &to->detail);
	if (rc == OK) rc = keep(batch, from->excerpt, JOURNAL_EXCERPT_MAX, &to->excerpt);
	return rc;
}

static int grow_rejects(struct ingest_batch *batch)
{
	size_t capacity = batch->reject_capacity ? batch->reject_capacity * 2 : 4;
	struct journal_reject *rejects = arena_alloc(&batch->arena, capacity * sizeof *rejects);
	if (!rejects) return ERR_NOMEM;
	if (batch->reject_count) memcpy(rejects, batch->rejects, batch->reject_count * sizeof *rejects);
	batch->rejects = rejects;
	batch->reject_capacity = capacity;
	return OK;
}

int batch_reject(struct ingest_batch *batch, const struct journal_reject *reject)
{
	if (batch->reject_count == batch->reject_capacity && grow_rejects(batch) != OK) return ERR_NOMEM;
	if (copy_reject(batch, reject, &batch->rejects[batch->reject_count]) != OK) return ERR_NOMEM;
	batch->reject_count++;
	return OK;
}

int batch_finish(struct ingest_batch *batch)
{
	if (batch->reject_count == 0 || batch->rejections) return OK;
	batch->rejections = arena_alloc(&batch->arena, batch->reject_count * sizeof *batch->rejections);
	return batch->rejections ? OK : ERR_NOMEM;
}

static struct journal_reject untold(enum problem problem)
{
	return (struct journal_reject){.reason = problem,
				       .source_id = STR_NONE,
				       .message_id = STR_NONE,
				       .pointer = STR_NONE,
				       .detail = STR_NONE,
				       .excerpt = STR_NONE};
}

int intake_refuse(struct intake *in, enum problem problem, struct str pointer, struct str message)
{
	struct ingest_batch *batch = in->batch;
	bool is_text = in->request->dialect != DIALECT_NATIVE_PROTOBUF;
	struct journal_reject whole = untold(problem);
	whole.pointer = pointer;
	whole.detail = message;
	if (in->caller.source) whole.source_id = in->caller.source->id;
	/* A whole body may hold anybody's events; where something of them is private, nothing of it is kept. */
	bool is_private = in->caller.source ? in->caller.source->rules != NULL : in->config->has_privacy;
	if (is_text && !is_private) whole.excerpt = in->request->body;
	batch->problem = problem;
	/* When even this does not fit, the refusal is told without its texts. */
	if (copy_reject(batch, &whole, &batch->whole) != OK) batch->whole = untold(problem);
	return ERR_REFUSED;
}

/* ── through the journal and back ────────────────────────────────────────── */

/* Refusals that the client is told to retry are not received: they count when they come again. */
static bool is_to_be_recorded(const struct ingest_batch *batch)
{
	if (batch->problem == PROBLEM_NONE) return batch->received > 0;
	return problem_info(batch->problem)->retry_after_s == 0;
}

static struct metric *refused_metric(enum problem problem)
{
	char label[64];
	(void)snprintf(label, sizeof label, "reason=\"%s\"", problem_info(problem)->code);
	return metric_get(METRIC_COUNTER, "cdpd_ingest_refused_total", label,
			  "requests turned away unrecorded, to be retried");
}

static void count(const struct ingest_batch *batch)
{
	struct ingest *ingest = batch->worker->ingest;
	bool is_recorded = is_to_be_recorded(batch);
	if (batch->problem == PROBLEM_NONE) {
		if (batch->entry_count) metric_add(ingest->accepted, batch->entry_count);
		if (batch->reject_count) metric_add(ingest->rejected, batch->reject_count);
	} else if (is_recorded) {
		metric_add(ingest->rejected, 1);
	} else {
		metric_add(refused_metric(batch->problem), 1);
	}
}

static void fill_rejections(const struct ingest_batch *batch, struct ingest_rejection *out)
{
	for (size_t i = 0; i < batch->reject_count; i++) {
		const struct journal_reject *r = &batch->rejects[i];
		out[i] = (struct ingest_rejection){r->index, r->message_id, r->reason, r->pointer, r->detail};
		if (r->detail.len == 0) out[i].message = str_from(problem_info(r->reason)->text);
	}
}

static void fill_problem(const struct ingest_batch *batch, const struct journal_reject *from, struct ingest_result *out)
{
	const struct problem_info *info = problem_info(from->reason);
	out->problem = from->reason;
	out->pointer = from->pointer;
	out->message = from->detail.len ? from->detail : str_from(info->text);
	out->retry_after_s = batch->retry_after_s ? batch->retry_after_s : info->retry_after_s;
}

static void answer(struct ingest_batch *batch)
{
	struct ingest_result result = {
	    .message = STR_NONE,
	    .pointer = STR_NONE,
	    .limit = batch->limit,
	    .limit_remaining = batch->limit_remaining,
	    .position_epoch = journal_epoch(batch->worker->ingest->journal),
	};
	count(batch);
	if (batch->problem != PROBLEM_NONE) {
		fill_problem(batch, &batch->whole, &result);
	} else if (batch->is_single && batch->reject_count == 1) {
		fill_problem(batch, &batch->rejects[0], &result);
	} else {
		if (batch->rejections) fill_rejections(batch, batch->rejections);
		result.accepted = (uint32_t)batch->entry_count;
		result.rejections = batch->rejections;
		result.rejection_count = batch->reject_count;
		result.position_seq = batch->append.last_seq;
	}
	if (batch->done) batch->done(batch->ctx, &result);
	batch_recycle(batch);
}

static void fail(struct ingest_batch *batch, int status)
{
	enum problem problem = PROBLEM_NOT_DURABLE;
	if (status == ERR_BUSY) problem = PROBLEM_OVERLOADED;
	if (status == ERR_CLOSED) problem = PROBLEM_SHUTTING_DOWN;
	batch->problem = problem;
	batch->whole = untold(problem);
}

static void on_settled(struct loop_task *task)
{
	struct journal_append *append = (void *)((char *)task - offsetof(struct journal_append, settled));
	struct ingest_batch *batch = (void *)((char *)append - offsetof(struct ingest_batch, append));
	CHECK(batch->magic == BATCH_MAGIC);
	unlink_busy(batch);
	if (append->status != OK) fail(batch, append->status);
	answer(batch);
}

static void fill_append(struct ingest_batch *batch)
{
	bool is_whole = batch->problem != PROBLEM_NONE;
	batch->append = (struct journal_append){
	    .entries = is_whole ? NULL : batch->entries,
	    .entry_count = is_whole ? 0 : batch->entry_count,
	    .rejects = is_whole ? &batch->whole : batch->rejects,
	    .reject_count = is_whole ? 1 : batch->reject_count,
	    .received = is_whole ? 1 : batch->received,
	    .loop = batch->worker->loop,
	    .settled = {.run = on_settled},
	};
}

bool batch_settle(struct ingest_batch *batch)
{
	if (!is_to_be_recorded(batch)) {
		answer(batch);
		return false;
	}
	fill_append(batch);
	link_busy(batch);
	int rc = journal_submit(batch->worker->ingest->journal, &batch->append);
	if (rc == OK) return true;
	unlink_busy(batch);
	fail(batch, rc);
	answer(batch);
	return false;
}
