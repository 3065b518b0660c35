/* selection: which records a destination is handed, and as what: the keys `events`, `segments`, `where` and `mapping` of its
 * configuration, compiled. Immutable once made. What is said about erased people passes by all of it: whoever had a person must hear. */
#pragma once

#include "config/config.h"
#include "config/mapping.h"
#include "event/event.h"
#include "profile/people.h"

struct selection {
	struct str *events, *segments;
	size_t event_count, segment_count;
	const struct node *where_text, *mapping_text; /* as written, to compare */
	const struct mapping *where, *mapping;        /* NULL: none */
	bool needs_profile;                           /* where or mapping look at the person */
};

/* Copies and compiles into the arena; the config has checked it. ERR_INVALID; ERR_NOMEM. */
MUST_USE int selection_make(struct arena *arena, const struct conf_instance *conf, struct selection *out);
bool selection_is_same(const struct selection *a, const struct selection *b);

/* By type ("page") or name, which is empty for what has none. */
bool selection_takes(const struct selection *selection, struct str type, struct str name);
bool selection_takes_person(const struct selection *selection, const struct str *segments, size_t count);

/* Why, in words of the configuration. */
#define SELECTION_NOT_IN_EVENTS   STR("its event is none of `events`")
#define SELECTION_NOT_IN_SEGMENTS STR("the person is in none of `segments`")

enum selection_verdict { SELECTION_TAKEN, SELECTION_FILTERED, SELECTION_UNMAPPED };
struct selection_result {
	enum selection_verdict verdict;
	struct str json; /* TAKEN: of the mapping, in the arena; the record itself when there is none */
	struct str why;  /* of the others */
};
/* `record`: the event's JSON; `person`: of selection_write_person, empty when it is not needed. ERR_NOMEM. */
MUST_USE int selection_run(const struct selection *selection, struct json_reader *reader, struct str record,
			   struct str person, struct arena *arena, struct selection_result *out);

/* The member `profile` of what templates see (docs/mapping.md): one object. */
#define SELECTION_PERSON_PARTS (PROFILE_IDENTIFIERS | PROFILE_TRAITS | PROFILE_FEATURES | PROFILE_CONSENTS)
MUST_USE int selection_write_person(struct buf *out, const struct profile *profile);
