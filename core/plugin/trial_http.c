/* The web of a trial: no network. Requests are answered from a file, one JSON object a line:
 *
 *	{"url": "https://api.example/v1*", "method": "GET", "status": 200, "headers": {"retry-after": "5"}, "body": {…} or "text"}
 *	{"url": "*", "error": "timeout"}                     or "io", "denied"
 *
 * The first line whose url (with * for anything) and method fit answers. What no line fits fails with CDPD_ERR_IO. All of it is told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugin/http.h"
#include "plugin/trial_internal.h"

#define LINE_BYTES_MAX  ((size_t)4 << 20)
#define ANSWER_HEADERS  16
#define ASKED_SHOWN     20
#define REQUESTS_AT_ONE 1024

struct web_answer {
	struct web_answer *next;
	struct str url, method, body; /* empty method: any */
	int status, error;
	int64_t retry_after_ms;
	struct cdpd_http_header headers[ANSWER_HEADERS];
	size_t header_count;
};

struct web_request {
	struct web_request *next;
	const struct web_answer *answer; /* NULL: nobody */
	size_t max_body;
	cdpd_http_fn done;
	void *ctx;
};

struct asked { /* one address, however often */
	struct str what;
	uint64_t times;
	bool is_answered;
};

struct trial_web {
	struct web_answer *answers;
	struct web_request *first, **last;
	size_t waiting;
	struct asked asked[ASKED_SHOWN];
	size_t asked_count;
	uint64_t requests, answered;
};
static struct trial_run *current; /* the host's functions have no context of ours; one trial a process */

int trial_copy(struct trial_run *run, struct str text, struct str *out)
{
	return text.len ? arena_str(&run->arena, text, out) : (*out = STR_NONE, OK);
}

int trial_read_lines(struct trial_run *run, const char *path,
		     int (*take)(struct trial_run *run, struct json root, unsigned line))
{
	size_t size = 0;
	unsigned number = 0;
	char *line = NULL;
	int rc = OK;
	FILE *file = fopen(path, "re");
	if (!file) {
		trial_find(run, "%s: %s", path, strerror(errno));
		return ERR_INVALID;
	}
	for (ssize_t len; rc == OK && (len = getline(&line, &size, file)) >= 0;) {
		struct json root;
		struct buf padded;
		const char *why;
		number++;
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
		if (len == 0) continue;
		buf_init(&padded, LINE_BYTES_MAX);
		rc = buf_append(&padded, line, (size_t)len);
		if (rc == OK &&
		    (json_parse(run->reader, buf_str(&padded), &root, &why) || json_type(root) != JSON_OBJECT))
			trial_find(run, "%s:%u: not a JSON object; the line is passed over", path, number);
		else if (rc == OK)
			rc = take(run, root, number);
		buf_fini(&padded);
	}
	free(line);
	(void)fclose(file);
	return rc;
}

/* ── the file ────────────────────────────────────────────────────────────── */

static int error_named(struct str name)
{
	if (str_eq(name, STR("timeout"))) return CDPD_ERR_TIMEOUT;
	return str_eq(name, STR("denied")) ? CDPD_ERR_DENIED : CDPD_ERR_IO;
}

