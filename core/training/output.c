/* Handing the rows out: whoever was erased meanwhile, or does not allow it, is left out at that moment. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "profile/erase.h"
#include "training/internal.h"

#define SLICE 64 /* rows in one window of the people */

struct training_read {
	struct training *training;
	const struct job *job;
	enum training_format format;
	struct row_reader rows;
	struct json_reader *json;
	struct arena scratch;
	bool is_begun;
	int64_t now;
	uint64_t given, positives, erased, denied;
	double label_sum;
};

int training_read_open(struct training *training, struct str id, enum training_format format,
		       struct training_read **out)
{
	*out = NULL;
	struct training_read *read = calloc(1, sizeof *read);
	if (!read) return ERR_NOMEM;
	(void)pthread_mutex_lock(&training->lock);
	bool is_there = training->job && !training->should_drop && !training->is_stopped &&
			str_eq(id, str_from(training->job->about.id));
	int rc = !is_there ? ERR_NOT_FOUND : training->state != TRAINING_DONE ? ERR_AGAIN : OK;
	if (!rc) training->readers++;
	read->job = training->job;
	(void)pthread_mutex_unlock(&training->lock);
	if (!rc) rc = json_reader_new(&read->json);
	if (rc) {
		free(read);
		return rc;
	}
	read->training = training;
	read->format = format;
	read->now = clock_wall_us();
	arena_init(&read->scratch, (size_t)64 << 10, 0);
	row_reader_init(&read->rows, read->job->rows);
	*out = read;
	return OK;
}

void training_read_close(struct training_read *read)
{
	struct training *training = read->training;
	row_reader_fini(&read->rows);
	json_reader_free(read->json);
	arena_fini(&read->scratch);
	(void)pthread_mutex_lock(&training->lock);
	training->readers--;
	atomic_store(&training->job->asked_at, clock_mono_us());
	(void)pthread_cond_broadcast(&training->changed);
	(void)pthread_mutex_unlock(&training->lock);
	free(read);
}

/* ── who is left out ─────────────────────────────────────────────────────── */

static int was_erased(struct people_reader *reader, const uint8_t fragment[16], uint64_t seq, bool *out)
{
	struct fragment_id id;
	struct erased_row row;
	memcpy(id.bytes, fragment, sizeof id.bytes);
	int rc = people_erased(reader, &id, &row);
	if (!rc && seq < row.seq) *out = true;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

struct judged {
	bool is_erased, is_denied;
	bool is_partly_known; /* somebody knew the person before the oldest record */
};

static int judge_person(struct training_read *read, struct people_reader *reader, struct str ref, struct judged *judged)
{
	const struct job *job = read->job;
	struct consent_answer answer;
	struct profile profile;
	bool is_trimmed = job->about.first > 1;
	int rc = people_get(reader, ref, is_trimmed ? PROFILE_IDENTIFIERS : 0, read->now, &read->scratch, &profile);
	if (rc) {
		judged->is_erased = rc == ERR_NOT_FOUND;
		return rc == ERR_NOT_FOUND ? OK : rc;
	}
	for (size_t i = 0; i < profile.identifier_count; i++)
		if (profile.identifiers[i].first_seq < job->about.first) judged->is_partly_known = true;
	if (!job->set.purpose.len) return OK;
	rc = people_consent_check(reader, ref, job->set.purpose, STR_NONE, read->now, &read->scratch, &answer);
	judged->is_denied = !rc && !answer.is_allowed;
	return rc;
}

static int judge(struct training_read *read, struct people_reader *reader, const struct row_point *point,
		 const uint8_t *members, struct judged *judged)
{
	char ref[3 + FRAGMENT_ID_TEXT_SIZE] = "id:";
	struct fragment_id id;
	*judged = (struct judged){.is_erased = false};
	int rc = was_erased(reader, point->fragment, point->seq, &judged->is_erased);
	for (uint32_t i = 0; i < point->member_count && !rc; i++)
		rc = was_erased(reader, members + (size_t)i * 16, point->seq, &judged->is_erased);
	if (rc || judged->is_erased) return rc;
	memcpy(id.bytes, point->fragment, sizeof id.bytes);
	fragment_id_format(&id, ref + 3);
	return judge_person(read, reader, str_from(ref), judged);
}

/* ── cells ───────────────────────────────────────────────────────────────── */

static int put_quoted(struct buf *out, struct str text)
{
	bool is_plain = text.len > 0;
	for (size_t i = 0; i < text.len && is_plain; i++)
		is_plain = text.ptr[i] != '"' && text.ptr[i] != ',' && text.ptr[i] != '\n' && text.ptr[i] != '\r';
	if (is_plain) return buf_append_str(out, text);
	int rc = buf_putc(out, '"');
	for (size_t i = 0; i < text.len && !rc; i++) {
		if (text.ptr[i] == '"') rc = buf_putc(out, '"');
		if (!rc) rc = buf_putc(out, text.ptr[i]);
	}
	return rc ? rc : buf_putc(out, '"');
}

/* A JSON text as it stands between commas: texts bare, null as nothing. */
static int put_csv_cell(struct training_read *read, struct buf *out, struct str cell)
{
	struct json root;
	struct str text;
	const char *why;
	if (str_eq(cell, STR("null"))) return OK;
	if (cell.ptr[0] != '"') return put_quoted(out, cell);
	char *copy = arena_alloc(&read->scratch, cell.len + BUF_SLACK);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, cell.ptr, cell.len);
	int rc = json_parse(read->json, (struct str){copy, cell.len}, &root, &why);
	if (!rc && !json_str(root, &text)) rc = ERR_CORRUPT;
	return rc ? rc : put_quoted(out, text);
}

