/* decoding: one HTTP request of a foreign shape on its way through a source plugin: a copy of the request, the events and rejects that the
 * plugin makes of it, and the answer it wants sent. Everything lies in one arena, everything the plugin sizes is capped.
 *
 * It belongs to one thread at a time: who makes it, then the instance's, then who made it again (source.h). What the plugin holds on to are
 * names (handle.h): after its call they name nothing. */
#pragma once

#include "base/arena.h"
#include "cdpd_plugin.h"

#define DECODING_REPLY_MAX   65536 /* bytes of the answer's body */
#define DECODING_HEADERS_MAX 8
#define DECODING_HEADER_MAX  1024 /* bytes of one's value */
#define DECODING_REASON_MAX  200
#define DECODING_EXCERPT_MAX 1024
#define DECODING_PARAM_MAX   8192

struct decoding_header {
	struct str name, value;
};
struct decoding_item {
	bool is_reject;
	struct str text;   /* the event as JSON; of a reject its excerpt */
	struct str reason; /* of a reject */
};
struct decoding_request { /* borrowed until decoding_begin returns */
	struct str method, path, query, body, client_ip;
	int64_t received_us;
	const struct decoding_header *headers;
	size_t header_count;
};

struct decoding {
	struct arena arena;
	struct decoding_request request; /* the copy */
	size_t items_max, bytes_left;

	int error; /* enum cdpd_error: what decode answered */
	struct decoding_item *items;
	size_t item_count, item_room, event_count;
	int status; /* 200 unless it said otherwise */
	struct decoding_header headers[DECODING_HEADERS_MAX];
	size_t header_count;
	struct str content_type, body;
};

/* Copies the request. At most `items_max` events and rejects, whose texts have at most `bytes_max` bytes together. ERR_NOMEM; decoding_fini either way. */
MUST_USE int decoding_begin(struct decoding *decode, const struct decoding_request *request, size_t items_max,
			    size_t bytes_max);
void decoding_fini(struct decoding *decode);
/* Calls the plugin, on the instance's thread. Fills `error` and what follows it. */
void decoding_run(struct decoding *decode, struct cdpd_instance *instance);

/* What a request's name means, during its call. NULL: nothing (any more). */
const struct decoding *decoding_of(const struct cdpd_request *request);

/* Entries of the host's table. */
int decoding_sdk_info(const struct cdpd_request *request, struct cdpd_request_info *out);
struct cdpd_str decoding_sdk_header(const struct cdpd_request *request, const char *name);
struct cdpd_str decoding_sdk_param(const struct cdpd_request *request, const char *name);
int decoding_sdk_event(struct cdpd_batch_out *out, struct cdpd_str json);
int decoding_sdk_reject(struct cdpd_batch_out *out, const char *reason, struct cdpd_str excerpt);
int decoding_sdk_status(struct cdpd_reply *reply, int status);
int decoding_sdk_reply_header(struct cdpd_reply *reply, const char *name, struct cdpd_str value);
int decoding_sdk_reply_body(struct cdpd_reply *reply, struct cdpd_str body);
