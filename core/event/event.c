#include "event/event.h"

#include "cdpd/v1/store.pb-c.h"

static const char *const type_names[] = {
    [EVENT_TRACK] = "track",   [EVENT_IDENTIFY] = "identify", [EVENT_PAGE] = "page",
    [EVENT_SCREEN] = "screen", [EVENT_GROUP] = "group",       [EVENT_ALIAS] = "alias",
};

const char *event_type_name(enum event_type type)
{
	return (size_t)type < COUNT_OF(type_names) && type_names[type] ? type_names[type] : "unknown";
}

bool event_type_from_name(struct str name, enum event_type *out)
{
	for (size_t i = EVENT_TRACK; i < COUNT_OF(type_names); i++) {
		if (!str_eq(name, str_from(type_names[i]))) continue;
		*out = (enum event_type)i;
		return true;
	}
	return false;
}

/* protobuf-c's structs are not const-correct; packing only reads. */
static ProtobufCBinaryData to_bytes(struct str text)
{
	return (ProtobufCBinaryData){text.len, (uint8_t *)(uintptr_t)text.ptr};
}

static struct str to_str(ProtobufCBinaryData bytes)
{
	return bytes.len > 0 ? str_of(bytes.data, bytes.len) : STR_NONE;
}

static void fill_text(Cdpd__V1__StoredEvent *stored, const struct cdpd_event *event)
{
	stored->source_id = to_bytes(event->source_id);
	stored->message_id = to_bytes(event->message_id);
	stored->event = to_bytes(event->event);
	stored->name = to_bytes(event->name);
	stored->category = to_bytes(event->category);
	stored->user_id = to_bytes(event->user_id);
	stored->anonymous_id = to_bytes(event->anonymous_id);
	stored->previous_id = to_bytes(event->previous_id);
	stored->group_id = to_bytes(event->group_id);
	stored->properties = to_bytes(event->properties);
	stored->traits = to_bytes(event->traits);
	stored->context = to_bytes(event->context);
	stored->extra = to_bytes(event->extra);
	stored->enrichment = to_bytes(event->enrichment);
	stored->violations = to_bytes(event->violations);
	stored->ip = to_bytes(event->ip);
	stored->user_agent = to_bytes(event->user_agent);
	stored->country = to_bytes(event->country);
}

static void fill_numbers(Cdpd__V1__StoredEvent *stored, const struct cdpd_event *event)
{
	stored->source_kind = (uint32_t)event->source_kind;
	stored->rights = event->rights;
	stored->canonical_hash = event->canonical_hash;
	stored->type = (uint32_t)event->type;
	stored->event_time_us = event->event_time_us;
	stored->client_time_us = event->client_time_us;
	stored->sent_at_us = event->sent_at_us;
	stored->received_at_us = event->received_at_us;
	stored->correction_us = event->correction_us;
	stored->utc_offset_min = event->utc_offset_min;
	stored->flags = event->flags;
}

#define FIELD_SIZE 12 /* of a field beside its text, from above: tag and length, or tag and number */

static size_t bytes_at_most(const ProtobufCBinaryData *bytes, size_t count)
{
	size_t size = count * FIELD_SIZE;
	for (size_t i = 0; i < count; i++) size += bytes[i].len;
	return size;
}

/* From above: asking protobuf-c for the size costs as much as packing. */
static size_t size_at_most(const Cdpd__V1__StoredEvent *stored)
{
	const ProtobufCMessageDescriptor *descriptor = stored->base.descriptor;
	size_t size = (size_t)descriptor->n_fields * FIELD_SIZE;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		const char *at = (const char *)stored + field->offset;
		bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
		CHECK(field->type != PROTOBUF_C_TYPE_STRING && (!is_list || field->type == PROTOBUF_C_TYPE_BYTES));
		if (is_list)
			size += bytes_at_most(
			    *(ProtobufCBinaryData *const *)(const void *)at,
			    *(const size_t *)(const void *)((const char *)stored + field->quantifier_offset));
		else if (field->type == PROTOBUF_C_TYPE_BYTES)
			size += ((const ProtobufCBinaryData *)(const void *)at)->len;
	}
	return size;
}

