#include "observation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "condition.h"

static const char *const providers[] = {"archive", "open-meteo", "openweathermap"};

void observation_init(struct observation *observation, const char *provider)
{
	*observation = (struct observation){NAN, NAN, NAN, NAN, NAN, CONDITION_NONE, -1, -1, provider};
}

/* NAN prints and reads as "nan". */
size_t observation_write(const struct observation *o, char out[OBSERVATION_TEXT_MAX])
{
	int len = snprintf(out, OBSERVATION_TEXT_MAX, "1 %.2f %.2f %.2f %.2f %.1f %d %d %d %s", o->temperature_c,
			   o->feels_like_c, o->precipitation_mm, o->wind_ms, o->humidity_percent, o->code, o->is_day,
			   o->rained, o->provider);
	return len > 0 && len < OBSERVATION_TEXT_MAX ? (size_t)len : 0;
}

bool observation_read(const char *text, size_t len, struct observation *out)
{
	char copy[OBSERVATION_TEXT_MAX], provider[32];
	if (len >= sizeof copy) return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	int read = sscanf(copy, "1 %lf %lf %lf %lf %lf %d %d %d %31s", &out->temperature_c, &out->feels_like_c,
			  &out->precipitation_mm, &out->wind_ms, &out->humidity_percent, &out->code, &out->is_day,
			  &out->rained, provider);
	if (read != 9) return false;
	for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++) {
		if (strcmp(providers[i], provider) != 0) continue;
		out->provider = providers[i];
		return true;
	}
	return false;
}

#define RADIANS (M_PI / 180)

bool sun_is_up(double latitude, double longitude, int64_t time_s)
{
	struct tm utc;
	time_t time = (time_t)time_s;
	if (!gmtime_r(&time, &utc)) return false;
	double hour = utc.tm_hour + utc.tm_min / 60.0;
	double year = 2 * M_PI / 365 * (utc.tm_yday + (hour - 12) / 24);
	double equation_of_time_min = 229.18 * (0.000075 + 0.001868 * cos(year) - 0.032077 * sin(year) -
						0.014615 * cos(2 * year) - 0.040849 * sin(2 * year));
	double declination = 0.006918 - 0.399912 * cos(year) + 0.070257 * sin(year) - 0.006758 * cos(2 * year) +
			     0.000907 * sin(2 * year) - 0.002697 * cos(3 * year) + 0.00148 * sin(3 * year);
	double solar_min = hour * 60 + equation_of_time_min + 4 * longitude;
	double hour_angle = (solar_min / 4 - 180) * RADIANS;
	double sine =
	    sin(latitude * RADIANS) * sin(declination) + cos(latitude * RADIANS) * cos(declination) * cos(hour_angle);
	return asin(fmax(-1, fmin(1, sine))) > -0.833 * RADIANS;
}
