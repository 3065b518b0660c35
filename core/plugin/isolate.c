#include "plugin/isolate.h"

#include <stdio.h>
#include <stdlib.h>

#include "plugin/isolate_internal.h"

#define LINE_US       (US_PER_SECOND / 20) /* a line of its log this often, and a burst of so many */
#define LINE_BURST    100
#define BATCH_ENOUGH  ((size_t)1 << 20)
#define FRAMES_MOST   4096 /* in one turn */
#define CALL_LEAST_US (100 * US_PER_MS)
#define EXPORT_US     (25 * US_PER_SECOND) /* inside export_batch: somewhat less than the destination waits */

/* ── questions ───────────────────────────────────────────────────────────── */

static void push(struct isolate *isolate, struct isolate_queue *queue, struct isolate_question *question)
{
	uint32_t place = (uint32_t)(question - isolate->questions) + 1;
	question->next = 0;
	if (queue->last)
		isolate->questions[queue->last - 1].next = place;
	else
		queue->first = place;
	queue->last = place;
	queue->count++;
}

static struct isolate_question *pop(struct isolate *isolate, struct isolate_queue *queue)
{
	if (!queue->first) return NULL;
	struct isolate_question *question = &isolate->questions[queue->first - 1];
	queue->first = question->next;
	if (!queue->first) queue->last = 0;
	queue->count--;
	return question;
}

static void let_go(struct isolate *isolate, struct isolate_question *question)
{
	question->state = QUESTION_FREE;
	question->ticket = NULL;
	question->id += ISOLATE_QUESTIONS;
	push(isolate, &isolate->free, question);
}

/* The plugin's word, or ours in its place. */
static void finish(struct isolate *isolate, struct isolate_question *question, int error, const char *reason)
{
	struct cdpd_ticket *ticket = question->ticket;
	let_go(isolate, question);
	(void)isolate->host->ticket_done(ticket, error, reason); /* nobody may wait for it any more */
}

int isolate_send(struct isolate *isolate, struct wire *wire)
{
	int rc = wire_end(wire);
	if (rc == OK) isolate_process_sent(&isolate->process);
	return rc;
}

static int send_empty(struct isolate *isolate, enum frame_type type)
{
	struct wire wire;
	wire_begin(&wire, &isolate->process.out, type);
	return isolate_send(isolate, &wire);
}

/* The next that somebody still waits for. */
static struct isolate_question *next_wanted(struct isolate *isolate, struct isolate_queue *queue,
					    const struct cdpd_event **event)
{
	struct isolate_question *question;
	while ((question = pop(isolate, queue)) != NULL) {
		if ((*event = ticket_wanted(question->ticket)) != NULL) return question;
		finish(isolate, question, CDPD_ERR_TIMEOUT, "too late");
	}
	return NULL;
}

/* Bytes of one more question; a too long one is answered by us. */
static void write_question(struct isolate *isolate, struct wire *wire, struct isolate_question *question,
			   const struct cdpd_event *event, uint32_t *count)
{
	size_t before = wire_here(wire);
	int status = wire->status;
	wire_u32(wire, question->id);
	wire_event(wire, event, isolate->parts);
	if ((!status && wire->status) || wire_here(wire) - wire->frame > WIRE_FRAME_MAX) {
		buf_cut(wire->buf, before);
		wire->status = status;
		finish(isolate, question, CDPD_ERR_TOO_LARGE, "the event is too large for an isolated enricher");
		return;
	}
	question->state = QUESTION_SENT;
	isolate->sent++;
	++*count;
}

static int send_batch(struct isolate *isolate, struct isolate_queue *queue, uint32_t most)
{
	struct isolate_question *question;
	const struct cdpd_event *event;
	struct wire wire;
	uint32_t count = 0;
	wire_begin(&wire, &isolate->process.out, FRAME_QUESTIONS);
	size_t at = wire_here(&wire);
	wire_u32(&wire, 0);
	while (count < most && wire_here(&wire) - at < BATCH_ENOUGH &&
	       (question = next_wanted(isolate, queue, &event)) != NULL)
		write_question(isolate, &wire, question, event, &count);
	if (count == 0) {
		buf_cut(&isolate->process.out, wire.frame);
		return wire.status;
	}
	wire_count_at(&wire, at, count);
	return isolate_send(isolate, &wire);
}

