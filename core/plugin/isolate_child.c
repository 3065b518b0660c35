#include "plugin/isolate_child.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "plugin/isolate_inside.h"

#define OUT_MAX      ((size_t)64 << 20)
#define READ_CHUNK   ((size_t)256 << 10)
#define THREAD_STACK ((size_t)1 << 20)
#define SCRATCH      ((size_t)8 << 20)

struct inside inside = {.lock = PTHREAD_MUTEX_INITIALIZER};

void inside_end(int code)
{
	_exit(code);
}

void inside_lock(void)
{
	(void)pthread_mutex_lock(&inside.lock);
}

void inside_unlock(void)
{
	(void)pthread_mutex_unlock(&inside.lock);
}

void inside_written(int status)
{
	if (status) inside_end(INSIDE_EXIT_MEMORY);
}

/* ── the socket ──────────────────────────────────────────────────────────── */

void inside_flush(void)
{
	inside_lock();
	inside_write_metrics();
	while (inside.out.len) {
		ssize_t n = write(ISOLATE_FD, buf_ptr(&inside.out), inside.out.len);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) inside_end(INSIDE_EXIT_GONE);
		buf_consume(&inside.out, (size_t)n);
	}
	inside_unlock();
}

void inside_wake(void)
{
	const uint64_t one = 1;
	if (!pthread_equal(pthread_self(), inside.thread)) (void)!write(inside.wake_fd, &one, sizeof one);
}

/* Something is there to be read. */
static void read_some(void)
{
	char *tail;
	inside_written(buf_reserve(&inside.in, READ_CHUNK, &tail));
	ssize_t n = read(ISOLATE_FD, tail, READ_CHUNK);
	if (n < 0 && errno == EINTR) return;
	if (n <= 0) inside_end(INSIDE_EXIT_GONE);
	buf_commit(&inside.in, (size_t)n);
}

/* False: no whole frame has come. */
static bool next_frame(enum frame_type *type, struct str *body)
{
	size_t used;
	int rc = wire_frame(buf_str(&inside.in), type, body, &used);
	if (rc == ERR_INVALID) inside_end(INSIDE_EXIT_SPEECH);
	if (rc) return false;
	buf_consume(&inside.in, used);
	return true;
}

static void keep(enum frame_type type, struct str body)
{
	struct inside_frame *frame = malloc(sizeof *frame + body.len);
	if (!frame) inside_end(INSIDE_EXIT_MEMORY);
	frame->next = NULL;
	frame->type = type;
	frame->len = body.len;
	memcpy(frame->body, body.ptr, body.len);
	*inside.kept_end = frame;
	inside.kept_end = &frame->next;
}

static void count_handled(void)
{
	struct wire wire;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_DONE);
	wire_u32(&wire, ++inside.handled);
	inside_written(wire_end(&wire));
	inside_unlock();
}

struct str inside_wait_for(enum frame_type wanted)
{
	enum frame_type type;
	struct str body;
	inside_flush();
	for (;;) {
		while (!next_frame(&type, &body)) read_some();
		if (type == wanted) {
			count_handled();
			return body;
		}
		keep(type, body);
	}
}

/* ── questions ───────────────────────────────────────────────────────────── */

static void answer(uint32_t id, int error, struct str reason, const struct enrich_values *values, struct wire *wire)
{
	wire_answer(wire, id, error > 0 ? CDPD_ERR_INVALID : error, reason, values);
}

/* A synchronous enricher's answer is there at once. */
static void ask_now(const struct cdpd_plugin *table, uint32_t id, struct cdpd_event *event, struct wire *answers)
{
	enrich_view_begin(&inside.view, event, NULL, &inside.scratch);
	int rc = table->enrich(instance_self(inside.instance), event);
	bool is_refusal = rc == CDPD_ENRICH_DROP;
	if (is_refusal) rc = CDPD_ERR_UNSUPPORTED;
	answer(id, rc, is_refusal ? STR("an isolated enricher cannot refuse events") : STR_NONE, &inside.view.values,
	       answers);
	inside.view.event = NULL;
	arena_reset(&inside.scratch);
}

static void on_settled(void *ctx, struct ticket *ticket)
{
	struct inside_question *question = ctx;
	(void)ticket;
	inside_lock();
	question->next = inside.settled;
	inside.settled = question;
	inside_unlock();
	inside_wake();
}

