#include "deliver/preview.h"

#include "base/clock.h"
#include "deliver/internal.h"
#include "deliver/record_json.h"
#include "profile/scan.h"

const char *preview_verdict_name(enum preview_verdict verdict)
{
	static const char *const names[] = {"handed_over", "filtered", "dead_letter", "denied", "not_applied"};
	return (size_t)verdict < COUNT_OF(names) ? names[verdict] : "unknown";
}

static int tell(struct chooser *chooser, const struct stream_record *record, struct arena *arena, struct preview *out)
{
	static const enum preview_verdict verdicts[] = {[CHOICE_TAKEN] = PREVIEW_HANDED_OVER,
							[CHOICE_GONE] = PREVIEW_NOT_APPLIED,
							[CHOICE_DENIED] = PREVIEW_DENIED,
							[CHOICE_FILTERED] = PREVIEW_FILTERED,
							[CHOICE_UNMAPPED] = PREVIEW_DEAD_LETTER};
	struct fragment_id id, person;
	char text[FRAGMENT_ID_TEXT_SIZE];
	enum choice choice;
	struct str json, why;
	bool is_withheld;
	int rc = chooser_is_withheld(chooser, record, &is_withheld);
	if (rc || is_withheld) return rc;
	rc = choose(chooser, record, arena, &choice, &json, &why);
	if (rc) return rc;
	out->verdict = verdicts[choice];
	if (choice == CHOICE_DENIED) why = STR("the person does not consent");
	if (choice != CHOICE_TAKEN) return arena_str(arena, why, &out->why);
	memcpy(id.bytes, record->fragment, sizeof id.bytes);
	rc = people_person_of(chooser->people, &id, arena, &person);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	fragment_id_format(rc == OK ? &person : &id, text);
	out->why = STR_NONE;
	rc = arena_str(arena, record->is_notice ? record->profile_id : str_from(text), &out->profile_id);
	return rc ? rc : arena_str(arena, json, &out->json);
}

static int find_and_tell(struct stream_reader *streams, const struct gate *gate, uint64_t seq, struct arena *arena,
			 struct preview *out)
{
	struct stream_window *window;
	struct chooser chooser;
	uint64_t applied;
	int rc = window_new(0, &window);
	if (rc) return rc;
	chooser_init(&chooser, streams->people);
	rc = stream_events.find(streams, &seq, 1, window);
	if (rc == OK && window->count && (rc = chooser_begin(&chooser, gate, &applied)) == OK) {
		rc = tell(&chooser, &window->records[0], arena, out);
		chooser_end(&chooser);
	}
	chooser_fini(&chooser);
	window_unref(window);
	return rc;
}

int preview_position(struct deliver *deliver, const struct config *config, const struct conf_instance *conf,
		     struct people_reader *reader, uint64_t seq, struct arena *arena, struct preview *out)
{
	struct selection selection;
	struct stream_reader streams;
	*out = (struct preview){.verdict = PREVIEW_NOT_APPLIED,
				.why = STR("it is not applied: a duplicate, refused, erased, or not folded yet"),
				.json = STR_NONE,
				.profile_id = STR_NONE};
	if (seq < journal_first_seq(deliver->shared.journal)) return ERR_GONE;
	if (seq >= journal_next_seq(deliver->shared.journal)) return ERR_NOT_FOUND;
	int rc = selection_make(arena, conf, &selection);
	if (rc) return rc;
	const struct gate gate = {conf->name, destination_is_gated(config, conf), &selection, deliver->shared.epoch};
	stream_reader_init(&streams, &deliver->shared, reader);
	rc = find_and_tell(&streams, &gate, seq, arena, out);
	stream_reader_fini(&streams);
	return rc;
}

/* ── an event that never was, or a person ────────────────────────────────── */

struct trial {
	struct selection selection;
	struct people_reader *reader;
	struct profile profile;
	uint64_t epoch, change_seq;
	bool is_there, is_denied;
	uint32_t kind; /* enum cdpd_record_kind */
	struct buf person, record;
};

/* Inside people_read_begin/end. */
static int read_person(struct trial *trial, struct str name, struct str ref, struct arena *arena)
{
	bool is_allowed = true;
	int64_t now = clock_wall_us();
	int rc = people_get(trial->reader, ref, SELECTION_PERSON_PARTS, now, arena, &trial->profile);
	trial->is_there = rc == OK;
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	trial->change_seq = people_read_last_change(trial->reader);
	if (people_gates_destination(trial->reader, name))
		rc = people_consent_gate(trial->reader, trial->profile.id.bytes, name, now, arena, &is_allowed);
	trial->is_denied = !is_allowed;
	return rc ? rc : selection_write_person(&trial->person, &trial->profile);
}

