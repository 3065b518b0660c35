#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "deliver/destination.h"
#include "enrich/patched.h"
#include "event/position.h"
#include "profile/awaits.h"
#include "profile/erase.h"

void batch_init(struct batch *batch)
{
	arena_init(&batch->arena, 65536, (size_t)32 << 20);
	arena_init(&batch->scratch, 65536, (size_t)16 << 20);
	buf_init(&batch->json, (size_t)8 << 20);
	buf_init(&batch->person, (size_t)8 << 20);
	batch->reader = NULL;
}

void batch_fini(struct batch *batch)
{
	arena_fini(&batch->arena);
	arena_fini(&batch->scratch);
	buf_fini(&batch->json);
	buf_fini(&batch->person);
	json_reader_free(batch->reader);
}

/* ── which records: applied ones, by their outcomes ──────────────────────── */

struct picking {
	struct batch *batch;
	uint64_t last_seq;
	size_t rows;
};

static int pick(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	struct picking *picking = ctx;
	struct batch *batch = picking->batch;
	picking->last_seq = seq;
	picking->rows++;
	if (outcome->verdict != OUTCOME_APPLIED) return 0;
	batch->seqs[batch->count] = seq;
	memcpy(batch->fragments[batch->count], outcome->fragment, sizeof batch->fragments[0]);
	batch->resolutions[batch->count] = outcome->resolution_seq;
	return ++batch->count == HANDOVER_RECORDS_MAX;
}

/* The person's id now; a fragment that is no more keeps its own. */
static int name_person(struct batch *batch, struct people_reader *reader, const struct selection *selection, size_t i,
		       int64_t now)
{
	struct fragment_id id;
	struct profile profile;
	char text[FRAGMENT_ID_TEXT_SIZE], ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	struct erased_row erased;
	memcpy(id.bytes, batch->fragments[i], sizeof id.bytes);
	int judged = people_erased(reader, &id, &erased);
	batch->is_withheld[i] = judged == OK && batch->seqs[i] < erased.seq;
	if (judged && judged != ERR_NOT_FOUND) return judged;
	fragment_id_format(&id, ref + 3);
	int rc = people_get(reader, str_from(ref), 0, now, &batch->scratch, &profile);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	batch->is_outside[i] = !selection_takes_person(selection, profile.segments, rc ? 0 : profile.segment_count);
	fragment_id_format(rc ? &id : &profile.id, text);
	return arena_str(&batch->arena, str_from(text), &batch->records[i].profile_id);
}

static int name_people(struct batch *batch, struct people_reader *reader, const struct selection *selection)
{
	int rc = OK;
	int64_t now = clock_wall_us();
	for (size_t i = 0; i < batch->count && rc == OK; i++) {
		arena_reset(&batch->scratch);
		rc = name_person(batch, reader, selection, i, now);
	}
	return rc;
}

/* Asked when it is handed over: whoever withdrew since does not go out any more. */
static int ask_consent(struct batch *batch, struct people_reader *reader, const struct gate *gate)
{
	int rc = OK;
	int64_t now = clock_wall_us();
	memset(batch->is_denied, 0, sizeof batch->is_denied);
	if (!people_gates_destination(reader, gate->name)) return OK;
	for (size_t i = 0; i < batch->count && rc == OK; i++) {
		bool is_allowed = true;
		arena_reset(&batch->scratch);
		rc = people_consent_gate(reader, batch->fragments[i], gate->name, now, &batch->scratch, &is_allowed);
		batch->is_denied[i] = !is_allowed;
	}
	return rc;
}

static int pick_records(struct batch *batch, struct people_reader *reader, const struct gate *gate, uint64_t seq)
{
	uint64_t applied;
	struct picking picking = {.batch = batch};
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	if (gate->is_gated && !people_gates_destination(reader, gate->name)) {
		people_read_end(reader); /* the commit that brings the definition wakes us */
		return OK;
	}
	rc = people_outcomes(reader, seq, GATHER_ROWS_MAX, pick, &picking);
	if (rc == OK) rc = name_people(batch, reader, gate->selection);
	if (rc == OK) rc = ask_consent(batch, reader, gate);
	people_read_end(reader);
	bool is_cut = batch->count == HANDOVER_RECORDS_MAX || picking.rows == GATHER_ROWS_MAX;
	batch->next_seq = is_cut ? picking.last_seq + 1 : applied > seq ? applied : seq;
	return rc;
}

