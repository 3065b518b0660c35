#include "grpc/fake_duplex.h"

#include <event2/event.h>
#include <stdlib.h>

#include "net/router.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)

struct http_request {
	struct arena arena;
};

struct http_duplex {
	const struct http_duplex_events *events;
	void *ctx;
};

struct fake fake;
static struct http_request request;
static struct http_duplex duplex;
static struct loop *loop;
static bool is_open;

/* ── net/http.h ──────────────────────────────────────────────────────────── */

struct str http_header(const struct http_request *req, struct str name)
{
	assert_ptr_equal(req, &request);
	for (size_t i = 0; i < fake.sent_count; i++)
		if (str_eq_nocase(str_from(fake.sent[i].name), name)) return str_from(fake.sent[i].value);
	return STR_NONE;
}

struct arena *http_arena(struct http_request *req)
{
	assert_true(is_open);
	return &req->arena;
}

struct loop *http_loop(const struct http_request *req)
{
	assert_ptr_equal(req, &request);
	return loop;
}

void *http_worker(const struct http_request *req)
{
	assert_ptr_equal(req, &request);
	return NULL;
}

static void note(struct fake_field *fields, size_t *count, struct str name, struct str value)
{
	assert_true(*count < FAKE_FIELDS && name.len < 64 && value.len < 8192);
	memset(&fields[*count], 0, sizeof fields[*count]);
	memcpy(fields[*count].name, name.ptr, name.len);
	memcpy(fields[(*count)++].value, value.ptr, value.len);
}

void http_set_header(struct http_request *req, struct str name, struct str value)
{
	assert_ptr_equal(req, &request);
	assert_false(fake.has_head);
	note(fake.head, &fake.head_count, name, value);
}

static void gone(void)
{
	is_open = false;
	arena_fini(&request.arena);
}

void http_reply_problem(struct http_request *req, enum problem problem, struct str message, struct str pointer)
{
	assert_ptr_equal(req, &request);
	(void)pointer;
	fake.is_http_reply = true;
	fake.http_status = problem_info(problem)->http_status;
	memcpy(fake.http_body, message.ptr, message.len);
	gone();
}

struct http_duplex *http_duplex_begin(struct http_request *req, const struct http_duplex_events *events, void *ctx)
{
	assert_ptr_equal(req, &request);
	assert_false(fake.is_begun);
	duplex = (struct http_duplex){events, ctx};
	fake.is_begun = true;
	return &duplex;
}

static void check(const struct http_duplex *d)
{
	assert_ptr_equal(d, &duplex);
	assert_true(is_open && fake.is_begun);
}

void http_duplex_consume(struct http_duplex *d, size_t len)
{
	check(d);
	fake.consumed += len;
}

void http_duplex_reply(struct http_duplex *d, int status, struct str content_type)
{
	check(d);
	assert_false(fake.has_head);
	assert_int_equal(status, 200);
	assert_true(str_eq(content_type, STR("application/grpc")));
	fake.has_head = true;
}

size_t http_duplex_room(const struct http_duplex *d)
{
	check(d);
	return fake.room;
}

int http_duplex_write(struct http_duplex *d, struct str data)
{
	check(d);
	assert_true(fake.has_head && data.len > 0);
	if (fake.write_status != OK && data.len > fake.busy_above) return fake.write_status;
	if (data.len > fake.room) return ERR_TOO_LARGE;
	fake.room -= data.len;
	assert_int_equal(buf_append_str(&fake.out, data), OK);
	return OK;
}

void http_duplex_end(struct http_duplex *d, struct str content_type, const struct http_trailer *trailers, size_t count)
{
	check(d);
	assert_true(str_eq(content_type, STR("application/grpc")));
	for (size_t i = 0; i < count; i++)
		note(fake.trailers, &fake.trailer_count, trailers[i].name, trailers[i].value);
	fake.is_ended = true;
	gone();
}

void http_duplex_reset(struct http_duplex *d)
{
	check(d);
	fake.is_reset = true;
	gone();
}

