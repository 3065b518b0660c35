#include "deliver/choose.h"

#include "base/clock.h"
#include "profile/erase.h"

void chooser_init(struct chooser *chooser, struct people_reader *people)
{
	*chooser = (struct chooser){.people = people};
	arena_init(&chooser->scratch, 65536, (size_t)16 << 20);
	buf_init(&chooser->person, (size_t)8 << 20);
}

void chooser_fini(struct chooser *chooser)
{
	arena_fini(&chooser->scratch);
	buf_fini(&chooser->person);
	json_reader_free(chooser->json);
}

int chooser_begin(struct chooser *c, const struct gate *gate, uint64_t *applied)
{
	int rc = people_read_begin(c->people, applied);
	if (rc) return rc;
	c->gate = gate;
	c->now = clock_wall_us();
	c->is_gated = people_gates_destination(c->people, gate->name);
	if (c->is_gated || !gate->is_gated) return OK;
	people_read_end(c->people);
	return ERR_BUSY;
}

void chooser_end(struct chooser *c)
{
	people_read_end(c->people);
}

int record_is_withheld(struct people_reader *people, const struct stream_record *record, bool *out)
{
	struct fragment_id id;
	struct erased_row erased;
	*out = false;
	if (record->is_notice) return OK;
	if (record->kind != CDPD_RECORD_EVENT) { /* says something of all that were one person then */
		struct change told = {.kind = record->change ? record->change->kind : CHANGE_TRAIT,
				      .cause_seq = record->seq,
				      .body = record->json};
		memcpy(told.profile, record->fragment, sizeof told.profile);
		return people_change_is_erased(people, &told, out);
	}
	memcpy(id.bytes, record->fragment, sizeof id.bytes);
	int rc = people_erased(people, &id, &erased);
	*out = rc == OK && record->seq < erased.seq;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int chooser_is_withheld(struct chooser *c, const struct stream_record *record, bool *out)
{
	return record_is_withheld(c->people, record, out);
}

/* The person as she is now. ERR_NOT_FOUND: she is no more. */
static int read_profile(struct chooser *c, const struct stream_record *record, struct profile *out)
{
	struct fragment_id id;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	unsigned parts = c->gate->selection->needs_profile ? SELECTION_PERSON_PARTS : 0;
	memcpy(id.bytes, record->fragment, sizeof id.bytes);
	fragment_id_format(&id, ref + 3);
	return people_get(c->people, str_from(ref), parts, c->now, &c->scratch, out);
}

/* OK with *choice; the person's JSON, when it is needed, in c->person. */
static int look_at_person(struct chooser *c, const struct stream_record *record, enum choice *choice, struct str *why)
{
	const struct selection *selection = c->gate->selection;
	struct profile profile = {.segment_count = 0};
	bool is_allowed = true;
	buf_clear(&c->person);
	if (c->is_gated) { /* whoever withdrew since does not go out any more */
		int rc =
		    people_consent_gate(c->people, record->fragment, c->gate->name, c->now, &c->scratch, &is_allowed);
		if (rc) return rc;
	}
	*choice = is_allowed ? CHOICE_TAKEN : CHOICE_DENIED;
	if (!is_allowed || (!selection->segment_count && !selection->needs_profile)) return OK;
	int rc = read_profile(c, record, &profile);
	bool is_there = rc == OK;
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (!selection_takes_person(selection, profile.segments, profile.segment_count)) {
		*choice = CHOICE_FILTERED;
		*why = SELECTION_NOT_IN_SEGMENTS;
		return OK;
	}
	return is_there && selection->needs_profile ? selection_write_person(&c->person, &profile) : OK;
}

static int select_record(struct chooser *c, const struct stream_record *record, struct arena *arena,
			 enum choice *choice, struct str *json, struct str *why)
{
	static const enum choice choices[] = {[SELECTION_TAKEN] = CHOICE_TAKEN,
					      [SELECTION_FILTERED] = CHOICE_FILTERED,
					      [SELECTION_UNMAPPED] = CHOICE_UNMAPPED};
	const struct selection *selection = c->gate->selection;
	struct selection_result result;
	int rc = OK;
	if (!selection->where && !selection->mapping) return OK;
	if (!c->json) rc = json_reader_new(&c->json);
	if (rc == OK)
		rc = selection_run(selection, c->json, record->kind, *json, buf_str(&c->person), &c->scratch, &result);
	if (rc) return rc;
	*choice = choices[result.verdict];
	if (*choice == CHOICE_TAKEN) return selection->mapping ? arena_str(arena, result.json, json) : OK;
	return arena_str(arena, result.why, why);
}

/* A withdrawal concerns whom its purpose gates. */
static bool is_told(const struct chooser *c, const struct stream_record *record)
{
	if (!selection_may_take(c->gate->selection, record)) return false;
	return !record->purpose.len || people_purpose_gates(c->people, record->purpose, c->gate->name);
}

/* FILTERED: it is none of those that are asked for. */
static int show_change(struct chooser *c, const struct stream_record *record, struct arena *arena, enum choice *choice,
		       struct str *json)
{
	enum selection_verdict verdict;
	int rc = c->json ? OK : json_reader_new(&c->json);
	if (rc == OK)
		rc = selection_show_change(c->gate->selection, c->json, record, c->gate->epoch, arena, json, &verdict);
	if (rc == OK && verdict != SELECTION_TAKEN) *choice = CHOICE_FILTERED;
	return rc;
}

int choose(struct chooser *c, const struct stream_record *record, struct arena *arena, enum choice *choice,
	   struct str *json, struct str *why)
{
	int rc = OK;
	*choice = CHOICE_TAKEN;
	*json = record->json;
	*why = STR_NONE;
	bool is_foreign = record->kind == CDPD_RECORD_PROFILE && !selection_may_take(c->gate->selection, record);
	if (record->is_notice || is_foreign) { /* a repair goes through everybody, whatever is asked for */
		if (is_foreign || !is_told(c, record)) *choice = CHOICE_GONE;
		return OK;
	}
	if (record->publisher.len && str_eq(record->publisher, c->gate->name)) {
		*choice = CHOICE_FILTERED;
		*why = STR("it published it itself");
		return OK;
	}
	arena_reset(&c->scratch);
	if (!selection_may_take(c->gate->selection, record))
		*choice = CHOICE_FILTERED;
	else if (record->kind == CDPD_RECORD_CHANGE)
		rc = show_change(c, record, arena, choice, json);
	if (*choice == CHOICE_FILTERED) {
		*why = record->kind == CDPD_RECORD_CHANGE ? SELECTION_NOT_IN_CHANGES : SELECTION_NOT_IN_EVENTS;
		return rc;
	}
	if (rc == OK) rc = look_at_person(c, record, choice, why);
	return rc || *choice != CHOICE_TAKEN ? rc : select_record(c, record, arena, choice, json, why);
}
