#include "config/condition.h"

#include <math.h>
#include <stdlib.h>

#include "config/config.h"
#include "config/names.h"
#include "config/read_value.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): types, members and designators take none */
#define TEXT(member) .offset = offsetof(struct conf_condition, member), .size = sizeof(struct str)
#define TEXTS(member, n) \
	.offset = offsetof(struct conf_condition, member), .count_offset = offsetof(struct conf_condition, n)
/* NOLINTEND(bugprone-macro-parentheses) */

static bool read_number(struct str text, double *out)
{
	char copy[64], *end;
	if (text.len == 0 || text.len >= sizeof copy) return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '\0' || !strchr("0123456789+-.eE", text.ptr[i])) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' && isfinite(*out);
}

static const char *check_number(struct str text)
{
	double number;
	return read_number(text, &number) ? NULL : "must be a number";
}

static const struct key condition_keys[] = {
    {"field", KEY_TEXT, TEXT(field), .flags = KEY_REQUIRED, .check = name_check_field},
    {"is", KEY_TEXTS, TEXTS(is, is_count)},
    {"in", KEY_TEXTS, TEXTS(in, in_count)},
    {"not", KEY_TEXTS, TEXTS(not_in, not_in_count)},
    {"exists", KEY_BOOL, .offset = offsetof(struct conf_condition, exists), .size = sizeof(bool)},
    {"min", KEY_TEXT, TEXT(min_text), .check = check_number},
    {"max", KEY_TEXT, TEXT(max_text), .check = check_number},
};

static void check_condition(struct reading *r, const struct node *node, const char *where, void *item)
{
	struct conf_condition *condition = item;
	const struct node *exists = node_child(node, STR("exists"));
	if (condition->is_count && condition->in_count)
		complain(r->complaints, node->line, "%s: 'is' and 'in' say the same, give one of them", where);
	if (condition->is_count) {
		condition->in = condition->is;
		condition->in_count = condition->is_count;
	}
	condition->has_exists = exists && !node_is_absent(exists);
	condition->has_min = read_number(condition->min_text, &condition->min);
	condition->has_max = read_number(condition->max_text, &condition->max);
	bool says_something = condition->in_count || condition->not_in_count || condition->has_exists ||
			      condition->min_text.len || condition->max_text.len;
	if (!says_something)
		complain(r->complaints, node->line, "%s needs one of is, in, not, exists, min and max", where);
	if (condition->has_min && condition->has_max && condition->min > condition->max)
		complain(r->complaints, node->line, "%s: min is above max", where);
}

const struct table condition_table = {
    .keys = condition_keys,
    .count = COUNT_OF(condition_keys),
    .item_size = sizeof(struct conf_condition),
    .check = check_condition,
};
