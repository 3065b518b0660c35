/* destinations: `cdpctl destinations pause|resume|replay|preview|test` and `cdpctl deadletters`. */
#pragma once

#include "base/json.h"
#include "ctl/client.h"

struct destinations_options {
	char *const *words; /* what stands behind the command */
	int word_count;
	bool is_json;
	uint64_t limit;                                        /* 0: the daemon's default */
	const char *from, *since, *message_id, *file, *person; /* NULL: not given */
};

/* Say on stderr what went wrong. */
enum ctl_exit destinations_run(struct client *client, struct json_reader *reader, struct buf *body,
			       const struct destinations_options *options); /* words[0] is a deed */
enum ctl_exit deadletters_run(struct client *client, struct json_reader *reader, struct buf *body,
			      const struct destinations_options *options);
