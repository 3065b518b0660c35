/* erase: following an erasure from the request to its end. */
#pragma once

#include "base/json.h"
#include "ctl/client.h"

struct erase_options {
	bool is_identifier, is_dry_run, should_wait, is_json;
};
/* `escaped`: the reference as a path segment. */
MUST_USE enum ctl_exit erase_run(struct client *client, struct json_reader *reader, struct buf *body,
				 const char *escaped, const struct erase_options *options);
void show_erasures(struct json root);
