/* show: each answer of the daemon as a person wants to read it. */
#pragma once

#include "base/json.h"

void show_status(struct json root, const char *url);
void show_profile(struct json root);
void show_events(struct json root); /* a person's */
void show_trace(struct json root);
void show_rejects(struct json root);
void show_destinations(struct json root);
void show_plugins(struct json root);
void show_sources(struct json root);
void show_consent_chain(struct json root);
void show_link(struct json root);        /* its URL alone, for scripts */
void show_tail_event(struct json event); /* one line */
/* Answers to merge and unmerge, dry runs too. */
void show_act(struct json root);
