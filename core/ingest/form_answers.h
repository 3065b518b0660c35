/* form_answers: what a person answered, judged by the form's definition. Pure: it knows no request, no store and no clock.
 *
 * A response is looked at together with what is known of the person already (their declared traits), so that a form may be
 * answered in parts: conditions, scores and what is still missing are those of both together. */
#pragma once

#include "base/json.h"
#include "base/problem.h"
#include "config/form.h"

enum answer_state { ANSWER_NONE, ANSWER_GIVEN, ANSWER_REFUSED, ANSWER_CLEARED /* preferences: none any more */ };

struct form_answer {
	enum answer_state state;
	bool is_new;       /* told by this response, not known before */
	struct json value; /* GIVEN */
	bool applies;      /* its conditions hold */
};

/* Members that were not given have is_… false. Everything borrows. */
struct form_response {
	const struct conf_form *form;
	uint32_t version; /* 0: not said */
	bool is_partial;
	const char *place; /* the body's member that holds the answers, for pointers; NULL: "answers" */
	bool has_answers, has_refused, has_consents;
	struct json answers, refused, consents; /* as sent: any type */
	/* question → value, and question → true; objects. */
	bool has_known;
	struct json known, known_refused;
};

struct form_verdict {
	uint32_t version;            /* that was answered */
	struct form_answer *answers; /* one for each question */
	bool *consents;              /* one for each of the form's: given; meaningful where is_consent_told */
	bool *is_consent_told;
	bool is_complete; /* every required question that applies is answered */
	bool has_result;  /* score and passed are final enough to tell */
	uint32_t score;
	bool is_passed;
	size_t new_count; /* answers, refusals and consents told by this response */

	/* When refused. */
	struct str pointer, message; /* in the arena */
	bool is_version_wrong;
};

/* OK; ERR_INVALID with pointer and message, which name the question; ERR_NOMEM. */
MUST_USE int form_judge(const struct form_response *response, struct arena *arena, struct form_verdict *out);
/* Indexes of the questions to ask next, in the form's order: they apply, were never answered and never refused. `known` NULL: nothing is.
 * `out` holds `max`. */
MUST_USE int form_next(const struct conf_form *form, const struct json *known, const struct json *known_refused,
		       struct arena *arena, size_t max, size_t *out, size_t *count);

struct form_person { /* who answers; empty: not said */
	struct str user_id, anonymous_id;
	struct str token_id; /* of a single-use person token, 32 hex digits */
	int64_t token_expires;
	bool tells_consents; /* purposes are configured: consents given with the form are acts of consent */
	struct str ref;      /* whose they are; empty: a person token tells */
};
#define FORM_PERSON_NONE \
	((struct form_person){.user_id = STR_NONE, .anonymous_id = STR_NONE, .token_id = STR_NONE, .ref = STR_NONE})
/* The body of DIALECT_DECLARED: {"message":…,"consents":[…]}. The message is a track "Form Answered" whose traits are declared,
 * each with its provenance in the properties; the consents are statements as POST /v1/consents takes them. `response_id` empty: not
 * idempotent. */
MUST_USE int form_write_message(struct buf *out, const struct form_response *response,
				const struct form_verdict *verdict, const struct form_person *person,
				struct str response_id, struct str sent_at);
#define FORM_EVENT STR("Form Answered")
