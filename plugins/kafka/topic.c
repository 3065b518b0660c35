#include <stdio.h>
#include <string.h>

#include "../shared/records.h"
#include "kafka.h"

#define LEGAL "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

const char *topic_check(const char *text)
{
	if (!text[0] || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) return "it needs a name";
	if (strlen(text) > TOPIC_MAX) return "it is longer than 249 characters";
	while (*text) {
		if (starts_with(text, "{type}") || starts_with(text, "{kind}"))
			text += 6;
		else if (*text == '{' || *text == '}')
			return "only {type} and {kind} can be filled in";
		else if (!strchr(LEGAL, *text++))
			return "a topic holds letters, digits, '.', '_' and '-' only";
	}
	return NULL;
}

/* What stands in the place of a placeholder. */
static struct cdpd_str part_of(bool is_kind, const struct cdpd_record *record)
{
	const char *kind = is_kind ? record_stream(record) : NULL;
	if (kind) return (struct cdpd_str){kind, strlen(kind)};
	struct cdpd_str type = record_member(record->json, "type");
	return type.len ? type : (struct cdpd_str){"other", 5};
}

bool topic_make(const char *text, const struct cdpd_record *record, char out[TOPIC_MAX + 1])
{
	size_t len = 0;
	while (*text) {
		struct cdpd_str part = {text, 1};
		if (*text == '{') {
			part = part_of(starts_with(text, "{kind}"), record);
			text += 5;
		}
		text++;
		if (part.len > TOPIC_MAX - len) return false;
		for (size_t i = 0; i < part.len; i++)
			out[len++] = (char)(part.ptr[i] && strchr(LEGAL, part.ptr[i]) ? part.ptr[i] : '_');
	}
	out[len] = '\0';
	return true;
}
