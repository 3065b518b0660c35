/* form_schema: the tables that read forms; their compilation from what the tables read. Inside core/config only. */
#pragma once

#include "config/form.h"
#include "config/schema.h"

struct form_file { /* what forms_file holds */
	struct conf_form *forms;
	size_t count;
};
extern const struct table form_table, form_option_table;
extern const struct table form_file_table; /* reads a struct form_file */

/* Fills in what the tables could not: conditions, ranges, names of traits. Complaints name the form and the question. */
void form_compile(struct reading *reading, struct conf_form *form);
/* That, what the configuration says of its purposes, and its texts. */
void form_finish(struct reading *reading, const struct config *config, struct conf_form *form);
/* The JSON texts. `is_full`: correct answers, traits and pass rules too. ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE int form_write_json(struct buf *out, const struct conf_form *form, bool is_full);
MUST_USE int form_write_question_json(struct buf *out, const struct conf_form *form,
				      const struct conf_question *question);
/* A scalar as canonical JSON in the arena: plain numbers, true and false as such, everything else as text. */
MUST_USE int form_scalar_json(struct arena *arena, const struct node *node, struct str *out);
/* Why a node is not a text, or a map from language to text; NULL: it is one. */
const char *form_text_fault(const struct node *node);

/* All forms of a configuration: those of `forms`, of forms_file and of `preferences`. */
void forms_check(struct reading *reading, const struct node *root, struct draft *draft);
