/* A source in a trial: requests from a file, one JSON object a line, and what becomes of each:
 *
 *	{"method": "POST", "path": "/v1/hooks/shop", "query": "a=1", "headers": {"x-signature": "…"}, "body": "raw text" or {…},
 *	 "expect": {"status": 200, "events": 1, "rejects": 0}}
 *
 * Each pass sends the same again, as webhooks are delivered again: the events must have the same ids then. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plugin/decoding.h"
#include "plugin/trial_internal.h"

#define HEADERS_MAX  64
#define BODY_MAX     ((size_t)4 << 20)
#define ITEMS_MAX    2500
#define BYTES_MAX    ((size_t)5 << 20)
#define REQUESTS_MAX 100000

struct hook_request {
	unsigned line;
	struct decoding_request request;
	int64_t status, events, rejects; /* expected; -1: whatever */
	uint64_t ids;                    /* of the events of the first pass, mixed */
};
static struct hook_request *requests;
static size_t request_count, request_room;

/* ── the file ────────────────────────────────────────────────────────────── */

static int take_text(struct trial_run *run, struct json root, const char *name, const char *otherwise, struct str *out)
{
	struct json value;
	struct str text;
	*out = str_from(otherwise);
	return json_get(root, str_from(name), &value) && json_str(value, &text) ? trial_copy(run, text, out) : OK;
}

