#include "api/api_world.h"
#include "api/feed_http.h"
#include "profile/erase.h"
#include "profile/scan.h"

static struct world world;

static int setup(void **state)
{
	(void)state;
	world_start(&world, "20s");
	world_fold(&world);
	return 0;
}

static int setup_with_short_heartbeat(void **state)
{
	world_heartbeat_ms = 50;
	return setup(state);
}

static int teardown(void **state)
{
	world_heartbeat_ms = 0;
	(void)state;
	world_stop(&world);
	return 0;
}

/* ── a reader of text/event-stream ───────────────────────────────────────── */

struct stream {
	int fd;
	struct buf in; /* as received: the framing's chunk sizes are lines of their own and are passed over */
	int status;
	char id[64], event[32], data[4096];
};

static void fill(struct stream *stream)
{
	char *room;
	assert_true(client_has_answer(stream->fd, 20000));
	assert_int_equal(buf_reserve(&stream->in, 65536, &room), OK);
	ssize_t got = recv(stream->fd, room, 65536, 0);
	if (got <= 0) fail_msg("the stream ended");
	buf_commit(&stream->in, (size_t)got);
}

static void next_line(struct stream *stream, char *out, size_t size)
{
	const char *end;
	while (!stream->in.len || !(end = memchr(buf_ptr(&stream->in), '\n', stream->in.len))) fill(stream);
	size_t len = (size_t)(end - buf_ptr(&stream->in)), keep = len < size ? len : size - 1;
	memcpy(out, buf_ptr(&stream->in), keep);
	while (keep && out[keep - 1] == '\r') keep--;
	out[keep] = '\0';
	buf_consume(&stream->in, len + 1);
}

static void stream_open(struct stream *stream, const char *path, const char *token, const char *last_id)
{
	char headers[256], line[4096];
	memset(stream, 0, sizeof *stream);
	buf_init(&stream->in, 64 << 20);
	stream->fd = client_connect(&world);
	(void)snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n%s%s%s", token,
		       last_id ? "Last-Event-ID: " : "", last_id ? last_id : "", last_id ? "\r\n" : "");
	client_send(stream->fd, "GET", path, headers, NULL);
	next_line(stream, line, sizeof line);
	stream->status = atoi(line + 9);
	do next_line(stream, line, sizeof line);
	while (*line);
}

/* HTTP/1.0: an answer without chunk framing, so that lines are the stream's own. */
static void stream_open_plain(struct stream *stream, const char *path, const char *last_id)
{
	char text[1024], line[4096];
	memset(stream, 0, sizeof *stream);
	buf_init(&stream->in, 64 << 20);
	stream->fd = client_connect(&world);
	int len = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nAuthorization: Bearer " READER "\r\n%s%s%s\r\n", path,
			   last_id ? "Last-Event-ID: " : "", last_id ? last_id : "", last_id ? "\r\n" : "");
	assert_int_equal(send(stream->fd, text, (size_t)len, MSG_NOSIGNAL), len);
	next_line(stream, line, sizeof line);
	stream->status = atoi(line + 9);
	do next_line(stream, line, sizeof line);
	while (*line);
}

static void stream_close(struct stream *stream)
{
	close(stream->fd);
	buf_fini(&stream->in);
}

/* The next message; one without data (the greeting, a heartbeat) has an empty event name. */
static void next_message(struct stream *stream)
{
	char line[4096];
	stream->event[0] = stream->data[0] = '\0';
	bool has_any = false;
	for (;;) {
		next_line(stream, line, sizeof line);
		if (!*line && has_any) return;
		if (strncmp(line, "id: ", 4) == 0) (void)snprintf(stream->id, sizeof stream->id, "%.60s", line + 4);
		if (strncmp(line, "event: ", 7) == 0)
			(void)snprintf(stream->event, sizeof stream->event, "%.30s", line + 7);
		if (strncmp(line, "data: ", 6) == 0) (void)snprintf(stream->data, sizeof stream->data, "%s", line + 6);
		has_any = has_any || *line;
	}
}