static int send_questions(struct isolate *isolate)
{
	int rc = OK;
	if (isolate->state != ISOLATE_UP) return OK;
	if (isolate->suspects.count) /* alone, so that it is known which one it dies of */
		return isolate->sent == 0 ? send_batch(isolate, &isolate->suspects, 1) : OK;
	while (!rc && isolate->fresh.count && isolate->process.out.len < ISOLATE_OUT_ENOUGH)
		rc = send_batch(isolate, &isolate->fresh, WIRE_BATCH_MAX);
	return rc;
}

/* ── life and death ──────────────────────────────────────────────────────── */

static int64_t pause_after(unsigned deaths)
{
	int64_t pause = ISOLATE_BACKOFF_MIN;
	for (unsigned i = 1; i < deaths && pause < ISOLATE_BACKOFF_MAX; i++) pause *= 2;
	return pause < ISOLATE_BACKOFF_MAX ? pause : ISOLATE_BACKOFF_MAX;
}

/* What it was asked: the only one is what it died of; of several each is asked alone. */
static void sort_out(struct isolate *isolate, const char *why)
{
	char reason[160];
	bool is_alone = isolate->sent == 1;
	(void)snprintf(reason, sizeof reason, "its process ended: %s", why);
	for (size_t i = 0; i < ISOLATE_QUESTIONS; i++) {
		struct isolate_question *question = &isolate->questions[i];
		if (question->state != QUESTION_SENT) continue;
		question->state = QUESTION_WAITING;
		question->id += ISOLATE_QUESTIONS; /* what a dead process still says is about nobody */
		if (is_alone || !ticket_wanted(question->ticket))
			finish(isolate, question, CDPD_ERR_IO, reason);
		else
			push(isolate, &isolate->suspects, question);
	}
	isolate->sent = 0;
}

static void die(struct isolate *isolate, const char *why, int64_t grace_us)
{
	char cause[120];
	int64_t now = clock_mono_us();
	struct isolate_end end = isolate_process_end(&isolate->process, grace_us);
	life_describe_end(end, why, cause, sizeof cause);
	bool was_healthy = isolate->state == ISOLATE_UP && now - isolate->since_us >= ISOLATE_HEALTHY_US;
	isolate->deaths_in_row = was_healthy ? 1 : isolate->deaths_in_row + 1;
	isolate->state = ISOLATE_DOWN;
	isolate->restart_us = clock_mono_us() + pause_after(isolate->deaths_in_row);
	isolate->generation++;
	life_ended(isolate->life, cause);
	metric_add(isolate->deaths, 1);
	metric_set(isolate->up, 0);
	log_line(LOG_PLUGIN, LOG_LEVEL_WARN, isolate->instance->name,
		 "its process ended, it begins anew in %lld ms, what it was asked is asked again (%s)",
		 (long long)((isolate->restart_us - clock_mono_us()) / US_PER_MS), cause);
	sort_out(isolate, cause);
	isolate_drop_request(isolate);
	isolate_sort_batches(isolate, cause);
	isolate_drop_slots(isolate);
	if (isolate->instance->services.http) http_watch(isolate->instance->services.http, -1, false);
}

static void start(struct isolate *isolate)
{
	isolate->state = ISOLATE_STARTING;
	isolate->since_us = isolate->pinged_us = clock_mono_us();
	isolate->was_greeted = false;
	int rc = isolate_process_start(&isolate->process);
	if (rc == OK) rc = buf_append_str(&isolate->process.out, buf_str(&isolate->setup));
	if (rc) {
		die(isolate, "it cannot be started", 0);
		return;
	}
	isolate_process_sent(&isolate->process);
	isolate_process_sent(&isolate->process);
	metric_add(isolate->starts, 1);
}

/* ── what it says ────────────────────────────────────────────────────────── */