static struct inside_question *take_question(void)
{
	struct inside_question *question = inside.idle;
	if (question) {
		inside.idle = question->next;
		return question;
	}
	question = calloc(1, sizeof *question);
	if (!question || ticket_new(on_settled, question, &question->ticket)) inside_end(INSIDE_EXIT_MEMORY);
	return question;
}

static void copy_event(struct arena *arena, struct cdpd_event *event)
{
	struct str *const texts[] = {&event->source_id, &event->message_id, &event->event,        &event->name,
				     &event->category,  &event->user_id,    &event->anonymous_id, &event->previous_id,
				     &event->group_id,  &event->properties, &event->traits,       &event->context,
				     &event->extra,     &event->enrichment, &event->ip,           &event->user_agent};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (texts[i]->len) inside_written(arena_str(arena, *texts[i], texts[i]));
}

static void ask_later(uint32_t id, const struct cdpd_event *event)
{
	struct inside_question *question = take_question();
	question->id = id;
	*ticket_owner_event(question->ticket) = *event;
	copy_event(ticket_arena(question->ticket), ticket_owner_event(question->ticket));
	inside_written(ticket_open(question->ticket, inside.instance));
	ticket_ask(question->ticket);
}

static void take_questions(struct str body)
{
	const struct cdpd_plugin *table = plugin_info(inside.plugin);
	struct wire_in in = wire_in(body);
	struct buf buf;
	struct wire answers;
	uint32_t count = wire_take_count(&in, sizeof(uint32_t));
	bool is_sync = inside.use == CDPD_CAP_ENRICH;
	buf_init(&buf, WIRE_FRAME_MAX + WIRE_HEADER);
	wire_begin(&answers, &buf, FRAME_ANSWERS);
	wire_u32(&answers, count);
	for (uint32_t i = 0; i < count; i++) {
		struct cdpd_event event;
		uint32_t id = wire_take_u32(&in);
		wire_take_event(&in, &event);
		if (in.is_bad) inside_end(INSIDE_EXIT_SPEECH);
		if (is_sync)
			ask_now(table, id, &event, &answers);
		else
			ask_later(id, &event);
	}
	if (wire_finish(&in)) inside_end(INSIDE_EXIT_SPEECH);
	inside_written(wire_end(&answers));
	inside_lock();
	if (is_sync) inside_written(buf_append_str(&inside.out, buf_str(&buf)));
	inside_unlock();
	buf_fini(&buf);
}

static uint32_t write_settled(struct wire *wire, struct inside_question *list)
{
	uint32_t count = 0;
	for (struct inside_question *question = list; question; question = question->next) {
		struct ticket_answer given = ticket_answer(question->ticket);
		answer(question->id, given.error, given.reason, &ticket_owner_view(question->ticket)->values, wire);
		count++;
	}
	return count;
}

static struct inside_question *take_settled(void)
{
	struct inside_question *list = NULL;
	inside_lock();
	while (inside.settled) { /* oldest first */
		struct inside_question *question = inside.settled;
		inside.settled = question->next;
		question->next = list;
		list = question;
	}
	inside_unlock();
	return list;
}

static void settle(void)
{
	struct wire wire;
	struct inside_question *list = take_settled();
	if (!list) return;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_ANSWERS);
	size_t at = wire_here(&wire);
	wire_u32(&wire, 0);
	wire_count_at(&wire, at, write_settled(&wire, list));
	inside_written(wire_end(&wire));
	inside_unlock();
	while (list) {
		struct inside_question *question = list;
		list = question->next;
		ticket_reset(question->ticket);
		question->next = inside.idle;
		inside.idle = question;
	}
}

/* ── frames ──────────────────────────────────────────────────────────────── */

_Noreturn static void stop(void)
{
	inside.is_stopping = true;
	instance_free(inside.instance);
	settle();
	inside_tell_refusals();
	inside_flush();
	inside_end(0);
}

static void deal_with(enum frame_type type, struct str body)
{
	switch (type) {
	case FRAME_QUESTIONS: take_questions(body); break;
	case FRAME_HTTP_DONE: inside_http_done(body); break;
	case FRAME_CACHE_DONE: inside_cache_done(body); break;
	case FRAME_REQUEST: inside_take_request(body); break;
	case FRAME_BATCH: inside_take_batch(body); break;
	case FRAME_PING: break;
	case FRAME_STOP: stop();
	default: inside_end(INSIDE_EXIT_SPEECH);
	}
	settle();
	count_handled();
}

