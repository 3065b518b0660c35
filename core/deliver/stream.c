#include "deliver/stream.h"

#include <stdlib.h>

static const struct stream *const STREAMS[STREAM_COUNT] = {
    [STREAM_OF_EVENTS] = &stream_events,   [STREAM_OF_PROFILES] = &stream_profiles,
    [STREAM_OF_CHANGES] = &stream_changes, [STREAM_OF_SNAPSHOT] = &stream_snapshot,
    [STREAM_OF_NOTICES] = &stream_notices,
};

const struct stream *stream_get(enum stream_id id)
{
	return id < STREAM_COUNT ? STREAMS[id] : NULL;
}

size_t stream_place_format(const struct stream *stream, uint64_t epoch, uint64_t position, char out[POSITION_TEXT_SIZE])
{
	return position_format(stream->feed, (struct position){epoch, position}, out);
}

int stream_place_parse(uint64_t epoch, struct str text, const struct stream **stream, uint64_t *position)
{
	int rc = ERR_INVALID;
	for (unsigned i = 0; i < STREAM_COUNT; i++) {
		if (!STREAMS[i]) continue;
		*stream = STREAMS[i];
		if ((rc = position_parse(STREAMS[i]->feed, epoch, text, position)) == OK) break;
	}
	return rc;
}

/* ── windows ─────────────────────────────────────────────────────────────── */

int window_new(uint64_t from, struct stream_window **out)
{
	struct stream_window *window = calloc(1, sizeof *window);
	*out = window;
	if (!window) return ERR_NOMEM;
	atomic_init(&window->refs, 1);
	arena_init(&window->arena, 65536, (size_t)32 << 20);
	window->from = window->next = from;
	window->records = calloc(WINDOW_RECORDS_MAX, sizeof *window->records);
	if (window->records) return OK;
	window_unref(window);
	*out = NULL;
	return ERR_NOMEM;
}

struct stream_window *window_ref(struct stream_window *window)
{
	atomic_fetch_add(&window->refs, 1);
	return window;
}

void window_unref(struct stream_window *window)
{
	if (!window || atomic_fetch_sub(&window->refs, 1) != 1) return;
	arena_fini(&window->arena);
	free(window->records);
	free(window);
}

void stream_reader_init(struct stream_reader *reader, struct deliver_shared *shared, struct people_reader *people)
{
	reader->shared = shared;
	reader->people = people;
	arena_init(&reader->scratch, 65536, (size_t)32 << 20);
	buf_init(&reader->json, (size_t)8 << 20);
	buf_init(&reader->text, (size_t)8 << 20);
	reader->parser = NULL;
	journal_batch_init(&reader->journal);
}

void stream_reader_fini(struct stream_reader *reader)
{
	arena_fini(&reader->scratch);
	buf_fini(&reader->json);
	buf_fini(&reader->text);
	json_reader_free(reader->parser);
	journal_batch_fini(&reader->journal);
}

int stream_position_at(const struct stream *stream, const struct deliver_shared *shared, int64_t t, uint64_t *position)
{
	struct arena arena;
	uint64_t low = stream->first(shared), high = stream->end(shared);
	int rc = OK;
	arena_init(&arena, 65536, (size_t)16 << 20);
	while (low < high && rc == OK) { /* times never run backwards in a stream */
		uint64_t middle = low + (high - low) / 2;
		int64_t at = 0;
		arena_reset(&arena);
		rc = stream->time(shared, middle, &arena, &at);
		if (rc == ERR_GONE || rc == ERR_NOT_FOUND) { /* trimmed meanwhile */
			low = middle + 1;
			rc = OK;
		} else if (rc == OK && at < t) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	arena_fini(&arena);
	*position = low;
	return rc;
}