static void next_change(struct stream *stream)
{
	do next_message(stream);
	while (!stream->event[0]);
}

static void identify(const char *user, const char *trait, const char *value)
{
	char message[512], position[128];
	(void)snprintf(message, sizeof message,
		       "{\"batch\":[{\"type\":\"identify\",\"userId\":\"%s\",\"traits\":{\"%s\":\"%s\"}}]}", user,
		       trait, value);
	track(&world, message, position);
	struct reply reply = ask_after(&world, "/v1/profiles/user_id:nobody", READER, position);
	assert_int_equal(reply.status, 404);
	reply_free(&reply);
}

static void a_subscriber_sees_what_happens_from_now_on(void **state)
{
	(void)state;
	struct stream stream;
	identify("before", "plan", "old");
	stream_open_plain(&stream, "/v1/changes?kind=trait", NULL);
	assert_int_equal(stream.status, 200);
	next_message(&stream); /* the greeting carries an id to resume from */
	assert_true(strlen(stream.id) > 10 && !stream.event[0]);
	identify("after", "plan", "new");
	next_change(&stream);
	assert_string_equal(stream.event, "trait");
	assert_non_null(strstr(stream.data, "{\"kind\":\"trait\",\"profile\":\""));
	assert_non_null(strstr(stream.data, "\"position\":\""));
	assert_non_null(strstr(stream.data, "\"at\":\""));
	assert_non_null(strstr(stream.data, "\"traits\":{\"plan\":{\"value\":\"new\""));
	stream_close(&stream);
}

static void resuming_shows_each_change_once(void **state)
{
	(void)state;
	char user[32], ids[20][64];
	struct stream stream, resumed;
	for (int i = 0; i < 20; i++) {
		(void)snprintf(user, sizeof user, "u%d", i);
		identify(user, "plan", user);
	}
	stream_open_plain(&stream, "/v1/changes?since=start&kind=trait", NULL);
	for (int i = 0; i < 20; i++) {
		next_change(&stream);
		memcpy(ids[i], stream.id, sizeof ids[i]);
		(void)snprintf(user, sizeof user, "\"u%d\"", i);
		assert_non_null(strstr(stream.data, user));
	}
	stream_close(&stream);
	char path[256];
	(void)snprintf(path, sizeof path, "/v1/changes?kind=trait&since=%s", ids[7]);
	/* By query, by header, and the header wins over the query. */
	for (int way = 0; way < 3; way++) {
		stream_open_plain(&resumed,
				  way == 0   ? path
				  : way == 1 ? "/v1/changes?kind=trait"
					     : "/v1/changes?kind=trait&since=start",
				  way == 0 ? NULL : ids[7]);
		for (int i = 8; i < 20; i++) {
			next_change(&resumed);
			assert_string_equal(resumed.id, ids[i]);
		}
		stream_close(&resumed);
	}
}

static void filters_pass_over_the_rest(void **state)
{
	(void)state;
	struct stream stream;
	stream_open_plain(&stream, "/v1/changes?trait=plan", NULL);
	next_message(&stream);
	identify("u1", "city", "Riga");
	identify("u1", "plan", "free");
	next_change(&stream);
	assert_string_equal(stream.event, "trait");
	assert_non_null(strstr(stream.data, "\"traits\":{\"plan\":{\"value\":\"free\""));
	assert_null(strstr(stream.data, "Riga"));
	stream_close(&stream);
}

static void assert_refused(const char *path, const char *last_id, int status)
{
	struct stream stream;
	stream_open(&stream, path, READER, last_id);
	assert_int_equal(stream.status, status);
	stream_close(&stream);
}

