/* redact: takes out of an event what the privacy rules say must not be kept, before it is hashed, enriched, journaled or told in a reject.
 *
 * The address of the client is the exception: enrichers may look it up before it is cut. */
#pragma once

#include "ingest/internal.h"

/* Identifiers and parts. OK, or ERR_INVALID with the draft's fault. Nothing happens without rules. */
MUST_USE int redact_event(struct intake *in, struct draft *draft);
/* The client's address, once enrichers have seen it. */
MUST_USE int redact_address(struct intake *in, struct draft *draft);
/* What may be kept of the message's start, for a reject; as much as fits the buffer. */
void redact_excerpt(struct intake *in, const struct draft *draft, struct buf *out);
/* Does the pointer into the event lead to or below something that is redacted? Then it is cut there. */
bool redact_pointer(const struct privacy_rules *rules, struct str *pointer);