/* ── what they say ───────────────────────────────────────────────────────── */

/* What a destination is told of an erasure: by these ids it knows the person, if it kept them. */
static int write_erasure(struct batch *batch, struct deliver_shared *shared, const struct record *record,
			 struct export_record *out)
{
	struct people_erasure erasure;
	struct json_out json;
	char text[2 * RECEIPT_SIZE + 1], position[POSITION_TEXT_SIZE];
	int rc = erasure_decode(record->payload, &batch->scratch, &erasure);
	if (rc) return rc;
	buf_clear(&batch->json);
	json_out_init(&json, &batch->json);
	hex_encode(erasure.receipt, RECEIPT_SIZE, text);
	jo_object(&json);
	jo_key(&json, STR("type"));
	jo_str(&json, STR("erased"));
	jo_key(&json, STR("messageId"));
	jo_str(&json, str_from(text));
	jo_key(&json, STR("scope"));
	jo_str(&json, erasure.is_whole ? STR("profile") : STR("identifier"));
	jo_key(&json, STR("profileIds"));
	jo_array(&json);
	for (size_t i = 0; i < erasure.count; i++) {
		char id[FRAGMENT_ID_TEXT_SIZE];
		fragment_id_format(&erasure.fragments[i], id);
		jo_str(&json, str_from(id));
		if (i == 0 && arena_str(&batch->arena, str_from(id), &out->profile_id) != OK) return ERR_NOMEM;
	}
	jo_end_array(&json);
	jo_key(&json, STR("timestamp"));
	jo_time(&json, record->t);
	jo_end_object(&json);
	size_t len = position_format(POSITION_JOURNAL, (struct position){shared->epoch, record->seq}, position);
	out->time_us = record->t;
	rc = json.status;
	if (!rc) rc = arena_str(&batch->arena, buf_str(&batch->json), &out->json);
	if (!rc) rc = arena_str(&batch->arena, str_from(text), &out->message_id);
	if (!rc) rc = arena_str(&batch->arena, str_of(position, len), &out->position);
	out->delivery_id = out->position;
	return rc;
}

/* With what asynchronous enrichers have answered by now. */
static int patch_event(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
		       uint64_t resolution_seq, struct cdpd_event *event)
{
	const struct outcome newest = {.resolution_seq = resolution_seq};
	uint64_t seqs[ASYNC_ENRICHERS_MAX], applied;
	size_t count;
	if (!resolution_seq) return OK;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = people_read_resolutions(reader, &newest, seqs, &count);
	people_read_end(reader);
	return rc ? rc : event_patch(shared->journal, &batch->scratch, seqs, count, event);
}

/* The person as she is when the record is handed over. Empty when she is no more. */
static int read_person(struct batch *batch, struct people_reader *reader, size_t i)
{
	struct fragment_id id;
	struct profile profile;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	uint64_t applied;
	memcpy(id.bytes, batch->fragments[i], sizeof id.bytes);
	fragment_id_format(&id, ref + 3);
	buf_clear(&batch->person);
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = people_get(reader, str_from(ref), SELECTION_PERSON_PARTS, clock_wall_us(), &batch->scratch, &profile);
	people_read_end(reader);
	if (rc == ERR_NOT_FOUND) return OK;
	return rc ? rc : selection_write_person(&batch->person, &profile);
}

static int set_aside(struct batch *batch, size_t i, enum aside_kind kind, struct str why)
{
	struct aside *aside = &batch->asides[batch->aside_count];
	*aside = (struct aside){.kind = kind, .seq = batch->seqs[i], .why = STR_NONE};
	memcpy(aside->fragment, batch->fragments[i], sizeof aside->fragment);
	int rc = arena_str(&batch->arena, why, &aside->why);
	if (rc == OK) batch->aside_count++;
	return rc;
}

