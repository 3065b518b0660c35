#include "deliver/stream_persons.h"

#include "base/clock.h"
#include "deliver/record_json.h"
#include "deliver/selection.h"
#include "plugin/instance.h"

static int begin_record(struct stream_reader *r, struct stream_window *window, const struct person_place *place,
			struct stream_record **out)
{
	char text[FRAGMENT_ID_TEXT_SIZE];
	struct change change = {.cause_seq = place->cause_seq, .t = place->t};
	memcpy(change.profile, place->id.bytes, sizeof change.profile);
	int rc = feed_record(r, window, place->stream, place->position, &change, out);
	if (rc) return rc;
	(*out)->kind = CDPD_RECORD_PROFILE;
	(*out)->type = STR("profile");
	fragment_id_format(&place->id, text);
	return arena_str(&window->arena, str_from(text), &(*out)->profile_id);
}

static int add_gone(struct stream_reader *r, struct stream_window *window, const struct person_place *place,
		    const struct fragment_id *now)
{
	struct stream_record *record;
	char text[FRAGMENT_ID_TEXT_SIZE];
	const char *why = !now ? "erased" : place->is_split ? "split" : "merged";
	if (place->is_split) now = NULL;
	int rc = begin_record(r, window, place, &record);
	if (rc) return rc;
	record->is_notice = true;
	record->flags = CDPD_RECORD_GONE;
	if (now) {
		fragment_id_format(now, text);
		if ((rc = arena_str(&window->arena, str_from(text), &record->other_id))) return rc;
	}
	rc = record_write_gone(&r->json, &place->id, why, now, r->shared->epoch, place->change_seq);
	return rc ? rc : feed_add(r, window, record);
}

static int add_there(struct stream_reader *r, struct stream_window *window, const struct person_place *place,
		     const struct profile *profile, uint64_t applied)
{
	struct stream_record *record;
	int rc = begin_record(r, window, place, &record);
	if (rc) return rc;
	record->seq =
	    applied ? applied - 1 : 0; /* she was read just now: only an erasure that comes later concerns it */
	rc = record_write_profile(&r->json, profile, r->shared->epoch, place->change_seq);
	return rc ? rc : feed_add(r, window, record);
}

int person_add(struct stream_reader *r, struct stream_window *window, const struct person_place *place)
{
	struct profile profile;
	uint64_t applied;
	char ref[FRAGMENT_ID_TEXT_SIZE + 4] = "id:";
	fragment_id_format(&place->id, ref + 3);
	arena_reset(&r->scratch);
	int rc = people_read_begin(r->people, &applied);
	if (rc) return rc;
	rc = people_get(r->people, str_from(ref), SELECTION_PERSON_PARTS, clock_wall_us(), &r->scratch, &profile);
	people_read_end(r->people);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (rc) return add_gone(r, window, place, NULL);
	bool is_she = memcmp(&profile.id, &place->id, sizeof profile.id) == 0;
	return is_she ? add_there(r, window, place, &profile, applied) : add_gone(r, window, place, &profile.id);
}
