#include "training/job.h"

#include "base/clock.h"
#include "base/hash.h"
#include "profile/row.h"
#include "profile/scan.h"

#define SCAN_ROWS  256
#define LOOK_AFTER 64 /* steps of a scan: each may write a row */

/* ── rows ────────────────────────────────────────────────────────────────── */

/* Not secret: the same people are in a sample every time. */
static bool is_in_sample(const struct job *job, const struct fragment_id *profile)
{
	static const struct hash_key key = {"cdpd sample 0001"};
	if (job->set.sample >= TRAINING_SAMPLE_ONE) return true;
	return hash64(&key, profile->bytes, sizeof profile->bytes) % TRAINING_SAMPLE_ONE < job->set.sample;
}

static bool is_in_range(const struct job *job, int64_t at_us)
{
	return at_us >= job->set.from_us && at_us < job->set.until_us;
}

/* Its window will not be over when the journal ends. */
static bool is_censored(const struct job *job, int64_t at_us)
{
	return at_us > job->about.until_us - job->set.horizon_us - job->set.grace_us;
}

static int join_cells(struct job *job, const struct str *cells, struct str *out)
{
	size_t len = 0;
	for (size_t i = 0; i < job->columns.count; i++) len += cells[i].len + 1;
	char *text = arena_alloc(&job->scratch, len + 1), *at = text;
	if (!text) return ERR_NOMEM;
	for (size_t i = 0; i < job->columns.count; i++) {
		memcpy(at, cells[i].ptr, cells[i].len);
		/* Between JSON's words, as a plugin's type may write them, it is a space. */
		for (size_t k = 0; k < cells[i].len; k++)
			if (at[k] == '\n') at[k] = ' ';
		at += cells[i].len;
		*at++ = '\n';
	}
	*out = (struct str){text, len};
	return OK;
}

static int put_row(struct job *job, struct row_point *point, const uint8_t *members, const struct str *cells)
{
	struct str text;
	int rc = join_cells(job, cells, &text);
	if (!rc) rc = rows_put(job->rows, point, members, text);
	if (rc || job->has_head) return rc;
	rc = rows_head(job->rows, &job->head);
	job->has_head = rc == OK;
	return rc;
}

static struct str *new_cells(struct job *job)
{
	struct str *cells = arena_array(&job->scratch, struct str, job->columns.count + 1);
	for (size_t i = 0; cells && i < job->columns.count; i++) cells[i] = STR("null");
	return cells;
}

/* ── at an event ─────────────────────────────────────────────────────────── */

static int read_peek(struct job *job, const struct peek *peek, struct str *cells)
{
	const struct columns *columns = &job->columns;
	int rc = OK;
	for (size_t i = 0; i < columns->feature_count && !rc; i++) {
		size_t len = people_peek_value(job->own, peek, columns->features[i]->name, job->t, job->value);
		rc = columns_read(columns, i, (struct str){job->value, len}, job->json, &job->scratch, cells);
	}
	return rc;
}

static int copy_members(struct job *job, const struct peek *peek, uint8_t **out)
{
	*out = arena_alloc(&job->scratch, peek->member_count * 16 + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < peek->member_count; i++) memcpy(*out + i * 16, peek->members[i].id.bytes, 16);
	return OK;
}

int points_take(struct job *job, const struct fragment_id *fragment, uint64_t seq)
{
	struct peek peek;
	uint8_t *members;
	if (!is_in_range(job, job->t)) return OK;
	int rc = people_peek(job->own, fragment, true, &peek);
	if (rc) return rc;
	if (!is_in_sample(job, &peek.profile)) {
		atomic_fetch_add(&job->sampled_out, 1);
		return OK;
	}
	if (is_censored(job, job->t)) {
		atomic_fetch_add(&job->censored, 1);
		return OK;
	}
	struct row_point point = {.member_count = (uint32_t)peek.member_count, .at_us = job->t, .seq = seq};
	memcpy(point.fragment, fragment->bytes, sizeof point.fragment);
	memcpy(point.profile, peek.profile.bytes, sizeof point.profile);
	struct str *cells = new_cells(job);
	rc = cells ? read_peek(job, &peek, cells) : ERR_NOMEM;
	if (!rc) rc = copy_members(job, &peek, &members);
	return rc ? rc : put_row(job, &point, members, cells);
}

/* ── on the grid ─────────────────────────────────────────────────────────── */

static const struct profile_feature *find_feature(const struct profile *profile, struct str name)
{
	for (size_t i = 0; i < profile->feature_count; i++)
		if (str_eq(profile->features[i].name, name)) return &profile->features[i];
	return NULL;
}

static int read_profile(struct job *job, const struct profile *profile, struct str *cells)
{
	const struct columns *columns = &job->columns;
	int rc = OK;
	for (size_t i = 0; i < columns->feature_count && !rc; i++) {
		const struct profile_feature *feature = find_feature(profile, columns->features[i]->name);
		if (feature) rc = columns_read(columns, i, feature->value, job->json, &job->scratch, cells);
	}
	return rc;
}

