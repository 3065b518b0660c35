/* Open-Meteo: https://open-meteo.com/en/docs (forecast, also of the last 92 days) and /en/docs/historical-weather-api (archive, from 1940, some
 * days late). Both answer {"latitude","longitude","hourly":{"time":[…],"temperature_2m":[…],…}}; the place is the middle of the
 * model's own cell, up to some tens of kilometres away. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "condition.h"
#include "provider.h"

#define FORECAST "https://api.open-meteo.com"
#define ARCHIVE  "https://archive-api.open-meteo.com"
#define FAR      1.0 /* degrees: an answer further off is for somebody else's question */

static const char VARIABLES[] = "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,"
				"weather_code,wind_speed_10m,is_day";

static void date_of(int64_t hour, char out[32])
{
	struct tm utc;
	time_t time = (time_t)(hour * HOUR_S);
	gmtime_r(&time, &utc);
	strftime(out, 32, "%Y-%m-%d", &utc);
}

static bool url(const struct provider_settings *settings, const struct spot *spot, int64_t now_s, char out[URL_MAX])
{
	char from[32], to[32];
	bool is_old = now_s - spot->hour * HOUR_S > settings->archive_after_s;
	date_of(spot->hour - settings->recent_hours, from);
	date_of(spot->hour, to);
	const char *base = is_old ? settings->archive_base : settings->base;
	if (!base) base = is_old ? ARCHIVE : FORECAST;
	int len = snprintf(out, URL_MAX,
			   "%s/v1/%s?latitude=%.4f&longitude=%.4f&start_date=%s&end_date=%s&hourly=%s"
			   "&timezone=GMT&timeformat=unixtime&wind_speed_unit=ms",
			   base, is_old ? "archive" : "forecast", spot->latitude, spot->longitude, from, to, VARIABLES);
	if (len > 0 && len < URL_MAX && settings->key && settings->key[0])
		len += snprintf(out + len, (size_t)(URL_MAX - len), "&apikey=%s", settings->key);
	return len > 0 && len < URL_MAX;
}

/* NAN where the list is short or says null. */
static double number_at(const json_t *hourly, const char *name, size_t index)
{
	const json_t *value = json_array_get(json_object_get(hourly, name), index);
	return json_is_number(value) ? json_number_value(value) : NAN;
}

static int integer_at(const json_t *hourly, const char *name, size_t index, int none)
{
	double value = number_at(hourly, name, index);
	return value >= 0 && value < 1000 ? (int)value : none;
}

static bool is_here(const json_t *root, const struct spot *spot)
{
	const json_t *latitude = json_object_get(root, "latitude"), *longitude = json_object_get(root, "longitude");
	if (!json_is_number(latitude) || !json_is_number(longitude)) return false;
	double east = fabs(json_number_value(longitude) - spot->longitude);
	return fabs(json_number_value(latitude) - spot->latitude) <= FAR &&
	       (east <= FAR || east >= 360 - FAR || fabs(spot->latitude) > 85);
}

/* Any of the hours until then with rain; -1 when none of them is known. */
static int rained(const json_t *hourly, const json_t *times, int64_t from_hour, int64_t to_hour)
{
	int answer = -1;
	for (size_t i = 0; i < json_array_size(times); i++) {
		int64_t hour = json_integer_value(json_array_get(times, i)) / HOUR_S;
		double mm = number_at(hourly, "precipitation", i);
		if (hour < from_hour || hour > to_hour || isnan(mm)) continue;
		if (mm > 0) return 1;
		answer = 0;
	}
	return answer;
}

static int read_hour(const struct provider_settings *settings, const struct spot *spot, const json_t *root,
		     struct observation *out)
{
	const json_t *hourly = json_object_get(root, "hourly"), *times = json_object_get(hourly, "time");
	if (!json_is_array(times) || !is_here(root, spot)) return -1;
	for (size_t i = 0; i < json_array_size(times); i++) {
		const json_t *time = json_array_get(times, i);
		if (!json_is_integer(time)) return -1;
		if (json_integer_value(time) != spot->hour * HOUR_S) continue;
		observation_init(out, open_meteo.name);
		out->temperature_c = number_at(hourly, "temperature_2m", i);
		out->feels_like_c = number_at(hourly, "apparent_temperature", i);
		out->humidity_percent = number_at(hourly, "relative_humidity_2m", i);
		out->precipitation_mm = number_at(hourly, "precipitation", i);
		out->wind_ms = number_at(hourly, "wind_speed_10m", i);
		out->code = integer_at(hourly, "weather_code", i, CONDITION_NONE);
		out->is_day = integer_at(hourly, "is_day", i, -1);
		out->rained = rained(hourly, times, spot->hour - settings->recent_hours, spot->hour);
		return isnan(out->temperature_c) && out->code == CONDITION_NONE ? 0 : 1;
	}
	return 0;
}

static int read_body(const struct provider_settings *settings, const struct spot *spot, const char *body, size_t len,
		     struct observation *out)
{
	json_t *root = json_loadb(body, len, 0, NULL);
	if (!root) return -1;
	int answer = read_hour(settings, spot, root, out);
	json_decref(root);
	return answer;
}

const struct provider open_meteo = {.name = "open-meteo", .url = url, .read = read_body};
