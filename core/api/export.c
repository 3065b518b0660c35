/* GET /v1/profiles/{ref}/export: everything that is held on one person, as one JSON document. It is made on the read pool in
 * pieces of EXPORT_BATCH, the next one only when the client has taken the last: a person with a million events costs one
 * buffer. The document says `"complete":true` at its very end, or why it is not. */
#include <stdlib.h>

#include "api/event_json.h"
#include "api/internal.h"
#include "api/profile_json.h"
#include "api/reject_json.h"
#include "base/clock.h"

#define EXPORT_BATCH ((size_t)64 << 10)
#define EXPORT_MAX   ((size_t)32 << 20) /* of one piece: the profile and its links come whole */
#define CHAIN_STEP   200
#define REJECTS_MAX  20000 /* looked at */

enum stage { STAGE_PROFILE, STAGE_EVENTS, STAGE_REJECTS, STAGE_END, STAGE_OVER };

struct export
{
	struct read_job job;
	struct api_worker *worker;
	struct api *api;
	struct arena arena;
	struct http_request *req;   /* until the stream begins */
	struct http_stream *stream; /* NULL before, and after the client left */
	bool is_pulling, is_busy;   /* busy: inside a function that may call on_gone */

	/* the pool's while it works */
	struct str ref;
	char id_ref[3 + FRAGMENT_ID_TEXT_SIZE];
	enum stage stage;
	uint64_t below; /* events from there on were written */
	struct buf out;
	struct json_out json;
	struct str *values; /* of the identifiers, quoted: to find rejects by */
	size_t value_count;
	int status;
};

static void export_free(struct export *export)
{
	buf_fini(&export->out);
	arena_fini(&export->arena);
	free(export);
}

/* ── the pieces ──────────────────────────────────────────────────────────── */

static int keep_values(struct export *export, const struct profile *profile)
{
	export->values = arena_array(&export->arena, struct str, profile->identifier_count + 1);
	if (!export->values) return ERR_NOMEM;
	for (size_t i = 0; i < profile->identifier_count; i++) {
		int rc = arena_printf(&export->arena, &export->values[i], "\"%.*s\"",
				      STR_ARG(profile->identifiers[i].value));
		if (rc) return rc;
	}
	export->value_count = profile->identifier_count;
	return OK;
}

static void write_link(struct export *export, const struct link_row *row)
{
	struct json_out *out = &export->json;
	jo_object(out);
	jo_key(out, STR("a"));
	jo_str(out, row->a);
	jo_key(out, STR("b"));
	jo_str(out, row->b);
	jo_key(out, STR("linked"));
	jo_bool(out, row->is_linked);
	jo_key(out, STR("reason"));
	jo_str(out, row->reason);
	jo_key(out, STR("rule"));
	jo_str(out, row->rule);
	event_json_position(out, export->api, STR("position"), row->seq);
	jo_key(out, STR("at"));
	jo_time(out, row->t);
	jo_end_object(out);
}

