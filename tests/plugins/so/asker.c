/* An asynchronous enricher that behaves, or misbehaves, as its options say. It sets enrichment.<its plugin's name>.said to what it was told to say. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdpd_plugin.h"

#define HELD 4096

struct asker {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	char mode[16], say[64];
	int said, name, count, event, nth;
	int64_t delay_ms;
	int64_t asked, until;
	size_t held_count, spare;
	struct cdpd_ticket *held[HELD]; /* by a timer that comes */
	int answers, strays;
};

static void answer(struct asker *self, struct cdpd_ticket *ticket)
{
	struct cdpd_event *event = self->host->ticket_event(ticket);
	struct cdpd_value name;
	if (!event || self->host->event_get(self->instance, event, self->name, &name) != CDPD_OK) {
		self->host->count(self->instance, self->strays, 1);
		(void)self->host->ticket_done(ticket, CDPD_ERR_INVALID, "no event");
		return;
	}
	(void)self->host->event_set_text(self->instance, event, self->said,
					 (struct cdpd_str){self->say, strlen(self->say)});
	if (name.kind == CDPD_VALUE_STRING)
		(void)self->host->event_set_text(self->instance, event, self->event, name.text);
	(void)self->host->event_set_number(self->instance, event, self->nth, (double)self->asked);
	int rc = self->host->ticket_done(ticket, CDPD_OK, NULL);
	self->host->count(self->instance, rc == CDPD_OK ? self->answers : self->strays, 1);
}

static void answer_held(void *ctx)
{
	struct asker *self = ctx;
	if (self->held_count == 0) return;
	struct cdpd_ticket *ticket = self->held[0];
	memmove(self->held, self->held + 1, --self->held_count * sizeof self->held[0]);
	answer(self, ticket);
	if (self->held_count) (void)self->host->timer(self->instance, 0, answer_held, self);
}

static int hold(struct asker *self, struct cdpd_ticket *ticket)
{
	if (self->held_count == HELD) return CDPD_ERR_BUSY;
	self->held[self->held_count++] = ticket;
	return self->host->timer(self->instance, self->delay_ms, answer_held, self) == CDPD_ERR_INVALID
		   ? CDPD_ERR_INVALID
		   : CDPD_OK;
}

struct thrown { /* outlives the instance */
	const struct cdpd_host *host;
	int64_t delay_ms;
	struct cdpd_ticket *ticket;
};

static void *answer_elsewhere(void *ctx)
{
	struct thrown *thrown = ctx;
	usleep((useconds_t)thrown->delay_ms * 1000);
	(void)thrown->host->ticket_done(thrown->ticket, CDPD_OK, NULL);
	free(thrown);
	return NULL;
}

static int throw(struct asker * self, struct cdpd_ticket *ticket)
{
	pthread_t thread;
	struct thrown *thrown = malloc(sizeof *thrown);
	if (!thrown) return CDPD_ERR_NOMEM;
	*thrown = (struct thrown){self->host, self->delay_ms, ticket};
	if (pthread_create(&thread, NULL, answer_elsewhere, thrown)) {
		free(thrown);
		return CDPD_ERR_NOMEM;
	}
	return pthread_detach(thread) ? CDPD_ERR_IO : CDPD_OK;
}

static int enrich_async(void *ctx, struct cdpd_ticket *ticket)
{
	struct asker *self = ctx;
	bool is_over = self->until && self->asked >= self->until; /* from then on it behaves */
	self->asked++;
	self->host->count(self->instance, self->count, 1);
	if (is_over || !strcmp(self->mode, "now")) {
		answer(self, ticket);
		return CDPD_OK;
	}
	if (!strcmp(self->mode, "never")) return CDPD_OK;
	if (!strcmp(self->mode, "later")) return hold(self, ticket);
	if (!strcmp(self->mode, "thread")) return throw(self, ticket);
	if (!strcmp(self->mode, "error")) return CDPD_ERR_IO;
	if (!strcmp(self->mode, "busy")) return self->host->ticket_done(ticket, CDPD_ERR_BUSY, "slow down");
	if (!strcmp(self->mode, "hang")) {
		for (;;) pause();
	}
	if (!strcmp(self->mode, "twice")) {
		answer(self, ticket);
		answer(self, ticket);
		return CDPD_OK;
	}
	if (!strcmp(self->mode, "huge")) {
		static const char byte = 'x';
		char *huge = malloc(100 << 20);
		if (!huge) return CDPD_ERR_NOMEM;
		memset(huge, byte, 100 << 20);
		int rc = self->host->event_set_text(self->instance, self->host->ticket_event(ticket), self->said,
						    (struct cdpd_str){huge, 100 << 20});
		free(huge);
		if (rc == CDPD_ERR_TOO_LARGE) self->host->count(self->instance, self->strays, 1);
		return self->host->ticket_done(ticket, CDPD_OK, NULL) == CDPD_OK ? CDPD_OK : CDPD_ERR_IO;
	}
	return CDPD_ERR_UNSUPPORTED;
}

static void destroy(void *ctx)
{
	struct asker *self = ctx;
	for (size_t i = 0; i < self->held_count; i++) (void)self->host->ticket_done(self->held[i], CDPD_OK, NULL);
	free(self);
}

static void copy(char *to, size_t size, struct cdpd_str from)
{
	size_t len = from.len < size - 1 ? from.len : size - 1;
	memcpy(to, from.ptr, len);
	to[len] = '\0';
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct asker *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	if (!CDPD_HAS(host, ticket_done) || !CDPD_HAS(host, http)) {
		free(self);
		return CDPD_ERR_UNSUPPORTED;
	}
	self->host = host;
	self->instance = instance;
	copy(self->mode, sizeof self->mode, host->conf_text(conf, "mode"));
	copy(self->say, sizeof self->say, host->conf_text(conf, "say"));
	self->delay_ms = host->conf_int(conf, "delay") / 1000;
	self->until = host->conf_int(conf, "until");
	self->said = host->path(instance, "enrichment.asker.said");
	self->event = host->path(instance, "enrichment.asker.event");
	self->nth = host->path(instance, "enrichment.asker.nth");
	self->name = host->path(instance, "event");
	self->count = host->counter(instance, "asked_total", "Questions.");
	self->answers = host->counter(instance, "answered_total", "Answers that were taken.");
	self->strays = host->counter(instance, "strays_total", "Answers that were not.");
	*out = self;
	return CDPD_OK;
}

static const char *const provides[] = {"enrichment.asker"};
static const struct cdpd_option options[] = {
    {.name = "mode",
     .type = CDPD_OPTION_ENUM,
     .default_text = "now",
     .values = "now|later|never|thread|error|busy|hang|twice|huge",
     .help = "what it does"},
    {.name = "say", .type = CDPD_OPTION_STRING, .default_text = "hello", .help = "what it says"},
    {.name = "delay", .type = CDPD_OPTION_DURATION, .default_text = "50ms", .help = "before it answers"},
    {.name = "until",
     .type = CDPD_OPTION_INT,
     .default_text = "0",
     .help = "after so many questions it behaves; 0: never"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR,
    .name = "asker",
    .version = "1",
    .summary = "answers later, or not",
    .caps = CDPD_CAP_ENRICH_ASYNC,
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich_async = enrich_async,
};
