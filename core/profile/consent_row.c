#include "profile/consent_row.h"

#include "profile/wire.h"

#define ITEM_MIN (2 * 1 + 2 + 3 * 8 + 1 + 2 * 1)

size_t consents_encoded_max(const struct consent_list *list)
{
	size_t size = WIRE_VARINT_MAX;
	for (size_t i = 0; i < list->count; i++) {
		const struct consent *consent = &list->items[i];
		size += ITEM_MIN + 5 * WIRE_VARINT_MAX + consent->purpose.len + consent->channel.len +
			consent->source.len + consent->message_id.len;
	}
	return size;
}

uint8_t *consents_encode(const struct consent_list *list, uint8_t *at)
{
	at = wire_put_varint(at, list->count);
	for (size_t i = 0; i < list->count; i++) {
		const struct consent *consent = &list->items[i];
		at = wire_put_str(at, consent->purpose);
		at = wire_put_str(at, consent->channel);
		*at++ = (uint8_t)consent->state;
		*at++ = (uint8_t)consent->basis;
		at = wire_put_u64(at, (uint64_t)consent->time);
		at = wire_put_u64(at, (uint64_t)consent->expires);
		at = wire_put_u64(at, consent->position);
		at = wire_put_varint(at, consent->log);
		at = wire_put_str(at, consent->source);
		at = wire_put_str(at, consent->message_id);
	}
	return at;
}

static int decode_one(struct wire_in *in, struct consent *out)
{
	out->purpose = wire_str(in);
	out->channel = wire_str(in);
	uint8_t state = wire_u8(in), basis = wire_u8(in);
	out->state = (enum consent_state)state;
	out->basis = (enum lawful_basis)basis;
	out->time = (int64_t)wire_u64(in);
	out->expires = (int64_t)wire_u64(in);
	out->position = wire_u64(in);
	out->log = wire_varint(in);
	out->source = wire_str(in);
	out->message_id = wire_str(in);
	bool is_sound = !in->is_bad && state > CONSENT_NONE && state < CONSENT_EXPIRED && basis < BASIS_COUNT;
	return is_sound ? OK : ERR_CORRUPT;
}

int consents_decode(struct str bytes, struct arena *arena, struct consent_list *out)
{
	struct wire_in in = wire_in(bytes);
	*out = (struct consent_list){0};
	size_t count = wire_count(&in, ITEM_MIN);
	out->items = arena_array(arena, struct consent, count + 1);
	if (!out->items) return ERR_NOMEM;
	out->room = count + 1;
	for (size_t i = 0; i < count; i++) {
		struct consent *consent = &out->items[i];
		int rc = decode_one(&in, consent);
		if (rc) return rc;
		int order = i == 0 ? -1 : str_cmp(consent[-1].purpose, consent->purpose);
		if (order == 0) order = str_cmp(consent[-1].channel, consent->channel);
		if (order >= 0) return ERR_CORRUPT;
	}
	out->count = count;
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}
