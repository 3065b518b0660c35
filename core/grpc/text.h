/* text: what gRPC writes into headers: content types, timeouts, percent-encoded messages, lists of encodings. */
#pragma once

#include "base/arena.h"

enum grpc_content { GRPC_CONTENT_OK, GRPC_CONTENT_WEB /* gRPC-Web */, GRPC_CONTENT_OTHER };
enum grpc_content grpc_content_type(struct str value);
/* "te" must hold "trailers": a proxy that does not pass it on would not pass our statuses on either. */
bool grpc_te_has_trailers(struct str value);
/* 1 to 8 digits and one of H M S m u n. ERR_INVALID else. Rounded up to whole microseconds. */
MUST_USE int grpc_timeout_parse(struct str value, int64_t *us);
/* Bytes outside of 0x20-0x7e and '%' become %XX. At most `max` bytes of `text` are taken, cut at a character. */
MUST_USE int grpc_message_encode(struct arena *arena, struct str text, size_t max, struct str *out);
/* Is `name` in the comma-separated list? */
bool grpc_list_has(struct str list, struct str name);
