#include "plugin/trial.h"

#include <errno.h>
#include <ftw.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin/trial_internal.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define EVENTS_MAX     1000000
#define DEADLINE_S     300
#define GROWTH_LEAST   1024 /* few events tell little */
#define GROWTH_BYTES   4    /* an event: more than that in every pass is a leak, not a cache that fills */

/* ── reporting ───────────────────────────────────────────────────────────── */

void trial_at(struct trial_run *run, const char *doing, const struct trial_event *event)
{
	(void)snprintf(run->place->doing, sizeof run->place->doing, "%s", doing);
	run->place->line = event ? event->line : 0;
}

void trial_find(struct trial_run *run, const char *fmt, ...)
{
	va_list args;
	run->findings++;
	fflush(stdout);
	(void)fputs("finding: ", stderr);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
}

int64_t trial_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

void trial_print_times(struct trial_run *run, const char *what)
{
	int64_t sum = 0, *took = run->took_ns;
	size_t count = run->event_count;
	if (count == 0) return;
	qsort(took, count, sizeof took[0], by_size);
	for (size_t i = 0; i < count; i++) sum += took[i];
	printf("%s: %.2f us an event (median %.2f, p99 %.2f, slowest %.2f) over %zu events\n", what,
	       (double)sum / (double)count / 1e3, (double)took[count / 2] / 1e3, (double)took[count * 99 / 100] / 1e3,
	       (double)took[count - 1] / 1e3, count);
}