int event_encode(const struct cdpd_event *event, struct arena *arena, struct str *payload)
{
	Cdpd__V1__StoredEvent stored = CDPD__V1__STORED_EVENT__INIT;
	fill_text(&stored, event);
	fill_numbers(&stored, event);
	if (event->await_count > 0) {
		stored.awaits = arena_array(arena, ProtobufCBinaryData, event->await_count);
		if (!stored.awaits) return ERR_NOMEM;
		stored.n_awaits = event->await_count;
		for (size_t i = 0; i < event->await_count; i++) stored.awaits[i] = to_bytes(event->awaits[i]);
	}
	size_t room = size_at_most(&stored);
	uint8_t *out = arena_alloc(arena, room);
	if (!out) return ERR_NOMEM;
	size_t len = cdpd__v1__stored_event__pack(&stored, out);
	CHECK(len <= room);
	arena_shrink(arena, out, room, len);
	*payload = str_of(out, len);
	return OK;
}

struct unpack_arena {
	struct arena *arena;
	bool is_full;
};

static void *alloc_in_arena(void *ctx, size_t size)
{
	struct unpack_arena *unpack = ctx;
	void *ptr = arena_alloc(unpack->arena, size);
	if (!ptr) unpack->is_full = true;
	return ptr;
}

static void free_nothing(void *ctx, void *ptr)
{
	(void)ctx;
	(void)ptr;
}

static bool is_sound(const Cdpd__V1__StoredEvent *stored)
{
	return stored->type >= EVENT_TRACK && stored->type <= EVENT_ALIAS && stored->source_kind <= SOURCE_PLUGIN &&
	       stored->utc_offset_min >= INT16_MIN && stored->utc_offset_min <= INT16_MAX;
}

static void read_stored(const Cdpd__V1__StoredEvent *stored, struct cdpd_event *out)
{
	*out = (struct cdpd_event){
	    .source_id = to_str(stored->source_id),
	    .source_kind = (enum source_kind)stored->source_kind,
	    .rights = stored->rights,
	    .message_id = to_str(stored->message_id),
	    .canonical_hash = stored->canonical_hash,
	    .type = (enum event_type)stored->type,
	    .event = to_str(stored->event),
	    .name = to_str(stored->name),
	    .category = to_str(stored->category),
	    .user_id = to_str(stored->user_id),
	    .anonymous_id = to_str(stored->anonymous_id),
	    .previous_id = to_str(stored->previous_id),
	    .group_id = to_str(stored->group_id),
	    .event_time_us = stored->event_time_us,
	    .client_time_us = stored->client_time_us,
	    .sent_at_us = stored->sent_at_us,
	    .received_at_us = stored->received_at_us,
	    .correction_us = stored->correction_us,
	    .utc_offset_min = (int16_t)stored->utc_offset_min,
	    .flags = stored->flags,
	    .properties = to_str(stored->properties),
	    .traits = to_str(stored->traits),
	    .context = to_str(stored->context),
	    .extra = to_str(stored->extra),
	    .enrichment = to_str(stored->enrichment),
	    .violations = to_str(stored->violations),
	    .ip = to_str(stored->ip),
	    .user_agent = to_str(stored->user_agent),
	    .country = to_str(stored->country),
	};
}

int event_decode(struct str payload, struct arena *arena, struct cdpd_event *out)
{
	struct unpack_arena unpack = {arena, false};
	ProtobufCAllocator allocator = {alloc_in_arena, free_nothing, &unpack};
	Cdpd__V1__StoredEvent *stored =
	    cdpd__v1__stored_event__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (unpack.is_full) return ERR_NOMEM;
	if (!stored || !is_sound(stored)) return ERR_CORRUPT;
	read_stored(stored, out);
	if (stored->n_awaits == 0) return OK;
	out->awaits = arena_array(arena, struct str, stored->n_awaits);
	if (!out->awaits) return ERR_NOMEM;
	out->await_count = stored->n_awaits;
	for (size_t i = 0; i < stored->n_awaits; i++) out->awaits[i] = to_str(stored->awaits[i]);
	return OK;
}
