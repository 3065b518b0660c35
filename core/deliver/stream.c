#include "deliver/stream.h"

#include <stdlib.h>

static const struct stream *const STREAMS[STREAM_COUNT] = {
    [STREAM_OF_EVENTS] = &stream_events,     [STREAM_OF_PROFILES] = &stream_profiles,
    [STREAM_OF_CHANGES] = &stream_changes,   [STREAM_OF_SNAPSHOT] = &stream_snapshot,
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

int window_init(struct stream_window *window)
{
	*window = (struct stream_window){.count = 0};
	arena_init(&window->arena, 65536, (size_t)32 << 20);
	window->records = calloc(WINDOW_RECORDS_MAX, sizeof *window->records);
	return window->records ? OK : ERR_NOMEM;
}

void window_fini(struct stream_window *window)
{
	arena_fini(&window->arena);
	free(window->records);
	window->records = NULL;
}

void window_clear(struct stream_window *window, uint64_t from)
{
	arena_reset(&window->arena);
	window->from = window->next = from;
	window->count = window->bytes = 0;
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
