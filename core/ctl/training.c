#include "ctl/training.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctl/print.h"

#define YAML_MAX     ((size_t)256 << 10)
#define PATH_BYTES   4096
#define POLL_NS      150000000
#define BAR_WIDTH    30
#define MANIFEST_END ".manifest.json"

struct exporting {
	struct client *client;
	struct json_reader *reader;
	struct buf *body;
	const struct training_options *options;
	const char *format;
	char id[64];
};

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static enum ctl_exit parse(const struct exporting *e, struct json *root)
{
	const char *why;
	if (json_parse(e->reader, buf_str(e->body), root, &why) == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: the answer is not JSON (%s)\n", why);
	return CTL_FAILED;
}

static enum ctl_exit read_file(const char *name, struct buf *out)
{
	FILE *file = fopen(name, "re");
	size_t got = 0;
	char *tail;
	int rc = file ? OK : ERR_IO;
	while (rc == OK && (rc = buf_reserve(out, 4096, &tail)) == OK && (got = fread(tail, 1, 4096, file)) > 0)
		buf_commit(out, got);
	if (rc == OK && ferror(file)) rc = ERR_IO;
	int cause = errno;
	if (file) (void)fclose(file);
	if (rc == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: %s cannot be read: %s\n", name, rc == ERR_IO ? strerror(cause) : status_str(rc));
	return CTL_USAGE;
}

/* The first fault was printed with the refusal. */
static void print_other_faults(const struct exporting *e)
{
	struct json root, list, fault;
	struct json_iter it;
	const char *why;
	bool is_first = true;
	if (json_parse(e->reader, buf_str(e->body), &root, &why) != OK || !json_get(root, STR("errors"), &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &fault); is_first = false) {
		if (is_first) continue;
		(void)fputs("  ", stderr);
		print_text(stderr, json_text_at(fault, "message"));
		(void)fputc('\n', stderr);
	}
}

static enum ctl_exit order(struct exporting *e)
{
	struct json root;
	struct buf yaml;
	char *name = client_escape(e->client, e->options->words[0]), *path = NULL;
	buf_init(&yaml, YAML_MAX);
	enum ctl_exit result = read_file(e->options->words[0], &yaml);
	if (!name || asprintf(&path, "/v1/admin/training-sets?file=%s", name) < 0) path = NULL;
	if (result == CTL_OK)
		result = path ? client_send_json(e->client, "POST", path, buf_str(&yaml), e->body) : CTL_FAILED;
	if (result == CTL_FAILED) print_other_faults(e);
	if (result == CTL_OK) result = parse(e, &root);
	if (result == CTL_OK) (void)snprintf(e->id, sizeof e->id, "%.*s", STR_ARG(json_text_at(root, "id")));
	free(path);
	free(name);
	buf_fini(&yaml);
	return result;
}

static enum ctl_exit ask(const struct exporting *e, struct json *root)
{
	char path[128];
	(void)snprintf(path, sizeof path, "/v1/admin/training-sets/%s", e->id);
	enum ctl_exit result = client_get(e->client, path, e->body);
	return result == CTL_OK ? parse(e, root) : result;
}

static void drop(const struct exporting *e)
{
	char path[128];
	struct buf answer;
	buf_init(&answer, 64 << 10);
	(void)snprintf(path, sizeof path, "/v1/admin/training-sets/%s", e->id);
	if (client_request(e->client, "DELETE", path, &answer) != CTL_OK)
		(void)fputs("cdpctl: the daemon keeps the rows for some minutes more\n", stderr);
	buf_fini(&answer);
}

/* ── waiting ─────────────────────────────────────────────────────────────── */

static void draw(struct json root)
{
	char bar[BAR_WIDTH + 1];
	struct json value;
	double percent = 0;
	if (json_get(root, STR("percent"), &value)) (void)json_double(value, &percent);
	int filled = (int)(percent * BAR_WIDTH / 100);
	for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < filled ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	(void)fprintf(stderr, "\r[%s] %5.1f %% of the journal ", bar, percent);
}

static enum ctl_exit wait_for_end(const struct exporting *e)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	struct json root;
	bool is_drawn = isatty(STDERR_FILENO);
	for (;;) {
		enum ctl_exit result = ask(e, &root);
		if (result != CTL_OK) return result;
		struct str state = json_text_at(root, "state");
		if (is_drawn) draw(root);
		if (is_drawn && !str_eq(state, STR("running"))) (void)fputc('\n', stderr);
		if (str_eq(state, STR("done"))) return CTL_OK;
		if (str_eq(state, STR("failed"))) {
			(void)fprintf(stderr, "cdpctl: the training set was not made: %.*s\n",
				      STR_ARG(json_text_at(root, "reason")));
			return CTL_FAILED;
		}
		if (is_interrupted) return CTL_FAILED;
		(void)nanosleep(&pause, NULL);
	}
}

/* ── files ───────────────────────────────────────────────────────────────── */

/* A file that is nowhere until it is named: nothing is left of an export that is killed. */
static int open_nowhere(const char *out)
{
	char copy[PATH_BYTES];
	(void)snprintf(copy, sizeof copy, "%s", out);
	return open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static FILE *open_unnamed(const char *out)
{
	int fd = open_nowhere(out);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!file) (void)fprintf(stderr, "cdpctl: no file can be written beside %s: %s\n", out, strerror(errno));
	if (!file && fd >= 0) (void)close(fd);
	return file;
}

/* In the place of what had the name before. */
static bool give_name(FILE *file, const char *out)
{
	char from[64], fresh[PATH_BYTES];
	(void)snprintf(from, sizeof from, "/proc/self/fd/%d", fileno(file));
	(void)snprintf(fresh, sizeof fresh, "%s.%ld", out, (long)getpid());
	bool is_good = fflush(file) == 0 && fsync(fileno(file)) == 0;
	(void)unlink(fresh);
	is_good = is_good && linkat(AT_FDCWD, from, AT_FDCWD, fresh, AT_SYMLINK_FOLLOW) == 0;
	if (is_good && rename(fresh, out) == 0) return true;
	(void)fprintf(stderr, "cdpctl: %s cannot be written: %s\n", out, strerror(errno));
	(void)unlink(fresh);
	return false;
}

static FILE *write_manifest(const struct exporting *e, const char *path)
{
	FILE *file = open_unnamed(path);
	if (!file) return NULL;
	bool is_good = fwrite(buf_ptr(e->body), 1, e->body->len, file) == e->body->len && fputc('\n', file) != EOF;
	if (is_good) return file;
	(void)fclose(file);
	return NULL;
}

/* The manifest is there only beside the rows that it is of. */
static enum ctl_exit name_both(const struct exporting *e, FILE *rows)
{
	char path[PATH_BYTES];
	const char *out = e->options->out;
	(void)snprintf(path, sizeof path, "%s" MANIFEST_END, out);
	FILE *manifest = write_manifest(e, path);
	if (!manifest) return CTL_FAILED;
	(void)unlink(path);
	bool is_good = give_name(rows, out) && give_name(manifest, path);
	(void)fclose(manifest);
	return is_good ? CTL_OK : CTL_FAILED;
}

static enum ctl_exit fetch(const struct exporting *e, FILE *out)
{
	char path[160];
	struct json root, value;
	(void)snprintf(path, sizeof path, "/v1/admin/training-sets/%s/rows?format=%s", e->id, e->format);
	enum ctl_exit result = client_save(e->client, path, out, e->body);
	if (result == CTL_OK) result = ask(e, &root);
	if (result == CTL_OK && !json_get(root, STR("rows"), &value)) {
		(void)fputs("cdpctl: the rows broke off\n", stderr);
		return CTL_FAILED;
	}
	return is_interrupted && result == CTL_OK ? CTL_FAILED : result;
}

static void print_summary(const struct exporting *e)
{
	struct json root;
	if (e->options->is_json) {
		(void)fwrite(buf_ptr(e->body), 1, e->body->len, stdout);
		(void)putchar('\n');
		return;
	}
	if (parse(e, &root) != CTL_OK) return;
	(void)printf("%" PRId64 " rows, %" PRId64 " with a label above 0, %" PRId64
		     " points whose window is not over\n",
		     json_int_at(root, "rows"), json_int_at(root, "positives"), json_int_at(root, "leftOut.censored"));
	if (json_bool_at(root, "journal.trimmed"))
		(void)printf("The journal begins at %.*s: what was before is in no feature.\n",
			     STR_ARG(json_text_at(root, "journal.sinceTime")));
}

static enum ctl_exit save(const struct exporting *e)
{
	if (!e->options->out) return fetch(e, stdout);
	FILE *rows = open_unnamed(e->options->out);
	if (!rows) return CTL_FAILED;
	enum ctl_exit result = fetch(e, rows);
	if (result == CTL_OK) result = name_both(e, rows);
	(void)fclose(rows);
	if (result == CTL_OK) print_summary(e);
	return result;
}

/* ── the command ─────────────────────────────────────────────────────────── */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);
	return len >= tail && strcmp(text + len - tail, end) == 0;
}

static bool choose_format(struct exporting *e)
{
	const struct training_options *options = e->options;
	bool is_lines = options->out && (ends_with(options->out, ".ndjson") || ends_with(options->out, ".jsonl"));
	e->format = options->format ? options->format : is_lines ? "ndjson" : "csv";
	if (strcmp(e->format, "csv") == 0 || strcmp(e->format, "ndjson") == 0) return true;
	(void)fprintf(stderr, "cdpctl: --format is csv or ndjson, not '%s'\n", e->format);
	return false;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

enum ctl_exit training_run(struct client *client, struct json_reader *reader, struct buf *body,
			   const struct training_options *options)
{
	struct exporting e = {.client = client, .reader = reader, .body = body, .options = options};
	if (options->word_count != 1 || (options->out && strlen(options->out) > PATH_BYTES / 2)) {
		(void)fputs("cdpctl: it is 'cdpctl export training-set FILE.yaml [--out FILE]'\n", stderr);
		return CTL_USAGE;
	}
	if (!choose_format(&e)) return CTL_USAGE;
	catch_signals();
	enum ctl_exit result = order(&e);
	if (result != CTL_OK) return result;
	result = wait_for_end(&e);
	if (result == CTL_OK) result = save(&e);
	drop(&e);
	return result;
}