static int set_value(struct isolate *isolate, struct enrich_view *view, const struct enrich_value *value)
{
	const struct field_path *path = value->index < isolate->path_count ? &isolate->paths[value->index] : NULL;
	return path && path->is_provided ? enrich_view_set(view, path, *value) : ERR_INVALID;
}

static struct isolate_question *find_question(struct isolate *isolate, uint32_t id)
{
	struct isolate_question *question = &isolate->questions[id % ISOLATE_QUESTIONS];
	return question->state == QUESTION_SENT && question->id == id ? question : NULL;
}

static int take_values(struct isolate *isolate, struct wire_in *in, const struct isolate_question *question,
		       uint32_t count)
{
	struct enrich_view *view =
	    ticket_view(isolate->instance, (const struct cdpd_event *)(const void *)question->ticket);
	int rc = OK;
	for (uint32_t i = 0; i < count; i++) { /* to the end: the next answer lies behind them */
		struct enrich_value value;
		wire_take_value(in, &value);
		if (in->is_bad) return ERR_INVALID;
		int set = view ? set_value(isolate, view, &value) : OK;
		if (!rc || set == ERR_INVALID) rc = set;
	}
	return rc;
}

static int take_answer(struct isolate *isolate, struct wire_in *in, bool *is_full)
{
	struct wire_answer answer;
	char reason[220];
	wire_take_answer(in, &answer);
	struct isolate_question *question = in->is_bad ? NULL : find_question(isolate, answer.id);
	if (!question) return ERR_INVALID;
	int rc = take_values(isolate, in, question, answer.count);
	if (rc == ERR_INVALID) return rc;
	if (answer.error == CDPD_ERR_NOMEM) { /* it may be another one's fault: sort_out asks again */
		*is_full = true;
		return OK;
	}
	size_t len = answer.reason.len < sizeof reason - 1 ? answer.reason.len : sizeof reason - 1;
	memcpy(reason, answer.reason.ptr, len);
	reason[len] = '\0';
	isolate->sent--;
	finish(isolate, question, rc ? CDPD_ERR_TOO_LARGE : answer.error, reason);
	return OK;
}

/* ERR_NOMEM: it said that it has no memory any more. */
static int take_answers(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t count = wire_take_count(&in, 16);
	bool is_full = false;
	int rc = OK;
	for (uint32_t i = 0; i < count && !rc; i++) rc = take_answer(isolate, &in, &is_full);
	if (!rc) rc = wire_finish(&in);
	return rc ? rc : is_full ? ERR_NOMEM : OK;
}

static int take_line(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint8_t level = wire_take_u8(&in);
	struct str text = wire_take_text(&in);
	int64_t now = clock_mono_us(), oldest = now - LINE_BURST * LINE_US;
	if (wire_finish(&in) || level > LOG_LEVEL_DEBUG) return ERR_INVALID;
	if (isolate->lines_at_us < oldest) isolate->lines_at_us = oldest;
	if (isolate->lines_at_us > now) {
		isolate->lines_dropped++;
		return OK;
	}
	isolate->lines_at_us += LINE_US;
	if (isolate->lines_dropped)
		log_line(LOG_PLUGIN, LOG_LEVEL_WARN, isolate->instance->name, "%llu lines of its log were left out",
			 (unsigned long long)isolate->lines_dropped);
	isolate->lines_dropped = 0;
	log_line(LOG_PLUGIN, (enum log_level)level, isolate->instance->name, "%.*s",
		 text.len > 1000 ? 1000 : (int)text.len, text.ptr);
	return OK;
}

static int take_metrics(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t count = wire_take_count(&in, 12);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = wire_take_u32(&in);
		int64_t value = wire_take_i64(&in);
		if (number >= isolate->metric_count || value < 0) continue;
		isolate->host->count(isolate->instance, isolate->metrics[number], (uint64_t)value);
		isolate->host->observe_us(isolate->instance, isolate->metrics[number], value);
	}
	return wire_finish(&in);
}

static int add_metric(struct isolate *isolate, const struct wire_metric *metric)
{
	char name[64], help[256];
	if (metric->name.len >= sizeof name) return CDPD_ERR_INVALID;
	(void)snprintf(name, sizeof name, "%.*s", STR_ARG(metric->name));
	(void)snprintf(help, sizeof help, "%.*s", STR_ARG(metric->help));
	if (metric->type == METRIC_COUNTER) return isolate->host->counter(isolate->instance, name, help);
	return isolate->host->histogram(isolate->instance, name, help);
}

