/* GET /v1/snapshot: everybody as lines of JSON. */
#include "api/feed_http.h"
#include "api/params.h"
#include "api/profile_json.h"
#include "api/snapshot.h"

static void write_position(struct json_out *out, const struct api *api, struct str key, uint64_t seq)
{
	char text[POSITION_TEXT_SIZE];
	struct position position = {.epoch = journal_epoch(api->journal), .seq = seq};
	jo_key(out, key);
	jo_str(out, str_of(text, position_format(POSITION_CHANGES, position, text)));
}

/* A line is whole or not at all. */
static int end_line(struct json_out *out, struct buf *buf, size_t before)
{
	jo_end_object(out);
	int rc = out->status == OK ? buf_putc(buf, '\n') : out->status;
	if (rc != OK) buf_cut(buf, before);
	return rc;
}

static int write_begin(struct buf *buf, const struct api *api, uint64_t since)
{
	struct json_out out;
	size_t before = buf->len;
	json_out_init(&out, buf);
	jo_object(&out);
	write_position(&out, api, STR("since"), since);
	return end_line(&out, buf, before);
}

static int write_row(struct buf *buf, const struct api *api, const struct snapshot_row *row, struct arena *scratch)
{
	(void)scratch;
	struct json_out out;
	char text[POSITION_TEXT_SIZE];
	size_t before = buf->len;
	json_out_init(&out, buf);
	jo_object(&out);
	jo_key(&out, STR("cursor"));
	jo_str(&out, str_from(row->cursor));
	write_position(&out, api, STR("asOf"), row->as_of);
	jo_key(&out, STR("profile"));
	profile_write(&out, row->profile, api_position_text(api, row->applied, text));
	return end_line(&out, buf, before);
}

static int write_end(struct buf *buf, const struct api *api, uint64_t until, uint64_t rows)
{
	struct json_out out;
	size_t before = buf->len;
	json_out_init(&out, buf);
	jo_object(&out);
	write_position(&out, api, STR("until"), until);
	jo_key(&out, STR("profiles"));
	jo_uint(&out, rows);
	return end_line(&out, buf, before);
}

static const struct snapshot_format LINES = {.begin = write_begin, .row = write_row, .end = write_end};

static void get_snapshot(struct api_worker *worker, struct http_request *req)
{
	struct feed_options options;
	struct str cursor = STR_NONE, message;
	(void)http_query_get(req, STR("cursor"), &cursor);
	enum problem problem = snapshot_open(worker, cursor, &LINES, &options, &message);
	if (problem == PROBLEM_NONE)
		feed_http_start(worker, req, FEED_LINES, POSITION_CHANGES, &options);
	else
		http_reply_problem(req, problem, message, STR_NONE);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/snapshot", SCOPE_CHANGES_READ, false, true, 0, get_snapshot},
};

int snapshot_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
