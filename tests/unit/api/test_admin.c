#include "api/api_world.h"

#include "base/json.h"

static struct world world;
static struct json_reader *reader;
static struct buf text;

static int setup(void **state)
{
	(void)state;
	world_start(&world, "20s");
	world_fold(&world);
	buf_init(&text, 32 << 20);
	return json_reader_new(&reader);
}

static int teardown(void **state)
{
	(void)state;
	json_reader_free(reader);
	buf_fini(&text);
	world_stop(&world);
	return 0;
}

static struct json get(const char *path)
{
	struct json root;
	const char *why;
	struct reply reply = ask(&world, "GET", path, ADMIN, NULL);
	if (reply.status != 200) fail_msg("%s: %.*s", path, STR_ARG(buf_str(&reply.text)));
	buf_clear(&text);
	assert_int_equal(buf_append_str(&text, reply.body), OK);
	assert_int_equal(json_parse(reader, buf_str(&text), &root, &why), OK);
	reply_free(&reply);
	return root;
}

static int64_t int_at(struct json root, const char *path)
{
	struct json value;
	int64_t number;
	return json_get_path(root, str_from(path), &value) && json_int(value, &number) ? number : -1;
}

static struct str text_at(struct json root, const char *path)
{
	struct json value;
	struct str out;
	return json_get_path(root, str_from(path), &value) && json_str(value, &out) ? out : STR_NONE;
}

static bool bool_at(struct json root, const char *path)
{
	struct json value;
	bool flag = false;
	return json_get_path(root, str_from(path), &value) && json_bool(value, &flag) && flag;
}

static struct json item_at(struct json root, const char *list, size_t index)
{
	struct json items, item = {0};
	struct json_iter it;
	assert_true(json_get(root, str_from(list), &items));
	json_iter_start(items, &it);
	for (size_t i = 0; i <= index; i++)
		if (!json_next_element(&it, &item)) fail_msg("%s has only %zu items", list, i);
	return item;
}

static size_t count_at(struct json root, const char *list)
{
	struct json items;
	assert_true(json_get(root, str_from(list), &items));
	return json_count(items);
}