static int write_profile(struct export *export, const struct profile *profile, const struct link_row *links,
			 size_t count, uint64_t applied)
{
	char text[POSITION_TEXT_SIZE];
	struct json_out *out = &export->json;
	jo_object(out);
	jo_key(out, STR("exportedAt"));
	jo_time(out, clock_wall_us());
	jo_key(out, STR("profile"));
	profile_write(out, profile, api_position_text(export->api, applied, text));
	jo_key(out, STR("links"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) write_link(export, &links[i]);
	jo_end_array(out);
	jo_key(out, STR("events"));
	jo_array(out);
	return out->status;
}

static int fill_profile(struct export *export, struct read_thread *thread)
{
	struct profile profile;
	struct link_row *links;
	size_t count;
	uint64_t applied;
	int rc = people_read_begin(thread->people, &applied);
	if (rc) return rc;
	rc = people_get(thread->people, export->ref, PROFILE_ALL | PROFILE_LOSERS, clock_wall_us(), &thread->scratch,
			&profile);
	if (!rc) rc = people_links(thread->people, &profile, &thread->scratch, &links, &count);
	people_read_end(thread->people);
	if (!rc) rc = keep_values(export, &profile);
	if (rc) return rc;
	/* Whatever the reference comes to mean while the client reads: this is who was asked for. */
	memcpy(export->id_ref, "id:", 3);
	fragment_id_format(&profile.id, export->id_ref + 3);
	export->ref = str_from(export->id_ref);
	export->stage = STAGE_EVENTS;
	return write_profile(export, &profile, links, count, applied);
}

static int write_event(struct export *export, struct read_thread *thread, const struct chain_item *item)
{
	struct record record;
	struct cdpd_event event;
	int rc = journal_get(export->api->journal, item->seq, &thread->scratch, &record);
	if (rc || record.kind != RECORD_EVENT) return rc;
	rc = event_decode(record.payload, &thread->scratch, &event);
	if (!rc) rc = event_json_patch(export->api, thread, &item->outcome, &event);
	return rc ? rc : event_json_write(&export->json, export->api, &event, item->seq, &item->outcome);
}

static int read_chain(struct export *export, struct read_thread *thread, struct chain_item **items, size_t *count)
{
	struct profile profile;
	uint64_t applied;
	int rc = people_read_begin(thread->people, &applied);
	if (rc) return rc;
	rc = people_get(thread->people, export->ref, PROFILE_IDENTIFIERS, clock_wall_us(), &thread->scratch, &profile);
	if (!rc) rc = people_chain(thread->people, &profile, export->below, CHAIN_STEP, &thread->scratch, items, count);
	people_read_end(thread->people);
	return rc;
}

static void end_events(struct export *export)
{
	jo_end_array(&export->json);
	jo_key(&export->json, STR("rejects"));
	jo_array(&export->json);
	export->stage = STAGE_REJECTS;
}

static int fill_events(struct export *export, struct read_thread *thread)
{
	struct chain_item *items = NULL;
	size_t count = 0;
	while (export->out.len < EXPORT_BATCH && !atomic_load(&export->job.is_cancelled)) {
		arena_reset(&thread->scratch);
		int rc = read_chain(export, thread, &items, &count);
		for (size_t i = 0; i < count && !rc && export->out.len < EXPORT_BATCH; i++) {
			rc = write_event(export, thread, &items[i]);
			export->below = items[i].seq;
		}
		if (rc == ERR_GONE || rc == ERR_NOT_FOUND) rc = OK, count = 0; /* the journal has nothing older */
		if (rc) return rc;
		if (count == 0) {
			end_events(export);
			return OK;
		}
	}
	return OK;
}

struct reject_search {
	struct export *export;
	size_t seen;
};

static int look_at_reject(void *ctx, const struct journal_reject_row *row)
{
	struct reject_search *search = ctx;
	struct export *export = search->export;
	struct str text = row->reject.excerpt;
	bool is_hit = false;
	for (size_t i = 0; i < export->value_count && !is_hit; i++)
		is_hit = memmem(text.ptr, text.len, export->values[i].ptr, export->values[i].len) != NULL;
	if (is_hit) reject_json_write(&export->json, row);
	return ++search->seen == REJECTS_MAX || export->out.len >= EXPORT_BATCH ||
	       atomic_load(&export->job.is_cancelled);
}

static int fill_rejects(struct export *export)
{
	struct reject_search search = {.export = export};
	int rc = journal_rejects(export->api->journal, 0, look_at_reject, &search);
	jo_end_array(&export->json);
	export->stage = STAGE_END;
	return rc;
}

static int fill_end(struct export *export)
{
	jo_key(&export->json, STR("complete"));
	jo_bool(&export->json, true);
	jo_end_object(&export->json);
	export->stage = STAGE_OVER;
	return export->json.status;
}

/* What was written stays valid JSON, whatever happened. */
static void fill_failure(struct export *export)
{
	struct json_out *out = &export->json;
	log_warn(LOG_API, "an export ends early (%s)", status_str(export->status));
	out->status = OK;
	if (export->stage == STAGE_EVENTS || export->stage == STAGE_REJECTS) jo_end_array(out);
	jo_key(out, STR("complete"));
	jo_bool(out, false);
	jo_key(out, STR("error"));
	jo_str(out, STR("the export could not be finished; ask again"));
	jo_end_object(out);
	export->stage = STAGE_OVER;
}

static void work(struct read_job *job, struct read_thread *thread)
{
	struct export *export = (struct export *)job;
	size_t before = export->out.len;
	switch (export->stage) {
	case STAGE_PROFILE: export->status = fill_profile(export, thread); break;
	case STAGE_EVENTS: export->status = fill_events(export, thread); break;
	case STAGE_REJECTS: export->status = fill_rejects(export); break;
	case STAGE_END: export->status = fill_end(export); break;
	case STAGE_OVER: break;
	}
	if (export->status && export->stage != STAGE_PROFILE && export->out.len == before) fill_failure(export);
}

/* ── the stream ──────────────────────────────────────────────────────────── */

static void pump(struct export *export);

static void abandon(struct export *export)
{
	export->req = NULL;
	export->stream = NULL;
	if (export->is_busy) return;
	if (export->is_pulling)
		read_job_cancel(&export->job);
	else
		export_free(export);
}

static void on_gone(void *ctx)
{
	abandon(ctx);
}

static void on_drain(void *ctx)
{
	pump(ctx);
}

static const struct http_stream_events STREAM_EVENTS = {.on_drain = on_drain, .on_close = on_gone};

static void refuse(struct export *export)
{
	struct http_request *req = export->req;
	int status = export->status;
	http_on_abort(req, NULL, NULL);
	export_free(export);
	if (status == ERR_NOT_FOUND)
		http_reply_problem(req, PROBLEM_NOT_FOUND, STR("nobody is known by that reference"), STR_NONE);
	else if (status == ERR_INVALID)
		http_reply_problem(req, PROBLEM_INVALID_PARAMETER,
				   STR("a reference is 'namespace:value' or 'id:<profile id>'"), STR_NONE);
	else if (status == ERR_BUSY)
		http_reply_problem(req, PROBLEM_OVERLOADED, STR("the read threads' queue is full"), STR_NONE);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static bool begin(struct export *export)
{
	struct http_request *req = export->req;
	export->req = NULL;
	http_on_abort(req, NULL, NULL);
	http_set_header(req, STR("Cache-Control"), STR("no-store"));
	export->stream = http_stream_begin(req, 200, MIME_JSON, &STREAM_EVENTS, export);
	return export->stream != NULL;
}

static void done(struct read_job *job)
{
	struct export *export = (struct export *)job;
	export->is_pulling = false;
	if (!export->req && !export->stream)
		export_free(export);
	else if (export->req && export->status)
		refuse(export);
	else if (export->req && !begin(export))
		abandon(export);
	else
		pump(export);
}

static int submit(struct export *export)
{
	export->job.work = work;
	export->job.done = done;
	export->status = OK;
	int rc = read_pool_submit(export->api->pool, &export->worker->jobs, &export->job);
	if (!rc) export->is_pulling = true;
	return rc;
}

static int flush(struct export *export)
{
	while (export->stream && export->out.len) {
		size_t room = http_stream_room(export->stream);
		if (!room) return OK;
		size_t len = export->out.len < room ? export->out.len : room;
		int rc = http_stream_write(export->stream, str_of(buf_ptr(&export->out), len));
		if (rc) return rc;
		buf_consume(&export->out, len);
	}
	return OK;
}

static void end(struct export *export)
{
	struct http_stream *stream = export->stream;
	export_free(export);
	http_stream_end(stream);
}

static void pump(struct export *export)
{
	if (export->is_pulling || export->is_busy || !export->stream) return;
	export->is_busy = true;
	int rc = flush(export);
	export->is_busy = false;
	if (!export->stream) {
		export_free(export);
		return;
	}
	if (!rc && export->out.len) return; /* on_drain comes */
	buf_clear(&export->out);
	if (rc || export->stage == STAGE_OVER || export->status) {
		end(export);
		return;
	}
	/* A full queue ends it: the document is then not complete, and says so by being cut. */
	if (submit(export)) end(export);
}

static void get_export(struct api_worker *worker, struct http_request *req)
{
	if (http_method(req) == HTTP_HEAD) {
		http_reply(req, 200, MIME_JSON, STR_NONE);
		return;
	}
	struct export *export = calloc(1, sizeof *export);
	if (!export) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	export->worker = worker;
	export->api = worker->api;
	export->req = req;
	arena_init(&export->arena, 1024, (size_t)1 << 20);
	buf_init(&export->out, EXPORT_MAX);
	json_out_init(&export->json, &export->out);
	int rc = arena_str(&export->arena, http_path_param(req, 0), &export->ref);
	if (!rc) rc = submit(export);
	if (rc) {
		export->status = rc;
		refuse(export);
		return;
	}
	http_on_abort(req, on_gone, export);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/profiles/{ref}/export", SCOPE_EXPORT, false, true, 0, get_export},
};

int export_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