static int look_up(struct trial *trial, struct str name, struct str ref, struct arena *arena, struct preview *out)
{
	uint64_t applied;
	char id[FRAGMENT_ID_TEXT_SIZE];
	if (!ref.len) return OK;
	int rc = people_read_begin(trial->reader, &applied);
	if (rc) return rc;
	rc = read_person(trial, name, ref, arena);
	people_read_end(trial->reader);
	if (rc || !trial->is_there) return rc;
	fragment_id_format(&trial->profile.id, id);
	return arena_str(arena, str_from(id), &out->profile_id);
}

/* True: nothing would come of it, and why. */
static bool is_left_out(const struct trial *trial, const struct cdpd_event *event, struct preview *out)
{
	const struct selection *selection = &trial->selection;
	bool is_event = trial->kind == CDPD_RECORD_EVENT;
	out->verdict = PREVIEW_FILTERED;
	if (!(selection->records & (is_event ? CONF_RECORD_EVENTS : CONF_RECORD_PROFILES)))
		out->why = is_event ? STR("`records` has no events") : STR("`records` has no profiles");
	else if (is_event && !selection_takes(selection, str_from(event_type_name(event->type)),
					      event->type == EVENT_TRACK ? event->event : STR_NONE))
		out->why = SELECTION_NOT_IN_EVENTS;
	else if (!selection_takes_person(selection, trial->profile.segments, trial->profile.segment_count))
		out->why = SELECTION_NOT_IN_SEGMENTS;
	return out->why.len > 0;
}

static int run(struct trial *trial, struct json_reader *json, struct str record, struct arena *arena,
	       struct preview *out)
{
	static const enum preview_verdict verdicts[] = {[SELECTION_TAKEN] = PREVIEW_HANDED_OVER,
							[SELECTION_FILTERED] = PREVIEW_FILTERED,
							[SELECTION_UNMAPPED] = PREVIEW_DEAD_LETTER};
	struct selection_result result;
	int rc = OK;
	if (trial->kind == CDPD_RECORD_PROFILE)
		rc = record_write_profile(&trial->record, &trial->profile, trial->epoch, trial->change_seq);
	if (rc == OK)
		rc = selection_run(&trial->selection, json, trial->kind, record.len ? record : buf_str(&trial->record),
				   trial->selection.needs_profile ? buf_str(&trial->person) : STR_NONE, arena, &result);
	if (rc) return rc;
	out->verdict = verdicts[result.verdict];
	if (result.verdict == SELECTION_TAKEN) return arena_str(arena, result.json, &out->json);
	return arena_str(arena, result.why, &out->why);
}

static int try_out(struct trial *trial, const struct conf_instance *conf, struct json_reader *json,
		   const struct cdpd_event *event, struct str record, struct str ref, struct arena *arena,
		   struct preview *out)
{
	int rc = selection_make(arena, conf, &trial->selection);
	if (rc == OK) rc = look_up(trial, conf->name, ref, arena, out);
	if (rc) return rc;
	if (trial->kind == CDPD_RECORD_PROFILE && !trial->is_there) return ERR_NOT_FOUND;
	if (trial->is_denied) {
		out->verdict = PREVIEW_DENIED;
		out->why = STR("the person does not consent");
		return OK;
	}
	return is_left_out(trial, event, out) ? OK : run(trial, json, record, arena, out);
}

static int with_buffers(struct trial *trial, const struct conf_instance *conf, struct json_reader *json,
			const struct cdpd_event *event, struct str record, struct str ref, struct arena *arena,
			struct preview *out)
{
	*out = (struct preview){.why = STR_NONE, .json = STR_NONE, .profile_id = STR_NONE};
	buf_init(&trial->person, (size_t)8 << 20);
	buf_init(&trial->record, (size_t)8 << 20);
	int rc = try_out(trial, conf, json, event, record, ref, arena, out);
	buf_fini(&trial->person);
	buf_fini(&trial->record);
	return rc;
}

int preview_event(const struct conf_instance *conf, struct people_reader *reader, struct json_reader *json,
		  const struct cdpd_event *event, struct str record, struct str ref, struct arena *arena,
		  struct preview *out)
{
	struct trial trial = {.reader = reader, .kind = CDPD_RECORD_EVENT};
	return with_buffers(&trial, conf, json, event, record, ref, arena, out);
}

int preview_profile(struct deliver *deliver, const struct conf_instance *conf, struct people_reader *reader,
		    struct json_reader *json, struct str ref, struct arena *arena, struct preview *out)
{
	struct trial trial = {.reader = reader, .kind = CDPD_RECORD_PROFILE, .epoch = deliver->shared.epoch};
	return with_buffers(&trial, conf, json, NULL, STR_NONE, ref, arena, out);
}