static void cursors_that_are_none_are_refused(void **state)
{
	(void)state;
	char text[POSITION_TEXT_SIZE], path[256];
	uint64_t epoch = journal_epoch(world.journal);
	position_format(POSITION_CHANGES, (struct position){epoch + 1, 0}, text);
	assert_refused("/v1/changes", text, 410);
	position_format(POSITION_JOURNAL, (struct position){epoch, 0}, text);
	assert_refused("/v1/changes", text, 400);
	position_format(POSITION_CHANGES, (struct position){epoch, UINT64_MAX / 2}, text);
	(void)snprintf(path, sizeof path, "/v1/changes?since=%s", text);
	assert_refused(path, NULL, 400);
	assert_refused("/v1/changes?since=garbage", NULL, 400);
	assert_refused("/v1/changes?kind=everything", NULL, 400);
}

/* Twenty consumers that never read while megabytes go by: another one still gets every change, and stopping the daemon
 * with all of them open is clean. */
static void lazy_consumers_delay_nobody(void **state)
{
	(void)state;
	struct stream lazy[20], busy;
	struct buf batch;
	char position[128];
	static char value[2001];
	memset(value, 'x', sizeof value - 1);
	for (size_t i = 0; i < COUNT_OF(lazy); i++) stream_open_plain(&lazy[i], "/v1/changes", NULL);
	stream_open_plain(&busy, "/v1/changes?kind=profile", NULL);
	next_message(&busy);
	buf_init(&batch, 4 << 20);
	for (int b = 0; b < 5; b++) {
		buf_clear(&batch);
		assert_int_equal(buf_append_str(&batch, STR("{\"batch\":[")), OK);
		for (int i = 0; i < 200; i++)
			assert_int_equal(
			    buf_printf(&batch,
				       "%s{\"type\":\"identify\",\"userId\":\"p%d-%d\",\"traits\":{\"t\":\"%s\"}}",
				       i ? "," : "", b, i, value),
			    OK);
		assert_int_equal(buf_append(&batch, "]}", 3), OK);
		track(&world, buf_ptr(&batch), position);
	}
	for (int i = 0; i < 1000; i++) next_change(&busy);
	assert_string_equal(busy.event, "profile");
	buf_fini(&batch);
	stream_close(&busy);
	/* Half of them leave first, the rest is there when everything ends. */
	for (size_t i = 0; i < COUNT_OF(lazy); i += 2) close(lazy[i].fd);
	struct reply reply = ask(&world, "GET", "/healthz", NULL, NULL);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	for (size_t i = 0; i < COUNT_OF(lazy); i++) buf_fini(&lazy[i].in);
	for (size_t i = 1; i < COUNT_OF(lazy); i += 2) close(lazy[i].fd);
}

static void a_head_request_opens_no_stream(void **state)
{
	(void)state;
	struct reply reply = ask(&world, "HEAD", "/v1/changes", READER, NULL);
	assert_int_equal(reply.status, 200);
	assert_true(has_text(reply.head, "text/event-stream"));
	reply_free(&reply);
}

/* A proxy must see bytes now and then, and a client whose filter passes nothing must get on: once its position has moved, the comment
 * brings an id. */
static void silent_streams_beat(void **state)
{
	(void)state;
	struct stream stream;
	char line[4096], first[64];
	stream_open_plain(&stream, "/v1/changes?kind=merged", NULL);
	next_message(&stream);
	memcpy(first, stream.id, sizeof first);
	do next_line(&stream, line, sizeof line);
	while (!*line);
	assert_string_equal(line, ": heartbeat");
	next_line(&stream, line, sizeof line);
	assert_string_equal(line, ""); /* nothing new: no id */
	identify("somebody", "plan", "free");
	do next_message(&stream);
	while (strcmp(stream.id, first) == 0);
	assert_string_equal(stream.event, "");
	stream_close(&stream);
	assert_refused("/v1/changes", stream.id, 200);
}

