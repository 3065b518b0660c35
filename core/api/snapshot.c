#include "api/snapshot.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/encode.h"
#include "profile/erase.h"

#define WINDOW_ROWS 64  /* identifiers looked at in one read transaction */
#define WINDOWS     256 /* in one pull, when few of them head a profile */
#define ALL_SHOWN   (PROFILE_IDENTIFIERS | PROFILE_TRAITS | PROFILE_FEATURES | PROFILE_CONSENTS)

/* One byte of version, epoch, since, id and a checksum, big endian, as base64url. */
enum { AT_EPOCH = 1, AT_SINCE = 9, AT_ID = 17, AT_CHECK = 33, CURSOR_BYTES = 37, CURSOR_VERSION = 0x53 };
_Static_assert(BASE64_SIZE(CURSOR_BYTES) <= SNAPSHOT_CURSOR_SIZE, "the text must fit its buffer");

struct snapshot {
	const struct snapshot_format *format;
	struct people_scan scan;
	uint64_t since, as_of, rows;
	bool is_begun, is_resumed;
	int lease; /* -1: none */
	struct people *people;
};

/* ── cursors ─────────────────────────────────────────────────────────────── */

static void format_cursor(const struct api *api, const struct snapshot *snapshot, char out[SNAPSHOT_CURSOR_SIZE])
{
	uint8_t bytes[CURSOR_BYTES] = {CURSOR_VERSION};
	put_be64(bytes + AT_EPOCH, journal_epoch(api->journal));
	put_be64(bytes + AT_SINCE, snapshot->since);
	memcpy(bytes + AT_ID, snapshot->scan.after.bytes, sizeof snapshot->scan.after.bytes);
	put_be32(bytes + AT_CHECK, crc32c(0, bytes, AT_CHECK));
	(void)base64url_encode(bytes, sizeof bytes, out);
}

static int parse_cursor(const struct api *api, struct str text, struct arena *arena, struct snapshot *snapshot)
{
	struct str raw;
	if (text.len >= SNAPSHOT_CURSOR_SIZE) return ERR_INVALID;
	int rc = base64_decode(arena, text, &raw);
	if (rc) return rc;
	const uint8_t *bytes = (const uint8_t *)raw.ptr;
	if (raw.len != CURSOR_BYTES || bytes[0] != CURSOR_VERSION) return ERR_INVALID;
	if (get_be32(bytes + AT_CHECK) != crc32c(0, bytes, AT_CHECK)) return ERR_INVALID;
	if (get_be64(bytes + AT_EPOCH) != journal_epoch(api->journal)) return ERR_FOREIGN;
	snapshot->since = get_be64(bytes + AT_SINCE);
	memcpy(snapshot->scan.after.bytes, bytes + AT_ID, sizeof snapshot->scan.after.bytes);
	snapshot->scan.has_after = snapshot->is_resumed = true;
	return OK;
}

/* ── rows ────────────────────────────────────────────────────────────────── */

/* In the first window. */
static int settle_since(struct snapshot *snapshot, const struct people_reader *reader)
{
	uint64_t floor = people_changes_floor(reader), last = people_read_last_change(reader);
	if (!snapshot->is_resumed) snapshot->since = last;
	if (snapshot->since > last || snapshot->since < floor) return ERR_GONE;
	snapshot->lease = people_lease_changes(snapshot->people, snapshot->since);
	return snapshot->lease < 0 ? ERR_BUSY : OK;
}

static int write_row(struct feed_pull *pull, const struct profile *profile, uint64_t applied, struct arena *scratch)
{
	struct snapshot *snapshot = pull->params;
	struct snapshot_row row = {.profile = profile, .applied = applied, .as_of = snapshot->as_of};
	format_cursor(pull->api, snapshot, row.cursor);
	int rc = snapshot->format->row(pull->out, pull->api, &row, scratch);
	if (rc == OK) snapshot->rows++;
	return rc;
}

static int scan_window(struct feed_pull *pull, struct read_thread *thread, uint64_t applied)
{
	struct snapshot *snapshot = pull->params;
	int64_t now = clock_wall_us();
	snapshot->as_of = people_read_last_change(thread->people);
	int rc = OK;
	for (int i = 0; i < WINDOW_ROWS && rc == OK && pull->out->len < FEED_BATCH && !snapshot->scan.is_done; i++) {
		struct people_scan before = snapshot->scan;
		struct profile profile;
		bool found;
		arena_reset(&thread->scratch);
		rc = people_scan_next(thread->people, &snapshot->scan, 1, ALL_SHOWN, now, &thread->scratch, &profile,
				      &found);
		if (rc == OK && found) rc = write_row(pull, &profile, applied, &thread->scratch);
		if (rc != OK) snapshot->scan = before;
	}
	return rc;
}

static int begin(struct feed_pull *pull, const struct people_reader *reader)
{
	struct snapshot *snapshot = pull->params;
	if (snapshot->is_begun) return OK;
	int rc = settle_since(snapshot, reader);
	if (rc == OK) rc = snapshot->format->begin(pull->out, pull->api, snapshot->since);
	snapshot->is_begun = rc == OK;
	return rc;
}

static int fill_window(struct feed_pull *pull, struct read_thread *thread)
{
	uint64_t applied;
	int rc = people_read_begin(thread->people, &applied);
	if (rc) return rc;
	rc = begin(pull, thread->people);
	if (rc == OK) rc = scan_window(pull, thread, applied);
	people_read_end(thread->people);
	return rc;
}

static int fill(struct feed_pull *pull, struct read_thread *thread)
{
	struct snapshot *snapshot = pull->params;
	for (int i = 0; i < WINDOWS && pull->out->len < FEED_BATCH && !snapshot->scan.is_done; i++) {
		if (atomic_load(pull->is_cancelled)) return OK;
		int rc = fill_window(pull, thread);
		if (rc != OK) return rc;
	}
	if (!snapshot->scan.is_done) return OK;
	pull->is_done = true;
	return snapshot->format->end(pull->out, pull->api, snapshot->as_of, snapshot->rows);
}

/* There is always more, until fill says that there is not. */
static uint64_t newest(struct api *api)
{
	(void)api;
	return UINT64_MAX;
}

const struct feed_kind SNAPSHOT_FEED = {.newest = newest, .fill = fill};

/* ── opening ─────────────────────────────────────────────────────────────── */

static void release(void *ctx)
{
	struct snapshot *snapshot = ctx;
	people_end_lease(snapshot->people, snapshot->lease);
	free(snapshot);
}

enum problem snapshot_open(struct api_worker *worker, struct str cursor, const struct snapshot_format *format,
			   struct feed_options *out, struct str *message)
{
	struct snapshot *snapshot = calloc(1, sizeof *snapshot);
	*message = STR_NONE;
	if (!snapshot) return PROBLEM_INTERNAL;
	*snapshot = (struct snapshot){.format = format, .people = worker->api->people, .lease = -1};
	*out = (struct feed_options){
	    .kind = &SNAPSHOT_FEED, .params = snapshot, .release = release, .release_ctx = snapshot};
	arena_init(&out->arena, 256, 1024);
	int rc = cursor.len ? parse_cursor(worker->api, cursor, &out->arena, snapshot) : OK;
	if (rc == OK) return PROBLEM_NONE;
	arena_fini(&out->arena);
	release(snapshot);
	*message = rc == ERR_FOREIGN ? STR("that cursor is from another store or from before a restore")
				     : STR("cursor: not one of a row of a snapshot");
	return rc == ERR_FOREIGN ? PROBLEM_GONE : PROBLEM_INVALID_PARAMETER;
}
