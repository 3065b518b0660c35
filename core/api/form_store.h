/* form_store: the forms that were made over the API, in `state/forms` of the data directory: one file for each version of each form,
 * `<name>.<version>.json`, written once, whole (beside, fsynced, renamed, the folder fsynced) and never changed. The highest version counts; that
 * a form was deleted is a version too, so that no number is ever given twice. The last FORM_VERSIONS_KEPT of each form are kept.
 *
 * A set holds the newest version of each; it is immutable, shared, and swapped whole with what a reload swaps (struct live). */
#pragma once

#include "config/stored_form.h"

#define FORM_STORED_MAX    1000 /* names, deleted ones included */
#define FORM_VERSIONS_KEPT 50

struct form_set {
	atomic_uint references;
	struct stored_form **items; /* ordered by name */
	size_t count;
};

/* Reads and compiles what lies there; none when there is no such folder. ERR_INVALID: a file cannot be read as a form, a form does not fit the
 * configuration, or has the name of one of its forms: *errors is malloc'd text, a complaint a line, or NULL. ERR_REFUSED: the folder may not be
 * read by us; ERR_NOMEM, ERR_IO. */
MUST_USE int form_set_load(struct str store_path, const struct config *config, struct form_set **out, char **errors);
struct form_set *form_set_ref(struct form_set *set);
void form_set_unref(struct form_set *set);
/* The newest version, deleted or not; NULL: the name was never used. Borrowed. */
struct stored_form *form_set_find(const struct form_set *set, struct str name);
/* The same that can be answered: not a deleted one. */
struct stored_form *form_set_form(const struct form_set *set, struct str name);
/* A set with `form` in the place of what had its name. ERR_FULL: too many; ERR_NOMEM. */
MUST_USE int form_set_with(const struct form_set *set, struct stored_form *form, struct form_set **out);

/* Durable when it returns OK. Whoever writes holds the lock of forms. ERR_IO, ERR_FULL, ERR_NOMEM. */
MUST_USE int form_store_write(struct str store_path, const struct stored_form *form);
/* One version as it lies on disk: a JSON object with name, version, deleted, createdAt, changedAt, changedBy, definition. ERR_NOT_FOUND. */
MUST_USE int form_store_read(struct str store_path, struct str name, uint32_t version, struct buf *out);
/* The versions on disk, rising. */
MUST_USE int form_store_versions(struct str store_path, struct str name, struct arena *arena, uint32_t **out,
				 size_t *count);
