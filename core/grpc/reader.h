/* reader: a client's bytes to messages: the five-byte prefix, however it is split, sizes that are checked before anything is
 * kept, gzip. It knows no call. */
#pragma once

#include "base/gunzip.h"

struct grpc_reader {
	size_t message_max; /* of one message, as sent and decompressed */
	bool has_gzip;      /* grpc-encoding: gzip */
	bool is_single;     /* a second message is one too many */

	uint8_t prefix[5], prefix_len;
	bool is_in_body, is_compressed, has_message;
	size_t want; /* of the body */
	struct buf body, plain;
	size_t body_counted, plain_counted; /* grpc/memory.h */
	struct gunzip *gunzip;
};

enum grpc_read {
	GRPC_READ_MORE, /* all of `in` was taken, no message is whole */
	GRPC_READ_MESSAGE,
	GRPC_READ_SECOND,      /* is_single, and a second prefix came */
	GRPC_READ_BAD_FLAG,    /* neither 0 nor 1 */
	GRPC_READ_NO_ENCODING, /* compressed, but nobody said how */
	GRPC_READ_TOO_LARGE,
	GRPC_READ_BROKEN, /* does not decompress */
	GRPC_READ_NO_MEMORY,
};

/* Allocates nothing yet. */
void grpc_reader_init(struct grpc_reader *reader, size_t message_max, bool has_gzip, bool is_single);
void grpc_reader_fini(struct grpc_reader *reader);
/* Takes bytes off `in` up to the end of a message. *message lives until the next call and is followed by BUF_SLACK readable
 * bytes. What is refused stays refused: the reader is of no use after any of the last six. */
enum grpc_read grpc_reader_take(struct grpc_reader *reader, struct str *in, struct str *message);
/* No message has begun and not ended. */
bool grpc_reader_is_between(const struct grpc_reader *reader);
