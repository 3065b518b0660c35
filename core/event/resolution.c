#include "event/resolution.h"

#include "cdpd/v1/store.pb-c.h"

#define MERGED_MAX ((size_t)1 << 20)

static void *alloc_in_arena(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *ptr)
{
	(void)arena;
	(void)ptr;
}

int resolution_encode(const struct resolution *resolution, struct arena *arena, struct str *payload)
{
	Cdpd__V1__StoredResolution stored = CDPD__V1__STORED_RESOLUTION__INIT;
	struct str enricher, reason; /* NUL-terminated copies */
	int rc = arena_str(arena, resolution->enricher, &enricher);
	if (!rc) rc = arena_str(arena, resolution->reason, &reason);
	if (rc) return rc;
	stored.event_seq = resolution->event_seq;
	stored.enricher = (char *)(uintptr_t)enricher.ptr;
	stored.given_up = resolution->is_given_up;
	stored.patch = (ProtobufCBinaryData){resolution->patch.len, (uint8_t *)(uintptr_t)resolution->patch.ptr};
	stored.reason = (char *)(uintptr_t)reason.ptr;
	uint8_t *bytes = arena_alloc(arena, cdpd__v1__stored_resolution__get_packed_size(&stored) + 1);
	if (!bytes) return ERR_NOMEM;
	*payload = str_of(bytes, cdpd__v1__stored_resolution__pack(&stored, bytes));
	return OK;
}

int resolution_decode(struct str payload, struct arena *arena, struct resolution *out)
{
	ProtobufCAllocator allocator = {alloc_in_arena, free_nothing, arena};
	Cdpd__V1__StoredResolution *stored =
	    cdpd__v1__stored_resolution__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
	if (!stored || !stored->event_seq) return ERR_CORRUPT;
	*out =
	    (struct resolution){.event_seq = stored->event_seq,
				.enricher = str_from(stored->enricher),
				.is_given_up = stored->given_up,
				.patch = stored->patch.len ? str_of(stored->patch.data, stored->patch.len) : STR_NONE,
				.reason = str_from(stored->reason)};
	return OK;
}

/* ── laying it over the event ────────────────────────────────────────────── */

/* A text and its parsed object. */
struct part {
	struct json_reader *reader;
	struct buf text;
	struct json root;
	bool is_object;
};

static int part_open(struct part *part, struct str text)
{
	const char *why;
	buf_init(&part->text, MERGED_MAX);
	part->reader = NULL;
	part->is_object = false;
	if (text.len == 0) return OK;
	int rc = buf_append_str(&part->text, text);
	if (!rc) rc = json_reader_new(&part->reader);
	if (rc) return rc == ERR_TOO_LARGE ? OK : rc;
	rc = json_parse(part->reader, buf_str(&part->text), &part->root, &why);
	part->is_object = rc == OK && json_type(part->root) == JSON_OBJECT;
	return rc == ERR_NOMEM ? rc : OK;
}

static void part_close(struct part *part)
{
	if (part->reader) json_reader_free(part->reader);
	buf_fini(&part->text);
}

static int write_merged(struct json_out *out, struct json base, struct json over);

static int write_value(struct json_out *out, struct json value)
{
	jo_raw(out, STR_NONE); /* the comma and nothing else */
	if (!out->status) out->status = json_write(out->buf, value);
	return out->status;
}

static int write_member(struct json_out *out, struct str key, struct json value, const struct json *over)
{
	jo_key(out, key);
	if (!over) return write_value(out, value);
	if (json_type(value) == JSON_OBJECT && json_type(*over) == JSON_OBJECT) return write_merged(out, value, *over);
	return write_value(out, *over);
}

/* JSON's depth is bounded by its parser. */
static int write_merged(struct json_out *out, struct json base, struct json over)
{
	struct json_iter it;
	struct json value, other;
	struct str key;
	jo_object(out);
	for (json_iter_start(base, &it); json_next_member(&it, &key, &value);) {
		int rc = write_member(out, key, value, json_get(over, key, &other) ? &other : NULL);
		if (rc) return rc;
	}
	for (json_iter_start(over, &it); json_next_member(&it, &key, &value);) {
		if (json_get(base, key, &other)) continue;
		int rc = write_member(out, key, value, NULL);
		if (rc) return rc;
	}
	jo_end_object(out);
	return out->status;
}

static int merge(const struct part *base, const struct part *over, struct arena *arena, struct str *out)
{
	struct json_out json;
	struct buf buf;
	buf_init(&buf, 2 * MERGED_MAX);
	json_out_init(&json, &buf);
	int rc = write_merged(&json, base->root, over->root);
	if (!rc) rc = arena_str(arena, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

int enrichment_merge(struct str enrichment, struct str patch, struct arena *arena, struct str *out)
{
	struct part base, over;
	*out = enrichment;
	if (patch.len == 0) return OK;
	int rc = part_open(&base, enrichment), rc_over = part_open(&over, patch);
	if (!rc) rc = rc_over;
	if (!rc && over.is_object) {
		if (base.is_object)
			rc = merge(&base, &over, arena, out);
		else
			*out = patch;
	}
	part_close(&base);
	part_close(&over);
	return rc;
}