/* Two applied, one duplicate, one conflict, one refused before the journal. */
static void send_all_kinds(void)
{
	char position[128];
	track(&world,
	      "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\",\"messageId\":\"one\"},"
	      "{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"B\",\"messageId\":\"two\"}]}",
	      position);
	track(&world,
	      "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\",\"messageId\":\"one\"},"
	      "{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"C\",\"messageId\":\"two\"},"
	      "{\"type\":\"track\",\"event\":\"D\",\"messageId\":\"nobody\"}]}",
	      position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:u1", READER, position);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
}

static void every_event_is_accounted_for(void **state)
{
	(void)state;
	struct json root = get("/v1/admin/status");
	assert_true(bool_at(root, "balanced"));
	assert_int_equal(int_at(root, "events.received"), 0);
	send_all_kinds();
	root = get("/v1/admin/status");
	assert_int_equal(int_at(root, "events.received"), 5);
	assert_int_equal(int_at(root, "events.applied"), 2);
	assert_int_equal(int_at(root, "events.duplicate"), 1);
	assert_int_equal(int_at(root, "events.rejected"), 2);
	assert_int_equal(int_at(root, "events.conflict"), 1);
	assert_int_equal(int_at(root, "events.pending"), 0);
	assert_true(bool_at(root, "balanced"));
	assert_int_equal(int_at(root, "journal.rejectedBy.missing_identity"), 1);
	assert_int_equal(int_at(root, "fold.pending"), 0);
	assert_true(bool_at(root, "fold.ready"));
	assert_true(text_at(root, "version").len > 0 && text_at(root, "journal.position").len > 0);
	assert_true(int_at(root, "memory.residentBytes") > 0);
	assert_int_equal(text_at(root, "journal.refusal").len, 0);
}

static void the_balance_holds_while_events_pour_in(void **state)
{
	(void)state;
	char position[128];
	for (int i = 0; i < 30; i++) {
		track(&world,
		      "{\"batch\":[{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"A\"},{\"type\":\"page\","
		      "\"userId\":\"u2\"},{\"type\":\"nothing\"}]}",
		      position);
		struct json root = get("/v1/admin/status");
		assert_true(bool_at(root, "balanced"));
		assert_int_equal(int_at(root, "events.received"), 3 * (i + 1));
	}
}

static void rejects_of_both_stages_are_listed_newest_first(void **state)
{
	(void)state;
	send_all_kinds();
	struct json root = get("/v1/admin/rejects");
	assert_int_equal(count_at(root, "rejects"), 2);
	bool has_ingest = false, has_fold = false;
	for (size_t i = 0; i < 2; i++) {
		struct json row = item_at(root, "rejects", i);
		if (str_eq(text_at(row, "stage"), STR("ingest"))) {
			has_ingest = str_eq(text_at(row, "code"), STR("missing_identity")) &&
				     str_eq(text_at(row, "messageId"), STR("nobody")) &&
				     text_at(row, "excerpt").len > 0;
		} else {
			has_fold = str_eq(text_at(row, "code"), STR("conflict")) &&
				   str_eq(text_at(row, "messageId"), STR("two")) && text_at(row, "position").len > 0;
		}
	}
	assert_true(has_ingest && has_fold);
	assert_int_equal(text_at(root, "next").len, 0);
	assert_int_equal(count_at(get("/v1/admin/rejects?stage=fold"), "rejects"), 1);
	assert_int_equal(count_at(get("/v1/admin/rejects?stage=ingest"), "rejects"), 1);
}

static void rejects_are_paged_without_loss(void **state)
{
	(void)state;
	char message[256], position[128] = "", path[256] = "/v1/admin/rejects?limit=4";
	bool seen_ingest[15] = {false}, seen_fold[15] = {false};
	size_t pages = 0, rows = 0;
	for (int i = 0; i < 15; i++) {
		(void)snprintf(message, sizeof message,
			       "{\"batch\":[{\"type\":\"track\",\"event\":\"x\",\"messageId\":\"i%d\"},{\"type\":"
			       "\"track\",\"userId\":\"u\",\"event\":\"A\","
			       "\"messageId\":\"f%d\"}]}",
			       i, i);
		track(&world, message, position);
		(void)snprintf(
		    message, sizeof message,
		    "{\"batch\":[{\"type\":\"track\",\"userId\":\"u\",\"event\":\"B\",\"messageId\":\"f%d\"}]}", i);
		track(&world, message, position);
	}
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:u", READER, position);
	reply_free(&reply);
	for (; path[0] && pages < 50; pages++) {
		struct json root = get(path);
		size_t count = count_at(root, "rejects");
		assert_true(count <= 4);
		for (size_t i = 0; i < count; i++, rows++) {
			struct str id = text_at(item_at(root, "rejects", i), "messageId");
			size_t n = (size_t)atoi(id.ptr + 1);
			bool *seen = id.ptr[0] == 'i' ? &seen_ingest[n] : &seen_fold[n];
			assert_false(*seen);
			*seen = true;
		}
		struct str next = text_at(root, "next");
		if (next.len)
			(void)snprintf(path, sizeof path, "/v1/admin/rejects?limit=4&cursor=%.*s", STR_ARG(next));
		else
			path[0] = '\0';
	}
	assert_int_equal(rows, 30);
	assert_true(pages >= 8 && pages < 50);
}

/* ── trace ───────────────────────────────────────────────────────────────── */

static void a_trace_tells_where_an_event_went(void **state)
{
	(void)state;
	send_all_kinds();
	struct json root = get("/v1/admin/trace?message_id=nobody");
	assert_true(bool_at(root, "found"));
	assert_int_equal(count_at(root, "events"), 0);
	assert_true(str_eq(text_at(item_at(root, "rejects", 0), "code"), STR("missing_identity")));

	root = get("/v1/admin/trace?message_id=one&source=web");
	assert_int_equal(count_at(root, "events"), 2);
	struct json copy = item_at(root, "events", 0), original = item_at(root, "events", 1);
	assert_true(str_eq(text_at(copy, "outcome.verdict"), STR("duplicate")));
	assert_true(str_eq(text_at(original, "outcome.verdict"), STR("applied")));
	assert_true(str_eq(text_at(copy, "outcome.duplicateOf"), text_at(original, "position")));
	assert_int_equal(text_at(original, "profile").len, 32);

	root = get("/v1/admin/trace?message_id=two");
	assert_true(str_eq(text_at(item_at(root, "events", 0), "outcome.verdict"), STR("conflict")));

	root = get("/v1/admin/trace?message_id=one&source=other");
	assert_false(bool_at(root, "found"));
	root = get("/v1/admin/trace?message_id=never");
	assert_false(bool_at(root, "found"));
	assert_true(int_at(root, "scanned") >= 4);
	assert_int_equal(text_at(root, "next").len, 0);
}

static void a_trace_finds_what_lies_far_back(void **state)
{
	(void)state;
	char position[128];
	struct buf batch;
	track(&world, "{\"batch\":[{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"messageId\":\"needle\"}]}",
	      position);
	buf_init(&batch, 1 << 20);
	for (int b = 0; b < 2; b++) {
		buf_clear(&batch);
		assert_int_equal(buf_append_str(&batch, STR("{\"batch\":[")), OK);
		for (int i = 0; i < 1000; i++)
			assert_int_equal(
			    buf_printf(
				&batch,
				"%s{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"messageId\":\"needle%d-%d\"}",
				i ? "," : "", b, i),
			    OK);
		assert_int_equal(buf_append(&batch, "]}", 3), OK);
		track(&world, buf_ptr(&batch), position);
	}
	buf_fini(&batch);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:u", READER, position);
	reply_free(&reply);
	struct json root = get("/v1/admin/trace?message_id=needle");
	assert_int_equal(count_at(root, "events"), 1);
	assert_true(int_at(root, "scanned") > 2000);
}

static void a_trace_needs_a_message_id(void **state)
{
	(void)state;
	struct reply reply = ask(&world, "GET", "/v1/admin/trace", ADMIN, NULL);
	assert_int_equal(reply.status, 400);
	reply_free(&reply);
}

/* ── the rest ────────────────────────────────────────────────────────────── */

static void sources_show_no_keys(void **state)
{
	(void)state;
	struct reply reply = ask(&world, "GET", "/v1/admin/sources", ADMIN, NULL);
	assert_int_equal(reply.status, 200);
	assert_true(has_text(reply.body, "\"id\":\"web\"") && has_text(reply.body, "\"writeKeys\":1") &&
		    has_text(reply.body, "\"alias\""));
	assert_false(has_text(reply.body, WRITER));
	reply_free(&reply);
	assert_int_equal(count_at(get("/v1/admin/plugins"), "plugins"), 0);
	assert_int_equal(count_at(get("/v1/admin/destinations"), "destinations"), 0);
}

static void a_clock_that_is_not_held_needs_no_word(void **state)
{
	(void)state;
	struct reply reply = ask(&world, "POST", "/v1/admin/clock/confirm", ADMIN, "");
	assert_int_equal(reply.status, 404);
	reply_free(&reply);
}

static void the_tail_shows_verdicts_live(void **state)
{
	(void)state;
	struct buf in;
	char *room;
	buf_init(&in, 1 << 20);
	int fd = client_connect(&world);
	client_send(fd, "GET", "/v1/admin/tail", "Authorization: Bearer " ADMIN "\r\n", NULL);
	while (!in.len || !has_text(buf_str(&in), ": connected")) {
		assert_true(client_has_answer(fd, 20000));
		assert_int_equal(buf_reserve(&in, 65536, &room), OK);
		buf_commit(&in, (size_t)recv(fd, room, 65536, 0));
	}
	send_all_kinds();
	while (!has_text(buf_str(&in), "event: applied\n") || !has_text(buf_str(&in), "event: duplicate\n") ||
	       !has_text(buf_str(&in), "event: conflict\n")) {
		assert_true(client_has_answer(fd, 20000));
		assert_int_equal(buf_reserve(&in, 65536, &room), OK);
		buf_commit(&in, (size_t)recv(fd, room, 65536, 0));
	}
	assert_true(has_text(buf_str(&in), "\"messageId\":\"one\""));
	assert_true(has_text(buf_str(&in), "\"outcome\":{\"verdict\":\"applied\""));
	close(fd);
	buf_fini(&in);
}

/* Clients that ask for work of the read threads and leave at once: AddressSanitizer watches what they leave behind. */
static void clients_that_leave_are_forgotten(void **state)
{
	(void)state;
	static const char *const paths[] = {"/v1/admin/trace?message_id=never", "/v1/admin/status", "/v1/admin/rejects",
					    "/v1/admin/tail"};
	send_all_kinds();
	for (int i = 0; i < 200; i++) {
		const struct linger at_once = {.l_onoff = 1};
		int fd = client_connect(&world);
		client_send(fd, "GET", paths[i % 4], "Authorization: Bearer " ADMIN "\r\n", NULL);
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
		close(fd);
	}
	assert_true(bool_at(get("/v1/admin/status"), "balanced"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_event_is_accounted_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_balance_holds_while_events_pour_in, setup, teardown),
	    cmocka_unit_test_setup_teardown(rejects_of_both_stages_are_listed_newest_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(rejects_are_paged_without_loss, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_trace_tells_where_an_event_went, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_trace_finds_what_lies_far_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_trace_needs_a_message_id, setup, teardown),
	    cmocka_unit_test_setup_teardown(sources_show_no_keys, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_clock_that_is_not_held_needs_no_word, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_tail_shows_verdicts_live, setup, teardown),
	    cmocka_unit_test_setup_teardown(clients_that_leave_are_forgotten, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
