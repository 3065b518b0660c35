/* form_body: the fields of an HTML form, as browsers and mail clients send them, as the JSON body of a form's response. Fields are texts; the
 * form's definition says what each stands for.
 *
 * A field is named like its question (given several times: several choices), `consent.<purpose>`, `refused`, or like a member of the body
 * (token, version, partial, responseId). Empty fields are no answer. Fields that nobody knows are taken for questions, so that they are refused by name. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "config/form.h"

#define FORM_FIELDS_MAX 500

struct form_field {
	struct str name, value;
};

/* application/x-www-form-urlencoded or multipart/form-data, by `content_type`. Fields live in the arena or borrow from the body. ERR_INVALID:
 * neither, or malformed; ERR_TOO_LARGE: more than FORM_FIELDS_MAX fields; ERR_NOMEM. */
MUST_USE int form_fields_parse(struct str content_type, struct str body, struct arena *arena,
			       struct form_field **fields, size_t *count);
/* ERR_TOO_LARGE, ERR_NOMEM. */
MUST_USE int form_fields_write(struct buf *out, const struct conf_form *form, const struct form_field *fields,
			       size_t count);
