/* stored_form: a form that was made over the API: the same definition as in YAML, as JSON, compiled by the same rules. It stands apart from
 * the configuration, so that either can change without the other; many threads share one. */
#pragma once

#include <stdatomic.h>

#include "base/json.h"
#include "config/form.h"

#define STORED_FORM_BYTES  (256u << 10) /* of a definition */
#define STORED_FORM_FAULTS 20           /* told at once */

struct form_fault {
	struct str pointer, message; /* pointer: JSON pointer into the definition */
};

struct form_about { /* what is not part of the definition */
	struct str name;
	uint32_t version;
	bool is_deleted;                /* only its number is left, so that no later form takes it again */
	int64_t created_at, changed_at; /* of its first version, of this one */
	struct str changed_by;          /* name of a token */
};

struct stored_form {
	atomic_uint references;
	struct arena arena;
	struct form_about about;
	struct conf_form form; /* unless deleted */
	struct str definition; /* JSON text without name and version; empty when deleted */
};

/* Compiles. `definition` may hold "name" (that of `about`) and "version" (ignored here: `about` says it). With one reference. ERR_INVALID: *faults
 * in `arena`, with *count; ERR_NOMEM. */
MUST_USE int stored_form_make(const struct config *config, const struct form_about *about, struct json definition,
			      struct arena *arena, struct stored_form **out, struct form_fault **faults, size_t *count);
/* A number without a form. ERR_NOMEM. */
MUST_USE int stored_form_make_deleted(const struct form_about *about, struct stored_form **out);
struct stored_form *stored_form_ref(struct stored_form *form);
void stored_form_unref(struct stored_form *form);

/* Do they ask and mean the same, versions aside? */
bool stored_form_equal(const struct stored_form *a, const struct stored_form *b);
