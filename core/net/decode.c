#include "net/decode.h"

#include "base/gunzip.h"

enum problem decode_start(struct decode *decode, struct str content_encoding)
{
	*decode = (struct decode){0};
	if (content_encoding.len == 0 || str_eq_nocase(content_encoding, STR("identity"))) return PROBLEM_NONE;
	decode->is_gzip = decode->is_sniffed =
	    str_eq_nocase(content_encoding, STR("gzip")) || str_eq_nocase(content_encoding, STR("x-gzip"));
	return decode->is_gzip ? PROBLEM_NONE : PROBLEM_UNSUPPORTED_ENCODING;
}

void decode_sniff(struct decode *decode, struct str bytes, bool is_last)
{
	if (decode->is_sniffed || (bytes.len < 2 && !is_last)) return;
	decode->is_sniffed = true;
	decode->is_gzip = gunzip_is_magic(bytes);
}

enum problem decode_feed(struct decode *decode, struct str bytes, struct buf *out)
{
	if (!decode->gunzip && gunzip_new(&decode->gunzip) != OK) return PROBLEM_INTERNAL;
	switch (gunzip_feed(decode->gunzip, bytes, out)) {
	case OK: return PROBLEM_NONE;
	case ERR_TOO_LARGE: return PROBLEM_TOO_LARGE;
	case ERR_NOMEM: return PROBLEM_INTERNAL;
	default: return PROBLEM_INVALID_BODY;
	}
}

enum problem decode_end(const struct decode *decode)
{
	return decode->gunzip && gunzip_end(decode->gunzip) != OK ? PROBLEM_INVALID_BODY : PROBLEM_NONE;
}

void decode_fini(struct decode *decode)
{
	gunzip_free(decode->gunzip);
	*decode = (struct decode){0};
}
