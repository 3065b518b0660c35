#include "fold/marker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER_FILE  "fold.attempt"
#define MARKER_MAGIC UINT64_C(0x32746d7461706463) /* "cdpatmt2" */
#define MARKER_BYTES 4096
#define CAREFUL_PART 64 /* a transaction that died is taken again in so many */

enum struck { STRUCK_NOBODY, STRUCK_FOLD, STRUCK_OTHER };

/* ── conclusions ─────────────────────────────────────────────────────────── */

static void be_careful(struct marker_page *page)
{
	uint64_t step = (page->suspect_to - page->suspect_from) / CAREFUL_PART;
	page->careful_step = step ? step : 1;
	page->careful_until = page->suspect_to;
}

static void blame(struct marker_page *page)
{
	bool is_alone = page->to - page->from == 1, was_alone = page->suspect_to - page->suspect_from == 1;
	if (page->from >= page->to || page->struck == STRUCK_OTHER) return;
	/* Where a transaction ends depends on time, where it begins does not. */
	bool is_same = page->suspect_from == page->from && is_alone == was_alone;
	if (!is_same) page->crashes = page->deaths = 0;
	if (page->struck == STRUCK_FOLD)
		page->crashes++;
	else
		page->deaths++;
	page->suspect_from = page->from;
	page->suspect_to = page->to;
	memcpy(page->suspect_plugin, page->plugin, sizeof page->plugin);
	if (!is_alone && (page->crashes || page->deaths >= MARKER_DEATHS_MAX)) be_careful(page);
}

static void conclude(struct marker_page *page)
{
	blame(page);
	page->from = page->to = 0;
	page->struck = STRUCK_NOBODY;
	memset(page->plugin, 0, sizeof page->plugin);
}

bool marker_suspect(const struct marker *marker, uint64_t *seq)
{
	*seq = marker->page->suspect_from;
	return marker->page->suspect_to - marker->page->suspect_from == 1;
}

bool marker_is_guilty(const struct marker *marker, bool is_event)
{
	return marker->page->crashes >= MARKER_CRASHES_MAX || (is_event && marker->page->deaths >= MARKER_DEATHS_MAX);
}

struct str marker_plugin(const struct marker *marker)
{
	return str_of(marker->page->suspect_plugin, strnlen(marker->page->suspect_plugin, MARKER_PLUGIN_SIZE));
}

static void forget_suspect(struct marker_page *page)
{
	page->suspect_from = page->suspect_to = 0;
	page->crashes = page->deaths = 0;
	memset(page->suspect_plugin, 0, MARKER_PLUGIN_SIZE);
}

void marker_passed(struct marker *marker, uint64_t next)
{
	struct marker_page *page = marker->page;
	if (page->suspect_to && page->suspect_to <= next) forget_suspect(page);
	if (page->careful_until && page->careful_until <= next) page->careful_until = page->careful_step = 0;
}

void marker_acquit(struct marker *marker)
{
	forget_suspect(marker->page);
	marker->page->careful_until = marker->page->careful_step = 0;
}

/* ── the file ────────────────────────────────────────────────────────────── */

static int map_page(int fd, struct marker_page **out)
{
	struct stat info;
	if (fstat(fd, &info) || !S_ISREG(info.st_mode)) return ERR_IO;
	/* Written, not only truncated: a store into a hole of a full disk would be a SIGBUS. */
	if (info.st_size < MARKER_BYTES && posix_fallocate(fd, 0, MARKER_BYTES)) return ERR_FULL;
	void *map = mmap(NULL, MARKER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) return ERR_IO;
	*out = map;
	return OK;
}

int marker_open(struct marker *marker, struct str store_path)
{
	char path[4096];
	int length = snprintf(path, sizeof path, "%.*s/%s", STR_ARG(store_path), MARKER_FILE);
	if (length < 0 || (size_t)length >= sizeof path) return ERR_TOO_LARGE;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) return ERR_IO;
	int rc = map_page(fd, &marker->page);
	close(fd);
	if (rc) return rc;
	if (marker->page->magic != MARKER_MAGIC) {
		memset(marker->page, 0, sizeof *marker->page);
		marker->page->magic = MARKER_MAGIC;
	}
	conclude(marker->page);
	return OK;
}

/* ── signals ─────────────────────────────────────────────────────────────── */

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
#define FATAL_COUNT (sizeof fatal / sizeof fatal[0])

static struct marker_page *watched;
static struct sigaction before[FATAL_COUNT];
static _Thread_local bool is_fold_thread;
static _Alignas(16) char handler_stack[65536]; /* the fold's thread may have run out of its own */

/* Whoever had the signal gets it: a fault comes again by itself when the instruction is run again. */
static void pass_on(int signo, const siginfo_t *info)
{
	for (size_t i = 0; i < FATAL_COUNT; i++)
		if (fatal[i] == signo) (void)sigaction(signo, &before[i], NULL);
	if (info->si_code <= 0) (void)raise(signo);
}

static void on_fatal_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	struct marker_page *page = watched;
	if (page) page->struck = is_fold_thread && signo != SIGBUS ? STRUCK_FOLD : STRUCK_OTHER;
	pass_on(signo, info);
}

void marker_watch_signals(struct marker *marker)
{
	struct sigaction action = {.sa_sigaction = on_fatal_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigset_t ours;
	stack_t stack;
	(void)sigemptyset(&action.sa_mask);
	(void)sigemptyset(&ours);
	for (size_t i = 0; i < FATAL_COUNT; i++) (void)sigaddset(&ours, fatal[i]);
	(void)pthread_sigmask(SIG_UNBLOCK, &ours, NULL); /* a fault that is blocked kills without a word */
	is_fold_thread = true;
	if (sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE)) {
		stack = (stack_t){.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
		(void)sigaltstack(&stack, NULL);
	}
	if (!watched)
		for (size_t i = 0; i < FATAL_COUNT; i++) (void)sigaction(fatal[i], &action, &before[i]);
	watched = marker->page;
}

static void watch_no_longer(void)
{
	for (size_t i = 0; i < FATAL_COUNT; i++) (void)sigaction(fatal[i], &before[i], NULL);
	watched = NULL;
}

void marker_close(struct marker *marker)
{
	if (!marker->page) return;
	if (watched == marker->page) watch_no_longer();
	marker_end(marker);
	munmap(marker->page, MARKER_BYTES);
	marker->page = NULL;
}