static void a_cursor_behind_retention_is_gone(void **state)
{
	(void)state;
	struct stream stream;
	char path[256];
	for (int i = 0; i < 3; i++) identify(i == 0 ? "u0" : i == 1 ? "u1" : "u2", "plan", "free");
	stream_open_plain(&stream, "/v1/changes?since=start", NULL);
	next_change(&stream);
	stream_close(&stream);
	assert_refused("/v1/changes", stream.id, 200);
	/* What the fold does when they are old, done here while it stands. */
	fold_stop(world.fold);
	world.is_folding = false;
	assert_int_equal(people_begin(world.people), OK);
	assert_int_equal(people_trim(world.people, 0, INT64_MAX, 1000), OK);
	assert_int_equal(people_commit(world.people, people_applied(world.people), clock_wall_us()), OK);
	(void)snprintf(path, sizeof path, "/v1/changes?since=%s", stream.id);
	struct reply reply = ask(&world, "GET", path, READER, NULL);
	assert_int_equal(reply.status, 410);
	assert_true(has_text(reply.body, "\"code\":\"gone\""));
	assert_false(has_text(reply.head, "Retry-After")); /* asking again is in vain */
	reply_free(&reply);
	assert_refused("/v1/changes?since=start", NULL, 200);
	assert_refused("/v1/changes", NULL, 200);
}

/* What retention passed is seen, refused, and over once the cursor was moved on. */
static void a_subscription_behind_retention_has_expired(void **state)
{
	(void)state;
	char body[256];
	struct reply reply = ask(&world, "PUT", "/v1/subscriptions/crm", READER, "{}");
	assert_int_equal(reply.status, 201);
	assert_true(has_text(reply.body, "\"expired\":false"));
	reply_free(&reply);
	for (int i = 0; i < 3; i++) identify(i == 0 ? "u0" : i == 1 ? "u1" : "u2", "plan", "free");
	fold_stop(world.fold);
	world.is_folding = false;
	assert_int_equal(people_begin(world.people), OK);
	assert_int_equal(people_trim(world.people, 0, INT64_MAX, 1000), OK);
	assert_int_equal(people_commit(world.people, people_applied(world.people), clock_wall_us()), OK);
	reply = ask(&world, "GET", "/v1/subscriptions/crm", READER, NULL);
	assert_int_equal(reply.status, 200);
	assert_true(has_text(reply.body, "\"expired\":true"));
	(void)snprintf(body, sizeof body, "\"gap\":%llu", (unsigned long long)people_last_change(world.people));
	assert_true(has_text(reply.body, body));
	reply_free(&reply);
	reply = ask(&world, "GET", "/v1/changes?subscription=crm", READER, NULL);
	assert_int_equal(reply.status, 410);
	assert_true(has_text(reply.body, "snapshot"));
	reply_free(&reply);
	char text[POSITION_TEXT_SIZE];
	position_format(POSITION_CHANGES,
			(struct position){journal_epoch(world.journal), people_last_change(world.people)}, text);
	(void)snprintf(body, sizeof body, "{\"cursor\":\"%s\"}", text);
	reply = ask(&world, "POST", "/v1/subscriptions/crm/commit", READER, body);
	assert_int_equal(reply.status, 200);
	reply_free(&reply);
	reply = ask(&world, "GET", "/v1/subscriptions/crm", READER, NULL);
	assert_true(has_text(reply.body, "\"expired\":false"));
	assert_true(has_text(reply.body, "\"expiries\":1"));
	reply_free(&reply);
	assert_refused("/v1/changes?subscription=crm", NULL, 200);
}

