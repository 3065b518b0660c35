/* change: one row of the change feed, what subscribers see of a person. Trait and feature values coalesce within one fold
 * transaction; identity transitions never do. */
#pragma once

#include "base/str.h"

enum change_kind {
	CHANGE_PROFILE = 1, /* a person appeared */
	CHANGE_TRAIT,       /* values: {"traits":{name:{value,provenance}}} */
	CHANGE_FEATURE,     /* {"features":{name:value}} */
	CHANGE_IDENTIFIER,  /* {"identifiers":["namespace:value"]} joined the profile */
	CHANGE_MERGED,      /* {"from":id,"into":id} */
	CHANGE_SPLIT,
	CHANGE_SEGMENT,
	CHANGE_CONSENT,
	CHANGE_ERASED,
	CHANGE_KIND_COUNT
};
const char *change_kind_name(enum change_kind kind);
bool change_kind_from_name(struct str name, enum change_kind *out);

struct change {
	uint64_t seq;       /* cursor in the feed */
	uint64_t cause_seq; /* journal position that caused it (the last one, when coalesced) */
	int64_t t;
	enum change_kind kind;
	uint8_t profile[16];
	struct str body; /* JSON object text with the kind's own members */
};