/* Every process of the instance has the same ones, in any order. */
static void take_metric_names(struct isolate *isolate, const struct wire_ready *ready)
{
	struct cdpd_instance *instance = isolate->instance;
	bool was_creating = instance->is_creating;
	instance->metric_count = 0;
	instance->is_creating = true;
	for (size_t i = 0; i < ready->metric_count; i++) isolate->metrics[i] = add_metric(isolate, &ready->metrics[i]);
	instance->is_creating = was_creating;
	isolate->metric_count = ready->metric_count;
}

/* Paths as the host's own: what is set lies at or under `provides`. */
static int take_path(struct isolate *isolate, struct str text)
{
	const struct cdpd_paths *provides = &isolate->table->provides;
	struct field_path *path = &isolate->paths[isolate->path_count];
	*path = (struct field_path){.head = FIELD_ROOT};
	if (!plugin_is_field_path(text)) return ERR_INVALID;
	if (arena_str(&isolate->path_arena, text, &path->text)) return ERR_NOMEM;
	path->head = field_head_of(path->text, &path->rest);
	for (size_t i = 0; i < provides->count && !path->is_provided; i++)
		path->is_provided =
		    path->head == FIELD_ENRICHMENT && plugin_path_is_under(path->text, str_from(provides->items[i]));
	isolate->path_count++;
	return OK;
}

/* Nothing that was set by those of the process before is kept. */
static int take_paths(struct isolate *isolate, const struct wire_ready *ready)
{
	int rc = OK;
	arena_reset(&isolate->path_arena);
	isolate->path_count = 0;
	isolate->parts = ready->parts;
	for (size_t i = 0; i < ready->path_count && !rc; i++) rc = take_path(isolate, ready->paths[i]);
	return rc;
}

static int take_ready(struct isolate *isolate, struct str body)
{
	struct wire_ready ready;
	if (isolate->state != ISOLATE_STARTING || wire_read_ready(body, &ready)) return ERR_INVALID;
	if (ready.error) return ERR_REFUSED;
	int rc = take_paths(isolate, &ready);
	if (rc) return rc;
	if (!ready.has_landlock && !isolate->has_warned)
		log_line(LOG_PLUGIN, LOG_LEVEL_WARN, isolate->instance->name,
			 "this kernel has no Landlock: the plugin can read whatever cdpd may read");
	isolate->has_warned |= !ready.has_landlock;
	take_metric_names(isolate, &ready);
	isolate->state = ISOLATE_UP;
	isolate->since_us = clock_mono_us();
	metric_set(isolate->up, 1);
	life_began(isolate->life);
	return OK;
}

static int take_done(struct isolate *isolate, struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t done = wire_take_u32(&in);
	return wire_finish(&in) ? ERR_INVALID : isolate_process_dealt(&isolate->process, done);
}

static int deal_with(struct isolate *isolate, enum frame_type type, struct str body)
{
	if (!isolate->was_greeted) {
		if (type != FRAME_HELLO) return ERR_INVALID;
		isolate->was_greeted = true;
		return wire_read_hello(body);
	}
	switch (type) {
	case FRAME_READY: return take_ready(isolate, body);
	case FRAME_ANSWERS: return take_answers(isolate, body);
	case FRAME_DONE: return take_done(isolate, body);
	case FRAME_LOG: return take_line(isolate, body);
	case FRAME_METRICS: return take_metrics(isolate, body);
	case FRAME_HTTP: return isolate_take_http(isolate, body);
	case FRAME_CACHE: return isolate_take_cache(isolate, body);
	case FRAME_CACHE_FILL: return isolate_take_fill(isolate, body);
	case FRAME_KV_GET: return isolate_take_kv_get(isolate, body);
	case FRAME_KV_PUT: return isolate_take_kv_put(isolate, body);
	case FRAME_DECODED: return isolate_take_decoded(isolate, body);
	case FRAME_VERDICTS: return isolate_take_verdicts(isolate, body);
	default: return ERR_INVALID;
	}
}

