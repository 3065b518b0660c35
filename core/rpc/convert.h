/* convert: between what the rooms below tell and the messages of proto/cdpd/v1. Texts become NUL-terminated copies in an arena; a NUL
 * inside one, which a protobuf string in C cannot hold, becomes U+FFFD. Everything lives as long as the arena. NULL and ERR_NOMEM: its cap. */
#pragma once

#include "api/internal.h"
#include "cdpd/v1/profile.pb-c.h"
#include "cdpd/v1/profile_service.pb-c.h"

char *convert_text(struct arena *arena, struct str text);
/* Position of the newest record below `next_seq`, as api_position_text. */
char *convert_position(struct arena *arena, const struct api *api, uint64_t next_seq);
char *convert_fragment(struct arena *arena, const struct fragment_id *id);
/* Borrows. */
static inline ProtobufCBinaryData convert_bytes(struct str text)
{
	return (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)(uintptr_t)text.ptr};
}
static inline struct str convert_str(const char *text)
{
	return str_from(text);
}

MUST_USE int convert_profile(struct arena *arena, const struct profile *profile, char *position,
			     Cdpd__V1__Profile **out);
MUST_USE int convert_texts(struct arena *arena, const struct str *texts, size_t count, char ***out);
/* "" for UNSPECIFIED; NULL: none of ours. */
const char *convert_provenance_name(Cdpd__V1__Provenance provenance);
Cdpd__V1__Provenance convert_provenance(enum provenance provenance);

/* Appends the message's bytes. Those of two messages of one type, one after the other, are those of one with the fields of both. */
MUST_USE int convert_pack(struct buf *out, const ProtobufCMessage *message);
