#include "api/api_world.h"

#include <semaphore.h>

#include "api/internal.h"
#include "base/json.h"

static struct world world;
static struct json_reader *reader;

static int setup(void **state)
{
	(void)state;
	world_start(&world, "5s");
	world_fold(&world);
	return json_reader_new(&reader);
}

static int teardown(void **state)
{
	(void)state;
	json_reader_free(reader);
	world_stop(&world);
	return 0;
}

static struct json parse(struct reply *reply)
{
	static struct buf text; /* slack behind the text */
	struct json root;
	const char *why;
	buf_fini(&text);
	buf_init(&text, 32 << 20);
	assert_int_equal(buf_append_str(&text, reply->body), OK);
	if (json_parse(reader, buf_str(&text), &root, &why) != OK)
		fail_msg("not JSON (%s): %.*s", why, STR_ARG(reply->body));
	return root;
}

static struct str text_at(struct json root, const char *path)
{
	struct json value;
	struct str text;
	return json_get_path(root, str_from(path), &value) && json_str(value, &text) ? text : STR_NONE;
}

static int64_t int_at(struct json root, const char *path)
{
	struct json value;
	int64_t number;
	return json_get_path(root, str_from(path), &value) && json_int(value, &number) ? number : -1;
}

static void assert_problem(struct reply reply, int status, const char *code)
{
	struct json root = parse(&reply);
	if (reply.status != status || !str_eq(text_at(root, "code"), str_from(code)))
		fail_msg("expected %d %s, got %.*s", status, code, STR_ARG(buf_str(&reply.text)));
	assert_true(str_eq(text_at(root, "error.code"), str_from(code)));
	assert_true(text_at(root, "message").len > 0);
	reply_free(&reply);
}

static void anna(char position[128])
{
	track(&world,
	      "{\"batch\":[{\"type\":\"page\",\"anonymousId\":\"a1\",\"messageId\":\"m1\",\"name\":\"Home\"},"
	      "{\"type\":\"identify\",\"anonymousId\":\"a1\",\"userId\":\"anna\",\"messageId\":\"m2\",\"traits\":{"
	      "\"plan\":\"free\",\"city\":\"Riga\"}},"
	      "{\"type\":\"track\",\"userId\":\"anna\",\"event\":\"Order\",\"messageId\":\"m3\",\"properties\":{"
	      "\"total\":5}},"
	      "{\"type\":\"track\",\"userId\":\"anna\",\"event\":\"Order\",\"messageId\":\"m4\",\"properties\":{"
	      "\"total\":7}}]}",
	      position);
}

/* ── people ──────────────────────────────────────────────────────────────── */

static void a_person_is_read_after_being_written(void **state)
{
	(void)state;
	char position[128], seen[128];
	anna(position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:anna", READER, position);
	assert_int_equal(reply.status, 200);
	struct json root = parse(&reply), list;
	assert_int_equal(text_at(root, "id").len, 32);
	assert_true(str_eq(text_at(root, "traits.plan.value"), STR("free")));
	assert_true(str_eq(text_at(root, "traits.plan.provenance"), STR("observed")));
	assert_true(str_eq(text_at(root, "traits.plan.source"), STR("web")));
	assert_int_equal(int_at(root, "features.events"), 4);
	assert_int_equal(int_at(root, "features.orders"), 2);
	assert_int_equal(int_at(root, "fragments"), 2);
	assert_true(json_get(root, STR("identifiers"), &list) && json_count(list) == 2);
	assert_true(json_get(root, STR("segments"), &list) && json_get(root, STR("consents"), &list));
	reply_header(&reply, "X-Cdpd-Position", seen);
	assert_true(str_eq(text_at(root, "position"), str_from(seen)));
	reply_free(&reply);
	/* That position is itself one to read after. */
	reply = ask_after(&world, "/v1/profiles/anonymous_id:a1", READER, seen);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
}

static void every_reference_leads_to_one_person(void **state)
{
	(void)state;
	char position[128], id[64], path[128];
	anna(position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:anna", READER, position);
	struct json root = parse(&reply);
	(void)snprintf(id, sizeof id, "%.*s", STR_ARG(text_at(root, "id")));
	reply_free(&reply);
	(void)snprintf(path, sizeof path, "/v1/profiles/id:%s", id);
	const char *const paths[] = {path, "/v1/profiles/anonymous_id%3Aa1", "/v1/profiles/user_id:anna/"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		reply = ask(&world, "GET", paths[i], READER, NULL);
		assert_int_equal(reply.status, 200);
		assert_true(str_eq(text_at(parse(&reply), "id"), str_from(id)));
		reply_free(&reply);
	}
}

static void the_parts_of_a_person(void **state)
{
	(void)state;
	static const char *const parts[] = {"traits", "features", "segments", "consents", "identifiers"};
	char position[128], path[128];
	struct json value;
	anna(position);
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		(void)snprintf(path, sizeof path, "/v1/profiles/user_id:anna/%s", parts[i]);
		struct reply reply = ask_after(&world, path, READER, position);
		assert_int_equal(reply.status, 200);
		struct json root = parse(&reply);
		assert_true(json_get(root, str_from(parts[i]), &value));
		assert_true(text_at(root, "now").len > 0 && text_at(root, "position").len > 0 &&
			    text_at(root, "id").len == 32);
		reply_free(&reply);
		(void)snprintf(path, sizeof path, "/v1/profiles/user_id:nobody/%s", parts[i]);
		assert_problem(ask(&world, "GET", path, READER, NULL), 404, "not_found");
	}
}

static void wrong_references_are_told_apart(void **state)
{
	(void)state;
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody", READER, NULL), 404, "not_found");
	assert_problem(ask(&world, "GET", "/v1/profiles/nonsense", READER, NULL), 400, "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/id:xyz", READER, NULL), 400, "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/nonsense/events", READER, NULL), 400, "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody/events", READER, NULL), 404, "not_found");
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody/history", READER, NULL), 404, "not_found");
}

