/* EventService: PublishStream. Requests go through ingest as those of Publish do; what is of the stream's own is the order: they
 * stand in a queue until they are settled, and what is acknowledged is only ever its front.
 *
 * Requests of one event that came in one turn of the loop go to ingest as one: the bytes of two PublishRequests, one after the other, are those of
 * one with the events of both. Nothing ends the call but `on_turn`, which runs once at the end of a turn in which something happened. */
#include <event2/event.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rpc/publish.h"
#include "rpc/task.h"

#define UNSETTLED_MAX   1024         /* requests … */
#define UNSETTLED_BYTES (256u << 10) /* … and their bytes; one larger than that goes alone */
#define GROUP_MAX       256          /* requests that go as one … */
#define GROUP_BYTES     (64u << 10)  /* … and their bytes */
#define REJECTED_HOLD   (256u << 10) /* untold rejections beyond which nothing is taken */
#define REJECTED_BYTES  (64u << 20)  /* never reached by what may be unsettled at once, told in time */
#define ACK_BYTES       (1u << 20)   /* of rejections in one message: clients take 4 MB */
#define ARENA_BLOCK     (16u << 10)
#define RETRY_MS        20 /* how soon what must wait is tried again */

/* What went to ingest as one: one request, or several of one event each. */
struct entry {
	struct entry *next;
	struct stream *stream;
	struct ingest_batch *batch; /* with the journal */
	size_t bytes;
	uint32_t requests;
	bool is_group, is_settled, is_failed;
};

struct stream {
	struct grpc_call *call;
	struct api_worker *worker;
	struct event *turn, *retry_timer;

	struct arena arena; /* entries */
	struct entry *first, *last, *free;
	size_t unsettled, unsettled_bytes; /* the group's too */
	uint64_t settled_through, told_through;
	struct ingest_result newest; /* of the newest durable one: its position only */

	struct buf group; /* requests that have not gone yet */
	uint32_t group_count, group_max;
	bool is_refused; /* ingest wants to see again what it was last given */

	struct arena scratch; /* of one settlement */
	struct buf rejected;  /* packed PublishAcks that hold only `rejected` */

	struct str waiting; /* the request that was not taken yet, held by the call */
	bool has_waiting, is_held, is_stuck /* until the retry timer, or something else happens */;
	bool is_half_closed, is_draining;

	enum problem problem; /* why it ends; NONE: it goes on */
	struct str message;   /* of it, in the call's arena */
	int retry_after_s;
};

/* ── their life ──────────────────────────────────────────────────────────── */

static struct entry *entry_add(struct stream *stream, uint32_t requests, size_t bytes, bool is_group)
{
	struct entry *entry = stream->free;
	if (entry)
		stream->free = entry->next;
	else
		entry = arena_alloc(&stream->arena, sizeof *entry);
	if (!entry) return NULL;
	*entry = (struct entry){.stream = stream, .bytes = bytes, .requests = requests, .is_group = is_group};
	if (stream->last)
		stream->last->next = entry;
	else
		stream->first = entry;
	stream->last = entry;
	return entry;
}

static void entry_release(struct stream *stream, struct entry *entry)
{
	entry->next = stream->free;
	stream->free = entry;
}

/* The newest, which ingest did not take. */
static void entry_take_back(struct stream *stream, struct entry *entry)
{
	struct entry **at = &stream->first, *before = NULL;
	while (*at != entry) {
		before = *at;
		at = &(*at)->next;
	}
	*at = NULL;
	stream->last = before;
	entry_release(stream, entry);
}

static void stream_free(struct stream *stream)
{
	for (struct entry *entry = stream->first; entry; entry = entry->next)
		if (entry->batch) ingest_cancel(entry->batch);
	if (stream->turn) event_free(stream->turn);
	if (stream->retry_timer) event_free(stream->retry_timer);
	buf_fini(&stream->rejected);
	buf_fini(&stream->group);
	arena_fini(&stream->scratch);
	arena_fini(&stream->arena);
	free(stream);
}

/* Everything that happens in this turn of the loop is looked at once, at its end. */
static void wake(struct stream *stream)
{
	event_active(stream->turn, EV_TIMEOUT, 1);
}

/* ── one request ─────────────────────────────────────────────────────────── */

