#include "net/head.h"

#include "net/http.h"

bool head_find(const struct head *head, const char *base, struct str name, struct str *value)
{
	for (uint32_t i = 0; i < head->field_count; i++) {
		const struct head_field *field = &head->fields[i];
		if (field->name.len != name.len || !str_eq_nocase(text_at(base, field->name), name)) continue;
		*value = text_at(base, field->value);
		return true;
	}
	return false;
}

struct str head_value(const struct head *head, const char *base, enum head_known known)
{
	uint8_t index = head->known[known];
	return index ? text_at(base, head->fields[index - 1].value) : STR_NONE;
}

unsigned head_method(struct str name)
{
	static const struct {
		struct str name;
		unsigned method;
	} methods[] = {
	    {{"GET", 3}, HTTP_GET}, {{"POST", 4}, HTTP_POST},     {{"HEAD", 4}, HTTP_HEAD},
	    {{"PUT", 3}, HTTP_PUT}, {{"DELETE", 6}, HTTP_DELETE}, {{"OPTIONS", 7}, HTTP_OPTIONS},
	};
	for (size_t i = 0; i < COUNT_OF(methods); i++)
		if (str_eq(name, methods[i].name)) return methods[i].method;
	return HTTP_OTHER;
}

int head_known_field(struct str name)
{
	static const struct str names[HEAD_KNOWN_COUNT] = {
	    [HEAD_HOST] = {"host", 4},
	    [HEAD_CONTENT_LENGTH] = {"content-length", 14},
	    [HEAD_TRANSFER_ENCODING] = {"transfer-encoding", 17},
	    [HEAD_CONNECTION] = {"connection", 10},
	    [HEAD_EXPECT] = {"expect", 6},
	    [HEAD_CONTENT_ENCODING] = {"content-encoding", 16},
	    [HEAD_ORIGIN] = {"origin", 6},
	};
	for (int i = 0; i < HEAD_KNOWN_COUNT; i++)
		if (names[i].len == name.len && str_eq_nocase(names[i], name)) return i;
	return -1;
}
