/* ChangeService: Subscribe, CommitCursor and Snapshot, over the feeds and orders that HTTP uses too. */
#include "api/change_filter_json.h"
#include "api/position_wait.h"
#include "api/snapshot.h"
#include "cdpd/v1/change_service.pb-c.h"
#include "rpc/change_sink.h"
#include "rpc/rpc.h"

/* ── messages ────────────────────────────────────────────────────────────── */

_Static_assert((int)CDPD__V1__CHANGE_KIND__CHANGE_KIND_PROFILE == CHANGE_PROFILE &&
		   (int)CDPD__V1__CHANGE_KIND__CHANGE_KIND_ERASED == CHANGE_ERASED,
	       "kinds are numbered as in the store");

static void cursor_text(const struct api *api, uint64_t seq, char out[POSITION_TEXT_SIZE])
{
	position_format(POSITION_CHANGES, (struct position){journal_epoch(api->journal), seq}, out);
}

static int write_change(struct buf *out, const struct api *api, const struct change *change, struct str body)
{
	char cursor[POSITION_TEXT_SIZE], position[POSITION_TEXT_SIZE], profile[FRAGMENT_ID_TEXT_SIZE];
	Cdpd__V1__Change message = CDPD__V1__CHANGE__INIT;
	struct fragment_id id;
	memcpy(id.bytes, change->profile, sizeof id.bytes);
	fragment_id_format(&id, profile);
	cursor_text(api, change->seq, cursor);
	(void)api_position_text(api, change->cause_seq + 1, position);
	message.cursor = cursor;
	message.kind = (Cdpd__V1__ChangeKind)change->kind;
	message.profile = profile;
	message.position = position;
	message.at_us = change->t;
	message.json = convert_bytes(body);
	return change_frame(out, &message.base);
}

/* ── Subscribe ───────────────────────────────────────────────────────────── */

static int copy_names(struct name_list *out, char *const *names, size_t count, struct arena *arena)
{
	if (count == 0) return OK;
	if (count > CHANGE_FILTER_NAMES_MAX) return ERR_TOO_LARGE;
	out->names = arena_array(arena, struct str, count);
	if (!out->names) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct str name = str_from(names[i]);
		if (name.len == 0 || name.len > CHANGE_FILTER_NAME_MAX) return ERR_INVALID;
		int rc = arena_str(arena, name, &out->names[out->count++]);
		if (rc != OK) return rc;
	}
	return OK;
}

/* False: the call has been ended. */
static bool read_filter(struct change_stream *stream, const Cdpd__V1__SubscribeRequest *request, struct arena *arena,
			struct change_filter *out)
{
	*out = (struct change_filter){0};
	for (size_t i = 0; i < request->n_kinds; i++) {
		int kind = (int)request->kinds[i];
		if (kind <= 0 || kind >= CHANGE_KIND_COUNT) {
			change_stream_fail(stream, PROBLEM_INVALID_PARAMETER, STR("no such kind"), STR("/kinds"));
			return false;
		}
		out->kinds |= 1u << kind;
	}
	int rc = copy_names(&out->traits, request->traits, request->n_traits, arena);
	if (rc == OK) rc = copy_names(&out->features, request->features, request->n_features, arena);
	if (rc == OK) rc = copy_names(&out->segments, request->segments, request->n_segments, arena);
	change_filter_settle(out);
	if (rc == OK) return true;
	change_stream_fail(stream, rc == ERR_NOMEM ? PROBLEM_INTERNAL : PROBLEM_INVALID_PARAMETER,
			   STR("at most 100 names of 1 to 255 bytes in a filter"), STR_NONE);
	return false;
}

/* False: the call has been ended. */
static bool read_cursor(struct change_stream *stream, const Cdpd__V1__SubscribeRequest *request, uint64_t *cursor)
{
	struct api *api = stream->worker->api;
	struct str message;
	*cursor = request->from_oldest ? FEED_FROM_START : people_last_change(api->people);
	if (!*request->cursor) return true;
	enum problem problem = position_read(api, POSITION_CHANGES, str_from(request->cursor), cursor, &message);
	if (problem == PROBLEM_NONE && request->from_oldest) {
		problem = PROBLEM_INVALID_PARAMETER;
		message = STR("either a cursor or from_oldest");
	} else if (problem == PROBLEM_NONE && *cursor > people_last_change(api->people)) {
		problem = PROBLEM_INVALID_PARAMETER;
		message = STR("that position lies ahead of the feed");
	}
	if (problem == PROBLEM_NONE) return true;
	change_stream_fail(stream, problem, message, STR("/cursor"));
	return false;
}

