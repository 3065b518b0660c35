/* conn: one client's socket: an event, optional TLS, capped input and output buffers, one timer. It moves bytes and
 * knows no protocol; a `struct protocol` gives them a meaning and is chosen when the first bytes are there
 * (protocol.c): HTTP/1.1 or HTTP/2.
 *
 * Everything here runs on the worker's thread. A connection is freed at the end of the loop's turn in which it was
 * closed, so callers up the stack may still look at its phase. Idle connections hold no buffers. */
#pragma once

#include <event2/event_struct.h>

#include "base/buf.h"
#include "net/ip.h"

struct census_entry;
struct conn;
struct endpoint;
struct tls;
struct worker;

struct protocol {
	const char *name; /* ALPN's identifier */
	/* More bytes are in conn->in. */
	void (*data)(struct conn *conn);
	/* The peer sends no more; it may still read. */
	void (*eof)(struct conn *conn);
	/* Blocked output could be sent, at least in part. */
	void (*drained)(struct conn *conn);
	/* conn_later was called; output was not flushed yet. */
	void (*resume)(struct conn *conn);
	/* The deadline has passed; none is set now. */
	void (*timeout)(struct conn *conn);
	/* The server stops: end at the next good moment. */
	void (*retire)(struct conn *conn);
	/* The socket is gone. true: something still refers to the connection, conn_release will follow. */
	bool (*close)(struct conn *conn);
	/* For worker_fini, after close returned true: what still refers to the connection never will again. Releases it. */
	void (*forget)(struct conn *conn);
};

enum conn_phase {
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_CLOSING,   /* output is still to be sent, input is thrown away */
	CONN_LINGERING, /* all is sent; the peer is given time to read it */
	CONN_CLOSED,
};

#define CONN_MAGIC      0x6e6e6f63u
#define CONN_READ_MAX   ((size_t)64 * 1024)
#define CONN_READ_USUAL ((size_t)16 * 1024)
/* Answers of that size are neither counted nor refused: the cap on connections bounds these. */
#define CONN_SMALL_OUTPUT ((size_t)64 * 1024)

struct conn {
	uint32_t magic;
	int fd;
	enum conn_phase phase;
	bool is_eof;       /* the peer sends no more */
	bool has_fixed_in; /* borrowed from: bytes may be appended to `in`, but none may move */
	bool wants_read, wants_write, is_paused, must_linger, is_held, is_later;
	short watched; /* EV_READ, EV_WRITE: what `io` is added for */
	struct worker *worker;
	const struct endpoint *endpoint;
	const struct protocol *protocol; /* NULL until the first bytes */
	void *state;                     /* the protocol's; NULL while idle */
	struct tls *tls;
	struct buf in, out;
	size_t behind;       /* memory of answers that the protocol holds back until `out` has room */
	size_t queued;       /* what of all connections' budget for answers `out` and `behind` take */
	size_t read_want;    /* how much the protocol could use now */
	int64_t deadline_us; /* the protocol's; 0: none. Monotonic, as all here */
	int64_t write_deadline_us;
	int64_t age_us;   /* when it is old enough to be ended at the next good moment; 0: never */
	int64_t armed_us; /* when the timer will fire: never later than the nearest deadline */
	uint32_t served;  /* requests answered */
	struct census_entry *census;
	struct conn *next, **link; /* list of the worker */
	struct conn *next_later, *next_dead;
	struct ip ip;
	char ip_text[IP_TEXT_SIZE]; /* empty on unix sockets */
	uint8_t ip_text_len;
	struct event io, timer;
};

/* Takes fd and the census entry, also on failure. */
void conn_open(struct worker *worker, const struct endpoint *endpoint, int fd, const struct ip *ip,
	       struct census_entry *census);

/* The protocol's deadline, 0: none. Setting a later one costs nothing. */
void conn_set_deadline(struct conn *conn, int64_t deadline_us);
/* `out` with memory from the worker's spares. */
struct buf *conn_output(struct conn *conn);
/* After each change to `out` or `behind`: counts what they hold. */
void conn_count_output(struct conn *conn);
/* May `len` more bytes wait here, or do the answers of all connections take limits.reply_bytes already? */
bool conn_may_queue(const struct conn *conn, size_t len);
/* Sends what it can; may close the connection (look at its phase afterwards). */
void conn_flush(struct conn *conn);
/* Calls protocol->resume and flushes at the end of this turn. */
void conn_later(struct conn *conn);
/* The bytes of `in` may move again. */
void conn_unfix(struct conn *conn);
/* Gives the memory of an empty `in` back. */
void conn_give_input(struct conn *conn);
/* No more requests: closes once the output is sent (conn_flush), after a lingering read when the peer may still be
 * sending, so that it gets to read the answer. */
void conn_finish(struct conn *conn, bool must_linger);
void conn_abort(struct conn *conn);   /* closes at once */
void conn_release(struct conn *conn); /* after protocol->close returned true */
/* The server stops: closes at the next good moment. */
void conn_retire(struct conn *conn);
