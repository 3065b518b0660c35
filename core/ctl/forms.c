#include "ctl/forms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/print.h"

#define DEFINITION_MAX ((size_t)1 << 20)

struct asking {
	struct client *client;
	struct json_reader *reader;
	struct buf *body;
	const struct forms_options *options;
};

static enum ctl_exit parse(const struct asking *a, struct json *root)
{
	const char *why;
	if (json_parse(a->reader, buf_str(a->body), root, &why) == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: the answer is not JSON (%s)\n", why);
	return CTL_FAILED;
}

/* PREFIX<name>SUFFIX, malloc'd. */
static char *path_of(const struct asking *a, const char *prefix, const char *suffix)
{
	char *escaped = client_escape(a->client, a->options->words[1]), *path = NULL;
	if (!escaped || asprintf(&path, "%s%s%s", prefix, escaped, suffix) < 0) path = NULL;
	free(escaped);
	if (!path) (void)fputs("cdpctl: out of memory\n", stderr);
	return path;
}

static void print_body(const struct asking *a)
{
	(void)fwrite(buf_ptr(a->body), 1, a->body->len, stdout);
	(void)putchar('\n');
}

/* ── list, show ──────────────────────────────────────────────────────────── */

static void show_list(struct json root)
{
	static const char *const titles[] = {"NAME", "VERSION", "KIND", "QUESTIONS", "ORIGIN", "CHANGED", "BY", NULL};
	struct table *table = table_new(titles);
	struct json list, row;
	struct json_iter it;
	if (json_get(root, STR("forms"), &list)) {
		for (json_iter_start(list, &it); json_next_element(&it, &row);) {
			bool is_config = json_bool_at(row, "readOnly");
			table_cell(table, json_text_at(row, "name"));
			table_cell_f(table, "%" PRId64, json_int_at(row, "version"));
			table_cell(table, json_text_at(row, "kind"));
			table_cell_f(table, "%" PRId64, json_int_at(row, "questions"));
			table_cell(table, json_text_at(row, "origin"));
			if (is_config)
				table_cell_f(table, "%.*s:%" PRId64, STR_ARG(json_text_at(row, "file")),
					     json_int_at(row, "line"));
			else
				table_cell(table, json_text_at(row, "changedAt"));
			table_cell(table, json_text_at(row, "changedBy"));
		}
	}
	if (!table || !table_rows(table)) (void)puts("there are no forms");
	table_print(table, stdout, 0);
}

static enum ctl_exit run_list(const struct asking *a)
{
	struct json root;
	enum ctl_exit result = client_get(a->client, "/v1/admin/forms", a->body);
	if (result == CTL_OK) result = parse(a, &root);
	if (result != CTL_OK) return result;
	if (a->options->is_json)
		print_body(a);
	else
		show_list(root);
	return CTL_OK;
}

static enum ctl_exit run_show(const struct asking *a)
{
	char *path = path_of(a, "/v1/admin/forms/", "");
	enum ctl_exit result = path ? client_get(a->client, path, a->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK) print_body(a);
	return result;
}

/* ── put, delete ─────────────────────────────────────────────────────────── */

static enum ctl_exit read_definition(const char *name, struct buf *out)
{
	bool is_stdin = strcmp(name, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(name, "re");
	size_t got = 0;
	char *tail;
	int rc = file ? OK : ERR_IO;
	while (rc == OK && (rc = buf_reserve(out, 4096, &tail)) == OK && (got = fread(tail, 1, 4096, file)) > 0)
		buf_commit(out, got);
	if (rc == OK && ferror(file)) rc = ERR_IO;
	int cause = errno;
	if (file && !is_stdin) (void)fclose(file);
	if (rc == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: %s cannot be read: %s\n", name, rc == ERR_IO ? strerror(cause) : status_str(rc));
	return CTL_USAGE;
}

/* All that is wrong with a definition, each with its place. */
static void print_faults(const struct asking *a)
{
	struct json root, list, fault;
	struct json_iter it;
	const char *why;
	if (json_parse(a->reader, buf_str(a->body), &root, &why) != OK || !json_get(root, STR("errors"), &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &fault);) {
		struct str pointer = json_text_at(fault, "pointer");
		(void)fputs("  ", stderr);
		print_text(stderr, pointer.len ? pointer : STR("/"));
		(void)fputs(": ", stderr);
		print_text(stderr, json_text_at(fault, "message"));
		(void)fputc('\n', stderr);
	}
}

static void show_put(const struct asking *a, struct json root)
{
	bool is_changed = json_bool_at(root, "changed"), is_dry_run = json_bool_at(root, "dryRun");
	print_text(stdout, json_text_at(root, "name"));
	(void)printf(" %s version %" PRId64 "%s\n", is_dry_run && is_changed ? "would be" : "is",
		     json_int_at(root, "version"), is_changed ? "" : ", unchanged");
	if (a->options->is_dry_run) (void)puts("Nothing was changed.");
}

static enum ctl_exit put(const struct asking *a, struct str definition)
{
	struct json root;
	char *path = path_of(a, "/v1/admin/forms/", a->options->is_dry_run ? "?dry_run=1" : "");
	enum ctl_exit result = path ? client_send_json(a->client, "PUT", path, definition, a->body) : CTL_FAILED;
	free(path);
	if (result == CTL_FAILED) print_faults(a);
	if (result == CTL_OK) result = parse(a, &root);
	if (result != CTL_OK) return result;
	if (a->options->is_json)
		print_body(a);
	else
		show_put(a, root);
	return CTL_OK;
}

static enum ctl_exit run_put(const struct asking *a)
{
	struct buf definition;
	buf_init(&definition, DEFINITION_MAX);
	enum ctl_exit result = read_definition(a->options->words[2], &definition);
	if (result == CTL_OK) result = put(a, buf_str(&definition));
	buf_fini(&definition);
	return result;
}

static enum ctl_exit run_delete(const struct asking *a)
{
	char *path = path_of(a, "/v1/admin/forms/", a->options->is_dry_run ? "?dry_run=1" : "");
	enum ctl_exit result = path ? client_request(a->client, "DELETE", path, a->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK && a->options->is_json) print_body(a);
	return result;
}

/* ── results ─────────────────────────────────────────────────────────────── */

static void show_counts(struct json list, int64_t other)
{
	static const char *const titles[] = {"ANSWER", "PEOPLE", NULL};
	struct json row, value;
	struct json_iter it;
	struct table *table = table_new(titles);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		if (json_get(row, STR("value"), &value)) table_cell_json(table, value, 60);
		table_cell_f(table, "%" PRId64, json_int_at(row, "count"));
	}
	if (other) {
		table_cell(table, STR("(of older versions)"));
		table_cell_f(table, "%" PRId64, other);
	}
	table_print(table, stdout, 4);
}

static void show_question(struct json question)
{
	struct json list, mean;
	double number;
	print_text(stdout, json_text_at(question, "id"));
	(void)printf(" (%.*s): %" PRId64 " answered, %" PRId64 " refused", STR_ARG(json_text_at(question, "type")),
		     json_int_at(question, "answered"), json_int_at(question, "refused"));
	if (json_get(question, STR("mean"), &mean) && json_double(mean, &number)) (void)printf(", mean %.4g", number);
	(void)putchar('\n');
	if (json_get(question, STR("options"), &list) || json_get(question, STR("histogram"), &list))
		show_counts(list, json_int_at(question, "other"));
}

static void show_results(struct json root)
{
	struct json list, row;
	struct json_iter it;
	print_text(stdout, json_text_at(root, "form"));
	(void)printf(", version %" PRId64 ": %" PRId64 " respondents\n", json_int_at(root, "version"),
		     json_int_at(root, "respondents"));
	if (!json_get(root, STR("questions"), &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &row);) show_question(row);
}

static enum ctl_exit run_results(const struct asking *a)
{
	struct json root;
	char *path = path_of(a, "/v1/forms/", "/results");
	enum ctl_exit result = path ? client_get(a->client, path, a->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK) result = parse(a, &root);
	if (result != CTL_OK) return result;
	if (a->options->is_json)
		print_body(a);
	else
		show_results(root);
	return CTL_OK;
}

/* ── which ───────────────────────────────────────────────────────────────── */

static const struct verb {
	const char *name, *usage;
	int words; /* with the verb */
	enum ctl_exit (*run)(const struct asking *a);
} VERBS[] = {
    {"list", "list", 1, run_list},
    {"show", "show NAME", 2, run_show},
    {"put", "put NAME FILE", 3, run_put},
    {"delete", "delete NAME", 2, run_delete},
    {"results", "results NAME", 2, run_results},
};

enum ctl_exit forms_run(struct client *client, struct json_reader *reader, struct buf *body,
			const struct forms_options *options)
{
	const struct asking asking = {client, reader, body, options};
	const char *names[COUNT_OF(VERBS)];
	const char *name = options->word_count ? options->words[0] : "list";
	int words = options->word_count ? options->word_count : 1;
	for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
		names[i] = VERBS[i].name;
		if (strcmp(name, names[i]) != 0) continue;
		if (words == VERBS[i].words) return VERBS[i].run(&asking);
		(void)fprintf(stderr, "cdpctl: it is 'cdpctl forms %s'\n", VERBS[i].usage);
		return CTL_USAGE;
	}
	const char *near = str_nearest(str_from(name), names, COUNT_OF(names));
	(void)fprintf(stderr, "cdpctl: forms knows list, show, put, delete and results, not '%s'%s%s%s\n", name,
		      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
	return CTL_USAGE;
}
