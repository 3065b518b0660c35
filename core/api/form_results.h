/* form_results: GET /v1/forms/{name}/results: what was answered, counted by walking all people on the read pool. */
#pragma once

#include "api/internal.h"

/* The last counts of each form, and that only one is being counted: so that asking often costs little. */
struct form_counts;
MUST_USE int form_counts_new(struct form_counts **out);
void form_counts_free(struct form_counts *counts);

void form_results_get(struct api_worker *worker, struct http_request *req);
