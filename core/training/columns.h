/* columns: which values of which features stand in a row, and reading them out of a feature's value. */
#pragma once

#include "base/json.h"
#include "config/training_set.h"

enum column_part {
	COLUMN_WHOLE,  /* the feature's value itself */
	COLUMN_MEMBER, /* of an object: intervals */
	COLUMN_KEY,    /* of a feature per key */
	COLUMN_ELEMENT /* of a list: histogram */
};

struct column {
	struct str name; /* as it stands in the row: "orders", "order_rhythm.mean", "active_hours.7" */
	size_t feature;  /* index in columns.features */
	enum column_part kind;
	struct str part; /* member or key */
	size_t index;    /* element */
	bool is_number;  /* never anything else */
};

struct columns {
	struct column *items; /* in the order in which they stand */
	size_t count;
	const struct conf_feature **features; /* that they are read from, each once */
	size_t feature_count;
};

/* Complains of names that are no features and of features that are no columns. Texts borrow the config. ERR_INVALID, ERR_NOMEM. */
MUST_USE int columns_make(struct reading *reading, const struct training_set *set, const struct config *config,
			  struct columns *out);

/* Appends the cells of one feature's columns, whose value is `json`, in the order of the columns, to cells[column]: JSON texts in the arena;
 * "null" when there is none. */
MUST_USE int columns_read(const struct columns *columns, size_t feature, struct str json, struct json_reader *reader,
			  struct arena *arena, struct str *cells);
