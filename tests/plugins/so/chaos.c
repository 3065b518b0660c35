/* An exporter that answers at random, from a seed: it takes records, asks for some again, refuses a few, fails as a whole, answers later from other
 * threads and sometimes never. It writes what it said of each record to a file, a line each: "A|R|D message profile", and "OVERLAP profile" when it is
 * handed somebody of whom it still holds a record. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdpd_plugin.h"

#define BATCHES_MAX 64
#define RECORDS_MAX 64

struct chaos;
struct held { /* a batch that is answered later */
	struct chaos *self;
	struct cdpd_receipt *receipt;
	size_t count;
	char persons[RECORDS_MAX][33], messages[RECORDS_MAX][24];
	bool is_open, is_dead;
	unsigned wait_us;
};
struct chaos {
	const struct cdpd_host *host;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned long long state;
	unsigned threads;
	bool is_calm; /* only ever takes: to drain */
	char file[512], calm[520];
	struct held held[BATCHES_MAX];
};

/* Under the lock. */
static unsigned roll(struct chaos *self, unsigned sides)
{
	self->state ^= self->state << 13;
	self->state ^= self->state >> 7;
	self->state ^= self->state << 17;
	return (unsigned)(self->state >> 33) % sides;
}

static void note(struct chaos *self, const char *word, const char *message, const char *person)
{
	FILE *file = fopen(self->file, "a");
	if (!file) return;
	fprintf(file, "%s %s %s\n", word, message, person);
	fclose(file);
}

static void note_overlaps(struct chaos *self, const struct held *mine)
{
	for (size_t b = 0; b < BATCHES_MAX; b++) {
		const struct held *other = &self->held[b];
		if (!other->is_open || other == mine) continue;
		for (size_t i = 0; i < other->count; i++)
			for (size_t k = 0; k < mine->count; k++)
				if (strcmp(other->persons[i], mine->persons[k]) == 0)
					note(self, "OVERLAP", mine->messages[k], mine->persons[k]);
	}
}

/* A verdict for each record by name, or of all; the answer for the rest. */
static enum cdpd_verdict judge(struct held *held)
{
	struct chaos *self = held->self;
	unsigned mood = self->is_calm ? 99 : roll(self, 100);
	if (mood < 12) {
		for (size_t i = 0; i < held->count; i++) note(self, "R", held->messages[i], held->persons[i]);
		if (mood < 6) self->host->receipt_set(held->receipt, CDPD_ALL, CDPD_RETRY, 1, "all of it later");
		return CDPD_RETRY;
	}
	for (size_t i = 0; i < held->count; i++) {
		unsigned sides = self->is_calm ? 99 : roll(self, 100);
		enum cdpd_verdict verdict = sides < 15 ? CDPD_RETRY : sides < 20 ? CDPD_DROP : CDPD_ACK;
		self->host->receipt_set(held->receipt, i, verdict, verdict == CDPD_RETRY, "by chance");
		note(self,
		     verdict == CDPD_RETRY  ? "R"
		     : verdict == CDPD_DROP ? "D"
					    : "A",
		     held->messages[i], held->persons[i]);
	}
	return CDPD_ACK;
}

static void *answer(void *ctx)
{
	struct held *held = ctx;
	struct chaos *self = held->self;
	usleep(held->wait_us);
	pthread_mutex_lock(&self->lock);
	enum cdpd_verdict rest = judge(held);
	held->is_open = false;
	struct cdpd_receipt *receipt = held->receipt;
	pthread_mutex_unlock(&self->lock);
	(void)self->host->receipt_done(receipt, rest);
	pthread_mutex_lock(&self->lock);
	self->threads--;
	pthread_cond_broadcast(&self->changed);
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

static bool answer_later(struct held *held)
{
	pthread_t thread;
	pthread_attr_t attr;
	held->wait_us = roll(held->self, 3000);
	held->self->threads++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool is_made = pthread_create(&thread, &attr, answer, held) == 0;
	pthread_attr_destroy(&attr);
	if (!is_made) held->self->threads--;
	return is_made;
}

static struct held *hold(struct chaos *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct held *held = self->held;
	while (held < self->held + BATCHES_MAX && held->is_open) held++;
	if (held == self->held + BATCHES_MAX) return NULL;
	*held =
	    (struct held){.self = self, .receipt = receipt, .count = self->host->batch_count(batch), .is_open = true};
	if (held->count > RECORDS_MAX) held->count = RECORDS_MAX;
	for (size_t i = 0; i < held->count; i++) {
		struct cdpd_record record = {.size = sizeof record};
		(void)self->host->batch_record(batch, i, &record);
		snprintf(held->persons[i], sizeof held->persons[i], "%.*s", (int)record.profile_id.len,
			 record.profile_id.ptr);
		snprintf(held->messages[i], sizeof held->messages[i], "%.*s", (int)record.message_id.len,
			 record.message_id.ptr);
	}
	note_overlaps(self, held);
	return held;
}

static enum cdpd_verdict export_batch(void *ctx, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct chaos *self = ctx;
	pthread_mutex_lock(&self->lock);
	self->is_calm = access(self->calm, F_OK) == 0;
	struct held *held = hold(self, batch, receipt);
	enum cdpd_verdict verdict = CDPD_RETRY;
	unsigned mood = self->is_calm ? 99 : roll(self, 200);
	if (!held) {
		verdict = CDPD_RETRY;
	} else if (mood < 1) { /* never answered */
		held->is_open = false;
		verdict = CDPD_PENDING;
	} else if (mood < 120 && answer_later(held)) {
		verdict = CDPD_PENDING;
	} else {
		verdict = judge(held);
		held->is_open = false;
	}
	pthread_mutex_unlock(&self->lock);
	return verdict;
}

static void destroy(void *ctx)
{
	struct chaos *self = ctx;
	pthread_mutex_lock(&self->lock);
	while (self->threads) pthread_cond_wait(&self->changed, &self->lock);
	pthread_mutex_unlock(&self->lock);
	pthread_mutex_destroy(&self->lock);
	pthread_cond_destroy(&self->changed);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct chaos *self = calloc(1, sizeof *self);
	(void)instance;
	if (!self) return CDPD_ERR_NOMEM;
	struct cdpd_str file = host->conf_text(conf, "file"), seed = host->conf_text(conf, "mode");
	self->host = host;
	self->state = 88172645463325252ull;
	for (size_t i = 0; i < seed.len; i++) self->state = self->state * 31 + (unsigned char)seed.ptr[i];
	snprintf(self->file, sizeof self->file, "%.*s", (int)file.len, file.ptr);
	snprintf(self->calm, sizeof self->calm, "%s.calm", self->file);
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->changed, NULL);
	*out = self;
	return CDPD_OK;
}

static const struct cdpd_option options[] = {
    {.name = "file", .type = CDPD_OPTION_STRING, .is_required = true, .help = "where its answers are written"},
    {.name = "mode", .type = CDPD_OPTION_STRING, .default_text = "1", .help = "the seed"},
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .name = "chaos",
    .version = "1",
    .summary = "an exporter that answers at random",
    .caps = CDPD_CAP_EXPORT,
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .export_batch = export_batch,
};