size_t trial_heap(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

void trial_judge_growth(struct trial_run *run, size_t after_first, size_t after_last, const char *what)
{
	if (trial_heap() == 0) {
		printf("memory: not measured (this build's allocator does not say)\n");
		return;
	}
	size_t rounds = run->trial->passes - 1, events = run->event_count * rounds;
	long long grown = (long long)after_last - (long long)after_first;
	printf("memory: %lld bytes more %s after %zu further passes\n", grown > 0 ? grown : 0, what, rounds);
	if (grown > GROWTH_LEAST + (long long)(events * GROWTH_BYTES))
		trial_find(run, "it leaks: %.1f bytes an event %s, in every pass over the same events",
			   (double)grown / (double)events, what);
}

/* ── events ──────────────────────────────────────────────────────────────── */

static int copy_text(struct trial_run *run, struct json root, const char *name, struct str *out)
{
	struct json value;
	struct str text;
	if (!json_get_path(root, str_from(name), &value) || !json_str(value, &text)) return OK;
	return arena_str(&run->arena, text, out);
}

static int copy_json(struct trial_run *run, struct json root, const char *name, struct str *out)
{
	struct json value;
	struct buf buf;
	if (!json_get(root, str_from(name), &value) || json_type(value) != JSON_OBJECT) return OK;
	buf_init(&buf, LINE_MAX_BYTES);
	int rc = json_write(&buf, value);
	if (rc == OK) rc = arena_str(&run->arena, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

static int fill_event(struct trial_run *run, struct json root, struct cdpd_event *event)
{
	struct str type = STR("track"), time = STR_NONE;
	*event = (struct cdpd_event){.utc_offset_min = UTC_OFFSET_UNKNOWN};
	const struct {
		const char *name;
		struct str *out;
	} texts[] = {
	    {"type", &type},
	    {"event", &event->event},
	    {"name", &event->name},
	    {"category", &event->category},
	    {"messageId", &event->message_id},
	    {"userId", &event->user_id},
	    {"anonymousId", &event->anonymous_id},
	    {"previousId", &event->previous_id},
	    {"groupId", &event->group_id},
	    {"sourceId", &event->source_id},
	    {"context.ip", &event->ip},
	    {"context.userAgent", &event->user_agent},
	    {"timestamp", &time},
	};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (copy_text(run, root, texts[i].name, texts[i].out)) return ERR_NOMEM;
	if (copy_json(run, root, "properties", &event->properties) || copy_json(run, root, "traits", &event->traits) ||
	    copy_json(run, root, "context", &event->context) || copy_json(run, root, "enrichment", &event->enrichment))
		return ERR_NOMEM;
	if (!event_type_from_name(type, &event->type)) return ERR_INVALID;
	event->received_at_us = clock_wall_us();
	event->event_time_us = event->received_at_us;
	int rc = time.len ? clock_parse(time, &event->event_time_us, &event->utc_offset_min) : OK;
	if (event->utc_offset_min == INT16_MIN) event->utc_offset_min = UTC_OFFSET_UNKNOWN;
	return rc;
}

static int add_event(struct trial_run *run, struct str line, unsigned number, size_t *room)
{
	struct json root;
	const char *why;
	if (run->event_count == *room) {
		size_t more = *room ? *room * 2 : 1024;
		struct trial_event *events = realloc(run->events, more * sizeof *events);
		if (!events) return ERR_NOMEM;
		run->events = events;
		*room = more;
	}
	struct trial_event *event = &run->events[run->event_count];
	event->line = number;
	char *padded = arena_alloc(&run->arena, line.len + BUF_SLACK);
	if (!padded) return ERR_NOMEM;
	memcpy(padded, line.ptr, line.len);
	memset(padded + line.len, 0, BUF_SLACK);
	event->text = str_of(padded, line.len);
	if (json_parse(run->reader, event->text, &root, &why) || json_type(root) != JSON_OBJECT) {
		trial_find(run, "%s:%u: not a JSON object; the line is passed over", run->trial->events, number);
		return OK;
	}
	int rc = fill_event(run, root, &event->event);
	if (rc == ERR_NOMEM) return rc;
	if (rc)
		trial_find(run, "%s:%u: the type or the timestamp is not one of ours; the line is passed over",
			   run->trial->events, number);
	else
		run->event_count++;
	return OK;
}

static int read_events(struct trial_run *run)
{
	size_t size = 0, room = 0;
	unsigned number = 0;
	char *line = NULL;
	int rc = OK;
	if (!run->trial->events) return OK;
	FILE *file = fopen(run->trial->events, "re");
	if (!file) {
		trial_find(run, "%s: %s", run->trial->events, strerror(errno));
		return ERR_INVALID;
	}
	for (ssize_t len; rc == OK && run->event_count < EVENTS_MAX && (len = getline(&line, &size, file)) >= 0;) {
		number++;
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
		if (len) rc = add_event(run, str_of(line, (size_t)len), number, &room);
	}
	free(line);
	(void)fclose(file);
	if (rc == OK) run->took_ns = calloc(run->event_count + 1, sizeof *run->took_ns);
	return rc == OK && !run->took_ns ? ERR_NOMEM : rc;
}

/* ── the child ───────────────────────────────────────────────────────────── */

static void split_path(struct str path, struct str *folder, struct str *name)
{
	size_t slash = path.len;
	while (slash > 0 && path.ptr[slash - 1] != '/') slash--;
	*folder = slash == 0 ? STR(".") : slash == 1 ? STR("/") : str_of(path.ptr, slash - 1);
	*name = str_of(path.ptr + slash, path.len - slash);
	if (name->len > 3 && memcmp(name->ptr + name->len - 3, ".so", 3) == 0) name->len -= 3;
}

static int load(struct trial_run *run)
{
	struct buf text;
	struct str folder, name, error = STR("it is refused");
	split_path(str_from(run->trial->file), &folder, &name);
	trial_at(run, "loading", NULL);
	if (plugin_load(&run->arena, folder, name, &run->plugin, &error)) {
		trial_find(run, "%s: %.*s", run->trial->file, STR_ARG(error));
		return ERR_REFUSED;
	}
	run->table = plugin_info(run->plugin);
	buf_init(&text, (size_t)64 << 10);
	int rc = plugin_describe(run->plugin, &text);
	if (rc == OK) printf("%.*s", (int)text.len, buf_str(&text).ptr);
	buf_fini(&text);
	return rc;
}

static int read_options(struct trial_run *run)
{
	struct node *root = NULL;
	struct str error = STR_NONE, file = STR("options");
	int rc =
	    run->trial->options ? tree_parse(&run->arena, str_from(run->trial->options), "options", &root, &error) : OK;
	struct conf_instance instance = {
	    .name = str_from(run->table->name), .plugin = str_from(run->table->name), .options = root, .line = 1};
	if (rc == OK) rc = plugin_conf_check(&run->arena, run->plugin, &instance, file, &run->conf, &error);
	if (rc) trial_find(run, "%.*s", STR_ARG(error));
	return rc;
}

static int run_all(struct trial_run *run)
{
	int rc = json_reader_new(&run->reader);
	if (rc == OK) rc = load(run);
	if (rc == OK && !(run->table->caps & CDPD_CAP_FEATURE)) rc = read_options(run);
	if (rc == OK) rc = read_events(run);
	if (rc == OK && run->table->caps & CDPD_CAP_ENRICH) rc = trial_enrich(run);
	if (rc == OK && plugin_is_async(run->plugin)) rc = trial_async(run);
	if (rc == OK && run->table->caps & CDPD_CAP_SOURCE) rc = trial_source(run);
	if (rc == OK && run->table->caps & CDPD_CAP_FEATURE) rc = trial_feature(run);
	if (rc == OK && run->table->caps & CDPD_CAP_EXPORT) rc = trial_export(run);
	return rc;
}

static void reset_signals(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGINT, SIGPIPE};
	for (size_t i = 0; i < COUNT_OF(signals); i++) (void)signal(signals[i], SIG_DFL);
}

_Noreturn static void child(const struct plugin_trial *trial, struct trial_place *place, const char *folder)
{
	struct trial_run run = {.trial = trial, .place = place, .folder = folder};
	reset_signals();
	arena_init(&run.arena, (size_t)64 << 10, 0);
	int rc = run_all(&run);
	if (rc && run.findings == 0) trial_find(&run, "the check itself failed (%s)", status_str(rc));
	trial_at(&run, "unloading", NULL);
	free(run.events);
	free(run.took_ns);
	json_reader_free(run.reader);
	arena_fini(&run.arena);
	fflush(NULL);
	_exit(run.findings ? 1 : 0);
}

/* ── the parent ──────────────────────────────────────────────────────────── */

static int wait_for(pid_t pid, bool *is_late)
{
	int status = 0;
	int64_t until = clock_mono_us() + DEADLINE_S * US_PER_SECOND;
	*is_late = false;
	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);
		if (done == pid) return status;
		if (done < 0 && errno != EINTR) return -1;
		if (clock_mono_us() > until && !*is_late) {
			*is_late = true;
			(void)kill(pid, SIGKILL);
		}
		(void)poll(NULL, 0, 5);
	}
}