/* ── turns ───────────────────────────────────────────────────────────────── */

static const char *why_not(int rc)
{
	switch (rc) {
	case ERR_INVALID: return "it sent what is no frame of ours";
	case ERR_FORMAT: return "it speaks another version";
	case ERR_NOMEM: return "out of memory";
	case ERR_REFUSED: return "create failed";
	case ERR_TOO_LARGE: return "it does not read what it is sent";
	default: return "";
	}
}

static int take_frames(struct isolate *isolate)
{
	enum frame_type type;
	struct str body;
	int rc = OK;
	isolate->has_more = false;
	for (size_t i = 0; i < FRAMES_MOST && !rc; i++) {
		rc = isolate_process_next(&isolate->process, &type, &body);
		if (rc == ERR_AGAIN) return OK;
		if (!rc) rc = deal_with(isolate, type, body);
	}
	isolate->has_more = true;
	return rc;
}

static bool is_hanging(const struct isolate *isolate, int64_t now)
{
	if (isolate->state == ISOLATE_STARTING) return now - isolate->since_us > ISOLATE_START_US;
	return isolate_process_idle_us(&isolate->process, now) > isolate->deadline_us;
}

static void speak(struct isolate *isolate)
{
	int64_t now = clock_mono_us();
	int read = isolate_process_read(&isolate->process);
	int rc = take_frames(isolate);
	if (rc || read == ERR_CLOSED) {
		die(isolate, why_not(rc), rc ? 0 : ISOLATE_GRACE_US);
		return;
	}
	if (is_hanging(isolate, now)) {
		die(isolate,
		    isolate->state == ISOLATE_STARTING ? "create did not return" : "a call did not return in time", 0);
		return;
	}
	rc = send_questions(isolate);
	if (!rc) rc = isolate_send_request(isolate);
	if (!rc) rc = isolate_send_batches(isolate);
	if (!rc && isolate->state == ISOLATE_UP && now - isolate->pinged_us >= ISOLATE_PING_US) {
		isolate->pinged_us = now;
		rc = send_empty(isolate, FRAME_PING);
	}
	if (!rc) rc = isolate_process_write(&isolate->process);
	if (rc == OK)
		http_watch(isolate->instance->services.http, isolate->process.fd, isolate->process.out.len > 0);
	else
		die(isolate, why_not(rc), rc == ERR_CLOSED ? ISOLATE_GRACE_US : 0);
}

/* True: an answer came. */
static bool keep_vigil(struct isolate *isolate)
{
	int64_t until;
	size_t before = isolate->process.in.len;
	if (isolate->use != CDPD_CAP_ENRICH || isolate->sent == 0 || isolate->has_more) return false;
	if (!vigil_begin(&isolate->vigil, &until)) return false;
	int rc;
	do {
		rc = isolate_process_read(&isolate->process);
	} while (rc == OK && isolate->process.in.len == before && !vigil_is_over(until));
	vigil_end(&isolate->vigil, isolate->process.in.len > before);
	return isolate->process.in.len > before;
}

/* On the runner's thread, between its other work. */
int64_t isolate_turn(struct isolate *isolate)
{
	int64_t now = clock_mono_us();
	if (isolate->state == ISOLATE_DOWN && now >= isolate->restart_us) start(isolate);
	if (isolate->state != ISOLATE_DOWN) speak(isolate);
	if (isolate->state == ISOLATE_UP && keep_vigil(isolate)) speak(isolate);
	if (isolate->state == ISOLATE_DOWN) {
		(void)!isolate_send_batches(isolate); /* those that have waited too long */
		return isolate->restart_us;
	}
	if (isolate->has_more) return now;
	if (isolate->state == ISOLATE_STARTING) return isolate->since_us + ISOLATE_START_US + 1;
	int64_t due = isolate->pinged_us + ISOLATE_PING_US,
		late = isolate->process.progress_us + isolate->deadline_us + 1;
	return isolate->process.sent != isolate->process.done && late < due ? late : due;
}

static int64_t turn(void *ctx)
{
	return isolate_turn(ctx);
}

