/* subject: a template such as cdpd.events.{type}.{event} becomes the subject of a record. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cdpd_plugin.h"

#define SUBJECT_TEMPLATE_MAX 200
#define SUBJECT_TOKEN_MAX    100 /* bytes that a placeholder becomes */
#define SUBJECT_SIZE         1024

/* NULL: tokens of letters, digits, '_', '-' and {type}, {event}, {source}, {profile}, {kind}, {change}, separated by '.', at most 8 placeholders; else what is wrong. */
const char *subject_check(const char *template);
/* What all subjects of the template match: "cdpd.events.>". false: it begins with a placeholder. */
bool subject_pattern(const char *template, char out[SUBJECT_SIZE]);
/* Of a checked template. What would be no part of one token becomes '_', nothing becomes "_". */
void subject_make(const char *template, const struct cdpd_record *record, char out[SUBJECT_SIZE]);
/* Does a subject with wildcards take all that another one takes? */
bool subject_covers(const char *subject, const char *other);