/* ── the client ──────────────────────────────────────────────────────────── */

int fake_setup(void **state)
{
	(void)state;
	buf_fini(&fake.out);
	memset(&fake, 0, sizeof fake);
	fake.room = HTTP_STREAM_BUFFER;
	buf_init(&fake.out, OUT_MAX);
	if (!loop) assert_int_equal(loop_new(&loop), OK);
	fake_header("content-type", "application/grpc");
	fake_header("te", "trailers");
	return 0;
}

int fake_teardown(void **state)
{
	(void)state;
	if (is_open) fake_close();
	buf_fini(&fake.out);
	loop_free(loop);
	loop = NULL;
	return 0;
}

void fake_header(const char *name, const char *value)
{
	size_t i = 0;
	while (i < fake.sent_count && strcmp(fake.sent[i].name, name) != 0) i++;
	if (i < fake.sent_count) fake.sent_count = i;
	note(fake.sent, &fake.sent_count, str_from(name), str_from(value));
}

struct search {
	const char *path;
	struct route route;
};

static void look(void *ctx, const struct route *route)
{
	struct search *search = ctx;
	if (strcmp(route->path, search->path) == 0) search->route = *route;
}

void fake_call(struct grpc_server *server, const char *path)
{
	struct search search = {.path = path};
	struct router *router;
	assert_int_equal(router_new(&router), OK);
	assert_int_equal(grpc_register(server, router), OK);
	if (path)
		router_each(router, look, &search);
	else
		search.route = *router_unknown_duplex(router);
	router_free(router);
	assert_non_null(search.route.duplex);
	arena_init(&request.arena, 4096, 1 << 20);
	is_open = true;
	search.route.duplex(&request, search.route.ctx);
}

/* The bytes end where their memory does, so that reading past them is seen. */
void fake_data(const void *data, size_t len)
{
	char *copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, data, len);
	if (is_open) duplex.events->on_data(duplex.ctx, str_of(copy, len));
	free(copy);
}

void fake_message(bool is_compressed, const void *data, size_t len)
{
	char *framed = malloc(len + 5);
	assert_non_null(framed);
	framed[0] = is_compressed;
	framed[1] = (char)(len >> 24);
	framed[2] = (char)(len >> 16);
	framed[3] = (char)(len >> 8);
	framed[4] = (char)len;
	memcpy(framed + 5, data, len);
	fake_data(framed, len + 5);
	free(framed);
}

void fake_end(void)
{
	if (is_open) duplex.events->on_end(duplex.ctx);
}

void fake_drain(size_t room)
{
	fake.room = room;
	if (is_open) duplex.events->on_drain(duplex.ctx);
}

void fake_retire(void)
{
	if (is_open) duplex.events->on_retire(duplex.ctx);
}

void fake_close(void)
{
	fake.had_client_gone = true;
	duplex.events->on_close(duplex.ctx);
	gone();
}

void fake_run_until(bool (*is_true)(void))
{
	while (!is_true()) (void)event_base_loop(loop_base(loop), EVLOOP_ONCE);
}

static const char *find(const struct fake_field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0) return fields[i].value;
	return NULL;
}

const char *fake_trailer(const char *name)
{
	return find(fake.trailers, fake.trailer_count, name);
}

const char *fake_head(const char *name)
{
	return find(fake.head, fake.head_count, name);
}

int fake_status(void)
{
	const char *status = fake_trailer("grpc-status");
	return status ? atoi(status) : -1;
}

bool fake_take(struct str *message, bool *is_compressed)
{
	static char last[OUT_MAX];
	const uint8_t *p = (const uint8_t *)buf_ptr(&fake.out);
	if (fake.out.len < 5) return false;
	size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
	if (fake.out.len < 5 + len) return false;
	*is_compressed = p[0] == 1;
	memcpy(last, p + 5, len);
	buf_consume(&fake.out, 5 + len);
	*message = str_of(last, len);
	return true;
}
