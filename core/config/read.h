/* read: fills structs from a tree by tables that have one line for each key. Knows types, ranges and texts; what the keys
 * mean is schema.c's. */
#pragma once

#include "config/complaint.h"

enum key_type {
	KEY_INT,   /* uintN_t: digits only */
	KEY_BYTES, /* size_t or uint64_t: "64MiB" */
	KEY_MS,    /* uint32_t, from a duration: "10s" */
	KEY_US,    /* int64_t, from a duration */
	KEY_BOOL,
	KEY_CHOICE, /* an enum that counts through `choices` */
	KEY_FLAGS,  /* uint32_t: a list of `choices`, one bit each */
	KEY_TEXT,   /* struct str */
	KEY_TEXTS,  /* struct str * and a count: a list, or one text */
	KEY_OFFSET, /* int16_t minutes, from "+03:00" */
	KEY_ITEMS,  /* an array of structs and a count: a list of maps, each read by `items` */
	KEY_NODE,   /* const struct node *: any map, kept as it is */
	KEY_ANY,    /* const struct node *: whatever stands there */
};

enum key_flag {
	KEY_REQUIRED = 1 << 0, /* must be given (for items' keys) */
	KEY_UNIQUE = 1 << 1,   /* no two items may have the same text */
	KEY_RESTART = 1 << 2,  /* cannot change while running */
};

struct key {
	const char *path; /* "limits.body_bytes", from the table's map */
	enum key_type type;
	unsigned flags;             /* enum key_flag */
	const char *fallback;       /* the default, as it would stand in a file; NULL: nothing, zero */
	const char *min, *max;      /* numbers: the range, as it would stand in a file */
	size_t offset, size;        /* of the field in the table's struct */
	size_t count_offset;        /* of the size_t that counts it */
	const char *const *choices; /* ends with NULL */
	const struct table *items;
	/* What a text must be ("must be …"), or NULL when it is. */
	const char *(*check)(struct str text);
};

struct reading {
	struct arena *arena;
	struct complaints *complaints;
};

struct table {
	const struct key *keys;
	size_t count;
	size_t item_size;            /* of one struct, when the table reads items */
	bool is_open;                /* its maps may have keys that are not in the table: somebody else checks them */
	const char *short_form;      /* the key that a plain text instead of a map stands for, or NULL */
	int *(*line_of)(void *item); /* where an item keeps its line, or NULL */
	/* What no single key can tell; `where` is "sources[0]". */
	void (*check)(struct reading *reading, const struct node *node, const char *where, void *item);
};

/* Fills `out` from the map: every key, unknown ones, defaults. All that is wrong goes to the complaints. */
void read_table(struct reading *reading, const struct table *table, const struct node *map, void *out);
/* The first KEY_RESTART key whose values differ, or NULL. */
const char *table_difference(const struct table *table, const void *a, const void *b);
/* The node at "a.b.c", or NULL. */
const struct node *node_at(const struct node *map, struct str path);
