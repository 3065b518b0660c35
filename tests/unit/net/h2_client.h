/* h2_client: an HTTP/2 client made of single frames, so that tests can break any rule. Header blocks are sent as plain literals. */
#pragma once

#include "net/harness.h"

enum { H2_DATA, H2_HEADERS, H2_PRIORITY, H2_RST, H2_SETTINGS, H2_PUSH, H2_PING, H2_GOAWAY, H2_WINDOW, H2_CONTINUATION };
enum { H2_ACK = 1, H2_END_STREAM = 1, H2_END_HEADERS = 4 };

struct h2_frame {
	size_t len;
	uint8_t type, flags;
	uint32_t id;
	uint8_t *payload; /* freed by the next h2_next */
};

struct h2 {
	struct client client;
	void *inflater;
	struct h2_frame frame;
	bool grants; /* h2_answer gives back the windows of what it reads; true at first */
};

/* Header fields: name, value, name, value, …, NULL. */
struct h2_block {
	uint8_t bytes[70000];
	size_t len;
};
void h2_put(struct h2_block *block, const char *name, const char *value);

void h2_open(struct h2 *h2, const struct server *server); /* preface and empty SETTINGS */
void h2_close(struct h2 *h2);
void h2_send(struct h2 *h2, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t len);
void h2_number(struct h2 *h2, uint8_t type, uint32_t id, uint32_t number); /* WINDOW_UPDATE, RST_STREAM */
/* HEADERS and as many CONTINUATIONs as it takes. */
void h2_head(struct h2 *h2, uint32_t id, const struct h2_block *block, bool is_last);
/* A head: the pseudo fields and whatever follows, as pairs up to NULL. */
void h2_request(struct h2 *h2, uint32_t id, const char *method, const char *path, bool is_last, ...);
/* The next frame; acknowledges SETTINGS. False at the connection's end. */
bool h2_next(struct h2 *h2);

struct h2_answer {
	int status;
	char head[4096], trailers[4096]; /* "name: value\n" each, with a line feed in front of the first */
	char *body;
	size_t body_len;
	bool is_reset, is_closed; /* by RST_STREAM; the connection ended first */
	uint32_t error;
	int64_t goaway; /* its error code, -1: none came */
};
#define H2_NO_ANSWER ((struct h2_answer){.goaway = -1})
/* Reads one frame; false when the stream has ended with it, or the connection. */
bool h2_read(struct h2 *h2, uint32_t id, struct h2_answer *answer);
/* Reads until the stream has ended; frames of other streams must not come. */
struct h2_answer h2_answer(struct h2 *h2, uint32_t id);
void h2_answer_free(struct h2_answer *answer);
void h2_expect(struct h2 *h2, uint32_t id, int status, const char *body); /* body NULL: any */
bool h2_has(const char *fields, const char *line);                        /* "name: value" */
/* Reads to the end of the connection; the error code of the last GOAWAY, -1 when none came. */
int64_t h2_expect_end(struct h2 *h2);
/* Sends a PING and waits for its answer: all before it was read. */
void h2_sync(struct h2 *h2);
