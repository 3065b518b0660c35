#include "config/form_schema.h"

#include "config/names.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): types, members and designators take none */
#define FIELD(type, member)         .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FIELDS(type, member, n)     .offset = offsetof(type, member), .count_offset = offsetof(type, n)
#define RANGE(default_, min_, max_) .fallback = default_, .min = min_, .max = max_
/* NOLINTEND(bugprone-macro-parentheses) */

static const char *const kinds[] = {"form", "quiz", "poll", "preferences", "entry", NULL};
static const char *const results[] = {"private", "public", NULL};
static const char *const types[] = {"single", "multiple", "scale", "text", "date", "number", "hours", NULL};

_Static_assert(FORM_FORM == 0 && FORM_ENTRY == COUNT_OF(kinds) - 2, "kinds[] is in the enum's order");
_Static_assert(QUESTION_SINGLE == 0 && QUESTION_HOURS == COUNT_OF(types) - 2, "types[] is in the enum's order");

const char *form_kind_name(enum form_kind kind)
{
	return (unsigned)kind <= FORM_ENTRY ? kinds[kind] : "unknown";
}

const char *question_type_name(enum question_type type)
{
	return (unsigned)type <= QUESTION_HOURS ? types[type] : "unknown";
}

static const char *check_trait(struct str text)
{
	bool is_fine = text.len >= 1 && text.len <= 200;
	for (size_t i = 0; i < text.len; i++) is_fine = is_fine && (uint8_t)text.ptr[i] > ' ' && text.ptr[i] != '"';
	return is_fine ? NULL : "must be the name of a trait: 1 to 200 characters without spaces and quotes";
}

#define OPTION(member) FIELD(struct conf_option, member)
static const struct key option_keys[] = {
    {"value", KEY_ANY, OPTION(value), .flags = KEY_REQUIRED},
    {"label", KEY_ANY, OPTION(label)},
};
const struct table form_option_table = {
    .keys = option_keys,
    .count = COUNT_OF(option_keys),
    .item_size = sizeof(struct conf_option),
    .short_form = "value",
};

#define QUESTION(member) FIELD(struct conf_question, member)
static const struct key question_keys[] = {
    {"id", KEY_TEXT, QUESTION(id), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_word},
    {"type", KEY_CHOICE, QUESTION(type), .flags = KEY_REQUIRED, .choices = types},
    {"text", KEY_ANY, QUESTION(text), .flags = KEY_REQUIRED},
    {"help", KEY_ANY, QUESTION(help)},
    {"options", KEY_ITEMS, FIELDS(struct conf_question, options, option_count), .items = &form_option_table},
    {"required", KEY_BOOL, QUESTION(is_required), .fallback = "false"},
    {"trait", KEY_TEXT, QUESTION(trait), .check = check_trait},
    {"expires", KEY_US, QUESTION(expires_us), RANGE("0", "0", "36500d")},
    {"min", KEY_TEXT, QUESTION(min_text)},
    {"max", KEY_TEXT, QUESTION(max_text)},
    {"step", KEY_TEXT, QUESTION(step_text)},
    {"labels", KEY_NODE, QUESTION(labels)},
    {"max_length", KEY_INT, QUESTION(max_length), RANGE("1000", "1", "8000")},
    {"max_choices", KEY_INT, QUESTION(max_choices), RANGE("0", "0", "500")},
    {"when", KEY_ANY, QUESTION(when)},
    {"correct", KEY_ANY, QUESTION(correct)},
    {"points", KEY_INT, QUESTION(points), RANGE("1", "0", "10000")},
};

static int *question_line(void *item)
{
	return &((struct conf_question *)item)->line;
}

static const struct table question_table = {
    .keys = question_keys,
    .count = COUNT_OF(question_keys),
    .item_size = sizeof(struct conf_question),
    .line_of = question_line,
};

#define CONSENT(member) FIELD(struct conf_form_consent, member)
static const struct key consent_keys[] = {
    {"purpose", KEY_TEXT, CONSENT(purpose), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_word},
    {"channels", KEY_TEXTS, FIELDS(struct conf_form_consent, channels, channel_count), .check = name_check_word},
    {"text", KEY_ANY, CONSENT(text), .flags = KEY_REQUIRED},
    {"version", KEY_INT, CONSENT(version), RANGE("1", "1", "1000000")},
    {"required", KEY_BOOL, CONSENT(is_required), .fallback = "false"},
};
static const struct table consent_table = {
    .keys = consent_keys,
    .count = COUNT_OF(consent_keys),
    .item_size = sizeof(struct conf_form_consent),
};

#define FORM(member) FIELD(struct conf_form, member)
static const struct key form_keys[] = {
    {"name", KEY_TEXT, FORM(name), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_id},
    {"version", KEY_INT, FORM(version), RANGE("1", "1", "1000000")},
    {"accepts_since", KEY_INT, FORM(accepts_since), RANGE("0", "0", "1000000")},
    {"kind", KEY_CHOICE, FORM(kind), .fallback = "form", .choices = kinds},
    {"title", KEY_ANY, FORM(title)},
    {"results", KEY_CHOICE, FORM(results), .fallback = "private", .choices = results},
    {"questions", KEY_ITEMS, FIELDS(struct conf_form, questions, question_count), .flags = KEY_REQUIRED,
     .items = &question_table},
    {"consents", KEY_ITEMS, FIELDS(struct conf_form, consents, consent_count), .items = &consent_table},
    {"pass.score", KEY_INT, FORM(pass_score), RANGE("0", "0", "1000000")},
    {"pass.require", KEY_ANY, FORM(pass_require)},
};

static int *form_line(void *item)
{
	return &((struct conf_form *)item)->line;
}

const struct table form_table = {
    .keys = form_keys,
    .count = COUNT_OF(form_keys),
    .item_size = sizeof(struct conf_form),
    .line_of = form_line,
};

static const struct key file_keys[] = {
    {"forms", KEY_ITEMS, FIELDS(struct form_file, forms, count), .items = &form_table},
};
const struct table form_file_table = {.keys = file_keys, .count = COUNT_OF(file_keys)};
