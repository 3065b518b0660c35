/* rules: the regexes.yaml of uap-core, compiled once for all threads. https://github.com/ua-parser/uap-core/blob/master/docs/specification.md */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../shared/watched.h"

#define RULES_TEXT 200 /* bytes of a part that are kept */

enum ua_part {
	UA_BROWSER,
	UA_BROWSER_1, /* parts of the version, the most important first */
	UA_BROWSER_2,
	UA_BROWSER_3,
	UA_OS,
	UA_OS_1,
	UA_OS_2,
	UA_OS_3,
	UA_OS_4,
	UA_DEVICE,
	UA_BRAND,
	UA_MODEL,
	UA_PARTS,
};

struct ua_text {
	unsigned char len; /* 0: absent */
	char bytes[RULES_TEXT];
};
struct ua_result {
	struct ua_text parts[UA_PARTS];
	bool is_limited; /* a rule gave up at its limit, and counted as not matching */
};

struct rules;
struct rules_scratch; /* of one thread */

extern const struct watched_kind rules_kind; /* of struct rules; one for all threads */
size_t rules_count(const struct rules *rules);

struct rules_scratch *rules_scratch_new(void);
void rules_scratch_free(struct rules_scratch *scratch);
/* In each of the three lists the first rule that matches counts; without one, the parts are absent (where uap-core says "Other"). */
void rules_match(const struct rules *rules, struct rules_scratch *scratch, const char *agent, size_t len,
		 struct ua_result *out);
