/* What operators ask of destinations while they run. */
#include "base/clock.h"
#include "deliver/internal.h"

/* With the admin lock, under which the list does not change; the fold is not held up. */
static struct destination *find(struct deliver *deliver, struct str name)
{
	pthread_mutex_lock(&deliver->lock);
	struct destination *d = deliver->destinations;
	while (d && !str_eq(d->name, name)) d = d->next;
	pthread_mutex_unlock(&deliver->lock);
	return d;
}

int deliver_pause(struct deliver *deliver, struct str name, bool is_paused)
{
	struct order order;
	pthread_mutex_lock(&deliver->admin);
	struct destination *d = find(deliver, name);
	int rc = d ? order_pause(deliver->shared.cursors, name, is_paused, &order) : ERR_NOT_FOUND;
	if (rc == OK) destination_set_order(d, &order);
	pthread_mutex_unlock(&deliver->admin);
	return rc;
}

static uint64_t next_seq_of(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	uint64_t seq = d->lanes[0].row.next_seq;
	pthread_mutex_unlock(&d->lock);
	return seq;
}

int deliver_replay(struct deliver *deliver, struct str name, uint64_t seq, uint64_t *from)
{
	struct order order;
	uint64_t first = journal_first_seq(deliver->shared.journal);
	*from = seq < first ? first : seq;
	pthread_mutex_lock(&deliver->admin);
	struct destination *d = find(deliver, name);
	int rc = d ? OK : ERR_NOT_FOUND;
	if (rc == OK && *from > next_seq_of(d)) rc = ERR_INVALID;
	if (rc == OK) rc = order_seek(deliver->shared.cursors, name, *from, &order);
	if (rc == OK) destination_set_order(d, &order);
	pthread_mutex_unlock(&deliver->admin);
	return rc;
}

int deliver_seq_at(struct deliver *deliver, int64_t t, uint64_t *seq)
{
	return stream_position_at(&stream_events, &deliver->shared, t, seq);
}

int deliver_rehearse(struct deliver *deliver, struct str name, int64_t span_us, struct arena *arena,
		     struct rehearsal_result *out)
{
	struct rehearsal *rehearsal;
	int rc = rehearsal_new(&rehearsal);
	if (rc) return rc;
	pthread_mutex_lock(&deliver->admin);
	struct destination *d = find(deliver, name);
	rc = d ? rehearsal_post(rehearsal, d) : ERR_NOT_FOUND;
	pthread_mutex_unlock(&deliver->admin);
	if (rc == OK) rc = rehearsal_wait(rehearsal, span_us, arena, out); /* a reload may end it meanwhile */
	rehearsal_unref(rehearsal);
	return rc;
}

/* ── dead letters ────────────────────────────────────────────────────────── */

int deliver_letters(struct deliver *deliver, struct str name, const struct letter_place *after, size_t limit,
		    struct arena *arena, struct letter_row **out, size_t *count)
{
	return letters_list(deliver->shared.cursors, name, after, limit, arena, out, count);
}

int deliver_letters_of(struct deliver *deliver, const struct fragment_id *fragments, size_t fragment_count,
		       uint64_t *count)
{
	return letters_of(deliver->shared.cursors, fragments, fragment_count, count);
}

static int act(struct deliver *deliver, struct str name, enum stream_id stream, uint64_t seq, enum letter_deed deed,
	       uint64_t *count)
{
	*count = 0;
	pthread_mutex_lock(&deliver->admin);
	struct destination *d = find(deliver, name);
	int rc = d ? letters_act(deliver->shared.cursors, name, stream, seq, deed, count) : ERR_NOT_FOUND;
	if (rc == OK && *count) destination_redrive(d);
	pthread_mutex_unlock(&deliver->admin);
	return rc;
}

int deliver_redrive(struct deliver *deliver, struct str name, enum stream_id stream, uint64_t seq, uint64_t *count)
{
	return act(deliver, name, stream, seq, LETTER_REDRIVE, count);
}

int deliver_discard(struct deliver *deliver, struct str name, enum stream_id stream, uint64_t seq, uint64_t *count)
{
	return act(deliver, name, stream, seq, LETTER_DISCARD, count);
}

int deliver_erase_letters(struct deliver *deliver, const _Atomic bool *stop, uint64_t *count)
{
	struct people_reader *reader;
	uint64_t parked = 0;
	*count = 0;
	int rc = people_reader_new(deliver->shared.people, &reader);
	if (rc) return rc;
	rc = letters_erase(deliver->shared.cursors, reader, count);
	if (rc == OK) rc = parked_erase(deliver->shared.cursors, reader, &parked);
	if (rc == OK && (*count || parked)) rc = cursors_compact(deliver->shared.cursors, stop);
	people_reader_free(reader);
	return rc;
}