static void subscribe_from_cursor(struct change_stream *stream, const Cdpd__V1__SubscribeRequest *request)
{
	struct feed_options options = {.kind = &CHANGE_FEED};
	arena_init(&options.arena, 512, 128u << 10);
	struct change_feed *feed = arena_new(&options.arena, struct change_feed);
	if (!feed) {
		arena_fini(&options.arena);
		change_stream_fail(stream, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	feed->write = write_change;
	options.params = feed;
	if (read_cursor(stream, request, &options.cursor) &&
	    read_filter(stream, request, &options.arena, &feed->filter))
		change_stream_start(stream, &options);
	else
		arena_fini(&options.arena);
}

static void on_found(struct subscription_call *asking)
{
	struct change_stream *stream = asking->asker;
	struct feed_options options;
	struct str message;
	stream->asking = NULL;
	enum problem problem = subscription_problem(asking, &message);
	if (problem == PROBLEM_NONE && subscription_is_expired(&asking->items[0], &asking->feed)) {
		problem = PROBLEM_GONE;
		message = STR("the subscription has expired: take a snapshot, then commit the cursor it says it is of");
	}
	if (problem == PROBLEM_NONE &&
	    subscription_open(stream->worker, &asking->items[0], write_change, &options) != OK)
		problem = PROBLEM_INTERNAL;
	if (problem == PROBLEM_NONE)
		change_stream_start(stream, &options);
	else
		change_stream_fail(stream, problem, message, STR("/subscription"));
}

static bool has_filter(const Cdpd__V1__SubscribeRequest *request)
{
	return request->n_kinds || request->n_traits || request->n_features || request->n_segments;
}

/* False: the call has been ended. */
static bool read_put(struct change_stream *stream, const Cdpd__V1__SubscribeRequest *request,
		     struct subscription_call *asking)
{
	struct change_filter filter;
	struct subscription_order *order = &asking->order;
	asking->ask = SUBSCRIPTION_ORDER;
	order->deed = SUBSCRIPTION_PUT;
	order->start = request->from_oldest ? SUBSCRIPTION_OLDEST
		       : *request->cursor   ? SUBSCRIPTION_CURSOR
					    : SUBSCRIPTION_NOW;
	if (!read_cursor(stream, request, &order->cursor) || !read_filter(stream, request, &asking->arena, &filter))
		return false;
	int rc = change_filter_text(&filter, SUBSCRIPTION_FILTER_MAX, &asking->arena, &order->filter);
	if (rc == OK) return true;
	change_stream_fail(stream, rc == ERR_TOO_LARGE ? PROBLEM_TOO_LARGE : PROBLEM_INTERNAL,
			   STR("the filter is larger than 16 KB"), STR_NONE);
	return false;
}

static struct subscription_call *ask_for(struct api_worker *worker, void *asker, struct str name,
					 void (*reply)(struct subscription_call *call))
{
	struct subscription_call *asking = subscription_call_new(worker, asker, reply);
	if (!asking) return NULL;
	if (arena_str(&asking->arena, name, &asking->name) != OK) {
		subscription_call_drop(asking);
		return NULL;
	}
	asking->order.name = asking->name;
	return asking;
}

static void subscribe_to_named(struct change_stream *stream, const Cdpd__V1__SubscribeRequest *request)
{
	struct str name = str_from(request->subscription);
	if (!subscription_name_is_valid(name)) {
		change_stream_fail(stream, PROBLEM_INVALID_PARAMETER,
				   STR("a subscription's name is 1 to 64 letters, digits, '_', '-' or '.'"),
				   STR("/subscription"));
		return;
	}
	if (!request->put && (has_filter(request) || *request->cursor || request->from_oldest)) {
		change_stream_fail(stream, PROBLEM_INVALID_PARAMETER,
				   STR("the subscription has its own cursor and filter"), STR("/subscription"));
		return;
	}
	struct subscription_call *asking = ask_for(stream->worker, stream, name, on_found);
	if (!asking) {
		change_stream_fail(stream, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	asking->ask = SUBSCRIPTION_GET;
	if (request->put && !read_put(stream, request, asking)) {
		subscription_call_drop(asking);
		return;
	}
	stream->asking = asking;
	subscription_call_submit(asking);
}

static void subscribe(struct grpc_call *call, struct str bytes)
{
	ProtobufCMessage *message;
	if (!task_allows(call) || grpc_unpack(call, &cdpd__v1__subscribe_request__descriptor, bytes, &message) != OK)
		return;
	const Cdpd__V1__SubscribeRequest *request = (const void *)message;
	struct change_stream *stream = change_stream_new(call);
	if (!stream) return;
	if (*request->subscription)
		subscribe_to_named(stream, request);
	else
		subscribe_from_cursor(stream, request);
}

/* ── CommitCursor ────────────────────────────────────────────────────────── */

static void on_committed(struct subscription_call *asking)
{
	struct grpc_call *call = asking->asker;
	struct str message;
	char cursor[POSITION_TEXT_SIZE];
	Cdpd__V1__CommitCursorResponse response = CDPD__V1__COMMIT_CURSOR_RESPONSE__INIT;
	enum problem problem = subscription_problem(asking, &message);
	grpc_set_state(call, NULL);
	if (problem != PROBLEM_NONE) {
		grpc_finish_problem(call, problem, message,
				    problem == PROBLEM_NOT_FOUND ? STR("/subscription") : STR("/cursor"));
		return;
	}
	cursor_text(asking->worker->api, asking->items[0].cursor, cursor);
	response.cursor = cursor;
	response.moved = asking->order.has_moved;
	grpc_reply(call, &response.base);
}

static void commit_cursor(struct grpc_call *call, struct str bytes)
{
	ProtobufCMessage *unpacked;
	struct str message;
	uint64_t cursor;
	if (!task_allows(call) ||
	    grpc_unpack(call, &cdpd__v1__commit_cursor_request__descriptor, bytes, &unpacked) != OK)
		return;
	const Cdpd__V1__CommitCursorRequest *request = (const void *)unpacked;
	struct api_worker *worker = grpc_worker(call);
	enum problem problem =
	    position_read(worker->api, POSITION_CHANGES, str_from(request->cursor), &cursor, &message);
	if (problem != PROBLEM_NONE) {
		grpc_finish_problem(call, problem, message, STR("/cursor"));
		return;
	}
	struct str name = str_from(request->subscription);
	if (!subscription_name_is_valid(name)) {
		grpc_finish_problem(call, PROBLEM_INVALID_PARAMETER, STR("no name of a subscription"),
				    STR("/subscription"));
		return;
	}
	struct subscription_call *asking = ask_for(worker, call, name, on_committed);
	if (!asking) {
		grpc_finish_problem(call, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	asking->order.deed = SUBSCRIPTION_COMMIT;
	asking->order.cursor = cursor;
	asking->order.is_reset = request->reset;
	grpc_set_state(call, asking);
	subscription_call_submit(asking);
}

static void commit_closed(struct grpc_call *call)
{
	struct subscription_call *asking = grpc_state(call);
	if (asking) subscription_call_leave(asking);
}

/* ── Snapshot ────────────────────────────────────────────────────────────── */

static int write_begin(struct buf *out, const struct api *api, uint64_t since)
{
	char text[POSITION_TEXT_SIZE];
	Cdpd__V1__SnapshotRow message = CDPD__V1__SNAPSHOT_ROW__INIT;
	cursor_text(api, since, text);
	message.since = text;
	return change_frame(out, &message.base);
}

static int write_row(struct buf *out, const struct api *api, const struct snapshot_row *row, struct arena *scratch)
{
	char as_of[POSITION_TEXT_SIZE];
	Cdpd__V1__SnapshotRow message = CDPD__V1__SNAPSHOT_ROW__INIT;
	char *position = convert_position(scratch, api, row->applied);
	int rc = convert_profile(scratch, row->profile, position, &message.profile);
	if (rc != OK) return rc;
	cursor_text(api, row->as_of, as_of);
	message.as_of = as_of;
	message.cursor = (char *)(uintptr_t)row->cursor; /* only read */
	return change_frame(out, &message.base);
}

static int write_end(struct buf *out, const struct api *api, uint64_t until, uint64_t rows)
{
	char text[POSITION_TEXT_SIZE];
	Cdpd__V1__SnapshotRow message = CDPD__V1__SNAPSHOT_ROW__INIT;
	cursor_text(api, until, text);
	message.until = text;
	message.profiles = rows;
	return change_frame(out, &message.base);
}

static void snapshot(struct grpc_call *call, struct str bytes)
{
	static const struct snapshot_format rows = {.begin = write_begin, .row = write_row, .end = write_end};
	ProtobufCMessage *unpacked;
	struct feed_options options;
	struct str message;
	if (!task_allows(call) || grpc_unpack(call, &cdpd__v1__snapshot_request__descriptor, bytes, &unpacked) != OK)
		return;
	const Cdpd__V1__SnapshotRequest *request = (const void *)unpacked;
	struct change_stream *stream = change_stream_new(call);
	if (!stream) return;
	stream->is_snapshot = true;
	enum problem problem = snapshot_open(stream->worker, str_from(request->cursor), &rows, &options, &message);
	if (problem == PROBLEM_NONE)
		change_stream_start(stream, &options);
	else
		change_stream_fail(stream, problem, message, STR("/cursor"));
}

/* ── the table ───────────────────────────────────────────────────────────── */

static const struct grpc_method METHODS[] = {
    {.name = "Subscribe",
     .server_streams = true,
     .scope = "changes:read",
     .message = subscribe,
     .writable = change_stream_writable,
     .closed = change_stream_closed,
     .drain = change_stream_drain},
    {.name = "CommitCursor", .scope = "changes:read", .message = commit_cursor, .closed = commit_closed},
    {.name = "Snapshot",
     .server_streams = true,
     .scope = "changes:read",
     .message = snapshot,
     .writable = change_stream_writable,
     .closed = change_stream_closed,
     .drain = change_stream_drain},
};

const struct grpc_service change_service = {
    .name = "cdpd.v1.ChangeService", .methods = METHODS, .method_count = COUNT_OF(METHODS)};