static int take_profile(struct job *job, const struct profile *profile, int64_t at_us, uint64_t seq)
{
	int64_t since = job->set.active_us ? at_us - job->set.active_us : INT64_MIN;
	if (profile->event_count == 0 || profile->last_seen < since) return OK;
	if (!is_in_sample(job, &profile->id)) {
		atomic_fetch_add(&job->sampled_out, 1);
		return OK;
	}
	if (is_censored(job, at_us)) {
		atomic_fetch_add(&job->censored, 1);
		return OK;
	}
	size_t count = profile->identifier_count > 1 ? profile->identifier_count : 0;
	uint8_t *members = arena_alloc(&job->scratch, count * 16 + 1);
	struct str *cells = new_cells(job);
	if (!members || !cells) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) memcpy(members + i * 16, profile->identifiers[i].fragment.bytes, 16);
	struct row_point point = {.member_count = (uint32_t)count, .at_us = at_us, .seq = seq};
	memcpy(point.fragment, profile->id.bytes, sizeof point.fragment);
	memcpy(point.profile, profile->id.bytes, sizeof point.profile);
	int rc = read_profile(job, profile, cells);
	return rc ? rc : put_row(job, &point, members, cells);
}

/* Everybody there is, from committed rows: nobody writes meanwhile. */
static int take_everybody(struct job *job, struct people_reader *reader, int64_t at_us, uint64_t seq)
{
	struct people_scan scan = {.is_done = false};
	struct profile profile;
	bool found;
	int rc = OK;
	unsigned parts = is_censored(job, at_us) ? 0 : PROFILE_FEATURES | PROFILE_IDENTIFIERS;
	for (size_t step = 0; !scan.is_done && !rc; step++) {
		if (step % LOOK_AFTER == 0) rc = replay_may_go_on(job);
		if (rc) break;
		arena_reset(&job->scratch);
		rc = people_scan_next(reader, &scan, SCAN_ROWS, parts, at_us, &job->scratch, &profile, &found);
		if (!rc && found) rc = take_profile(job, &profile, at_us, seq);
	}
	return rc;
}

static int take_grid(struct job *job, int64_t at_us, uint64_t seq)
{
	struct people_reader *reader;
	uint64_t applied;
	if (!is_in_range(job, at_us)) return OK;
	int rc = replay_commit(job);
	if (!rc) rc = people_reader_new(job->own, &reader);
	if (rc) return rc;
	rc = people_read_begin(reader, &applied);
	if (!rc) rc = take_everybody(job, reader, at_us, seq);
	people_read_end(reader);
	people_reader_free(reader);
	return rc;
}

/* ── labels ──────────────────────────────────────────────────────────────── */

static int sum_members(struct job *job, const struct row_point *point, const struct peek *peek, double *sum,
		       uint64_t *count)
{
	int64_t until = point->at_us + job->set.horizon_us;
	if (peek->member_count == 0) return labels_sum(&job->labels, point->fragment, point->at_us, until, sum, count);
	int rc = OK;
	for (size_t i = 0; i < peek->member_count && !rc; i++)
		rc = labels_sum(&job->labels, peek->members[i].id.bytes, point->at_us, until, sum, count);
	return rc;
}

/* What happened to the person whom the fragment belongs to by now. */
static int close_head(struct job *job)
{
	struct fragment_id id;
	struct peek peek;
	double sum = 0;
	uint64_t count = 0;
	memcpy(id.bytes, job->head.fragment, sizeof id.bytes);
	int rc = replay_begin(job);
	if (!rc) rc = people_peek(job->own, &id, true, &peek);
	if (!rc) rc = sum_members(job, &job->head, &peek, &sum, &count);
	if (!rc) rc = rows_label(job->rows, job->set.value == TRAINING_ANY ? count > 0 : sum);
	if (rc) return rc;
	rc = rows_head(job->rows, &job->head);
	job->has_head = rc == OK;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

static int64_t head_over(const struct job *job)
{
	return job->has_head ? job->head.at_us + job->set.horizon_us + job->set.grace_us : INT64_MAX;
}

/* ── time ────────────────────────────────────────────────────────────────── */

/* The first multiple of `every` after the beginning; weeks begin on Mondays. */
void points_start_grid(struct job *job, int64_t first_us)
{
	const int64_t week = 7 * US_PER_DAY, monday = 4 * US_PER_DAY; /* 1970-01-05 */
	int64_t every = job->set.every_us;
	int64_t origin = every % week == 0 ? monday : 0;
	if (!every) return;
	int64_t from = job->set.from_us > first_us ? job->set.from_us : first_us;
	int64_t steps = from > origin ? (from - origin + every - 1) / every : 0;
	job->next_grid = origin + steps * every;
}

/* A grid point comes before the record of its very time, a window is over only after it. */
int points_advance(struct job *job, int64_t t, uint64_t seq)
{
	for (;;) {
		int64_t over = head_over(job), grid = job->next_grid;
		int rc;
		if (grid <= t && grid <= over) {
			rc = replay_may_go_on(job);
			if (!rc) rc = take_grid(job, grid, seq);
			job->next_grid = grid + job->set.every_us;
		} else if (over < t) {
			rc = close_head(job);
		} else {
			return OK;
		}
		if (!rc && atomic_load(&job->should_stop)) rc = ERR_CLOSED;
		if (rc) return rc;
	}
}

int points_finish(struct job *job, int64_t until, uint64_t seq)
{
	int rc = points_advance(job, until, seq);
	while (!rc && job->has_head && head_over(job) <= until) rc = close_head(job);
	return rc;
}
