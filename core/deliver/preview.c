#include "deliver/preview.h"

#include "base/clock.h"
#include "deliver/internal.h"

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
	const struct gate gate = {conf->name, destination_is_gated(config, conf), &selection};
	stream_reader_init(&streams, &deliver->shared, reader);
	rc = find_and_tell(&streams, &gate, seq, arena, out);
	stream_reader_fini(&streams);
	return rc;
}

/* ── an event that never was ─────────────────────────────────────────────── */

static int read_person(struct people_reader *reader, struct str ref, struct arena *arena, struct profile *profile,
		       struct buf *json)
{
	uint64_t applied;
	if (!ref.len) return ERR_NOT_FOUND;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	rc = people_get(reader, ref, SELECTION_PERSON_PARTS, clock_wall_us(), arena, profile);
	people_read_end(reader);
	return rc ? rc : selection_write_person(json, profile);
}

static int is_denied(struct people_reader *reader, struct str name, const struct profile *profile, struct arena *arena,
		     bool *out)
{
	uint64_t applied;
	bool is_allowed = true;
	int rc = people_read_begin(reader, &applied);
	if (rc) return rc;
	if (people_gates_destination(reader, name))
		rc = people_consent_gate(reader, profile->id.bytes, name, clock_wall_us(), arena, &is_allowed);
	people_read_end(reader);
	*out = !is_allowed;
	return rc;
}

static int run(const struct selection *selection, struct json_reader *json, const struct cdpd_event *event,
	       const struct profile *profile, struct str record, struct str person, struct arena *arena,
	       struct preview *out)
{
	static const enum preview_verdict verdicts[] = {[SELECTION_TAKEN] = PREVIEW_HANDED_OVER,
							[SELECTION_FILTERED] = PREVIEW_FILTERED,
							[SELECTION_UNMAPPED] = PREVIEW_DEAD_LETTER};
	struct selection_result result;
	out->verdict = PREVIEW_FILTERED;
	if (!selection_takes(selection, str_from(event_type_name(event->type)),
			     event->type == EVENT_TRACK ? event->event : STR_NONE)) {
		out->why = SELECTION_NOT_IN_EVENTS;
		return OK;
	}
	if (!selection_takes_person(selection, profile->segments, profile->segment_count)) {
		out->why = SELECTION_NOT_IN_SEGMENTS;
		return OK;
	}
	int rc = selection_run(selection, json, record, selection->needs_profile ? person : STR_NONE, arena, &result);
	if (rc) return rc;
	out->verdict = verdicts[result.verdict];
	if (result.verdict == SELECTION_TAKEN) return arena_str(arena, result.json, &out->json);
	return arena_str(arena, result.why, &out->why);
}

int preview_event(const struct conf_instance *conf, struct people_reader *reader, struct json_reader *json,
		  const struct cdpd_event *event, struct str record, struct str ref, struct arena *arena,
		  struct preview *out)
{
	struct selection selection;
	struct profile profile = {.segment_count = 0};
	struct buf person;
	bool denied = false;
	char id[FRAGMENT_ID_TEXT_SIZE];
	*out = (struct preview){.why = STR_NONE, .json = STR_NONE, .profile_id = STR_NONE};
	buf_init(&person, (size_t)8 << 20);
	int rc = selection_make(arena, conf, &selection);
	if (rc == OK) rc = read_person(reader, ref, arena, &profile, &person);
	if (rc == OK) {
		fragment_id_format(&profile.id, id);
		rc = arena_str(arena, str_from(id), &out->profile_id);
		if (rc == OK) rc = is_denied(reader, conf->name, &profile, arena, &denied);
	} else if (rc == ERR_NOT_FOUND) {
		rc = OK;
	}
	if (rc == OK && denied) {
		out->verdict = PREVIEW_DENIED;
		out->why = STR("the person does not consent");
	} else if (rc == OK) {
		rc = run(&selection, json, event, &profile, record, buf_str(&person), arena, out);
	}
	buf_fini(&person);
	return rc;
}