static void lookup_answers_in_the_order_asked(void **state)
{
	(void)state;
	char position[128], path[256];
	struct json list, row, profile;
	struct json_iter it;
	anna(position);
	(void)snprintf(path, sizeof path, "/v1/profiles/lookup?min_position=%s", position);
	struct reply reply =
	    ask(&world, "POST", path, READER, "{\"refs\":[\"user_id:nobody\",\"anonymous_id:a1\",\"junk\"]}");
	assert_int_equal(reply.status, 200);
	struct json root = parse(&reply);
	assert_true(json_get(root, STR("profiles"), &list) && json_count(list) == 3);
	json_iter_start(list, &it);
	assert_true(json_next_element(&it, &row));
	assert_true(str_eq(text_at(row, "ref"), STR("user_id:nobody")) &&
		    str_eq(text_at(row, "code"), STR("not_found")));
	assert_true(json_next_element(&it, &row));
	assert_true(json_get(row, STR("profile"), &profile) && int_at(profile, "features.orders") == 2);
	assert_true(json_next_element(&it, &row));
	assert_true(str_eq(text_at(row, "code"), STR("invalid_parameter")));
	reply_free(&reply);
}

static void lookup_refuses_what_it_cannot_read(void **state)
{
	(void)state;
	struct buf many;
	assert_problem(ask(&world, "POST", "/v1/profiles/lookup", READER, "{"), 400, "invalid_json");
	assert_problem(ask(&world, "POST", "/v1/profiles/lookup", READER, "{}"), 400, "schema_violation");
	assert_problem(ask(&world, "POST", "/v1/profiles/lookup", READER, "{\"refs\":\"user_id:1\"}"), 400,
		       "schema_violation");
	struct reply reply = ask(&world, "POST", "/v1/profiles/lookup", READER, "{\"refs\":[\"user_id:1\",7]}");
	assert_true(str_eq(text_at(parse(&reply), "pointer"), STR("/refs/1")));
	assert_problem(reply, 400, "schema_violation");
	buf_init(&many, 1 << 16);
	assert_int_equal(buf_append_str(&many, STR("{\"refs\":[\"a:b\"")), OK);
	for (int i = 0; i < 100; i++) assert_int_equal(buf_append_str(&many, STR(",\"a:b\"")), OK);
	assert_int_equal(buf_append_str(&many, str_of("]}", 3)), OK);
	assert_problem(ask(&world, "POST", "/v1/profiles/lookup", READER, buf_ptr(&many)), 413, "too_large");
	buf_fini(&many);
}

/* ── events and history ──────────────────────────────────────────────────── */

static void events_come_newest_first_page_by_page(void **state)
{
	(void)state;
	static const char *const order[] = {"m4", "m3", "m2", "m1"};
	char position[128], path[256] = "/v1/profiles/user_id:anna/events?limit=1";
	struct json list, event;
	struct json_iter it;
	anna(position);
	struct reply there = ask_after(&world, "/v1/profiles/user_id:anna", READER, position);
	assert_int_equal(there.status, 200);
	reply_free(&there);
	for (size_t i = 0; i < COUNT_OF(order); i++) {
		struct reply reply = ask(&world, "GET", path, READER, NULL);
		assert_int_equal(reply.status, 200);
		struct json root = parse(&reply);
		assert_true(json_get(root, STR("events"), &list) && json_count(list) == 1);
		json_iter_start(list, &it);
		assert_true(json_next_element(&it, &event));
		assert_true(str_eq(text_at(event, "messageId"), str_from(order[i])));
		assert_true(str_eq(text_at(event, "outcome.verdict"), STR("applied")));
		assert_true(text_at(event, "position").len > 0);
		struct str next = text_at(root, "next");
		assert_int_equal(next.len > 0, i + 1 < COUNT_OF(order));
		(void)snprintf(path, sizeof path, "/v1/profiles/user_id:anna/events?limit=1&cursor=%.*s",
			       STR_ARG(next));
		reply_free(&reply);
	}
}

