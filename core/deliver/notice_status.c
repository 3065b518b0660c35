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

static int copy_names(struct deliver *deliver, struct arena *arena, struct str **names, size_t *count)
{
	size_t total = 0;
	int rc = OK;
	*count = 0;
	pthread_mutex_lock(&deliver->lock);
	for (const struct destination *d = deliver->destinations; d; d = d->next) total++;
	*names = arena_array(arena, struct str, total + 1);
	if (!*names) rc = ERR_NOMEM;
	for (const struct destination *d = deliver->destinations; d && rc == OK; d = d->next)
		rc = arena_str(arena, d->name, &(*names)[(*count)++]);
	pthread_mutex_unlock(&deliver->lock);
	return rc;
}

/* As if it never answered. */
static int look_at(struct deliver *deliver, struct str name, uint64_t seq, struct notice_status *out)
{
	struct cursor_row row = {.next_seq = 0};
	int rc = cursors_get(deliver->shared.cursors, name, &row);
	bool is_past = rc == OK && seq && row.next_seq > seq;
	*out = (struct notice_status){
	    .destination = name, .state = is_past ? NOTICE_STATE_PASSED_BY : NOTICE_STATE_WAITING, .reason = STR_NONE};
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* Where they stand is looked at before the answers: an answer is written together with the cursor that it moves. */
int deliver_notice_status(struct deliver *deliver, const uint8_t *id, uint64_t seq, struct arena *arena,
			  struct notice_status **out, size_t *count)
{
	struct notice_answer *answers = NULL;
	struct notice_status *silent;
	struct str *names;
	size_t answered = 0, configured;
	*count = 0;
	int rc = copy_names(deliver, arena, &names, &configured);
	silent = arena_array(arena, struct notice_status, configured + 1);
	if (rc == OK && !silent) rc = ERR_NOMEM;
	for (size_t i = 0; i < configured && rc == OK; i++) rc = look_at(deliver, names[i], seq, &silent[i]);
	if (rc == OK) rc = notices_get(deliver->shared.cursors, id, arena, &answers, &answered);
	if (rc) return rc;
	*out = arena_array(arena, struct notice_status, answered + configured + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < answered; i++) (*out)[(*count)++] = from_answer(&answers[i]);
	for (size_t i = 0; i < configured; i++)
		if (!has_answered(answers, answered, names[i])) (*out)[(*count)++] = silent[i];
	qsort(*out, *count, sizeof **out, by_name);
	return OK;
}