static bool next_cell(struct str *cells, struct str *out)
{
	const char *end = memchr(cells->ptr, '\n', cells->len);
	if (!end) return false;
	*out = (struct str){cells->ptr, (size_t)(end - cells->ptr)};
	*cells = (struct str){end + 1, cells->len - out->len - 1};
	return true;
}

/* Labels are sums of multiples of 10⁻⁶. */
static int put_label(const struct training_read *read, struct buf *out, double label)
{
	if (read->job->set.value != TRAINING_SUM) return buf_printf(out, "%.0f", label);
	return json_write_double(out, round(label * 1e6) / 1e6);
}

static int put_id(struct buf *out, const uint8_t bytes[16])
{
	struct fragment_id id;
	char text[FRAGMENT_ID_TEXT_SIZE];
	memcpy(id.bytes, bytes, sizeof id.bytes);
	fragment_id_format(&id, text);
	return buf_append_str(out, str_from(text));
}

/* ── rows ────────────────────────────────────────────────────────────────── */

static bool has_since(const struct training_read *read)
{
	return read->job->about.first > 1;
}

static int put_csv_row(struct training_read *read, struct buf *out, const struct row_point *point, struct str cells,
		       bool is_since)
{
	char time[CLOCK_TEXT_SIZE];
	struct str cell;
	int rc = put_id(out, point->profile);
	(void)clock_format(point->at_us, time);
	if (!rc) rc = buf_printf(out, ",%s,", time);
	if (!rc) rc = put_label(read, out, point->label);
	while (!rc && next_cell(&cells, &cell)) {
		rc = buf_putc(out, ',');
		if (!rc) rc = put_csv_cell(read, out, cell);
	}
	(void)clock_format(read->job->about.first_us, time);
	if (!rc && has_since(read)) rc = buf_printf(out, ",%s", is_since ? time : "");
	return rc ? rc : buf_putc(out, '\n');
}

static int put_json_features(const struct training_read *read, struct json_out *json, struct str cells)
{
	struct str cell;
	jo_key(json, STR("features"));
	jo_object(json);
	for (size_t i = 0; next_cell(&cells, &cell); i++) {
		jo_key(json, read->job->columns.items[i].name);
		jo_raw(json, cell);
	}
	jo_end_object(json);
	return json->status;
}