static int take_body(struct trial_run *run, struct json root, struct str *out)
{
	struct json value;
	struct str text;
	struct buf buf;
	*out = STR_NONE;
	if (!json_get(root, STR("body"), &value)) return OK;
	if (json_str(value, &text)) return trial_copy(run, text, out);
	buf_init(&buf, BODY_MAX);
	int rc = json_write(&buf, value);
	if (rc == OK) rc = trial_copy(run, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

static int take_headers(struct trial_run *run, struct json root, struct decoding_request *request)
{
	struct json list, value;
	struct json_iter it;
	struct str key, text;
	struct decoding_header *headers = arena_array(&run->arena, struct decoding_header, HEADERS_MAX);
	if (!headers) return ERR_NOMEM;
	request->headers = headers;
	if (!json_get(root, STR("headers"), &list)) return OK;
	json_iter_start(list, &it);
	while (json_next_member(&it, &key, &value) && request->header_count < HEADERS_MAX) {
		struct decoding_header *header = &headers[request->header_count];
		if (!json_str(value, &text)) continue;
		if (trial_copy(run, key, &header->name) || trial_copy(run, text, &header->value)) return ERR_NOMEM;
		request->header_count++;
	}
	return OK;
}

static int64_t expected(struct json root, const char *path)
{
	struct json value;
	int64_t number = -1;
	if (json_get_path(root, str_from(path), &value) && !json_int(value, &number)) number = -1;
	return number;
}

static int take_request(struct trial_run *run, struct json root, unsigned line)
{
	if (request_count == REQUESTS_MAX) return OK;
	if (request_count == request_room) {
		size_t room = request_room ? 2 * request_room : 64;
		struct hook_request *more = realloc(requests, room * sizeof *more);
		if (!more) return ERR_NOMEM;
		requests = more;
		request_room = room;
	}
	struct hook_request *hook = &requests[request_count];
	*hook = (struct hook_request){.line = line,
				      .status = expected(root, "expect.status"),
				      .events = expected(root, "expect.events"),
				      .rejects = expected(root, "expect.rejects")};
	hook->request.received_us = clock_wall_us();
	int rc = take_text(run, root, "method", "POST", &hook->request.method);
	if (rc == OK) rc = take_text(run, root, "path", "/v1/hooks/check", &hook->request.path);
	if (rc == OK) rc = take_text(run, root, "query", "", &hook->request.query);
	if (rc == OK) rc = take_text(run, root, "clientIp", "203.0.113.1", &hook->request.client_ip);
	if (rc == OK) rc = take_body(run, root, &hook->request.body);
	if (rc == OK) rc = take_headers(run, root, &hook->request);
	if (rc == OK) request_count++;
	return rc;
}

/* ── what became of one ──────────────────────────────────────────────────── */

struct hook_tally {
	size_t events, rejects, failed, nameless, wrong, changed;
};

static uint64_t mix(uint64_t sum, struct str text)
{
	for (size_t i = 0; i < text.len; i++) sum = (sum ^ (uint8_t)text.ptr[i]) * 0x100000001b3u;
	return sum + text.len + 1;
}

/* Its id; empty: it has none. False: no event at all. */
static bool read_event(struct trial_run *run, struct str text, struct str *id)
{
	struct json root, value;
	const char *why;
	*id = STR_NONE;
	if (json_parse(run->reader, text, &root, &why) || json_type(root) != JSON_OBJECT) return false;
	if (json_get(root, STR("messageId"), &value)) (void)json_str(value, id);
	return true;
}

static void look_at_events(struct trial_run *run, struct hook_request *hook, const struct decoding *decode,
			   bool is_first, struct hook_tally *tally)
{
	uint64_t ids = 14695981039346656037u;
	for (size_t i = 0; i < decode->item_count; i++) {
		const struct decoding_item *item = &decode->items[i];
		struct str id;
		if (item->is_reject) continue;
		if (!read_event(run, item->text, &id)) {
			if (is_first)
				trial_find(run, "%s:%u: it made an event that is no JSON object", run->trial->requests,
					   hook->line);
			continue;
		}
		if (id.len == 0 && is_first) tally->nameless++;
		ids = mix(ids, id);
	}
	if (is_first)
		hook->ids = ids;
	else if (ids != hook->ids)
		tally->changed++;
}

static void print_reply(const struct hook_request *hook, const struct decoding *decode)
{
	if (decode->error) {
		printf("%u: failed (%d)\n", hook->line, decode->error);
		return;
	}
	printf("%u: %d %.*s%s\"%.*s\", %zu events, %zu rejects\n", hook->line, decode->status,
	       STR_ARG(decode->content_type), decode->content_type.len ? " " : "",
	       decode->body.len > 200 ? 200 : (int)decode->body.len, decode->body.ptr, decode->event_count,
	       decode->item_count - decode->event_count);
	for (size_t i = 0; i < decode->header_count; i++)
		printf("  %.*s: %.*s\n", STR_ARG(decode->headers[i].name), STR_ARG(decode->headers[i].value));
	for (size_t i = 0; i < decode->item_count; i++) {
		const struct decoding_item *item = &decode->items[i];
		if (item->is_reject)
			printf("  reject (%.*s): %.*s\n", STR_ARG(item->reason), STR_ARG(item->text));
		else
			printf("  %.*s\n", STR_ARG(item->text));
	}
}

static void expect(struct trial_run *run, const struct hook_request *hook, const char *what, int64_t wanted,
		   int64_t got)
{
	if (wanted >= 0 && wanted != got)
		trial_find(run, "%s:%u: %s %lld, %lld expected", run->trial->requests, hook->line, what, (long long)got,
			   (long long)wanted);
}

static void judge(struct trial_run *run, struct hook_request *hook, const struct decoding *decode, bool is_first,
		  struct hook_tally *tally)
{
	size_t rejects = decode->item_count - decode->event_count;
	if (!decode->error) look_at_events(run, hook, decode, is_first, tally);
	if (!is_first) return;
	tally->failed += decode->error != CDPD_OK;
	tally->events += decode->event_count;
	tally->rejects += rejects;
	if (run->trial->prints_answers) print_reply(hook, decode);
	int64_t status = decode->error == CDPD_ERR_BUSY ? 503 : decode->error ? 500 : decode->status;
	expect(run, hook, "status", hook->status, status);
	expect(run, hook, "events", hook->events, (int64_t)decode->event_count);
	expect(run, hook, "rejects", hook->rejects, (int64_t)rejects);
	if (decode->error && hook->status < 500)
		trial_find(run, "%s:%u: it failed (%d)", run->trial->requests, hook->line, decode->error);
}

static int one(struct trial_run *run, struct cdpd_instance *instance, size_t index, bool is_first,
	       struct hook_tally *tally)
{
	struct hook_request *hook = &requests[index];
	const struct trial_event at = {.line = hook->line};
	struct decoding decode;
	int rc = decoding_begin(&decode, &hook->request, ITEMS_MAX, BYTES_MAX);
	if (rc == OK) {
		trial_at(run, "decode", &at);
		int64_t from = trial_now_ns();
		decoding_run(&decode, instance);
		run->took_ns[index] = trial_now_ns() - from;
		trial_at(run, "between requests", &at);
		judge(run, hook, &decode, is_first, tally);
	}
	decoding_fini(&decode);
	while (trial_web_turn(run)) continue;
	instance_run_timers(instance, clock_mono_us());
	return rc;
}

static int run_passes(struct trial_run *run, struct cdpd_instance *instance)
{
	struct hook_tally tally = {0};
	size_t after_first = 0;
	int rc = OK;
	for (unsigned pass = 0; pass < run->trial->passes && rc == OK; pass++) {
		for (size_t i = 0; i < request_count && rc == OK; i++) rc = one(run, instance, i, pass == 0, &tally);
		if (pass == 0) after_first = trial_heap();
	}
	if (rc) return rc;
	printf("replies: %zu events, %zu rejects, %zu failed\n", tally.events, tally.rejects, tally.failed);
	trial_web_report(run);
	trial_print_times(run, "decode");
	trial_judge_growth(run, after_first, trial_heap(), "held");
	if (tally.nameless)
		trial_find(run, "%zu events have no messageId: a webhook that is delivered again would count twice",
			   tally.nameless);
	if (tally.changed)
		trial_find(run, "%zu times the same request made events with other messageIds", tally.changed);
	return OK;
}

int trial_source(struct trial_run *run)
{
	int64_t *kept = run->took_ns;
	size_t events = run->event_count;
	int rc = trial_web_begin(run);
	if (rc) return rc;
	if (run->trial->requests) rc = trial_read_lines(run, run->trial->requests, take_request);
	/* Times are those of requests now. */
	run->took_ns = calloc(request_count + 1, sizeof *run->took_ns);
	run->event_count = request_count;
	if (rc == OK && !run->took_ns) rc = ERR_NOMEM;
	struct cdpd_instance *instance = rc == OK ? trial_instance(run) : NULL;
	if (rc == OK && !instance) rc = ERR_REFUSED;
	if (rc == OK && request_count) rc = run_passes(run, instance);
	trial_at(run, "destroy", NULL);
	trial_web_cancel(run);
	instance_free(instance);
	trial_web_end(run);
	free(run->took_ns);
	free(requests);
	requests = NULL;
	run->took_ns = kept;
	run->event_count = events;
	return rc;
}
