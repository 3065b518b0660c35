#include "ingest/canonical.h"

#include "base/hash.h"

/* Fixed for ever: hashes of different days, processes and machines are compared. Whoever makes two of his own messages collide harms his own two messages. */
static const struct hash_key canonical_key = {
    {'c', 'd', 'p', 'd', ' ', 'c', 'a', 'n', 'o', 'n', 'i', 'c', 'a', 'l', ' ', '1'}};

static uint64_t part(struct str text)
{
	return text.len ? hash64(&canonical_key, text.ptr, text.len) : 0;
}

uint64_t canonical_hash(const struct cdpd_event *event, struct str extra)
{
	const uint64_t parts[] = {
	    (uint64_t)event->type,
	    (uint64_t)event->client_time_us,
	    part(event->event),
	    part(event->name),
	    part(event->category),
	    part(event->user_id),
	    part(event->anonymous_id),
	    part(event->previous_id),
	    part(event->group_id),
	    part(event->properties),
	    part(event->traits),
	    part(event->context),
	    part(extra),
	};
	return hash64(&canonical_key, parts, sizeof parts);
}
