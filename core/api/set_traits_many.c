#include "api/set_traits_many.h"

#include "api/ref.h"

#define FOUND_BYTES 512 /* about, for each reference and what it leads to */

struct sought {
	size_t index;
	struct str ref; /* as sent, then the identifier */
	enum problem problem;
	struct str message; /* static */
};
struct lookup_of_many {
	struct sought *items;
	size_t count;
};

enum problem set_traits_many_prepare(struct set_traits_many *what, struct arena *arena, struct ingest_request *out,
				     struct set_traits_refusal *refusal)
{
	struct ingest_traits *told = arena_new(arena, struct ingest_traits);
	*refusal = (struct set_traits_refusal){STR_NONE, STR_NONE};
	if (!told) return PROBLEM_INTERNAL;
	enum problem problem = set_traits_describe(&what->all, arena, told, refusal);
	if (problem != PROBLEM_NONE) return problem;
	told->items = what->items;
	told->item_count = what->count;
	out->dialect = DIALECT_TRAITS;
	out->traits = told;
	return PROBLEM_NONE;
}

static bool is_id(struct str ref)
{
	return str_starts(ref, STR("id:"));
}

static size_t count_ids(const struct set_traits_many *what)
{
	size_t count = 0;
	for (size_t i = 0; i < what->count; i++) count += is_id(what->items[i].ref);
	return count;
}

bool set_traits_many_has_ids(const struct set_traits_many *what)
{
	return count_ids(what) > 0;
}

/* ── on a pool thread ────────────────────────────────────────────────────── */

static int seek(struct answer *answer, struct read_thread *thread, struct sought *sought)
{
	uint64_t applied;
	struct str found = STR_NONE;
	arena_reset(&thread->scratch);
	int rc = people_read_begin(thread->people, &applied);
	if (rc) return rc;
	rc = people_resolve(thread->people, sought->ref, &thread->scratch, &found);
	people_read_end(thread->people);
	sought->problem = ref_problem(rc, &sought->message);
	if (sought->problem == PROBLEM_INTERNAL) return rc;
	return sought->problem == PROBLEM_NONE ? arena_str(&answer->arena, found, &sought->ref) : OK;
}

static int work(struct answer *answer, struct read_thread *thread)
{
	struct lookup_of_many *lookup = answer->params;
	int rc = OK;
	for (size_t i = 0; i < lookup->count && rc == OK && !answer_is_cancelled(answer); i++)
		rc = seek(answer, thread, &lookup->items[i]);
	return rc;
}

/* ── on the loop ─────────────────────────────────────────────────────────── */

static int copy_ids(const struct set_traits_many *what, struct answer *answer)
{
	struct lookup_of_many *lookup = answer->params;
	size_t count = count_ids(what);
	answer->arena.cap += count * FOUND_BYTES;
	lookup->items = arena_array(&answer->arena, struct sought, count + 1);
	if (!lookup->items) return ERR_NOMEM;
	for (size_t i = 0; i < what->count; i++) {
		if (!is_id(what->items[i].ref)) continue;
		struct sought *sought = &lookup->items[lookup->count++];
		*sought = (struct sought){.index = i, .message = STR_NONE};
		if (arena_str(&answer->arena, what->items[i].ref, &sought->ref)) return ERR_NOMEM;
	}
	return OK;
}

struct answer *set_traits_many_lookup(const struct set_traits_many *what, struct api_worker *worker, void *asker,
				      void (*reply)(struct answer *answer))
{
	struct answer *answer = answer_new_for(worker, asker, reply, work, sizeof(struct lookup_of_many));
	if (!answer || copy_ids(what, answer) == OK) return answer;
	answer_drop(answer);
	return NULL;
}

int set_traits_many_take(const struct answer *answer, struct set_traits_many *what, struct arena *arena)
{
	const struct lookup_of_many *lookup = answer->params;
	for (size_t i = 0; i < lookup->count; i++) {
		const struct sought *sought = &lookup->items[i];
		struct ingest_traits_item *item = &what->items[sought->index];
		if (sought->problem == PROBLEM_NONE) {
			if (arena_str(arena, sought->ref, &item->ref)) return ERR_NOMEM;
			continue;
		}
		struct ingest_refusal *refusal = arena_new(arena, struct ingest_refusal);
		if (!refusal) return ERR_NOMEM;
		*refusal = (struct ingest_refusal){sought->problem, STR("/ref"), sought->message};
		item->refusal = refusal;
	}
	return OK;
}
