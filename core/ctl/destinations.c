#include "ctl/destinations.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/print.h"

#define FILE_MAX  ((size_t)128 << 10)
#define ORDER_MAX ((size_t)256 << 10)

struct asking {
	struct client *client;
	struct json_reader *reader;
	struct buf *body;
	const struct destinations_options *options;
};

static enum ctl_exit parse(const struct asking *a, struct json *root)
{
	const char *why;
	if (json_parse(a->reader, buf_str(a->body), root, &why) == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: the answer is not JSON (%s)\n", why);
	return CTL_FAILED;
}

static void print_body(const struct asking *a)
{
	(void)fwrite(buf_ptr(a->body), 1, a->body->len, stdout);
	(void)putchar('\n');
}

static enum ctl_exit wrong(const char *what)
{
	(void)fprintf(stderr, "cdpctl: %s; see cdpctl --help\n", what);
	return CTL_USAGE;
}

/* "PREFIX<escaped>SUFFIX", malloc'd. */
static char *path_of(const struct asking *a, const char *prefix, const char *name, const char *suffix)
{
	char *escaped = client_escape(a->client, name), *path = NULL;
	if (!escaped || asprintf(&path, "%s%s%s", prefix, escaped, suffix) < 0) path = NULL;
	free(escaped);
	if (!path) (void)fputs("cdpctl: out of memory\n", stderr);
	return path;
}

static enum ctl_exit post(const struct asking *a, char *path, struct str order, struct json *root)
{
	enum ctl_exit result = path ? client_post_json(a->client, path, order, a->body) : CTL_FAILED;
	free(path);
	return result == CTL_OK ? parse(a, root) : result;
}

static void member(struct json_out *out, const char *key, struct str value)
{
	if (!value.len) return;
	jo_key(out, str_from(key));
	jo_str(out, value);
}

/* ── pause, resume, replay ───────────────────────────────────────────────── */

static enum ctl_exit pause(const struct asking *a, bool is_paused)
{
	struct json root;
	const char *name = a->options->words[1];
	char *path = path_of(a, "/v1/admin/destinations/", name, is_paused ? "/pause" : "/resume");
	enum ctl_exit result = post(a, path, STR("{}"), &root);
	if (result != CTL_OK) return result;
	if (a->options->is_json)
		print_body(a);
	else
		(void)printf("%s is %s.\n", name, is_paused ? "paused: its records wait" : "running");
	return CTL_OK;
}

static enum ctl_exit replay(const struct asking *a)
{
	struct json root;
	struct json_out out;
	struct buf order;
	const struct destinations_options *options = a->options;
	if (!options->from == !options->since) return wrong("replay NAME takes either --from POSITION or --since TIME");
	buf_init(&order, ORDER_MAX);
	json_out_init(&out, &order);
	jo_object(&out);
	if (options->from) member(&out, "position", str_from(options->from));
	if (options->since) member(&out, "since", str_from(options->since));
	jo_end_object(&out);
	char *path = path_of(a, "/v1/admin/destinations/", options->words[1], "/replay");
	enum ctl_exit result = post(a, path, buf_str(&order), &root);
	buf_fini(&order);
	if (result != CTL_OK) return result;
	if (options->is_json)
		print_body(a);
	else
		(void)printf("%s goes on from %.*s%s.\n", options->words[1], STR_ARG(json_text_at(root, "from")),
			     json_bool_at(root, "complete") ? "" : ", the oldest record that is retained");
	return CTL_OK;
}

/* ── preview ─────────────────────────────────────────────────────────────── */

/* The position of the applied event with that id. */
static enum ctl_exit find_message(const struct asking *a, struct buf *out)
{
	char cursor[64] = "";
	for (;;) {
		struct json root, events, event;
		struct json_iter it;
		char *path =
		    path_of(a, "/v1/admin/trace?message_id=", a->options->message_id, *cursor ? "&cursor=" : "");
		char *whole = NULL;
		if (!path || asprintf(&whole, "%s%s", path, cursor) < 0) whole = NULL;
		free(path);
		enum ctl_exit result = whole ? client_get(a->client, whole, a->body) : CTL_FAILED;
		free(whole);
		if (result == CTL_OK) result = parse(a, &root);
		if (result != CTL_OK) return result;
		if (json_get(root, STR("events"), &events)) {
			for (json_iter_start(events, &it); json_next_element(&it, &event);)
				if (str_eq(json_text_at(event, "outcome.verdict"), STR("applied")))
					return buf_append_str(out, json_text_at(event, "position")) == OK ? CTL_OK
													  : CTL_FAILED;
		}
		struct str next = json_text_at(root, "next");
		if (!next.len || next.len >= sizeof cursor) break;
		(void)snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(next));
	}
	(void)fprintf(stderr, "cdpctl: no applied event has the message id '%s'\n", a->options->message_id);
	return CTL_NOT_FOUND;
}

