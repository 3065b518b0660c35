#include "sent.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	for (const unsigned char *at = bytes; len > 0; len--) hash = (hash ^ *at++) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
	return mix(hash, text, strlen(text) + 1); /* its end, too */
}

static int mix_part(const char *bytes, size_t len, void *ctx)
{
	uint64_t *hash = ctx;
	*hash = mix(*hash, bytes, len);
	return 0;
}

uint64_t sent_hash(const json_t *contact, const char *email, const char *phone, const char *id)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	(void)json_dump_callback(contact, mix_part, &hash, JSON_COMPACT | JSON_SORT_KEYS);
	hash = mix_text(mix_text(mix_text(hash, email), phone), id);
	return hash ? hash : 1;
}

static uint64_t person_of(const char *profile)
{
	uint64_t hash = mix_text(UINT64_C(0xcbf29ce484222325), profile);
	return hash ? hash : 1;
}

bool sent_is_same(const struct sent *sent, const char *profile, uint64_t content)
{
	uint64_t person = person_of(profile);
	if (!sent->slots || !profile[0]) return false;
	const struct sent_slot *slot = &sent->slots[person % SENT_SLOTS];
	return slot->person == person && slot->content == content;
}

void sent_put(struct sent *sent, const char *profile, uint64_t content)
{
	uint64_t person = person_of(profile);
	if (!profile[0]) return;
	if (!sent->slots && content) sent->slots = calloc(SENT_SLOTS, sizeof *sent->slots);
	if (!sent->slots) return;
	struct sent_slot *slot = &sent->slots[person % SENT_SLOTS];
	if (content)
		*slot = (struct sent_slot){person, content};
	else if (slot->person == person)
		slot->person = 0;
}

void sent_fini(struct sent *sent)
{
	free(sent->slots);
}
