#include "deliver/flight.h"

#include <stdlib.h>

/* What the records of a handover point into. */
struct freight {
	struct arena arena;
	struct stream_window **windows;
	size_t count, room;
};

static void freight_free(void *ctx)
{
	struct freight *freight = ctx;
	for (size_t i = 0; i < freight->count; i++) window_unref(freight->windows[i]);
	free(freight->windows);
	arena_fini(&freight->arena);
	free(freight);
}

static int freight_keep(struct freight *freight, struct stream_window *window)
{
	if (freight->count && freight->windows[freight->count - 1] == window) return OK;
	if (freight->count == freight->room) {
		size_t room = freight->room ? 2 * freight->room : 4;
		struct stream_window **windows = realloc(freight->windows, room * sizeof(struct stream_window *));
		if (!windows) return ERR_NOMEM;
		freight->windows = windows;
		freight->room = room;
	}
	freight->windows[freight->count++] = window_ref(window);
	return OK;
}

int flight_new(enum flight_source source, struct lane *lane, size_t most, size_t bytes_most, struct flight **out)
{
	struct freight *freight = calloc(1, sizeof *freight);
	struct flight *flight = calloc(1, sizeof *flight);
	struct handover *handover = NULL;
	*out = NULL;
	if (!freight || !flight || handover_new(most, &handover)) {
		free(freight);
		free(flight);
		return ERR_NOMEM;
	}
	arena_init(&freight->arena, 65536, (size_t)64 << 20);
	handover_on_free(handover, freight_free, freight);
	*flight = (struct flight){.source = source,
				  .lane = lane,
				  .handover = handover,
				  .arena = &freight->arena,
				  .cargo = arena_array(&freight->arena, struct cargo, most),
				  .most = most,
				  .bytes_most = bytes_most};
	if (!flight->cargo) {
		flight_free(flight);
		return ERR_NOMEM;
	}
	*out = flight;
	return OK;
}

void flight_free(struct flight *flight)
{
	if (!flight) return;
	handover_unref(flight->handover);
	free(flight);
}

/* The arena is a freight's first member. */
static struct freight *freight_of(const struct flight *flight)
{
	return (struct freight *)flight->arena;
}

int flight_add(struct flight *flight, struct stream_window *window, const struct stream_record *record, struct str json,
	       const struct cargo *cargo)
{
	char id[FRAGMENT_ID_TEXT_SIZE];
	struct export_record out = {.kind = record->kind,
				    .position = record->place,
				    .delivery_id = record->place, /* it is delivered once to a destination */
				    .message_id = record->message_id,
				    .profile_id = record->profile_id,
				    .json = json,
				    .time_us = record->time_us,
				    .attempt = cargo->attempts + 1};
	out.flags = record->flags;
	out.other_id = record->other_id;
	int rc = freight_keep(freight_of(flight), window);
	if (rc == OK && record->stream == STREAM_OF_SNAPSHOT) /* a person may come with several of them */
		rc = arena_printf(flight->arena, &out.delivery_id, "%.*s-%llx", STR_ARG(record->place),
				  (unsigned long long)flight->lane->series);
	if (rc == OK && !record->profile_id.len) {
		fragment_id_format(&cargo->person, id);
		rc = arena_str(flight->arena, str_of(id, sizeof id - 1), &out.profile_id);
	}
	if (rc == OK) rc = handover_add(flight->handover, &out);
	if (rc) return rc;
	struct cargo *kept = &flight->cargo[flight->count++];
	*kept = *cargo;
	kept->has_notice = record->notice != NOTICE_NONE;
	memcpy(kept->notice_id, record->notice_id, sizeof kept->notice_id);
	flight->bytes += json.len;
	flight->is_alone |= is_told_alone(record);
	return OK;
}