/* False: there is none. Its body may be read in while another is waited for: it is a copy then. */
static bool deal_with_one(void)
{
	enum frame_type type;
	struct str body;
	struct inside_frame *kept = inside.kept;
	if (kept) {
		inside.kept = kept->next;
		if (!inside.kept) inside.kept_end = &inside.kept;
		deal_with(kept->type, str_of(kept->body, kept->len));
		free(kept);
		return true;
	}
	if (!next_frame(&type, &body)) return false;
	/* The plugin may ask for what is waited for, which reads over this one. */
	if (type == FRAME_QUESTIONS && inside.use == CDPD_CAP_ENRICH) {
		deal_with(type, body);
		return true;
	}
	keep(type, body);
	return true;
}

static int poll_timeout(void)
{
	int64_t until = instance_next_timer(inside.instance);
	if (until == INT64_MAX) return -1;
	int64_t left_us = until - clock_mono_us();
	if (left_us <= 0) return 0;
	return left_us / US_PER_MS < 60000 ? (int)(left_us / US_PER_MS) + 1 : 60000;
}

/* The next question may be on its way. */
static int wait_awake(struct pollfd *fds, nfds_t count)
{
	int64_t until;
	int ready = 0;
	if (!vigil_begin(&inside.vigil, &until)) return 0;
	while ((ready = poll(fds, count, 0)) == 0 && !vigil_is_over(until)) continue;
	vigil_end(&inside.vigil, ready > 0);
	return ready;
}

static void wait_for_more(void)
{
	struct pollfd fds[] = {{.fd = ISOLATE_FD, .events = POLLIN}, {.fd = inside.wake_fd, .events = POLLIN}};
	uint64_t woken;
	bool is_sync = inside.use == CDPD_CAP_ENRICH;
	int timeout = poll_timeout();
	int ready = is_sync && timeout ? wait_awake(fds, COUNT_OF(fds)) : 0;
	if (ready == 0) ready = poll(fds, COUNT_OF(fds), timeout);
	if (ready <= 0) return;
	if (fds[1].revents) (void)!read(inside.wake_fd, &woken, sizeof woken);
	if (fds[0].revents) read_some();
}

_Noreturn static void work(void)
{
	for (;;) {
		while (deal_with_one()) inside_flush();
		instance_run_timers(inside.instance, clock_mono_us());
		settle();
		inside_tell_refusals();
		inside_flush();
		wait_for_more();
	}
}

/* ── beginning ───────────────────────────────────────────────────────────── */

/* What its paths reach is what events are sent with. */
static void tell_paths(const struct cdpd_instance *instance)
{
	inside.ready.path_count = instance->path_count;
	for (size_t i = 0; i < instance->path_count; i++) {
		inside.ready.paths[i] = instance->paths[i].text;
		inside.ready.parts |= wire_parts(&instance->paths[i]);
	}
}

static void say_ready(void)
{
	inside.ready.has_landlock = inside.has_landlock;
	if (inside.instance) tell_paths(inside.instance);
	inside_lock();
	inside_written(wire_write_ready(&inside.out, &inside.ready));
	inside_unlock();
	inside_tell_refusals();
	inside_flush();
}

static void make_instance(void)
{
	const struct cdpd_plugin *table = plugin_info(inside.plugin);
	const struct instance_services services = {.host = inside_host()};
	if (inside.setup.value_count != table->options.count) inside_end(INSIDE_EXIT_SPEECH);
	inside.conf.sdk = (struct cdpd_conf){.table = table, .values = inside.setup.values};
	int rc = instance_new_with(inside.plugin, inside.setup.name, &inside.conf, &services, &inside.instance);
	inside.ready.error = rc ? CDPD_ERR_INVALID : CDPD_OK;
	say_ready();
	if (rc) inside_end(1);
	if (inside.use == CDPD_CAP_ENRICH) inside.instance->view = &inside.view;
}