void isolate_kill(struct isolate *isolate, const char *why)
{
	die(isolate, why, 0);
}

bool isolate_is_long_down(const struct isolate *isolate)
{
	return isolate->state == ISOLATE_DOWN && isolate->restart_us - clock_mono_us() > ISOLATE_HOLD_US;
}

int isolate_ask(void *self, struct cdpd_ticket *ticket)
{
	struct isolate *isolate = self;
	struct isolate_question *question = isolate_is_long_down(isolate) ? NULL : pop(isolate, &isolate->free);
	if (!question) return CDPD_ERR_BUSY;
	question->ticket = ticket;
	question->state = QUESTION_WAITING;
	push(isolate, &isolate->fresh, question);
	/* A whole batch need not wait for the others; what goes wrong shows at the turn. */
	if (isolate->fresh.count >= WIRE_BATCH_MAX && isolate->state == ISOLATE_UP && send_questions(isolate) == OK)
		(void)!isolate_process_write(&isolate->process);
	return CDPD_OK;
}

/* ── making and ending ───────────────────────────────────────────────────── */

static enum log_level plugin_level(void)
{
	enum log_level level = LOG_LEVEL_DEBUG;
	while (level > LOG_LEVEL_ERROR && !log_enabled(LOG_PLUGIN, level)) level--;
	return level;
}

/* "/" alone is the path of some URL: as a folder it would be every file there is. */
static bool is_named_path(const struct cdpd_option *option, const struct option_value *value)
{
	return option->type == CDPD_OPTION_STRING && value->is_set && value->text.len > 1 &&
	       memchr(value->text.ptr, '/', value->text.len);
}

/* What its options name, and what the configuration says besides. */
static struct str *readable(struct arena *arena, const struct plugin_conf *conf, size_t *count)
{
	const struct cdpd_options *options = &conf->sdk.table->options;
	struct str *read = arena_array(arena, struct str, conf->isolation.read_count + options->count + 1);
	*count = 0;
	if (!read) return NULL;
	for (size_t i = 0; i < conf->isolation.read_count; i++) read[(*count)++] = conf->isolation.read[i];
	for (size_t i = 0; i < options->count; i++) {
		const struct option_value *value = &conf->sdk.values[i];
		if (is_named_path(plugin_option(options, i), value)) read[(*count)++] = value->text;
	}
	return read;
}

static void split_path(const char *path, struct str *folder, struct str *name)
{
	const char *slash = strrchr(path, '/');
	*folder = slash ? str_of(path, (size_t)(slash - path)) : STR(".");
	*name = str_from(slash ? slash + 1 : path);
	if (name->len > 3) name->len -= 3; /* .so */
}

static int write_setup(struct isolate *isolate, const struct plugin_conf *conf)
{
	struct arena arena;
	arena_init(&arena, 4096, 0);
	struct wire_setup setup = {.use = isolate->use,
				   .name = str_from(isolate->instance->name),
				   .memory = conf->isolation.memory,
				   .log_level = (uint32_t)plugin_level(),
				   .values = conf->sdk.values,
				   .value_count = conf->sdk.table->options.count};
	int rc = ERR_NOMEM;
	split_path(isolate_path(isolate->table), &setup.folder, &setup.plugin);
	setup.read = readable(&arena, conf, &setup.read_count);
	if (setup.read) wire_hello(&isolate->setup, &rc);
	if (!rc) rc = wire_write_setup(&isolate->setup, &setup);
	arena_fini(&arena);
	return rc;
}

static struct metric *metric_of(const struct isolate *isolate, enum metric_type type, const char *name,
				const char *help)
{
	static const char head[] = "source:";
	const char *own = isolate->instance->name, *what = "enricher";
	char labels[INSTANCE_NAME_MAX + 20];
	if (isolate->use == CDPD_CAP_EXPORT) what = "destination";
	if (isolate->use == CDPD_CAP_SOURCE) what = "source";
	if (isolate->use == CDPD_CAP_SOURCE && strncmp(own, head, sizeof head - 1) == 0) own += sizeof head - 1;
	(void)snprintf(labels, sizeof labels, "%s=\"%s\"", what, own);
	return metric_get(type, name, labels, help);
}