static void tell_rejection(struct stream *stream, uint64_t number, const struct ingest_rejection *from, bool is_whole)
{
	Cdpd__V1__PublishAck ack = CDPD__V1__PUBLISH_ACK__INIT;
	Cdpd__V1__StreamRejection told = CDPD__V1__STREAM_REJECTION__INIT, *list = &told;
	Cdpd__V1__Rejection rejection;
	arena_reset(&stream->scratch);
	int rc = publish_rejection(&stream->scratch, from, &rejection);
	told.request = number;
	told.rejection = &rejection;
	told.whole = is_whole;
	ack.rejected = &list;
	ack.n_rejected = 1;
	if (rc == OK) rc = convert_pack(&stream->rejected, &ack.base);
	if (rc != OK && stream->problem == PROBLEM_NONE) stream->problem = PROBLEM_OVERLOADED;
}

/* Nearly always the first: only what ingest settles at once, an empty request, overtakes others. */
static uint64_t number_of(const struct stream *stream, const struct entry *entry)
{
	uint64_t number = stream->settled_through + 1;
	for (const struct entry *at = stream->first; at != entry; at = at->next) number += at->requests;
	return number;
}

/* One word about everything that went together. */
static void tell_whole(struct stream *stream, const struct entry *entry, uint64_t number,
		       const struct ingest_result *result)
{
	const struct ingest_rejection whole = {0, STR_NONE, result->problem, result->pointer, result->message};
	for (uint32_t i = 0; i < entry->requests; i++) tell_rejection(stream, number + i, &whole, true);
}

static void settle(struct stream *stream, struct entry *entry, const struct ingest_result *result)
{
	entry->is_settled = true;
	if (result->position_seq) {
		stream->newest.position_seq = result->position_seq;
		stream->newest.position_epoch = result->position_epoch;
	}
	if (result->problem == PROBLEM_NONE && !result->rejection_count) return;
	uint64_t number = number_of(stream, entry);
	if (result->problem != PROBLEM_NONE) {
		tell_whole(stream, entry, number, result);
		return;
	}
	for (size_t i = 0; i < result->rejection_count; i++) {
		struct ingest_rejection rejection = result->rejections[i];
		uint64_t which = number;
		if (entry->is_group) {
			which += rejection.index;
			rejection.index = 0;
		}
		tell_rejection(stream, which, &rejection, false);
	}
}

/* What is settled at the front is settled for good. */
static void advance(struct stream *stream)
{
	while (stream->first && stream->first->is_settled) {
		struct entry *entry = stream->first;
		stream->first = entry->next;
		if (!stream->first) stream->last = NULL;
		stream->settled_through += entry->requests;
		stream->unsettled -= entry->requests;
		stream->unsettled_bytes -= entry->bytes;
		entry_release(stream, entry);
	}
}

/* Who may not send, and what cannot be made durable, ends the stream; the client knows through where it got. */
static bool ends_stream(enum problem problem)
{
	return problem == PROBLEM_UNKNOWN_KEY || problem == PROBLEM_FORBIDDEN || problem == PROBLEM_UNAUTHORIZED ||
	       problem == PROBLEM_NOT_DURABLE || problem == PROBLEM_SHUTTING_DOWN || problem == PROBLEM_INTERNAL;
}

static bool wants_again(enum problem problem)
{
	return problem == PROBLEM_RATE_LIMITED || problem == PROBLEM_OVERLOADED;
}

static void stop(struct stream *stream, const struct ingest_result *result)
{
	if (stream->problem != PROBLEM_NONE) return;
	stream->problem = result->problem;
	stream->retry_after_s = result->retry_after_s;
	if (arena_str(grpc_arena(stream->call), result->message, &stream->message) != OK) stream->message = STR_NONE;
}

static void on_settled(void *ctx, const struct ingest_result *result)
{
	struct entry *entry = ctx;
	struct stream *stream = entry->stream;
	bool is_newest = !entry->batch; /* told within ingest_submit */
	entry->batch = NULL;
	if (wants_again(result->problem) && is_newest) {
		entry_take_back(stream, entry);
		stream->is_refused = true;
		return;
	}
	if (wants_again(result->problem) || ends_stream(result->problem)) {
		entry->is_failed = true;
		stop(stream, result);
	} else {
		settle(stream, entry, result);
		advance(stream);
	}
	wake(stream);
}

/* False: ingest wants to see it again. */
static bool submit(struct stream *stream, struct str body, uint32_t requests, bool is_group)
{
	struct ingest_request request;
	struct entry *entry = entry_add(stream, requests, body.len, is_group);
	stream->is_refused = false;
	if (!entry) {
		stream->problem = PROBLEM_OVERLOADED;
		wake(stream);
		return true;
	}
	task_fill_ingest(stream->call, &request);
	request.body = body;
	struct ingest_batch *batch = ingest_submit(stream->worker->ingest, &request, on_settled, entry);
	if (batch) entry->batch = batch;
	return !stream->is_refused;
}

/* ── taking and holding ──────────────────────────────────────────────────── */

