/* link: one connection to NATS with JetStream, one batch of messages at a time, each with its ack. Knows nothing of events; the only file that
 * knows libnats. Does not reconnect by itself: who uses it does. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_PATTERNS 3
#define LINK_DONE     1024 /* messages that are destroyed together */

enum link_verdict {
	LINK_UNKNOWN, /* no answer (yet) */
	LINK_STORED,  /* in the stream, also when it was there before */
	LINK_REFUSED, /* never: it is too large */
	LINK_FAILED,  /* not now; the reason is in link->why */
};

struct link_options {
	const char *const *servers;
	int server_count;
	const char *user, *password, *token, *credentials; /* NULL: none */
	const char *tls_host;                              /* that the certificate is for; NULL: the server's */
	const char *ca_file, *cert_file, *key_file;        /* NULL: none */
	int64_t connect_timeout_ms, timeout_ms;
	const char *stream; /* NULL: whichever takes the subject */
	bool create_stream;
	const char *patterns[LINK_PATTERNS]; /* of the subjects that `stream` takes; NULL: whatever it takes */
	int64_t replicas, max_age_us, duplicate_window_us;
};

struct link {
	const struct link_options *options; /* the owner's */
	struct __natsConnection *conn;      /* NULL: none */
	struct __natsSubscription *acks;
	char inbox[80];
	unsigned known; /* a bit for each pattern that the stream was asked about on this connection */
	struct __natsMsg *done[LINK_DONE];
	size_t done_count;
	uint64_t batch; /* tells late acks of earlier batches from this one's */
	char why[200];
};

/* Connects. false: link->why. */
bool link_open(struct link *link);
/* Looks for the stream, once on a connection; with create_stream makes it, or gives it the patterns of `wanted` (a bit each) that it does not take. false:
 * link->why. */
bool link_want(struct link *link, unsigned wanted);
/* May be called when there is none. */
void link_close(struct link *link);
/* Is there a connection that works, as far as anybody knows? */
bool link_is_up(const struct link *link);

/* Begins a batch: acks of earlier ones do not count any more. */
void link_begin(struct link *link);
/* Hands one message to the connection. LINK_UNKNOWN: its ack will tell. */
enum link_verdict link_publish(struct link *link, size_t index, const char *subject, const char *id, const char *data,
			       size_t len);
/* Waits for `pending` answers of the batch: verdicts[index] of each ack, *duplicates of them were stored before. What no stream takes stays
 * LINK_UNKNOWN. false: not all came; link->why says why, then and for what is unknown or has failed. */
bool link_collect(struct link *link, size_t pending, size_t count, enum link_verdict *verdicts, uint64_t *duplicates);
