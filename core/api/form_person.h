/* form_person: the person behind a form's answers, and what that person has told us before. */
#pragma once

#include "api/internal.h"
#include "config/form.h"
#include "ingest/form_answers.h"

struct form_known {
	bool is_found;
	struct json_reader *reader;   /* owns the two objects below; NULL: none */
	struct json answers, refused; /* question → value, question → true */
	struct profile profile;       /* in the arena; traits with losers */
};

/* The user or visitor that a reference names: by itself when it is one, else as the profile's strongest. OK; ERR_NOT_FOUND: nobody is
 * known by it, or only by identifiers that an event cannot carry; ERR_INVALID: no reference. Texts live in `arena`. */
MUST_USE int form_person_resolve(struct api_worker *worker, struct str ref, struct arena *arena,
				 struct form_person *out);
/* The reference that a user or visitor is read by; empty when the configuration has no such namespace. */
MUST_USE int form_person_ref(const struct config *config, const struct form_person *person, struct arena *arena,
			     struct str *ref);
/* What `ref` has answered of this form and not taken back; nobody there is no error. form_known_free it. */
MUST_USE int form_known_read(struct api_worker *worker, struct str ref, const struct conf_form *form,
			     struct arena *arena, struct form_known *out);
void form_known_free(struct form_known *known);