static int take_text(struct trial_run *run, struct json root, const char *name, struct str *out)
{
	struct json value;
	struct str text;
	*out = STR_NONE;
	if (!json_get(root, str_from(name), &value)) return OK;
	if (json_str(value, &text)) return trial_copy(run, text, out);
	struct buf buf;
	buf_init(&buf, LINE_BYTES_MAX);
	int rc = json_write(&buf, value);
	if (rc == OK) rc = trial_copy(run, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

static int take_headers(struct trial_run *run, struct json root, struct web_answer *answer)
{
	struct json headers, value;
	struct json_iter it;
	struct str key, text, copy;
	if (!json_get(root, STR("headers"), &headers)) return OK;
	json_iter_start(headers, &it);
	while (json_next_member(&it, &key, &value) && answer->header_count < ANSWER_HEADERS) {
		if (!json_str(value, &text)) continue;
		struct cdpd_http_header *header = &answer->headers[answer->header_count++];
		if (trial_copy(run, key, &copy)) return ERR_NOMEM;
		header->name = sdk_str(copy);
		if (trial_copy(run, text, &copy)) return ERR_NOMEM;
		header->value = sdk_str(copy);
		if (str_eq(key, STR("retry-after"))) answer->retry_after_ms = strtoll(copy.ptr, NULL, 10) * 1000;
	}
	return OK;
}

static int take_answer(struct trial_run *run, struct json root, unsigned line)
{
	struct web_answer *answer = arena_new(&run->arena, struct web_answer), **at = &run->web->answers;
	struct json value;
	struct str name;
	int64_t status = 200;
	if (!answer) return ERR_NOMEM;
	*answer = (struct web_answer){.retry_after_ms = -1};
	int rc = take_text(run, root, "url", &answer->url);
	if (rc == OK) rc = take_text(run, root, "method", &answer->method);
	if (rc == OK) rc = take_text(run, root, "body", &answer->body);
	if (rc == OK) rc = take_headers(run, root, answer);
	if (json_get(root, STR("status"), &value)) (void)json_int(value, &status);
	if (json_get(root, STR("error"), &value) && json_str(value, &name)) answer->error = error_named(name);
	answer->status = (int)status;
	if (rc == OK && answer->url.len == 0)
		trial_find(run, "%s:%u: an answer needs the 'url' it is for", run->trial->answers, line);
	while (*at) at = &(*at)->next;
	*at = answer;
	return rc;
}

/* `*` stands for anything. */
static bool fits(struct str pattern, struct str text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;
	while (t < text.len) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern.len && pattern.ptr[p] == text.ptr[t]) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*') p++;
	return p == pattern.len;
}

static const struct web_answer *find(const struct trial_web *web, struct str method, struct str url)
{
	const struct web_answer *answer = web->answers;
	while (answer &&
	       !(fits(answer->url, url) && (answer->method.len == 0 || str_eq_nocase(answer->method, method))))
		answer = answer->next;
	return answer;
}

/* ── the host's part ─────────────────────────────────────────────────────── */

static void note(struct trial_run *run, struct str method, struct str url, bool is_answered)
{
	struct trial_web *web = run->web;
	char what[1024];
	struct str copy;
	(void)snprintf(what, sizeof what, "%.*s %.*s", STR_ARG(method), STR_ARG(url));
	web->requests++;
	for (size_t i = 0; i < web->asked_count; i++) {
		if (!str_eq(web->asked[i].what, str_from(what))) continue;
		web->asked[i].times++;
		return;
	}
	if (web->asked_count == ASKED_SHOWN || arena_str(&run->arena, str_from(what), &copy)) return;
	web->asked[web->asked_count++] = (struct asked){copy, 1, is_answered};
}

static int trial_http(struct cdpd_instance *instance, const struct cdpd_http_request *request, cdpd_http_fn done,
		      void *ctx)
{
	struct trial_web *web = current->web;
	struct str method = core_str(request->method), url = core_str(request->url);
	(void)instance;
	if (!done || request->size < sizeof *request || url.len == 0) return CDPD_ERR_INVALID;
	if (web->waiting == REQUESTS_AT_ONE) return CDPD_ERR_BUSY;
	struct web_request *waiting = calloc(1, sizeof *waiting);
	if (!waiting) return CDPD_ERR_NOMEM;
	if (method.len == 0) method = STR("GET");
	*waiting = (struct web_request){.answer = find(web, method, url),
					.max_body = request->max_body ? request->max_body : HTTP_BODY_DEFAULT,
					.done = done,
					.ctx = ctx};
	note(current, method, url, waiting->answer != NULL);
	*web->last = waiting;
	web->last = &waiting->next;
	web->waiting++;
	return CDPD_OK;
}

static int trial_ticket_done(struct cdpd_ticket *ticket, int error, const char *reason)
{
	int rc = plugin_host()->ticket_done(ticket, error, reason);
	if (rc == CDPD_ERR_INVALID) current->tickets_wrong++;
	return rc;
}

static struct web_request *take_request(struct trial_web *web)
{
	struct web_request *request = web->first;
	if (!request) return NULL;
	web->first = request->next;
	if (!web->first) web->last = &web->first;
	web->waiting--;
	return request;
}

bool trial_web_turn(struct trial_run *run)
{
	struct web_request *request = take_request(run->web);
	if (!request) return false;
	const struct web_answer *answer = request->answer;
	struct cdpd_http_response response = {
	    .size = sizeof response, .error = CDPD_ERR_IO, .retry_after_ms = -1, .body = {"", 0}};
	if (answer) {
		response.error = answer->error;
		if (!answer->error && answer->body.len > request->max_body) response.error = CDPD_ERR_TOO_LARGE;
	}
	if (answer && !response.error) {
		response.status = answer->status;
		response.retry_after_ms = answer->retry_after_ms;
		response.body = sdk_str(answer->body);
		response.headers = answer->headers;
		response.header_count = answer->header_count;
	}
	if (answer) run->web->answered++;
	request->done(request->ctx, &response);
	free(request);
	return true;
}

void trial_web_cancel(struct trial_run *run)
{
	const struct cdpd_http_response nothing = {
	    .size = sizeof nothing, .error = CDPD_ERR_IO, .retry_after_ms = -1, .body = {"", 0}};
	struct web_request *request;
	while ((request = take_request(run->web)) != NULL) {
		request->done(request->ctx, &nothing);
		free(request);
	}
}

void trial_web_report(struct trial_run *run)
{
	const struct trial_web *web = run->web;
	if (web->requests == 0) return;
	printf("web: %llu requests, %llu answered%s\n", (unsigned long long)web->requests,
	       (unsigned long long)web->answered,
	       run->trial->answers ? "" : " (there is no network here; see --answers)");
	for (size_t i = 0; i < web->asked_count; i++)
		printf("  %llu x %.*s%s\n", (unsigned long long)web->asked[i].times, STR_ARG(web->asked[i].what),
		       web->asked[i].is_answered ? "" : "  (no answer)");
	if (web->asked_count == ASKED_SHOWN) printf("  …\n");
}

int trial_web_begin(struct trial_run *run)
{
	current = run;
	run->web = arena_new(&run->arena, struct trial_web);
	if (!run->web) return ERR_NOMEM;
	*run->web = (struct trial_web){.answers = NULL};
	run->web->last = &run->web->first;
	run->host = *plugin_host();
	run->host.http = trial_http;
	run->host.ticket_done = trial_ticket_done;
	int rc = run->trial->answers ? trial_read_lines(run, run->trial->answers, take_answer) : OK;
	return rc ? rc : spaces_open(run->folder, SPACES_CACHE_DEFAULT, &run->spaces);
}

void trial_web_end(struct trial_run *run)
{
	spaces_close(run->spaces);
	run->spaces = NULL;
	current = NULL;
}

struct cdpd_instance *trial_instance(struct trial_run *run)
{
	const struct instance_services services = {.spaces = run->spaces, .host = &run->host};
	struct cdpd_instance *instance = NULL;
	trial_at(run, "create", NULL);
	if (instance_new_with(run->plugin, str_from(run->table->name), run->conf, &services, &instance))
		trial_find(run, "create refused the options; the log says why");
	return instance;
}
