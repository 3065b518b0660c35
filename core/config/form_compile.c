#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "config/form_schema.h"
#include "config/read_value.h"

#define EXACT_INTEGERS   9007199254740992.0 /* 2^53 */
#define REFUSED_SUFFIX   ".refused"
#define CONSENT_TEXT_MAX 3500 /* escaped twice it still fits a proof */

/* A form while it is made. */
struct making {
	struct reading *reading;
	struct conf_form *form;
	const struct conf_question *question; /* NULL: of the form as a whole */
};

static void fault(const struct making *m, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void fault(const struct making *m, int line, const char *fmt, ...)
{
	char what[512];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	if (m->question)
		complain(m->reading->complaints, line, "form '%.*s', question '%.*s': %s", STR_ARG(m->form->name),
			 STR_ARG(m->question->id), what);
	else
		complain(m->reading->complaints, line, "form '%.*s': %s", STR_ARG(m->form->name), what);
}

static void no_memory(const struct making *m)
{
	m->reading->complaints->status = ERR_NOMEM;
}

/* ── values ────────────────────────────────────────────────────────────────── */

bool decimal_parse(struct str text, double *out)
{
	char copy[32];
	size_t i = text.len && text.ptr[0] == '-', first = i, digits = 0;
	if (text.len >= sizeof copy) return false;
	while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9') i++, digits++;
	if (digits == 0 || (digits > 1 && text.ptr[first] == '0')) return false;
	if (i < text.len) {
		if (text.ptr[i++] != '.' || i == text.len) return false;
		while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9') i++;
	}
	if (i != text.len) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	return sscanf(copy, "%lf", out) == 1; /* NOLINT(cert-err34-c): its form and length were checked */
}

bool date_parse(struct str text, int64_t *days)
{
	char whole[16];
	int64_t us;
	int16_t offset;
	for (size_t i = 0; i < text.len; i++) {
		bool is_dash = i == 4 || i == 7;
		if (is_dash != (text.ptr[i] == '-') || (!is_dash && (text.ptr[i] < '0' || text.ptr[i] > '9')))
			return false;
	}
	if (text.len != 10) return false;
	(void)snprintf(whole, sizeof whole, "%.10s", text.ptr);
	char at_midnight[CLOCK_TEXT_SIZE];
	int len = snprintf(at_midnight, sizeof at_midnight, "%sT00:00:00Z", whole);
	if (clock_parse(str_of(at_midnight, (size_t)len), &us, &offset) != OK) return false;
	*days = us / US_PER_DAY;
	return true;
}

static int write_scalar(struct buf *out, const struct node *node)
{
	struct json_out json;
	double number;
	json_out_init(&json, out);
	if (!node->is_quoted && decimal_parse(node->text, &number)) {
		if (trunc(number) == number && fabs(number) < EXACT_INTEGERS)
			jo_int(&json, (int64_t)number);
		else
			jo_double(&json, number);
	} else if (!node->is_quoted && (str_eq(node->text, STR("true")) || str_eq(node->text, STR("false")))) {
		jo_raw(&json, node->text);
	} else {
		jo_str(&json, node->text);
	}
	return json.status;
}

int form_scalar_json(struct arena *arena, const struct node *node, struct str *out)
{
	struct buf text;
	buf_init(&text, 64u << 10);
	int rc = write_scalar(&text, node);
	if (rc == OK) rc = arena_str(arena, buf_str(&text), out);
	buf_fini(&text);
	return rc;
}

const char *form_text_fault(const struct node *node)
{
	const char *must = "must be a text, or a map from language to text";
	if (!node) return NULL;
	if (node->kind == NODE_SCALAR) return node->text.len && node->text.len <= 2000 ? NULL : must;
	if (node->kind != NODE_MAP || node->child_count == 0) return must;
	for (const struct node *child = node->children; child; child = child->next)
		if (child->kind != NODE_SCALAR || child->text.len == 0 || child->text.len > 2000 || child->key.len > 35)
			return must;
	return NULL;
}

static void check_text(const struct making *m, const struct node *node, const char *name, int line)
{
	const char *must = form_text_fault(node);
	if (must) fault(m, node ? node->line : line, "%s %s", name, must);
}

/* ── conditions ────────────────────────────────────────────────────────────── */

static struct str *take_values(const struct making *m, const struct node *node, size_t *count)
{
	const struct node *first = node->kind == NODE_LIST ? node->children : node;
	size_t most = node->kind == NODE_LIST ? node->child_count : 1;
	struct str *values = arena_array(m->reading->arena, struct str, most + 1);
	*count = 0;
	if (!values) {
		no_memory(m);
		return NULL;
	}
	for (const struct node *at = first; at && *count < most; at = at->next) {
		if (at->kind != NODE_SCALAR)
			fault(m, at->line, "%.*s: a single value, or a list of them", STR_ARG(node->key));
		else if (form_scalar_json(m->reading->arena, at, &values[(*count)++]) != OK)
			no_memory(m);
	}
	return values;
}

static bool has_option(const struct conf_question *question, struct str json)
{
	for (size_t i = 0; i < question->option_count; i++)
		if (str_eq(question->options[i].json, json)) return true;
	return false;
}

static void check_choices(const struct making *m, const struct conf_question *of, const struct str *values,
			  size_t count, int line)
{
	for (size_t i = 0; of->option_count && i < count; i++)
		if (!has_option(of, values[i]))
			fault(m, line, "%.*s is no option of question '%.*s'", STR_ARG(values[i]), STR_ARG(of->id));
}

static void read_test(const struct making *m, const struct node *node, struct form_condition *out)
{
	bool is_number = node->kind == NODE_SCALAR && decimal_parse(node->text, &out->number);
	if (str_eq(node->key, STR("is")) || str_eq(node->key, STR("in"))) {
		out->kind = FORM_TEST_IN;
		out->values = take_values(m, node, &out->value_count);
		check_choices(m, &m->form->questions[out->question], out->values, out->value_count, node->line);
	} else if (str_eq(node->key, STR("at_least")) || str_eq(node->key, STR("at_most"))) {
		out->kind = str_eq(node->key, STR("at_least")) ? FORM_TEST_AT_LEAST : FORM_TEST_AT_MOST;
		if (!is_number) fault(m, node->line, "%.*s must be a number", STR_ARG(node->key));
	} else if (str_eq(node->key, STR("answered"))) {
		out->kind = FORM_TEST_ANSWERED;
		out->is_answered = node->kind == NODE_SCALAR && str_eq(node->text, STR("true"));
		if (!out->is_answered && (node->kind != NODE_SCALAR || !str_eq(node->text, STR("false"))))
			fault(m, node->line, "answered must be true or false");
	} else {
		static const char *const known[] = {"question", "is", "in", "at_least", "at_most", "answered"};
		char suggestion[SUGGESTION_SIZE];
		fault(m, node->line, "unknown key '%.*s' in a condition%s", STR_ARG(node->key),
		      suggest(node->key, known, COUNT_OF(known), suggestion));
	}
}

/* `before`: only questions that stand earlier may be asked about, so no condition waits for itself. */
static bool find_question(const struct making *m, const struct node *node, size_t before, size_t *out)
{
	const struct conf_form *form = m->form;
	const char *ids[FORM_QUESTIONS_MAX];
	char suggestion[SUGGESTION_SIZE];
	size_t count = form->question_count < FORM_QUESTIONS_MAX ? form->question_count : FORM_QUESTIONS_MAX;
	*out = form_question_index(form, node->text);
	if (*out < before) return true;
	for (size_t i = 0; i < count; i++) ids[i] = form->questions[i].id.ptr; /* YAML's texts end with a NUL */
	if (*out < form->question_count)
		fault(m, node->line, "a condition may only look at earlier questions, '%.*s' is not one",
		      STR_ARG(node->text));
	else
		fault(m, node->line, "there is no question '%.*s'%s", STR_ARG(node->text),
		      suggest(node->text, ids, count, suggestion));
	return false;
}

static void read_condition(const struct making *m, const struct node *node, size_t before, struct form_condition *out)
{
	const struct node *name = node->kind == NODE_MAP ? node_child(node, STR("question")) : NULL;
	if (!name || name->kind != NODE_SCALAR || node->child_count != 2) {
		fault(m, node->line, "a condition names a question and one test, such as {question: size, is: m}");
		return;
	}
	if (!find_question(m, name, before, &out->question)) return;
	read_test(m, name == node->children ? name->next : node->children, out);
}

static void read_conditions(const struct making *m, const struct node *node, size_t before, struct form_conditions *out)
{
	if (!node) return;
	const struct node *first = node->kind == NODE_LIST ? node->children : node;
	size_t most = node->kind == NODE_LIST ? node->child_count : 1;
	out->items = arena_array(m->reading->arena, struct form_condition, most + 1);
	if (!out->items) {
		no_memory(m);
		return;
	}
	for (const struct node *at = first; at && out->count < most; at = at->next)
		read_condition(m, at, before, &out->items[out->count++]);
}

/* ── questions ─────────────────────────────────────────────────────────────── */

static bool is_choice(const struct conf_question *question)
{
	return question->type == QUESTION_SINGLE || question->type == QUESTION_MULTIPLE;
}

static void make_options(const struct making *m, struct conf_question *question)
{
	if (is_choice(question) && question->option_count == 0)
		fault(m, question->line, "type %s needs 'options'", question_type_name(question->type));
	if (!is_choice(question) && question->option_count)
		fault(m, question->line, "type %s takes no 'options'", question_type_name(question->type));
	if (question->option_count > FORM_OPTIONS_MAX) fault(m, question->line, "at most %d options", FORM_OPTIONS_MAX);
	for (size_t i = 0; i < question->option_count && i < FORM_OPTIONS_MAX; i++) {
		struct conf_option *option = &question->options[i];
		option->json = STR_NONE;
		if (!option->value) continue; /* complained about already */
		if (option->value->kind != NODE_SCALAR || option->value->text.len > 255) {
			fault(m, option->value->line, "an option's value must be a single value of at most 255 bytes");
			continue;
		}
		check_text(m, option->label, "an option's label", question->line);
		if (form_scalar_json(m->reading->arena, option->value, &option->json) != OK) no_memory(m);
		for (size_t k = 0; k < i; k++)
			if (str_eq(question->options[k].json, option->json))
				fault(m, option->value->line, "option %.*s stands here twice", STR_ARG(option->json));
	}
}

static void make_bound(const struct making *m, const char *name, struct str text, double *out, bool *has)
{
	int64_t days;
	enum question_type type = m->question->type;
	bool is_date = type == QUESTION_DATE;
	*has = text.len > 0;
	if (!*has) return;
	if (!is_date && type != QUESTION_SCALE && type != QUESTION_NUMBER) {
		fault(m, m->question->line, "type %s takes no '%s'", question_type_name(type), name);
	} else if (is_date && date_parse(text, &days)) {
		*out = (double)days;
	} else if (is_date || !decimal_parse(text, out)) {
		fault(m, m->question->line, "%s: '%.*s' is not %s", name, STR_ARG(text),
		      is_date ? "a date such as 2026-11-21" : "a number");
	}
}

static void make_range(const struct making *m, struct conf_question *q)
{
	make_bound(m, "min", q->min_text, &q->min, &q->has_min);
	make_bound(m, "max", q->max_text, &q->max, &q->has_max);
	make_bound(m, "step", q->step_text, &q->step, &q->has_step);
	if (q->has_min && q->has_max && q->min > q->max) fault(m, q->line, "min is above max");
	if (q->has_step && (q->type == QUESTION_DATE || q->step <= 0))
		fault(m, q->line, "step must be a number above 0");
	if (q->type != QUESTION_SCALE) return;
	if (!q->has_min || !q->has_max) fault(m, q->line, "type scale needs 'min' and 'max'");
	if (!q->has_step) q->step = 1;
	q->has_step = true;
}

static void make_traits(const struct making *m, struct conf_question *q)
{
	struct arena *arena = m->reading->arena;
	int rc = OK;
	if (q->trait.len == 0) rc = arena_printf(arena, &q->trait, "%.*s.%.*s", STR_ARG(m->form->name), STR_ARG(q->id));
	if (rc == OK) rc = arena_printf(arena, &q->refusal, "%.*s" REFUSED_SUFFIX, STR_ARG(q->trait));
	if (rc != OK) no_memory(m);
	for (const struct conf_question *other = m->form->questions; other < q; other++)
		if (str_eq(other->trait, q->trait) || str_eq(other->refusal, q->trait) ||
		    str_eq(other->trait, q->refusal))
			fault(m, q->line, "its trait '%.*s' is that of question '%.*s'", STR_ARG(q->trait),
			      STR_ARG(other->id));
	if (str_eq(q->trait, m->form->passed) || str_eq(q->trait, m->form->score))
		fault(m, q->line, "the trait '%.*s' is the form's own result", STR_ARG(q->trait));
}

static void make_correct(const struct making *m, struct conf_question *q)
{
	if (!q->correct) return;
	m->form->has_score = true;
	if (m->form->kind != FORM_QUIZ && m->form->kind != FORM_ENTRY)
		fault(m, q->correct->line, "only a quiz and an entry questionnaire have correct answers");
	if (q->type == QUESTION_TEXT || q->type == QUESTION_HOURS)
		fault(m, q->correct->line, "type %s has no correct answer", question_type_name(q->type));
	q->correct_json = take_values(m, q->correct, &q->correct_count);
	check_choices(m, q, q->correct_json, q->correct_count, q->correct->line);
}

static void compile_question(struct making *m, struct conf_question *q, size_t index)
{
	m->question = q;
	check_text(m, q->text, "text", q->line);
	check_text(m, q->help, "help", q->line);
	for (const struct node *label = q->labels ? q->labels->children : NULL; label; label = label->next)
		check_text(m, label, "a label", label->line);
	if (q->labels && q->type != QUESTION_SCALE) fault(m, q->labels->line, "only a scale has 'labels'");
	make_options(m, q);
	make_range(m, q);
	make_traits(m, q);
	read_conditions(m, q->when, index, &q->conditions);
	make_correct(m, q);
	m->question = NULL;
}

/* ── the whole ─────────────────────────────────────────────────────────────── */

static int name_results(struct arena *arena, struct conf_form *form)
{
	int rc = arena_printf(arena, &form->passed, "%.*s.passed", STR_ARG(form->name));
	return rc == OK ? arena_printf(arena, &form->score, "%.*s.score", STR_ARG(form->name)) : rc;
}

/* All its languages go into the proof of each act. */
static void check_consent_text(const struct making *m, const struct node *node)
{
	size_t len = 0;
	check_text(m, node, "a consent's text", m->form->line);
	for (const struct node *child = node ? node->children : NULL; child; child = child->next)
		len += child->key.len + child->text.len + 16;
	if (len > CONSENT_TEXT_MAX)
		fault(m, node->line, "a consent's text has at most %d bytes, all languages together", CONSENT_TEXT_MAX);
}

static void check_pass(struct making *m)
{
	struct conf_form *form = m->form;
	form->has_pass = form->pass_score || form->pass_require;
	read_conditions(m, form->pass_require, form->question_count, &form->pass);
	if (form->kind == FORM_ENTRY && !form->has_pass) fault(m, form->line, "an entry questionnaire needs 'pass'");
	if (form->has_pass && form->kind != FORM_ENTRY && form->kind != FORM_QUIZ)
		fault(m, form->line, "only an entry questionnaire and a quiz have 'pass'");
	if (form->pass_score && !form->has_score)
		fault(m, form->line, "pass.score needs questions with 'correct' answers");
}

void form_compile(struct reading *reading, struct conf_form *form)
{
	struct making m = {.reading = reading, .form = form};
	if (name_results(reading->arena, form) != OK) {
		no_memory(&m);
		return;
	}
	if (form->title && form->title->kind == NODE_SCALAR && form->title->text.len == 0) form->title = NULL;
	check_text(&m, form->title, "title", form->line);
	if (form->accepts_since > form->version) fault(&m, form->line, "accepts_since is above version");
	if (form->question_count == 0 && form->consent_count == 0) fault(&m, form->line, "there are no questions");
	if (form->question_count > FORM_QUESTIONS_MAX) {
		fault(&m, form->line, "at most %d questions", FORM_QUESTIONS_MAX);
		return;
	}
	for (size_t i = 0; i < form->question_count; i++) compile_question(&m, &form->questions[i], i);
	for (size_t i = 0; i < form->consent_count; i++) check_consent_text(&m, form->consents[i].text);
	check_pass(&m);
}