static void free_isolate(struct isolate *isolate)
{
	isolate_process_fini(&isolate->process);
	arena_fini(&isolate->path_arena);
	buf_fini(&isolate->setup);
	free(isolate);
}

/* A synchronous enricher is one though it could be something else too. */
static uint32_t use_of(uint32_t caps, uint32_t wanted)
{
	static const uint32_t uses[] = {CDPD_CAP_ENRICH, CDPD_CAP_ENRICH_ASYNC, CDPD_CAP_SOURCE, CDPD_CAP_EXPORT};
	for (size_t i = 0; i < COUNT_OF(uses); i++)
		if (caps & uses[i] && (!wanted || wanted & uses[i])) return uses[i];
	return 0;
}

/* Of a question only a part: what it held up can be asked again in time. */
static int64_t call_deadline(uint32_t use, int64_t deadline_us)
{
	if (use == CDPD_CAP_EXPORT) return EXPORT_US;
	if (use != CDPD_CAP_SOURCE) deadline_us /= 4;
	return deadline_us > CALL_LEAST_US ? deadline_us : CALL_LEAST_US;
}

int isolate_create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *sdk,
		   void **self)
{
	const struct plugin_conf *conf = (const struct plugin_conf *)(const void *)sdk;
	struct isolate *isolate = calloc(1, sizeof *isolate);
	if (!isolate) return CDPD_ERR_NOMEM;
	isolate->host = host;
	isolate->instance = instance;
	isolate->table = sdk->table;
	isolate->use = use_of(isolate_caps(sdk->table), conf->use);
	isolate->deadline_us = call_deadline(isolate->use, conf->isolation.deadline_ms * US_PER_MS);
	isolate_process_init(&isolate->process);
	arena_init(&isolate->path_arena, 1024, 0);
	buf_init(&isolate->setup, WIRE_FRAME_MAX);
	isolate->life = life_of(instance->name);
	if (!isolate->life || !instance->services.http || write_setup(isolate, conf)) {
		free_isolate(isolate);
		return CDPD_ERR_NOMEM;
	}
	for (uint32_t i = 0; i < ISOLATE_QUESTIONS; i++) {
		isolate->questions[i].id = i;
		push(isolate, &isolate->free, &isolate->questions[i]);
	}
	isolate->starts = metric_of(isolate, METRIC_COUNTER, "cdpd_isolated_starts_total",
				    "Processes that were started for an isolated plugin.");
	isolate->deaths = metric_of(isolate, METRIC_COUNTER, "cdpd_isolated_deaths_total",
				    "Processes of an isolated plugin that ended though nobody wanted it.");
	isolate->up = metric_of(isolate, METRIC_GAUGE, "cdpd_isolated_up", "1 while its process answers.");
	instance->turn = turn;
	instance->turn_ctx = isolate;
	*self = isolate;
	return CDPD_OK;
}

void isolate_destroy(void *self)
{
	struct isolate *isolate = self;
	if (isolate->state != ISOLATE_DOWN) {
		if (isolate->state == ISOLATE_UP && send_empty(isolate, FRAME_STOP) == OK)
			(void)!isolate_process_write(&isolate->process);
		/* With its answers nobody does anything any more: the tickets come back. */
		int64_t until = clock_mono_us() + ISOLATE_GRACE_US;
		while (isolate->state == ISOLATE_UP && isolate_process_wait(&isolate->process, until) == OK) {
			enum frame_type type;
			struct str body;
			if (isolate_process_read(&isolate->process) != OK) break;
			while (isolate_process_next(&isolate->process, &type, &body) == OK)
				if (type == FRAME_LOG) (void)!take_line(isolate, body);
		}
		(void)isolate_process_end(&isolate->process, 0);
		isolate->generation++;
	}
	life_ended(isolate->life, NULL);
	metric_set(isolate->up, 0);
	isolate_drop_slots(isolate);
	isolate_free_calls(isolate);
	if (isolate->instance->services.http) http_watch(isolate->instance->services.http, -1, false);
	free_isolate(isolate);
}
