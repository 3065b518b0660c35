/* forms: `cdpctl forms`: the forms made over the API, and what was answered. */
#pragma once

#include "base/json.h"
#include "ctl/client.h"

struct forms_options {
	char *const *words; /* what stands behind "forms" */
	int word_count;
	bool is_json, is_dry_run;
};

/* Says on stderr what went wrong. */
enum ctl_exit forms_run(struct client *client, struct json_reader *reader, struct buf *body,
			const struct forms_options *options);
