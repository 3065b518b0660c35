/* Definitions of forms: what loads means what it says, what does not is refused with its line. */
#include "config/config_file.h"
#include "config/form.h"

static int setup(void **state)
{
	(void)state;
	return config_folder_make("f.yaml");
}

#define HEAD "forms:\n- name: f\n  questions:\n"

static void a_form_means_what_it_says(void **state)
{
	(void)state;
	const struct config *c = config_loaded(
	    HEAD "  - {id: a, type: single, text: A?, options: [1, \"1\", yes, true, 2.50], trait: x, expires: 180d}\n"
		 "  - {id: b, type: scale, text: {en: B, fr: C}, min: 0, max: 1, step: 0.1, labels: {0: no}}\n"
		 "  - {id: d, type: date, text: D, min: 1970-01-11, when: [{question: a, in: [1, true]}, {question: b, "
		 "at_least: 0.5}]}\n");
	const struct conf_form *form = config_form(c, STR("f"));
	assert_non_null(form);
	assert_int_equal(form->question_count, 3);
	const struct conf_question *a = &form->questions[0], *b = &form->questions[1], *d = &form->questions[2];
	assert_str(a->options[0].json, "1");
	assert_str(a->options[1].json, "\"1\"");
	assert_str(a->options[2].json, "\"yes\"");
	assert_str(a->options[3].json, "true");
	assert_str(a->options[4].json, "2.5");
	assert_str(a->trait, "x");
	assert_str(a->refusal, "x.refused");
	assert_true(a->expires_us == INT64_C(180) * 86400 * 1000000);
	assert_str(b->trait, "f.b");
	assert_true(b->has_step && b->step == 0.1 && b->max == 1);
	assert_true(d->has_min && d->min == 10 && !d->has_max);
	assert_int_equal(d->conditions.count, 2);
	assert_int_equal(d->conditions.items[1].kind, FORM_TEST_AT_LEAST);
	assert_int_equal(form_question_index(form, STR("d")), 2);
	assert_int_equal(form_question_index(form, STR("z")), 3);
	assert_non_null(strstr(form->json.ptr, "\"text\":{\"en\":\"B\",\"fr\":\"C\"}"));
	assert_null(strstr(form->json.ptr, "expires"));
	assert_null(config_form(c, STR("g")));
	config_unref(c);
}

static void wrong_ones_name_their_line(void **state)
{
	(void)state;
	static const struct {
		const char *question, *why;
	} cases[] = {
	    {"{id: a, type: single, text: A}", "c.yaml:4: form 'f', question 'a': type single needs 'options'"},
	    {"{id: a, type: text, text: A, options: [b]}", "type text takes no 'options'"},
	    {"{id: a, type: sing, text: A}", "did you mean 'single'"},
	    {"{id: a, type: single, text: A, options: [b, b]}", "option \"b\" stands here twice"},
	    {"{id: a, type: single, text: A, options: [{value: [b]}]}", "an option's value must be a single value"},
	    {"{id: a, type: scale, text: A, max: 5}", "type scale needs 'min' and 'max'"},
	    {"{id: a, type: scale, text: A, min: 5, max: 1}", "min is above max"},
	    {"{id: a, type: number, text: A, step: 0}", "step must be a number above 0"},
	    {"{id: a, type: number, text: A, min: 0x10}", "'0x10' is not a number"},
	    {"{id: a, type: date, text: A, min: 11.1.1970}", "is not a date"},
	    {"{id: a, type: text, text: A, min: 3}", "type text takes no 'min'"},
	    {"{id: a, type: text, text: A, max_length: 9000}", "out of range"},
	    {"{id: a, type: text, text: {en: [x]}}", "text must be a text, or a map from language to text"},
	    {"{id: a, type: text, text: A, trait: \"b c\"}", "must be the name of a trait"},
	    {"{id: a, type: text, text: A, when: {question: a, answered: true}}", "only look at earlier questions"},
	    {"{id: a, type: text, text: A, when: {question: b, answered: true}}", "there is no question 'b'"},
	    {"{id: a, type: text, text: A, when: yes}", "a condition names a question and one test"},
	    {"{id: a, type: text, text: A, correct: x}", "only a quiz"},
	    {"{id: a, type: text, text: A}\n  - {id: a, type: text, text: A}", "id 'a' is taken"},
	    {"{id: a, type: text, text: A, trait: t}\n  - {id: b, type: text, text: B, trait: t}",
	     "trait 't' is that of question 'a'"},
	    {"{id: a, type: text, text: A, trait: f.passed}", "the form's own result"},
	    {"{id: a, type: text, text: A, requird: true}", "did you mean 'required'"},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[512];
		(void)snprintf(text, sizeof text, HEAD "  - %s\n", cases[i].question);
		config_refused(text, cases[i].why);
	}
	config_refused(HEAD "  - {id: a, type: text, text: A}\n  kind: entry\n", "needs 'pass'");
	config_refused(HEAD "  - {id: a, type: text, text: A}\n  pass: {score: 2}\n",
		       "only an entry questionnaire and a quiz");
	config_refused(HEAD "  - {id: a, type: text, text: A}\n  kind: entry\n  pass: {score: 2}\n",
		       "needs questions with 'correct'");
	config_refused(HEAD "  - {id: a, type: text, text: A}\n  version: 2\n  accepts_since: 3\n",
		       "accepts_since is above version");
	config_refused("forms: [{name: f}]\n", "needs 'questions'");
	config_refused(HEAD "  - {id: a, type: text, text: A}\n  consents: [{purpose: m, text: [x]}]\n",
		       "a consent's text must be");
	config_refused(
	    HEAD "  - {id: a, type: text, text: A}\n  consents: [{purpose: m, text: A}]\nconsent: {purposes: [n]}\n",
	    "is not one of consent.purposes");
	config_refused(
	    HEAD "  - {id: a, type: text, text: A}\n  consents: [{purpose: m, channels: [sms], text: A}]\nconsent: "
		 "{purposes: [{name: m, channels: [email]}]}\n",
	    "has no channel 'sms'");
	config_refused("amp: {senders: [news]}\n", "must be an e-mail address");
	config_refused(
	    "forms: [{name: preferences, questions: [{id: a, type: text, text: A}]}]\npreferences: {topics: [a]}\n",
	    "there is another form 'preferences'");
}

