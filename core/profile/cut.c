#include "profile/cut.h"

#include "profile/link_row.h"

struct search {
	const struct component *among;
	const struct fragment_id *but; /* or NULL */
	struct fragment_id other;      /* whose rows are being read */
	uint64_t unmerged, merged;     /* newest accepted act on the pair */
	bool is_found;
};

static void end_pair(struct search *search)
{
	if (search->unmerged <= search->merged) return;
	if (search->but && fragment_id_eq(search->but, &search->other)) return;
	for (size_t i = 0; i < search->among->count; i++)
		search->is_found |= fragment_id_eq(&search->among->members[i].id, &search->other);
}

/* The rows of one pair lie together. */
static int look_at(void *ctx, const struct link *link)
{
	struct search *search = ctx;
	if (!fragment_id_eq(&search->other, &link->other)) {
		end_pair(search);
		search->other = link->other;
		search->unmerged = search->merged = 0;
	}
	if (!link_is_act(link->rule) || link->reason) return OK;
	uint64_t *newest = link->rule == LINK_UNMERGE ? &search->unmerged : &search->merged;
	if (link->seq > *newest) *newest = link->seq;
	return OK;
}

int cut_of(struct store_txn *txn, store_db links, const struct fragment_id *fragment, const struct component *b,
	   const struct fragment_id *but, bool *out)
{
	struct search search = {.among = b, .but = but};
	int rc = links_each(txn, links, fragment, look_at, &search);
	if (rc) return rc;
	end_pair(&search);
	*out = search.is_found;
	return OK;
}

static const struct fragment_id *other_of(const struct fragment_id *const but[2], const struct fragment_id *id)
{
	if (!but) return NULL;
	if (fragment_id_eq(but[0], id)) return but[1];
	return fragment_id_eq(but[1], id) ? but[0] : NULL;
}

int cut_between(struct people *people, const struct component *a, const struct component *b,
		const struct fragment_id *const but[2], bool *out)
{
	*out = false;
	if (!a->has_cuts || !b->has_cuts) return OK;
	const struct component *few = a->count <= b->count ? a : b, *many = few == a ? b : a;
	for (size_t i = 0; i < few->count && !*out; i++) {
		const struct fragment_id *id = &few->members[i].id;
		struct slot *slot;
		struct row *row;
		int rc = cache_slot(&people->cache, id, &slot);
		if (!rc) rc = cache_row(&people->cache, slot, false, &row);
		if (rc) return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
		if (!row->has_cuts) continue;
		rc = cut_of(people->txn, people->tables.links, id, many, other_of(but, id), out);
		if (rc) return rc;
	}
	return OK;
}
