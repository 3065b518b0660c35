/* training_set: what `cdpctl export training-set` is asked for: which moments, which label, which features (docs/training-sets.md). */
#pragma once

#include "config/config.h"
#include "config/read.h"

enum training_clock { TRAINING_ARRIVAL, TRAINING_EVENT_TIME }; /* in the order of their names in training_set.c */
enum training_moment { TRAINING_BEFORE, TRAINING_AFTER };
enum training_value { TRAINING_ANY, TRAINING_COUNT, TRAINING_SUM };

#define TRAINING_FEATURES_MAX 256
#define TRAINING_SAMPLE_ONE   1000000 /* everybody */

struct training_set {
	struct str name;
	struct conf_feature points;  /* of type count; only its events and conditions, unless every_us */
	int64_t every_us;            /* 0: points are events */
	int64_t active_us;           /* of grid points: people seen that recently; 0: ever */
	int64_t from_us, until_us;   /* points before and from there on are left out; INT64_MIN, INT64_MAX: none are */
	struct str from, until;      /* as written */
	enum training_moment moment; /* before or after the point's event was counted */
	enum training_clock clock;   /* which time is meant throughout */
	struct conf_feature label;   /* of type count or sum */
	enum training_value value;
	int64_t horizon_us, grace_us; /* grace: how much later than the horizon an event may still arrive */
	struct str *features;         /* names of columns; none: all features that are one value */
	size_t feature_count;
	struct str purpose; /* people who do not allow it now are left out; empty: nobody is */
	struct str sample_text;
	uint32_t sample; /* in millionths of all people */
	const struct node *root;
};

/* From YAML; `file` names it in complaints. Texts live in the reading's arena. ERR_INVALID: complained; ERR_NOMEM. */
MUST_USE int training_set_read(struct reading *reading, struct str text, const char *file, const struct config *config,
			       struct training_set *out);