static void events_are_filtered(void **state)
{
	(void)state;
	char position[128];
	struct json list;
	anna(position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:anna/events?type=page", READER, position);
	assert_true(json_get(parse(&reply), STR("events"), &list) && json_count(list) == 1 &&
		    has_text(reply.body, "\"m1\""));
	reply_free(&reply);
	reply = ask_after(&world, "/v1/profiles/user_id:anna/events?event=Order", READER, position);
	assert_true(json_get(parse(&reply), STR("events"), &list) && json_count(list) == 2 &&
		    has_text(reply.body, "\"total\":7"));
	reply_free(&reply);
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:anna/events?type=purchase", READER, NULL), 400,
		       "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:anna/events?limit=0", READER, NULL), 400,
		       "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:anna/events?limit=501", READER, NULL), 400,
		       "invalid_parameter");
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:anna/events?cursor=junk", READER, NULL), 400,
		       "invalid_parameter");
}

static void history_names_links_and_refusals(void **state)
{
	(void)state;
	char position[128];
	struct json list, row;
	struct json_iter it;
	bool has_link = false, has_refusal = false;
	track(&world,
	      "{\"batch\":[{\"type\":\"identify\",\"anonymousId\":\"tablet\",\"userId\":\"one\",\"traits\":{}},"
	      "{\"type\":\"identify\",\"anonymousId\":\"tablet\",\"userId\":\"two\",\"traits\":{}}]}",
	      position);
	struct reply reply = ask_after(&world, "/v1/profiles/anonymous_id:tablet/history", READER, position);
	assert_int_equal(reply.status, 200);
	assert_true(json_get(parse(&reply), STR("links"), &list));
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		bool is_linked = false;
		struct json flag;
		assert_true(json_get(row, STR("linked"), &flag) && json_bool(flag, &is_linked));
		assert_true(text_at(row, "rule").len > 0 && text_at(row, "position").len > 0 &&
			    text_at(row, "at").len > 0);
		if (is_linked) has_link = true;
		if (!is_linked && text_at(row, "reason").len) has_refusal = true;
	}
	assert_true(has_link && has_refusal);
	reply_free(&reply);
}

/* ── credentials ─────────────────────────────────────────────────────────── */

struct probe {
	size_t probed;
};

/* Every route that names a scope is really asked with no token, a wrong one, and one that lacks the scope. */
static void probe_route(void *ctx, const struct route *route)
{
	struct probe *probe = ctx;
	char path[256];
	enum scope scope;
	if (!scope_from_name(str_from(route->scope), &scope)) return;
	(void)snprintf(path, sizeof path, "%s", route->path);
	for (char *c = path; *c; c++)
		if (*c == '{' || *c == '}') *c = 'x';
	const char *method = route->methods & HTTP_GET      ? "GET"
			     : route->methods & HTTP_PUT    ? "PUT"
			     : route->methods & HTTP_DELETE ? "DELETE"
							    : "POST",
		   *body = route->methods & HTTP_GET ? NULL : "{}";
	const char *lacking = scope == SCOPE_ADMIN ? READER : ADMIN;
	struct reply reply = ask(&world, method, path, NULL, body);
	assert_true(has_text(reply.head, "WWW-Authenticate: Bearer"));
	assert_problem(reply, 401, "unauthorized");
	assert_problem(ask(&world, method, path, "wrong-token", body), 401, "unauthorized");
	assert_problem(ask(&world, method, path, lacking, body), 403, "forbidden");
	(void)strcat(path, "?access_token=" READER);
	assert_problem(ask(&world, method, path, NULL, body), 400, "invalid_parameter");
	probe->probed++;
}

static void no_scoped_route_answers_without_its_scope(void **state)
{
	(void)state;
	struct probe probe = {0};
	router_each(world.router, probe_route, &probe);
	assert_true(probe.probed >= 16);
}

static void public_routes_need_no_token(void **state)
{
	(void)state;
	static const char *const paths[] = {"/healthz", "/readyz", "/metrics", "/openapi.yaml"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		struct reply reply = ask(&world, "GET", paths[i], NULL, NULL);
		assert_int_equal(reply.status, 200);
		if (i == 2)
			assert_true(has_text(reply.body, "cdpd_uptime_seconds") &&
				    has_text(reply.body, "cdpd_build_info{version="));
		if (i == 3)
			assert_true(str_starts(reply.body, STR("openapi: 3")) &&
				    has_text(reply.body, "/v1/profiles/{ref}/events"));
		reply_free(&reply);
	}
	assert_problem(ask(&world, "GET", "/nothing/here", NULL, NULL), 404, "not_found");
}

