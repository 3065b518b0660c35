/* Where the journal was trimmed: who was linked to whom before its first record, from what the daemon's people still know. Of these links, and of the
 * unmerges that parted some of them, every attempt is there with its position; made again in their order they lead to the same people. */
#include "profile/scan.h"
#include "training/job.h"

#define WINDOW_PEOPLE 64
#define SEED_T(job)   ((job)->about.first_us)

struct kin { /* one person as the daemon has them */
	const struct profile *profile;
	struct link_row *rows;
	size_t row_count;
};

struct window {
	struct kin kin[WINDOW_PEOPLE];
	struct profile profiles[WINDOW_PEOPLE];
	size_t count;
};

static int read_person(struct job *job, struct people_scan *scan, int64_t now, struct window *window)
{
	struct profile *profile = &window->profiles[window->count];
	struct kin *kin = &window->kin[window->count];
	bool found;
	int rc =
	    people_scan_next(job->live, scan, WINDOW_PEOPLE, PROFILE_IDENTIFIERS, now, &job->scratch, profile, &found);
	if (rc || !found) return rc;
	*kin = (struct kin){.profile = profile};
	rc = people_links(job->live, profile, &job->scratch, &kin->rows, &kin->row_count);
	if (!rc && kin->row_count) window->count++;
	return rc;
}

static int read_window(struct job *job, struct people_scan *scan, struct window *window)
{
	uint64_t applied;
	window->count = 0;
	arena_reset(&job->scratch);
	int rc = people_read_begin(job->live, &applied);
	if (rc) return rc;
	for (int i = 0; i < WINDOW_PEOPLE && !scan->is_done && !rc; i++)
		rc = read_person(job, scan, job->about.until_us, window);
	people_read_end(job->live);
	return rc;
}

/* ── making them again ───────────────────────────────────────────────────── */

static int know(struct job *job, struct str a, struct str b, uint64_t seq)
{
	struct erased_event both = {.identifiers = {a, b}, .identifier_count = b.len ? 2 : 1, .rights = UINT32_MAX};
	int rc = replay_begin(job);
	return rc ? rc : people_apply_erased(job->own, &both, seq, SEED_T(job));
}

/* The older identifier is the stronger one of its namespace: each keeps its age. */
static int know_identifiers(struct job *job, const struct kin *kin)
{
	const struct profile *profile = kin->profile;
	int rc = OK;
	for (size_t i = 0; i < profile->identifier_count && !rc; i++) {
		const struct profile_identifier *identifier = &profile->identifiers[i];
		struct str text;
		if (identifier->first_seq >= job->first) continue;
		rc = arena_printf(&job->scratch, &text, "%.*s:%.*s", STR_ARG(identifier->namespace_),
				  STR_ARG(identifier->value));
		if (!rc) rc = know(job, text, STR_NONE, identifier->first_seq);
	}
	return rc;
}

static int part(struct job *job, const struct link_row *row)
{
	const struct people_act act = {.a = row->a, .b = row->b, .actor = row->actor, .note = STR_NONE};
	int rc = replay_begin(job);
	return rc ? rc : people_act(job->own, PEOPLE_UNMERGE, &act, row->seq, SEED_T(job));
}

/* What a cannot-link keeps apart now may have been linked before it, or will be again. */
static int know_link(struct job *job, const struct link_row *row)
{
	if (row->seq >= job->first) return OK;
	if (row->is_unmerge) return row->is_linked && !row->is_lifted ? part(job, row) : OK;
	if (!row->is_linked && !str_eq(row->reason, STR("cannot_link"))) return OK;
	return know(job, row->a, row->b, row->seq);
}

static int know_person(struct job *job, const struct kin *kin)
{
	int rc = know_identifiers(job, kin);
	for (size_t i = 0; i < kin->row_count && !rc; i++) rc = know_link(job, &kin->rows[i]);
	return rc;
}

int seed_links(struct job *job)
{
	struct people_scan scan = {.is_done = false};
	struct window window;
	int rc = OK;
	while (job->first > 1 && !scan.is_done && !rc) {
		rc = replay_may_go_on(job);
		if (rc) return rc;
		rc = read_window(job, &scan, &window);
		for (size_t i = 0; i < window.count && !rc; i++) rc = know_person(job, &window.kin[i]);
	}
	return rc ? rc : replay_commit(job);
}
