/* A destination's batch: records of a stream without what consent, `events`, `segments`, `where` keep from it, as its mapping makes them. */
#include "base/clock.h"
#include "base/log.h"
#include "deliver/destination.h"
#include "profile/erase.h"

int batch_init(struct batch *batch, struct deliver_shared *shared, struct people_reader *reader)
{
	arena_init(&batch->arena, 65536, (size_t)32 << 20);
	arena_init(&batch->scratch, 65536, (size_t)16 << 20);
	buf_init(&batch->person, (size_t)8 << 20);
	stream_reader_init(&batch->streams, shared, reader);
	batch->reader = NULL;
	return window_init(&batch->window);
}

void batch_fini(struct batch *batch)
{
	arena_fini(&batch->arena);
	arena_fini(&batch->scratch);
	buf_fini(&batch->person);
	stream_reader_fini(&batch->streams);
	window_fini(&batch->window);
	json_reader_free(batch->reader);
}

/* ── whose they are ──────────────────────────────────────────────────────── */

/* The person's id now; a fragment that is no more keeps its own. */
static int name_person(struct batch *batch, const struct selection *selection, size_t i, int64_t now)
{
	const struct stream_record *record = &batch->window.records[i];
	struct people_reader *reader = batch->streams.people;
	struct fragment_id id;
	struct profile profile;
	char text[FRAGMENT_ID_TEXT_SIZE], ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	struct erased_row erased;
	memcpy(id.bytes, record->fragment, sizeof id.bytes);
	int judged = people_erased(reader, &id, &erased);
	batch->is_withheld[i] = judged == OK && record->seq < erased.seq;
	if (judged && judged != ERR_NOT_FOUND) return judged;
	fragment_id_format(&id, ref + 3);
	int rc = people_get(reader, str_from(ref), 0, now, &batch->scratch, &profile);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	batch->is_outside[i] = !selection_takes_person(selection, profile.segments, rc ? 0 : profile.segment_count);
	fragment_id_format(rc ? &id : &profile.id, text);
	return arena_str(&batch->arena, str_from(text), &batch->persons[i]);
}

/* Asked when it is handed over: whoever withdrew since does not go out any more. */
static int ask_consent(struct batch *batch, const struct gate *gate, size_t i, int64_t now)
{
	bool is_allowed = true;
	arena_reset(&batch->scratch);
	int rc = people_consent_gate(batch->streams.people, batch->window.records[i].fragment, gate->name, now,
				     &batch->scratch, &is_allowed);
	batch->is_denied[i] = !is_allowed;
	return rc;
}

/* A withdrawal concerns whom its purpose gates. */
static bool is_for(const struct batch *batch, const struct gate *gate, const struct stream_record *record)
{
	if (!selection_takes_notice(gate->selection, batch->stream->id, record->notice)) return false;
	return !record->purpose.len ||
	       people_purpose_gates(batch->streams.people, record->purpose, gate->name);
}

/* ERR_BUSY: the fold does not know of the gate yet; the commit that brings the definition wakes us. */
static int look_at_people(struct batch *batch, const struct gate *gate)
{
	struct people_reader *reader = batch->streams.people;
	int64_t now = clock_wall_us();
	uint64_t applied;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	bool is_gated = people_gates_destination(reader, gate->name);
	if (gate->is_gated && !is_gated) rc = ERR_BUSY;
	memset(batch->is_denied, 0, sizeof batch->is_denied);
	memset(batch->is_withheld, 0, sizeof batch->is_withheld);
	memset(batch->is_outside, 0, sizeof batch->is_outside);
	for (size_t i = 0; i < batch->window.count && rc == OK; i++) {
		if (batch->window.records[i].is_notice) {
			batch->is_withheld[i] = !is_for(batch, gate, &batch->window.records[i]);
			continue;
		}
		arena_reset(&batch->scratch);
		rc = name_person(batch, gate->selection, i, now);
		if (rc == OK && is_gated) rc = ask_consent(batch, gate, i, now);
	}
	people_read_end(reader);
	return rc;
}

