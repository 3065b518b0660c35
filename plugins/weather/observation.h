/* observation: the weather of one place in one hour, as every provider gives it and as the cache keeps it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOUR_S ((int64_t)3600)

/* Where and when: a cell of the grid and a whole hour. Everything that is asked for, cached and answered is per cell and hour. */
struct spot {
	double latitude, longitude; /* degrees, the cell's middle */
	int64_t hour;               /* hours since 1970 UTC */
};

struct observation {
	double temperature_c, feels_like_c, precipitation_mm, wind_ms, humidity_percent; /* NAN: not known */
	int code;             /* WMO; CONDITION_NONE: not known */
	int is_day;           /* 1, 0; -1: not known */
	int rained;           /* rain or snow fell in this hour or the hours before it; -1: not known */
	const char *provider; /* static */
};

void observation_init(struct observation *observation, const char *provider);

#define OBSERVATION_TEXT_MAX 160
/* For the cache: one line of text, and back. false: not one of ours. */
size_t observation_write(const struct observation *observation, char out[OBSERVATION_TEXT_MAX]);
bool observation_read(const char *text, size_t len, struct observation *out);

/* Is the sun above the horizon (upper limb, with refraction: -0.833 degrees)? Solar position after the low-accuracy formulas of NOAA's
 * Solar Calculator (https://gml.noaa.gov/grad/solcalc/solareqns.PDF), good to some minutes between the polar circles. */
bool sun_is_up(double latitude, double longitude, int64_t time_s);
