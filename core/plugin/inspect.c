#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin/internal.h"

#define TEXT_MAX    ((size_t)64 << 10)
#define DEADLINE_US (10 * US_PER_SECOND)

/* ── the text ────────────────────────────────────────────────────────────── */

static int write_paths(struct buf *out, const char *title, const struct cdpd_paths *paths)
{
	int rc = paths->count ? buf_printf(out, "  %s:", title) : OK;
	for (size_t i = 0; i < paths->count && rc == OK; i++) rc = buf_printf(out, " %s", paths->items[i]);
	return rc == OK && paths->count ? buf_putc(out, '\n') : rc;
}

static int write_option(struct buf *out, const struct cdpd_option *option)
{
	int rc = buf_printf(out, "    %-20s %-9s ", option->name, plugin_option_type_name(option->type));
	if (rc == OK && option->is_required) rc = buf_printf(out, "required. ");
	if (rc == OK && option->default_text)
		rc = buf_printf(out, "default: %s. ", option->default_text[0] ? option->default_text : "empty");
	if (rc == OK) rc = buf_printf(out, "%s", option->help);
	if (rc == OK && option->values) rc = buf_printf(out, " (%s)", option->values);
	return rc == OK ? buf_putc(out, '\n') : rc;
}

int plugin_describe(const struct plugin *plugin, struct buf *out)
{
	const struct cdpd_plugin *table = plugin_info(plugin);
	struct arena arena;
	arena_init(&arena, 1024, 0);
	struct str caps = plugin_caps_text(&arena, table->caps);
	int rc = buf_printf(out, "%s %s: %.*s (ABI %u.%u)\n  %s\n", table->name, table->version, STR_ARG(caps),
			    table->abi_major, table->abi_minor, table->summary);
	arena_fini(&arena);
	const struct cdpd_paths uses = plugin_uses(table);
	if (rc == OK) rc = write_paths(out, "needs", &table->needs);
	if (rc == OK) rc = write_paths(out, "uses", &uses);
	if (rc == OK) rc = write_paths(out, "provides", &table->provides);
	const struct cdpd_feature_type *type = table->caps & CDPD_CAP_FEATURE ? table->feature : NULL;
	if (rc == OK && type) {
		rc = buf_printf(out, "  feature state: version %u, at most %u bytes, %s\n", type->state_version,
				type->max_state, type->exact ? "exact" : "approximate");
	}
	bool has_options = rc == OK && type && plugin_feature_has_options(type) && type->options.count;
	if (has_options) rc = buf_printf(out, "  options of a feature:\n");
	for (size_t i = 0; has_options && i < type->options.count && rc == OK; i++)
		rc = write_option(out, plugin_option(&type->options, i));
	if (rc == OK && table->options.count) rc = buf_printf(out, "  options:\n");
	for (size_t i = 0; i < table->options.count && rc == OK; i++)
		rc = write_option(out, plugin_option(&table->options, i));
	return rc;
}

/* ── the child ───────────────────────────────────────────────────────────── */

#define ANSWER_OK      "+"
#define ANSWER_REFUSED "-"

static void write_all(int fd, struct str text)
{
	while (text.len) {
		ssize_t n = write(fd, text.ptr, text.len);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return;
		text = str_of(text.ptr + n, text.len - (size_t)n);
	}
}

static void split_path(struct str path, struct str *folder, struct str *name)
{
	size_t slash = path.len;
	while (slash > 0 && path.ptr[slash - 1] != '/') slash--;
	*folder = slash == 0 ? STR(".") : slash == 1 ? STR("/") : str_of(path.ptr, slash - 1);
	*name = str_of(path.ptr + slash, path.len - slash);
	if (name->len > 3 && memcmp(name->ptr + name->len - 3, ".so", 3) == 0) name->len -= 3;
}

/* A crash must end the child, whatever handlers it inherited. */
static void reset_signals(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGINT, SIGPIPE};
	for (size_t i = 0; i < COUNT_OF(signals); i++) signal(signals[i], SIG_DFL);
}

_Noreturn static void child(int fd, struct str path)
{
	struct arena arena;
	struct buf text;
	struct str folder, name, folder_text, error = STR("it is refused");
	const struct plugin *plugin;
	arena_init(&arena, 4096, 0);
	buf_init(&text, TEXT_MAX);
	split_path(path, &folder, &name);
	reset_signals();
	if (arena_printf(&arena, &folder_text, "%.*s", STR_ARG(folder)) || sandbox_enter(fd, folder_text.ptr)) {
		write_all(fd, STR(ANSWER_REFUSED "the kernel offers no sandbox to look at it in"));
		_exit(1);
	}
	int rc = plugin_load(&arena, folder, name, &plugin, &error);
	if (rc == OK) rc = plugin_describe(plugin, &text);
	write_all(fd, rc == OK ? STR(ANSWER_OK) : STR(ANSWER_REFUSED));
	write_all(fd, rc == OK ? buf_str(&text) : error);
	_exit(rc == OK ? 0 : 1);
}