static int put_json_row(struct training_read *read, struct buf *out, const struct row_point *point, struct str cells,
			bool is_since)
{
	struct json_out json;
	json_out_init(&json, out);
	jo_object(&json);
	jo_key(&json, STR("profile_id"));
	jo_raw(&json, STR("\""));
	int rc = put_id(out, point->profile);
	if (!rc) rc = buf_putc(out, '"');
	jo_key(&json, STR("point_time"));
	jo_time(&json, point->at_us);
	jo_key(&json, STR("label"));
	jo_raw(&json, STR_NONE);
	if (!rc) rc = put_label(read, out, point->label);
	if (!rc) rc = put_json_features(read, &json, cells);
	if (has_since(read)) {
		jo_key(&json, STR("since"));
		if (is_since)
			jo_time(&json, read->job->about.first_us);
		else
			jo_null(&json);
	}
	jo_end_object(&json);
	if (!rc) rc = json.status;
	return rc ? rc : buf_putc(out, '\n');
}

static int put_heading(const struct training_read *read, struct buf *out)
{
	const struct columns *columns = &read->job->columns;
	if (read->format != TRAINING_CSV) return OK;
	int rc = buf_append_str(out, STR("profile_id,point_time,label"));
	for (size_t i = 0; i < columns->count && !rc; i++) {
		rc = buf_putc(out, ',');
		if (!rc) rc = put_quoted(out, columns->items[i].name);
	}
	if (!rc && has_since(read)) rc = buf_append_str(out, STR(",since"));
	return rc ? rc : buf_putc(out, '\n');
}

static int give(struct training_read *read, struct buf *out, const struct row_point *point, struct str cells,
		const struct judged *judged)
{
	if (judged->is_erased || judged->is_denied) {
		read->erased += judged->is_erased;
		read->denied += judged->is_denied;
		return OK;
	}
	read->given++;
	read->positives += point->label > 0;
	read->label_sum += point->label;
	return read->format == TRAINING_CSV ? put_csv_row(read, out, point, cells, judged->is_partly_known)
					    : put_json_row(read, out, point, cells, judged->is_partly_known);
}

static int read_slice(struct training_read *read, struct people_reader *reader, struct buf *out, bool *is_done)
{
	int rc = OK;
	for (int i = 0; i < SLICE && !rc; i++) {
		struct row_point point;
		struct judged judged;
		const uint8_t *members;
		struct str cells;
		arena_reset(&read->scratch);
		rc = row_reader_next(&read->rows, &point, &members, &cells);
		if (rc == ERR_NOT_FOUND) {
			*is_done = true;
			return OK;
		}
		if (!rc) rc = judge(read, reader, &point, members, &judged);
		if (!rc) rc = give(read, out, &point, cells, &judged);
	}
	return rc;
}

static void note_end(const struct training_read *read)
{
	struct training *training = read->training;
	(void)pthread_mutex_lock(&training->lock);
	training->has_read = true;
	training->given = read->given;
	training->positives = read->positives;
	training->left_out_erased = read->erased;
	training->left_out_consent = read->denied;
	training->label_sum = read->label_sum;
	(void)pthread_mutex_unlock(&training->lock);
}

int training_read_some(struct training_read *read, struct people_reader *reader, size_t enough, struct buf *out,
		       bool *is_done)
{
	uint64_t applied;
	int rc = read->is_begun ? OK : put_heading(read, out);
	read->is_begun = true;
	*is_done = false;
	while (!rc && out->len < enough && !*is_done) {
		rc = people_read_begin(reader, &applied);
		if (rc) break;
		rc = read_slice(read, reader, out, is_done);
		people_read_end(reader);
	}
	if (!rc && *is_done) note_end(read);
	return rc;
}
