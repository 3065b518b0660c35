/* form: what people are asked: forms, quizzes, polls, entry questionnaires and the preference centre, as defined in `forms:`,
 * in the file that `forms_file:` names, and in `preferences:`. Made once at load, immutable like the config it lives in.
 *
 * Values of options and conditions are kept as canonical JSON text, so that an answer equals one when their texts are equal. */
#pragma once

#include "config/config.h"

#define FORMS_MAX          500
#define FORM_QUESTIONS_MAX 100
#define FORM_OPTIONS_MAX   500
#define FORM_TEXT_MAX      8000 /* bytes of one text answer, at most */

enum form_kind { FORM_FORM, FORM_QUIZ, FORM_POLL, FORM_PREFERENCES, FORM_ENTRY };
const char *form_kind_name(enum form_kind kind);

enum form_results { FORM_RESULTS_PRIVATE, FORM_RESULTS_PUBLIC /* GET …/results needs no token */ };

enum question_type {
	QUESTION_SINGLE,
	QUESTION_MULTIPLE,
	QUESTION_SCALE,
	QUESTION_TEXT,
	QUESTION_DATE,
	QUESTION_NUMBER,
	QUESTION_HOURS /* {"from":"22:00","to":"07:00"} */
};
const char *question_type_name(enum question_type type);

struct conf_option {
	const struct node *value, *label;
	struct str json;
};

enum form_test { FORM_TEST_IN, FORM_TEST_AT_LEAST, FORM_TEST_AT_MOST, FORM_TEST_ANSWERED };

struct form_condition { /* over one answer; one of several choices is enough */
	size_t question;
	enum form_test kind;
	struct str *values; /* IN */
	size_t value_count;
	double number;    /* AT_LEAST, AT_MOST */
	bool is_answered; /* ANSWERED: wanted or not */
};
struct form_conditions { /* all must hold */
	struct form_condition *items;
	size_t count;
};

struct conf_question {
	struct str id; /* [a-z0-9_]{1,64} */
	enum question_type type;
	const struct node *text, *help, *labels;
	struct conf_option *options; /* single, multiple */
	size_t option_count;
	bool is_required;
	struct str trait;   /* that the answer becomes */
	struct str refusal; /* the trait that remembers that it was refused: "<trait>.refused" */
	int64_t expires_us; /* of an answer; 0: never */
	struct str min_text, max_text, step_text;
	double min, max, step; /* scale, number; days since 1970 for dates */
	bool has_min, has_max, has_step;
	uint32_t max_length;  /* text, in bytes */
	uint32_t max_choices; /* multiple; 0: all */
	const struct node *when, *correct;
	struct form_conditions conditions;
	struct str *correct_json; /* any of them (single …), exactly them (multiple) */
	size_t correct_count;
	uint32_t points;
	int line;
	struct str json; /* as the form's JSON shows it */
};

struct conf_form_consent { /* asked together with the questions */
	struct str purpose;
	struct str *channels;
	size_t channel_count;
	const struct node *text;
	uint32_t version;
	bool is_required;
};

struct conf_form {
	struct str name; /* [a-z0-9_-]{1,64} */
	uint32_t version;
	uint32_t accepts_since; /* oldest version that responses may still be to; 0: only `version` */
	enum form_kind kind;
	enum form_results results;
	const struct node *title;
	struct conf_question *questions;
	size_t question_count;
	struct conf_form_consent *consents;
	size_t consent_count;
	uint32_t pass_score; /* with pass.score; 0: none */
	const struct node *pass_require;
	struct form_conditions pass;
	int line;

	/* Made by forms_check. */
	struct str file;          /* where it stands */
	struct str json;          /* what GET /v1/forms/{name} shows */
	struct str etag;          /* of that, with its quotes */
	struct str fingerprint;   /* everything that it is, correct answers too */
	struct str passed, score; /* traits "<name>.passed" and "<name>.score" */
	bool has_pass, has_score; /* does it decide; are there correct answers */
};

const struct conf_form *config_form(const struct config *config, struct str name); /* or NULL */
size_t form_question_index(const struct conf_form *form, struct str id);           /* question_count: there is none */

/* A form may change only with a higher version: else nobody could tell what an answer answered. False: *text says what is wrong,
 * malloc'd (NULL without memory). */
MUST_USE bool forms_may_follow(const struct config *running, const struct config *next, char **text);

/* "2026-11-21" as days since 1970-01-01. */
bool date_parse(struct str text, int64_t *days);
/* -12, 0.5: JSON's plain numbers, finite, without exponent. */
bool decimal_parse(struct str text, double *out);
