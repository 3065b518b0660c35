/* What came of a notice: the answers that are kept, and of destinations without one where they stand. */
#include <stdlib.h>

#include "deliver/internal.h"
#include "deliver/notice.h"

const char *notice_state_name(enum notice_state state)
{
	static const char *const names[] = {"taken", "refused", "waiting", "passed_by"};
	return names[state];
}

static int by_name(const void *a, const void *b)
{
	const struct notice_status *x = a, *y = b;
	return str_cmp(x->destination, y->destination);
}

static struct notice_status from_answer(const struct notice_answer *answer)
{
	return (struct notice_status){
	    .destination = answer->destination,
	    .state = answer->verdict == NOTICE_TAKEN ? NOTICE_STATE_TAKEN : NOTICE_STATE_REFUSED,
	    .attempts = answer->attempts,
	    .at_us = answer->at_us,
	    .reason = answer->reason,
	};
}

static bool has_answered(const struct notice_answer *answers, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(answers[i].destination, name)) return true;
	return false;
}

/* A destination as it is now: what it reads the notice from, and whether something is parked. */
struct silent {
	struct str name;
	const struct stream *streams[STREAM_COUNT];
	size_t stream_count;
	bool has_parked;
};

/* Under the list's lock. */
static int copy_one(struct destination *d, const struct notice_question *q, struct arena *arena, struct silent *out)
{
	enum stream_notice notice = q->is_erasure ? NOTICE_ERASED : NOTICE_WITHDRAWN;
	*out = (struct silent){.name = STR_NONE};
	pthread_mutex_lock(&d->lock);
	out->has_parked = d->shown.parked > 0;
	for (size_t i = 0; i < d->lane_count; i++)
		if (selection_takes_notice(&d->selection, d->lanes[i].stream->id, notice))
			out->streams[out->stream_count++] = d->lanes[i].stream;
	pthread_mutex_unlock(&d->lock);
	return arena_str(arena, d->name, &out->name);
}

static int copy_list(struct deliver *deliver, const struct notice_question *q, struct arena *arena, struct silent **out,
		     size_t *count)
{
	size_t total = 0;
	int rc = OK;
	*count = 0;
	pthread_mutex_lock(&deliver->lock);
	for (const struct destination *d = deliver->destinations; d; d = d->next) total++;
	*out = arena_array(arena, struct silent, total + 1);
	if (!*out) rc = ERR_NOMEM;
	for (struct destination *d = deliver->destinations; d && rc == OK; d = d->next)
		rc = copy_one(d, q, arena, &(*out)[(*count)++]);
	pthread_mutex_unlock(&deliver->lock);
	return rc;
}

/* Durably past it, as far as that can be told: in the journal by the position, in the feed of changes when nothing waits. */
static int has_passed(struct deliver *deliver, const struct notice_question *q, const struct silent *silent, bool *out)
{
	const struct deliver_shared *shared = &deliver->shared;
	*out = q->seq && people_applied(shared->people) > q->seq && !silent->has_parked;
	for (size_t i = 0; i < silent->stream_count && *out; i++) {
		const struct stream *stream = silent->streams[i];
		uint64_t behind = stream->id == STREAM_OF_EVENTS ? q->seq + 1 : stream->end(shared);
		struct cursor_row row = {.next_seq = 0};
		int rc = cursors_get(shared->cursors, silent->name, stream->id, &row);
		if (rc && rc != ERR_NOT_FOUND) return rc;
		*out = rc == OK && row.next_seq >= behind && !row.owes_repair;
	}
	return OK;
}

static int look_at(struct deliver *deliver, const struct notice_question *q, const struct silent *silent,
		   struct notice_status *out)
{
	bool is_past = false;
	int rc = has_passed(deliver, q, silent, &is_past);
	*out = (struct notice_status){.destination = silent->name,
				      .state = is_past ? NOTICE_STATE_PASSED_BY : NOTICE_STATE_WAITING,
				      .reason = STR_NONE};
	return rc;
}

/* Where they stand is looked at before the answers: an answer is written together with the cursor that it moves. */
int deliver_notice_status(struct deliver *deliver, const struct notice_question *question, struct arena *arena,
			  struct notice_status **out, size_t *count)
{
	struct notice_answer *answers = NULL;
	struct notice_status *standing;
	struct silent *list;
	size_t answered = 0, configured;
	*count = 0;
	int rc = copy_list(deliver, question, arena, &list, &configured);
	standing = arena_array(arena, struct notice_status, configured + 1);
	if (rc == OK && !standing) rc = ERR_NOMEM;
	for (size_t i = 0; i < configured && rc == OK; i++) rc = look_at(deliver, question, &list[i], &standing[i]);
	if (rc == OK) rc = notices_get(deliver->shared.cursors, question->id, arena, &answers, &answered);
	if (rc) return rc;
	*out = arena_array(arena, struct notice_status, answered + configured + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < answered; i++) (*out)[(*count)++] = from_answer(&answers[i]);
	for (size_t i = 0; i < configured; i++)
		if (!has_answered(answers, answered, list[i].name)) (*out)[(*count)++] = standing[i];
	qsort(*out, *count, sizeof **out, by_name);
	return OK;
}
