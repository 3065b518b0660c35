#include "ctl/erase.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctl/print.h"

#define POLL_NS   200000000
#define BAR_WIDTH 30

static enum ctl_exit ask(struct client *client, struct json_reader *reader, struct buf *body, const char *method,
			 const char *path, struct json *root)
{
	const char *why;
	enum ctl_exit result = method ? client_request(client, method, path, body) : client_get(client, path, body);
	if (result != CTL_OK) return result;
	if (json_parse(reader, buf_str(body), root, &why) == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: the answer is not JSON (%s)\n", why);
	return CTL_FAILED;
}

static void print_text_line(const char *label, struct str text)
{
	(void)printf("%-12s ", label);
	print_text(stdout, text);
	(void)putchar('\n');
}

static void show_preview(struct json root)
{
	struct json identifiers, it_value;
	struct json_iter it;
	print_text_line("would erase", json_text_at(root, "id"));
	if (json_get(root, STR("identifiers"), &identifiers)) {
		for (json_iter_start(identifiers, &it); json_next_element(&it, &it_value);) {
			struct str text;
			if (json_str(it_value, &text)) print_text_line("", text);
		}
	}
	(void)printf("%" PRId64 " fragments, %" PRId64 " events in %" PRId64 " segments, %" PRId64 " links, %" PRId64
		     " changes; %" PRId64 " fragments of the person would stay\n",
		     json_int_at(root, "counts.fragments"), json_int_at(root, "counts.events"),
		     json_int_at(root, "counts.segments"), json_int_at(root, "counts.links"),
		     json_int_at(root, "counts.changes"), json_int_at(root, "counts.remaining"));
	(void)puts("Nothing was changed.");
}

static void show_answers(struct json root)
{
	struct json list, row;
	struct json_iter it;
	if (!json_get(root, STR("destinations"), &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		struct str reason = json_text_at(row, "reason");
		(void)printf("%-12s %.*s: %.*s%s%.*s\n", "destination", STR_ARG(json_text_at(row, "name")),
			     STR_ARG(json_text_at(row, "answer")), reason.len ? ", " : "", STR_ARG(reason));
	}
}

static void show_receipt(struct json root)
{
	print_text_line("receipt", json_text_at(root, "id"));
	print_text_line("state", json_text_at(root, "state"));
	(void)printf("%-12s %" PRId64 " fragments, %" PRId64 " events, %" PRId64 " of %" PRId64 " segments looked at\n",
		     "erased", json_int_at(root, "counts.fragments"), json_int_at(root, "counts.events"),
		     json_int_at(root, "counts.segments"), json_int_at(root, "counts.segmentsTotal"));
	show_answers(root);
}

void show_erasures(struct json root)
{
	static const char *const titles[] = {"RECEIPT", "STATE", "SCOPE", "EVENTS", "REQUESTED", "BY", NULL};
	struct table *table = table_new(titles);
	struct json list, row;
	struct json_iter it;
	if (json_get(root, STR("erasures"), &list)) {
		for (json_iter_start(list, &it); json_next_element(&it, &row);) {
			table_cell(table, json_text_at(row, "id"));
			table_cell(table, json_text_at(row, "state"));
			table_cell(table, json_text_at(row, "scope"));
			table_cell_f(table, "%" PRId64, json_int_at(row, "counts.events"));
			table_cell(table, json_text_at(row, "requestedAt"));
			table_cell(table, json_text_at(row, "actor"));
		}
	}
	if (!table || !table_rows(table)) (void)puts("nothing was erased");
	table_print(table, stdout, 0);
}

static void draw(struct json root)
{
	char bar[BAR_WIDTH + 1];
	int64_t done = json_int_at(root, "counts.segments"), total = json_int_at(root, "counts.segmentsTotal");
	int64_t filled = total > 0 ? done * BAR_WIDTH / total : 0;
	for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	(void)fprintf(stderr, "\r[%s] %.*s  %" PRId64 "/%" PRId64 " segments ", bar,
		      STR_ARG(json_text_at(root, "state")), done, total);
}

static enum ctl_exit wait_for_end(struct client *client, struct json_reader *reader, struct buf *body,
				  struct json *root)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	char *path;
	if (asprintf(&path, "/v1/erasures/%.*s", STR_ARG(json_text_at(*root, "id"))) < 0) return CTL_FAILED;
	enum ctl_exit result = CTL_OK;
	while (result == CTL_OK && !str_eq(json_text_at(*root, "state"), STR("done"))) {
		if (isatty(STDERR_FILENO)) draw(*root);
		(void)nanosleep(&pause, NULL);
		result = ask(client, reader, body, NULL, path, root);
	}
	if (isatty(STDERR_FILENO)) (void)fputc('\n', stderr);
	free(path);
	return result;
}

enum ctl_exit erase_run(struct client *client, struct json_reader *reader, struct buf *body, const char *escaped,
			const struct erase_options *options)
{
	struct json root;
	char *path;
	if (asprintf(&path, "/v1/profiles/%s?scope=%s%s", escaped, options->is_identifier ? "identifier" : "profile",
		     options->is_dry_run ? "&dry_run=1" : "") < 0)
		return CTL_FAILED;
	enum ctl_exit result = ask(client, reader, body, "DELETE", path, &root);
	free(path);
	if (result == CTL_OK && options->should_wait && !options->is_dry_run)
		result = wait_for_end(client, reader, body, &root);
	if (result != CTL_OK) return result;
	if (options->is_json) {
		(void)fwrite(buf_ptr(body), 1, body->len, stdout);
		(void)putchar('\n');
	} else if (options->is_dry_run) {
		show_preview(root);
	} else {
		show_receipt(root);
	}
	return CTL_OK;
}
