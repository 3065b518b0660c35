/* event_json: an event with what the fold said about it, as lists, the tail and trace show it. */
#pragma once

#include "api/internal.h"
#include "api/read_pool.h"

/* One object: event_write_json's members, "position" and "outcome". `outcome` NULL: not folded yet. */
MUST_USE int event_json_write(struct json_out *out, const struct api *api, const struct cdpd_event *event, uint64_t seq,
			      const struct outcome *outcome);
/* The same, left open for further members; jo_end_object closes it. */
MUST_USE int event_json_begin(struct json_out *out, const struct api *api, const struct cdpd_event *event, uint64_t seq,
			      const struct outcome *outcome);
/* Lays what asynchronous enrichers answered over the event's enrichment; texts live in the scratch. Outside people_read_begin/end. */
MUST_USE int event_json_patch(const struct api *api, struct read_thread *thread, const struct outcome *outcome,
			      struct cdpd_event *event);
/* The member "outcome": {verdict, reason?, fragment?, duplicateOf?}. */
void event_json_outcome(struct json_out *out, const struct api *api, const struct outcome *outcome);
void event_json_position(struct json_out *out, const struct api *api, struct str key, uint64_t seq);
