/* feature_filter: does an event, or one element of an array in it, meet a feature's `where`? Compiled once. */
#pragma once

#include "profile/feature.h"
#include "profile/feature_input.h"

struct filter_condition {
	const struct feature_condition *rule;
	struct feature_path path;
	bool is_of_element; /* tested on each element that the feature sees */
};

struct feature_filter {
	struct filter_condition *conditions;
	size_t count;
	bool has_event_conditions, has_element_conditions;
};

/* `elements` is the path whose array the feature sees element by element, or leads into none. ERR_INVALID, ERR_NOMEM. */
MUST_USE int feature_filter_make(const struct feature_def *def, const struct feature_path *elements,
				 struct arena *arena, struct feature_filter *out);
/* A condition into another array holds when any of its elements meets it. ERR_NOMEM. */
MUST_USE int feature_filter_event(const struct feature_filter *filter, struct event_view *view, bool *passes);
MUST_USE int feature_filter_element(const struct feature_filter *filter, struct event_view *view, struct json element,
				    bool *passes);
