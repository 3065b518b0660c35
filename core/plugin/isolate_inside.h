/* isolate_inside: what the files of the isolated process share. */
#pragma once

#include <pthread.h>

#include "plugin/isolate_child.h"
#include "plugin/isolate_wire.h"
#include "plugin/ticket.h"
#include "plugin/vigil.h"

#define INSIDE_CALLS_MAX   1024 /* HTTP requests under way, and questions to the cache */
#define INSIDE_SAMPLES_MAX 1024 /* observations between two flushes */

struct inside_question {
	struct inside_question *next;
	struct ticket *ticket;
	uint32_t id;
};

struct inside_http {
	cdpd_http_fn done; /* NULL: free */
	void *ctx;
};

struct inside_cache {
	cdpd_cache_fn done; /* NULL: free */
	void *ctx;
	void (*fetch)(void *ctx, struct cdpd_cache_slot *slot, struct cdpd_str key);
	struct str key; /* malloc'd */
};

struct inside_slot { /* the daemon waits for a value */
	uint32_t number;
};

struct inside_batch; /* isolate_errands.c */

struct inside_frame { /* came while one waited for another */
	struct inside_frame *next;
	enum frame_type type;
	size_t len;
	char body[];
};

struct inside {
	int wake_fd;
	pthread_t thread;
	struct arena arena; /* for ever */
	struct wire_setup setup;
	const struct plugin *plugin;
	struct plugin_conf conf;
	struct cdpd_instance *instance;
	bool is_stopping, has_landlock;
	uint32_t handled;
	uint32_t use; /* the capability it is to have */

	/* its own thread's */
	struct buf in;
	struct inside_frame *kept, **kept_end;
	struct inside_question *idle;
	struct arena scratch; /* of one synchronous question */
	struct enrich_view view;
	struct inside_http https[INSIDE_CALLS_MAX];
	struct inside_cache caches[INSIDE_CALLS_MAX];
	struct wire_ready ready;
	struct vigil vigil;

	pthread_mutex_t lock; /* everything below */
	struct buf out;
	struct inside_batch *batches;
	struct inside_question *settled; /* newest first */
	uint64_t counts[INSTANCE_METRICS_MAX];
	struct {
		uint32_t number;
		int64_t value;
	} samples[INSIDE_SAMPLES_MAX];
	size_t sample_count;
};
extern struct inside inside; /* the process has one instance */

/* Ends the process: the daemon sees why by the code. */
#define INSIDE_EXIT_GONE    91 /* the daemon closed the socket, or is no more */
#define INSIDE_EXIT_SPEECH  92 /* it said what does not read */
#define INSIDE_EXIT_MEMORY  93
#define INSIDE_EXIT_SANDBOX 94
_Noreturn void inside_end(int code);

void inside_lock(void);
void inside_unlock(void);
/* A frame that could not be written for lack of memory ends the process. Under the lock. */
void inside_written(int status);
void inside_flush(void);
void inside_wake(void); /* its own thread writes what there is; from another */
/* Reads frames until one of this type comes; others are kept for later. Its body lives until the next read. */
struct str inside_wait_for(enum frame_type type);

/* isolate_errands.c: a request for a source, a batch for an exporter. */
void inside_take_request(struct str body);
void inside_take_batch(struct str body);
/* Entries of the host's table. */
size_t inside_batch_count(const struct cdpd_batch *batch);
int inside_batch_record(const struct cdpd_batch *batch, size_t index, struct cdpd_record *out);
int inside_receipt_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict, int64_t retry_after_ms,
		       const char *reason);
int inside_receipt_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest);

/* The host's table for the plugin, and the frames that answer its calls. */
const struct cdpd_host *inside_host(void);
void inside_http_done(struct str body);
void inside_cache_done(struct str body);
void inside_write_metrics(void); /* under the lock */

/* System calls that were refused since the last time, as log lines. */
void inside_watch_refusals(void);
void inside_tell_refusals(void);
