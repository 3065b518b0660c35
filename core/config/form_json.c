#include "base/json.h"
#include "config/form_schema.h"

static void write_text(struct json_out *out, struct str key, const struct node *node)
{
	if (!node) return;
	jo_key(out, key);
	if (node->kind != NODE_MAP) {
		jo_str(out, node->text);
		return;
	}
	jo_object(out);
	for (const struct node *child = node->children; child; child = child->next) {
		jo_key(out, child->key);
		jo_str(out, child->text);
	}
	jo_end_object(out);
}

static void write_number(struct json_out *out, struct str key, struct str text, bool is_date)
{
	if (text.len == 0) return;
	jo_key(out, key);
	if (is_date)
		jo_str(out, text);
	else
		jo_raw(out, text); /* decimal_parse took it: it is a number of JSON as it stands */
}

static void write_values(struct json_out *out, const struct str *values, size_t count)
{
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_raw(out, values[i]);
	jo_end_array(out);
}

static void write_condition(struct json_out *out, const struct conf_form *form, const struct form_condition *condition)
{
	jo_object(out);
	jo_key(out, STR("question"));
	jo_str(out, form->questions[condition->question].id);
	switch (condition->kind) {
	case FORM_TEST_IN:
		jo_key(out, STR("in"));
		write_values(out, condition->values, condition->value_count);
		break;
	case FORM_TEST_AT_LEAST:
	case FORM_TEST_AT_MOST:
		jo_key(out, condition->kind == FORM_TEST_AT_LEAST ? STR("atLeast") : STR("atMost"));
		jo_double(out, condition->number);
		break;
	case FORM_TEST_ANSWERED:
		jo_key(out, STR("answered"));
		jo_bool(out, condition->is_answered);
		break;
	}
	jo_end_object(out);
}

static void write_conditions(struct json_out *out, struct str key, const struct conf_form *form,
			     const struct form_conditions *conditions)
{
	if (conditions->count == 0) return;
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < conditions->count; i++) write_condition(out, form, &conditions->items[i]);
	jo_end_array(out);
}

static void write_options(struct json_out *out, const struct conf_question *question)
{
	if (question->option_count == 0) return;
	jo_key(out, STR("options"));
	jo_array(out);
	for (size_t i = 0; i < question->option_count; i++) {
		jo_object(out);
		jo_key(out, STR("value"));
		jo_raw(out, question->options[i].json);
		write_text(out, STR("label"),
			   question->options[i].label ? question->options[i].label : question->options[i].value);
		jo_end_object(out);
	}
	jo_end_array(out);
}

static void write_bounds(struct json_out *out, const struct conf_question *question)
{
	bool is_date = question->type == QUESTION_DATE;
	write_number(out, STR("min"), question->min_text, is_date);
	write_number(out, STR("max"), question->max_text, is_date);
	write_number(out, STR("step"), question->step_text, is_date);
	if (question->type == QUESTION_TEXT) {
		jo_key(out, STR("maxLength"));
		jo_uint(out, question->max_length);
	}
	if (question->max_choices) {
		jo_key(out, STR("maxChoices"));
		jo_uint(out, question->max_choices);
	}
	if (!question->labels) return;
	jo_key(out, STR("labels"));
	jo_object(out);
	for (const struct node *label = question->labels->children; label; label = label->next)
		write_text(out, label->key, label);
	jo_end_object(out);
}

/* What people must not see before they answer. */
static void write_private(struct json_out *out, const struct conf_question *question)
{
	jo_key(out, STR("trait"));
	jo_str(out, question->trait);
	jo_key(out, STR("expires"));
	jo_int(out, question->expires_us);
	jo_key(out, STR("points"));
	jo_uint(out, question->points);
	jo_key(out, STR("correct"));
	write_values(out, question->correct_json, question->correct_count);
}

static void write_question(struct json_out *out, const struct conf_form *form, const struct conf_question *question,
			   bool is_full)
{
	jo_object(out);
	jo_key(out, STR("id"));
	jo_str(out, question->id);
	jo_key(out, STR("type"));
	jo_str(out, str_from(question_type_name(question->type)));
	write_text(out, STR("text"), question->text);
	write_text(out, STR("help"), question->help);
	jo_key(out, STR("required"));
	jo_bool(out, question->is_required);
	write_options(out, question);
	write_bounds(out, question);
	write_conditions(out, STR("when"), form, &question->conditions);
	if (is_full) write_private(out, question);
	jo_end_object(out);
}

static void write_consent(struct json_out *out, const struct conf_form_consent *consent)
{
	jo_object(out);
	jo_key(out, STR("purpose"));
	jo_str(out, consent->purpose);
	if (consent->channel_count) {
		jo_key(out, STR("channels"));
		jo_array(out);
		for (size_t i = 0; i < consent->channel_count; i++) jo_str(out, consent->channels[i]);
		jo_end_array(out);
	}
	write_text(out, STR("text"), consent->text);
	jo_key(out, STR("version"));
	jo_uint(out, consent->version);
	jo_key(out, STR("required"));
	jo_bool(out, consent->is_required);
	jo_end_object(out);
}

static void write_rules(struct json_out *out, const struct conf_form *form)
{
	jo_key(out, STR("passScore"));
	jo_uint(out, form->pass_score);
	write_conditions(out, STR("pass"), form, &form->pass);
}

int form_write_json(struct buf *text, const struct conf_form *form, bool is_full)
{
	struct json_out out;
	json_out_init(&out, text);
	jo_object(&out);
	jo_key(&out, STR("name"));
	jo_str(&out, form->name);
	jo_key(&out, STR("version"));
	jo_uint(&out, form->version);
	jo_key(&out, STR("kind"));
	jo_str(&out, str_from(form_kind_name(form->kind)));
	write_text(&out, STR("title"), form->title);
	jo_key(&out, STR("questions"));
	jo_array(&out);
	for (size_t i = 0; i < form->question_count; i++) write_question(&out, form, &form->questions[i], is_full);
	jo_end_array(&out);
	jo_key(&out, STR("consents"));
	jo_array(&out);
	for (size_t i = 0; i < form->consent_count; i++) write_consent(&out, &form->consents[i]);
	jo_end_array(&out);
	if (is_full) write_rules(&out, form);
	jo_end_object(&out);
	return out.status;
}

int form_write_question_json(struct buf *text, const struct conf_form *form, const struct conf_question *question)
{
	struct json_out out;
	json_out_init(&out, text);
	write_question(&out, form, question, false);
	return out.status;
}
