/* decode: a request body's content coding: none or gzip, told by Content-Encoding or, since some clients say nothing, by the first two
 * bytes. */
#pragma once

#include "base/buf.h"
#include "base/problem.h"

struct gunzip;
struct decode {
	bool is_gzip, is_sniffed;
	struct gunzip *gunzip;
};

/* PROBLEM_UNSUPPORTED_ENCODING when it is neither. */
enum problem decode_start(struct decode *decode, struct str content_encoding);
/* `bytes` is all of the body so far, until is_sniffed is set. */
void decode_sniff(struct decode *decode, struct str bytes, bool is_last);
/* Inflates and appends to `out`, whose cap is the body's. */
enum problem decode_feed(struct decode *decode, struct str bytes, struct buf *out);
enum problem decode_end(const struct decode *decode);
void decode_fini(struct decode *decode);
