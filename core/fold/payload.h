/* payload: the protobuf payloads that the fold itself writes or reads: definitions, clock acts, quarantines, merges. */
#pragma once

#include "base/arena.h"
#include "profile/erase.h"
#include "profile/people.h"
#include "profile/suppress.h"

/* Text in the arena. ERR_NOMEM. */
MUST_USE int payload_write_definition(struct arena *arena, struct str text, uint64_t since_seq, struct str *out);
/* ERR_CORRUPT: not a definition, or its hash does not fit its text. */
MUST_USE int payload_read_definition(struct arena *arena, struct str payload, struct str *text, uint64_t *since_seq);
/* Read by erasure_decode (profile/erase.h). */
MUST_USE int payload_write_erasure(struct arena *arena, const struct people_erasure *erasure, struct str actor,
				   struct str reason, struct str *out);
MUST_USE int payload_write_suppression(struct arena *arena, const struct people_suppression *act, struct str *out);
MUST_USE int payload_read_suppression(struct arena *arena, struct str payload, struct people_suppression *out);
MUST_USE int payload_read_clock(struct arena *arena, struct str payload, bool *is_held);
MUST_USE int payload_write_quarantine(struct arena *arena, uint64_t seq, struct str plugin, struct str reason,
				      struct str *out);
/* Merges and unmerges; who asks for one writes it. Texts of any length. */
MUST_USE int payload_write_act(struct arena *arena, const struct people_act *act, struct str *out);
MUST_USE int payload_read_act(struct arena *arena, struct str payload, struct people_act *out);
