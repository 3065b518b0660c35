/* places: what a MaxMind DB file says of an address, in any of the layouts that are about. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "../shared/watched.h"

enum place_field {
	PLACE_AS_NAME, /* in the order in which they are set: that of their paths */
	PLACE_ASN,
	PLACE_CITY,
	PLACE_CONTINENT,
	PLACE_COUNTRY,
	PLACE_COUNTRY_NAME,
	PLACE_LATITUDE,
	PLACE_LONGITUDE,
	PLACE_POSTAL_CODE,
	PLACE_RADIUS,
	PLACE_REGION,
	PLACE_REGION_CODE,
	PLACE_TIME_ZONE,
	PLACE_FIELDS,
};

struct place_value {
	const char *text; /* in the file's memory; NULL: the field is a number */
	double number;
	unsigned len;
};

struct place {
	unsigned has; /* 1 << enum place_field */
	struct place_value values[PLACE_FIELDS];
};

/* Files as watched objects: read into memory, so that one who overwrites the file does no harm; or mapped. */
extern const struct watched_kind places_copied, places_mapped;

struct places; /* the object */

/* Adds to `place` what the file says of the address and an earlier file has not said. What belongs together is taken together: nothing of a
 * file that sees the address in another country, and both coordinates or none. `language`: of names, else English. 0, or -1: the file is damaged. */
int places_find(const struct places *places, const struct sockaddr *address, const char *language, struct place *place);
