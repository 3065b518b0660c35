#include "net/head.h"

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