static void wait_to_retry(struct stream *stream)
{
	const struct timeval soon = {.tv_usec = (suseconds_t)RETRY_MS * 1000};
	stream->is_stuck = true;
	if (event_add(stream->retry_timer, &soon) == 0) return;
	stream->problem = PROBLEM_INTERNAL;
	wake(stream);
}

static bool submit_group(struct stream *stream)
{
	if (stream->group_count == 0) return true;
	if (!submit(stream, buf_str(&stream->group), stream->group_count, true)) {
		wait_to_retry(stream);
		return false;
	}
	buf_clear(&stream->group);
	stream->group_count = 0;
	return true;
}

static bool takes_more(const struct stream *stream)
{
	if (stream->problem != PROBLEM_NONE || stream->is_draining || stream->is_stuck) return false;
	return stream->unsettled < UNSETTLED_MAX && stream->unsettled_bytes < UNSETTLED_BYTES &&
	       stream->rejected.len < REJECTED_HOLD;
}

/* Exactly one event and nothing else: by the first tag and its length. */
static bool is_one_event(struct str bytes)
{
	size_t at = 1, len = 0;
	if (bytes.len < 2 || bytes.len > GROUP_BYTES / 4 || bytes.ptr[0] != 0x0a) return false;
	for (unsigned shift = 0; shift < 21 && at < bytes.len; shift += 7) {
		uint8_t byte = (uint8_t)bytes.ptr[at++];
		len |= (size_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) return len == bytes.len - at;
	}
	return false;
}

/* What goes as one is under the same limit as any request. */
static void begin_group(struct stream *stream)
{
	uint32_t allowed = api_worker_live(stream->worker)->config->limits.batch_events;
	stream->group_max = allowed < GROUP_MAX ? allowed : GROUP_MAX;
	wake(stream);
}

static bool join_group(struct stream *stream, struct str bytes)
{
	if (stream->group_count &&
	    (stream->group_count >= stream->group_max || stream->group.len + bytes.len > GROUP_BYTES))
		if (!submit_group(stream)) return false;
	if (stream->group_count == 0) begin_group(stream);
	if (buf_append_str(&stream->group, bytes) != OK) {
		stream->problem = PROBLEM_OVERLOADED;
		wake(stream);
		return false;
	}
	stream->group_count++;
	return true;
}

static bool submit_alone(struct stream *stream, struct str bytes)
{
	if (!submit_group(stream)) return false;
	if (submit(stream, bytes, 1, false)) return true;
	wait_to_retry(stream);
	return false;
}

/* False: it was not, and is to be held. */
static bool take(struct stream *stream, struct str bytes)
{
	if (!takes_more(stream)) return false;
	/* Counted first: it may be settled before we are back. */
	stream->unsettled++;
	stream->unsettled_bytes += bytes.len;
	if (is_one_event(bytes) ? join_group(stream, bytes) : submit_alone(stream, bytes)) return true;
	stream->unsettled--;
	stream->unsettled_bytes -= bytes.len;
	return false;
}

void publish_stream_message(struct grpc_call *call, struct str bytes)
{
	struct stream *stream = grpc_state(call);
	stream->has_waiting = !take(stream, bytes);
	if (!stream->has_waiting && takes_more(stream)) return;
	stream->waiting = bytes;
	stream->is_held = true;
	grpc_hold(call);
}

static void resume(struct stream *stream)
{
	if (!submit_group(stream)) return;
	if (!stream->is_held || !takes_more(stream)) return;
	if (stream->has_waiting && !take(stream, stream->waiting)) return;
	stream->has_waiting = false;
	if (!takes_more(stream)) return;
	stream->is_held = false;
	grpc_next(stream->call);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	struct stream *stream = ctx;
	stream->is_stuck = false;
	wake(stream);
}

/* ── acknowledging ───────────────────────────────────────────────────────── */

/* As many whole rejections as go into one message. */
static size_t cut_rejected(const struct stream *stream)
{
	struct str rest = buf_str(&stream->rejected);
	size_t taken = 0;
	if (rest.len <= ACK_BYTES) return rest.len;
	while (taken < rest.len) {
		size_t at = taken + 1, len = 0; /* behind the tag, which is one byte */
		for (unsigned shift = 0;; shift += 7) {
			uint8_t byte = (uint8_t)rest.ptr[at++];
			len |= (size_t)(byte & 0x7f) << shift;
			if (!(byte & 0x80)) break;
		}
		if (at + len > ACK_BYTES && taken) break;
		taken = at + len;
	}
	return taken;
}