static enum ctl_exit read_file(const struct asking *a, struct buf *out)
{
	const char *name = a->options->file;
	char block[4096];
	bool is_stdin = strcmp(name, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(name, "re");
	int rc = OK;
	size_t len;
	if (!file) {
		(void)fprintf(stderr, "cdpctl: %s: %s\n", name, strerror(errno));
		return CTL_USAGE;
	}
	while (rc == OK && (len = fread(block, 1, sizeof block, file)) > 0)
		rc = buf_append_str(out, str_of(block, len));
	bool is_broken = ferror(file) != 0;
	if (!is_stdin) (void)fclose(file);
	if (rc == OK && !is_broken) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: %s cannot be read, or is larger than 128 KiB\n", name);
	return CTL_USAGE;
}

static enum ctl_exit write_question(const struct asking *a, struct buf *order)
{
	struct buf text;
	struct json_out out;
	struct json event;
	const char *why;
	const struct destinations_options *options = a->options;
	buf_init(&text, FILE_MAX);
	enum ctl_exit result = options->file ? read_file(a, &text) : find_message(a, &text);
	if (result == CTL_OK && options->file && json_parse(a->reader, buf_str(&text), &event, &why) != OK) {
		(void)fprintf(stderr, "cdpctl: %s is not JSON (%s)\n", options->file, why);
		result = CTL_USAGE;
	}
	json_out_init(&out, order);
	jo_object(&out);
	if (result == CTL_OK && options->file) {
		jo_key(&out, STR("event"));
		jo_raw(&out, str_trim(buf_str(&text)));
	} else {
		member(&out, "position", buf_str(&text));
	}
	if (options->person) member(&out, "profile", str_from(options->person));
	jo_end_object(&out);
	buf_fini(&text);
	return result;
}

static void show_preview(struct json root, const char *name)
{
	struct json record;
	struct buf text;
	struct str verdict = json_text_at(root, "verdict"), reason = json_text_at(root, "reason");
	(void)printf("%s: %.*s", name, STR_ARG(verdict));
	if (reason.len) {
		(void)printf(", ");
		print_text(stdout, reason);
	}
	(void)putchar('\n');
	if (!json_get(root, STR("record"), &record)) return;
	buf_init(&text, (size_t)4 << 20);
	if (json_write(&text, record) == OK) print_text(stdout, buf_str(&text));
	(void)putchar('\n');
	buf_fini(&text);
}

static enum ctl_exit preview(const struct asking *a)
{
	struct json root;
	struct buf order;
	const struct destinations_options *options = a->options;
	if (!options->file == !options->message_id)
		return wrong("preview NAME takes either --message-id ID or --file EVENT.json (with --profile REF)");
	buf_init(&order, ORDER_MAX);
	enum ctl_exit result = write_question(a, &order);
	if (result == CTL_OK)
		result = post(a, path_of(a, "/v1/admin/destinations/", options->words[1], "/preview"), buf_str(&order),
			      &root);
	buf_fini(&order);
	if (result != CTL_OK) return result;
	if (options->is_json)
		print_body(a);
	else
		show_preview(root, options->words[1]);
	return CTL_OK;
}

/* ── test ────────────────────────────────────────────────────────────────── */

static enum ctl_exit test(const struct asking *a)
{
	struct json root;
	const char *name = a->options->words[1];
	enum ctl_exit result = post(a, path_of(a, "/v1/admin/destinations/", name, "/test"), STR("{}"), &root);
	if (result != CTL_OK) return result;
	struct str verdict = json_text_at(root, "verdict");
	if (a->options->is_json) {
		print_body(a);
	} else {
		show_preview(root, name);
		(void)printf("It took %" PRId64 " ms.\n", json_int_at(root, "tookMs"));
	}
	return str_eq(verdict, STR("ack")) ? CTL_OK : CTL_FAILED;
}

enum ctl_exit destinations_run(struct client *client, struct json_reader *reader, struct buf *body,
			       const struct destinations_options *options)
{
	const struct asking a = {client, reader, body, options};
	const char *deed = options->words[0];
	if (options->word_count != 2)
		return wrong(
		    "destinations takes pause, resume, replay, preview or test, and the name of a destination");
	if (strcmp(deed, "pause") == 0 || strcmp(deed, "resume") == 0) return pause(&a, *deed == 'p');
	if (strcmp(deed, "replay") == 0) return replay(&a);
	if (strcmp(deed, "preview") == 0) return preview(&a);
	if (strcmp(deed, "test") == 0) return test(&a);
	return wrong("destinations takes pause, resume, replay, preview or test, and the name of a destination");
}

/* ── dead letters ────────────────────────────────────────────────────────── */

static void show_letters(struct json root)
{
	static const char *const titles[] = {"DESTINATION", "POSITION", "AT",     "CAUSE", "ATTEMPTS",
					     "EVENT",       "MESSAGE",  "REASON", NULL};
	struct table *table = table_new(titles);
	struct json list, row;
	struct json_iter it;
	if (json_get(root, STR("deadLetters"), &list)) {
		for (json_iter_start(list, &it); json_next_element(&it, &row);) {
			struct str event = json_text_at(row, "event.event"), at = json_text_at(row, "at");
			table_cell(table, json_text_at(row, "destination"));
			table_cell(table, json_text_at(row, "position"));
			table_cell(table, at.len >= 19 ? str_of(at.ptr, 19) : at);
			table_cell(table, json_bool_at(row, "queued") ? STR("queued") : json_text_at(row, "cause"));
			table_cell_f(table, "%" PRId64, json_int_at(row, "attempts"));
			table_cell(table, event.len ? event : json_text_at(row, "event.type"));
			table_cell(table, json_text_at(row, "event.messageId"));
			table_cell(table, json_text_at(row, "reason"));
		}
	}
	if (!table_rows(table)) (void)printf("No dead letters.\n");
	table_print(table, stdout, 0);
	if (json_text_at(root, "next").len) (void)printf("… and more: --limit N, or --json and its `next`.\n");
}

static enum ctl_exit list(const struct asking *a)
{
	struct json root;
	const struct destinations_options *options = a->options;
	char suffix[64];
	(void)snprintf(suffix, sizeof suffix, "&limit=%" PRIu64, options->limit ? options->limit : 50);
	char *path =
	    path_of(a, "/v1/admin/deadletters?destination=", options->word_count ? options->words[0] : "", suffix);
	enum ctl_exit result = path ? client_get(a->client, path, a->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK) result = parse(a, &root);
	if (result != CTL_OK) return result;
	if (options->is_json)
		print_body(a);
	else
		show_letters(root);
	return CTL_OK;
}

static enum ctl_exit act(const struct asking *a, const char *path, const char *done)
{
	struct json root;
	struct json_out out;
	struct buf order;
	const struct destinations_options *options = a->options;
	buf_init(&order, ORDER_MAX);
	json_out_init(&out, &order);
	jo_object(&out);
	member(&out, "destination", str_from(options->words[1]));
	if (options->word_count == 3) member(&out, "position", str_from(options->words[2]));
	jo_end_object(&out);
	enum ctl_exit result = client_post_json(a->client, path, buf_str(&order), a->body);
	buf_fini(&order);
	if (result == CTL_OK) result = parse(a, &root);
	if (result != CTL_OK) return result;
	if (options->is_json)
		print_body(a);
	else
		(void)printf("%" PRId64 " %s.\n", json_int_at(root, "queued") + json_int_at(root, "discarded"), done);
	return CTL_OK;
}

enum ctl_exit deadletters_run(struct client *client, struct json_reader *reader, struct buf *body,
			      const struct destinations_options *options)
{
	const struct asking a = {client, reader, body, options};
	const char *deed = options->word_count > 1 ? options->words[0] : "";
	if (options->word_count < 2) return list(&a);
	if (options->word_count > 3) return wrong("too many arguments for deadletters");
	if (strcmp(deed, "redrive") == 0) return act(&a, "/v1/admin/deadletters/redrive", "will be handed over again");
	if (strcmp(deed, "discard") == 0) return act(&a, "/v1/admin/deadletters/discard", "discarded");
	return wrong("deadletters takes redrive or discard, a destination and maybe a position");
}