/* ── what they say ───────────────────────────────────────────────────────── */

/* The person as she is when the record is handed over. Empty when she is no more. */
static int read_person(struct batch *batch, size_t i)
{
	struct people_reader *reader = batch->streams.people;
	struct fragment_id id;
	struct profile profile;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	uint64_t applied;
	memcpy(id.bytes, batch->window.records[i].fragment, sizeof id.bytes);
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
	const struct stream_record *record = &batch->window.records[i];
	struct aside *aside = &batch->asides[batch->aside_count];
	*aside = (struct aside){.kind = kind, .seq = record->position, .journal_seq = record->seq, .why = STR_NONE};
	memcpy(aside->fragment, record->fragment, sizeof aside->fragment);
	int rc = arena_str(&batch->arena, why, &aside->why);
	if (rc == OK) batch->aside_count++;
	return rc;
}

/* What the destination's selection makes of the record. ERR_NOT_FOUND: nothing, it is set aside. */
static int select_record(struct batch *batch, const struct selection *selection, size_t i, struct str *json)
{
	struct selection_result result;
	int rc = OK;
	if (!selection->where && !selection->mapping) return OK;
	if (!batch->reader) rc = json_reader_new(&batch->reader);
	buf_clear(&batch->person);
	if (rc == OK && selection->needs_profile) rc = read_person(batch, i);
	if (rc == OK)
		rc = selection_run(selection, batch->reader, batch->window.records[i].kind, *json,
				   buf_str(&batch->person), &batch->scratch, &result);
	if (rc) return rc;
	if (result.verdict == SELECTION_TAKEN) return arena_str(&batch->arena, result.json, json);
	rc = set_aside(batch, i, result.verdict == SELECTION_FILTERED ? ASIDE_FILTERED : ASIDE_UNMAPPED, result.why);
	return rc ? rc : ERR_NOT_FOUND;
}

/* Of `events`, of `changes`. */
static int is_among(struct batch *batch, const struct selection *selection, const struct stream_record *record,
		    struct str *json, bool *out)
{
	enum selection_verdict verdict;
	*out = record->kind != CDPD_RECORD_EVENT || selection_takes(selection, record->type, record->name);
	if (record->kind != CDPD_RECORD_CHANGE) return OK;
	int rc = batch->reader ? OK : json_reader_new(&batch->reader);
	if (rc) return rc;
	rc = selection_show_change(selection, batch->reader, record, batch->streams.shared->epoch, &batch->arena, json,
				   &verdict);
	*out = verdict == SELECTION_TAKEN;
	return rc;
}

/* ERR_NOT_FOUND: it is set aside, or nobody's any more. */
static int choose(struct batch *batch, const struct gate *gate, size_t i, struct str *json)
{
	const struct stream_record *record = &batch->window.records[i];
	bool is_wanted = true;
	*json = record->json;
	if (record->is_notice) return batch->is_withheld[i] ? ERR_NOT_FOUND : OK;
	arena_reset(&batch->scratch);
	int rc = is_among(batch, gate->selection, record, json, &is_wanted);
	if (rc) return rc;
	if (batch->is_withheld[i])
		return ERR_NOT_FOUND;
	else if (batch->is_denied[i])
		rc = set_aside(batch, i, ASIDE_DENIED, STR_NONE);
	else if (record->publisher.len && str_eq(record->publisher, gate->name))
		rc = set_aside(batch, i, ASIDE_FILTERED, STR("it published it itself"));
	else if (batch->is_outside[i] || !is_wanted)
		rc = set_aside(batch, i, ASIDE_FILTERED,
			       is_wanted                             ? SELECTION_NOT_IN_SEGMENTS
			       : record->kind == CDPD_RECORD_CHANGE ? SELECTION_NOT_IN_CHANGES
								     : SELECTION_NOT_IN_EVENTS);
	else
		return select_record(batch, gate->selection, i, json);
	return rc ? rc : ERR_NOT_FOUND;
}

