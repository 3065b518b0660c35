/* answer: what an HTTP answer means for what was sent, and how it is told to operators. Compiled into each plugin that asks for it.
 *
 * The defaults lose nothing that can be repaired: only a status that speaks of the content itself refuses it for ever. */
#pragma once

#include "cdpd_plugin.h"

enum answer {
	ANSWER_TAKEN,
	ANSWER_REFUSED, /* this content can never be taken: 400, 409, 413, 422 … */
	ANSWER_LATER,   /* not now, maybe only this: 408, 425, 500, 502, 504, a timeout after it was sent */
	ANSWER_DOWN,    /* nobody is served now: 429, 503, no connection */
	ANSWER_WRONG, /* nothing will be taken before somebody repairs the configuration: 401, 404, a redirect, a private address … */
};

#define ANSWER_STATUS_MAX 599
#define ANSWER_TEXT_SIZE  200    /* what the host keeps of a reason */
#define ANSWER_EXCERPT    150    /* of a body */
#define ANSWER_GONE_MS    600000 /* between two tries at an endpoint that says 410 Gone */

struct answer_rules {
	unsigned char kinds[ANSWER_STATUS_MAX + 1]; /* enum answer + 1; 0: the default */
};

/* Items are "404", "4xx" or "500-504". NULL, or what is wrong with them (static). Later calls win. */
const char *answer_rules_add(struct answer_rules *rules, struct cdpd_str item, enum answer kind);
/* The options ack_status, retry_status and drop_status (ANSWER_OPTIONS). A failure is logged. */
int answer_rules_read(struct answer_rules *rules, const struct cdpd_host *host, struct cdpd_instance *instance,
		      const struct cdpd_conf *conf);
enum answer answer_kind(const struct answer_rules *rules, const struct cdpd_http_response *response);
/* One line: "HTTP 422: the first 150 bytes of the body", or why there was no answer. NUL-terminated UTF-8 without control characters. */
void answer_tell(const struct cdpd_http_response *response, char out[ANSWER_TEXT_SIZE]);
/* When to try again, for receipt_set. 0: as the host thinks. */
int64_t answer_retry_after_ms(const struct cdpd_http_response *response);

#define ANSWER_OPTION(option, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_LIST, .max = 64, .help = (sentence) \
	}
#define ANSWER_OPTIONS \
	ANSWER_OPTION("ack_status", "statuses that mean taken besides 2xx: 404, 4xx, 500-504"), \
	    ANSWER_OPTION("retry_status", "statuses that mean later"), \
	    ANSWER_OPTION("drop_status", "statuses that mean never: the record becomes a dead letter")
