#include "ingest/form_answers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define STEP_SLACK 1e-9 /* of a step: decimals such as 0.1 are not exact in binary */

struct judging {
	const struct form_response *response;
	const struct conf_form *form;
	const char *place;
	struct arena *arena;
	struct form_verdict *out;
};

/* ── saying no ─────────────────────────────────────────────────────────────── */

static int refuse(struct judging *j, const char *place, struct str name, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Always an error. Names that a peer sized are cut. */
static int refuse(struct judging *j, const char *place, struct str name, const char *fmt, ...)
{
	char what[512];
	va_list args;
	if (name.len > 64) name.len = 64;
	va_start(args, fmt);
	(void)vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	int rc = arena_printf(j->arena, &j->out->pointer, "/%s%s%.*s", place, name.len ? "/" : "", STR_ARG(name));
	if (rc == OK)
		rc = arena_printf(j->arena, &j->out->message, "%.*s%s%s", STR_ARG(name), name.len ? ": " : "", what);
	return rc == OK ? ERR_INVALID : rc;
}

static int refuse_answer(struct judging *j, const struct conf_question *question, const char *what)
{
	return refuse(j, j->place, question->id, "%s", what);
}

/* ── one value ─────────────────────────────────────────────────────────────── */

static int canonical(struct judging *j, struct json value, struct str *out)
{
	struct buf text;
	buf_init(&text, 4096);
	int rc = json_write_canonical(&text, value);
	if (rc == OK) rc = arena_str(j->arena, buf_str(&text), out);
	buf_fini(&text);
	return rc;
}

static bool is_scalar(struct json value)
{
	enum json_type type = json_type(value);
	return type != JSON_OBJECT && type != JSON_ARRAY && type != JSON_NULL;
}

static int refuse_option(struct judging *j, const struct conf_question *question)
{
	char list[300];
	size_t len = 0;
	for (size_t i = 0; i < question->option_count && len < sizeof list - 80; i++) {
		struct str json = question->options[i].json;
		int n = snprintf(list + len, sizeof list - len, "%s%.*s", i ? ", " : "",
				 json.len < 60 ? (int)json.len : 60, json.ptr);
		len += (size_t)n < sizeof list - len ? (size_t)n : 0;
	}
	return refuse(j, j->place, question->id, "must be one of %.*s", (int)len, list);
}

static int check_option(struct judging *j, const struct conf_question *question, struct json value, size_t *index)
{
	struct str text;
	if (!is_scalar(value)) return refuse_option(j, question);
	int rc = canonical(j, value, &text);
	if (rc == ERR_TOO_LARGE) return refuse_option(j, question);
	if (rc != OK) return rc;
	for (*index = 0; *index < question->option_count; ++*index)
		if (str_eq(question->options[*index].json, text)) return OK;
	return refuse_option(j, question);
}

static int check_single(struct judging *j, const struct conf_question *question, struct json value)
{
	size_t index;
	return check_option(j, question, value, &index);
}

static int check_multiple(struct judging *j, const struct conf_question *question, struct json value)
{
	bool seen[FORM_OPTIONS_MAX] = {false};
	struct json_iter it;
	struct json element;
	size_t count = 0, index = 0;
	if (json_type(value) != JSON_ARRAY) return refuse_answer(j, question, "must be a list of options");
	json_iter_start(value, &it);
	while (json_next_element(&it, &element)) {
		int rc = check_option(j, question, element, &index);
		if (rc != OK) return rc;
		if (seen[index]) return refuse_answer(j, question, "names an option twice");
		seen[index] = true;
		count++;
	}
	if (question->max_choices && count > question->max_choices)
		return refuse(j, j->place, question->id, "at most %u options", (unsigned)question->max_choices);
	if (count == 0 && question->is_required) return refuse_answer(j, question, "at least one option is required");
	return OK;
}

static int refuse_range(struct judging *j, const struct conf_question *q, const char *what)
{
	if (q->has_min && q->has_max)
		return refuse(j, j->place, q->id, "must be %s from %.*s to %.*s", what, STR_ARG(q->min_text),
			      STR_ARG(q->max_text));
	return refuse(j, j->place, q->id, "must be %s %s %.*s", what, q->has_min ? "of at least" : "of at most",
		      STR_ARG(q->has_min ? q->min_text : q->max_text));
}

static bool is_in_range(const struct conf_question *q, double number)
{
	return (!q->has_min || number >= q->min) && (!q->has_max || number <= q->max);
}

static bool is_on_step(const struct conf_question *q, double number)
{
	double steps = (number - (q->has_min ? q->min : 0)) / q->step;
	return fabs(steps - nearbyint(steps)) < STEP_SLACK;
}

static int check_number(struct judging *j, const struct conf_question *question, struct json value)
{
	double number;
	if (!json_double(value, &number)) return refuse_answer(j, question, "must be a number");
	if (!is_in_range(question, number)) return refuse_range(j, question, "a number");
	if (question->has_step && !is_on_step(question, number))
		return refuse_answer(j, question, "lies between two steps");
	return OK;
}

static int check_text(struct judging *j, const struct conf_question *question, struct json value)
{
	struct str text;
	if (!json_str(value, &text)) return refuse_answer(j, question, "must be a text");
	if (text.len > question->max_length)
		return refuse(j, j->place, question->id, "at most %u bytes", (unsigned)question->max_length);
	if (memchr(text.ptr, '\0', text.len)) return refuse_answer(j, question, "holds a NUL");
	return OK;
}

static int check_date(struct judging *j, const struct conf_question *question, struct json value)
{
	struct str text;
	int64_t days;
	if (!json_str(value, &text) || !date_parse(text, &days))
		return refuse_answer(j, question, "must be a date such as 2026-11-21");
	return is_in_range(question, (double)days) ? OK : refuse_range(j, question, "a date");
}

static bool is_hour(struct json object, struct str key)
{
	struct json value;
	struct str t;
	if (!json_get(object, key, &value) || !json_str(value, &t) || t.len != 5 || t.ptr[2] != ':') return false;
	for (size_t i = 0; i < t.len; i++)
		if (i != 2 && (t.ptr[i] < '0' || t.ptr[i] > '9')) return false;
	int hour = (t.ptr[0] - '0') * 10 + t.ptr[1] - '0';
	return hour < 24 && t.ptr[3] < '6';
}

static int check_hours(struct judging *j, const struct conf_question *question, struct json value)
{
	bool is_fine = json_type(value) == JSON_OBJECT && json_count(value) == 2 && is_hour(value, STR("from")) &&
		       is_hour(value, STR("to"));
	return is_fine ? OK : refuse_answer(j, question, "must be hours such as {\"from\":\"22:00\",\"to\":\"07:00\"}");
}

static int check_value(struct judging *j, const struct conf_question *question, struct json value)
{
	switch (question->type) {
	case QUESTION_SINGLE: return check_single(j, question, value);
	case QUESTION_MULTIPLE: return check_multiple(j, question, value);
	case QUESTION_SCALE:
	case QUESTION_NUMBER: return check_number(j, question, value);
	case QUESTION_TEXT: return check_text(j, question, value);
	case QUESTION_DATE: return check_date(j, question, value);
	case QUESTION_HOURS: return check_hours(j, question, value);
	}
	check_failed("every type of question is checked", __FILE__, __LINE__);
}

/* ── the answers of a response ─────────────────────────────────────────────── */

static bool is_refusal(struct json value)
{
	struct json refused;
	bool yes;
	return json_type(value) == JSON_OBJECT && json_get(value, STR("refused"), &refused) &&
	       json_bool(refused, &yes) && yes;
}

static bool is_empty(struct json value)
{
	struct str text;
	return json_type(value) == JSON_NULL || (json_str(value, &text) && text.len == 0);
}

static int refuse_unknown(struct judging *j, const char *place, struct str id)
{
	const char *ids[FORM_QUESTIONS_MAX];
	for (size_t i = 0; i < j->form->question_count; i++) ids[i] = j->form->questions[i].id.ptr;
	const char *near = id.len <= 64 ? str_nearest(id, ids, j->form->question_count) : NULL;
	return refuse(j, place, id, "there is no such question%s%s%s", near ? ", did you mean '" : "", near ? near : "",
		      near ? "'?" : "");
}

static void set_answer(struct judging *j, size_t index, enum answer_state state, struct json value)
{
	j->out->answers[index] = (struct form_answer){.state = state, .is_new = true, .value = value};
}

static int read_answer(struct judging *j, struct str id, struct json value)
{
	size_t index = form_question_index(j->form, id);
	if (index == j->form->question_count) return refuse_unknown(j, j->place, id);
	if (j->out->answers[index].is_new) return refuse(j, j->place, id, "is answered twice");
	if (is_refusal(value)) {
		set_answer(j, index, ANSWER_REFUSED, value);
		return OK;
	}
	if (is_empty(value)) {
		if (j->form->kind == FORM_PREFERENCES) set_answer(j, index, ANSWER_CLEARED, value);
		return OK;
	}
	int rc = check_value(j, &j->form->questions[index], value);
	if (rc == OK) set_answer(j, index, ANSWER_GIVEN, value);
	return rc;
}

static int read_answers(struct judging *j)
{
	struct json_iter it;
	struct json value;
	struct str id;
	if (!j->response->has_answers || json_type(j->response->answers) == JSON_NULL) return OK;
	if (json_type(j->response->answers) != JSON_OBJECT)
		return refuse(j, j->place, STR_NONE, "must be an object: question → answer");
	json_iter_start(j->response->answers, &it);
	while (json_next_member(&it, &id, &value)) {
		int rc = read_answer(j, id, value);
		if (rc != OK) return rc;
	}
	return OK;
}

static int read_refused(struct judging *j)
{
	struct json_iter it;
	struct json value;
	struct str id;
	if (!j->response->has_refused || json_type(j->response->refused) == JSON_NULL) return OK;
	if (json_type(j->response->refused) != JSON_ARRAY)
		return refuse(j, "refused", STR_NONE, "must be a list of questions");
	json_iter_start(j->response->refused, &it);
	while (json_next_element(&it, &value)) {
		size_t index = j->form->question_count;
		if (json_str(value, &id)) index = form_question_index(j->form, id);
		if (index == j->form->question_count)
			return json_str(value, &id) ? refuse_unknown(j, "refused", id)
						    : refuse(j, "refused", STR_NONE, "must be a list of questions");
		if (j->out->answers[index].is_new && j->out->answers[index].state != ANSWER_REFUSED)
			return refuse(j, "refused", id, "is answered and refused");
		set_answer(j, index, ANSWER_REFUSED, value);
	}
	return OK;
}

/* ── together with what is known ───────────────────────────────────────────── */

static void add_known(const struct conf_form *form, struct json known, struct json known_refused,
		      struct form_answer *answers)
{
	struct json value;
	for (size_t i = 0; i < form->question_count; i++) {
		if (answers[i].is_new) continue;
		if (json_get(known, form->questions[i].id, &value))
			answers[i] = (struct form_answer){.state = ANSWER_GIVEN, .value = value};
		else if (json_get(known_refused, form->questions[i].id, &value))
			answers[i] = (struct form_answer){.state = ANSWER_REFUSED, .value = value};
	}
}

static int text_is_in(struct arena *arena, struct json value, const struct str *values, size_t count, bool *out)
{
	struct judging j = {.arena = arena};
	struct str text;
	*out = false;
	if (!is_scalar(value)) return OK;
	int rc = canonical(&j, value, &text);
	if (rc != OK) return rc == ERR_TOO_LARGE ? OK : rc;
	for (size_t i = 0; i < count && !*out; i++) *out = str_eq(values[i], text);
	return OK;
}

/* A list of choices is in the values when one of them is. */
static int value_is_in(struct arena *arena, struct json value, const struct str *values, size_t count, bool *out)
{
	struct json_iter it;
	struct json element;
	if (json_type(value) != JSON_ARRAY) return text_is_in(arena, value, values, count, out);
	*out = false;
	json_iter_start(value, &it);
	while (!*out && json_next_element(&it, &element)) {
		int rc = text_is_in(arena, element, values, count, out);
		if (rc != OK) return rc;
	}
	return OK;
}

static int condition_holds(const struct form_condition *condition, const struct form_answer *answers,
			   struct arena *arena, bool *out)
{
	const struct form_answer *answer = &answers[condition->question];
	bool is_given = answer->state == ANSWER_GIVEN;
	double number;
	*out = false;
	switch (condition->kind) {
	case FORM_TEST_ANSWERED: *out = is_given == condition->is_answered; return OK;
	case FORM_TEST_IN:
		if (!is_given) return OK;
		return value_is_in(arena, answer->value, condition->values, condition->value_count, out);
	case FORM_TEST_AT_LEAST:
		*out = is_given && json_double(answer->value, &number) && number >= condition->number;
		return OK;
	case FORM_TEST_AT_MOST:
		*out = is_given && json_double(answer->value, &number) && number <= condition->number;
		return OK;
	}
	check_failed("every kind of condition is decided", __FILE__, __LINE__);
}

static int conditions_hold(const struct form_conditions *conditions, const struct form_answer *answers,
			   struct arena *arena, bool *out)
{
	*out = true;
	for (size_t i = 0; i < conditions->count && *out; i++) {
		int rc = condition_holds(&conditions->items[i], answers, arena, out);
		if (rc != OK) return rc;
	}
	return OK;
}

/* An answer known from before to a question that no longer applies counts for nothing. */
static int decide_applies(const struct conf_form *form, struct form_answer *answers, struct arena *arena)
{
	for (size_t i = 0; i < form->question_count; i++) {
		int rc = conditions_hold(&form->questions[i].conditions, answers, arena, &answers[i].applies);
		if (rc != OK) return rc;
		if (!answers[i].applies && !answers[i].is_new) answers[i].state = ANSWER_NONE;
	}
	return OK;
}

static int check_question(struct judging *j, const struct conf_question *question, const struct form_answer *answer)
{
	if (answer->is_new && !answer->applies)
		return refuse_answer(j, question, "is not asked after the answers before it");
	if (!answer->applies || !question->is_required || answer->state == ANSWER_GIVEN) return OK;
	j->out->is_complete = false;
	if (j->response->is_partial) return OK;
	return refuse_answer(j, question,
			     answer->state == ANSWER_REFUSED ? "is required and cannot be refused"
							     : "an answer is required");
}

static int check_questions(struct judging *j)
{
	bool is_settled = true;
	j->out->is_complete = true;
	for (size_t i = 0; i < j->form->question_count; i++) {
		const struct form_answer *answer = &j->out->answers[i];
		int rc = check_question(j, &j->form->questions[i], answer);
		if (rc != OK) return rc;
		if (answer->applies && answer->state == ANSWER_NONE) is_settled = false;
		j->out->new_count += answer->is_new;
	}
	j->out->has_result = !j->response->is_partial || is_settled;
	return OK;
}

/* ── consents ──────────────────────────────────────────────────────────────── */

static int read_consent(struct judging *j, struct str purpose, struct json value)
{
	bool is_given;
	size_t i = 0;
	while (i < j->form->consent_count && !str_eq(j->form->consents[i].purpose, purpose)) i++;
	if (i == j->form->consent_count) return refuse(j, "consents", purpose, "this form does not ask for that");
	if (!json_bool(value, &is_given)) return refuse(j, "consents", purpose, "must be true or false");
	j->out->consents[i] = is_given;
	j->out->is_consent_told[i] = true;
	j->out->new_count++;
	return OK;
}

static int read_consents(struct judging *j)
{
	struct json_iter it;
	struct json value;
	struct str purpose;
	if (j->response->has_consents && json_type(j->response->consents) != JSON_NULL) {
		if (json_type(j->response->consents) != JSON_OBJECT)
			return refuse(j, "consents", STR_NONE, "must be an object: purpose → true or false");
		json_iter_start(j->response->consents, &it);
		while (json_next_member(&it, &purpose, &value)) {
			int rc = read_consent(j, purpose, value);
			if (rc != OK) return rc;
		}
	}
	for (size_t i = 0; i < j->form->consent_count && !j->response->is_partial; i++)
		if (j->form->consents[i].is_required && !j->out->consents[i])
			return refuse(j, "consents", j->form->consents[i].purpose, "is required");
	return OK;
}

/* ── scores ────────────────────────────────────────────────────────────────── */

static int is_correct(const struct conf_question *question, const struct form_answer *answer, struct arena *arena,
		      bool *out)
{
	struct json_iter it;
	struct json element;
	*out = false;
	if (answer->state != ANSWER_GIVEN || question->correct_count == 0) return OK;
	if (question->type != QUESTION_MULTIPLE)
		return value_is_in(arena, answer->value, question->correct_json, question->correct_count, out);
	if (json_count(answer->value) != question->correct_count) return OK;
	*out = true;
	json_iter_start(answer->value, &it);
	while (*out && json_next_element(&it, &element)) {
		int rc = text_is_in(arena, element, question->correct_json, question->correct_count, out);
		if (rc != OK) return rc;
	}
	return OK;
}

static int judge_result(struct judging *j)
{
	bool is_right;
	if (!j->out->has_result) return OK;
	for (size_t i = 0; i < j->form->question_count; i++) {
		int rc = is_correct(&j->form->questions[i], &j->out->answers[i], j->arena, &is_right);
		if (rc != OK) return rc;
		if (is_right) j->out->score += j->form->questions[i].points;
	}
	int rc = conditions_hold(&j->form->pass, j->out->answers, j->arena, &j->out->is_passed);
	j->out->is_passed = j->out->is_passed && j->out->is_complete && j->out->score >= j->form->pass_score;
	return rc;
}

/* ── the whole ─────────────────────────────────────────────────────────────── */

static int check_version(struct judging *j)
{
	const struct conf_form *form = j->form;
	uint32_t version = j->response->version ? j->response->version : form->version;
	uint32_t since = form->accepts_since ? form->accepts_since : form->version;
	j->out->version = version;
	if (version >= since && version <= form->version) return OK;
	j->out->is_version_wrong = true;
	return refuse(j, "version", STR_NONE, "the form is at version %u, read it anew", (unsigned)form->version);
}

static int check_known(struct judging *j)
{
	if (j->response->has_known) add_known(j->form, j->response->known, j->response->known_refused, j->out->answers);
	return decide_applies(j->form, j->out->answers, j->arena);
}

static int check_not_empty(struct judging *j)
{
	return j->out->new_count ? OK : refuse(j, j->place, STR_NONE, "there is no answer");
}

static int (*const steps[])(struct judging *) = {check_version,   read_answers,  read_refused,    check_known,
						 check_questions, read_consents, check_not_empty, judge_result};

int form_judge(const struct form_response *response, struct arena *arena, struct form_verdict *out)
{
	const struct conf_form *form = response->form;
	struct judging j = {.response = response,
			    .form = form,
			    .place = response->place ? response->place : "answers",
			    .arena = arena,
			    .out = out};
	*out = (struct form_verdict){.pointer = STR_NONE, .message = STR_NONE};
	out->answers = arena_array(arena, struct form_answer, form->question_count + 1);
	out->consents = arena_array(arena, bool, form->consent_count + 1);
	out->is_consent_told = arena_array(arena, bool, form->consent_count + 1);
	if (!out->answers || !out->consents || !out->is_consent_told) return ERR_NOMEM;
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		int rc = steps[i](&j);
		if (rc != OK) return rc;
	}
	return OK;
}

int form_next(const struct conf_form *form, const struct json *known, const struct json *known_refused,
	      struct arena *arena, size_t max, size_t *out, size_t *count)
{
	struct form_answer *answers = arena_array(arena, struct form_answer, form->question_count + 1);
	*count = 0;
	if (!answers) return ERR_NOMEM;
	if (known) add_known(form, *known, *known_refused, answers);
	int rc = decide_applies(form, answers, arena);
	for (size_t i = 0; rc == OK && i < form->question_count && *count < max; i++)
		if (answers[i].applies && answers[i].state == ANSWER_NONE) out[(*count)++] = i;
	return rc;
}