/* ── the parent ──────────────────────────────────────────────────────────── */

/* Everything the child says until it closes the pipe. ERR_TIMEOUT, ERR_TOO_LARGE. */
static int read_answer(int fd, struct buf *out)
{
	int64_t until = clock_mono_us() + DEADLINE_US;
	for (;;) {
		int64_t left = until - clock_mono_us();
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int ready = left > 0 ? poll(&pfd, 1, (int)(left / US_PER_MS) + 1) : 0;
		if (ready == 0) return ERR_TIMEOUT;
		if (ready < 0 && errno != EINTR) return ERR_IO;
		if (ready < 0) continue;
		char chunk[4096];
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n == 0) return OK;
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return ERR_IO;
		int rc = buf_append(out, chunk, (size_t)n);
		if (rc) return rc;
	}
}

static int reap(pid_t pid, bool must_kill)
{
	int status = 0;
	if (must_kill) kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return status;
}

static int report(struct str path, struct str answer, int read_rc, int status, struct buf *out)
{
	int rc = OK;
	if (read_rc == OK && WIFEXITED(status) && WEXITSTATUS(status) == 0 && str_starts(answer, STR(ANSWER_OK))) {
		return buf_append_str(out, str_of(answer.ptr + 1, answer.len - 1));
	}
	if (str_starts(answer, STR(ANSWER_REFUSED)))
		rc = buf_printf(out, "%.*s: %.*s\n", STR_ARG(path), (int)answer.len - 1, answer.ptr + 1);
	else if (read_rc == ERR_TIMEOUT)
		rc = buf_printf(out, "%.*s: it did not finish loading within 10 s\n", STR_ARG(path));
	else if (WIFSIGNALED(status))
		rc = buf_printf(out, "%.*s: it crashed while loading (%s)\n", STR_ARG(path),
				strsignal(WTERMSIG(status)));
	else
		rc = buf_printf(out, "%.*s: it ended the process while loading (exit %d)\n", STR_ARG(path),
				WEXITSTATUS(status));
	return rc ? rc : ERR_REFUSED;
}

int plugin_inspect(struct str path, struct buf *out)
{
	int fds[2];
	struct buf answer;
	if (pipe2(fds, O_CLOEXEC)) return ERR_IO;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) child(fds[1], path);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return ERR_IO;
	}
	buf_init(&answer, TEXT_MAX);
	int rc = read_answer(fds[0], &answer);
	int status = reap(pid, rc != OK);
	close(fds[0]);
	rc = report(path, buf_str(&answer), rc, status, out);
	buf_fini(&answer);
	return rc;
}

/* ── `cdpd plugins` ──────────────────────────────────────────────────────── */

static int inspect_and_print(struct str path)
{
	struct buf out;
	buf_init(&out, 2 * TEXT_MAX);
	int rc = plugin_inspect(path, &out);
	struct str text = buf_str(&out);
	if (rc == OK || rc == ERR_REFUSED)
		printf("%.*s\n", STR_ARG(text));
	else
		printf("%.*s: cannot be looked at (%s)\n\n", STR_ARG(path), status_str(rc));
	buf_fini(&out);
	return rc;
}

static int is_so(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return len > 3 && strcmp(entry->d_name + len - 3, ".so") == 0;
}

static int inspect_folder(struct str folder)
{
	struct arena arena;
	struct dirent **entries;
	struct str path;
	int worst = OK;
	arena_init(&arena, 4096, 0);
	if (arena_printf(&arena, &path, "%.*s", STR_ARG(folder))) return ERR_NOMEM;
	int count = scandir(path.ptr, &entries, is_so, alphasort);
	if (count < 0) {
		printf("%s: the plugin folder cannot be read\n", path.ptr);
		worst = ERR_IO;
	}
	for (int i = 0; i < count; i++) {
		int rc = arena_printf(&arena, &path, "%.*s/%s", STR_ARG(folder), entries[i]->d_name);
		if (rc == OK) rc = inspect_and_print(path);
		if (rc) worst = rc;
		free(entries[i]);
	}
	if (count >= 0) free(entries);
	if (count == 0) printf("no plugins in %s\n", path.ptr);
	arena_fini(&arena);
	return worst;
}

int plugin_inspect_main(const char *const *files, size_t count, struct str folder)
{
	struct arena arena;
	int worst = OK;
	arena_init(&arena, 1024, 0);
	if (count == 0 && folder.len == 0) worst = config_plugin_folder(&arena, &folder);
	if (count == 0 && worst == OK) worst = inspect_folder(folder);
	for (size_t i = 0; i < count; i++) {
		int rc = inspect_and_print(str_from(files[i]));
		if (rc) worst = rc;
	}
	arena_fini(&arena);
	fflush(stdout);
	return worst ? 1 : 0;
}