/* What the destination's selection makes of the record in batch->json. ERR_NOT_FOUND: nothing, it is set aside. */
static int select_record(struct batch *batch, struct people_reader *reader, const struct selection *selection, size_t i,
			 struct str *json)
{
	struct selection_result result;
	int rc = OK;
	if (!batch->reader && (selection->where || selection->mapping)) rc = json_reader_new(&batch->reader);
	buf_clear(&batch->person);
	if (rc == OK && selection->needs_profile) rc = read_person(batch, reader, i);
	if (rc == OK)
		rc = selection_run(selection, batch->reader, buf_str(&batch->json), buf_str(&batch->person),
				   &batch->scratch, &result);
	if (rc) return rc;
	*json = result.json;
	if (result.verdict == SELECTION_TAKEN) return OK;
	rc = set_aside(batch, i, result.verdict == SELECTION_FILTERED ? ASIDE_FILTERED : ASIDE_UNMAPPED, result.why);
	return rc ? rc : ERR_NOT_FOUND;
}

static int write_event(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
		       const struct gate *gate, size_t i, const struct record *record, struct export_record *out)
{
	struct cdpd_event event;
	struct str json;
	char position[POSITION_TEXT_SIZE];
	int rc = event_decode(record->payload, &batch->scratch, &event);
	if (rc) return rc;
	bool is_wanted = selection_takes_event(gate->selection, &event);
	if (batch->is_outside[i] || !is_wanted) {
		rc = set_aside(batch, i, ASIDE_FILTERED,
			       is_wanted ? SELECTION_NOT_IN_SEGMENTS : SELECTION_NOT_IN_EVENTS);
		return rc ? rc : ERR_NOT_FOUND;
	}
	if ((rc = patch_event(batch, shared, reader, batch->resolutions[i], &event))) return rc;
	buf_clear(&batch->json);
	if ((rc = event_write_json(&batch->json, &event, false))) return rc;
	if ((rc = select_record(batch, reader, gate->selection, i, &json))) return rc;
	size_t len = position_format(POSITION_JOURNAL, (struct position){shared->epoch, record->seq}, position);
	out->time_us = event.event_time_us;
	if ((rc = arena_str(&batch->arena, json, &out->json))) return rc;
	if ((rc = arena_str(&batch->arena, event.message_id, &out->message_id))) return rc;
	if ((rc = arena_str(&batch->arena, str_of(position, len), &out->position))) return rc;
	out->delivery_id = out->position; /* one event is delivered once to a destination: its position says which */
	return OK;
}

static int read_record(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
		       const struct gate *gate, size_t i, struct export_record *out)
{
	struct record record;
	arena_reset(&batch->scratch);
	int rc = journal_get(shared->journal, batch->seqs[i], &batch->scratch, &record);
	if (rc) return rc;
	if (record.kind == RECORD_ERASURE) return write_erasure(batch, shared, &record, out);
	if (record.kind != RECORD_EVENT) return ERR_NOT_FOUND;
	return write_event(batch, shared, reader, gate, i, &record, out);
}

/* `to` is at most `from`: those before that were no events make room. */
static void keep(struct batch *batch, size_t from, size_t to, struct export_record record)
{
	if (!record.profile_id.len) record.profile_id = batch->records[from].profile_id;
	batch->seqs[to] = batch->seqs[from];
	memmove(batch->fragments[to], batch->fragments[from], sizeof batch->fragments[0]);
	batch->records[to] = record;
	batch->is_settled[to] = false;
	batch->bytes += record.json.len;
}

