/* training: `cdpctl export training-set`: orders a set, follows its making, fetches its rows and writes them beside a manifest. */
#pragma once

#include "base/json.h"
#include "ctl/client.h"

struct training_options {
	char *const *words; /* behind "training-set" */
	int word_count;
	const char *out, *format; /* NULL: standard output; by the name of `out`, else CSV */
	bool is_json;             /* the manifest on standard output, when the rows go to a file */
};

enum ctl_exit training_run(struct client *client, struct json_reader *reader, struct buf *body,
			   const struct training_options *options);
