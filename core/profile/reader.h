/* reader: a read transaction's slot and the definitions as of its snapshot. */
#pragma once

#include "profile/room.h"

struct people_reader {
	struct people *people;
	struct store_txn *txn;
	bool is_open;
	struct checkpoint checkpoint; /* of the snapshot */
	struct plan *plan;            /* active in the snapshot; NULL: none */
};

/* A row of the snapshot in the arena, hot section decoded, the cold one too when asked for. ERR_NOT_FOUND. */
MUST_USE int reader_row(struct people_reader *reader, const struct fragment_id *id, bool is_merged, bool with_cold,
			struct arena *arena, struct row **out);
/* The fragments of a profile, strongest first (ids and identifiers only). */
MUST_USE int reader_members(struct people_reader *reader, const struct fragment_id *profile, struct arena *arena,
			    struct row_member **members, size_t *count);