/* The picked records' content. *looked: how many of them were looked at before the batch was full. */
static int read_records(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
			const struct gate *gate, size_t *looked)
{
	int rc = OK;
	size_t picked = batch->count, kept = 0;
	for (*looked = 0; *looked < picked && batch->bytes < BATCH_BYTES_MAX && rc == OK; ++*looked) {
		size_t i = *looked;
		struct export_record record = {.attempt = 0};
		if (batch->is_denied[i]) {
			rc = set_aside(batch, i, ASIDE_DENIED, STR_NONE);
			continue;
		}
		rc = batch->is_withheld[i] ? ERR_NOT_FOUND : read_record(batch, shared, reader, gate, i, &record);
		if (rc == OK) keep(batch, i, kept++, record);
		if (rc == ERR_NOT_FOUND)
			rc = OK; /* set aside, or an applied record that is no event: a merge, a stub */
	}
	batch->count = rc == OK ? kept : 0;
	return rc;
}

static void clear(struct batch *batch, uint64_t seq)
{
	arena_reset(&batch->arena);
	batch->count = batch->bytes = batch->aside_count = batch->aside_booked = 0;
	batch->next_seq = seq;
	batch->is_redrive = false;
}

int batch_gather(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
		 const struct gate *gate, uint64_t seq)
{
	size_t looked;
	clear(batch, seq);
	int rc = pick_records(batch, reader, gate, seq);
	/* Trimmed between the look at the journal and this snapshot: a gap that must be told. */
	if (rc == OK && seq < journal_first_seq(shared->journal)) rc = ERR_GONE;
	size_t picked = batch->count;
	memcpy(batch->picked, batch->seqs, picked * sizeof batch->picked[0]);
	if (rc == OK) rc = read_records(batch, shared, reader, gate, &looked);
	if (rc == OK && looked < picked) batch->next_seq = batch->picked[looked];
	return rc;
}

/* ── records that are named ──────────────────────────────────────────────── */

static int pick_named(struct batch *batch, struct people_reader *reader, const struct gate *gate, const uint64_t *seqs,
		      size_t count)
{
	uint64_t applied;
	struct outcome outcome;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	if (gate->is_gated && !people_gates_destination(reader, gate->name)) rc = ERR_BUSY;
	for (size_t i = 0; i < count && rc == OK; i++) {
		struct picking picking = {.batch = batch};
		rc = people_get_outcome(reader, seqs[i], &outcome);
		if (rc == OK) (void)pick(&picking, seqs[i], &outcome);
		if (rc == ERR_NOT_FOUND) rc = OK;
	}
	if (rc == OK) rc = name_people(batch, reader, gate->selection);
	if (rc == OK) rc = ask_consent(batch, reader, gate);
	people_read_end(reader);
	return rc;
}

static bool has_seq(const struct batch *batch, uint64_t seq)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->seqs[i] == seq) return true;
	for (size_t i = 0; i < batch->aside_count; i++)
		if (batch->asides[i].seq == seq) return true;
	return false;
}

int batch_gather_named(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader,
		       const struct gate *gate, const uint64_t *seqs, size_t count)
{
	size_t looked = 0;
	uint64_t first = journal_first_seq(shared->journal);
	clear(batch, 0);
	batch->is_redrive = true;
	while (count && *seqs < first) { /* trimmed: nothing is left of it to hand over */
		batch->asides[batch->aside_count++] =
		    (struct aside){.kind = ASIDE_GONE, .seq = *seqs++, .why = STR_NONE};
		count--;
	}
	int rc = pick_named(batch, reader, gate, seqs, count);
	size_t picked = batch->count;
	memcpy(batch->picked, batch->seqs, picked * sizeof batch->picked[0]);
	if (rc == OK) rc = read_records(batch, shared, reader, gate, &looked);
	/* Those behind the last that was looked at come with the next batch. */
	uint64_t end = looked < picked ? batch->picked[looked] : UINT64_MAX;
	for (size_t i = 0; i < count && seqs[i] < end && rc == OK; i++) {
		if (has_seq(batch, seqs[i])) continue;
		batch->asides[batch->aside_count++] =
		    (struct aside){.kind = ASIDE_GONE, .seq = seqs[i], .why = STR_NONE};
	}
	return rc;
}
