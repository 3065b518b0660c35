/* body: what stands in a request: one record, or several as an array, as lines or in an object; and its gzip. */
#pragma once

#include "../shared/writer.h"

enum body_format { BODY_RECORD, BODY_ARRAY, BODY_LINES, BODY_OBJECT };

const char *body_type(enum body_format format); /* its Content-Type */
/* `id`: of the request. has_ids: deliveryId, profileId and position are added to each record's own members, unless it has them (BODY_OBJECT holds them
 * beside the record anyway). */
void body_begin(struct writer *body, enum body_format format, struct cdpd_str id);
void body_add(struct writer *body, enum body_format format, bool has_ids, const struct cdpd_record *record);
void body_end(struct writer *body, enum body_format format);

struct body_gzip; /* kept for the next body */
struct body_gzip *body_gzip_new(void);
void body_gzip_free(struct body_gzip *gzip); /* NULL is fine */
/* False: there was no memory; out->is_short. */
bool body_compress(struct body_gzip *gzip, struct cdpd_str body, struct writer *out);