static void print_place(const struct plugin_trial *trial, const struct trial_place *place, const char *what)
{
	bool is_request = strcmp(place->doing, "decode") == 0 || strcmp(place->doing, "between requests") == 0;
	if (place->line)
		(void)fprintf(stderr, "finding: it %s in %s, at %s:%u\n", what, place->doing,
			      is_request ? trial->requests : trial->events, place->line);
	else
		(void)fprintf(stderr, "finding: it %s in %s\n", what, place->doing);
}

static int remove_one(const char *path, const struct stat *what, int type, struct FTW *at)
{
	(void)what, (void)type, (void)at;
	return remove(path);
}

int plugin_trial_main(const struct plugin_trial *trial)
{
	bool is_late;
	char what[64];
	struct trial_place *place =
	    mmap(NULL, sizeof *place, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED) return 1;
	char folder[] = "/tmp/cdpd-check-XXXXXX";
	if (!mkdtemp(folder)) {
		(void)munmap(place, sizeof *place);
		return 1;
	}
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) child(trial, place, folder);
	int status = pid > 0 ? wait_for(pid, &is_late) : -1, code = 1;
	if (status != -1 && is_late) {
		print_place(trial, place, "did not come back within five minutes");
	} else if (status != -1 && WIFSIGNALED(status)) {
		(void)snprintf(what, sizeof what, "crashed (%s)", strsignal(WTERMSIG(status)));
		print_place(trial, place, what);
	} else if (status != -1 && WIFEXITED(status)) {
		code = WEXITSTATUS(status) != 0;
		if (WEXITSTATUS(status) > 1) print_place(trial, place, "ended the process");
	}
	(void)munmap(place, sizeof *place);
	(void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	if (code == 0) printf("nothing to complain about\n");
	return code;
}