/* One record is delivered once to a destination: its place says which. A person may come with several snapshots. */
static int name_delivery(struct batch *batch, const struct gate *gate, const struct stream_record *record, struct str *out)
{
	*out = record->place;
	if (batch->stream->id != STREAM_OF_SNAPSHOT) return OK;
	return arena_printf(&batch->arena, out, "%.*s-%llx", STR_ARG(record->place), (unsigned long long)gate->since);
}

static void keep(struct batch *batch, size_t i, struct str json, struct str delivery_id)
{
	const struct stream_record *record = &batch->window.records[i];
	size_t to = batch->count++;
	batch->seqs[to] = record->position;
	batch->journal_seqs[to] = record->seq;
	memcpy(batch->fragments[to], record->fragment, sizeof batch->fragments[0]);
	batch->is_settled[to] = false;
	batch->bytes += json.len;
	batch->records[to] =
	    (struct export_record){.kind = record->kind,
				   .position = record->place,
				   .delivery_id = delivery_id,
				   .message_id = record->message_id,
				   .profile_id = record->profile_id.len ? record->profile_id : batch->persons[i],
				   .flags = record->flags,
				   .other_id = record->other_id.len ? record->other_id : STR_NONE,
				   .json = json,
				   .time_us = record->time_us};
}

/* *looked: how many of the window were looked at before the batch was full. */
static int choose_all(struct batch *batch, const struct gate *gate, size_t *looked)
{
	int rc = OK;
	for (*looked = 0; *looked < batch->window.count && batch->count < HANDOVER_RECORDS_MAX &&
			  batch->bytes < BATCH_BYTES_MAX && rc == OK;
	     ++*looked) {
		struct str json, delivery_id;
		rc = choose(batch, gate, *looked, &json);
		if (rc == OK) rc = name_delivery(batch, gate, &batch->window.records[*looked], &delivery_id);
		if (rc == OK) keep(batch, *looked, json, delivery_id);
		if (rc == ERR_NOT_FOUND) rc = OK;
	}
	if (rc) batch->count = 0;
	return rc;
}

static void clear(struct batch *batch, const struct stream *stream, uint64_t position)
{
	arena_reset(&batch->arena);
	batch->count = batch->bytes = batch->aside_count = batch->aside_booked = 0;
	batch->stream = stream;
	batch->next_seq = position;
	batch->is_redrive = false;
	window_clear(&batch->window, position);
}

int batch_gather(struct batch *batch, const struct stream *stream, const struct gate *gate, uint64_t position)
{
	size_t looked = 0;
	clear(batch, stream, position);
	int rc = stream->gather(&batch->streams, position, &batch->window);
	if (rc == OK) rc = look_at_people(batch, gate);
	if (rc == ERR_BUSY) return OK;
	if (rc == OK) rc = choose_all(batch, gate, &looked);
	if (rc) return rc;
	batch->next_seq = looked < batch->window.count ? batch->window.records[looked].position : batch->window.next;
	return OK;
}

/* ── records that are named ──────────────────────────────────────────────── */

static bool has_position(const struct batch *batch, uint64_t position)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->seqs[i] == position) return true;
	for (size_t i = 0; i < batch->aside_count; i++)
		if (batch->asides[i].seq == position) return true;
	return false;
}

int batch_gather_named(struct batch *batch, const struct stream *stream, const struct gate *gate,
		       const uint64_t *positions, size_t count)
{
	size_t looked = 0;
	clear(batch, stream, 0);
	batch->is_redrive = true;
	int rc = stream->find(&batch->streams, positions, count, &batch->window);
	if (rc == OK) rc = look_at_people(batch, gate);
	if (rc == OK) rc = choose_all(batch, gate, &looked);
	/* Those behind the last that was looked at come with the next batch. */
	uint64_t end = looked < batch->window.count ? batch->window.records[looked].position : batch->window.next;
	for (size_t i = 0; i < count && positions[i] < end && rc == OK; i++) {
		if (has_position(batch, positions[i])) continue;
		batch->asides[batch->aside_count++] =
		    (struct aside){.kind = ASIDE_GONE, .seq = positions[i], .why = STR_NONE};
	}
	return rc;
}
