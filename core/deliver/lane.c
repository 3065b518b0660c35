#include "deliver/lane.h"

#include <stdlib.h>

void lane_init(struct lane *lane, const struct stream *stream, size_t most_windows)
{
	*lane =
	    (struct lane){.stream = stream, .most = most_windows < LANE_WINDOWS_MAX ? most_windows : LANE_WINDOWS_MAX};
}

static void drop(struct lane *lane, struct lane_window *w)
{
	window_unref(w->window);
	window_people_unref(w->people);
	w->window = NULL;
	w->people = NULL;
	if (lane->spare)
		free(w);
	else
		lane->spare = w;
}

void lane_fini(struct lane *lane)
{
	lane_seek(lane, 0);
	free(lane->spare);
	lane->spare = NULL;
}

void lane_seek(struct lane *lane, uint64_t position)
{
	for (size_t i = 0; i < lane->count; i++) drop(lane, lane->windows[i]);
	lane->count = 0;
	lane->end = position;
	lane->waits_since_us = 0;
}

/* ── reading on ──────────────────────────────────────────────────────────── */

static size_t first_at(const struct stream_window *window, uint64_t position)
{
	size_t low = 0, high = window->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (window->records[middle].position < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int add_window(struct lane *lane, struct stream_window *window)
{
	struct lane_window *w = lane->spare ? lane->spare : malloc(sizeof *w);
	if (!w) return ERR_NOMEM;
	lane->spare = NULL;
	w->window = window;
	w->front = first_at(window, lane->end);
	w->people = NULL;
	memset(w->states, LANE_WAITING, sizeof w->states);
	memset(w->tries, 0, sizeof w->tries);
	lane->windows[lane->count++] = w;
	return OK;
}

int lane_pull(struct lane *lane, struct windows *windows, struct stream_reader *reader, bool *did)
{
	struct stream_window *window;
	*did = false;
	if (lane->count == lane->most || lane->end >= lane->stream->end(reader->shared)) return OK;
	int rc = windows_get(windows, reader, lane->stream, lane->end, &window);
	if (rc) return rc;
	*did = window->next > lane->end;
	uint64_t next = window->next;
	if (*did && window->count) rc = add_window(lane, window);
	if (rc || !*did || !window->count) window_unref(window);
	if (rc == OK && *did) {
		lane->end = next;
		if (next < lane->stream->end(reader->shared)) windows_ahead(windows, lane->stream, next);
	}
	return rc;
}

/* ── settling ────────────────────────────────────────────────────────────── */

static void count(struct lane *lane, struct cursor_row *row, enum lane_state state)
{
	switch (state) {
	case LANE_WAITING:
	case LANE_OUT:
	case LANE_GONE: break;
	case LANE_DELIVERED:
		row->delivered++;
		lane->loose++;
		break;
	case LANE_DROPPED:
		row->dropped++;
		lane->loose++;
		break;
	case LANE_DENIED: row->denied++; break;
	case LANE_FILTERED: row->filtered++; break;
	case LANE_UNMAPPED: row->unmapped++; break;
	case LANE_PARKED: lane->loose++; break;
	}
}

static bool is_settled(enum lane_state state)
{
	return state != LANE_WAITING && state != LANE_OUT;
}

void lane_settle(struct lane *lane, struct cursor_row *row)
{
	size_t gone = 0;
	for (; gone < lane->count; gone++) {
		struct lane_window *w = lane->windows[gone];
		while (w->front < w->window->count && is_settled(w->states[w->front]))
			count(lane, row, w->states[w->front++]);
		if (w->front < w->window->count) break;
		drop(lane, w);
	}
	lane->count -= gone;
	memmove(lane->windows, lane->windows + gone, lane->count * sizeof lane->windows[0]);
	if (lane->count)
		row->next_seq = lane->windows[0]->window->records[lane->windows[0]->front].position;
	else
		row->next_seq = lane->end;
}

bool lane_has_waiting(const struct lane *lane)
{
	for (size_t i = 0; i < lane->count; i++) {
		const struct lane_window *w = lane->windows[i];
		if (memchr(w->states + w->front, LANE_WAITING, w->window->count - w->front)) return true;
	}
	return false;
}