static void forms_come_from_a_file_of_their_own_too(void **state)
{
	(void)state;
	config_put(&config_beside, "forms:\n- name: g\n  questions: [{id: a, type: text, text: A}]\n");
	const struct config *c = config_loaded(HEAD "  - {id: a, type: text, text: A}\nforms_file: f.yaml\n");
	assert_non_null(config_form(c, STR("f")));
	assert_str(config_form(c, STR("g"))->file, config_beside.text);
	config_unref(c);
	config_put(&config_beside, "forms:\n- name: g\n  questions: [{id: a, type: tex, text: A}]\n");
	config_refused("forms_file: f.yaml\n", "f.yaml:3: forms[0].questions[0].type: 'tex'");
	config_put(&config_beside, "form: []\n");
	config_refused("forms_file: f.yaml\n", "f.yaml:1: unknown key 'form', did you mean 'forms'?");
	config_put(&config_beside, "forms:\n- name: f\n  questions: [{id: a, type: text, text: A}]\n");
	config_refused(HEAD "  - {id: a, type: text, text: A}\nforms_file: f.yaml\n",
		       "f.yaml:2: there is another form 'f'");
	config_refused("forms_file: none.yaml\n", "none.yaml");
	config_put(&config_beside, "");
	config_unref(config_loaded("forms_file: f.yaml\n"));
}

static void a_changed_form_needs_a_higher_version(void **state)
{
	(void)state;
	char *text;
	const struct config *one = config_loaded(HEAD "  - {id: a, type: text, text: A}\n  version: 4\n");
	const struct config *same =
	    config_loaded(HEAD "  - {text: A, type: text, id: a}\n  version: 4\n# other spelling\n");
	const struct config *changed = config_loaded(HEAD "  - {id: a, type: text, text: B}\n  version: 4\n");
	const struct config *newer = config_loaded(HEAD "  - {id: a, type: text, text: B}\n  version: 5\n");
	assert_true(forms_may_follow(one, same, &text));
	assert_true(forms_may_follow(one, newer, &text));
	assert_false(forms_may_follow(one, changed, &text));
	assert_non_null(strstr(text, "c.yaml:2: form 'f' has changed and is still version 4: give it version 5"));
	free(text);
	assert_false(forms_may_follow(newer, one, &text));
	free(text);
	config_unref(one);
	config_unref(same);
	config_unref(changed);
	config_unref(newer);
}

static void preferences_are_a_form(void **state)
{
	(void)state;
	const struct config *c =
	    config_loaded("preferences:\n  topics: [a, {value: b, label: B}]\n  quiet_hours: true\n");
	const struct conf_form *form = config_form(c, STR("preferences"));
	assert_non_null(form);
	assert_int_equal(form->kind, FORM_PREFERENCES);
	assert_int_equal(form->question_count, 2);
	assert_str(form->questions[0].trait, "preferences.topics");
	assert_int_equal(form->questions[1].type, QUESTION_HOURS);
	config_unref(c);
}

static void numbers_and_dates(void **state)
{
	(void)state;
	double number;
	int64_t days;
	static const char *const bad[] = {"",   "-",   "01", "1.",  ".5",  "1e5",
					  "+1", "0x1", "1 ", "nan", "--1", "1111111111111111111111111111111111"};
	for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(decimal_parse(str_from(bad[i]), &number));
	assert_true(decimal_parse(STR("-0.25"), &number) && number == -0.25);
	assert_true(decimal_parse(STR("100"), &number) && number == 100);
	static const char *const no_dates[] = {"",           "1970-1-01",   "1970-01-32", "1970-13-01",
					       "2023-02-29", "1970-01-01T", "1970/01/01"};
	for (size_t i = 0; i < COUNT_OF(no_dates); i++) assert_false(date_parse(str_from(no_dates[i]), &days));
	assert_true(date_parse(STR("1970-01-02"), &days) && days == 1);
	assert_true(date_parse(STR("1969-12-31"), &days) && days == -1);
	assert_true(date_parse(STR("2024-02-29"), &days));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_form_means_what_it_says),
	    cmocka_unit_test(wrong_ones_name_their_line),
	    cmocka_unit_test(forms_come_from_a_file_of_their_own_too),
	    cmocka_unit_test(a_changed_form_needs_a_higher_version),
	    cmocka_unit_test(preferences_are_a_form),
	    cmocka_unit_test(numbers_and_dates),
	};
	return cmocka_run_group_tests(tests, setup, config_folder_remove);
}