static int send_ack(struct stream *stream)
{
	Cdpd__V1__PublishAck ack = CDPD__V1__PUBLISH_ACK__INIT;
	char position[POSITION_TEXT_SIZE];
	size_t rejected = cut_rejected(stream);
	struct buf *out = &stream->worker->out;
	ack.position = publish_position(&stream->newest, position);
	/* Whoever is told that a request is settled has been told what of it was rejected. */
	ack.settled_through = rejected < stream->rejected.len ? stream->told_through : stream->settled_through;
	buf_clear(out);
	int rc = convert_pack(out, &ack.base);
	if (rc == OK && rejected) rc = buf_append(out, buf_ptr(&stream->rejected), rejected);
	if (rc == OK) rc = grpc_send_bytes(stream->call, buf_str(out));
	if (rc != OK) return rc;
	if (rejected) buf_consume(&stream->rejected, rejected);
	stream->told_through = ack.settled_through;
	return OK;
}

static bool has_news(const struct stream *stream)
{
	return stream->settled_through > stream->told_through || stream->rejected.len > 0;
}

static void acknowledge(struct stream *stream)
{
	while (has_news(stream) && grpc_room(stream->call) > 0) {
		int rc = send_ack(stream);
		if (rc == OK) continue;
		if (rc != ERR_TOO_LARGE && stream->problem == PROBLEM_NONE) stream->problem = PROBLEM_OVERLOADED;
		return;
	}
	buf_shrink(&stream->rejected, ACK_BYTES);
}

/* ── the end ─────────────────────────────────────────────────────────────── */

/* Whatever stands before what failed is waited for; what stands behind it is the client's to send again. */
static bool is_quiet(const struct stream *stream)
{
	return !stream->first || stream->first->is_failed;
}

static bool has_all(const struct stream *stream)
{
	return stream->is_half_closed && !stream->has_waiting && !stream->group_count;
}

static bool is_over(const struct stream *stream)
{
	if (stream->problem == PROBLEM_OVERLOADED) return true; /* nothing more can be told */
	if (!is_quiet(stream) || has_news(stream)) return false;
	return stream->problem != PROBLEM_NONE || stream->is_draining || has_all(stream);
}

static void finish(struct stream *stream)
{
	struct grpc_call *call = stream->call;
	enum problem problem = stream->problem;
	struct str message = stream->message;
	if (problem == PROBLEM_NONE && stream->is_draining && !has_all(stream)) problem = PROBLEM_SHUTTING_DOWN;
	if (stream->retry_after_s) grpc_set_retry_after(call, stream->retry_after_s);
	stream_free(stream);
	grpc_set_state(call, NULL);
	if (problem == PROBLEM_NONE)
		grpc_finish(call, GRPC_OK, STR_NONE);
	else
		grpc_finish_problem(call, problem, message, STR_NONE);
}

static void on_turn(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	struct stream *stream = ctx;
	if (stream->problem == PROBLEM_NONE && !stream->is_stuck) (void)submit_group(stream);
	acknowledge(stream);
	if (is_over(stream))
		finish(stream);
	else if (stream->problem == PROBLEM_NONE && !stream->is_stuck)
		resume(stream);
}

/* ── the call ────────────────────────────────────────────────────────────── */

static struct stream *stream_new(struct grpc_call *call)
{
	struct stream *stream = calloc(1, sizeof *stream);
	if (!stream) return NULL;
	stream->call = call;
	stream->worker = grpc_worker(call);
	stream->message = STR_NONE;
	arena_init(&stream->arena, ARENA_BLOCK, 0);
	arena_init(&stream->scratch, ARENA_BLOCK, 0);
	buf_init(&stream->rejected, REJECTED_BYTES);
	buf_init(&stream->group, GROUP_BYTES);
	struct event_base *base = loop_base(grpc_loop(call));
	stream->turn = event_new(base, -1, 0, on_turn, stream);
	stream->retry_timer = evtimer_new(base, on_retry, stream);
	if (stream->turn && stream->retry_timer) return stream;
	stream_free(stream);
	return NULL;
}

void publish_stream_start(struct grpc_call *call)
{
	struct stream *stream = stream_new(call);
	if (stream)
		grpc_set_state(call, stream);
	else
		grpc_finish_problem(call, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

void publish_stream_half_closed(struct grpc_call *call)
{
	struct stream *stream = grpc_state(call);
	stream->is_half_closed = true;
	wake(stream);
}

void publish_stream_writable(struct grpc_call *call)
{
	wake(grpc_state(call));
}

void publish_stream_closed(struct grpc_call *call)
{
	struct stream *stream = grpc_state(call);
	if (stream) stream_free(stream);
}

void publish_stream_drain(struct grpc_call *call)
{
	struct stream *stream = grpc_state(call);
	if (!stream) return;
	stream->is_draining = true;
	wake(stream);
}
