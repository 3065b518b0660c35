/* A request and its duplex without a network: a test plays the client, byte by byte. Stands in for the functions of net/http.h that
 * the room calls. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/loop.h"
#include "grpc/call.h"

#define FAKE_FIELDS 24

struct fake_field {
	char name[64], value[8192];
};

/* What the client has seen; stays after the request is gone. */
struct fake {
	struct fake_field sent[FAKE_FIELDS]; /* the request's head */
	size_t sent_count;
	size_t room;      /* of the answer, bytes */
	int write_status; /* of writes of more than busy_above bytes */
	size_t busy_above;

	bool is_begun, has_head, is_ended, is_reset, is_http_reply, had_client_gone;
	int http_status;
	char http_body[1024];
	struct fake_field head[FAKE_FIELDS], trailers[FAKE_FIELDS];
	size_t head_count, trailer_count;
	struct buf out;
	size_t consumed;
};

extern struct fake fake;

int fake_setup(void **state);
int fake_teardown(void **state);
/* A head with content-type, te and what was added by fake_header, to the server's route of that path; NULL: to none. */
void fake_header(const char *name, const char *value);
void fake_call(struct grpc_server *server, const char *path);
void fake_data(const void *data, size_t len);
void fake_message(bool is_compressed, const void *data, size_t len);
void fake_end(void);
void fake_drain(size_t room);
void fake_retire(void);
void fake_close(void);
/* Runs the loop until the condition holds. */
void fake_run_until(bool (*is_true)(void));
const char *fake_trailer(const char *name); /* NULL: none */
const char *fake_head(const char *name);
int fake_status(void); /* grpc-status; -1: the call has not ended */
/* Takes the first whole message off the answer; false: there is none. */
bool fake_take(struct str *message, bool *is_compressed);