static void readyz_tells_of_draining(void **state)
{
	(void)state;
	api_set_draining(world.api);
	assert_problem(ask(&world, "GET", "/readyz", NULL, NULL), 503, "shutting_down");
	struct reply reply = ask(&world, "GET", "/healthz", NULL, NULL);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
}

static void a_reload_swaps_tokens(void **state)
{
	(void)state;
	struct reply reply = ask(&world, "GET", "/v1/profiles/user_id:nobody", READER, NULL);
	assert_int_equal(reply.status, 404);
	reply_free(&reply);
	write_file(world.folder, "tokens.yaml", 0600,
		   "tokens:\n  - {name: new, token: another-token-987654, scopes: [\"profiles:read\"]}\n");
	assert_int_equal(api_set_config(world.api, world.config), OK);
	for (int i = 0; i < 8; i++) { /* on whichever io thread */
		assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody", READER, NULL), 401, "unauthorized");
		assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody", "another-token-987654", NULL), 404,
			       "not_found");
	}
	write_file(world.folder, "tokens.yaml", 0600, "tokens: [{name: bad}]\n");
	assert_int_equal(api_set_config(world.api, world.config), ERR_INVALID);
	assert_problem(ask(&world, "GET", "/v1/profiles/user_id:nobody", "another-token-987654", NULL), 404,
		       "not_found");
}

struct stuck_job {
	struct read_job job;
	sem_t *entered, *gate;
};

static void get_stuck(struct read_job *job, struct read_thread *thread)
{
	struct stuck_job *stuck = (struct stuck_job *)job;
	(void)thread;
	sem_post(stuck->entered);
	sem_wait(stuck->gate);
}

static void ignore_done(struct read_job *job)
{
	(void)job;
}

/* Reads that pile up are refused at once and told when to come back; what needs no read thread goes on. */
static void a_full_read_queue_says_when_to_come_back(void **state)
{
	(void)state;
	static struct stuck_job jobs[READ_THREADS + READ_QUEUE_MAX];
	struct read_owner owner;
	struct loop *loop;
	sem_t entered, gate;
	char retry_after[128], position[128];
	track(&world, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}", position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:u/events", READER, position);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	assert_int_equal(loop_new(&loop), OK);
	assert_int_equal(sem_init(&entered, 0, 0), 0);
	assert_int_equal(sem_init(&gate, 0, 0), 0);
	read_owner_init(&owner, loop);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		jobs[i] = (struct stuck_job){
		    .job = {.work = get_stuck, .done = ignore_done}, .entered = &entered, .gate = &gate};
		assert_int_equal(read_pool_submit(world.api->pool, &owner, &jobs[i].job), OK);
		if (i < READ_THREADS) sem_wait(&entered); /* both threads are held before the queue fills */
	}
	const char *const paths[] = {"/v1/profiles/user_id:u/events", "/v1/profiles/user_id:u/history"};
	for (size_t i = 0; i < COUNT_OF(paths); i++) {
		reply = ask(&world, "GET", paths[i], READER, NULL);
		reply_header(&reply, "Retry-After", retry_after);
		assert_string_equal(retry_after, "1");
		assert_problem(reply, 429, "overloaded");
	}
	reply = ask(&world, "GET", "/v1/profiles/user_id:u", READER, NULL);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) sem_post(&gate);
	read_owner_settle(world.api->pool, &owner);
	reply = ask(&world, "GET", paths[0], READER, NULL);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	loop_free(loop);
	sem_destroy(&entered);
	sem_destroy(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_person_is_read_after_being_written, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_reference_leads_to_one_person, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_parts_of_a_person, setup, teardown),
	    cmocka_unit_test_setup_teardown(wrong_references_are_told_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(lookup_answers_in_the_order_asked, setup, teardown),
	    cmocka_unit_test_setup_teardown(lookup_refuses_what_it_cannot_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(events_come_newest_first_page_by_page, setup, teardown),
	    cmocka_unit_test_setup_teardown(events_are_filtered, setup, teardown),
	    cmocka_unit_test_setup_teardown(history_names_links_and_refusals, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_scoped_route_answers_without_its_scope, setup, teardown),
	    cmocka_unit_test_setup_teardown(public_routes_need_no_token, setup, teardown),
	    cmocka_unit_test_setup_teardown(readyz_tells_of_draining, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_read_queue_says_when_to_come_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reload_swaps_tokens, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
