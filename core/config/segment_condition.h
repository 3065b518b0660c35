/* segment_condition: a segment's `when`, from YAML to the checked canonical JSON that goes into the definition record. The
 * profile room compiles that JSON (core/profile/segment_plan.h); docs/segments.md explains the language to people.
 *
 *   {"all":[…]}  {"any":[…]}  {"not":…}
 *   {"name":"orders","op":"at_least","source":"feature","value":3}
 *
 * Times and durations become microseconds; several operators of one leaf become an `all`. */
#pragma once

#include "config/config.h"
#include "config/read.h"

#define CONDITION_LEAVES_MAX 256  /* of one segment */
#define CONDITION_LIST_MAX   1000 /* values of one `in` */
#define CONDITION_TEXT_MAX   1024 /* bytes of a text to compare with */
#define CONDITION_GLOB_MAX   128  /* bytes of a pattern */

/* Names that a condition may use, for the look-up and for suggestions. */
struct condition_names {
	const struct config *config;
	const char **features, **segments, **namespaces, **purposes;
};

/* Checks the condition and writes it to segment->condition. What is wrong goes to the complaints, whose file must be the segment's. */
void segment_condition_read(struct reading *reading, const struct condition_names *names, struct conf_segment *segment);
/* Calls `fn` for each segment that the condition refers to, with the line. */
void segment_condition_references(const struct node *when, void (*fn)(void *ctx, struct str segment, int line),
				  void *ctx);
