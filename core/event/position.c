#include "event/position.h"

#include "base/crc32c.h"
#include "base/encode.h"

/* One byte of feed, then epoch, seq and a checksum, big endian, as unpadded base64url. */
enum { AT_FEED = 0, AT_EPOCH = 1, AT_SEQ = 9, AT_CHECK = 17, POSITION_SIZE = 21 };
#define POSITION_TEXT_LEN ((size_t)POSITION_SIZE / 3 * 4)
_Static_assert(POSITION_TEXT_LEN < POSITION_TEXT_SIZE, "the text must fit its buffer");
_Static_assert(BASE64_SIZE(POSITION_SIZE) <= POSITION_TEXT_SIZE, "the encoder must not overrun");

size_t position_format(enum position_feed feed, struct position position, char out[POSITION_TEXT_SIZE])
{
	uint8_t bytes[POSITION_SIZE];
	bytes[AT_FEED] = (uint8_t)feed;
	put_be64(bytes + AT_EPOCH, position.epoch);
	put_be64(bytes + AT_SEQ, position.seq);
	put_be32(bytes + AT_CHECK, crc32c(0, bytes, AT_CHECK));
	return base64url_encode(bytes, sizeof bytes, out);
}

static int decode(struct str text, uint8_t out[POSITION_SIZE])
{
	if (text.len != POSITION_TEXT_LEN) return ERR_INVALID;
	struct arena arena;
	arena_init(&arena, 256, 4096);
	struct str bytes;
	int rc = base64_decode(&arena, text, &bytes);
	if (rc == OK && bytes.len != POSITION_SIZE) rc = ERR_INVALID;
	if (rc == OK) memcpy(out, bytes.ptr, POSITION_SIZE);
	arena_fini(&arena);
	return rc;
}

int position_parse(enum position_feed feed, uint64_t epoch, struct str text, uint64_t *seq)
{
	uint8_t bytes[POSITION_SIZE];
	int rc = decode(text, bytes);
	if (rc != OK) return rc;
	if (get_be32(bytes + AT_CHECK) != crc32c(0, bytes, AT_CHECK)) return ERR_INVALID;
	/* One position has one spelling: the decoder also takes the standard alphabet, we do not. */
	char again[POSITION_TEXT_SIZE];
	size_t len = base64url_encode(bytes, sizeof bytes, again);
	if (!str_eq(text, (struct str){again, len})) return ERR_INVALID;
	if (bytes[AT_FEED] != (uint8_t)feed || get_be64(bytes + AT_EPOCH) != epoch) return ERR_FOREIGN;
	*seq = get_be64(bytes + AT_SEQ);
	return OK;
}
