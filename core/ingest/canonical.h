/* canonical: one number for what a message says, the same on every retry. The same messageId with another number is a conflict.
 *
 * Made of the event as read and before enrichment, from texts whose keys are sorted and whose numbers have one spelling; without what SDKs refresh on
 * a retry (sentAt, receivedAt, writeKey, _metadata) and without what the connection filled in. */
#pragma once

#include "event/event.h"

/* `extra`: the part of event->extra that counts. */
uint64_t canonical_hash(const struct cdpd_event *event, struct str extra);
