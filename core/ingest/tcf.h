/* tcf: the core segment of an IAB Transparency and Consent Framework string, version 2 (TCF 2.0 to 2.2), as consent management
 * platforms put it into cookies and requests. Reads text of outsiders: everything is bounded, nothing is allocated. */
#pragma once

#include "base/str.h"

#define TCF_TEXT_MAX     16384 /* bytes of a string; real ones have a few hundred */
#define TCF_VENDOR_COUNT 65536 /* ids are 16 bits */
#define TCF_PURPOSES     24

struct tcf {
	int64_t created_us, updated_us;
	uint16_t cmp_id, cmp_version;
	uint8_t screen, policy_version;
	uint16_t vendor_list_version;
	char language[3], publisher_country[3];
	bool is_service_specific, has_own_texts, is_purpose_one_special;
	uint16_t special_features;     /* bit n - 1: feature n is opted into */
	uint32_t purposes, legitimate; /* bit n - 1: purpose n has consent; its legitimate interest is established */
	uint8_t vendors[TCF_VENDOR_COUNT / 8];            /* bit id: the vendor has consent */
	uint8_t vendors_legitimate[TCF_VENDOR_COUNT / 8]; /* bit id: its legitimate interest is established */
};

/* Segments after the first are not looked at. ERR_INVALID: malformed or cut short; ERR_FORMAT: another version than 2; ERR_TOO_LARGE. */
MUST_USE int tcf_read(struct str text, struct tcf *out);
bool tcf_purpose(const struct tcf *tcf, unsigned purpose);            /* consent for purpose 1 to 24 */
bool tcf_purpose_legitimate(const struct tcf *tcf, unsigned purpose); /* or its legitimate interest */
bool tcf_vendor(const struct tcf *tcf, uint16_t vendor);
bool tcf_vendor_legitimate(const struct tcf *tcf, uint16_t vendor);