/* A running snapshot keeps the changes since its beginning, and no longer than it runs. */
static void a_snapshot_leases_the_changes_since(void **state)
{
	(void)state;
	identify("u0", "plan", "free");
	uint64_t since = people_last_change(world.people);
	int lease = people_lease_changes(world.people, since);
	assert_true(lease >= 0);
	identify("u1", "plan", "free");
	fold_stop(world.fold);
	world.is_folding = false;
	/* Older than retention, younger than retention and the lease's bound. */
	for (int round = 0; round < 2; round++) {
		struct people_reader *reader;
		uint64_t applied;
		assert_int_equal(people_begin(world.people), OK);
		assert_int_equal(people_trim(world.people, 0, clock_wall_us() + PEOPLE_LEASE_US / 2, 1000), OK);
		assert_int_equal(people_commit(world.people, people_applied(world.people), clock_wall_us()), OK);
		assert_int_equal(people_reader_new(world.people, &reader), OK);
		assert_int_equal(people_read_begin(reader, &applied), OK);
		assert_int_equal(people_changes_floor(reader), round == 0 ? since : people_last_change(world.people));
		people_read_end(reader);
		people_reader_free(reader);
		people_end_lease(world.people, lease);
	}
	/* However old: a lease does not hold for ever. */
	int leases[PEOPLE_LEASES];
	for (int i = 0; i < PEOPLE_LEASES; i++) leases[i] = people_lease_changes(world.people, 1);
	assert_int_equal(people_lease_changes(world.people, 1), -1);
	for (int i = 0; i < PEOPLE_LEASES; i++) people_end_lease(world.people, leases[i]);
	assert_true(people_leased(world.people) == UINT64_MAX);
}

/* Live feeds with the same filter, others, and one that joins late: each sees each change once, in order, through many wakes. */
static void live_feeds_share_and_miss_nothing(void **state)
{
	(void)state;
	struct stream streams[24], late;
	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		stream_open_plain(&streams[i],
				  i % 3 == 0   ? "/v1/changes?kind=trait"
				  : i % 3 == 1 ? "/v1/changes?trait=plan"
					       : "/v1/changes?kind=trait,profile",
				  NULL);
		next_message(&streams[i]);
	}
	char user[32];
	for (int n = 0; n < 40; n++) {
		(void)snprintf(user, sizeof user, "u%d", n);
		identify(user, "plan", user);
		if (n == 19) stream_open_plain(&late, "/v1/changes?since=start&trait=plan", NULL);
	}
	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		for (int n = 0; n < 40; n++) {
			do next_change(&streams[i]);
			while (strcmp(streams[i].event, "trait") != 0);
			(void)snprintf(user, sizeof user, "\"u%d\"", n);
			assert_non_null(strstr(streams[i].data, user));
		}
		stream_close(&streams[i]);
	}
	for (int n = 0; n < 40; n++) {
		next_change(&late);
		(void)snprintf(user, sizeof user, "\"u%d\"", n);
		assert_non_null(strstr(late.data, user));
	}
	stream_close(&late);
}

/* Wherever the memory ends: an id whose change is not behind it would lose that change for ever. */
static void a_message_is_whole_or_not_at_all(void **state)
{
	(void)state;
	const struct str line = STR("{\"a\":1}");
	size_t whole = 0, failures = 0;
	for (size_t cap = 5; whole == 0; cap++) {
		struct buf out;
		buf_init(&out, cap);
		assert_int_equal(buf_append_str(&out, STR("older")), OK);
		int rc = feed_message_begin(&out, world.api, POSITION_CHANGES, 7, "trait");
		if (rc == OK) rc = buf_append_str(&out, line);
		rc = feed_message_end(&out, rc, 5);
		if (rc == OK) {
			whole = out.len;
			assert_memory_equal(buf_ptr(&out) + whole - 2, "\n\n", 2);
		} else {
			failures++;
			assert_int_equal(rc, ERR_TOO_LARGE);
			assert_int_equal(out.len, 5);
		}
		buf_fini(&out);
	}
	assert_int_equal(failures, whole - 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_subscriber_sees_what_happens_from_now_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(resuming_shows_each_change_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(filters_pass_over_the_rest, setup, teardown),
	    cmocka_unit_test_setup_teardown(cursors_that_are_none_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(lazy_consumers_delay_nobody, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_head_request_opens_no_stream, setup, teardown),
	    cmocka_unit_test_setup_teardown(silent_streams_beat, setup_with_short_heartbeat, teardown),
	    cmocka_unit_test_setup_teardown(a_cursor_behind_retention_is_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_subscription_behind_retention_has_expired, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_snapshot_leases_the_changes_since, setup, teardown),
	    cmocka_unit_test_setup_teardown(live_feeds_share_and_miss_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_message_is_whole_or_not_at_all, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