/* What it is, for the daemon, which never loads it. */
_Noreturn static void describe(int rc, struct str error)
{
	inside_lock();
	inside_written(rc ? wire_write_refusal(&inside.out, error)
			  : wire_write_table(&inside.out, plugin_info(inside.plugin)));
	inside_unlock();
	inside_flush();
	inside_end(0);
}

static void enter_sandbox(void)
{
	const char **read = arena_array(&inside.arena, const char *, inside.setup.read_count + 1);
	struct str folder, text;
	if (!read || arena_str(&inside.arena, inside.setup.folder, &folder)) inside_end(INSIDE_EXIT_MEMORY);
	for (size_t i = 0; i < inside.setup.read_count; i++) {
		if (arena_str(&inside.arena, inside.setup.read[i], &text)) inside_end(INSIDE_EXIT_MEMORY);
		read[i] = text.ptr;
	}
	struct sandbox sandbox = {.folder = folder.ptr,
				  .read = read,
				  .read_count = inside.setup.read_count,
				  .memory = inside.setup.memory,
				  .works = true};
	inside_watch_refusals();
	if (sandbox_confine(&sandbox)) inside_end(INSIDE_EXIT_SANDBOX);
	inside.has_landlock = sandbox.has_landlock;
}

/* The plugin's lines go to the daemon. */
static void send_line(enum log_level level, const char *text)
{
	struct wire wire;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_LOG);
	wire_u8(&wire, (uint8_t)level);
	wire_text(&wire, str_from(text));
	inside_written(wire_end(&wire));
	inside_unlock();
	if (level <= LOG_LEVEL_WARN) inside_flush(); /* it may be its last words */
}

static void take_setup(void)
{
	struct str body, copy;
	int status;
	wire_hello(&inside.out, &status);
	inside_written(status);
	body = inside_wait_for(FRAME_HELLO);
	if (wire_read_hello(body)) inside_end(INSIDE_EXIT_SPEECH);
	body = inside_wait_for(FRAME_SETUP);
	inside_written(arena_str(&inside.arena, body, &copy)); /* its texts live for ever */
	if (wire_read_setup(copy, &inside.arena, &inside.setup)) inside_end(INSIDE_EXIT_SPEECH);
	enum log_level level =
	    inside.setup.log_level <= LOG_LEVEL_DEBUG ? (enum log_level)inside.setup.log_level : LOG_LEVEL_INFO;
	log_setup(LOG_FORMAT_LOGFMT, level);
	log_to(send_line);
}

/* Threads of the plugin's reserve little: what is reserved counts as memory. */
static void save_memory(void)
{
	pthread_attr_t attr;
	(void)mallopt(M_ARENA_MAX, 2);
	if (pthread_attr_init(&attr)) return;
	if (pthread_attr_setstacksize(&attr, THREAD_STACK) == 0) (void)pthread_setattr_default_np(&attr);
	(void)pthread_attr_destroy(&attr);
}

static void begin(void)
{
	save_memory();
	inside.kept_end = &inside.kept;
	inside.thread = pthread_self();
	arena_init(&inside.arena, 4096, 0);
	arena_init(&inside.scratch, 65536, SCRATCH);
	enrich_view_init(&inside.view);
	buf_init(&inside.in, 2 * WIRE_FRAME_MAX + READ_CHUNK);
	buf_init(&inside.out, OUT_MAX);
	inside.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (inside.wake_fd < 0) inside_end(INSIDE_EXIT_SANDBOX);
}

void isolate_child_main(int count, char **arguments)
{
	struct str error = STR("it is refused");
	/* The daemon may have died before the first line. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || count != 1 || strtol(arguments[0], NULL, 10) != (long)getppid())
		inside_end(INSIDE_EXIT_GONE);
	begin();
	take_setup();
	enter_sandbox();
	int rc = plugin_load(&inside.arena, inside.setup.folder, inside.setup.plugin, &inside.plugin, &error);
	uint32_t caps = rc ? 0 : plugin_info(inside.plugin)->caps;
	if (inside.setup.only_looks) describe(rc, error);
	inside.use = inside.setup.use;
	if (rc || !(caps & inside.use)) {
		log_error(LOG_PLUGIN, "%.*s", STR_ARG(error));
		inside.ready.error = CDPD_ERR_UNSUPPORTED;
		say_ready();
		inside_end(1);
	}
	make_instance();
	work();
}
